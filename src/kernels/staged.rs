//! Products of short sums, whose results are stored past the cache.
//!
//! A convolution of few channels writes more than it computes: where its results leave nothing of each other in the
//! cache, an ordinary store first reads the line that it is going to overwrite. Stores past the cache do not, but they are
//! inline assembly to the compiler, which would keep a tall tile's accumulators in memory on their account. So a tile goes
//! to a buffer in L1 first, and from there past the cache in a loop of its own.

use std::mem::MaybeUninit;

use super::lanes::Lanes;
use super::product::{Heights, Product, Start, row_tiles};

/// Elements of the largest tile of any tier: 14 rows of two registers of 16.
const LARGEST: usize = 14 * 32;
/// Multiply-adds of an element from which on ordinary stores are hidden behind them.
const MOST_PRODUCTS: usize = 128;

/// A tile, on a cache line as its rows in the result are.
#[repr(align(64))]
struct Stage<T>(MaybeUninit<[T; LARGEST]>);

/// Whether a product's result is asked past the cache, and can be stored so: whole registers at their own alignment.
pub(super) fn fits<T: super::Element>(p: &Product<'_, T>, width: usize) -> bool {
    p.past_cache
        && p.b_padded
        && p.run_len * p.runs.len() < MOST_PRODUCTS
        && !matches!(p.start, Start::Result)
        && p.n.is_multiple_of(width)
        && p.c_m.is_multiple_of(width)
        && (p.c.as_ptr() as usize).is_multiple_of(width * size_of::<T>())
}

/// The whole product in tiles of two vectors, with the bytes of [`super::product`].
///
/// # Safety
/// As [`Lanes`]; `p` passed [`Product::check`] and [`fits`].
#[inline(always)]
pub(super) unsafe fn product<L: Lanes, H: Heights>(p: &mut Product<'_, L::Elem>) {
    const { assert!(H::MOST * 2 * L::WIDTH <= LARGEST) };
    let mut stage = Stage::<L::Elem>(MaybeUninit::uninit());
    let stage = stage.0.as_mut_ptr().cast::<L::Elem>();
    let (c, c_m, width) = (p.c.as_mut_ptr(), p.c_m, 2 * L::WIDTH);
    for rows in row_tiles(p.m, H::MOST) {
        for panel in 0..p.n.div_ceil(width) {
            let columns = panel * width..(panel * width + width).min(p.n);
            // SAFETY: as the caller's; a tile has at most MOST rows and `width` columns, which the stage has room for and
            // which are all written before they are read; rows and columns of the result lie inside m and n.
            unsafe {
                p.c_m = width;
                // Where the result would start for this tile to lie at the start of the stage.
                let origin = stage.wrapping_sub(rows.start * width + columns.start);
                if columns.len() > L::WIDTH {
                    H::tile::<L, 2, true>(p, origin, rows.clone(), panel, columns.clone());
                } else {
                    H::tile::<L, 1, true>(p, origin, rows.clone(), panel, columns.clone());
                }
                p.c_m = c_m;
                for (i, row) in rows.clone().enumerate() {
                    for j in (0..columns.len()).step_by(L::WIDTH) {
                        let to = c.add(row * c_m + columns.start + j);
                        L::store_past(to, L::load(stage.add(i * width + j)));
                    }
                }
            }
        }
    }
}
