"""How each kind of layer becomes operators of ONNX."""

from __future__ import annotations

from collections.abc import Callable

from gridnn.interop._converters import converter_in
from gridnn.interop.onnx import activations, borders, convolutions, merging, normalizations, pools, reshaping
from gridnn.interop.onnx.builder import Site
from gridnn.interop.onnx.tensors import Tensor
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
    resizing,
)
from gridnn.layers import merging as merged
from gridnn.layers import reshaping as reshaped
from gridnn.layers.base import Layer

__all__ = ["CONVERTERS", "converter_of"]

Converter = Callable[[Site], Tensor]

CONVERTERS: dict[type[Layer], Converter] = {
    activation.Activation: activations.activation_layer,
    activation.ELU: activations.elu,
    activation.LeakyReLU: activations.leaky_relu,
    activation.PReLU: activations.prelu,
    activation.ReLU: activations.relu_layer,
    activation.Softmax: activations.softmax_layer,
    adaptive.AdaptiveAveragePooling: pools.adaptive_average,
    adaptive.AdaptiveMaxPooling: pools.adaptive_max,
    augmentation.RandomCrop: borders.random_crop,
    augmentation.RandomFlip: reshaping.unchanged,
    augmentation.RandomNoise: reshaping.unchanged,
    augmentation.RandomRotation: reshaping.unchanged,
    augmentation.RandomTranslation: reshaping.unchanged,
    augmentation.RandomZoom: reshaping.unchanged,
    colour.MixUp: reshaping.unchanged,
    colour.RandomBrightness: reshaping.unchanged,
    colour.RandomContrast: reshaping.unchanged,
    colour.RandomErasing: reshaping.unchanged,
    conv.Convolution: convolutions.convolution,
    core.Identity: reshaping.unchanged,
    conv_transpose.TransposedConvolution: convolutions.transposed,
    dense.Dense: convolutions.dense,
    depthwise.DepthwiseConvolution: convolutions.depthwise,
    depthwise.SeparableConvolution: convolutions.separable,
    merged.Add: merging.merging("add"),
    merged.Average: merging.merging("average"),
    merged.Concatenate: merging.merging("concat"),
    merged.Dot: merging.dot,
    merged.Maximum: merging.merging("maximum"),
    merged.Minimum: merging.merging("minimum"),
    merged.Multiply: merging.merging("multiply"),
    merged.Subtract: merging.merging("subtract"),
    normalization.BatchNormalization: normalizations.batch_normalization,
    normalization.GroupNormalization: normalizations.group_normalization,
    normalization.LayerNormalization: normalizations.layer_normalization,
    padding.Cropping: borders.cropping,
    padding.Padding: borders.padding,
    padding.UpSampling: reshaping.up_sampling,
    padding.ZeroPadding: borders.zero_padding,
    pooling.AveragePooling: pools.average,
    pooling.GlobalAveragePooling: pools.global_average,
    pooling.GlobalMaxPooling: pools.global_max,
    pooling.MaxPooling: pools.maximum,
    preprocessing.Normalization: normalizations.normalization,
    preprocessing.Rescaling: normalizations.rescaling,
    regularization.ActivityRegularization: reshaping.unchanged,
    regularization.Dropout: reshaping.unchanged,
    regularization.GaussianDropout: reshaping.unchanged,
    regularization.GaussianNoise: reshaping.unchanged,
    regularization.SpatialDropout: reshaping.unchanged,
    resizing.CenterCrop: borders.center_crop,
    resizing.Resizing: borders.resizing,
    reshaped.Flatten: reshaping.flatten,
    reshaped.Permute: reshaping.permute,
    reshaped.RepeatVector: reshaping.repeat_vector,
    reshaped.Reshape: reshaping.reshape,
}
"""Layer class -> what writes it; subclasses share it."""


def converter_of(layer: Layer) -> Converter | None:
    """What writes a layer; None if nothing does."""
    return converter_in(CONVERTERS, layer)
