//! How ranks share a batch: who computes what of it, and what they tell each other meanwhile.

use std::ops::Range;

use super::{CHUNK_OF_PREDICTIONS, Payload, Peers, ends, own, own_chunks, samples};
use crate::engine::layers::BatchOp;
use crate::engine::lowering::Lowered;
use crate::engine::plan::{Exchange, Purpose, StepPlan, Work};
use crate::engine::run::{Own, Phases, roots};
use crate::error::Result;
use crate::kernels::Element;
use crate::tuning::{ELEMENTS_OF_EXCHANGE, MACS_OF_SENT_ELEMENT};

/// How ranks share the weight gradient of a batch op, for the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Sharing {
    /// Every rank computes the whole, of all samples.
    Whole,
    /// Every rank computes some tasks, of all samples.
    Divided,
    /// Every rank computes all tasks, of its own samples, and the sums are added up. Where in a node they stand.
    Summed { offset: usize },
}

/// How the ranks share a batch.
pub(in super::super) struct Shares<'a, T: Element> {
    pub(super) peers: &'a dyn Peers,
    lowered: &'a Lowered<T>,
    step_plan: &'a StepPlan,
    /// Samples of a chunk.
    chunk: usize,
    /// Of every rank, its chunks and the largest nodes of the tree that are its own.
    chunks: Vec<Range<usize>>,
    nodes: Vec<Vec<Range<usize>>>,
    /// Of every active op; what is no batch op counts as whole.
    sharings: Vec<Sharing>,
    /// Elements of a node: partial gradients, and those of batch ops that are summed.
    node_len: usize,
}

impl<'a, T: Element> Shares<'a, T> {
    pub(super) fn new(peers: &'a dyn Peers, (lowered, step_plan): (&'a Lowered<T>, &'a StepPlan)) -> Self {
        let (batch, size) = (step_plan.batch, peers.size());
        let infers = step_plan.purpose == Purpose::Infer;
        let chunk = if infers { CHUNK_OF_PREDICTIONS } else { step_plan.chunk };
        let count = batch.div_ceil(chunk);
        let chunks: Vec<Range<usize>> = (0..size).map(|rank| own_chunks(count, rank, size)).collect();
        let nodes = chunks.iter().map(|own| roots(count, own).collect()).collect();
        let mut shares = Self {
            peers,
            lowered,
            step_plan,
            chunk,
            chunks,
            nodes,
            sharings: Vec::new(),
            node_len: lowered.partial_len,
        };
        if !infers {
            shares.sharings = (0..step_plan.active.len()).map(|op| shares.choose(op)).collect();
            for (active, sharing) in step_plan.active.iter().zip(&mut shares.sharings) {
                if let Sharing::Summed { offset } = sharing {
                    *offset = shares.node_len;
                    shares.node_len +=
                        lowered.ops[active.op].op.weights().iter().map(Range::len).sum::<usize>();
                }
            }
        }
        shares
    }

    pub fn rank(&self) -> usize {
        self.peers.rank()
    }

    pub fn size(&self) -> usize {
        self.peers.size()
    }

    /// Of every rank, its chunks.
    pub fn chunks(&self) -> &[Range<usize>] {
        &self.chunks
    }

    /// Of every rank, the largest nodes that are its own.
    pub fn nodes(&self) -> &[Vec<Range<usize>>] {
        &self.nodes
    }

    /// The largest own nodes.
    pub fn own_nodes(&self) -> &[Range<usize>] {
        &self.nodes[self.rank()]
    }

    /// Elements of a node.
    pub fn node_len(&self) -> usize {
        self.node_len
    }

    /// Where the sums of an own node that begins with a chunk are, in the memory for nodes; None for the first one, whose
    /// sums are in the place of the whole.
    pub fn node(&self, first: usize) -> Option<usize> {
        let number = self.own_nodes().iter().position(|node| node.start == first).unwrap_or(0);
        number.checked_sub(1).map(|further| further * self.node_len)
    }

    /// Whether all chunks of a node are one rank's.
    pub fn somebody_has(&self, node: &Range<usize>) -> bool {
        self.chunks.iter().any(|own| own.start <= node.start && node.end <= own.end)
    }

    /// How the weight gradient of a batch op is shared.
    pub fn sharing(&self, op: usize) -> Sharing {
        self.sharings.get(op).copied().unwrap_or(Sharing::Whole)
    }

    /// The active ops whose gradients are shared in some way.
    pub fn ops(&self, is: impl Fn(Sharing) -> bool) -> impl Iterator<Item = usize> {
        (0..self.sharings.len()).filter(move |&op| is(self.sharing(op)))
    }

    /// The active ops whose gradients are summed over ranks, and where they begin in a node.
    pub fn summed(&self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.sharings.len()).filter_map(|op| match self.sharing(op) {
            Sharing::Summed { offset } => Some((op, offset)),
            Sharing::Whole | Sharing::Divided => None,
        })
    }

    /// Of every rank, its tasks of the weight gradient of a batch op that is divided.
    pub fn tasks(&self, count: usize) -> impl Iterator<Item = Range<usize>> + use<T> {
        let size = self.size();
        (0..size).map(move |rank| own(count, rank, size))
    }

    /// The own tasks of the weight gradient of a batch op.
    pub fn own_tasks(&self, op: usize) -> Range<usize> {
        let count = self.batch_op(op).map_or(0, BatchOp::grad_tasks);
        match self.sharing(op) {
            Sharing::Divided => own(count, self.rank(), self.size()),
            Sharing::Whole | Sharing::Summed { .. } => 0..count,
        }
    }

    fn batch_op(&self, op: usize) -> Option<&dyn BatchOp<T>> {
        self.lowered.ops[self.step_plan.active[op].op].op.batch()
    }

    /// Whether other calls of a layer have the same weights, so that what one leaves is read by the next one.
    pub fn called_again(&self, op: usize) -> bool {
        self.lowered.ops[self.step_plan.active[op].op].shared
    }

    /// The cheapest way for the weight gradient of a batch op, in elements that are received and what multiply-adds are
    /// worth of these.
    fn choose(&self, op: usize) -> Sharing {
        let Some(batch_op) = self.batch_op(op) else { return Sharing::Whole };
        let (active, ranks) = (&self.step_plan.active[op], self.size());
        let planned = &self.lowered.ops[active.op];
        let Some(kernel) = planned.op.weights().first().map(Range::len) else { return Sharing::Whole };
        let tasks = batch_op.grad_tasks().max(1);
        let of_others = |elements: usize| elements * (ranks - 1) / ranks;
        let [x, dy] = [active.inputs[0], active.output]
            .map(|tensor| of_others(self.lowered.lens[tensor] * self.step_plan.batch));
        let columns = if batch_op.columns(&(0..tasks)).is_some() { x / ranks } else { x };
        let work = batch_op.grad_macs().saturating_mul(self.step_plan.batch) / MACS_OF_SENT_ELEMENT;
        let whole = x + dy + work + ELEMENTS_OF_EXCHANGE;
        let divided =
            columns + dy + work / tasks * tasks.div_ceil(ranks) + of_others(kernel) + ELEMENTS_OF_EXCHANGE;
        let nodes = self.nodes.iter().map(Vec::len).max().unwrap_or(1);
        let summed = (nodes + 1) * of_others(kernel) + work / ranks;
        let (part, chunks) = (self.step_plan.grad_part(planned.op.as_ref()), self.step_plan.chunks());
        let mut parts = (0..chunks).step_by(part).map(|first| first..(first + part).min(chunks));
        // Their gradients follow each other in a node, and other calls would add to what is not the whole.
        let can_sum = !planned.shared && planned.op.weights().is_sorted_by(|a, b| a.end == b.start);
        if can_sum && summed < divided.min(whole) && parts.all(|part| self.somebody_has(&part)) {
            return Sharing::Summed { offset: 0 };
        }
        if divided < whole { Sharing::Divided } else { Sharing::Whole }
    }

    /// What this rank computes.
    pub fn own(&self) -> Own {
        let chunks = self.chunks[self.rank()].clone();
        Own { samples: samples(&chunks, self.chunk, self.step_plan.batch), chunks }
    }

    /// Where every rank's samples end, in numbers of some per sample.
    pub fn ends(&self, per_sample: usize) -> Vec<usize> {
        self.chunks.iter().map(|own| (own.end * self.chunk).min(self.step_plan.batch) * per_sample).collect()
    }

    /// Sends every rank a part, and receives one of it.
    pub fn exchange(&self, ends: [&[usize]; 2], payload: &mut dyn Payload) -> Result<()> {
        self.peers.exchange(ends, payload)
    }

    /// The least of the numbers that ranks have.
    pub fn least(&self, number: usize) -> Result<usize> {
        struct Numbers(usize, usize);
        impl Payload for Numbers {
            fn pack(&mut self, to: &mut [u8]) {
                to.copy_from_slice(&self.0.to_le_bytes());
            }

            fn unpack(&mut self, from: &[&[u8]]) {
                let numbers =
                    from.iter().filter_map(|&bytes| Some(usize::from_le_bytes(bytes.try_into().ok()?)));
                self.1 = numbers.fold(self.0, usize::min);
            }
        }
        let mut numbers = Numbers(number, number);
        self.peers.gather(&ends(std::iter::repeat_n(size_of::<usize>(), self.size())), &mut numbers)?;
        Ok(numbers.1)
    }

    /// Adds to the phases of a program what ranks tell each other; of a program that ends with the outputs, those.
    pub fn order(&self, outputs: bool, phases: &mut Phases) {
        let step_plan = self.step_plan;
        let reads = |op: usize| step_plan.active[op].inputs.iter().map(|&tensor| Exchange::Values { tensor });
        let slope = |op: usize| Exchange::Gradients { tensor: step_plan.active[op].output };
        let grads = |(work, _): &(Work, usize)| if let Work::Grad { op } = work { Some(*op) } else { None };
        // Gradients end here: what is left to tell about them is told at once.
        let is_reduction = |work: Work| matches!(work, Work::Reduce { .. });
        let last = phases.find(0, is_reduction).or_else(|| {
            let all = phases.len();
            (0..all).rfind(|&phase| phases.works(phase).iter().any(|work| grads(work).is_some()))
        });
        let tells =
            self.lowered.partial_len > 0 || self.ops(|sharing| sharing != Sharing::Whole).next().is_some();
        let alone = std::mem::take(phases);
        for phase in 0..alone.len() {
            let works = alone.works(phase);
            let mut before = Vec::new();
            for (work, _) in works {
                match *work {
                    Work::FinalizeStatistics { op } => before.push(Exchange::Statistics { op, pass: 0 }),
                    Work::FinalizeGradients { op } => before.push(Exchange::Statistics { op, pass: 1 }),
                    Work::Custom { op } => before.extend(reads(op)),
                    Work::CustomBackward { op } => before.push(slope(op)),
                    Work::Grad { op } if !matches!(self.sharing(op), Sharing::Summed { .. }) => {
                        before.push(Exchange::Operands { op });
                    }
                    _ => {}
                }
            }
            before.into_iter().for_each(|exchange| phases.exchange(exchange));
            let ends = last == Some(phase);
            let first = |work: &(Work, usize)| ends && grads(work).is_some();
            if works.iter().any(first) {
                phases.push(works.iter().copied().filter(first));
            }
            let divided_again = |op: &usize| self.sharing(*op) == Sharing::Divided && self.called_again(*op);
            let again = || works.iter().filter_map(grads).filter(divided_again);
            if ends {
                again().for_each(|op| phases.exchange(Exchange::Kernel { op }));
                if tells {
                    phases.exchange(Exchange::WeightGradients);
                }
            }
            phases.push(works.iter().copied().filter(|work| !first(work)));
            if !ends {
                again().for_each(|op| phases.exchange(Exchange::Kernel { op }));
            }
            if let Some((Work::Loss { .. }, _)) = works.first() {
                phases.exchange(Exchange::Scores);
            }
        }
        if outputs {
            step_plan.outputs.iter().for_each(|&tensor| phases.exchange(Exchange::Values { tensor }));
        }
    }
}

/// Elements of a kernel whose gradient is that of some tasks.
pub(in super::super) fn kernel_len<T: Element>(op: &dyn BatchOp<T>, tasks: Range<usize>) -> usize {
    match op.grad_blocks() {
        Some(blocks) => tasks.len() * blocks.block_len(),
        None => tasks.map(|task| op.grad_ranges(task)[0].len()).sum(),
    }
}
