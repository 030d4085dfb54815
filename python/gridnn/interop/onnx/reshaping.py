"""Layers that rearrange, repeat or put together what is there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gridnn._network import Shape
from gridnn.interop.onnx.builder import Site
from gridnn.interop.onnx.tensors import Order, Tensor, axis_in, made, permutation

__all__ = ["flatten", "merged", "permute", "repeat_vector", "reshape", "unchanged", "up_sampling"]


def unchanged(site: Site) -> Tensor:
    """Layers that act in training only."""
    return site.x


def flatten(site: Site) -> Tensor:
    """`Flatten`: elements stay in the order that they are in, and the next layer's weights follow."""
    x = site.x
    if x.rank == 1:
        return x
    if None in site.output_shape:
        site.refuse("the number of elements is not known")
    y = site.reshape(x.name, [0, *site.output_shape], "")
    return made(site.output_shape, y, x.order, x.shape)


def reshape(site: Site) -> Tensor:
    """`Reshape`, which goes by the order of elements with channels last."""
    if len(site.output_shape) == 1:
        return flatten(site)
    if None in site.output_shape:
        site.refuse("the number of elements is not known")
    y = site.reshape(site.builder.get(site.x, "last"), [0, *site.output_shape], "")
    return site.output(y, "last")


def permute(site: Site) -> Tensor:
    """`Permute`, from whichever order is there."""
    x, dims = site.x, site.layer.dims
    if list(dims) == sorted(dims):
        return x
    perm = [0, *dims]
    if x.order == "first":
        back = permutation(x.rank, "last")
        perm = [back[axis] for axis in perm]
    return site.output(site.op("Transpose", [x.name], perm=perm), "last")


def repeat_vector(site: Site) -> Tensor:
    """`RepeatVector`."""
    x, n = site.builder.get(site.x, "last"), site.layer.n
    row = site.op("Unsqueeze", [x, site.constant(np.array([1]), "axes")], "row")
    return site.output(site.op("Tile", [row, site.constant(np.array([1, n, 1]), "repeats")]), "last")


def up_sampling(site: Site) -> Tensor:
    """`UpSampling1D` and its siblings."""
    layer = site.layer
    scales = site.constant(np.array([1.0, 1.0, *map(float, layer.size)]), "scales")
    inputs = [site.builder.get(site.x, "first"), "", scales]
    if getattr(layer, "interpolation", "nearest") == "nearest":
        rule = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    else:
        rule = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return site.output(site.op("Resize", inputs, **rule), "first")


_MERGES = {
    "add": "Sum",
    "subtract": "Sub",
    "multiply": "Mul",
    "average": "Mean",
    "maximum": "Max",
    "minimum": "Min",
}
_OF_TWO = ("Mul", "Sub")


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
