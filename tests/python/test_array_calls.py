"""Layers called on arrays, outside of a model."""

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers
from gridnn.errors import ShapeError
from gridnn.layers.activation import COMPOSED

pytestmark = pytest.mark.one_tier


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_a_layer_builds_itself_and_a_model_goes_on_with_its_weights(rng):
    x = rng.normal(size=(2, 8, 8, 2)).astype(np.float32)
    conv = layers.Conv2D(3, 3)
    assert not conv.built
    y = conv(x)
    assert conv.built
    assert y.shape == (2, 6, 6, 3)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(conv(x), y)
    model = gn.Sequential([gn.Input((8, 8, 2)), conv])
    np.testing.assert_array_equal(model.predict(x, verbose=0), y)
    model.set_weights([2 * weight for weight in model.get_weights()])
    np.testing.assert_allclose(conv(x), 2 * y, rtol=1e-6)
    assert conv(x[:, :5, :7]).shape == (2, 3, 5, 3)


def test_seeds_fix_the_weights_of_layers_that_are_called(rng):
    x = rng.normal(size=(2, 3))
    found = []
    for _ in range(2):
        gn.set_random_seed(3)
        found.append((layers.Dense(4)(x), layers.Dense(4)(x)))
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0][0] != found[0][1]).any()


def test_layers_without_weights_compute_in_the_type_of_the_array():
    assert layers.Rescaling(1 / 255)(np.array([[255]], np.uint8)).dtype == np.float32
    assert layers.Rescaling(1 / 255)(np.array([[255.0]])).dtype == np.float64
    assert layers.Dense(2)(np.array([[255.0]])).dtype == np.float32


def test_a_call_in_training_draws(rng):
    gn.set_random_seed(0)
    drop, x = layers.Dropout(0.5), np.ones((4, 500))
    np.testing.assert_array_equal(drop(x), x)
    first, second = drop(x, training=True), drop(x, training=True)
    assert 0.4 < (first == 0).mean() < 0.6
    assert (first != second).any()
    images = rng.normal(size=(3, 4, 4, 1)).astype(np.float32)
    flipped = layers.RandomFlip("horizontal")(images, training=True)
    assert all(
        any(np.array_equal(a, b) for b in (i, i[:, ::-1])) for a, i in zip(flipped, images, strict=True)
    )


def test_batch_normalization_in_training_and_frozen(rng):
    x = rng.normal(3, 5, size=(100, 2)).astype(np.float32)
    norm = layers.BatchNormalization()
    np.testing.assert_allclose(norm(x, training=True).std(axis=0), 1, rtol=1e-3)
    np.testing.assert_array_equal(norm.get_weights()[2], 0)  # as `model(x, training=True)` leaves them
    norm.trainable = False
    np.testing.assert_allclose(norm(x, training=True), norm(x))


def test_adapted_and_adapted_again():
    norm = layers.Normalization()
    norm.adapt([[1.0], [3.0]])
    np.testing.assert_array_equal(norm([[3.0]]), [[1.0]])
    norm.adapt([[3.0], [7.0]])
    np.testing.assert_array_equal(norm([[3.0]]), [[-1.0]])


def test_containers_and_merging_layers(rng):
    x = rng.normal(size=(2, 3)).astype(np.float32)
    dense = layers.Dense(3)
    residual = layers.Residual([dense])
    np.testing.assert_allclose(residual(x), x + dense(x), rtol=1e-6)
    np.testing.assert_array_equal(layers.Concatenate()([x, x]), np.concatenate([x, x], axis=1))
    np.testing.assert_array_equal(layers.maximum([x, -x]), np.abs(x))


def test_layers_in_python():
    class Scale(layers.Layer):
        def build(self, input_shape):
            self.factor = self.add_weight(shape=input_shape[-1:], initializer="ones")

        def call(self, x, training=False):
            return x * self.factor * (2 if training else 1)

    scale = Scale()
    np.testing.assert_array_equal(scale([[1.0, 2.0]]), [[1, 2]])
    np.testing.assert_array_equal(scale([[1.0, 2.0]], training=True), [[2, 4]])
    scale.factor = [3, 4]
    np.testing.assert_array_equal(scale([[1.0, 2.0]]), [[3, 8]])


def test_shapes_that_do_not_fit():
    conv = layers.Conv2D(3, 3)
    conv(np.ones((1, 8, 8, 2)))
    with pytest.raises(ShapeError, match=r"built for input shape \(None, 8, 8, 2\)"):
        conv(np.ones((1, 8, 8, 3)))
    with pytest.raises(ShapeError, match="One sample"):
        conv(np.ones((8, 8, 2)))
    with pytest.raises(TypeError, match="takes a list of arrays"):
        layers.Add()(np.ones((1, 2)))


def test_output_shapes():
    assert layers.Conv2D(4, 3).compute_output_shape((None, None, 28, 1)) == (None, None, 26, 4)
    assert layers.Add().compute_output_shape([(None, 3), (None, 3)]) == (None, 3)
    assert layers.Flatten().compute_output_shape((2, 3, 4)) == (2, 12)


ACTIVATIONS = [name for name in gn.activations.__all__ if name not in ("get", *COMPOSED)]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_layers(name, rng):
    x = rng.normal(size=(3, 5)).astype(np.float32)
    function = getattr(gn.activations, name)
    layer = layers.Activation(name)
    np.testing.assert_array_equal(function(x), layer(x))
    np.testing.assert_array_equal(function(x[0]), layer(x[:1])[0])
    assert function(x.astype(np.float64)).dtype == np.float64
    assert layers.Activation(function).activation == layer.activation
    assert gn.activations.get(name) in (function, gn.activations.silu)
    symbolic = function(gn.Input((5,)))
    assert symbolic.shape == (None, 5)


def test_arguments_of_activations(rng):
    x = rng.normal(size=(2, 3, 4))
    np.testing.assert_allclose(gn.activations.relu(x, 0.1, 1.0), np.where(x > 0, np.minimum(x, 1), 0.1 * x))
    np.testing.assert_allclose(gn.activations.softmax(x, axis=0).sum(axis=0), 1)
    np.testing.assert_allclose(
        gn.activations.softmax(x, axis=1), np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    )
    np.testing.assert_allclose(np.exp(gn.activations.log_softmax(x, axis=-2)).sum(axis=1), 1)
    np.testing.assert_allclose(gn.activations.elu(-1.0, alpha=2.0), 2 * np.expm1(-1.0))
    assert gn.activations.tanh(0.0).shape == ()
    assert gn.activations.relu(np.zeros((0, 3))).shape == (0, 3)
    with pytest.raises(ValueError, match="axes of `x`"):
        gn.activations.softmax(x, axis=3)
    with pytest.raises(ValueError, match="activation"):
        gn.activations.get("nothing")
