"""Labels, vectors and sequences as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gridnn import _validation
from gridnn._arrays import as_numbers

__all__ = ["normalize", "pad_sequences", "to_categorical"]


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
    labels = values.astype(np.int64)
    if values.ndim > 1 and values.shape[-1] == 1:
        labels = labels[..., 0]
    if values.size and (values.min() < 0 or not np.array_equal(values.reshape(-1), labels.reshape(-1))):
        wrong = values[(values < 0) | (values != np.floor(values))].flat[0]
        raise ValueError(f"The `x` argument must hold class labels 0, 1, 2 and so on. It holds {wrong:g}.")
    most = int(labels.max()) if labels.size else -1
    count = most + 1 if num_classes is None else _validation.positive_integer(num_classes, "num_classes")
    if most >= count:
        raise ValueError(f"The `x` argument holds label {most}, but there are {count} classes, from 0 on.")
    result = np.zeros((*labels.shape, count))
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
    lengths = np.linalg.norm(values, _validation.positive_integer(order, "order"), axis, keepdims=True)
    lengths[lengths == 0] = 1
    return np.asarray(values / lengths)


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: DTypeLike = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: float = 0.0,
) -> NDArray[Any]:
    """Sequences of several lengths as one array.

    Args:
        sequences: sequences ``(length, ...)`` of numbers, alike but for their lengths.
        maxlen: length of all; None for that of the longest.
        dtype: type of the array. The default rounds measurements towards 0: give "float32" for those.
        padding: "pre" or "post": where short ones are filled up.
        truncating: "pre" or "post": where long ones are cut.
        value: what fills them up.

    Returns:
        Array ``(sequences, maxlen, ...)``.

    Raises:
        ValueError: an element is no sequence, or its further axes differ from those of the first.

    Example:
        >>> pad_sequences([[1], [2, 3, 4]], maxlen=2).tolist()
        [[0, 1], [3, 4]]
    """
    padding = _validation.choice(padding, "padding", ("pre", "post"))
    truncating = _validation.choice(truncating, "truncating", ("pre", "post"))
    arrays = [np.asarray(sequence) for sequence in sequences]
    for number, array in enumerate(arrays):
        if not array.ndim:
            raise ValueError(f"The `sequences` argument must hold sequences; number {number} is {array}.")
    rest = next((array.shape[1:] for array in arrays if len(array)), ())
    length = max((len(array) for array in arrays), default=0)
    if maxlen is not None:
        length = _validation.positive_integer(maxlen, "maxlen")
    result = np.full((len(arrays), length, *rest), value, dtype)
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
        result[number, place] = part
    return result
