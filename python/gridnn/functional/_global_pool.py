"""Pools over whole grids, with their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from gridnn import _core
from gridnn.functional._arrays import ArrayLike
from gridnn.functional._ranks import pinned, ranked

__all__ = [
    "global_average_pool",
    "global_average_pool1d",
    "global_average_pool1d_grad",
    "global_average_pool2d",
    "global_average_pool2d_grad",
    "global_average_pool3d",
    "global_average_pool3d_grad",
    "global_average_pool_grad",
    "global_max_pool",
    "global_max_pool1d",
    "global_max_pool1d_grad",
    "global_max_pool2d",
    "global_max_pool2d_grad",
    "global_max_pool3d",
    "global_max_pool3d_grad",
    "global_max_pool_grad",
]


@ranked
def global_max_pool(x: ArrayLike, keepdims: bool = False, *, _rank: int | None = None) -> NDArray[Any]:
    """The maximum of each channel over the whole grid; the first NaN beats everything.

    Memory: the result.

    Args:
        x: array of shape ``(batch, [depth, [height,]] width, channels)``.
        keepdims: keep the spatial axes, with size 1.

    Returns:
        Array of shape ``(batch, channels)``, or ``(batch, [1, [1,]] 1, channels)`` with `keepdims`.

    Raises:
        ShapeError: another number of axes, or one that is empty.
        TypeError: numbers that are not real.

    Example:
        >>> global_max_pool(np.arange(8.0).reshape(1, 2, 2, 2))
        array([[6., 7.]])
    """
    return _core.global_max_pool(_rank, x, keepdims)


@ranked
def global_max_pool_grad(
    dy: ArrayLike, x: ArrayLike, keepdims: bool = False, *, _rank: int | None = None
) -> NDArray[Any]:
    """The gradient of ``sum(dy * global_max_pool(x))`` to `x`: the first of the largest elements gets it.

    Memory: the result.

    Args:
        dy: array of the shape that `global_max_pool` gives.
        x: what was pooled.
        keepdims: as given to `global_max_pool`.

    Returns:
        Array of the shape of `x`.

    Raises:
        ShapeError, TypeError: as `global_max_pool`; `dy` of another shape.

    Example:
        >>> global_max_pool_grad([[1.0]], [[[[0.0], [7.0]], [[7.0], [1.0]]]])[0, :, :, 0]
        array([[0., 1.],
               [0., 0.]])
    """
    return _core.global_max_pool_grad(_rank, dy, x, keepdims)


@ranked
def global_average_pool(x: ArrayLike, keepdims: bool = False, *, _rank: int | None = None) -> NDArray[Any]:
    """The mean of each channel over the whole grid.

    Memory: the result.

    Args:
        x: array of shape ``(batch, [depth, [height,]] width, channels)``.
        keepdims: keep the spatial axes, with size 1.

    Returns:
        Array of shape ``(batch, channels)``, or ``(batch, [1, [1,]] 1, channels)`` with `keepdims`.

    Raises:
        ShapeError: another number of axes, or one that is empty.
        TypeError: numbers that are not real.

    Example:
        >>> global_average_pool(np.arange(8.0).reshape(1, 2, 2, 2))
        array([[3., 4.]])
    """
    return _core.global_average_pool(_rank, x, keepdims)


@ranked
def global_average_pool_grad(
    dy: ArrayLike, input_shape: Sequence[int], keepdims: bool = False, *, _rank: int | None = None
) -> NDArray[Any]:
    """The gradient of ``sum(dy * global_average_pool(x))`` to `x`.

    Memory: the result.

    Args:
        dy: array of the shape that `global_average_pool` gives.
        input_shape: shape of `x`.
        keepdims: as given to `global_average_pool`.

    Returns:
        Array of shape `input_shape`.

    Raises:
        ShapeError, TypeError: as `global_average_pool`; `dy` of another shape.

    Example:
        >>> global_average_pool_grad([[8.0]], (1, 2, 2, 1))[0, :, :, 0]
        array([[2., 2.],
               [2., 2.]])
    """
    return _core.global_average_pool_grad(_rank, dy, input_shape, keepdims)


global_max_pool1d = pinned(global_max_pool, 1)
global_max_pool2d = pinned(global_max_pool, 2)
global_max_pool3d = pinned(global_max_pool, 3)
global_max_pool1d_grad = pinned(global_max_pool_grad, 1)
global_max_pool2d_grad = pinned(global_max_pool_grad, 2)
global_max_pool3d_grad = pinned(global_max_pool_grad, 3)
global_average_pool1d = pinned(global_average_pool, 1)
global_average_pool2d = pinned(global_average_pool, 2)
global_average_pool3d = pinned(global_average_pool, 3)
global_average_pool1d_grad = pinned(global_average_pool_grad, 1)
global_average_pool2d_grad = pinned(global_average_pool_grad, 2)
global_average_pool3d_grad = pinned(global_average_pool_grad, 3)
