"""From what users pass as data to the batches that the engine takes.

Arrays are bound once: types, shapes and labels are checked for the whole set before the first step, and a
batch is then a slice of indices into them. Nothing here copies a data set that already has a usable layout.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridnn import _hints, _validation
from gridnn._arrays import as_array, narrowed, not_finite
from gridnn._batches import in_batch
from gridnn._engine import permutation
from gridnn._hints import shapes_agree
from gridnn._network import Network, Shape, shape_text
from gridnn._network import Target as EngineTarget
from gridnn._reading import Batches
from gridnn.errors import NonFiniteInputError, ShapeError
from gridnn.losses import CategoricalCrossentropy, CategoricalFocalCrossentropy, Loss
from gridnn.model.class_weight import ClassWeight, by_output, factors, table

DEFAULT_BATCH_SIZE = 32
_ROUNDING = 1e-6  # how far resized masks are off
_END = object()  # what no user can yield


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

    def __len__(self) -> int:
        return int(self.x[0].shape[0])

    def engine_targets(self) -> list[EngineTarget]:
        """The targets as the engine takes them."""
        return [target.engine_target() for target in self.targets]

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
            limit = f", which {dtype} cannot hold" if math.isfinite(value) else ""
            raise NonFiniteInputError(
                f"{name}{self.place} holds {kind}{limit}: the first sample with it is number "
                f"{self.first + number}, counted from 0. Drop or fill such samples; the weights are "
                "unchanged."
            )


class Batch(NamedTuple):
    """Rows of a data set."""

    arrays: Arrays
    indices: NDArray[np.int64] | None  # None: all rows
    size: int


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
            raise ValueError(
                f"`{argument}` must hold whole-number class labels; it holds {y[whole != y].flat[0]:g}."
            )
        y = whole
    classes = output_shape[-1]
    if classes is not None and y.size and not (y.min() >= 0 and y.max() < classes):
        outside = y[(y < 0) | (y >= classes)]
        outside = outside if ignore_class is None else outside[outside != ignore_class]
        if outside.size:
            raise ValueError(
                f"`{argument}` holds label {outside.flat[0]}, but the model has {classes} classes: labels "
                f"must be from 0 to {classes - 1}."
                f"{_hints.for_labels(int(y.min()), int(y.max()), classes, argument)}"
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
    raise ValueError(f"{text}. {hint}")


def _check_finite(values: NDArray[Any], argument: str) -> None:
    # A sum is finite only if every element is, unless it overflows: then look at the elements.
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = values.dtype.kind == "f" and not np.isfinite(values.sum(dtype=np.float64))
    if suspicious and not np.isfinite(values).all():
        found = not_finite(values, values.dtype)
        where = "" if found is None else f", first in sample {found[0]} (counted from 0)"
        kind = "NaN" if np.isnan(values).any() else "infinity"
        raise ValueError(f"`{argument}` must be finite; it holds {kind}{where}.")


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
        raise ValueError(
            f"The `{argument}` argument must not be negative: the loss would reward errors. Received "
            f"{array.min():g}."
        )
    return np.asarray(array, dtype=np.float64, order="C")


class ArraySource:
    """Batches from bound arrays, epoch by epoch.

    Passes through the data follow each other seamlessly: with `steps` per epoch that are not one pass, an
    epoch continues where the last one stopped. Which rows a batch has depends on the epoch and the seed only,
    so training can resume.

    Args:
        arrays: the data.
        batch_size: rows per batch; the last one of a pass may have fewer.
        steps: batches per epoch; None for one pass.
        shuffle_seed: seed of the order, new in each pass; None keeps the order of the data.
    """

    def __init__(
        self,
        arrays: Arrays,
        batch_size: int,
        steps: int | None = None,
        shuffle_seed: int | None = None,
    ) -> None:
        self.arrays = arrays
        self.batch_size = batch_size
        self._per_pass = -(-len(arrays) // batch_size)
        self.steps = self._per_pass if steps is None else steps
        self.samples = len(arrays) if self.steps == self._per_pass else self.steps * batch_size
        self._seed = shuffle_seed
        self._order: tuple[int, NDArray[np.int64]] | None = None

    position = 0  # epoch and step say it all

    def resume(self, position: int) -> None:
        """Nothing has to be drawn again."""

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from number `first` on."""
        for step in range(epoch * self.steps + first, (epoch + 1) * self.steps):
            data_pass, position = divmod(step, self._per_pass)
            start = position * self.batch_size
            indices = self._pass_order(data_pass)[start : start + self.batch_size]
            yield Batch(self.arrays, indices, len(indices))

    def _pass_order(self, data_pass: int) -> NDArray[np.int64]:
        wanted = 0 if self._seed is None else data_pass
        if self._order is None or self._order[0] != wanted:
            length = len(self.arrays)
            order = np.arange(length) if self._seed is None else permutation(length, self._seed, wanted)
            self._order = (wanted, order)
        return self._order[1]


class IterableSource:
    """Batches that the user's iterable makes: ``(x, y)`` or ``(x, y, sample_weight)`` each.

    Training reads them. A generator is continued from epoch to epoch; anything that can be iterated again is
    begun anew once it is exhausted.

    Args:
        batches: the iterable.
        bind: makes canonical arrays of one batch.
        steps: batches per epoch; None for all that come.
        argument: name of the iterable, for messages.
    """

    batch_size: int | None = None
    samples: int | None = None

    def __init__(
        self,
        batches: Iterable[Any],
        bind: Callable[[object, object, object | None], Arrays],
        steps: int | None = None,
        argument: str = "x",
    ) -> None:
        self._batches = batches
        self._bind = bind
        self.steps = steps
        self._argument = argument
        self._running: Iterator[Any] | None = None
        self._head: list[Any] = []  # what was drawn to look at it
        self._drawn = 0

    @property
    def position(self) -> int:
        """Batches drawn since the iterable was begun."""
        return 0 if self._running is None else self._drawn

    def resume(self, position: int) -> None:
        """Goes to where another process was, which had this `position`.

        It binds a batch, so that a model is built that was not.

        Raises:
            ValueError: the iterable has fewer batches.
        """
        used = (
            inspect.isgenerator(self._batches) and inspect.getgeneratorstate(self._batches) != "GEN_CREATED"
        )
        self._running, self._drawn = _validation.iterated(self._batches), 0
        for number in range(1 if used or not position else position):
            item = next(self._running, _END)
            if item is _END and not position:
                raise _no_batch(self._argument, 0)
            if item is _END:
                raise ValueError(
                    f"`{self._argument}` gave {number} batches, but {position} had been used when training "
                    "was interrupted: pass an iterable that yields the same batches again."
                )
            if number == 0:
                _bound(self._bind, item, self._argument, number)
            self._drawn += 1
        if used or not position:
            self._head, self._drawn = [item], 0
        if used:
            self._drawn = position

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from number `first` on; fewer than asked for where a generator ends."""
        count = first
        while self.steps is None or count < self.steps:
            fresh = self._running is None
            if self._running is None:
                self._running, self._drawn = _validation.iterated(self._batches), 0
            item = self._head.pop() if self._head else next(self._running, _END)
            if item is _END:
                self._running = None
                if fresh and count == 0:
                    raise _no_batch(self._argument, epoch)
                if fresh or self.steps is None:
                    return
                continue
            self._drawn += 1
            arrays = _bound(self._bind, item, self._argument, self._drawn - 1)
            count += 1
            yield Batch(arrays, None, len(arrays))


class PassSource:
    """The first batches of an iterable, the same in every call: what evaluations read.

    It is begun anew each time. An iterator cannot be: if it is to be read again, its batches are kept.

    Args:
        batches: the iterable.
        bind: makes canonical arrays of one batch.
        steps: at most so many batches; None for all that come.
        argument: name of the iterable, for messages.
        again: whether there may be more than one call.
    """

    batch_size: int | None = None
    samples: int | None = None

    def __init__(
        self,
        batches: Iterable[Any],
        bind: Callable[[object, object, object | None], Arrays],
        steps: int | None,
        argument: str,
        *,
        again: bool,
    ) -> None:
        self._batches = batches
        self._bind = bind
        self.steps = steps
        self._argument = argument
        # Without a number of steps they may be too many to be kept.
        self._keeps = again and steps is not None
        self._kept: list[Arrays] | None = None

    position = 0

    def resume(self, position: int) -> None:
        """It is begun anew anyway."""

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches, of any epoch; fewer than asked for where the iterable ends."""
        if self._kept is not None:
            yield from (Batch(arrays, None, len(arrays)) for arrays in self._kept)
            return
        iterator = _validation.iterated(self._batches)
        keeps = self._keeps and iterator is self._batches
        kept: list[Arrays] = []
        count = 0
        while self.steps is None or count < self.steps:
            item = next(iterator, _END)
            if item is _END:
                break
            arrays = _bound(self._bind, item, self._argument, count)
            count += 1
            if keeps:
                kept.append(arrays.copied())
            yield Batch(arrays, None, len(arrays))
        if count == 0:
            raise _no_batch(self._argument, epoch)
        if keeps:
            self._kept = kept


class ReadSource:
    """Batches of a data set that is read as it is needed; epoch and seed decide the order.

    Args:
        batches: the data set.
        bind: makes canonical arrays of one batch.
        steps: batches per epoch; None for one pass.
        shuffle_seed: seed of the order, new in each pass; None keeps the order of the data.
    """

    def __init__(
        self,
        batches: Batches,
        bind: Callable[[object, object, object | None], Arrays],
        steps: int | None,
        shuffle_seed: int | None,
    ) -> None:
        self._batches = batches
        self._bind = bind
        self._per_pass = len(batches)
        self.steps = self._per_pass if steps is None else steps
        self.batch_size = batches.batch_size
        self.samples = batches.samples if steps is None else steps * batches.batch_size
        self._seed = shuffle_seed if batches.shuffle else None

    position = 0  # epoch and step say it all

    def resume(self, position: int) -> None:
        """Binds a batch, so that a model is built that was not."""
        _bound(self._bind, self._batches[0], "x", 0)

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from number `first` on."""
        step, end = epoch * self.steps + first, (epoch + 1) * self.steps
        while step < end:
            data_pass, number = divmod(step, self._per_pass)
            for item in self._batches.in_pass(self._seed, data_pass, number):
                arrays = _bound(self._bind, item, "x", number)
                yield Batch(arrays, None, len(arrays))
                step, number = step + 1, number + 1
                if step == end:
                    return


def _no_batch(argument: str, epoch: int) -> ValueError:
    when = f" for epoch {epoch + 1}" if argument == "x" else ""  # every validation counts as epoch 0
    return ValueError(
        f"`{argument}` gave no batch{when}. A generator can be used up only once: pass something that can be "
        "iterated again, or give the number of steps per epoch."
    )


def _bound(
    bind: Callable[[object, object, object | None], Arrays], item: object, argument: str, number: int
) -> Arrays:
    """One batch of an iterable, made canonical."""
    with in_batch(argument, number):
        arrays = bind(*_unpack(item, argument))
    return replace(arrays, place=f" of batch {number} (counted from 0) of `{argument}`")


def _unpack(item: object, argument: str) -> tuple[object, object, object | None]:
    if not isinstance(item, (tuple, list)) or len(item) not in (2, 3):
        raise ValueError(
            f"`{argument}` must give batches (x, y) or (x, y, sample_weight). Received {type(item).__name__}"
            + (f" of {len(item)} elements." if isinstance(item, (tuple, list)) else ".")
        )
    return item[0], item[1], item[2] if len(item) == 3 else None


Source = ArraySource | IterableSource | PassSource | ReadSource
