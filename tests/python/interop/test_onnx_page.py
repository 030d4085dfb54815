"""The page on ONNX export runs as it stands."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_tier

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "export-onnx.md"


def test_the_cells_of_the_page(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    cells = re.findall(r"```\{code-cell\}\n((?!:tags:).*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(cells) == 3  # and a hidden one, which changes the folder
    names = {}
    for cell in cells:
        exec(compile(cell, str(PAGE), "exec"), names)  # noqa: S102
    assert abs(names["scores"] - names["model"].predict(names["xt"], verbose=0)).max() < 1e-4
    assert (names["scores"].argmax(1) == names["yt"]).mean() > 0.7
