//! Steps whose loss or metrics are custom: a function sees the outputs between the two halves of a step.
//!
//! The forward pass is one program and what follows another. In between no helper runs and no lock of the pool is held,
//! so that the function may take as long as it likes, and may fail.

use super::layers::Random;
use super::network::{Extent, PlanIndex};
use super::plan::Slot;
use super::run::{Batch, Memory, Scoring};
use super::spec::Loss;
use super::{Data, Network};
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::memory;
use crate::parallel::{self, Interrupt};

/// What a custom loss says of an output of a batch.
#[derive(Debug, Clone)]
pub struct CustomLoss {
    /// The loss of every sample, times its weight.
    pub losses: Vec<f64>,
    /// Loss values that they are the sums of.
    pub count: f64,
    /// Gradient of the reduced loss to the outputs.
    pub dy: Vec<f64>,
}

/// A function of the number of an output, its values and their sizes.
pub type CustomLosses<'a> = dyn Fn(usize, &[f64], &[usize]) -> Result<Option<CustomLoss>> + Sync + 'a;

/// Custom losses and metrics: sees the outputs of a batch, one after the other; None leaves a loss to the engine.
#[derive(Clone, Copy)]
pub struct CustomObjective<'a>(pub &'a CustomLosses<'a>);

impl std::fmt::Debug for CustomObjective<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CustomObjective")
    }
}

impl<T: Element> Network<T> {
    /// Runs a batch forward, calls custom losses and puts the gradients that they give where the backward pass begins, and
    /// what else they say among what is scored.
    pub(super) fn run_custom_objectives(
        &mut self,
        memory: &mut Memory<T>,
        (plan, step_plan): PlanIndex,
        data: &Data<'_>,
        training: Option<Random>,
        scorings: &mut [Scoring],
        interrupt: Interrupt<'_>,
    ) -> Result<()> {
        let Some(objective) = data.custom else { return self.check_objectives(scorings) };
        // Room for both halves: memory that grows in between would lose what the first one left.
        let threads = parallel::threads();
        memory.reserve(&self.plans[plan].step_plans[step_plan], threads, self.blocks.len())?;
        let batch = Batch { x: data.x, targets: &[], indices: data.indices, first: 0 };
        self.execute(memory, (plan, step_plan), batch, Extent::Outputs, training, interrupt)?;
        for (output, scoring) in scorings.iter_mut().enumerate() {
            self.run_custom_objective(memory, (plan, step_plan), objective, output, scoring)?;
        }
        if parallel::threads() > threads {
            return Err(Error::value("threads", format!("at most {threads} to the end of a step"), "more"));
        }
        self.check_objectives(scorings)
    }

    /// Calls the custom loss of an output.
    fn run_custom_objective(
        &self,
        memory: &mut Memory<T>,
        (plan, step_plan): PlanIndex,
        objective: CustomObjective<'_>,
        output: usize,
        scoring: &mut Scoring,
    ) -> Result<()> {
        let plans = &self.plans[plan];
        let ready = &plans.step_plans[step_plan];
        let tensor = ready.outputs[output];
        let len = plans.lowered.lens[tensor] * ready.batch;
        let arena = memory.arena.get_mut();
        let Slot::Batch(start) = ready.values[tensor] else {
            return Err(Error::internal("a plan whose outputs have no place"));
        };
        let outputs = memory::collect(arena[start..start + len].iter().map(|x| x.to_f64()))?;
        let mut shape = vec![ready.batch];
        shape.extend(&plans.lowered.output_shapes[output]);
        let Some(loss) = (objective.0)(output, &outputs, &shape)? else { return Ok(()) };
        let CustomLoss { losses, dy, count } = loss;
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

    /// Checks that every loss is computed once.
    pub(super) fn check_objectives(&self, scorings: &[Scoring]) -> Result<()> {
        let objectives = self.compiled.iter().flat_map(|compiled| &compiled.spec.outputs);
        let custom = objectives.map(|objective| objective.loss.as_ref().is_some_and(Loss::custom));
        if custom.zip(scorings).all(|(custom, scoring)| custom == scoring.losses.is_some()) {
            return Ok(());
        }
        Err(Error::value("loss", "computed by the engine or by a function", "both or neither"))
    }
}
