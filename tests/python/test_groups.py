"""Batches of many samples: small maps are worked on several samples at once, large ones sample by sample."""

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers

BATCHES = (16, 37, 64)


def narrowing():
    """One sample at once in front, several behind."""
    return [
        gn.Input((40, 36, 3)),
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.Conv2D(18, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(32, 3, padding="same", activation="tanh"),
        layers.MaxPooling2D(2),
        layers.Dropout(0.2),
        layers.Conv2D(40, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, padding="same", activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
    ]


def branches():
    """Small maps between large ones, and tensors that are read on both sides."""
    small = [
        layers.MaxPooling2D(4),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.Conv2D(32, 3, padding="same", activation="sigmoid"),
        layers.UpSampling2D(4),
        layers.Conv2D(16, 1),
    ]
    return [
        gn.Input((40, 40, 2)),
        layers.Conv2D(16, 3, padding="same", activation="tanh"),
        layers.Residual(small),
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.Parallel([[layers.MaxPooling2D(2)], [layers.Conv2D(24, 3, strides=2, padding="same")]]),
        layers.Conv2D(20, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
    ]


def normalized():
    """Statistics of the batch, summed up in parts of one and of several samples."""
    return [
        gn.Input((40, 40, 2)),
        layers.BatchNormalization(),
        layers.Conv2D(16, 3, padding="same", use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(2),
        layers.Conv2D(32, 3, padding="same", use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.AveragePooling2D(2),
        layers.Conv2D(48, 3, padding="same"),
        layers.BatchNormalization(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
    ]


def series():
    """Kernels of several taps along one axis."""
    return [
        gn.Input((4000, 1)),
        layers.Conv1D(16, 9, activation="relu"),
        layers.MaxPooling1D(8),
        layers.Conv1D(32, 3, padding="same", activation="relu"),
        layers.MaxPooling1D(4),
        layers.Conv1D(64, 5, padding="causal", activation="relu"),
        layers.Flatten(),
        layers.Dense(3),
    ]


MODELS = [narrowing, branches, normalized, series]


@pytest.fixture(autouse=True)
def _threads():
    before = gn.get_num_threads()
    yield
    gn.set_num_threads(before)


def build(make, dtype="float32", optimizer="adam"):
    model = gn.Sequential(make(), dtype=dtype, seed=3)
    model.compile(optimizer, "mse")
    return model


def data(model, samples):
    random = np.random.default_rng(1)
    x = random.normal(size=(samples, *model.input_shape[1:])).astype(np.float32)
    return x, random.normal(size=(samples, *model.output_shape[1:])).astype(np.float32)


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("batch", BATCHES)
def test_threads_change_no_byte(make, batch):
    found = set()
    for threads in (1, 2, 3, 5):
        gn.set_num_threads(threads)
        model = build(make)
        x, y = data(model, batch)
        model.train_on_batch(x, y)
        found.add(b"".join(weight.tobytes() for weight in model.get_weights()))
    assert len(found) == 1


def step_of(model, x, y):
    """What gradient descent of rate 1 subtracts from the weights."""
    before = model.get_weights()
    model.train_on_batch(x, y)
    return [old - new for old, new in zip(before, model.get_weights(), strict=True)]


@pytest.mark.parametrize("make", [narrowing, branches, series])
@pytest.mark.parametrize("batch", BATCHES)
def test_gradients_are_those_of_a_run_that_shares_no_memory(make, batch):
    stack = [layer for layer in make() if not isinstance(layer, layers.Dropout)]
    model = build(lambda: stack, "float64", gn.optimizers.SGD(1.0))
    x, y = data(model, batch)
    gn.set_num_threads(2)
    expected = gn.inspect.gradients(model, x, y).weights
    found = step_of(model, x, y)
    gradients = [gradient for of_layer in expected.values() for gradient in of_layer]
    for step, gradient in zip(found, gradients, strict=True):
        np.testing.assert_allclose(step, gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("batch", BATCHES)
def test_gradients_through_statistics_are_slopes_of_the_loss(batch):
    model = build(normalized, "float64", gn.optimizers.SGD(1.0))
    x, y = data(model, batch)
    weights = model.get_weights()
    gradient = step_of(model, x, y)
    random = np.random.default_rng(5)
    # Moving statistics have no gradient; they are not in use either.
    direction = [random.normal(size=w.shape) for w in weights]
    names = [weight.name for weight in model.network.weights]
    slope = sum(
        np.sum(g * d)
        for g, d, name in zip(gradient, direction, names, strict=True)
        if not name.startswith("moving")
    )
    losses = []
    for way in (1e-8, -1e-8):
        model.set_weights([w + way * d for w, d in zip(weights, direction, strict=True)])
        losses.append(float(model.train_on_batch(x, y)))
    np.testing.assert_allclose((losses[0] - losses[1]) / 2e-8, slope, rtol=1e-4)


@pytest.mark.parametrize("make", MODELS)
def test_predictions_do_not_depend_on_the_batch(make):
    model = build(make)
    x, y = data(model, 37)
    model.train_on_batch(x, y)
    together = model.predict_on_batch(x)
    alone = [model.predict_on_batch(x[i : i + 1])[0] for i in (0, 17, 36)]
    assert np.array(alone).tobytes() == together[[0, 17, 36]].tobytes()
