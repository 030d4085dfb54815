"""Separable convolutions with their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from gridnn.functional import _convolution
from gridnn.functional._arrays import ArrayLike

__all__ = [
    "separable_conv1d",
    "separable_conv1d_input_grad",
    "separable_conv1d_kernel_grad",
    "separable_conv2d",
    "separable_conv2d_input_grad",
    "separable_conv2d_kernel_grad",
    "separable_conv3d",
    "separable_conv3d_input_grad",
    "separable_conv3d_kernel_grad",
]

Sizes = int | Sequence[int]
Padding = str | int | Sequence[Sequence[int]]


def separable_conv1d(
    x: ArrayLike,
    depthwise_kernel: ArrayLike,
    pointwise_kernel: ArrayLike,
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
    """Separable convolution of series; see `separable_conv2d`."""
    options = _convolution.options(1, strides, padding, padding_mode, dilation_rate, algorithm=algorithm)
    kernels = (depthwise_kernel, pointwise_kernel)
    return _convolution.separable(1, x, kernels, bias, options, activation, out)


def separable_conv1d_input_grad(
    dy: ArrayLike,
    depthwise_kernel: ArrayLike,
    pointwise_kernel: ArrayLike,
    input_shape: Sequence[int],
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    padding_mode: str = "zeros",
    dilation_rate: Sizes = 1,
    algorithm: str | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The gradient of `separable_conv1d` to its input; see `separable_conv2d_input_grad`."""
    options = _convolution.options(1, strides, padding, padding_mode, dilation_rate, algorithm=algorithm)
    kernels = (depthwise_kernel, pointwise_kernel)
    return _convolution.separable_input_grad(1, dy, kernels, input_shape, options, out)


def separable_conv1d_kernel_grad(
    x: ArrayLike,
    dy: ArrayLike,
    depthwise_kernel: ArrayLike,
    pointwise_kernel: ArrayLike,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    padding_mode: str = "zeros",
    dilation_rate: Sizes = 1,
    algorithm: str | None = None,
    out: tuple[NDArray[Any], NDArray[Any]] | None = None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The gradients of `separable_conv1d` to its kernels; see `separable_conv2d_kernel_grad`."""
    options = _convolution.options(1, strides, padding, padding_mode, dilation_rate, algorithm=algorithm)
    kernels = (depthwise_kernel, pointwise_kernel)
    return _convolution.separable_kernel_grad(1, x, dy, kernels, options, out)


def separable_conv2d(
    x: ArrayLike,
    depthwise_kernel: ArrayLike,
    pointwise_kernel: ArrayLike,
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
    """Depthwise convolution of images, then a pointwise one that mixes the channels.

    Both steps are done on a few rows at a time: the tensor between them never exists as a whole.
    Memory: the output; the packed kernels and, per thread, a band and some rows between the steps (see
    `gridnn.functional`).

    Args:
        x: ``(batch, height, width, channels)``.
        depthwise_kernel: ``(*kernel_size, channels, multiplier)``.
        pointwise_kernel: ``(1, 1, channels * multiplier, filters)``.
        bias: one number per filter, or None.
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
        ``(batch, new_height, new_width, filters)``.

    Raises:
        ShapeError: shapes that do not fit each other; an output without spatial elements.
        ValueError: an argument that is not allowed; `algorithm` does not apply.
        TypeError: an argument of the wrong kind; complex numbers.

    Example:
        >>> separable_conv2d(np.ones((2, 8, 8, 3)), np.ones((3, 3, 3, 1)), np.ones((1, 1, 3, 5))).shape
        (2, 6, 6, 5)
    """
    options = _convolution.options(2, strides, padding, padding_mode, dilation_rate, algorithm=algorithm)
    kernels = (depthwise_kernel, pointwise_kernel)
    return _convolution.separable(2, x, kernels, bias, options, activation, out)


def separable_conv2d_input_grad(
    dy: ArrayLike,
    depthwise_kernel: ArrayLike,
    pointwise_kernel: ArrayLike,
    input_shape: Sequence[int],
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    padding_mode: str = "zeros",
    dilation_rate: Sizes = 1,
    algorithm: str | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The gradient of ``sum(dy * separable_conv2d(x, ...))`` to `x`.

    Memory: the result; the packed kernels, the gradient of the tensor between the two steps (``batch *
    new_height * new_width * channels * multiplier`` elements) and a band per thread (see
    `gridnn.functional`).

    Args:
        dy: gradient of the output, in the output's shape.
        depthwise_kernel: ``(*kernel_size, channels, multiplier)``.
        pointwise_kernel: ``(1, 1, channels * multiplier, filters)``.
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
    kernels = (depthwise_kernel, pointwise_kernel)
    return _convolution.separable_input_grad(2, dy, kernels, input_shape, options, out)


def separable_conv2d_kernel_grad(
    x: ArrayLike,
    dy: ArrayLike,
    depthwise_kernel: ArrayLike,
    pointwise_kernel: ArrayLike,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    padding_mode: str = "zeros",
    dilation_rate: Sizes = 1,
    algorithm: str | None = None,
    out: tuple[NDArray[Any], NDArray[Any]] | None = None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The gradients of ``sum(dy * separable_conv2d(x, ...))`` to the two kernels.

    Memory: the results; the packed kernels, the tensor between the two steps (``batch * new_height *
    new_width * channels * multiplier`` elements), up to 16 partial sums of the larger result and a band per
    thread (see `gridnn.functional`).

    Args:
        x: see `separable_conv2d`.
        dy: gradient of the output, in the output's shape.
        depthwise_kernel: ``(*kernel_size, channels, multiplier)``.
        pointwise_kernel: ``(1, 1, channels * multiplier, filters)``.
        strides: an int, or one per spatial axis.
        padding: "valid", "same" (an odd element goes to the end), "causal" (series only), an int for every
            side, or one (before, after) pair per spatial axis.
        padding_mode: what is put there: "zeros", or as `numpy.pad` does "reflect", "edge", "wrap" or
            "symmetric".
        dilation_rate: distance between kernel elements, an int or one per spatial axis.
        algorithm: None, "auto" or "direct"; there is one algorithm.
        out: two arrays for the results.

    Returns:
        The gradients to the depthwise and to the pointwise kernel.

    Raises:
        ShapeError: shapes that do not fit each other.
        ValueError: an argument that is not allowed.
        TypeError: an argument of the wrong kind.
    """
    options = _convolution.options(2, strides, padding, padding_mode, dilation_rate, algorithm=algorithm)
    kernels = (depthwise_kernel, pointwise_kernel)
    return _convolution.separable_kernel_grad(2, x, dy, kernels, options, out)


def separable_conv3d(
    x: ArrayLike,
    depthwise_kernel: ArrayLike,
    pointwise_kernel: ArrayLike,
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
    """Separable convolution of volumes; see `separable_conv2d`."""
    options = _convolution.options(3, strides, padding, padding_mode, dilation_rate, algorithm=algorithm)
    kernels = (depthwise_kernel, pointwise_kernel)
    return _convolution.separable(3, x, kernels, bias, options, activation, out)


def separable_conv3d_input_grad(
    dy: ArrayLike,
    depthwise_kernel: ArrayLike,
    pointwise_kernel: ArrayLike,
    input_shape: Sequence[int],
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    padding_mode: str = "zeros",
    dilation_rate: Sizes = 1,
    algorithm: str | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The gradient of `separable_conv3d` to its input; see `separable_conv2d_input_grad`."""
    options = _convolution.options(3, strides, padding, padding_mode, dilation_rate, algorithm=algorithm)
    kernels = (depthwise_kernel, pointwise_kernel)
    return _convolution.separable_input_grad(3, dy, kernels, input_shape, options, out)


def separable_conv3d_kernel_grad(
    x: ArrayLike,
    dy: ArrayLike,
    depthwise_kernel: ArrayLike,
    pointwise_kernel: ArrayLike,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    padding_mode: str = "zeros",
    dilation_rate: Sizes = 1,
    algorithm: str | None = None,
    out: tuple[NDArray[Any], NDArray[Any]] | None = None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The gradients of `separable_conv3d` to its kernels; see `separable_conv2d_kernel_grad`."""
    options = _convolution.options(3, strides, padding, padding_mode, dilation_rate, algorithm=algorithm)
    kernels = (depthwise_kernel, pointwise_kernel)
    return _convolution.separable_kernel_grad(3, x, dy, kernels, options, out)
