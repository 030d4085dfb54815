//! What makes an update all or nothing where its numbers might overflow: a copy of what it changes.
//!
//! Most steps need none. Gradients are compared with a bound by the pass that looks for NaN, weights and slots by the
//! update that wrote them; within the bounds no optimizer makes anything but finite numbers (`optim/bounds.rs`).

use std::sync::atomic::Ordering;

use super::super::Network;
use super::super::optim::{Within, bounds};
use super::{AllFinite, Memory, StepProgram};
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::parallel::lock;

/// The parameters and slots before an update.
#[derive(Debug, Default)]
pub(in super::super) struct Undo<T> {
    /// All of them, one buffer after the other.
    values: Vec<T>,
    /// Whether they are those of the step that runs.
    held: bool,
}

impl<T: Element> StepProgram<'_, '_, T> {
    /// Whether the update that is to come needs a way back.
    pub(super) fn risky(&self) -> bool {
        self.goal.update.is_some()
            && self.sound()
            && (self.goal.risky || self.large_gradient.load(Ordering::Relaxed))
    }

    /// Copies what the update changes.
    pub(super) fn keep(&self) -> Result<()> {
        let mut undo = lock(&self.memory.undo);
        let Undo { values, held } = &mut *undo;
        let buffers = || std::iter::once(self.state.params).chain(self.state.slots);
        let len = buffers().map(|buffer| buffer.len()).sum::<usize>();
        values.clear();
        values
            .try_reserve_exact(len)
            .map_err(|_| Error::Memory { bytes: len.saturating_mul(size_of::<T>()) })?;
        for buffer in buffers() {
            values.extend_from_slice(&buffer.read(0..buffer.len()));
        }
        *held = true;
        Ok(())
    }

    /// Looks at numbers that an update has made.
    pub(super) fn made(&self, values: &[T], layer: usize) {
        if !self.kernels.tier.vectorize(Within { values, most: bounds::weights() }) {
            self.beyond(values, layer);
        }
    }

    /// Records that numbers are beyond the bounds, and the layer if they are not even finite.
    pub(super) fn beyond(&self, values: &[T], layer: usize) {
        self.large.store(true, Ordering::Relaxed);
        if !self.kernels.tier.vectorize(AllFinite(values)) {
            self.spoilt.fetch_min(layer, Ordering::Relaxed);
        }
    }
}

impl<T: Element> Network<T> {
    /// Whether weights and slots are within the bounds; looked at anew only when somebody else has changed them.
    pub(in super::super) fn tame(&mut self) -> bool {
        if let Some(tame) = self.tame {
            return tame;
        }
        let most = bounds::weights();
        let mut tame = self.kernels.tier.vectorize(Within { values: self.params.get_mut(), most });
        if let Some(compiled) = &mut self.compiled {
            let names = compiled.slot_names();
            for (name, slot) in names.into_iter().zip(&mut compiled.slots) {
                tame = tame && bounds::tame_slot(name, slot.get_mut());
            }
        }
        self.tame = Some(tame);
        tame
    }

    /// Ends a step: takes back what an update has changed, if `failed`, and lets memory go that was not needed.
    pub(in super::super) fn close_undo(&mut self, memory: &mut Memory<T>, failed: bool) {
        let undo = memory.undo.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !undo.held {
            undo.values = Vec::new();
            return;
        }
        undo.held = false;
        if !failed {
            return;
        }
        let slots = self.compiled.iter_mut().flat_map(|compiled| &mut compiled.slots);
        let mut rest = &undo.values[..];
        for buffer in std::iter::once(&mut self.params).chain(slots) {
            let buffer = buffer.get_mut();
            let (own, after) = rest.split_at(buffer.len());
            buffer.copy_from_slice(own);
            rest = after;
        }
    }
}
