"""A model as boxes and lines, branches beside each other: where everything is, for whatever draws it.

Lengths are inches; x grows to the right from the middle of the drawing, y upwards from its top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gridnn._graph import Graph, Node

if TYPE_CHECKING:
    from gridnn.layers.base import Layer

__all__ = ["HEIGHT", "INK", "MUTED", "NOTE", "WIDTH", "Box", "Drawing", "Line", "Merge", "arrange"]

INK = "#222222"
MUTED = "#9AA0A6"
NOTE = "#5F6368"
_PAPER = "#F1F3F4"

WIDTH, HEIGHT = 2.1, 0.36  # of a box
_GAP, _SIDE = 0.24, 0.3  # between boxes below and beside each other

_FAMILIES = (  # part of a class name -> colour of the box
    ("Conv", "#CFE3F3"),
    ("Dense", "#FBE3C8"),
    ("Pool", "#CDEBDD"),
    ("Normalization", "#F3DCEA"),
)
_MERGES = {
    "add": "+",
    "average": "mean",
    "concat": "concatenate",
    "maximum": "max",
    "minimum": "min",
    "multiply": "×",
    "subtract": "−",
}


@dataclass(frozen=True)
class Box:
    """A layer: what it is, and the shape that it puts out."""

    x: float
    """Of its middle."""
    y: float
    """Of its upper edge."""
    text: str
    shape: str
    colour: str


@dataclass(frozen=True)
class Line:
    """A line through points, which may end in an arrow downwards."""

    points: tuple[tuple[float, float], ...]
    arrow: bool


@dataclass(frozen=True)
class Merge:
    """A sign where branches meet."""

    x: float
    y: float
    text: str
    shape: str


@dataclass
class Drawing:
    """Everything that is to be drawn, and the room that it takes."""

    width: float
    height: float
    items: list[Box | Line | Merge] = field(default_factory=list)

    def line(self, points: Sequence[tuple[float, float]], *, arrow: bool = False) -> None:
        """Adds a line."""
        self.items.append(Line(tuple(points), arrow))


@dataclass(frozen=True)
class _Block:
    """A box, or branches that meet again."""

    text: str
    shape: str
    colour: str = _PAPER
    branches: tuple[tuple[_Block, ...], ...] = ()

    @property
    def width(self) -> float:
        if not self.branches:
            return WIDTH
        return sum(_chain_width(branch) for branch in self.branches) + _SIDE * (len(self.branches) - 1)

    @property
    def height(self) -> float:
        if not self.branches:
            return HEIGHT
        # A line that spreads, the branches, a line that gathers, and the circle of the merge.
        return max(_chain_height(branch) for branch in self.branches) + 2 * _GAP + HEIGHT


def _chain_width(chain: Sequence[_Block]) -> float:
    return max((block.width for block in chain), default=0.5)


def _chain_height(chain: Sequence[_Block]) -> float:
    return sum(block.height for block in chain) + _GAP * max(len(chain) - 1, 0)


def arrange(graph: Graph) -> Drawing:
    """Finds a place for every layer of a model."""
    if any(node.kind != "input" and _leaves_chain(node) for node in graph.nodes) or len(graph.inputs) > 1:
        return _arrange_graph(graph)
    (source,), (end,) = graph.inputs, graph.outputs
    chain = (_Block("input", _shape(graph.nodes[source])), *_blocks(graph, source, end))
    drawing = Drawing(_chain_width(chain) + 0.2, _chain_height(chain) + 0.2)
    _place_chain(drawing, chain, 0.0, 0.0)
    return drawing


def _leaves_chain(node: Node) -> bool:
    """Whether a node makes more of a model than layers and containers one after the other."""
    return len(node.inputs) > 1 and node.fork is None


def _arrange_graph(graph: Graph) -> Drawing:
    """The layers of any graph in rows: each below all that it reads."""
    rows: dict[int, int] = {}
    stands_for: dict[int, int] = {}
    levels: dict[int, list[Node]] = {}
    for node in graph.nodes:
        if node.kind == "alias":
            stands_for[node.number] = stands_for[node.inputs[0]]
            continue
        stands_for[node.number] = node.number
        read = [stands_for[number] for number in node.inputs]
        rows[node.number] = 1 + max((rows[number] for number in read), default=-1)
        levels.setdefault(rows[node.number], []).append(node)
    step = HEIGHT + 2 * _GAP
    width = max(len(level) for level in levels.values()) * (WIDTH + _SIDE) + 0.2
    drawing = Drawing(width, len(levels) * step + 0.2)
    places: dict[int, tuple[float, float]] = {}
    for row, level in levels.items():
        for column, node in enumerate(level):
            x, y = (column - (len(level) - 1) / 2) * (WIDTH + _SIDE), -row * step
            places[node.number] = (x, y)
            for number in {stands_for[number] for number in node.inputs}:
                above, top = places[number]
                drawing.line([(above, top - HEIGHT), (x, y)], arrow=True)
            text = (
                node.name if node.kind == "input" else _MERGES.get(node.merge or "") or _caption(node.layer)
            )
            drawing.items.append(Box(x, y, text, _shape(node), _colour(node)))
    return drawing


def _blocks(graph: Graph, start: int, end: int) -> tuple[_Block, ...]:
    """The boxes behind a node up to another one; what a chain holds stands in line with the rest."""
    return tuple(_block(graph, node) for node in graph.chain(start, end) if node.kind != "alias")


def _block(graph: Graph, node: Node) -> _Block:
    if node.merge is not None and node.fork is not None:
        fork = node.fork
        branches = tuple(_blocks(graph, fork, end) for end in node.inputs)
        return _Block(_MERGES[node.merge], _shape(node), branches=branches)
    return _Block(_caption(node.layer), _shape(node), _colour(node))


def _colour(node: Node) -> str:
    kind = type(node.layer).__name__
    return next((colour for part, colour in _FAMILIES if part in kind), _PAPER)


def _caption(layer: Layer | None) -> str:
    """Class and the numbers one looks for first."""
    numbers = (getattr(layer, name, None) for name in ("filters", "units", "rate"))
    values = [type(layer).__name__, *(f"{number:g}" for number in numbers if number is not None)]
    for name in ("kernel_size", "pool_size"):
        size = getattr(layer, name, None)
        if size is not None:
            values.append("×".join(str(n) for n in size))
    strides = getattr(layer, "strides", None)
    if hasattr(layer, "kernel_size") and strides is not None and any(n != 1 for n in strides):
        values.append("/" + "×".join(str(n) for n in sorted(set(strides), reverse=True)))
    activation = getattr(layer, "activation", None)
    if isinstance(activation, str) and activation != "linear":
        values.append(activation)
    return " ".join(values)


def _shape(node: Node) -> str:
    return " × ".join("?" if n is None else str(n) for n in node.output_shape or ())


def _place_chain(drawing: Drawing, chain: Sequence[_Block], x: float, y: float) -> None:
    """Places blocks downwards from `y`, centred at `x`."""
    for i, block in enumerate(chain):
        if i:
            drawing.line([(x, y), (x, y - _GAP)], arrow=not block.branches)
            y -= _GAP
        if block.branches:
            _place_branches(drawing, block, x, y)
        else:
            drawing.items.append(Box(x, y, block.text, block.shape, block.colour))
        y -= block.height


def _place_branches(drawing: Drawing, block: _Block, x: float, y: float) -> None:
    inside = block.height - 2 * _GAP - HEIGHT
    left = x - block.width / 2
    bottom = y - _GAP - inside
    middle = bottom - _GAP - HEIGHT / 2
    for branch in block.branches:
        width = _chain_width(branch)
        centre = left + width / 2
        fork = [(x, y), (x, y - _GAP / 3), (centre, y - _GAP / 3), (centre, y - _GAP)]
        drawing.line(fork, arrow=bool(branch))
        _place_chain(drawing, branch, centre, y - _GAP)
        end = y - _GAP - _chain_height(branch)
        meet = bottom - 2 * _GAP / 3
        drawing.line([(centre, end), (centre, meet), (x, meet), (x, middle + 0.1)])
        left += width + _SIDE
    drawing.line([(x, middle - 0.1), (x, y - block.height)])
    drawing.items.append(Merge(x, middle, block.text, block.shape))
