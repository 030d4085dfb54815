"""Finds enlarged adrenal glands from their shape with three-dimensional convolutions.

Data: AdrenalMNIST3D of MedMNIST v2 (Yang et al., 2023, CC BY 4.0), adrenalmnist3d.npz at 28 x 28 x 28
voxels: binary masks of glands, label 1 for hyperplasia. Three quarters of the test set are healthy, so the
area under the ROC curve (the chance that a sick gland scores higher than a healthy one) says more than
accuracy.

    python examples/adrenal_shapes.py --data DIR
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import gridnn as gn
from gridnn import layers


def load(path: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The masks (values 0 and 255, with a channel axis) and labels of "train", "val" or "test"."""
    with np.load(path) as data:
        return data[f"{part}_images"][..., np.newaxis], data[f"{part}_labels"].ravel()


def area_under_curve(scores: NDArray[np.floating], labels: NDArray[np.uint8]) -> float:
    """The share of (sick, healthy) pairs that the scores put in the right order; a tie counts half."""
    difference = scores[labels == 1][:, np.newaxis] - scores[labels == 0]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def main() -> None:
    """Trains the network and prints the area under the ROC curve on the test set."""
    parser = argparse.ArgumentParser(description="Conv3D on shapes of adrenal glands.")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="the folder with adrenalmnist3d.npz"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the data, one epoch: only shows that it runs"
    )
    arguments = parser.parse_args()

    x, y = load(arguments.data / "adrenalmnist3d.npz", "train")
    xt, yt = load(arguments.data / "adrenalmnist3d.npz", "test")
    if arguments.quick:
        x, y = x[::10], y[::10]

    model = gn.Sequential(
        [
            gn.Input((28, 28, 28, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv3D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling3D(2),
            layers.Conv3D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling3D(2),
            layers.Conv3D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling3D(2),
            layers.Flatten(),
            layers.Dropout(0.4),
            layers.Dense(64, activation="relu"),
            layers.Dense(2, activation="softmax"),
        ],
        seed=0,
    )
    model.summary()
    model.compile(gn.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=32, epochs=1 if arguments.quick else 12, seed=0)
    scores = model.predict(xt, verbose=0)[:, 1]
    print(f"area under the ROC curve on {len(xt)} test shapes: {area_under_curve(scores, yt):.3f}")


if __name__ == "__main__":
    main()
