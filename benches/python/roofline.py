"""Where the time of a training step goes, and what share of the peak it reaches.

    python benches/python/roofline.py [MODEL ..] [--threads 2] [--seconds 2]

Needs Linux and `perf`, which looks at a process in a steady loop of training steps a thousand times a second
and notes the stack of every thread at work. A sample counts for the innermost function of `_PARTS` on its
stack. Threads that sleep are not looked at: "waiting" is what is left of the time of all threads, spinning
included. "Rest" is the engine around these: the gather, sums over chunks, the loss, borrows.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from models import BATCHES, MODELS, data

import gridnn as gn
from gridnn.bench import _own

_PARTS = {
    "forward": r"(ConvStep|DenseStep)<.*Step<.*::forward",
    "to input": r"(ConvStep|DenseStep)<.*Step<.*::backward",
    "to kernel": r"Accumulation<.*::(run|finish)|BatchStep<.*::grad",
    "transforms": r"transform",
    "pools": r"engine::layers::pool::.*::(forward|backward)",
    "weights": r"::pack_part|::pack_panel|pack::Matrix|engine::optim::",
    "waiting": r"wait_past|linger|threads::Pool::help|__sched_yield",
    "rest": r"StepProgram|Execution",
}
"""Columns and the functions that stand for them, innermost first where one calls another."""
_COLUMNS = (*_PARTS, "outside")

_HEADER = re.compile(r"^\S.*?\s(\d+)\s+([\d.]+):")
_FRAME = re.compile(r"^\s+[0-9a-f]+ (.*)")


def loop(name: str, batch: int, threads: int, seconds: float) -> None:
    """Trains for some seconds; prints when that began and ended, the steps, and the peak in FLOP/s."""
    gn.set_num_threads(threads)
    model = _own.build(MODELS[name])
    x, y = data(MODELS[name], batch)
    for _ in range(3):
        model.train_on_batch(x, y)
    peaks = [_own.peak(threads) for _ in range(9)]
    model.train_on_batch(x, y)
    steps, start = 0, time.monotonic()
    while time.monotonic() < start + seconds:
        model.train_on_batch(x, y)
        steps += 1
    print(start, time.monotonic(), steps, max(peaks))


def stacks(text: str, start: float, end: float) -> Iterator[list[str]]:
    """The samples of a time, as `perf script` prints them: functions, innermost first."""
    for sample in text.split("\n\n"):
        lines = sample.strip("\n").splitlines()
        header = _HEADER.match(lines[0]) if lines else None
        if header and start <= float(header[2]) <= end:
            yield [found[1] for line in lines[1:] if (found := _FRAME.match(line))]


def part(stack: list[str]) -> str:
    """The column that a sample counts for."""
    for frame in stack:
        for name, pattern in _PARTS.items():
            if re.search(pattern, frame):
                return name
    return "outside"


def measure(name: str, batch: int, threads: int, seconds: float) -> tuple[float, dict[str, float]]:
    """Percent of the peak, and the share of every part in the time of all threads."""
    rate = 997
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "perf.data")
        perf = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(rate), "--call-graph", "dwarf,8192"]
        own = [sys.executable, __file__, "--loop", name, str(batch), str(threads), str(seconds)]
        ran = subprocess.run(
            [*perf, "-k", "CLOCK_MONOTONIC", "-o", str(record), "--", *own],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        start, end, steps, reached = map(float, ran.stdout.split())
        script = ["perf", "script", "-i", str(record), "--no-inline", "-F", "comm,tid,time,ip,sym"]
        text = subprocess.run(script, check=True, capture_output=True, text=True).stdout
    counts = Counter(part(stack) for stack in stacks(text, start, end))
    total = (end - start) * rate * threads
    shares = {column: counts[column] / total for column in _COLUMNS}
    shares["waiting"] = max(0.0, 1 - sum(share for column, share in shares.items() if column != "waiting"))
    return 100 * MODELS[name].flops(batch, True) * steps / (end - start) / reached, shares


def main() -> None:
    """Measures and prints a table."""
    if sys.argv[1:2] == ["--loop"]:
        model, *numbers = sys.argv[2:]
        loop(model, int(numbers[0]), int(numbers[1]), float(numbers[2]))
        return
    parser = argparse.ArgumentParser(description="where the time of a training step goes")
    parser.add_argument("names", nargs="*", metavar="MODEL", default=list(MODELS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    print("| model | batch | % peak | " + " | ".join(_COLUMNS) + " |")
    print("| --- |" + " ---: |" * (len(_COLUMNS) + 2))
    for name in options.names:
        batch = max(BATCHES[name])
        percent, shares = measure(name, batch, options.threads, options.seconds)
        cells = " | ".join(f"{100 * shares[column]:.1f}" for column in _COLUMNS)
        print(f"| {name} | {batch} | {percent:.0f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
