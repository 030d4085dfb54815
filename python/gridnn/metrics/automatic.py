"""String ids whose meaning depends on the data, and `get`."""

from __future__ import annotations

from typing import overload

from gridnn import _validation
from gridnn._config import Configurable
from gridnn.metrics.accuracies import BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy
from gridnn.metrics.base import REGISTRY, Direction, Metric, Targets
from gridnn.metrics.errors import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy
from gridnn.metrics.functions import Mean, MeanMetricWrapper, Sum


class Automatic(Configurable):
    """Stands for a metric until the first targets tell which one that is."""

    config_fields = ("name",)
    name: str
    direction: Direction

    def resolve(self, *, one_channel: bool, targets: Targets) -> Metric:
        """The metric for outputs of one channel or of several, and for these targets."""
        raise NotImplementedError


class AutomaticCrossentropy(Automatic):
    """Stands for "crossentropy"."""

    direction = "min"

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

    direction = "max"

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


@overload
def get(identifier: None) -> None: ...


@overload
def get(identifier: object) -> Metric | Automatic: ...


def get(identifier: object) -> Metric | Automatic | None:
    """The metric for a string id, a description or an instance.

    "accuracy" and "acc" stand for the accuracy that suits the targets, which is known once training begins;
    "crossentropy" and "ce" for the cross-entropy. A metric given by string is logged under that string. A
    Python function ``f(y_true, y_pred)`` is a metric of its own name, unless it is one of this module, which
    stands for the metric of its name; files do not keep it. Its attribute
    `direction`, "min" or "max", tells callbacks with ``mode="auto"`` which way is better.

    Example:
        >>> get("mse")
        MeanSquaredError(name='mse')
    """
    if identifier is None or isinstance(identifier, Automatic):
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
    if type(identifier) in (Mean, Sum):
        raise TypeError(
            f"{type(identifier).__name__} takes values of yours, and a model's metrics compare targets with "
            "outputs. Call it in a loop of your own, or give a function f(y_true, y_pred)."
        )
    if isinstance(identifier, MeanMetricWrapper):
        return identifier
    own = getattr(identifier, "__module__", None) in ("gridnn.losses.functions", "gridnn.metrics.values")
    if own and callable(identifier):
        return get(getattr(identifier, "__name__", identifier))
    if callable(identifier) and not isinstance(identifier, (type, Configurable)):
        return MeanMetricWrapper(identifier)
    return REGISTRY.get(identifier)
