"""The marker `one_tier`: what it is set on runs on the best tier of the CPU and on no other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gridnn._engine import available_tiers

pytestmark = pytest.mark.one_tier

BOTH = """
import pytest

@pytest.mark.one_tier
def test_marked():
    pass

def test_unmarked():
    pass
"""


@pytest.mark.parametrize("tier", available_tiers())
def test_marked_tests_run_on_the_best_tier_only(tier, tmp_path):
    (tmp_path / "conftest.py").write_text((Path(__file__).parent / "conftest.py").read_text())
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = one_tier: as in pyproject.toml\n")
    (tmp_path / "test_both.py").write_text(BOTH)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--color=no", "-p", "no:cacheprovider", str(tmp_path)],
        env={**os.environ, "GRIDNN_SIMD": tier},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    best = available_tiers()[0]
    assert ("2 passed" if tier == best else "1 passed, 1 deselected") in done.stdout
    assert (f"tests marked one_tier: deselected, they run on tier {best}" in done.stdout) == (tier != best)
