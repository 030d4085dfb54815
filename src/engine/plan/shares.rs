//! How many samples are worked on at a time: groups of a stack, chunks of the weight gradients, blocks of a batch op.
//! All of it follows from shapes and the batch.

use std::ops::Range;

use super::super::layers::Op;
use super::super::lowering::Lowered;
use super::{Purpose, StepPlan};
use crate::kernels::Element;
use crate::tuning::{L2_GROUP_BYTES, STEP_PARTIAL_BYTES, TWO_TILES_ROWS};

/// Groups of a batch, if it is large enough.
const GROUPS: usize = 16;
/// Most samples of a group.
const MOST_GROUP: usize = 8;
/// Cost of adding an element of a partial gradient, in multiply-adds.
const REDUCE_COST: usize = 400;

impl StepPlan {
    /// Samples that some ops could work on together, or the gathering of the inputs if there are none: as many as fit,
    /// and as a task has at most.
    fn fitting<T: Element>(&self, lowered: &Lowered<T>, range: &Range<usize>, most: usize) -> usize {
        let tensors = |i: usize| self.active[i].inputs.iter().chain([&self.active[i].output]);
        let largest = range
            .clone()
            .flat_map(tensors)
            .map(|&t| lowered.lens[t])
            .max()
            .unwrap_or_else(|| lowered.lens[..lowered.inputs].iter().copied().max().unwrap_or(1));
        (L2_GROUP_BYTES / (2 * largest.max(1) * size_of::<T>())).clamp(1, MOST_GROUP).min(most.max(1))
    }

    /// Samples of a group of a stack, forward and backward.
    pub(super) fn groups<T: Element>(&self, lowered: &Lowered<T>, range: &Range<usize>) -> [usize; 2] {
        [self.batch.div_ceil(GROUPS), self.chunk].map(|most| self.fitting(lowered, range, most))
    }

    /// Cuts a stack, in training, where convolutions follow of which twice as many samples fit: after a pool maps are
    /// small, and what a single one adds to the sums of a kernel gradient is hardly worth reading and writing them.
    pub(super) fn regrouped<T: Element>(
        &self,
        lowered: &Lowered<T>,
        stack: Range<usize>,
    ) -> Vec<Range<usize>> {
        let mut stacks = vec![stack.clone()];
        if self.purpose == Purpose::Infer {
            return stacks;
        }
        for i in stack.start + 1..stack.end {
            let rest = i..stack.end;
            let gains = rest.clone().any(|i| self.op(lowered, i).split().is_some());
            if let Some(last) = stacks.last_mut()
                && gains
                && self.fitting(lowered, &rest, self.chunk) >= 2 * self.fitting(lowered, last, self.chunk)
            {
                last.end = i;
                stacks.push(rest);
            }
        }
        stacks
    }
}

/// Samples of a batch op's task: equal shares of a batch, and an even number of them.
pub(in crate::engine) fn batch_samples<T: Element>(op: &dyn Op<T>, batch: usize) -> usize {
    let tasks = batch.div_ceil(TWO_TILES_ROWS.div_ceil(op.positions().max(1)));
    batch.div_ceil(if tasks > 1 { tasks.next_multiple_of(2) } else { 1 })
}

/// Samples whose weight gradients are summed in one buffer before the buffers are.
///
/// With `W` weights used at `P` positions each and `S` sums for them, a chunk of g samples costs `g * sum(W P)` and what
/// its sums take besides `REDUCE_COST / 50 * sum(S)` multiply-adds or so: the rule keeps that to two percent, between 8
/// and 64 chunks, within the memory allowed.
pub(super) fn chunk_samples<T: Element>(lowered: &Lowered<T>, batch: usize) -> usize {
    let (mut sums, mut work) = (0, 0);
    for planned in lowered.ops.iter().filter(|p| !p.partial.is_empty()) {
        sums += planned.sums.len();
        work += planned.partial.len() * planned.op.positions();
    }
    let cheap = (REDUCE_COST * sums).div_ceil(work.max(1));
    let chunk = cheap.clamp(batch.div_ceil(64).max(1), batch.div_ceil(8).max(1));
    let most = (STEP_PARTIAL_BYTES / (lowered.partial_len * size_of::<T>()).max(1)).max(1);
    let chunks = batch.div_ceil(chunk).min(most);
    // Equal shares for two threads and for four.
    batch.div_ceil(if chunks > 4 { chunks - chunks % 4 } else { chunks })
}
