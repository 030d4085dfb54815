"""Draws the pictures of the README into docs/pictures.

Example:
    python tools/make_pictures.py
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np

import gridnn as gn
from gridnn import layers

mpl.use("agg")

import matplotlib.pyplot as plt

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"


def save(name: str) -> None:
    """Writes the current figure and closes it."""
    plt.savefig(FOLDER / name, dpi=110, bbox_inches="tight", pad_inches=0.05)
    plt.close()


def arithmetic() -> None:
    """Three convolutions and what one output of each reads."""
    _, places = plt.subplots(1, 3, figsize=(9, 2.6), layout="constrained")
    gn.plot.conv_arithmetic((5, 5), 3, 2, 1, position=(1, 1), ax=places[0])
    gn.plot.conv_arithmetic((7, 7), 3, dilation_rate=2, position=4, ax=places[1])
    gn.plot.conv_arithmetic((3, 3), 3, 2, 1, transposed=True, position=(1, 3), ax=places[2])
    save("arithmetic.png")


def fields() -> None:
    """Receptive fields over an image, and how strongly they are used."""
    stack: list[layers.Layer] = [gn.Input((64, 64, 1))]
    for i in range(3):
        stack.append(layers.Conv2D(8, 3, padding="same", activation="relu", name=f"conv_{i + 1}"))
        stack.append(layers.MaxPooling2D(2, name=f"pool_{i + 1}"))
    model = gn.Sequential(stack, seed=0)
    _, places = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained", width_ratios=[1.25, 1])
    gn.plot.receptive_field(model, gn.lab.image(64), position=(0.45, 0.4), ax=places[0])
    noise = np.random.default_rng(0).normal(size=(64, 64, 64, 1))
    influence = gn.inspect.effective_receptive_field(model, "conv_3", noise)
    field = next(found for found in gn.inspect.receptive_field(model) if found.name == "conv_3")
    gn.plot.effective_receptive_field(influence, field=field.of(8, 8), ax=places[1])
    places[1].set_title("what conv_3 really looks at", fontsize=9)
    save("fields.png")


def hierarchy() -> None:
    """What excites the filters of a network for digits."""
    (x, y), _ = gn.datasets.digits()
    model = gn.Sequential(
        [
            gn.Input((8, 8, 1)),
            layers.Rescaling(1 / 16),
            layers.Conv2D(12, 3, activation="relu", name="first"),
            layers.Conv2D(12, 3, activation="relu", name="second"),
            layers.Conv2D(12, 3, activation="relu", name="third"),
            layers.Flatten(),
            layers.Dense(10),
        ],
        seed=0,
    )
    model.compile(gn.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=15, verbose=0, seed=0)
    patches = {
        name: [gn.inspect.top_patches(model, name, i, x, 4) for i in range(5)]
        for name in ("first", "second", "third")
    }
    gn.plot.feature_hierarchy(patches)
    save("hierarchy.png")


def main() -> None:
    """Draws all pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for draw in (arithmetic, fields, hierarchy):
        draw()


if __name__ == "__main__":
    main()
