"""Predictions of one model in several Python threads, against one thread and against a model for each.

    python benches/python/side_by_side.py [--threads 2] [--seconds 1] [--rounds 5] [MODEL ..]

Each Python thread calls `predict_on_batch` in a loop, and every call is held to one thread of the engine, so
that the threads of Python are all that runs. Rounds of the three are interleaved, and the median counts. One
model shared by two threads should answer 1.8 times as many calls as one thread does; the answers must have
the bytes of the first.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Sequence

import numpy as np

import gridnn as gn
from gridnn import layers

TARGET = 1.8


def _tiny() -> gn.Sequential:
    return gn.Sequential([gn.Input((8,)), layers.Dense(8, activation="relu"), layers.Dense(2)], seed=1)


def _digits() -> gn.Sequential:
    stack = [
        gn.Input((28, 28, 1)),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(10, activation="softmax"),
    ]
    return gn.Sequential(stack, seed=1)


def _pictures() -> gn.Sequential:
    stack = [layers.Conv2D(64, 3, padding="same", activation="relu") for _ in range(4)]
    return gn.Sequential([gn.Input((48, 48, 3)), *stack, layers.GlobalAveragePooling2D()], seed=1)


MODELS = {
    "tiny, 1 sample": (_tiny, (1, 8)),
    "digits, 1 sample": (_digits, (1, 28, 28, 1)),
    "digits, 32 samples": (_digits, (32, 28, 28, 1)),
    "pictures, 8 samples": (_pictures, (8, 48, 48, 3)),
}


def calls_per_second(
    models: Sequence[gn.Sequential], x: np.ndarray, seconds: float, expected: bytes
) -> float:
    """Calls in a second of all threads, one for each of some models, which may be the same one."""
    begin, counts, wrong = threading.Barrier(len(models) + 1), [0] * len(models), []

    def run(number: int) -> None:
        model, count = models[number], 0
        begin.wait()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            result = model.predict_on_batch(x)
            count += 1
        counts[number] = count
        if result.tobytes() != expected:
            wrong.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(models))]
    for thread in threads:
        thread.start()
    begin.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    if wrong:
        raise SystemExit("the threads got other bytes than one alone")
    return sum(counts) / (time.perf_counter() - start)


def main() -> None:
    """Prints calls per second and ratios to one thread."""
    options = argparse.ArgumentParser(description="Predictions of one model in several threads.")
    options.add_argument("models", nargs="*", metavar="MODEL", help="parts of names; all models if none")
    options.add_argument("--threads", type=int, default=2, help="threads of Python")
    options.add_argument("--seconds", type=float, default=1.0, help="of a round")
    options.add_argument("--rounds", type=int, default=5, help="the median of so many counts")
    arguments = options.parse_args()
    gn.set_num_threads(1)
    print(f"{'':20} {'one thread':>12} {'a model each':>18} {'one model':>18}   calls in a second")
    for name, (make, shape) in MODELS.items():
        if arguments.models and not any(part in name for part in arguments.models):
            continue
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        shared = make()
        copies = [make() for _ in range(arguments.threads)]
        expected = shared.predict_on_batch(x).tobytes()
        ways = {"alone": [shared], "copies": copies, "shared": [shared] * arguments.threads}
        found: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(arguments.rounds):
            for way, models in ways.items():
                found[way].append(calls_per_second(models, x, arguments.seconds, expected))
        alone, each, one = (statistics.median(found[way]) for way in ways)
        verdict = "" if one >= TARGET * alone or arguments.threads != 2 else f" (below {TARGET})"
        ratios = f"{each:12.0f} {each / alone:5.2f} {one:12.0f} {one / alone:5.2f}"
        print(f"{name:20} {alone:12.0f} {ratios}{verdict}")
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        print("without the global lock")


if __name__ == "__main__":
    main()
