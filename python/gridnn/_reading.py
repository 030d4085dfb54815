"""Data that is read batch by batch while the engine works on the batch before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._engine import permutation
from gridnn.errors import ShapeError

__all__ = ["Batches", "Part", "Share", "SharedBatches", "read_ahead", "spread"]

Item = TypeVar("Item")

_DEPTH = 2  # batches that wait; one more is being made, and one is in use
_LOOK = 0.1  # seconds after which a thread that waits looks whether anybody still wants its batches


class Part(NamedTuple):
    """A batch as one of several processes reads it: with its own samples alone."""

    inputs: NDArray[Any]
    """Of all samples; those of others are zeros."""
    targets: NDArray[Any]
    """Of its own samples."""


class Share:
    """What one of several processes reads of a batch that they compute together.

    Args:
        samples: what each process computes of a batch, by the number of its samples.
        rank: the number of this process.
        gather: sends bytes to all and gets theirs, as `Ranks.gather` does.
    """

    def __init__(
        self,
        samples: Callable[[int], Sequence[range]],
        rank: int,
        gather: Callable[[NDArray[np.uint8], Sequence[int]], None],
    ) -> None:
        self._samples, self._rank, self._gather = samples, rank, gather

    def __call__(self, size: int) -> range:
        """Of a batch of so many samples, the numbers of those that this process computes."""
        return self._samples(size)[self._rank]

    def complete(self, batch: Any) -> Any:
        """A batch with the targets of all, of which the others send theirs; one that is whole as it is.

        All processes call it for the same batches, on the thread that trains.
        """
        if not isinstance(batch, Part):
            return batch
        size = len(batch.inputs)
        shares = self._samples(size)
        targets = spread(batch.targets, shares[self._rank], size)
        if any(len(share) < size for share in shares):
            flat = targets.reshape(-1).view(np.uint8)
            self._gather(flat, [share.stop * (flat.size // size) for share in shares])
        return batch.inputs, targets


class Batches:
    """A data set that is read as it is needed: what the loaders of `gridnn.data` return with `batch_size`.

    ``model.fit(batches)`` reads it, in an order that depends on the seed of `fit` and on the number of the
    pass alone, as that of arrays does: the same seed gives the same bytes, and training that was interrupted
    goes on where it was. `evaluate`, `predict` and a plain loop read it in its own order. A thread reads
    ahead while the engine works; what it fails at is raised where the batch would have come.

    Subclasses have `read`. An object gives batches by their number, ``batches[0]``, and ``len(batches)`` is
    how many there are.

    Args:
        samples: number of samples.
        batch_size: samples per batch; the last one may have fewer.
        shuffle: whether `fit` may change the order; its own ``shuffle=False`` keeps it as well.

    Raises:
        ValueError: there is no sample, or `batch_size` is below 1.

    Example:
        >>> data = gn.data.lazy(np.zeros((10, 4)), np.zeros(10), batch_size=4)
        >>> len(data)
        3
    """

    def __init__(self, samples: int, batch_size: int, *, shuffle: bool = True) -> None:
        self.samples = _validation.positive_integer(samples, "samples")
        """Number of samples."""
        self.batch_size = _validation.positive_integer(batch_size, "batch_size")
        """Samples per batch."""
        self.shuffle = _validation.boolean(shuffle, "shuffle")
        """Whether `fit` may change the order."""

    def read(self, rows: NDArray[np.int64]) -> Any:
        """The batch of these samples, in this order: ``(x, y)``, or inputs alone.

        Args:
            rows: their numbers, from 0 to `samples` - 1; as many samples are returned.
        """
        raise NotImplementedError(f"{type(self).__name__} must have a method read that makes a batch.")

    def maker(self, seed: int | None, data_pass: int) -> Callable[[int], Any]:
        """What makes the batches of a pass by their number; it is asked for them in order, on one thread.

        Args:
            seed: seed of the order; None for that of the data.
            data_pass: number of the pass, from 0.
        """
        order = self._order(seed, data_pass)
        size = self.batch_size
        return lambda number: self._batch(order[number * size : (number + 1) * size])

    def _order(self, seed: int | None, data_pass: int) -> NDArray[np.int64]:
        """The samples in the order of a pass."""
        return np.arange(self.samples) if seed is None else permutation(self.samples, seed, data_pass)

    def _name(self, row: int) -> str:
        """What the user calls a sample."""
        return f"sample {row} of the data"

    def naming(self, seed: int | None, data_pass: int, number: int) -> Callable[[int], str]:
        """What the samples of a batch are called, by their numbers in it; for messages.

        Args:
            seed: seed of the order; None for that of the data.
            data_pass: number of the pass, from 0.
            number: number of the batch.
        """
        return lambda sample: self._name(int(self._order(seed, data_pass)[number * self.batch_size + sample]))

    def in_pass(
        self, seed: int | None, data_pass: int, first: int = 0, share: Share | None = None
    ) -> Iterator[Any]:
        """The batches of a pass from number `first` on, read ahead.

        Args:
            seed: seed of the order; None for that of the data.
            data_pass: number of the pass, from 0.
            first: number of the first batch.
            share: what this process reads of a batch; None for all. Where a data set can leave out the inputs
                of others, zeros are in their place.
        """
        numbers = range(first, len(self))
        if share is None:
            return read_ahead(self.maker(seed, data_pass), numbers)
        return _completed(read_ahead(self.sharing_maker(seed, data_pass, share), numbers), share)

    def sharing_maker(self, seed: int | None, data_pass: int, share: Share) -> Callable[[int], Any]:
        """`maker` for a process that shares batches with others: it makes a `Part` of each, or whole ones."""
        return self.maker(seed, data_pass)

    def __len__(self) -> int:
        return -(-self.samples // self.batch_size)

    def __getitem__(self, number: int) -> Any:
        place = _validation.integer(number, "number")
        if not -len(self) <= place < len(self):
            raise IndexError(f"there are {len(self)} batches; received number {number}")
        start = place % len(self) * self.batch_size
        return self._batch(np.arange(start, min(start + self.batch_size, self.samples)))

    def _batch(self, rows: NDArray[np.int64]) -> Any:
        """What `read` gives, which is as many samples as it was asked for."""
        batch = self.read(rows)
        x = batch[0] if isinstance(batch, tuple) and batch else batch
        if isinstance(x, np.ndarray) and x.shape[:1] != rows.shape:
            raise ShapeError(
                f"{type(self).__name__}.read was asked for {len(rows)} samples and gave inputs of shape "
                f"{x.shape}: it returns those of `rows`, in this order."
            )
        return batch

    def __iter__(self) -> Iterator[Any]:
        return self.in_pass(None, 0)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.samples} samples in batches of {self.batch_size}>"


class SharedBatches:
    """Batches in the order of the data, of which this process reads its share.

    Args:
        batches: the data set.
        share: see `Batches.in_pass`.
    """

    def __init__(self, batches: Batches, share: Share) -> None:
        self._batches, self._share = batches, share

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        return self._batches.in_pass(None, 0, 0, self._share)

    def naming(self, seed: int | None, data_pass: int, number: int) -> Callable[[int], str]:
        """See `Batches.naming`."""
        return self._batches.naming(seed, data_pass, number)


def spread(rows: NDArray[Any], own: range, count: int) -> NDArray[Any]:
    """Rows of a share at their places in a batch of `count` samples; others are zeros, without memory."""
    if len(own) == count:
        return rows
    batch = np.zeros((count, *rows.shape[1:]), rows.dtype)
    batch[own.start : own.stop] = rows
    return batch


def _completed(batches: Generator[Any, None, None], share: Share) -> Iterator[Any]:
    with closing(batches):
        yield from map(share.complete, batches)


def read_ahead(make: Callable[[int], Item], numbers: range) -> Generator[Item, None, None]:
    """``make(n)`` for every number, in order, made on a thread ahead of the caller.

    An exception of `make` is raised in its place, after what came before it. The thread ends with the
    iterator, also where that is given up early; then `make.close()` is called, if there is such.
    """
    made: queue.Queue[tuple[bool, Any]] = queue.Queue(_DEPTH)
    unwanted = threading.Event()

    def put(done: bool, value: Any) -> None:
        while not unwanted.is_set():
            with suppress(queue.Full):
                made.put((done, value), timeout=_LOOK)
                return

    def work() -> None:
        try:
            for number in numbers:
                if unwanted.is_set():
                    return
                put(False, make(number))
            put(True, None)
        except BaseException as error:
            put(True, error)
        finally:
            close = getattr(make, "close", None)  # of one that reads on a thread of its own
            if close is not None:
                close()

    thread = threading.Thread(target=work, name="gridnn-reader", daemon=True)
    thread.start()
    try:
        while True:
            done, value = made.get()
            if not done:
                yield value
            elif value is None:
                return
            else:
                raise value
    finally:
        # Whoever gave the data may close their file now: nothing reads it any longer.
        unwanted.set()
        thread.join()
