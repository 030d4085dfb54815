"""The pages on estimators run as they stand."""

import re
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

pytestmark = pytest.mark.one_tier

PAGES = Path(__file__).parents[3] / "docs" / "how-to"


def run(page):
    """Runs the cells of a page; returns the names that they leave."""
    cells = re.findall(r"```\{code-cell\}\n((?!:tags:).*?)```", (PAGES / page).read_text("utf-8"), re.DOTALL)
    names = {}
    for cell in cells:
        exec(compile(cell, page, "exec"), names)  # noqa: S102
    return names


@pytest.mark.filterwarnings("default")  # of Dask's own
@pytest.mark.timeout(300)
def test_many_models():
    for package in ("distributed", "optuna", "matplotlib"):
        pytest.importorskip(package)
    names = run("many-models.md")
    assert names["one"].tobytes() == names["two"].tobytes()
    assert len(names["study"].trials) == 10


def test_scikit_learn():
    names = run("scikit-learn.md")
    assert names["classifier"].score(names["xt"], names["yt"]) > 0.97
    assert names["pipeline"].score(names["xt"], names["yt"]) > 0.95
    assert names["search"].best_score_ > 0.8
