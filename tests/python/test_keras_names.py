"""The page that puts every name of Keras beside this library's is current."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_tier

ROOT = Path(__file__).parents[2]


def test_the_tables_are_current():
    command = [sys.executable, str(ROOT / "tools/keras_names.py"), "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
