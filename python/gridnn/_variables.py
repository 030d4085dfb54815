"""Handles of arrays that change: weights of layers, and what metrics keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._arrays import as_numbers, narrowed
from gridnn.errors import ShapeError

__all__ = ["Variable"]


class Variable(NDArrayOperatorsMixin):
    """A handle of an array whose values change, of a shape and a type that do not.

    What is computed with it is computed with the array of that moment: NumPy's functions and operators take
    it, and return arrays. `numpy` copies.

    Args:
        value: the first values, as an array or nested lists.
        name: its name.
        trainable: whether an optimizer is to change it.
        dtype: its type; None is that of `value`.
        path: its name among others; None is `name`.

    Example:
        >>> total = Variable([1.0, 2.0], name="total")
        >>> total.assign_add([1.0, 1.0])
        >>> total * 2
        array([4., 6.])
    """

    def __init__(
        self,
        value: object,
        name: str = "variable",
        *,
        trainable: bool = True,
        dtype: Any = None,
        path: str | None = None,
    ) -> None:
        array = as_numbers(value, "value")
        self._array: NDArray[Any] = np.array(array, dtype=array.dtype if dtype is None else np.dtype(dtype))
        self._name = _validation.string(name, "name")
        self._path = self._name if path is None else path
        self._trainable = _validation.boolean(trainable, "trainable")

    # What another kind of variable has elsewhere

    def _read(self) -> NDArray[Any]:
        """The array now, which nobody writes to."""
        return self._array

    def _write(self, value: NDArray[Any]) -> None:
        """Puts an array of this shape and type in its place."""
        self._array = value.copy()

    @property
    def name(self) -> str:
        """Name."""
        return self._name

    @property
    def path(self) -> str:
        """Name with that of its owner: ``dense/kernel``."""
        return self._path

    @property
    def identity(self) -> object:
        """What tells it from other variables."""
        return id(self)

    @property
    def trainable(self) -> bool:
        """Whether an optimizer changes it."""
        return self._trainable

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape."""
        return tuple(self._read().shape)

    @property
    def dtype(self) -> str:
        """Name of the type."""
        return str(self._read().dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    def numpy(self) -> NDArray[Any]:
        """A copy of the values."""
        return np.array(self._read())

    @property
    def value(self) -> NDArray[Any]:
        """A copy of the values."""
        return self.numpy()

    def assign(self, value: object) -> None:
        """Sets all values.

        Args:
            value: an array of the same shape, or what broadcasts to it; it is converted to the type.

        Raises:
            ShapeError: it has another shape.
            TypeError: not numbers.
        """
        array = as_numbers(value, f"value of '{self.path}'")
        try:
            array = np.broadcast_to(array, self.shape)
        except ValueError:
            raise ShapeError(f"'{self.path}' has shape {self.shape}. Received {array.shape}.") from None
        dtype = np.dtype(self.dtype)
        if dtype.kind == "f":
            self._write(narrowed(array, dtype, f"'{self.path}'"))
        else:
            self._write(array.astype(dtype))

    def assign_add(self, value: object) -> None:
        """Adds to all values; see `assign`."""
        self.assign(self._read() + as_numbers(value, f"value of '{self.path}'"))

    def assign_sub(self, value: object) -> None:
        """Subtracts from all values; see `assign`."""
        self.assign(self._read() - as_numbers(value, f"value of '{self.path}'"))

    # As an array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self._read(), dtype=dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(isinstance(out, Variable) for out in kwargs.get("out", ())):
            return NotImplemented
        plain = [value._read() if isinstance(value, Variable) else value for value in inputs]
        return getattr(ufunc, method)(*plain, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        return self.numpy()[key]

    def __len__(self) -> int:
        return len(self._read())

    def __float__(self) -> float:
        return float(self._read())

    def __int__(self) -> int:
        return int(self._read())

    def __index__(self) -> int:
        return int(self._read().__index__())

    def __bool__(self) -> bool:
        return bool(self._read())

    def __hash__(self) -> int:
        return id(self)

    def __format__(self, spec: str) -> str:
        return format(self._read()[()] if not self.shape else self._read(), spec)

    def __repr__(self) -> str:
        value = "" if self.shape else f", {self._read()[()]}"
        return f"<Variable '{self.path}': {self.dtype} of shape {self.shape}{value}>"


def shape_of(sizes: int | Sequence[int]) -> tuple[int, ...]:
    """A shape that is given as an integer or a sequence.

    Raises:
        TypeError, ValueError: not sizes.
    """
    listed = sizes if isinstance(sizes, Sequence) else (sizes,)
    return tuple(_validation.non_negative_integer(size, "shape") for size in listed)
