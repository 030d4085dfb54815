"""Sections about what a model answered for labelled samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridnn import inspect, plot
from gridnn._report._page import drawing, figures, picture, section, table
from gridnn._report._results import MARGINS, Results, loss_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gridnn.model.protocol import Model

__all__ = ["samples", "sections"]

_MISTAKES = 12
_MASKS = 4
_CLASSES = 30  # more are too many for a picture or a table that can be read


def sections(model: Model, results: Results, names: Sequence[str] | None) -> list[str]:
    """All of them, as far as they have something to say."""
    return [
        _confusion(results, names),
        _classes(results, names),
        _calibration(model, results),
        _masks(results),
        _mistakes(results, names),
        _slices(results),
    ]


def _confusion(results: Results, names: Sequence[str] | None) -> str:
    if results.probabilities is None or results.probabilities.shape[-1] > _CLASSES:
        return ""
    ax = plot.confusion_matrix(results.confusion(), names=names)
    shown = drawing(ax, "how often each class was taken for each class")
    return section("Confusion matrix", shown, half=True)


def _classes(results: Results, names: Sequence[str] | None) -> str:
    """Precision, recall and F1 of every class."""
    if results.probabilities is None:
        return ""
    matrix = results.confusion()
    hits, labelled, guessed = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    precision, recall = _share(hits, guessed), _share(hits, labelled)
    f1, iou = _share(2 * hits, labelled + guessed), _share(hits, labelled + guessed - hits)
    order = np.arange(len(hits))
    note = "Precision: how many of those taken for the class are of it; recall: how many of it were found."
    if len(order) > _CLASSES:
        order = np.argsort(np.nan_to_num(f1, nan=2.0), kind="stable")[:_CLASSES]
        note += f" The {_CLASSES} classes with the lowest F1."
    columns: list[tuple[str, NDArray[Any]]] = [("precision", precision), ("recall", recall), ("F1", f1)]
    if results.dense:
        columns.append(("IoU", iou))
    count = "positions" if results.dense else "samples"
    rows = [
        (
            k if names is None else names[k],
            f"{labelled[k]:,}",
            *(_percent(column[k]) for _, column in columns),
        )
        for k in map(int, order)
    ]
    headings = ("class", count, *(name for name, _ in columns))
    return section("Classes", table(headings, rows), note=note, half=True)


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """Quotients; NaN of nothing."""
    shares: NDArray[np.float64] = np.full(len(part), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{share:.1%}"


def _calibration(model: Model, results: Results) -> str:
    # Scores that were trained for a margin were never meant to be probabilities.
    if results.probabilities is None or loss_of(model) in MARGINS:
        return ""
    found = inspect.calibration(results.labels, results.probabilities)
    shown = drawing(plot.calibration(found), "how often the model is right, by how sure it is")
    note = (
        "How often the model is right where it is so sure: on the diagonal its probabilities can be taken "
        "at their word, below it is too sure of itself."
    )
    return section("Calibration", shown, note=note, half=True)


def _masks(results: Results) -> str:
    if not results.dense or results.x.ndim not in (4, 5) or results.labels.shape != results.x.shape[:-1]:
        return ""
    worst = np.argsort(-results.badness(), kind="stable")
    # The worst ones, and one from the middle of the field.
    chosen = list(dict.fromkeys([*worst[: _MASKS - 1], worst[len(worst) // 2]]))
    ax = plot.masks(results.x[chosen], results.labels[chosen], results.guesses[chosen])
    note = "The samples with the least likely labels, and an ordinary one below: input, truth, model."
    return section("Masks", picture(ax, "masks of samples, beside the true ones"), note=note, half=True)


def _mistakes(results: Results, names: Sequence[str] | None) -> str:
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
        return section("Worst mistakes", "<p>There are none.</p>\n", half=True)
    shown = picture(samples(results.x[worst], words), "samples that the model got wrong")
    return section("Worst mistakes", shown, note=note, half=True)


def _class_words(results: Results, i: int, names: Sequence[str] | None) -> str:
    truth, guess = int(results.labels[i]), int(results.guesses[i])
    a, b = (str(k) if names is None else names[k] for k in (truth, guess))
    assert results.probabilities is not None
    return f"{a}, seen as\n{b} {results.probabilities[i, guess]:.0%}"


def _slices(results: Results) -> str:
    """A volume from one side to the other, with what it holds where that is known."""
    if results.x.ndim != 5:
        return ""
    worst = int(np.argmax(results.badness()))
    shown = [picture(plot.slices(results.x[worst]), "slices of a volume", "input")]
    if results.dense and results.labels.ndim == 4:
        shown.append(picture(plot.slices(results.labels[worst]), "slices of the true mask", "truth"))
        shown.append(picture(plot.slices(results.guesses[worst]), "slices of the model's mask", "model"))
    return section("Slices", figures(*shown), note="The volume that the model got most wrong.")


def samples(x: NDArray[Any], words: Sequence[str]) -> Axes:
    """Samples of any rank side by side: series as lines, the middle slices of volumes."""
    if x.ndim <= 3:
        series = x.reshape(len(x), x.shape[1], -1)[..., 0]
        return plot.signals(series.T, names=[word.replace("\n", " ") for word in words])
    if x.ndim == 5:
        x = x[:, x.shape[1] // 2]
    return plot.images(x, words, columns=min(4, len(x)))
