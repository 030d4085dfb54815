//! The functional API in Rust: one operation at a time on ndarray views, shapes checked, work shared among threads.
//!
//! Tensors are channels last with a batch axis in front, `(n, [d, [h,]] w, c)`. Results are written into a view of the
//! right shape, which a function beside each operation tells. Work is cut by sample and by rows of a sample, never by
//! the number of threads; what is not worth waking anybody up for stays on the calling thread.

pub mod conv;
pub mod pad;
pub mod pool;
pub mod separable;
mod workspace;

pub use workspace::Operand;

use ndarray::{ArrayViewMutD, CowArray, IxDyn};

use crate::error::{Error, Result};
use crate::parallel;

/// Elements that a task should touch at least: some ten microseconds of copying, an order above the cost of a ticket.
const TASK_ELEMENTS: usize = 1 << 15;
/// Elements below which no other thread is woken up; a wake-up costs some five microseconds.
const SERIAL_ELEMENTS: usize = 1 << 15;

/// Threads for an operation that touches this many elements (or does the work of touching so many).
pub fn workers(elements: usize) -> usize {
    if elements < SERIAL_ELEMENTS { 1 } else { parallel::threads() }
}

/// Rows of a task, if a row costs as much as touching `row_cost` elements. Depends on nothing but the shape of a sample.
pub fn task_rows(rows: usize, row_cost: usize) -> usize {
    TASK_ELEMENTS.div_ceil(row_cost.max(1)).clamp(1, rows.max(1))
}

/// Splits the shape of a tensor into batch, spatial sizes and channels.
///
/// # Errors
/// There are not one to three spatial axes, or there is no channel.
pub fn split_shape<'a>(name: &str, shape: &'a [usize]) -> Result<(usize, &'a [usize], usize)> {
    match shape {
        [batch, sizes @ .., channels] if (1..=3).contains(&sizes.len()) && *channels > 0 => {
            Ok((*batch, sizes, *channels))
        }
        _ => Err(Error::shape(
            name,
            "3 to 5 axes (batch, 1 to 3 spatial, channels) with at least one channel",
            format!("{shape:?}"),
        )),
    }
}

/// The shape of a tensor from its parts.
pub fn join_shape(batch: usize, sizes: &[usize], channels: usize) -> Vec<usize> {
    let mut shape = Vec::with_capacity(sizes.len() + 2);
    shape.push(batch);
    shape.extend_from_slice(sizes);
    shape.push(channels);
    shape
}

/// Checks a shape.
///
/// # Errors
/// It is another.
pub fn expect_shape(name: &str, expected: &[usize], got: &[usize]) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::shape(name, format!("shape {expected:?}"), format!("{got:?}")))
}

/// The elements of a result in row-major order.
///
/// # Errors
/// Its shape is another, or it is not contiguous.
pub fn out_slice<'a, T>(
    name: &str,
    out: &'a mut ArrayViewMutD<'_, T>,
    shape: &[usize],
) -> Result<&'a mut [T]> {
    expect_shape(name, shape, out.shape())?;
    out.as_slice_mut().ok_or_else(|| Error::value(name, "a C-contiguous array", "another layout"))
}

/// The elements of an operand in row-major order; a layout that is not contiguous is copied once.
pub fn in_order<'a, T: Clone>(x: &'a ndarray::ArrayViewD<'_, T>) -> CowArray<'a, T, IxDyn> {
    x.as_standard_layout()
}
