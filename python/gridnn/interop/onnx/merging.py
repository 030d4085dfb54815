"""Layers that put tensors together: element by element, side by side, and products summed along an axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from gridnn._network import Shape
from gridnn.interop.onnx.builder import Site
from gridnn.interop.onnx.tensors import Order, Tensor, axis_in, made

__all__ = ["dot", "merged", "merging"]

_MERGES = {
    "add": "Sum",
    "subtract": "Sub",
    "multiply": "Mul",
    "average": "Mean",
    "maximum": "Max",
    "minimum": "Min",
}
_OF_TWO = ("Mul", "Sub")

_LEAST_NORM = 1e-7
"""Norms are kept above this, as the layer does."""


def merging(merge: str) -> Callable[[Site], Tensor]:
    """What writes a merging layer of this kind, of however many tensors."""
    return lambda site: merged(site, merge)


def merged(site: Site, merge: str) -> Tensor:
    """What is made of the ends of branches."""
    if merge in ("concat", "concatenate"):
        return _side_by_side(site)
    if merge not in _MERGES:
        site.refuse(f"there is no operator for merge='{merge}'")
    order = _common_order(site.inputs)
    names = [site.builder.get(tensor, order) for tensor in site.inputs]
    kind = "Add" if merge == "add" and len(names) == 2 else _MERGES[merge]
    y = names[0]
    if kind in _OF_TWO:
        for number, name in enumerate(names[1:], 2):
            y = site.op(kind, [y, name], "" if number == len(names) else f"first_{number}")
    elif len(names) > 1:
        y = site.op(kind, names)
    return made(site.output_shape, y, order, site.x.grid)


def _side_by_side(site: Site) -> Tensor:
    order: Order = "last" if len(site.output_shape) == 1 else _common_order(site.inputs)
    names = [site.builder.get(tensor, order) for tensor in site.inputs]
    if len(names) == 1:
        return site.output(names[0], order)
    rank = len(site.output_shape)
    axis = getattr(site.layer, "axis", -1)  # the batch counts
    y = site.op("Concat", names, axis=axis_in(order, (axis if axis < 0 else axis - 1) % rank, rank))
    return site.output(y, order)


def _common_order(tensors: Sequence[Tensor]) -> Order:
    """The order to merge in: channels first where one is, unless axes are to be matched from the end."""
    if len({tensor.rank for tensor in tensors}) > 1:
        return "last"
    grids: set[Shape | None] = {tensor.grid for tensor in tensors}
    if tensors[0].rank == 1 and len(grids) > 1:
        return "last"
    return "first" if any("first" in tensor.names for tensor in tensors) else "last"


def dot(site: Site) -> Tensor:
    """`Dot`, as a product of matrices: ``(rest of the first, axis) @ (axis, rest of the second)``."""
    first, second = site.inputs
    axes = [axis % (x.rank + 1) - 1 for axis, x in zip(site.layer.axes, site.inputs, strict=True)]
    left = _matrix(site, first, axes[0], "first")
    right = _matrix(site, second, axes[1], "second")
    if first.rank == second.rank == 2:
        return site.output(site.op("MatMul", [left, right]), "last")
    product = site.op("MatMul", [left, right], "product")
    return site.output(site.reshape(product, _sizes(site, site.output_shape), ""), "last")


def _matrix(site: Site, x: Tensor, axis: int, part: str) -> str:
    """A tensor with one of its axes at the end, of the second operand in front, and the others as one."""
    name = site.builder.get(x, "last")
    if site.layer.normalize:
        square = site.reduce("ReduceL2", name, [axis + 1], f"{part}/norm", keepdims=True)
        least = site.constant(np.float32(_LEAST_NORM), "least_norm")
        name = site.op("Div", [name, site.op("Max", [square, least], f"{part}/kept")], f"{part}/unit")
    others = [other for other in range(x.rank) if other != axis]
    order = [*others, axis] if part == "first" else [axis, *others]
    if order != sorted(order):
        name = site.op("Transpose", [name], f"{part}/turned", perm=[0, *(at + 1 for at in order)])
    if len(others) == 1:
        return name
    sizes = [x.shape[other] for other in others]
    rest = None if None in sizes else math.prod(size or 0 for size in sizes)
    matrix = (rest, x.shape[axis]) if part == "first" else (x.shape[axis], rest)
    return site.reshape(name, _sizes(site, matrix), f"{part}/matrix")


def _sizes(site: Site, shape: Sequence[int | None]) -> list[int]:
    """Sizes for a Reshape, one of which may be whatever is left."""
    if sum(size is None for size in shape) > 1:
        site.refuse("it depends on several sizes that are not known")
    return [0, *(-1 if size is None else size for size in shape)]
