//! The parts of an op that look at the whole batch: sums by whoever has the values at hand, put together in phases of
//! one small task each.

use std::ops::Range;

use super::super::layers::Statistics;
use super::super::lowering::INFERENCE;
use super::super::plan::StatisticsSlots;
use super::{Add, StepProgram};
use crate::error::Result;
use crate::kernels::Element;
use crate::memory;
use crate::parallel::{Reading, Writing, lock};

impl<T: Element> StepProgram<'_, '_, T> {
    /// A statistics op and the places of what it computes with.
    fn slots(&self, i: usize) -> Option<(&dyn Statistics<T>, &StatisticsSlots)> {
        self.planned(i).op.statistics().zip(self.step_plan.active[i].statistics.as_ref())
    }

    fn frozen(&self, i: usize) -> bool {
        let planned = self.planned(i);
        planned.inference || self.state.frozen[planned.layer]
    }

    /// What a statistics op computes with: of the batch in training, else what training has left.
    pub(super) fn coefficients(&self, i: usize) -> Reading<'_, T> {
        match self.slots(i) {
            Some((_, slots)) => self.memory.arena.read(slots.coefficients.clone()),
            None if self.planned(i).op.statistics().is_some() => {
                self.lowered.packed[INFERENCE].read(self.planned(i).packed[INFERENCE].clone())
            }
            None => self.memory.arena.read(0..0),
        }
    }

    /// Sums up what a task has written, for the statistics ops that read it.
    pub(super) fn sum_inputs(&self, readers: &[usize], x: &[T], task: usize) {
        for &i in readers {
            let Some((statistics, slots)) = self.slots(i) else { continue };
            let part = part(&slots.parts[0], statistics.part_len()[0], task);
            statistics.sum_inputs(x, &mut self.memory.sums.write(part));
        }
    }

    /// Coefficients of the forward pass.
    pub(super) fn finalize(&self, i: usize) {
        let Some((statistics, slots)) = self.slots(i) else { return };
        let params = self.state.params.read(0..self.state.params.len());
        let mut coefficients = self.memory.arena.write(slots.coefficients.clone());
        if self.frozen(i) {
            statistics.finalize_moving(&params, &mut coefficients);
        } else {
            let parts = self.memory.sums.read(slots.parts[0].clone());
            statistics.finalize(&params, &parts, &mut coefficients);
            // A variance may overflow where no output does.
            self.check(&coefficients[..statistics.finalized_len()], self.planned(i).layer);
        }
    }

    /// The part of the gradient's sums that a chunk has.
    pub(super) fn gradient_part(&self, i: usize, chunk: usize) -> Writing<'_, f64> {
        let (range, len) = self
            .slots(i)
            .map_or((0..0, 0), |(statistics, slots)| (slots.parts[1].clone(), statistics.part_len()[1]));
        self.memory.sums.write(part(&range, len, chunk))
    }

    /// Adds some samples to the sums of a chunk.
    pub(super) fn sum_gradients(&self, i: usize, samples: &Range<usize>, worker: usize, part: &mut [f64]) {
        let active = &self.step_plan.active[i];
        let Some((statistics, _)) = self.slots(i).filter(|_| active.backward) else { return };
        let x = self.read_value(active.inputs[0], samples, worker);
        let mut dy = self.write_grad(active.output, samples, worker);
        statistics.sum_gradients(&self.coefficients(i), &x, &mut dy, part);
    }

    /// Coefficients of the gradient to the input, and the gradients of the weights.
    pub(super) fn finalize_gradients(&self, i: usize, worker: usize) -> Result<()> {
        let Some((statistics, slots)) = self.slots(i) else { return Ok(()) };
        let parts = self.memory.sums.read(slots.parts[1].clone());
        let mut coefficients = self.memory.arena.write(slots.coefficients.clone());
        statistics.finalize_gradients(&parts, self.step_plan.batch, self.frozen(i), &mut coefficients);
        self.check(&coefficients, self.planned(i).layer);
        for range in self.planned(i).op.weights() {
            let mut grads = self.state.grads.write(range.clone());
            if self.planned(i).adds {
                let mut own = lock(&self.memory.workers[worker]);
                memory::resize(&mut own.grads, range.len(), T::ZERO)?;
                statistics.weight_gradient(range, &parts, &coefficients, &mut own.grads);
                self.kernels.tier.vectorize(Add { from: &own.grads, to: &mut grads });
            } else {
                statistics.weight_gradient(range, &parts, &coefficients, &mut grads);
            }
            self.check(&grads, self.planned(i).layer);
        }
        Ok(())
    }

    /// Moves the moving statistics, together with the update of the weights.
    pub(super) fn commit_statistics(&self, i: usize) {
        let Some((statistics, slots)) = self.slots(i).filter(|_| self.sound() && !self.frozen(i)) else {
            return;
        };
        let coefficients = self.memory.arena.read(slots.coefficients.clone());
        for (index, range) in statistics.moving().iter().enumerate() {
            let mut moving = self.state.params.write(range.clone());
            statistics.commit(index, &coefficients, &mut moving);
            self.made(&moving, self.planned(i).layer);
        }
    }
}

/// Part number `task` of a range of parts.
fn part(parts: &Range<usize>, len: usize, task: usize) -> Range<usize> {
    parts.start + task * len..parts.start + (task + 1) * len
}
