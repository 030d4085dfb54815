"""Custom objects: layers, losses, metrics and schedules that users write in Python.

All are handled one way. A file keeps a class's name, which `custom_classes`, or else the classes that the
program has defined, give a meaning to. In a step the engine stops where such an object stands, leaves its
pool and calls an adapter on the caller's thread (`layers.custom.LayerCalls`, `model.custom.ObjectiveCalls`).
That calls the user's method within `calling`, checks what comes back, with `expect_shape` among others, and
hands it to the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from gridnn.errors import ShapeError

__all__ = ["calling", "class_named", "custom_classes", "expect_shape"]

_CLASSES: ContextVar[Mapping[str, type]] = ContextVar("_CLASSES", default=MappingProxyType({}))


@contextmanager
def custom_classes(classes: Mapping[str, type] | None) -> Iterator[None]:
    """While it lasts, descriptions that name a custom class mean these.

    Raises:
        TypeError: not a mapping of names to classes.
    """
    classes = {} if classes is None else dict(classes)
    for name, cls in classes.items():
        if not isinstance(cls, type):
            raise TypeError(f"`custom_objects` maps names to classes. Received {name!r}: {cls!r}.")
    token = _CLASSES.set(classes)
    try:
        yield
    finally:
        _CLASSES.reset(token)


def class_named(name: str) -> type | None:
    """The class that `custom_classes` was given for a name."""
    return _CLASSES.get().get(name)


@contextmanager
def calling(what: str) -> Iterator[None]:
    """Says in what the user's code raises where that was: "`call` of layer 'scale' (Scale)"."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "add_note"):  # Python 3.11
            error.add_note(f"Raised in {what}.")
        raise


def expect_shape(array: NDArray[Any], shape: tuple[int, ...], method: str, expected: str) -> None:
    """Checks the shape of what a method of the user's has returned.

    Raises:
        ShapeError: it is another; the message says which method must return `expected`.
    """
    if array.shape != shape:
        raise ShapeError(f"{method} must return {expected}. Received {array.shape}.")
