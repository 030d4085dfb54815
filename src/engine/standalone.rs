//! Losses, metrics, initializers, regularizers, constraints and optimizers on arrays, outside of a network: the same
//! arithmetic, on the thread that asks.

use std::ops::Range;

use super::init;
use super::loss::{Rows, Sample, Scorer};
use super::optim::{Block, Rates, Update};
use super::plan;
use super::regularizers::{Angles, Penalty};
use super::run::AllFinite;
use super::source::Source;
use super::spec::{Constraint, Initializer, Loss, Metric, Optimizer, Regularizer};
use crate::error::{Error, Result};
use crate::kernels::{Element, Tier};
use crate::memory;
use crate::parallel::Interrupt;
use crate::tuning::INTERRUPT_POSITIONS;

/// Values of a loss at every position of the outputs, in row-major order; of a loss of overlaps, one for each group
/// that it divides sums of. Positions that a loss ignores have 0.
///
/// # Errors
/// Outputs and targets do not fit each other, a label is none, an interrupt.
pub fn loss_values(
    loss: &Loss,
    y_true: &Source<'_>,
    y_pred: &Source<'_>,
    interrupt: Interrupt<'_>,
) -> Result<Vec<f64>> {
    let (batch, output) = (y_pred.rows(), y_pred.shape.get(1..).unwrap_or(&[]));
    let Some((&channels, positions)) = output.split_last() else {
        return Err(Error::shape(
            "y_pred",
            "a batch axis and at least one more",
            format!("{:?}", y_pred.shape),
        ));
    };
    loss.check(y_true, output)?;
    let overlap = loss.overlap(output)?;
    let scorer = Scorer {
        loss,
        metrics: &[],
        channels,
        signs: loss.wants_signs() && y_true.binary(0..batch),
        weighted: 0,
        class_weight: &[],
        overlap: overlap.as_ref(),
        tier: Tier::current()?,
    };
    let mut rows = Rows::default();
    if let Some(overlap) = &overlap {
        let sums_len = super::loss::scores_len(&[], channels, Some(overlap)) - 1;
        let mut sums = memory::filled(0.0, sums_len * if overlap.across { 1 } else { batch })?;
        let mut scores = memory::filled(0.0, 1 + sums_len)?;
        let mut outputs = memory::filled(0.0f64, y_pred.row_len())?;
        for row in 0..batch {
            y_pred.gather(row, &mut outputs);
            let sample = Sample { output: &outputs, y: y_true, row, scale: 1.0, weights: None };
            scorer.score(&sample, None, &mut scores, &mut rows)?;
            let first = if overlap.across { 0 } else { row * sums_len };
            sums[first..].iter_mut().zip(&scores[1..]).for_each(|(sum, x)| *sum += x);
        }
        return memory::collect(
            sums.chunks_exact(super::loss::overlap::SUMS).map(|sums| overlap.value(sums)),
        );
    }
    let inner: usize = positions.iter().product();
    let count = batch * inner;
    let mut values = memory::with_room(count)?;
    if count == 0 {
        return Ok(values);
    }
    // Every position is a sample of its own.
    let x = Source { values: y_pred.values, shape: vec![count, channels] };
    let y = Source { values: y_true.values, shape: vec![count, y_true.row_len() / inner] };
    let mut outputs = memory::filled(0.0f64, channels)?;
    for row in 0..count {
        if row % INTERRUPT_POSITIONS == INTERRUPT_POSITIONS - 1 && interrupt() {
            return Err(Error::Interrupted);
        }
        x.gather(row, &mut outputs);
        let mut score = [0.0];
        let sample = Sample { output: &outputs, y: &y, row, scale: 1.0, weights: None };
        scorer.score(&sample, None, &mut score, &mut rows)?;
        values.push(score[0]);
    }
    Ok(values)
}

/// What a metric compares, position by position.
#[derive(Debug)]
pub struct Compared<'a> {
    /// Targets `(positions, channels)`; or class labels, one for each position.
    pub y_true: Source<'a>,
    /// Outputs `(positions, channels)`.
    pub y_pred: Source<'a>,
    /// Whether targets are labels.
    pub labels: bool,
}

impl Compared<'_> {
    /// Hands what every position adds to a metric's counts to `take`.
    fn each(
        &self,
        metric: &Metric,
        interrupt: Interrupt<'_>,
        mut take: impl FnMut(usize, &mut [f64]),
    ) -> Result<()> {
        let Self { y_true, y_pred, labels } = self;
        let (count, channels) = (y_pred.rows(), y_pred.row_len());
        let wanted = if *labels { 1 } else { channels };
        if y_true.rows() != count || y_true.row_len() != wanted {
            let expected = format!("({count}, {wanted})");
            return Err(Error::shape("y_true", expected, format!("{:?}", y_true.shape)));
        }
        let signs = metric.wants_signs() && !labels && y_true.binary(0..count);
        let mut rows = Rows {
            z: memory::filled(0.0, channels)?,
            p: memory::filled(0.0, channels)?,
            t: memory::filled(0.0, channels)?,
            g: memory::filled(0.0, channels)?,
        };
        let mut sums = memory::filled(0.0, metric.width(channels))?;
        for row in 0..count {
            if row % INTERRUPT_POSITIONS == INTERRUPT_POSITIONS - 1 && interrupt() {
                return Err(Error::Interrupted);
            }
            y_pred.gather(row, &mut rows.p);
            if *labels {
                rows.t.fill(0.0);
                if let Some(class) = y_true.class(row, 0, channels, None)? {
                    rows.t[class] = 1.0;
                }
            } else {
                y_true.gather(row, &mut rows.t);
            }
            sums.fill(0.0);
            metric.add(&mut rows, (signs, false), 1.0, &mut sums);
            take(row, &mut sums);
        }
        Ok(())
    }

    /// What a metric counts over all positions, each times its weight.
    ///
    /// # Errors
    /// Outputs, targets and weights do not fit each other, a label is none, an interrupt.
    pub fn counts(
        &self,
        metric: &Metric,
        weights: Option<&[f64]>,
        interrupt: Interrupt<'_>,
    ) -> Result<Vec<f64>> {
        let count = self.y_pred.rows();
        if let Some(weights) = weights.filter(|weights| weights.len() != count) {
            return Err(Error::shape("sample_weight", format!("{count} numbers"), weights.len()));
        }
        let mut totals = memory::filled(0.0, metric.width(self.y_pred.row_len()))?;
        self.each(metric, interrupt, |row, sums| {
            let weight = weights.map_or(1.0, |weights| weights[row]);
            totals.iter_mut().zip(sums).for_each(|(total, x)| *total += weight * *x);
        })?;
        Ok(totals)
    }

    /// What a metric that is a mean has at every position.
    ///
    /// # Errors
    /// As [`Compared::counts`].
    pub fn values(&self, metric: &Metric, interrupt: Interrupt<'_>) -> Result<Vec<f64>> {
        let mut values = memory::with_room(self.y_pred.rows())?;
        self.each(metric, interrupt, |_, sums| values.push(sums[0]))?;
        Ok(values)
    }
}

/// What an initializer fills an array of a shape with.
///
/// # Errors
/// The shape is not one that it fills, there is no memory, an interrupt.
pub fn initial_values<T: Element>(
    initializer: &Initializer,
    shape: &[usize],
    seed: u64,
    interrupt: Interrupt<'_>,
) -> Result<Vec<T>> {
    init::check(initializer, shape)?;
    let mut values = memory::filled(T::ZERO, shape.iter().fold(1, |len: usize, &n| len.saturating_mul(n)))?;
    init::fill(initializer, shape, (seed, 0), &mut values, interrupt)?;
    Ok(values)
}

/// What a regularizer charges for an array.
///
/// # Errors
/// It does not take arrays of this shape, an interrupt.
pub fn penalty<T: Element>(
    regularizer: Regularizer,
    weights: &[T],
    shape: &[usize],
    interrupt: Interrupt<'_>,
) -> Result<f64> {
    regularizer.check(shape)?;
    let tier = Tier::current()?;
    match regularizer {
        Regularizer::Elements(factors) => Ok(tier.vectorize(Penalty { factors, weights })),
        Regularizer::Orthogonal(orthogonal) => {
            Angles::default().find(orthogonal, (weights, shape), tier, interrupt)
        }
    }
}

/// Holds an array to a constraint.
///
/// # Errors
/// An axis of the constraint is none of the array.
pub fn constrain<T: Element>(constraint: &Constraint, weights: &mut [T], shape: &[usize]) -> Result<()> {
    constraint.check(shape)?;
    constraint.apply(shape, weights, &mut Vec::new());
    Ok(())
}

/// An optimizer on some arrays, one after the other in a flat buffer.
pub struct OptimizerSteps<T: Element> {
    optimizer: Optimizer,
    blocks: Vec<Block>,
    /// None before the first step.
    slots: Option<Vec<Vec<T>>>,
    iterations: u64,
}

impl<T: Element> OptimizerSteps<T> {
    /// An optimizer for arrays of these numbers of elements.
    pub fn new(optimizer: Optimizer, lens: &[usize]) -> Self {
        let mut blocks = Vec::new();
        let mut start = 0;
        for (weight, len) in lens.iter().enumerate() {
            let all: Range<usize> = start..start + len;
            blocks.extend((0..plan::flat_blocks(&all)).map(|block| Block {
                range: plan::flat_block(&all, block),
                weight,
                layer: weight,
                regularizer: None,
            }));
            start += len;
        }
        Self { optimizer, blocks, slots: None, iterations: 0 }
    }

    /// Steps taken.
    pub fn iterations(&self) -> u64 {
        self.iterations
    }

    /// Moves the weights by one step. After an error everything but `weights` and `grads` is as it was.
    ///
    /// # Errors
    /// A gradient, or what the update makes, is not finite.
    pub fn step(&mut self, weights: &mut [T], grads: &mut [T], learning_rate: f64) -> Result<()> {
        let tier = Tier::current()?;
        let update = Update::new(&self.optimizer, Rates { learning_rate, iterations: self.iterations });
        let mut slots = match &self.slots {
            Some(slots) => slots.clone(),
            None => self.first_slots(weights)?,
        };
        let name = |block: &Block| format!("weight number {}", block.weight);
        let mut factors = memory::with_room(self.blocks.len())?;
        for block in &self.blocks {
            let grads = &mut grads[block.range.clone()];
            if !tier.vectorize(AllFinite(grads)) {
                return Err(Error::NonFinite { what: "the gradient", layer: name(block) });
            }
            let own = memory::collect(slots.iter().map(|slot| &slot[block.range.clone()]))?;
            factors.push(update.prepare(tier, grads, &own));
        }
        update.clip(&self.blocks, &mut factors);
        for (block, factor) in self.blocks.iter().zip(&factors) {
            let factor = if update.clips_by_norm() { *factor } else { 1.0 };
            let own = &mut weights[block.range.clone()];
            let mut views = memory::collect(slots.iter_mut().map(|slot| &mut slot[block.range.clone()]))?;
            update.apply(tier, (block.weight, factor), own, &grads[block.range.clone()], &mut views);
            if !(tier.vectorize(AllFinite(own)) && views.iter().all(|slot| tier.vectorize(AllFinite(slot)))) {
                return Err(Error::Overflow { layer: name(block) });
            }
        }
        self.slots = Some(slots);
        self.iterations += 1;
        Ok(())
    }

    fn first_slots(&self, weights: &[T]) -> Result<Vec<Vec<T>>> {
        let slots = self.optimizer.slots();
        let mut made = memory::with_room(slots.len())?;
        for (name, initial) in slots {
            made.push(match name {
                super::optim::AVERAGE => memory::collect(weights.iter().copied())?,
                _ => memory::filled(T::from_f64(initial), weights.len())?,
            });
        }
        Ok(made)
    }

    /// Replaces the weights by their average, if the optimizer keeps one and a step was taken.
    pub fn finalize(&self, weights: &mut [T]) {
        let names = self.optimizer.slots();
        let average = names.iter().position(|(name, _)| *name == super::optim::AVERAGE);
        if let Some((average, slots)) = average.zip(self.slots.as_ref()) {
            weights.copy_from_slice(&slots[average]);
        }
    }
}
