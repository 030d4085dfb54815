"""Convolutions: plain, grouped, depthwise, separable, transposed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn.interop import _layer_arithmetic
from gridnn.interop.onnx.activations import activate
from gridnn.interop.onnx.borders import Pairs, bordered, cut, filled
from gridnn.interop.onnx.builder import Site
from gridnn.interop.onnx.tensors import Tensor

__all__ = ["convolution", "dense", "depthwise", "separable", "transposed", "window_pads"]


def window_pads(site: Site, kernel: Sequence[int], dilation: Sequence[int]) -> list[tuple[int, int]]:
    """Elements that the layer's `padding` adds before and after each axis."""
    pads = _layer_arithmetic.window_pads(site.layer, site.x.shape[:-1], kernel, dilation)
    if pads is None:
        site.refuse("padding='same' with strides above 1 depends on sizes that are not known")
    return pads


def _convolved(
    site: Site,
    kernel: NDArray[Any],
    bias: NDArray[Any] | None,
    groups: int,
    names: tuple[str, str, str] = ("", "kernel", "bias"),
) -> Tensor:
    """The input of a layer behind its convolution; `kernel` is as ONNX has it, (outputs, inputs, *window)."""
    layer, window = site.layer, kernel.shape[2:]
    pads: Pairs = window_pads(site, window, layer.dilation_rate)
    suffix, kernel_name, bias_name = names
    uneven = site.builder.symmetric and any(before != after for before, after in pads)
    if layer.padding_mode != "zeros" or uneven:
        source = bordered(site, site.x, "first", pads, layer.padding_mode, f"{suffix}/padded")
        pads = [(0, 0)] * len(pads)
    else:
        source = site.builder.get(site.x, "first")
    inputs = [source, site.constant(kernel, kernel_name)]
    if bias is not None:
        inputs.append(site.constant(bias, bias_name))
    y = site.op(
        "Conv",
        inputs,
        suffix,
        kernel_shape=list(window),
        strides=list(layer.strides),
        dilations=list(layer.dilation_rate),
        pads=_onnx_pads(pads),
        group=groups,
    )
    return site.output(y, "first")


def _onnx_pads(pads: Pairs) -> list[int]:
    """All that is before, then all that is after."""
    return [before for before, _ in pads] + [after for _, after in pads]


def convolution(site: Site) -> Tensor:
    """`Conv1D` and its siblings: ``(*window, inputs, outputs)`` becomes ``(outputs, inputs, *window)``."""
    layer = site.layer
    kernel = np.moveaxis(layer.kernel, (-1, -2), (0, 1))
    return activate(site, _convolved(site, kernel, layer.bias, layer.groups), layer.activation)


def _depthwise_kernel(kernel: NDArray[Any]) -> NDArray[Any]:
    """``(*window, channels, multiplier)`` as that of a group per channel: output ``c * multiplier + j``."""
    by_channel = np.moveaxis(kernel, (-2, -1), (0, 1))
    return by_channel.reshape(-1, 1, *kernel.shape[:-2])


def depthwise(site: Site) -> Tensor:
    """`DepthwiseConv1D` and its siblings."""
    layer = site.layer
    kernel = layer.kernel
    y = _convolved(site, _depthwise_kernel(kernel), layer.bias, kernel.shape[-2])
    return activate(site, y, layer.activation)


def separable(site: Site) -> Tensor:
    """`SeparableConv1D` and its siblings."""
    layer = site.layer
    kernel, mix = layer.depthwise_kernel, layer.pointwise_kernel
    names = ("depthwise", "depthwise_kernel", "")
    between = _convolved(site, _depthwise_kernel(kernel), None, kernel.shape[-2], names)
    inputs = [between.names["first"], site.constant(np.moveaxis(mix, (-1, -2), (0, 1)), "pointwise_kernel")]
    if layer.use_bias:
        inputs.append(site.constant(layer.bias, "bias"))
    y = site.op("Conv", inputs, kernel_shape=list(mix.shape[:-2]))
    return activate(site, site.output(y, "first"), layer.activation)


def transposed(site: Site) -> Tensor:
    """`Conv1DTranspose` and its siblings.

    What Keras' sizes leave of the whole result is cropped by `pads`; where they reach beyond it, zeros
    follow, and the bias behind them. `output_padding` and `auto_pad` mean other things in other runtimes.
    """
    layer, rank = site.layer, site.x.rank - 1
    kernel = np.moveaxis(layer.kernel, (-1, -2), (0, 1))  # (inputs, outputs of a group, *window)
    crops, fills = _layer_arithmetic.crops_and_fills(layer, site.x.shape[:-1], kernel.shape[2:])
    separate = site.builder.symmetric and any(before != after for before, after in crops)
    inputs = [site.builder.get(site.x, "first"), site.constant(kernel, "kernel")]
    bias_last = layer.use_bias and any(fills)
    if layer.use_bias and not bias_last:
        inputs.append(site.constant(layer.bias, "bias"))
    name = "whole" if separate or any(fills) else ""
    y = site.op(
        "ConvTranspose",
        inputs,
        name,
        kernel_shape=list(kernel.shape[2:]),
        strides=list(layer.strides),
        dilations=list(layer.dilation_rate),
        pads=[0] * 2 * rank if separate else _onnx_pads(crops),
        group=layer.groups,
    )
    if separate:
        starts = [before for before, _ in crops]
        ends = [-after if after else 2**31 - 1 for _, after in crops]
        y = cut(site, y, "first", starts, ends, "cropped" if any(fills) else "")
    if any(fills):
        y = filled(site, y, "first", [(0, fill) for fill in fills], "filled" if bias_last else "")
    if bias_last:
        bias = site.constant(layer.bias.reshape(-1, *[1] * rank), "bias")
        y = site.op("Add", [y, bias])
    return activate(site, site.output(y, "first"), layer.activation)


def dense(site: Site) -> Tensor:
    """`Dense`: a product of matrices, or of grids a convolution with a window of one element."""
    layer, x = site.layer, site.x
    kernel = layer.kernel
    if x.rank == 1:
        if x.grid is not None:  # rows follow the order that Flatten has found the elements in
            kernel = kernel[x.arranged(np.arange(len(kernel)))]
        inputs = [x.name, site.constant(kernel, "kernel")]
        if layer.use_bias:
            y = site.op("Gemm", [*inputs, site.constant(layer.bias, "bias")])
        else:
            y = site.op("MatMul", inputs)
        return activate(site, site.output(y, "last"), layer.activation)
    if "last" not in x.names and x.rank <= 4:
        return activate(site, _pointwise(site), layer.activation)
    y = site.op("MatMul", [site.builder.get(x, "last"), site.constant(kernel, "kernel")], _first_of(site))
    if layer.use_bias:
        y = site.op("Add", [y, site.constant(layer.bias, "bias")])
    return activate(site, site.output(y, "last"), layer.activation)


def _first_of(site: Site) -> str:
    return "product" if site.layer.use_bias else ""


def _pointwise(site: Site) -> Tensor:
    layer, rank = site.layer, site.x.rank - 1
    kernel = layer.kernel.T.reshape(layer.units, -1, *[1] * rank)
    inputs = [site.builder.get(site.x, "first"), site.constant(kernel, "kernel")]
    if layer.use_bias:
        inputs.append(site.constant(layer.bias, "bias"))
    return site.output(site.op("Conv", inputs, kernel_shape=[1] * rank), "first")
