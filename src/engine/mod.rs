//! Whole training and inference steps of a model, which is a graph of layers.
//!
//! A [`Network`] is built from a description once. A step is one call: it gathers a batch, runs forward, loss and
//! backward, refuses the update if anything is not finite, and updates, on memory that was planned before.

mod arena;
mod constraints;
mod custom_objective;
mod fitting;
pub mod init;
pub mod layers;
mod loss;
mod lowering;
mod metric;
mod moving;
mod network;
mod optim;
mod peers;
mod plan;
mod regularizers;
mod run;
pub mod source;
pub mod spec;
pub mod standalone;
mod structure;

pub use custom_objective::{CustomLoss, CustomLosses, CustomObjective};
pub use layers::custom::{CustomCall, CustomLayer};
pub use moving::{MovedTargets, TargetGrids};
pub use network::{Inspection, Network, Request, Seed};
pub use peers::{Payload, Peers, SharedNetwork, prediction_share};
pub use plan::Purpose;
use source::Source;
use spec::{CompileSpec, Size};
pub use structure::{LayerInfo, Structure, Weight};

use crate::kernels::Element;
use crate::parallel::Shared;

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
