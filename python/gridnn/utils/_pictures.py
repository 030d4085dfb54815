"""Pictures of models."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gridnn import _validation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gridnn.model.protocol import Model

__all__ = ["plot_model"]


def plot_model(
    model: Model, to_file: str | os.PathLike[str] = "model.png", *, show_shapes: bool = True, dpi: int = 200
) -> Axes:
    """Draws a diagram of the layers into a file; needs ``gridnn[plot]``.

    Args:
        model: the model.
        to_file: the file; its ending says the format: .png, .svg, .pdf.
        show_shapes: accepted for programs written for Keras; shapes are always shown.
        dpi: dots per inch of formats that have dots.

    Returns:
        What `gridnn.plot.diagram` draws on.

    Raises:
        TypeError: `model` is no model, or `to_file` no path.
        ValueError: matplotlib writes no files of that ending.
        ImportError: matplotlib is not installed.

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)], seed=0)
        >>> ax = gn.utils.plot_model(model, "model.png")
    """
    _validation.boolean(show_shapes, "show_shapes")
    file = _validation.path(to_file, "to_file")
    dpi = _validation.positive_integer(dpi, "dpi")
    from gridnn import plot  # it needs matplotlib, which few programs have loaded

    axes = plot.diagram(model)
    figure: Any = axes.get_figure()
    figure.savefig(file, dpi=dpi)
    return axes
