"""Pictures of numbers: training curves, confusion matrices, series with their maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gridnn import _validation
from gridnn._lr_finder import LearningRates
from gridnn.callbacks import History
from gridnn.inspect import Calibration
from gridnn.plot import _style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["calibration", "confusion_matrix", "history", "lr_finder", "signals"]


Run = History | Mapping[str, Sequence[float]]


def history(history: Run | Mapping[str, Run], metric: str = "loss", *, ax: Axes | None = None) -> Axes:
    """A value over the epochs, in training and, where there was one, in validation, which is dashed.

    Args:
        history: what `fit` returned; or its `history`: name -> a value per epoch. This does not tell where
            epochs without a value are. Or a dict of several runs: name -> one of these.
        metric: which value.
        ax: axes to draw on; None makes a figure.

    Raises:
        ValueError: there is no such value.
        TypeError: `history` is something else.
        ImportError: matplotlib is not installed.

    Example:
        >>> ax = gn.plot.history({"loss": [0.9, 0.4], "val_loss": [1.0, 0.6]})
        >>> ax = gn.plot.history({"a": {"loss": [0.9, 0.4]}, "b": {"loss": [0.8, 0.5]}})
    """
    runs = _runs(history)
    for run in runs.values():
        logs = run.history if isinstance(run, History) else run
        if metric not in logs and f"val_{metric}" not in logs:
            held = ", ".join(sorted(logs)) or "none, as before training"
            raise ValueError(
                f"The `metric` argument must be one that the history holds: {held}. Received "
                f"metric={metric!r}."
            )
    ax = _style.axes(ax, (5.0, 3.2))
    for number, (title, run) in enumerate(runs.items()):
        logs = run.history if isinstance(run, History) else run
        validated = False
        for name in (metric, f"val_{metric}"):
            if name not in logs:
                continue
            values, is_validation = list(logs[name]), name != metric
            known = run.epochs_of(name) if isinstance(run, History) else range(len(values))
            if len(runs) > 1:
                colour = _style.COLOURS[number % len(_style.COLOURS)]
                label = None if is_validation and validated else title
                validated = True
            else:
                colour = _style.COLOURS[is_validation and metric in logs]
                label = "validation" if is_validation else "training"
            ax.plot(
                [epoch + 1 for epoch in known],
                values,
                linestyle="--" if is_validation and (metric in logs or len(runs) > 1) else "-",
                marker="o" if len(values) == 1 else "",
                color=colour,
                label=label,
            )
    ax.set_xlabel("epoch")
    ax.set_ylabel(metric.replace("_", " "))
    ax.xaxis.set_major_locator(_style.require("matplotlib.ticker").MaxNLocator(integer=True, min_n_ticks=1))
    if len(ax.get_legend_handles_labels()[0]) > 1:
        ax.legend(frameon=False)
    _open(ax)
    return ax


def _runs(history: Run | Mapping[str, Run]) -> dict[str, Run]:
    """Runs by name; a single one has none."""
    several: Any = history
    if isinstance(several, Mapping) and several:
        runs = [isinstance(run, (History, Mapping)) for run in several.values()]
        if all(runs):
            return {str(name): run for name, run in several.items()}
    if not isinstance(several, (History, Mapping)):
        raise TypeError(
            "`history` must be what `fit` returned, or a dict, name -> a value per epoch. Received "
            f"{history!r:.200}."
        )
    return {"": several}


def lr_finder(found: LearningRates, *, ax: Axes | None = None) -> Axes:
    """The losses over the learning rate, as `gridnn.lr_finder` saw them, and what it suggests.

    Args:
        found: what it returned.
        ax: axes to draw on; None makes a figure.

    Raises:
        TypeError: `found` is something else.
        ImportError: matplotlib is not installed.

    Example:
        >>> rates = np.array([1e-4, 1e-3, 1e-2])
        >>> losses = np.array([2.0, 1.5, 1.6])
        >>> ax = gn.plot.lr_finder(LearningRates(rates, losses, losses, 1e-3))
    """
    if not isinstance(found, LearningRates):
        raise TypeError(f"`found` must be what gridnn.lr_finder returned. Received {found!r:.200}.")
    ax = _style.axes(ax, (5.0, 3.2))
    ax.plot(found.rates, found.losses, color=_style.MUTED, linewidth=0.8, label="batches")
    ax.plot(found.rates, found.smoothed, color=_style.COLOURS[0], label="running mean")
    ax.axvline(found.suggestion, color=_style.ACCENT, linestyle="--", label=f"{found.suggestion:.1e}")
    ax.set_xscale("log")
    # Where the run diverges, the rest would be flat.
    low, high = float(found.smoothed.min()), float(found.smoothed[0])
    ax.set_ylim(low - 0.1 * (high - low) - 1e-12, high + 0.5 * (high - low) + 1e-12)
    ax.set_xlabel("learning rate")
    ax.set_ylabel("loss")
    ax.legend(frameon=False)
    _open(ax)
    return ax


def confusion_matrix(
    labels: ArrayLike,
    predictions: ArrayLike | None = None,
    *,
    names: Sequence[object] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """How often samples of each class were taken for each class.

    Args:
        labels: the true class of each sample; or, without `predictions`, the matrix itself, true classes in
            rows.
        predictions: predicted classes; or a row of scores per sample, of which the largest counts; or one
            probability per sample, as a sigmoid gives it, which is class 1 above 0.5. With labels of -1 and 1
            the sign counts.
        names: names of the classes; None numbers them.
        ax: axes to draw on; None makes a figure.

    Raises:
        ValueError: numbers of labels and predictions differ, or a class has no name.
        ImportError: matplotlib is not installed.

    Example:
        >>> ax = gn.plot.confusion_matrix([0, 0, 1], [0, 1, 1], names=["cat", "dog"])
    """
    matrix = _counts(np.asarray(labels), predictions, 0 if names is None else len(names))
    size = len(matrix)
    if names is not None and len(names) != size:
        raise ValueError(f"`names` must have one name per class, {size}. Received {len(names)}.")
    words = [str(name) for name in (range(size) if names is None else names)]
    ax = _style.axes(ax, (1.6 + 0.42 * size, 1.2 + 0.42 * size))
    # Each row is coloured by its own share, so that rare classes can be read as well as frequent ones.
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    for row, column in np.ndindex(size, size):
        if matrix[row, column]:
            colour = "white" if share[row, column] > 0.5 else _style.INK
            text = f"{matrix[row, column]:g}"
            ax.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    turned = max(map(len, words)) > 3
    ax.set_xticks(range(size), words, rotation=45 if turned else 0, ha="right" if turned else "center")
    ax.set_yticks(range(size), words)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    accuracy = np.trace(matrix) / max(matrix.sum(), 1)
    ax.set_title(f"{accuracy:.1%} of {matrix.sum():g} right", fontsize=10)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax


def _counts(labels: NDArray[Any], predictions: ArrayLike | None, classes: int) -> NDArray[Any]:
    """The confusion matrix, at least `classes` wide."""
    if predictions is None:
        if labels.ndim != 2 or labels.shape[0] != labels.shape[1]:
            raise ValueError(f"A confusion matrix is square. Received shape {labels.shape}.")
        return labels
    guesses = np.asarray(predictions)
    several = guesses.shape[-1] if guesses.ndim > 1 else 1
    if several > 1 and labels.shape == guesses.shape and _one_hot(labels) and not _one_hot(guesses):
        labels = labels.argmax(axis=-1)
    if several > 1 and labels.shape in (guesses.shape[:-1], (*guesses.shape[:-1], 1)):
        classes = max(classes, several)
        guesses = guesses.argmax(axis=-1)
    labels, guesses = labels.reshape(-1), guesses.reshape(-1)
    if len(labels) != len(guesses):
        raise ValueError(
            "`predictions` must be a class, or a score for each class, for each of the labels. Received "
            f"{np.shape(predictions)} for {len(labels)} labels."
        )
    signs = bool((labels == -1).any()) and bool(np.isin(labels, (-1, 1)).all())
    labels = (labels > 0).astype(int) if signs else _whole(labels, "labels")
    guesses = (guesses > 0).astype(int) if signs else _decided(guesses)
    classes = max(classes, int(max(labels.max(initial=0), guesses.max(initial=0))) + 1)
    matrix = np.zeros((classes, classes), int)
    np.add.at(matrix, (labels, guesses), 1)
    return matrix


def _one_hot(values: NDArray[Any]) -> bool:
    """Whether every row has one 1 and else 0."""
    return bool(np.isin(values, (0, 1)).all() and (values.sum(axis=-1) == 1).all())


def _whole(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Numbers of classes as integers."""
    whole = values.astype(int)
    if (whole != values).any() or (whole < 0).any():
        wrong = values[(whole != values) | (whole < 0)][0]
        raise ValueError(f"`{name}` must hold classes, whole numbers from 0 on. Received {wrong}.")
    return whole


def _decided(guesses: NDArray[Any]) -> NDArray[Any]:
    """Classes as they are, and outputs of a sigmoid as 1 above 0.5."""
    if guesses.dtype.kind != "f" or np.array_equal(guesses, np.floor(guesses)):
        return _whole(guesses, "predictions")
    if not ((guesses >= 0) & (guesses <= 1)).all():
        raise ValueError(
            "`predictions` must hold classes, probabilities of a single output, or one number per class. "
            f"Received numbers from {guesses.min():g} to {guesses.max():g}: for scores of a single output "
            "pass predictions > 0."
        )
    return (guesses > 0.5).astype(int)


def signals(
    signal: ArrayLike,
    maps: ArrayLike | None = None,
    *,
    rate: float | None = None,
    names: Sequence[object] | None = None,
    limit: int = 8,
    ax: Axes | None = None,
) -> Axes:
    """A series with its maps below, all over the same time, each stretched to its own line.

    Args:
        signal: ``(length,)`` or ``(length, channels)``.
        maps: outputs of a layer for it, ``(other length, channels)``; a shorter one is spread over the same
            time. A batch axis of size 1 is dropped.
        rate: samples a second, for an axis in seconds; None counts samples.
        names: names of the lines; None numbers them.
        limit: maps shown at most.
        ax: axes to draw on; None makes a figure.

    Raises:
        ValueError: not a series.
        ImportError: matplotlib is not installed.

    Example:
        >>> ax = gn.plot.signals(np.sin(np.arange(50) / 5))
    """
    lines = [_series(signal, "signal")]
    limit = _validation.positive_integer(limit, "limit")
    if maps is not None:
        lines.append(_series(maps, "maps")[:, :limit])
    length = len(lines[0])
    scale = 1.0 if rate is None else 1.0 / _validation.real(rate, "rate", low=1e-12)
    count = sum(line.shape[1] for line in lines)
    if names is None:
        first = ["signal"] if lines[0].shape[1] == 1 else [f"signal {i}" for i in range(lines[0].shape[1])]
        words = first + [f"map {i}" for i in range(count - len(first))]
    else:
        words = [str(name) for name in names]
    ax = _style.axes(ax, (7.0, 0.6 + 0.55 * count))
    row = 0
    for kind, block in enumerate(lines):
        # The middle of the span that each value stands for.
        times = (np.arange(len(block)) + 0.5) * (length / len(block)) * scale
        for values in block.T:
            ax.plot(
                times, _style.stretch(values) * 0.8 - 0.4 - row, color=_style.COLOURS[kind], linewidth=0.9
            )
            row += 1
    ax.set_yticks([-i for i in range(count)], words[:count])
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(0, length * scale)
    ax.set_ylim(-count + 0.4, 0.6)
    ax.set_xlabel("sample" if rate is None else "seconds")
    _open(ax)
    ax.spines["left"].set_visible(False)
    return ax


def _series(value: ArrayLike, name: str) -> NDArray[Any]:
    """A series as ``(length, channels)``."""
    array = np.asarray(value, np.float64)
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or not array.size:
        raise ValueError(f"`{name}` must be one series, (length, channels). Received {array.shape}.")
    return array


def _open(ax: Axes) -> None:
    """A frame of two lines is enough for curves."""
    ax.spines[["top", "right"]].set_visible(False)


def calibration(found: Calibration, *, ax: Axes | None = None) -> Axes:
    """How often predictions were right over how probable they were said to be: a reliability diagram.

    Bars show where the predictions are; on the diagonal, probabilities can be taken at their word.

    Args:
        found: what `gridnn.inspect.calibration` returned.
        ax: axes to draw on; None makes a figure.

    Raises:
        TypeError: `found` is something else.
        ImportError: matplotlib is not installed.

    Example:
        >>> found = gn.inspect.calibration([0, 1, 1], [0.2, 0.7, 0.9])
        >>> ax = gn.plot.calibration(found)
    """
    if not isinstance(found, Calibration):
        raise TypeError(f"`found` must be what gridnn.inspect.calibration returned. Received {found!r:.200}.")
    ax = _style.axes(ax, (4.2, 3.6))
    share, known = found.count / max(found.count.sum(), 1), found.count > 0
    width = np.diff(found.edges)
    ax.bar(found.edges[:-1], share, width, align="edge", color=_style.MUTED, alpha=0.35, label="share of all")
    ax.plot([0, 1], [0, 1], color=_style.MUTED, linestyle="--", linewidth=1.0)
    ax.plot(
        found.confidence[known],
        found.accuracy[known],
        marker="o",
        markersize=4,
        color=_style.COLOURS[0],
        label="share that is right",
    )
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)
    ax.set_xlabel("probability")
    ax.set_title(f"calibration error {found.error:.1%}", fontsize=10)
    ax.legend(frameon=False, loc="upper left")
    _open(ax)
    return ax
