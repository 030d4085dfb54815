"""What weights are held to after every update, as descriptions; the engine does it.

Norms are taken over `axis`, an axis of the weight or several, for every position of the others: for a dense
kernel ``(inputs, units)`` ``axis=0`` is the weights of one unit, for a kernel ``(height, width, channels,
filters)`` ``axis=(0, 1, 2)`` those of one filter.

`get(None)` is None, and classes have names in lower case as well: ``constraints.max_norm(3)``.

Example:
    >>> from gridnn import constraints, layers
    >>> layer = layers.Dense(2, kernel_constraint=constraints.MaxNorm(3))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from numpy.typing import NDArray

from gridnn import _validation
from gridnn._config import Configurable, Registry
from gridnn._engine import constrained
from gridnn._reduction import floating

__all__ = ["Constraint", "MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm", "get"]


class Constraint(Configurable):
    """Base of all constraints. Called on an array it returns what becomes of it; the base leaves it as it is.

    Example:
        >>> gn.constraints.get("non_neg")([-1.0, 2.0])
        array([0., 2.])
    """

    def __call__(self, w: Any) -> NDArray[Any]:
        """An array of weights held to the constraint: float64 if `w` is, else float32.

        Args:
            w: the array, or the handle of a weight.

        Raises:
            ValueError: an axis of the constraint is none of the array.

        Example:
            >>> NonNeg()([-1.0, 2.0])
            array([0., 2.])
        """
        weights = floating(w, "w")
        return weights.copy() if type(self) is Constraint else constrained(self.engine_description(), weights)


REGISTRY: Registry[Constraint] = Registry("constraint", Constraint, snake_names=True)


class _AlongAxes(Constraint):
    """One that takes norms along axes."""

    axis: int | tuple[int, ...]

    def engine_config(self) -> dict[str, Any]:
        """Axes as a list, also a single one."""
        axes = [self.axis] if isinstance(self.axis, int) else list(self.axis)
        return {**super().engine_config(), "axis": axes}


def _axes(axis: int | Sequence[int]) -> int | tuple[int, ...]:
    if isinstance(axis, (tuple, list)):
        return tuple(_validation.integer(number, "axis") for number in axis)
    return _validation.integer(axis, "axis")


@REGISTRY.register()
class NonNeg(Constraint):
    """Negative weights become 0.

    Example:
        >>> layer = layers.Dense(2, kernel_constraint=gn.constraints.NonNeg())
        >>> layer.kernel_constraint
        NonNeg()
    """


@REGISTRY.register()
class MaxNorm(_AlongAxes):
    """Longer vectors are scaled down to a length of `max_value`.

    Args:
        max_value: the largest norm.
        axis: see the module.

    Example:
        >>> layer = layers.Dense(2, kernel_constraint=gn.constraints.MaxNorm(max_value=1.0))
        >>> layer.kernel_constraint
        MaxNorm(max_value=1.0, axis=0)
    """

    config_fields = ("max_value", "axis")

    def __init__(self, max_value: float = 2.0, axis: int | Sequence[int] = 0) -> None:
        self.max_value = _validation.real(max_value, "max_value", low=0.0)
        self.axis = _axes(axis)


@REGISTRY.register()
class UnitNorm(_AlongAxes):
    """Vectors are scaled to a length of 1.

    Args:
        axis: see the module.

    Example:
        >>> layer = layers.Dense(2, kernel_constraint=gn.constraints.UnitNorm())
        >>> layer.kernel_constraint
        UnitNorm(axis=0)
    """

    config_fields = ("axis",)

    def __init__(self, axis: int | Sequence[int] = 0) -> None:
        self.axis = _axes(axis)


@REGISTRY.register()
class MinMaxNorm(_AlongAxes):
    """Vectors are scaled towards a length between two bounds.

    Args:
        min_value: the smallest norm.
        max_value: the largest norm.
        rate: how much of the way to go at each update, in [0, 1].
        axis: see the module.

    Example:
        >>> layer = layers.Dense(2, kernel_constraint=gn.constraints.MinMaxNorm(min_value=0.5, max_value=1.0))
        >>> layer.kernel_constraint
        MinMaxNorm(min_value=0.5, max_value=1.0, rate=1.0, axis=0)
    """

    config_fields = ("min_value", "max_value", "rate", "axis")

    def __init__(
        self,
        min_value: float = 0.0,
        max_value: float = 1.0,
        rate: float = 1.0,
        axis: int | Sequence[int] = 0,
    ) -> None:
        self.min_value = _validation.real(min_value, "min_value", low=0.0)
        self.max_value = _validation.real(max_value, "max_value", low=0.0)
        self.rate = _validation.real(rate, "rate", low=0.0, high=1.0)
        self.axis = _axes(axis)


# The names in lower case that Keras has besides.
max_norm = MaxNorm
min_max_norm = MinMaxNorm
non_neg = NonNeg
unit_norm = UnitNorm


@overload
def get(identifier: None) -> None: ...


@overload
def get(identifier: object) -> Constraint: ...


def get(identifier: object) -> Constraint | None:
    """The constraint for a string id ("max_norm"), a description or an instance.

    Example:
        >>> get("non_neg")
        NonNeg()
    """
    return None if identifier is None else REGISTRY.get(identifier)
