"""What users pass as numbers, made arrays of types that the engine reads.

Tables, sparse matrices and extension types are known by what they offer: no library but NumPy is imported.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn._validation import not_masked

__all__ = [
    "READ_IN_PLACE",
    "as_array",
    "as_numbers",
    "contiguous",
    "is_sparse",
    "narrowed",
    "not_finite",
    "several_shapes",
    "shape_of",
]

READ_IN_PLACE = frozenset(np.dtype(kind + size) for kind in "iu" for size in "1248") | {
    np.dtype(np.float32),
    np.dtype(np.float64),
}


_BLOCK = 1 << 18  # elements looked at at once


def as_array(value: object, argument: str) -> NDArray[Any]:
    """Returns `value` as an array the engine reads in place, copied only where it is not one.

    That is C-contiguous, aligned and of a type in `READ_IN_PLACE`: bool becomes uint8 (a view),
    float16 and bfloat16 float32, other byte orders the machine's own. A memory-mapped file stays on disk.

    Args:
        value: an array, anything with `__array__`, a table, or nested sequences of numbers.
        argument: its name, for messages.

    Raises:
        TypeError: complex numbers, strings, dates, objects, sparse matrices, ragged sequences, masked arrays.
        ValueError: there is no batch axis.
    """
    # Most calls bring such an array already, and for one sample the checks below take a share of the time.
    if type(value) is np.ndarray and value.ndim and value.dtype in READ_IN_PLACE:
        flags = value.flags
        if flags.c_contiguous and flags.aligned:
            return value
    array = as_numbers(value, argument)
    if array.dtype == np.bool_:
        array = np.asarray(array, order="C").view(np.uint8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if array.ndim == 0:
        raise ValueError(f"The `{argument}` argument must have a batch axis. Received a single number.")
    # NumPy regards an array of another byte order as a different type; the engine knows the native one only.
    return contiguous(array, array.dtype.newbyteorder("="))


def contiguous(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """`array` in this type, C-contiguous and aligned; a copy only where it is not."""
    # `np.ascontiguousarray` makes (1,) of ().
    array = np.asarray(array, dtype=dtype, order="C")
    # What begins anywhere in a file or a message need not lie where processors want numbers of its size.
    return array if array.flags.aligned else array.copy()


def as_numbers(value: object, argument: str) -> NDArray[Any]:
    """Returns `value` as an array of bools, integers or floats of NumPy's own types, in any layout.

    Raises:
        TypeError: it holds something else; the message says what, and what can be done.
    """
    not_masked(value, argument)
    if is_sparse(value):
        raise TypeError(
            f"The `{argument}` argument is a sparse matrix, which the engine does not read. Pass "
            f"{argument}.toarray(), or an iterable of batches that are converted one by one."
        )
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise TypeError(_ragged(value, argument) or f"`{argument}` is not an array: {error}.") from error
    kind = array.dtype.kind
    if kind in "biuf" and array.dtype.type.__module__ == "numpy":
        return array
    if array.dtype.type.__module__ == "ml_dtypes" and kind != "c":
        # bfloat16, float8, int4 and their like: NumPy calls them void, or a float that it does not know.
        return array.astype(np.float32)
    if _is_pandas(value) and not (array.ndim == 1 and str(getattr(value, "dtype", "")) == "object"):
        return _table(value, argument)
    if kind == "O" and not array.ndim:
        cure = ""
        if isinstance(value, dict) and value:
            cure = f" Pass the array in it: {argument}[{next(iter(value))!r}]."
        raise TypeError(f"The `{argument}` argument must be an array. Received {type(value).__name__}.{cure}")
    raise TypeError(
        f"The `{argument}` argument must hold real numbers. Received an array of type {array.dtype} and "
        f"shape {array.shape}.{_advice(array, argument)}"
    )


def shape_of(source: object, argument: str) -> Any:
    """What a source, which may be a file's, says that its shape is; None if it has none.

    Raises:
        ValueError: its file is closed.
    """
    try:
        return getattr(source, "shape", None)
    except Exception as error:  # each library has another one for that
        raise ValueError(
            f"The `{argument}` argument cannot be read ({error}): a file that it comes from must be open."
        ) from error


def is_sparse(value: object) -> bool:
    """Whether `value` is a matrix of SciPy's (or somebody else's) that stores only what is not zero."""
    return hasattr(value, "toarray") and hasattr(value, "nnz") and not hasattr(value, "__array__")


def _is_pandas(value: object) -> bool:
    return type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "to_numpy")


def _table(value: Any, argument: str) -> NDArray[Any]:
    """A frame, series or index of numbers, which may be nullable; what is missing becomes NaN."""
    columns = list(value.dtypes.items()) if value.ndim == 2 else [(None, value.dtype)]
    others = [(name, dtype) for name, dtype in columns if getattr(dtype, "kind", "O") not in "biuf"]
    if others:
        named = ", ".join(str(dtype) if name is None else f"{name!r} ({dtype})" for name, dtype in others[:5])
        what = "is a series of" if value.ndim == 1 else "has columns that are not numbers:"
        raise TypeError(
            f"The `{argument}` argument {what} {named}{', ...' if len(others) > 5 else ''}. Drop or encode "
            "them: `.cat.codes` numbers categories, `pandas.get_dummies` makes a column of each."
        )
    whole = all(dtype.kind in "biu" for _, dtype in columns) and not np.any(value.isna())
    if whole:
        unsigned = all(dtype.kind == "u" for _, dtype in columns)
        return np.asarray(value.to_numpy(dtype=np.uint64 if unsigned else np.int64))
    # `na_value` speaks of missing values only; without it pandas refuses to make them NaN.
    return np.asarray(value.to_numpy(dtype=np.float64, na_value=np.nan))


def several_shapes(value: object) -> list[tuple[int, ...]]:
    """The first two shapes of the elements of a sequence that has several; else nothing."""
    if not isinstance(value, (list, tuple)):
        return []
    try:
        shapes = list(dict.fromkeys(np.shape(element) for element in value))
    except ValueError:
        return []  # it is an element that has no shape
    return shapes[:2] if len(shapes) > 1 else []


def _ragged(value: Any, argument: str) -> str | None:
    """What is said of a sequence whose elements have several shapes; None if it is something else."""
    shapes = several_shapes(value)
    if not shapes:
        return None
    first, second = shapes
    if isinstance(value, tuple) and len(value) in (2, 3):
        return (
            f"The `{argument}` argument is a tuple of {len(value)} arrays, of shapes {first} and {second}. "
            "Inputs, targets and weights are arguments of their own; a list of batches holds tuples (x, y)."
        )
    return (
        f"The `{argument}` argument holds samples of several shapes, {first} and {second} among them, and an "
        "array has one. Pad or cut them to one length (numpy.pad); a model whose Input has None there also "
        "takes an iterable of batches, each of one length."
    )


def _advice(array: NDArray[Any], argument: str) -> str:
    """What can be done about an array that does not hold numbers."""
    if array.dtype.kind in "US" and not array.ndim:
        return " A text is no data: if it names a file, read that first."
    if array.dtype.kind in "US":
        return f" Names of classes become numbers by `numpy.unique({argument}, return_inverse=True)`."
    if array.dtype.kind == "O" and array.size:
        elements = [element for element in array.flat if not isinstance(element, (bool, int, float))]
        if elements and all(isinstance(element, (np.ndarray, list)) for element in elements):
            return (
                f" Its elements are arrays: `numpy.stack({argument})` makes one of them if they have one "
                "shape; else pad or cut them first."
            )
        if elements:
            return f" It holds {str(elements[0])[:40]!r} ({type(elements[0]).__name__})."
        return f" Its elements are numbers: pass {argument}.astype(float)."
    return ""


def not_finite(
    array: NDArray[Any], dtype: np.dtype[Any], indices: NDArray[np.int64] | None = None
) -> tuple[int, float] | None:
    """The first sample that has an element which is not finite as `dtype`, and that element; else None.

    Args:
        array: samples along the first axis.
        dtype: of the model: 1e39 is no number of float32.
        indices: samples to look at, in this order; None for all.
    """
    if array.dtype.kind != "f":
        return None  # every integer has a place in float32
    count = len(array) if indices is None else len(indices)
    rows = max(1, _BLOCK * count // max(array.size, 1))
    for start in range(0, count, rows):
        block = array[slice(start, start + rows) if indices is None else indices[start : start + rows]]
        with np.errstate(over="ignore"):
            good = np.isfinite(block.astype(dtype, copy=False)).reshape(len(block), -1)
        if not good.all():
            row = int(good.all(axis=1).argmin())
            number = start + row if indices is None else int(indices[start + row])
            return number, float(block[row].reshape(-1)[good[row].argmin()])
    return None


def narrowed(array: NDArray[Any], dtype: np.dtype[Any], owner: str) -> NDArray[Any]:
    """`array` as `dtype`, contiguous and aligned.

    Raises:
        ValueError: a finite number of it is infinite in `dtype`.
    """
    if array.dtype == dtype:
        return contiguous(array, dtype)
    with np.errstate(over="ignore"):
        result = contiguous(array, dtype)
    if array.dtype.kind == "f" and array.dtype.itemsize > dtype.itemsize and not np.isfinite(result).all():
        lost = np.isinf(result) & np.isfinite(array)
        if lost.any():
            raise ValueError(
                f"{owner} holds {array[lost].flat[0]:g}, which {dtype} cannot hold: at most "
                f"{np.finfo(dtype).max:.3g}. Scale the numbers, or make the model with dtype='float64'."
            )
    return result
