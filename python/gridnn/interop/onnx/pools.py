"""Pools: over windows, over whole grids, and adaptive ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn.interop._layer_arithmetic import adaptive_edges
from gridnn.interop.onnx.borders import Pairs, filled
from gridnn.interop.onnx.builder import Site
from gridnn.interop.onnx.convolutions import window_pads
from gridnn.interop.onnx.tensors import Tensor, axis_in

__all__ = ["adaptive_average", "adaptive_max", "average", "global_average", "global_max", "maximum"]

_LOWEST = float(np.finfo(np.float32).min)


def _reach(site: Site) -> list[tuple[int, int]]:
    """Elements by which the windows reach over both ends of each axis; refused if one lies outside."""
    layer, sizes, outputs = site.layer, site.x.shape[:-1], site.output_shape[:-1]
    declared = window_pads(site, layer.pool_size, [1] * len(sizes))
    pads = []
    axes = zip(sizes, outputs, layer.pool_size, layer.strides, declared, strict=True)
    for size, output, k, s, (before, after) in axes:
        if size is None or output is None:
            if layer.ceil_mode and s > 1:
                site.refuse("ceil_mode=True depends on sizes that are not known")
            outside = max(before, after) >= k
        else:
            after = max((output - 1) * s + k - size - before, 0)
            outside = before >= k or (output - 1) * s - before >= size
        if outside:
            site.refuse("a window lies in the padding altogether")
        pads.append((before, after))
    return pads


def maximum(site: Site) -> Tensor:
    """`MaxPooling1D` and its siblings."""
    layer = site.layer
    pads: Pairs = _reach(site)
    source = site.builder.get(site.x, "first")
    if site.builder.symmetric and any(before != after for before, after in pads):
        source = filled(site, source, "first", pads, "padded", _LOWEST)
        pads = [(0, 0)] * len(pads)
    y = site.op(
        "MaxPool",
        [source],
        kernel_shape=list(layer.pool_size),
        strides=list(layer.strides),
        pads=[before for before, _ in pads] + [after for _, after in pads],
    )
    return site.output(y, "first")


def average(site: Site) -> Tensor:
    """`AveragePooling1D` and its siblings.

    Runtimes disagree about what is counted at the borders. A pool without padding leaves nothing to disagree
    about; where fewer elements count than its window has, a constant map makes up for it.
    """
    layer = site.layer
    pads = _reach(site)
    source = site.builder.get(site.x, "first")
    window: dict[str, Any] = {"kernel_shape": list(layer.pool_size), "strides": list(layer.strides)}
    if not any(map(any, pads)):
        return site.output(site.op("AveragePool", [source], **window), "first")
    source = filled(site, source, "first", pads, "padded")
    factors = _factors(site, pads)
    if (factors == 1.0).all():
        return site.output(site.op("AveragePool", [source], **window), "first")
    y = site.op("AveragePool", [source], "mean", **window)
    return site.output(site.op("Mul", [y, site.constant(factors, "factors")]), "first")


def _factors(site: Site, pads: Pairs) -> NDArray[Any]:
    """By how much each output is larger than the sum over its window divided by the window's size."""
    layer = site.layer
    declared = window_pads(site, layer.pool_size, [1] * len(pads))
    factors: NDArray[Any] = np.ones(())
    axes = zip(
        site.x.shape[:-1], site.output_shape[:-1], layer.pool_size, layer.strides, declared, strict=True
    )
    for size, output, k, s, (before, after) in axes:
        if size is None or output is None:
            if not layer.count_include_pad and (before or after):
                site.refuse("how many elements count at the end depends on sizes that are not known")
            factors = factors[..., np.newaxis]
            continue
        starts = np.arange(output) * s - before
        first, last = (-before, size + after) if layer.count_include_pad else (0, size)
        counts = np.minimum(starts + k, last) - np.maximum(starts, first)
        factors = factors[..., np.newaxis] * (k / counts)
    return factors


def global_average(site: Site) -> Tensor:
    """`GlobalAveragePooling1D` and its siblings."""
    return _overall(site, "ReduceMean")


def global_max(site: Site) -> Tensor:
    """`GlobalMaxPooling1D` and its siblings."""
    return _overall(site, "ReduceMax")


def _overall(site: Site, kind: str) -> Tensor:
    x, keepdims = site.x, site.layer.keepdims
    axes = [x.axis(axis) for axis in range(x.rank - 1)]
    return site.output(site.reduce(kind, x.name, axes, "", keepdims=keepdims), x.order)


def _sizes(site: Site) -> list[int]:
    sizes = [size for size in site.x.shape[:-1] if size is not None]
    if len(sizes) < site.x.rank - 1:
        site.refuse("its windows depend on sizes that are not known")
    return sizes


def _equal_windows(site: Site, kind: str, sizes: Sequence[int]) -> Tensor | None:
    """The pool of an adaptive one whose windows are alike."""
    outputs = site.layer.output_size
    if any(size % output for size, output in zip(sizes, outputs, strict=True)):
        return None
    window = [size // output for size, output in zip(sizes, outputs, strict=True)]
    y = site.op(kind, [site.builder.get(site.x, "first")], kernel_shape=window, strides=window)
    return site.output(y, "first")


def adaptive_average(site: Site) -> Tensor:
    """`AdaptiveAveragePooling1D` and its siblings: a matrix of weights for each axis."""
    sizes = _sizes(site)
    pool = _equal_windows(site, "AveragePool", sizes)
    if pool is not None:
        return pool
    y, channels = site.builder.get(site.x, "first"), site.x.shape[-1]
    current, rank = list(sizes), len(sizes)
    for axis, (size, outputs) in enumerate(zip(sizes, site.layer.output_size, strict=True)):
        weights = np.zeros((outputs, size))
        for row, (begin, end) in enumerate(adaptive_edges(size, outputs)):
            weights[row, begin:end] = 1.0 / (end - begin)
        current[axis] = outputs
        suffix = "" if axis == rank - 1 else f"axis_{axis}"
        if axis == rank - 1:
            y = site.op("MatMul", [y, site.constant(weights.T, f"weights_{axis}")], suffix)
            continue
        # The axes behind it as one, so that it is the last but one.
        behind = math.prod(sizes[axis + 1 :])
        merge = axis < rank - 2
        if merge:
            y = site.reshape(y, [0, channels, *current[:axis], size, behind], f"{suffix}/flat")
        y = site.op("MatMul", [site.constant(weights, f"weights_{axis}"), y], suffix)
        if merge:
            y = site.reshape(y, [0, channels, *current], f"{suffix}/grid")
    return site.output(y, "first")


def adaptive_max(site: Site) -> Tensor:
    """`AdaptiveMaxPooling1D` and its siblings: the elements of each window side by side, axis by axis."""
    sizes = _sizes(site)
    pool = _equal_windows(site, "MaxPool", sizes)
    if pool is not None:
        return pool
    y, rank = site.builder.get(site.x, "first"), len(sizes)
    for axis, (size, outputs) in enumerate(zip(sizes, site.layer.output_size, strict=True)):
        edges = adaptive_edges(size, outputs)
        longest = max(end - begin for begin, end in edges)
        # Windows of fewer elements see their last one again.
        places = np.array([[min(begin + tap, end - 1) for tap in range(longest)] for begin, end in edges])
        along = axis_in("first", axis, rank + 1)
        indices = site.constant(places, f"indices_{axis}")
        y = site.op("Gather", [y, indices], f"axis_{axis}/windows", axis=along)
        suffix = "" if axis == rank - 1 else f"axis_{axis}"
        y = site.reduce("ReduceMax", y, [along + 1], suffix, keepdims=False)
    return site.output(y, "first")
