//! Constraints on weights, which hold after every update.

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::memory;

/// Keras' epsilon, which keeps quotients of norms finite.
pub(super) const EPSILON: f64 = 1e-7;

/// A norm to which a weight can be raised without a look at what becomes of it.
const LARGE_NORM: f64 = 1e18;

/// Keeps the squares of the largest doubles finite; a power of two, so that nothing is rounded.
const SHRINK: f64 = f64::from_bits((1023 - 600) << 52);

/// What holds for a weight after every update; norms are taken over `axis`, for every position of the other axes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "class_name", content = "config")]
#[expect(missing_docs, reason = "the names are Keras'")]
pub enum Constraint {
    NonNeg {},
    MaxNorm { max_value: f64, axis: Vec<isize> },
    UnitNorm { axis: Vec<isize> },
    MinMaxNorm { min_value: f64, max_value: f64, rate: f64, axis: Vec<isize> },
}

impl Constraint {
    /// Checks the axes against the shape of a weight.
    ///
    /// # Errors
    /// There is no such axis.
    pub(super) fn check(&self, shape: &[usize]) -> Result<()> {
        self.axes().iter().try_for_each(|&axis| resolve_axis(axis, shape.len()).map(|_| ()))
    }

    fn axes(&self) -> &[isize] {
        match self {
            Self::NonNeg {} => &[],
            Self::MaxNorm { axis, .. } | Self::UnitNorm { axis } | Self::MinMaxNorm { axis, .. } => axis,
        }
    }

    /// What a vector of this norm is multiplied by.
    fn factor(&self, norm: f64) -> f64 {
        let wanted = match self {
            Self::NonNeg {} => return 1.0,
            Self::MaxNorm { max_value, .. } => norm.clamp(0.0, *max_value),
            Self::UnitNorm { .. } => 1.0,
            Self::MinMaxNorm { min_value, max_value, rate, .. } => {
                rate * norm.max(*min_value).min(*max_value) + (1.0 - rate) * norm
            }
        };
        wanted / (EPSILON + norm)
    }

    /// Whether it may make a weight larger than the bound that keeps updates finite.
    pub(super) fn grows(&self) -> bool {
        matches!(self, Self::MinMaxNorm { min_value, .. } if *min_value > LARGE_NORM)
    }

    /// Whether norms are taken along an axis of a weight of `rank` axes.
    fn sums(&self, axis: usize, rank: usize) -> bool {
        self.axes().iter().any(|&a| resolve_axis(a, rank) == Ok(axis))
    }

    /// Vectors of a weight whose norms matter.
    pub(super) fn vectors(&self, shape: &[usize]) -> usize {
        match self {
            Self::NonNeg {} => 0,
            _ => (0..shape.len())
                .filter(|&axis| !self.sums(axis, shape.len()))
                .map(|axis| shape[axis])
                .product(),
        }
    }

    /// Applies the constraint to a whole weight; `norms` has room for [`Self::vectors`] numbers.
    pub(super) fn apply<T: Element>(&self, shape: &[usize], weights: &mut [T], norms: &mut Vec<f64>) {
        if let Self::NonNeg {} = self {
            weights.iter_mut().filter(|w| **w < T::ZERO).for_each(|w| *w = T::ZERO);
            return;
        }
        let summed = |axis: usize| self.sums(axis, shape.len());
        let vectors = self.vectors(shape);
        // The number of the vector that an element belongs to.
        let vector = |mut index: usize| {
            let (mut number, mut stride) = (0, 1);
            for axis in (0..shape.len()).rev() {
                if !summed(axis) {
                    number += index % shape[axis] * stride;
                    stride *= shape[axis];
                }
                index /= shape[axis];
            }
            number
        };
        for shrink in [1.0, SHRINK] {
            norms.clear();
            memory::demand(memory::resize(norms, vectors, 0.0));
            for (index, w) in weights.iter().enumerate() {
                let w = w.to_f64() * shrink;
                norms[vector(index)] += w * w;
            }
            norms.iter_mut().for_each(|norm| *norm = norm.sqrt() / shrink);
            if norms.iter().all(|norm| norm.is_finite()) {
                break;
            }
        }
        norms.iter_mut().for_each(|norm| *norm = self.factor(*norm));
        for (index, w) in weights.iter_mut().enumerate() {
            *w = T::from_f64(w.to_f64() * norms[vector(index)]);
        }
    }
}

/// An axis counted from the front.
fn resolve_axis(axis: isize, rank: usize) -> Result<usize> {
    let at = if axis < 0 { axis + rank as isize } else { axis };
    let at = usize::try_from(at).ok().filter(|&at| at < rank);
    at.ok_or_else(|| {
        Error::value("axis of a constraint", format!("an axis of a weight of {rank} axes"), axis)
    })
}
