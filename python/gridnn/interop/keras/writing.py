"""Models as ``.keras`` files that Keras opens with equal outputs."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import zipfile
from collections.abc import Sequence
from typing import Any

from gridnn import _engine
from gridnn.interop.keras.calls_out import KerasCall, KerasLayer, KerasModel, Output, keras_model
from gridnn.interop.keras.items import Item, paths_of
from gridnn.interop.keras.layers_out import OPERATIONS
from gridnn.layers.limits import LimitedLayer
from gridnn.model.protocol import Model

__all__ = ["save", "save_weights"]

_VERSION = "3.15.0"
"""The version of Keras whose format is written."""

_DATE = (1980, 1, 1, 0, 0, 0)
"""Of members of the archive: the same model is the same file."""


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Writes a built model; see `Sequential.save`.

    Raises:
        NotReadyError: the model is not built.
        ValueError: Keras lacks something that the model has; the message names the layers.
        ImportError: h5py is not installed.
    """
    config, weights = _contents(model)
    metadata = {"keras_version": _VERSION, "date_saved": "1980-01-01@00:00:00"}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, contents in (
            ("metadata.json", json.dumps(metadata).encode()),
            ("config.json", json.dumps(config, allow_nan=False).encode()),
            ("model.weights.h5", weights),
        ):
            archive.writestr(zipfile.ZipInfo(name, _DATE), contents)
    _engine.write_file(path, buffer.getvalue())


def save_weights(model: Model, path: str | os.PathLike[str]) -> None:
    """Writes the weights of a built model as a ``.weights.h5`` file; errors as of `save`."""
    _engine.write_file(path, _contents(model)[1])


def _contents(model: Model) -> tuple[dict[str, Any], bytes]:
    """The description of a model, and its weights as a file."""
    if importlib.util.find_spec("h5py") is None:
        raise ImportError('Files of Keras are written with h5py: pip install "gridnn[keras]"')
    with model.locked():
        _ = model.network  # raises if there is none
        problems: list[str] = []
        described = keras_model(model, problems)
        if problems:
            listed = "\n".join(f"  {problem}" for problem in dict.fromkeys(problems))
            raise ValueError(f"Keras cannot open this model, since it lacks:\n{listed}")
        config, items = _entry(described, model.dtype)
        paths_of(items)
        return config, _hdf5(model.name, described, items)


def _hdf5(name: str, model: KerasModel, items: Sequence[Item]) -> bytes:
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_group("vars").attrs["name"] = name
        _write_weights(file, model, items)
    return buffer.getvalue()


def _write_weights(file: Any, model: KerasModel, items: Sequence[Item]) -> None:
    for layer, item in zip(model.layers, items, strict=True):
        group = file.create_group(f"{item.path}/vars")
        group.attrs["name"] = item.name
        if layer.model is not None:
            _write_weights(file, layer.model, item.items or ())
        elif layer.layer is not None:
            for number, array in enumerate(layer.layer.get_weights()):
                group[str(number)] = array


def _entry(model: KerasModel, dtype: str) -> tuple[dict[str, Any], list[Item]]:
    """The description of a model, and its layers in the order of their paths."""
    functional = not model.chain
    entries, items = [], []
    for layer in model.layers:
        if layer.model is None:
            entry, item = _layer(layer, dtype), Item(layer.kind, layer.name)
        else:
            entry, below = _entry(layer.model, dtype)
            item = Item(layer.kind, layer.name, items=below)
        if functional:
            calls = [_call(call, dtype) for call in layer.calls if call.inputs]
            entry |= {"name": layer.name, "inbound_nodes": calls}
        entries.append(entry)
        items.append(item)
    config: dict[str, Any] = {"name": model.name, "trainable": True, "layers": entries}
    shapes = [[None, *source.shape] for source in model.inputs]
    if functional:
        config["input_layers"] = _ends(model.inputs, model.input_keys, model.forms[0])
        config["output_layers"] = _ends(model.outputs, model.output_keys, model.forms[1])
    else:
        config |= {"dtype": policy(dtype), "build_input_shape": shapes[0]}
    kind = "Functional" if functional else "Sequential"
    described = {
        "module": "keras.src.models.functional" if functional else "keras",
        "class_name": kind,
        "config": config,
        "registered_name": kind if functional else None,
    }
    if len(shapes) == 1:
        described["build_config"] = {"input_shape": shapes[0]}
    return described, items


def _layer(layer: KerasLayer, dtype: str) -> dict[str, Any]:
    options = layer.options
    if layer.kind in OPERATIONS:
        return {
            "module": OPERATIONS[layer.kind],
            "class_name": layer.kind,
            "config": options,
            "registered_name": layer.kind,
        }
    if isinstance(layer.layer, LimitedLayer) and not layer.layer.trainable:
        options = {**options, "trainable": False}  # others do not take the option
    if layer.kind != "InputLayer":
        options = {"dtype": policy(dtype), **options}
    return {
        "module": "keras.layers",
        "class_name": layer.kind,
        "config": options,
        "registered_name": None,
    }


def _call(call: KerasCall, dtype: str) -> dict[str, Any]:
    tensors = [
        {
            "class_name": "__keras_tensor__",
            "config": {
                "shape": [None, *tensor.shape],
                "dtype": dtype,
                "keras_history": [tensor.call.layer.name, tensor.call.number, tensor.index],
            },
        }
        for tensor in call.inputs
    ]
    options = {"training": False} if call.inference else {}
    return {"args": [tensors] if call.several else tensors, "kwargs": options}


def _ends(outputs: Sequence[Output], keys: Sequence[str] | None, form: str) -> Any:
    """Inputs or outputs as the model takes and gives them.

    Calls of functional models are counted from 1 here: the first one made the model itself.
    """
    places = []
    for output in outputs:
        layer = output.call.layer
        places.append([layer.name, output.call.number + (layer.kind == "Functional"), output.index])
    if form == "dict":
        return dict(zip(keys or (), places, strict=True))
    return places[0] if form == "tensor" else places


def policy(dtype: str) -> dict[str, Any]:
    """A type in the words of Keras."""
    return {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": {"name": dtype},
        "registered_name": None,
    }
