"""Losses and metrics that users write in Python, called between the two halves of an engine's step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn._custom import calling, expect_shape
from gridnn._network import CustomLoss, Network, StepResult
from gridnn.errors import ShapeError
from gridnn.losses import Loss
from gridnn.model.compilation import Objectives
from gridnn.model.data import Arrays, Target

__all__ = ["ObjectiveCalls"]


class ObjectiveCalls:
    """Calls custom losses and custom metrics with the outputs of one batch.

    Args:
        objectives: the losses and the metrics.
        arrays: the data set.
        indices: rows of the batch; None for all.
    """

    def __init__(self, objectives: Objectives, arrays: Arrays, indices: NDArray[np.int64] | None) -> None:
        self._objectives = objectives
        self._arrays = arrays
        self._indices = indices
        self._counts: dict[tuple[int, str], list[float]] = {}

    @classmethod
    def of(
        cls,
        objectives: Objectives,
        arrays: Arrays,
        indices: NDArray[np.int64] | None,
        network: Network,
        seed: int | None = None,
    ) -> ObjectiveCalls | None:
        """What the engine is to call; None where everything is computed in it.

        Args:
            objectives: see the class.
            arrays: see the class.
            indices: see the class.
            network: the network that takes the step.
            seed: of the step; None in inference.
        """
        if not objectives.in_python:
            return None
        if arrays.moving:
            arrays, indices = arrays.moved(network, indices, seed), None
        return cls(objectives, arrays, indices)

    def __call__(self, number: int, outputs: NDArray[np.float64]) -> CustomLoss | None:
        """Counts the metrics of an output; returns what the loss says, unless that is the engine's."""
        objective, target = self._objectives.outputs[number], self._arrays.targets[number]
        loss = objective.loss
        if loss is None or target.y is None or not objective.in_python:
            return None
        targets = self._rows(target.y)
        if loss.targets == "values":
            targets = targets.reshape(outputs.shape)
        weights = None if target.sample_weight is None else self._rows(target.sample_weight)
        unweighted = len(objective.metrics) - objective.weighted
        for place, metric in enumerate(objective.metrics):
            if metric.in_python:
                with calling(f"metric '{metric.name}'"):
                    own = weights if place >= unweighted else None
                    count = metric.count(targets, loss.as_metric_input(outputs), own)
                    self._counts[number, metric.name] = count
        return self._loss(loss, targets, outputs, target) if loss.in_python else None

    def complete(self, result: StepResult) -> StepResult:
        """The result of the step with the counts of all metrics, in order."""
        outputs = []
        for number, (objective, own) in enumerate(zip(self._objectives.outputs, result.outputs, strict=True)):
            counted = iter(own.metrics)
            metrics = [
                self._counts[number, m.name] if m.in_python else next(counted) for m in objective.metrics
            ]
            outputs.append(own._replace(metrics=metrics))
        return result._replace(outputs=outputs)

    def _rows(self, array: NDArray[Any]) -> NDArray[Any]:
        return array if self._indices is None else array[self._indices]

    def _loss(
        self, loss: Loss, targets: NDArray[Any], outputs: NDArray[np.float64], target: Target
    ) -> CustomLoss:
        with calling(f"`call` of {loss.label}"):
            values = np.asarray(loss.call(targets, outputs), np.float64)
        batch = len(outputs)
        if values.shape[:1] != (batch,):
            raise ShapeError(
                f"{loss.label}.call must return values whose first axis is the batch of {batch}. Received "
                f"shape {values.shape}."
            )
        with calling(f"`gradient` of {loss.label}"):
            gradient = np.asarray(loss.gradient(targets, outputs), np.float64)
        wanted = f"an array of the shape of y_pred, {outputs.shape}"
        expect_shape(gradient, outputs.shape, f"{loss.label}.gradient", wanted)
        weights = target.changed(self._rows).position_weights()
        weights = np.ones(batch) if weights is None else weights
        if weights.ndim > 1 and values.shape != weights.shape:
            raise ShapeError(
                f"{loss.label}.call must return a value for every position, {weights.shape}, where positions "
                f"have weights. Received shape {values.shape}."
            )
        weighted = values * weights.reshape(weights.shape + (1,) * (values.ndim - weights.ndim))
        scale = weights if loss.training_reduction == "sum" else weights / max(values.size, 1)
        scale = scale.reshape(scale.shape + (1,) * (outputs.ndim - scale.ndim))
        return weighted.reshape(batch, -1).sum(axis=1), float(values.size), gradient * scale
