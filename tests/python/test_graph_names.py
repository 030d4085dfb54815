"""Names of layers and of logs in graphs, where models that are called have layers of equal names."""

import sys
import types

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers

pytestmark = pytest.mark.one_tier


def twins():
    """A model of two models whose layers have the same names."""
    parts = [
        gn.Sequential([gn.Input((3,)), layers.Dense(3)], name=name, seed=number)
        for number, name in enumerate(("one", "two"))
    ]
    x = gn.Input((3,))
    return gn.Model(x, layers.Dense(1)(parts[1](parts[0](x)))), parts


def test_activations_of_layers_of_one_name():
    model, (one, two) = twins()
    x = np.random.default_rng(0).normal(size=(4, 3))
    chosen = [two.layers[0], one.layers[0], model.layers[-1]]
    found = gn.inspect.activations(model, x, layers=chosen)
    assert list(found)[:2] == ["two/dense", "one/dense"]
    assert len(found) == 3
    np.testing.assert_allclose(found["one/dense"], one.predict(x, verbose=0), rtol=1e-6)
    np.testing.assert_allclose(
        found["two/dense"], two.predict(one.predict(x, verbose=0), verbose=0), rtol=1e-6
    )


def test_histograms_of_layers_of_one_name(tmp_path, monkeypatch):
    names = []

    class Writer:
        def __init__(self, *_, **__):
            pass

        def add_histogram(self, name, values, step):
            names.append(name)

        def __getattr__(self, name):
            return lambda *_: None

    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=Writer))
    x, dense = gn.Input((3,)), layers.Dense(3)
    gn.Sequential([gn.Input((3,)), dense])
    model = gn.Model(x, layers.Dense(3)(dense(x)))
    model.compile("sgd", "mse")
    board = gn.callbacks.TensorBoard(tmp_path, histogram_freq=1)
    model.fit(np.ones((2, 3)), np.ones((2, 3)), callbacks=[board], verbose=0)
    assert len(names) == 4
    assert len(set(names)) == 4


def test_results_are_in_the_order_of_keras():
    x = gn.Input((4,))
    model = gn.Model(x, [layers.Dense(2, name="q")(x), layers.Dense(2, name="p")(x)])
    model.compile("sgd", "mse", metrics={"q": ["mse", "mae"]}, weighted_metrics={"p": ["mae"]})
    names = ["loss", "q_loss", "p_loss", "p_mae", "q_mae", "q_mse"]  # losses by outputs, then by the alphabet
    assert model.metrics_names == names
    data = np.ones((3, 4)), [np.ones((3, 2))] * 2
    assert list(model.evaluate(*data, verbose=0, return_dict=True)) == names
    found = model.evaluate(*data, verbose=0)
    assert found == list(model.evaluate(*data, verbose=0, return_dict=True).values())
    model = gn.Sequential([gn.Input((4,)), layers.Dense(2)])
    model.compile("sgd", "mse", metrics=["mse", "mae"])
    assert model.metrics_names == ["loss", "mse", "mae"]
