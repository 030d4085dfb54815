"""Metrics that users write in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn.metrics.base import Metric


class FunctionMetric(Metric):
    """A metric that a user wrote in Python: any ``f(y_true, y_pred)``.

    Slower than the built-in ones: the outputs are copied and the engine waits. As in Keras the function's
    values are reduced to one a sample, whose mean over the epoch is the metric; a single number counts as
    one value a batch.

    Args:
        function: takes targets and outputs of a batch (probabilities, where the loss works on logits). Its
            attribute `direction`, if it has one, is that of the metric.
        name: key in logs; None is the function's own name.
    """

    targets = "any"

    def __init__(self, function: Callable[[Any, Any], Any], name: str | None = None) -> None:
        super().__init__(name or getattr(function, "__name__", None))
        self._function = function
        direction = getattr(function, "direction", None)
        if direction is not None:
            self.direction = (
                "max" if _validation.choice(direction, "direction", ("min", "max")) == "max" else "min"
            )

    def count(self, y_true: NDArray[Any], y_pred: NDArray[np.float64]) -> list[float]:
        """Sum and number of the values of a batch."""
        values = np.asarray(self._function(y_true, y_pred), np.float64)
        if values.ndim > 1:
            values = values.reshape(len(values), -1).mean(axis=1)
        return [float(values.sum()), float(values.size)]
