//! One batch: checked, planned, run, and what is said if a step is refused.

use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::layers::Random;
use super::lowering::{BACKWARD, FORWARD, INFERENCE};
use super::optim::{Rates, Update};
use super::plan::{self, Purpose, Work};
use super::regularizers::Penalty;
use super::run::{self, AllFinite, Batch, Goal, Scoring, State, StepProgram};
use super::source::Source;
use super::spec::{Metric, Objective, Regularizer, Size};
use super::structure::Weight;
use super::{Data, Network, OutputScores, Plans, Scores, Target, View, loss, shape_text};
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::memory;
use crate::parallel::{self, Interrupt, Shared};

impl<T: Element> Network<T> {
    /// Checks `x` against the model's inputs; returns the number of samples.
    pub(super) fn check_inputs(&self, x: &[Source<'_>]) -> Result<usize> {
        let inputs = self.inputs();
        if x.len() != inputs.len() {
            return Err(Error::shape("x", format!("{} inputs", inputs.len()), x.len()));
        }
        for (x, info) in x.iter().zip(inputs) {
            let (sizes, input) = (x.shape.get(1..).unwrap_or(&[]), &info.input);
            let fits = sizes.len() == input.len()
                && sizes.iter().zip(input).all(|(n, want)| want.is_none_or(|want| want == *n));
            if !fits || sizes.contains(&0) {
                let got: Vec<Size> = sizes.iter().map(|&n| Some(n)).collect();
                return Err(Error::shape("x", shape_text(input), shape_text(&got)));
            }
        }
        let rows = x[0].rows();
        match x.iter().zip(inputs).find(|(x, _)| x.rows() != rows) {
            Some((other, info)) => {
                let expected = format!("{rows} samples, as {} has", inputs[0].name);
                Err(Error::shape(format!("x: {}", info.name), expected, other.rows()))
            }
            None => Ok(rows),
        }
    }

    /// Checks lengths and row numbers; returns the batch size.
    pub(super) fn check_rows(&self, data: &Data<'_>) -> Result<usize> {
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
        let scores = self.scored_step(data, Aim::Train { learning_rate, seed }, interrupt)?;
        self.iterations += 1;
        self.version += 1;
        Ok(scores)
    }

    /// Loss and metrics in inference mode.
    ///
    /// # Errors
    /// Data that do not fit, an interrupt.
    pub fn evaluate_step(&mut self, data: &Data<'_>, interrupt: Interrupt<'_>) -> Result<Scores> {
        self.scored_step(data, Aim::Evaluate, interrupt)
    }

    pub(super) fn scored_step(
        &mut self,
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
        let (plan, step_plan) = self.plan(data.x, batch, purpose, view)?;
        let plan = self.give_back(plan, step_plan);
        let training = match aim {
            Aim::Train { seed, .. } => Some(Random { seed, step: self.iterations }),
            Aim::Evaluate | Aim::Inspect => None,
        };
        let moved = self.moved(plan, data, training)?;
        let targets: Vec<Target<'_>> = moved
            .iter()
            .zip(data.targets)
            .map(|(moved, given)| moved.as_ref().map_or_else(|| given.clone(), |moved| moved.target(given)))
            .collect();
        let data = &match targets.is_empty() {
            true => data.clone(),
            false => Data { targets: &targets, ..*data },
        };
        let mut scorings = std::mem::take(&mut self.memory.scorings);
        scorings.clear();
        let scored = self.score((plan, step_plan), data, aim, &mut scorings, interrupt);
        self.memory.scorings = scorings;
        scored
    }

    /// Finds out what is scored at every output, runs the step and adds up the scores.
    fn score(
        &mut self,
        (plan, step_plan): (usize, usize),
        data: &Data<'_>,
        aim: Aim,
        scorings: &mut Vec<Scoring>,
        interrupt: Interrupt<'_>,
    ) -> Result<Scores> {
        let batch = self.plans[plan].step_plans[step_plan].batch;
        self.scorings(plan, data, batch, scorings)?;
        let (rates, training) = match aim {
            Aim::Train { learning_rate, seed } => (
                Some(Rates { learning_rate, iterations: self.iterations }),
                Some(Random { seed, step: self.iterations }),
            ),
            Aim::Evaluate | Aim::Inspect => (None, None),
        };
        self.run_custom_objectives((plan, step_plan), data, training, scorings, interrupt)?;
        let batch_data = Batch { x: data.x, targets: data.targets, indices: data.indices, first: 0 };
        let penalty = self.penalty(interrupt)?;
        let extent = Extent::Scores { rates, scorings, custom: data.custom.is_some() };
        self.execute((plan, step_plan), batch_data, extent, training, interrupt)?;

        let activities = self.plans[plan].step_plans[step_plan].activities * batch;
        let charges: f64 = self.memory.activity.get_mut()[..activities].iter().sum();
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
            let scores = &self.memory.scores.get_mut()[start..start + per_sample * batch];
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
    fn scorings(
        &mut self,
        plan: usize,
        data: &Data<'_>,
        batch: usize,
        scorings: &mut Vec<Scoring>,
    ) -> Result<()> {
        let Some(compiled) = &self.compiled else {
            return Err(Error::value("model", "a compiled loss", "none; call compile() first"));
        };
        let shapes = &self.plans[plan].lowered.output_shapes;
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
        if self.memory.scores.len() < start {
            self.memory.scores = Shared::zeroed(start)?;
        }
        Ok(())
    }

    /// What the trainable weights add to the loss; found anew only when weights have changed.
    pub(super) fn penalty(&mut self, interrupt: Interrupt<'_>) -> Result<f64> {
        if self.penalty.0 != self.version {
            let (params, tier) = (self.params.get_mut(), self.kernels.tier);
            let mut sum = 0.0;
            for (number, weight) in self.weights.iter().enumerate().filter(|(_, weight)| weight.trainable) {
                let weights = &params[weight.range.clone()];
                sum += match weight.regularizer {
                    None => continue,
                    Some(Regularizer::Elements(factors)) => tier.vectorize(Penalty { factors, weights }),
                    Some(Regularizer::Orthogonal(orthogonal)) => {
                        let angles = self.angles.entry(number).or_default();
                        angles.find(orthogonal, (weights, &weight.shape), tier, interrupt)?
                    }
                };
            }
            self.penalty = (self.version, sum);
        }
        Ok(self.penalty.1)
    }

    /// All outputs of all rows of `x`, in batches of `batch_size`, and their shapes.
    ///
    /// # Errors
    /// Data that do not fit, an interrupt.
    pub fn predict(
        &mut self,
        x: &[Source<'_>],
        batch_size: usize,
        training: Option<u64>,
        interrupt: Interrupt<'_>,
    ) -> Result<Vec<(Vec<T>, Vec<usize>)>> {
        let rows = self.check_inputs(x)?;
        let purpose = if training.is_some() { Purpose::Train } else { Purpose::Infer };
        let training = training.map(|seed| Random { seed, step: self.iterations });
        let (plan, step_plan) = self.plan(x, batch_size.clamp(1, rows.max(1)), purpose, View::Step)?;
        let plan = self.give_back(plan, step_plan);
        let mut results = Vec::new();
        for shape in &self.plans[plan].lowered.output_shapes {
            let shape: Vec<usize> = std::iter::once(rows).chain(shape.iter().copied()).collect();
            let len = shape.iter().fold(1usize, |len, &size| len.saturating_mul(size));
            results.push((memory::filled(T::ZERO, len)?, shape));
        }
        for first in (0..rows).step_by(batch_size.max(1)) {
            let batch = batch_size.min(rows - first);
            let (plan, step_plan) = self.plan(x, batch, purpose, View::Step)?;
            let data = Batch { x, targets: &[], indices: None, first };
            self.execute((plan, step_plan), data, Extent::Outputs, training, interrupt)?;
            let ready = &self.plans[plan].step_plans[step_plan];
            for (&output, (result, shape)) in ready.outputs.iter().zip(&mut results) {
                if let plan::Slot::Batch(start) = ready.values[output] {
                    let len: usize = shape[1..].iter().product();
                    let values = &self.memory.arena.get_mut()[start..start + batch * len];
                    result[first * len..(first + batch) * len].copy_from_slice(values);
                }
            }
            if first + batch < rows && interrupt() {
                return Err(Error::Interrupted);
            }
        }
        Ok(results)
    }

    /// Runs a plan on a batch.
    pub(super) fn execute(
        &mut self,
        (plan, step_plan): (usize, usize),
        batch: Batch<'_, '_>,
        extent: Extent<'_>,
        training: Option<Random>,
        interrupt: Interrupt<'_>,
    ) -> Result<()> {
        let tame = !matches!(extent, Extent::Scores { rates: Some(_), .. }) || self.tame();
        let Plans { lowered, step_plans, .. } = &self.plans[plan];
        let plan_of_batch = &step_plans[step_plan];
        let optimizer = self.compiled.as_ref().and_then(|c| c.spec.optimizer.as_ref());
        let update = match extent {
            Extent::Scores { rates: Some(rates), .. } => {
                optimizer.map(|optimizer| Update::new(optimizer, rates))
            }
            _ => None,
        };
        let passes: &[usize] = match plan_of_batch.purpose {
            Purpose::Infer => &[FORWARD, INFERENCE],
            Purpose::Train if update.is_some() => &[FORWARD, BACKWARD],
            Purpose::Train => &[FORWARD],
            Purpose::Inspect => &[FORWARD, BACKWARD],
        };
        let mut phases = std::mem::take(&mut self.memory.phases);
        phases.clear();
        let stale = passes.iter().filter(|pass| lowered.packed_version[**pass] != self.version);
        phases.push(stale.flat_map(|pass| lowered.pack_work(*pass)));
        if !matches!(extent, Extent::Scores { custom: true, .. }) {
            phases.extend(&plan_of_batch.forward);
        }
        let scorings = match extent {
            Extent::Outputs | Extent::Gradients => &[],
            Extent::Scores { scorings, .. } => scorings,
        };
        if !scorings.is_empty() {
            phases.push(plan_of_batch.loss.iter().copied());
        }
        let overlaps = || scorings.iter().enumerate().filter(|(_, scoring)| scoring.overlap.is_some());
        if overlaps().next().is_some() {
            phases.push(overlaps().map(|(output, _)| (Work::ReduceLoss { output }, 1)));
            phases.push(overlaps().map(|(output, _)| (Work::Slope { output }, plan_of_batch.loss[output].1)));
        }
        let inspects = plan_of_batch.purpose == Purpose::Inspect && !matches!(extent, Extent::Outputs);
        if update.is_some() || inspects {
            phases.extend(&plan_of_batch.backward);
        }
        if let Some(update) = &update {
            if update.prepares(&self.blocks) {
                phases.push([(Work::Prepare, self.blocks.len())]);
                phases.push([(Work::Clip, 1)]);
            }
            phases.push([(Work::Keep, 1)]);
            let weights = std::iter::once((Work::Update, self.blocks.len()));
            let (first, further) = plan_of_batch.commits.split_at(plan_of_batch.commits.len().min(1));
            phases.push(weights.chain(first.iter().flatten().copied()));
            phases.extend(further);
            phases.push([(Work::Constrain, run::constrained(&self.weights).count())]);
        }
        // Most of the work is in stacks and split ops: where they are one task each, a helper would only look on.
        let heavy = |(work, tasks): &(Work, usize)| match work {
            Work::Forward { .. }
            | Work::Backward { .. }
            | Work::SplitForward { .. }
            | Work::SplitBackward { .. }
            | Work::SplitGrad { .. } => Some(*tasks),
            _ => None,
        };
        let tasks = phases.all().iter().filter_map(heavy).max().unwrap_or(1);
        let shared = plan::shared(lowered, plan_of_batch.batch, update.is_some());
        let workers = if shared { parallel::threads().min(tasks) } else { 1 };
        self.memory.reserve(plan_of_batch, workers, self.blocks.len())?;
        if update.is_some() {
            let constraints = run::constrained(&self.weights);
            let vectors = constraints.filter_map(|w| Some(w.constraint.as_ref()?.vectors(&w.shape)));
            self.memory.reserve_norms(vectors.max().unwrap_or(0))?;
        }
        let training_step = update.is_some();
        let mut program = StepProgram {
            lowered,
            step_plan: plan_of_batch,
            memory: &self.memory,
            state: State {
                params: &self.params,
                grads: &self.grads,
                slots: self.compiled.as_ref().map_or(&[], |c| &c.slots),
                blocks: &self.blocks,
                frozen: &self.frozen,
                weights: &self.weights,
                angles: &self.angles,
            },
            batch,
            goal: Goal {
                compiled: self.compiled.as_ref().map(|c| &c.spec),
                update,
                risky: !tame
                    || update.is_some_and(|update| {
                        !update.moderate() || run::constrained(&self.weights).any(Weight::grows)
                    }),
                scorings,
                backward: training_step || inspects,
            },
            training,
            kernels: self.kernels,
            workers,
            part: 0..phases.len(),
            phases: &phases,
            bad_layer: AtomicUsize::new(usize::MAX),
            large_gradient: AtomicBool::new(false),
            large: AtomicBool::new(false),
            spoilt: AtomicUsize::new(usize::MAX),
        };
        let outcome = program.execute(workers, interrupt);
        let (bad, spoilt) = (program.bad_layer.into_inner(), program.spoilt.into_inner());
        let large = program.large.into_inner();
        self.memory.phases = phases;
        self.close_undo(outcome.is_err() || spoilt != usize::MAX);
        if training_step && (large || !tame) {
            self.tame = None;
        }
        outcome?;
        for pass in passes {
            self.plans[plan].lowered.packed_version[*pass] = self.version;
        }
        if training_step && bad != usize::MAX {
            return Err(self.blame(plan, step_plan, bad));
        }
        if spoilt != usize::MAX {
            return Err(Error::Overflow { layer: self.layers[spoilt].name.clone() });
        }
        Ok(())
    }

    /// Names the first layer whose output is not finite, else what the step found.
    pub(super) fn blame(&mut self, plan: usize, step_plan: usize, bad: usize) -> Error {
        let Plans { lowered, step_plans, .. } = &self.plans[plan];
        let step_plan = &step_plans[step_plan];
        let arena = self.memory.arena.get_mut();
        let name = |layer: usize| self.layers[layer].name.clone();
        for active in &step_plan.active {
            if let plan::Slot::Batch(start) = step_plan.values[active.output] {
                let values = &arena[start..start + lowered.lens[active.output] * step_plan.batch];
                if !self.kernels.tier.vectorize(AllFinite(values)) {
                    return Error::NonFinite {
                        what: "the output",
                        layer: name(lowered.ops[active.op].layer),
                    };
                }
            }
        }
        if bad == run::BAD_LOSS {
            return Error::NonFinite { what: "the loss", layer: "the model".to_string() };
        }
        let finalizes = |active: &plan::Active| {
            let planned = &lowered.ops[active.op];
            planned.layer == bad && planned.op.statistics().is_some()
        };
        let statistics = step_plan.active.iter().any(finalizes);
        let what = if statistics { "a statistic or gradient" } else { "the gradient" };
        Error::NonFinite { what, layer: name(bad) }
    }
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

/// How far a program goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Extent<'a> {
    /// To the outputs.
    Outputs,
    /// To the gradients, from one that is given.
    Gradients,
    /// To loss and metrics, and with rates to the update.
    Scores {
        rates: Option<Rates>,
        /// What is scored at every output.
        scorings: &'a [Scoring],
        /// Whether custom losses have seen the outputs: the forward pass is over.
        custom: bool,
    },
}
