"""Depthwise and separable convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from gridnn import _validation, initializers
from gridnn.layers.activation import AnyActivation, activation_name
from gridnn.layers.base import REGISTRY, Weight
from gridnn.layers.conv import checked_filters
from gridnn.layers.limits import DepthwiseLimits, LimitedLayer, SeparableLimits, limit_fields

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "DepthwiseConv3D",
    "SeparableConv1D",
    "SeparableConv2D",
    "SeparableConv3D",
    "SeparableConvolution1D",
    "SeparableConvolution2D",
]


class DepthwiseConvolution(LimitedLayer):
    """Convolves every channel with `depth_multiplier` kernels of its own.

    Args:
        kernel_size: an int, or one per spatial axis.
        strides: an int, or one per spatial axis.
        padding: "valid", "same", "causal" (1-D only), an int for every side, or one (before, after) pair per
            axis.
        padding_mode: what is put there: "zeros", or as `numpy.pad` does "reflect", "edge", "wrap" or
            "symmetric".
        depth_multiplier: number of kernels per channel.
        dilation_rate: distance between kernel elements, an int or one per spatial axis; may be combined with
            strides.
        activation: name of the activation applied to the result; see `Activation`.
        use_bias: whether to add one number per output channel.
        depthwise_initializer: see `gridnn.initializers`.
        bias_initializer: see `gridnn.initializers`.
        name: see `Layer`.
        trainable: see `Layer`.
        **limits: regularizers and constraints; see `LimitedLayer`.

    Weights:
        `kernel` of shape ``(*kernel_size, channels, depth_multiplier)``; `bias` of shape ``(channels *
        depth_multiplier,)``. Output channel ``c * depth_multiplier + j`` belongs to ``kernel[..., c, j]``.

    Raises:
        ValueError: a size that is not positive, an unknown name.
        TypeError: an argument of the wrong kind.
    """

    rank: ClassVar[int]
    config_fields = (
        "kernel_size",
        "strides",
        "padding",
        "padding_mode",
        "depth_multiplier",
        "dilation_rate",
        "activation",
        "use_bias",
        "depthwise_initializer",
        "bias_initializer",
        *limit_fields("depthwise", "bias"),
    )
    limited = (("depthwise", "kernel"), ("bias", "bias"))
    kernel = Weight()
    bias = Weight()

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str | int | Sequence[Sequence[int]] = "valid",
        *,
        padding_mode: str = "zeros",
        depth_multiplier: int = 1,
        dilation_rate: int | Sequence[int] = 1,
        activation: AnyActivation = None,
        use_bias: bool = True,
        depthwise_initializer: str | initializers.Initializer = "glorot_uniform",
        bias_initializer: str | initializers.Initializer = "zeros",
        name: str | None = None,
        trainable: bool = True,
        **limits: Unpack[DepthwiseLimits],
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.kernel_size = _validation.axis_integers(kernel_size, self.rank, "kernel_size")
        self.strides = _validation.axis_integers(strides, self.rank, "strides")
        self.padding = _validation.convolution_padding(padding, self.rank, causal=self.rank == 1)
        self.padding_mode = _validation.padding_mode(padding_mode)
        self.depth_multiplier = _validation.positive_integer(depth_multiplier, "depth_multiplier")
        self.dilation_rate = _validation.axis_integers(dilation_rate, self.rank, "dilation_rate")
        self.activation = activation_name(activation)
        self.use_bias = _validation.boolean(use_bias, "use_bias")
        self.depthwise_initializer = initializers.of_weight(depthwise_initializer)
        self.bias_initializer = initializers.of_weight(bias_initializer)
        self._set_limits(limits)


@REGISTRY.register()
class DepthwiseConv1D(DepthwiseConvolution):
    """Depthwise convolution over series; arguments as in `DepthwiseConvolution`.

    Input shape:
        ``(batch, steps, channels)``.

    Output shape:
        ``(batch, new_steps, channels * depth_multiplier)``.

    Example:
        >>> DepthwiseConv1D(5, padding="causal").padding
        'causal'
    """

    rank = 1


@REGISTRY.register()
class DepthwiseConv2D(DepthwiseConvolution):
    """Depthwise convolution over images; arguments as in `DepthwiseConvolution`.

    Input shape:
        ``(batch, height, width, channels)``.

    Output shape:
        ``(batch, new_height, new_width, channels * depth_multiplier)``.

    Example:
        >>> DepthwiseConv2D(3, depth_multiplier=2).depth_multiplier
        2
    """

    rank = 2


@REGISTRY.register()
class DepthwiseConv3D(DepthwiseConvolution):
    """Depthwise convolution over volumes; arguments as in `DepthwiseConvolution`.

    Input shape:
        ``(batch, depth, height, width, channels)``.

    Output shape:
        ``(batch, new_depth, new_height, new_width, channels * depth_multiplier)``.

    Example:
        >>> DepthwiseConv3D((1, 3, 3)).kernel_size
        (1, 3, 3)
    """

    rank = 3


class SeparableConvolution(LimitedLayer):
    """A depthwise convolution, then a pointwise one that mixes the channels; bias and activation come last.

    Args:
        filters: number of output channels.
        kernel_size: an int, or one per spatial axis.
        strides: an int, or one per spatial axis.
        padding: "valid", "same", "causal" (1-D only), an int for every side, or one (before, after) pair per
            axis.
        padding_mode: what is put there: "zeros", or as `numpy.pad` does "reflect", "edge", "wrap" or
            "symmetric".
        depth_multiplier: number of kernels per channel.
        dilation_rate: distance between kernel elements, an int or one per spatial axis; may be combined with
            strides.
        activation: name of the activation applied to the result; see `Activation`.
        use_bias: whether to add one number per filter.
        depthwise_initializer: see `gridnn.initializers`.
        pointwise_initializer: see `gridnn.initializers`.
        bias_initializer: see `gridnn.initializers`.
        name: see `Layer`.
        trainable: see `Layer`.
        **limits: regularizers and constraints; see `LimitedLayer`.

    Weights:
        `depthwise_kernel` of shape ``(*kernel_size, channels, depth_multiplier)``; `pointwise_kernel` of
        shape ``(1, .., channels * depth_multiplier, filters)``; `bias` of shape ``(filters,)``.

    Raises:
        ValueError: a size that is not positive, an unknown name.
        TypeError: an argument of the wrong kind.
    """

    rank: ClassVar[int]
    config_fields = (
        "filters",
        "kernel_size",
        "strides",
        "padding",
        "padding_mode",
        "depth_multiplier",
        "dilation_rate",
        "activation",
        "use_bias",
        "depthwise_initializer",
        "pointwise_initializer",
        "bias_initializer",
        *limit_fields("depthwise", "pointwise", "bias"),
    )
    limited = (("depthwise", "depthwise_kernel"), ("pointwise", "pointwise_kernel"), ("bias", "bias"))
    depthwise_kernel = Weight()
    pointwise_kernel = Weight()
    bias = Weight()

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str | int | Sequence[Sequence[int]] = "valid",
        *,
        padding_mode: str = "zeros",
        depth_multiplier: int = 1,
        dilation_rate: int | Sequence[int] = 1,
        activation: AnyActivation = None,
        use_bias: bool = True,
        depthwise_initializer: str | initializers.Initializer = "glorot_uniform",
        pointwise_initializer: str | initializers.Initializer = "glorot_uniform",
        bias_initializer: str | initializers.Initializer = "zeros",
        name: str | None = None,
        trainable: bool = True,
        **limits: Unpack[SeparableLimits],
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.filters = checked_filters(filters, 1)[0]
        self.kernel_size = _validation.axis_integers(kernel_size, self.rank, "kernel_size")
        self.strides = _validation.axis_integers(strides, self.rank, "strides")
        self.padding = _validation.convolution_padding(padding, self.rank, causal=self.rank == 1)
        self.padding_mode = _validation.padding_mode(padding_mode)
        self.depth_multiplier = _validation.positive_integer(depth_multiplier, "depth_multiplier")
        self.dilation_rate = _validation.axis_integers(dilation_rate, self.rank, "dilation_rate")
        self.activation = activation_name(activation)
        self.use_bias = _validation.boolean(use_bias, "use_bias")
        self.depthwise_initializer = initializers.of_weight(depthwise_initializer)
        self.pointwise_initializer = initializers.of_weight(pointwise_initializer)
        self.bias_initializer = initializers.of_weight(bias_initializer)
        self._set_limits(limits)


@REGISTRY.register()
class SeparableConv1D(SeparableConvolution):
    """Separable convolution over series; arguments as in `SeparableConvolution`.

    Input shape:
        ``(batch, steps, channels)``.

    Output shape:
        ``(batch, new_steps, filters)``.

    Example:
        >>> SeparableConv1D(16, 5, padding="causal").padding
        'causal'
    """

    rank = 1


@REGISTRY.register()
class SeparableConv2D(SeparableConvolution):
    """Separable convolution over images; arguments as in `SeparableConvolution`.

    Input shape:
        ``(batch, height, width, channels)``.

    Output shape:
        ``(batch, new_height, new_width, filters)``.

    Example:
        >>> SeparableConv2D(32, 3, activation="relu").activation
        'relu'
    """

    rank = 2


@REGISTRY.register()
class SeparableConv3D(SeparableConvolution):
    """Separable convolution over volumes; arguments as in `SeparableConvolution`.

    Input shape:
        ``(batch, depth, height, width, channels)``.

    Output shape:
        ``(batch, new_depth, new_height, new_width, filters)``.

    Example:
        >>> SeparableConv3D(16, (1, 3, 3)).kernel_size
        (1, 3, 3)
    """

    rank = 3


# The names in full that Keras has besides.
SeparableConvolution1D = SeparableConv1D
SeparableConvolution2D = SeparableConv2D
