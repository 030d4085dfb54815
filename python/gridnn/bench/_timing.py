"""Times tasks against each other: short blocks in turn, medians over rounds."""

from __future__ import annotations

import gc
import math
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

__all__ = ["interleave", "settle"]

_PAUSE = 2e-3
"""Seconds between two looks at the threads."""
_LONGEST = 0.25
"""Seconds after which idle threads are taken for asleep."""


def settle(processes: Iterable[int] = ()) -> None:
    """Waits until the threads of the library timed before have gone to sleep.

    Idle threads spin for a while: those of OpenBLAS for 2**28 cycles, a tenth of a second. Whoever is timed
    meanwhile has the other processors only. Two looks in a row must find no thread running, besides the one
    that looks; where the system does not show threads (it is Linux that does), a quarter of a second must do.

    Args:
        processes: numbers of the processes to look at, besides this one.
    """
    if not Path("/proc/self/task").is_dir():
        time.sleep(_LONGEST)
        return
    me = str(threading.get_native_id())
    folders = [Path(f"/proc/{process}/task") for process in (os.getpid(), *processes)]
    end = time.perf_counter() + _LONGEST
    calm = 0
    while calm < 2 and time.perf_counter() < end:
        time.sleep(_PAUSE)
        running = any(_runs(thread) for folder in folders for thread in folder.glob("*") if thread.name != me)
        calm = 0 if running else calm + 1


def _runs(thread: Path) -> bool:
    """Whether a thread is running or ready to."""
    try:
        # The state stands behind the name, which may hold anything.
        return (thread / "stat").read_text().rpartition(")")[2].split()[0] == "R"
    except (OSError, IndexError):  # it has ended
        return False


def seconds(call: Callable[[], object], calls: int) -> float:
    """Seconds a call takes, of `calls` in a row."""
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def interleave(
    tasks: Mapping[str, Callable[[], object]], *, rounds: int, block: float, slow: float
) -> dict[str, float]:
    """Median seconds a call of each task.

    Blocks of the tasks take turns, so that a change of the clock or another program meets all of them. A task
    that takes longer than `slow` seconds is timed in its first two rounds only.
    """
    once: dict[str, float] = {}
    for name, call in tasks.items():
        first = seconds(call, 1)
        once[name] = first if first > slow else seconds(call, 1)
    samples: dict[str, list[float]] = {name: [] for name in tasks}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for number in range(rounds):
            for name, call in tasks.items():
                if once[name] > slow and number >= min(2, rounds):
                    continue
                settle()
                if once[name] < block:
                    call()  # wakes the threads, fetches the operands
                samples[name].append(seconds(call, max(1, math.ceil(block / once[name]))))
    finally:
        if collecting:
            gc.enable()
    return {name: statistics.median(values) for name, values in samples.items()}
