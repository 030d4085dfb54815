//! What Python says about a model, as data: the descriptions of layers, losses, metrics, optimizers, initializers.
//!
//! A description is JSON with Keras' names; unknown class names and missing or mistyped fields are errors here.

mod initializers;
mod normalizations;
mod windows;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use super::constraints::Constraint;
use super::layers::augment::WarpSpec;
pub use super::layers::resizing::{Aspect, Filter};
pub use super::layers::stft::{Mode, StftSpec};
pub use super::loss::{Loss, Reduction};
pub use super::metric::Metric;
pub use super::optim::Optimizer;
pub use super::optim::schedule::LrSchedule;
pub use super::regularizers::{L1L2, Orthogonal, Regularizer};
use crate::error::{Error, Result};
use crate::geometry::PaddingMode;
pub use initializers::{Distribution, FanMode, Filling, Initializer};
pub use normalizations::{BatchNormSpec, GroupNormSpec, LayerNormSpec, ScaleSpec};
pub use windows::{ConvSpec, DepthwiseSpec, PoolSpec, SeparableSpec, TransposedSpec};

/// A size that may be unknown until data comes.
pub type Size = Option<usize>;

/// Element type of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// Single precision.
    Float32,
    /// Double precision.
    Float64,
}

/// A model.
#[derive(Debug, Clone, Deserialize)]
pub struct ModelSpec {
    /// Element type.
    pub dtype: Dtype,
    /// Inputs, then layers in topological order.
    pub layers: Vec<LayerSpec>,
    /// Entries of `layers` whose results are the model's; None for the last one.
    #[serde(default)]
    pub outputs: Option<Vec<usize>>,
}

/// A layer, or a further call of one.
#[derive(Debug, Clone, Deserialize)]
pub struct LayerSpec {
    /// Its name in messages.
    pub name: String,
    /// Entries of the model's list that it reads, which stand before it; None for the one before. Layers inside
    /// others have none.
    #[serde(default)]
    pub inputs: Option<Vec<usize>>,
    /// Entry of the model's list that this one is a further call of: they have one set of weights.
    #[serde(default)]
    pub shares: Option<usize>,
    /// Whether it always acts as at inference.
    #[serde(default)]
    pub inference: bool,
    /// Penalties on its weights, by the weight's name.
    #[serde(default)]
    pub regularizers: BTreeMap<String, Regularizer>,
    /// What its weights are held to, by the weight's name.
    #[serde(default)]
    pub constraints: BTreeMap<String, Constraint>,
    /// Penalty on its outputs.
    #[serde(default)]
    pub activity: Option<L1L2>,
    /// What it does.
    #[serde(flatten)]
    pub kind: LayerKind,
}

/// The layers, with their configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "class_name", content = "config")]
#[expect(missing_docs, reason = "the names are Keras'")]
pub enum LayerKind {
    Input {
        shape: Vec<Size>,
    },
    Rescaling {
        scale: PerChannel,
        offset: PerChannel,
    },
    Normalization {
        axis: Vec<isize>,
        mean: Vec<f64>,
        variance: Vec<f64>,
        invert: bool,
    },
    RandomFlip {
        axes: Vec<isize>,
        seed: Option<u64>,
    },
    RandomCrop {
        height: usize,
        width: Option<usize>,
        depth: Option<usize>,
        seed: Option<u64>,
    },
    RandomNoise {
        factor: (f64, f64),
        seed: Option<u64>,
    },
    RandomTranslation {
        height_factor: (f64, f64),
        width_factor: Option<(f64, f64)>,
        depth_factor: Option<(f64, f64)>,
        #[serde(flatten)]
        warp: WarpSpec,
    },
    RandomRotation {
        factor: (f64, f64),
        #[serde(flatten)]
        warp: WarpSpec,
    },
    RandomZoom {
        height_factor: (f64, f64),
        width_factor: Option<(f64, f64)>,
        depth_factor: Option<(f64, f64)>,
        #[serde(flatten)]
        warp: WarpSpec,
    },
    RandomBrightness {
        factor: (f64, f64),
        value_range: (f64, f64),
        seed: Option<u64>,
    },
    RandomContrast {
        factor: (f64, f64),
        value_range: (f64, f64),
        seed: Option<u64>,
    },
    RandomErasing {
        factor: (f64, f64),
        scale: (f64, f64),
        fill_value: Option<Vec<f64>>,
        value_range: (f64, f64),
        seed: Option<u64>,
    },
    MixUp {
        alpha: f64,
        seed: Option<u64>,
    },
    Resizing {
        height: usize,
        width: Option<usize>,
        depth: Option<usize>,
        interpolation: Filter,
        aspect: Aspect,
        fill_value: f64,
        antialias: bool,
    },
    CenterCrop {
        height: usize,
        width: Option<usize>,
        depth: Option<usize>,
    },
    #[serde(rename = "STFT")]
    Stft(StftSpec),
    Conv1D(ConvSpec),
    Conv2D(ConvSpec),
    Conv3D(ConvSpec),
    Conv1DTranspose(TransposedSpec),
    Conv2DTranspose(TransposedSpec),
    Conv3DTranspose(TransposedSpec),
    DepthwiseConv1D(DepthwiseSpec),
    DepthwiseConv2D(DepthwiseSpec),
    DepthwiseConv3D(DepthwiseSpec),
    SeparableConv1D(SeparableSpec),
    SeparableConv2D(SeparableSpec),
    SeparableConv3D(SeparableSpec),
    MaxPooling1D(PoolSpec),
    MaxPooling2D(PoolSpec),
    MaxPooling3D(PoolSpec),
    AveragePooling1D(PoolSpec),
    AveragePooling2D(PoolSpec),
    AveragePooling3D(PoolSpec),
    ActivityRegularization {
        l1: f64,
        l2: f64,
    },
    /// In as many axes as there are sizes.
    AdaptiveAveragePooling {
        output_size: Vec<usize>,
    },
    AdaptiveMaxPooling {
        output_size: Vec<usize>,
    },
    GlobalAveragePooling1D {
        keepdims: bool,
    },
    GlobalAveragePooling2D {
        keepdims: bool,
    },
    GlobalAveragePooling3D {
        keepdims: bool,
    },
    GlobalMaxPooling1D {
        keepdims: bool,
    },
    GlobalMaxPooling2D {
        keepdims: bool,
    },
    GlobalMaxPooling3D {
        keepdims: bool,
    },
    ZeroPadding1D {
        padding: Vec<(usize, usize)>,
    },
    ZeroPadding2D {
        padding: Vec<(usize, usize)>,
    },
    ZeroPadding3D {
        padding: Vec<(usize, usize)>,
    },
    Padding1D {
        padding: Vec<(usize, usize)>,
        mode: PaddingMode,
    },
    Padding2D {
        padding: Vec<(usize, usize)>,
        mode: PaddingMode,
    },
    Padding3D {
        padding: Vec<(usize, usize)>,
        mode: PaddingMode,
    },
    Cropping1D {
        cropping: Vec<(usize, usize)>,
    },
    Cropping2D {
        cropping: Vec<(usize, usize)>,
    },
    Cropping3D {
        cropping: Vec<(usize, usize)>,
    },
    UpSampling1D {
        size: Vec<usize>,
        #[serde(default)]
        interpolation: Interpolation,
    },
    UpSampling2D {
        size: Vec<usize>,
        #[serde(default)]
        interpolation: Interpolation,
    },
    UpSampling3D {
        size: Vec<usize>,
        #[serde(default)]
        interpolation: Interpolation,
    },
    Flatten {},
    Dense(DenseSpec),
    Activation {
        activation: String,
    },
    ReLU {
        max_value: Option<f64>,
        negative_slope: f64,
        threshold: f64,
    },
    LeakyReLU {
        negative_slope: f64,
    },
    #[serde(rename = "ELU")]
    Elu {
        alpha: f64,
    },
    PReLU {
        alpha_initializer: Initializer,
        shared_axes: Vec<usize>,
    },
    Softmax {
        axis: Axes,
    },
    UnitNormalization {
        axis: Axes,
    },
    Dropout {
        rate: f64,
        noise_shape: Option<Vec<Size>>,
        seed: Option<u64>,
    },
    BatchNormalization(BatchNormSpec),
    LayerNormalization(LayerNormSpec),
    GroupNormalization(GroupNormSpec),
    Reshape {
        target_shape: Vec<isize>,
    },
    Permute {
        dims: Vec<usize>,
    },
    RepeatVector {
        n: usize,
    },
    SpatialDropout1D {
        rate: f64,
        seed: Option<u64>,
    },
    SpatialDropout2D {
        rate: f64,
        seed: Option<u64>,
    },
    SpatialDropout3D {
        rate: f64,
        seed: Option<u64>,
    },
    GaussianNoise {
        stddev: f64,
        seed: Option<u64>,
    },
    GaussianDropout {
        rate: f64,
        seed: Option<u64>,
    },
    /// A layer that the caller computes, by its number among the custom layers.
    Custom {
        number: usize,
    },
    /// A layer that acts on every slice along the first axis of a sample.
    TimeDistributed {
        layer: Box<LayerSpec>,
    },
    /// Layers one after the other.
    Chain {
        layers: Vec<LayerSpec>,
    },
    /// Their output plus the input, or plus what the shortcut makes of it.
    Residual {
        layers: Vec<LayerSpec>,
        shortcut: Option<Vec<LayerSpec>>,
    },
    /// Chains of layers that read the same input.
    Parallel {
        branches: Vec<Vec<LayerSpec>>,
        merge: Merge,
    },
    Add {},
    Subtract {},
    Multiply {},
    Average {},
    Maximum {},
    Minimum {},
    Concatenate {
        axis: isize,
    },
    Dot {
        axes: (isize, isize),
        normalize: bool,
    },
}

impl LayerKind {
    /// How a merging layer makes one tensor of several.
    pub(super) fn merge(&self) -> Option<Merge> {
        Some(match self {
            Self::Add {} => Merge::Add,
            Self::Subtract {} => Merge::Subtract,
            Self::Multiply {} => Merge::Multiply,
            Self::Average {} => Merge::Average,
            Self::Maximum {} => Merge::Maximum,
            Self::Minimum {} => Merge::Minimum,
            Self::Concatenate { axis } => Merge::Concatenate { axis: *axis },
            Self::Dot { axes, normalize } => Merge::Dot { axes: *axes, normalize: *normalize },
            _ => return None,
        })
    }
}

/// A number, or one for every channel.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum PerChannel {
    /// The same for all.
    One(f64),
    /// In the order of the channels.
    Each(Vec<f64>),
}

/// An axis or several, which count the batch as axis 0 or are negative.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Axes {
    /// One.
    One(isize),
    /// Several together.
    Several(Vec<isize>),
}

impl Axes {
    /// All of them.
    pub fn list(&self) -> &[isize] {
        match self {
            Self::One(axis) => std::slice::from_ref(axis),
            Self::Several(axes) => axes,
        }
    }
}

/// How several tensors become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Merge {
    /// Side by side, along the channels.
    Concat,
    /// Their sum.
    Add,
    /// Their product.
    Multiply,
    /// Their mean.
    Average,
    /// The largest; of equals the one of the first branch.
    Maximum,
    /// The first less the second.
    #[serde(skip_deserializing)]
    Subtract,
    /// The smallest; of equals the one of the first.
    #[serde(skip_deserializing)]
    Minimum,
    /// Side by side along an axis, which counts the batch as axis 0 or is negative.
    #[serde(skip_deserializing)]
    Concatenate {
        /// The axis.
        axis: isize,
    },
    /// Products summed over one axis of each of two tensors.
    #[serde(skip_deserializing)]
    Dot {
        /// The axis of each, which count the batch as axis 0 or are negative.
        axes: (isize, isize),
        /// Whether both are divided by their norms along it first.
        normalize: bool,
    },
}

/// How an upsampled grid is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are Keras'")]
pub enum Interpolation {
    #[default]
    Nearest,
    Bilinear,
}

/// Configuration of a dense layer.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the names are Keras'")]
pub struct DenseSpec {
    pub units: usize,
    pub activation: String,
    pub use_bias: bool,
    pub kernel_initializer: Initializer,
    pub bias_initializer: Initializer,
}

/// What a model is trained for and how.
#[derive(Debug, Clone, Deserialize)]
pub struct CompileSpec {
    /// How weights are updated; none for a model that is only evaluated.
    pub optimizer: Option<Optimizer>,
    /// What is made of every output, in their order.
    pub outputs: Vec<Objective>,
}

/// What an output is compared for and how.
#[derive(Debug, Clone, Deserialize)]
pub struct Objective {
    /// What is minimised; None for an output that nothing is asked of.
    pub loss: Option<Loss>,
    /// How its elements are put together.
    pub reduction: Reduction,
    /// What the loss counts among those of several outputs.
    #[serde(default = "one")]
    pub weight: f64,
    /// What is measured besides.
    pub metrics: Vec<Metric>,
    /// The number of metrics, the last ones, that are weighted as samples are.
    #[serde(default)]
    pub weighted_metrics: usize,
}

fn one() -> f64 {
    1.0
}

/// Parses a description.
///
/// # Errors
/// It is not what this version understands; the message is the parser's.
pub fn parse<'a, S: Deserialize<'a>>(what: &str, json: &'a str) -> Result<S> {
    serde_json::from_str(json).map_err(|error| Error::value(what, "a description of this version", error))
}
