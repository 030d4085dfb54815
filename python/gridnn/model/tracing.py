"""From symbolic tensors to the layers of a model, in the order that Keras gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gridnn.layers.base import Layer
from gridnn.layers.symbolic import Call, Tensor

__all__ = ["Entry", "Trace", "entries_of", "trace"]


@dataclass(frozen=True, slots=True)
class Trace:
    """What is between some symbolic tensors and others."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    calls: tuple[Call, ...]
    """In topological order."""
    owners: tuple[Any, ...]
    """Inputs, layers and models, each once: as `Model.layers` lists them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the description that the engine gets: an input, a layer, or a further call of one."""

    layer: Layer | None
    """None for an input that is no `Input`."""
    name: str
    inputs: tuple[int, ...]
    """Numbers of the entries that it reads."""
    shares: int | None = None
    """Number of the entry that it is a further call of."""
    inference: bool = False
    """Whether it always acts as at inference."""


def trace(inputs: Sequence[Tensor], outputs: Sequence[Tensor], model: str) -> Trace:
    """Finds the calls that lead from inputs to outputs.

    Layers are sorted by their depth, which is the number of calls between them and the last output, then by
    when they are met on the way back from the outputs.

    Args:
        inputs: where it begins.
        outputs: where it ends.
        model: name of the model, for messages.

    Raises:
        ValueError: an output does not come from the inputs, an input leads nowhere or is given twice.
    """
    sources = {id(tensor): tensor for tensor in inputs}
    if len(sources) < len(inputs):
        raise ValueError(f"Model '{model}': an input is given twice: {', '.join(t.name for t in inputs)}.")
    nodes, met = _nodes(sources, outputs, model)
    depths: dict[int, int] = {}
    layer_depths: dict[int, int] = {}
    for node in reversed(nodes):
        owner = _owner(node)
        depth = max(depths.get(id(node), 0), layer_depths.get(id(owner), 0))
        depths[id(node)] = layer_depths[id(owner)] = depth
        for tensor in _reads(node):
            parent = _node(tensor, sources)
            depths[id(parent)] = max(depth + 1, depths.get(id(parent), 0))
    reached = {id(node) for node in nodes}
    for tensor in inputs:
        if id(tensor) not in reached:
            raise ValueError(
                f"Model '{model}': input '{tensor.name}' leads to none of the outputs "
                f"({', '.join(t.name for t in outputs)}); leave it out."
            )
    places = {id(node): place for place, node in enumerate(nodes)}

    def order(node: Call | Tensor) -> tuple[int, int, int]:
        owner = id(_owner(node))
        return -depths[id(node)], met[owner], places[id(node)]

    owners = {id(_owner(node)): _owner(node) for node in nodes}
    ranked = sorted(owners.values(), key=lambda owner: (-layer_depths[id(owner)], met[id(owner)]))
    calls = sorted((node for node in nodes if isinstance(node, Call)), key=order)
    return Trace(tuple(inputs), tuple(outputs), tuple(calls), tuple(ranked))


def _node(tensor: Tensor, sources: Mapping[int, Tensor]) -> Call | Tensor:
    """What a tensor comes from: a call, or itself if it is an input."""
    return tensor if id(tensor) in sources or tensor.origin is None else tensor.origin


def _owner(node: Call | Tensor) -> Any:
    return node.owner if isinstance(node, Call) else node


def _reads(node: Call | Tensor) -> tuple[Tensor, ...]:
    return node.inputs if isinstance(node, Call) else ()


def _nodes(
    sources: Mapping[int, Tensor], outputs: Sequence[Tensor], model: str
) -> tuple[list[Call | Tensor], dict[int, int]]:
    """Calls and inputs, each behind all that it reads; and when their layers are met."""
    found: list[Call | Tensor] = []
    met: dict[int, int] = {}
    seen: set[int] = set()
    for output in outputs:
        # By hand, since a model may be deeper than Python's stack.
        waiting: list[tuple[Call | Tensor, Iterator[Tensor]]] = []

        def visit(tensor: Tensor, waiting: list[tuple[Call | Tensor, Iterator[Tensor]]] = waiting) -> None:
            node = _node(tensor, sources)
            if id(node) in seen:
                return
            if isinstance(node, Tensor) and id(node) not in sources:
                names = ", ".join(f"'{t.name}'" for t in sources.values())
                raise ValueError(
                    f"Model '{model}': the outputs depend on input '{node.name}', which is not among the "
                    f"inputs of the model: {names}."
                )
            seen.add(id(node))
            met.setdefault(id(_owner(node)), len(met))
            waiting.append((node, iter(_reads(node))))

        visit(output)
        while waiting:
            node, rest = waiting[-1]
            tensor = next(rest, None)
            if tensor is None:
                found.append(node)
                waiting.pop()
            else:
                visit(tensor)
    return found, met


def entries_of(traced: Trace, names: Mapping[int, str]) -> tuple[list[Entry], list[int]]:
    """The entries of a model, and the numbers of those that are its outputs. Models in it are unfolded.

    Args:
        traced: the model.
        names: name of every input, layer and model in it, by ids.
    """
    entries = [
        Entry(tensor if isinstance(tensor, Layer) else None, names[id(tensor)], ())
        for tensor in traced.inputs
    ]
    numbers = {id(tensor): number for number, tensor in enumerate(traced.inputs)}
    first: dict[int, int] = {}

    def unfold(calls: Sequence[Call], known: dict[int, int], prefix: str, inference: bool, own: Any) -> None:
        counts: dict[int, int] = {}
        for call in calls:
            owner = call.owner
            quiet = inference or call.training is False
            read = [known[id(tensor)] for tensor in call.inputs]
            count = counts[id(owner)] = counts.get(id(owner), 0) + 1
            name = prefix + own(owner) + ("" if count == 1 else f" ({count})")
            if isinstance(owner, Layer):
                shares = first.setdefault(id(owner), len(entries))
                known[id(call.outputs[0])] = len(entries)
                shared = None if shares == len(entries) else shares
                entries.append(Entry(owner, name, tuple(read), shared, quiet))
                continue
            inner = owner.trace()
            inside = {id(tensor): number for tensor, number in zip(inner.inputs, read, strict=True)}
            unfold(inner.calls, inside, f"{name}/", quiet, owner.name_of)
            for made, tensor in zip(call.outputs, inner.outputs, strict=True):
                known[id(made)] = inside[id(tensor)]

    unfold(traced.calls, numbers, "", False, lambda owner: names[id(owner)])
    return entries, [numbers[id(tensor)] for tensor in traced.outputs]
