"""Errors of numbers: means of losses, and the coefficient of determination."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn.metrics.base import REGISTRY, Direction, Metric, ratio


class _MeanLoss(Metric):
    """The mean of a loss.

    Args:
        name: key in logs.
    """

    loss: ClassVar[str]
    direction: Direction | None = "min"
    averages = True

    def engine_description(self) -> dict[str, Any]:
        """The loss that is averaged."""
        loss = {"class_name": self.loss, "config": self.engine_config()}
        return {"class_name": "Mean", "config": {"loss": loss}}


@REGISTRY.register("mse", "MSE")
class MeanSquaredError(_MeanLoss):
    """Mean squared difference.

    Args:
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.MeanSquaredError()])
        >>> x, y = np.array([[1.0, 3.0]]), np.array([[0.0, 0.0]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        5.0
    """

    loss = "MeanSquaredError"


@REGISTRY.register("rmse", "RMSE")
class RootMeanSquaredError(_MeanLoss):
    """Root of the mean squared difference.

    Args:
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.RootMeanSquaredError()])
        >>> x, y = np.array([[1.0, 3.0]]), np.array([[0.0, 0.0]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        2.2361
    """

    loss = "MeanSquaredError"

    def _compared(
        self, targets: NDArray[Any], outputs: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any], bool]:
        """Numbers without an axis of outputs are samples, so that each may have a weight."""
        wide, outputs, labels = super()._compared(targets, outputs)
        if wide.ndim == 1:
            return wide[:, np.newaxis], outputs[:, np.newaxis], labels
        return wide, outputs, labels

    def value_of(self, counts: Sequence[float]) -> float:
        """The root of the mean."""
        return math.sqrt(super().value_of(counts))


@REGISTRY.register("mae", "MAE")
class MeanAbsoluteError(_MeanLoss):
    """Mean absolute difference.

    Args:
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.MeanAbsoluteError()])
        >>> x, y = np.array([[1.0, 3.0]]), np.array([[0.0, 0.0]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        2.0
    """

    loss = "MeanAbsoluteError"


@REGISTRY.register("mape", "MAPE")
class MeanAbsolutePercentageError(_MeanLoss):
    """Mean of ``100 |t - p| / max(|t|, 1e-7)``.

    Args:
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.MeanAbsolutePercentageError()])
        >>> x, y = np.array([[1.1, 1.8]]), np.array([[1.0, 2.0]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        10.0
    """

    loss = "MeanAbsolutePercentageError"


@REGISTRY.register("msle", "MSLE")
class MeanSquaredLogarithmicError(_MeanLoss):
    """Mean of ``(log(t + 1) - log(p + 1))^2``.

    Args:
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.MeanSquaredLogarithmicError()])
        >>> x, y = np.array([[1.0, 3.0]]), np.array([[0.0, 1.0]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        0.4805
    """

    loss = "MeanSquaredLogarithmicError"


@REGISTRY.register("log_cosh", "logcosh")
class LogCoshError(_MeanLoss):
    """Mean of ``log(cosh(p - t))``.

    Args:
        name: key in logs; None is "logcosh".

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.LogCoshError()])
        >>> x, y = np.array([[0.5, 3.0]]), np.array([[0.0, 0.0]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        1.2147
    """

    loss = "LogCosh"

    def __init__(self, name: str | None = None) -> None:
        super().__init__("logcosh" if name is None else name)


@REGISTRY.register()
class Poisson(_MeanLoss):
    """Mean of ``p - t log p``.

    Args:
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.Poisson()])
        >>> x, y = np.array([[1.0, 2.0]]), np.array([[1.0, 3.0]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        0.4603
    """

    loss = "Poisson"


@REGISTRY.register("kld", "KLD")
class KLDivergence(_MeanLoss):
    """Mean of ``sum(t log(t / p))`` over the last axis.

    Args:
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.KLDivergence()])
        >>> x, y = np.array([[0.7, 0.3]]), np.array([[0.5, 0.5]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        0.0872
    """

    loss = "KLDivergence"

    def engine_config(self) -> dict[str, Any]:
        """With the outputs as the metric sees them, which is as probabilities."""
        return {**super().engine_config(), "from_logits": False}


@REGISTRY.register()
class CosineSimilarity(_MeanLoss):
    """Mean cosine of the angle between targets and outputs along the last axis: 1 for the same direction.

    Args:
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.CosineSimilarity()])
        >>> x, y = np.array([[1.0, 0.0]]), np.array([[2.0, 0.0]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        1.0
    """

    loss = "CosineSimilarity"
    direction = "max"

    def value_of(self, counts: Sequence[float]) -> float:
        """The loss with its sign turned."""
        return -float(super().value_of(counts))


@REGISTRY.register()
class Hinge(_MeanLoss):
    """Mean of ``max(1 - t p, 0)``; targets 0 and 1 stand for -1 and 1.

    Args:
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((1,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.Hinge()])
        >>> x, y = np.array([[0.5], [-2.0]]), np.array([[1.0], [-1.0]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        0.25
    """

    loss = "Hinge"


@REGISTRY.register()
class SquaredHinge(_MeanLoss):
    """Mean of ``max(1 - t p, 0)^2``; targets 0 and 1 stand for -1 and 1.

    Args:
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((1,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.SquaredHinge()])
        >>> x, y = np.array([[0.5], [-2.0]]), np.array([[1.0], [-1.0]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        0.125
    """

    loss = "SquaredHinge"


@REGISTRY.register()
class CategoricalHinge(_MeanLoss):
    """Mean of ``max(largest (1 - t) p - sum(t p) + 1, 0)``.

    Args:
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((3,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.CategoricalHinge()])
        >>> x, y = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]), np.array([[1, 0, 0], [0, 1, 0]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        0.9
    """

    loss = "CategoricalHinge"


class _MeanCrossentropy(_MeanLoss):
    """The mean of a cross-entropy of probabilities.

    Args:
        label_smoothing: see `gridnn.losses`.
        name: key in logs.
    """

    config_fields = ("label_smoothing", "name")

    def __init__(self, label_smoothing: float = 0.0, name: str | None = None) -> None:
        super().__init__(name)
        self.label_smoothing = _validation.real(label_smoothing, "label_smoothing", low=0.0, high=1.0)

    def engine_config(self) -> dict[str, Any]:
        """With the outputs as the metric sees them, which is as probabilities."""
        return {**super().engine_config(), "from_logits": False}


@REGISTRY.register("bce", "BCE")
class BinaryCrossentropy(_MeanCrossentropy):
    """Mean binary cross-entropy.

    Args:
        label_smoothing: share of every target that is replaced by 1/2.
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.BinaryCrossentropy()])
        >>> x, y = np.array([[0.9, 0.2]]), np.array([[1.0, 0.0]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        0.1643
    """

    loss = "BinaryCrossentropy"


@REGISTRY.register()
class CategoricalCrossentropy(_MeanCrossentropy):
    """Mean cross-entropy.

    Args:
        label_smoothing: share of every target that is spread over the classes.
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((3,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.CategoricalCrossentropy()])
        >>> x, y = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]), np.array([[1, 0, 0], [0, 1, 0]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        0.7803
    """

    loss = "CategoricalCrossentropy"


@REGISTRY.register()
class SparseCategoricalCrossentropy(_MeanLoss):
    """Mean cross-entropy of class labels.

    Args:
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((3,)), layers.Flatten()])  # puts out what it is given
        >>> metric = gn.metrics.SparseCategoricalCrossentropy()
        >>> model.compile("sgd", "sparse_categorical_crossentropy", metrics=[metric])
        >>> x, y = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]), np.array([0, 1])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        0.9606
    """

    targets = "labels"
    loss = "CategoricalCrossentropy"

    def engine_config(self) -> dict[str, Any]:
        """Of one-hot targets: the engine spreads labels out."""
        return {"from_logits": False, "label_smoothing": 0.0}


@REGISTRY.register()
class R2Score(Metric):
    """Coefficient of determination: ``1 - sum (t - p)^2 / sum (t - mean t)^2``, output by output.

    Args:
        class_aggregation: "uniform_average" (the mean over the outputs), "variance_weighted_average", or None
            for the coefficient of every output.
        num_regressors: 0; the adjusted coefficient is not here.
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((1,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.R2Score()])
        >>> x, y = np.array([[1.0], [2.0], [3.5]]), np.array([[1.0], [2.0], [3.0]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        0.875
    """

    config_fields = ("class_aggregation", "name")
    direction = "max"

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        if class_aggregation is not None:
            kinds = ("uniform_average", "variance_weighted_average")
            class_aggregation = _validation.choice(class_aggregation, "class_aggregation", kinds)
        self.class_aggregation = class_aggregation
        if _validation.integer(num_regressors, "num_regressors"):
            raise ValueError(
                "The `num_regressors` argument must be 0: the adjusted coefficient is not here. Received "
                f"num_regressors={num_regressors}."
            )

    def engine_description(self) -> dict[str, Any]:
        """Sums of targets and of squares."""
        return {"class_name": "Moments", "config": {}}

    def _compared(
        self, targets: NDArray[Any], outputs: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any], bool]:
        wide, outputs, labels = super()._compared(targets, outputs)
        return (
            (wide[:, np.newaxis], outputs[:, np.newaxis], labels)
            if wide.ndim == 1
            else (wide, outputs, labels)
        )

    def value_of(self, counts: Sequence[float]) -> Any:
        """The coefficient, or those of the outputs; where targets are all alike, within rounding, it is 0."""
        number, total, squares, errors = np.reshape(counts, (-1, 4)).T
        if not number[0]:
            return 0.0
        spread = squares - total * total / number
        # What two rounded sums of this many squares may differ by is no spread: targets that are all alike
        # would be measured by noise.
        spread[spread <= 16 * np.finfo(np.float64).eps * np.sqrt(number) * squares] = 0.0
        scores = np.divide(spread - errors, spread, out=np.zeros_like(spread), where=spread != 0)
        if self.class_aggregation is None:
            return scores
        weights = np.ones_like(spread) if self.class_aggregation == "uniform_average" else spread
        return ratio(float((scores * weights).sum()), float(weights.sum()))
