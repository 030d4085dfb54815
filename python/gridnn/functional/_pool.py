"""Pools over windows and over whole grids, with their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from gridnn import _core, _validation
from gridnn.functional._arrays import ArrayLike, as_floats, check_out, full_shape

__all__ = [
    "average_pool1d",
    "average_pool1d_grad",
    "average_pool2d",
    "average_pool2d_grad",
    "average_pool3d",
    "average_pool3d_grad",
    "max_pool1d",
    "max_pool1d_grad",
    "max_pool2d",
    "max_pool2d_grad",
    "max_pool3d",
    "max_pool3d_grad",
    "pool_output_shape",
]

Sizes = int | Sequence[int]
Padding = str | int | Sequence[Sequence[int]]
Window = tuple[tuple[int, ...], tuple[int, ...], _validation.Padding, tuple[int, ...], bool]


def _window(
    rank: int,
    pool_size: Sizes,
    strides: Sizes | None,
    padding: Padding,
    dilation_rate: Sizes,
    ceil_mode: bool,
) -> Window:
    size = _validation.axis_integers(pool_size, rank, "pool_size")
    return (
        size,
        size if strides is None else _validation.axis_integers(strides, rank, "strides"),
        _validation.convolution_padding(padding, rank, causal=rank == 1),
        _validation.axis_integers(dilation_rate, rank, "dilation_rate"),
        _validation.boolean(ceil_mode, "ceil_mode"),
    )


def pool_output_shape(
    input_shape: Sequence[int],
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation_rate: Sizes = 1,
    ceil_mode: bool = False,
) -> tuple[int, ...]:
    """The shape that a max or average pool gives, without computing it.

    Args:
        input_shape: batch, one to three spatial axes, channels; the batch may be 0.
        pool_size: see `max_pool2d`, as the other arguments.
        strides: see `max_pool2d`.
        padding: see `max_pool2d`.
        dilation_rate: see `max_pool2d`; average pools have none.
        ceil_mode: see `max_pool2d`.

    Raises:
        ShapeError: the window is larger than the padded input; not 3 to 5 axes.

    Example:
        >>> pool_output_shape((8, 28, 28, 3), 3, strides=2, padding="same")
        (8, 14, 14, 3)
    """
    rank = min(max(len(input_shape) - 2, 1), 3)
    shape = full_shape(input_shape, rank)
    return _core.pool_output_shape(
        shape, _window(rank, pool_size, strides, padding, dilation_rate, ceil_mode)
    )


def _max_pool(
    x: ArrayLike, window: Window, return_indices: bool, out: NDArray[Any] | None
) -> NDArray[Any] | tuple[NDArray[Any], NDArray[np.int64]]:
    wanted = _validation.boolean(return_indices, "return_indices")
    (x,) = as_floats(len(window[0]), x=x)
    y, indices = _core.max_pool(x, window, wanted, check_out(out, x.dtype))
    return y if indices is None else (y, indices)


def _max_pool_grad(dy: ArrayLike, x: ArrayLike, window: Window, out: NDArray[Any] | None) -> NDArray[Any]:
    dy, x = as_floats(len(window[0]), dy=dy, x=x)
    return _core.max_pool_grad(dy, x, window, check_out(out, x.dtype))


def _average_pool(
    x: ArrayLike, window: Window, count_include_pad: bool, out: NDArray[Any] | None
) -> NDArray[Any]:
    count = _validation.boolean(count_include_pad, "count_include_pad")
    (x,) = as_floats(len(window[0]), x=x)
    return _core.average_pool(x, window, count, check_out(out, x.dtype))


def _average_pool_grad(
    dy: ArrayLike,
    input_shape: Sequence[int],
    window: Window,
    count_include_pad: bool,
    out: NDArray[Any] | None,
) -> NDArray[Any]:
    count = _validation.boolean(count_include_pad, "count_include_pad")
    shape = full_shape(input_shape, len(window[0]))
    (dy,) = as_floats(len(window[0]), dy=dy)
    return _core.average_pool_grad(dy, shape, window, count, check_out(out, dy.dtype))


@overload
def max_pool1d(
    x: ArrayLike,
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation_rate: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]: ...


@overload
def max_pool1d(
    x: ArrayLike,
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation_rate: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: Literal[True],
    out: NDArray[Any] | None = None,
) -> tuple[NDArray[Any], NDArray[np.int64]]: ...


def max_pool1d(
    x: ArrayLike,
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation_rate: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    out: NDArray[Any] | None = None,
) -> NDArray[Any] | tuple[NDArray[Any], NDArray[np.int64]]:
    """The maximum over windows of series: see `max_pool2d`; `x` is ``(batch, steps, channels)``."""
    return _max_pool(
        x, _window(1, pool_size, strides, padding, dilation_rate, ceil_mode), return_indices, out
    )


def max_pool1d_grad(
    dy: ArrayLike,
    x: ArrayLike,
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation_rate: Sizes = 1,
    ceil_mode: bool = False,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The gradient of `max_pool1d` to `x`: see `max_pool2d_grad`; `x` is ``(batch, steps, channels)``."""
    return _max_pool_grad(dy, x, _window(1, pool_size, strides, padding, dilation_rate, ceil_mode), out)


def average_pool1d(
    x: ArrayLike,
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The mean over windows of series: see `average_pool2d`; `x` is ``(batch, steps, channels)``."""
    return _average_pool(x, _window(1, pool_size, strides, padding, 1, ceil_mode), count_include_pad, out)


def average_pool1d_grad(
    dy: ArrayLike,
    input_shape: Sequence[int],
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The gradient of `average_pool1d` to `x`: see `average_pool2d_grad`.

    `x` is ``(batch, steps, channels)``.
    """
    window = _window(1, pool_size, strides, padding, 1, ceil_mode)
    return _average_pool_grad(dy, input_shape, window, count_include_pad, out)


@overload
def max_pool2d(
    x: ArrayLike,
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation_rate: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]: ...


@overload
def max_pool2d(
    x: ArrayLike,
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation_rate: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: Literal[True],
    out: NDArray[Any] | None = None,
) -> tuple[NDArray[Any], NDArray[np.int64]]: ...


def max_pool2d(
    x: ArrayLike,
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation_rate: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    out: NDArray[Any] | None = None,
) -> NDArray[Any] | tuple[NDArray[Any], NDArray[np.int64]]:
    """The maximum over a window, channel by channel.

    Along an axis of size n, with window k, stride s and dilation d, the output size is ``floor((n + before +
    after - d (k - 1) - 1) / s) + 1``. Padding is never chosen. Of equal elements the first in row-major
    order is, and the first NaN beats everything.
    Memory: the output; with `return_indices` they as well, and per thread one byte for each output of a row.

    Args:
        x: array of shape ``(batch, height, width, channels)``.
        pool_size: an int, or one per spatial axis.
        strides: an int, or one per spatial axis; None takes `pool_size`.
        padding: "valid" (none), "same" (so much that the output size is ``ceil(n / s)``; an odd amount goes
            to the end), an int for every side, or one (before, after) pair per axis. For series also
            "causal": ``d (k - 1)`` before.
        dilation_rate: distance between the elements of a window, an int or one per spatial axis.
        ceil_mode: round the output size up: a last window that reaches over the end counts as well, if it
            starts inside the input or the padding before it.
        return_indices: return the positions as well.
        out: array for the result.

    Returns:
        Array of shape ``(batch, new_height, new_width, channels)`` and of the type of `x`, minus infinity
        where a window lies in the padding altogether. With `return_indices` a pair: that and, in int64, for
        each maximum its flat position in the spatial grid of its sample and channel, ``h * width + w`` (in
        volumes ``(d * height + h) * width + w``), as PyTorch has it; -1 where a window lies in the padding
        altogether.

    Raises:
        ShapeError: another number of axes, a window larger than the padded input, `out` of another shape.
        TypeError: numbers that are not real, an argument of the wrong kind, `out` of another type.
        ValueError: a size that is not positive, an unknown padding, `out` not contiguous or overlapping `x`.

    Example:
        >>> max_pool2d(np.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0]
        array([[ 5.,  7.],
               [13., 15.]])
    """
    return _max_pool(
        x, _window(2, pool_size, strides, padding, dilation_rate, ceil_mode), return_indices, out
    )


def max_pool2d_grad(
    dy: ArrayLike,
    x: ArrayLike,
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation_rate: Sizes = 1,
    ceil_mode: bool = False,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The gradient of ``sum(dy * max_pool2d(x, ...))`` to `x`: each element of `dy` goes to its maximum.

    The maxima are looked for again, which takes as long as the pool.
    Memory: the result; per thread one row of the output.

    Args:
        dy: array of the shape that `max_pool2d` gives.
        x: what was pooled, of shape ``(batch, height, width, channels)``.
        pool_size: see `max_pool2d`, as the other arguments.
        strides: see `max_pool2d`.
        padding: see `max_pool2d`.
        dilation_rate: see `max_pool2d`.
        ceil_mode: see `max_pool2d`.
        out: array for the result.

    Returns:
        Array of the shape of `x`.

    Raises:
        ShapeError, TypeError, ValueError: as `max_pool2d`; `dy` of another shape.

    Example:
        >>> max_pool2d_grad([[[[1.0]]]], [[[[1.0], [3.0]], [[3.0], [2.0]]]])[0, :, :, 0]
        array([[0., 1.],
               [0., 0.]])
    """
    return _max_pool_grad(dy, x, _window(2, pool_size, strides, padding, dilation_rate, ceil_mode), out)


def average_pool2d(
    x: ArrayLike,
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The mean over a window, channel by channel.

    Output sizes as in `max_pool2d`. Memory: the output.

    Args:
        x: array of shape ``(batch, height, width, channels)``.
        pool_size: an int, or one per spatial axis.
        strides: an int, or one per spatial axis; None takes `pool_size`.
        padding: see `max_pool2d`.
        ceil_mode: see `max_pool2d`.
        count_include_pad: whether a window divides by its size, padding included (True), or by the number
            of its elements inside the input (False). What `ceil_mode` adds beyond the padding never counts.
        out: array for the result.

    Returns:
        Array of shape ``(batch, new_height, new_width, channels)`` and of the type of `x`; 0 where a window
        lies in the padding altogether.

    Raises:
        ShapeError, TypeError, ValueError: as `max_pool2d`.

    Example:
        >>> average_pool2d(np.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0]
        array([[ 2.5,  4.5],
               [10.5, 12.5]])
    """
    return _average_pool(x, _window(2, pool_size, strides, padding, 1, ceil_mode), count_include_pad, out)


def average_pool2d_grad(
    dy: ArrayLike,
    input_shape: Sequence[int],
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The gradient of ``sum(dy * average_pool2d(x, ...))`` to `x`.

    It does not depend on the values of `x`. Memory: the result.

    Args:
        dy: array of the shape that `average_pool2d` gives.
        input_shape: shape of `x`, ``(batch, height, width, channels)``.
        pool_size: see `max_pool2d`, as the other arguments.
        strides: see `max_pool2d`.
        padding: see `max_pool2d`.
        ceil_mode: see `max_pool2d`.
        count_include_pad: see `average_pool2d`.
        out: array for the result.

    Returns:
        Array of shape `input_shape`.

    Raises:
        ShapeError, TypeError, ValueError: as `max_pool2d`; `dy` of another shape.

    Example:
        >>> average_pool2d_grad([[[[8.0]]]], (1, 2, 2, 1))[0, :, :, 0]
        array([[2., 2.],
               [2., 2.]])
    """
    window = _window(2, pool_size, strides, padding, 1, ceil_mode)
    return _average_pool_grad(dy, input_shape, window, count_include_pad, out)


@overload
def max_pool3d(
    x: ArrayLike,
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation_rate: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]: ...


@overload
def max_pool3d(
    x: ArrayLike,
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation_rate: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: Literal[True],
    out: NDArray[Any] | None = None,
) -> tuple[NDArray[Any], NDArray[np.int64]]: ...


def max_pool3d(
    x: ArrayLike,
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation_rate: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    out: NDArray[Any] | None = None,
) -> NDArray[Any] | tuple[NDArray[Any], NDArray[np.int64]]:
    """The maximum over windows of volumes: see `max_pool2d`.

    `x` is ``(batch, depth, height, width, channels)``.
    """
    return _max_pool(
        x, _window(3, pool_size, strides, padding, dilation_rate, ceil_mode), return_indices, out
    )


def max_pool3d_grad(
    dy: ArrayLike,
    x: ArrayLike,
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation_rate: Sizes = 1,
    ceil_mode: bool = False,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The gradient of `max_pool3d` to `x`: see `max_pool2d_grad`.

    `x` is ``(batch, depth, height, width, channels)``.
    """
    return _max_pool_grad(dy, x, _window(3, pool_size, strides, padding, dilation_rate, ceil_mode), out)


def average_pool3d(
    x: ArrayLike,
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The mean over windows of volumes: see `average_pool2d`.

    `x` is ``(batch, depth, height, width, channels)``.
    """
    return _average_pool(x, _window(3, pool_size, strides, padding, 1, ceil_mode), count_include_pad, out)


def average_pool3d_grad(
    dy: ArrayLike,
    input_shape: Sequence[int],
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The gradient of `average_pool3d` to `x`: see `average_pool2d_grad`.

    `x` is ``(batch, depth, height, width, channels)``.
    """
    window = _window(3, pool_size, strides, padding, 1, ceil_mode)
    return _average_pool_grad(dy, input_shape, window, count_include_pad, out)
