//! Plans: for a batch size and a purpose, the phases of a step and the memory.
//!
//! Everything here depends on shapes, batch size and purpose, and on nothing else; that is what makes results equal
//! for every number of threads.
//!
//! The steps, in topological order, are cut into [`Item`]s: *stacks*, runs of steps that work sample by sample, and
//! batch steps. A normalisation by statistics of the batch begins a stack of its own in training: the work in front
//! sums up its input, and backward the stack behind sums up its gradient, before the one in front goes on with it. A
//! tensor that is only used inside one stack is a matter of a group of samples and a worker; all others hold the whole
//! batch.

mod memory;
mod shares;
mod split;

use std::ops::Range;

pub(super) use shares::batch_samples;
use shares::chunk_samples;
pub(super) use split::Split;

use super::layers::{FoldedNorm, Step};
use super::steps::{BACKWARD, FORWARD, Planned, Steps};
use crate::kernels::Element;

/// Weights that a task of the reduction or of the optimizer handles.
const FLAT_TASK: usize = 8192;
/// Samples of a task of the loss.
const LOSS_SAMPLES: usize = 16;

/// Multiply-adds below which a program stays on the calling thread: waking a helper costs some 20 microseconds.
const SERIAL_MACS: usize = 2_000_000;

/// Whether a program on a batch is worth waking other threads for; `backward` if it computes gradients.
pub(super) fn shared<T: Element>(steps: &Steps<T>, batch: usize, backward: bool) -> bool {
    steps.macs().saturating_mul(batch * if backward { 3 } else { 1 }) >= SERIAL_MACS
}

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Outputs only: every tensor that is not needed any more makes room.
    Infer,
    /// Outputs, gradients and update: what gradients are computed from is kept.
    Train,
    /// All values and all gradients, that to the input included; nothing shares memory.
    Inspect,
}

/// Where a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// Nowhere: nobody needs it.
    None,
    /// All samples of the batch, from this offset on.
    Batch(usize),
    /// The samples of a group, in the worker's own part.
    Local(usize),
}

/// Independent tasks of one kind; steps are active steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Packs the weights of a step (of the model) for a pass.
    Pack { step: usize, pass: usize },
    /// Puts together what is known about the input of a statistics step.
    Settle { step: usize },
    /// Runs a stack of steps forward, a task per group of samples.
    Forward { from: usize, to: usize, group: usize },
    /// Runs a batch step forward, a task per block of samples.
    BatchForward { step: usize },
    /// Has a step computed outside, between two parts of the program.
    Outside { step: usize },
    /// Has its gradients computed.
    OutsideBackward { step: usize },
    /// Runs a step forward, a task per piece of a sample.
    SplitForward { step: usize },
    /// Sums up what a step has written in pieces, for the statistics steps that read it; a task per sample.
    SumInputs { step: usize },
    /// Computes losses, metrics and the gradient of the output.
    Loss,
    /// Adds up what samples have left for a loss of the whole batch.
    ReduceLoss,
    /// Computes the gradient of the output where that takes all samples' scores.
    Slope,
    /// Computes the input gradient of a batch step, a task per block of samples.
    BatchBackward { step: usize },
    /// Computes the weight gradient of a batch step, a task per block of weights.
    Grad { step: usize },
    /// Finishes the gradient of a step's output, a task per piece of a sample.
    SplitMask { step: usize },
    /// Computes the input gradient of a step, a task per piece of a sample.
    SplitBackward { step: usize },
    /// Computes the weight gradient of a step, a task per piece of a chunk.
    SplitGrad { step: usize },
    /// Runs a stack of steps backward, a task per chunk of samples, group by group.
    Backward { from: usize, to: usize, group: usize },
    /// Puts together what is known about the gradient of a statistics step.
    SettleGradients { step: usize },
    /// Sums the chunks' partial gradients.
    Reduce { part: usize },
    /// Makes the gradients final for the optimizer, a task per block.
    Prepare,
    /// Finds by how much gradients are clipped.
    Clip,
    /// Copies what the update changes, if it may have to be taken back.
    Keep,
    /// Updates the weights, a task per block.
    Update,
    /// Moves the moving statistics of a step.
    Commit { step: usize },
    /// Holds the weights to their constraints, a task per weight.
    Constrain,
}

/// What happens to the gradient that a step has for one of its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Nobody wants it.
    None,
    /// It is the first for this tensor.
    Write,
    /// It is computed aside and added to what steps behind have written.
    Add(Slot),
}

/// Places of what a statistics step computes with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settled {
    /// Coefficients, in the arena.
    pub coefficients: Range<usize>,
    /// Parts of the sums, forward and backward.
    pub parts: [Range<usize>; 2],
}

/// A step that runs.
#[derive(Debug)]
pub(super) struct Active {
    /// Its number in the model.
    pub step: usize,
    /// Tensors that it reads.
    pub inputs: Vec<usize>,
    /// Tensor that it writes.
    pub output: usize,
    /// Where the gradients of the inputs go.
    pub flows: Vec<Flow>,
    /// Whether it has a backward pass.
    pub backward: bool,
    /// First byte of its notes.
    pub notes: usize,
    /// The normalisation that its weights contain.
    pub folded: Option<FoldedNorm>,
    /// Of a step that computes with statistics of the batch, in training.
    pub settled: Option<Settled>,
    /// Active statistics steps that read the output.
    pub summed_by: Vec<usize>,
    /// Its number among those whose outputs the loss is charged for.
    pub activity: Option<usize>,
    /// How its samples are cut, if they are.
    pub split: Option<Split>,
}

/// A piece of the order of work.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    /// A run of steps that work sample by sample. A statistics step is the first of its stack.
    Stack(Range<usize>),
    /// A step that works on the whole batch.
    Batch(usize),
    /// A step whose samples are cut.
    Split(usize),
    /// A step that somebody outside computes.
    Outside(usize),
}

/// Phases and memory of a batch size and purpose.
#[derive(Debug)]
pub(super) struct Schedule {
    pub batch: usize,
    pub purpose: Purpose,
    /// Steps that run; dropout and its like are left out at inference.
    pub active: Vec<Active>,
    /// Tensor that is the output.
    pub output: usize,
    /// Statistics steps that read the input of the model.
    pub input_summed_by: Vec<usize>,
    /// Place of every tensor.
    pub values: Vec<Slot>,
    /// Place of the gradients of the same tensors.
    pub grads: Vec<Slot>,
    pub notes_len: usize,
    /// Steps whose outputs the loss is charged for.
    pub activities: usize,
    /// Numbers of all parts of sums.
    pub sums_len: usize,
    /// Samples of a chunk.
    pub chunk: usize,
    /// Chunks' partial gradients.
    pub partials: usize,
    /// Start of the workers' own parts, the size of each, and where the sums of weight gradients are in it.
    pub local: usize,
    pub local_len: usize,
    pub local_sums: usize,
    pub forward: Vec<Vec<(Work, usize)>>,
    pub loss: Vec<(Work, usize)>,
    pub backward: Vec<Vec<(Work, usize)>>,
    /// What is changed together with the weights.
    pub commit: Vec<(Work, usize)>,
}

impl Schedule {
    /// Plans phases and memory.
    pub fn new<T: Element>(steps: &Steps<T>, batch: usize, purpose: Purpose) -> Self {
        let train = purpose != Purpose::Infer;
        let (mut active, output) = active_steps(steps, purpose);
        let (mut notes_len, mut activities) = (0, 0);
        let shared = shared(steps, batch, train);
        for step in &mut active {
            let planned = &steps.steps[step.step];
            step.split = Split::new(planned.step.as_ref(), batch, planned.sums.len()).filter(|_| shared);
            step.activity = planned.step.activity().map(|_| activities);
            activities += usize::from(step.activity.is_some());
            step.notes = notes_len;
            notes_len += if train { steps.steps[step.step].step.keeps().notes * batch } else { 0 };
        }
        let readers = |tensor: usize| {
            let sums = |i: &usize| {
                let step = &active[*i];
                train && steps.steps[step.step].step.statistics().is_some() && step.inputs == [tensor]
            };
            (0..active.len()).filter(sums).collect::<Vec<_>>()
        };
        let input_summed_by = readers(0);
        let summed: Vec<Vec<usize>> = active.iter().map(|step| readers(step.output)).collect();
        active.iter_mut().zip(summed).for_each(|(step, by)| step.summed_by = by);
        let mut schedule = Self {
            batch,
            purpose,
            active,
            output,
            input_summed_by,
            values: Vec::new(),
            grads: Vec::new(),
            notes_len,
            activities,
            sums_len: 0,
            chunk: if train { chunk_samples(steps, batch) } else { batch },
            partials: 0,
            local: 0,
            local_len: 0,
            local_sums: 0,
            forward: Vec::new(),
            loss: vec![(Work::Loss, batch.div_ceil(LOSS_SAMPLES))],
            backward: Vec::new(),
            commit: Vec::new(),
        };
        let items = schedule.cut(steps);
        schedule.place(steps, &items);
        schedule.plan_forward(steps, &items);
        if train {
            schedule.plan_backward(steps, &items);
        }
        schedule
    }

    fn step<'a, T: Element>(&self, steps: &'a Steps<T>, i: usize) -> &'a dyn Step<T> {
        steps.steps[self.active[i].step].step.as_ref()
    }

    /// Whether active step `i` waits for statistics of the batch.
    fn waits<T: Element>(&self, steps: &Steps<T>, i: usize) -> bool {
        self.purpose != Purpose::Infer && i < self.active.len() && self.step(steps, i).statistics().is_some()
    }

    /// Whether active step `i` is computed outside.
    fn visits<T: Element>(&self, steps: &Steps<T>, i: usize) -> bool {
        i < self.active.len() && self.step(steps, i).outside().is_some()
    }

    /// Cuts the steps into stacks and those that stand alone. The first item is a stack, even if it is empty: it gathers the input.
    /// In front of a step that waits there is a stack as well, which is where its backward pass ends.
    fn cut<T: Element>(&self, steps: &Steps<T>) -> Vec<Item> {
        let mut items = Vec::new();
        let mut start = 0;
        for i in 0..=self.active.len() {
            let batch = i < self.active.len() && self.step(steps, i).batch().is_some();
            let split = self.active.get(i).is_some_and(|step| step.split.is_some());
            let waits = self.waits(steps, i);
            let outside = self.visits(steps, i);
            if !(batch || split || outside || waits || i == self.active.len()) {
                continue;
            }
            if start < i || items.is_empty() || waits {
                items.extend(self.regrouped(steps, start..i).into_iter().map(Item::Stack));
            }
            start = i;
            if batch || split || outside {
                items.push(match (batch, split) {
                    (true, _) => Item::Batch(i),
                    (_, true) => Item::Split(i),
                    _ => Item::Outside(i),
                });
                start = i + 1;
            }
        }
        items
    }

    /// Tasks of an item that have a part each of the sums of what it writes.
    fn forward_tasks<T: Element>(&self, steps: &Steps<T>, item: &Item) -> usize {
        match item {
            Item::Split(_) => self.batch,
            Item::Outside(_) => 1,
            Item::Stack(range) => self.batch.div_ceil(self.groups(steps, range)[0]),
            Item::Batch(i) => self.batch.div_ceil(batch_samples(self.step(steps, *i), self.batch)),
        }
    }

    fn chunks(&self) -> usize {
        self.batch.div_ceil(self.chunk.max(1))
    }

    fn plan_forward<T: Element>(&mut self, steps: &Steps<T>, items: &[Item]) {
        for item in items {
            let tasks = self.forward_tasks(steps, item);
            match item {
                Item::Stack(range) => {
                    if range.start < range.end && self.waits(steps, range.start) {
                        self.forward.push(vec![(Work::Settle { step: range.start }, 1)]);
                        self.commit.push((Work::Commit { step: range.start }, 1));
                    }
                    // An empty stack runs only where it gathers the input.
                    if !range.is_empty() || range.end == 0 {
                        let [group, _] = self.groups(steps, range);
                        let work = Work::Forward { from: range.start, to: range.end, group };
                        self.forward.push(vec![(work, tasks)]);
                    }
                }
                Item::Batch(i) => self.forward.push(vec![(Work::BatchForward { step: *i }, tasks)]),
                Item::Outside(i) => self.forward.push(vec![(Work::Outside { step: *i }, 1)]),
                Item::Split(i) => {
                    self.forward.push(vec![(Work::SplitForward { step: *i }, self.pieces(*i, FORWARD))]);
                    if !self.active[*i].summed_by.is_empty() {
                        self.forward.push(vec![(Work::SumInputs { step: *i }, tasks)]);
                    }
                }
            }
        }
    }

    /// Pieces of all samples of a split step, in one of the passes.
    fn pieces(&self, i: usize, pass: usize) -> usize {
        self.batch * self.active[i].split.as_ref().map_or(0, |split| split.maps[pass].count())
    }

    fn plan_backward<T: Element>(&mut self, steps: &Steps<T>, items: &[Item]) {
        let mut phases: Vec<Vec<(Work, usize)>> = Vec::new();
        // Weight gradients of a batch step or a split one run together with whatever comes after the input gradient.
        let mut pending: Option<(Work, usize)> = None;
        for item in items.iter().rev() {
            let mut phase = Vec::new();
            match item {
                Item::Batch(i) if self.active[*i].backward => {
                    phase.push((Work::BatchBackward { step: *i }, self.forward_tasks(steps, item)));
                    phase.extend(pending.take());
                    let tasks = self.step(steps, *i).batch().map_or(0, |b| b.grad_tasks());
                    pending = Some((Work::Grad { step: *i }, tasks));
                }
                Item::Split(i) if self.active[*i].backward => {
                    if self.step(steps, *i).masks_by_sign() {
                        phases.push(vec![(Work::SplitMask { step: *i }, self.pieces(*i, FORWARD))]);
                    }
                    let tasks = self.active[*i].split.as_ref().map_or(0, Split::grad_tasks);
                    let grad = (Work::SplitGrad { step: *i }, self.chunks() * tasks);
                    if self.active[*i].flows[0] == Flow::None {
                        phase.push(grad);
                        phase.extend(pending.take());
                    } else {
                        phase.push((Work::SplitBackward { step: *i }, self.pieces(*i, BACKWARD)));
                        phase.extend(pending.replace(grad));
                    }
                }
                Item::Outside(i) if self.active[*i].backward => {
                    phase.push((Work::OutsideBackward { step: *i }, 1));
                }
                Item::Stack(range) if self.runs_backward(steps, range) => {
                    let [_, group] = self.groups(steps, range);
                    let work = Work::Backward { from: range.start, to: range.end, group };
                    phase.push((work, self.chunks()));
                    phase.extend(pending.take());
                }
                _ => continue,
            }
            phases.push(phase);
            if let Item::Stack(range) = item
                && !range.is_empty()
                && self.waits(steps, range.start)
                && self.active[range.start].backward
            {
                phases.push(vec![(Work::SettleGradients { step: range.start }, 1)]);
            }
        }
        if let Some((Work::SplitGrad { .. }, _)) = pending {
            // Nothing came, and its sums are reduced next.
            phases.push(pending.take().into_iter().collect());
        }
        let reduce = steps.partials.iter().enumerate();
        let mut last: Vec<(Work, usize)> = reduce
            .map(|(part, (range, _))| (Work::Reduce { part }, range.len().div_ceil(FLAT_TASK)))
            .collect();
        last.extend(pending);
        phases.push(last);
        self.backward = phases;
    }

    /// Whether a stack has anything to do backward: steps of its own, or the end of one that waits behind it.
    fn runs_backward<T: Element>(&self, steps: &Steps<T>, range: &Range<usize>) -> bool {
        let ends = self.waits(steps, range.end) && self.active[range.end].flows[0] != Flow::None;
        ends || range.clone().any(|i| self.active[i].backward)
    }

    /// Elements of the arena for a number of workers.
    pub fn arena_len(&self, workers: usize) -> usize {
        self.local + self.local_len * workers
    }
}

/// The steps that run, and the tensor that is the output. What is left out passes its input on.
fn active_steps<T: Element>(steps: &Steps<T>, purpose: Purpose) -> (Vec<Active>, usize) {
    let train = purpose != Purpose::Infer;
    let folded = if train { Default::default() } else { steps.folded() };
    let mut stands_for: Vec<usize> = (0..steps.lens.len()).collect();
    // Tensors whose gradient somebody in front of them wants.
    let mut wanted = vec![purpose == Purpose::Inspect; steps.lens.len()];
    let mut active: Vec<Active> = Vec::new();
    for (number, Planned { step, inputs, output, folds, .. }) in steps.steps.iter().enumerate() {
        let inputs: Vec<usize> = inputs.iter().map(|&t| stands_for[t]).collect();
        if folded.contains(&number) || (!train && step.idle_at_inference()) {
            stands_for[*output] = inputs[0];
            continue;
        }
        wanted[*output] |= train && (!step.weights().is_empty() || inputs.iter().any(|&t| wanted[t]));
        let flow = |t: &usize| if wanted[*t] { Flow::Write } else { Flow::None };
        let behind = folds.filter(|_| !train).and_then(|behind| steps.steps[behind].step.statistics());
        active.push(Active {
            step: number,
            flows: inputs.iter().map(flow).collect(),
            inputs,
            output: *output,
            backward: wanted[*output],
            notes: 0,
            folded: behind.map(|statistics| FoldedNorm { relu: statistics.relu() }),
            settled: None,
            summed_by: Vec::new(),
            activity: None,
            split: None,
        });
    }
    (active, stands_for[steps.output])
}

/// Blocks of a flat buffer: `(block, of how many)` as a range inside `range`.
pub(super) fn flat_block(range: &Range<usize>, block: usize) -> Range<usize> {
    let start = range.start + block * FLAT_TASK;
    start..(start + FLAT_TASK).min(range.end)
}

/// Blocks that a range of a flat buffer is cut into.
pub(super) fn flat_blocks(range: &Range<usize>) -> usize {
    range.len().div_ceil(FLAT_TASK)
}
