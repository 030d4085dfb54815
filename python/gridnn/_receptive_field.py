"""Which part of the input the layers of a model look at, found along its graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gridnn import functional
from gridnn._engine import place_window
from gridnn._fields import Field, Grid, Span, Whole, hull, union
from gridnn._graph import Graph, Node
from gridnn._network import Shape
from gridnn.layers import (
    activation,
    adaptive,
    augmentation,
    conv,
    conv_transpose,
    core,
    depthwise,
    normalization,
    padding,
    pooling,
    reshaping,
    resizing,
    spectrogram,
)
from gridnn.layers.base import Layer

__all__ = ["ReceptiveField", "input_field", "receptive_fields", "spans_read"]


@dataclass(frozen=True)
class ReceptiveField:
    """What one output element of a layer sees of the model's input; one number per spatial axis.

    Example:
        >>> stack = layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)
        >>> model = gn.Sequential([gn.Input((8, 8, 1)), *stack], seed=0)
        >>> gn.inspect.receptive_field(model)[0].size
        (3, 3)
    """

    name: str
    """Name of the layer."""
    size: tuple[int, ...]
    """Input elements from the first to the last that can change an output element, padding included; the
    most of any element where they differ (behind upsampling)."""
    jump: tuple[float, ...]
    """Input elements between the fields of neighbouring outputs; 0 where all outputs see the same."""
    start: tuple[int, ...]
    """First input element that output element 0 sees, or would see if there were one: negative where that
    lies in the padding, or in front of what a transposed convolution spreads."""
    padding_reach: tuple[tuple[int, int], ...]
    """How many elements the fields of the first and of the last output reach beyond the input."""
    outputs: tuple[int, ...]
    """Output elements along each axis; empty where the layer's output has no spatial axes."""
    _tensor: Grid | Whole

    @property
    def periods(self) -> tuple[tuple[int, int], ...]:
        """After how many outputs the pattern of the fields repeats, and how many input elements that is.

        One pair per axis; none where the layer's output has no spatial axes.
        """
        if isinstance(self._tensor, Whole):
            return ()
        return tuple((field.period, field.step) for field in self._tensor.fields)

    def of(self, *index: int) -> tuple[Span, ...]:
        """The first and last input element, axis by axis, that output element `index` sees.

        Args:
            index: the position of the output, one number per spatial axis; none where all see the same.
        """
        if isinstance(self._tensor, Whole):
            return self._tensor.spans
        if len(index) != len(self.size):
            raise ValueError(f"`index` must be {len(self.size)} numbers. Received {index}.")
        return tuple(field.at(i) for field, i in zip(self._tensor.fields, index, strict=True))


def receptive_fields(graph: Graph, sizes: tuple[int, ...], source: int = 0) -> list[ReceptiveField]:
    """Receptive fields of all layers, those inside a container in front of it.

    Args:
        graph: the layers.
        sizes: the spatial axes of the input.
        source: which of the inputs that is; layers that do not depend on it are left out.
    """
    states: list[State | None] = []
    found = []
    for node in graph.nodes:
        if node.kind == "input":
            own = node.number == graph.inputs[source]
            states.append(State(Grid((Field.of_input(),) * len(sizes)), sizes) if own else None)
            continue
        seen = [state for number in node.inputs if (state := states[number]) is not None]
        state = _state(node, seen) if seen else None
        states.append(state)
        if state is not None:
            found.append(_found(node.name, state, sizes))
    return found


def input_field(sizes: tuple[int, ...]) -> ReceptiveField:
    """That of an input of these sizes: every element sees itself."""
    return _found("input", State(Grid((Field.of_input(),) * len(sizes)), sizes), sizes)


def spans_read(layer: Layer, sizes: tuple[int, ...]) -> tuple[Span, ...]:
    """The first and the last element, axis by axis, that a layer reads of a tensor of these sizes.

    Negative, or the size and more, where it reads what is not there.
    """
    rule = None if layer.in_python else _rule_of(layer)
    tensor = Grid((Field.of_input(),) * len(sizes))
    return (State(tensor, sizes) if rule is None else rule(layer, tensor.fields, sizes)).hull()


def grid_inputs(shapes: Sequence[Shape]) -> list[int]:
    """Which inputs have spatial axes, by the shapes of one sample each."""
    return [number for number, shape in enumerate(shapes) if len(shape) > 1]


@dataclass(frozen=True)
class State:
    """What the elements of a tensor see, and its spatial sizes (of no use once it has none of its own)."""

    tensor: Grid | Whole
    sizes: tuple[int, ...]

    def hull(self) -> tuple[Span, ...]:
        """What all elements see together."""
        return hull(self.tensor, self.sizes)


def _state(node: Node, inputs: Sequence[State]) -> State:
    """What the outputs of a node see, by what those of its inputs do that see anything."""
    first = inputs[0]
    if node.layer is not None and node.layer.merges and (node.kind == "layer" or _stretches(inputs)):
        seen = union([state.tensor for state in inputs], first.sizes)
        return State(Whole(hull(seen, first.sizes)), first.sizes)
    if node.kind == "merge":
        return State(union([state.tensor for state in inputs], first.sizes), first.sizes)
    if node.kind == "alias" or node.layer is None or isinstance(first.tensor, Whole):
        return first
    rule = _rule_of(node.layer)
    if node.layer.in_python:
        rule = _everything
    return first if rule is None else rule(node.layer, first.tensor.fields, first.sizes)


def _stretches(inputs: Sequence[State]) -> bool:
    """Whether grids of several sizes meet, one of which is stretched."""
    return len({state.sizes for state in inputs if isinstance(state.tensor, Grid)}) > 1


def _found(name: str, state: State, input_sizes: tuple[int, ...]) -> ReceptiveField:
    spans = state.hull()
    reach = tuple(
        (max(-first, 0), max(last - n + 1, 0)) for (first, last), n in zip(spans, input_sizes, strict=True)
    )
    fields = state.tensor.fields if isinstance(state.tensor, Grid) else ()
    return ReceptiveField(
        name,
        tuple(f.size for f in fields) or tuple(last - first + 1 for first, last in spans),
        tuple(f.jump for f in fields) or (0,) * len(spans),
        tuple(f.at(0)[0] for f in fields) or tuple(first for first, _ in spans),
        reach,
        state.sizes if fields else (),
        state.tensor,
    )


Fields = tuple[Field, ...]
Rule = Callable[[Any, Fields, tuple[int, ...]], State]


def _window(layer: Any, fields: Fields, sizes: tuple[int, ...]) -> State:
    """Convolutions and pools."""
    rank = len(sizes)
    kernel = getattr(layer, "kernel_size", None) or layer.pool_size
    dilation = getattr(layer, "dilation_rate", (1,) * rank)
    placed = place_window(sizes, kernel, layer.strides, layer.padding, dilation, False, None)
    axes = zip(fields, kernel, layer.strides, dilation, placed, strict=True)
    behind = Grid(tuple(f.window(d * (k - 1) + 1, s, before) for f, k, s, d, (_, _, before, _) in axes))
    outputs = tuple(axis[1] for axis in placed)
    if getattr(layer, "ceil_mode", False):
        window = {"strides": layer.strides, "padding": layer.padding, "ceil_mode": True}
        outputs = functional.pool_output_shape((1, *sizes, 1), kernel, **window)[1:-1]
    return State(behind, outputs)


def _transposed(layer: Any, fields: Fields, sizes: tuple[int, ...]) -> State:
    """Transposed convolutions."""
    kernel, strides, dilation = layer.kernel_size, layer.strides, layer.dilation_rate
    placed = place_window(sizes, kernel, strides, layer.padding, dilation, True, layer.output_padding)
    axes = zip(fields, kernel, strides, dilation, placed, strict=True)
    behind = Grid(tuple(f.spread(d * (k - 1) + 1, s, before) for f, k, s, d, (_, _, before, _) in axes))
    return State(behind, tuple(axis[0] for axis in placed))


def _shifted(layer: Any, fields: Fields, sizes: tuple[int, ...]) -> State:
    """Padding and cropping."""
    crop = hasattr(layer, "cropping")
    pairs = [(-a, -b) for a, b in layer.cropping] if crop else layer.padding
    behind = Grid(tuple(f.window(1, 1, before) for f, (before, _) in zip(fields, pairs, strict=True)))
    return State(behind, tuple(n + before + after for n, (before, after) in zip(sizes, pairs, strict=True)))


def _upsampled(layer: Any, fields: Fields, sizes: tuple[int, ...]) -> State:
    blended = getattr(layer, "interpolation", "nearest") != "nearest"
    factors = layer.size
    behind = Grid(tuple(f.repeated(k, blended=blended) for f, k in zip(fields, factors, strict=True)))
    return State(behind, tuple(n * k for n, k in zip(sizes, factors, strict=True)))


def _everything(layer: Any, fields: Fields, sizes: tuple[int, ...]) -> State:
    """Layers whose outputs see all positions, or have none."""
    return State(Whole(hull(Grid(fields), sizes)), sizes)


def _along_axis(layer: Any, fields: Fields, sizes: tuple[int, ...]) -> State:
    """Softmax and layer normalization, which see channels only unless they are told other axes."""
    axes = {layer.axis} if isinstance(layer.axis, int) else set(layer.axis)
    return State(Grid(fields), sizes) if axes <= {-1, len(sizes) + 1} else _everything(layer, fields, sizes)


def _adaptive(layer: Any, fields: Fields, sizes: tuple[int, ...]) -> State:
    """Adaptive pools: windows in a pattern that repeats after as many outputs as sizes and outputs allow."""

    def along(field: Field, n: int, o: int) -> Field:
        turns = math.gcd(n, o)
        return field.through(lambda i: (i * n // o, -(-(i + 1) * n // o) - 1), o // turns, n // turns)

    axes = zip(fields, sizes, layer.output_size, strict=True)
    return State(Grid(tuple(along(f, n, o) for f, n, o in axes)), layer.output_size)


def _slices(layer: Any, fields: Fields, sizes: tuple[int, ...]) -> State:
    """Layers that act on every slice along the first axis."""
    inner = _rule_of(layer.layer)
    if inner is None:
        return State(Grid(fields), sizes)
    if len(sizes) == 1:
        return _everything(layer, fields, sizes)  # the slices have no grid
    state = inner(layer.layer, fields[1:], sizes[1:])
    if isinstance(state.tensor, Whole):
        return _everything(layer, fields, sizes)
    return State(Grid((fields[0], *state.tensor.fields)), (sizes[0], *state.sizes))


def _rule_of(layer: Layer) -> Rule | None:
    return next((_RULES[cls] for cls in type(layer).__mro__ if cls in _RULES), None)


def _centre(layer: Any, fields: Fields, sizes: tuple[int, ...]) -> State:
    """Random crops, which take the middle in inference mode."""
    part = layer.part(sizes)
    starts = [(n - size) // 2 for n, size in zip(sizes, part, strict=True)]
    return State(Grid(tuple(f.window(1, 1, -start) for f, start in zip(fields, starts, strict=True))), part)


def _middle(layer: Any, fields: Fields, sizes: tuple[int, ...]) -> State:
    """Centre crops, which resample what is smaller than the part."""
    fits = all(n >= size for n, size in zip(sizes, layer.part(sizes), strict=True))
    return _centre(layer, fields, sizes) if fits else _everything(layer, fields, sizes)


_RULES: dict[type[Layer], Rule] = {
    adaptive.AdaptiveAveragePooling: _adaptive,
    adaptive.AdaptiveMaxPooling: _adaptive,
    conv.Convolution: _window,
    conv_transpose.TransposedConvolution: _transposed,
    depthwise.DepthwiseConvolution: _window,
    depthwise.SeparableConvolution: _window,
    padding.Cropping: _shifted,
    padding.UpSampling: _upsampled,
    padding.ZeroPadding: _shifted,
    pooling.AveragePooling: _window,
    pooling.GlobalAveragePooling: _everything,
    pooling.GlobalMaxPooling: _everything,
    pooling.MaxPooling: _window,
    activation.Softmax: _along_axis,
    augmentation.RandomCrop: _centre,
    core.TimeDistributed: _slices,
    core.UnitNormalization: _along_axis,
    normalization.GroupNormalization: _everything,
    normalization.LayerNormalization: _along_axis,
    reshaping.Flatten: _everything,
    reshaping.Permute: _everything,
    reshaping.RepeatVector: _everything,
    reshaping.Reshape: _everything,
    resizing.CenterCrop: _middle,
    resizing.Resizing: _everything,
    spectrogram.STFT: _everything,
}
"""What is not listed works on every position by itself."""
