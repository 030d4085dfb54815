"""What is put around a grid, and taken off it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gridnn.interop.onnx.builder import Site
from gridnn.interop.onnx.tensors import Order, Tensor, axis_in

__all__ = [
    "bordered",
    "center_crop",
    "cropping",
    "cut",
    "filled",
    "padding",
    "random_crop",
    "resizing",
    "zero_padding",
]

Pairs = Sequence[tuple[int, int]]
"""Elements before and after, one pair per spatial axis."""

_END = 2**31 - 1
"""As the end of a slice, that of the axis."""


def filled(
    site: Site,
    source: str,
    order: Order,
    pairs: Pairs,
    suffix: str,
    value: float = 0.0,
    mode: str = "constant",
) -> str:
    """A grid with `value` around it, or with what `mode` of the operator Pad puts there."""
    axes = len(pairs) + 2
    pads = np.zeros((2, axes), np.int64)
    for axis, pair in enumerate(pairs):
        pads[:, axis_in(order, axis, axes - 1)] = pair
    inputs = [source, site.constant(pads.ravel(), f"{suffix}/pads")]
    if mode == "constant":
        inputs.append(site.constant(np.float32(value), f"{suffix}/value"))
    return site.op("Pad", inputs, suffix, mode=mode)


def bordered(site: Site, x: Tensor, order: Order, pairs: Pairs, mode: str, suffix: str) -> str:
    """The name of `x` with a border as `numpy.pad` makes it; "zeros" are a mode, too."""
    source = site.builder.get(x, order)
    if not any(map(any, pairs)):
        return source
    if mode == "zeros":
        return filled(site, source, order, pairs, suffix)
    sizes = x.shape[:-1]
    # Pad mirrors once, and knows neither "symmetric" nor, before opset 19, "wrap".
    once = all(size is None or max(pair) < size for size, pair in zip(sizes, pairs, strict=True))
    if mode == "edge" or (mode == "reflect" and once):
        return filled(site, source, order, pairs, suffix, mode=mode)
    for axis, (size, pair) in enumerate(zip(sizes, pairs, strict=True)):
        if not any(pair):
            continue
        if size is None:
            site.refuse(f"what mode '{mode}' puts there depends on sizes that are not known")
        # Which element stands at each position: a border of their numbers.
        places = np.pad(np.arange(size), pair, mode=mode)  # type: ignore[call-overload]
        indices = site.constant(places, f"{suffix}/indices_{axis}")
        last = not any(map(any, pairs[axis + 1 :]))
        name = suffix if last else f"{suffix}/axis_{axis}"
        source = site.op("Gather", [source, indices], name, axis=axis_in(order, axis, x.rank))
    return source


def cut(
    site: Site, source: str, order: Order, starts: Sequence[int], ends: Sequence[int], suffix: str
) -> str:
    """Elements from `starts` up to `ends` along the spatial axes; a negative end counts from the end."""
    rank = len(starts)
    axes = [axis_in(order, axis, rank + 1) for axis in range(rank)]
    numbers = {"starts": starts, "ends": ends, "axes": axes}
    given = [site.constant(np.array(value, np.int64), f"{suffix}/{key}") for key, value in numbers.items()]
    return site.op("Slice", [source, *given], suffix)


def zero_padding(site: Site) -> Tensor:
    """`ZeroPadding1D` and its siblings."""
    return _padded(site, "zeros")


def padding(site: Site) -> Tensor:
    """`Padding1D` and its siblings."""
    return _padded(site, site.layer.mode)


def _padded(site: Site, mode: str) -> Tensor:
    order = site.x.order
    return site.output(bordered(site, site.x, order, site.layer.padding, mode, ""), order)


def cropping(site: Site) -> Tensor:
    """`Cropping1D` and its siblings."""
    x, pairs = site.x, site.layer.cropping
    if not any(map(any, pairs)):
        return x
    starts = [before for before, _ in pairs]
    ends = [-after if after else _END for _, after in pairs]
    return site.output(cut(site, x.name, x.order, starts, ends, ""), x.order)


def center_crop(site: Site) -> Tensor:
    """`CenterCrop`, where nothing has to be resampled."""
    sizes = [size for size in site.x.shape[:-1] if size is not None]
    if len(sizes) == site.x.rank - 1:
        part = site.layer.part(sizes)
        if any(size < wanted for size, wanted in zip(sizes, part, strict=True)):
            site.refuse("samples smaller than the part are resampled, by rules that ONNX does not have")
    return random_crop(site)


def resizing(site: Site) -> Tensor:
    """`Resizing`, where nothing changes."""
    x = site.x
    sizes = [size for size in x.shape[:-1] if size is not None]
    if len(sizes) < x.rank - 1 or site.layer.part(sizes) != tuple(sizes):
        site.refuse("ONNX resamples by other rules: resize data before they go into the model")
    return x


def random_crop(site: Site) -> Tensor:
    """`RandomCrop`, which takes the middle in inference."""
    x = site.x
    sizes = [size for size in x.shape[:-1] if size is not None]
    if len(sizes) < x.rank - 1:
        site.refuse("where the middle is depends on sizes that are not known")
    part = site.layer.part(sizes)
    if part == tuple(sizes):
        return x
    starts = [(size - wanted) // 2 for size, wanted in zip(sizes, part, strict=True)]
    ends = [start + wanted for start, wanted in zip(starts, part, strict=True)]
    return site.output(cut(site, x.name, x.order, starts, ends, ""), x.order)
