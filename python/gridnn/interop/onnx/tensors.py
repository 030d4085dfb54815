"""Tensors of an ONNX graph, which may be there in two orders of their axes.

ONNX wants channels first, models have them last. A tensor is handed from layer to layer as it is, and put
into the other order where a layer needs that, once. So images cross over at the input and at the output, if
at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gridnn._network import Shape

__all__ = ["Order", "Tensor", "axis_in", "permutation"]

Order = Literal["first", "last"]
"""Where the channels are: behind the batch, or at the end."""


@dataclass(frozen=True)
class Tensor:
    """A tensor, by its names in the graph."""

    shape: Shape
    """Of one sample, channels last, whichever order is there."""
    names: dict[Order, str]
    """Those orders that are there; conversions add to it."""
    grid: Shape | None = None
    """Of a vector that was a grid: its shape. "first" is then the order of elements of a grid with channels
    first, as `Flatten` finds them."""

    @property
    def rank(self) -> int:
        """Number of axes of one sample."""
        return len(self.shape)

    @property
    def known(self) -> bool:
        """Whether all sizes are."""
        return None not in self.shape

    @property
    def order(self) -> Order:
        """An order that is there, "first" if both are."""
        return "first" if "first" in self.names else "last"

    @property
    def name(self) -> str:
        """The name in that order."""
        return self.names[self.order]

    def like(self, name: str, order: Order | None = None) -> Tensor:
        """A tensor of the same shape, in the order that `name` has got from this one."""
        return made(self.shape, name, order or self.order, self.grid)

    def axis(self, axis: int, order: Order | None = None) -> int:
        """Axis of a sample (0 is its first one; negative from the end) as axis of the graph's tensor."""
        return axis_in(order or self.order, axis % self.rank, self.rank)

    def arranged(self, values: NDArray[Any], order: Order | None = None) -> NDArray[Any]:
        """Values of the shape of a sample, or with 1 along some axes, as an operator wants them."""
        if (order or self.order) == "last":
            return values
        if self.rank > 1:
            return np.moveaxis(values, -1, 0)
        if self.grid is None or values.size == 1:
            return values
        return np.moveaxis(values.reshape([size or 1 for size in self.grid]), -1, 0).reshape(values.shape)


def made(shape: Shape, name: str, order: Order, grid: Shape | None = None) -> Tensor:
    """The tensor behind an operator; of vectors without another past both orders are the same."""
    if len(shape) == 1 and (grid is None or grid[-1] == 1 or all(size == 1 for size in grid[:-1])):
        return Tensor(shape, {"first": name, "last": name})
    return Tensor(shape, {order: name}, grid if len(shape) == 1 else None)


def axis_in(order: Order, axis: int, rank: int) -> int:
    """Axis `axis` of a sample of `rank` axes, channels last, as axis of a batch in this order."""
    if order == "last":
        return axis + 1
    return 1 if axis == rank - 1 else axis + 2


def permutation(rank: int, to: Order) -> list[int]:
    """The `perm` of a Transpose of a batch with samples of `rank` axes."""
    axes = range(1, rank + 1)
    return [0, rank, *axes[:-1]] if to == "first" else [0, *axes[1:], 1]
