//! The ops of a model for one input shape: a graph in topological order, with what is fused across layers.

use std::collections::BTreeSet;
use std::ops::Range;

use super::layers::{Op, Site, merge};
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

/// A op and its layers in the shared buffers.
pub(super) struct PlannedOp<T: Element> {
    pub op: Box<dyn Op<T>>,
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
    /// The sums that it comes from, if those of all ops stood in a row.
    pub sums: Range<usize>,
    /// Op whose normalisation goes into this one's weights at inference.
    pub folds: Option<usize>,
}

impl<T: Element> PlannedOp<T> {
    /// Turns its sums over a chunk of samples into its part of the chunk's partial gradients.
    pub fn finish(&self, sums: &mut [T], partial: &mut [T]) {
        self.op.finish(sums);
        let (mut from, mut to) = (0, 0);
        for (number, weight) in self.op.weights().iter().enumerate() {
            partial[to..to + weight.len()].copy_from_slice(&sums[from..from + weight.len()]);
            from += self.op.sums_len(number);
            to += weight.len();
        }
    }
}

/// The ops of a model for one input shape.
pub(super) struct Lowered<T: Element> {
    /// In topological order.
    pub ops: Vec<PlannedOp<T>>,
    /// Elements of a sample of every tensor; tensor 0 is the input.
    pub lens: Vec<usize>,
    /// Tensor that is the output.
    pub output: usize,
    /// The tensor of every edge and its sizes, where layers do not share ops; None for those that do not lead to the
    /// output.
    pub edges: Vec<Option<(usize, Vec<usize>)>>,
    /// Sizes of the output, without the batch.
    pub output_shape: Vec<usize>,
    /// Packed weights of all ops.
    pub packed: [Shared<T>; PASSES],
    /// Version of the parameters that they were packed from.
    pub packed_version: [u64; PASSES],
    /// Parts of a chunk's partial gradients and where they belong in the flat gradient.
    pub partials: Vec<(Range<usize>, Range<usize>)>,
    /// Elements of a chunk's partial gradients.
    pub partial_len: usize,
}

/// What the ops are made from.
pub(super) struct Graph<'a, T: Element> {
    pub nodes: &'a [Node<T>],
    /// Sizes of a sample.
    pub input: &'a [usize],
    /// Edge that is the output; what does not lead there is left out.
    pub output: usize,
    /// Whether layers may share ops, so that not every edge exists.
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

impl<T: Element> Lowered<T> {
    /// Plans all layers for an input.
    pub fn new(graph: &Graph<'_, T>) -> Result<Self> {
        let input = graph.input;
        let mut ops: Vec<PlannedOp<T>> = Vec::new();
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
            for op in own {
                lens.push(op.output_len());
                let (inputs, output) = (std::mem::replace(&mut reads, vec![lens.len() - 1]), lens.len() - 1);
                let (packed, partial, sums) = (Default::default(), 0..0, 0..0);
                ops.push(PlannedOp { op, layer: *layer, inputs, output, packed, partial, sums, folds: None });
            }
            edges[i + 1] = Some((reads[0], output));
        }
        let (output, output_shape) = edges[graph.output].clone().unwrap_or_default();
        let mut planned = Self {
            ops,
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

    /// The only op that reads a tensor, if there is exactly one reader.
    fn only_reader(&self, tensor: usize) -> Option<usize> {
        let readers = |op: &PlannedOp<T>| op.inputs.iter().filter(|&&t| t == tensor).count();
        let total: usize = self.ops.iter().map(readers).sum();
        let only = total == 1 && tensor != self.output;
        self.ops.iter().position(|op| op.inputs.contains(&tensor)).filter(|_| only)
    }

    fn producer(&self, tensor: usize) -> Option<usize> {
        self.ops.iter().position(|op| op.output == tensor)
    }

    /// Lets ops do the ReLU that alone reads their output.
    fn fuse_activations(&mut self) {
        let mut i = 0;
        while i < self.ops.len() {
            let from = self.ops[i].inputs[0];
            let alone = self.ops[i].op.is_relu() && self.only_reader(from) == Some(i);
            let front = self.producer(from).filter(|_| alone);
            if front.is_some_and(|front| self.ops[front].op.take_relu()) {
                let gone = self.ops.remove(i).output;
                let inputs = self.ops.iter_mut().flat_map(|op| &mut op.inputs);
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
        for i in 0..self.ops.len() {
            let from = self.ops[i].inputs[0];
            let front = self.producer(from).filter(|_| self.only_reader(from) == Some(i));
            if let Some(front) = front.filter(|&front| self.ops[front].op.masks_by_sign())
                && self.ops[i].op.take_mask()
            {
                self.ops[front].op.leave_mask();
            }
        }
    }

    /// Finds the normalisations that can be part of the weights in front at inference.
    fn fold_normalizations(&mut self) {
        for i in 0..self.ops.len() {
            let Some(statistics) = self.ops[i].op.statistics() else { continue };
            let from = self.ops[i].inputs[0];
            let coefficients = memory::demand(memory::filled(T::ZERO, statistics.coefficients_len()));
            let channels = statistics.channel_map(&coefficients).map(|map| map.scale.len());
            let front = self.producer(from).filter(|_| self.only_reader(from) == Some(i));
            if let Some(front) = front
                && channels.is_some()
                && self.ops[front].op.foldable() == channels
            {
                self.ops[front].folds = Some(i);
            }
        }
    }

    /// Gives packed weights and partial gradients their layers.
    fn place_weights(&mut self) -> Result<()> {
        let (mut total, mut sums) = ([0; PASSES], 0);
        let folded = self.folded();
        for i in 0..self.ops.len() {
            let op = self.ops[i].op.as_ref();
            let [forward, backward] = op.packed_len();
            let inference = match (self.ops[i].folds, op.statistics()) {
                (Some(_), _) => forward + op.foldable().unwrap_or(0),
                (None, Some(statistics)) if !folded.contains(&i) => statistics.coefficients_len(),
                _ => 0,
            };
            let lens = [forward, backward, inference];
            let first = (self.partial_len, sums);
            if op.batch().is_none() && op.statistics().is_none() && op.outside().is_none() {
                for (number, weight) in op.weights().iter().enumerate() {
                    let range = self.partial_len..self.partial_len + weight.len();
                    self.partial_len = range.end;
                    self.partials.push((range, weight.clone()));
                    sums += op.sums_len(number);
                }
            }
            self.ops[i].packed = [0, 1, 2].map(|pass| total[pass]..total[pass] + lens[pass]);
            self.ops[i].partial = first.0..self.partial_len;
            self.ops[i].sums = first.1..sums;
            total = [0, 1, 2].map(|pass| (total[pass] + lens[pass]).next_multiple_of(LINE));
        }
        for (packed, len) in self.packed.iter_mut().zip(total) {
            *packed = Shared::zeroed(len)?;
        }
        Ok(())
    }

    /// The ops that are part of another one at inference.
    pub fn folded(&self) -> BTreeSet<usize> {
        self.ops.iter().filter_map(|op| op.folds).collect()
    }

    /// Multiply-adds of a sample, roughly: every weight at every position.
    pub fn macs(&self) -> usize {
        let of = |p: &PlannedOp<T>| p.op.weights().iter().map(Range::len).sum::<usize>() * p.op.positions();
        self.ops.iter().map(of).sum()
    }

    /// The tasks that pack the weights for a pass.
    pub fn pack_work(&self, pass: usize) -> impl Iterator<Item = (Work, usize)> {
        let tasks = move |op: usize| {
            let len = self.ops[op].packed[pass].len();
            (Work::Pack { op, pass }, len.div_ceil(self.pack_piece(op, pass).max(1)))
        };
        (0..self.ops.len()).map(tasks).filter(|(_, tasks)| *tasks > 0)
    }

    /// Elements of packed weights that a task writes.
    fn pack_piece(&self, op: usize, pass: usize) -> usize {
        let planned = &self.ops[op];
        match pass {
            INFERENCE => planned.packed[pass].len(),
            _ => PACK_TASK.next_multiple_of(planned.op.pack_grain(pass).max(1)),
        }
    }

    /// Packs a part of the weights of a op for a pass.
    pub fn pack(&self, (op, pass): (usize, usize), task: usize, params: &[T]) {
        let planned = &self.ops[op];
        let all = &planned.packed[pass];
        let piece = self.pack_piece(op, pass);
        let first = task * piece;
        let part = all.start + first..(all.start + first + piece).min(all.end);
        let mut packed = self.packed[pass].write(part);
        let normalization = planned.folds.map_or(planned, |behind| &self.ops[behind]);
        match normalization.op.statistics() {
            Some(statistics) if pass == INFERENCE => {
                let mut coefficients = memory::demand(memory::filled(T::ZERO, statistics.coefficients_len()));
                statistics.settle_moving(params, &mut coefficients);
                match statistics.channel_map(&coefficients).filter(|_| planned.folds.is_some()) {
                    Some(map) => planned.op.fold_batch_norm(params, map, &mut packed),
                    None => packed.copy_from_slice(&coefficients),
                }
            }
            _ => planned.op.pack(pass, params, first, &mut packed),
        }
    }

    /// Bytes of the packed weights.
    pub fn bytes(&self) -> usize {
        self.packed.iter().map(Shared::len).sum::<usize>() * size_of::<T>()
    }
}

/// Lowered and output sizes of a node.
#[expect(clippy::type_complexity, reason = "a pair of plain lists")]
fn steps_of<T: Element>(
    graph: &Graph<'_, T>,
    (operation, number): (&Operation<T>, usize),
    inputs: &[Vec<usize>],
) -> Result<(Vec<Box<dyn Op<T>>>, Vec<usize>)> {
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
            (layer.ops(&site)?, output)
        }
        Operation::Merge(kind) => {
            let output =
                merge::output_shape(*kind, &inputs.iter().map(|shape| sizes(shape)).collect::<Vec<_>>());
            let output = output
                .map_err(|error| super::fitting::advised(error, graph.nodes, None, &sizes(graph.input)))?;
            (vec![merge::op(*kind, inputs, graph.kernels.tier)], known(output)?)
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
