"""The rows of the campaign by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from campaign import calls, concurrency, files, kills, leaks, numbers, shortage


@dataclass(frozen=True)
class Row:
    """A promise, and a way to try to break it.

    Attributes:
        name: as on the command line.
        unit: what is counted.
        promise: what holds whatever is tried.
        attempt: tries a number in a folder and returns how many tries that were; raises if the promise is
            broken.
        whole: tries of a whole run.
        limit: seconds after which a number counts as hung.
    """

    name: str
    unit: str
    promise: str
    attempt: Callable[[int, Path], int]
    whole: int
    limit: float = 60.0


ROWS = {
    row.name: row
    for row in (
        Row(
            "kills",
            "SIGKILLs during training and saving",
            "the file is the old one or the new one; backed-up training ends with the bytes of one run",
            kills.attempt,
            1000,
        ),
        Row(
            "files",
            "damaged files loaded",
            "an error of the file, or a model that works; flipped bits are noticed; nothing is executed",
            files.attempt,
            100_000,
        ),
        Row(
            "calls",
            "functional calls and layers",
            "the result of float64 loops, or a ValueError, TypeError or MemoryError",
            calls.attempt,
            50_000,
        ),
        Row(
            "shortage",
            "processes under an address limit",
            "MemoryError, and the model as it was",
            shortage.attempt,
            500,
            120.0,
        ),
        Row(
            "concurrency",
            "rounds of threads, forks and signals",
            "every thread gets its own result, a child works, an interrupted training stands at a whole step",
            concurrency.attempt,
            500,
        ),
        Row("leaks", "repetitions", "memory does not grow with repetition", leaks.attempt, 20_000, 120.0),
        Row(
            "numbers",
            "training steps on large finite numbers",
            "weights and optimizer state stay finite; a refused step changes nothing",
            numbers.attempt,
            20_000,
        ),
    )
}
