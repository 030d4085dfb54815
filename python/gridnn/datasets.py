"""Data sets to learn and test with: one inside the package, others read from files the user has.

Every function returns ``((x_train, y_train), (x_test, y_test))``: images as uint8 with a channel axis, labels
as uint8. Nothing is downloaded.

Example:
    >>> import gridnn as gn
    >>> (x, y), (xt, yt) = gn.datasets.digits()
    >>> x.shape, x.dtype, y.shape
    ((1437, 8, 8, 1), dtype('uint8'), (1437,))
"""

from __future__ import annotations

import gzip
import io
import math
import os
import zlib
from importlib import resources
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn.errors import FileFormatError

__all__ = ["digits", "fashion_mnist", "mnist"]

Arrays: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.uint8]]
Split: TypeAlias = tuple[Arrays, Arrays]

_DIGITS_TRAIN = 1437
_SIDE = 28
_CLASSES = 10
# What a header may ask for: more than any published set in this format (EMNIST has 814,255 images).
_MAX_COUNT = 1_000_000
# IDX magic numbers: two zero bytes, 8 for unsigned bytes, the number of axes.
_UNSIGNED_BYTE = 0x0800
_CHUNK = 1 << 20


def digits() -> Split:
    """Loads 1,797 scans of handwritten digits, 8x8 pixels, from inside the package.

    The set is the UCI Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998, CC BY 4.0), test
    part, as scikit-learn ships it. The split is the common one without shuffling: the first 1,437 scans, four
    fifths, train and the last 360 test. Scans that are neighbours in the file are apparently by the same
    writer, so most of the test scans are by hands not seen in training: a harder, and more honest, split than
    a shuffled one.

    Returns:
        ``((x, y), (xt, yt))``: images of shape (1437, 8, 8, 1) and (360, 8, 8, 1) with values 0 (paper) to 16
        (ink), labels of shape (1437,) and (360,).

    Example:
        >>> (x, y), (xt, yt) = gn.datasets.digits()
        >>> x.shape, xt.shape, int(x.max())
        ((1437, 8, 8, 1), (360, 8, 8, 1), 16)
    """
    with resources.files("gridnn").joinpath("assets/digits.npz").open("rb") as file:
        archive = np.load(file)
        images: NDArray[np.uint8] = archive["images"][..., np.newaxis]
        labels: NDArray[np.uint8] = archive["labels"]
    train, test = slice(None, _DIGITS_TRAIN), slice(_DIGITS_TRAIN, None)
    return (images[train], labels[train]), (images[test], labels[test])


def mnist(path: str | os.PathLike[str]) -> Split:
    """Reads MNIST from its four IDX files.

    Args:
        path: The folder with ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
            ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``, each plain or gzip-compressed, with
            or without ``.gz`` at the end of its name (where both names exist, the one without is read).

    Returns:
        ``((x, y), (xt, yt))``: images of shape (n, 28, 28, 1) with values 0 to 255, labels of shape (n,) from
        0 to 9; n is 60,000 and 10,000 in the published files.

    Raises:
        FileNotFoundError: The folder or one of the files is missing.
        FileFormatError: A file is damaged, truncated, too long, or not what its name says.

    Example:
        >>> (x, y), (xt, yt) = gn.datasets.mnist("mnist")  # doctest: +SKIP
        >>> x.shape  # doctest: +SKIP
    """
    folder = _validation.path(path, "path")
    return _read_pair(folder, "train"), _read_pair(folder, "t10k")


def fashion_mnist(path: str | os.PathLike[str]) -> Split:
    """Reads Fashion-MNIST (Xiao, Rasul, Vollgraf, 2017) from its four IDX files.

    The files have the names and the format of MNIST; see `mnist` for arguments, results and errors. The
    classes are 0 T-shirt/top, 1 trouser, 2 pullover, 3 dress, 4 coat, 5 sandal, 6 shirt, 7 sneaker, 8 bag, 9
    ankle boot.

    Example:
        >>> (x, y), (xt, yt) = gn.datasets.fashion_mnist("fashion-mnist")  # doctest: +SKIP
        >>> x.shape, yt.shape  # doctest: +SKIP
        ((60000, 28, 28, 1), (10000,))
    """
    return mnist(path)


def _read_pair(folder: Path, part: str) -> Arrays:
    """Reads the images and labels of one part ("train" or "t10k") and checks that they belong together."""
    image_file = _find(folder, f"{part}-images-idx3-ubyte")
    label_file = _find(folder, f"{part}-labels-idx1-ubyte")
    images = _read_idx(image_file, item_shape=(_SIDE, _SIDE))
    labels = _read_idx(label_file, item_shape=())
    if len(images) != len(labels):
        raise FileFormatError(
            f"{image_file} and {label_file} do not belong together; "
            f"received {len(images)} images and {len(labels)} labels"
        )
    if labels.max() >= _CLASSES:
        row = int(labels.argmax())
        raise FileFormatError(
            f"{label_file}: labels are 0 to {_CLASSES - 1}; received {labels[row]} at row {row}"
        )
    return images[..., np.newaxis], labels


def _find(folder: Path, name: str) -> Path:
    """The file of this name in the folder, plain or with ``.gz``."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}; expected a folder with {name} or {name}.gz")
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"{folder} lacks a file; expected {name} or {name}.gz")


def _read_idx(path: Path, item_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Reads an IDX file of unsigned bytes, one item of `item_shape` after the other; plain or gzip."""
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not compressed:
                return _parse_idx(raw, path, item_shape)
            with gzip.GzipFile(fileobj=raw) as file:
                return _parse_idx(file, path, item_shape)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FileFormatError(f"{path}: damaged gzip data; received: {error}") from error


def _parse_idx(file: io.BufferedIOBase, path: Path, item_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Checks the header against what is expected, then reads exactly the bytes that it announces.

    Memory is bounded by the header, and that by `_MAX_COUNT`, whatever a compressed file would expand to.
    """
    ndim = 1 + len(item_shape)
    header = file.read(4 + 4 * ndim)
    if len(header) < 4 + 4 * ndim:
        raise FileFormatError(
            f"{path}: truncated header; expected {4 + 4 * ndim} bytes, received {len(header)}"
        )
    magic, *shape = (int.from_bytes(header[i : i + 4], "big") for i in range(0, len(header), 4))
    expected_magic = _UNSIGNED_BYTE + ndim
    if magic != expected_magic:
        raise FileFormatError(f"{path}: expected magic number {expected_magic:#010x}; received {magic:#010x}")
    count, *item = shape
    if tuple(item) != item_shape:
        raise FileFormatError(f"{path}: expected items of shape {item_shape}; received {tuple(item)}")
    if not 0 < count <= _MAX_COUNT:
        raise FileFormatError(f"{path}: expected 1 to {_MAX_COUNT} items; received {count}")

    # The pages of an empty array cost nothing until they are written, and GzipFile allocates what it is asked
    # for: read in pieces, a header that lies about a short file takes no memory.
    data = np.empty(count * math.prod(item_shape), np.uint8)
    target = data.data
    filled = 0
    while filled < len(data):
        received = file.readinto(target[filled : filled + _CHUNK])
        if not received:
            raise FileFormatError(f"{path}: truncated; expected {len(data)} bytes of data, received {filled}")
        filled += received
    # Reading on past the data also makes gzip compare its checksum.
    if file.read(1):
        raise FileFormatError(
            f"{path}: the data goes on after the {len(data)} bytes that its header announces"
        )
    return data.reshape(count, *item_shape)
