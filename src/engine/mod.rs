//! Whole training and inference steps of a model, which is a graph of layers.
//!
//! A [`Network`] is built from a description once. A step is one call: it gathers a batch, runs forward, loss and
//! backward, refuses the update if anything is not finite, and updates, on memory that was planned before.

mod arena;
mod constraints;
mod custom_objective;
mod fitting;
pub mod init;
mod inspect;
pub mod layers;
mod loss;
mod lowering;
mod metric;
mod moving;
mod optim;
mod plan;
mod regularizers;
mod run;
pub mod source;
pub mod spec;
pub mod standalone;
mod structure;
mod train;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use custom_objective::{CustomLoss, CustomLosses, CustomObjective};
pub use inspect::{Inspection, Seed};
pub use layers::custom::{CustomCall, CustomLayer};
use lowering::{Graph, Lowered};
pub use moving::{MovedTargets, TargetGrids};
use optim::Block;
pub use plan::Purpose;
use plan::StepPlan;
use regularizers::Angles;
use run::Memory;
use source::Source;
use spec::{CompileSpec, ModelSpec, Size};
pub use structure::{LayerInfo, Structure, Weight};
use structure::{Node, Operation};

use crate::conv::Algorithm;
use crate::error::{Error, Result};
use crate::kernels::{Element, Kernels, Tier};
use crate::parallel::{self, Interrupt, Shared};

/// Input shapes whose plans are kept, and batch sizes for each.
const PLANS: usize = 8;
/// A shape for messages, with the batch: `(batch, 28, None, 1)`.
pub(crate) fn shape_text(sizes: &[Size]) -> String {
    let sizes = sizes.iter().map(|size| size.map_or_else(|| "None".to_string(), |n| n.to_string()));
    format!("({})", std::iter::once("batch".to_string()).chain(sizes).collect::<Vec<_>>().join(", "))
}

/// Sums over a batch, for every output, and what holds for all of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// Of every output.
    pub outputs: Vec<OutputScores>,
    /// What the weights add to the loss, before the step.
    pub penalty: f64,
}

/// Sums over a batch at an output: loss and its count, and what the metrics count.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputScores {
    /// Sum of the loss elements, weighted.
    pub loss: f64,
    /// Their number.
    pub count: f64,
    /// What every metric has counted.
    pub metrics: Vec<Vec<f64>>,
}

/// The data of a step, borrowed from the caller.
#[derive(Debug, Clone)]
pub struct Data<'a> {
    /// Inputs, in the order of the model's.
    pub x: &'a [Source<'a>],
    /// What the outputs are compared with, in their order.
    pub targets: &'a [Target<'a>],
    /// Rows of the batch; None for all.
    pub indices: Option<&'a [i64]>,
    /// Who looks at the outputs before the loss.
    pub custom: Option<CustomObjective<'a>>,
}

/// What an output is compared with.
#[derive(Debug, Clone, Default)]
pub struct Target<'a> {
    /// Labels; None for an output without a loss.
    pub y: Option<Source<'a>>,
    /// A weight per row, or one for every position of every row.
    pub sample_weight: Option<&'a [f64]>,
    /// Classes in ascending order with the weights that positions have by their class, 1 for all others.
    pub class_weight: &'a [(i64, f64)],
    /// Whether the labels follow layers that move samples.
    pub moving: Moving,
    /// Whether the rows are those of the batch, in its order, and not those of the data set.
    pub ordered: bool,
}

/// How targets follow layers that move what stands at the positions of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Moving {
    /// They stay as they are.
    #[default]
    Off,
    /// Each position takes the target that is next.
    Nearest,
    /// Numbers are mixed as those of the inputs are; class labels are not.
    Bilinear,
}

/// Which part of a model is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// All outputs, with layers fused.
    Step,
    /// All outputs, with every edge.
    Whole,
    /// One edge and what it depends on.
    Edge(usize),
}

/// Loss, metrics and optimizer, with the optimizer's state.
struct Compiled<T: Element> {
    spec: CompileSpec,
    slots: Vec<Shared<T>>,
}

impl<T: Element> Compiled<T> {
    /// Names of the slots.
    fn slot_names(&self) -> Vec<&'static str> {
        self.spec.optimizer.iter().flat_map(|o| o.slots()).map(|(name, _)| name).collect()
    }
}

/// Plans for inputs of some shapes.
struct Plans<T: Element> {
    shapes: Vec<Vec<usize>>,
    view: View,
    lowered: Lowered<T>,
    step_plans: Vec<StepPlan>,
}

/// A built model.
pub struct Network<T: Element> {
    nodes: Vec<Node<T>>,
    /// Edges that are the outputs.
    outputs: Vec<usize>,
    output_shapes: Vec<Vec<Size>>,
    /// Number of inputs, which are the first layers and edges.
    inputs: usize,
    layers: Vec<LayerInfo>,
    weights: Vec<Weight>,
    /// Of every layer, whether it is frozen.
    frozen: Vec<bool>,
    params: Shared<T>,
    grads: Shared<T>,
    /// Counts changes of the parameters, so that packed copies know when they are old.
    version: u64,
    /// Version of the parameters and what they add to the loss.
    penalty: (u64, f64),
    /// What was found with it for penalties on angles, by the number of the weight.
    angles: BTreeMap<usize, Angles<T>>,
    compiled: Option<Compiled<T>>,
    iterations: u64,
    blocks: Vec<Block>,
    /// Whether weights and slots are so small that no update overflows; None if they may have changed.
    tame: Option<bool>,
    plans: Vec<Plans<T>>,
    memory: Memory<T>,
    kernels: &'static Kernels<T>,
    /// What was set when the model was built.
    algorithm: Algorithm,
}

impl<T: Element> Network<T> {
    /// Builds a model and draws its initial weights.
    ///
    /// # Errors
    /// A layer does not fit its input; the message names it.
    pub fn new(spec: ModelSpec, seed: u64) -> Result<Self> {
        Self::with_guests(spec, Vec::new(), seed, &|| false)
    }

    /// The same with custom layers; drawing large weights asks `interrupt`.
    ///
    /// # Errors
    /// As [`Network::new`], those of the custom layers, and an interrupt.
    pub fn with_guests(
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
            memory: Memory::empty(),
            kernels: Kernels::of(tier),
            algorithm: Algorithm::current()?,
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

    /// The elements of weight `index`.
    pub fn weight(&mut self, index: usize) -> &[T] {
        &self.params.get_mut()[self.weights[index].range.clone()]
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
    fn cut_blocks(&mut self) {
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

    /// Bytes that a step on `batch` samples takes besides the data set: parameters, optimizer state, plan.
    ///
    /// # Errors
    /// A size of the input is unknown, or a layer does not fit it.
    pub fn memory(&mut self, batch: usize, training: bool) -> Result<usize> {
        let known = |info: &LayerInfo| {
            let sizes: Option<Vec<usize>> = info.input.iter().copied().collect();
            sizes.ok_or_else(|| Error::value(&info.name, "known sizes", shape_text(&info.input)))
        };
        let shapes = self.inputs().iter().map(known).collect::<Result<Vec<_>>>()?;
        let purpose = if training { Purpose::Train } else { Purpose::Infer };
        let (plan, step_plan) =
            self.plan_for(shapes.iter().map(Vec::as_slice), batch.max(1), purpose, View::Step)?;
        let plans = &self.plans[plan];
        let step_plan = &plans.step_plans[step_plan];
        let arena = step_plan.arena_len(parallel::threads()) * size_of::<T>()
            + step_plan.sums_len * size_of::<f64>()
            + step_plan.saved_len;
        let slots = self.compiled.as_ref().map_or(0, |c| c.slots.len());
        let flat = self.params.len() * size_of::<T>() * if training { 2 + slots } else { 1 };
        Ok(arena + flat + plans.lowered.bytes())
    }

    /// Gives back all memory that only saves time: plans with their packed weights, and what steps work in. The next
    /// step makes them anew.
    pub fn release_memory(&mut self) {
        self.plans = Vec::new();
        self.memory = Memory::empty();
        // It is found anew with the penalty.
        self.angles.clear();
        self.penalty.0 = 0;
    }

    /// Gives back what plans of larger inputs have left if this one needs much less: the memory of a large picture is
    /// not kept for small ones. Returns the place that the plan then has.
    fn give_back(&mut self, plan: usize, step_plan: usize) -> usize {
        if !self.memory.is_much_for(&self.plans[plan].step_plans[step_plan]) {
            return plan;
        }
        self.memory = Memory::empty();
        self.plans.swap(0, plan);
        self.plans.truncate(1);
        0
    }

    /// Finds or makes the plan for some inputs, a batch size and a purpose: its place in `plans` and in its `step_plans`.
    fn plan(
        &mut self,
        x: &[Source<'_>],
        batch: usize,
        purpose: Purpose,
        view: View,
    ) -> Result<(usize, usize)> {
        self.plan_for(x.iter().map(|x| &x.shape[1..]), batch, purpose, view)
    }

    /// The same for the shapes of a sample of the inputs.
    fn plan_for<'s>(
        &mut self,
        shapes: impl Iterator<Item = &'s [usize]> + Clone,
        batch: usize,
        purpose: Purpose,
        view: View,
    ) -> Result<(usize, usize)> {
        let at = self.lowered_for(shapes, view)?;
        let plans = &mut self.plans[at];
        let found = plans.step_plans.iter().position(|s| s.batch == batch && s.purpose == purpose);
        let step_plan = found.unwrap_or_else(|| {
            if plans.step_plans.len() == PLANS {
                plans.step_plans.remove(0);
            }
            plans.step_plans.push(StepPlan::new(&plans.lowered, batch, purpose));
            plans.step_plans.len() - 1
        });
        Ok((at, step_plan))
    }

    /// Finds or makes the ops for the shapes of a sample of the inputs: their place in `plans`.
    fn lowered_for<'s>(
        &mut self,
        shapes: impl Iterator<Item = &'s [usize]> + Clone,
        view: View,
    ) -> Result<usize> {
        let same = |plans: &Plans<T>| {
            plans.view == view && plans.shapes.iter().map(Vec::as_slice).eq(shapes.clone())
        };
        Ok(match self.plans.iter().position(same) {
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
}
