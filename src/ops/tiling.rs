//! How the work of a convolution on a batch is cut into tasks: by shapes only, never by the number of threads.
//!
//! Forward and to the input, a task is some rows of a sample, or some columns where a sample is one row (a series). To
//! the kernel, the positions of all samples are cut into chunks, summed into buffers of their own that are added up in
//! their order; and the rows of the kernel into parts, which need no adding up. Large kernels have many parts and few
//! chunks. Weights are packed by all threads before the first task.

use std::ops::Range;
use std::sync::Mutex;

use super::workspace::{Operand, Worker, room};
use crate::activation::Activation;
use crate::conv::{Epilogue, GradOperands, GradPlan, KernelBlocks, MapPlan, Operands, Region, Sums};
use crate::cuts;
use crate::error::Result;
use crate::kernels::{Job, Tier};
use crate::parallel::{Cut, Interrupt, Tasks, for_each_task, lock};
use crate::tuning::grad_call::{CHUNK_POSITIONS, FEWEST_AT_POINTS, TASK_BYTES, TASK_ROWS};
use crate::tuning::{CALL_PARTIAL_BYTES, COPY_TASK_ELEMENTS, FEW_TASKS, LAST_LEVEL_BYTES, TASK_MACS, TASKS};

/// Packs weights on this many threads.
pub(super) fn pack<T: Operand>(
    plan: &dyn MapPlan<T>,
    kernel: &[T],
    packed: &mut [T],
    workers: usize,
    interrupt: Interrupt<'_>,
) -> Result<()> {
    let (len, grain) = (packed.len(), plan.tiling().weight_unit.max(1));
    if len == 0 {
        return Ok(());
    }
    let per_task = (COPY_TASK_ELEMENTS / grain).max(1) * grain;
    let workers = if len < 2 * per_task { 1 } else { workers };
    for_each_task(Cut::new(packed, len, per_task), workers, interrupt, &|task, _, part, _| {
        plan.pack(kernel, task * per_task, part);
    })
}

/// A map of tensors about to run on a batch.
pub(super) struct Mapping<'a, T: Operand> {
    pub plan: &'a dyn MapPlan<T>,
    pub packed: &'a [T],
    pub from: &'a [T],
    pub from_len: usize,
    pub bias: Option<&'a [T]>,
    pub activation: Activation,
    pub macs: usize,
    pub tier: Tier,
    pub non_temporal: bool,
}

/// Whether tensors of this many elements leave nothing of each other in the cache.
pub(super) fn non_temporal<T>(elements: usize) -> bool {
    elements * size_of::<T>() >= LAST_LEVEL_BYTES
}

impl<T: Operand> Mapping<'_, T> {
    /// Computes a region by the plan: all at once if the plan can apply the activation, else `at_once` elements at a time, so
    /// that the sums stay in the cache; `region(elements)` is what some of `to` are.
    fn activated(
        &self,
        (from, to): (&[T], &mut [T]),
        at_once: usize,
        worker: &mut Worker<T>,
        region: impl Fn(Range<usize>) -> Region,
    ) {
        let relu = self.activation == Activation::Relu;
        let epilogue = Epilogue { bias: self.bias, relu };
        let Worker { scratch, rows: buffer, .. } = worker;
        let direct = relu || self.activation == Activation::Linear;
        let non_temporal = direct && self.non_temporal;
        let operands = Operands { from, packed: self.packed, epilogue, non_temporal };
        if direct {
            let all = region(0..to.len());
            return self.plan.run(operands, to, &all, scratch);
        }
        for (to, first) in to.chunks_mut(at_once).zip((0..).step_by(at_once)) {
            let sums = room(buffer, to.len());
            self.plan.run(operands, sums, &region(first..first + to.len()), scratch);
            self.activation.forward(self.tier, sums, to);
        }
    }

    /// Some elements of one result, from element `first` on: whole rows, or columns of a single row.
    fn part(&self, from: &[T], to: &mut [T], first: usize, worker: &mut Worker<T>) {
        self.activated((from, to), self.plan.tiling().unit, worker, |some| {
            Region::Elements(first + some.start..first + some.end)
        });
    }

    /// Some whole results.
    fn samples(&self, from: &[T], to: &mut [T], worker: &mut Worker<T>) {
        let (all, sample) = (to.len(), self.plan.tiling().len());
        self.activated((from, to), all, worker, |_| Region::Samples(all / sample));
    }

    /// Makes room for all workers beforehand: which of them draws which task is a matter of chance. If an activation
    /// is not part of the plan, it is applied to `elements` at a time.
    fn reserve(&self, workers: &[Mutex<Worker<T>>], elements: usize) {
        let whole = matches!(self.activation, Activation::Relu | Activation::Linear);
        for worker in workers {
            let mut worker = lock(worker);
            worker.scratch.reserve(&self.plan.tiling().scratch);
            room(&mut worker.rows, if whole { 0 } else { elements });
        }
    }

    /// All of it.
    pub(super) fn run(
        &self,
        to: &mut [T],
        workers: &[Mutex<Worker<T>>],
        interrupt: Interrupt<'_>,
    ) -> Result<()> {
        let tiling = self.plan.tiling();
        let (sample, unit, units) = (tiling.len(), tiling.unit, tiling.units());
        let samples = to.len() / sample;
        let least = tiling.least_units.min((units * samples).div_ceil(FEW_TASKS));
        if least > units {
            let together = least / units;
            let cut = Cut::new(to, to.len(), together * sample);
            self.reserve(workers, together * sample);
            return for_each_task(cut, workers.len(), interrupt, &|task, worker, to, _| {
                let from = &self.from[task * together * self.from_len..];
                let from = &from[..to.len() / sample * self.from_len];
                self.samples(from, to, &mut lock(&workers[worker]));
            });
        }
        // Pieces of equal size.
        let wanted = cuts::task_units(units, samples, self.macs).max(least);
        let per_task = unit * cuts::even_task_within(units, wanted);
        let cut = Cut::new(to, sample, per_task);
        let per_sample = cut.tasks_per_sample();
        self.reserve(workers, unit.min(sample));
        for_each_task(cut, workers.len(), interrupt, &|task, worker, to, _| {
            let from = &self.from[task / per_sample * self.from_len..][..self.from_len];
            self.part(from, to, task % per_sample * per_task, &mut lock(&workers[worker]));
        })
    }
}

/// A kernel gradient about to run on a batch.
pub(super) struct Summing<'a, T: Operand> {
    pub plan: &'a dyn GradPlan<T>,
    pub x: &'a [T],
    pub dy: &'a [T],
    pub x_len: usize,
    pub samples: usize,
    pub macs: usize,
    pub tier: Tier,
}

impl<T: Operand> Summing<'_, T> {
    /// In how many chunks the units of all samples and in how many parts the rows of the kernel are cut: a matter of
    /// the shapes only.
    fn cuts(&self, kernel_len: usize) -> [usize; 2] {
        let tiling = self.plan.tiling();
        let rows = tiling.weight_units();
        let sums_len = match tiling.weights {
            // At the points of a transform. Those beside them, as many as the kernel has, are hardly ever touched.
            len if len > kernel_len => len - kernel_len,
            len => len,
        };
        let bytes = sums_len * size_of::<T>();
        let parts = (bytes / TASK_BYTES).min(rows / TASK_ROWS[0]).clamp(1, TASKS);
        // Sums at the points of a transform are longer than the kernel, and reading and writing them costs the more.
        let fewest = if sums_len > kernel_len { FEWEST_AT_POINTS } else { CHUNK_POSITIONS[1] };
        let [paying, fewest] = [CHUNK_POSITIONS[0], fewest].map(|n| n * sums_len / kernel_len.max(1));
        let positions = tiling.rows * tiling.columns * self.samples;
        let wanted = (positions / paying).next_power_of_two().max((positions / fewest).min(FEW_TASKS));
        let fit = CALL_PARTIAL_BYTES / bytes.max(1);
        let chunks = wanted.min(fit).min(TASKS.div_ceil(parts)).min(self.samples * tiling.units()).max(1);
        let tasks = (self.macs / TASK_MACS[0]).clamp(1, TASKS);
        [chunks, parts.max(tasks.div_ceil(chunks).min(rows / TASK_ROWS[1]))]
    }

    /// Elements of the buffers that are added up.
    pub(super) fn partials_len(&self, kernel_len: usize) -> usize {
        if self.plan.blocks().is_some() {
            return kernel_len;
        }
        let [chunks, _] = self.cuts(kernel_len);
        let sums_len = self.plan.tiling().weights;
        if chunks == 1 && sums_len == kernel_len { 0 } else { chunks * sums_len }
    }

    /// Adds up the units `units` of all samples, counted through, for some rows of the kernel.
    fn chunk(&self, units: Range<usize>, kernel: &Range<usize>, sum: &mut [T], worker: &mut Worker<T>) {
        let tiling = self.plan.tiling();
        let (unit, per_sample, sample_len) = (tiling.unit, tiling.units(), tiling.len());
        let non_temporal = non_temporal::<T>(self.x.len() + self.dy.len());
        if units.is_empty() {
            sum.fill(T::ZERO);
        }
        let mut at = units.start;
        while at < units.end {
            let (sample, first) = (at / per_sample, at % per_sample);
            let whole = if first == 0 { (units.end - at) / per_sample } else { 0 };
            let end = if whole > 0 { per_sample } else { per_sample.min(first + units.end - at) };
            let elements = first * unit..(end * unit).min(sample_len);
            let samples = whole.max(1);
            let start = sample * sample_len + elements.start;
            let operands = GradOperands {
                x: &self.x[sample * self.x_len..][..samples * self.x_len],
                dy: &self.dy[start..start + samples * elements.len()],
                non_temporal,
            };
            let region = if whole > 0 { Region::Samples(whole) } else { Region::Elements(elements) };
            let sums = Sums { sums: &mut *sum, units: kernel.clone(), from_zero: at == units.start };
            self.plan.accumulate(operands, &region, sums, &mut worker.scratch);
            at += if whole > 0 { whole * per_sample } else { end - first };
        }
    }

    pub(super) fn run(
        &self,
        dkernel: &mut [T],
        (partials, workers): (&mut [T], &[Mutex<Worker<T>>]),
        interrupt: Interrupt<'_>,
    ) -> Result<()> {
        for worker in workers {
            lock(worker).scratch.reserve(&self.plan.tiling().scratch);
        }
        if let Some(blocks) = self.plan.blocks() {
            return self.by_blocks(blocks, dkernel, (partials, workers), interrupt);
        }
        let len = dkernel.len();
        let tiling = self.plan.tiling();
        let units = self.samples * tiling.units();
        let [chunks, parts] = self.cuts(len);
        let (rows, sums_len) = (tiling.weight_units(), tiling.weights);
        let (part_rows, row_len) = (rows.div_ceil(parts), sums_len / rows);
        let at_once = partials.is_empty();
        let sums = if at_once { &mut *dkernel } else { &mut *partials };
        let cut = Cut::new(sums, sums_len, part_rows * row_len);
        let parts = cut.tasks_per_sample();
        for_each_task(cut, workers.len(), interrupt, &|task, worker, sum, _| {
            let (chunk, part) = (task / parts, task % parts);
            let kernel = part * part_rows..part * part_rows + sum.len() / row_len;
            let units = chunk * units / chunks..(chunk + 1) * units / chunks;
            self.chunk(units, &kernel, sum, &mut lock(&workers[worker]));
            self.plan.finish(sum);
        })?;
        if at_once {
            return Ok(());
        }
        let partials = &*partials;
        let reduce = Cut::new(dkernel, len, COPY_TASK_ELEMENTS);
        let workers = workers.len().min(reduce.count());
        for_each_task(reduce, workers, interrupt, &|task, _, to, _| {
            for (i, part) in partials.chunks_exact(sums_len).enumerate() {
                let from = &part[task * COPY_TASK_ELEMENTS..][..to.len()];
                if i == 0 {
                    to.copy_from_slice(from);
                } else {
                    self.tier.vectorize(Add { from, to });
                }
            }
        })
    }

    /// A task for every block, which is written in a place of its own, and then one for every input channel of a tap.
    fn by_blocks(
        &self,
        blocks: KernelBlocks,
        dkernel: &mut [T],
        (gradients, workers): (&mut [T], &[Mutex<Worker<T>>]),
        interrupt: Interrupt<'_>,
    ) -> Result<()> {
        let (len, block_len) = (dkernel.len(), blocks.block_len());
        let operands = GradOperands { x: self.x, dy: self.dy, non_temporal: false };
        let cut = Cut::new(gradients, len, block_len);
        for_each_task(cut, workers.len(), interrupt, &|block, worker, gradient, _| {
            self.plan.block(operands, block, gradient, &mut lock(&workers[worker]).scratch);
        })?;
        let gradients = &*gradients;
        let [_, outputs] = blocks.channels;
        let [_, columns] = blocks.block;
        let rows = Cut::new(dkernel, len, ROWS_OF_A_TASK * outputs);
        for_each_task(rows, workers.len(), interrupt, &|task, _, to, _| {
            for (number, to) in to.chunks_exact_mut(columns).enumerate() {
                let (block, row) = blocks.at(task * ROWS_OF_A_TASK * outputs + number * columns);
                to.copy_from_slice(&gradients[block * block_len + row * columns..][..columns]);
            }
        })
    }
}

/// Rows of a kernel that are copied together.
const ROWS_OF_A_TASK: usize = 64;

/// `to += from`
struct Add<'a, T> {
    from: &'a [T],
    to: &'a mut [T],
}

impl<T: Operand> Job for Add<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for (to, from) in self.to.iter_mut().zip(self.from) {
            *to += *from;
        }
    }
}
