"""Functions of single elements, by their values at some points.

Exporters write one activation as several operators, each in its own way. So what operators make of an element
is followed by its values: whatever makes the curve of a GELU is a GELU.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import layers
from gridnn.interop.onnx.reading.files import Node
from gridnn.interop.onnx.reading.steps import Graph, Step

__all__ = [
    "CURVES",
    "POINTS",
    "Curves",
    "activation_step",
    "applied",
    "common",
    "curved",
    "curves_of",
    "elu_of",
    "erf",
    "named",
    "sigmoid",
    "softplus",
]

Array = NDArray[Any]

POINTS: Array = np.concatenate([np.linspace(-8.0, 8.0, 97), [-1e4, -100.0, -20.0, 20.0, 100.0, 1e4]])
"""Where curves are compared: around the bends, and far out, where a cap would show."""

erf = np.vectorize(math.erf, otypes=[float])


def sigmoid(x: Array) -> Array:
    """The logistic function."""
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def softplus(x: Array) -> Array:
    """``log(1 + exp(x))``."""
    return np.asarray(np.logaddexp(x, 0.0))


def elu_of(x: Array, alpha: float = 1.0) -> Array:
    """``x`` above 0, ``alpha (exp(x) - 1)`` below."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


CURVES: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0.0),
    "relu6": lambda x: np.clip(x, 0.0, 6.0),
    "silu": lambda x: x * sigmoid(x),
    "gelu": lambda x: 0.5 * x * (1.0 + erf(x / math.sqrt(2.0))),
    "gelu_tanh": lambda x: 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "hard_sigmoid": lambda x: np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "elu": elu_of,
    "selu": lambda x: 1.0507009873554805 * elu_of(x, 1.6732632423543772),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "softplus": softplus,
    "softsign": lambda x: x / (1.0 + np.abs(x)),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
}
"""Activations that may come in parts."""


Curve = Callable[[Array], Array]

Curves = tuple[tuple[Step, Array], ...]
"""Steps that a function of single elements starts from, the last ones first, and its values."""

_MOST_STARTS = 12
"""Operators of one activation, one after the other, and some more."""


def curves_of(step: Step) -> Curves:
    """The curves that lead to a step; from itself it is a straight line."""
    return ((step, POINTS), *step.curves)[:_MOST_STARTS]


def applied(x: Step, function: Curve) -> Curves:
    """The curves of a function of `x`."""
    with np.errstate(all="ignore"):
        return tuple((start, np.asarray(function(values))) for start, values in curves_of(x))


def common(a: Step, b: Step, function: Callable[[Any, Any], Any]) -> Curves:
    """The curves of a function of two steps, from where both start."""
    others = {id(start): values for start, values in curves_of(b)}
    with np.errstate(all="ignore"):
        return tuple(
            (start, np.asarray(function(values, others[id(start)])))
            for start, values in curves_of(a)
            if id(start) in others
        )


@functools.cache
def _table() -> Array:
    """The curves of all activations at the points."""
    with np.errstate(all="ignore"):
        return np.stack([curve(POINTS) for curve in CURVES.values()])


def named(curves: Curves) -> tuple[Step, str] | None:
    """The activation that one of the curves is, and what it starts from."""
    starts = [(start, values) for start, values in curves if not start.partial]
    if not starts:
        return None
    rows = np.stack([values for _, values in starts]).astype(np.float64)
    with np.errstate(all="ignore"):
        same: Array = np.isclose(rows[:, np.newaxis], _table(), rtol=1e-4, atol=2e-6)
    same = np.all(same, axis=-1)
    for (start, _), names in zip(starts, same, strict=True):
        if names.any():
            return start, list(CURVES)[int(names.argmax())]
    return None


def activation_step(graph: Graph, node: Node, source: Step, name: str) -> Step:
    """An `Activation`."""
    return graph.layer(node, source, lambda own: layers.Activation(name, name=own), op="Activation")


def curved(graph: Graph, node: Node, x: Step, curves: Curves, layer: Step | None = None) -> Step:
    """A step that takes single elements of `x`, with these curves.

    Args:
        graph: the graph.
        node: the operator.
        x: what it reads.
        curves: where they start, and their values.
        layer: what it is in any case; None if no layer does it alone.
    """
    if layer is None:
        found = named(curves)
        layer = Step(node.op, (x,), x.shape, node) if found is None else activation_step(graph, node, *found)
    layer.curves = curves
    return layer
