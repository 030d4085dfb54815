//! Separable convolutions: a depthwise one, then a pointwise one that mixes the channels, with their gradients.
//!
//! Forward, a task does both steps on some rows, so that the tensor between them never exists as a whole. The gradients
//! need that tensor (or its gradient) as a whole, in memory that is kept for the next call.

use ndarray::{ArrayViewD, ArrayViewMutD};

use super::conv::{Call, ConvBatch, ConvKind, ConvOptions, Finish, sum_kernel};
use super::tiling;
use super::workspace::{self, Operand, Worker, Workspace, room};
use super::{operand, out_slice};
use crate::activation::Activation;
use crate::conv::{Epilogue, Operands, Pass, Region};
use crate::cuts::{task_units, workers_for_macs};
use crate::error::{Error, Result};
use crate::geometry::{Axis, ConvGeometry, Padding, PaddingMode};
use crate::kernels::{Kernels, Tier};
use crate::parallel::{Cut, Interrupt, for_each_task, lock};

/// The two convolutions of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeparableBatch {
    /// The first: every channel alone.
    pub depthwise: ConvBatch,
    /// The second: every position alone.
    pub pointwise: ConvBatch,
}

impl SeparableBatch {
    /// Works out the shapes; `kernels` are those of the depthwise and of the pointwise kernel.
    ///
    /// # Errors
    /// They do not fit each other, or the output has no elements.
    pub fn new(x: &[usize], kernels: [&[usize]; 2], options: &ConvOptions) -> Result<Self> {
        let depthwise = ConvBatch::new(ConvKind::Depthwise, x, kernels[0], options)?;
        let [window @ .., _, _] = kernels[1] else {
            return Err(Error::shape(
                "pointwise kernel",
                format!("{} axes", x.len()),
                format!("{:?}", kernels[1]),
            ));
        };
        if window.iter().any(|&k| k != 1) {
            return Err(Error::shape(
                "pointwise kernel",
                "spatial axes of size 1",
                format!("{:?}", kernels[1]),
            ));
        }
        let ones = vec![1; window.len()];
        let plain = ConvOptions {
            strides: ones.clone(),
            padding: Padding::VALID,
            padding_mode: PaddingMode::Zeros,
            dilation_rate: ones,
            groups: 1,
            output_padding: None,
            algorithm: options.algorithm,
        };
        let pointwise = ConvBatch::new(ConvKind::Plain, &depthwise.y, kernels[1], &plain)?;
        Ok(Self { depthwise, pointwise })
    }

    fn macs(&self) -> usize {
        self.depthwise.macs().saturating_add(self.pointwise.macs())
    }

    fn threads(&self) -> usize {
        workers_for_macs(self.macs())
    }

    /// Elements of the tensor between the two steps.
    fn middle(&self) -> usize {
        self.depthwise.y.iter().product()
    }
}

/// The depthwise and the pointwise kernel.
type TwoKernels<'a, 'b, T> = [&'a ArrayViewD<'b, T>; 2];

/// `y = activation(pointwise(depthwise(x)) + bias)`
///
/// # Errors
/// A shape that does not fit, an unknown activation, an interrupt.
pub fn separable<T: Operand>(
    batch: &SeparableBatch,
    x: &ArrayViewD<'_, T>,
    kernels: TwoKernels<'_, '_, T>,
    finish: Finish<'_, '_, T>,
    mut y: ArrayViewMutD<'_, T>,
    interrupt: Interrupt<'_>,
) -> Result<()> {
    let SeparableBatch { depthwise, pointwise } = batch;
    let (bias, activation) = finish.parts(pointwise.geometry.c_out)?;
    let x = operand("input", x, &depthwise.x)?;
    let first = operand("depthwise kernel", kernels[0], &depthwise.kernel)?;
    let second = operand("pointwise kernel", kernels[1], &pointwise.kernel)?;
    let y = out_slice("out", &mut y, &pointwise.y)?;
    if y.is_empty() {
        return Ok(());
    }
    let tier = Tier::current()?;
    let g = &depthwise.geometry;
    let outer = workspace::map(Pass::Forward, &(g.clone(), depthwise.algorithm), Kernels::of(tier));
    // Rows as the plan of the first step sees them: with one channel and a kernel of one tap, axes are joined there.
    let (rows, columns) = (outer.tiling().rows, outer.tiling().columns);
    let per_task = task_units(rows, depthwise.samples, batch.macs());
    // The second step on the rows of a task; a border mode, without a border, keeps them apart.
    let axis = |n: usize| Axis { input: n, output: n, ..Axis::UNIT };
    let axes = [Axis::UNIT, axis(per_task), axis(columns)];
    let inner = ConvGeometry { axes, mode: PaddingMode::Edge, ..pointwise.geometry.clone() };
    let inner = workspace::map(Pass::Forward, &(inner, pointwise.algorithm), Kernels::of(tier));
    workspace::with(batch.threads(), |workspace| {
        let Workspace { packed: [packed, mixed], workers: own, .. } = workspace;
        let threads = batch.threads().min(own.len());
        let packed = room(packed, outer.tiling().weights);
        tiling::pack(&**outer, &first, packed, threads, interrupt)?;
        let mixed = room(mixed, inner.tiling().weights);
        tiling::pack(&**inner, &second, mixed, threads, interrupt)?;
        let (packed, mixed) = (&*packed, &*mixed);
        let relu = activation == Activation::Relu;
        let epilogue = Epilogue { bias: bias.as_deref(), relu };
        let (x_len, y_row) = (g.input_len(), columns * pointwise.geometry.c_out);
        let middle_row = columns * g.c_out;
        let cut = Cut::new(y, rows * y_row, per_task * y_row);
        let per_sample = cut.tasks_per_sample();
        for worker in &own[..threads] {
            let mut worker = lock(worker);
            worker.scratch.reserve(&outer.tiling().scratch);
            worker.scratch.reserve(&inner.tiling().scratch);
            room(&mut worker.rows, per_task * middle_row.max(y_row));
        }
        for_each_task(cut, threads, interrupt, &|task, worker, to, _| {
            let worker = &mut *lock(&own[worker]);
            let Worker { scratch, rows: buffer, .. } = worker;
            let (from, count) = (task % per_sample * per_task, to.len() / y_row);
            let buffer = room(buffer, per_task * middle_row.max(y_row));
            let x = &x[task / per_sample * x_len..][..x_len];
            let middle = &mut buffer[..count * middle_row];
            let operands = Operands { from: x, packed, epilogue: Epilogue::NONE, non_temporal: false };
            let rows = Region::Elements(from * middle_row..(from + count) * middle_row);
            outer.run(operands, middle, &rows, scratch);
            let operands = Operands { from: buffer, packed: mixed, epilogue, non_temporal: false };
            inner.run(operands, to, &Region::Elements(0..to.len()), scratch);
            if !relu && activation != Activation::Linear {
                let sums = &mut buffer[..to.len()];
                sums.copy_from_slice(to);
                activation.forward(tier, sums, to);
            }
        })
    })
}

/// The gradient of `<dy, separable(x)>` to `x`.
///
/// # Errors
/// A shape that does not fit, an interrupt.
pub fn separable_input_grad<T: Operand>(
    batch: &SeparableBatch,
    dy: &ArrayViewD<'_, T>,
    kernels: TwoKernels<'_, '_, T>,
    mut dx: ArrayViewMutD<'_, T>,
    interrupt: Interrupt<'_>,
) -> Result<()> {
    let SeparableBatch { depthwise, pointwise } = batch;
    let dy = operand("dy", dy, &pointwise.y)?;
    let first = operand("depthwise kernel", kernels[0], &depthwise.kernel)?;
    let second = operand("pointwise kernel", kernels[1], &pointwise.kernel)?;
    let dx = out_slice("out", &mut dx, &depthwise.x)?;
    workspace::with(batch.threads(), |workspace| {
        let mut kept = std::mem::take(&mut workspace.middle);
        let middle = room(&mut kept, batch.middle());
        let step = |batch: &ConvBatch,
                    to: &mut [T],
                    from: &[T],
                    kernel: &[T],
                    slot,
                    workspace: &mut Workspace<T>| {
            let call = Call::linear(batch, Pass::InputGrad, from, kernel);
            call.run(to, slot, workspace, interrupt)
        };
        let result = step(pointwise, middle, &dy, &second, 1, workspace)
            .and_then(|()| step(depthwise, dx, middle, &first, 0, workspace));
        workspace.middle = kept;
        result
    })
}

/// The gradients of `<dy, separable(x)>` to the two kernels.
///
/// # Errors
/// A shape that does not fit, an interrupt.
pub fn separable_kernel_grad<T: Operand>(
    batch: &SeparableBatch,
    x: &ArrayViewD<'_, T>,
    dy: &ArrayViewD<'_, T>,
    kernels: TwoKernels<'_, '_, T>,
    [mut d_first, mut d_second]: [ArrayViewMutD<'_, T>; 2],
    interrupt: Interrupt<'_>,
) -> Result<()> {
    let SeparableBatch { depthwise, pointwise } = batch;
    let x = operand("input", x, &depthwise.x)?;
    let dy = operand("dy", dy, &pointwise.y)?;
    let first = operand("depthwise kernel", kernels[0], &depthwise.kernel)?;
    let second = operand("pointwise kernel", kernels[1], &pointwise.kernel)?;
    let d_first = out_slice("out", &mut d_first, &depthwise.kernel)?;
    let d_second = out_slice("out", &mut d_second, &pointwise.kernel)?;
    workspace::with(batch.threads(), |workspace| {
        let mut kept = std::mem::take(&mut workspace.middle);
        let middle = room(&mut kept, batch.middle());
        let mut run = || {
            Call::linear(depthwise, Pass::Forward, &x, &first).run(middle, 0, workspace, interrupt)?;
            sum_kernel(pointwise, (middle, &dy), d_second, workspace, interrupt)?;
            // The gradient of the tensor in the middle takes its place.
            Call::linear(pointwise, Pass::InputGrad, &dy, &second).run(middle, 1, workspace, interrupt)?;
            sum_kernel(depthwise, (&x, middle), d_first, workspace, interrupt)
        };
        let result = run();
        workspace.middle = kept;
        result
    })
}
