//! Plans: the steps of a model for one input shape, and for a batch size and purpose the phases and the memory.
//!
//! Everything here depends on shapes, batch size and purpose, and on nothing else; that is what makes results equal
//! for every number of threads.

use std::ops::Range;

use super::layers::{Layer, Site, Step};
use crate::error::Result;
use crate::kernels::{Element, Kernels};
use crate::parallel::Shared;

/// Memory that a group of samples should fit, values and gradients of its largest layers: a share of L2.
const GROUP_BYTES: usize = 256 << 10;
/// Groups of a batch, if it is large enough.
const GROUPS: usize = 16;
/// Most samples of a group.
const MOST_GROUP: usize = 8;
/// Rows of a batch step's task: two tiles of the largest tier.
const BATCH_ROWS: usize = 28;
/// Memory for the partial weight gradients of all chunks together.
const PARTIAL_BYTES: usize = 32 << 20;
/// Cost of adding an element of a partial gradient, in multiply-adds.
const REDUCE_COST: usize = 400;
/// Weights that a task of the reduction or of the optimizer handles.
const FLAT_TASK: usize = 8192;
/// Samples of a task of the loss.
const LOSS_SAMPLES: usize = 16;
/// Alignment of tensors in the arena, in elements.
const LINE: usize = 16;

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Outputs only: every tensor that is not needed any more makes room.
    Infer,
    /// Outputs, gradients and update: what gradients are computed from is kept.
    Train,
}

/// A step and its places in the shared buffers.
pub(super) struct Planned<T: Element> {
    pub step: Box<dyn Step<T>>,
    /// Number of the layer it belongs to.
    pub layer: usize,
    /// Its packed weights for the forward and the backward pass.
    pub packed: [Range<usize>; 2],
    /// Its weight gradient in a chunk's partial gradients; empty for batch steps.
    pub partial: Range<usize>,
}

/// The steps of a model for one input shape.
pub(super) struct Steps<T: Element> {
    pub steps: Vec<Planned<T>>,
    /// Elements of a sample at the input and behind every step.
    pub lens: Vec<usize>,
    /// Sizes of the output, without the batch.
    pub output_shape: Vec<usize>,
    /// Packed weights of all steps, for the forward and for the backward pass.
    pub packed: [Shared<T>; 2],
    /// Version of the parameters that they were packed from.
    pub packed_version: [u64; 2],
    /// Parts of a chunk's partial gradients and where they belong in the flat gradient.
    pub partials: Vec<(Range<usize>, Range<usize>)>,
    /// Elements of a chunk's partial gradients.
    pub partial_len: usize,
}

/// A layer at its place in the model.
pub(super) struct Placed<'a, T: Element> {
    pub layer: &'a dyn Layer<T>,
    pub name: &'a str,
    pub index: usize,
    pub weights: &'a [Range<usize>],
}

impl<T: Element> Steps<T> {
    /// Plans all layers for an input.
    pub fn new<'a>(
        layers: impl Iterator<Item = Placed<'a, T>>,
        input: &[usize],
        kernels: &'static Kernels<T>,
    ) -> Result<Self> {
        let mut planned: Vec<Planned<T>> = Vec::new();
        let mut shape = input.to_vec();
        let mut packed = [0, 0];
        let (mut partials, mut partial_len) = (Vec::new(), 0);
        for Placed { layer, name, index, weights } in layers {
            let site = Site { input: &shape, weights, kernels, layer: index };
            for mut step in layer.steps(&site).map_err(|error| error.in_layer(name))? {
                if let Some(front) = planned.last_mut()
                    && front.step.masks_by_sign()
                    && step.take_mask()
                {
                    front.step.leave_mask();
                }
                let lens = step.packed_len();
                let place = |pass: usize| packed[pass]..packed[pass] + lens[pass];
                let places = [place(0), place(1)];
                packed = [0, 1].map(|pass| (packed[pass] + lens[pass]).next_multiple_of(LINE));
                let first = partial_len;
                if step.batch().is_none() {
                    for weight in step.weights() {
                        partials.push((partial_len..partial_len + weight.len(), weight.clone()));
                        partial_len += weight.len();
                    }
                }
                planned.push(Planned { step, layer: index, packed: places, partial: first..partial_len });
            }
            let known: Vec<_> = shape.iter().map(|&n| Some(n)).collect();
            let output = layer.output_shape(&known).map_err(|error| error.in_layer(name))?;
            shape = output.into_iter().flatten().collect();
        }
        let lens = std::iter::once(input.iter().product())
            .chain(planned.iter().map(|p| p.step.output_len()))
            .collect();
        Ok(Self {
            steps: planned,
            lens,
            output_shape: shape,
            packed: [Shared::zeroed(packed[0])?, Shared::zeroed(packed[1])?],
            packed_version: [0, 0],
            partials,
            partial_len,
        })
    }

    /// Multiply-adds of a sample, roughly: every weight at every position.
    pub fn macs(&self) -> usize {
        let of = |p: &Planned<T>| p.step.weights().iter().map(Range::len).sum::<usize>() * p.step.positions();
        self.steps.iter().map(of).sum()
    }

    /// The tasks that pack the weights for a pass.
    pub fn pack_work(&self, pass: usize) -> impl Iterator<Item = (Work, usize)> {
        let packs = move |step: &usize| !self.steps[*step].packed[pass].is_empty();
        (0..self.steps.len()).filter(packs).map(move |step| (Work::Pack { step, pass }, 1))
    }

    /// Bytes of the packed weights.
    pub fn bytes(&self) -> usize {
        (self.packed[0].len() + self.packed[1].len()) * size_of::<T>()
    }
}

/// Where a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere: nobody needs it.
    None,
    /// All samples of the batch, from this offset on.
    Batch(usize),
    /// The samples of a group, in the worker's own part.
    Local(usize),
}

/// Independent tasks of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Packs the weights of a step for a pass.
    Pack { step: usize, pass: usize },
    /// Runs a stack of steps forward, a task per group of samples.
    Forward { from: usize, to: usize },
    /// Runs a batch step forward, a task per block of samples.
    BatchForward { step: usize },
    /// Computes losses, metrics and the gradient of the output.
    Loss,
    /// Adds up what samples have left for a loss of the whole batch.
    Fold,
    /// Computes the gradient of the output where that takes all samples' scores.
    Slope,
    /// Computes the input gradient of a batch step, a task per block of samples.
    BatchBackward { step: usize },
    /// Computes the weight gradient of a batch step, a task per block of weights.
    Grad { step: usize },
    /// Runs a stack of steps backward, a task per chunk of samples.
    Backward { from: usize, to: usize },
    /// Sums the chunks' partial gradients.
    Reduce { part: usize },
    /// Makes the gradients final for the optimizer, a task per block.
    Prepare,
    /// Finds by how much gradients are clipped.
    Clip,
    /// Updates the weights, a task per block.
    Update,
}

/// Phases and memory of a batch size and purpose.
#[derive(Debug)]
pub(super) struct Schedule {
    pub batch: usize,
    pub purpose: Purpose,
    /// Steps that run, by number; dropout and its like are left out at inference.
    pub active: Vec<usize>,
    /// Place of the value in front of every active step and behind the last.
    pub values: Vec<Place>,
    /// Place of the gradients of the same tensors.
    pub grads: Vec<Place>,
    /// First byte of the notes of every active step.
    pub notes: Vec<usize>,
    pub notes_len: usize,
    /// Samples of a group and of a chunk.
    pub group: usize,
    pub chunk: usize,
    /// Chunks' partial gradients.
    pub partials: usize,
    /// First active step whose weights want gradients: in front of it nothing flows back.
    pub first_weighted: usize,
    /// Start of the workers' own parts, and the size of each.
    pub local: usize,
    pub local_len: usize,
    pub forward: Vec<Vec<(Work, usize)>>,
    pub loss: Vec<(Work, usize)>,
    pub backward: Vec<Vec<(Work, usize)>>,
}

/// Hands out places in the order in which they are asked for.
#[derive(Default)]
struct Places(usize);

impl Places {
    fn take(&mut self, len: usize) -> usize {
        let place = self.0;
        // Tensors are staggered by a line, so that powers of two do not meet in the same sets of a cache.
        self.0 += len.next_multiple_of(LINE) + LINE;
        place
    }
}

impl Schedule {
    /// Plans phases and memory.
    pub fn new<T: Element>(steps: &Steps<T>, batch: usize, purpose: Purpose) -> Self {
        let train = purpose == Purpose::Train;
        let active: Vec<usize> =
            (0..steps.steps.len()).filter(|&i| train || !steps.steps[i].step.idle_at_inference()).collect();
        let n = active.len();
        let step = |i: usize| steps.steps[active[i]].step.as_ref();
        let len = |tensor: usize| if tensor == 0 { steps.lens[0] } else { step(tensor - 1).output_len() };
        let is_batch = |i: usize| step(i).batch().is_some();
        let first_weighted = (0..n).find(|&i| !step(i).weights().is_empty()).unwrap_or(n);
        let largest = (0..=n).map(len).max().unwrap_or(1).max(1);
        let group = (GROUP_BYTES / (2 * largest * size_of::<T>()))
            .clamp(1, MOST_GROUP)
            .min(batch.div_ceil(GROUPS))
            .max(1);

        // The stacks: runs of steps that work sample by sample. The first one gathers the input, even if it is empty.
        let mut stacks: Vec<Range<usize>> = Vec::new();
        let mut start = 0;
        for i in 0..=n {
            if i == n || is_batch(i) {
                if start < i || start == 0 {
                    stacks.push(start..i);
                }
                start = i + 1;
            }
        }
        let edge = |t: usize| t == n || is_batch(t) || (t > 0 && is_batch(t - 1));
        let kept = |t: usize| {
            let read_behind = t < n && t >= first_weighted && step(t).keeps().input;
            let read_in_front = t > first_weighted && step(t - 1).keeps().output;
            train && (read_behind || read_in_front)
        };

        let mut shared = Places::default();
        let mut values: Vec<Place> = (0..=n)
            .map(|t| if edge(t) || kept(t) { Place::Batch(shared.take(len(t) * batch)) } else { Place::None })
            .collect();
        let flows = |t: usize| train && t > first_weighted;
        let mut grads: Vec<Place> = (0..=n)
            .map(
                |t| if flows(t) && edge(t) { Place::Batch(shared.take(len(t) * batch)) } else { Place::None },
            )
            .collect();

        // Inside a stack a local tensor lives from the step that writes it to the step that reads it: neighbours
        // alternate between two places.
        let mut local = Places::default();
        let size = |t: usize| len(t) * group;
        for (places, wanted) in [(&mut values, None), (&mut grads, Some(&flows))] {
            let open: Vec<usize> = (0..=n)
                .filter(|&t| places[t] == Place::None && wanted.is_none_or(|wanted| wanted(t)))
                .collect();
            let widest = |parity: usize| open.iter().filter(|&&t| t % 2 == parity).map(|&t| size(t)).max();
            let at = [0, 1].map(|parity| widest(parity).map_or(0, |n| local.take(n)));
            for &t in &open {
                places[t] = Place::Local(at[t % 2]);
            }
        }

        let mut notes_len = 0;
        let notes = (0..n)
            .map(|i| {
                let start = notes_len;
                notes_len += if train { step(i).keeps().notes * batch } else { 0 };
                start
            })
            .collect();

        let chunk = if train { chunk_samples(steps, batch) } else { batch };
        let chunks = batch.div_ceil(chunk.max(1));
        let partials = shared.take(if train { chunks * steps.partial_len } else { 0 });
        let mut schedule = Self {
            batch,
            purpose,
            values,
            grads,
            notes,
            notes_len,
            group,
            chunk,
            partials,
            first_weighted,
            local: shared.0,
            local_len: local.0,
            forward: Vec::new(),
            loss: vec![(Work::Loss, batch.div_ceil(LOSS_SAMPLES))],
            backward: Vec::new(),
            active,
        };
        schedule.plan_phases(steps, &stacks);
        schedule
    }

    fn plan_phases<T: Element>(&mut self, steps: &Steps<T>, stacks: &[Range<usize>]) {
        let blocks = |i: usize| {
            let step = steps.steps[self.active[i]].step.as_ref();
            self.batch.div_ceil(batch_samples(step))
        };
        let n = self.active.len();
        let mut next = 0;
        let mut order: Vec<Work> = Vec::new();
        for stack in stacks {
            order.extend((next..stack.start).map(|step| Work::BatchForward { step }));
            order.push(Work::Forward { from: stack.start, to: stack.end });
            next = stack.end;
        }
        order.extend((next..n).map(|step| Work::BatchForward { step }));
        let mut backward: Vec<Vec<(Work, usize)>> = Vec::new();
        // Weight gradients of a batch step run together with whatever comes after its input gradient.
        let mut pending: Option<(Work, usize)> = None;
        for work in order.iter().rev() {
            let mut phase = Vec::new();
            match *work {
                Work::BatchForward { step } if step >= self.first_weighted => {
                    phase.push((Work::BatchBackward { step }, blocks(step)));
                    phase.extend(pending.take());
                    let tasks = steps.steps[self.active[step]].step.batch().map_or(0, |b| b.grad_tasks());
                    pending = Some((Work::Grad { step }, tasks));
                }
                Work::Forward { from, to } if to > self.first_weighted => {
                    let from = from.max(self.first_weighted);
                    phase.push((Work::Backward { from, to }, self.batch.div_ceil(self.chunk)));
                    phase.extend(pending.take());
                }
                _ => continue,
            }
            backward.push(phase);
        }
        let reduce = steps.partials.iter().enumerate();
        let mut last: Vec<(Work, usize)> = reduce
            .map(|(part, (range, _))| (Work::Reduce { part }, range.len().div_ceil(FLAT_TASK)))
            .collect();
        last.extend(pending);
        backward.push(last);
        self.forward = order
            .into_iter()
            .map(|work| match work {
                Work::BatchForward { step } => vec![(work, blocks(step))],
                _ => vec![(work, self.batch.div_ceil(self.group))],
            })
            .collect();
        self.backward = backward;
    }

    /// Elements of the arena for a number of workers.
    pub fn arena_len(&self, workers: usize) -> usize {
        self.local + self.local_len * workers
    }
}

/// Samples of a batch step's task.
pub(super) fn batch_samples<T: Element>(step: &dyn Step<T>) -> usize {
    BATCH_ROWS.div_ceil(step.positions().max(1))
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

/// Samples whose weight gradients are summed in one buffer before the buffers are.
///
/// With `W` weights used at `P` positions each, a chunk of g samples costs `g * sum(W P)` and its reduction
/// `REDUCE_COST / 50 * sum(W)` multiply-adds or so: the rule keeps that to two percent, between 8 and 64 chunks, within the
/// memory allowed.
fn chunk_samples<T: Element>(steps: &Steps<T>, batch: usize) -> usize {
    let (mut weights, mut work) = (0, 0);
    for planned in steps.steps.iter().filter(|p| p.step.batch().is_none()) {
        let len: usize = planned.step.weights().iter().map(Range::len).sum();
        weights += len;
        work += len * planned.step.positions();
    }
    let cheap = (REDUCE_COST * weights).div_ceil(work.max(1));
    let chunk = cheap.clamp(batch.div_ceil(64).max(1), batch.div_ceil(8).max(1));
    let most = (PARTIAL_BYTES / (weights * size_of::<T>()).max(1)).max(1);
    chunk.max(batch.div_ceil(most))
}
