"""String ids whose meaning depends on the data, and `get`."""

from __future__ import annotations

from typing import overload

from gridnn._config import Configurable
from gridnn.losses.base import REGISTRY, Loss
from gridnn.losses.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)
from gridnn.metrics.base import Targets


class AutomaticCrossentropy(Configurable):
    """Stands for "crossentropy" until the first targets tell which one that is."""

    def resolve(self, *, one_channel: bool, targets: Targets, probabilities: bool) -> Loss:
        """Keras' rule: binary for one output channel, else by whether targets are labels or one-hot."""
        loss: Loss
        if one_channel:
            loss = BinaryCrossentropy()
        elif targets == "labels":
            loss = SparseCategoricalCrossentropy()
        else:
            loss = CategoricalCrossentropy()
        return loss.resolve(probabilities=probabilities)


@overload
def get(identifier: None) -> None: ...


@overload
def get(identifier: object) -> Loss | AutomaticCrossentropy: ...


def get(identifier: object) -> Loss | AutomaticCrossentropy | None:
    """The loss for a string id, a description, an instance, or a function of this module.

    String ids are class names, their snake-case forms and Keras' short ones ("mse", "bce", "KLD", ...);
    "crossentropy" and "ce" stand for the cross-entropy that suits the targets, which is known once training
    begins.

    Example:
        >>> get("mse")
        MeanSquaredError(reduction='sum_over_batch_size')
    """
    if identifier is None or isinstance(identifier, AutomaticCrossentropy):
        return identifier
    if isinstance(identifier, dict) and identifier.get("class_name") == AutomaticCrossentropy.__name__:
        return AutomaticCrossentropy.from_config(identifier.get("config", {}))
    if isinstance(identifier, str) and identifier.lower() in ("crossentropy", "ce"):
        return AutomaticCrossentropy()
    if getattr(identifier, "__module__", None) == "gridnn.losses.functions" and callable(identifier):
        return REGISTRY.get(getattr(identifier, "__name__", identifier))
    if isinstance(identifier, Loss) and REGISTRY.accepts(type(identifier)):
        if type(identifier).gradient is Loss.gradient:
            raise TypeError(f"{identifier.label} has `call` but no `gradient`, which training needs.")
        return identifier
    return REGISTRY.get(identifier)
