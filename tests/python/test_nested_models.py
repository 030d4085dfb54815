"""Models among the layers of a Sequential: they are called there, and share their weights."""

import copy
import pickle

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers
from gridnn.errors import ShapeError

pytestmark = pytest.mark.one_tier


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype(np.float32)


def residual_net():
    """A model that no chain is."""
    inputs = gn.Input((8, 8, 1), name="image")
    first = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(inputs)
    second = layers.Conv2D(4, 3, padding="same", name="second")(first)
    return gn.Model(inputs, layers.add([first, second]), name="base")


def stacked(base):
    return gn.Sequential(
        [base, layers.GlobalAveragePooling2D(), layers.Dense(2, name="end")], name="net", seed=0
    )


@pytest.mark.parametrize("chain", [True, False])
def test_weights_are_shared(chain, x):
    base = (
        gn.Sequential([gn.Input((8, 8, 1)), layers.Conv2D(4, 3, name="first")], name="base")
        if chain
        else residual_net()
    )
    model = stacked(base)
    assert model.layers[0] is base
    assert model.get_layer("base") is base
    assert model.weights[0].path == "net/base/first/kernel"
    expected = base.predict(x, verbose=0).mean(axis=(1, 2)) @ model.layers[-1].kernel
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
    model.compile("sgd", "mse")
    before = base.get_weights()
    model.fit(x, np.ones((6, 2)), verbose=0, seed=0)
    assert (base.get_weights()[0] != before[0]).any()
    np.testing.assert_array_equal(base.get_weights()[0], model.get_weights()[0])
    base.set_weights(before)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_freezing_the_base(x):
    base = residual_net()
    base.trainable = False
    model = stacked(base)
    assert [w.path for w in model.trainable_weights] == ["net/end/kernel", "net/end/bias"]
    model.compile("adam", "mse")
    before = base.get_weights()
    model.fit(x, np.ones((6, 2)), epochs=2, verbose=0, seed=0)
    for weight, kept in zip(base.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)


def test_a_stack_that_is_not_built_is_built_by_the_outer_one(x):
    inner = gn.Sequential([layers.Conv2D(4, 3), layers.Flatten()], name="inner")
    model = gn.Sequential([inner, layers.Dense(2)], seed=3)
    assert not model.built
    y = model.predict(x, verbose=0)
    other = gn.Sequential(
        [gn.Sequential([layers.Conv2D(4, 3), layers.Flatten()], name="inner"), layers.Dense(2)], seed=3
    )
    np.testing.assert_array_equal(other.predict(x, verbose=0), y)
    np.testing.assert_allclose(inner.predict(x, verbose=0) @ model.layers[1].kernel, y, rtol=1e-4, atol=1e-5)
    model.layers[0].layers[0].kernel = np.zeros((3, 3, 1, 4))
    np.testing.assert_array_equal(model.predict(x, verbose=0), 0)
    np.testing.assert_array_equal(inner.predict(x, verbose=0), 0)


def test_a_stack_that_is_not_built_is_called_on_symbolic_tensors(x):
    inner = gn.Sequential([layers.Conv2D(4, 3), layers.Flatten()])
    inputs = gn.Input((8, 8, 1))
    model = gn.Model(inputs, layers.Dense(2)(inner(inputs)))
    model.compile("sgd", "mse")
    model.fit(x, np.ones((6, 2)), verbose=0)
    assert inner.built
    assert inner.output_shape == (None, 144)
    np.testing.assert_array_equal(inner.predict(x, verbose=0).shape, (6, 144))
    np.testing.assert_array_equal(inner.get_weights()[0], model.get_weights()[0])


def test_adding_and_removing(x):
    base = residual_net()
    model = gn.Sequential([gn.Input((8, 8, 1))], seed=0)
    model.add(base)
    model.add(layers.Flatten())
    assert model.output_shape == (None, 256)
    model.add(layers.Dense(3))
    with pytest.raises(ShapeError):
        model.add(layers.Conv2D(2, 3))
    assert model.output_shape == (None, 3)
    assert model.predict(x, verbose=0).shape == (6, 3)
    weights = model.get_weights()
    model.pop()
    model.pop()
    np.testing.assert_allclose(model.predict(x, verbose=0), base.predict(x, verbose=0))
    np.testing.assert_array_equal(base.get_weights()[0], weights[0])
    assert model.pop() is base
    model.add(layers.Flatten())
    assert not model.nests
    assert model.predict(x, verbose=0).shape == (6, 64)


def test_models_in_models_in_models(x):
    innermost = gn.Sequential([layers.Conv2D(2, 3, name="own")], name="a")
    inner = gn.Sequential([innermost, layers.ReLU()], name="b")
    model = gn.Sequential([gn.Input((8, 8, 1)), inner, layers.Flatten()], name="c")
    assert [w.path for w in model.weights] == ["c/b/a/own/kernel", "c/b/a/own/bias"]
    np.testing.assert_allclose(
        model.predict(x, verbose=0).reshape(6, 6, 6, 2), inner.predict(x, verbose=0), rtol=1e-6
    )
    assert model.compute_output_shape((None, 8, 8, 1)) == (None, 72)
    text = []
    model.summary(print_fn=text.append)
    assert "b/a/own (Conv2D)" in text[0]


def test_files_and_copies(x, tmp_path):
    model = stacked(residual_net())
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(x, np.ones((6, 2)), verbose=0, seed=0)
    y = model.predict(x, verbose=0)
    model.save(tmp_path / "model.gridnn")
    found = [
        gn.load_model(tmp_path / "model.gridnn"),
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
    ]
    for other in found:
        np.testing.assert_array_equal(other.predict(x, verbose=0), y)
        assert [type(layer).__name__ for layer in other.layers] == [
            "Model",
            "GlobalAveragePooling2D",
            "Dense",
        ]
        other.fit(x, np.ones((6, 2)), verbose=0, seed=1)
    assert len({other.get_weights()[0].tobytes() for other in found}) == 1
    np.testing.assert_array_equal(model.predict(x, verbose=0), y)
    twin = gn.models.clone_model(model)
    assert (twin.get_weights()[0] != model.get_weights()[0]).any()
    again = gn.models.model_from_json(model.to_json())
    assert again.get_config() == model.get_config()


def test_a_file_of_one_that_is_not_built(tmp_path, x):
    model = gn.Sequential([gn.Sequential([layers.Flatten()]), layers.Dense(2)], seed=0)
    model.save(tmp_path / "model.gridnn")
    other = gn.load_model(tmp_path / "model.gridnn")
    np.testing.assert_array_equal(other.predict(x, verbose=0), model.predict(x, verbose=0))


def test_features_of_a_layer_inside(x):
    base = residual_net()
    model = stacked(base)
    features = gn.Model(base.inputs, base.get_layer("first").output)
    assert features.predict(x, verbose=0).shape == (6, 8, 8, 4)
    head = gn.Model(model.inputs, model.layers[-1].input)
    assert head.predict(x, verbose=0).shape == (6, 4)
    found = gn.inspect.activations(model, x)
    np.testing.assert_allclose(found["base/first"], features.predict(x, verbose=0), rtol=1e-6)


def test_what_is_refused():
    base = residual_net()
    with pytest.raises(ValueError, match="already belongs to this model"):
        gn.Sequential([base, base])
    two = gn.Input((3,)), gn.Input((3,))
    several = gn.Model(list(two), layers.add(list(two)), name="several")
    with pytest.raises(ValueError, match="has 2 inputs and 1 outputs"):
        gn.Sequential([several, layers.Dense(2)])
    double = gn.Sequential([gn.Input((3,)), layers.Dense(2)], dtype="float64")
    with pytest.raises(ValueError, match="computes in float64"):
        gn.Sequential([double, layers.Dense(2)])
    outer = gn.Sequential(name="outer")
    inner = gn.Sequential([outer])
    with pytest.raises(ValueError, match="layer of itself"):
        outer.add(inner)
    with pytest.raises(ShapeError):
        gn.Sequential([gn.Input((5,)), base])
    named = gn.Sequential([gn.Input((3,)), layers.Dense(2)], name="end")
    with pytest.raises(ValueError, match="unique names"):
        gn.Sequential([gn.Input((3,)), layers.Dense(3, name="end"), named])
