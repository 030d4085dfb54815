//! A run that keeps everything: the values of all layers, and the gradients to them, to the input and to the weights.
//!
//! It works in inference mode: dropout does nothing, and normalisations use their moving statistics.

use super::super::plan::{Purpose, Slot};
use super::super::run::{Batch, Memory};
use super::super::source::Source;
use super::super::structure::LayerInfo;
use super::super::{Data, Scores, View};
use super::train::Aim;
use super::{Extent, Network, PlanIndex};
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::memory;
use crate::parallel::{self, Interrupt};

/// Where gradients come from.
#[derive(Debug, Clone, Copy)]
pub enum Seed<'a> {
    /// Nowhere: values only.
    None,
    /// The gradient to the output of a layer, given by the caller for the whole batch.
    Output {
        /// Number of the layer.
        layer: usize,
        /// Its gradient.
        dy: &'a Source<'a>,
    },
    /// The compiled loss.
    Loss(&'a Data<'a>),
}

/// What a run has found; lists go by the number of the layer, inputs being the first.
#[derive(Debug, Clone)]
pub struct Inspection<T> {
    /// Sizes of the outputs, with the batch.
    pub shapes: Vec<Vec<usize>>,
    /// Outputs; None for layers that the one looked at does not depend on.
    pub values: Vec<Option<Vec<T>>>,
    /// Gradients of the same; None without a seed.
    pub gradients: Vec<Option<Vec<T>>>,
    /// Gradients of the weights, without a seed none.
    pub weights: Vec<Vec<T>>,
    /// Loss and metrics, if the loss was the seed.
    pub scores: Option<Scores>,
}

impl<T: Element> Network<T> {
    /// Runs a batch and keeps everything. The model is not changed.
    ///
    /// # Errors
    /// Data that do not fit, a layer that does not exist, no memory, an interrupt.
    pub fn inspect(
        &mut self,
        x: &[Source<'_>],
        seed: Seed<'_>,
        interrupt: Interrupt<'_>,
    ) -> Result<Inspection<T>> {
        // All tensors at once may take much more memory than a step: it is given back.
        let all = memory::filled(true, self.layers.len())?;
        let mut memory = Memory::empty();
        let frozen = std::mem::replace(&mut self.frozen, all);
        let found = memory::catch(|| self.inspected(&mut memory, x, seed, interrupt));
        self.frozen = frozen;
        found
    }

    fn inspected(
        &mut self,
        memory: &mut Memory<T>,
        x: &[Source<'_>],
        seed: Seed<'_>,
        interrupt: Interrupt<'_>,
    ) -> Result<Inspection<T>> {
        let batch = self.check_inputs(x)?;
        if batch == 0 {
            return Err(Error::shape("x", "at least 1 sample", 0));
        }
        let view = match seed {
            Seed::Output { layer, .. } => {
                let info = self.layers.get(layer).ok_or_else(|| {
                    Error::value("layer", format!("a number below {}", self.layers.len()), layer)
                })?;
                View::Edge(info.edge)
            }
            Seed::None | Seed::Loss(_) => View::Whole,
        };
        self.grads.get_mut().fill(T::ZERO);
        let at = self.plan(x, batch, Purpose::Inspect, view)?;
        let data = Batch { x, targets: &[], indices: None, first: 0 };
        let scores = match seed {
            Seed::None => {
                self.execute(memory, at, data, Extent::Outputs, None, interrupt)?;
                None
            }
            Seed::Output { dy, .. } => {
                self.plant(memory, at, dy)?;
                self.execute(memory, at, data, Extent::Gradients, None, interrupt)?;
                None
            }
            Seed::Loss(data) => Some(self.scored_step(memory, data, Aim::Inspect, interrupt)?),
        };
        self.findings(memory, at, !matches!(seed, Seed::None), scores)
    }

    /// Puts a gradient where that of the output belongs.
    fn plant(&self, memory: &mut Memory<T>, (plan, step_plan): PlanIndex, dy: &Source<'_>) -> Result<()> {
        let lowered = &self.plans[plan].lowered;
        let ready = &self.plans[plan].step_plans[step_plan];
        let output = ready.outputs[0];
        let len = lowered.lens[output];
        let fits = dy.rows() == ready.batch && dy.row_len() == len;
        if !fits {
            let expected = format!("{} samples of {len} elements", ready.batch);
            return Err(Error::shape("dy", expected, format!("{:?}", dy.shape)));
        }
        memory.reserve(ready, parallel::threads(), self.blocks.len())?;
        if let Slot::Batch(start) = ready.grads[output] {
            let target = &mut memory.arena.get_mut()[start..start + len * ready.batch];
            target.chunks_exact_mut(len.max(1)).enumerate().for_each(|(row, target)| dy.gather(row, target));
        }
        Ok(())
    }

    /// Copies of everything that a run has left.
    fn findings(
        &mut self,
        memory: &mut Memory<T>,
        (plan, step_plan): PlanIndex,
        backward: bool,
        scores: Option<Scores>,
    ) -> Result<Inspection<T>> {
        let plans = &self.plans[plan];
        let ready = &plans.step_plans[step_plan];
        let arena = memory.arena.get_mut();
        let copies = |slots: &[Slot]| -> Result<Vec<Option<Vec<T>>>> {
            let of_edge = |edge: usize| {
                let Some((tensor, _)) = plans.lowered.edges[edge].as_ref() else { return Ok(None) };
                let Slot::Batch(start) = slots[*tensor] else { return Ok(None) };
                let len = plans.lowered.lens[*tensor] * ready.batch;
                memory::copied(&arena[start..start + len]).map(Some)
            };
            self.layers.iter().map(|layer| of_edge(layer.edge)).collect()
        };
        let sizes = |layer: &LayerInfo| {
            let sizes = plans.lowered.edges[layer.edge].iter().flat_map(|(_, sizes)| sizes.iter().copied());
            std::iter::once(ready.batch).chain(sizes).collect()
        };
        let shapes = self.layers.iter().map(sizes).collect();
        let values = copies(&ready.values)?;
        let gradients = if backward { copies(&ready.grads)? } else { vec![None; self.layers.len()] };
        let grads = self.grads.get_mut();
        let weights =
            self.weights.iter().filter(|_| backward).map(|w| memory::copied(&grads[w.range.clone()]));
        let weights = weights.collect::<Result<_>>()?;
        Ok(Inspection { shapes, values, gradients, weights, scores })
    }
}
