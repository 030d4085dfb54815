"""How a training step would share the work among 1 to 64 threads, on a machine that has two.

    python benches/python/scaling.py [MODEL ..] [--rounds 7] [--no-check]

The engine records how long every task of a step takes on one thread. These tasks are then scheduled on more
workers by the rule of the pool: a phase begins when the last task of the one before has ended, and whoever is
free takes the next task. Drawing a task, a barrier and waking a helper cost what `docs/performance.md` says.

A record on two threads tells how much longer the tasks of a phase take there. Two things can be behind
it, and two threads cannot tell them apart. What a task reads was written by another thread, and comes
from that one's cache: of w threads (w - 1) / w of it, so that many lose at most twice what two lose. Or
threads take turns at the memory, and every further one loses as much as the second. Packing weights,
adding up gradients and updating are streams and follow the second law; all other phases follow the first,
but in the last column, where everything follows the second: what a machine does whose memory serves two
threads and no more.

The prediction for two threads is compared with the time that a step takes there; beyond 10 percent the
program fails, unless `--no-check` says that the machine is busy. For every model it prints the speed-up, the
percentage of the ideal one, and the kind of phase that loses most of it.
"""

from __future__ import annotations

import argparse
import functools
import heapq
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from models import MODELS

import gridnn as gn
from gridnn.bench import _own

TICKET, BARRIER, WAKING = 0.25e-6, 1e-6, 20e-6
"""Seconds for drawing a task, for the end of a phase with two threads, and until a sleeping helper works."""
WORKERS = (1, 2, 4, 8, 16, 32, 64)
STREAMS = ("Pack", "Reduce", "Update")
"""Phases that wait for the memory."""
CROWDED = 16
"""Threads of the last column."""
TOLERANCE = 0.1
"""Of the prediction for two threads."""

_ARCHITECTURES: dict[str, tuple[Callable[[], Any], int]] = {
    "resnet18": (lambda: gn.models.resnet(18, (64, 64, 3), 10), 128),
    "resnet50": (lambda: gn.models.resnet(50, (64, 64, 3), 10), 32),
    "mobilenet": (lambda: gn.models.mobilenet((64, 64, 3), 10), 32),
    "vgg16": (lambda: gn.models.vgg(16, (64, 64, 3), 10, units=512), 32),
    "unet": (lambda: gn.models.unet((128, 128, 1), 2), 16),
}
_BATCHES = {"seed-128": 16, "voxel-3d": 32}
_BATCH = 128


class Phase(NamedTuple):
    """Tasks that do not depend on each other."""

    kind: str
    """What most of its time is."""
    tasks: tuple[float, ...]
    """Seconds, in the order in which they are drawn."""
    sharing: float = 0.0
    """Part of the time that is lost when a second thread works."""

    def slower(self, workers: int, crowded: bool) -> float:
        """How many times as long its tasks take beside others."""
        others = min(workers, len(self.tasks)) - 1
        if crowded or self.kind in STREAMS:
            return 1.0 + self.sharing * others
        return 1.0 + self.sharing * 2.0 * others / (others + 1)


def steps(records: Sequence[tuple[int, str, float]]) -> list[list[tuple[int, str, float]]]:
    """Records of several steps, step by step: the number of the phase falls between two."""
    found: list[list[tuple[int, str, float]]] = []
    last = sys.maxsize
    for record in records:
        if record[0] < last:
            found.append([])
        found[-1].append(record)
        last = record[0]
    return found


def phases(records: Sequence[tuple[int, str, float]]) -> list[Phase]:
    """The phases of steps on one thread; a task's duration is the least of them."""
    tasks: dict[int, list[list[tuple[str, float]]]] = defaultdict(list)
    for step in steps(records):
        own: dict[int, list[tuple[str, float]]] = defaultdict(list)
        for phase, kind, seconds in step:
            own[phase].append((kind, seconds))
        for phase, list_ in own.items():
            tasks[phase].append(list_)
    found = []
    for phase in sorted(tasks):
        runs = tasks[phase]
        durations = tuple(min(run[i][1] for run in runs) for i in range(len(runs[0])))
        shares: dict[str, float] = defaultdict(float)
        for (kind, _), seconds in zip(runs[0], durations, strict=True):
            shares[kind.split()[0]] += seconds
        found.append(Phase(max(shares, key=lambda kind: shares[kind]), durations))
    return found


def shared(alone: Sequence[Phase], records: Sequence[tuple[int, str, float]]) -> list[Phase]:
    """The phases with what they lose when a second thread works beside the first, from records of two."""
    sums: dict[int, list[float]] = defaultdict(list)
    for step in steps_of_two(records):
        for phase, seconds in step.items():
            sums[phase].append(seconds)
    totals = [min(sums[phase]) for phase in sorted(sums)]
    if len(totals) != len(alone):
        return list(alone)
    return [
        phase._replace(sharing=max(0.0, total / max(sum(phase.tasks), 1e-12) - 1.0))
        for phase, total in zip(alone, totals, strict=True)
    ]


def steps_of_two(records: Sequence[tuple[int, str, float]]) -> list[dict[int, float]]:
    """Seconds of the phases of every step on two threads; notes of neighbours mix."""
    found: list[dict[int, float]] = []
    last = sys.maxsize
    for phase, _, seconds in records:
        if phase + 1 < last:
            found.append(defaultdict(float))
        found[-1][phase] += seconds
        last = phase if phase + 1 < last or phase > last else last
    return found


def seconds_of(phase: Phase, workers: int, crowded: bool = False) -> float:
    """How long a phase takes: whoever is free takes the next task."""
    slower = phase.slower(workers, crowded)
    free = [0.0] * min(workers, len(phase.tasks))
    for task in phase.tasks:
        heapq.heapreplace(free, free[0] + TICKET + task * slower)
    barrier = BARRIER * (workers - 1).bit_length() if workers > 1 else 0.0
    return max(free) + barrier


def predict(step: Sequence[Phase], workers: int, crowded: bool = False) -> float:
    """Seconds of a step; helpers are woken once."""
    return sum(seconds_of(phase, workers, crowded) for phase in step) + (WAKING if workers > 1 else 0.0)


def limit(step: Sequence[Phase], workers: int) -> tuple[str, float]:
    """The kind of phase that loses most to the ideal, and its part of what is lost."""
    lost: dict[str, float] = defaultdict(float)
    for phase in step:
        lost[phase.kind] += seconds_of(phase, workers) - sum(phase.tasks) / workers
    worst = max(lost, key=lambda kind: lost[kind])
    return worst, lost[worst] / max(sum(lost.values()), 1e-12)


def measure(model: Any, batch: int, rounds: int) -> tuple[list[Phase], float]:
    """The phases of a step, and seconds of one on two threads."""
    random = np.random.default_rng(0)
    x = random.standard_normal((batch, *model.input_shape[1:]), np.float32)
    y = random.integers(0, model.output_shape[-1], (batch, *model.output_shape[1:-1]))
    model.compile(gn.optimizers.SGD(0.001, momentum=0.9), "sparse_categorical_crossentropy")
    engine = model.network._engine
    records, times = {}, []
    before = gn.get_num_threads()
    try:
        for threads in (1, 2):
            gn.set_num_threads(threads)
            model.train_on_batch(x, y)
            engine.trace(True)
            for _ in range(rounds):
                model.train_on_batch(x, y)
            records[threads] = engine.trace(False)
        for _ in range(rounds):
            start = time.perf_counter()
            model.train_on_batch(x, y)
            times.append(time.perf_counter() - start)
    finally:
        gn.set_num_threads(before)
    return shared(phases(records[1]), records[2]), min(times)


def main() -> int:
    """Measures, schedules, prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", help="names; all of them if there are none")
    parser.add_argument("--rounds", type=int, default=7, help="steps of which the least durations count")
    parser.add_argument("--no-check", action="store_true", help="print the error of the prediction only")
    options = parser.parse_args()
    builders: dict[str, tuple[Callable[[], Any], int]] = {
        name: (functools.partial(_own.build, own), _BATCHES.get(name, _BATCH)) for name, own in MODELS.items()
    }
    builders.update(_ARCHITECTURES)
    print(
        "| model | batch | two threads ms | foretold | "
        + " | ".join(map(str, WORKERS))
        + f" | limits at 16 | {CROWDED}, crowded |"
    )
    print("|---|---:|---:|---:|" + "---:|" * len(WORKERS) + "---|---:|")
    wrong = []
    for name in options.models or builders:
        build, batch = builders[name]
        step, real = measure(build(), batch, options.rounds)
        alone, foretold = predict(step, 1), predict(step, 2)
        error = foretold / real - 1
        wrong += [name] if abs(error) > TOLERANCE else []
        cells = []
        for workers in WORKERS:
            gain = alone / predict(step, workers)
            cells.append(f"{gain:.1f} ({100 * gain / workers:.0f} %)")
        kind, part = limit(step, 16)
        crowded = predict(step, 1) / predict(step, CROWDED, crowded=True)
        print(
            f"| {name} | {batch} | {real * 1e3:.1f} | {100 * error:+.0f} % | {' | '.join(cells)} "
            f"| {kind}, {100 * part:.0f} % of the loss | {crowded:.1f} ({100 * crowded / CROWDED:.0f} %) |",
            flush=True,
        )
    if wrong:
        print(f"more than {TOLERANCE:.0%} off at two threads: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong and not options.no_check else 0


if __name__ == "__main__":
    sys.exit(main())
