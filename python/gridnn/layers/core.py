"""Layers that pass on what they get, call a function, or apply another layer slice by slice."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._network import Network, Shape
from gridnn.layers.activation import sample_axes
from gridnn.layers.base import REGISTRY, Layer
from gridnn.layers.branches import Container
from gridnn.layers.limits import LimitedLayer
from gridnn.layers.normalization import BatchNormalization
from gridnn.layers.parts import Input, describe, restore, usable

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Identity", "Lambda", "TimeDistributed", "UnitNormalization"]


@REGISTRY.register()
class Identity(Layer):
    """Passes on what it gets.

    Args:
        name: see `Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input.

    Example:
        >>> Identity()([[1.0, 2.0]])
        array([[1., 2.]], dtype=float32)
    """

    @property
    def elementwise(self) -> bool:
        """Whether it treats every value by itself."""
        return True

    def engine_description(self) -> dict[str, Any]:
        """A linear activation, which computes nothing."""
        config = {"activation": "linear"}
        return {"class_name": "Activation", "name": self.name, "config": config}


@REGISTRY.register()
class UnitNormalization(Layer):
    """Divides by the length, the root of the sum of squares along an axis or over several.

    Vectors shorter than 1e-6 are divided by that.

    Args:
        axis: the axis, or a list of those that the sum runs over together; the batch axis counts, so the
            first axis of a sample is 1.
        name: see `Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input.

    Example:
        >>> UnitNormalization()([[3.0, 4.0]])
        array([[0.6, 0.8]], dtype=float32)
    """

    config_fields = ("axis",)

    def __init__(self, axis: int | Sequence[int] = -1, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.axis = sample_axes(axis)

    @property
    def output_activation(self) -> str:
        """Always "linear": the output is no probability any more."""
        return "linear"


class _Held:
    """A function that `Lambda` layers and their copies have in common.

    Args:
        function: the function.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.key = f"{getattr(function, '__name__', 'function')} {next(_counter)}"
        _held[self.key] = self


_counter = itertools.count()
_held: weakref.WeakValueDictionary[str, _Held] = weakref.WeakValueDictionary()
"""By what descriptions say of them, as long as a layer has them."""


class Lambda(Layer):
    """Calls a function on arrays; at inference only, since a function has no gradient here.

    Layers after it are trained, those before it are not: for that write a layer with `call` and `backward`;
    see `Layer`. Files do not keep functions: a model with this layer cannot be saved, and its pickle is read
    in the same process only, but it can be copied and cloned.

    Args:
        function: takes the inputs of a batch, an array, and returns an array with as many samples.
        output_shape: shape of what comes out of a sample, or a function that makes it of the input's shape,
            both of them with the batch axis; None to find out by calling the function on zeros.
        mask: accepted for programs written for Keras, as None only.
        arguments: further arguments of the function, by name.
        name: see `Layer`.

    Input shape:
        Any.

    Output shape:
        What the function returns.

    Raises:
        TypeError: `function` cannot be called.

    Example:
        >>> import gridnn as gn
        >>> model = gn.Sequential([gn.Input((3,)), Lambda(lambda x: x**2)])
        >>> model.predict([[1.0, 2.0, 3.0]], verbose=0)
        array([[1., 4., 9.]], dtype=float32)
    """

    config_fields = ("function", "arguments")

    def __init__(
        self,
        function: Callable[..., Any] | _Held,
        output_shape: Sequence[int | None] | Callable[[Any], Any] | _Held | None = None,
        mask: None = None,
        arguments: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if not isinstance(function, _Held):
            if not callable(function):
                raise TypeError(f"The `function` argument must be a function. Received {function!r}.")
            function = _Held(function)
        if mask is not None:
            raise ValueError("The `mask` argument must be None: there are no masks.")
        self._held = function
        self.function = function.function
        self._given_shape: Any = output_shape
        if callable(output_shape):
            self._given_shape = _Held(output_shape)
        elif output_shape is not None and not isinstance(output_shape, _Held):
            self._given_shape = _validation.sample_shape(output_shape, "output_shape")
        self.arguments = dict(arguments or {})

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; of the function what finds it again in this process."""
        own: dict[str, Any] = {"function": self._held.key, "arguments": self.arguments}
        if self._given_shape is not None:
            given = self._given_shape
            own["output_shape"] = given.key if isinstance(given, _Held) else given
        return {"name": self._assigned or self._name, **own}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The layer that has this `get_config`, in the same process.

        Raises:
            ValueError: the function is not there any more.
        """
        function = _held.get(config["function"])
        if function is None:
            raise ValueError(
                f"A Lambda layer calls a function ({config['function']!r}) that this process does not have: "
                "files and pickles do not keep functions. Write a subclass of gn.layers.Layer instead."
            )
        shape = config.get("output_shape")
        own = {**config, "function": function}
        if isinstance(shape, str):
            own["output_shape"] = _held[shape]
        return cls(**own)

    def _free_config(self) -> dict[str, Any]:
        return {**self.get_config(), "name": self._name}

    def call(self, x: NDArray[Any]) -> NDArray[Any]:
        """What the function makes of a batch."""
        return np.asarray(self.function(x, **self.arguments))

    def backward(self, x: NDArray[Any], dy: NDArray[Any]) -> Any:
        """Raises an error: a function has no gradient."""
        raise NotImplementedError(
            f"{self.label} is a function, and training needs the gradient of what stands before it: write a "
            "subclass of gn.layers.Layer with `call` and `backward`, or call the function on what `predict` "
            "returns."
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output; sizes that are not known stay so."""
        given = self._given_shape
        if isinstance(given, _Held):
            found = tuple(given.function(tuple(input_shape)))
            return (None, *_validation.sample_shape(found[1:], "output_shape"))
        if given is not None:
            return (None, *given)
        shapes = []
        for unknown in (8, 9) if None in input_shape[1:] else (8,):
            sizes = [unknown if size is None else size for size in input_shape[1:]]
            shapes.append(self.call(np.zeros((2, *sizes), np.float32)).shape)
        if any(len(shape) != len(shapes[0]) or shape[:1] != (2,) for shape in shapes):
            raise ValueError(
                f"{self.label}: the function must return an array with as many samples as it is given, 2. "
                f"Received shape {shapes[0]}."
            )
        alike = zip(*(shape[1:] for shape in shapes), strict=True)
        return (None, *(sizes[0] if len(set(sizes)) == 1 else None for sizes in alike))


@REGISTRY.register()
class TimeDistributed(Layer):
    """Applies a layer to every slice along the first axis of a sample, with one set of weights.

    Args:
        layer: a layer of gridnn that treats samples one by one; it becomes part of this one. Not a layer that
            holds others, and none written in Python. `BatchNormalization` and `Dense` take further axes
            themselves.
        name: see `Layer`.

    Weights:
        Those of the layer.

    Input shape:
        ``(batch, time, ...)``, the rest as the layer wants it.

    Output shape:
        ``(batch, time, ...)``, the rest as the layer makes it.

    Raises:
        TypeError: `layer` is no such layer.

    Example:
        >>> import gridnn as gn
        >>> from gridnn import layers
        >>> frames = gn.Sequential([gn.Input((5, 8, 8, 1)), layers.TimeDistributed(layers.Conv2D(4, 3))])
        >>> frames.output_shape
        (None, 5, 6, 6, 4)
    """

    config_fields = ("layer",)

    def __init__(self, layer: Layer, *, name: str | None = None) -> None:
        super().__init__(name=name)
        refused = (Container, Input, BatchNormalization, TimeDistributed)
        if not usable(layer) or isinstance(layer, refused) or layer.in_python or layer.merges:
            raise TypeError(
                f"TimeDistributed takes a layer of gridnn that treats samples one by one. Received {layer!r}."
            )
        if layer._claims or layer._calls:
            raise ValueError(f"{layer.label} is part of a model already; pass copy.deepcopy(layer).")
        layer._claims += 1
        self.layer = layer
        self._trainable = layer.trainable

    @property
    def output_activation(self) -> str | None:
        """That of the layer."""
        return self.layer.output_activation

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.layer._trainable = _validation.boolean(value, "trainable")
        super(TimeDistributed, type(self)).trainable.__set__(self, value)  # type: ignore[attr-defined]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain JSON values."""
        return {"name": self._assigned or self._name, "layer": describe(self.layer)}

    def _free_config(self) -> dict[str, Any]:
        return {"name": self._name, "layer": describe(self.layer, free=True)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The layer that has this `get_config`."""
        return cls(**{**config, "layer": restore(config["layer"])})

    def engine_description(self) -> dict[str, Any]:
        """That of the layer in it, whose regularizers and constraints are those of this one."""
        inner = self.layer.engine_description()
        limits: dict[str, Any] = {
            key: inner.pop(key) for key in ("activity", "regularizers", "constraints") if key in inner
        }
        return {"class_name": "TimeDistributed", "name": self.name, "config": {"layer": inner}, **limits}

    def _attach(
        self, network: Network, position: int, weights: dict[str, int], replaced: Network | None = None
    ) -> None:
        super()._attach(network, position, weights, replaced)
        self.layer._place = self._place  # so that the layer in it has its weights

    def _release(self) -> None:
        super()._release()
        self.layer._place = self._place

    @property
    def activity_regularizer(self) -> Any:
        """That of the layer."""
        return self.layer.activity_regularizer if isinstance(self.layer, LimitedLayer) else None
