"""Results are those that stand in `reference/goldens.json`, to the byte."""

import json

import goldens
import pytest

import gridnn as gn

pytestmark = pytest.mark.skipif(
    gn.simd_tier() == "portable", reason="the portable tier does not fuse multiply and add here"
)
RECORDED = json.loads(goldens.FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", goldens.MODELS)
def test_models(name):
    assert goldens.model(name) == RECORDED["models"][name]


def test_calls():
    assert dict(goldens.calls()) == RECORDED["calls"]
