"""Depthwise convolutions with their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from gridnn import _core
from gridnn.functional._arrays import ArrayLike, Padding, Sizes
from gridnn.functional._ranks import pinned, ranked

__all__ = [
    "depthwise_conv",
    "depthwise_conv1d",
    "depthwise_conv1d_input_grad",
    "depthwise_conv1d_kernel_grad",
    "depthwise_conv2d",
    "depthwise_conv2d_input_grad",
    "depthwise_conv2d_kernel_grad",
    "depthwise_conv3d",
    "depthwise_conv3d_input_grad",
    "depthwise_conv3d_kernel_grad",
    "depthwise_conv_input_grad",
    "depthwise_conv_kernel_grad",
]


@ranked
def depthwise_conv(
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
    _rank: int | None = None,
) -> NDArray[Any]:
    """Depthwise convolution, plus bias, through an activation.

    Convolves every channel with kernels of its own.
    Memory: the output; the packed kernel and a halo per thread (see `gridnn.functional`).

    Args:
        x: ``(batch, [depth, [height,]] width, channels)``.
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
        ``(batch, [new_depth, [new_height,]] new_width, channels * multiplier)``; output channel
        ``c * multiplier + j`` belongs to ``kernel[..., c, j]``.

    Raises:
        ShapeError: shapes that do not fit each other; an output without spatial elements.
        ValueError: an argument that is not allowed; `algorithm` does not apply.
        TypeError: an argument of the wrong kind; complex numbers.

    Example:
        >>> depthwise_conv(np.ones((2, 8, 8, 3)), np.ones((3, 3, 3, 2)), padding="same").shape
        (2, 8, 8, 6)
    """
    options = (strides, padding, padding_mode, dilation_rate, 1, None, algorithm)
    return _core.convolution("depthwise", _rank, x, kernel, bias, options, activation, out)


@ranked
def depthwise_conv_input_grad(
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
    _rank: int | None = None,
) -> NDArray[Any]:
    """The gradient of ``sum(dy * depthwise_conv(x, kernel))`` to `x`.

    Elements of `x` that a border repeats get the sum of their copies' gradients.
    Memory: the result; the packed kernel and a halo per thread (see `gridnn.functional`).

    Args:
        dy: gradient of the output, in the output's shape.
        kernel: see `depthwise_conv`.
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

    Example:
        >>> kernel, output_grad = np.ones((3, 2, 1)), np.ones((1, 6, 2))
        >>> gn.functional.depthwise_conv_input_grad(output_grad, kernel, (1, 8, 2)).shape
        (1, 8, 2)
    """
    options = (strides, padding, padding_mode, dilation_rate, 1, None, algorithm)
    return _core.convolution_input_grad("depthwise", _rank, dy, kernel, input_shape, options, out)


@ranked
def depthwise_conv_kernel_grad(
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
    _rank: int | None = None,
) -> NDArray[Any]:
    """The gradient of ``sum(dy * depthwise_conv(x, kernel))`` to `kernel`.

    That to a bias is the sum of `dy` over all axes but the last.
    Memory: the result; up to 16 partial sums of its size and a halo per thread (see `gridnn.functional`).

    Args:
        x: see `depthwise_conv`.
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

    Example:
        >>> x, output_grad = np.ones((1, 8, 2)), np.ones((1, 6, 2))
        >>> gn.functional.depthwise_conv_kernel_grad(x, output_grad, (3, 2, 1)).shape
        (3, 2, 1)
    """
    options = (strides, padding, padding_mode, dilation_rate, 1, None, algorithm)
    return _core.convolution_kernel_grad("depthwise", _rank, x, dy, kernel_shape, options, out)


depthwise_conv1d = pinned(depthwise_conv, 1)
depthwise_conv2d = pinned(depthwise_conv, 2)
depthwise_conv3d = pinned(depthwise_conv, 3)
depthwise_conv1d_input_grad = pinned(depthwise_conv_input_grad, 1)
depthwise_conv2d_input_grad = pinned(depthwise_conv_input_grad, 2)
depthwise_conv3d_input_grad = pinned(depthwise_conv_input_grad, 3)
depthwise_conv1d_kernel_grad = pinned(depthwise_conv_kernel_grad, 1)
depthwise_conv2d_kernel_grad = pinned(depthwise_conv_kernel_grad, 2)
depthwise_conv3d_kernel_grad = pinned(depthwise_conv_kernel_grad, 3)
