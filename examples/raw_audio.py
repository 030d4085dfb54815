"""Tells spoken digits apart by the sound wave itself, with a dilated causal network.

Data: the Free Spoken Digit Dataset (CC BY-SA 4.0) as one file, fsdd.npz: `audio` holds all recordings at
8 kHz end to end, `start` and `length` say where each one lies, `label` is the digit and `index` the number of
the take. The split is the one of its authors: takes 0 to 4 of every speaker and digit are the test set.
`spoken_digits.py` does the same with a spectrogram.

    python examples/raw_audio.py --data DIR
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gridnn as gn
from gridnn import layers
from gridnn.layers import Layer

SAMPLES = 8000  # a second; shorter recordings are padded, longer ones cut
BATCH, EPOCHS = 32, 12


def load(folder: Path) -> tuple[tuple[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]:
    """``((x, y), (xt, yt))``: waves of shape (n, 8000, 1), float32 with a peak of 1, and digits."""
    with np.load(folder / "fsdd.npz") as data:
        audio, start, length = data["audio"], data["start"], data["length"]
        y, test = data["label"], data["index"] < 5
    x = np.zeros((len(y), SAMPLES, 1), np.float32)
    for i, wave in enumerate(audio[s : s + n] for s, n in zip(start, length, strict=True)):
        x[i, : len(wave), 0] = wave[:SAMPLES] / np.abs(wave.astype(float)).max()
    return (x[~test], y[~test]), (x[test], y[test])


def causal(filters: int, size: int, **options: Any) -> list[Layer]:
    """A convolution that looks at the past only, and a batch normalization."""
    conv = layers.Conv1D(filters, size, padding="causal", use_bias=False, **options)
    return [conv, layers.BatchNormalization(momentum=0.9), layers.ReLU()]


def block(filters: int, dilation: int) -> list[Layer]:
    """A level of a temporal convolutional network (Bai, Kolter and Koltun, 2018)."""
    branch = [
        *causal(filters, 3, dilation_rate=dilation),
        *causal(filters, 3, dilation_rate=dilation),
        layers.SpatialDropout1D(0.1),
    ]
    return [layers.Residual(branch), layers.ReLU()]


def network() -> gn.Sequential:
    """Makes 250 frames of a wave, 4 ms each, then looks back further at every level, at last over all."""
    levels = [layer for dilation in (1, 2, 4, 8, 16, 32) for layer in block(64, dilation)]
    return gn.Sequential(
        [
            gn.Input((SAMPLES, 1)),
            *causal(64, 64, strides=4),
            layers.MaxPooling1D(8),
            *levels,
            layers.GlobalAveragePooling1D(),
            layers.Dense(10),
        ],
        seed=0,
    )


def optimizer(steps: int) -> gn.optimizers.Optimizer:
    """Adam, with a rate that falls to zero."""
    return gn.optimizers.Adam(gn.schedules.CosineDecay(2e-3, steps))


def main() -> None:
    """Trains the network and prints its accuracy on the test set."""
    parser = argparse.ArgumentParser(description="Dilated causal Conv1D on spoken digits.")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder with fsdd.npz")
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
    print(f"accuracy on {len(xt)} test recordings: {result['accuracy']:.1%}")


if __name__ == "__main__":
    main()
