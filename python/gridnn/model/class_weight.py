"""What `class_weight` may be, and what it comes to for each sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn.losses import Loss

ClassWeight: TypeAlias = Mapping[Any, float] | Sequence[float] | NDArray[Any] | Literal["balanced"]

_INSTEAD = "Use `sample_weight`."


def factors(class_weight: object, y: NDArray[Any], loss: Loss, channels: int | None) -> NDArray[np.float64]:
    """The weight that every sample has by its class.

    Args:
        class_weight: what the user gave.
        y: the targets, as `as_targets` returns them.
        loss: the loss they are for.
        channels: outputs of the model.

    Raises:
        ValueError: a weight for what is no class, a negative weight, or samples that have not one class each.
        TypeError: something else than weights of classes.
    """
    classes = _classes(y, loss)
    labels, positions, counts = np.unique(classes, return_inverse=True, return_counts=True)
    known = _known(labels, loss, channels)
    ignored = getattr(loss, "ignore_class", None)
    present = np.array([ignored is None or label != ignored for label in labels])
    if isinstance(class_weight, str) and class_weight == "balanced":
        # scikit-learn's rule: samples / (classes * samples of the class), over the classes that occur.
        number = max(int(present.sum()), 1)
        of_labels = np.where(present, counts[present].sum() / (number * counts), 1.0)
    else:
        weights = _weights(class_weight, known)
        of_labels = np.array([weights.get(int(label), 1.0) for label in labels], dtype=np.float64)
    return np.asarray(of_labels[positions.reshape(-1)], dtype=np.float64)


def _classes(y: NDArray[Any], loss: Loss) -> NDArray[Any]:
    """The class of every sample."""
    several = ValueError(
        f"The `class_weight` argument needs one label per sample; the targets have several. {_INSTEAD}"
    )
    if loss.targets == "labels":
        if y.ndim != 1:
            raise several
        return y
    if y.ndim != 2:
        raise several
    if y.shape[-1] == 1:
        classes = np.round(y[:, 0])
        if loss.target_range is None and not np.array_equal(classes, y[:, 0]):
            raise ValueError(
                f"The `class_weight` argument needs class labels; `y` holds {y[classes != y[:, 0], 0][0]:g}. "
                f"{_INSTEAD}"
            )
        return np.asarray(classes)
    # Of several outputs a sample's class is the one with the largest target, which must be one.
    top = y.max(axis=-1, keepdims=True)
    sums = y.sum(axis=-1, dtype=np.float64)
    unclear = ((y == top).sum(axis=-1) > 1) | (np.abs(sums - 1) > 1e-3)
    if loss.target_range is not None and loss.target_range[0] == 0 and unclear.any():
        raise ValueError(
            "The `class_weight` argument needs one class per sample, but sample "
            f"{int(np.argmax(unclear))} of `y` has several, or none. {_INSTEAD}"
        )
    return np.asarray(np.argmax(y, axis=-1))


def _known(labels: NDArray[Any], loss: Loss, channels: int | None) -> list[int] | None:
    """The classes that there are; None if nobody knows."""
    if loss.targets == "values" and channels == 1:
        if loss.target_range is None:
            return None
        signs = loss.target_range[0] < 0 and bool((labels < 0).any())
        return [-1, 1] if signs else [0, 1]
    return None if channels is None else list(range(channels))


def _weights(class_weight: object, known: list[int] | None) -> dict[int, float]:
    if isinstance(class_weight, Mapping):
        pairs = [(_key(key), value) for key, value in class_weight.items()]
    elif isinstance(class_weight, (list, tuple, np.ndarray)):
        values = np.asarray(class_weight)
        if values.ndim != 1 or values.dtype.kind not in "iuf":
            raise _refusal(class_weight)
        known = list(range(len(values))) if known is None else known
        if len(values) != len(known):
            raise ValueError(
                f"The `class_weight` argument must have one weight for each of the {len(known)} classes, or "
                f"be a dict from class to weight. Received {len(values)} weights."
            )
        pairs = list(zip(known, values.tolist(), strict=True))
    else:
        raise _refusal(class_weight)
    weights: dict[int, float] = {}
    for key, value in pairs:
        if known is not None and key not in known:
            classes = f"0 to {known[-1]}" if known[0] == 0 else "-1 and 1"
            raise ValueError(
                f"The `class_weight` argument has a weight for class {key}, but the classes are {classes}."
            )
        if key in weights:
            raise ValueError(f"The `class_weight` argument has two weights for class {key}.")
        weights[key] = _validation.real(value, "class_weight", low=0.0)
    return weights


def _refusal(class_weight: object) -> TypeError:
    return TypeError(
        "The `class_weight` argument must be a dict from class to weight, an array of one weight per class, "
        f"or 'balanced'. Received {class_weight!r}."
    )


def _key(key: object) -> int:
    """A class as the integer that it stands for: 1, 1.0, True, "1"."""
    try:
        number = float(key) if isinstance(key, str) else key
        if isinstance(number, (float, np.floating)) and float(number).is_integer():
            return int(number)
        if isinstance(number, (bool, np.bool_)):
            return int(number)
        return _validation.integer(number, "class_weight")
    except (TypeError, ValueError):
        raise TypeError(
            f"The keys of the `class_weight` argument must be classes, whole numbers. Received {key!r}."
        ) from None
