"""gridnn itself, behind the interface of `peers`, and the speed that its arithmetic could reach."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

import gridnn as gn
from gridnn import _engine, functional, layers
from gridnn.bench.peers import Array, Convolution, Network, Task

__all__ = ["Library", "peak"]

_PEAK_SECONDS = 2e-3


class Library:
    """See `peers.Peer`."""

    layouts = ("channels last",)

    def __init__(self, threads: int) -> None:
        gn.set_num_threads(threads)
        self.version = f"gridnn {gn.__version__} ({gn.simd_tier()})"

    def pads(self, problem: Convolution) -> tuple[int, int]:
        """See `peers.Peer`."""
        return problem.pads

    def convolution(
        self,
        problem: Convolution,
        which: str,
        layout: str,
        operands: tuple[Array, Array, Array],
        pads: tuple[int, int] | None = None,
    ) -> Task:
        """See `peers.Peer`; with `pads` the result is that of other padding, to compare with who takes it."""
        name = f"conv{problem.rank}d"
        x, kernel, dy = operands
        padding = problem.padding if pads in (None, problem.pads) else [pads] * problem.rank
        options = {
            "strides": problem.stride,
            "padding": padding,
            "dilation_rate": problem.dilation,
            "groups": problem.groups,
        }
        arguments: tuple[Any, ...]
        if which == "forward":
            function, arguments = getattr(functional, name), (x, kernel)
        elif which == "input gradient":
            function, arguments = getattr(functional, f"{name}_input_grad"), (dy, kernel, x.shape)
        else:
            function, arguments = getattr(functional, f"{name}_kernel_grad"), (x, dy, kernel.shape)
        # Everybody's results are in memory of their own: this one is then written again and again.
        out = function(*arguments, **options)
        return Task(
            lambda: function(*arguments, **options, out=out),
            lambda: [function(*arguments, **options).copy()],
        )

    def max_pooling(self, x: Array, size: int, layout: str) -> Task:
        """See `peers.Peer`."""
        function = getattr(functional, f"max_pool{x.ndim - 2}d")
        out = np.empty((len(x), *(n // size for n in x.shape[1:-1]), x.shape[-1]), x.dtype)
        return Task(lambda: function(x, size, out=out), lambda: [function(x, size)])

    def network(
        self, network: Network, weights: Sequence[Array], data: tuple[Array, Array], layout: str
    ) -> tuple[Task, Task]:
        """See `peers.Peer`."""
        model = build(network)
        model.set_weights(list(weights))
        x, y = data
        return (
            Task(
                lambda: model.train_on_batch(x, y),
                lambda: [np.array([float(model.train_on_batch(x, y)) for _ in range(3)])],
            ),
            Task(lambda: model.predict_on_batch(x), lambda: [model.predict_on_batch(x)]),
        )


def build(network: Network, seed: int = 0) -> gn.Sequential:
    """The network as a compiled model with weights of its own."""
    rank = network.rank
    stack: list[layers.Layer | layers.Input] = [gn.Input(network.input_shape)]
    for (kind, *numbers), end in zip(network.layers, network.ends(), strict=True):
        relu = None if end else "relu"
        if kind == "conv":
            filters, kernel, stride, padding = numbers
            convolution = getattr(layers, f"Conv{rank}D")
            stack.append(convolution(filters, kernel, stride, padding, activation=relu))
        elif kind == "pool":
            stack.append(getattr(layers, f"MaxPooling{rank}D")(numbers[0]))
        elif kind == "gap":
            stack.append(getattr(layers, f"GlobalAveragePooling{rank}D")())
        elif kind == "flatten":
            stack.append(layers.Flatten())
        else:
            stack.append(layers.Dense(numbers[0], activation=relu))
    model = gn.Sequential(stack, seed=seed)
    model.compile(gn.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    return model


def peak(threads: int) -> float:
    """FLOP/s that this many threads reach which only multiply and add in registers."""
    rounds = 20_000
    start = time.perf_counter()
    _engine.multiply_adds(rounds)
    rounds = max(1, int(rounds * _PEAK_SECONDS / (time.perf_counter() - start)))

    def run(_: int) -> float:
        start = time.perf_counter()
        flops = _engine.multiply_adds(rounds)
        return flops / (time.perf_counter() - start)

    if threads == 1:
        return run(0)
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(run, range(threads)))
