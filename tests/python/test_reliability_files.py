"""Files hold what was saved, and are read in bounded time."""

import time
from pathlib import Path

import numpy as np
import pytest

import gridnn as gn
from gridnn import callbacks, layers
from gridnn._network import load_tensors, save_tensors
from gridnn.errors import FileFormatError

REFERENCE = Path(__file__).parent / "reference"


def small():
    return gn.Sequential([gn.Input((3,)), layers.Dense(2)], seed=0)


def test_files_of_version_0_1_0_load():
    model = gn.load_model(REFERENCE / "version_0_1_0.gridnn")
    x = (np.arange(4 * 36) % 7).reshape(4, 6, 6, 1).astype(np.float32)
    want = np.loadtxt(REFERENCE / "version_0_1_0.txt")
    np.testing.assert_allclose(model.predict(x, verbose=0), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.HDF5", "m.onnx", "m.pt", "m.pth", "m.tflite", "m.pb"])
def test_endings_of_others(tmp_path, name):
    for save in (small().save, small().save_weights, callbacks.ModelCheckpoint):
        with pytest.raises(ValueError, match=r"\.gridnn"):
            save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_unknown_layers_mention_custom_objects(tmp_path):
    class Vanishing(layers.Layer):
        def call(self, x):
            return x

    gn.Sequential([gn.Input((3,)), Vanishing()]).save(tmp_path / "a")
    tensors, metadata = load_tensors(tmp_path / "a")
    metadata["model"] = metadata["model"].replace("Vanishing", "Vanished")
    save_tensors(tmp_path / "a", tensors, metadata)
    with pytest.raises(FileFormatError, match="custom_objects"):
        gn.load_model(tmp_path / "a")


def test_ten_thousand_layers(tmp_path):
    start = time.monotonic()
    model = gn.Sequential([gn.Input((2,)), *(layers.Dense(2) for _ in range(3000))], seed=0)
    assert model.layers[-1].name == "dense_2999"
    model.save(tmp_path / "a")
    again = gn.load_model(tmp_path / "a")
    assert time.monotonic() - start < 30
    assert again.layers[7].name == "dense_7"


def test_names_after_a_layer_is_gone():
    model = gn.Sequential([layers.Dense(2) for _ in range(3)])
    model.pop()
    model.add(layers.Dense(2))
    assert [layer.name for layer in model.layers] == ["dense", "dense_1", "dense_2"]
    with pytest.raises(ValueError, match="unique"):
        model.add(layers.Residual([layers.Dense(2, name="new"), layers.Dense(2, name="dense_1")]))
    model.add(layers.Dense(2, name="new"))


def test_nothing_is_drawn_to_be_overwritten(tmp_path):
    model = gn.Sequential([gn.Input((3,)), layers.Dense(3, kernel_initializer="orthogonal")], seed=1)
    model.save(tmp_path / "a")
    again = gn.load_model(tmp_path / "a")
    assert again.get_config() == model.get_config()
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])
