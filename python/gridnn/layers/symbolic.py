"""Symbolic tensors: what layers make of each other before there are data, from which a `Model` is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, SupportsFloat

import numpy as np

from gridnn import _network
from gridnn._network import Shape
from gridnn.errors import ShapeError

if TYPE_CHECKING:
    from gridnn.layers.base import Layer

__all__ = ["ARITHMETIC", "Call", "Tensor", "apply", "batch_of", "is_symbolic", "tensors_of"]


#: Layers that do the arithmetic of symbolic tensors, by name, put here by their modules, which need this one.
ARITHMETIC: dict[str, Callable[..., Any]] = {}


class Tensor:
    """What a layer will make of its inputs: a shape and a type, and where it comes from.

    It is an input, unless it has an `origin`.
    """

    origin: Call | None = None
    """What it comes from; None for an input."""

    @property
    def shape(self) -> Shape:
        """Shape with the batch axis, which is None unless an `Input` says it; so are other unknown sizes."""
        raise NotImplementedError

    @property
    def dtype(self) -> str:
        """Its type."""
        return "float32"

    @property
    def name(self) -> str:
        """Name of what makes it."""
        raise NotImplementedError

    # Arithmetic is done by layers: of two tensors by those that merge, of one and a number by `Rescaling`.

    def __add__(self, other: Any) -> Any:
        return _merged("Add", self, other) if isinstance(other, Tensor) else _rescaled(self, 1.0, other, "+")

    def __sub__(self, other: Any) -> Any:
        if isinstance(other, Tensor):
            return _merged("Subtract", self, other)
        return _rescaled(self, 1.0, other, "-", negative=True)

    def __rsub__(self, other: Any) -> Any:
        return _rescaled(self, -1.0, other, "-")

    def __mul__(self, other: Any) -> Any:
        return (
            _merged("Multiply", self, other)
            if isinstance(other, Tensor)
            else _rescaled(self, other, 0.0, "*")
        )

    def __truediv__(self, other: Any) -> Any:
        return _rescaled(self, other, 0.0, "/", inverse=True)

    def __neg__(self) -> Any:
        return _rescaled(self, -1.0, 0.0, "-")

    __radd__ = __add__
    __rmul__ = __mul__

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Leaves the arithmetic of a number of NumPy with a tensor to the methods above."""
        sums = {"add": self.__radd__, "subtract": self.__rsub__, "multiply": self.__rmul__}
        reflected = sums.get(ufunc.__name__)
        if method == "__call__" and reflected and len(inputs) == 2 and inputs[1] is self and not options:
            return reflected(inputs[0])
        raise TypeError(f"numpy.{ufunc.__name__}: {self._valueless}")

    @property
    def _valueless(self) -> str:
        return (
            f"expected numbers. Received {self!r}, which has no values: it is what a layer will make. "
            "Use layers of gridnn.layers on it, or make a gn.Model and call predict."
        )

    def _refused(self, *others: Any) -> Any:
        raise TypeError(self._valueless)

    __pow__ = __rpow__ = __matmul__ = __rmatmul__ = __rtruediv__ = __floordiv__ = __mod__ = _refused
    __lt__ = __le__ = __gt__ = __ge__ = __abs__ = __float__ = __int__ = _refused
    __getitem__ = __len__ = __array__ = _refused


class Result(Tensor):
    """A symbolic tensor that a call makes.

    Args:
        call: the call.
        shape: its shape, with the batch axis.
    """

    def __init__(self, call: Call, shape: Shape) -> None:
        self.origin: Call = call
        self._shape = shape

    @property
    def shape(self) -> Shape:
        """Shape with the batch axis."""
        return self._shape

    @property
    def name(self) -> str:
        """Name of the layer or model that makes it."""
        return str(self.origin.owner.name)

    def __repr__(self) -> str:
        return f"<symbolic tensor of '{self.name}', shape={self.shape}, dtype={self.dtype}>"

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            f"{self!r} has no values: it stands for what a layer will make. Use layers of gridnn.layers on "
            "it, or make a gn.Model and call predict."
        )

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} has no values, so it is neither true nor false.")


class Call:
    """A layer, or a model, applied to symbolic tensors.

    Args:
        owner: the layer or model.
        inputs: what it reads.
        training: False if it always acts as at inference.
        shapes: shapes of what it makes, with the batch axis.
    """

    def __init__(
        self, owner: Any, inputs: Sequence[Tensor], training: bool | None, shapes: Sequence[Shape]
    ) -> None:
        self.owner = owner
        self.inputs = tuple(inputs)
        self.training = training
        self.outputs = tuple(Result(self, shape) for shape in shapes)


def is_symbolic(value: object) -> bool:
    """Whether `value` is a symbolic tensor, or a list or dict with one."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return any(is_symbolic(item) for item in value if isinstance(item, (Tensor, list, tuple)))
    return isinstance(value, Tensor)


def tensors_of(value: object, label: str) -> list[Tensor]:
    """The symbolic tensors of one, a list or a tuple.

    Raises:
        TypeError: there are others.
    """
    items = list(value) if isinstance(value, (list, tuple)) else [value]
    tensors = []
    for item in items:
        if not isinstance(item, Tensor):
            raise TypeError(
                f"{label}: expected symbolic tensors, as gn.Input and calls of layers return them. Received "
                f"{type(item).__name__}."
            )
        tensors.append(item)
    return tensors


def apply(layer: Layer, value: object, training: bool | None) -> Tensor:
    """What a layer makes of symbolic tensors.

    Raises:
        ShapeError, ValueError: they do not fit the layer.
        TypeError: they are no symbolic tensors.
    """
    tensors = tensors_of(value, layer.label)
    if len(tensors) != 1 and not layer.merges:
        raise ValueError(
            f"{layer.label} takes one tensor. Received {len(tensors)}; put them together first, with "
            "layers.Concatenate for instance."
        )
    if layer.merges and not isinstance(value, (list, tuple)):
        raise ValueError(f"{layer.label} takes a list of tensors. Received one.")
    shape = result_shape(layer, [tensor.shape for tensor in tensors])
    call = Call(layer, tensors, training, [(batch_of(tensors, layer.label), *shape[1:])])
    layer._calls.append(call)
    return call.outputs[0]


def batch_of(tensors: Sequence[Tensor], label: str) -> int | None:
    """The number of samples of tensors that are read together; None where nobody knows it.

    Raises:
        ShapeError: there are several.
    """
    sizes = {tensor.shape[0] for tensor in tensors} - {None}
    if len(sizes) > 1:
        raise ShapeError(
            f"{label}: all inputs must have the same number of samples. Received tensors of shapes "
            f"{', '.join(str(tensor.shape) for tensor in tensors)}."
        )
    return sizes.pop() if sizes else None


def result_shape(layer: Layer, shapes: Sequence[Shape]) -> Shape:
    """Shape of what a layer makes of inputs of these shapes, all with the batch axis."""
    inputs = [input_description(shape[1:]) for shape in shapes]
    description = {**layer._twin().engine_description(), "inputs": list(range(len(inputs)))}
    return (None, *_network.output_shapes([*inputs, description])[len(inputs)])


def input_description(shape: Shape, name: str = "input") -> dict[str, Any]:
    """What the engine is told about an input of samples of this shape."""
    return {"class_name": "Input", "name": name, "config": {"shape": list(shape)}}


def _merged(name: str, first: Tensor, second: Tensor) -> Any:
    """What a merging layer makes of two tensors."""
    return ARITHMETIC[name]()([first, second])


def _rescaled(
    tensor: Tensor, scale: Any, offset: Any, sign: str, *, negative: bool = False, inverse: bool = False
) -> Any:
    """``tensor * scale + offset``, by a layer.

    Raises:
        TypeError: one of them is no number.
    """
    numbers = []
    for number in (scale, offset):
        single = not isinstance(number, (bool, str, bytes)) and np.ndim(number) == 0
        if not single or not isinstance(number, SupportsFloat):
            raise TypeError(
                f"{tensor!r} {sign} {type(number).__name__}: expected a number, or (but for /) a symbolic "
                "tensor of the same model. Other arithmetic is a layer: layers.Rescaling, or one of your own."
            )
        numbers.append(float(number))
    scale, offset = numbers
    if inverse:
        if scale == 0.0:
            raise ZeroDivisionError(f"{tensor!r} / 0")
        scale = 1.0 / scale
    return ARITHMETIC["Rescaling"](scale, -offset if negative else offset)(tensor)
