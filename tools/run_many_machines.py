"""Runs the program of docs/many-machines.md in two processes: it ends with the file that one process writes.

    python tools/run_many_machines.py docs/many-machines.md

Where neither this environment nor that of `make test-mpi` has mpiexec it says so, and does nothing.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
PLACES = (Path(sys.executable).parent, ROOT / ".venv-mpi/bin")


def main() -> None:
    """Exits with an error where the page's program fails, or depends on the number of processes."""
    page = Path(sys.argv[1])
    able = [place for place in PLACES if (place / "mpiexec").exists()]
    if not able:
        print(f"{page} was NOT executed: no mpiexec in {' or '.join(map(str, PLACES))} (make test-mpi)")
        return
    found = re.search(r"```python\n(# train\.py\n.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    if found is None:
        sys.exit(f"{page} has no program that begins with '# train.py'")
    saved = []
    for ranks in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            rng = np.random.default_rng(0)
            Path(folder, "train.py").write_text(found[1], encoding="utf-8")
            np.save(Path(folder, "x.npy"), rng.random((2500, 16, 16, 1), np.float32))
            np.save(Path(folder, "y.npy"), rng.integers(0, 10, 2500))
            command = [str(able[0] / "mpiexec"), "-n", str(ranks), str(able[0] / "python"), "train.py"]
            environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
            subprocess.run(command, check=True, cwd=folder, env=environment, timeout=120)
            saved.append(Path(folder, "model.gridnn").read_bytes())
    if saved[0] != saved[1]:
        sys.exit(f"{page}: two processes end with another file than one")
    print(f"{page}: executed by one process and by two, which save the same file")


if __name__ == "__main__":
    main()
