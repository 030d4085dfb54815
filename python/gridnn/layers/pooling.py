"""Pooling: maxima and means over windows and over whole grids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from gridnn import _validation
from gridnn.layers.base import REGISTRY, Layer

__all__ = [
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "AvgPool1D",
    "AvgPool2D",
    "AvgPool3D",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalAvgPool3D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPool3D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPool3D",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
]


class _Pooling(Layer):
    """What window pools share: their window, its stride and its padding."""

    rank: ClassVar[int]
    config_fields: ClassVar[tuple[str, ...]] = ("pool_size", "strides", "padding", "ceil_mode")

    def __init__(
        self,
        pool_size: int | Sequence[int],
        strides: int | Sequence[int] | None,
        padding: str | int | Sequence[Sequence[int]],
        *,
        ceil_mode: bool,
        name: str | None,
    ) -> None:
        super().__init__(name=name)
        self.pool_size = _validation.axis_integers(pool_size, self.rank, "pool_size")
        strides = self.pool_size if strides is None else strides
        self.strides = _validation.axis_integers(strides, self.rank, "strides")
        self.padding = _validation.convolution_padding(padding, self.rank, causal=False)
        self.ceil_mode = _validation.boolean(ceil_mode, "ceil_mode")


class MaxPooling(_Pooling):
    """The maximum over a window, channel by channel.

    Along an axis of size n, with window k and stride s, the output size is ``floor((n + before + after - k) /
    s) + 1``; that is ``ceil(n / s)`` for "same". Windows that reach over the edge see only what is there:
    padding is never chosen. Where several elements are largest the gradient goes to the first, in row-major
    order.

    Args:
        pool_size: an int, or one per spatial axis.
        strides: an int, or one per spatial axis; None takes `pool_size`.
        padding: "valid" (none), "same" (an odd amount goes to the end), an int for every side, or one
            (before, after) pair per axis.
        ceil_mode: round the output size up: a last window that reaches over the end counts as well, if it
            starts inside the input or the padding before it.
        name: see `Layer`.

    Raises:
        ValueError: a size that is not positive, an unknown padding.
    """

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        strides: int | Sequence[int] | None = None,
        padding: str | int | Sequence[Sequence[int]] = "valid",
        *,
        ceil_mode: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(pool_size, strides, padding, ceil_mode=ceil_mode, name=name)


@REGISTRY.register()
class MaxPooling1D(MaxPooling):
    """Maximum over windows of a series; arguments as in `MaxPooling`.

    Input shape:
        ``(batch, steps, channels)``.

    Output shape:
        ``(batch, new_steps, channels)``.

    Example:
        >>> x = np.arange(6.0).reshape(1, 6, 1)
        >>> layers.MaxPooling1D(2)(x)[..., 0]
        array([[1., 3., 5.]])
    """

    rank = 1


@REGISTRY.register()
class MaxPooling2D(MaxPooling):
    """Maximum over windows of an image; arguments as in `MaxPooling`.

    Input shape:
        ``(batch, height, width, channels)``.

    Output shape:
        ``(batch, new_height, new_width, channels)``.

    Example:
        >>> MaxPooling2D(3, strides=2, padding="same").strides
        (2, 2)
    """

    rank = 2


@REGISTRY.register()
class MaxPooling3D(MaxPooling):
    """Maximum over windows of a volume; arguments as in `MaxPooling`.

    Input shape:
        ``(batch, depth, height, width, channels)``.

    Output shape:
        ``(batch, new_depth, new_height, new_width, channels)``.

    Example:
        >>> x = np.arange(64.0).reshape(1, 4, 4, 4, 1)
        >>> layers.MaxPooling3D(2)(x).shape
        (1, 2, 2, 2, 1)
    """

    rank = 3


class AveragePooling(_Pooling):
    """The mean over a window, channel by channel.

    Output sizes as in `MaxPooling`.

    Args:
        pool_size: an int, or one per spatial axis.
        strides: an int, or one per spatial axis; None takes `pool_size`.
        padding: "valid" (none), "same" (an odd amount goes to the end), an int for every side, or one
            (before, after) pair per axis.
        ceil_mode: round the output size up: a last window that reaches over the end counts as well, if it
            starts inside the input or the padding before it.
        count_include_pad: whether a window that reaches into the padding divides by its full size (True) or
            by the number of elements that are there (False). What `ceil_mode` adds never counts.
        name: see `Layer`.

    Raises:
        ValueError: a size that is not positive, an unknown padding.
    """

    config_fields = ("pool_size", "strides", "padding", "count_include_pad", "ceil_mode")

    def __init__(
        self,
        pool_size: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        padding: str | int | Sequence[Sequence[int]] = "valid",
        *,
        count_include_pad: bool = False,
        ceil_mode: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(pool_size, strides, padding, ceil_mode=ceil_mode, name=name)
        self.count_include_pad = _validation.boolean(count_include_pad, "count_include_pad")


@REGISTRY.register()
class AveragePooling1D(AveragePooling):
    """Mean over windows of a series; arguments as in `AveragePooling`.

    Input shape:
        ``(batch, steps, channels)``.

    Output shape:
        ``(batch, new_steps, channels)``.

    Example:
        >>> x = np.arange(6.0).reshape(1, 6, 1)
        >>> layers.AveragePooling1D(2)(x)[..., 0]
        array([[0.5, 2.5, 4.5]])
    """

    rank = 1


@REGISTRY.register()
class AveragePooling2D(AveragePooling):
    """Mean over windows of an image; arguments as in `AveragePooling`.

    Input shape:
        ``(batch, height, width, channels)``.

    Output shape:
        ``(batch, new_height, new_width, channels)``.

    Example:
        >>> AveragePooling2D(2).pool_size
        (2, 2)
    """

    rank = 2


@REGISTRY.register()
class AveragePooling3D(AveragePooling):
    """Mean over windows of a volume; arguments as in `AveragePooling`.

    Input shape:
        ``(batch, depth, height, width, channels)``.

    Output shape:
        ``(batch, new_depth, new_height, new_width, channels)``.

    Example:
        >>> x = np.arange(64.0).reshape(1, 4, 4, 4, 1)
        >>> layers.AveragePooling3D(2)(x).shape
        (1, 2, 2, 2, 1)
    """

    rank = 3


class _GlobalPooling(Layer):
    """What pools over the whole grid share."""

    rank: ClassVar[int]
    config_fields = ("keepdims",)

    def __init__(self, keepdims: bool = False, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.keepdims = _validation.boolean(keepdims, "keepdims")


class GlobalAveragePooling(_GlobalPooling):
    """The mean of every channel over the whole grid.

    Args:
        keepdims: keep the spatial axes, with size 1.
        name: see `Layer`.
    """


@REGISTRY.register()
class GlobalAveragePooling1D(GlobalAveragePooling):
    """Mean over a series; arguments as in `GlobalAveragePooling`.

    Input shape:
        ``(batch, steps, channels)``.

    Output shape:
        ``(batch, channels)``, or ``(batch, 1, channels)`` with `keepdims`.

    Example:
        >>> x = np.arange(6.0).reshape(1, 6, 1)
        >>> layers.GlobalAveragePooling1D()(x)
        array([[2.5]])
    """

    rank = 1


@REGISTRY.register()
class GlobalAveragePooling2D(GlobalAveragePooling):
    """Mean over an image; arguments as in `GlobalAveragePooling`.

    Input shape:
        ``(batch, height, width, channels)``.

    Output shape:
        ``(batch, channels)``, or ``(batch, 1, 1, channels)`` with `keepdims`.

    Example:
        >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
        >>> layers.GlobalAveragePooling2D()(x)
        array([[7.5]])
    """

    rank = 2


@REGISTRY.register()
class GlobalAveragePooling3D(GlobalAveragePooling):
    """Mean over a volume; arguments as in `GlobalAveragePooling`.

    Input shape:
        ``(batch, depth, height, width, channels)``.

    Output shape:
        ``(batch, channels)``, or ``(batch, 1, 1, 1, channels)`` with `keepdims`.

    Example:
        >>> x = np.arange(64.0).reshape(1, 4, 4, 4, 1)
        >>> layers.GlobalAveragePooling3D()(x)
        array([[31.5]])
    """

    rank = 3


class GlobalMaxPooling(_GlobalPooling):
    """The maximum of every channel over the whole grid.

    Its gradient goes to the first of the largest elements.

    Args:
        keepdims: keep the spatial axes, with size 1.
        name: see `Layer`.
    """


@REGISTRY.register()
class GlobalMaxPooling1D(GlobalMaxPooling):
    """Maximum over a series; arguments as in `GlobalMaxPooling`.

    Input shape:
        ``(batch, steps, channels)``.

    Output shape:
        ``(batch, channels)``, or ``(batch, 1, channels)`` with `keepdims`.

    Example:
        >>> x = np.arange(6.0).reshape(1, 6, 1)
        >>> layers.GlobalMaxPooling1D()(x)
        array([[5.]])
    """

    rank = 1


@REGISTRY.register()
class GlobalMaxPooling2D(GlobalMaxPooling):
    """Maximum over an image; arguments as in `GlobalMaxPooling`.

    Input shape:
        ``(batch, height, width, channels)``.

    Output shape:
        ``(batch, channels)``, or ``(batch, 1, 1, channels)`` with `keepdims`.

    Example:
        >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
        >>> layers.GlobalMaxPooling2D()(x)
        array([[15.]])
    """

    rank = 2


@REGISTRY.register()
class GlobalMaxPooling3D(GlobalMaxPooling):
    """Maximum over a volume; arguments as in `GlobalMaxPooling`.

    Input shape:
        ``(batch, depth, height, width, channels)``.

    Output shape:
        ``(batch, channels)``, or ``(batch, 1, 1, 1, channels)`` with `keepdims`.

    Example:
        >>> x = np.arange(64.0).reshape(1, 4, 4, 4, 1)
        >>> layers.GlobalMaxPooling3D()(x)
        array([[63.]])
    """

    rank = 3


MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D
GlobalAvgPool1D, GlobalAvgPool2D, GlobalAvgPool3D = (
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
)
GlobalMaxPool1D, GlobalMaxPool2D, GlobalMaxPool3D = GlobalMaxPooling1D, GlobalMaxPooling2D, GlobalMaxPooling3D
