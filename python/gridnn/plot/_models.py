"""Pictures of what `gridnn.inspect` finds: receptive fields, matrices, patches, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gridnn import _validation, inspect
from gridnn.inspect import Cost, LayerMatrix, Patch, ReceptiveField
from gridnn.model.protocol import Model
from gridnn.plot import _style
from gridnn.plot._images import picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes


__all__ = ["conv_matrix", "costs", "effective_receptive_field", "feature_hierarchy", "receptive_field"]


def receptive_field(
    fields: Model | Sequence[ReceptiveField],
    image: ArrayLike | None = None,
    *,
    layers: Sequence[str] | None = None,
    position: Sequence[float] = (0.5, 0.5),
    ax: Axes | None = None,
) -> Axes:
    """What one output of each layer sees of an image, as frames around the same place.

    Args:
        fields: what `gridnn.inspect.receptive_field` returned, or a model of images with known size.
        image: ``(height, width)`` or ``(height, width, channels)``; None draws an empty one.
        layers: names of the layers to show; None shows those whose field differs from the one before, up to
            six.
        position: where the outputs are taken, from (0, 0), the first, to (1, 1), the last.
        ax: axes to draw on; None makes a figure.

    Raises:
        ValueError: the fields are not those of images, or a layer is unknown.
        ImportError: matplotlib is not installed.

    Example:
        >>> model = gn.Sequential([gn.Input((8, 8, 1)), layers.Conv2D(2, 3)], seed=0)
        >>> ax = gn.plot.receptive_field(model)
    """
    found, size = _fields(fields)
    shown = _chosen(found, layers)
    if image is None:
        if size is None:
            raise ValueError("Pass the image, or the model instead of its fields: the size is not known.")
        background = np.full(size, 0.92)
    else:
        background = picture(image)
    height, width = background.shape[:2]
    ax = _style.axes(ax, (4.4, 3.2 * height / width + 0.4))
    ax.imshow(
        background, cmap="gray", vmin=0.0 if image is None else None, vmax=1.0 if image is None else None
    )
    patches = _style.require("matplotlib.patches")
    handles = []
    low, high = np.array([-0.5, -0.5]), np.array([height - 0.5, width - 0.5])
    for i, field in enumerate(shown):
        index = [round(p * (n - 1)) for p, n in zip(position, field.outputs, strict=False)]
        spans = np.array(field.of(*index))
        first, last = spans[:, 0] - 0.5, spans[:, 1] + 0.5
        low, high = np.minimum(low, first), np.maximum(high, last)
        size_text = " × ".join(str(n) for n in field.size)
        frame = patches.Rectangle(
            (first[1], first[0]),
            last[1] - first[1],
            last[0] - first[0],
            fill=False,
            edgecolor=_style.COLOURS[i % len(_style.COLOURS)],
            linewidth=2.0,
            label=f"{field.name}: {size_text}",
        )
        handles.append(ax.add_patch(frame))
    margin = 0.03 * max(height, width)
    ax.set_xlim(low[1] - margin, high[1] + margin)
    ax.set_ylim(high[0] + margin, low[0] - margin)
    _style.bare(ax)
    ax.legend(handles=handles, fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _fields(
    fields: Model | Sequence[ReceptiveField],
) -> tuple[Sequence[ReceptiveField], tuple[int, int] | None]:
    """The fields, and the size of the image if it is known."""
    size = None
    found: Sequence[ReceptiveField]
    if not isinstance(fields, Sequence):
        found = inspect.receptive_field(fields)
        known = tuple(n for n in fields.input_shape[1:-1] if n is not None)
        size = (known[0], known[1]) if len(known) == 2 else None
    else:
        found = fields
    if not found or len(found[0].size) != 2:
        raise ValueError("Receptive fields are drawn over images: two spatial axes are needed.")
    return found, size


def _chosen(found: Sequence[ReceptiveField], layers: Sequence[str] | None) -> list[ReceptiveField]:
    if layers is not None:
        by_name = {field.name: field for field in found}
        unknown = [name for name in layers if name not in by_name]
        if unknown:
            raise ValueError(f"There are no layers {unknown}; there are {list(by_name)}.")
        return [by_name[name] for name in layers]
    growing: list[ReceptiveField] = []
    for field in found:
        if field.outputs and (field.size != growing[-1].size if growing else max(field.size) > 1):
            growing.append(field)
    return growing[:6]


def effective_receptive_field(
    weights: ArrayLike, *, field: Sequence[Sequence[int]] | None = None, ax: Axes | None = None
) -> Axes:
    """How strongly each input pixel moves one output, as `gridnn.inspect.effective_receptive_field` found it.

    Args:
        weights: ``(height, width)``, or with a channel axis, whose mean counts.
        field: first and last pixel of the theoretical field per axis (``ReceptiveField.of``), drawn as a
            frame.
        ax: axes to draw on; None makes a figure.

    Raises:
        ValueError: not a map.
        ImportError: matplotlib is not installed.

    Example:
        >>> ax = gn.plot.effective_receptive_field(np.eye(5))
    """
    array = picture(np.abs(np.asarray(weights, np.float64)), "weights")
    if array.ndim == 3:
        array = array.mean(axis=-1)
    height, width = array.shape
    ax = _style.axes(ax, (3.6, 3.2 * height / width + 0.4))
    shown = ax.imshow(array / (array.max() or 1.0), cmap=_style.SEQUENTIAL, vmin=0.0, vmax=1.0)
    _style.bare(ax)
    figure = ax.get_figure()
    if figure is not None:
        figure.colorbar(shown, ax=ax, label="influence, relative", shrink=0.8)
    if field is not None:
        (top, bottom), (left, right) = ((int(a), int(b)) for a, b in field)
        frame = _style.require("matplotlib.patches").Rectangle(
            (left - 0.5, top - 0.5),
            right - left + 1,
            bottom - top + 1,
            fill=False,
            edgecolor="white",
            linestyle="--",
            linewidth=1.2,
        )
        ax.add_patch(frame)
    return ax


def conv_matrix(
    matrix: LayerMatrix | ArrayLike,
    *,
    by: str = "value",
    values: bool | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The matrix of a convolution: outputs in rows, inputs in columns, white where nothing is connected.

    Args:
        matrix: what `gridnn.inspect.as_matrix` returned, or any array with two axes.
        by: "value" colours numbers above zero red and below blue; "weight" gives every element of the kernel
            a colour of its own, which shows where the same weight stands again.
        values: whether to write the entries into the cells; None does where there are at most 300 of them.
        ax: axes to draw on; None makes a figure.

    Raises:
        ValueError: not a matrix, or colours by weight where it is not known which weights there are.
        ImportError: matplotlib is not installed.

    Example:
        >>> model = gn.Sequential([gn.Input((6, 1)), layers.Conv1D(1, 3)])
        >>> ax = gn.plot.conv_matrix(gn.inspect.as_matrix(model.layers[0]), by="weight")
    """
    by = _validation.choice(by, "by", ("value", "weight"))
    which = matrix.weight_at() if by == "weight" and hasattr(matrix, "weight_at") else None
    if by == "weight" and which is None:
        raise ValueError('by="weight" needs what gridnn.inspect.as_matrix returned.')
    array = _dense(getattr(matrix, "matrix", matrix))
    if array.ndim != 2:
        raise ValueError(f"`matrix` must have two axes. Received shape {array.shape}.")
    rows, columns = array.shape
    ax = _style.axes(ax, (min(8.0, 1.2 + 0.3 * columns), min(8.0, 0.9 + 0.3 * rows)))
    if which is None:
        highest = float(np.abs(array).max()) or 1.0
        ax.imshow(array, cmap=_style.DIVERGING, vmin=-highest, vmax=highest, interpolation="nearest")
    else:
        # A little below zero, so that the first weight is not the darkest colour there is.
        shown, highest = np.ma.masked_less(which, 0), max(1, int(which.max()))
        ax.imshow(shown, cmap=_style.SEQUENTIAL, vmin=-0.2 * highest, vmax=highest, interpolation="nearest")
    if array.size <= 300 if values is None else values:
        for row, column in np.argwhere(array):
            text = ax.text(column, row, f"{array[row, column]:.2g}", ha="center", va="center", fontsize=7)
            text.set_path_effects(
                [_style.require("matplotlib.patheffects").withStroke(linewidth=2, foreground="white")]
            )
    ax.set_xlabel(f"{columns} inputs")
    ax.set_ylabel(f"{rows} outputs")
    ax.tick_params(labelsize=7)
    return ax


def _dense(matrix: Any) -> NDArray[Any]:
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix)


def feature_hierarchy(
    patches: Mapping[str, Sequence[NDArray[Any] | Sequence[Patch]]],
    *,
    per_filter: int = 4,
    ax: Axes | None = None,
) -> Axes:
    """What excites filters of each layer most, the first layer on top: patches of growing size.

    Args:
        patches: for each layer, by name, an entry per filter: what `gridnn.inspect.top_patches` returned,
            or its patches as an array ``(n, height, width)`` or ``(n, height, width, channels)``, the most
            exciting first. Patches may have another size in each layer; all are drawn equally large.
        per_filter: patches of a filter shown at most.
        ax: axes to draw on; None makes a figure.

    Raises:
        ValueError: there are no patches.
        ImportError: matplotlib is not installed.

    Example:
        >>> ax = gn.plot.feature_hierarchy({"conv2d": np.zeros((2, 3, 8, 8))})
    """
    if not patches or not all(len(group) for group in patches.values()):
        raise ValueError("`patches` must hold at least one layer, and a filter in each.")
    widest = max(len(group) for group in patches.values())
    step = per_filter + 0.5  # a filter's patches, and some space to the next
    ax = _style.axes(ax, (min(10.0, 1.4 + 0.42 * widest * step), 0.4 + 0.62 * len(patches)))
    for row, (name, group) in enumerate(patches.items()):
        size = ""
        for i, found in enumerate(group):
            shown: list[Any] = list(found)[:per_filter]
            tiles = [picture(getattr(patch, "pixels", patch)) for patch in shown]
            low = min((float(tile.min()) for tile in tiles), default=0.0)
            high = max((float(tile.max()) for tile in tiles), default=1.0)
            for j, tile in enumerate(tiles):
                left = i * step + j
                size = " × ".join(str(n) for n in tile.shape[:2])
                ax.imshow(
                    tile,
                    cmap="gray",
                    vmin=low,
                    vmax=high if high > low else low + 1.0,
                    extent=(left + 0.05, left + 0.95, row * 1.25 + 0.95, row * 1.25 + 0.05),
                    interpolation="nearest",
                )
        label = f"{name}\n{size}"
        ax.text(-0.2, row * 1.25 + 0.5, label, ha="right", va="center", fontsize=8, color=_style.INK)
    ax.set_xlim(-0.1, widest * step - 0.4)
    ax.set_ylim(1.25 * len(patches) - 0.2, -0.05)
    _style.bare(ax)
    return ax


_UNITS = {
    "multiply_adds": "multiply-adds",
    "bytes": "bytes moved",
    "parameters": "parameters",
    "seconds": "predicted seconds",
    "intensity": "operations per byte",
}


def costs(found: Model | Sequence[Cost], by: str = "multiply_adds", *, ax: Axes | None = None) -> Axes:
    """What each layer costs, the first layer on top.

    Args:
        found: what `gridnn.inspect.costs` returned, or a built model.
        by: "multiply_adds", "bytes", "parameters", "seconds" or "intensity".
        ax: axes to draw on; None makes a figure.

    Raises:
        ValueError: an unknown cost.
        ImportError: matplotlib is not installed.

    Example:
        >>> model = gn.Sequential([gn.Input((8, 8, 1)), layers.Conv2D(2, 3)], seed=0)
        >>> ax = gn.plot.costs(gn.inspect.costs(model))
    """
    by = _validation.choice(by, "by", tuple(_UNITS))
    rows = found if isinstance(found, Sequence) else inspect.costs(found)
    values = [float(getattr(row, by)) for row in rows]
    total = sum(values)
    ax = _style.axes(ax, (6.0, 0.7 + 0.26 * len(rows)))
    bars = ax.barh(range(len(rows)), values, color=_style.COLOURS[0], height=0.7)
    for bar, value in zip(bars, values, strict=True):
        text = _short(value)
        if by != "intensity" and total and value:
            text += f" ({value / total:.0%})"
        place = (bar.get_width(), bar.get_y() + bar.get_height() / 2)
        ax.annotate(text, place, xytext=(4, 0), textcoords="offset points", va="center", fontsize=7)
    ax.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=8)
    ax.invert_yaxis()
    ax.margins(x=0.22)
    ax.set_xlim(left=0)
    ax.set_xticks([])
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    ax.set_title(_UNITS[by] if by == "intensity" else f"{_UNITS[by]}, {_short(total)} in all", fontsize=9)
    return ax


def _short(value: float) -> str:
    """Three digits and a prefix of size: 1.23 M."""
    if value == 0:
        return "0"
    for limit, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ")):
        if value >= limit:
            return f"{value / limit:.3g} {prefix}".strip()
    return f"{value:.2g}"
