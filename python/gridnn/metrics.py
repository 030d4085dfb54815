"""Metrics, as descriptions; the engine counts and `fit` and `evaluate` divide.

A metric compares outputs either with class labels (whole numbers) or with values of the outputs' own shape.
Metrics see
probabilities: where the loss works on logits they are converted first. Like Keras' ``metrics=`` they are not
weighted.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from gridnn import _validation
from gridnn._config import Configurable, Registry, snake_case

__all__ = [
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "SparseCategoricalAccuracy",
    "get",
]

Targets = Literal["labels", "values"]


class Metric(Configurable):
    """Base of all metrics.

    Args:
        name: its key in logs; None takes the class name in snake case.
    """

    config_fields: ClassVar[tuple[str, ...]] = ("name",)
    targets: ClassVar[Targets]

    def __init__(self, name: str | None = None) -> None:
        self.name = _validation.object_name(name) or snake_case(type(self).__name__)

    def engine_config(self) -> dict[str, Any]:
        """The configuration without the name, which only logs need."""
        config = super().engine_config()
        del config["name"]
        return config


REGISTRY: Registry[Metric] = Registry("metric", Metric)


@REGISTRY.register("sparse_categorical_accuracy")
class SparseCategoricalAccuracy(Metric):
    """How often the class with the largest output is the labelled one.

    Args:
        name: key in logs.
    """

    targets = "labels"


@REGISTRY.register("categorical_accuracy")
class CategoricalAccuracy(Metric):
    """How often the class with the largest output is the one with the largest target.

    Args:
        name: key in logs.
    """

    targets = "values"


@REGISTRY.register("binary_accuracy")
class BinaryAccuracy(Metric):
    """How often an output lies on the same side of a threshold as its target, which is 0 or 1.

    Args:
        threshold: outputs above it count as 1.
        name: key in logs.
    """

    config_fields = ("threshold", "name")
    targets = "values"

    def __init__(self, threshold: float = 0.5, name: str | None = None) -> None:
        super().__init__(name)
        self.threshold = _validation.real(threshold, "threshold", low=0.0, high=1.0)


@REGISTRY.register("mean_squared_error", "mse", "MSE")
class MeanSquaredError(Metric):
    """Mean squared difference.

    Args:
        name: key in logs.
    """

    targets = "values"


@REGISTRY.register("mean_absolute_error", "mae", "MAE")
class MeanAbsoluteError(Metric):
    """Mean absolute difference.

    Args:
        name: key in logs.
    """

    targets = "values"


class AutomaticAccuracy(Configurable):
    """Stands for "accuracy" until the first targets tell which accuracy that is."""

    config_fields = ("name",)

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


def get(identifier: object) -> Metric | AutomaticAccuracy:
    """The metric for a string id, a description or an instance.

    "accuracy" and "acc" stand for the accuracy that suits the targets, which is known once training begins. A
    metric given by string is logged under that string.

    Example:
        >>> get("mse")
        MeanSquaredError(name='mse')
    """
    if isinstance(identifier, AutomaticAccuracy):
        return identifier
    if isinstance(identifier, dict) and identifier.get("class_name") == AutomaticAccuracy.__name__:
        return AutomaticAccuracy.from_config(identifier.get("config", {}))
    if isinstance(identifier, str):
        if identifier.lower() in ("accuracy", "acc"):
            return AutomaticAccuracy(identifier)
        return REGISTRY.deserialize({"class_name": identifier, "config": {"name": identifier}})
    return REGISTRY.get(identifier)
