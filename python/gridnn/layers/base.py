"""`Layer`, the base of all layers, and `Input`.

A layer is a description: its configuration is fixed when it is made, and it holds no arrays. Once its model
is built it also gives access to the weights, which live in the model's network.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray

from gridnn import _validation
from gridnn._config import Configurable, Registry, serialize, snake_case
from gridnn._network import Network, Shape, as_array
from gridnn.errors import ShapeError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Input", "Layer"]

AnyLayer = TypeVar("AnyLayer", bound="Layer")


@dataclass(slots=True)
class _Place:
    """Where a built layer stands: its network, its position there, and its weights."""

    network: Network
    position: int
    weights: dict[str, int]  # name -> index in the network's list, in Keras' order
    alone: tuple[tuple[int, ...], Network] | None = field(
        default=None
    )  # network of this layer only, see __call__


class Weight:
    """A weight of a layer, read and written as an attribute once the model is built; reading copies.

    None where the layer was configured without it.
    """

    def __set_name__(self, owner: type[Layer], name: str) -> None:
        self._name = name

    def __get__(self, layer: Layer | None, owner: type[Layer]) -> Any:
        if layer is None:
            return self
        place = layer._place
        if place is None:
            raise AttributeError(
                f"{layer.label} has no `{self._name}` yet: weights exist once the model is built, by its "
                "first data or by an Input as first layer."
            )
        index = place.weights.get(self._name)
        return None if index is None else place.network.get_weight(index)

    def __set__(self, layer: Layer, value: object) -> None:
        place = layer._place
        index = None if place is None else place.weights.get(self._name)
        if place is None or index is None:
            raise AttributeError(f"{layer.label} has no `{self._name}` to set.")
        place.network.set_weight(index, place.network.as_weight(index, value, layer.label))


class Layer(Configurable):
    """Base of all layers.

    The arguments of a layer are kept in attributes of the same names and never change. An instance belongs to
    one model; to use the same configuration twice make a copy with
    ``type(layer).from_config(layer.get_config())`` or ``copy.deepcopy(layer)``.

    Args:
        name: unique within the model; None takes the class name in snake case, numbered where needed.
        trainable: whether training changes the weights. This one belongs to the model, may be set at any time
            and holds from the next step on.
    """

    def __init__(self, *, name: str | None = None, trainable: bool = True) -> None:
        self._name = _validation.object_name(name)
        self._assigned: str | None = None  # the name in a model
        self._trainable = _validation.boolean(trainable, "trainable")
        self._place: _Place | None = None
        self._claimed = False
        self._initial: list[NDArray[Any]] | None = None  # weights to begin with, instead of drawn ones

    # Description

    @property
    def name(self) -> str:
        """Name of the layer, final once it is part of a model."""
        return self._assigned or self._name or snake_case(type(self).__name__)

    @property
    def label(self) -> str:
        """How messages call this layer."""
        return f"layer '{self.name}' ({type(self).__name__})"

    @property
    def output_activation(self) -> str | None:
        """Activation its outputs went through; None for layers that arrange, pick or average values."""
        return getattr(self, "activation", None)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain JSON values."""
        return {"name": self._assigned or self._name, **super().get_config()}

    def engine_description(self) -> dict[str, Any]:
        """What the engine is told about this layer."""
        return {"class_name": type(self).__name__, "name": self.name, "config": self.engine_config()}

    def __repr__(self) -> str:
        fields = [*self.config_fields, *(["name"] if self._assigned or self._name else [])]
        return f"{type(self).__name__}({', '.join(f'{field}={getattr(self, field)!r}' for field in fields)})"

    # A copy is a free layer: it has the name that was asked for, not the one that a model gave.

    def _free_config(self) -> dict[str, Any]:
        """The configuration of a copy."""
        return {**self.get_config(), "name": self._name}

    def __copy__(self) -> Self:
        return _restore(type(self), self._free_config(), self._trainable)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self._free_config(), self._trainable)

    # Life in a model

    def _family(self) -> Iterator[Layer]:
        """The layer and all that it holds, in the order of their positions in a network."""
        yield self

    def _claim(self, taken: set[str]) -> None:
        """Makes the layer part of a model whose layers have the names `taken`.

        Raises:
            ValueError: the layer already belongs to a model, or its name is taken.
        """
        if self._claimed:
            raise ValueError(
                f"{self.label} already belongs to a model, and a layer instance belongs to one model only. "
                "Make another with the same configuration: copy.deepcopy(layer)."
            )
        name = self.name
        if self._name is None:
            number = 0
            while name in taken:
                number += 1
                name = f"{self.name}_{number}"
        elif name in taken:
            raise ValueError(
                "All layers added to a Sequential model should have unique names. "
                f"Name '{name}' is already the name of a layer in this model."
            )
        self._assigned = name
        self._claimed = True

    def _release(self) -> None:
        """Makes the layer free for another model; its weights stay behind."""
        self._place = self._initial = None
        self._assigned = None
        self._claimed = False

    def _attach(self, network: Network, position: int) -> None:
        """Tells the layer where its weights are."""
        weights = {info.name: i for i, info in enumerate(network.weights) if info.layer == position}
        self._place = _Place(network, position, weights)
        self._initial = None
        if not self._trainable:
            network.set_trainable(position, False)

    def _own_weights(self) -> list[NDArray[Any]] | None:
        """Weights to go on with in another network, without those of layers inside; None to draw new ones."""
        if self._place is None:
            return self._initial
        return [self._place.network.get_weight(index) for index in self._place.weights.values()]

    def _built(self) -> _Place:
        if self._place is None:
            raise ValueError(
                f"{self.label} is not built yet: it is once its model is, by the first data or by an Input "
                "as first layer."
            )
        return self._place

    @property
    def built(self) -> bool:
        """Whether the model, and with it this layer's weights, exist."""
        return self._place is not None

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = _validation.boolean(value, "trainable")
        if self._place is not None:
            self._place.network.set_trainable(self._place.position, self._trainable)

    @property
    def input_shape(self) -> Shape:
        """Shape of the input, batch axis (None) included."""
        place = self._built()
        return (None, *place.network.input_shapes[place.position])

    @property
    def output_shape(self) -> Shape:
        """Shape of the output, batch axis (None) included."""
        place = self._built()
        return (None, *place.network.output_shapes[place.position])

    def _weight_indices(self) -> list[int]:
        """The weights of the layer, and of those that it holds, in the network's list."""
        return [index for layer in self._family() for index in layer._built().weights.values()]

    def count_params(self) -> int:
        """Number of weights, counting every element."""
        weights = self._built().network.weights
        return sum(math.prod(weights[index].shape) for index in self._weight_indices())

    def get_weights(self) -> list[NDArray[Any]]:
        """Copies of the weights, in Keras' order."""
        network = self._built().network
        return [network.get_weight(index) for index in self._weight_indices()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets all weights of the layer, or none.

        Raises:
            ValueError: their number or a shape is another.
        """
        place = self._built()
        indices = self._weight_indices()
        if len(weights) != len(indices):
            raise ValueError(f"{self.label} has {len(indices)} weights. Received {len(weights)} arrays.")
        arrays = [
            place.network.as_weight(i, value, self.label) for i, value in zip(indices, weights, strict=True)
        ]
        for index, array in zip(indices, arrays, strict=True):
            place.network.set_weight(index, array)

    def __call__(self, x: object) -> NDArray[Any]:
        """The outputs of this layer alone for a batch `x`, in inference mode.

        Args:
            x: array ``(batch, ...)`` with the channels this layer was built for; other axes are free.

        Raises:
            ShapeError: `x` does not fit.
            ValueError: the layer is not built yet.
        """
        place = self._built()
        array = as_array(x, "x")
        shape = array.shape[1:]
        if place.alone is None or place.alone[0] != shape:
            place.alone = (shape, self._standalone(place, shape))
        network = place.alone[1]
        weights = self.get_weights()
        if weights:
            network.set_weights(weights)
        return network.forward(array, False, 0)

    def _standalone(self, place: _Place, shape: tuple[int, ...]) -> Network:
        """A network of an Input of this shape and the layer; rules on shapes stay in the engine that way."""
        inputs: Mapping[str, Any] = {"class_name": "Input", "name": "input", "config": {"shape": list(shape)}}
        network = Network([inputs, self.engine_description()], place.network.dtype.name, 0)
        expected = [place.network.weights[index].shape for index in self._weight_indices()]
        if [info.shape for info in network.weights] != expected:
            raise ShapeError(
                f"{self.label} was built for input shape {self.input_shape}. Received x of shape (batch, "
                f"{', '.join(map(str, shape))})."
            )
        return network


def _restore(cls: type[AnyLayer], config: Mapping[str, Any], trainable: bool) -> AnyLayer:
    """Makes a free layer from its configuration (used by copy and pickle)."""
    layer = cls.from_config(config)
    layer._trainable = _validation.boolean(trainable, "trainable")
    return layer


def describe(layer: Layer, *, free: bool = False) -> dict[str, Any]:
    """A layer as part of a model's configuration; `free` leaves out the names that a model gave."""
    description = serialize(layer)
    if free:
        description["config"] = layer._free_config()
    return {**description, "trainable": layer.trainable}


def restore(description: Mapping[str, Any]) -> Layer:
    """The layer that `describe` wrote; one without `trainable` is trained.

    Raises:
        ValueError, TypeError: it is no description of a layer.
    """
    layer = REGISTRY.deserialize(description)
    layer._trainable = _validation.boolean(description.get("trainable", True), "trainable")
    return layer


class Nestable(ABC):
    """A model that may stand where a layer is expected."""

    @abstractmethod
    def _as_layer(self) -> Layer:
        """A layer of its own that does the same: copies of layers and of weights, if there are any."""


REGISTRY: Registry[Layer] = Registry("layer", Layer)


@REGISTRY.register()
class Input(Layer):
    """The shape of what goes in, as first layer of a model.

    With it a model is built at once; without it by its first data.

    Args:
        shape: shape of one sample, without the batch axis, channels last. An axis whose size differs from
            call to call is None; the channel axis must be known.
        name: see `Layer`.

    Output shape:
        ``(batch, *shape)``.

    Example:
        >>> Input((28, 28, 1))
        Input(shape=(28, 28, 1))
        >>> Input((None, None, 3)).shape
        (None, None, 3)
    """

    config_fields = ("shape",)

    def __init__(self, shape: Sequence[int | None], *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.shape = _validation.sample_shape(shape, "shape")
