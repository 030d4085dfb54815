"""Writes the nodes of an ONNX graph: names, constants, and tensors in the order that a layer asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from gridnn._network import Shape
from gridnn.interop.onnx.package import require
from gridnn.interop.onnx.tensors import Order, Tensor, made, permutation

__all__ = ["Builder", "Site"]


class Builder:
    """Collects nodes and constants.

    Args:
        opset: version of the operator set.
        symmetric: whether padding that differs before and after becomes an operator of its own.
        reserved: names that nothing else may get.
    """

    def __init__(self, opset: int, *, symmetric: bool, reserved: Sequence[str]) -> None:
        self.opset = opset
        self.symmetric = symmetric
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self._helper = require("onnx.helper")
        self._taken = set(reserved)

    def op(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Adds an operator of one output, which has the operator's name.

        Returns:
            The name: `name`, or that with a number if it is taken.
        """
        name = self._free(name)
        node = self._helper.make_node(kind, list(inputs), [name], name=name, **attributes)
        self.nodes.append(node)
        return name

    def constant(self, values: NDArray[Any], name: str) -> str:
        """Adds a constant, or finds the same one under the same name."""
        number, candidate = 0, name
        while candidate in self.constants:
            known = self.constants[candidate]
            if known.dtype == values.dtype and known.shape == values.shape and (known == values).all():
                return candidate
            number += 1
            candidate = f"{name}_{number}"
        name = self._free(name)
        self.constants[name] = values
        return name

    def _free(self, name: str) -> str:
        number, candidate = 0, name
        while candidate in self._taken:
            number += 1
            candidate = f"{name}_{number}"
        self._taken.add(candidate)
        return candidate

    def get(self, tensor: Tensor, order: Order) -> str:
        """The name of a tensor in this order, into which it is put if it was not there yet."""
        if order not in tensor.names:
            tensor.names[order] = self._converted(tensor, order)
        return tensor.names[order]

    def _converted(self, tensor: Tensor, order: Order) -> str:
        source, name = tensor.name, f"{tensor.name}/channels_{order}"
        if tensor.grid is None:
            shape, perm = tensor.shape, permutation(tensor.rank, order)
            whole = tensor.known and (shape[-1] == 1 or math.prod(size or 1 for size in shape[:-1]) == 1)
            if whole:  # the elements stay where they are
                sizes = [0, *shape] if order == "last" else [0, shape[-1], *shape[:-1]]
                return self.reshape(source, sizes, name)
            return self.op("Transpose", [source], name, perm=perm)
        # A vector of a grid's elements: only its elements in another order make it the other one.
        *space, channels = tensor.grid
        sizes = [0, channels, *space] if order == "last" else [0, *space, channels]
        split = self.reshape(source, sizes, f"{tensor.name}/grid")
        turned = self.op("Transpose", [split], name, perm=permutation(len(tensor.grid), order))
        return self.reshape(turned, [0, *tensor.shape], f"{name}/flat")

    def reshape(self, source: str, sizes: Sequence[int | None], name: str) -> str:
        """Adds a Reshape; a size of 0 is that of the input."""
        shape = self.constant(np.array(sizes, np.int64), f"{name}/shape")
        return self.op("Reshape", [source, shape], name)

    def reduce(self, kind: str, source: str, axes: Sequence[int], name: str, *, keepdims: bool) -> str:
        """Adds a ReduceMean or ReduceMax, whose axes became an input with opset 18."""
        if self.opset < 18:
            return self.op(kind, [source], name, axes=list(axes), keepdims=int(keepdims))
        given = self.constant(np.array(axes, np.int64), f"{name}/axes")
        return self.op(kind, [source, given], name, keepdims=int(keepdims))

    def renamed(self, old: str, new: str) -> None:
        """Gives the output of an operator, and all that read it, another name."""
        for node in self.nodes:
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    if name == old:
                        names[place] = new


@dataclass(frozen=True)
class Site:
    """A layer on its way into the graph."""

    builder: Builder
    layer: Any
    inputs: tuple[Tensor, ...]
    output_shape: Shape

    @property
    def x(self) -> Tensor:
        """The input of a layer that has one."""
        return self.inputs[0]

    @property
    def opset(self) -> int:
        """Version of the operator set."""
        return self.builder.opset

    @property
    def name(self) -> str:
        """Name of the layer, and of the operator that it is."""
        return str(self.layer.name)

    def op(self, kind: str, inputs: Sequence[str], suffix: str = "", **attributes: Any) -> str:
        """Adds an operator named after the layer."""
        return self.builder.op(kind, inputs, self._named(suffix), **attributes)

    def constant(self, values: Any, suffix: str) -> str:
        """Adds numbers as float32, or as int64 if they are integers."""
        array: NDArray[Any] = np.asarray(values)
        if array.dtype.kind in "iu":
            return self.builder.constant(array.astype(np.int64), self._named(suffix))
        with np.errstate(over="ignore"):
            narrow = array.astype(np.float32)
        if not np.isfinite(narrow).all():
            self.refuse(f"'{suffix}' holds numbers that are not finite as float32")
        return self.builder.constant(np.ascontiguousarray(narrow).reshape(array.shape), self._named(suffix))

    def reduce(self, kind: str, source: str, axes: Sequence[int], suffix: str, *, keepdims: bool) -> str:
        """Adds a reduction named after the layer."""
        return self.builder.reduce(kind, source, axes, self._named(suffix), keepdims=keepdims)

    def reshape(self, source: str, sizes: Sequence[int | None], suffix: str) -> str:
        """Adds a Reshape named after the layer."""
        return self.builder.reshape(source, sizes, self._named(suffix))

    def output(self, name: str, order: Order) -> Tensor:
        """The result of the layer."""
        return made(self.output_shape, name, order)

    def refuse(self, reason: str) -> NoReturn:
        """Raises ValueError: the layer cannot be written."""
        raise ValueError(f"{self.layer.label} cannot be exported to ONNX: {reason}.")

    def _named(self, suffix: str) -> str:
        return "/".join([self.name, *filter(None, suffix.split("/"))])
