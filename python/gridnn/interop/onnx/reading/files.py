"""ONNX files as nodes and arrays, checked before anything is made of them.

A file is parsed by protobuf's own reader and judged on what that returns: numbers of nodes, sizes of tensors,
where external data lies. Nothing of `onnx` but its message classes sees a file.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn._texts import printable, quoted
from gridnn.errors import FileFormatError
from gridnn.interop.onnx.package import require

__all__ = ["Node", "Source", "read"]

_MOST_BYTES = 2**31 - 1
"""Of a protobuf message."""

_MOST_NODES = 20_000

_OPSETS = range(9, 22)

_BFLOAT16 = 16

_TYPES: dict[int, str] = {
    1: "<f4",
    2: "u1",
    3: "i1",
    5: "<i2",
    6: "<i4",
    7: "<i8",
    9: "?",
    10: "<f2",
    11: "<f8",
    _BFLOAT16: "<u2",
}
"""Numbers of the types of tensors -> their elements as they are stored."""

_FIELDS: dict[int, str] = {1: "float_data", 7: "int64_data", 11: "double_data"}
"""Where elements are that are not stored as bytes; those of other types are in `int32_data`."""


@dataclass(frozen=True)
class Node:
    """An operator."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"{quoted(self.name or ', '.join(self.outputs))} ({quoted(self.op)[1:-1]})"


@dataclass(frozen=True)
class Source:
    """The contents of a file."""

    name: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, NDArray[Any]]
    inputs: Mapping[str, tuple[int | None, ...]]
    """Name -> sizes; None where one is not a number."""
    outputs: tuple[str, ...]
    layout: str | None
    """Order of the axes of inputs and outputs, where the file says so, as ours do."""
    class_names: list[str] | None
    """Names of the outputs, where the file has them."""
    readers: Mapping[str, list[Node]] = field(repr=False)
    """Name of a tensor -> the operators that read it."""


def read(path: str | os.PathLike[str]) -> Source:
    """Reads a file.

    Raises:
        FileFormatError: it is no ONNX file, or damaged, or more than it may be.
        OSError: it cannot be read.
    """
    onnx = require()
    place = Path(os.fsdecode(path))
    with place.open("rb") as file:
        if os.fstat(file.fileno()).st_size > _MOST_BYTES:
            raise FileFormatError(f"{place}: larger than the 2 GiB that an ONNX file may have")
        contents = file.read()
    message = onnx.ModelProto()
    try:
        message.ParseFromString(contents)
    except Exception as error:  # DecodeError, of a module that may be named otherwise
        raise FileFormatError(f"{place}: no ONNX file, or damaged: {error}") from None
    try:
        return _source(message, place.absolute().parent, len(contents))
    except (ValueError, TypeError, LookupError, OverflowError, OSError) as error:
        raise FileFormatError(f"{place}: {printable(str(error))}") from error


def _source(message: Any, folder: Path, size: int) -> Source:
    graph = message.graph
    if not message.HasField("graph") or not graph.output:
        raise ValueError("no ONNX file: there is no graph in it")
    versions = {_text(entry.domain) or "ai.onnx": entry.version for entry in message.opset_import}
    opset = versions.get("ai.onnx", 0)
    if opset not in _OPSETS:
        raise ValueError(f"operator set {opset}; 9 to 21 can be read")
    if len(graph.node) > _MOST_NODES:
        raise ValueError(f"{len(graph.node)} operators, of which there may be {_MOST_NODES}")
    if graph.sparse_initializer:
        raise ValueError("sparse tensors, which cannot be read")
    tensors = _Tensors(folder, size)
    constants = {_text(tensor.name): tensors.array(tensor) for tensor in graph.initializer}
    inputs = {_text(value.name): _sizes(value) for value in graph.input if _text(value.name) not in constants}
    nodes = tuple(_nodes(graph.node, opset, tensors))
    readers = _checked_names(nodes, constants, inputs)
    outputs = tuple(_text(value.name) for value in graph.output)
    said = {_text(entry.key): _text(entry.value) for entry in message.metadata_props}
    layout = said.get("layout")
    layout = layout if layout in ("channels_last", "channels_first") else None
    classes = _class_names(said.get("class_names", ""))
    return Source(_text(graph.name), nodes, constants, inputs, outputs, layout, classes, readers)


def _class_names(text: str) -> list[str] | None:
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return names
    return None


def _nodes(messages: Sequence[Any], opset: int, tensors: _Tensors) -> Iterator[Node]:
    values = require("onnx.helper").get_attribute_value
    for message in messages:
        attributes: dict[str, Any] = {}
        for attribute in message.attribute:
            name = _text(attribute.name)
            if attribute.type == attribute.TENSOR:
                attributes[name] = tensors.array(attribute.t)
            elif attribute.type in (attribute.FLOAT, attribute.INT, attribute.STRING):
                attributes[name] = _text(values(attribute))
            elif attribute.type in (attribute.FLOATS, attribute.INTS):
                attributes[name] = list(values(attribute))
            else:
                attributes[name] = None  # a graph, or what no operator that is known has
        domain, op = _text(message.domain), _text(message.op_type)
        op = op if domain in ("", "ai.onnx") else f"{domain}.{op}"
        inputs, outputs = (tuple(map(_text, names)) for names in (message.input, message.output))
        yield Node(op, _text(message.name), inputs, outputs, attributes, opset)


def _text(value: Any) -> Any:
    """A string; protobuf gives bytes where it is not valid as such."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _sizes(value: Any) -> tuple[int | None, ...]:
    if not value.type.HasField("tensor_type"):
        raise ValueError(f"input {quoted(value.name)} is no tensor")
    if value.type.tensor_type.elem_type not in _TYPES:
        raise ValueError(f"input {quoted(value.name)} does not hold numbers")
    sizes = []
    for size in value.type.tensor_type.shape.dim:
        known = size.HasField("dim_value")
        if known and size.dim_value < 0:
            raise ValueError(f"input {quoted(value.name)} has a size of {size.dim_value}")
        sizes.append(size.dim_value if known and size.dim_value else None)
    return tuple(sizes)


def _checked_names(
    nodes: Sequence[Node], constants: Mapping[str, Any], inputs: Mapping[str, Any]
) -> dict[str, list[Node]]:
    """Who reads what; every tensor is made once, and before it is read, so there is no cycle."""
    known = {*constants, *inputs}
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in filter(None, node.inputs):
            if name not in known:
                raise ValueError(f"operator {node.label} reads {quoted(name)}, which is not made before it")
            readers.setdefault(name, []).append(node)
        for name in filter(None, node.outputs):
            if name in known:
                raise ValueError(f"operator {node.label} makes {quoted(name)}, which is there already")
            known.add(name)
    return readers


class _Tensors:
    """Makes arrays of tensors, whose sizes must be those of their contents.

    Args:
        folder: of the file, where external data may lie.
        size: of the file in bytes.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = folder.resolve()
        self._files: dict[Path, int] = {}
        self._room = size

    def array(self, tensor: Any) -> NDArray[Any]:
        """The array; floating-point numbers are float32 or float64 in the end."""
        if tensor.data_type not in _TYPES:
            raise ValueError(
                f"tensor {quoted(tensor.name)} is of type {tensor.data_type}, which cannot be read"
            )
        dtype = np.dtype(_TYPES[tensor.data_type])
        dims = list(tensor.dims)
        if any(size < 0 for size in dims) or len(dims) > 32:
            raise ValueError(f"tensor {quoted(tensor.name)} cannot have the shape {dims[:32]}")
        count = math.prod(dims)
        if count == 0 and max(dims) > _MOST_NODES:
            raise ValueError(f"tensor {quoted(tensor.name)} of shape {dims} has no elements")
        if tensor.data_location == 1:
            values = self._external(tensor, count, dtype)
        elif tensor.HasField("raw_data"):
            if len(tensor.raw_data) != count * dtype.itemsize:
                raise ValueError(
                    f"tensor {quoted(tensor.name)} of shape {dims} holds {len(tensor.raw_data)} bytes"
                )
            values = np.frombuffer(tensor.raw_data, dtype)
        else:
            values = self._typed(tensor, count, dtype)
        if tensor.data_type == _BFLOAT16:
            values = (values.astype(np.uint32) << 16).view(np.float32)
        elif values.dtype == np.float16:
            values = values.astype(np.float32)
        return values.reshape(dims)

    def _typed(self, tensor: Any, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        elements = getattr(tensor, _FIELDS.get(tensor.data_type, "int32_data"))
        if len(elements) != count:
            raise ValueError(f"tensor {quoted(tensor.name)} has {len(elements)} elements instead of {count}")
        if dtype.kind == "f" and dtype.itemsize == 2:  # as the numbers that their bits are
            return np.array(elements, np.uint16).view(np.float16)
        return np.array(elements, dtype)

    def _external(self, tensor: Any, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Elements in another file, which lies in the same folder or below."""
        entries = {_text(entry.key): _text(entry.value) for entry in tensor.external_data}
        location = entries.get("location", "")
        place = (self._folder / location).resolve()
        if not location or Path(location).is_absolute() or self._folder not in place.parents:
            raise ValueError(
                f"tensor {quoted(tensor.name)} lies outside the folder of the file: {quoted(location)}"
            )
        if not place.is_file():
            raise ValueError(
                f"tensor {quoted(tensor.name)} lies in {quoted(location)}, which is no file here"
            )
        if place not in self._files:
            self._files[place] = place.stat().st_size
            self._room += self._files[place]
        offset, length = int(entries.get("offset", 0)), count * dtype.itemsize
        if int(entries.get("length", length)) != length or not 0 <= offset <= self._files[place] - length:
            raise ValueError(f"tensor {quoted(tensor.name)} is not all in {quoted(location)}")
        self._room -= length
        if self._room < 0:
            raise ValueError("tensors share their external data: together they are larger than it")
        return np.fromfile(place, dtype, count, offset=offset)
