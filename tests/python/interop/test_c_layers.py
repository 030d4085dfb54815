"""Every row of the layer contract that is a chain goes out to C, with equal outputs."""

import pytest
from c_checks import Bundle, needs_compiler
from test_contract import EXPORTED

import gridnn as gn
from gridnn.interop.c.table import CONVERTERS
from gridnn.interop.c.writer import to_bytes
from gridnn.layers.base import REGISTRY
from gridnn.layers.branches import Container

pytestmark = [pytest.mark.one_tier, needs_compiler]

MEETING = {
    f"{cls}({label})"
    for cls, labels in {
        "Residual": ("identity", "shortcut", "twice", "dense", "normalized"),
        "Parallel": ("concat", "add", "multiply", "average", "maximum", "nested"),
    }.items()
    for label in labels
}
"""Rows with branches that meet: no chains."""

CHAINS = {f"row{number}": case for number, case in enumerate(EXPORTED) if str(case) not in MEETING}


def model_of(case):
    return gn.Sequential([gn.Input(case.shape), case.layer()], seed=1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """All rows in one program: names of one network do not disturb another one."""
    return Bundle(tmp_path_factory.mktemp("rows"), {name: model_of(case) for name, case in CHAINS.items()})


@pytest.mark.parametrize("name", CHAINS, ids=lambda name: str(CHAINS[name]))
def test_row(name, bundle):
    bundle.expect_equal(name)


@pytest.mark.parametrize("case", [case for case in EXPORTED if str(case) in MEETING], ids=str)
def test_branches_are_refused(case):
    with pytest.raises(ValueError, match=r"chains of layers(.|\n)*branches meet there"):
        to_bytes(model_of(case), "net")


def test_every_layer_has_a_converter():
    refused = (gn.layers.STFT, gn.layers.UnitNormalization, gn.layers.TimeDistributed, gn.layers.Lambda)
    for cls in REGISTRY.classes():
        if cls not in (gn.layers.Input, *refused) and not issubclass(cls, Container) and not cls.merges:
            assert any(base in CONVERTERS for base in cls.__mro__), cls


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
        to_bytes(model, "net")
