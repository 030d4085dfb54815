"""What is found and what is missed: precision, recall, areas under curves, overlap of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._reduction import same_rank
from gridnn.errors import ShapeError
from gridnn.metrics.base import (
    REGISTRY,
    Metric,
    Targets,
    as_threshold,
    as_thresholds,
    class_ids,
    optional_index,
    ratio,
)


class _Hits(Metric):
    """What `Precision` and `Recall` share.

    Args:
        thresholds: outputs above it count as found; None is 0.5 (0 with hinge losses), or none if `top_k` is
            given and there are several outputs. With a list there is a result for each.
        top_k: count only this many of the largest outputs of a position as found.
        class_id: look at this output alone.
        name: key in logs.
        average: "micro" counts all outputs together, "macro" is the mean of the classes' results, None is the
            result of each class.
    """

    config_fields = ("thresholds", "top_k", "class_id", "name", "average")
    targets = "any"
    direction = "max"

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        *,
        average: str | None = "micro",
    ) -> None:
        super().__init__(name)
        self.thresholds = as_thresholds(thresholds)
        self.top_k = optional_index(top_k, "top_k", 1)
        self.class_id = optional_index(class_id, "class_id", 0)
        self.average = None if average is None else _validation.choice(average, "average", ("micro", "macro"))
        if self.class_id is not None and self.average != "micro":
            raise ValueError("`class_id` looks at one class, and `average` is about all of them: give one.")

    def engine_description(self) -> dict[str, Any]:
        """Hits, false alarms, misses and right rejections."""
        thresholds = () if self.thresholds is None else np.atleast_1d(self.thresholds)
        config = {"thresholds": list(thresholds), "top_k": self.top_k, "class_id": self.class_id}
        return {"class_name": "Hits", "config": {**config, "by_class": self.average != "micro"}}

    def _compared(
        self, targets: NDArray[Any], outputs: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any], bool]:
        if self.class_id is not None and outputs.ndim < 2:
            raise ShapeError(
                f"metric '{self.name}': `class_id` chooses among the outputs of a sample: expected `y_pred` "
                f"of shape (batch, classes). Received {outputs.shape}."
            )
        return super()._compared(targets, outputs)

    def _single(self) -> bool:
        return self.top_k is None and self.class_id is None and self.average == "micro"

    def value_of(self, counts: Sequence[float]) -> Any:
        """The result, or one for each threshold and each class."""
        several = len(self.thresholds) if isinstance(self.thresholds, list) else 1
        parts = np.moveaxis(np.reshape(counts, (several, -1, 4)), -1, 0)
        found = self._share(*parts)
        found = found if self.average is None else found.mean(axis=1)
        found = found if isinstance(self.thresholds, list) else found[0]
        return found if np.ndim(found) else float(found)

    def _share(
        self,
        hits: NDArray[np.float64],
        alarms: NDArray[np.float64],
        misses: NDArray[np.float64],
        rejections: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """What the counts come to."""
        raise NotImplementedError


@REGISTRY.register()
class Precision(_Hits):
    """Share of what was found that is right: ``hits / (hits + false alarms)``, 0 if nothing was found.

    Args:
        thresholds: outputs above it count as found; None is 0.5, or none if `top_k` is given. With a list
            there is a result for each.
        top_k: count only this many of the largest outputs of a position as found.
        class_id: look at this output alone.
        name: key in logs.
        average: "micro" counts all outputs together, "macro" is the mean of the classes' results, None is the
            result of each class, an array.

    Example:
        >>> model = gn.Sequential([gn.Input((1,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.Precision()])
        >>> x, y = np.array([[0.1], [0.7], [0.6]]), np.array([[0], [0], [1]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        0.5
    """

    def _share(
        self,
        hits: NDArray[np.float64],
        alarms: NDArray[np.float64],
        misses: NDArray[np.float64],
        rejections: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        return quotients(hits, hits + alarms)


@REGISTRY.register()
class Recall(_Hits):
    """Share of what is right that was found: ``hits / (hits + misses)``, 0 if there is nothing to find.

    Args:
        thresholds: see `Precision`.
        top_k: see `Precision`.
        class_id: see `Precision`.
        name: key in logs.
        average: see `Precision`.

    Example:
        >>> model = gn.Sequential([gn.Input((1,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.Recall()])
        >>> x, y = np.array([[0.1], [0.7], [0.6]]), np.array([[1], [0], [1]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        0.5
    """

    def _share(
        self,
        hits: NDArray[np.float64],
        alarms: NDArray[np.float64],
        misses: NDArray[np.float64],
        rejections: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        return quotients(hits, hits + misses)


@REGISTRY.register()
class FBetaScore(Metric):
    """``(1 + b^2) precision recall / (b^2 precision + recall)``, class by class.

    Args:
        average: "macro" (the mean over the classes), "micro" (all classes counted together), "weighted" (by
            the targets of each class), or None for a result of each class, an array, which is Keras' default.
        beta: how much recall counts, above 0.
        threshold: outputs above it count as found; None finds the largest output of a position
            alone; a single output is found above 0.5 (0 with hinge losses).
        name: key in logs.

    Example:
        >>> metric = FBetaScore(beta=2.0, threshold=0.5)
        >>> round(metric([[1.0], [1.0], [0.0]], [[0.9], [0.2], [0.7]]), 4)
        0.5
    """

    config_fields: ClassVar[tuple[str, ...]] = ("average", "beta", "threshold", "name")
    targets = "any"
    direction = "max"

    def __init__(
        self,
        average: str | None = "macro",
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.average = (
            None
            if average is None
            else _validation.choice(average, "average", ("micro", "macro", "weighted"))
        )
        self.beta = _validation.real(beta, "beta")
        if self.beta <= 0.0:
            raise ValueError(f"The `beta` argument must be above 0. Received beta={beta}.")
        self.threshold = None if threshold is None else as_threshold(threshold, "threshold")

    def engine_description(self) -> dict[str, Any]:
        """Hits, false alarms and misses of every class."""
        return {"class_name": "HitsByClass", "config": {"threshold": self.threshold}}

    def value_of(self, counts: Sequence[float]) -> Any:
        """The score, or that of each class."""
        hits, alarms, misses, _ = np.reshape(counts, (-1, 4)).T
        if self.average == "micro":
            hits, alarms, misses = (np.sum(part, keepdims=True) for part in (hits, alarms, misses))
        # Keras keeps the quotients finite by 1e-7.
        precision, recall = hits / (hits + alarms + 1e-7), hits / (hits + misses + 1e-7)
        square = self.beta**2
        scores = (1 + square) * precision * recall / (square * precision + recall + 1e-7)
        if self.average is None:
            return scores
        weights = (hits + misses) if self.average == "weighted" else np.ones(len(scores))
        return ratio(float((scores * weights).sum()), float(weights.sum()))


@REGISTRY.register()
class F1Score(FBetaScore):
    """``2 hits / (2 hits + false alarms + misses)``, class by class.

    Args:
        average: "macro" (the mean over the classes), "micro" (all classes counted together), "weighted" (by
            the targets of each class), or None for a result of each class, an array, which is Keras' default.
        threshold: outputs above it count as found; None finds the largest output of a position
            alone; a single output is found above 0.5 (0 with hinge losses).
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((3,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.F1Score(average="macro")])
        >>> x, y = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]), np.array([[1, 0, 0], [0, 0, 1]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        0.6667
    """

    config_fields: ClassVar[tuple[str, ...]] = ("average", "threshold", "name")

    def __init__(
        self, average: str | None = "macro", threshold: float | None = None, name: str | None = None
    ) -> None:
        super().__init__(average, 1.0, threshold, name)


@REGISTRY.register()
class AUC(Metric):
    """Area under a curve of hits and false alarms over thresholds, all outputs counted together.

    The thresholds are evenly spaced on [0, 1], with one below 0 and one above 1 at the ends, and the area is
    Keras': exact to the width of a bucket.

    Args:
        num_thresholds: at least 2.
        curve: "ROC" (share found over share of false alarms) or "PR" (precision over recall).
        summation_method: "interpolation", "minoring" or "majoring"; the first takes means of neighbours for
            ROC, and for PR the curve of Davis and Goadrich (2006).
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((1,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.AUC()])
        >>> x, y = np.array([[0.1], [0.4], [0.6], [0.9]]), np.array([[0], [1], [0], [1]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        0.75
    """

    config_fields = ("num_thresholds", "curve", "summation_method", "name")
    targets = "any"
    direction = "max"

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

    def _single(self) -> bool:
        return True

    def value_of(self, counts: Sequence[float]) -> float:
        """The area."""
        # At threshold i everything in bucket i and above is found; nothing is at the last.
        above = np.cumsum(np.reshape(counts, (-1, 2))[::-1], axis=0)[::-1]
        hits, alarms = np.append(above, [[0.0, 0.0]], axis=0).T
        misses, rejections = hits[0] - hits, alarms[0] - alarms
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self._interpolated(hits, alarms, misses)
        recall = quotients(hits, hits + misses)
        x = quotients(alarms, alarms + rejections) if self.curve == "ROC" else recall
        y = recall if self.curve == "ROC" else quotients(hits, hits + alarms)
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
        slope = quotients(gained, np.maximum(widened, 0))
        intercept = hits[1:] - slope * found[1:]
        both = (found[:-1] > 0) & (found[1:] > 0)
        ratio = np.where(both, quotients(found[:-1], found[1:]), 1.0)
        parts = slope * (gained + intercept * np.log(ratio))
        return float(quotients(parts, hits[1:] + misses[1:]).sum())


def quotients(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Element by element, 0 where the divisor is."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)


class _Overlap(Metric):
    """What metrics of the overlap of classes share: a table of wanted and found ones.

    Args:
        num_classes: number of classes.
        ignore_class: positions labelled so do not count.
        name: key in logs.
    """

    targets: ClassVar[Targets | Literal["any"]] = "any"
    direction = "max"

    def __init__(self, num_classes: int, ignore_class: int | None = None, name: str | None = None) -> None:
        super().__init__(name)
        self.num_classes = _validation.positive_integer(num_classes, "num_classes")
        self.ignore_class = (
            None if ignore_class is None else _validation.integer(ignore_class, "ignore_class")
        )

    def engine_description(self) -> dict[str, Any]:
        """A table of pairs of classes."""
        config = {"num_classes": self.num_classes, "ignore_class": self.ignore_class}
        return {"class_name": "Confusion", "config": {**config, "threshold": self._threshold()}}

    def _threshold(self) -> float | None:
        """What class 1 of a single output lies above; None for the default."""
        return None

    def _counted_classes(self) -> Sequence[int]:
        """The classes whose mean it is."""
        return range(self.num_classes)

    def _compared(
        self, targets: NDArray[Any], outputs: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any], bool]:
        """Outputs of the targets' shape are classes that were found, as in Keras."""
        wide, found = same_rank(targets, outputs)
        if self.targets == "any" and wide.shape == found.shape and self._threshold() is None:
            classes = range(self.num_classes)
            strange = found[(found != self.ignore_class) & ~np.isin(found, classes)]
            if strange.size:
                raise ValueError(
                    f"metric '{self.name}': expected classes from 0 to {self.num_classes - 1} in `y_pred`. "
                    f"Received {strange[0]:g}."
                )
            return wide.reshape(-1), np.asarray(found.reshape(-1, 1) == classes, np.float32), True
        return super()._compared(targets, outputs)

    def value_of(self, counts: Sequence[float]) -> float:
        """The mean."""
        table = np.reshape(counts, (self.num_classes, self.num_classes))
        hits = np.diagonal(table)
        union = table.sum(axis=0) + table.sum(axis=1) - hits
        chosen = list(self._counted_classes())
        hits, union = hits[chosen], union[chosen]
        there = union > 0
        return float(np.mean(hits[there] / union[there])) if there.any() else 0.0


@REGISTRY.register("iou")
class IoU(_Overlap):
    """Mean over some classes of ``hits / (hits + false alarms + misses)``; see `MeanIoU`.

    Args:
        num_classes: number of classes.
        target_class_ids: the classes whose mean it is.
        name: key in logs.
        ignore_class: positions labelled so do not count.

    Example:
        >>> IoU(num_classes=2, target_class_ids=[0])([0, 0, 1, 1], [0, 1, 0, 1])
        0.3333333333333333
    """

    config_fields: ClassVar[tuple[str, ...]] = ("num_classes", "target_class_ids", "name", "ignore_class")

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        ignore_class: int | None = None,
    ) -> None:
        super().__init__(num_classes, ignore_class, name)
        self.target_class_ids = class_ids(target_class_ids, self.num_classes)

    def _counted_classes(self) -> Sequence[int]:
        return self.target_class_ids


@REGISTRY.register("one_hot_iou")
class OneHotIoU(IoU):
    """`IoU` for one-hot targets.

    Args:
        num_classes: number of classes.
        target_class_ids: the classes whose mean it is.
        name: key in logs.
        ignore_class: positions of this class do not count.

    Example:
        >>> wanted, found = [[1, 0], [0, 1]], [[0.9, 0.1], [0.6, 0.4]]
        >>> OneHotIoU(num_classes=2, target_class_ids=[0])(wanted, found)
        0.5
    """

    targets = "values"


@REGISTRY.register("binary_iou")
class BinaryIoU(_Overlap):
    """Mean of ``hits / (hits + false alarms + misses)`` of a class and of what is none of it.

    Args:
        target_class_ids: 0, 1 or both: whose mean it is.
        threshold: outputs above it are of class 1.
        name: key in logs.

    Example:
        >>> BinaryIoU(threshold=0.3)([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7])
        0.3333333333333333
    """

    config_fields = ("target_class_ids", "threshold", "name")

    def __init__(
        self, target_class_ids: Sequence[int] = (0, 1), threshold: float = 0.5, name: str | None = None
    ) -> None:
        super().__init__(2, None, name)
        self.target_class_ids = class_ids(target_class_ids, 2)
        self.threshold = as_threshold(threshold, "threshold")

    def _threshold(self) -> float | None:
        return self.threshold

    def _single(self) -> bool:
        return True

    def _counted_classes(self) -> Sequence[int]:
        return self.target_class_ids


@REGISTRY.register("mean_iou")
class MeanIoU(_Overlap):
    """Mean over the classes of ``hits / (hits + false alarms + misses)``.

    Classes that occur neither among targets nor among outputs are left out.
    The class of an output is that of its largest channel; with one channel it is 1 above 0.5 (0 with hinge
    losses).

    Args:
        num_classes: number of classes.
        ignore_class: positions labelled so do not count.
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((3,)), layers.Flatten()])  # puts out what it is given
        >>> metric = gn.metrics.MeanIoU(num_classes=3)
        >>> model.compile("sgd", "sparse_categorical_crossentropy", metrics=[metric])
        >>> x, y = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]), np.array([0, 1])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        0.3333
    """

    config_fields = ("num_classes", "ignore_class", "name")


@REGISTRY.register("one_hot_mean_iou")
class OneHotMeanIoU(MeanIoU):
    """`MeanIoU` for one-hot targets.

    Args:
        num_classes: number of classes.
        ignore_class: positions of this class do not count.
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((3,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.OneHotMeanIoU(num_classes=3)])
        >>> x, y = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]), np.array([[1, 0, 0], [0, 1, 0]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        0.3333
    """

    targets = "values"
