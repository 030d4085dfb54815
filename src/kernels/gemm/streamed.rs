//! Products of short sums, whose results are stored non-temporally (past the cache).
//!
//! A convolution of few channels writes more than it computes: where its results leave nothing of each other in the
//! cache, an ordinary store first reads the line that it is going to overwrite. Non-temporal stores do not, but they are
//! inline assembly to the compiler, which would keep a tall tile's accumulators in memory on their account. So a tile goes
//! to a stage in L1 first, and from there past the cache in a loop of its own.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::tile::{Start, Strided};
use crate::kernels::lanes::{Element, Lanes};
use crate::tuning::gemm::STREAM_PRODUCTS;

/// Elements of the largest tile of any tier: 14 rows of two registers of 16.
pub(in crate::kernels) const LARGEST: usize = 14 * 32;

/// Room for a tile, on a cache line as its rows in the result are.
#[repr(align(64))]
pub(in crate::kernels) struct Stage<T>(MaybeUninit<[T; LARGEST]>);

/// Whether a product's result is asked past the cache, and can be stored so: whole registers at their own alignment.
#[inline(always)]
pub(in crate::kernels) fn fits<T: Element>(p: &Strided<'_, T>, width: usize) -> bool {
    p.non_temporal
        && p.k * p.batch.len() < STREAM_PRODUCTS
        && !matches!(p.start, Start::Result)
        && p.n.is_multiple_of(width)
        && p.rs_c.is_multiple_of(width)
        && (p.c.as_ptr() as usize).is_multiple_of(width * size_of::<T>())
}

impl<T> Stage<T> {
    /// With anything in it.
    #[inline(always)]
    pub(in crate::kernels) fn new() -> Self {
        Self(MaybeUninit::uninit())
    }

    /// Where a result would start, and the distance of its rows, for its tile of `width` columns to lie on the stage.
    #[inline(always)]
    pub(in crate::kernels) fn place(
        &mut self,
        rows: &Range<usize>,
        column: usize,
        width: usize,
    ) -> (*mut T, usize) {
        let start = self.0.as_mut_ptr().cast::<T>();
        (start.wrapping_sub(rows.start * width + column), width)
    }

    /// Stores the tile past the cache.
    ///
    /// # Safety
    /// As [`Lanes`]; the tile was written to its place, rows and columns lie inside a result that [`fits`].
    #[inline(always)]
    pub(in crate::kernels) unsafe fn stream<L: Lanes<Elem = T>>(
        &self,
        c: *mut T,
        rs_c: usize,
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
        debug_assert!(rows.len() * 2 * L::WIDTH <= LARGEST && columns.len().is_multiple_of(L::WIDTH));
        let tile = self.0.as_ptr().cast::<T>();
        for (i, row) in rows.enumerate() {
            for j in (0..columns.len()).step_by(L::WIDTH) {
                // SAFETY: as the caller's; columns are whole registers.
                unsafe {
                    L::stream(c.add(row * rs_c + columns.start + j), L::load(tile.add(i * 2 * L::WIDTH + j)));
                }
            }
        }
    }
}
