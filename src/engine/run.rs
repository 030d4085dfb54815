//! One step of a network as a program for the thread pool.

mod backward;
mod batch_grad;
mod custom;
mod exchange;
mod node_sums;
mod phases;
mod scores;
mod split;
mod statistics;
mod trace;
mod tree;
mod undo;
mod update;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::Target;
use super::layers::{Context, FoldedNorm, Random};
use super::loss::Rows;
use super::loss::overlap::Overlap;
use super::lowering::{FORWARD, INFERENCE, Lowered, PlannedOp};
use super::optim::{Block, Update};
use super::peers::Shares;
use super::plan::{Slot, StepPlan, Work};
use super::regularizers::{Angles, Penalty};
use super::source::Source;
use super::spec::CompileSpec;
use super::structure::Weight;
use crate::conv::Scratch;
use crate::error::Result;
use crate::kernels::{Element, Job, Kernels};
use crate::memory;
use crate::parallel::{self, Program, Pulse, Reading, Shared, Writing, lock};
use crate::tuning::LARGE_ARENA_BYTES;
pub(super) use phases::Phases;
use trace::Traced;
use tree::Tree;
pub(super) use tree::roots;
use undo::Undo;
pub(super) use update::constrained;

/// What is much less: this part of it.
const MUCH_LESS: usize = 8;

/// Memory that outlives a step and is shared by all plans.
#[derive(Debug)]
pub(super) struct Memory<T: Element> {
    pub arena: Shared<T>,
    pub saved: Shared<u8>,
    /// Parts of the sums of statistics steps.
    pub sums: Shared<f64>,
    /// What the loss is charged for outputs, step by step and sample by sample.
    pub activity: Shared<f64>,
    /// Loss and metrics of every sample, output by output.
    pub scores: Shared<f64>,
    /// What is scored at every output, for the step that runs.
    pub scorings: Vec<Scoring>,
    /// What the gradients of every block of weights are multiplied by, where they are clipped by their norm.
    pub factors: Shared<f64>,
    pub workers: Vec<Mutex<Worker<T>>>,
    /// A copy of what an update changes, while one runs that may have to be taken back.
    pub undo: Mutex<Undo<T>>,
    /// The partial gradients of the stack that runs.
    pub tree: Mutex<Tree>,
    /// Sums of this rank's chunks, added up as far as they are its own: all nodes but the first, which has the place of
    /// the whole.
    pub nodes: Shared<T>,
    /// The tasks that ran, while they are recorded.
    pub trace: Option<Mutex<Vec<Traced>>>,
    pub phases: Phases,
}

impl<T: Element> Memory<T> {
    /// No memory yet.
    pub(super) fn empty() -> Self {
        Self {
            arena: Shared::empty(),
            saved: Shared::empty(),
            sums: Shared::empty(),
            activity: Shared::empty(),
            scores: Shared::empty(),
            scorings: Vec::new(),
            factors: Shared::empty(),
            workers: Vec::new(),
            undo: Mutex::default(),
            tree: Mutex::default(),
            nodes: Shared::empty(),
            trace: None,
            phases: Phases::default(),
        }
    }

    /// Whether a step_plan needs much less than there is.
    pub(super) fn is_much_for(&self, step_plan: &StepPlan) -> bool {
        let have = self.arena.len();
        have * size_of::<T>() >= LARGE_ARENA_BYTES
            && step_plan.arena_len(parallel::threads()) < have / MUCH_LESS
    }

    /// Makes room for `vectors` norms, as constraints find them in the part of a step that cannot fail.
    pub(super) fn reserve_norms(&mut self, vectors: usize) -> Result<()> {
        self.workers.iter_mut().try_for_each(|worker| {
            let norms = &mut worker.get_mut().unwrap_or_else(PoisonError::into_inner).rows.z;
            norms.clear();
            norms.try_reserve_exact(vectors).map_err(|_| memory::lack::<f64>(vectors))
        })
    }

    /// Makes room for the partial gradients that this rank has for others.
    pub(super) fn reserve_nodes(&mut self, len: usize) -> Result<()> {
        if self.nodes.len() < len {
            self.nodes = Shared::empty();
            self.nodes = Shared::zeroed(len)?;
        }
        Ok(())
    }

    /// Makes room for a step_plan and a number of workers. Contents are lost when it grows: nothing lives across steps.
    pub(super) fn reserve(&mut self, step_plan: &StepPlan, workers: usize, blocks: usize) -> Result<()> {
        self.tree.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        if self.factors.len() < blocks {
            self.factors = Shared::zeroed(blocks)?;
        }
        let arena = step_plan.arena_len(workers);
        if self.arena.len() < arena {
            self.arena = Shared::empty();
            self.arena = Shared::zeroed(arena)?;
        }
        if self.saved.len() < step_plan.saved_len {
            self.saved = Shared::zeroed(step_plan.saved_len)?;
        }
        if self.sums.len() < step_plan.sums_len {
            self.sums = Shared::zeroed(step_plan.sums_len)?;
        }
        if self.activity.len() < step_plan.activities * step_plan.batch {
            self.activity = Shared::zeroed(step_plan.activities * step_plan.batch)?;
        }
        while self.workers.len() < workers {
            self.workers.push(Mutex::default());
        }
        Ok(())
    }
}

/// What a worker keeps for itself.
#[derive(Debug, Default)]
pub(super) struct Worker<T: Element> {
    scratch: Scratch<T>,
    rows: Rows,
    /// Gradients of the weights of a custom layer, one after the other; and of one that is to be added to others.
    grads: Vec<T>,
}

/// What the optimizer works on.
pub(super) struct State<'a, T: Element> {
    pub params: &'a Shared<T>,
    pub grads: &'a Shared<T>,
    pub slots: &'a [Shared<T>],
    /// Blocks of trainable weights.
    pub blocks: &'a [Block],
    /// Of every layer, whether it is frozen.
    pub frozen: &'a [bool],
    /// All weights.
    pub weights: &'a [Weight],
    /// Gradients of penalties on the angles in a weight, by its number.
    pub angles: &'a BTreeMap<usize, Angles<T>>,
}

/// The data of a step.
pub(super) struct Batch<'a, 'b> {
    pub x: &'a [Source<'b>],
    /// What outputs are compared with; none where nothing is scored.
    pub targets: &'a [Target<'b>],
    /// Rows of the batch; None for the first ones.
    pub indices: Option<&'a [i64]>,
    /// First row, if there are no indices.
    pub first: usize,
}

/// What is scored at an output.
#[derive(Debug)]
pub(super) struct Scoring {
    /// Where the scores begin.
    pub start: usize,
    /// Numbers that a sample adds to them; 0 for an output that has no loss.
    pub per_sample: usize,
    /// Loss elements of the batch.
    pub count: f64,
    /// Whether labels of 0 and 1 stand for -1 and 1.
    pub signs: bool,
    /// The loss, if it is one that divides sums over many elements.
    pub overlap: Option<Overlap>,
    /// Weighted losses of the samples, where a custom loss gives them; the gradient is then in place.
    pub losses: Option<Vec<f64>>,
}

impl Batch<'_, '_> {
    fn row(&self, sample: usize) -> usize {
        self.indices.map_or(self.first + sample, |indices| indices[sample] as usize)
    }
}

/// What a program does besides computing outputs.
pub(super) struct Goal<'a> {
    pub compiled: Option<&'a CompileSpec>,
    pub update: Option<Update<'a>>,
    /// Whether the update may overflow even where gradients are small.
    pub risky: bool,
    /// What is scored at every output; empty if nothing is.
    pub scorings: &'a [Scoring],
    /// Whether gradients are computed.
    pub backward: bool,
}

/// A step about to run.
pub(super) struct StepProgram<'a, 'b, T: Element> {
    pub lowered: &'a Lowered<T>,
    pub step_plan: &'a StepPlan,
    pub memory: &'a Memory<T>,
    pub state: State<'a, T>,
    pub batch: Batch<'a, 'b>,
    pub goal: Goal<'a>,
    pub training: Option<Random>,
    pub kernels: &'static Kernels<T>,
    /// The samples that are computed here, and their chunks: all of them, unless ranks share the batch.
    pub own: Own,
    pub shares: Option<&'a Shares<'a, T>>,
    /// Workers that memory was reserved for.
    pub workers: usize,
    pub phases: &'a Phases,
    /// Those of `phases` that are run now.
    pub part: Range<usize>,
    /// Lowest number of a layer with a gradient that is not finite.
    pub bad_layer: AtomicUsize,
    /// Whether a gradient is beyond its bound.
    pub large_gradient: AtomicBool,
    /// Whether the update has made a number beyond its bound.
    pub large: AtomicBool,
    /// Lowest number of a layer of which the update has made NaN or infinity.
    pub spoilt: AtomicUsize,
}

/// Samples and chunks.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub samples: Range<usize>,
    pub chunks: Range<usize>,
}

/// Inputs whose borrows are held on the stack; a merge of more branches allocates for them.
const FEW_INPUTS: usize = 8;

/// Stands in `bad_layer` for the loss.
pub(super) const BAD_LOSS: usize = usize::MAX - 1;

impl<T: Element> StepProgram<'_, '_, T> {
    fn planned(&self, i: usize) -> &PlannedOp<T> {
        &self.lowered.ops[self.step_plan.active[i].op]
    }

    /// Place of some samples of a tensor in the arena.
    fn range(&self, place: Slot, tensor: usize, samples: &Range<usize>, worker: usize) -> Range<usize> {
        let len = self.lowered.lens[tensor];
        let start = match place {
            Slot::None => return 0..0,
            Slot::Batch(start) => start + samples.start * len,
            Slot::Local(start) => self.step_plan.local + worker * self.step_plan.local_len + start,
        };
        start..start + samples.len() * len
    }

    fn read_value(&self, tensor: usize, samples: &Range<usize>, worker: usize) -> Reading<'_, T> {
        self.memory.arena.read(self.range(self.step_plan.values[tensor], tensor, samples, worker))
    }

    fn write_value(&self, tensor: usize, samples: &Range<usize>, worker: usize) -> Writing<'_, T> {
        self.memory.arena.write(self.range(self.step_plan.values[tensor], tensor, samples, worker))
    }

    fn write_grad(&self, tensor: usize, samples: &Range<usize>, worker: usize) -> Writing<'_, T> {
        self.memory.arena.write(self.range(self.step_plan.grads[tensor], tensor, samples, worker))
    }

    fn saved_range(&self, i: usize, samples: &Range<usize>) -> Range<usize> {
        let per_sample = if self.step_plan.saved_len == 0 { 0 } else { self.planned(i).op.keeps().saved };
        let start = self.step_plan.active[i].saved;
        start + samples.start * per_sample..start + samples.end * per_sample
    }

    fn samples(&self, task: usize, per_task: usize) -> Range<usize> {
        task * per_task..((task + 1) * per_task).min(self.step_plan.batch)
    }

    /// Those of some samples that are computed here.
    fn own(&self, samples: Range<usize>) -> Range<usize> {
        let start = samples.start.max(self.own.samples.start);
        start..samples.end.min(self.own.samples.end).max(start)
    }

    /// The samples of a task of the loss at an output.
    fn scored_samples(&self, output: usize, task: usize) -> Range<usize> {
        self.own(self.samples(task, self.step_plan.loss_samples(self.lowered, output)))
    }

    /// Calls `work` with the values of some tensors.
    fn with_values<R>(
        &self,
        tensors: &[usize],
        samples: &Range<usize>,
        worker: usize,
        work: impl FnOnce(&[&[T]]) -> R,
    ) -> R {
        let read = |&tensor: &usize| self.read_value(tensor, samples, worker);
        if tensors.len() > FEW_INPUTS {
            let held: Vec<_> = tensors.iter().map(read).collect();
            return work(&held.iter().map(|value| &**value).collect::<Vec<_>>());
        }
        let held: [_; FEW_INPUTS] = std::array::from_fn(|i| tensors.get(i).map(read));
        let views = held.each_ref().map(|value| value.as_deref().unwrap_or_default());
        work(&views[..tensors.len()])
    }

    /// Runs some active ops forward on some samples; the first stack gathers the inputs.
    fn forward(&self, ops: Range<usize>, samples: &Range<usize>, worker: usize) {
        if samples.is_empty() {
            return;
        }
        let mut own = lock(&self.memory.workers[worker]);
        if ops.start == 0 && !self.reads_batch(&ops) {
            for (input, source) in self.batch.x.iter().enumerate() {
                let len = self.lowered.lens[input];
                let mut x = self.write_value(input, samples, worker);
                for (x, sample) in x.chunks_exact_mut(len.max(1)).zip(samples.clone()) {
                    source.gather(self.batch.row(sample), x);
                }
                self.sum_inputs(&self.step_plan.inputs_summed_by[input], &x, samples);
            }
        }
        let params = self.state.params.read(0..self.state.params.len());
        for i in ops {
            let active = &self.step_plan.active[i];
            let planned = self.planned(i);
            let mut y = self.write_value(active.output, samples, worker);
            let mut saved = self.memory.saved.write(self.saved_range(i, samples));
            let pass = if active.folded.is_some() { INFERENCE } else { FORWARD };
            let packed = self.lowered.packed[pass].read(planned.packed[pass].clone());
            let coefficients = self.coefficients(i);
            let cx = self.context(i, (&params, &packed, &coefficients), samples, active.folded);
            self.with_values(&active.inputs, samples, worker, |x| {
                planned.op.forward(&cx, x, &mut y, &mut saved, &mut own.scratch);
            });
            self.sum_inputs(&active.summed_by, &y, samples);
            self.charge(i, &y, samples);
        }
    }

    /// Records what the loss is charged for the outputs of some samples.
    fn charge(&self, i: usize, y: &[T], samples: &Range<usize>) {
        let (Some(slot), Some(factors)) = (self.step_plan.active[i].activity, self.planned(i).op.activity())
        else {
            return;
        };
        let start = slot * self.step_plan.batch;
        let mut charges = self.memory.activity.write(start + samples.start..start + samples.end);
        for (charge, weights) in charges.iter_mut().zip(y.chunks_exact(y.len() / samples.len().max(1))) {
            *charge = self.kernels.tier.vectorize(Penalty { factors, weights });
        }
    }

    /// Whether the first of some steps reads what an earlier stack has left: one that is part of no stack, or waits for
    /// statistics. A stack of a single op, which the plan alone knows from it, gathers its inputs itself.
    fn reads_batch(&self, ops: &Range<usize>) -> bool {
        let alone = |i: usize| {
            let (plan, lowered) = (&self.step_plan, self.lowered);
            ops.len() == 1 && (plan.is_batch(lowered, i) || plan.is_custom(lowered, i))
        };
        !ops.is_empty() && (alone(ops.start) || self.step_plan.active[ops.start].statistics.is_some())
    }

    fn context<'c>(
        &self,
        i: usize,
        (params, packed, coefficients): (&'c [T], &'c [T], &'c [T]),
        samples: &Range<usize>,
        folded: Option<FoldedNorm>,
    ) -> Context<'c, T> {
        Context {
            params,
            packed,
            coefficients,
            folded,
            first: samples.start,
            samples: samples.len(),
            batch: self.step_plan.batch,
            training: self.training.filter(|_| !self.planned(i).inference),
        }
    }

    /// Whether loss and gradients are all finite.
    fn sound(&self) -> bool {
        self.bad_layer.load(Ordering::Relaxed) == usize::MAX
    }
}

impl<T: Element> Program for StepProgram<'_, '_, T> {
    fn phases(&self) -> usize {
        self.part.len()
    }

    fn tasks(&self, phase: usize) -> usize {
        let tasks =
            |(work, tasks): &(Work, usize)| if *work == Work::Keep && !self.risky() { 0 } else { *tasks };
        self.phases.works(self.part.start + phase).iter().map(tasks).sum()
    }

    fn commit(&self) -> usize {
        let update = self.phases.find(self.part.start, |work| work == Work::Update);
        update.map_or(usize::MAX, |phase| phase - self.part.start)
    }

    fn run(&self, phase: usize, task: usize, worker: usize, pulse: &Pulse<'_>) -> Result<()> {
        let mut task = task;
        let mut works = self.phases.works(self.part.start + phase).iter();
        let work = loop {
            match works.next() {
                Some((work, tasks)) if task < *tasks => break *work,
                Some((_, tasks)) => task -= tasks,
                None => return Ok(()),
            }
        };
        let start = self.memory.trace.is_some().then(Instant::now);
        let outcome = self.task(work, (phase, task, worker), pulse);
        if let Some(start) = start {
            self.trace(phase, work, start);
        }
        outcome
    }
}

impl<T: Element> StepProgram<'_, '_, T> {
    /// Runs a task of a work.
    fn task(
        &self,
        work: Work,
        (phase, task, worker): (usize, usize, usize),
        pulse: &Pulse<'_>,
    ) -> Result<()> {
        let block = |op: usize| {
            self.own(self.step_plan.group(task, self.step_plan.block(self.planned(op).op.as_ref())))
        };
        match work {
            Work::Pack { op, pass } => {
                self.lowered.pack((op, pass), task, &self.state.params.read(0..self.state.params.len()));
            }
            Work::FinalizeStatistics { op } => self.finalize(op),
            Work::Forward { from, to, group } => {
                self.forward(from..to, &self.own(self.step_plan.group(task, group)), worker);
            }
            Work::BatchForward { op } => self.forward(op..op + 1, &block(op), worker),
            Work::SplitForward { op } => self.split_forward(op, task, worker),
            Work::SumInputs { op } => self.split_sums(op, task, worker),
            Work::Loss { output } => {
                return self.score(output, self.scored_samples(output, task), worker);
            }
            Work::ReduceLoss { output } => self.reduce_loss(output),
            Work::Slope { output } => {
                if self.wants_output_grad(output) {
                    return self.slope(output, self.scored_samples(output, task), worker);
                }
            }
            Work::BatchBackward { op } => {
                let samples = block(op);
                if samples.is_empty() {
                    return Ok(());
                }
                let mut own = lock(&self.memory.workers[worker]);
                let params = self.state.params.read(0..self.state.params.len());
                self.backward_op(op, &samples, (&mut [], &params), &mut own.scratch, worker);
            }
            Work::Grad { op } => return self.batch_grad(op, task, worker),
            Work::Backward { from, to, group } => {
                self.backward(&(from..to), group, (phase, task, worker), pulse);
            }
            Work::SplitMask { op } => self.split_mask(op, task, worker),
            Work::SplitBackward { op } => self.split_backward(op, task, worker),
            Work::SplitGrad { op } => self.split_grad(op, task, worker),
            Work::FinalizeGradients { op } => return self.finalize_gradients(op, worker),
            Work::Reduce { part } => self.reduce(part, task, worker),
            Work::Prepare => self.prepare(task),
            Work::Clip => self.clip(),
            Work::Keep => return self.keep(),
            Work::Update => self.update(task),
            Work::Commit { op } => self.commit_statistics(op),
            Work::Constrain => self.constrain(task, worker),
            // `execute` has them done between two parts.
            Work::Custom { .. } | Work::CustomBackward { .. } | Work::Exchange(_) => {}
        }
        Ok(())
    }
}

/// `to += from`
struct Add<'a, T> {
    from: &'a [T],
    to: &'a mut [T],
}

impl<T: Element> Job for Add<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for (to, from) in self.to.iter_mut().zip(self.from) {
            *to += *from;
        }
    }
}

/// Whether no element is NaN or infinite.
pub(super) struct AllFinite<'a, T>(pub &'a [T]);

impl<T: Element> Job for AllFinite<'_, T> {
    type Output = bool;
    #[inline(always)]
    fn run(self) -> bool {
        // No early exit, so that the loop vectorises.
        self.0.iter().fold(true, |all, x| all & x.finite())
    }
}
