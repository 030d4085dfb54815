"""Layers of ours from what Keras says about its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gridnn import constraints, initializers, regularizers
from gridnn.interop.keras.items import Item
from gridnn.layers.activation import Activation
from gridnn.layers.base import REGISTRY, Layer

__all__ = ["IDENTITIES", "dtype_of", "input_shape_of", "layer_of", "plain_name"]

IDENTITIES = ("Identity",)
"""Classes that pass on what they get, in training too."""

_IGNORED = {
    "activity_regularizer",  # of layers that have none here: an option of every layer of Keras
    "autocast",
    "batch_input_shape",
    "batch_shape",
    "build_config",
    "dtype",
    "name",
    "renorm_clipping",
    "renorm_momentum",
    "trainable",
    "value_range",
}
"""Options that change nothing here."""

_ALLOWED: dict[str, tuple[Any, ...]] = {"data_format": ("channels_last", None), "groups": (1, None)}
"""Options that have no counterpart, with the values that mean what happens here anyway."""

_NO_COUNTERPART = {
    "RandomCrop": "Keras resizes or crops at inference as well, by other rules",
    "MixUp": "in Keras it mixes inputs and leaves labels as they are",
    "Lambda": "it holds code of Python, which is not executed",
    "TimeDistributed": "layers inside others are not read",
    "TFOpLambda": "it is an operation of TensorFlow, not a layer",
}

_DELAYED = {"LeakyReLU": {"alpha": "negative_slope"}}
"""Names of options in Keras 2."""


def layer_of(item: Item, version: str) -> Layer:
    """The layer that does the same.

    Args:
        item: a layer of Keras, with its arrays.
        version: the version of Keras that wrote it, or an empty text.

    Raises:
        ValueError: there is none; the message names the layer and what is missing.
    """
    module = item.entry.get("module")
    if item.kind == "Gelu" and module in ("keras.src.ops.nn", "keras.ops.nn", "keras.ops"):
        name = "gelu_tanh" if item.config.get("approximate", True) else "gelu"
        return Activation(name, name=plain_name(item.name))
    ours = next((cls for cls in REGISTRY.classes() if cls.__name__ == item.kind), None)
    foreign = isinstance(module, str) and module.partition(".")[0] not in ("keras", "tf_keras", "tensorflow")
    if foreign or item.entry.get("registered_name") not in (None, item.kind):
        raise _refused(item, f"it is a class of its own, of {module or item.entry.get('registered_name')}")
    if ours is None or item.kind in _NO_COUNTERPART or not _is_of_keras(item.kind):
        raise _refused(item, _NO_COUNTERPART.get(item.kind, "gridnn has no such layer"))
    renamed = _DELAYED.get(item.kind, {})
    given = {renamed.get(key, key): value for key, value in item.config.items()}
    if item.kind in _CONVERSIONS:
        _CONVERSIONS[item.kind](item, given)
    arguments: dict[str, Any] = {"name": plain_name(item.name)}
    for key, value in given.items():
        if key in ours.config_fields:
            arguments[key] = _argument(item, key, value, version)
        elif key not in _IGNORED and value not in _ALLOWED.get(key, (None, False)):
            raise _refused(item, f"with {key}={value!r}, which is not supported")
        elif key == "activity_regularizer" and value is not None:
            raise _refused(item, "with an `activity_regularizer`, which this layer has not here")
    arguments = {key: value for key, value in arguments.items() if value is not _DEFAULT}
    try:
        layer = ours.from_config(arguments)
        layer.trainable = _flag(item.config.get("trainable", True))
    except (TypeError, ValueError) as error:
        raise _refused(item, f"its description does not fit: {error}") from error
    return layer


def plain_name(name: str) -> str:
    """A name of Keras as one that a layer of ours may have."""
    return "".join(letter if letter.isprintable() and letter != "/" else "_" for letter in name) or "layer"


def input_shape_of(config: Mapping[str, Any]) -> tuple[int | None, ...] | None:
    """The shape of a sample by the options of an `InputLayer`, or of a first layer in Keras 2.

    Raises:
        ValueError: it is no shape.
    """
    shape = config.get("batch_shape", config.get("batch_input_shape"))
    if shape is None:
        return None
    if not isinstance(shape, (list, tuple)) or not shape:
        raise ValueError(f"the shape of the input is {shape!r}")
    return tuple(shape[1:])


def dtype_of(item: Item) -> str:
    """The type in which a layer keeps its weights: "float64", or "float32" for all that is shorter.

    Raises:
        ValueError: it is a layer with quantized weights.
    """
    policy = item.config.get("dtype")
    if isinstance(policy, Mapping):
        kind, config = policy.get("class_name"), policy.get("config", {})
        policy = config.get("name") if isinstance(config, Mapping) else None
        if kind not in ("DTypePolicy", "Policy"):
            raise _refused(item, f"its weights are quantized ({kind} {policy!r})")
    if isinstance(policy, str) and ("int" in policy or "float8" in policy):
        raise _refused(item, f"its weights are quantized ({policy!r})")
    return "float64" if policy == "float64" else "float32"


_DEFAULT = object()
"""In place of an argument: take the default of our layer."""


def _is_of_keras(kind: str) -> bool:
    """Whether a class of ours is called like one of Keras, not only like one that somebody has written."""
    return kind not in _ONLY_OURS


_ONLY_OURS = {
    "Chain",
    "DepthwiseConv3D",
    "Padding1D",
    "Padding2D",
    "Padding3D",
    "Parallel",
    "RandomNoise",
    "Residual",
    "STFT",
    "SeparableConv3D",
}


def _refused(item: Item, reason: str) -> ValueError:
    return ValueError(f"{item.label} cannot be read: {reason}")


def _flag(value: object) -> bool:
    return bool(value)


def _argument(item: Item, key: str, value: Any, version: str) -> Any:
    if key == "activation":
        return _activation(item, value, version)
    if key.endswith("_initializer"):
        return _initializer(value)
    if value is not None and key.endswith("_regularizer"):
        return _object(item, key, value, regularizers.REGISTRY)
    if value is not None and key.endswith("_constraint"):
        return _object(item, key, value, constraints.REGISTRY)
    return value


def _activation(item: Item, value: Any, version: str) -> Any:
    """The name of an activation, which may be written as an object."""
    if isinstance(value, Mapping):
        config = value.get("config")
        value = config if isinstance(config, str) else value.get("class_name")
    if value == "hard_sigmoid" and not version.startswith("3"):
        raise _refused(item, "hard_sigmoid of Keras 2 is clip(x / 5 + 1/2), here it is clip(x / 6 + 1/2)")
    return value


def _initializer(value: Any) -> Any:
    """An initializer; the default of the layer if it is not known here, since weights follow anyway."""
    try:
        return _made(value, initializers.REGISTRY)
    except (TypeError, ValueError):
        return _DEFAULT


def _object(item: Item, key: str, value: Any, registry: Any) -> Any:
    try:
        return _made(value, registry)
    except (TypeError, ValueError) as error:
        raise _refused(item, f"its {key} is not known here: {error}") from error


def _made(value: Any, registry: Any) -> Any:
    """An object of one of our registries from its description in Keras."""
    if not isinstance(value, Mapping):
        return registry.get(value)
    name, config = value.get("class_name"), value.get("config", {})
    known = {cls.__name__: cls for cls in registry.classes()}
    cls = known.get({"IdentityInitializer": "Identity"}.get(str(name), str(name)))
    if cls is None or not isinstance(config, Mapping):
        raise ValueError(f"{name!r}")
    return cls.from_config({key: config[key] for key in cls.config_fields if key in config})


# Layers whose options are written otherwise


def _one_axis(item: Item, given: dict[str, Any]) -> None:
    axis = given.get("axis")
    if isinstance(axis, (list, tuple)):  # of Keras 2
        if len(axis) != 1:
            raise _refused(item, f"over the axes {axis}")
        given["axis"] = axis[0]


def _normalization(item: Item, given: dict[str, Any]) -> None:
    """Its numbers are options, or arrays that `adapt` has found."""
    if given.get("mean") is None or given.get("variance") is None:
        if len(item.arrays) not in (2, 3):
            raise _refused(item, "it has neither been adapted nor been given numbers")
        given["mean"], given["variance"] = item.arrays[:2]
    axis = given.get("axis", -1)
    if axis == [] or axis == ():
        axis = None
    given["axis"] = axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis
    for key in ("mean", "variance"):
        given[key] = np.asarray(given[key], np.float64).ravel().tolist()


def _separable(item: Item, given: dict[str, Any]) -> None:
    for key in ("kernel_initializer", "kernel_regularizer", "kernel_constraint"):
        given.pop(key, None)  # of the class that it is made from, without effect


def _padded(item: Item, given: dict[str, Any]) -> None:
    """Keras 2 writes the padding of a single axis as two numbers."""
    for key in ("padding", "cropping"):
        value = given.get(key)
        if isinstance(value, int):
            given[key] = [[value, value]]


def _spatial_dropout(item: Item, given: dict[str, Any]) -> None:
    given.pop("noise_shape", None)


_CONVERSIONS: dict[str, Callable[[Item, dict[str, Any]], None]] = {
    "BatchNormalization": _one_axis,
    "Cropping1D": _padded,
    "DepthwiseConv1D": _separable,
    "DepthwiseConv2D": _separable,
    "Normalization": _normalization,
    "SeparableConv1D": _separable,
    "SeparableConv2D": _separable,
    "Softmax": _one_axis,
    "SpatialDropout1D": _spatial_dropout,
    "SpatialDropout2D": _spatial_dropout,
    "SpatialDropout3D": _spatial_dropout,
    "ZeroPadding1D": _padded,
}
