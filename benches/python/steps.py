"""Training steps and inference of six models against PyTorch, Keras on TensorFlow, and JAX.

`python benches/python/steps.py [MODEL ..] [--threads 2,1] [--quick] [--json FILE] [--peers-python PATH]`

Everybody starts from the same weights; before anything is timed, outputs and the losses of three steps must
agree. Percent of the peak: operations that the model needs (no input gradient of the first layer), by those
that a loop which only multiplies and adds reaches with as many threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from models import BATCHES, MODELS, data
from options import Options, Record, parser
from rounds import Result, Team, agreeing, compare

KEYS = ("model", "batch", "step", "threads")
_STEPS = ("train", "infer")
_TOLERANCES = {"train": 2e-3, "infer": 1e-3}
"""Losses relative to the first; outputs relative to the largest."""

_TRAIN = {
    "lenet5": 3.0,
    "mnist-convnet": 2.5,
    "audio-1d": 2.0,
    "voxel-3d": 1.5,
    "cifar-vgg": 1.2,
    "seed-128": 1.1,
}
_FLOOR = 0.97


def target(model: str, batch: int, step: str, threads: int) -> float:
    """How many times as long the best of the others should take, at least, with direct convolution."""
    if threads == 1:
        return _FLOOR
    if step == "train":
        return 3.0 if batch == 1 else _TRAIN[model]
    slow = model in ("cifar-vgg", "seed-128") or (model == "mnist-convnet" and batch == 128)
    return _FLOOR if slow else 1.5


def measure(team: Team, name: str, batch: int, options: Options) -> dict[str, Result]:
    """Checks and times one model at one batch size: a result for training, one for inference."""
    model = MODELS[name]
    with team.problem() as folder:
        team.own.ask("weights", model=name, to=str(folder / "weights.npz"))
        with np.load(folder / "weights.npz") as weights:
            x, y = data(model, batch)
            np.savez(folder / "arrays.npz", x=x, y=y, **dict(weights))
        request = {"do": "network", "file": str(folder / "arrays.npz"), "model": name}
        subjects, notes = agreeing(team, folder, _TOLERANCES, request)
        return {
            step: compare(
                team, subjects[step], model.flops(batch, step == "train"), options.pace, notes[step]
            )
            for step in _STEPS
        }


def main() -> None:
    """Measures, prints a table, writes a file."""
    options = Options(parser(__doc__).parse_args(), without=("scipy", "numpy"))
    record = Record(options, KEYS)
    for threads in options.threads:
        with Team(options.libraries, threads, options.python) as team:
            record.begin(team)
            for name, batches in BATCHES.items():
                for batch in batches:
                    wanted = options.wants(f"{name} b{batch}")
                    if not wanted or record.has(model=name, batch=batch, step=_STEPS[-1], threads=threads):
                        continue
                    for step, result in measure(team, name, batch, options).items():
                        named: dict[str, Any] = {
                            "model": name,
                            "batch": batch,
                            "step": step,
                            "threads": threads,
                        }
                        record.add(result.record(**named, target=target(**named)))
    record.show("step")


if __name__ == "__main__":
    main()
