//! Padding and its adjoint.

use ndarray::{ArrayViewD, ArrayViewMutD};

use super::{Shape, expect_shape, in_order, join_shape, out_slice, split_shape, tensor_shape};
use crate::cuts::{task_rows, workers_for_elements};
use crate::error::{Error, Result};
use crate::geometry::{PaddingMode, padded_size};
use crate::kernels::Element;
use crate::pad::{Gather, Sources};
use crate::parallel::{Cut, Interrupt, for_each_task};

/// Elements before and after each spatial axis, and what they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PadOptions {
    /// One pair per axis.
    pub pairs: Vec<(usize, usize)>,
    /// What stands there.
    pub mode: PaddingMode,
}

impl PadOptions {
    fn check<'a>(&self, shape: &'a [usize]) -> Result<(usize, &'a [usize], usize)> {
        let parts = split_shape("input", shape)?;
        if parts.1.len() != self.pairs.len() {
            return Err(Error::value(
                "padding",
                format!("{} pairs", parts.1.len()),
                format!("{:?}", self.pairs),
            ));
        }
        Ok(parts)
    }

    fn plan(&self, shape: &[usize]) -> Result<Gather> {
        let (_, sizes, channels) = self.check(shape)?;
        let axes = sizes.iter().zip(&self.pairs).map(|(&n, &pair)| Sources::padded(n, pair, self.mode));
        Ok(Gather::new(axes.collect::<Result<_>>()?, channels))
    }
}

/// The shape of the padded tensor.
///
/// # Errors
/// It would be empty, or cannot be filled.
pub fn pad_output_shape(input: &[usize], options: &PadOptions) -> Result<Shape> {
    let (n, sizes, channels) = options.check(input)?;
    let sizes = sizes.iter().zip(&options.pairs).map(|(&n, &pair)| padded_size(n, pair, options.mode));
    Ok(join_shape(n, sizes.collect::<Result<Shape>>()?.iter().copied(), channels))
}

/// The shape that was padded to `output`.
///
/// # Errors
/// The padding is larger than that.
pub fn pad_input_shape(output: &[usize], options: &PadOptions) -> Result<Shape> {
    let (n, sizes, channels) = options.check(output)?;
    let sizes = sizes.iter().zip(&options.pairs).map(|(&n, &(before, after))| {
        n.checked_sub(before).and_then(|n| n.checked_sub(after)).ok_or_else(|| {
            Error::shape("dy", format!("at least {before} + {after} elements along each padded axis"), n)
        })
    });
    Ok(join_shape(n, sizes.collect::<Result<Shape>>()?.iter().copied(), channels))
}

/// Pads `x` into `y`.
///
/// # Shapes
/// `x` is `(n, sizes, c)`; `y` is [`pad_output_shape`].
///
/// # Errors
/// [`Error::Shape`] for an array of another shape; an interrupt.
pub fn pad<T: Element>(
    x: &ArrayViewD<'_, T>,
    options: &PadOptions,
    mut y: ArrayViewMutD<'_, T>,
    interrupt: Interrupt<'_>,
) -> Result<()> {
    let shape = pad_output_shape(x.shape(), options)?;
    let plan = options.plan(x.shape())?;
    let y = out_slice("out", &mut y, &shape)?;
    let x = in_order(x)?;
    let (rows, row, x_len) = (plan.rows(), plan.row_len(), plan.input_rows() * plan.input_row_len());
    let (per_task, workers) = (task_rows(rows, row), workers_for_elements(y.len()));
    let cut = Cut::new(y, rows * row, per_task * row);
    let per_sample = cut.tasks_per_sample();
    for_each_task(cut, workers, interrupt, &|task, _, y, _| {
        let first = task % per_sample * per_task;
        let rows = first..first + y.len() / row;
        plan.forward(&x[task / per_sample * x_len..][..x_len], y, rows);
    })
}

/// The adjoint of [`pad`]: gradients of repeated elements add up.
///
/// # Shapes
/// `dx` is `(n, sizes, c)`; `dy` is [`pad_output_shape`].
///
/// # Errors
/// [`Error::Shape`] for an array of another shape; an interrupt.
pub fn pad_grad<T: Element>(
    dy: &ArrayViewD<'_, T>,
    options: &PadOptions,
    mut dx: ArrayViewMutD<'_, T>,
    interrupt: Interrupt<'_>,
) -> Result<()> {
    let plan = options.plan(dx.shape())?;
    let shape = tensor_shape(dx.shape())?;
    expect_shape("dy", &pad_output_shape(&shape, options)?, dy.shape())?;
    let dx = out_slice("out", &mut dx, &shape)?;
    if dx.is_empty() {
        return Ok(());
    }
    let dy = in_order(dy)?;
    let (rows, row, y_len) = (plan.input_rows(), plan.input_row_len(), plan.rows() * plan.row_len());
    let (per_task, workers) = (task_rows(rows, y_len.div_ceil(rows)), workers_for_elements(dy.len()));
    let cut = Cut::new(dx, rows * row, per_task * row);
    let per_sample = cut.tasks_per_sample();
    for_each_task(cut, workers, interrupt, &|task, _, dx, _| {
        let first = task % per_sample * per_task;
        let rows = first..first + dx.len() / row;
        plan.backward(&dy[task / per_sample * y_len..][..y_len], dx, rows);
    })
}
