"""Activations as functions of arrays, by the names that Keras has for them; the engine computes them.

They take arrays of any shape. What is float64 stays so, everything else becomes float32. Of a symbolic
tensor, as `gridnn.Input` makes one, they make another: the activation is then a layer of the model. Their
names are those that the `activation` argument of layers takes, and the functions may stand for them there.

Example:
    >>> import gridnn as gn
    >>> gn.activations.relu([-1.0, 2.0])
    array([0., 2.])
    >>> gn.layers.Dense(3, activation=gn.activations.tanh).activation
    'tanh'
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gridnn import _validation
from gridnn._reduction import floating
from gridnn.layers.activation import ELU, Activation, LeakyReLU, ReLU, activation_name
from gridnn.layers.base import Layer
from gridnn.layers.symbolic import is_symbolic

__all__ = [
    "elu",
    "exponential",
    "gelu",
    "gelu_tanh",
    "get",
    "hard_sigmoid",
    "leaky_relu",
    "linear",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "swish",
    "tanh",
]


def _applied(layer: Layer, x: Any, axis: int | Sequence[int] | None = None) -> Any:
    """What a layer without weights makes of an array of any shape, or of a symbolic tensor.

    Args:
        layer: the layer.
        x: an array or a symbolic tensor.
        axis: the axis, or several, that the layer works along, where it is made for the last one.
    """
    if is_symbolic(x):
        if axis not in (None, -1, len(x.shape) - 1):
            raise ValueError(f"`axis` of a symbolic tensor must be its last one. Received axis={axis}.")
        return layer(x)
    array = floating(x, "x")
    shape = array.shape
    last: tuple[int, ...] = ()
    if axis is not None:
        array = np.atleast_1d(array)
        given = axis if isinstance(axis, (tuple, list)) else (axis,)
        first = tuple(_validation.integer(one, "axis") for one in given)
        if not first or any(not -array.ndim <= one < array.ndim for one in first):
            raise ValueError(f"`axis` must be of the {len(shape)} axes of `x`. Received axis={axis}.")
        last = tuple(range(-len(first), 0))
        array = np.moveaxis(array, first, last)
    if array.size == 0:
        return np.zeros(shape, array.dtype)
    # What is worked along together is one axis for the layer.
    columns = math.prod(array.shape[len(array.shape) - len(last) :]) if last else array.shape[-1:] or (1,)
    sample = array.reshape(-1, *(columns if isinstance(columns, tuple) else (columns,)))
    made = layer(sample).reshape(array.shape)
    return (np.ascontiguousarray(np.moveaxis(made, last, first)) if last else made).reshape(shape)


def linear(x: Any) -> Any:
    """``x`` itself.

    Example:
        >>> gn.activations.linear([-1.0, 0.5, 8.0]).round(3)
        array([-1. ,  0.5,  8. ])
    """
    return _applied(Activation("linear"), x)


def relu(x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Any:
    """``max(x, 0)``.

    Args:
        x: array, or symbolic tensor.
        negative_slope: slope below the threshold, at least 0.
        max_value: cap, at least 0; None for none.
        threshold: where it begins to be the identity, at least 0.

    Returns:
        Array of the shape of `x`.

    Example:
        >>> gn.activations.relu([0.5, 8.0])
        array([0.5, 8. ])
    """
    if (negative_slope, max_value, threshold) == (0.0, None, 0.0):
        return _applied(Activation("relu"), x)
    return _applied(ReLU(max_value, negative_slope, threshold), x)


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """``x`` above 0, ``negative_slope * x`` below.

    Example:
        >>> gn.activations.leaky_relu([-1.0, 0.5, 8.0]).round(3)
        array([-0.2,  0.5,  8. ])
    """
    return _applied(LeakyReLU(negative_slope), x)


def relu6(x: Any) -> Any:
    """``min(max(x, 0), 6)``.

    Example:
        >>> gn.activations.relu6([0.5, 8.0])
        array([0.5, 6. ])
    """
    return _applied(Activation("relu6"), x)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """``x`` above 0, ``alpha * (exp(x) - 1)`` below.

    Example:
        >>> gn.activations.elu([-1.0, 0.5, 8.0]).round(3)
        array([-0.632,  0.5  ,  8.   ])
    """
    return _applied(ELU(alpha), x)


def selu(x: Any) -> Any:
    """``1.0507 x`` above 0, ``1.7581 (exp(x) - 1)`` below.

    Example:
        >>> gn.activations.selu([-1.0, 0.5, 8.0]).round(3)
        array([-1.111,  0.525,  8.406])
    """
    return _applied(Activation("selu"), x)


def gelu(x: Any, approximate: bool = False) -> Any:
    """``x * (1 + erf(x / sqrt(2))) / 2``; `approximate` takes a hyperbolic tangent for it.

    Example:
        >>> gn.activations.gelu([-1.0, 0.5, 8.0]).round(3)
        array([-0.159,  0.346,  8.   ])
    """
    name = "gelu_tanh" if _validation.boolean(approximate, "approximate") else "gelu"
    return _applied(Activation(name), x)


def gelu_tanh(x: Any) -> Any:
    """``gelu(x, approximate=True)``, by the name that layers know it by.

    Example:
        >>> gn.activations.gelu_tanh([-1.0, 0.5, 8.0]).round(3)
        array([-0.159,  0.346,  8.   ])
    """
    return gelu(x, approximate=True)


def silu(x: Any) -> Any:
    """``x * sigmoid(x)``.

    Example:
        >>> gn.activations.silu([-1.0, 0.5, 8.0]).round(3)
        array([-0.269,  0.311,  7.997])
    """
    return _applied(Activation("silu"), x)


def swish(x: Any) -> Any:
    """Another name of `silu`.

    Example:
        >>> gn.activations.swish([-1.0, 0.5, 8.0]).round(3)
        array([-0.269,  0.311,  7.997])
    """
    return silu(x)


def mish(x: Any) -> Any:
    """``x * tanh(softplus(x))``.

    Example:
        >>> gn.activations.mish([-1.0, 0.5, 8.0]).round(3)
        array([-0.303,  0.375,  8.   ])
    """
    return _applied(Activation("mish"), x)


def sigmoid(x: Any) -> Any:
    """``1 / (1 + exp(-x))``.

    Example:
        >>> gn.activations.sigmoid([-1.0, 0.5, 8.0]).round(3)
        array([0.269, 0.622, 1.   ])
    """
    return _applied(Activation("sigmoid"), x)


def hard_sigmoid(x: Any) -> Any:
    """``x / 6 + 1 / 2``, clipped to [0, 1].

    Example:
        >>> gn.activations.hard_sigmoid([-1.0, 0.5, 8.0]).round(3)
        array([0.333, 0.583, 1.   ])
    """
    return _applied(Activation("hard_sigmoid"), x)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent.

    Example:
        >>> gn.activations.tanh([-1.0, 0.5, 8.0]).round(3)
        array([-0.762,  0.462,  1.   ])
    """
    return _applied(Activation("tanh"), x)


def softplus(x: Any) -> Any:
    """``log(1 + exp(x))``.

    Example:
        >>> gn.activations.softplus([-1.0, 0.5, 8.0]).round(3)
        array([0.313, 0.974, 8.   ])
    """
    return _applied(Activation("softplus"), x)


def softsign(x: Any) -> Any:
    """``x / (1 + |x|)``.

    Example:
        >>> gn.activations.softsign([-1.0, 0.5, 8.0]).round(3)
        array([-0.5  ,  0.333,  0.889])
    """
    return _applied(Activation("softsign"), x)


def exponential(x: Any) -> Any:
    """``exp(x)``.

    Example:
        >>> gn.activations.exponential([-1.0, 0.5]).round(3)
        array([0.368, 1.649])
    """
    return _applied(Activation("exponential"), x)


def softmax(x: Any, axis: int | Sequence[int] = -1) -> Any:
    """``exp(x) / sum(exp(x))`` along an axis, or over several.

    Args:
        x: array, or symbolic tensor.
        axis: the axis, or a tuple of them; of a symbolic tensor the last one.

    Example:
        >>> gn.activations.softmax([-1.0, 0.5, 8.0]).round(3)
        array([0.   , 0.001, 0.999])
    """
    return _applied(Activation("softmax"), x, axis)


def log_softmax(x: Any, axis: int | Sequence[int] = -1) -> Any:
    """The logarithm of `softmax`, without its underflow.

    Example:
        >>> gn.activations.log_softmax([-1.0, 0.5]).round(3)
        array([-1.701, -0.201])
    """
    return _applied(Activation("log_softmax"), x, axis)


def get(identifier: Any) -> Callable[..., Any]:
    """The function for a name, None (`linear`), or a function, which is returned.

    Raises:
        ValueError: an unknown name.
        TypeError: none of these.

    Example:
        >>> get("relu") is relu
        True
    """
    if callable(identifier):
        return identifier  # type: ignore[no-any-return]
    function: Callable[..., Any] = globals()[activation_name(identifier)]
    return function
