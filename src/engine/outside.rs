//! Steps whose loss or metrics are somebody else's: a caller is shown the outputs between the two halves of a step.
//!
//! The forward pass is one program and what follows another. In between no helper runs and no lock of the pool is held,
//! so that the caller may take as long as it likes, and may fail.

use super::layers::Random;
use super::plan::Slot;
use super::run::{Batch, Scoring};
use super::spec::Loss;
use super::train::Extent;
use super::{Data, Network};
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::memory;
use crate::parallel::{self, Interrupt};

/// What a loss says of an output of a batch.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The loss of every sample, times its weight.
    pub losses: Vec<f64>,
    /// Loss values that they are the sums of.
    pub count: f64,
    /// Gradient of the reduced loss to the outputs.
    pub dy: Vec<f64>,
}

/// A function of the number of an output, its values and their sizes.
pub type Verdicts<'a> = dyn Fn(usize, &[f64], &[usize]) -> Result<Option<Verdict>> + Sync + 'a;

/// Somebody who looks at the outputs of a batch, one after the other; None leaves the loss to the engine.
#[derive(Clone, Copy)]
pub struct Judge<'a>(pub &'a Verdicts<'a>);

impl std::fmt::Debug for Judge<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Judge")
    }
}

impl<T: Element> Network<T> {
    /// Runs a batch forward, asks the judge and puts the gradients that it gives where the backward pass begins, and
    /// what else it says among what is scored.
    pub(super) fn judged(
        &mut self,
        (plan, step_plan): (usize, usize),
        data: &Data<'_>,
        training: Option<Random>,
        scorings: &mut [Scoring],
        interrupt: Interrupt<'_>,
    ) -> Result<()> {
        let Some(judge) = data.judge else { return self.check_judges(scorings) };
        // Room for both halves: memory that grows in between would lose what the first one left.
        let threads = parallel::threads();
        self.memory.reserve(&self.plans[plan].step_plans[step_plan], threads, self.blocks.len())?;
        let batch = Batch { x: data.x, targets: &[], indices: data.indices, first: 0 };
        self.execute((plan, step_plan), batch, Extent::Outputs, training, interrupt)?;
        for (output, scoring) in scorings.iter_mut().enumerate() {
            self.judge((plan, step_plan), judge, output, scoring)?;
        }
        if parallel::threads() > threads {
            return Err(Error::value("threads", format!("at most {threads} to the end of a step"), "more"));
        }
        self.check_judges(scorings)
    }

    /// Shows an output to the judge.
    fn judge(
        &mut self,
        (plan, step_plan): (usize, usize),
        judge: Judge<'_>,
        output: usize,
        scoring: &mut Scoring,
    ) -> Result<()> {
        let plans = &self.plans[plan];
        let ready = &plans.step_plans[step_plan];
        let tensor = ready.outputs[output];
        let len = plans.lowered.lens[tensor] * ready.batch;
        let arena = self.memory.arena.get_mut();
        let Slot::Batch(start) = ready.values[tensor] else {
            return Err(Error::internal("a plan whose outputs have no place"));
        };
        let outputs = memory::collect(arena[start..start + len].iter().map(|x| x.to_f64()))?;
        let mut shape = vec![ready.batch];
        shape.extend(&plans.lowered.output_shapes[output]);
        let Some(verdict) = (judge.0)(output, &outputs, &shape)? else { return Ok(()) };
        let Verdict { losses, dy, count } = verdict;
        if losses.len() != ready.batch || dy.len() != len {
            let expected = format!("{} losses and {len} gradients", ready.batch);
            return Err(Error::shape("loss", expected, format!("{} and {}", losses.len(), dy.len())));
        }
        let objectives = self.compiled.as_ref().map(|compiled| &compiled.spec.outputs);
        let weight = objectives.and_then(|all| all.get(output)).map_or(1.0, |objective| objective.weight);
        if let Slot::Batch(start) = ready.grads[tensor] {
            let target = &mut arena[start..start + len];
            target.iter_mut().zip(&dy).for_each(|(to, from)| *to = T::from_f64(weight * from));
        }
        scoring.count = count;
        scoring.losses = Some(losses);
        Ok(())
    }

    /// Checks that every loss has one judge.
    fn check_judges(&self, scorings: &[Scoring]) -> Result<()> {
        let objectives = self.compiled.iter().flat_map(|compiled| &compiled.spec.outputs);
        let outside = objectives.map(|objective| objective.loss.as_ref().is_some_and(Loss::outside));
        if outside.zip(scorings).all(|(outside, scoring)| outside == scoring.losses.is_some()) {
            return Ok(());
        }
        Err(Error::value("loss", "one judge, the engine or its caller", "none or two"))
    }
}
