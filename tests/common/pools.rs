//! Pools as problems.

use gridnn::geometry::{Padding, PoolGeometry, Window};
use proptest::prelude::*;

/// A whole pooling problem of one sample.
#[derive(Debug, Clone)]
pub struct PoolCase {
    /// `(input, kernel, stride, dilation, before, after)` per axis.
    pub axes: Vec<(usize, usize, usize, usize, usize, usize)>,
    pub ceil: bool,
    pub channels: usize,
    /// Where the rows of a result are cut.
    pub cuts: Vec<usize>,
    pub seed: u64,
}

impl PoolCase {
    /// Its geometry, if it has an output.
    pub fn geometry(&self) -> Option<PoolGeometry> {
        let window = Window {
            kernel: self.axes.iter().map(|a| a.1).collect(),
            stride: self.axes.iter().map(|a| a.2).collect(),
            dilation: self.axes.iter().map(|a| a.3).collect(),
            padding: Padding::Explicit(self.axes.iter().map(|a| (a.4, a.5)).collect()),
        };
        let input: Vec<usize> = self.axes.iter().map(|a| a.0).collect();
        PoolGeometry::rounded(&window, self.ceil, &input, self.channels).ok()
    }

    /// Whether [`gridnn::reference`] gives the means as well: it knows no windows beyond the padding.
    pub fn has_reference_means(&self, count_padding: bool) -> bool {
        !self.ceil || !count_padding
    }
}

/// Pools of every rank with everything that a geometry can say.
pub fn pool_cases() -> impl Strategy<Value = PoolCase> {
    let axis = (1..10usize, 1..5usize, 1..4usize, 1..3usize, 0..3usize, 0..3usize);
    let channels = prop_oneof![1..5usize, Just(8), Just(16), Just(19), Just(33)];
    let cuts = prop::collection::vec(0..100usize, 0..4);
    (prop::collection::vec(axis, 1..=3), any::<bool>(), channels, cuts, any::<u64>())
        .prop_map(|(axes, ceil, channels, cuts, seed)| PoolCase { axes, ceil, channels, cuts, seed })
        .prop_filter("no output", |case| case.geometry().is_some())
}
