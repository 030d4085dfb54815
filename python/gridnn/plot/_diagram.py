"""A model as boxes and lines, branches beside each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gridnn._graph import Graph, Node
from gridnn.model.trainable import TrainableModel
from gridnn.plot import _style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gridnn.layers.base import Layer
    from gridnn.model.protocol import Model

__all__ = ["diagram"]

# In inches of a new figure.
_WIDTH, _HEIGHT, _GAP, _SIDE = 2.1, 0.36, 0.24, 0.3

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
class _Block:
    """A box, or branches that meet again."""

    text: str
    shape: str
    colour: str = _style.PAPER
    branches: tuple[tuple[_Block, ...], ...] = ()

    @property
    def width(self) -> float:
        if not self.branches:
            return _WIDTH
        return sum(_chain_width(branch) for branch in self.branches) + _SIDE * (len(self.branches) - 1)

    @property
    def height(self) -> float:
        if not self.branches:
            return _HEIGHT
        # A line that spreads, the branches, a line that gathers, and the circle of the merge.
        return max(_chain_height(branch) for branch in self.branches) + 2 * _GAP + _HEIGHT


def _chain_width(chain: Sequence[_Block]) -> float:
    return max((block.width for block in chain), default=0.5)


def _chain_height(chain: Sequence[_Block]) -> float:
    return sum(block.height for block in chain) + _GAP * max(len(chain) - 1, 0)


def diagram(model: Model, *, ax: Axes | None = None) -> Axes:
    """The layers of a model from top to bottom, with what they put out; branches stand side by side.

    Args:
        model: a model; shapes are shown if it is built.
        ax: axes to draw on; None makes a figure.

    Raises:
        TypeError: not a model.
        ImportError: matplotlib is not installed.

    Example:
        >>> model = gn.Sequential([gn.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.Flatten()])
        >>> ax = gn.plot.diagram(model)
    """
    if not isinstance(model, TrainableModel):
        raise TypeError(f"`model` must be a Sequential or another model. Received {model!r:.200}.")
    graph = model.graph
    if any(node.kind != "input" and _leaves_chain(node) for node in graph.nodes) or len(graph.inputs) > 1:
        return _draw_graph(graph, ax)
    (source,), (end,) = graph.inputs, graph.outputs
    chain = (_Block("input", _shape(graph.nodes[source])), *_blocks(graph, source, end))
    width, height = _chain_width(chain) + 0.2, _chain_height(chain) + 0.2
    scale = min(1.0, 14.0 / height)
    ax = _style.axes(ax, (max(width, 2.4) * max(scale, 0.6), height * max(scale, 0.6)))
    ax.set_xlim(-width / 2, width / 2)
    ax.set_ylim(-height + 0.1, 0.1)
    ax.set_aspect("equal")
    ax.axis("off")
    _draw_chain(ax, chain, 0.0, 0.0)
    return ax


def _leaves_chain(node: Node) -> bool:
    """Whether a node makes more of a model than layers and containers one after the other."""
    return len(node.inputs) > 1 and node.fork is None


def _draw_graph(graph: Graph, ax: Axes | None) -> Axes:
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
    step = _HEIGHT + 2 * _GAP
    width = max(len(level) for level in levels.values()) * (_WIDTH + _SIDE) + 0.2
    height = len(levels) * step + 0.2
    scale = min(1.0, 14.0 / height)
    ax = _style.axes(ax, (max(width, 2.4) * max(scale, 0.6), height * max(scale, 0.6)))
    ax.set_xlim(-width / 2, width / 2)
    ax.set_ylim(-height + 0.1, 0.1)
    ax.set_aspect("equal")
    ax.axis("off")
    places: dict[int, tuple[float, float]] = {}
    for row, level in levels.items():
        for column, node in enumerate(level):
            x, y = (column - (len(level) - 1) / 2) * (_WIDTH + _SIDE), -row * step
            places[node.number] = (x, y)
            for number in {stands_for[number] for number in node.inputs}:
                above, top = places[number]
                _line(ax, [(above, top - _HEIGHT), (x, y)], arrow=True)
            text = (
                node.name if node.kind == "input" else _MERGES.get(node.merge or "") or _caption(node.layer)
            )
            kind = type(node.layer).__name__
            colour = next((colour for part, colour in _FAMILIES if part in kind), _style.PAPER)
            _draw_box(ax, _Block(text, _shape(node), colour), x, y)
    return ax


def _blocks(graph: Graph, start: int, end: int) -> tuple[_Block, ...]:
    """The boxes behind a node up to another one; what a chain holds stands in line with the rest."""
    return tuple(_block(graph, node) for node in graph.chain(start, end) if node.kind != "alias")


def _block(graph: Graph, node: Node) -> _Block:
    if node.merge is not None and node.fork is not None:
        fork = node.fork
        branches = tuple(_blocks(graph, fork, end) for end in node.inputs)
        return _Block(_MERGES[node.merge], _shape(node), branches=branches)
    kind = type(node.layer).__name__
    colour = next((colour for part, colour in _FAMILIES if part in kind), _style.PAPER)
    return _Block(_caption(node.layer), _shape(node), colour)


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


def _draw_chain(ax: Axes, chain: Sequence[_Block], x: float, y: float) -> None:
    """Draws blocks downwards from `y`, centred at `x`."""
    for i, block in enumerate(chain):
        if i:
            _line(ax, [(x, y), (x, y - _GAP)], arrow=not block.branches)
            y -= _GAP
        if block.branches:
            _draw_branches(ax, block, x, y)
        else:
            _draw_box(ax, block, x, y)
        y -= block.height


def _draw_box(ax: Axes, block: _Block, x: float, y: float) -> None:
    patches = _style.require("matplotlib.patches")
    box = patches.FancyBboxPatch(
        (x - _WIDTH / 2 + 0.03, y - _HEIGHT + 0.03),
        _WIDTH - 0.06,
        _HEIGHT - 0.06,
        boxstyle="round,pad=0.03",
        facecolor=block.colour,
        edgecolor="none",
    )
    ax.add_patch(box)
    if block.shape:
        ax.text(x, y - 0.13, block.text, ha="center", va="center", fontsize=7.5, color=_style.INK)
        ax.text(x, y - 0.265, block.shape, ha="center", va="center", fontsize=6, color="#5F6368")
    else:
        ax.text(x, y - _HEIGHT / 2, block.text, ha="center", va="center", fontsize=7.5, color=_style.INK)


def _draw_branches(ax: Axes, block: _Block, x: float, y: float) -> None:
    inside = block.height - 2 * _GAP - _HEIGHT
    left = x - block.width / 2
    bottom = y - _GAP - inside
    middle = bottom - _GAP - _HEIGHT / 2
    for branch in block.branches:
        width = _chain_width(branch)
        centre = left + width / 2
        _line(ax, [(x, y), (x, y - _GAP / 3), (centre, y - _GAP / 3), (centre, y - _GAP)], arrow=bool(branch))
        _draw_chain(ax, branch, centre, y - _GAP)
        end = y - _GAP - _chain_height(branch)
        meet = bottom - 2 * _GAP / 3
        _line(ax, [(centre, end), (centre, meet), (x, meet), (x, middle + 0.1)])
        left += width + _SIDE
    _line(ax, [(x, middle - 0.1), (x, y - block.height)])
    ax.text(
        x,
        middle,
        block.text,
        ha="center",
        va="center",
        fontsize=9 if len(block.text) == 1 else 7.5,
        color=_style.INK,
        bbox={
            "boxstyle": "circle,pad=0.15" if len(block.text) == 1 else "round,pad=0.25",
            "fc": "white",
            "ec": _style.MUTED,
        },
    )
    if block.shape:
        offset = 0.16 if len(block.text) == 1 else 0.12 + 0.045 * len(block.text)
        ax.text(x + offset, middle, block.shape, ha="left", va="center", fontsize=6, color="#5F6368")


def _line(ax: Axes, points: Sequence[tuple[float, float]], *, arrow: bool = False) -> None:
    xs, ys = zip(*points, strict=True)
    ax.plot(xs, ys, color=_style.MUTED, linewidth=1.0, solid_joinstyle="round")
    if arrow and not math.isclose(ys[-1], ys[-2]):
        ax.plot(xs[-1], ys[-1] + 0.03, marker="v", markersize=3.5, color=_style.MUTED)
