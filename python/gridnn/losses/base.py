"""`Loss`, the base of all losses, and of those that users write in Python."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gridnn import _engine, _validation
from gridnn._arrays import as_numbers
from gridnn._config import Configurable, Registry
from gridnn._custom import calling
from gridnn._dtypes import takes_dtype
from gridnn._reduction import REDUCTIONS, floating, reduced, same_rank
from gridnn.errors import ShapeError
from gridnn.metrics.base import Targets


class Loss(Configurable):
    """Base of all losses, and of those that you write in Python.

    A loss of your own is a subclass with `call` and `gradient`, in NumPy. It is slower than the built-in
    ones: the outputs are copied and the engine waits while Python computes. Its class attribute `targets`
    says whether it compares with "values" of the outputs' shape (the default) or with class "labels"; further
    arguments of its constructor go into `config_fields` and into attributes of their names. A file keeps its
    name and its arguments, never its code; see `gridnn.load_model`.

    A loss is also called on arrays, ``loss(y_true, y_pred)``; see `__call__`.

    Args:
        reduction: "sum_over_batch_size", also called "mean" (the mean over the batch), or "sum". With sample
            weights w the first is ``sum(loss * w) / count``, not ``/ sum(w)``. For calls on arrays also
            "mean_with_sample_weight", which is ``/ sum(w)``, and None or "none", which leaves one value for
            each position.
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
    _custom_method = "call"
    targets: ClassVar[Targets] = "values"
    broadcasts: ClassVar[bool] = True
    """Whether shapes of arrays may broadcast, as Keras has it for differences of numbers."""
    target_range: ClassVar[tuple[float, float] | None] = None  # between which all targets must be

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = takes_dtype(cls.__init__)  # type: ignore[method-assign]

    @takes_dtype
    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = None) -> None:
        if reduction is not None:
            allowed = tuple(known for known in REDUCTIONS if known is not None)
            reduction = _validation.choice(reduction, "reduction", allowed)
        self.reduction = reduction
        self.name = _validation.object_name(name)

    @property
    def training_reduction(self) -> str:
        """What the engine makes of the values of a batch: "sum_over_batch_size" or "sum".

        Raises:
            ValueError: the loss is for calls on arrays.
        """
        if self.reduction in ("sum_over_batch_size", "mean"):
            return "sum_over_batch_size"
        if self.reduction == "sum":
            return "sum"
        raise ValueError(
            f"{self.label} with reduction={self.reduction!r} is for calls on arrays. Training needs one "
            "number of a batch: reduction='sum_over_batch_size' or 'sum'."
        )

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of some outputs, as the engine computes it in training.

        Args:
            y_true: targets: class labels, or values of the outputs' shape or of one that broadcasts to it.
            y_pred: outputs, ``(batch, ..., channels)``. Losses with ``from_logits=None`` take them as
                probabilities: there is no model that says otherwise.
            sample_weight: weights for samples, ``(batch,)``, or for positions, ``(batch, ...)``.

        Returns:
            One number; without a reduction an array with one value for each position, ``(batch, ...)``. Its
            type is float64 if `y_pred` is, else float32.

        Raises:
            ShapeError: shapes do not fit each other.
            ValueError: a label is none.

        Example:
            >>> import gridnn as gn
            >>> loss = gn.losses.MeanSquaredError()
            >>> float(loss([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 0.0]]))
            0.5
            >>> gn.losses.MeanSquaredError(reduction=None)([[0.0], [2.0]], [[1.0], [0.0]])
            array([1., 4.])
        """
        outputs = floating(y_pred, "y_pred")
        values, counted = self._values(y_true, outputs)
        return reduced(values, sample_weight, self.reduction, counted).astype(outputs.dtype)[()]

    def _values(
        self, y_true: object, outputs: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """The values of all positions, and which of them count; None for all."""
        targets = as_numbers(y_true, "y_true")
        if self.in_python:
            if self.targets == "values":
                targets, outputs = same_rank(targets, outputs)
            with calling(f"`call` of {self.label}"):
                return np.asarray(self.call(targets, outputs.astype(np.float64)), np.float64), None
        if outputs.ndim == 0:
            raise ShapeError(f"{self.label}: `y_pred` must have at least one axis. Received a single number.")
        if self.targets == "labels":
            if targets.ndim == outputs.ndim and targets.shape[-1] == 1:
                targets = targets[..., 0]
            fits = targets.shape == outputs.shape[:-1]
        else:
            targets, outputs = same_rank(targets, outputs)
            fits = targets.shape == outputs.shape
            if self.broadcasts:
                with contextlib.suppress(ValueError):
                    targets, outputs = np.broadcast_arrays(targets, outputs)
                    fits = True
        if not fits:
            wanted = outputs.shape[:-1] if self.targets == "labels" else outputs.shape
            raise ShapeError(
                f"{self.label}: expected `y_true` of shape {wanted} for `y_pred` of shape {outputs.shape}. "
                f"Received {targets.shape}."
            )
        shape = self._values_shape(outputs.shape)
        if outputs.size == 0:
            return np.zeros(shape), None
        if outputs.ndim == 1:
            targets, outputs = targets[np.newaxis], outputs[np.newaxis]
        description = self.resolve(probabilities=True).engine_description()
        return _engine.loss_values(description, targets, outputs).reshape(shape), self._counted(targets)

    def _values_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the values, for outputs of a shape."""
        return shape[:-1]

    def _counted(self, targets: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Which positions count; None for all."""
        return None

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

    def as_metric_input(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """The outputs as metrics see them: probabilities where the loss works on logits."""
        return outputs

    def engine_description(self) -> dict[str, Any]:
        """What the engine is told: of a loss in Python only whether its targets are labels."""
        if self.in_python:
            return {"class_name": "Custom", "config": {"sparse": self.targets == "labels"}}
        return super().engine_description()

    def engine_config(self) -> dict[str, Any]:
        """The configuration without the reduction, which the engine is told apart, and the name."""
        config = super().engine_config()
        del config["reduction"], config["name"]
        return config

    def __repr__(self) -> str:
        fields = [field for field in self.config_fields if field != "name" or self.name is not None]
        return f"{type(self).__name__}({', '.join(f'{field}={getattr(self, field)!r}' for field in fields)})"


REGISTRY: Registry[Loss] = Registry("loss", Loss, snake_names=True)
