//! Descriptions of initial weights.

use serde::Deserialize;

/// How initial weights are drawn.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "class_name", content = "config")]
#[expect(missing_docs, reason = "the names are Keras'")]
pub enum Initializer {
    Zeros {},
    Ones {},
    Constant { value: Filling },
    RandomUniform { minval: f64, maxval: f64, seed: Option<u64> },
    RandomNormal { mean: f64, stddev: f64, seed: Option<u64> },
    TruncatedNormal { mean: f64, stddev: f64, seed: Option<u64> },
    VarianceScaling { scale: f64, mode: FanMode, distribution: Distribution, seed: Option<u64> },
    Orthogonal { gain: f64, seed: Option<u64> },
    Identity { gain: f64 },
}

/// One value everywhere, or an array that is stretched over a weight as NumPy broadcasts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Filling {
    /// The value.
    Value(f64),
    /// The array, in row-major order.
    Array {
        /// Its shape.
        shape: Vec<usize>,
        /// Its elements.
        values: Vec<f64>,
    },
}

/// Which fan the variance is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are Keras'")]
pub enum FanMode {
    FanIn,
    FanOut,
    FanAvg,
}

/// What is drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are Keras'")]
pub enum Distribution {
    Uniform,
    UntruncatedNormal,
    TruncatedNormal,
}
