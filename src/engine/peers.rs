//! Several ranks, which are processes or threads with a copy of the model each, share the batches of one network.
//!
//! All of them run the plan of the whole batch, each for chunks of its own, and tell each other what the next phases
//! need of all samples: sums, or tensors. Every addition is done here, in the order of one process; a [`Peers`] moves
//! bytes. The update is the same everywhere, on the same gradients.

use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use super::Network;
use super::layers::BatchOp;
use super::lowering::Lowered;
use super::network::Plans;
use super::plan::{Exchange, Purpose, StepPlan, Work};
use super::run::{Own, Phases, roots};
use crate::error::Result;
use crate::kernels::Element;
use crate::memory;
use crate::tuning::MACS_OF_SENT_ELEMENT;

/// Batches of fewer samples are computed by every rank: cut inside samples they have no chunks, and little work.
const FEWEST_SAMPLES: usize = 8;

/// Predictions are not cut into chunks: a rank may take any number of samples.
const CHUNK_OF_PREDICTIONS: usize = 1;

/// The ways from a rank to the others. All ranks call the same methods in the same order, on the thread that called the
/// network; no lock but the network's is held meanwhile.
pub trait Peers: Send + Sync {
    /// The number of this rank.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// Gives every rank the parts of all: that of rank `r` ends at `ends[r]`, where that of the next one begins. The own
    /// part is there, the others are to be written.
    ///
    /// # Errors
    /// The others cannot be reached, or one of them has failed.
    fn gather(&self, bytes: &mut [u8], ends: &[usize]) -> Result<()>;

    /// Sends every rank a part of `send` and receives one of it; ends of parts as in [`Peers::gather`].
    ///
    /// # Errors
    /// As [`Peers::gather`].
    fn exchange(&self, send: (&[u8], &[usize]), receive: (&mut [u8], &[usize])) -> Result<()>;
}

impl<T: Element> Network<T> {
    /// The network, whose steps and predictions are shared with other ranks, which all make the same calls.
    pub fn with_peers(&mut self, peers: Option<Arc<dyn Peers>>) -> SharedNetwork<'_, T> {
        self.peers = peers.filter(|peers| peers.size() > 1);
        SharedNetwork(self)
    }

    /// How a batch is shared, if it is.
    pub(super) fn shares(&self, step_plan: &StepPlan) -> Option<Shares<'_>> {
        let peers = self.peers.as_deref()?;
        let shared = step_plan.batch >= FEWEST_SAMPLES && step_plan.purpose != Purpose::Inspect;
        shared.then(|| Shares::new(peers, step_plan))
    }
}

/// Ranks that are only counted.
struct Imagined(usize);

impl Peers for Imagined {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        self.0
    }

    fn gather(&self, _: &mut [u8], _: &[usize]) -> Result<()> {
        Ok(())
    }

    fn exchange(&self, _: (&[u8], &[usize]), _: (&mut [u8], &[usize])) -> Result<()> {
        Ok(())
    }
}

impl<T: Element> Network<T> {
    /// In how many chunks a training step on `batch` samples is cut, which is the most ranks that can share it; 1 where
    /// every rank computes the whole.
    ///
    /// # Errors
    /// A size of the input is unknown, or a layer does not fit it.
    pub fn chunks(&mut self, batch: usize) -> Result<usize> {
        let (plan, step_plan) = self.plan_of_known(batch, Purpose::Train)?;
        let chunks = self.plans[plan].step_plans[step_plan].chunks();
        Ok(if batch < FEWEST_SAMPLES { 1 } else { chunks })
    }

    /// The samples of a batch that `rank` of `ranks` computes in a training step: it has to read the inputs of no others.
    ///
    /// # Errors
    /// As [`Network::chunks`].
    pub fn training_share(&mut self, batch: usize, rank: usize, ranks: usize) -> Result<Range<usize>> {
        let (plan, step_plan) = self.plan_of_known(batch, Purpose::Train)?;
        Ok(share(batch, self.plans[plan].step_plans[step_plan].chunk, rank, ranks))
    }

    /// What the first of `ranks` sends in a training step on `batch` samples: of every exchange what it is for, and
    /// bytes, headers not counted.
    ///
    /// # Errors
    /// A size of the input is unknown, or a layer does not fit it.
    pub fn traffic(&mut self, batch: usize, ranks: usize) -> Result<Vec<(&'static str, usize)>> {
        let (plan, step_plan) = self.plan_of_known(batch, Purpose::Train)?;
        let Plans { lowered, step_plans, .. } = &self.plans[plan];
        let ready = &step_plans[step_plan];
        if batch < FEWEST_SAMPLES || ranks < 2 {
            return Ok(Vec::new());
        }
        let imagined = Imagined(ranks);
        let shares = Shares::new(&imagined, ready);
        let mut phases = Phases::default();
        phases.extend(&ready.forward);
        phases.push(ready.loss.iter().copied());
        phases.extend(&ready.backward);
        shares.order((lowered, ready), false, &mut phases);
        let (own, nodes, others) = (shares.own().samples.len(), shares.nodes[0].len(), ranks - 1);
        let tensor = |tensor: usize| lowered.lens[tensor] * own * others * size_of::<T>();
        let bytes = |exchange: Exchange| match exchange {
            Exchange::Values { tensor: t } => vec![("values", tensor(t))],
            Exchange::Gradients { tensor: t } => vec![("gradients", tensor(t))],
            Exchange::Columns { op } => {
                let active = &ready.active[op];
                let columns = shares.own_tasks((lowered, ready), op).and_then(|tasks| {
                    let (len, columns) = lowered.ops[active.op].op.batch()?.columns(&tasks)?;
                    let rows = own * lowered.lens[active.inputs[0]] / len.max(1);
                    Some(rows * (len - columns.len()) * size_of::<T>())
                });
                vec![("values", columns.unwrap_or(0))]
            }
            Exchange::Kernel { op } => {
                let op =
                    lowered.ops[ready.active[op].op].op.batch().zip(shares.own_tasks((lowered, ready), op));
                let len = op.map_or(0, |(op, tasks)| kernel_len(op, tasks));
                vec![("kernels", len * others * size_of::<T>())]
            }
            Exchange::Statistics { op, pass } => {
                let statistics = lowered.ops[ready.active[op].op].op.statistics();
                let len = statistics.map_or(0, |statistics| statistics.part_len()[pass]);
                vec![("statistics", len * nodes * others * size_of::<f64>())]
            }
            // A loss, and a number or so of each metric.
            Exchange::Scores => {
                vec![("scores", 2 * own * others * lowered.outputs.len() * size_of::<f64>())]
            }
            Exchange::Sums => {
                let part = lowered.partial_len / ranks;
                let [parts, totals] = [nodes * (lowered.partial_len - part), part * others];
                vec![("sums", parts * size_of::<T>()), ("sums", totals * size_of::<T>())]
            }
        };
        let exchange = |(work, _): &(Work, usize)| match work {
            Work::Exchange(exchange) => bytes(*exchange),
            _ => Vec::new(),
        };
        Ok(phases.all().iter().flat_map(exchange).collect())
    }
}

/// A network that is shared with other ranks for as long as this lives.
pub struct SharedNetwork<'a, T: Element>(&'a mut Network<T>);

impl<T: Element> Deref for SharedNetwork<'_, T> {
    type Target = Network<T>;
    fn deref(&self) -> &Network<T> {
        self.0
    }
}

impl<T: Element> DerefMut for SharedNetwork<'_, T> {
    fn deref_mut(&mut self) -> &mut Network<T> {
        self.0
    }
}

impl<T: Element> Drop for SharedNetwork<'_, T> {
    fn drop(&mut self) {
        self.0.peers = None;
    }
}

/// Ends of parts that follow each other.
pub(super) fn ends(lens: impl Iterator<Item = usize>) -> Vec<usize> {
    lens.scan(0, |end, len| {
        *end += len;
        Some(*end)
    })
    .collect()
}

/// The samples of a batch that `rank` of `ranks` predicts for.
pub fn prediction_share(batch: usize, rank: usize, ranks: usize) -> Range<usize> {
    share(batch, CHUNK_OF_PREDICTIONS, rank, ranks)
}

/// The samples of `rank` in a batch that is cut into chunks of some samples.
fn share(batch: usize, chunk: usize, rank: usize, ranks: usize) -> Range<usize> {
    if batch < FEWEST_SAMPLES {
        return 0..batch;
    }
    samples(&own(batch.div_ceil(chunk), rank, ranks), chunk, batch)
}

/// What is a rank's of `count` chunks or tasks.
fn own(count: usize, rank: usize, ranks: usize) -> Range<usize> {
    rank * count / ranks..(rank + 1) * count / ranks
}

/// The samples of some chunks.
fn samples(chunks: &Range<usize>, chunk: usize, batch: usize) -> Range<usize> {
    (chunks.start * chunk).min(batch)..(chunks.end * chunk).min(batch)
}

/// How the ranks share a batch.
pub(super) struct Shares<'a> {
    peers: &'a dyn Peers,
    batch: usize,
    /// Samples of a chunk.
    chunk: usize,
    /// Of every rank, its chunks and the largest nodes of the tree that are its own.
    chunks: Vec<Range<usize>>,
    nodes: Vec<Vec<Range<usize>>>,
}

impl<'a> Shares<'a> {
    fn new(peers: &'a dyn Peers, step_plan: &StepPlan) -> Self {
        let batch = step_plan.batch;
        let infers = step_plan.purpose == Purpose::Infer;
        let chunk = if infers { CHUNK_OF_PREDICTIONS } else { step_plan.chunk };
        let (count, size) = (batch.div_ceil(chunk), peers.size());
        let chunks: Vec<Range<usize>> = (0..size).map(|rank| own(count, rank, size)).collect();
        let nodes = chunks.iter().map(|own| roots(count, own).collect()).collect();
        Self { peers, batch, chunk, chunks, nodes }
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

    /// The number of the own node that begins with a chunk.
    pub fn number(&self, first: usize) -> usize {
        self.nodes[self.rank()].iter().position(|node| node.start == first).unwrap_or(0)
    }

    /// Whether all chunks of a node are one rank's.
    pub fn somebody_has(&self, node: &Range<usize>) -> bool {
        self.chunks.iter().any(|own| own.start <= node.start && node.end <= own.end)
    }

    /// Of every rank, its tasks of the weight gradient of a batch op.
    pub fn tasks(&self, count: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let size = self.size();
        (0..size).map(move |rank| own(count, rank, size))
    }

    /// The own tasks of the weight gradient of a batch op; None where every rank computes the whole.
    pub fn own_tasks<T: Element>(&self, at: (&Lowered<T>, &StepPlan), op: usize) -> Option<Range<usize>> {
        let count = self.divided(at, op)?.grad_tasks();
        self.tasks(count).nth(self.rank())
    }

    /// A batch op whose weight gradient is divided among ranks: that pays where arithmetic and columns that are saved are
    /// worth more than the kernel that is gathered.
    fn divided<'l, T: Element>(
        &self,
        (lowered, step_plan): (&'l Lowered<T>, &StepPlan),
        op: usize,
    ) -> Option<&'l dyn BatchOp<T>> {
        let active = &step_plan.active[op];
        let op = lowered.ops[active.op].op.as_ref();
        let batch_op = op.batch()?;
        let kernel = op.weights().first()?.len();
        let (ranks, tasks) = (self.size(), batch_op.grad_tasks().max(1));
        let of_others = |elements: usize| elements * (ranks - 1) / ranks;
        let x = of_others(lowered.lens[active.inputs[0]] * self.batch);
        let columns = if batch_op.columns(&(0..tasks)).is_some() { x / ranks } else { x };
        let whole = batch_op.grad_macs().saturating_mul(self.batch) / MACS_OF_SENT_ELEMENT;
        let part = whole / tasks * tasks.div_ceil(ranks);
        (columns + part + of_others(kernel) < x + whole).then_some(batch_op)
    }

    /// What this rank computes.
    pub fn own(&self) -> Own {
        let chunks = self.chunks[self.rank()].clone();
        Own { samples: samples(&chunks, self.chunk, self.batch), chunks }
    }

    /// Where every rank's samples end, in numbers of some per sample.
    pub fn ends(&self, per_sample: usize) -> Vec<usize> {
        self.chunks.iter().map(|own| (own.end * self.chunk).min(self.batch) * per_sample).collect()
    }

    /// Gives every rank the parts of all, of some numbers.
    pub fn gather<P: bytemuck::Pod>(&self, values: &mut [P], ends: &[usize]) -> Result<()> {
        self.peers.gather(bytemuck::cast_slice_mut(values), &bytes::<P>(ends)?)
    }

    /// Sends every rank a part of some numbers, and receives one.
    pub fn exchange<P: bytemuck::Pod>(
        &self,
        (send, send_ends): (&[P], &[usize]),
        (receive, receive_ends): (&mut [P], &[usize]),
    ) -> Result<()> {
        let (send_ends, receive_ends) = (bytes::<P>(send_ends)?, bytes::<P>(receive_ends)?);
        let receive = bytemuck::cast_slice_mut(receive);
        self.peers.exchange((bytemuck::cast_slice(send), &send_ends), (receive, &receive_ends))
    }

    /// The least of the numbers that ranks have.
    pub fn least(&self, number: usize) -> Result<usize> {
        let mut all = vec![number as u64; self.size()];
        self.gather(&mut all, &ends(std::iter::repeat_n(1, self.size())))?;
        Ok(all.into_iter().min().map_or(number, |least| least as usize))
    }

    /// Adds to the phases of a program what ranks tell each other; of a program that ends with the outputs, those.
    pub fn order<T: Element>(
        &self,
        (lowered, step_plan): (&Lowered<T>, &StepPlan),
        outputs: bool,
        phases: &mut Phases,
    ) {
        let at = (lowered, step_plan);
        let divided = |op: usize| self.divided(at, op);
        let in_columns = |op: usize| divided(op).is_some_and(|op| op.columns(&(0..0)).is_some());
        let reads = |op: usize| step_plan.active[op].inputs.iter().map(|&tensor| Exchange::Values { tensor });
        let slope = |op: usize| Exchange::Gradients { tensor: step_plan.active[op].output };
        let before = |works: &[(Work, usize)]| {
            let mut list = Vec::new();
            for (work, _) in works {
                match *work {
                    Work::FinalizeStatistics { op } => list.push(Exchange::Statistics { op, pass: 0 }),
                    Work::FinalizeGradients { op } => list.push(Exchange::Statistics { op, pass: 1 }),
                    Work::Custom { op } => list.extend(reads(op)),
                    Work::CustomBackward { op } => list.push(slope(op)),
                    Work::Grad { op } if in_columns(op) => list.extend([Exchange::Columns { op }, slope(op)]),
                    Work::Grad { op } => list.extend(reads(op).chain([slope(op)])),
                    Work::Reduce { .. } if lowered.partial_len > 0 => list.push(Exchange::Sums),
                    _ => {}
                }
            }
            // Every part of the gradients is reduced in the same phase.
            list.dedup();
            list
        };
        let after = |works: &[(Work, usize)]| match works {
            [(Work::Loss { .. }, _), ..] => vec![Exchange::Scores],
            _ => {
                let grads = works.iter().filter_map(|(work, _)| match *work {
                    Work::Grad { op } => divided(op).map(|_| Exchange::Kernel { op }),
                    _ => None,
                });
                grads.collect()
            }
        };
        phases.interleave(before, after);
        if outputs {
            for &tensor in &step_plan.outputs {
                phases.push([(Work::Exchange(Exchange::Values { tensor }), 1)]);
            }
        }
    }
}

/// Elements of a kernel whose gradient is that of some tasks.
pub(super) fn kernel_len<T: Element>(op: &dyn BatchOp<T>, tasks: Range<usize>) -> usize {
    match op.grad_blocks() {
        Some(blocks) => tasks.len() * blocks.block_len(),
        None => tasks.map(|task| op.grad_ranges(task)[0].len()).sum(),
    }
}

/// Ends of parts, in bytes.
fn bytes<P>(ends: &[usize]) -> Result<Vec<usize>> {
    memory::collect(ends.iter().map(|end| end * size_of::<P>()))
}
