"""Data of several kinds, as what is trained on and what is held out."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import data, datasets
from gridnn._hints import shapes_agree
from gridnn.commands.common import CommandError, by_numpy, explained, no_pipe
from gridnn.data import Batches, Samples
from gridnn.data._audio import ENDINGS as SOUNDS
from gridnn.data._audio import rate_of
from gridnn.data._folders import NothingLeftError, chosen, files_below, is_hidden
from gridnn.data._images import ENDINGS as IMAGES
from gridnn.errors import ShapeError
from gridnn.layers import Input, Rescaling
from gridnn.model.trainable import TrainableModel

__all__ = [
    "TABLES",
    "Part",
    "Source",
    "Wanted",
    "check_bytes",
    "not_for",
    "read_part",
    "read_source",
    "samples_of",
]

TABLES = frozenset({".csv", ".npz", ".tsv", ".txt"})
"""Endings of files with many samples."""
_BYTE = 255
_HELD_OUT = ("test", "validation", "val", "valid")
_MOST_BYTES = 1 << 30
"""What is read at once; beyond that files are read as they are needed."""
_KEYS = (("x", "y"), ("images", "labels"), ("data", "labels"))
_TRAIN = (("x_train", "y_train"), ("train_images", "train_labels"))
_TEST = (("x_test", "y_test"), ("test_images", "test_labels"))


@dataclass(frozen=True)
class Part:
    """Samples with labels from 0 on."""

    x: Any
    """An array, or `Batches` of samples and labels."""
    y: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.y)

    @property
    def arguments(self) -> dict[str, Any]:
        """What `fit` and `evaluate` take."""
        return {"x": self.x} if isinstance(self.x, Batches) else {"x": self.x, "y": self.y}

    @property
    def sample(self) -> NDArray[Any]:
        """One of them."""
        first = self.x[0]
        return np.asarray(first[0][0] if isinstance(self.x, Batches) else first)


@dataclass(frozen=True)
class Source:
    """What `--data` names."""

    train: Part
    held_out: Part | None
    class_names: list[str]
    is_mnist: bool = False
    """Whether it is the files of MNIST, which are trained on as the README shows."""


@dataclass(frozen=True)
class Wanted:
    """How samples are to be read."""

    size: tuple[int, ...] | None = None
    color: str = "rgb"
    shape: tuple[int, ...] | None = None
    label_column: str | None = None
    class_names: list[str] | None = None
    batch_size: int = 32
    given: frozenset[str] = frozenset()
    """Options that the user gave, which are to have a use."""
    by: tuple[int | None, ...] | None = None
    """Shape of a sample of the model that says all this; None if options do."""
    rate: tuple[int, Path] | None = None
    """Samples per second of sounds, and a file of that rate; None takes the rate of the first file."""
    outputs: int | None = None
    """Classes of the model, whose labels are their numbers if it has no names for them; None if none says."""

    @classmethod
    def by_model(cls, input_shape: Sequence[int | None], class_names: list[str] | None) -> Wanted:
        """As a model takes them, whose sample has this shape."""
        known = tuple(size for size in input_shape if size is not None)
        full = known if len(known) == len(input_shape) else None
        channels = input_shape[-1]
        if len(input_shape) == 3 and channels not in (1, 3):
            color = "unchanged"
        else:
            color = "gray" if channels == 1 else "rgb"
        return cls(None if full is None else full[:-1], color, full, None, class_names, by=tuple(input_shape))


def read_source(path: Path, wanted: Wanted, share: float, seed: int) -> Source:
    """The data to train on, and the data held out: of their own if there are such, else a share.

    Raises:
        OSError, FileFormatError: a file is missing or broken.
        ValueError: the data is not usable.
        CommandError: it is none of the kinds that are known.
    """
    try:
        return _source(path, wanted, share, seed)
    except NothingLeftError as error:
        raise CommandError(
            f"--data {path}: with --validation {share:g} nothing is left for {error.side}: there are "
            f"{error.samples}. Choose another share; with 0 all samples are trained on"
        ) from error


def _source(path: Path, wanted: Wanted, share: float, seed: int) -> Source:
    if path.is_dir():
        _refuse({"shape", "label_column"}, wanted, path, "a folder, whose classes are its subfolders")
        return _folder(path, wanted, share, seed)
    if not path.exists():
        raise FileNotFoundError(f"--data {path}: there is no such file or folder")
    no_pipe(path, "--data ")
    if path.suffix.lower() in TABLES:
        _refuse({"size", "color"}, wanted, path, "no folder of files; --shape H,W,C is for its samples")
    if path.suffix.lower() == ".npz":
        _refuse({"label_column"}, wanted, path, "no .csv file; its labels are the array y")
        return _archive(path, wanted, share, seed)
    if path.suffix.lower() in TABLES:
        return _parted(
            *_table(path, wanted), replace(wanted, shape=None, given=frozenset()), share, seed, path
        )
    raise CommandError(f"--data {path}: expected a folder, a .csv or an .npz file")


def read_part(path: Path, wanted: Wanted, share: float, seed: int) -> Part:
    """The samples to evaluate on: those held out, or all of them if `share` is 0 and none are."""
    source = read_source(path, wanted, share, seed)
    return source.train if source.held_out is None else source.held_out


def not_for(model: TrainableModel, file: Path, kinds: Sequence[str]) -> CommandError:
    """The error of a file of which a model has no use, with the kinds of which it has one."""
    listed = ", ".join(kinds[:-1]) + (" and " if len(kinds) > 1 else "") + kinds[-1]
    return CommandError(
        f"{file}: not a file of samples for a model with inputs of shape {model.input_shape}; it takes "
        f"{listed}"
    )


def samples_of(file: Path, wanted: Wanted, model: TrainableModel) -> NDArray[Any]:
    """The samples of an .npz or .csv file, with or without labels, as a model takes them.

    Raises:
        OSError: there is no such file.
        CommandError: its samples are none for the model.
    """
    if not file.exists():
        raise FileNotFoundError(f"{file}: there is no such file")
    expected = tuple(model.input_shape[1:])
    if file.suffix.lower() == ".npz":
        with _opened(file) as archive:
            known = [x for x, _ in (*_KEYS, *_TEST)]
            name = next((name for name in known if name in archive.files), None)
            if name is None:
                keys = ", ".join(archive.files) or "none"
                raise CommandError(f"{file}: expected an array x of samples; the file has {keys}")
            x = _array(archive, name, file)
    else:
        if wanted.shape is None:
            raise CommandError(
                f"{file}: the model takes samples of shape {expected}, and a line says no sizes: write an "
                ".npz file with an array x"
            )
        x = _rows(file, wanted)
    if x.ndim and not len(x):
        raise CommandError(f"{file}: no samples; received an array of shape {x.shape}")
    x = _shaped(x, wanted, f"{file}: ")
    if not shapes_agree(expected, x.shape[1:]):
        raise CommandError(
            f"{file}: expected samples of shape {expected}, received an array of shape {x.shape}"
        )
    _check_values(x, f"{file}: ")
    return check_bytes(model, x, file)


def check_bytes(model: TrainableModel, x: NDArray[Any], where: object) -> NDArray[Any]:
    """`x`, unless it has more bits than the bytes that the model was trained on, as `train` arranges it.

    Raises:
        CommandError: its values are beyond those of bytes, and the first layer divides by what bytes reach.
    """
    first = next((layer for layer in model.layers if not isinstance(layer, Input)), None)
    scale = first.scale if isinstance(first, Rescaling) else None
    if isinstance(scale, float) and 1 / 256 <= scale <= 1 / 127 and x.dtype != np.uint8 and x.max() > _BYTE:
        raise CommandError(
            f"{where}: values up to {x.max():g} ({x.dtype}), and the model takes bytes, from 0 to {_BYTE}: "
            f"its first layer multiplies by {scale:.3g}. Bring the samples to 8 bits"
        )
    return x


def _rows(file: Path, wanted: Wanted) -> NDArray[Any]:
    """The samples of a .csv file; a column beyond their values is that of the labels."""
    assert wanted.shape is not None
    delimiter, names = _head(file)
    values = math.prod(wanted.shape)
    if len(names) == values and "label" in names:
        raise CommandError(
            f"{file}: a column of labels and {values - 1} values; the model takes samples of shape "
            f"{wanted.shape}, {values} values"
        )
    column = None if len(names) == values else _label_column(names, wanted)
    with explained():
        found = data.csv_images(file, wanted.shape, column, delimiter=delimiter)
    return found.x if isinstance(found, Samples) else found


def _refuse(options: set[str], wanted: Wanted, path: Path, what: str) -> None:
    """Says which of these options, if the user gave it, has no use for the data."""
    for option in sorted(options & wanted.given):
        raise CommandError(f"--{option.replace('_', '-')} has no use: --data {path} is {what}")


def _folder(path: Path, wanted: Wanted, share: float, seed: int) -> Source:
    folders = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not is_hidden(entry.name))
    if not folders:
        if not any(path.glob("t*-images-idx3-ubyte*")):
            files = sum(not is_hidden(entry.name) for entry in path.iterdir())
            raise CommandError(
                f"--data {path}: expected a subfolder of images or sounds for each class, or the four files "
                f"of MNIST. Received a folder of {files} files and no subfolder"
            )
        (x, y), (xt, yt) = datasets.mnist(path)
        names = [str(number) for number in range(int(y.max()) + 1)]
        where = f"--data {path}: "
        own, other = (_numbered(*pair, names, wanted, where) for pair in ((x, y), (xt, yt)))
        return Source(own, other, names, is_mnist=True)
    test = next((name for name in _HELD_OUT if name in folders), None)
    if "train" in folders and test is not None and set(folders) <= {"train", *_HELD_OUT}:
        train, names = _files(path / "train", wanted, None)
        sounds = files_below(path / "train", SOUNDS)
        like = (rate_of(sounds[0]), sounds[0]) if sounds and train.sample.ndim == 2 else None
        held_out, _ = _files(path / test, replace(wanted, class_names=names, rate=like), None)
        return Source(train, held_out, names)
    if not share:
        train, names = _files(path, wanted, None)
        return Source(train, None, names)
    train, names = _files(path, wanted, ("train", share, seed))
    held_out, _ = _files(path, wanted, ("validation", share, seed))
    return Source(train, held_out, names)


def _files(path: Path, wanted: Wanted, split: tuple[str, float, int] | None) -> tuple[Part, list[str]]:
    """Images or sounds, whichever there are."""
    options: dict[str, Any] = {"split": split, "class_names": wanted.class_names}
    batches = {"batch_size": wanted.batch_size}
    found: Any
    rank = None if wanted.by is None else len(wanted.by) - 1
    images, sounds = files_below(path, IMAGES), files_below(path, SOUNDS)
    if images and sounds and rank is None:
        raise CommandError(
            f"--data {path} holds images ({images[0]}) and sounds ({sounds[0]}): a model takes one of "
            "both, so move the others out"
        )
    if images and rank in (None, 2):
        read: Any = data.image_folder
        arguments: tuple[Any, ...] = (path, _image_size(wanted.size), wanted.color)
    elif sounds:
        if wanted.by is not None and (rank != 1 or wanted.size is None):
            takes = "sounds of any length: it is applied in Python" if rank == 1 else "no sounds"
            raise CommandError(
                f"--data {path} holds sounds ({sounds[0].name}), but the model, with samples of shape "
                f"{wanted.by}, takes {takes}"
            )
        if wanted.size is None or len(wanted.size) != 1:
            raise CommandError(
                f"--data {path} holds sounds ({sounds[0].name}): give their length in samples, as --size 8000"
            )
        read, arguments = data.audio_folder, (path, wanted.rate and wanted.rate[0], wanted.size[0])
    else:
        kinds = {None: "images or sounds", 1: "sounds", 2: "images"}.get(rank, "files")
        model = "" if wanted.by is None else f", as the model takes with samples of shape {wanted.by}"
        raise CommandError(f"--data {path}: there are no {kinds} in its subfolders{model}")
    try:
        found = read(*arguments, **options, **batches)
        bytes_ = sum(part.nbytes / len(part) for part in found[0][:1]) * found.samples
        if bytes_ <= _MOST_BYTES:
            found = read(*arguments, **options)
    except ShapeError as error:
        hint = ""
        if wanted.by is not None and not wanted.size:
            hint = f" The model, with samples of shape {wanted.by}, has none: bring the files to one."
        elif not wanted.size:
            hint = " On the command line that is --size 64,64."
        raise CommandError(f"{error}{hint}") from error
    names = list(found.class_names or [])
    if wanted.class_names is None and wanted.outputs not in (None, len(names)):
        raise CommandError(
            f"--data {path} has {len(names)} folders, and the model, which has no names for its classes, "
            f"{wanted.outputs} of them. Give it names: model.class_names = [...]"
        )
    return Part(found.x if isinstance(found, Samples) else found, np.asarray(found.y)), names


def _image_size(size: tuple[int, ...] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    if len(size) not in (1, 2):
        raise CommandError(f"--size {','.join(map(str, size))}: expected one number, or height and width")
    return size[0], size[-1]


def _archive(path: Path, wanted: Wanted, share: float, seed: int) -> Source:
    """Arrays in an .npz file, by the names that such files use."""
    with _opened(path, "--data ") as file:
        pairs = {
            kind: _found(file, names, path)
            for kind, names in (("all", _KEYS), ("train", _TRAIN), ("test", _TEST))
        }
        keys = ", ".join(file.files)
    if pairs["train"] is not None and pairs["test"] is not None:
        (x, y), (xt, yt) = pairs["train"], pairs["test"]
        names = _names(y, wanted)
        train = _numbered(x, y, names, wanted, f"--data {path}, to train on: ")
        test = _numbered(xt, yt, names, wanted, f"--data {path}, to test on: ")
        if train.x.shape[1:] != test.x.shape[1:]:
            raise CommandError(
                f"--data {path}: samples to train on have shape {train.x.shape[1:]}, and those to test on "
                f"{test.x.shape[1:]}: they must be alike"
            )
        return Source(train, test, names)
    pair = pairs["all"] or pairs["train"]
    if pair is None:
        raise CommandError(f"--data {path}: expected arrays x and y; the file has {keys or 'none'}")
    return _parted(*pair, wanted, share, seed, path)


def _opened(path: Path, option: str = "") -> Any:
    if zipfile.is_zipfile(path):
        with suppress(ValueError, zipfile.BadZipFile, EOFError):  # an archive behind other bytes
            return np.load(path)
    raise CommandError(f"{option}{path}: not an .npz file, as numpy.savez writes it, or a damaged one")


def _found(
    file: Any, names: Sequence[tuple[str, str]], path: Path
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    for x, y in names:
        if x in file.files and y in file.files:
            return _array(file, x, f"--data {path}"), _array(file, y, f"--data {path}")
    return None


def _array(file: Any, name: str, where: object) -> NDArray[Any]:
    return by_numpy(f"{where}: array {name!r}", lambda: file[name])


def _table(path: Path, wanted: Wanted) -> tuple[NDArray[Any], NDArray[Any]]:
    """Images of a .csv file."""
    delimiter, names = _head(path)
    column = _label_column(names, wanted)
    shape = wanted.shape or _guessed(len(names) - 1, wanted, path)
    found = data.csv_images(path, shape, column, delimiter=delimiter)
    assert isinstance(found, Samples)
    labels = found.y if found.class_names is None else np.array(found.class_names)[found.y]
    return found.x, labels


def _head(path: Path) -> tuple[str, list[str]]:
    """What separates values, and those of the first line that is not empty."""
    with path.open(encoding="utf-8-sig") as file:
        try:
            head = next((line for line in file if line.strip("\r\n")), "").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise CommandError(f"{path}: not a text file of values: {error}. Save it as UTF-8") from error
    if not head:
        raise CommandError(f"{path}: empty")
    # Where commas are decimal, spreadsheets put semicolons between values, and there may be as many of both.
    usual = ("\t", ";", ",") if path.suffix.lower() == ".tsv" else (";", ",", "\t")
    delimiter = max(usual, key=head.count) if any(map(head.count, usual)) else ","
    return delimiter, [name.strip().strip('"') for name in head.split(delimiter)]


def _label_column(names: list[str], wanted: Wanted) -> str | int:
    """The column of the labels: as asked for, else "label", else the first."""
    asked = wanted.label_column
    if asked is None:
        return "label" if "label" in names else 0
    return int(asked) if asked.lstrip("-").isdigit() else asked


def _guessed(values: int, wanted: Wanted, path: Path) -> tuple[int, ...]:
    """The shape of a square image of this many values."""
    for channels in (1, 3):
        side = math.isqrt(values // channels)
        if side and side * side * channels == values:
            return side, side, channels
    what = "give --shape H,W,C" if wanted.by is None else "write an .npz file with arrays x and y"
    raise CommandError(f"--data {path}: {values} values in a line are no square image: {what}")


def _parted(x: NDArray[Any], y: NDArray[Any], wanted: Wanted, share: float, seed: int, path: Path) -> Source:
    """Arrays with a share of each class held out."""
    names = _names(y, wanted)
    part = _numbered(x, y, names, wanted, f"--data {path}: ")
    if not share:
        return Source(part, None, names)
    rows = [
        chosen([Path()] * len(part), part.y, (side, share, seed), None) for side in ("train", "validation")
    ]
    train, held_out = (Part(part.x[each], part.y[each]) for each in rows)
    return Source(train, held_out, names)


def _names(y: NDArray[Any], wanted: Wanted) -> list[str]:
    """The classes by name, in the order of their numbers."""
    if wanted.class_names is not None:
        return wanted.class_names
    if wanted.outputs is not None:
        return [str(number) for number in range(wanted.outputs)]
    return [str(label) for label in np.unique(_whole(y))]


def _whole(y: NDArray[Any]) -> NDArray[Any]:
    """Labels as integers where they are whole numbers of another type, and not beyond 64 bits."""
    if y.dtype.kind == "f" and np.array_equal(y, np.floor(y)) and (abs(y) < 2.0**63).all():
        return y.astype(np.int64)
    return y


def _check_values(x: NDArray[Any], where: str) -> None:
    if x.dtype.kind not in "biuf":
        raise CommandError(f"{where}samples are real numbers; received an array of type {x.dtype}")
    if x.dtype.kind == "f":
        wrong = np.flatnonzero(~np.isfinite(x.reshape(len(x), -1)).all(axis=1))
        if len(wrong):
            raise CommandError(
                f"{where}{len(wrong)} of {len(x)} samples hold NaN or infinity, the first is number "
                f"{wrong[0]}, counted from 0: fill or drop them"
            )


def _numbered(x: NDArray[Any], y: NDArray[Any], names: list[str], wanted: Wanted, where: str) -> Part:
    """Samples with their axis of channels, and labels as numbers of the names; `where` begins messages."""
    if not x.ndim or not y.ndim or not x.size or not y.size:
        raise CommandError(f"{where}no samples; received arrays of shapes {x.shape} and {y.shape}")
    labels = _whole(y).reshape(len(y), -1)
    if labels.shape[1] != 1 or len(x) != len(y):
        one_hot = y.ndim == 2 and len(x) == len(y)
        raise CommandError(
            f"{where}expected a label for each of the {len(x)} samples; received labels of shape {y.shape}"
            + (". One-hot labels become numbers with y.argmax(axis=1)" if one_hot else "")
        )
    if labels.dtype.kind not in "biuUS":
        of_floats = labels.dtype.kind == "f"
        wrong = [n for n, label in enumerate(labels[:, 0]) if not (of_floats and _is_class(label))]
        raise CommandError(
            f"{where}labels are classes, numbers or names; received {labels[wrong[0], 0]} for sample "
            f"{wrong[0]}"
        )
    _check_values(x, where)
    numbers = {name: number for number, name in enumerate(names)}
    if labels.dtype.kind == "b" and "True" not in numbers:
        labels = labels.astype(np.int64)
    found, inverse = np.unique(labels[:, 0], return_inverse=True)
    if unknown := [str(label) for label in found if str(label) not in numbers]:
        more = ", ..." if len(names) > 10 else ""
        raise CommandError(
            f"{where}label {unknown[0]!r} is none of the classes {', '.join(names[:10])}{more}"
        )
    x = _shaped(x, wanted, where)
    return Part(x, np.array([numbers[str(label)] for label in found], np.int64)[inverse])


def _fits(own: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether samples have this shape but for axes of 1, or are rows of as many values.

    Any other shape of as many values has its axes in another order, or is no such thing at all.
    """
    full = [size for size in own if size != 1]
    return math.prod(own) == math.prod(shape) and (
        len(full) <= 1 or full == [size for size in shape if size != 1]
    )


def _is_class(label: Any) -> bool:
    return bool(label.is_integer() and abs(label) < 2.0**63)


def _shaped(x: NDArray[Any], wanted: Wanted, where: str) -> NDArray[Any]:
    """Samples with their axis of channels."""
    shape = wanted.shape
    if shape is not None and "shape" in wanted.given:
        if not _fits(x.shape[1:], shape):
            asked = ",".join(map(str, shape))
            raise CommandError(
                f"{where}samples have shape {x.shape[1:]}, which --shape {asked} does not fit: it is for "
                "flat rows of as many values"
            )
        if len(shape) == 1 or (len(shape) == 2 and x.shape[1:] != shape):
            shape = (*shape, 1)  # as in a .csv file: one channel
    if shape is not None and _fits(x.shape[1:], shape):
        return x.reshape(len(x), *shape)
    if x.ndim == 2 or (x.ndim in (3, 4) and x.dtype == np.uint8 and x.shape[-1] > 4):
        return x[..., np.newaxis]  # gray values of series, images and volumes
    return x
