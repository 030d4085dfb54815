"""How arrays of samples are read as grids ``(samples, *spatial, channels)``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import assert_all_finite, validate_data

from gridnn.sklearn._parameters import is_a

__all__ = ["LAYOUTS", "as_grids", "checked", "grid_shape"]

LAYOUTS = ("channels_last", "channels_first")
_MAX_RANK = 3  # spatial axes


def checked(estimator: Any, X: Any, **options: Any) -> Any:
    """What `validate_data` makes of `X` (and `y`, if it is among the options), with any number of axes.

    Real types stay what they are, so that images of bytes take no more memory; but for float64, which the
    networks cannot use.
    """
    found = validate_data(estimator, X, allow_nd=True, dtype="numeric", **options)
    samples = found[0] if isinstance(found, tuple) else found
    if samples.dtype.kind == "f" and samples.dtype.itemsize > 4:
        with np.errstate(over="ignore"):
            samples = samples.astype(np.float32)
        assert_all_finite(samples, input_name="X")
    return (samples, *found[1:]) if isinstance(found, tuple) else samples


def grid_shape(sample: Sequence[int], input_shape: object, layout: str) -> tuple[int, ...]:
    """Shape of the grid, channels last, that a sample is read as.

    Args:
        sample: shape of the sample as it is.
        input_shape: shape that it is brought to first, or None.
        layout: where its channels are, one of `LAYOUTS`.

    Raises:
        ValueError: `input_shape` is no shape, or does not have as many elements; or there are too many axes.
    """
    shape = tuple(sample)
    if input_shape is not None:
        shape = _sizes(input_shape)
        if math.prod(shape) != math.prod(sample):
            raise ValueError(
                f"X has samples of shape {tuple(sample)}, {math.prod(sample)} numbers, which cannot be "
                f"folded into input_shape={shape}."
            )
    first = layout == "channels_first"
    if len(shape) == 1 or (not first and len(shape) <= _MAX_RANK and len(set(shape)) == 1):
        shape = (*shape, 1)  # (8, 8) is an image and (28, 28, 28) a volume, without channels
    elif first:
        shape = (*shape[1:], shape[0])
    if len(shape) - 1 > _MAX_RANK:
        raise ValueError(
            f"Found X with samples of shape {tuple(sample)}: at most {_MAX_RANK} spatial axes and one of "
            "channels are expected."
        )
    return shape


def as_grids(samples: NDArray[Any], input_shape: object, layout: str) -> NDArray[Any]:
    """Checked samples as an array ``(samples, *spatial, channels)``; a view where that is possible."""
    grid = grid_shape(samples.shape[1:], input_shape, layout)
    if layout == "channels_first" and (samples.ndim > 2 or input_shape is not None):
        if input_shape is not None:
            samples = samples.reshape(len(samples), *_sizes(input_shape))
        if samples.ndim > 2:
            samples = np.moveaxis(samples, 1, -1)
    return np.ascontiguousarray(samples.reshape(len(samples), *grid))


def _sizes(input_shape: object) -> tuple[int, ...]:
    sizes: tuple[Any, ...] = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else ()
    if not sizes or not all(is_a(n, Integral) and n > 0 for n in sizes):
        raise ValueError(
            "The 'input_shape' parameter must be a tuple of positive sizes or None. Got "
            f"{input_shape!r} instead."
        )
    return tuple(int(n) for n in sizes)
