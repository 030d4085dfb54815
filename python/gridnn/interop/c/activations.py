"""Activations: an expression of one element each, and softmax along an axis."""

from __future__ import annotations

import math

from gridnn.interop.c.code import number
from gridnn.interop.c.steps import Site, size_of

__all__ = ["activate", "activation_layer", "elementwise", "elu", "leaky_relu", "relu_layer", "softmax_layer"]

# A comparison with NaN is false: what is left then is `v`, so that NaN goes through as in the engine.
_GELU = f"{number(math.sqrt(2 / math.pi))} * v * (1.0f + 0.044715f * v * v)"

_EXPRESSIONS = {
    "elu": "v < 0.0f ? expm1f(v) : v",
    "exponential": "expf(v)",
    "gelu": f"0.5f * v * (1.0f + erff(v * {number(math.sqrt(0.5))}))",
    "gelu_tanh": f"0.5f * v * (1.0f + tanhf({_GELU}))",
    "hard_sigmoid": f"v < -3.0f ? 0.0f : v > 3.0f ? 1.0f : v * {number(1 / 6)} + 0.5f",
    "leaky_relu": "v < 0.0f ? 0.2f * v : v",
    "mish": "v * tanhf(log1pf(expf(v)))",
    "relu": "v < 0.0f ? 0.0f : v",
    "relu6": "v < 0.0f ? 0.0f : v > 6.0f ? 6.0f : v",
    "selu": "1.05070098f * (v < 0.0f ? 1.67326324f * expm1f(v) : v)",
    "sigmoid": "1.0f / (1.0f + expf(-v))",
    "silu": "v / (1.0f + expf(-v))",
    "softplus": "v > 0.0f ? v + log1pf(expf(-v)) : log1pf(expf(v))",
    "softsign": "v / (1.0f + fabsf(v))",
    "tanh": "tanhf(v)",
}


def activate(site: Site, activation: str, note: str = "") -> None:
    """Adds an activation by its name."""
    if activation == "linear":
        return
    if activation in ("softmax", "log_softmax"):
        _along(site, site.rank - 1, logarithm=activation == "log_softmax", note=note)
    elif activation in _EXPRESSIONS:
        elementwise(site, _EXPRESSIONS[activation], note)
    else:
        site.refuse(f"the activation '{activation}' is not known in C")


def elementwise(site: Site, expression: str, note: str = "") -> None:
    """Adds an expression of ``v``, which is each element in turn."""
    with (
        site.step(site.shape, in_place=True, note=note) as code,
        code.loop("i", size_of(site.shape)),
    ):
        code.add("const float v = x[i];", f"y[i] = {expression};")


def activation_layer(site: Site) -> None:
    """`Activation`."""
    activate(site, site.layer.activation)


def relu_layer(site: Site) -> None:
    """`ReLU` with its cap, slope and threshold."""
    layer = site.layer
    keys = ("threshold", "negative_slope")
    threshold, slope = (float(site.finite(getattr(layer, key), key)) for key in keys)
    limit = number(threshold)
    below = f"{number(slope)} * (v - {limit})" if slope else "0.0f"
    expression = f"v < {limit} ? {below} : v"
    if layer.max_value is not None:
        # By the input, not by the result: a cap below the threshold holds from there on.
        cap = number(float(site.finite(layer.max_value, "max_value")))
        expression = f"v >= {cap} ? {cap} : {expression}"
    elementwise(site, expression)


def leaky_relu(site: Site) -> None:
    """`LeakyReLU`."""
    slope = number(float(site.finite(site.layer.negative_slope, "negative_slope")))
    elementwise(site, f"v < 0.0f ? {slope} * v : v")


def elu(site: Site) -> None:
    """`ELU`."""
    alpha = number(float(site.finite(site.layer.alpha, "alpha")))
    elementwise(site, f"v < 0.0f ? {alpha} * expm1f(v) : v")


def softmax_layer(site: Site) -> None:
    """`Softmax` along any axis."""
    axis = site.layer.axis
    if not isinstance(axis, int):
        site.refuse("there is no softmax over several axes")
    _along(site, (axis if axis < 0 else axis - 1) % site.rank, logarithm=False)


def _along(site: Site, axis: int, *, logarithm: bool, note: str = "") -> None:
    count = site.shape[axis]
    outer, inner = size_of(site.shape[:axis]), size_of(site.shape[axis + 1 :])
    step = "" if inner == 1 else f" * {inner}"
    with (
        site.step(site.shape, in_place=True, note=note) as code,
        code.loops(["row", "column"][: 1 + (inner > 1)], [outer, inner]),
    ):
        start = f"row * {count * inner}" + (" + column" if inner > 1 else "")
        code.add(f"const float *in = x + {start};", f"float *out = y + {start};")
        code.add("float top = in[0], sum = 0.0f;")
        with code.loop("i", count, 1):
            code.add(f"top = in[i{step}] > top ? in[i{step}] : top;")
        if logarithm:
            with code.loop("i", count):
                code.add(f"sum += expf(in[i{step}] - top);")
            code.add("sum = logf(sum);")
            with code.loop("i", count):
                code.add(f"out[i{step}] = in[i{step}] - top - sum;")
            return
        with code.loop("i", count):
            code.add(f"out[i{step}] = expf(in[i{step}] - top);", f"sum += out[i{step}];")
        with code.loop("i", count):
            code.add(f"out[i{step}] /= sum;")
