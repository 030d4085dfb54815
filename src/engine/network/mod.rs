//! A built model: what it is, and the plans of its steps. Its other methods are in the files of this folder.

mod execute;
mod inspect;
mod predict;
mod train;
mod weights;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

pub(super) use execute::{Extent, PlanIndex};
pub use inspect::{Inspection, Seed};
pub use predict::Request;

use super::layers::custom::CustomLayer;
use super::lowering::{Graph, Lowered};
use super::optim::{Block, Optimizer};
use super::peers::Peers;
use super::plan::{Purpose, StepPlan};
use super::regularizers::Angles;
use super::run::Memory;
use super::source::Source;
use super::spec::{ModelSpec, Size};
use super::structure::{LayerInfo, Node, Operation, Structure, Weight};
use super::{Compiled, View, init, shape_text};
use crate::conv::Algorithm;
use crate::error::{Error, Result};
use crate::kernels::{Element, Kernels, Tier};
use crate::parallel::{self, Interrupt, Shared, lock};

/// Input shapes whose plans are kept, and batch sizes for each.
const PLANS: usize = 8;

/// Plans for inputs of some shapes.
pub(super) struct Plans<T: Element> {
    pub(super) shapes: Vec<Vec<usize>>,
    pub(super) view: View,
    pub(super) lowered: Lowered<T>,
    pub(super) step_plans: Vec<StepPlan>,
}

impl<T: Element> Plans<T> {
    fn are_for<'s>(&self, shapes: impl Iterator<Item = &'s [usize]>, view: View) -> bool {
        self.view == view && self.shapes.iter().map(Vec::as_slice).eq(shapes)
    }

    /// The number of the plan for a batch size and a purpose, if there is one.
    fn step_plan(&self, batch: usize, purpose: Purpose) -> Option<usize> {
        self.step_plans.iter().position(|plan| plan.batch == batch && plan.purpose == purpose)
    }
}

/// Memory for steps: one that runs has some of it, and gives it back; predictions that run side by side have one each.
#[derive(Debug)]
pub(super) struct Memories<T: Element> {
    free: Mutex<Vec<Memory<T>>>,
}

impl<T: Element> Memories<T> {
    fn none() -> Self {
        Self { free: Mutex::default() }
    }

    /// The largest that is free, so that no other one grows to the size of a training step; or a new one.
    pub(super) fn take(&self) -> Memory<T> {
        let mut free = lock(&self.free);
        let largest = (0..free.len()).max_by_key(|&i| free[i].arena.len());
        largest.map_or_else(Memory::empty, |i| free.swap_remove(i))
    }

    /// Keeps memory for later steps.
    pub(super) fn give(&self, memory: Memory<T>) {
        lock(&self.free).push(memory);
    }

    /// Gives all back that no step has.
    fn clear(&self) {
        lock(&self.free).clear();
    }

    /// Whether some that is free is far more than a step needs.
    fn much_for(&self, step_plan: &StepPlan) -> bool {
        lock(&self.free).iter().any(|memory| memory.is_much_for(step_plan))
    }
}

/// A built model.
pub struct Network<T: Element> {
    pub(super) nodes: Vec<Node<T>>,
    /// Edges that are the outputs.
    pub(super) outputs: Vec<usize>,
    pub(super) output_shapes: Vec<Vec<Size>>,
    /// Number of inputs, which are the first layers and edges.
    pub(super) inputs: usize,
    pub(super) layers: Vec<LayerInfo>,
    pub(super) weights: Vec<Weight>,
    /// Of every layer, whether it is frozen.
    pub(super) frozen: Vec<bool>,
    pub(super) params: Shared<T>,
    pub(super) grads: Shared<T>,
    /// Counts changes of the parameters, so that packed copies know when they are old.
    pub(super) version: u64,
    /// Version of the parameters and what they add to the loss.
    pub(super) penalty: (u64, f64),
    /// What was found with it for penalties on angles, by the number of the weight.
    pub(super) angles: BTreeMap<usize, Angles<T>>,
    pub(super) compiled: Option<Compiled<T>>,
    pub(super) iterations: u64,
    pub(super) blocks: Vec<Block>,
    /// Whether weights and slots are so small that no update overflows; None if they may have changed.
    pub(super) tame: Option<bool>,
    pub(super) plans: Vec<Plans<T>>,
    /// What steps work in.
    pub(super) memories: Memories<T>,
    pub(super) kernels: &'static Kernels<T>,
    /// What was set when the model was built.
    pub(super) algorithm: Algorithm,
    /// Other ranks, during the calls that are shared with them.
    pub(super) peers: Option<Arc<dyn Peers>>,
}

impl<T: Element> Network<T> {
    /// Builds a model and draws its initial weights.
    ///
    /// # Errors
    /// A layer does not fit its input; the message names it.
    pub fn new(spec: ModelSpec, seed: u64) -> Result<Self> {
        Self::with_custom_layers(spec, Vec::new(), seed, &|| false)
    }

    /// The same with custom layers; drawing large weights asks `interrupt`.
    ///
    /// # Errors
    /// As [`Network::new`], those of the custom layers, and an interrupt.
    pub fn with_custom_layers(
        spec: ModelSpec,
        custom_layers: Vec<Arc<dyn CustomLayer<T>>>,
        seed: u64,
        interrupt: Interrupt<'_>,
    ) -> Result<Self> {
        Self::made(Structure::new(spec, custom_layers)?, seed, Tier::current()?, interrupt)
    }

    /// The same on a chosen tier.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn on_tier(spec: ModelSpec, seed: u64, tier: Tier) -> Result<Self> {
        Self::made(Structure::new(spec, Vec::new())?, seed, tier, &|| false)
    }

    fn made(structure: Structure<T>, seed: u64, tier: Tier, interrupt: Interrupt<'_>) -> Result<Self> {
        let output_shapes =
            (0..structure.outputs.len()).map(|output| structure.output_shape(output).to_vec()).collect();
        let Structure { nodes, outputs, inputs, layers, weights, initializers, len, .. } = structure;
        let mut network = Self {
            nodes,
            outputs,
            output_shapes,
            inputs,
            frozen: vec![false; layers.len()],
            layers,
            weights,
            params: Shared::zeroed(len)?,
            grads: Shared::zeroed(len)?,
            version: 1,
            penalty: (0, 0.0),
            angles: BTreeMap::new(),
            compiled: None,
            iterations: 0,
            blocks: Vec::new(),
            tame: None,
            plans: Vec::new(),
            memories: Memories::none(),
            kernels: Kernels::of(tier),
            algorithm: Algorithm::current()?,
            peers: None,
        };
        for (i, (weight, initializer)) in network.weights.iter().zip(&initializers).enumerate() {
            let out = &mut network.params.get_mut()[weight.range.clone()];
            init::fill(initializer, &weight.shape, (seed, i), out, interrupt)?;
        }
        network.cut_blocks();
        Ok(network)
    }

    /// The layers and containers of the description, by number; the inputs are the first.
    pub fn layers(&self) -> &[LayerInfo] {
        &self.layers
    }

    /// Sizes of the outputs, without the batch.
    pub fn output_shapes(&self) -> &[Vec<Size>] {
        &self.output_shapes
    }

    /// The inputs.
    pub fn inputs(&self) -> &[LayerInfo] {
        &self.layers[..self.inputs]
    }

    /// The weights, in Keras' order.
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// Multiply-adds of one sample in every layer of the description; None where sizes are unknown.
    pub fn macs(&self) -> Vec<Option<usize>> {
        let mut macs = vec![Some(0usize); self.layers.len()];
        for Node { operation, layer, .. } in &self.nodes {
            let input: Option<Vec<usize>> = self.layers[*layer].input.iter().copied().collect();
            if let Operation::Layer(own) = operation {
                macs[*layer] = input.and_then(|input| Some(macs[*layer]?.saturating_add(own.macs(&input))));
            }
        }
        macs
    }

    /// Optimizer steps taken.
    pub fn iterations(&self) -> u64 {
        self.iterations
    }

    /// The plan for a batch of the sizes that the inputs say.
    ///
    /// # Errors
    /// A size is unknown, or a layer does not fit it.
    pub(super) fn plan_of_known(&mut self, batch: usize, purpose: Purpose) -> Result<PlanIndex> {
        let known = |info: &LayerInfo| {
            let sizes: Option<Vec<usize>> = info.input.iter().copied().collect();
            sizes.ok_or_else(|| Error::value(&info.name, "known sizes", shape_text(&info.input)))
        };
        let shapes = self.inputs().iter().map(known).collect::<Result<Vec<_>>>()?;
        self.plan_for(shapes.iter().map(Vec::as_slice), batch.max(1), purpose, View::Step)
    }

    /// Bytes that a step on `batch` samples takes besides the data set: parameters, optimizer state, plan. `optimizer` is
    /// the one that will train; None for that which it is compiled with, if any.
    ///
    /// # Errors
    /// A size of the input is unknown, or a layer does not fit it.
    pub fn memory(&mut self, batch: usize, training: bool, optimizer: Option<&Optimizer>) -> Result<usize> {
        let purpose = if training { Purpose::Train } else { Purpose::Infer };
        let (plan, step_plan) = self.plan_of_known(batch, purpose)?;
        let plans = &self.plans[plan];
        let step_plan = &plans.step_plans[step_plan];
        let arena = step_plan.arena_len(parallel::threads()) * size_of::<T>()
            + step_plan.sums_len * size_of::<f64>()
            + step_plan.saved_len;
        let compiled = self.compiled.as_ref().map_or(0, |c| c.slots.len());
        let slots = optimizer.map_or(compiled, |optimizer| optimizer.slots().len());
        let flat = self.params.len() * size_of::<T>() * if training { 2 + slots } else { 1 };
        Ok(arena + flat + plans.lowered.bytes())
    }

    /// Gives back all memory that only saves time: plans with their packed weights, and what steps work in. The next
    /// step makes them anew.
    pub fn release_memory(&mut self) {
        self.plans = Vec::new();
        self.memories.clear();
        // It is found anew with the penalty.
        self.angles.clear();
        self.penalty.0 = 0;
    }

    /// Gives back what plans of larger inputs have left if this one needs much less: the memory of a large picture is
    /// not kept for small ones. Returns the place that the plan then has.
    fn give_back(&mut self, memory: &mut Memory<T>, (plan, step_plan): PlanIndex) -> PlanIndex {
        let ready = &self.plans[plan].step_plans[step_plan];
        if !memory.is_much_for(ready) && !self.memories.much_for(ready) {
            return (plan, step_plan);
        }
        *memory = Memory::empty();
        self.memories.clear();
        self.plans.swap(0, plan);
        self.plans.truncate(1);
        (0, step_plan)
    }

    /// Finds or makes the plan for some inputs, a batch size and a purpose: its place in `plans` and in its `step_plans`.
    fn plan(&mut self, x: &[Source<'_>], batch: usize, purpose: Purpose, view: View) -> Result<PlanIndex> {
        self.plan_for(x.iter().map(|x| &x.shape[1..]), batch, purpose, view)
    }

    /// The same for the shapes of a sample of the inputs.
    fn plan_for<'s>(
        &mut self,
        shapes: impl Iterator<Item = &'s [usize]> + Clone,
        batch: usize,
        purpose: Purpose,
        view: View,
    ) -> Result<PlanIndex> {
        let at = self.lowered_for(shapes, view)?;
        let plans = &mut self.plans[at];
        // The one that was used last comes last, the first one goes.
        let plan = match plans.step_plan(batch, purpose) {
            Some(found) if found + 1 == plans.step_plans.len() => return Ok((at, found)),
            Some(found) => plans.step_plans.remove(found),
            None => {
                if plans.step_plans.len() == PLANS {
                    plans.step_plans.remove(0);
                }
                StepPlan::new(&plans.lowered, batch, purpose)
            }
        };
        plans.step_plans.push(plan);
        Ok((at, plans.step_plans.len() - 1))
    }

    /// Finds or makes the ops for the shapes of a sample of the inputs: their place in `plans`.
    pub(super) fn lowered_for<'s>(
        &mut self,
        shapes: impl Iterator<Item = &'s [usize]> + Clone,
        view: View,
    ) -> Result<usize> {
        Ok(match self.plans.iter().position(|plans| plans.are_for(shapes.clone(), view)) {
            Some(at) => at,
            None => {
                let shapes: Vec<Vec<usize>> = shapes.map(<[usize]>::to_vec).collect();
                let edge;
                let outputs = match view {
                    View::Step | View::Whole => &self.outputs[..],
                    View::Edge(inspected) => {
                        edge = [inspected];
                        &edge[..]
                    }
                };
                let graph = Graph {
                    nodes: &self.nodes,
                    inputs: &shapes,
                    outputs,
                    fused: view == View::Step,
                    layers: &self.layers,
                    weights: &self.weights,
                    kernels: self.kernels,
                    algorithm: self.algorithm,
                };
                let lowered = Lowered::new(&graph)?;
                if self.plans.len() == PLANS {
                    self.plans.remove(0);
                }
                self.plans.push(Plans { shapes, view, lowered, step_plans: Vec::new() });
                self.plans.len() - 1
            }
        })
    }

    /// The plan for some inputs, if it is there.
    fn found(&self, x: &[Source<'_>], batch: usize, purpose: Purpose, view: View) -> Option<PlanIndex> {
        let plan =
            self.plans.iter().position(|plans| plans.are_for(x.iter().map(|x| &x.shape[1..]), view))?;
        Some((plan, self.plans[plan].step_plan(batch, purpose)?))
    }
}
