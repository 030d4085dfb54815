//! Whole training and inference steps of a sequential model.
//!
//! A [`Network`] is built from a description once. A step is one call: it gathers a batch, runs forward, loss and
//! backward, refuses the update if anything is not finite, and updates, on memory that was planned before.

pub mod init;
mod inspect;
pub mod layers;
mod limits;
mod loss;
mod metric;
mod optim;
mod outside;
mod places;
mod plan;
mod run;
pub mod source;
pub mod spec;
mod steps;
mod structure;

use std::borrow::Cow;
use std::sync::atomic::AtomicUsize;

pub use inspect::{Inspection, Seed};
use layers::Random;
use limits::Penalty;
use optim::{Block, Rates, Update};
pub use outside::{Judge, Verdict, Verdicts};
pub use plan::Purpose;
use plan::{Schedule, Work};
use run::{AllFinite, Batch, Goal, Memory, State, StepProgram};
use source::Source;
use spec::{CompileSpec, Metric, ModelSpec, Size};
use steps::{BACKWARD, FORWARD, Graph, INFERENCE, Steps};
use structure::{Node, Operation};
pub use structure::{Place, Structure, Weight};

use crate::conv::Algorithm;
use crate::error::{Error, Result};
use crate::kernels::{Element, Kernels, Tier};
use crate::parallel::{self, Interrupt, Shared};

/// Input shapes whose plans are kept, and batch sizes for each.
const PLANS: usize = 8;
/// A shape for messages, with the batch: `(batch, 28, None, 1)`.
pub(crate) fn shape_text(sizes: &[Size]) -> String {
    let sizes = sizes.iter().map(|size| size.map_or_else(|| "None".to_string(), |n| n.to_string()));
    format!("({})", std::iter::once("batch".to_string()).chain(sizes).collect::<Vec<_>>().join(", "))
}

/// Sums over a batch: loss and its count, and what the metrics count.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// Sum of the loss elements, weighted.
    pub loss: f64,
    /// Their number.
    pub count: f64,
    /// What every metric has counted.
    pub metrics: Vec<Vec<f64>>,
    /// What the weights add to the loss, before the step.
    pub penalty: f64,
}

/// The data of a step, borrowed from the caller.
#[derive(Debug, Clone)]
pub struct Data<'a> {
    /// Inputs.
    pub x: Source<'a>,
    /// Labels.
    pub y: Source<'a>,
    /// A weight per row of `x`.
    pub sample_weight: Option<&'a [f64]>,
    /// Rows of the batch; None for all.
    pub indices: Option<&'a [i64]>,
    /// Who looks at the outputs before the loss.
    pub judge: Option<Judge<'a>>,
}

/// Loss, metrics and optimizer, with the optimizer's state.
struct Compiled<T: Element> {
    spec: CompileSpec,
    slots: Vec<Shared<T>>,
}

impl<T: Element> Compiled<T> {
    /// Names of the slots.
    fn slot_names(&self) -> Vec<&'static str> {
        self.spec.optimizer.iter().flat_map(|o| o.slots()).map(|(name, _)| name).collect()
    }
}

/// Plans for one input shape.
struct Plans<T: Element> {
    shape: Vec<usize>,
    /// Edge that is looked at, if nothing is fused.
    inspected: Option<usize>,
    steps: Steps<T>,
    schedules: Vec<Schedule>,
}

/// A built model.
pub struct Network<T: Element> {
    nodes: Vec<Node<T>>,
    /// Edge that is the output.
    output: usize,
    output_shape: Vec<Size>,
    places: Vec<Place>,
    weights: Vec<Weight>,
    /// Of every layer, whether it is frozen.
    frozen: Vec<bool>,
    params: Shared<T>,
    grads: Shared<T>,
    /// Counts changes of the parameters, so that packed copies know when they are old.
    version: u64,
    /// Version of the parameters and what they add to the loss.
    penalty: (u64, f64),
    compiled: Option<Compiled<T>>,
    iterations: u64,
    blocks: Vec<Block>,
    plans: Vec<Plans<T>>,
    memory: Memory<T>,
    kernels: &'static Kernels<T>,
    /// What was set when the model was built.
    algorithm: Algorithm,
}

impl<T: Element> Network<T> {
    /// Builds a model and draws its initial weights.
    ///
    /// # Errors
    /// A layer does not fit its input; the message names it.
    pub fn new(spec: ModelSpec, seed: u64) -> Result<Self> {
        Self::on_tier(spec, seed, Tier::current()?)
    }

    /// The same on a chosen tier.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn on_tier(spec: ModelSpec, seed: u64, tier: Tier) -> Result<Self> {
        let structure = Structure::new(spec)?;
        let output_shape = structure.output_shape().to_vec();
        let Structure { nodes, output, places, weights, initializers, len, .. } = structure;
        let mut network = Self {
            nodes,
            output,
            output_shape,
            frozen: vec![false; places.len()],
            places,
            weights,
            params: Shared::zeroed(len)?,
            grads: Shared::zeroed(len)?,
            version: 1,
            penalty: (0, 0.0),
            compiled: None,
            iterations: 0,
            blocks: Vec::new(),
            plans: Vec::new(),
            memory: Memory::empty(),
            kernels: Kernels::of(tier),
            algorithm: Algorithm::current()?,
        };
        for (i, (weight, initializer)) in network.weights.iter().zip(&initializers).enumerate() {
            let out = &mut network.params.get_mut()[weight.range.clone()];
            init::fill(initializer, &weight.shape, seed, i, out);
        }
        network.cut_blocks();
        Ok(network)
    }

    /// The layers and containers of the description, by number; the input is number 0.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Sizes of the output, without the batch.
    pub fn output_shape(&self) -> &[Size] {
        &self.output_shape
    }

    /// Sizes of the input, without the batch.
    fn input(&self) -> &[Size] {
        &self.places[0].input
    }

    /// The weights, in Keras' order.
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// Multiply-adds of one sample in every layer of the description; None where sizes are unknown.
    pub fn macs(&self) -> Vec<Option<usize>> {
        let mut macs = vec![Some(0); self.places.len()];
        for Node { operation, layer, .. } in &self.nodes {
            let input: Option<Vec<usize>> = self.places[*layer].input.iter().copied().collect();
            if let Operation::Layer(own) = operation {
                macs[*layer] = input.map(|input| own.macs(&input));
            }
        }
        macs
    }

    /// Optimizer steps taken.
    pub fn iterations(&self) -> u64 {
        self.iterations
    }

    /// The elements of weight `index`.
    pub fn weight(&mut self, index: usize) -> &[T] {
        &self.params.get_mut()[self.weights[index].range.clone()]
    }

    /// The last gradient of weight `index`.
    pub fn gradient(&mut self, index: usize) -> &[T] {
        &self.grads.get_mut()[self.weights[index].range.clone()]
    }

    /// Replaces weight `index`; the caller has checked its length.
    ///
    /// # Errors
    /// The length is another.
    pub fn set_weight(&mut self, index: usize, values: &[T]) -> Result<()> {
        let weight = &self.weights[index];
        if weight.range.len() != values.len() {
            return Err(Error::shape(
                weight.name,
                format!("{:?}", weight.shape),
                format!("{} elements", values.len()),
            ));
        }
        self.params.get_mut()[weight.range.clone()].copy_from_slice(values);
        self.version += 1;
        Ok(())
    }

    /// Freezes or thaws a layer of the description.
    pub fn set_trainable(&mut self, layer: usize, trainable: bool) {
        for weight in self.weights.iter_mut().filter(|w| w.layer == layer) {
            weight.trainable = trainable && weight.learned;
        }
        if let Some(frozen) = self.frozen.get_mut(layer) {
            *frozen = !trainable;
        }
        self.penalty.0 = 0;
        self.cut_blocks();
    }

    /// Cuts the trainable weights into the optimizer's tasks.
    fn cut_blocks(&mut self) {
        let trainable = self.weights.iter().enumerate().filter(|(_, w)| w.trainable);
        self.blocks = trainable
            .flat_map(|(weight, w)| {
                (0..plan::flat_blocks(&w.range)).map(move |block| Block {
                    range: plan::flat_block(&w.range, block),
                    weight,
                    layer: w.layer,
                    regularizer: w.regularizer,
                })
            })
            .collect();
    }

    /// Sets optimizer, loss and metrics; the optimizer starts afresh.
    ///
    /// # Errors
    /// The loss does not fit the output.
    pub fn compile(&mut self, spec: CompileSpec) -> Result<()> {
        let mut slots = Vec::new();
        for (name, initial) in spec.optimizer.iter().flat_map(|o| o.slots()) {
            let mut slot = Shared::zeroed(self.params.len())?;
            match name {
                optim::AVERAGE => slot.get_mut().copy_from_slice(self.params.get_mut()),
                _ => slot.get_mut().fill(T::from_f64(initial)),
            }
            slots.push(slot);
        }
        self.compiled = Some(Compiled { spec, slots });
        self.iterations = 0;
        Ok(())
    }

    /// Replaces the trainable weights by their average, where the optimizer keeps one and a step was taken.
    pub fn finalize(&mut self) {
        let Some(compiled) = &mut self.compiled else { return };
        let names = compiled.slot_names();
        let average = names.iter().position(|name| *name == optim::AVERAGE);
        if let Some(average) = average.filter(|_| self.iterations > 0) {
            for Block { range, .. } in &self.blocks {
                let values = &compiled.slots[average].get_mut()[range.clone()];
                self.params.get_mut()[range.clone()].copy_from_slice(values);
            }
            self.version += 1;
        }
    }

    /// Names and elements of the optimizer's slots.
    pub fn optimizer_state(&mut self) -> Vec<(&'static str, &[T])> {
        let Some(compiled) = &mut self.compiled else { return Vec::new() };
        let names = compiled.slot_names();
        names.into_iter().zip(compiled.slots.iter_mut().map(|slot| &*slot.get_mut())).collect()
    }

    /// Restores the slots, all or none, and the number of steps taken.
    ///
    /// # Errors
    /// They are not those of the compiled optimizer.
    pub fn set_optimizer_state(&mut self, state: &[(String, Vec<T>)], iterations: u64) -> Result<()> {
        let own: Vec<(&str, usize)> =
            self.optimizer_state().iter().map(|(name, v)| (*name, v.len())).collect();
        let given: Vec<(&str, usize)> = state.iter().map(|(name, v)| (name.as_str(), v.len())).collect();
        let sorted = |mut list: Vec<(&str, usize)>| {
            list.sort_unstable();
            format!("{list:?}")
        };
        let (own, given) = (sorted(own), sorted(given));
        if own != given {
            return Err(Error::shape("optimizer state", format!("slots {own}"), given));
        }
        if let Some(compiled) = &mut self.compiled {
            for (name, slot) in compiled.slot_names().iter().zip(&mut compiled.slots) {
                for (_, values) in state.iter().filter(|(given, _)| given == name) {
                    slot.get_mut().copy_from_slice(values);
                }
            }
        }
        self.iterations = iterations;
        Ok(())
    }

    /// Bytes that a step on `batch` samples takes besides the data set: parameters, optimizer state, plan.
    ///
    /// # Errors
    /// A size of the input is unknown, or a layer does not fit it.
    pub fn memory(&mut self, batch: usize, training: bool) -> Result<usize> {
        let shape: Option<Vec<usize>> = self.input().iter().copied().collect();
        let shape = shape.ok_or_else(|| Error::value("Input", "known sizes", shape_text(self.input())))?;
        let purpose = if training { Purpose::Train } else { Purpose::Infer };
        let (plan, schedule) = self.plan(&shape, batch.max(1), purpose, None)?;
        let plans = &self.plans[plan];
        let schedule = &plans.schedules[schedule];
        let arena = schedule.arena_len(parallel::threads()) * size_of::<T>()
            + schedule.sums_len * size_of::<f64>()
            + schedule.notes_len;
        let slots = self.compiled.as_ref().map_or(0, |c| c.slots.len());
        let flat = self.params.len() * size_of::<T>() * if training { 2 + slots } else { 1 };
        Ok(arena + flat + plans.steps.bytes())
    }

    /// Finds or makes the plan for an input shape, batch and purpose: its place in `plans` and in its `schedules`.
    ///
    /// With `inspected`, that edge is the output, and nothing is fused.
    fn plan(
        &mut self,
        shape: &[usize],
        batch: usize,
        purpose: Purpose,
        inspected: Option<usize>,
    ) -> Result<(usize, usize)> {
        let at = match self.plans.iter().position(|p| p.shape == shape && p.inspected == inspected) {
            Some(at) => at,
            None => {
                let graph = Graph {
                    nodes: &self.nodes,
                    output: inspected.unwrap_or(self.output),
                    fused: inspected.is_none(),
                    places: &self.places,
                    weights: &self.weights,
                    kernels: self.kernels,
                    algorithm: self.algorithm,
                };
                let steps = Steps::new(&graph, shape)?;
                if self.plans.len() == PLANS {
                    self.plans.remove(0);
                }
                self.plans.push(Plans { shape: shape.to_vec(), inspected, steps, schedules: Vec::new() });
                self.plans.len() - 1
            }
        };
        let plans = &mut self.plans[at];
        let found = plans.schedules.iter().position(|s| s.batch == batch && s.purpose == purpose);
        let schedule = found.unwrap_or_else(|| {
            if plans.schedules.len() == PLANS {
                plans.schedules.remove(0);
            }
            plans.schedules.push(Schedule::new(&plans.steps, batch, purpose));
            plans.schedules.len() - 1
        });
        Ok((at, schedule))
    }

    /// Checks `x` against the model's input and returns the sizes of a sample.
    fn check_input(&self, x: &Source<'_>) -> Result<Vec<usize>> {
        let sizes = x.shape.get(1..).unwrap_or(&[]);
        let input = self.input();
        let fits = sizes.len() == input.len()
            && sizes.iter().zip(input).all(|(n, want)| want.is_none_or(|want| want == *n));
        if !fits || sizes.contains(&0) {
            let got: Vec<Size> = sizes.iter().map(|&n| Some(n)).collect();
            return Err(Error::shape("x", shape_text(input), shape_text(&got)));
        }
        Ok(sizes.to_vec())
    }

    /// Checks lengths and row numbers; returns the batch size.
    fn check_rows(data: &Data<'_>) -> Result<usize> {
        let rows = data.x.rows();
        if data.y.rows() != rows {
            return Err(Error::shape("y", format!("{rows} samples, as x has"), data.y.rows()));
        }
        if let Some(weights) = data.sample_weight.filter(|w| w.len() != rows) {
            return Err(Error::shape(
                "sample_weight",
                format!("{rows} numbers, one per sample of x"),
                weights.len(),
            ));
        }
        if let Some(indices) = data.indices {
            let outside = indices.iter().find(|&&i| usize::try_from(i).map_or(true, |i| i >= rows));
            if let Some(outside) = outside {
                return Err(Error::value(
                    "indices",
                    format!("numbers from 0 to {}", rows.saturating_sub(1)),
                    outside,
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

    fn scored_step(&mut self, data: &Data<'_>, aim: Aim, interrupt: Interrupt<'_>) -> Result<Scores> {
        let shape = self.check_input(&data.x)?;
        let batch = Self::check_rows(data)?;
        let (purpose, inspected) = match aim {
            Aim::Evaluate => (Purpose::Infer, None),
            Aim::Train { .. } => (Purpose::Train, None),
            Aim::Inspect => (Purpose::Inspect, Some(self.output)),
        };
        let (plan, schedule) = self.plan(&shape, batch, purpose, inspected)?;
        let Some(compiled) = &self.compiled else {
            return Err(Error::value("model", "a compiled loss", "none; call compile() first"));
        };
        let output = &self.plans[plan].steps.output_shape;
        let Some((channels, positions)) = output.split_last() else {
            return Err(Error::shape("model", "an output with at least one axis", "none"));
        };
        let CompileSpec { loss, metrics, .. } = &compiled.spec;
        loss.check(&data.y, output)?;
        let overlap = loss.overlap(output)?;
        let rows = || (0..batch).map(|i| data.indices.map_or(i, |indices| indices[i] as usize));
        let count = match &overlap {
            Some(overlap) => overlap.count(batch),
            None => loss.count(&data.y, rows(), positions.iter().product(), *channels)?,
        };
        let wants_signs = loss.wants_signs() || metrics.iter().any(Metric::wants_signs);
        let signs = wants_signs && data.y.binary(rows());
        let per_sample = loss::scores_len(metrics, *channels, overlap.as_ref());
        let widths: Vec<usize> = metrics.iter().map(|metric| metric.width(*channels)).collect();
        if self.memory.scores.len() < per_sample * batch {
            self.memory.scores = Shared::zeroed(per_sample * batch)?;
        }
        let (rates, training) = match aim {
            Aim::Train { learning_rate, seed } => (
                Some(Rates { learning_rate, iterations: self.iterations }),
                Some(Random { seed, step: self.iterations }),
            ),
            Aim::Evaluate | Aim::Inspect => (None, None),
        };
        let outside = loss.outside();
        let verdict = self.judged((plan, schedule), data, training, interrupt)?;
        if outside != verdict.is_some() {
            return Err(Error::value("loss", "one judge, the engine or its caller", "none or two"));
        }
        let count = verdict.as_ref().map_or(count, |verdict| verdict.count);
        let batch_data = Batch {
            x: &data.x,
            y: Some(&data.y),
            sample_weight: data.sample_weight,
            indices: data.indices,
            first: 0,
            count,
            signs,
        };
        let penalty = self.penalty();
        let losses = verdict.as_ref().map(|verdict| &verdict.losses[..]);
        let judged = data.judge.is_some();
        let extent = Extent::Scores { rates, overlap: overlap.as_ref(), per_sample, judged, losses };
        self.execute((plan, schedule), batch_data, extent, training, interrupt)?;

        let scores = &self.memory.scores.get_mut()[..per_sample * batch];
        let metrics = widths.iter().map(|&width| vec![0.0; width]).collect();
        let mut sums = Scores { loss: 0.0, count, metrics, penalty };
        for sample in scores.chunks_exact(per_sample) {
            sums.loss += sample[0];
            let counted = sums.metrics.iter_mut().flatten();
            counted.zip(&sample[1..]).for_each(|(sum, x)| *sum += x);
        }
        Ok(sums)
    }

    /// What the trainable weights add to the loss; found anew only when weights have changed.
    fn penalty(&mut self) -> f64 {
        if self.penalty.0 != self.version {
            let params = self.params.get_mut();
            let of = |w: &Weight| {
                let regularizer = w.regularizer.filter(|_| w.trainable)?;
                let weights = &params[w.range.clone()];
                Some(self.kernels.tier.vectorize(Penalty { regularizer, weights }))
            };
            self.penalty = (self.version, self.weights.iter().filter_map(of).sum());
        }
        self.penalty.1
    }

    /// Outputs of all rows of `x`, in batches of `batch_size`, and their shape.
    ///
    /// # Errors
    /// Data that do not fit, an interrupt.
    pub fn predict(
        &mut self,
        x: &Source<'_>,
        batch_size: usize,
        training: Option<u64>,
        interrupt: Interrupt<'_>,
    ) -> Result<(Vec<T>, Vec<usize>)> {
        let shape = self.check_input(x)?;
        let rows = x.rows();
        let purpose = if training.is_some() { Purpose::Train } else { Purpose::Infer };
        let training = training.map(|seed| Random { seed, step: self.iterations });
        let (plan, _) = self.plan(&shape, batch_size.clamp(1, rows.max(1)), purpose, None)?;
        let mut output = vec![rows];
        output.extend(&self.plans[plan].steps.output_shape);
        let len: usize = output[1..].iter().product();
        let mut result = zeros(rows.checked_mul(len))?;
        for first in (0..rows).step_by(batch_size.max(1)) {
            let batch = batch_size.min(rows - first);
            let (plan, schedule) = self.plan(&shape, batch, purpose, None)?;
            let data =
                Batch { x, y: None, sample_weight: None, indices: None, first, count: 0.0, signs: false };
            self.execute((plan, schedule), data, Extent::Outputs, training, interrupt)?;
            let ready = &self.plans[plan].schedules[schedule];
            if let plan::Place::Batch(start) = ready.values[ready.output] {
                let values = &self.memory.arena.get_mut()[start..start + batch * len];
                result[first * len..(first + batch) * len].copy_from_slice(values);
            }
            if first + batch < rows && interrupt() {
                return Err(Error::Interrupted);
            }
        }
        Ok((result, output))
    }

    /// Runs a plan on a batch.
    fn execute(
        &mut self,
        (plan, schedule): (usize, usize),
        batch: Batch<'_, '_>,
        extent: Extent<'_>,
        training: Option<Random>,
        interrupt: Interrupt<'_>,
    ) -> Result<()> {
        let Plans { steps, schedules, .. } = &self.plans[plan];
        let plan_of_batch = &schedules[schedule];
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
        let mut phases: Vec<Cow<'_, [(Work, usize)]>> = Vec::with_capacity(32);
        let stale = passes.iter().filter(|pass| steps.packed_version[**pass] != self.version);
        phases.push(stale.flat_map(|pass| steps.pack_work(*pass)).collect());
        if !matches!(extent, Extent::Scores { judged: true, .. }) {
            phases.extend(plan_of_batch.forward.iter().map(Cow::from));
        }
        let (overlap, scores, losses) = match extent {
            Extent::Outputs | Extent::Gradients => (None, 0, None),
            Extent::Scores { overlap, per_sample, losses, .. } => (overlap, per_sample, losses),
        };
        if scores > 0 {
            phases.push(Cow::from(&plan_of_batch.loss));
        }
        if overlap.is_some() {
            phases.push(Cow::Borrowed(&[(Work::Fold, 1)]));
            phases.push(plan_of_batch.loss.iter().map(|&(_, tasks)| (Work::Slope, tasks)).collect());
        }
        let inspects = plan_of_batch.purpose == Purpose::Inspect && extent != Extent::Outputs;
        if update.is_some() || inspects {
            phases.extend(plan_of_batch.backward.iter().map(Cow::from));
        }
        if let Some(update) = &update {
            if update.prepares(&self.blocks) {
                phases.push(Cow::Owned(vec![(Work::Prepare, self.blocks.len())]));
                phases.push(Cow::Borrowed(&[(Work::Clip, 1)]));
            }
            let weights = std::iter::once((Work::Update, self.blocks.len()));
            phases.push(weights.chain(plan_of_batch.commit.iter().copied()).collect());
            let constrained = run::constrained(&self.weights).count();
            phases.push(Cow::Owned(vec![(Work::Constrain, constrained)]));
        }
        // Most of the work is in stacks and split steps: where they are one task each, a helper would only look on.
        let heavy = |(work, tasks): &(Work, usize)| match work {
            Work::Forward { .. }
            | Work::Backward { .. }
            | Work::SplitForward { .. }
            | Work::SplitBackward { .. }
            | Work::SplitGrad { .. } => Some(*tasks),
            _ => None,
        };
        let tasks = phases.iter().flat_map(|phase| phase.iter()).filter_map(heavy).max().unwrap_or(1);
        let shared = plan::shared(steps, plan_of_batch.batch, update.is_some());
        let workers = if shared { parallel::threads().min(tasks) } else { 1 };
        self.memory.reserve(plan_of_batch, workers, self.blocks.len())?;
        let training_step = update.is_some();
        let program = StepProgram {
            steps,
            schedule: plan_of_batch,
            memory: &self.memory,
            state: State {
                params: &self.params,
                grads: &self.grads,
                slots: self.compiled.as_ref().map_or(&[], |c| &c.slots),
                blocks: &self.blocks,
                frozen: &self.frozen,
                weights: &self.weights,
            },
            batch,
            goal: Goal { compiled: self.compiled.as_ref().map(|c| &c.spec), update, overlap, scores, losses },
            training,
            kernels: self.kernels,
            phases,
            bad_layer: AtomicUsize::new(usize::MAX),
        };
        parallel::execute(&program, workers, interrupt)?;
        let bad = program.bad_layer.into_inner();
        for pass in passes {
            self.plans[plan].steps.packed_version[*pass] = self.version;
        }
        if training_step && bad != usize::MAX {
            return Err(self.blame(plan, schedule, bad));
        }
        Ok(())
    }

    /// Names the first layer whose output is not finite, else what the step found.
    fn blame(&mut self, plan: usize, schedule: usize, bad: usize) -> Error {
        let Plans { steps, schedules, .. } = &self.plans[plan];
        let schedule = &schedules[schedule];
        let arena = self.memory.arena.get_mut();
        let name = |layer: usize| self.places[layer].name.clone();
        for active in &schedule.active {
            if let plan::Place::Batch(start) = schedule.values[active.output] {
                let values = &arena[start..start + steps.lens[active.output] * schedule.batch];
                if !self.kernels.tier.vectorize(AllFinite(values)) {
                    return Error::NonFinite {
                        what: "the output",
                        layer: name(steps.steps[active.step].layer),
                    };
                }
            }
        }
        if bad == run::BAD_LOSS {
            return Error::NonFinite { what: "the loss", layer: "the model".to_string() };
        }
        Error::NonFinite { what: "the gradient", layer: name(bad) }
    }
}

/// A vector of zeros for a caller; None is a length that overflows.
fn zeros<T: Element>(len: Option<usize>) -> Result<Vec<T>> {
    let memory = || Error::Memory { bytes: len.unwrap_or(usize::MAX).saturating_mul(size_of::<T>()) };
    let len = len.ok_or_else(memory)?;
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|_| memory())?;
    values.resize(len, T::ZERO);
    Ok(values)
}

/// What a step with scores is for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Aim {
    /// The scores alone.
    Evaluate,
    /// An update.
    Train { learning_rate: f64, seed: u64 },
    /// The gradients.
    Inspect,
}

/// How far a program goes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Extent<'a> {
    /// To the outputs.
    Outputs,
    /// To the gradients, from one that is given.
    Gradients,
    /// To loss and metrics, and with rates to the update.
    Scores {
        rates: Option<Rates>,
        overlap: Option<&'a loss::overlap::Overlap>,
        per_sample: usize,
        /// Whether a judge has seen the outputs: the forward pass is over.
        judged: bool,
        /// What the judge gave.
        losses: Option<&'a [f64]>,
    },
}
