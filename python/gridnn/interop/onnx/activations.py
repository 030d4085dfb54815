"""Activations, by name and as layers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from gridnn.interop.onnx.builder import Site
from gridnn.interop.onnx.tensors import Tensor

__all__ = [
    "activate",
    "activation_layer",
    "elu",
    "leaky_relu",
    "prelu",
    "relu_layer",
    "softmax_layer",
]

Rule = Callable[[Site, Tensor, str], str]
"""Adds operators behind a tensor; the last argument ends their names."""


def activate(site: Site, x: Tensor, activation: str) -> Tensor:
    """A tensor behind an activation, in the order that it is in."""
    if activation == "linear":
        return x
    if activation not in _RULES:
        site.refuse(f"the activation '{activation}' is to be a layer of its own")
    return x.like(_RULES[activation](site, x, activation))


def _operator(kind: str, **attributes: float) -> Rule:
    """An activation that is an operator of its own."""
    return lambda site, x, suffix: site.op(kind, [x.name], suffix, **attributes)


def _since(opset: int, native: Rule, composed: Rule) -> Rule:
    """An activation that became an operator."""
    return lambda site, x, suffix: (native if site.opset >= opset else composed)(site, x, suffix)


def _along_channels(kind: str) -> Rule:
    return lambda site, x, suffix: site.op(kind, [x.name], suffix, axis=x.axis(-1))


def _relu6(site: Site, x: Tensor, suffix: str) -> str:
    bounds = [site.constant(np.float32(bound), f"{suffix}/{bound}") for bound in (0.0, 6.0)]
    return site.op("Clip", [x.name, *bounds], suffix)


def _silu(site: Site, x: Tensor, suffix: str) -> str:
    return site.op("Mul", [x.name, site.op("Sigmoid", [x.name], f"{suffix}/sigmoid")], suffix)


def _mish(site: Site, x: Tensor, suffix: str) -> str:
    soft = site.op("Softplus", [x.name], f"{suffix}/softplus")
    return site.op("Mul", [x.name, site.op("Tanh", [soft], f"{suffix}/tanh")], suffix)


def _gelu(site: Site, x: Tensor, suffix: str) -> str:
    """``x / 2 (1 + erf(x / sqrt(2)))``."""
    scale = site.constant(np.float32(math.sqrt(2.0)), f"{suffix}/sqrt2")
    share = site.op("Erf", [site.op("Div", [x.name, scale], f"{suffix}/scaled")], f"{suffix}/erf")
    return _half_of_one_more(site, x, share, suffix)


def _gelu_tanh(site: Site, x: Tensor, suffix: str) -> str:
    """``x / 2 (1 + tanh(sqrt(2 / pi) x (1 + 0.044715 x^2)))``."""
    one = site.constant(np.float32(1.0), f"{suffix}/one")
    square = site.op("Mul", [x.name, x.name], f"{suffix}/square")
    curve = site.op(
        "Mul", [square, site.constant(np.float32(0.044715), f"{suffix}/curve")], f"{suffix}/curved"
    )
    bent = site.op("Mul", [site.op("Add", [curve, one], f"{suffix}/bend"), x.name], f"{suffix}/bent")
    scale = site.constant(np.float32(math.sqrt(2.0 / math.pi)), f"{suffix}/scale")
    share = site.op("Tanh", [site.op("Mul", [bent, scale], f"{suffix}/scaled")], f"{suffix}/tanh")
    return _half_of_one_more(site, x, share, suffix)


def _half_of_one_more(site: Site, x: Tensor, share: str, suffix: str) -> str:
    one, half = (site.constant(np.float32(value), f"{suffix}/{name}") for value, name in _HALF_AND_ONE)
    more = site.op("Add", [share, one], f"{suffix}/more")
    return site.op("Mul", [site.op("Mul", [x.name, more], f"{suffix}/double"), half], suffix)


_HALF_AND_ONE = ((1.0, "one"), (0.5, "half"))

_RULES: dict[str, Rule] = {
    "elu": _operator("Elu", alpha=1.0),
    "exponential": _operator("Exp"),
    "gelu": _since(20, lambda site, x, suffix: site.op("Gelu", [x.name], suffix), _gelu),
    "gelu_tanh": _since(
        20, lambda site, x, suffix: site.op("Gelu", [x.name], suffix, approximate="tanh"), _gelu_tanh
    ),
    "hard_sigmoid": _operator("HardSigmoid", alpha=1.0 / 6.0, beta=0.5),
    "leaky_relu": _operator("LeakyRelu", alpha=0.2),
    "log_softmax": _along_channels("LogSoftmax"),
    "mish": _since(18, _operator("Mish"), _mish),
    "relu": _operator("Relu"),
    "relu6": _relu6,
    "selu": _operator("Selu"),
    "sigmoid": _operator("Sigmoid"),
    "silu": _silu,
    "softmax": _along_channels("Softmax"),
    "softplus": _operator("Softplus"),
    "softsign": _operator("Softsign"),
    "tanh": _operator("Tanh"),
}


def activation_layer(site: Site) -> Tensor:
    """`Activation`, whose operator has the layer's name."""
    activation = site.layer.activation
    if activation == "linear":
        return site.x
    return site.x.like(_RULES[activation](site, site.x, ""))


def relu_layer(site: Site) -> Tensor:
    """`ReLU` with its cap, slope and threshold."""
    layer, x = site.layer, site.x
    cap, slope, threshold = layer.max_value, layer.negative_slope, layer.threshold
    if threshold:
        return x.like(_from_threshold_on(site))
    if slope == 0.0 and cap is None:
        return x.like(site.op("Relu", [x.name]))
    if slope == 0.0:
        low, high = (site.constant(np.float32(value), name) for value, name in ((0.0, "zero"), (cap, "cap")))
        return x.like(site.op("Clip", [x.name, low, high]))
    if cap is None:
        return x.like(site.op("LeakyRelu", [x.name], alpha=slope))
    return x.like(_capped(site, site.op("LeakyRelu", [x.name], "slope", alpha=slope)))


def _from_threshold_on(site: Site) -> str:
    layer, x = site.layer, site.x
    threshold = site.constant(np.float32(layer.threshold), "threshold")
    below = site.op("Less", [x.name, threshold], "below")
    shifted = site.op("Sub", [x.name, threshold], "shifted")
    sloped = site.op("Mul", [shifted, site.constant(np.float32(layer.negative_slope), "slope")], "sloped")
    if layer.max_value is None:
        return site.op("Where", [below, sloped, x.name])
    uncapped = site.op("Where", [below, sloped, x.name], "uncapped")
    # By the input, not by the result: a cap below the threshold holds from there on.
    cap = site.constant(np.float32(layer.max_value), "cap")
    return site.op("Where", [site.op("Less", [x.name, cap], "below_cap"), uncapped, cap])


def _capped(site: Site, name: str) -> str:
    return site.op("Min", [name, site.constant(np.float32(site.layer.max_value), "cap")])


def leaky_relu(site: Site) -> Tensor:
    """`LeakyReLU`."""
    return site.x.like(site.op("LeakyRelu", [site.x.name], alpha=site.layer.negative_slope))


def elu(site: Site) -> Tensor:
    """`ELU`."""
    return site.x.like(site.op("Elu", [site.x.name], alpha=site.layer.alpha))


def prelu(site: Site) -> Tensor:
    """`PReLU`: slopes in the order of the tensor."""
    slopes = site.constant(site.x.arranged(site.layer.alpha), "alpha")
    return site.x.like(site.op("PRelu", [site.x.name, slopes]))


def softmax_layer(site: Site) -> Tensor:
    """`Softmax` along any axis."""
    axis = site.layer.axis
    if not isinstance(axis, int):
        site.refuse("there is no softmax over several axes")
    sample = axis if axis < 0 else axis - 1
    return site.x.like(site.op("Softmax", [site.x.name], axis=site.x.axis(sample)))
