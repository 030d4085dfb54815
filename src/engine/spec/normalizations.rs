//! Descriptions of normalisations.

use serde::Deserialize;

use super::Initializer;

/// What normalisations inside a sample do with their result.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the names are Keras'")]
pub struct ScaleSpec {
    pub epsilon: f64,
    pub center: bool,
    pub scale: bool,
    pub beta_initializer: Initializer,
    pub gamma_initializer: Initializer,
}

/// Configuration of a layer normalisation.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the names are Keras'")]
pub struct LayerNormSpec {
    pub axis: Vec<isize>,
    #[serde(flatten)]
    pub scaling: ScaleSpec,
}

/// Configuration of a group normalisation.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the names are Keras'")]
pub struct GroupNormSpec {
    pub groups: isize,
    pub axis: isize,
    #[serde(flatten)]
    pub scaling: ScaleSpec,
}

/// Configuration of a batch normalisation.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the names are Keras'")]
pub struct BatchNormSpec {
    pub axis: isize,
    pub momentum: f64,
    pub epsilon: f64,
    pub center: bool,
    pub scale: bool,
    pub beta_initializer: Initializer,
    pub gamma_initializer: Initializer,
    pub moving_mean_initializer: Initializer,
    pub moving_variance_initializer: Initializer,
}
