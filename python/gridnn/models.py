"""The common architectures, written as the tables of their papers.

Each function returns an untrained `Sequential` that puts out scores (logits): train it with a cross-entropy.
`inception` returns a layer. Numbers of parameters are those that papers and other libraries publish; the
tests compare them.

Example:
    >>> import gridnn as gn
    >>> model = gn.models.resnet(20, input_shape=(32, 32, 3), classes=10)
    >>> model.output_shape
    (None, 10)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gridnn import _validation, layers
from gridnn._custom import custom_classes
from gridnn._series_models import fcn, inception_time, resnet1d
from gridnn.layers.base import Layer
from gridnn.model import saving
from gridnn.model.cloning import clone_model
from gridnn.model.functional import Model
from gridnn.model.loading import load_model
from gridnn.model.sequential import Sequential
from gridnn.model.trainable import TrainableModel

__all__ = [
    "Model",
    "Sequential",
    "clone_model",
    "fcn",
    "googlenet",
    "inception",
    "inception_time",
    "lenet5",
    "load_model",
    "mobilenet",
    "model_from_json",
    "resnet",
    "resnet1d",
    "tcn",
    "unet",
    "vgg",
]

Shape = Sequence[int | None]


def model_from_json(json_string: str, custom_objects: Mapping[str, type] | None = None) -> TrainableModel:
    """The model that `to_json` has written, with initial weights; it is not compiled.

    Args:
        json_string: the text.
        custom_objects: classes of your own that it names, by name.

    Raises:
        ValueError: not such a text.

    Example:
        >>> import gridnn as gn
        >>> text = gn.Sequential([gn.Input((4,)), gn.layers.Dense(3)]).to_json()
        >>> model_from_json(text).output_shape
        (None, 3)
    """
    try:
        description = json.loads(json_string)
        described = {"class_name": description["class_name"], "config": dict(description["config"])}
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(
            f"`json_string` must be what `to_json` of a model of gridnn returns. Received "
            f"{json_string!r:.80}."
        ) from error
    with custom_classes(custom_objects):
        try:
            model = saving.restored(described)
        except KeyError as error:
            raise ValueError(f"`json_string` is of another program: it lacks {error}.") from error
    if not isinstance(model, TrainableModel):
        raise ValueError(f"`json_string` describes a {described['class_name']}, which is no model.")
    return model


def _ranked(kind: str, rank: int) -> Any:
    """The class of a layer for 1, 2 or 3 spatial axes: Conv2D of Conv."""
    return getattr(layers, f"{kind}{rank}D")


def _known(value: int, name: str, choices: Sequence[int]) -> int:
    number = _validation.integer(value, name)
    if number not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(map(str, choices))}. Received {name}={value}.")
    return number


def _sizes(input_shape: Shape, classes: int, axes: str = "(height, width, channels)") -> tuple[Shape, int]:
    """The shape of a sample, with these axes, and the number of outputs."""
    shape = _validation.sample_shape(input_shape, "input_shape")
    if len(shape) != axes.count(",") + 1:
        raise ValueError(f"The `input_shape` argument must be {axes}. Received input_shape={input_shape!r}.")
    return shape, _validation.positive_integer(classes, "classes")


def lenet5(input_shape: Shape = (32, 32, 1), classes: int = 10) -> Sequential:
    """LeNet-5 for handwritten digits (LeCun, Bottou, Bengio and Haffner 1998), as it is built today.

    61,706 weights with the defaults. The 60,000 of the paper come from its table of connections in the third
    layer (900 fewer), pools with coefficients (44 more), and outputs that were not trained (850 fewer).

    Args:
        input_shape: shape of an image; at least 28 pixels along each axis.
        classes: number of outputs.

    Example:
        >>> model = gn.models.lenet5(input_shape=(28, 28, 1), classes=10)
        >>> model.output_shape
        (None, 10)
    """
    input_shape, classes = _sizes(input_shape, classes)
    return Sequential(
        [
            layers.Input(input_shape),
            layers.Conv2D(6, 5, activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Conv2D(16, 5, activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(120, activation="tanh"),
            layers.Dense(84, activation="tanh"),
            layers.Dense(classes),
        ],
        name="lenet5",
    )


_VGG = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def vgg(
    depth: int = 16,
    input_shape: Shape = (224, 224, 3),
    classes: int = 1000,
    *,
    width: int = 64,
    units: int = 4096,
    dropout: float = 0.5,
) -> Sequential:
    """VGG: nothing but 3 x 3 convolutions and pools (Simonyan and Zisserman 2015, columns A, B, D and E).

    138,357,544 weights and 15.5 billion multiply-adds with the defaults.

    Args:
        depth: layers with weights: 11, 13, 16 or 19.
        input_shape: shape of an image; at least 32 pixels along each axis.
        classes: number of outputs.
        width: channels of the first stage; each stage has twice as many as the one before, up to eight times.
        units: units of the two dense layers.
        dropout: share of these that is dropped in training.

    Raises:
        ValueError: another depth.

    Example:
        >>> model = gn.models.vgg(11, input_shape=(32, 32, 3), classes=10)
        >>> model.output_shape
        (None, 10)
    """
    input_shape, classes = _sizes(input_shape, classes)
    stack: list[Layer] = [layers.Input(input_shape)]
    for stage, repeats in enumerate(_VGG[_known(depth, "depth", tuple(_VGG))]):
        filters = width * min(2**stage, 8)
        stack += [layers.Conv2D(filters, 3, padding="same", activation="relu") for _ in range(repeats)]
        stack.append(layers.MaxPooling2D(2))
    stack.append(layers.Flatten())
    for _ in range(2):
        stack += [layers.Dense(units, activation="relu"), layers.Dropout(dropout)]
    return Sequential([*stack, layers.Dense(classes)], name=f"vgg{depth}")


def inception(one: int, three: tuple[int, int], five: tuple[int, int], pool: int) -> layers.Parallel:
    """An Inception module (Szegedy and others 2015): four views of the same place, side by side.

    The arguments are the columns of the paper's table 1.

    Args:
        one: filters of 1 x 1.
        three: filters of the 1 x 1 reduction, and of the 3 x 3 convolution behind it.
        five: the same for 5 x 5.
        pool: filters of 1 x 1 behind a 3 x 3 pool.

    Returns:
        A layer that puts out ``one + three[1] + five[1] + pool`` channels.

    Example:
        >>> block = gn.models.inception(8, (4, 8), (2, 4), 4)
        >>> gn.Sequential([gn.Input((16, 16, 3)), block]).output_shape
        (None, 16, 16, 24)
    """

    def conv(filters: int, size: int) -> Layer:
        return layers.Conv2D(filters, size, padding="same", activation="relu")

    return layers.Parallel(
        [
            [conv(one, 1)],
            [conv(three[0], 1), conv(three[1], 3)],
            [conv(five[0], 1), conv(five[1], 5)],
            [layers.MaxPooling2D(3, 1, padding="same"), conv(pool, 1)],
        ]
    )


def googlenet(input_shape: Shape = (224, 224, 3), classes: int = 1000, *, dropout: float = 0.4) -> Sequential:
    """GoogLeNet (Szegedy and others 2015, table 1), without local normalization and auxiliary outputs.

    6,998,552 weights with the defaults.

    Args:
        input_shape: shape of an image; at least 32 pixels along each axis.
        classes: number of outputs.
        dropout: share of the last features that is dropped in training.

    Example:
        >>> model = gn.models.googlenet(input_shape=(32, 32, 3), classes=10)
        >>> model.output_shape
        (None, 10)
    """
    input_shape, classes = _sizes(input_shape, classes)

    def pool() -> Layer:
        return layers.MaxPooling2D(3, 2, padding="same")

    return Sequential(
        [
            layers.Input(input_shape),
            layers.Conv2D(64, 7, strides=2, padding="same", activation="relu"),
            pool(),
            layers.Conv2D(64, 1, activation="relu"),
            layers.Conv2D(192, 3, padding="same", activation="relu"),
            pool(),
            inception(64, (96, 128), (16, 32), 32),
            inception(128, (128, 192), (32, 96), 64),
            pool(),
            inception(192, (96, 208), (16, 48), 64),
            inception(160, (112, 224), (24, 64), 64),
            inception(128, (128, 256), (24, 64), 64),
            inception(112, (144, 288), (32, 64), 64),
            inception(256, (160, 320), (32, 128), 128),
            pool(),
            inception(256, (160, 320), (32, 128), 128),
            inception(384, (192, 384), (48, 128), 128),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(dropout),
            layers.Dense(classes),
        ],
        name="googlenet",
    )


_RESNET = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class _ResidualBlocks:
    """The parts of a residual network.

    Args:
        momentum: of its batch normalizations.
    """

    def __init__(self, momentum: float) -> None:
        self._momentum = momentum

    def normalized(self, filters: int, size: int, stride: int = 1) -> list[Layer]:
        """A convolution and its batch normalization; pads as the paper, `size // 2` on every side."""
        conv = layers.Conv2D(filters, size, strides=stride, padding=size // 2, use_bias=False)
        return [conv, layers.BatchNormalization(momentum=self._momentum)]

    def block(self, filters: int, stride: int, channels: int, bottleneck: bool) -> list[Layer]:
        """A block and the ReLU behind it."""
        if bottleneck:
            outputs = 4 * filters
            branch = [
                *self.normalized(filters, 1, stride),
                layers.ReLU(),
                *self.normalized(filters, 3),
                layers.ReLU(),
                *self.normalized(outputs, 1),
            ]
        else:
            outputs = filters
            branch = [*self.normalized(filters, 3, stride), layers.ReLU(), *self.normalized(filters, 3)]
        same = stride == 1 and channels == outputs
        shortcut = None if same else self.normalized(outputs, 1, stride)
        return [layers.Residual(branch, shortcut), layers.ReLU()]


def resnet(
    depth: int = 18,
    input_shape: Shape = (224, 224, 3),
    classes: int = 1000,
    *,
    width: int | None = None,
    momentum: float = 0.99,
) -> Sequential:
    """A residual network (He, Zhang, Ren and Sun 2016).

    Depths 18, 34, 50, 101 and 152 are those of the paper's table 1, for large images: 11,689,512 trainable
    weights at depth 18, 25,557,032 at 50. Depths 20, 32, 44, 56 and 110 are those of its section 4.2, for
    images of 32 pixels: three stages at full, half and quarter resolution. Where the shape changes, the
    shortcut is a 1 x 1 convolution (option B).

    Args:
        depth: layers with weights.
        input_shape: shape of an image.
        classes: number of outputs.
        width: channels of the first stage; None takes the paper's, 64 for large images, 16 for small ones.
        momentum: of the batch normalizations; short training wants less, as 0.9.

    Raises:
        ValueError: another depth.

    Example:
        >>> model = gn.models.resnet(20, input_shape=(32, 32, 3), classes=10)
        >>> model.output_shape
        (None, 10)
    """
    input_shape, classes = _sizes(input_shape, classes)
    parts = _ResidualBlocks(momentum)
    small = (20, 32, 44, 56, 110)
    _known(depth, "depth", (*_RESNET, *small))
    if depth in small:
        repeats: tuple[int, ...] = ((depth - 2) // 6,) * 3
        width = 16 if width is None else width
        stem: list[Layer] = [*parts.normalized(width, 3), layers.ReLU()]
    else:
        repeats = _RESNET[depth]
        width = 64 if width is None else width
        stem = [*parts.normalized(width, 7, 2), layers.ReLU(), layers.MaxPooling2D(3, 2, padding=1)]
    bottleneck = depth in (50, 101, 152)
    stack, channels = [layers.Input(input_shape), *stem], width
    for stage, count in enumerate(repeats):
        filters = width * 2**stage
        for block in range(count):
            stride = 2 if stage and not block else 1
            stack += parts.block(filters, stride, channels, bottleneck)
            channels = filters * (4 if bottleneck else 1)
    return Sequential([*stack, layers.GlobalAveragePooling2D(), layers.Dense(classes)], name=f"resnet{depth}")


_MOBILENET = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)  # filters and stride of each pair


def mobilenet(
    input_shape: Shape = (224, 224, 3),
    classes: int = 1000,
    *,
    alpha: float = 1.0,
    dropout: float = 0.001,
    momentum: float = 0.99,
) -> Sequential:
    """MobileNet, pairs of depthwise and 1 x 1 convolutions (Howard and others 2017, table 1).

    4,231,976 trainable weights and 569 million multiply-adds with the defaults.

    Args:
        input_shape: shape of an image; at least 32 pixels along each axis.
        classes: number of outputs.
        alpha: factor on the numbers of channels.
        dropout: share of the last features that is dropped in training.
        momentum: of the batch normalizations; short training wants less, as 0.9.

    Example:
        >>> model = gn.models.mobilenet(input_shape=(32, 32, 3), classes=10)
        >>> model.output_shape
        (None, 10)
    """
    input_shape, classes = _sizes(input_shape, classes)
    alpha = _validation.real(alpha, "alpha", low=0.0)

    def settled() -> list[Layer]:
        return [layers.BatchNormalization(momentum=momentum), layers.ReLU(max_value=6.0)]

    def channels(filters: int) -> int:
        return max(1, int(filters * alpha))

    stack: list[Layer] = [
        layers.Input(input_shape),
        layers.Conv2D(channels(32), 3, strides=2, padding="same", use_bias=False),
        *settled(),
    ]
    for filters, stride in _MOBILENET:
        stack += [layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False), *settled()]
        stack += [layers.Conv2D(channels(filters), 1, use_bias=False), *settled()]
    stack += [layers.GlobalAveragePooling2D(), layers.Dropout(dropout), layers.Dense(classes)]
    return Sequential(stack, name="mobilenet")


def unet(
    input_shape: Shape = (256, 256, 1),
    classes: int = 2,
    *,
    width: int = 64,
    depth: int = 4,
    normalize: bool = False,
    momentum: float = 0.99,
) -> Sequential:
    """U-Net for series, images and volumes: a class for every place (Ronneberger, Fischer and Brox 2015).

    Down with pools, up with transposed convolutions, and at every resolution a shortcut across. Convolutions
    are padded, so that the output has the size of the input. In 2-D with one class and the other defaults it
    has 31,030,593 weights.

    Args:
        input_shape: shape of a sample with one to three spatial axes; sizes must be multiples of
            ``2 ** depth``, or None.
        classes: scores at every place.
        width: channels at full resolution; every level has twice as many as the one above.
        depth: number of pools.
        normalize: whether batch normalization follows every convolution.
        momentum: of the batch normalizations; short training wants less, as 0.9.

    Raises:
        ValueError: not one to three spatial axes.

    Example:
        >>> model = gn.models.unet(input_shape=(32, 32, 1), classes=2)
        >>> model.output_shape
        (None, 32, 32, 2)
    """
    classes = _validation.positive_integer(classes, "classes")
    rank = len(tuple(input_shape)) - 1
    if rank not in (1, 2, 3):
        raise ValueError(f"`input_shape` must have one to three spatial axes. Received {input_shape}.")
    depth = _validation.non_negative_integer(depth, "depth")

    def conv(filters: int) -> list[Layer]:
        kind = _ranked("Conv", rank)
        if normalize:
            plain = kind(filters, 3, padding="same", use_bias=False)
            return [plain, layers.BatchNormalization(momentum=momentum), layers.ReLU()]
        return [kind(filters, 3, padding="same", activation="relu")]

    def level(number: int) -> list[Layer]:
        filters = width * 2**number
        double = [*conv(filters), *conv(filters)]
        if number == depth:
            return double
        below = [
            _ranked("MaxPooling", rank)(2),
            *level(number + 1),
            getattr(layers, f"Conv{rank}DTranspose")(filters, 2, strides=2),
        ]
        return [*double, layers.Parallel([[], below]), *conv(filters), *conv(filters)]

    scores = _ranked("Conv", rank)(classes, 1)
    return Sequential([layers.Input(input_shape), *level(0), scores], name="unet")


def tcn(
    input_shape: Shape = (784, 1),
    classes: int = 10,
    *,
    filters: int = 25,
    kernel_size: int = 7,
    levels: int = 8,
    dropout: float = 0.0,
    every_step: bool = False,
) -> Sequential:
    """A temporal convolutional network: causal, dilated, residual (Bai, Kolter and Koltun 2018).

    Level i has two convolutions of dilation ``2 ** i``; an output sees ``1 + 2 (kernel_size - 1) (2 ** levels
    - 1)`` samples. The weight normalization of the paper is left out. The defaults are its settings for
    sequential MNIST: 66,510 weights.

    Args:
        input_shape: ``(length, channels)``; the length may be None with `every_step`.
        classes: number of outputs.
        filters: channels of every level.
        kernel_size: taps of every convolution.
        levels: number of residual blocks.
        dropout: share that is dropped behind each convolution in training.
        every_step: scores for every moment, ``(length, classes)``, instead of the last one.

    Raises:
        ValueError: an unknown length without `every_step`.

    Example:
        >>> model = gn.models.tcn(input_shape=(64, 1), classes=3)
        >>> model.output_shape
        (None, 3)
    """
    input_shape, classes = _sizes(input_shape, classes, "(length, channels)")
    length, channels = tuple(input_shape)
    stack: list[Layer] = [layers.Input(input_shape)]
    for number in range(_validation.positive_integer(levels, "levels")):
        branch: list[Layer] = []
        for _ in range(2):
            branch.append(
                layers.Conv1D(
                    filters, kernel_size, padding="causal", dilation_rate=2**number, activation="relu"
                )
            )
            if dropout:
                branch.append(layers.Dropout(dropout))
        shortcut = None if channels == filters else [layers.Conv1D(filters, 1)]
        stack += [layers.Residual(branch, shortcut), layers.ReLU()]
        channels = filters
    if not _validation.boolean(every_step, "every_step"):
        if length is None:
            raise ValueError("The last moment of an unknown length: pass every_step=True, or the length.")
        stack += [layers.Cropping1D((length - 1, 0)), layers.Flatten()]
    return Sequential([*stack, layers.Dense(classes)], name="tcn")
