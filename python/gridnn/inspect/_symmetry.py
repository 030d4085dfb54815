"""`equivariance` and `invariance`: what a shift of the input does to the output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gridnn import _validation
from gridnn.errors import ShapeError

__all__ = ["Symmetry", "equivariance", "invariance"]

Function = Callable[[NDArray[Any]], ArrayLike]


@dataclass(frozen=True)
class Symmetry:
    """How far two ways to the same output agree.

    Example:
        >>> model = gn.Sequential([gn.Input((16, 1)), layers.GlobalAveragePooling1D()])
        >>> gn.inspect.invariance(model, np.arange(16.0).reshape(1, 16, 1), 3).error < 1e-6
        True
    """

    error: float
    """Largest difference, relative to the largest output; 0 means that the order does not matter."""
    shift: tuple[int, ...]
    """How far the output was shifted, along each spatial axis; empty for `invariance`."""
    difference: NDArray[Any]
    """Absolute difference at every output element."""


def _shifted(x: NDArray[Any], shift: Sequence[int]) -> NDArray[Any]:
    return np.roll(x, shift, axis=tuple(range(1, x.ndim - 1)))


def _arguments(x: ArrayLike, shift: int | Sequence[int]) -> tuple[NDArray[Any], tuple[int, ...]]:
    array = np.asarray(x)
    rank = array.ndim - 2
    if rank not in (1, 2, 3):
        raise ShapeError(
            f"`x` must have a batch axis, 1 to 3 spatial axes and channels. Received shape {array.shape}."
        )
    if not isinstance(shift, Sequence):
        return array, (_validation.integer(shift, "shift"),) * rank
    shifts = tuple(_validation.integer(n, "shift") for n in shift)
    if len(shifts) != rank:
        raise ValueError(f"`shift` must be an int or {rank} ints. Received shift={shift!r}.")
    return array, shifts


def _compared(found: NDArray[Any], expected: NDArray[Any], shift: tuple[int, ...]) -> Symmetry:
    difference = np.abs(found - expected)
    scale = float(np.abs(expected).max(initial=0.0))
    largest = float(difference.max(initial=0.0))
    return Symmetry(largest / scale if scale else largest, shift, difference)


def equivariance(fn: Function, x: ArrayLike, shift: int | Sequence[int]) -> Symmetry:
    """How far shifting and applying `fn` commute: ``fn(shifted x)`` against ``shifted fn(x)``.

    Shifts are circular. A convolution with `padding_mode="wrap"` and stride 1 commutes exactly, to
    rounding; zeros at the border, strides and pools break the symmetry, which `difference` shows place by
    place. Where `fn` makes the grid coarser by a factor, the output is shifted by that much less, rounded
    to whole elements.

    Args:
        fn: a model, a built layer, or any function of a batch ``(batch, *spatial, channels)``.
        x: a batch.
        shift: elements to shift by, an int or one per spatial axis.

    Returns:
        The relative error, the shift of the output, and the difference at every output element.

    Raises:
        ShapeError: `x` or the output has no spatial axes.
        ValueError: `shift` does not fit.

    Example:
        >>> import numpy as np
        >>> import gridnn as gn
        >>> conv = gn.layers.Conv1D(2, 3, padding="same", padding_mode="wrap")
        >>> model = gn.Sequential([gn.Input((16, 1)), conv], seed=0)
        >>> x = np.random.default_rng(0).normal(size=(1, 16, 1))
        >>> gn.inspect.equivariance(model, x, 5).error < 1e-6
        True
    """
    array, shifts = _arguments(x, shift)
    y = np.asarray(fn(array))
    if y.ndim != array.ndim:
        raise ShapeError(
            f"`fn` must keep the spatial axes: x has shape {array.shape}, fn(x) {y.shape}. See `invariance`."
        )
    coarser = [max(round(n / m), 1) for n, m in zip(array.shape[1:-1], y.shape[1:-1], strict=True)]
    less = tuple(round(n / factor) for n, factor in zip(shifts, coarser, strict=True))
    return _compared(np.asarray(fn(_shifted(array, shifts))), _shifted(y, less), less)


def invariance(fn: Function, x: ArrayLike, shift: int | Sequence[int]) -> Symmetry:
    """How little a shift of the input changes the output: ``fn(shifted x)`` against ``fn(x)``.

    A global pool behind circular convolutions is invariant, to rounding.

    Args:
        fn: a model, a built layer, or any function of a batch ``(batch, *spatial, channels)``.
        x: a batch.
        shift: elements to shift by, circularly, an int or one per spatial axis.

    Returns:
        The relative error and the difference at every output element.

    Raises:
        ShapeError, ValueError: as `equivariance`.

    Example:
        >>> model = gn.Sequential([gn.Input((16, 1)), layers.GlobalMaxPooling1D()])
        >>> gn.inspect.invariance(model, np.arange(16.0).reshape(1, 16, 1), 3).error
        0.0
    """
    array, shifts = _arguments(x, shift)
    return _compared(np.asarray(fn(_shifted(array, shifts))), np.asarray(fn(array)), ())
