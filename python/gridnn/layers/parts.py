"""Layers as parts of models: what may stand among them, how they are written down, and `Input`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from gridnn import _validation
from gridnn._config import serialize
from gridnn.layers.base import REGISTRY, Layer

__all__ = ["Input"]


class Nestable(ABC):
    """A model that may stand where a layer is expected."""

    @abstractmethod
    def _as_layer(self) -> Layer:
        """A layer of its own that does the same: copies of layers and of weights, if there are any."""


def usable(layer: object) -> bool:
    """Whether a model can hold `layer`: an instance of our layers, or of one written in Python."""
    return REGISTRY.knows(layer) or (isinstance(layer, Layer) and REGISTRY.accepts(type(layer)))


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
