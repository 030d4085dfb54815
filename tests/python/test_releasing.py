"""What a release asks for: one version everywhere, actions pinned by hash, checks that find something."""

import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"
CHECK = TOOLS / "check_release.py"
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


@pytest.mark.skipif(
    sys.platform != "linux"
    or not shutil.which("readelf")
    or "musl" in str(sysconfig.get_config_var("SOABI")),
    reason="needs readelf, and a library that was made for glibc",
)
@pytest.mark.parametrize(
    ("tag", "module", "message"),
    [
        ("cp310-abi3-linux", "_core.abi3.so", ""),
        ("cp310-abi3-musllinux_1_2", "_core.abi3.so", "asks for libc.so.6"),
        ("cp314-cp314t-musllinux_1_2", "_core.cpython-314t-x86_64-linux-gnu.so", "another C library"),
        ("cp314-cp314t-manylinux2014", "_core.cpython-314t-x86_64-linux-musl.so", "another C library"),
    ],
)
def test_a_wheel_asks_for_the_c_library_of_its_name(tmp_path, tag, module, message):
    names = (TOOLS / "check_wheel.py").read_text(encoding="utf-8").split("REQUIRED = {")[1].split("}")[0]
    with zipfile.ZipFile(tmp_path / f"gridnn-0.0.0-{tag}_x86_64.whl", "w") as archive:
        for name in [*re.findall(r'"(.*)"', names), "gridnn-0.0.0.dist-info/licenses/LICENSE-MIT"]:
            archive.writestr(name, "")
        archive.write(np.random._mt19937.__file__, f"gridnn/{module}")
    done = _run("wheel", str(tmp_path))
    assert (done.returncode != 0) == bool(message), done.stderr
    assert message in done.stderr
