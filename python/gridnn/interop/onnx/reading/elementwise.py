"""Arithmetic and activations; `curves` recognises activations that come in parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import layers
from gridnn._network import Shape
from gridnn.interop.onnx.reading.curves import (
    CURVES,
    POINTS,
    activation_step,
    applied,
    common,
    curved,
    curves_of,
    elu_of,
    erf,
    named,
    sigmoid,
    softplus,
)
from gridnn.interop.onnx.reading.files import Node
from gridnn.interop.onnx.reading.normalizations import kept_norm, scaled_norm, standardized
from gridnn.interop.onnx.reading.steps import Graph, Step, View, handles, new_view, refuse
from gridnn.interop.onnx.reading.windows import counted

__all__: list[str] = []

Array = NDArray[Any]

# Operators that are a layer


_ACTIVATIONS: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "Exp": ("exponential", np.exp),
    "Mish": ("mish", CURVES["mish"]),
    "Selu": ("selu", CURVES["selu"]),
    "Sigmoid": ("sigmoid", sigmoid),
    "Softplus": ("softplus", softplus),
    "Softsign": ("softsign", CURVES["softsign"]),
    "Tanh": ("tanh", np.tanh),
}


@handles(*_ACTIVATIONS)
def activation(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view = graph.tensor(inputs[0])
    name, curve = _ACTIVATIONS[node.op]
    if node.op == "Selu":
        given = (node.attributes.get("alpha", 1.67326), node.attributes.get("gamma", 1.0507))
        if not np.allclose(given, (1.67326, 1.0507), rtol=1e-4):
            refuse(f"its alpha and gamma are {given}")
    step = activation_step(graph, node, view.step, name)
    return view.behind(curved(graph, node, view.step, applied(view.step, curve), step))


@handles("Gelu")
def gelu(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view = graph.tensor(inputs[0])
    name = "gelu_tanh" if node.attributes.get("approximate") == "tanh" else "gelu"
    return view.behind(activation_step(graph, node, view.step, name))


def _layered(
    graph: Graph, node: Node, view: View, make: Callable[[str | None], Any], curve: Callable[[Array], Array]
) -> View:
    step = graph.layer(node, view.step, make)
    return view.behind(curved(graph, node, view.step, applied(view.step, curve), step))


@handles("Relu")
def relu(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view = graph.tensor(inputs[0])
    return _layered(graph, node, view, lambda name: layers.ReLU(name=name), CURVES["relu"])


@handles("LeakyRelu")
def leaky_relu(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view, slope = graph.tensor(inputs[0]), float(node.attributes.get("alpha", 0.01))
    if slope < 0:
        refuse(f"its alpha is {slope}")

    def curve(x: Array) -> Array:
        return np.where(x > 0, x, slope * x)

    return _layered(graph, node, view, lambda name: layers.LeakyReLU(slope, name=name), curve)


@handles("Elu")
def elu(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view, alpha = graph.tensor(inputs[0]), float(node.attributes.get("alpha", 1.0))
    return _layered(graph, node, view, lambda name: layers.ELU(alpha, name=name), lambda x: elu_of(x, alpha))


@handles("HardSigmoid")
def hard_sigmoid(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view = graph.tensor(inputs[0])
    alpha, beta = float(node.attributes.get("alpha", 0.2)), float(node.attributes.get("beta", 0.5))
    values = applied(view.step, lambda x: np.clip(alpha * x + beta, 0.0, 1.0))
    return view.behind(curved(graph, node, view.step, values))


@handles("HardSwish")
def hard_swish(graph: Graph, node: Node, inputs: list[Any]) -> View:
    """``x * hard_sigmoid(x)``, for which there is no layer: two branches that are multiplied."""
    view = graph.tensor(inputs[0])
    share = view.behind(activation_step(graph, node, view.step, "hard_sigmoid"))
    return merge(graph, node, "multiply", [view, share])


@handles("Clip")
def clip(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view = graph.tensor(inputs[0])
    if node.opset < 11:
        bounds: list[float | None] = [node.attributes.get("min"), node.attributes.get("max")]
    else:
        given = [*inputs[1:], None, None][:2]
        bounds = [None if x is None else graph.number(x, "bound") for x in given]
    low, high = (None if bound is not None and abs(bound) >= 3e38 else bound for bound in bounds)
    if low is None and high is None:
        return view
    values = applied(view.step, lambda x: np.clip(x, low, high))
    step = None
    if low == 0.0 and (high is None or high >= 0):
        step = graph.layer(node, view.step, lambda name: layers.ReLU(high, name=name))
    return view.behind(curved(graph, node, view.step, values, step))


@handles("PRelu")
def prelu(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view = graph.tensor(inputs[0])
    slopes = own_order(view, graph.constant(inputs[1], "slope").astype(np.float32))
    return view.behind(_with_slopes(graph, node, view.step, slopes))


def _with_slopes(graph: Graph, node: Node, x: Step, slopes: Array) -> Step:
    """A PReLU; axes along which there is one slope are shared."""
    shared = tuple(axis + 1 for axis, size in enumerate(slopes.shape) if size == 1 and x.shape[axis] != 1)
    alpha = np.ascontiguousarray(slopes)
    return graph.layer(
        node, x, lambda name: layers.PReLU(shared_axes=shared or None, name=name), {"alpha": alpha}
    )


@handles("Softmax", "LogSoftmax")
def softmax(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view = graph.tensor(inputs[0])
    count = len(view.shape) + 1
    axis = node.attributes.get("axis", -1 if node.opset >= 13 else 1) % count
    if axis == 0:
        refuse("it works along the batch")
    # Up to opset 12 all axes from this one on were one.
    if node.opset < 13 and any(size != 1 for size in view.shape[axis:]):
        refuse(f"it works along all axes from {axis} on")
    if view.flat:
        view = new_view(graph.plain(node, view))
    own = view.perm[axis - 1]
    if node.op == "LogSoftmax":
        if own != view.step.rank - 1:
            refuse(f"it works along axis {axis}, which is not that of the channels")
        return view.behind(activation_step(graph, node, view.step, "log_softmax"))
    return view.behind(graph.layer(node, view.step, lambda name: layers.Softmax(own + 1, name=name)))


# Operators that do nothing here


@handles("Identity", "Dropout")
def identity(graph: Graph, node: Node, inputs: list[Any]) -> Any:
    return inputs[0]


@handles("Cast")
def cast(graph: Graph, node: Node, inputs: list[Any]) -> View:
    if node.attributes.get("to") not in (1, 10, 11, 16):
        refuse("it makes integers of a tensor")
    return graph.tensor(inputs[0])


# Functions of single elements that are part of others


_PARTS: dict[str, Callable[[Array], Array]] = {
    "Abs": np.abs,
    "Erf": erf,
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
    "Sqrt": np.sqrt,
}


@handles(*_PARTS)
def part(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view = graph.tensor(inputs[0])
    return view.behind(curved(graph, node, view.step, applied(view.step, _PARTS[node.op])))


@handles("Pow")
def power(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view, exponent = graph.tensor(inputs[0]), graph.number(inputs[1], "exponent")
    step = curved(graph, node, view.step, applied(view.step, lambda x: np.power(x, exponent)))
    if exponent == 2.0:
        step.op = "Square"
    return view.behind(step)


@handles("Less", "Greater")
def less(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view, bound = graph.tensor(inputs[0]), graph.number(inputs[1], "bound")
    return view.behind(Step(node.op, (view.step,), view.step.shape, node, details={"bound": bound}))


@handles("Where")
def where(graph: Graph, node: Node, inputs: list[Any]) -> View:
    """A choice by the size of elements: activations in parts, and a ReLU with a threshold or slopes."""
    view = graph.tensor(inputs[0])
    chosen = view.step
    if chosen.op not in ("Less", "Greater"):
        refuse("it chooses between tensors")
    x, bound = chosen.inputs[0], chosen.details["bound"]
    compare = np.less if chosen.op == "Less" else np.greater
    curves = applied(x, lambda own: compare(own, bound))
    for other, pick in zip(inputs[1:], (_where_true, _where_false), strict=True):
        if isinstance(other, View):
            values = {id(start): own for start, own in curves_of(other.step)}
            curves = tuple((s, pick(own, values[id(s)])) for s, own in curves if id(s) in values)
        else:
            number = graph.number(other, "operand")
            curves = tuple((start, pick(own, number)) for start, own in curves)
    found = named(curves)
    if found is not None:
        step: Step | None = activation_step(graph, node, *found)
    else:
        step = _rectifier(graph, node, chosen, inputs[1:])
    if step is None:
        refuse("it chooses between tensors")
    step.curves = curves
    return view.behind(step)


def _where_true(chosen: Array, values: Any) -> Array:
    """The choice so far: where it is true the values, elsewhere NaN."""
    return np.where(chosen, values, np.nan)


def _where_false(chosen: Array, values: Any) -> Array:
    return np.where(np.isnan(chosen), values, chosen)


def _rectifier(graph: Graph, node: Node, chosen: Step, others: list[Any]) -> Step | None:
    """``where(x < threshold, slope (x - threshold), x)``, its cap, or slopes of channels."""
    x, bound = chosen.inputs[0], chosen.details["bound"]
    yes, no = (other.step if isinstance(other, View) else other for other in others)
    if chosen.op == "Less" and isinstance(yes, Step) and no is x:
        values = {id(start): own for start, own in curves_of(yes)}.get(id(x))
        near = bound > POINTS
        if values is not None and near.any():
            slopes = values[near] / (POINTS[near] - bound)
            if np.allclose(slopes, slopes[0], rtol=1e-4, atol=1e-6) and slopes[0] >= 0:
                return _rectified(graph, node, x, None, float(slopes[0]), bound)
    if chosen.op == "Less" and isinstance(yes, Step) and isinstance(no, np.ndarray):
        details = yes.details
        same = yes.op == "ReLU" and yes.inputs[0] is x and details.get("threshold") is not None
        if same and graph.number(no, "cap") == bound:
            return _rectified(graph, node, x, bound, details["slope"], details["threshold"])
    sloped = isinstance(no, Step) and "slopes" in no.details and no.inputs[0] is x
    if chosen.op == "Greater" and bound == 0.0 and yes is x and sloped:
        return _with_slopes(graph, node, x, no.details["slopes"])
    return None


def _rectified(graph: Graph, node: Node, x: Step, cap: float | None, slope: float, threshold: float) -> Step:
    return graph.layer(
        node,
        x,
        lambda name: layers.ReLU(cap, slope, threshold, name=name),
        slope=slope,
        threshold=threshold if cap is None else None,
    )


# Arithmetic


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Min": np.minimum,
    "Max": np.maximum,
    "Sum": np.add,
}
_MERGES = {
    "Add": "add",
    "Max": "maximum",
    "Mean": "average",
    "Min": "minimum",
    "Mul": "multiply",
    "Sub": "subtract",
    "Sum": "add",
}


@handles("Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Mean")
def arithmetic(graph: Graph, node: Node, inputs: list[Any]) -> View:
    tensors = [x for x in inputs if isinstance(x, View)]
    if len(tensors) == len(inputs):
        return _of_tensors(graph, node, tensors)
    if len(inputs) != 2 or node.op == "Mean":
        refuse("it mixes tensors and constants")
    first_is_tensor = isinstance(inputs[0], View)
    view, values = graph.tensor(tensors[0]), graph.constant(inputs[first_is_tensor], "operand")
    norm = kept_norm(node, view, values)
    if norm is not None:
        return norm
    return _with_constant(graph, node, view, values.astype(np.float64), reverse=not first_is_tensor)


def _of_tensors(graph: Graph, node: Node, views: list[View]) -> View:
    if len(views) == 1:
        return views[0]
    a, b = (views[0], views[1])
    if len(views) == 2:
        special = standardized(graph, node, a, b)
        if special is not None:
            return special
        if node.op in _ARITHMETIC and (a.perm, a.flat) == (b.perm, b.flat):
            curves = common(a.step, b.step, _ARITHMETIC[node.op])
            found = named(curves)
            if found is not None:
                step = activation_step(graph, node, *found)
                step.curves = curves
                return a.behind(step)
            if curves and any(view.step.partial for view in views):
                return a.behind(Step(node.op, (a.step, b.step), a.step.shape, node, curves=curves))
    if node.op not in _MERGES:
        refuse("there is no layer for it between tensors")
    return merge(graph, node, _MERGES[node.op], views)


def merge(graph: Graph, node: Node, kind: str, views: list[View], axis: int = -1) -> View:
    """Branches that meet, in the order of axes of the first one.

    Args:
        graph: the graph.
        node: the operator.
        kind: "concat", or how elements are put together.
        views: what it reads.
        axis: of the samples that they see, along which "concat" joins.
    """
    seen, (perm, flat) = views[0].shape, (views[0].perm, views[0].flat)
    if any((view.perm, view.flat) != (perm, flat) for view in views):
        views = [new_view(graph.plain(node, view)) for view in views]
        perm, flat = views[0].perm, False
    if flat and len({view.step.shape for view in views}) > 1:
        views = [new_view(graph.plain(node, view)) for view in views]
        perm, flat = views[0].perm, False
    shapes = [view.step.shape for view in views]
    own = perm[axis] if kind == "concat" else None
    shape = _merged_shape(shapes, own)
    if shape is None:
        refuse(f"it puts shapes {[view.shape for view in views]} together, {seen} first")
    details = {"merge": kind, "axis": own, "alike": len(set(shapes)) == 1}
    step = Step("merge", tuple(view.step for view in views), shape, node, details=details)
    return View(step, perm, flat)


def _merged_shape(shapes: Sequence[Shape], joined: int | None) -> Shape | None:
    """The shape of what is made of several: the sum along axis `joined`; else sizes of 1 are repeated."""
    if len({len(shape) for shape in shapes}) > 1:
        return None
    sizes: list[int | None] = []
    for axis, along in enumerate(zip(*shapes, strict=True)):
        longer = {size for size in along if size != 1} or {1}
        if axis == joined:
            sizes.append(None if None in along else sum(size or 0 for size in along))
        elif len(set(along) if joined is not None else longer) > 1:
            return None
        else:
            sizes.append(longer.pop())
    return tuple(sizes)


def own_order(view: View, values: Array) -> Array:
    """Constants that broadcast with a tensor, as they do with a sample of what its layer makes."""
    seen = view.shape
    if values.ndim > len(seen) + 1 or (values.ndim == len(seen) + 1 and values.shape[0] != 1):
        refuse(f"an operand of shape {values.shape} for samples of shape {seen}")
    values = values.reshape(values.shape[-len(seen) :] if values.ndim > len(seen) else values.shape)
    values = values.reshape((1,) * (len(seen) - values.ndim) + values.shape)
    if any(values.shape[axis] not in (1, other) for axis, other in enumerate(seen)):
        refuse(f"an operand of shape {values.shape} for samples of shape {seen}")
    step = view.step
    if view.flat:
        if values.size == 1:
            return values.reshape((1,) * step.rank)
        values = values.reshape([step.shape[axis] or 1 for axis in view.perm])
    inverse = np.argsort(view.perm)
    return np.asarray(values.transpose(inverse))


def _with_constant(graph: Graph, node: Node, view: View, values: Array, *, reverse: bool) -> View:
    op, x = node.op, view.step
    if op in ("Min", "Max") or (reverse and op == "Div"):
        return _curve_with_number(graph, node, view, values, reverse=reverse)
    own = own_order(view, values)
    if reverse and op == "Sub":  # c - x
        x = _rescaled(graph, node, x, -1.0, 0.0)
        op = "Add"
    if own.size == 1:
        number = float(own.ravel()[0])
        scale, offset = {"Add": (1.0, number), "Sum": (1.0, number), "Sub": (1.0, -number)}.get(
            op, (1.0, 0.0)
        )
        if op in ("Mul", "Div"):
            scale = number if op == "Mul" else 1.0 / number if number else math.inf
        return view.behind(_rescaled(graph, node, x, scale, offset))
    if op == "Mul":
        pool = counted(graph, node, x, own)
        if pool is not None:
            return view.behind(pool)
    if all(size == 1 for size in own.shape[:-1]):
        return view.behind(_by_channel(graph, node, x, op, own.ravel()))
    norm = scaled_norm(graph, node, x, op, own)
    if norm is not None:
        return view.behind(norm)
    return refuse(f"its operand of shape {values.shape} is neither one number nor one per channel")


def _curve_with_number(graph: Graph, node: Node, view: View, values: Array, *, reverse: bool) -> View:
    if values.size != 1:
        refuse("its operand is not a single number")
    number, function, x = float(values.ravel()[0]), _ARITHMETIC[node.op], view.step
    curve = applied(x, lambda own: function(number, own) if reverse else function(own, number))
    step = None
    if node.op == "Min" and x.op == "LeakyReLU" and number >= 0:
        slope = float(getattr(x.make(None), "negative_slope", 0.0)) if x.make else 0.0
        step = graph.layer(node, x.inputs[0], lambda name: layers.ReLU(number, slope, name=name))
    if node.op == "Max" and number == 0.0:
        step = graph.layer(node, x, lambda name: layers.ReLU(name=name))
    return view.behind(curved(graph, node, x, curve, step))


def _rescaled(graph: Graph, node: Node, x: Step, scale: float, offset: float) -> Step:
    """``x * scale + offset``, one layer with a multiplication before it."""
    if not (math.isfinite(scale) and math.isfinite(offset)):
        refuse("its operand is not a finite number")
    curves = applied(x, lambda own: own * scale + offset)
    if x.partial and named(curves) is not None:
        return curved(graph, node, x, curves)
    source = x
    if scale == 1.0 and x.op == "Rescaling" and x.details.get("offset") == 0.0:
        source, scale = x.inputs[0], x.details["scale"]
    step = graph.layer(
        node,
        source,
        lambda own: layers.Rescaling(scale, offset, name=own),
        scale=scale,
        offset=offset,
    )
    return curved(graph, node, x, curves, step)


def _by_channel(graph: Graph, node: Node, x: Step, op: str, values: Array) -> Step:
    """One number per channel: a bias or a scale of the layer before, or a layer of its own."""
    adding = op in ("Add", "Sum")
    if adding and "kernel" in x.weights and "bias" not in x.weights and x.make is not None:
        layer = x.make
        return Step(
            x.op,
            x.inputs,
            x.shape,
            x.node,
            lambda name: _with_bias(layer(name)),
            {**x.weights, "bias": values.astype(np.float32)},
        )
    norm = scaled_norm(graph, node, x, op, values.reshape((1,) * (x.rank - 1) + (-1,)))
    if norm is not None:
        return norm
    if op == "Div" and x.op == "Shifted":
        mean = x.details["mean"]
        if (np.abs(values) > 1e-7).all() and (np.abs(values) > 1e-14 * np.abs(mean)).all():
            numbers = mean.tolist(), (values.astype(np.float64) ** 2).tolist()
            return graph.layer(node, x.inputs[0], lambda name: layers.Normalization(-1, *numbers, name=name))
    channels = len(values)
    zeros, ones = np.zeros(channels, np.float32), np.ones(channels, np.float32)
    if op == "Div" and not (values > 0).all():
        values, op = 1.0 / values, "Mul"
    own = values.astype(np.float32)
    weights = {"gamma": ones, "beta": zeros, "moving_mean": zeros, "moving_variance": ones}
    if adding:
        weights["beta"] = own
    elif op == "Sub":
        weights["moving_mean"] = own
    elif op == "Mul":
        weights["gamma"] = own
    else:
        weights["moving_variance"] = (values**2).astype(np.float32)
    details = {"Sub": {"mean": values}, "Mul": {"slopes": own.reshape((1,) * (x.rank - 1) + (-1,))}}.get(
        op, {}
    )
    # Fixed numbers of the file, which training leaves alone as it did before.
    return graph.layer(
        node,
        x,
        lambda name: layers.BatchNormalization(epsilon=0.0, trainable=False, name=name),
        weights,
        op="Shifted" if op == "Sub" else None,
        trainable=False,
        **details,
    )


def _with_bias(layer: Any) -> Any:
    return type(layer).from_config({**layer.get_config(), "use_bias": True})
