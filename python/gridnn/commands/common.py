"""What commands share: how they fail, and the options that several of them have."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gridnn as gn
from gridnn.model.trainable import TrainableModel

__all__ = [
    "CommandError",
    "above_zero",
    "add_data_options",
    "by_numpy",
    "explained",
    "given",
    "loaded",
    "natural",
    "no_pipe",
    "positive",
    "read_array",
    "seed",
    "share",
    "sizes",
    "writable",
]


class CommandError(Exception):
    """What a user can put right; the message is the line that is printed."""


@contextmanager
def explained(about: object = None) -> Iterator[None]:
    """Errors about data and arguments within are the user's to put right.

    Args:
        about: the file or option that errors are about, which they are to name; None if they do.
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        raise CommandError(str(error) if about is None else f"{about}: {error}") from error


def no_pipe(path: Path, about: str = "") -> Path:
    """A path that is read, unless it is a pipe or a device: these are read once, and files several times.

    Args:
        path: the path.
        about: what begins the message: the option.

    Raises:
        CommandError: it is one; to wait for whoever writes into it would say nothing.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise CommandError(f"{about}{path}: neither a file nor a folder; write what comes of it to a file")
    return path


def read_array(file: Path, *, left_on_disk: bool = False) -> NDArray[Any]:
    """The array in an .npy file.

    Args:
        file: the file.
        left_on_disk: whether parts are read as they are needed.

    Raises:
        OSError: it cannot be read.
        CommandError: it is no such file, damaged, or holds objects.
    """
    magic = np.lib.format.MAGIC_PREFIX
    with file.open("rb") as stream:
        if stream.read(len(magic)) != magic:
            raise CommandError(f"{file}: not an .npy file, as numpy.save writes it")
    return by_numpy(f"{file}:", lambda: np.load(file, mmap_mode="r" if left_on_disk else None))


def by_numpy(what: str, load: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """An array as NumPy loads it; `what` begins the message if it does not."""
    try:
        return load()
    except MemoryError as error:
        raise CommandError(f"{what} cannot be read: {error}") from error
    except Exception as error:  # of a damaged file anything, as in `gridnn.data._foreign`
        reason = str(error) or type(error).__name__
        raise CommandError(
            f"{what} cannot be read ({reason}). If it holds objects, write it with a type: "
            "x.astype('float32'). Labels that are words: labels.astype(str)."
        ) from error


def loaded(path: Path) -> TrainableModel:
    """The model in a file."""
    with explained():
        return gn.load_model(no_pipe(path))


def writable(path: Path, option: str) -> Path:
    """A path that a file can be written to, found out before the work that it is for.

    Raises:
        OSError: it cannot.
    """
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{option} {path}: there is no folder {path.absolute().parent}")
    if path.is_dir():
        raise IsADirectoryError(f"{option} {path}: expected a file, this is a folder")
    return path


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number; received {text!r}") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number; received {text!r}") from None


def natural(text: str) -> int:
    """An argument that is 0, 1, 2 and so on."""
    value = _whole(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected 0 or more; received {value}")
    return value


def seed(text: str) -> int:
    """An argument that random draws start from."""
    value = natural(text)
    if value >= 2**64:
        raise argparse.ArgumentTypeError(f"expected a number below 2**64; received {value}")
    return value


def positive(text: str) -> int:
    """An argument that is 1, 2 and so on."""
    value = _whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more; received {value}")
    return value


def above_zero(text: str) -> float:
    """An argument above 0."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0; received {value:g}")
    return value


def share(text: str) -> float:
    """An argument from 0 on and below 1."""
    value = _number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected 0 or more and less than 1; received {value:g}")
    return value


def sizes(text: str) -> tuple[int, ...]:
    """An argument of sizes: 64, 28,28 or 28x28x1."""
    return tuple(positive(part) for part in text.replace("x", ",").split(","))


def add_data_options(parser: argparse.ArgumentParser, *, shaped: bool) -> None:
    """Adds the options that say what data is.

    Args:
        parser: the parser of a command.
        shaped: whether there is no model yet that says what shape a sample has.
    """
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="PATH",
        help="a folder with a subfolder of images or sounds for each class, a .csv file with an image a "
        "line, or an .npz file with arrays x and y",
    )
    if shaped:
        parser.add_argument(
            "--size",
            type=sizes,
            metavar="H,W",
            help="size that the images of a folder are brought to; samples of a sound",
        )
        parser.add_argument(
            "--color", choices=("rgb", "gray"), help="channels of the images of a folder (rgb)"
        )
        parser.add_argument("--shape", type=sizes, metavar="H,W,C", help="of a sample in a .csv or .npz file")
    parser.add_argument(
        "--label-column", metavar="NAME", help='of a .csv file (default: "label", else the first)'
    )
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="seed of every random draw (%(default)s)"
    )


def given(arguments: argparse.Namespace) -> frozenset[str]:
    """Those of the options that say what data is which the user gave."""
    options = ("size", "color", "shape", "label_column")
    return frozenset(option for option in options if getattr(arguments, option, None) is not None)
