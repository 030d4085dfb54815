//! The ops of a model for one input shape: a graph in topological order, with what is fused across layers.

use std::collections::BTreeSet;
use std::ops::Range;

use super::layers::{Op, Site, merge};
use super::moving::Path;
use super::plan::Work;
use super::spec::{Merge, Size};
use super::structure::{LayerInfo, Node, Operation, Weight, check_extent};
use crate::conv::Algorithm;
use crate::error::{Error, Result};
use crate::kernels::{Element, Kernels};
use crate::memory;
use crate::parallel::Shared;
use crate::tuning::{COPY_TASK_ELEMENTS, LINE_ELEMENTS};

/// Sets of packed weights.
pub(super) const PASSES: usize = 3;
/// For the forward pass.
pub(super) const FORWARD: usize = 0;
/// For the backward pass.
pub(super) const BACKWARD: usize = 1;
/// For inference, where it differs from the forward pass in training: with the normalisation after it folded in, or the
/// coefficients of one that stands alone.
pub(super) const INFERENCE: usize = 2;

/// An op and its layers in the shared buffers.
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
    /// Whether it always acts as at inference.
    pub inference: bool,
    /// Whether other ops have the same weights.
    pub shared: bool,
    /// Whether later ops, which run backward before it, have written a gradient of its weights already.
    pub adds: bool,
    /// The number of ops before it with the same weights.
    pub call: usize,
}

impl<T: Element> PlannedOp<T> {
    /// Whether its weight gradients are summed sample by sample, chunk by chunk.
    pub fn sums_by_sample(&self) -> bool {
        self.op.batch().is_none() && self.op.statistics().is_none() && self.op.custom().is_none()
    }

    /// Of every weight, where its gradient is in the finished sums, and where in the partial gradients.
    pub fn summed(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let (mut from, mut to) = (self.sums.start, self.partial.start);
        self.op.weights().iter().enumerate().map(move |(number, weight)| {
            let places = (from..from + weight.len(), to..to + weight.len());
            from += self.op.sums_len(number);
            to += weight.len();
            places
        })
    }
}

/// The ops of a model for one input shape.
pub(super) struct Lowered<T: Element> {
    /// In topological order.
    pub ops: Vec<PlannedOp<T>>,
    /// Elements of a sample of every tensor; the inputs come first.
    pub lens: Vec<usize>,
    /// Number of inputs.
    pub inputs: usize,
    /// Tensors that are the outputs, no two of them the same.
    pub outputs: Vec<usize>,
    /// The tensor of every edge and its sizes, where layers do not share ops; None for those that do not lead to the
    /// output.
    pub edges: Vec<Option<(usize, Vec<usize>)>>,
    /// Sizes of the outputs, without the batch.
    pub output_shapes: Vec<Vec<usize>>,
    /// Packed weights of all ops.
    pub packed: [Shared<T>; PASSES],
    /// Version of the parameters that they were packed from.
    pub packed_version: [u64; PASSES],
    /// Weights whose gradients are summed chunk by chunk.
    pub partials: Vec<Partial>,
    /// Elements of a chunk's partial gradients.
    pub partial_len: usize,
    /// What targets of every output have to follow.
    pub paths: Vec<Path>,
}

/// A weight whose gradient is a sum of parts of the chunks' partial gradients.
pub(super) struct Partial {
    /// The parts in a chunk, one for every op that has the weight.
    pub parts: Vec<Range<usize>>,
    /// Its place in the flat gradient.
    pub target: Range<usize>,
    /// Whether an op of another kind has written to that place.
    pub adds: bool,
}

/// What the ops are made from.
pub(super) struct Graph<'a, T: Element> {
    pub nodes: &'a [Node<T>],
    /// Sizes of a sample of every input.
    pub inputs: &'a [Vec<usize>],
    /// Edges that are the outputs; what does not lead there is left out.
    pub outputs: &'a [usize],
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
        let first = self.inputs.len();
        let mut needed = vec![false; first + self.nodes.len()];
        self.outputs.iter().for_each(|&edge| needed[edge] = true);
        for (i, node) in self.nodes.iter().enumerate().rev() {
            if needed[first + i] {
                node.inputs.iter().for_each(|&edge| needed[edge] = true);
            }
        }
        needed
    }
}

impl<T: Element> Lowered<T> {
    /// Plans all layers for some inputs.
    pub fn new(graph: &Graph<'_, T>) -> Result<Self> {
        let inputs = graph.inputs.len();
        // Of every edge that leads to an output: the tensor that stands for it, and its sizes.
        let mut edges: Vec<Option<(usize, Vec<usize>)>> = vec![None; inputs + graph.nodes.len()];
        for (i, shape) in graph.inputs.iter().enumerate() {
            edges[i] = Some((i, shape.clone()));
        }
        let mut planned = Self {
            ops: Vec::new(),
            lens: graph.inputs.iter().map(|shape| shape.iter().product()).collect(),
            inputs,
            outputs: Vec::new(),
            edges: Vec::new(),
            output_shapes: Vec::new(),
            packed: [Shared::empty(), Shared::empty(), Shared::empty()],
            packed_version: [0; PASSES],
            partials: Vec::new(),
            partial_len: 0,
            paths: Vec::new(),
        };
        let needed = graph.needed();
        for (i, node) in graph.nodes.iter().enumerate().filter(|(i, _)| needed[inputs + i]) {
            let made = planned.add(graph, node, &edges);
            let name = &graph.layers[node.layer].name;
            edges[inputs + i] = Some(made.map_err(|error| error.in_layer(name))?);
        }
        for &edge in graph.outputs {
            let (mut tensor, shape) = edges[edge].clone().unwrap_or_default();
            if planned.outputs.contains(&tensor) {
                // Each output has a gradient of its own.
                let copy = merge::copy(planned.lens[tensor], graph.kernels.tier);
                let layer = graph.layers.iter().position(|layer| layer.edge == edge).unwrap_or(0);
                tensor = planned.push(graph, copy, layer, vec![tensor]);
            }
            planned.outputs.push(tensor);
            planned.output_shapes.push(shape);
        }
        planned.edges = edges;
        if graph.fused {
            planned.fuse_activations();
            planned.leave_masks();
            planned.fold_normalizations();
        }
        planned.paths = planned.target_paths(graph.inputs);
        planned.share_weights();
        planned.place_weights()?;
        Ok(planned)
    }

    /// Adds the ops of a node; returns the tensor that it makes and its sizes.
    fn add(
        &mut self,
        graph: &Graph<'_, T>,
        node: &Node<T>,
        edges: &[Option<(usize, Vec<usize>)>],
    ) -> Result<(usize, Vec<usize>)> {
        let (mut reads, mut shapes): (Vec<usize>, Vec<Vec<usize>>) =
            node.inputs.iter().filter_map(|&edge| edges[edge].clone()).unzip();
        let (own, output) = match &node.operation {
            Operation::Layer(layer) => {
                let output = known::<T>(layer.output_shape(&sizes(&shapes[0]))?)?;
                let owner = graph.layers[node.layer].owner;
                let weights: Vec<Range<usize>> =
                    graph.weights.iter().filter(|w| w.layer == owner).map(|w| w.range.clone()).collect();
                let &Graph { kernels, algorithm, .. } = graph;
                let site =
                    Site { input: &shapes[0], weights: &weights, kernels, algorithm, layer: node.layer };
                (layer.ops(&site)?, output)
            }
            Operation::Merge(join) => {
                let output = merge::output_shape(*join, &shapes.iter().map(|s| sizes(s)).collect::<Vec<_>>());
                let output = output.map_err(|error| {
                    let inputs: Vec<_> = graph.inputs.iter().map(|shape| sizes(shape)).collect();
                    super::fitting::advised(error, graph.nodes, None, &inputs)
                })?;
                let output = known::<T>(output)?;
                let tier = graph.kernels.tier;
                for (number, (read, shape)) in reads.iter_mut().zip(&mut shapes).enumerate() {
                    for op in merge::prepared(*join, number, (shape, &output), tier)? {
                        *read = self.push(graph, op, node.layer, vec![*read]);
                    }
                }
                if !matches!(join.kind, Merge::Dot { .. } | Merge::Concat | Merge::Concatenate { .. }) {
                    shapes.fill(output.clone());
                }
                (vec![merge::op(join.kind, &shapes, tier)?], output)
            }
        };
        for op in own {
            reads = vec![self.push(graph, op, node.layer, reads)];
        }
        Ok((reads[0], output))
    }

    /// Adds an op; returns the tensor that it makes.
    fn push(&mut self, graph: &Graph<'_, T>, op: Box<dyn Op<T>>, layer: usize, inputs: Vec<usize>) -> usize {
        self.lens.push(op.output_len());
        let output = self.lens.len() - 1;
        let (packed, partial, sums) = (Default::default(), 0..0, 0..0);
        let inference = graph.layers[layer].inference;
        self.ops.push(PlannedOp {
            op,
            layer,
            inputs,
            output,
            packed,
            partial,
            sums,
            folds: None,
            inference,
            shared: false,
            adds: false,
            call: 0,
        });
        output
    }

    /// Counts the ops that have the same weights, and finds those that do not write the first gradient of them.
    fn share_weights(&mut self) {
        let first = |op: &PlannedOp<T>| op.op.weights().first().map(|range| range.start);
        for i in 0..self.ops.len() {
            let Some(own) = first(&self.ops[i]) else { continue };
            self.ops[i].call = self.ops[..i].iter().filter(|op| first(op) == Some(own)).count();
            self.ops[i].shared = self.ops.iter().filter(|op| first(op) == Some(own)).count() > 1;
            let direct = |op: &PlannedOp<T>| first(op) == Some(own) && !op.sums_by_sample();
            self.ops[i].adds = self.ops[i + 1..].iter().any(direct);
        }
    }

    /// The only op that reads a tensor, if there is exactly one reader.
    fn only_reader(&self, tensor: usize) -> Option<usize> {
        let readers = |op: &PlannedOp<T>| op.inputs.iter().filter(|&&t| t == tensor).count();
        let total: usize = self.ops.iter().map(readers).sum();
        let only = total == 1 && !self.outputs.contains(&tensor);
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
                self.outputs.iter_mut().filter(|t| **t == gone).for_each(|t| *t = from);
            } else {
                i += 1;
            }
        }
    }

    /// Lets a max-pool mask by the sign of its maxima what a fused ReLU before it would mask by all elements.
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

    /// Finds the normalisations that can be part of the weights before them at inference.
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
            if self.ops[i].sums_by_sample() {
                for (number, weight) in op.weights().iter().enumerate() {
                    let range = self.partial_len..self.partial_len + weight.len();
                    self.partial_len = range.end;
                    sums += op.sums_len(number);
                    let same =
                        |op: &PlannedOp<T>| op.op.weights().first() == self.ops[i].op.weights().first();
                    let adds = self.ops.iter().any(|op| same(op) && !op.sums_by_sample());
                    match self.partials.iter_mut().find(|partial| partial.target == *weight) {
                        Some(partial) => partial.parts.push(range),
                        None => {
                            self.partials.push(Partial { parts: vec![range], target: weight.clone(), adds })
                        }
                    }
                }
            }
            self.ops[i].packed = [0, 1, 2].map(|pass| total[pass]..total[pass] + lens[pass]);
            self.ops[i].partial = first.0..self.partial_len;
            self.ops[i].sums = first.1..sums;
            total = [0, 1, 2].map(|pass| (total[pass] + lens[pass]).next_multiple_of(LINE_ELEMENTS));
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
            (Work::Pack { op, pass }, len.div_ceil(self.pack_task_len(op, pass).max(1)))
        };
        (0..self.ops.len()).map(tasks).filter(|(_, tasks)| *tasks > 0)
    }

    /// Elements of packed weights that a task writes.
    fn pack_task_len(&self, op: usize, pass: usize) -> usize {
        let planned = &self.ops[op];
        match pass {
            INFERENCE => planned.packed[pass].len(),
            _ => COPY_TASK_ELEMENTS.next_multiple_of(planned.op.pack_grain(pass).max(1)),
        }
    }

    /// Packs a part of the weights of an op for a pass.
    pub fn pack(&self, (op, pass): (usize, usize), task: usize, params: &[T]) {
        let planned = &self.ops[op];
        let all = &planned.packed[pass];
        let len = self.pack_task_len(op, pass);
        let first = task * len;
        let part = all.start + first..(all.start + first + len).min(all.end);
        let mut packed = self.packed[pass].write(part);
        let normalization = planned.folds.map_or(planned, |norm| &self.ops[norm]);
        match normalization.op.statistics() {
            Some(statistics) if pass == INFERENCE => {
                let mut coefficients = memory::demand(memory::filled(T::ZERO, statistics.coefficients_len()));
                statistics.finalize_moving(params, &mut coefficients);
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

/// Sizes that are all known, for those who take others too.
fn sizes(shape: &[usize]) -> Vec<Size> {
    shape.iter().map(|&n| Some(n)).collect()
}

/// The sizes of a tensor, if it fits into memory.
fn known<T: Element>(output: Vec<Size>) -> Result<Vec<usize>> {
    check_extent(&output)?;
    let sizes: Vec<usize> = output.into_iter().flatten().collect();
    check_memory::<T>(&sizes)?;
    Ok(sizes)
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
