"""Two processes of one thread that share batches over MPI, against one process of two threads.

    python benches/python/processes.py [MODEL ..] [--rounds 3] [--seconds 3]

Prints the table "Several processes" of `docs/performance.md`. Needs two free cores, and an environment with
mpi4py and its mpiexec, as `make test-mpi` makes one: ``PYTHONPATH=python .venv-mpi/bin/python``. A MODEL
may be "cifar-vgg b1024".

Both kinds are started by turns, each in processes of its own. A step lasts from the end of one to the end
of the next one in `fit`: the median of a process, and of all rounds the least. Inputs are a memory map of
one batch, of which each process reads its rows. Memory is the most that a process has held (``VmHWM``,
Linux only) less what it held before `fit`; of two ranks, that of the larger.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from models import CLASSES, MODELS

import gridnn as gn
from gridnn.bench import _own

RANKS = 2
BATCH = 128
_LARGE = (("cifar-vgg", 1024),)
_OTHERS: dict[str, Callable[[], Any]] = {
    "resnet18-64": lambda: gn.models.resnet(18, (64, 64, 3), CLASSES),
    "resnet18-96": lambda: gn.models.resnet(18, (96, 96, 3), CLASSES),
}
CASES = [*((name, BATCH) for name in (*MODELS, *_OTHERS)), *_LARGE]
_LEAST = 3  # steps after the first, however long they take


class Measured(NamedTuple):
    """What one kind of processes took."""

    milliseconds: float
    """A step."""
    megabytes: float
    """Held above what was held before `fit`, by the process that held most."""
    sent: float
    """Megabytes a step, by rank 0."""


class Clock(gn.callbacks.Callback):
    """Notes when steps end, and ends training when they have lasted long enough; rank 0's clock counts."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self.ends: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """The first step, which plans, counts only as the start."""
        self.ends.append(time.perf_counter())
        if len(self.ends) > _LEAST and self.ends[-1] - self.ends[0] > self._seconds:
            self.model.stop_training = True

    def milliseconds(self) -> float:
        """The median step."""
        return 1e3 * statistics.median(np.diff(self.ends))


def _status(name: str) -> float:
    """Megabytes, from what Linux tells of this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024 / 1e6


def work(name: str, batch: int, folder: Path, seconds: float, *, alone: bool) -> None:
    """What a process does: trains, and prints on rank 0 what was measured."""
    dist = None
    if alone:
        gn.set_num_threads(RANKS)
    else:
        dist = gn.distribute.MPI()
        gn.set_num_threads(1)
    gn.set_random_seed(0)
    model = _own.build(MODELS[name]) if name in MODELS else _OTHERS[name]()
    x, y = np.load(folder / "x.npy", mmap_mode="r"), np.load(folder / "y.npy")
    model.compile(gn.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    clock = Clock(seconds)
    before = _status("VmRSS")
    model.fit(
        x, y, batch, verbose=0, callbacks=clock, shuffle=False, steps_per_epoch=10**6, seed=1, distribute=dist
    )
    held = _status("VmHWM") - before
    sent = 0.0
    if dist is not None:
        held = max(dist.values(held))
        sent = dist.sent / len(clock.ends) / 1e6
    if dist is None or dist.is_main:
        print(json.dumps([clock.milliseconds(), held, sent]))


def run(command: list[str]) -> Measured:
    """What a command measures, in a process of its own."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Measured(*json.loads(done.stdout.splitlines()[-1]))


def measure(name: str, batch: int, mpiexec: str, rounds: int, seconds: float) -> tuple[Measured, Measured]:
    """One process and the ranks, by turns; the best round of each."""
    model = _own.build(MODELS[name]) if name in MODELS else _OTHERS[name]()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "x.npy", rng.standard_normal((batch, *model.input_shape[1:]), np.float32))
        np.save(Path(folder) / "y.npy", rng.integers(0, CLASSES, batch))
        own = [sys.executable, __file__, f"{name} b{batch}", "--seconds", str(seconds), "--folder", folder]
        both: list[list[Measured]] = [[], []]
        for _ in range(rounds):
            both[0].append(run([*own, "--alone"]))
            both[1].append(run([mpiexec, "-n", str(RANKS), *own]))
    one, ranks = (min(found, key=lambda each: each.milliseconds) for found in both)
    return one, ranks


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="; ".join(f"{n} b{b}" for n, b in CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="that the steps of a process take")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    wanted = [
        (name, batch)
        for name, batch in CASES
        if not arguments.models or {name, f"{name} b{batch}"} & set(arguments.models)
    ]
    if not wanted:
        parser.error(f"no such model; there are {', '.join(f'{name} b{batch}' for name, batch in CASES)}")
    if arguments.folder:
        work(*wanted[0], arguments.folder, arguments.seconds, alone=arguments.alone)
        return
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    mpiexec = shutil.which("mpiexec", path=places)
    if mpiexec is None:
        sys.exit("processes.py: no mpiexec beside Python; make test-mpi makes an environment that has it")
    print(
        "| model | batch | one process, ms | two ranks, ms | speed kept | MB sent a step "
        "| memory above the start, MB: one process | a rank | share |\n" + 9 * "|---" + "|"
    )
    for name, batch in wanted:
        one, ranks = measure(name, batch, mpiexec, arguments.rounds, arguments.seconds)
        print(
            f"| {name} | {batch} | {one.milliseconds:.3g} | {ranks.milliseconds:.3g} "
            f"| {one.milliseconds / ranks.milliseconds:.2f} | {ranks.sent:.3g} "
            f"| {one.megabytes:.3g} | {ranks.megabytes:.3g} | {ranks.megabytes / one.megabytes:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
