//! Custom layers, which are called between two parts of a program, as exchanges with other ranks are.

use super::super::plan::Work;
use super::{Add, StepProgram, Worker};
use crate::error::Result;
use crate::kernels::Element;
use crate::memory;
use crate::parallel::{self, Interrupt, lock};

impl<T: Element> StepProgram<'_, '_, T> {
    /// Runs all phases. Custom layers and exchanges run on this thread alone, while no program does.
    pub(in super::super) fn execute(&mut self, workers: usize, interrupt: Interrupt<'_>) -> Result<()> {
        let mut start = 0;
        loop {
            let outside = self.phases.find(start, is_outside);
            self.part = start..outside.unwrap_or(self.phases.len());
            parallel::execute(self, workers, interrupt)?;
            let Some(phase) = outside else { return Ok(()) };
            for (work, _) in self.phases.works(phase) {
                self.call(*work)?;
            }
            start = self.part.end + 1;
        }
    }

    /// Calls a custom layer with the whole batch, or exchanges something.
    fn call(&self, work: Work) -> Result<()> {
        let all = 0..self.step_plan.batch;
        match work {
            Work::Custom { op } => {
                self.forward(op..op + 1, &all, 0);
                self.outcome(op)
            }
            Work::CustomBackward { op } => {
                let planned = self.planned(op);
                let weights = planned.op.weights();
                let mut own = lock(&self.memory.workers[0]);
                let Worker { scratch, grads, .. } = &mut *own;
                grads.clear();
                memory::resize(grads, weights.iter().map(ExactSizeIterator::len).sum(), T::ZERO)?;
                {
                    let params = self.state.params.read(0..self.state.params.len());
                    self.backward_op(op, &all, (&mut *grads, &params), scratch, 0);
                }
                self.outcome(op)?;
                let mut rest = &grads[..];
                for range in weights {
                    let (own, after) = rest.split_at(range.len());
                    let mut grads = self.state.grads.write(range.clone());
                    if planned.adds {
                        self.kernels.tier.vectorize(Add { from: own, to: &mut grads });
                    } else {
                        grads.copy_from_slice(own);
                    }
                    self.check(&grads, planned.layer);
                    rest = after;
                }
                Ok(())
            }
            Work::Exchange(exchange) => self.exchange(exchange),
            _ => Ok(()),
        }
    }

    fn outcome(&self, op: usize) -> Result<()> {
        self.planned(op).op.custom().map_or(Ok(()), |custom| custom.outcome())
    }
}

fn is_outside(work: Work) -> bool {
    matches!(work, Work::Custom { .. } | Work::CustomBackward { .. } | Work::Exchange(_))
}
