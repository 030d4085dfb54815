"""Times tasks of several libraries: a process each, short blocks in turn, medians over rounds.

Thread pools of two libraries in one process disturb each other, so each has a process of its own, which waits
on a pipe while another one works. Before a block all threads have gone to sleep; then there is one untimed
call. A block whose threads waited for a processor does not count, if enough others remain.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from libraries import OWN, peers

from gridnn.bench._timing import settle

__all__ = ["Pace", "Result", "Subject", "Team", "WorkerError", "agreeing", "compare"]

_DISTURBED = 0.03
"""Share of a block that threads may have waited for a processor."""
_ENOUGH = 3
_SLOW_CALL = 0.05
"""Longer calls need no warming up before a block."""
_WORKER = Path(__file__).with_name("worker.py")
_HOPELESS = 2.0
"""A subject so many times slower than the best one besides gridnn is timed in the first rounds only."""


class WorkerError(Exception):
    """A library could not do what was asked; the text is its own."""


@dataclass(frozen=True)
class Pace:
    """How long to measure."""

    rounds: int
    block: float
    """Seconds a block, at least; one call where that takes longer."""

    @staticmethod
    def of(quick: bool) -> Pace:
        """The usual one, or one for a first look and for records that must not take long."""
        return Pace(7, 0.01) if quick else Pace(11, 0.02)


class Process:
    """A worker, and its questions and answers."""

    def __init__(self, name: str, threads: int, python: str) -> None:
        environment = os.environ | dict.fromkeys(
            ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC"), str(threads)
        )
        environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
        self.name = name
        self.noise = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self.process = subprocess.Popen(
            [python, str(_WORKER), name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.noise,
            text=True,
            env=environment,
        )

    def answer(self) -> dict[str, Any]:
        """The next answer."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            self.noise.seek(0)
            last = self.noise.read().strip().splitlines()[-1:]
            raise WorkerError(f"{self.name} ended with code {self.process.wait()}: {''.join(last)}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Sends a request and waits."""
        assert self.process.stdin
        try:
            self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # `answer` tells what happened
        return self.answer()

    def close(self) -> None:
        """Ends the process."""
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.noise.close()


class Team:
    """One worker for each library, with the same number of threads."""

    def __init__(self, names: Sequence[str], threads: int, python: str) -> None:
        self.threads = threads
        self.numbers = count()
        self.workers: dict[str, Process] = {}
        self.layouts: dict[str, list[str]] = {}
        self.versions: dict[str, str] = {}
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            for name in (OWN, *names):
                worker = Process(name, threads, sys.executable if name in (OWN, "numpy") else python)
                self._stack.callback(worker.close)
                self.workers[name] = worker
            for name, worker in list(self.workers.items()):
                try:
                    hello = worker.answer()
                except WorkerError as error:
                    if name == OWN:
                        raise
                    print(f"{name} takes no part: {error}", file=sys.stderr)
                    del self.workers[name]
                    continue
                self.layouts[name], self.versions[name] = hello["layouts"], hello["version"]
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Team:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def own(self) -> Process:
        """The worker of gridnn."""
        return self.workers[OWN]

    @property
    def processes(self) -> list[int]:
        """The numbers of the workers' processes."""
        return [worker.process.pid for worker in self.workers.values()]

    def members(self) -> Iterator[tuple[str, Process, str]]:
        """Each library, with its worker, in each memory layout; gridnn first."""
        for name, worker in self.workers.items():
            for layout in self.layouts[name]:
                yield name, worker, layout

    @contextmanager
    def problem(self) -> Iterator[Path]:
        """A folder for the arrays of one problem, after which all workers forget it."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            try:
                yield Path(folder)
            finally:
                for worker in self.workers.values():
                    worker.ask("forget")


@dataclass
class Subject:
    """A prepared task of a worker, and its samples."""

    library: str
    layout: str
    worker: Process
    task: int
    once: float = 0.0
    seconds: dict[int, float] = field(default_factory=dict)
    """Per call, by round."""
    waited: dict[int, float] = field(default_factory=dict)

    def prepare(self) -> None:
        """Finds out how long a call takes; what is compiled at the first one has been, for its result."""
        self.once = self.worker.ask("measure", task=self.task, calls=1, warm=0)["seconds"]
        if self.once < _SLOW_CALL:
            self.once = self.worker.ask("measure", task=self.task, calls=3, warm=1)["seconds"]

    def sample(self, number: int, pace: Pace) -> None:
        """Times a block."""
        calls = max(1, math.ceil(pace.block / self.once))
        warm = int(self.once < _SLOW_CALL)
        answer = self.worker.ask("measure", task=self.task, calls=calls, warm=warm)
        self.seconds[number], self.waited[number] = answer["seconds"], answer["waited"]

    @property
    def good(self) -> set[int]:
        """Rounds in which nobody disturbed; all of them if those are too few."""
        calm = {number for number, waited in self.waited.items() if waited <= _DISTURBED}
        return calm if len(calm) >= _ENOUGH else set(self.seconds)

    @property
    def doubtful(self) -> bool:
        """Whether disturbed rounds had to count."""
        return any(self.waited[number] > _DISTURBED for number in self.good)

    @property
    def median(self) -> float:
        """Seconds a call."""
        return statistics.median(self.seconds[number] for number in self.good)

    def ratio(self, own: Subject) -> float:
        """Median over the rounds of how many times as long as gridnn it takes.

        Of a subject that sat out most rounds the medians are compared: its few rounds may have been odd ones.
        """
        rounds = self.good & own.good
        if len(rounds) < _ENOUGH:
            return self.median / own.median
        return statistics.median(self.seconds[number] / own.seconds[number] for number in rounds)


@dataclass(frozen=True)
class Result:
    """What a problem gave."""

    milliseconds: dict[str, float]
    """By library, in the better of its layouts; gridnn is the first."""
    ratios: dict[str, float]
    """How many times as long as gridnn the others take."""
    percent_of_peak: float
    notes: dict[str, str]
    """Who took no part and why, and whose figures are doubtful."""

    @property
    def best(self) -> str | None:
        """The fastest of the others."""
        return min(self.ratios, key=self.milliseconds.__getitem__, default=None)

    def record(self, **more: Any) -> dict[str, Any]:
        """The result for a file, behind what names the problem."""
        best = self.best
        return {
            **more,
            "milliseconds": {name: float(f"{value:.4g}") for name, value in self.milliseconds.items()},
            "ratios": {name: float(f"{value:.4g}") for name, value in self.ratios.items()},
            "best": best,
            "ratio": None if best is None else float(f"{self.ratios[best]:.4g}"),
            "percent_of_peak": round(self.percent_of_peak, 1),
            "notes": self.notes,
        }


def compare(team: Team, subjects: Sequence[Subject], flops: int, pace: Pace, notes: dict[str, str]) -> Result:
    """Times the subjects, gridnn first among them, in rounds.

    Args:
        team: the workers.
        subjects: prepared tasks of the same problem.
        flops: operations of a call.
        pace: how long.
        notes: remarks so far.
    """
    for subject in subjects:
        subject.prepare()
    own, *others = subjects
    peaks = []
    active = list(subjects)
    for number in range(pace.rounds):
        turn = number % len(active)
        for subject in active[turn:] + active[:turn]:
            settle(team.processes)
            subject.sample(number, pace)
        settle(team.processes)
        peaks.append(team.own.ask("peak")["flops"])
        if others:
            fastest = min(min(subject.seconds.values()) for subject in others)
            limit = fastest * _HOPELESS * (2 if number == 0 else 1)
            active = [
                subject for subject in active if subject is own or min(subject.seconds.values()) < limit
            ]
    best: dict[str, Subject] = {}
    for subject in subjects:
        before = best.get(subject.library)
        if before is None or subject.median < before.median:
            best[subject.library] = subject
    doubtful = [name for name, subject in best.items() if subject.doubtful]
    if doubtful:
        notes = {**notes, "disturbed": ", ".join(doubtful)}
    # Several threads are all at work at once only while nobody else is: the best round had them so.
    peak = max(peaks) if team.threads > 1 else statistics.median(peaks)
    return Result(
        {name: subject.median * 1e3 for name, subject in best.items()},
        {name: subject.ratio(own) for name, subject in best.items() if name != OWN},
        100 * flops / own.median / peak,
        notes,
    )


def agreeing(
    team: Team,
    folder: Path,
    tolerances: Mapping[str, float],
    request: Mapping[str, Any],
    counts: Mapping[str, int | None] | None = None,
) -> tuple[dict[str, list[Subject]], dict[str, dict[str, str]]]:
    """Who computes what gridnn does, by step, and why the others take no part.

    Args:
        team: the workers.
        folder: of the problem.
        tolerances: of every step, how far a result may be from that of gridnn, relative to its largest one.
        request: what prepares all tasks in a worker: "do", and arguments besides tasks and layout.
        counts: of every step, how many elements of the result are compared; all where nothing is said.
    """
    subjects: dict[str, list[Subject]] = {step: [] for step in tolerances}
    notes: dict[str, dict[str, str]] = {step: {} for step in tolerances}
    expected: dict[str, Any] = {}
    for library, worker, layout in team.members():
        tasks = [next(team.numbers) for _ in tolerances]
        label = f"{library} {layout}"
        try:
            worker.ask(**request, tasks=tasks, layout=layout)
            # Inference, the last one, first: the training steps move the weights.
            for step, task in reversed(list(zip(tolerances, tasks, strict=True))):
                worker.ask("result", task=task, to=str(folder / "result.npy"))
                found = np.load(folder / "result.npy").reshape(-1)[: (counts or {}).get(step)]
                own = expected.setdefault(step, found)
                difference = float(np.max(np.abs(found - own)) / np.max(np.abs(own)))
                if difference <= tolerances[step]:
                    subjects[step].append(Subject(library, layout, worker, task))
                else:
                    notes[step][label] = f"differs by {difference:.1e}"
        except WorkerError as error:
            if library == OWN:
                raise
            for step in tolerances:
                notes[step][label] = str(error)
    return subjects, notes


def default_libraries(python: str) -> list[str]:
    """The peers that this interpreter can import, and NumPy."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from libraries import peers; print(*peers.installed())"
    )
    found = subprocess.run(
        [python, "-c", code, str(_WORKER.parent)], capture_output=True, text=True, check=True
    ).stdout.split()
    return [name for name in peers.PEERS if name in found]
