"""Where windows lie along an axis, and which outputs each of them is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridnn._graph import Graph
from gridnn._receptive_field import ReceptiveField, input_field, receptive_fields

__all__ = ["Axis", "Window", "blended_axis", "exact_axis", "output_field"]

_WINOGRAD_TILE = 4  # outputs; tiles of 2 fit into it
_MOST_WINDOWS = 1 << 20
"""Along one axis: they are listed, in some 300 MB."""


@dataclass(frozen=True)
class Window:
    """A window along one axis; numbers are inputs and outputs of the padded axis."""

    start: int
    size: int
    first_output: int
    """Output of the axis that output 0 of the window is."""
    kept: tuple[int, int]
    """Its own outputs from the first one that is written to the one after the last."""

    @property
    def written(self) -> tuple[int, int]:
        """The same, as outputs of the axis."""
        return self.first_output + self.kept[0], self.first_output + self.kept[1]


@dataclass(frozen=True)
class Axis:
    """The windows of an axis, from its beginning to its end."""

    inputs: int
    """Elements of the axis with padding."""
    outputs: int
    """Outputs, those that only padding gives rise to left out."""
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class Pattern:
    """How outputs follow inputs along one axis, for windows of one size."""

    size: int
    step: int
    """Inputs after which the pattern repeats, and windows may begin."""
    period: int
    """Outputs in that time."""
    outputs: int
    """Of a window."""
    valid: tuple[int, int]
    """The outputs that see nothing outside, from the first one to the one after the last."""
    alignment: int
    """Inputs after which the tiles of every convolution begin anew as well; a multiple of `step`."""

    @classmethod
    def of(cls, fields: Sequence[ReceptiveField], output: ReceptiveField, axis: int, size: int) -> Pattern:
        """That of an axis, by the receptive fields in a window of this size."""
        period, step = output.periods[axis]
        count = output.outputs[axis]
        rank = len(output.size)
        spans = [output.of(*(index,) * rank)[axis] for index in range(count)]
        low = max((index + 1 for index, (first, _) in enumerate(spans) if first < 0), default=0)
        high = min((index for index, (_, last) in enumerate(spans) if last > size - 1), default=count)
        alignment = step
        for field in fields:
            if field.outputs:
                outputs, inputs = field.periods[axis]
                alignment = math.lcm(alignment, inputs * _WINOGRAD_TILE // math.gcd(outputs, _WINOGRAD_TILE))
        return cls(size, step, period, count, (low, max(high, low)), alignment)

    def output_at(self, start: int) -> int:
        """The output of the axis that is output 0 of a window which begins here."""
        return start // self.step * self.period

    def extent(self, size: int) -> tuple[int, int]:
        """Elements of an axis of this size with padding, and outputs without those of padding alone."""
        padded = max(size, self.size)
        padded += -(padded - self.size) % self.step
        total = self.output_at(padded - self.size) + self.outputs
        return padded, total - _surplus(self, padded - size)

    @property
    def reach(self) -> int:
        """Inputs from one window to the next, at most, if every output is to be valid in one of them."""
        return (self.valid[1] - self.valid[0]) // self.period * self.step


def output_field(graph: Graph, sizes: tuple[int, ...]) -> tuple[list[ReceptiveField], ReceptiveField]:
    """The receptive fields of all layers for inputs of these sizes, and that of the model's output."""
    fields = receptive_fields(graph, sizes)
    if graph.outputs[0] in graph.inputs:
        return fields, input_field(sizes)
    layers = [node.number for node in graph.nodes if node.kind != "input"]
    return fields, fields[layers.index(graph.outputs[0])]


def exact_axis(pattern: Pattern, size: int, *, ragged: bool) -> Axis | None:
    """Windows each of which is asked for outputs only that are those of the whole axis.

    Args:
        pattern: of a window.
        size: elements of the axis.
        ragged: whether the last window may be smaller, so that it begins where tiles do.

    Returns:
        The axis; None if a window sees less than an output does.

    Raises:
        ValueError: there are more windows than can be listed.
    """
    if size <= pattern.size:
        return _single(pattern, size)
    advance = pattern.reach
    if advance < 1:
        return None
    alignment = pattern.alignment if pattern.alignment <= advance else pattern.step
    advance -= advance % alignment
    padded, outputs = pattern.extent(size)
    last = padded - pattern.size
    if ragged:
        last += -last % alignment
    starts = _starts(last, advance)
    total = pattern.output_at(padded - pattern.size) + pattern.outputs
    windows: list[Window] = []
    done = 0
    for start in starts:
        first = pattern.output_at(start)
        end = total if start == last else first + pattern.valid[1]
        windows.append(Window(start, min(pattern.size, padded - start), first, (done - first, end - first)))
        done = end
    return Axis(padded, outputs, tuple(windows))


def blended_axis(pattern: Pattern, size: int, overlap: int) -> Axis | None:
    """Windows that overlap by at least this many elements, and are asked for all of their outputs.

    Returns:
        The axis; None if windows have too few outputs for those of one to begin where another's end.

    Raises:
        ValueError: there are more windows than can be listed.
    """
    if size <= pattern.size:
        return _single(pattern, size)
    turns = pattern.outputs // pattern.period
    if not turns:
        return None
    # Convolutions without padding have fewer outputs than inputs; there may be no gap between those of two.
    advance = min(max((pattern.size - overlap) // pattern.step, 1), turns) * pattern.step
    padded, outputs = pattern.extent(size)
    last = padded - pattern.size
    windows = tuple(
        Window(start, pattern.size, pattern.output_at(start), (0, pattern.outputs))
        for start in _starts(last, advance)
    )
    return Axis(padded, outputs, windows)


def gaussian(count: int) -> NDArray[np.float64]:
    """Weights of a window's outputs: a bell an eighth of it wide, nowhere 0 (as in nnU-Net and MONAI)."""
    places = np.arange(count) - (count - 1) / 2
    bell: NDArray[np.float64] = np.exp(-0.5 * (places / (count / 8)) ** 2)
    return np.maximum(bell, 1e-3)


def _single(pattern: Pattern, size: int) -> Axis:
    window = Window(0, pattern.size, 0, (0, pattern.outputs))
    return Axis(*pattern.extent(size), (window,))


def _starts(last: int, advance: int) -> list[int]:
    if last // advance >= _MOST_WINDOWS:
        raise ValueError(
            f"The `window` argument makes {last // advance + 2} windows along an axis, more than the "
            f"{_MOST_WINDOWS} that can be listed: take larger windows, or hand over `x` in parts."
        )
    return [*range(0, last, advance), last]


def _surplus(pattern: Pattern, padding: int) -> int:
    """Outputs that only padding gives rise to."""
    return min(padding * pattern.period // pattern.step, pattern.outputs - 1)
