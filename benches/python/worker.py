"""One library in a process of its own, which does what it is told in lines of JSON and sleeps in between.

`python worker.py LIBRARY THREADS`. Arrays travel in files. What the library prints goes to standard error.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import chains
import numpy as np
from libraries import OWN, load, peers
from models import MODELS

_NANOSECOND = 1e-9


class Worker:
    """The tasks prepared so far, by number."""

    def __init__(self, name: str, threads: int) -> None:
        self.own = name == OWN
        self.threads = threads
        self.library = load(name, threads)
        self.tasks: dict[int, peers.Task] = {}
        self.arrays: tuple[str, dict[str, Any]] = ("", {})

    def hello(self) -> dict[str, Any]:
        """What is here."""
        return {"version": self.library.version, "layouts": list(self.library.layouts)}

    def load(self, file: str) -> dict[str, Any]:
        """The arrays of a problem; those of the last one are kept."""
        if self.arrays[0] != file:
            self.tasks.clear()
            with np.load(file) as arrays:
                self.arrays = file, dict(arrays)
        return self.arrays[1]

    def convolution(
        self, task: int, file: str, problem: dict[str, Any], which: str, layout: str
    ) -> dict[str, Any]:
        """Prepares a pass, and tells the padding, by which its result must be judged."""
        arrays = self.load(file)
        case = peers.Convolution(**problem)
        operands = arrays["x"], arrays["kernel"], arrays["dy"]
        self.tasks[task] = self.library.convolution(case, which, layout, operands)
        return {"pads": self.library.pads(case)}

    def reference(
        self, file: str, problem: dict[str, Any], which: str, pads: list[int], to: str
    ) -> dict[str, Any]:
        """The result of gridnn with such padding."""
        from gridnn.bench._own import Library

        arrays = self.load(file)
        operands = arrays["x"], arrays["kernel"], arrays["dy"]
        before, after = pads
        case = peers.Convolution(**problem)
        task = Library(self.threads).convolution(case, which, "", operands, (before, after))
        np.save(to, task.result()[0])
        return {}

    def weights(self, model: str, to: str) -> dict[str, Any]:
        """Initial weights of gridnn, for everybody."""
        from gridnn.bench._own import build

        np.savez(to, *build(MODELS[model]).get_weights())
        return {}

    def network(self, tasks: list[int], file: str, model: str, layout: str) -> dict[str, Any]:
        """Prepares the training step and inference."""
        arrays = self.load(file)
        weights = [arrays[f"arr_{i}"] for i in range(len(arrays) - 2)]
        prepared = self.library.network(MODELS[model], weights, (arrays["x"], arrays["y"]), layout)
        self.tasks.update(zip(tasks, prepared, strict=True))
        return {}

    def chain(self, tasks: list[int], file: str, model: str, chain: Any, layout: str) -> dict[str, Any]:
        """Prepares the training step and inference of an architecture."""
        arrays = self.load(file)
        weights = [arrays[f"arr_{i}"] for i in range(len(arrays) - 2)]
        x, y = arrays["x"], arrays["y"]
        if self.own:
            from architectures import own_tasks  # it needs gridnn

            prepared = own_tasks(model, weights, x, y)
        else:
            prepared = chains.network(self.library, chain, weights, (x, y), layout)
        self.tasks.update(zip(tasks, prepared, strict=True))
        return {}

    def result(self, task: int, to: str) -> dict[str, Any]:
        """Runs a task and writes what it computes."""
        np.save(to, self.tasks[task].result()[0])
        return {}

    def measure(self, task: int, calls: int, warm: int) -> dict[str, Any]:
        """Seconds a call, and the share of that time for which threads had to wait for a processor."""
        call = self.tasks[task].call
        for _ in range(warm):
            call()
        waited = _waited()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        seconds = time.perf_counter() - start
        return {"seconds": seconds / calls, "waited": (_waited() - waited) / seconds}

    def peak(self) -> dict[str, Any]:
        """FLOP/s of all threads."""
        from gridnn.bench._own import peak

        return {"flops": peak(self.threads)}

    def forget(self) -> dict[str, Any]:
        """Frees what is prepared."""
        self.tasks.clear()
        self.arrays = "", {}
        gc.collect()
        return {}


def _waited() -> float:
    """Seconds that threads of this process were ready to run while others ran, where the system tells."""
    return sum(map(_waited_by, Path("/proc/self/task").glob("*/schedstat")))


def _waited_by(entry: Path) -> float:
    """Seconds that one thread waited."""
    try:
        return int(entry.read_text().split()[1]) * _NANOSECOND
    except (OSError, IndexError):  # it has ended, or nothing is counted
        return 0.0


def _first_line(error: Exception) -> str:
    """What is wrong, without the pages that some libraries add."""
    text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    return text[:200]


def main() -> None:
    """Answers requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    name, threads = sys.argv[1], int(sys.argv[2])
    if hasattr(os, "sched_setaffinity"):
        # Some libraries size their pools by the processors they may use, whatever they are told.
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, processors[-threads:])
    worker = Worker(name, threads)
    gc.disable()
    print(json.dumps(worker.hello()), file=answers)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # of any library: it is reported, and the next request comes
            answer = {"error": _first_line(error)}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
