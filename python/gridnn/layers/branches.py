"""Layers that hold layers: branches side by side, and chains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from gridnn import _validation
from gridnn.layers.base import REGISTRY, Layer, Names
from gridnn.layers.parts import Input, Nestable, describe, restore, usable

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Parallel", "Residual"]

MERGES = ("concat", "add", "multiply", "average", "maximum")

Branch = tuple[Layer, ...]

_MOST_LEVELS = 110
"""Levels of a description that containers may take up: the engine reads 128, and their layers need some."""


class Container(Layer):
    """A layer made of layers.

    What it holds has names that are unique in the whole model, and is found by `Sequential.get_layer`. To set
    `trainable` sets that of all it holds. Weights are those of the layers, one after the other.
    """

    _holds: ClassVar[tuple[str, ...]] = ()
    """The configuration's fields with layers: each None, a branch, or a tuple of branches."""

    _own_levels: ClassVar[int] = 3
    """Levels of the description between that of the container and those of its layers."""

    _levels: int
    """The same, those of the layers included."""

    def _hold(self) -> None:
        """Counts how deep the layers inside are nested, once they are known.

        Raises:
            ValueError: deeper than the engine reads.
        """
        inside = (child._levels for child in self._children() if isinstance(child, Container))
        self._levels = self._own_levels + max(inside, default=0)
        if self._levels > _MOST_LEVELS:
            raise ValueError(
                f"{self.label}: layers and models are nested too deep. Within one another may be at most "
                f"{_MOST_LEVELS // 3} Residual layers or models, or {_MOST_LEVELS // 4} Parallel layers; put "
                "those that follow each other side by side."
            )

    def _branches(self) -> Iterator[Branch]:
        for field in self._holds:
            value = getattr(self, field) or ()
            yield from (value,) if all(isinstance(element, Layer) for element in value) else value

    def _merge(self) -> str | None:
        """How the ends of the branches are put together; None if there is one branch, a chain."""
        return None

    def _children(self) -> Iterator[Layer]:
        for branch in self._branches():
            yield from branch

    def _family(self) -> Iterator[Layer]:
        yield self
        for child in self._children():
            yield from child._family()

    def _config(self, describing: Callable[[Layer], dict[str, Any]]) -> dict[str, Any]:
        """The configuration, with layers written by `describing`."""

        def written(value: Any) -> Any:
            if isinstance(value, Layer):
                return describing(value)
            return [written(element) for element in value] if isinstance(value, tuple) else value

        return {field: written(getattr(self, field)) for field in self.config_fields}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain JSON values."""
        return {"name": self._assigned or self._name, **self._config(describe)}

    def _free_config(self) -> dict[str, Any]:
        return {"name": self._name, **self._config(lambda layer: describe(layer, free=True))}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The layer that has this `get_config`."""

        def made(value: Any) -> Any:
            return restore(value) if isinstance(value, Mapping) else [made(element) for element in value]

        held = {field: made(config[field]) for field in cls._holds if config.get(field) is not None}
        return cls(**{**config, **held})

    def _claim(self, taken: Names) -> None:
        super()._claim(taken)
        claimed: list[Layer] = []
        try:
            for child in self._children():
                child._claim(taken)
                claimed.append(child)
        except BaseException:
            super()._release()
            for child in claimed:
                child._release()
            raise

    def _release(self) -> None:
        super()._release()
        for child in self._children():
            child._release()

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights; to set it sets that of all layers inside."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = _validation.boolean(value, "trainable")
        for child in self._children():
            child.trainable = self._trainable

    @property
    def output_activation(self) -> str | None:
        """Always "linear": what comes out of branches is put together."""
        return "linear"


def branches_of(container: Container) -> list[Branch]:
    """The branches of a container, which all read its input."""
    return list(container._branches())


def merge_of(container: Container) -> str | None:
    """How the ends of its branches are put together, in the words of `Parallel`; None for a chain."""
    return container._merge()


def members(layers: object, owner: Layer) -> Branch:
    """The layers of a branch, once and for all.

    Raises:
        TypeError: not an iterable of layers.
    """
    if isinstance(layers, (str, bytes, Mapping)) or not isinstance(layers, Iterable):
        raise TypeError(f"{owner.label}: expected a list of layers. Received {layers!r}.")
    branch = []
    for element in layers:
        layer = element._as_layer() if isinstance(element, Nestable) else element
        if not usable(layer) or isinstance(layer, Input):
            raise TypeError(f"{owner.label} holds instances of gridnn.layers, no Input. Received {layer!r}.")
        branch.append(layer)
    return tuple(branch)


def as_layer(model: Nestable) -> Layer:
    """A layer with copies of the layers of a model, and of their weights: it shares nothing with it."""
    return model._as_layer()


@REGISTRY.register()
class Chain(Container):
    """Layers one after the other: what a model is inside another one.

    Args:
        layers: the layers, first to last; none is the identity.
        name: see `Layer`.
        trainable: see `Layer`; False freezes all layers inside.

    Input shape:
        That of the first layer.

    Output shape:
        That of the last layer.
    """

    config_fields = _holds = ("layers",)

    def __init__(self, layers: Iterable[Layer], *, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name)
        self.layers = members(layers, self)
        self._hold()
        if not _validation.boolean(trainable, "trainable"):
            self.trainable = False

    @property
    def output_activation(self) -> str | None:
        """That of the last layer which has one."""
        own = (layer.output_activation for layer in reversed(self.layers))
        return next((activation for activation in own if activation is not None), None)


@REGISTRY.register()
class Residual(Container):
    """Adds to the output of layers what went in: ``layers(x) + shortcut(x)``.

    As in "Deep Residual Learning for Image Recognition" (He et al., 2016). A ReLU behind it is part of the
    sum, as far as speed goes.

    Args:
        layers: the layers of the main branch, first to last. A model among them becomes a copy with weights
            of its own; to share them call the model in a `gridnn.Model`, and add.
        shortcut: the layers of the other one; None, or none, passes the input on.
        name: see `Layer`.
        trainable: see `Layer`; False freezes all layers inside.

    Weights:
        Those of `layers`, then those of `shortcut`.

    Input shape:
        That of the first layer.

    Output shape:
        That of the last layer. The shortcut must have the same.

    Raises:
        TypeError: not a list of layers.
        ShapeError: the branches end in different shapes; raised when the model is built.

    Example:
        >>> import gridnn as gn
        >>> from gridnn import layers
        >>> block = layers.Residual([layers.Conv2D(4, 3, padding="same")], shortcut=[layers.Conv2D(4, 1)])
        >>> gn.Sequential([gn.Input((8, 8, 3)), block]).output_shape
        (None, 8, 8, 4)
    """

    config_fields = _holds = ("layers", "shortcut")

    def __init__(
        self,
        layers: Iterable[Layer],
        shortcut: Iterable[Layer] | None = None,
        *,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name)
        self.layers = members(layers, self)
        self.shortcut = None if shortcut is None else members(shortcut, self)
        self._hold()
        if not _validation.boolean(trainable, "trainable"):
            self.trainable = False

    def _merge(self) -> str | None:
        return "add"


@REGISTRY.register()
class Parallel(Container):
    """Branches that read the same input, and what is made of their outputs.

    Args:
        branches: a list of lists of layers; an empty one passes the input on. A model among them becomes a
            copy with weights of its own; to share them call the model in a `gridnn.Model`.
        merge: "concat" puts the channels of the branches side by side, in order; "add", "multiply", "average"
            and "maximum" work element by element. Of equal maxima the first branch gets the gradient.
        name: see `Layer`.
        trainable: see `Layer`; False freezes all layers inside.

    Weights:
        Those of the branches, in order.

    Input shape:
        That of the first layers.

    Output shape:
        That of every branch; with "concat" the last axis is the sum of theirs.

    Raises:
        TypeError: not a list of lists of layers.
        ValueError: no branch, an unknown `merge`.
        ShapeError: the branches end in shapes that do not fit; raised when the model is built.

    Example:
        >>> import gridnn as gn
        >>> from gridnn import layers
        >>> block = layers.Parallel([[layers.Conv1D(4, 3, padding="same")], []])
        >>> gn.Sequential([gn.Input((9, 2)), block]).output_shape
        (None, 9, 6)
    """

    config_fields = ("branches", "merge")
    _own_levels = 4
    _holds = ("branches",)

    def __init__(
        self,
        branches: Iterable[Iterable[Layer]],
        merge: str = "concat",
        *,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name)
        if isinstance(branches, (str, bytes, Mapping)) or not isinstance(branches, Iterable):
            raise TypeError(f"{self.label}: expected a list of branches. Received {branches!r}.")
        self.branches = tuple(members(branch, self) for branch in branches)
        if not self.branches:
            raise ValueError("The `branches` argument must hold at least one branch. Received none.")
        self._hold()
        self.merge = _validation.choice(merge, "merge", MERGES)
        if not _validation.boolean(trainable, "trainable"):
            self.trainable = False

    def _branches(self) -> Iterator[Branch]:
        yield from self.branches

    def _merge(self) -> str | None:
        return self.merge
