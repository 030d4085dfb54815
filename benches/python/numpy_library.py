"""NumPy behind the interface of the peers: matrices and BLAS, the fastest of its ways on large problems."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gridnn.bench import _numpy, peers

__all__ = ["Library"]


class Library:
    """See `peers.Peer`."""

    layouts = ("im2col",)

    def __init__(self, threads: int) -> None:
        # BLAS reads its number of threads from the environment when it is loaded.
        self.version = f"NumPy {np.__version__}"

    def pads(self, problem: peers.Convolution) -> tuple[int, int]:
        """See `peers.Peer`."""
        return problem.pads

    def convolution(
        self,
        problem: peers.Convolution,
        which: str,
        layout: str,
        operands: tuple[peers.Array, peers.Array, peers.Array],
    ) -> peers.Task:
        """See `peers.Peer`."""
        return _numpy.convolution(problem, which, layout, operands)

    def max_pooling(self, x: peers.Array, size: int, layout: str) -> peers.Task:
        """See `peers.Peer`."""
        return _numpy.max_pooling(x, size, "reshape")

    def network(
        self,
        network: peers.Network,
        weights: Sequence[peers.Array],
        data: tuple[peers.Array, peers.Array],
        layout: str,
    ) -> tuple[peers.Task, peers.Task]:
        """See `peers.Peer`."""
        raise peers.UnsupportedError("its networks are in `python -m gridnn bench`")
