//! Descriptions of layers with a window: convolutions and pools.

use serde::Deserialize;

use super::Initializer;
use crate::geometry::{Padding, PaddingMode, Window};

/// Configuration of a convolution.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the names are Keras'")]
pub struct ConvSpec {
    pub filters: usize,
    pub kernel_size: Vec<usize>,
    pub strides: Vec<usize>,
    pub padding: Padding,
    #[serde(default)]
    pub padding_mode: PaddingMode,
    pub dilation_rate: Vec<usize>,
    pub groups: usize,
    pub activation: String,
    pub use_bias: bool,
    pub kernel_initializer: Initializer,
    pub bias_initializer: Initializer,
}

impl ConvSpec {
    /// The window that slides over the input.
    pub fn window(&self) -> Window {
        Window {
            kernel: self.kernel_size.clone(),
            stride: self.strides.clone(),
            dilation: self.dilation_rate.clone(),
            padding: self.padding.clone(),
        }
    }
}

/// Configuration of a transposed convolution.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the names are Keras'")]
pub struct TransposedSpec {
    pub filters: usize,
    pub kernel_size: Vec<usize>,
    pub strides: Vec<usize>,
    pub padding: Padding,
    pub output_padding: Option<Vec<usize>>,
    pub dilation_rate: Vec<usize>,
    pub groups: usize,
    pub activation: String,
    pub use_bias: bool,
    pub kernel_initializer: Initializer,
    pub bias_initializer: Initializer,
}

impl TransposedSpec {
    /// The window that every element is spread over.
    pub fn window(&self) -> Window {
        Window {
            kernel: self.kernel_size.clone(),
            stride: self.strides.clone(),
            dilation: self.dilation_rate.clone(),
            padding: self.padding.clone(),
        }
    }
}

/// Configuration of a depthwise convolution.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the names are Keras'")]
pub struct DepthwiseSpec {
    pub kernel_size: Vec<usize>,
    pub strides: Vec<usize>,
    pub padding: Padding,
    pub padding_mode: PaddingMode,
    pub depth_multiplier: usize,
    pub dilation_rate: Vec<usize>,
    pub activation: String,
    pub use_bias: bool,
    pub depthwise_initializer: Initializer,
    pub bias_initializer: Initializer,
}

impl DepthwiseSpec {
    /// The window that slides over every channel.
    pub fn window(&self) -> Window {
        Window {
            kernel: self.kernel_size.clone(),
            stride: self.strides.clone(),
            dilation: self.dilation_rate.clone(),
            padding: self.padding.clone(),
        }
    }
}

/// Configuration of a separable convolution: a depthwise one and what follows it.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the names are Keras'")]
pub struct SeparableSpec {
    pub filters: usize,
    #[serde(flatten)]
    pub depthwise: DepthwiseSpec,
    pub pointwise_initializer: Initializer,
}

/// Configuration of a pool.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the names are Keras'")]
pub struct PoolSpec {
    pub pool_size: Vec<usize>,
    pub strides: Vec<usize>,
    pub padding: Padding,
    #[serde(default)]
    pub count_include_pad: bool,
    #[serde(default)]
    pub ceil_mode: bool,
}

impl PoolSpec {
    /// The window that slides over the input.
    pub fn window(&self) -> Window {
        Window {
            kernel: self.pool_size.clone(),
            stride: self.strides.clone(),
            dilation: vec![1; self.pool_size.len()],
            padding: self.padding.clone(),
        }
    }
}
