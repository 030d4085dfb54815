"""Layers that bring values to a common scale, and other numbers that go along axes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridnn.interop._layer_arithmetic import divisor, sample_axes, sample_axis
from gridnn.interop.c.activations import elementwise
from gridnn.interop.c.code import Code, number
from gridnn.interop.c.steps import Site, size_of

__all__ = [
    "batch_normalization",
    "folded",
    "group_normalization",
    "layer_normalization",
    "normalization",
    "prelu",
    "rescaling",
]

_BLOCK = 64
"""Elements that are summed before their sum is added to others: rounding grows with the longer of the two."""


@dataclass(frozen=True)
class _Dim:
    """Axes of a tensor next to each other."""

    size: int
    step: int
    """Between elements."""
    own: int
    """Between the numbers that go along; 0 where there is one for all."""
    inner: bool
    """Whether statistics are taken over it."""


def _dims(shape: Sequence[int], own: Sequence[int], inner: Sequence[bool]) -> list[_Dim]:
    """The axes of a tensor, as few as possible."""
    found: list[_Dim] = []
    for axis, size in enumerate(shape):
        dim = _Dim(size, size_of(shape[axis + 1 :]), own[axis], inner[axis])
        last = found[-1] if found else None
        if size == 1 and len(shape) > 1:
            continue
        if last is not None and last.inner == dim.inner and last.own == dim.own * size:
            found[-1] = replace(dim, size=last.size * size)
        else:
            found.append(dim)
    return found or [_Dim(1, 1, 0, inner[0])]


def _along(shape: Sequence[int], axes: Sequence[int]) -> list[int]:
    """Steps between numbers that go along some axes, in row-major order."""
    sizes = [size if axis in axes else 1 for axis, size in enumerate(shape)]
    return [size_of(sizes[axis + 1 :]) if axis in axes else 0 for axis in range(len(shape))]


def _place(dims: Sequence[_Dim], names: Sequence[str], attribute: str) -> str:
    terms = [
        name if (step := getattr(dim, attribute)) == 1 else f"{name} * {step}"
        for dim, name in zip(dims, names, strict=True)
        if getattr(dim, attribute)
    ]
    return " + ".join(terms) or "0"


def _elements(
    site: Site, expression: str, axes: Sequence[int], numbers: dict[str, NDArray[np.float32]]
) -> None:
    """Adds an expression of each element ``v`` and of numbers ``name[k]`` that go along axes."""
    dims = _dims(site.shape, _along(site.shape, axes), [False] * site.rank)
    names = [f"i{axis}" for axis in range(len(dims))]
    with site.step(site.shape, in_place=True) as code:
        for name, values in numbers.items():
            code.constant(name, values)
        with code.loops(names, [dim.size for dim in dims]):
            code.add(f"const long i = {_place(dims, names, 'step')};")
            code.add(f"const long k = {_place(dims, names, 'own')};")
            code.add("const float v = x[i];", f"y[i] = {expression};")


def _scale_and_offset(layer: object) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean, factor and offset of a batch normalization."""
    own: dict[str, NDArray[np.float64]] = {
        name: np.asarray(getattr(layer, name), np.float64)
        for name, there in (
            ("moving_mean", True),
            ("moving_variance", True),
            ("gamma", layer.scale),  # type: ignore[attr-defined]
            ("beta", layer.center),  # type: ignore[attr-defined]
        )
        if there
    }
    mean = own["moving_mean"]
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = own.get("gamma", np.ones_like(mean)) / np.sqrt(own["moving_variance"] + layer.epsilon)  # type: ignore[attr-defined]
    return mean, factor, own.get("beta", np.zeros_like(mean))


def folded(layer: object) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a batch normalization multiplies by, and adds, as parts of the weights before it."""
    mean, factor, offset = _scale_and_offset(layer)
    with np.errstate(over="ignore", invalid="ignore"):
        return factor, offset - mean * factor


def batch_normalization(site: Site) -> None:
    """`BatchNormalization` that stands by itself."""
    axis = sample_axis(site.layer.axis, site.rank)
    mean, factor, offset = _scale_and_offset(site.layer)
    numbers = {
        "mean": site.finite(mean, "moving_mean"),
        "scale": site.finite(factor, "gamma over the deviation"),
        "offset": site.finite(offset, "beta"),
    }
    _elements(site, "(v - mean[k]) * scale[k] + offset[k]", [axis], numbers)


def normalization(site: Site) -> None:
    """`Normalization` by fixed numbers."""
    layer = site.layer
    mean, variance = layer.mean, layer.variance
    length = max(len(mean), len(variance))
    mean, variance = (values * length if len(values) == 1 else values for values in (mean, variance))
    numbers = {
        "mean": site.finite(mean, "mean"),
        "deviation": site.finite([divisor(*pair) for pair in zip(mean, variance, strict=True)], "variance"),
    }
    axes = [] if length == 1 else sample_axes(layer.axis, site.rank)
    expression = "v * deviation[k] + mean[k]" if layer.invert else "(v - mean[k]) / deviation[k]"
    _elements(site, expression, axes, numbers)


def prelu(site: Site) -> None:
    """`PReLU`."""
    alpha = site.finite(site.layer.alpha, "alpha")
    axes = [axis for axis, size in enumerate(alpha.shape) if size > 1]
    _elements(site, "v < 0.0f ? alpha[k] * v : v", axes, {"alpha": alpha})


def rescaling(site: Site) -> None:
    """`Rescaling`."""
    if isinstance(site.layer.scale, tuple) or isinstance(site.layer.offset, tuple):
        site.refuse("it has numbers for every channel; use Normalization")
    scale, offset = (float(site.finite(getattr(site.layer, key), key)) for key in ("scale", "offset"))
    if scale != 1.0 or offset:
        elementwise(site, f"v * {number(scale)}" + (f" + {number(offset)}" if offset else ""))


def layer_normalization(site: Site) -> None:
    """`LayerNormalization` over any axes."""
    axes = sample_axes(site.layer.axis, site.rank)
    inner = [axis in axes for axis in range(site.rank)]
    _standardize(site, _dims(site.shape, _along(site.shape, axes), inner))


def group_normalization(site: Site) -> None:
    """`GroupNormalization`: channels as groups and what is in them."""
    layer, axis = site.layer, sample_axis(site.layer.axis, site.rank)
    channels = site.shape[axis]
    groups = channels if layer.groups == -1 else layer.groups
    each = channels // groups
    shape = (size_of(site.shape[:axis]), groups, each, size_of(site.shape[axis + 1 :]))
    _standardize(site, _dims(shape, (0, each, 1, 0), (True, False, True, True)))


def _standardize(site: Site, dims: Sequence[_Dim]) -> None:
    """Mean 0 and variance 1 over the inner axes, for each place along the others."""
    layer = site.layer
    numbers = {
        name: site.finite(getattr(layer, name), name)
        for name, there in (("gamma", layer.scale), ("beta", layer.center))
        if there
    }
    outer = [dim for dim in dims if not dim.inner]
    inner = [dim for dim in dims if dim.inner] or [_Dim(1, 0, 0, inner=True)]
    count = size_of([dim.size for dim in inner])
    with site.step(site.shape, in_place=True) as code, ExitStack() as stack:
        for name, values in numbers.items():
            code.constant(name, values)
        rows = [f"r{axis}" for axis in range(len(outer))]
        stack.enter_context(code.loops(rows, [dim.size for dim in outer]))
        start = _place(outer, rows, "step")
        code.add(f"const float *in = x + {start};", f"float *out = y + {start};")
        code.add("float mean = 0.0f, variance = 0.0f;")
        _summed(code, inner, "mean", ["part += in[i];"])
        code.add(f"mean /= {count}.0f;")
        _summed(code, inner, "variance", ["const float v = in[i] - mean;", "part += v * v;"])
        epsilon = number(float(site.finite(layer.epsilon, "epsilon")))
        code.add(f"const float scale = 1.0f / sqrtf(variance / {count}.0f + {epsilon});")
        names = [f"i{axis}" for axis in range(len(inner))]
        with code.loops(names, [dim.size for dim in inner]):
            code.add(f"const long i = {_place(inner, names, 'step')};")
            if numbers:
                code.add(f"const long k = {_place([*outer, *inner], [*rows, *names], 'own')};")
            scaled = "(in[i] - mean) * scale"
            scaled += " * gamma[k]" if "gamma" in numbers else ""
            code.add(f"out[i] = {scaled}" + (" + beta[k];" if "beta" in numbers else ";"))


def _summed(code: Code, dims: Sequence[_Dim], name: str, lines: Sequence[str]) -> None:
    """Adds to `name` what `lines` add to ``part`` for each element ``i``, in short sums."""
    *before, last = dims
    names = [f"i{axis}" for axis in range(len(dims))]
    own = names[-1]
    with code.loops(names[:-1], [dim.size for dim in before]):
        if last.size > 2 * _BLOCK:
            head = code.loop("b", last.size, step=_BLOCK)
            end, start = f"{last.size} && {own} < b + {_BLOCK}", "b"
        else:
            head, end, start = code.braces(""), str(last.size), "0"
        with head:
            code.add("float part = 0.0f;")
            with code.loop(own, end, start):
                code.add(f"const long i = {_place(dims, names, 'step')};", *lines)
            code.add(f"{name} += part;")
