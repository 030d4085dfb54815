"""Runs a model with all its tensors kept: the values of every layer and the gradients to them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gridnn import _validation
from gridnn._network import Inspection, Network, as_array
from gridnn.errors import ShapeError
from gridnn.layers.base import Layer
from gridnn.model.protocol import Model
from gridnn.model.sequential import Sequential

__all__ = ["Run", "expect_grid", "filter_number", "present"]


class Run:
    """A built model and a batch for it; layers are known by their position in the network."""

    def __init__(self, model: Model, x: ArrayLike) -> None:
        if not isinstance(model, Sequential):
            raise TypeError(f"`model` must be a Sequential. Received {model!r}.")
        self.model = model
        array = as_array(x, "x")
        self.network: Network = model.network_for(array)
        self.x: NDArray[Any] = self.network.as_input(array)

    @property
    def layers(self) -> list[Layer]:
        """All layers with their positions, nested ones behind the container that holds them."""
        return self.model.graph.layers

    def layer(self, layer: Layer | str | int) -> Layer:
        """A layer, given by itself, by its name, or by its index in ``model.layers``.

        Raises:
            ValueError: it is not a layer of the model.
        """
        if not isinstance(layer, Layer):
            layer = (
                self.model.get_layer(layer) if isinstance(layer, str) else self.model.get_layer(index=layer)
            )
        if layer not in self.layers:
            raise ValueError(f"{layer.label} is not a layer of model '{self.model.name}'.")
        return layer

    def position(self, layer: Layer | str | int) -> int:
        """Position of such a layer in the network."""
        return self.model.graph.node(self.layer(layer)).position

    def output_of(self, layer: Layer | str | int) -> NDArray[Any]:
        """The values of a layer for the batch."""
        return present(self.network.inspect([self.x]).values[self.position(layer)])

    def backward(self, position: int, dy: NDArray[Any]) -> Inspection:
        """Values up to a layer, and the gradients of ``sum(dy * its output)``."""
        return self.network.inspect([self.x], position, np.asarray(dy, self.network.dtype, order="C"))


def filter_number(value: object, channels: int) -> int:
    """A channel of a layer.

    Raises:
        ValueError: there are not so many.
    """
    number = _validation.integer(value, "filter")
    if not -channels <= number < channels:
        raise ValueError(f"`filter` must be from {-channels} to {channels - 1}. Received filter={value}.")
    return number % channels


def expect_grid(values: NDArray[Any], layer: Layer) -> None:
    """Raises ShapeError if a layer's outputs have no spatial axes."""
    if values.ndim < 3:
        raise ShapeError(f"{layer.label} has no spatial axes: its outputs have shape {layer.output_shape}.")


def present(tensor: NDArray[Any] | None) -> NDArray[Any]:
    """A tensor of a layer that leads to the output, as all layers of a model do."""
    if tensor is None:
        raise RuntimeError("a layer does not lead to the output")
    return tensor
