//! Which layer a description means.

use std::sync::Arc;

use super::augment::{Augment, Map, PerAxis};
use super::colour::{Change, Colour};
use super::custom::{Custom, CustomLayer};
use super::resizing::{Aspect, Filter, Resizing};
use super::{
    Layer, activation, activity, adaptive, along, batch_norm, conv, conv_transpose, dense, depthwise,
    dropout, group_norm, mix_up, noise, normalization, pad, pool, prelu, rescaling, reshaping, stft, time,
};
use crate::engine::spec::{L1L2, LayerKind, LayerSpec};
use crate::error::{Error, Result};
use crate::geometry::PaddingMode;
use crate::kernels::Element;

/// The layer that a description means.
///
/// # Errors
/// The description asks for what does not exist.
pub fn layer<T: Element>(
    spec: &LayerSpec,
    custom_layers: &[Arc<dyn CustomLayer<T>>],
) -> Result<Box<dyn Layer<T>>> {
    use LayerKind as Kind;
    Ok(match &spec.kind {
        Kind::Input { .. } => {
            return Err(Error::value("", "an Input before all layers", "one after them"));
        }
        Kind::Normalization { axis, mean, variance, invert } => {
            Box::new(normalization::Normalization::new(axis, mean, variance, *invert))
        }
        Kind::RandomFlip { axes, seed } => Box::new(Augment::Flip { axes: axes.clone(), seed: *seed }),
        Kind::RandomCrop { height, width, depth, seed } => {
            let part = PerAxis { height: *height, width: *width, depth: *depth };
            Box::new(Augment::Crop { part, seed: *seed })
        }
        Kind::RandomNoise { factor, seed } => Box::new(Augment::Noise { range: *factor, seed: *seed }),
        Kind::RandomTranslation { height_factor, width_factor, depth_factor, warp } => {
            let shares = PerAxis { height: *height_factor, width: *width_factor, depth: *depth_factor };
            Box::new(Augment::Warp { map: Map::Translation(shares), spec: warp.clone() })
        }
        Kind::RandomRotation { factor, warp } => {
            Box::new(Augment::Warp { map: Map::Rotation { turns: *factor }, spec: warp.clone() })
        }
        Kind::RandomZoom { height_factor, width_factor, depth_factor, warp } => {
            let growths = PerAxis { height: *height_factor, width: *width_factor, depth: *depth_factor };
            Box::new(Augment::Warp { map: Map::Zoom(growths), spec: warp.clone() })
        }
        Kind::RandomBrightness { factor, value_range, seed } => {
            let change = Change::Brightness { shares: *factor };
            Box::new(Colour { change, range: *value_range, seed: *seed })
        }
        Kind::RandomContrast { factor: (lower, upper), value_range, seed } => {
            let change = Change::Contrast { factors: (1.0 - lower, 1.0 + upper) };
            Box::new(Colour { change, range: *value_range, seed: *seed })
        }
        Kind::RandomErasing { factor, scale, fill_value, value_range, seed } => {
            let fill = fill_value.clone();
            let change = Change::Erasing { probabilities: *factor, shares: *scale, fill };
            Box::new(Colour { change, range: *value_range, seed: *seed })
        }
        Kind::MixUp { alpha, seed } => Box::new(mix_up::MixUp { alpha: *alpha, seed: *seed }),
        Kind::Resizing { height, width, depth, interpolation, aspect, fill_value, antialias } => {
            Box::new(Resizing {
                size: PerAxis { height: *height, width: *width, depth: *depth },
                filter: *interpolation,
                aspect: *aspect,
                fill_value: *fill_value,
                antialias: *antialias,
                cuts: false,
            })
        }
        Kind::CenterCrop { height, width, depth } => Box::new(Resizing {
            size: PerAxis { height: *height, width: *width, depth: *depth },
            filter: Filter::Bilinear,
            aspect: Aspect::Crop,
            fill_value: 0.0,
            antialias: false,
            cuts: true,
        }),
        Kind::Stft(spec) => Box::new(stft::Stft(spec.clone())),
        Kind::Rescaling { scale, offset } => Box::new(rescaling::Rescaling::new(scale, offset)),
        Kind::Conv1D(conv) => Box::new(conv::Conv::new(conv, 1)?),
        Kind::Conv2D(conv) => Box::new(conv::Conv::new(conv, 2)?),
        Kind::Conv3D(conv) => Box::new(conv::Conv::new(conv, 3)?),
        Kind::Conv1DTranspose(conv) => Box::new(conv_transpose::Transposed::new(conv, 1)?),
        Kind::Conv2DTranspose(conv) => Box::new(conv_transpose::Transposed::new(conv, 2)?),
        Kind::Conv3DTranspose(conv) => Box::new(conv_transpose::Transposed::new(conv, 3)?),
        Kind::DepthwiseConv1D(conv) => Box::new(depthwise::Depthwise::new(conv, 1)?),
        Kind::DepthwiseConv2D(conv) => Box::new(depthwise::Depthwise::new(conv, 2)?),
        Kind::DepthwiseConv3D(conv) => Box::new(depthwise::Depthwise::new(conv, 3)?),
        Kind::SeparableConv1D(conv) => Box::new(depthwise::Separable::new(conv, 1)?),
        Kind::SeparableConv2D(conv) => Box::new(depthwise::Separable::new(conv, 2)?),
        Kind::SeparableConv3D(conv) => Box::new(depthwise::Separable::new(conv, 3)?),
        Kind::MaxPooling1D(pool) => Box::new(pool::Pool::max(pool, 1)),
        Kind::MaxPooling2D(pool) => Box::new(pool::Pool::max(pool, 2)),
        Kind::MaxPooling3D(pool) => Box::new(pool::Pool::max(pool, 3)),
        Kind::AveragePooling1D(pool) => Box::new(pool::Pool::average(pool, 1)),
        Kind::AveragePooling2D(pool) => Box::new(pool::Pool::average(pool, 2)),
        Kind::AveragePooling3D(pool) => Box::new(pool::Pool::average(pool, 3)),
        Kind::ActivityRegularization { l1, l2 } => Box::new(activity::Activity(L1L2 { l1: *l1, l2: *l2 })),
        Kind::AdaptiveAveragePooling { output_size } => {
            Box::new(adaptive::Adaptive { max: false, output: output_size.clone() })
        }
        Kind::AdaptiveMaxPooling { output_size } => {
            Box::new(adaptive::Adaptive { max: true, output: output_size.clone() })
        }
        Kind::GlobalAveragePooling1D { keepdims } => Box::new(pool::GlobalPool::average(1, *keepdims)),
        Kind::GlobalAveragePooling2D { keepdims } => Box::new(pool::GlobalPool::average(2, *keepdims)),
        Kind::GlobalAveragePooling3D { keepdims } => Box::new(pool::GlobalPool::average(3, *keepdims)),
        Kind::GlobalMaxPooling1D { keepdims } => Box::new(pool::GlobalPool::max(1, *keepdims)),
        Kind::GlobalMaxPooling2D { keepdims } => Box::new(pool::GlobalPool::max(2, *keepdims)),
        Kind::GlobalMaxPooling3D { keepdims } => Box::new(pool::GlobalPool::max(3, *keepdims)),
        Kind::ZeroPadding1D { padding } => Box::new(pad::Regrid::pad(padding, PaddingMode::Zeros, 1)?),
        Kind::ZeroPadding2D { padding } => Box::new(pad::Regrid::pad(padding, PaddingMode::Zeros, 2)?),
        Kind::ZeroPadding3D { padding } => Box::new(pad::Regrid::pad(padding, PaddingMode::Zeros, 3)?),
        Kind::Padding1D { padding, mode } => Box::new(pad::Regrid::pad(padding, *mode, 1)?),
        Kind::Padding2D { padding, mode } => Box::new(pad::Regrid::pad(padding, *mode, 2)?),
        Kind::Padding3D { padding, mode } => Box::new(pad::Regrid::pad(padding, *mode, 3)?),
        Kind::Cropping1D { cropping } => Box::new(pad::Regrid::crop(cropping, 1)?),
        Kind::Cropping2D { cropping } => Box::new(pad::Regrid::crop(cropping, 2)?),
        Kind::Cropping3D { cropping } => Box::new(pad::Regrid::crop(cropping, 3)?),
        Kind::UpSampling1D { size, interpolation } => {
            Box::new(pad::Regrid::upsample(size, *interpolation, 1)?)
        }
        Kind::UpSampling2D { size, interpolation } => {
            Box::new(pad::Regrid::upsample(size, *interpolation, 2)?)
        }
        Kind::UpSampling3D { size, interpolation } => {
            Box::new(pad::Regrid::upsample(size, *interpolation, 3)?)
        }
        Kind::Flatten {} => Box::new(reshaping::Flatten),
        Kind::Dense(dense) => Box::new(dense::DenseLayer::new(dense)?),
        Kind::Activation { activation } => Box::new(activation::ActivationLayer::named(activation)?),
        Kind::ReLU { max_value, negative_slope, threshold } => {
            Box::new(activation::ActivationLayer::rectifier(*max_value, *negative_slope, *threshold))
        }
        Kind::LeakyReLU { negative_slope } => Box::new(activation::ActivationLayer::leaky(*negative_slope)),
        Kind::Elu { alpha } => Box::new(activation::ActivationLayer::elu(*alpha)),
        Kind::PReLU { alpha_initializer, shared_axes } => {
            Box::new(prelu::Prelu::new(alpha_initializer, shared_axes))
        }
        Kind::Softmax { axis } => match axis.list() {
            [axis] => Box::new(activation::ActivationLayer::softmax(*axis)),
            axes => Box::new(along::Along::softmax(axes)),
        },
        Kind::UnitNormalization { axis } => Box::new(along::Along::unit(axis.list())),
        Kind::BatchNormalization(norm) => Box::new(batch_norm::BatchNorm::new(norm)),
        Kind::LayerNormalization(norm) => Box::new(group_norm::SampleNorm::layer(norm)),
        Kind::GroupNormalization(norm) => Box::new(group_norm::SampleNorm::group(norm)),
        Kind::Reshape { target_shape } => Box::new(reshaping::Reshape(target_shape.clone())),
        Kind::Permute { dims } => Box::new(reshaping::Permute::new(dims)?),
        Kind::RepeatVector { n } => Box::new(reshaping::RepeatVector(*n)),
        Kind::SpatialDropout1D { rate, seed } => Box::new(dropout::Dropout::channels(*rate, *seed, 1)),
        Kind::SpatialDropout2D { rate, seed } => Box::new(dropout::Dropout::channels(*rate, *seed, 2)),
        Kind::SpatialDropout3D { rate, seed } => Box::new(dropout::Dropout::channels(*rate, *seed, 3)),
        Kind::GaussianNoise { stddev, seed } => Box::new(noise::Gaussian::noise(*stddev, *seed)),
        Kind::GaussianDropout { rate, seed } => Box::new(noise::Gaussian::dropout(*rate, *seed)),
        Kind::TimeDistributed { layer: inner } => {
            Box::new(time::TimeDistributed(layer::<T>(inner, custom_layers)?))
        }
        Kind::Residual { .. } | Kind::Parallel { .. } | Kind::Chain { .. } => {
            return Err(Error::value("", "a layer that holds no others", "a container"));
        }
        Kind::Add {}
        | Kind::Subtract {}
        | Kind::Multiply {}
        | Kind::Average {}
        | Kind::Maximum {}
        | Kind::Minimum {}
        | Kind::Concatenate { .. }
        | Kind::Dot { .. } => {
            return Err(Error::value("", "a layer of one input inside another layer", "one that merges"));
        }
        Kind::Custom { number } => {
            let custom = custom_layers
                .get(*number)
                .ok_or_else(|| Error::value("", "a custom layer that is there", number))?;
            Box::new(Custom(Arc::clone(custom)))
        }
        Kind::Dropout { rate, noise_shape, seed } => {
            Box::new(dropout::Dropout::new(*rate, *seed, noise_shape.as_ref()))
        }
    })
}
