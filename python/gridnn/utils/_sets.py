"""Data sets that give batches by their number, and windows of series."""

from __future__ import annotations

from typing import Any

import numpy as np

from gridnn import _validation
from gridnn._arrays import as_numbers
from gridnn.data._series import WindowBatches
from gridnn.errors import ShapeError

__all__ = ["PyDataset", "Sequence", "timeseries_dataset_from_array"]


class PyDataset:
    """Base of data sets that give batches by their number.

    A subclass has ``__len__``, the number of batches, and ``__getitem__``, which returns ``(x, y)`` or ``(x,
    y, sample_weight)``; `fit`, `evaluate` and `predict` take it. Any class with these two methods will do.
    `on_epoch_end` is called after each pass.

    Args:
        workers: accepted and kept; batches are made one by one, where they are used.
        use_multiprocessing: as `workers`.
        max_queue_size: as `workers`.

    Example:
        >>> class Ones(gn.utils.PyDataset):
        ...     def __len__(self):
        ...         return 3
        ...     def __getitem__(self, index):
        ...         return np.ones((2, 4)), np.ones(2)
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)], seed=0)
        >>> model.compile("sgd", "mse")
        >>> history = model.fit(Ones(), verbose=0)
        >>> len(history.epoch)
        1
    """

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must have a method __getitem__ that makes a batch.")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must have a method __len__, the number of batches.")

    @property
    def num_batches(self) -> int:
        """The number of batches."""
        return len(self)

    def on_epoch_end(self) -> None:
        """Called after each pass."""


Sequence = PyDataset
"""The name that Keras 2 had for it."""


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
) -> WindowBatches:
    """Batches of windows of a series, by the rules of Keras; `gridnn.data.windows` counts from the end.

    Window i begins at step ``i * sequence_stride``, and its target is ``targets`` at that very step: to
    forecast, pass targets that are shifted.

    Args:
        data: ``(time, ...)``.
        targets: ``(time, ...)``, of the step that a window begins with; None for windows alone.
        sequence_length: steps of a window.
        sequence_stride: steps from one window to the next.
        sampling_rate: steps from one of a window to its next.
        batch_size: windows per batch.
        shuffle: whether `fit` takes them in a new order each epoch.
        seed: accepted for programs written for Keras; the order comes from the seed of `fit`.
        start_index: first step that is used; None for the first.
        end_index: the step to end before; None for all.

    Returns:
        `gridnn.data.Batches` of ``x`` (batch, sequence_length, ...) and ``y`` (batch, ...).

    Raises:
        ValueError: there are too few steps for a window.
        ShapeError: data or targets have no axis.

    Example:
        >>> batches = timeseries_dataset_from_array(np.arange(10), np.arange(10) + 5, 3, batch_size=2)
        >>> x, y = batches[0]
        >>> x.tolist(), y.tolist()
        ([[0, 1, 2], [1, 2, 3]], [5, 6])
    """
    values = as_numbers(data, "data")
    wanted = None if targets is None else as_numbers(targets, "targets")
    for name, array in (("data", values), ("targets", wanted)):
        if array is not None and array.ndim == 0:
            raise ShapeError(f"The `{name}` argument must have an axis of time. Received a single number.")
    length = _validation.positive_integer(sequence_length, "sequence_length")
    stride = _validation.positive_integer(sequence_stride, "sequence_stride")
    rate = _validation.positive_integer(sampling_rate, "sampling_rate")
    _validation.seed(seed)
    first = 0 if start_index is None else _validation.non_negative_integer(start_index, "start_index")
    end = len(values) if end_index is None else _validation.non_negative_integer(end_index, "end_index")
    part = values[first:end]
    span = (length - 1) * rate + 1
    count = len(part) - span + 1
    if wanted is not None:
        wanted = wanted[first:end]
        count = min(count, len(wanted))
    if count < 1:
        raise ValueError(
            f"There are {len(part)} steps{'' if wanted is None else f' and {len(wanted)} targets'}: too few "
            f"for a window that takes {span}."
        )
    view = np.lib.stride_tricks.sliding_window_view(part, span, axis=0)[:count:stride]
    x = np.moveaxis(view, -1, 1)[:, ::rate]
    return WindowBatches(x, None if wanted is None else wanted[:count:stride], batch_size, shuffle=shuffle)
