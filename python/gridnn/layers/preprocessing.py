"""Layers that prepare raw data, so that a saved model takes it as it comes."""

from __future__ import annotations

from gridnn import _validation
from gridnn.layers.base import REGISTRY, Layer

__all__ = ["Rescaling"]


@REGISTRY.register()
class Rescaling(Layer):
    """Maps every element x to ``x * scale + offset``.

    As first layer it reads integer images directly: ``Rescaling(1 / 255)`` turns uint8 into [0, 1].

    Args:
        scale: factor.
        offset: added after scaling.
        name: see `Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input.

    Example:
        >>> Rescaling(1 / 127.5, offset=-1).offset
        -1.0
    """

    config_fields = ("scale", "offset")

    def __init__(self, scale: float, offset: float = 0.0, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.scale = _validation.real(scale, "scale")
        self.offset = _validation.real(offset, "offset")

    @property
    def output_activation(self) -> str:
        """Always "linear": whatever the input was, the output is no probability any more."""
        return "linear"
