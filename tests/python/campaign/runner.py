"""Runs the tries of a row in worker processes that are allowed to die."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

BEGIN, END, LOST = "begin", "end", "lost"
_TESTS = str(Path(__file__).resolve().parents[1])
_STARTUP = 60.0  # seconds until a worker has imported what it needs, on a machine that is busy


@dataclass
class Outcome:
    """What a row came to.

    Attributes:
        tries: things tried, in the row's own unit.
        lost: (number, what happened) of every broken promise.
        seconds: wall time.
    """

    row: str
    tries: int = 0
    lost: list[tuple[int, str]] = field(default_factory=list)
    seconds: float = 0.0
    next_number: int = 0

    def text(self):
        findings = "".join(f"\n  {self.row} {number}: {what}" for number, what in self.lost)
        return f"{self.row}: {self.tries} tried, {len(self.lost)} lost, {self.seconds:.0f} s{findings}"


def run(row, *, first=0, tries=None, seconds=None):
    """Tries numbers from `first` on until there were `tries`, or the time is over.

    A number may stand for several tries (a training run that is killed nine times). A worker that dies, or
    says nothing for `row.limit` seconds, has lost the number it was at; the next one goes on behind it.
    """
    outcome = Outcome(row.name, next_number=first)
    start = time.monotonic()

    def left():
        if tries is not None and outcome.tries >= tries:
            return False
        return seconds is None or time.monotonic() - start < seconds

    while left():
        _one_worker(row, outcome, left)
    outcome.seconds = time.monotonic() - start
    return outcome


def _one_worker(row, outcome, left):
    command = [sys.executable, "-m", "campaign.worker", row.name, str(outcome.next_number)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([_TESTS, os.environ.get("PYTHONPATH", "")])}
    environment.setdefault("OPENBLAS_NUM_THREADS", "1")
    # A session of its own: what the worker forked ends with it.
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as worker:
        errors = []
        reader = threading.Thread(target=lambda: errors.append(worker.stderr.read()[-2000:]))
        reader.start()
        hung = threading.Event()
        at = None
        stopped = False
        for line in _lines(worker, row.limit, hung):
            kind, number, *rest = line.rstrip("\n").split(" ", 2)
            if kind == BEGIN:
                at = int(number)
                continue
            at = None
            outcome.next_number = int(number) + 1
            if kind == LOST:
                outcome.tries += 1
                outcome.lost.append((int(number), rest[0].encode().decode("unicode_escape")))
            else:
                outcome.tries += int(rest[0])
            if not left():
                stopped = True
                break
        _end(worker)
        reader.join()
    if stopped:
        return
    what = f"hung for {row.limit:.0f} s" if hung.is_set() else f"died with {worker.returncode}"
    last = (errors[0].strip().splitlines() or [""])[-1]
    outcome.lost.append((outcome.next_number if at is None else at, f"the worker {what}: {last}"))
    outcome.tries += 1
    outcome.next_number = outcome.lost[-1][0] + 1


def _lines(worker, limit, hung):
    """The worker's lines; it is killed when none comes for `limit` seconds."""

    def kill():
        hung.set()
        _end(worker)

    allowed = _STARTUP
    while True:
        watch = threading.Timer(allowed, kill)
        watch.start()
        line = worker.stdout.readline()
        watch.cancel()
        if not line:
            worker.wait()
            return
        allowed = limit
        yield line


def _end(worker):
    try:
        os.killpg(worker.pid, signal.SIGKILL)
    except ProcessLookupError:
        worker.kill()
