//! What ranks that share a batch tell each other, between two parts of the program.

use std::ops::Range;

use super::super::peers::{Segment, Shares, Sharing, ends, kernel_len};
use super::super::plan::{Exchange, Slot};
use super::StepProgram;
use super::node_sums::{Totals, part_of};
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::memory;
use crate::parallel::Writing;

impl<T: Element> StepProgram<'_, '_, T> {
    /// Sends and receives.
    pub(super) fn exchange(&self, exchange: Exchange) -> Result<()> {
        let Some(shares) = self.shares else { return Ok(()) };
        match exchange {
            Exchange::Statistics { op, pass } => self.share_statistics(shares, op, pass),
            Exchange::Values { tensor } => self.share_tensor(shares, self.step_plan.values[tensor], tensor),
            Exchange::Gradients { tensor } => self.share_tensor(shares, self.step_plan.grads[tensor], tensor),
            Exchange::Operands { op } => self.share_operands(shares, op),
            Exchange::Kernel { op } => self.share_kernels(shares, &[op], None),
            Exchange::Scores => self.share_scores(shares),
            Exchange::WeightGradients => self.share_weight_gradients(shares),
        }
    }

    /// All samples of a tensor.
    fn whole(&self, place: Slot, tensor: usize) -> Result<Writing<'_, T>> {
        if !matches!(place, Slot::Batch(_)) {
            return Err(Error::internal("a tensor that ranks share has no place for the batch"));
        }
        Ok(self.memory.arena.write(self.range(place, tensor, &(0..self.step_plan.batch), 0)))
    }

    /// Gives every rank all samples of a tensor.
    fn share_tensor(&self, shares: &Shares<'_, T>, place: Slot, tensor: usize) -> Result<()> {
        let mut all = self.whole(place, tensor)?;
        shares.share(vec![Segment::parts(&mut all, shares.ends(self.lowered.lens[tensor]))])
    }

    /// Gives every rank what its tasks of a weight gradient read of all samples.
    fn share_operands(&self, shares: &Shares<'_, T>, i: usize) -> Result<()> {
        let active = &self.step_plan.active[i];
        let (input, output) = (active.inputs[0], active.output);
        let mut x = self.whole(self.step_plan.values[input], input)?;
        let mut dy = self.whole(self.step_plan.grads[output], output)?;
        let [of_x, of_dy] = [input, output].map(|tensor| shares.ends(self.lowered.lens[tensor]));
        let columns = self.planned(i).op.batch().filter(|_| shares.sharing(i) == Sharing::Divided);
        let columns = columns.and_then(|op| {
            let of_rank = shares.tasks(op.grad_tasks()).map(|tasks| op.columns(&tasks));
            of_rank.collect::<Option<Vec<_>>>()
        });
        let Some(columns) = columns else {
            return shares.share(vec![Segment::parts(&mut x, of_x), Segment::parts(&mut dy, of_dy)]);
        };
        let part =
            |ends: &[usize], rank: usize| rank.checked_sub(1).map_or(0, |before| ends[before])..ends[rank];
        let len_of_pair = |[from, to]: [usize; 2]| {
            let (len, columns) = &columns[to];
            part(&of_x, from).len() / (*len).max(1) * columns.len()
        };
        let of_pair = |[from, to]: [usize; 2]| {
            let (len, columns) = columns[to].clone();
            part(&of_x, from).step_by(len.max(1)).map(move |row| row + columns.start..row + columns.end)
        };
        let slopes = |[from, _]: [usize; 2]| std::iter::once(part(&of_dy, from));
        shares.share(vec![
            Segment::of_pairs(&mut x, len_of_pair, of_pair),
            Segment::of_pairs(&mut dy, |[from, _]| part(&of_dy, from).len(), slopes),
        ])
    }

    /// Gives every rank the whole gradients of kernels that ranks have divided, and with them sums of which each has a part.
    fn share_kernels(
        &self,
        shares: &Shares<'_, T>,
        ops: &[usize],
        totals: Option<&mut Totals<'_, T>>,
    ) -> Result<()> {
        let mut kernels = memory::collect(ops.iter().filter_map(|&i| {
            let op = self.planned(i).op.as_ref();
            Some((i, op.batch()?, self.state.grads.write(op.weights().first()?.clone())))
        }))?;
        let mut segments = totals.map_or_else(Vec::new, |totals| totals.segments(part_of(shares)));
        for (_, op, grads) in &mut kernels {
            let tasks: Vec<Range<usize>> = shares.tasks(op.grad_tasks()).collect();
            let op = *op;
            let lens: Vec<usize> = tasks.iter().map(|tasks| kernel_len(op, tasks.clone())).collect();
            segments.push(match op.grad_blocks() {
                Some(blocks) => Segment::of_all(
                    grads,
                    move |rank| lens[rank],
                    move |rank| {
                        let rows = move |block| (0..blocks.rows()).map(move |row| blocks.row(block, row));
                        tasks[rank].clone().flat_map(rows)
                    },
                ),
                None => Segment::parts(grads, ends(lens.into_iter())),
            });
        }
        shares.share(segments)?;
        kernels.iter().for_each(|(i, _, grads)| self.check(grads, self.planned(*i).layer));
        Ok(())
    }

    /// Gives every rank the scores of all samples, and what the loss is charged for outputs.
    fn share_scores(&self, shares: &Shares<'_, T>) -> Result<()> {
        let batch = self.step_plan.batch;
        let scored = || self.goal.scorings.iter().filter(|scoring| scoring.per_sample > 0);
        let mut scores = memory::collect(scored().map(|scoring| {
            (
                scoring.per_sample,
                self.memory.scores.write(scoring.start..scoring.start + scoring.per_sample * batch),
            )
        }))?;
        let mut charges = self.memory.activity.write(0..self.step_plan.activities * batch);
        let of_scores =
            scores.iter_mut().map(|(per_sample, scores)| Segment::parts(scores, shares.ends(*per_sample)));
        let of_slots = charges.chunks_exact_mut(batch).map(|charges| Segment::parts(charges, shares.ends(1)));
        shares.share(memory::collect(of_scores.chain(of_slots))?)?;
        for (per_sample, scores) in &scores {
            scores.chunks_exact(*per_sample).for_each(|sample| self.check_loss(sample[0]));
        }
        Ok(())
    }

    /// Makes the weight gradients of the ranks those of the batch: what each has of its samples is added up, what it has
    /// of a kernel is given to all.
    fn share_weight_gradients(&self, shares: &Shares<'_, T>) -> Result<()> {
        let partial = self.memory.arena.write(self.total(&(0..self.lowered.partial_len)));
        let mut totals = Totals { parts: vec![(0, partial)] };
        let mut layers = Vec::new();
        for (i, offset) in shares.summed() {
            let weights = self.planned(i).op.weights();
            let grads = self.state.grads.write(weights[0].start..weights[weights.len() - 1].end);
            totals.parts.push((offset, grads));
            layers.push(self.planned(i).layer);
        }
        self.add_up(shares, &mut totals)?;
        let divided = |sharing| sharing == Sharing::Divided;
        let ops = memory::collect(shares.ops(divided).filter(|&i| !shares.called_again(i)))?;
        self.share_kernels(shares, &ops, Some(&mut totals))?;
        totals.parts[1..].iter().zip(layers).for_each(|((_, grads), layer)| self.check(grads, layer));
        Ok(())
    }
}
