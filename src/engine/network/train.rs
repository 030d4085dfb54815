//! A step with scores: checked, planned, run, and its sums put together.

use super::super::layers::Random;
use super::super::loss;
use super::super::moving::Moved;
use super::super::optim::Rates;
use super::super::plan::Purpose;
use super::super::run::{Batch, Memory, Scoring};
use super::super::spec::{Metric, Objective};
use super::super::{Data, OutputScores, Scores, Target, View};
use super::{Extent, Network, PlanIndex};
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::memory;
use crate::parallel::{Interrupt, Shared};

impl<T: Element> Network<T> {
    /// Checks lengths and row numbers; returns the batch size.
    pub(in super::super) fn check_rows(&self, data: &Data<'_>) -> Result<usize> {
        let rows = self.check_inputs(data.x)?;
        for Target { y, sample_weight, .. } in data.targets {
            if let Some(y) = y.as_ref().filter(|y| y.rows() != rows) {
                return Err(Error::shape("y", format!("{rows} samples, as x has"), y.rows()));
            }
            if let Some(weights) = sample_weight.filter(|w| rows == 0 || w.len() % rows != 0 || w.is_empty())
            {
                let expected =
                    format!("{rows} numbers, one per sample of x, or one for each of their positions");
                return Err(Error::shape("sample_weight", expected, weights.len()));
            }
        }
        if let Some(indices) = data.indices {
            let beyond = indices.iter().find(|&&i| usize::try_from(i).map_or(true, |i| i >= rows));
            if let Some(beyond) = beyond {
                return Err(Error::value(
                    "indices",
                    format!("numbers from 0 to {}", rows.saturating_sub(1)),
                    beyond,
                ));
            }
        }
        match data.indices.map_or(rows, <[i64]>::len) {
            0 => Err(Error::shape("x", "at least 1 sample", 0)),
            batch => Ok(batch),
        }
    }

    /// One optimizer step. Nothing has changed if it fails.
    ///
    /// # Errors
    /// Data that do not fit, a loss or gradient that is not finite, an interrupt.
    pub fn train_step(
        &mut self,
        data: &Data<'_>,
        learning_rate: f64,
        seed: u64,
        interrupt: Interrupt<'_>,
    ) -> Result<Scores> {
        let optimizer = self.compiled.as_ref().map(|c| c.spec.optimizer.is_some());
        if optimizer != Some(true) {
            return Err(Error::value("model", "a compiled optimizer", "none; call compile() first"));
        }
        if !learning_rate.is_finite() {
            return Err(Error::value("learning rate", "a finite number", learning_rate));
        }
        let mut memory = self.memories.take();
        let scores = self.scored_step(&mut memory, data, Aim::Train { learning_rate, seed }, interrupt);
        self.memories.give(memory);
        let scores = scores?;
        self.iterations += 1;
        self.version += 1;
        Ok(scores)
    }

    /// Loss and metrics in inference mode.
    ///
    /// # Errors
    /// Data that do not fit, an interrupt.
    pub fn evaluate_step(&mut self, data: &Data<'_>, interrupt: Interrupt<'_>) -> Result<Scores> {
        let mut memory = self.memories.take();
        let scores = self.scored_step(&mut memory, data, Aim::Evaluate, interrupt);
        self.memories.give(memory);
        scores
    }

    pub(super) fn scored_step(
        &mut self,
        memory: &mut Memory<T>,
        data: &Data<'_>,
        aim: Aim,
        interrupt: Interrupt<'_>,
    ) -> Result<Scores> {
        let batch = self.check_rows(data)?;
        let (purpose, view) = match aim {
            Aim::Evaluate => (Purpose::Infer, View::Step),
            Aim::Train { .. } => (Purpose::Train, View::Step),
            Aim::Inspect => (Purpose::Inspect, View::Whole),
        };
        let at = self.plan(data.x, batch, purpose, view)?;
        let at = self.give_back(memory, at);
        let training = match aim {
            Aim::Train { seed, .. } => Some(Random { seed, step: self.iterations }),
            Aim::Evaluate | Aim::Inspect => None,
        };
        let moved = self.moved(at.0, data, training)?;
        let targets = followed(&moved, data);
        let data = &Data { targets: targets.as_deref().unwrap_or(data.targets), ..*data };
        let mut scorings = std::mem::take(&mut memory.scorings);
        scorings.clear();
        let scored = self.score(memory, at, data, aim, &mut scorings, interrupt);
        memory.scorings = scorings;
        scored
    }

    /// Finds out what is scored at every output, runs the step and adds up the scores.
    fn score(
        &mut self,
        memory: &mut Memory<T>,
        at: PlanIndex,
        data: &Data<'_>,
        aim: Aim,
        scorings: &mut Vec<Scoring>,
        interrupt: Interrupt<'_>,
    ) -> Result<Scores> {
        self.scorings(memory, at, data, scorings)?;
        let (rates, training) = match aim {
            Aim::Train { learning_rate, seed } => (
                Some(Rates { learning_rate, iterations: self.iterations }),
                Some(Random { seed, step: self.iterations }),
            ),
            Aim::Evaluate | Aim::Inspect => (None, None),
        };
        self.run_custom_objectives(memory, at, data, training, scorings, interrupt)?;
        let batch = Batch { x: data.x, targets: data.targets, indices: data.indices, first: 0 };
        let penalty = self.penalty(interrupt)?;
        let extent = Extent::Scores { rates, scorings, custom: data.custom.is_some() };
        self.execute(memory, at, batch, extent, training, interrupt)?;
        self.scores(memory, at, scorings, penalty)
    }

    /// Adds up what a step has left of its samples; `penalty` is what the weights add to the loss.
    pub(super) fn scores(
        &self,
        memory: &mut Memory<T>,
        (plan, step_plan): PlanIndex,
        scorings: &[Scoring],
        penalty: f64,
    ) -> Result<Scores> {
        let ready = &self.plans[plan].step_plans[step_plan];
        let batch = ready.batch;
        let charges: f64 = memory.activity.get_mut()[..ready.activities * batch].iter().sum();
        let penalty = penalty + charges / batch as f64;
        let objectives = self.compiled.iter().flat_map(|compiled| &compiled.spec.outputs);
        let mut outputs = memory::with_room(scorings.len())?;
        for ((scoring, objective), shape) in
            scorings.iter().zip(objectives).zip(&self.plans[plan].lowered.output_shapes)
        {
            let channels = shape.last().copied().unwrap_or(1);
            let metrics = objective.metrics.iter().map(|metric| vec![0.0; metric.width(channels)]).collect();
            let mut sums = OutputScores { loss: 0.0, count: scoring.count, metrics };
            let Scoring { start, per_sample, .. } = *scoring;
            let scores = &memory.scores.get_mut()[start..start + per_sample * batch];
            for sample in scores.chunks_exact(per_sample.max(1)) {
                sums.loss += sample[0];
                let counted = sums.metrics.iter_mut().flatten();
                counted.zip(&sample[1..]).for_each(|(sum, x)| *sum += x);
            }
            outputs.push(sums);
        }
        Ok(Scores { outputs, penalty })
    }

    /// Checks the targets, and finds what is scored at every output.
    pub(super) fn scorings(
        &self,
        memory: &mut Memory<T>,
        (plan, step_plan): PlanIndex,
        data: &Data<'_>,
        scorings: &mut Vec<Scoring>,
    ) -> Result<()> {
        let Some(compiled) = &self.compiled else {
            return Err(Error::value("model", "a compiled loss", "none; call compile() first"));
        };
        let shapes = &self.plans[plan].lowered.output_shapes;
        let batch = self.plans[plan].step_plans[step_plan].batch;
        for (what, got) in [("model", compiled.spec.outputs.len()), ("y", data.targets.len())] {
            if got != shapes.len() {
                return Err(Error::shape(
                    what,
                    format!("a loss and targets for {} outputs", shapes.len()),
                    got,
                ));
            }
        }
        let mut start = 0;
        for ((objective, output), target) in compiled.spec.outputs.iter().zip(shapes).zip(data.targets) {
            let Some((&channels, positions)) = output.split_last() else {
                return Err(Error::shape("model", "an output with at least one axis", "none"));
            };
            let Objective { loss: Some(loss), metrics, .. } = objective else {
                scorings.push(Scoring {
                    start,
                    per_sample: 0,
                    count: 0.0,
                    signs: false,
                    overlap: None,
                    losses: None,
                });
                continue;
            };
            let indices = data.indices.filter(|_| !target.ordered);
            let rows = || (0..batch).map(|i| indices.map_or(i, |indices| indices[i] as usize));
            let y = target.y.as_ref().ok_or_else(|| Error::value("y", "targets for every loss", "none"))?;
            loss.check(y, output)?;
            let places: usize = positions.iter().product();
            if let Some(weights) =
                target.sample_weight.filter(|w| ![1, places].contains(&(w.len() / y.rows())))
            {
                let expected = format!("1 number per sample, or {places}");
                return Err(Error::shape("sample_weight", expected, weights.len() / y.rows()));
            }
            let overlap = loss.overlap(output)?;
            let count = match &overlap {
                Some(overlap) => overlap.count(batch),
                None => loss.count(y, rows(), places, channels)?,
            };
            let wants_signs = loss.wants_signs() || metrics.iter().any(Metric::wants_signs);
            let signs = wants_signs && y.binary(rows());
            let per_sample = loss::scores_len(metrics, channels, overlap.as_ref());
            scorings.push(Scoring { start, per_sample, count, signs, overlap, losses: None });
            start += per_sample * batch;
        }
        if memory.scores.len() < start {
            memory.scores = Shared::zeroed(start)?;
        }
        Ok(())
    }
}

/// The targets of a step, some of which have followed layers that move samples; None if all are as given.
pub(super) fn followed<'a>(moved: &'a [Option<Moved>], data: &Data<'a>) -> Option<Vec<Target<'a>>> {
    let target = |(moved, given): (&'a Option<Moved>, &Target<'a>)| {
        moved.as_ref().map_or_else(|| given.clone(), |moved| moved.target(given))
    };
    (!moved.is_empty()).then(|| moved.iter().zip(data.targets).map(target).collect())
}

/// What a step with scores is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Aim {
    /// The scores alone.
    Evaluate,
    /// An update.
    Train { learning_rate: f64, seed: u64 },
    /// The gradients.
    Inspect,
}
