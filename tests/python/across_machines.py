"""What must be equal to the byte on every machine, as lines to compare.

`layers` prints a digest for each layer, loss, metric, optimizer and activation, `models` those of the golden
models (with `rank`: one for each), `begin FOLDER` trains a network of each rank, saves it and goes on,
`continue FOLDER` loads what was saved and goes on. Both print digests of the weights at the end.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import goldens
import numpy as np

import gridnn as gn
from gridnn import layers

SHAPES = {1: (40, 3), 2: (13, 14, 3), 3: (7, 8, 6, 2)}
SAMPLES = 24


def _network(rank: int) -> gn.Sequential:
    conv = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}[rank]
    pool = {1: layers.MaxPooling1D, 2: layers.MaxPooling2D, 3: layers.MaxPooling3D}[rank]
    return gn.Sequential(
        [
            gn.Input(SHAPES[rank]),
            conv(17, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            pool(2),
            conv(9, 3, padding="same"),
            layers.Activation("gelu"),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(5, activation="softmax"),
        ],
        seed=rank,
    )


def _train(model: gn.Sequential, rank: int, first: int) -> None:
    rng = np.random.default_rng(rank)
    x = rng.normal(size=(SAMPLES, *SHAPES[rank])).astype(np.float32)
    y = rng.integers(0, 5, SAMPLES)
    for step in range(first, first + 3):
        rows = slice(8 * (step % 3), 8 * (step % 3) + 8)
        model.train_on_batch(x[rows], y[rows])


def _digest(model: gn.Sequential) -> str:
    return hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()


def begin(folder: Path) -> Iterator[str]:
    """Trains, saves halfway, trains on."""
    folder.mkdir(parents=True, exist_ok=True)
    for rank in SHAPES:
        model = _network(rank)
        model.compile("adamw", "sparse_categorical_crossentropy")
        _train(model, rank, 0)
        model.save(folder / f"{rank}.gridnn")
        _train(model, rank, 3)
        yield f"rank {rank} {_digest(model)}"


def go_on(folder: Path) -> Iterator[str]:
    """Loads, trains on."""
    for rank in SHAPES:
        model = gn.load_model(folder / f"{rank}.gridnn")
        _train(model, rank, 3)
        yield f"rank {rank} {_digest(model)}"


def names(only: str | None) -> list[str]:
    """Those of the golden models; with "rank" one for each."""
    every = list(goldens.MODELS)
    if only is None:
        return every
    return [next(name for name in every if name.startswith(f"conv{rank}d")) for rank in SHAPES]


def main(command: str, *arguments: str) -> None:
    """Prints the lines of a command."""
    if command == "layers":
        import test_tiers

        lines = test_tiers.digests()
    elif command == "models":
        lines = (f"{name} {goldens.model(name)}" for name in names(arguments[0] if arguments else None))
    else:
        lines = {"begin": begin, "continue": go_on}[command](Path(arguments[0]))
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
