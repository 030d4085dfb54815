"""The six models of the training-step bench; `peers` builds them from these descriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gridnn.bench import peers
else:
    from libraries import peers

__all__ = ["BATCHES", "CLASSES", "MODELS", "data"]

CLASSES = 10


def _same(filters: int, kernel: int, stride: int = 1) -> tuple[Any, ...]:
    return ("conv", filters, kernel, stride, "same")


def _valid(filters: int, kernel: int) -> tuple[Any, ...]:
    return ("conv", filters, kernel, 1, "valid")


def _dense(*units: int) -> tuple[tuple[Any, ...], ...]:
    return tuple(("dense", n) for n in (*units, CLASSES))


_P2, _P4, _FLATTEN, _GAP = ("pool", 2), ("pool", 4), ("flatten",), ("gap",)

_MNIST = (_valid(32, 3), _P2, _valid(64, 3), _P2, _FLATTEN, *_dense())
_LENET = (_same(6, 5), _P2, _valid(16, 5), _P2, _FLATTEN, *_dense(120, 84))
_VGG = tuple(layer for n in (32, 64, 128) for layer in (_same(n, 3), _same(n, 3), _P2))
_SEED = (_same(64, 5), _same(64, 5), _P2, _GAP, *_dense())
_AUDIO = (_same(16, 9, 4), _P4, _same(32, 9), _P4, _same(64, 9), _GAP, *_dense())
_VOXEL = (_same(16, 3), _P2, _same(32, 3), _P2, _FLATTEN, *_dense(64))

_ALL: tuple[tuple[peers.Network, tuple[int, ...]], ...] = (
    (peers.Network("mnist-convnet", (28, 28, 1), _MNIST), (1, 32, 128)),
    (peers.Network("lenet5", (28, 28, 1), _LENET), (32, 128)),
    (peers.Network("cifar-vgg", (32, 32, 3), (*_VGG, _FLATTEN, *_dense(128))), (32, 128)),
    (peers.Network("seed-128", (128, 128, 3), _SEED), (8,)),
    (peers.Network("audio-1d", (8000, 1), _AUDIO), (32,)),
    (peers.Network("voxel-3d", (32, 32, 32, 1), _VOXEL), (16,)),
)

MODELS = {model.name: model for model, _ in _ALL}
BATCHES = {model.name: batches for model, batches in _ALL}


def data(model: peers.Network, batch: int) -> tuple[peers.Array, peers.Array]:
    """Normal inputs and uniform labels."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *model.input_shape), np.float32)
    return x, rng.integers(0, CLASSES, batch)
