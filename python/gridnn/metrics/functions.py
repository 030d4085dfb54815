"""Metrics of values: their mean, their sum, and the mean of what a Python function makes of outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._arrays import as_numbers
from gridnn._reduction import samplewise
from gridnn.metrics.base import Metric

__all__ = ["Mean", "MeanMetricWrapper", "Sum"]


class Mean(Metric):
    """The mean of values, weighted.

    It is for loops of one's own, and compares nothing: `compile` takes metrics of targets and outputs.

    Args:
        name: key in logs.
        dtype: noted; numbers are kept in float64.

    Example:
        >>> mean = Mean()
        >>> mean.update_state([1, 3, 5, 7])
        >>> mean.result()
        4.0
        >>> mean.reset_state()
        >>> mean([1, 3, 5, 7], sample_weight=[1, 1, 0, 0])
        2.0
    """

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Takes values.

        Args:
            values: numbers, the first axis counting samples; of a sample that has several their mean counts.
            sample_weight: weights for samples, or for values; None is 1.
        """
        found, weights = samplewise(as_numbers(values, "values"), sample_weight)
        self._add([float(found.sum()), float(found.size if weights is None else weights.sum())])


class Sum(Metric):
    """The sum of values, weighted. Like `Mean` it compares nothing.

    Args:
        name: key in logs.
        dtype: noted; numbers are kept in float64.

    Example:
        >>> Sum()([1, 3, 5, 7], sample_weight=[1, 1, 0, 0])
        4.0
    """

    def __init__(self, name: str | None = "sum", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Takes values; see `Mean.update_state`."""
        found, _ = samplewise(as_numbers(values, "values"), sample_weight, sums=True)
        self._add([float(found.sum()), 1.0])

    def value_of(self, counts: Any) -> float:
        """The sum."""
        return float(counts[0])


class MeanMetricWrapper(Metric):
    """The mean of what a Python function ``f(y_true, y_pred)`` makes of outputs.

    `compile` makes one of every function among its metrics. It is slower than the built-in ones: the outputs
    are copied and the engine waits. As in Keras the function's values are reduced to one a sample, whose mean
    over the epoch is the metric; a single number counts as one value a batch.

    Args:
        fn: takes targets and outputs of a batch (probabilities, where the loss works on logits). Its
            attribute `direction`, if it has one, is that of the metric.
        name: key in logs; None is the function's own name.
        dtype: noted; numbers are kept in float64.
        **kwargs: further arguments of the function.

    Example:
        >>> def largest_error(y_true, y_pred):
        ...     return abs(y_true - y_pred).max(axis=-1)
        >>> MeanMetricWrapper(largest_error)([[0.0, 1.0]], [[0.0, 0.5]])
        0.5
    """

    targets = "any"

    def __init__(
        self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(name or getattr(fn, "__name__", None), dtype)
        self._function = fn
        self._arguments = kwargs
        direction = getattr(fn, "direction", None)
        if direction is not None:
            self.direction = (
                "max" if _validation.choice(direction, "direction", ("min", "max")) == "max" else "min"
            )

    @property
    def keeps_state(self) -> bool:
        """False: values of batches are added up."""
        return type(self).update_state is not MeanMetricWrapper.update_state

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes a batch; see `Metric.update_state`."""
        self._add(self._sums(as_numbers(y_true, "y_true"), as_numbers(y_pred, "y_pred"), sample_weight))

    def count(self, y_true: NDArray[Any], y_pred: NDArray[Any], sample_weight: Any = None) -> list[float]:
        """Sum and number of the values of a batch."""
        if self.keeps_state:
            return super().count(y_true, y_pred, sample_weight)
        return self._sums(y_true, y_pred, sample_weight)

    def _sums(self, y_true: NDArray[Any], y_pred: NDArray[Any], sample_weight: Any) -> list[float]:
        values = np.asarray(self._function(y_true, y_pred, **self._arguments), np.float64)
        found, weights = samplewise(values, sample_weight)
        return [float(found.sum()), float(found.size if weights is None else weights.sum())]


FunctionMetric = MeanMetricWrapper
