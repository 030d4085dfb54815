//! A record of how long every task of a program takes, for the bench that schedules them on more workers than there are.

use std::time::Instant;

use super::super::Network;
use super::super::plan::Work;
use super::StepProgram;
use crate::kernels::Element;
use crate::parallel::lock;

/// A task that ran.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Traced {
    phase: usize,
    work: Work,
    seconds: f64,
}

impl<T: Element> StepProgram<'_, '_, T> {
    /// Records a task that began at `start`.
    pub(super) fn trace(&self, phase: usize, work: Work, start: Instant) {
        if let Some(trace) = &self.memory.trace {
            let seconds = start.elapsed().as_secs_f64();
            lock(trace).push(Traced { phase: self.part.start + phase, work, seconds });
        }
    }
}

impl<T: Element> Network<T> {
    /// Begins or ends a record of all tasks; returns what was recorded since: number of the phase, what was done, seconds.
    pub fn trace(&mut self, on: bool) -> Vec<(usize, String, f64)> {
        let mut memory = self.memories.take();
        let trace = std::mem::replace(&mut memory.trace, on.then(Default::default));
        self.memories.give(memory);
        let traced = trace.map(|trace| trace.into_inner().unwrap_or_default()).unwrap_or_default();
        traced.iter().map(|task| (task.phase, format!("{:?}", task.work), task.seconds)).collect()
    }
}
