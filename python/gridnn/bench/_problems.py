"""What `python -m gridnn bench` compares: convolutions, pooling, a training step; each with its subjects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from gridnn.bench import _numpy, _numpy_training
from gridnn.bench._own import Library, build
from gridnn.bench.peers import PASSES, Convolution, Network, Peer, Task, UnsupportedError

__all__ = ["OWN", "Comparison", "comparisons"]

OWN = "gridnn"

CONVOLUTIONS = {
    "conv1d": Convolution(1, 8, 1024, 16, 32, 5),
    "conv2d": Convolution(2, 8, 28, 16, 32, 3),
    "conv3d": Convolution(3, 2, 12, 8, 16, 3),
}
TINY = {
    "conv1d tiny": Convolution(1, 1, 24, 2, 4, 3),
    "conv2d tiny": Convolution(2, 1, 8, 2, 4, 3),
    "conv3d tiny": Convolution(3, 1, 5, 2, 4, 3),
}
POOLS = {
    "max_pool1d": (8, 4096, 32),
    "max_pool2d": (8, 64, 64, 32),
    "max_pool3d": (4, 16, 16, 16, 32),
}
TINY_POOLS = {"max_pool2d tiny": (1, 8, 8, 4)}
NETWORK = Network(
    "training step",
    (28, 28, 1),
    (
        ("conv", 16, 3, 1, "same"),
        ("pool", 2),
        ("conv", 32, 3, 1, "same"),
        ("pool", 2),
        ("flatten",),
        ("dense", 10),
    ),
)
TINY_NETWORK = Network(
    "training step tiny", (6, 6, 1), (("conv", 4, 3, 1, "same"), ("pool", 2), ("flatten",), ("dense", 10))
)
_BATCHES = {NETWORK.name: 32, TINY_NETWORK.name: 2}

_SUMS = 1e-4
"""Greatest difference of sums in float32 that are added in another order, by the largest element."""
_LOSSES = 1e-3


@dataclass(frozen=True)
class Comparison:
    """One problem, and everybody who solves it; `OWN` is among them."""

    name: str
    which: str
    """A pass, or what else is timed."""
    flops: int | None
    tasks: Mapping[str, Task]
    tolerance: float

    def differences(self) -> dict[str, float]:
        """Largest difference of each subject from gridnn, by the largest element."""
        (expected,) = self.tasks[OWN].result()
        found = {}
        for name, task in self.tasks.items():
            if name != OWN:
                (result,) = task.result()
                if result.shape != expected.shape:
                    found[name] = float("inf")
                    continue
                found[name] = float(np.max(np.abs(result - expected)) / np.max(np.abs(expected)))
        return found


def comparisons(threads: int, peers: Mapping[str, Peer]) -> Iterator[Comparison]:
    """Prepares one problem after the other.

    Args:
        threads: of gridnn.
        peers: further libraries, by name.
    """
    libraries: dict[str, Peer] = {OWN: Library(threads), **peers}
    for name, problem in (CONVOLUTIONS | TINY).items():
        operands = problem.operands()
        ways = _numpy.WAYS if name in TINY else ("windows", "im2col")
        for which in PASSES:
            tasks = {}
            for label, library, layout in _choices(libraries):
                with suppress(UnsupportedError):
                    tasks[label] = library.convolution(problem, which, layout, operands)
            for way in ways:
                tasks[f"numpy {way}"] = _numpy.convolution(problem, which, way, operands)
            yield Comparison(name, which, problem.flops, tasks, _SUMS)
    for name, shape in (POOLS | TINY_POOLS).items():
        x = np.random.default_rng(0).standard_normal(shape, np.float32)
        tasks = {}
        for label, library, layout in _choices(libraries):
            with suppress(UnsupportedError):
                tasks[label] = library.max_pooling(x, 2, layout)
        for way in _numpy.POOLS if name in TINY_POOLS else ("windows", "reshape"):
            tasks[f"numpy {way}"] = _numpy.max_pooling(x, 2, way)
        yield Comparison(name, "forward", None, tasks, 0.0)
    for network in (NETWORK, TINY_NETWORK):
        yield _training(network, libraries)


def _training(network: Network, libraries: Mapping[str, Peer]) -> Comparison:
    """A step of this network on one batch, everywhere from the same weights."""
    batch = _BATCHES[network.name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *network.input_shape), np.float32)
    data = x, rng.integers(0, 10, batch)
    weights = build(network).get_weights()
    tasks = {}
    for label, library, layout in _choices(libraries):
        with suppress(UnsupportedError):
            tasks[label], _ = library.network(network, weights, data, layout)
    for way in _numpy.WAYS if network is TINY_NETWORK else ("windows", "im2col"):
        tasks[f"numpy {way}"] = _numpy_training.training(network, weights, data, way)
    return Comparison(network.name, "whole", network.flops(batch, training=True), tasks, _LOSSES)


def _choices(libraries: Mapping[str, Peer]) -> Iterator[tuple[str, Peer, str]]:
    """Every library in every memory layout, with a label."""
    for name, library in libraries.items():
        for layout in library.layouts:
            yield name if len(library.layouts) == 1 else f"{name} {layout}", library, layout
