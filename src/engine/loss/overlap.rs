//! Losses of how much outputs and targets overlap, summed over some axes before they are divided: Dice
//! (Milletari, Navab and Ahmadi 2016, arXiv 1606.04797) and Tversky (Salehi, Erdogmus and Gholipour 2017, arXiv 1706.05721).
//!
//! Over the kept axes there is one number each, `1 - a I / (b I + c T + d P + epsilon)` with the sums
//! `I = sum of p t`, `T = sum of t` and `P = sum of p`. Where the batch is summed over as well, samples are added in
//! their order between two phases of the step.

use super::{EPSILON, Loss};
use crate::error::{Error, Result};

/// The sums of one group.
pub(in crate::engine) const SUMS: usize = 3;

/// A loss of this kind for one shape of outputs.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::engine) struct Overlap {
    /// `a, b, c, d`.
    factors: [f64; 4],
    /// Sizes of the output, each with the distance between groups along it; 0 where it is summed over.
    axes: Vec<(usize, usize)>,
    /// Groups of a sample.
    pub groups: usize,
    /// Whether samples are summed.
    pub across: bool,
}

impl Loss {
    /// This loss as one of overlaps, on outputs of `shape` (without the batch); None if it is another.
    ///
    /// # Errors
    /// An axis is not one of theirs.
    pub(in crate::engine) fn overlap(&self, shape: &[usize]) -> Result<Option<Overlap>> {
        let (factors, axis) = match self {
            Self::Dice { axis, .. } => ([2.0, 0.0, 1.0, 1.0], axis),
            Self::Tversky { axis, alpha, beta, .. } => ([1.0, 1.0 - alpha - beta, *alpha, *beta], axis),
            _ => return Ok(None),
        };
        let rank = shape.len() + 1;
        let mut summed = vec![axis.is_none(); rank];
        for &axis in axis.iter().flatten() {
            let at = if axis < 0 { axis + rank as isize } else { axis };
            let at = usize::try_from(at).ok().filter(|&at| at < rank);
            let at =
                at.ok_or_else(|| Error::value("axis of the loss", format!("-{rank} to {}", rank - 1), axis))?;
            summed[at] = true;
        }
        let mut groups = 1;
        let mut axes = vec![(0, 0); shape.len()];
        for i in (0..shape.len()).rev() {
            axes[i] = (shape[i], if summed[i + 1] { 0 } else { groups });
            groups *= if summed[i + 1] { 1 } else { shape[i] };
        }
        Ok(Some(Overlap { factors, axes, groups, across: summed[0] }))
    }
}

impl Overlap {
    /// Loss elements of a batch.
    pub(in crate::engine) fn count(&self, batch: usize) -> f64 {
        (self.groups * if self.across { 1 } else { batch }) as f64
    }

    /// The group of element `index` of a sample.
    fn group(&self, mut index: usize) -> usize {
        let mut group = 0;
        for &(size, stride) in self.axes.iter().rev() {
            group += index % size * stride;
            index /= size;
        }
        group
    }

    /// Adds outputs and targets from element `first` of a sample on, times a weight, to the sums of their groups.
    pub(super) fn gather(&self, first: usize, (p, t): (&[f64], &[f64]), weight: f64, sums: &mut [f64]) {
        for (i, (p, t)) in p.iter().zip(t).enumerate() {
            let own = &mut sums[self.group(first + i) * SUMS..][..SUMS];
            own[0] += weight * (p * t);
            own[1] += weight * t;
            own[2] += weight * p;
        }
    }

    /// The sum of the losses of some groups.
    pub(in crate::engine) fn value(&self, sums: &[f64]) -> f64 {
        let of = |s: &[f64]| 1.0 - self.factors[0] * s[0] / self.divisor(s);
        sums.chunks_exact(SUMS).map(of).sum()
    }

    fn divisor(&self, s: &[f64]) -> f64 {
        let [_, b, c, d] = self.factors;
        b * s[0] + c * s[1] + d * s[2] + EPSILON
    }

    /// The gradient at elements from `first` on whose targets are `t`.
    pub(super) fn slope(&self, first: usize, t: &[f64], sums: &[f64], g: &mut [f64]) {
        let [a, b, _, d] = self.factors;
        for (i, (t, g)) in t.iter().zip(g).enumerate() {
            let own = &sums[self.group(first + i) * SUMS..][..SUMS];
            let divisor = self.divisor(own);
            *g = a * (own[0] * (b * t + d) - t * divisor) / (divisor * divisor);
        }
    }
}
