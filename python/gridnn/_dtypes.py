"""The `dtype` argument that Keras' losses and metrics have; here the type is that of the outputs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["noted", "takes_dtype"]


def takes_dtype(constructor: Callable[..., None]) -> Callable[..., None]:
    """A constructor that takes `dtype` besides its arguments, unless it has one of that name itself."""
    own: list[bool] = []  # found when it is wanted

    @functools.wraps(constructor)
    def taking(self: Any, *args: Any, **kwargs: Any) -> None:
        if "dtype" in kwargs:
            if not own:
                own.append("dtype" in inspect.signature(constructor).parameters)
            if not own[0]:
                noted(kwargs.pop("dtype"), type(self).__name__)
        constructor(self, *args, **kwargs)

    return taking


def noted(dtype: Any, label: str) -> None:
    """Refuses types in which nothing here computes.

    Raises:
        TypeError: it is neither None nor "float32" nor "float64".
    """
    if dtype is None:
        return
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = str(dtype)
    if name not in ("float32", "float64"):
        raise TypeError(
            f"{label} got dtype={dtype!r}. Expected 'float32' or 'float64': losses and metrics follow the "
            "type of the outputs, and there are no lower precisions."
        )
