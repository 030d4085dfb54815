"""Training steps and inference of known architectures against PyTorch and Keras on TensorFlow.

`python benches/python/architectures.py [NAME ..] [--threads 2,1] [--quick] [--json FILE]`; a NAME may be
"resnet18-64 b16".

A second table of models, beside the small ones of `steps.py`: what people take from a shelf, without dropout,
trained by gradient descent with momentum. Everybody starts from the same weights; before anything is timed,
outputs and the losses of three steps must agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from chains import describe
from libraries import peers
from options import Options, Record, parser
from rounds import Pace, Result, Team, agreeing, compare

__all__ = ["ARCHITECTURES", "KEYS", "Architecture", "main"]

KEYS = ("model", "batch", "step", "threads")
_STEPS = ("train", "infer")
_OUTPUTS = 1e-3
"""How far outputs may be apart, relative to the largest."""
_DEEP = 5e-2
"""Fifty normalised layers of random weights amplify roundings: PyTorch's layouts differ by half as much."""
_FEW_SAMPLES = 16
"""With fewer, such a network normalises over so few positions that its third loss is a matter of roundings:
it differs by 0.2 between PyTorch's own layouts."""


@dataclass(frozen=True)
class Architecture:
    """A model, its batches, and how many times as long the best of the others should take at two threads."""

    build: Callable[[], Any]
    batches: tuple[int, ...] = (4, 16, 64)
    train: float = 2.0
    infer: float = 2.0
    losses: float = 2e-3
    """How far losses may be apart, relative to the first."""

    def compared(self, batch: int) -> dict[str, int | None]:
        """How many of the three losses of training must agree; all of them if None."""
        return {"train": 2 if self.losses == _DEEP and batch < _FEW_SAMPLES else None}

    def target(self, step: str) -> float:
        """For a step."""
        return self.train if step == "train" else self.infer


def _models() -> Any:
    from gridnn import models  # the workers of the other libraries have no gridnn

    return models


ARCHITECTURES = {
    "resnet18-64": Architecture(lambda: _models().resnet(18, (64, 64, 3), 10)),
    "resnet18-96": Architecture(lambda: _models().resnet(18, (96, 96, 3), 10)),
    "resnet50-64": Architecture(
        lambda: _models().resnet(50, (64, 64, 3), 10), train=1.5, infer=1.3, losses=_DEEP
    ),
    "resnet50-96": Architecture(
        lambda: _models().resnet(50, (96, 96, 3), 10), train=1.5, infer=1.3, losses=_DEEP
    ),
    "mobilenet-64": Architecture(lambda: _models().mobilenet((64, 64, 3), 10, dropout=0.0)),
    "mobilenet-96": Architecture(lambda: _models().mobilenet((96, 96, 3), 10, dropout=0.0)),
    "vgg16-64": Architecture(
        lambda: _models().vgg(16, (64, 64, 3), 10, units=512, dropout=0.0), train=1.5, infer=1.3
    ),
    "googlenet-64": Architecture(
        lambda: _models().googlenet((64, 64, 3), 10, dropout=0.0), train=1.5, infer=1.3
    ),
    "unet2-128": Architecture(lambda: _models().unet((128, 128, 1), 2), (4, 16)),
    "unet3-48": Architecture(lambda: _models().unet((48, 48, 48, 1), 2, width=16, depth=3), (2, 8)),
    "tcn-4000": Architecture(lambda: _models().tcn((4000, 1), 10)),
}


def measure(team: Team, name: str, batch: int, pace: Pace) -> dict[str, Result]:
    """Checks and times one architecture at one batch size: a result for training, one for inference."""
    architecture = ARCHITECTURES[name]
    model = architecture.build()
    tolerances = {"train": architecture.losses, "infer": _OUTPUTS}
    chain, macs = describe(model.layers), [count or 0 for count in model.network.macs]
    random = np.random.default_rng(0)
    x = random.standard_normal((batch, *model.input_shape[1:]), np.float32)
    y = random.integers(0, model.output_shape[-1], (batch, *model.output_shape[1:-1]))
    first = next(count for count in macs if count)
    flops = {"train": 2 * batch * (3 * sum(macs) - first), "infer": 2 * batch * sum(macs)}
    with team.problem() as folder:
        np.savez(folder / "arrays.npz", *model.get_weights(), x=x, y=y)
        request = {"do": "chain", "file": str(folder / "arrays.npz"), "model": name, "chain": chain}
        subjects, notes = agreeing(team, folder, tolerances, request, architecture.compared(batch))
        return {step: compare(team, subjects[step], flops[step], pace, notes[step]) for step in _STEPS}


def own_tasks(name: str, weights: list[Any], x: Any, y: Any) -> tuple[peers.Task, peers.Task]:
    """The same of gridnn."""
    from chains import MOMENTUM, RATE

    import gridnn as gn

    model = ARCHITECTURES[name].build()
    model.set_weights(weights)
    model.compile(gn.optimizers.SGD(RATE, momentum=MOMENTUM), "sparse_categorical_crossentropy")
    return (
        peers.Task(
            lambda: model.train_on_batch(x, y),
            lambda: [np.array([float(model.train_on_batch(x, y)) for _ in range(3)])],
        ),
        peers.Task(lambda: model.predict_on_batch(x), lambda: [model.predict_on_batch(x)]),
    )


def main() -> None:
    """Measures, prints a table, writes a file."""
    options = Options(parser(__doc__).parse_args(), without=("scipy", "numpy", "jax"))
    record = Record(options, KEYS)
    for threads in options.threads:
        with Team(options.libraries, threads, options.python) as team:
            record.begin(team)
            for name, architecture in ARCHITECTURES.items():
                for batch in architecture.batches:
                    wanted = options.wants(f"{name} b{batch}")
                    if not wanted or record.has(model=name, batch=batch, step=_STEPS[-1], threads=threads):
                        continue
                    for step, result in measure(team, name, batch, options.pace).items():
                        row = {"model": name, "batch": batch, "step": step, "threads": threads}
                        record.add(result.record(**row, target=architecture.target(step)))
    record.show("step")


if __name__ == "__main__":
    main()
