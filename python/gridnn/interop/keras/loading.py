"""Models and weights from files of Keras."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _network, layers
from gridnn._graph import Graph, graph_of
from gridnn._network import Network
from gridnn._texts import listed, quoted, side_by_side
from gridnn.errors import ShapeError
from gridnn.initializers import undrawn
from gridnn.interop._values import check_values
from gridnn.interop.keras import reading
from gridnn.interop.keras.graph_models import graph_model_of
from gridnn.interop.keras.graphs import calls_of, chain_of, source_of
from gridnn.interop.keras.items import Item, items_of, leaves, legacy_items, paths_of, with_arrays
from gridnn.interop.keras.layers_in import IDENTITIES, dtype_of, input_shape_of, layer_of, plain_name
from gridnn.interop.keras.reading import Contents
from gridnn.layers.base import Layer
from gridnn.layers.branches import Chain
from gridnn.model import protocol
from gridnn.model.base import BaseModel
from gridnn.model.file_format import blaming
from gridnn.model.functional import Model
from gridnn.model.saving import Shapes, unbuilt
from gridnn.model.sequential import Sequential
from gridnn.model.trainable import TrainableModel

__all__ = ["load_model", "load_weights", "model_of", "set_weights"]

_MOST_BYTES = 2**46
"""Bytes of one sample at the output of a layer, beyond which a description is not believed."""

Path = str | os.PathLike[str]


def load_model(path: Path) -> TrainableModel:
    """The model of a ``.keras`` or ``.h5`` file, not compiled; see `gridnn.load_model`."""
    contents = reading.read(path)
    with blaming(path):
        return model_of(contents)


def load_weights(model: protocol.Model, path: Path, by_name: bool, skip_mismatch: bool) -> None:
    """Sets the weights of a built model from a file; see `Sequential.load_weights`."""
    network = model.network
    contents = reading.read(path)
    with blaming(path), model.locked():
        set_weights(model, network, contents, by_name, skip_mismatch)


# Models


def model_of(contents: Contents) -> TrainableModel:
    """The model that a file describes, with its weights.

    Raises:
        ValueError, TypeError, LookupError: it is none that can be made here; the message says why.
    """
    if contents.config is None:
        raise ValueError(
            "the file holds weights only, not what the layers are: make the model, and call "
            "model.load_weights on it"
        )
    root = with_arrays(contents, items_of(contents.config))
    if root.items is None:
        raise ValueError(f"{root.label} is not a model")
    try:
        return _chain_model(root, _Maker(contents.version))
    except ValueError:
        if not any(item.kind == "Functional" for item in _models(root)):
            raise
    return _graph_model(root, _Maker(contents.version))


def _models(item: Item) -> Iterator[Item]:
    """A model and those within it."""
    if item.items is not None:
        yield item
        for below in item.items:
            yield from _models(below)


def _chain_model(root: Item, maker: _Maker) -> Sequential:
    """A model of layers one after the other, with `Residual` and `Parallel`."""
    stack, shape = maker.stack(root)
    if shape is None:
        if any(item.arrays for item in leaves(root.items or [])):
            raise ValueError("the file holds weights, but not the shape of the input")
        return Sequential(stack, name=plain_name(root.name), dtype=maker.dtype)
    source = layers.Input(shape)
    owners = {id(layer): item for item, layer in maker.made}
    graph = graph_of(source, stack, None)
    descriptions = [layer.engine_description() for layer in [source, *stack]]
    arrays = _expected(graph, _network.weight_shapes(descriptions, maker.dtype), owners)
    with undrawn():
        model = Sequential([source, *stack], name=plain_name(root.name), dtype=maker.dtype)
    _fill(model.network, arrays)
    return model


def _graph_model(root: Item, maker: _Maker) -> Model:
    """A model of any structure."""
    arrays: Arrays = []
    with undrawn(), unbuilt():
        model = graph_model_of(root, maker.layer, maker.free, lambda: maker.dtype)
        held = {id(node.layer) for node in model.graph.nodes}
        for item, layer in maker.made:
            if id(layer) not in held:
                raise ValueError(f"what comes out of {item.label} leads nowhere")
        owners = {id(layer): item for item, layer in maker.made}
        model.make(lambda shapes: arrays.extend(_expected(model.graph, shapes, owners)))
    _fill(model.network, arrays)
    return model


Arrays = list[tuple[NDArray[Any], str]]
"""Arrays in the order of a network's weights, and what they belong to."""


def _fill(network: Network, arrays: Arrays) -> None:
    for position, sizes in enumerate(network.output_shapes):
        size = math.prod(axis or 1 for axis in sizes) * network.dtype.itemsize
        if size > _MOST_BYTES:
            raise ValueError(f"layer {position} makes {size} bytes of one sample: no machine has them")
    network.set_weights([_checked(network, i, array, owner) for i, (array, owner) in enumerate(arrays)])


def _checked(network: Network, index: int, array: NDArray[Any], owner: str) -> NDArray[Any]:
    """An array as weight number `index` of a network."""
    name = network.weights[index].name
    check_values(array, f"{name} of {owner}", variance=name == "moving_variance")
    return network.as_weight(index, array, owner)


class _Maker:
    """Makes layers of items, and remembers which is whose."""

    def __init__(self, version: str) -> None:
        self.made: list[tuple[Item, Layer]] = []
        self.dtypes: set[str] = set()
        self._version = version
        self._names: set[str] = set()

    def stack(self, model: Item) -> tuple[list[Layer], tuple[int | None, ...] | None]:
        """The layers of a model, and the shape of its input."""
        if model.kind == "Functional":
            _, shape = source_of(model)
            return chain_of(model, self.layer), shape
        items = list(model.items or ())
        shape = input_shape_of({"batch_shape": model.config.get("build_input_shape")})
        if items and items[0].kind == "InputLayer":
            shape = input_shape_of(items.pop(0).config)
        elif items:
            shape = _first_shape(items[0]) or shape
        return [self.layer(item) for item in items if item.kind not in IDENTITIES], shape

    def layer(self, item: Item) -> Layer:
        """One layer; what is a model in Keras is a chain."""
        if item.items is not None:
            return Chain(self.stack(item)[0], name=self.free(plain_name(item.name)))
        self.dtypes.add(dtype_of(item))
        layer = layer_of(item, self._version)
        free = self.free(layer.name)
        if free != layer.name:  # names are unique in all of a model here, in Keras in each by itself
            trainable = layer.trainable
            layer = type(layer).from_config({**layer.get_config(), "name": free})
            layer.trainable = trainable
        self.made.append((item, layer))
        return layer

    @property
    def dtype(self) -> str:
        """The type of the weights of all layers so far."""
        return "float64" if self.dtypes == {"float64"} else "float32"

    def free(self, name: str) -> str:
        """A name that nothing else has."""
        number, free = 0, name
        while free in self._names:
            number += 1
            free = f"{name}_{number}"
        self._names.add(free)
        return free


def _first_shape(item: Item) -> tuple[int | None, ...] | None:
    """The shape of the input if the first layer says so, as in Keras 2, or the first one of a model."""
    if item.items:
        return _first_shape(item.items[0])
    return input_shape_of(item.config)


def _expected(graph: Graph, shapes: Shapes, owners: Mapping[int, Item]) -> Arrays:
    """All arrays in the order of the network's weights, compared with these before memory is taken for them.

    Raises:
        ValueError: a layer of the file has other arrays.
    """
    by_position: dict[int, list[tuple[int, ...]]] = {}
    for (position, _), shape in shapes.items():
        by_position.setdefault(position, []).append(shape)
    found: Arrays = []
    met: set[int] = set()
    for node in graph.by_position:
        item = owners.get(id(node.layer))
        if item is None or id(node.layer) in met:  # a further call has no weights of its own
            continue
        met.add(id(node.layer))
        wanted = by_position.get(node.position, [])
        arrays = [] if isinstance(node.layer, layers.Normalization) else item.arrays
        if [array.shape for array in arrays] != wanted:
            raise _other_arrays(item, arrays, wanted)
        found += [(array, item.label) for array in arrays]
    return found


def _other_arrays(
    item: Item, arrays: Sequence[NDArray[Any]], wanted: Sequence[tuple[int, ...]]
) -> ShapeError:
    shapes = [array.shape for array in arrays]
    return ShapeError(f"{item.label} has weights of shapes {shapes} in the file, and takes {list(wanted)}")


# Weights


@dataclass
class _Own:
    """A layer of the model whose weights are set."""

    layer: Layer
    indices: list[int]
    """Numbers of its weights in the network."""
    path: str
    """Where Keras would put them."""
    level: tuple[int, int]
    """Model within the model, and depth in it: layers of which both are the same are in several branches."""


def set_weights(
    model: protocol.Model, network: Network, contents: Contents, by_name: bool, skip_mismatch: bool
) -> None:
    """Sets the weights of a model from those of a file; all that fit, or none.

    Raises:
        ValueError: the file holds other weights.
    """
    own = _own_layers(model, network)
    stored = _file_layers(contents)
    _check_normalizations(own, stored)
    own = [layer for layer in own if not isinstance(layer.layer, layers.Normalization)]
    stored = [item for item in stored if item.kind != "Normalization"]
    names = [plain_name(item.name) for item in stored]
    if by_name:
        pairs = _by_name(own, stored)
    elif len(set(names)) == len(names) and sorted(names) == sorted(layer.layer.name for layer in own):
        pairs = _by_name(own, stored)  # whatever their order is
    elif contents.config is None and not contents.legacy:
        pairs = _by_path(own, stored, skip_mismatch)
        _check_branches(network, own)
    else:
        twin = None if contents.config is None else model_of(contents)
        if (
            twin is not None
            and _structure(twin) == _structure(model)
            and len(twin.network.weights) == len(network.weights)  # layers are called again in both alike
        ):
            network.set_weights(
                [network.as_weight(i, array, "file") for i, array in enumerate(twin.get_weights())]
            )
            return
        pairs = _in_order(own, stored, contents)
        _check_branches(network, own)
    values: dict[int, NDArray[Any]] = {}
    for layer, item in pairs:
        wanted = [network.weights[index].shape for index in layer.indices]
        if [array.shape for array in item.arrays] != wanted:
            problem = _other_arrays(item, item.arrays, wanted)
            if not skip_mismatch:
                raise ShapeError(f"{problem} in {layer.layer.label}; skip_mismatch=True leaves it as it is")
            warnings.warn(f"skipped: {problem} in {layer.layer.label}", stacklevel=5)
            continue
        for index, array in zip(layer.indices, item.arrays, strict=True):
            values[index] = _checked(network, index, array, layer.layer.label)
    if len(values) < len(network.weights):
        kept = network.get_weights()
        values = {index: values.get(index, array) for index, array in enumerate(kept)}
    network.set_weights([values[index] for index in range(len(values))])


def _own_layers(model: protocol.Model, network: Network) -> list[_Own]:
    """The layers with weights, and `Normalization`, in the order of Keras."""
    indices: dict[int, list[int]] = {}
    for index, info in enumerate(network.weights):
        indices.setdefault(info.layer, []).append(index)
    graph = model.graph
    found: list[tuple[Item, Layer, tuple[int, int]]] = []
    models = iter(range(len(graph.nodes) + 1))

    def items(stack: Sequence[Layer]) -> list[Item]:
        number = next(models)
        return [
            item(call.layer, (number, depth)) for call, depth in calls_of(stack) if call.layer is not None
        ]

    def item(layer: Layer | BaseModel, level: tuple[int, int]) -> Item:
        if isinstance(layer, BaseModel):
            kind = "Sequential" if isinstance(layer, Sequential) else "Functional"
            return Item(kind, layer.name, items=items(layer.layers))
        if isinstance(layer, layers.Input):
            return Item("InputLayer", layer.name)
        if not isinstance(layer, Chain):  # which is a model within the model
            found.append((Item(type(layer).__name__, layer.name), layer, level))
            return found[-1][0]
        branched = any(len(call.inputs) > 1 for call, _ in calls_of(layer.layers))
        return Item("Functional" if branched else "Sequential", layer.name, items=items(layer.layers))

    paths_of(items(model.layers))
    own = [
        _Own(layer, indices.get(graph.node(layer).position, []), item.path, level)
        for item, layer, level in found
    ]
    return [one for one in own if one.indices or isinstance(one.layer, layers.Normalization)]


def _structure(model: protocol.Model) -> list[tuple[Any, ...]]:
    """All of a model but names and options: equal ones have the same layers in the same places."""
    return [
        (node.merge or type(node.layer).__name__, node.inputs, node.output_shape)
        for node in model.graph.nodes
    ]


def _check_branches(network: Network, own: Sequence[_Own]) -> None:
    """Refuses what depends on the order of branches, which is not the same in all models that do the same.

    ``Add()([x, shortcut])`` and ``Add()([shortcut, x])`` are one sum, but layers of the two branches change
    places in files.

    Raises:
        ValueError: two layers may be exchanged without a shape saying so.
    """
    met: dict[tuple[Any, ...], _Own] = {}
    for one in own:
        shapes = tuple(network.weights[index].shape for index in one.indices)
        other = met.setdefault((one.level, type(one.layer), shapes), one)
        if other is not one:
            raise ValueError(
                f"{other.layer.label} and {one.layer.label} are in branches side by side, and which of them "
                "comes first in the file depends on the order of the branches there. Give the layers "
                "the names that they have there, or load the whole model with gridnn.load_model"
            )


def _file_layers(contents: Contents) -> list[Item]:
    """The layers of a file that have arrays, in its order where it has one."""
    if contents.config is not None:
        found = list(leaves(with_arrays(contents, items_of(contents.config)).items or []))
    elif contents.legacy:
        found = list(leaves(legacy_items(contents)))
    else:
        found = []
        for path, attributes in contents.attributes.items():
            above, _, name = path.rpartition("/")
            if name == "vars" and above:
                count = sum(part.isdigit() for part in contents.groups.get(path, []))
                arrays = [contents.tensors[f"{path}/{number}"] for number in range(count)]
                known = attributes.get("name", above)
                last = above.rpartition("/")[2]
                kind = "Normalization" if last.startswith("normalization") else ""
                found.append(
                    Item(kind, known if isinstance(known, str) else above, path=above, arrays=arrays)
                )
    return [item for item in found if item.arrays]


Pairs = list[tuple[_Own, Item]]


def _by_name(own: Sequence[_Own], stored: Sequence[Item]) -> Pairs:
    """Layers of the names that the file has too; the others are left alone."""
    items: dict[str, Item] = {}
    for item in stored:
        items.setdefault(plain_name(item.name), item)
    met: dict[str, _Own] = {}
    for layer in own:  # which have names of their own within their models only
        other = met.setdefault(layer.layer.name, layer)
        if other is not layer and layer.layer.name in items:
            raise ValueError(
                f"several layers of the model are called {quoted(layer.layer.name)}, in models "
                "within it, and "
                "by_name cannot tell which is meant: load the weights without it"
            )
    found = [(layer, items[layer.layer.name]) for layer in own if layer.layer.name in items]
    if not found and own:
        raise ValueError(f"no layer of the model has a name of the file's: {listed(sorted(items), 10)}")
    return found


def _in_order(own: Sequence[_Own], stored: Sequence[Item], contents: Contents) -> Pairs:
    frozen = not all(layer.layer.trainable for layer in own)
    if contents.config is None and frozen and len(stored) > len(legacy_items(contents)):
        # Of a model within the model what is trained comes first there, whatever the order of the layers is.
        raise ValueError(
            "the file holds models within a model, and the order of their weights depends on which layers "
            "were frozen: give the layers the names that they have in the file"
        )
    if len(stored) != len(own):
        raise ValueError(f"{_side_by_side(own, stored)}\nby_name=True takes the layers of equal names")
    for layer, item in zip(own, stored, strict=True):
        if item.kind and item.kind != type(layer.layer).__name__:
            raise ValueError(
                f"{layer.layer.label} stands where {item.label} is in the file.\n{_side_by_side(own, stored)}"
            )
    return list(zip(own, stored, strict=True))


def _by_path(own: Sequence[_Own], stored: Sequence[Item], skip_mismatch: bool) -> Pairs:
    """Layers by the paths that Keras would give them."""
    by_path = {item.path: item for item in stored}
    found = []
    for layer in own:
        item = by_path.pop(layer.path, None)
        if item is not None:
            kind = type(layer.layer).__name__
            found.append((layer, Item(kind, item.name, path=item.path, arrays=item.arrays)))
        elif not skip_mismatch:
            raise ValueError(
                f"'{layer.path}' is missing for {layer.layer.label}.\n{_side_by_side(own, stored)}"
            )
    if by_path and not skip_mismatch:
        left = next(iter(by_path))
        raise ValueError(f"no layer of the model takes {quoted(left)}.\n{_side_by_side(own, stored)}")
    return found


def _side_by_side(own: Sequence[_Own], stored: Sequence[Item]) -> str:
    def shown(name: str, kind: str, arrays: int) -> str:
        return f"{name} ({kind}, {arrays} arrays)" if kind else f"{name} ({arrays} arrays)"

    theirs = [shown(item.path or item.name, item.kind, len(item.arrays)) for item in stored]
    ours = [shown(layer.layer.name, type(layer.layer).__name__, len(layer.indices)) for layer in own]
    title = f"{len(theirs)} layers with weights in the file"
    return side_by_side((title, theirs), (f"{len(ours)} in the model", ours))


def _check_normalizations(own: Sequence[_Own], stored: Sequence[Item]) -> None:
    """Compares the numbers of `Normalization`, which are part of its configuration here.

    Those that were given to its constructor are in no file of weights, so ours may be more.

    Raises:
        ValueError: numbers of the file are those of no layer.
    """
    ours = iter([layer.layer for layer in own if isinstance(layer.layer, layers.Normalization)])
    for item in stored:
        if item.kind == "Normalization" and not any(_has_numbers(layer, item) for layer in ours):
            mean, variance = (array.ravel().tolist()[:5] for array in item.arrays[:2])
            raise ValueError(
                f"the numbers of {item.label} in the file are those of no Normalization of the model: make "
                f"one with mean={mean}, variance={variance}, or load the whole model with gridnn.load_model"
            )


def _has_numbers(layer: layers.Normalization, item: Item) -> bool:
    if len(item.arrays) < 2:
        raise ValueError(f"{item.label} has no variance")
    return all(
        array.size == len(numbers or ()) and np.allclose(array.ravel(), numbers or (), rtol=1e-5, atol=1e-7)
        for array, numbers in zip(item.arrays, (layer.mean, layer.variance), strict=False)
    )
