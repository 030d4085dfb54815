"""Where the batches of an epoch come from: arrays, of which a batch is some rows, or what yields batches."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._batches import Naming, in_batch
from gridnn._engine import permutation
from gridnn._reading import Batches, Share, SharedBatches
from gridnn.model.data import Arrays

_END = object()  # what no user can yield


class Batch(NamedTuple):
    """Rows of a data set."""

    arrays: Arrays
    indices: NDArray[np.int64] | None  # None: all rows
    size: int


class ArraySource:
    """Batches from bound arrays, epoch by epoch.

    Passes through the data follow each other seamlessly: with `steps` per epoch that are not one pass, an
    epoch continues where the last one stopped. Which rows a batch has depends on the epoch and the seed only,
    so training can resume.

    Args:
        arrays: the data.
        batch_size: rows per batch; the last one of a pass may have fewer.
        steps: batches per epoch; None for one pass.
        shuffle_seed: seed of the order, new in each pass; None keeps the order of the data.
    """

    def __init__(
        self,
        arrays: Arrays,
        batch_size: int,
        steps: int | None = None,
        shuffle_seed: int | None = None,
    ) -> None:
        self.arrays = arrays
        self.batch_size = batch_size
        self._per_pass = -(-len(arrays) // batch_size)
        self.steps = self._per_pass if steps is None else steps
        self.samples = len(arrays) if self.steps == self._per_pass else self.steps * batch_size
        self._seed = shuffle_seed
        self._order: tuple[int, NDArray[np.int64]] | None = None

    position = 0  # epoch and step say it all
    is_foreign = False
    """Whether code of the user makes the batches, of which nothing is known beforehand."""

    def resume(self, position: int) -> None:
        """Nothing has to be drawn again."""

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from number `first` on."""
        for step in range(epoch * self.steps + first, (epoch + 1) * self.steps):
            data_pass, position = divmod(step, self._per_pass)
            start = position * self.batch_size
            indices = self._pass_order(data_pass)[start : start + self.batch_size]
            yield Batch(self.arrays, indices, len(indices))

    def _pass_order(self, data_pass: int) -> NDArray[np.int64]:
        wanted = 0 if self._seed is None else data_pass
        if self._order is None or self._order[0] != wanted:
            length = len(self.arrays)
            order = np.arange(length) if self._seed is None else permutation(length, self._seed, wanted)
            self._order = (wanted, order)
        return self._order[1]


class IterableSource:
    """Batches that the user's iterable makes: ``(x, y)`` or ``(x, y, sample_weight)`` each.

    Training reads them. A generator is continued from epoch to epoch; anything that can be iterated again is
    begun anew once it is exhausted.

    Args:
        batches: the iterable.
        bind: makes canonical arrays of one batch.
        steps: batches per epoch; None for all that come.
        argument: name of the iterable, for messages.
    """

    batch_size: int | None = None
    samples: int | None = None
    is_foreign = True

    def __init__(
        self,
        batches: Iterable[Any],
        bind: Callable[[object, object, object | None], Arrays],
        steps: int | None = None,
        argument: str = "x",
    ) -> None:
        self._batches = batches
        self._bind = bind
        self.steps = steps
        self._argument = argument
        self._running: Iterator[Any] | None = None
        self._head: list[Any] = []  # what was drawn to look at it
        self._drawn = 0

    @property
    def position(self) -> int:
        """Batches drawn since the iterable was begun."""
        return 0 if self._running is None else self._drawn

    def resume(self, position: int) -> None:
        """Goes to where another process was, which had this `position`.

        It binds a batch, so that a model is built that was not.

        Raises:
            ValueError: the iterable has fewer batches.
        """
        used = (
            inspect.isgenerator(self._batches) and inspect.getgeneratorstate(self._batches) != "GEN_CREATED"
        )
        self._running, self._drawn = _validation.iterated(self._batches), 0
        for number in range(1 if used or not position else position):
            item = next(self._running, _END)
            if item is _END and not position:
                raise _no_batch(self._argument, 0)
            if item is _END:
                raise ValueError(
                    f"`{self._argument}` gave {number} batches, but {position} had been used when training "
                    "was interrupted: pass an iterable that yields the same batches again."
                )
            if number == 0:
                _bound(self._bind, item, self._argument, number)
            self._drawn += 1
        if used or not position:
            self._head, self._drawn = [item], 0
        if used:
            self._drawn = position

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from number `first` on; fewer than asked for where a generator ends."""
        count = first
        while self.steps is None or count < self.steps:
            fresh = self._running is None
            if self._running is None:
                self._running, self._drawn = _validation.iterated(self._batches), 0
            item = self._head.pop() if self._head else next(self._running, _END)
            if item is _END:
                self._running = None
                if fresh and count == 0:
                    raise _no_batch(self._argument, epoch)
                if fresh or self.steps is None:
                    return
                continue
            self._drawn += 1
            arrays = _bound(self._bind, item, self._argument, self._drawn - 1)
            count += 1
            yield Batch(arrays, None, len(arrays))


class PassSource:
    """The first batches of an iterable, the same in every call: what evaluations read.

    It is begun anew each time. An iterator cannot be: if it is to be read again, its batches are kept.

    Args:
        batches: the iterable.
        bind: makes canonical arrays of one batch.
        steps: at most so many batches; None for all that come.
        argument: name of the iterable, for messages.
        again: whether there may be more than one call.
    """

    batch_size: int | None = None
    samples: int | None = None

    def __init__(
        self,
        batches: Iterable[Any],
        bind: Callable[[object, object, object | None], Arrays],
        steps: int | None,
        argument: str,
        *,
        again: bool,
    ) -> None:
        self._batches = batches
        self._bind = bind
        self.steps = steps
        self._argument = argument
        # Without a number of steps they may be too many to be kept.
        self._keeps = again and steps is not None
        self._kept: list[Arrays] | None = None
        self.is_foreign = is_foreign(batches)

    position = 0

    def resume(self, position: int) -> None:
        """It is begun anew anyway."""

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches, of any epoch; fewer than asked for where the iterable ends."""
        if self._kept is not None:
            yield from (Batch(arrays, None, len(arrays)) for arrays in self._kept)
            return
        iterator = _validation.iterated(self._batches)
        keeps = self._keeps and iterator is self._batches
        kept: list[Arrays] = []
        count = 0
        while self.steps is None or count < self.steps:
            item = next(iterator, _END)
            if item is _END:
                break
            naming = getattr(self._batches, "naming", None)  # of sets that are read in their order
            arrays = _bound(self._bind, item, self._argument, count, naming and naming(None, 0, count))
            count += 1
            if keeps:
                kept.append(arrays.copied())
            yield Batch(arrays, None, len(arrays))
        if count == 0:
            raise _no_batch(self._argument, epoch)
        if keeps:
            self._kept = kept


class ReadSource:
    """Batches of a data set that is read as it is needed; epoch and seed decide the order.

    Args:
        batches: the data set.
        bind: makes canonical arrays of one batch.
        steps: batches per epoch; None for one pass.
        shuffle_seed: seed of the order, new in each pass; None keeps the order of the data.
    """

    def __init__(
        self,
        batches: Batches,
        bind: Callable[[object, object, object | None], Arrays],
        steps: int | None,
        shuffle_seed: int | None,
    ) -> None:
        self.data = batches
        self._bind = bind
        self._per_pass = len(batches)
        self.steps = self._per_pass if steps is None else steps
        self.batch_size = batches.batch_size
        self.samples = batches.samples if steps is None else steps * batches.batch_size
        self._seed = shuffle_seed if batches.shuffle else None

    position = 0  # epoch and step say it all
    is_foreign = False
    share: Share | None = None
    """Which samples of a batch this process computes, where several share it."""

    def resume(self, position: int) -> None:
        """Binds a batch, so that a model is built that was not."""
        _bound(self._bind, self.data[0], "x", 0)

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from number `first` on."""
        step, end = epoch * self.steps + first, (epoch + 1) * self.steps
        while step < end:
            data_pass, number = divmod(step, self._per_pass)
            for item in self.data.in_pass(self._seed, data_pass, number, self.share):
                naming = self.data.naming(self._seed, data_pass, number)
                arrays = _bound(self._bind, item, "x", number, naming)
                yield Batch(arrays, None, len(arrays))
                step, number = step + 1, number + 1
                if step == end:
                    return


def is_foreign(batches: object) -> bool:
    """Whether code of the user makes the batches of an iterable."""
    return not isinstance(batches, (Batches, SharedBatches))


def _no_batch(argument: str, epoch: int) -> ValueError:
    when = f" for epoch {epoch + 1}" if argument == "x" else ""  # every validation counts as epoch 0
    return ValueError(
        f"`{argument}` gave no batch{when}. A generator can be used up only once: pass something that can be "
        "iterated again, or give the number of steps per epoch."
    )


def _bound(
    bind: Callable[[object, object, object | None], Arrays],
    item: object,
    argument: str,
    number: int,
    naming: Naming | None = None,
) -> Arrays:
    """One batch of an iterable, made canonical."""
    with in_batch(argument, number, naming):
        arrays = bind(*_unpack(item, argument))
    return replace(arrays, place=f" of batch {number} (counted from 0) of `{argument}`", naming=naming)


def _unpack(item: object, argument: str) -> tuple[object, object, object | None]:
    if not isinstance(item, (tuple, list)) or len(item) not in (2, 3):
        raise ValueError(
            f"`{argument}` must give batches (x, y) or (x, y, sample_weight). Received {type(item).__name__}"
            + (f" of {len(item)} elements." if isinstance(item, (tuple, list)) else ".")
        )
    return item[0], item[1], item[2] if len(item) == 3 else None


Source = ArraySource | IterableSource | PassSource | ReadSource
