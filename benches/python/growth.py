"""Time per sample of a training step as the batch grows, and how long the first step takes from a cold start.

    python benches/python/growth.py [--threads 2]

Medians of interleaved rounds, gridnn alone. The first step counts everything from the start of the
interpreter: imports, building, compiling, planning and one step on 32 samples.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from models import MODELS, data

import gridnn as gn
from gridnn.bench import _own

_NAMES = ("mnist-convnet", "lenet5", "cifar-vgg")
_BATCHES = (32, 64, 128, 256, 512, 1024)
_ROUNDS = 5
_FIRST = """
import numpy as np
import gridnn as gn
from gridnn import layers as l
model = gn.Sequential([gn.Input((28, 28, 1)), l.Conv2D(32, 3, activation="relu"), l.MaxPooling2D(),
                       l.Conv2D(64, 3, activation="relu"), l.MaxPooling2D(), l.Flatten(), l.Dense(10)])
model.compile("adam", "sparse_categorical_crossentropy")
model.train_on_batch(np.zeros((32, 28, 28, 1), np.float32), np.zeros(32, int))
"""


def microseconds(name: str) -> list[float]:
    """Of a training step, per sample, for every batch."""
    steps = []
    for batch in _BATCHES:
        model = _own.build(MODELS[name])
        x, y = data(MODELS[name], batch)
        model.train_on_batch(x, y)
        steps.append((model, x, y))
    found: list[list[float]] = [[] for _ in steps]
    for _ in range(_ROUNDS):
        for (model, x, y), times in zip(steps, found, strict=True):
            calls = max(1, 512 // len(x))
            model.train_on_batch(x, y)
            start = time.perf_counter()
            for _ in range(calls):
                model.train_on_batch(x, y)
            times.append((time.perf_counter() - start) / calls / len(x) * 1e6)
    return [statistics.median(times) for times in found]


def first_step() -> float:
    """Seconds from the start of an interpreter to its end, after one step."""
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", _FIRST], check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="time per sample as the batch grows")
    parser.add_argument("--threads", type=int, default=2)
    gn.set_num_threads(parser.parse_args().threads)
    print("| microseconds a sample, batch of | " + " | ".join(map(str, _BATCHES)) + " | most / least |")
    print("| --- |" + " ---: |" * (len(_BATCHES) + 1))
    for name in _NAMES:
        found = microseconds(name)
        cells = " | ".join(f"{value:.1f}" for value in found)
        print(f"| {name} | {cells} | {max(found) / min(found):.2f} |")
    print(f"\nFirst step of mnist-convnet, from the start of the interpreter: {first_step():.2f} s")


if __name__ == "__main__":
    main()
