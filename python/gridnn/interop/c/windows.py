"""Windows that move over a grid: convolutions of all kinds, dense layers, pools.

Grids have their channels last, as the model has them. Sums are kept for some channels at once in an array on
the stack, and elements are taken four at a time: that is what compilers make vector instructions of, and
what asks for the fewest loads and stores where there are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridnn.interop import _layer_arithmetic
from gridnn.interop.c.activations import activate
from gridnn.interop.c.code import Code
from gridnn.interop.c.grids import border
from gridnn.interop.c.steps import Site, size_of

__all__ = [
    "adaptive_average",
    "adaptive_max",
    "average",
    "convolution",
    "dense",
    "depthwise",
    "global_average",
    "global_max",
    "maximum",
    "separable",
    "transposed",
]

_CHANNELS = 64
"""Sums that are kept at once, at most: 256 bytes on the stack."""


@dataclass(frozen=True)
class Axis:
    """A window along one axis of a grid."""

    number: int
    size: int
    outputs: int
    window: int
    stride: int
    dilation: int
    before: int

    @property
    def inside(self) -> bool:
        """Whether no window reaches over an end."""
        last = (self.outputs - 1) * self.stride - self.before + (self.window - 1) * self.dilation
        return self.before <= 0 and last < self.size

    @property
    def begin(self) -> object:
        """The first tap that meets an element."""
        return 0 if self.inside else f"begin{self.number}"

    @property
    def end(self) -> object:
        """One more than the last tap that meets an element."""
        return self.window if self.inside else f"end{self.number}"

    def place(self, code: Code) -> None:
        """Declares where the window of output ``p<number>`` starts, and which of its taps meet elements."""
        n, d = self.number, self.dilation
        offset = f" - {self.before}" if self.before > 0 else f" + {-self.before}" if self.before < 0 else ""
        scaled = f"p{n}" if self.stride == 1 else f"p{n} * {self.stride}"
        code.add(f"const long s{n} = {scaled}{offset};")
        if self.inside:
            return
        round_up = "" if d == 1 else f" + {d - 1}"
        divide = "" if d == 1 else f" / {d}"
        first, room = f"(-s{n}{round_up}){divide}", f"({self.size} - s{n}{round_up}){divide}"
        code.add(f"const long begin{n} = s{n} < 0 ? {first} : 0;")
        code.add(f"const long end{n} = {room} < {self.window} ? {room} : {self.window};")


def _axes(
    sizes: Sequence[int],
    outputs: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    pads: Sequence[tuple[int, int]],
) -> list[Axis]:
    given = zip(sizes, outputs, window, strides, dilation, (before for before, _ in pads), strict=True)
    return [Axis(number, *each) for number, each in enumerate(given)]


def _flat(names: Sequence[str], sizes: Sequence[int]) -> str:
    """The place of an element: row-major over axes of these sizes."""
    text = ""
    for name, size in zip(names, sizes, strict=True):
        whole = f"({text})" if " " in text else text
        text = f"{whole} * {size} + {name}" if text else name
    return text or "0"


@contextmanager
def _positions(code: Code, axes: Sequence[Axis]) -> Iterator[str]:
    """Loops over all windows; the number of the output."""
    with ExitStack() as stack:
        for axis in axes:
            stack.enter_context(code.loop(f"p{axis.number}", axis.outputs))
            axis.place(code)
        yield _flat([f"p{axis.number}" for axis in axes], [axis.outputs for axis in axes])


@contextmanager
def _taps(code: Code, axes: Sequence[Axis]) -> Iterator[tuple[str, str]]:
    """Loops over the taps that meet elements; the number of the element and that of the tap."""
    with ExitStack() as stack:
        elements = []
        for axis in axes:
            n, d = axis.number, axis.dilation
            stack.enter_context(code.loop(f"t{n}", axis.end, axis.begin))
            elements.append(f"s{n} + t{n}" + ("" if d == 1 else f" * {d}"))
        yield (
            _flat(elements, [axis.size for axis in axes]),
            _flat([f"t{axis.number}" for axis in axes], [axis.window for axis in axes]),
        )


@contextmanager
def _channels(code: Code, count: int, most: int = _CHANNELS) -> Iterator[tuple[str, object]]:
    """A loop over blocks of channels; where a block starts, as something to add, and how many it has."""
    if count <= most:
        yield "", count
        return
    width = max(number for number in range(1, most + 1) if count % number == 0)
    if width >= most // 4:
        with code.loop("o", count, step=width):
            yield " + o", width
        return
    with code.loop("o", count, step=most):
        code.add(f"const long width = {count} - o < {most} ? {count} - o : {most};")
        yield " + o", "width"


def _multiply(code: Code, count: object, stride: int, width: object) -> None:
    """Adds to ``sum`` the products of `count` elements of ``in`` with rows of ``w``, `stride` apart."""
    fixed = count if isinstance(count, int) else None
    if fixed is None or fixed >= 4:
        row = "w" if fixed is not None and fixed < 8 else "r"
        if fixed is not None and fixed < 8:
            _four(code, "0", row, stride, width)
        else:
            with code.loop("q", f"{count} - 3" if fixed is None else fixed - 3, step=4):
                code.add(f"const float *r = w + q * {stride};")
                _four(code, "q", row, stride, width)
    if fixed is None or fixed % 4:
        start = f"({count}) / 4 * 4" if fixed is None else fixed // 4 * 4
        with code.loop("q", count, start), code.loop("j", width):
            code.add(f"sum[j] += in[q] * w[q * {stride} + j];")


def _four(code: Code, first: str, row: str, stride: int, width: object) -> None:
    names = [f"in[{first}]" if n == 0 else f"in[{first} + {n}]" for n in range(4)]
    code.add("const float " + ", ".join(f"v{n} = {name}" for n, name in enumerate(names)) + ";")
    terms = [f"v{n} * {row}[" + ("j]" if n == 0 else f"{n * stride} + j]") for n in range(4)]
    with code.loop("j", width):
        code.add(f"sum[j] += {' + '.join(terms)};")


def _start_sums(code: Code, bias: str | None, width: object) -> None:
    code.add(f"float sum[{width if isinstance(width, int) else _CHANNELS}];")
    with code.loop("j", width):
        code.add(f"sum[j] = {bias or '0.0f'};")


def _store_sums(code: Code, place: str, width: object) -> None:
    with code.loop("j", width):
        code.add(f"y[{place} + j] = sum[j];")


def _weights(
    site: Site, kernel: NDArray[np.floating], bias: NDArray[np.floating] | None, name: str = "kernel"
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Kernel and bias as they are written, behind the batch normalization that follows."""
    if site.fold is None:
        return site.finite(kernel, name), None if bias is None else site.finite(bias, "bias")
    scale, shift = site.fold
    with np.errstate(over="ignore", invalid="ignore"):
        wide = np.asarray(kernel, np.float64)
        wide = wide * scale.reshape(wide.shape[-2:] if wide.shape[-1] != scale.size else (-1,))
        moved = shift if bias is None else bias * scale + shift
    return site.finite(wide, name), site.finite(moved, "bias")


def _placed(site: Site, window: Sequence[int], dilation: Sequence[int], outputs: Sequence[int]) -> list[Axis]:
    """The axes of a layer, behind a border of its own if it has one that is not zeros."""
    layer = site.layer
    pads = _layer_arithmetic.window_pads(layer, site.shape[:-1], window, dilation)
    assert pads is not None, "all sizes are known"
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        border(site, pads, layer.padding_mode)
        pads = [(0, 0)] * len(pads)
    return _axes(site.shape[:-1], outputs, window, layer.strides, dilation, pads)


def _declare(code: Code, kernel: NDArray[np.float32], bias: NDArray[np.float32] | None) -> None:
    code.constant("kernel", kernel)
    if bias is not None:
        code.constant("bias", bias)


def convolution(site: Site) -> None:
    """`Conv1D` and its siblings: kernels ``(*window, inputs of a group, outputs)``."""
    layer = site.layer
    outputs, groups = site.output_shape, layer.groups
    axes = _placed(site, layer.kernel_size, layer.dilation_rate, outputs[:-1])
    _convolve(site, axes, groups, *_weights(site, layer.kernel, layer.bias if layer.use_bias else None))
    activate(site, layer.activation, layer.activation)


def _convolve(
    site: Site,
    axes: Sequence[Axis],
    groups: int,
    kernel: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    note: str = "",
) -> None:
    inputs, outputs = kernel.shape[-2:]
    each = outputs // groups
    channels = site.shape[-1]
    # Where a window's elements lie one behind the other, the last axis and the channels are one run.
    run = bool(axes) and groups == 1 and axes[-1].dilation == 1
    moved = axes[:-1] if run else axes
    shape = (*(axis.outputs for axis in axes), outputs)
    with site.step(shape, note=note) as code:
        _declare(code, kernel, bias)
        with ExitStack() as stack:
            place = stack.enter_context(_positions(code, axes))
            group = ""
            if groups > 1:
                stack.enter_context(code.loop("g", groups))
                group = f" + g * {each}"
            offset, width = stack.enter_context(_channels(code, each))
            _start_sums(code, (bias is not None and f"bias[j{group}{offset}]") or None, width)
            with _taps(code, moved) as (element, tap):
                count: object = inputs
                if run:
                    last = axes[-1]
                    element = _flat([element, f"s{last.number} + {last.begin}"], [0, last.size])
                    tap = _flat([tap, str(last.begin)], [0, last.window])
                    count = last.window * inputs if last.inside else f"({last.end} - {last.begin}) * {inputs}"
                own = f" + g * {inputs}" if groups > 1 else ""
                code.add(f"const float *in = x + ({element}) * {channels}{own};")
                code.add(f"const float *w = kernel + ({tap}) * {inputs * outputs}{group}{offset};")
                _multiply(code, count, outputs, width)
            _store_sums(code, f"({place}) * {outputs}{group}{offset}", width)


def dense(site: Site) -> None:
    """`Dense`, at every position of a grid."""
    layer = site.layer
    kernel, bias = _weights(site, layer.kernel, layer.bias if layer.use_bias else None)
    _product(site, kernel, bias)
    activate(site, layer.activation, layer.activation)


def _product(
    site: Site, kernel: NDArray[np.float32], bias: NDArray[np.float32] | None, note: str = ""
) -> None:
    """A product with a matrix at every position."""
    *space, inputs = site.shape
    outputs, positions = kernel.shape[-1], size_of(space)
    with site.step((*space, outputs), note=note) as code:
        _declare(code, kernel, bias)
        with ExitStack() as stack:
            place = "0"
            if positions > 1:
                stack.enter_context(code.loop("p", positions))
                place = "p"
            offset, width = stack.enter_context(_channels(code, outputs))
            code.add(f"const float *in = x + {place} * {inputs};")
            code.add(f"const float *w = kernel{offset};")
            _start_sums(code, (bias is not None and f"bias[j{offset}]") or None, width)
            _multiply(code, inputs, outputs, width)
            _store_sums(code, f"{place} * {outputs}{offset}", width)


def depthwise(site: Site) -> None:
    """`DepthwiseConv1D` and its siblings: kernels ``(*window, channels, multiplier)``."""
    layer = site.layer
    bias = layer.bias if layer.use_bias else None
    axes = _placed(site, layer.kernel_size, layer.dilation_rate, site.output_shape[:-1])
    _each_channel(site, axes, *_weights(site, layer.kernel, bias))
    activate(site, layer.activation, layer.activation)


def _each_channel(
    site: Site,
    axes: Sequence[Axis],
    kernel: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    note: str = "",
) -> None:
    channels, multiplier = kernel.shape[-2:]
    outputs = channels * multiplier
    shape = (*(axis.outputs for axis in axes), outputs)
    with site.step(shape, note=note) as code:
        _declare(code, kernel, bias)
        with ExitStack() as stack:
            place = stack.enter_context(_positions(code, axes))
            if multiplier > _CHANNELS:
                stack.enter_context(code.loop("c", channels))
                offset, width = stack.enter_context(_channels(code, multiplier))
                first, offset, product = " + c", f" + c * {multiplier}{offset}", "in[0] * w[j]"
            elif multiplier == 1:
                offset, width = stack.enter_context(_channels(code, channels))
                first, product = offset, "in[j] * w[j]"
            else:
                most = _CHANNELS // multiplier
                some = max(number for number in range(1, most + 1) if channels % number == 0)
                first = offset = ""
                if some < channels:
                    stack.enter_context(code.loop("c", channels, step=some))
                    first, offset = " + c", f" + c * {multiplier}"
                width, product = some * multiplier, f"in[j / {multiplier}] * w[j]"
            _start_sums(code, (bias is not None and f"bias[j{offset}]") or None, width)
            with _taps(code, axes) as (element, tap):
                code.add(f"const float *in = x + ({element}) * {channels}{first};")
                code.add(f"const float *w = kernel + ({tap}) * {outputs}{offset};")
                with code.loop("j", width):
                    code.add(f"sum[j] += {product};")
            _store_sums(code, f"({place}) * {outputs}{offset}", width)


def separable(site: Site) -> None:
    """`SeparableConv1D` and its siblings: depthwise, and a product at every position."""
    layer = site.layer
    axes = _placed(site, layer.kernel_size, layer.dilation_rate, site.output_shape[:-1])
    _each_channel(site, axes, site.finite(layer.depthwise_kernel, "depthwise_kernel"), None, "depthwise")
    mix = layer.pointwise_kernel
    mix = mix.reshape(mix.shape[-2:])
    kernel, bias = _weights(site, mix, layer.bias if layer.use_bias else None, "pointwise_kernel")
    _product(site, kernel, bias, "pointwise")
    activate(site, layer.activation, layer.activation)


def transposed(site: Site) -> None:
    """`Conv1DTranspose` and its siblings: every output gathers what reaches it.

    Tap ``t`` of element ``i`` reaches output ``i * stride + t * dilation - before``.
    """
    layer = site.layer
    sizes, outputs = site.shape[:-1], site.output_shape
    crops, _ = _layer_arithmetic.crops_and_fills(layer, sizes, layer.kernel_size)
    groups, channels = layer.groups, site.shape[-1]
    inputs, each = channels // groups, outputs[-1] // groups
    # (*window, outputs of a group, inputs) with rows of outputs
    kernel = site.finite(np.swapaxes(layer.kernel, -1, -2), "kernel")
    bias = site.finite(layer.bias, "bias") if layer.use_bias else None
    rank = len(sizes)
    with site.step(outputs) as code:
        _declare(code, np.ascontiguousarray(kernel), bias)
        with ExitStack() as stack:
            names = [f"p{axis}" for axis in range(rank)]
            stack.enter_context(code.loops(names, outputs[:-1]))
            group = ""
            if groups > 1:
                stack.enter_context(code.loop("g", groups))
                group = f" + g * {each}"
            offset, width = stack.enter_context(_channels(code, each))
            _start_sums(code, (bias is not None and f"bias[j{group}{offset}]") or None, width)
            with ExitStack() as taps:
                for axis in range(rank):
                    s, d, k = layer.strides[axis], layer.dilation_rate[axis], layer.kernel_size[axis]
                    taps.enter_context(code.loop(f"t{axis}", k))
                    step = f"t{axis}" if d == 1 else f"t{axis} * {d}"
                    code.add(f"const long u{axis} = p{axis} + {crops[axis][0]} - {step};")
                    strided = "" if s == 1 else f" || u{axis} % {s} != 0"
                    divided = "" if s == 1 else f" / {s}"
                    code.add(f"if (u{axis} < 0{strided} || u{axis}{divided} >= {sizes[axis]}) continue;")
                    code.add(f"const long i{axis} = u{axis}{divided};")
                element = _flat([f"i{axis}" for axis in range(rank)], sizes)
                tap = _flat([f"t{axis}" for axis in range(rank)], layer.kernel_size)
                own = f" + g * {inputs}" if groups > 1 else ""
                row = f" + g * {inputs * each}" if groups > 1 else ""
                code.add(f"const float *in = x + ({element}) * {channels}{own};")
                code.add(f"const float *w = kernel + ({tap}) * {channels * each}{row}{offset};")
                _multiply(code, inputs, each, width)
            _store_sums(code, f"({_flat(names, outputs[:-1])}) * {outputs[-1]}{group}{offset}", width)
    activate(site, layer.activation, layer.activation)


# Pools


def maximum(site: Site) -> None:
    """`MaxPooling1D` and its siblings."""
    axes = _pooled(site)
    with _pool(site, axes) as (code, channels, offset, place, width):
        _start_sums(code, "-INFINITY", width)
        with _taps(code, axes) as (element, _):
            code.add(f"const float *in = x + ({element}) * {channels}{offset};")
            _larger(code, width, "in[j]")
        _store_sums(code, place, width)


def average(site: Site) -> None:
    """`AveragePooling1D` and its siblings."""
    layer = site.layer
    axes = _pooled(site)
    pads = _layer_arithmetic.window_pads(layer, site.shape[:-1], layer.pool_size, [1] * len(axes))
    assert pads is not None, "all sizes are known"
    with _pool(site, axes) as (code, channels, offset, place, width):
        counts = []
        for axis, (_, after) in zip(axes, pads, strict=True):
            n, k, end = axis.number, axis.window, axis.size + after
            whole = axis.inside or (
                layer.count_include_pad and (axis.outputs - 1) * axis.stride - axis.before + k <= end
            )
            if whole:
                counts.append(str(k))
            elif layer.count_include_pad:
                counts.append(f"({end} - s{n} < {k} ? {end} - s{n} : {k})")
            else:
                counts.append(f"({axis.end} - {axis.begin})")
        _start_sums(code, "0.0f", width)
        with _taps(code, axes) as (element, _):
            code.add(f"const float *in = x + ({element}) * {channels}{offset};")
            with code.loop("j", width):
                code.add("sum[j] += in[j];")
        count = " * ".join(counts)
        if not count.replace(" * ", "").isdigit():
            # A window may lie in the padding altogether.
            code.add(f"const long count = {count};")
            count = "(float)(count > 0 ? count : 1)"
        else:
            count = f"{size_of([int(one) for one in counts])}.0f"
        with code.loop("j", width):
            code.add(f"y[{place} + j] = sum[j] / {count};")


def _pooled(site: Site) -> list[Axis]:
    layer = site.layer
    return _placed(site, layer.pool_size, [1] * (site.rank - 1), site.output_shape[:-1])


@contextmanager
def _pool(site: Site, axes: Sequence[Axis]) -> Iterator[tuple[Code, int, str, str, object]]:
    """The loops of a pool.

    Where no window begins before its grid, none begins before its own output either, so that outputs can
    replace elements.
    """
    channels = site.shape[-1]
    in_place = all(
        axis.before <= 0 and axis.outputs <= axis.size and (axis.outputs - 1) * axis.stride < axis.size
        for axis in axes
    )
    with (
        site.step(site.output_shape, in_place=in_place) as code,
        _positions(code, axes) as output,
        _channels(code, channels) as (offset, width),
    ):
        yield code, channels, offset, f"({output}) * {channels}{offset}", width


def _larger(code: Code, width: object, element: str) -> None:
    """The larger one, or NaN."""
    with code.loop("j", width):
        code.add(f"if ({element} > sum[j] || {element} != {element}) sum[j] = {element};")


def global_average(site: Site) -> None:
    """`GlobalAveragePooling1D` and its siblings: sums of 64 elements, and of these sums."""
    *space, channels = site.shape
    positions = size_of(space)
    with site.step(site.output_shape, in_place=True) as code, code.loop("c", channels):
        code.add("float sum = 0.0f;")
        with code.loop("p", positions, step=64):
            code.add("float part = 0.0f;")
            with code.loop("i", f"{positions} && i < p + 64", "p"):
                code.add(f"part += x[i * {channels} + c];")
            code.add("sum += part;")
        code.add(f"y[c] = sum / {positions}.0f;")


def global_max(site: Site) -> None:
    """`GlobalMaxPooling1D` and its siblings."""
    *space, channels = site.shape
    with site.step(site.output_shape, in_place=True) as code, code.loop("c", channels):
        code.add("float top = x[c];")
        with code.loop("i", size_of(space), 1):
            code.add(f"const float v = x[i * {channels} + c];", "if (v > top || v != v) top = v;")
        code.add("y[c] = top;")


def adaptive_average(site: Site) -> None:
    """`AdaptiveAveragePooling1D` and its siblings."""
    _adaptive(site, average=True)


def adaptive_max(site: Site) -> None:
    """`AdaptiveMaxPooling1D` and its siblings."""
    _adaptive(site, average=False)


def _adaptive(site: Site, *, average: bool) -> None:
    *sizes, channels = site.shape
    outputs = site.output_shape[:-1]
    with site.step(site.output_shape) as code, ExitStack() as stack:
        for axis, (size, output) in enumerate(zip(sizes, outputs, strict=True)):
            stack.enter_context(code.loop(f"p{axis}", output))
            code.add(f"const long begin{axis} = p{axis} * {size} / {output};")
            code.add(f"const long end{axis} = ((p{axis} + 1) * {size} + {output - 1}) / {output};")
        place = _flat([f"p{axis}" for axis in range(len(sizes))], outputs)
        offset, width = stack.enter_context(_channels(code, channels))
        _start_sums(code, "0.0f" if average else "-INFINITY", width)
        with ExitStack() as taps:
            for axis in range(len(sizes)):
                taps.enter_context(code.loop(f"i{axis}", f"end{axis}", f"begin{axis}"))
            element = _flat([f"i{axis}" for axis in range(len(sizes))], sizes)
            code.add(f"const float *in = x + ({element}) * {channels}{offset};")
            if average:
                with code.loop("j", width):
                    code.add("sum[j] += in[j];")
            else:
                _larger(code, width, "in[j]")
        if average:
            counts = [f"(end{axis} - begin{axis})" for axis in range(len(sizes))]
            code.add(f"const float count = (float)({' * '.join(counts)});")
            with code.loop("j", width):
                code.add("sum[j] /= count;")
        _store_sums(code, f"({place}) * {channels}{offset}", width)
