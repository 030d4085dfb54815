//! What ranks send in a step, counted without any.

use super::shares::{Shares, Sharing, kernel_len};
use super::{FEWEST_SAMPLES, Payload, Peers, round_len};
use crate::engine::Network;
use crate::engine::network::Plans;
use crate::engine::plan::{Exchange, Purpose, Work};
use crate::engine::run::Phases;
use crate::error::Result;
use crate::kernels::Element;

/// Bytes of an exchange by what they are for.
type Sent = Vec<(&'static str, usize)>;

/// Ranks that are only counted.
struct Imagined(usize);

impl Peers for Imagined {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        self.0
    }

    fn gather(&self, _: &[usize], _: &mut dyn Payload) -> Result<()> {
        Ok(())
    }

    fn exchange(&self, _: [&[usize]; 2], _: &mut dyn Payload) -> Result<()> {
        Ok(())
    }
}

impl<T: Element> Network<T> {
    /// What the first of `ranks` sends in a training step on `batch` samples: of every exchange, what for, and how many
    /// bytes, headers not counted. Large ones go in several rounds, of which only the first has an entry that says so.
    ///
    /// # Errors
    /// A size of the input is unknown, or a layer does not fit it.
    pub fn traffic(&mut self, batch: usize, ranks: usize) -> Result<Vec<Sent>> {
        let (plan, step_plan) = self.plan_of_known(batch, Purpose::Train)?;
        let Plans { lowered, step_plans, .. } = &self.plans[plan];
        let ready = &step_plans[step_plan];
        if batch < FEWEST_SAMPLES || ranks < 2 {
            return Ok(Vec::new());
        }
        let imagined = Imagined(ranks);
        let shares = Shares::new(&imagined, (lowered, ready));
        let mut phases = Phases::default();
        phases.extend(&ready.forward);
        phases.push(ready.loss.iter().copied());
        phases.extend(&ready.backward);
        shares.order(false, &mut phases);
        let (own, nodes, others) = (shares.own().samples.len(), shares.own_nodes().len(), ranks - 1);
        let of_batch = |op: usize| lowered.ops[ready.active[op].op].op.batch();
        let tensor = |tensor: usize| lowered.lens[tensor] * own * others * size_of::<T>();
        let kernel = |op: usize| {
            let len = of_batch(op).map_or(0, |of_batch| kernel_len(of_batch, shares.own_tasks(op)));
            len * others * size_of::<T>()
        };
        let sent = |exchange: Exchange| match exchange {
            Exchange::Values { tensor: t } => vec![vec![("values", tensor(t))]],
            Exchange::Gradients { tensor: t } => vec![vec![("gradients", tensor(t))]],
            Exchange::Operands { op } => {
                let active = &ready.active[op];
                let divided = shares.sharing(op) == Sharing::Divided;
                let columns = of_batch(op).filter(|_| divided).and_then(|of_batch| {
                    let (len, columns) = of_batch.columns(&shares.own_tasks(op))?;
                    let rows = own * lowered.lens[active.inputs[0]] / len.max(1);
                    Some(rows * (len - columns.len()) * size_of::<T>())
                });
                let values = columns.unwrap_or_else(|| tensor(active.inputs[0]));
                vec![vec![("values", values), ("gradients", tensor(active.output))]]
            }
            Exchange::Kernel { op } => vec![vec![("kernels", kernel(op))]],
            Exchange::Statistics { op, pass } => {
                let statistics = lowered.ops[ready.active[op].op].op.statistics();
                let len = statistics.map_or(0, |statistics| statistics.part_len()[pass]);
                vec![vec![("statistics", len * nodes * others * size_of::<f64>())]]
            }
            // A loss, and a number or so of each metric.
            Exchange::Scores => {
                vec![vec![("scores", 2 * own * others * lowered.outputs.len() * size_of::<f64>())]]
            }
            Exchange::WeightGradients => {
                let len = shares.node_len();
                let parts = (len > 0).then(|| vec![("sums", nodes * (len - len / ranks) * size_of::<T>())]);
                let totals = len / ranks * others * size_of::<T>();
                let divided = shares.ops(|sharing| sharing == Sharing::Divided);
                let kernels = divided.filter(|&op| !shares.called_again(op)).map(kernel).sum();
                parts.into_iter().chain([vec![("sums", totals), ("kernels", kernels)]]).collect()
            }
        };
        let rounds = |sent: Sent| {
            let bytes: usize = sent.iter().map(|(_, bytes)| bytes).sum();
            let count = (bytes / others).div_ceil(round_len::<u8>(ranks)).max(1);
            std::iter::once(sent).chain(std::iter::repeat_n(Vec::new(), count - 1))
        };
        let exchange = |(work, _): &(Work, usize)| match work {
            Work::Exchange(exchange) => sent(*exchange),
            _ => Vec::new(),
        };
        Ok(phases.all().iter().flat_map(exchange).flat_map(rounds).collect())
    }
}
