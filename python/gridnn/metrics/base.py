"""`Metric`, the base of all metrics, and what metrics share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from gridnn import _validation
from gridnn._config import Configurable, Registry, snake_case

Targets = Literal["labels", "values"]
Direction = Literal["min", "max"]


class Metric(Configurable):
    """Base of all metrics.

    Args:
        name: its key in logs; None takes the class name in snake case.

    Attributes:
        direction: "min" or "max", for which way is better: what callbacks with ``mode="auto"`` go by. None
            where that is not known.

    Example:
        >>> isinstance(gn.metrics.get("mse"), gn.metrics.Metric)
        True
    """

    config_fields: ClassVar[tuple[str, ...]] = ("name",)
    targets: ClassVar[Targets | Literal["any"]] = "values"
    direction: Direction | None = None

    def __init__(self, name: str | None = None) -> None:
        self.name = _validation.object_name(name) or snake_case(type(self).__name__)

    def result(self, counts: Sequence[float]) -> float:
        """What the engine's counts come to."""
        total, number = counts
        return total / number if number else 0.0

    def engine_config(self) -> dict[str, Any]:
        """The configuration without the name, which only logs need."""
        config = super().engine_config()
        del config["name"]
        return config


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
