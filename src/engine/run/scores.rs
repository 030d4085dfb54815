//! Losses and metrics of the samples of a step, and the gradients of its outputs.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::super::Target;
use super::super::loss::overlap::SUMS;
use super::super::loss::{Loss, Sample, Scorer};
use super::super::plan::Slot;
use super::super::source::Source;
use super::super::spec::{Objective, Reduction};
use super::{BAD_LOSS, Scoring, StepProgram};
use crate::error::Result;
use crate::kernels::Element;
use crate::parallel::lock;

/// Everything about an output that is scored.
struct Scored<'c, 'b> {
    objective: &'c Objective,
    loss: &'c Loss,
    scoring: &'c Scoring,
    y: &'c Source<'b>,
    target: &'c Target<'b>,
    /// Its tensor.
    tensor: usize,
    output: usize,
}

impl Scored<'_, '_> {
    /// Place of the scores of some samples.
    fn scores_of(&self, samples: &Range<usize>) -> Range<usize> {
        let Scoring { start, per_sample, .. } = *self.scoring;
        start + samples.start * per_sample..start + samples.end * per_sample
    }
}

impl<T: Element> StepProgram<'_, '_, T> {
    /// What is scored at an output; None if nothing is.
    fn scored(&self, output: usize) -> Option<Scored<'_, '_>> {
        let objective = self.goal.compiled?.outputs.get(output)?;
        let target = self.batch.targets.get(output)?;
        Some(Scored {
            objective,
            loss: objective.loss.as_ref()?,
            scoring: self.goal.scorings.get(output)?,
            y: target.y.as_ref()?,
            target,
            tensor: self.step_plan.outputs[output],
            output,
        })
    }

    fn scorer<'c>(&self, scored: &Scored<'c, '_>) -> Scorer<'c> {
        Scorer {
            loss: scored.loss,
            metrics: &scored.objective.metrics,
            channels: self.lowered.output_shapes[scored.output].last().copied().unwrap_or(1),
            signs: scored.scoring.signs,
            weighted: scored.objective.weighted_metrics,
            class_weight: scored.target.class_weight,
            overlap: scored.scoring.overlap.as_ref(),
            tier: self.kernels.tier,
        }
    }

    /// The row of a sample among the targets.
    fn target_row(&self, scored: &Scored<'_, '_>, sample: usize) -> usize {
        if scored.target.ordered { sample } else { self.batch.row(sample) }
    }

    /// The weights of a sample: one that is the same for all positions, or one for each.
    fn weights<'c>(&self, scored: &Scored<'c, '_>, sample: usize) -> &'c [f64] {
        let Some(weights) = scored.target.sample_weight else { return &[] };
        let len = weights.len() / scored.y.rows().max(1);
        &weights[self.target_row(scored, sample) * len..][..len]
    }

    /// The weight that all positions of a sample have.
    fn sample_weight(&self, scored: &Scored<'_, '_>, sample: usize) -> f64 {
        match self.weights(scored, sample) {
            [weight] => *weight,
            _ => 1.0,
        }
    }

    /// The weights of the positions of a sample, where they have their own.
    fn position_weights<'c>(&self, scored: &Scored<'c, '_>, sample: usize) -> Option<&'c [f64]> {
        Some(self.weights(scored, sample)).filter(|weights| weights.len() > 1)
    }

    /// The weight of the whole batch, for a loss that is one number of it.
    fn mean_weight(&self, scored: &Scored<'_, '_>) -> f64 {
        let batch = self.step_plan.batch;
        (0..batch).map(|sample| self.sample_weight(scored, sample)).sum::<f64>() / batch as f64
    }

    /// What a gradient is multiplied by, for a sample of this weight.
    fn gradient_scale(&self, scored: &Scored<'_, '_>, weight: f64) -> f64 {
        scored.objective.weight
            * match scored.objective.reduction {
                Reduction::SumOverBatchSize => weight / scored.scoring.count.max(1.0),
                Reduction::Sum => weight,
            }
    }

    /// Losses and metrics of some samples, and the gradient of the output if it is wanted.
    pub(super) fn score(&self, output: usize, samples: Range<usize>, worker: usize) -> Result<()> {
        if samples.is_empty() {
            return Ok(());
        }
        let Some(scored) = self.scored(output) else {
            if self.wants_output_grad(output) && self.goal.backward {
                self.write_grad(self.step_plan.outputs[output], &samples, worker).fill(T::ZERO);
            }
            return Ok(());
        };
        let Scored { scoring, tensor, .. } = scored;
        let scorer = self.scorer(&scored);
        let wanted = self.wants_output_grad(output) && scoring.overlap.is_none() && scoring.losses.is_none();
        let mut own = lock(&self.memory.workers[worker]);
        let len = self.lowered.lens[tensor];
        let outputs = self.read_value(tensor, &samples, worker);
        let mut all_scores = self.memory.scores.write(scored.scores_of(&samples));
        let mut dys = wanted.then(|| self.write_grad(tensor, &samples, worker));
        let rows = outputs.chunks_exact(len.max(1)).zip(all_scores.chunks_exact_mut(scoring.per_sample));
        let weighted = scorer.weighted(scored.objective.weighted_metrics);
        for (i, (sample, (output, scores))) in samples.zip(rows).enumerate() {
            let weight = self.sample_weight(&scored, sample);
            let scale = self.gradient_scale(&scored, weight);
            let dy = dys.as_deref_mut().map(|dys| &mut dys[i * len..(i + 1) * len]);
            let weights = self.position_weights(&scored, sample);
            let scored_sample =
                Sample { output, y: scored.y, row: self.target_row(&scored, sample), scale, weights };
            scorer.score(&scored_sample, dy, scores, &mut own.rows)?;
            scores[weighted.clone()].iter_mut().for_each(|counted| *counted *= weight);
            if let Some(overlap) = scoring.overlap.as_ref().filter(|overlap| !overlap.across) {
                scores[0] = overlap.value(&scores[scoring.per_sample - overlap.groups * SUMS..]);
            }
            scores[0] = scoring.losses.as_ref().map_or(scores[0] * weight, |losses| losses[sample]);
            self.check_loss(scores[0]);
        }
        Ok(())
    }

    pub(super) fn wants_output_grad(&self, output: usize) -> bool {
        self.step_plan.grads[self.step_plan.outputs[output]] != Slot::None
    }

    pub(super) fn check_loss(&self, loss: f64) {
        if !loss.is_finite() {
            self.bad_layer.fetch_min(BAD_LOSS, Ordering::Relaxed);
        }
    }

    /// Adds up the sums of a loss that is one number of the whole batch, sample by sample. They and the loss then stand
    /// with the first sample.
    pub(super) fn reduce_loss(&self, output: usize) {
        let Some(scored) = self.scored(output) else { return };
        let Some(overlap) = scored.scoring.overlap.as_ref().filter(|overlap| overlap.across) else { return };
        let mut scores = self.memory.scores.write(scored.scores_of(&(0..self.step_plan.batch)));
        let mut samples = scores.chunks_exact_mut(scored.scoring.per_sample);
        let Some(first) = samples.next() else { return };
        let start = first.len() - overlap.groups * SUMS;
        for sample in samples {
            first[start..].iter_mut().zip(&sample[start..]).for_each(|(sum, x)| *sum += x);
        }
        first[0] = self.mean_weight(&scored) * overlap.value(&first[start..]);
        self.check_loss(first[0]);
    }

    /// The gradients of some samples, for a loss that divides sums.
    pub(super) fn slope(&self, output: usize, samples: Range<usize>, worker: usize) -> Result<()> {
        let Some(scored) = self.scored(output) else { return Ok(()) };
        let Some(overlap) = &scored.scoring.overlap else { return Ok(()) };
        let scorer = self.scorer(&scored);
        let shared = overlap.across.then(|| self.mean_weight(&scored));
        let mut own = lock(&self.memory.workers[worker]);
        for sample in samples {
            let one = sample..sample + 1;
            let output = self.read_value(scored.tensor, &one, worker);
            let weight = shared.unwrap_or_else(|| self.sample_weight(&scored, sample));
            let scale = self.gradient_scale(&scored, weight);
            let end = scored.scores_of(&(0..if overlap.across { 1 } else { sample + 1 })).end;
            let sums = self.memory.scores.read(end - overlap.groups * SUMS..end);
            let mut dy = self.write_grad(scored.tensor, &one, worker);
            let weights = self.position_weights(&scored, sample);
            let row = self.target_row(&scored, sample);
            let scored_sample = Sample { output: &output, y: scored.y, row, scale, weights };
            scorer.slope(&scored_sample, &sums, &mut dy, &mut own.rows)?;
        }
        Ok(())
    }
}
