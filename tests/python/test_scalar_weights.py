"""Weights of shape (): NumPy's `ascontiguousarray` makes (1,) of them."""

import copy
import pickle

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers


class Scale(layers.Layer):
    """Multiplies by one learned number."""

    def build(self, input_shape):
        self.factor = self.add_weight(shape=(), initializer="ones")

    def call(self, inputs):
        return inputs * self.factor

    def backward(self, inputs, gradient):
        return gradient * self.factor, {"factor": (gradient * inputs).sum()}


@pytest.fixture
def model():
    model = gn.Sequential([gn.Input((3,)), Scale(name="scale"), layers.Dense(2)], seed=0)
    model.compile("adam", "mse")
    model.fit(np.ones((4, 3)), np.zeros((4, 2)), verbose=0)
    return model


def test_it_trains_and_is_read(model):
    factor = model.get_weights()[0]
    assert factor.shape == ()
    assert factor != 1


@pytest.mark.parametrize("value", [np.float32(2.5), np.array(2.5), 2.5, np.ones(())[()] * 2.5], ids=repr)
def test_it_is_set(model, value):
    rest = model.get_weights()[1:]
    model.set_weights([value, *rest])
    assert model.get_weights()[0] == 2.5
    layer = model.get_layer("scale")
    layer.set_weights([value])
    assert layer.get_weights()[0].shape == ()
    assert layer.get_weights()[0] == 2.5


def same(model, other):
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()
    x = np.arange(6.0).reshape(2, 3)
    assert model.predict(x, verbose=0).tobytes() == other.predict(x, verbose=0).tobytes()
    model.fit(x, np.ones((2, 2)), verbose=0)
    other.fit(x, np.ones((2, 2)), verbose=0)
    assert model.predict(x, verbose=0).tobytes() == other.predict(x, verbose=0).tobytes()


def test_it_is_copied_and_pickled(model):
    same(model, copy.deepcopy(model))
    same(model, pickle.loads(pickle.dumps(model)))


def test_it_is_saved_and_loaded(model, tmp_path):
    model.save(tmp_path / "model.gridnn")
    same(model, gn.load_model(tmp_path / "model.gridnn", custom_objects={"Scale": Scale}))
    model.save_weights(tmp_path / "weights.gridnn")
    other = gn.Sequential([gn.Input((3,)), Scale(name="scale"), layers.Dense(2)], seed=1)
    other.load_weights(tmp_path / "weights.gridnn")
    assert [w.tobytes() for w in other.get_weights()] == [w.tobytes() for w in model.get_weights()]


def test_best_weights_are_restored(model):
    stop = gn.callbacks.EarlyStopping("loss", patience=0, restore_best_weights=True, mode="max")
    model.fit(np.ones((4, 3)), np.zeros((4, 2)), epochs=5, verbose=0, callbacks=[stop])
    assert model.get_weights()[0].shape == ()
