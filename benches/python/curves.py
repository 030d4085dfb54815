"""Do "auto" and "direct" train alike? Loss curves of the cifar-vgg model, beside those of another seed.

    python benches/python/curves.py FILE.npz     # arrays x_train, y_train, x_test, y_test; images of 32 x 32

Three runs of Adam: direct convolution, the same seed with "auto" (Winograd's algorithm wherever the rule
takes it), and direct with another seed for weights and order. The first two differ by rounding alone;
training amplifies that, so the claim is not that their curves are equal but that they lie no further apart
than two seeds do. The program fails where they do, judged by the mean distance over all epochs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gridnn as gn
from gridnn import layers

Arrays = dict[str, NDArray[Any]]

_RUNS = {"direct": ("direct", 0), "auto": ("auto", 0), "direct, other seed": ("direct", 1)}
_METRICS = "loss", "val_loss", "val_accuracy"


def model(input_shape: tuple[int, ...], classes: int, seed: int) -> gn.Sequential:
    """The cifar-vgg model of the training-step bench."""
    stack: list[Any] = [gn.Input(input_shape)]
    for filters in (32, 64, 128):
        stack += [layers.Conv2D(filters, 3, padding="same", activation="relu") for _ in range(2)]
        stack.append(layers.MaxPooling2D(2))
    stack += [layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(classes)]
    return gn.Sequential(stack, seed=seed)


def curve(data: Arrays, algorithm: str, seed: int, epochs: int) -> Arrays:
    """What a run reports after each epoch."""
    gn.set_convolution_algorithm(algorithm)
    x, x_test = (data[name].astype(np.float32) / 255 for name in ("x_train", "x_test"))
    net = model(x.shape[1:], int(data["y_train"].max()) + 1, seed)
    net.compile(
        optimizer=gn.optimizers.Adam(0.001),
        loss=gn.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    options: dict[str, Any] = {"batch_size": 32, "verbose": 0, "seed": seed}
    history = net.fit(x, data["y_train"], epochs=epochs, validation_data=(x_test, data["y_test"]), **options)
    return {name: np.array(history.history[name]) for name in _METRICS}


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description="loss curves of auto and direct convolution")
    parser.add_argument("file", type=Path)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--samples", type=int, help="train with so many of the images only")
    options = parser.parse_args()
    with np.load(options.file) as file:
        data = dict(file)
    for name in ("x_train", "y_train"):
        data[name] = data[name][: options.samples]
    curves = {name: curve(data, *run, options.epochs) for name, run in _RUNS.items()}
    print(
        "| run | " + " | ".join(f"{name} {i + 1}" for name in _METRICS for i in range(options.epochs)) + " |"
    )
    for name, found in curves.items():
        values = (f"{value:.4f}" for metric in _METRICS for value in found[metric])
        print(f"| {name} | " + " | ".join(values) + " |")
    apart = False
    for metric in _METRICS:
        reference = curves["direct"][metric]
        near, far = (
            np.abs(curves[name][metric] - reference).mean() for name in ("auto", "direct, other seed")
        )
        print(f"{metric}: mean distance of auto {near:.4f}, of another seed {far:.4f}")
        apart |= bool(near > far)
    sys.exit("auto and direct lie further apart than two seeds" if apart else 0)


if __name__ == "__main__":
    main()
