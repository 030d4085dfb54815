"""Models as files, and as what pickle and deepcopy carry.

A file is one safetensors file. Its metadata holds JSON: the format version, the model (layers and their
configuration), the compile arguments, the progress of training and its history, and where a run of `fit` was
within which it was written; its tensors are ``model/<position>_<layer>/<weight>``, ``optimizer/<slot>`` and
``run/<number>``, arrays that callbacks keep. Reading one executes nothing: layers are
looked up by name and get their arguments through the same checks as a user's, the weights of a description
are compared with the tensors before memory is taken for them, and a model is handed out only when everything
in the file has fitted.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from gridnn import _network, _validation
from gridnn._config import own_classes
from gridnn.callbacks.base import History
from gridnn.errors import FileFormatError
from gridnn.initializers import undrawn
from gridnn.layers import base, parts
from gridnn.model import resuming
from gridnn.model.compilation import Compilation
from gridnn.model.resuming import Record

if TYPE_CHECKING:
    from gridnn._network import Network
    from gridnn.model.sequential import Sequential

__all__ = ["load_model", "load_weights", "save", "save_weights"]

FORMAT = "gridnn"
VERSION = 1
_RUN = "run/"
"""What the tensors begin with that belong to neither the model nor its optimizer."""

Path = str | os.PathLike[str]
Tensors = dict[str, NDArray[Any]]
Metadata = dict[str, str]
Place = tuple[int, str]
"""Position of a layer in the description, and the name of one of its weights."""


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

_MOST_BYTES = 2**46
"""Bytes of one sample at the output of a layer, beyond which a description is not believed."""


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
            "its own (safetensors with a description). Use the ending .gridnn or .safetensors."
        )


def save(model: Sequential, path: Path) -> None:
    """Writes model, weights, compile arguments, optimizer state and progress; see `Sequential.save`."""
    check_ending(path)
    _network.save_tensors(path, *pack(model, within_fit=True))


def load_model(path: Path, custom_objects: Mapping[str, type] | None = None) -> Sequential:
    """Reads a model that `Sequential.save` wrote; training can continue to the byte.

    A file holds no code. For layers, losses and schedules that were written in Python it has the name of the
    class and the arguments of its constructor. The class is looked up in `custom_objects`, then among those
    of this name that the program has defined or imported, of which the last one defined is taken.

    Args:
        path: the file.
        custom_objects: name -> class, for classes written in Python.

    Raises:
        FileFormatError: the file is damaged, of another format, or written by a newer version.
        OSError: the file cannot be read.
        TypeError: `custom_objects` does not map names to classes.
    """
    tensors, metadata = _network.load_tensors(path)
    with own_classes(custom_objects), _blaming(path):
        return unpack(tensors, metadata)


def save_weights(model: Sequential, path: Path) -> None:
    """Writes the weights alone; see `Sequential.save_weights`."""
    check_ending(path)
    model._built_network()
    with model._lock:
        _network.save_tensors(path, _weights(model), _header())


def load_weights(model: Sequential, path: Path) -> None:
    """Sets the weights of a built model from a file; see `Sequential.load_weights`."""
    network = model._built_network()
    tensors, metadata = _network.load_tensors(path)
    with _blaming(path):
        _check_header(metadata)
        # By position, not by name: models of the same layers may name them differently.
        by_place = {_place(key): tensor for key, tensor in tensors.items() if key.startswith("model/")}
        _check_shapes({(info.layer, info.name): info.shape for info in network.weights}, by_place)
        _set_weights(network, by_place)


def read_progress(path: Path) -> tuple[int, int | None]:
    """Epochs completed, and the seed of the last `fit`, of the model in a file."""
    _, metadata = _network.load_tensors(path)
    with _blaming(path):
        _check_header(metadata)
        return _progress(_loads(metadata["progress"]))


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
    tensors, metadata = _network.load_tensors(path)
    with _blaming(path):
        _check_header(metadata)
        epoch, seed = _progress(_loads(metadata["progress"]))
        return Backup(path, tensors, metadata, epoch, seed, _record(tensors, metadata))


def read_record(path: Path) -> Record | None:
    """Where in a run of `fit` a file was written; None if it was written elsewhere."""
    tensors, metadata = _network.load_tensors(path)
    with _blaming(path):
        _check_header(metadata)
        return _record(tensors, metadata)


def restore(model: Sequential, backup: Backup) -> None:
    """Puts weights, optimizer state, learning rate and progress of a backup into a model.

    The model is compiled and has seen its data.

    Raises:
        FileFormatError: the file holds another model, or one with another optimizer.
    """
    network = model._built_network()
    with _blaming(backup.path), model._lock:
        saved = unpack(backup.tensors, backup.metadata)
        theirs, ours = saved._compiled().get_config(), model._compiled().get_config()
        if theirs["optimizer"]["class_name"] != ours["optimizer"]["class_name"]:
            raise ValueError(f"the optimizer was {theirs['optimizer']['class_name']}")
        state, weights = saved._built_network(), saved.get_weights()
        network.set_optimizer_state(state.optimizer_state(), state.iterations)
        model.set_weights(weights)
        if not callable(model.optimizer.learning_rate):  # a function is the program's, and goes on
            model.optimizer.learning_rate = saved.optimizer.learning_rate
        model._progress = saved._progress


def pack(model: Sequential, *, within_fit: bool = False) -> tuple[Tensors, Metadata]:
    """Everything about a model as tensors and strings.

    Args:
        model: the model.
        within_fit: if `fit` is at work, also where it is.
    """
    with model._lock:
        metadata = _header()
        metadata["model"] = _dumps({"class_name": type(model).__name__, "config": model.get_config()})
        tensors: Tensors = {}
        iterations = 0
        if model.built:
            tensors.update(_weights(model))
        compilation = model._compilation
        if compilation is not None:
            metadata["compile"] = _dumps(compilation.get_config())
            if compilation.in_engine:
                network = model._built_network()
                iterations = network.iterations
                state = network.optimizer_state()
                tensors.update({f"optimizer/{slot}": values for slot, values in state.items()})
        progress = model._progress_now()
        metadata["progress"] = _dumps(
            {"iterations": iterations, "epoch": progress.epoch, "seed": progress.seed}
        )
        arrays: list[NDArray[Any]] = []
        if model.history is not None:
            metadata["history"] = _dumps(resuming.encode(_history(model), arrays))
        run = model._run
        # Another thread's view of a run would be of the midst of a step.
        if within_fit and run is not None and run.thread == threading.get_ident():
            metadata["run"] = _dumps(resuming.encode(run.record(), arrays))
        elif run is None and model._record is not None:  # a copy of the file that the model comes from
            metadata["run"] = _dumps(resuming.encode(model._record.value, arrays))
        tensors.update({f"{_RUN}{number}": array for number, array in enumerate(arrays)})
        return tensors, metadata


def copied(tensors: Tensors, metadata: Metadata, classes: Mapping[str, type]) -> Sequential:
    """The model that `pack` was given, with the user's classes at hand: what pickle and deepcopy call."""
    with own_classes(classes):
        return unpack(tensors, metadata)


def unpack(tensors: Tensors, metadata: Metadata) -> Sequential:
    """The model that `pack` was given; whatever does not fit raises ValueError, TypeError or KeyError."""
    from gridnn.model.sequential import Sequential

    _check_header(metadata)
    description = _loads(metadata["model"])
    if description["class_name"] != Sequential.__name__:
        raise ValueError(f"unknown kind of model {description['class_name']!r}")
    weights = {_place(key): tensor for key, tensor in tensors.items() if key.startswith("model/")}
    slots = {
        key.removeprefix("optimizer/"): tensor
        for key, tensor in tensors.items()
        if key.startswith("optimizer/")
    }
    arrays = _run_arrays(tensors)
    if len(weights) + len(slots) + len(arrays) != len(tensors):
        raise ValueError("tensors of unknown purpose, or twice the same")
    _check_shapes(_expected_shapes(description["config"]), weights)
    with undrawn():  # every weight follows
        model = Sequential.from_config(description["config"])
    if model.built:
        network = model._built_network()
        for position, shape in enumerate(network.output_shapes):
            size = math.prod(axis or 1 for axis in shape) * network.dtype.itemsize
            if size > _MOST_BYTES:
                raise ValueError(
                    f"the layer at position {position} makes {size} bytes of one sample: no machine has them"
                )
        _set_weights(network, weights)
    progress = _loads(metadata["progress"])
    iterations = _validation.non_negative_integer(progress["iterations"], "iterations")
    if "compile" in metadata:
        model._compilation = Compilation.from_config(_loads(metadata["compile"]))
        objective = model._compilation.objective
        if objective is not None:
            model._settle(objective)
            model._built_network().set_optimizer_state(slots, iterations)
            slots = {}
    if slots:
        raise ValueError("optimizer state without an optimizer")
    model._record_progress(*_progress(progress))
    model._record = _record(tensors, metadata)
    if "history" in metadata:
        history = History()
        history.restore(resuming.decode(_loads(metadata["history"]), arrays))
        history.set_model(model)
        model.history = history
    return model


def _history(model: Sequential) -> dict[str, Any]:
    """What the history of the model holds, with the epoch whose end it has not heard of yet."""
    assert model.history is not None
    history = History()
    history.restore(model.history.state())
    if model._run is not None:
        model._run.catch_up(model.history, history)
    return history.state()


def _record(tensors: Tensors, metadata: Metadata) -> Record | None:
    """Where in a run a file was written, checked."""
    if "run" not in metadata:
        return None
    return Record.of(resuming.decode(_loads(metadata["run"]), _run_arrays(tensors)))


def _run_arrays(tensors: Tensors) -> list[NDArray[Any]]:
    """The arrays of the states of callbacks and of the history, by number."""
    count = sum(key.startswith(_RUN) for key in tensors)
    return [tensors[f"{_RUN}{number}"] for number in range(count)]


def _progress(progress: Mapping[str, Any]) -> tuple[int, int | None]:
    """Epochs completed and seed, checked."""
    epoch = _validation.non_negative_integer(progress["epoch"], "epoch")
    return epoch, _validation.seed(progress["seed"])


def _weights(model: Sequential) -> Tensors:
    """Every weight under its name in files."""
    network = model._built_network()
    names = ["input", *(layer.name for layer in model._family())]
    keys = [f"model/{info.layer}_{names[info.layer]}/{info.name}" for info in network.weights]
    return dict(zip(keys, network.get_weights(), strict=True))


def _place(key: str) -> Place:
    """``model/3_dense/kernel`` -> ``(3, "kernel")``."""
    parts = key.split("/")
    position = parts[1].split("_", 1)[0] if len(parts) == 3 else ""
    if not (position.isascii() and position.isdigit() and len(position) < 10):
        raise ValueError(f"tensor {key!r} is not named model/<position>_<layer>/<weight>")
    return int(position), parts[2]


def _expected_shapes(config: Mapping[str, Any]) -> dict[Place, tuple[int, ...]]:
    """The weights that a model of this configuration is going to have; none while its input is not known."""
    stack = [base.REGISTRY.deserialize(layer) for layer in config["layers"]]
    if not stack or not isinstance(stack[0], parts.Input):
        if config["build_input_shape"] is None:
            return {}
        stack.insert(0, parts.Input(config["build_input_shape"]))
    return _network.weight_shapes([layer.engine_description() for layer in stack], config["dtype"])


def _check_shapes(expected: Mapping[Place, tuple[int, ...]], tensors: Mapping[Place, NDArray[Any]]) -> None:
    """Raises ValueError if a weight is missing, superfluous or of another shape."""
    if expected.keys() != tensors.keys():
        missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
        raise ValueError(f"the file holds other weights than the model: missing {missing}, not known {extra}")
    for place, shape in expected.items():
        if tensors[place].shape != shape:
            raise ValueError(
                f"weight {place} of the model has shape {shape}, in the file it is {tensors[place].shape}"
            )


def _set_weights(network: Network, tensors: Mapping[Place, NDArray[Any]]) -> None:
    """Sets all weights, or none if one is of another type; places and shapes are known to fit."""
    values = []  # no copies: the arrays are contiguous
    for index, info in enumerate(network.weights):
        tensor = tensors[info.layer, info.name]
        if tensor.dtype != network.dtype:
            raise ValueError(
                f"weight {(info.layer, info.name)} is {tensor.dtype}, the model computes in {network.dtype}"
            )
        values.append(network.as_weight(index, tensor, f"layer at position {info.layer}"))
    # One by one, as the engine copies what it checks; first the largest, for which there may be no memory.
    for index in sorted(range(len(values)), key=lambda index: -values[index].nbytes):
        network.set_weight(index, values[index])


def _header() -> Metadata:
    return {"format": FORMAT, "format_version": str(VERSION)}


def _check_header(metadata: Metadata) -> None:
    if metadata.get("format") != FORMAT:
        raise FileFormatError("not a file of gridnn: its metadata does not say so")
    version = metadata.get("format_version", "")
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        raise FileFormatError(f"format version {version!r} is not a number")
    if int(version) > VERSION:
        raise FileFormatError(
            f"format version {version}; this version of gridnn reads up to {VERSION}: update it"
        )


def _dumps(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _loads(text: str) -> Any:
    """JSON without the NaN and Infinity that Python adds to it."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    value = json.loads(text, parse_constant=refuse)
    if not isinstance(value, dict):
        raise TypeError("the JSON is not an object")
    return value


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Turns whatever the contents of a file provoke into a FileFormatError that names the file."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) and error.args else str(error)
        raise FileFormatError(f"{os.fsdecode(path)}: {reason}") from error
