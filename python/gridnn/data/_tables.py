"""Images in the rows of a table."""

from __future__ import annotations

import csv
import math
import os
import re
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
        delimiter: the character between values.

    Returns:
        `Samples`: ``x`` with an axis of lines in front of `shape`, uint8 where all values are whole and from
        0 to 255, else float32; ``y`` with the labels as numbers, int64; `class_names` if labels are names,
        which are numbered in the order of Unicode. Without labels ``x`` alone.

    Raises:
        FileFormatError: a line has too few or too many values, or one that is not a number or too large for
            float32, or its label is missing, a fraction, or no number of 64 bits among others that are
            numbers; the message names file and line.
        OSError: the file cannot be read.
        ValueError: there is no such column, or `delimiter` is not one character.

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
    if label_column is not None and not isinstance(label_column, str):
        label_column = _validation.integer(label_column, "label_column")
    delimiter = _validation.string(delimiter, "delimiter")
    if len(delimiter) != 1 or delimiter in '\r\n"':
        raise ValueError(
            "The `delimiter` argument must be one character, and none of quotes and ends of lines. Received "
            f"delimiter={delimiter!r}."
        )
    file = _validation.path(path, "path")
    with file.open(newline="", encoding="utf-8-sig") as text:  # spreadsheets put a mark in front
        lines = csv.reader(text, delimiter=delimiter)
        try:
            return _read(lines, file, full, label_column)
        except (UnicodeDecodeError, csv.Error) as error:
            hint = ". Save it as UTF-8" if isinstance(error, UnicodeDecodeError) else ""
            raise FileFormatError(f"{file}: not a text file of values: {error}{hint}") from error


def _read(
    lines: Any, file: Path, shape: tuple[int, ...], label_column: str | int | None
) -> Samples | NDArray[Any]:
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
    table = _Table(file, shape, column, first if header else [])
    if not header:
        table.take(first, lines.line_num)
    for line in lines:
        if line:
            table.take(line, lines.line_num)
    x = table.samples()
    if column is None:
        return x
    labels = table.labels
    if all(map(_is_number, labels)):
        return Samples(x, table.classes())
    if len(labels) > 1 and not header and not _is_number(labels[0]) and all(map(_is_number, labels[1:])):
        raise FileFormatError(
            f"{file}: the label of the first line is {labels[0]!r}, and all others are numbers: if that line "
            f"names the columns, pass label_column={labels[0]!r}."
        )
    names = sorted(set(labels))
    number_of = {name: n for n, name in enumerate(names)}
    return Samples(x, np.array([number_of[label] for label in labels], np.int64), names)


class _Table:
    """Samples and labels of the lines taken so far."""

    def __init__(self, file: Path, shape: tuple[int, ...], column: int | None, names: list[str]) -> None:
        self._file, self._shape, self._column = file, shape, column
        self._size = math.prod(shape)
        self._names = names
        self._blocks: list[NDArray[np.float32]] = []
        self._rows: list[list[float]] = []
        self.labels: list[str] = []
        self._places: list[int] = []
        """The line of each sample."""

    def take(self, line: list[str], number: int) -> None:
        """Adds one line."""
        column, size = self._column, self._size
        if len(line) != size + (column is not None):
            wanted = f"{size} for shape {self._shape}"
            if column is not None:
                wanted = f"{size + 1}, which are {wanted} and a label"
            raise self._error(number, f"{len(line)} values; expected {wanted}{_hint(line)}")
        values = line if column is None else [*line[:column], *line[column + 1 :]]
        try:
            row = [float(value) for value in values]
        except ValueError:
            place, wrong = next(pair for pair in enumerate(values) if not _is_number(pair[1]))
            name = self._names[place + (column is not None and place >= column)] if self._names else ""
            where = f", in column {name.strip()!r}" if name else ""
            raise self._error(number, f"{wrong!r} is not a number{where}{_advice(wrong)}") from None
        for value, text in zip(row, values, strict=True):
            if math.isinf(value) and any(map(str.isdigit, text)):  # not the word, but 1e400
                raise self._error(number, f"{text.strip()} is too large for float32; scale the values")
        self._rows.append(row)
        self._places.append(number)
        if column is not None:
            self.labels.append(line[column].strip())
            if not self.labels[-1]:
                raise self._error(number, "there is no label")
        if len(self._rows) * size >= 1 << 20:  # numbers of Python take eight times the memory
            self._store()

    def samples(self) -> NDArray[Any]:
        """All samples, as bytes if they are."""
        self._store()
        if not self._blocks:
            raise FileFormatError(f"{self._file}: no lines but the names of columns{_hint(self._names)}")
        x = np.concatenate(self._blocks).reshape(-1, *self._shape)
        if x.min() >= 0 and x.max() <= _BYTE and np.array_equal(x, np.floor(x)):
            return x.astype(np.uint8)
        return x

    def classes(self) -> NDArray[np.int64]:
        """Labels that are numbers."""
        result = np.empty(len(self.labels), np.int64)
        for row, label in enumerate(self.labels):
            number = _whole(label)
            if number is None or not -(2**63) <= number < 2**63:
                raise self._error(
                    self._places[row],
                    f"the label {label} is no class: expected whole numbers of 64 bits, or names. For other "
                    "targets read the columns with NumPy",
                )
            result[row] = number
        return result

    def _store(self) -> None:
        """Makes an array of the rows."""
        if not self._rows:
            return
        with np.errstate(over="ignore"):
            block = np.array(self._rows, np.float32)
        if np.isinf(block).any():
            first = len(self._places) - len(self._rows)
            for row, values in enumerate(self._rows):
                for value, single in zip(values, block[row], strict=True):
                    if np.isinf(single) and not math.isinf(value):
                        raise self._error(
                            self._places[first + row], f"{value:g} is too large for float32; scale the values"
                        )
        self._blocks.append(block)
        self._rows = []

    def _error(self, line: int, what: str) -> FileFormatError:
        return FileFormatError(f"{self._file}, line {line}: {what}")


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
                f"{', ...' if len(stripped) > 5 else ''}{_hint(names)}."
            )
        if stripped.count(label_column) > 1:
            raise ValueError(
                f"{file} has {stripped.count(label_column)} columns {label_column!r}: give `label_column` as "
                "a number, counted from 0."
            )
        return stripped.index(label_column)
    if not -width <= label_column < width:
        raise ValueError(f"`label_column`={label_column}, but {file} has {width} columns.")
    return label_column % width


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _hint(line: list[str]) -> str:
    """What is said of a line that another delimiter would take apart, or that has lines in a quotation."""
    if any("\n" in value for value in line):
        return "; a quotation mark in it or above has no second one"
    text = line[0].strip() if len(line) == 1 else ""
    found = next((delimiter for delimiter in ";\t,| " if delimiter in text), None)
    return "" if found is None else f"; perhaps it has delimiter={found!r}"


def _advice(value: str) -> str:
    """What is said of a value that is no number."""
    if re.fullmatch(r"\s*[-+]?\d+,\d+\s*", value):
        return ": write decimals with a point"
    return _hint([value]) if value.strip() else ": a value is missing; fill it or drop the line"


def _whole(text: str) -> int | None:
    """The whole number that a text is, to its last digit; None if it is none."""
    try:
        return int(text)
    except ValueError:
        number = float(text)
        return int(number) if number.is_integer() else None
