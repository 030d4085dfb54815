"""Padding of the spatial axes, and its adjoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from gridnn import _core, _validation
from gridnn.functional._arrays import ArrayLike, as_floats, full_shape

__all__ = [
    "pad1d",
    "pad1d_grad",
    "pad2d",
    "pad2d_grad",
    "pad3d",
    "pad3d_grad",
    "pad_output_shape",
]

Pairs = Sequence[Sequence[int]]


def _padding(rank: int, paddings: Pairs, mode: str) -> tuple[tuple[tuple[int, int], ...], str]:
    pairs = _validation.axis_pairs(paddings, rank, "paddings")
    return pairs, _validation.choice(mode, "mode", _validation.PADDING_MODES)


def pad_output_shape(input_shape: Sequence[int], paddings: Pairs, mode: str = "zeros") -> tuple[int, ...]:
    """The shape that `pad1d`, `pad2d` or `pad3d` gives, without computing it.

    Args:
        input_shape: batch, one to three spatial axes, channels; the batch may be 0.
        paddings: see `pad2d`.
        mode: see `pad2d`.

    Raises:
        ShapeError: an empty result; not 3 to 5 axes.
        ValueError: see `pad2d`.

    Example:
        >>> pad_output_shape((8, 28, 28, 3), [(1, 1), (2, 0)])
        (8, 30, 30, 3)
    """
    rank = min(max(len(input_shape) - 2, 1), 3)
    return _core.pad_output_shape(full_shape(input_shape, rank), _padding(rank, paddings, mode))


def _pad(rank: int, x: ArrayLike, paddings: Pairs, mode: str) -> NDArray[Any]:
    padding = _padding(rank, paddings, mode)
    (x,) = as_floats(rank, x=x)
    return _core.pad(x, padding)


def _pad_grad(rank: int, dy: ArrayLike, paddings: Pairs, mode: str) -> NDArray[Any]:
    padding = _padding(rank, paddings, mode)
    (dy,) = as_floats(rank, dy=dy)
    return _core.pad_grad(dy, padding)


def pad1d(x: ArrayLike, paddings: Pairs, mode: str = "zeros") -> NDArray[Any]:
    """Extends series: see `pad2d`; `x` is ``(batch, steps, channels)``."""
    return _pad(1, x, paddings, mode)


def pad1d_grad(dy: ArrayLike, paddings: Pairs, mode: str = "zeros") -> NDArray[Any]:
    """The adjoint of `pad1d`: see `pad2d_grad`; `dy` is ``(batch, steps, channels)``."""
    return _pad_grad(1, dy, paddings, mode)


def pad2d(x: ArrayLike, paddings: Pairs, mode: str = "zeros") -> NDArray[Any]:
    """Extends the spatial axes, with the results of `numpy.pad`.

    Memory: the result, and one position for each index of every axis of it.

    Args:
        x: array of shape ``(batch, height, width, channels)``.
        paddings: one (before, after) pair per spatial axis.
        mode: "zeros"; "reflect", mirrored at the first and last element without repeating them; "symmetric",
            mirrored with repeating them; "edge", the first and last element; "wrap", the axis as a ring.
            Padding longer than the input mirrors or repeats it as often as needed.

    Returns:
        Array of shape ``(batch, before + height + after, before + width + after, channels)``.

    Raises:
        ShapeError: another number of axes, an empty result.
        TypeError: numbers that are not real, an argument of the wrong kind.
        ValueError: a negative padding, an unknown mode, an empty axis that is to be filled from.

    Example:
        >>> pad2d(np.array([[[[1.0], [2.0], [3.0]]]]), [(0, 0), (2, 1)], "reflect")[0, 0, :, 0]
        array([3., 2., 1., 2., 3., 2.])
    """
    return _pad(2, x, paddings, mode)


def pad2d_grad(dy: ArrayLike, paddings: Pairs, mode: str = "zeros") -> NDArray[Any]:
    """The adjoint of `pad2d`: the gradient of ``sum(dy * pad2d(x, ...))`` to `x`.

    An element that stands at several places gets the sum of what these got, in row-major order of the places.
    Memory: the result, and one position for each index of every axis of `dy`.

    Args:
        dy: array of the shape that `pad2d` gives.
        paddings: see `pad2d`.
        mode: see `pad2d`.

    Returns:
        Array of the shape of `x`.

    Raises:
        ShapeError: another number of axes, `dy` smaller than the padding.
        TypeError, ValueError: as `pad2d`.

    Example:
        >>> pad2d_grad(np.ones((1, 1, 6, 1)), [(0, 0), (2, 1)], "reflect")[0, 0, :, 0]
        array([1., 3., 2.])
    """
    return _pad_grad(2, dy, paddings, mode)


def pad3d(x: ArrayLike, paddings: Pairs, mode: str = "zeros") -> NDArray[Any]:
    """Extends volumes: see `pad2d`; `x` is ``(batch, depth, height, width, channels)``."""
    return _pad(3, x, paddings, mode)


def pad3d_grad(dy: ArrayLike, paddings: Pairs, mode: str = "zeros") -> NDArray[Any]:
    """The adjoint of `pad3d`: see `pad2d_grad`; `dy` is ``(batch, depth, height, width, channels)``."""
    return _pad_grad(3, dy, paddings, mode)
