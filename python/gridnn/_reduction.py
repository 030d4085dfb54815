"""How values and weights of several shapes meet, and what is made of many values: Keras' rules (3.15)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn._arrays import as_numbers
from gridnn.errors import ShapeError

__all__ = ["REDUCTIONS", "floating", "reduced", "same_rank", "samplewise", "spread_out"]

REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)


def floating(value: object, argument: str) -> NDArray[Any]:
    """`value` as an array of float64, if it is one, else of float32."""
    array = as_numbers(value, argument)
    # That of another machine is double precision too, and NumPy does not call it equal.
    double = array.dtype.newbyteorder("=") == np.float64
    return np.asarray(array, np.float64 if double else np.float32)


def same_rank(first: NDArray[Any], second: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both with equally many axes, if one of them has a last axis of size 1 too many.

    ``(n,)`` and ``(n, 1)`` become ``(n, 1)`` both; else that axis goes.
    """
    if first.ndim == second.ndim + 1 and first.shape[-1] == 1:
        return (first, second[:, np.newaxis]) if second.ndim == 1 else (first[..., 0], second)
    if second.ndim == first.ndim + 1 and second.shape[-1] == 1:
        return (first[:, np.newaxis], second) if first.ndim == 1 else (first, second[..., 0])
    return first, second


def spread_out(weights: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Weights for values of a shape; the axes that they lack are the last ones.

    Raises:
        ShapeError: they do not fit.
    """
    kept = weights
    if weights.ndim == len(shape) + 1 and weights.shape[-1] == 1:
        weights = weights[..., 0]
    if 0 < weights.ndim < len(shape):
        weights = weights.reshape(weights.shape + (1,) * (len(shape) - weights.ndim))
    try:
        return np.asarray(np.broadcast_to(weights, shape), np.float64)
    except ValueError:
        raise ShapeError(
            f"`sample_weight` of shape {kept.shape} does not fit values of shape {shape}: expected a weight "
            "for each sample, or for each value."
        ) from None


def reduced(
    values: NDArray[np.float64],
    sample_weight: object,
    reduction: str | None,
    counted: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """One number of many values, or all of them, weighted.

    Args:
        values: the values.
        sample_weight: a weight for each sample, or for each value; None is 1.
        reduction: one of `REDUCTIONS`.
        counted: which of the values count; None for all.
    """
    weights = None
    if sample_weight is not None:
        weights = np.asarray(as_numbers(sample_weight, "sample_weight"), np.float64)
        values, weights = same_rank(values, weights)
        if values.ndim:
            weights = spread_out(weights, values.shape)
        values = values * weights
    if counted is not None:
        values = np.where(counted.reshape(values.shape), values, 0.0)
    if reduction in (None, "none") or values.size == 0:
        return values
    total = np.asarray(values.sum())
    if reduction == "sum":
        return total
    if reduction == "mean_with_sample_weight" and weights is not None:
        number = float(weights.sum() if counted is None else weights[counted.reshape(values.shape)].sum())
    else:
        number = float(values.size if counted is None else np.count_nonzero(counted))
    return total / number if number else np.zeros(())


def samplewise(
    values: NDArray[Any], sample_weight: object, *, sums: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Values of samples, weighted, and the weights: the means of what a sample has, or its sums.

    Args:
        values: values, the first axis counting samples.
        sample_weight: weights for samples, or for values; None is 1.
        sums: add up instead of taking means.
    """
    how = np.sum if sums else np.mean
    values = np.asarray(values, np.float64)
    weights = None
    if sample_weight is not None:
        weights = np.asarray(as_numbers(sample_weight, "sample_weight"), np.float64)
        values, weights = same_rank(values, weights)
        if values.ndim > weights.ndim:
            values = np.asarray(how(values, axis=tuple(range(weights.ndim, values.ndim))))
        try:
            weights = np.broadcast_to(weights, values.shape)
        except ValueError:
            raise ShapeError(
                f"`sample_weight` of shape {weights.shape} does not fit values of shape {values.shape}."
            ) from None
        values = values * weights
        if weights.ndim > 1:
            weights = np.asarray(how(weights, axis=tuple(range(1, weights.ndim))))
    if values.ndim > 1:
        values = np.asarray(how(values, axis=tuple(range(1, values.ndim))))
    return values, weights
