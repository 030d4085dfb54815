"""Counts of right and wrong decisions, and what one share can be where another is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn.metrics.base import REGISTRY, Direction, Metric, as_threshold, as_thresholds, optional_index
from gridnn.metrics.hits import quotients

Counts = NDArray[np.float64]


class _Count(Metric):
    """One of the four counts of decisions.

    Args:
        thresholds: outputs above it count as found; None is 0.5 (0 with hinge losses). With a list there is a
            count for each.
        name: key in logs.
    """

    config_fields = ("thresholds", "name")
    targets = "any"
    _number: ClassVar[int]

    def __init__(self, thresholds: float | Sequence[float] | None = None, name: str | None = None) -> None:
        super().__init__(name)
        self.thresholds = as_thresholds(thresholds)

    def engine_description(self) -> dict[str, Any]:
        """All four counts."""
        thresholds = () if self.thresholds is None else np.atleast_1d(self.thresholds)
        config = {"thresholds": list(thresholds), "top_k": None, "class_id": None}
        return {"class_name": "Hits", "config": config}

    def _single(self) -> bool:
        return True

    def value_of(self, counts: Sequence[float]) -> Any:
        """The count, or one for each threshold."""
        found = np.reshape(counts, (-1, 4))[:, self._number]
        return found if isinstance(self.thresholds, list) else float(found[0])


@REGISTRY.register()
class TruePositives(_Count):
    """What was found and is right.

    Args:
        thresholds: outputs above it count as found; None is 0.5 (0 with hinge losses). With a list there is a
            count for each, in an array.
        name: key in logs.

    Example:
        >>> TruePositives()([0, 1, 1, 1], [0.2, 0.9, 0.4, 0.8])
        2.0
    """

    direction: Direction | None = "max"
    _number = 0


@REGISTRY.register()
class FalsePositives(_Count):
    """What was found and is wrong.

    Args:
        thresholds: see `TruePositives`.
        name: key in logs.

    Example:
        >>> FalsePositives(thresholds=[0.1, 0.5])([0, 0, 1], [0.2, 0.9, 0.4]).tolist()
        [2.0, 1.0]
    """

    direction: Direction | None = "min"
    _number = 1


@REGISTRY.register()
class FalseNegatives(_Count):
    """What was missed.

    Args:
        thresholds: see `TruePositives`.
        name: key in logs.

    Example:
        >>> FalseNegatives()([0, 1, 1], [0.2, 0.9, 0.4])
        1.0
    """

    direction: Direction | None = "min"
    _number = 2


@REGISTRY.register()
class TrueNegatives(_Count):
    """What was rightly not found.

    Args:
        thresholds: see `TruePositives`.
        name: key in logs.

    Example:
        >>> TrueNegatives()([0, 0, 1], [0.2, 0.9, 0.4])
        1.0
    """

    direction: Direction | None = "max"
    _number = 3


class _BestUnder(Metric):
    """The largest share over thresholds at which another one is at least what was asked for; 0 if none is.

    Args:
        value: the least value of the other share, from 0 to 1.
        num_thresholds: evenly spaced thresholds from 0 to 1 to look at; 1 is that of 0.5.
        class_id: look at this output alone; None counts all outputs together.
        name: key in logs.
    """

    config_fields: ClassVar[tuple[str, ...]]
    targets = "any"
    direction: Direction | None = "max"

    def __init__(self, num_thresholds: int, class_id: int | None, name: str | None) -> None:
        super().__init__(name)
        self.num_thresholds = _validation.positive_integer(num_thresholds, "num_thresholds")
        self.class_id = optional_index(class_id, "class_id", 0)

    def engine_description(self) -> dict[str, Any]:
        """The four counts for every threshold."""
        number = self.num_thresholds
        # At the first of several everything counts as found, as in Keras.
        steps = [-1.0, *(i / (number - 1) for i in range(1, number))] if number > 1 else [0.5]
        config = {"thresholds": steps, "top_k": None, "class_id": self.class_id}
        return {"class_name": "Hits", "config": config}

    def _single(self) -> bool:
        return self.class_id is None

    def value_of(self, counts: Sequence[float]) -> float:
        """The share."""
        given, wanted, least = self._shares(*np.reshape(counts, (-1, 4)).T)
        allowed = wanted[given >= least]
        return float(allowed.max()) if allowed.size else 0.0

    def _shares(
        self, hits: Counts, alarms: Counts, misses: Counts, rejections: Counts
    ) -> tuple[Counts, Counts, float]:
        """The share that is given, the one that is wanted, and the least value of the first."""
        raise NotImplementedError


@REGISTRY.register()
class PrecisionAtRecall(_BestUnder):
    """The best precision at thresholds where recall is at least as given.

    Args:
        recall: from 0 to 1.
        num_thresholds: evenly spaced thresholds from 0 to 1 to look at; 1 is that of 0.5.
        class_id: look at this output alone; None counts all outputs together.
        name: key in logs.

    Example:
        >>> PrecisionAtRecall(0.5)([0, 0, 0, 1, 1], [0.0, 0.3, 0.8, 0.3, 0.8])
        0.5
    """

    config_fields = ("recall", "num_thresholds", "class_id", "name")

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(num_thresholds, class_id, name)
        self.recall = as_threshold(recall, "recall")

    def _shares(
        self, hits: Counts, alarms: Counts, misses: Counts, rejections: Counts
    ) -> tuple[Counts, Counts, float]:
        return quotients(hits, hits + misses), quotients(hits, hits + alarms), self.recall


@REGISTRY.register()
class RecallAtPrecision(_BestUnder):
    """The best recall at thresholds where precision is at least as given.

    Args:
        precision: from 0 to 1.
        num_thresholds: see `PrecisionAtRecall`.
        class_id: see `PrecisionAtRecall`.
        name: key in logs.

    Example:
        >>> RecallAtPrecision(0.8)([0, 0, 1, 1], [0.0, 0.5, 0.3, 0.9])
        0.5
    """

    config_fields = ("precision", "num_thresholds", "class_id", "name")

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(num_thresholds, class_id, name)
        self.precision = as_threshold(precision, "precision")

    def _shares(
        self, hits: Counts, alarms: Counts, misses: Counts, rejections: Counts
    ) -> tuple[Counts, Counts, float]:
        return quotients(hits, hits + alarms), quotients(hits, hits + misses), self.precision


@REGISTRY.register()
class SensitivityAtSpecificity(_BestUnder):
    """The best sensitivity, ``hits / (hits + misses)``, at thresholds where specificity is at least as given.

    Args:
        specificity: from 0 to 1.
        num_thresholds: see `PrecisionAtRecall`.
        class_id: see `PrecisionAtRecall`.
        name: key in logs.

    Example:
        >>> SensitivityAtSpecificity(0.5)([0, 0, 0, 1, 1], [0.0, 0.3, 0.8, 0.3, 0.8])
        0.5
    """

    config_fields = ("specificity", "num_thresholds", "class_id", "name")

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(num_thresholds, class_id, name)
        self.specificity = as_threshold(specificity, "specificity")

    def _shares(
        self, hits: Counts, alarms: Counts, misses: Counts, rejections: Counts
    ) -> tuple[Counts, Counts, float]:
        return quotients(rejections, rejections + alarms), quotients(hits, hits + misses), self.specificity


@REGISTRY.register()
class SpecificityAtSensitivity(_BestUnder):
    """The best specificity, ``rejections / (rejections + alarms)``, where sensitivity is at least as given.

    Args:
        sensitivity: from 0 to 1.
        num_thresholds: see `PrecisionAtRecall`.
        class_id: see `PrecisionAtRecall`.
        name: key in logs.

    Example:
        >>> round(SpecificityAtSensitivity(0.5)([0, 0, 0, 1, 1], [0.0, 0.3, 0.8, 0.3, 0.8]), 4)
        0.6667
    """

    config_fields = ("sensitivity", "num_thresholds", "class_id", "name")

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(num_thresholds, class_id, name)
        self.sensitivity = as_threshold(sensitivity, "sensitivity")

    def _shares(
        self, hits: Counts, alarms: Counts, misses: Counts, rejections: Counts
    ) -> tuple[Counts, Counts, float]:
        return quotients(hits, hits + misses), quotients(rejections, rejections + alarms), self.sensitivity
