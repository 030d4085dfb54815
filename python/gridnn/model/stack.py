"""`LayerStack`: layers one after the other, and the network that the engine makes of them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from numpy.typing import NDArray

from gridnn import _hints, _network, _validation
from gridnn._graph import Graph, graph_of
from gridnn._network import Network, Shape, output_shapes
from gridnn.errors import ShapeError
from gridnn.layers import base, branches, parts
from gridnn.layers.symbolic import Call, Tensor, input_description, result_shape
from gridnn.model.base import BaseModel
from gridnn.model.tracing import Trace


class LayerStack(BaseModel):
    """The structure of a `Sequential`: its layers, and how the engine is told of them."""

    default_name = "sequential"

    _names: base.Names
    _layers: list[Any]
    """Layers, and models that are called."""
    _model_names: dict[int, str]
    """Names of the models among them, by ids."""
    _input: parts.Input | None
    _traced: Trace | None

    def _stack_up(self, layers: Iterable[base.Layer | BaseModel] | None) -> None:
        """Begins with some layers."""
        self._input = self._traced = None
        self._layers = []
        self._model_names = {}
        self._names = base.Names(owner=self)
        given: object = layers
        if given is not None and not isinstance(given, Iterable):
            raise TypeError(f"The `layers` argument must be a list of layers. Received {layers!r}.")
        try:
            for layer in layers or ():
                self._append(layer)
            self._build_if_complete()
        except BaseException:
            for own in self._stack():
                if not isinstance(own, BaseModel):
                    own._release()
            raise

    # Structure; a graph of any other kind has these otherwise

    name_of = BaseModel.name_of

    @property
    def built(self) -> bool:
        """Whether shapes are known and weights exist: its own, or in a model that has called it."""
        return self._network is not None or self._traced is not None

    def _made(self) -> bool:
        return self._network is not None

    @property
    def network(self) -> Network:
        """The engine's part of the model; one that was called is built for what it was called on.

        Raises:
            NotReadyError: the model is not built.
        """
        network = self._network
        if network is not None:
            return network
        with self._lock:
            traced = self._traced
            if traced is not None and not self._made():  # another thread may have been first
                self._build(traced.inputs[0].shape[1:])
        built: Network = BaseModel.network.__get__(self)
        return built

    @property
    def layers(self) -> list[Any]:
        """The layers, and models that stand among them, without the `Input`."""
        return list(self._layers)

    @property
    def nests(self) -> bool:
        """Whether models stand among its layers."""
        return bool(self._model_names)

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
            activation: str | None = layer.output_activation
            if activation is not None:
                return activation
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

    def add(self, layer: base.Layer | BaseModel) -> None:
        """Puts a layer on top. Weights of the other layers stay; the optimizer starts afresh.

        Args:
            layer: a layer; or a model, which is called there and shares its weights.

        Raises:
            TypeError: not a layer.
            ValueError: it belongs to a model, its name is taken, or it does not fit; the model is unchanged.

        Example:
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((4,))])
            >>> model.add(gn.layers.Dense(2))
            >>> model.output_shape
            (None, 2)
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

    def pop(self) -> Any:
        """Removes the last layer and returns it, as if new. Weights of the other layers stay.

        Raises:
            ValueError: there is no layer.

        Example:
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((4,)), gn.layers.Dense(3), gn.layers.Dense(2)])
            >>> last = model.pop()
            >>> model.output_shape
            (None, 3)
        """
        with self._lock:
            if not self._layers:
                raise ValueError(f"Model '{self.name}' has no layers to remove.")
            layer = self._layers[-1]
            self._remove_last(layer)
            self._rebuild()
            return layer

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
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

    def build(self, input_shape: Any) -> None:
        """Builds the model for inputs of this shape, whose first axis is the batch (usually None).

        Raises:
            ValueError: a layer does not fit, or the model is built for another shape.

        Example:
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.layers.Dense(2)])
            >>> model.build((None, 4))
            >>> model.count_params()
            10
        """
        if not isinstance(input_shape, (tuple, list)):
            raise TypeError(
                f"Model '{self.name}': `input_shape` must be a tuple with the batch axis. Received "
                f"{input_shape!r}."
            )
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

    def _append(self, layer: base.Layer | BaseModel) -> None:
        self._forget_structure()
        if isinstance(layer, BaseModel):
            self._append_model(layer)
            return
        first = getattr(layer, "_first_shape", None)
        if first is not None and not self._stack():
            self._append(parts.Input(first))
        if getattr(layer, "merges", False):
            raise ValueError(
                f"{layer.label} puts several tensors together, and layers of a Sequential have one input: "
                "call it in a gn.Model."
            )
        if not parts.usable(layer):
            cure = ""
            if isinstance(layer, type):
                cure = f" A class is called to make one: {layer.__name__}(...)."
            elif isinstance(layer, str):
                cure = f" For a function of the values pass layers.Activation({layer!r})."
            elif isinstance(layer, (list, tuple)):
                cure = " Put the layers of a list in by an asterisk before it."
            raise TypeError(f"A Sequential model holds instances of gridnn.layers. Received {layer!r}.{cure}")
        if isinstance(layer, parts.Input):
            if self._layers or self._input is not None:
                raise ValueError(f"{layer.label} must be the first layer, and the only Input, of a model.")
            self._names = base.Names(owner=self)
            layer._claim(self._names)
            self._input = layer
            return
        try:
            layer._claim(self._names)
        except BaseException:
            self._names = self._names_now()  # without those that have been given up
            raise
        self._layers.append(layer)

    def _append_model(self, model: BaseModel) -> None:
        """Makes a model one of the layers: it is called, and shares its weights."""
        if model is self or (isinstance(model, LayerStack) and model._reaches(self)):
            raise ValueError(f"Model '{self.name}' cannot be a layer of itself.")
        if len(model.input_names) > 1 or len(model.output_names) > 1:
            raise ValueError(
                f"Model '{model.name}' has {len(model.input_names)} inputs and {len(model.output_names)} "
                "outputs, and layers of a Sequential have one of each: call it in a gn.Model."
            )
        if model.dtype != self.dtype and model.built:
            raise ValueError(
                f"Model '{model.name}' computes in {model.dtype}, and models that share weights compute in "
                f"one type. Model '{self.name}' has dtype='{self.dtype}'."
            )
        if id(model) in self._names.layers:
            raise ValueError(
                f"Model '{model.name}' already belongs to this model. To use its weights twice call it twice "
                "in a gn.Model; another one is gn.models.clone_model(model)."
            )
        shape = model._known_input()
        if shape is not None and not self._stack():
            self._append(parts.Input(shape))
        name = model.name
        if not model.named:
            name = self._names.free(name)
        elif name in self._names:
            raise ValueError(
                "All layers added to a Sequential model should have unique names. "
                f"Name '{name}' is already the name of a layer in this model."
            )
        self._names.add(name)
        self._names.layers.add(id(model))
        self._model_names[id(model)] = name
        self._layers.append(model)

    def _reaches(self, model: BaseModel) -> bool:
        """Whether a model is among its layers, or among those of models there."""
        return any(
            own is model or (isinstance(own, LayerStack) and own._reaches(model)) for own in self._layers
        )

    def _names_now(self) -> base.Names:
        layers: list[Any] = [] if self._input is None else [self._input]
        for own in self._layers:
            layers += [own] if isinstance(own, BaseModel) else own._family()
        names = (self._model_names.get(id(own)) or own.name for own in layers)
        return base.Names(names, self, layers)

    def _stack(self) -> list[Any]:
        """The layers, with the `Input` if there is one."""
        inputs: list[Any] = [] if self._input is None else [self._input]
        return inputs + self._layers

    def _family(self) -> Iterator[base.Layer]:
        """All layers without the `Input`, containers in front of what they hold: positions 1, 2, ..."""
        for layer in self._layers:
            yield from layer._family()

    def _known_input(self) -> Shape | None:
        """Shape of a sample, as far as it is known."""
        if self._network is not None:
            return self._network.input_shape
        # One without layers makes nothing yet, and is built when it gets some.
        return None if self._input is None or not self._layers else self._input.sample_shape

    def _as_layer(self) -> base.Layer:
        with self._lock:
            copies = []
            for layer in self._layers:
                if isinstance(layer, BaseModel):
                    copies.append(layer._as_layer())
                    continue
                copied = copy.deepcopy(layer)
                for own, member in zip(layer._family(), copied._family(), strict=True):
                    member._initial = own._own_weights()
                copies.append(copied)
            return branches.Chain(copies, name=self._asked)

    def _remove_last(self, layer: Any) -> None:
        self._forget_structure()
        if layer is self._input:
            self._input = None
        else:
            self._layers.remove(layer)
            self._model_names.pop(id(layer), None)
        if not isinstance(layer, BaseModel):
            layer._release()
        self._names = self._names_now()

    def _build_if_complete(self) -> None:
        if self._input is not None and self._layers:
            self._build(self._input.sample_shape)

    def _rebuild(self) -> None:
        """Builds again after a change of the layers, if the input shape is known."""
        old = self._network
        if old is None:
            self._build_if_complete()
        elif self._layers:
            self._build(old.input_shape)
        else:
            self._network = self._graph = None

    def _forget_structure(self) -> None:
        """Drops what was derived from the layers."""
        self._graph = None
        if self._traced is not None:
            self._forget(self._traced)
            self._traced = None

    @staticmethod
    def _forget(traced: Trace) -> None:
        """Takes calls back."""
        for call in traced.calls:
            if isinstance(call.owner, base.Layer):
                call.owner._calls.remove(call)

    def _calls_from(self, source: Tensor) -> Trace:
        """The layers, called one after the other."""
        last: Tensor = source
        calls: list[Call] = []
        try:
            for layer in self._layers:
                if isinstance(layer, BaseModel):
                    made: Any = cast("Any", layer)(last)
                    last = next(iter(made.values())) if isinstance(made, dict) else made
                    if last.origin is not None:
                        calls.append(last.origin)
                    continue
                call = Call(layer, [last], None, [result_shape(layer, [last.shape])])
                layer._calls.append(call)
                calls.append(call)
                last = call.outputs[0]
        except BaseException:
            self._forget(Trace((source,), (last,), tuple(calls), ()))
            raise
        return Trace((source,), (last,), tuple(calls), (source, *self._layers))

    def expect(self, inputs: Sequence[Tensor]) -> None:
        """Has a model that is not built know its layers' shapes: it is called on symbolic tensors."""
        with self._lock:
            if self._network is None and self._traced is None and self._layers and len(inputs) == 1:
                self._traced = self._calls_from(parts.Input(inputs[0].shape[1:]))

    def trace(self) -> Trace:
        """The model as calls of its layers, one after the other.

        Raises:
            NotReadyError: the model is not built.
        """
        with self._lock:
            if self._traced is None:
                network, source = self.network, self._input
                if source is None:
                    source = parts.Input(network.input_shape)
                self._traced = self._calls_from(source)
            return self._traced

    def _build(self, shape: Shape) -> None:
        """Makes the network; layers that had weights keep them."""
        old = self._network
        self._forget_structure()
        self._check_sharing(self._family(), old)
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
            layer._attach(network, position, places[position], old)
        self._network, self._graph = network, None

    def network_for(self, x: NDArray[Any], argument: str = "x") -> Network:
        """The network; the model is built for the shape of `x` if it was not."""
        with self._lock:
            if not self.built:
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
            elif self._input is None and not any(isinstance(layer, BaseModel) for layer in self._layers):
                self._take_another_size(tuple(x.shape[1:]))
            return self.network

    def _path_of(self, layer: str) -> str:
        """With the name of the model, as in Keras."""
        return f"{self.name}/{layer}"

    def _shapes_for(self, inputs: Sequence[Shape]) -> list[Shape]:
        """Shapes of the outputs of one sample, for inputs of these shapes."""
        layers = [layer._twin().engine_description() for layer in self._layers]
        if not layers:
            return list(inputs)
        found = output_shapes([input_description(tuple(inputs[0])), *layers])
        return [found[1 + sum(len(list(layer._family())) for layer in self._layers[:-1])]]

    def _take_another_size(self, shape: tuple[int, ...]) -> None:
        """Leaves sizes open in which data differs from what a model without `Input` was built for.

        Nothing changes where the channels are others, or a layer has weights that depend on a size.
        """
        own = self.network.input_shape
        if len(shape) != len(own) or all(a in (None, b) for a, b in zip(own, shape, strict=True)):
            return
        sizes = tuple(a if a == b else None for a, b in zip(own, shape, strict=True))
        if sizes[-1] is None:
            return
        layers = [layer._twin().engine_description() for layer in self._layers]
        try:
            weights = _network.weight_shapes([input_description(sizes), *layers], self._dtype)
        except ValueError:
            return
        if list(weights.values()) == [info.shape for info in self.network.weights]:
            self._open(sizes)

    def _open(self, sizes: Shape) -> None:
        """Builds anew for inputs of these sizes; weights, and what training has made, stay."""
        self._build(sizes)

    def network_like(self, input_shape: Sequence[int]) -> Network:
        """A network of the same layers for inputs of another shape, with weights of its own."""
        layers = [layer._twin().engine_description() for layer in self._layers]
        return Network([input_description(tuple(input_shape)), *layers], self._dtype, 0)
