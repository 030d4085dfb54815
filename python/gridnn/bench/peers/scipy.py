"""SciPy: `signal.correlate` where one call gives one output channel, which is where people use it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import Array, Convolution, Network, Task, UnsupportedError

__all__ = ["Library"]


class Library:
    """See `Peer`."""

    layouts = ("channels last",)

    def __init__(self, threads: int) -> None:
        self._correlate: Any = importlib.import_module("scipy.signal").correlate
        self.version = f"SciPy {importlib.import_module('scipy').__version__}"

    def pads(self, problem: Convolution) -> tuple[int, int]:
        """See `Peer`."""
        return problem.pads

    def convolution(
        self, problem: Convolution, which: str, layout: str, operands: tuple[Array, Array, Array]
    ) -> Task:
        """See `Peer`."""
        if which != "forward" or problem.c_in != problem.groups or problem.dilation > 1:
            raise UnsupportedError("its correlations mix no channels, and have no gradients")
        x, kernel, _ = operands
        multiplier = problem.c_out // problem.c_in
        every = (slice(None, None, problem.stride),) * problem.rank

        def call() -> Array:
            padded = np.pad(x, [(0, 0), *[problem.pads] * problem.rank, (0, 0)])
            y = np.empty(problem.y_shape, np.float32)
            for sample, result in zip(padded, y, strict=True):
                for f in range(problem.c_out):
                    full = self._correlate(sample[..., f // multiplier], kernel[..., 0, f], "valid")
                    result[..., f] = full[every]
            return y

        return Task(call, lambda: [call()])

    def max_pooling(self, x: Array, size: int, layout: str) -> Task:
        """See `Peer`."""
        raise UnsupportedError("it has no pooling")

    def network(
        self, network: Network, weights: Sequence[Array], data: tuple[Array, Array], layout: str
    ) -> tuple[Task, Task]:
        """See `Peer`."""
        raise UnsupportedError("it has no networks")
