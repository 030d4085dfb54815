"""Functional calls take as much memory as their docstrings say: no matrix of windows, no padded copy."""

import json
import os
import subprocess
import sys
from pathlib import Path

import peak_memory
import pytest

pytestmark = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="only Linux can reset the peak of a process"
)


@pytest.fixture(scope="module")
def measured():
    script = Path(__file__).with_name("peak_memory.py")
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("name", peak_memory.CALLS)
def test_a_call_takes_what_its_docstring_says(name, measured):
    taken, allowed = measured[name]
    assert taken <= allowed + peak_memory.SLACK
    if name == "im2col":
        # The measurement sees what it is looking for.
        assert taken >= allowed
