"""Separable convolutions with their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from gridnn import _core
from gridnn.functional import _options
from gridnn.functional._arrays import ArrayLike, Padding, Sizes
from gridnn.functional._ranks import pinned, ranked

__all__ = [
    "separable_conv",
    "separable_conv1d",
    "separable_conv1d_input_grad",
    "separable_conv1d_kernel_grad",
    "separable_conv2d",
    "separable_conv2d_input_grad",
    "separable_conv2d_kernel_grad",
    "separable_conv3d",
    "separable_conv3d_input_grad",
    "separable_conv3d_kernel_grad",
    "separable_conv_input_grad",
    "separable_conv_kernel_grad",
]


@ranked
def separable_conv(
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
    _rank: int | None = None,
) -> NDArray[Any]:
    """Depthwise convolution, then a pointwise one that mixes the channels.

    Both steps are done on a few rows at a time: the tensor between them never exists as a whole.
    Memory: the output; the packed kernels and, per thread, a halo and some rows between the steps (see
    `gridnn.functional`).

    Args:
        x: ``(batch, [depth, [height,]] width, channels)``.
        depthwise_kernel: ``(*kernel_size, channels, multiplier)``.
        pointwise_kernel: ``(1, .., channels * multiplier, filters)``, a 1 per spatial axis.
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
        ``(batch, [new_depth, [new_height,]] new_width, filters)``.

    Raises:
        ShapeError: shapes that do not fit each other; an output without spatial elements.
        ValueError: an argument that is not allowed; `algorithm` does not apply.
        TypeError: an argument of the wrong kind; complex numbers.

    Example:
        >>> separable_conv(np.ones((2, 8, 8, 3)), np.ones((3, 3, 3, 1)), np.ones((1, 1, 3, 5))).shape
        (2, 6, 6, 5)
    """
    options = (strides, padding, padding_mode, dilation_rate, 1, None, algorithm)
    return _core.separable_convolution(
        _rank, x, depthwise_kernel, pointwise_kernel, bias, options, activation, out
    )


@ranked
def separable_conv_input_grad(
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
    _rank: int | None = None,
) -> NDArray[Any]:
    """The gradient of ``sum(dy * separable_conv(x, ...))`` to `x`.

    Memory: the result; the packed kernels, the gradient of the tensor between the two steps (``batch *
    new_height * new_width * channels * multiplier`` elements) and a halo per thread (see
    `gridnn.functional`).

    Args:
        dy: gradient of the output, in the output's shape.
        depthwise_kernel: ``(*kernel_size, channels, multiplier)``.
        pointwise_kernel: ``(1, .., channels * multiplier, filters)``, a 1 per spatial axis.
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
        >>> depthwise, pointwise = np.ones((3, 2, 1)), np.ones((1, 2, 4))
        >>> output_grad = np.ones((1, 6, 4))
        >>> gn.functional.separable_conv_input_grad(output_grad, depthwise, pointwise, (1, 8, 2)).shape
        (1, 8, 2)
    """
    options = (strides, padding, padding_mode, dilation_rate, 1, None, algorithm)
    return _core.separable_convolution_input_grad(
        _rank, dy, depthwise_kernel, pointwise_kernel, input_shape, options, out
    )


@ranked
def separable_conv_kernel_grad(
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
    _rank: int | None = None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The gradients of ``sum(dy * separable_conv(x, ...))`` to the two kernels.

    Memory: the results; the packed kernels, the tensor between the two steps (``batch * new_height *
    new_width * channels * multiplier`` elements), up to 16 partial sums of the larger result and a halo per
    thread (see `gridnn.functional`).

    Args:
        x: see `separable_conv`.
        dy: gradient of the output, in the output's shape.
        depthwise_kernel: ``(*kernel_size, channels, multiplier)``.
        pointwise_kernel: ``(1, .., channels * multiplier, filters)``, a 1 per spatial axis.
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

    Example:
        >>> depthwise, pointwise = np.ones((3, 2, 1)), np.ones((1, 2, 4))
        >>> x, output_grad = np.ones((1, 8, 2)), np.ones((1, 6, 4))
        >>> grads = gn.functional.separable_conv_kernel_grad(x, output_grad, depthwise, pointwise)
        >>> [grad.shape for grad in grads]
        [(3, 2, 1), (1, 2, 4)]
    """
    options = (strides, padding, padding_mode, dilation_rate, 1, None, algorithm)
    return _core.separable_convolution_kernel_grad(
        _rank, x, dy, depthwise_kernel, pointwise_kernel, options, _options.pair(out)
    )


separable_conv1d = pinned(separable_conv, 1)
separable_conv2d = pinned(separable_conv, 2)
separable_conv3d = pinned(separable_conv, 3)
separable_conv1d_input_grad = pinned(separable_conv_input_grad, 1)
separable_conv2d_input_grad = pinned(separable_conv_input_grad, 2)
separable_conv3d_input_grad = pinned(separable_conv_input_grad, 3)
separable_conv1d_kernel_grad = pinned(separable_conv_kernel_grad, 1)
separable_conv2d_kernel_grad = pinned(separable_conv_kernel_grad, 2)
separable_conv3d_kernel_grad = pinned(separable_conv_kernel_grad, 3)
