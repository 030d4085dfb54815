"""The campaign in short: every row, some seconds each. `make campaign` is the long one."""

import os
import time

import pytest
from campaign import runner
from campaign.rows import ROWS, Row

# Rows that are about files, processes and limits say the same on every tier.
ON_ONE_TIER = {"kills", "files", "shortage", "concurrency", "leaks"}
TRIES = {
    "kills": 40,
    "files": 400,
    "calls": 400,
    "shortage": 12,
    "concurrency": 9,
    "leaks": 600,
    "numbers": 400,
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.one_tier] * (name in ON_ONE_TIER)) for name in ROWS]
)
def test_nothing_is_lost(name):
    outcome = runner.run(ROWS[name], tries=TRIES[name])
    assert not outcome.lost, outcome.text()


def _raise(number, folder):
    if number == 1:
        raise AssertionError("broken")
    return 1


def _die(number, folder):
    if number == 1:
        os._exit(3)
    return 1


def _hang(number, folder):
    if number == 1:
        time.sleep(60)
    return 1


@pytest.mark.one_tier
@pytest.mark.parametrize(
    ("attempt", "text"), [(_raise, "broken"), (_die, "died with 3"), (_hang, "hung for 1 s")]
)
def test_what_breaks_is_found_and_the_rest_goes_on(attempt, text, monkeypatch, tmp_path):
    row = Row("probe", "probes", "", attempt, 4, 1.0)
    # The worker is another process: it finds the row in a module that is imported before its own.
    (tmp_path / "sitecustomize.py").write_text(
        "import campaign.rows, test_campaign\n"
        "campaign.rows.ROWS['probe'] = "
        f"campaign.rows.Row('probe', '', '', test_campaign.{attempt.__name__}, 4)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    outcome = runner.run(row, tries=4)
    assert [number for number, _ in outcome.lost] == [1]
    assert text in outcome.lost[0][1]
    assert outcome.next_number == 4
