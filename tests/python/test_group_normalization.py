"""Normalisation inside a sample: a ReLU behind it, threads, and layouts of large samples.

That its loops give the bytes of a list of elements is tested in `src/norm/groups/tests.rs`.
"""

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers

DRAWN = {
    "beta_initializer": "random_normal",
    "gamma_initializer": gn.initializers.RandomUniform(0.5, 2.0),
}
KINDS = {
    "instances": lambda: layers.GroupNormalization(-1, **DRAWN),
    "groups": lambda: layers.GroupNormalization(4, **DRAWN),
    "uneven groups": lambda: layers.GroupNormalization(8, **DRAWN),
    "one group": lambda: layers.GroupNormalization(1, **DRAWN),
    "layer": lambda: layers.LayerNormalization(**DRAWN),
    "all axes": lambda: layers.LayerNormalization((1, 2), **DRAWN),
    "positions": lambda: layers.LayerNormalization(1, **DRAWN),
}


@pytest.fixture(autouse=True)
def _same_threads_afterwards():
    threads = gn.get_num_threads()
    yield
    gn.set_num_threads(threads)


def trained(kind, dtype, threads=1, *, alone=False):
    """Outputs and weights after two steps; `alone` keeps the ReLU an op of its own."""
    gn.set_num_threads(threads)
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(5, 30, 3)), rng.normal(size=(5, 30, 24))
    inputs = layers.Input((30, 3))
    scaled = KINDS[kind]()(layers.Conv1D(24, 3, padding="same")(inputs))
    outputs = layers.ReLU()(scaled)
    model = gn.Model(inputs, [outputs, scaled] if alone else outputs, seed=0, dtype=dtype)
    # What weighs nothing adds zeros to the gradient, and still reads the tensor.
    model.compile(gn.optimizers.SGD(0.5), "mse", loss_weights=[1.0, 0.0] if alone else None)
    targets = [y, y] if alone else y
    for _ in range(2):
        model.train_on_batch(x, targets)
    found = model.predict(x, verbose=0)
    return [found[0] if alone else found, *model.get_weights()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_relu_is_part_of_it_to_the_byte(kind, dtype):
    for own, other in zip(trained(kind, dtype), trained(kind, dtype, alone=True), strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_no_byte(kind):
    expected = trained(kind, "float32")
    for threads in (2, 3, 5):
        for own, other in zip(trained(kind, "float32", threads), expected, strict=True):
            np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("groups", [-1, 1, 3, 6])
@pytest.mark.parametrize("shape", [(700, 12), (40, 33, 12), (9, 13, 11, 12)])
def test_a_large_mean_costs_no_digits(groups, shape):
    model = gn.Sequential([gn.Input(shape), layers.GroupNormalization(groups, epsilon=0.0)])
    x = (np.random.default_rng(0).normal(size=(2, *shape)) * 0.5 + 3e4).astype(np.float32)
    count = 12 if groups == -1 else groups
    exact = x.astype(np.float64).reshape(2, -1, count, 12 // count)
    want = (exact - exact.mean((1, 3), keepdims=True)) / exact.std((1, 3), keepdims=True)
    # The mean itself is rounded to float32, a 30,000th of whose last digit is one of x.
    np.testing.assert_allclose(model.predict(x, verbose=0), want.reshape(x.shape), atol=0.003)
