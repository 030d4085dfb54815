"""`calibration`: whether probabilities can be taken at their word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gridnn import _validation
from gridnn.errors import ShapeError

__all__ = ["Calibration", "calibration"]


@dataclass(frozen=True)
class Calibration:
    """How often predictions were right, by how probable they were said to be.

    Example:
        >>> found = gn.inspect.calibration([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.2], bins=2)
        >>> found.accuracy
        array([0., 1.])
    """

    edges: NDArray[np.float64]
    """Bounds of the bins, ``(bins + 1,)``, from 0 to 1."""
    confidence: NDArray[np.float64]
    """Mean probability in each bin; NaN in empty ones."""
    accuracy: NDArray[np.float64]
    """Share that was right in each bin; of a single probability the share of class 1."""
    count: NDArray[np.int64]
    """Number of predictions in each bin."""
    error: float
    """Expected calibration error: distance of both, in the mean over the predictions; 0 is best."""


def calibration(labels: ArrayLike, probabilities: ArrayLike, *, bins: int = 10) -> Calibration:
    """Compares how sure a model is with how often it is right.

    Of several classes, the probability of the likeliest one counts, and whether it is the true one. Of a
    single probability, that of class 1, it is compared with how often class 1 occurs.

    Args:
        labels: the true classes ``(n,)``, or a class at each position; or one-hot rows.
        probabilities: ``(..., classes)`` after softmax, or those of class 1 after sigmoid, of the shape of
            `labels`, with or without a last axis of size 1.
        bins: number of bins of equal width.

    Raises:
        ShapeError: shapes do not fit.
        ValueError: there are no predictions, values are not between 0 and 1, or labels are no classes.

    Example:
        >>> gn.inspect.calibration([0, 1], [[0.9, 0.1], [0.2, 0.8]]).error
        0.15
    """
    bins = _validation.positive_integer(bins, "bins")
    truth, likely = np.asarray(labels), np.asarray(probabilities, np.float64)
    if likely.ndim > 1 and likely.shape[-1] > 1 and truth.shape == likely.shape:
        truth = truth.argmax(axis=-1)
    if truth.ndim == likely.ndim and truth.shape[-1:] == (1,) and likely.shape[-1:] != (1,):
        truth = truth[..., 0]
    if likely.shape == (*truth.shape, 1):
        likely = likely[..., 0]
    if likely.shape not in (truth.shape, (*truth.shape, *likely.shape[-1:])):
        raise ShapeError(f"`probabilities` of shape {likely.shape} do not fit labels of shape {truth.shape}.")
    if not likely.size:
        raise ValueError("`probabilities` is empty.")
    # Rounding may lead past 1 by an ulp.
    if not ((likely >= 0) & (likely <= 1 + 1e-6)).all():
        raise ValueError(
            "`probabilities` must be between 0 and 1: put scores through softmax or sigmoid first. Received "
            f"values from {np.nanmin(likely):.4g} to {np.nanmax(likely):.4g}."
        )
    count = 2 if likely.ndim == truth.ndim else likely.shape[-1]
    if not np.isin(truth, np.arange(count)).all():
        raise ValueError(
            f"`labels` must be classes from 0 to {count - 1}. Received {truth.min()} to {truth.max()}."
        )
    if likely.ndim == truth.ndim:
        right = truth == 1
    else:
        right = likely.argmax(axis=-1) == truth
        likely = likely.max(axis=-1)
    return _binned(likely.ravel(), right.ravel(), bins)


def _binned(likely: NDArray[np.float64], right: NDArray[np.bool_], bins: int) -> Calibration:
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip((likely * bins).astype(np.int64), 0, bins - 1)
    count = np.bincount(place, minlength=bins)

    def mean(values: NDArray[Any]) -> NDArray[np.float64]:
        found = np.full(bins, np.nan)
        np.divide(np.bincount(place, values, bins), count, out=found, where=count > 0)
        return found

    confidence, accuracy = mean(likely), mean(right.astype(np.float64))
    distance = np.nan_to_num(np.abs(confidence - accuracy))
    error = round(float((distance * count).sum() / count.sum()), 12)
    return Calibration(edges, confidence, accuracy, count, error)
