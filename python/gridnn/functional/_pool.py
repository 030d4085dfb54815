"""Pools over windows, with their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from gridnn import _core
from gridnn.functional._arrays import ArrayLike, Padding, Sizes, full_shape
from gridnn.functional._ranks import pinned, ranked

__all__ = [
    "average_pool",
    "average_pool1d",
    "average_pool1d_grad",
    "average_pool2d",
    "average_pool2d_grad",
    "average_pool3d",
    "average_pool3d_grad",
    "average_pool_grad",
    "max_pool",
    "max_pool1d",
    "max_pool1d_grad",
    "max_pool2d",
    "max_pool2d_grad",
    "max_pool3d",
    "max_pool3d_grad",
    "max_pool_grad",
    "pool_output_shape",
]


@overload
def max_pool(
    x: ArrayLike,
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation_rate: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
    out: NDArray[Any] | None = None,
    _rank: int | None = None,
) -> NDArray[Any]: ...


@overload
def max_pool(
    x: ArrayLike,
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation_rate: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: Literal[True],
    out: NDArray[Any] | None = None,
    _rank: int | None = None,
) -> tuple[NDArray[Any], NDArray[np.int64]]: ...


@ranked
def max_pool(
    x: ArrayLike,
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation_rate: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    out: NDArray[Any] | None = None,
    _rank: int | None = None,
) -> NDArray[Any] | tuple[NDArray[Any], NDArray[np.int64]]:
    """The maximum over a window, channel by channel.

    Along an axis of size n, with window k, stride s and dilation d, the output size is ``floor((n + before +
    after - d (k - 1) - 1) / s) + 1``. Padding is never chosen. Of equal elements the first in row-major
    order is, and the first NaN beats everything.
    Memory: the output; with `return_indices` they as well, and per thread one byte for each output of a row.

    Args:
        x: array of shape ``(batch, [depth, [height,]] width, channels)``.
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
        Array of shape ``(batch, [new_depth, [new_height,]] new_width, channels)`` and of the type of `x`,
        minus infinity where a window lies in the padding altogether. With `return_indices` a pair: that and,
        in int64, for each maximum its flat position in the spatial grid of its sample and channel,
        ``h * width + w`` (in volumes ``(d * height + h) * width + w``), as PyTorch has it; -1 where a window
        lies in the padding altogether.

    Raises:
        ShapeError: another number of axes, a window larger than the padded input, `out` of another shape.
        TypeError: numbers that are not real, an argument of the wrong kind, `out` of another type.
        ValueError: a size that is not positive, an unknown padding, `out` not contiguous or overlapping `x`.

    Example:
        >>> max_pool(np.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0]
        array([[ 5.,  7.],
               [13., 15.]])
    """
    window = (pool_size, strides, padding, dilation_rate, ceil_mode)
    result: NDArray[Any] | tuple[NDArray[Any], NDArray[np.int64]]
    result = _core.max_pool(_rank, x, window, return_indices, out)
    return result


@ranked
def max_pool_grad(
    dy: ArrayLike,
    x: ArrayLike,
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation_rate: Sizes = 1,
    ceil_mode: bool = False,
    out: NDArray[Any] | None = None,
    _rank: int | None = None,
) -> NDArray[Any]:
    """The gradient of ``sum(dy * max_pool(x, ...))`` to `x`: each element of `dy` goes to its maximum.

    The maxima are looked for again, which takes as long as the pool.
    Memory: the result; per thread one row of the output.

    Args:
        dy: array of the shape that `max_pool` gives.
        x: what was pooled, of shape ``(batch, [depth, [height,]] width, channels)``.
        pool_size: see `max_pool`, as the other arguments.
        strides: see `max_pool`.
        padding: see `max_pool`.
        dilation_rate: see `max_pool`.
        ceil_mode: see `max_pool`.
        out: array for the result.

    Returns:
        Array of the shape of `x`.

    Raises:
        ShapeError, TypeError, ValueError: as `max_pool`; `dy` of another shape.

    Example:
        >>> max_pool_grad([[[[1.0]]]], [[[[1.0], [3.0]], [[3.0], [2.0]]]])[0, :, :, 0]
        array([[0., 1.],
               [0., 0.]])
    """
    window = (pool_size, strides, padding, dilation_rate, ceil_mode)
    return _core.max_pool_grad(_rank, dy, x, window, out)


@ranked
def average_pool(
    x: ArrayLike,
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    out: NDArray[Any] | None = None,
    _rank: int | None = None,
) -> NDArray[Any]:
    """The mean over a window, channel by channel.

    Output sizes as in `max_pool`. Memory: the output.

    Args:
        x: array of shape ``(batch, [depth, [height,]] width, channels)``.
        pool_size: an int, or one per spatial axis.
        strides: an int, or one per spatial axis; None takes `pool_size`.
        padding: see `max_pool`.
        ceil_mode: see `max_pool`.
        count_include_pad: whether a window divides by its size, padding included (True), or by the number
            of its elements inside the input (False). What `ceil_mode` adds beyond the padding never counts.
        out: array for the result.

    Returns:
        Array of shape ``(batch, [new_depth, [new_height,]] new_width, channels)`` and of the type of `x`; 0
        where a window lies in the padding altogether.

    Raises:
        ShapeError, TypeError, ValueError: as `max_pool`.

    Example:
        >>> average_pool(np.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0]
        array([[ 2.5,  4.5],
               [10.5, 12.5]])
    """
    window = (pool_size, strides, padding, 1, ceil_mode)
    return _core.average_pool(_rank, x, window, count_include_pad, out)


@ranked
def average_pool_grad(
    dy: ArrayLike,
    input_shape: Sequence[int],
    pool_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    out: NDArray[Any] | None = None,
    _rank: int | None = None,
) -> NDArray[Any]:
    """The gradient of ``sum(dy * average_pool(x, ...))`` to `x`.

    It does not depend on the values of `x`. Memory: the result.

    Args:
        dy: array of the shape that `average_pool` gives.
        input_shape: shape of `x`, ``(batch, [depth, [height,]] width, channels)``.
        pool_size: see `max_pool`, as the other arguments.
        strides: see `max_pool`.
        padding: see `max_pool`.
        ceil_mode: see `max_pool`.
        count_include_pad: see `average_pool`.
        out: array for the result.

    Returns:
        Array of shape `input_shape`.

    Raises:
        ShapeError, TypeError, ValueError: as `max_pool`; `dy` of another shape.

    Example:
        >>> average_pool_grad([[[[8.0]]]], (1, 2, 2, 1))[0, :, :, 0]
        array([[2., 2.],
               [2., 2.]])
    """
    window = (pool_size, strides, padding, 1, ceil_mode)
    return _core.average_pool_grad(_rank, dy, input_shape, window, count_include_pad, out)


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
        pool_size: see `max_pool`, as the other arguments.
        strides: see `max_pool`.
        padding: see `max_pool`.
        dilation_rate: see `max_pool`; average pools have none.
        ceil_mode: see `max_pool`.

    Raises:
        ShapeError: the window is larger than the padded input; not 3 to 5 axes.

    Example:
        >>> pool_output_shape((8, 28, 28, 3), 3, strides=2, padding="same")
        (8, 14, 14, 3)
    """
    rank = min(max(len(input_shape) - 2, 1), 3)
    shape = full_shape(input_shape, rank)
    return _core.pool_output_shape(shape, (pool_size, strides, padding, dilation_rate, ceil_mode))


max_pool1d = pinned(max_pool, 1)
max_pool2d = pinned(max_pool, 2)
max_pool3d = pinned(max_pool, 3)
max_pool1d_grad = pinned(max_pool_grad, 1)
max_pool2d_grad = pinned(max_pool_grad, 2)
max_pool3d_grad = pinned(max_pool_grad, 3)
average_pool1d = pinned(average_pool, 1)
average_pool2d = pinned(average_pool, 2)
average_pool3d = pinned(average_pool, 3)
average_pool1d_grad = pinned(average_pool_grad, 1)
average_pool2d_grad = pinned(average_pool_grad, 2)
average_pool3d_grad = pinned(average_pool_grad, 3)
