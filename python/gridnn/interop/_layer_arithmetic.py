"""What exporters have to know about layers beyond their arguments: pads, crops, axes, deviations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gridnn._engine import place_window

__all__ = ["adaptive_edges", "crops_and_fills", "divisor", "sample_axes", "sample_axis", "window_pads"]

Sizes = Sequence[int | None]


def window_pads(
    layer: Any, sizes: Sizes, kernel: Sequence[int], dilation: Sequence[int]
) -> list[tuple[int, int]] | None:
    """Elements that the layer's `padding` adds before and after each axis, as the engine counts them.

    Returns:
        A pair for each axis; None if they depend on sizes that are not known.
    """
    padding, strides = layer.padding, layer.strides
    if not isinstance(padding, str):
        return [tuple(pair) for pair in padding]
    pads = []
    for size, k, s, d in zip(sizes, kernel, strides, dilation, strict=True):
        span = d * (k - 1) + 1
        if padding == "valid":
            pads.append((0, 0))
        elif padding == "causal":
            pads.append((span - 1, 0))
        elif size is not None:
            pads.append(place_window([size], [k], [s], "same", [d], False, None)[0][2:])
        elif s == 1:
            pads.append(((span - 1) // 2, span - 1 - (span - 1) // 2))
        else:
            return None
    return pads


def crops_and_fills(
    layer: Any, sizes: Sizes, window: Sequence[int]
) -> tuple[list[tuple[int, int]], list[int]]:
    """What a transposed convolution makes of the whole result.

    Returns:
        Elements cropped before and after each axis of it, and those that follow its end.
    """
    spans = [d * (k - 1) + 1 for k, d in zip(window, layer.dilation_rate, strict=True)]
    # Neither depends on the size, as long as something is left of it.
    room = 64 + sum(spans) + sum(sum(pair) for pair in layer.padding if not isinstance(layer.padding, str))
    known = [room if size is None else size for size in sizes]
    placed = place_window(
        known, window, layer.strides, layer.padding, layer.dilation_rate, True, layer.output_padding
    )
    crops, fills = [], []
    for n, span, stride, (output, _, before, _) in zip(known, spans, layer.strides, placed, strict=True):
        after = (n - 1) * stride + span - before - output
        crops.append((before, max(after, 0)))
        fills.append(max(-after, 0))
    return crops, fills


def adaptive_edges(size: int, outputs: int) -> list[tuple[int, int]]:
    """Where the windows of an adaptive pool begin and end."""
    return [(i * size // outputs, -(-(i + 1) * size // outputs)) for i in range(outputs)]


def sample_axis(axis: int, rank: int) -> int:
    """An argument `axis`, for which the batch counts, as axis of a sample."""
    return (axis if axis < 0 else axis - 1) % rank


def sample_axes(axis: int | Iterable[int] | None, rank: int) -> list[int]:
    """The same for one axis, several or none, in ascending order."""
    given: Iterable[int] = () if axis is None else (axis,) if isinstance(axis, int) else axis
    return sorted({sample_axis(one, rank) for one in given})


def divisor(mean: float, variance: float) -> float:
    """What `Normalization` divides by: 1 where a feature is constant but for rounding, as in the engine."""
    root = math.sqrt(variance)
    if root <= 10.0 * np.finfo(np.float64).eps * abs(mean):
        return 1.0
    return max(root, 1e-7)
