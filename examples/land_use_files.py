"""Tells what land is used for from a folder of PNG files, a subfolder for each kind of land.

The data is that of `land_use.py`; the files are written first, which takes Pillow (`gridnn[image]`).

    python examples/land_use_files.py --data DIR
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import gridnn as gn
from gridnn import layers

BATCH, EPOCHS = 64, 18
NAMES = [
    "AnnualCrop",
    "Forest",
    "HerbaceousVegetation",
    "Highway",
    "Industrial",
    "Pasture",
    "PermanentCrop",
    "Residential",
    "River",
    "SeaLake",
]


def write_files(source: Path, folder: Path, share: int) -> None:
    """Writes the first of `share` parts of the images to ``folder/train``, and the test set, by class."""
    with np.load(source / "eurosat_rgb32.npz") as data:
        for part in ("train", "test"):
            images, labels = data[f"x_{part}"], data[f"y_{part}"]
            for name in NAMES:
                (folder / part / name).mkdir(parents=True)
            for number in range(len(images) // (share if part == "train" else 1)):
                Image.fromarray(images[number]).save(
                    folder / part / NAMES[labels[number]] / f"{number:05}.png"
                )


def network() -> gn.Sequential:
    """ResNet-20 behind layers that turn, shift and colour images in training only.

    A landscape has no up and no left, so all flips and quarter turns of one are as likely as itself.
    """
    return gn.Sequential(
        [
            gn.Input((32, 32, 3)),
            layers.RandomFlip("horizontal_and_vertical"),
            layers.RandomTranslation(1 / 8, 1 / 8, interpolation="nearest"),
            layers.RandomBrightness(0.05),
            layers.RandomContrast(0.1),
            layers.Rescaling(1 / 127.5, offset=-1),
            gn.models.resnet(20, (32, 32, 3), classes=10),
        ],
        seed=0,
    )


def main() -> None:
    """Writes the files, trains the network and prints its accuracy on the test set."""
    parser = argparse.ArgumentParser(description="A residual network for a folder of images.")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="the folder with eurosat_rgb32.npz"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a fifth of the data, one epoch: only shows that it runs"
    )
    arguments = parser.parse_args()
    epochs = 1 if arguments.quick else EPOCHS
    with tempfile.TemporaryDirectory() as folder:
        write_files(arguments.data, Path(folder), 5 if arguments.quick else 1)
        train = gn.data.image_folder(Path(folder, "train"), batch_size=BATCH)
        test = gn.data.image_folder(Path(folder, "test"), batch_size=BATCH)
        model = network()
        model.summary()
        steps = epochs * len(train)
        rate = gn.schedules.CosineDecay(0.0, 0.8 * steps, warmup_target=0.1, warmup_steps=0.2 * steps)
        optimizer = gn.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=5e-3)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        begin, processor = time.perf_counter(), time.process_time()
        model.fit(train, epochs=epochs, seed=0)
        seconds, processor = time.perf_counter() - begin, time.process_time() - processor
        print(f"training: {seconds:.0f} s, {processor:.0f} s of processors")
        result = model.evaluate(test, verbose=0, return_dict=True)
        print(f"accuracy on {test.samples} test images: {result['accuracy']:.1%}")


if __name__ == "__main__":
    main()
