"""What yields batches, and what is in one: told from arrays, lists and tuples that users pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._arrays import as_array, is_sparse
from gridnn._hints import shapes_agree
from gridnn._network import Shape
from gridnn.errors import ShapeError

__all__ = ["Naming", "first_in", "in_batch", "inputs_of", "is_batch", "is_batches", "of_sample"]

Naming = Callable[[int], str]
"""What a data set calls the sample of this number in a batch: its file, or its number in the set."""
_Error = TypeVar("_Error", bound=Exception)


def is_batches(x: object, y: object = None, *, inputs: int = 1) -> bool:
    """Whether `x` yields batches rather than being arrays; a list of tuples does if `y` is None.

    Args:
        x: what a user has passed.
        y: targets beside it, if there are any.
        inputs: number of inputs of the model; for several a list has an array for each.
    """
    if isinstance(x, (list, tuple)):
        if inputs > 1:
            return y is None and bool(x) and all(isinstance(item, tuple) for item in x)
        return y is None and bool(x) and is_batch(x[0])
    if isinstance(x, (str, bytes, Mapping)) or hasattr(x, "__array__") or is_sparse(x):
        return False
    return _validation.is_iterable(x)


def is_batch(item: object) -> bool:
    """Whether an element of a list can only be a batch: a tuple, or a list of arrays of several shapes."""
    if not isinstance(item, list):
        return isinstance(item, tuple)
    return len(item) in (2, 3) and _are_arrays(item) and len({np.shape(array) for array in item}) > 1


def inputs_of(item: Any, sample: Shape | None, argument: str = "x") -> NDArray[Any]:
    """The inputs of a batch, which may hold targets and weights as well.

    A tuple does; a list may be one of samples as well.

    Args:
        item: the batch.
        sample: shape of a sample, where it is known.
        argument: name of the inputs, for messages.
    """
    if isinstance(item, tuple) and item:
        return as_array(item[0], argument)
    if isinstance(item, list) and len(item) in (1, 2, 3) and _are_arrays(item):
        shapes = [np.shape(array) for array in item]
        # Samples have an axis fewer than a batch of them, so that one reading at most fits.
        if shapes_agree(sample, shapes[0][1:]) if sample is not None else len(shapes[0]) > 1:
            return as_array(item[0], argument)
    return as_array(item, argument)


def _are_arrays(items: list[Any]) -> bool:
    return all(hasattr(item, "__array__") for item in items)


def first_in(what: str, number: int) -> str:
    """How messages say where something is found first: in the sample of this number, say."""
    return f"first in {what} {number} (counted from 0)"


def of_sample(error: _Error, number: int) -> _Error:
    """Notes which sample of its arrays an error is about, for who knows what the user calls it."""
    vars(error)["sample"] = number
    return error


@contextmanager
def in_batch(argument: str, number: int, naming: Naming | None = None) -> Iterator[None]:
    """Errors about data within name the batch, and its sample as the data set calls it."""
    try:
        yield
    except (ValueError, TypeError) as error:
        # Subclasses of others may be made of something else than a message.
        if type(error) not in (ValueError, TypeError, ShapeError):
            raise
        sample = vars(error).get("sample")
        name = "" if naming is None or sample is None else f" That sample is {naming(sample)}."
        raise type(error)(f"`{argument}`, batch {number} (counted from 0): {error}{name}") from error
