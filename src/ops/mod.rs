//! The functional API in Rust: one operation at a time on ndarray views, shapes checked, work shared among threads.
//!
//! Tensors are channels last with a leading batch axis, `(n, [d, [h,]] w, c)`. Results are written into a view of the
//! right shape, which a function beside each operation tells. Work is cut by sample and by rows of a sample, never by
//! the number of threads; what is not worth waking anybody up for stays on the calling thread.
//!
//! A convolution or a pool whose operands are contiguous allocates nothing after the first call of its kind.

pub mod conv;
pub mod pad;
pub mod pool;
pub mod separable;
mod tiling;
mod workspace;

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use ndarray::{ArrayViewD, ArrayViewMutD};
pub use workspace::{Operand, pause};

use crate::error::{Error, Result};
use crate::geometry::AXES;
use crate::memory;

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

/// The shape of a tensor: batch, up to three spatial sizes, channels. Lives on the stack, as calls shall not allocate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    sizes: [usize; AXES + 2],
    len: usize,
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.sizes[..self.len]
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl FromIterator<usize> for Shape {
    /// # Panics
    /// There are more axes than a tensor has.
    fn from_iter<I: IntoIterator<Item = usize>>(sizes: I) -> Self {
        let mut shape = Self { sizes: [0; AXES + 2], len: 0 };
        for size in sizes {
            shape.sizes[shape.len] = size;
            shape.len += 1;
        }
        shape
    }
}

/// The shape of an array that is a tensor.
///
/// # Errors
/// As [`split_shape`].
pub fn tensor_shape(shape: &[usize]) -> Result<Shape> {
    split_shape("input", shape)?;
    Ok(shape.iter().copied().collect())
}

/// The shape of a tensor from its parts.
pub fn join_shape(batch: usize, sizes: impl IntoIterator<Item = usize>, channels: usize) -> Shape {
    std::iter::once(batch).chain(sizes).chain([channels]).collect()
}

/// Checks a shape.
///
/// # Errors
/// [`Error::Shape`]: the two differ.
pub fn expect_shape(name: &str, expected: &[usize], got: &[usize]) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::shape(name, format!("shape {expected:?}"), format!("{got:?}")))
}

/// The elements of a result in row-major order.
///
/// # Errors
/// [`Error::Shape`] for another shape or an array that is not contiguous.
pub fn out_slice<'a, T>(
    name: &str,
    out: &'a mut ArrayViewMutD<'_, T>,
    shape: &[usize],
) -> Result<&'a mut [T]> {
    expect_shape(name, shape, out.shape())?;
    out.as_slice_mut().ok_or_else(|| Error::value(name, "a C-contiguous array", "another layout"))
}

/// The elements of an operand in row-major order; a layout that is not contiguous is copied once.
///
/// # Errors
/// There is no memory for the copy.
pub fn in_order<'a, T: Clone>(x: &'a ArrayViewD<'_, T>) -> Result<Cow<'a, [T]>> {
    match x.as_slice() {
        Some(values) => Ok(Cow::Borrowed(values)),
        None => memory::collect(x.iter().cloned()).map(Cow::Owned),
    }
}

/// The elements of an operand of a known shape in row-major order.
///
/// # Errors
/// [`Error::Shape`] for another shape.
pub fn operand<'a, T: Clone>(name: &str, x: &'a ArrayViewD<'_, T>, shape: &[usize]) -> Result<Cow<'a, [T]>> {
    expect_shape(name, shape, x.shape())?;
    in_order(x)
}
