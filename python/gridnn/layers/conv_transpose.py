"""Transposed convolutions of one, two and three spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from gridnn import _validation, initializers
from gridnn.layers.activation import AnyActivation, activation_name
from gridnn.layers.base import REGISTRY, Weight
from gridnn.layers.conv import checked_filters
from gridnn.layers.limits import KernelLimits, LimitedLayer, limit_fields

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "Conv1DTranspose",
    "Conv2DTranspose",
    "Conv3DTranspose",
    "Convolution1DTranspose",
    "Convolution2DTranspose",
    "Convolution3DTranspose",
]


class TransposedConvolution(LimitedLayer):
    """The gradient of a convolution to its input, used forward: every element is spread over a window.

    Along an axis of size n, with kernel k, stride s, dilation d and ``span = d (k - 1) + 1`` the size becomes

    - "valid": ``(n - 1) s + span + p``, with p the `output_padding` or by default ``max(span, s) - span``;
    - "same": ``n s``, or with an `output_padding` ``(n - 1) s + span % 2 + p``;
    - pairs: ``(n - 1) s + span + p - before - after``, where p is 0 if `output_padding` is None.

    Args:
        filters: number of output channels.
        kernel_size: an int, or one per spatial axis.
        strides: an int, or one per spatial axis.
        padding: "valid", "same", an int cropped from every side, or one (before, after) pair per axis.
        output_padding: elements added at the end of an axis, an int or one per axis, less than the stride (or
            the dilation); None follows Keras.
        dilation_rate: distance between kernel elements, an int or one per spatial axis.
        groups: input and output channels are split into this many groups that do not see each other.
        activation: name of the activation applied to the result; see `Activation`.
        use_bias: whether to add one number per output channel.
        kernel_initializer: see `gridnn.initializers`.
        bias_initializer: see `gridnn.initializers`.
        name: see `Layer`.
        trainable: see `Layer`.
        **limits: regularizers and constraints; see `LimitedLayer`.

    Weights:
        `kernel` of shape ``(*kernel_size, filters / groups, channels)``; `bias` of shape ``(filters,)``.

    Raises:
        ValueError: a size that is not positive, `filters` not divisible by `groups`, an unknown name.
        TypeError: an argument of the wrong kind.
    """

    rank: ClassVar[int]
    config_fields = (
        "filters",
        "kernel_size",
        "strides",
        "padding",
        "output_padding",
        "dilation_rate",
        "groups",
        "activation",
        "use_bias",
        "kernel_initializer",
        "bias_initializer",
        *limit_fields("kernel", "bias"),
    )
    limited = (("kernel", "kernel"), ("bias", "bias"))
    kernel = Weight()
    bias = Weight()

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str | int | Sequence[Sequence[int]] = "valid",
        output_padding: int | Sequence[int] | None = None,
        *,
        dilation_rate: int | Sequence[int] = 1,
        groups: int = 1,
        activation: AnyActivation = None,
        use_bias: bool = True,
        kernel_initializer: str | initializers.Initializer = "glorot_uniform",
        bias_initializer: str | initializers.Initializer = "zeros",
        name: str | None = None,
        trainable: bool = True,
        **limits: Unpack[KernelLimits],
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.filters, self.groups = checked_filters(filters, groups)
        self.kernel_size = _validation.axis_integers(kernel_size, self.rank, "kernel_size")
        self.strides = _validation.axis_integers(strides, self.rank, "strides")
        self.padding = _validation.convolution_padding(padding, self.rank, causal=False)
        self.output_padding = _validation.output_padding(output_padding, self.rank)
        self.dilation_rate = _validation.axis_integers(dilation_rate, self.rank, "dilation_rate")
        bounds = [max(pair) for pair in zip(self.strides, self.dilation_rate, strict=True)]
        if self.output_padding and any(p >= n for p, n in zip(self.output_padding, bounds, strict=True)):
            raise ValueError(
                "The `output_padding` argument must be less than `strides` or `dilation_rate`. "
                f"Received output_padding={self.output_padding}, strides={self.strides}."
            )
        self.activation = activation_name(activation)
        self.use_bias = _validation.boolean(use_bias, "use_bias")
        self.kernel_initializer = initializers.of_weight(kernel_initializer)
        self.bias_initializer = initializers.of_weight(bias_initializer)
        self._set_limits(limits)


@REGISTRY.register()
class Conv1DTranspose(TransposedConvolution):
    """Transposed convolution over series; arguments as in `TransposedConvolution`.

    Input shape:
        ``(batch, steps, channels)``.

    Output shape:
        ``(batch, new_steps, filters)``.

    Example:
        >>> Conv1DTranspose(16, 4, strides=2, padding="same").output_padding is None
        True
    """

    rank = 1


@REGISTRY.register()
class Conv2DTranspose(TransposedConvolution):
    """Transposed convolution over images; arguments as in `TransposedConvolution`.

    Input shape:
        ``(batch, height, width, channels)``.

    Output shape:
        ``(batch, new_height, new_width, filters)``.

    Example:
        >>> Conv2DTranspose(32, 3, strides=2, padding="same", output_padding=1).output_padding
        (1, 1)
    """

    rank = 2


@REGISTRY.register()
class Conv3DTranspose(TransposedConvolution):
    """Transposed convolution over volumes; arguments as in `TransposedConvolution`.

    Input shape:
        ``(batch, depth, height, width, channels)``.

    Output shape:
        ``(batch, new_depth, new_height, new_width, filters)``.

    Example:
        >>> Conv3DTranspose(8, (1, 3, 3), strides=2).strides
        (2, 2, 2)
    """

    rank = 3


# The names in full that Keras has besides.
Convolution1DTranspose = Conv1DTranspose
Convolution2DTranspose = Conv2DTranspose
Convolution3DTranspose = Conv3DTranspose
