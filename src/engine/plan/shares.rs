//! How many samples are worked on at a time: groups of a stack, chunks of the weight gradients, blocks of a batch op.
//! All of it follows from shapes and the batch.

use std::ops::Range;

use super::super::layers::Op;
use super::super::lowering::Lowered;
use super::{Purpose, StepPlan};
use crate::cuts;
use crate::kernels::Element;
use crate::tuning::step::{
    CHUNKS, MANY_SAMPLES, MOST_GROUP, MOST_PARTS, PART_SAMPLES, REDUCE_COST, SOME_SAMPLES,
};
use crate::tuning::{FOUR_TILES_ROWS, L2_GROUP_BYTES, TASKS, TWO_TILES_ROWS};

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
        let most = self.batch.div_ceil(TASKS).min(self.chunk);
        [most, self.chunk].map(|most| self.fitting(lowered, range, most))
    }

    /// Samples of a batch op's task: equal shares of a batch, and an even number of them; in training equal parts of a
    /// chunk, or several chunks.
    pub fn block<T: Element>(&self, op: &dyn Op<T>) -> usize {
        // Weights that are large beside the map are read for as many positions as hide that.
        let rows = if op.split().is_some() { 2 * FOUR_TILES_ROWS } else { TWO_TILES_ROWS };
        let least = op.batch().map_or(1, |op| op.least_samples());
        let of_rows = |rows: usize| self.batch.div_ceil(rows.div_ceil(op.positions().max(1)).max(least));
        let tasks = match of_rows(rows) {
            // With half the rows the reading is hidden in part only, but there is work for twice the threads.
            few if few < TASKS && self.batch >= SOME_SAMPLES => of_rows(rows / 2),
            enough => enough,
        };
        let tasks = if tasks > 1 || op.split().is_some() { tasks.next_multiple_of(2) } else { 1 };
        let block = cuts::even_task(self.batch, tasks);
        if block > self.chunk {
            return block / self.chunk * self.chunk;
        }
        // A last part of a sample or two would read the weights as often as the others.
        let parts = (2 * self.chunk + block) / (2 * block).max(1);
        cuts::even_task(self.chunk, parts)
    }

    /// Chunks, a power of two of them, whose samples the weight gradient of a batch op goes through in one chain. Sums of
    /// these are added up the tree of chunks, so that ranks can do without each other's samples.
    pub fn grad_part<T: Element>(&self, op: &dyn Op<T>) -> usize {
        let chunks = self.chunks().next_power_of_two();
        let Some(positions) = op.batch().and_then(|op| op.part_positions()) else { return chunks };
        let paying = (self.batch * op.positions() / positions).min(self.batch / PART_SAMPLES);
        (chunks >> paying.clamp(1, MOST_PARTS).ilog2()).max(1)
    }

    /// Tasks of `group` samples each, none of which crosses a chunk unless it has several whole ones.
    pub fn grouped(&self, group: usize) -> usize {
        let whole = self.chunk.max(group).max(1);
        self.batch / whole * whole.div_ceil(group) + (self.batch % whole).div_ceil(group)
    }

    /// The samples of task number `task` of these.
    pub fn group(&self, task: usize, group: usize) -> Range<usize> {
        let whole = self.chunk.max(group).max(1);
        let per = whole.div_ceil(group);
        let (chunk, first) = (task / per * whole, task % per * group);
        chunk + first..(chunk + (first + group).min(whole)).min(self.batch)
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

/// Samples of a chunk, whose weight gradients are summed in one buffer before the buffers are, up a binary tree.
///
/// The number of chunks is a power of two, by shapes and the batch alone: however many threads or hosts share them, they
/// add the same nodes. With `W` weights used at `P` positions each and `S` sums for them, a chunk of g samples costs
/// `g * sum(W P)` and what its sums take besides `REDUCE_COST / 50 * sum(S)` multiply-adds or so: the rule keeps that to
/// two percent where it can. No memory is limited here: sums move up the tree as chunks end (`run/tree.rs`).
pub(super) fn chunk_samples<T: Element>(lowered: &Lowered<T>, batch: usize) -> usize {
    let (mut sums, mut work) = (0, 0);
    for planned in lowered.ops.iter().filter(|p| !p.partial.is_empty()) {
        sums += planned.sums.len();
        work += planned.partial.len() * planned.op.positions();
    }
    let [fewest, most] = CHUNKS;
    let fewest = if batch >= SOME_SAMPLES { 2 * fewest } else { fewest };
    let cheap = (REDUCE_COST * sums).div_ceil(work.max(1)).max(1);
    let wanted = if batch >= MANY_SAMPLES { most } else { (batch / cheap).clamp(fewest, most) };
    batch.div_ceil(1 << wanted.ilog2())
}
