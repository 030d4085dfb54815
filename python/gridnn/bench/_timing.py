"""Times tasks against each other: short blocks in turn, medians over rounds."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping

__all__ = ["interleave"]

SETTLE = 2e-3
"""Pause before a block: until then the threads of the library timed before have gone to sleep."""


def seconds(call: Callable[[], object], calls: int) -> float:
    """Seconds a call, of so many in a row."""
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
                time.sleep(SETTLE)
                if once[name] < block:
                    call()  # wakes the threads, fetches the operands
                samples[name].append(seconds(call, max(1, math.ceil(block / once[name]))))
    finally:
        if collecting:
            gc.enable()
    return {name: statistics.median(values) for name, values in samples.items()}
