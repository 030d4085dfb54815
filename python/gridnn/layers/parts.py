"""Layers as parts of models: what may stand among them, how they are written down, and `Input`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from gridnn import _validation
from gridnn._config import serialize
from gridnn._network import Shape
from gridnn.layers.base import REGISTRY, Layer
from gridnn.layers.symbolic import Tensor

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
class Input(Layer, Tensor):
    """What goes into a model: a symbolic tensor to call layers on, or the first layer of a `Sequential`.

    A `Sequential` with it is built at once; without it by its first data.

    Args:
        shape: shape of one sample, without the batch axis, channels last. An axis whose size differs from
            call to call is None; the channel axis must be known.
        batch_size: noted, and not needed: models take batches of any size.
        dtype: noted; arrays of any real type are taken.
        name: see `Layer`.
        batch_shape: ``(batch_size, *shape)`` in one, instead of the two.

    Output shape:
        ``(batch, *shape)``.

    Example:
        >>> Input((28, 28, 1))
        Input(shape=(28, 28, 1))
        >>> Input((None, None, 3)).shape
        (None, None, None, 3)
    """

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        *,
        name: str | None = None,
        batch_shape: Sequence[int | None] | None = None,
    ) -> None:
        super().__init__(name=name)
        if batch_shape is not None:
            if shape is not None or batch_size is not None:
                raise ValueError("`batch_shape` stands for `shape` and `batch_size`: give it, or them.")
            if not isinstance(batch_shape, (list, tuple)) or not batch_shape:
                raise TypeError(
                    f"The `batch_shape` argument must be a tuple of sizes. Received {batch_shape!r}."
                )
            batch_size, shape = batch_shape[0], tuple(batch_shape[1:])
        if shape is None:
            raise ValueError("`shape` must be the shape of one sample, as in gn.Input((28, 28, 1)).")
        self.sample_shape = _validation.sample_shape(shape, "shape")
        self.batch_size = (
            None if batch_size is None else _validation.positive_integer(batch_size, "batch_size")
        )
        self._type = None if dtype is None else _validation.element_type(dtype)

    @property
    def shape(self) -> Shape:
        """Shape with the batch axis, which is None if `batch_size` is."""
        return (self.batch_size, *self.sample_shape)

    @property
    def dtype(self) -> str:
        """Type of what goes in, as far as it is known."""
        return self._type or "float32"

    def __bool__(self) -> bool:
        return True  # a layer, where the other symbolic tensors refuse to be asked

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain JSON values."""
        config: dict[str, Any] = {"name": self._assigned or self._name, "shape": list(self.sample_shape)}
        noted = {"batch_size": self.batch_size, "dtype": self._type}
        return {**config, **{name: value for name, value in noted.items() if value is not None}}

    def engine_config(self) -> dict[str, Any]:
        """What the engine needs of it."""
        return {"shape": list(self.sample_shape)}

    def __repr__(self) -> str:
        name = f", name={self.name!r}" if self._assigned or self._name else ""
        return f"Input(shape={self.sample_shape}{name})"
