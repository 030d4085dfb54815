"""A model as layers of Keras that call each other, before it is written.

A layer of ours may be several there (a padding and a convolution; all that a container holds). Which weights
belong to which layer of a file follows from the order in which Keras lists the layers of a model, so that
order is found as Keras finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gridnn._network import Shape
from gridnn.interop.keras.graphs import MERGES
from gridnn.interop.keras.layers_out import OPERATIONS, Described, described
from gridnn.layers.base import Layer
from gridnn.layers.branches import Container, branches_of, merge_of
from gridnn.layers.merging import Merging
from gridnn.model.base import BaseModel
from gridnn.model.functional import Model
from gridnn.model.sequential import Sequential

__all__ = ["KerasCall", "KerasLayer", "KerasModel", "Output", "keras_model"]

_KINDS = {ours: theirs for theirs, ours in MERGES.items()}


@dataclass(eq=False)
class KerasLayer:
    """A layer, an input or a model."""

    kind: str
    name: str
    options: dict[str, Any] = field(default_factory=dict)
    layer: Layer | None = None
    """The layer of ours that has its weights."""
    model: KerasModel | None = None
    calls: list[KerasCall] = field(default_factory=list)


@dataclass(eq=False)
class KerasCall:
    """A layer applied to what others have made."""

    layer: KerasLayer
    number: int
    inputs: tuple[Output, ...]
    shapes: tuple[Shape, ...]
    """Of what it makes, for one sample."""
    several: bool = False
    """Whether it takes a list."""
    inference: bool = False


@dataclass(frozen=True)
class Output:
    """One of the tensors that a call makes."""

    call: KerasCall
    index: int = 0

    @property
    def shape(self) -> Shape:
        """Its shape for one sample."""
        return self.call.shapes[self.index]


@dataclass(eq=False)
class KerasModel:
    """A whole model."""

    name: str
    inputs: list[Output]
    outputs: list[Output]
    input_keys: list[str] | None
    output_keys: list[str] | None
    """Names by which data goes in and comes out, if that is in dicts."""
    forms: tuple[str, str]
    """How inputs and outputs are handed over: "tensor", "list" or "dict"."""
    layers: list[KerasLayer]
    """In the order of Keras."""
    graph: bool
    """Whether it was made as a graph."""

    @property
    def chain(self) -> bool:
        """Whether it is a Sequential model."""
        return not self.graph and all(
            len(layer.calls) == 1
            and layer.kind not in OPERATIONS
            and len(layer.calls[0].inputs) <= 1
            and not layer.calls[0].inference
            and len(layer.calls[0].shapes) == 1
            and (layer.model is None or layer.model.chain)
            and (number == 0 or layer.calls[0].inputs[0].call.layer is self.layers[number - 1])
            for number, layer in enumerate(self.layers)
        )


def keras_model(model: Any, problems: list[str]) -> KerasModel:
    """What a built model is in Keras.

    Args:
        model: the model.
        problems: gets what Keras lacks.
    """
    return _Tracer(model, problems, {}).traced()


class _Tracer:
    """Follows the calls of one model.

    Args:
        model: the model.
        problems: see `keras_model`.
        homes: the model, of all those that are followed, in which each layer stands.
    """

    def __init__(self, model: Any, problems: list[str], homes: dict[object, _Tracer]) -> None:
        self._model = model
        self._homes = homes
        _ = model.network  # a model that another one has called may not have its own yet
        self._graph = model.graph
        self._problems = problems
        self._layers: dict[object, list[KerasLayer]] = {}
        self._names: set[str] = set()

    def traced(self) -> KerasModel:
        """The model with all that it holds."""
        model = self._model
        graph = isinstance(model, Model) and not isinstance(model, Sequential)
        if isinstance(model, Sequential) and model.nests:
            inputs, outputs = self._graph_model(model)
            keys, forms = (None, None), ("tensor", "tensor")
        elif graph:
            inputs, outputs = self._graph_model(model)
            handed = [model.get_config()[key] for key in ("inputs", "outputs")]
            keys = handed[0]["keys"], handed[1]["keys"]
            forms = handed[0]["form"], handed[1]["form"]
        else:
            source = self._graph.nodes[self._graph.inputs[0]]
            inputs = [self._source(source.name, source.output_shape or ())]
            outputs, keys, forms = [self._chain(model.layers, inputs[0])], (None, None), ("tensor", "tensor")
        return KerasModel(model.name, inputs, outputs, *keys, forms, _ordered(outputs), graph)

    def _graph_model(self, model: Model) -> tuple[list[Output], list[Output]]:
        traced, made = model.trace(), dict[int, Output]()
        for tensor in traced.inputs:
            made[id(tensor)] = self._source(model.name_of(tensor), tensor.shape[1:])
        for call in traced.calls:
            inputs = [made[id(tensor)] for tensor in call.inputs]
            shapes = tuple(result.shape[1:] for result in call.outputs)
            name = model.name_of(call.owner)
            ends = self._called(call.owner, inputs, shapes, name, inference=call.training is False)
            made |= {id(result): end for result, end in zip(call.outputs, ends, strict=True)}
        return (
            [made[id(tensor)] for tensor in traced.inputs],
            [made[id(tensor)] for tensor in traced.outputs],
        )

    def _source(self, name: str, shape: Shape) -> Output:
        options = {"batch_shape": [None, *shape], "dtype": self._model.dtype, "name": name}
        layer = KerasLayer("InputLayer", self._free(name), options)
        options["name"] = layer.name
        return self._applied(layer, (), (shape,))

    def _chain(self, layers: Sequence[Layer], source: Output, *, inference: bool = False) -> Output:
        for layer in layers:
            shape = self._graph.node(layer).output_shape
            assert shape is not None, "the model is built"
            (source,) = self._called(layer, [source], (shape,), layer.name, inference=inference)
        return source

    def _called(
        self, owner: Any, inputs: list[Output], shapes: tuple[Shape, ...], name: str, *, inference: bool
    ) -> list[Output]:
        """What a layer or model of ours makes of tensors."""
        several = isinstance(owner, Merging)
        if isinstance(owner, BaseModel):
            several = len(inputs) > 1
            found = self._known(owner, lambda: [self._nested(owner, name)])
        elif isinstance(owner, Container):
            ends = [self._chain(branch, inputs[0], inference=inference) for branch in branches_of(owner)]
            merge = merge_of(owner)
            if merge is None or len(ends) == 1:
                return ends[:1]
            inputs, several, kind = ends, True, _KINDS[merge]
            options = {"axis": -1} if kind == "Concatenate" else {}
            found = self._known(owner, lambda: [KerasLayer(kind, self._free(name), options)])
        elif isinstance(owner, Merging):
            found = self._known(owner, lambda: [self._merging(owner, name)])
        else:
            found = self._known(owner, lambda: self._described(owner, inputs[0].shape, name))
        for layer in found[:-1]:  # whose shapes nobody asks for
            shape = (None,) * len(inputs[0].shape)
            inputs = [self._applied(layer, inputs, (shape,), inference=inference)]
        call = self._applied(found[-1], inputs, shapes, several=several, inference=inference).call
        return [Output(call, index) for index in range(len(shapes))]

    def _known(self, owner: object, made: Callable[[], list[KerasLayer]]) -> list[KerasLayer]:
        """The layers that stand for one of ours, the same ones each time that it is called."""
        if owner not in self._layers:
            home = self._homes.setdefault(owner, self)
            if home is not self:
                label = getattr(owner, "label", None) or f"model '{getattr(owner, 'name', '')}'"
                self._problems.append(
                    f"{label}: it stands in model '{home._model.name}' and in model '{self._model.name}', "
                    "and files of Keras would give each of them one of its own"
                )
            self._layers[owner] = made()
        return self._layers[owner]

    def _nested(self, owner: Any, name: str) -> KerasLayer:
        model = _Tracer(owner, self._problems, self._homes).traced()
        model.name = self._free(name)
        # As it is called here: with tensors one after the other.
        model.input_keys = model.output_keys = None
        ends = (model.inputs, model.outputs)
        model.forms = ("tensor" if len(ends[0]) == 1 else "list", "tensor" if len(ends[1]) == 1 else "list")
        return KerasLayer("Sequential" if model.chain else "Functional", model.name, model=model)

    def _merging(self, owner: Merging, name: str) -> KerasLayer:
        options = {key: getattr(owner, key) for key in owner.config_fields}
        kind = type(owner).__name__
        if owner.in_python:
            self._problems.append(f"{owner.label}: it is written in Python, for gridnn")
        return KerasLayer(kind, self._free(name), options)

    def _described(self, owner: Layer, shape: Shape, name: str) -> list[KerasLayer]:
        try:
            found: list[Described] = described(owner, shape)
        except ValueError as error:
            self._problems.append(str(error))
            return [KerasLayer("", self._free(name), layer=owner)]
        made = []
        for kind, given, options in found:
            main = given == owner.name
            own = self._free(name if main else given)
            made.append(KerasLayer(kind, own, {**options, "name": own}, owner if main else None))
        return made

    def _applied(
        self,
        layer: KerasLayer,
        inputs: Sequence[Output],
        shapes: tuple[Shape, ...],
        *,
        several: bool = False,
        inference: bool = False,
    ) -> Output:
        layer.options.setdefault("name", layer.name)
        call = KerasCall(layer, len(layer.calls), tuple(inputs), shapes, several, inference)
        layer.calls.append(call)
        return Output(call)

    def _free(self, name: str) -> str:
        """A name that no other layer of the model has."""
        number, found = 0, name
        while found in self._names:
            number += 1
            found = f"{name}_{number}"
        self._names.add(found)
        return found


def _ordered(outputs: Sequence[Output]) -> list[KerasLayer]:
    """The layers by depth, then as they are met on the way back from the outputs.

    The depth of a layer is the length of the longest way from one of its calls to an output.
    """
    met: dict[KerasLayer, int] = {}
    finished: list[KerasCall] = []
    seen: set[KerasCall] = set()
    for output in outputs:
        stack = [(output.call, 0)]
        while stack:  # depth first, without recursion: models have thousands of layers
            call, place = stack.pop()
            if place == 0:
                if call in seen:
                    continue
                seen.add(call)
                met.setdefault(call.layer, len(met))
            if place < len(call.inputs):
                stack += [(call, place + 1), (call.inputs[place].call, 0)]
            else:
                finished.append(call)
    depths: dict[KerasCall, int] = {}
    of_layers: dict[KerasLayer, int] = {}
    for call in reversed(finished):
        depth = max(depths.get(call, 0), of_layers.get(call.layer, 0))
        depths[call] = of_layers[call.layer] = depth
        for tensor in call.inputs:
            depths[tensor.call] = max(depth + 1, depths.get(tensor.call, 0))
    return sorted(met, key=lambda layer: (-of_layers[layer], met[layer]))
