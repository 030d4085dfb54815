"""Labels, vectors and sequences as arrays."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from gridnn import _validation
from gridnn._arrays import as_numbers
from gridnn.layers.symbolic import Tensor

__all__ = ["as_type", "is_keras_tensor", "normalize", "pad_sequences", "to_categorical"]

_MOST_CLASSES = 2**62


def as_type(array: NDArray[Any], dtype: np.dtype[Any], owner: str) -> NDArray[Any]:
    """Numbers in another type, which rounds but does not make others of them.

    Raises:
        ValueError: one is beyond the type.
    """
    if dtype.kind not in "iuf" or array.dtype.kind not in "iuf" or not array.size:
        return array.astype(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        result = array.astype(dtype)
    if dtype.kind == "f":
        wrong = np.isinf(result) & np.isfinite(array)
    else:
        limits = np.iinfo(dtype)
        if array.dtype.kind == "f":
            whole = np.trunc(array)
            wrong = ~((whole >= float(limits.min)) & (whole < float(limits.max + 1)))  # powers of two: exact
        else:
            wrong = (result != array) | ((result < 0) != (array < 0))  # 2**64 - 1 and -1 are of equal bits
    if wrong.any():
        raise ValueError(
            f"{owner} holds {array[wrong].flat[0]:g}, which {dtype} cannot hold. Give another `dtype`, or "
            "scale the numbers."
        )
    return result


def _numbers(value: object) -> NDArray[Any]:
    """A number of Python or NumPy, or several, as they are."""
    if isinstance(value, (np.ndarray, list, tuple)):
        return as_numbers(value, "value")
    _validation.real(0.0 if isinstance(value, float) else value, "value")  # a float may be NaN
    return np.asarray(value)


def to_categorical(x: Any, num_classes: int | None = None) -> NDArray[np.float64]:
    """One-hot rows of class labels.

    The loss "sparse_categorical_crossentropy" takes labels as they are, in less memory.

    Args:
        x: whole numbers from 0, of any shape; a last axis of size 1 is dropped.
        num_classes: number of classes; None for the largest label and one more.

    Returns:
        Array of the shape of `x` and an axis of `num_classes`.

    Raises:
        ValueError: a label is negative, a fraction, or not below `num_classes`.

    Example:
        >>> to_categorical([1, 0]).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    values = as_numbers(x, "x")
    wrong = values[
        ~((values >= 0) & (values < _MOST_CLASSES) & (values == np.floor(values)))
    ]  # NaN is neither
    if wrong.size:
        raise ValueError(
            f"The `x` argument must hold class labels 0, 1, 2 and so on. It holds {wrong.flat[0]:g}."
        )
    labels = values.astype(np.int64)
    if values.ndim > 1 and values.shape[-1] == 1:
        labels = labels[..., 0]
    most = int(labels.max()) if labels.size else -1
    count = most + 1 if num_classes is None else _validation.positive_integer(num_classes, "num_classes")
    if most >= count:
        raise ValueError(f"The `x` argument holds label {most}, but there are {count} classes, from 0 on.")
    try:
        result = np.zeros((*labels.shape, count))
    except (MemoryError, ValueError) as error:  # ValueError: more than there are addresses
        raise MemoryError(
            f"{labels.size} rows of {count} classes take {labels.size * count / 2**27:.3g} GiB, more than "
            "can be had. Labels are to be 0, 1, 2 and so on; the loss sparse_categorical_crossentropy takes "
            "them as they are."
        ) from error
    np.put_along_axis(result, labels[..., np.newaxis], 1.0, axis=-1)
    return result


def normalize(x: Any, axis: int = -1, order: int = 2) -> NDArray[Any]:
    """Scales vectors to length 1; those of length 0 stay.

    Args:
        x: an array.
        axis: axis along which the vectors are.
        order: of the norm: 2 is the length, 1 the sum of magnitudes.

    Example:
        >>> normalize(np.array([[3.0, 4.0]])).tolist()
        [[0.6, 0.8]]
    """
    values = as_numbers(x, "x")
    values = values if values.dtype.kind == "f" else values.astype(np.float64)
    axis = _validation.integer(axis, "axis")
    # By powers of two, which are exact: the squares of 1e200 and of 1e-200 are no numbers.
    largest = np.abs(values).max(axis=axis, keepdims=True, initial=0)
    scaled = np.ldexp(values, -np.frexp(largest)[1])
    lengths = np.linalg.norm(scaled, _validation.positive_integer(order, "order"), axis, keepdims=True)
    lengths[lengths == 0] = 1
    return np.asarray(scaled / lengths)


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: DTypeLike = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: ArrayLike = 0.0,
) -> NDArray[Any]:
    """Sequences of several lengths as one array.

    Args:
        sequences: sequences ``(length, ...)`` of numbers, alike but for their lengths.
        maxlen: length of all; None for that of the longest.
        dtype: type of the array. The default is for numbers of words; "float32" is for measurements, which it
            would round towards 0, with a warning.
        padding: "pre" or "post": where short ones are filled up.
        truncating: "pre" or "post": where long ones are cut.
        value: what fills them up: a number, or of series of several channels one for each.

    Returns:
        Array ``(sequences, maxlen, ...)``.

    Raises:
        ValueError: an element is no sequence, its further axes differ from those of the first, or it holds
            a number that `dtype` does not: NaN and 3e9 in int32; `value` has another shape than an element
            of a sequence.
        TypeError: an element does not hold numbers, and `dtype` is one of numbers.

    Example:
        >>> pad_sequences([[1], [2, 3, 4]], maxlen=2).tolist()
        [[0, 1], [3, 4]]
    """
    padding = _validation.choice(padding, "padding", ("pre", "post"))
    truncating = _validation.choice(truncating, "truncating", ("pre", "post"))
    if not isinstance(sequences, Iterable):
        raise TypeError(f"The `sequences` argument must be a list of sequences. Received {sequences!r}.")
    kind = np.dtype(dtype)
    of_numbers = kind.kind in "biuf"
    arrays = [
        as_numbers(sequence, "sequences") if of_numbers else np.asarray(sequence) for sequence in sequences
    ]
    filling = as_type(_numbers(value), kind, "The `value` argument") if of_numbers else np.asarray(value)
    for number, array in enumerate(arrays):
        if not array.ndim:
            raise ValueError(f"The `sequences` argument must hold sequences; number {number} is {array}.")
    rest = next((array.shape[1:] for array in arrays if len(array)), ())
    length = max((len(array) for array in arrays), default=0)
    if maxlen is not None:
        length = _validation.positive_integer(maxlen, "maxlen")
    if filling.ndim and filling.shape != rest:
        raise ValueError(
            f"The `value` argument must be a number, or have the shape {rest} of an element of a sequence. "
            f"Received shape {filling.shape}."
        )
    result = np.full((len(arrays), length, *rest), filling, kind)
    for number, array in enumerate(arrays):
        if not len(array):
            continue
        if array.shape[1:] != rest:
            raise ValueError(
                f"The `sequences` argument must hold sequences of elements of shape {rest}; those of number "
                f"{number} have shape {array.shape[1:]}."
            )
        part = array[-length:] if truncating == "pre" else array[:length]
        place = slice(length - len(part), None) if padding == "pre" else slice(None, len(part))
        result[number, place] = as_type(part, kind, f"Number {number} of the `sequences` argument")
    # Who asks for another integer knows what it does.
    if kind == np.int32 and any(
        array.dtype.kind == "f" and (np.trunc(array) != array).any() for array in arrays
    ):
        warnings.warn(
            "pad_sequences: the type of the array, int32, cuts off what numbers have behind the point. For "
            "measurements pass dtype='float32'.",
            UserWarning,
            stacklevel=2,
        )
    return result


def is_keras_tensor(x: object) -> bool:
    """Whether `x` is a symbolic tensor, as `gridnn.Input` and calls of layers on one return them.

    Args:
        x: anything.

    Example:
        >>> gn.utils.is_keras_tensor(gn.Input((3,)))
        True
    """
    return isinstance(x, Tensor)
