"""How often outputs name the right class."""

from __future__ import annotations

from typing import Any

from gridnn import _validation
from gridnn.metrics.base import REGISTRY, Metric, as_threshold


@REGISTRY.register()
class Accuracy(Metric):
    """How often an output equals its target, as the same number.

    The string "accuracy" does not stand for it, but for the accuracy that suits the loss.

    Args:
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((1,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.Accuracy()])
        >>> x, y = np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [2.0], [4.0]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        0.6667
    """

    direction = "max"
    averages = True

    def _single(self) -> bool:
        return True


@REGISTRY.register()
class CategoricalAccuracy(Metric):
    """How often the class with the largest output is the one with the largest target.

    A single output means class 1 above 0.5 (0 with hinge losses), else class 0.

    Args:
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((3,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.CategoricalAccuracy()])
        >>> x, y = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]), np.array([[1, 0, 0], [0, 1, 0]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        0.5
    """

    direction = "max"
    averages = True


@REGISTRY.register()
class SparseCategoricalAccuracy(Metric):
    """How often the class with the largest output is the labelled one.

    Args:
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((3,)), layers.Flatten()])  # puts out what it is given
        >>> metric = gn.metrics.SparseCategoricalAccuracy()
        >>> model.compile("sgd", "sparse_categorical_crossentropy", metrics=[metric])
        >>> x, y = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]), np.array([0, 1])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        0.5
    """

    targets = "labels"
    direction = "max"
    averages = True

    def engine_description(self) -> dict[str, Any]:
        """That of `CategoricalAccuracy`: the engine spreads labels out."""
        return {"class_name": "CategoricalAccuracy", "config": {}}


@REGISTRY.register()
class BinaryAccuracy(Metric):
    """How often an output lies on the same side of a threshold as its target, which is 0 or 1.

    With hinge losses, whose labels may be -1 and 1 as well, the sign of the target says its side.

    Args:
        threshold: outputs above it count as 1; with hinge losses 0.5 stands for 0.
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((1,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.BinaryAccuracy()])
        >>> x, y = np.array([[0.1], [0.4], [0.6]]), np.array([[0], [1], [1]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        0.6667
    """

    config_fields = ("threshold", "name")
    direction = "max"
    averages = True

    def __init__(self, threshold: float = 0.5, name: str | None = None) -> None:
        super().__init__(name)
        self.threshold = as_threshold(threshold, "threshold")

    def engine_config(self) -> dict[str, Any]:
        """None for the middle, which depends on the loss."""
        return {"threshold": None if self.threshold == 0.5 else self.threshold}

    def _single(self) -> bool:
        return True


@REGISTRY.register()
class TopKCategoricalAccuracy(Metric):
    """How often the class with the largest target is among the k with the largest outputs.

    Args:
        k: how many.
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((3,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", "mse", metrics=[gn.metrics.TopKCategoricalAccuracy(k=2)])
        >>> x, y = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]), np.array([[1, 0, 0], [0, 1, 0]])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        1.0
    """

    config_fields = ("k", "name")
    direction = "max"
    averages = True

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        super().__init__(name)
        self.k = _validation.positive_integer(k, "k")

    def engine_description(self) -> dict[str, Any]:
        """The same for labels: the engine spreads them out."""
        return {"class_name": "TopKCategoricalAccuracy", "config": self.engine_config()}


@REGISTRY.register()
class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """How often the labelled class is among the k with the largest outputs.

    Args:
        k: how many.
        name: key in logs.

    Example:
        >>> model = gn.Sequential([gn.Input((3,)), layers.Flatten()])  # puts out what it is given
        >>> metric = gn.metrics.SparseTopKCategoricalAccuracy(k=2)
        >>> model.compile("sgd", "sparse_categorical_crossentropy", metrics=[metric])
        >>> x, y = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]), np.array([0, 1])
        >>> _, value = model.evaluate(x, y, verbose=0)
        >>> round(value, 4)
        1.0
    """

    targets = "labels"
