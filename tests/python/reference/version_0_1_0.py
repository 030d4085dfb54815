"""Writes version_0_1_0.gridnn: a file of version 0.1.0, which has no checksum. Every later version reads it.

It was run once, by version 0.1.0 (commit 8dac526); running it again would make a file of another version.
"""

from pathlib import Path

import numpy as np

import gridnn as gn
from gridnn import layers


def main() -> None:
    """Trains a small model, and keeps what it predicts in its file's neighbour."""
    model = gn.Sequential(
        [
            gn.Input((6, 6, 1)),
            layers.Conv2D(2, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(3, kernel_initializer="orthogonal"),
        ],
        seed=1,
    )
    model.compile("adam", "ce")
    x = (np.arange(4 * 36) % 7).reshape(4, 6, 6, 1).astype(np.float32)
    model.fit(x, np.array([0, 1, 2, 0]), epochs=2, batch_size=2, seed=3, verbose=0)
    path = Path(__file__).with_suffix(".gridnn")
    model.save(path)
    np.savetxt(path.with_suffix(".txt"), model.predict(x, verbose=0), fmt="%.9e")


if __name__ == "__main__":
    main()
