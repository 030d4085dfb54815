"""The layers of a file of Keras as a tree, each with its arrays, before any of ours is made.

A file says what its layers are in a description (JSON) or, if it holds weights only, by the paths of its
arrays. These are ``layers/<class in snake case>[_<number>]/vars/<number>``, counted class by class within a
model; in files of Keras 2's kind they are names, of layers and of weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from gridnn._texts import listed, quoted
from gridnn.interop.keras.reading import Contents

__all__ = ["Item", "items_of", "leaves", "legacy_items", "paths_of", "snake_case", "with_arrays"]

_MODELS = {"Sequential", "Functional", "Model"}


@dataclass
class Item:
    """A layer or a model as a file describes it."""

    kind: str
    """Its class in Keras; empty in files that do not say so."""
    name: str
    entry: Mapping[str, Any] = field(default_factory=dict)
    """What the description says about it."""
    items: list[Item] | None = None
    """What a model holds; None for a layer."""
    path: str = ""
    arrays: list[NDArray[Any]] = field(default_factory=list)

    @property
    def config(self) -> Mapping[str, Any]:
        """The arguments of its constructor."""
        config = self.entry.get("config", {})
        return config if isinstance(config, Mapping) else {}

    @property
    def label(self) -> str:
        """How messages call it."""
        kind = f" ({quoted(self.kind)[1:-1]})" if self.kind else ""
        return f"layer {quoted(self.name)}{kind}"


def items_of(entry: object) -> Item:
    """The tree of a description.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(entry, Mapping) or not isinstance(entry.get("class_name"), str):
        raise ValueError(f"a layer without `class_name`: {str(entry)[:200]}")
    kind, config = entry["class_name"], entry.get("config", {})
    if kind in _MODELS and isinstance(config, list):  # before Keras 2.2.3
        config = {"layers": config}
        entry = {**entry, "config": config}
    if not isinstance(config, Mapping):
        raise ValueError(f"the `config` of a {kind} is no object: {str(config)[:200]}")
    name = entry.get("name") or config.get("name") or snake_case(kind)
    if not isinstance(name, str):
        raise ValueError(f"a {kind} has the name {name!r}")
    if kind not in _MODELS:
        return Item(kind, name, entry)
    below = config.get("layers")
    if not isinstance(below, list):
        raise ValueError(f"model {quoted(name)} has no list of `layers`")
    return Item("Sequential" if kind == "Sequential" else "Functional", name, entry, [*map(items_of, below)])


def leaves(items: Sequence[Item]) -> Iterator[Item]:
    """All layers, those of models inside included, in their order."""
    for item in items:
        if item.items is None:
            yield item
        else:
            yield from leaves(item.items)


def with_arrays(contents: Contents, item: Item) -> Item:
    """Gives the layers of a model their arrays.

    Raises:
        ValueError: the file says where they are in a way that fits nothing.
    """
    if contents.legacy:
        by_name = {unit.name: unit for unit in legacy_items(contents)}
        for own in item.items or ():
            _take_legacy(own, by_name.get(own.name))
    else:
        paths_of(item.items or [])
        for own in leaves(item.items or []):
            own.arrays = _variables(contents, own.path)
    return item


def paths_of(items: Sequence[Item], above: str = "") -> None:
    """Sets the paths of all layers as Keras counts them."""
    counts: dict[str, int] = {}
    for item in items:
        kind = snake_case(item.kind)
        number = counts.get(kind, 0)
        counts[kind] = number + 1
        item.path = f"{above}layers/{kind}" + (f"_{number}" if number else "")
        if item.items is not None:
            paths_of(item.items, f"{item.path}/")


def _variables(contents: Contents, path: str) -> list[NDArray[Any]]:
    found: list[NDArray[Any]] = []
    while (place := f"{path}/vars/{len(found)}") in contents.tensors:
        found.append(contents.tensors[place])
    return found


def legacy_items(contents: Contents) -> list[Item]:
    """The layers of a file of Keras 2's kind; a model among them holds those of its layers with weights.

    Raises:
        ValueError: a list of names, or an array that one of them names, is missing.
    """
    root = contents.weights_path
    units = []
    for name in _names(contents.weights_attributes, "layer_names"):
        group = f"{root}/{name}" if root else name
        parts: dict[str, Item] = {}
        for weight in _names(contents.attributes.get(group, {}), "weight_names"):
            array = contents.tensors.get(f"{group}/{weight}")
            if array is None:
                raise ValueError(f"weight {quoted(weight)} of layer {quoted(name)} is missing")
            # The layer that a weight belongs to is the part of its path before the last.
            owner, _, last = weight.rpartition("/")
            part = parts.setdefault(owner, Item("", owner.rpartition("/")[2] or name))
            part.arrays.append(array)
            if last.partition(":")[0] == "count":  # of `adapt`: no other layer has such a weight
                part.kind = "Normalization"
        if len(parts) < 2:
            kind = next((part.kind for part in parts.values()), "")
            units.append(Item(kind, name, arrays=[array for part in parts.values() for array in part.arrays]))
        else:
            units.append(Item("", name, items=list(parts.values())))
    return units


def _names(attributes: Mapping[str, Any], name: str) -> list[str]:
    """A list of names, which is cut into several attributes if it is long."""
    if name in attributes:
        parts = [attributes[name]]
    else:
        parts = []
        while f"{name}{len(parts)}" in attributes:
            parts.append(attributes[f"{name}{len(parts)}"])
    if not all(isinstance(part, list) for part in parts):
        raise ValueError(f"`{name}` is no list of names")
    return [text for part in parts for text in part]


def _take_legacy(item: Item, unit: Item | None) -> None:
    """Gives a layer, or those of a model, the arrays that go by their names."""
    if unit is None:
        return
    if item.items is None:
        item.arrays = [array for part in (unit.items or [unit]) for array in part.arrays]
        return
    parts = unit.items if unit.items is not None else [unit]
    by_name: dict[str, list[Item]] = {}
    for part in parts:
        by_name.setdefault(part.name, []).append(part)
    for leaf in leaves(item.items):
        matching = by_name.pop(leaf.name, [])
        if len(matching) > 1:
            raise ValueError(f"several layers of model {quoted(item.name)} are called {quoted(leaf.name)}")
        if matching:
            leaf.arrays = matching[0].arrays
    left = [name for name, parts in by_name.items() if any(part.arrays for part in parts)]
    if left:
        raise ValueError(f"model {quoted(item.name)} has no layers called {listed(left)}, which have weights")


def snake_case(name: str) -> str:
    """A class name as Keras writes it in paths: `Conv2DTranspose` -> `conv2d_transpose`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
