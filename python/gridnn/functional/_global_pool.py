"""Pools over whole grids, with their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from gridnn import _core, _validation
from gridnn.functional._arrays import ArrayLike, as_floats, expect_rank, full_shape

__all__ = [
    "global_average_pool1d",
    "global_average_pool1d_grad",
    "global_average_pool2d",
    "global_average_pool2d_grad",
    "global_average_pool3d",
    "global_average_pool3d_grad",
    "global_max_pool1d",
    "global_max_pool1d_grad",
    "global_max_pool2d",
    "global_max_pool2d_grad",
    "global_max_pool3d",
    "global_max_pool3d_grad",
]


def _global_pool(rank: int, kind: str, x: ArrayLike, keepdims: bool) -> NDArray[Any]:
    keep = _validation.boolean(keepdims, "keepdims")
    (x,) = as_floats(rank, x=x)
    return (_core.global_max_pool if kind == "max" else _core.global_average_pool)(x, keep)


def _global_max_pool_grad(rank: int, dy: ArrayLike, x: ArrayLike, keepdims: bool) -> NDArray[Any]:
    keep = _validation.boolean(keepdims, "keepdims")
    dy, x = as_floats(None, dy=dy, x=x)
    expect_rank("x", x.shape, rank)
    return _core.global_max_pool_grad(dy, x, keep)


def _global_average_pool_grad(
    rank: int, dy: ArrayLike, input_shape: Sequence[int], keepdims: bool
) -> NDArray[Any]:
    keep = _validation.boolean(keepdims, "keepdims")
    shape = full_shape(input_shape, rank)
    (dy,) = as_floats(None, dy=dy)
    return _core.global_average_pool_grad(dy, shape, keep)


def global_max_pool1d(x: ArrayLike, keepdims: bool = False) -> NDArray[Any]:
    """The maximum of each channel over the whole grid: see `global_max_pool2d`.

    `x` is ``(batch, steps, channels)``.
    """
    return _global_pool(1, "max", x, keepdims)


def global_max_pool1d_grad(dy: ArrayLike, x: ArrayLike, keepdims: bool = False) -> NDArray[Any]:
    """The gradient of `global_max_pool1d` to `x`: see `global_max_pool2d_grad`.

    `x` is ``(batch, steps, channels)``.
    """
    return _global_max_pool_grad(1, dy, x, keepdims)


def global_average_pool1d(x: ArrayLike, keepdims: bool = False) -> NDArray[Any]:
    """The mean of each channel over the whole grid: see `global_average_pool2d`.

    `x` is ``(batch, steps, channels)``.
    """
    return _global_pool(1, "average", x, keepdims)


def global_average_pool1d_grad(
    dy: ArrayLike, input_shape: Sequence[int], keepdims: bool = False
) -> NDArray[Any]:
    """The gradient of `global_average_pool1d` to `x`: see `global_average_pool2d_grad`.

    `x` is ``(batch, steps, channels)``.
    """
    return _global_average_pool_grad(1, dy, input_shape, keepdims)


def global_max_pool2d(x: ArrayLike, keepdims: bool = False) -> NDArray[Any]:
    """The maximum of each channel over the whole grid; the first NaN beats everything.

    Memory: the result.

    Args:
        x: array of shape ``(batch, height, width, channels)``.
        keepdims: keep the spatial axes, with size 1.

    Returns:
        Array of shape ``(batch, channels)``, or ``(batch, 1, 1, channels)`` with `keepdims`.

    Raises:
        ShapeError: another number of axes, or one that is empty.
        TypeError: numbers that are not real.

    Example:
        >>> global_max_pool2d(np.arange(8.0).reshape(1, 2, 2, 2))
        array([[6., 7.]])
    """
    return _global_pool(2, "max", x, keepdims)


def global_max_pool2d_grad(dy: ArrayLike, x: ArrayLike, keepdims: bool = False) -> NDArray[Any]:
    """The gradient of ``sum(dy * global_max_pool2d(x))`` to `x`: the first of the largest elements gets it.

    Memory: the result.

    Args:
        dy: array of the shape that `global_max_pool2d` gives.
        x: what was pooled.
        keepdims: as given to `global_max_pool2d`.

    Returns:
        Array of the shape of `x`.

    Raises:
        ShapeError, TypeError: as `global_max_pool2d`; `dy` of another shape.

    Example:
        >>> global_max_pool2d_grad([[1.0]], [[[[0.0], [7.0]], [[7.0], [1.0]]]])[0, :, :, 0]
        array([[0., 1.],
               [0., 0.]])
    """
    return _global_max_pool_grad(2, dy, x, keepdims)


def global_average_pool2d(x: ArrayLike, keepdims: bool = False) -> NDArray[Any]:
    """The mean of each channel over the whole grid.

    Memory: the result.

    Args:
        x: array of shape ``(batch, height, width, channels)``.
        keepdims: keep the spatial axes, with size 1.

    Returns:
        Array of shape ``(batch, channels)``, or ``(batch, 1, 1, channels)`` with `keepdims`.

    Raises:
        ShapeError: another number of axes, or one that is empty.
        TypeError: numbers that are not real.

    Example:
        >>> global_average_pool2d(np.arange(8.0).reshape(1, 2, 2, 2))
        array([[3., 4.]])
    """
    return _global_pool(2, "average", x, keepdims)


def global_average_pool2d_grad(
    dy: ArrayLike, input_shape: Sequence[int], keepdims: bool = False
) -> NDArray[Any]:
    """The gradient of ``sum(dy * global_average_pool2d(x))`` to `x`.

    Memory: the result.

    Args:
        dy: array of the shape that `global_average_pool2d` gives.
        input_shape: shape of `x`.
        keepdims: as given to `global_average_pool2d`.

    Returns:
        Array of shape `input_shape`.

    Raises:
        ShapeError, TypeError: as `global_average_pool2d`; `dy` of another shape.

    Example:
        >>> global_average_pool2d_grad([[8.0]], (1, 2, 2, 1))[0, :, :, 0]
        array([[2., 2.],
               [2., 2.]])
    """
    return _global_average_pool_grad(2, dy, input_shape, keepdims)


def global_max_pool3d(x: ArrayLike, keepdims: bool = False) -> NDArray[Any]:
    """The maximum of each channel over the whole grid: see `global_max_pool2d`.

    `x` is ``(batch, depth, height, width, channels)``.
    """
    return _global_pool(3, "max", x, keepdims)


def global_max_pool3d_grad(dy: ArrayLike, x: ArrayLike, keepdims: bool = False) -> NDArray[Any]:
    """The gradient of `global_max_pool3d` to `x`: see `global_max_pool2d_grad`.

    `x` is ``(batch, depth, height, width, channels)``.
    """
    return _global_max_pool_grad(3, dy, x, keepdims)


def global_average_pool3d(x: ArrayLike, keepdims: bool = False) -> NDArray[Any]:
    """The mean of each channel over the whole grid: see `global_average_pool2d`.

    `x` is ``(batch, depth, height, width, channels)``.
    """
    return _global_pool(3, "average", x, keepdims)


def global_average_pool3d_grad(
    dy: ArrayLike, input_shape: Sequence[int], keepdims: bool = False
) -> NDArray[Any]:
    """The gradient of `global_average_pool3d` to `x`: see `global_average_pool2d_grad`.

    `x` is ``(batch, depth, height, width, channels)``.
    """
    return _global_average_pool_grad(3, dy, input_shape, keepdims)
