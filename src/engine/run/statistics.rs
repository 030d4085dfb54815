//! The parts of an op that look at the whole batch: sums by whoever has the values at hand, put together in phases of
//! one small task each. A part never crosses a chunk: those of a chunk are joined in their order, and the chunks up the
//! tree that partial gradients go up (`tree.rs`).

use std::ops::Range;

use super::super::layers::Statistics;
use super::super::lowering::INFERENCE;
use super::super::peers::{Segment, Shares};
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

    /// Sums up some samples that were written, for the statistics ops that read them.
    pub(super) fn sum_inputs(&self, readers: &[usize], x: &[T], samples: &Range<usize>) {
        let chunk = self.step_plan.chunk;
        for &i in readers {
            let Some((statistics, slots)) = self.slots(i) else { continue };
            let (grain, len) = (slots.grain, x.len() / samples.len().max(1));
            let mut first = samples.start;
            while first < samples.end {
                let number = first / chunk * chunk.div_ceil(grain) + first % chunk / grain;
                let end = (first + grain).min(first / chunk * chunk + chunk).min(samples.end);
                let part = part(&slots.parts[0], statistics.part_len()[0], number);
                let x = &x[(first - samples.start) * len..(end - samples.start) * len];
                statistics.sum_inputs(x, &mut self.memory.sums.write(part));
                first = end;
            }
        }
    }

    /// Parts of a chunk, forward or backward.
    fn per_chunk(&self, slots: &StatisticsSlots, pass: usize) -> usize {
        if pass == 0 { self.step_plan.chunk.div_ceil(slots.grain) } else { 1 }
    }

    /// Joins the parts of every chunk, and the chunks, where `wanted` says so of a node: the first part is the whole then.
    fn join(&self, i: usize, pass: usize, parts: &mut [f64], wanted: impl Fn(Range<usize>) -> bool) {
        let Some((statistics, slots)) = self.slots(i) else { return };
        let (len, per_chunk) = (statistics.part_len()[pass], self.per_chunk(slots, pass));
        let count = parts.len() / len.max(1);
        let mut add = |to: usize, from: usize| {
            let (left, right) = parts.split_at_mut(from * len);
            let (to, from) = (&mut left[to * len..(to + 1) * len], &right[..len]);
            match pass {
                0 => statistics.join_inputs(to, from),
                _ => to.iter_mut().zip(from).for_each(|(to, from)| *to += from),
            }
        };
        let chunks = count.div_ceil(per_chunk);
        for chunk in (0..chunks).filter(|&chunk| wanted(chunk..chunk + 1)) {
            let first = chunk * per_chunk;
            (first + 1..(first + per_chunk).min(count)).for_each(|part| add(first, part));
        }
        let mut size = 1;
        while size < chunks {
            for first in (0..chunks - size).step_by(2 * size) {
                if wanted(first..(first + 2 * size).min(chunks)) {
                    add(first * per_chunk, (first + size) * per_chunk);
                }
            }
            size *= 2;
        }
    }

    /// Joins what is left to join once all sums of the batch are there.
    fn join_all(&self, i: usize, pass: usize, parts: &mut [f64]) {
        let whole = |node: Range<usize>| self.shares.is_none_or(|shares| !shares.somebody_has(&node));
        self.join(i, pass, parts, whole);
    }

    /// Joins the sums of this rank's chunks, and shares what comes of it.
    pub(super) fn share_statistics(&self, shares: &Shares<'_, T>, i: usize, pass: usize) -> Result<()> {
        let Some((statistics, slots)) = self.slots(i).filter(|_| pass == 1 || !self.frozen(i)) else {
            return Ok(());
        };
        let mut parts = self.memory.sums.write(slots.parts[pass].clone());
        let own = &self.own.chunks;
        self.join(i, pass, &mut parts, |node| own.start <= node.start && node.end <= own.end);
        let (len, per_chunk) = (statistics.part_len()[pass], self.per_chunk(slots, pass));
        let place = |node: &Range<usize>| node.start * per_chunk * len..(node.start * per_chunk + 1) * len;
        let nodes = |rank: usize| shares.nodes()[rank].iter().map(place);
        shares.share(vec![Segment::of_all(&mut parts, |rank| nodes(rank).len() * len, nodes)])
    }

    /// Coefficients of the forward pass.
    pub(super) fn finalize(&self, i: usize) {
        let Some((statistics, slots)) = self.slots(i) else { return };
        let params = self.state.params.read(0..self.state.params.len());
        let mut coefficients = self.memory.arena.write(slots.coefficients.clone());
        if self.frozen(i) {
            statistics.finalize_moving(&params, &mut coefficients);
        } else {
            let mut parts = self.memory.sums.write(slots.parts[0].clone());
            self.join_all(i, 0, &mut parts);
            statistics.finalize(&params, &parts[..statistics.part_len()[0]], &mut coefficients);
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
        let mut parts = self.memory.sums.write(slots.parts[1].clone());
        self.join_all(i, 1, &mut parts);
        let sums = &parts[..statistics.part_len()[1]];
        let mut coefficients = self.memory.arena.write(slots.coefficients.clone());
        statistics.finalize_gradients(sums, self.step_plan.batch, self.frozen(i), &mut coefficients);
        self.check(&coefficients, self.planned(i).layer);
        for range in self.planned(i).op.weights() {
            let mut grads = self.state.grads.write(range.clone());
            if self.planned(i).adds {
                let mut own = lock(&self.memory.workers[worker]);
                memory::resize(&mut own.grads, range.len(), T::ZERO)?;
                statistics.weight_gradient(range, sums, &coefficients, &mut own.grads);
                self.kernels.tier.vectorize(Add { from: &own.grads, to: &mut grads });
            } else {
                statistics.weight_gradient(range, sums, &coefficients, &mut grads);
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
