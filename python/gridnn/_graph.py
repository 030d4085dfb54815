"""The graph of a model: its layers, what each of them reads, and the shapes that the engine has found.

Whatever is derived from the structure of a model (diagram, table, receptive fields, exported files) reads it
here. There is a node for every layer, containers included. Nodes are in topological order; the number that
the engine has for a layer, and that inspections and files go by, is its `position`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gridnn._network import Network, Shape
from gridnn.layers.base import Layer
from gridnn.layers.branches import Container, branches_of, merge_of

if TYPE_CHECKING:
    from gridnn.model.tracing import Entry

__all__ = ["Graph", "Node", "graph_of", "graph_of_entries"]

_MERGES = {
    "Add": "add",
    "Average": "average",
    "Concatenate": "concat",
    "Maximum": "maximum",
    "Minimum": "minimum",
    "Multiply": "multiply",
    "Subtract": "subtract",
}

Kind = Literal["input", "layer", "merge", "alias"]


@dataclass(frozen=True, slots=True)
class Node:
    """A layer of a model, and where it gets its inputs from."""

    number: int
    """Place among `Graph.nodes`: behind all that it reads, and all that it holds."""
    position: int
    """Number in the engine: inputs come first, a container comes before what it holds."""
    kind: Kind
    """An "input"; a "layer" that computes; a "merge", where tensors meet, which is a merging layer or a
    container with branches; or an "alias", a container that passes on what its last layer has made."""
    name: str
    layer: Layer | None
    """None for the input of a model that has no `Input` layer and is not built."""
    inputs: tuple[int, ...]
    """Numbers of the nodes that it reads; of a merge the ends of the branches, in their order."""
    output_shape: Shape | None
    """Shape of its output for one sample; None if the model is not built."""
    macs: int | None = None
    """Multiply-adds of one sample, without those of layers that it holds; None if they are not known."""
    depth: int = 0
    """How many containers it is inside."""
    size: int = 1
    """How many layers it is: itself, and all that it holds."""
    merge: str | None = None
    """How a merge puts its inputs together: "add", "subtract", "concat" (of the channels), "multiply",
    "average", "maximum" or "minimum"."""
    fork: int | None = None
    """Number of the node that all branches of a merge come from; None if they have no common one."""


@dataclass(frozen=True)
class Graph:
    """The nodes of a model in topological order."""

    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    """Numbers of the nodes that data goes into."""
    outputs: tuple[int, ...]
    """Numbers of the nodes whose outputs are the model's."""
    by_position: tuple[Node, ...] = field(init=False)
    """The same nodes as the engine numbers them: inputs, then layers as they are named."""
    _numbers: dict[int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_position", tuple(sorted(self.nodes, key=lambda node: node.position)))
        numbers = {id(node.layer): node.number for node in reversed(self.nodes)}
        object.__setattr__(self, "_numbers", numbers)

    @property
    def layers(self) -> list[Layer]:
        """All layers but inputs as the engine numbers them, those in containers included."""
        return [node.layer for node in self.by_position if node.kind != "input" and node.layer is not None]

    def node(self, layer: Layer) -> Node:
        """The node of a layer; the first one, if it stands in several places.

        Raises:
            KeyError: it is not a layer of the model.
        """
        return self.nodes[self._numbers[id(layer)]]

    def input_shapes(self, node: Node) -> tuple[Shape | None, ...]:
        """Shapes of what a node reads, for one sample."""
        return tuple(self.nodes[number].output_shape for number in node.inputs)

    def held(self, node: Node) -> tuple[Node, ...]:
        """A node and all that it holds, as the engine numbers them."""
        return self.by_position[node.position : node.position + node.size]

    def chain(self, start: int, end: int) -> list[Node]:
        """The nodes behind number `start` up to number `end`, one after the other.

        A merge stands for all that its branches hold; they are ``graph.chain(node.fork, end)`` for each end
        among ``node.inputs``.

        Raises:
            ValueError: there are nodes of several inputs in between that have no common fork.
        """
        found = []
        while end != start:
            node = self.nodes[end]
            before = node.fork if node.kind == "merge" else node.inputs[0] if node.inputs else None
            if before is None:
                raise ValueError(f"'{node.name}' does not come from '{self.nodes[start].name}' alone")
            found.append(node)
            end = before
        return found[::-1]


def graph_of(source: Layer | None, layers: Iterable[Layer], network: Network | None) -> Graph:
    """The graph of layers one after the other.

    Args:
        source: the `Input`, if it is known.
        layers: the layers, containers among them.
        network: what the engine has made of them; None if the model is not built.
    """
    builder = _Builder(network)
    first = builder.source(source)
    last = builder.chain(layers, first, 0)
    return Graph(tuple(builder.nodes), (first,), (last,))


def graph_of_entries(entries: Sequence[Entry], outputs: Sequence[int], network: Network | None) -> Graph:
    """The graph of a model of any structure.

    Args:
        entries: inputs, layers and further calls of layers, as the engine is told of them.
        outputs: numbers of the entries that are the outputs.
        network: what the engine has made of them; None if the model is not built.
    """
    builder = _Builder(network)
    made: list[int] = []
    for entry in entries:
        made.append(builder.entry(entry, [made[number] for number in entry.inputs]))
    sources = tuple(number for entry, number in zip(entries, made, strict=True) if not entry.inputs)
    return Graph(tuple(builder.nodes), sources, tuple(made[number] for number in outputs))


class _Builder:
    """Makes nodes, and returns their numbers."""

    def __init__(self, network: Network | None) -> None:
        self._network = network
        self._positions = 0
        self.nodes: list[Node] = []

    def source(self, layer: Layer | None) -> int:
        """An input."""
        return self._add("input", self._next(), layer, ())

    def entry(self, entry: Entry, inputs: Sequence[int]) -> int:
        """An input, a layer or a further call of one."""
        layer = entry.layer
        if not inputs or layer is None:
            return self._add("input", self._next(), layer, (), name=entry.name)
        if layer.merges:
            merge = _MERGES.get(type(layer).__name__)
            if merge == "concat" and getattr(layer, "axis", -1) != -1:
                merge = None
            kind: Kind = "layer" if merge is None or len(inputs) == 1 else "merge"
            merge = merge if kind == "merge" else None
            return self._add(kind, self._next(), layer, tuple(inputs), name=entry.name, merge=merge)
        return self._layer(layer, inputs[0], 0, entry.name)

    def chain(self, layers: Iterable[Layer], source: int, depth: int) -> int:
        """Layers one after the other; the last one, or the source if there is none."""
        for layer in layers:
            source = self._layer(layer, source, depth)
        return source

    def _layer(self, layer: Layer, source: int, depth: int, name: str | None = None) -> int:
        position = self._next()
        if not isinstance(layer, Container):
            return self._add("layer", position, layer, (source,), depth, name=name)
        ends = tuple(self.chain(branch, source, depth + 1) for branch in branches_of(layer))
        merge = merge_of(layer)
        if merge is None:
            return self._add("alias", position, layer, ends, depth, name=name)
        return self._add("merge", position, layer, ends, depth, name=name, merge=merge, fork=source)

    def _next(self) -> int:
        self._positions += 1
        return self._positions - 1

    def _add(
        self,
        kind: Kind,
        position: int,
        layer: Layer | None,
        inputs: tuple[int, ...],
        depth: int = 0,
        *,
        name: str | None = None,
        merge: str | None = None,
        fork: int | None = None,
    ) -> int:
        network = self._network
        self.nodes.append(
            Node(
                number=len(self.nodes),
                position=position,
                kind=kind,
                name=name or ("input" if layer is None else layer.name),
                layer=layer,
                inputs=inputs,
                output_shape=None if network is None else network.output_shapes[position],
                macs=None if network is None else network.macs[position],
                depth=depth,
                size=self._positions - position,
                merge=merge,
                fork=fork,
            )
        )
        return len(self.nodes) - 1
