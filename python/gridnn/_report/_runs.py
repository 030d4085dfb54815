"""`gridnn.report`: several runs on one page."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gridnn import _validation, plot
from gridnn._report._model import numbers_of, settings_of
from gridnn._report._page import drawing, figures, section, table, write_page
from gridnn.callbacks.base import History
from gridnn.plot._style import require

__all__ = ["report"]


def report(
    path: str | os.PathLike[str],
    runs: Mapping[str, History | Mapping[str, Sequence[float]]],
    *,
    title: str | None = None,
) -> None:
    """Writes one HTML page that compares runs; needs ``gridnn[plot]``.

    It shows the values at the best epoch of each, their curves in common axes, and the settings in which
    they differ, where the histories come from `fit`. ``model.report`` writes a page about a single model.

    Args:
        path: the file to write, whose name ends in .html.
        runs: name -> what `fit` returned; or its `history`: name -> a value per epoch.
        title: title of the page.

    Raises:
        ValueError: there are no runs, or one has no numbers; the file is to be of another kind.
        TypeError: `runs` is no dict of histories.
        ImportError: matplotlib is not installed.

    Example:
        >>> runs = {"small": {"loss": [0.9, 0.6]}, "large": {"loss": [0.8, 0.3]}}
        >>> gn.report("runs.html", runs)
    """
    file = _validation.page(path, "path")
    pyplot = require("matplotlib.pyplot")
    received: Any = runs
    known = isinstance(received, Mapping)
    if not known or not all(isinstance(run, (History, Mapping)) for run in received.values()):
        raise TypeError(f"`runs` must be a dict, name -> what `fit` returned. Received {runs!r:.200}.")
    if not runs:
        raise ValueError("`runs` must have one run at least. Received none.")
    logs = {str(name): numbers_of(run) for name, run in runs.items()}
    for name, found in logs.items():
        if not any(found.values()):
            raise ValueError(f"`runs` must have values of every run. Received none of {name!r}.")
    keys = list(dict.fromkeys(key for found in logs.values() for key in found))
    metrics = list(dict.fromkeys(key.removeprefix("val_") for key in keys))
    histories = {str(name): run for name, run in runs.items()}
    with pyplot.ioff():
        curves = [_curve(histories, logs, metric) for metric in metrics]
    sections = [
        section("Results", _results(logs, keys), note=_NOTE),
        section("Training", figures(*curves), note="Solid lines: training; dashed ones: validation."),
        section("Settings that differ", _differences(histories)),
    ]
    write_page(file, title or f"Comparison of {len(runs)} runs", sections)


_NOTE = "Values at the epoch with the lowest validation loss, or the lowest loss where none was validated."


def _results(logs: Mapping[str, Mapping[str, Sequence[float]]], keys: Sequence[str]) -> str:
    rows = []
    for name, found in logs.items():
        judged = found.get("val_loss") or found.get("loss") or next(iter(found.values()))
        epochs = max(map(len, found.values()))
        best = int(np.argmin(np.nan_to_num(judged, nan=np.inf)))
        # A value of some epochs only has none there: then its last one says most.
        values = [
            "-" if not found.get(key) else f"{found[key][best if len(found[key]) == len(judged) else -1]:.4g}"
            for key in keys
        ]
        rows.append((name, epochs, best + 1, *values))
    return table(("run", "epochs", "best", *(key.replace("_", " ") for key in keys)), rows)


def _curve(histories: Mapping[str, Any], logs: Mapping[str, Mapping[str, Any]], metric: str) -> str:
    chosen = {name: histories[name] for name in histories if {metric, f"val_{metric}"} & set(logs[name])}
    return drawing(plot.history(chosen, metric), f"{metric} of the runs over the epochs")


def _differences(histories: Mapping[str, Any]) -> str:
    """Settings of runs whose models are known, as far as they are not all the same."""
    settings = {}
    for name, history in histories.items():
        model = getattr(history, "model", None)
        if model is not None and model.built:
            settings[name] = {**dict(settings_of(model, history)), "weights": f"{model.count_params():,}"}
    if len(settings) < 2:
        return ""
    columns = {}
    for key in dict.fromkeys(key for rows in settings.values() for key in rows):
        values = [str(found.get(key, "-")) for found in settings.values()]
        if len(set(values)) > 1:
            columns[key] = _unlike(values)
    if not columns:
        return ""
    return table(("run", *columns), list(zip(settings, *columns.values(), strict=True)), words=True)


def _unlike(values: list[str]) -> list[str]:
    """What is not the same in all: of descriptions of one class (``Adam(...)``) the arguments that differ."""
    calls = [re.fullmatch(r"(\w+)\((.*)\)", value) for value in values]
    if not all(calls) or len({call[1] for call in calls if call}) > 1:
        return values
    given = [_arguments(call[2]) for call in calls if call]
    common = set.intersection(*map(set, given))
    name = values[0].partition("(")[0]
    return [f"{name}({', '.join(each for each in one if each not in common)})" for one in given]


def _arguments(text: str) -> list[str]:
    """The arguments of a call, which may be calls themselves."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]
