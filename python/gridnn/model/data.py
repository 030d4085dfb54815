"""From what users pass as data to the arrays that the engine takes.

Arrays are bound once: types, shapes and labels are checked for the whole set before the first step. Nothing
here copies a data set that already has a usable layout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _hints
from gridnn._arrays import as_array, narrowed, not_finite
from gridnn._batches import Naming, first_in, of_sample
from gridnn._hints import shapes_agree
from gridnn._network import Network, Shape, shape_text
from gridnn._network import Target as EngineTarget
from gridnn.errors import NonFiniteInputError, ShapeError
from gridnn.losses import CategoricalCrossentropy, CategoricalFocalCrossentropy, Loss
from gridnn.model.class_weight import ClassWeight, by_output, factors, table

DEFAULT_BATCH_SIZE = 32
_ROUNDING = 1e-6  # how far resized masks are off
_FEW = 4096
"""So many numbers are looked at one by one: less work than guarding their sum against overflow."""


@dataclass(frozen=True, slots=True)
class Target:
    """What an output is compared with; without a loss nothing is."""

    y: NDArray[Any] | None = None
    sample_weight: NDArray[np.float64] | None = None
    """One for each sample, or for each of its positions."""
    loss: Loss | None = None
    channels: int | None = None
    """Size of the output's last axis."""
    class_weight: tuple[tuple[int, float], ...] = ()
    """Classes with the weights of their positions."""
    moving: str | None = None
    """How the targets follow layers that move samples: "nearest" or "bilinear"; None if they do not."""

    @property
    def dense(self) -> bool:
        """Whether there are targets of single positions."""
        axes = 1 if self.loss is not None and self.loss.targets == "labels" else 2
        return self.y is not None and self.y.ndim > axes

    def engine_target(self) -> EngineTarget:
        """The target as the engine takes it."""
        weight = None if self.sample_weight is None else self.sample_weight.reshape(-1)
        return self.y, weight, self.class_weight, self.moving

    def position_weights(self) -> NDArray[np.float64] | None:
        """Weights of samples or positions, those of classes included; for who sees targets as they are."""
        if not self.class_weight or self.y is None or self.loss is None:
            return self.sample_weight
        own = factors(self.class_weight, self.y, self.loss)
        weight = self.sample_weight
        if weight is None:
            return own
        return own * weight.reshape(weight.shape + (1,) * (own.ndim - weight.ndim))

    def weighted_by_class(self, class_weight: ClassWeight) -> Target:
        """The same with weights of classes: of positions the engine looks them up, others are multiplied."""
        if self.y is None or self.loss is None:
            raise ValueError("The `class_weight` argument is for outputs that have a loss.")
        weights = table(class_weight, self.y, self.loss, self.channels)
        if self.dense:
            return replace(self, class_weight=weights)
        own = factors(weights, self.y, self.loss)
        return replace(self, sample_weight=own if self.sample_weight is None else self.sample_weight * own)

    def changed(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Target:
        """The same with other rows."""
        y = None if self.y is None else change(self.y)
        weight = None if self.sample_weight is None else change(self.sample_weight)
        return replace(self, y=y, sample_weight=weight)


@dataclass(frozen=True, slots=True)
class Arrays:
    """A bound data set: canonical arrays of the same length, an entry for each input and each output."""

    x: tuple[NDArray[Any], ...]
    targets: tuple[Target, ...]
    names: tuple[str, ...] = ("`x`",)
    """What messages call the inputs."""
    first: int = 0
    """Number of the first row in what the user passed."""
    place: str = ""
    """Where in the user's data it is, for messages."""
    naming: Naming | None = None
    """What the user calls a sample."""

    def __len__(self) -> int:
        return int(self.x[0].shape[0])

    def engine_targets(self) -> list[EngineTarget]:
        """The targets as the engine takes them."""
        return [target.engine_target() for target in self.targets]

    def target_arrays(self) -> list[NDArray[Any]]:
        """Targets and weights of all outputs."""
        pairs = ((target.y, target.sample_weight) for target in self.targets)
        return [array for pair in pairs for array in pair if array is not None]

    @property
    def moving(self) -> bool:
        """Whether targets may follow layers that move samples."""
        return any(target.moving for target in self.targets)

    def moved(self, network: Network, indices: NDArray[np.int64] | None, seed: int | None) -> Arrays:
        """The rows of a batch with targets as its step compares them with the outputs.

        Args:
            network: the network that will take the step.
            indices: rows of the batch; None for all.
            seed: of the step; None in inference.
        """
        found = network.moved_targets(self.x, self.engine_targets(), indices, seed)
        batch = self if indices is None else self._changed(lambda array: array[indices])
        targets = []
        for target, own in zip(batch.targets, found, strict=True):
            if own is None:
                targets.append(target)
                continue
            y, weight = own
            if weight is not None and len(weight) > len(y):
                positions = (
                    y.shape if target.loss is None or target.loss.targets == "labels" else y.shape[:-1]
                )
                weight = weight.reshape(positions)
            labels = target.loss is not None and target.loss.targets == "labels"
            targets.append(replace(target, y=y.astype(np.int64) if labels else y, sample_weight=weight))
        return replace(batch, targets=tuple(targets))

    def _changed(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Arrays:
        x = tuple(change(array) for array in self.x)
        return replace(self, x=x, targets=tuple(target.changed(change) for target in self.targets))

    def rows(self, start: int, stop: int) -> Arrays:
        """Rows ``start:stop`` as views."""
        return replace(self._changed(lambda array: array[start:stop]), first=self.first + start)

    def copied(self) -> Arrays:
        """The same in memory of its own, which the user cannot change."""
        return self._changed(lambda array: array.copy())

    def with_class_weight(self, class_weight: Any, outputs: Sequence[str]) -> Arrays:
        """The same arrays with the weights of classes, for outputs of these names.

        Raises:
            ValueError: the weights do not fit the labels, or are not said for each output.
        """
        if class_weight is None:
            return self
        each = by_output(class_weight, outputs)
        pairs = zip(self.targets, each, strict=True)
        targets = (target if own is None else target.weighted_by_class(own) for target, own in pairs)
        return replace(self, targets=tuple(targets))

    def check_inputs(self, indices: NDArray[np.int64] | None, dtype: np.dtype[Any]) -> None:
        """Looks for the reason of a loss that is not finite among the inputs of rows `indices` (None: all).

        Raises:
            NonFiniteInputError: one of them is not finite as `dtype`; the first such sample is named.
        """
        for x, name in zip(self.x, self.names, strict=True):
            found = not_finite(x, dtype, indices)
            if found is None:
                continue
            # The order of an epoch is no order that the user knows.
            number, value = not_finite(x[: found[0]], dtype) or found
            kind = "NaN" if math.isnan(value) else "infinity" if math.isinf(value) else f"{value:g}"
            called = "" if self.naming is None else f", {self.naming(self.first + number)}"
            limit = f", which {dtype} cannot hold" if math.isfinite(value) else ""
            raise NonFiniteInputError(
                f"{name}{self.place} holds {kind}{limit}: the first sample with it is number "
                f"{self.first + number}, counted from 0{called}. Drop or fill such samples; the weights are "
                "unchanged."
            )


def check_lengths(arrays: Mapping[str, NDArray[Any]], *, allow_empty: bool = False) -> None:
    """Checks that arrays are of the same length, and not empty unless that is allowed.

    Raises:
        ValueError: they are not.
    """
    sizes = {name: array.shape[0] for name, array in arrays.items()}
    for name, size in sizes.items():
        if not size and not allow_empty:
            raise ValueError(f"`{name}` holds no samples.")
    if len(set(sizes.values())) > 1:
        text = ", ".join(f"`{name}` has {size}" for name, size in sizes.items())
        raise ValueError(f"All arrays must contain the same number of samples; {text}.")


def as_targets(
    y: NDArray[Any], loss: Loss, output_shape: Shape, dtype: np.dtype[Any], argument: str = "y"
) -> NDArray[Any]:
    """Returns `y` as the targets of `loss`: whole-number labels or values of the shape of an output.

    Raises:
        ShapeError: the shape does not fit the model's output.
        ValueError: NaN, infinity, fractions or unknown classes among labels.
    """
    if loss.targets == "labels":
        return _as_labels(y, output_shape, getattr(loss, "ignore_class", None), argument)
    if isinstance(loss, CategoricalCrossentropy | CategoricalFocalCrossentropy) and output_shape[-1] == 1:
        raise ValueError(
            f"{loss.label} compares an output for each class, and the model has one output, whose softmax is "
            "always 1. For two classes use 'binary_crossentropy'."
        )
    values = _as_values(y, output_shape, dtype, argument)
    check_range(values, loss, argument)
    return values


def _as_labels(y: NDArray[Any], output_shape: Shape, ignore_class: int | None, argument: str) -> NDArray[Any]:
    received = y.shape
    if y.ndim == len(output_shape) + 1 and y.shape[-1] == 1:
        y = y.reshape(y.shape[:-1])
    if not shapes_agree(output_shape[:-1], y.shape[1:]):
        hint = _hints.for_targets(output_shape, received, argument, labels=True)
        raise ShapeError(
            f"`{argument}` does not fit the model: for outputs {shape_text(output_shape)} class labels have "
            f"shape {shape_text(output_shape[:-1])}. Received {received}.{hint}"
        )
    if y.dtype.kind == "f":
        _check_finite(y, argument)
        whole = y.astype(np.int64)
        if not np.array_equal(whole, y):
            raise _in_sample(
                f"`{argument}` must hold whole-number class labels; it holds {y[whole != y].flat[0]:g}",
                whole != y,
            )
        y = whole
    classes = output_shape[-1]
    if classes is not None and y.size and not (y.min() >= 0 and y.max() < classes):
        outside = (y < 0) | (y >= classes)
        if ignore_class is not None:
            outside &= y != ignore_class
        if outside.any():
            raise _in_sample(
                f"`{argument}` holds label {y[outside].flat[0]}, but the model has {classes} classes: labels "
                f"must be from 0 to {classes - 1}",
                outside,
                _hints.for_labels(int(y.min()), int(y.max()), classes, argument),
            )
    return y


def _as_values(y: NDArray[Any], output_shape: Shape, dtype: np.dtype[Any], argument: str) -> NDArray[Any]:
    received = y.shape
    if y.ndim == len(output_shape) and output_shape[-1] == 1:
        y = y.reshape(*y.shape, 1)
    if not shapes_agree(output_shape, y.shape[1:]):
        raise ShapeError(
            f"`{argument}` does not fit the model: expected the outputs' shape {shape_text(output_shape)}. "
            f"Received {received}.{_hints.for_targets(output_shape, received, argument, labels=False)}"
        )
    _check_finite(y, argument)
    return narrowed(y, dtype, f"`{argument}`")


def check_range(y: NDArray[Any], loss: Loss, argument: str) -> None:
    """Checks that targets are in the range that the loss is made for.

    Raises:
        ValueError: they are not; the message says what to do.
    """
    if loss.target_range is None or not y.size:
        return
    (low, high), (least, most) = loss.target_range, (float(y.min()), float(y.max()))
    if low - _ROUNDING <= least and most <= high + _ROUNDING:
        return
    received = least if least < low - _ROUNDING else most
    text = (
        f"`{argument}` holds {received:g}, but {type(loss).__name__} takes targets from {low:g} to {high:g}"
    )
    if low == 0 and -1 <= least < 0 and most <= 1:
        hint = "For labels of -1 and 1 use (y + 1) / 2, or the loss 'hinge'."
    elif least >= 0 and most > 100:
        hint = f"For masks of 0 and {most:g} use y / {most:g}, or y > 0."
    elif least >= 0 and np.array_equal(y, np.floor(y)):
        hint = (
            "For numbers of classes use the loss 'sparse_categorical_crossentropy' and one output for each "
            f"of the {most + 1:g} classes."
        )
    else:
        hint = "Scale them, or use a loss of numbers such as 'mse'."
    raise _in_sample(text, (y < low - _ROUNDING) | (y > high + _ROUNDING), f" {hint}")


def _check_finite(values: NDArray[Any], argument: str) -> None:
    if values.dtype.kind != "f":
        return
    suspicious = True
    if values.size > _FEW:
        # A sum is finite only if every element is, unless it overflows: then look at the elements.
        with np.errstate(over="ignore", invalid="ignore"):
            suspicious = not math.isfinite(values.sum(dtype=np.float64))
    if suspicious and not np.isfinite(values).all():
        kind = "NaN" if np.isnan(values).any() else "infinity"
        raise _in_sample(f"`{argument}` must be finite; it holds {kind}", ~np.isfinite(values))


def _in_sample(message: str, wrong: NDArray[np.bool_], hint: str = "") -> ValueError:
    """An error about samples, with the first one.

    Args:
        message: what is wrong, without a full stop.
        wrong: where, with samples along the first axis.
        hint: what to do.
    """
    first = int(np.flatnonzero(wrong.reshape(len(wrong), -1).any(axis=1))[0])
    return of_sample(ValueError(f"{message}, {first_in('sample', first)}.{hint}"), first)


def as_sample_weight(
    sample_weight: object,
    samples: int,
    argument: str = "sample_weight",
    positions: Sequence[int] = (),
) -> NDArray[np.float64]:
    """Returns `sample_weight` as one finite number per sample, or one for each of its positions.

    Args:
        sample_weight: what the user gave.
        samples: how many there are.
        argument: its name, for messages.
        positions: sizes of the grid that targets have.
    """
    array = as_array(sample_weight, argument)
    shapes = [(samples,), *([(samples, *positions)] if positions else [])]
    if array.ndim > 1 and array.shape[-1] == 1 and array.shape not in shapes:
        array = array[..., 0]
    if array.shape not in shapes:
        more = f", or one for each position: shape {shapes[-1]}" if positions else ""
        raise ValueError(
            f"The `{argument}` argument must have one number for each of the {samples} samples{more}. "
            f"Received shape {array.shape}."
        )
    _check_finite(array, argument)
    if array.size and array.min() < 0:
        negative = array < 0
        raise _in_sample(
            f"The `{argument}` argument must not be negative: the loss would reward errors. Received "
            f"{array[negative].flat[0]:g}",
            negative,
        )
    return np.asarray(array, dtype=np.float64, order="C")
