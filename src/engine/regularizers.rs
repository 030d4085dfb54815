//! Penalties on weights, which add to the loss.

mod orthogonal;

use serde::Deserialize;

pub(super) use self::orthogonal::Angles;
pub use self::orthogonal::Orthogonal;
use crate::error::Result;
use crate::kernels::{Element, Job};

/// A penalty on a weight.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Regularizer {
    /// On every element by itself.
    Elements(L1L2),
    /// On the angles between rows or columns.
    Orthogonal(Orthogonal),
}

impl Regularizer {
    /// Checks the shape of a weight.
    ///
    /// # Errors
    /// The penalty is not for weights of this shape.
    pub(super) fn check(&self, shape: &[usize]) -> Result<()> {
        match self {
            Self::Elements(_) => Ok(()),
            Self::Orthogonal(_) => Orthogonal::check(shape),
        }
    }
}

/// What elements cost: `l1 sum |w| + l2 sum w^2`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct L1L2 {
    /// Price of absolute values.
    pub l1: f64,
    /// Price of squares.
    pub l2: f64,
}

/// The penalty on elements, in float64: sixteen chains, added in their order, whatever the tier.
pub(super) struct Penalty<'a, T> {
    pub factors: L1L2,
    pub weights: &'a [T],
}

impl<T: Element> Job for Penalty<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn run(self) -> f64 {
        let L1L2 { l1, l2 } = self.factors;
        let mut sums = [0.0; 16];
        for part in self.weights.chunks(16) {
            for (sum, w) in sums.iter_mut().zip(part) {
                let w = w.to_f64();
                *sum += l1 * w.abs() + l2 * w * w;
            }
        }
        sums.iter().sum()
    }
}

/// Adds the gradient of a penalty on elements: `g += l1 sign(w) + 2 l2 w`.
pub(super) struct PenaltySlope<'a, T> {
    pub factors: L1L2,
    pub weights: &'a [T],
    pub grads: &'a mut [T],
}

impl<T: Element> Job for PenaltySlope<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let (l1, double) = (T::from_f64(self.factors.l1), T::from_f64(2.0 * self.factors.l2));
        for (g, w) in self.grads.iter_mut().zip(self.weights) {
            let up = if *w > T::ZERO { l1 } else { T::ZERO };
            let down = if *w < T::ZERO { l1 } else { T::ZERO };
            *g = g.add(double.mul(*w)).add(up).sub(down);
        }
    }
}
