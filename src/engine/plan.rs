//! Plans: for a batch size and a purpose, the phases of a step and the memory.
//!
//! Everything here depends on shapes, batch size and purpose, and on nothing else; that is what makes results equal
//! for every number of threads.
//!
//! The ops, in topological order, are cut into [`Stage`]s: *stacks*, runs of ops that work sample by sample, and
//! batch ops. A normalisation by statistics of the batch begins a stack of its own in training: the work before it
//! sums up its input, and backward the stack after it sums up its gradient, before the one before it goes on with it. A
//! tensor that is only used inside one stack is a matter of a group of samples and a worker; all others hold the whole
//! batch.

mod memory;
mod shares;
mod split;

use std::ops::Range;

use shares::chunk_samples;
pub(super) use split::Split;

use super::layers::{FoldedNorm, Op};
use super::lowering::{BACKWARD, FORWARD, Lowered, PlannedOp};
use crate::cuts;
use crate::kernels::Element;
use crate::tuning::{LOSS_ELEMENTS, LOSS_SAMPLES, UPDATE_TASK_ELEMENTS};

/// Whether a program on a batch is worth waking other threads for; `backward` if it computes gradients.
pub(super) fn shared<T: Element>(lowered: &Lowered<T>, batch: usize, backward: bool) -> bool {
    cuts::shares_program(lowered.macs().saturating_mul(batch * if backward { 3 } else { 1 }))
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

/// Independent tasks of one kind; ops are active ops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Packs the weights of an op (of the model) for a pass.
    Pack { op: usize, pass: usize },
    /// Puts together what is known about the input of a statistics op.
    FinalizeStatistics { op: usize },
    /// Runs a stack of ops forward, a task per group of samples.
    Forward { from: usize, to: usize, group: usize },
    /// Runs a batch op forward, a task per block of samples.
    BatchForward { op: usize },
    /// Calls a custom layer, between two parts of the program.
    Custom { op: usize },
    /// Has its gradients computed.
    CustomBackward { op: usize },
    /// Runs an op forward, a task per region of a sample.
    SplitForward { op: usize },
    /// Sums up what an op has written region by region, for the statistics ops that read it; a task per sample.
    SumInputs { op: usize },
    /// Computes losses, metrics and the gradient of an output.
    Loss { output: usize },
    /// Adds up what samples have left for a loss of the whole batch.
    ReduceLoss { output: usize },
    /// Computes the gradient of an output where that takes all samples' scores.
    Slope { output: usize },
    /// Computes the input gradient of a batch op, a task per block of samples.
    BatchBackward { op: usize },
    /// Computes the weight gradient of a batch op, a task per block of weights.
    Grad { op: usize },
    /// Finishes the gradient of an op's output, a task per region of a sample.
    SplitMask { op: usize },
    /// Computes the input gradient of an op, a task per region of a sample.
    SplitBackward { op: usize },
    /// Computes the weight gradient of an op, a task per region of a chunk.
    SplitGrad { op: usize },
    /// Runs a stack of ops backward, a task per chunk of samples, group by group.
    Backward { from: usize, to: usize, group: usize },
    /// Puts together what is known about the gradient of a statistics op.
    FinalizeGradients { op: usize },
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
    /// Moves the moving statistics of an op.
    Commit { op: usize },
    /// Holds the weights to their constraints, a task per weight.
    Constrain,
    /// Sends and receives, between two parts of the program.
    Exchange(Exchange),
}

/// What ranks that share a batch tell each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exchange {
    /// The sums of a statistics op, forward (0) or backward (1).
    Statistics { op: usize, pass: usize },
    /// A tensor.
    Values { tensor: usize },
    /// Its gradient.
    Gradients { tensor: usize },
    /// What the weight gradient of a batch op is computed from: to each rank what its tasks read.
    Operands { op: usize },
    /// The gradient of a batch op's kernel, of which each rank has computed a part, before another call adds to it.
    Kernel { op: usize },
    /// Losses and metrics of the samples, and what the loss is charged for outputs.
    Scores,
    /// What is left to tell about the gradients of weights: sums over the samples of ranks, and parts of kernels.
    WeightGradients,
}

/// What happens to the gradient that an op has for one of its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Nobody wants it.
    None,
    /// It is the first for this tensor.
    Write,
    /// It is computed aside and added to what later ops have written.
    Add(Slot),
}

/// Places of what a statistics op computes with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StatisticsSlots {
    /// Coefficients, in the arena.
    pub coefficients: Range<usize>,
    /// Parts of the sums, forward and backward.
    pub parts: [Range<usize>; 2],
    /// Samples of a part forward; backward it is a chunk.
    pub grain: usize,
}

/// An op that runs.
#[derive(Debug)]
pub(super) struct Active {
    /// Its number in the model.
    pub op: usize,
    /// Tensors that it reads.
    pub inputs: Vec<usize>,
    /// Tensor that it writes.
    pub output: usize,
    /// Where the gradients of the inputs go.
    pub flows: Vec<Flow>,
    /// Whether it has a backward pass.
    pub backward: bool,
    /// First byte of what it saves.
    pub saved: usize,
    /// The normalisation that its weights contain.
    pub folded: Option<FoldedNorm>,
    /// Of an op that computes with statistics of the batch, in training.
    pub statistics: Option<StatisticsSlots>,
    /// Active statistics ops that read the output.
    pub summed_by: Vec<usize>,
    /// Its number among those whose outputs the loss is charged for.
    pub activity: Option<usize>,
    /// How its samples are cut, if they are.
    pub split: Option<Split>,
}

/// What runs next in the order of work.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// A run of ops that work sample by sample. A statistics op is the first of its stack.
    Stack(Range<usize>),
    /// An op that works on the whole batch.
    Batch(usize),
    /// An op whose samples are cut.
    Split(usize),
    /// A custom layer's op.
    Custom(usize),
}

/// Phases and memory of a batch size and purpose.
#[derive(Debug)]
pub(super) struct StepPlan {
    pub batch: usize,
    pub purpose: Purpose,
    /// Lowered that run; dropout and its like are left out at inference.
    pub active: Vec<Active>,
    /// Tensors that are the outputs.
    pub outputs: Vec<usize>,
    /// Statistics ops that read each input of the model.
    pub inputs_summed_by: Vec<Vec<usize>>,
    /// Place of every tensor.
    pub values: Vec<Slot>,
    /// Place of the gradients of the same tensors.
    pub grads: Vec<Slot>,
    pub saved_len: usize,
    /// Lowered whose outputs the loss is charged for.
    pub activities: usize,
    /// Numbers of all parts of sums.
    pub sums_len: usize,
    /// Samples of a chunk.
    pub chunk: usize,
    /// Gradients summed over all chunks.
    pub partials: usize,
    /// Start of the workers' own parts, the size of each, and where the sums of weight gradients are in it.
    pub local: usize,
    pub local_len: usize,
    pub local_sums: usize,
    /// Elements of a buffer for the partial gradients of a stack; the buffers come after the workers' parts.
    pub buffer_len: usize,
    pub forward: Vec<Vec<(Work, usize)>>,
    pub loss: Vec<(Work, usize)>,
    pub backward: Vec<Vec<(Work, usize)>>,
    /// What is changed together with the weights; further calls of a layer follow the first one.
    pub commits: Vec<Vec<(Work, usize)>>,
}

impl StepPlan {
    /// Plans phases and memory.
    pub fn new<T: Element>(lowered: &Lowered<T>, batch: usize, purpose: Purpose) -> Self {
        let train = purpose != Purpose::Infer;
        let (mut active, outputs) = active_ops(lowered, purpose);
        let (mut saved_len, mut activities) = (0, 0);
        let shared = shared(lowered, batch, train);
        for op in &mut active {
            let planned = &lowered.ops[op.op];
            op.split = Split::new(planned.op.as_ref(), batch, planned.sums.len()).filter(|_| shared);
            op.activity = planned.op.activity().map(|_| activities);
            activities += usize::from(op.activity.is_some());
            op.saved = saved_len;
            saved_len += if train { lowered.ops[op.op].op.keeps().saved * batch } else { 0 };
        }
        let readers = |tensor: usize| {
            let sums = |i: &usize| {
                let op = &active[*i];
                train && lowered.ops[op.op].op.statistics().is_some() && op.inputs == [tensor]
            };
            (0..active.len()).filter(sums).collect::<Vec<_>>()
        };
        let inputs_summed_by = (0..lowered.inputs).map(readers).collect();
        let summed: Vec<Vec<usize>> = active.iter().map(|op| readers(op.output)).collect();
        active.iter_mut().zip(summed).for_each(|(op, by)| op.summed_by = by);
        let mut step_plan = Self {
            batch,
            purpose,
            active,
            outputs,
            inputs_summed_by,
            values: Vec::new(),
            grads: Vec::new(),
            saved_len,
            activities,
            sums_len: 0,
            chunk: if train { chunk_samples(lowered, batch) } else { batch },
            partials: 0,
            local: 0,
            local_len: 0,
            local_sums: 0,
            buffer_len: 0,
            forward: Vec::new(),
            loss: Vec::new(),
            backward: Vec::new(),
            commits: Vec::new(),
        };
        let loss = |output| (Work::Loss { output }, batch.div_ceil(step_plan.loss_samples(lowered, output)));
        step_plan.loss = (0..lowered.outputs.len()).map(loss).collect();
        let stages = step_plan.cut(lowered);
        step_plan.place(lowered, &stages);
        step_plan.plan_forward(lowered, &stages);
        if train {
            step_plan.plan_backward(lowered, &stages);
        }
        step_plan
    }

    fn op<'a, T: Element>(&self, lowered: &'a Lowered<T>, i: usize) -> &'a dyn Op<T> {
        lowered.ops[self.active[i].op].op.as_ref()
    }

    /// Whether active op `i` waits for statistics of the batch.
    fn waits<T: Element>(&self, lowered: &Lowered<T>, i: usize) -> bool {
        self.purpose != Purpose::Infer && i < self.active.len() && self.op(lowered, i).statistics().is_some()
    }

    /// Whether active op `i` is a custom layer's.
    pub fn is_custom<T: Element>(&self, lowered: &Lowered<T>, i: usize) -> bool {
        i < self.active.len() && self.op(lowered, i).custom().is_some()
    }

    /// Whether active op `i` works on the whole batch: at inference, one does only for the sake of its maps.
    pub fn is_batch<T: Element>(&self, lowered: &Lowered<T>, i: usize) -> bool {
        let train = self.purpose != Purpose::Infer;
        self.op(lowered, i).batch().is_some_and(|op| train || op.maps_batch())
    }

    /// Cuts the ops into stacks and those that stand alone. The first stage is a stack, even if it is empty: it gathers the inputs.
    /// Before an op that waits there is a stack as well, which is where its backward pass ends.
    fn cut<T: Element>(&self, lowered: &Lowered<T>) -> Vec<Stage> {
        let mut stages = Vec::new();
        let mut start = 0;
        for i in 0..=self.active.len() {
            let batch = i < self.active.len() && self.is_batch(lowered, i);
            let split = self.active.get(i).is_some_and(|op| op.split.is_some());
            let waits = self.waits(lowered, i);
            let custom = self.is_custom(lowered, i);
            if !(batch || split || custom || waits || i == self.active.len()) {
                continue;
            }
            if start < i || stages.is_empty() || waits {
                stages.extend(self.regrouped(lowered, start..i).into_iter().map(Stage::Stack));
            }
            start = i;
            if batch || split || custom {
                stages.push(match (split, batch) {
                    (true, _) => Stage::Split(i),
                    (_, true) => Stage::Batch(i),
                    _ => Stage::Custom(i),
                });
                start = i + 1;
            }
        }
        stages
    }

    /// Samples that a stage writes together.
    fn written<T: Element>(&self, lowered: &Lowered<T>, stage: &Stage) -> usize {
        match stage {
            Stage::Split(_) => 1,
            Stage::Custom(_) => self.batch,
            Stage::Stack(range) => self.groups(lowered, range)[0],
            Stage::Batch(i) => self.block(self.op(lowered, *i)),
        }
    }

    /// Samples, chunk by chunk, of which the statistics of the batch are put together.
    pub fn chunks(&self) -> usize {
        self.batch.div_ceil(self.chunk.max(1))
    }

    fn plan_forward<T: Element>(&mut self, lowered: &Lowered<T>, stages: &[Stage]) {
        for stage in stages {
            let tasks = self.grouped(self.written(lowered, stage));
            match stage {
                Stage::Stack(range) => {
                    if range.start < range.end && self.waits(lowered, range.start) {
                        self.forward.push(vec![(Work::FinalizeStatistics { op: range.start }, 1)]);
                        let round = lowered.ops[self.active[range.start].op].call;
                        self.commits.resize_with(self.commits.len().max(round + 1), Vec::new);
                        self.commits[round].push((Work::Commit { op: range.start }, 1));
                    }
                    // An empty stack runs only where it gathers the input.
                    if !range.is_empty() || range.end == 0 {
                        let [group, _] = self.groups(lowered, range);
                        let work = Work::Forward { from: range.start, to: range.end, group };
                        self.forward.push(vec![(work, tasks)]);
                    }
                }
                Stage::Batch(i) => self.forward.push(vec![(Work::BatchForward { op: *i }, tasks)]),
                Stage::Custom(i) => self.forward.push(vec![(Work::Custom { op: *i }, 1)]),
                Stage::Split(i) => {
                    self.forward.push(vec![(Work::SplitForward { op: *i }, self.split_tasks(*i, FORWARD))]);
                    if !self.active[*i].summed_by.is_empty() {
                        self.forward.push(vec![(Work::SumInputs { op: *i }, tasks)]);
                    }
                }
            }
        }
    }

    /// Tasks of all samples of a split op, in one of the passes.
    fn split_tasks(&self, i: usize, pass: usize) -> usize {
        self.batch * self.active[i].split.as_ref().map_or(0, |split| split.maps[pass].count())
    }

    fn plan_backward<T: Element>(&mut self, lowered: &Lowered<T>, stages: &[Stage]) {
        let mut phases: Vec<Vec<(Work, usize)>> = Vec::new();
        // Weight gradients of a batch op or a split one run together with whatever comes after the input gradient: before
        // it, because they are the longest tasks, and whoever ends one late would keep all others waiting.
        let mut pending: Option<(Work, usize)> = None;
        for stage in stages.iter().rev() {
            let mut phase = Vec::new();
            match stage {
                Stage::Batch(i) if self.active[*i].backward => {
                    let tasks = self.grouped(self.written(lowered, stage));
                    phase.extend(pending.take());
                    phase.push((Work::BatchBackward { op: *i }, tasks));
                    pending = self.batch_grad(lowered, *i, &mut phase, &mut phases);
                }
                Stage::Split(i) if self.active[*i].backward => {
                    if self.op(lowered, *i).masks_by_sign() {
                        phases.push(vec![(Work::SplitMask { op: *i }, self.split_tasks(*i, FORWARD))]);
                    }
                    let tasks = self.active[*i].split.as_ref().map_or(0, Split::grad_tasks);
                    let grad = (Work::SplitGrad { op: *i }, self.chunks() * tasks);
                    if self.op(lowered, *i).batch().is_some() {
                        phase.extend(pending.take());
                        phase.push((Work::SplitBackward { op: *i }, self.split_tasks(*i, BACKWARD)));
                        pending = self.batch_grad(lowered, *i, &mut phase, &mut phases);
                    } else if self.active[*i].flows[0] == Flow::None {
                        phase.extend(pending.take());
                        phase.push(grad);
                    } else {
                        phase.extend(pending.replace(grad));
                        phase.push((Work::SplitBackward { op: *i }, self.split_tasks(*i, BACKWARD)));
                    }
                }
                Stage::Custom(i) if self.active[*i].backward => {
                    phase.push((Work::CustomBackward { op: *i }, 1));
                }
                Stage::Stack(range) if self.runs_backward(lowered, range) => {
                    let [_, group] = self.groups(lowered, range);
                    let work = Work::Backward { from: range.start, to: range.end, group };
                    phase.extend(pending.take());
                    phase.push((work, self.chunks()));
                }
                _ => continue,
            }
            phases.push(phase);
            if let Stage::Stack(range) = stage
                && !range.is_empty()
                && self.waits(lowered, range.start)
                && self.active[range.start].backward
            {
                phases.push(vec![(Work::FinalizeGradients { op: range.start }, 1)]);
            }
        }
        if let Some((Work::SplitGrad { .. }, _)) = pending {
            // Nothing came, and its sums are reduced next.
            phases.push(pending.take().into_iter().collect());
        }
        let reduce = lowered.partials.iter().enumerate();
        let mut last: Vec<(Work, usize)> = reduce
            .map(|(part, partial)| {
                (Work::Reduce { part }, partial.target.len().div_ceil(UPDATE_TASK_ELEMENTS))
            })
            .collect();
        last.splice(0..0, pending);
        phases.push(last);
        self.backward = phases;
    }

    /// The weight gradient of a batch op, which runs with whatever comes next; a phase of its own where it adds to what
    /// others write.
    fn batch_grad<T: Element>(
        &self,
        lowered: &Lowered<T>,
        i: usize,
        phase: &mut Vec<(Work, usize)>,
        phases: &mut Vec<Vec<(Work, usize)>>,
    ) -> Option<(Work, usize)> {
        let grad = (Work::Grad { op: i }, self.op(lowered, i).batch().map_or(0, |b| b.grad_tasks()));
        if !lowered.ops[self.active[i].op].shared {
            return Some(grad);
        }
        phases.push(std::mem::replace(phase, vec![grad]));
        None
    }

    /// Whether a stack has anything to do backward: ops of its own, or the end of one that waits after it.
    fn runs_backward<T: Element>(&self, lowered: &Lowered<T>, range: &Range<usize>) -> bool {
        let ends = self.waits(lowered, range.end) && self.active[range.end].flows[0] != Flow::None;
        ends || range.clone().any(|i| self.active[i].backward)
    }

    /// Samples of a task of the loss at an output.
    pub fn loss_samples<T: Element>(&self, lowered: &Lowered<T>, output: usize) -> usize {
        let len = lowered.lens[self.outputs[output]].max(1);
        cuts::even_task_within(self.batch, (LOSS_ELEMENTS / len).clamp(1, LOSS_SAMPLES))
    }

    /// Buffers for partial gradients that a number of workers take: those that chunks are summed in, those that wait for
    /// their neighbours up the tree, and as many again for workers that are late. With any number from one more than the
    /// levels of the tree on a step goes on.
    pub fn buffers(&self, workers: usize) -> usize {
        let leaves = self.chunks();
        leaves.min(2 * workers + leaves.next_power_of_two().ilog2() as usize)
    }

    /// Where a buffer for partial gradients starts.
    pub fn buffer(&self, buffer: usize, workers: usize) -> usize {
        self.local + self.local_len * workers + self.buffer_len * buffer
    }

    /// Elements of the arena for a number of workers.
    pub fn arena_len(&self, workers: usize) -> usize {
        self.buffer(self.buffers(workers), workers)
    }
}

/// The ops that run, and the tensors that are the outputs. What is left out passes its input on.
fn active_ops<T: Element>(lowered: &Lowered<T>, purpose: Purpose) -> (Vec<Active>, Vec<usize>) {
    let train = purpose != Purpose::Infer;
    let folded = if train { Default::default() } else { lowered.folded() };
    let mut stands_for: Vec<usize> = (0..lowered.lens.len()).collect();
    // Tensors whose gradient an earlier op wants.
    let mut wanted = vec![purpose == Purpose::Inspect; lowered.lens.len()];
    let mut active: Vec<Active> = Vec::new();
    for (number, PlannedOp { op, inputs, output, folds, inference, .. }) in lowered.ops.iter().enumerate() {
        let inputs: Vec<usize> = inputs.iter().map(|&t| stands_for[t]).collect();
        if folded.contains(&number) || ((!train || *inference) && op.idle_at_inference()) {
            stands_for[*output] = inputs[0];
            continue;
        }
        wanted[*output] |= train && (!op.weights().is_empty() || inputs.iter().any(|&t| wanted[t]));
        let flow = |t: &usize| if wanted[*t] { Flow::Write } else { Flow::None };
        let norm = folds.filter(|_| !train).and_then(|norm| lowered.ops[norm].op.statistics());
        active.push(Active {
            op: number,
            flows: inputs.iter().map(flow).collect(),
            inputs,
            output: *output,
            backward: wanted[*output],
            saved: 0,
            folded: norm.map(|statistics| FoldedNorm { relu: statistics.relu() }),
            statistics: None,
            summed_by: Vec::new(),
            activity: None,
            split: None,
        });
    }
    (active, lowered.outputs.iter().map(|&tensor| stands_for[tensor]).collect())
}

/// Blocks of a flat buffer: `(block, of how many)` as a range inside `range`.
pub(super) fn flat_block(range: &Range<usize>, block: usize) -> Range<usize> {
    let start = range.start + block * UPDATE_TASK_ELEMENTS;
    start..(start + UPDATE_TASK_ELEMENTS).min(range.end)
}

/// Blocks that a range of a flat buffer is cut into.
pub(super) fn flat_blocks(range: &Range<usize>) -> usize {
    range.len().div_ceil(UPDATE_TASK_ELEMENTS)
}
