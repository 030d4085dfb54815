"""Writes the figures of README.md, and its chart, from `benches/record`.

`python benches/python/readme.py` writes them; with ``--check`` it says whether they are those of the record.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from html import escape
from typing import Any

from libraries import ROOT

README = ROOT / "README.md"
PICTURES = ROOT / "docs" / "pictures"
_THREADS = 2
_MOST = 8.0  # times as long: longer bars are cut off, and say how long they are
_NAMES = {"gridnn": "gridnn", "tensorflow": "TensorFlow", "torch": "PyTorch", "jax": "JAX"}
_THEMES = {
    "light": {"ink": "#1f2328", "soft": "#59636e", "bars": ("#0072B2", "#E69F00", "#D55E00", "#9AA0A6")},
    "dark": {"ink": "#f0f6fc", "soft": "#9198a1", "bars": ("#56B4E9", "#E69F00", "#D55E00", "#7d858f")},
}
_LEFT, _WIDTH, _BAR, _GAP = 132, 420, 11, 16


def main() -> None:
    """Writes the files, or exits with those that are not current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if something would change")
    check = parser.parse_args().check
    record = json.loads((ROOT / "benches" / "record" / "steps.json").read_text(encoding="utf-8"))
    rows = [r for r in record["rows"] if r["threads"] == _THREADS and r["step"] == "train"]
    wanted = {PICTURES / f"steps-{theme}.svg": chart(rows, theme) for theme in _THEMES}
    text = README.read_text(encoding="utf-8")
    wanted[README] = re.sub(
        r"(<!-- record -->\n).*?(\n<!-- end of record -->)",
        lambda found: found.group(1) + sentence(rows, record["about"]) + "\n\n" + table() + found.group(2),
        text,
        flags=re.DOTALL,
    )
    stale = [
        path for path, new in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != new
    ]
    if check and stale:
        names = ", ".join(path.name for path in stale)
        sys.exit(f"{names}: not what benches/record says; run python benches/python/readme.py")
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")


def sentence(rows: list[dict[str, Any]], about: dict[str, Any]) -> str:
    """The one figure, and where it is from."""
    ratios = [row["ratio"] for row in rows if row["ratio"] is not None]
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    libraries = ", ".join(re.sub(r"\+\w+|, Keras .*", "", name) for name in about["versions"][1:])
    return (
        f"**For a training step, the fastest of the others takes {mean:.1f} times as long** (geometric mean "
        f"of {len(ratios)} cases\non two cores of an {about['processor'].split(',')[0]}, {about['date']}; "
        f"{libraries}).\n[How that was measured](docs/performance.md), with every figure."
    )


def table() -> str:
    """What installations take, and imports."""
    file = ROOT / "benches" / "record" / "installs.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    lines = [
        f"| {record['about']['date']} | installed, NumPy and all included | `import`, processor time |",
        "|---|---:|---:|",
    ]
    for row in record["rows"]:
        size = row["bytes"] / 1e6
        megabytes = f"{size:,.0f} MB" if size < 1000 else f"{size / 1000:.1f} GB"
        name = _NAMES[row["name"].removesuffix("-cpu")]
        lines.append(f"| {name} {row['version']} | {megabytes} | {row['import']:.2f} s |")
    return "\n".join(lines)


def chart(rows: list[dict[str, Any]], theme: str) -> str:
    """Times of a step relative to gridnn's, for the largest batch of every model, as SVG."""
    colours: dict[str, Any] = _THEMES[theme]
    largest = {row["model"]: row for row in sorted(rows, key=lambda row: row["batch"])}
    scale = _WIDTH / _MOST
    parts, y = [], 34.0
    for model in dict.fromkeys(row["model"] for row in rows):
        times = largest[model]["milliseconds"]
        middle = y + len(_NAMES) * _BAR / 2
        parts.append(_text(_LEFT - 10, middle, model, colours["ink"], "end", 13))
        parts.append(
            _text(_LEFT - 10, middle + 14, f"batch {largest[model]['batch']}", colours["soft"], "end")
        )
        for name, colour in zip(_NAMES, colours["bars"], strict=True):
            if name in times:
                ratio = largest[model]["ratios"].get(name, 1.0)  # a median, as in the tables
                width = min(ratio, _MOST) * scale
                parts.append(
                    f'<rect x="{_LEFT}" y="{y:.0f}" width="{width:.1f}" height="{_BAR - 2}" rx="1.5" '
                    f'fill="{colour}"/>'
                )
                label = f"{times[name]:.3g} ms" if name == "gridnn" else f"{ratio:.1f}"
                cut = " →" if ratio > _MOST else ""
                parts.append(_text(_LEFT + width + 5, y + 8, label + cut, colours["soft"], "start", 10))
            y += _BAR
        y += _GAP
    legend, x = [], float(_LEFT)
    for (_, label), colour in zip(_NAMES.items(), colours["bars"], strict=True):
        legend.append(f'<rect x="{x:.0f}" y="8" width="10" height="10" rx="1.5" fill="{colour}"/>')
        legend.append(_text(x + 15, 17, label, colours["ink"], "start", 12))
        x += 105
    height = y + 14
    note = _text(
        _LEFT, y + 2, "time of a training step, relative to gridnn's: shorter is better", colours["soft"]
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="{height:.0f}" '
        f'viewBox="0 0 640 {height:.0f}" role="img" aria-label="times of a training step, four libraries" '
        f'font-family="system-ui,sans-serif">\n{chr(10).join(legend + parts)}\n{note}\n</svg>\n'
    )


def _text(x: float, y: float, text: str, colour: str, anchor: str = "start", size: int = 11) -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )


if __name__ == "__main__":
    main()
