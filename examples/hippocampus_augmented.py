"""Finds the two parts of the hippocampus, trained on scans and masks that are turned, zoomed and shifted.

The data and the U-Net are those of `hippocampus.py`. Between the inputs and the network stand layers that
move what is in a scan; `fit` moves the masks with it, by the same draws, so that no pipeline of one's own
has to keep both in step.

    python examples/hippocampus_augmented.py --data DIR
"""

import argparse
import time
from pathlib import Path

from hippocampus import dice, load

import gridnn as gn
from gridnn import layers

BATCH, EPOCHS = 2, 16


def network() -> gn.Sequential:
    """A U-Net with three pools and 8 to 64 channels behind layers that act in training only."""
    shape = (48, 64, 48, 1)
    return gn.Sequential(
        [
            gn.Input(shape),
            layers.Rescaling(1 / 255),
            layers.RandomBrightness(0.1, value_range=(0, 1)),
            layers.RandomContrast(0.2, value_range=(0, 1)),
            layers.RandomRotation(0.03, "constant"),
            layers.RandomZoom(0.1, fill_mode="constant"),
            layers.RandomTranslation(0.05, 0.05, "constant", depth_factor=0.05),
            layers.Rescaling(2.0, offset=-1.0),
            gn.models.unet(shape, classes=3, width=8, depth=3, normalize=True),
        ],
        seed=0,
    )


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

    model = network()
    model.summary()
    rate = gn.schedules.CosineDecay(3e-3, epochs * -(-len(x) // BATCH))
    model.compile(gn.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    begin, processor = time.perf_counter(), time.process_time()
    model.fit(x, y, batch_size=BATCH, epochs=epochs, seed=0)
    seconds, processor = time.perf_counter() - begin, time.process_time() - processor
    print(f"training: {seconds:.0f} s, {processor:.0f} s of processors")
    anterior, posterior = dice(yt, model.predict(xt, batch_size=BATCH, verbose=0).argmax(axis=-1))
    print(f"Dice: anterior {anterior:.3f}, posterior {posterior:.3f}")
    print(f"mean Dice on {len(xt)} test volumes: {(anterior + posterior) / 2:.3f}")


if __name__ == "__main__":
    main()
