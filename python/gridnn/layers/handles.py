"""Handles of the weights of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from gridnn._variables import Variable
from gridnn.errors import NotReadyError

if TYPE_CHECKING:
    from gridnn.layers.base import Layer

__all__ = ["LayerWeight", "handles_of"]


class LayerWeight(Variable):
    """A weight of a layer, wherever its values are; training and `assign` change them for all that share it.

    Args:
        layer: the layer.
        name: of the weight, in the layer.
        path: its name among others.
    """

    def __init__(self, layer: Layer, name: str, path: str) -> None:
        self._layer = layer
        self._name = name
        self._path = path

    def _index(self) -> int:
        place = self._layer._built()
        index = place.weights.get(self._name)
        if index is None:
            raise NotReadyError(f"{self._layer.label} was built anew, and has no weight '{self._name}' now.")
        return index

    def _read(self) -> NDArray[Any]:
        return self._layer._built().network.get_weight(self._index())

    def _write(self, value: NDArray[Any]) -> None:
        self._layer._built().network.set_weight(self._index(), value)

    @property
    def identity(self) -> object:
        """What tells it from other weights; handles of one weight have the same."""
        return id(self._layer), self._name

    @property
    def trainable(self) -> bool:
        """Whether training changes it."""
        return self._layer._built().network.weights[self._index()].trainable

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape."""
        return self._layer._built().network.weights[self._index()].shape

    @property
    def dtype(self) -> str:
        """Name of the type, that of the model."""
        return str(self._layer._built().network.dtype)

    @property
    def constraint(self) -> Any:
        """What it is held to; None for nothing."""
        return getattr(self._layer, f"{self._name}_constraint", None)


def handles_of(layer: Layer) -> list[LayerWeight]:
    """Handles of the weights of a layer and of what it holds, in Keras' order; none before it is built."""
    if layer._place is None:
        return []
    return [
        LayerWeight(member, name, f"{member.name}/{name}")
        for member in layer._family()
        for name in member._built().weights
    ]
