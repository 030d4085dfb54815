"""The losses as functions, by the names that Keras has for them.

Each returns one value for every position: outputs and targets ``(batch, ..., channels)`` make ``(batch,
...)``. They are what the class of the same name returns with ``reduction=None``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._arrays import as_numbers
from gridnn._reduction import floating
from gridnn.losses import crossentropy, numbers, overlap
from gridnn.losses.base import Loss

__all__ = [
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "cosine_similarity",
    "dice",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "sparse_categorical_crossentropy",
    "squared_hinge",
    "tversky",
]


def _each(loss: Loss, y_true: Any, y_pred: Any) -> NDArray[Any]:
    """The values of a loss without a reduction."""
    values: NDArray[Any] = loss(y_true, y_pred)
    return values


def _along(loss: Loss, y_true: Any, y_pred: Any, axis: int, *, labels: bool = False) -> NDArray[Any]:
    """The values of a loss along any axis."""
    y_true = as_numbers(y_true, "y_true") if labels else floating(y_true, "y_true")
    y_pred = floating(y_pred, "y_pred")
    rank = y_pred.ndim
    if not -rank <= _validation.integer(axis, "axis") < rank:
        raise ValueError(f"`axis` must be one of the {rank} axes of `y_pred`. Received axis={axis}.")
    if axis % rank != rank - 1:
        if y_true.ndim == rank:
            y_true = np.moveaxis(y_true, axis, -1)
        y_pred = np.moveaxis(y_pred, axis, -1)
    return _each(loss, y_true, y_pred)


def mean_squared_error(y_true: Any, y_pred: Any) -> NDArray[Any]:
    """Mean over the last axis of the squared difference.

    Example:
        >>> mean_squared_error([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 0.0]])
        array([0.5, 0.5])
    """
    return _each(numbers.MeanSquaredError(reduction=None), y_true, y_pred)


def mean_absolute_error(y_true: Any, y_pred: Any) -> NDArray[Any]:
    """Mean over the last axis of the absolute difference.

    Example:
        >>> mean_absolute_error([[0.0, 1.0]], [[1.0, 1.0]])
        array([0.5])
    """
    return _each(numbers.MeanAbsoluteError(reduction=None), y_true, y_pred)


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> NDArray[Any]:
    """Mean over the last axis of ``100 |t - p| / max(|t|, 1e-7)``.

    Example:
        >>> mean_absolute_percentage_error([[2.0, 4.0]], [[1.0, 4.0]])
        array([25.])
    """
    return _each(numbers.MeanAbsolutePercentageError(reduction=None), y_true, y_pred)


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> NDArray[Any]:
    """Mean over the last axis of ``(log(t + 1) - log(p + 1))^2``.

    Example:
        >>> mean_squared_logarithmic_error([[1.0, 0.0]], [[1.0, 0.0]])
        array([0.])
    """
    return _each(numbers.MeanSquaredLogarithmicError(reduction=None), y_true, y_pred)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> NDArray[Any]:
    """Squared near 0, straight beyond `delta`; mean over the last axis. See `Huber`.

    Example:
        >>> huber([[0.0, 0.0]], [[0.5, 3.0]])
        array([1.3125])
    """
    return _each(numbers.Huber(delta, reduction=None), y_true, y_pred)


def log_cosh(y_true: Any, y_pred: Any) -> NDArray[Any]:
    """Mean over the last axis of ``log(cosh(p - t))``.

    Example:
        >>> log_cosh([[1.0, 2.0]], [[1.0, 2.0]])
        array([0.])
    """
    return _each(numbers.LogCosh(reduction=None), y_true, y_pred)


def kl_divergence(y_true: Any, y_pred: Any) -> NDArray[Any]:
    """``sum(t log(t / p))`` over the last axis, both clipped to [1e-7, 1].

    Example:
        >>> kl_divergence([[0.5, 0.5]], [[0.5, 0.5]])
        array([0.])
    """
    return _each(numbers.KLDivergence(reduction=None), y_true, y_pred)


def poisson(y_true: Any, y_pred: Any) -> NDArray[Any]:
    """Mean over the last axis of ``p - t log(p + 1e-7)``.

    Example:
        >>> poisson([[0.0, 0.0]], [[1.0, 2.0]])
        array([1.5])
    """
    return _each(numbers.Poisson(reduction=None), y_true, y_pred)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> NDArray[Any]:
    """Minus the cosine of the angle between targets and outputs along an axis: -1 for the same direction.

    Example:
        >>> cosine_similarity([[1.0, 0.0], [1.0, 0.0]], [[3.0, 0.0], [-2.0, 0.0]])
        array([-1.,  1.])
    """
    return _along(numbers.CosineSimilarity(reduction=None), y_true, y_pred, axis)


def hinge(y_true: Any, y_pred: Any) -> NDArray[Any]:
    """Mean over the last axis of ``max(1 - t p, 0)``; targets that are all 0 or 1 stand for -1 and 1.

    Example:
        >>> hinge([[-1.0, 1.0]], [[0.5, 0.5]])
        array([1.])
    """
    return _each(numbers.Hinge(reduction=None), y_true, y_pred)


def squared_hinge(y_true: Any, y_pred: Any) -> NDArray[Any]:
    """Mean over the last axis of ``max(1 - t p, 0)^2``; targets as in `hinge`.

    Example:
        >>> squared_hinge([[-1.0, 1.0]], [[0.5, 0.5]])
        array([1.25])
    """
    return _each(numbers.SquaredHinge(reduction=None), y_true, y_pred)


def categorical_hinge(y_true: Any, y_pred: Any) -> NDArray[Any]:
    """``max(largest (1 - t) p - sum(t p) + 1, 0)`` over the last axis.

    Example:
        >>> categorical_hinge([[0.0, 1.0]], [[0.25, 0.75]])
        array([0.5])
    """
    return _each(numbers.CategoricalHinge(reduction=None), y_true, y_pred)


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> NDArray[Any]:
    """Cross-entropy between distributions along an axis; see `CategoricalCrossentropy`.

    Example:
        >>> categorical_crossentropy([[0.0, 1.0]], [[0.5, 0.5]]).round(4)
        array([0.6931])
    """
    loss = crossentropy.CategoricalCrossentropy(from_logits, label_smoothing, reduction=None)
    return _along(loss, y_true, y_pred, axis)


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> NDArray[Any]:
    """Cross-entropy of class labels along an axis, 0 where a label is ignored.

    See `SparseCategoricalCrossentropy`.

    Example:
        >>> sparse_categorical_crossentropy([1], [[0.25, 0.5, 0.25]]).round(4)
        array([0.6931])
    """
    loss = crossentropy.SparseCategoricalCrossentropy(from_logits, ignore_class, reduction=None)
    return _along(loss, y_true, y_pred, axis, labels=True)


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> NDArray[Any]:
    """Mean along an axis of the cross-entropy of yes-or-no targets; see `BinaryCrossentropy`.

    Example:
        >>> binary_crossentropy([[0.0, 1.0]], [[0.5, 0.5]]).round(4)
        array([0.6931])
    """
    loss = crossentropy.BinaryCrossentropy(from_logits, label_smoothing, reduction=None)
    return _along(loss, y_true, y_pred, axis)


def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> NDArray[Any]:
    """Binary cross-entropy that looks away from what is already right; see `BinaryFocalCrossentropy`.

    Example:
        >>> binary_focal_crossentropy([[0.0, 1.0]], [[0.5, 0.5]]).round(4)
        array([0.1733])
    """
    loss = crossentropy.BinaryFocalCrossentropy(
        apply_class_balancing, alpha, gamma, from_logits, label_smoothing, reduction=None
    )
    return _along(loss, y_true, y_pred, axis)


def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> NDArray[Any]:
    """Cross-entropy that looks away from what is already right; see `CategoricalFocalCrossentropy`.

    Example:
        >>> categorical_focal_crossentropy([[0.0, 1.0]], [[0.5, 0.5]]).round(4)
        array([0.0433])
    """
    loss = crossentropy.CategoricalFocalCrossentropy(
        alpha, gamma, from_logits, label_smoothing, reduction=None
    )
    return _along(loss, y_true, y_pred, axis)


def dice(y_true: Any, y_pred: Any, axis: int | Sequence[int] | None = None) -> NDArray[Any]:
    """One minus the Dice coefficient over some axes; see `Dice`.

    Example:
        >>> dice([[1.0, 0.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 0.0]], axis=1).round(4)
        array([0., 1.])
    """
    return _each(overlap.Dice(axis=axis, reduction=None), y_true, y_pred)


def tversky(
    y_true: Any,
    y_pred: Any,
    alpha: float = 0.5,
    beta: float = 0.5,
    axis: int | Sequence[int] | None = None,
) -> NDArray[Any]:
    """One minus the Tversky index over some axes; see `Tversky`.

    Example:
        >>> tversky([[1.0, 0.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 0.0]], axis=1).round(4)
        array([0., 1.])
    """
    return _each(overlap.Tversky(alpha, beta, axis=axis, reduction=None), y_true, y_pred)
