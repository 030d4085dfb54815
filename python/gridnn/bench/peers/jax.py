"""JAX: every call compiled with `jax.jit`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import Array, Convolution, Network, Task

__all__ = ["Library"]


class Library:
    """See `Peer`."""

    layouts = ("channels last",)

    def __init__(self, threads: int) -> None:
        # XLA sizes its pools by this variable; without it by the processors the process may use.
        os.environ["NPROC"] = str(threads)
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        self._jax: Any = importlib.import_module("jax")
        self._np: Any = importlib.import_module("jax.numpy")
        self.version = f"JAX {self._jax.__version__}"

    def pads(self, problem: Convolution) -> tuple[int, int]:
        """See `Peer`."""
        return problem.pads

    def convolution(
        self, problem: Convolution, which: str, layout: str, operands: tuple[Array, Array, Array]
    ) -> Task:
        """See `Peer`."""
        jax, rank = self._jax, problem.rank
        x, kernel, dy = (self._np.asarray(array) for array in operands)

        def forward(x: Any, kernel: Any) -> Any:
            return jax.lax.conv_general_dilated(
                x,
                kernel,
                [problem.stride] * rank,
                [problem.pads] * rank,
                rhs_dilation=[problem.dilation] * rank,
                dimension_numbers=_numbers(rank),
                feature_group_count=problem.groups,
            )

        def input_grad(dy: Any, kernel: Any) -> Any:
            (dx,) = jax.linear_transpose(lambda x: forward(x, kernel), x)(dy)
            return dx

        def kernel_grad(x: Any, dy: Any) -> Any:
            (dkernel,) = jax.linear_transpose(lambda kernel: forward(x, kernel), kernel)(dy)
            return dkernel

        function, arguments = {
            "forward": (forward, (x, kernel)),
            "input gradient": (input_grad, (dy, kernel)),
            "kernel gradient": (kernel_grad, (x, dy)),
        }[which]
        compiled = jax.jit(function)

        def call() -> Any:
            return compiled(*arguments).block_until_ready()

        return Task(call, lambda: [np.asarray(call())])

    def max_pooling(self, x: Array, size: int, layout: str) -> Task:
        """See `Peer`."""
        tensor = self._np.asarray(x)
        compiled = self._jax.jit(lambda x: self._max_pool(x, size))

        def call() -> Any:
            return compiled(tensor).block_until_ready()

        return Task(call, lambda: [np.asarray(call())])

    def network(
        self, network: Network, weights: Sequence[Array], data: tuple[Array, Array], layout: str
    ) -> tuple[Task, Task]:
        """See `Peer`."""
        jax, jnp = self._jax, self._np
        x, y = jnp.asarray(data[0]), jnp.asarray(data[1].astype(np.int32))
        initial = [jnp.asarray(array) for array in weights]

        def loss_of(weights: Any, x: Any, y: Any) -> Any:
            chances = jax.nn.log_softmax(self._outputs(network, weights, x))
            return -jnp.take_along_axis(chances, y[:, None], 1).mean()

        def step(weights: Any, slots: Any, count: Any, x: Any, y: Any) -> Any:
            loss, gradients = jax.value_and_grad(loss_of)(weights, x, y)
            count = count + 1
            rate = 1e-3 * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
            first = [0.9 * m + 0.1 * g for m, g in zip(slots[0], gradients, strict=True)]
            second = [0.999 * v + 0.001 * g * g for v, g in zip(slots[1], gradients, strict=True)]
            weights = [
                w - rate * m / (jnp.sqrt(v) + 1e-7) for w, m, v in zip(weights, first, second, strict=True)
            ]
            return weights, (first, second), count, loss

        compiled = jax.jit(step, donate_argnums=(0, 1, 2))
        zeros = [[jnp.zeros_like(w) for w in initial] for _ in range(2)]
        state = [[jnp.array(w) for w in initial], (zeros[0], zeros[1]), jnp.zeros(())]
        inference = jax.jit(lambda weights, x: self._outputs(network, weights, x))

        def train() -> Any:
            *state[:], loss = jax.block_until_ready(compiled(*state, x, y))
            return loss

        def infer() -> Any:
            return inference(initial, x).block_until_ready()

        return (
            Task(train, lambda: [np.array([float(train()) for _ in range(3)])]),
            Task(infer, lambda: [np.asarray(infer())]),
        )

    def _outputs(self, network: Network, weights: Any, x: Any) -> Any:
        """The logits."""
        jax, rank = self._jax, network.rank
        left = list(weights)
        for i, (kind, *numbers) in enumerate(network.layers):
            if kind == "conv":
                x = jax.lax.conv_general_dilated(
                    x,
                    left.pop(0),
                    [numbers[2]] * rank,
                    network.pads(i),
                    dimension_numbers=_numbers(rank),
                )
                x = x + left.pop(0)
            elif kind == "pool":
                x = self._max_pool(x, numbers[0])
            elif kind == "gap":
                x = x.mean(range(1, x.ndim - 1))
            elif kind == "flatten":
                x = x.reshape(len(x), -1)
            else:
                x = x @ left.pop(0) + left.pop(0)
            if kind in ("conv", "dense") and not network.ends()[i]:
                x = jax.nn.relu(x)
        return x

    def _max_pool(self, x: Any, size: int) -> Any:
        """Valid windows side by side."""
        window = (1, *[size] * (x.ndim - 2), 1)
        return self._jax.lax.reduce_window(x, -self._np.inf, self._jax.lax.max, window, window, "VALID")


def _numbers(rank: int) -> tuple[str, str, str]:
    """Which axis is which."""
    space = "DHW"[3 - rank :]
    return f"N{space}C", f"{space}IO", f"N{space}C"
