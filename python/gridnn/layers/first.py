"""Arguments that every layer takes from programs written for Keras: the shape of the first one, and types.

They are taken off before a constructor sees them, unless it has an argument of that name itself.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from gridnn import _validation
from gridnn._network import Shape

__all__ = ["takes_shapes"]

_SHAPES = ("input_shape", "input_dim", "batch_input_shape")
_TYPES = ("data_format", "dtype", "autocast")
_NAMES = frozenset((*_SHAPES, *_TYPES))


def takes_shapes(constructor: Callable[..., None]) -> Callable[..., None]:
    """A constructor of a layer that takes `input_shape`, `input_dim` and the like besides its arguments."""
    known: list[frozenset[str]] = []  # found when they are wanted: a program may have many layers

    @functools.wraps(constructor)
    def taking(self: Any, *args: Any, **kwargs: Any) -> None:
        if not kwargs or _NAMES.isdisjoint(kwargs):
            constructor(self, *args, **kwargs)
            return
        if not known:
            known.append(frozenset(inspect.signature(constructor).parameters))
        given = {name: kwargs.pop(name) for name in _NAMES & kwargs.keys() - known[0]}
        shape = _first_shape(given)
        _check_types(type(self).__name__, given)
        constructor(self, *args, **kwargs)
        if shape is not None:
            self._first_shape = shape
            warnings.warn(
                "Do not pass an `input_shape`/`input_dim` argument to a layer. When using Sequential models, "
                "prefer using an `Input(shape)` object as the first layer in the model instead.",
                stacklevel=2,
            )

    return taking


def _first_shape(given: Mapping[str, Any]) -> Shape | None:
    """The shape of a sample that the arguments speak of."""
    if given.get("input_shape") is not None:
        return _validation.sample_shape(given["input_shape"], "input_shape")
    if given.get("batch_input_shape") is not None:
        return _validation.sample_shape(tuple(given["batch_input_shape"])[1:], "batch_input_shape")
    if given.get("input_dim") is not None:
        return (_validation.positive_integer(given["input_dim"], "input_dim"),)
    return None


def _check_types(layer: str, given: Mapping[str, Any]) -> None:
    """Refuses layouts and types that layers do not have."""
    layout = given.get("data_format")
    if layout not in (None, "channels_last"):
        raise TypeError(
            f"{layer} got 'data_format' {layout!r}. Channels come last: numpy.moveaxis brings them there."
        )
    if given.get("dtype") is not None and str(getattr(given["dtype"], "name", given["dtype"])) != "float32":
        raise TypeError(
            f"{layer} got dtype={given['dtype']!r}. Layers compute in the type of their model: "
            'gn.Model(inputs, outputs, dtype="float64").'
        )
