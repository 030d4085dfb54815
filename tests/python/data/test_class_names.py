"""Names of classes travel with a model."""

import copy
import pickle

import numpy as np
import pytest

import gridnn as gn
from gridnn import _engine, layers
from gridnn.errors import FileFormatError

pytestmark = pytest.mark.one_tier


def classifier(outputs=2):
    return gn.Sequential([gn.Input((3,)), layers.Dense(outputs)], seed=0)


def test_files_pickles_and_copies_keep_them(tmp_path):
    model = classifier()
    assert model.class_names is None
    model.save(tmp_path / "without.gridnn")
    assert gn.load_model(tmp_path / "without.gridnn").class_names is None
    model.class_names = ["Katze", "Hündin"]
    model.save(tmp_path / "m.gridnn")
    for other in (
        gn.load_model(tmp_path / "m.gridnn"),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ):
        assert other.class_names == ["Katze", "Hündin"]
    model.class_names.append("a copy")
    assert model.class_names == ["Katze", "Hündin"]
    model.class_names = None
    assert model.class_names is None


def test_there_are_as_many_as_outputs():
    with pytest.raises(
        ValueError, match=r"`class_names` must name the 2 outputs of model .* Received 3 names"
    ):
        classifier().class_names = ["a", "b", "c"]
    single = classifier(1)
    single.class_names = ["no", "yes"]
    with pytest.raises(ValueError, match="or two classes"):
        single.class_names = ["yes"]
    with pytest.raises(TypeError, match="must be a list of names"):
        classifier().class_names = "ab"
    with pytest.raises(TypeError, match="must hold strings"):
        classifier().class_names = [1, 2]


@pytest.mark.parametrize("text", ['{"names": "ab"}', '{"names": ["a"]}', '{"names": [1, 2]}', "{}", "[]"])
def test_files_with_bad_names_are_named(tmp_path, text):
    model, file = classifier(), tmp_path / "m.gridnn"
    model.save(file)
    tensors, metadata = _engine.load_tensors(file)
    _engine.save_tensors(file, tensors, metadata | {"class_names": text})
    with pytest.raises(FileFormatError, match=r"m\.gridnn: "):
        gn.load_model(file)


def test_exported_models_and_reports_have_them(tmp_path):
    onnx = pytest.importorskip("onnx")
    model = classifier()
    model.class_names = ["no", "yes"]
    model.export(tmp_path / "m.onnx")
    properties = {entry.key: entry.value for entry in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert properties["class_names"] == '["no", "yes"]'


def test_reports_show_them(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    model, seen = classifier(), []
    model.class_names = ["no", "yes"]
    monkeypatch.setattr("gridnn._report.write", lambda *arguments: seen.append(arguments[-1]))
    model.report(tmp_path / "m.html", np.zeros((4, 3)), np.array([0, 1, 0, 1]))
    model.report(tmp_path / "m.html", classes=["low", "high"])
    assert seen == [["no", "yes"], ["low", "high"]]
