"""HTML of models, histories and results, which notebooks show.

Drawn without matplotlib, so that it costs nothing where nobody looks. Text and axes take the colour of the
page around them, light or dark.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from gridnn._diagram import HEIGHT, INK, MUTED, NOTE, WIDTH, Box, Drawing, Line, arrange
from gridnn._graph import Graph
from gridnn._network import Network
from gridnn.model import summary

__all__ = ["curves", "diagram", "model_page", "results_table", "summary_table"]

_COLOURS = ("#3D8FD1", "#D55E00")  # training and validation, on white and on black
_WORDS = "text-align:left;padding:0.2em 0.6em;white-space:nowrap"
_NUMBER = "text-align:right;font-variant-numeric:tabular-nums;padding:0.2em 0.6em"
_OPEN_UP_TO = 24  # layers whose diagram is shown at once


# Models


def model_page(name: str, graph: Graph, network: Network | None, memory: int | None) -> str:
    """Table and diagram of a model."""
    layers = len(summary.rows_of(graph, network)) - 1
    opened = ' open="open"' if layers <= _OPEN_UP_TO else ""
    return (
        f"{summary_table(name, graph, network, memory)}<details{opened}><summary>Diagram</summary>"
        f'<div style="max-height:40rem;overflow:auto">{diagram(graph)}</div></details>'
    )


def summary_table(
    name: str,
    graph: Graph,
    network: Network | None,
    memory: int | None,
    options: summary.Options | None = None,
) -> str:
    """The table of `summary`; see `summary.table` for the arguments."""
    headings, *rows = summary.rows_of(graph, network, options, name)
    cells = []
    for label, *values in rows:
        words = label.lstrip(" ")
        indent = f"padding-left:{0.6 + 0.6 * (len(label) - len(words)):g}em"
        cells.append(_row((words, *values), "td", (f"{_WORDS};{indent}", _WORDS)))
    totals = "<br>".join(html.escape(line) for line in summary.totals_of(network, memory))
    head = _row(headings, "th", (_WORDS, _WORDS))
    return (
        f"<p><b>{html.escape(name)}</b></p>"
        f'<div style="overflow-x:auto"><table><thead>{head}</thead><tbody>{"".join(cells)}</tbody></table>'
        f"</div><p><small>{totals}</small></p>"
    )


def _row(cells: Sequence[str], tag: str, styles: Sequence[str] = ()) -> str:
    styles = (*styles, *[_NUMBER] * (len(cells) - len(styles)))
    return (
        "<tr>"
        + "".join(
            f'<{tag} style="{style}">{html.escape(cell)}</{tag}>'
            for cell, style in zip(cells, styles, strict=True)
        )
        + "</tr>"
    )


def diagram(graph: Graph) -> str:
    """The layers as SVG."""
    drawing = arrange(graph)
    shapes = "".join(_shape(item, drawing) for item in drawing.items)
    width, height = drawing.width * 72, drawing.height * 72
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="the layers of the model" '
        f'width="{1.4 * width:.0f}" height="{1.4 * height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'style="max-width:100%;height:auto" font-family="system-ui,sans-serif" text-anchor="middle">'
        f"{shapes}</svg>"
    )


def _shape(item: Any, drawing: Drawing) -> str:
    """A part of a diagram; x to the right and y downwards, 72 units an inch."""

    def place(x: float, y: float) -> tuple[float, float]:
        return (x + drawing.width / 2) * 72, (0.1 - y) * 72

    if isinstance(item, Line):
        points = [place(*point) for point in item.points]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        line = f'<path d="{path}" fill="none" stroke="{MUTED}"/>'
        if item.arrow and points[-1][1] != points[-2][1]:
            x, y = points[-1]
            line += f'<path d="M{x - 2.2:.1f} {y - 4:.1f}h4.4l-2.2 4z" fill="{MUTED}"/>'
        return line
    x, y = place(item.x, item.y)
    if isinstance(item, Box):
        box = (
            f'<rect x="{x - WIDTH * 36:.1f}" y="{y:.1f}" width="{WIDTH * 72:.1f}" '
            f'height="{HEIGHT * 72:.1f}" rx="3" fill="{item.colour}"/>'
        )
        if not item.shape:
            return box + _text(x, y + HEIGHT * 36 + 2.6, item.text, 7.5, INK)
        return box + _text(x, y + 12, item.text, 7.5, INK) + _text(x, y + 21.3, item.shape, 6, NOTE)
    wide = max(11.0, 8 + 3.9 * len(item.text))
    sign = (
        f'<rect x="{x - wide / 2:.1f}" y="{y - 5.5:.1f}" width="{wide:.1f}" height="11" rx="5.5" '
        f'fill="#fff" stroke="{MUTED}"/>{_text(x, y + 2.7, item.text, 7.5, INK)}'
    )
    # The shape stands on the page itself, and takes its colour.
    label = _text(x + wide / 2 + 3, y + 2.2, item.shape, 6, "currentColor", "start") if item.shape else ""
    return sign + label


def _text(x: float, y: float, text: str, size: float, colour: str, anchor: str = "middle") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{colour}" text-anchor="{anchor}">'
        f"{html.escape(text)}</text>"
    )


# Histories


def curves(series: Mapping[str, Sequence[tuple[int, float]]], epochs: int) -> str:
    """A chart for every metric, training and validation in one, and the last values; a table of one epoch.

    Args:
        series: name -> epochs, counted from 1, and values; those of the validation begin with "val_".
        epochs: number of epochs.
    """
    if not series:
        return "<p>No epoch has been trained.</p>"
    if epochs == 1:  # a point is no curve
        return results_table({name: points[-1][1] for name, points in series.items() if points})
    metrics = list(dict.fromkeys(name.removeprefix("val_") for name in series))
    charts = "".join(
        _chart(
            metric,
            {label: series[key] for label, key in _parts(metric) if key in series},
            max(epochs, *(points[-1][0] for points in series.values() if points), 1),
        )
        for metric in metrics
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:1rem">{charts}</div>'


def _parts(metric: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("training", metric), ("validation", f"val_{metric}")


def _chart(metric: str, lines: Mapping[str, Sequence[tuple[int, float]]], epochs: int) -> str:
    left, top, width, height = 46, 22, 240, 130
    values = [value for points in lines.values() for _, value in points if math.isfinite(value)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if high == low:
        low, high = low - 0.5, high + 0.5

    def place(epoch: int, value: float) -> tuple[float, float]:
        across = (epoch - 1) / max(epochs - 1, 1)
        return left + across * width, top + (high - value) / (high - low) * height

    drawn, legend, x = [], [], float(left)
    for label, points in lines.items():
        colour = _COLOURS[label == "validation"]
        # A value that is no number leaves a gap.
        path, pen = "", "M"
        for epoch, value in points:
            if not math.isfinite(value):
                pen = "M"
                continue
            path, pen = path + "{}{:.1f} {:.1f}".format(pen, *place(epoch, value)), "L"
        if path.count("L"):
            dash = ' stroke-dasharray="5 3"' if label == "validation" else ""
            drawn.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.8"{dash}/>')
        elif path:
            cx, cy = path[1:].split()[:2]
            drawn.append(f'<circle cx="{cx}" cy="{cy}" r="3" fill="{colour}"/>')
        last = f"{label} {points[-1][1]:.4g}" if points else label
        legend.append(_text(x, top + height + 32, last, 11, colour, "start"))
        x += 125
    axes = (
        f'<path d="M{left - 4} {top}V{top + height + 4}H{left + width}" fill="none" '
        f'stroke="currentColor" stroke-opacity="0.4"/>'
    )
    labels = (
        _text(left - 8, top + 4, f"{high:.3g}", 10, "currentColor", "end")
        + _text(left - 8, top + height + 4, f"{low:.3g}", 10, "currentColor", "end")
        + _text(left, top + height + 16, "1", 10, "currentColor")
        + _text(left + width, top + height + 16, f"epoch {epochs}", 10, "currentColor", "end")
        + _text(left, 13, metric.replace("_", " "), 12, "currentColor", "start")
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{html.escape(metric)} over the '
        f'epochs" width="300" height="190" viewBox="0 0 300 190" style="max-width:100%;height:auto" '
        f'font-family="system-ui,sans-serif">{axes}{"".join(drawn)}{labels}{"".join(legend)}</svg>'
    )


# Results


def results_table(results: Mapping[str, float]) -> str:
    """Loss and metrics by name."""
    rows = "".join(
        _row((name.replace("_", " "), f"{value:.4g}"), "td", (_WORDS,)) for name, value in results.items()
    )
    return f"<table><tbody>{rows}</tbody></table>"
