"""Datasets of HDF5 that lie in their file as they are in memory, read past the HDF5 library.

The library copies every chunk through its cache and holds Python's lock meanwhile, also while the disk is
waited for, so that the thread that trains cannot begin its next step. `os.preadv` waits without the lock, and
reads into the array where the samples are wanted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["plain_reader"]

Reader = Callable[[int, int, NDArray[Any]], None]


def plain_reader(source: Any) -> Reader | None:
    """What reads samples of a dataset of h5py from its file; None for all that is not stored as plain bytes.

    That is: a file opened to read only, by the usual driver; numbers of a type that NumPy has; no compression
    or other filter; in one piece, or in chunks of whole samples that all exist.

    Args:
        source: the dataset; of other kinds None is returned.

    Returns:
        ``read(first, last, out)`` fills `out` with the samples from `first` to `last` - 1. It raises OSError
        where the file is closed or ends too early.
    """
    if not hasattr(os, "preadv"):
        return None
    with suppress(AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError):
        return _reader(source)
    return None


def _reader(source: Any) -> Reader | None:
    file, dataset = source.file, source.id
    plain = (
        file.driver == "sec2"
        and file.mode == "r"
        and not file.swmr_mode  # another process may write
        and not file.userblock_size  # places count from behind it
        and not source.is_virtual
        and not source.external
        and not dataset.get_create_plist().get_nfilters()
        # Where the file differs from memory the library converts.
        and source.dtype.kind in "iuf"
        and dataset.get_type() == _native(source.dtype)
    )
    if not plain:
        return None
    shape, chunks = source.shape, source.chunks
    row = int(np.prod(shape[1:], dtype=np.int64)) * source.dtype.itemsize
    if not row:
        return None
    if chunks is None:
        offset = dataset.get_offset()  # None where nothing was written
        if offset is None or dataset.get_storage_size() < shape[0] * row:
            return None
        return _Pieces(source, [offset], shape[0], row)
    if chunks[1:] != shape[1:]:
        return None
    places = _chunks(dataset, chunks[0], shape[0])
    return None if places is None else _Pieces(source, places, chunks[0], row)


def _native(dtype: np.dtype[Any]) -> Any:
    import h5py

    return h5py.h5t.py_create(dtype)


def _chunks(dataset: Any, rows: int, samples: int) -> list[int] | None:
    """Where the chunks of a dataset begin in the file; None unless all of them are there."""
    places: list[int | None] = [None] * -(-samples // rows)

    def note(chunk: Any) -> None:
        places[chunk.chunk_offset[0] // rows] = chunk.byte_offset

    dataset.chunk_iter(note)
    found = [place for place in places if place is not None]
    return found if len(found) == len(places) else None


class _Pieces:
    """Reads samples that lie in pieces of equally many samples, each somewhere in the file."""

    def __init__(self, source: Any, places: list[int], rows: int, row: int) -> None:
        self._source, self._places, self._rows, self._row = source, places, rows, row

    def __call__(self, first: int, last: int, out: NDArray[Any]) -> None:
        # Asked each time: a closed file says so, and its number may belong to another one.
        try:
            file = self._source.file.id.get_vfd_handle()
        except Exception as error:
            raise OSError(f"the file is closed ({error})") from error
        wanted = out.view(np.uint8).reshape(-1).data
        while first < last:
            piece, begin = divmod(first, self._rows)
            until = min(last, (piece + 1) * self._rows)
            size, place = (until - first) * self._row, self._places[piece] + begin * self._row
            done = 0
            while done < size:
                count = os.preadv(file, [wanted[done:size]], place + done)
                if not count:
                    raise OSError("the file ends before the samples")
                done += count
            wanted, first = wanted[size:], until
