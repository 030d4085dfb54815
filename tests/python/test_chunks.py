"""Chunks of a batch: the same bytes for any number of threads on the architectures, memory, long sums."""

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import gridnn as gn
from gridnn import functional, layers
from gridnn._core import fused_tiers

# The portable tier cuts the same chunks, and takes minutes.
pytestmark = pytest.mark.skipif(gn.simd_tier() not in fused_tiers(), reason="the tiers that fuse are enough")

THREADS = (1, 2, 3, 5, 8)
# Chunks of two and of three samples with a short last one, and too few samples for chunks.
BATCHES = (4, 13, 19)

MODELS: dict[str, Callable[[], Any]] = {
    "resnet18": lambda: gn.models.resnet(18, (32, 32, 3), 4, width=16),
    "resnet50": lambda: gn.models.resnet(50, (32, 32, 3), 4, width=8),
    "mobilenet": lambda: gn.models.mobilenet((32, 32, 3), 4, alpha=0.25),
    "vgg16": lambda: gn.models.vgg(16, (32, 32, 3), 4, width=16, units=16),
    "googlenet": lambda: gn.models.googlenet((64, 64, 3), 4),
    "unet2": lambda: gn.models.unet((32, 32, 1), 2, width=8, depth=3),
    "unet3": lambda: gn.models.unet((16, 16, 16, 1), 2, width=4, depth=2, normalize=True),
    "tcn": lambda: gn.models.tcn((128, 1), 4, filters=8, levels=4),
}


@contextmanager
def threads(count):
    before = gn.get_num_threads()
    gn.set_num_threads(count)
    try:
        yield
    finally:
        gn.set_num_threads(before)


def trained(first, batch, steps=2):
    """Losses and all weights, statistics among them, after some steps of a copy."""
    gn.set_random_seed(3)  # That of dropout.
    model = gn.models.clone_model(first)
    model.set_weights(first.get_weights())
    random = np.random.RandomState(3)
    x = random.uniform(-1, 1, (batch, *model.input_shape[1:])).astype(np.float32)
    y = random.uniform(-1, 1, (batch, *model.output_shape[1:])).astype(np.float32)
    model.compile(gn.optimizers.SGD(0.01, momentum=0.9), "mse")
    losses = [model.train_on_batch(x, y) for _ in range(steps)]
    return losses, b"".join(weight.tobytes() for weight in model.get_weights())


def test_batches_of_128_are_work_for_sixteen_threads():
    """Chunks, blocks of large kernels as tasks, and what they give: the same bytes for any threads."""
    same = {"padding": "same", "activation": "relu"}
    stack = [gn.Input((16, 16, 1)), layers.Conv2D(8, 3, **same), layers.MaxPooling2D(4)]
    stack += [layers.Conv2D(128, 3, **same), layers.Conv2D(128, 3, **same), layers.Flatten(), layers.Dense(2)]
    model = gn.Sequential(stack, seed=1)
    assert model.network.chunks(128) >= 16
    with threads(1):
        expected = trained(model, 128)
    for count in THREADS[1:]:
        with threads(count):
            assert trained(model, 128) == expected, count


@pytest.mark.timeout(600)  # Eight threads on two cores that others use as well wait for each other.
@pytest.mark.parametrize("name", MODELS)
def test_architectures_have_the_same_bytes_for_any_threads(name):
    model = MODELS[name]()
    for batch in BATCHES:
        found = {}
        for count in THREADS:
            with threads(count):
                found[count] = trained(model, batch)
        assert np.isfinite(found[1][0]).all()
        assert all(other == found[1] for other in found.values()), (name, batch)


@pytest.mark.parametrize("batch", [8, 9, 16, 40, 64, 100, 512, 700])
def test_any_batch_has_the_same_bytes_for_any_threads(batch):
    stack = [
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.BatchNormalization(),
        layers.Conv2D(16, 3, strides=2),
        layers.BatchNormalization(axis=1),
        layers.Flatten(),
        layers.Dense(12),
        layers.BatchNormalization(),
        layers.Dense(3),
    ]
    model = gn.Sequential([gn.Input((9, 11, 3)), *stack], seed=4)
    found = []
    for count in THREADS:
        with threads(count):
            found.append(trained(model, batch))
    assert all(other == found[0] for other in found)


def test_gradients_do_not_take_memory_for_every_chunk():
    """Weights of 2.4 MB in one stack: from 32 to 512 samples 8 to 64 chunks, but few buffers."""
    stack = [layers.Conv2D(256, 3, padding="same", activation="relu") for _ in range(2)]
    with threads(2):
        model = gn.Sequential([gn.Input((12, 12, 128)), *stack], seed=0)
        model.compile("sgd", "mse")
        few, many, most = (model.memory(n, training=True) for n in (64, 512, 1024))
    gradient = 4 * sum(w.size for w in model.get_weights())
    per_sample = (most - many) / 512
    # Buffers: 2 T + log2 C; the sums of a worker stay the same.
    assert many - few - 448 * per_sample <= 4 * gradient


def test_sums_over_large_maps_keep_their_digits():
    x = np.full((1, 1024, 1024, 1), 0.1, np.float32)
    dy = np.ones_like(x)
    expected = float(x[0, 0, 0, 0]) * 2**20
    found = functional.conv2d_kernel_grad(x, dy, (1, 1, 1, 1))
    assert abs(float(found.ravel()[0]) / expected - 1) < 5e-5
    for batch in (1, 9):
        size = 1024 if batch == 1 else 256
        model = gn.Sequential([gn.Input((size, size, 1)), layers.Conv2D(1, 1)], seed=0)
        model.set_weights([np.zeros((1, 1, 1, 1)), np.zeros(1)])
        model.compile(gn.optimizers.SGD(1.0), "mse")
        part = x[:, :size, :size].repeat(batch, 0)
        model.train_on_batch(part, part * -1)
        # The gradient is 2 * 0.1 * 0.1, that of the bias 2 * 0.1.
        kernel, bias = (float(w.ravel()[0]) for w in model.get_weights())
        assert abs(kernel / -0.02 - 1) < 5e-5
        assert abs(bias / -0.2 - 1) < 5e-5
