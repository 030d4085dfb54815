"""`MPI`: ranks of an MPI communicator."""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from types import TracebackType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gridnn import _engine
from gridnn._host_memory import HostMemory
from gridnn._ranks import Ranks, launched
from gridnn.errors import DistributedError

__all__ = ["MPI"]

# Bytes of all ranks up to which their parts are gathered by MPI's own collective, which takes few messages.
# With more, MPICH's takes three to five times as long between processes of one host as messages from each
# to each.
_SMALL = 8192

# Bytes that a rank has for the others at once, in memory of their host: what the engine sends in a round. If
# it is more, as among many ranks, it goes in messages.
_ROOM = 2 << 20


class MPI(Ranks):
    """The processes that ``mpiexec`` or ``srun`` has started, as ranks that share batches.

    All ranks run the same program. They share the cores of a host: each takes its part of those that it may
    run on as threads.

    Every ``MPI()`` of a program is the same object.

    Args:
        comm: communicator of mpi4py; None for ``COMM_WORLD``.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.

    Raises:
        ImportError: mpi4py is not installed.
        TypeError: `comm` is no communicator, or none that this process is in.
        DistributedError: the launcher has started several processes, and MPI knows of one: they come from two
            different implementations of MPI.

    Example:
        >>> dist = gn.distribute.MPI()  # doctest: +SKIP
        >>> history = model.fit(x, y, batch_size=1024, distribute=dist)  # doctest: +SKIP
        >>> if dist.is_main:  # doctest: +SKIP
        ...     model.save("model.gridnn")
    """

    _of_world: ClassVar[MPI | None] = None
    _of_several: ClassVar[list[MPI]] = []
    """Those that have more ranks than one."""

    def __new__(cls, comm: Any = None) -> MPI:
        """The object of a communicator.

        Of all processes there is one: a rank that ends its program could not tell in which of several
        communicators the others wait for it.
        """
        if comm is None and cls._of_world is not None:
            return cls._of_world
        return super().__new__(cls)

    def __init__(self, comm: Any = None) -> None:
        if self is MPI._of_world:
            return
        try:
            # Here, because the import starts MPI.
            library: Any = importlib.import_module("mpi4py.MPI")
        except ImportError as error:
            raise ImportError(
                'gn.distribute.MPI needs mpi4py and an MPI library: pip install "gridnn[mpi]" brings both '
                f"({error})"
            ) from error
        world = library.COMM_WORLD if comm is None else comm
        if comm is not None and (not isinstance(comm, library.Intracomm) or comm == library.COMM_NULL):
            raise TypeError(
                "The `comm` argument must be a communicator of mpi4py that this process is in, or None for "
                f"COMM_WORLD. Received {'COMM_NULL' if comm == library.COMM_NULL else repr(comm)}."
            )
        self._library = library
        self.rank, self.size = world.Get_rank(), world.Get_size()
        super().__init__()
        if comm is None and self.size == 1 and launched() > 1:
            raise DistributedError(
                f"{launched()} processes were launched, and MPI ({library.Get_library_version().split()[0]}) "
                "knows of one: mpiexec belongs to another MPI than mpi4py. Start with the mpiexec of the "
                "environment that mpi4py is installed in"
            )
        # What others send on the communicator never meets what is sent here.
        self._comm = world.Dup()
        if self.size > 1:
            self._end_with_all()
        self._share_cores()
        if self.size > 1:
            self._memory = HostMemory.shared(_ROOM, self.rank, self.size, self.values)
        if comm is None:
            MPI._of_world = self

    def __reduce__(self) -> Any:
        raise TypeError("ranks belong to their process and cannot be copied or pickled")

    def _share_cores(self) -> None:
        """Takes this rank's part of the cores that ranks of its host share."""
        affinity = getattr(os, "sched_getaffinity", None)
        cores = sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))
        everyone = self.values([self.host, cores])
        here = [others for host, others in everyone if host == self.host]
        used = set().union(*here)
        if len(here) == 1:
            return
        sharing = sum(others == cores for others in here)
        _engine.set_num_threads(max(min(len(cores) // sharing, _engine.get_num_threads()), 1))
        first = everyone.index(next(each for each in everyone if each[0] == self.host))
        if self.rank != first:
            return
        if len(used) < len(here):
            warnings.warn(
                f"{len(here)} ranks share {len(used)} core{'s' * (len(used) > 1)} of {self.host}, which "
                "makes steps many times slower: start at most one rank a core.",
                stacklevel=3,
            )
        elif sharing == 1 and len(used) < (os.cpu_count() or 1):
            warnings.warn(
                f"The ranks on {self.host} are bound to {len(used)} of {os.cpu_count()} cores, and use no "
                "others. Open MPI binds a rank to one core: mpiexec --bind-to none.",
                stacklevel=3,
            )

    def _end_with_all(self) -> None:
        """Has the others end where this rank ends alone: they would wait for it for ever."""
        everyone, process = MPI._of_several, os.getpid()
        everyone.append(self)
        if len(everyone) > 1:
            return
        before = sys.excepthook

        def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            ended = [each for each in everyone if each.all_raise(error)]
            if ended and not ended[0].is_main:
                return  # all ranks end with it; one message is enough
            before(kind, error, trace)
            if not ended and os.getpid() == process:  # not of a fork
                sys.stderr.flush()
                self._comm.Abort(1)

        def leave() -> None:
            if os.getpid() == process and not self._library.Is_finalized():
                for each in reversed(everyone):
                    each.leave()

        sys.excepthook = hook
        # Before MPI's own end, in which ranks wait for each other as well.
        atexit.register(leave)

    def _gather(self, own: NDArray[np.uint8], buffer: NDArray[np.uint8], ends: Sequence[int]) -> None:
        kind = self._library.BYTE
        lens, starts = _places(ends)
        with self._reached():
            if ends[-1] <= _SMALL:
                self._comm.Allgatherv([own, kind], [buffer, lens, starts, kind])
                return
            buffer[starts[self.rank] : ends[self.rank]] = own
            others = [(self.rank + step) % self.size for step in range(1, self.size)]
            come = [self._comm.Irecv([buffer[starts[other] : ends[other]], kind], other) for other in others]
            sent = [self._comm.Isend([own, kind], other) for other in others]
            self._library.Request.Waitall(come + sent)

    def _exchange(
        self,
        send: NDArray[np.uint8],
        send_ends: Sequence[int],
        receive: NDArray[np.uint8],
        receive_ends: Sequence[int],
    ) -> None:
        kind = self._library.BYTE
        with self._reached():
            self._comm.Alltoallv([send, *_places(send_ends), kind], [receive, *_places(receive_ends), kind])

    def _help(self) -> object:
        with self._reached():
            return self._comm.Iprobe()

    def _abort(self) -> None:
        self._comm.Abort(1)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except self._library.Exception as error:
            # Nobody can be told by this way any more.
            self._broken = True
            raise DistributedError(
                f"rank {self.rank} (host {self.host}) cannot reach the others: {error}"
            ) from error


def _places(ends: Sequence[int]) -> tuple[list[int], list[int]]:
    """Lengths and starts of parts."""
    pairs = list(pairwise([0, *ends]))
    return [end - start for start, end in pairs], [start for start, _ in pairs]
