"""Ranks over MPI: equal digests for any number, one message for every failure; run by `make test-mpi`.

Every call of mpiexec has a time limit, so that a rank that hangs is a test that fails.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mpi4py")

from mpi_models import CASES

pytestmark = [pytest.mark.one_tier, pytest.mark.timeout(300)]

PROGRAM = Path(__file__).parent / "mpi_program.py"
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
if MPIEXEC is None:
    pytest.skip("no mpiexec beside mpi4py", allow_module_level=True)
ENVIRONMENT = {
    **os.environ,
    "PYTHONFAULTHANDLER": "1",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    # Open MPI up to 4, and 5.
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
SHM = Path("/dev/shm")
HAS_MEMORY = SHM.is_dir() and shutil.disk_usage(SHM).free > 100e6  # for MPI's own as well
LIMIT = 200  # seconds until a rank counts as one that hangs
DIFFERS = "DistributedError: ranks differ from rank 0 in "
SOON = 5.0  # seconds from trouble in a rank to the end of all


def start(command, **options):
    process = subprocess.Popen(
        ["timeout", "-k", "5", str(LIMIT), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env={**ENVIRONMENT, **options.pop("env", {})},
        **options,
    )
    process.began = time.time()
    return process


def program(*arguments, ranks=0):
    """The program under mpiexec; without ranks, in a single process."""
    command = [sys.executable, "-W", "ignore", str(PROGRAM), *arguments]
    return [MPIEXEC, "-n", str(ranks), *command] if ranks else [*command, "--alone"]


def finish(process):
    """What a process has written, and its status; when it ended as `ended`."""
    stdout, stderr = process.communicate(timeout=LIMIT + 20)
    done = subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
    done.ended = time.time()
    assert done.ended - process.began < LIMIT, f"a rank hangs: {stdout}\n{stderr}"
    return done


def run(*arguments, ranks=0):
    return finish(start(program(*arguments, ranks=ranks)))


def digests(done):
    lines = [line for line in done.stdout.splitlines() if line.startswith("DIGEST")]
    assert lines, f"{done.stdout}\n{done.stderr}"
    return lines


def lasted(done):
    """Seconds from the trouble to the end of the last rank."""
    moments = re.findall(r"^TROUBLE (\S+)$", done.stdout, re.MULTILINE)
    assert moments, f"{done.stdout}\n{done.stderr}"
    return done.ended - max(map(float, moments))


def messages(done):
    """With what each rank ended."""
    return dict(re.findall(r"^ENDED (\d+) (.*)$", done.stdout, re.MULTILINE))


@pytest.fixture(scope="module")
def expected():
    return digests(run(*CASES))


def ways(done):
    """How the ranks have exchanged."""
    return re.findall(r"^WAY (.*)$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 5])
def test_any_number_of_ranks_has_the_bytes_of_one_process(ranks, expected):
    done = run(*CASES, ranks=ranks)
    assert digests(done) == expected
    if ranks > 1 and HAS_MEMORY:
        assert ways(done) == ["memory"] * ranks


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_ranks_that_share_no_memory_send_messages(ranks, expected):
    done = run(*CASES, "--messages", ranks=ranks)
    assert digests(done) == expected
    assert ways(done) == ["messages"] * ranks


@pytest.fixture(scope="module")
def expected_lazily():
    return digests(run(*CASES, "--lazy"))


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_ranks_read_their_own_rows_of_lazy_sources_alone(ranks, expected_lazily):
    done = run(*CASES, "--lazy", ranks=ranks)
    assert digests(done) == expected_lazily
    for case, build in CASES.items():
        _, x, y, options = build()
        epochs, size = options["epochs"], options["batch_size"]
        last = len(x) % size if len(x) % size < 8 else 0  # so few samples are read by all ranks
        # Training, validation; twice; evaluation, and prediction, which has no targets.
        passes = np.array([epochs, epochs, epochs, epochs, 1, 1])
        once = (len(x) + (ranks - 1) * last) * passes
        shared = len(x) - last
        most = passes * (shared / ranks + last + 0.15 * size * -(-len(x) // size))

        def counts(what, case=case):
            lines = re.findall(rf"^READ {case} {what} (.*)$", done.stdout, re.MULTILINE)
            by_rank = sorted([*map(int, line.split())] for line in lines)  # lines come in any order
            assert [line[0] for line in by_rank] == list(range(ranks))
            return np.array(by_rank)[:, 1:]

        inputs, targets = counts("inputs"), counts("targets")
        assert inputs.sum(axis=0).tolist() == once.tolist(), case
        assert (inputs <= most).all(), (case, inputs)
        if y[0].nbytes < 4096:  # a page, less than which a disk does not read
            assert (targets == len(x) * passes[:-1]).all(), (case, targets)
        else:
            assert targets.tolist() == inputs[:, :-1].tolist(), case


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("layers", DIFFERS + r"layers \(rank 1\)"),
        ("optimizer", DIFFERS + r"compilation \(rank 1\)"),
        (
            "weights",
            DIFFERS + r"weights \(rank 1\): in all of them call gn\.set_random_seed",
        ),
        ("targets", DIFFERS + r"targets \(rank 1\): every rank is given"),
        ("samples", DIFFERS + r"data \(rank 1\): every rank is given all samples"),
        ("batch_size", DIFFERS + r"data \(rank 1\): .*the batch size of the whole batch"),
        ("seed", DIFFERS + r"seed \(rank 1\)"),
        ("epochs", DIFFERS + r"epochs \(rank 1\)"),
        ("version", DIFFERS + r"version \(rank 1\): install the same"),
        (
            "instructions",
            DIFFERS + r"instructions \(rank 1\): GRIDNN_SIMD",
        ),
        ("chunks", r"ValueError: 3 ranks cannot share batches of 7 samples"),
        ("raise", r"DistributedError: rank 1 \(host .*\): ValueError: the disk is full"),
        ("infinity", r"NonFiniteInputError: `x` holds infinity: the first sample with it is number 5"),
        ("interrupt", r"KeyboardInterrupt: "),
        ("terminate", r"DistributedError: rank 1 \(host .*\): SystemExit: 3"),
    ],
)
def test_trouble_in_one_rank_is_one_sentence_in_all(trouble, message):
    done = run("augmented", "--trouble", trouble, "--rank", "1", ranks=3)
    assert done.returncode != 0
    found = messages(done)
    assert sorted(found) == ["0", "1", "2"], f"{done.stdout}\n{done.stderr}"
    assert len(set(found.values())) == 1, found
    assert re.match(message, found["0"]), found
    assert lasted(done) < SOON


def test_infinity_among_the_rows_of_one_rank_is_named_by_all():
    done = run("augmented", "--lazy", "--trouble", "infinity", "--rank", "1", ranks=3)
    found = messages(done)
    assert sorted(found) == ["0", "1", "2"], f"{done.stdout}\n{done.stderr}"
    assert len(set(found.values())) == 1, found
    message = (
        r"NonFiniteInputError: `x` of batch 0 .* of `x` holds infinity: the first sample with it is number 5"
    )
    assert re.match(message, found["0"]), found
    assert lasted(done) < SOON


@pytest.mark.parametrize("way", [[], ["--messages"]])
@pytest.mark.parametrize("trouble", ["kill", "exit", "outside", "left"])
def test_a_rank_that_dies_takes_the_others_along(trouble, way):
    done = run("augmented", "--trouble", trouble, "--rank", "1", *way, ranks=3)
    assert done.returncode != 0
    assert "DIGEST" not in done.stdout
    assert lasted(done) < SOON


def test_a_rank_that_is_through_before_the_others_ends_them():
    """Without an error, and before `fit`: MPI's own end would wait for the others, as they wait for it."""
    done = run("augmented", "--trouble", "leaves", "--rank", "1", ranks=3)
    assert done.returncode != 0
    found = messages(done)
    assert found.pop("1") == "SystemExit: "
    assert sorted(found) == ["0", "2"]
    assert len(set(found.values())) == 1, found
    assert re.match(r"DistributedError: rank 1 \(host .*\): its program ended while other ranks", found["0"])
    assert lasted(done) < SOON


def test_a_full_disk_of_rank_0_is_one_sentence_in_all(tmp_path):
    done = run("augmented", "--trouble", "full", "--backup", str(tmp_path), ranks=3)
    found = messages(done)
    assert sorted(found) == ["0", "1", "2"], f"{done.stdout}\n{done.stderr}"
    assert len(set(found.values())) == 1, found
    assert re.match(r"DistributedError: rank 0 \(host .*\): OSError: .*File too large", found["0"]), found
    assert lasted(done) < SOON


def test_ctrl_c_ends_all():
    """The signal goes to mpiexec and all ranks, as from a terminal."""
    # Whoever started this may ignore the signal, and so would its children.
    process = start(
        program("augmented", "--trouble", "sleep", "--rank", "1", ranks=3),
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    line = ""
    while "TROUBLE" not in line:
        line = process.stdout.readline()
        assert line, "the ranks end before they are interrupted"
    begin = time.time()
    os.killpg(process.pid, signal.SIGINT)
    done = finish(process)
    # The exit code is that of a launcher whose helpers fail by the signal as well: MPICH's is 0 at times.
    assert "DIGEST" not in done.stdout
    assert done.ended - begin < SOON


def test_ranks_of_another_mpi_say_so():
    """As under the mpiexec of Open MPI, where each of them would train alone."""
    command = [sys.executable, str(PROGRAM), "augmented"]
    launched = [start(command, env={"OMPI_COMM_WORLD_SIZE": "4"}) for _ in range(2)]
    for done in map(finish, launched):
        assert done.returncode != 0
        assert "4 processes were launched, and MPI" in done.stderr
        assert "knows of one: mpiexec belongs to another MPI than mpi4py" in done.stderr


def test_ranks_without_a_core_are_warned_of():
    command = [MPIEXEC, "-n", "2", sys.executable, str(PROGRAM), "augmented", "--trouble", "cores"]
    done = finish(start(command))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("2 ranks share 1 core of ") == 1


def test_a_warning_that_is_an_error_in_one_rank_ends_all():
    begin = time.time()
    program = [sys.executable, "-W", "error", "-c", "import gridnn as gn; gn.distribute.MPI().values(0)"]
    limited = ["taskset", "-c", "0"]
    if shutil.which("taskset") is None:
        pytest.skip("no taskset")
    done = finish(start([MPIEXEC, "-n", "3", *limited, *program]))
    assert done.returncode != 0
    assert done.ended - begin < 2 * SOON  # with the start of all
    assert "UserWarning: 3 ranks share 1 core of " in done.stderr


@pytest.mark.parametrize(
    ("comm", "received"), [("'world'", "'world'"), ("MPI.COMM_NULL", "COMM_NULL"), ("MPI.COMM_SELF", None)]
)
def test_what_is_no_communicator_is_refused(comm, received):
    program = f"from mpi4py import MPI; import gridnn as gn; print(gn.distribute.MPI({comm}).size)"
    done = finish(start([sys.executable, "-c", program]))
    if received is None:
        assert done.stdout == "1\n"
    else:
        assert done.stderr.splitlines()[-1] == (
            "TypeError: The `comm` argument must be a communicator of mpi4py that this process is in, or "
            f"None for COMM_WORLD. Received {received}."
        )


def test_a_restart_with_another_number_of_ranks_ends_with_the_same_bytes(tmp_path):
    expected = digests(run("augmented"))
    backup = ("--backup", str(tmp_path))
    for ranks, step in ((4, 1), (3, 2)):
        killed = run(
            "augmented", *backup, "--trouble", "kill", "--rank", "2", "--step", str(step), ranks=ranks
        )
        assert killed.returncode != 0
        assert any(tmp_path.iterdir())
    assert digests(run("augmented", *backup, ranks=1)) == expected


def test_the_command_line_saves_the_same_file(tmp_path):
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "data.npz", x=rng.random((60, 12, 12, 1), np.float32), y=np.arange(60) % 3)
    saved = []
    for ranks in (0, 2):
        out = tmp_path / f"{ranks}.gridnn"
        options = f"--data {tmp_path / 'data.npz'} --out {out} --epochs 1 --batch-size 16 --augment".split()
        command = [sys.executable, "-W", "ignore", "-m", "gridnn", "train", *options]
        if ranks:
            command = [MPIEXEC, "-n", str(ranks), *command, "--distribute", "mpi"]
        done = finish(start(command))
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("saved as") == 1
        saved.append(out.read_bytes())
    assert saved[0] == saved[1]


@pytest.mark.parametrize("everywhere", [True, False])
def test_the_command_line_says_once_what_is_wrong(everywhere, tmp_path):
    np.savez(tmp_path / "0.npz", x=np.zeros((20, 8, 8, 1), np.float32), y=np.arange(20) % 2)
    # One argument is another for each rank, as a path may be on each host.
    missing = "none.npz" if everywhere else "${PMI_RANK:-$OMPI_COMM_WORLD_RANK}.npz"
    options = f"--data {tmp_path}/{missing} --epochs 1 --out {tmp_path}/model.gridnn --distribute mpi"
    command = f"exec {sys.executable} -W ignore -m gridnn train {options}"
    done = finish(start([MPIEXEC, "-n", "3", "sh", "-c", command]))
    assert done.returncode == 2
    errors = re.findall(r"gridnn train: error: (.*): there is no such file or folder", done.stderr)
    where = "--data .*/none.npz" if everywhere else r"rank 1 \(host .*\): FileNotFoundError: --data .*/1.npz"
    assert len(errors) == 1, done.stderr
    assert re.fullmatch(where, errors[0])


def test_the_bench_prints_speed_and_memory():
    script = Path(__file__).parents[3] / "benches" / "python" / "processes.py"
    done = finish(start([sys.executable, str(script), "lenet5", "--rounds", "1", "--seconds", "0"]))
    assert done.returncode == 0, done.stderr
    heading, _, row = done.stdout.splitlines()
    names, cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in (heading, row))
    assert names[:5] == ["model", "batch", "one process, ms", "two ranks, ms", "speed kept"]
    assert names[-3:] == ["memory above the start, MB: one process", "a rank", "share"]
    assert cells[:2] == ["lenet5", "128"]
    assert all(float(cell) > 0 for cell in cells[2:])
