"""Options of the functional API made canonical, for calls that do not bring them in the plainest form.

The engine reads ints, tuples and lists of exact ints, and known names by itself
(``src/python/functional_arguments.rs``). Whatever else a user may write (NumPy integers, upper case, wrong
values) it hands to these functions, which return the plain form or raise. The order of the tuples is that of
the structs there.

Tuples, because they cost 0.05 microseconds where a frozen dataclass costs more than the rest of a small call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gridnn import _core, _validation
from gridnn._validation import boolean
from gridnn.functional._arrays import full_shape

__all__ = [
    "ALGORITHMS",
    "ConvOptions",
    "Window",
    "activation",
    "boolean",
    "convolution",
    "output_shape",
    "pad",
    "pair",
    "window",
]

ALGORITHMS = ("auto", "direct", "winograd")

ConvOptions = tuple[Any, Any, Any, Any, Any, Any, Any]
"""``(strides, padding, padding_mode, dilation_rate, groups, output_padding, algorithm)``."""

Window = tuple[Any, Any, Any, Any, Any]
"""``(pool_size, strides, padding, dilation_rate, ceil_mode)``; `strides` of None are the window."""


def convolution(rank: int, options: ConvOptions, transposed: bool) -> ConvOptions:
    """The options of a convolution of `rank` spatial axes in their plain form."""
    strides, padding, padding_mode, dilation_rate, groups, output_padding, algorithm = options
    return (
        _validation.axis_integers(strides, rank, "strides"),
        _validation.convolution_padding(padding, rank, causal=rank == 1 and not transposed),
        _validation.padding_mode(padding_mode),
        _validation.axis_integers(dilation_rate, rank, "dilation_rate"),
        _validation.positive_integer(groups, "groups"),
        _validation.output_padding(output_padding, rank),
        None if algorithm is None else _validation.choice(algorithm, "algorithm", ALGORITHMS),
    )


def output_shape(
    kind: str, input_shape: Sequence[int], filters: object, kernel_size: object, options: ConvOptions
) -> tuple[int, ...]:
    """The shape that a convolution of this kind gives."""
    rank = min(max(len(input_shape) - 2, 1), 3)
    shape = full_shape(input_shape, rank)
    size = _validation.axis_integers(kernel_size, rank, "kernel_size")
    return _core.convolution_shape(
        kind, shape, _validation.positive_integer(filters, "filters"), size, options
    )


def window(rank: int, options: Window) -> Window:
    """The options of a pool of `rank` spatial axes in their plain form."""
    pool_size, strides, padding, dilation_rate, ceil_mode = options
    return (
        _validation.axis_integers(pool_size, rank, "pool_size"),
        None if strides is None else _validation.axis_integers(strides, rank, "strides"),
        _validation.convolution_padding(padding, rank, causal=rank == 1),
        _validation.axis_integers(dilation_rate, rank, "dilation_rate"),
        boolean(ceil_mode, "ceil_mode"),
    )


def pad(rank: int, options: tuple[Any, Any]) -> tuple[tuple[tuple[int, int], ...], str]:
    """``(paddings, mode)`` of a pad of `rank` spatial axes in their plain form."""
    paddings, mode = options
    pairs = _validation.axis_pairs(paddings, rank, "paddings")
    return pairs, _validation.choice(mode, "mode", _validation.PADDING_MODES)


def activation(name: object) -> str:
    """The name of an activation that is not a plain string."""
    return _validation.string(name, "activation")


def pair(out: Any) -> tuple[Any, Any] | None:
    """The `out` argument of a function that has two results.

    Raises:
        TypeError: not None and not a pair.
    """
    if out is None:
        return None
    if not isinstance(out, tuple | list) or len(out) != 2:
        raise TypeError(f"The `out` argument must be a pair of arrays. Received {type(out).__name__}.")
    return out[0], out[1]
