//! Steps whose loss or metrics are somebody else's: a caller is shown the outputs between the two halves of a step.
//!
//! The forward pass is one program and what follows another. In between no helper runs and no lock of the pool is held,
//! so that the caller may take as long as it likes, and may fail.

use super::layers::Random;
use super::plan::Slot;
use super::run::Batch;
use super::train::Extent;
use super::{Data, Network};
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::memory;
use crate::parallel::{self, Interrupt};

/// What a loss says of a batch.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The loss of every sample, times its weight.
    pub losses: Vec<f64>,
    /// Loss values that they are the sums of.
    pub count: f64,
    /// Gradient of the reduced loss to the outputs.
    pub dy: Vec<f64>,
}

/// A function of outputs and their sizes.
pub type Verdicts<'a> = dyn Fn(&[f64], &[usize]) -> Result<Option<Verdict>> + Sync + 'a;

/// Somebody who looks at the outputs of a batch and its sizes; None leaves the loss to the engine.
#[derive(Clone, Copy)]
pub struct Judge<'a>(pub &'a Verdicts<'a>);

impl std::fmt::Debug for Judge<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Judge")
    }
}

impl<T: Element> Network<T> {
    /// Runs a batch forward, asks the judge and puts the gradient that it gives where the backward pass begins.
    pub(super) fn judged(
        &mut self,
        (plan, step_plan): (usize, usize),
        data: &Data<'_>,
        training: Option<Random>,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<Verdict>> {
        let Some(judge) = data.judge else { return Ok(None) };
        // Room for both halves: memory that grows in between would lose what the first one left.
        let threads = parallel::threads();
        self.memory.reserve(&self.plans[plan].step_plans[step_plan], threads, self.blocks.len())?;
        let batch = Batch {
            x: &data.x,
            y: None,
            sample_weight: None,
            indices: data.indices,
            first: 0,
            count: 0.0,
            signs: false,
        };
        self.execute((plan, step_plan), batch, Extent::Outputs, training, interrupt)?;
        let plans = &self.plans[plan];
        let ready = &plans.step_plans[step_plan];
        let len = plans.lowered.lens[ready.output] * ready.batch;
        let arena = self.memory.arena.get_mut();
        let Slot::Batch(start) = ready.values[ready.output] else {
            return Err(Error::internal("a plan whose outputs have no place"));
        };
        let outputs = memory::collect(arena[start..start + len].iter().map(|x| x.to_f64()))?;
        let mut shape = vec![ready.batch];
        shape.extend(&plans.lowered.output_shape);
        let verdict = (judge.0)(&outputs, &shape)?;
        if let Some(Verdict { losses, dy, .. }) = &verdict {
            if losses.len() != ready.batch || dy.len() != len {
                let expected = format!("{} losses and {len} gradients", ready.batch);
                return Err(Error::shape("loss", expected, format!("{} and {}", losses.len(), dy.len())));
            }
            if let Slot::Batch(start) = ready.grads[ready.output] {
                let target = &mut arena[start..start + len];
                target.iter_mut().zip(dy).for_each(|(to, from)| *to = T::from_f64(*from));
            }
        }
        if parallel::threads() > threads {
            return Err(Error::value("threads", format!("at most {threads} to the end of a step"), "more"));
        }
        Ok(verdict)
    }
}
