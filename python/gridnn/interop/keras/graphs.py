"""Graphs of functional models: as containers of ours, and in the order in which Keras counts layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gridnn import layers
from gridnn._texts import quoted
from gridnn.interop.keras.items import Item
from gridnn.interop.keras.layers_in import IDENTITIES, input_shape_of, plain_name
from gridnn.layers.base import Layer
from gridnn.layers.branches import Container, branches_of, merge_of

__all__ = [
    "MERGES",
    "OPERATIONS",
    "Call",
    "calls_of",
    "chain_of",
    "check_options",
    "source_of",
]

T = TypeVar("T")

MERGES = {
    "Add": "add",
    "Concatenate": "concat",
    "Multiply": "multiply",
    "Average": "average",
    "Maximum": "maximum",
}
"""Classes that put branches together, and our words for them."""

OPERATIONS = {"keras.src.ops.numpy", "keras.ops"}
"""Modules of ``x + y`` and the like."""


@dataclass(frozen=True)
class _Call:
    """A layer and the layers that it reads."""

    item: Item
    inputs: tuple[str, ...]
    rank: int | None
    """Axes of what it reads, that of the batch included, if the file says so."""


def source_of(model: Item) -> tuple[str, tuple[int | None, ...] | None]:
    """Name of the only input of a functional model, and the shape of a sample.

    Raises:
        ValueError: there are several inputs.
    """
    name = _only(model, "input_layers")
    item = next((item for item in model.items or () if item.name == name), None)
    return name, None if item is None else input_shape_of(item.config)


def chain_of(model: Item, made: Callable[[Item], Layer]) -> list[Layer]:
    """The layers of a functional model one after the other, branches in `Residual` and `Parallel`.

    Args:
        model: the model.
        made: makes a layer of ours.

    Raises:
        ValueError: its graph is not made of branches that begin and end in common places.
    """
    calls = {item.name: _call(item) for item in model.items or ()}
    if len(calls) != len(model.items or ()):
        raise ValueError(f"model {quoted(model.name)} has two layers of one name")
    source, end = _only(model, "input_layers"), _only(model, "output_layers")
    builder = _Builder(model, calls, source, made)
    chain = builder.chain(source, end)
    unused = [name for name in calls if name not in builder.used and name != source]
    if unused:
        raise builder.refused(
            f"what comes out of {quoted(unused[0])} leads nowhere, or is read in another order"
        )
    return chain


def _only(model: Item, key: str) -> str:
    """The name of the only input or output."""
    found = model.config.get(key)
    while isinstance(found, list) and len(found) == 1:
        found = found[0]
    if isinstance(found, Mapping) and len(found) == 1:
        found = next(iter(found.values()))
    if isinstance(found, list) and len(found) == 3 and isinstance(found[0], str):
        return found[0]
    kind = key.partition("_")[0]
    raise ValueError(
        f"model {quoted(model.name)} has several {kind}s, or none: models of one {kind} are read"
    )


def _call(item: Item) -> _Call:
    nodes = item.entry.get("inbound_nodes", [])
    if not isinstance(nodes, list) or len(nodes) > 1:
        raise ValueError(f"{item.label} is called several times: layers that share weights are not read")
    inputs: list[tuple[str, int | None]] = []
    if nodes:
        _collect(item, nodes[0], inputs)
    return _Call(item, tuple(name for name, _ in inputs), inputs[0][1] if inputs else None)


def _collect(item: Item, node: Any, inputs: list[tuple[str, int | None]]) -> None:
    """What one call of a layer reads, in both ways of writing it."""
    if isinstance(node, Mapping) and node.get("class_name") == "__keras_tensor__":
        config = node["config"]
        name, number, index = config["keras_history"]
        shape = config.get("shape")
        inputs.append((_plain(item, name, number, index), len(shape) if isinstance(shape, list) else None))
    elif isinstance(node, Mapping) and "args" in node:
        check_options(item, node.get("kwargs", {}))
        _collect(item, node["args"], inputs)
    elif isinstance(node, list) and len(node) in (3, 4) and isinstance(node[0], str):  # of Keras 2
        inputs.append((_plain(item, *node[:3]), None))
        check_options(item, node[3] if len(node) == 4 else {})
    elif isinstance(node, list):
        for part in node:
            _collect(item, part, inputs)
    else:
        raise ValueError(f"{item.label} is called with {str(node)[:100]}, which is no output of a layer")


def _plain(item: Item, name: Any, number: Any, index: Any) -> str:
    if not isinstance(name, str) or index != 0:
        raise ValueError(f"{item.label} reads one of several outputs of {quoted(name)}")
    return name


def check_options(item: Item, options: Any) -> None:
    """Refuses calls with options that change the outputs."""
    if not isinstance(options, Mapping):
        raise ValueError(f"{item.label} is called with options {options!r}")
    for name, value in options.items():
        if value is not None and name not in ("training", "name"):
            raise ValueError(f"{item.label} is called with {name}={str(value)[:100]}, which is not supported")


class _Builder:
    """Takes a graph apart from its end."""

    def __init__(
        self, model: Item, calls: Mapping[str, _Call], source: str, made: Callable[[Item], Layer]
    ) -> None:
        self._model = model
        self._calls = calls
        self._made = made
        self.used: set[str] = set()
        self._fork = self._forks(source)

    def refused(self, reason: str) -> ValueError:
        return ValueError(
            f"model {quoted(self._model.name)} is a graph that layers, Residual and Parallel in "
            "a row do not make: "
            f"{reason}"
        )

    def _forks(self, source: str) -> dict[str, str]:
        """For every layer the last one before it that all ways from the input go through.

        These are immediate dominators (Cooper, Harvey and Kennedy, 2001).
        """
        level, fork = {source: 0}, {source: source}
        for name in self._ordered(source):
            common: str | None = None
            for before in self._calls[name].inputs:
                if common is None:
                    common = before
                while common != before:
                    if level[common] >= level[before]:
                        common = fork[common]
                    else:
                        before = fork[before]
            assert common is not None
            fork[name], level[name] = common, level[common] + 1
        return fork

    def _ordered(self, source: str) -> list[str]:
        """Layers behind what they read.

        Raises:
            ValueError: there is a circle, or a layer that does not come from the input.
        """
        waiting = {name: set(call.inputs) for name, call in self._calls.items() if name != source}
        readers: dict[str, list[str]] = {}
        for name, inputs in waiting.items():
            for before in inputs:
                readers.setdefault(before, []).append(name)
        order, ready = [], [source]
        while ready:
            done = ready.pop()
            for name in readers.get(done, ()):
                waiting[name].discard(done)
                if not waiting[name]:
                    order.append(name)
                    ready.append(name)
                    del waiting[name]
        if waiting:
            raise self.refused(f"{quoted(next(iter(waiting)))} does not come from its input")
        return order

    def chain(self, start: str, end: str) -> list[Layer]:
        found: list[Layer] = []
        while end != start:
            if end in self.used or end not in self._fork:
                raise self.refused(f"{quoted(end)} is part of two branches")
            self.used.add(end)
            call = self._calls[end]
            if _is_merge(call.item):
                fork = self._fork[end]
                found.append(self._merge(call, [self.chain(fork, before) for before in call.inputs]))
                end = fork
            elif len(call.inputs) == 1:
                if call.item.kind not in IDENTITIES:
                    found.append(self._made(call.item))
                end = call.inputs[0]
            else:
                raise self.refused(f"{quoted(end)} ({call.item.kind}) reads {len(call.inputs)} layers")
        return found[::-1]

    def _merge(self, call: _Call, branches: list[list[Layer]]) -> Layer:
        kind, name = MERGES[call.item.kind], plain_name(call.item.name)
        if kind == "concat":
            axis = call.item.config.get("axis", -1)
            rank = call.rank
            if rank is None:  # Keras 2 does not write shapes
                _, shape = source_of(self._model)
                rank = len(shape) + 1 if shape else None
            if axis not in (-1, None if rank is None else rank - 1):
                raise ValueError(
                    f"{call.item.label} joins axis {axis}, and only the last one can be joined here"
                )
        if kind == "add" and len(branches) == 2 and any(branches):
            main, shortcut = branches if branches[0] else branches[::-1]
            return layers.Residual(main, shortcut or None, name=name)
        return layers.Parallel(branches, kind, name=name)


def _is_merge(item: Item) -> bool:
    module = item.entry.get("module", "keras.layers")
    if module in OPERATIONS:  # whose Average has weights
        return item.kind in MERGES and item.kind != "Average"
    return item.kind in MERGES and str(module).startswith(("keras.", "tf_keras"))


@dataclass(eq=False)
class Call:
    """A layer of a model and those that it reads, chains within it being models of their own."""

    layer: Layer | None
    """None for the input."""
    inputs: list[Call] = field(default_factory=list)


def calls_of(stack: Sequence[Layer]) -> list[tuple[Call, int]]:
    """The layers of a model in the order of Keras: by depth, then as they are met from the end.

    The depth of a layer is the length of the longest way from it to the output, and goes with it. Chains
    within a model are models of their own. In which order layers of one depth are depends on the order of
    the branches.
    """
    return _by_depth(_called(stack, Call(None)), lambda call: call.inputs)


def _called(stack: Sequence[Layer], source: Call) -> Call:
    for layer in stack:
        if isinstance(layer, Container) and merge_of(layer) is not None:
            ends = [_called(branch, source) for branch in branches_of(layer)]
            source = ends[0] if len(ends) == 1 else Call(layer, ends)
        else:
            source = Call(layer, [source])
    return source


def _by_depth(end: T, inputs_of: Callable[[T], Sequence[T]]) -> list[tuple[T, int]]:
    met: dict[T, int] = {}
    finished: list[T] = []
    stack: list[tuple[T, int]] = [(end, 0)]
    while stack:  # depth first, without recursion: models have thousands of layers
        node, place = stack.pop()
        met.setdefault(node, len(met))
        inputs = inputs_of(node)
        if place < len(inputs):
            stack.append((node, place + 1))
            if inputs[place] not in met:
                stack.append((inputs[place], 0))
        else:
            finished.append(node)
    depth = dict.fromkeys(met, 0)
    for node in reversed(finished):
        for before in inputs_of(node):
            depth[before] = max(depth[before], depth[node] + 1)
    order = sorted(finished, key=lambda node: (-depth[node], met[node]))
    return [(node, depth[node]) for node in order]
