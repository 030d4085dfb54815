"""Batch normalisation: statistics of training, what they leave behind, folding at inference."""

import numpy as np
import pytest
import twins

import gridnn as gn
from gridnn import initializers, layers
from gridnn.errors import NonFiniteError

DRAWN = {
    "beta_initializer": "random_normal",
    "gamma_initializer": initializers.RandomUniform(0.5, 2.0),
    "moving_mean_initializer": "random_normal",
    "moving_variance_initializer": initializers.RandomUniform(0.5, 2.0),
}


@pytest.fixture
def rng():
    return np.random.default_rng(8)


@pytest.mark.parametrize("shape", [(3,), (7, 1), (5, 4, 33), (3, 2, 4, 64)])
@pytest.mark.parametrize("batch", [1, 3, 40])
@pytest.mark.parametrize("axis", [-1, 1])
def test_training_takes_the_statistics_of_the_batch(rng, shape, batch, axis):
    model = gn.Sequential(
        [gn.Input(shape), layers.BatchNormalization(axis=axis, **DRAWN, momentum=0.75)],
        dtype="float64",
        seed=1,
    )
    x = rng.normal(size=(batch, *shape)) * 3 + 5
    config = model.layers[0].get_config()
    expected = twins.batch_normalization(config, model.get_weights(), x, training=True)
    np.testing.assert_allclose(model(x, training=True), expected, rtol=1e-10, atol=1e-10)
    gamma, beta, mean, variance = model.get_weights()
    model.compile(gn.optimizers.SGD(0.0), "mse")
    model.train_on_batch(x, x)
    axes = tuple(a for a in range(x.ndim) if a != axis % x.ndim)
    after = [gamma, beta, 0.75 * mean + 0.25 * x.mean(axes), 0.75 * variance + 0.25 * x.var(axes)]
    for value, want in zip(model.get_weights(), after, strict=True):
        np.testing.assert_allclose(value, want, rtol=1e-12)


def test_a_large_mean_costs_no_digits(rng):
    model = gn.Sequential([gn.Input((50, 5)), layers.BatchNormalization(momentum=0.0, epsilon=0.0)])
    model.compile(gn.optimizers.SGD(0.0), "mse")
    x = (rng.normal(size=(64, 50, 5)) * 0.5 + 3e4).astype(np.float32)
    model.train_on_batch(x, np.zeros_like(x))
    exact = x.astype(np.float64)
    np.testing.assert_allclose(model.layers[0].moving_variance, exact.var((0, 1)), rtol=1e-6)
    np.testing.assert_allclose(model.layers[0].moving_mean, exact.mean((0, 1)), rtol=1e-7)
    y = model(x, training=True)
    want = (exact - exact.mean((0, 1))) / exact.std((0, 1))
    # The mean itself is rounded to float32, a 30,000th of whose last digit is one of x.
    np.testing.assert_allclose(y, want, atol=0.003)


def test_a_frozen_layer_works_as_in_inference(rng):
    stack = [layers.Dense(4), layers.BatchNormalization(**DRAWN), layers.Dense(2)]
    model = gn.Sequential([gn.Input((3,)), *stack], dtype="float64", seed=2)
    norm = model.layers[1]
    norm.trainable = False
    model.compile(gn.optimizers.SGD(0.0), "mse")
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))
    before = norm.get_weights()
    assert model.train_on_batch(x, y) == pytest.approx(model.test_on_batch(x, y), rel=1e-12)
    for old, new in zip(before, norm.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_allclose(model(x, training=True), model(x), rtol=1e-12)
    gradients = model.network.get_gradients()
    kernel = model.layers[0].kernel

    def loss(weights):
        model.layers[0].kernel = weights[0]
        return model.test_on_batch(x, y)

    np.testing.assert_allclose(gradients[0], twins.gradients(loss, [kernel])[0], rtol=1e-6, atol=1e-9)
    norm.trainable = True
    model.train_on_batch(x, y)
    assert not np.array_equal(norm.moving_mean, before[2])


def test_a_refused_step_leaves_the_statistics(rng):
    model = gn.Sequential([gn.Input((3,)), layers.BatchNormalization(), layers.Dense(1)], seed=0)
    model.compile("adam", "mse")
    x, y = rng.normal(size=(8, 3)), np.zeros((8, 1))
    model.train_on_batch(x, y)
    before = [w.tobytes() for w in model.get_weights()]
    for bad in (np.where(x > 1, np.nan, x), np.where(x > 1, 1e30, x)):
        with pytest.raises(NonFiniteError):
            model.train_on_batch(bad, y)
        assert [w.tobytes() for w in model.get_weights()] == before
    model(x, training=True)
    assert [w.tobytes() for w in model.get_weights()] == before


FOLDING = [
    lambda: layers.Dense(6),
    lambda: layers.Dense(6, use_bias=False),
    lambda: layers.Conv2D(6, 3, padding="same"),
    lambda: layers.Conv2D(6, 3, groups=2, use_bias=False),
    lambda: layers.Conv2D(6, 3, padding="same", padding_mode="reflect"),
    lambda: layers.DepthwiseConv2D(3, depth_multiplier=3),
    lambda: layers.SeparableConv2D(6, 3),
    lambda: layers.Conv2DTranspose(6, 3, strides=2),
    lambda: layers.Conv2DTranspose(6, 3, groups=2, use_bias=False),
    lambda: layers.Conv2D(6, 3, activation="relu"),
    lambda: layers.Conv2D(6, 3, activation="tanh"),
    lambda: layers.AveragePooling2D(2),
]


@pytest.mark.parametrize(
    "behind", [[], [layers.ReLU()], [layers.Activation("tanh")], [layers.MaxPooling2D()]]
)
@pytest.mark.parametrize("number", range(len(FOLDING)))
def test_inference_with_a_layer_in_front(rng, number, behind):
    front = FOLDING[number]()
    stack = [
        gn.Input((6, 5, 4)),
        front,
        layers.BatchNormalization(**DRAWN),
        *map(gn.layers.Layer.__copy__, behind),
    ]
    model = gn.Sequential(stack, dtype="float64", seed=4)
    x = rng.normal(size=(5, 6, 5, 4))
    np.testing.assert_allclose(
        model.predict(x, verbose=0), twins.forward(model, model.get_weights(), x), rtol=1e-11, atol=1e-12
    )
    # New weights are packed anew, and training in between does not leave its own.
    model.compile("adam", "mse")
    for _ in range(2):
        model.train_on_batch(x, model(x))
        expected = twins.forward(model, model.get_weights(), x)
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-11, atol=1e-12)


def test_a_branch_between_is_not_folded(rng):
    conv = layers.Conv2D(4, 3, padding="same")
    inner = layers.Residual([layers.BatchNormalization(**DRAWN), layers.ReLU()])
    model = gn.Sequential([gn.Input((5, 5, 2)), conv, inner], dtype="float64", seed=1)
    x = rng.normal(size=(3, 5, 5, 2))
    np.testing.assert_allclose(
        model.predict(x, verbose=0), twins.forward(model, model.get_weights(), x), rtol=1e-11, atol=1e-12
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"axis": 0}, ValueError),
        ({"axis": 1.0}, TypeError),
        ({"momentum": 1.5}, ValueError),
        ({"epsilon": -1e-3}, ValueError),
        ({"center": 1}, TypeError),
        ({"gamma_initializer": "xavier"}, ValueError),
    ],
)
def test_bad_arguments(arguments, error):
    with pytest.raises(error):
        layers.BatchNormalization(**arguments)


def test_an_axis_that_is_not_there():
    with pytest.raises(ValueError, match=r"batch_normalization.*axis"):
        gn.Sequential([gn.Input((3, 2)), layers.BatchNormalization(axis=3)])
    with pytest.raises(gn.errors.ShapeError, match="normalised axis"):
        gn.Sequential([gn.Input((None, 2)), layers.BatchNormalization(axis=1)])
