"""Maps what land is used for on an image of 4000 x 4000 pixels, window by window.

The data is that of `land_use.py`, laid out as mosaics of its small images, every pixel labelled with the
land of its image. A network that labels pixels learns on mosaics of 64 x 64 pixels; on the large one it goes
from window to window, so that neither the image nor the map has to fit into memory with all that a network
computes from them.

    python examples/large_image.py --data DIR
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gridnn as gn
from gridnn import layers

TILE, BATCH, EPOCHS = 32, 16, 10


def mosaic(
    images: NDArray[np.uint8], labels: NDArray[np.uint8], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """`count` x `count` images side by side, and the label of every pixel."""
    chosen = rng.integers(0, len(images), (count, count))
    pixels = images[chosen].transpose(0, 2, 1, 3, 4).reshape(count * TILE, count * TILE, 3)
    return pixels, np.repeat(np.repeat(labels[chosen], TILE, axis=0), TILE, axis=1)


def network() -> gn.Sequential:
    """A score for each of ten kinds of land at every pixel, from the 60 pixels or so around it."""
    dilated: list[Any] = []
    for rate in (1, 2, 4, 8):
        conv = layers.Conv2D(24, 3, padding="same", dilation_rate=rate, use_bias=False)
        dilated += [conv, layers.BatchNormalization(), layers.ReLU()]
    return gn.Sequential(
        [
            gn.Input((None, None, 3)),
            layers.RandomFlip("horizontal_and_vertical"),
            layers.RandomContrast(0.1),
            layers.Rescaling(1 / 127.5, offset=-1),
            *dilated,
            layers.Conv2D(10, 1),
        ],
        seed=0,
    )


def main() -> None:
    """Trains the network and prints how many pixels of the large image it gets right."""
    parser = argparse.ArgumentParser(description="A large image by windows.")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="the folder with eurosat_rgb32.npz"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one epoch, a small image: only shows that it runs"
    )
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    with np.load(arguments.data / "eurosat_rgb32.npz") as data:
        train, test = (data["x_train"], data["y_train"]), (data["x_test"], data["y_test"])
    pairs = [mosaic(*train, 2, rng) for _ in range(32 if arguments.quick else 1600)]
    x, y = (np.stack(part) for part in zip(*pairs, strict=True))

    model = network()
    model.summary()
    epochs = 1 if arguments.quick else EPOCHS
    rate = gn.schedules.CosineDecay(5e-3, epochs * -(-len(x) // BATCH))
    model.compile(gn.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=BATCH, epochs=epochs, class_weight="balanced", seed=0)
    model.release_memory()

    count = 8 if arguments.quick else 125
    with tempfile.TemporaryDirectory() as folder:
        image, truth = mosaic(*test, count, rng)
        size = len(image)
        file = np.memmap(Path(folder, "image.bin"), np.uint8, "w+", shape=image.shape)
        file[:] = image
        del image
        map_ = np.memmap(Path(folder, "map.bin"), np.uint8, "w+", shape=(size, size))
        begin, processor = time.perf_counter(), time.process_time()
        model.predict_windows(file, window=256, reduce="argmax", out=map_, verbose=0)
        seconds, processor = time.perf_counter() - begin, time.process_time() - processor
        right = float((map_ == truth).mean())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{size} x {size} pixels: {seconds:.1f} s, {processor:.1f} s of processors, peak {peak:.0f} MB")
        print(f"accuracy on {size * size} pixels: {right:.1%}")
        del file, map_


if __name__ == "__main__":
    main()
