//! The weight gradients of batch ops: a task has a part of the weights, and goes through all samples.
//!
//! Those of convolutions and of small dense layers are summed in some parts of a large batch, which are added up the tree
//! of chunks: where every part is one rank's, ranks need no samples of others. That of a large dense layer is one chain.

use std::ops::Range;

use super::super::layers::BatchOp;
use super::super::peers::Sharing;
use super::{Add, StepProgram, Worker};
use crate::conv::{KernelBlocks, Scratch};
use crate::error::Result;
use crate::kernels::Element;
use crate::memory;
use crate::parallel::{Reading, Shared, lock};

/// What a task computes.
enum Target {
    /// Weights that follow each other, in the flat buffers.
    Range(Range<usize>),
    /// A block of the kernel.
    Block(KernelBlocks, usize),
}

impl Target {
    fn len(&self) -> usize {
        match self {
            Self::Range(range) => range.len(),
            Self::Block(blocks, _) => blocks.block_len(),
        }
    }
}

/// The operands of a gradient: the parts of the batch, and what a sample has of inputs and output gradients.
struct Operands<'a, T> {
    x: Reading<'a, T>,
    dy: Reading<'a, T>,
    batch: usize,
    /// Samples of a part.
    part: usize,
}

impl<T: Element> Operands<'_, T> {
    fn parts(&self) -> usize {
        self.batch.div_ceil(self.part)
    }

    /// The gradient of a part.
    fn grad(
        &self,
        op: &dyn BatchOp<T>,
        target: &Target,
        part: usize,
        grads: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        let samples = (part * self.part).min(self.batch)..((part + 1) * self.part).min(self.batch);
        let of = |tensor: &[T]| {
            let len = tensor.len() / self.batch;
            samples.start * len..samples.end * len
        };
        let operands = (&self.x[of(&self.x)], &self.dy[of(&self.dy)]);
        match target {
            Target::Range(range) => op.grad(operands, range.clone(), grads, scratch),
            Target::Block(_, block) => op.grad_block(operands, *block, grads, scratch),
        }
    }
}

impl<T: Element> StepProgram<'_, '_, T> {
    /// A task of the weight gradient of a batch op.
    pub(super) fn batch_grad(&self, i: usize, task: usize, worker: usize) -> Result<()> {
        let planned = self.planned(i);
        let Some(op) = planned.op.batch() else { return Ok(()) };
        let all = 0..self.step_plan.batch;
        let active = &self.step_plan.active[i];
        let dy = self.range(self.step_plan.grads[active.output], active.output, &all, worker);
        let operands = Operands {
            x: self.read_value(active.inputs[0], &all, worker),
            dy: self.memory.arena.read(dy),
            batch: self.step_plan.batch,
            part: self.step_plan.grad_part(planned.op.as_ref()) * self.step_plan.chunk,
        };
        // Ranks divide the kernel. The bias takes each of them less time than to send it.
        let has_kernel = self.shares.is_none_or(|shares| shares.own_tasks(i).contains(&task));
        let [kernel, bias] = op.grad_ranges(task);
        let kernel = match op.grad_blocks() {
            Some(blocks) => Target::Block(blocks, task),
            None => Target::Range(kernel),
        };
        let targets = [has_kernel.then_some(kernel), Some(Target::Range(bias))];
        let mut own = lock(&self.memory.workers[worker]);
        for target in targets.into_iter().flatten().filter(|target| target.len() > 0) {
            self.grad_target(i, &operands, &target, &mut own)?;
        }
        Ok(())
    }

    /// Computes what a task has to: of the batch, or of every node that is this rank's if those are added up.
    fn grad_target(
        &self,
        i: usize,
        operands: &Operands<'_, T>,
        target: &Target,
        own: &mut Worker<T>,
    ) -> Result<()> {
        let planned = self.planned(i);
        let Some(op) = planned.op.batch() else { return Ok(()) };
        let Worker { scratch, grads: aside, .. } = own;
        let (parts, part) = (operands.parts(), operands.part / self.step_plan.chunk);
        let sharing = self.shares.map(|shares| (shares, shares.sharing(i)));
        let Some((shares, Sharing::Summed { offset })) = sharing else {
            if let (Target::Range(range), 1, false) = (target, parts, planned.adds) {
                let mut grads = self.state.grads.write(range.clone());
                operands.grad(op, target, 0, &mut grads, scratch);
                self.check(&grads, planned.layer);
                return Ok(());
            }
            self.sum_parts(0..parts, target.len(), aside, |part, to| {
                operands.grad(op, target, part, to, scratch)
            })?;
            let sums = &aside[..target.len()];
            self.check(sums, planned.layer);
            self.leave(target, sums, (self.state.grads, planned.adds), (planned.op.weights(), None));
            return Ok(());
        };
        for node in shares.own_nodes() {
            // Parts are whole nodes of the tree, and each of them is one rank's.
            let parts = node.start / part..node.end.div_ceil(part);
            self.sum_parts(parts, target.len(), aside, |part, to| {
                operands.grad(op, target, part, to, scratch)
            })?;
            let place = shares.node(node.start).map(|start| start + offset);
            let buffer = if place.is_some() { &self.memory.nodes } else { self.state.grads };
            self.leave(target, &aside[..target.len()], (buffer, false), (planned.op.weights(), place));
        }
        Ok(())
    }

    /// Adds up what parts of the batch contribute, as the tree of chunks does; the sum is in front of `stack`.
    fn sum_parts(
        &self,
        parts: Range<usize>,
        len: usize,
        stack: &mut Vec<T>,
        mut grad: impl FnMut(usize, &mut [T]),
    ) -> Result<()> {
        let levels = parts.len().next_power_of_two().ilog2() as usize;
        memory::resize(stack, (levels + 1) * len, T::ZERO)?;
        let count = parts.len();
        let mut depth = 0;
        for (number, part) in (1..).zip(parts) {
            grad(part, &mut stack[depth * len..(depth + 1) * len]);
            depth += 1;
            let joins = if number == count { depth - 1 } else { number.trailing_zeros() as usize };
            for _ in 0..joins {
                depth -= 1;
                let (to, from) = stack.split_at_mut(depth * len);
                self.kernels.tier.vectorize(Add { from: &from[..len], to: &mut to[(depth - 1) * len..] });
            }
        }
        Ok(())
    }

    /// Brings the sums of a task where they belong: in the flat buffers, or where the weights of the op follow each other
    /// from a place on. They are added to what is there if `adds` says so.
    fn leave(
        &self,
        target: &Target,
        sums: &[T],
        (buffer, adds): (&Shared<T>, bool),
        (weights, place): (&[Range<usize>], Option<usize>),
    ) {
        let put = |from: &[T], to: &mut [T]| match adds {
            true => self.kernels.tier.vectorize(Add { from, to }),
            false => to.copy_from_slice(from),
        };
        let first = weights[0].start;
        match target {
            Target::Range(range) => {
                let start = place.map_or(range.start, |place| place + range.start - first);
                put(sums, &mut buffer.write(start..start + range.len()));
            }
            Target::Block(blocks, block) => {
                let start = place.unwrap_or(first);
                let [rows, columns] = blocks.block;
                for (tap, from) in sums.chunks_exact(rows * columns).enumerate() {
                    let row = blocks.row(*block, tap * rows);
                    let row = start + row.start..start + row.end;
                    let mut to = buffer.write_columns(row, rows, blocks.channels[1]);
                    from.chunks_exact(columns)
                        .enumerate()
                        .for_each(|(number, from)| put(from, to.row(number)));
                }
            }
        }
    }
}
