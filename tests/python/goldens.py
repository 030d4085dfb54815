"""Digests of what the engine computes: weights after 20 steps of 30 models, and 300 functional calls.

They are the same on every tier that fuses multiply and add and for any number of threads, so a change that
should not touch results can be held against them. `python tests/python/goldens.py` writes
`reference/goldens.json` anew; a commit that does so says which sums changed and why.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import gridnn as gn
from gridnn import functional, layers

FILE = Path(__file__).parent / "reference" / "goldens.json"
STEPS = 20
CALLS = 300

_Stack = list[Any]


def _series(*stack: Any, shape: tuple[int, ...] = (40, 3)) -> gn.Sequential:
    return gn.Sequential([gn.Input(shape), *stack, layers.Flatten(), layers.Dense(4)], seed=3)


def _image(*stack: Any, shape: tuple[int, ...] = (14, 13, 3)) -> gn.Sequential:
    return _series(*stack, shape=shape)


def _volume(*stack: Any, shape: tuple[int, ...] = (7, 8, 6, 2)) -> gn.Sequential:
    return _series(*stack, shape=shape)


def _residual() -> gn.Sequential:
    body = [layers.Conv2D(8, 3, padding="same", use_bias=False), layers.BatchNormalization(), layers.ReLU()]
    return _image(layers.Conv2D(8, 1), layers.Residual(body), layers.MaxPooling2D(2))


MODELS: dict[str, tuple[Callable[[], gn.Sequential], str]] = {
    "lenet5": (lambda: gn.models.lenet5((28, 28, 1)), "sgd"),
    "resnet18": (lambda: gn.models.resnet(18, (32, 32, 3), 4, width=8), "sgd"),
    "resnet50": (lambda: gn.models.resnet(50, (32, 32, 3), 4, width=8), "adam"),
    "mobilenet": (lambda: gn.models.mobilenet((32, 32, 3), 4, alpha=0.25), "adam"),
    "vgg11": (lambda: gn.models.vgg(11, (32, 32, 3), 4, width=8, units=16), "adam"),
    "googlenet": (lambda: gn.models.googlenet((64, 64, 3), 4), "adam"),
    "unet2": (lambda: gn.models.unet((16, 16, 1), 2, width=8, depth=2), "adam"),
    "unet3": (lambda: gn.models.unet((8, 8, 8, 1), 2, width=4, depth=1, normalize=True), "adam"),
    "tcn": (lambda: gn.models.tcn((64, 1), 4, filters=8, levels=3, dropout=0.1), "adam"),
    "residual": (_residual, "rmsprop"),
    "conv1d same": (
        lambda: _series(layers.Conv1D(16, 5, padding="same", activation="relu"), layers.MaxPooling1D(2)),
        "adam",
    ),
    "conv1d causal": (
        lambda: _series(layers.Conv1D(9, 3, padding="causal", dilation_rate=4, activation="tanh")),
        "nadam",
    ),
    "conv1d strides": (lambda: _series(layers.Conv1D(16, 9, strides=4), layers.AveragePooling1D(3)), "adamw"),
    "conv2d winograd": (
        lambda: _image(
            layers.Conv2D(16, 3, padding="same", activation="relu"), layers.Conv2D(20, 3, padding="same")
        ),
        "adam",
    ),
    "conv2d five": (
        lambda: _image(layers.Conv2D(16, 5, padding="same"), layers.Conv2D(17, 5, activation="elu")),
        "adam",
    ),
    "large map": (
        lambda: _image(
            layers.Conv2D(4, 3, activation="relu"), layers.AveragePooling2D(8), shape=(96, 100, 1)
        ),
        "adam",
    ),
    "conv2d groups": (
        lambda: _image(layers.Conv2D(12, 1), layers.Conv2D(12, 3, groups=4, strides=2, padding="same")),
        "adagrad",
    ),
    "conv2d reflect": (
        lambda: _image(layers.Conv2D(8, 3, padding="same", padding_mode="reflect", dilation_rate=2)),
        "adam",
    ),
    "conv3d": (
        lambda: _volume(layers.Conv3D(9, 3, padding="same", activation="gelu"), layers.MaxPooling3D(2)),
        "adam",
    ),
    "transposed": (
        lambda: _image(
            layers.Conv2D(6, 3, strides=2), layers.Conv2DTranspose(5, 4, strides=2, padding="same")
        ),
        "adam",
    ),
    "transposed 3d": (lambda: _volume(layers.Conv3DTranspose(3, 2, strides=2)), "adamax"),
    "depthwise": (
        lambda: _image(layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="silu")),
        "lion",
    ),
    "separable": (lambda: _series(layers.SeparableConv1D(10, 5, padding="same")), "adadelta"),
    "normalizations": (
        lambda: _image(
            layers.Conv2D(8, 3), layers.GroupNormalization(4), layers.LayerNormalization(), layers.PReLU()
        ),
        "adam",
    ),
    "pools": (
        lambda: _image(
            layers.AveragePooling2D(3, strides=2, padding="same"), layers.AdaptiveMaxPooling2D((4, 3))
        ),
        "adam",
    ),
    "global pool": (
        lambda: _volume(layers.Conv3D(8, 3), layers.GlobalAveragePooling3D(), layers.Dense(9, "softplus")),
        "adam",
    ),
    "shapes": (
        lambda: _image(
            layers.ZeroPadding2D(1), layers.Cropping2D(2), layers.UpSampling2D(2), layers.Permute((2, 1, 3))
        ),
        "adam",
    ),
    "noise": (
        lambda: _image(
            layers.GaussianNoise(0.1), layers.Conv2D(8, 3), layers.SpatialDropout2D(0.3), layers.Dropout(0.2)
        ),
        "adam",
    ),
    "augmentation": (
        lambda: _image(
            layers.RandomFlip(), layers.RandomRotation(0.1), layers.RandomCrop(10, 9), layers.Conv2D(4, 3)
        ),
        "adam",
    ),
    "penalties": (
        lambda: _image(
            layers.Conv2D(8, 3, kernel_regularizer="l1_l2", kernel_constraint="max_norm"),
            layers.ActivityRegularization(l2=0.01),
        ),
        "adam",
    ),
    "parallel": (
        lambda: _image(
            layers.Parallel([[layers.Conv2D(4, 1)], [layers.Conv2D(5, 3, padding="same")]]),
            layers.LeakyReLU(),
        ),
        "adam",
    ),
}


def digest(*arrays: np.ndarray) -> str:
    """The first 16 digits of the SHA-256 of the bytes."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()[:16]


def model(name: str) -> str:
    """Digest of the weights after some steps, and of a prediction; RandomState's streams are frozen."""
    build, optimizer = MODELS[name]
    gn.set_random_seed(3)
    own, random = build(), np.random.RandomState(7)
    own.set_weights([random.uniform(-0.1, 0.1, w.shape) if w.ndim > 1 else w for w in own.get_weights()])
    own.compile(optimizer, "mse")
    x = random.uniform(-1, 1, (4, 9, *own.input_shape[1:])).astype(np.float32)
    y = random.uniform(-1, 1, (4, 9, *own.output_shape[1:])).astype(np.float32)
    for step in range(STEPS):
        own.train_on_batch(x[step % 4], y[step % 4])
    return digest(*own.get_weights(), own.predict(x[0], verbose=0))


def calls() -> Iterator[tuple[str, str]]:
    """Descriptions and digests of functional calls: convolutions with both gradients, and pools."""
    random = np.random.RandomState(5)
    for number in range(CALLS // 5):
        rank = 1 + number % 3
        size = [int(n) for n in random.randint(9, (60, 20, 12)[rank - 1], rank)]
        taps = [int(n) for n in random.choice([1, 2, 3, 3, 5], rank)]
        groups = int(random.choice([1, 1, 1, 2]))
        c_in, c_out = (int(n) * groups for n in random.randint(1, 40, 2) // groups + 1)
        options: dict[str, Any] = {"padding": str(random.choice(["valid", "same"])), "groups": groups}
        options[str(random.choice(["strides", "dilation_rate"]))] = int(random.choice([1, 1, 2]))
        dtype = np.float64 if number % 7 == 0 else np.float32
        normal = lambda *shape, dtype=dtype: random.uniform(-1, 1, shape).astype(dtype)  # noqa: E731
        x, kernel = normal(3, *size, c_in), normal(*taps, c_in // groups, c_out)
        name = f"{number}: {rank}d {size} {taps} {c_in} {c_out} {options} {np.dtype(dtype)}"
        call = lambda kind, rank=rank: getattr(functional, f"{kind}{rank}d")  # noqa: E731
        grad = lambda kind, rank=rank: getattr(functional, f"conv{rank}d_{kind}_grad")  # noqa: E731
        y = call("conv")(x, kernel, **options)
        dy = normal(*y.shape)
        yield f"{name} forward", digest(y)
        yield f"{name} input", digest(grad("input")(dy, kernel, x.shape, **options))
        yield f"{name} kernel", digest(grad("kernel")(x, dy, kernel.shape, **options))
        for kind in ("max_pool", "average_pool"):
            y = call(kind)(x, 2, strides=1 + number % 2)
            yield f"{name} {kind}", digest(y)


def everything() -> dict[str, dict[str, str]]:
    """All digests, by name."""
    return {"models": {name: model(name) for name in MODELS}, "calls": dict(calls())}


if __name__ == "__main__":
    FILE.write_text(json.dumps(everything(), indent=1) + "\n", encoding="utf-8")
