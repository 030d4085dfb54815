//! Products whose rows of A stand in several short groups (lines of a map): the gradient to a kernel of one channel, or of two.
//!
//! The taps of one line of such a kernel are a tile of three or five rows: too few chains to hide the latency of a
//! multiply-add, and B is read once for every line. Here a tile holds several lines. They are so far apart that each has
//! an address of its own; the rows of a line are neighbours, at constant offsets from it, or addresses would not fit into
//! the registers. Every element is the chain of [`super::tile`], to the bit.

use super::few;
use super::tile::{Heights, Strided, row_tiles};
use crate::kernels::lanes::Lanes;
use crate::tuning::gemm::AHEAD;

/// Rows of a line that there are tiles for.
pub const LENGTHS: [usize; 3] = [3, 5, 7];
/// RowGroups of a tile at most: of three rows, which then are the taps of a volume.
const MOST: usize = 9;

/// Groups of rows of A: planes, groups of each, and their strides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowGroups {
    /// Planes, and groups of each.
    pub counts: [usize; 2],
    /// Strides of planes and of groups in A.
    pub strides: [usize; 2],
}

impl RowGroups {
    /// One: all rows.
    pub const ONE: Self = Self { counts: [1, 1], strides: [0, 0] };

    /// How many.
    pub fn count(&self) -> usize {
        self.counts[0] * self.counts[1]
    }

    /// Where a line starts, seen from the first.
    #[inline(always)]
    fn start(&self, line: usize) -> usize {
        line / self.counts[1] * self.strides[0] + line % self.counts[1] * self.strides[1]
    }

    /// Where the last one starts; panics if that is no number.
    pub(in crate::kernels) fn reach(&self) -> usize {
        let last = |i: usize| self.counts[i].saturating_sub(1).checked_mul(self.strides[i]);
        last(0).zip(last(1)).and_then(|(plane, line)| plane.checked_add(line)).expect("size overflow")
    }
}

/// `G` lines of `W` rows, at most `NV` vectors of columns.
///
/// # Safety
/// As [`super::tile::tile`], for `G` lines from `first` on, in a product with lines of `W` rows.
#[inline(always)]
unsafe fn tile<L: Lanes, const W: usize, const G: usize, const NV: usize>(
    p: &mut Strided<'_, L::Elem>,
    first: usize,
    column: usize,
    columns: usize,
) {
    debug_assert!((first + G) * W <= p.m && column + columns <= p.n && p.m == W * p.row_groups.count());
    debug_assert!(columns > (NV - 1) * L::WIDTH && columns <= NV * L::WIDTH);
    // SAFETY: offsets below stay inside the tile.
    unsafe {
        let last = L::mask(columns - (NV - 1) * L::WIDTH);
        let full = columns == NV * L::WIDTH;
        let masked = |j: usize| j + 1 == NV && (L::MASKS_ARE_FREE || !full);
        let c = p.c.as_mut_ptr().add(first * W * p.rs_c + column);
        let mut acc = [[[L::zero(); NV]; W]; G];
        for g in 0..G {
            for w in 0..W {
                for j in 0..NV {
                    let at = c.add((g * W + w) * p.rs_c + j * L::WIDTH);
                    acc[g][w][j] = if masked(j) { L::load_masked(at, last) } else { L::load(at) };
                }
            }
        }
        // Wrapping, because without a batch the operands may be empty.
        let mut lines = [p.a.as_ptr(); G];
        for g in 0..G {
            lines[g] = lines[g].wrapping_add(p.row_groups.start(first + g));
        }
        for offsets in p.batch {
            let mut b = p.b.as_ptr().wrapping_add(offsets.b + column);
            let mut k = offsets.a;
            let mut left = p.k;
            if const { L::FEW > 1 } && full {
                while left >= 2 {
                    for g in 0..G {
                        few::across_two::<L, W, NV>((lines[g].add(k), p.cs_a), (b, p.rs_b), &mut acc[g]);
                    }
                    k += 2 * p.cs_a;
                    b = b.wrapping_add(2 * p.rs_b);
                    left -= 2;
                }
            }
            for _ in 0..left {
                let mut bv = [L::zero(); NV];
                for j in 0..NV {
                    // An eighth of the instructions where a factor is a lane, and those are what limits the loop.
                    if const { L::FEW == 1 } {
                        L::prefetch(b.wrapping_add(AHEAD * p.rs_b + j * L::WIDTH));
                    }
                    let at = b.add(j * L::WIDTH);
                    bv[j] = if masked(j) { L::load_masked_in_loop(at, last) } else { L::load(at) };
                }
                for g in 0..G {
                    if const { L::FEW > 1 } {
                        few::outer::<L, W, NV>(lines[g].add(k), &bv, &mut acc[g]);
                        continue;
                    }
                    for w in 0..W {
                        let av = L::splat(*lines[g].add(k + w));
                        for j in 0..NV {
                            acc[g][w][j] = L::mul_add(av, bv[j], acc[g][w][j]);
                        }
                    }
                }
                k += p.cs_a;
                b = b.wrapping_add(p.rs_b);
            }
        }
        if const { L::FEW > 1 } {
            for g in 0..G {
                few::store::<L, W, NV>(&acc[g], (c.add(g * W * p.rs_c), p.rs_c), (last, full));
            }
            return;
        }
        for g in 0..G {
            for w in 0..W {
                for j in 0..NV {
                    let at = c.add((g * W + w) * p.rs_c + j * L::WIDTH);
                    if masked(j) {
                        L::store_masked(at, last, acc[g][w][j]);
                    } else {
                        L::store(at, acc[g][w][j]);
                    }
                }
            }
        }
    }
}

/// All lines of `W` rows, some columns, in tiles that fill the registers.
///
/// # Safety
/// As [`tile`]; at most `NV` vectors of columns.
#[inline(always)]
unsafe fn lines<L: Lanes, const W: usize, const NV: usize>(
    p: &mut Strided<'_, L::Elem>,
    column: usize,
    columns: usize,
) {
    // Accumulators are as many as a tile of two vectors has.
    let most =
        const { if 2 * L::Heights::MOST / (NV * W) < MOST { 2 * L::Heights::MOST / (NV * W) } else { MOST } };
    macro_rules! tiles {
        ($($count:literal)*) => {
            for some in row_tiles(p.row_groups.count(), most.max(1)) {
                match some.len() {
                    // SAFETY: as the caller's. Counts that never occur compile to nothing.
                    $($count if const { $count == 1 || $count * NV * W <= 2 * L::Heights::MOST } => unsafe {
                        tile::<L, W, $count, NV>(p, some.start, column, columns);
                    },)*
                    _ => unreachable!("a tile has 1 to {most} lines"),
                }
            }
        };
    }
    tiles!(1 2 3 4 5 6 7 8 9);
}

/// All columns, two vectors at a time if a line of these fits into the registers.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn columns<L: Lanes, const W: usize>(p: &mut Strided<'_, L::Elem>) {
    let vectors = const { if W <= L::Heights::MOST { 2 } else { 1 } };
    for column in (0..p.n).step_by(vectors * L::WIDTH) {
        let columns = (p.n - column).min(vectors * L::WIDTH);
        // SAFETY: as the caller's.
        unsafe {
            if vectors == 2 && columns > L::WIDTH {
                lines::<L, W, 2>(p, column, columns);
            } else {
                lines::<L, W, 1>(p, column, columns);
            }
        }
    }
}

/// The whole product.
///
/// # Safety
/// As [`Lanes`]; `p` passed [`Strided::check`] and has several lines.
#[inline(always)]
pub(in crate::kernels) unsafe fn gemm<L: Lanes>(p: &mut Strided<'_, L::Elem>) {
    // SAFETY: as the caller's.
    unsafe {
        match p.m / p.row_groups.count() {
            3 => columns::<L, 3>(p),
            5 => columns::<L, 5>(p),
            _ => columns::<L, 7>(p),
        }
    }
}
