"""Writes a model as an ONNX file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gridnn
from gridnn import _validation
from gridnn._engine import write_file
from gridnn._network import Shape
from gridnn.interop._labels import checked_activation, checked_class_names
from gridnn.interop.onnx.builder import Builder, Site
from gridnn.interop.onnx.merging import merged
from gridnn.interop.onnx.package import require
from gridnn.interop.onnx.table import converter_of
from gridnn.interop.onnx.tensors import Order, Tensor, made
from gridnn.interop.onnx.verification import verify_outputs

if TYPE_CHECKING:
    from gridnn._graph import Graph, Node
    from gridnn.model.protocol import Model

__all__ = ["to_bytes", "write"]

IR_VERSIONS = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10}
"""Operator set -> version of the file format. `onnx` would write its newest, which runtimes refuse."""

_ORDERS: dict[str, Order] = {"channels_last": "last", "channels_first": "first"}

_MOST_BYTES = 2**31 - 1
"""Of a protobuf message."""


def write(
    model: Model,
    path: str | os.PathLike[str],
    *,
    opset_version: int = 17,
    layout: str = "channels_last",
    activation: str | None = None,
    class_names: Sequence[str] | None = None,
    batch: int | None = None,
    compat: str | None = None,
    verify: bool = True,
) -> None:
    """Writes a model to a file, which appears whole or not at all; see `Sequential.export`."""
    verify = _validation.boolean(verify, "verify")
    contents = to_bytes(
        model,
        opset_version=opset_version,
        layout=layout,
        activation=activation,
        class_names=class_names,
        batch=batch,
        compat=compat,
    )
    if verify:
        require("onnx.checker").check_model(contents, full_check=True)
        verify_outputs(model, contents, _ORDERS[layout], activation)
    write_file(path, contents)


def to_bytes(
    model: Model,
    *,
    opset_version: int = 17,
    layout: str = "channels_last",
    activation: str | None = None,
    class_names: Sequence[str] | None = None,
    batch: int | None = None,
    compat: str | None = None,
) -> bytes:
    """The contents of the file."""
    helper = require("onnx.helper")
    opset = _validation.integer(opset_version, "opset_version")
    if opset not in IR_VERSIONS:
        raise ValueError(f"`opset_version` must be from 13 to 21. Received opset_version={opset_version!r}.")
    order = _ORDERS[_validation.choice(layout, "layout", tuple(_ORDERS))]
    batch = None if batch is None else _validation.positive_integer(batch, "batch")
    symmetric = compat is not None and _validation.choice(compat, "compat", ("symmetric",)) == "symmetric"
    with model.locked():
        _ = model.network  # raises if there is none
        graph = model.graph
        if activation is not None:
            activation = checked_activation(model, graph, activation)
        metadata = _metadata(model, graph, layout, activation, class_names)
        names = model.input_names, model.output_names
        writer = _Writer(graph, names, opset, symmetric=symmetric, order=order, batch=batch)
        protobuf = writer.written(model.name, activation)
    message = helper.make_model(
        protobuf,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=IR_VERSIONS[opset],
        producer_name="gridnn",
        producer_version=gridnn.__version__,
    )
    helper.set_model_props(message, metadata)
    return bytes(message.SerializeToString(deterministic=True))


def _metadata(
    model: Model, graph: Graph, layout: str, activation: str | None, class_names: Sequence[str] | None
) -> dict[str, str]:
    """What a program that reads the file cannot see from its operators."""
    properties = {
        "layout": layout,
        "output_activation": activation or model.output_activation or "linear",
    }
    if class_names is not None:
        names = checked_class_names(model, graph, class_names)
        properties["class_names"] = json.dumps(names, ensure_ascii=False)
    return properties


class _Writer:
    """Writes the graph of a model.

    Args:
        graph: the model's.
        names: what the model calls its inputs and its outputs.
        opset: version of the operator set.
        symmetric: see `Builder`.
        order: where inputs and outputs have their channels.
        batch: size of the batch; None leaves it open.
    """

    def __init__(
        self,
        graph: Graph,
        names: tuple[Sequence[str], Sequence[str]],
        opset: int,
        *,
        symmetric: bool,
        order: Order,
        batch: int | None,
    ) -> None:
        self._graph = graph
        self._order = order
        self._batch: int | str = "N" if batch is None else batch
        self._inputs = _names(names[0], "input", set())
        self._outputs = _names(names[1], "output", set(self._inputs))
        self._builder = Builder(opset, symmetric=symmetric, reserved=[*self._inputs, *self._outputs])

    def written(self, name: str, activation: str | None) -> Any:
        """The graph of ONNX."""
        tensors = self._converted()
        ends = [tensors[number] for number in self._graph.outputs]
        if activation is not None:
            kind, (end,) = activation.capitalize(), ends
            attributes = {"axis": end.axis(-1)} if activation == "softmax" else {}
            ends = [end.like(self._builder.op(kind, [end.name], activation, **attributes))]
        self._finish(ends)
        if sum(values.nbytes for values in self._builder.constants.values()) > _MOST_BYTES:
            raise ValueError(f"Model '{name}' has more weights than the 2 GiB that an ONNX file may have.")
        helper, numpy_helper = require("onnx.helper"), require("onnx.numpy_helper")
        sources = [self._graph.nodes[number].output_shape for number in self._graph.inputs]
        return helper.make_graph(
            self._builder.nodes,
            name,
            [self._described(*pair) for pair in zip(self._inputs, sources, strict=True)],
            [self._described(own, end.shape) for own, end in zip(self._outputs, ends, strict=True)],
            [numpy_helper.from_array(values, own) for own, values in self._builder.constants.items()],
        )

    def _converted(self) -> dict[int, Tensor]:
        """The tensor that every node makes."""
        graph, tensors = self._graph, dict[int, Tensor]()
        inputs = dict(zip(graph.inputs, self._inputs, strict=True))
        for node in graph.nodes:
            shape = node.output_shape
            assert shape is not None, "the model is built"
            read = tuple(tensors[number] for number in node.inputs)
            if node.kind == "input":
                tensors[node.number] = made(shape, inputs[node.number], self._order)
            elif node.kind == "alias":
                tensors[node.number] = read[0]
            else:
                tensors[node.number] = self._layer(node, Site(self._builder, node.layer, read, shape))
        return tensors

    def _layer(self, node: Node, site: Site) -> Tensor:
        if node.merge is not None:
            return merged(site, node.merge)
        assert node.layer is not None
        converter = converter_of(node.layer)
        if converter is None:
            site.refuse(
                "it is written in Python, and ONNX files hold no code"
                if node.layer.in_python
                else "there are no operators for layers of this kind"
            )
        return converter(site)

    def _finish(self, ends: Sequence[Tensor]) -> None:
        """Puts what the last layers make into the order of the outputs, and gives it their names."""
        builder, given = self._builder, dict[str, str]()
        # A vector has one order outside, that of `predict`.
        found = [builder.get(end, self._order if end.rank > 1 else "last") for end in ends]
        for name, old in zip(self._outputs, found, strict=True):
            if old in self._inputs or old in given:  # that has its name already
                builder.nodes.append(
                    require("onnx.helper").make_node("Identity", [given.get(old, old)], [name], name=name)
                )
            else:
                builder.renamed(old, name)
                given[old] = name

    def _described(self, name: str, shape: Shape | None) -> Any:
        """Type and shape of an input or output; sizes that are not known get names."""
        assert shape is not None
        sizes: list[int | str] = [
            f"{name}_axis_{axis}" if size is None else size for axis, size in enumerate(shape, 1)
        ]
        if self._order == "first":
            sizes = [sizes[-1], *sizes[:-1]]
        helper, onnx = require("onnx.helper"), require("onnx")
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [self._batch, *sizes])


def _names(wanted: Sequence[str], single: str, taken: set[str]) -> list[str]:
    """Names of inputs or outputs: `single`, or those of the model if there are several."""
    if len(wanted) == 1:
        return [single]
    names = []
    for own in wanted:
        number, name = 0, own
        while name in taken:
            number += 1
            name = f"{own}_{number}"
        taken.add(name)
        names.append(name)
    return names
