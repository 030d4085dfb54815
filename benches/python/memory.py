"""Peak memory of a process that trains, beside the same model in another library.

    python benches/python/memory.py [MODEL ..] [--threads 2] [--libraries torch] [--peers-python PATH]

A process for each library and model: it imports, builds, takes weights and a batch, and makes three training
steps. The peak is what the system counted for the whole process (``VmHWM``, Linux only), interpreter and
libraries included. Planned is what ``model.memory(batch)`` foretells, buffers alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from libraries import OWN
from models import BATCHES, MODELS, data
from options import Options, parser
from rounds import Process, Team

from gridnn.bench import _own

_MB = 1e6


def peak(worker: Process) -> float:
    """Most megabytes that the process of a worker has held."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / _MB


def measure(name: str, batch: int, options: Options) -> dict[str, float]:
    """Megabytes of every library; of those with two layouts the one that takes less."""
    found: dict[str, float] = {}
    threads = options.threads[0]
    with Team(options.libraries, threads, options.python) as team:
        subjects = [(library, layout) for library, _, layout in team.members()]
    for library, layout in subjects:
        others = [] if library == OWN else [library]
        with Team(others, threads, options.python) as team, team.problem() as folder:
            team.own.ask("weights", model=name, to=str(folder / "weights.npz"))
            with np.load(folder / "weights.npz") as weights:
                x, y = data(MODELS[name], batch)
                np.savez(folder / "arrays.npz", x=x, y=y, **dict(weights))
            worker = team.workers[library]
            arrays = str(folder / "arrays.npz")
            worker.ask("network", tasks=[0, 1], file=arrays, model=name, layout=layout)
            worker.ask("result", task=0, to=str(folder / "losses.npy"))
            found[library] = min(peak(worker), found.get(library, np.inf))
    return found


def main() -> None:
    """Measures and prints a table."""
    options = Options(parser(__doc__).parse_args(), without=("scipy", "numpy", "jax", "tensorflow"))
    others = [name for name in options.libraries if name != OWN]
    columns = ["model", "batch", "planned MB", *(f"{name} MB" for name in (OWN, *others)), "share"]
    print("| " + " | ".join(columns) + " |\n| --- |" + " ---: |" * (len(columns) - 1))
    for name, batches in BATCHES.items():
        batch = max(batches)
        if not options.wants(f"{name} b{batch}"):
            continue
        found = measure(name, batch, options)
        planned = _own.build(MODELS[name]).memory(batch) / _MB
        cells = " | ".join(f"{found[library]:.0f}" for library in (OWN, *others))
        least = min((found[library] for library in others), default=np.nan)
        print(f"| {name} | {batch} | {planned:.1f} | {cells} | {found[OWN] / least:.2f} |", flush=True)


if __name__ == "__main__":
    main()
