"""Losses, as descriptions; value and gradient are computed in the engine.

A loss compares outputs either with class labels (whole numbers, one less axis than the outputs) or with
values of the outputs' own shape. Names, defaults and formulas are Keras' (3.15); classes and channels are the
last axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._config import Configurable, Registry
from gridnn.metrics import Targets

__all__ = [
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "Dice",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "Tversky",
    "get",
]

_REDUCTIONS = ("sum_over_batch_size", "sum")


class Loss(Configurable):
    """Base of all losses, and of those that you write in Python.

    A loss of your own is a subclass with `call` and `gradient`, in NumPy. It is slower than the built-in
    ones: the outputs are copied and the engine waits while Python computes. Its class attribute `targets`
    says whether it compares with "values" of the outputs' shape (the default) or with class "labels"; further
    arguments of its constructor go into `config_fields` and into attributes of their names. A file keeps its
    name and its arguments, never its code: define or import the class before `load_model`.

    Args:
        reduction: "sum_over_batch_size" (the mean over the batch) or "sum". With sample weights w the first
            is ``sum(loss * w) / count``, not ``/ sum(w)``.
        name: name of the loss.

    Example:
        >>> class Quartic(Loss):
        ...     def call(self, y_true, y_pred):
        ...         return ((y_pred - y_true) ** 4).mean(axis=-1)
        ...     def gradient(self, y_true, y_pred):
        ...         return 4 * (y_pred - y_true) ** 3 / y_pred.shape[-1]
        >>> Quartic().in_python
        True
    """

    config_fields: ClassVar[tuple[str, ...]] = ("reduction", "name")
    targets: ClassVar[Targets] = "values"

    def __init__(self, reduction: str = "sum_over_batch_size", name: str | None = None) -> None:
        self.reduction = _validation.choice(reduction, "reduction", _REDUCTIONS)
        self.name = _validation.object_name(name)

    def resolve(self, *, probabilities: bool) -> Loss:
        """This loss with every choice made that depends on the model.

        Args:
            probabilities: whether the model ends in softmax or sigmoid.
        """
        return self

    def call(self, y_true: NDArray[Any], y_pred: NDArray[np.float64]) -> NDArray[np.float64]:
        """Loss values, for losses written in Python; a value that is not finite refuses the step.

        Args:
            y_true: targets of a batch: values of shape ``y_pred.shape``, or labels without the last axis.
            y_pred: outputs of the batch.

        Returns:
            Values of shape ``(batch, ...)``: one or several of every sample. The loss is their mean or sum.
        """
        raise NotImplementedError(f"{self.label} is computed in the engine.")

    def gradient(self, y_true: NDArray[Any], y_pred: NDArray[np.float64]) -> NDArray[np.float64]:
        """Derivative of the sum of the values of `call` by `y_pred`, in its shape; weights come later."""
        raise NotImplementedError(f"{self.label} is computed in the engine.")

    @property
    def in_python(self) -> bool:
        """Whether `call` and `gradient` are the user's."""
        return type(self).call is not Loss.call

    def as_metric_input(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """The outputs as metrics see them: probabilities where the loss works on logits."""
        return outputs

    def engine_description(self) -> dict[str, Any]:
        """What the engine is told: of a loss in Python only whether its targets are labels."""
        if self.in_python:
            return {"class_name": "Outside", "config": {"sparse": self.targets == "labels"}}
        return super().engine_description()

    def engine_config(self) -> dict[str, Any]:
        """The configuration without the reduction, which the engine is told apart, and the name."""
        config = super().engine_config()
        del config["reduction"], config["name"]
        return config

    def __repr__(self) -> str:
        fields = [field for field in self.config_fields if field != "name" or self.name is not None]
        return f"{type(self).__name__}({', '.join(f'{field}={getattr(self, field)!r}' for field in fields)})"


class _Crossentropy(Loss):
    """What cross-entropies share: outputs that are logits or probabilities."""

    from_logits: bool | None

    def _set_from_logits(self, from_logits: bool | None) -> None:
        self.from_logits = None if from_logits is None else _validation.boolean(from_logits, "from_logits")

    def _set_label_smoothing(self, label_smoothing: float) -> None:
        self.label_smoothing = _validation.real(label_smoothing, "label_smoothing", low=0.0, high=1.0)

    def resolve(self, *, probabilities: bool) -> Loss:
        """The same loss with `from_logits` decided: logits unless the model ends in softmax or sigmoid."""
        if self.from_logits is not None:
            return self
        return type(self).from_config({**self.get_config(), "from_logits": not probabilities})

    def as_metric_input(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities: a sigmoid of every output, or a softmax over the last axis."""
        if not self.from_logits:
            return outputs
        if isinstance(self, (BinaryCrossentropy, BinaryFocalCrossentropy)):
            return 0.5 * (1.0 + np.tanh(0.5 * outputs))
        exponentials = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


REGISTRY: Registry[Loss] = Registry("loss", Loss)


# Classes


@REGISTRY.register("sparse_categorical_crossentropy")
class SparseCategoricalCrossentropy(_Crossentropy):
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
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
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
        name: see `Loss`.

    Input shape:
        Outputs and targets ``(batch, ..., classes)``.
    """

    config_fields = ("from_logits", "label_smoothing", "reduction", "name")

    def __init__(
        self,
        from_logits: bool | None = None,
        label_smoothing: float = 0.0,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self._set_from_logits(from_logits)
        self._set_label_smoothing(label_smoothing)


@REGISTRY.register("categorical_focal_crossentropy")
class CategoricalFocalCrossentropy(_Crossentropy):
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
    """

    config_fields = ("alpha", "gamma", "from_logits", "label_smoothing", "reduction", "name")

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool | None = None,
        label_smoothing: float = 0.0,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self.alpha = _validation.real(alpha, "alpha", low=0.0)
        self.gamma = _validation.real(gamma, "gamma", low=0.0)
        self._set_from_logits(from_logits)
        self._set_label_smoothing(label_smoothing)


@REGISTRY.register("binary_crossentropy", "bce", "BCE")
class BinaryCrossentropy(_Crossentropy):
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
    """

    config_fields = ("from_logits", "label_smoothing", "reduction", "name")

    def __init__(
        self,
        from_logits: bool | None = None,
        label_smoothing: float = 0.0,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self._set_from_logits(from_logits)
        self._set_label_smoothing(label_smoothing)


@REGISTRY.register("binary_focal_crossentropy")
class BinaryFocalCrossentropy(_Crossentropy):
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
    """

    config_fields = (
        "apply_class_balancing",
        "alpha",
        "gamma",
        "from_logits",
        "label_smoothing",
        "reduction",
        "name",
    )

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool | None = None,
        label_smoothing: float = 0.0,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self.apply_class_balancing = _validation.boolean(apply_class_balancing, "apply_class_balancing")
        self.alpha = _validation.real(alpha, "alpha", low=0.0, high=1.0)
        self.gamma = _validation.real(gamma, "gamma", low=0.0)
        self._set_from_logits(from_logits)
        self._set_label_smoothing(label_smoothing)


# Numbers


@REGISTRY.register("mean_squared_error", "mse", "MSE")
class MeanSquaredError(Loss):
    """Mean over the last axis of the squared difference.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        Outputs and targets of the same shape; targets ``(batch,)`` match outputs ``(batch, 1)``.
    """


@REGISTRY.register("mean_absolute_error", "mae", "MAE")
class MeanAbsoluteError(Loss):
    """Mean over the last axis of the absolute difference; its gradient at 0 is 0.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        As `MeanSquaredError`.
    """


@REGISTRY.register("mean_absolute_percentage_error", "mape", "MAPE")
class MeanAbsolutePercentageError(Loss):
    """Mean over the last axis of ``100 |t - p| / max(|t|, 1e-7)``.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        As `MeanSquaredError`.
    """


@REGISTRY.register("mean_squared_logarithmic_error", "msle", "MSLE")
class MeanSquaredLogarithmicError(Loss):
    """Mean over the last axis of ``(log(t + 1) - log(p + 1))^2``, both taken as 1e-7 at least.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        As `MeanSquaredError`.
    """


@REGISTRY.register("huber")
class Huber(Loss):
    """Squared near 0, straight beyond `delta`; mean over the last axis.

    ``d^2 / 2`` where ``|d| <= delta``, else ``delta |d| - delta^2 / 2``.

    Args:
        delta: where the change is.
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        As `MeanSquaredError`.
    """

    config_fields = ("delta", "reduction", "name")

    def __init__(
        self, delta: float = 1.0, reduction: str = "sum_over_batch_size", name: str | None = None
    ) -> None:
        super().__init__(reduction, name)
        self.delta = _validation.real(delta, "delta", low=0.0)


@REGISTRY.register("log_cosh")
class LogCosh(Loss):
    """Mean over the last axis of ``log(cosh(p - t))``.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        As `MeanSquaredError`.
    """


@REGISTRY.register("poisson")
class Poisson(Loss):
    """Mean over the last axis of ``p - t log(p + 1e-7)``, for counts t.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        As `MeanSquaredError`; outputs not negative.
    """


@REGISTRY.register("kl_divergence", "kld", "KLD")
class KLDivergence(Loss):
    """``sum(t log(t / p))`` over the last axis, both clipped to [1e-7, 1].

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        Outputs and targets ``(batch, ..., classes)``, distributions both.
    """


@REGISTRY.register("cosine_similarity")
class CosineSimilarity(Loss):
    """Minus the cosine of the angle between targets and outputs along the last axis.

    -1 for the same direction, 0 for a right angle.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        As `MeanSquaredError`.
    """


# Margins


@REGISTRY.register("hinge")
class Hinge(Loss):
    """Mean over the last axis of ``max(1 - t p, 0)``, with targets -1 and 1.

    Targets that are all 0 or 1 in a batch stand for -1 and 1.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        As `MeanSquaredError`.
    """


@REGISTRY.register("squared_hinge")
class SquaredHinge(Loss):
    """Mean over the last axis of ``max(1 - t p, 0)^2``, with targets -1 and 1, or 0 and 1 as in `Hinge`.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        As `MeanSquaredError`.
    """


@REGISTRY.register("categorical_hinge")
class CategoricalHinge(Loss):
    """``max(wrong - right + 1, 0)`` of a position.

    `right` is ``sum(t p)``, `wrong` the largest ``(1 - t) p``.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        Outputs and targets ``(batch, ..., classes)``.
    """


# Overlap


def _axes(axis: int | Sequence[int] | None) -> tuple[int, ...] | None:
    if axis is None:
        return None
    axes = axis if isinstance(axis, Sequence) else (axis,)
    return tuple(_validation.integer(number, "axis") for number in axes)


@REGISTRY.register("dice")
class Dice(Loss):
    """One minus the Dice coefficient: ``1 - 2 sum(t p) / (sum(t) + sum(p) + 1e-7)``.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.
        axis: axes that are summed over, 0 being the batch; None is all of them, which makes one number of a
            batch. With ``axis=(1, 2, 3)`` every image has its own, with ``(0, 1, 2)`` every channel. Where
            the batch is summed over, sample weights act by their mean.

    Input shape:
        Outputs and targets of the same shape, probabilities.
    """

    config_fields = ("reduction", "name", "axis")

    def __init__(
        self,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
        axis: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self.axis = _axes(axis)


@REGISTRY.register("tversky")
class Tversky(Loss):
    """One minus the Tversky index: ``1 - I / (I + alpha sum(t (1 - p)) + beta sum((1 - t) p) + 1e-7)``.

    ``I = sum(t p)`` (Salehi et al., 2017). With both factors 1/2 it is the Dice coefficient.

    Args:
        alpha: price of what was missed (as in Keras, whose documentation names the factors the other way
            round).
        beta: price of what was found in vain.
        reduction: see `Loss`.
        name: see `Loss`.
        axis: see `Dice`.

    Input shape:
        As `Dice`.
    """

    config_fields = ("alpha", "beta", "reduction", "name", "axis")

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
        axis: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self.alpha = _validation.real(alpha, "alpha", low=0.0)
        self.beta = _validation.real(beta, "beta", low=0.0)
        self.axis = _axes(axis)


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


def get(identifier: object) -> Loss | AutomaticCrossentropy:
    """The loss for a string id, a description or an instance.

    String ids are class names, their snake-case forms and Keras' short ones ("mse", "bce", "KLD", ...);
    "crossentropy" and "ce" stand for the cross-entropy that suits the targets, which is known once training
    begins.

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
    if isinstance(identifier, Loss) and identifier.in_python:
        if type(identifier).gradient is Loss.gradient:
            raise TypeError(f"{identifier.label} has `call` but no `gradient`, which training needs.")
        return identifier
    if isinstance(identifier, Mapping):
        user = _user_class(identifier.get("class_name"))
        if user is not None:
            return user.from_config(identifier.get("config", {}))
    return REGISTRY.get(identifier)


def _user_class(name: object) -> type[Loss] | None:
    """The class of this name that was written in Python, the one defined last."""
    found = None
    waiting = list(Loss.__subclasses__())
    while waiting:
        cls = waiting.pop(0)
        waiting.extend(cls.__subclasses__())
        if cls.__name__ == name and cls.call is not Loss.call:
            found = cls
    return found
