"""Files of Keras: those of tools/keras_files.py come in, ours go out, and bad ones are refused."""

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import gridnn as gn
from gridnn import errors, initializers, layers, regularizers

h5py = pytest.importorskip("h5py")

from keras_models import ALL, arrays, ours  # noqa: E402  after the skip

from gridnn.interop.keras import hdf5_child, loading, reading  # noqa: E402  after the skip

pytestmark = pytest.mark.one_tier

HERE = Path(__file__).parent
ARCHIVE = HERE / "keras.zip"
TOOL = HERE.parents[2] / "tools" / "keras_files.py"
with zipfile.ZipFile(ARCHIVE) as _archive:
    NAMES = sorted(name.removesuffix(".keras") for name in _archive.namelist() if name.endswith(".keras"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras")
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def expected(files):
    with np.load(files / "expected.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture
def in_process(monkeypatch):
    """Reads without a child process, which takes most of the time: for files that can be trusted."""

    def read(path):
        try:
            return reading.decoded(hdf5_child.read(os.fspath(path)))
        except (hdf5_child.RefusedError, OSError, ValueError) as error:
            raise errors.FileFormatError(str(error)) from error

    monkeypatch.setattr(reading, "read", read)


def agree(model, name, expected):
    y = model.predict(expected[f"{name}.x"], verbose=0)
    np.testing.assert_allclose(y, expected[f"{name}.y"], rtol=1e-5, atol=1e-5)


def empty_hdf5():
    buffer = io.BytesIO()
    h5py.File(buffer, "w").close()
    return buffer.getvalue()


# In


def test_there_are_enough_models(expected):
    assert len(NAMES) >= 20
    for name in NAMES:
        assert np.ptp(expected[f"{name}.y"]) > 1e-3, name


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("kind", ["keras", "h5"])
@pytest.mark.parametrize("name", NAMES)
def test_models_of_keras_give_its_outputs(files, expected, name, kind):
    model = gn.load_model(files / f"{name}.{kind}")
    assert not model.compiled
    assert model.dtype == ("float64" if name == "doubles" else "float32")
    agree(model, name, expected)


def emptied(model):
    model.set_weights([np.zeros_like(array) for array in model.get_weights()])
    return model


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("kind", ["weights.h5", "old.h5", "h5", "keras"])
@pytest.mark.parametrize("name", NAMES)
def test_weights_of_keras_give_its_outputs(files, expected, name, kind):
    model = emptied(gn.load_model(files / f"{name}.keras"))
    model.load_weights(files / f"{name}.{kind}")
    agree(model, name, expected)
    emptied(model).load_weights(files / f"{name}.{kind}", by_name=True)
    agree(model, name, expected)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("name", ["residual", "inception", "unet", "nested", "transfer", "many"])
def test_names_do_not_matter(files, expected, name):
    """Layers of other names are found in the order of Keras, not in ours: its branches are by depth."""
    known = gn.load_model(files / f"{name}.keras")

    def renamed(description):
        config = dict(description["config"])
        config["name"] = f"own_{config['name']}"
        for field in ("layers", "shortcut"):
            if config.get(field):
                config[field] = [renamed(one) for one in config[field]]
        if "branches" in config:
            config["branches"] = [[renamed(one) for one in branch] for branch in config["branches"]]
        return {**description, "config": config, "trainable": True}

    config = known.get_config()
    source, *stack = config["layers"]
    model = gn.Sequential.from_config({**config, "layers": [source, *map(renamed, stack)]})
    for kind in ("keras", "h5"):
        emptied(model).load_weights(files / f"{name}.{kind}")
        agree(model, name, expected)
    emptied(model)
    if name == "inception":  # whose branches could stand in another order
        with pytest.raises(errors.FileFormatError, match=r"'own_.*are in branches side by side"):
            model.load_weights(files / f"{name}.weights.h5")
    else:
        model.load_weights(files / f"{name}.weights.h5")
        agree(model, name, expected)


@pytest.mark.usefixtures("in_process")
def test_branches_in_another_order_are_noticed(tmp_path):
    """A shortcut of ResNet-50 has the shapes of the layer beside it, and Keras has it first in the sum."""

    def model(*names, swapped=False):
        convs = [layers.Conv2D(3, 1, name=name) for name in names]
        branches = [[convs[0]], [layers.ReLU(), convs[1]]]
        return gn.Sequential([gn.Input((4, 4, 3)), layers.Parallel(branches[:: -1 if swapped else 1], "add")])

    known = model("a", "b")
    known.save(tmp_path / "m.keras")
    same, swapped, named = model("c", "d"), model("c", "d", swapped=True), model("a", "b", swapped=True)
    for own in (same, named):
        own.load_weights(tmp_path / "m.keras")
        x = np.random.default_rng(0).normal(size=(2, 4, 4, 3))
        np.testing.assert_allclose(
            own.predict(x, verbose=0), known.predict(x, verbose=0), rtol=1e-6, atol=1e-6
        )
    with pytest.raises(errors.FileFormatError, match=r"'d'.*'c'.*branches side by side"):
        swapped.load_weights(tmp_path / "m.keras")


def test_a_process_of_its_own_reads_files(files, expected, tmp_path):
    path = tmp_path / "model"  # known by what is in it
    path.write_bytes((files / "residual.keras").read_bytes())
    agree(gn.load_model(path), "residual", expected)
    model = emptied(gn.load_model(files / "residual.h5"))
    model.load_weights(files / "residual.weights.h5", source="keras")
    agree(model, "residual", expected)


@pytest.mark.usefixtures("in_process")
def test_what_comes_in_is_what_it_says(files):
    model = gn.load_model(files / "options.keras")
    first, second, third, scores = model.layers
    assert isinstance(first.kernel_initializer, initializers.HeNormal)
    assert first.kernel_regularizer.l2 == 0.2
    assert second.kernel_constraint.max_value == 2.0
    assert isinstance(third.activity_regularizer, regularizers.L1)
    assert (scores.name, scores.trainable, first.trainable) == ("scores", False, True)
    assert gn.load_model(files / "unknown_sizes.keras").input_shape == (None, None, None, 2)
    assert isinstance(gn.load_model(files / "unet.keras").layers[1], layers.Parallel)
    assert isinstance(gn.load_model(files / "residual.keras").get_layer("sum"), layers.Residual)
    model.compile("adam", "mse")
    model.fit(np.ones((4, 7)), np.ones((4, 3)), verbose=0)


@pytest.mark.usefixtures("in_process")
def test_first_files_of_this_kind(files, expected, tmp_path):
    """Those of 2023 say `_layer_checkpoint_dependencies` where today's say `layers`."""
    with zipfile.ZipFile(files / "nested.keras") as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO(contents["model.weights.h5"])

    def rename(group):
        for name in list(group):
            if isinstance(group[name], h5py.Group):
                rename(group[name])
            if name == "layers":
                group.move("layers", "_layer_checkpoint_dependencies")

    with h5py.File(buffer, "a") as file:
        rename(file)
    contents["model.weights.h5"] = buffer.getvalue()
    agree(gn.load_model(packed(tmp_path / "m.keras", contents)), "nested", expected)


@pytest.mark.usefixtures("in_process")
def test_descriptions_as_keras_2_wrote_them(tmp_path):
    """Texts as bytes, `batch_input_shape`, lists of calls, and long lists of names in pieces."""
    dense = [{"class_name": "Dense", "config": {"name": f"d{n}", "units": 3, "activation": "relu",
              "kernel_initializer": {"class_name": "GlorotUniform", "config": {"dtype": "float32"}}},
              "name": f"d{n}", "inbound_nodes": [[["in" if n == 0 else f"d{n - 1}", 0, 0, {}]]]}
             for n in range(3)]  # fmt: skip
    source = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 3], "name": "in"},
              "name": "in", "inbound_nodes": []}  # fmt: skip
    total = {"class_name": "Add", "config": {"name": "sum"}, "name": "sum",
             "inbound_nodes": [[["d2", 0, 0, {}], ["d0", 0, 0, {}]]]}  # fmt: skip
    config = {"name": "m", "layers": [source, *dense, total],
              "input_layers": [["in", 0, 0]], "output_layers": [["sum", 0, 0]]}  # fmt: skip
    path = tmp_path / "old.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Model", "config": config}).encode()
        file.attrs["keras_version"] = np.bytes_("2.3.1")
        group = file.create_group("model_weights")
        group.attrs["layer_names0"] = [b"in", b"d0"]
        group.attrs["layer_names1"] = [b"d1", b"d2", b"sum"]
        for name in ("in", "sum"):
            group.create_group(name).attrs["weight_names"] = np.array([], "S1")
        for n in range(3):
            layer = group.create_group(f"d{n}")
            layer.attrs["weight_names"] = [f"d{n}/kernel:0".encode(), f"d{n}/bias:0".encode()]
            layer[f"d{n}/kernel:0"] = np.full((3, 3), n + 1, np.float32)
            layer[f"d{n}/bias:0"] = np.zeros(3, np.float32)
    model = gn.load_model(path)
    assert model.predict(np.ones((1, 3)), verbose=0)[0, 0] == 3 * 6 * 9 + 3
    emptied(model).load_weights(path)
    assert model.get_layer("d1").kernel[0, 0] == 2


def small(*more, **options):
    return gn.Sequential([gn.Input((6,)), *more, layers.Dense(6, **options)])


@pytest.mark.usefixtures("in_process")
def test_weights_that_do_not_fit_are_shown(files):
    path = files / "many.weights.h5"
    with pytest.raises(
        errors.FileFormatError, match=r"(?s)layers/dense_1'.*12 layers with weights in the file"
    ):
        small().load_weights(path)
    model = gn.Sequential([gn.Input((6,)), layers.Dense(6, name="dense_3"), layers.Dense(5, name="dense")])
    before = model.get_weights()
    for kind in ("keras", "old.h5"):
        with pytest.raises(errors.FileFormatError, match=r"(?s)12 layers.*by_name=True"):
            model.load_weights(files / f"many.{kind}")
        with pytest.raises(errors.FileFormatError, match=r"'dense'.*shapes.*skip_mismatch=True"):
            model.load_weights(files / f"many.{kind}", by_name=True)
        assert all(map(np.array_equal, before, model.get_weights()))
    with pytest.warns(UserWarning, match="skipped: layer 'dense'"):
        model.load_weights(path, by_name=True, skip_mismatch=True)
    assert np.array_equal(model.layers[1].kernel, before[2])
    assert not np.array_equal(model.layers[0].kernel, before[0])
    with pytest.raises(errors.FileFormatError, match="no layer of the model has a name"):
        gn.Sequential([gn.Input((6,)), layers.Dense(6, name="x")]).load_weights(path, by_name=True)
    with pytest.raises(errors.FileFormatError, match="holds weights only"):
        gn.load_model(path)
    twelve = [layers.Dense(6, name=f"x{n}") for n in range(11)]
    with pytest.raises(errors.FileFormatError, match=r"stands where layer 'dense' \(Dense\)"):
        gn.Sequential([gn.Input((6,)), layers.LayerNormalization(), *twelve]).load_weights(
            files / "many.keras"
        )


@pytest.mark.usefixtures("in_process")
def test_numbers_of_normalization_are_compared(files):
    model = gn.load_model(files / "normalizations.keras")
    config = model.get_config()
    config["layers"][1]["config"]["mean"] = [0.0] * 6
    with pytest.raises(errors.FileFormatError, match=r"no Normalization of the model.*mean="):
        gn.Sequential.from_config(config).load_weights(files / "normalizations.weights.h5")


def test_arguments(files, tmp_path):
    with pytest.raises(ValueError, match="for files of Keras; see `mapping`"):
        small().load_weights({}, by_name=True, source="pytorch")
    small().save_weights(tmp_path / "w.gridnn")
    with pytest.raises(ValueError, match="for files of Keras"):
        small().load_weights(tmp_path / "w.gridnn", skip_mismatch=True)
    with pytest.raises(TypeError, match="`by_name`"):
        small().load_weights(files / "many.keras", by_name="dense")


def described(*entries, **config):
    """A description of a Sequential model."""
    return {"class_name": "Sequential", "config": {"name": "m", "layers": list(entries), **config}}


def entry(kind, *, module="keras.layers", registered_name=None, **config):
    return {"module": module, "class_name": kind, "registered_name": registered_name,
            "config": {"name": kind.lower(), **config}}  # fmt: skip


INPUT = entry("InputLayer", batch_shape=[None, 4, 4, 2])
QUANTIZED = {"class_name": "QuantizedDTypePolicy", "config": {"name": "int8_from_float32"}}
CALL = {"class_name": "__keras_tensor__", "config": {"keras_history": ["inputlayer", 0, 0]}}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (entry("Lambda", function={"code": "4wAAAA=="}), r"'lambda' \(Lambda\).*code of Python"),
        (entry("LSTM", units=3), r"'lstm' \(LSTM\).*no such layer"),
        (entry("MultiHeadAttention", num_heads=3), "no such layer"),
        (entry("Residual", layers=[]), "no such layer"),
        (entry("RandomCrop", height=2, width=2), "at inference"),
        (entry("MixUp", alpha=0.2), "leaves labels"),
        (
            entry("Conv2D", filters=2, kernel_size=3, data_format="channels_first"),
            "data_format='channels_first'",
        ),
        (entry("Dense", units=2, dtype=QUANTIZED), "quantized"),
        (entry("Dense", units=2, dtype="int8_from_float32"), "quantized"),
        (entry("Dense", units=2, activation="hard_silu"), "hard_silu"),
        (entry("Dense", units=2, activation="hard_sigmoid"), "hard_sigmoid of Keras 2"),
        (
            entry("Dense", units=2, kernel_regularizer={"class_name": "Own", "config": {}}),
            "kernel_regularizer",
        ),
        (entry("Dense", units=2, module="my.code", registered_name="my>Dense"), "class of its own"),
        (entry("Dense", units=2, lora_rank=4), "lora_rank=4"),
        (entry("BatchNormalization", renorm=True), "renorm=True"),
        (entry("Dense", units="many"), "units"),
        (entry("Dense"), "units"),
        (entry("Normalization", axis=-1, mean=None, variance=None), "neither been adapted"),
        ({"class_name": 3}, "class_name"),
        ({"class_name": "Dense", "config": 3}, "config"),
    ],
)
def test_what_cannot_be_read_is_named(layer, message):
    contents = reading.Contents({}, {}, described(INPUT, layer))
    with pytest.raises((ValueError, TypeError), match=message):
        loading.model_of(contents)


def functional(*entries, output="b"):
    config = {"name": "f", "layers": [{**INPUT, "inbound_nodes": []}, *entries]}
    ends = {"input_layers": ["inputlayer", 0, 0], "output_layers": [output, 0, 0]}
    return {"class_name": "Functional", "config": {**config, **ends}}


def called(name, *inputs, kind="ReLU", kwargs=None, **config):
    tensors = [{"class_name": "__keras_tensor__", "config": {"keras_history": [one, 0, 0]}} for one in inputs]
    node = {"args": [tensors], "kwargs": kwargs or {}}
    return {**entry(kind, **{"name": name, **config}), "inbound_nodes": [node]}


A = called("a", "inputlayer")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (functional(A, called("b", "a", kwargs={"mask": 3})), "mask=3"),
        (functional(A, called("c", "inputlayer"), called("b", "a")), "leads nowhere"),
        (functional(called("a", "b"), called("b", "a")), "does not come from its input"),
        (functional(A, called("b", "x")), "does not come from its input"),
        (functional(A, called("b", "a", "inputlayer")), "reads 2 layers"),
        (functional(A, A, called("b", "a")), "two layers of one name"),
        (functional(A, output="b"), "no output 'b'"),
        ({"class_name": "Functional",
          "config": {**functional(A)["config"], "input_layers": [["a", 0, 0], ["b", 0, 0]]}},
         "no input 'b'"),
        ({"class_name": "Functional", "config": {"name": "f"}}, "no list of `layers`"),
        (entry("Dense", units=3), "not a model"),
    ],
)  # fmt: skip
def test_graphs_that_cannot_be_read_say_why(model, message):
    with pytest.raises(ValueError, match=message):
        loading.model_of(reading.Contents({}, {}, model))


def test_a_description_takes_no_memory_that_its_weights_do_not_fill(files):
    with zipfile.ZipFile(files / "convnet.keras") as archive:
        text = archive.read("config.json").decode()
    contents = reading.decoded(hdf5_child.read(os.fspath(files / "convnet.keras")))
    for old, new in (('"units": 6', '"units": 1000000000000'), ('"filters": 4', '"filters": 900000000')):
        config = json.loads(text.replace(old, new))
        with pytest.raises(ValueError, match="weights of shapes"):
            loading.model_of(reading.Contents(contents.tensors, contents.attributes, config, "3.15"))


# Out


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("name", ALL)
def test_what_goes_out_comes_back(tmp_path, name):
    model, x = ours(name)
    path = tmp_path / "m.keras"
    model.save(path)
    first = path.read_bytes()
    model.save(path)
    assert path.read_bytes() == first
    again = gn.load_model(path)
    before = arrays(model.predict(x, verbose=0))
    for found, expected in zip(arrays(again.predict(x, verbose=0)), before, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    emptied(model).load_weights(path)
    for found, expected in zip(arrays(model.predict(x, verbose=0)), before, strict=True):
        assert np.array_equal(found, expected)


def test_keras_opens_ours(tmp_path):
    python = os.environ.get("GRIDNN_KERAS_PYTHON")
    if not python:
        pytest.skip("GRIDNN_KERAS_PYTHON does not name a Python that has Keras")
    expected = {}
    for name in ALL:
        model, x = ours(name)
        model.save(tmp_path / f"{name}.keras")
        for letter, values in (("x", x), ("y", model.predict(x, verbose=0))):
            expected |= {f"{name}.{letter}{n}": array for n, array in enumerate(arrays(values))}
    np.savez(tmp_path / "expected.npz", **expected)
    done = subprocess.run([python, TOOL, "check", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-10_000:]
    assert f"{len(ALL)} of {len(ALL)} files agree" in done.stdout


class Own(layers.Layer):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (layers.Conv2D(2, 3, padding="same", padding_mode="reflect"), "'conv2d'.*padding_mode='reflect'"),
        (layers.Conv2D(2, 3, strides=2, dilation_rate=2), "strides and dilation"),
        (layers.Conv2DTranspose(2, 3, groups=2), "groups of a transposed"),
        (layers.Conv2DTranspose(2, 3, padding=1), "padding in numbers of a transposed"),
        (layers.MaxPooling2D(4, 4, ceil_mode=True), "ceil_mode"),
        (layers.MaxPooling2D(2, padding=1), "padding=.* of a pool"),
        (layers.AveragePooling2D(2, padding=1), "padding=.* of a pool"),
        (layers.Padding2D(1, "edge"), "mode='edge'"),
        (layers.RandomNoise(0.1), "no such layer"),
        (layers.RandomFlip([0]), "`mode`"),
        (layers.RandomContrast((0.5, 0.2)), "`factor`"),
        (layers.RandomErasing(fill_value=(1, 2)), "`fill_value`"),
        (layers.MixUp(), "no such layer"),
        (Own(), "'own'.*written in Python"),
    ],
)
def test_what_keras_lacks_is_named(tmp_path, layer, message):
    model = gn.Sequential([gn.Input((6, 6, 2)), layer.__copy__(), layers.Padding2D(1, "wrap", name="border")])
    with pytest.raises(ValueError, match=f"(?s)Keras.*{message}.*'border'"):
        model.save(tmp_path / "m.keras")
    assert not list(tmp_path.iterdir())


def test_layers_of_several_models_are_named(tmp_path):
    x, shared = gn.Input((4,)), layers.Dense(4, name="shared")
    inner = gn.Model(x, shared(x), name="inner")
    y = gn.Input((4,))
    model = gn.Model(y, [inner(y), shared(y)], name="outer")
    with pytest.raises(ValueError, match=r"'shared' \(Dense\): it stands in model '.*' and in model"):
        model.save(tmp_path / "m.keras")


def test_weights_alone_are_no_keras_file(tmp_path):
    with pytest.raises(ValueError, match=r"\.gridnn.*model\.save writes \.keras"):
        small().save_weights(tmp_path / "m.keras")


def test_models_that_are_not_built_have_no_file(tmp_path):
    with pytest.raises(errors.NotReadyError):
        gn.Sequential([layers.Dense(2)]).save(tmp_path / "m.keras")


# Bad files


def packed(path, contents, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, text in contents.items():
            archive.writestr(name, text)
    return path


@pytest.fixture
def refused(tmp_path):
    """Makes a weights file with a function, and asserts that it is refused with a message, and quickly."""

    def check(fill, message, **options):
        path = tmp_path / "w.h5"
        with h5py.File(path, "w", **options) as file:
            fill(file)
        with pytest.raises(errors.FileFormatError, match=message):
            reading.read(path)
        path.unlink()

    return check


def test_files_that_lead_elsewhere(refused, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(64)))
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = np.ones(3)

    def external_link(file):
        file["layers"] = h5py.ExternalLink(os.fspath(other), "/x")

    def soft_link(file):
        file["a"] = np.ones(3)
        file["b"] = h5py.SoftLink("/a")

    def external_data(file):
        file.create_dataset("a", (64,), "u1", external=[(os.fspath(secret), 0, 64)])

    def virtual(file):
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource(other, "x", (3,))
        file.create_virtual_dataset("a", layout)

    refused(external_link, "'layers' is a link")
    refused(soft_link, "'b' is a link")
    refused(external_data, "'a' is stored in another file")
    refused(virtual, "'a' is stored in another file")


@pytest.mark.usefixtures("in_process")
def test_files_that_are_larger_than_they_are(refused):
    refused(lambda file: file.create_dataset("a", (2**40,), "f4", chunks=(1024,)), "'a' is said to have")
    zeros = {"data": np.zeros(10**6, "f4"), "chunks": True, "compression": "gzip"}
    refused(lambda file: file.create_dataset("a", **zeros), "'a' is said to have")
    ones = {"data": np.ones(50, "f4"), "chunks": (5,), "compression": "lzf"}
    refused(lambda file: file.create_dataset("a", **ones), "unusual way")


@pytest.mark.usefixtures("in_process")
def test_files_of_circles_and_heaps(refused):
    def circle(file):
        group = file.create_group("a/b")
        group["c"] = file["a"]

    def twice(file):
        file["a"] = np.ones(3)
        file["b"] = file["a"]

    def deep(file):
        file.create_group("/".join("a" * 100))

    refused(circle, "twice, or in a circle")
    refused(twice, "twice, or in a circle")
    refused(deep, "deeper than")


@pytest.mark.usefixtures("in_process")
def test_files_of_other_things(refused):
    refused(lambda file: file.create_dataset("a", data=np.array([b"abc"])), "not numbers")
    refused(lambda file: file.create_dataset("a", data=[1j]), "not numbers")
    refused(lambda file: file.create_dataset("a", data=h5py.Empty("f4")), "no shape")
    refused(lambda file: file.__setitem__("a", np.dtype("f4")), "neither a group nor an array")
    refused(lambda file: file.attrs.__setitem__("model_config", "{"), "no JSON")
    refused(lambda file: file.attrs.__setitem__("model_config", "[" * 30_000), "no JSON")
    refused(lambda file: file.attrs.__setitem__("model_config", b"\xff"), "no JSON")


@pytest.mark.usefixtures("in_process")
def test_archives(files, tmp_path):
    with zipfile.ZipFile(files / "convnet.keras") as archive:
        good = {name: archive.read(name) for name in archive.namelist()}
    zeros = bytes(10**7)
    for changed, message in (
        ({"config.json": zeros}, "said to have 10000000 bytes"),
        ({"model.weights.h5": zeros}, "said to have 10000000 bytes"),
        ({"model.weights.h5": good["model.weights.h5"][:3000]}, "truncated"),
        ({"model.weights.h5": b"nothing"}, "signature"),
        ({"metadata.json": b"[]"}, "no JSON object"),
        ({"config.json": b"\xff"}, "utf-8"),
        ({"config.json": b"{}"}, "class_name"),
    ):
        path = packed(tmp_path / "m.keras", {**good, **changed}, zipfile.ZIP_DEFLATED)
        with pytest.raises(errors.FileFormatError, match=message):
            gn.load_model(path)
    path = packed(tmp_path / "m.keras", {"config.json": good["config.json"], "model.weights.npz": b""})
    with pytest.raises(
        errors.FileFormatError, match=r"metadata\.json once; this archive holds: config\.json"
    ):
        gn.load_model(path)
    twice = packed(tmp_path / "m.keras", {**good, "config.jsoN": b""}).read_bytes()
    (tmp_path / "m.keras").write_bytes(twice.replace(b"config.jsoN", b"config.json"))
    with pytest.raises(errors.FileFormatError, match=r"config\.json once"):
        gn.load_model(tmp_path / "m.keras")
    for contents in (b"PK\3\4" + bytes(100), b"\x89HDF\r\n\x1a\n" + bytes(100)):
        (tmp_path / "m.keras").write_bytes(contents)
        with pytest.raises(errors.FileFormatError):
            gn.load_model(tmp_path / "m.keras")


@pytest.mark.usefixtures("in_process")
def test_names_cannot_do_anything_to_a_terminal(tmp_path):
    names = ["\x1b[2J", "two\nlines", "\udc80", "x" * 10_000]
    for name in names:
        for model in (
            described({**INPUT, "class_name": name}),
            described(entry("Dense", units=2), name=name),
        ):
            path = packed(
                tmp_path / "m.keras",
                {"config.json": json.dumps(model), "metadata.json": "{}", "model.weights.h5": empty_hdf5()},
            )
            try:
                gn.load_model(path)
            except errors.FileFormatError as error:
                shown = str(error).removeprefix(str(tmp_path))
                assert shown.isprintable(), name
                assert len(shown) < 1000


@pytest.mark.usefixtures("in_process")
def test_variances_below_zero_are_refused(tmp_path):
    model = gn.Sequential([gn.Input((4,)), layers.BatchNormalization(name="norm")])
    model.save(tmp_path / "good.keras")
    with zipfile.ZipFile(tmp_path / "good.keras") as archive:
        good = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO(good["model.weights.h5"])
    with h5py.File(buffer, "r+") as file:
        file["layers/batch_normalization/vars/3"][...] = [1, -2, 1, 1]
    path = packed(tmp_path / "m.keras", {**good, "model.weights.h5": buffer.getvalue()})
    for load in (gn.load_model, model.load_weights):
        with pytest.raises(errors.FileFormatError, match=r"moving_variance of layer 'norm'.*is -2"):
            load(path)


def test_a_process_that_dies_or_hangs_is_an_error(files, monkeypatch, tmp_path):
    path = files / "convnet.weights.h5"
    for code, message in (
        ("import os; os.abort()", "reading it ended with status"),
        ("x = [0] * 10**11", "reading it ended with status"),
        ("while True: pass", "does not end"),
        ("print('nonsense')", "no safetensors file"),
    ):
        monkeypatch.setattr(reading, "_BOOT", code)
        monkeypatch.setattr(reading, "_SECONDS", 20.0 if "True" not in code else 0.5)
        with pytest.raises(errors.FileFormatError, match=message):
            reading.read(path)


def test_without_h5py_the_error_says_what_to_install(files, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "h5py", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for act in (lambda: gn.load_model(files / "convnet.h5"), lambda: small().save(tmp_path / "m.keras")):
        with pytest.raises(ImportError, match=r'pip install "gridnn\[keras\]"'):
            act()


PAGE = HERE.parents[2] / "docs" / "how-to" / "from-keras.md"


def test_the_cells_of_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = re.findall(r"```\{code-cell\}\n((?!:tags:).*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(cells) == 3
    names = {}
    for cell in cells:
        exec(compile(cell, str(PAGE), "exec"), names)  # noqa: S102
    assert isinstance(names["again"].layers[1], layers.Residual)
