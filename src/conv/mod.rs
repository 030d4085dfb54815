//! Convolution of one sample: forward, to the input, to the kernel and to the bias.
//!
//! Each pass has an ordered list of algorithms; the first that accepts a geometry is planned, the last accepts
//! everything. A plan depends on the geometry and the instruction set only. Functional calls and the training step
//! use the same plans.

mod band;
mod kernel_grad;
mod rows;

use std::ops::Range;

pub use kernel_grad::KernelGrad;
pub use rows::Rows;

use crate::geometry::ConvGeometry;
use crate::kernels::{Aligned, Element, Job, Kernels, Run, Tier};

/// Memory that a worker uses inside one call and may reuse in the next.
#[derive(Debug)]
pub struct Scratch<T> {
    band: Aligned<T>,
    runs: Vec<Run>,
}

impl<T: Element> Default for Scratch<T> {
    fn default() -> Self {
        Self { band: Aligned::zeroed(0), runs: Vec::new() }
    }
}

impl<T: Element> Scratch<T> {
    /// Makes room for bands of `len` elements and `runs` runs.
    pub fn reserve(&mut self, (len, runs): (usize, usize)) {
        if self.band.len() < len {
            self.band = Aligned::zeroed(len);
        }
        if self.runs.capacity() < runs {
            self.runs.reserve(runs - self.runs.len());
        }
    }
}

/// What happens to a sum before it is stored.
#[derive(Debug, Clone, Copy)]
pub struct Epilogue<'a, T> {
    /// One value per output channel, which the sums start from.
    pub bias: Option<&'a [T]>,
    /// Whether negative results become zero.
    pub relu: bool,
}

impl<T> Epilogue<'_, T> {
    /// Nothing.
    pub const NONE: Self = Self { bias: None, relu: false };
}

/// A pass that maps a tensor to a tensor with packed weights: forward, or to the input.
pub trait Correlation<T: Element>: Send + Sync {
    /// Elements of the packed weights.
    fn packed_len(&self) -> usize;
    /// Packs a kernel of shape `(k_d, k_h, k_w, c_in / groups, c_out)`.
    fn pack(&self, kernel: &[T], packed: &mut [T]);
    /// Rows (depth times height) of one result; rows may be computed in any partition.
    fn rows(&self) -> usize;
    /// Elements of one row of the result.
    fn row_len(&self) -> usize;
    /// Scratch that `run` needs.
    fn scratch(&self) -> (usize, usize);
    /// Computes `rows` of one result; `to` holds exactly these rows.
    fn run(
        &self,
        from: &[T],
        packed: &[T],
        to: &mut [T],
        rows: Range<usize>,
        epilogue: Epilogue<'_, T>,
        scratch: &mut Scratch<T>,
    );
}

/// Plans the forward pass.
pub fn forward<T: Element>(geometry: &ConvGeometry, kernels: &'static Kernels<T>) -> Box<dyn Correlation<T>> {
    Box::new(Rows::forward(geometry, kernels))
}

/// Plans the gradient to the input, which is also the forward pass of the transposed convolution.
pub fn input_grad<T: Element>(
    geometry: &ConvGeometry,
    kernels: &'static Kernels<T>,
) -> Box<dyn Correlation<T>> {
    Box::new(Rows::input_grad(geometry, kernels))
}

/// Adds the sum of every column of `rows` (rows of `sums.len()` elements) to `sums`: the gradient of a bias.
///
/// One chain per column, in the order of the rows.
pub fn add_column_sums<T: Element>(tier: Tier, rows: &[T], sums: &mut [T]) {
    struct Sums<'a, T>(&'a [T], &'a mut [T]);
    impl<T: Element> Job for Sums<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            for row in self.0.chunks_exact(self.1.len()) {
                for (sum, x) in self.1.iter_mut().zip(row) {
                    *sum += *x;
                }
            }
        }
    }
    if !sums.is_empty() {
        tier.vectorize(Sums(rows, sums));
    }
}
