"""`model.export` and `gridnn export`: which format, and what is refused."""

import sys

import pytest

import gridnn as gn
from gridnn import layers
from gridnn.cli import main

pytestmark = pytest.mark.one_tier


def network():
    return gn.Sequential(
        [gn.Input((6, 6, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)], seed=1, name="small"
    )


@pytest.fixture
def without(monkeypatch):
    """Makes modules impossible to import."""

    def hide(*names):
        for module in [key for key in sys.modules if key.split(".")[0] in names]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setattr(sys, "meta_path", [_Refusing(names), *sys.meta_path])

    return hide


class _Refusing:
    def __init__(self, names):
        self._names = names

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize("name", ["net.tflite", "net", "net.onnx.bak"])
def test_endings_that_say_nothing(name, tmp_path):
    with pytest.raises(ValueError, match=r"The ending of `path` must say what to write.*one of \.onnx"):
        network().export(tmp_path / name)


def test_unknown_formats(tmp_path):
    with pytest.raises(ValueError, match="format"):
        network().export(tmp_path / "net.onnx", "tflite")


def test_the_format_beats_the_ending(tmp_path):
    pytest.importorskip("onnx")
    network().export(tmp_path / "net", "onnx", verify=False)
    network().export(tmp_path / "NET.ONNX", verify=False)
    assert (tmp_path / "net").read_bytes() == (tmp_path / "NET.ONNX").read_bytes()


def test_without_the_package(tmp_path, without):
    without("onnx")
    with pytest.raises(ImportError, match=r"pip install 'gridnn\[onnx\]'"):
        network().export(tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_built(tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match="not built yet"):
        gn.Sequential([layers.Dense(3)]).export(tmp_path / "net.onnx")


def test_command_line(tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    model = network()
    model.save(tmp_path / "net.gridnn")
    options = ["--opset", "13", "--activation", "softmax", "--class-names", "a", "b", "c", "--batch", "2"]
    out = tmp_path / "net.onnx"
    assert main(["export", str(tmp_path / "net.gridnn"), str(out), *options]) == 0
    assert "model 'small', 119 weights" in capsys.readouterr().out
    message = onnx.load(out)
    assert message.opset_import[0].version == 13
    assert {entry.key: entry.value for entry in message.metadata_props} == {
        "layout": "channels_last",
        "output_activation": "softmax",
        "class_names": '["a", "b", "c"]',
    }
    model.export(
        tmp_path / "other.onnx", opset_version=13, activation="softmax", class_names=list("abc"), batch=2
    )
    assert (tmp_path / "other.onnx").read_bytes() == out.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--opset", "99"], "`opset_version` must be from 13 to 21"), (["--class-names", "a"], "`class_names`")],
)
def test_command_line_refuses(options, message, tmp_path, capsys):
    pytest.importorskip("onnx")
    network().save(tmp_path / "net.gridnn")
    out = tmp_path / "net.onnx"
    assert main(["export", str(tmp_path / "net.gridnn"), str(out), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gridnn export: error: ")
    assert message in error
    assert not out.exists()
