"""Tells clothes apart with a small residual network that never sees the same image twice.

Data: Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017; MIT licence), the four IDX files of its authors: 60,000
grey images of 28 x 28 pixels to train with and 10,000 to test with, ten kinds of clothes.

    python examples/fashion_mnist.py --data DIR
"""

import argparse
from pathlib import Path

import gridnn as gn
from gridnn import layers
from gridnn.layers import Layer

BATCH, EPOCHS = 128, 14


def normalized(filters: int, size: int = 3, strides: int = 1) -> list[Layer]:
    """A convolution and a batch normalization, which makes a bias useless."""
    return [
        layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False),
        layers.BatchNormalization(momentum=0.9),
    ]


def block(filters: int, strides: int = 1) -> list[Layer]:
    """Two convolutions and a shortcut around them; with `strides` the image shrinks and channels grow."""
    branch = [*normalized(filters, strides=strides), layers.ReLU(), *normalized(filters)]
    shortcut = normalized(filters, size=1, strides=strides) if strides > 1 else None
    return [layers.Residual(branch, shortcut), layers.ReLU()]


def network() -> gn.Sequential:
    """Eight layers with weights, 309,000 weights; images are flipped and shifted in training only."""
    return gn.Sequential(
        [
            gn.Input((28, 28, 1)),
            layers.Rescaling(1 / 255),
            layers.RandomFlip("horizontal"),
            layers.RandomTranslation(1 / 28, 1 / 28, fill_mode="constant", interpolation="nearest"),
            *normalized(32),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            *block(32),
            *block(64, strides=2),
            *block(128, strides=2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ],
        seed=0,
    )


def optimizer(steps: int) -> gn.optimizers.Optimizer:
    """Momentum, with a rate that rises for a fifth of the steps and then falls to zero."""
    rate = gn.schedules.CosineDecay(0.0, 0.8 * steps, warmup_target=0.1, warmup_steps=0.2 * steps)
    return gn.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=5e-3)


def main() -> None:
    """Trains the network and prints its accuracy on the test set."""
    parser = argparse.ArgumentParser(description="A residual network for Fashion-MNIST.")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="the folder with the four IDX files"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a hundredth of the data, one epoch: only shows that it runs"
    )
    arguments = parser.parse_args()

    (x, y), (xt, yt) = gn.datasets.fashion_mnist(arguments.data)
    epochs = EPOCHS
    if arguments.quick:
        x, y, epochs = x[::100], y[::100], 1

    model = network()
    model.summary()
    model.compile(
        optimizer(epochs * -(-len(x) // BATCH)), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.fit(x, y, batch_size=BATCH, epochs=epochs, seed=0)
    result = model.evaluate(xt, yt, batch_size=BATCH, verbose=0, return_dict=True)
    print(f"accuracy on {len(xt)} test images: {result['accuracy']:.2%}")


if __name__ == "__main__":
    main()
