"""Products of matrices, and layers that normalise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import layers
from gridnn.interop.onnx.reading.files import Node
from gridnn.interop.onnx.reading.folding import axes_of
from gridnn.interop.onnx.reading.steps import Graph, Step, View, handles, new_view, refuse
from gridnn.interop.onnx.reading.windows import ranked

__all__: list[str] = []

Array = NDArray[Any]

_MOST_REPEATED = 2**22
"""Weights that a file gives once for several elements."""


def _dense(graph: Graph, node: Node, view: View, kernel: Array, bias: Array | None) -> View:
    """A Dense; behind a vector that was a grid, with rows in the order of elements with channels last."""
    kernel = kernel.astype(np.float32)
    step = view.step
    if view.flat:
        sizes = [step.shape[axis] for axis in view.perm]
        if None in sizes or kernel.shape[0] != np.prod([size or 1 for size in sizes]):
            refuse(f"its kernel of shape {kernel.shape} does not fit samples of shape {view.shape}")
        rows = np.arange(len(kernel)).reshape([size or 1 for size in sizes])
        kernel = kernel[rows.transpose(np.argsort(view.perm)).ravel()]
        source = step
        step = graph.layer(node, source, lambda name: layers.Flatten(name=name))
    elif view.perm[-1] != step.rank - 1:
        step = graph.plain(node, view)
        view = new_view(step)
    if step.shape[-1] != kernel.shape[0]:
        refuse(f"its kernel of shape {kernel.shape} does not fit samples of shape {view.shape}")
    weights = {"kernel": kernel}
    if bias is not None:
        weights["bias"] = bias.astype(np.float32)
    units = kernel.shape[1]
    made = graph.layer(
        node,
        step,
        lambda name: layers.Dense(units, use_bias=bias is not None, name=name),
        weights,
        op="Dense",
    )
    return new_view(made) if view.flat else View(made, view.perm)


@handles("Gemm")
def gemm(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view, kernel = graph.tensor(inputs[0]), graph.constant(inputs[1], "matrix")
    if node.attributes.get("transA"):
        refuse("it transposes samples")
    if kernel.ndim != 2 or len(view.shape) != 1:
        refuse(f"its matrix has shape {kernel.shape}, samples {view.shape}")
    kernel = kernel.T if node.attributes.get("transB") else kernel
    kernel = kernel * np.float32(node.attributes.get("alpha", 1.0))
    bias = None
    if len(inputs) > 2 and inputs[2] is not None:
        bias = graph.constant(inputs[2], "bias") * np.float32(node.attributes.get("beta", 1.0))
        if bias.size not in (1, kernel.shape[1]):
            refuse(f"its bias has shape {bias.shape}")
        bias = np.broadcast_to(bias.ravel(), (kernel.shape[1],)).copy()
    return _dense(graph, node, view, kernel, bias)


@handles("MatMul")
def matmul(graph: Graph, node: Node, inputs: list[Any]) -> View:
    if isinstance(inputs[0], np.ndarray):
        return _along_axis(graph, node, graph.tensor(inputs[1]), inputs[0].T, -2)
    if all(isinstance(x, View) and not x.flat and x.step.rank == 2 for x in inputs):
        return _of_matrices(graph, node, *inputs)
    view, kernel = graph.tensor(inputs[0]), graph.constant(inputs[1], "matrix")
    if kernel.ndim != 2:
        refuse(f"its matrix has shape {kernel.shape}")
    if not view.flat and view.perm[-1] != view.step.rank - 1:
        return _along_axis(graph, node, view, kernel, -1)
    return _dense(graph, node, view, kernel, None)


def _of_matrices(graph: Graph, node: Node, a: View, b: View) -> View:
    """A product of two tensors: Dot along the last axis of one and the first of the other."""
    axes = a.perm[1], b.perm[0]
    if a.shape[1] != b.shape[0]:
        refuse(f"it multiplies matrices of shapes {a.shape} and {b.shape}")
    shape = (a.shape[0], b.shape[1])
    details: dict[str, Any] = {"merge": "dot", "alike": False}
    units = [_unit(graph, view.step, axis) for view, axis in zip((a, b), axes, strict=True)]
    if units[0] is not None and units[1] is not None:
        details["normalize"] = True
        a, b = View(units[0], a.perm), View(units[1], b.perm)
    details["axes"] = tuple(axis + 1 for axis in axes)
    return new_view(Step("merge", (a.step, b.step), shape, node, details=details))


def _unit(graph: Graph, step: Step, axis: int) -> Step | None:
    """A tensor before it was divided by its norm along what is this axis now; None if it was not."""
    between: list[Step] = []
    while step.op in ("Permute", "Reshape") and step.make is not None:
        between.append(step)
        step = step.inputs[0]
    if step.op != "Unit":
        return None
    source, (own,) = step.inputs[0], step.details["axes"]
    if not between:
        return source if own == axis else None
    sizes = [size or 0 for size in source.shape]
    if not 0 < math.prod(sizes) <= _MOST_REPEATED:
        return None
    # Where the elements along that axis have come to.
    places = np.broadcast_to(np.arange(sizes[own]).reshape(-1, *[1] * (len(sizes) - own - 1)), sizes)
    for moved in reversed(between):
        assert moved.make is not None
        dims = getattr(moved.make(None), "dims", None)
        places = places.reshape(moved.shape) if dims is None else places.transpose([dim - 1 for dim in dims])
        source = graph.layer(moved.node, source, moved.make)
    along = np.moveaxis(places, axis, -1)
    return source if along.shape[-1] == sizes[own] and (along == np.arange(sizes[own])).all() else None


@handles("ReduceL2")
def norm(graph: Graph, node: Node, inputs: list[Any]) -> View:
    """No layer by itself, but part of a Dot that normalizes."""
    view, given = graph.tensor(inputs[0]), axes_of(node, inputs)
    if view.flat or given is None or len(given) != 1 or not node.attributes.get("keepdims", 1):
        refuse("it is no norm along one axis that stays")
    seen = given[0] % (view.step.rank + 1)
    if seen == 0:
        refuse("it works along the batch")
    axes = [view.perm[seen - 1]]
    sizes = tuple(1 if axis in axes else size for axis, size in enumerate(view.step.shape))
    return view.behind(Step(node.op, (view.step,), sizes, node, details={"axes": axes}))


def kept_norm(node: Node, view: View, least: Array) -> View | None:
    """The larger of a norm and of a tiny number; None if it is something else."""
    step = view.step
    tiny = least.size == 1 and 0.0 <= float(least.ravel()[0]) <= 1e-5
    if step.op != "ReduceL2" or node.op != "Max" or not tiny:
        return None
    return view.behind(Step("Norm", step.inputs, step.shape, node, details=step.details))


def _along_axis(graph: Graph, node: Node, view: View, kernel: Array, axis: int) -> View:
    """A matrix along a spatial axis: windows of an adaptive pool, or a Dense that sees the axes turned."""
    if kernel.ndim != 2 or view.flat or view.step.rank < 2:
        refuse(f"its matrix has shape {kernel.shape}, samples {view.shape}")
    own = view.perm[axis]
    step, rank = view.step, view.step.rank - 1
    size, outputs = kernel.shape
    if own < rank and step.shape[own] == size and None not in step.shape:
        edges = [(i * size // outputs, -(-(i + 1) * size // outputs)) for i in range(outputs)]
        if size * outputs <= kernel.size and _is_mean(kernel, edges):
            cls = ranked("AdaptiveAveragePooling", rank)
            target = tuple(outputs if axis == own else step.shape[axis] or 1 for axis in range(rank))
            return view.behind(graph.layer(node, step, lambda name: cls(target, name=name)))
    if axis == -2:
        refuse("a constant where a tensor is expected")
    return _dense(graph, node, view, kernel, None)


def _is_mean(kernel: Array, edges: list[tuple[int, int]]) -> bool:
    expected = np.zeros_like(kernel)
    for column, (begin, end) in enumerate(edges):
        expected[begin:end, column] = 1.0 / max(end - begin, 1)
    return np.allclose(kernel, expected, atol=1e-6)


@handles("BatchNormalization")
def batch_normalization(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view = graph.tensor(inputs[0])
    if node.attributes.get("training_mode") or any(node.outputs[1:]):
        refuse("it is in training")
    if view.flat:
        view = new_view(graph.plain(node, view))
    axis = view.perm[0] + 1
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    weights = {
        name: graph.constant(x, name).astype(np.float32) for name, x in zip(names, inputs[1:], strict=True)
    }
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    momentum = float(node.attributes.get("momentum", 0.9))
    step = graph.layer(
        node,
        view.step,
        lambda name: layers.BatchNormalization(
            -1 if axis == view.step.rank else axis, momentum, epsilon, name=name
        ),
        weights,
    )
    return view.behind(step)


@handles("InstanceNormalization")
def instance_normalization(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view: View = inputs[0] if isinstance(inputs[0], View) else refuse("a constant where a tensor is expected")
    gamma, beta = (graph.constant(x, "scale").astype(np.float32) for x in inputs[1:])
    if view.flat:
        view = View(graph.plain(node, View(view.step, view.perm, True)), (0,), False, view.groups)
    axis, epsilon = view.perm[0] + 1, float(node.attributes.get("epsilon", 1e-5))
    if view.groups is None:
        weights = {"gamma": gamma, "beta": beta}
        step = graph.layer(
            node,
            view.step,
            lambda name: layers.GroupNormalization(-1, _last(axis, view), epsilon, name=name),
            weights,
        )
        return view.behind(step)
    if not ((gamma == 1).all() and (beta == 0).all()):
        refuse("it scales groups of channels")
    groups = view.groups
    step = graph.layer(
        node,
        view.step,
        lambda name: layers.GroupNormalization(
            groups, _last(axis, view), epsilon, center=False, scale=False, name=name
        ),
        axes=(axis - 1,),
    )
    return view.behind(step)


def _last(axis: int, view: View) -> int:
    return -1 if axis == view.step.rank else axis


@handles("GroupNormalization")
def group_normalization(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view = graph.tensor(inputs[0])
    gamma, beta = (graph.constant(x, "scale").astype(np.float32) for x in inputs[1:])
    groups, axis = node.attributes["num_groups"], view.perm[0] + 1
    channels = view.step.shape[axis - 1]
    if view.flat or channels is None or channels % max(groups, 1):
        refuse(f"it makes {groups} groups of {channels} channels")
    if node.opset < 21:  # one number for each group
        gamma, beta = (np.repeat(x, channels // len(x)) for x in (gamma, beta))
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    step = graph.layer(
        node,
        view.step,
        lambda name: layers.GroupNormalization(groups, _last(axis, view), epsilon, name=name),
        {"gamma": gamma, "beta": beta},
    )
    return view.behind(step)


@handles("LayerNormalization")
def layer_normalization(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view = graph.tensor(inputs[0])
    if view.flat:
        view = new_view(graph.plain(node, view))
    count, rank = len(view.shape) + 1, view.step.rank
    axis = node.attributes.get("axis", -1) % count
    if axis == 0 or any(node.outputs[1:]):
        refuse("it works along the batch, or gives its statistics")
    seen = list(range(axis, count))
    own = [view.perm[place - 1] for place in seen]
    sizes = [view.step.shape[place] or 1 for place in own]
    weights = {}
    for name, x in zip(("gamma", "beta"), inputs[1:], strict=False):
        if x is not None:
            values = graph.constant(x, name).astype(np.float32)
            if values.size != math.prod(sizes):
                refuse(f"its {name} has shape {values.shape}, samples {view.shape}")
            values = values.reshape(sizes)
            weights[name] = np.ascontiguousarray(values.transpose(np.argsort(own)))
    axes = tuple(place + 1 for place in sorted(own))
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    center, scale = "beta" in weights, "gamma" in weights
    step = graph.layer(
        node,
        view.step,
        lambda name: layers.LayerNormalization(
            -1 if axes == (rank,) else axes, epsilon, center, scale, name=name
        ),
        weights,
    )
    return view.behind(step)


# A layer normalization in parts: x - mean(x), its square, the mean of that, + epsilon, sqrt, division.


def standardized(graph: Graph, node: Node, a: View, b: View) -> View | None:
    """The parts of a normalization that put two tensors together; None if these are not."""
    x, y = a.step, b.step
    if node.op == "Div" and y.op in ("ReduceL2", "Norm") and y.inputs[0] is x:
        return a.behind(Step("Unit", (x,), x.shape, node, details=y.details))
    if node.op == "Sub" and y.op == "ReduceMean" and y.inputs[0] is x and y.make is None:
        return a.behind(Step("Centred", (x,), x.shape, node, details=y.details))
    if node.op == "Mul" and x is y and x.op == "Centred":
        return a.behind(Step("Square", (x,), x.shape, node))
    if node.op != "Div" or x.op != "Centred" or y.op != "Sqrt" or y.inputs[0].op != "Rescaling":
        return None
    shifted = y.inputs[0]
    mean, epsilon = shifted.inputs[0], shifted.details["offset"]
    square = mean.inputs[0] if mean.op == "ReduceMean" else None
    if (
        square is None
        or square.op != "Square"
        or square.inputs[0] is not x
        or shifted.details["scale"] != 1.0
    ):
        return None
    axes = x.details["axes"]
    if mean.details["axes"] != axes:
        return None
    source = x.inputs[0]
    given = tuple(axis + 1 for axis in axes)
    step = graph.layer(
        node,
        source,
        lambda name: layers.LayerNormalization(given, epsilon, center=False, scale=False, name=name),
        axes=tuple(axes),
    )
    return a.behind(step)


def scaled_norm(graph: Graph, node: Node, x: Step, op: str, values: Array) -> Step | None:
    """A normalization with the scale or the shift that follows it; None if there is none that takes it."""
    if "axes" not in x.details or x.make is None or x.op not in ("LayerNormalization", "GroupNormalization"):
        return None
    axes, adding = x.details["axes"], op in ("Add", "Sum")
    name = "beta" if adding else "gamma"
    if op not in ("Mul", "Add", "Sum") or name in x.weights or (name == "gamma" and "beta" in x.weights):
        return None
    sizes = [x.shape[axis] if axis in axes else 1 for axis in range(x.rank)]
    if any(size not in (1, own) for size, own in zip(values.shape, sizes, strict=True)) or None in sizes:
        return None
    if math.prod(size or 1 for size in sizes) > max(values.size, _MOST_REPEATED):
        return None
    whole = np.broadcast_to(values.astype(np.float32), [size or 1 for size in sizes])
    own = np.ascontiguousarray(whole.reshape([x.shape[axis] or 1 for axis in axes]))
    layer, flag = x.make, "center" if adding else "scale"
    return Step(
        x.op,
        x.inputs,
        x.shape,
        x.node,
        lambda title: _changed(layer(title), flag),
        {**x.weights, name: own},
        x.details,
    )


def _changed(layer: Any, flag: str) -> Any:
    return type(layer).from_config({**layer.get_config(), flag: True})
