"""Windows of a series, which share its memory."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._arrays import as_numbers
from gridnn._reading import Batches
from gridnn.data._samples import Samples
from gridnn.errors import ShapeError

__all__ = ["WindowBatches", "windows"]


@overload
def windows(
    series: Any,
    targets: None = ...,
    *,
    length: int,
    stride: int = ...,
    horizon: int = ...,
    batch_size: None = ...,
) -> NDArray[Any]: ...
@overload
def windows(
    series: Any, targets: Any, length: int, stride: int = ..., horizon: int = ..., *, batch_size: None = ...
) -> Samples: ...
@overload
def windows(
    series: Any,
    targets: Any = ...,
    length: int = ...,
    stride: int = ...,
    horizon: int = ...,
    *,
    batch_size: int,
) -> WindowBatches: ...
def windows(
    series: Any,
    targets: Any = None,
    length: int | None = None,
    stride: int = 1,
    horizon: int = 0,
    *,
    batch_size: int | None = None,
) -> NDArray[Any] | Samples | WindowBatches:
    """Cuts a series into windows, without copying it.

    Window i is ``series[i * stride : i * stride + length]``; its target is ``targets[i * stride + length - 1
    + horizon]``: what belongs to its last step, or lies `horizon` steps after that. To forecast a series, it
    is its own targets, with a horizon of 1 or more.

    The windows are a view of the series. `fit` needs arrays in one piece and would copy each step as often as
    it occurs, ``length / stride`` times; with `batch_size` only the windows of a batch are copied.

    Args:
        series: ``(time,)`` or ``(time, channels)``, oldest first.
        targets: ``(time, ...)``, for each step; None for windows alone.
        length: steps of a window.
        stride: steps from one window to the next.
        horizon: steps from the last one of a window to its target.
        batch_size: None for arrays; a number gives `Batches`.

    Returns:
        `Samples` of ``x`` (windows, length, channels) and ``y`` (windows, ...); without targets ``x`` alone;
        with `batch_size`, `Batches` of them.

    Raises:
        ShapeError: the series has no, or more than two, axes, or targets are not as long.
        ValueError: the series is shorter than a window and the way to its target.
        TypeError: not numbers.

    Example:
        >>> series = np.arange(6.0)
        >>> x, y = gn.data.windows(series, series, length=3, horizon=1)
        >>> x[:, :, 0].tolist(), y.tolist()
        ([[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 4.0]], [3.0, 4.0, 5.0])
        >>> np.shares_memory(x, series)
        True
    """
    array = as_numbers(series, "series")
    if array.ndim not in (1, 2):
        raise ShapeError(
            f"The `series` argument must have shape (time,) or (time, channels). Received {array.shape}."
        )
    if length is None:
        raise TypeError("The `length` argument is missing: how many steps a window has.")
    length = _validation.positive_integer(length, "length")
    stride = _validation.positive_integer(stride, "stride")
    horizon = _validation.non_negative_integer(horizon, "horizon")
    if targets is None and horizon:
        raise ValueError(
            f"`horizon`={horizon} says where targets are: give `targets`, perhaps the series itself."
        )
    steps = len(array) - length - horizon
    if steps < 0:
        way = f" and a horizon of {horizon}" if horizon else ""
        raise ValueError(f"The series has {len(array)} steps: too few for a window of {length}{way}.")
    count = steps // stride + 1
    columns = array[:, np.newaxis] if array.ndim == 1 else array
    view = np.lib.stride_tricks.sliding_window_view(columns, length, axis=0)[::stride][:count]
    x = np.moveaxis(view, -1, 1)
    y = None if targets is None else _targets(targets, len(array))[length - 1 + horizon :: stride][:count]
    if batch_size is not None:
        return WindowBatches(x, y, batch_size)
    return x if y is None else Samples(x, y)


def _targets(targets: object, steps: int) -> NDArray[Any]:
    array = as_numbers(targets, "targets")
    if array.ndim == 0 or len(array) != steps:
        raise ShapeError(
            f"The `targets` argument must have one entry for each of the {steps} steps of the series. "
            f"Received shape {array.shape}."
        )
    return array


class WindowBatches(Batches):
    """Windows that are copied when their batch is read.

    Args:
        x: all windows, a view.
        y: a target for each, or None.
        batch_size: windows per batch.
    """

    def __init__(
        self, x: NDArray[Any], y: NDArray[Any] | None, batch_size: int, *, shuffle: bool = True
    ) -> None:
        super().__init__(len(x), batch_size, shuffle=shuffle)
        self.x, self.y = x, y

    def read(self, rows: NDArray[np.int64]) -> Any:
        """The windows of these numbers, with their targets if there are any."""
        return self.x[rows] if self.y is None else (self.x[rows], self.y[rows])
