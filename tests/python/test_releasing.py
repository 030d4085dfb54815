"""What a release asks for: one version everywhere, actions pinned by hash, checks that find something."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECK = ROOT / "tools" / "check_release.py"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

pytestmark = [pytest.mark.one_tier, pytest.mark.skipif(not WORKFLOWS, reason="runs in a checkout")]


def _run(*arguments):
    return subprocess.run(
        [sys.executable, str(CHECK), *arguments], capture_output=True, text=True, check=False
    )


def test_the_version_has_one_home():
    done = _run("version", "main")
    assert done.returncode == 0, done.stderr
    assert "Cargo.lock, CITATION.cff agree" in done.stdout


def test_a_tag_of_another_version_is_refused():
    done = _run("version", "v99.0.0")
    assert done.returncode != 0
    assert "the tag says 99.0.0" in done.stderr


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_hash(workflow):
    uses = re.findall(r"uses: (\S+)(.*)", workflow.read_text(encoding="utf-8"))
    assert uses
    loose = [
        name for name, comment in uses if not re.fullmatch(r"\S+@[0-9a-f]{40}", name) or "# v" not in comment
    ]
    assert not loose, f"not pinned by hash, with the version as a comment: {loose}"


def test_a_wheel_without_its_contents_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "gridnn-0.0.0-cp310-abi3-manylinux_2_17_x86_64.whl", "w") as archive:
        archive.writestr("gridnn/__init__.py", "")
    done = _run("wheel", str(tmp_path))
    assert done.returncode != 0
    assert "lacks" in done.stderr
