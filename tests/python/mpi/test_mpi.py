"""Ranks over MPI: equal digests for any number, one message for every failure; run by `make test-mpi`.

Every call of mpiexec has a time limit, so that a rank that hangs is a test that fails.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("mpi4py")

pytestmark = [pytest.mark.one_tier, pytest.mark.timeout(300)]

PROGRAM = Path(__file__).parent / "mpi_program.py"
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
if MPIEXEC is None:
    pytest.skip("no mpiexec beside mpi4py", allow_module_level=True)
OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
}
LIMIT = 100  # seconds


def run(*arguments, ranks=0, limit=LIMIT):
    """Output and exit status of the program under mpiexec; without ranks, of a single process."""
    command = [sys.executable, "-W", "ignore", str(PROGRAM), *arguments]
    command = [MPIEXEC, "-n", str(ranks), *command] if ranks else [*command, "--alone"]
    environment = {**os.environ, **OPEN_MPI, "PYTHONFAULTHANDLER": "1"}
    done = subprocess.run(
        ["timeout", "-k", "5", str(limit), *command],
        capture_output=True,
        text=True,
        env=environment,
        timeout=limit + 20,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode not in (124, 137), f"a rank hangs: {done.stdout}\n{done.stderr}"
    return done


def digest(done):
    lines = [line for line in done.stdout.splitlines() if line.startswith("DIGEST")]
    assert len(lines) == 1, f"{done.stdout}\n{done.stderr}"
    return lines[0]


@pytest.mark.parametrize("case", ["norm-dropout", "clipping", "unet3d", "resnet18"])
def test_any_number_of_ranks_has_the_bytes_of_one_process(case):
    expected = digest(run(case))
    for ranks in (1, 2, 3) if case in ("resnet18", "unet3d") else (1, 2, 3, 4, 5):
        assert digest(run(case, ranks=ranks)) == expected, f"{ranks} ranks"


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("raise", "ValueError: the disk is full"),
        ("infinity", "not finite"),
        ("weights", "ranks differ from rank 0 in weights"),
        ("targets", "ranks differ from rank 0 in targets"),
        ("batch", "ranks differ from rank 0 in data"),
        ("interrupt", "KeyboardInterrupt"),
        ("outside", "this rank never comes to fit"),
    ],
)
def test_trouble_in_one_rank_ends_all(trouble, message, rank):
    done = run("norm-dropout", "--trouble", trouble, "--rank", str(rank), ranks=3)
    assert done.returncode != 0
    assert message in done.stderr, done.stderr
    assert "DIGEST" not in done.stdout


@pytest.mark.parametrize("trouble", ["kill", "hook"])
def test_a_rank_that_dies_takes_the_others_along(trouble):
    start = time.monotonic()
    assert run("norm-dropout", "--trouble", trouble, "--rank", "1", ranks=3).returncode != 0
    assert time.monotonic() - start < LIMIT / 2


def test_a_restart_with_another_number_of_ranks_ends_with_the_same_bytes(tmp_path):
    expected = digest(run("norm-dropout"))
    backup = ("--backup", str(tmp_path))
    assert run("norm-dropout", *backup, "--trouble", "kill", "--rank", "2", ranks=4).returncode != 0
    assert any(tmp_path.iterdir())
    assert digest(run("norm-dropout", *backup, ranks=3)) == expected
