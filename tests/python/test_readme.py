"""What the README points at."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_tier

ROOT = Path(__file__).parents[2]
LINKS = [
    link
    for link in re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text("utf-8"))
    if "://" not in link
]


@pytest.mark.parametrize("link", sorted(set(LINKS)))
def test_links_lead_somewhere(link):
    path, _, place = link.partition("#")
    assert (ROOT / path).is_file()
    if place:
        headings = re.findall(r"^#+ (.*)", (ROOT / path).read_text("utf-8"), re.MULTILINE)
        assert place in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_pictures_are_small():
    pictures = [ROOT / link for link in LINKS if link.endswith(".png")]
    assert len(pictures) == 3
    assert max(path.stat().st_size for path in pictures) < 150_000


def test_figures_and_chart_are_those_of_the_record():
    script = ROOT / "benches" / "python" / "readme.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = (ROOT / "README.md").read_text("utf-8")
    assert re.search(r"the fastest of the others takes \d\.\d times as long", text)


def test_a_new_record_asks_for_new_figures(tmp_path):
    for name in ("README.md", "benches/python", "benches/record", "docs/pictures"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    record = tmp_path / "benches" / "record" / "steps.json"
    rows = json.loads(record.read_text("utf-8"))
    rows["about"]["date"] = "2031-01-01"
    record.write_text(json.dumps(rows), "utf-8")
    command = [sys.executable, tmp_path / "benches" / "python" / "readme.py"]
    done = subprocess.run([*command, "--check"], capture_output=True, text=True, check=False)
    assert "README.md: not what benches/record says" in done.stderr
    subprocess.run(command, check=True)
    assert "2031-01-01" in (tmp_path / "README.md").read_text("utf-8")
