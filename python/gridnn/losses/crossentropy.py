"""Losses of classes and of yes-or-no targets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn.losses.base import REGISTRY
from gridnn.losses.probabilities import OfProbabilities


@REGISTRY.register()
class SparseCategoricalCrossentropy(OfProbabilities):
    """Cross-entropy between class labels and outputs: minus the log-probability of the labelled class.

    Args:
        from_logits: True: the outputs are logits; False: probabilities; None: logits unless the model's last
            activation is softmax or sigmoid.
        ignore_class: a label (it may be negative, such as -1) whose positions count neither in the loss nor
            in its mean; None counts all.
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        Outputs ``(batch, ..., classes)``; labels ``(batch, ...)`` or ``(batch, ..., 1)``, whole numbers below
        the number of classes.

    Example:
        >>> SparseCategoricalCrossentropy(from_logits=True).from_logits
        True
    """

    config_fields = ("from_logits", "ignore_class", "reduction", "name")
    targets = "labels"

    def __init__(
        self,
        from_logits: bool | None = None,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self._set_from_logits(from_logits)
        self.ignore_class = (
            None if ignore_class is None else _validation.integer(ignore_class, "ignore_class")
        )

    def _counted(self, targets: NDArray[Any]) -> NDArray[np.bool_] | None:
        return None if self.ignore_class is None else np.asarray(targets != self.ignore_class)


@REGISTRY.register()
class CategoricalCrossentropy(OfProbabilities):
    """Cross-entropy between target distributions (often one-hot) and outputs.

    Args:
        from_logits: True: the outputs are logits; False: probabilities; None: logits unless the model's last
            activation is softmax or sigmoid.
        label_smoothing: share of every target that is spread evenly over the classes, in [0, 1].
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        Outputs and targets ``(batch, ..., classes)``.

    Example:
        >>> model = gn.Sequential([gn.Input((3,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", gn.losses.CategoricalCrossentropy(from_logits=False))
        >>> x, y = np.array([[0.7, 0.2, 0.1]]), np.array([[1.0, 0.0, 0.0]])
        >>> round(model.evaluate(x, y, verbose=0), 4)
        0.3567
    """

    config_fields = ("from_logits", "label_smoothing", "reduction", "name")

    broadcasts = False

    def __init__(
        self,
        from_logits: bool | None = None,
        label_smoothing: float = 0.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self._set_from_logits(from_logits)
        self._set_label_smoothing(label_smoothing)


@REGISTRY.register()
class CategoricalFocalCrossentropy(OfProbabilities):
    """Cross-entropy that looks away from what is already right (Lin et al., 2017).

    ``sum(alpha * (1 - p)^gamma * -t log p)`` over the classes.

    Args:
        alpha: factor of all classes.
        gamma: how strongly easy positions are looked away from; 0 not at all.
        from_logits: see `CategoricalCrossentropy`.
        label_smoothing: see `CategoricalCrossentropy`.
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        Outputs and targets ``(batch, ..., classes)``.

    Example:
        >>> model = gn.Sequential([gn.Input((3,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", gn.losses.CategoricalFocalCrossentropy(from_logits=False))
        >>> x, y = np.array([[0.7, 0.2, 0.1]]), np.array([[1.0, 0.0, 0.0]])
        >>> round(model.evaluate(x, y, verbose=0), 4)
        0.008
    """

    config_fields = ("alpha", "gamma", "from_logits", "label_smoothing", "reduction", "name")

    broadcasts = False

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool | None = None,
        label_smoothing: float = 0.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self.alpha = _validation.real(alpha, "alpha", low=0.0)
        self.gamma = _validation.real(gamma, "gamma", low=0.0)
        self._set_from_logits(from_logits)
        self._set_label_smoothing(label_smoothing)


@REGISTRY.register("bce", "BCE")
class BinaryCrossentropy(OfProbabilities):
    """Mean over the last axis of the cross-entropy of independent yes-or-no targets.

    ``-(t log p + (1 - t) log(1 - p))``.

    Args:
        from_logits: True: the outputs are logits of a sigmoid; False: probabilities; None: logits unless the
            model's last activation is softmax or sigmoid.
        label_smoothing: share of every target that is replaced by 1/2, in [0, 1].
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        Outputs and targets of the same shape; targets ``(batch,)`` match outputs ``(batch, 1)``.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", gn.losses.BinaryCrossentropy(from_logits=False))
        >>> x, y = np.array([[0.9, 0.2]]), np.array([[1.0, 0.0]])
        >>> round(model.evaluate(x, y, verbose=0), 4)
        0.1643
    """

    always_sigmoid = True

    config_fields = ("from_logits", "label_smoothing", "reduction", "name")

    broadcasts = False

    def __init__(
        self,
        from_logits: bool | None = None,
        label_smoothing: float = 0.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self._set_from_logits(from_logits)
        self._set_label_smoothing(label_smoothing)


@REGISTRY.register()
class BinaryFocalCrossentropy(OfProbabilities):
    """Binary cross-entropy that looks away from what is already right (Lin et al., 2017).

    ``(1 - q)^gamma`` times the binary cross-entropy, ``q = t p + (1 - t)(1 - p)``; mean over the last axis.

    Args:
        apply_class_balancing: weigh targets of 1 by `alpha` and of 0 by ``1 - alpha``.
        alpha: that weight, in [0, 1].
        gamma: how strongly easy positions are looked away from; 0 not at all.
        from_logits: see `BinaryCrossentropy`.
        label_smoothing: see `BinaryCrossentropy`.
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        As `BinaryCrossentropy`.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", gn.losses.BinaryFocalCrossentropy(from_logits=False))
        >>> x, y = np.array([[0.9, 0.2]]), np.array([[1.0, 0.0]])
        >>> round(model.evaluate(x, y, verbose=0), 4)
        0.005
    """

    always_sigmoid = True

    config_fields = (
        "apply_class_balancing",
        "alpha",
        "gamma",
        "from_logits",
        "label_smoothing",
        "reduction",
        "name",
    )

    broadcasts = False

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool | None = None,
        label_smoothing: float = 0.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self.apply_class_balancing = _validation.boolean(apply_class_balancing, "apply_class_balancing")
        self.alpha = _validation.real(alpha, "alpha", low=0.0, high=1.0)
        self.gamma = _validation.real(gamma, "gamma", low=0.0)
        self._set_from_logits(from_logits)
        self._set_label_smoothing(label_smoothing)
