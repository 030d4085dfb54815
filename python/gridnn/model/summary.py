"""The table that `Sequential.summary` prints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gridnn._graph import Graph, Node
from gridnn._network import Network
from gridnn._receptive_field import grid_inputs, receptive_fields

BATCH = 32  # that of `fit`
_HEADINGS = ("Layer (type)", "Output shape", "Parameters", "Multiply-adds", "Receptive field")


@dataclass(frozen=True, slots=True)
class Options:
    """What `summary` was asked for."""

    line_length: int | None = None
    positions: Sequence[float] | None = None
    show_trainable: bool = False
    layer_range: Sequence[str] | None = None


def rows_of(
    graph: Graph, network: Network | None, options: Options | None = None, model: str = "model"
) -> list[tuple[str, ...]]:
    """Headings, and a row per layer; see `table`."""
    options = options or Options()
    rows: list[tuple[str, ...]] = [_HEADINGS]
    fields = _fields(network, graph)
    nodes = [node for node in graph.by_position if node.kind != "input" and node.layer is not None]
    shown = _shown(nodes, options.layer_range, model)
    for node in shown:
        assert node.layer is not None
        label = f"{'  ' * node.depth}{node.name} ({type(node.layer).__name__})"
        if node.output_shape is None:
            rows.append((label, "?", "?", "?", "?"))
            continue
        macs = [held.macs for held in graph.held(node)]
        rows.append(
            (
                label,
                str((None, *node.output_shape)),
                f"{node.layer.count_params():,}",
                "?" if None in macs else f"{sum(count or 0 for count in macs):,}",
                " x ".join(map(str, fields.get(node.name, ()))) or "?",
            )
        )
    if options.show_trainable:
        rows[0] = (*_HEADINGS, "Trainable")
        for number, node in enumerate(shown, 1):
            own = node.layer
            rows[number] = (*rows[number], "?" if own is None else "Y" if own.trainable else "N")
    return rows


def totals_of(network: Network | None, memory: int | None) -> list[str]:
    """What is said of the model as a whole, a line each; see `table`."""
    if network is None:
        return [
            "Not built yet: shapes are known with an Input as first layer, after build(), or with the "
            "first data."
        ]
    total = sum(math.prod(info.shape) for info in network.weights)
    trainable = sum(math.prod(info.shape) for info in network.weights if info.trainable)
    lines = [
        f"Input shape: {', '.join(str((None, *shape)) for shape in network.sources)}",
        f"Parameters: {total:,} ({total * network.dtype.itemsize / 1024:,.1f} KiB), trainable: {trainable:,}",
    ]
    if memory is not None:
        lines.append(f"Memory for training on {BATCH} samples at a time: {memory / 2**20:,.1f} MiB")
    if None not in network.macs:
        lines.append(f"Multiply-adds of one sample: {sum(count or 0 for count in network.macs):,}")
    return lines


def table(
    name: str,
    graph: Graph,
    network: Network | None,
    memory: int | None,
    options: Options | None = None,
) -> str:
    """A line per layer: output shape, weights, multiply-adds of one sample, size of the receptive field.

    What a container holds stands below it, set in; its numbers are theirs together.

    Args:
        name: of the model.
        graph: its layers.
        network: None before it is built.
        memory: bytes for training on `BATCH` samples at a time, if that is known.
        options: what was asked for.
    """
    rows = rows_of(graph, network, options, name)
    widths = _widths(rows, options or Options())
    lines = [f"Model: {name}"]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    for i, row in enumerate(rows):
        # Words to the left, numbers to the right.
        cells = [
            cell.ljust(w) if column < 2 else cell.rjust(w)
            for column, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
        if i in (0, len(rows) - 1):
            lines.append(rule)
    return "\n".join([*lines, *totals_of(network, memory)])


def _shown(nodes: list[Node], names: Sequence[str] | None, model: str) -> list[Node]:
    """The layers from the first of two names to the second."""
    if names is None:
        return nodes
    known = [node.name for node in nodes]
    for wanted in names:
        if wanted not in known:
            raise ValueError(
                f"The `layer_range` argument names {wanted!r}, which is no layer of model '{model}': they "
                f"are {', '.join(known)}."
            )
    return nodes[known.index(names[0]) : known.index(names[-1]) + 1]


def _widths(rows: list[tuple[str, ...]], options: Options) -> list[int]:
    """Widths of the columns, which hold what is in them at least."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    if options.positions is not None:
        scale = (options.line_length or 98) if max(options.positions, default=0) <= 1 else 1
        ends = [round(scale * end) for end in options.positions]
        wanted = [end - start - 2 for start, end in zip([-2, *ends], ends, strict=False)]
        widths = [max(pair) for pair in zip(widths, [*wanted, *widths[len(wanted) :]], strict=False)]
    missing = (options.line_length or 0) - sum(widths) - 2 * (len(widths) - 1)
    widths[0] += max(missing, 0)
    return widths


def _fields(network: Network | None, graph: Graph) -> dict[str, tuple[int, ...]]:
    """Sizes of the layers' receptive fields, by name; none where sizes are open or there is no grid."""
    grids = [] if network is None else grid_inputs(network.sources)
    if network is None or len(grids) != 1:
        return {}  # there is no such thing as the input
    sizes = network.sources[grids[0]][:-1]
    known = tuple(size for size in sizes if size is not None)
    if len(known) < len(sizes):
        return {}
    return {field.name: field.size for field in receptive_fields(graph, known, grids[0])}
