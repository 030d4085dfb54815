//! The weights of a model and the state of its optimizer: read, set, frozen, averaged.

use super::super::Compiled;
use super::super::optim::{self, Block};
use super::super::plan;
use super::super::regularizers::Penalty;
use super::super::spec::{CompileSpec, Regularizer};
use super::Network;
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::parallel::{Interrupt, Reading, Shared};

impl<T: Element> Network<T> {
    /// The elements of weight `index`.
    pub fn weight(&self, index: usize) -> Reading<'_, T> {
        self.params.read(self.weights[index].range.clone())
    }

    /// The last gradient of weight `index`.
    pub fn gradient(&mut self, index: usize) -> &[T] {
        &self.grads.get_mut()[self.weights[index].range.clone()]
    }

    /// Replaces weight `index`; the caller has checked its length.
    ///
    /// # Errors
    /// The length is another.
    pub fn set_weight(&mut self, index: usize, values: &[T]) -> Result<()> {
        let weight = &self.weights[index];
        if weight.range.len() != values.len() {
            return Err(Error::shape(
                &weight.name,
                format!("{:?}", weight.shape),
                format!("{} elements", values.len()),
            ));
        }
        self.params.get_mut()[weight.range.clone()].copy_from_slice(values);
        self.version += 1;
        self.tame = None;
        Ok(())
    }

    /// Freezes or thaws a layer of the description, in all its calls.
    pub fn set_trainable(&mut self, layer: usize, trainable: bool) {
        let Some(layer) = self.layers.get(layer).map(|info| info.owner) else { return };
        for weight in self.weights.iter_mut().filter(|w| w.layer == layer) {
            weight.trainable = trainable && weight.learned;
        }
        for (frozen, _) in self.frozen.iter_mut().zip(&self.layers).filter(|(_, info)| info.owner == layer) {
            *frozen = !trainable;
        }
        self.penalty.0 = 0;
        self.cut_blocks();
    }

    /// Cuts the trainable weights into the optimizer's tasks.
    pub(super) fn cut_blocks(&mut self) {
        let trainable = self.weights.iter().enumerate().filter(|(_, w)| w.trainable);
        self.blocks = trainable
            .flat_map(|(weight, w)| {
                (0..plan::flat_blocks(&w.range)).map(move |block| Block {
                    range: plan::flat_block(&w.range, block),
                    weight,
                    layer: w.layer,
                    regularizer: w.regularizer,
                })
            })
            .collect();
    }

    /// Sets optimizer, loss and metrics; the optimizer starts afresh.
    ///
    /// # Errors
    /// The loss does not fit the output.
    pub fn compile(&mut self, spec: CompileSpec) -> Result<()> {
        let mut slots = Vec::new();
        for (name, initial) in spec.optimizer.iter().flat_map(|o| o.slots()) {
            let mut slot = Shared::zeroed(self.params.len())?;
            match name {
                optim::AVERAGE => slot.get_mut().copy_from_slice(self.params.get_mut()),
                _ => slot.get_mut().fill(T::from_f64(initial)),
            }
            slots.push(slot);
        }
        self.compiled = Some(Compiled { spec, slots });
        self.iterations = 0;
        self.tame = None;
        Ok(())
    }

    /// Replaces the trainable weights by their average, where the optimizer keeps one and a step was taken.
    pub fn finalize(&mut self) {
        let Some(compiled) = &mut self.compiled else { return };
        let names = compiled.slot_names();
        let average = names.iter().position(|name| *name == optim::AVERAGE);
        if let Some(average) = average.filter(|_| self.iterations > 0) {
            for Block { range, .. } in &self.blocks {
                let values = &compiled.slots[average].get_mut()[range.clone()];
                self.params.get_mut()[range.clone()].copy_from_slice(values);
            }
            self.version += 1;
            self.tame = None;
        }
    }

    /// Names and elements of the optimizer's slots.
    pub fn optimizer_state(&mut self) -> Vec<(&'static str, &[T])> {
        let Some(compiled) = &mut self.compiled else { return Vec::new() };
        let names = compiled.slot_names();
        names.into_iter().zip(compiled.slots.iter_mut().map(|slot| &*slot.get_mut())).collect()
    }

    /// Restores the slots, all or none, and the number of steps taken.
    ///
    /// # Errors
    /// They are not those of the compiled optimizer.
    pub fn set_optimizer_state<V: AsRef<[T]>>(
        &mut self,
        state: &[(String, V)],
        iterations: u64,
    ) -> Result<()> {
        let own: Vec<(&str, usize)> =
            self.optimizer_state().iter().map(|(name, v)| (*name, v.len())).collect();
        let given: Vec<(&str, usize)> =
            state.iter().map(|(name, v)| (name.as_str(), v.as_ref().len())).collect();
        let sorted = |mut list: Vec<(&str, usize)>| {
            list.sort_unstable();
            format!("{list:?}")
        };
        let (own, given) = (sorted(own), sorted(given));
        if own != given {
            return Err(Error::shape("optimizer state", format!("slots {own}"), given));
        }
        if let Some(compiled) = &mut self.compiled {
            for (name, slot) in compiled.slot_names().iter().zip(&mut compiled.slots) {
                for (_, values) in state.iter().filter(|(given, _)| given == name) {
                    slot.get_mut().copy_from_slice(values.as_ref());
                }
            }
        }
        self.iterations = iterations;
        self.tame = None;
        Ok(())
    }

    /// What the trainable weights add to the loss; found anew only when weights have changed.
    pub(super) fn penalty(&mut self, interrupt: Interrupt<'_>) -> Result<f64> {
        if self.penalty.0 != self.version {
            let (params, tier) = (self.params.get_mut(), self.kernels.tier);
            let mut sum = 0.0;
            for (number, weight) in self.weights.iter().enumerate().filter(|(_, weight)| weight.trainable) {
                let weights = &params[weight.range.clone()];
                sum += match weight.regularizer {
                    None => continue,
                    Some(Regularizer::Elements(factors)) => tier.vectorize(Penalty { factors, weights }),
                    Some(Regularizer::Orthogonal(orthogonal)) => {
                        let angles = self.angles.entry(number).or_default();
                        angles.find(orthogonal, (weights, &weight.shape), tier, interrupt)?
                    }
                };
            }
            self.penalty = (self.version, sum);
        }
        Ok(self.penalty.1)
    }
}
