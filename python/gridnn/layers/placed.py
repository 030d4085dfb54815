"""Where a layer stands: the models and networks that have it, and its weights there."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from gridnn import _validation
from gridnn._config import Configurable, snake_case
from gridnn._custom import calling
from gridnn._network import Network
from gridnn._sharing import share
from gridnn.errors import NotReadyError
from gridnn.layers.custom import WantedWeight

__all__ = ["Names", "Place", "Placed", "Weight"]


@dataclass(slots=True)
class Place:
    """Where a built layer stands: its network, its position there, and its weights."""

    network: Network
    position: int
    weights: dict[str, int]  # name -> index in the network's list, in Keras' order


class Weight:
    """A weight of a layer, read and written as an attribute once the model is built; reading copies.

    None where the layer was configured without it.
    """

    def __set_name__(self, owner: type[Placed], name: str) -> None:
        self._name = name

    def __get__(self, layer: Placed | None, owner: type[Placed]) -> Any:
        if layer is None:
            return self
        return layer._weight(self._name)

    def __set__(self, layer: Placed, value: object) -> None:
        layer._set_weight(self._name, value)


class Names(set[str]):
    """The names of the layers of a model. Removing one takes a new set.

    Args:
        names: those that are taken.
        owner: the model.
        layers: the layers that have them.
    """

    def __init__(
        self, names: Iterable[str] = (), owner: object = None, layers: Iterable[Placed] = ()
    ) -> None:
        super().__init__(names)
        self._next: dict[str, int] = {}
        self.owner = None if owner is None else weakref.ref(owner)
        self.layers = {id(layer) for layer in layers}

    def free(self, name: str) -> str:
        """`name`, or the first of ``<name>_1``, ``<name>_2``, ... that nobody has."""
        if name not in self:
            return name
        number = self._next.get(name, 1)  # smaller ones were taken the last time, and still are
        while f"{name}_{number}" in self:
            number += 1
        self._next[name] = number
        return f"{name}_{number}"


class Placed(Configurable):
    """A layer as models see it: the part of `Layer` that is not for users.

    Args:
        name: see `Layer`.
        trainable: see `Layer`.
    """

    def __init__(self, name: str | None, trainable: bool) -> None:
        self._name = _validation.object_name(name)
        self._assigned: str | None = None  # the name in a model
        self._trainable = _validation.boolean(trainable, "trainable")
        self._place: Place | None = None
        self._claims = 0  # models that have it
        self._owner: weakref.ref[Any] | None = None  # a model that calls it in its own order
        self._others: list[tuple[weakref.ref[Network], int]] = []  # further networks, and positions in them
        self._initial: list[NDArray[Any]] | None = None  # weights to begin with, instead of drawn ones
        self._wanted: list[WantedWeight] = []  # by `build`, of a layer written in Python

    @property
    def name(self) -> str:
        """Name of the layer, final once it is part of a model."""
        return self._assigned or self._name or snake_case(type(self).__name__)

    def _claim(self, taken: Names) -> None:
        """Makes the layer part of a model whose layers have the names `taken`, and adds its own to them.

        Raises:
            ValueError: the layer stands in the model already, or its name is taken.
        """
        if id(self) in taken.layers:
            raise ValueError(
                f"{self.label} already belongs to this model. To use its weights twice call it twice in a "
                "gn.Model; another one with the same configuration is copy.deepcopy(layer)."
            )
        name = self.name
        if self._name is None and self._assigned is None:
            name = taken.free(name)
        elif name in taken:
            raise ValueError(
                "All layers added to a Sequential model should have unique names. "
                f"Name '{name}' is already the name of a layer in this model."
            )
        taken.add(name)
        taken.layers.add(id(self))
        self._assigned = name
        self._claims += 1
        self._owner = taken.owner

    def _release(self) -> None:
        """Takes the layer out of a model. One that is in no other is free; its weights stay behind."""
        self._claims = max(self._claims - 1, 0)
        self._owner = None
        if self._claims == 0:
            self._place = self._initial = None
            self._assigned = None

    def _attach(
        self, network: Network, position: int, weights: dict[str, int], replaced: Network | None = None
    ) -> None:
        """Tells the layer where its weights are: their numbers in the network, by name.

        Networks of other models that have the layer share them from now on.

        Args:
            network: a network that has the newest values.
            position: of the layer in it.
            weights: numbers by name.
            replaced: the network whose place this one takes.
        """
        old = self._place
        fresh = old is None and self._initial is None
        if old is not None and (old.network is not replaced or old.network.group is not None):
            if weights:
                share(old.network, list(old.weights.values()), network, list(weights.values()))
            if old.network is not replaced:
                self._others.append((weakref.ref(old.network), old.position))
        self._others = [(ref, at) for ref, at in self._others if ref() is not None]
        self._place = Place(network, position, weights)
        if fresh:
            try:
                self._draw(network, weights)
            except BaseException:
                self._place = None
                raise
        self._initial = None
        if not self._trainable:
            network.set_trainable(position, False)

    def _draw(self, network: Network, weights: Mapping[str, int]) -> None:
        """Fills new weights whose initializers are written in Python."""
        for name, index in weights.items():
            initializer = self._initializer_of(name)
            if initializer is None or not initializer.in_python:
                continue
            with calling(f"the initializer of `{name}` of {self.label}"):
                value = initializer.drawn(network.weights[index].shape, network.dtype.name)
            if value is not None:
                network.set_weight(index, network.as_weight(index, value, self.label))

    def _initializer_of(self, weight: str) -> Any:
        """What fills a weight at first; None where it has no choice."""
        for wanted in self._wanted:
            if wanted.name == weight:
                return wanted.initializer
        field = f"{weight.removesuffix('_kernel')}_initializer"
        return getattr(self, field, None)

    def _own_weights(self) -> list[NDArray[Any]] | None:
        """Weights to go on with in another network, without those of layers inside; None to draw new ones."""
        if self._place is None:
            return self._initial
        return [self._place.network.get_weight(index) for index in self._place.weights.values()]

    def _built(self) -> Place:
        if self._place is None:
            raise NotReadyError(
                f"{self.label} is not built yet: it is once its model is, by the first data or by an Input "
                "as first layer."
            )
        return self._place

    def _weight(self, name: str) -> NDArray[Any] | None:
        """A copy of the weight of this name; None where the layer was configured without it."""
        place = self._place
        if place is None:
            raise AttributeError(
                f"{self.label} has no `{name}` yet: weights exist once the model is built, by its "
                "first data or by an Input as first layer."
            )
        index = place.weights.get(name)
        return None if index is None else place.network.get_weight(index)

    def _set_weight(self, name: str, value: object) -> None:
        place = self._place
        index = None if place is None else place.weights.get(name)
        if place is None or index is None:
            raise AttributeError(f"{self.label} has no `{name}` to set.")
        place.network.set_weight(index, place.network.as_weight(index, value, self.label))
