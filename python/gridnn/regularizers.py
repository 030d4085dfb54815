"""Penalties on weights, as descriptions; the engine adds them to the loss and to the gradients.

The training and validation losses that `fit` logs contain the penalties of all trainable weights.
"""

from __future__ import annotations

from typing import Any

from gridnn import _validation
from gridnn._config import Configurable, Registry

__all__ = ["L1", "L1L2", "L2", "Regularizer", "get"]


class Regularizer(Configurable):
    """Base of all regularizers."""

    l1: float = 0.0
    l2: float = 0.0

    def engine_description(self) -> dict[str, Any]:
        """Both factors: the engine knows one kind."""
        return {"l1": self.l1, "l2": self.l2}


REGISTRY: Registry[Regularizer] = Registry("regularizer", Regularizer)


@REGISTRY.register("l1")
class L1(Regularizer):
    """``l1 * sum(|w|)``.

    Args:
        l1: factor, at least 0.
    """

    config_fields = ("l1",)

    def __init__(self, l1: float = 0.01) -> None:
        self.l1 = _validation.real(l1, "l1", low=0.0)


@REGISTRY.register("l2")
class L2(Regularizer):
    """``l2 * sum(w^2)``.

    Args:
        l2: factor, at least 0.
    """

    config_fields = ("l2",)

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = _validation.real(l2, "l2", low=0.0)


@REGISTRY.register("l1_l2")
class L1L2(Regularizer):
    """``l1 * sum(|w|) + l2 * sum(w^2)``.

    Args:
        l1: factor, at least 0.
        l2: factor, at least 0.
    """

    config_fields = ("l1", "l2")

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = _validation.real(l1, "l1", low=0.0)
        self.l2 = _validation.real(l2, "l2", low=0.0)


def get(identifier: object) -> Regularizer:
    """The regularizer for a string id ("l2"), a description or an instance.

    Example:
        >>> get("l2")
        L2(l2=0.01)
    """
    return REGISTRY.get(identifier)
