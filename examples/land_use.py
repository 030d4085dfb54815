"""Tells what land is used for, seen from a satellite, with ResNet-20.

Data: EuroSAT (Helber, Bischke, Dengel and Borth, 2019; MIT licence), a subset in colour at 32 x 32 pixels,
eurosat_rgb32.npz: 7,000 images to train with and 2,000 to test with, ten kinds of land.

    python examples/land_use.py --data DIR
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gridnn as gn
from gridnn import layers

BATCH, EPOCHS = 64, 16


def load(folder: Path) -> tuple[tuple[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]:
    """``((x, y), (xt, yt))``: images of shape (n, 32, 32, 3) and labels, both uint8."""
    with np.load(folder / "eurosat_rgb32.npz") as data:
        return (data["x_train"], data["y_train"]), (data["x_test"], data["y_test"])


def network() -> gn.Sequential:
    """ResNet-20 of the paper's section 4.2 behind layers that flip and shift images in training only.

    A landscape has no up and no left, so all flips of one are as likely as itself.
    """
    return gn.Sequential(
        [
            gn.Input((32, 32, 3)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.RandomFlip("horizontal_and_vertical"),
            layers.RandomTranslation(1 / 8, 1 / 8, interpolation="nearest"),
            gn.models.resnet(20, (32, 32, 3), classes=10),
        ],
        seed=0,
    )


def optimizer(steps: int) -> gn.optimizers.Optimizer:
    """Momentum, with a rate that rises for a fifth of the steps and then falls to zero."""
    rate = gn.schedules.CosineDecay(0.0, 0.8 * steps, warmup_target=0.1, warmup_steps=0.2 * steps)
    return gn.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=5e-3)


def main() -> None:
    """Trains the network and prints its accuracy on the test set."""
    parser = argparse.ArgumentParser(description="A residual network for EuroSAT.")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="the folder with eurosat_rgb32.npz"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the data, one epoch: only shows that it runs"
    )
    arguments = parser.parse_args()

    (x, y), (xt, yt) = load(arguments.data)
    epochs = EPOCHS
    if arguments.quick:
        x, y, epochs = x[::10], y[::10], 1

    model = network()
    model.summary()
    model.compile(
        optimizer(epochs * -(-len(x) // BATCH)), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.fit(x, y, batch_size=BATCH, epochs=epochs, seed=0)
    result = model.evaluate(xt, yt, batch_size=BATCH, verbose=0, return_dict=True)
    print(f"accuracy on {len(xt)} test images: {result['accuracy']:.1%}")


if __name__ == "__main__":
    main()
