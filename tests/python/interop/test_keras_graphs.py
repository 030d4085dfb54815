"""Functional models of Keras that are no chain: the files of tools/keras_graphs.py come in as gn.Model."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

import gridnn as gn

h5py = pytest.importorskip("h5py")

from gridnn.interop.keras import hdf5_child, loading, reading  # noqa: E402  after the skip

pytestmark = pytest.mark.one_tier

ARCHIVE = Path(__file__).parent / "keras_graphs.zip"
with zipfile.ZipFile(ARCHIVE) as _archive:
    NAMES = sorted(name.removesuffix(".keras") for name in _archive.namelist() if name.endswith(".keras"))
    with _archive.open("expected.npz") as _file, np.load(_file, allow_pickle=False) as _arrays:
        EXPECTED = dict(_arrays)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras")
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(autouse=True)
def _in_process(monkeypatch):
    """Reads without a child process, which takes most of the time."""
    monkeypatch.setattr(reading, "read", lambda path: reading.decoded(hdf5_child.read(os.fspath(path))))


def arrays(name, letter):
    return [EXPECTED[f"{name}.{letter}{n}"] for n in range(4) if f"{name}.{letter}{n}" in EXPECTED]


def agree(model, name):
    xs, expected = arrays(name, "x"), arrays(name, "y")
    found = model.predict(xs if len(xs) > 1 else xs[0], verbose=0)
    found = list(found.values()) if isinstance(found, dict) else found
    found = found if isinstance(found, list) else [found]
    for y, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(y, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["keras", "h5"])
@pytest.mark.parametrize("name", NAMES)
def test_graphs_of_keras_give_its_outputs(files, name, kind):
    model = gn.load_model(files / f"{name}.{kind}")
    assert type(model) is gn.Model
    agree(model, name)
    for weights in ("weights.h5", "keras"):
        model.set_weights([np.zeros_like(array) for array in model.get_weights()])
        model.load_weights(files / f"{name}.{weights}")
        agree(model, name)


def test_names_come_along(files):
    model = gn.load_model(files / "two_sided.keras")
    assert (model.input_names, model.output_names) == (["image", "age"], ["kind", "risk"])
    model.compile("sgd", {"kind": "mse", "risk": "mse"})
    x = arrays("two_sided", "x")
    model.fit(x, arrays("two_sided", "y"), verbose=0)
    model = gn.load_model(files / "outputs_by_name.keras")
    assert list(model.predict({"x": arrays("outputs_by_name", "x")[0]}, verbose=0)) == ["p", "q"]


def test_files_of_ours_hold_them(files, tmp_path):
    for name in ("siamese", "outputs_by_name"):
        gn.load_model(files / f"{name}.keras").save(tmp_path / "m.gridnn")
        agree(gn.load_model(tmp_path / "m.gridnn"), name)


def test_layers_of_one_name_in_several_models():
    def made():
        one, x = gn.Input((4,)), gn.Input((4,), name="x")
        inner = gn.Model(one, gn.layers.Dense(4, name="d")(one), name="inner")
        return gn.Model(x, gn.layers.Dense(4, name="d")(inner(x)))

    model = made()
    before = model.get_weights()
    with pytest.raises(ValueError, match="by_name cannot tell"):
        loading.set_weights(model, model.network, contents_of("d"), by_name=True, skip_mismatch=False)
    with pytest.raises(ValueError, match="missing"):
        loading.set_weights(model, model.network, contents_of("d"), by_name=False, skip_mismatch=False)
    assert all(map(np.array_equal, model.get_weights(), before))


def contents_of(name):
    """A file of weights with one Dense of this name."""
    path = "layers/dense"
    tensors = {f"{path}/vars/0": np.ones((4, 4), np.float32), f"{path}/vars/1": np.ones(4, np.float32)}
    return reading.Contents(tensors, {f"{path}/vars": {"name": name}}, groups={f"{path}/vars": ["0", "1"]})


def layer(kind, name, *calls, **config):
    """A layer as Keras 2 describes it: each call a list of (name, number of the call)."""
    nodes = [[[source, number, 0, {}] for source, number in call] for call in calls]
    return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": nodes}


def graph(name, inputs, outputs, *entries):
    sources = [layer("InputLayer", source, batch_input_shape=[None, 3]) for source in inputs]
    config = {
        "name": name,
        "layers": [*sources, *entries],
        "input_layers": [[source, 0, 0] for source in inputs],
        "output_layers": [[source, number, 0] for source, number in outputs],
    }
    return {"class_name": "Functional", "name": name, "config": config}


def test_keras_2_counts_the_call_that_made_a_model():
    inner = graph("inner", ["i"], [("r", 0)], layer("ReLU", "r", [("i", 0)]))
    inner["inbound_nodes"] = [[["a", 0, 0, {}]], [["b", 0, 0, {}]]]
    apart = layer("Subtract", "s", [("inner", 1), ("inner", 2)])
    model = loading.model_of(
        reading.Contents({}, {}, graph("m", ["a", "b"], [("s", 0), ("inner", 2)], inner, apart))
    )
    a, b = np.float32([[1, -2, 3]]), np.float32([[-4, 5, 6]])
    difference, second = model.predict([a, b], verbose=0)
    np.testing.assert_array_equal(difference, [[1, -5, -3]])
    np.testing.assert_array_equal(second, [[0, 5, 6]])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (graph("m", ["a", "b"], [("s", 0)], layer("Add", "s", [("a", 0), ("c", 0)])), "does not come from"),
        (graph("m", ["a", "b"], [("x", 0)], layer("Add", "s", [("a", 0), ("b", 0)])), "no output 'x'"),
        (graph("m", ["a", "b"], [("s", 0)], layer("ReLU", "s", [("a", 0), ("b", 0)])), "reads 2 layers"),
        (graph("m", ["a", "b"], [("s", 0)], layer("Add", "s", [("s", 0), ("b", 0)])), "does not come from"),
        (graph("m", ["a", "b"], [("s", 0)], layer("ReLU", "s", [("a", 0)])), "'b' leads to none"),
        (graph("m", ["a", "b"], [], layer("Add", "s", [("a", 0), ("b", 0)])), "has no outputs"),
        (graph("m", ["a", "a"], [("s", 0)], layer("ReLU", "s", [("a", 0)])), "two layers of one name"),
    ],
)
def test_graphs_that_do_not_fit_together(model, message):
    with pytest.raises(ValueError, match=message):
        loading.model_of(reading.Contents({}, {}, model))


def test_a_description_takes_no_memory_that_its_weights_do_not_fill():
    wide = layer("Dense", "d", [("s", 0)], units=10**9)
    model = graph("m", ["a", "b"], [("d", 0)], layer("Add", "s", [("a", 0), ("b", 0)]), wide)
    with pytest.raises(ValueError, match="has weights of shapes"):
        loading.model_of(reading.Contents({}, {}, model))
