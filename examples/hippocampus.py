"""Finds the two parts of the hippocampus in scans of brains with a three-dimensional U-Net.

Data: task 4 of the Medical Segmentation Decathlon (Simpson and others, 2019; CC BY-SA 4.0) as one file,
hippocampus.npz: 208 volumes of 48 x 64 x 48 voxels to train with and 52 to test with, and for every voxel
whether it is background (0), anterior (1) or posterior (2) hippocampus. 98 voxels of a hundred are
background, so accuracy says nothing: the measure is the Dice coefficient, twice what mask and prediction
share over what both hold.

    python examples/hippocampus.py --data DIR
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gridnn as gn
from gridnn import layers

BATCH, EPOCHS = 2, 12


def load(folder: Path) -> tuple[tuple[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]:
    """``((x, y), (xt, yt))``: scans of shape (n, 48, 64, 48, 1) and masks without channels, both uint8."""
    with np.load(folder / "hippocampus.npz") as data:
        x, y, test = data["image"][..., np.newaxis], data["mask"], data["is_test"]
    return (x[~test], y[~test]), (x[test], y[test])


def network() -> gn.Sequential:
    """A U-Net with three pools and 8 to 64 channels: a score for each of three classes at every voxel."""
    shape = (48, 64, 48, 1)
    return gn.Sequential(
        [
            gn.Input(shape),
            layers.Rescaling(1 / 127.5, offset=-1),
            gn.models.unet(shape, classes=3, width=8, depth=3, normalize=True),
        ],
        seed=0,
    )


def optimizer(steps: int) -> gn.optimizers.Optimizer:
    """Adam, with a rate that falls to zero."""
    return gn.optimizers.Adam(gn.schedules.CosineDecay(3e-3, steps))


def dice(masks: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.float64]:
    """Dice coefficients of labels 1 and 2, each the mean over the volumes."""
    axes = (1, 2, 3)
    return np.array(
        [
            np.mean(
                2
                * ((masks == label) & (predicted == label)).sum(axes)
                / ((masks == label).sum(axes) + (predicted == label).sum(axes))
            )
            for label in (1, 2)
        ]
    )


def main() -> None:
    """Trains the network and prints its Dice coefficients on the test set."""
    parser = argparse.ArgumentParser(description="A U-Net for volumes.")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="the folder with hippocampus.npz"
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
    model.compile(optimizer(epochs * -(-len(x) // BATCH)), "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=BATCH, epochs=epochs, seed=0)
    anterior, posterior = dice(yt, model.predict(xt, batch_size=BATCH, verbose=0).argmax(axis=-1))
    print(f"Dice: anterior {anterior:.3f}, posterior {posterior:.3f}")
    print(f"mean Dice on {len(xt)} test volumes: {(anterior + posterior) / 2:.3f}")


if __name__ == "__main__":
    main()
