"""The pages on ONNX and C run as they stand."""

import os
import re
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_tier

PAGES = Path(__file__).parents[3] / "docs" / "how-to"


def cells(page):
    """The code of a page, run in a folder of its own; its names."""
    text = (PAGES / page).read_text("utf-8")
    found = re.findall(r"```\{code-cell\}\n(.*?)```", text, re.DOTALL)
    assert len(found) > 2
    names = {}
    for cell in found:
        exec(compile(cell.removeprefix(":tags: [remove-cell]\n"), page, "exec"), names)  # noqa: S102
    return names


@pytest.fixture(autouse=True)
def _folder_afterwards():
    before = Path.cwd()
    yield
    os.chdir(before)  # a page goes to a folder of its own


def test_export():
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    names = cells("export-onnx.md")
    assert abs(names["scores"] - names["model"].predict(names["xt"], verbose=0)).max() < 1e-4
    assert (names["scores"].argmax(1) == names["yt"]).mean() > 0.7


def test_import():
    pytest.importorskip("onnx")
    names = cells("from-onnx.md")
    assert names["model"].input_shape == (None, 32, 32, 3)
    assert names["history"].history["loss"][0] > 0


def test_c():
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    names = cells("export-c.md")
    assert (names["found"] == names["ours"]).mean() > 0.99
    assert (names["found"] == names["yt"]).mean() > 0.7
