"""Where features are in another order in PyTorch: around layers that make a vector of a grid, or the reverse.

PyTorch keeps channels first, so a flattened grid begins with all positions of channel 0; here it begins with
all channels of position 0. The weights that read such a vector have the right shape in either order, and the
wrong numbers in one of them. An order is an array: element i here is element ``order[i]`` there; None is the
same order in both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import layers
from gridnn._graph import Graph, Node
from gridnn.layers import base

__all__ = ["Layout", "layouts_of"]

Order = NDArray[np.intp] | None

_ELEMENT_BY_ELEMENT: tuple[type[base.Layer], ...] = (
    layers.Activation,
    layers.ActivityRegularization,
    layers.BatchNormalization,
    layers.Dropout,
    layers.ELU,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.LayerNormalization,
    layers.LeakyReLU,
    layers.PReLU,
    layers.ReLU,
    layers.Rescaling,
    layers.Softmax,
)
"""Layers that treat every feature of a vector alike, or by a weight of its own."""


@dataclass(frozen=True)
class Layout:
    """The orders of what a layer reads and of what it makes."""

    inputs: Order = None
    outputs: Order = None


def layouts_of(graph: Graph) -> dict[int, Layout]:
    """The layout of every node of a built model, by its number.

    Raises:
        ValueError: a layer does something to a flattened grid that depends on the order of its features.
    """
    wanted = _wanted(graph)
    found: dict[int, Layout] = {}
    for node in graph.nodes:
        sources = [found[number].outputs for number in node.inputs]
        found[node.number] = _after(graph, node, sources, wanted.get(node.number))
    return found


def _grid_order(shape: Sequence[int | None]) -> Order:
    """The order of a grid ``(*positions, channels)`` once it is flat."""
    sizes = [size or 1 for size in shape]
    *positions, channels = sizes
    if channels == 1 or math.prod(positions) == 1:
        return None
    numbers = np.arange(math.prod(sizes)).reshape(channels, *positions)
    return np.moveaxis(numbers, 0, -1).ravel()


def _same(one: Order, other: Order) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)


def _kind(graph: Graph, node: Node) -> str:
    """What a layer does to vectors: "flatten", "unflatten", "dense", "each" (every feature) or "other"."""
    rank, read = len(node.output_shape or ()), [len(shape or ()) for shape in graph.input_shapes(node)]
    layer = node.layer
    if isinstance(layer, (layers.Flatten, layers.Reshape)):
        if rank == 1:
            return "each" if read == [1] else "flatten"
        return "unflatten" if read == [1] else "other"
    if rank != 1 or any(one != 1 for one in read):
        return "other"
    if isinstance(layer, layers.Dense):
        return "dense"
    return "each" if node.kind != "layer" or isinstance(layer, _ELEMENT_BY_ELEMENT) else "other"


def _wanted(graph: Graph) -> dict[int, NDArray[np.intp]]:
    """The orders that a `Reshape` to a grid further on expects of vectors, by the node that makes them."""
    wanted: dict[int, NDArray[np.intp]] = {}

    def want(numbers: Sequence[int], order: Order, owner: Node) -> None:
        for number in numbers if order is not None else ():
            if number in wanted and not _same(wanted[number], order):
                raise ValueError(
                    f"Layer '{owner.name}' makes another grid of the outputs of "
                    f"'{graph.nodes[number].name}' than a layer beside it does: in which order PyTorch has "
                    "them cannot be told."
                )
            assert order is not None
            wanted[number] = order

    for node in reversed(graph.nodes):
        kind = _kind(graph, node)
        if kind == "unflatten":
            want(node.inputs, _grid_order(node.output_shape or ()), node)
        elif kind == "each" and node.merge != "concat":
            want(node.inputs, wanted.get(node.number), node)
    return wanted


def _after(graph: Graph, node: Node, sources: list[Order], wanted: Order) -> Layout:
    kind = _kind(graph, node)
    if node.kind == "input":
        return Layout()
    if kind == "flatten":
        return Layout(None, _grid_order(graph.input_shapes(node)[0] or ()))
    if kind == "dense":
        return Layout(sources[0], wanted)
    if kind == "unflatten":
        expected = _grid_order(node.output_shape or ())
        if sources[0] is not None and not _same(sources[0], expected):
            raise _untellable(node)
        return Layout(sources[0], None)
    if node.merge == "concat" and kind == "each":
        return Layout(None, _joined(graph, node, sources))
    if kind == "each":
        if not all(_same(source, sources[0]) for source in sources):
            raise _untellable(node)
        return Layout(sources[0], sources[0])
    if any(source is not None for source in sources):
        raise _untellable(node)
    return Layout()


def _joined(graph: Graph, node: Node, sources: list[Order]) -> Order:
    """The order of vectors side by side."""
    if all(source is None for source in sources):
        return None
    parts, start = [], 0
    for shape, source in zip(graph.input_shapes(node), sources, strict=True):
        size = (shape or (0,))[0] or 0
        parts.append((np.arange(size) if source is None else source) + start)
        start += size
    return np.concatenate(parts)


def _untellable(node: Node) -> ValueError:
    kind = type(node.layer).__name__
    return ValueError(
        f"Layer '{node.name}' ({kind}) reads a flattened grid, whose features PyTorch has in another order, "
        "and what becomes of them there cannot be told. Put Flatten directly before Dense, with nothing but "
        "activations, dropout and normalization between them; or permute the arrays yourself and call "
        "set_weights."
    )


def reordered(array: NDArray[Any], order: Order, axis: int) -> NDArray[Any]:
    """An array of PyTorch's with the features along an axis as they are here."""
    return array if order is None else np.take(array, order, axis)


def restored(array: NDArray[Any], order: Order, axis: int) -> NDArray[Any]:
    """The way back of `reordered`."""
    return array if order is None else np.take(array, np.argsort(order), axis)
