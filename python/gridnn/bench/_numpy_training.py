"""A training step in NumPy: what people write who want a small network without a framework.

Convolutions with ReLU, max-pooling without overlap, flattening, dense layers; cross-entropy on logits; Adam.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gridnn.bench._numpy import WAYS, blocks
from gridnn.bench.peers import Array, Convolution, Network, Task

__all__ = ["training"]

Backward = Callable[[Array], Array]

_RATE, _BETA_1, _BETA_2, _EPSILON = 1e-3, 0.9, 0.999, 1e-7


class _Training:
    """A network with its weights and the slots of Adam."""

    def __init__(self, network: Network, weights: Sequence[Array], batch: int, way: str) -> None:
        self.network, self.way, self.batch = network, WAYS[way], batch
        self.weights = [array.copy() for array in weights]
        self.gradients: list[Array] = []
        self.first = [np.zeros_like(array) for array in weights]
        self.second = [np.zeros_like(array) for array in weights]
        self.steps = 0

    def step(self, x: Array, y: Array) -> float:
        """Forward, loss, backward, optimizer; returns the loss before it."""
        self.gradients = [np.empty(0, np.float32)] * len(self.weights)
        back: list[Backward] = []
        weight = 0
        for layer, shape, end in zip(
            self.network.layers, self.network.shapes()[:-1], self.network.ends(), strict=True
        ):
            if layer[0] == "conv":
                x, gradient = self._convolution(x, layer, shape, weight)
            elif layer[0] == "dense":
                x, gradient = self._dense(x, weight, end)
            elif layer[0] == "pool":
                x, gradient = _max_pool(x, layer[1])
            else:
                x, gradient = _flatten(x)
            weight += 2 * (layer[0] in ("conv", "dense"))
            back.append(gradient)
        loss, gradient_of_logits = _cross_entropy(x, y)
        for gradient in reversed(back):
            gradient_of_logits = gradient(gradient_of_logits)
        self._adam()
        return loss

    def _convolution(
        self, x: Array, layer: tuple[object, ...], shape: tuple[int, ...], weight: int
    ) -> tuple[Array, Backward]:
        """With ReLU. The input gradient of the first layer is not needed."""
        _, filters, kernel_size, stride, padding = layer
        problem = Convolution(
            self.network.rank,
            self.batch,
            shape[0],
            shape[-1],
            filters,  # type: ignore[arg-type]
            kernel_size,  # type: ignore[arg-type]
            stride,  # type: ignore[arg-type]
            padding=str(padding),
        )
        kernel, bias = self.weights[weight : weight + 2]
        y = np.maximum(self.way.forward(x, kernel, problem) + bias, 0)

        def backward(dy: Array) -> Array:
            dy = dy * (y > 0)
            self.gradients[weight] = self.way.kernel_grad(x, dy, problem)
            self.gradients[weight + 1] = dy.sum(tuple(range(dy.ndim - 1)))
            return self.way.input_grad(dy, kernel, problem) if weight else dy

        return y, backward

    def _dense(self, x: Array, weight: int, end: bool) -> tuple[Array, Backward]:
        """With ReLU, unless it is the last."""
        kernel, bias = self.weights[weight : weight + 2]
        y = x @ kernel + bias
        if not end:
            y = np.maximum(y, 0)

        def backward(dy: Array) -> Array:
            if not end:
                dy = dy * (y > 0)
            self.gradients[weight] = x.T @ dy
            self.gradients[weight + 1] = dy.sum(0)
            dx: Array = dy @ kernel.T
            return dx

        return y, backward

    def _adam(self) -> None:
        self.steps += 1
        rate = _RATE * np.sqrt(1 - _BETA_2**self.steps) / (1 - _BETA_1**self.steps)
        for weight, gradient, first, second in zip(
            self.weights, self.gradients, self.first, self.second, strict=True
        ):
            first += (1 - _BETA_1) * (gradient - first)
            second += (1 - _BETA_2) * (gradient * gradient - second)
            weight -= np.float32(rate) * first / (np.sqrt(second) + np.float32(_EPSILON))


def _max_pool(x: Array, size: int) -> tuple[Array, Backward]:
    cut = blocks(x, size)
    axes = tuple(range(2, cut.ndim - 1, 2))
    largest = cut.max(axes, keepdims=True)

    def backward(dy: Array) -> Array:
        # Equal elements all receive the gradient; behind ReLU such are zeros, through which none passes.
        inner = (cut == largest) * dy.reshape(largest.shape)
        dx = np.zeros_like(x)
        whole = (slice(None), *(slice(n // size * size) for n in x.shape[1:-1]))
        dx[whole] = inner.reshape(dx[whole].shape)
        return dx

    return largest.squeeze(axes), backward


def _flatten(x: Array) -> tuple[Array, Backward]:
    return x.reshape(len(x), -1), lambda dy: dy.reshape(x.shape)


def _cross_entropy(logits: Array, y: Array) -> tuple[float, Array]:
    """The mean, and its gradient."""
    shifted = logits - logits.max(1, keepdims=True)
    chances = np.exp(shifted)
    total = chances.sum(1, keepdims=True)
    own = np.arange(len(y)), y
    loss = float(np.mean(np.log(total[:, 0]) - shifted[own]))
    gradient = chances / total
    gradient[own] -= 1
    return loss, gradient / np.float32(len(y))


def training(network: Network, weights: Sequence[Array], data: tuple[Array, Array], way: str) -> Task:
    """A step on one batch, whose result is the losses of three."""
    state = _Training(network, weights, len(data[0]), way)
    return Task(lambda: state.step(*data), lambda: [np.array([state.step(*data) for _ in range(3)])])
