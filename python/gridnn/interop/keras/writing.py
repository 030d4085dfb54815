"""Models as ``.keras`` files that Keras opens with equal outputs."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import zipfile
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from gridnn import _network
from gridnn._graph import Graph, Node
from gridnn.interop.keras.graphs import MERGES, inputs_of, keras_order
from gridnn.interop.keras.items import Item, paths_of
from gridnn.interop.keras.layers_out import described
from gridnn.layers.limits import LimitedLayer
from gridnn.model.protocol import Model

__all__ = ["save"]

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
    if importlib.util.find_spec("h5py") is None:
        raise ImportError('Files of Keras are written with h5py: pip install "gridnn[keras]"')
    with model.locked():
        network = model.network
        writer = _Writer(model.graph, model.dtype, model.input_shape)
        config = writer.model(model.name)
        weights: dict[int, list[NDArray[Any]]] = {}
        for index, info in enumerate(network.weights):
            weights.setdefault(info.layer, []).append(network.get_weight(index))
    metadata = {"keras_version": _VERSION, "date_saved": "1980-01-01@00:00:00"}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, contents in (
            ("metadata.json", json.dumps(metadata).encode()),
            ("config.json", json.dumps(config, allow_nan=False).encode()),
            ("model.weights.h5", _hdf5(model.name, writer.items, weights)),
        ):
            archive.writestr(zipfile.ZipInfo(name, _DATE), contents)
    _network.write_file(path, buffer.getvalue())


def _hdf5(name: str, items: list[tuple[Item, int]], weights: Mapping[int, list[NDArray[Any]]]) -> bytes:
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_group("vars").attrs["name"] = name
        for item, position in items:
            group = file.create_group(f"{item.path}/vars")
            group.attrs["name"] = item.name
            for number, array in enumerate(weights.get(position, ())):
                group[str(number)] = array
    return buffer.getvalue()


class _Writer:
    """Describes the layers of a model to Keras."""

    def __init__(self, graph: Graph, dtype: str, input_shape: tuple[int | None, ...]) -> None:
        self._graph = graph
        self._dtype = dtype
        self._input_shape = list(input_shape)
        self.items: list[tuple[Item, int]] = []
        """The layers of the file, and the positions of ours; -1 where there is none."""

    def model(self, name: str) -> dict[str, Any]:
        """The description of the whole model."""
        nodes = keras_order(self._graph)
        self._refuse(nodes)
        functional = any(node.kind == "merge" for node in nodes)
        entries: list[dict[str, Any]] = []
        for node in nodes:
            entries += self._entries(node, functional)
        paths_of([item for item, _ in self.items])
        config: dict[str, Any] = {"name": name, "trainable": True, "layers": entries}
        if functional:
            source = next(node for node in nodes if node.kind == "input")
            config |= {"input_layers": [source.name, 0, 0], "output_layers": [self._end(nodes[-1]), 0, 0]}
        else:
            config |= {"dtype": policy(self._dtype), "build_input_shape": self._input_shape}
        kind = "Functional" if functional else "Sequential"
        return {
            "module": "keras.src.models.functional" if functional else "keras",
            "class_name": kind,
            "config": config,
            "registered_name": kind if functional else None,
            "build_config": {"input_shape": self._input_shape},
        }

    def _refuse(self, nodes: list[Node]) -> None:
        """Raises one error that names all layers that Keras lacks."""
        problems = [problem for node in nodes if (problem := self._problem(node))]
        if problems:
            listed = "\n".join(f"  {problem}" for problem in problems)
            raise ValueError(f"Keras cannot open this model, since it lacks:\n{listed}")

    def _problem(self, node: Node) -> str | None:
        try:
            self._layers(node)
        except ValueError as error:
            return str(error)
        return None

    def _layers(self, node: Node) -> list[tuple[str, str, dict[str, Any]]]:
        """Kind, name and options of the layers that stand for a node, one after the other."""
        if node.kind == "input":
            options: dict[str, Any] = {"batch_shape": self._input_shape, "dtype": self._dtype}
            return [("InputLayer", node.name, {**options, "name": node.name})]
        if node.kind == "merge":
            kinds = {ours: theirs for theirs, ours in MERGES.items()}
            kind = kinds[str(node.merge)]
            return [(kind, node.name, {"name": node.name} | ({"axis": -1} if kind == "Concatenate" else {}))]
        assert node.layer is not None
        (shape,) = self._graph.input_shapes(node)
        return described(node.layer, shape or ())

    def _entries(self, node: Node, functional: bool) -> list[dict[str, Any]]:
        """The entries of a node in the list of layers."""
        entries = []
        before = [self._end(one) for one in inputs_of(self._graph, node)]
        found = self._layers(node)
        for number, (kind, name, options) in enumerate(found):
            last = number == len(found) - 1
            self.items.append((Item(kind, name), node.position if last else -1))
            if last and isinstance(node.layer, LimitedLayer) and not node.layer.trainable:
                options["trainable"] = False  # others do not take the option
            if kind != "InputLayer":
                options = {"dtype": policy(self._dtype), **options}
            entry: dict[str, Any] = {"module": "keras.layers", "class_name": kind, "config": options}
            entry["registered_name"] = None
            if functional:
                entry |= {"name": name, "inbound_nodes": self._calls(node, before)}
            entries.append(entry)
            before = [name]
        return entries

    def _end(self, node: Node) -> str:
        """Name of the last layer that stands for a node."""
        return self._layers(node)[-1][1]

    def _calls(self, node: Node, names: list[str]) -> list[dict[str, Any]]:
        if not names:
            return []
        shapes = [[None, *(shape or ())] for shape in self._graph.input_shapes(node)]
        tensors = [
            {
                "class_name": "__keras_tensor__",
                "config": {"shape": shape, "dtype": self._dtype, "keras_history": [name, 0, 0]},
            }
            for name, shape in zip(names, shapes, strict=False)
        ]
        return [{"args": [tensors] if node.kind == "merge" else tensors, "kwargs": {}}]


def policy(dtype: str) -> dict[str, Any]:
    """A type in the words of Keras."""
    return {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": {"name": dtype},
        "registered_name": None,
    }
