//! A plan as a program that runs: its phases in order, what it may change, and what is said if it is refused.

use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::super::layers::Random;
use super::super::lowering::{BACKWARD, FORWARD, INFERENCE, Lowered};
use super::super::optim::{Rates, Update};
use super::super::peers::Shares;
use super::super::plan::{self, Purpose, StepPlan, Work};
use super::super::run::{self, AllFinite, Batch, Goal, Memory, Own, Phases, Scoring, State, StepProgram};
use super::super::structure::Weight;
use super::{Network, Plans};
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::parallel::{self, Interrupt};

/// Where a plan is: the number of the shapes of the inputs, and that of the batch size and purpose.
pub(in super::super) type PlanIndex = (usize, usize);

/// How far a program goes.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Extent<'a> {
    /// Packs the weights.
    Pack,
    /// To the outputs.
    Outputs,
    /// To the gradients, from one that is given.
    Gradients,
    /// To loss and metrics, and with rates to the update.
    Scores {
        rates: Option<Rates>,
        /// What is scored at every output.
        scorings: &'a [Scoring],
        /// Whether custom losses have seen the outputs: the forward pass is over.
        custom: bool,
    },
}

impl<'a> Extent<'a> {
    /// With what it updates, if it does.
    fn rates(&self) -> Option<Rates> {
        if let Self::Scores { rates, .. } = self { *rates } else { None }
    }

    fn scorings(&self) -> &'a [Scoring] {
        if let Self::Scores { scorings, .. } = self { scorings } else { &[] }
    }

    /// Whether gradients are computed, by a plan for a purpose.
    fn backward(&self, purpose: Purpose) -> bool {
        let inspects = matches!(self, Self::Gradients | Self::Scores { .. });
        self.rates().is_some() || purpose == Purpose::Inspect && inspects
    }

    /// The passes whose packed weights are read.
    fn passes(&self, purpose: Purpose) -> &'static [usize] {
        match purpose {
            Purpose::Infer => &[FORWARD, INFERENCE],
            Purpose::Train if self.rates().is_some() => &[FORWARD, BACKWARD],
            Purpose::Train => &[FORWARD],
            Purpose::Inspect => &[FORWARD, BACKWARD],
        }
    }
}

/// What a program has found.
struct Found {
    outcome: Result<()>,
    /// The lowest layer with a gradient that is not finite, or [`run::BAD_LOSS`]; `usize::MAX` if all are.
    bad: usize,
    /// The lowest layer of which the update has made a number that is not finite; `usize::MAX` if there is none.
    spoilt: usize,
    /// Whether the update has made a number beyond its bound.
    large: bool,
}

impl<T: Element> Network<T> {
    /// Runs a plan on a batch. What it would have updated is as before if it fails.
    ///
    /// # Errors
    /// No memory, an interrupt, and of an update: numbers that are not finite.
    pub(in super::super) fn execute(
        &mut self,
        memory: &mut Memory<T>,
        (plan, step_plan): PlanIndex,
        batch: Batch<'_, '_>,
        extent: Extent<'_>,
        training: Option<Random>,
        interrupt: Interrupt<'_>,
    ) -> Result<()> {
        let updates = extent.rates().is_some();
        let tame = !updates || self.tame();
        let found = self.run(memory, (plan, step_plan), batch, extent, (training, tame), interrupt)?;
        self.close_undo(memory, found.outcome.is_err() || found.spoilt != usize::MAX);
        if updates && (found.large || !tame) {
            self.tame = None;
        }
        found.outcome?;
        let purpose = self.plans[plan].step_plans[step_plan].purpose;
        for pass in extent.passes(purpose) {
            self.plans[plan].lowered.packed_version[*pass] = self.version;
        }
        if updates && found.bad != usize::MAX {
            return Err(self.blame(memory, (plan, step_plan), found.bad)?);
        }
        if found.spoilt != usize::MAX {
            return Err(Error::Overflow { layer: self.layers[found.spoilt].name.clone() });
        }
        Ok(())
    }

    /// Whether a plan finds its packed weights as the weights are.
    pub(super) fn is_packed(&self, (plan, step_plan): PlanIndex, extent: Extent<'_>) -> bool {
        let Plans { lowered, step_plans, .. } = &self.plans[plan];
        let passes = extent.passes(step_plans[step_plan].purpose);
        passes.iter().all(|pass| lowered.packed_version[*pass] == self.version)
    }

    /// Runs a plan whose weights are packed and which updates nothing: others may do the same meanwhile, each with
    /// memory of its own.
    ///
    /// # Errors
    /// No memory, an interrupt.
    pub(super) fn execute_shared(
        &self,
        memory: &mut Memory<T>,
        at: PlanIndex,
        batch: Batch<'_, '_>,
        extent: Extent<'_>,
        training: Option<Random>,
        interrupt: Interrupt<'_>,
    ) -> Result<()> {
        debug_assert!(extent.rates().is_none() && self.is_packed(at, extent), "prepared");
        self.run(memory, at, batch, extent, (training, true), interrupt)?.outcome
    }

    fn run(
        &self,
        memory: &mut Memory<T>,
        (plan, step_plan): PlanIndex,
        batch: Batch<'_, '_>,
        extent: Extent<'_>,
        (training, tame): (Option<Random>, bool),
        interrupt: Interrupt<'_>,
    ) -> Result<Found> {
        let Plans { lowered, step_plans, .. } = &self.plans[plan];
        let ready = &step_plans[step_plan];
        let optimizer = self.compiled.as_ref().and_then(|c| c.spec.optimizer.as_ref());
        let update = optimizer.zip(extent.rates()).map(|(optimizer, rates)| Update::new(optimizer, rates));
        let mut phases = std::mem::take(&mut memory.phases);
        self.order((lowered, ready), extent, update.as_ref(), &mut phases);
        let workers = workers((lowered, ready), &phases, extent);
        let shares = self.shares((lowered, ready));
        if let Some(shares) = &shares {
            shares.order(matches!(extent, Extent::Outputs), &mut phases);
        }
        let whole = Own { samples: 0..ready.batch, chunks: 0..ready.chunks() };
        let own = shares.as_ref().map_or(whole, Shares::own);
        memory.reserve(ready, workers, self.blocks.len())?;
        if let Some(shares) = shares.as_ref().filter(|_| update.is_some()) {
            memory.reserve_nodes(shares.own_nodes().len().saturating_sub(1) * shares.node_len())?;
        }
        if update.is_some() {
            let constraints = run::constrained(&self.weights);
            let vectors = constraints.filter_map(|w| Some(w.constraint.as_ref()?.vectors(&w.shape)));
            memory.reserve_norms(vectors.max().unwrap_or(0))?;
        }
        let grows = || run::constrained(&self.weights).any(Weight::grows);
        let risky = !tame || update.is_some_and(|update| !update.moderate() || grows());
        let mut program = StepProgram {
            lowered,
            step_plan: ready,
            memory,
            state: State {
                params: &self.params,
                grads: &self.grads,
                slots: self.compiled.as_ref().map_or(&[], |c| &c.slots),
                blocks: &self.blocks,
                frozen: &self.frozen,
                weights: &self.weights,
                angles: &self.angles,
            },
            batch,
            goal: Goal {
                compiled: self.compiled.as_ref().map(|c| &c.spec),
                update,
                risky,
                scorings: extent.scorings(),
                backward: extent.backward(ready.purpose),
            },
            training,
            kernels: self.kernels,
            own,
            shares: shares.as_ref(),
            workers,
            part: 0..phases.len(),
            phases: &phases,
            bad_layer: AtomicUsize::new(usize::MAX),
            large_gradient: AtomicBool::new(false),
            large: AtomicBool::new(false),
            spoilt: AtomicUsize::new(usize::MAX),
        };
        let outcome = program.execute(workers, interrupt);
        let found = Found {
            outcome,
            bad: program.bad_layer.into_inner(),
            spoilt: program.spoilt.into_inner(),
            large: program.large.into_inner(),
        };
        memory.phases = phases;
        Ok(found)
    }

    /// The phases of a program.
    fn order(
        &self,
        (lowered, ready): (&Lowered<T>, &StepPlan),
        extent: Extent<'_>,
        update: Option<&Update<'_>>,
        phases: &mut Phases,
    ) {
        phases.clear();
        let stale = extent.passes(ready.purpose).iter();
        let stale = stale.filter(|pass| lowered.packed_version[**pass] != self.version);
        phases.push(stale.flat_map(|pass| lowered.pack_work(*pass)));
        if !matches!(extent, Extent::Pack | Extent::Scores { custom: true, .. }) {
            phases.extend(&ready.forward);
        }
        let scorings = extent.scorings();
        if !scorings.is_empty() {
            phases.push(ready.loss.iter().copied());
        }
        let overlaps = || scorings.iter().enumerate().filter(|(_, scoring)| scoring.overlap.is_some());
        if overlaps().next().is_some() {
            phases.push(overlaps().map(|(output, _)| (Work::ReduceLoss { output }, 1)));
            phases.push(overlaps().map(|(output, _)| (Work::Slope { output }, ready.loss[output].1)));
        }
        if extent.backward(ready.purpose) {
            phases.extend(&ready.backward);
        }
        let Some(update) = update else { return };
        if update.prepares(&self.blocks) {
            phases.push([(Work::Prepare, self.blocks.len())]);
            phases.push([(Work::Clip, 1)]);
        }
        phases.push([(Work::Keep, 1)]);
        let weights = std::iter::once((Work::Update, self.blocks.len()));
        let (first, further) = ready.commits.split_at(ready.commits.len().min(1));
        phases.push(weights.chain(first.iter().flatten().copied()));
        phases.extend(further);
        phases.push([(Work::Constrain, run::constrained(&self.weights).count())]);
    }

    /// Names the first layer whose output is not finite, else what the step found.
    ///
    /// # Errors
    /// The other ranks cannot be asked.
    fn blame(&self, memory: &mut Memory<T>, (plan, step_plan): PlanIndex, bad: usize) -> Result<Error> {
        let Plans { lowered, step_plans, .. } = &self.plans[plan];
        let step_plan = &step_plans[step_plan];
        let arena = memory.arena.get_mut();
        let name = |layer: usize| self.layers[layer].name.clone();
        let shares = self.shares((lowered, step_plan));
        let samples = shares.as_ref().map_or(0..step_plan.batch, |shares| shares.own().samples);
        let finite = |active: &plan::Active| match step_plan.values[active.output] {
            plan::Slot::Batch(start) => {
                let len = lowered.lens[active.output];
                let values = &arena[start + samples.start * len..start + samples.end * len];
                self.kernels.tier.vectorize(AllFinite(values))
            }
            _ => true,
        };
        let first = step_plan.active.iter().position(|active| !finite(active)).unwrap_or(usize::MAX);
        let first = shares.map_or(Ok(first), |shares| shares.least(first))?;
        if let Some(active) = step_plan.active.get(first) {
            let layer = name(lowered.ops[active.op].layer);
            return Ok(Error::NonFinite { what: "the output", layer });
        }
        if bad == run::BAD_LOSS {
            return Ok(Error::NonFinite { what: "the loss", layer: "the model".to_string() });
        }
        let finalizes = |active: &plan::Active| {
            let planned = &lowered.ops[active.op];
            planned.layer == bad && planned.op.statistics().is_some()
        };
        let statistics = step_plan.active.iter().any(finalizes);
        let what = if statistics { "a statistic or gradient" } else { "the gradient" };
        Ok(Error::NonFinite { what, layer: name(bad) })
    }
}

/// How many threads a program is worth.
///
/// Most of the work is in stacks and split ops: where they are one task each, a helper would only look on.
fn workers<T: Element>(
    (lowered, ready): (&Lowered<T>, &StepPlan),
    phases: &Phases,
    extent: Extent<'_>,
) -> usize {
    let heavy = |(work, tasks): &(Work, usize)| match work {
        Work::Forward { .. }
        | Work::Backward { .. }
        | Work::SplitForward { .. }
        | Work::SplitBackward { .. }
        | Work::SplitGrad { .. } => Some(*tasks),
        _ => None,
    };
    let tasks = if matches!(extent, Extent::Pack) {
        phases.all().iter().map(|(_, tasks)| *tasks).sum()
    } else {
        phases.all().iter().filter_map(heavy).max().unwrap_or(1)
    };
    let shared = plan::shared(lowered, ready.batch, extent.rates().is_some());
    if shared { parallel::threads().min(tasks) } else { 1 }
}
