"""Images in the rows of a table."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn.data._samples import Samples
from gridnn.errors import FileFormatError

__all__ = ["csv_images"]

_BYTE = 255


def csv_images(
    path: str | os.PathLike[str],
    shape: Sequence[int],
    label_column: str | int | None = 0,
    *,
    delimiter: str = ",",
) -> Samples | NDArray[Any]:
    r"""Reads a text file that has an image (or a series, or a volume) in each line, and perhaps its class.

    The values of a line fill the shape row by row, channels last. A first line that is not numbers names the
    columns.

    Args:
        path: the file.
        shape: shape of a sample, ``(height, width, channels)``; ``(height, width)`` gets one channel.
        label_column: name or number (from 0, or from the end if negative) of the column of labels, which may
            be numbers or names; None if there is none.
        delimiter: what stands between values.

    Returns:
        `Samples`: ``x`` with an axis of lines in front of `shape`, uint8 where all values are whole and from
        0 to 255, else float32; ``y`` with the labels as numbers, int64; `class_names` if labels are names,
        which are numbered in the order of Unicode. Without labels ``x`` alone.

    Raises:
        FileFormatError: a line has too few or too many values, or one that is not a number; the message names
            file and line.
        OSError: the file cannot be read.
        ValueError: there is no such column.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("two.csv").write_text("label,a,b,c,d\n7,0,1,2,3\n9,4,5,6,255\n")
        >>> x, y = gn.data.csv_images("two.csv", (2, 2), "label")
        >>> x.shape, x.dtype, y.tolist()
        ((2, 2, 2, 1), dtype('uint8'), [7, 9])
    """
    sizes = _validation.sample_shape(shape, "shape")
    if None in sizes:
        raise ValueError(f"The `shape` argument must hold sizes only. Received shape={tuple(shape)}.")
    full = tuple(int(size) for size in sizes if size is not None)
    full = (*full, 1) if len(full) == 2 else full
    file = _validation.path(path, "path")
    with file.open(newline="", encoding="utf-8-sig") as text:  # spreadsheets put a mark in front
        lines = csv.reader(text, delimiter=delimiter)
        try:
            return _read(lines, file, full, label_column)
        except (UnicodeDecodeError, csv.Error) as error:
            raise FileFormatError(f"{file}: not a text file of values: {error}") from error


def _read(
    lines: Any, file: Path, shape: tuple[int, ...], label_column: str | int | None
) -> Samples | NDArray[Any]:
    size = math.prod(shape)
    width = size + (label_column is not None)
    first = next((line for line in lines if line), None)
    if first is None:
        raise FileFormatError(f"{file}: empty")
    column: int | None = None
    numbers = [
        _is_number(value) for n, value in enumerate(first) if not _may_be_label(n, label_column, first)
    ]
    # Numbers among texts are a sample with a damaged value, unless a name says that there are names.
    header = not all(numbers) if isinstance(label_column, str) else not any(numbers)
    if label_column is not None:
        column = _column(label_column, first if header else None, len(first), file)
    blocks: list[NDArray[np.float32]] = []
    rows: list[list[float]] = []
    labels: list[str] = []
    for line in [] if header else [first]:
        _take(line, file, lines.line_num, width, column, rows, labels, shape)
    for line in lines:
        if not line:
            continue
        _take(line, file, lines.line_num, width, column, rows, labels, shape)
        if len(rows) * size >= 1 << 20:  # numbers of Python take eight times the memory
            blocks.append(np.array(rows, np.float32))
            rows = []
    if rows:
        blocks.append(np.array(rows, np.float32))
    if not blocks:
        raise FileFormatError(f"{file}: no lines but the names of columns")
    x: NDArray[Any] = np.concatenate(blocks).reshape(-1, *shape)
    if x.min() >= 0 and x.max() <= _BYTE and np.array_equal(x, np.floor(x)):
        x = x.astype(np.uint8)
    if column is None:
        return x
    if all(map(_is_whole, labels)):
        return Samples(x, np.array([int(float(label)) for label in labels], np.int64))
    if len(labels) > 1 and not header and not _is_number(labels[0]) and all(map(_is_number, labels[1:])):
        raise FileFormatError(
            f"{file}: the label of the first line is {labels[0]!r}, and all others are numbers: if that line "
            f"names the columns, pass label_column={labels[0]!r}."
        )
    names = sorted(set(labels))
    number_of = {name: n for n, name in enumerate(names)}
    return Samples(x, np.array([number_of[label] for label in labels], np.int64), names)


def _take(
    line: list[str],
    file: Path,
    number: int,
    width: int,
    column: int | None,
    rows: list[list[float]],
    labels: list[str],
    shape: tuple[int, ...],
) -> None:
    """Adds one line to rows and labels."""
    if len(line) != width:
        also = "" if column is None else " and a label"
        raise FileFormatError(
            f"{file}, line {number}: {len(line)} values; expected {math.prod(shape)} for shape {shape}{also}"
        )
    values = line if column is None else [*line[:column], *line[column + 1 :]]
    try:
        rows.append([float(value) for value in values])
    except ValueError:
        wrong = next(value for value in values if not _is_number(value))
        raise FileFormatError(f"{file}, line {number}: {wrong!r} is not a number") from None
    if column is not None:
        labels.append(line[column].strip())


def _may_be_label(number: int, label_column: str | int | None, line: list[str]) -> bool:
    """Whether a value of the first line may be the name of a class rather than of a column."""
    if isinstance(label_column, str) or label_column is None:
        return False
    return number == label_column % len(line)


def _column(label_column: str | int, names: list[str] | None, width: int, file: Path) -> int:
    """Number of the column of labels."""
    if isinstance(label_column, str):
        if names is None:
            raise ValueError(
                f"{file} has no line with names of columns: give `label_column` as a number. Received "
                f"{label_column!r}."
            )
        stripped = [name.strip() for name in names]
        if label_column not in stripped:
            raise ValueError(
                f"{file} has no column {label_column!r}; it has {', '.join(stripped[:5])}"
                f"{', ...' if len(stripped) > 5 else ''}."
            )
        return stripped.index(label_column)
    number = _validation.integer(label_column, "label_column")
    if not -width <= number < width:
        raise ValueError(f"`label_column`={number}, but {file} has {width} columns.")
    return number % width


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_whole(text: str) -> bool:
    return _is_number(text) and float(text).is_integer()
