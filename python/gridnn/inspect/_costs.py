"""`costs`: what the layers of a model ask of the machine."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gridnn import _validation
from gridnn._engine import get_num_threads, multiply_adds
from gridnn._network import Network, Shape
from gridnn.model.protocol import Model
from gridnn.model.trainable import TrainableModel

__all__ = ["Cost", "costs"]

_COPY_BYTES = 32 << 20


@dataclass(frozen=True)
class Cost:
    """What a layer's forward pass asks for, for one batch.

    Example:
        >>> stack = layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)
        >>> model = gn.Sequential([gn.Input((8, 8, 1)), *stack], seed=0)
        >>> [cost.parameters for cost in gn.inspect.costs(model)]
        [20, 0, 219]
    """

    name: str
    """Name of the layer."""
    output_shape: tuple[int, ...]
    """Of one sample."""
    parameters: int
    """Weights."""
    multiply_adds: int
    """Multiplications with an addition; convolutions and dense layers only, as everywhere."""
    bytes: int
    """Inputs and weights read and outputs written, each once."""
    seconds: float
    """The longer of what the arithmetic takes at the peak and the bytes at the memory's speed (the roofline
    model of Williams, Waterman and Patterson 2009): layers that are fused, or find their inputs in a cache,
    may be faster."""

    @property
    def intensity(self) -> float:
        """Floating-point operations (two per multiply-add) per byte."""
        return 2 * self.multiply_adds / self.bytes if self.bytes else 0.0


def costs(
    model: Model,
    batch_size: int = 1,
    input_shape: Sequence[int] | None = None,
    *,
    flops: float | None = None,
    bandwidth: float | None = None,
) -> list[Cost]:
    """Multiply-adds, bytes, arithmetic intensity and predicted time of every layer.

    Args:
        model: a built model.
        batch_size: samples at once.
        input_shape: shape of a sample; needed where the model leaves sizes open.
        flops: operations per second that the machine can do; None measures what all threads reach in
            registers.
        bandwidth: bytes per second to and from memory; None measures a copy.

    Returns:
        One entry per layer that computes, in their order; containers are not listed, what they hold is.

    Raises:
        ValueError: the model is not built, or sizes are unknown.

    Example:
        >>> import gridnn as gn
        >>> model = gn.Sequential([gn.Input((28, 28, 1)), gn.layers.Conv2D(32, 3), gn.layers.Flatten()])
        >>> first = gn.inspect.costs(model, flops=1e11, bandwidth=1e10)[0]
        >>> first.multiply_adds, first.bytes, round(first.intensity, 2)
        (194688, 90944, 4.28)
    """
    if not isinstance(model, TrainableModel):
        raise TypeError(f"`model` must be a Sequential or another model. Received {model!r}.")
    batch_size = _validation.positive_integer(batch_size, "batch_size")
    network = _network_of(model, input_shape)
    flops = _peak() if flops is None else _validation.real(flops, "flops", low=1.0)
    bandwidth = _copy_speed() if bandwidth is None else _validation.real(bandwidth, "bandwidth", low=1.0)
    found = []
    for node in model.graph.by_position:
        if node.kind == "input" or node.size > 1:
            continue
        position = node.position
        macs = (network.macs[position] or 0) * batch_size
        parameters = sum(math.prod(info.shape) for info in network.weights if info.layer == position)
        sizes = [_known(network.input_shapes[position]), _known(network.output_shapes[position])]
        elements = batch_size * sum(math.prod(shape) for shape in sizes) + parameters
        moved = elements * network.dtype.itemsize
        seconds = max(2 * macs / flops, moved / bandwidth)
        found.append(Cost(node.name, sizes[1], parameters, macs, moved, seconds))
    return found


def _network_of(model: Model, input_shape: Sequence[int] | None) -> Network:
    """The model's network, or one like it for a concrete input."""
    if input_shape is None:
        network = model.network
        if None in network.input_shape:
            raise ValueError(
                f"Sizes of the input of model '{model.name}' are unknown: pass input_shape=(...)."
            )
        return network
    sizes = [_validation.positive_integer(n, "input_shape") for n in input_shape]
    return model.network_like(sizes)


def _known(shape: Shape) -> tuple[int, ...]:
    return tuple(n or 0 for n in shape)


def _peak() -> float:
    """Operations per second of all threads together, in registers."""
    start = time.perf_counter()
    done = multiply_adds(20_000)
    return done / (time.perf_counter() - start) * get_num_threads()


def _copy_speed() -> float:
    """Bytes per second, read and written, of a copy that no cache holds; the best of three."""
    source = np.ones(_COPY_BYTES // 8)
    target = np.empty_like(source)
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        np.copyto(target, source)
        best = max(best, 2 * source.nbytes / (time.perf_counter() - start))
    return best
