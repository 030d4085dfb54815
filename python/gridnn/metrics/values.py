"""Accuracies as functions, by the names that Keras has for them: one value for each position, 0 or 1."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from gridnn.metrics import accuracies

__all__ = [
    "accuracy",
    "binary_accuracy",
    "categorical_accuracy",
    "sparse_categorical_accuracy",
    "sparse_top_k_categorical_accuracy",
    "top_k_categorical_accuracy",
]


def accuracy(y_true: Any, y_pred: Any) -> NDArray[Any]:
    """Whether each output equals its target, as the same number; of the outputs' shape.

    Example:
        >>> accuracy([1, 2, 3], [1, 0, 3])
        array([1., 0., 1.], dtype=float32)
    """
    return accuracies.Accuracy().values(y_true, y_pred)


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> NDArray[Any]:
    """Whether each output lies on its target's side of a threshold; of the outputs' shape.

    Example:
        >>> binary_accuracy([1, 0, 1], [0.9, 0.2, 0.4])
        array([1., 1., 0.])
    """
    return accuracies.BinaryAccuracy(threshold).values(y_true, y_pred)


def categorical_accuracy(y_true: Any, y_pred: Any) -> NDArray[Any]:
    """Whether the class with the largest output is the one with the largest target, for each position.

    Example:
        >>> categorical_accuracy([[0, 1], [1, 0]], [[0.2, 0.8], [0.3, 0.7]])
        array([1., 0.])
    """
    return accuracies.CategoricalAccuracy().values(y_true, y_pred)


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> NDArray[Any]:
    """Whether the class with the largest output is the labelled one, for each position.

    Example:
        >>> sparse_categorical_accuracy([1, 0], [[0.2, 0.8], [0.3, 0.7]])
        array([1., 0.])
    """
    return accuracies.SparseCategoricalAccuracy().values(y_true, y_pred)


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> NDArray[Any]:
    """Whether the class with the largest target is among the k with the largest outputs.

    Example:
        >>> top_k_categorical_accuracy([[0, 0, 1]], [[0.5, 0.2, 0.3]], k=2)
        array([1.])
    """
    return accuracies.TopKCategoricalAccuracy(k).values(y_true, y_pred)


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> NDArray[Any]:
    """Whether the labelled class is among the k with the largest outputs.

    Example:
        >>> sparse_top_k_categorical_accuracy([2], [[0.5, 0.2, 0.3]], k=2)
        array([1.])
    """
    return accuracies.SparseTopKCategoricalAccuracy(k).values(y_true, y_pred)
