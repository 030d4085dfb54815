//! Lowered whose samples are cut: the tasks of their phases.

use std::ops::Range;

use super::super::layers::SplitOp;
use super::super::lowering::{BACKWARD, FORWARD, INFERENCE};
use super::super::plan::{Flow, Split};
use super::{Add, StepProgram};
use crate::kernels::Element;
use crate::parallel::lock;

/// Some elements of a range.
fn inside(range: &Range<usize>, part: &Range<usize>) -> Range<usize> {
    range.start + part.start..range.start + part.end
}

impl<T: Element> StepProgram<'_, '_, T> {
    /// A split op and how it is cut.
    fn cut(&self, i: usize) -> Option<(&dyn SplitOp<T>, &Split)> {
        self.planned(i).op.split().zip(self.step_plan.active[i].split.as_ref())
    }

    /// Places of a sample of a tensor's values and gradients.
    fn sample(&self, tensor: usize, sample: usize, worker: usize) -> [Range<usize>; 2] {
        [&self.step_plan.values, &self.step_plan.grads]
            .map(|slots| self.range(slots[tensor], tensor, &(sample..sample + 1), worker))
    }

    /// Computes a region of a sample's output.
    pub(super) fn split_forward(&self, i: usize, task: usize, worker: usize) {
        let Some((op, split)) = self.cut(i) else { return };
        let active = &self.step_plan.active[i];
        let cut = split.maps[FORWARD];
        let (sample, region) = (task / cut.count(), cut.of(task % cut.count()));
        let mut own = lock(&self.memory.workers[worker]);
        let params = self.state.params.read(0..self.state.params.len());
        let pass = if active.folded.is_some() { INFERENCE } else { FORWARD };
        let packed = self.lowered.packed[pass].read(self.planned(i).packed[pass].clone());
        let [x, _] = self.sample(active.inputs[0], sample, worker);
        let [y, _] = self.sample(active.output, sample, worker);
        let x = self.memory.arena.read(x);
        let mut y = self.memory.arena.write(inside(&y, &region));
        let cx = self.context(i, (&params, &packed, &[]), &(sample..sample + 1), active.folded);
        op.forward_region(&cx, &x, (&mut y, region.start), &mut own.scratch);
    }

    /// Sums up a sample of what a split op has written.
    pub(super) fn split_sums(&self, i: usize, sample: usize, worker: usize) {
        let active = &self.step_plan.active[i];
        let y = self.read_value(active.output, &(sample..sample + 1), worker);
        self.sum_inputs(&active.summed_by, &y, &(sample..sample + 1));
    }

    /// Finishes a region of a sample's output gradient.
    pub(super) fn split_mask(&self, i: usize, task: usize, worker: usize) {
        let Some((op, split)) = self.cut(i) else { return };
        let cut = split.maps[FORWARD];
        let region = cut.of(task % cut.count());
        let [y, dy] = self
            .sample(self.step_plan.active[i].output, task / cut.count(), worker)
            .map(|range| inside(&range, &region));
        op.mask(&self.memory.arena.read(y), &mut self.memory.arena.write(dy));
    }

    /// Computes a region of a sample's input gradient.
    pub(super) fn split_backward(&self, i: usize, task: usize, worker: usize) {
        let Some((op, split)) = self.cut(i) else { return };
        let active = &self.step_plan.active[i];
        let cut = split.maps[BACKWARD];
        let (sample, region) = (task / cut.count(), cut.of(task % cut.count()));
        let mut own = lock(&self.memory.workers[worker]);
        let params = self.state.params.read(0..self.state.params.len());
        let packed = self.lowered.packed[BACKWARD].read(self.planned(i).packed[BACKWARD].clone());
        let [_, dy] = self.sample(active.output, sample, worker);
        let [_, dx] = self.sample(active.inputs[0], sample, worker);
        let dx = inside(&dx, &region);
        let dy = self.memory.arena.read(dy);
        let cx = self.context(i, (&params, &packed, &[]), &(sample..sample + 1), None);
        let aside = match active.flows[0] {
            Flow::None => return,
            Flow::Write => None,
            Flow::Add(place) => {
                let whole = self.range(place, active.inputs[0], &(sample..sample + 1), worker);
                Some(inside(&whole, &region))
            }
        };
        let target = aside.clone().unwrap_or(dx.clone());
        op.input_grad_region(
            &cx,
            &dy,
            (&mut self.memory.arena.write(target), region.start),
            &mut own.scratch,
        );
        if let Some(aside) = aside {
            let from = self.memory.arena.read(aside);
            self.kernels.tier.vectorize(Add { from: &from, to: &mut self.memory.arena.write(dx) });
        }
    }

    /// Computes a part of a chunk's weight gradient.
    pub(super) fn split_grad(&self, i: usize, task: usize, worker: usize) {
        let Some((op, split)) = self.cut(i) else { return };
        let active = &self.step_plan.active[i];
        let [sums, rows] = split.grad;
        let (chunk, part) = (task / split.grad_tasks(), task % split.grad_tasks());
        let (sum, row) = (part / rows.count(), part % rows.count());
        let kernel = rows.of(row);
        // Rows of the kernel, in the sums and in the gradient.
        let planned = self.planned(i);
        let kernel_len = planned.op.weights()[0].len();
        let [sums_row, row_len] =
            [planned.op.sums_len(0), kernel_len].map(|len| len / op.kernel_rows().max(1));
        let own_part = self.split_partial(i, chunk, sum, &(0..planned.partial.len()));
        let bias = if row == 0 { kernel_len..planned.partial.len() } else { 0..0 };
        let mut own = lock(&self.memory.workers[worker]);
        let mut totals = self.memory.arena.write(self.sums(worker, kernel.len() * sums_row));
        let mut dbias = self.memory.arena.write(inside(&own_part, &bias));
        totals.fill(T::ZERO);
        dbias.fill(T::ZERO);
        for sample in self.step_plan.group(chunk, self.step_plan.chunk) {
            let [x, _] = self.sample(active.inputs[0], sample, worker);
            let [_, dy] = self.sample(active.output, sample, worker);
            let (x, dy) = (self.memory.arena.read(x), self.memory.arena.read(dy));
            let operands = (&*x, &*dy);
            op.kernel_grad_piece(operands, sums.of(sum), kernel.clone(), &mut totals, &mut own.scratch);
            // Once per sample: it is little work, and not cut as the kernel's is.
            if sum == 0 {
                op.bias_grad(&dy, &mut dbias);
            }
        }
        op.finish_piece(&mut totals);
        let own_rows = inside(&own_part, &(kernel.start * row_len..kernel.end * row_len));
        self.memory.arena.write(own_rows).copy_from_slice(&totals[..kernel.len() * row_len]);
    }

    /// Some elements of the sums of a task of a chunk.
    fn split_partial(&self, i: usize, chunk: usize, sum: usize, part: &Range<usize>) -> Range<usize> {
        let Some((_, split)) = self.cut(i) else { return 0..0 };
        let start = split.partials + (chunk * split.sums() + sum) * self.planned(i).partial.len();
        start + part.start..start + part.end
    }

    /// The sum over all chunks of some elements; their parts, which no two chunks share, are added in their order.
    pub(super) fn split_sum(&self, i: usize, part: &Range<usize>, first: bool, to: &mut [T], worker: usize) {
        let Some((_, split)) = self.cut(i) else { return };
        let tier = self.kernels.tier;
        let read = |chunk: usize, some: Range<usize>, to: &mut [T]| {
            let some = inside(part, &some);
            for sum in 0..split.sums() {
                let from = self.memory.arena.read(self.split_partial(i, chunk, sum, &some));
                if sum == 0 {
                    to.copy_from_slice(&from);
                } else {
                    tier.vectorize(Add { from: &from, to });
                }
            }
        };
        let chunks = self.step_plan.chunks();
        if first {
            return self.sum_up(chunks, read, to);
        }
        let mut own = lock(&self.memory.workers[worker]);
        own.grads.clear();
        own.grads.extend_from_slice(to);
        self.sum_up(chunks, read, to);
        tier.vectorize(Add { from: &own.grads, to });
    }
}
