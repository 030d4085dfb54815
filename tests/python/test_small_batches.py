"""Batches of fewer samples than threads: heavy layers are cut inside a sample."""

import hashlib
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers
from gridnn._core import fused_tiers

BATCHES = (1, 2, 3, 5)


def image():
    """Masks of its own, a pool that masks, a stride."""
    return [
        gn.Input((30, 26, 4)),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.Conv2D(40, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(48, 3, strides=2, padding="same", activation="tanh"),
        layers.Flatten(),
        layers.Dense(5),
    ]


def first_layer():
    """A kernel of few rows over many positions: its gradient is cut by positions."""
    return [
        gn.Input((90, 80, 1)),
        layers.Conv2D(24, 3, padding="same", activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
    ]


def series():
    """One row, cut into tasks."""
    return [
        gn.Input((3000, 2)),
        layers.Conv1D(16, 9, strides=2, activation="relu"),
        layers.Conv1D(24, 5, padding="causal", activation="relu"),
        layers.MaxPooling1D(4),
        layers.GlobalAveragePooling1D(),
        layers.Dense(3),
    ]


def volume():
    """Three axes, a transposed convolution, groups."""
    return [
        gn.Input((9, 10, 11, 2)),
        layers.Conv3D(16, 3, padding="same", activation="relu"),
        layers.Conv3D(16, 3, groups=2, activation="relu"),
        layers.Conv3DTranspose(8, 3, activation="relu"),
        layers.GlobalAveragePooling3D(),
        layers.Dense(3),
    ]


def normalized():
    """Statistics of the batch behind layers that are cut, in front of them and of the input."""
    return [
        gn.Input((20, 20, 8)),
        layers.BatchNormalization(),
        layers.Conv2D(24, 3, use_bias=False, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Conv2D(24, 3, activation="relu"),
        layers.BatchNormalization(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
    ]


def branches():
    """Tensors with several readers: gradients are added."""
    block = [layers.Conv2D(24, 3, padding="same", activation="relu"), layers.Conv2D(24, 3, padding="same")]
    return [
        gn.Input((18, 18, 8)),
        layers.Conv2D(24, 3, padding="same"),
        layers.Residual(block),
        layers.ReLU(),
        layers.Parallel([[layers.Conv2D(24, 3, padding="same")], [layers.Conv2D(16, 5, padding="same")]]),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
    ]


def bordered():
    """Borders that are not zero, holes between taps, a depthwise layer."""
    return [
        gn.Input((40, 40, 16)),
        layers.Conv2D(24, 3, padding="same", padding_mode="reflect", activation="relu"),
        layers.Conv2D(24, 3, dilation_rate=2, activation="relu"),
        layers.DepthwiseConv2D(3, padding="same", activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
    ]


MODELS = [image, first_layer, series, volume, normalized, branches, bordered]


def build(make, dtype="float32", optimizer="adam"):
    model = gn.Sequential(make(), dtype=dtype, seed=3)
    model.compile(optimizer, "mse")
    return model


def data(model, samples):
    random = np.random.default_rng(1)
    x = random.normal(size=(samples, *model.input_shape[1:])).astype(np.float32)
    return x, random.normal(size=(samples, *model.output_shape[1:])).astype(np.float32)


@pytest.fixture(autouse=True)
def _threads():
    before = gn.get_num_threads()
    yield
    gn.set_num_threads(before)


def train(make, batch, threads):
    """Digest of weights and outputs after some steps."""
    gn.set_num_threads(threads)
    model = build(make)
    x, y = data(model, batch)
    for _ in range(3):
        model.train_on_batch(x, y)
    trained = b"".join(weight.tobytes() for weight in model.get_weights())
    return hashlib.sha256(trained + model.predict_on_batch(x).tobytes()).hexdigest()


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("batch", BATCHES)
def test_threads_change_no_byte(make, batch):
    assert len({train(make, batch, threads) for threads in (1, 2, 3, 5)}) == 1


@pytest.mark.one_tier  # starts the tiers itself
def test_tiers_that_fuse_change_no_byte():
    fused = fused_tiers()
    if len(fused) < 2:
        pytest.skip("the CPU has one tier that fuses multiply and add, or none")
    code = (
        "import test_small_batches as t; print([t.train(make, b, 2) for make in t.MODELS for b in t.BATCHES])"
    )
    results = {
        subprocess.check_output(
            [sys.executable, "-c", code],
            env=os.environ | {"GRIDNN_SIMD": tier, "PYTHONPATH": os.path.dirname(__file__)},
        )
        for tier in fused
    }
    assert len(results) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself SIGINT there")
def test_an_interrupt_leaves_whole_steps():
    x = np.random.default_rng(2).normal(size=(64, 30, 26, 4)).astype(np.float32)
    y = np.zeros((64, 5), np.float32)
    model, again = build(image), build(image)
    gn.set_num_threads(2)
    # A shell starts its background jobs with Ctrl-C ignored, and Python leaves it at that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        key = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        key.start()
        with pytest.raises(KeyboardInterrupt):
            model.fit(x, y, batch_size=1, epochs=10_000, shuffle=False, verbose=0)
        key.join()
    finally:
        signal.signal(signal.SIGINT, before)
    steps = model.network.iterations
    assert steps > 0
    again.fit(x, y, batch_size=1, epochs=1, steps_per_epoch=steps, shuffle=False, verbose=0)
    for interrupted, whole in zip(model.get_weights(), again.get_weights(), strict=True):
        assert interrupted.tobytes() == whole.tobytes()


@pytest.mark.parametrize("make", MODELS)
def test_gradients_to_the_input_are_those_of_whole_samples(make):
    """Here nothing runs backward in front of the first layer, and all layers keep their gradients."""
    model = build(make, "float64")
    x, y = data(model, 2)
    gn.set_num_threads(3)
    few = gn.inspect.gradients(model, x, y)
    many = gn.inspect.gradients(model, np.tile(x, (6,) + (1,) * (x.ndim - 1)), np.tile(y, (6, 1)))
    np.testing.assert_allclose(few.input, 6 * many.input[:2], rtol=1e-9, atol=1e-12)
    for name, gradient in few.activations.items():
        np.testing.assert_allclose(gradient, 6 * many.activations[name][:2], rtol=1e-9, atol=1e-12)
    for name, gradients in few.weights.items():
        for cut, whole in zip(gradients, many.weights[name], strict=True):
            np.testing.assert_allclose(cut, whole, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("make", MODELS)
def test_a_prediction_does_not_depend_on_its_batch(make):
    model = build(make)
    x, _ = data(model, 16)
    together = model.predict_on_batch(x)
    for batch in BATCHES:
        assert model.predict(x, batch_size=batch, verbose=0).tobytes() == together.tobytes()


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("batch", BATCHES)
def test_gradients_are_those_of_whole_samples(make, batch):
    """A batch that repeats its samples has the same mean gradient and the same statistics, and is not cut."""
    few, many = (build(make, "float64", gn.optimizers.SGD(0.1)) for _ in range(2))
    x, y = data(few, batch)
    times = 16 // batch + 1
    few.train_on_batch(x, y)
    many.train_on_batch(np.tile(x, (times,) + (1,) * (x.ndim - 1)), np.tile(y, (times, 1)))
    for cut, whole in zip(few.get_weights(), many.get_weights(), strict=True):
        np.testing.assert_allclose(cut, whole, rtol=1e-9, atol=1e-11)
