"""Metrics, as descriptions; the engine counts, and a metric says what its counts come to.

A metric compares outputs either with class labels (whole numbers) or with values of the outputs' own shape;
some take both. Metrics see probabilities: where the loss works on logits they are converted first. Like
Keras' ``metrics=`` they are not weighted. Counts are added up over the whole epoch, so that a precision or an
area is that of all samples and not a mean of batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._config import Configurable, Registry, snake_case

__all__ = [
    "AUC",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "F1Score",
    "Hinge",
    "KLDivergence",
    "LogCoshError",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanIoU",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Metric",
    "OneHotMeanIoU",
    "Poisson",
    "Precision",
    "R2Score",
    "Recall",
    "RootMeanSquaredError",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "SquaredHinge",
    "TopKCategoricalAccuracy",
    "get",
]

Targets = Literal["labels", "values"]


class Metric(Configurable):
    """Base of all metrics.

    Args:
        name: its key in logs; None takes the class name in snake case.
    """

    config_fields: ClassVar[tuple[str, ...]] = ("name",)
    targets: ClassVar[Targets | Literal["any"]] = "values"

    def __init__(self, name: str | None = None) -> None:
        self.name = _validation.object_name(name) or snake_case(type(self).__name__)

    def result(self, counts: Sequence[float]) -> float:
        """What the engine's counts come to."""
        total, number = counts
        return total / number if number else 0.0

    def engine_config(self) -> dict[str, Any]:
        """The configuration without the name, which only logs need."""
        config = super().engine_config()
        del config["name"]
        return config


REGISTRY: Registry[Metric] = Registry("metric", Metric)


def _ratio(part: float, whole: float) -> float:
    """Their quotient, 0 for 0 / 0."""
    return part / whole if whole else 0.0


def _threshold(value: object, name: str) -> float:
    return _validation.real(value, name, low=0.0, high=1.0)


def _optional_index(value: object, name: str, least: int) -> int | None:
    if value is None:
        return None
    number = _validation.integer(value, name)
    if number < least:
        raise ValueError(f"The `{name}` argument must be at least {least}. Received {name}={value}.")
    return number


# Accuracies


@REGISTRY.register("categorical_accuracy")
class CategoricalAccuracy(Metric):
    """How often the class with the largest output is the one with the largest target.

    Args:
        name: key in logs.
    """


@REGISTRY.register("sparse_categorical_accuracy")
class SparseCategoricalAccuracy(Metric):
    """How often the class with the largest output is the labelled one.

    Args:
        name: key in logs.
    """

    targets = "labels"

    def engine_description(self) -> dict[str, Any]:
        """That of `CategoricalAccuracy`: the engine spreads labels out."""
        return {"class_name": "CategoricalAccuracy", "config": {}}


@REGISTRY.register("binary_accuracy")
class BinaryAccuracy(Metric):
    """How often an output lies on the same side of a threshold as its target, which is 0 or 1.

    Args:
        threshold: outputs above it count as 1.
        name: key in logs.
    """

    config_fields = ("threshold", "name")

    def __init__(self, threshold: float = 0.5, name: str | None = None) -> None:
        super().__init__(name)
        self.threshold = _threshold(threshold, "threshold")


@REGISTRY.register("top_k_categorical_accuracy")
class TopKCategoricalAccuracy(Metric):
    """How often the class with the largest target is among the k with the largest outputs.

    Args:
        k: how many.
        name: key in logs.
    """

    config_fields = ("k", "name")

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        super().__init__(name)
        self.k = _validation.positive_integer(k, "k")

    def engine_description(self) -> dict[str, Any]:
        """The same for labels: the engine spreads them out."""
        return {"class_name": "TopKCategoricalAccuracy", "config": self.engine_config()}


@REGISTRY.register("sparse_top_k_categorical_accuracy")
class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """How often the labelled class is among the k with the largest outputs.

    Args:
        k: how many.
        name: key in logs.
    """

    targets = "labels"


# Hits, false alarms, misses


class _Hits(Metric):
    """What `Precision` and `Recall` share.

    Args:
        thresholds: outputs above it count as found; None is 0.5, or none if `top_k` is given.
        top_k: count only the so many largest outputs of a position as found.
        class_id: look at this output alone.
        name: key in logs.
    """

    config_fields = ("thresholds", "top_k", "class_id", "name")
    targets = "any"

    def __init__(
        self,
        thresholds: float | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.thresholds = None if thresholds is None else _threshold(thresholds, "thresholds")
        self.top_k = _optional_index(top_k, "top_k", 1)
        self.class_id = _optional_index(class_id, "class_id", 0)

    def engine_description(self) -> dict[str, Any]:
        """Hits, false alarms and misses."""
        default = 0.5 if self.top_k is None else -1e300
        threshold = default if self.thresholds is None else self.thresholds
        config = {"threshold": threshold, "top_k": self.top_k, "class_id": self.class_id}
        return {"class_name": "Hits", "config": config}


@REGISTRY.register("precision")
class Precision(_Hits):
    """Share of what was found that is right: ``hits / (hits + false alarms)``, 0 if nothing was found.

    Args:
        thresholds: outputs above it count as found; None is 0.5, or none if `top_k` is given.
        top_k: count only the so many largest outputs of a position as found.
        class_id: look at this output alone.
        name: key in logs.
    """

    def result(self, counts: Sequence[float]) -> float:
        """Hits to all that was found."""
        return _ratio(counts[0], counts[0] + counts[1])


@REGISTRY.register("recall")
class Recall(_Hits):
    """Share of what is right that was found: ``hits / (hits + misses)``, 0 if there is nothing to find.

    Args:
        thresholds: see `Precision`.
        top_k: see `Precision`.
        class_id: see `Precision`.
        name: key in logs.
    """

    def result(self, counts: Sequence[float]) -> float:
        """Hits to all that was to be found."""
        return _ratio(counts[0], counts[0] + counts[2])


@REGISTRY.register("f1_score")
class F1Score(Metric):
    """``2 hits / (2 hits + false alarms + misses)``, class by class.

    Args:
        average: "macro" (the mean over the classes), "micro" (all classes counted together) or "weighted" (by
            the
            targets of each class). Keras' default None would be one number per class, which logs cannot hold.
        threshold: outputs above it count as found; None finds the largest output of a position alone.
        name: key in logs.
    """

    config_fields = ("average", "threshold", "name")
    targets = "any"

    def __init__(
        self, average: str = "macro", threshold: float | None = None, name: str | None = None
    ) -> None:
        super().__init__(name)
        self.average = _validation.choice(average, "average", ("micro", "macro", "weighted"))
        self.threshold = None if threshold is None else _threshold(threshold, "threshold")

    def engine_description(self) -> dict[str, Any]:
        """Hits, false alarms and misses of every class."""
        return {"class_name": "HitsByClass", "config": {"threshold": self.threshold}}

    def result(self, counts: Sequence[float]) -> float:
        """The score."""
        hits, alarms, misses = np.reshape(counts, (-1, 3)).T
        if self.average == "micro":
            hits, alarms, misses = (np.sum(part, keepdims=True) for part in (hits, alarms, misses))
        # Keras keeps the quotients finite by 1e-7.
        precision, recall = hits / (hits + alarms + 1e-7), hits / (hits + misses + 1e-7)
        scores = 2 * precision * recall / (precision + recall + 1e-7)
        weights = (hits + misses) if self.average == "weighted" else np.ones(len(scores))
        return _ratio(float((scores * weights).sum()), float(weights.sum()))


@REGISTRY.register("auc")
class AUC(Metric):
    """Area under a curve of hits and false alarms over thresholds, all outputs counted together.

    The thresholds are evenly spaced on [0, 1], with one below 0 and one above 1 at the ends, and the area is
    Keras': exact to the width of a bucket.

    Args:
        num_thresholds: at least 2.
        curve: "ROC" (share found over share of false alarms) or "PR" (precision over recall).
        summation_method: "interpolation", "minoring" or "majoring"; the first takes means of neighbours for
            ROC,
            and for PR the curve of Davis and Goadrich (2006).
        name: key in logs.
    """

    config_fields = ("num_thresholds", "curve", "summation_method", "name")
    targets = "any"

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.num_thresholds = _validation.integer(num_thresholds, "num_thresholds")
        if self.num_thresholds < 2:
            raise ValueError(
                f"Argument `num_thresholds` must be an integer > 1. Received: num_thresholds={num_thresholds}"
            )
        self.curve = _validation.choice(curve, "curve", ("ROC", "PR"))
        self.summation_method = _validation.choice(
            summation_method, "summation_method", ("interpolation", "minoring", "majoring")
        )

    def engine_description(self) -> dict[str, Any]:
        """A histogram of the outputs of positives and of negatives."""
        return {"class_name": "Histogram", "config": {"buckets": max(self.num_thresholds - 1, 1)}}

    def result(self, counts: Sequence[float]) -> float:
        """The area."""
        # At threshold i everything in bucket i and above is found; nothing is at the last.
        above = np.cumsum(np.reshape(counts, (-1, 2))[::-1], axis=0)[::-1]
        hits, alarms = np.append(above, [[0.0, 0.0]], axis=0).T
        misses, rejections = hits[0] - hits, alarms[0] - alarms
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self._interpolated(hits, alarms, misses)
        recall = _quotients(hits, hits + misses)
        x = _quotients(alarms, alarms + rejections) if self.curve == "ROC" else recall
        y = recall if self.curve == "ROC" else _quotients(hits, hits + alarms)
        heights = {
            "interpolation": (y[:-1] + y[1:]) / 2,
            "minoring": np.minimum(y[:-1], y[1:]),
            "majoring": np.maximum(y[:-1], y[1:]),
        }[self.summation_method]
        return float(((x[:-1] - x[1:]) * heights).sum())

    @staticmethod
    def _interpolated(
        hits: NDArray[np.float64], alarms: NDArray[np.float64], misses: NDArray[np.float64]
    ) -> float:
        """Between two thresholds hits are a straight line over what is found: its integral, a logarithm."""
        found = hits + alarms
        gained, widened = hits[:-1] - hits[1:], found[:-1] - found[1:]
        slope = _quotients(gained, np.maximum(widened, 0))
        intercept = hits[1:] - slope * found[1:]
        both = (found[:-1] > 0) & (found[1:] > 0)
        ratio = np.where(both, _quotients(found[:-1], found[1:]), 1.0)
        parts = slope * (gained + intercept * np.log(ratio))
        return float(_quotients(parts, hits[1:] + misses[1:]).sum())


def _quotients(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Element by element, 0 where the divisor is."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)


# Overlap of classes


@REGISTRY.register("mean_iou")
class MeanIoU(Metric):
    """Mean over the classes of ``hits / (hits + false alarms + misses)``.

    Classes that occur neither among targets nor among outputs are left out.
    The class of an output is that of its largest channel; with one channel it is 1 above 0.5.

    Args:
        num_classes: number of classes.
        ignore_class: positions labelled so do not count.
        name: key in logs.
    """

    config_fields = ("num_classes", "ignore_class", "name")
    targets: ClassVar[Targets | Literal["any"]] = "any"

    def __init__(self, num_classes: int, ignore_class: int | None = None, name: str | None = None) -> None:
        super().__init__(name)
        self.num_classes = _validation.positive_integer(num_classes, "num_classes")
        self.ignore_class = (
            None if ignore_class is None else _validation.integer(ignore_class, "ignore_class")
        )

    def engine_description(self) -> dict[str, Any]:
        """A table of pairs of classes."""
        return {"class_name": "Confusion", "config": self.engine_config()}

    def result(self, counts: Sequence[float]) -> float:
        """The mean."""
        table = np.reshape(counts, (self.num_classes, self.num_classes))
        hits = np.diagonal(table)
        union = table.sum(axis=0) + table.sum(axis=1) - hits
        there = union > 0
        return float(np.mean(hits[there] / union[there])) if there.any() else 0.0


@REGISTRY.register("one_hot_mean_iou")
class OneHotMeanIoU(MeanIoU):
    """`MeanIoU` for one-hot targets.

    Args:
        num_classes: number of classes.
        ignore_class: positions of this class do not count.
        name: key in logs.
    """

    targets = "values"


# Errors of numbers


class _MeanLoss(Metric):
    """The mean of a loss.

    Args:
        name: key in logs.
    """

    loss: ClassVar[str]

    def engine_description(self) -> dict[str, Any]:
        """The loss that is averaged."""
        loss = {"class_name": self.loss, "config": self.engine_config()}
        return {"class_name": "Mean", "config": {"loss": loss}}


@REGISTRY.register("mean_squared_error", "mse", "MSE")
class MeanSquaredError(_MeanLoss):
    """Mean squared difference.

    Args:
        name: key in logs.
    """

    loss = "MeanSquaredError"


@REGISTRY.register("root_mean_squared_error", "rmse", "RMSE")
class RootMeanSquaredError(_MeanLoss):
    """Root of the mean squared difference.

    Args:
        name: key in logs.
    """

    loss = "MeanSquaredError"

    def result(self, counts: Sequence[float]) -> float:
        """The root of the mean."""
        return math.sqrt(super().result(counts))


@REGISTRY.register("mean_absolute_error", "mae", "MAE")
class MeanAbsoluteError(_MeanLoss):
    """Mean absolute difference.

    Args:
        name: key in logs.
    """

    loss = "MeanAbsoluteError"


@REGISTRY.register("mean_absolute_percentage_error", "mape", "MAPE")
class MeanAbsolutePercentageError(_MeanLoss):
    """Mean of ``100 |t - p| / max(|t|, 1e-7)``.

    Args:
        name: key in logs.
    """

    loss = "MeanAbsolutePercentageError"


@REGISTRY.register("mean_squared_logarithmic_error", "msle", "MSLE")
class MeanSquaredLogarithmicError(_MeanLoss):
    """Mean of ``(log(t + 1) - log(p + 1))^2``.

    Args:
        name: key in logs.
    """

    loss = "MeanSquaredLogarithmicError"


@REGISTRY.register("log_cosh", "logcosh")
class LogCoshError(_MeanLoss):
    """Mean of ``log(cosh(p - t))``.

    Args:
        name: key in logs; None is "logcosh".
    """

    loss = "LogCosh"

    def __init__(self, name: str | None = None) -> None:
        super().__init__("logcosh" if name is None else name)


@REGISTRY.register("poisson")
class Poisson(_MeanLoss):
    """Mean of ``p - t log p``.

    Args:
        name: key in logs.
    """

    loss = "Poisson"


@REGISTRY.register("kl_divergence", "kld", "KLD")
class KLDivergence(_MeanLoss):
    """Mean of ``sum(t log(t / p))`` over the last axis.

    Args:
        name: key in logs.
    """

    loss = "KLDivergence"


@REGISTRY.register("cosine_similarity")
class CosineSimilarity(_MeanLoss):
    """Mean cosine of the angle between targets and outputs along the last axis: 1 for the same direction.

    Args:
        name: key in logs.
    """

    loss = "CosineSimilarity"

    def result(self, counts: Sequence[float]) -> float:
        """The loss with its sign turned."""
        return -super().result(counts)


@REGISTRY.register("hinge")
class Hinge(_MeanLoss):
    """Mean of ``max(1 - t p, 0)``; targets 0 and 1 stand for -1 and 1.

    Args:
        name: key in logs.
    """

    loss = "Hinge"


@REGISTRY.register("squared_hinge")
class SquaredHinge(_MeanLoss):
    """Mean of ``max(1 - t p, 0)^2``; targets 0 and 1 stand for -1 and 1.

    Args:
        name: key in logs.
    """

    loss = "SquaredHinge"


@REGISTRY.register("categorical_hinge")
class CategoricalHinge(_MeanLoss):
    """Mean of ``max(largest (1 - t) p - sum(t p) + 1, 0)``.

    Args:
        name: key in logs.
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


@REGISTRY.register("binary_crossentropy", "bce", "BCE")
class BinaryCrossentropy(_MeanCrossentropy):
    """Mean binary cross-entropy.

    Args:
        label_smoothing: share of every target that is replaced by 1/2.
        name: key in logs.
    """

    loss = "BinaryCrossentropy"


@REGISTRY.register("categorical_crossentropy")
class CategoricalCrossentropy(_MeanCrossentropy):
    """Mean cross-entropy.

    Args:
        label_smoothing: share of every target that is spread over the classes.
        name: key in logs.
    """

    loss = "CategoricalCrossentropy"


@REGISTRY.register("sparse_categorical_crossentropy")
class SparseCategoricalCrossentropy(_MeanLoss):
    """Mean cross-entropy of class labels.

    Args:
        name: key in logs.
    """

    targets = "labels"
    loss = "CategoricalCrossentropy"

    def engine_config(self) -> dict[str, Any]:
        """Of one-hot targets: the engine spreads labels out."""
        return {"from_logits": False, "label_smoothing": 0.0}


@REGISTRY.register("r2_score")
class R2Score(Metric):
    """Coefficient of determination: ``1 - sum (t - p)^2 / sum (t - mean t)^2``, output by output.

    Args:
        class_aggregation: "uniform_average" (the mean over the outputs) or "variance_weighted_average".
        name: key in logs.
    """

    config_fields = ("class_aggregation", "name")

    def __init__(self, class_aggregation: str = "uniform_average", name: str | None = None) -> None:
        super().__init__(name)
        self.class_aggregation = _validation.choice(
            class_aggregation, "class_aggregation", ("uniform_average", "variance_weighted_average")
        )

    def engine_description(self) -> dict[str, Any]:
        """Sums of targets and of squares."""
        return {"class_name": "Moments", "config": {}}

    def result(self, counts: Sequence[float]) -> float:
        """The coefficient; an output whose targets are all alike has 0."""
        number, total, squares, errors = np.reshape(counts, (-1, 4)).T
        if not number[0]:
            return 0.0
        spread = squares - total * total / number
        scores = np.divide(spread - errors, spread, out=np.zeros_like(spread), where=spread != 0)
        weights = np.ones_like(spread) if self.class_aggregation == "uniform_average" else spread
        return _ratio(float((scores * weights).sum()), float(weights.sum()))


class FunctionMetric(Metric):
    """A metric that a user wrote in Python: any ``f(y_true, y_pred)``.

    Slower than the built-in ones: the outputs are copied and the engine waits. As in Keras the function's
    values are reduced to one a sample, whose mean over the epoch is the metric; a single number counts as
    one value a batch.

    Args:
        function: takes targets and outputs of a batch (probabilities, where the loss works on logits).
        name: key in logs; None is the function's own name.
    """

    targets = "any"

    def __init__(self, function: Callable[[Any, Any], Any], name: str | None = None) -> None:
        super().__init__(name or getattr(function, "__name__", None))
        self._function = function

    def count(self, y_true: NDArray[Any], y_pred: NDArray[np.float64]) -> list[float]:
        """Sum and number of the values of a batch."""
        values = np.asarray(self._function(y_true, y_pred), np.float64)
        if values.ndim > 1:
            values = values.reshape(len(values), -1).mean(axis=1)
        return [float(values.sum()), float(values.size)]


class Automatic(Configurable):
    """Stands for a metric until the first targets tell which one that is."""

    config_fields = ("name",)
    name: str

    def resolve(self, *, one_channel: bool, targets: Targets) -> Metric:
        """The metric for outputs of one channel or of several, and for these targets."""
        raise NotImplementedError


class AutomaticCrossentropy(Automatic):
    """Stands for "crossentropy"."""

    def __init__(self, name: str = "crossentropy") -> None:
        _validation.choice(_validation.string(name, "name").lower(), "name", ("crossentropy", "ce"))
        self.name = name

    def resolve(self, *, one_channel: bool, targets: Targets) -> Metric:
        """Keras' rule: binary for one output channel, else by whether targets are labels or one-hot."""
        if one_channel and targets == "values":
            return BinaryCrossentropy(name=self.name)
        if targets == "labels":
            return SparseCategoricalCrossentropy(name=self.name)
        return CategoricalCrossentropy(name=self.name)


class AutomaticAccuracy(Automatic):
    """Stands for "accuracy"."""

    def __init__(self, name: str = "accuracy") -> None:
        _validation.choice(_validation.string(name, "name").lower(), "name", ("accuracy", "acc"))
        self.name = name

    def resolve(self, *, one_channel: bool, targets: Targets) -> Metric:
        """Keras' rule: binary for one output channel, else by whether targets are labels or one-hot."""
        if one_channel and targets == "values":
            return BinaryAccuracy(name=self.name)
        if targets == "labels":
            return SparseCategoricalAccuracy(name=self.name)
        return CategoricalAccuracy(name=self.name)


def get(identifier: object) -> Metric | Automatic:
    """The metric for a string id, a description or an instance.

    "accuracy" and "acc" stand for the accuracy that suits the targets, which is known once training begins;
    "crossentropy" and "ce" for the cross-entropy. A metric given by string is logged under that string. A
    Python function ``f(y_true, y_pred)`` is a metric of its own name; files do not keep it.

    Example:
        >>> get("mse")
        MeanSquaredError(name='mse')
    """
    if isinstance(identifier, Automatic):
        return identifier
    for automatic in (AutomaticAccuracy, AutomaticCrossentropy):
        if isinstance(identifier, dict) and identifier.get("class_name") == automatic.__name__:
            return automatic.from_config(identifier.get("config", {}))
    if isinstance(identifier, str):
        if identifier.lower() in ("crossentropy", "ce"):
            return AutomaticCrossentropy(identifier)
        if identifier.lower() in ("accuracy", "acc"):
            return AutomaticAccuracy(identifier)
        return REGISTRY.deserialize({"class_name": identifier, "config": {"name": identifier}})
    if isinstance(identifier, FunctionMetric):
        return identifier
    if callable(identifier) and not isinstance(identifier, type):
        return FunctionMetric(identifier)
    return REGISTRY.get(identifier)
