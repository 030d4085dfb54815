"""`LayerStack`: layers one after the other, and the network that the engine makes of them."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _forks, _hints, _validation
from gridnn._graph import Graph, graph_of
from gridnn._network import Network, Shape
from gridnn._seeding import next_seed
from gridnn.errors import NotReadyError, ShapeError
from gridnn.layers import base, branches, parts
from gridnn.model import summary


class LayerStack(parts.Nestable):
    """What a `Sequential` is before it is trained: its structure and its weights.

    Args:
        layers: the layers, first to last.
        name: name of the model.
        dtype: "float32" or "float64".
        seed: seed of the initial weights; None draws one.
    """

    def __init__(
        self,
        layers: Iterable[base.Layer | LayerStack] | None = None,
        *,
        name: str | None = None,
        dtype: str = "float32",
        seed: int | None = None,
    ) -> None:
        self._asked = _validation.object_name(name)
        self.name = self._asked or "sequential"
        self._dtype = _validation.choice(np.dtype(dtype).name, "dtype", ("float32", "float64"))
        seed = _validation.seed(seed)
        self._seed = next_seed() if seed is None else seed
        self._lock = threading.RLock()  # structure and compile state; the engine has its own for steps
        _forks.renew(self)
        self._input: parts.Input | None = None
        self._layers: list[base.Layer] = []
        self._names = base.Names()
        self._network: Network | None = None
        self._graph: Graph | None = None  # until the structure changes
        try:
            for layer in layers or ():
                self._append(layer)
            self._build_if_complete()
        except BaseException:
            for layer in self._stack():
                layer._release()
            raise

    # Structure

    @property
    def layers(self) -> list[base.Layer]:
        """The layers, without the `Input`."""
        return list(self._layers)

    @property
    def dtype(self) -> str:
        """Type of weights and outputs."""
        return self._dtype

    @property
    def seed(self) -> int:
        """Seed of the initial weights."""
        return self._seed

    @property
    def trainable(self) -> bool:
        """Whether training changes any layer; to set it sets that of all layers, from the next step on."""
        return any(layer.trainable for layer in self._family())

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self._layers:
            layer.trainable = value

    @property
    def built(self) -> bool:
        """Whether shapes are known and weights exist."""
        return self._network is not None

    @property
    def input_shape(self) -> Shape:
        """Shape of the input, batch axis (None) included."""
        return (None, *self.network.input_shape)

    @property
    def output_shape(self) -> Shape:
        """Shape of the output, batch axis (None) included."""
        return (None, *self.network.output_shape)

    @property
    def output_activation(self) -> str | None:
        """Name of the activation that the outputs went through; None if no layer says so."""
        for layer in reversed(self._layers):
            if layer.output_activation is not None:
                return layer.output_activation
        return None

    @property
    def output_activations(self) -> list[str | None]:
        """The same for every output."""
        return [self.output_activation]

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs."""
        return ["input" if self._input is None else self._input.name]

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs: of the layers that make them."""
        return [self._layers[-1].name] if self._layers else ["output"]

    def packed(self, outputs: Sequence[Any]) -> Any:
        """Something about every output as the model returns it: alone, as a list or as a dict."""
        (output,) = outputs
        return output

    @property
    def graph(self) -> Graph:
        """All layers, what they read, and their shapes if the model is built."""
        with self._lock:
            if self._graph is None:
                source = self._input
                if source is None and self._network is not None:
                    source = parts.Input(self._network.input_shape)
                self._graph = graph_of(source, self._layers, self._network)
            return self._graph

    def add(self, layer: base.Layer | LayerStack) -> None:
        """Puts a layer on top. Weights of the other layers stay; the optimizer starts afresh.

        Args:
            layer: a layer; or a model, of whose layers and weights a copy becomes one.

        Raises:
            TypeError: not a layer.
            ValueError: it belongs to a model, its name is taken, or it does not fit; the model is unchanged.
        """
        with self._lock:
            before = len(self._stack())
            self._append(layer)
            try:
                self._rebuild()
            except BaseException:
                for own in reversed(self._stack()[before:]):
                    self._remove_last(own)
                raise

    def pop(self) -> base.Layer:
        """Removes the last layer and returns it, as if new. Weights of the other layers stay.

        Raises:
            ValueError: there is no layer.
        """
        with self._lock:
            if not self._layers:
                raise ValueError(f"Model '{self.name}' has no layers to remove.")
            layer = self._layers[-1]
            self._remove_last(layer)
            self._rebuild()
            return layer

    def get_layer(self, name: str | None = None, index: int | None = None) -> base.Layer:
        """The layer of this name, wherever it is, or the one at this index of `layers`.

        Raises:
            ValueError: there is none, or not exactly one argument is given.
        """
        if (name is None) == (index is None):
            raise ValueError("Provide either a layer name or a layer index.")
        if index is not None:
            if not -len(self._layers) <= _validation.integer(index, "index") < len(self._layers):
                raise ValueError(
                    f"There is no layer at index {index}: the model has {len(self._layers)} layers."
                )
            return self._layers[index]
        for layer in self._family():
            if layer.name == name:
                return layer
        names = ", ".join(layer.name for layer in self._family())
        raise ValueError(f"No such layer: {name}. Existing layers are: {names}.")

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Builds the model for inputs of this shape, whose first axis is the batch (usually None).

        Raises:
            ValueError: a layer does not fit, or the model is built for another shape.
        """
        shape = _validation.sample_shape(tuple(input_shape)[1:], "input_shape")
        with self._lock:
            if self._network is None:
                if not self._layers:
                    raise ValueError(f"Model '{self.name}' has no layers: call add(layer).")
                self._build(shape)
            elif self._network.input_shape != shape:
                raise ValueError(
                    f"Model '{self.name}' is already built for input shape {self.input_shape}. "
                    f"Received input_shape={tuple(input_shape)}."
                )

    def _append(self, layer: base.Layer | LayerStack) -> None:
        self._graph = None
        if isinstance(layer, LayerStack):
            shape = layer._known_input()
            nested = layer._as_layer()
            if shape is not None and not self._stack():
                self._append(parts.Input(shape))
            layer = nested
        if not parts.usable(layer):
            raise TypeError(f"A Sequential model holds instances of gridnn.layers. Received {layer!r}.")
        if isinstance(layer, parts.Input):
            if self._layers or self._input is not None:
                raise ValueError(f"{layer.label} must be the first layer, and the only Input, of a model.")
            self._names = base.Names()
            layer._claim(self._names)
            self._input = layer
            return
        try:
            layer._claim(self._names)
        except BaseException:
            self._names = self._names_now()  # without those that have been given up
            raise
        self._layers.append(layer)

    def _names_now(self) -> base.Names:
        inputs = [] if self._input is None else [self._input.name]
        return base.Names([*inputs, *(layer.name for layer in self._family())])

    def _stack(self) -> list[base.Layer]:
        """The layers, with the `Input` if there is one."""
        inputs: list[base.Layer] = [] if self._input is None else [self._input]
        return inputs + self._layers

    def _family(self) -> Iterator[base.Layer]:
        """All layers without the `Input`, containers in front of what they hold: positions 1, 2, ..."""
        for layer in self._layers:
            yield from layer._family()

    def _known_input(self) -> Shape | None:
        """Shape of a sample, as far as it is known."""
        if self._network is not None:
            return self._network.input_shape
        return None if self._input is None else self._input.shape

    def _as_layer(self) -> base.Layer:
        with self._lock:
            chain = branches.Chain([copy.deepcopy(layer) for layer in self._layers], name=self._asked)
            for own, copied in zip(self._family(), list(chain._family())[1:], strict=True):
                copied._initial = own._own_weights()
            return chain

    def _remove_last(self, layer: base.Layer) -> None:
        self._graph = None
        if layer is self._input:
            self._input = None
        else:
            self._layers.remove(layer)
        layer._release()
        self._names = self._names_now()

    def _build_if_complete(self) -> None:
        if self._input is not None and self._layers:
            self._build(self._input.shape)

    def _rebuild(self) -> None:
        """Builds again after a change of the layers, if the input shape is known."""
        old = self._network
        if old is None:
            self._build_if_complete()
        elif self._layers:
            self._build(old.input_shape)
        else:
            self._network = self._graph = None

    def _build(self, shape: Shape) -> None:
        """Makes the network; layers that had weights keep them."""
        inputs = self._input or parts.Input(shape)
        stack = [inputs, *self._layers]
        network = Network([layer.engine_description() for layer in stack], self._dtype, self._seed)
        family = [inputs, *self._family()]
        kept = {position: layer._own_weights() for position, layer in enumerate(family)}
        places: list[dict[str, int]] = [{} for _ in family]
        for index, info in enumerate(network.weights):
            places[info.layer][info.name] = index
        if any(kept.values()):
            values = network.get_weights()
            for position, weights in kept.items():
                for i, value in zip(places[position].values(), weights or (), strict=False):
                    values[i] = network.as_weight(i, value, family[position].label)
            network.set_weights(values)
        for position, layer in enumerate(family):
            layer._attach(network, position, places[position])
        self._network, self._graph = network, None

    # Weights

    def get_weights(self) -> list[NDArray[Any]]:
        """Copies of all weights: layer by layer, in Keras' order and shapes."""
        return self.network.get_weights()

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets all weights, or none.

        Raises:
            ValueError: their number or a shape is another.
            TypeError: not numbers.
        """
        network = self.network
        if len(weights) != len(network.weights):
            raise ValueError(
                f"Model '{self.name}' has {len(network.weights)} weights. Received {len(weights)} arrays."
            )
        labels = ["", *(layer.label for layer in self._family())]  # position 0 is the Input
        owners = [labels[info.layer] for info in network.weights]
        network.set_weights([network.as_weight(i, value, owners[i]) for i, value in enumerate(weights)])

    def count_params(self) -> int:
        """Number of weights, counting every element."""
        return sum(math.prod(info.shape) for info in self.network.weights)

    def memory(self, batch_size: int, *, training: bool = True) -> int:
        """Bytes that the model takes for steps on `batch_size` samples, known before the first one.

        That is weights, gradients and the state of the optimizer, the packed copies of weights, and whatever
        the layers keep or hand on, for the number of threads in use. The data, what Python itself takes and
        buffers of a few hundred kilobytes per thread are not counted; steps on other batch sizes use the same
        memory again.

        Args:
            batch_size: samples of a step.
            training: False for `predict` and `evaluate`.

        Raises:
            ValueError: the model is not built, or a size of its input is not known.

        Example:
            >>> import gridnn as gn
            >>> from gridnn import layers
            >>> model = gn.Sequential([gn.Input((8, 8, 1)), layers.Conv2D(4, 3)])
            >>> model.memory(1, training=False) < model.memory(32)
            True
        """
        network = self.network
        if None in network.input_shape:
            raise ValueError(
                f"Model '{self.name}' has an input of unknown size, {self.input_shape}: what it takes is not "
                "known before data comes."
            )
        batch_size = _validation.positive_integer(batch_size, "batch_size")
        return network.memory(batch_size, _validation.boolean(training, "training"))

    def release_memory(self) -> None:
        """Gives back the memory that the model keeps to be faster: all but weights and optimizer state.

        A model keeps what its largest step has worked in, so that the next one need not ask for it. After a
        very large picture that may be much; where a later step needs less than an eighth of it, it is given
        back without asking. The next step takes what it needs again; results are the same.

        Example:
            >>> import numpy as np
            >>> import gridnn as gn
            >>> from gridnn import layers
            >>> model = gn.Sequential([gn.Input((None, None, 1)), layers.Conv2D(4, 3)])
            >>> y = model.predict(np.zeros((1, 500, 500, 1)), verbose=0)
            >>> model.release_memory()
        """
        if self._network is not None:
            self._network.release_memory()

    def summary(self, *, print_fn: Callable[[str], object] | None = None) -> None:
        """Prints a table of the layers: output shape, number of weights, multiply-adds of one sample.

        Args:
            print_fn: receives the text instead of standard output.
        """
        text = summary.table(self.name, self.graph, self._network)
        (print if print_fn is None else print_fn)(text)

    # The engine; see `protocol.Model`

    def locked(self) -> AbstractContextManager[object]:
        """While it lasts, nobody else changes the structure or what was compiled."""
        return self._lock

    @property
    def network(self) -> Network:
        """The engine's part of the model.

        Raises:
            NotReadyError: the model is not built.
        """
        network = self._network
        if network is None:
            raise NotReadyError(
                f"Model '{self.name}' is not built yet: give it an Input as first layer, call "
                "build(input_shape), or pass data to fit or predict first."
            )
        return network

    def network_for(self, x: NDArray[Any], argument: str = "x") -> Network:
        """The network; the model is built for the shape of `x` if it was not."""
        with self._lock:
            if self._network is None:
                if x.ndim < 2 or 0 in x.shape[1:]:
                    raise ValueError(
                        f"`{argument}` must have shape (batch, ..., channels). Received {x.shape}."
                        f"{_hints.for_rank(x.shape, 2, argument)}"
                    )
                try:
                    self.build((None, *x.shape[1:]))
                except ShapeError as error:
                    # Without an Input nobody knows what a sample is; that is what may have been misread.
                    raise ShapeError(
                        f"{error}. The model has no Input, and `{argument}` of shape {x.shape} was read "
                        f"as {x.shape[0]} samples of shape {x.shape[1:]}; one sample is "
                        f"{argument}[numpy.newaxis]."
                    ) from error
            return self.network

    def network_like(self, input_shape: Sequence[int]) -> Network:
        """A network of the same layers for inputs of another shape, with weights of its own."""
        inputs = {"class_name": "Input", "name": "input", "config": {"shape": list(input_shape)}}
        layers = [layer._twin().engine_description() for layer in self._layers]
        return Network([inputs, *layers], self._dtype, 0)
