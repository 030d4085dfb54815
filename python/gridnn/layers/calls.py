"""What a layer makes of arrays, by itself and outside of a model.

The engine computes it, in a network of inputs and this layer alone. A layer that no model has yet is built by
its first call: the network that the call makes then holds its weights, and a model that takes the layer later
goes on with them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _hints
from gridnn._arrays import as_array
from gridnn._engine import derive_seed
from gridnn._network import Network, Shape, weight_shapes
from gridnn._seeding import next_seed
from gridnn.errors import ShapeError
from gridnn.layers.symbolic import input_description

if TYPE_CHECKING:
    from gridnn.layers.base import Layer

__all__ = ["Calls", "build", "on_arrays"]


_building = threading.RLock()


@dataclass(slots=True)
class Calls:
    """What a layer keeps of its calls on arrays."""

    latest: tuple[object, Network] | None = None
    """Shapes, type and home of the weights of the last call, and the network that it used."""
    first: tuple[object, Network] | None = None
    """Shapes of the call that has built the layer, and the network that holds its weights since."""
    _seed: int | None = None
    _trained: int = 0

    def next_seed(self) -> int:
        """The seed of the next call in training."""
        if self._seed is None:
            self._seed = next_seed()
        self._trained += 1
        return derive_seed(self._seed, self._trained)


def on_arrays(layer: Layer, x: Any, training: bool) -> NDArray[Any]:
    """The outputs of a layer for one batch.

    Args:
        layer: the layer; it is built if it was not.
        x: an array, or a list of them for a layer that merges.
        training: whether it acts as in training.

    Raises:
        ShapeError: `x` does not fit.
        TypeError: not an array, or not a list of them.
    """
    arrays = _arrays(layer, x)
    if arrays[0].ndim == 1 and layer.elementwise:
        return on_arrays(layer, arrays[0][:, np.newaxis], training)[:, 0]
    network = _network(layer, arrays)
    return network.forward(arrays, training, layer._array_calls.next_seed() if training else 0)[0]


def build(layer: Layer, shapes: Sequence[Shape]) -> None:
    """Makes the weights of a layer for inputs of these shapes, with the batch axis, unless it has some.

    Raises:
        ShapeError: the layer does not fit them.
    """
    with _building:
        if not layer.built:
            samples = [tuple(shape[1:]) for shape in shapes]
            layer._array_calls.latest = (samples, "float32"), _first_network(layer, samples, "float32")


def _arrays(layer: Layer, x: Any) -> list[NDArray[Any]]:
    """The arrays of an argument; errors name the layer."""
    if layer.merges and (not isinstance(x, (list, tuple)) or not x):
        received = f"an empty {type(x).__name__}" if isinstance(x, (list, tuple)) else type(x).__name__
        raise TypeError(f"{layer.label} takes a list of arrays. Received {received}.")
    named = [(f"x[{number}]", array) for number, array in enumerate(x)] if layer.merges else [("x", x)]
    try:
        arrays = [_array(array, argument) for argument, array in named]
    except (TypeError, ValueError) as error:
        raise type(error)(f"{layer.label}: {error}") from error
    if len({len(array) for array in arrays}) > 1:
        raise ShapeError(
            f"{layer.label}: all arrays must have the same number of samples. Received arrays of shapes "
            f"{', '.join(str(array.shape) for array in arrays)}."
        )
    return arrays


def _array(x: Any, argument: str) -> NDArray[Any]:
    array = as_array(x, argument)
    # Numbers in a list say nothing of the type that they are to be computed in.
    listed = isinstance(x, (list, tuple)) and array.dtype == np.float64
    return array.astype(np.float32) if listed else array


def _network(layer: Layer, arrays: list[NDArray[Any]]) -> Network:
    """A network of the layer alone for inputs of these shapes, with its weights."""
    calls = layer._array_calls
    shapes = [array.shape[1:] for array in arrays]
    place = layer._place
    if place is None:
        with _building:
            if layer._place is None:
                dtype = "float64" if any(array.dtype == np.float64 for array in arrays) else "float32"
                key: object = (shapes, dtype)
                if calls.latest is None or calls.latest[0] != key:
                    calls.latest = key, _first_network(layer, shapes, dtype)
                return calls.latest[1]
            place = layer._place
    if calls.first is not None and calls.first == (shapes, place.network):
        return place.network
    key = (shapes, place.network)
    latest = calls.latest
    if latest is None or latest[0] != key:
        calls.latest = latest = key, _further_network(layer, shapes)
    network = latest[1]
    weights = layer.get_weights()
    if weights:
        network.set_weights(weights)
    for offset, member in enumerate(layer._family()):
        network.set_trainable(len(shapes) + offset, member.trainable)
    return network


def _lines(layer: Layer, shapes: Sequence[Shape]) -> list[dict[str, Any]]:
    """What the engine is told."""
    inputs = [input_description(shape) for shape in shapes]
    return [*inputs, {**layer.engine_description(), "inputs": list(range(len(inputs)))}]


def _first_network(layer: Layer, shapes: Sequence[Shape], dtype: str) -> Network:
    """The network of a layer that has none; it is the home of its weights, if it has some."""
    lines = _lines(layer, shapes)
    if not weight_shapes(lines, dtype):
        return Network(lines, dtype, 0)
    # NumPy's own arrays are in float64, and do not say what models in float32 are to compute in.
    network = Network(lines, "float32", next_seed())
    places: dict[int, dict[str, int]] = {}
    for index, info in enumerate(network.weights):
        places.setdefault(info.layer, {})[info.name] = index
    for position, member in enumerate(layer._family(), len(shapes)):
        own = places.get(position, {})
        for index, value in zip(own.values(), member._own_weights() or (), strict=False):
            network.set_weight(index, network.as_weight(index, value, member.label))
        member._attach(network, position, own)
    layer._array_calls.first = shapes, network
    return network


def _further_network(layer: Layer, shapes: Sequence[Shape]) -> Network:
    """One for a layer whose weights are elsewhere; rules on shapes stay in the engine that way."""
    place = layer._built()
    try:
        network = Network(_lines(layer._twin(), shapes), place.network.dtype.name, 0)
        weights = [place.network.weights[index].shape for index in layer._weight_indices()]
        if [info.shape for info in network.weights] != weights:
            raise ShapeError(
                f"{layer.label} was built for input shape {layer.input_shape}. Received x of shape (batch, "
                f"{', '.join(map(str, shapes[0]))})."
            )
    except ShapeError as error:
        wanted = place.network.input_shapes[place.position]
        channels = (*[None] * len(wanted[:-1]), *wanted[-1:])
        hint = "" if len(shapes) > 1 else _hints.for_input(channels, (1, *map(_size, shapes[0])), "x")
        raise ShapeError(f"{error}{hint and '.' + hint}") from error
    return network


def _size(size: int | None) -> int:
    return 1 if size is None else size
