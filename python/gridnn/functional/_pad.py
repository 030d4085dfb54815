"""Padding of the spatial axes, and its adjoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from gridnn import _core
from gridnn.functional._arrays import ArrayLike, full_shape
from gridnn.functional._ranks import pinned, ranked

__all__ = [
    "pad",
    "pad1d",
    "pad1d_grad",
    "pad2d",
    "pad2d_grad",
    "pad3d",
    "pad3d_grad",
    "pad_grad",
    "pad_output_shape",
]

Pairs = Sequence[Sequence[int]]


@ranked
def pad(x: ArrayLike, paddings: Pairs, mode: str = "zeros", *, _rank: int | None = None) -> NDArray[Any]:
    """Extends the spatial axes, with the results of `numpy.pad`.

    Memory: the result, and one position for each index of every axis of it.

    Args:
        x: array of shape ``(batch, [depth, [height,]] width, channels)``.
        paddings: one (before, after) pair per spatial axis.
        mode: "zeros"; "reflect", mirrored at the first and last element without repeating them; "symmetric",
            mirrored with repeating them; "edge", the first and last element; "wrap", the axis as a ring.
            Padding longer than the input mirrors or repeats it as often as needed.

    Returns:
        Array of shape ``(batch, [.., [..,]] before + width + after, channels)``.

    Raises:
        ShapeError: another number of axes, an empty result.
        TypeError: numbers that are not real, an argument of the wrong kind.
        ValueError: a negative padding, an unknown mode, an empty axis that is to be filled from.

    Example:
        >>> pad(np.array([[[[1.0], [2.0], [3.0]]]]), [(0, 0), (2, 1)], "reflect")[0, 0, :, 0]
        array([3., 2., 1., 2., 3., 2.])
    """
    return _core.pad(_rank, x, (paddings, mode))


@ranked
def pad_grad(
    dy: ArrayLike, paddings: Pairs, mode: str = "zeros", *, _rank: int | None = None
) -> NDArray[Any]:
    """The adjoint of `pad`: the gradient of ``sum(dy * pad(x, ...))`` to `x`.

    An element that stands at several places gets the sum of what these got, in row-major order of the places.
    Memory: the result, and one position for each index of every axis of `dy`.

    Args:
        dy: array of the shape that `pad` gives.
        paddings: see `pad`.
        mode: see `pad`.

    Returns:
        Array of the shape of `x`.

    Raises:
        ShapeError: another number of axes, `dy` smaller than the padding.
        TypeError, ValueError: as `pad`.

    Example:
        >>> pad_grad(np.ones((1, 1, 6, 1)), [(0, 0), (2, 1)], "reflect")[0, 0, :, 0]
        array([1., 3., 2.])
    """
    return _core.pad_grad(_rank, dy, (paddings, mode))


def pad_output_shape(input_shape: Sequence[int], paddings: Pairs, mode: str = "zeros") -> tuple[int, ...]:
    """The shape that `pad1d`, `pad` or `pad3d` gives, without computing it.

    Args:
        input_shape: batch, one to three spatial axes, channels; the batch may be 0.
        paddings: see `pad`.
        mode: see `pad`.

    Raises:
        ShapeError: an empty result; not 3 to 5 axes.
        ValueError: see `pad`.

    Example:
        >>> pad_output_shape((8, 28, 28, 3), [(1, 1), (2, 0)])
        (8, 30, 30, 3)
    """
    rank = min(max(len(input_shape) - 2, 1), 3)
    return _core.pad_output_shape(full_shape(input_shape, rank), (paddings, mode))


pad1d = pinned(pad, 1)
pad2d = pinned(pad, 2)
pad3d = pinned(pad, 3)
pad1d_grad = pinned(pad_grad, 1)
pad2d_grad = pinned(pad_grad, 2)
pad3d_grad = pinned(pad_grad, 3)
