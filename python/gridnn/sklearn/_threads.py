"""Threads beside other processes and libraries, so that there are not more than processors."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import threadpoolctl

from gridnn._engine import get_num_threads, library, set_num_threads, version

__all__ = ["register", "shared_processors"]


@contextmanager
def shared_processors() -> Iterator[None]:
    """One thread in a worker of `multiprocessing`, whose siblings have the other processors.

    Workers of loky and of Dask are told by ``OMP_NUM_THREADS``, which the engine obeys; those of
    `multiprocessing` (a pool, joblib's backend of that name) are told nothing. They are known, as to joblib,
    by being daemons.
    """
    before = get_num_threads()
    told = "GRIDNN_NUM_THREADS" in os.environ or "OMP_NUM_THREADS" in os.environ
    if told or before == 1 or not multiprocessing.current_process().daemon:
        yield
        return
    set_num_threads(1)
    try:
        yield
    finally:
        set_num_threads(before)


class _Engine(threadpoolctl.LibController):  # type: ignore[misc] # it has no types
    """The engine as one of the libraries whose threads `threadpoolctl` limits."""

    user_api = internal_api = "gridnn"
    filename_prefixes = (os.path.basename(library).lower(),)
    check_symbols = ("gridnn",)

    def get_num_threads(self) -> int:
        """Threads in use."""
        return get_num_threads()

    def set_num_threads(self, num_threads: int) -> None:
        """Uses as many from now on."""
        set_num_threads(num_threads)

    def get_version(self) -> str:
        """That of gridnn."""
        return version

    def set_additional_attributes(self) -> None:
        """Tells the engine from other files of its name: it has no symbol of its own to be known by."""
        own = os.path.realpath(self.filepath) == os.path.realpath(library)
        self.dynlib = SimpleNamespace(gridnn=True) if own else SimpleNamespace()


def register() -> None:
    """Makes ``threadpoolctl.threadpool_limits`` and ``threadpool_info`` know the engine."""
    threadpoolctl.register(_Engine)
