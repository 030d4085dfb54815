"""What all pictures share: matplotlib on demand, colours, mosaics of small pictures in one axes."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gridnn import _validation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "ACCENT",
    "COLOURS",
    "DIVERGING",
    "INK",
    "MUTED",
    "PAPER",
    "SEQUENTIAL",
    "axes",
    "bare",
    "channel_planes",
    "columns_for",
    "mosaic",
    "require",
    "show_mosaic",
    "stretch",
]

# Okabe and Ito's colours, which people of every colour vision tell apart; black is kept for text.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
ACCENT = "#D55E00"
INK = "#222222"
MUTED = "#9AA0A6"
PAPER = "#F1F3F4"
SEQUENTIAL = "viridis"
DIVERGING = "RdBu_r"  # red above zero, blue below, white at zero


def require(module: str) -> Any:
    """A module of matplotlib.

    Raises:
        ImportError: matplotlib is not installed; the message says what to do.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        raise ImportError(
            "gridnn.plot needs matplotlib, which is not installed: pip install 'gridnn[plot]'"
        ) from error


def axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """The axes to draw on: `ax`, or those of a new figure of this size in inches."""
    if ax is not None:
        return ax
    new: Axes = require("matplotlib.pyplot").subplots(figsize=size, layout="constrained")[1]
    return new


def bare(ax: Axes) -> None:
    """Takes ticks and frame away: pixels of a picture have no scale worth reading."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)


def stretch(image: ArrayLike) -> NDArray[Any]:
    """Values moved to 0..1; a constant image becomes 0.5."""
    array = np.asarray(image, np.float64)
    low, high = (np.nanmin(array), np.nanmax(array)) if array.size else (0.0, 0.0)
    if high == low:
        return np.full(array.shape, 0.5)
    stretched: NDArray[Any] = (array - low) / (high - low)
    return stretched


def columns_for(count: int, tile: tuple[int, int], columns: int | None) -> int:
    """Columns of a mosaic: as asked for, else so that it is about 1.6 times as wide as high."""
    if columns is not None:
        return min(_validation.positive_integer(columns, "columns"), count)
    height, width = tile
    wish = max(1, min(count, round(math.sqrt(1.6 * count * height / width))))
    # Near that number, the one that leaves the fewest places of the last row empty.
    near = range(max(1, wish - wish // 3), min(count, wish + wish // 2) + 1)
    return min(near, key=lambda n: (-count % n, abs(n - wish)))


def mosaic(tiles: Sequence[NDArray[Any]], columns: int, gap: tuple[int, int] = (1, 1)) -> NDArray[Any]:
    """Tiles of one shape ``(height, width)`` or ``(height, width, 3)`` side by side, NaN between them.

    `gap` is what lies between rows and between columns.
    """
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    shape = (rows * (height + gap[0]) - gap[0], columns * (width + gap[1]) - gap[1], *tiles[0].shape[2:])
    whole = np.full(shape, np.nan)
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * (height + gap[0]), (i % columns) * (width + gap[1])
        whole[top : top + height, left : left + width] = tile
    return whole


def show_mosaic(
    ax: Axes | None,
    tiles: Sequence[NDArray[Any]],
    *,
    columns: int | None,
    labels: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    cmap: str = "gray",
    limits: tuple[float, float] | None = None,
    tile_inches: float = 1.1,
) -> Axes:
    """Draws tiles as one picture.

    Args:
        ax: the axes, or None.
        tiles: arrays of one shape, each ``(height, width)`` or ``(height, width, 3)`` from 0 to 1.
        columns: tiles in a row, or None.
        labels: one per tile, written above it.
        rows: one per row, written to its left.
        cmap: colour map of tiles without colours.
        limits: values of the first and the last colour; None takes those of the tiles.
        tile_inches: width of a tile in a new figure.
    """
    height, width = tiles[0].shape[:2]
    columns = columns_for(len(tiles), (height, width), columns)
    count = -(-len(tiles) // columns)
    # Inches of a label above each row; those above the first row stand outside.
    inner = labels[columns:] if labels else ()
    line = max((0.08 + 0.14 * (1 + label.count("\n")) for label in inner if label), default=0.0)
    inches = (tile_inches * columns, (tile_inches * height / width + line) * count + 0.3)
    scale = min(1.0, 9.0 / inches[0], 9.0 / inches[1])
    ax = axes(ax, (max(3.2, inches[0] * scale), max(1.0, inches[1] * scale)))
    gap = max(1, round(0.06 * max(height, width)))
    gap_y = gap + math.ceil(line / tile_inches / scale * width)
    whole = mosaic(tiles, columns, (gap_y, gap))
    low, high = limits or (float(np.nanmin(whole)), float(np.nanmax(whole)))
    if whole.ndim == 3:  # NaN is no colour: what lies between the tiles is transparent
        between = np.isnan(whole[..., :1])
        whole = np.concatenate([np.where(between, 0.0, whole), 1.0 - between], axis=-1)
    ax.imshow(whole, cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    bare(ax)
    for i, label in enumerate(labels or ()):
        x, y = (i % columns) * (width + gap) + (width - 1) / 2, (i // columns) * (height + gap_y) - 0.5
        ax.annotate(
            label,
            (x, y),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8,
            color=INK,
        )
    for i, label in enumerate(rows or ()):
        ax.annotate(
            label,
            (-0.5, i * (height + gap_y) + (height - 1) / 2),
            xytext=(-4, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=8,
            color=INK,
        )
    return ax


def channel_planes(maps: ArrayLike, name: str) -> NDArray[Any]:
    """Maps of one sample as ``(channels, height, width)``.

    Series become one row; of a volume the middle slice is taken along the first axis. A batch axis of size 1
    is dropped, so rank 5 must have one and rank 4 may.

    Raises:
        ValueError: more than one sample, or no spatial axis.
    """
    array = np.asarray(maps)
    if array.ndim in (3, 4, 5) and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        array = array[None]
    if array.ndim == 4:
        array = array[array.shape[0] // 2]
    if array.ndim != 3:
        raise ValueError(
            f"`{name}` must be the maps of one sample: one to three spatial axes and channels. Received "
            f"shape {np.asarray(maps).shape}."
        )
    return np.moveaxis(array, -1, 0)
