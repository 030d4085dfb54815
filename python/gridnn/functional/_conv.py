"""Convolutions with their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from gridnn import _core
from gridnn.functional import _options
from gridnn.functional._arrays import ArrayLike, Padding, Sizes
from gridnn.functional._ranks import pinned, ranked

__all__ = [
    "conv",
    "conv1d",
    "conv1d_input_grad",
    "conv1d_kernel_grad",
    "conv2d",
    "conv2d_input_grad",
    "conv2d_kernel_grad",
    "conv3d",
    "conv3d_input_grad",
    "conv3d_kernel_grad",
    "conv_input_grad",
    "conv_kernel_grad",
    "conv_output_shape",
]


@ranked
def conv(
    x: ArrayLike,
    kernel: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    padding_mode: str = "zeros",
    dilation_rate: Sizes = 1,
    groups: int = 1,
    activation: str | None = None,
    algorithm: str | None = None,
    out: NDArray[Any] | None = None,
    _rank: int | None = None,
) -> NDArray[Any]:
    """Convolution, plus bias, through an activation.

    Slides a kernel over the grid and sums products (cross-correlation: the kernel is not flipped).
    Memory: the output; the packed kernel and a halo per thread (see `gridnn.functional`).

    Args:
        x: ``(batch, [depth, [height,]] width, channels)``.
        kernel: ``(*kernel_size, channels / groups, filters)``.
        bias: one number per output channel, or None.
        strides: an int, or one per spatial axis.
        padding: "valid", "same" (an odd element goes to the end), "causal" (series only), an int for every
            side, or one (before, after) pair per spatial axis.
        padding_mode: what is put there: "zeros", or as `numpy.pad` does "reflect", "edge", "wrap" or
            "symmetric".
        dilation_rate: distance between kernel elements, an int or one per spatial axis.
        groups: both kinds of channels are split into this many groups that do not see each other.
        activation: name of an activation, applied last; None is none.
        algorithm: "auto" (the fastest for the shapes), "direct", "winograd" (float32; strides and
            groups of 1; the last axes of the kernel 3 x 3 or 5 x 5, or a row of 5 taps or
            a multiple of 3), or None for what `gridnn.set_convolution_algorithm` set;
            see there for what differs.
        out: array for the result.

    Returns:
        ``(batch, [new_depth, [new_height,]] new_width, filters)``.

    Raises:
        ShapeError: shapes that do not fit each other; an output without spatial elements.
        ValueError: an argument that is not allowed; `algorithm` does not apply.
        TypeError: an argument of the wrong kind; complex numbers.

    Example:
        >>> conv(np.ones((2, 8, 8, 3)), np.ones((3, 3, 3, 5)), padding="same").shape
        (2, 8, 8, 5)
    """
    options = (strides, padding, padding_mode, dilation_rate, groups, None, algorithm)
    return _core.convolution("plain", _rank, x, kernel, bias, options, activation, out)


@ranked
def conv_input_grad(
    dy: ArrayLike,
    kernel: ArrayLike,
    input_shape: Sequence[int],
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    padding_mode: str = "zeros",
    dilation_rate: Sizes = 1,
    groups: int = 1,
    algorithm: str | None = None,
    out: NDArray[Any] | None = None,
    _rank: int | None = None,
) -> NDArray[Any]:
    """The gradient of ``sum(dy * conv(x, kernel))`` to `x`.

    Elements of `x` that a border repeats get the sum of their copies' gradients.
    Memory: the result; the packed kernel and a halo per thread (see `gridnn.functional`).

    Args:
        dy: gradient of the output, in the output's shape.
        kernel: see `conv`.
        input_shape: shape of `x`, batch and channels included.
        strides: an int, or one per spatial axis.
        padding: "valid", "same" (an odd element goes to the end), "causal" (series only), an int for every
            side, or one (before, after) pair per spatial axis.
        padding_mode: what is put there: "zeros", or as `numpy.pad` does "reflect", "edge", "wrap" or
            "symmetric".
        dilation_rate: distance between kernel elements, an int or one per spatial axis.
        groups: both kinds of channels are split into this many groups that do not see each other.
        algorithm: "auto" (the fastest for the shapes), "direct", "winograd" (float32; strides and
            groups of 1; the last axes of the kernel 3 x 3 or 5 x 5, or a row of 5 taps or
            a multiple of 3), or None for what `gridnn.set_convolution_algorithm` set;
            see there for what differs.
        out: array for the result.

    Raises:
        ShapeError: shapes that do not fit each other.
        ValueError: an argument that is not allowed.
        TypeError: an argument of the wrong kind.

    Example:
        >>> kernel, output_grad = np.ones((3, 1, 2)), np.ones((1, 6, 2))
        >>> gn.functional.conv_input_grad(output_grad, kernel, (1, 8, 1)).shape
        (1, 8, 1)
    """
    options = (strides, padding, padding_mode, dilation_rate, groups, None, algorithm)
    return _core.convolution_input_grad("plain", _rank, dy, kernel, input_shape, options, out)


@ranked
def conv_kernel_grad(
    x: ArrayLike,
    dy: ArrayLike,
    kernel_shape: Sequence[int],
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    padding_mode: str = "zeros",
    dilation_rate: Sizes = 1,
    groups: int = 1,
    algorithm: str | None = None,
    out: NDArray[Any] | None = None,
    _rank: int | None = None,
) -> NDArray[Any]:
    """The gradient of ``sum(dy * conv(x, kernel))`` to `kernel`.

    That to a bias is the sum of `dy` over all axes but the last.
    Memory: the result; up to 16 partial sums of its size and a halo per thread (see `gridnn.functional`).

    Args:
        x: see `conv`.
        dy: gradient of the output, in the output's shape.
        kernel_shape: shape of the kernel, channels included.
        strides: an int, or one per spatial axis.
        padding: "valid", "same" (an odd element goes to the end), "causal" (series only), an int for every
            side, or one (before, after) pair per spatial axis.
        padding_mode: what is put there: "zeros", or as `numpy.pad` does "reflect", "edge", "wrap" or
            "symmetric".
        dilation_rate: distance between kernel elements, an int or one per spatial axis.
        groups: both kinds of channels are split into this many groups that do not see each other.
        algorithm: "auto" (the fastest for the shapes), "direct", "winograd" (float32; strides and
            groups of 1; the last axes of the kernel 3 x 3 or 5 x 5, or a row of 5 taps or
            a multiple of 3), or None for what `gridnn.set_convolution_algorithm` set;
            see there for what differs.
        out: array for the result.

    Raises:
        ShapeError: shapes that do not fit each other.
        ValueError: an argument that is not allowed.
        TypeError: an argument of the wrong kind.

    Example:
        >>> x, output_grad = np.ones((1, 8, 1)), np.ones((1, 6, 2))
        >>> gn.functional.conv_kernel_grad(x, output_grad, (3, 1, 2)).shape
        (3, 1, 2)
    """
    options = (strides, padding, padding_mode, dilation_rate, groups, None, algorithm)
    return _core.convolution_kernel_grad("plain", _rank, x, dy, kernel_shape, options, out)


def conv_output_shape(
    input_shape: Sequence[int],
    filters: int,
    kernel_size: Sizes,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    dilation_rate: Sizes = 1,
) -> tuple[int, ...]:
    """The shape that a convolution gives, without computing it.

    Args:
        input_shape: batch, one to three spatial axes, channels; the batch may be 0.
        filters: number of output channels.
        kernel_size: an int, or one per spatial axis.
        strides: see `conv`.
        padding: see `conv`.
        dilation_rate: see `conv`.

    Raises:
        ShapeError: the kernel is larger than the padded input; not 3 to 5 axes.
        ValueError: an argument that is not allowed.
        TypeError: an argument of the wrong kind.

    Example:
        >>> conv_output_shape((8, 28, 28, 3), 16, 3, strides=2, padding="same")
        (8, 14, 14, 16)
    """
    options = (strides, padding, "zeros", dilation_rate, 1, None, None)
    return _options.output_shape("plain", input_shape, filters, kernel_size, options)


conv1d = pinned(conv, 1)
conv2d = pinned(conv, 2)
conv3d = pinned(conv, 3)
conv1d_input_grad = pinned(conv_input_grad, 1)
conv2d_input_grad = pinned(conv_input_grad, 2)
conv3d_input_grad = pinned(conv_input_grad, 3)
conv1d_kernel_grad = pinned(conv_kernel_grad, 1)
conv2d_kernel_grad = pinned(conv_kernel_grad, 2)
conv3d_kernel_grad = pinned(conv_kernel_grad, 3)
