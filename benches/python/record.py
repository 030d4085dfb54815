"""Measures everything, keeps the figures in `benches/record` and writes the tables of `docs/performance.md`.

`python benches/python/record.py [--tier avx2] [--full] [--page]` on a machine with nothing else to do.
Without `--full` rounds are short: half an hour in all. With `--tier avx2` every library is held to AVX2,
figures are of two threads and without functional calls, and their page is `docs/performance-avx2.md`. With
`--page` nothing is measured: the pages are written anew from the figures kept.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import architectures
import functional
import steps
from held import HELD, hold
from libraries import ROOT, peers
from options import geometric_mean, remarks, table

PAGE = ROOT / "docs" / "performance.md"
RECORD = ROOT / "benches" / "record"
HELD_PAGES = {RECORD / tier: ROOT / "docs" / f"performance-{tier}.md" for tier in HELD}
"""Where the figures of libraries that are held to a tier lie, and their page."""
_HERE = Path(__file__).parent
_KERNEL_LINE = re.compile(r"(\S+) +(fwd|dx|dw) +(\w+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) *(.*)")


def measure(full: bool, tier: str | None) -> None:
    """Runs the benches one after the other."""
    hold(tier)
    folder = RECORD / (tier or "")
    folder.mkdir(parents=True, exist_ok=True)
    pace = [] if full else ["--quick"]
    kernels = subprocess.run(
        ["cargo", "bench", "--bench", "kernels", "--", *pace],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    (folder / "kernels.txt").write_text(kernels.stdout, encoding="utf-8")
    names = ["steps", "architectures", "functional"]
    if tier is not None:
        names.remove("functional")
        pace += ["--tier", tier, "--threads", "2"]
    for name in names:
        file = folder / f"{name}.json"
        subprocess.run([sys.executable, _HERE / f"{name}.py", *pace, "--json", file], cwd=ROOT, check=True)


def sections(folder: Path) -> dict[str, str]:
    """The parts of a page that are made of figures."""

    def found(name: str) -> dict[str, Any]:
        text: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        return text

    def dated(name: str, keys: tuple[str, ...], by: str) -> str:
        return "\n\n".join([_machine(found(name)["about"]), _tables(found(name)["rows"], keys, by)])

    of_steps = found("steps")
    parts = {
        "machine": _machine(of_steps["about"]),
        "steps": _tables(of_steps["rows"], steps.KEYS, "step"),
        "architectures": dated("architectures", architectures.KEYS, "step"),
        "kernels": _kernels((folder / "kernels.txt").read_text(encoding="utf-8")),
    }
    if (folder / "functional.json").exists():
        parts["functional"] = dated("functional", functional.KEYS, "pass")
    return parts


def _machine(about: dict[str, Any]) -> str:
    """When, where and with what."""
    facts = about | {"versions": ", ".join(about["versions"])}
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())])


def _tables(rows: list[dict[str, Any]], keys: tuple[str, ...], by: str) -> str:
    """A table for each number of threads, with the geometric mean of each kind of row below it."""
    parts = []
    for threads in dict.fromkeys(row["threads"] for row in rows):
        chosen = [row for row in rows if row["threads"] == threads]
        kinds = {
            kind: [row for row in chosen if row[by] == kind] for kind in dict.fromkeys(r[by] for r in chosen)
        }
        means = ", ".join(f"{kind} {geometric_mean(some):.2f}" for kind, some in kinds.items())
        missed = sum(row["ratio"] is not None and row["ratio"] < row["target"] for row in chosen)
        shown = [key for key in keys if key != "threads"]
        parts += [
            f"### {threads} thread{'s' if threads > 1 else ''}",
            table(chosen, shown, markdown=True),
            f"Geometric means of the ratios: {means}; all {geometric_mean(chosen):.2f}. "
            f"Targets missed: {missed} of {len(chosen)}.",
        ]
    left_out = remarks(rows, keys)
    if left_out:
        parts.append("Took no part:\n\n" + "\n".join(f"- {line}" for line in left_out.splitlines()))
    return "\n\n".join(parts)


def _kernels(text: str) -> str:
    """The table of the Rust bench."""
    lines = [
        "| case | pass | ms | GFLOP/s | peak | % | remarks |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    names = dict(zip(("fwd", "dx", "dw"), peers.PASSES, strict=True))
    for line in text.splitlines():
        if found := _KERNEL_LINE.match(line):
            case, which, _, *numbers, remark = found.groups()
            lines.append(f"| {case} | {names[which]} | {' | '.join(numbers)} | {remark.strip()} |")
    return "\n".join(lines)


def write(page: str, parts: dict[str, str]) -> str:
    """The page with new parts between its markers.

    Raises:
        ValueError: the page lacks a marker.
    """
    for name, text in parts.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        page, count = pattern.subn(lambda found, text=text: f"{found[1]}\n{text}\n\n{found[2]}", page)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"{PAGE.name} has {count} parts marked {name!r}; expected 1")
    return page


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tier", choices=sorted(HELD), help="hold every library to it")
    parser.add_argument("--full", action="store_true", help="long rounds")
    parser.add_argument("--page", action="store_true", help="write the pages only")
    arguments = parser.parse_args()
    if not arguments.page:
        measure(arguments.full, arguments.tier)
    for folder, page in {RECORD: PAGE, **HELD_PAGES}.items():
        page.write_text(write(page.read_text(encoding="utf-8"), sections(folder)), encoding="utf-8")


if __name__ == "__main__":
    main()
