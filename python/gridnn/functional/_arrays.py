"""Arrays made canonical: the types, layouts and `out` arguments of every function in `gridnn.functional`.

The engine reads C-contiguous float32 and float64 arrays in place. Everything else is brought into that form
here, with at most one copy an operand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _hints, _validation
from gridnn._arrays import as_numbers, contiguous
from gridnn.errors import ShapeError

__all__ = ["ArrayLike", "as_floats", "check_out", "expect_rank", "full_shape"]

ArrayLike = Any
"""What ``numpy.asarray`` makes an array of."""

_FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)


def as_floats(rank: int | None, **operands: ArrayLike) -> list[NDArray[Any]]:
    """Returns the operands as C-contiguous arrays of one type, float32 or float64, in the order given.

    float32 and float64 are promoted as NumPy does; integers, bool and float16 count as float32, longer floats
    as float64. Operands of another number of axes (a bias) go into the same call with `rank` None, and are
    checked one by one with `expect_rank`.

    Args:
        rank: spatial axes that every operand must have besides batch and channels; None checks nothing.
        **operands: what the user passed, by the name of the argument.

    Raises:
        TypeError: complex numbers, strings, dates, objects, ragged sequences, masked arrays.
        ShapeError: an operand does not have ``rank + 2`` axes.
    """
    arrays = [as_numbers(value, name) for name, value in operands.items()]
    if rank is not None:
        for name, array in zip(operands, arrays, strict=True):
            expect_rank(name, array.shape, rank)
    wide = any(array.dtype.kind == "f" and array.dtype.itemsize > 4 for array in arrays)
    dtype = _FLOAT64 if wide else _FLOAT32
    # Also swaps bytes where needed: NumPy regards an array of another byte order as a different type.
    return [contiguous(array, dtype) for array in arrays]


def expect_rank(name: str, shape: Sequence[int], rank: int) -> None:
    """Checks that a shape has batch, `rank` spatial axes and channels.

    Raises:
        ShapeError: it has not.
    """
    if len(shape) != rank + 2:
        axes = ", ".join([*("depth", "height", "width")[3 - rank :]] if rank > 1 else ["steps"])
        raise ShapeError(
            f"The `{name}` argument must have {rank + 2} axes (batch, {axes}, channels). Received shape "
            f"{tuple(shape)}.{_hints.for_rank(shape, rank + 2, name)}"
        )


def full_shape(value: object, rank: int, name: str = "input_shape") -> tuple[int, ...]:
    """Returns a shape of batch, `rank` spatial axes and channels as a tuple of ints.

    Raises:
        TypeError: not a sequence of integers.
        ShapeError: another number of axes, or a negative size.
    """
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence | np.ndarray):
        raise TypeError(f"The `{name}` argument must be a tuple of {rank + 2} sizes. Received {value!r}.")
    shape = tuple(_validation.integer(size, name) for size in value)
    expect_rank(name, shape, rank)
    if min(shape) < 0:
        raise ShapeError(f"The `{name}` argument holds a negative size. Received {shape}.")
    if max(shape) >= 2**63:
        raise ShapeError(f"The `{name}` argument holds a size that no array has. Received {shape}.")
    return shape


def check_out(out: object, dtype: np.dtype[Any], name: str = "out") -> NDArray[Any] | None:
    """Returns `out` if a result of type `dtype` can be written there; the engine checks its shape.

    Raises:
        TypeError: `out` is not an array, or one of another type.
        ValueError: it is not C-contiguous or not writeable.
    """
    if out is None:
        return None
    if not isinstance(out, np.ndarray):
        raise TypeError(f"The `{name}` argument must be an array or None. Received {type(out).__name__}.")
    if out.dtype != dtype:
        raise TypeError(f"The `{name}` argument must be of type {dtype}. Received {out.dtype}.")
    if not out.flags.c_contiguous:
        raise ValueError(f"The `{name}` argument must be C-contiguous. Received strides {out.strides}.")
    if not out.flags.aligned:
        raise ValueError(f"The `{name}` argument must be aligned: numbers at multiples of their size.")
    if not out.flags.writeable:
        raise ValueError(f"The `{name}` argument must be writeable.")
    return out
