"""The same arithmetic in NumPy, written three ways; float32, channels last, any number of spatial axes.

- `loops`: plain Python loops, for tiny cases;
- `windows`: `sliding_window_view` and `einsum`, the shortest way to write it;
- `im2col`: windows copied into the rows of a matrix, and a product by BLAS.

Each way is a set of three functions, the passes of a convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from gridnn.bench.peers import Array, Convolution, Task, UnsupportedError

__all__ = ["POOLS", "WAYS", "Way", "blocks", "convolution", "max_pooling"]

_SPACE = "dhw"
_TAPS = "xyz"


class Way(NamedTuple):
    """The passes of a convolution."""

    forward: Callable[[Array, Array, Convolution], Array]
    input_grad: Callable[[Array, Array, Convolution], Array]
    kernel_grad: Callable[[Array, Array, Convolution], Array]


# Plain loops


def _pairs(problem: Convolution) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """Every position of the output, tap, and position of the input that the tap reads."""
    before, _ = problem.pads
    for out in product(range(problem.out), repeat=problem.rank):
        for tap in product(range(problem.kernel), repeat=problem.rank):
            at = tuple(
                o * problem.stride + t * problem.dilation - before for o, t in zip(out, tap, strict=True)
            )
            if all(0 <= i < problem.size for i in at):
                yield out, tap, at


def _loops_forward(x: Array, kernel: Array, problem: Convolution) -> Array:
    y = np.zeros(problem.y_shape, np.float32)
    for out, tap, at in _pairs(problem):
        for n, c, f in np.ndindex(problem.batch, problem.c_in, problem.c_out):
            of_x, of_kernel, of_y = (n, *at, c), (*tap, c, f), (n, *out, f)
            y[of_y] += x[of_x] * kernel[of_kernel]
    return y


def _loops_input_grad(dy: Array, kernel: Array, problem: Convolution) -> Array:
    dx = np.zeros(problem.x_shape, np.float32)
    for out, tap, at in _pairs(problem):
        for n, c, f in np.ndindex(problem.batch, problem.c_in, problem.c_out):
            of_x, of_kernel, of_y = (n, *at, c), (*tap, c, f), (n, *out, f)
            dx[of_x] += dy[of_y] * kernel[of_kernel]
    return dx


def _loops_kernel_grad(x: Array, dy: Array, problem: Convolution) -> Array:
    dkernel = np.zeros(problem.kernel_shape, np.float32)
    for out, tap, at in _pairs(problem):
        for n, c, f in np.ndindex(problem.batch, problem.c_in, problem.c_out):
            of_x, of_kernel, of_y = (n, *at, c), (*tap, c, f), (n, *out, f)
            dkernel[of_kernel] += x[of_x] * dy[of_y]
    return dkernel


# Sliding windows and einsum


def _axes(rank: int, spatial: slice, *more: slice) -> tuple[slice, ...]:
    """An index that takes the whole batch, the same part of every spatial axis, and `more` behind."""
    return (slice(None), *[spatial] * rank, *more)


def _view(x: Array, problem: Convolution) -> Array:
    """Windows of the padded input without a copy of them: batch, output axes, channels, taps."""
    rank, dilation = problem.rank, problem.dilation
    padded = np.pad(x, [(0, 0), *[problem.pads] * rank, (0, 0)])
    reach = (problem.kernel - 1) * dilation + 1
    view = sliding_window_view(padded, (reach,) * rank, tuple(range(1, rank + 1)))
    view = view[_axes(rank, slice(None, None, problem.stride))]
    if dilation > 1:
        view = view[_axes(rank, slice(None), slice(None), *[slice(None, None, dilation)] * rank)]
    return view


def _windows_forward(x: Array, kernel: Array, problem: Convolution) -> Array:
    space, taps = _SPACE[: problem.rank], _TAPS[: problem.rank]
    y: Array = np.einsum(f"n{space}c{taps},{taps}cf->n{space}f", _view(x, problem), kernel)
    return y


def _windows_input_grad(dy: Array, kernel: Array, problem: Convolution) -> Array:
    """The forward pass on outputs spread out by the stride, with the kernel turned round."""
    rank, stride = problem.rank, problem.stride
    reach = (problem.kernel - 1) * problem.dilation + 1
    before = reach - 1 - problem.pads[0]
    # Spread out, and so padded or cropped that there is a window for every element of the input.
    length = problem.size + reach - 1
    first, spread = max(before, 0), (problem.out - 1) * stride + 1
    wide = np.zeros((problem.batch, *[max(length, first + spread)] * rank, problem.c_out), np.float32)
    wide[_axes(rank, slice(first, first + spread, stride))] = dy
    skip = first - before
    wide = wide[_axes(rank, slice(skip, skip + length))]
    turned = np.flip(kernel, tuple(range(rank))).swapaxes(-1, -2)
    back = Convolution(
        rank,
        problem.batch,
        length,
        problem.c_out,
        problem.c_in,
        problem.kernel,
        dilation=problem.dilation,
        padding="valid",
    )
    return _windows_forward(wide, turned, back)


def _windows_kernel_grad(x: Array, dy: Array, problem: Convolution) -> Array:
    space, taps = _SPACE[: problem.rank], _TAPS[: problem.rank]
    dkernel: Array = np.einsum(f"n{space}c{taps},n{space}f->{taps}cf", _view(x, problem), dy)
    return dkernel


# Columns and BLAS


def _columns(x: Array, problem: Convolution) -> Array:
    """One row per output position, one column per tap and channel."""
    rank = problem.rank
    view = np.moveaxis(_view(x, problem), rank + 1, -1)
    return np.ascontiguousarray(view).reshape(problem.batch * problem.out**rank, -1)


def _im2col_forward(x: Array, kernel: Array, problem: Convolution) -> Array:
    return (_columns(x, problem) @ kernel.reshape(-1, problem.c_out)).reshape(problem.y_shape)


def _im2col_input_grad(dy: Array, kernel: Array, problem: Convolution) -> Array:
    rank = problem.rank
    rows = dy.reshape(-1, problem.c_out) @ kernel.reshape(-1, problem.c_out).T
    rows = rows.reshape(*problem.y_shape[:-1], *problem.kernel_shape[:-1])
    before, after = problem.pads
    padded = np.zeros((problem.batch, *[problem.size + before + after] * rank, problem.c_in), np.float32)
    reach = (problem.out - 1) * problem.stride + 1
    for tap in product(range(problem.kernel), repeat=rank):
        starts = [t * problem.dilation for t in tap]
        where = tuple(slice(start, start + reach, problem.stride) for start in starts)
        spatial: tuple[Any, ...] = (slice(None), *where)
        place: tuple[Any, ...] = (..., *tap, slice(None))
        padded[spatial] += rows[place]
    return padded[_axes(rank, slice(before, before + problem.size))]


def _im2col_kernel_grad(x: Array, dy: Array, problem: Convolution) -> Array:
    dkernel: Array = _columns(x, problem).T @ dy.reshape(-1, problem.c_out)
    return dkernel.reshape(problem.kernel_shape)


WAYS = {
    "loops": Way(_loops_forward, _loops_input_grad, _loops_kernel_grad),
    "windows": Way(_windows_forward, _windows_input_grad, _windows_kernel_grad),
    "im2col": Way(_im2col_forward, _im2col_input_grad, _im2col_kernel_grad),
}


def convolution(problem: Convolution, which: str, way: str, operands: tuple[Array, Array, Array]) -> Task:
    """One of `peers.PASSES`."""
    if problem.groups > 1:
        raise UnsupportedError("written for one group")
    x, kernel, dy = operands
    passes = WAYS[way]
    function, arguments = {
        "forward": (passes.forward, (x, kernel)),
        "input gradient": (passes.input_grad, (dy, kernel)),
        "kernel gradient": (passes.kernel_grad, (x, dy)),
    }[which]
    return Task(lambda: function(*arguments, problem), lambda: [function(*arguments, problem)])


# Max-pooling


def _pool_loops(x: Array, size: int) -> Array:
    y = np.empty((len(x), *(n // size for n in x.shape[1:-1]), x.shape[-1]), x.dtype)
    for at in np.ndindex(y.shape):
        window = [range(i * size, (i + 1) * size) for i in at[1:-1]]
        every: list[tuple[Any, ...]] = [(at[0], *place, at[-1]) for place in product(*window)]
        y[at] = max(x[place] for place in every)
    return y


def _pool_windows(x: Array, size: int) -> Array:
    axes = tuple(range(1, x.ndim - 1))
    view = sliding_window_view(x, (size,) * len(axes), axes)
    y: Array = view[_axes(len(axes), slice(None, None, size))].max(tuple(range(-len(axes), 0)))
    return y


def blocks(x: Array, size: int) -> Array:
    """The input with its windows as axes of their own: batch, block, place in it, block, ..., channels."""
    whole: tuple[Any, ...] = (slice(None), *(slice(n // size * size) for n in x.shape[1:-1]))
    cut = x[whole]
    split = [part for n in x.shape[1:-1] for part in (n // size, size)]
    split_up: Array = cut.reshape(len(x), *split, x.shape[-1])
    return split_up


def _pool_blocks(x: Array, size: int) -> Array:
    y: Array = blocks(x, size).max(tuple(range(2, 2 * x.ndim - 3, 2)))
    return y


POOLS = {"loops": _pool_loops, "windows": _pool_windows, "reshape": _pool_blocks}
"""Max-pooling three ways; the last gives the windows axes of their own, without overlap."""


def max_pooling(x: Array, size: int, way: str) -> Task:
    """The forward pass, valid windows side by side."""
    return Task(lambda: POOLS[way](x, size), lambda: [POOLS[way](x, size)])
