"""Finds the two parts of the hippocampus, trained on scans and masks that are turned, zoomed and shifted.

The data are those of `hippocampus.py`. Between the inputs and the U-Net stand layers that move what is in a
scan; `fit` moves the masks with it, by the same draws, so that no pipeline of one's own has to keep both in
step. What else gets more out of ten minutes:

- Scans are cut to a box that holds all but 10 of the 681,941 labelled voxels of the training set, two fifths
  of their volume. What is outside it counts as background.
- At full size, where the most voxels are, each side of the U-Net has one convolution and not two: a step
  takes two thirds of the time, which pays for half as many again.
- Scanners give gray values on scales of their own: each scan is divided by its mean.
- Two voxels of a hundred are hippocampus. Where the network is not sure, cross-entropy has it say background,
  which is right more often than not and costs Dice: so the loss has Dice in it, and a label that is half as
  likely as background is taken for it. Both were found on scans held out from training.
- The weights that are kept are a moving average.

    python examples/hippocampus_augmented.py --data DIR
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from hippocampus import dice, load
from numpy.typing import NDArray

import gridnn as gn
from gridnn import layers

Array = NDArray[Any]
BATCH, EPOCHS = 2, 46
BOX = (slice(None), slice(8, 40), slice(8, 56), slice(4, 44))  # of all volumes; sizes are multiples of 8
LABELS = 2  # what the probability of a label counts for, beside that of background


class DiceAndCrossentropy(gn.losses.Loss):
    """Cross-entropy, and 1 minus the mean Dice coefficient of the labels of a scan, background left out."""

    targets = "labels"

    def call(self, y_true: Array, y_pred: Array) -> Any:
        """The loss of each scan."""
        share, truth, both, either = self._parts(y_true, y_pred)
        crossentropy = -np.log((share * truth).sum(axis=0) + 1e-9).mean(axis=-1)
        return crossentropy + 1 - (2 * both / either).mean(axis=0)

    def gradient(self, y_true: Array, y_pred: Array) -> Any:
        """Its derivative by the scores."""
        share, truth, both, either = self._parts(y_true, y_pred)
        by_share = np.zeros_like(share)
        by_share[1:] = (both / either**2)[..., np.newaxis] - truth[1:] / either[..., np.newaxis]
        by_share *= 2 / len(both)
        by_score = share * (by_share - (by_share * share).sum(axis=0)) + (share - truth) / share.shape[-1]
        return np.moveaxis(by_score, 0, -1).reshape(y_pred.shape)

    def _parts(self, y_true: Array, y_pred: Array) -> tuple[Array, Array, Array, Array]:
        """Shares of classes and the truth, (classes, scans, voxels), and what both hold, and either."""
        scans, classes = len(y_pred), y_pred.shape[-1]
        # With the classes in front NumPy goes over whole planes, which takes a quarter of the time.
        scores = np.moveaxis(y_pred, -1, 0).reshape(classes, scans, -1).astype(np.float32, order="C")
        share = np.exp(scores - scores.max(axis=0))
        share /= share.sum(axis=0)
        numbers = np.arange(classes, dtype=np.float32).reshape(-1, 1, 1)
        truth = (y_true.reshape(scans, -1).astype(np.float32) == numbers).astype(np.float32)
        both, either = (share * truth).sum(axis=-1), (share + truth).sum(axis=-1) + 1
        return share, truth, both[1:], either[1:]


def convolution(filters: int) -> list[layers.Layer]:
    """A convolution of 3 x 3 x 3, normalized."""
    return [
        layers.Conv3D(filters, 3, padding="same", use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
    ]


def level(filters: int, depth: int, convolutions: int = 2) -> list[layers.Layer]:
    """A level of a U-Net with all below it: `depth` pools, and twice the channels after each."""

    def side() -> list[layers.Layer]:
        return [layer for _ in range(convolutions) for layer in convolution(filters)]

    if not depth:
        return side()
    below = level(2 * filters, depth - 1)
    up = layers.Conv3DTranspose(filters, 2, strides=2)
    return [*side(), layers.Parallel([[], [layers.MaxPooling3D(2), *below, up]]), *side()]


def network(shape: tuple[int, ...]) -> gn.Sequential:
    """A U-Net with three pools and 16 to 128 channels behind layers that act in training only."""
    return gn.Sequential(
        [
            gn.Input(shape),
            layers.RandomBrightness(0.1, value_range=(0, 1)),
            layers.RandomContrast(0.2, value_range=(0, 1)),
            layers.RandomRotation(0.02, "constant"),
            layers.RandomZoom(0.05, fill_mode="constant"),
            layers.RandomTranslation(0.03, 0.03, "constant", depth_factor=0.03),
            layers.Rescaling(2.0, offset=-1.0),
            *level(16, depth=3, convolutions=1),
            layers.Conv3D(3, 1),
        ],
        seed=0,
    )


def alike(scans: Array) -> Array:
    """Scans with a mean of 0.45 where they are not empty, from 0 to 1."""
    means = np.array([scan[scan > 0].mean() for scan in scans], np.float32)
    result: Array = (scans * (0.45 / means.reshape(-1, 1, 1, 1, 1))).clip(0, 1)
    return result


def segmented(model: gn.Sequential, scans: Array) -> Array:
    """The labels that the model finds in whole scans."""
    labels = np.zeros(scans.shape[:-1], np.uint8)
    scores = model.predict(scans[BOX], batch_size=BATCH, verbose=0)
    labels[BOX] = (scores + np.log([1, LABELS, LABELS])).argmax(axis=-1)
    return labels


def main() -> None:
    """Trains the network and prints its Dice coefficients on the test set."""
    parser = argparse.ArgumentParser(description="A U-Net for volumes whose masks are augmented with them.")
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
    x, y, xt = alike(x)[BOX], y[BOX], alike(xt)

    model = network(x.shape[1:])
    model.summary()
    rate = gn.schedules.CosineDecay(3e-3, epochs * -(-len(x) // BATCH))
    model.compile(gn.optimizers.Adam(rate, use_ema=True), DiceAndCrossentropy())
    begin, processor = time.perf_counter(), time.process_time()
    model.fit(x, y, batch_size=BATCH, epochs=epochs, seed=0)
    seconds, processor = time.perf_counter() - begin, time.process_time() - processor
    print(f"training: {seconds:.0f} s, {processor:.0f} s of processors")
    anterior, posterior = dice(yt, segmented(model, xt))
    print(f"Dice: anterior {anterior:.3f}, posterior {posterior:.3f}")
    print(f"mean Dice on {len(xt)} test volumes: {(anterior + posterior) / 2:.3f}")


if __name__ == "__main__":
    main()
