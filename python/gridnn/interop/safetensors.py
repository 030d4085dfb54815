"""Safetensors files of other programs, with the half-precision types that models here never have.

The engine's reader knows the types that gridnn writes, and the package `safetensors` gives NumPy no bfloat16.
The format is 8 bytes, a JSON header and the tensors' bytes, so this is all that a reader takes. Every number
of the header is compared with what the file really holds before memory is taken for it.
"""

from __future__ import annotations

import json
import math
import os
import stat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn._texts import printable, quoted
from gridnn.errors import FileFormatError

__all__ = ["parse", "read"]

_LONGEST_HEADER = 100_000_000
"""Bytes, as in the format's own library."""

_MOST_AXES = 32

_STORED = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    "BF16": "<u2",
    "F32": "<f4",
    "F64": "<f8",
}
"""Type in a file -> how NumPy reads its bytes."""


def read(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The tensors of a file, in the order of its header, and its texts; F16 and BF16 become float32.

    Raises:
        FileFormatError: the file is damaged, truncated or of another format.
        OSError: it cannot be read.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe waits for who writes to it
        raise FileFormatError(f"{os.fsdecode(path)}: not a regular file")
    with open(path, "rb") as file:
        found = os.fstat(file.fileno())
        start = file.read(8)
        size = int.from_bytes(start, "little")
        if len(start) < 8 or not 2 <= size <= min(found.st_size - 8, _LONGEST_HEADER):
            raise FileFormatError(f"{os.fsdecode(path)}: no safetensors file, or truncated")
        try:
            return parse(start + file.read(found.st_size - 8))
        except FileFormatError as error:
            raise FileFormatError(f"{os.fsdecode(path)}: {error}") from error


def parse(contents: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The same for the contents of a file. Tensors may be views of them, and read-only.

    Raises:
        FileFormatError: the contents are damaged, truncated or of another format.
    """
    size = int.from_bytes(contents[:8], "little")
    if len(contents) < 8 or not 2 <= size <= min(len(contents) - 8, _LONGEST_HEADER):
        raise FileFormatError("no safetensors file, or truncated")
    header = _header(contents[8 : 8 + size])
    metadata = header.pop("__metadata__", {})
    if not _is_texts(metadata):
        raise FileFormatError("the header's __metadata__ holds something else than texts")
    data = memoryview(contents)[8 + size :]
    entries = {name: _Entry(name, entry) for name, entry in header.items()}
    end = 0
    for entry in sorted(entries.values(), key=lambda entry: entry.offsets):
        if entry.offsets[0] != end:
            raise FileFormatError(
                f"tensor {quoted(entry.name)} overlaps another one, or leaves a gap before it"
            )
        end = entry.offsets[1]
    if end != len(data):
        raise FileFormatError(f"{len(data)} bytes of tensors instead of {end}: truncated or damaged")
    return {name: entry.read(data) for name, entry in entries.items()}, metadata


def _header(text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise FileFormatError("the header names something twice")
        return found

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"the header is damaged: {printable(str(error))}") from error
    if not isinstance(header, dict):
        raise FileFormatError("the header is no JSON object")
    return header


def _is_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _are_counts(value: object) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value)


class _Entry:
    """One tensor of a header, whose numbers agree with each other."""

    def __init__(self, name: str, entry: object) -> None:
        self.name = name
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise FileFormatError(f"the header's entry of tensor {quoted(name)} is damaged")
        self.kind, self.shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not _are_counts(self.shape) or not _are_counts(offsets) or len(offsets) != 2:
            raise FileFormatError(f"tensor {quoted(name)}: shape and offsets are no counts")
        if len(self.shape) > _MOST_AXES:
            raise FileFormatError(
                f"tensor {quoted(name)} has {len(self.shape)} axes; at most {_MOST_AXES} are read"
            )
        if not isinstance(self.kind, str) or self.kind not in _STORED:
            raise FileFormatError(
                f"tensor {quoted(name)} is of type {quoted(self.kind)}; known are {', '.join(_STORED)}"
            )
        self.dtype = np.dtype(_STORED[self.kind])
        self.offsets: tuple[int, int] = (offsets[0], offsets[1])
        size = math.prod(self.shape) * self.dtype.itemsize
        if offsets[1] - offsets[0] != size:
            raise FileFormatError(
                f"tensor {quoted(name)} takes {offsets[1] - offsets[0]} bytes; shape "
                f"{tuple(self.shape)} and type "
                f"{self.kind} make {size}"
            )

    def read(self, data: memoryview) -> NDArray[Any]:
        """The tensor; the bytes of all tensors are given."""
        array: NDArray[Any] = np.frombuffer(data[slice(*self.offsets)], self.dtype)
        if self.kind == "BF16":  # the upper half of a float32
            array = (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
        elif self.kind == "F16":
            array = array.astype(np.float32)
        try:
            array = array.reshape(self.shape)
        except ValueError as error:  # an axis of 0 beside one that NumPy cannot count
            raise FileFormatError(
                f"tensor {quoted(self.name)} has shape {tuple(self.shape)}: {error}"
            ) from error
        return array
