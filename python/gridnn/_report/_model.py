"""The page about a model and its run."""

from __future__ import annotations

import html
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gridnn import _html, _validation, inspect, plot
from gridnn._engine import get_num_threads, simd_tier, version
from gridnn._report import _labelled
from gridnn._report._page import drawing, figures, picture, section, table, tiles, write_page
from gridnn._report._results import Results, results_of
from gridnn.callbacks.base import History, as_number
from gridnn.layers.conv import Convolution
from gridnn.plot._style import require

if TYPE_CHECKING:
    from gridnn.model.protocol import Model

__all__ = ["described", "numbers_of", "settings_of", "write"]

_MAP_LAYERS = 4
_FILTER_LAYERS = 2


def write(
    model: Model,
    path: str | os.PathLike[str],
    x: Any,
    y: Any,
    history: Any,
    title: str | None,
    classes: Sequence[object] | None,
) -> None:
    """Writes the page; see `Sequential.report` for the arguments."""
    file = _validation.page(path, "path")
    pyplot = require("matplotlib.pyplot")
    if (x is None) != (y is None):
        given, missing = ("x", "y") if y is None else ("y", "x")
        raise ValueError(
            f"The `{missing}` argument is missing: pass samples and their targets, `x` and `y`, or neither. "
            f"Received {given} alone."
        )
    title = None if title is None else _validation.string(title, "title")
    model.count_params()  # an error if the model is not built
    several = len(model.input_names) > 1 or len(model.output_names) > 1
    source: Any = history if history is not None else model.history
    logs = numbers_of(source)
    results = None if x is None or several else results_of(model, x, y)
    names = None if classes is None else [str(name) for name in classes]
    with pyplot.ioff():
        sections = [
            _figures_of_merit(model, logs, results),
            _curves(logs, source),
            *([] if results is None else _labelled.sections(model, results, names)),
            *([_evaluated(model, x, y)] if several and x is not None else []),
            _architecture(model),
            _filters(model),
            _maps(model, results),
            *([] if len(model.input_names) > 1 else [_fields(model, results), _costs(model, results)]),
            section("Settings", table((), settings_of(model, model.history))),
        ]
    write_page(file, title or f"Report on {model.name}", sections)


def _evaluated(model: Model, x: Any, y: Any) -> str:
    """Losses and metrics on samples, of a model of several inputs or outputs."""
    found = cast("Any", model).evaluate(x, y, verbose=0, return_dict=True)
    rows = [(name.replace("_", " "), f"{value:.4g}") for name, value in found.items()]
    return section("Evaluation", table(("", "on the samples given"), rows))


def numbers_of(source: Any) -> dict[str, list[float]]:
    """The logs of a history that are numbers: callbacks may have logged anything."""
    logs: Mapping[str, Sequence[object]] = getattr(source, "history", source) or {}
    found = {name: [as_number(value) for value in values] for name, values in logs.items()}
    return {
        name: [number for number in values if number is not None]
        for name, values in found.items()
        if None not in values
    }


def _figures_of_merit(model: Model, logs: Mapping[str, Sequence[float]], results: Results | None) -> str:
    shown = []
    if results is not None and results.probabilities is not None:
        right = float(np.mean(results.guesses == results.labels))
        shown.append((f"{right:.4g}", f"accuracy on {len(results.x):,} samples"))
    if logs:
        epochs = len(next(iter(logs.values())))
        shown.append((f"{epochs}", "epochs" if epochs != 1 else "epoch"))
        shown += [(f"{values[-1]:.4g}", _spoken(name)) for name, values in logs.items()]
    return tiles([*shown, (f"{model.count_params():,}", "weights")])


def _spoken(name: str) -> str:
    """The key of a log in words."""
    base = name.removeprefix("val_")
    return f"{base.replace('_', ' ')}, {'training' if base == name else 'validation'}"


def _curves(
    logs: Mapping[str, Sequence[float]], source: History | Mapping[str, Sequence[float]] | None
) -> str:
    metrics = [name for name in logs if not name.startswith("val_")]
    shown = []
    for name in metrics:
        # A history knows the epochs of its values; but it may hold a validation's that are no numbers.
        knows = isinstance(source, History) and (f"val_{name}" in logs or f"val_{name}" not in source.history)
        drawn = source if source is not None and knows else logs
        shown.append(drawing(plot.history(drawn, name), f"{name} over the epochs"))
    return section("Training", figures(*shown))


def _architecture(model: Model) -> str:
    lines: list[str] = []
    model.summary(print_fn=lambda text: lines.append(text))
    summary = f'<pre class="wide">{html.escape(chr(10).join(lines))}</pre>\n'
    layers = f'<div class="diagram">{_html.diagram(model.graph)}</div>\n'
    return section("Model", figures(summary, layers))


def _convolutions(model: Model) -> Iterator[Convolution]:
    return (layer for layer in model.graph.layers if isinstance(layer, Convolution))


def _filters(model: Model) -> str:
    chosen = list(_convolutions(model))[:_FILTER_LAYERS]
    shown = [picture(plot.filters(layer, limit=8), "filters", layer.name) for layer in chosen]
    return section("Filters", figures(*shown), note="White is zero, red above, blue below.")


def _maps(model: Model, results: Results | None) -> str:
    if results is None:
        return ""
    layers = [layer for layer in _convolutions(model) if len(layer.output_shape) == results.x.ndim]
    layers = layers[:_MAP_LAYERS]
    if not layers:
        return ""
    sample = results.x[:1]
    shown = [picture(_labelled.samples(sample, ["sample"]), "the sample")]
    for name, maps in inspect.activations(model, sample, layers).items():
        shown.append(picture(plot.activations(maps, limit=12), "maps", name))
    return section(
        "Activation maps", figures(*shown), note="What the convolutions answer to the first sample."
    )


def _fields(model: Model, results: Results | None) -> str:
    shape = None
    if None in model.input_shape[1:]:
        if results is None:
            return ""
        shape = results.x.shape[1:]
    rank = len(model.input_shape) - 2
    if rank not in (1, 2, 3):
        return ""
    found = inspect.receptive_field(model, shape)
    rows: list[tuple[str, str, str]] = []
    for field in found:
        row = (field.name, " × ".join(map(str, field.size)), " × ".join(f"{j:g}" for j in field.jump))
        # Layers that work on every position by itself see what the one in front saw.
        if field.outputs and max(field.size) > 1 and (not rows or row[1:] != rows[-1][1:]):
            rows.append(row)
    if not rows:
        return ""
    shown = [table(("layer", "size", "jump"), rows)]
    growing = [field for field in found if field.outputs and max(field.size) > 1]
    if rank == 2 and growing and (results is not None or shape is None):
        image = None if results is None else results.x[0]
        ax = plot.receptive_field(model if image is None else found, image)
        shown.append(picture(ax, "receptive fields over a sample"))
    note = "How many input elements one output of a layer sees, and how far apart neighbours look."
    return section("Receptive fields", figures(*reversed(shown)), note=note)


def _costs(model: Model, results: Results | None) -> str:
    shape = None
    if None in model.input_shape[1:]:
        if results is None:
            return ""
        shape = results.x.shape[1:]
    found = inspect.costs(model, input_shape=shape)
    rows = [
        (
            cost.name,
            f"{cost.parameters:,}",
            f"{cost.multiply_adds:,}",
            f"{cost.bytes:,}",
            f"{cost.intensity:.1f}",
            f"{cost.seconds * 1e6:.1f}",
        )
        for cost in found
    ]
    headings = ("layer", "weights", "multiply-adds", "bytes", "operations/byte", "predicted µs")
    chart = drawing(plot.costs(found), "multiply-adds of each layer")
    shown = figures(chart, table(headings, rows))
    return section("Costs", shown, note="Of the forward pass of one sample.")


def settings_of(model: Model, history: Any) -> list[tuple[str, object]]:
    """What a run was made with, and what it ran on."""
    rows: list[tuple[str, object]] = [
        ("model", model.name),
        ("element type", model.dtype),
        ("seed", model.seed),
    ]
    if model.compiled:
        rows += [("optimizer", described(model.optimizer)), ("loss", described(model.loss))]
        rows.append(("metrics", ", ".join(model.metrics_names[1:]) or "none"))
    params = getattr(history, "params", None) or {}
    rows += [(name.replace("_", " "), value) for name, value in params.items() if name != "verbose"]
    progress = model.training_state.progress
    if progress.seed is not None:
        rows.append(("seed of the last fit", progress.seed))
    rows += [
        ("gridnn", version),
        ("instruction set", simd_tier()),
        ("threads", get_num_threads()),
        ("numpy", np.__version__),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
    ]
    return rows


def described(value: Any) -> str:
    """An optimizer or loss with its arguments."""
    config: Callable[[], Mapping[str, Any]] | None = getattr(value, "get_config", None)
    if config is None:
        return str(value)
    arguments = ", ".join(f"{k}={v!r}" for k, v in config().items() if v is not None and k != "name")
    return f"{type(value).__name__}({arguments})"
