"""From steps to a model: branches become `Residual` and `Parallel`, and what is left a list of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gridnn import layers
from gridnn._config import snake_case
from gridnn.interop.onnx.reading.steps import Step
from gridnn.layers.base import Layer, Names

__all__ = ["Chain", "chain_of", "unreadable"]

_MOST_LEVELS = 30
"""Of branches within branches."""


def live(end: Step) -> list[Step]:
    """The steps that lead to the output, each behind what it reads."""
    order: list[Step] = []
    seen: set[int] = set()
    stack: list[tuple[Step, bool]] = [(end, False)]
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


class Chain:
    """Layers of a model, and the weights that they get once it is built."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.weights: list[tuple[Layer, Step]] = []
        self._names = Names(["input"])

    def layer(self, step: Step) -> Layer:
        """The layer of a step."""
        assert step.make is not None
        layer = step.make(self.name(step, type(step.make(None)).__name__))
        self.weights.append((layer, step))
        return layer

    def name(self, step: Step, kind: str) -> str:
        """The operator's name, as far as a layer can have it, else that of its class; numbered if taken."""
        text = "" if step.node is None else step.node.name
        name = "_".join(part for part in text.split("/") if part)
        if not name or not name.isprintable() or name in self._names:
            name = snake_case(kind)
        return self._claimed(name)

    def _claimed(self, name: str) -> str:
        name = self._names.free(name)
        self._names.add(name)
        return name


def chain_of(end: Step) -> Chain:
    """The layers of a model whose output this step makes.

    Raises:
        ValueError: its branches are not those of `Residual` and `Parallel`.
    """
    steps = live(end)
    forks = _forks(steps)
    chain = Chain()
    used: set[int] = set()

    def between(start: Step | None, last: Step, level: int) -> list[Layer]:
        """The layers behind `start` up to `last`."""
        if level > _MOST_LEVELS:
            raise ValueError(f"branches within branches, {level} deep")
        found: list[Layer] = []
        step = last
        while step is not start and step.op != "input":
            if id(step) in used:
                label = "" if step.node is None else f" at operator {step.node.label}"
                raise ValueError(f"branches that leave and join others halfway{label}: a Sequential has none")
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


def _merged(chain: Chain, step: Step, branches: list[list[Layer]]) -> Layer:
    kind = step.details["merge"]
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
