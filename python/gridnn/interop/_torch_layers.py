"""What each layer with weights is in PyTorch: names and layouts of its arrays, both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import layers
from gridnn._graph import Graph, Node
from gridnn._network import Network, Shape
from gridnn.interop._torch_layouts import Layout, layouts_of, reordered, restored
from gridnn.layers.base import Layer
from gridnn.layers.conv import Convolution
from gridnn.layers.conv_transpose import TransposedConvolution
from gridnn.layers.depthwise import DepthwiseConvolution, SeparableConvolution

__all__ = ["EPS", "MOMENTUM", "Slot", "slots_of"]

Array = NDArray[Any]
Change = Callable[[Array], Array]

EPS = 1e-5
"""`eps` of normalization layers in PyTorch, where nobody gives another."""

MOMENTUM = 0.1
"""`momentum` of batch normalization in PyTorch: the share of the new value, here that of the old one."""


@dataclass(frozen=True)
class Tensor:
    """A weight of a layer, and the tensor of PyTorch's that holds the same numbers."""

    name: str
    """Name in PyTorch: "weight", "bias", "running_mean" or "running_var"."""
    index: int | None
    """Number of the weight in the network; None for what PyTorch has and the layer is without."""
    from_torch: Change
    to_torch: Change
    shape: tuple[int, ...]
    """Shape in PyTorch."""
    filling: float = 0.0
    """Every element of what the layer is without."""


@dataclass(frozen=True)
class Slot:
    """A layer, or a part of one, that is one module in PyTorch."""

    name: str
    """Name of the layer, behind those of the models that it is in; parts of separable convolutions end in
    ``.depthwise`` or ``.pointwise``."""
    layer: Layer
    kind: str
    """Modules of equal kinds may be exchanged without a shape saying so."""
    tensors: tuple[Tensor, ...]
    constants: dict[str, tuple[float, float]] = field(default_factory=dict)
    """What a module has beside its tensors: name -> the layer's value and PyTorch's default."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name of a tensor -> its shape in PyTorch."""
        return {tensor.name: tensor.shape for tensor in self.tensors}


def slots_of(graph: Graph, network: Network) -> list[Slot]:
    """The layers of a model that have weights, in its order.

    Raises:
        ValueError: a layer has no equal in PyTorch.
    """
    indices: dict[int, dict[str, int]] = {}
    for index, info in enumerate(network.weights):
        indices.setdefault(info.layer, {})[info.name] = index
    layouts = layouts_of(graph)
    slots: list[Slot] = []
    for node in graph.by_position:
        if node.position in indices and node.layer is not None:
            slots += _Module(graph, node, network, indices[node.position], layouts[node.number]).slots()
    return slots


class _Module:
    """A node with weights, on its way to slots."""

    def __init__(
        self, graph: Graph, node: Node, network: Network, indices: dict[str, int], layout: Layout
    ) -> None:
        assert node.layer is not None
        self.layer: Layer = node.layer
        self._name = node.name.replace("/", ".")  # of a layer in a model that is called
        self.input_shape: Shape = graph.input_shapes(node)[0] or ()
        self._network = network
        self._indices = indices
        self._layout = layout

    def slots(self) -> Iterator[Slot]:
        layer = self.layer
        if isinstance(layer, (Convolution, TransposedConvolution)):
            kernel = self._tensor("weight", "kernel", _kernel_from_torch, _kernel_to_torch)
            yield self._slot(f"{layer.rank}-D convolution", kernel, *self._bias())
        elif isinstance(layer, DepthwiseConvolution):
            yield self._slot(f"{layer.rank}-D convolution", self._depthwise("kernel"), *self._bias())
        elif isinstance(layer, SeparableConvolution):
            kind = f"{layer.rank}-D convolution"
            pointwise = self._tensor("weight", "pointwise_kernel", _kernel_from_torch, _kernel_to_torch)
            yield self._slot(kind, self._depthwise("depthwise_kernel"), part=".depthwise")
            yield self._slot(kind, pointwise, *self._bias(), part=".pointwise")
        elif isinstance(layer, layers.Dense):
            yield self._dense()
        elif isinstance(layer, layers.BatchNormalization):
            yield self._batch_normalization(layer)
        elif isinstance(layer, (layers.LayerNormalization, layers.GroupNormalization)):
            yield self._normalization(layer)
        elif isinstance(layer, layers.PReLU):
            yield self._prelu()
        else:
            raise self._without_equal("a layer of this kind has no counterpart there")

    def _slot(
        self,
        kind: str,
        *tensors: Tensor,
        part: str = "",
        constants: dict[str, tuple[float, float]] | None = None,
    ) -> Slot:
        return Slot(self._name + part, self.layer, kind, tensors, constants or {})

    def _tensor(
        self, name: str, weight: str, from_torch: Change, to_torch: Change, filling: float = 0.0
    ) -> Tensor:
        index = self._indices[weight]
        # Of the right shape without taking memory: all its elements are one.
        like = np.broadcast_to(np.float32(0), self._network.weights[index].shape)
        return Tensor(name, index, from_torch, to_torch, to_torch(like).shape, filling)

    def _bias(self) -> tuple[Tensor, ...]:
        return (self._vector("bias", "bias"),) if "bias" in self._indices else ()

    def _vector(self, name: str, weight: str) -> Tensor:
        """One number per channel, or per feature made."""
        order = self._layout.outputs
        return self._tensor(
            name,
            weight,
            lambda array: reordered(array, order, 0),
            lambda array: restored(array, order, 0),
        )

    def _depthwise(self, weight: str) -> Tensor:
        *_, channels, multiplier = self._network.weights[self._indices[weight]].shape

        def from_torch(array: Array) -> Array:
            apart = array.reshape(channels, multiplier, *array.shape[2:])
            return np.moveaxis(apart, (0, 1), (-2, -1))

        def to_torch(array: Array) -> Array:
            moved: Array = np.moveaxis(array, (-2, -1), (0, 1))
            joined: Array = moved.reshape(channels * multiplier, 1, *moved.shape[2:])
            return joined

        return self._tensor("weight", weight, from_torch, to_torch)

    def _dense(self) -> Slot:
        inputs, outputs = self._layout.inputs, self._layout.outputs

        def from_torch(array: Array) -> Array:
            return reordered(reordered(array.T, inputs, 0), outputs, 1)

        def to_torch(array: Array) -> Array:
            kernel: Array = restored(restored(array, inputs, 0), outputs, 1).T
            return kernel

        return self._slot("linear", self._tensor("weight", "kernel", from_torch, to_torch), *self._bias())

    def _batch_normalization(self, layer: layers.BatchNormalization) -> Slot:
        if layer.axis not in (-1, len(self.input_shape)):
            raise self._without_equal(
                f"there it is over the channels, and this one is over axis {layer.axis}"
            )
        constants = {"eps": (layer.epsilon, EPS), "momentum": (1.0 - layer.momentum, MOMENTUM)}
        moving = [
            self._vector("running_mean", "moving_mean"),
            self._vector("running_var", "moving_variance"),
        ]
        return self._slot("batch normalization", *self._scaling(), *moving, constants=constants)

    def _scaling(self) -> list[Tensor]:
        """Gamma and beta of channels: both or none, as in PyTorch; what the layer lacks is filled in."""
        if "gamma" not in self._indices and "beta" not in self._indices:
            return []
        found = []
        for name, weight, filling in (("weight", "gamma", 1.0), ("bias", "beta", 0.0)):
            if weight in self._indices:
                found.append(self._vector(name, weight))
            else:
                other = self._vector(name, "beta" if weight == "gamma" else "gamma")
                found.append(Tensor(name, None, other.from_torch, other.to_torch, other.shape, filling))
        return found

    def _normalization(self, layer: layers.LayerNormalization | layers.GroupNormalization) -> Slot:
        rank = len(self.input_shape)
        axes = layer.axis if isinstance(layer.axis, tuple) else (layer.axis,)
        axes = tuple(sorted(axis % (rank + 1) for axis in axes))
        constants = {"eps": (layer.epsilon, EPS)}
        if axes == (rank,):
            return self._slot("normalization", *self._scaling(), constants=constants)
        if isinstance(layer, layers.GroupNormalization) or axes != tuple(range(1, rank + 1)):
            raise self._without_equal(f"it normalizes over the axes {axes} of {self.input_shape}")
        if self._indices.keys() != {"gamma", "beta"}:
            raise self._without_equal("over several axes it takes both `center` and `scale`")
        # All of a grid: its channels come first there.
        both = [
            self._tensor(name, weight, lambda array: np.moveaxis(array, 0, -1), _channels_first)
            for name, weight in (("weight", "gamma"), ("bias", "beta"))
        ]
        return self._slot("normalization", *both, constants=constants)

    def _prelu(self) -> Slot:
        shape = self._network.weights[self._indices["alpha"]].shape
        if any(size != 1 for size in shape[:-1]):
            axes = tuple(range(1, len(shape)))
            raise self._without_equal(
                f"there it has one slope, or one per channel; make it with shared_axes={axes}"
            )
        order = self._layout.outputs if shape[-1] > 1 else None

        def from_torch(array: Array) -> Array:
            return reordered(array, order, 0).reshape(shape)

        def to_torch(array: Array) -> Array:
            return restored(array.reshape(shape[-1]), order, 0)

        return self._slot("PReLU", self._tensor("weight", "alpha", from_torch, to_torch))

    def _without_equal(self, reason: str) -> ValueError:
        return ValueError(f"{self.layer.label} has no equal in PyTorch: {reason}.")


def _kernel_from_torch(array: Array) -> Array:
    """(O, I / g, *k) -> (*k, I / g, O); of transposed ones (I, O / g, *k) -> (*k, O / g, I)."""
    return np.moveaxis(array, (0, 1), (-1, -2))


def _kernel_to_torch(array: Array) -> Array:
    return np.moveaxis(array, (-1, -2), (0, 1))


def _channels_first(array: Array) -> Array:
    return np.moveaxis(array, -1, 0)
