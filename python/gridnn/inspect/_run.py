"""Runs a model with all its tensors kept: the values of every layer and the gradients to them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._network import Inspection, Network
from gridnn.errors import ShapeError
from gridnn.layers.base import Layer
from gridnn.model.binding import Binder
from gridnn.model.protocol import Model
from gridnn.model.trainable import TrainableModel

__all__ = ["Run", "expect_grid", "filter_number", "present"]


class Run:
    """A built model and a batch for it; layers are known by their position in the network.

    Args:
        model: the model.
        x: the batch.
        several: whether models of several inputs are taken.
    """

    def __init__(self, model: Model, x: Any, *, several: bool = False) -> None:
        if not isinstance(model, TrainableModel):
            raise TypeError(f"`model` must be a Sequential or another model. Received {model!r}.")
        self.model = model
        if len(model.input_names) > 1 and not several:
            raise ValueError(
                f"This is for models of one input. Model '{model.name}' has {len(model.input_names)}: "
                f"{', '.join(model.input_names)}."
            )
        self.inputs = Binder(model).inputs(x)
        self.network: Network = model.network
        self.x: NDArray[Any] = self.inputs[0]

    @property
    def layers(self) -> list[Layer]:
        """All layers with their positions, nested ones behind the container that holds them."""
        return self.model.graph.layers

    def layer(self, layer: Layer | str | int) -> Layer:
        """A layer, given by itself, by its name, or by its index in ``model.layers``.

        Raises:
            ValueError: it is not a layer of the model.
        """
        found: Any = layer
        if not isinstance(layer, Layer):
            given: Any = layer
            found = self.model.get_layer(**{"name" if isinstance(layer, str) else "index": given})
        if not isinstance(found, Layer):
            raise ValueError(
                f"'{found.name}' is a model inside '{self.model.name}': look at one of its layers."
            )
        if not any(found is own for own in self.layers):
            raise ValueError(f"{found.label} is not a layer of model '{self.model.name}'.")
        return found

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
        ValueError: the layer has no such filter.
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
