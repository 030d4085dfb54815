"""Functional models of Keras that are no chain: as `gridnn.Model`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gridnn import layers
from gridnn._texts import quoted
from gridnn.interop.keras.graphs import OPERATIONS, check_options
from gridnn.interop.keras.items import Item
from gridnn.interop.keras.layers_in import IDENTITIES, input_shape_of, plain_name
from gridnn.layers import parts
from gridnn.layers.base import Layer
from gridnn.layers.merging import Merging
from gridnn.layers.symbolic import Tensor
from gridnn.model.functional import Model

__all__ = ["graph_model_of"]

_MERGING: dict[str, type[Merging]] = {
    "Add": layers.Add,
    "Average": layers.Average,
    "Concatenate": layers.Concatenate,
    "Dot": layers.Dot,
    "Maximum": layers.Maximum,
    "Minimum": layers.Minimum,
    "Multiply": layers.Multiply,
    "Subtract": layers.Subtract,
}

Place = tuple[str, int, int]
"""A tensor: name of the layer, number of its call, number among the outputs."""


@dataclass
class _Call:
    """A layer and what it reads."""

    item: Item
    number: int
    inputs: list[Place]
    inference: bool
    old: bool = False
    """Whether it is written as by Keras 2."""


def graph_model_of(
    model: Item, made: Callable[[Item], Layer], free: Callable[[str], str], dtype: Callable[[], str]
) -> Model:
    """A functional model, or a `Sequential` that holds one.

    Args:
        model: the model.
        made: makes a layer of ours.
        free: a name that no other layer has.
        dtype: the type of weights of the layers made so far.

    Raises:
        ValueError: what it says does not fit together.
    """
    return _Reader(model, made, free, dtype).model()


class _Reader:
    def __init__(
        self,
        model: Item,
        made: Callable[[Item], Layer],
        free: Callable[[str], str],
        dtype: Callable[[], str],
    ) -> None:
        self._model = model
        self._made = made
        self._free = free
        self._dtype = dtype
        self._tensors: dict[Place, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._models: set[str] = set()

    def model(self, name: str | None = None) -> Model:
        """The model, under a name of its own."""
        items = self._model.items or []
        if len({item.name for item in items}) != len(items):
            raise ValueError(f"model {quoted(self._model.name)} has two layers of one name")
        if self._model.kind == "Sequential":
            sources, ends = self._row(items)
        else:
            calls = [call for item in items for call in _calls(item)]
            for call in calls:
                self._counts[call.item.name] = call.number + 1
                self._models |= {call.item.name} if call.item.kind == "Functional" else set()
            for call in calls:
                call.inputs = [self._counted(place, first=int(call.old)) for place in call.inputs]
            self._follow(calls)
            sources, ends = (self._ends(key) for key in ("input_layers", "output_layers"))
        return Model(sources, ends, name=name or plain_name(self._model.name), dtype=self._dtype())

    def _counted(self, place: Place, *, first: int) -> Place:
        """A tensor, with calls of its layer counted from 0.

        Graphs have a call that made them, which Keras counts: version 2 everywhere, version 3 where it names
        the outputs of a model.
        """
        name, number, index = place
        if name in self._models and 0 <= number - first < self._counts[name]:
            return name, number - first, index
        if number == self._counts.get(name):  # of another model in version 2
            return name, number - 1, index
        return place

    def _row(self, items: Sequence[Item]) -> tuple[Any, Any]:
        """Layers one after the other, some of which are graphs."""
        shape = input_shape_of({"batch_shape": self._model.config.get("build_input_shape")})
        rest = list(items)
        if rest and rest[0].kind == "InputLayer":
            shape = input_shape_of(rest.pop(0).config)
        if shape is None:
            raise ValueError(f"model {quoted(self._model.name)} does not say what its input is")
        source: Tensor = parts.Input(shape)
        tensor = source
        for item in rest:
            if item.kind not in IDENTITIES:
                (tensor,) = self._called(self._owner(item), [tensor], inference=False, item=item)
        return source, tensor

    def _follow(self, calls: list[_Call]) -> None:
        """Calls all layers, each once it is known what it reads.

        Raises:
            ValueError: something is read that nothing makes, or there is a circle.
        """
        owners: dict[str, Any] = {}
        waiting: dict[Place, list[_Call]] = {}
        missing: dict[int, int] = {}
        ready: list[_Call] = []
        for call in calls:
            places = set(call.inputs)
            missing[id(call)] = len(places)
            for place in places:
                waiting.setdefault(place, []).append(call)
            if not places:
                ready.append(call)
        done = 0
        while ready:
            call = ready.pop()
            done += 1
            if call.item.name not in owners:
                owners[call.item.name] = self._owner(call.item)
            inputs = [self._tensors[place] for place in call.inputs]
            results = self._called(owners[call.item.name], inputs, inference=call.inference, item=call.item)
            for index, tensor in enumerate(results):
                place = (call.item.name, call.number, index)
                self._tensors[place] = tensor
                for reader in waiting.get(place, ()):
                    missing[id(reader)] -= 1
                    if not missing[id(reader)]:
                        ready.append(reader)
        if done < len(calls):
            left = next(call for call in calls if missing[id(call)])
            raise ValueError(
                f"{left.item.label} of model {quoted(self._model.name)} does not come from its input"
            )

    def _owner(self, item: Item) -> Any:
        """The layer or model that is called; None for what passes on its input."""
        if item.kind == "InputLayer":
            shape = input_shape_of(item.config)
            if shape is None:
                raise ValueError(f"{item.label} does not say what its shape is")
            return parts.Input(shape, name=plain_name(item.name))
        if item.kind in IDENTITIES:
            return None
        if item.items is not None:
            nested = _Reader(item, self._made, self._free, self._dtype)
            return nested.model(self._free(plain_name(item.name)))
        if item.kind in _MERGING and not _is_foreign(item):
            return self._merging(item)
        return self._made(item)

    def _merging(self, item: Item) -> Layer:
        config, name = item.config, self._free(plain_name(item.name))
        if item.kind == "Concatenate":
            return layers.Concatenate(config.get("axis", -1), name=name)
        if item.kind == "Dot":
            return layers.Dot(config.get("axes", -1), bool(config.get("normalize")), name=name)
        return _MERGING[item.kind](name=name)

    def _called(self, owner: Any, inputs: list[Tensor], *, inference: bool, item: Item) -> list[Tensor]:
        if isinstance(owner, parts.Input):
            return [owner]
        if owner is None:
            return inputs
        several = isinstance(owner, Merging) or len(inputs) != 1
        if len(inputs) != 1 and not isinstance(owner, (Merging, Model)):
            raise ValueError(f"{item.label} reads {len(inputs)} layers")
        operation = isinstance(owner, Merging) and item.entry.get("module") in OPERATIONS
        if operation and len({len(tensor.shape) for tensor in inputs}) > 1:
            raise ValueError(f"{item.label} puts tensors of several numbers of axes together")
        results: Any = owner(inputs if several else inputs[0], training=False if inference else None)
        results = list(results.values()) if isinstance(results, dict) else results
        return list(results) if isinstance(results, list) else [results]

    def _ends(self, key: str) -> Any:
        """Inputs or outputs, alone, in a list or in a dict, as the description has them."""
        found = self._model.config.get(key)
        kind = key.partition("_")[0]

        def tensor(place: Any) -> Tensor:
            if not (
                isinstance(place, list) and len(place) == 3 and tuple(map(type, place)) == (str, int, int)
            ):
                raise ValueError(f"model {quoted(self._model.name)}: {quoted(place)} is no {kind}")
            known = self._tensors.get(self._counted((place[0], place[1], place[2]), first=1))
            if known is None:
                raise ValueError(f"model {quoted(self._model.name)} has no {kind} {quoted(place[0])}")
            return known

        if isinstance(found, Mapping):
            return {str(name): tensor(place) for name, place in found.items()}
        if isinstance(found, list) and found and isinstance(found[0], str):
            return tensor(found)
        if not isinstance(found, list) or not found:
            raise ValueError(f"model {quoted(self._model.name)} has no {kind}s")
        tensors = [tensor(place) for place in found]
        # Keras 2 writes a list for a single one too.
        return tensors[0] if len(tensors) == 1 else tensors


def _is_foreign(item: Item) -> bool:
    module = item.entry.get("module", "keras.layers")
    if module in OPERATIONS:
        return item.kind in ("Average", "Dot")  # which do something else there
    return not str(module).startswith(("keras.", "tf_keras", "tensorflow."))


def _calls(item: Item) -> list[_Call]:
    """The calls of a layer, in both ways of writing them.

    Raises:
        ValueError: it is called with something that is no output of a layer, or with options.
    """
    nodes = item.entry.get("inbound_nodes", [])
    if not isinstance(nodes, list):
        raise ValueError(f"{item.label} is called with {quoted(nodes)}")
    if item.kind == "InputLayer":
        return [_Call(item, 0, [], inference=False)]
    calls = []
    for number, node in enumerate(nodes):
        call = _Call(item, number, [], inference=False)
        _collect(call, node)
        if not call.inputs:
            raise ValueError(f"{item.label} reads nothing")
        calls.append(call)
    return calls


def _collect(call: _Call, node: Any) -> None:
    if isinstance(node, Mapping) and node.get("class_name") == "__keras_tensor__":
        _add(call, node["config"]["keras_history"])
    elif isinstance(node, Mapping) and "args" in node:
        _options(call, node.get("kwargs", {}))
        _collect(call, node["args"])
    elif isinstance(node, list) and len(node) in (3, 4) and isinstance(node[0], str):  # of Keras 2
        call.old = True
        _add(call, node[:3])
        _options(call, node[3] if len(node) == 4 else {})
    elif isinstance(node, list):
        for part in node:
            _collect(call, part)
    elif isinstance(node, Mapping) and node and "class_name" not in node:  # inputs of a model by name
        for part in node.values():
            _collect(call, part)
    else:
        raise ValueError(f"{call.item.label} is called with {quoted(node)}, which is no output of a layer")


def _add(call: _Call, place: Sequence[Any]) -> None:
    name, number, index = place
    if not isinstance(name, str) or type(number) is not int or type(index) is not int:
        raise ValueError(f"{call.item.label} reads {quoted(place)}, which is no output of a layer")
    call.inputs.append((name, number, index))


def _options(call: _Call, options: Any) -> None:
    check_options(call.item, options)
    call.inference = call.inference or options.get("training") is False
