"""What a file of a model says about itself, without the model being made.

It is one safetensors file. Its metadata holds JSON: the format version, the model (layers and their
configuration), the names of its classes, the compile arguments, the progress of training and its history, and
where a run of `fit` was within which it was written. Its tensors are ``model/<position>_<layer>/<weight>``,
``optimizer/<slot>`` and ``run/<number>``, arrays that callbacks keep.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from gridnn import _engine, _validation
from gridnn._encoding import decode
from gridnn._texts import printable
from gridnn.errors import FileFormatError
from gridnn.model.resuming import Record

__all__ = [
    "Backup",
    "Metadata",
    "Path",
    "Tensors",
    "blaming",
    "check_ending",
    "check_header",
    "dumps",
    "header",
    "loads",
    "progress_of",
    "read_backup",
    "read_progress",
    "read_record",
    "record_of",
    "run_arrays",
]

FORMAT = "gridnn"
VERSION = 1
RUN = "run/"
"""What the tensors begin with that belong to neither the model nor its optimizer."""

Path = str | os.PathLike[str]
Tensors = dict[str, NDArray[Any]]
Metadata = dict[str, str]

_FOREIGN = {
    ".keras": "Keras",
    ".h5": "Keras",
    ".hdf5": "Keras",
    ".onnx": "ONNX",
    ".pt": "PyTorch",
    ".pth": "PyTorch",
    ".ckpt": "TensorFlow or PyTorch",
    ".tflite": "TensorFlow Lite",
    ".pb": "TensorFlow",
    ".pkl": "pickle",
    ".pickle": "pickle",
    ".npz": "NumPy",
    ".npy": "NumPy",
}
"""Endings that promise a format which is not written here."""


def is_weights_of_keras(path: Path) -> bool:
    """Whether a name is that of a file of weights for Keras."""
    return os.fsdecode(path).lower().endswith(".weights.h5")


def check_ending(path: Path) -> None:
    """Refuses names that promise a file of another program.

    Raises:
        ValueError: the ending is one of those.
    """
    name = os.fsdecode(path)
    ending = os.path.splitext(name)[1].lower()
    if ending in _FOREIGN:
        raise ValueError(
            f"The file would be called {name!r}, as one of {_FOREIGN[ending]}, but gridnn writes a format of "
            "its own (safetensors with a description). Use the ending .gridnn or .safetensors. For Keras, "
            "model.save writes .keras files, and model.save_weights .weights.h5."
        )


def read_progress(path: Path) -> tuple[int, int | None]:
    """Epochs completed, and the seed of the last `fit`, of the model in a file."""
    _, metadata = _engine.load_tensors(path)
    with blaming(path):
        check_header(metadata)
        return progress_of(loads(metadata["progress"]))


@dataclass(frozen=True)
class Backup:
    """A file as `restore` takes it."""

    path: Path
    tensors: Tensors
    metadata: Metadata
    epoch: int
    """Epochs completed."""
    seed: int | None
    """Seed of the run."""
    record: Record | None
    """Where in the run the file was written; None for files of versions that did not keep it."""


def read_backup(path: Path) -> Backup:
    """Reads a model that is to be put into another one; see `restore`."""
    tensors, metadata = _engine.load_tensors(path)
    with blaming(path):
        check_header(metadata)
        epoch, seed = progress_of(loads(metadata["progress"]))
        return Backup(path, tensors, metadata, epoch, seed, record_of(tensors, metadata))


def read_record(path: Path) -> Record | None:
    """Where in a run of `fit` a file was written; None if it was written elsewhere."""
    tensors, metadata = _engine.load_tensors(path)
    with blaming(path):
        check_header(metadata)
        return record_of(tensors, metadata)


def record_of(tensors: Tensors, metadata: Metadata) -> Record | None:
    """Where in a run a file was written, checked."""
    if "run" not in metadata:
        return None
    return Record.of(decode(loads(metadata["run"]), run_arrays(tensors)))


def run_arrays(tensors: Tensors) -> list[NDArray[Any]]:
    """The arrays of the states of callbacks and of the history, by number."""
    count = sum(key.startswith(RUN) for key in tensors)
    return [tensors[f"{RUN}{number}"] for number in range(count)]


def progress_of(progress: Mapping[str, Any]) -> tuple[int, int | None]:
    """Epochs completed and seed, checked."""
    epoch = _validation.non_negative_integer(progress["epoch"], "epoch")
    return epoch, _validation.seed(progress["seed"])


def header() -> Metadata:
    """What every file says first."""
    return {"format": FORMAT, "format_version": str(VERSION)}


def check_header(metadata: Metadata) -> None:
    """Raises FileFormatError if a file is none of ours, or of a version to come."""
    if metadata.get("format") != FORMAT:
        raise FileFormatError(
            "not a file of gridnn: its metadata does not say so. Weights of PyTorch are loaded with "
            'load_weights(path, source="pytorch")'
        )
    version = metadata.get("format_version", "")
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        raise FileFormatError(f"format version {version!r} is not a number")
    if int(version) > VERSION:
        raise FileFormatError(
            f"format version {version}; this version of gridnn reads up to {VERSION}: update it"
        )


def dumps(value: Any) -> str:
    """JSON without the NaN and Infinity that Python adds to it."""
    return json.dumps(value, allow_nan=False)


def loads(text: str) -> Any:
    """The object that `dumps` wrote."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    value = json.loads(text, parse_constant=refuse)
    if not isinstance(value, dict):
        raise TypeError("the JSON is not an object")
    return value


@contextmanager
def blaming(path: Path) -> Iterator[None]:
    """Turns whatever the contents of a file provoke into a FileFormatError that names the file."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) and error.args else str(error)
        raise FileFormatError(f"{os.fsdecode(path)}: {printable(reason)}") from error
