"""Shows figures: a table, JSON, a bar chart."""

from __future__ import annotations

import importlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import gridnn as gn
from gridnn._engine import write_file

__all__ = ["Row", "about", "chart", "processor", "require_matplotlib", "table", "write_json"]


@dataclass(frozen=True)
class Row:
    """The figures of one comparison."""

    name: str
    which: str
    percent_of_peak: float | None
    milliseconds: Mapping[str, float]
    """Medians of the subjects; gridnn is the first."""
    differences: Mapping[str, float]
    """Of each other subject's result, by the largest element of gridnn's."""

    @property
    def ratios(self) -> dict[str, float]:
        """How many times as long each of the others takes."""
        (_, own), *others = self.milliseconds.items()
        return {name: time / own for name, time in others}


def about(threads: int, versions: Sequence[str]) -> dict[str, Any]:
    """The machine and the libraries."""
    return {
        "processor": processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": [*versions, f"NumPy {np.__version__}"],
        "blas": _blas(),
        "threads": threads,
        "tier": gn.simd_tier(),
    }


def processor() -> str:
    """The name of the CPU, as well as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} processors" if names else platform.machine()


def _blas() -> str:
    """What NumPy multiplies matrices with; older releases do not say."""
    try:
        found: Any = np.show_config(mode="dicts")
    except TypeError:
        return "unknown"
    blas: Mapping[str, Any] = (found or {}).get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def table(rows: Sequence[Row]) -> str:
    """The times of gridnn, and how many times as long the others take."""
    others = list(dict.fromkeys(name for row in rows for name in row.ratios))
    lines = [["", "", "gridnn ms", "% peak", *others]]
    for row in rows:
        percent = "" if row.percent_of_peak is None else f"{row.percent_of_peak:.0f}"
        own = next(iter(row.milliseconds.values()))
        ratios = [f"{row.ratios[name]:.2f}" if name in row.ratios else "-" for name in others]
        lines.append([row.name, row.which, f"{own:.3f}", percent, *ratios])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([text[0], "-" * max(map(len, text)), *text[1:]])


def write_json(path: Path, facts: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Writes what the table shows, unrounded, and more."""
    found = {"about": dict(facts), "rows": [asdict(row) | {"ratios": row.ratios} for row in rows]}
    write_file(path, (json.dumps(found, indent=1) + "\n").encode())


def require_matplotlib() -> Any:
    """Imports what draws the chart.

    Raises:
        ImportError: it is not installed; the message says how to get it.
    """
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ImportError as error:
        raise ImportError(
            "a chart needs matplotlib, which is not installed: pip install 'gridnn[plot]'"
        ) from error
    matplotlib.use("agg")
    return importlib.import_module("matplotlib.figure")


def chart(path: Path, facts: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Draws how many times as long the others take, on a logarithmic axis.

    Raises:
        ImportError: matplotlib is not installed.
    """
    others = list(dict.fromkeys(name for row in rows for name in row.ratios))
    drawing = require_matplotlib().Figure(figsize=(9, 1.2 + 0.14 * len(rows) * (len(others) + 1.5)))
    axes = drawing.subplots()
    height = 0.8 / len(others)
    for i, name in enumerate(others):
        places = [j + i * height for j, row in enumerate(rows) if name in row.ratios]
        axes.barh(places, [row.ratios[name] for row in rows if name in row.ratios], height, label=name)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks([j + 0.4 - height / 2 for j in range(len(rows))], [f"{r.name}, {r.which}" for r in rows])
    axes.invert_yaxis()
    axes.set_xlabel("times as long as gridnn")
    axes.set_title(f"{facts['processor']}, {facts['threads']} threads", fontsize="medium")
    axes.legend()
    drawing.savefig(path, bbox_inches="tight")
