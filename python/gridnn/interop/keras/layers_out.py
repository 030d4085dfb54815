"""What Keras is told about layers of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gridnn import layers
from gridnn._config import Configurable
from gridnn._engine import place_window
from gridnn.initializers import Initializer, Zeros
from gridnn.interop._layer_arithmetic import window_pads
from gridnn.layers.activation import activation_as_layer
from gridnn.layers.base import Layer
from gridnn.layers.conv import Convolution
from gridnn.layers.conv_transpose import TransposedConvolution
from gridnn.layers.depthwise import DepthwiseConvolution, SeparableConvolution
from gridnn.layers.padding import Padding
from gridnn.layers.pooling import AveragePooling, MaxPooling

__all__ = ["OPERATIONS", "described"]

OPERATIONS = {"Gelu": "keras.src.ops.nn"}
"""Classes that are no layers, and the modules that they are from: functional models hold them."""

Options = dict[str, Any]
Described = tuple[str, str, Options]
"""Class in Keras, name, and arguments."""

_LACKING = {
    "DepthwiseConv3D",
    "MixUp",  # in a model of Keras it mixes inputs and leaves labels as they are
    "RandomCrop",
    "RandomNoise",
    "STFT",
    "SeparableConv3D",
    "TimeDistributed",
}
"""Classes that Keras does not have, or that do something else there, or hold layers."""

_MODULES = {
    "initializer": "keras.initializers",
    "regularizer": "keras.regularizers",
    "constraint": "keras.constraints",
}

_WITH_FORMAT_IN_SERIES = ("Conv", "Pooling")
_WITH_FORMAT = (
    *_WITH_FORMAT_IN_SERIES,
    "CenterCrop",
    "Cropping",
    "Flatten",
    "Padding",
    "Random",
    "Resizing",
    "Spatial",
    "UpSampling",
)
"""Parts of names of classes that have a `data_format`."""


def described(layer: Layer, shape: Sequence[int | None]) -> list[Described]:
    """The layers of Keras that do the same, one after the other; the one of the same name has the weights.

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
    after: list[Described] = []
    if options.get("activation") == "gelu_tanh":  # has no name there, but is an operation
        gelu: Options = {"approximate": True}
        if isinstance(layer, layers.Activation):
            return [("Gelu", layer.name, gelu)]
        options["activation"] = "linear"
        after = [("Gelu", f"{layer.name}_gelu", gelu)]
    if "(" in str(options.get("activation")):  # a layer's parameters: it comes after
        own = activation_as_layer(options["activation"])
        options["activation"] = "linear"
        after = [(type(own).__name__, f"{layer.name}_activation", _parameters(own))]
    if any(part in kind for part in (_WITH_FORMAT_IN_SERIES if kind.endswith("1D") else _WITH_FORMAT)):
        options["data_format"] = "channels_last"
    return [*before, (options.pop("class_name", kind), layer.name, options), *after]


def _parameters(layer: Layer) -> Options:
    return {key: getattr(layer, key) for key in layer.config_fields}


def _lacking(layer: Layer, reason: str) -> ValueError:
    return ValueError(f"{layer.label}: {reason}")


def _plain(layer: Layer, key: str, value: Any) -> Any:
    """An argument as JSON, in the words of Keras."""
    if isinstance(value, Initializer) and value.in_python:
        value = Zeros()  # Keras has no such class, and the weights are in the file
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
    return [_zeros(layer, layer.padding)]


def _transposed(layer: Any, options: Options, shape: Sequence[int | None]) -> list[Described]:
    if options.pop("groups") != 1:
        raise _lacking(layer, "groups of a transposed convolution")
    if max(layer.strides) > 1 and max(layer.dilation_rate) > 1:
        raise _lacking(layer, "strides and dilation at once")
    if not isinstance(layer.padding, str):
        raise _lacking(layer, "padding in numbers of a transposed convolution")
    return []


def _pooling(layer: Any, options: Options, shape: Sequence[int | None]) -> list[Described]:
    options.pop("ceil_mode")
    counted = options.pop("count_include_pad", False)
    sizes, ones = shape[:-1], [1] * layer.rank
    pads = window_pads(layer, sizes, layer.pool_size, ones)
    if layer.ceil_mode and _rounds(layer, sizes, pads):
        raise _lacking(layer, "ceil_mode=True")
    if layer.padding == "valid" or (pads is not None and not any(map(any, pads))):
        options["padding"] = "valid"
        return []
    if counted:  # zeros that count are a layer there
        if pads is None:
            raise _lacking(layer, "count_include_pad=True where sizes are not known")
        options["padding"] = "valid"
        return [_zeros(layer, pads)]
    if layer.padding != "same" and not _is_same(layer, sizes, pads):
        raise _lacking(layer, f'padding={layer.padding!r} of a pool, but for what "same" gives')
    options["padding"] = "same"
    return []


def _zeros(layer: Any, pads: Sequence[tuple[int, int]]) -> Described:
    """A layer of zeros before another one."""
    pairs = [list(pair) for pair in pads]
    options = {"padding": pairs[0] if layer.rank == 1 else pairs}
    return f"ZeroPadding{layer.rank}D", f"{layer.name}_padding", options


def _rounds(layer: Any, sizes: Sequence[int | None], pads: Sequence[tuple[int, int]] | None) -> bool:
    """Whether the last window reaches over the end."""
    axes = zip(sizes, pads or (), layer.pool_size, layer.strides, strict=False)
    return pads is None or any(
        s > 1 and (size is None or (size + sum(pair) - k) % s) for size, pair, k, s in axes
    )


def _is_same(layer: Any, sizes: Sequence[int | None], pads: Sequence[tuple[int, int]] | None) -> bool:
    """Whether padding in numbers is that of "same"."""
    placed = []
    for size, k, s in zip(sizes, layer.pool_size, layer.strides, strict=True):
        if size is None and s > 1:
            return False
        placed.append(place_window([size or 2 * k], [k], [s], "same", [1], False, None)[0][2:])
    return pads == placed


def _border(layer: Any, options: Options, shape: Sequence[int | None]) -> list[Described]:
    if options.pop("mode") != "zeros":
        raise _lacking(layer, f"mode={layer.mode!r}")
    options["class_name"] = f"ZeroPadding{layer.rank}D"
    return []


def _random(layer: Any, options: Options, shape: Sequence[int | None]) -> list[Described]:
    if options.pop("depth_factor", None) is not None:
        raise _lacking(layer, "a `depth_factor`")
    if not isinstance(getattr(layer, "mode", ""), str):
        raise _lacking(layer, "`mode` as a list of axes")
    return []


def _contrast(layer: Any, options: Options, shape: Sequence[int | None]) -> list[Described]:
    lower, upper = layer.factor
    if lower > upper:
        raise _lacking(layer, "a `factor` whose first number is the larger one")
    return []


def _erasing(layer: Any, options: Options, shape: Sequence[int | None]) -> list[Described]:
    if isinstance(layer.fill_value, tuple) and len(layer.fill_value) != 3:
        raise _lacking(layer, "a `fill_value` of other than 1 or 3 numbers")
    return []


def _sized(layer: Any, options: Options, shape: Sequence[int | None]) -> list[Described]:
    if options.pop("depth") is not None or len(shape) != 3:
        raise _lacking(layer, "it takes images only")
    rows, columns = shape[:2]
    for key, size in (("height", rows), ("width", columns)):
        options[key] = getattr(layer, key) or size
        if options[key] is None:
            raise _lacking(layer, f"a `{key}` that depends on the input")
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
    (Padding, _border),
    ((layers.RandomFlip, layers.RandomRotation, layers.RandomTranslation, layers.RandomZoom), _random),
    (layers.RandomContrast, _contrast),
    (layers.RandomErasing, _erasing),
    ((layers.CenterCrop, layers.Resizing), _sized),
    (layers.Dropout, _dropout),
    (layers.Normalization, _normalization),
    (layers.PReLU, _prelu),
    ((layers.ZeroPadding1D, layers.Padding1D, layers.Cropping1D, layers.UpSampling1D), _only_axis),
]
