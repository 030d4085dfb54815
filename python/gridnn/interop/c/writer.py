"""Writes a chain of layers as a C header."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import gridnn
from gridnn import _validation
from gridnn._engine import write_file
from gridnn.interop._labels import checked_activation, checked_class_names
from gridnn.interop.c.activations import activate
from gridnn.interop.c.code import Code, identifier
from gridnn.interop.c.header import CHeader, text
from gridnn.interop.c.normalizations import folded
from gridnn.interop.c.steps import RefusalError, Site, Sizes, Step, size_of
from gridnn.interop.c.table import converter_of
from gridnn.interop.c.verification import verify_outputs
from gridnn.layers.conv import Convolution
from gridnn.layers.dense import Dense
from gridnn.layers.depthwise import DepthwiseConvolution, SeparableConvolution
from gridnn.layers.normalization import BatchNormalization

if TYPE_CHECKING:
    from gridnn._graph import Graph, Node
    from gridnn.model.protocol import Model

__all__ = ["to_bytes", "write"]

_FOREIGN = {"opset_version": 17, "layout": "channels_last", "compat": None}
"""Options of other formats, which may have their defaults only."""

_MOST_ELEMENTS = 2**31 - 1
"""Of an array: `long` counts them, which has 32 bits on small devices."""

_MOST_NUMBERS = 16_000_000
"""In a file: gcc 12 takes 320 bytes of memory for each of them, and 15 seconds for a million."""


def write(
    model: Model,
    path: str | os.PathLike[str],
    *,
    activation: str | None = None,
    class_names: Sequence[str] | None = None,
    batch: int | None = None,
    verify: bool = True,
    **others: Any,
) -> CHeader:
    """Writes a model to a file, which appears whole or not at all; see `Sequential.export`."""
    for key, value in others.items():
        if type(value) is not type(_FOREIGN[key]) or value != _FOREIGN[key]:
            raise ValueError(
                f"`{key}` is an option of ONNX files: leave it out for C. Received {key}={value!r}."
            )
    if batch is not None and _validation.positive_integer(batch, "batch") != 1:
        raise ValueError(f"C files take one sample at a time: leave `batch` out. Received batch={batch!r}.")
    verify = _validation.boolean(verify, "verify")
    name = identifier(path)
    contents, header = to_bytes(model, name, activation=activation, class_names=class_names)
    if verify:
        verify_outputs(model, name, contents, header, activation)
    write_file(path, contents)
    return header


def to_bytes(
    model: Model,
    name: str,
    *,
    activation: str | None = None,
    class_names: Sequence[str] | None = None,
) -> tuple[bytes, CHeader]:
    """The contents of a header whose names begin with `name`, and what it takes."""
    with model.locked():
        _ = model.network  # raises if there is none
        graph = model.graph
        steps = _steps(model.name, graph)
        if activation is not None:
            activation = checked_activation(model, graph, activation)
        if class_names is not None:
            class_names = checked_class_names(model, graph, class_names)
        ends = [graph.nodes[numbers[0]].output_shape for numbers in (graph.inputs, graph.outputs)]
        title = f"{name}: model '{model.name}', written by gridnn {gridnn.__version__}"
        ending = activation or model.output_activation or "linear"
    source, target = (tuple(size or 0 for size in shape or ()) for shape in ends)
    if activation is not None:
        steps += _activated(activation, target)
    if not steps:
        steps.append(_copy(target))
    count = sum(step.code.numbers for step in steps)
    if count > _MOST_NUMBERS:
        raise ValueError(
            f"Model '{model.name}' has {count:,} constants, and C compilers stop at {_MOST_NUMBERS:,}: "
            "export an ONNX file."
        )
    notes = [f"The last activation is {ending}."]
    return text(name, title, steps, (source, target), class_names, notes, count)


def _steps(name: str, graph: Graph) -> list[Step]:
    """The steps of all layers.

    Raises:
        ValueError: it is no chain, or some layers cannot be written; the message names all of them.
    """
    problems = []
    for numbers, what in ((graph.inputs, "inputs"), (graph.outputs, "outputs")):
        if len(numbers) > 1:
            problems.append(f"it has {len(numbers)} {what}")
    for number in graph.inputs:
        shape = graph.nodes[number].output_shape or ()
        if None in shape:
            problems.append(f"sizes of '{graph.nodes[number].name}' are open: {(None, *shape)}")
        elif 0 in shape:
            problems.append(f"'{graph.nodes[number].name}' has no elements: {(None, *shape)}")
    # Whatever follows depends on these sizes.
    known = not problems or all(None not in (node.output_shape or (None,)) for node in graph.nodes)
    steps: list[Step] = []
    folds = _folds(graph)
    for node in graph.nodes:
        if node.number in folds.values():
            continue
        following = folds.get(node.number)
        try:
            if node.kind == "layer":
                after = None if following is None else graph.nodes[following].layer
                steps += _layer(graph, node, after, known=known)
            elif node.kind == "merge" and len(node.inputs) > 1:
                label = f"'{node.name}'" if node.layer is None else node.layer.label
                raise RefusalError(f"{label}: branches meet there")
        except RefusalError as refusal:
            problems.append(str(refusal))
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise ValueError(f"C files hold chains of layers, and model '{name}' has what they lack:\n{listed}")
    return steps


def _layer(graph: Graph, node: Node, after: Any, *, known: bool) -> list[Step]:
    layer = node.layer
    assert layer is not None
    if len(node.inputs) > 1:
        raise RefusalError(f"{layer.label}: it reads several layers")
    converter = converter_of(layer)
    if converter is None:
        if layer.merges:  # of a single tensor
            return []
        why = "it is written in Python" if layer.in_python else "there is no C for layers of this kind"
        raise RefusalError(f"{layer.label}: {why}")
    if not known:
        return []
    (before,) = graph.input_shapes(node)
    shape, output = (tuple(size or 0 for size in shape or ()) for shape in (before, node.output_shape))
    if not 0 < size_of(output) <= _MOST_ELEMENTS:
        raise RefusalError(f"{layer.label}: its output has {size_of(output):,} elements")
    site = Site(layer, shape, output, fold=None if after is None else folded(after))
    converter(site)
    assert site.shape == output, layer.label
    return site.steps


def _folds(graph: Graph) -> dict[int, int]:
    """Layers whose weights take in the batch normalization behind them: numbers of both."""
    readers: dict[int, list[Node]] = {}
    for node in graph.nodes:
        for number in node.inputs:
            readers.setdefault(number, []).append(node)
    found = {}
    for node in graph.nodes:
        layer, behind = node.layer, readers.get(node.number, [])
        if (
            isinstance(layer, (Convolution, Dense, DepthwiseConvolution, SeparableConvolution))
            and layer.activation == "linear"
            and len(behind) == 1
            and node.number not in graph.outputs
        ):
            follower = behind[0].layer
            last = len(node.output_shape or ())
            if (
                type(follower) is BatchNormalization
                and follower.axis in (-1, last)
                # Others are refused by the name of the layer that has them.
                and all(np.isfinite(numbers).all() for numbers in folded(follower))
            ):
                found[node.number] = behind[0].number
    return found


def _activated(activation: str, shape: Sizes) -> list[Step]:
    """An activation behind the last layer."""
    site = Site(_Named(activation), shape, shape)
    activate(site, activation)
    return site.steps


class _Named:
    """Stands for a layer that the model does not have."""

    def __init__(self, name: str) -> None:
        self.name = name


def _copy(shape: Sizes) -> Step:
    """The output of a model whose layers all act in training only."""
    code = Code()
    with code.loop("i", size_of(shape)):
        code.add("y[i] = x[i];")
    return Step("the input as it is", code, shape, in_place=True)
