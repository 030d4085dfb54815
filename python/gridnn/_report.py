"""`Sequential.report`: a run as one HTML page that needs nothing else.

Every picture is an image inside the page (SVG in a data URI), the style is in its head, and there is no
script: the page can be mailed, archived and read offline, on a phone as well.
"""

from __future__ import annotations

import base64
import datetime
import html
import io
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridnn import inspect, plot
from gridnn._network import as_array, get_num_threads, simd_tier, version, write_file
from gridnn.callbacks.base import History, as_number
from gridnn.errors import ShapeError
from gridnn.layers.conv import Convolution
from gridnn.plot._style import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gridnn.model.protocol import Model

__all__ = ["write"]

_MISTAKES = 12
_MAP_LAYERS = 4
_FILTER_LAYERS = 2
_MARGINS = ("Hinge", "SquaredHinge")
_BINARY = (*_MARGINS, "Dice", "Tversky")


@dataclass(frozen=True)
class _Results:
    """What a model answered for labelled data."""

    x: NDArray[Any]
    labels: NDArray[Any]
    outputs: NDArray[Any]
    probabilities: NDArray[Any] | None
    """``(n, ..., classes)``; None where the outputs are no classes."""

    @property
    def guesses(self) -> NDArray[Any]:
        """The class, or the number, that was predicted."""
        return self.outputs if self.probabilities is None else self.probabilities.argmax(axis=-1)

    def badness(self) -> NDArray[Any]:
        """How wrong each sample is: minus the log-likelihood of its labels, or the mean absolute error."""
        if self.probabilities is None:
            wrong = np.abs(self.outputs - self.labels.reshape(self.outputs.shape))
        else:
            truth = self.labels.astype(np.int64)[..., None]
            likely = np.take_along_axis(self.probabilities, truth, axis=-1)[..., 0]
            wrong = -np.log(np.maximum(likely, 1e-12))
        mean: NDArray[Any] = wrong.reshape(len(wrong), -1).mean(axis=1)
        return mean


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
    pyplot = require("matplotlib.pyplot")
    if (x is None) != (y is None):
        raise ValueError("Pass `x` and `y`, or neither.")
    model.count_params()  # an error if the model is not built
    if len(model.input_names) > 1 or len(model.output_names) > 1:
        raise ValueError(
            f"Reports are about models of one input and one output. Model '{model.name}' has "
            f"{len(model.input_names)} and {len(model.output_names)}; gn.plot.diagram and summary() take it."
        )
    source: Any = history if history is not None else model.history
    logs = getattr(source, "history", source) or {}
    # Callbacks may have logged anything; what is drawn and printed here is numbers.
    logs = {name: numbers for name, values in logs.items() if (numbers := _as_numbers(values))}
    results = None if x is None else _results(model, x, y)
    names = None if classes is None else [str(name) for name in classes]
    with pyplot.ioff():
        sections = [
            _figures_of_merit(model, logs, results),
            _curves(logs, source),
            _confusion(results, names),
            _mistakes(results, names),
            _architecture(model),
            _filters(model),
            _maps(model, results),
            _fields(model, results),
            _costs(model, results),
            _settings(model, logs),
        ]
    heading = html.escape(title or f"Report on {model.name}")
    style = resources.files("gridnn").joinpath("assets/report.css").read_text("utf-8")
    when = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # An empty icon, or browsers ask a server for one.
        f'<link rel="icon" href="data:,">\n<title>{heading}</title>\n<style>\n{style}</style>\n</head>\n'
        f"<body>\n<header>\n<h1>{heading}</h1>\n<p>{when}, gridnn {version}</p>\n</header>\n<main>\n"
        f"{''.join(section for section in sections if section)}</main>\n</body>\n</html>\n"
    )
    write_file(path, page.encode())


def _results(model: Model, x: Any, y: Any) -> _Results:
    images, labels = as_array(x, "x"), as_array(y, "y")
    if len(images) != len(labels):
        raise ShapeError(f"`x` has {len(images)} samples, `y` {len(labels)}.")
    if not len(images):
        raise ValueError("`x` is empty.")
    outputs = model.predict(images, verbose=0)
    if labels.ndim == outputs.ndim and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if outputs.shape[-1] > 1 and labels.shape == outputs.shape and set(np.unique(labels)) <= {0, 1}:
        one_hot = bool((labels.sum(axis=-1) == 1).all())  # and not several classes a sample
        labels = labels.argmax(axis=-1) if one_hot else labels
    if outputs.shape[-1] == 1 and _loss_of(model) in _MARGINS and set(np.unique(labels)) <= {-1, 1}:
        labels = (labels > 0).astype(np.int64)
    if _are_classes(model, labels, outputs):
        return _Results(images, labels.astype(np.int64), outputs, _probabilities(model, outputs))
    if labels.size != outputs.size:
        raise ShapeError(f"`y` of shape {labels.shape} does not fit outputs of shape {outputs.shape}.")
    return _Results(images, labels, outputs, None)


def _loss_of(model: Model) -> str:
    """Name of the model's loss; empty if it has none."""
    return "" if not model.compiled else type(model.loss).__name__


def _are_classes(model: Model, labels: NDArray[Any], outputs: NDArray[Any]) -> bool:
    """Whether labels are numbers of classes, and not values to predict.

    Raises:
        ValueError: there are fewer outputs than classes.
    """
    if labels.shape != outputs.shape[:-1] or not np.array_equal(labels, np.floor(labels)):
        return False
    count = outputs.shape[-1]
    if count == 1:
        loss = _loss_of(model)
        binary = model.output_activation == "sigmoid" or "Crossentropy" in loss or loss in _BINARY
        return binary and set(np.unique(labels)) <= {0, 1}
    if labels.min() < 0 or labels.max() >= count:
        raise ValueError(
            f"`y` must hold classes from 0 to {count - 1}. Received {labels.min()} to {labels.max()}."
        )
    return True


def _probabilities(model: Model, outputs: NDArray[Any]) -> NDArray[Any]:
    """Outputs as shares of the classes: scores go through softmax, or the logistic function if single."""
    scores, activation = outputs.astype(np.float64), model.output_activation
    if scores.shape[-1] == 1:
        likely = scores if activation == "sigmoid" else 0.5 * (1 + np.tanh(0.5 * scores))
        return np.concatenate([1 - likely, likely], axis=-1)
    if activation not in ("softmax", "sigmoid"):
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares: NDArray[Any] = scores / np.maximum(scores.sum(axis=-1, keepdims=True), 1e-300)
    return shares


def _as_numbers(values: Sequence[object]) -> list[float]:
    """The values as numbers; none if one of them is something else."""
    numbers = [number for value in values if (number := as_number(value)) is not None]
    return numbers if len(numbers) == len(values) else []


# Pieces of HTML


def _section(title: str, *parts: str, note: str = "") -> str:
    body = "".join(parts)
    if not body:
        return ""
    words = f"<p>{note}</p>\n" if note else ""
    return f"<section>\n<h2>{html.escape(title)}</h2>\n{words}{body}</section>\n"


def _image(ax: Axes, alt: str) -> str:
    """A picture as an image inside the page."""
    pyplot = require("matplotlib.pyplot")
    figure = ax.get_figure()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})  # type: ignore[union-attr]
    pyplot.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{html.escape(alt)}" src="data:image/svg+xml;base64,{data}">\n'


def _row(cells: Sequence[object], tag: str = "td") -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>\n"


def _table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = _row(headings, "th") if headings else ""
    return f'<div class="wide"><table>\n{head}{"".join(map(_row, rows))}</table></div>\n'


# Sections


def _figures_of_merit(model: Model, logs: Mapping[str, Sequence[float]], results: _Results | None) -> str:
    tiles = []
    if results is not None and results.probabilities is not None:
        right = float(np.mean(results.guesses == results.labels))
        tiles.append((f"{right:.2%}", f"accuracy on {len(results.x):,} samples"))
    if logs:
        epochs = len(next(iter(logs.values())))
        tiles.append((f"{epochs}", "epochs" if epochs != 1 else "epoch"))
        tiles += [(f"{values[-1]:.4g}", _spoken(name)) for name, values in logs.items()]
    tiles.append((f"{model.count_params():,}", "weights"))
    cells = "".join(f"<li><b>{html.escape(a)}</b>{html.escape(b)}</li>\n" for a, b in tiles)
    return f'<ul class="tiles">\n{cells}</ul>\n'


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
        shown.append(_image(plot.history(drawn, name), f"{name} over the epochs"))
    return _section("Training", *shown)


def _confusion(results: _Results | None, names: Sequence[str] | None) -> str:
    if results is None or results.probabilities is None:
        return ""
    count = results.probabilities.shape[-1]
    if count > 30:
        return ""  # too many for a picture that can be read
    matrix = np.zeros((count, count), np.int64)
    np.add.at(matrix, (results.labels.ravel().astype(np.int64), results.guesses.ravel()), 1)
    ax = plot.confusion_matrix(matrix, names=names)
    return _section("Confusion matrix", _image(ax, "how often each class was taken for each class"))


def _mistakes(results: _Results | None, names: Sequence[str] | None) -> str:
    if results is None:
        return ""
    badness = results.badness()
    worst = np.argsort(-badness, kind="stable")[:_MISTAKES]
    if results.probabilities is not None and results.labels.ndim == 1:
        worst = worst[results.guesses[worst] != results.labels[worst]]
        words = [_class_words(results, int(i), names) for i in worst]
        note = "The samples whose true class was found least likely: what it is, and what the model saw."
    else:
        words = [f"{badness[i]:.3g}" for i in worst]
        note = "The samples with the largest error, and how large it is."
    if not len(worst):
        return _section("Worst mistakes", "<p>There are none.</p>\n")
    ax = _pictures(results.x[worst], words)
    return _section("Worst mistakes", _image(ax, "samples that the model got wrong"), note=note)


def _class_words(results: _Results, i: int, names: Sequence[str] | None) -> str:
    truth, guess = int(results.labels[i]), int(results.guesses[i])
    a, b = (str(k) if names is None else names[k] for k in (truth, guess))
    assert results.probabilities is not None
    return f"{a}, seen as\n{b} {results.probabilities[i, guess]:.0%}"


def _pictures(x: NDArray[Any], words: Sequence[str]) -> Axes:
    """Samples of any rank side by side: series as lines, the middle slices of volumes."""
    if x.ndim <= 3:
        series = x.reshape(len(x), x.shape[1], -1)[..., 0]
        return plot.signals(series.T, names=[word.replace("\n", " ") for word in words])
    if x.ndim == 5:
        x = x[:, x.shape[1] // 2]
    return plot.images(x, words, columns=min(4, len(x)))


def _architecture(model: Model) -> str:
    lines: list[str] = []
    model.summary(print_fn=lambda text: lines.append(text))
    summary = f'<pre class="wide">{html.escape(chr(10).join(lines))}</pre>\n'
    return _section("Model", summary, _image(plot.diagram(model), "the layers of the model"))


def _convolutions(model: Model) -> Iterator[Convolution]:
    return (layer for layer in model.graph.layers if isinstance(layer, Convolution))


def _filters(model: Model) -> str:
    chosen = list(_convolutions(model))[:_FILTER_LAYERS]
    shown = [
        f"<h3>{html.escape(layer.name)}</h3>\n{_image(plot.filters(layer, limit=8), 'filters')}"
        for layer in chosen
    ]
    return _section("Filters", *shown, note="White is zero, red above, blue below.")


def _maps(model: Model, results: _Results | None) -> str:
    if results is None:
        return ""
    layers = [layer for layer in _convolutions(model) if len(layer.output_shape) == results.x.ndim]
    layers = layers[:_MAP_LAYERS]
    if not layers:
        return ""
    sample = results.x[:1]
    shown = [_image(_pictures(sample, ["sample"]), "the sample")]
    for name, maps in inspect.activations(model, sample, layers).items():
        shown.append(f"<h3>{html.escape(name)}</h3>\n{_image(plot.activations(maps, limit=12), 'maps')}")
    return _section("Activation maps", *shown, note="What the convolutions answer to the first sample.")


def _fields(model: Model, results: _Results | None) -> str:
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
    shown = [_table(("layer", "size", "jump"), rows)]
    growing = [field for field in found if field.outputs and max(field.size) > 1]
    if rank == 2 and growing and (results is not None or shape is None):
        image = None if results is None else results.x[0]
        ax = plot.receptive_field(model if image is None else found, image)
        shown.append(_image(ax, "receptive fields over a sample"))
    note = "How many input elements one output of a layer sees, and how far apart neighbours look."
    return _section("Receptive fields", *shown, note=note)


def _costs(model: Model, results: _Results | None) -> str:
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
    chart = _image(plot.costs(found), "multiply-adds of each layer")
    return _section("Costs", chart, _table(headings, rows), note="Of the forward pass of one sample.")


def _settings(model: Model, logs: Mapping[str, Sequence[float]]) -> str:
    rows: list[tuple[str, object]] = [
        ("model", model.name),
        ("element type", model.dtype),
        ("seed", model.seed),
    ]
    if model.compiled:
        rows += [("optimizer", _described(model.optimizer)), ("loss", _described(model.loss))]
        rows.append(("metrics", ", ".join(model.metrics_names[1:]) or "none"))
    params = getattr(model.history, "params", None) or {}
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
    return _section("Settings", _table((), rows))


def _described(value: Any) -> str:
    """An optimizer or loss with its arguments."""
    config: Callable[[], Mapping[str, Any]] | None = getattr(value, "get_config", None)
    if config is None:
        return str(value)
    arguments = ", ".join(f"{k}={v!r}" for k, v in config().items() if v is not None and k != "name")
    return f"{type(value).__name__}({arguments})"
