"""Trains the networks of `examples/` in gridnn or in Keras and writes down what every epoch took and reached.

    python benches/python/examples.py land_use --data FOLDER --record FILE [--library keras]

Keras gets the same layers (`keras_twin`), the same initial weights, arrays, batch size, loss, optimizer and
schedule; what chance decides differs. The record is a file of JSON lines: one about the run, then one for
each epoch, with the seconds it took, the processor's seconds, and the score on the test set. A run that was
stopped goes on behind the last epoch of its record; with ``--limit`` it stops by itself in front of an epoch
that would go beyond that many seconds, and ends with status 3.

With ``--steps N`` nothing is recorded: for every line that comes in it trains for N steps and answers with
seconds and processor's seconds, for `example_pace.py`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from libraries import ROOT
from numpy.typing import NDArray

Array = NDArray[Any]
Split = tuple[tuple[Array, Array], tuple[Array, Array]]
UNFINISHED = 3


@dataclass(frozen=True)
class Example:
    """What is known about a script of `examples/` besides what it says itself.

    Attributes:
        folder: its folder in GRIDNN_DATA.
        target: the score that it has to reach.
        minutes: within this time on two cores.
        measure: what the score is.
    """

    folder: str
    target: float
    minutes: float
    measure: str = "accuracy"


EXAMPLES = {
    "hippocampus": Example("hippocampus-msd", 0.80, 15, "mean Dice"),
    "fashion_mnist": Example("fashion-mnist", 0.93, 6),
    "raw_audio": Example("fsdd", 0.95, 3),
    "land_use": Example("eurosat-rgb32", 0.90, 5),
}


class Trained(Protocol):
    """A compiled network of either library."""

    def epoch(self, x: Array, y: Array, number: int) -> None:
        """Trains for one epoch."""

    def predict(self, x: Array) -> Array:
        """The scores of the classes, the last axis."""

    def save(self, path: Path) -> None:
        """Writes everything that it takes to go on."""

    def load(self, path: Path) -> None:
        """Reads what `save` wrote."""


class Own:
    """The network of an example in gridnn."""

    suffix = ".gridnn"

    def __init__(self, script: ModuleType, steps: int, threads: int) -> None:
        import gridnn as gn

        gn.set_num_threads(threads)
        self.version = f"gridnn {gn.__version__} ({gn.simd_tier()})"
        self._batch = script.BATCH
        self._model = script.network()
        self._model.compile(script.optimizer(steps), "sparse_categorical_crossentropy")

    def epoch(self, x: Array, y: Array, number: int) -> None:
        """See `Trained`."""
        self._model.fit(
            x, y, batch_size=self._batch, epochs=number + 1, initial_epoch=number, verbose=0, seed=0
        )

    def predict(self, x: Array) -> Array:
        """See `Trained`."""
        outputs: Array = self._model.predict(x, batch_size=self._batch, verbose=0)
        return outputs

    def save(self, path: Path) -> None:
        """See `Trained`."""
        self._model.save(path)

    def load(self, path: Path) -> None:
        """See `Trained`."""
        import gridnn as gn

        self._model = gn.load_model(path)


class Keras:
    """Its twin in Keras."""

    suffix = ".keras"

    def __init__(self, script: ModuleType, steps: int, threads: int) -> None:
        import keras_twin

        self._keras = keras_twin.load(threads)
        self.version = keras_twin.version(self._keras)
        self._batch = script.BATCH
        self._model = keras_twin.model(self._keras, script.network())
        self._model.compile(
            keras_twin.optimizer(self._keras, script.optimizer(steps)),
            self._keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )

    def epoch(self, x: Array, y: Array, number: int) -> None:
        """See `Trained`."""
        self._model.fit(x, y, batch_size=self._batch, epochs=1, verbose=0)

    def predict(self, x: Array) -> Array:
        """See `Trained`."""
        outputs: Array = self._model.predict(x, batch_size=self._batch, verbose=0)
        return outputs

    def save(self, path: Path) -> None:
        """See `Trained`."""
        self._model.save(path)

    def load(self, path: Path) -> None:
        """See `Trained`."""
        self._model = self._keras.saving.load_model(path)


def script_of(name: str) -> ModuleType:
    """The module of an example."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def score_of(script: ModuleType, y: Array, outputs: Array) -> float:
    """Mean Dice where the example has it, else accuracy."""
    predicted = outputs.argmax(axis=-1)
    return float(np.mean(script.dice(y, predicted) if hasattr(script, "dice") else predicted == y))


def held_out(split: Split, share: int = 10) -> Split:
    """Every tenth sample of the training set in place of the test set, to choose settings with."""
    (x, y), _ = split
    test = np.arange(len(x)) % share == 0
    return (x[~test], y[~test]), (x[test], y[test])


def train(
    library: Callable[[ModuleType, int, int], Any],
    script: ModuleType,
    split: Split,
    options: argparse.Namespace,
) -> bool:
    """Trains from where the record ends; False if the limit came first."""
    (x, y), (xt, yt) = split
    record: Path = options.record
    begun = time.perf_counter()
    model = library(script, script.EPOCHS * -(-len(x) // script.BATCH), options.threads)
    saved = record.with_suffix(model.suffix)
    if record.exists():
        done = len(record.read_text().splitlines()) - 1
        if done:
            model.load(saved)
    else:
        done = 0
        _append(
            record,
            {"library": model.version, "threads": options.threads, "samples": len(x), **_now()},
        )
    longest = 0.0
    for number in range(
        done, script.EPOCHS if options.epochs is None else min(options.epochs, script.EPOCHS)
    ):
        if options.limit and time.perf_counter() - begun + 1.2 * longest > options.limit:
            return False
        wall, cpu = time.perf_counter(), time.process_time()
        model.epoch(x, y, number)
        seconds, processor = time.perf_counter() - wall, time.process_time() - cpu
        score = score_of(script, yt, model.predict(xt))
        longest = max(longest, time.perf_counter() - wall)
        model.save(saved)
        line = {"epoch": number + 1, "seconds": round(seconds, 2), "cpu": round(processor, 2), "score": score}
        _append(record, {**line, "load": round(os.getloadavg()[0], 2)})
        print(f"epoch {number + 1}: {seconds:.1f} s, {processor:.1f} s of CPU, score {score:.4f}", flush=True)
    return True


def take_turns(
    library: Callable[[ModuleType, int, int], Any],
    script: ModuleType,
    split: Split,
    options: argparse.Namespace,
) -> None:
    """Trains for some steps whenever a line comes in."""
    (x, y), _ = split
    rows = options.steps * script.BATCH
    steps = -(-len(x) // script.BATCH)
    model = library(script, script.EPOCHS * steps, options.threads)
    x, y = x[:rows], y[:rows]
    model.epoch(x, y, 0)  # compiles, plans and warms up
    about = {"version": model.version, "steps": steps, "epochs": script.EPOCHS, "batch": script.BATCH}
    print(json.dumps(about), flush=True)
    for number, _ in enumerate(sys.stdin):
        wall, cpu = time.perf_counter(), time.process_time()
        model.epoch(x, y, number + 1)
        seconds = [(time.perf_counter() - wall) / options.steps, (time.process_time() - cpu) / options.steps]
        print(json.dumps(seconds), flush=True)


def _now() -> dict[str, str]:
    """When, and at which commit."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return {"date": date, "commit": commit.stdout.strip()}


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def main() -> None:
    """Reads the command line and trains."""
    parser = argparse.ArgumentParser(description="Examples, epoch by epoch, in gridnn or in Keras.")
    parser.add_argument("name", choices=EXAMPLES)
    parser.add_argument(
        "--data", type=Path, required=True, help="the folder that holds those of all examples"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--record", type=Path, help="file of JSON lines; the model lies beside it")
    what.add_argument("--steps", type=int, help="steps to take for every line that comes in")
    parser.add_argument("--library", choices=("gridnn", "keras"), default="gridnn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, help="stop behind so many, of the example's schedule")
    parser.add_argument("--limit", type=float, help="seconds for this process")
    parser.add_argument(
        "--validate", action="store_true", help="score a tenth of the training set, not the test set"
    )
    options = parser.parse_args()
    script = script_of(options.name)
    folder = options.data / EXAMPLES[options.name].folder
    if hasattr(script, "load"):
        split: Split = script.load(folder)
    else:
        import gridnn as gn

        split = gn.datasets.fashion_mnist(folder)
    if options.validate:
        split = held_out(split)
    library = Own if options.library == "gridnn" else Keras
    if options.steps is not None:
        take_turns(library, script, split, options)
    elif not train(library, script, split, options):
        sys.exit(UNFINISHED)


if __name__ == "__main__":
    main()
