"""Layers that rearrange or repeat what is there."""

from __future__ import annotations

import numpy as np

from gridnn.interop.onnx.builder import Site
from gridnn.interop.onnx.tensors import Tensor, made, permutation

__all__ = ["flatten", "permute", "repeat_vector", "reshape", "unchanged", "up_sampling"]


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
