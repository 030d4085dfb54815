"""What every layer, loss, metric, optimizer and initializer must do; a new one adds its row here."""

import copy
import json
import pickle
from dataclasses import dataclass, field
from typing import Any

import loss_twins as lt
import numpy as np
import pytest
import twins

import gridnn as gn
from gridnn import initializers, layers, losses, metrics, optimizers, schedules
from gridnn._config import serialize
from gridnn.errors import ShapeError
from gridnn.layers.activation import ACTIVATIONS
from gridnn.layers.base import REGISTRY as LAYERS
from gridnn.layers.branches import Chain
from gridnn.layers.merging import Merging


@dataclass
class Case:
    """A layer, the shape of one sample that goes in, and of what comes out."""

    cls: type
    arguments: dict[str, Any]
    shape: tuple[int, ...]
    output: tuple[int, ...]
    free: bool = field(default=True)  # whether spatial sizes may be unknown
    label: str = ""  # instead of the arguments
    exported: bool = True  # whether ONNX and C headers have it

    def layer(self):
        return self.cls(**copy.deepcopy(self.arguments))

    def __str__(self):
        if self.label:
            return f"{self.cls.__name__}({self.label})"
        options = ",".join(f"{k}={v}" for k, v in self.arguments.items())
        return f"{self.cls.__name__}({options})".replace(" ", "")


def spatial(rank, size):
    """`size` for the last axis, one less for each before: no two axes are alike."""
    return tuple(size - rank + 1 + axis for axis in range(rank))


def convolutions():
    for rank, cls in ((1, layers.Conv1D), (2, layers.Conv2D), (3, layers.Conv3D)):
        n = spatial(rank, 6)
        yield Case(cls, {"filters": 3, "kernel_size": 2}, (*n, 2), (*(s - 1 for s in n), 3))
        yield Case(
            cls,
            {"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same", "activation": "tanh"},
            (*n, 2),
            (*(-(-s // 2) for s in n), 2),
        )
        yield Case(
            cls,
            {
                "filters": 4,
                "kernel_size": 2,
                "dilation_rate": 2,
                "strides": 2,
                "groups": 2,
                "use_bias": False,
            },
            (*n, 2),
            (*((s - 3) // 2 + 1 for s in n), 4),
        )
        yield Case(
            cls,
            {"filters": 2, "kernel_size": 2, "padding": [(2, 0)] * rank},
            (*n, 1),
            (*(s + 1 for s in n), 2),
        )
        for mode in ("reflect", "edge", "wrap", "symmetric"):
            bordered = {"filters": 2, "kernel_size": 3, "padding": "same", "padding_mode": mode}
            yield Case(cls, bordered, (*n, 2), (*n, 2))
        depthwise = {"filters": 6, "kernel_size": 3, "groups": 3, "padding": "same", "padding_mode": "edge"}
        yield Case(cls, depthwise, (*n, 3), (*n, 6))
    yield Case(layers.Conv1D, {"filters": 2, "kernel_size": 3, "padding": "causal"}, (5, 2), (5, 2))
    ring = {"filters": 2, "kernel_size": 3, "padding": [(7, 9)], "padding_mode": "wrap", "strides": 2}
    yield Case(layers.Conv1D, ring, (3, 2), (9, 2))
    causal = {"filters": 2, "kernel_size": 2, "padding": "causal", "dilation_rate": 2, "strides": 2}
    yield Case(layers.Conv1D, causal, (5, 2), (3, 2))
    yield Case(layers.Conv2D, {"filters": 2, "kernel_size": (1, 3), "padding": 1}, (4, 3, 2), (6, 3, 2))


def transposed_convolutions():
    for rank, cls in ((1, layers.Conv1DTranspose), (2, layers.Conv2DTranspose), (3, layers.Conv3DTranspose)):
        n = spatial(rank, 4)
        yield Case(cls, {"filters": 3, "kernel_size": 3}, (*n, 2), (*(s + 2 for s in n), 3))
        twice = {"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu"}
        yield Case(cls, twice, (*n, 2), (*(2 * s for s in n), 2))
        odd = {
            "filters": 4,
            "kernel_size": 3,
            "strides": 2,
            "padding": "same",
            "output_padding": 0,
            "groups": 2,
        }
        yield Case(cls, odd, (*n, 2), (*(2 * s - 1 for s in n), 4))
        cropped = {"filters": 1, "kernel_size": 2, "dilation_rate": 2, "padding": [(1, 0)] * rank}
        yield Case(
            cls, {**cropped, "use_bias": False, "activation": "tanh"}, (*n, 1), (*(s + 1 for s in n), 1)
        )
        gaps = {"filters": 2, "kernel_size": 1, "strides": 3}
        yield Case(cls, gaps, (*n, 2), (*(3 * s for s in n), 2))


def depthwise_convolutions():
    one = (layers.DepthwiseConv1D, layers.DepthwiseConv2D, layers.DepthwiseConv3D)
    two = (layers.SeparableConv1D, layers.SeparableConv2D, layers.SeparableConv3D)
    for rank in (1, 2, 3):
        n = spatial(rank, 6)
        cls = one[rank - 1]
        yield Case(cls, {"kernel_size": 2}, (*n, 3), (*(s - 1 for s in n), 3))
        more = {
            "kernel_size": 3,
            "strides": 2,
            "padding": "same",
            "depth_multiplier": 2,
            "activation": "tanh",
        }
        yield Case(cls, more, (*n, 2), (*(-(-s // 2) for s in n), 4))
        yield Case(cls, {"kernel_size": 2, "use_bias": False}, (*n, 1), (*(s - 1 for s in n), 1))
        ring = {"kernel_size": 2, "padding": 1, "padding_mode": "wrap", "dilation_rate": 2}
        yield Case(cls, ring, (*n, 2), (*n, 2))
        cls = two[rank - 1]
        yield Case(cls, {"filters": 3, "kernel_size": 2}, (*n, 2), (*(s - 1 for s in n), 3))
        yield Case(cls, {**more, "filters": 3, "use_bias": False}, (*n, 2), (*(-(-s // 2) for s in n), 3))
        yield Case(cls, {**ring, "filters": 2, "activation": "relu"}, (*n, 2), (*n, 2))
    causal = {"kernel_size": 3, "padding": "causal", "dilation_rate": 2}
    yield Case(layers.DepthwiseConv1D, causal, (5, 2), (5, 2))
    yield Case(layers.SeparableConv1D, {**causal, "filters": 2}, (5, 2), (5, 2))


def pools():
    maxima = (layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D)
    means = (layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D)
    overall = (layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D)
    top = (layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D)
    adaptive_means = (
        layers.AdaptiveAveragePooling1D,
        layers.AdaptiveAveragePooling2D,
        layers.AdaptiveAveragePooling3D,
    )
    adaptive_maxima = (layers.AdaptiveMaxPooling1D, layers.AdaptiveMaxPooling2D, layers.AdaptiveMaxPooling3D)
    for rank in (1, 2, 3):
        n = spatial(rank, 6)
        halves, ups = (*(s // 2 for s in n), 2), (*(-(-s // 2) for s in n), 2)
        overlapping = {"pool_size": 3, "strides": 2, "padding": "same"}
        yield Case(maxima[rank - 1], {}, (*n, 2), halves)
        yield Case(maxima[rank - 1], overlapping, (*n, 2), ups)
        yield Case(means[rank - 1], {"pool_size": 2}, (*n, 2), halves)
        yield Case(means[rank - 1], overlapping, (*n, 2), ups)
        yield Case(means[rank - 1], {**overlapping, "count_include_pad": True}, (*n, 2), ups)
        pairs = {"pool_size": 3, "strides": 2, "padding": [(1, 0)] * rank, "ceil_mode": True}
        rounded = (*((s - 1) // 2 + 1 if s % 2 else s // 2 for s in n), 2)
        yield Case(maxima[rank - 1], pairs, (*n, 2), rounded)
        yield Case(means[rank - 1], pairs, (*n, 2), rounded)
        yield Case(means[rank - 1], {**pairs, "count_include_pad": True}, (*n, 2), rounded)
        for cls in (adaptive_means[rank - 1], adaptive_maxima[rank - 1]):
            yield Case(cls, {"output_size": 3}, (*n, 2), (*[3] * rank, 2))
            uneven = tuple(range(4, 4 - rank, -1))
            yield Case(cls, {"output_size": uneven}, (*n, 2), (*uneven, 2))
            yield Case(cls, {"output_size": 8}, (*spatial(rank, 5), 1), (*[8] * rank, 1))
        for cls in (overall[rank - 1], top[rank - 1]):
            yield Case(cls, {}, (*n, 3), (3,))
            yield Case(cls, {"keepdims": True}, (*n, 3), (*[1] * rank, 3))


def regrids():
    zeros = (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D)
    borders = (layers.Padding1D, layers.Padding2D, layers.Padding3D)
    crops = (layers.Cropping1D, layers.Cropping2D, layers.Cropping3D)
    ups = (layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D)
    for rank in (1, 2, 3):
        n = spatial(rank, 4)
        yield Case(zeros[rank - 1], {}, (*n, 2), (*(s + 2 for s in n), 2))
        yield Case(zeros[rank - 1], {"padding": [(0, 2)] * rank}, (*n, 2), (*(s + 2 for s in n), 2))
        for mode in ("zeros", "reflect", "edge", "wrap", "symmetric"):
            options = {"padding": [(1, 6)] * rank, "mode": mode}
            yield Case(borders[rank - 1], options, (*n, 2), (*(s + 7 for s in n), 2))
        yield Case(crops[rank - 1], {"cropping": [(1, 0)] * rank}, (*n, 2), (*(s - 1 for s in n), 2))
        size = tuple(range(2, 2 + rank))
        larger = (*(s * f for s, f in zip(n, size, strict=True)), 2)
        yield Case(ups[rank - 1], {"size": size}, (*n, 2), larger)
    yield Case(layers.Cropping2D, {}, (3, 4, 2), (3, 4, 2))
    for size in (2, (3, 1)):
        larger = (6, 8, 2) if size == 2 else (9, 4, 2)
        yield Case(layers.UpSampling2D, {"size": size, "interpolation": "bilinear"}, (3, 4, 2), larger)
    yield Case(layers.UpSampling2D, {"size": (2, 5), "interpolation": "bilinear"}, (1, 2, 2), (2, 10, 2))


def others():
    yield Case(layers.Dense, {"units": 3}, (4,), (3,))
    yield Case(layers.Dense, {"units": 2, "activation": "softmax", "use_bias": False}, (3, 2, 3), (3, 2, 2))
    for name in ACTIVATIONS:
        yield Case(layers.Activation, {"activation": name}, (2, 3), (2, 3))
    yield Case(layers.ReLU, {}, (3, 2), (3, 2))
    yield Case(layers.ReLU, {"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2}, (5,), (5,))
    yield Case(layers.LeakyReLU, {}, (2, 3), (2, 3))
    yield Case(layers.ELU, {"alpha": 0.5}, (2, 3), (2, 3))
    drawn = {"alpha_initializer": "random_normal"}
    yield Case(layers.PReLU, drawn, (3, 2, 2), (3, 2, 2), free=False)
    yield Case(layers.PReLU, {**drawn, "shared_axes": (1, 2)}, (3, 2, 2), (3, 2, 2))
    yield Case(layers.PReLU, {**drawn, "shared_axes": 2}, (3, 2, 2), (3, 2, 2), free=False)
    yield Case(layers.Softmax, {}, (2, 4), (2, 4))
    for axes in ((1, 2), (-1, 1), [2]):
        yield Case(layers.Softmax, {"axis": axes}, (3, 2, 4), (3, 2, 4), exported=False)
    for axes in (-1, 1, (1, 3), (1, 2, 3)):
        yield Case(layers.UnitNormalization, {"axis": axes}, (3, 2, 4), (3, 2, 4), exported=False)
    yield Case(layers.Identity, {}, (3, 2), (3, 2))
    for scale, offset in (([0.5, 2.0], 1.0), (2.0, [1.0, -1.0])):
        yield Case(layers.Rescaling, {"scale": scale, "offset": offset}, (3, 2), (3, 2), exported=False)
    for activation in (layers.LeakyReLU(0.1), layers.ELU(0.5), layers.ReLU(0.5, 0.1, 0.2)):
        options = {"units": 4, "activation": activation}
        yield Case(layers.Dense, options, (3,), (4,), label=f"{activation}", exported=False)
    for inner, size in (
        (layers.Dense(3, "relu"), (4,)),
        (layers.Conv2D(2, 3, activation="tanh", kernel_regularizer="l2"), (4, 5, 2)),
        (layers.Conv1D(2, 3, padding="same", strides=2, activation="relu"), (5, 2)),
        (layers.MaxPooling1D(2), (4, 2)),
        (layers.Flatten(), (2, 3)),
        (layers.Dropout(0.0), (3,)),
        (layers.PReLU("random_normal"), (3,)),
        (layers.SeparableConv1D(2, 2), (4, 2)),
        (layers.LayerNormalization(), (3, 2)),
    ):
        output = gn.Sequential([gn.Input(size), copy.deepcopy(inner)]).output_shape[1:]
        options, label = {"layer": inner}, type(inner).__name__
        yield Case(
            layers.TimeDistributed, options, (3, *size), (3, *output), free=False, label=label, exported=False
        )
    yield Case(layers.ActivityRegularization, {"l1": 0.1, "l2": 0.2}, (2, 3), (2, 3))
    yield Case(layers.Flatten, {}, (2, 3, 2), (12,), free=False)
    yield Case(layers.Dropout, {"rate": 0.0}, (3, 2), (3, 2))
    for rank, cls in enumerate(
        (layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D), 1
    ):
        yield Case(cls, {"rate": 0.0}, (*spatial(rank, 4), 2), (*spatial(rank, 4), 2))
    yield Case(layers.GaussianNoise, {"stddev": 0.0}, (3, 2), (3, 2))
    yield Case(layers.GaussianDropout, {"rate": 0.0}, (3, 2), (3, 2))
    yield Case(layers.Reshape, {"target_shape": (2, -1)}, (3, 4), (2, 6), free=False)
    yield Case(layers.Reshape, {"target_shape": (12,)}, (3, 2, 2), (12,), free=False)
    yield Case(layers.Permute, {"dims": (2, 1)}, (3, 4), (4, 3), free=False)
    yield Case(layers.Permute, {"dims": (3, 1, 4, 2)}, (2, 3, 4, 5), (4, 2, 5, 3), free=False)
    yield Case(layers.Permute, {"dims": (1,)}, (4,), (4,))
    yield Case(layers.RepeatVector, {"n": 3}, (4,), (3, 4))
    yield Case(layers.Rescaling, {"scale": 0.5, "offset": -1.0}, (3, 2), (3, 2))
    yield Case(layers.Normalization, {"mean": [0.5, -1.0], "variance": [2.0, 0.5]}, (3, 2), (3, 2))
    inverse = {"mean": [0.5, -1.0], "variance": [2.0, 0.5], "invert": True}
    yield Case(layers.Normalization, inverse, (3, 2), (3, 2))
    yield Case(layers.Normalization, {"axis": None, "mean": 0.5, "variance": 2.0}, (3, 2), (3, 2))


def augmentations():
    # Of no size, so that training and inference agree; test_augmentation.py has the others.
    yield Case(layers.RandomFlip, {"mode": []}, (3, 4, 2), (3, 4, 2))
    yield Case(layers.RandomCrop, {"height": 3, "width": 4}, (3, 4, 2), (3, 4, 2), free=False)
    yield Case(layers.RandomCrop, {"height": 4}, (4, 2), (4, 2), free=False)
    yield Case(layers.RandomCrop, {"height": 3, "depth": 2}, (2, 3, 4, 2), (2, 3, 4, 2), free=False)
    yield Case(layers.RandomNoise, {"factor": 0.0}, (3, 2), (3, 2))
    wide = {"value_range": (-1e6, 1e6)}
    for shape in ((4, 2), (3, 4, 2), (2, 3, 4, 2)):
        yield Case(layers.RandomBrightness, {"factor": 0.0, **wide}, shape, shape)
        yield Case(layers.RandomContrast, {"factor": 0.0, **wide}, shape, shape)
        yield Case(layers.RandomErasing, {"factor": 0.0, **wide}, shape, shape)
    yield Case(layers.MixUp, {"alpha": 0.3}, (3, 2), (3, 2))
    for shape, more in (
        ((4, 2), {}),
        ((3, 4, 2), {"width_factor": 0.0}),
        ((2, 3, 4, 2), {"width_factor": 0.0, "depth_factor": 0.0}),
    ):
        yield Case(layers.RandomTranslation, {"height_factor": 0.0, **more}, shape, shape)
        yield Case(layers.RandomZoom, {"height_factor": 0.0, **more}, shape, shape)
    yield Case(layers.RandomRotation, {"factor": 0.0, "fill_mode": "wrap"}, (3, 4, 2), (3, 4, 2))
    yield Case(layers.RandomRotation, {"factor": 0.0}, (2, 3, 4, 2), (2, 3, 4, 2))


def grids():
    for rank, part in enumerate(({}, {"width": 4}, {"width": 4, "depth": 2}), 1):
        shape = (*spatial(rank, 6), 2)
        grid = [(3,), (3, 4), (2, 3, 4)][rank - 1]
        for interpolation in ("bilinear", "nearest"):
            options = {"height": 3, **part, "interpolation": interpolation}
            yield Case(layers.Resizing, options, shape, (*grid, 2))
        larger = {"height": 9, **{key: size + 4 for key, size in part.items()}}
        yield Case(layers.Resizing, larger, shape, (*(9 if size == 3 else size + 4 for size in grid), 2))
        yield Case(layers.CenterCrop, {"height": 3, **part}, shape, (*grid, 2))
    for mode in ("log", "magnitude", "psd", "real", "imag", "angle", "stft"):
        options = {"mode": mode, "frame_length": 8, "frame_step": 3, "expand_dims": mode in ("log", "stft")}
        rows = 10 if mode == "stft" else 5
        output = (3, rows, 2) if options["expand_dims"] else (3, 2 * rows)
        yield Case(layers.STFT, options, (14, 2), output)
    odd = {"frame_length": 7, "fft_length": 9, "window": "hamming", "scaling": "spectrum"}
    yield Case(layers.STFT, odd, (14, 1), (3, 5))


def normalizations():
    drawn = {
        "beta_initializer": "random_normal",
        "gamma_initializer": initializers.RandomUniform(0.5, 2.0),
        "moving_mean_initializer": "random_normal",
        "moving_variance_initializer": initializers.RandomUniform(0.5, 2.0),
    }
    for shape in ((3,), (5, 2), (3, 4, 37), (2, 3, 2, 4)):
        yield Case(layers.BatchNormalization, drawn, shape, shape, label=f"{shape}")
    for name, more in (("axis=1", {"axis": 1}), ("axis=2", {"axis": 2})):
        options = {**drawn, **more}
        yield Case(layers.BatchNormalization, options, (3, 4, 2), (3, 4, 2), label=name, free=False)
    plain = {**drawn, "center": False, "epsilon": 0.1, "momentum": 0.5}
    yield Case(layers.BatchNormalization, plain, (4, 3), (4, 3), label="center=False")
    bare = {**drawn, "center": False, "scale": False}
    yield Case(layers.BatchNormalization, bare, (4, 3), (4, 3), label="bare")
    own = {"beta_initializer": "random_normal", "gamma_initializer": initializers.RandomUniform(0.5, 2.0)}
    for shape, axis in (
        ((5,), -1),
        ((3, 40), -1),
        ((3, 4, 2), (2, 3)),
        ((3, 4, 2), 1),
        ((2, 3, 4, 2), (1, -1)),
    ):
        options = {**own, "axis": axis}
        free = axis == -1
        yield Case(layers.LayerNormalization, options, shape, shape, free, label=f"{shape},{axis}")
    yield Case(layers.LayerNormalization, {**own, "center": False}, (4, 3), (4, 3), label="center=False")
    yield Case(layers.LayerNormalization, {**own, "scale": False}, (4, 3), (4, 3), label="scale=False")
    for shape, groups, axis in (
        ((6,), 3, -1),
        ((5, 4), 2, -1),
        ((3, 4, 6), -1, 3),
        ((2, 3, 2, 4), 1, -1),
        ((4, 5, 3), 2, 1),
    ):
        options = {**own, "groups": groups, "axis": axis}
        free = axis != 1
        yield Case(layers.GroupNormalization, options, shape, shape, free, label=f"{shape},{groups},{axis}")
    bare = {"groups": 2, "scale": False, "center": False}
    yield Case(layers.GroupNormalization, bare, (4, 6), (4, 6), label="bare")


def branches():
    conv, dense = layers.Conv1D, layers.Dense
    same = {"padding": "same", "activation": "tanh"}
    main = [conv(3, 3, **same), conv(2, 2, **same)]
    yield Case(layers.Residual, {"layers": main}, (5, 2), (5, 2), label="identity")
    shortcut = {"layers": main, "shortcut": [conv(2, 1)]}
    yield Case(layers.Residual, shortcut, (5, 3), (5, 2), label="shortcut")
    yield Case(layers.Residual, {"layers": [], "shortcut": []}, (4,), (4,), label="twice")
    yield Case(
        layers.Residual, {"layers": [dense(3, "tanh")], "shortcut": [dense(3)]}, (4,), (3,), label="dense"
    )
    for merge in ("concat", "add", "multiply", "average", "maximum"):
        ends = [conv(2, 3, **same)], [], [dense(4, "sigmoid"), conv(2, 1)], []
        output = (5, 8) if merge == "concat" else (5, 2)
        options = {"branches": ends, "merge": merge}
        yield Case(layers.Parallel, options, (5, 2), output, label=merge)
    yield Case(layers.Parallel, {"branches": [[conv(3, 2)]], "merge": "add"}, (5, 2), (4, 3), label="alone")
    deep = layers.Residual([conv(2, 3, **same), layers.Parallel([[conv(1, 1)], [conv(1, 3, **same)]])])
    nested = {"branches": [[deep, layers.Dropout(0.0)], [layers.MaxPooling1D(3, 1, "same")]]}
    yield Case(layers.Parallel, nested, (5, 2), (5, 4), label="nested")
    norm = {"moving_mean_initializer": "random_normal", "gamma_initializer": "random_normal"}
    block = [conv(2, 3, padding="same"), layers.BatchNormalization(**norm), layers.ReLU(), conv(2, 1)]
    normal = {
        "layers": [*block, layers.BatchNormalization()],
        "shortcut": [conv(2, 1), layers.BatchNormalization()],
    }
    yield Case(layers.Residual, normal, (5, 3), (5, 2), label="normalized")
    yield Case(Chain, {"layers": [dense(3, "tanh"), dense(2)]}, (4,), (2,), label="two")
    charged = {"units": 3, "activation": "tanh", "activity_regularizer": "l1_l2"}
    yield Case(layers.Dense, charged, (4,), (3,))
    yield Case(Chain, {"layers": []}, (4, 2), (4, 2), label="none")


CASES = [
    *convolutions(),
    *transposed_convolutions(),
    *depthwise_convolutions(),
    *pools(),
    *regrids(),
    *others(),
    *augmentations(),
    *grids(),
    *normalizations(),
    *branches(),
]
# No other format knows their arithmetic: exporters name them.
EXPORTED = [case for case in CASES if case.exported and case.cls not in (layers.Resizing, layers.STFT)]
each_layer = pytest.mark.parametrize("case", CASES, ids=str)


def data(case, rng, samples=3):
    return rng.normal(size=(samples, *case.shape))


@pytest.fixture
def rng():
    return np.random.default_rng(20)


def test_every_layer_has_a_case():
    # Merging layers have several inputs: test_graph_models.py.
    merging = {cls for cls in LAYERS.classes() if issubclass(cls, Merging)}
    assert {case.cls for case in CASES} == set(LAYERS.classes()) - {layers.Input} - merging


@each_layer
def test_layer_config_round_trip(case):
    own = case.layer().get_config()
    again = case.cls.from_config(json.loads(json.dumps(own)))  # where tuples become lists
    assert again.get_config() == own
    assert type(again) is case.cls
    assert copy.deepcopy(again).get_config() == own
    assert pickle.loads(pickle.dumps(again)).get_config() == own


@each_layer
def test_layer_shapes_and_values(case, rng):
    model = gn.Sequential([gn.Input(case.shape), case.layer()], dtype="float64", seed=1)
    x = data(case, rng)
    assert model.output_shape == (None, *case.output)
    assert model.layers[0].input_shape == (None, *case.shape)
    y = model.predict(x)
    assert y.dtype == np.float64
    assert y.shape == (3, *case.output)
    expected = twins.forward(model, model.get_weights(), x)
    np.testing.assert_allclose(y, expected, rtol=1e-11, atol=1e-12)
    single = gn.Sequential([gn.Input(case.shape), case.layer()], seed=1)
    single.set_weights(model.get_weights())
    np.testing.assert_allclose(single.predict(x.astype(np.float32)), expected, rtol=2e-5, atol=2e-5)


@each_layer
def test_layer_called_alone(case, rng):
    model = gn.Sequential([gn.Input(case.shape), case.layer()], seed=1)
    x = data(case, rng).astype(np.float32)
    assert model.layers[0](x).tobytes() == model(x).tobytes()


@each_layer
def test_layer_with_unknown_sizes(case, rng):
    if not case.free or len(case.shape) < 2:
        pytest.skip("the layer needs its sizes")
    shape = (*[None] * (len(case.shape) - 1), case.shape[-1])
    fixed = gn.Sequential([gn.Input(case.shape), case.layer()], seed=1)
    free = gn.Sequential([gn.Input(shape), case.layer()], seed=1)
    x = data(case, rng).astype(np.float32)
    assert free.predict(x).tobytes() == fixed.predict(x).tobytes()


@each_layer
def test_layer_treats_samples_alone(case, rng):
    model = gn.Sequential([gn.Input(case.shape), case.layer()], seed=1)
    x = data(case, rng, samples=5).astype(np.float32)
    y = model.predict(x)
    assert y.tobytes() == b"".join(model.predict(x[i : i + 1]).tobytes() for i in range(5))


def learned(model):
    """Whether the optimizer may change a weight, for each of them."""
    return [info.trainable for info in model.network.weights]


def central_differences(model, x, y, step=1e-5):
    """Gradients of the loss of training steps that change nothing but statistics."""
    weights = model.get_weights()

    def loss(moved):
        model.set_weights(moved)
        return model.train_on_batch(x, y)

    gradients = twins.gradients(loss, weights, step)
    model.set_weights(weights)
    return [gradient for gradient, own in zip(gradients, learned(model), strict=True) if own]


@each_layer
def test_layer_gradients(case, rng):
    if case.cls is layers.MixUp:
        pytest.skip("every step draws anew: test_dense_targets.py")
    # The dense layer before it mixes channels, so that its gradient depends on the gradient to the layer's
    # input.
    before = layers.Dense(case.shape[-1], kernel_initializer="random_normal", bias_initializer="uniform")
    model = gn.Sequential([gn.Input(case.shape), before, case.layer()], dtype="float64", seed=2)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    x = data(case, rng)
    y = rng.normal(size=(3, *case.output))
    model.compile(optimizers.SGD(learning_rate=0.0), "mse")
    weights = model.get_weights()
    model.train_on_batch(x, y)
    for before_step, after_step, own in zip(weights, model.get_weights(), learned(model), strict=True):
        if own:
            np.testing.assert_array_equal(before_step, after_step)
    gradients = model.network.get_gradients()
    expected = central_differences(model, x, y)
    assert len(gradients) == len(expected)
    for gradient, difference in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, difference, rtol=1e-5, atol=1e-8)


@each_layer
def test_layer_survives_file_pickle_and_copy(case, rng, tmp_path):
    model = gn.Sequential([gn.Input(case.shape), case.layer()], seed=3)
    x = data(case, rng).astype(np.float32)
    expected = model.predict(x).tobytes()
    model.save(tmp_path / "model.gridnn")
    for again in (
        gn.load_model(tmp_path / "model.gridnn"),
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
    ):
        assert again.get_config() == model.get_config()
        assert again.predict(x).tobytes() == expected


# Losses


@dataclass
class LossCase:
    loss: losses.Loss
    twin: Any
    targets: str  # see `loss_problem`
    output: tuple[int, ...] = (4,)
    top: str | None = None  # activation of the outputs

    def __str__(self):
        return f"{self.loss!r}->{self.output}".replace(" ", "")


def _sparse(**arguments):
    return lambda y, outputs: twins.sparse_categorical_crossentropy(y, outputs, **arguments)


def _categorical(**arguments):
    return lambda y, outputs: twins.categorical_crossentropy(y, outputs, **arguments)


def _plain(function):
    """A twin that returns elements only: all of them count."""

    def twin(y, outputs):
        elements = np.asarray(function(y, outputs))
        return elements, np.ones(elements.shape, bool)

    return twin


Sparse, Categorical = losses.SparseCategoricalCrossentropy, losses.CategoricalCrossentropy
Focal, BinaryFocal = losses.CategoricalFocalCrossentropy, losses.BinaryFocalCrossentropy
Binary = losses.BinaryCrossentropy
LOSSES = [
    LossCase(Sparse(from_logits=True), _sparse(), "labels"),
    LossCase(Sparse(from_logits=True), _sparse(), "labels", (2, 3, 4)),
    LossCase(Sparse(from_logits=False), _sparse(from_logits=False), "labels", top="softmax"),
    LossCase(Sparse(from_logits=True, ignore_class=1), _sparse(ignore_class=1), "labels"),
    LossCase(Sparse(from_logits=True, reduction="sum"), _sparse(), "labels", (2, 4)),
    LossCase(Categorical(from_logits=True), _categorical(), "one-hot"),
    LossCase(
        Categorical(from_logits=False), _categorical(from_logits=False), "one-hot", (3, 4), top="softmax"
    ),
    LossCase(
        Categorical(from_logits=True, label_smoothing=0.2), _categorical(label_smoothing=0.2), "one-hot"
    ),
    LossCase(Focal(), _plain(lt.categorical_focal(True)), "one-hot", (3, 4)),
    LossCase(
        Focal(0.5, 1.5, label_smoothing=0.2),
        _plain(lt.categorical_focal(False, 1.5, 0.5, 0.2)),
        "one-hot",
        top="softmax",
    ),
    LossCase(Focal(gamma=0.0), _plain(lt.categorical_focal(True, 0.0)), "one-hot"),
    LossCase(Binary(), _plain(lt.binary_crossentropy(True)), "bits", (2, 3, 4)),
    LossCase(
        Binary(label_smoothing=0.2),
        _plain(lt.binary_crossentropy(False, 0.2)),
        "bits",
        top="sigmoid",
    ),
    LossCase(BinaryFocal(), _plain(lt.binary_focal(True)), "bits", (3, 1)),
    LossCase(
        BinaryFocal(True, 0.3, 1.5, label_smoothing=0.2),
        _plain(lt.binary_focal(False, 1.5, 0.3, 0.2)),
        "bits",
        top="sigmoid",
    ),
    LossCase(losses.MeanSquaredError(), twins.mean_squared_error, "values"),
    LossCase(losses.MeanSquaredError(), twins.mean_squared_error, "values", (3, 2)),
    LossCase(losses.MeanSquaredError(reduction="sum"), twins.mean_squared_error, "values", (2, 4)),
    LossCase(losses.MeanAbsoluteError(), _plain(lt.mean(lambda y, p: np.abs(y - p))), "values", (2, 3)),
    LossCase(
        losses.MeanAbsolutePercentageError(),
        _plain(lt.mean(lambda y, p: 100 * np.abs((y - p) / y))),
        "values",
    ),
    LossCase(losses.MeanSquaredLogarithmicError(), _plain(lt.mean(lt.msle)), "positive", top="softplus"),
    LossCase(losses.MeanSquaredLogarithmicError(), _plain(lt.mean(lt.msle)), "values"),
    LossCase(losses.Huber(), _plain(lt.huber(1.0)), "values", (2, 3)),
    LossCase(losses.Huber(0.3), _plain(lt.huber(0.3)), "values"),
    LossCase(losses.LogCosh(), _plain(lt.mean(lambda y, p: np.log(np.cosh(p - y)))), "values", (2, 3)),
    LossCase(
        losses.Poisson(),
        _plain(lt.mean(lambda y, p: p - y * np.log(p + 1e-7))),
        "positive",
        top="softplus",
    ),
    LossCase(losses.KLDivergence(), _plain(lt.kl_divergence), "distribution", (2, 4), top="softmax"),
    LossCase(losses.CosineSimilarity(), _plain(lt.cosine), "values", (2, 4)),
    LossCase(losses.Hinge(), _plain(lt.hinge(1)), "signs"),
    LossCase(losses.Hinge(), _plain(lt.hinge(1)), "bits", (2, 3)),
    LossCase(losses.SquaredHinge(), _plain(lt.hinge(2)), "signs", (2, 3)),
    LossCase(losses.SquaredHinge(reduction="sum"), _plain(lt.hinge(2)), "bits"),
    LossCase(losses.CategoricalHinge(), _plain(lt.categorical_hinge), "one-hot", (2, 4)),
    LossCase(losses.Dice(), _plain(lt.dice()), "one-hot", (2, 3, 4), top="softmax"),
    LossCase(losses.Dice(axis=(1, 2)), _plain(lt.dice((1, 2))), "bits", (2, 3, 4), top="sigmoid"),
    LossCase(
        losses.Dice(axis=[0, 1, -2], reduction="sum", from_logits=False),
        _plain(lt.dice((0, 1, 2))),
        "bits",
        (2, 3, 4),
    ),
    LossCase(losses.Dice(axis=-1), _plain(lt.dice(-1)), "one-hot", (2, 4), top="softmax"),
    LossCase(losses.Tversky(), _plain(lt.tversky()), "one-hot", (3, 4), top="softmax"),
    LossCase(
        losses.Tversky(0.3, 0.8, axis=1), _plain(lt.tversky(0.3, 0.8, 1)), "bits", (3, 4), top="sigmoid"
    ),
]
each_loss = pytest.mark.parametrize("case", LOSSES, ids=str)


def loss_problem(case, rng, dtype="float64", samples=5):
    """A model whose outputs suit the loss, inputs and targets."""
    top = layers.Dense(case.output[-1], activation=case.top)
    model = gn.Sequential([gn.Input((*case.output[:-1], 3)), top], dtype=dtype, seed=4)
    x = rng.normal(size=(samples, *case.output[:-1], 3))
    shape = (samples, *case.output)
    labels = rng.integers(0, case.output[-1], size=shape[:-1])
    bits = rng.integers(0, 2, size=shape)
    y = {
        "labels": labels,
        "one-hot": np.eye(case.output[-1])[labels],
        "bits": bits,
        "signs": 2.0 * bits - 1,
        "values": rng.normal(size=shape),
        "positive": rng.uniform(0.5, 3.0, size=shape),
        "distribution": lt.softmax(rng.normal(size=shape)),
    }[case.targets]
    return model, x, y


# What `keras.losses.get` 3.15 takes for our classes: class names, functions and short forms.
KERAS_LOSS_IDS = """
    BinaryCrossentropy binary_crossentropy bce BCE BinaryFocalCrossentropy binary_focal_crossentropy
    CategoricalCrossentropy categorical_crossentropy CategoricalFocalCrossentropy
    categorical_focal_crossentropy CategoricalHinge categorical_hinge CosineSimilarity cosine_similarity
    Dice dice Hinge hinge Huber huber KLDivergence kl_divergence kld KLD LogCosh log_cosh
    MeanAbsoluteError mean_absolute_error mae MAE MeanAbsolutePercentageError
    mean_absolute_percentage_error mape MAPE MeanSquaredError mean_squared_error mse MSE
    MeanSquaredLogarithmicError mean_squared_logarithmic_error msle MSLE Poisson poisson
    SparseCategoricalCrossentropy sparse_categorical_crossentropy SquaredHinge squared_hinge
    Tversky tversky
"""


@pytest.mark.parametrize("identifier", KERAS_LOSS_IDS.split())
def test_every_id_of_keras_is_a_loss(identifier):
    full = {"bce": "BinaryCrossentropy", "kld": "KLDivergence", "mse": "MeanSquaredError"}
    full |= {"mae": "MeanAbsoluteError", "mape": "MeanAbsolutePercentageError"}
    full |= {"msle": "MeanSquaredLogarithmicError"}
    name = full.get(identifier.lower(), identifier).replace("_", "").lower()
    assert type(losses.get(identifier)).__name__.lower() == name


def test_every_loss_has_a_case():
    assert {type(case.loss) for case in LOSSES} == set(losses.REGISTRY.classes())


@each_loss
def test_loss_config_round_trip(case):
    config = serialize(case.loss)
    assert serialize(losses.get(json.loads(json.dumps(config)))) == config


@each_loss
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_value_and_gradient(case, weighted, rng):
    model, x, y = loss_problem(case, rng)
    sample_weight = rng.uniform(0.5, 2, size=len(x)) if weighted else None
    model.compile(optimizers.SGD(learning_rate=0.0), case.loss)

    def loss(weights):
        outputs = twins.forward(model, weights, x)
        return twins.reduce(case.twin(y, outputs), sample_weight, case.loss.reduction)

    weights = model.get_weights()
    assert model.test_on_batch(x, y, sample_weight) == pytest.approx(loss(weights), rel=1e-10)
    assert model.train_on_batch(x, y, sample_weight) == pytest.approx(loss(weights), rel=1e-10)
    for gradient, expected in zip(model.network.get_gradients(), twins.gradients(loss, weights), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-8)


@each_loss
def test_loss_does_not_mind_threads_or_a_file(case, rng, tmp_path):
    x, y = None, None

    def trained(threads):
        nonlocal x, y
        model, x, y = loss_problem(case, np.random.default_rng(1), "float32", samples=40)
        model.compile("adam", case.loss)
        before = gn.get_num_threads()
        try:
            gn.set_num_threads(threads)
            model.train_on_batch(x, y)
        finally:
            gn.set_num_threads(before)
        return model

    one, three = trained(1), trained(3)
    assert [w.tobytes() for w in one.get_weights()] == [w.tobytes() for w in three.get_weights()]
    one.save(tmp_path / "model.gridnn")
    assert gn.load_model(tmp_path / "model.gridnn").train_on_batch(x, y) == one.train_on_batch(x, y)


# Metrics


def _hits(kind, **arguments):
    def twin(y, p):
        right, alarms, misses = lt.hits(y, p, **arguments)
        return right / (right + (alarms if kind == "precision" else misses))

    return twin


def _counts(number, threshold=0.5):
    """One of hits, false alarms, misses and right rejections."""
    return lambda y, p: (
        lt.hits(y, p, threshold=threshold)[number] if number < 3 else _rejections(y, p, threshold)
    )


def _rejections(y, p, threshold):
    return float(((p <= threshold) & (y == 0)).sum())


def _best(given, wanted, least, thresholds=200):
    """The largest of one share at thresholds where the other is at least `least`."""
    shares = {
        "precision": lambda hits, alarms, misses, others: hits / max(hits + alarms, 1e-300),
        "recall": lambda hits, alarms, misses, others: hits / max(hits + misses, 1e-300),
        "specificity": lambda hits, alarms, misses, others: others / max(others + alarms, 1e-300),
    }

    def twin(y, p):
        allowed = [0.0]
        for threshold in [-1.0, *(i / (thresholds - 1) for i in range(1, thresholds))]:
            found = p > threshold
            tally = [(found * y).sum(), (found * (1 - y)).sum(), (~found * y).sum(), (~found * (1 - y)).sum()]
            if shares[given](*tally) >= least:
                allowed.append(shares[wanted](*tally))
        return max(allowed)

    return twin


def _iou(classes, threshold=None):
    def twin(y, p):
        wanted = y.astype(int).ravel() if threshold is not None else y.argmax(-1).ravel()
        found = (p > threshold).astype(int).ravel() if threshold is not None else p.argmax(-1).ravel()
        both = [((wanted == c) & (found == c)).sum() for c in classes]
        either = [((wanted == c) | (found == c)).sum() for c in classes]
        return np.mean([a / b for a, b in zip(both, either, strict=True) if b])

    return twin


M = metrics
METRICS = [
    (M.TruePositives(0.3), "one-hot", _counts(0, 0.3)),
    (M.FalsePositives(0.3), "one-hot", _counts(1, 0.3)),
    (M.FalseNegatives(), "bits", _counts(2)),
    (M.TrueNegatives(), "bits", _counts(3)),
    (M.PrecisionAtRecall(0.4), "bits", _best("recall", "precision", 0.4)),
    (M.RecallAtPrecision(0.4, 20), "bits", _best("precision", "recall", 0.4, 20)),
    (M.SensitivityAtSpecificity(0.4), "bits", _best("specificity", "recall", 0.4)),
    (M.SpecificityAtSensitivity(0.4), "bits", _best("recall", "specificity", 0.4)),
    (M.FBetaScore("macro", 1.0), "labels", lambda y, p: lt.f1_score(y, p, "macro")),
    (M.IoU(4, [1, 3]), "labels", _iou([1, 3])),
    (M.OneHotIoU(4, [0, 2]), "one-hot", _iou([0, 2])),
    (M.SparseCategoricalAccuracy(), "labels", lambda y, p: p.argmax(-1) == y.argmax(-1)),
    (M.Accuracy(), "bits", lambda y, p: p == y),
    (M.CategoricalAccuracy(), "one-hot", lambda y, p: p.argmax(-1) == y.argmax(-1)),
    (M.BinaryAccuracy(threshold=0.3), "one-hot", lambda y, p: (p > 0.3) == y),
    (M.TopKCategoricalAccuracy(2), "one-hot", lt.top_k(2)),
    (M.SparseTopKCategoricalAccuracy(3), "labels", lt.top_k(3)),
    (M.Precision(), "bits", _hits("precision")),
    (M.Precision(0.3, class_id=1), "labels", _hits("precision", threshold=0.3, class_id=1)),
    (M.Recall(0.3), "one-hot", _hits("recall", threshold=0.3)),
    (M.Recall(top_k=2), "one-hot", _hits("recall", top_k=2)),
    (M.F1Score(), "labels", lambda y, p: lt.f1_score(y, p, "macro")),
    (M.F1Score("micro", 0.3), "bits", lambda y, p: lt.f1_score(y, p, "micro", 0.3)),
    (M.F1Score("weighted", 0.3), "bits", lambda y, p: lt.f1_score(y, p, "weighted", 0.3)),
    (M.AUC(), "bits", lt.auc),
    (M.AUC(), "labels", lt.auc),
    (M.AUC(10, "PR"), "bits", lambda y, p: lt.auc(y, p, 10, "PR")),
    (M.AUC(50, "ROC", "minoring"), "bits", lambda y, p: lt.auc(y, p, 50, "ROC", "minoring")),
    (M.AUC(50, "PR", "majoring"), "bits", lambda y, p: lt.auc(y, p, 50, "PR", "majoring")),
    (M.MeanIoU(4), "labels", lt.mean_iou),
    (M.MeanIoU(4, ignore_class=1), "labels", lambda y, p: lt.mean_iou(y, p, 1)),
    (M.OneHotMeanIoU(4), "one-hot", lt.mean_iou),
    (M.MeanSquaredError(), "values", lambda y, p: (y - p) ** 2),
    (M.RootMeanSquaredError(), "values", lambda y, p: np.sqrt(((y - p) ** 2).mean())),
    (M.MeanAbsoluteError(), "values", lambda y, p: np.abs(y - p)),
    (M.MeanAbsolutePercentageError(), "values", lambda y, p: 100 * np.abs((y - p) / y)),
    (M.MeanSquaredLogarithmicError(), "values", lt.msle),
    (M.LogCoshError(), "values", lambda y, p: np.log(np.cosh(y - p))),
    (M.Poisson(), "bits", lambda y, p: p - y * np.log(p + 1e-7)),
    (M.KLDivergence(), "one-hot", lt.kl_divergence),
    (M.CosineSimilarity(), "values", lambda y, p: -lt.cosine(y, p)),
    (M.Hinge(), "bits", lt.hinge(1)),
    (M.SquaredHinge(), "bits", lt.hinge(2)),
    (M.CategoricalHinge(), "one-hot", lt.categorical_hinge),
    (M.BinaryCrossentropy(), "bits", lt.binary),
    (
        M.CategoricalCrossentropy(label_smoothing=0.1),
        "one-hot",
        lambda y, p: twins.categorical_crossentropy(y, p, False, 0.1)[0],
    ),
    (
        M.SparseCategoricalCrossentropy(),
        "labels",
        lambda y, p: twins.categorical_crossentropy(y, p, False)[0],
    ),
    (M.R2Score(), "values", lt.r2_score),
    (M.R2Score("variance_weighted_average"), "values", lambda y, p: lt.r2_score(y, p, True)),
]


def test_every_metric_has_a_case():
    # BinaryIoU is of a single output, and has a test of its own.
    assert {type(metric) for metric, _, _ in METRICS} == set(metrics.REGISTRY.classes()) - {M.BinaryIoU}


@pytest.mark.parametrize(("metric", "targets", "twin"), METRICS, ids=[repr(m) for m, _, _ in METRICS])
def test_metric(metric, targets, twin, rng):
    config = json.loads(json.dumps(serialize(metric)))
    assert serialize(metrics.get(config)) == config
    assert serialize(pickle.loads(pickle.dumps(metric))) == config
    loss = losses.SparseCategoricalCrossentropy() if targets == "labels" else losses.MeanSquaredError()
    case = LossCase(loss, None, targets, (2, 4), "softmax" if targets != "values" else None)
    model, x, y = loss_problem(case, rng, samples=23)
    model.compile("sgd", loss, metrics=[metric])
    spread = np.eye(4)[y] if targets == "labels" else y
    expected = np.mean(twin(spread, twins.forward(model, model.get_weights(), x)))
    assert model.evaluate(x, y, batch_size=5, verbose=0)[1] == pytest.approx(expected)
    # Metrics are not weighted, as Keras' `metrics=` are not.
    weight = rng.uniform(size=23)
    assert model.evaluate(x, y, batch_size=5, verbose=0, sample_weight=weight)[1] == pytest.approx(expected)


def test_the_overlap_of_one_output(rng):
    model = gn.Sequential([gn.Input((1,)), layers.Flatten()])
    metric = M.BinaryIoU([0, 1], threshold=0.3)
    model.compile("sgd", "mse", metrics=[metric])
    y, p = rng.integers(0, 2, (23, 1)).astype(float), rng.uniform(size=(23, 1))
    assert model.evaluate(p, y, batch_size=5, verbose=0)[1] == pytest.approx(_iou([0, 1], 0.3)(y, p))
    assert metric(y, p) == pytest.approx(_iou([0, 1], 0.3)(y, p))


def test_accuracy_counts_equal_numbers():
    model = gn.Sequential([gn.Input((3,)), layers.Rescaling(1.0)])
    model.compile("sgd", "mse", metrics=[metrics.Accuracy()])
    x = np.arange(12.0).reshape(4, 3)
    y = x.copy()
    y[1:3, 0] += 0.5
    assert model.evaluate(x, y, batch_size=3, verbose=0)[1] == pytest.approx(10 / 12)


def test_metrics_see_probabilities(rng):
    case = LossCase(losses.BinaryCrossentropy(), None, "bits")
    model, x, y = loss_problem(case, rng, samples=23)
    model.compile("sgd", case.loss, metrics=["binary_accuracy", M.Precision()])
    p = lt.sigmoid(twins.forward(model, model.get_weights(), x))
    expected = [np.mean((p > 0.5) == y), _hits("precision")(y, p)]
    assert model.evaluate(x, y, verbose=0)[1:] == pytest.approx(expected)


# Optimizers: the formulas of every option are checked in test_optimizers.py

OPTIMIZERS = [
    optimizers.SGD(0.1, momentum=0.9),
    optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    optimizers.Adam(0.02, amsgrad=True, clipnorm=1.0),
    optimizers.AdamW(0.02, gradient_accumulation_steps=2),
    optimizers.Adagrad(0.1),
    optimizers.Adadelta(1.0),
    optimizers.Adamax(0.02, use_ema=True),
    optimizers.Nadam(0.02, global_clipnorm=0.5),
    optimizers.Lion(0.01, weight_decay=0.1),
]
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)


def test_every_optimizer_has_a_case():
    assert {type(optimizer) for optimizer in OPTIMIZERS} == set(optimizers.REGISTRY.classes())


def small_net(dtype="float64"):
    return gn.Sequential(
        [
            gn.Input((5, 5, 2)),
            layers.Conv2D(2, 3, activation="tanh", padding="same", bias_initializer="uniform"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(3),
        ],
        dtype=dtype,
        seed=5,
    )


def test_every_id_of_keras_is_an_optimizer():
    for name in ("adadelta", "adagrad", "adam", "adamax", "adamw", "lion", "nadam", "rmsprop", "sgd"):
        for identifier in (name, name.upper()):
            assert type(optimizers.get(identifier)).__name__.lower() == name


def test_every_id_of_keras_is_an_activation():
    wanted = "linear relu leaky_relu relu6 elu selu gelu sigmoid tanh softmax log_softmax softplus softsign"
    for name in f"{wanted} silu swish mish hard_sigmoid exponential".split():
        assert layers.Activation(name).activation == {"swish": "silu"}.get(name, name)


@each_optimizer
def test_optimizer_config_round_trip(optimizer):
    config = json.loads(json.dumps(serialize(optimizer)))
    assert serialize(optimizers.get(config)) == config
    assert serialize(pickle.loads(pickle.dumps(optimizer))) == config


@each_optimizer
def test_optimizer_continues_after_a_file_and_does_not_mind_threads(optimizer, rng, tmp_path):
    x, y = rng.normal(size=(4, 6, 5, 5, 2)), rng.integers(0, 3, size=(4, 6))

    def trained(batches, model=None):
        if model is None:
            model = small_net("float32")
            model.compile(optimizers.get(serialize(optimizer)), "ce")
        for batch in batches:
            model.train_on_batch(x[batch], y[batch])
        return model

    whole = trained(range(4)).get_weights()
    half = trained(range(3))
    half.save(tmp_path / "model.gridnn")
    threads = gn.get_num_threads()
    try:
        gn.set_num_threads(3)
        again = trained(range(3, 4), gn.load_model(tmp_path / "model.gridnn"))
    finally:
        gn.set_num_threads(threads)
    assert [w.tobytes() for w in whole] == [w.tobytes() for w in again.get_weights()]


@each_optimizer
def test_learning_rate_zero_leaves_weights_alone(optimizer, rng):
    model = small_net("float32")
    model.compile(type(optimizer).from_config({**optimizer.get_config(), "learning_rate": 0.0}), "ce")
    before = model.get_weights()
    model.train_on_batch(rng.normal(size=(4, 5, 5, 2)), np.array([0, 1, 2, 0]))
    assert [w.tobytes() for w in before] == [w.tobytes() for w in model.get_weights()]


# Schedules: their formulas are checked in test_schedules.py

SCHEDULES = [
    schedules.ExponentialDecay(0.1, 10, 0.5),
    schedules.PiecewiseConstantDecay([1, 3], [0.1, 0.05, 0.01]),
    schedules.PolynomialDecay(0.1, 5, power=2.0, cycle=True),
    schedules.InverseTimeDecay(0.1, 2, 0.5),
    schedules.CosineDecay(0.0, 10, warmup_target=0.1, warmup_steps=2),
    schedules.CosineDecayRestarts(0.1, 2),
    schedules.OneCycle(0.1, 10),
]


def test_every_schedule_has_a_case():
    assert {type(schedule) for schedule in SCHEDULES} == set(schedules.REGISTRY.classes())


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_schedule(schedule, rng, tmp_path):
    config = serialize(schedule)
    assert serialize(schedules.get(json.loads(json.dumps(config)))) == config
    x, y = rng.normal(size=(6, 5, 5, 2)), rng.integers(0, 3, size=6)
    model, twin = small_net(), small_net()
    model.compile(optimizers.SGD(schedule), "ce")
    twin.compile(optimizers.SGD(), "ce")
    for step in range(3):
        model.train_on_batch(x, y)
        twin.optimizer.learning_rate = schedule(step)
        twin.train_on_batch(x, y)
    model.save(tmp_path / "model.gridnn")
    again = gn.load_model(tmp_path / "model.gridnn")
    assert serialize(again.optimizer.learning_rate) == config
    again.train_on_batch(x, y)
    twin.optimizer.learning_rate = schedule(3)
    twin.train_on_batch(x, y)
    assert [w.tobytes() for w in again.get_weights()] == [w.tobytes() for w in twin.get_weights()]


# Initializers

INITIALIZERS = [
    (initializers.Zeros(), 0, 0),
    (initializers.Ones(), 1, 0),
    (initializers.Constant(0.25), 0.25, 0),
    (initializers.Constant(np.linspace(0, 1, 300)), 0.5, np.std(np.linspace(0, 1, 300))),
    (initializers.RandomUniform(-1, 3), 1, 4 / np.sqrt(12)),
    (initializers.RandomNormal(0.5, 0.2), 0.5, 0.2),
    (initializers.TruncatedNormal(0.0, 1.0), 0, 0.87962566103423978),
    (initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"), 0, np.sqrt(2 / 300)),
    (initializers.GlorotUniform(), 0, np.sqrt(2 / 500)),
    (initializers.GlorotNormal(), 0, np.sqrt(2 / 500)),
    (initializers.HeUniform(), 0, np.sqrt(2 / 200)),
    (initializers.HeNormal(), 0, np.sqrt(2 / 200)),
    (initializers.LecunUniform(), 0, np.sqrt(1 / 200)),
    (initializers.LecunNormal(), 0, np.sqrt(1 / 200)),
    (initializers.Orthogonal(), 0, np.sqrt(1 / 300)),
    (initializers.Identity(2.0), 2 / 300, 2 * np.sqrt(1 / 300 - 1 / 300**2)),
]


def test_every_initializer_has_a_case():
    assert {type(case) for case, _, _ in INITIALIZERS} == set(initializers.REGISTRY.classes())


@pytest.mark.parametrize(
    ("initializer", "mean", "deviation"), INITIALIZERS, ids=[repr(i) for i, _, _ in INITIALIZERS]
)
def test_initializer(initializer, mean, deviation):
    config = serialize(initializer)
    assert serialize(initializers.get(json.loads(json.dumps(config)))) == config

    def drawn(seed, initializer=initializer):
        layer = layers.Dense(300, use_bias=False, kernel_initializer=initializer)
        return gn.Sequential([gn.Input((200,)), layer], seed=seed).get_weights()[0]

    kernel = drawn(1)
    # Five standard errors of a mean of 60,000 draws; of their standard deviation likewise.
    assert kernel.mean() == pytest.approx(mean, abs=5 * deviation / np.sqrt(60_000) + 1e-7)
    assert kernel.std() == pytest.approx(deviation, rel=0.03, abs=1e-7)
    assert kernel.tobytes() == drawn(1).tobytes()
    if "seed" in initializer.config_fields:
        assert kernel.tobytes() != drawn(2).tobytes()
        own = type(initializer).from_config({**initializer.get_config(), "seed": 9})
        assert drawn(1, own).tobytes() == drawn(2, own).tobytes()


@pytest.mark.parametrize("shape", [(3, 2, 1, 4), (2, 1, 4), (3, 1, 1, 1), (4,), (1,)])
def test_constant_is_broadcast_as_numpy_does(shape, rng, tmp_path):
    bank = rng.normal(size=shape)

    def layer(value):
        return layers.Conv2D(4, (3, 2), kernel_initializer=initializers.Constant(value))

    model = gn.Sequential([gn.Input((5, 5, 1)), layer(bank)], dtype="float64")
    np.testing.assert_array_equal(model.layers[0].kernel, np.broadcast_to(bank, (3, 2, 1, 4)))
    model.save(tmp_path / "model.gridnn")
    again = gn.load_model(tmp_path / "model.gridnn").layers[0].kernel_initializer
    assert again.get_config() == initializers.Constant(bank).get_config()
    with pytest.raises(ShapeError, match="broadcasts"):
        gn.Sequential([gn.Input((5, 5, 1)), layer(rng.normal(size=(3, 1)))])
    for wrong, error in ((["a"], TypeError), ([np.nan], ValueError), ([], ValueError), (1j, TypeError)):
        with pytest.raises(error):
            initializers.Constant(wrong)
