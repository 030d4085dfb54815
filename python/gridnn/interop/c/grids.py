"""Layers that move elements: borders, crops, repetition, other orders."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from gridnn.interop.c.code import Code
from gridnn.interop.c.steps import Site, size_of

__all__ = [
    "border",
    "center_crop",
    "cropping",
    "padding",
    "permute",
    "random_crop",
    "repeat_vector",
    "reshape",
    "resizing",
    "unchanged",
    "up_sampling",
    "zero_padding",
]


def unchanged(site: Site) -> None:
    """Layers that act in training only."""


def reshape(site: Site) -> None:
    """`Flatten` and `Reshape`: the elements stay where they are."""
    site.shape = site.output_shape


def _strides(shape: Sequence[int]) -> list[int]:
    return [size_of(shape[axis + 1 :]) for axis in range(len(shape))]


def _copied(
    site: Site, output: Sequence[int], places: Sequence[str], *, in_place: bool, note: str = ""
) -> None:
    """Adds a step whose output ``p0, p1, ...`` is the element at these places along the grid's axes.

    Args:
        site: the layer.
        output: shape of the output.
        places: C for the place along each spatial axis.
        in_place: see `Step`.
        note: for the title.
    """
    *sizes, channels = site.shape
    with site.step(output, in_place=in_place, note=note) as code:
        _copy(code, output, sizes, channels, places)


def _copy(
    code: Code, output: Sequence[int], sizes: Sequence[int], channels: int, places: Sequence[str]
) -> None:
    names = [f"p{axis}" for axis in range(len(sizes))]
    with code.loops(names, output[:-1]):
        steps = zip(places, _strides((*sizes, channels)), strict=False)
        code.add("const float *in = x + " + " + ".join(f"({place}) * {step}" for place, step in steps) + ";")
        code.add(
            "float *out = y + "
            + " + ".join(f"{name} * {step}" for name, step in zip(names, _strides(output), strict=False))
            + ";"
        )
        with code.loop("c", channels):
            code.add("out[c] = in[c];")


def border(site: Site, pairs: Sequence[tuple[int, int]], mode: str) -> None:
    """Puts elements around a grid, as `numpy.pad` makes them; "zeros" are a mode, too."""
    if not any(map(any, pairs)):
        return
    *sizes, channels = site.shape
    output = (*(size + sum(pair) for size, pair in zip(sizes, pairs, strict=True)), channels)
    if mode != "zeros":
        places = []
        with site.step(output, note=f"border '{mode}'") as code:
            for axis, (size, pair) in enumerate(zip(sizes, pairs, strict=True)):
                if not any(pair):
                    places.append(f"p{axis}")
                    continue
                source = np.pad(np.arange(size), pair, mode=mode)  # type: ignore[call-overload]
                code.indices(f"from{axis}", source.tolist())
                places.append(f"from{axis}[p{axis}]")
            _copy(code, output, sizes, channels, places)
        return
    with site.step(output, note="border of zeros") as code:
        with code.loop("i", size_of(output)):
            code.add("y[i] = 0.0f;")
        with ExitStack() as stack:
            for axis, size in enumerate(sizes):
                stack.enter_context(code.loop(f"p{axis}", size))
            names = [f"p{axis}" for axis in range(len(sizes))]
            inward = " + ".join(f"{n} * {s}" for n, s in zip(names, _strides(site.shape), strict=False))
            outward = " + ".join(
                f"({n} + {before}) * {s}"
                for n, s, (before, _) in zip(names, _strides(output), pairs, strict=False)
            )
            code.add(f"const float *in = x + {inward};", f"float *out = y + {outward};")
            with code.loop("c", channels):
                code.add("out[c] = in[c];")


def zero_padding(site: Site) -> None:
    """`ZeroPadding1D` and its siblings."""
    border(site, site.layer.padding, "zeros")


def padding(site: Site) -> None:
    """`Padding1D` and its siblings."""
    border(site, site.layer.padding, site.layer.mode)


def cropping(site: Site) -> None:
    """`Cropping1D` and its siblings."""
    _cut(site, [before for before, _ in site.layer.cropping])


def random_crop(site: Site) -> None:
    """`RandomCrop`, which takes the middle in inference."""
    sizes = site.shape[:-1]
    part = site.layer.part(list(sizes))
    _cut(site, [(size - wanted) // 2 for size, wanted in zip(sizes, part, strict=True)])


def center_crop(site: Site) -> None:
    """`CenterCrop`, where nothing has to be resampled."""
    sizes = site.shape[:-1]
    if any(size < wanted for size, wanted in zip(sizes, site.layer.part(list(sizes)), strict=True)):
        site.refuse("samples smaller than the part are resampled, which is not known in C")
    random_crop(site)


def resizing(site: Site) -> None:
    """`Resizing`, where nothing changes."""
    if site.shape != site.output_shape:
        site.refuse("resampling is not known in C: resize data before they go into the model")


def _cut(site: Site, starts: Sequence[int]) -> None:
    if site.shape != site.output_shape:  # what is left moves forward only
        places = [f"p{axis} + {start}" for axis, start in enumerate(starts)]
        _copied(site, site.output_shape, places, in_place=True)


def up_sampling(site: Site) -> None:
    """`UpSampling1D` and its siblings."""
    layer = site.layer
    if getattr(layer, "interpolation", "nearest") == "nearest":
        places = [f"p{axis} / {factor}" for axis, factor in enumerate(layer.size)]
        _copied(site, site.output_shape, places, in_place=False)
    else:
        _bilinear(site)


def _bilinear(site: Site) -> None:
    """Between the two rows and the two columns whose middles are next to that of the output's element."""
    *sizes, channels = site.shape
    *outputs, _ = site.output_shape
    with site.step(site.output_shape) as code:
        for axis, (size, factor, output) in enumerate(zip(sizes, site.layer.size, outputs, strict=True)):
            middles = (np.arange(output) + 0.5) / factor - 0.5
            low = np.floor(middles).astype(int)
            code.indices(f"low{axis}", np.clip(low, 0, size - 1).tolist())
            code.indices(f"high{axis}", np.clip(low + 1, 0, size - 1).tolist())
            code.constant(f"share{axis}", site.finite(middles - low, "share"))
        with code.loop("p0", outputs[0]), code.loop("p1", outputs[1]), code.loop("c", channels):
            for row in ("low", "high"):
                start = f"x + {row}0[p0] * {sizes[1] * channels} + c"
                code.add(f"const float *{row} = {start};")
                ends = [f"{row}[{column}1[p1] * {channels}]" for column in ("low", "high")]
                code.add(f"const float {row}_row = {ends[0]} + ({ends[1]} - {ends[0]}) * share1[p1];")
            place = f"(p0 * {outputs[1]} + p1) * {channels} + c"
            code.add(f"y[{place}] = low_row + (high_row - low_row) * share0[p0];")


def permute(site: Site) -> None:
    """`Permute`."""
    dims = [axis - 1 for axis in site.layer.dims]
    if dims == sorted(dims):
        return
    strides = _strides(site.shape)
    names = [f"p{axis}" for axis in range(len(dims))]
    with site.step(site.output_shape) as code:
        code.add("long i = 0;")
        with code.loops(names, site.output_shape):
            places = " + ".join(f"{name} * {strides[axis]}" for name, axis in zip(names, dims, strict=True))
            code.add(f"y[i++] = x[{places}];")


def repeat_vector(site: Site) -> None:
    """`RepeatVector`."""
    (size,) = site.shape
    with site.step(site.output_shape) as code, code.loop("n", site.layer.n), code.loop("c", size):
        code.add(f"y[n * {size} + c] = x[c];")
