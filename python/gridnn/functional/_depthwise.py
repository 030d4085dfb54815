"""Depthwise convolutions with their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from gridnn.functional import _convolution
from gridnn.functional._arrays import ArrayLike

__all__ = [
    "depthwise_conv1d",
    "depthwise_conv1d_input_grad",
    "depthwise_conv1d_kernel_grad",
    "depthwise_conv2d",
    "depthwise_conv2d_input_grad",
    "depthwise_conv2d_kernel_grad",
    "depthwise_conv3d",
    "depthwise_conv3d_input_grad",
    "depthwise_conv3d_kernel_grad",
]

Sizes = int | Sequence[int]
Padding = str | int | Sequence[Sequence[int]]


def depthwise_conv1d(
    x: ArrayLike,
    kernel: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    padding_mode: str = "zeros",
    dilation_rate: Sizes = 1,
    activation: str | None = None,
    algorithm: str | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Depthwise convolution of series; see `depthwise_conv2d`."""
    options = _convolution.options(1, strides, padding, padding_mode, dilation_rate, algorithm=algorithm)
    return _convolution.forward("depthwise", 1, x, kernel, bias, options, activation, out)


def depthwise_conv1d_input_grad(
    dy: ArrayLike,
    kernel: ArrayLike,
    input_shape: Sequence[int],
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    padding_mode: str = "zeros",
    dilation_rate: Sizes = 1,
    algorithm: str | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The gradient of `depthwise_conv1d` to its input; see `depthwise_conv2d_input_grad`."""
    options = _convolution.options(1, strides, padding, padding_mode, dilation_rate, algorithm=algorithm)
    return _convolution.input_grad("depthwise", 1, dy, kernel, input_shape, options, out)


def depthwise_conv1d_kernel_grad(
    x: ArrayLike,
    dy: ArrayLike,
    kernel_shape: Sequence[int],
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    padding_mode: str = "zeros",
    dilation_rate: Sizes = 1,
    algorithm: str | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The gradient of `depthwise_conv1d` to its kernel; see `depthwise_conv2d_kernel_grad`."""
    options = _convolution.options(1, strides, padding, padding_mode, dilation_rate, algorithm=algorithm)
    return _convolution.kernel_grad("depthwise", 1, x, dy, kernel_shape, options, out)


def depthwise_conv2d(
    x: ArrayLike,
    kernel: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    padding_mode: str = "zeros",
    dilation_rate: Sizes = 1,
    activation: str | None = None,
    algorithm: str | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Depthwise convolution of images, plus bias, through an activation.

    Convolves every channel with kernels of its own.
    Memory: the output; the packed kernel and a band per thread (see `gridnn.functional`).

    Args:
        x: ``(batch, height, width, channels)``.
        kernel: ``(*kernel_size, channels, multiplier)``.
        bias: one number per output channel, or None.
        strides: an int, or one per spatial axis.
        padding: "valid", "same" (an odd element goes to the end), "causal" (series only), an int for every
            side, or one (before, after) pair per spatial axis.
        padding_mode: what is put there: "zeros", or as `numpy.pad` does "reflect", "edge", "wrap" or
            "symmetric".
        dilation_rate: distance between kernel elements, an int or one per spatial axis.
        activation: name of an activation, applied last; None is none.
        algorithm: None, "auto" or "direct"; there is one algorithm.
        out: array for the result.

    Returns:
        ``(batch, new_height, new_width, channels * multiplier)``; output channel
        ``c * multiplier + j`` belongs to ``kernel[..., c, j]``.

    Raises:
        ShapeError: shapes that do not fit each other; an output without spatial elements.
        ValueError: an argument that is not allowed; `algorithm` does not apply.
        TypeError: an argument of the wrong kind; complex numbers.

    Example:
        >>> depthwise_conv2d(np.ones((2, 8, 8, 3)), np.ones((3, 3, 3, 2)), padding="same").shape
        (2, 8, 8, 6)
    """
    options = _convolution.options(2, strides, padding, padding_mode, dilation_rate, algorithm=algorithm)
    return _convolution.forward("depthwise", 2, x, kernel, bias, options, activation, out)


def depthwise_conv2d_input_grad(
    dy: ArrayLike,
    kernel: ArrayLike,
    input_shape: Sequence[int],
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    padding_mode: str = "zeros",
    dilation_rate: Sizes = 1,
    algorithm: str | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The gradient of ``sum(dy * depthwise_conv2d(x, kernel))`` to `x`.

    Elements of `x` that a border repeats get the sum of their copies' gradients.
    Memory: the result; the packed kernel and a band per thread (see `gridnn.functional`).

    Args:
        dy: gradient of the output, in the output's shape.
        kernel: see `depthwise_conv2d`.
        input_shape: shape of `x`, batch and channels included.
        strides: an int, or one per spatial axis.
        padding: "valid", "same" (an odd element goes to the end), "causal" (series only), an int for every
            side, or one (before, after) pair per spatial axis.
        padding_mode: what is put there: "zeros", or as `numpy.pad` does "reflect", "edge", "wrap" or
            "symmetric".
        dilation_rate: distance between kernel elements, an int or one per spatial axis.
        algorithm: None, "auto" or "direct"; there is one algorithm.
        out: array for the result.

    Raises:
        ShapeError: shapes that do not fit each other.
        ValueError: an argument that is not allowed.
        TypeError: an argument of the wrong kind.
    """
    options = _convolution.options(2, strides, padding, padding_mode, dilation_rate, algorithm=algorithm)
    return _convolution.input_grad("depthwise", 2, dy, kernel, input_shape, options, out)


def depthwise_conv2d_kernel_grad(
    x: ArrayLike,
    dy: ArrayLike,
    kernel_shape: Sequence[int],
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    padding_mode: str = "zeros",
    dilation_rate: Sizes = 1,
    algorithm: str | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The gradient of ``sum(dy * depthwise_conv2d(x, kernel))`` to `kernel`.

    That to a bias is ``dy.sum((0, 1, 2))``.
    Memory: the result; up to 16 partial sums of its size and a band per thread (see `gridnn.functional`).

    Args:
        x: see `depthwise_conv2d`.
        dy: gradient of the output, in the output's shape.
        kernel_shape: shape of the kernel, channels included.
        strides: an int, or one per spatial axis.
        padding: "valid", "same" (an odd element goes to the end), "causal" (series only), an int for every
            side, or one (before, after) pair per spatial axis.
        padding_mode: what is put there: "zeros", or as `numpy.pad` does "reflect", "edge", "wrap" or
            "symmetric".
        dilation_rate: distance between kernel elements, an int or one per spatial axis.
        algorithm: None, "auto" or "direct"; there is one algorithm.
        out: array for the result.

    Raises:
        ShapeError: shapes that do not fit each other.
        ValueError: an argument that is not allowed.
        TypeError: an argument of the wrong kind.
    """
    options = _convolution.options(2, strides, padding, padding_mode, dilation_rate, algorithm=algorithm)
    return _convolution.kernel_grad("depthwise", 2, x, dy, kernel_shape, options, out)


def depthwise_conv3d(
    x: ArrayLike,
    kernel: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    padding_mode: str = "zeros",
    dilation_rate: Sizes = 1,
    activation: str | None = None,
    algorithm: str | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Depthwise convolution of volumes; see `depthwise_conv2d`."""
    options = _convolution.options(3, strides, padding, padding_mode, dilation_rate, algorithm=algorithm)
    return _convolution.forward("depthwise", 3, x, kernel, bias, options, activation, out)


def depthwise_conv3d_input_grad(
    dy: ArrayLike,
    kernel: ArrayLike,
    input_shape: Sequence[int],
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    padding_mode: str = "zeros",
    dilation_rate: Sizes = 1,
    algorithm: str | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The gradient of `depthwise_conv3d` to its input; see `depthwise_conv2d_input_grad`."""
    options = _convolution.options(3, strides, padding, padding_mode, dilation_rate, algorithm=algorithm)
    return _convolution.input_grad("depthwise", 3, dy, kernel, input_shape, options, out)


def depthwise_conv3d_kernel_grad(
    x: ArrayLike,
    dy: ArrayLike,
    kernel_shape: Sequence[int],
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    padding_mode: str = "zeros",
    dilation_rate: Sizes = 1,
    algorithm: str | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The gradient of `depthwise_conv3d` to its kernel; see `depthwise_conv2d_kernel_grad`."""
    options = _convolution.options(3, strides, padding, padding_mode, dilation_rate, algorithm=algorithm)
    return _convolution.kernel_grad("depthwise", 3, x, dy, kernel_shape, options, out)
