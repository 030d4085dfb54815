//! What ops that move something tell about it, so that targets of single positions can follow.

use super::augment::Sampling;
use super::{Context, Random};

/// Where what an op draws for a sample comes from.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    /// None at inference.
    pub random: Option<Random>,
    /// Number of the sample in its batch.
    pub sample: usize,
}

impl Draw {
    /// That of a sample of those that an op works on.
    pub(super) fn of<T>(cx: &Context<'_, T>, sample: usize) -> Self {
        Self { random: cx.training, sample: cx.first + sample }
    }
}

/// What an op moves.
#[derive(Clone, Copy)]
pub enum Moves<'a> {
    /// What stands at the positions of a sample.
    Positions(&'a dyn Shifts),
    /// Whole samples, which it mixes.
    Samples(&'a dyn Mixes),
}

/// An op that moves what stands at the positions of a grid.
pub trait Shifts: Send + Sync {
    /// Sizes of the grids that it reads and writes.
    fn grids(&self) -> [&[usize]; 2];

    /// Whether it does so by chance, and not the same way for all.
    fn drawn(&self) -> bool;

    /// Calls `tap(output position, input position, weight)` for all positions that an output is mixed from, outputs in
    /// their order; without an input position it is what stands outside. With [`Sampling::Nearest`] there is one each.
    fn taps(&self, draw: Draw, sampling: Sampling, tap: &mut dyn FnMut(usize, Option<usize>, f64));
}

/// An op that mixes samples of a batch.
pub trait Mixes: Send + Sync {
    /// Of every sample another one, and the share that the sample itself has.
    fn mixture(&self, random: Random, batch: usize) -> Vec<(usize, f64)>;
}
