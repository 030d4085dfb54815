"""What a file of Keras holds, read in a child process.

h5py reads it: it is the library that Keras itself writes with, so it knows every form, and writing takes it
anyway. (pyfive is pure Python, but asks for Python 3.11 and two more packages, and would be a second opinion
on the format.) Since the library underneath is C and may fall over files that mean harm, a process of its own
opens the file, with limits of memory and time. What it hands back is a safetensors file, and gets the checks
of one that comes from anywhere.
"""

from __future__ import annotations

import importlib.util
import json
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gridnn._texts import listed, printable
from gridnn.errors import FileFormatError
from gridnn.interop import safetensors

__all__ = ["Contents", "decoded", "is_keras", "read"]

_REFUSED = 3
"""Exit status of `hdf5_child` for a file that it does not read."""

_SECONDS = 60.0
_BYTES_PER_SECOND = 5e6

# Modules are found where this process finds them.
_BOOT = """
import json, runpy, sys
sys.path[:] = json.loads(sys.argv[1])
sys.argv[:] = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Contents:
    """What a file holds."""

    tensors: Mapping[str, NDArray[Any]]
    """Path within the file -> array."""
    attributes: Mapping[str, Mapping[str, Any]]
    """Path of a group -> name -> a text or a list of texts."""
    config: Mapping[str, Any] | None = None
    """The description of the model, if there is one."""
    version: str = ""
    """Version of Keras that wrote it; empty if the file does not say so."""
    groups: Mapping[str, list[str]] = field(default_factory=dict)
    """Path of a group -> the names of what is in it."""

    @property
    def legacy(self) -> bool:
        """Whether it is of the kind that goes by names of layers, as Keras 2 wrote it."""
        return "layer_names" in self.weights_attributes or "layer_names0" in self.weights_attributes

    @property
    def weights_path(self) -> str:
        """Group that holds the weights of a file of Keras 2's kind."""
        return "model_weights" if "model_weights" in self.attributes else ""

    @property
    def weights_attributes(self) -> Mapping[str, Any]:
        """Attributes of that group."""
        return self.attributes.get(self.weights_path, {})


def is_keras(path: str | os.PathLike[str]) -> bool:
    """Whether a file is of a kind that Keras writes: HDF5, or a zip archive with a description of a model.

    Raises:
        FileFormatError: it is another zip archive, or what is left of one; the message says what to do.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe waits for who writes to it
            return False
        with open(path, "rb") as file:
            start = file.read(8)
            if start[:4] not in (b"PK\3\4", b"PK\5\6"):
                return start == b"\x89HDF\r\n\x1a\n"
            with zipfile.ZipFile(file) as archive:
                names = archive.namelist()
    except (OSError, ValueError):
        return False
    except (zipfile.BadZipFile, NotImplementedError) as error:
        # Its table is at its end, so nobody can say what was in it.
        raise FileFormatError(
            f"{os.fsdecode(path)}: a zip archive that is truncated or damaged "
            f"({printable(str(error))}). Files of "
            "Keras (.keras) and PyTorch and .npz are such archives: copy or save it once more"
        ) from error
    if "config.json" not in names:
        raise FileFormatError(f"{os.fsdecode(path)}: {_other_archive(names)}")
    return True


def _other_archive(names: Sequence[str]) -> str:
    """What a zip archive is that is none of Keras, and what to do."""
    if any(name.endswith("data.pkl") for name in names):
        return (
            "a file of torch.save, which can execute anything and is not opened. In PyTorch: "
            'safetensors.torch.save_file(net.state_dict(), "net.safetensors"), and here '
            'load_weights("net.safetensors", source="pytorch")'
        )
    if names and all(name.endswith(".npy") for name in names):
        return (
            "arrays of NumPy (.npz), which say nothing about layers: make the model, and give "
            "it the arrays of "
            "numpy.load with set_weights"
        )
    return f"a zip archive that is no file of Keras, which has a config.json in it. It holds {listed(names)}"


def read(path: str | os.PathLike[str]) -> Contents:
    """The contents of a file, in a process of its own.

    Raises:
        FileFormatError: the file is damaged, truncated, of another format, or means harm.
        ImportError: h5py is not installed.
        OSError: the file cannot be read.
    """
    if importlib.util.find_spec("h5py") is None:
        raise ImportError('Files of Keras are read with h5py: pip install "gridnn[keras]"')
    name = os.fsdecode(path)
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise FileFormatError(f"{name}: not a regular file")
    size = found.st_size
    child = str(Path(__file__).with_name("hdf5_child.py"))
    command = [sys.executable, "-c", _BOOT, json.dumps(sys.path), child, os.path.abspath(name)]
    # One thread each reserves less address space; plugins of HDF5 are code that a file could ask for.
    settings = {"OPENBLAS_NUM_THREADS": "1", "HDF5_PLUGIN_PRELOAD": "::", "HDF5_USE_FILE_LOCKING": "FALSE"}
    environment = {**os.environ, **settings}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS + size / _BYTES_PER_SECOND,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FileFormatError(f"{name}: reading it does not end; it is damaged") from error
    if done.returncode == _REFUSED:
        reason = done.stderr.decode("utf-8", "replace").strip()
        raise FileFormatError(f"{name}: {printable(reason[-2000:])}")
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise FileFormatError(
            f"{name}: reading it ended with status {done.returncode}, as if it were damaged. "
            f"{printable(reason)}"
        )
    try:
        return decoded(done.stdout)
    except FileFormatError as error:
        raise FileFormatError(f"{name}: {printable(str(error))}") from error


def decoded(result: bytes) -> Contents:
    """The contents of a file, from what `hdf5_child` has made of it.

    Raises:
        FileFormatError: they do not agree with each other.
    """
    tensors, texts = safetensors.parse(result)
    attributes = _json(texts.get("attributes", ""), "attributes")
    tensors, attributes = _renamed(tensors, attributes)
    root, weights = attributes.get("", {}), attributes.get("model_weights", {})
    config = texts.get("config", root.get("model_config"))
    version = root.get("keras_version", weights.get("keras_version", ""))
    if "metadata" in texts:
        version = _json(texts["metadata"], "metadata.json").get("keras_version", "")
    return Contents(
        tensors,
        attributes,
        None if config is None else _json(config, "the description of the model"),
        version if isinstance(version, str) else "",
        _groups(tensors, attributes),
    )


def _renamed(
    tensors: dict[str, NDArray[Any]], attributes: dict[str, Any]
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Paths of the first files of this kind, of 2023, as they are called today."""
    if "_layer_checkpoint_dependencies" not in attributes:
        return tensors, attributes

    def renamed(path: str) -> str:
        return path.replace("_layer_checkpoint_dependencies", "layers")

    return (
        {renamed(path): array for path, array in tensors.items()},
        {renamed(path): value for path, value in attributes.items()},
    )


def _groups(tensors: Mapping[str, Any], attributes: Mapping[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in (*attributes, *tensors):
        above, _, name = path.rpartition("/")
        if name:
            found.setdefault(above, []).append(name)
    return found


def _json(text: object, what: str) -> dict[str, Any]:
    """An object of JSON.

    Raises:
        FileFormatError: it is something else.
    """
    try:
        value = json.loads(text) if isinstance(text, (str, bytes)) else None
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{what} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise FileFormatError(f"{what} is no JSON object")
    return value
