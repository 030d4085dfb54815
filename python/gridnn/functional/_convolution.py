"""What all functional convolutions share: arguments made canonical, operands of one type, the call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from gridnn import _core, _validation
from gridnn.functional._arrays import ArrayLike, as_floats, check_out, expect_rank, full_shape

ALGORITHMS = ("auto", "direct", "winograd")

Options = tuple[
    tuple[int, ...],
    _validation.Padding,
    str,
    tuple[int, ...],
    int,
    tuple[int, ...] | None,
    str | None,
]


def options(
    rank: int,
    strides: object,
    padding: object,
    padding_mode: object,
    dilation_rate: object,
    groups: object = 1,
    output_padding: object = None,
    algorithm: object = None,
) -> Options:
    """Returns the arguments in the form that the engine reads; a `padding_mode` of None crops instead."""
    transposed = padding_mode is None
    return (
        _validation.axis_integers(strides, rank, "strides"),
        _validation.convolution_padding(padding, rank, causal=rank == 1 and not transposed),
        "zeros" if transposed else _validation.padding_mode(padding_mode),
        _validation.axis_integers(dilation_rate, rank, "dilation_rate"),
        _validation.positive_integer(groups, "groups"),
        _validation.output_padding(output_padding, rank),
        None if algorithm is None else _validation.choice(algorithm, "algorithm", ALGORITHMS),
    )


def _activation(name: object) -> str:
    return "linear" if name is None else _validation.string(name, "activation")


def _with_bias(
    rank: int, bias: ArrayLike | None, **operands: ArrayLike
) -> tuple[list[NDArray[Any]], NDArray[Any] | None]:
    """The operands, all with batch and channels, and the bias, in one type."""
    if bias is None:
        return as_floats(rank, **operands), None
    *arrays, bias = as_floats(None, **operands, bias=bias)
    for name, array in zip(operands, arrays, strict=True):
        expect_rank(name, array.shape, rank)
    return arrays, bias


def forward(
    kind: str,
    rank: int,
    x: ArrayLike,
    kernel: ArrayLike,
    bias: ArrayLike | None,
    options: Options,
    activation: object,
    out: object,
) -> NDArray[Any]:
    """A plain, transposed or depthwise convolution."""
    name = _activation(activation)
    (x, kernel), bias = _with_bias(rank, bias, x=x, kernel=kernel)
    return _core.convolution(kind, x, kernel, bias, options, name, check_out(out, x.dtype))


def input_grad(
    kind: str,
    rank: int,
    dy: ArrayLike,
    kernel: ArrayLike,
    input_shape: object,
    options: Options,
    out: object,
) -> NDArray[Any]:
    """Its gradient to the input."""
    dy, kernel = as_floats(rank, dy=dy, kernel=kernel)
    shape = full_shape(input_shape, rank)
    return _core.convolution_input_grad(kind, dy, kernel, shape, options, check_out(out, dy.dtype))


def kernel_grad(
    kind: str,
    rank: int,
    x: ArrayLike,
    dy: ArrayLike,
    kernel_shape: object,
    options: Options,
    out: object,
) -> NDArray[Any]:
    """Its gradient to the kernel."""
    x, dy = as_floats(rank, x=x, dy=dy)
    shape = full_shape(kernel_shape, rank, "kernel_shape")
    return _core.convolution_kernel_grad(kind, x, dy, shape, options, check_out(out, x.dtype))


Kernels = tuple[ArrayLike, ArrayLike]


def separable(
    rank: int,
    x: ArrayLike,
    kernels: Kernels,
    bias: ArrayLike | None,
    options: Options,
    activation: object,
    out: object,
) -> NDArray[Any]:
    """A depthwise convolution followed by a pointwise one."""
    name = _activation(activation)
    operands = {"x": x, "depthwise_kernel": kernels[0], "pointwise_kernel": kernels[1]}
    (x, first, second), bias = _with_bias(rank, bias, **operands)
    return _core.separable_convolution(x, first, second, bias, options, name, check_out(out, x.dtype))


def separable_input_grad(
    rank: int, dy: ArrayLike, kernels: Kernels, input_shape: object, options: Options, out: object
) -> NDArray[Any]:
    """Its gradient to the input."""
    dy, first, second = as_floats(rank, dy=dy, depthwise_kernel=kernels[0], pointwise_kernel=kernels[1])
    shape = full_shape(input_shape, rank)
    return _core.separable_convolution_input_grad(dy, first, second, shape, options, check_out(out, dy.dtype))


def separable_kernel_grad(
    rank: int, x: ArrayLike, dy: ArrayLike, kernels: Kernels, options: Options, out: object
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Its gradients to the two kernels."""
    x, dy, first, second = as_floats(
        rank, x=x, dy=dy, depthwise_kernel=kernels[0], pointwise_kernel=kernels[1]
    )
    outs = None
    if out is not None:
        if not isinstance(out, tuple | list) or len(out) != 2:
            raise TypeError(f"The `out` argument must be a pair of arrays. Received {type(out).__name__}.")
        outs = (check_out(out[0], x.dtype, "out[0]"), check_out(out[1], x.dtype, "out[1]"))
    return _core.separable_convolution_kernel_grad(x, dy, first, second, options, outs)


def output_shape(
    kind: str,
    input_shape: Sequence[int],
    filters: object,
    kernel_size: object,
    arguments: tuple[object, ...],
) -> tuple[int, ...]:
    """The shape of the output; `arguments` are those of `options` behind the rank."""
    rank = min(max(len(input_shape) - 2, 1), 3)
    shape = full_shape(input_shape, rank)
    size = _validation.axis_integers(kernel_size, rank, "kernel_size")
    count = _validation.positive_integer(filters, "filters")
    return _core.convolution_shape(kind, shape, count, size, options(rank, *arguments))
