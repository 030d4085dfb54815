"""What is between the engine and a layer that a user wrote in Python."""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _network, _validation, constraints, initializers, regularizers
from gridnn._arrays import contiguous
from gridnn._custom import calling, expect_shape
from gridnn._network import Random, Shape
from gridnn.errors import ShapeError

if TYPE_CHECKING:
    from gridnn.layers.base import Layer

__all__ = ["CallContext", "LayerCalls", "WantedWeight"]


@dataclass
class WantedWeight:
    """A weight that a layer asks for while it is built."""

    name: str | None
    shape: tuple[int, ...]
    initializer: initializers.Initializer
    trainable: bool
    regularizer: regularizers.Regularizer | None
    constraint: constraints.Constraint | None

    @classmethod
    def of(
        cls,
        name: str | None,
        shape: Sequence[int | None],
        initializer: Any,
        trainable: bool,
        regularizer: Any,
        constraint: Any,
    ) -> WantedWeight:
        """The weight with these arguments of `Layer.add_weight`, checked."""
        return cls(
            _validation.object_name(name),
            tuple(_validation.positive_integer(size, "shape") for size in shape),
            initializers.of_weight(initializer),
            _validation.boolean(trainable, "trainable"),
            None if regularizer is None else regularizers.get(regularizer),
            None if constraint is None else constraints.get(constraint),
        )

    def description(self) -> dict[str, Any]:
        """What the engine is told."""
        limits = {"regularizer": self.regularizer, "constraint": self.constraint}
        return {
            "name": self.name,
            "shape": self.shape,
            "initializer": self.initializer.engine_description(),
            "trainable": self.trainable,
            **{kind: limit and limit.engine_description() for kind, limit in limits.items()},
        }


@dataclass
class CallContext:
    """What holds while the engine waits for a layer."""

    thread: int
    weights: dict[str, NDArray[Any]]
    random: Random | None


class LayerCalls(_network.CustomLayer):
    """Shows a layer to the engine, and checks what it answers.

    Args:
        layer: the layer, with `call` and, for training, `backward`.
    """

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._wanted: list[WantedWeight] = []
        self._weights: dict[str, NDArray[Any]] = {}  # as the engine has given them for this step
        self._takes_training = "training" in inspect.signature(layer.call).parameters
        self.weight_shapes: list[tuple[int, ...]] = []

    def weights(self, input_shape: Shape) -> str:
        """Has the layer built anew."""
        with self._calling("build"):
            wanted = self._layer._wanted_weights((None, *input_shape))
            names = [weight.name for weight in wanted]
            if None in names or len(set(names)) < len(names):
                raise ValueError(
                    f"{self._layer.label}.build must give its weights names of their own: assign them to "
                    f"attributes, or pass `name`. Received {names}."
                )
        self._wanted = wanted
        self.weight_shapes = [weight.shape for weight in wanted]
        return json.dumps([weight.description() for weight in wanted])

    def output_shape(self, input_shape: Shape) -> Shape:
        """Asks the layer's `compute_output_shape`."""
        with self._calling("compute_output_shape"):
            returned: object = self._layer.compute_output_shape((None, *input_shape))
            shape = tuple(returned) if isinstance(returned, (tuple, list)) else ()
            if len(shape) < 2 or shape[0] is not None:
                raise ShapeError(
                    f"{self._layer.label}.compute_output_shape must return a tuple (None, ...), the batch "
                    f"first, for the input shape {(None, *input_shape)}. Received {returned!r}."
                )
            sizes = shape[1:]
            return _validation.sample_shape(sizes, "output_shape")

    def forward(
        self, x: NDArray[Any], weights: list[NDArray[Any]], random: Random | None, shape: tuple[int, ...]
    ) -> NDArray[Any]:
        """Calls `call`."""
        for array in weights:
            array.flags.writeable = False  # what is written there would be lost
        self._weights = {str(w.name): array for w, array in zip(self._wanted, weights, strict=True)}
        with self._in_step("call", random):
            return self._array(self._call(x, random), shape, x.dtype, "call", "an array")

    def _call(self, x: NDArray[Any], random: Random | None) -> Any:
        training = {"training": random is not None} if self._takes_training else {}
        return self._layer.call(x, **training)

    def backward(
        self, x: NDArray[Any], dy: NDArray[Any], random: Random | None
    ) -> tuple[NDArray[Any], list[NDArray[Any]]]:
        """Calls `backward`."""
        if len(self._layer._calls) > 1:
            # What the layer remembers is of the call that came last, in another place of the graph.
            with self._in_step("call", random):
                self._call(x, random)
        with self._in_step("backward", random):
            answer = self._layer.backward(x, dy)
            dx, given = answer if isinstance(answer, tuple) else (answer, {})
            names = {weight.name for weight in self._wanted if weight.trainable}
            if not isinstance(given, Mapping) or given.keys() != names:
                got = sorted(given) if isinstance(given, Mapping) else type(given).__name__
                raise ValueError(
                    f"{self._layer.label}.backward must return the gradient to its input and a dict with "
                    f"those to the weights {sorted(map(str, names))}. Received for weights: {got}."
                )
            dx = self._array(dx, x.shape, x.dtype, "backward", "a gradient to the input")
            grads = [
                self._array(given[w.name], w.shape, x.dtype, "backward", f"a gradient to '{w.name}'")
                if w.name in given
                else np.zeros(w.shape, x.dtype)
                for w in self._wanted
            ]
            return dx, grads

    def _array(
        self, value: Any, shape: tuple[int, ...], dtype: np.dtype[Any], method: str, what: str
    ) -> NDArray[Any]:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError(
                f"{self._layer.label}.{method} must return {what} of real numbers. Received {array.dtype}."
            )
        expect_shape(array, shape, f"{self._layer.label}.{method}", f"{what} of shape {shape}")
        return contiguous(array, dtype)

    @contextmanager
    def _in_step(self, method: str, random: Random | None) -> Iterator[None]:
        """While the engine waits: weights come from here, as the network would wait for itself."""
        self._layer._context = CallContext(threading.get_ident(), self._weights, random)
        try:
            with self._calling(method):
                yield
        finally:
            self._layer._context = None

    def _calling(self, method: str) -> AbstractContextManager[None]:
        return calling(f"`{method}` of {self._layer.label}")
