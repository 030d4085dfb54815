"""Predictions for what is larger than a model should see at once, window by window.

Windows are worked on slab by slab along the first axis: nothing of the size of the whole is held but what the
caller wants to have.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce as fold
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._arrays import shape_of
from gridnn.callbacks import CallbackList, ProgbarLogger, has_live_display
from gridnn.errors import NonFiniteInputError, ShapeError
from gridnn.model.tiling import Axis, Pattern, Window, blended_axis, exact_axis, gaussian, output_field
from gridnn.model.window_layers import border_made_inside, reason_against, what_instead
from gridnn.model.window_methods import Overlap

if TYPE_CHECKING:
    from gridnn.model.protocol import Model

__all__ = ["Tiled", "not_known", "result_bytes", "tiled", "write_windows"]

_FAR = 2880  # elements; a multiple of the steps that models have: 64, 9, 5


@dataclass(frozen=True)
class Tiled:
    """A sample cut into windows."""

    model: Model
    x: Any
    axes: tuple[Axis, ...]
    blend: str | None
    """How overlapping windows are put together; None: they do not overlap in what they are asked for."""
    batch_size: int
    padding: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        channels = self.model.output_shape[-1]
        assert channels is not None
        return (*(axis.outputs for axis in self.axes), channels)

    @property
    def count(self) -> int:
        """Number of windows."""
        return math.prod(len(axis.windows) for axis in self.axes)

    def slabs(self) -> Iterator[tuple[int, NDArray[Any], int]]:
        """Rows of the result as they are completed: the first one's number, the rows, windows done so far."""
        first, rest = self.axes[0], self.axes[1:]
        rows = max(window.kept[1] for window in first.windows)
        wide = [max(window.written[1] for window in axis.windows) for axis in rest]
        channels = self.shape[-1]
        sums = np.zeros((rows, *wide, channels), self.model.dtype)
        crop = tuple(slice(axis.outputs) for axis in rest)
        totals = fold(np.multiply.outer, (self._totals(axis) for axis in rest), np.ones(()))[..., np.newaxis]
        own = self._totals(first)
        done, begin = 0, 0
        for number, window in enumerate(first.windows):
            base = window.first_output if self.blend else window.written[0]
            done = self._add(sums, base, window, done)
            last = number + 1 == len(first.windows)
            end = window.written[1] if last or not self.blend else first.windows[number + 1].first_output
            complete = sums[: end - begin]
            if self.blend:
                # Of what overlaps, sums are complete as soon as no further slab reaches them.
                weights = own[begin:end].reshape(-1, *(1,) * (complete.ndim - 1)) * totals
                complete = (complete / weights).astype(self.model.dtype)
            inside = (slice(max(min(first.outputs, end) - begin, 0)), *crop)
            kept = complete[inside]
            yield begin, kept if self.blend else kept.copy(), done
            if self.blend and not last:
                sums[: rows - (end - begin)] = sums[end - begin :].copy()
                sums[rows - (end - begin) :] = 0
            begin = end

    def _totals(self, axis: Axis) -> NDArray[np.float64]:
        """What the weights of an axis add up to at each output."""
        total = np.zeros(max(window.written[1] for window in axis.windows))
        for window in axis.windows:
            total[slice(*window.written)] += self._weights(window)
        return total

    def _weights(self, window: Window) -> NDArray[np.float64]:
        count = window.kept[1] - window.kept[0]
        return gaussian(count) if self.blend == "gaussian" else np.ones(count)

    def _add(self, sums: NDArray[Any], base: int, window: Window, done: int) -> int:
        """Adds the outputs of a slab's windows, whose rows begin at `base`; in a fixed order."""
        slab = _read(self.x, window, self.axes, self.padding)
        places = itertools.product(*(axis.windows for axis in self.axes[1:]))
        for sizes, group in itertools.groupby(places, lambda place: tuple(other.size for other in place)):
            while part := list(itertools.islice(group, self.batch_size)):
                batch = np.empty((len(part), window.size, *sizes, slab.shape[-1]), slab.dtype)
                for row, place in enumerate(part):
                    inside = [slice(other.start, other.start + other.size) for other in place]
                    index: tuple[slice, ...] = (slice(None), *inside)
                    batch[row] = slab[index]
                outputs = self.model.predict(batch, self.batch_size, verbose=0)
                for output, place in zip(outputs, part, strict=True):
                    whole = (window, *place)
                    kept = output[tuple(slice(*other.kept) for other in whole)]
                    rows = slice(window.written[0] - base, window.written[1] - base)
                    columns = [slice(*other.written) for other in place]
                    index = (rows, *columns)
                    target = sums[index]
                    if self.blend:
                        weights = fold(np.multiply.outer, (self._weights(other) for other in whole))
                        target += (kept * weights[..., np.newaxis]).astype(sums.dtype)
                    else:
                        target[...] = kept
                done += len(part)
        return done


def tiled(
    model: Model,
    x: Any,
    window: int | Sequence[int],
    overlap: Overlap,
    blend: str,
    batch_size: int,
    padding: str,
    result_bytes: int = 0,
) -> Tiled:
    """The arguments of `predict_windows`, checked, and where the windows lie.

    Args:
        model: see `predict_windows`, as for all others but the last.
        x: the sample.
        window: size of a window.
        overlap: how far windows overlap.
        blend: how they are put together.
        batch_size: windows at once.
        padding: what stands beyond the end.
        result_bytes: that the result takes at each position; 0 if it is not held.

    Raises:
        MemoryError: the result does not fit into memory.
        ValueError: the model is none for windows, they are too small, or an argument is wrong.
        ShapeError: `x` does not fit.
    """
    blend = _validation.choice(blend, "blend", ("gaussian", "constant"))
    padding = _validation.padding_mode(padding, "padding")
    batch_size = _validation.positive_integer(batch_size, "batch_size")
    network, graph = model.network, model.graph
    rank = len(network.input_shape) - 1
    if len(graph.inputs) > 1 or len(graph.outputs) > 1:
        join = "" if len(graph.inputs) == 1 else " Join the inputs to channels of one first."
        raise ValueError(
            f"Model '{model.name}' has inputs {model.input_names} and outputs {model.output_names}: windows "
            "are for one of each. For a single output make a model of it, gn.Model(model.inputs, "
            f"model.outputs[0]).{join}"
        )
    reason = reason_against(graph, rank)
    if reason is not None:
        raise ValueError(f"Model '{model.name}' gives windows something else than the whole: {reason}.")
    if rank not in (1, 2, 3) or len(network.output_shape) != rank + 1:
        raise ValueError(
            f"Model '{model.name}' makes outputs {model.output_shape} of inputs {model.input_shape}: windows "
            "need a model whose outputs have the spatial axes of its inputs."
        )
    sizes = _spatial(x, rank, network.input_shape[-1])
    asked = _validation.axis_integers(window, rank, "window", alone=True)
    for fixed, size in zip(network.input_shape, asked, strict=False):
        if fixed is not None and fixed != size:
            raise ValueError(
                f"The `window` argument is {asked}, but model '{model.name}' takes inputs "
                f"{model.input_shape}: a window has that size, or the model an Input of (None, ...)."
            )
    free = tuple(size is None for size in network.input_shape[:-1])
    patterns, fits = _patterns(model, sizes, asked, free)
    # Asked for before windows are listed, of which such a result has more than can be listed.
    if result_bytes:
        extents = [pattern.extent(size)[1] for pattern, size in zip(patterns, sizes, strict=True)]
        room((*extents, result_bytes), np.dtype(np.uint8))
    if overlap is None:
        own = tuple(pattern.size for pattern in patterns)
        border = border_made_inside(graph, output_field(graph, own)[0], own)
        if border is not None:
            raise ValueError(
                f"Model '{model.name}' has borders of its own in each window: {border}. Crop at the end, or "
                "blend windows that overlap: overlap=0.5."
            )
        axes = []
        for number, (pattern, size) in enumerate(zip(patterns, sizes, strict=True)):
            axis = exact_axis(pattern, size, ragged=free[number] and fits)
            if axis is None:
                raise ValueError(_too_small(model, pattern, number, rank))
            axes.append(axis)
        return Tiled(model, x, tuple(axes), None, batch_size, padding)
    several = isinstance(overlap, Iterable) and not isinstance(overlap, str)
    shares: tuple[Any, ...] = tuple(overlap) if several else (overlap,) * rank  # type: ignore[arg-type]
    if len(shares) != rank:
        raise ValueError(f"The `overlap` argument must have {rank} elements. Received overlap={overlap!r}.")
    elements = [_overlap(share, pattern.size) for share, pattern in zip(shares, patterns, strict=True)]
    axes = []
    for number, each in enumerate(zip(patterns, sizes, elements, strict=True)):
        axis = blended_axis(*each)
        if axis is None:
            raise ValueError(_too_small(model, each[0], number, rank))
        axes.append(axis)
    return Tiled(model, x, tuple(axes), blend, batch_size, padding)


def _classes(rows: NDArray[Any], first: int) -> NDArray[np.intp]:
    """The class of each position; the first of the rows has this number.

    Raises:
        NonFiniteInputError: there are positions of no class.
    """
    unknown = np.isnan(rows)
    if unknown.any():
        raise not_known(unknown, first, "NaN, and so of no class")
    classes: NDArray[np.intp] = rows.argmax(axis=-1)
    return classes


def not_known(wrong: NDArray[np.bool_], first: int, what: str) -> NonFiniteInputError:
    """The error about outputs of which some are `wrong`; the first of the rows has this number."""
    row, *others = (int(index) for index in np.argwhere(wrong.any(axis=-1))[0])
    place = ", ".join(map(str, (first + row, *others)))
    return NonFiniteInputError(
        f"The outputs at position ({place}) are {what}: the sample holds NaN or infinity near it, which can "
        "be filled, or the weights of the model do."
    )


def result_bytes(model: Model, reduce: str | None) -> int:
    """What the result takes at each position."""
    channels = model.network.output_shape[-1] or 1
    if reduce is None:
        return channels * np.dtype(model.dtype).itemsize
    return np.min_scalar_type(channels - 1).itemsize


def write_windows(work: Tiled, reduce: str | None, out: Any, verbose: str | int) -> Any:
    """The result of all windows, in an array of its own or in `out`.

    Raises:
        ValueError: an argument is wrong.
        ShapeError: `out` has another shape.
        NonFiniteInputError: outputs that are to be reduced to classes are NaN.
    """
    if reduce is not None:
        _validation.choice(reduce, "reduce", ("argmax",))
        if work.shape[-1] == 1:
            raise ValueError(
                "`reduce='argmax'` needs an output for each class, and the model has one: compare the "
                "outputs with a threshold instead."
            )
    shape = work.shape if reduce is None else work.shape[:-1]
    if out is None:
        classes = np.min_scalar_type(work.shape[-1] - 1)
        out = room(shape, np.dtype(work.model.dtype) if reduce is None else classes)
    elif tuple(shape_of(out, "out") or ()) != shape:
        raise ShapeError(
            f"The `out` argument must have shape {shape}. Received "
            f"{getattr(out, 'shape', type(out).__name__)}."
        )
    _holds(np.dtype(getattr(out, "dtype", np.float64)), reduce is not None, work)
    if isinstance(out, np.ndarray) and not out.flags.writeable:
        raise ValueError("The `out` argument is an array that is read-only.")
    if _same_memory(work.x, out):
        raise ValueError(
            "The `out` argument shares memory with `x`, of which rows are read again after results for them "
            "are written: pass another array."
        )
    if _validation.verbosity(verbose) == "auto" and not has_live_display():
        verbose = 0
    model: Any = work.model
    params = {"verbose": verbose, "epochs": 1, "steps": work.count, "samples": work.count, "batch_size": 1}
    line = ProgbarLogger()
    listeners = CallbackList([line] if verbose else [], model, params)
    try:
        listeners.on_predict_begin({})
        for first, rows, done in work.slabs():
            out[first : first + len(rows)] = rows if reduce is None else _classes(rows, first)
            listeners.on_predict_batch_end(done - 1, {})
        listeners.on_predict_end({})
    finally:
        line.close()
    return out


def room(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array of this shape.

    Raises:
        MemoryError: there is not enough memory; the message says what to do.
    """
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError) as error:  # ValueError: more than there are addresses
        raise MemoryError(
            f"The result takes {math.prod(shape) * dtype.itemsize / 2**30:.3g} GiB, more than can be had: "
            "pass a file as `out` (numpy.memmap, HDF5, Zarr), or take `reduce='argmax'`."
        ) from error


def _same_memory(x: Any, out: Any) -> bool:
    """Whether what is written into `out` may change `x`."""
    if x is out:
        return True
    if not (isinstance(x, np.ndarray) and isinstance(out, np.ndarray)):
        return type(x) is type(out) and (x == out) is True  # datasets of files know each other
    try:
        if np.shares_memory(x, out, max_work=10_000):  # type: ignore[arg-type] # more than 0 and -1
            return True
    except RuntimeError:  # it may, and to know would take long
        return True
    one, other = _mapped(x), _mapped(out)
    if one is None or other is None or one is other:
        return False
    same = os.path.realpath(one.filename or "") == os.path.realpath(other.filename or "")
    return same and one.offset < other.offset + other.nbytes and other.offset < one.offset + one.nbytes


def _mapped(array: NDArray[Any]) -> np.memmap[Any, Any] | None:
    """The map of a file that an array is a part of, if there is one."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array if isinstance(array, np.memmap) and array.filename is not None else None


def _holds(dtype: np.dtype[Any], classes: bool, work: Tiled) -> None:
    """Raises TypeError if an array of this type would change the results without a word."""
    if classes:
        last = work.shape[-1] - 1
        if dtype.kind not in "iuf" or np.array(last).astype(dtype) != last:
            raise TypeError(
                f"The `out` argument must hold numbers of {last + 1} classes. Received type {dtype}; pass "
                f"one of type {np.min_scalar_type(last)}."
            )
    elif dtype.kind != "f":
        raise TypeError(
            f"The `out` argument must hold outputs ({work.model.dtype}). Received type {dtype}, which "
            "would cut off fractions; pass an array of floats, or `reduce`."
        )


def _patterns(
    model: Model, sizes: tuple[int, ...], asked: tuple[int, ...], free: tuple[bool, ...]
) -> tuple[list[Pattern], bool]:
    """The patterns of windows, which are a little smaller or larger where the whole then comes out even.

    With steps above 1, the padding of "same" depends on what sizes leave as a remainder: windows have that of
    the whole, if the model takes such sizes. Returns also whether it does.
    """
    # Windows far larger than the sample are its size and padding; what remainders say of them is kept.
    asked = tuple(
        window - max((window - size) // _FAR - 1, 0) * _FAR if may else window
        for size, window, may in zip(sizes, asked, free, strict=True)
    )
    try:
        fields, output = output_field(model.graph, asked)
    except ShapeError as error:
        raise ValueError(f"Windows of {asked} are too small for model '{model.name}': {error}") from error
    if any(min(field.outputs, default=1) < 1 for field in fields):
        raise ValueError(f"Windows of {asked} are too small for model '{model.name}': nothing is left.")
    if not output.outputs or not all(output.jump):
        name = next((field.name for field in fields if not all(field.jump)), output.name)
        raise ValueError(
            f"Model '{model.name}': every output sees the whole input (through {name}), so that no window "
            f"gives what the whole would. {what_instead(model.graph, name)}"
        )
    first = [Pattern.of(fields, output, axis, size) for axis, size in enumerate(asked)]
    rests = [
        (size - window) % pattern.step for size, window, pattern in zip(sizes, asked, first, strict=True)
    ]
    # A little smaller, or larger where that is too small.
    for more in (0, 1):
        even = tuple(
            min(size, window + rest - (0 if more or not rest else pattern.step)) if may else window
            for size, window, rest, may, pattern in zip(sizes, asked, rests, free, first, strict=True)
        )
        if even == asked:
            return first, True
        if min(even) >= 1 and _accepts(model, even):
            fields, output = output_field(model.graph, even)
            return [Pattern.of(fields, output, axis, size) for axis, size in enumerate(even)], True
    return first, False


def _accepts(model: Model, sizes: tuple[int, ...]) -> bool:
    """Whether the model takes inputs of these sizes: branches may not meet, borders be too wide."""
    channels = model.input_shape[-1]
    assert channels is not None
    try:
        model.predict(np.zeros((1, *sizes, channels), np.uint8), 1, verbose=0)
    except ShapeError:
        return False
    return True


def _too_small(model: Model, pattern: Pattern, axis: int, rank: int) -> str:
    where = "" if rank == 1 else f" along axis {axis}"
    lost = pattern.outputs - (pattern.valid[1] - pattern.valid[0])
    least = pattern.size + (pattern.period - (pattern.outputs - lost)) * pattern.step // pattern.period
    if model.network.input_shape[axis] is None:
        what = f"Take windows of about {max(least, pattern.size + 1)} or more, better twice that, or blend"
    else:
        what = "The model takes no others: give it an Input of (None, ...), or blend"
    return (
        f"Windows of {pattern.size}{where} are too small for model '{model.name}': {lost} of their "
        f"{pattern.outputs} outputs see beyond them. {what} windows that overlap: overlap=0.5."
    )


def _overlap(share: object, size: int) -> int:
    """Elements by which windows of this size overlap: what is below 1 is a share."""
    number = _validation.real(share, "overlap", low=0.0)
    if number == 1 and not isinstance(share, SupportsIndex):
        raise ValueError(
            f"`overlap`={share!r} would be a window's whole size as a share: give a share below 1, or the "
            "integer 1 for one element."
        )
    elements = round(number * size) if number < 1 else int(number)
    if elements != number and number >= 1:
        raise ValueError(
            f"The `overlap` argument must be whole numbers, or shares below 1. Received {share!r}."
        )
    if elements >= size:
        raise ValueError(
            f"The `overlap` argument must be below the size of a window, {size}. Received {share!r}."
        )
    return elements


def _spatial(x: Any, rank: int, channels: int | None) -> tuple[int, ...]:
    """Spatial sizes of a sample that fits the model."""
    shape = shape_of(x, "x")
    if not isinstance(shape, tuple):
        raise TypeError(f"The `x` argument must be an array. Received {type(x).__name__}.")
    _validation.not_masked(x, "x")
    if len(shape) != rank + 1 or shape[-1] != channels or 0 in shape:
        hint = ""
        if len(shape) == rank + 2 and shape[0] == 1:
            hint = " It has a batch axis: pass x[0]."
        elif len(shape) == rank and channels == 1:
            hint = " It lacks the axis of channels: pass x[..., numpy.newaxis]."
        elif len(shape) == rank + 2:
            hint = " It holds several samples: pass them one by one."
        raise ShapeError(
            f"The `x` argument must be one sample, {rank} spatial axes and {channels} channels. Received "
            f"shape {shape}.{hint}"
        )
    return tuple(int(size) for size in shape[:-1])


def _read(x: Any, window: Window, axes: tuple[Axis, ...], padding: str) -> NDArray[Any]:
    """The slab of a window of the first axis, with padding."""
    size = int(x.shape[0])
    rows = _places(size, axes[0].inputs, padding)[window.start : window.start + window.size]
    real = rows[rows >= 0]
    low, high = int(real.min()), int(real.max()) + 1
    slab = np.asarray(x[low:high])
    if slab.shape != (high - low, *x.shape[1:]):  # NumPy would spread a single row over the window
        raise ShapeError(
            f"The `x` argument has shape {tuple(x.shape)}, but its rows {low} to {high - 1} came with shape "
            f"{slab.shape}: a source gives what its shape promises."
        )
    slab = slab.view(np.uint8) if slab.dtype == np.bool_ else slab
    if high - low != window.size:
        slab = _taken(slab, np.where(rows < 0, -1, rows - low), 0)
    for number, axis in enumerate(axes[1:], 1):
        count = int(x.shape[number])
        if axis.inputs != count:
            slab = _taken(slab, _places(count, axis.inputs, padding), number)
    return slab


def _places(size: int, padded: int, padding: str) -> NDArray[np.int64]:
    """Which elements of an axis stand where it is padded at its end; -1 is zero."""
    places = np.arange(size)
    if padded == size:
        return places
    if padding == "zeros":
        return np.pad(places, (0, padded - size), constant_values=-1)
    return np.pad(places, (0, padded - size), padding)  # type: ignore[call-overload, no-any-return]


def _taken(array: NDArray[Any], places: NDArray[np.int64], axis: int) -> NDArray[Any]:
    taken = np.take(array, places, axis=axis)
    taken[(slice(None),) * axis + (places < 0,)] = 0
    return taken
