"""`as_matrix`: a convolution as the matrix of a dense layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gridnn import _validation, functional
from gridnn._engine import place_window
from gridnn.errors import ShapeError
from gridnn.layers.base import Layer
from gridnn.layers.conv import Convolution
from gridnn.layers.conv_transpose import TransposedConvolution
from gridnn.layers.depthwise import DepthwiseConvolution

__all__ = ["LayerMatrix", "as_matrix"]

_MOST_ELEMENTS = 2**28

_PADS = {1: functional.pad1d, 2: functional.pad2d, 3: functional.pad3d}


@dataclass(frozen=True)
class LayerMatrix:
    """A linear layer as a matrix; called on a batch it does what the layer does.

    For one sample, ``y.ravel() == matrix @ x.ravel() + bias``.

    Example:
        >>> model = gn.Sequential([gn.Input((4, 1)), layers.Conv1D(1, 2)])
        >>> gn.inspect.as_matrix(model.layers[0]).matrix.shape
        (3, 4)
    """

    matrix: Any
    """``(output elements, input elements)``, an array or a `scipy.sparse.csr_array`."""
    bias: NDArray[Any]
    """One number per output element."""
    rows: NDArray[np.int64]
    """Row of every connection between an input and an output element."""
    columns: NDArray[np.int64]
    """Its column; two connections share a place where padding repeats the input."""
    weights: NDArray[np.int64]
    """Which element of ``kernel.ravel()`` the connection's weight is."""
    input_shape: tuple[int, ...]
    """Of one sample."""
    output_shape: tuple[int, ...]
    """Of one sample."""

    def __call__(self, x: ArrayLike) -> NDArray[Any]:
        """The outputs for a batch, without the layer's activation.

        Raises:
            ShapeError: samples of another shape.
        """
        array = np.asarray(x)
        if array.shape[1:] != self.input_shape:
            raise ShapeError(f"`x` must be a batch of samples {self.input_shape}. Received {array.shape}.")
        flat: NDArray[Any] = (self.matrix @ array.reshape(len(array), -1).T).T + self.bias
        return flat.reshape(len(array), *self.output_shape)

    def weight_at(self) -> NDArray[np.int64]:
        """Which element of ``kernel.ravel()`` stands where in the dense matrix; -1 where there is none."""
        at = np.full((self.bias.size, math.prod(self.input_shape)), -1)
        at[self.rows, self.columns] = self.weights
        return at


def as_matrix(layer: Layer, input_shape: Sequence[int] | None = None, *, sparse: bool = False) -> LayerMatrix:
    """A convolution as the matrix of the dense layer that does the same.

    Every output element is a row, every input element a column. A convolution differs from a dense layer in
    two ways only: a row has few elements that are not 0 (the receptive field), and the same weights stand
    in every row (sharing). The activation is left out.

    Args:
        layer: a built convolution: plain, depthwise or transposed, of any rank.
        input_shape: shape of a sample; None takes the one that the layer was built for.
        sparse: make a `scipy.sparse.csr_array` instead of an array of ``outputs * inputs`` numbers.

    Returns:
        The matrix; called on a batch it computes what the layer computes before its activation.

    Raises:
        TypeError: another layer.
        ValueError: the layer is not built, sizes are unknown, or the array would have more than 2**28
            elements.
        ShapeError: `input_shape` does not fit the layer.
        ImportError: SciPy is asked for and not installed.

    Example:
        >>> import numpy as np
        >>> import gridnn as gn
        >>> model = gn.Sequential([gn.Input((4, 1)), gn.layers.Conv1D(1, 2)])
        >>> model.layers[0].kernel = [[[3.0]], [[5.0]]]
        >>> gn.inspect.as_matrix(model.layers[0]).matrix
        array([[3., 5., 0., 0.],
               [0., 3., 5., 0.],
               [0., 0., 3., 5.]], dtype=float32)
    """
    if not isinstance(layer, (Convolution, DepthwiseConvolution, TransposedConvolution)):
        raise TypeError(f"`layer` must be a plain, depthwise or transposed convolution. Received {layer!r}.")
    shape = layer.input_shape[1:] if input_shape is None else tuple(input_shape)
    sizes = tuple(_validation.positive_integer(n, "input_shape") for n in shape if n is not None)
    if len(sizes) < len(shape):
        raise ValueError(f"{layer.label} was built for open sizes: pass input_shape=(...).")
    kernel = layer.get_weights()[0]
    if len(sizes) != layer.rank + 1 or sizes[-1] != layer.input_shape[-1]:
        raise ShapeError(f"{layer.label} takes samples of shape {layer.input_shape[1:]}. Received {sizes}.")
    transposed = isinstance(layer, TransposedConvolution)
    extra = layer.output_padding if isinstance(layer, TransposedConvolution) else None
    window = (layer.kernel_size, layer.strides, layer.padding, layer.dilation_rate)
    axes = place_window(sizes[:-1], *window, transposed, extra)
    # `wide` is the side that the window slides over; a transposed convolution puts it out.
    wide, narrow = [axis[0] for axis in axes], [axis[1] for axis in axes]
    taps = _taps(layer, wide, narrow, [axis[2:] for axis in axes])
    depthwise = isinstance(layer, DepthwiseConvolution)
    if isinstance(layer, DepthwiseConvolution):
        c_wide, c_narrow, groups = sizes[-1], sizes[-1] * layer.depth_multiplier, sizes[-1]
    elif isinstance(layer, TransposedConvolution):
        c_wide, c_narrow, groups = layer.filters, sizes[-1], layer.groups
    else:
        c_wide, c_narrow, groups = sizes[-1], layer.filters, layer.groups
    position, tap = np.nonzero(taps >= 0)
    source = taps[position, tap]
    low, high = _channels(c_wide, c_narrow, groups)
    # Axes of the grids below: connection of positions, connection of channels.
    wide_side = source[:, None] * c_wide + low
    narrow_side = position[:, None] * c_narrow + high
    weights = _weight_index(kernel.shape, depthwise, tap[:, None], low, high, (c_wide, c_narrow, groups))
    rows, columns = (wide_side, narrow_side) if transposed else (narrow_side, wide_side)
    output_shape = (*wide, c_wide) if transposed else (*narrow, c_narrow)
    bias = np.zeros(c_wide if transposed else c_narrow, kernel.dtype) if layer.bias is None else layer.bias
    rows, columns, weights = rows.ravel(), columns.ravel(), np.broadcast_to(weights, wide_side.shape).ravel()
    outputs, inputs = math.prod(output_shape), math.prod(sizes)
    return LayerMatrix(
        _assembled(kernel.ravel()[weights], rows, columns, (outputs, inputs), sparse),
        np.tile(bias, outputs // bias.size),
        rows,
        columns,
        weights,
        sizes,
        output_shape,
    )


def _taps(
    layer: Any, wide: Sequence[int], narrow: Sequence[int], pads: Sequence[tuple[int, int]]
) -> NDArray[np.int64]:
    """``(narrow positions, taps)``: the wide position under every tap, -1 for a zero of the padding."""
    rank = len(wide)
    index = np.arange(1.0, math.prod(wide) + 1).reshape(1, *wide, 1)
    mode = getattr(layer, "padding_mode", "zeros")
    extended = _PADS[rank](index, list(pads), mode)[0, ..., 0].astype(int) - 1
    grids = [
        np.arange(n)[:, None] * s + np.arange(k) * d
        for n, s, k, d in zip(narrow, layer.strides, layer.kernel_size, layer.dilation_rate, strict=True)
    ]
    places = []
    for axis, grid in enumerate(grids):
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = grid.shape
        places.append(grid.reshape(shape))
    # Where a transposed window is placed beyond what it crops, nothing is connected.
    inside = np.ones((1,) * (2 * rank), bool)
    for place, n in zip(places, extended.shape, strict=True):
        inside = inside & (place < n)
    clipped = [np.minimum(place, n - 1) for place, n in zip(places, extended.shape, strict=True)]
    found = np.where(inside, extended[tuple(clipped)], -1)
    return found.reshape(math.prod(narrow), -1)


def _channels(c_wide: int, c_narrow: int, groups: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of channels that are connected."""
    wide, narrow = np.arange(c_wide), np.arange(c_narrow)
    together = (wide // (c_wide // groups))[:, None] == (narrow // (c_narrow // groups))[None]
    low, high = np.nonzero(together)
    return low, high


def _weight_index(
    shape: tuple[int, ...],
    depthwise: bool,
    tap: NDArray[np.int64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    counts: tuple[int, int, int],
) -> NDArray[np.int64]:
    """Where the weight of a connection stands in ``kernel.ravel()``."""
    c_wide, c_narrow, groups = counts
    last = low % (c_wide // groups)
    if depthwise:  # (*k, c_in, multiplier), outputs ordered by input channel
        return (tap * shape[-2] + low) * shape[-1] + high % (c_narrow // groups)
    # (*k, c_in / groups, c_out), transposed (*k, c_out / groups, c_in): the narrow side's channels come last.
    return (tap * shape[-2] + last) * shape[-1] + high


def _assembled(
    values: NDArray[Any],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    shape: tuple[int, int],
    sparse: bool,
) -> Any:
    if sparse:
        try:
            from scipy.sparse import coo_array  # type: ignore[import-untyped]
        except ImportError as error:
            raise ImportError("as_matrix(sparse=True) needs SciPy: pip install scipy") from error
        return coo_array((values, (rows, columns)), shape).tocsr()
    if shape[0] * shape[1] > _MOST_ELEMENTS:
        raise ValueError(
            f"The matrix would have {shape[0]} x {shape[1]} elements: pass sparse=True or a smaller shape."
        )
    matrix = np.zeros(shape, values.dtype)
    np.add.at(matrix, (rows, columns), values)
    return matrix
