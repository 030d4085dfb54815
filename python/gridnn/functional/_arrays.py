"""Arrays made canonical: the types, layouts and `out` arguments of every function in `gridnn.functional`.

The engine reads C-contiguous arrays of one type, float32 or float64, in place. It hands everything else to
the functions here, which bring it into that form with at most one copy an operand, or raise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _hints, _validation
from gridnn._arrays import as_numbers, contiguous
from gridnn.errors import ShapeError

__all__ = [
    "ArrayLike",
    "Padding",
    "Sizes",
    "check_out",
    "expect_rank",
    "full_shape",
    "operands",
    "rank_of_shape",
]

ArrayLike = Any
"""What ``numpy.asarray`` makes an array of."""
Sizes = int | Sequence[int]
"""A number for every spatial axis, or one each."""
Padding = str | int | Sequence[Sequence[int]]
"""A rule, elements on every side, or a pair (before, after) per spatial axis."""

_FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)


def operands(
    rank: int | None, names: tuple[str, ...], values: tuple[ArrayLike, ...], ranked: int
) -> tuple[list[NDArray[Any]], int, bool]:
    """Returns operands as C-contiguous arrays of one type, their spatial axes, and whether it is float64.

    float32 and float64 are promoted as NumPy does; integers, bool and float16 count as float32, longer floats
    as float64.

    Args:
        rank: spatial axes that an operand must have besides batch and channels; None takes the first one's.
        names: names of the arguments, for messages.
        values: what the user passed.
        ranked: how many of the operands, from the first on, have these axes; the others may have any.

    Raises:
        TypeError: complex numbers, strings, dates, objects, ragged sequences, masked arrays.
        ShapeError: an operand does not have ``rank + 2`` axes.
    """
    arrays = [as_numbers(value, name) for name, value in zip(names, values, strict=True)]
    if rank is None:
        _expect_batch(names[:ranked], [array.shape for array in arrays[:ranked]])
        rank = _rank(names[0], arrays[0].shape)
    for name, array in zip(names[:ranked], arrays, strict=False):
        expect_rank(name, array.shape, rank)
    wide = any(array.dtype.kind == "f" and array.dtype.itemsize > 4 for array in arrays)
    dtype = _FLOAT64 if wide else _FLOAT32
    # Also swaps bytes where needed: NumPy regards an array of another byte order as a different type.
    return [contiguous(array, dtype) for array in arrays], rank, wide


def _expect_batch(names: Sequence[str], shapes: Sequence[Sequence[int]]) -> None:
    """Refuses a first operand, which the others are measured by, that is one sample without a batch axis.

    Raises:
        ShapeError: all others have one axis more.
    """
    axes = len(shapes[0]) + 1
    if len(shapes) > 1 and 3 <= axes <= 5 and all(len(shape) == axes for shape in shapes[1:]):
        raise ShapeError(
            f"The `{names[0]}` argument must have {axes} axes ({_axes(names[0], axes - 2)}), as `{names[1]}` "
            f"of shape {tuple(shapes[1])} has. Received shape {tuple(shapes[0])}. One sample? Pass "
            f"{names[0]}[numpy.newaxis]."
        )


def _axes(name: str, rank: int) -> str:
    """The axes of an argument in words."""
    spatial = ", ".join(("depth", "height", "width")[3 - rank :]) if rank > 1 else "steps"
    if "kernel" not in name:
        return f"batch, {spatial}, channels"
    last = {
        "depthwise_kernel": "channels, multiplier",
        "pointwise_kernel": "channels * multiplier, filters",
    }
    # Their order is not the same for plain and transposed convolutions.
    return f"{spatial}, {last.get(name, 'then channels and filters as the function takes them')}"


def _hint(name: str, shape: Sequence[int], axes: int) -> str:
    """What an argument of one axis too few or too many may be."""
    if not name.endswith("_shape") and "kernel" not in name:
        return _hints.for_rank(shape, axes, name)
    if len(shape) == axes + 1:
        return " Arrays of one sample? They need a batch axis as well: x[numpy.newaxis]."
    if len(shape) != axes - 1:
        return ""
    if "kernel" in name:
        return " One channel, or one filter? Its axis must be there, of size 1."
    return f" The shape of one sample? Pass (1, *{name})."


def _rank(name: str, shape: Sequence[int]) -> int:
    if not 3 <= len(shape) <= 5:
        raise ShapeError(
            f"The `{name}` argument must have 3 to 5 axes: batch, one to three spatial axes, channels. "
            f"Received shape {tuple(shape)}."
        )
    return len(shape) - 2


def rank_of_shape(value: object) -> int:
    """The spatial axes of a full shape.

    Raises:
        TypeError: not a sequence.
        ShapeError: not 3 to 5 axes.
    """
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence | np.ndarray):
        raise TypeError(f"The `input_shape` argument must be a tuple of 3 to 5 sizes. Received {value!r}.")
    return _rank("input_shape", tuple(value))


def expect_rank(name: str, shape: Sequence[int], rank: int) -> None:
    """Checks that a shape has batch, `rank` spatial axes and channels, or that of a kernel these and filters.

    Raises:
        ShapeError: it has not.
    """
    if len(shape) != rank + 2:
        raise ShapeError(
            f"The `{name}` argument must have {rank + 2} axes ({_axes(name, rank)}). Received shape "
            f"{tuple(shape)}.{_hint(name, shape, rank + 2)}"
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
