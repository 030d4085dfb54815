"""Pages that the docs build does not execute: every block of Python on them runs, one after the other."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_tier

DOCS = Path(__file__).parents[2] / "docs"
# Those whose blocks need only what the tests have; the others are executed by the build, or need files.
PAGES = (
    "cheat-sheet.md",
    "coming-from-pytorch.md",
    "index.md",
    "how-to/reproducible.md",
    "how-to/containers.md",
)


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run(page, tmp_path):
    pytest.importorskip("matplotlib")
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert blocks
    code = "import matplotlib; matplotlib.use('agg')\n" + "\n".join(blocks)
    if ".onnx" in code:
        pytest.importorskip("onnx")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_links_between_pages_lead_somewhere():
    missing = []
    for page in (path for path in DOCS.rglob("*.md") if "_build" not in path.parts):
        text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
        links = re.findall(r"\]\(([^)#\s]+\.(?:md|png|svg|py))(?:#[^)]*)?\)", text)
        lost = [link for link in links if "://" not in link and not (page.parent / link).is_file()]
        missing += [f"{page.relative_to(DOCS)}: {link}" for link in lost]
    assert missing == []
