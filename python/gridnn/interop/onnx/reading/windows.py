"""Convolutions, pools, borders and resizing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import layers
from gridnn.interop.onnx.reading.files import Node
from gridnn.interop.onnx.reading.folding import axes_of
from gridnn.interop.onnx.reading.steps import Graph, Step, View, handles, new_view, refuse

__all__: list[str] = []

Array = NDArray[Any]
Pairs = list[tuple[int, int]]


def ranked(kind: str, rank: int) -> Any:
    """The class of a layer for 1, 2 or 3 spatial axes: Conv2D of Conv."""
    if rank not in (1, 2, 3):
        refuse(f"it has {rank} spatial axes")
    return getattr(layers, f"{kind}{rank}D")


def _pairs(pads: Sequence[int]) -> Pairs:
    """``pads``, all that is before and then all that is after, axis by axis."""
    rank = len(pads) // 2
    return list(zip(pads[:rank], pads[rank:], strict=True))


def _padding(node: Node, step: Step, span: Sequence[int], strides: Sequence[int]) -> str | Pairs:
    """What the layer's `padding` is."""
    rule = node.attributes.get("auto_pad", "NOTSET")
    if rule == "VALID":
        return "valid"
    if rule == "SAME_UPPER":
        return "same"
    if rule == "SAME_LOWER":
        sizes = step.shape[:-1]
        totals = []
        for size, width, stride in zip(sizes, span, strides, strict=True):
            if size is None and stride > 1:
                refuse("auto_pad='SAME_LOWER' with strides depends on sizes that are not known")
            outputs = 0 if size is None else -(-size // stride)
            totals.append(width - 1 if size is None else max((outputs - 1) * stride + width - size, 0))
        return [(total - total // 2, total // 2) for total in totals]
    pads = node.attributes.get("pads") or [0] * 2 * len(span)
    if len(pads) != 2 * len(span) or min(pads) < 0:
        refuse(f"its pads are {pads}")
    return _pairs(pads) if any(pads) else "valid"


def _numbers(node: Node, name: str, rank: int) -> tuple[int, ...]:
    values = node.attributes.get(name) or [1] * rank
    if len(values) != rank:
        refuse(f"its {name} are {values}")
    return tuple(values)


@handles("Conv")
def conv(graph: Graph, node: Node, inputs: list[Any]) -> View:
    kernel = graph.constant(inputs[1], "kernel").astype(np.float32)
    rank = kernel.ndim - 2
    cls = ranked("Conv", rank)
    step = graph.grid(node, inputs[0], rank)
    groups, filters = node.attributes.get("group", 1), kernel.shape[0]
    window = tuple(kernel.shape[2:])
    strides, dilation = _numbers(node, "strides", rank), _numbers(node, "dilations", rank)
    span = [d * (k - 1) + 1 for d, k in zip(dilation, window, strict=True)]
    options: dict[str, Any] = {
        "strides": strides,
        "padding": _padding(node, step, span, strides),
        "dilation_rate": dilation,
        "use_bias": len(inputs) > 2 and inputs[2] is not None,
    }
    weights = {}
    if options["use_bias"]:
        weights["bias"] = graph.constant(inputs[2], "bias").astype(np.float32)
    channels = step.shape[-1]
    if channels is None or kernel.shape[1] * groups != channels or filters % groups:
        refuse(f"its kernel of shape {kernel.shape} does not fit {channels} channels in {groups} groups")
    if groups == channels and groups > 1:
        multiplier = filters // channels
        kind = ranked("DepthwiseConv", rank)
        by_channel = kernel.reshape(channels, multiplier, *window)
        weights["kernel"] = np.moveaxis(by_channel, (0, 1), (-2, -1))
        made = graph.layer(
            node,
            step,
            lambda name: kind(window, depth_multiplier=multiplier, name=name, **options),
            weights,
            op="DepthwiseConv",
        )
    else:
        weights["kernel"] = np.moveaxis(kernel, (0, 1), (-1, -2))
        made = graph.layer(
            node,
            step,
            lambda name: cls(filters, window, groups=groups, name=name, **options),
            weights,
            op="Conv",
        )
    return new_view(made, channels_first=True)


@handles("ConvTranspose")
def conv_transpose(graph: Graph, node: Node, inputs: list[Any]) -> View:
    kernel = graph.constant(inputs[1], "kernel").astype(np.float32)
    rank = kernel.ndim - 2
    cls = ranked("Conv", rank) and getattr(layers, f"Conv{rank}DTranspose")
    step = graph.grid(node, inputs[0], rank)
    groups, window = node.attributes.get("group", 1), tuple(kernel.shape[2:])
    filters = kernel.shape[1] * groups
    strides, dilation = _numbers(node, "strides", rank), _numbers(node, "dilations", rank)
    extra = node.attributes.get("output_padding") or [0] * rank
    wanted = node.attributes.get("output_shape")
    rule = node.attributes.get("auto_pad", "NOTSET")
    if wanted or rule not in ("NOTSET", "VALID"):
        refuse("it names the size of its output, or auto_pad, which runtimes understand differently")
    pads = _pairs(node.attributes.get("pads") or [0] * 2 * rank)
    bounds = [max(pair) for pair in zip(strides, dilation, strict=True)]
    if any(p >= most for p, most in zip(extra, bounds, strict=True)):
        refuse(f"its output_padding {extra} is not less than its strides or dilations")
    weights = {"kernel": np.moveaxis(kernel, (0, 1), (-1, -2))}
    use_bias = len(inputs) > 2 and inputs[2] is not None
    if use_bias:
        weights["bias"] = graph.constant(inputs[2], "bias").astype(np.float32)
    made = graph.layer(
        node,
        step,
        lambda name: cls(
            filters,
            window,
            strides,
            pads,
            tuple(extra) if any(extra) else None,
            dilation_rate=dilation,
            groups=groups,
            use_bias=use_bias,
            name=name,
        ),
        weights,
        op="Conv",
    )
    return new_view(made, channels_first=True)


@handles("MaxPool", "AveragePool")
def pool(graph: Graph, node: Node, inputs: list[Any]) -> View:
    window = tuple(node.attributes.get("kernel_shape") or ())
    rank = len(window)
    cls = ranked("MaxPooling" if node.op == "MaxPool" else "AveragePooling", rank)
    step = graph.grid(node, inputs[0], rank)
    strides = _numbers(node, "strides", rank)
    if max(_numbers(node, "dilations", rank)) > 1:
        refuse("its window is dilated")
    if len(node.outputs) > 1 and node.outputs[1]:
        refuse("it gives the places of its maxima")
    options: dict[str, Any] = {
        "strides": strides,
        "padding": _padding(node, step, window, strides),
        "ceil_mode": bool(node.attributes.get("ceil_mode", 0)),
    }
    details: dict[str, Any] = {}
    if node.op == "AveragePool":
        options["count_include_pad"] = bool(node.attributes.get("count_include_pad", 0))
    lowest = step.details.get("value", 0.0) <= np.finfo(np.float32).min
    if options["padding"] == "valid" and step.op == "ZeroPadding" and (node.op != "MaxPool" or lowest):
        # A border that is not counted, as our files have it; of means it is left to what follows to say so.
        details = {"padded": (step, window, strides)}
        if node.op == "MaxPool":
            return _pool_of_padded(graph, node, step, cls, window, options)
    made = graph.layer(node, step, lambda name: cls(window, name=name, **options), **details)
    return new_view(made, channels_first=True)


def _pool_of_padded(
    graph: Graph, node: Node, step: Step, cls: Any, window: tuple[int, ...], options: dict[str, Any]
) -> View:
    options = {**options, "padding": step.details["pairs"]}
    made = graph.layer(node, step.inputs[0], lambda name: cls(window, name=name, **options))
    return new_view(made, channels_first=True)


@handles("GlobalAveragePool", "GlobalMaxPool")
def global_pool(graph: Graph, node: Node, inputs: list[Any]) -> View:
    step = graph.grid(node, inputs[0])
    kind = "GlobalAveragePooling" if node.op == "GlobalAveragePool" else "GlobalMaxPooling"
    return new_view(_overall(graph, node, step, kind, keepdims=True), channels_first=True)


def _overall(graph: Graph, node: Node, step: Step, kind: str, *, keepdims: bool) -> Step:
    cls = ranked(kind, step.rank - 1)
    return graph.layer(node, step, lambda name: cls(keepdims, name=name), op=kind, kind=kind)


def without_axes(graph: Graph, step: Step) -> Step | None:
    """A pool over the whole grid that keeps its axes, as one that does not."""
    kind = step.details.get("kind")
    if kind is None or step.rank == 1 or step.node is None:
        return None
    return _overall(graph, step.node, step.inputs[0], kind, keepdims=False)


@handles("ReduceMean", "ReduceMax")
def reduce(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view = graph.tensor(inputs[0])
    if view.flat:
        refuse("it works on a vector")
    rank = view.step.rank
    given = axes_of(node, inputs)
    if node.op == "ReduceMax" and given == [view.step.details.get("windows")]:
        return view  # of windows, which are a pool already
    seen = sorted(axis % (rank + 1) for axis in (range(rank + 1) if given is None else given))
    if 0 in seen:
        refuse("it works along the batch")
    axes = sorted(view.perm[axis - 1] for axis in seen)
    keepdims = bool(node.attributes.get("keepdims", 1))
    if axes == list(range(rank - 1)) and rank > 1:
        kind = "GlobalAveragePooling" if node.op == "ReduceMean" else "GlobalMaxPooling"
        step = _overall(graph, node, view.step, kind, keepdims=keepdims)
        return View(step, view.perm) if keepdims else new_view(step)
    sizes = tuple(1 if axis in axes else size for axis, size in enumerate(view.step.shape))
    if not keepdims:
        refuse(f"it works along axes {seen}")
    # No layer by itself, but the beginning of a layer normalization.
    return view.behind(Step(node.op, (view.step,), sizes, node, details={"axes": axes}))


def windows_of(graph: Graph, node: Node, view: View, places: Array, axis: int) -> View:
    """Elements of an axis in rows of windows, for a ReduceMax: an adaptive pool of that axis."""
    own, step = view.perm[axis - 1], view.step
    readers = graph.source.readers.get(node.outputs[0], [])
    size, outputs = step.shape[own], len(places)
    if [one.op for one in readers] != ["ReduceMax"] or size is None or own == step.rank - 1:
        refuse("it takes elements by their places")
    edges = [(i * size // outputs, -(-(i + 1) * size // outputs)) for i in range(outputs)]
    if places.shape[1] != max((end - begin for begin, end in edges), default=0):
        refuse("it takes elements by their places")
    if [sorted(set(row)) for row in places.tolist()] != [list(range(*edge)) for edge in edges]:
        refuse("it takes elements by their places")
    rank = step.rank - 1
    cls = ranked("AdaptiveMaxPooling", rank)
    target = tuple(outputs if place == own else step.shape[place] for place in range(rank))
    if None in target:
        refuse("it depends on sizes that are not known")
    made = graph.layer(node, step, lambda name: cls(target, name=name), windows=axis + 1)
    return view.behind(made)


@handles("Pad")
def pad(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view = graph.tensor(inputs[0])
    mode = node.attributes.get("mode", "constant")
    if node.opset < 11:
        pads, value = list(node.attributes["pads"]), float(node.attributes.get("value", 0.0))
    else:
        pads = graph.integers(inputs[1], "pads")
        value = graph.number(inputs[2], "value") if len(inputs) > 2 and inputs[2] is not None else 0.0
    count = view.step.rank + 1
    if len(inputs) > 3 and inputs[3] is not None:
        whole = [0] * 2 * count
        axes = graph.integers(inputs[3], "axes")
        for place, axis in enumerate(axes):
            whole[axis % count], whole[axis % count + count] = pads[place], pads[place + len(axes)]
        pads = whole
    if view.flat or len(pads) != 2 * count:
        refuse(f"its pads are {pads}")
    before_after = _pairs(pads)
    own: Pairs = [(0, 0)] * view.step.rank
    for seen, axis in enumerate(view.perm):
        own[axis] = before_after[seen + 1]
    if any(before_after[0]) or any(own[-1]):
        refuse("it pads the batch or the channels")
    crops = [(max(-before, 0), max(-after, 0)) for before, after in own[:-1]]
    pairs = [(max(before, 0), max(after, 0)) for before, after in own[:-1]]
    step, rank = view.step, view.step.rank - 1
    if any(map(any, crops)):
        step = graph.layer(node, step, lambda name: ranked("Cropping", rank)(crops, name=name))
    if not any(map(any, pairs)):
        return view.behind(step)
    modes = {"constant": "zeros", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}
    if mode not in modes:
        refuse(f"its mode is {mode!r}")
    if mode != "constant":
        cls = ranked("Padding", rank)
        return view.behind(graph.layer(node, step, lambda name: cls(pairs, modes[mode], name=name)))
    cls = ranked("ZeroPadding", rank)
    made = graph.layer(
        node, step, lambda name: cls(pairs, name=name), op="ZeroPadding", pairs=pairs, value=value
    )
    if value:
        made.make = None  # only as part of a pool
    return view.behind(made)


def cropped(graph: Graph, node: Node, view: View, cuts: dict[int, tuple[int, int]]) -> View:
    """A tensor without elements at the ends of axes, which are those of its samples."""
    step = view.step
    crops = [cuts.get(axis, (0, 0)) for axis in range(step.rank)]
    if any(crops[-1]):
        refuse("it takes some of the channels")
    if not any(map(any, crops)):
        return view
    cls = ranked("Cropping", step.rank - 1)
    return view.behind(graph.layer(node, step, lambda name: cls(crops[:-1], name=name)))


@handles("Resize", "Upsample")
def resize(graph: Graph, node: Node, inputs: list[Any]) -> View:
    step = graph.grid(node, inputs[0])
    rank = step.rank - 1
    factors = _factors(graph, node, inputs, step)
    mode = node.attributes.get("mode", "nearest")
    # Before opset 11 there were no other rules, and nearest took the element before.
    late = node.op == "Resize" and node.opset >= 11
    places = node.attributes.get("coordinate_transformation_mode", "half_pixel") if late else "asymmetric"
    rounding = node.attributes.get("nearest_mode", "round_prefer_floor") if late else "floor"
    if mode == "nearest" and (places, rounding) in _REPEATING:
        cls = ranked("UpSampling", rank)
        return new_view(graph.layer(node, step, lambda name: cls(factors, name=name)), channels_first=True)
    if mode in ("linear", "bilinear") and places in ("half_pixel", "pytorch_half_pixel") and rank == 2:
        made = graph.layer(node, step, lambda name: layers.UpSampling2D(factors, "bilinear", name=name))
        return new_view(made, channels_first=True)
    return refuse(f"its mode is {mode!r} with {places!r} and {rounding!r}")


_REPEATING = (
    ("asymmetric", "floor"),
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"),
    ("pytorch_half_pixel", "round_prefer_floor"),
)
"""Rules by which whole factors repeat every element."""


def _factors(graph: Graph, node: Node, inputs: list[Any], step: Step) -> tuple[int, ...]:
    scales = node.attributes.get("scales")
    if scales is None and node.op == "Resize" and node.opset >= 11:
        scales = inputs[2] if len(inputs) > 2 else None
    elif scales is None:
        scales = inputs[1]
    if scales is not None and np.size(scales):
        numbers = [float(value) for value in graph.constant(np.asarray(scales), "scales").ravel()]
    elif len(inputs) > 3 and isinstance(inputs[3], np.ndarray):
        sizes = [value if isinstance(value, (int, np.integer)) else None for value in inputs[3].tolist()]
        seen = [1, step.shape[-1], *step.shape[:-1]]
        if len(sizes) != len(seen) or None in sizes[2:] or None in seen:
            refuse("its sizes are not known")
        numbers = [
            1.0,
            *(int(size or 0) / int(own or 1) for size, own in zip(sizes[1:], seen[1:], strict=True)),
        ]
    else:
        refuse("its scales are not constant")
    if numbers[:2] != [1.0, 1.0] or len(numbers) != step.rank + 1:
        refuse(f"its scales are {numbers}")
    if any(number < 1 or number != int(number) for number in numbers):
        refuse(f"its scales are {numbers}, which are not whole numbers")
    return tuple(int(number) for number in numbers[2:])


def counted(graph: Graph, node: Node, step: Step, factors: Array) -> Step | None:
    """A mean over windows with a border, times a map of factors: a pool that counts what is there alone."""
    if "padded" not in step.details:
        return None
    border, window, strides = step.details["padded"]
    source, pairs = border.inputs[0], border.details["pairs"]
    if None in source.shape[:-1] or factors.shape != (*step.shape[:-1], 1):
        return None
    cls = ranked("AveragePooling", len(window))
    axes = [
        (size or 1, np.arange(outputs or 1) * s - before, k)
        for size, outputs, k, s, (before, _) in zip(
            source.shape[:-1], step.shape[:-1], window, strides, pairs, strict=True
        )
    ]
    if _agree([k / _counts(starts, k, 0, size) for size, starts, k in axes], factors):
        return graph.layer(node, source, lambda name: cls(window, strides, pairs, name=name))
    # Padding counts as well, but for what rounding up has added.
    declared = []
    for axis, (size, starts, k) in enumerate(axes):
        profile = factors[..., 0][tuple(slice(None) if axis == own else 0 for own in range(len(axes)))]
        ends = (
            end
            for end in range(pairs[axis][1] + 1)
            if np.allclose(k / _counts(starts, k, -k, size + end), profile, rtol=1e-5)
        )
        declared.append(next(ends, None))
    if None in declared:
        return None
    given = [(before, end or 0) for (before, _), end in zip(pairs, declared, strict=True)]
    options = {"count_include_pad": True, "ceil_mode": True}
    made = graph.layer(node, source, lambda name: cls(window, strides, given, name=name, **options))
    whole = [
        k / _counts(starts, k, -k, size + end)
        for (size, starts, k), (_, end) in zip(axes, given, strict=True)
    ]
    return made if made.shape == step.shape and _agree(whole, factors) else None


def _counts(starts: Array, k: int, first: int, last: int) -> Array:
    """Elements from `first` up to `last` in windows of `k`."""
    return np.asarray(np.maximum(np.minimum(starts + k, last) - np.maximum(starts, first), 1))


def _agree(profiles: list[Array], factors: Array) -> bool:
    """Whether a map of factors, of one channel, is the product of those of its axes."""
    expected: Array = np.ones(())
    for profile in profiles:
        expected = expected[..., np.newaxis] * profile
    return factors.shape == (*expected.shape, 1) and bool(np.allclose(factors[..., 0], expected, rtol=1e-5))
