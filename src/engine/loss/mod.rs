//! Losses and their gradients, sample by sample, in float64.
//!
//! [`pointwise`] has the losses of one position of the output, which is nearly all of them; [`overlap`] those that
//! divide sums over many. [`Scorer`] runs them over a sample, together with the metrics, which see the same numbers.

pub(super) mod overlap;
mod pointwise;

use std::ops::Range;

use serde::Deserialize;

use self::overlap::{Overlap, SUMS};
use super::metric::Metric;
use super::source::Source;
use crate::error::{Error, Result};
use crate::kernels::{Element, Job, Tier, math};
use crate::memory;

/// Probabilities are kept this far from 0 and 1 (Keras' epsilon).
const EPSILON: f64 = 1e-7;

/// How losses of single elements are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// Their mean over the batch.
    SumOverBatchSize,
    /// Their sum.
    Sum,
}

/// The losses.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "class_name", content = "config")]
#[expect(missing_docs, reason = "the names are Keras'")]
pub enum Loss {
    SparseCategoricalCrossentropy {
        from_logits: bool,
        ignore_class: Option<i64>,
    },
    CategoricalCrossentropy {
        from_logits: bool,
        label_smoothing: f64,
    },
    CategoricalFocalCrossentropy {
        alpha: f64,
        gamma: f64,
        from_logits: bool,
        label_smoothing: f64,
    },
    BinaryCrossentropy {
        from_logits: bool,
        label_smoothing: f64,
    },
    BinaryFocalCrossentropy {
        apply_class_balancing: bool,
        alpha: f64,
        gamma: f64,
        from_logits: bool,
        label_smoothing: f64,
    },
    MeanSquaredError {},
    MeanAbsoluteError {},
    MeanAbsolutePercentageError {},
    MeanSquaredLogarithmicError {},
    Huber {
        delta: f64,
    },
    LogCosh {},
    Hinge {},
    SquaredHinge {},
    CategoricalHinge {},
    KLDivergence {
        from_logits: bool,
    },
    Poisson {},
    CosineSimilarity {},
    Dice {
        from_logits: bool,
        axis: Option<Vec<isize>>,
    },
    Tversky {
        alpha: f64,
        beta: f64,
        from_logits: bool,
        axis: Option<Vec<isize>>,
    },
    /// One that the caller computes; see [`super::CustomObjective`].
    Custom {
        /// Whether its targets are class labels.
        sparse: bool,
    },
}

/// What a model returns, as its loss sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    /// The values that are compared with the targets.
    Values,
    /// Logits of a softmax over the last axis.
    Softmax,
    /// Logits of a sigmoid each.
    Sigmoid,
}

impl Output {
    /// Turns the gradient to the probabilities `p` into that to the outputs.
    fn through(self, p: &[f64], g: &mut [f64]) {
        match self {
            Self::Values => {}
            Self::Sigmoid => g.iter_mut().zip(p).for_each(|(g, p)| *g *= p * (1.0 - p)),
            Self::Softmax => {
                // dz = p (dp - sum of p dp)
                let dot: f64 = p.iter().zip(&*g).map(|(p, g)| p * g).sum();
                g.iter_mut().zip(p).for_each(|(g, p)| *g = p * (*g - dot));
            }
        }
    }
}

impl Loss {
    /// Whether values and gradients come from the caller.
    pub(super) fn custom(&self) -> bool {
        matches!(self, Self::Custom { .. })
    }

    /// Whether labels are class numbers.
    pub(super) fn sparse(&self) -> bool {
        matches!(self, Self::SparseCategoricalCrossentropy { .. } | Self::Custom { sparse: true })
    }

    /// What the outputs of `channels` channels are.
    fn output(&self, channels: usize) -> Output {
        match self {
            Self::SparseCategoricalCrossentropy { from_logits: true, .. }
            | Self::CategoricalCrossentropy { from_logits: true, .. }
            | Self::CategoricalFocalCrossentropy { from_logits: true, .. } => Output::Softmax,
            Self::BinaryCrossentropy { from_logits: true, .. }
            | Self::BinaryFocalCrossentropy { from_logits: true, .. } => Output::Sigmoid,
            Self::Dice { from_logits: true, .. }
            | Self::Tversky { from_logits: true, .. }
            | Self::KLDivergence { from_logits: true } => match channels {
                1 => Output::Sigmoid,
                _ => Output::Softmax,
            },
            _ => Output::Values,
        }
    }

    /// Share of every target that is spread over the classes of its position.
    pub(super) fn smoothing(&self) -> f64 {
        match self {
            Self::CategoricalCrossentropy { label_smoothing, .. }
            | Self::CategoricalFocalCrossentropy { label_smoothing, .. } => *label_smoothing,
            _ => 0.0,
        }
    }

    /// Whether labels of 0 and 1 stand for -1 and 1.
    pub(super) fn wants_signs(&self) -> bool {
        matches!(self, Self::Hinge {} | Self::SquaredHinge {})
    }

    /// The label of positions that do not count.
    pub(super) fn ignored(&self) -> Option<i64> {
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

/// What one sample adds to loss and metrics.
pub(super) struct Scorer<'a> {
    pub loss: &'a Loss,
    pub metrics: &'a [Metric],
    /// Classes or channels: size of the output's last axis.
    pub channels: usize,
    /// Whether the loss or a metric is to see labels of 0 and 1 as -1 and 1.
    pub signs: bool,
    /// The number of metrics, the last ones, that weights of positions count for.
    pub weighted: usize,
    /// Weights of positions by their class, in the order of the classes.
    pub class_weight: &'a [(i64, f64)],
    pub overlap: Option<&'a Overlap>,
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
    /// Weights of its positions.
    pub weights: Option<&'a [f64]>,
}

/// Room for the numbers of one position.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Outputs as they are; before the loss looks at them, room for a metric.
    pub z: Vec<f64>,
    /// Outputs as values or probabilities.
    pub p: Vec<f64>,
    /// Targets.
    pub t: Vec<f64>,
    /// Gradient; before the loss, room for a metric.
    pub g: Vec<f64>,
}

impl Rows {
    fn resize(&mut self, channels: usize) {
        for row in [&mut self.z, &mut self.p, &mut self.t, &mut self.g] {
            memory::demand(memory::resize(row, channels, 0.0));
        }
    }
}

/// Numbers that a sample adds, in this order: its loss, what the metrics count, sums of an overlap.
pub(super) fn scores_len(metrics: &[Metric], channels: usize, overlap: Option<&Overlap>) -> usize {
    let counted: usize = metrics.iter().map(|metric| metric.width(channels)).sum();
    1 + counted + overlap.map_or(0, |overlap| overlap.groups * SUMS)
}

impl Scorer<'_> {
    /// Where the last `count` metrics are among the numbers of a sample.
    pub(super) fn weighted(&self, count: usize) -> Range<usize> {
        let width =
            |metrics: &[Metric]| metrics.iter().map(|metric| metric.width(self.channels)).sum::<usize>();
        let (first, all) = (self.metrics.len().saturating_sub(count), 1 + width(self.metrics));
        1 + width(&self.metrics[..first])..all
    }

    /// Writes what a sample adds to `scores`, and its gradient to `dy` if asked. Overlaps have theirs in
    /// [`Scorer::slope`], once all sums are known.
    pub(super) fn score<T: Element>(
        &self,
        sample: &Sample<'_, '_, T>,
        mut dy: Option<&mut [T]>,
        scores: &mut [f64],
        rows: &mut Rows,
    ) -> Result<()> {
        let c = self.channels;
        scores.fill(0.0);
        rows.resize(c);
        let (total, counted) = scores.split_at_mut(1);
        for (position, z) in sample.output.chunks_exact(c).enumerate() {
            let dy = dy.as_mut().map(|dy| &mut dy[position * c..][..c]);
            if !self.targets(sample, position, rows)? {
                if let Some(dy) = dy {
                    dy.fill(T::ZERO);
                }
                continue;
            }
            // The logarithm of the sum of exponentials, for a softmax.
            let spread = self.outputs(z, rows);
            let weight = self.weight(sample, position, rows);
            let mut start = 0;
            for (number, metric) in self.metrics.iter().enumerate() {
                let end = start + metric.width(c);
                let counts = if number + self.weighted < self.metrics.len() { 1.0 } else { weight };
                metric.add(rows, (self.signs, self.loss.wants_signs()), counts, &mut counted[start..end]);
                start = end;
            }
            if let Some(overlap) = self.overlap {
                overlap.gather(position * c, (&rows.p, &rows.t), weight, &mut counted[start..]);
                continue;
            }
            if self.loss.custom() {
                continue;
            }
            let smoothing = self.loss.smoothing();
            if smoothing != 0.0 {
                let share = smoothing / c as f64;
                rows.t.iter_mut().for_each(|t| *t = *t * (1.0 - smoothing) + share);
            }
            total[0] += weight * self.element(z, spread, sample.scale * weight, rows, dy);
        }
        Ok(())
    }

    /// The gradient of a sample of an overlap, whose sums are known by now.
    pub(super) fn slope<T: Element>(
        &self,
        sample: &Sample<'_, '_, T>,
        sums: &[f64],
        dy: &mut [T],
        rows: &mut Rows,
    ) -> Result<()> {
        let Some(overlap) = self.overlap else { return Ok(()) };
        rows.resize(self.channels);
        let positions = dy.chunks_exact_mut(self.channels).zip(sample.output.chunks_exact(self.channels));
        for (position, (dy, z)) in positions.enumerate() {
            self.targets(sample, position, rows)?;
            overlap.slope(position * self.channels, &rows.t, sums, &mut rows.g);
            self.outputs(z, rows);
            self.loss.output(self.channels).through(&rows.p, &mut rows.g);
            let scale = sample.scale * self.weight(sample, position, rows);
            dy.iter_mut().zip(&rows.g).for_each(|(dy, g)| *dy = T::from_f64(scale * g));
        }
        Ok(())
    }

    /// The weight of a position, whose targets have been read.
    fn weight<T>(&self, sample: &Sample<'_, '_, T>, position: usize, rows: &Rows) -> f64 {
        let own = sample.weights.map_or(1.0, |weights| weights[position]);
        if self.class_weight.is_empty() {
            return own;
        }
        // Of several targets the largest says which class it is.
        let class = if let [t] = rows.t[..] { t.round() as i64 } else { argmax(&rows.t) as i64 };
        let found = self.class_weight.binary_search_by_key(&class, |(class, _)| *class);
        own * found.map_or(1.0, |at| self.class_weight[at].1)
    }

    /// Reads the targets of a position; returns whether it counts.
    fn targets<T>(&self, sample: &Sample<'_, '_, T>, position: usize, rows: &mut Rows) -> Result<bool> {
        let c = self.channels;
        if !self.loss.sparse() {
            sample.y.gather_part(sample.row, position * c, &mut rows.t);
            return Ok(true);
        }
        let class = sample.y.class(sample.row, position, c, self.loss.ignored())?;
        if let Some(class) = class {
            rows.t.fill(0.0);
            rows.t[class] = 1.0;
        }
        Ok(class.is_some())
    }

    /// Outputs of a position as values or probabilities.
    fn outputs<T: Element>(&self, z: &[T], rows: &mut Rows) -> f64 {
        match self.loss.output(self.channels) {
            Output::Softmax => return self.tier.vectorize(Softmax { z, p: &mut rows.p }),
            Output::Sigmoid => rows.p.iter_mut().zip(z).for_each(|(p, z)| *p = math::sigmoid(z.to_f64())),
            Output::Values => rows.p.iter_mut().zip(z).for_each(|(p, z)| *p = z.to_f64()),
        }
        0.0
    }

    /// One loss element and its gradient.
    fn element<T: Element>(
        &self,
        z: &[T],
        spread: f64,
        scale: f64,
        rows: &mut Rows,
        dy: Option<&mut [T]>,
    ) -> f64 {
        let crossentropy = matches!(
            self.loss,
            Loss::CategoricalCrossentropy { .. } | Loss::SparseCategoricalCrossentropy { .. }
        );
        if crossentropy && self.loss.output(self.channels) == Output::Softmax {
            // sum of t (lse - z); gradient p sum(t) - t
            let Rows { p, t, .. } = rows;
            let mass: f64 = t.iter().sum();
            if let Some(dy) = dy {
                for ((dy, p), t) in dy.iter_mut().zip(&*p).zip(&*t) {
                    *dy = T::from_f64(scale * (p * mass - t));
                }
            }
            return z
                .iter()
                .zip(t)
                .filter(|(_, t)| **t != 0.0)
                .map(|(z, t)| *t * (spread - z.to_f64()))
                .sum();
        }
        if self.signs && self.loss.wants_signs() {
            rows.t.iter_mut().for_each(|t| *t = 2.0 * *t - 1.0);
        }
        rows.z.iter_mut().zip(z).for_each(|(wide, z)| *wide = z.to_f64());
        let value = self.loss.element(&rows.z, &rows.p, &rows.t, &mut rows.g);
        if let Some(dy) = dy {
            dy.iter_mut().zip(&rows.g).for_each(|(dy, g)| *dy = T::from_f64(scale * g));
        }
        value
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
pub(super) fn argmax(values: &[f64]) -> usize {
    let mut best = 0;
    for (i, v) in values.iter().enumerate() {
        if *v > values[best] {
            best = i;
        }
    }
    best
}
