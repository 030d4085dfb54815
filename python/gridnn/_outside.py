"""Losses and metrics that users write in Python, called between the two halves of an engine's step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn._network import StepResult, Verdict
from gridnn.errors import ShapeError
from gridnn.losses import Loss
from gridnn.metrics import FunctionMetric
from gridnn.model.compilation import Objective
from gridnn.model.data import Arrays

__all__ = ["Judge"]


class Judge:
    """Sees the outputs of one batch.

    Args:
        objective: the loss and the metrics.
        arrays: the data set.
        indices: rows of the batch; None for all.
    """

    def __init__(self, objective: Objective, arrays: Arrays, indices: NDArray[np.int64] | None) -> None:
        self._objective = objective
        self._arrays = arrays
        self._indices = indices
        self._counts: dict[str, list[float]] = {}

    @classmethod
    def of(cls, objective: Objective, arrays: Arrays, indices: NDArray[np.int64] | None) -> Judge | None:
        """A judge where one is needed."""
        needed = objective.loss.in_python or any(isinstance(m, FunctionMetric) for m in objective.metrics)
        return cls(objective, arrays, indices) if needed else None

    def __call__(self, outputs: NDArray[np.float64]) -> Verdict | None:
        """Counts the metrics; returns what the loss says, unless that is the engine's."""
        loss = self._objective.loss
        targets = self._rows(self._arrays.y)
        if loss.targets == "values":
            targets = targets.reshape(outputs.shape)
        for metric in self._objective.metrics:
            if isinstance(metric, FunctionMetric):
                self._counts[metric.name] = metric.count(targets, loss.as_metric_input(outputs))
        return self._verdict(loss, targets, outputs) if loss.in_python else None

    def complete(self, result: StepResult) -> StepResult:
        """The result of the step with the counts of all metrics, in order."""
        counted = iter(result.metrics)
        metrics = [
            self._counts[m.name] if isinstance(m, FunctionMetric) else next(counted)
            for m in self._objective.metrics
        ]
        return result._replace(metrics=metrics)

    def _rows(self, array: NDArray[Any]) -> NDArray[Any]:
        return array if self._indices is None else array[self._indices]

    def _verdict(self, loss: Loss, targets: NDArray[Any], outputs: NDArray[np.float64]) -> Verdict:
        values = np.asarray(loss.call(targets, outputs), np.float64)
        batch = len(outputs)
        if values.shape[:1] != (batch,):
            raise ShapeError(
                f"{loss.label}.call must return values whose first axis is the batch of {batch}. Received "
                f"shape {values.shape}."
            )
        gradient = np.asarray(loss.gradient(targets, outputs), np.float64)
        if gradient.shape != outputs.shape:
            raise ShapeError(
                f"{loss.label}.gradient must return an array of the shape of y_pred, {outputs.shape}. "
                f"Received {gradient.shape}."
            )
        weights = self._arrays.sample_weight
        weights = np.ones(batch) if weights is None else self._rows(weights)
        losses = values.reshape(batch, -1).sum(axis=1) * weights
        scale = weights if loss.reduction == "sum" else weights / max(values.size, 1)
        return losses, float(values.size), gradient * scale.reshape(-1, *[1] * (outputs.ndim - 1))
