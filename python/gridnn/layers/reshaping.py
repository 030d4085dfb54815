"""Layers that rearrange values without changing them."""

from __future__ import annotations

from gridnn.layers.base import REGISTRY, Layer

__all__ = ["Flatten"]


@REGISTRY.register()
class Flatten(Layer):
    """Joins all axes but the batch axis into one, in row-major order.

    Args:
        name: see `Layer`.

    Input shape:
        ``(batch, ...)``.

    Output shape:
        ``(batch, features)``.
    """

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name=name)
