"""Values of Python and NumPy in JSON's terms, as files keep the states of callbacks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation

__all__ = ["decode", "encode", "plain"]

_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def encode(value: Any, arrays: list[NDArray[Any]], what: str = "the state") -> Any:
    """A value in JSON's terms; what JSON lacks becomes an object whose only key begins with a dollar.

    Args:
        value: None, numbers, text, and lists, tuples, dicts and NumPy arrays of such; tuples become lists.
        arrays: receives the arrays, which files keep as tensors.
        what: name of the value, for messages.

    Raises:
        TypeError: the value holds something else.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$number": str(value)}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
        # A type that files know, in this machine's byte order; of no axes they make one.
        kept = np.dtype(np.float32) if value.dtype == np.float16 else value.dtype.newbyteorder("=")
        flat = value.reshape(-1).astype(kept, copy=False)
        arrays.append(flat.view(np.uint8) if value.dtype == np.bool_ else flat)
        return {"$array": [len(arrays) - 1, str(value.dtype), list(value.shape)]}
    if isinstance(value, (list, tuple)):
        return [encode(part, arrays, what) for part in value]
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: encode(part, arrays, what) for key, part in value.items()}
        return {"$dict": [[encode(k, arrays, what), encode(v, arrays, what)] for k, v in value.items()]}
    raise TypeError(
        f"{what} must consist of None, numbers, text, and lists, dicts and NumPy arrays of these. Received "
        f"{type(value).__name__}."
    )


def decode(value: Any, arrays: Sequence[NDArray[Any]]) -> Any:
    """The value that `encode` was given; what does not fit raises ValueError, TypeError or LookupError."""
    if isinstance(value, list):
        return [decode(part, arrays) for part in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 1 or not next(iter(value)).startswith("$"):
        return {key: decode(part, arrays) for key, part in value.items()}
    (kind, content), *_ = value.items()
    if kind == "$number":
        return _NOT_FINITE[content]
    if kind == "$array":
        number, dtype, shape = content
        flat = arrays[_validation.non_negative_integer(number, "array")]
        return flat.reshape(shape).astype(np.dtype(_validation.string(dtype, "dtype")))
    if kind == "$dict":
        return {decode(key, arrays): decode(part, arrays) for key, part in content}
    raise ValueError(f"unknown kind of value {kind!r}")


def plain(value: Any) -> Any:
    """The value if it can be encoded, else its text: logs may hold anything."""
    try:
        encode(value, [])
    except (TypeError, RecursionError):
        return str(value)
    return value
