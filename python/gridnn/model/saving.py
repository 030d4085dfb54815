"""Models as files, and as what pickle and deepcopy carry; `file_format` says how a file is made.

Reading one executes nothing: layers are looked up by name and get their arguments through the same checks as
a user's, the weights of a description are compared with the tensors before memory is taken for them, and a
model is handed out only when everything in the file has fitted.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray

from gridnn import _engine, _validation
from gridnn._encoding import decode, encode
from gridnn.callbacks.base import History
from gridnn.initializers import undrawn
from gridnn.layers import parts
from gridnn.layers.core import Lambda
from gridnn.model.compilation import Compilation
from gridnn.model.file_format import (
    RUN,
    Backup,
    Metadata,
    Path,
    Tensors,
    blaming,
    check_ending,
    check_header,
    dumps,
    header,
    is_weights_of_keras,
    loads,
    progress_of,
    record_of,
    run_arrays,
)
from gridnn.model.training_state import Progress, compilation_of, compile_engine

if TYPE_CHECKING:
    from gridnn._network import Network
    from gridnn.model.protocol import Model
    from gridnn.model.trainable import TrainableModel

__all__ = ["load_weights", "save", "save_weights"]

AnyModel = TypeVar("AnyModel", bound="type[TrainableModel]")

Place = tuple[int, str]
"""Position of a layer in the description, and the name of one of its weights."""


Shapes = Mapping[Place, tuple[int, ...]]
"""The shapes of weights."""

_MOST_BYTES = 2**46
"""Bytes of one sample at the output of a layer, beyond which a description is not believed."""

_KINDS: dict[str, type[TrainableModel]] = {}

_builds: ContextVar[bool] = ContextVar("builds", default=True)


def kind_of_model(cls: AnyModel) -> AnyModel:
    """Class decorator: files name models of this class, and are read as such."""
    _KINDS[cls.__name__] = cls
    return cls


def builds() -> bool:
    """Whether models are built at once when they are made; not so within `unbuilt`."""
    return _builds.get()


@contextmanager
def unbuilt() -> Iterator[None]:
    """Models of graphs that are made within take no memory for weights before somebody asks for them."""
    token = _builds.set(False)
    try:
        yield
    finally:
        _builds.reset(token)


def is_model(description: Mapping[str, Any]) -> bool:
    """Whether this is the description of a model."""
    return str(description["class_name"]) in _KINDS


def restored(description: Mapping[str, Any]) -> Any:
    """A layer, or a model, that stands in the configuration of a model.

    Raises:
        ValueError, TypeError: it is no description of one.
    """
    kind = _KINDS.get(str(description["class_name"]))
    return parts.restore(description) if kind is None else kind.from_config(description["config"])


def save(model: Model, path: Path) -> None:
    """Writes model, weights, compile arguments, optimizer state and progress; see `Sequential.save`."""
    if os.path.splitext(os.fsdecode(path))[1].lower() == ".keras":
        from gridnn.interop.keras import writing  # only here: it is built on models

        writing.save(model, path)
        return
    check_ending(path)
    for node in model.graph.nodes:
        if isinstance(node.layer, Lambda):
            raise ValueError(
                f"{node.layer.label} calls a function, and files do not keep functions: write a subclass of "
                "gn.layers.Layer, or save_weights."
            )
    _engine.save_tensors(path, *pack(model, within_fit=True))


def save_weights(model: Model, path: Path) -> None:
    """Writes the weights alone; see `Sequential.save_weights`."""
    if is_weights_of_keras(path):
        from gridnn.interop.keras import writing  # only here: it is built on models

        writing.save_weights(model, path)
        return
    check_ending(path)
    with model.locked():
        _engine.save_tensors(path, _weights(model), header())


def load_weights(
    model: Model,
    path: Path | Mapping[str, Any],
    by_name: bool,
    skip_mismatch: bool,
    source: str | None,
    mapping: Mapping[str, str | None] | None,
    prefix: str,
) -> None:
    """Sets the weights of a built model; see `Sequential.load_weights`."""
    from gridnn.interop.keras import reading  # only here: what reads files of others is built on models

    by_name = _validation.boolean(by_name, "by_name")
    skip_mismatch = _validation.boolean(skip_mismatch, "skip_mismatch")
    if source is not None:
        _validation.choice(source, "source", ("keras", "pytorch"))
    if source == "pytorch":
        if by_name or skip_mismatch:
            raise ValueError(
                "`by_name` and `skip_mismatch` are for files of Keras; see `mapping` for PyTorch."
            )
        from gridnn.interop import torch

        torch.load_weights(model, path, mapping, prefix)
        return
    if isinstance(path, Mapping):
        raise TypeError('A dict of arrays is a state dict of PyTorch: say so with source="pytorch".')
    if mapping is not None or prefix:
        raise ValueError('`mapping` and `prefix` are for source="pytorch".')
    path = _validation.path(path, "path")
    if source == "keras" or reading.is_keras(path):
        from gridnn.interop.keras import loading

        loading.load_weights(model, path, by_name, skip_mismatch)
        return
    if by_name or skip_mismatch:
        raise ValueError("`by_name` and `skip_mismatch` are for files of Keras.")
    network = model.network
    tensors, metadata = _engine.load_tensors(path)
    with blaming(path):
        check_header(metadata)
        # By position, not by name: models of the same layers may name them differently.
        by_place = {_place(key): tensor for key, tensor in tensors.items() if key.startswith("model/")}
        _check_shapes({(info.layer, info.name): info.shape for info in network.weights}, by_place)
        _set_weights(network, by_place)


def restore(model: Model, backup: Backup) -> None:
    """Puts weights, optimizer state, learning rate and progress of a backup into a model.

    The model is compiled and has seen its data.

    Raises:
        FileFormatError: the file holds another model, or one with another optimizer.
    """
    network = model.network
    with blaming(backup.path), model.locked():
        saved = unpack(backup.tensors, backup.metadata)
        theirs, ours = compilation_of(saved).get_config(), compilation_of(model).get_config()
        if theirs["optimizer"]["class_name"] != ours["optimizer"]["class_name"]:
            raise ValueError(f"the optimizer was {theirs['optimizer']['class_name']}")
        state, weights = saved.network, saved.get_weights()
        network.set_optimizer_state(state.optimizer_state(), state.iterations)
        model.set_weights(weights)
        if not callable(model.optimizer.learning_rate):  # a function is the program's, and goes on
            model.optimizer.learning_rate = saved.optimizer.learning_rate
        model.training_state.progress = saved.training_state.progress


def pack(model: Model, *, within_fit: bool = False) -> tuple[Tensors, Metadata]:
    """Everything about a model as tensors and strings.

    Args:
        model: the model.
        within_fit: if `fit` is at work, also where it is.
    """
    with model.locked():
        metadata = header()
        metadata["model"] = dumps({"class_name": type(model).__name__, "config": model.get_config()})
        tensors: Tensors = {}
        iterations = 0
        if model.built:
            tensors.update(_weights(model))
        training = model.training_state
        compilation = training.compilation
        if compilation is not None:
            metadata["compile"] = dumps(compilation.get_config())
            if compilation.in_engine:
                network = model.network
                iterations = network.iterations
                state = network.optimizer_state()
                tensors.update({f"optimizer/{slot}": values for slot, values in state.items()})
        progress = training.now()
        metadata["progress"] = dumps(
            {"iterations": iterations, "epoch": progress.epoch, "seed": progress.seed}
        )
        if training.class_names is not None:
            metadata["class_names"] = dumps({"names": training.class_names})
        arrays: list[NDArray[Any]] = []
        if model.history is not None:
            metadata["history"] = dumps(encode(_history(model), arrays))
        run = training.run
        # Another thread's view of a run would be of the midst of a step.
        if within_fit and run is not None and run.thread == threading.get_ident():
            metadata["run"] = dumps(encode(run.record(), arrays))
        elif run is None and training.record is not None:  # a copy of the file that the model comes from
            metadata["run"] = dumps(encode(training.record.value, arrays))
        tensors.update({f"{RUN}{number}": array for number, array in enumerate(arrays)})
        return tensors, metadata


@contextmanager
def configuration_of(cls: type, config: object) -> Iterator[None]:
    """Says of a configuration that something is missing in it.

    Raises:
        TypeError: it is none at all.
        ValueError: an entry, or what a number stands for, is missing.
    """
    expected = f"`config` must be what `get_config` of a {cls.__name__} returns. Received"
    if not isinstance(config, Mapping):
        raise TypeError(f"{expected} {config!r:.80}.")
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{expected} one that lacks {error}.") from error
    except IndexError as error:
        raise ValueError(
            f"{expected} one that speaks of a layer or a tensor that it does not have."
        ) from error


def unpack(tensors: Tensors, metadata: Metadata) -> TrainableModel:
    """The model that `pack` was given; whatever does not fit raises ValueError, TypeError or KeyError."""
    check_header(metadata)
    if "model" not in metadata and "progress" not in metadata:
        raise ValueError(
            "this file holds weights alone, as save_weights writes them: make the model, and call its "
            "load_weights"
        )
    description = loads(metadata["model"])
    kind = _KINDS.get(description["class_name"])
    if kind is None:
        raise ValueError(f"unknown kind of model {description['class_name']!r}")
    weights = {_place(key): tensor for key, tensor in tensors.items() if key.startswith("model/")}
    slots = {
        key.removeprefix("optimizer/"): tensor
        for key, tensor in tensors.items()
        if key.startswith("optimizer/")
    }
    arrays = run_arrays(tensors)
    if len(weights) + len(slots) + len(arrays) != len(tensors):
        raise ValueError("tensors of unknown purpose, or twice the same")
    with undrawn(), unbuilt():  # every weight follows
        model = kind.made_for(description["config"], lambda expected: _check_shapes(expected, weights))
    if model.built:
        network = model.network
        for position, shape in enumerate(network.output_shapes):
            size = math.prod(axis or 1 for axis in shape) * network.dtype.itemsize
            if size > _MOST_BYTES:
                raise ValueError(
                    f"the layer at position {position} makes {size} bytes of one sample: no machine has them"
                )
        _set_weights(network, weights)
    training = model.training_state
    progress = loads(metadata["progress"])
    iterations = _validation.non_negative_integer(progress["iterations"], "iterations")
    if "compile" in metadata:
        training.compilation = Compilation.from_config(loads(metadata["compile"]))
        objective = training.compilation.objective
        if objective is not None:
            compile_engine(model, objective)
            model.network.set_optimizer_state(slots, iterations)
            slots = {}
    if slots:
        raise ValueError("optimizer state without an optimizer")
    if "class_names" in metadata:
        names = loads(metadata["class_names"])["names"]
        if not isinstance(names, list):
            raise TypeError(f"expected a list of names of classes, received {names!r}")
        model.class_names = names
    training.progress = Progress(*progress_of(progress))
    training.record = record_of(tensors, metadata)
    if "history" in metadata:
        history = History()
        history.restore(decode(loads(metadata["history"]), arrays))
        history.set_model(model)
        model.history = history
    return model


def _history(model: Model) -> dict[str, Any]:
    """What the history of the model holds, with the epoch whose end it has not heard of yet."""
    assert model.history is not None
    history = History()
    history.restore(model.history.state())
    if model.training_state.run is not None:
        model.training_state.run.catch_up(model.history, history)
    return history.state()


def _weights(model: Model) -> Tensors:
    """Every weight under its name in files."""
    network = model.network
    names = [node.name.replace("/", ".") for node in model.graph.by_position]
    keys = [f"model/{info.layer}_{names[info.layer]}/{info.name}" for info in network.weights]
    return dict(zip(keys, network.get_weights(), strict=True))


def _place(key: str) -> Place:
    """``model/3_dense/kernel`` -> ``(3, "kernel")``."""
    parts = key.split("/")
    position = parts[1].split("_", 1)[0] if len(parts) == 3 else ""
    if not (position.isascii() and position.isdigit() and len(position) < 10):
        raise ValueError(f"tensor {key!r} is not named model/<position>_<layer>/<weight>")
    return int(position), parts[2]


def _check_shapes(expected: Mapping[Place, tuple[int, ...]], tensors: Mapping[Place, NDArray[Any]]) -> None:
    """Raises ValueError if a weight is missing, superfluous or of another shape."""
    if expected.keys() != tensors.keys():
        missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
        raise ValueError(f"the file holds other weights than the model: missing {missing}, not known {extra}")
    for place, shape in expected.items():
        if tensors[place].shape != shape:
            raise ValueError(
                f"weight {place[1]!r} of layer {place[0]} (counted from 0) has shape {shape} in the model, "
                f"{tensors[place].shape} in the file"
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
