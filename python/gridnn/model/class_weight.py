"""What `class_weight` may be, and what it comes to for each sample."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._structures import spread
from gridnn.losses import Loss

ClassWeight: TypeAlias = Mapping[Any, float] | Sequence[float] | NDArray[Any] | Literal["balanced"]

OutputClassWeight: TypeAlias = ClassWeight | Mapping[str, ClassWeight]

_INSTEAD = "Use `sample_weight`."


Table: TypeAlias = tuple[tuple[int, float], ...]
"""Classes with their weights; all others have 1."""

_AT_ONCE = 1 << 20  # targets that are looked at together


def by_output(class_weight: Any, outputs: Sequence[str]) -> list[Any]:
    """The weights of the classes of every output; None where there are none.

    Raises:
        ValueError: the model has several outputs, and it is not said which the weights are for.
    """
    if isinstance(class_weight, Mapping) and any(key in outputs for key in class_weight):
        return spread(class_weight, outputs, "class_weight", "output", gaps=True)
    if len(outputs) == 1:
        return [class_weight]
    names = ", ".join(f"'{name}'" for name in outputs)
    raise ValueError(
        "The `class_weight` argument of a model with several outputs must be a dict by their names, which "
        f"are {names}, of weights of classes. Received {class_weight!r}."
    )


def table(class_weight: object, y: NDArray[Any], loss: Loss, channels: int | None) -> Table:
    """The weight of every class.

    Args:
        class_weight: what the user gave.
        y: the targets, as `as_targets` returns them.
        loss: the loss they are for.
        channels: outputs of the model, of one position if there are several.

    Raises:
        ValueError: a weight for what is no class, a negative weight, or targets that have not one class each.
        TypeError: something else than weights of classes.
    """
    counts: dict[int, int] = {}
    for part in _parts(y):
        labels, found = np.unique(_classes(part, loss), return_counts=True)
        for label, count in zip(labels.tolist(), found.tolist(), strict=True):
            counts[int(label)] = counts.get(int(label), 0) + count
    if isinstance(class_weight, str) and class_weight == "balanced":
        # scikit-learn's rule: samples / (classes * samples of the class), over the classes that occur.
        ignored = getattr(loss, "ignore_class", None)
        if ignored is not None:
            counts.pop(ignored, None)
        total, number = sum(counts.values()), max(len(counts), 1)
        return tuple((label, total / (number * count)) for label, count in sorted(counts.items()))
    return tuple(sorted(_weights(class_weight, _known(counts, loss, channels)).items()))


def factors(weights: Table, y: NDArray[Any], loss: Loss) -> NDArray[np.float64]:
    """The weight that every sample or position has by its class, in the shape of the classes."""
    classes = _classes(y, loss)
    labels, positions = np.unique(classes, return_inverse=True)
    known = dict(weights)
    of_labels = np.array([known.get(int(label), 1.0) for label in labels], dtype=np.float64)
    return np.asarray(of_labels[positions.reshape(-1)], dtype=np.float64).reshape(classes.shape)


def _parts(y: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """All of `y`, some samples at a time: classes of many positions take more memory than they do."""
    rows = max(_AT_ONCE // max(math.prod(y.shape[1:]), 1), 1)
    for first in range(0, len(y), rows):
        yield y[first : first + rows]


def _classes(y: NDArray[Any], loss: Loss) -> NDArray[Any]:
    """The class of every sample, or of every position."""
    if loss.targets == "labels":
        return y
    if y.shape[-1] == 1:
        values = y[..., 0]
        classes = np.round(values)
        if loss.target_range is None and not np.array_equal(classes, values):
            other = values[classes != values][0]
            raise ValueError(
                f"The `class_weight` argument needs class labels; `y` holds {other:g}. {_INSTEAD}"
            )
        return np.asarray(classes)
    # Of several outputs the class is the one with the largest target, which must be one.
    top = y.max(axis=-1, keepdims=True)
    sums = y.sum(axis=-1, dtype=np.float64)
    unclear = ((y == top).sum(axis=-1) > 1) | (np.abs(sums - 1) > 1e-3)
    if loss.target_range is not None and loss.target_range[0] == 0 and unclear.any():
        where = ", ".join(str(index) for index in np.unravel_index(int(np.argmax(unclear)), unclear.shape))
        raise ValueError(
            "The `class_weight` argument needs one class per sample, but sample "
            f"{where} of `y` has several, or none. {_INSTEAD}"
        )
    return np.asarray(np.argmax(y, axis=-1))


def _known(labels: Iterable[int], loss: Loss, channels: int | None) -> list[int] | None:
    """The classes that there are; None if nobody knows."""
    if loss.targets == "values" and channels == 1:
        if loss.target_range is None:
            return None
        signs = loss.target_range[0] < 0 and any(label < 0 for label in labels)
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
        weights[key] = _validation.real(value, f"class_weight[{key}]", low=0.0)
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
