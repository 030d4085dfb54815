"""Folders of sounds, by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn.data._folders import Groups, PathLike, Split, chosen, class_folders
from gridnn.data._foreign import reading
from gridnn.data._samples import FileBatches, Samples, read_files
from gridnn.data._wav import CompressedError, read_wav
from gridnn.errors import FileFormatError

__all__ = ["audio_folder", "rate_of", "read_audio"]

_WAV = frozenset({".wav", ".wave"})
ENDINGS = _WAV | {".aif", ".aiff", ".au", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64"}

_LOUDEST = 100.0  # 40 dB above full scale: floats may pass 1 a little, and numbers of 16 bits are no floats


@overload
def audio_folder(
    path: PathLike,
    rate: int | None,
    length: int,
    *,
    channels: str = ...,
    split: Split | None = ...,
    groups: Groups | None = ...,
    class_names: Sequence[str] | None = ...,
    batch_size: None = ...,
) -> Samples: ...
@overload
def audio_folder(
    path: PathLike,
    rate: int | None,
    length: int,
    *,
    channels: str = ...,
    split: Split | None = ...,
    groups: Groups | None = ...,
    class_names: Sequence[str] | None = ...,
    batch_size: int,
) -> FileBatches: ...
def audio_folder(
    path: PathLike,
    rate: int | None,
    length: int,
    *,
    channels: str = "mono",
    split: Split | None = None,
    groups: Groups | None = None,
    class_names: Sequence[str] | None = None,
    batch_size: int | None = None,
) -> Samples | FileBatches:
    """Reads a folder that has a subfolder of sounds for each class.

    WAV files (integers of 8, 16, 24 and 32 bits, floats) are read with NumPy alone, to the same values on
    every system; FLAC, Ogg, MP3, AIFF, A-law and others with soundfile. Floats stay as they are. Classes,
    hidden files, `split`, `groups` and `class_names` are as in `image_folder`.

    Args:
        path: the folder.
        rate: samples per second that every file must have; None takes that of the first file.
        length: samples of each sound along time: longer ones are cut at the end, shorter ones end in silence.
        channels: "mono" averages the channels of a file, "unchanged" keeps them.
        split: see `image_folder`.
        groups: see `image_folder`.
        class_names: see `image_folder`.
        batch_size: see `image_folder`.

    Returns:
        `Samples`: ``x`` of shape (samples, length, channels), float32 from -1 to 1 (floats may be a little
        beyond), ``y`` with the number of the class of each, and `class_names` and `files`; with `batch_size`,
        `Batches` of them.

    Raises:
        NotADirectoryError: there is no such folder.
        FileFormatError: a file cannot be read, has no samples, or holds floats that are not finite or beyond
            100; the message names it.
        ValueError: a file has another rate, or an argument is none of those above.
        ShapeError: "unchanged", and files differ in their channels.
        MemoryError: the result does not fit into memory.
        ImportError: a file is none of WAV, and soundfile is not installed.

    Example:
        >>> x, y = gn.data.audio_folder("words", rate=8000, length=8000)  # doctest: +SKIP
    """
    rate = None if rate is None else _validation.positive_integer(rate, "rate")
    length = _validation.positive_integer(length, "length")
    channels = _validation.choice(channels, "channels", ("mono", "unchanged"))
    listing = class_folders(path, ENDINGS, class_names, "sounds")
    rows = chosen(listing.files, listing.labels, split, groups)
    files = [listing.files[row] for row in rows]
    labels = listing.labels[rows]
    first = None
    if rate is None:  # a sound at another speed is another sound
        first = files[0]
        rate = rate_of(first)
    reader = partial(read_audio, rate=rate, length=length, mono=channels == "mono", like=first)
    if batch_size is None:
        return Samples(read_files(files, reader), labels, listing.class_names, files)
    return FileBatches(files, reader, labels, batch_size, class_names=listing.class_names)


def read_audio(
    path: Path, rate: int | None, length: int, mono: bool, like: Path | None = None
) -> NDArray[np.float32]:
    """A sound as ``(length, channels)``.

    Args:
        path: the file.
        rate: samples per second that it must have; None takes any.
        length: see `audio_folder`.
        mono: whether channels are averaged.
        like: the file that `rate` is of, for messages.
    """
    sound, found = _read(path)
    if rate is not None and found != rate:
        expected = f"expected rate={rate}" if like is None else f"but {like} has {rate}"
        raise ValueError(
            f"{path}: {found} samples per second, {expected}. Convert the files to one rate first, "
            "or read them apart."
        )
    if not len(sound):
        raise FileFormatError(f"{path}: a file of sound without samples")
    sound = sound[:length]
    loudest = float(np.abs(sound).max())
    if not loudest <= _LOUDEST:  # NaN is not
        what = f"values up to {loudest:g}" if math.isfinite(loudest) else "values that are not finite"
        raise FileFormatError(
            f"{path}: {what}; sounds of floats are from -1 to 1. Scale the file's values, or write it anew."
        )
    if mono:
        sound = sound.mean(axis=1, keepdims=True, dtype=np.float32)
    try:
        result = np.zeros((length, sound.shape[1]), np.float32)
    except (MemoryError, ValueError) as error:  # ValueError: more than there are addresses
        raise MemoryError(
            f"A sound of `length`={length} takes {length * sound.shape[1] / 2**28:.3g} GiB, more than can be "
            "had: give a smaller `length`, in samples."
        ) from error
    result[: len(sound)] = sound
    return result


def rate_of(path: Path) -> int:
    """Samples per second of a sound."""
    return _read(path)[1]


def _read(path: Path) -> tuple[NDArray[np.float32], int]:
    if path.suffix.lower() in _WAV:
        with suppress(CompressedError):
            return read_wav(path)
    return _read_with_soundfile(path)


def _read_with_soundfile(path: Path) -> tuple[NDArray[np.float32], int]:
    try:
        import soundfile
    except ImportError as error:
        raise ImportError(
            f'{path} is read with soundfile: pip install "gridnn[audio]". WAV files of integers and floats '
            "need nothing."
        ) from error
    # Opened here, so that what is missing is an error of the system and what is damaged one of soundfile.
    with path.open("rb") as file, reading(path, "sound"):
        sound: NDArray[Any]
        sound, rate = soundfile.read(file, dtype="float32", always_2d=True)
    return sound, int(rate)
