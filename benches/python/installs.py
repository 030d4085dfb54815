"""Measures what an installation takes on the disk, and what an import costs; kept in `benches/record`.

`python benches/python/installs.py gridnn=/env/bin/python torch=/other/bin/python`: environments in which
nothing but the library was installed. README.md shows the figures (`benches/python/readme.py`).
"""

from __future__ import annotations

import datetime
import json
import subprocess
import sys

from libraries import ROOT

_RUNS = 7
# What the library needs, with what that needs, and so on; run by the other environment's Python.
_SIZE = """
import importlib.metadata as m, re, sys
seen, queue, size = set(), [sys.argv[1]], 0
while queue:
    name = queue.pop().lower().replace("_", "-")
    try:
        found = m.distribution(name)
    except m.PackageNotFoundError:
        continue
    if name in seen:
        continue
    seen.add(name)
    size += sum(f.locate().stat().st_size for f in found.files or () if f.locate().is_file())
    for line in found.requires or ():
        if "extra ==" not in line:
            queue.append(re.match(r"[\\w.-]+", line).group())
print(size, m.version(sys.argv[1]))
"""
# Seconds of the processor, since others may be at work on the machine.
_IMPORT = "import time; {}; print(time.process_time())"
_MODULES = {"tensorflow-cpu": "tensorflow"}


def main() -> None:
    """Measures the environments given as arguments."""
    rows = []
    for argument in sys.argv[1:]:
        name, _, python = argument.partition("=")
        size, version = _output(python, _SIZE, name).split()
        module = _MODULES.get(name, name)
        seconds = min(float(_output(python, _IMPORT.format(f"import {module}"))) for _ in range(_RUNS))
        start = min(float(_output(python, _IMPORT.format("pass"))) for _ in range(_RUNS))
        rows.append(
            {"name": name, "version": version, "bytes": int(size), "import": round(seconds - start, 4)}
        )
        print(rows[-1])
    about = {"date": datetime.date.today().isoformat(), "python": sys.version.split()[0]}
    file = ROOT / "benches" / "record" / "installs.json"
    file.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def _output(python: str, code: str, *arguments: str) -> str:
    command = [python, "-I", "-c", code, *arguments]
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ).stdout


if __name__ == "__main__":
    main()
