"""Results are those that stand in `reference/goldens.json`, to the byte."""

import json

import goldens
import pytest

import gridnn as gn
from gridnn._core import fused_tiers

pytestmark = pytest.mark.skipif(
    gn.simd_tier() not in fused_tiers(), reason="this tier rounds multiply and add separately"
)
RECORDED = json.loads(goldens.FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", goldens.MODELS)
def test_models(name):
    assert goldens.model(name) == RECORDED["models"][name]


def test_calls():
    assert dict(goldens.calls()) == RECORDED["calls"]
