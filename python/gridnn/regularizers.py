"""Penalties on weights, as descriptions; the engine adds them to the loss and to the gradients.

The training and validation losses that `fit` logs contain the penalties of all trainable weights.

`get(None)` is None, and classes have names in lower case as well: ``regularizers.l2(1e-4)``.

Example:
    >>> from gridnn import layers, regularizers
    >>> layer = layers.Dense(2, kernel_regularizer=regularizers.L2(1e-4))
"""

from __future__ import annotations

from typing import Any, overload

from gridnn import _validation
from gridnn._config import Configurable, Registry
from gridnn._engine import penalty
from gridnn._reduction import floating

__all__ = ["L1", "L1L2", "L2", "OrthogonalRegularizer", "Regularizer", "get"]


class Regularizer(Configurable):
    """Base of all regularizers. Called on an array it returns what it adds to the loss.

    Example:
        >>> gn.regularizers.get("l2")([10.0, 20.0])
        5.0
    """

    def __call__(self, x: Any) -> float:
        """What an array of weights adds to the loss.

        Args:
            x: the array, or the handle of a weight.

        Raises:
            ShapeError: it does not take arrays of this shape.

        Example:
            >>> L2(0.5)([1.0, 2.0])
            2.5
        """
        return penalty(self.engine_description(), floating(x, "x"))

    def engine_description(self) -> dict[str, Any]:
        """The configuration alone: the engine tells kinds apart by it."""
        return self.engine_config()


class ElementRegularizer(Regularizer):
    """Base of those that charge every element by itself; they are for outputs of layers as well."""

    l1: float = 0.0
    l2: float = 0.0

    def engine_config(self) -> dict[str, Any]:
        """Both factors: the engine knows one kind."""
        return {"l1": self.l1, "l2": self.l2}


REGISTRY: Registry[Regularizer] = Registry("regularizer", Regularizer, snake_names=True)


@REGISTRY.register()
class L1(ElementRegularizer):
    """``l1 * sum(|w|)``.

    Args:
        l1: factor, at least 0.

    Example:
        >>> layer = layers.Dense(2, kernel_regularizer=gn.regularizers.L1(0.01))
        >>> layer.kernel_regularizer
        L1(l1=0.01)
    """

    config_fields = ("l1",)

    def __init__(self, l1: float = 0.01) -> None:
        self.l1 = _validation.real(l1, "l1", low=0.0)


@REGISTRY.register()
class L2(ElementRegularizer):
    """``l2 * sum(w^2)``.

    Args:
        l2: factor, at least 0.

    Example:
        >>> layer = layers.Dense(2, kernel_regularizer=gn.regularizers.L2(0.01))
        >>> layer.kernel_regularizer
        L2(l2=0.01)
    """

    config_fields = ("l2",)

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = _validation.real(l2, "l2", low=0.0)


@REGISTRY.register("l1_l2")
class L1L2(ElementRegularizer):
    """``l1 * sum(|w|) + l2 * sum(w^2)``.

    Args:
        l1: factor, at least 0.
        l2: factor, at least 0.

    Example:
        >>> layer = layers.Dense(2, kernel_regularizer=gn.regularizers.L1L2(l1=0.01, l2=0.02))
        >>> layer.kernel_regularizer
        L1L2(l1=0.01, l2=0.02)
    """

    config_fields = ("l1", "l2")

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = _validation.real(l1, "l1", low=0.0)
        self.l2 = _validation.real(l2, "l2", low=0.0)


@REGISTRY.register()
class OrthogonalRegularizer(Regularizer):
    """Drives the rows, or the columns, of a matrix towards right angles to each other.

    ``factor`` times the mean of ``|cos(angle)|`` over all pairs of rows or columns. It is for weights with
    two axes, such as the kernel of `Dense`, and takes about 1.5 n^2 m multiply-adds a step for n vectors of m
    elements, on one thread.

    Args:
        factor: factor, at least 0.
        mode: "rows" compares the rows of a kernel ``(inputs, units)`` with each other, "columns" what the
            units see.

    Raises:
        ValueError: a negative factor, an unknown mode.

    Example:
        >>> OrthogonalRegularizer(mode="columns")
        OrthogonalRegularizer(factor=0.01, mode='columns')
    """

    config_fields = ("factor", "mode")

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        self.factor = _validation.real(factor, "factor", low=0.0)
        self.mode = _validation.choice(mode, "mode", ("rows", "columns"))


# The names in lower case that Keras has besides.
l1 = L1
l2 = L2
l1_l2 = L1L2
orthogonal_regularizer = OrthogonalRegularizer


@overload
def get(identifier: None) -> None: ...


@overload
def get(identifier: object) -> Regularizer: ...


def get(identifier: object) -> Regularizer | None:
    """The regularizer for a string id ("l2"), a description or an instance.

    Raises:
        ValueError: the id is not known.
        TypeError: none of these.

    Example:
        >>> get("l2")
        L2(l2=0.01)
    """
    return None if identifier is None else REGISTRY.get(identifier)
