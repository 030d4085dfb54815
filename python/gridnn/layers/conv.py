"""Convolutions of one, two and three spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from gridnn import _validation, initializers
from gridnn.layers.activation import AnyActivation, activation_name
from gridnn.layers.base import REGISTRY, Weight
from gridnn.layers.limits import KernelLimits, LimitedLayer, limit_fields

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Conv1D", "Conv2D", "Conv3D", "Convolution1D", "Convolution2D", "Convolution3D"]


def checked_filters(filters: object, groups: object) -> tuple[int, int]:
    """Returns `filters` and `groups` as positive ints, the first divisible by the second.

    Raises:
        ValueError: they are not, in Keras' words.
    """
    filters, groups = _validation.integer(filters, "filters"), _validation.integer(groups, "groups")
    if filters <= 0:
        raise ValueError(
            "Invalid value for argument `filters`. Expected a strictly positive value. "
            f"Received filters={filters}."
        )
    if groups <= 0:
        raise ValueError(f"The number of groups must be a positive integer. Received: groups={groups}.")
    if filters % groups:
        raise ValueError(
            "The number of filters must be evenly divisible by the number of groups. "
            f"Received: groups={groups}, filters={filters}."
        )
    return _validation.positive_integer(filters, "filters"), groups


class Convolution(LimitedLayer):
    """Slides `filters` kernels over the grid and sums products.

    As everywhere in deep learning this is cross-correlation: the kernel is not flipped.

    Along an axis of size n, with kernel k, stride s and dilation d, the output size is ``floor((n + before +
    after - d (k - 1) - 1) / s) + 1``; "valid" pads nothing, "same" so much that the size is ``ceil(n / s)``
    (an odd amount goes to the end), "causal" pads ``d (k - 1)`` before.

    Args:
        filters: number of output channels.
        kernel_size: an int, or one per spatial axis.
        strides: an int, or one per spatial axis.
        padding: "valid", "same", "causal" (1-D only), an int for every side, or one (before, after) pair per
            axis.
        padding_mode: what is put there: "zeros", or as `numpy.pad` does "reflect", "edge", "wrap" or
            "symmetric".
        dilation_rate: distance between kernel elements, an int or one per spatial axis; may be combined with
            strides.
        groups: input and output channels are split into this many groups that do not see each other.
        activation: name of the activation applied to the result; see `Activation`.
        use_bias: whether to add one number per output channel.
        kernel_initializer: see `gridnn.initializers`.
        bias_initializer: see `gridnn.initializers`.
        name: see `Layer`.
        trainable: see `Layer`.
        **limits: regularizers and constraints; see `LimitedLayer`.

    Weights:
        `kernel` of shape ``(*kernel_size, channels / groups, filters)``; `bias` of shape ``(filters,)``.

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
        "padding_mode",
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
        *,
        padding_mode: str = "zeros",
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
        self.padding = _validation.convolution_padding(padding, self.rank, causal=self.rank == 1)
        self.padding_mode = _validation.padding_mode(padding_mode)
        self.dilation_rate = _validation.axis_integers(dilation_rate, self.rank, "dilation_rate")
        self.activation = activation_name(activation)
        self.use_bias = _validation.boolean(use_bias, "use_bias")
        self.kernel_initializer = initializers.of_weight(kernel_initializer)
        self.bias_initializer = initializers.of_weight(bias_initializer)
        self._set_limits(limits)


@REGISTRY.register()
class Conv1D(Convolution):
    """Convolution over series; arguments as in `Convolution`.

    Input shape:
        ``(batch, steps, channels)``.

    Output shape:
        ``(batch, new_steps, filters)``.

    Example:
        >>> Conv1D(16, 3, padding="causal", dilation_rate=2).dilation_rate
        (2,)
    """

    rank = 1


@REGISTRY.register()
class Conv2D(Convolution):
    """Convolution over images; arguments as in `Convolution`.

    Input shape:
        ``(batch, height, width, channels)``.

    Output shape:
        ``(batch, new_height, new_width, filters)``.

    Example:
        >>> Conv2D(32, 3, activation="relu").kernel_size
        (3, 3)
        >>> Conv2D(32, 3, padding=1).padding
        ((1, 1), (1, 1))
    """

    rank = 2


@REGISTRY.register()
class Conv3D(Convolution):
    """Convolution over volumes; arguments as in `Convolution`.

    Input shape:
        ``(batch, depth, height, width, channels)``.

    Output shape:
        ``(batch, new_depth, new_height, new_width, filters)``.

    Example:
        >>> Conv3D(8, (1, 3, 3), strides=2).strides
        (2, 2, 2)
    """

    rank = 3


# The names in full that Keras has besides.
Convolution1D = Conv1D
Convolution2D = Conv2D
Convolution3D = Conv3D
