"""Do "auto" and "direct" train alike? Loss curves of the cifar-vgg model, beside those of other seeds.

    python benches/python/curves.py FILE.npz --record FILE.json [--most RUNS]

The first file holds arrays x_train, y_train, x_test, y_test, with images of 32 x 32. For each of some
seeds (initial weights and order of the samples) Adam trains with direct convolution and with "auto"
(Winograd's algorithm wherever the rule takes it). The two differ by rounding alone; training amplifies
that, so the claim is not that the curves of a seed are equal but that they lie no further apart than
those of two seeds do.

The distance of two curves is the mean over all epochs of their absolute difference. The program fails if
the mean distance of "auto" from direct, over the seeds, exceeds that of the pairs of seeds by more than
chance explains: two standard errors of the difference. It says as well by how much "auto" is better or
worse on average.

Every finished run goes to the record, and a later call does those that are missing, at most so many.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from models import MODELS
from numpy.typing import NDArray
from options import replace_text

import gridnn as gn
from gridnn.bench import _own

Arrays = dict[str, NDArray[Any]]
Curves = dict[str, dict[str, list[float]]]
"""Of every run ("auto 0"): what it reports after each epoch."""

_ALGORITHMS = "direct", "auto"
_METRICS = "loss", "val_loss", "val_accuracy"
_ERRORS = 2.0


def curve(data: Arrays, algorithm: str, seed: int, epochs: int) -> dict[str, list[float]]:
    """What a run reports after each epoch."""
    gn.set_convolution_algorithm(algorithm)
    x, x_test = (data[name].astype(np.float32) / 255 for name in ("x_train", "x_test"))
    net = _own.build(MODELS["cifar-vgg"], seed=seed)
    net.compile(gn.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    options: dict[str, Any] = {"batch_size": 32, "verbose": 0, "seed": seed}
    history = net.fit(x, data["y_train"], epochs=epochs, validation_data=(x_test, data["y_test"]), **options)
    return {name: [float(value) for value in history.history[name]] for name in _METRICS}


def complete(
    data: Arrays, curves: Curves, seeds: int, epochs: int, most: int | None, record: Path | None
) -> bool:
    """Does the missing runs, at most so many; returns whether all are there."""
    missing = [
        (f"{algorithm} {seed}", algorithm, seed)
        for seed in range(seeds)
        for algorithm in _ALGORITHMS
        if len(curves.get(f"{algorithm} {seed}", {}).get("loss", ())) != epochs
    ]
    for name, algorithm, seed in missing[:most]:
        curves[name] = curve(data, algorithm, seed, epochs)
        print(f"{name}: validation accuracy {curves[name]['val_accuracy'][-1]:.4f}", file=sys.stderr)
        if record is not None:
            replace_text(record, json.dumps(curves, indent=1) + "\n")
    return most is None or len(missing) <= most


@dataclass(frozen=True)
class Comparison:
    """Distances of curves in one metric: of the algorithms, seed by seed, and of pairs of seeds."""

    algorithms: tuple[float, ...]
    seeds: tuple[float, ...]
    change: tuple[float, ...]
    """By how much "auto" lies above direct, seed by seed."""

    @classmethod
    def of(cls, curves: Curves, metric: str, seeds: int) -> Comparison:
        """Compares all runs."""
        direct, auto = (
            [np.array(curves[f"{algorithm} {seed}"][metric]) for seed in range(seeds)]
            for algorithm in _ALGORITHMS
        )
        return cls(
            algorithms=tuple(_distance(*pair) for pair in zip(auto, direct, strict=True)),
            seeds=tuple(_distance(*pair) for pair in itertools.combinations(direct, 2)),
            change=tuple(float((a - d).mean()) for a, d in zip(auto, direct, strict=True)),
        )

    @property
    def alike(self) -> bool:
        """Whether the algorithms lie no further apart than seeds do, but for chance."""
        errors = _error(self.algorithms), _error(self.seeds, runs=len(self.algorithms))
        return _mean(self.algorithms) <= _mean(self.seeds) + _ERRORS * math.hypot(*errors)

    def __str__(self) -> str:
        runs = len(self.algorithms)
        cells = (
            f"{_mean(self.algorithms):.4f} ± {_error(self.algorithms):.4f}",
            f"{_mean(self.seeds):.4f} ± {_error(self.seeds, runs=runs):.4f}",
            f"{_mean(self.change):+.4f} ± {_error(self.change):.4f}",
        )
        return " | ".join(cells)


def _distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(np.abs(one - other).mean())


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _error(values: Sequence[float], runs: int | None = None) -> float:
    """Standard error of the mean; pairs of `runs` runs count as that many, because they share them."""
    return float(np.std(values, ddof=1)) / math.sqrt(runs or len(values))


def table(curves: Curves, seeds: int, epochs: int) -> str:
    """The means over the seeds, epoch by epoch."""
    lines = ["| mean of the seeds | " + " | ".join(f"epoch {i + 1}" for i in range(epochs)) + " |"]
    lines.append("| --- |" + " ---: |" * epochs)
    for metric, algorithm in itertools.product(_METRICS, _ALGORITHMS):
        mean = np.mean([curves[f"{algorithm} {seed}"][metric] for seed in range(seeds)], axis=0)
        cells = " | ".join(f"{value:.3f}" for value in mean)
        lines.append(f"| {metric}, {algorithm} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description="loss curves of auto and direct convolution")
    parser.add_argument("file", type=Path)
    parser.add_argument("--record", type=Path, metavar="FILE", help="runs that are done, and where they go")
    parser.add_argument("--most", type=int, metavar="RUNS", help="so many runs at most in this call")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=4, help="two at least (%(default)s)")
    parser.add_argument("--samples", type=int, help="train with so many of the images only")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("two seeds at least")
    with np.load(options.file) as file:
        data = dict(file)
    for name in ("x_train", "y_train"):
        data[name] = data[name][: options.samples]
    record: Path | None = options.record
    curves: Curves = json.loads(record.read_text()) if record is not None and record.exists() else {}
    if not complete(data, curves, options.seeds, options.epochs, options.most, record):
        sys.exit("some runs are missing; call again")
    print(table(curves, options.seeds, options.epochs))
    print("\n| mean distance | auto and direct of a seed | direct of two seeds | auto minus direct |")
    print("| --- | ---: | ---: | ---: |")
    found = {metric: Comparison.of(curves, metric, options.seeds) for metric in _METRICS}
    for metric, comparison in found.items():
        print(f"| {metric} | {comparison} |")
    apart = [metric for metric, comparison in found.items() if not comparison.alike]
    sys.exit(f"auto and direct lie further apart than two seeds: {', '.join(apart)}" if apart else 0)


if __name__ == "__main__":
    main()
