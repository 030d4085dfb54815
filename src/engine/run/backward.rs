//! The backward pass of stacks and batch ops: gradients to inputs, and weight gradients chunk by chunk.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::super::layers::Backward;
use super::super::lowering::{BACKWARD, Partial};
use super::super::optim::{Within, bounds};
use super::super::plan::{Flow, flat_block};
use super::{Add, AllFinite, FEW_INPUTS, StepProgram};
use crate::conv::Scratch;
use crate::kernels::Element;
use crate::parallel::{Pulse, Writing, lock};

impl<T: Element> StepProgram<'_, '_, T> {
    /// Runs one active op backward on some samples.
    pub(super) fn backward_op(
        &self,
        i: usize,
        samples: &Range<usize>,
        (grads, params): (&mut [T], &[T]),
        scratch: &mut Scratch<T>,
        worker: usize,
    ) {
        let active = &self.step_plan.active[i];
        let op = self.planned(i).op.as_ref();
        let keeps = op.keeps();
        let y = keeps.output.then(|| self.read_value(active.output, samples, worker));
        let saved = self.memory.saved.read(self.saved_range(i, samples));
        let mut dy = self.write_grad(active.output, samples, worker);
        let packed = self.lowered.packed[BACKWARD].read(self.planned(i).packed[BACKWARD].clone());
        let coefficients = self.coefficients(i);
        let cx = self.context(i, (params, &packed, &coefficients), samples, None);
        let inputs = if keeps.input { &active.inputs[..] } else { &[] };
        self.with_values(inputs, samples, worker, |x| {
            let y = y.as_deref().unwrap_or(&[]);
            let mut run = |dx: &mut [Option<&mut [T]>]| {
                let tensors = Backward { x, y, saved: &saved, dy: &mut dy, dx, grads: &mut *grads };
                op.backward(&cx, tensors, scratch);
            };
            let flow = |i: usize| self.flow(active.flows[i], active.inputs[i], samples, worker);
            let count = active.flows.len();
            if count > FEW_INPUTS {
                let mut held: Vec<_> = (0..count).map(flow).collect();
                run(&mut held.iter_mut().map(|dx| dx.as_deref_mut()).collect::<Vec<_>>());
            } else {
                let mut held: [_; FEW_INPUTS] =
                    std::array::from_fn(|i| (i < count).then(|| flow(i)).flatten());
                run(&mut held.each_mut().map(|dx| dx.as_deref_mut())[..count]);
            }
        });
        for (flow, &t) in active.flows.iter().zip(&active.inputs) {
            if let Flow::Add(place) = *flow {
                let aside = self.memory.arena.read(self.range(place, t, samples, worker));
                let mut dx = self.write_grad(t, samples, worker);
                self.kernels.tier.vectorize(Add { from: &aside, to: &mut dx });
            }
        }
    }

    /// Where an op writes the gradient to an input.
    fn flow(
        &self,
        flow: Flow,
        tensor: usize,
        samples: &Range<usize>,
        worker: usize,
    ) -> Option<Writing<'_, T>> {
        match flow {
            Flow::None => None,
            Flow::Write => Some(self.write_grad(tensor, samples, worker)),
            Flow::Add(place) => Some(self.memory.arena.write(self.range(place, tensor, samples, worker))),
        }
    }

    /// Runs a stack backward on a chunk of samples, group by group. A chunk can take long: an abandoned one is left
    /// between two groups.
    pub(super) fn backward(
        &self,
        ops: &Range<usize>,
        group: usize,
        (phase, task, worker): (usize, usize, usize),
        pulse: &Pulse<'_>,
    ) {
        if !self.own.chunks.contains(&task) {
            return;
        }
        let stack = self.stack_sums(ops);
        let (chunk, buffer) = match stack.is_empty() {
            true => (task, 0),
            false => match self.draw(phase, pulse) {
                Some(drawn) => drawn,
                None => return,
            },
        };
        let mut own = lock(&self.memory.workers[worker]);
        let params = self.state.params.read(0..self.state.params.len());
        // The sums stay in the worker's cache; what becomes of them goes up the tree.
        let mut totals = self.memory.arena.write(self.sums(worker, stack.len()));
        totals.fill(T::ZERO);
        // An op that waits: the one after it ends here, the one at the start only sums up.
        let ends = self.step_plan.active.get(ops.end).filter(|next| next.statistics.is_some());
        let ends = ends.is_some_and(|next| next.flows[0] != Flow::None).then_some(ops.end);
        let sums = ops.clone().next().filter(|&first| self.step_plan.active[first].statistics.is_some());
        let mut sums = sums.map(|first| (first, self.gradient_part(first, chunk)));
        if let Some((_, part)) = &mut sums {
            part.fill(0.0);
        }
        let samples = self.samples(chunk, self.step_plan.chunk);
        let mut first = samples.start;
        while first < samples.end && !pulse.stopped() {
            let group = first..(first + group).min(samples.end);
            for i in ends.into_iter().chain(ops.clone().rev()) {
                match &mut sums {
                    Some((waits, part)) if i == *waits => self.sum_gradients(i, &group, worker, part),
                    _ if !self.step_plan.active[i].backward => {}
                    _ => {
                        let own_sums = &self.planned(i).sums;
                        let grads = match own_sums.is_empty() {
                            true => &mut [][..],
                            false => &mut totals[within(own_sums, &stack)],
                        };
                        self.backward_op(i, &group, (grads, &params), &mut own.scratch, worker);
                    }
                }
            }
            first = group.end;
        }
        if stack.is_empty() || first < samples.end {
            return;
        }
        for planned in ops.clone().map(|i| self.planned(i)).filter(|planned| !planned.sums.is_empty()) {
            planned.op.finish(&mut totals[within(&planned.sums, &stack)]);
        }
        self.climb(ops, (chunk, buffer), (&stack, &totals));
    }

    /// The sums of the ops of a stack, in the row of all.
    fn stack_sums(&self, ops: &Range<usize>) -> Range<usize> {
        if ops.is_empty() {
            return 0..0;
        }
        self.planned(ops.start).sums.start..self.planned(ops.end - 1).sums.end
    }

    /// A worker's memory for sums of weight gradients.
    pub(super) fn sums(&self, worker: usize, len: usize) -> Range<usize> {
        let start = self.step_plan.local + worker * self.step_plan.local_len + self.step_plan.local_sums;
        start..start + len
    }

    /// Makes a block of a gradient of the sums over all chunks, those of every op that has the weight.
    pub(super) fn reduce(&self, part: usize, block: usize, worker: usize) {
        let Partial { parts, target, adds } = &self.lowered.partials[part];
        let target = flat_block(target, block);
        let mut grads = self.state.grads.write(target);
        let mut first = !adds;
        for from in parts {
            let block = flat_block(from, block);
            let owns = |i: &usize| self.planned(*i).partial.contains(&block.start);
            let Some(owner) = (0..self.step_plan.active.len()).find(owns) else { continue };
            let again = std::mem::take(&mut first);
            if self.step_plan.active[owner].split.is_some() {
                let own = self.planned(owner).partial.start;
                self.split_sum(owner, &(block.start - own..block.end - own), again, &mut grads, worker);
            } else {
                let total = self.memory.arena.read(self.total(&block));
                if again {
                    grads.copy_from_slice(&total);
                } else {
                    self.kernels.tier.vectorize(Add { from: &total, to: &mut grads });
                }
            }
            self.check(&grads, self.planned(owner).layer);
        }
    }

    /// Remembers the layer if a gradient is not finite, and whether one is so large that the update may overflow.
    pub(super) fn check(&self, grads: &[T], layer: usize) {
        let tier = self.kernels.tier;
        if tier.vectorize(Within { values: grads, most: bounds::gradients() }) {
            return;
        }
        self.large_gradient.store(true, Ordering::Relaxed);
        if !tier.vectorize(AllFinite(grads)) {
            self.bad_layer.fetch_min(layer, Ordering::Relaxed);
        }
    }
}

/// A range as seen from the start of one that contains it.
fn within(part: &Range<usize>, whole: &Range<usize>) -> Range<usize> {
    part.start - whole.start..part.end - whole.start
}
