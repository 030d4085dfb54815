//! The steps of a model for one input shape: a graph in topological order, with what is fused across layers.

use std::collections::BTreeSet;
use std::ops::Range;

use super::layers::{Site, Step, merge};
use super::plan::Work;
use super::spec::Size;
use super::structure::{LayerInfo, Node, Operation, Weight, check_extent};
use crate::conv::Algorithm;
use crate::error::{Error, Result};
use crate::kernels::{Element, Kernels};
use crate::memory;
use crate::parallel::Shared;

/// Alignment of packed weights, in elements.
const LINE: usize = 16;

/// Elements of packed weights that a task writes, if they can be cut.
const PACK_TASK: usize = 16 << 10;

/// Sets of packed weights.
pub(super) const PASSES: usize = 3;
/// For the forward pass.
pub(super) const FORWARD: usize = 0;
/// For the backward pass.
pub(super) const BACKWARD: usize = 1;
/// For inference, where it differs from the forward pass in training: with the normalisation behind folded in, or the
/// coefficients of one that stands alone.
pub(super) const INFERENCE: usize = 2;

/// A step and its layers in the shared buffers.
pub(super) struct Planned<T: Element> {
    pub step: Box<dyn Step<T>>,
    /// Number of the layer it belongs to.
    pub layer: usize,
    /// Tensors that it reads.
    pub inputs: Vec<usize>,
    /// Tensor that it writes.
    pub output: usize,
    /// Its packed weights.
    pub packed: [Range<usize>; PASSES],
    /// Its weight gradient in a chunk's partial gradients; empty where it is not summed sample by sample.
    pub partial: Range<usize>,
    /// The sums that it comes from, if those of all steps stood in a row.
    pub sums: Range<usize>,
    /// Step whose normalisation goes into this one's weights at inference.
    pub folds: Option<usize>,
}

impl<T: Element> Planned<T> {
    /// Turns its sums over a chunk of samples into its part of the chunk's partial gradients.
    pub fn finish(&self, sums: &mut [T], partial: &mut [T]) {
        self.step.finish(sums);
        let (mut from, mut to) = (0, 0);
        for (number, weight) in self.step.weights().iter().enumerate() {
            partial[to..to + weight.len()].copy_from_slice(&sums[from..from + weight.len()]);
            from += self.step.sums_len(number);
            to += weight.len();
        }
    }
}

/// The steps of a model for one input shape.
pub(super) struct Steps<T: Element> {
    /// In topological order.
    pub steps: Vec<Planned<T>>,
    /// Elements of a sample of every tensor; tensor 0 is the input.
    pub lens: Vec<usize>,
    /// Tensor that is the output.
    pub output: usize,
    /// The tensor of every edge and its sizes, where layers do not share steps; None for those that do not lead to the
    /// output.
    pub edges: Vec<Option<(usize, Vec<usize>)>>,
    /// Sizes of the output, without the batch.
    pub output_shape: Vec<usize>,
    /// Packed weights of all steps.
    pub packed: [Shared<T>; PASSES],
    /// Version of the parameters that they were packed from.
    pub packed_version: [u64; PASSES],
    /// Parts of a chunk's partial gradients and where they belong in the flat gradient.
    pub partials: Vec<(Range<usize>, Range<usize>)>,
    /// Elements of a chunk's partial gradients.
    pub partial_len: usize,
}

/// What the steps are made from.
pub(super) struct Graph<'a, T: Element> {
    pub nodes: &'a [Node<T>],
    /// Sizes of a sample.
    pub input: &'a [usize],
    /// Edge that is the output; what does not lead there is left out.
    pub output: usize,
    /// Whether layers may share steps, so that not every edge exists.
    pub fused: bool,
    pub layers: &'a [LayerInfo],
    pub weights: &'a [Weight],
    /// The kernels in use, and which algorithms convolutions may take.
    pub kernels: &'static Kernels<T>,
    pub algorithm: Algorithm,
}

impl<T: Element> Graph<'_, T> {
    /// Of every edge, whether the output depends on it.
    fn needed(&self) -> Vec<bool> {
        let mut needed = vec![false; self.nodes.len() + 1];
        needed[self.output] = true;
        for (i, node) in self.nodes.iter().enumerate().rev() {
            if needed[i + 1] {
                node.inputs.iter().for_each(|&edge| needed[edge] = true);
            }
        }
        needed
    }
}

impl<T: Element> Steps<T> {
    /// Plans all layers for an input.
    pub fn new(graph: &Graph<'_, T>) -> Result<Self> {
        let input = graph.input;
        let mut steps: Vec<Planned<T>> = Vec::new();
        let mut lens = vec![input.iter().product()];
        // Of every edge that leads to the output: the tensor that stands for it, and its sizes.
        let mut edges: Vec<Option<(usize, Vec<usize>)>> = vec![None; graph.nodes.len() + 1];
        edges[0] = Some((0, input.to_vec()));
        let needed = graph.needed();
        for (i, Node { operation, layer, inputs }) in
            graph.nodes.iter().enumerate().filter(|(i, _)| needed[i + 1])
        {
            let name = &graph.layers[*layer].name;
            let (mut reads, shapes): (Vec<usize>, Vec<Vec<usize>>) =
                inputs.iter().filter_map(|&edge| edges[edge].clone()).unzip();
            let (own, output) =
                steps_of(graph, (operation, *layer), &shapes).map_err(|error| error.in_layer(name))?;
            for step in own {
                lens.push(step.output_len());
                let (inputs, output) = (std::mem::replace(&mut reads, vec![lens.len() - 1]), lens.len() - 1);
                let (packed, partial, sums) = (Default::default(), 0..0, 0..0);
                steps.push(Planned {
                    step,
                    layer: *layer,
                    inputs,
                    output,
                    packed,
                    partial,
                    sums,
                    folds: None,
                });
            }
            edges[i + 1] = Some((reads[0], output));
        }
        let (output, output_shape) = edges[graph.output].clone().unwrap_or_default();
        let mut planned = Self {
            steps,
            lens,
            output,
            edges,
            output_shape,
            packed: [Shared::empty(), Shared::empty(), Shared::empty()],
            packed_version: [0; PASSES],
            partials: Vec::new(),
            partial_len: 0,
        };
        if graph.fused {
            planned.fuse_activations();
            planned.leave_masks();
            planned.fold_normalizations();
        }
        planned.place_weights()?;
        Ok(planned)
    }

    /// The only step that reads a tensor, if there is exactly one reader.
    fn only_reader(&self, tensor: usize) -> Option<usize> {
        let readers = |step: &Planned<T>| step.inputs.iter().filter(|&&t| t == tensor).count();
        let total: usize = self.steps.iter().map(readers).sum();
        let only = total == 1 && tensor != self.output;
        self.steps.iter().position(|step| step.inputs.contains(&tensor)).filter(|_| only)
    }

    fn producer(&self, tensor: usize) -> Option<usize> {
        self.steps.iter().position(|step| step.output == tensor)
    }

    /// Lets steps do the ReLU that alone reads their output.
    fn fuse_activations(&mut self) {
        let mut i = 0;
        while i < self.steps.len() {
            let from = self.steps[i].inputs[0];
            let alone = self.steps[i].step.is_relu() && self.only_reader(from) == Some(i);
            let front = self.producer(from).filter(|_| alone);
            if front.is_some_and(|front| self.steps[front].step.take_relu()) {
                let gone = self.steps.remove(i).output;
                let inputs = self.steps.iter_mut().flat_map(|step| &mut step.inputs);
                inputs.filter(|t| **t == gone).for_each(|t| *t = from);
                if self.output == gone {
                    self.output = from;
                }
            } else {
                i += 1;
            }
        }
    }

    /// Lets a max-pool mask by the sign of its maxima what a fused ReLU in front would mask by all elements.
    fn leave_masks(&mut self) {
        for i in 0..self.steps.len() {
            let from = self.steps[i].inputs[0];
            let front = self.producer(from).filter(|_| self.only_reader(from) == Some(i));
            if let Some(front) = front.filter(|&front| self.steps[front].step.masks_by_sign())
                && self.steps[i].step.take_mask()
            {
                self.steps[front].step.leave_mask();
            }
        }
    }

    /// Finds the normalisations that can be part of the weights in front at inference.
    fn fold_normalizations(&mut self) {
        for i in 0..self.steps.len() {
            let Some(statistics) = self.steps[i].step.statistics() else { continue };
            let from = self.steps[i].inputs[0];
            let coefficients = memory::demand(memory::filled(T::ZERO, statistics.coefficients_len()));
            let channels = statistics.channel_map(&coefficients).map(|map| map.scale.len());
            let front = self.producer(from).filter(|_| self.only_reader(from) == Some(i));
            if let Some(front) = front
                && channels.is_some()
                && self.steps[front].step.foldable() == channels
            {
                self.steps[front].folds = Some(i);
            }
        }
    }

    /// Gives packed weights and partial gradients their layers.
    fn place_weights(&mut self) -> Result<()> {
        let (mut total, mut sums) = ([0; PASSES], 0);
        let folded = self.folded();
        for i in 0..self.steps.len() {
            let step = self.steps[i].step.as_ref();
            let [forward, backward] = step.packed_len();
            let inference = match (self.steps[i].folds, step.statistics()) {
                (Some(_), _) => forward + step.foldable().unwrap_or(0),
                (None, Some(statistics)) if !folded.contains(&i) => statistics.coefficients_len(),
                _ => 0,
            };
            let lens = [forward, backward, inference];
            let first = (self.partial_len, sums);
            if step.batch().is_none() && step.statistics().is_none() && step.outside().is_none() {
                for (number, weight) in step.weights().iter().enumerate() {
                    let range = self.partial_len..self.partial_len + weight.len();
                    self.partial_len = range.end;
                    self.partials.push((range, weight.clone()));
                    sums += step.sums_len(number);
                }
            }
            self.steps[i].packed = [0, 1, 2].map(|pass| total[pass]..total[pass] + lens[pass]);
            self.steps[i].partial = first.0..self.partial_len;
            self.steps[i].sums = first.1..sums;
            total = [0, 1, 2].map(|pass| (total[pass] + lens[pass]).next_multiple_of(LINE));
        }
        for (packed, len) in self.packed.iter_mut().zip(total) {
            *packed = Shared::zeroed(len)?;
        }
        Ok(())
    }

    /// The steps that are part of another one at inference.
    pub fn folded(&self) -> BTreeSet<usize> {
        self.steps.iter().filter_map(|step| step.folds).collect()
    }

    /// Multiply-adds of a sample, roughly: every weight at every position.
    pub fn macs(&self) -> usize {
        let of = |p: &Planned<T>| p.step.weights().iter().map(Range::len).sum::<usize>() * p.step.positions();
        self.steps.iter().map(of).sum()
    }

    /// The tasks that pack the weights for a pass.
    pub fn pack_work(&self, pass: usize) -> impl Iterator<Item = (Work, usize)> {
        let tasks = move |step: usize| {
            let len = self.steps[step].packed[pass].len();
            (Work::Pack { step, pass }, len.div_ceil(self.pack_piece(step, pass).max(1)))
        };
        (0..self.steps.len()).map(tasks).filter(|(_, tasks)| *tasks > 0)
    }

    /// Elements of packed weights that a task writes.
    fn pack_piece(&self, step: usize, pass: usize) -> usize {
        let planned = &self.steps[step];
        match pass {
            INFERENCE => planned.packed[pass].len(),
            _ => PACK_TASK.next_multiple_of(planned.step.pack_grain(pass).max(1)),
        }
    }

    /// Packs a part of the weights of a step for a pass.
    pub fn pack(&self, (step, pass): (usize, usize), task: usize, params: &[T]) {
        let planned = &self.steps[step];
        let all = &planned.packed[pass];
        let piece = self.pack_piece(step, pass);
        let first = task * piece;
        let part = all.start + first..(all.start + first + piece).min(all.end);
        let mut packed = self.packed[pass].write(part);
        let normalization = planned.folds.map_or(planned, |behind| &self.steps[behind]);
        match normalization.step.statistics() {
            Some(statistics) if pass == INFERENCE => {
                let mut coefficients = memory::demand(memory::filled(T::ZERO, statistics.coefficients_len()));
                statistics.settle_moving(params, &mut coefficients);
                match statistics.channel_map(&coefficients).filter(|_| planned.folds.is_some()) {
                    Some(map) => planned.step.fold_batch_norm(params, map, &mut packed),
                    None => packed.copy_from_slice(&coefficients),
                }
            }
            _ => planned.step.pack(pass, params, first, &mut packed),
        }
    }

    /// Bytes of the packed weights.
    pub fn bytes(&self) -> usize {
        self.packed.iter().map(Shared::len).sum::<usize>() * size_of::<T>()
    }
}

/// Steps and output sizes of a node.
#[expect(clippy::type_complexity, reason = "a pair of plain lists")]
fn steps_of<T: Element>(
    graph: &Graph<'_, T>,
    (operation, number): (&Operation<T>, usize),
    inputs: &[Vec<usize>],
) -> Result<(Vec<Box<dyn Step<T>>>, Vec<usize>)> {
    let sizes = |shape: &[usize]| shape.iter().map(|&n| Some(n)).collect::<Vec<_>>();
    let known = |output: Vec<Size>| -> Result<Vec<usize>> {
        check_extent(&output)?;
        let sizes: Vec<usize> = output.into_iter().flatten().collect();
        check_memory::<T>(&sizes)?;
        Ok(sizes)
    };
    Ok(match operation {
        Operation::Layer(layer) => {
            let output = known(layer.output_shape(&sizes(&inputs[0]))?)?;
            let own = graph.weights.iter().filter(|w| w.layer == number);
            let weights: Vec<Range<usize>> = own.map(|w| w.range.clone()).collect();
            let &Graph { kernels, algorithm, .. } = graph;
            let site = Site { input: &inputs[0], weights: &weights, kernels, algorithm, layer: number };
            (layer.steps(&site)?, output)
        }
        Operation::Merge(kind) => {
            let output =
                merge::output_shape(*kind, &inputs.iter().map(|shape| sizes(shape)).collect::<Vec<_>>());
            let output = output
                .map_err(|error| super::fitting::advised(error, graph.nodes, None, &sizes(graph.input)))?;
            (vec![merge::step(*kind, inputs, graph.kernels.tier)], known(output)?)
        }
    })
}

/// Checks that a sample of these sizes fits into memory, before tables of its positions are made: where they do not fit,
/// the process ends.
fn check_memory<T>(sizes: &[usize]) -> Result<()> {
    const WORTH_A_TRIAL: usize = 1 << 30;
    // What tables hold of a position at most.
    const POSITION: usize = 64;
    let table = sizes.iter().max().map_or(0, |longest| longest.saturating_mul(POSITION));
    let bytes = table.max(sizes.iter().product::<usize>() * size_of::<T>());
    let bytes = bytes.min(isize::MAX as usize);
    let trial = if bytes < WORTH_A_TRIAL { Ok(()) } else { Vec::<u8>::new().try_reserve_exact(bytes) };
    trial.map_err(|_| Error::Memory { bytes })
}
