"""Which inputs an output sees, axis by axis, followed through layers and branches.

An axis of a tensor is described by the field of each of its elements: the input elements from `first` to
`last` that can change it. Windows place elements beyond the borders as well (padding), so fields may be
asked for any index, and reach beyond the input. Layers that repeat elements (upsampling, transposed
convolutions) make fields whose size depends on the position, but in a pattern: `period` elements further
on, everything has moved by `step`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Field", "Grid", "Whole", "union"]

Span = tuple[int, int]


@dataclass(frozen=True)
class Field:
    """The fields of the elements of one axis.

    `table` holds ``(first, last)`` of elements 0 to ``period - 1``; an empty field has ``last < first``.
    """

    table: tuple[Span, ...]
    step: int

    @classmethod
    def of_input(cls) -> Field:
        """Every element sees itself."""
        return cls(((0, 0),), 1)

    @property
    def period(self) -> int:
        """Elements after which the pattern repeats."""
        return len(self.table)

    def at(self, index: int) -> Span:
        """First and last input element that element `index` sees."""
        turns, place = divmod(index, self.period)
        first, last = self.table[place]
        return first + turns * self.step, last + turns * self.step

    @property
    def size(self) -> int:
        """Input elements that an element sees, from the first to the last; the most of any element."""
        return max(last - first + 1 for first, last in self.table)

    @property
    def jump(self) -> float:
        """Input elements between the fields of neighbours; an int where it is one."""
        turns, rest = divmod(self.step, self.period)
        return turns if rest == 0 else self.step / self.period

    def through(self, inputs: Callable[[int], Span], outputs: int, advance: int) -> Field:
        """The fields behind a layer.

        Args:
            inputs: first and last element of this axis that an output of the layer reads; last < first if
                none.
            outputs: outputs after which the layer's own pattern repeats.
            advance: how many elements of this axis that pattern moves on.
        """
        # As many turns of the layer's pattern as it takes to arrive at the same place of this one.
        turns = self.period // math.gcd(self.period, advance) if advance else 1
        table = tuple(self._reach(*inputs(index)) for index in range(outputs * turns))
        return Field(table, advance * turns // self.period * self.step if advance else 0)

    def _reach(self, low: int, high: int) -> Span:
        """What elements `low` to `high` see together."""
        if high < low:
            return self.at(low)[0], self.at(low)[0] - 1
        # Over more than a period nothing new comes in between.
        ends = {
            *range(low, min(low + self.period, high + 1)),
            *range(max(low, high - self.period + 1), high + 1),
        }
        spans = [self.at(index) for index in ends]
        return min(first for first, _ in spans), max(last for _, last in spans)

    def window(self, span: int, stride: int, before: int) -> Field:
        """Behind a window of `span` elements that starts `before` elements outside."""
        return self.through(lambda o: (o * stride - before, o * stride - before + span - 1), 1, stride)

    def spread(self, span: int, stride: int, before: int) -> Field:
        """Behind a transposed window: element i is spread over outputs ``i * stride - before`` and on."""
        return self.through(
            lambda o: (-((span - 1 - o - before) // stride), (o + before) // stride), stride, 1
        )

    def repeated(self, factor: int, *, blended: bool) -> Field:
        """Behind upsampling; blended with the nearest neighbours or not."""

        def inputs(output: int) -> Span:
            if not blended or factor == 1:
                return output // factor, output // factor
            # Output o lies at (o + 1/2) / factor - 1/2 between two inputs, or on one.
            low, rest = divmod(2 * output + 1 - factor, 2 * factor)
            return low, low + (rest > 0)

        return self.through(inputs, factor, 1)

    def hull(self, count: int) -> Span:
        """What elements 0 to ``count - 1`` see together."""
        return self._reach(0, max(count, 1) - 1)


@dataclass(frozen=True)
class Grid:
    """A tensor whose axes are those of the input: a field for each of them."""

    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Whole:
    """A tensor without axes of the input: every element may see the same part of it."""

    spans: tuple[Span, ...]


def union(tensors: Sequence[Grid | Whole], sizes: Sequence[int]) -> Grid | Whole:
    """What elements of a merged tensor see.

    Args:
        tensors: the tensors that are merged element by element, or channel by channel.
        sizes: elements of each axis of the result.
    """
    grids = [tensor for tensor in tensors if isinstance(tensor, Grid)]
    if len(grids) < len(tensors):
        spans = [hull(tensor, sizes) for tensor in tensors]
        return Whole(tuple(_around(axis) for axis in zip(*spans, strict=True)))
    axes = zip(*(grid.fields for grid in grids), sizes, strict=True)
    return Grid(tuple(_merged(fields, size) for *fields, size in axes))


def hull(tensor: Grid | Whole, sizes: Sequence[int]) -> tuple[Span, ...]:
    """What all elements of a tensor see together."""
    if isinstance(tensor, Whole):
        return tensor.spans
    return tuple(field.hull(size) for field, size in zip(tensor.fields, sizes, strict=True))


def _merged(fields: Sequence[Field], size: int) -> Field:
    period = math.lcm(*(field.period for field in fields))
    steps = {field.step * (period // field.period) for field in fields}
    if len(steps) > 1:
        # Branches that advance at different speeds and yet end in the same size (one crops, another strides):
        # there is no pattern, so every element is listed.
        period, steps = size, {max(field.hull(size)[1] for field in fields) + 1}
    table = tuple(_around([field.at(index) for field in fields]) for index in range(period))
    return Field(table, steps.pop())


def _around(spans: Sequence[Span]) -> Span:
    """The smallest span that covers all that are not empty."""
    full = [span for span in spans if span[0] <= span[1]] or list(spans)
    return min(first for first, _ in full), max(last for _, last in full)
