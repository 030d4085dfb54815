"""Other libraries behind one interface, so that the same problem can be put to each of them.

Nothing here imports gridnn: `benches/python` runs these modules in environments that do not have it. A
library is imported when its `Peer` is made, never before.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "PASSES",
    "PEERS",
    "Array",
    "Convolution",
    "Network",
    "Peer",
    "Task",
    "UnsupportedError",
    "installed",
    "load",
]

Array = NDArray[Any]

PASSES = ("forward", "input gradient", "kernel gradient")

PEERS = {"torch": "pytorch", "tensorflow": "tensorflow", "jax": "jax", "scipy": "scipy"}
"""Libraries, in the order of the tables, and the modules of this package that call them."""

_NEEDED = {"tensorflow": ("tensorflow", "keras")}


class UnsupportedError(Exception):
    """The library has no such operation on a CPU."""


@dataclass(frozen=True)
class Task:
    """Something to time."""

    call: Callable[[], object]
    """One call; the result is complete when it returns."""
    result: Callable[[], list[Array]]
    """What the call computes, channels last; asked once, before timing, as steps move weights."""


@dataclass(frozen=True)
class Convolution:
    """A convolution, channels last, with the same numbers along every axis."""

    rank: int
    batch: int
    size: int
    c_in: int
    c_out: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    padding: str = "same"
    groups: int = 1

    @property
    def pads(self) -> tuple[int, int]:
        """Zeros before and after an axis, by the rules of Keras."""
        reach = (self.kernel - 1) * self.dilation + 1
        if self.padding == "causal":
            return reach - 1, 0
        if self.padding == "valid":
            return 0, 0
        total = max((-(-self.size // self.stride) - 1) * self.stride + reach - self.size, 0)
        return total // 2, total - total // 2

    @property
    def out(self) -> int:
        """Length of an axis of the result."""
        reach = (self.kernel - 1) * self.dilation + 1
        return (self.size + sum(self.pads) - reach) // self.stride + 1

    @property
    def x_shape(self) -> tuple[int, ...]:
        """Batch, spatial axes, channels."""
        return (self.batch, *[self.size] * self.rank, self.c_in)

    @property
    def y_shape(self) -> tuple[int, ...]:
        """Batch, spatial axes, channels."""
        return (self.batch, *[self.out] * self.rank, self.c_out)

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """Spatial axes, channels of a group, filters."""
        return (*[self.kernel] * self.rank, self.c_in // self.groups, self.c_out)

    @property
    def flops(self) -> int:
        """Of any pass: two per multiply-add, those with padding included."""
        return 2 * int(np.prod(self.y_shape)) * int(np.prod(self.kernel_shape[:-1]))

    def operands(self, seed: int = 0) -> tuple[Array, Array, Array]:
        """Random `x`, `kernel` and `dy` in float32."""
        rng = np.random.default_rng(seed)
        shapes = (self.x_shape, self.kernel_shape, self.y_shape)
        x, kernel, dy = (rng.standard_normal(shape, np.float32) for shape in shapes)
        return x, kernel, dy


@dataclass(frozen=True)
class Network:
    """A small network: ReLU after every convolution and hidden dense layer, cross-entropy on logits, Adam.

    Layers are tuples: ``("conv", filters, kernel, stride, padding)``, ``("pool", size)`` (the maximum),
    ``("flatten",)``, ``("gap",)`` (the mean over all spatial axes), ``("dense", units)``. Weights are in the
    order and shapes of Keras: kernel, bias, kernel, bias and so on. The learning rate is 1e-3.
    """

    name: str
    input_shape: tuple[int, ...]
    layers: tuple[tuple[Any, ...], ...]

    @property
    def rank(self) -> int:
        """Spatial axes."""
        return len(self.input_shape) - 1

    def shapes(self) -> list[tuple[int, ...]]:
        """What enters each layer, and what leaves the last, without the batch axis."""
        shapes = [self.input_shape]
        for kind, *numbers in self.layers:
            *space, channels = shapes[-1]
            if kind == "conv":
                filters, kernel, stride, padding = numbers
                lost = 0 if padding == "same" else kernel - 1
                shapes.append((*(-(-(size - lost) // stride) for size in space), filters))
            elif kind == "pool":
                shapes.append((*(size // numbers[0] for size in space), channels))
            elif kind == "dense":
                shapes.append((numbers[0],))
            else:
                shapes.append((channels if kind == "gap" else int(np.prod(shapes[-1])),))
        return shapes

    def pads(self, layer: int) -> tuple[tuple[int, int], ...]:
        """Zeros before and after each axis of the convolution at this position."""
        _, filters, kernel, stride, padding = self.layers[layer]
        space = self.shapes()[layer][:-1]
        one = [Convolution(1, 1, n, 1, filters, kernel, stride, 1, padding).pads for n in space]
        return tuple(one)

    def macs(self) -> list[int]:
        """Multiply-adds of one sample, forward, of each layer that has weights."""
        counts = []
        for (kind, *numbers), before, after in zip(
            self.layers, self.shapes()[:-1], self.shapes()[1:], strict=True
        ):
            if kind == "conv":
                counts.append(int(np.prod(after)) * numbers[1] ** self.rank * before[-1])
            elif kind == "dense":
                counts.append(before[0] * after[0])
        return counts

    def flops(self, batch: int, training: bool) -> int:
        """Of a step: two per multiply-add; the input gradient of the first layer is not needed."""
        macs = self.macs()
        return 2 * batch * (3 * sum(macs) - macs[0] if training else sum(macs))

    def ends(self) -> list[bool]:
        """For each layer, whether it is the last, which has no ReLU."""
        return [i == len(self.layers) - 1 for i in range(len(self.layers))]


class Peer(Protocol):
    """A library; the methods prepare one problem each."""

    version: str

    def __init__(self, threads: int) -> None: ...

    @property
    def layouts(self) -> Sequence[str]:
        """Memory layouts between which its users can choose; the better one counts."""

    def pads(self, problem: Convolution) -> tuple[int, int]:
        """The padding that its users would take: where strides make "same" lopsided it may be another."""

    def convolution(
        self, problem: Convolution, which: str, layout: str, operands: tuple[Array, Array, Array]
    ) -> Task:
        """One of `PASSES`."""

    def max_pooling(self, x: Array, size: int, layout: str) -> Task:
        """The forward pass, valid windows side by side."""

    def network(
        self, network: Network, weights: Sequence[Array], data: tuple[Array, Array], layout: str
    ) -> tuple[Task, Task]:
        """A training step, whose result is the losses of three steps, and inference."""


def installed() -> list[str]:
    """The libraries that can be imported here."""
    return [
        name
        for name in PEERS
        if all(importlib.util.find_spec(module) for module in _NEEDED.get(name, (name,)))
    ]


def load(name: str, threads: int) -> Peer:
    """Imports a library and sets its number of threads, which most of them allow only once."""
    peer: Peer = importlib.import_module(f"{__name__}.{PEERS[name]}").Library(threads)
    return peer
