"""Networks for series: those of `gridnn.models` that the archives of time series are measured with."""

from __future__ import annotations

from collections.abc import Sequence

from gridnn import _validation, layers
from gridnn.layers.base import Layer
from gridnn.model.sequential import Sequential

__all__ = ["fcn", "inception_time", "resnet1d"]

Shape = Sequence[int | None]


def _channels(input_shape: Shape) -> int:
    """Channels of a series ``(steps, channels)``."""
    shape = _validation.sample_shape(input_shape, "input_shape")
    if len(shape) != 2 or shape[-1] is None:
        raise ValueError(f"`input_shape` must be (steps, channels). Received input_shape={input_shape}.")
    return shape[-1]


def _normalized(filters: int, size: int, momentum: float, *, use_bias: bool = True) -> list[Layer]:
    """A convolution and its batch normalization."""
    conv = layers.Conv1D(filters, size, padding="same", use_bias=use_bias)
    return [conv, layers.BatchNormalization(momentum=momentum)]


def fcn(
    input_shape: Shape = (128, 1),
    classes: int = 2,
    *,
    filters: Sequence[int] = (128, 256, 128),
    kernel_sizes: Sequence[int] = (8, 5, 3),
    momentum: float = 0.99,
) -> Sequential:
    """A fully convolutional network for series (Wang, Yan and Oates 2017).

    Three convolutions with batch normalization, then the mean over time: 264,962 trainable weights with the
    defaults.

    Args:
        input_shape: ``(steps, channels)``; the number of steps may be None.
        classes: number of outputs.
        filters: channels of every convolution.
        kernel_sizes: their taps.
        momentum: of the batch normalizations; short training wants less, as 0.9.

    Raises:
        ValueError: not a series, or other numbers of `filters` and `kernel_sizes`.

    Example:
        >>> model = gn.models.fcn(input_shape=(64, 1), classes=3)
        >>> model.output_shape
        (None, 3)
    """
    _channels(input_shape)
    sizes = tuple(kernel_sizes)
    if not sizes or len(sizes) != len(tuple(filters)):
        raise ValueError(
            "`filters` and `kernel_sizes` must have a number for every convolution. Received "
            f"filters={filters}, kernel_sizes={kernel_sizes}."
        )
    stack: list[Layer] = [layers.Input(input_shape)]
    for number, size in zip(filters, sizes, strict=True):
        stack += [*_normalized(number, size, momentum), layers.ReLU()]
    return Sequential([*stack, layers.GlobalAveragePooling1D(), layers.Dense(classes)], name="fcn")


def resnet1d(
    input_shape: Shape = (128, 1),
    classes: int = 2,
    *,
    width: int = 64,
    kernel_sizes: Sequence[int] = (8, 5, 3),
    momentum: float = 0.99,
) -> Sequential:
    """A residual network for series (Wang, Yan and Oates 2017).

    Three blocks of three convolutions, all at full length, then the mean over time: 504,258 trainable weights
    with the defaults.

    Args:
        input_shape: ``(steps, channels)``; the number of steps may be None.
        classes: number of outputs.
        width: channels of the first block; the other two have twice as many.
        kernel_sizes: taps of the convolutions of a block.
        momentum: of the batch normalizations; short training wants less, as 0.9.

    Raises:
        ValueError: not a series.

    Example:
        >>> model = gn.models.resnet1d(input_shape=(64, 1), classes=3)
        >>> model.output_shape
        (None, 3)
    """
    channels = _channels(input_shape)
    width = _validation.positive_integer(width, "width")
    stack: list[Layer] = [layers.Input(input_shape)]
    for filters in (width, 2 * width, 2 * width):
        branch: list[Layer] = []
        for size in kernel_sizes:
            branch += [*_normalized(filters, size, momentum), layers.ReLU()]
        # As in the authors' program: where the channels stay, the shortcut is normalized all the same.
        shortcut: list[Layer] = [layers.BatchNormalization(momentum=momentum)]
        if channels != filters:
            shortcut = _normalized(filters, 1, momentum)
        stack += [layers.Residual(branch[:-1], shortcut), layers.ReLU()]
        channels = filters
    return Sequential([*stack, layers.GlobalAveragePooling1D(), layers.Dense(classes)], name="resnet1d")


def inception_time(
    input_shape: Shape = (128, 1),
    classes: int = 2,
    *,
    filters: int = 32,
    depth: int = 6,
    kernel_sizes: Sequence[int] = (40, 20, 10),
    momentum: float = 0.99,
) -> Sequential:
    """One network of InceptionTime (Ismail Fawaz and others 2020), which is an ensemble of five.

    Modules of three long convolutions and a pool, side by side behind a bottleneck of one tap; a residual
    connection around every three of them; the mean over time. 420,450 trainable weights with the defaults.

    Args:
        input_shape: ``(steps, channels)``; the number of steps may be None.
        classes: number of outputs.
        filters: channels of each convolution; a module puts out four times as many, or as many as there are
            `kernel_sizes`, and one.
        depth: number of modules.
        kernel_sizes: taps of the convolutions of a module.
        momentum: of the batch normalizations; short training wants less, as 0.9.

    Raises:
        ValueError: not a series.

    Example:
        >>> model = gn.models.inception_time(input_shape=(64, 1), classes=3)
        >>> model.output_shape
        (None, 3)
    """
    channels = _channels(input_shape)
    filters = _validation.positive_integer(filters, "filters")
    depth = _validation.positive_integer(depth, "depth")

    def conv(size: int) -> Layer:
        return layers.Conv1D(filters, size, padding="same", use_bias=False)

    def module(channels: int) -> list[Layer]:
        views: list[Layer] = [layers.Parallel([[conv(size)] for size in kernel_sizes])]
        if channels > 1:
            views.insert(0, conv(1))
        pooled = [layers.MaxPooling1D(3, 1, padding="same"), conv(1)]
        return [layers.Parallel([views, pooled]), layers.BatchNormalization(momentum=momentum), layers.ReLU()]

    stack: list[Layer] = [layers.Input(input_shape)]
    outputs = (len(tuple(kernel_sizes)) + 1) * filters
    for first in range(0, depth, 3):
        branch: list[Layer] = []
        for _ in range(first, min(first + 3, depth)):
            branch += module(channels)
            channels = outputs
        if depth - first < 3:
            stack += branch
            continue
        shortcut = _normalized(outputs, 1, momentum, use_bias=False)
        stack += [layers.Residual(branch, shortcut), layers.ReLU()]
    name = "inception_time"
    return Sequential([*stack, layers.GlobalAveragePooling1D(), layers.Dense(classes)], name=name)
