"""`Model`: a graph of layers between symbolic tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from gridnn import _network, _validation
from gridnn._graph import Graph, graph_of_entries
from gridnn._network import Network, Shape
from gridnn.layers import base, branches, parts
from gridnn.layers.symbolic import Tensor, input_description
from gridnn.model import saving
from gridnn.model.base import BaseModel
from gridnn.model.tracing import Trace, entries_of, trace
from gridnn.model.trainable import TrainableModel

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Model"]


@saving.kind_of_model
class Model(TrainableModel):
    """A graph of layers: several inputs and outputs, branches, layers that are called more than once.

    Layers and models are called on symbolic tensors, beginning with those of `gridnn.Input`. Weights belong
    to layers: called again, or part of several models, they are shared, and their gradients add up. So
    ``gn.Model(model.inputs, model.get_layer("conv2d").output)`` makes features with the weights of `model`.

    Args:
        inputs: a symbolic tensor, a list of them, or a dict by name.
        outputs: likewise; what `predict` returns has this form.
        name: name of the model.
        dtype: "float32", or "float64" to compute everything in double precision.
        seed: seed of the initial weights; None draws one from the sequence that `gridnn.set_random_seed`
            fixes.
        trainable: False freezes all layers; see `trainable`.

    Raises:
        TypeError: not symbolic tensors.
        ValueError: an output does not come from the inputs, an input leads nowhere, or two layers have the
            same name.

    Example:
        >>> import gridnn as gn
        >>> from gridnn import layers
        >>> image, age = gn.Input((8, 8, 1), name="image"), gn.Input((1,), name="age")
        >>> x = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(image))
        >>> x = layers.concatenate([x, layers.Dense(4)(age)])
        >>> model = gn.Model([image, age], layers.Dense(1)(x))
        >>> model.input_names, model.output_shape
        (['image', 'age'], (None, 1))
    """

    default_name = "functional"

    def __init__(
        self,
        inputs: Any,
        outputs: Any,
        *,
        name: str | None = None,
        dtype: str = "float32",
        seed: int | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name, dtype, seed)
        sources, self._input_keys, self._input_form = _form(inputs, "inputs")
        ends, self._output_keys, self._output_form = _form(outputs, "outputs")
        self._trace = trace(sources, ends, self.name)
        self._set_nesting(self._trace.owners)
        given = _names_for(self._trace.owners, self.name)
        self._own_names = given
        self._entries, self._ends = entries_of(self._trace, given)
        if saving.builds():
            self._make()
        for owner in self._trace.owners:
            if isinstance(owner, base.Layer):
                owner._claims += 1
                owner._assigned = owner._assigned or given[id(owner)]
        if not _validation.boolean(trainable, "trainable"):
            self.trainable = False

    # Structure

    def trace(self) -> Trace:
        """The calls of the model."""
        return self._trace

    def name_of(self, owner: Any) -> str:
        """The name that an input, a layer or a model has in this one."""
        return self._own_names[id(owner)]

    @property
    def layers(self) -> list[Any]:
        """Inputs, layers, and models that are called; by depth, then as they are met from the end."""
        return [owner for owner in self._trace.owners if isinstance(owner, (base.Layer, BaseModel))]

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs: the keys of the dict that was given, or of the `Input` layers."""
        return self._input_keys or [self.name_of(tensor) for tensor in self._trace.inputs]

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs: the keys of the dict that was given, or of the layers that make them."""
        if self._output_keys is not None:
            return self._output_keys
        return _unique(self._own_names, self._trace.outputs)

    def packed(self, outputs: Sequence[Any]) -> Any:
        """Something about every output as the model returns it: alone, as a list or as a dict."""
        if self._output_form == "dict":
            return dict(zip(self.output_names, outputs, strict=True))
        return outputs[0] if self._output_form == "tensor" or len(outputs) == 1 else list(outputs)

    @property
    def input_shape(self) -> Any:
        """Shape of the input, batch axis (None) included; of several inputs a list."""
        shapes = [(None, *tensor.shape[1:]) for tensor in self._trace.inputs]
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def output_shape(self) -> Any:
        """Shape of the output, batch axis (None) included; of several outputs a list."""
        shapes = [(None, *tensor.shape[1:]) for tensor in self._trace.outputs]
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def output_activations(self) -> list[str | None]:
        """Names of the activations that the outputs went through, each None if no layer says so."""
        return [self._activation(number) for number in self._ends]

    @property
    def output_activation(self) -> str | None:
        """That of the first output."""
        return self.output_activations[0]

    def _activation(self, number: int) -> str | None:
        """The last activation in front of what an entry makes."""
        while True:
            entry = self._entries[number]
            if not entry.inputs or entry.layer is None:
                return None
            if entry.layer.output_activation is not None:
                return entry.layer.output_activation
            number = entry.inputs[0]

    @property
    def graph(self) -> Graph:
        """All layers, what they read, and their shapes if the model is built."""
        with self._lock:
            if self._graph is None:
                self._graph = graph_of_entries(self._entries, self._ends, self._network)
            return self._graph

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """The layer or model of this name, or the one at this index of `layers`.

        Names of layers inside others are found as well, those inside models that are called are not: ask that
        model.

        Raises:
            ValueError: there is none, or not exactly one argument is given.

        Example:
            >>> import gridnn as gn
            >>> inputs = gn.Input((4,))
            >>> model = gn.Model(inputs, gn.layers.Dense(2, name="scores")(inputs))
            >>> model.get_layer("scores") is model.layers[-1]
            True
        """
        if (name is None) == (index is None):
            raise ValueError("Provide either a layer name or a layer index.")
        layers = self.layers
        if index is not None:
            if not -len(layers) <= _validation.integer(index, "index") < len(layers):
                raise ValueError(f"There is no layer at index {index}: the model has {len(layers)} layers.")
            return layers[index]
        for owner in layers:
            if self.name_of(owner) == name:
                return owner
        for owner in layers:
            held = owner._family() if isinstance(owner, branches.Container) else ()
            for layer in held:
                if layer.name == name:
                    return layer
        known = ", ".join(self.name_of(owner) for owner in layers)
        raise ValueError(f"No such layer: {name}. Existing layers are: {known}.")

    def build(self, input_shape: Any) -> None:
        """Does nothing: the shapes of a model are known when it is made.

        Raises:
            ValueError: the shape is another one.

        Example:
            >>> import gridnn as gn
            >>> inputs = gn.Input((4,))
            >>> gn.Model(inputs, gn.layers.Dense(2)(inputs)).build((None, 4))
        """
        if len(self._trace.inputs) == 1:
            if not isinstance(input_shape, (tuple, list)):
                raise TypeError(
                    f"Model '{self.name}': `input_shape` must be a tuple with the batch axis. Received "
                    f"{input_shape!r}."
                )
            sizes = tuple(input_shape)[1:]
            known = all(
                a is None or b is None or a == b for a, b in zip(sizes, self.input_shape[1:], strict=False)
            )
            if len(sizes) != len(self.input_shape) - 1 or not known:
                raise ValueError(
                    f"Model '{self.name}' has the input shape {self.input_shape}. Received "
                    f"input_shape={tuple(input_shape)}."
                )

    def _family(self) -> Iterator[base.Layer]:
        for entry in self._entries:
            if entry.inputs and entry.shares is None and entry.layer is not None:
                yield from entry.layer._family()

    def _numbers(self) -> list[int]:
        """The position of every entry in the network."""
        numbers, position = [], 0
        for entry in self._entries:
            numbers.append(position)
            held = entry.inputs and entry.layer is not None
            position += sum(1 for _ in entry.layer._family()) if held and entry.layer is not None else 1
        return numbers

    def _descriptions(self, *, twins: bool = False) -> list[dict[str, Any]]:
        """What the engine is told."""
        lines = []
        for number, entry in enumerate(self._entries):
            if not entry.inputs:
                lines.append(input_description(self._trace.inputs[number].shape[1:], entry.name))
                continue
            assert entry.layer is not None
            layer = entry.layer._twin() if twins else entry.layer
            line = {**layer.engine_description(), "name": entry.name, "inputs": list(entry.inputs)}
            if entry.shares is not None:
                line["shares"] = entry.shares
            if entry.inference:
                line["inference"] = True
            lines.append(line)
        return lines

    def _make(self, replaced: Network | None = None) -> None:
        """Makes the network, perhaps in the place of another one; layers that had weights keep them."""
        self._check_sharing(self._family(), replaced)
        network = Network(self._descriptions(), self._dtype, self._seed, self._ends)
        places: dict[int, dict[str, int]] = {}
        for index, info in enumerate(network.weights):
            places.setdefault(info.layer, {})[info.name] = index
        members = []
        for entry, number in zip(self._entries, self._numbers(), strict=True):
            if entry.inputs and entry.shares is None and entry.layer is not None:
                members += [(number + offset, layer) for offset, layer in enumerate(entry.layer._family())]
        kept = {position: layer._own_weights() for position, layer in members}
        if any(kept.values()):
            values = network.get_weights()
            for position, layer in members:
                own = places.get(position, {}).values()
                for index, value in zip(own, kept[position] or (), strict=False):
                    values[index] = network.as_weight(index, value, layer.label)
            network.set_weights(values)
        for position, layer in members:
            layer._attach(network, position, places.get(position, {}), replaced)
        self._network, self._graph = network, None

    @property
    def network(self) -> Network:
        """The engine's part of the model."""
        if self._network is None:
            with self._lock:
                if self._network is None:
                    self._make()
        return super().network

    def network_for(self, x: NDArray[Any], argument: str = "x") -> Network:
        """The network, for a model of one input."""
        if len(self._trace.inputs) > 1:
            raise ValueError(
                f"Model '{self.name}' has {len(self._trace.inputs)} inputs ({', '.join(self.input_names)}), "
                f"and `{argument}` is one array: pass a list, or a dict by their names."
            )
        return self.network

    def _shapes_for(self, inputs: Sequence[Shape]) -> list[Shape]:
        """Shapes of the outputs of one sample, for inputs of these shapes."""
        sources = [
            input_description(tuple(s), entry.name) for s, entry in zip(inputs, self._entries, strict=False)
        ]
        found = _network.output_shapes([*sources, *self._descriptions(twins=True)[len(sources) :]])
        numbers = self._numbers()
        return [found[numbers[end]] for end in self._ends]

    def network_like(self, input_shape: Sequence[int]) -> Network:
        """A network of the same layers for inputs of another shape, with weights of its own."""
        if len(self._trace.inputs) > 1:
            raise ValueError(
                f"Model '{self.name}' has {len(self._trace.inputs)} inputs: a shape of one does not say what "
                "the others are."
            )
        lines = [
            input_description(tuple(input_shape), self._entries[0].name),
            *self._descriptions(twins=True)[1:],
        ]
        return Network(lines, self._dtype, 0, self._ends)

    def _known_input(self) -> Shape | None:
        """Shape of a sample of the only input."""
        (source,) = self._trace.inputs
        return source.shape[1:]

    def _as_layer(self) -> base.Layer:
        raise ValueError(
            f"Model '{self.name}' is a graph, and Residual and Parallel hold layers one after the other: "
            "call it in a gn.Model, outputs = layers.Dense(10)(model(inputs))."
        )

    # Files and copies

    def get_config(self) -> dict[str, Any]:
        """The model without weights as plain JSON values.

        Example:
            >>> import gridnn as gn
            >>> inputs = gn.Input((4,))
            >>> model = gn.Model(inputs, gn.layers.Dense(2)(inputs))
            >>> list(model.get_config())
            ['name', 'dtype', 'seed', 'layers', 'calls', 'inputs', 'outputs']
        """
        sources = {id(tensor) for tensor in self._trace.inputs}
        owners = [*self._trace.inputs, *(o for o in self._trace.owners if id(o) not in sources)]
        numbers = {id(owner): number for number, owner in enumerate(owners)}
        made = {id(tensor): [number, 0] for number, tensor in enumerate(self._trace.inputs)}
        calls = []
        for number, call in enumerate(self._trace.calls, len(self._trace.inputs)):
            line = {"layer": numbers[id(call.owner)], "inputs": [made[id(tensor)] for tensor in call.inputs]}
            calls.append({**line, **({} if call.training is None else {"training": call.training})})
            made.update({id(tensor): [number, index] for index, tensor in enumerate(call.outputs)})
        return {
            "name": self.name,
            "dtype": self._dtype,
            "seed": self._seed,
            "layers": [self._described(owner) for owner in owners],
            "calls": calls,
            "inputs": {"form": self._input_form, "keys": self._input_keys},
            "outputs": {
                "form": self._output_form,
                "keys": self._output_keys,
                "tensors": [made[id(tensor)] for tensor in self._trace.outputs],
            },
        }

    def _described(self, owner: Any) -> dict[str, Any]:
        """An input, a layer or a model as part of the configuration."""
        if isinstance(owner, BaseModel):
            config = {**owner.get_config(), "name": self.name_of(owner)}
            return {"class_name": type(owner).__name__, "config": config}
        if not isinstance(owner, base.Layer):
            owner_config = {"name": self.name_of(owner), "shape": list(owner.shape[1:])}
            return {"class_name": "Input", "config": owner_config, "trainable": True}
        described = parts.describe(owner)
        return {**described, "config": {**described["config"], "name": self.name_of(owner)}}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A new, untrained model with this `get_config`.

        Example:
            >>> import gridnn as gn
            >>> inputs = gn.Input((4,))
            >>> model = gn.Model(inputs, gn.layers.Dense(2)(inputs))
            >>> gn.Model.from_config(model.get_config()).output_shape
            (None, 2)
        """
        with saving.configuration_of(cls, config):
            return cls._from_config(config)

    @classmethod
    def _from_config(cls, config: Mapping[str, Any]) -> Self:
        owners = [saving.restored(description) for description in config["layers"]]
        count = next((n for n, owner in enumerate(owners) if not isinstance(owner, parts.Input)), len(owners))
        made: list[list[Tensor]] = [[owner] for owner in owners[:count] if isinstance(owner, parts.Input)]

        def tensor(place: Sequence[int]) -> Tensor:
            number, index = (_validation.non_negative_integer(at, "inputs") for at in place)
            return made[number][index]

        for call in config["calls"]:
            owner = owners[_validation.non_negative_integer(call["layer"], "layer")]
            read: Any = [tensor(place) for place in call["inputs"]]
            if not (isinstance(owner, base.Layer) and owner.merges) and len(read) == 1:
                (read,) = read
            results: Any = owner(read, training=call.get("training"))
            results = list(results.values()) if isinstance(results, dict) else results
            made.append(list(results) if isinstance(results, list) else [results])
        inputs = _formed([group[0] for group in made[:count]], config["inputs"])
        outputs = _formed([tensor(place) for place in config["outputs"]["tensors"]], config["outputs"])
        return cls(inputs, outputs, name=config["name"], dtype=config["dtype"], seed=config["seed"])

    @classmethod
    def made_for(cls, config: Mapping[str, Any], check: Callable[[saving.Shapes], None]) -> Self:
        """The model that has this `get_config`, once `check` has seen the shapes of its weights."""
        model = cls.from_config(config)
        model.make(check)
        return model

    def make(self, check: Callable[[saving.Shapes], None]) -> None:
        """Makes the network of a model that has none yet, once `check` has seen the shapes of its weights."""
        check(_network.weight_shapes(self._descriptions(), self._dtype, self._ends))
        self._make()

    def __repr__(self) -> str:
        return f"<Model '{self.name}': {len(self.layers)} layers>"


def _form(value: Any, argument: str) -> tuple[list[Tensor], list[str] | None, str]:
    """The symbolic tensors of an argument, their names if it is a dict, and its form.

    Raises:
        TypeError: not symbolic tensors.
        ValueError: there are none.
    """
    keys = None
    form = "tensor"
    tensors = [value]
    if isinstance(value, Mapping):
        keys = [_validation.string(key, argument) for key in value]
        tensors, form = list(value.values()), "dict"
    elif isinstance(value, (list, tuple)):
        tensors, form = list(value), "list"
    if not tensors:
        raise ValueError(f"`{argument}` must hold at least one symbolic tensor.")
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"`{argument}` must be symbolic tensors, as gn.Input and calls of layers return them. "
                f"Received {tensor!r:.200}."
            )
    return tensors, keys, form


def _formed(tensors: list[Tensor], description: Mapping[str, Any]) -> Any:
    """The argument that `_form` was given."""
    if description["form"] == "dict":
        return dict(zip(description["keys"], tensors, strict=True))
    return tensors[0] if description["form"] == "tensor" else tensors


def _names_for(owners: Sequence[Any], model: str) -> dict[int, str]:
    """Names for inputs, layers and models: their own, or those of their classes, numbered.

    Raises:
        ValueError: two have been given the same.
    """
    taken, names = base.Names(), dict[int, str]()
    free: list[Any] = []
    for owner in owners:
        given = (
            owner._name
            if isinstance(owner, base.Layer)
            else owner._asked
            if isinstance(owner, BaseModel)
            else None
        )
        if given is None:
            free.append(owner)
            continue
        if given in taken:
            raise ValueError(
                f"Model '{model}': two layers are called '{given}'. Received names: "
                f"{', '.join(str(o.name) for o in owners)}; give one another name=."
            )
        taken.add(given)
        names[id(owner)] = given
    # Names that other models have given stay, if they can; the rest goes by when layers were made.
    free.sort(key=lambda owner: (getattr(owner, "_assigned", None) is None, getattr(owner, "_serial", 0)))
    for owner in free:
        name = taken.free(owner.name)
        taken.add(name)
        names[id(owner)] = name
    return names


def _unique(names: Mapping[int, str], tensors: Sequence[Tensor]) -> list[str]:
    """Names of the layers that make some tensors, numbered where they are the same."""
    taken, found = base.Names(), []
    for tensor in tensors:
        owner = tensor if id(tensor) in names or tensor.origin is None else tensor.origin.owner
        name = taken.free(names[id(owner)])
        taken.add(name)
        found.append(name)
    return found
