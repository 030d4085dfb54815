"""A model as boxes and lines, branches beside each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gridnn._diagram import HEIGHT, NOTE, WIDTH, Box, Line, Merge, arrange
from gridnn.model.trainable import TrainableModel
from gridnn.plot import _style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gridnn.model.protocol import Model

__all__ = ["diagram"]


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
    drawing = arrange(model.graph)
    width, height = drawing.width, drawing.height
    scale = max(min(1.0, 14.0 / height), 0.6)
    ax = _style.axes(ax, (max(width, 2.4) * scale, height * scale))
    ax.set_xlim(-width / 2, width / 2)
    ax.set_ylim(-height + 0.1, 0.1)
    ax.set_aspect("equal")
    ax.axis("off")
    for item in drawing.items:
        if isinstance(item, Line):
            _draw_line(ax, item)
        elif isinstance(item, Box):
            _draw_box(ax, item)
        else:
            _draw_merge(ax, item)
    return ax


def _draw_box(ax: Axes, box: Box) -> None:
    patches = _style.require("matplotlib.patches")
    x, y = box.x, box.y
    ax.add_patch(
        patches.FancyBboxPatch(
            (x - WIDTH / 2 + 0.03, y - HEIGHT + 0.03),
            WIDTH - 0.06,
            HEIGHT - 0.06,
            boxstyle="round,pad=0.03",
            facecolor=box.colour,
            edgecolor="none",
        )
    )
    if box.shape:
        ax.text(x, y - 0.13, box.text, ha="center", va="center", fontsize=7.5, color=_style.INK)
        ax.text(x, y - 0.265, box.shape, ha="center", va="center", fontsize=6, color=NOTE)
    else:
        ax.text(x, y - HEIGHT / 2, box.text, ha="center", va="center", fontsize=7.5, color=_style.INK)


def _draw_merge(ax: Axes, merge: Merge) -> None:
    single = len(merge.text) == 1
    ax.text(
        merge.x,
        merge.y,
        merge.text,
        ha="center",
        va="center",
        fontsize=9 if single else 7.5,
        color=_style.INK,
        bbox={
            "boxstyle": "circle,pad=0.15" if single else "round,pad=0.25",
            "fc": "white",
            "ec": _style.MUTED,
        },
    )
    if merge.shape:
        offset = 0.16 if single else 0.12 + 0.045 * len(merge.text)
        x = merge.x + offset
        ax.text(x, merge.y, merge.shape, ha="left", va="center", fontsize=6, color=NOTE)


def _draw_line(ax: Axes, line: Line) -> None:
    xs, ys = zip(*line.points, strict=True)
    ax.plot(xs, ys, color=_style.MUTED, linewidth=1.0, solid_joinstyle="round")
    if line.arrow and not math.isclose(ys[-1], ys[-2]):
        ax.plot(xs[-1], ys[-1] + 0.03, marker="v", markersize=3.5, color=_style.MUTED)
