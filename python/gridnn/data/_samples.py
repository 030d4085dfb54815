"""What loaders return: arrays with the names that belong to them, or readers of files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridnn._engine import get_num_threads
from gridnn._reading import Batches
from gridnn.errors import ShapeError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["FileBatches", "Samples", "read_files"]


class Samples(tuple[NDArray[Any], NDArray[Any]]):
    """Inputs and targets: a pair ``x, y`` that also knows its classes and files.

    Attributes:
        class_names: name of each class, in the order of the labels; None where there are no classes.
        files: the file of each sample; None where samples do not come from files of their own.

    Example:
        >>> data = gn.data.windows(np.zeros(8), np.zeros(8), length=3)
        >>> x, y = data
        >>> x is data.x, data.class_names
        (True, None)
    """

    class_names: list[str] | None
    files: list[Path] | None

    def __new__(
        cls,
        x: NDArray[Any],
        y: NDArray[Any],
        class_names: Sequence[str] | None = None,
        files: Sequence[Path] | None = None,
    ) -> Self:
        """A pair of arrays."""
        pair = super().__new__(cls, (x, y))
        pair.class_names = None if class_names is None else list(class_names)
        pair.files = None if files is None else list(files)
        return pair

    def __getnewargs__(self) -> tuple[Any, ...]:
        return (self.x, self.y, self.class_names, self.files)

    @property
    def x(self) -> NDArray[Any]:
        """Inputs ``(samples, ..., channels)``."""
        return self[0]

    @property
    def y(self) -> NDArray[Any]:
        """Targets, one per sample."""
        return self[1]

    def __repr__(self) -> str:
        classes = "" if self.class_names is None else f", {len(self.class_names)} classes"
        return f"<Samples: x {self.x.shape} {self.x.dtype}, y {self.y.shape} {self.y.dtype}{classes}>"


Reader = Callable[[Path], NDArray[Any]]


class FileBatches(Batches):
    """Samples with a file each, read when their batch is.

    Args:
        files: a file per sample.
        reader: reads one.
        y: targets, one per sample; or the files that they are in; None for inputs alone.
        batch_size: samples per batch.
        target_reader: reads a target from its file, if they are in files.
        class_names: names of the classes.
        shuffle: see `Batches`.
    """

    def __init__(
        self,
        files: Sequence[Path],
        reader: Reader,
        y: NDArray[Any] | Sequence[Path] | None,
        batch_size: int,
        *,
        target_reader: Reader | None = None,
        class_names: Sequence[str] | None = None,
        shuffle: bool = True,
    ) -> None:
        super().__init__(len(files), batch_size, shuffle=shuffle)
        self.files = list(files)
        """The file of each sample."""
        self.class_names = None if class_names is None else list(class_names)
        """Name of each class; None where there are none."""
        self._y, self._reader, self._target_reader = y, reader, target_reader
        # What all others have to be like.
        self._first = reader(self.files[0])
        if target_reader is not None and y is not None:
            self._first_target = target_reader(Path(y[0])), Path(y[0])
        room(min(self.batch_size, self.samples), self._first, self.files[0])

    @property
    def y(self) -> NDArray[Any] | Sequence[Path] | None:
        """Targets of all samples in their order; of masks the files."""
        return self._y

    def _name(self, row: int) -> str:
        """The file of a sample, and that of its target."""
        target = "" if self._target_reader is None or self._y is None else f" with {self._y[row]}"
        return f"{self.files[row]}{target}"

    def read(self, rows: NDArray[np.int64]) -> Any:
        """The batch of these samples."""
        x = room(len(rows), self._first, self.files[0])
        for place, row in enumerate(rows):
            x[place] = alike(self._reader(self.files[row]), self.files[row], self._first, self.files[0])
        if self._y is None:
            return x
        if self._target_reader is None:
            return x, np.asarray(self._y)[rows]
        read = self._target_reader
        files = [Path(self._y[row]) for row in rows]
        return x, np.stack([alike(read(file), file, *self._first_target) for file in files])


def read_files(files: Sequence[Path], reader: Reader) -> NDArray[Any]:
    """One array of what is in all files, which must be alike; read on several threads, to the same bytes."""
    first = reader(files[0])
    result = room(len(files), first, files[0])
    result[0] = first

    def read(number: int) -> None:
        result[number] = alike(reader(files[number]), files[number], first, files[0])

    with ThreadPoolExecutor(get_num_threads()) as pool:
        try:
            for _ in pool.map(read, range(1, len(files))):  # raises what the first bad file raised
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return result


def room(count: int, first: NDArray[Any], file: Path) -> NDArray[Any]:
    """An array for this many samples like the first one, which comes from this file.

    Raises:
        MemoryError: there is not enough memory; the message says what to make smaller.
    """
    try:
        return np.empty((count, *first.shape), first.dtype)
    except (MemoryError, ValueError) as error:  # ValueError: more than there are addresses
        raise MemoryError(
            f"{count} samples like {file}, of shape {first.shape} and type {first.dtype}, take "
            f"{count * first.nbytes / 2**30:.3g} GiB, more than can be had. Give a smaller `size` (images) "
            "or `length` (sounds), or read them in batches, with a smaller `batch_size`."
        ) from error


def alike(array: NDArray[Any], file: Path, first: NDArray[Any], first_file: Path) -> NDArray[Any]:
    """`array` if it has shape and type of the first one.

    Raises:
        ShapeError: it has not.
        ValueError: its type is another.
    """
    if array.shape != first.shape:
        hint = "Give the size that all are brought to."
        if array.ndim == first.ndim > 1 and array.shape[:-1] == first.shape[:-1]:
            hint = (
                "Bring their channels to one kind: color='rgb' or 'gray' (images), channels='mono' (sounds)."
            )
        raise ShapeError(
            f"{file} has shape {array.shape}, but {first_file} has {first.shape}: samples of one array must "
            f"be alike. {hint}"
        )
    if array.dtype != first.dtype:
        raise ValueError(
            f"{file} holds {array.dtype}, but {first_file} holds {first.dtype}: their values are on "
            "different scales. Convert the files to one type."
        )
    return array
