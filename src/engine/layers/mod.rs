//! Layers: what a description means ([`Layer`]) and what runs once the sizes are known ([`Op`]).
//!
//! A layer knows its shapes and weights; for a concrete input it plans one op, several, or none. Most ops work
//! sample by sample, so that a stack of them runs depth first on a few samples that stay in cache; an op that wants
//! the whole batch at once offers [`BatchOp`].

mod activation;
pub(super) mod activity;
mod adaptive;
mod along;
pub(super) mod augment;
mod batch_norm;
mod colour;
mod conv;
mod conv_transpose;
pub(super) mod custom;
mod dense;
mod depthwise;
mod dot;
mod dropout;
mod factory;
mod group_norm;
pub(super) mod merge;
mod mix_up;
pub(super) mod moving;
mod noise;
mod normalization;
mod pad;
mod pool;
mod prelu;
mod rescaling;
mod reshaping;
pub(super) mod resizing;
pub(super) mod stft;
mod time;

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;

pub use self::factory::layer;
use super::spec::{Constraint, Initializer, L1L2, Regularizer, Size};
use crate::conv::{Algorithm, KernelBlocks, Scratch};
use crate::error::{Error, Result};
use crate::geometry::{Padding, Window};
use crate::kernels::{Element, Kernels};
use crate::norm::Affine;

/// A weight of a layer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct WeightSpec {
    /// Its name in the layer.
    pub name: Cow<'static, str>,
    /// Its shape.
    pub shape: Vec<usize>,
    /// How it starts.
    pub initializer: Initializer,
    /// Whether an optimizer may change it; statistics change by themselves.
    pub trainable: bool,
    /// What it adds to the loss, where the layer says so and not its description.
    pub regularizer: Option<Regularizer>,
    /// What it is held to, likewise.
    pub constraint: Option<Constraint>,
}

impl WeightSpec {
    /// A weight that is learned.
    fn new(name: &'static str, shape: Vec<usize>, initializer: &Initializer) -> Self {
        Self {
            name: Cow::Borrowed(name),
            shape,
            initializer: initializer.clone(),
            trainable: true,
            regularizer: None,
            constraint: None,
        }
    }

    /// A weight that follows the data, and no gradient.
    fn statistic(name: &'static str, shape: Vec<usize>, initializer: &Initializer) -> Self {
        Self { trainable: false, ..Self::new(name, shape, initializer) }
    }
}

/// Where the weights of a layer are in the flat buffers, in the order in which the layer named them.
pub type Ranges = [Range<usize>];

/// What planning needs besides the input size.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a, T: 'static> {
    /// Sizes of the input, without the batch.
    pub input: &'a [usize],
    /// Place of the layer's weights.
    pub weights: &'a Ranges,
    /// The kernels in use.
    pub kernels: &'static Kernels<T>,
    /// Which algorithms convolutions may take.
    pub algorithm: Algorithm,
    /// Number of the layer in the model: a coordinate of its random numbers.
    pub layer: usize,
}

/// What a description means.
pub trait Layer<T: Element>: Send + Sync {
    /// Sizes of the output, without the batch.
    ///
    /// # Errors
    /// The input does not fit.
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>>;

    /// The weights, in Keras' order.
    ///
    /// # Errors
    /// The input does not fit or leaves a weight's size open.
    fn weights(&self, input: &[Size]) -> Result<Vec<WeightSpec>> {
        let _ = input;
        Ok(Vec::new())
    }

    /// Multiply-adds of one sample.
    fn macs(&self, input: &[usize]) -> usize {
        let _ = input;
        0
    }

    /// Whether its ops may be ones of [`Op::moves`].
    fn moves(&self) -> bool {
        false
    }

    /// Plans the ops for a concrete input.
    ///
    /// # Errors
    /// The input does not fit.
    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>>;
}

/// Which tensors a gradient is computed from, besides `dy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keeps {
    /// The input.
    pub input: bool,
    /// The output.
    pub output: bool,
    /// Bytes a sample that the forward pass writes down.
    pub saved: usize,
}

/// Where random numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Random {
    /// Seed of the run.
    pub seed: u64,
    /// Optimizer steps taken.
    pub step: u64,
}

/// What ops see of the network while they run.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a, T> {
    /// All parameters.
    pub params: &'a [T],
    /// This op's packed weights.
    pub packed: &'a [T],
    /// What a [`Statistics`] op computes with in training.
    pub coefficients: &'a [T],
    /// The normalisation that the packed weights contain, at inference.
    pub folded: Option<FoldedNorm>,
    /// Number of the first sample in the batch.
    pub first: usize,
    /// Samples.
    pub samples: usize,
    /// Samples of the whole batch.
    pub batch: usize,
    /// None at inference, where dropout and its like do nothing.
    pub training: Option<Random>,
}

/// A normalisation that went into the weights of the op before it: [`Op::fold_batch_norm`] wrote them and a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoldedNorm {
    /// Whether a ReLU follows.
    pub relu: bool,
}

/// Tensors of a backward call.
#[derive(Debug)]
pub struct Backward<'a, 'b, T> {
    /// The inputs, if kept.
    pub x: &'a [&'a [T]],
    /// The output, if kept.
    pub y: &'a [T],
    /// What the forward pass wrote down.
    pub saved: &'a [u8],
    /// Gradient of the output; free to be overwritten.
    pub dy: &'a mut [T],
    /// Gradient of every input, where anybody wants it; to be overwritten.
    pub dx: &'a mut [Option<&'b mut [T]>],
    /// Sums for the gradients of this op's weights, [`Op::sums_len`] elements each; contributions are added.
    pub grads: &'a mut [T],
}

/// One planned operation: it reads one tensor, or several, and writes one.
pub trait Op<T: Element>: Send + Sync {
    /// Elements of one output sample.
    fn output_len(&self) -> usize;

    /// What the backward pass looks at.
    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    /// Places of this op's weights, in the order of its gradients.
    fn weights(&self) -> &Ranges {
        &[]
    }

    /// Elements of the sums that become the gradient of a weight, itself in the first of them.
    fn sums_len(&self, weight: usize) -> usize {
        self.weights()[weight].len()
    }

    /// Turns the sums over a chunk of samples into gradients, in place.
    fn finish(&self, sums: &mut [T]) {
        let _ = sums;
    }

    /// Elements of the weights packed for the forward and for the backward pass.
    fn packed_len(&self) -> [usize; 2] {
        [0, 0]
    }

    /// Elements of the packed weights at whose multiples they may be packed in parts.
    fn pack_grain(&self, pass: usize) -> usize {
        self.packed_len()[pass]
    }

    /// Packs the weights for one of the two passes: what stands from element `first` on.
    fn pack(&self, pass: usize, params: &[T], first: usize, part: &mut [T]) {
        let _ = (pass, params, first, part);
    }

    /// Positions of the output that share this op's weights.
    fn positions(&self) -> usize {
        1
    }

    /// Whether the op is a plain ReLU, which the op before may take over.
    fn is_relu(&self) -> bool {
        false
    }

    /// Applies a ReLU to the output as well. Returns whether this op can.
    fn take_relu(&mut self) -> bool {
        false
    }

    /// Channels of the output, the last axis, if a scale and a shift of each can go into the weights.
    fn foldable(&self) -> Option<usize> {
        None
    }

    /// Packs the weights for a forward pass whose results go through `map`, and after them one bias per channel.
    fn fold_batch_norm(&self, params: &[T], map: Affine<'_, T>, packed: &mut [T]) {
        let _ = (params, map, packed);
    }

    /// Whether the backward pass masks `dy` by the sign of the output (a fused ReLU).
    fn masks_by_sign(&self) -> bool {
        false
    }

    /// Leaves that mask to the max-pool after it; the output need not be kept any more.
    fn leave_mask(&mut self) {}

    /// Applies the mask of the op before as well. Returns whether this op can.
    fn take_mask(&mut self) -> bool {
        false
    }

    /// What the loss is charged for the outputs.
    fn activity(&self) -> Option<L1L2> {
        None
    }

    /// Whether output equals input at inference.
    fn idle_at_inference(&self) -> bool {
        false
    }

    /// What it moves, if it does.
    fn moves(&self) -> Option<moving::Moves<'_>> {
        None
    }

    /// Whether positions do not keep their order along the axes of the grid.
    fn rearranges(&self) -> bool {
        false
    }

    /// Computes the outputs of some samples; `x` has one slice for each tensor that is read.
    fn forward(
        &self,
        cx: &Context<'_, T>,
        x: &[&[T]],
        y: &mut [T],
        saved: &mut [u8],
        scratch: &mut Scratch<T>,
    );

    /// Computes the gradients of some samples.
    fn backward(&self, cx: &Context<'_, T>, tensors: Backward<'_, '_, T>, scratch: &mut Scratch<T>);

    /// The op as one that wants the whole batch.
    fn batch(&self) -> Option<&dyn BatchOp<T>> {
        None
    }

    /// The op as one whose samples can be cut.
    fn split(&self) -> Option<&dyn SplitOp<T>> {
        None
    }

    /// The op as one that needs statistics of the whole batch.
    fn statistics(&self) -> Option<&dyn Statistics<T>> {
        None
    }

    /// The op as one that the engine does not compute.
    fn custom(&self) -> Option<&dyn CustomOutcome> {
        None
    }
}

/// An op that runs outside of programs, on the whole batch, and may fail.
pub trait CustomOutcome: Send + Sync {
    /// What came of the last call.
    ///
    /// # Errors
    /// Those of whoever computes it.
    fn outcome(&self) -> Result<()>;
}

/// An op whose weight gradient is a sum over the whole batch, cut by weights and not by samples.
///
/// It keeps its input, and [`Op::backward`] leaves the weights alone. How it is cut is a matter of the shapes only.
pub trait BatchOp<T: Element>: Send + Sync {
    /// Whether its maps want many samples, too, so that it never stands in a stack: else it does at inference.
    fn maps_batch(&self) -> bool {
        true
    }

    /// Samples that a task of a map of tensors should have at least, so that their arithmetic hides the reading of the
    /// weights.
    fn least_samples(&self) -> usize {
        1
    }

    /// Multiply-adds of the weight gradient of a sample.
    fn grad_macs(&self) -> usize;

    /// Positions at least of the parts of a large batch that the weight gradient is summed in, which are added up; None
    /// where it is always a single chain.
    fn part_positions(&self) -> Option<usize> {
        None
    }

    /// In how many tasks the weight gradient is cut; a matter of the shapes only.
    fn grad_tasks(&self) -> usize;

    /// The length of the rows that the input consists of, and which elements of a row some tasks read; None where they
    /// read all of the input.
    fn columns(&self, _tasks: &Range<usize>) -> Option<(usize, Range<usize>)> {
        None
    }

    /// Parts of the gradients that a task computes, kernel and bias, as ranges of the flat buffers; one may be empty.
    /// Those of the kernel, the first of [`Op::weights`], follow each other from task to task; the bias does not depend on
    /// the input.
    fn grad_ranges(&self, task: usize) -> [Range<usize>; 2];

    /// Computes the part `range` (one of a task's `grad_ranges`) from inputs and (masked) output gradients of some samples,
    /// sample after sample, and writes it over what is in `grads`.
    fn grad(&self, operands: (&[T], &[T]), range: Range<usize>, grads: &mut [T], scratch: &mut Scratch<T>);

    /// The blocks of the kernel, a task each, if its gradient is computed in such: `grad_ranges` are of the bias alone.
    fn grad_blocks(&self) -> Option<KernelBlocks> {
        None
    }

    /// Computes the gradient of a block of the kernel, tap by tap.
    fn grad_block(&self, operands: (&[T], &[T]), block: usize, grads: &mut [T], scratch: &mut Scratch<T>) {
        let _ = (operands, block, grads, scratch);
        unreachable!("an op without blocks");
    }
}

/// An op whose samples can be cut into tasks for several threads where a batch has few samples.
///
/// A map of tensors has the same bytes however it is cut. It reads one tensor, saves nothing else, and does its backward
/// pass in three calls: the mask, then the gradients to the input and to the weights in any order.
pub trait SplitOp<T: Element>: Send + Sync {
    /// Multiply-adds of a sample in one pass.
    fn macs(&self) -> usize;

    /// The output and the gradient to the input: elements of a sample, at which multiples it had best be cut, and how many
    /// of these hide the reading of the weights.
    fn units(&self) -> [(usize, usize, usize); 2];

    /// The same for what the weight gradient is a sum over.
    fn grad_unit(&self) -> (usize, usize);

    /// Rows of equal length into which the kernel can be cut for its gradient.
    fn kernel_rows(&self) -> usize;

    /// Computes what stands from element `first` of an output on.
    fn forward_region(&self, cx: &Context<'_, T>, x: &[T], y: (&mut [T], usize), scratch: &mut Scratch<T>);

    /// Finishes the gradient of some elements of the output, where [`Op::masks_by_sign`] asks for it.
    fn mask(&self, y: &[T], dy: &mut [T]);

    /// Computes what stands from element `first` of the gradient to an input on.
    fn input_grad_region(
        &self,
        cx: &Context<'_, T>,
        dy: &[T],
        dx: (&mut [T], usize),
        scratch: &mut Scratch<T>,
    );

    /// Adds to rows `kernel` of the sums for the kernel's gradient what `elements` contribute, whole units of the tensor that is
    /// summed over; `operands` are `x` and `dy` of a whole sample.
    fn kernel_grad_piece(
        &self,
        operands: (&[T], &[T]),
        elements: Range<usize>,
        kernel: Range<usize>,
        dkernel: &mut [T],
        scratch: &mut Scratch<T>,
    );

    /// Turns the sums over a chunk of samples, of some rows of the kernel, into gradients.
    fn finish_piece(&self, sums: &mut [T]);

    /// Adds what a sample contributes to the gradient of the bias.
    fn bias_grad(&self, dy: &[T], dbias: &mut [T]);
}

/// An op that computes with statistics of the whole batch, in both passes.
///
/// Whoever writes the input sums it up, part by part of the batch; the parts are joined, in an order that the batch
/// alone decides on, and made into coefficients before the op runs. Backward likewise: the sums of the gradients first, then the gradient to the
/// input ([`Op::backward`]).
pub trait Statistics<T: Element>: Send + Sync {
    /// Elements of the coefficients.
    fn coefficients_len(&self) -> usize;

    /// The first of them, which [`Statistics::finalize`] writes.
    fn finalized_len(&self) -> usize;

    /// Numbers that a part of the batch is summed up in, forward and backward.
    fn part_len(&self) -> [usize; 2];

    /// Sums up the inputs of a part.
    fn sum_inputs(&self, x: &[T], part: &mut [f64]);

    /// Joins a part with the one after it. Backward they are just added.
    fn join_inputs(&self, part: &mut [f64], after: &[f64]);

    /// Makes coefficients of the parts joined.
    fn finalize(&self, params: &[T], whole: &[f64], coefficients: &mut [T]);

    /// The coefficients at inference and in a frozen layer, from what training has left.
    fn finalize_moving(&self, params: &[T], coefficients: &mut [T]);

    /// The map that `coefficients` stand for, if it is one of the channels of the last axis.
    fn channel_map<'a>(&self, coefficients: &'a [T]) -> Option<Affine<'a, T>>;

    /// Whether a ReLU follows.
    fn relu(&self) -> bool;

    /// Finishes the gradient of some outputs and adds it to the sums of a part.
    fn sum_gradients(&self, coefficients: &[T], x: &[T], dy: &mut [T], part: &mut [f64]);

    /// Makes coefficients of the sums of the gradient; in a frozen layer the input does not act on the statistics.
    fn finalize_gradients(&self, sums: &[f64], batch: usize, frozen: bool, coefficients: &mut [T]);

    /// The gradient of weight `range`, one of [`Op::weights`].
    fn weight_gradient(&self, range: &Range<usize>, sums: &[f64], coefficients: &[T], grads: &mut [T]);

    /// Places of the moving statistics.
    fn moving(&self) -> &Ranges;

    /// Moves statistic number `index` of [`Statistics::moving`] towards the batch.
    fn commit(&self, index: usize, coefficients: &[T], moving: &mut [T]);
}

/// Splits a shape of a known rank into spatial sizes and channels.
fn spatial(input: &[Size], rank: usize) -> Result<(&[Size], Size)> {
    match input {
        [sizes @ .., channels] if sizes.len() == rank => Ok((sizes, *channels)),
        _ => Err(Error::shape(
            "input",
            format!("{} axes (batch, {rank} spatial, channels)", rank + 2),
            super::shape_text(input),
        )),
    }
}

/// The known sizes of a shape.
fn known(sizes: &[Size]) -> Option<Vec<usize>> {
    sizes.iter().copied().collect()
}

/// Output sizes of a window, axis by axis, by what `output` says of one axis; unknown ones stay unknown.
fn window_shape(
    window: &Window,
    sizes: &[Size],
    output: impl Fn(&Window, usize) -> Result<usize>,
) -> Result<Vec<Size>> {
    let of_axis = |(i, size): (usize, &Size)| {
        let Some(size) = *size else { return Ok(None) };
        let pick = |list: &[usize]| list.get(i).map_or_else(Vec::new, |&n| vec![n]);
        let padding = match &window.padding {
            Padding::Explicit(pairs) => Padding::Explicit(pairs.get(i).copied().into_iter().collect()),
            rule => rule.clone(),
        };
        let axis = Window {
            kernel: pick(&window.kernel),
            stride: pick(&window.stride),
            dilation: pick(&window.dilation),
            padding,
        };
        output(&axis, size).map(Some)
    };
    sizes.iter().enumerate().map(of_axis).collect()
}
