"""Operators that rearrange what is there, and those that ask for shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gridnn import layers
from gridnn._network import Shape
from gridnn.interop.onnx.reading.elementwise import merge
from gridnn.interop.onnx.reading.files import Node
from gridnn.interop.onnx.reading.folding import axes_of
from gridnn.interop.onnx.reading.steps import BATCH, Graph, Symbol, View, first, handles, new_view, refuse
from gridnn.interop.onnx.reading.windows import cropped, ranked, windows_of, without_axes

__all__: list[str] = []


@handles("Shape")
def shape(graph: Graph, node: Node, inputs: list[Any]) -> Any:
    view = inputs[0]
    seen = view.shape if isinstance(view, View) else ()
    sizes = [BATCH, *(Symbol(f"axis {i}") if size is None else size for i, size in enumerate(seen, 1))]
    start, end = node.attributes.get("start", 0), node.attributes.get("end")
    values = np.empty(len(sizes), object)
    values[:] = sizes
    values = values[start:end]
    return values if any(isinstance(v, Symbol) for v in values) else values.astype(np.int64)


@handles("Transpose")
def transpose(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view = graph.tensor(inputs[0])
    axes = list(range(len(view.shape) + 1))
    perm = node.attributes.get("perm") or axes[::-1]
    if sorted(perm) != axes or perm[0] != 0:
        refuse(f"its perm is {perm}")
    if view.flat:
        return view
    return View(view.step, tuple(view.perm[axis - 1] for axis in perm[1:]))


@handles("Flatten")
def flatten(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view = graph.tensor(inputs[0])
    if node.attributes.get("axis", 1) != 1:
        refuse(f"its axis is {node.attributes['axis']}")
    return _flat(graph, view)


def _flat(graph: Graph, view: View) -> View:
    """A tensor as a vector."""
    if view.flat or view.step.rank == 1:
        return view
    pooled = without_axes(graph, view.step)
    return new_view(pooled) if pooled is not None else View(view.step, view.perm, flat=True)


@handles("Reshape")
def reshape(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view: View = inputs[0] if isinstance(inputs[0], View) else refuse("a constant where a tensor is expected")
    if not isinstance(inputs[1], np.ndarray):
        refuse("its shape is not constant")
    target = list(inputs[1].ravel())
    reader = graph.source.readers.get(node.outputs[0], [])
    if view.groups is not None:  # what an InstanceNormalization has seen
        whole = View(view.step, view.perm, view.flat)
        if None not in whole.shape and _target(whole, target) != whole.shape:
            refuse("it leaves groups of channels in another shape")
        return whole
    if len(target) == 3 and [one.op for one in reader] == ["InstanceNormalization"]:
        groups = target[1]
        if isinstance(groups, (int, np.integer)) and groups > 0 and _channels(view) % int(groups) == 0:
            return View(view.step, view.perm, view.flat, int(groups))
    sizes = _target(view, target)
    if len(sizes) == 1:
        return _flat(graph, view)
    if view.flat and sizes == tuple(view.step.shape[axis] for axis in view.perm):
        return View(view.step, view.perm)  # the grid that it was
    seen = view.shape
    if not view.flat and _without_ones(sizes) == _without_ones(seen) and len(sizes) == len(seen):
        return View(view.step, _moved(view, sizes))
    return new_view(_reshaped(graph, node, view, sizes))


def _channels(view: View) -> int:
    size = view.shape[0]
    return 1 if size is None else size


def _reshaped(graph: Graph, node: Node, view: View, sizes: Shape) -> Any:
    if None in sizes:
        refuse("it depends on sizes that are not known")
    step = graph.plain(node, View(view.step, view.perm))
    whole = tuple(size or 1 for size in sizes)
    if step.shape == whole:
        return step
    return graph.layer(node, step, lambda name: layers.Reshape(whole, name=name))


def _target(view: View, target: Sequence[Any]) -> Shape:
    """The sizes that a sample gets; the first one is the batch."""
    seen = view.shape
    total = None if None in seen else math.prod(size or 1 for size in seen)
    if not target:
        refuse("it makes a single number")
    sizes: list[Any] = [
        (BATCH, *seen)[place] if size == 0 and place <= len(seen) else size
        for place, size in enumerate(target)
    ]
    own = [None if isinstance(size, Symbol) or size is None else int(size) for size in sizes[1:]]
    known = math.prod(size for size in own if size not in (None, -1))
    if own.count(-1) == 1 and None not in own:
        if total is None:
            refuse("it depends on sizes that are not known")
        if total % max(known, 1):
            refuse(f"it mixes samples: {[str(size) for size in target]} of {seen}")
        own = [total // max(known, 1) if size == -1 else size for size in own]
    if total is not None and (None in own or -1 in own or math.prod(size or 1 for size in own) != total):
        refuse(f"it mixes samples: {[str(size) for size in target]} of {seen}")
    return tuple(own)


def _without_ones(sizes: Shape) -> list[int | None]:
    return [size for size in sizes if size != 1]


def _moved(view: View, sizes: Shape) -> tuple[int, ...]:
    """The axes of a sample in an order in which they have these sizes; only axes of one element move."""
    step = view.step
    if tuple(sizes) == view.shape:
        return view.perm
    for axes in (first(step.rank), tuple(range(step.rank))):
        if tuple(step.shape[axis] for axis in axes) == tuple(sizes):
            return axes
    others = iter([axis for axis in view.perm if step.shape[axis] != 1])
    ones = iter([axis for axis in view.perm if step.shape[axis] == 1])
    return tuple(next(ones) if size == 1 else next(others) for size in sizes)


@handles("Squeeze")
def squeeze(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view = graph.tensor(inputs[0])
    seen, axes = view.shape, axes_of(node, inputs)
    if axes is None:
        axes = [axis for axis, size in enumerate(seen, 1) if size == 1]
    gone = {axis % (len(seen) + 1) for axis in axes}
    if 0 in gone or any(seen[axis - 1] != 1 for axis in gone):
        refuse(f"it drops axes {sorted(gone)} of sizes {(None, *seen)}")
    left = tuple(size for axis, size in enumerate(seen, 1) if axis not in gone)
    if not left:
        refuse("it makes a single number of a sample")
    if len(left) == 1:
        return _flat(graph, view)
    return new_view(_reshaped(graph, node, view, left))


@handles("Unsqueeze")
def unsqueeze(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view = graph.tensor(inputs[0])
    sizes: list[Any] = [BATCH, *view.shape]
    axes = axes_of(node, inputs) or []
    count = len(sizes) + len(axes)
    for axis in sorted(axis % count for axis in axes):
        sizes.insert(axis, 1)
    if sizes[0] is not BATCH:
        refuse("it puts an axis before the batch")
    return new_view(_reshaped(graph, node, view, tuple(sizes[1:])))


@handles("Tile", "Expand")
def repeat(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view = graph.tensor(inputs[0])
    repeats = graph.integers(inputs[1], "repeats")
    step = view.step
    sizes = step.shape
    plain = not view.flat and view.perm == (0, 1) and sizes[0] == 1 and len(repeats) == 3
    others = (repeats[0], repeats[2])
    if not plain or (others != (1, 1) if node.op == "Tile" else others not in ((1, 1), (1, sizes[1]))):
        refuse("it repeats other axes than that of a series")
    row = step.inputs[0]
    if step.op != "Reshape" or row.rank != 1:
        row = graph.layer(node, step, lambda name: layers.Flatten(name=name))
    return new_view(graph.layer(node, row, lambda name: layers.RepeatVector(repeats[1], name=name)))


@handles("Slice")
def cut(graph: Graph, node: Node, inputs: list[Any]) -> View:
    view = graph.tensor(inputs[0])
    if node.opset < 10:
        starts, ends = list(node.attributes["starts"]), list(node.attributes["ends"])
        axes, steps = node.attributes.get("axes"), None
    else:
        starts, ends = graph.integers(inputs[1], "starts"), graph.integers(inputs[2], "ends")
        axes = graph.integers(inputs[3], "axes") if len(inputs) > 3 and inputs[3] is not None else None
        steps = graph.integers(inputs[4], "steps") if len(inputs) > 4 and inputs[4] is not None else None
    seen = view.shape
    axes = list(range(len(starts))) if axes is None else axes
    if view.flat or any(step != 1 for step in steps or ()):
        refuse("it takes elements at a distance, or of a vector")
    cuts = {}
    for axis, start, end in zip(axes, starts, ends, strict=True):
        place = axis % (len(seen) + 1)
        if place == 0 and start == 0 and end >= 2**31 - 1:
            continue
        if place == 0:
            refuse("it takes some of the batch")
        size = seen[place - 1]
        if size is None and (start < 0 or 0 <= end < 2**31 - 1):
            refuse("where it ends depends on sizes that are not known")
        after = -end if end < 0 else 0
        if size is not None:
            start = max(start + size, 0) if start < 0 else min(start, size)
            after = size - (max(end + size, 0) if end < 0 else min(end, size))
        cuts[view.perm[place - 1]] = (start, after)
    return cropped(graph, node, view, cuts)


@handles("Gather")
def gather(graph: Graph, node: Node, inputs: list[Any]) -> View:
    """Constant places along an axis, as far as they are those of a border."""
    view = graph.tensor(inputs[0])
    places = graph.constant(inputs[1], "indices")
    axis = node.attributes.get("axis", 0) % (len(view.shape) + 1)
    if view.flat or axis == 0 or view.step.rank < 2 or places.size > _MOST_PLACES:
        refuse("it takes elements by their places")
    if places.ndim == 2:
        return windows_of(graph, node, view, places, axis)
    if places.ndim != 1:
        refuse("it takes elements by their places")
    own = view.perm[axis - 1]
    size, rank = view.step.shape[own], view.step.rank - 1
    if size is not None and own < rank:
        places = np.where(places < 0, places + size, places)
        found = _border(places, size)
        if found is not None:
            mode, pair = found
            pairs = [pair if other == own else (0, 0) for other in range(rank)]
            cls = ranked("Padding", rank)
            return view.behind(graph.layer(node, view.step, lambda name: cls(pairs, mode, name=name)))
    return refuse("it takes elements by their places")


_MOST_PLACES = 2**16


def _border(places: Any, size: int) -> tuple[str, tuple[int, int]] | None:
    """The mode of `numpy.pad`, and the pair, with which an axis gets its elements from these places."""
    longer = len(places) - size
    starts = [start for start in np.flatnonzero(places == 0)[:64] if start <= longer]
    for mode in ("wrap", "symmetric", "reflect", "edge"):
        for start in starts:
            pair = (int(start), longer - int(start))
            if (np.pad(np.arange(size), pair, mode=mode) == places).all():
                return mode, pair
    return None


@handles("Concat")
def concat(graph: Graph, node: Node, inputs: list[Any]) -> View:
    views = [graph.tensor(x) for x in inputs]
    seen = len(views[0].shape)
    axis = node.attributes["axis"] % (seen + 1)
    if any(view.flat for view in views):
        views = [new_view(graph.plain(node, view)) if view.flat else view for view in views]
    if axis == 0:
        refuse("it works along the batch")
    return merge(graph, node, "concat", views, axis - 1)
