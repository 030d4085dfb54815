"""Draws the thumbnails of docs/gallery.md from the data sets of the examples and the record of their runs.

Example:
    python tools/draw_gallery.py --data DIR
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

import gridnn as gn

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "pictures" / "gallery"
COLOURS = {"gridnn": "#0072B2", "keras": "#9AA0A6"}


def main() -> None:
    """Draws all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with the data sets")
    data = parser.parse_args().data
    mpl.use("agg")
    OUT.mkdir(parents=True, exist_ok=True)

    (x, y), _ = gn.datasets.fashion_mnist(data / "fashion-mnist")
    first = [int(np.flatnonzero(y == k)[3]) for k in range(10)]
    save("fashion_mnist", gn.plot.images(x[first], columns=5))

    with np.load(data / "eurosat-rgb32" / "eurosat_rgb32.npz") as arrays:
        x, y = arrays["x_train"], arrays["y_train"]
    first = [int(np.flatnonzero(y == k)[1]) for k in range(10)]
    save("land_use", gn.plot.images(x[first], columns=5))

    with np.load(data / "adrenalmnist3d" / "adrenalmnist3d.npz") as arrays:
        masks = arrays["train_images"][:10] / 255
    save("adrenal_shapes", gn.plot.images(masks.sum(axis=1), columns=5))

    sound = gn.lab.sound()[:, 0]
    spectrum = np.array(
        [
            np.abs(np.fft.rfft(part * np.hanning(128)))
            for part in np.lib.stride_tricks.sliding_window_view(sound, 128)[::16]
        ]
    )
    ax = plt.subplots(figsize=(4.4, 2.0), layout="constrained")[1]
    ax.imshow(np.log(spectrum.T + 1e-3), origin="lower", aspect="auto", cmap="viridis")
    ax.set_axis_off()
    save("spoken_digits", ax)

    curve("hippocampus", "mean Dice")
    curve("raw_audio", "accuracy")


def curve(name: str, score: str) -> None:
    """The score of a test set over the minutes of training, beside that of Keras."""
    ax = plt.subplots(figsize=(4.4, 2.0), layout="constrained")[1]
    for library, colour in COLOURS.items():
        file = ROOT / "benches" / "record" / "examples" / f"{name}-{library}.jsonl"
        lines: list[dict[str, Any]] = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        epochs = [line for line in lines if "epoch" in line]
        minutes = np.cumsum([line["seconds"] for line in epochs]) / 60
        label = "Keras" if library == "keras" else library
        ax.plot(minutes, [line["score"] for line in epochs], color=colour, label=label, linewidth=2)
    ax.set_xlabel("minutes of training")
    ax.set_ylabel(score)
    ax.legend(frameon=False, loc="lower right")
    ax.spines[["top", "right"]].set_visible(False)
    save(name, ax)


def save(name: str, ax: Axes) -> None:
    """Writes a picture for screens."""
    figure: Any = ax.get_figure()
    figure.savefig(OUT / f"{name}.png", dpi=110, bbox_inches="tight", pad_inches=0.04)
    plt.close(figure)


if __name__ == "__main__":
    main()
