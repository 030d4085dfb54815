"""Which layers make windows say something else than the whole would."""

from __future__ import annotations

from typing import Any

from gridnn._graph import Graph
from gridnn._receptive_field import ReceptiveField, input_field, spans_read
from gridnn.layers import activation, adaptive, augmentation, normalization, preprocessing, resizing
from gridnn.layers.base import Layer

__all__ = ["border_made_inside", "reason_against", "what_instead"]

_ADAPTIVE = (adaptive.AdaptiveAveragePooling, adaptive.AdaptiveMaxPooling)
_CUTTING = (augmentation.RandomCrop, resizing.CenterCrop, resizing.Resizing)
_NORMALIZATION = (normalization.GroupNormalization, normalization.LayerNormalization)


def reason_against(graph: Graph, rank: int) -> str | None:
    """What a layer does that depends on where the whole begins and ends, in words; None if none does.

    Args:
        graph: of the model.
        rank: spatial axes of its input.
    """
    for node in graph.nodes:
        if node.layer is None:
            continue
        what = _of_the_whole(node.layer, rank)
        if what is not None:
            return f"layer '{node.name}' ({type(node.layer).__name__}) {what}"
    return None


def _of_the_whole(layer: Layer, rank: int) -> str | None:
    inner: Any = layer
    while isinstance(getattr(inner, "layer", None), Layer):  # TimeDistributed, whose slices lack an axis
        inner, rank = inner.layer, rank - 1
    if isinstance(inner, _ADAPTIVE):
        return (
            "makes a grid of fixed size of whatever it gets, one for each window. Use `predict` on the whole"
        )
    if isinstance(inner, _CUTTING):
        return (
            "makes a grid of fixed size of whatever it gets, one for each window. Bring the whole to its "
            "size before, and leave the layer out: gn.Sequential of the other layers"
        )
    if "wrap" in (getattr(inner, "padding_mode", None), getattr(inner, "mode", None)):
        return (
            "pads with what stands at the other end, which a window does not have. Pad the whole with "
            "numpy.pad(x, ..., 'wrap') and let the model pad nothing"
        )
    if _has_weights_of_positions(inner, rank):
        return (
            "has weights for each position, which belong to one place of the whole. Let positions share them "
            "(`shared_axes`, or the axis of the channels)"
        )
    return None


def _has_weights_of_positions(layer: Any, rank: int) -> bool:
    last = {-1, rank + 1}
    if isinstance(layer, activation.PReLU):
        return not set(range(1, rank + 1)) <= set(layer.shared_axes)
    if isinstance(layer, normalization.BatchNormalization):
        return layer.axis not in last
    if isinstance(layer, preprocessing.Normalization):
        axes = () if layer.axis is None else layer.axis
        return not set((axes,) if isinstance(axes, int) else axes) <= last
    return False


def what_instead(graph: Graph, name: str) -> str:
    """What to do about the layer of this name through which every output sees the whole."""
    layer = next((node.layer for node in graph.nodes if node.name == name), None)
    if isinstance(layer, _NORMALIZATION):
        return (
            "Use `predict` on the whole, or train a model without such layers (BatchNormalization in place "
            f"of {type(layer).__name__})."
        )
    if layer is not None and layer.in_python:
        return (
            "Use `predict` on the whole: what a layer written in Python looks at is not known, so all of it "
            "is assumed."
        )
    return "Use `predict` on the whole, or train a model without such layers."


def border_made_inside(graph: Graph, fields: list[ReceptiveField], sizes: tuple[int, ...]) -> str | None:
    """The layer that reads beyond a border which another layer has cut, in words; None if there is none.

    Behind a Cropping the border of a window lies inside it: a convolution that pads there sees zeros where
    the whole has values, although nothing outside of the window is concerned.

    Args:
        graph: of the model.
        fields: of all layers for inputs of these sizes.
        sizes: of a window.
    """
    layers = [node for node in graph.nodes if node.kind != "input"]
    of_node = {node.number: field for node, field in zip(layers, fields, strict=True)}
    of_node[graph.inputs[0]] = input_field(sizes)
    for node in layers:
        if node.kind != "layer" or (node.layer is not None and node.layer.merges):
            continue
        before = of_node[node.inputs[0]]
        if before.outputs and node.layer is not None and _reads_beyond(node.layer, before, sizes):
            return f"layer '{node.name}' ({type(node.layer).__name__}) pads what '{before.name}' has cut"
    return None


def _reads_beyond(layer: Layer, before: ReceptiveField, sizes: tuple[int, ...]) -> bool:
    """Whether a layer reads elements that its input lacks although the window has all that they see."""
    first, last = before.of(*(-1,) * len(sizes)), before.of(*before.outputs)
    reads = spans_read(layer, before.outputs)
    return any(
        (reads[axis][0] < 0 <= first[axis][0])
        or (reads[axis][1] >= before.outputs[axis] and last[axis][1] < size)
        for axis, size in enumerate(sizes)
    )
