"""Convolutions with their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from gridnn.functional import _convolution
from gridnn.functional._arrays import ArrayLike

__all__ = [
    "conv1d",
    "conv1d_input_grad",
    "conv1d_kernel_grad",
    "conv2d",
    "conv2d_input_grad",
    "conv2d_kernel_grad",
    "conv3d",
    "conv3d_input_grad",
    "conv3d_kernel_grad",
    "conv_output_shape",
]

Sizes = int | Sequence[int]
Padding = str | int | Sequence[Sequence[int]]


def conv1d(
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
) -> NDArray[Any]:
    """Convolution of series; see `conv2d`."""
    options = _convolution.options(
        1, strides, padding, padding_mode, dilation_rate, groups, algorithm=algorithm
    )
    return _convolution.forward("plain", 1, x, kernel, bias, options, activation, out)


def conv1d_input_grad(
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
) -> NDArray[Any]:
    """The gradient of `conv1d` to its input; see `conv2d_input_grad`."""
    options = _convolution.options(
        1, strides, padding, padding_mode, dilation_rate, groups, algorithm=algorithm
    )
    return _convolution.input_grad("plain", 1, dy, kernel, input_shape, options, out)


def conv1d_kernel_grad(
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
) -> NDArray[Any]:
    """The gradient of `conv1d` to its kernel; see `conv2d_kernel_grad`."""
    options = _convolution.options(
        1, strides, padding, padding_mode, dilation_rate, groups, algorithm=algorithm
    )
    return _convolution.kernel_grad("plain", 1, x, dy, kernel_shape, options, out)


def conv2d(
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
) -> NDArray[Any]:
    """Convolution of images, plus bias, through an activation.

    Slides a kernel over the grid and sums products (cross-correlation: the kernel is not flipped).
    Memory: the output; the packed kernel and a band per thread (see `gridnn.functional`).

    Args:
        x: ``(batch, height, width, channels)``.
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
        ``(batch, new_height, new_width, filters)``.

    Raises:
        ShapeError: shapes that do not fit each other; an output without spatial elements.
        ValueError: an argument that is not allowed; `algorithm` does not apply.
        TypeError: an argument of the wrong kind; complex numbers.

    Example:
        >>> conv2d(np.ones((2, 8, 8, 3)), np.ones((3, 3, 3, 5)), padding="same").shape
        (2, 8, 8, 5)
    """
    options = _convolution.options(
        2, strides, padding, padding_mode, dilation_rate, groups, algorithm=algorithm
    )
    return _convolution.forward("plain", 2, x, kernel, bias, options, activation, out)


def conv2d_input_grad(
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
) -> NDArray[Any]:
    """The gradient of ``sum(dy * conv2d(x, kernel))`` to `x`.

    Elements of `x` that a border repeats get the sum of their copies' gradients.
    Memory: the result; the packed kernel and a band per thread (see `gridnn.functional`).

    Args:
        dy: gradient of the output, in the output's shape.
        kernel: see `conv2d`.
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
    """
    options = _convolution.options(
        2, strides, padding, padding_mode, dilation_rate, groups, algorithm=algorithm
    )
    return _convolution.input_grad("plain", 2, dy, kernel, input_shape, options, out)


def conv2d_kernel_grad(
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
) -> NDArray[Any]:
    """The gradient of ``sum(dy * conv2d(x, kernel))`` to `kernel`.

    That to a bias is ``dy.sum((0, 1, 2))``.
    Memory: the result; up to 16 partial sums of its size and a band per thread (see `gridnn.functional`).

    Args:
        x: see `conv2d`.
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
    """
    options = _convolution.options(
        2, strides, padding, padding_mode, dilation_rate, groups, algorithm=algorithm
    )
    return _convolution.kernel_grad("plain", 2, x, dy, kernel_shape, options, out)


def conv3d(
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
) -> NDArray[Any]:
    """Convolution of volumes; see `conv2d`."""
    options = _convolution.options(
        3, strides, padding, padding_mode, dilation_rate, groups, algorithm=algorithm
    )
    return _convolution.forward("plain", 3, x, kernel, bias, options, activation, out)


def conv3d_input_grad(
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
) -> NDArray[Any]:
    """The gradient of `conv3d` to its input; see `conv2d_input_grad`."""
    options = _convolution.options(
        3, strides, padding, padding_mode, dilation_rate, groups, algorithm=algorithm
    )
    return _convolution.input_grad("plain", 3, dy, kernel, input_shape, options, out)


def conv3d_kernel_grad(
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
) -> NDArray[Any]:
    """The gradient of `conv3d` to its kernel; see `conv2d_kernel_grad`."""
    options = _convolution.options(
        3, strides, padding, padding_mode, dilation_rate, groups, algorithm=algorithm
    )
    return _convolution.kernel_grad("plain", 3, x, dy, kernel_shape, options, out)


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
        strides: see `conv2d`.
        padding: see `conv2d`.
        dilation_rate: see `conv2d`.

    Raises:
        ShapeError: the kernel is larger than the padded input; not 3 to 5 axes.
        ValueError: an argument that is not allowed.
        TypeError: an argument of the wrong kind.

    Example:
        >>> conv_output_shape((8, 28, 28, 3), 16, 3, strides=2, padding="same")
        (8, 14, 14, 16)
    """
    return _convolution.output_shape(
        "plain", input_shape, filters, kernel_size, (strides, padding, "zeros", dilation_rate)
    )
