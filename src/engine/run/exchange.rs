//! What ranks that share a batch tell each other, between two parts of the program.

use super::super::peers::{Shares, ends};
use super::super::plan::{Exchange, Slot};
use super::{Add, StepProgram, tree};
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::memory;

impl<T: Element> StepProgram<'_, '_, T> {
    /// Sends and receives.
    pub(super) fn exchange(&self, exchange: Exchange) -> Result<()> {
        let Some(shares) = self.shares else { return Ok(()) };
        match exchange {
            Exchange::Statistics { op, pass } => self.share_statistics(shares, op, pass),
            Exchange::Values { tensor } => self.share_tensor(shares, self.step_plan.values[tensor], tensor),
            Exchange::Gradients { tensor } => self.share_tensor(shares, self.step_plan.grads[tensor], tensor),
            Exchange::Scores => self.share_scores(shares),
            Exchange::Sums => self.share_sums(shares),
        }
    }

    /// Gives every rank all samples of a tensor.
    fn share_tensor(&self, shares: &Shares<'_>, place: Slot, tensor: usize) -> Result<()> {
        if !matches!(place, Slot::Batch(_)) {
            return Err(Error::internal("a tensor that ranks share has no place for the batch"));
        }
        let all = self.range(place, tensor, &(0..self.step_plan.batch), 0);
        shares.gather(&mut self.memory.arena.write(all), &shares.ends(self.lowered.lens[tensor]))
    }

    /// Gives every rank the scores of all samples, and what the loss is charged for outputs.
    fn share_scores(&self, shares: &Shares<'_>) -> Result<()> {
        let batch = self.step_plan.batch;
        for scoring in self.goal.scorings.iter().filter(|scoring| scoring.per_sample > 0) {
            let (start, per_sample) = (scoring.start, scoring.per_sample);
            let mut scores = self.memory.scores.write(start..start + per_sample * batch);
            shares.gather(&mut scores, &shares.ends(per_sample))?;
            scores.chunks_exact(per_sample).for_each(|sample| self.check_loss(sample[0]));
        }
        for slot in 0..self.step_plan.activities {
            let mut charges = self.memory.activity.write(slot * batch..(slot + 1) * batch);
            shares.gather(&mut charges, &shares.ends(1))?;
        }
        Ok(())
    }

    /// Adds up the partial gradients of all ranks: each rank those of a range of the weights, which it then gives to all.
    fn share_sums(&self, shares: &Shares<'_>) -> Result<()> {
        let (len, size) = (self.lowered.partial_len, shares.size());
        let range = |rank: usize| rank * len / size..(rank + 1) * len / size;
        let nodes = shares.nodes();
        let own = nodes[shares.rank()].len();
        let mut send = memory::with_room(own * len)?;
        let sums = self.memory.nodes.read(0..own * len);
        for rank in 0..size {
            (0..own).for_each(|node| send.extend_from_slice(&sums[node * len..][range(rank)]));
        }
        let mine = range(shares.rank());
        let count = nodes.iter().map(Vec::len).sum::<usize>();
        let mut received = memory::filled(T::ZERO, count * mine.len())?;
        let send_ends = ends((0..size).map(|rank| own * range(rank).len()));
        let receive_ends = ends(nodes.iter().map(|nodes| nodes.len() * mine.len()));
        shares.exchange((&send, &send_ends), (&mut received, &receive_ends))?;

        let place = |first: usize| nodes.iter().flatten().position(|node| node.start == first).unwrap_or(0);
        tree::join(self.step_plan.chunks(), shares.chunks(), |to, from| {
            let (left, right) = received.split_at_mut(place(from) * mine.len());
            let (to, from) = (&mut left[place(to) * mine.len()..][..mine.len()], &right[..mine.len()]);
            self.kernels.tier.vectorize(Add { from, to });
        });
        let mut totals = self.memory.arena.write(self.total(&(0..len)));
        totals[mine.clone()].copy_from_slice(&received[..mine.len()]);
        shares.gather(&mut totals, &ends((0..size).map(|rank| range(rank).len())))
    }
}
