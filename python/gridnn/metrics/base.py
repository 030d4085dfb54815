"""`Metric`, the base of all metrics and of those that users write in Python, and what metrics share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from gridnn import _engine, _validation, initializers
from gridnn._arrays import as_numbers
from gridnn._config import Configurable, Registry, snake_case
from gridnn._dtypes import noted, takes_dtype
from gridnn._reduction import floating, same_rank, samplewise, spread_out
from gridnn._variables import Variable, shape_of
from gridnn.errors import ShapeError

Targets = Literal["labels", "values"]
Direction = Literal["min", "max"]


class Metric(Configurable):
    """Base of all metrics, and of those that you write in Python.

    In `compile` a metric is a description, and the engine counts. By itself it counts what `update_state` is
    given, until `reset_state`; `result` says what the counts come to, and a call does both. It sees
    probabilities: convert logits first.

    A metric of your own is a subclass with `update_state` and `result`, as in Keras. It asks for what it
    keeps with `add_variable`, in its constructor, which calls ``super().__init__(name=name)``. In `fit` it
    gets the outputs of each batch as a copy, which is slower; the value is what `result` says after the last
    batch of the epoch. A file keeps its name and arguments, never its code.

    Args:
        name: its key in logs; None takes the class name in snake case.
        dtype: noted; numbers are kept in float64.

    Attributes:
        direction: "min" or "max", for which way is better: what callbacks with ``mode="auto"`` go by. None
            where that is not known.

    Example:
        >>> import gridnn as gn
        >>> accuracy = gn.metrics.BinaryAccuracy()
        >>> accuracy.update_state([1, 1, 0, 0], [0.9, 0.6, 0.7, 0.1])
        >>> accuracy.result()
        0.75
        >>> class Largest(gn.metrics.Metric):
        ...     def __init__(self, name="largest"):
        ...         super().__init__(name=name)
        ...         self.error = self.add_variable(shape=(), initializer="zeros", name="error")
        ...     def update_state(self, y_true, y_pred, sample_weight=None):
        ...         self.error.assign(max(self.error, abs(y_true - y_pred).max()))
        ...     def result(self):
        ...         return self.error
    """

    config_fields: ClassVar[tuple[str, ...]] = ("name",)
    _custom_method = "update_state"
    targets: ClassVar[Targets | Literal["any"]] = "values"
    direction: Direction | None = None
    averages: ClassVar[bool] = False
    """Whether it is the mean of one number for each position."""

    _counts: list[float] | None = None
    _variables: tuple[Variable, ...] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = takes_dtype(cls.__init__)  # type: ignore[method-assign]

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        noted(dtype, type(self).__name__)
        self.name = _validation.object_name(name) or snake_case(type(self).__name__)

    def value_of(self, counts: Sequence[float]) -> Any:
        """What the engine's counts come to; for metrics of this package."""
        total, number = counts
        return total / number if number else 0.0

    # By itself

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts some outputs.

        Args:
            y_true: targets: class labels, or values of the outputs' shape.
            y_pred: outputs, ``(batch, ..., channels)``; probabilities, where the metric is of those.
            sample_weight: weights for samples, or for positions; None is 1.

        Raises:
            ShapeError: shapes do not fit each other, or what was counted before.
            ValueError: a label is none.
        """
        more = self._counted(as_numbers(y_true, "y_true"), floating(y_pred, "y_pred"), sample_weight)
        self._add(more)

    def _add(self, more: Sequence[float]) -> None:
        counts = self._counts
        if counts is not None and len(counts) != len(more):
            raise ShapeError(
                f"metric '{self.name}' has counted other outputs before: call reset_state first."
            )
        self._counts = list(more) if counts is None else [a + b for a, b in zip(counts, more, strict=True)]

    def result(self) -> Any:
        """The value for all that was counted since `reset_state`, 0 for nothing."""
        return 0.0 if self._counts is None else self.value_of(self._counts)

    def reset_state(self) -> None:
        """Forgets what was counted."""
        self._counts = None
        for variable in self._variables:
            variable.assign(0)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`update_state` with these arguments, then `result`."""
        self.update_state(*args, **kwargs)
        return self.result()

    # What one that is written in Python keeps

    def add_variable(
        self,
        shape: int | Sequence[int] = (),
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: str = "sum",
        name: str | None = None,
    ) -> Variable:
        """An array that the metric keeps, which `reset_state` sets to 0.

        Args:
            shape: its shape; () is a single number.
            initializer: see `gridnn.initializers`.
            dtype: its type; None is float64, so that long sums lose nothing.
            aggregation: accepted for Keras' sake.
            name: its name.

        Returns:
            The handle: `assign`, `assign_add`, and arithmetic as with an array.
        """
        sizes = shape_of(shape)
        values = initializers.get("zeros" if initializer is None else initializer)(sizes, "float64")
        label = _validation.object_name(name) or "variable"
        variable = Variable(
            values,
            label,
            trainable=False,
            dtype=np.float64 if dtype is None else np.dtype(dtype),
            path=f"{self.name}/{label}",
        )
        self._variables = (*self._variables, variable)
        return variable

    def add_weight(
        self,
        shape: int | Sequence[int] = (),
        initializer: Any = None,
        dtype: Any = None,
        name: str | None = None,
    ) -> Variable:
        """Another name of `add_variable`."""
        return self.add_variable(shape, initializer, dtype, name=name)

    @property
    def variables(self) -> list[Variable]:
        """What was asked for by `add_variable`."""
        return list(self._variables)

    # In `fit`, for one that is written in Python

    @property
    def keeps_state(self) -> bool:
        """Whether a batch changes what it keeps in ways of its own, so that batches cannot be added up."""
        return self.in_python

    def count(self, y_true: NDArray[Any], y_pred: NDArray[Any], sample_weight: Any = None) -> list[float]:
        """Takes a batch; what the metric keeps then."""
        if sample_weight is None:
            self.update_state(y_true, y_pred)
        else:
            self.update_state(y_true, y_pred, sample_weight=sample_weight)
        return self.state()

    def state(self) -> list[float]:
        """All that its variables hold."""
        return [float(number) for variable in self._variables for number in variable.numpy().ravel()]

    def restore(self, state: Sequence[float]) -> None:
        """Sets its variables to what `state` has returned, if it has those."""
        if len(state) != sum(variable.size for variable in self._variables):
            return  # they are made by the first batch
        rest = list(state)
        for variable in self._variables:
            variable.assign(np.reshape(rest[: variable.size], variable.shape))
            del rest[: variable.size]

    # The engine

    def values(self, y_true: Any, y_pred: Any) -> NDArray[Any]:
        """Of a metric that averages what it averages: one number for each position, or for each output.

        Args:
            y_true: targets.
            y_pred: outputs, ``(batch, ..., channels)``.

        Raises:
            ShapeError: shapes do not fit each other.
        """
        targets, outputs, labels = self._compared(as_numbers(y_true, "y_true"), floating(y_pred, "y_pred"))
        rows, wanted, shape = self._rows(targets, outputs, labels)
        found = _engine.metric_values(self.engine_description(), wanted, rows, labels)
        return np.asarray(found.reshape(shape), outputs.dtype)

    def engine_config(self) -> dict[str, Any]:
        """The configuration without the name, which only logs need."""
        config = super().engine_config()
        del config["name"]
        return config

    def _single(self) -> bool:
        """Whether every output counts by itself, and not the last axis as a whole."""
        return False

    def _counted(self, targets: NDArray[Any], outputs: NDArray[Any], sample_weight: object) -> list[float]:
        """What the engine counts."""
        targets, outputs, labels = self._compared(targets, outputs)
        rows, wanted, shape = self._rows(targets, outputs, labels)
        description = self.engine_description()
        if self.averages:
            found = _engine.metric_values(description, wanted, rows, labels).reshape(shape)
            values, weights = samplewise(found, sample_weight)
            return [float(values.sum()), float(values.size if weights is None else weights.sum())]
        numbers = None
        if sample_weight is not None:
            given = np.asarray(as_numbers(sample_weight, "sample_weight"), np.float64)
            given = given.reshape(shape) if given.size == math.prod(shape) else spread_out(given, shape)
            numbers = np.ascontiguousarray(given).reshape(-1)
        return _engine.metric_counts(description, wanted, rows, labels, numbers)

    def _rows(
        self, targets: NDArray[Any], outputs: NDArray[Any], labels: bool
    ) -> tuple[NDArray[Any], NDArray[Any], tuple[int, ...]]:
        """Outputs and targets with an axis for positions, and the shape that these had."""
        shape = outputs.shape[:-1]
        channels = outputs.shape[-1] if outputs.ndim else 1
        if not labels and self._single():
            shape, channels = outputs.shape, 1
        wanted = targets.reshape(-1) if labels else targets.reshape(-1, channels)
        return outputs.reshape(-1, channels), wanted, shape

    def _compared(
        self, targets: NDArray[Any], outputs: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any], bool]:
        """Targets, outputs, and whether targets are class labels."""
        without = outputs.shape[:-1]
        labels = self.targets == "labels"
        if self.targets == "any":
            first, second = same_rank(targets, outputs)
            labels = first.shape != second.shape and targets.shape in (without, (*without, 1))
        if labels:
            if targets.ndim == outputs.ndim and targets.shape[-1:] == (1,):
                targets = targets[..., 0]
            if targets.shape == without:
                return targets, outputs, True
        else:
            wide, outputs = same_rank(targets, outputs)
            try:
                wide, outputs = np.broadcast_arrays(wide, outputs)
                return wide, outputs, False
            except ValueError:
                without = outputs.shape
        raise ShapeError(
            f"metric '{self.name}': expected `y_true` of shape {without} for `y_pred` of shape "
            f"{outputs.shape}. Received {targets.shape}."
        )


REGISTRY: Registry[Metric] = Registry("metric", Metric, snake_names=True)


def ratio(part: float, whole: float) -> float:
    """Their quotient, 0 for 0 / 0."""
    return part / whole if whole else 0.0


def as_threshold(value: object, name: str) -> float:
    """A number from 0 to 1."""
    return _validation.real(value, name, low=0.0, high=1.0)


def optional_index(value: object, name: str, least: int) -> int | None:
    """None, or an integer that is not below `least`."""
    if value is None:
        return None
    number = _validation.integer(value, name)
    if number < least:
        raise ValueError(f"The `{name}` argument must be at least {least}. Received {name}={value}.")
    return number


def as_thresholds(value: object) -> float | list[float] | None:
    """None, a number from 0 to 1, or several."""
    if isinstance(value, (list, tuple, np.ndarray)):
        if not len(value):
            raise ValueError("The `thresholds` argument must hold at least one number. Received none.")
        return [as_threshold(number, "thresholds") for number in value]
    return None if value is None else as_threshold(value, "thresholds")


def class_ids(value: Sequence[int], classes: int) -> list[int]:
    """Numbers of classes, at least one."""
    numbers = [_validation.non_negative_integer(number, "target_class_ids") for number in value]
    if not numbers or max(numbers) >= classes:
        raise ValueError(
            f"The `target_class_ids` argument must hold classes below {classes}. Received "
            f"target_class_ids={list(value)}."
        )
    return numbers
