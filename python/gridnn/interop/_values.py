"""Numbers that load without an error and make every output NaN."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["check_values"]


def check_values(array: NDArray[Any], which: str, *, variance: bool) -> None:
    """Looks at an array that becomes a weight.

    Args:
        array: the array.
        which: what it is, for messages.
        variance: whether it is the moving variance of a batch normalization.

    Raises:
        ValueError: a variance is below 0.
    """
    if variance and np.any(array < 0):
        raise ValueError(
            f"{which} is a variance, and its lowest value is {np.nanmin(array):g}: it is damaged, or another "
            "tensor. Variances are at least 0"
        )
    if not np.all(np.isfinite(array)):
        warnings.warn(
            f"{which} holds NaN or infinite values, and so will the outputs", RuntimeWarning, stacklevel=2
        )
