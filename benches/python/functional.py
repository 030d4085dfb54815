"""Every case of `benches/cases.csv` through the functional API, against the libraries that are installed.

`python benches/python/functional.py [CASE ..] [--passes LIST] [--threads 2,1] [--json FILE [--resume]]`

With `--architectures` the cases are those of `benches/cases_architectures.csv`, layers of ResNet-50, VGG-16
and MobileNet.

A call includes everything: checks, packing of the kernel, the result (gridnn's is written into an array that
is given, the others allocate theirs). Results are compared before anything is timed. PyTorch takes symmetric
padding where strides make "same" lopsided, as its users do; it is then compared with gridnn on such padding.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from libraries import OWN, ROOT, peers
from options import Options, Record, parser
from rounds import Pace, Result, Subject, Team, WorkerError, compare

KEYS = ("case", "class", "pass", "threads")
TARGET = 0.97
ARCHITECTURES_TARGET = 1.1
"""Of layers of known architectures, which have large kernels and small maps."""
_TOLERANCE = 2e-4
"""By the largest element: sums of up to 200 000 products in float32, in any order."""


def cases(file_name: str = "cases.csv") -> dict[str, tuple[str, peers.Convolution]]:
    """Class and problem of every case of a file."""
    found = {}
    with (ROOT / "benches" / file_name).open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            name, kind, padding = line.pop("name"), line.pop("class"), line.pop("padding")
            numbers = {key: int(value) for key, value in line.items()}
            found[name] = kind, peers.Convolution(padding=padding, **numbers)
    return found


def measure(
    team: Team, problem: peers.Convolution, passes: Sequence[str], pace: Pace
) -> Iterator[tuple[str, Result]]:
    """Checks and times passes of one case."""
    with team.problem() as folder:
        x, kernel, dy = problem.operands()
        np.savez(folder / "arrays.npz", x=x, kernel=kernel, dy=dy)
        for which in passes:
            subjects, notes = prepare(team, problem, which, folder)
            yield which, compare(team, subjects, problem.flops, pace, notes)


def prepare(
    team: Team, problem: peers.Convolution, which: str, folder: Path
) -> tuple[list[Subject], dict[str, str]]:
    """Everybody whose result agrees with gridnn's, and why others take no part."""
    subjects: list[Subject] = []
    notes: dict[str, str] = {}
    common = {"file": str(folder / "arrays.npz"), "problem": asdict(problem), "which": which}
    references: dict[tuple[int, ...], peers.Array] = {}
    for library, worker, layout in team.members():
        label = f"{library} {layout}"
        task = next(team.numbers)
        try:
            pads = worker.ask("convolution", task=task, layout=layout, **common)["pads"]
            worker.ask("result", task=task, to=str(folder / "result.npy"))
        except WorkerError as error:
            if library == OWN:
                raise
            notes[label] = str(error)
            continue
        if tuple(pads) not in references:
            team.own.ask("reference", pads=pads, to=str(folder / "reference.npy"), **common)
            references[tuple(pads)] = np.load(folder / "reference.npy")
        expected, found = references[tuple(pads)], np.load(folder / "result.npy")
        difference = float(np.max(np.abs(found - expected)) / np.max(np.abs(expected)))
        if difference <= _TOLERANCE:
            subjects.append(Subject(library, layout, worker, task))
        else:
            notes[label] = f"differs by {difference:.1e}"
    return subjects, notes


def main() -> None:
    """Measures, prints a table, writes a file."""
    arguments = parser(__doc__)
    arguments.add_argument("--passes", default=",".join(peers.PASSES), metavar="LIST")
    arguments.add_argument("--architectures", action="store_true", help="layers of known architectures")
    parsed = arguments.parse_args()
    options = Options(parsed)
    passes = [which for which in peers.PASSES if which in parsed.passes.split(",")]
    record = Record(options, KEYS)
    problems, target = cases(), TARGET
    if parsed.architectures:
        problems, target = cases("cases_architectures.csv"), ARCHITECTURES_TARGET
    for threads in options.threads:
        with Team(options.libraries, threads, options.python) as team:
            record.begin(team)
            for name, (kind, problem) in problems.items():
                wanted = passes if options.wants(name) else []
                left = [
                    which
                    for which in wanted
                    if not record.has(**{"case": name, "pass": which, "threads": threads})
                ]
                for which, result in measure(team, problem, left, options.pace) if left else ():
                    named: dict[str, Any] = {"case": name, "class": kind, "pass": which, "threads": threads}
                    record.add(result.record(**named, target=target))
    record.show("pass")


if __name__ == "__main__":
    main()
