"""`HostMemory`: memory that the ranks of one host share, into which each writes what the others read."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import platform
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["HostMemory"]

_FOLDER = Path("/dev/shm")
_LINE = 64  # bytes of a cache line
_NUMBER = 8  # bytes of the number of a header, which stands before it

# Others are asked so often for a header at once; then the core is given away between, and at last for longer.
_EAGER, _PATIENT, _PAUSE = 500, 5000, 1e-4


class HostMemory:
    """Two halves of memory for every rank, which the others read.

    A rank writes one half while others may still read the other. They are through with it when they come to
    the next exchange; so the halves take turns, and nobody waits for more than the header that every exchange
    begins with. It orders the memory, too: what was written before it is seen by whoever has it. A message
    does that on every processor. Headers in the memory itself, which take a tenth of the time, need one that
    keeps the order of stores and of loads, as x86 does and ARM does not.

    Args:
        memory: of all ranks, halves, and bytes.
        rank: the own one.
    """

    def __init__(self, memory: NDArray[np.uint8], rank: int) -> None:
        self._memory = memory
        self._rank = rank
        size = len(memory)
        self._headers = memory[:, :, _NUMBER:_LINE]
        # A view whose numbers Python reads quickest.
        self._numbers: memoryview = memory.reshape(-1).view(np.int64).data
        self._met = 0
        # Where the parts for each rank end stands before them.
        self._ends = memory[:, :, _LINE : _LINE + 8 * size].view(np.int64)
        self._parts = memory[:, :, _front(size) :]
        self._half = 0
        self.has_headers = platform.machine() in ("x86_64", "AMD64")
        """Whether `meet` may be called."""

    @staticmethod
    def shape(size: int, room: int) -> tuple[int, int, int]:
        """Of memory for some ranks, with room for some bytes in each half, a multiple of 64."""
        return size, 2, _front(size) + room

    @classmethod
    def shared(cls, room: int, rank: int, size: int, values: Callable[[Any], list[Any]]) -> HostMemory | None:
        """Memory of the host, which all ranks ask for together.

        Args:
            room: bytes of each half.
            rank: the own one.
            size: how many there are.
            values: tells all ranks a value, and gives those of all.

        Returns:
            None where there is no memory that all ranks see: they run on several hosts, the system has no
            ``/dev/shm``, or too little is free there.
        """
        shape = cls.shape(size, room)
        length = math.prod(shape)
        path, found = None, None
        if rank == 0 and _FOLDER.is_dir():
            path = _FOLDER / f"gridnn-{secrets.token_hex(16)}"
            found = _file(path, os.O_CREAT | os.O_EXCL, length)
        # A name that nobody else can have: who finds it is on the same host.
        name = values(None if found is None else str(path))[0]
        if rank and name is not None:
            found = _file(Path(name), 0, length)
        everybody = all(values(found is not None))
        if path is not None:
            # Those who have opened it keep the memory, and nothing is left when they end, however they do.
            with contextlib.suppress(OSError):
                path.unlink()
        if not everybody or found is None:
            return None
        return cls(np.frombuffer(found, np.uint8).reshape(shape), rank)

    def meet(self, own: bytes, idle: Callable[[], object]) -> bytes:
        """The headers of all ranks, one after the other, once all have come; they are equally long.

        They have halves of their own turns: nobody comes to the next meeting but one before all have read.

        Args:
            own: this rank's.
            idle: called again and again while others are late.
        """
        self._met += 1
        half = self._met % 2
        size, length = len(self._headers), len(own)
        stride = self._memory.shape[2] // _NUMBER
        self._headers[self._rank, half, :length] = np.frombuffer(own, np.uint8)
        self._numbers[(2 * self._rank + half) * stride] = self._met
        for rank in range(size):
            place, asked = (2 * rank + half) * stride, 0
            while self._numbers[place] != self._met:
                asked += 1
                if asked > _EAGER:
                    idle()
                    os.sched_yield()
                    # Even if it is for no time, other threads of this process may run.
                    time.sleep(_PAUSE if asked > _PATIENT else 0)
        return self._headers[:, half, :length].tobytes()

    @property
    def room(self) -> int:
        """Bytes of all parts that a rank has for others."""
        return int(self._parts.shape[2])

    def outbox(self) -> NDArray[np.uint8]:
        """Memory for the next parts, one after the other."""
        out: NDArray[np.uint8] = self._parts[self._rank, self._half]
        return out

    def tell(self, ends: NDArray[np.int64]) -> None:
        """Notes where the part for each rank ends."""
        self._ends[self._rank, self._half] = ends

    def turn(self) -> None:
        """The next parts go into the other half; those of this exchange stay for another one."""
        self._half = 1 - self._half

    def restart(self) -> None:
        """All ranks begin with the same half."""
        self._half = 0

    def gathered(self, lens: list[int]) -> list[NDArray[np.uint8]]:
        """What every rank has for all."""
        return [self._parts[rank, self._half, :length] for rank, length in enumerate(lens)]

    def received(self) -> list[NDArray[np.uint8]]:
        """What every rank has for this one."""
        ends = self._ends[:, self._half]
        starts = ends[:, self._rank - 1] if self._rank else np.zeros(len(ends), np.int64)
        return [
            self._parts[rank, self._half, start:end]
            for rank, (start, end) in enumerate(zip(starts, ends[:, self._rank], strict=True))
        ]


def _front(size: int) -> int:
    return _LINE - (-8 * size // _LINE) * _LINE


def _file(path: Path, flags: int, length: int) -> mmap.mmap | None:
    """A file as memory; None if that cannot be had. A new one gets all its memory at once.

    Without that, memory that lacks later ends the process with SIGBUS.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | flags, 0o600)
    except OSError:
        return None
    try:
        if flags & os.O_CREAT:
            os.posix_fallocate(descriptor, 0, length)
        return mmap.mmap(descriptor, length)
    except OSError:
        return None
    finally:
        os.close(descriptor)
