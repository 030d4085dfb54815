"""From steps to layers: a list, with branches as `Residual` and `Parallel`, or a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gridnn import layers
from gridnn._config import snake_case
from gridnn.interop.onnx.reading.steps import Step
from gridnn.layers import parts
from gridnn.layers.base import Layer, Names
from gridnn.layers.branches import MERGES
from gridnn.layers.merging import Merging
from gridnn.layers.symbolic import Tensor

__all__ = ["Chain", "NoChainError", "Tensors", "chain_of", "graph_of", "live", "unreadable"]

_MOST_LEVELS = 30
"""Of branches within branches."""


def live(*ends: Step) -> list[Step]:
    """The steps that lead to the outputs, each behind what it reads."""
    order: list[Step] = []
    seen: set[int] = set()
    stack: list[tuple[Step, bool]] = [(end, False) for end in reversed(ends)]
    while stack:
        step, read = stack.pop()
        if read:
            order.append(step)
        elif id(step) not in seen:
            seen.add(id(step))
            stack.append((step, True))
            stack.extend((source, False) for source in step.inputs)
    return order


def unreadable(steps: Sequence[Step]) -> list[str]:
    """The operators among them that are no layer."""
    found = [step for step in steps if step.make is None and step.op not in ("input", "merge")]
    return [f"{step.node.label}: there is no layer for it" for step in found if step.node is not None]


class NoChainError(ValueError):
    """A graph that layers one after the other do not make."""


class Chain:
    """Layers of a model, and the weights that they get once it is built."""

    def __init__(self, taken: Sequence[str] = ("input",)) -> None:
        self.layers: list[Layer] = []
        self.weights: list[tuple[Layer, Step]] = []
        self._names = Names(taken)

    def layer(self, step: Step, given: str | None = None) -> Layer:
        """The layer of a step; it has the operator's name if it is not given one."""
        assert step.make is not None
        layer = step.make(given or self.name(step, type(step.make(None)).__name__))
        self.weights.append((layer, step))
        return layer

    def name(self, step: Step, kind: str) -> str:
        """The operator's name, as far as a layer can have it, else that of its class; numbered if taken."""
        text = "" if step.node is None else step.node.name
        name = "_".join(part for part in text.split("/") if part)
        if not name or not name.isprintable() or name in self._names:
            name = snake_case(kind)
        return self.free(name)

    def free(self, name: str) -> str:
        """A name that nothing else has, numbered if this one is taken."""
        name = self._names.free(name)
        self._names.add(name)
        return name


def chain_of(end: Step) -> Chain:
    """The layers of a model whose output this step makes.

    Raises:
        NoChainError: its branches are not those of `Residual` and `Parallel`.
    """
    steps = live(end)
    forks = _forks(steps)
    chain = Chain()
    used: set[int] = set()

    def between(start: Step | None, last: Step, level: int) -> list[Layer]:
        """The layers behind `start` up to `last`."""
        if level > _MOST_LEVELS:
            raise NoChainError(f"branches within branches, {level} deep")
        found: list[Layer] = []
        step = last
        while step is not start and step.op != "input":
            if id(step) in used:
                label = "" if step.node is None else f" at operator {step.node.label}"
                raise NoChainError(f"branches that leave and join others halfway{label}")
            used.add(id(step))
            if step.op == "merge":
                fork = forks[id(step)]
                branches = [between(fork, source, level + 1)[::-1] for source in step.inputs]
                found.append(_merged(chain, step, branches))
                if fork is None:
                    break
                step = fork
            else:
                found.append(chain.layer(step))
                step = step.inputs[0]
        return found

    chain.layers = between(None, end, 0)[::-1]
    return chain


@dataclass
class Tensors:
    """A model that is no chain, between symbolic tensors."""

    inputs: list[Tensor]
    outputs: list[Tensor]
    chain: Chain
    """Whose layers get weights."""


def graph_of(sources: Mapping[str, Step], ends: Mapping[str, Step]) -> Tensors:
    """The layers of a model of any structure, called on symbolic tensors.

    Args:
        sources: name of an input -> its step.
        ends: name of an output -> the step that makes it.
    """
    several = len(ends) > 1
    taken = Names()
    names = {id(step): taken.free(_plain(name) or "input") for name, step in sources.items()}
    for name in names.values():
        taken.add(name)
    if several:  # where the operator that makes it is called otherwise
        for name, step in ends.items():
            plain = _plain(name)
            if plain and plain not in taken and step.op != "input" and id(step) not in names:
                names[id(step)] = plain
                taken.add(plain)
    chain = Chain(list(names.values()))
    shared = _Shared()
    made: dict[int, Tensor] = {}
    for step in sources.values():
        made[id(step)] = parts.Input(step.shape, name=names[id(step)])
    for step in live(*ends.values()):
        if step.op == "input":
            continue
        read = [made[id(source)] for source in step.inputs]
        given = names.get(id(step))
        if step.op == "merge":
            layer = _merging(chain, step, given)
            made[id(step)] = read[0] if len(read) == 1 else layer(read)
        else:
            made[id(step)] = shared.layer(chain, step, given)(read[0])
    outputs = []
    for name, step in ends.items():
        tensor = made[id(step)]
        if step.op == "input":  # no layer of the file stands between
            tensor = layers.Activation("linear", name=chain.free(_plain(name) or "output"))(tensor)
        outputs.append(tensor)
    return Tensors([made[id(step)] for step in sources.values()], outputs, chain)


class _Shared:
    """Layers that are called again: operators that read the same constants and do the same with them."""

    def __init__(self) -> None:
        self._met: dict[Any, list[tuple[Step, Layer]]] = {}

    def layer(self, chain: Chain, step: Step, given: str | None) -> Layer:
        """The layer of a step."""
        if step.node is None or not step.weights:
            return chain.layer(step, given)
        known = self._met.setdefault((step.op, step.node.inputs[1:]), [])
        for other, layer in known:
            if _alike(other, step):
                return layer
        layer = chain.layer(step, given)
        known.append((step, layer))
        return layer


def _alike(one: Step, other: Step) -> bool:
    """Whether two steps are one layer."""
    if one.make is None or other.make is None or one.weights.keys() != other.weights.keys():
        return False
    configs = [{**step.make("x").get_config()} for step in (one, other) if step.make is not None]
    return configs[0] == configs[1] and all(
        np.array_equal(array, other.weights[name]) for name, array in one.weights.items()
    )


def _plain(name: str) -> str:
    """A name of the file's as far as a layer can have it; else none."""
    plain = "_".join(part for part in name.split("/") if part)
    return plain if plain.isprintable() else ""


_MERGING: dict[str, type[Merging]] = {
    "add": layers.Add,
    "average": layers.Average,
    "maximum": layers.Maximum,
    "minimum": layers.Minimum,
    "multiply": layers.Multiply,
    "subtract": layers.Subtract,
}


def _merging(chain: Chain, step: Step, given: str | None) -> Merging:
    kind, details = step.details["merge"], step.details
    name = given or chain.name(step, {"concat": "Concatenate"}.get(kind, kind.capitalize()))
    if kind == "dot":
        return layers.Dot(details["axes"], details.get("normalize", False), name=name)
    if kind == "concat":
        axis = details["axis"]
        return layers.Concatenate(-1 if axis == step.rank - 1 else axis + 1, name=name)
    return _MERGING[kind](name=name)


def _merged(chain: Chain, step: Step, branches: list[list[Layer]]) -> Layer:
    kind, axis = step.details["merge"], step.details.get("axis")
    alike = step.details["alike"] or (kind == "concat" and axis == step.rank - 1)
    if kind not in MERGES or not alike:
        raise NoChainError("branches that only a graph puts together")
    if kind == "add" and len(branches) == 2:
        main, shortcut = branches if branches[0] else branches[::-1]
        return layers.Residual(main, shortcut or None, name=chain.name(step, "Residual"))
    return layers.Parallel(branches, kind, name=chain.name(step, "Parallel"))


def _forks(steps: Sequence[Step]) -> dict[int, Any]:
    """For each step the nearest one that all ways to it lead through (Cooper, Harvey and Kennedy, 2001)."""
    place = {id(step): number for number, step in enumerate(steps)}
    above: dict[int, Step | None] = {}
    for step in steps:
        sources = list(step.inputs)
        if not sources:
            above[id(step)] = None
            continue
        common: Step | None = sources[0]
        for source in sources[1:]:
            other: Step | None = source
            while common is not other and common is not None and other is not None:
                if place[id(common)] > place[id(other)]:
                    common = above[id(common)]
                else:
                    other = above[id(other)]
            if common is not other:
                common = None
        above[id(step)] = common
    return above
