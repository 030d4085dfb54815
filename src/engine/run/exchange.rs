//! What ranks that share a batch tell each other, between two parts of the program.

use super::super::peers::{Shares, ends, kernel_len};
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
            Exchange::Columns { op } => self.share_columns(shares, op),
            Exchange::Kernel { op } => self.share_kernel(shares, op),
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

    /// Gives every rank the columns that its tasks of a weight gradient read, of all samples.
    fn share_columns(&self, shares: &Shares<'_>, i: usize) -> Result<()> {
        let tensor = self.step_plan.active[i].inputs[0];
        let columns = self.planned(i).op.batch().and_then(|op| {
            let each = shares.tasks(op.grad_tasks()).map(|tasks| op.columns(&tasks));
            each.collect::<Option<Vec<_>>>()
        });
        let (Some(columns), Slot::Batch(_)) = (columns, self.step_plan.values[tensor]) else {
            return Err(Error::internal(
                "a tensor that ranks share has no place for the batch, or no columns",
            ));
        };
        let (len, rank) = (columns[0].0, shares.rank());
        let rows_end = shares.ends(self.lowered.lens[tensor] / len.max(1));
        let rows = |rank: usize| rank.checked_sub(1).map_or(0, |before| rows_end[before])..rows_end[rank];
        let all = self.range(self.step_plan.values[tensor], tensor, &(0..self.step_plan.batch), 0);
        let mut values = self.memory.arena.write(all);
        let others = |other: &usize| *other != rank;
        let part =
            |row: usize, rank: usize| row * len + columns[rank].1.start..row * len + columns[rank].1.end;
        let sent = |to: usize| if others(&to) { rows(rank).len() * columns[to].1.len() } else { 0 };
        let received = |from: usize| if others(&from) { rows(from).len() * columns[rank].1.len() } else { 0 };
        let [send_ends, receive_ends] =
            [ends((0..shares.size()).map(sent)), ends((0..shares.size()).map(received))];
        let mut send = memory::with_room(send_ends.last().copied().unwrap_or(0))?;
        for to in (0..shares.size()).filter(others) {
            rows(rank).for_each(|row| send.extend_from_slice(&values[part(row, to)]));
        }
        let mut receive = memory::filled(T::ZERO, receive_ends.last().copied().unwrap_or(0))?;
        shares.exchange((&send, &send_ends), (&mut receive, &receive_ends))?;
        let mut rest = &receive[..];
        for row in (0..shares.size()).filter(others).flat_map(rows) {
            let (row_part, after) = rest.split_at(columns[rank].1.len());
            values[part(row, rank)].copy_from_slice(row_part);
            rest = after;
        }
        Ok(())
    }

    /// Gives every rank the whole gradient of a kernel.
    fn share_kernel(&self, shares: &Shares<'_>, i: usize) -> Result<()> {
        let planned = self.planned(i);
        let (Some(op), Some(kernel)) = (planned.op.batch(), planned.op.weights().first()) else {
            return Err(Error::internal("no op with a kernel"));
        };
        let all = || shares.tasks(op.grad_tasks());
        let ends = ends(all().map(|tasks| kernel_len(op, tasks)));
        let mut grads = self.state.grads.write(kernel.clone());
        match op.grad_blocks() {
            None => shares.gather(&mut grads, &ends)?,
            Some(blocks) => {
                // Blocks of channels lie apart in the kernel: they are put side by side to be sent.
                let mut side_by_side = memory::filled(T::ZERO, grads.len())?;
                let (own, columns) = (all().nth(shares.rank()).unwrap_or(0..0), blocks.block[1]);
                for ((block, row), part) in blocks.all_rows().zip(side_by_side.chunks_exact_mut(columns)) {
                    if own.contains(&block) {
                        part.copy_from_slice(&grads[row]);
                    }
                }
                shares.gather(&mut side_by_side, &ends)?;
                for ((_, row), part) in blocks.all_rows().zip(side_by_side.chunks_exact(columns)) {
                    grads[row].copy_from_slice(part);
                }
            }
        }
        self.check(&grads, planned.layer);
        Ok(())
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
