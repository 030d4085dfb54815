"""`from_onnx`: models from ONNX files."""

from __future__ import annotations

import os
from typing import Any

from gridnn import _validation, layers
from gridnn._texts import printable, quoted
from gridnn.initializers import undrawn
from gridnn.interop._values import check_values
from gridnn.interop.onnx.reading import elementwise, normalizations, shapes, windows
from gridnn.interop.onnx.reading.files import Node, Source, read
from gridnn.interop.onnx.reading.folding import FOLDS, folded
from gridnn.interop.onnx.reading.steps import (
    HANDLERS,
    Graph,
    Step,
    Unreadable,
    View,
    first,
    new_view,
)
from gridnn.interop.onnx.reading.structure import (
    Chain,
    NoChainError,
    chain_of,
    graph_of,
    live,
    unreadable,
)
from gridnn.model.functional import Model
from gridnn.model.sequential import Sequential
from gridnn.model.trainable import TrainableModel

__all__ = ["from_onnx"]

_HANDLING = (elementwise, normalizations, shapes, windows)  # which enter their functions into HANDLERS

_ORDERLESS = frozenset(
    [
        "Add",
        "Cast",
        "Clip",
        "Div",
        "Dropout",
        "Elu",
        "Exp",
        "Identity",
        "LeakyRelu",
        "Mul",
        "Pad",
        "Relu",
        "Sigmoid",
        "Sub",
        "Tanh",
    ]
)
"""Operators that work alike with channels first and last."""

_CHANNELS_FIRST = frozenset(
    [
        "AveragePool",
        "BatchNormalization",
        "Conv",
        "ConvTranspose",
        "Flatten",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "GroupNormalization",
        "InstanceNormalization",
        "MaxPool",
        "Resize",
        "Upsample",
    ]
)
"""Operators that take channels behind the batch."""


def from_onnx(path: str | os.PathLike[str], *, layout: str = "channels_last") -> TrainableModel:
    """Reads the model in an ONNX file of any exporter, operator sets 9 to 21.

    With one input and one output, and branches such as `Residual` and `Parallel` have, it is a `Sequential`;
    else a `Model`, with inputs and outputs in the order of the file and of the same names. Weights become
    those of layers, so that training can go on: compile the model first. Many exporters fold batch
    normalizations into the convolutions before them. These are gone then, and training goes on without them.
    A scale or a shift of channels that no other layer takes becomes a `BatchNormalization` that is not
    trained.

    Nothing in a file is executed, and it is checked before anything is made of it; weights in other files are
    read if they lie in the same folder or below. Names of classes that a file of ours has are the model's.

    Args:
        path: the file.
        layout: order of the axes of what goes in and out. "channels_last": as everywhere here, also where the
            file has channels first. "channels_first": ``(batch, channels, ...)``. Files of ours say which
            they have; of others it is read off the first operators.

    Returns:
        The model, in float32.

    Raises:
        ValueError: some operators have no layer; the message lists all of them.
        FileFormatError: it is no ONNX file, or damaged.
        ImportError: the package onnx is not installed.
        OSError: the file cannot be read.

    Example:
        >>> model = gn.from_onnx("net.onnx")  # doctest: +SKIP
    """
    layout = _validation.choice(layout, "layout", ("channels_last", "channels_first"))
    source = read(_validation.path(path, "path"))
    place = os.fsdecode(path)
    if not source.inputs:
        raise ValueError(f"{place} has no inputs: its outputs are always the same.")
    with undrawn():
        found, problems = _followed(source, layout)
        if problems:
            lines = printable("\n  ".join(problems[:50]))
            more = f"\n  and {len(problems) - 50} more" if len(problems) > 50 else ""
            raise ValueError(f"{place} has operators for which there are no layers:\n  {lines}{more}")
        assert found is not None
        try:
            return _model(source, *found)
        except (ValueError, TypeError, MemoryError) as error:
            raise ValueError(f"{place}: {printable(str(error))}") from error


Steps = dict[str, Step]
"""Name of an input or output -> its step."""


def _model(source: Source, inputs: Steps, ends: Steps) -> TrainableModel:
    name = source.name if source.name.isprintable() and "/" not in source.name else None
    model: TrainableModel
    chain = _chain(inputs, ends)
    if chain is not None:
        (first_input,) = inputs.values()
        if not chain.layers:
            chain.layers.append(layers.Activation("linear"))
        model = Sequential([layers.Input(first_input.shape), *chain.layers], name=name or None)
    else:
        graph = graph_of(inputs, ends)
        several = len(ends) > 1
        model = Model(
            graph.inputs if len(inputs) > 1 else graph.inputs[0],
            graph.outputs if several else graph.outputs[0],
            name=name or None,
        )
        chain = graph.chain
    for layer, step in chain.weights:
        for weight, values in step.weights.items():
            check_values(values, f"{weight} of {layer.label}", variance=weight == "moving_variance")
            setattr(layer, weight, values)
        if not step.trainable:
            layer.trainable = False
    if source.class_names is not None and len(ends) == 1:
        outputs = model.output_shape[-1]
        if len(source.class_names) == (2 if outputs == 1 else outputs):
            model.class_names = source.class_names
    return model


def _chain(inputs: Steps, ends: Steps) -> Chain | None:
    """The layers one after the other, if that is what they are."""
    if len(inputs) > 1 or len(ends) > 1:
        return None
    (end,) = ends.values()
    try:
        return chain_of(end)
    except NoChainError:
        return None


def _followed(source: Source, layout: str) -> tuple[tuple[Steps, Steps] | None, list[str]]:
    """The steps of inputs and outputs, or what cannot be read."""
    graph = Graph(source)
    problems: list[str] = []
    values: dict[str, Any] = {"": None, **source.constants}
    inputs: Steps = {}
    for name, sizes in source.inputs.items():
        if len(sizes) < 2:
            problems.append(
                f"input {quoted(name)} has {len(sizes)} axes: a batch and at least another one are needed"
            )
            continue
        try:
            inputs[name], values[name] = _input(graph, source, name, layout)
        except Unreadable as error:
            problems.append(f"input {quoted(name)}: {error}")
    if problems:
        return None, problems
    for node in source.nodes:
        given = [values[key] for key in node.inputs]
        if any(values[key] is None for key in node.inputs if key):
            results: Any = None  # behind one that cannot be read
        else:
            try:
                results = _computed(graph, node, given)
            except Unreadable as error:
                problems.append(f"{node.label}: {error}")
                results = None
        values.update(dict.fromkeys(node.outputs))
        if node.outputs:
            values[node.outputs[0]] = results
    if problems:
        return None, problems
    ends: Steps = {}
    for name in source.outputs:
        end = values.get(name)
        if not isinstance(end, View):
            problems.append(f"output {quoted(name)}: it does not come from the input")
            continue
        try:
            ends[name] = _output(graph, end, layout)
        except Unreadable as error:
            problems.append(f"output {quoted(name)}: {error}")
    if problems:
        return None, problems
    return (inputs, ends), unreadable(live(*ends.values()))


def _computed(graph: Graph, node: Node, inputs: list[Any]) -> Any:
    if any(isinstance(x, View) for x in inputs):
        handler = HANDLERS.get(node.op)
        if handler is None:
            raise Unreadable("there is no layer for it")
        try:
            return handler(graph, node, inputs)
        except (IndexError, KeyError, ValueError, TypeError, OverflowError) as error:
            raise Unreadable(f"its inputs or attributes do not fit: {error}") from error
    if node.op not in FOLDS:
        raise Unreadable("there is no layer for it")
    return folded(node, inputs)


def _input(graph: Graph, source: Source, name: str, layout: str) -> tuple[Step, View]:
    """What an input is outside, and what the operators see of it."""
    sizes = source.inputs[name][1:]
    rank = len(sizes)
    turned = rank > 1 and _has_channels_first(source, name)
    own = (*sizes[1:], sizes[0]) if turned else sizes
    if layout == "channels_first" and rank > 1:
        outside = Step("input", (), (own[-1], *own[:-1]))
        step = graph.permuted(None, outside, (*range(1, rank), 0))
    else:
        outside = step = Step("input", (), own)
    return outside, new_view(step, channels_first=turned)


def _has_channels_first(source: Source, first_name: str) -> bool:
    """Whether an input has channels behind the batch, going by the first operators that care."""
    if source.layout is not None:
        return source.layout == "channels_first"
    sizes = source.inputs[first_name]
    to_last = [0, *range(2, len(sizes)), 1]
    names, seen = [first_name], {first_name}
    while names:
        for node in source.readers.get(names.pop(), ()):
            behind = [reader.op for output in node.outputs for reader in source.readers.get(output, ())]
            groups = node.op == "Reshape" and behind == ["InstanceNormalization"]
            turned = node.op == "Transpose" and len(sizes) > 3 and node.attributes.get("perm") == to_last
            if node.op in _CHANNELS_FIRST or groups or turned:
                return True
            if node.op in _ORDERLESS:
                fresh = [output for output in node.outputs if output not in seen]
                seen.update(fresh)
                names += fresh
    return False


def _output(graph: Graph, end: View, layout: str) -> Step:
    """What the model puts out: a grid with channels where they are wanted."""
    if end.groups is not None:
        raise Unreadable("it consists of groups of channels")
    plain = not end.flat and end.perm == tuple(range(end.step.rank))
    said = graph.source.layout
    if end.step.rank > 1 and not end.flat and said == "channels_first":
        step = graph.grid(None, end)
    elif plain or (end.channels_first and said is None):
        step = end.step
    else:
        step = graph.plain(None, end)
    if layout == "channels_first" and step.rank > 1:
        return graph.permuted(None, step, first(step.rank))
    return step
