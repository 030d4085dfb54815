//! Losses and metrics of the samples of a step, and the gradient of its output.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::super::loss::overlap::SUMS;
use super::super::loss::{Sample, Scorer};
use super::super::plan::Slot;
use super::super::spec::{CompileSpec, Reduction};
use super::{BAD_LOSS, StepProgram};
use crate::error::Result;
use crate::kernels::Element;
use crate::parallel::lock;

impl<T: Element> StepProgram<'_, '_, T> {
    fn scorer<'c>(&self, compiled: &'c CompileSpec) -> Scorer<'c>
    where
        Self: 'c,
    {
        Scorer {
            loss: &compiled.loss,
            metrics: &compiled.metrics,
            channels: self.lowered.output_shape.last().copied().unwrap_or(1),
            signs: self.batch.signs,
            overlap: self.goal.overlap,
            tier: self.kernels.tier,
        }
    }

    fn sample_weight(&self, sample: usize) -> f64 {
        self.batch.sample_weight.map_or(1.0, |weights| weights[self.batch.row(sample)])
    }

    /// The weight of the whole batch, for a loss that is one number of it.
    fn mean_weight(&self) -> f64 {
        let batch = self.step_plan.batch;
        (0..batch).map(|sample| self.sample_weight(sample)).sum::<f64>() / batch as f64
    }

    /// What a gradient is multiplied by, for a sample of this weight.
    fn gradient_scale(&self, compiled: &CompileSpec, weight: f64) -> f64 {
        match compiled.reduction {
            Reduction::SumOverBatchSize => weight / self.batch.count.max(1.0),
            Reduction::Sum => weight,
        }
    }

    fn scores_of(&self, samples: &Range<usize>) -> Range<usize> {
        samples.start * self.goal.scores..samples.end * self.goal.scores
    }

    /// Losses and metrics of some samples, and the gradient of the output if it is wanted.
    pub(super) fn score(&self, samples: Range<usize>, worker: usize) -> Result<()> {
        let (Some(compiled), Some(y)) = (self.goal.compiled, self.batch.y) else { return Ok(()) };
        let last = self.step_plan.output;
        let scorer = self.scorer(compiled);
        let wanted = self.wants_output_grad() && self.goal.overlap.is_none() && self.goal.losses.is_none();
        let mut own = lock(&self.memory.workers[worker]);
        let len = self.lowered.lens[last];
        let outputs = self.read_value(last, &samples, worker);
        let mut all_scores = self.memory.scores.write(self.scores_of(&samples));
        let mut dys = wanted.then(|| self.write_grad(last, &samples, worker));
        let items = outputs.chunks_exact(len.max(1)).zip(all_scores.chunks_exact_mut(self.goal.scores));
        for (i, (sample, (output, scores))) in samples.zip(items).enumerate() {
            let weight = self.sample_weight(sample);
            let scale = self.gradient_scale(compiled, weight);
            let dy = dys.as_deref_mut().map(|dys| &mut dys[i * len..(i + 1) * len]);
            let item = Sample { output, y, row: self.batch.row(sample), scale };
            scorer.score(&item, dy, scores, &mut own.rows)?;
            if let Some(overlap) = self.goal.overlap.filter(|overlap| !overlap.across) {
                scores[0] = overlap.value(&scores[self.goal.scores - overlap.groups * SUMS..]);
            }
            scores[0] = self.goal.losses.map_or(scores[0] * weight, |losses| losses[sample]);
            self.check_loss(scores[0]);
        }
        Ok(())
    }

    pub(super) fn wants_output_grad(&self) -> bool {
        self.step_plan.grads[self.step_plan.output] != Slot::None
    }

    fn check_loss(&self, loss: f64) {
        if !loss.is_finite() {
            self.bad_layer.fetch_min(BAD_LOSS, Ordering::Relaxed);
        }
    }

    /// Adds up the sums of a loss that is one number of the whole batch, sample by sample. They and the loss then stand
    /// with the first sample.
    pub(super) fn reduce_loss(&self) {
        let Some(overlap) = self.goal.overlap.filter(|overlap| overlap.across) else { return };
        let mut scores = self.memory.scores.write(0..self.step_plan.batch * self.goal.scores);
        let mut samples = scores.chunks_exact_mut(self.goal.scores);
        let Some(first) = samples.next() else { return };
        let start = first.len() - overlap.groups * SUMS;
        for sample in samples {
            first[start..].iter_mut().zip(&sample[start..]).for_each(|(sum, x)| *sum += x);
        }
        first[0] = self.mean_weight() * overlap.value(&first[start..]);
        self.check_loss(first[0]);
    }

    /// The gradients of some samples, for a loss that divides sums.
    pub(super) fn slope(&self, samples: Range<usize>, worker: usize) -> Result<()> {
        let (Some(compiled), Some(y)) = (self.goal.compiled, self.batch.y) else { return Ok(()) };
        let Some(overlap) = self.goal.overlap else { return Ok(()) };
        let last = self.step_plan.output;
        let scorer = self.scorer(compiled);
        let shared = overlap.across.then(|| self.mean_weight());
        let mut own = lock(&self.memory.workers[worker]);
        for sample in samples {
            let one = sample..sample + 1;
            let output = self.read_value(last, &one, worker);
            let weight = shared.unwrap_or_else(|| self.sample_weight(sample));
            let scale = self.gradient_scale(compiled, weight);
            let end = self.scores_of(&(0..if overlap.across { 1 } else { sample + 1 })).end;
            let sums = self.memory.scores.read(end - overlap.groups * SUMS..end);
            let mut dy = self.write_grad(last, &one, worker);
            let item = Sample { output: &output, y, row: self.batch.row(sample), scale };
            scorer.slope(&item, &sums, &mut dy, &mut own.rows)?;
        }
        Ok(())
    }
}
