"""How each kind of layer becomes C."""

from __future__ import annotations

from collections.abc import Callable

from gridnn.interop._converters import converter_in
from gridnn.interop.c import activations, grids, normalizations, windows
from gridnn.interop.c.steps import Site
from gridnn.layers import (
    activation,
    adaptive,
    augmentation,
    colour,
    conv,
    conv_transpose,
    core,
    dense,
    depthwise,
    normalization,
    padding,
    pooling,
    preprocessing,
    regularization,
    reshaping,
    resizing,
)
from gridnn.layers.base import Layer

__all__ = ["CONVERTERS", "converter_of"]

Converter = Callable[[Site], None]

CONVERTERS: dict[type[Layer], Converter] = {
    activation.Activation: activations.activation_layer,
    activation.ELU: activations.elu,
    activation.LeakyReLU: activations.leaky_relu,
    activation.PReLU: normalizations.prelu,
    activation.ReLU: activations.relu_layer,
    activation.Softmax: activations.softmax_layer,
    adaptive.AdaptiveAveragePooling: windows.adaptive_average,
    adaptive.AdaptiveMaxPooling: windows.adaptive_max,
    augmentation.RandomCrop: grids.random_crop,
    augmentation.RandomFlip: grids.unchanged,
    augmentation.RandomNoise: grids.unchanged,
    augmentation.RandomRotation: grids.unchanged,
    augmentation.RandomTranslation: grids.unchanged,
    augmentation.RandomZoom: grids.unchanged,
    colour.MixUp: grids.unchanged,
    colour.RandomBrightness: grids.unchanged,
    colour.RandomContrast: grids.unchanged,
    colour.RandomErasing: grids.unchanged,
    core.Identity: grids.unchanged,
    conv.Convolution: windows.convolution,
    conv_transpose.TransposedConvolution: windows.transposed,
    dense.Dense: windows.dense,
    depthwise.DepthwiseConvolution: windows.depthwise,
    depthwise.SeparableConvolution: windows.separable,
    normalization.BatchNormalization: normalizations.batch_normalization,
    normalization.GroupNormalization: normalizations.group_normalization,
    normalization.LayerNormalization: normalizations.layer_normalization,
    padding.Cropping: grids.cropping,
    padding.Padding: grids.padding,
    padding.UpSampling: grids.up_sampling,
    padding.ZeroPadding: grids.zero_padding,
    pooling.AveragePooling: windows.average,
    pooling.GlobalAveragePooling: windows.global_average,
    pooling.GlobalMaxPooling: windows.global_max,
    pooling.MaxPooling: windows.maximum,
    preprocessing.Normalization: normalizations.normalization,
    preprocessing.Rescaling: normalizations.rescaling,
    regularization.ActivityRegularization: grids.unchanged,
    regularization.Dropout: grids.unchanged,
    regularization.GaussianDropout: grids.unchanged,
    regularization.GaussianNoise: grids.unchanged,
    regularization.SpatialDropout: grids.unchanged,
    reshaping.Flatten: grids.reshape,
    reshaping.Permute: grids.permute,
    reshaping.RepeatVector: grids.repeat_vector,
    reshaping.Reshape: grids.reshape,
    resizing.CenterCrop: grids.center_crop,
    resizing.Resizing: grids.resizing,
}
"""Layer class -> what writes it; subclasses share it."""


def converter_of(layer: Layer) -> Converter | None:
    """What writes a layer; None if nothing does."""
    return converter_in(CONVERTERS, layer)
