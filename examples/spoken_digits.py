"""Tells spoken digits apart with one-dimensional convolutions over a spectrogram.

Data: the Free Spoken Digit Dataset (CC BY-SA 4.0) as one file, fsdd.npz: `audio` holds all recordings at
8 kHz end to end, `start` and `length` say where each one lies, `label` is the digit and `index` the number of
the take. The split is the one of its authors: takes 0 to 4 of every speaker and digit are the test set.

    python examples/spoken_digits.py --data DIR
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import gridnn as gn
from gridnn import layers

SAMPLES = 8000  # a second; shorter recordings are padded, longer ones cut
WINDOW, HOP = 256, 128


def spectrogram(wave: NDArray[np.int16]) -> NDArray[np.float32]:
    """The logarithm of the energy in 64 frequency bands (the channels) over 61 points in time."""
    padded = np.zeros(SAMPLES)
    padded[: min(len(wave), SAMPLES)] = wave[:SAMPLES] / np.abs(wave.astype(float)).max()
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * np.hanning(WINDOW)
    energy = np.abs(np.fft.rfft(frames))[:, 1:] ** 2
    bands: NDArray[np.float64] = energy.reshape(len(frames), 64, -1).mean(axis=2)
    return np.log(bands + 1e-4).astype(np.float32)


def load(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.bool_]]:
    """Reads the recordings as spectrograms.

    Returns:
        Spectrograms of shape (3000, 61, 64), digits, and which recordings belong to the test set.
    """
    with np.load(folder / "fsdd.npz") as data:
        audio, start, length = data["audio"], data["start"], data["length"]
        label, test = data["label"], data["index"] < 5
    x = np.stack([spectrogram(audio[s : s + n]) for s, n in zip(start, length, strict=True)])
    return x, label, test


def main() -> None:
    """Trains the network and prints its accuracy on the test set."""
    parser = argparse.ArgumentParser(description="Conv1D on spoken digits.")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder with fsdd.npz")
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the data, one epoch: only shows that it runs"
    )
    arguments = parser.parse_args()

    x, y, test = load(arguments.data)
    train = np.flatnonzero(~test)[:: 10 if arguments.quick else 1]
    mean, deviation = x[train].mean(), x[train].std()
    x = (x - mean) / deviation

    model = gn.Sequential(
        [
            gn.Input(x.shape[1:]),
            layers.Conv1D(64, 5, padding="same", activation="relu"),
            layers.MaxPooling1D(2),
            layers.Conv1D(96, 5, padding="same", activation="relu"),
            layers.MaxPooling1D(2),
            layers.Conv1D(128, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling1D(),
            layers.Dropout(0.3),
            layers.Dense(10),
        ],
        seed=0,
    )
    model.summary()
    model.compile(gn.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x[train], y[train], batch_size=32, epochs=1 if arguments.quick else 20, seed=0)
    result = model.evaluate(x[test], y[test], verbose=0, return_dict=True)
    print(f"accuracy on {test.sum()} test recordings: {result['accuracy']:.1%}")


if __name__ == "__main__":
    main()
