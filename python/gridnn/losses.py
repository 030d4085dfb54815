"""Losses, as descriptions; value and gradient are computed in the engine.

A loss compares outputs either with class labels (whole numbers, one less axis than the outputs) or with
values of the outputs' own shape.
"""

from __future__ import annotations

from typing import ClassVar

from gridnn import _validation
from gridnn._config import Configurable, Registry
from gridnn.metrics import Targets

__all__ = [
    "CategoricalCrossentropy",
    "Loss",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "get",
]

_REDUCTIONS = ("sum_over_batch_size", "sum")


class Loss(Configurable):
    """Base of all losses.

    Args:
        reduction: "sum_over_batch_size" (the mean over the batch) or "sum". With sample weights w the first
            is ``sum(loss * w) / count``, not ``/ sum(w)``.
    """

    config_fields: ClassVar[tuple[str, ...]] = ("reduction",)
    targets: ClassVar[Targets]

    def __init__(self, reduction: str = "sum_over_batch_size") -> None:
        self.reduction = _validation.choice(reduction, "reduction", _REDUCTIONS)

    def resolve(self, *, probabilities: bool) -> Loss:
        """This loss with every choice made that depends on the model.

        Args:
            probabilities: whether the model ends in softmax or sigmoid.
        """
        return self


class _Crossentropy(Loss):
    """What cross-entropies share: outputs that are logits or probabilities."""

    from_logits: bool | None

    def _set_from_logits(self, from_logits: bool | None) -> None:
        self.from_logits = None if from_logits is None else _validation.boolean(from_logits, "from_logits")

    def resolve(self, *, probabilities: bool) -> Loss:
        """The same loss with `from_logits` decided: logits unless the model ends in softmax or sigmoid."""
        if self.from_logits is not None:
            return self
        return type(self).from_config({**self.get_config(), "from_logits": not probabilities})


REGISTRY: Registry[Loss] = Registry("loss", Loss)


@REGISTRY.register("sparse_categorical_crossentropy")
class SparseCategoricalCrossentropy(_Crossentropy):
    """Cross-entropy between class labels and outputs: minus the log-probability of the labelled class.

    Args:
        from_logits: True: the outputs are logits; False: probabilities; None: logits unless the model's last
            activation is softmax or sigmoid.
        ignore_class: a label (it may be negative, such as -1) whose positions count neither in the loss nor
            in its mean; None counts all.
        reduction: see `Loss`.

    Input shape:
        Outputs ``(batch, ..., classes)``; labels ``(batch, ...)`` or ``(batch, ..., 1)``, whole numbers below
        the number of classes.

    Example:
        >>> SparseCategoricalCrossentropy(from_logits=True).from_logits
        True
    """

    config_fields = ("from_logits", "ignore_class", "reduction")
    targets = "labels"

    def __init__(
        self,
        from_logits: bool | None = None,
        ignore_class: int | None = None,
        reduction: str = "sum_over_batch_size",
    ) -> None:
        super().__init__(reduction)
        self._set_from_logits(from_logits)
        self.ignore_class = (
            None if ignore_class is None else _validation.integer(ignore_class, "ignore_class")
        )


@REGISTRY.register("categorical_crossentropy")
class CategoricalCrossentropy(_Crossentropy):
    """Cross-entropy between target distributions (often one-hot) and outputs.

    Args:
        from_logits: True: the outputs are logits; False: probabilities; None: logits unless the model's last
            activation is softmax or sigmoid.
        label_smoothing: share of every target that is spread evenly over the classes, in [0, 1].
        reduction: see `Loss`.

    Input shape:
        Outputs and targets ``(batch, ..., classes)``.
    """

    config_fields = ("from_logits", "label_smoothing", "reduction")
    targets = "values"

    def __init__(
        self,
        from_logits: bool | None = None,
        label_smoothing: float = 0.0,
        reduction: str = "sum_over_batch_size",
    ) -> None:
        super().__init__(reduction)
        self._set_from_logits(from_logits)
        self.label_smoothing = _validation.real(label_smoothing, "label_smoothing", low=0.0, high=1.0)


@REGISTRY.register("mean_squared_error", "mse", "MSE")
class MeanSquaredError(Loss):
    """Mean over the last axis of the squared difference.

    Args:
        reduction: see `Loss`.

    Input shape:
        Outputs and targets of the same shape; targets ``(batch,)`` match outputs ``(batch, 1)``.
    """

    targets = "values"


class AutomaticCrossentropy(Configurable):
    """Stands for "crossentropy" until the first targets tell which one that is."""

    def resolve(self, *, one_channel: bool, targets: Targets, probabilities: bool) -> Loss:
        """Keras' rule: binary for one output channel, else by whether targets are labels or one-hot."""
        if one_channel:
            raise ValueError(
                "loss 'crossentropy' on a model with one output channel means binary cross-entropy, which "
                "is not among the losses of this version; give the model one output channel per class, or "
                "another loss."
            )
        loss = SparseCategoricalCrossentropy() if targets == "labels" else CategoricalCrossentropy()
        return loss.resolve(probabilities=probabilities)


def get(identifier: object) -> Loss | AutomaticCrossentropy:
    """The loss for a string id, a description or an instance.

    String ids are class names, their snake-case forms, "mse" and "MSE"; "crossentropy" and "ce" stand for the
    cross-entropy that suits the targets, which is known once training begins.

    Example:
        >>> get("mse")
        MeanSquaredError(reduction='sum_over_batch_size')
    """
    if isinstance(identifier, AutomaticCrossentropy):
        return identifier
    if isinstance(identifier, dict) and identifier.get("class_name") == AutomaticCrossentropy.__name__:
        return AutomaticCrossentropy.from_config(identifier.get("config", {}))
    if isinstance(identifier, str) and identifier.lower() in ("crossentropy", "ce"):
        return AutomaticCrossentropy()
    return REGISTRY.get(identifier)
