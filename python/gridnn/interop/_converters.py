"""What writes a layer in a format: looked up by its class, which subclasses share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from gridnn.layers.base import Layer

__all__ = ["converter_in"]

Converter = TypeVar("Converter")


def converter_in(table: Mapping[type[Layer], Converter], layer: Layer) -> Converter | None:
    """What a table has for a layer; None if there is nothing, as for all layers written in Python."""
    if layer.in_python:
        return None
    return next((table[cls] for cls in type(layer).__mro__ if cls in table), None)
