"""Keras' own tests on gridnn come to the counts that the page says, with the reasons that it gives.

GRIDNN_KERAS_PYTHON names a Python that has Keras (`make test-keras` sets it up).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gridnn as gn

sys.path.insert(0, str(Path(__file__).parent))
import counts
import skips

pytestmark = pytest.mark.one_tier

KERAS = os.environ.get("GRIDNN_KERAS_PYTHON")
RECORD = json.loads(counts.RECORD.read_text(encoding="utf-8"))


def test_the_page_has_the_counts():
    assert counts.page() == counts.PAGE.read_text(encoding="utf-8"), "run tests/python/keras_tests/counts.py"


def test_few_fail_and_each_is_explained():
    explained = [name for names in skips.FAILURES.values() for name in names]
    assert len(explained) == len(set(explained)) <= 20
    assert set(explained) == {name.partition(" ")[0] for name in RECORD["failed"]}


@pytest.mark.skipif(not KERAS, reason="keras: GRIDNN_KERAS_PYTHON names no Python that has it")
@pytest.mark.timeout(900)
def test_kerass_own_tests(tmp_path):
    record = tmp_path / "counts.json"
    environment = {**os.environ, "PYTHONPATH": str(Path(gn.__file__).parents[1])}
    command = [KERAS, str(counts.HERE), "--record", str(record)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(record.read_text(encoding="utf-8"))
    if found["keras"] != RECORD["keras"]:
        pytest.skip(f"counts are those of Keras {RECORD['keras']}, and this is {found['keras']}")
    assert found == RECORD, done.stdout[-8000:]
