"""A graph of ONNX followed from its inputs: what is constant, and what a layer computes.

ONNX has channels first, layers have them last. A tensor is a `View`: what a layer makes, and in which order
the operators of the file see its axes. Transposes change the view alone, so they cancel each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from gridnn._network import Shape, weight_shapes
from gridnn.interop.onnx.reading.files import Node, Source
from gridnn.layers.base import Layer
from gridnn.layers.reshaping import Flatten, Permute

__all__ = ["HANDLERS", "Graph", "Step", "Symbol", "Unreadable", "View", "handles"]

Array = NDArray[Any]


class Unreadable(Exception):  # noqa: N818 (it ends up in a list of all of them)
    """An operator that no layer can stand for."""


@dataclass(frozen=True)
class Symbol:
    """A size that is not known: that of the batch, or of an axis of an input."""

    name: str


BATCH = Symbol("batch")


@dataclass(eq=False)
class Step:
    """A layer of the model to be, or an operator for which there is none yet."""

    op: str
    inputs: tuple[Step, ...]
    shape: Shape
    """Of a sample of what it makes, channels last where it is a grid."""
    node: Node | None = None
    """The operator that it comes from."""
    make: Callable[[str | None], Layer] | None = None
    """Makes the layer, given a name; None of inputs, merges, and operators that are no layer alone."""
    weights: Mapping[str, Array] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    """What later operators look for, to become one layer with this one."""
    curves: tuple[tuple[Step, Array], ...] = ()
    """Of functions of single elements: steps that they start from, the last ones first, and their values at
    some points."""
    trainable: bool = True
    partial: bool = field(init=False)
    """Whether it, or what it reads, is no layer yet."""

    def __post_init__(self) -> None:
        none = self.make is None and self.op not in ("input", "merge")
        self.partial = none or any(step.partial for step in self.inputs)

    @property
    def rank(self) -> int:
        """Number of axes of a sample."""
        return len(self.shape)


@dataclass(frozen=True)
class View:
    """How operators see what a step makes."""

    step: Step
    perm: tuple[int, ...]
    """For each axis that they see, but the batch, the axis of the step's samples."""
    flat: bool = False
    """Whether they see a vector of all elements in this order."""
    groups: int | None = None
    """Whether they see this many groups of channels, for an InstanceNormalization."""

    @property
    def shape(self) -> Shape:
        """The shape that they see, without the batch."""
        sizes = tuple(self.step.shape[axis] for axis in self.perm)
        if not self.flat:
            return sizes
        return (None if None in sizes else math.prod(size or 1 for size in sizes),)

    @property
    def channels_first(self) -> bool:
        """Whether they see the channels behind the batch, and the other axes in their order."""
        return not self.flat and self.perm == first(self.step.rank)

    def behind(self, step: Step) -> View:
        """What a step has made of it that keeps its shape."""
        return View(step, self.perm, self.flat, self.groups)


def first(rank: int) -> tuple[int, ...]:
    """The axes of a sample of `rank` axes, channels last, in the order of ONNX."""
    return (rank - 1, *range(rank - 1))


Value = Array | View | None
"""None is what an operator would have made that cannot be read."""

Handler = Callable[["Graph", Node, list[Any]], Any]

HANDLERS: dict[str, Handler] = {}
"""Operator -> what reads it, once its inputs are not all constant."""


def handles(*ops: str) -> Callable[[Handler], Handler]:
    """Enters a function into `HANDLERS`."""

    def enter(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(ops, handler))
        return handler

    return enter


class Graph:
    """The steps of a file.

    Args:
        source: the file.
    """

    def __init__(self, source: Source) -> None:
        self.source = source

    def layer(
        self,
        node: Node | None,
        source: Step,
        make: Callable[[str | None], Layer],
        weights: Mapping[str, Array] | None = None,
        *,
        op: str | None = None,
        trainable: bool = True,
        **details: Any,
    ) -> Step:
        """A layer behind a step; its shape is what the engine says."""
        layer = make(None)
        try:
            # First without memory for the weights: what there is in the file has to fit.
            inputs = {"class_name": "Input", "name": "input", "config": {"shape": list(source.shape)}}
            wanted = weight_shapes([inputs, layer.engine_description()], "float32")
            given = {name: values.shape for name, values in (weights or {}).items()}
            expected = {name: sizes for (_, name), sizes in wanted.items()}
            if given != expected:
                raise Unreadable(f"its weights have the shapes {given} instead of {expected}")
            shape = layer.compute_output_shape((None, *source.shape))[1:]
        except (ValueError, TypeError, ArithmeticError, MemoryError) as error:
            raise Unreadable(str(error)) from error
        name = op or type(layer).__name__
        return Step(name, (source,), shape, node, make, weights or {}, details, trainable=trainable)

    def grid(self, node: Node | None, x: Any, rank: int | None = None) -> Step:
        """A tensor with channels behind the batch as what a layer takes.

        Args:
            node: the operator that reads it.
            x: what it reads.
            rank: number of spatial axes that there must be.
        """
        view = self.tensor(x)
        if view.flat or view.step.rank < 2 or (rank is not None and view.step.rank != rank + 1):
            axes = 2 if view.flat else view.step.rank + 1
            refuse(f"its input has {axes} axes")
        if view.channels_first:
            return view.step
        return self.permuted(node, view.step, (*view.perm[1:], view.perm[0]))

    def plain(self, node: Node | None, view: View) -> Step:
        """A tensor whose axes are as operators see them."""
        step = view.step
        if list(view.perm) != sorted(view.perm) and not (view.flat and _same_elements(view)):
            step = self.permuted(node, step, view.perm)
        if view.flat and step.rank > 1:
            step = self.layer(node, step, lambda name: Flatten(name=name))
        return step

    def permuted(self, node: Node | None, step: Step, perm: Sequence[int]) -> Step:
        """A Permute."""
        dims = tuple(axis + 1 for axis in perm)
        return self.layer(node, step, lambda name: Permute(dims, name=name))

    def tensor(self, x: Any) -> View:
        """An input that is no constant."""
        if not isinstance(x, View) or x.groups is not None:
            refuse("a constant where a tensor is expected")
        return x

    def constant(self, x: Any, what: str) -> Array:
        """An input that must be constant."""
        if not isinstance(x, np.ndarray) or x.dtype == object:
            refuse(f"its {what} is not constant")
        return x

    def number(self, x: Any, what: str) -> float:
        """A single constant number."""
        values = self.constant(x, what)
        if values.size != 1:
            refuse(f"its {what} is not a single number")
        return float(values.ravel()[0])

    def integers(self, x: Any, what: str) -> list[int]:
        """A constant list of integers."""
        values = self.constant(x, what)
        if values.dtype.kind not in "iu" or values.ndim > 1:
            refuse(f"its {what} is not a list of integers")
        return [int(value) for value in values.ravel()]


def refuse(reason: str) -> NoReturn:
    """Raises Unreadable."""
    raise Unreadable(reason)


def new_view(step: Step, *, channels_first: bool = False) -> View:
    """What a layer has made, as operators see it."""
    axes = first(step.rank) if channels_first else tuple(range(step.rank))
    return View(step, axes)


def _same_elements(view: View) -> bool:
    """Whether the order of axes does not matter to the order of elements."""
    longer = [axis for axis in view.perm if view.step.shape[axis] != 1]
    return longer == sorted(longer)
