"""Arrays that stay where they are: in HDF5, Zarr, a memory-mapped file, or whatever gives slices."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._arrays import is_sparse, shape_of
from gridnn._engine import permutation
from gridnn._reading import Batches, Part, Share, spread
from gridnn.data._advice import will_read
from gridnn.data._plain import plain_reader
from gridnn.errors import ShapeError

__all__ = ["LazyBatches", "lazy"]

_BUFFER_BYTES = 32 << 20
"""What is shuffled at once. A quarter of a second of a disk of 130 MB/s; two are held at a time."""
_BLOCK_BYTES = 1 << 20
"""What is read in one piece where a file has no chunks: far more than a disk skips in the time of a read."""
_PAGE_BYTES = 4096
"""A disk reads no less: of smaller targets a process that shares batches reads those of others as well."""


def lazy(
    x: Any,
    y: Any = None,
    batch_size: int = 32,
    *,
    buffer: int | None = None,
) -> LazyBatches:
    """Batches of arrays that do not fit into memory.

    Datasets of h5py, arrays of zarr, `numpy.memmap`, and anything else that has a `shape` and gives slices:
    ``x[a:b]``. Only slices are read, from a thread, while the engine works.

    In training the order is random within bounds that keep reading fast: the data is taken as blocks of
    neighbouring samples (the chunks of a file that has them), as many blocks as fit into a buffer are drawn
    from anywhere, and their samples are shuffled together. Every sample comes once in a pass. If neighbours
    in the file are alike (sorted by class, say) and the buffer holds a small part of it, shuffle the file
    once when it is written.

    Args:
        x: inputs ``(samples, ..., channels)``.
        y: targets ``(samples, ...)``, lazy or not; None to predict only.
        batch_size: samples per batch.
        buffer: samples that are shuffled together; None for about 32 MB. As many more are read meanwhile.

    Returns:
        `Batches`, for `fit`, `evaluate` and `predict`. Keep the file open meanwhile.

    Raises:
        TypeError: `x` or `y` has no shape, gives no slices, or does not hold real numbers.
        ValueError: there are no samples, or the file is closed.
        ShapeError: their lengths differ.

    Example:
        >>> import h5py  # doctest: +SKIP
        >>> with h5py.File("scans.h5") as file:  # doctest: +SKIP
        ...     model.fit(gn.data.lazy(file["x"], file["y"], batch_size=16), epochs=3)
    """
    return LazyBatches(x, y, batch_size, buffer)


class LazyBatches(Batches):
    """See `lazy`."""

    def __init__(self, x: Any, y: Any = None, batch_size: int = 32, buffer: int | None = None) -> None:
        shape = _shape(x, "x")
        for source, name in ((x, "x"), (y, "y")):
            _check_numbers(source, name)
        super().__init__(shape[0], batch_size)
        if y is not None and _shape(y, "y")[0] != shape[0]:
            raise ShapeError(
                f"`x` and `y` must have the same number of samples. `x` has {shape[0]}, `y` has "
                f"{_shape(y, 'y')[0]}."
            )
        self.x, self.y = x, y
        # Asked while they are open: a dataset of a file that was closed no longer says whose it was.
        self._places = {"x": _place(x, "x"), "y": _place(y, "y")}
        self._plain = {"x": plain_reader(x), "y": plain_reader(y)}
        sources = [source for source in (x, y) if source is not None]
        row_bytes = max(sum(_row_bytes(source) for source in sources), 1)
        chunk = max((_chunk(source) for source in sources), default=1)
        self.parts_targets = y is not None and _row_bytes(y) >= _PAGE_BYTES
        self._block = chunk * max(1, _BLOCK_BYTES // (row_bytes * chunk))
        if buffer is None:
            buffer = max(_BUFFER_BYTES // row_bytes, 2 * self.batch_size)
        buffer = _validation.positive_integer(buffer, "buffer")
        # At least a few blocks are mixed, unless one chunk of the file is more than that.
        self._block = max(min(self._block, buffer // 8 // chunk * chunk), chunk)
        self._blocks = max(1, buffer // self._block)

    def read(self, rows: NDArray[np.int64]) -> Any:
        """The batch of these samples, which are read in the order of the file."""
        parts = tuple(self._read_rows(source, name, rows) for source, name in self._sources())
        return parts if self.y is not None else parts[0]

    def maker(self, seed: int | None, data_pass: int) -> Callable[[int], Any]:
        """What makes the batches of a pass; see `Batches.maker`."""
        if seed is None:
            return super().maker(None, data_pass)
        return _Shuffled(self, seed, data_pass)

    def _order(self, seed: int | None, data_pass: int) -> NDArray[np.int64]:
        """The samples in the order of a pass."""
        return super()._order(None, data_pass) if seed is None else _Shuffled.rows(self, seed, data_pass)

    def _name(self, row: int) -> str:
        """The number of a sample, and the file."""
        return f"sample {row} of {self._places['x'] or 'the data'}"

    def sharing_maker(self, seed: int | None, data_pass: int, share: Share) -> Callable[[int], Any]:
        """What makes batches with the inputs of a share alone, and with its targets or all."""
        if seed is None:
            return lambda number: self._shared(number, share)
        return _Shuffled(self, seed, data_pass, share)

    def _shared(self, number: int, share: Share) -> Any:
        first = number * self.batch_size
        count = min(self.batch_size, self.samples - first)
        own = share(count)
        rows = np.arange(first + own.start, first + own.stop)
        x = spread(self._read_rows(self.x, "x", rows), own, count)
        if self.y is None:
            return x
        if self.parts_targets:
            return Part(x, self._read_rows(self.y, "y", rows))
        return x, self._read_rows(self.y, "y", np.arange(first, first + count))

    def _read_rows(self, source: Any, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        if not len(rows):
            return np.empty((0, *_shape(source, name)[1:]), _dtype(source) or np.float32)
        ranks = np.argsort(rows, kind="stable")
        spans = [(int(span[0]), int(span[-1]) + 1) for span in _runs(rows[ranks])]
        part = self._read_spans(source, name, spans)
        if len(spans) == 1 and bool((rows[1:] > rows[:-1]).all()):
            return part
        place = np.empty_like(ranks)
        place[ranks] = np.arange(len(rows))
        return part[place]

    def buffers(self, seed: int, data_pass: int) -> list[NDArray[np.int64]]:
        """The first samples of the blocks that are shuffled together, buffer by buffer."""
        starts = np.arange(0, self.samples, self._block)
        starts = starts[permutation(len(starts), seed, data_pass)]
        return [np.sort(starts[i : i + self._blocks]) for i in range(0, len(starts), self._blocks)]

    def load(self, starts: NDArray[np.int64], own: NDArray[np.int64] | None = None) -> list[NDArray[Any]]:
        """The samples of some blocks, in the order of the file.

        Args:
            starts: the first samples of the blocks.
            own: places among these samples, of those that are wanted; None for all. Of targets that are not
                parted all are read.
        """
        spans = [(int(start), min(int(start) + self._block, self.samples)) for start in starts]
        merged = [spans[0]]
        for first, last in spans[1:]:
            if first == merged[-1][1]:
                merged[-1] = (merged[-1][0], last)
            else:
                merged.append((first, last))
        if own is None:
            return [self._read_spans(source, name, merged) for source, name in self._sources()]
        numbers = np.concatenate([np.arange(first, last) for first, last in merged])
        return [
            self._read_needed(source, name, numbers[own])
            if name == "x" or self.parts_targets
            else self._read_spans(source, name, merged)
            for source, name in self._sources()
        ]

    def _read_needed(self, source: Any, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        """These samples, which are in order.

        A chunk that only the library can read is unpacked as a whole for any sample of it: it is read once.
        """
        chunk = 1 if self._plain[name] is not None else _chunk(source)
        if chunk == 1 or not len(rows):
            return self._read_rows(source, name, rows)
        parts = []
        for own in np.split(rows, np.flatnonzero(np.diff(rows // chunk)) + 1):
            first, last = int(own[0]), int(own[-1]) + 1
            parts.append(self._read_spans(source, name, [(first, last)])[own - first])
        return np.concatenate(parts)

    def rows_of(self, starts: NDArray[np.int64]) -> NDArray[np.int64]:
        """The samples of some blocks, in the order of the file."""
        ends = np.minimum(starts + self._block, self.samples)
        return np.concatenate([np.arange(first, last) for first, last in zip(starts, ends, strict=True)])

    def count(self, starts: NDArray[np.int64]) -> int:
        """How many samples some blocks have."""
        return int(np.minimum(starts + self._block, self.samples).sum() - starts.sum())

    def _sources(self) -> list[tuple[Any, str]]:
        return [(source, name) for source, name in ((self.x, "x"), (self.y, "y")) if source is not None]

    def _read_spans(self, source: Any, name: str, spans: list[tuple[int, int]]) -> NDArray[Any]:
        """Slices of a source, one after the other in one array of its own."""
        total = sum(last - first for first, last in spans)
        result: NDArray[Any] | None = None
        filled = 0
        plain = self._plain[name]
        if plain is not None:
            result = np.empty((total, *source.shape[1:]), source.dtype)
        will_read(source, spans)
        for first, last in spans:
            try:
                if plain is not None and result is not None:
                    plain(first, last, result[filled : filled + last - first])
                    filled += last - first
                    continue
                part = np.asarray(source[first:last])
                if len(part) != last - first:  # one row would be spread over all of them
                    raise ValueError(f"the slice has {len(part)} samples instead of {last - first}")
                _check_numbers(part, name)
                if result is None:
                    result = np.empty((total, *part.shape[1:]), part.dtype)
                result[filled : filled + last - first] = part
            except Exception as error:
                where = self._places[name]
                raise OSError(
                    f"{where + ': ' if where else ''}samples {first} to {last - 1} of `{name}` cannot be "
                    f"read: {error}"
                ) from error
            filled += last - first
        assert result is not None
        return result


class _Shuffled:
    """Makes the batches of one shuffled pass; holds a buffer, and reads the next one meanwhile.

    Batches alone are too little to read ahead: while a buffer is read the engine uses up those that wait.
    """

    def __init__(self, data: LazyBatches, seed: int, data_pass: int, share: Share | None = None) -> None:
        self._data, self._share = data, share
        self._groups = data.buffers(seed, data_pass)
        counts = [data.count(starts) for starts in self._groups]
        self._ends = np.cumsum(counts)
        # A stream of its own for each buffer of each pass.
        self._counts, self._seed, self._stream = counts, seed, _stream(data_pass)
        self._held: dict[int, tuple[list[NDArray[Any]], NDArray[np.int64], NDArray[np.int64] | None]] = {}
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="gridnn-reader")
        self._coming: dict[int, Future[list[NDArray[Any]]]] = {}

    @staticmethod
    def rows(data: LazyBatches, seed: int, data_pass: int) -> NDArray[np.int64]:
        """The samples in the order of a pass."""
        parts = []
        for group, starts in enumerate(data.buffers(seed, data_pass)):
            rows = data.rows_of(starts)
            parts.append(rows[permutation(len(rows), seed, _stream(data_pass) + group)])
        return np.concatenate(parts)

    def close(self) -> None:
        """Ends reading: what is being read is waited for."""
        self._reader.shutdown(cancel_futures=True)

    def __call__(self, number: int) -> Any:
        """The batch of this number."""
        size = self._data.batch_size
        first, last = number * size, min((number + 1) * size, self._data.samples)
        count, own = last - first, self._own(number)
        parted = self._share is not None and self._data.parts_targets
        start, parts = first, []
        while first < last:
            group = int(np.searchsorted(self._ends, first, side="right"))
            begin = int(self._ends[group - 1]) if group else 0
            until = min(last, int(self._ends[group]))
            arrays, order, places = self._buffer(group)
            rows = order[first - begin : until - begin]
            held = rows
            if places is not None:  # the buffer holds the samples of the share alone
                mine = slice(max(own.start - (first - start), 0), max(own.stop - (first - start), 0))
                held = np.searchsorted(places, rows[mine])
            parts.append([arrays[0][held], *(array[held if parted else rows] for array in arrays[1:])])
            first = until
        joined = [
            pieces[0] if len(parts) == 1 else np.concatenate(pieces) for pieces in zip(*parts, strict=True)
        ]
        joined[0] = spread(joined[0], own, count)
        if parted:
            return Part(*joined)
        return tuple(joined) if self._data.y is not None else joined[0]

    def _own(self, number: int) -> range:
        """Places in a batch of the samples that are read."""
        size = self._data.batch_size
        count = min(size, self._data.samples - number * size)
        return range(count) if self._share is None else self._share(count)

    def _places(self, group: int) -> NDArray[np.int64] | None:
        """Places in a buffer of the samples that are read, in order; None for all."""
        if self._share is None:
            return None
        size = self._data.batch_size
        end = int(self._ends[group])
        begin = end - self._counts[group]
        wanted = [np.empty(0, np.int64)]
        for number in range(begin // size, -(-end // size)):
            own = self._own(number)
            wanted.append(np.arange(number * size + own.start, number * size + own.stop))
        numbers = np.concatenate(wanted)
        numbers = numbers[(numbers >= begin) & (numbers < end)] - begin
        return np.sort(self._order(group)[numbers])

    def _order(self, group: int) -> NDArray[np.int64]:
        return permutation(self._counts[group], self._seed, self._stream + group)

    def _load(self, group: int) -> list[NDArray[Any]]:
        return self._data.load(self._groups[group], self._places(group))

    def _buffer(self, group: int) -> tuple[list[NDArray[Any]], NDArray[np.int64], NDArray[np.int64] | None]:
        if group not in self._held:
            self._held.clear()  # batches come in order: what was before is used up
            coming = self._coming.pop(group, None)
            arrays = self._load(group) if coming is None else coming.result()
            del coming  # a future keeps its result
            if group + 1 < len(self._groups):
                self._coming[group + 1] = self._reader.submit(self._load, group + 1)
            self._held[group] = (arrays, self._order(group), self._places(group))
        return self._held[group]


def _stream(data_pass: int) -> int:
    """The first stream of random numbers of a pass, whose buffers have one each."""
    return (data_pass + 1) << 32


def _runs(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Sorted numbers as runs of neighbours."""
    return np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)


def _shape(source: Any, name: str) -> tuple[int, ...]:
    shape = shape_of(source, name)
    if not isinstance(shape, tuple) or not hasattr(source, "__getitem__"):
        raise TypeError(
            f"The `{name}` argument must have a shape and give slices, as arrays, h5py datasets and zarr "
            f"arrays do. Received {type(source).__name__}.{_opened(source, name)}"
        )
    if not shape or not shape[0]:
        raise ValueError(f"The `{name}` argument has no samples; its shape is {shape}.")
    return tuple(int(size) for size in shape)


def _opened(source: Any, name: str) -> str:
    """What to do with something that arrays are in."""
    if isinstance(source, (str, os.PathLike)):
        return " Open the file first, as h5py.File(path)[name] or np.load(path, mmap_mode='r')."
    if isinstance(source, Mapping) or hasattr(source, "keys"):
        return f" Pass an array in it: {name}[{next(iter(source.keys()), 'name')!r}]."
    return f" Pass np.asarray({name})." if isinstance(source, (list, tuple)) else ""


def _row_bytes(source: Any) -> int:
    dtype = _dtype(source)
    return math.prod(_shape(source, "x")[1:]) * (4 if dtype is None else dtype.itemsize)


def _dtype(source: Any) -> np.dtype[Any] | None:
    """The type of a source, if it has one that is NumPy's."""
    try:
        dtype = getattr(source, "dtype", None)
        return None if dtype is None else np.dtype(dtype)
    except TypeError:  # tensors of PyTorch have types of their own, and give arrays
        return None


def _check_numbers(source: Any, name: str) -> None:
    """Raises TypeError if a source says that it does not hold real numbers."""
    _validation.not_masked(source, name)
    if is_sparse(source):
        raise TypeError(
            f"The `{name}` argument is a sparse matrix, which gives no arrays. Pass {name}.toarray(), or an "
            "iterable of batches that are converted one by one."
        )
    dtype = _dtype(source)
    if dtype is not None and dtype.kind not in "biuf" and dtype.type.__module__ != "ml_dtypes":
        raise TypeError(
            f"The `{name}` argument must hold real numbers. Received {type(source).__name__} of type "
            f"{dtype}; write the data as numbers first, names of classes as theirs."
        )


def _chunk(source: Any) -> int:
    """Samples of a chunk, as HDF5 and Zarr store them; 1 where there are none."""
    chunks = getattr(source, "chunks", None)
    return int(chunks[0]) if isinstance(chunks, tuple) and chunks and isinstance(chunks[0], int) else 1


def _place(source: Any, name: str) -> str:
    """The file of a source, as far as it says.

    Raises:
        ValueError: it is closed.
    """
    if source is None:
        return ""
    try:
        return _file(source)
    except Exception as error:  # h5py keeps a shape that it was once asked for, but not the file
        raise ValueError(
            f"The `{name}` argument cannot be read ({error}): a file that it comes from must be open."
        ) from error


def _file(source: Any) -> str:
    """Name of the file of a source, and of the array in it."""
    name = getattr(source, "filename", None)  # numpy.memmap
    if name is not None:
        return os.fsdecode(name)
    name = getattr(getattr(source, "file", None), "filename", None)  # h5py
    if isinstance(name, str):
        return f"{name}, {getattr(source, 'name', '')}"
    store = getattr(source, "store_path", None) or getattr(source, "store", None)  # zarr 3 and 2
    return "" if store is None else str(store)
