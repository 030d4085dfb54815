"""`Loss`, the base of all losses, and of those that users write in Python."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._config import Configurable, Registry
from gridnn.metrics.base import Targets

_REDUCTIONS = ("sum_over_batch_size", "sum")


class Loss(Configurable):
    """Base of all losses, and of those that you write in Python.

    A loss of your own is a subclass with `call` and `gradient`, in NumPy. It is slower than the built-in
    ones: the outputs are copied and the engine waits while Python computes. Its class attribute `targets`
    says whether it compares with "values" of the outputs' shape (the default) or with class "labels"; further
    arguments of its constructor go into `config_fields` and into attributes of their names. A file keeps its
    name and its arguments, never its code; see `gridnn.load_model`.

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
    _custom_method = "call"
    targets: ClassVar[Targets] = "values"
    target_range: ClassVar[tuple[float, float] | None] = None  # between which all targets must be

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
