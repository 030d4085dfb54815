"""What a model answers for labelled data: as classes with probabilities, or as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridnn._arrays import as_array, several_shapes
from gridnn.errors import ShapeError

if TYPE_CHECKING:
    from gridnn.model.protocol import Model

__all__ = ["MARGINS", "Results", "loss_of", "results_of"]

MARGINS = ("Hinge", "SquaredHinge")
_BINARY = (*MARGINS, "Dice", "Tversky")


@dataclass(frozen=True)
class Results:
    """What a model answered for labelled data."""

    x: NDArray[Any]
    labels: NDArray[Any]
    outputs: NDArray[Any]
    probabilities: NDArray[Any] | None
    """``(n, ..., classes)``; None where the outputs are no classes."""

    @property
    def guesses(self) -> NDArray[Any]:
        """The class, or the number, that was predicted."""
        return self.outputs if self.probabilities is None else self.probabilities.argmax(axis=-1)

    @property
    def dense(self) -> bool:
        """Whether there is a class at every position."""
        return self.probabilities is not None and self.labels.ndim > 1

    def confusion(self) -> NDArray[np.int64]:
        """How often each class, in rows, was taken for each class."""
        assert self.probabilities is not None
        count = self.probabilities.shape[-1]
        matrix = np.zeros((count, count), np.int64)
        np.add.at(matrix, (self.labels.ravel(), self.guesses.ravel()), 1)
        return matrix

    def badness(self) -> NDArray[Any]:
        """How wrong each sample is: minus the log-likelihood of its labels, or the mean absolute error."""
        if self.probabilities is None:
            wrong = np.abs(self.outputs - self.labels.reshape(self.outputs.shape))
        else:
            truth = self.labels.astype(np.int64)[..., None]
            likely = np.take_along_axis(self.probabilities, truth, axis=-1)[..., 0]
            wrong = -np.log(np.maximum(likely, 1e-12))
        mean: NDArray[Any] = wrong.reshape(len(wrong), -1).mean(axis=1)
        return mean


def results_of(model: Model, x: Any, y: Any) -> Results:
    """Predicts `x`, and finds out what `y` says about it.

    Raises:
        TypeError: samples are of several shapes, or no arrays.
        ShapeError, ValueError: `x` and `y` do not fit each other, or the model.
    """
    for value, argument in ((x, "x"), (y, "y")):
        if shapes := several_shapes(value):
            raise TypeError(
                f"The `{argument}` argument holds samples of several shapes, {shapes[0]} and {shapes[1]} "
                "among them, and a page is about samples of one. Crop or pad them to one shape (numpy.pad), "
                "or write a page for each: x[i][numpy.newaxis], y[i][numpy.newaxis]."
            )
    images, labels = as_array(x, "x"), as_array(y, "y")
    if len(images) != len(labels):
        raise ShapeError(f"`x` has {len(images)} samples, `y` {len(labels)}.")
    if not len(images):
        raise ValueError("`x` is empty.")
    outputs = model.predict(images, verbose=0)
    if labels.ndim == outputs.ndim and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if outputs.shape[-1] > 1 and labels.shape == outputs.shape and set(np.unique(labels)) <= {0, 1}:
        one_hot = bool((labels.sum(axis=-1) == 1).all())  # and not several classes a sample
        labels = labels.argmax(axis=-1) if one_hot else labels
    if outputs.shape[-1] == 1 and loss_of(model) in MARGINS and set(np.unique(labels)) <= {-1, 1}:
        labels = (labels > 0).astype(np.int64)
    if _are_classes(model, labels, outputs):
        return Results(images, labels.astype(np.int64), outputs, _probabilities(model, outputs))
    if labels.size != outputs.size:
        raise ShapeError(f"`y` of shape {labels.shape} does not fit outputs of shape {outputs.shape}.")
    return Results(images, labels, outputs, None)


def loss_of(model: Model) -> str:
    """Name of the model's loss; empty if it has none."""
    return "" if not model.compiled else type(model.loss).__name__


def _are_classes(model: Model, labels: NDArray[Any], outputs: NDArray[Any]) -> bool:
    """Whether labels are numbers of classes, and not values to predict.

    Raises:
        ValueError: there are fewer outputs than classes.
    """
    if labels.shape != outputs.shape[:-1] or not np.array_equal(labels, np.floor(labels)):
        return False
    count = outputs.shape[-1]
    if count == 1:
        loss = loss_of(model)
        binary = model.output_activation == "sigmoid" or "Crossentropy" in loss or loss in _BINARY
        return binary and set(np.unique(labels)) <= {0, 1}
    if labels.min() < 0 or labels.max() >= count:
        raise ValueError(
            f"`y` must hold classes from 0 to {count - 1}. Received {labels.min()} to {labels.max()}."
        )
    return True


def _probabilities(model: Model, outputs: NDArray[Any]) -> NDArray[Any]:
    """Outputs as shares of the classes: scores go through softmax, or the logistic function if single."""
    scores, activation = outputs.astype(np.float64), model.output_activation
    if scores.shape[-1] == 1:
        likely = scores if activation == "sigmoid" else 0.5 * (1 + np.tanh(0.5 * scores))
        return np.concatenate([1 - likely, likely], axis=-1)
    if activation not in ("softmax", "sigmoid"):
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares: NDArray[Any] = scores / np.maximum(scores.sum(axis=-1, keepdims=True), 1e-300)
    return shares
