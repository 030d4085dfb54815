"""Layers that make the grid larger or smaller: padding, cropping, upsampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from gridnn import _validation
from gridnn.layers.base import REGISTRY, Layer

__all__ = [
    "Cropping1D",
    "Cropping2D",
    "Cropping3D",
    "Padding1D",
    "Padding2D",
    "Padding3D",
    "UpSampling1D",
    "UpSampling2D",
    "UpSampling3D",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "ZeroPadding3D",
]

Sides = int | Sequence[int] | Sequence[Sequence[int]]
"""An int for every side, an int per axis for both of its sides, or a (before, after) pair per axis."""


class ZeroPadding(Layer):
    """Puts zeros around the grid.

    Args:
        padding: an int for every side; one int per spatial axis, for both of its sides; or one (before,
            after) pair per spatial axis. With a single axis two ints are (before, after).
        name: see `Layer`.

    Raises:
        ValueError: a negative number, or not as many as there are axes.
        TypeError: not integers.
    """

    rank: ClassVar[int]
    config_fields: ClassVar[tuple[str, ...]] = ("padding",)

    def __init__(self, padding: Sides = 1, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.padding = _validation.axis_pairs(padding, self.rank, "padding")


class Padding(ZeroPadding):
    """Extends the grid, with the results of `numpy.pad`.

    Args:
        padding: see `ZeroPadding`.
        mode: "zeros"; "reflect", mirrored at the first and last element without repeating them; "symmetric",
            mirrored with repeating them; "edge", the first and last element; "wrap", the axis as a ring.
            Padding longer than the input mirrors or repeats it as often as needed.
        name: see `Layer`.

    Raises:
        ValueError: as `ZeroPadding`; an unknown mode.
        TypeError: as `ZeroPadding`.
    """

    config_fields = ("padding", "mode")

    def __init__(self, padding: Sides = 1, mode: str = "zeros", *, name: str | None = None) -> None:
        super().__init__(padding, name=name)
        self.mode = _validation.choice(mode, "mode", _validation.PADDING_MODES)


class Cropping(Layer):
    """Takes elements off the sides of the grid.

    Args:
        cropping: an int for every side; one int per spatial axis, for both of its sides; or one (before,
            after) pair per spatial axis. With a single axis two ints are (before, after).
        name: see `Layer`.

    Raises:
        ValueError: a negative number, or not as many as there are axes.
        TypeError: not integers.
    """

    rank: ClassVar[int]
    config_fields = ("cropping",)

    def __init__(self, cropping: Sides, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.cropping = _validation.axis_pairs(cropping, self.rank, "cropping")


class UpSampling(Layer):
    """Repeats every element of the grid.

    Args:
        size: how often, an int or one per spatial axis.
        name: see `Layer`.

    Raises:
        ValueError: a size that is not positive.
        TypeError: not integers.
    """

    rank: ClassVar[int]
    config_fields: ClassVar[tuple[str, ...]] = ("size",)

    def __init__(self, size: int | Sequence[int] = 2, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.size = _validation.axis_integers(size, self.rank, "size")


@REGISTRY.register()
class ZeroPadding1D(ZeroPadding):
    """Zeros around series; arguments as in `ZeroPadding`.

    Input shape:
        ``(batch, steps, channels)``.

    Output shape:
        ``(batch, new_steps, channels)``.

    Example:
        >>> x = np.arange(6.0).reshape(1, 6, 1)
        >>> layers.ZeroPadding1D(1)(x)[..., 0]
        array([[0., 0., 1., 2., 3., 4., 5., 0.]])
    """

    rank = 1


@REGISTRY.register()
class ZeroPadding2D(ZeroPadding):
    """Zeros around images; arguments as in `ZeroPadding`.

    Input shape:
        ``(batch, height, width, channels)``.

    Output shape:
        ``(batch, new_height, new_width, channels)``.

    Example:
        >>> ZeroPadding2D((1, 2)).padding
        ((1, 1), (2, 2))
    """

    rank = 2


@REGISTRY.register()
class ZeroPadding3D(ZeroPadding):
    """Zeros around volumes; arguments as in `ZeroPadding`.

    Input shape:
        ``(batch, depth, height, width, channels)``.

    Output shape:
        ``(batch, new_depth, new_height, new_width, channels)``.

    Example:
        >>> x = np.arange(64.0).reshape(1, 4, 4, 4, 1)
        >>> layers.ZeroPadding3D(1)(x).shape
        (1, 6, 6, 6, 1)
    """

    rank = 3


@REGISTRY.register()
class Padding1D(Padding):
    """A border around series; arguments as in `Padding`.

    Input shape:
        ``(batch, steps, channels)``.

    Output shape:
        ``(batch, new_steps, channels)``.

    Example:
        >>> x = np.arange(6.0).reshape(1, 6, 1)
        >>> layers.Padding1D(1, mode="edge")(x)[..., 0]
        array([[0., 0., 1., 2., 3., 4., 5., 5.]])
    """

    rank = 1


@REGISTRY.register()
class Padding2D(Padding):
    """A border around images; arguments as in `Padding`.

    Input shape:
        ``(batch, height, width, channels)``.

    Output shape:
        ``(batch, new_height, new_width, channels)``.

    Example:
        >>> Padding2D(2, mode="reflect").mode
        'reflect'
    """

    rank = 2


@REGISTRY.register()
class Padding3D(Padding):
    """A border around volumes; arguments as in `Padding`.

    Input shape:
        ``(batch, depth, height, width, channels)``.

    Output shape:
        ``(batch, new_depth, new_height, new_width, channels)``.

    Example:
        >>> x = np.arange(64.0).reshape(1, 4, 4, 4, 1)
        >>> layers.Padding3D(1, mode="edge")(x).shape
        (1, 6, 6, 6, 1)
    """

    rank = 3


@REGISTRY.register()
class Cropping1D(Cropping):
    """The inner part of series; arguments as in `Cropping`, by default one element is taken off each side.

    Input shape:
        ``(batch, steps, channels)``.

    Output shape:
        ``(batch, new_steps, channels)``.

    Example:
        >>> x = np.arange(6.0).reshape(1, 6, 1)
        >>> layers.Cropping1D(1)(x)[..., 0]
        array([[1., 2., 3., 4.]])
    """

    rank = 1

    def __init__(self, cropping: Sides = 1, *, name: str | None = None) -> None:
        super().__init__(cropping, name=name)


@REGISTRY.register()
class Cropping2D(Cropping):
    """The inner part of images; arguments as in `Cropping`, by default nothing is taken off each side.

    Input shape:
        ``(batch, height, width, channels)``.

    Output shape:
        ``(batch, new_height, new_width, channels)``.

    Example:
        >>> Cropping2D(((0, 1), (2, 0))).cropping
        ((0, 1), (2, 0))
    """

    rank = 2

    def __init__(self, cropping: Sides = 0, *, name: str | None = None) -> None:
        super().__init__(cropping, name=name)


@REGISTRY.register()
class Cropping3D(Cropping):
    """The inner part of volumes; arguments as in `Cropping`, by default one element is taken off each side.

    Input shape:
        ``(batch, depth, height, width, channels)``.

    Output shape:
        ``(batch, new_depth, new_height, new_width, channels)``.

    Example:
        >>> x = np.arange(64.0).reshape(1, 4, 4, 4, 1)
        >>> layers.Cropping3D(1)(x).shape
        (1, 2, 2, 2, 1)
    """

    rank = 3

    def __init__(self, cropping: Sides = 1, *, name: str | None = None) -> None:
        super().__init__(cropping, name=name)


@REGISTRY.register()
class UpSampling1D(UpSampling):
    """Larger series; arguments as in `UpSampling`.

    Input shape:
        ``(batch, steps, channels)``.

    Output shape:
        ``(batch, new_steps, channels)``.

    Example:
        >>> x = np.arange(6.0).reshape(1, 6, 1)
        >>> layers.UpSampling1D(2)(x)[..., 0]
        array([[0., 0., 1., 1., 2., 2., 3., 3., 4., 4., 5., 5.]])
    """

    rank = 1


@REGISTRY.register()
class UpSampling2D(UpSampling):
    """Larger images, by repeating pixels or blending them.

    Args:
        size: how often, an int or one per spatial axis.
        interpolation: "nearest" repeats every pixel; "bilinear" blends the nearest two of each axis. A
            pixel is a square with its value at the centre: output o of an axis lies at ``(o + 1/2) / size -
            1/2``.
        name: see `Layer`.

    Raises:
        ValueError: a size that is not positive, an unknown interpolation.
        TypeError: not integers.

    Input shape:
        ``(batch, height, width, channels)``.

    Output shape:
        ``(batch, new_height, new_width, channels)``.

    Example:
        >>> UpSampling2D(2, interpolation="bilinear").size
        (2, 2)
    """

    rank = 2

    config_fields = ("size", "interpolation")

    def __init__(
        self, size: int | Sequence[int] = 2, interpolation: str = "nearest", *, name: str | None = None
    ) -> None:
        super().__init__(size, name=name)
        self.interpolation = _validation.choice(interpolation, "interpolation", ("nearest", "bilinear"))


@REGISTRY.register()
class UpSampling3D(UpSampling):
    """Larger volumes; arguments as in `UpSampling`.

    Input shape:
        ``(batch, depth, height, width, channels)``.

    Output shape:
        ``(batch, new_depth, new_height, new_width, channels)``.

    Example:
        >>> x = np.arange(64.0).reshape(1, 4, 4, 4, 1)
        >>> layers.UpSampling3D(2)(x).shape
        (1, 8, 8, 8, 1)
    """

    rank = 3
