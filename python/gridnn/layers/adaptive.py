"""Pools whose windows follow from the size of the output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from gridnn import _validation
from gridnn.layers.base import REGISTRY, Layer

__all__ = [
    "AdaptiveAveragePooling1D",
    "AdaptiveAveragePooling2D",
    "AdaptiveAveragePooling3D",
    "AdaptiveMaxPooling1D",
    "AdaptiveMaxPooling2D",
    "AdaptiveMaxPooling3D",
]


class _AdaptivePooling(Layer):
    """What pools with a given number of outputs share."""

    rank: ClassVar[int]
    config_fields = ("output_size",)

    def __init__(self, output_size: int | Sequence[int], *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.output_size = _validation.axis_integers(output_size, self.rank, "output_size")


class AdaptiveAveragePooling(_AdaptivePooling):
    """The mean over windows that follow from the size of the output, channel by channel.

    Along an axis of size n with o outputs, output i is the mean of elements ``floor(i n / o)`` to
    ``ceil((i + 1) n / o)``, the last one excluded: windows cover the axis and may overlap by one.

    Args:
        output_size: outputs along each spatial axis: an int, or one per axis.
        name: see `Layer`.

    Raises:
        ValueError: a size that is not positive.
    """

    def engine_description(self) -> dict[str, Any]:
        """The same in every rank."""
        return {**super().engine_description(), "class_name": "AdaptiveAveragePooling"}


@REGISTRY.register()
class AdaptiveAveragePooling1D(AdaptiveAveragePooling):
    """Mean over windows of a series; arguments as in `AdaptiveAveragePooling`.

    Input shape:
        ``(batch, steps, channels)``.

    Output shape:
        ``(batch, *output_size, channels)``.

    Example:
        >>> x = np.arange(6.0).reshape(1, 6, 1)
        >>> layers.AdaptiveAveragePooling1D(2)(x)[..., 0]
        array([[1., 4.]])
    """

    rank = 1


@REGISTRY.register()
class AdaptiveAveragePooling2D(AdaptiveAveragePooling):
    """Mean over windows of an image; arguments as in `AdaptiveAveragePooling`.

    Input shape:
        ``(batch, height, width, channels)``.

    Output shape:
        ``(batch, *output_size, channels)``.

    Example:
        >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
        >>> layers.AdaptiveAveragePooling2D(2)(x)[..., 0]
        array([[[ 2.5,  4.5],
                [10.5, 12.5]]])
    """

    rank = 2


@REGISTRY.register()
class AdaptiveAveragePooling3D(AdaptiveAveragePooling):
    """Mean over windows of a volume; arguments as in `AdaptiveAveragePooling`.

    Input shape:
        ``(batch, depth, height, width, channels)``.

    Output shape:
        ``(batch, *output_size, channels)``.

    Example:
        >>> x = np.arange(64.0).reshape(1, 4, 4, 4, 1)
        >>> layers.AdaptiveAveragePooling3D(2)(x).shape
        (1, 2, 2, 2, 1)
    """

    rank = 3


class AdaptiveMaxPooling(_AdaptivePooling):
    """The maximum over windows that follow from the size of the output, channel by channel.

    Windows as in `AdaptiveAveragePooling`. The gradient goes to the first of the largest elements.

    Args:
        output_size: outputs along each spatial axis: an int, or one per axis.
        name: see `Layer`.

    Raises:
        ValueError: a size that is not positive.
    """

    def engine_description(self) -> dict[str, Any]:
        """The same in every rank."""
        return {**super().engine_description(), "class_name": "AdaptiveMaxPooling"}


@REGISTRY.register()
class AdaptiveMaxPooling1D(AdaptiveMaxPooling):
    """Maximum over windows of a series; arguments as in `AdaptiveMaxPooling`.

    Input shape:
        ``(batch, steps, channels)``.

    Output shape:
        ``(batch, *output_size, channels)``.

    Example:
        >>> x = np.arange(6.0).reshape(1, 6, 1)
        >>> layers.AdaptiveMaxPooling1D(2)(x)[..., 0]
        array([[2., 5.]])
    """

    rank = 1


@REGISTRY.register()
class AdaptiveMaxPooling2D(AdaptiveMaxPooling):
    """Maximum over windows of an image; arguments as in `AdaptiveMaxPooling`.

    Input shape:
        ``(batch, height, width, channels)``.

    Output shape:
        ``(batch, *output_size, channels)``.

    Example:
        >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
        >>> layers.AdaptiveMaxPooling2D(2)(x)[..., 0]
        array([[[ 5.,  7.],
                [13., 15.]]])
    """

    rank = 2


@REGISTRY.register()
class AdaptiveMaxPooling3D(AdaptiveMaxPooling):
    """Maximum over windows of a volume; arguments as in `AdaptiveMaxPooling`.

    Input shape:
        ``(batch, depth, height, width, channels)``.

    Output shape:
        ``(batch, *output_size, channels)``.

    Example:
        >>> x = np.arange(64.0).reshape(1, 4, 4, 4, 1)
        >>> layers.AdaptiveMaxPooling3D(2)(x).shape
        (1, 2, 2, 2, 1)
    """

    rank = 3
