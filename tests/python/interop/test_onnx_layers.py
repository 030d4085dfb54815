"""Every row of the layer contract goes out to ONNX, with equal outputs."""

import re

import pytest
from onnx_checks import SETTINGS, expect_export
from test_contract import CASES, EXPORTED

import gridnn as gn
from gridnn.interop.c.writer import to_bytes as c_header
from gridnn.interop.onnx.table import CONVERTERS, converter_of
from gridnn.interop.onnx.writer import to_bytes
from gridnn.layers.base import REGISTRY
from gridnn.layers.branches import Container

pytest.importorskip("onnx")
pytestmark = pytest.mark.one_tier


REFUSED = (gn.layers.Input, gn.layers.STFT, gn.layers.TimeDistributed, gn.layers.UnitNormalization)


@pytest.mark.parametrize(("opset", "layout"), SETTINGS)
@pytest.mark.parametrize("case", EXPORTED, ids=str)
def test_row(case, opset, layout):
    model = gn.Sequential([gn.Input(case.shape), case.layer()], seed=1)
    contents = expect_export(model, opset, layout, both=True)
    assert to_bytes(model, opset_version=opset, layout=layout) == contents


@pytest.mark.parametrize("case", [case for case in CASES if not case.exported], ids=str)
def test_other_rows_are_refused_by_name(case):
    model = gn.Sequential([gn.Input(case.shape), case.layer()], seed=1)
    name = re.escape(model.layers[0].label)
    with pytest.raises(ValueError, match=name):
        to_bytes(model)
    with pytest.raises(ValueError, match=name):
        c_header(model, "net")


def test_every_layer_has_a_converter():
    for cls in REGISTRY.classes():
        # Tensors that meet are the writer's own business.
        if cls not in REFUSED and not issubclass(cls, Container) and not cls.merges:
            assert any(base in CONVERTERS for base in cls.__mro__), cls


def test_layers_in_python_have_none():
    class Twice(gn.layers.Layer):
        def call(self, x):
            return 2 * x

    model = gn.Sequential([gn.Input((3,)), Twice(name="mine")])
    assert converter_of(model.layers[0]) is None
    with pytest.raises(ValueError, match=r"layer 'mine' \(Twice\) cannot be exported to ONNX: it is written"):
        model.export("never.onnx")


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (gn.layers.STFT(frame_length=8, name="it"), (20, 1)),
        (gn.layers.Resizing(3, 4, name="it"), (6, 6, 2)),
        (gn.layers.CenterCrop(8, 8, name="it"), (6, 6, 2)),
    ],
    ids=["STFT", "Resizing", "CenterCrop"],
)
def test_what_is_not_known_there_is_named(layer, shape):
    model = gn.Sequential([gn.Input(shape), type(layer).from_config(layer.get_config())])
    with pytest.raises(ValueError, match="layer 'it'"):
        to_bytes(model)
