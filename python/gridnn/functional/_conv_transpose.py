"""Transposed convolutions with their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from gridnn import _core
from gridnn.functional import _options
from gridnn.functional._arrays import ArrayLike, Padding, Sizes
from gridnn.functional._ranks import pinned, ranked

__all__ = [
    "conv1d_transpose",
    "conv1d_transpose_input_grad",
    "conv1d_transpose_kernel_grad",
    "conv2d_transpose",
    "conv2d_transpose_input_grad",
    "conv2d_transpose_kernel_grad",
    "conv3d_transpose",
    "conv3d_transpose_input_grad",
    "conv3d_transpose_kernel_grad",
    "conv_transpose",
    "conv_transpose_input_grad",
    "conv_transpose_kernel_grad",
    "conv_transpose_output_shape",
]


@ranked
def conv_transpose(
    x: ArrayLike,
    kernel: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    output_padding: Sizes | None = None,
    dilation_rate: Sizes = 1,
    groups: int = 1,
    activation: str | None = None,
    out: NDArray[Any] | None = None,
    _rank: int | None = None,
) -> NDArray[Any]:
    """Transposed convolution, plus bias, through an activation.

    The gradient of a convolution to its input, used forward: every element is spread over a window.
    Memory: the output; the packed kernel and a halo per thread (see `gridnn.functional`).

    Args:
        x: ``(batch, [depth, [height,]] width, channels)``.
        kernel: ``(*kernel_size, filters / groups, channels)``.
        bias: one number per output channel, or None.
        strides: an int, or one per spatial axis.
        padding: "valid", "same", an int or one (before, after) pair per axis: what is cropped.
        output_padding: elements added to the size, less than `strides` or `dilation_rate`; None: as Keras.
        dilation_rate: distance between kernel elements, an int or one per spatial axis.
        groups: both kinds of channels are split into this many groups that do not see each other.
        activation: name of an activation, applied last; None is none.
        out: array for the result.

    Returns:
        ``(batch, [new_depth, [new_height,]] new_width, filters)``.

    Raises:
        ShapeError: shapes that do not fit each other; an output without spatial elements.
        ValueError: an argument that is not allowed.
        TypeError: an argument of the wrong kind; complex numbers.

    Example:
        >>> conv_transpose(np.ones((2, 8, 8, 3)), np.ones((3, 3, 5, 3)), strides=2, padding="same").shape
        (2, 16, 16, 5)
    """
    options = (strides, padding, "zeros", dilation_rate, groups, output_padding, None)
    return _core.convolution("transposed", _rank, x, kernel, bias, options, activation, out)


@ranked
def conv_transpose_input_grad(
    dy: ArrayLike,
    kernel: ArrayLike,
    input_shape: Sequence[int],
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    output_padding: Sizes | None = None,
    dilation_rate: Sizes = 1,
    groups: int = 1,
    out: NDArray[Any] | None = None,
    _rank: int | None = None,
) -> NDArray[Any]:
    """The gradient of ``sum(dy * conv_transpose(x, kernel))`` to `x`.

    Memory: the result; the packed kernel and a halo per thread (see `gridnn.functional`).

    Args:
        dy: gradient of the output, in the output's shape.
        kernel: see `conv_transpose`.
        input_shape: shape of `x`, batch and channels included.
        strides: an int, or one per spatial axis.
        padding: "valid", "same", an int or one (before, after) pair per axis: what is cropped.
        output_padding: elements added to the size, less than `strides` or `dilation_rate`; None: as Keras.
        dilation_rate: distance between kernel elements, an int or one per spatial axis.
        groups: both kinds of channels are split into this many groups that do not see each other.
        out: array for the result.

    Raises:
        ShapeError: shapes that do not fit each other.
        ValueError: an argument that is not allowed.
        TypeError: an argument of the wrong kind.

    Example:
        >>> kernel, output_grad = np.ones((3, 2, 1)), np.ones((1, 8, 2))
        >>> gn.functional.conv_transpose_input_grad(output_grad, kernel, (1, 6, 1)).shape
        (1, 6, 1)
    """
    options = (strides, padding, "zeros", dilation_rate, groups, output_padding, None)
    return _core.convolution_input_grad("transposed", _rank, dy, kernel, input_shape, options, out)


@ranked
def conv_transpose_kernel_grad(
    x: ArrayLike,
    dy: ArrayLike,
    kernel_shape: Sequence[int],
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    output_padding: Sizes | None = None,
    dilation_rate: Sizes = 1,
    groups: int = 1,
    out: NDArray[Any] | None = None,
    _rank: int | None = None,
) -> NDArray[Any]:
    """The gradient of ``sum(dy * conv_transpose(x, kernel))`` to `kernel`.

    That to a bias is the sum of `dy` over all axes but the last.
    Memory: the result; up to 16 partial sums of its size and a halo per thread (see `gridnn.functional`).

    Args:
        x: see `conv_transpose`.
        dy: gradient of the output, in the output's shape.
        kernel_shape: shape of the kernel, channels included.
        strides: an int, or one per spatial axis.
        padding: "valid", "same", an int or one (before, after) pair per axis: what is cropped.
        output_padding: elements added to the size, less than `strides` or `dilation_rate`; None: as Keras.
        dilation_rate: distance between kernel elements, an int or one per spatial axis.
        groups: both kinds of channels are split into this many groups that do not see each other.
        out: array for the result.

    Raises:
        ShapeError: shapes that do not fit each other.
        ValueError: an argument that is not allowed.
        TypeError: an argument of the wrong kind.

    Example:
        >>> x, output_grad = np.ones((1, 6, 1)), np.ones((1, 8, 2))
        >>> gn.functional.conv_transpose_kernel_grad(x, output_grad, (3, 2, 1)).shape
        (3, 2, 1)
    """
    options = (strides, padding, "zeros", dilation_rate, groups, output_padding, None)
    return _core.convolution_kernel_grad("transposed", _rank, x, dy, kernel_shape, options, out)


def conv_transpose_output_shape(
    input_shape: Sequence[int],
    filters: int,
    kernel_size: Sizes,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    output_padding: Sizes | None = None,
    dilation_rate: Sizes = 1,
) -> tuple[int, ...]:
    """The shape that a transposed convolution gives, without computing it.

    Args:
        input_shape: batch, one to three spatial axes, channels; the batch may be 0.
        filters: number of output channels.
        kernel_size: an int, or one per spatial axis.
        strides: see `conv_transpose`.
        padding: see `conv_transpose`.
        output_padding: see `conv_transpose`.
        dilation_rate: see `conv_transpose`.

    Raises:
        ShapeError: nothing is left after cropping; not 3 to 5 axes.
        ValueError: an argument that is not allowed.
        TypeError: an argument of the wrong kind.

    Example:
        >>> conv_transpose_output_shape((8, 14, 14, 3), 16, 3, strides=2, padding="same")
        (8, 28, 28, 16)
    """
    options = (strides, padding, "zeros", dilation_rate, 1, output_padding, None)
    return _options.output_shape("transposed", input_shape, filters, kernel_size, options)


conv1d_transpose = pinned(conv_transpose, 1)
conv2d_transpose = pinned(conv_transpose, 2)
conv3d_transpose = pinned(conv_transpose, 3)
conv1d_transpose_input_grad = pinned(conv_transpose_input_grad, 1)
conv2d_transpose_input_grad = pinned(conv_transpose_input_grad, 2)
conv3d_transpose_input_grad = pinned(conv_transpose_input_grad, 3)
conv1d_transpose_kernel_grad = pinned(conv_transpose_kernel_grad, 1)
conv2d_transpose_kernel_grad = pinned(conv_transpose_kernel_grad, 2)
conv3d_transpose_kernel_grad = pinned(conv_transpose_kernel_grad, 3)
