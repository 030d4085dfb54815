//! Pools over windows and over whole grids, with their gradients.

use std::ops::Range;
use std::sync::Mutex;

use ndarray::{ArrayViewD, ArrayViewMutD};

use super::workspace::{self, Operand, Worker, Workspace};
use super::{Shape, expect_shape, in_order, join_shape, out_slice, split_shape, tensor_shape};
use crate::cuts::{task_rows, workers_for_elements};
use crate::error::{Error, Result};
use crate::geometry::{PoolGeometry, Window};
use crate::kernels::{Kernels, Tier};
use crate::parallel::{Cut, Interrupt, Tasks, for_each_task, lock};
use crate::pool::{self, AveragePool, MaxPool};
use crate::tuning::POOL_TASK_CHANNELS;

/// A window and how outputs are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolOptions {
    /// The window.
    pub window: Window,
    /// Whether a last window that reaches beyond the padding counts, if it starts inside.
    pub ceil_mode: bool,
}

/// A pool on a batch.
struct Batch {
    geometry: PoolGeometry,
    input: Shape,
    output: Shape,
}

impl Batch {
    fn new(input: &[usize], options: &PoolOptions) -> Result<Self> {
        let (n, sizes, channels) = split_shape("input", input)?;
        let geometry = PoolGeometry::rounded(&options.window, options.ceil_mode, sizes, channels)?;
        let axes = &geometry.axes[geometry.axes.len() - sizes.len()..];
        let output = join_shape(n, axes.iter().map(|a| a.output), channels);
        Ok(Self { geometry, input: tensor_shape(input)?, output })
    }

    /// Elements that the windows of all outputs see.
    fn work(&self) -> usize {
        let outputs: usize = self.output.iter().product();
        outputs.saturating_mul(self.geometry.most_taps())
    }

    /// Lends memory to as many threads as the work deserves.
    fn with_workers<T: Operand, R>(&self, call: impl FnOnce(&[Mutex<Worker<T>>]) -> R) -> R {
        let workers = workers_for_elements(self.work());
        workspace::with(workers, |workspace: &mut Workspace<T>| {
            let own = &workspace.workers[..workers];
            for worker in own {
                let mut worker = lock(worker);
                worker.scratch.reserve_taps(self.geometry.most_taps());
                worker.pool.reserve(&self.geometry);
            }
            call(own)
        })
    }

    /// Rows (depth times height) of the output, and how many make a task.
    fn output_task(&self) -> (usize, usize) {
        let axes = &self.geometry.axes;
        let rows = axes[0].output * axes[1].output;
        (
            rows,
            task_rows(
                rows,
                (axes[2].output * self.geometry.channels).saturating_mul(self.geometry.most_taps()),
            ),
        )
    }

    /// Rows of the input, and how many make a task of the gradient.
    fn input_task(&self) -> (usize, usize) {
        let axes = &self.geometry.axes;
        let rows = axes[0].input * axes[1].input;
        let work = self.geometry.output_len().saturating_mul(self.geometry.most_taps());
        (rows, task_rows(rows, axes[2].input * self.geometry.channels + work / rows.max(1)))
    }
}

/// The shape of a pool's output.
///
/// # Errors
/// The window does not fit.
pub fn pool_output_shape(input: &[usize], options: &PoolOptions) -> Result<Shape> {
    Batch::new(input, options).map(|batch| batch.output)
}

/// Max-pools `x` into `y`; the flat position (depth, height, width) of every winner goes to `indices`, -1 where a
/// window lies in the padding altogether.
///
/// # Shapes
/// `x` is `(n, sizes, c)`; `y` and `indices` are [`pool_output_shape`].
///
/// # Errors
/// [`Error::Shape`] for an array of another shape; an interrupt.
pub fn max_pool<T: Operand>(
    x: &ArrayViewD<'_, T>,
    options: &PoolOptions,
    mut y: ArrayViewMutD<'_, T>,
    indices: Option<ArrayViewMutD<'_, i64>>,
    interrupt: Interrupt<'_>,
) -> Result<()> {
    let batch = Batch::new(x.shape(), options)?;
    let y = out_slice("out", &mut y, &batch.output)?;
    let x = in_order(x)?;
    if y.is_empty() {
        return Ok(());
    }
    let (rows, per_task) = batch.output_task();
    let (sample, row) = (batch.geometry.output_len(), batch.geometry.output_len() / rows);
    let x_len = batch.geometry.input_len();
    let pool = MaxPool::new(batch.geometry.clone(), Kernels::of(Tier::current()?));
    let cut = Cut::new(y, sample, per_task * row);
    let per_sample = cut.tasks_per_sample();
    let place = |task: usize, len: usize| {
        let first = task % per_sample * per_task;
        (&x[task / per_sample * x_len..][..x_len], first..first + len / row)
    };
    batch.with_workers(|own| {
        let Some(mut indices) = indices else {
            return for_each_task(cut, own.len(), interrupt, &|task, worker, y, stopped| {
                let (x, rows) = place(task, y.len());
                pool.forward(x, y, &mut [], rows, (lock(&own[worker]).scratch.taps(), stopped));
            });
        };
        let indices = out_slice("indices", &mut indices, &batch.output)?;
        let cuts = (cut, Cut::new(indices, sample, per_task * row));
        for_each_task(cuts, own.len(), interrupt, &|task, worker, (y, indices), stopped| {
            let (x, rows) = place(task, y.len());
            pool.forward_indices(x, y, indices, rows, (&mut lock(&own[worker]).pool, stopped));
        })
    })
}

/// What computes the gradient to some rows of a sample: `(sample, rows, gradient, (memory, whether to stop))`.
type HaloTask<'a, T> = &'a (dyn Fn(usize, Range<usize>, &mut [T], (&mut Worker<T>, Interrupt<'_>)) + Sync);

/// Runs a task for all halos of all samples.
fn for_bands<T: Operand>(
    batch: &Batch,
    dx: &mut [T],
    interrupt: Interrupt<'_>,
    task: HaloTask<'_, T>,
) -> Result<()> {
    if dx.is_empty() {
        return Ok(());
    }
    let (rows, per_task) = batch.input_task();
    let sample = batch.geometry.input_len();
    let row = sample / rows;
    let cut = Cut::new(dx, sample, per_task * row);
    let per_sample = cut.tasks_per_sample();
    batch.with_workers(|own| {
        for_each_task(cut, own.len(), interrupt, &|i, worker, dx, stopped| {
            let first = i % per_sample * per_task;
            task(i / per_sample, first..first + dx.len() / row, dx, (&mut lock(&own[worker]), stopped));
        })
    })
}

/// The gradient of `<dy, max_pool(x)>` to `x`: every element of `dy` goes to the winner of its window.
///
/// # Shapes
/// `x` and `dx` are `(n, sizes, c)`; `dy` is [`pool_output_shape`].
///
/// # Errors
/// [`Error::Shape`] for an array of another shape; an interrupt.
pub fn max_pool_grad<T: Operand>(
    dy: &ArrayViewD<'_, T>,
    x: &ArrayViewD<'_, T>,
    options: &PoolOptions,
    mut dx: ArrayViewMutD<'_, T>,
    interrupt: Interrupt<'_>,
) -> Result<()> {
    let batch = Batch::new(x.shape(), options)?;
    expect_shape("dy", &batch.output, dy.shape())?;
    let dx = out_slice("out", &mut dx, &batch.input)?;
    let (x, dy) = (in_order(x)?, in_order(dy)?);
    let (x_len, y_len) = (batch.geometry.input_len(), batch.geometry.output_len());
    let pool = MaxPool::new(batch.geometry.clone(), Kernels::of(Tier::current()?));
    for_bands(&batch, dx, interrupt, &|sample, halo, dx, (worker, stopped)| {
        let (x, dy) = (&x[sample * x_len..][..x_len], &dy[sample * y_len..][..y_len]);
        pool.backward_halo(x, dy, dx, halo, (&mut worker.pool, stopped));
    })
}

/// Average-pools `x` into `y`; `count_padding` says whether sums are divided by the elements of the window or by those
/// inside the input.
///
/// # Shapes
/// As [`max_pool`].
///
/// # Errors
/// [`Error::Shape`] for an array of another shape; an interrupt.
pub fn average_pool<T: Operand>(
    x: &ArrayViewD<'_, T>,
    options: &PoolOptions,
    count_padding: bool,
    mut y: ArrayViewMutD<'_, T>,
    interrupt: Interrupt<'_>,
) -> Result<()> {
    let batch = Batch::new(x.shape(), options)?;
    let y = out_slice("out", &mut y, &batch.output)?;
    let x = in_order(x)?;
    if y.is_empty() {
        return Ok(());
    }
    let (rows, per_task) = batch.output_task();
    let (sample, row) = (batch.geometry.output_len(), batch.geometry.output_len() / rows);
    let x_len = batch.geometry.input_len();
    let pool = AveragePool::new(batch.geometry.clone(), count_padding, Kernels::of(Tier::current()?));
    let cut = Cut::new(y, sample, per_task * row);
    let per_sample = cut.tasks_per_sample();
    batch.with_workers(|own: &[Mutex<Worker<T>>]| {
        for_each_task(cut, own.len(), interrupt, &|task, worker, y, stopped| {
            let first = task % per_sample * per_task;
            let rows = first..first + y.len() / row;
            let x = &x[task / per_sample * x_len..][..x_len];
            pool.forward(x, y, rows, (lock(&own[worker]).scratch.taps(), stopped));
        })
    })
}

/// The gradient of `<dy, average_pool(x)>` to `x`.
///
/// # Shapes
/// As [`max_pool_grad`].
///
/// # Errors
/// [`Error::Shape`] for an array of another shape; an interrupt.
pub fn average_pool_grad<T: Operand>(
    dy: &ArrayViewD<'_, T>,
    options: &PoolOptions,
    count_padding: bool,
    mut dx: ArrayViewMutD<'_, T>,
    interrupt: Interrupt<'_>,
) -> Result<()> {
    let batch = Batch::new(dx.shape(), options)?;
    expect_shape("dy", &batch.output, dy.shape())?;
    let dx = out_slice("out", &mut dx, &batch.input)?;
    let dy = in_order(dy)?;
    let y_len = batch.geometry.output_len();
    let pool = AveragePool::new(batch.geometry.clone(), count_padding, Kernels::of(Tier::current()?));
    for_bands(&batch, dx, interrupt, &|sample, halo, dx, (worker, stopped)| {
        pool.backward_halo(&dy[sample * y_len..][..y_len], dx, halo, (worker.scratch.taps(), stopped));
    })
}

/// What a pool over the whole grid yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Global {
    /// The largest element of each channel.
    Max,
    /// Their mean.
    Average,
}

/// Batch, positions and channels of the input of a global pool.
fn positions(shape: &[usize]) -> Result<(usize, usize, usize)> {
    let (n, sizes, channels) = split_shape("input", shape)?;
    let positions: usize = sizes.iter().product();
    if positions == 0 {
        return Err(Error::shape(
            "input",
            "at least one element along every spatial axis",
            format!("{shape:?}"),
        ));
    }
    Ok((n, positions, channels))
}

/// The shape of a global pool's output: `(n, c)`, with `keepdims` `(n, 1.., c)`.
///
/// # Errors
/// There is nothing to pool.
pub fn global_output_shape(input: &[usize], keepdims: bool) -> Result<Shape> {
    let (n, _, channels) = positions(input)?;
    let ones = if keepdims { input.len() - 2 } else { 0 };
    Ok(join_shape(n, std::iter::repeat_n(1, ones), channels))
}

/// Pools each channel of each sample over the whole grid.
///
/// # Shapes
/// `x` is `(n, sizes, c)`; `y` is [`global_output_shape`].
///
/// # Errors
/// [`Error::Shape`] for an array of another shape; an interrupt.
pub fn global_pool<T: Operand>(
    kind: Global,
    x: &ArrayViewD<'_, T>,
    keepdims: bool,
    mut y: ArrayViewMutD<'_, T>,
    interrupt: Interrupt<'_>,
) -> Result<()> {
    let (_, positions, channels) = positions(x.shape())?;
    let y = out_slice("out", &mut y, &global_output_shape(x.shape(), keepdims)?)?;
    let x = in_order(x)?;
    let (tier, sample) = (Tier::current()?, positions * channels);
    let cut = Cut::new(y, channels, POOL_TASK_CHANNELS);
    let per_sample = cut.tasks_per_sample();
    for_each_task(cut, workers_for_elements(x.len()), interrupt, &|task, _, y, _| {
        let x = &x[task / per_sample * sample..][..sample];
        let first = task % per_sample * POOL_TASK_CHANNELS;
        match kind {
            Global::Max => pool::global_max(tier, x, channels, first, y),
            Global::Average => pool::global_average(tier, x, channels, first, y),
        }
    })
}

/// The gradient of `<dy, global_pool(x)>` to `x`, which only maxima look at: the first of the largest gets it.
///
/// # Shapes
/// `x` and `dx` are `(n, sizes, c)`; `dy` is [`global_output_shape`].
///
/// # Errors
/// [`Error::Shape`] for an array of another shape; an interrupt.
pub fn global_pool_grad<T: Operand>(
    dy: &ArrayViewD<'_, T>,
    x: Option<&ArrayViewD<'_, T>>,
    keepdims: bool,
    mut dx: ArrayViewMutD<'_, T>,
    interrupt: Interrupt<'_>,
) -> Result<()> {
    let (_, positions, channels) = positions(dx.shape())?;
    let shape = tensor_shape(dx.shape())?;
    expect_shape("dy", &global_output_shape(&shape, keepdims)?, dy.shape())?;
    let dx = out_slice("out", &mut dx, &shape)?;
    let dy = in_order(dy)?;
    let (tier, sample, workers) = (Tier::current()?, positions * channels, workers_for_elements(dx.len()));
    let Some(x) = x else {
        let per_task = task_rows(positions, channels);
        let cut = Cut::new(dx, sample, per_task * channels);
        let per_sample = cut.tasks_per_sample();
        return for_each_task(cut, workers, interrupt, &|task, _, dx, _| {
            pool::global_average_grad(&dy[task / per_sample * channels..][..channels], positions, dx);
        });
    };
    expect_shape("x", &shape, x.shape())?;
    let x = in_order(x)?;
    let cut = Cut::new(dx, sample, sample);
    debug_assert_eq!(cut.count(), shape[0]);
    for_each_task(cut, workers, interrupt, &|task, _, dx, _| {
        let (x, dy) = (&x[task * sample..][..sample], &dy[task * channels..][..channels]);
        pool::global_max_grad(tier, x, dy, dx);
    })
}
