"""Operators whose inputs are constant, shapes of tensors among them: NumPy computes them on reading."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn.interop.onnx.reading.files import Node
from gridnn.interop.onnx.reading.steps import refuse

__all__ = ["FOLDS", "axes_of", "folded"]

Array = NDArray[Any]

_MOST_ELEMENTS = 2**24
"""Of what is made of a few numbers."""


def folded(node: Node, inputs: list[Any]) -> Array:
    """What an operator makes of constants; sizes that are not known may be among their elements."""
    fold = FOLDS.get(node.op)
    if fold is None:
        refuse("it is not known with constant inputs")
    with np.errstate(all="ignore"):
        try:
            return np.asarray(fold(node, inputs))
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
            refuse(f"its constant inputs do not fit: {error}")


def axes_of(node: Node, inputs: list[Any], place: int = 1) -> list[int] | None:
    """The axes of an operator: an attribute, or since opset 13 or 18 an input."""
    given = node.attributes.get("axes")
    if given is None and len(inputs) > place and inputs[place] is not None:
        given = inputs[place]
    return None if given is None else [int(axis) for axis in np.asarray(given).ravel()]


def _limited(shape: Any) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in np.asarray(shape).ravel())
    if any(size < 0 for size in sizes) or np.prod([float(size) for size in sizes]) > _MOST_ELEMENTS:
        raise ValueError(f"a constant of shape {sizes}")
    return sizes


def _constant(node: Node, _: list[Any]) -> Array:
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        value = node.attributes.get(name)
        if value is not None:
            dtype = {"value_float": np.float32, "value_floats": np.float32}.get(name)
            return np.asarray(value, dtype)
    raise ValueError("no numbers")


def _filled(node: Node, inputs: list[Any]) -> Array:
    value = np.asarray(node.attributes.get("value", np.zeros(1, np.float32))).ravel()
    return np.full(_limited(inputs[0]), value[0])


def _cast(node: Node, inputs: list[Any]) -> Array:
    x = inputs[0]
    kinds = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float32, 11: np.float64}
    return np.asarray(x if x.dtype == object else x.astype(kinds[node.attributes["to"]]))


def _reshape(node: Node, inputs: list[Any]) -> Array:
    x, shape = inputs
    return np.asarray(x.reshape([x.shape[i] if size == 0 else int(size) for i, size in enumerate(shape)]))


def _unsqueeze(node: Node, inputs: list[Any]) -> Array:
    axes = axes_of(node, inputs) or []
    return np.expand_dims(inputs[0], tuple(axes))


def _squeeze(node: Node, inputs: list[Any]) -> Array:
    axes = axes_of(node, inputs)
    return np.asarray(np.squeeze(inputs[0], None if axes is None else tuple(axes)))


def _slice(node: Node, inputs: list[Any]) -> Array:
    x = inputs[0]
    if node.opset < 10:
        starts, ends = node.attributes["starts"], node.attributes["ends"]
        axes, steps = node.attributes.get("axes"), None
    else:
        starts, ends, axes, steps = (*inputs[1:], None, None)[:4]
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    cut = [slice(None)] * x.ndim
    for axis, *numbers in zip(axes, starts, ends, steps, strict=True):
        start, end, step = map(int, numbers)
        cut[int(axis)] = slice(start, None if step < 0 and end < -x.shape[int(axis)] else end, step)
    return np.asarray(x[tuple(cut)])


def _range(node: Node, inputs: list[Any]) -> Array:
    start, stop, step = (value.item() for value in inputs)
    _limited([max(int((stop - start) / step), 0)])
    return np.arange(start, stop, step, dtype=inputs[0].dtype)


def _expand(node: Node, inputs: list[Any]) -> Array:
    _limited(inputs[1])
    return np.asarray(inputs[0] * np.ones(_limited(inputs[1]), inputs[0].dtype))


def _tile(node: Node, inputs: list[Any]) -> Array:
    repeats = [int(n) for n in inputs[1]]
    _limited([*repeats, *inputs[0].shape])
    return np.tile(inputs[0], repeats)


def _concat(node: Node, inputs: list[Any]) -> Array:
    return np.concatenate(inputs, axis=node.attributes["axis"])


def _reduced(reduce: Callable[..., Any]) -> Callable[[Node, list[Any]], Any]:
    def fold(node: Node, inputs: list[Any]) -> Any:
        axes = axes_of(node, inputs)
        keepdims = bool(node.attributes.get("keepdims", 1))
        return reduce(inputs[0], axis=None if axes is None else tuple(axes), keepdims=keepdims)

    return fold


def _numpy(function: Callable[..., Any]) -> Callable[[Node, list[Any]], Any]:
    return lambda _, inputs: function(*inputs)


def _divided(_: Node, inputs: list[Any]) -> Array:
    a, b = inputs
    if a.dtype.kind in "iu":
        return np.asarray(np.trunc(a / b).astype(a.dtype))
    return np.asarray(a / b)


FOLDS: dict[str, Callable[[Node, list[Any]], Any]] = {
    "Abs": _numpy(np.abs),
    "Add": _numpy(np.add),
    "And": _numpy(np.logical_and),
    "Cast": _cast,
    "Ceil": _numpy(np.ceil),
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _filled,
    "Div": _divided,
    "Equal": _numpy(np.equal),
    "Exp": _numpy(np.exp),
    "Expand": _expand,
    "Floor": _numpy(np.floor),
    "Gather": lambda node, x: np.take(x[0], x[1].astype(int), axis=node.attributes.get("axis", 0)),
    "Greater": _numpy(np.greater),
    "Identity": _numpy(lambda x: x),
    "Less": _numpy(np.less),
    "Max": lambda _, inputs: np.maximum.reduce(inputs),
    "Min": lambda _, inputs: np.minimum.reduce(inputs),
    "Mod": _numpy(np.mod),
    "Mul": _numpy(np.multiply),
    "Neg": _numpy(np.negative),
    "Not": _numpy(np.logical_not),
    "Pow": _numpy(np.power),
    "Range": _range,
    "Reciprocal": _numpy(lambda x: 1 / x),
    "ReduceMax": _reduced(np.max),
    "ReduceMean": _reduced(np.mean),
    "ReduceMin": _reduced(np.min),
    "ReduceProd": _reduced(np.prod),
    "ReduceSum": _reduced(np.sum),
    "Reshape": _reshape,
    "Shape": lambda node, x: np.array(
        x[0].shape[node.attributes.get("start", 0) : node.attributes.get("end")], np.int64
    ),
    "Size": lambda _, x: np.int64(x[0].size),
    "Slice": _slice,
    "Sqrt": _numpy(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _numpy(np.subtract),
    "Tile": _tile,
    "Transpose": lambda node, x: x[0].transpose(node.attributes.get("perm")),
    "Unsqueeze": _unsqueeze,
    "Where": _numpy(np.where),
}
