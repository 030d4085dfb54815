//! What becomes of the gradients: made final, clipped, applied; and the constraints of the weights.

use super::super::optim::{Block, MOST_SLOTS};
use super::super::regularizers::PenaltySlope;
use super::super::spec::Regularizer;
use super::super::structure::Weight;
use super::{Add, StepProgram};
use crate::kernels::Element;
use crate::parallel::{Reading, Writing, lock};

impl<T: Element> StepProgram<'_, '_, T> {
    /// Makes the gradients of a block final: those of penalties are added, and what the optimizer has gathered.
    pub(super) fn prepare(&self, block: usize) {
        let Some(update) = self.goal.update else { return };
        let Block { range, weight, layer, regularizer } = self.state.blocks[block].clone();
        let slots = self.state.slots;
        // On the stack: a step allocates nothing.
        let held: [Option<Reading<'_, T>>; MOST_SLOTS] =
            std::array::from_fn(|i| slots.get(i).map(|slot| slot.read(range.clone())));
        let views = held.each_ref().map(|slot| slot.as_deref().unwrap_or_default());
        let mut grads = self.state.grads.write(range.clone());
        let tier = self.kernels.tier;
        match regularizer {
            Some(Regularizer::Elements(factors)) => {
                let weights = self.state.params.read(range);
                tier.vectorize(PenaltySlope { factors, weights: &weights, grads: &mut grads });
            }
            Some(Regularizer::Orthogonal(_)) => {
                let start = self.state.weights[weight].range.start;
                let from = &self.state.angles[&weight].gradient[range.start - start..range.end - start];
                tier.vectorize(Add { from, to: &mut grads });
            }
            None => {}
        }
        self.memory.factors.write(block..block + 1)[0] =
            update.prepare(tier, &mut grads, &views[..slots.len()]);
        self.check(&grads, layer);
    }

    /// Finds the factors by which gradients are clipped.
    pub(super) fn clip(&self) {
        if let Some(update) = self.goal.update {
            update.clip(self.state.blocks, &mut self.memory.factors.write(0..self.state.blocks.len()));
        }
    }

    /// Updates a block of weights.
    pub(super) fn update(&self, block: usize) {
        let Some(update) = self.goal.update else { return };
        if !self.sound() {
            return;
        }
        let Block { range, weight, layer, .. } = self.state.blocks[block].clone();
        let factor = if update.clips_by_norm() { self.memory.factors.read(block..block + 1)[0] } else { 1.0 };
        let mut weights = self.state.params.write(range.clone());
        let grads = self.state.grads.read(range.clone());
        let slots = self.state.slots;
        let mut held: [Option<Writing<'_, T>>; MOST_SLOTS] =
            std::array::from_fn(|i| slots.get(i).map(|slot| slot.write(range.clone())));
        let mut views = held.each_mut().map(|slot| slot.as_deref_mut().unwrap_or_default());
        if !update.apply(self.kernels.tier, (weight, factor), &mut weights, &grads, &mut views[..slots.len()])
        {
            self.beyond(&weights, layer);
            views[..slots.len()].iter().for_each(|slot| self.beyond(slot, layer));
        }
    }

    /// Holds one of the constrained weights to its constraint.
    pub(super) fn constrain(&self, number: usize, worker: usize) {
        let Some(weight) = constrained(self.state.weights).nth(number).filter(|_| self.sound()) else {
            return;
        };
        let Some(constraint) = &weight.constraint else { return };
        let mut own = lock(&self.memory.workers[worker]);
        let mut values = self.state.params.write(weight.range.clone());
        constraint.apply(&weight.shape, &mut values, &mut own.rows.z);
        self.made(&values, weight.layer);
    }
}

/// The weights that are held to something while they are trained.
pub(in super::super) fn constrained(weights: &[Weight]) -> impl Iterator<Item = &Weight> {
    weights.iter().filter(|w| w.trainable && w.constraint.is_some())
}
