"""Runs what docs/many-machines.md shows, in two processes: they end with the file that one process writes.

    python tools/run_many_machines.py docs/many-machines.md

Where neither this environment nor that of `make test-mpi` has mpiexec it says so, and does nothing. What the
page says of bytes and costs is compared as well.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = (Path(sys.executable).parent, ROOT / ".venv-mpi/bin")


def check_costs(page: Path, blocks: list[tuple[str, str]]) -> None:
    """Exits with an error where the program that computes costs does not print the block after it."""
    number = next(i for i, (_, code) in enumerate(blocks) if "distributed_costs(" in code)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(blocks[number][1], {})  # noqa: S102  # our own page
    if printed.getvalue() != blocks[number + 1][1]:
        sys.exit(f"{page}: the costs of a step are not what the page says:\n{printed.getvalue()}")


def main() -> None:
    """Exits with an error where the page's program fails, or depends on the number of processes."""
    page = Path(sys.argv[1])
    able = [place for place in PLACES if (place / "mpiexec").exists()]
    if not able:
        print(f"{page} was NOT executed: no mpiexec in {' or '.join(map(str, PLACES))} (make test-mpi)")
        return
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    programs = {code.split()[1]: code for kind, code in blocks if kind == "python" and code.startswith("# ")}
    if not programs.keys() >= {"data.py", "train.py"}:
        sys.exit(f"{page} has no programs that begin with '# data.py' and '# train.py'")
    check_costs(page, blocks)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    saved = []
    for ranks in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            for name, program in programs.items():
                Path(folder, name).write_text(program, encoding="utf-8")
            python = str(able[0] / "python")
            for command in ([], [str(able[0] / "mpiexec"), "-n", str(ranks)]):
                name = "train.py" if command else "data.py"
                done = subprocess.run(
                    [*command, python, name],
                    check=True,
                    cwd=folder,
                    env=environment,
                    timeout=120,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                print(done.stdout, end="", flush=True)
            saved.append(Path(folder, "model.gridnn").read_bytes())
    sent = re.search(r"rank 0 sent (\S+ MB)", done.stdout)
    if sent is None or f"here {sent[1]} a step" not in text:
        sys.exit(f"{page}: what processes send each other is not what the page says")
    if saved[0] != saved[1]:
        sys.exit(f"{page}: two processes end with another file than one")
    print(f"{page}: executed by one process and by two, which save the same file")


if __name__ == "__main__":
    main()
