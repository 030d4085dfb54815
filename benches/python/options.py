"""What the benches have in common: options, facts about the machine, tables, files."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from held import HELD, hold
from libraries import OWN, ROOT
from rounds import Pace, Team, default_libraries

from gridnn.bench._report import processor

__all__ = ["Options", "Record", "geometric_mean", "parser", "remarks", "replace_text", "table"]


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options of every bench."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    parser.add_argument("names", nargs="*", metavar="NAME", help="parts of names; only these are measured")
    parser.add_argument(
        "--threads",
        default="2,1",
        metavar="LIST",
        help="numbers of threads, one after the other (%(default)s)",
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures to a file, one by one as they come"
    )
    parser.add_argument(
        "--resume", action="store_true", help="keep the figures that FILE holds, of the same commit"
    )
    parser.add_argument(
        "--peers-python",
        default=os.environ.get("GRIDNN_PEERS_PYTHON") or sys.executable,
        metavar="PATH",
        help="the Python that has the other libraries (GRIDNN_PEERS_PYTHON, else this one)",
    )
    parser.add_argument("--tier", choices=sorted(HELD), help="hold every library to it (see held.py)")
    parser.add_argument("--libraries", metavar="LIST", help="the other libraries (default: all installed)")
    return parser


class Options:
    """Parsed options."""

    def __init__(self, arguments: argparse.Namespace, *, without: Sequence[str] = ()) -> None:
        hold(arguments.tier)
        self.names: list[str] = arguments.names
        self.threads = [int(text) for text in arguments.threads.split(",")]
        self.pace = Pace.of(arguments.quick)
        self.json: Path | None = arguments.json
        self.resume: bool = arguments.resume
        self.python: str = arguments.peers_python
        if arguments.libraries is None:
            installed = [*default_libraries(self.python), "numpy"]
            self.libraries = [name for name in installed if name not in without]
        else:
            self.libraries = [name for name in arguments.libraries.split(",") if name]

    def wants(self, name: str) -> bool:
        """Whether a problem is to be measured."""
        return not self.names or any(part in name for part in self.names)


class Record:
    """Rows of results, of `Result.record`, on screen and in a file that is whole behind each of them."""

    def __init__(self, options: Options, keys: Sequence[str]) -> None:
        self.path = options.json
        self.keys = keys
        self.about: dict[str, Any] = {}
        self.rows: list[dict[str, Any]] = []
        if options.resume and self.path and self.path.exists():
            found = json.loads(self.path.read_text(encoding="utf-8"))
            self.about, self.rows = found["about"], found["rows"]

    def begin(self, team: Team) -> None:
        """Notes the facts, which those of a file that goes on must agree with."""
        about = _facts(team)
        self.about = self.about or about
        if self.about["commit"] != about["commit"]:
            raise SystemExit(f"{self.path} is of {self.about['commit']}; this is {about['commit']}")

    def has(self, **named: Any) -> bool:
        """Whether there is such a row."""
        return any(all(row[key] == value for key, value in named.items()) for row in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        """Shows a row, and writes all, one a line."""
        self.rows.append(row)
        print(table([row], self.keys).splitlines()[1], file=sys.stderr)
        if self.path:
            lines = ",\n".join("  " + json.dumps(row) for row in self.rows)
            replace_text(self.path, f'{{\n "about": {json.dumps(self.about)},\n "rows": [\n{lines}\n ]\n}}\n')

    def show(self, by: str) -> None:
        """Prints a table for each number of threads, with geometric means by the kinds in column `by`."""
        print("\n".join(f"{key}: {value}" for key, value in self.about.items()))
        for threads in dict.fromkeys(row["threads"] for row in self.rows):
            chosen = [row for row in self.rows if row["threads"] == threads]
            print("\n" + table(chosen, self.keys))
            means = [
                f"{kind} {geometric_mean([row for row in chosen if row[by] == kind]):.2f}"
                for kind in dict.fromkeys(row[by] for row in chosen)
            ]
            means.append(f"all {geometric_mean(chosen):.2f}")
            print(f"Times the best of the others, geometric means: {', '.join(means)}")
        print(remarks(self.rows, self.keys))


def replace_text(path: Path, text: str) -> None:
    """Writes a record whole or not at all: a run that is stopped leaves the last one."""
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def _facts(team: Team) -> dict[str, Any]:
    """When, where and with what."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "processor": processor(),
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
        "compiler": _output("rustc", "--version"),
        "commit": _output("git", "describe", "--always", "--dirty"),
        "versions": list(team.versions.values()),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def _output(*command: str) -> str:
    """What a command prints, if there is such a command."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def table(rows: Sequence[Mapping[str, Any]], keys: Sequence[str], *, markdown: bool = False) -> str:
    """A table of results: times in ms, and the ratio of the best of the others to gridnn, with its target.

    Args:
        rows: of `Result.record`.
        keys: what names a problem.
        markdown: for a page instead of a terminal.
    """
    others = list(dict.fromkeys(name for row in rows for name in row["milliseconds"] if name != OWN))
    lines = [[*keys, "gridnn ms", "% peak", *others, "best", "ratio", "target"]]
    for row in rows:
        times = row["milliseconds"]
        disturbed = row["notes"].get("disturbed", "").split(", ")
        cells = [
            f"{times[name]:.3g}{'~' if name in disturbed else ''}" if name in times else "-"
            for name in (OWN, *others)
        ]
        ratio, target = "-", f"{row['target']:.2f}"
        if row["ratio"] is not None:
            ratio = f"{row['ratio']:.2f}"
            target += " missed" if row["ratio"] < row["target"] else ""
        percent = f"{row['percent_of_peak']:.0f}"
        named = [str(row[key]) for key in keys]
        lines.append([*named, cells[0], percent, *cells[1:], row["best"] or "-", ratio, target])
    if markdown:
        rule = ["---"] * len(keys) + ["---:"] * (len(lines[0]) - len(keys))
        return "\n".join("| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:]))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < len(keys) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def remarks(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> str:
    """Who took no part and why, and in how many problems; disturbed figures carry a ~ in the table."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        named = " ".join(str(row[key]) for key in keys)
        for label, note in row["notes"].items():
            if label != "disturbed":
                found.setdefault((label, note), []).append(named)
    return "\n".join(
        f"{label}: {note} ({problems[0]}{f' and {len(problems) - 1} more' if problems[1:] else ''})"
        for (label, note), problems in found.items()
    )


def geometric_mean(rows: Sequence[Mapping[str, Any]]) -> float:
    """Of the ratios to the best of the others; 1 where there are none."""
    logarithms = [math.log(row["ratio"]) for row in rows if row["ratio"]]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else 1.0
