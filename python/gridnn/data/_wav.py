"""WAV files read with NumPy alone: integers of 8 to 32 bits and floats, as -1 to 1."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn.errors import FileFormatError

__all__ = ["CompressedError", "read_wav"]

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_TELEPHONE = (6, 7)  # A-law and mu-law
# Lengths that programs write into pipes, not knowing it yet: ffmpeg, arecord, SoX.
_UNKNOWN = frozenset({0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 0x7FFFF000})


class CompressedError(FileFormatError):
    """The file holds no plain numbers, but what soundfile reads."""


def read_wav(path: Path) -> tuple[NDArray[np.float32], int]:
    """Reads a file.

    The module `wave` of Python refuses floats, and before 3.12 the extended header that most files of 24 bits
    have.

    Returns:
        Samples ``(time, channels)`` from -1 to 1, and how many there are in a second.

    Raises:
        FileFormatError: it is no such file, or damaged; the message names it.
        CompressedError: it is A-law or mu-law.
        OSError: it cannot be opened.
    """
    contents = memoryview(path.read_bytes())
    if bytes(contents[:4]) != b"RIFF" or bytes(contents[8:12]) != b"WAVE":
        raise FileFormatError(f"{path}: not a WAV file; it begins with {bytes(contents[:12])!r}")
    layout: tuple[int, int, int, int] | None = None
    place = 12
    while place + 8 <= len(contents):
        name = bytes(contents[place : place + 4])
        (size,) = struct.unpack_from("<I", contents, place + 4)
        body = contents[place + 8 : place + 8 + size]
        if name == b"fmt ":
            layout = _layout(body, path)
        elif name == b"data":
            if layout is None:
                raise FileFormatError(f"{path}: its samples come before what says how they are stored")
            if size == 0 and not _are_chunks(contents, place + 8):  # GStreamer's word for unknown
                body = contents[place + 8 :]
            if len(body) < size and size not in _UNKNOWN:
                raise FileFormatError(
                    f"{path}: truncated; expected {size} bytes of samples, received {len(body)}"
                )
            return _samples(body, layout), layout[2]
        place += 8 + size + size % 2  # chunks begin at even places
    raise FileFormatError(f"{path}: a WAV file without samples")


def _are_chunks(contents: memoryview, place: int) -> bool:
    """Whether nothing but whole chunks follows, as it does after samples that there are none of."""
    while place + 8 <= len(contents):
        name, size = struct.unpack_from("<4sI", contents, place)
        if not all(32 <= letter < 127 for letter in name):
            return False
        place += 8 + size + size % 2
    return place >= len(contents) and place - len(contents) < 2


def _layout(body: memoryview, path: Path) -> tuple[int, int, int, int]:
    """Kind of numbers, channels, rate and bits of a header."""
    if len(body) < 16:
        raise FileFormatError(f"{path}: its header has {len(body)} bytes; expected 16 or more")
    kind, channels, rate, _, frame, bits = struct.unpack_from("<HHIIHH", body)
    if kind == _EXTENSIBLE and len(body) >= 26:
        (kind,) = struct.unpack_from("<H", body, 24)
    known = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64)}
    if bits not in known.get(kind, ()):
        what = CompressedError if kind in _TELEPHONE else FileFormatError
        raise what(
            f"{path}: numbers of kind {kind} with {bits} bits; WAV files are read with integers (kind 1) of "
            "8, 16, 24 or 32 bits and floats (kind 3) of 32 or 64. Convert the file"
        )
    if not channels or not rate or frame != channels * bits // 8:
        raise FileFormatError(
            f"{path}: damaged header: {channels} channels, {rate} Hz, {frame} bytes a frame"
        )
    return kind, channels, rate, bits


def _samples(body: memoryview, layout: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """The numbers, scaled to -1 to 1."""
    kind, channels, _, bits = layout
    frame = channels * bits // 8
    body = body[: len(body) // frame * frame]
    if kind == _FLOAT:
        values: NDArray[Any] = np.frombuffer(body, f"<f{bits // 8}")
    elif bits == 8:  # the only size without a sign
        values = (np.frombuffer(body, np.uint8) - 128.0) / 128
    elif bits == 24:
        # The three bytes become the upper ones of four, which keeps the sign.
        wide = np.zeros((len(body) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(body, np.uint8).reshape(-1, 3)
        values = wide.reshape(-1).view("<i4") / 2.0**31
    else:
        values = np.frombuffer(body, f"<i{bits // 8}") / 2.0 ** (bits - 1)
    with np.errstate(over="ignore"):
        sound: NDArray[np.float32] = values.astype(np.float32).reshape(-1, channels)
    return sound
