"""Layers that bring values to a common scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gridnn.interop._layer_arithmetic import divisor, sample_axes, sample_axis
from gridnn.interop.onnx.builder import Site
from gridnn.interop.onnx.tensors import Order, Tensor

__all__ = ["batch_normalization", "group_normalization", "layer_normalization", "normalization", "rescaling"]


def _channels_second(site: Site, axis: int) -> tuple[str, Order | None]:
    """The input with a sample's axis `axis` behind the batch, and in which order that is, if in one."""
    x = site.x
    if x.rank == 1:
        return x.name, x.order
    if axis == x.rank - 1:
        return site.builder.get(x, "first"), "first"
    if axis == 0:
        return site.builder.get(x, "last"), "last"
    return site.op("Transpose", [site.builder.get(x, "last")], "in", perm=_swap(x.rank, axis)), None


def _swap(rank: int, axis: int) -> list[int]:
    """Exchanges an axis of the sample with its first one."""
    perm = list(range(rank + 1))
    perm[1], perm[axis + 1] = perm[axis + 1], perm[1]
    return perm


def _back(site: Site, y: str, order: Order | None, axis: int) -> Tensor:
    if order is None:
        y, order = site.op("Transpose", [y], "out", perm=_swap(site.x.rank, axis)), "last"
    return site.x.like(y, order)


def batch_normalization(site: Site) -> Tensor:
    """`BatchNormalization`; folded into a convolution it could not be trained on."""
    layer, x = site.layer, site.x
    axis = sample_axis(layer.axis, x.rank)
    source, order = _channels_second(site, axis)
    mean, variance = layer.moving_mean, layer.moving_variance
    numbers = {
        "gamma": layer.gamma if layer.scale else np.ones_like(mean),
        "beta": layer.beta if layer.center else np.zeros_like(mean),
        "moving_mean": mean,
        "moving_variance": variance,
    }
    if x.rank == 1:
        numbers = {name: x.arranged(values) for name, values in numbers.items()}
    inputs = [source, *(site.constant(values, name) for name, values in numbers.items())]
    y = site.op("BatchNormalization", inputs, epsilon=layer.epsilon, momentum=layer.momentum)
    return _back(site, y, order, axis)


def layer_normalization(site: Site) -> Tensor:
    """`LayerNormalization` over any axes."""
    layer, x = site.layer, site.x
    axes = sample_axes(layer.axis, x.rank)
    sizes = [x.shape[axis] if axis in axes else 1 for axis in range(x.rank)]
    along = sorted(x.axis(axis) for axis in axes)
    first = x.rank + 1 - len(along)
    known = [size for size in sizes if size is not None]
    if site.opset >= 17 and along == list(range(first, x.rank + 1)) and len(known) == x.rank:
        whole = {"gamma": layer.gamma if layer.scale else np.ones(known)}
        if layer.center:
            whole["beta"] = layer.beta
        inputs = [x.name]
        for name, values in whole.items():
            own = x.arranged(values.reshape(sizes))
            inputs.append(site.constant(own.reshape(own.shape[first - 1 :]), name))
        return x.like(site.op("LayerNormalization", inputs, axis=first, epsilon=layer.epsilon))
    scales = {"gamma": layer.gamma if layer.scale else None, "beta": layer.beta if layer.center else None}
    arranged = {
        name: None if values is None else x.arranged(values.reshape(sizes)) for name, values in scales.items()
    }
    return x.like(_scaled(site, _standardized(site, x.name, along), arranged))


def _standardized(site: Site, source: str, axes: Sequence[int]) -> str:
    mean = site.reduce("ReduceMean", source, axes, "mean", keepdims=True)
    centred = site.op("Sub", [source, mean], "centred")
    square = site.op("Mul", [centred, centred], "square")
    variance = site.reduce("ReduceMean", square, axes, "variance", keepdims=True)
    epsilon = site.constant(np.float32(site.layer.epsilon), "epsilon")
    deviation = site.op("Sqrt", [site.op("Add", [variance, epsilon], "above_zero")], "deviation")
    plain = not (site.layer.scale or site.layer.center)
    return site.op("Div", [centred, deviation], "" if plain else "standardized")


def _scaled(site: Site, y: str, numbers: dict[str, NDArray[np.floating] | None]) -> str:
    """Multiplied by gamma and shifted by beta, as far as there are any."""
    gamma, beta = numbers["gamma"], numbers["beta"]
    if gamma is not None:
        y = site.op("Mul", [y, site.constant(gamma, "gamma")], "" if beta is None else "scaled")
    if beta is not None:
        y = site.op("Add", [y, site.constant(beta, "beta")])
    return y


def group_normalization(site: Site) -> Tensor:
    """`GroupNormalization`: groups as channels of InstanceNormalization, which is the same in every opset."""
    layer, x = site.layer, site.x
    axis = sample_axis(layer.axis, x.rank)
    if x.rank == 1:
        site.builder.get(x, "last")
        x = Tensor(x.shape, {"last": x.names["last"]})
    source, order = (x.name, x.order) if x.rank == 1 else _channels_second(site, axis)
    channels = x.shape[axis]
    assert channels is not None
    groups = channels if layer.groups == -1 else layer.groups
    split = site.reshape(source, [0, groups, -1], "groups")
    ones, zeros = site.constant(np.ones(groups), "ones"), site.constant(np.zeros(groups), "zeros")
    y = site.op("InstanceNormalization", [split, ones, zeros], "standardized", epsilon=layer.epsilon)
    plain = not (layer.scale or layer.center)
    y = _as_before(site, y, source, order, axis, "" if plain and order is not None else "joined")
    shape = (-1, *[1] * (x.rank - 1))
    numbers = {
        "gamma": layer.gamma.reshape(shape) if layer.scale else None,
        "beta": layer.beta.reshape(shape) if layer.center else None,
    }
    y = _scaled(site, y, numbers)
    if x.rank == 1:
        return site.output(y, "last")
    return _back(site, y, order, axis)


def _as_before(site: Site, y: str, source: str, order: Order | None, axis: int, suffix: str) -> str:
    """`y` in the shape of `source`."""
    x = site.x
    if x.known:
        sizes = list(x.shape)
        if order == "first" and x.rank > 1:
            sizes = [sizes[-1], *sizes[:-1]]
        elif order is None:
            sizes[0], sizes[axis] = sizes[axis], sizes[0]
        return site.reshape(y, [0, *sizes], suffix)
    shape = site.op("Shape", [source], "shape")
    return site.op("Reshape", [y, shape], suffix)


def normalization(site: Site) -> Tensor:
    """`Normalization` by fixed numbers."""
    layer, x = site.layer, site.x
    axes = sample_axes(layer.axis, x.rank)
    sizes = [x.shape[axis] if axis in axes else 1 for axis in range(x.rank)]
    numbers = (layer.mean, [divisor(*pair) for pair in _pairs(layer.mean, layer.variance)])
    mean, deviation = (_spread(np.array(values), sizes, x) for values in numbers)
    steps = (("Mul", deviation), ("Add", mean)) if layer.invert else (("Sub", mean), ("Div", deviation))
    names = {"Mul": "deviation", "Div": "deviation", "Sub": "mean", "Add": "mean"}
    (first, one), (second, other) = steps
    y = site.op(first, [x.name, site.constant(one, names[first])], "shifted" if first == "Sub" else "scaled")
    return x.like(site.op(second, [y, site.constant(other, names[second])]))


def _pairs(mean: tuple[float, ...], variance: tuple[float, ...]) -> list[tuple[float, float]]:
    length = max(len(mean), len(variance))
    means, variances = (values * length if len(values) == 1 else values for values in (mean, variance))
    return list(zip(means, variances, strict=True))


def _spread(values: NDArray[np.floating], sizes: Sequence[int | None], x: Tensor) -> NDArray[np.floating]:
    """Numbers along some axes of a sample, as they are multiplied with the tensor."""
    if values.size == 1:
        return values.reshape(())
    return x.arranged(values.reshape([size or -1 for size in sizes]))


def rescaling(site: Site) -> Tensor:
    """`Rescaling`."""
    layer, y = site.layer, site.x.name
    if isinstance(layer.scale, tuple) or isinstance(layer.offset, tuple):
        site.refuse("it has numbers for every channel; use Normalization")
    if layer.scale != 1.0:
        suffix = "scaled" if layer.offset else ""
        y = site.op("Mul", [y, site.constant(np.float32(layer.scale), "scale")], suffix)
    if layer.offset:
        y = site.op("Add", [y, site.constant(np.float32(layer.offset), "offset")])
    return site.x if y == site.x.name else site.x.like(y)
