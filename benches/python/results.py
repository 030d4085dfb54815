"""Writes the tables of `docs/results.md` from the records in `benches/record/examples`.

    python benches/python/results.py

`examples.py` makes the records ``NAME-gridnn.jsonl`` and ``NAME-keras.jsonl``, `example_pace.py` makes
``pace.json``.
"""

from __future__ import annotations

import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

from examples import EXAMPLES, Example, script_of
from libraries import ROOT
from record import RECORD, write

PAGE = ROOT / "docs" / "results.md"
FOLDER = RECORD / "examples"
LIBRARIES = {"gridnn": "gridnn", "keras": "Keras"}
# Two threads at work make a load of 2; above this something else ran.
_ALONE = 3.5

Lines = list[dict[str, Any]]


def sections() -> dict[str, str]:
    """The parts of the page that are made of figures."""
    pace = json.loads((FOLDER / "pace.json").read_text(encoding="utf-8"))
    runs = {
        name: {library: _run(name, library) for library in LIBRARIES if _path(name, library).exists()}
        for name in EXAMPLES
    }
    tables = {name: _epochs(example, runs[name]) for name, example in EXAMPLES.items()}
    return {"summary": _summary(runs), "pace": _pace(pace), **tables}


def _path(name: str, library: str) -> Path:
    return FOLDER / f"{name}-{library}.jsonl"


def _run(name: str, library: str) -> tuple[dict[str, Any], Lines]:
    """What is said about a run, and its epochs."""
    about, *epochs = map(json.loads, _path(name, library).read_text(encoding="utf-8").splitlines())
    return about, epochs


def _score(example: Example, value: float) -> str:
    return f"{value:.3f}" if "Dice" in example.measure else f"{value:.2%}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _reached(example: Example, epochs: Lines) -> int | None:
    """The first epoch behind which the target was reached."""
    return next((line["epoch"] for line in epochs if line["score"] >= example.target), None)


def _summary(runs: dict[str, dict[str, tuple[dict[str, Any], Lines]]]) -> str:
    rows = [
        "| example | target | library | reached | target met in epoch | time to it | all epochs |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for name, example in EXAMPLES.items():
        aim = f"{example.measure} {_score(example, example.target)} in {example.minutes:g} min"
        planned = script_of(name).EPOCHS
        for library, shown in LIBRARIES.items():
            _, epochs = runs[name].get(library, ({}, []))
            met = _reached(example, epochs)
            cells = [
                f"`{name}`",
                aim,
                shown,
                _score(example, epochs[-1]["score"]) if len(epochs) == planned else "",
                _when(met, len(epochs), planned),
                "" if met is None else _time(epochs[:met]),
                _time(epochs) if len(epochs) == planned else "",
            ]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _time(epochs: Lines) -> str:
    """Of training; with a mark if the machine was shared."""
    shared = max(line["load"] for line in epochs) > _ALONE
    return _duration(sum(line["seconds"] for line in epochs)) + ("~" if shared else "")


def _when(met: int | None, done: int, planned: int) -> str:
    """In which epoch a target was met, as far as one knows."""
    if not done:
        return "not run"
    where = f"of {planned}" if done == planned else f"(stopped behind {done} of {planned})"
    return f"{'not met' if met is None else met} {where}"


def _pace(pace: dict[str, Any]) -> str:
    rows = [
        "| example | batch | gridnn, ms a step | Keras, ms a step | ratio | gridnn, s an epoch | "
        "Keras, s an epoch | measured |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for name in EXAMPLES:
        own, peer = pace[name]["gridnn"], pace[name]["keras"]
        steps = [f"{1e3 * each['fastest']:.1f} to {1e3 * each['slowest']:.1f}" for each in (own, peer)]
        cells = [
            f"`{name}`",
            str(own["batch"]),
            *steps,
            f"{peer['fastest'] / own['fastest']:.2f}",
            *(f"{each['fastest'] * each['steps']:.1f}" for each in (own, peer)),
            pace[name]["date"],
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _epochs(example: Example, runs: dict[str, tuple[dict[str, Any], Lines]]) -> str:
    """A run's log, epoch by epoch, beside its twin's."""
    if not runs:
        return "Not run yet."
    heads = [f"{LIBRARIES[name]} {what}" for name in runs for what in ("s", "s of CPU", example.measure)]
    rows = [f"| epoch | {' | '.join(heads)} |", "|---:" * (len(heads) + 1) + "|"]
    for number, lines in enumerate(zip_longest(*(epochs for _, epochs in runs.values())), start=1):
        cells = [text for line in lines for text in _cells(example, line)]
        rows.append(f"| {number} | {' | '.join(cells)} |")
    notes = [
        f"{about['library']}, {about['threads']} threads, commit {about['commit']}, begun {about['date']}; "
        f"load of the machine {min(line['load'] for line in epochs):.1f} to "
        f"{max(line['load'] for line in epochs):.1f}."
        for about, epochs in runs.values()
    ]
    return "\n".join([*rows, "", *(f"- {note}" for note in notes)])


def _cells(example: Example, line: dict[str, Any] | None) -> list[str]:
    if line is None:
        return ["", "", ""]
    return [f"{line['seconds']:.1f}", f"{line['cpu']:.1f}", _score(example, line["score"])]


def main() -> None:
    """Writes the page."""
    PAGE.write_text(write(PAGE.read_text(encoding="utf-8"), sections()), encoding="utf-8")


if __name__ == "__main__":
    main()
