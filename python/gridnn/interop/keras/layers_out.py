"""What Keras is told about layers of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gridnn import layers
from gridnn._config import Configurable
from gridnn.layers.base import Layer
from gridnn.layers.conv import Convolution
from gridnn.layers.conv_transpose import TransposedConvolution
from gridnn.layers.depthwise import DepthwiseConvolution, SeparableConvolution
from gridnn.layers.pooling import AveragePooling, MaxPooling

__all__ = ["described"]

Options = dict[str, Any]
Described = tuple[str, str, Options]
"""Class in Keras, name, and arguments."""

_LACKING = {
    "DepthwiseConv3D",
    "Padding1D",
    "Padding2D",
    "Padding3D",
    "RandomCrop",
    "RandomNoise",
    "SeparableConv3D",
}
"""Classes that Keras does not have, or that do something else there."""

_MODULES = {
    "initializer": "keras.initializers",
    "regularizer": "keras.regularizers",
    "constraint": "keras.constraints",
}

_WITH_FORMAT_IN_SERIES = ("Conv", "Pooling")
_WITH_FORMAT = (*_WITH_FORMAT_IN_SERIES, "Padding", "Cropping", "UpSampling", "Flatten", "Spatial", "Random")
"""Parts of names of classes that have a `data_format`."""


def described(layer: Layer, shape: Sequence[int | None]) -> list[Described]:
    """The layers of Keras that do the same, one after the other; the last one has the weights.

    Args:
        layer: a layer.
        shape: shape of a sample that it reads.

    Raises:
        ValueError: Keras has none; the message names the layer and what is lacking.
    """
    kind = type(layer).__name__
    if layer.in_python:
        raise _lacking(layer, "it is written in Python, for gridnn")
    if kind in _LACKING:
        raise _lacking(layer, "there is no such layer")
    options = {key: _plain(layer, key, getattr(layer, key)) for key in layer.config_fields}
    options["name"] = layer.name
    before: list[Described] = []
    for cls, convert in _CONVERSIONS:
        if isinstance(layer, cls):
            before += convert(layer, options, shape)
    if kind.startswith("Random") and len(shape) != 3:
        raise _lacking(layer, "it takes images only")
    if options.get("activation") == "gelu_tanh":
        raise _lacking(layer, 'the activation "gelu_tanh" has no name there')
    if any(part in kind for part in (_WITH_FORMAT_IN_SERIES if kind.endswith("1D") else _WITH_FORMAT)):
        options["data_format"] = "channels_last"
    return [*before, (kind, layer.name, options)]


def _lacking(layer: Layer, reason: str) -> ValueError:
    return ValueError(f"{layer.label}: {reason}")


def _plain(layer: Layer, key: str, value: Any) -> Any:
    """An argument as JSON, in the words of Keras."""
    if isinstance(value, Configurable):
        config = {field: _plain(layer, field, getattr(value, field)) for field in value.config_fields}
        module = _MODULES[key.rpartition("_")[2]]
        return {
            "module": module,
            "class_name": type(value).__name__,
            "config": config,
            "registered_name": None,
        }
    if isinstance(value, (tuple, list)):
        return [_plain(layer, key, element) for element in value]
    return value


# Options that are written otherwise, or that Keras has no word for


def _convolution(layer: Any, options: Options, shape: Sequence[int | None]) -> list[Described]:
    if options.pop("padding_mode", "zeros") != "zeros":
        raise _lacking(layer, f"padding_mode={layer.padding_mode!r}")
    if max(layer.strides) > 1 and max(layer.dilation_rate) > 1:
        raise _lacking(layer, "strides and dilation at once")
    if layer.padding == "causal" and not isinstance(layer, Convolution):
        raise _lacking(layer, 'padding="causal" of this layer')
    if isinstance(layer.padding, str):
        return []
    options["padding"] = "valid"
    if not any(side for pair in layer.padding for side in pair):
        return []
    pairs: Any = [list(pair) for pair in layer.padding]
    name = f"{layer.name}_padding"
    arguments = {"name": name, "padding": pairs[0] if layer.rank == 1 else pairs}
    return [(f"ZeroPadding{layer.rank}D", name, arguments)]


def _transposed(layer: Any, options: Options, shape: Sequence[int | None]) -> list[Described]:
    if options.pop("groups") != 1:
        raise _lacking(layer, "groups of a transposed convolution")
    if max(layer.strides) > 1 and max(layer.dilation_rate) > 1:
        raise _lacking(layer, "strides and dilation at once")
    if not isinstance(layer.padding, str):
        raise _lacking(layer, "padding in numbers of a transposed convolution")
    return []


def _pooling(layer: Any, options: Options, shape: Sequence[int | None]) -> list[Described]:
    if options.pop("ceil_mode"):
        raise _lacking(layer, "ceil_mode=True")
    counted = options.pop("count_include_pad", False)
    if not isinstance(layer.padding, str):
        if any(side for pair in layer.padding for side in pair):
            raise _lacking(layer, "padding in numbers of a pool")
        options["padding"] = "valid"
    elif counted and layer.padding == "same":
        raise _lacking(layer, "count_include_pad=True")
    return []


def _random(layer: Any, options: Options, shape: Sequence[int | None]) -> list[Described]:
    if options.pop("depth_factor", None) is not None:
        raise _lacking(layer, "a `depth_factor`")
    if not isinstance(getattr(layer, "mode", ""), str):
        raise _lacking(layer, "`mode` as a list of axes")
    return []


def _dropout(layer: Any, options: Options, shape: Sequence[int | None]) -> list[Described]:
    if options["noise_shape"] is not None and None in options["noise_shape"]:
        sizes = [None, *shape]
        options["noise_shape"] = [
            size if wanted is None else wanted
            for wanted, size in zip(options["noise_shape"], sizes, strict=False)
        ]
    return []


def _normalization(layer: Any, options: Options, shape: Sequence[int | None]) -> list[Described]:
    """Keras divides by 1e-7 where the variance is 0, and takes numbers in the shape of their axes."""
    axes = [] if layer.axis is None else [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    sizes = [shape[axis % (len(shape) + 1) - 1] for axis in sorted(axis % (len(shape) + 1) for axis in axes)]
    mean, variance = np.array(layer.mean), np.array(layer.variance)
    variance = np.where(variance == 0.0, 1.0, variance)
    if mean.size > 1:
        mean, variance = mean.reshape(sizes), variance.reshape(sizes)
    elif not axes:
        mean, variance = mean.reshape(()), variance.reshape(())
    options |= {"axis": axes or None, "mean": mean.tolist(), "variance": variance.tolist()}
    return []


def _only_axis(layer: Any, options: Options, shape: Sequence[int | None]) -> list[Described]:
    for key in ("padding", "cropping", "size"):
        if key in options:
            options[key] = options[key][0]
    return []


def _prelu(layer: Any, options: Options, shape: Sequence[int | None]) -> list[Described]:
    options["shared_axes"] = options["shared_axes"] or None
    return []


Conversion = Callable[[Any, Options, Sequence[int | None]], list[Described]]

_CONVERSIONS: list[tuple[type | tuple[type, ...], Conversion]] = [
    ((Convolution, DepthwiseConvolution, SeparableConvolution), _convolution),
    (TransposedConvolution, _transposed),
    ((MaxPooling, AveragePooling), _pooling),
    ((layers.RandomFlip, layers.RandomRotation, layers.RandomTranslation, layers.RandomZoom), _random),
    (layers.Dropout, _dropout),
    (layers.Normalization, _normalization),
    (layers.PReLU, _prelu),
    ((layers.ZeroPadding1D, layers.Cropping1D, layers.UpSampling1D), _only_axis),
]
