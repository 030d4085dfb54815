//! Losses and their gradients, sample by sample, in float64; and the metrics that look at the same numbers.

use super::source::Source;
use super::spec::{Loss, Metric, Reduction};
use crate::error::{Error, Result};
use crate::kernels::{Element, Job, Tier, math};

/// Probabilities are kept this far from 0 and 1 (Keras' epsilon).
const EPSILON: f64 = 1e-7;

/// What one sample adds to loss and metrics.
pub(super) struct Scorer<'a> {
    pub loss: &'a Loss,
    pub metrics: &'a [Metric],
    /// Classes or channels: size of the output's last axis.
    pub channels: usize,
    pub tier: Tier,
}

/// A sample's output and label.
pub(super) struct Sample<'a, 'b, T> {
    pub output: &'a [T],
    pub y: &'a Source<'b>,
    /// Its row in `y`.
    pub row: usize,
    /// What its gradient is multiplied by: its weight over the count of loss elements.
    pub scale: f64,
}

impl Loss {
    /// Whether labels are class numbers.
    pub(super) fn sparse(&self) -> bool {
        matches!(self, Self::SparseCategoricalCrossentropy { .. })
    }

    /// Whether the output holds logits of a softmax.
    fn softmax_logits(&self) -> bool {
        match self {
            Self::SparseCategoricalCrossentropy { from_logits, .. }
            | Self::CategoricalCrossentropy { from_logits, .. } => *from_logits,
            Self::MeanSquaredError { .. } => false,
        }
    }

    pub(super) fn reduction(&self) -> Reduction {
        match self {
            Self::SparseCategoricalCrossentropy { reduction, .. }
            | Self::CategoricalCrossentropy { reduction, .. }
            | Self::MeanSquaredError { reduction } => *reduction,
        }
    }

    fn ignored(&self) -> Option<i64> {
        match self {
            Self::SparseCategoricalCrossentropy { ignore_class, .. } => *ignore_class,
            _ => None,
        }
    }

    /// Loss elements of some rows of `y`: all positions, less those that are ignored.
    ///
    /// # Errors
    /// A label is none.
    pub(super) fn count(
        &self,
        y: &Source<'_>,
        rows: impl Iterator<Item = usize>,
        positions: usize,
        classes: usize,
    ) -> Result<f64> {
        let Some(ignored) = self.ignored() else { return Ok((rows.count() * positions) as f64) };
        let mut count = 0;
        for row in rows {
            for position in 0..positions {
                count += usize::from(y.class(row, position, classes, Some(ignored))?.is_some());
            }
        }
        Ok(count as f64)
    }

    /// Checks the shape of the labels against the shape of the output (both without the batch).
    pub(super) fn check(&self, y: &Source<'_>, output: &[usize]) -> Result<()> {
        let labels = y.shape.get(1..).unwrap_or(&[]);
        let (positions, channels) = output.split_at(output.len() - 1);
        let fits = if self.sparse() {
            labels == positions || labels.split_last() == Some((&1, positions))
        } else {
            labels == output || (channels == [1] && labels == positions)
        };
        if fits {
            return Ok(());
        }
        let expected = if self.sparse() { positions } else { output };
        let text = |sizes: &[usize]| super::shape_text(&sizes.iter().map(|&n| Some(n)).collect::<Vec<_>>());
        Err(Error::shape(
            "y",
            format!("labels of shape {} for outputs of shape {}", text(expected), text(output)),
            text(labels),
        ))
    }
}

impl Scorer<'_> {
    /// Loss of a sample, summed over its positions; writes the gradient to `dy` if asked, `(sum, count)` per metric.
    pub(super) fn score<T: Element>(
        &self,
        sample: &Sample<'_, '_, T>,
        mut dy: Option<&mut [T]>,
        metrics: &mut [f64],
        buffers: &mut [Vec<f64>; 2],
    ) -> Result<f64> {
        let c = self.channels;
        let mut total = 0.0;
        metrics.fill(0.0);
        let [p, t] = buffers;
        p.resize(c, 0.0);
        t.resize(c, 0.0);
        for (position, z) in sample.output.chunks_exact(c).enumerate() {
            let class = if self.loss.sparse() {
                match sample.y.class(sample.row, position, c, self.loss.ignored())? {
                    Some(class) => Some(class),
                    None => {
                        if let Some(dy) = &mut dy {
                            dy[position * c..][..c].fill(T::ZERO);
                        }
                        continue;
                    }
                }
            } else {
                None
            };
            match class {
                Some(class) => {
                    t.fill(0.0);
                    t[class] = 1.0;
                }
                None => sample.y.gather_part(sample.row, position * c, t),
            }
            // Probabilities and the logarithm of their sum, or the outputs as they are.
            let spread = if self.loss.softmax_logits() {
                self.tier.vectorize(Softmax { z, p })
            } else {
                p.iter_mut().zip(z).for_each(|(p, z)| *p = z.to_f64());
                0.0
            };
            for (metric, sums) in self.metrics.iter().zip(metrics.chunks_exact_mut(2)) {
                sums[0] += metric.value(p, t);
                sums[1] += 1.0;
            }
            if let Loss::CategoricalCrossentropy { label_smoothing, .. } = self.loss {
                let share = label_smoothing / c as f64;
                t.iter_mut().for_each(|t| *t = *t * (1.0 - label_smoothing) + share);
            }
            let dy = dy.as_mut().map(|dy| &mut dy[position * c..][..c]);
            total += self.element(z, spread, p, t, sample.scale, dy);
        }
        Ok(total)
    }

    /// One loss element and its gradient.
    fn element<T: Element>(
        &self,
        z: &[T],
        spread: f64,
        p: &[f64],
        t: &[f64],
        scale: f64,
        dy: Option<&mut [T]>,
    ) -> f64 {
        match self.loss {
            Loss::MeanSquaredError { .. } => {
                // mean over the last axis of (p - t)^2
                let share = 1.0 / p.len() as f64;
                if let Some(dy) = dy {
                    for ((dy, p), t) in dy.iter_mut().zip(p).zip(t) {
                        *dy = T::from_f64(2.0 * share * scale * (p - t));
                    }
                }
                p.iter().zip(t).map(|(p, t)| (p - t) * (p - t)).sum::<f64>() * share
            }
            _ if self.loss.softmax_logits() => {
                // sum of t (lse - z); gradient p sum(t) - t
                let mass: f64 = t.iter().sum();
                if let Some(dy) = dy {
                    for ((dy, p), t) in dy.iter_mut().zip(p).zip(t) {
                        *dy = T::from_f64(scale * (p * mass - t));
                    }
                }
                z.iter().zip(t).filter(|(_, t)| **t != 0.0).map(|(z, t)| t * (spread - z.to_f64())).sum()
            }
            _ => {
                // q = p / sum(p), clipped; -sum of t ln q. Inside the clip dL/dp_j = sum(t)/sum(p) - t_j/p_j.
                let sum: f64 = p.iter().sum();
                let q = |p: f64| p / sum;
                let inside = |p: f64| (EPSILON..=1.0 - EPSILON).contains(&q(p));
                if let Some(dy) = dy {
                    let mass: f64 = p.iter().zip(t).filter(|(p, _)| inside(**p)).map(|(_, t)| t).sum();
                    for ((dy, p), t) in dy.iter_mut().zip(p).zip(t) {
                        let own = if inside(*p) { t / p } else { 0.0 };
                        *dy = T::from_f64(scale * (mass / sum - own));
                    }
                }
                let clip = |q: f64| q.clamp(EPSILON, 1.0 - EPSILON);
                -p.iter().zip(t).map(|(p, t)| t * math::ln(clip(q(*p)))).sum::<f64>()
            }
        }
    }
}

/// Softmax of a row; returns the logarithm of the sum of exponentials.
struct Softmax<'a, T> {
    z: &'a [T],
    p: &'a mut [f64],
}

impl<T: Element> Job for Softmax<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let top = self.z.iter().fold(f64::NEG_INFINITY, |a, z| {
            let z = z.to_f64();
            if z > a || z.is_nan() { z } else { a }
        });
        for (p, z) in self.p.iter_mut().zip(self.z) {
            *p = math::exp(z.to_f64() - top);
        }
        let sum: f64 = self.p.iter().sum();
        let share = 1.0 / sum;
        for p in self.p {
            *p *= share;
        }
        top + math::ln(sum)
    }
}

/// Place of the largest element, the first of equals.
fn argmax(values: &[f64]) -> usize {
    let mut best = 0;
    for (i, v) in values.iter().enumerate() {
        if *v > values[best] {
            best = i;
        }
    }
    best
}

impl Metric {
    /// The metric of one position: probabilities (or outputs) `p`, wanted values `t`.
    fn value(&self, p: &[f64], t: &[f64]) -> f64 {
        let mean = |f: fn(f64) -> f64| p.iter().zip(t).map(|(p, t)| f(p - t)).sum::<f64>() / p.len() as f64;
        match self {
            Self::SparseCategoricalAccuracy {} | Self::CategoricalAccuracy {} => {
                f64::from(u8::from(argmax(p) == argmax(t)))
            }
            Self::BinaryAccuracy { threshold } => {
                let hits = p.iter().zip(t).filter(|(p, t)| f64::from(u8::from(**p > *threshold)) == **t);
                hits.count() as f64 / p.len() as f64
            }
            Self::MeanSquaredError {} => mean(|d| d * d),
            Self::MeanAbsoluteError {} => mean(f64::abs),
        }
    }
}
