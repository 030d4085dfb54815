"""Files: training continues to the byte, and nothing that does not fit is accepted."""

import copy
import json
import pickle

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers, losses, optimizers
from gridnn._engine import load_tensors, save_tensors
from gridnn.errors import FileFormatError

pytestmark = pytest.mark.one_tier

RNG = np.random.default_rng(5)
X = RNG.normal(size=(24, 5, 5, 1)).astype(np.float32)
Y = RNG.integers(0, 3, size=24)


def make(optimizer="adam", loss="ce", **arguments):
    model = gn.Sequential(
        [
            layers.Conv2D(2, 3, activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(3, name="top"),
        ],
        seed=1,
        **arguments,
    )
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def fit(model, epochs, initial_epoch=0, seed=4):
    model.fit(X, Y, batch_size=7, epochs=epochs, initial_epoch=initial_epoch, seed=seed, verbose=0)


def state(model):
    network = model.network
    return (
        [w.tobytes() for w in model.get_weights()],
        {slot: values.tobytes() for slot, values in network.optimizer_state().items()},
        network.iterations,
    )


def through_a_file(model, path):
    model.save(path)
    return gn.load_model(path)


COPIES = {
    "file": through_a_file,
    "pickle": lambda model, path: pickle.loads(pickle.dumps(model)),
    "deepcopy": lambda model, path: copy.deepcopy(model),
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize(
    "optimizer", [optimizers.Adam(0.01), optimizers.SGD(0.1), optimizers.SGD(0.1, momentum=0.9)], ids=repr
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_continues_to_the_byte(tmp_path, way, optimizer, dtype):
    whole = make(optimizer, dtype=dtype)
    fit(whole, 3)
    half = make(optimizer, dtype=dtype)
    fit(half, 1)
    again = COPIES[way](half, tmp_path / "half.gridnn")
    assert state(again) == state(half)
    fit(again, 3, initial_epoch=1)
    assert state(again) == state(whole)
    # Without a seed the saved one is continued.
    once_more = COPIES[way](half, tmp_path / "half.gridnn")
    fit(once_more, 3, initial_epoch=1, seed=None)
    assert state(once_more) == state(whole)


def test_everything_is_restored(tmp_path):
    model = make(optimizers.SGD(0.1, momentum=0.5), losses.SparseCategoricalCrossentropy(ignore_class=2))
    fit(model, 1)
    model.optimizer.learning_rate = 0.025
    model.layers[0].trainable = False
    again = through_a_file(model, tmp_path / "model.gridnn")
    assert again.get_config() == model.get_config()
    assert again.optimizer.get_config() == model.optimizer.get_config()
    assert again.loss.get_config() == model.loss.get_config()
    assert again.metrics_names == model.metrics_names
    assert again.layers[0].trainable is False
    assert again.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)


def test_what_is_not_there_yet(tmp_path):
    unbuilt = through_a_file(make(), tmp_path / "unbuilt.gridnn")
    assert not unbuilt.built
    fit(unbuilt, 1)
    expected = make()
    fit(expected, 1)
    assert state(unbuilt) == state(expected)
    plain = through_a_file(gn.Sequential([gn.Input((2,)), layers.Dense(1)]), tmp_path / "plain.gridnn")
    with pytest.raises(ValueError, match="compile"):
        plain.fit(np.ones((1, 2)), np.ones(1))


def test_names_of_tensors(tmp_path):
    model = make()
    fit(model, 1)
    model.save(tmp_path / "model.gridnn")
    tensors, metadata = load_tensors(tmp_path / "model.gridnn")
    weights = {key for key in tensors if key.startswith("model/")}
    assert weights == {
        f"model/{layer}/{name}" for layer in ("1_conv2d", "4_top") for name in ("kernel", "bias")
    }
    assert all(key.startswith("optimizer/") for key in set(tensors) - weights)
    assert metadata["format_version"] == "1"
    assert json.loads(metadata["progress"]) == {"iterations": 4, "epoch": 1, "seed": 4}
    assert json.loads(metadata["model"])["class_name"] == "Sequential"


def test_what_load_model_is_given_by_mistake(tmp_path):
    gn.Sequential([gn.Input((4,)), layers.Dense(2)]).save_weights(tmp_path / "weights.gridnn")
    with pytest.raises(FileFormatError, match=r"weights alone, .* call its load_weights"):
        gn.load_model(tmp_path / "weights.gridnn")
    (tmp_path / "net.onnx").write_bytes(b"\x08\x08\x12\x00")
    with pytest.raises(FileFormatError, match=r"net\.onnx: gridnn\.from_onnx reads ONNX files"):
        gn.load_model(tmp_path / "net.onnx")
    with pytest.raises(FileNotFoundError):
        gn.load_model(tmp_path / "none.onnx")


def test_weights_alone(tmp_path):
    model = make()
    fit(model, 1)
    model.save_weights(tmp_path / "weights.gridnn")
    model.save(tmp_path / "model.gridnn")
    for name in ("weights.gridnn", "model.gridnn"):
        stack = [layers.Conv2D(2, 3, name="c"), layers.Flatten(), layers.Dropout(0.1), layers.Dense(3)]
        other = gn.Sequential([gn.Input((5, 5, 1)), *stack])
        other.load_weights(tmp_path / name)  # by position: names may differ
        assert [w.tobytes() for w in other.get_weights()] == [w.tobytes() for w in model.get_weights()]
    with pytest.raises(ValueError, match="not built"):
        make().load_weights(tmp_path / "weights.gridnn")
    with pytest.raises(ValueError, match="not built"):
        make().save_weights(tmp_path / "weights.gridnn")
    with pytest.raises(FileFormatError, match="model"):
        gn.load_model(tmp_path / "weights.gridnn")


@pytest.mark.parametrize(
    "layer",
    [
        layers.Dense(4),  # another shape
        layers.Dense(3, use_bias=False),  # fewer weights
        layers.Flatten(),  # none
    ],
    ids=repr,
)
def test_weights_of_another_model(tmp_path, layer):
    model = gn.Sequential([gn.Input((2,)), layers.Dense(3)], seed=0)
    model.save_weights(tmp_path / "weights.gridnn")
    other = gn.Sequential([gn.Input((2,)), copy.copy(layer)], seed=1)
    before = [w.tobytes() for w in other.get_weights()]
    with pytest.raises(FileFormatError, match=r"weights\.gridnn"):
        other.load_weights(tmp_path / "weights.gridnn")
    assert [w.tobytes() for w in other.get_weights()] == before
    double = gn.Sequential([gn.Input((2,)), layers.Dense(3)], dtype="float64")
    with pytest.raises(FileFormatError, match="float32"):
        double.load_weights(tmp_path / "weights.gridnn")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Tensors and metadata of a good file."""
    path = tmp_path_factory.mktemp("good") / "model.gridnn"
    model = make()
    fit(model, 1)
    model.save(path)
    return load_tensors(path)


def refused(tmp_path, tensors, metadata, match=None):
    path = tmp_path / "changed.gridnn"
    save_tensors(path, tensors, metadata)
    with pytest.raises(FileFormatError, match=match):
        gn.load_model(path)


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("format", "keras", "not a file of gridnn"),
        ("format", None, "not a file of gridnn"),
        ("format_version", "2", "update it"),
        ("format_version", "one", "not a number"),
        ("format_version", None, "not a number"),
        ("model", None, "'model' is missing"),
        ("model", "", None),
        ("model", "{", None),
        ("model", "[]", "not an object"),
        ("model", "null", "not an object"),
        ("model", "NaN", "not JSON"),
        ("model", "[" * 100_000, None),
        ("model", "{}", "'class_name' is missing"),
        ("model", '{"class_name": "os.system", "config": {}}', "unknown kind of model"),
        ("model", '{"class_name": "Sequential", "config": {}}', None),
        ("model", '{"class_name": "Sequential", "config": 3}', None),
        ("compile", "{}", None),
        ("compile", "[1]", None),
        ("compile", None, "optimizer state without an optimizer"),
        ("progress", None, "'progress' is missing"),
        ("progress", "{}", None),
        ("progress", '{"iterations": -1, "epoch": 1, "seed": 4}', "iterations"),
        ("progress", '{"iterations": 4, "epoch": 1.5, "seed": 4}', "epoch"),
        ("progress", '{"iterations": 4, "epoch": 1, "seed": "x"}', "seed"),
    ],
)
def test_wrong_metadata(tmp_path, file, key, value, match):
    tensors, metadata = file
    metadata = {k: v for k, v in metadata.items() if k != key}
    if value is not None:
        metadata[key] = value
    refused(tmp_path, tensors, metadata, match)


def _layer(config):
    return lambda model: model["config"]["layers"][0].update(config)


@pytest.mark.parametrize(
    "change",
    [
        _layer({"class_name": "Exec"}),
        _layer({"class_name": 3}),
        _layer({"class_name": "__init__"}),
        _layer({"config": {"filters": 2}}),
        _layer({"config": []}),
        _layer({"trainable": "yes"}),
        lambda model: model["config"]["layers"][0]["config"].update(filters=3),
        lambda model: model["config"]["layers"][0]["config"].update(filters="2"),
        lambda model: model["config"]["layers"][0]["config"].update(filters=10**30),
        lambda model: model["config"]["layers"][0]["config"].update(evil=1),
        lambda model: model["config"]["layers"][0]["config"].update(kernel_size=[0, 3]),
        lambda model: model["config"]["layers"][0]["config"].update(activation="system"),
        lambda model: model["config"]["layers"][0]["config"].update(kernel_initializer={"class_name": "x"}),
        lambda model: model["config"]["layers"][0]["config"].update(name="a/b"),
        lambda model: model["config"]["layers"].pop(),
        lambda model: model["config"].update(layers=3),
        lambda model: model["config"].update(layers=None),
        lambda model: model["config"].update(dtype="float16"),
        lambda model: model["config"].update(dtype="float64"),
        lambda model: model["config"].update(seed=-1),
        lambda model: model["config"].update(build_input_shape=None),
        lambda model: model["config"].update(build_input_shape=[5, 5, 2]),
        lambda model: model["config"].update(build_input_shape=["a"]),
        lambda model: model["config"].update(build_input_shape=[0, 5, 1]),
        lambda model: model["config"].update(name=3),
    ],
)
def test_wrong_model(tmp_path, file, change):
    tensors, metadata = file
    model = json.loads(metadata["model"])
    change(model)
    refused(tmp_path, tensors, {**metadata, "model": json.dumps(model)})


@pytest.mark.parametrize("units", [10**9, 10**13])
def test_a_description_that_asks_for_all_memory(tmp_path, units):
    # 16 GB would be slow to take, and 160 TB a MemoryError: it must not come to either.
    model = gn.Sequential([gn.Input((4,)), layers.Dense(3)])
    model.save(tmp_path / "small.gridnn")
    tensors, metadata = load_tensors(tmp_path / "small.gridnn")
    description = json.loads(metadata["model"])
    description["config"]["layers"][1]["config"]["units"] = units
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    match = rf"'kernel' of layer \d .*has shape \(4, {units}\) in the model, \(4, 3\) in the file"
    refused(tmp_path, tensors, {**metadata, "model": json.dumps(description)}, match)
    for shape in ([4], None):  # the same without an Input
        description["config"]["layers"] = description["config"]["layers"][-1:]
        description["config"]["build_input_shape"] = shape
        refused(tmp_path, tensors, {**metadata, "model": json.dumps(description)})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(optimizer=None),
        lambda c: c.update(optimizer={"class_name": "SGD", "config": {}}),  # other slots
        lambda c: c.update(optimizer={"class_name": "Adam", "config": {"beta_1": 2}}),
        lambda c: c.update(loss="system"),
        lambda c: c.update(metrics="accuracy"),
        lambda c: c.update(metrics=[3]),
        lambda c: c.update(objective=3),
        lambda c: c.update(objective={"loss": None, "metrics": []}),
        lambda c: c["objective"].update(metrics={"a": 1}),
    ],
)
def test_wrong_compile_arguments(tmp_path, file, change):
    tensors, metadata = file
    compiled = json.loads(metadata["compile"])
    change(compiled)
    refused(tmp_path, tensors, {**metadata, "compile": json.dumps(compiled)})


def _without(key):
    return lambda tensors: tensors.pop(key)


def _with(key, value):
    return lambda tensors: tensors.update({key: value})


@pytest.mark.parametrize(
    "change",
    [
        _without("model/4_top/bias"),
        _with("model/4_top/bias", np.zeros(4, np.float32)),
        _with("model/4_top/bias", np.zeros((3, 1), np.float32)),
        _with("model/4_top/bias", np.zeros(3, np.float64)),
        _with("model/4_top/bias", np.zeros(3, np.int32)),
        _with("model/5_more/bias", np.zeros(3, np.float32)),
        _with("model/4_again/bias", np.zeros(3, np.float32)),
        _with("model/top/bias", np.zeros(3, np.float32)),
        _with("model/4_top", np.zeros(3, np.float32)),
        _with("model/99999999999999999999_top/bias", np.zeros(3, np.float32)),
        _with("optimizer/more", np.zeros(3, np.float32)),
        _with("other", np.zeros(3, np.float32)),
        lambda tensors: [tensors.pop(key) for key in list(tensors) if key.startswith("optimizer/")],
        lambda tensors: tensors.update({k: v[:-1] for k, v in tensors.items() if k.startswith("optimizer/")}),
        lambda tensors: tensors.clear(),
    ],
)
def test_wrong_tensors(tmp_path, file, change):
    tensors, metadata = file
    tensors = dict(tensors)
    change(tensors)
    refused(tmp_path, tensors, metadata)


def test_damaged_files(tmp_path):
    model = make()
    fit(model, 1)
    model.save(tmp_path / "good.gridnn")
    good = (tmp_path / "good.gridnn").read_bytes()
    damaged = {
        "empty": b"",
        "short": good[:5],
        "header": good[:100],
        "tail": good[:-1],
        "longer": good + b"x",
        "text": b"hello world, this is no model",
        "size": b"\xff" * 8 + good[8:],
        "pickle": pickle.dumps(print),
    }
    for name, content in damaged.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=name):
            gn.load_model(path)
    with pytest.raises(FileNotFoundError):
        gn.load_model(tmp_path / "missing.gridnn")
    with pytest.raises(OSError):
        model.save(tmp_path / "no folder" / "model.gridnn")


def test_saving_replaces_the_file_whole(tmp_path):
    path = tmp_path / "model.gridnn"
    model = make()
    fit(model, 1)
    model.save(str(path))
    model.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.gridnn"]
    assert state(gn.load_model(str(path))) == state(model)
