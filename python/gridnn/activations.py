"""Activations as functions of arrays, by the names that Keras has for them; the engine computes them.

They take arrays of any shape. What is float64 stays so, everything else becomes float32. Of a symbolic
tensor, as `gridnn.Input` makes one, they make another: the activation is then a layer of the model. Most
names are those that the `activation` argument of layers takes, and the functions may stand for them there;
those from `celu` to `tanh_shrink` which it does not take are made of others, as several layers.

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
from gridnn.layers.activation import COMPOSED, ELU, Activation, LeakyReLU, ReLU, activation_name
from gridnn.layers.base import Layer
from gridnn.layers.symbolic import is_symbolic

__all__ = [
    "celu",
    "elu",
    "exponential",
    "gelu",
    "gelu_tanh",
    "get",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "swish",
    "tanh",
    "tanh_shrink",
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


# What follows is made of the others, and is several layers in a graph: none is a name that the argument
# `activation` of a layer takes.


def _numbers(x: Any) -> Any:
    """A symbolic tensor as it is, anything else as an array of floats."""
    return x if is_symbolic(x) else floating(x, "x")


def celu(x: Any, alpha: float = 1.0) -> Any:
    """``max(x, 0) + min(alpha (exp(x / alpha) - 1), 0)``.

    Args:
        x: array, or symbolic tensor.
        alpha: minus the limit at minus infinity, above 0.

    Example:
        >>> gn.activations.celu([-1.0, 0.5], alpha=2.0).round(3)
        array([-0.787,  0.5  ])
    """
    alpha = _positive(alpha, "alpha")
    return elu(_numbers(x) * (1.0 / alpha)) * alpha


def glu(x: Any, axis: int = -1) -> Any:
    """The first half along an axis, times the sigmoid of the second half; of arrays.

    Args:
        x: array, with an even size along the axis.
        axis: the axis.

    Raises:
        ValueError: the size is odd.
        TypeError: a symbolic tensor, which cannot be cut in halves.

    Example:
        >>> gn.activations.glu([1.0, 2.0, 0.0, 0.0])
        array([0.5, 1. ])
    """
    if is_symbolic(x):
        raise TypeError(f"glu: expected an array, since a graph has no halves of tensors. Received {x!r}.")
    array = np.atleast_1d(floating(x, "x"))
    if not -array.ndim <= _validation.integer(axis, "axis") < array.ndim or array.shape[axis] % 2:
        raise ValueError(
            f"glu: expected an even size along axis {axis}. Received an array of shape {array.shape}."
        )
    first, second = np.split(array, 2, axis)
    return first * sigmoid(second)


def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """``x`` where ``|x| >= threshold``, else 0.

    Args:
        x: array, or symbolic tensor.
        threshold: at least 0.

    Example:
        >>> gn.activations.hard_shrink([-1.0, 0.25, 8.0])
        array([-1.,  0.,  8.])
    """
    x = _numbers(x)
    return relu(x, threshold=threshold) - relu(-x, threshold=threshold)


def hard_silu(x: Any) -> Any:
    """``x hard_sigmoid(x)``; also called `hard_swish`.

    Example:
        >>> gn.activations.hard_silu([-1.0, 0.5, 8.0]).round(3)
        array([-0.333,  0.292,  8.   ])
    """
    x = _numbers(x)
    return x * hard_sigmoid(x)


hard_swish = hard_silu


def hard_tanh(x: Any) -> Any:
    """``x`` held between -1 and 1.

    Example:
        >>> gn.activations.hard_tanh([-1.5, 0.5, 8.0])
        array([-1. ,  0.5,  1. ])
    """
    return relu(_numbers(x) + 1.0, max_value=2.0) - 1.0


def log_sigmoid(x: Any) -> Any:
    """The logarithm of `sigmoid`, without its underflow.

    Example:
        >>> gn.activations.log_sigmoid([-1.0, 0.5]).round(3)
        array([-1.313, -0.474])
    """
    return -softplus(-_numbers(x))


def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """``x`` moved towards 0 by the threshold, and 0 within it.

    Args:
        x: array, or symbolic tensor.
        threshold: at least 0.

    Example:
        >>> gn.activations.soft_shrink([-1.0, 0.25, 8.0])
        array([-0.5,  0. ,  7.5])
    """
    x, threshold = _numbers(x), _validation.real(threshold, "threshold", low=0.0)
    return relu(x - threshold) - relu(-x - threshold)


def sparse_plus(x: Any) -> Any:
    """0 up to -1, ``x`` from 1 on, ``(x + 1)^2 / 4`` between.

    Example:
        >>> gn.activations.sparse_plus([-2.0, 0.0, 3.0])
        array([0.  , 0.25, 3.  ])
    """
    x = _numbers(x)
    within = relu(x + 1.0, max_value=2.0)
    return within * within * 0.25 + relu(x - 1.0)


def sparse_sigmoid(x: Any) -> Any:
    """0 up to -1, 1 from 1 on, ``(x + 1) / 2`` between.

    Example:
        >>> gn.activations.sparse_sigmoid([-0.5, 0.0, 3.0])
        array([0.25, 0.5 , 1.  ])
    """
    return relu(_numbers(x) + 1.0, max_value=2.0) * 0.5


def tanh_shrink(x: Any) -> Any:
    """``x - tanh(x)``.

    Example:
        >>> gn.activations.tanh_shrink([-1.0, 0.5]).round(3)
        array([-0.238,  0.038])
    """
    x = _numbers(x)
    return x - tanh(x)


def _positive(value: object, name: str) -> float:
    number = _validation.real(value, name)
    if number <= 0:
        raise ValueError(f"The `{name}` argument must be above 0. Received {name}={value!r}.")
    return number


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
    function: Callable[..., Any]
    if isinstance(identifier, str) and identifier in COMPOSED:
        function = globals()[identifier]
    else:
        function = globals()[activation_name(identifier)]
    return function
