//! Products with few columns whose rows of A overlap: rows go into the lanes.
//!
//! A convolution of one channel reads neighbouring positions one element apart, so a vector of A holds the same `k` of
//! `WIDTH` rows, and the columns of B are broadcast. No lane is idle for want of columns, and nothing but B has an address
//! of its own. Every element is the chain of [`super::tile`], to the bit; at the end columns take turns in the lanes,
//! so that whole vectors are stored.

use super::tile::{Heights, Start, Strided};
use crate::kernels::lanes::{Element, Lanes};

/// Most columns.
const MOST_COLUMNS: usize = 8;

/// Whether a product of vectors of `width` is one of these.
pub(in crate::kernels) fn fits<T: Element>(p: &Strided<'_, T>, width: usize) -> bool {
    p.b_packed
        && p.rs_a == 1
        && p.rs_c == p.n
        // B is one panel.
        && p.n <= MOST_COLUMNS.min(2 * width)
        && 2 * p.m > width
        && !matches!(p.start, Start::Result)
}

/// `V` vectors of rows and all `N` columns; the last vector may be shorter.
///
/// # Safety
/// As [`super::tile::tile`], for a product that [`fits`], with `N` columns.
#[inline(always)]
unsafe fn tile<L: Lanes, const N: usize, const V: usize>(
    p: &mut Strided<'_, L::Elem>,
    row: usize,
    rows: usize,
) {
    debug_assert!(p.n == N && row + rows <= p.m && rows > (V - 1) * L::WIDTH && rows <= V * L::WIDTH);
    // SAFETY: offsets below stay inside the tile; lanes after the last row are masked.
    unsafe {
        let last = L::mask(rows - (V - 1) * L::WIDTH);
        let full = rows == V * L::WIDTH;
        let mut acc = [[L::zero(); N]; V];
        if let Start::Bias(bias) = p.start {
            for column in 0..N {
                let value = L::splat(*bias.as_ptr().add(column));
                for v in 0..V {
                    acc[v][column] = value;
                }
            }
        }
        for offsets in p.batch {
            let mut a = p.a.as_ptr().wrapping_add(offsets.a + row);
            let mut b = p.b.as_ptr().wrapping_add(offsets.b);
            for _ in 0..p.k {
                let mut av = [L::zero(); V];
                for v in 0..V {
                    let at = a.add(v * L::WIDTH);
                    let masked = v + 1 == V && (L::FEW == 1 || !full);
                    av[v] = if masked { L::load_masked_in_loop(at, last) } else { L::load(at) };
                }
                for column in 0..N {
                    if const { L::FEW > 1 } {
                        // A panel of B is as wide as two vectors, so whole registers of it can be read. The last one
                        // reaches back: of its first lane alone the compiler would make a load into all lanes.
                        let first = (column / L::FEW * L::FEW).min(N.saturating_sub(L::FEW));
                        let few = L::few(b.add(first));
                        for v in 0..V {
                            acc[v][column] = L::mul_add_nth(few, column - first, av[v], acc[v][column]);
                        }
                    } else {
                        let bv = L::splat(*b.add(column));
                        for v in 0..V {
                            acc[v][column] = L::mul_add(av[v], bv, acc[v][column]);
                        }
                    }
                }
                a = a.wrapping_add(1);
                b = b.wrapping_add(p.rs_b);
            }
        }
        // With constant indices, or the accumulators would live in memory.
        const { assert!(V <= 4) };
        let c = p.c.as_mut_ptr().add(row * N);
        let whole = L::WIDTH * N;
        store::<L, N>(c, acc[0], rows.min(L::WIDTH), p.relu);
        if V > 1 {
            store::<L, N>(c.add(whole), acc[1 % V], (rows - L::WIDTH).min(L::WIDTH), p.relu);
        }
        if V > 2 {
            store::<L, N>(c.add(2 * whole), acc[2 % V], (rows - 2 * L::WIDTH).min(L::WIDTH), p.relu);
        }
        if V > 3 {
            store::<L, N>(c.add(3 * whole), acc[3 % V], rows - 3 * L::WIDTH, p.relu);
        }
    }
}

/// Stores the columns of some rows, at most a vector of them.
///
/// # Safety
/// As [`Lanes`]; `rows * N` elements at `c` are valid.
#[inline(always)]
unsafe fn store<L: Lanes, const N: usize>(c: *mut L::Elem, mut columns: [L::V; N], rows: usize, relu: bool) {
    // SAFETY: as the caller's.
    unsafe {
        if relu {
            for column in 0..N {
                columns[column] = L::relu(columns[column]);
            }
        }
        for i in 0..N {
            let mixed = L::interleave(columns, i);
            let n = (rows * N).saturating_sub(i * L::WIDTH).min(L::WIDTH);
            if n == L::WIDTH {
                L::store(c.add(i * L::WIDTH), mixed);
            } else if n > 0 {
                L::store_masked(c.add(i * L::WIDTH), L::mask(n), mixed);
            }
        }
    }
}

/// All rows, in tiles that fill the registers.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn rows<L: Lanes, const N: usize>(p: &mut Strided<'_, L::Elem>) {
    // Accumulators that a tile of one vector of columns has.
    let most = 2 * L::Heights::MOST / N;
    let mut row = 0;
    while row < p.m {
        let left = p.m - row;
        let vectors = left.div_ceil(L::WIDTH).min(most);
        // SAFETY: as the caller's.
        unsafe {
            row += match vectors {
                ..2 => {
                    tile::<L, N, 1>(p, row, left.min(L::WIDTH));
                    L::WIDTH
                }
                2..4 => {
                    tile::<L, N, 2>(p, row, left.min(2 * L::WIDTH));
                    2 * L::WIDTH
                }
                4.. => {
                    tile::<L, N, 4>(p, row, left.min(4 * L::WIDTH));
                    4 * L::WIDTH
                }
            };
        }
    }
}

/// The whole product.
///
/// # Safety
/// As [`Lanes`]; `p` passed [`Strided::check`] and [`fits`].
#[inline(always)]
pub(in crate::kernels) unsafe fn gemm<L: Lanes>(p: &mut Strided<'_, L::Elem>) {
    // SAFETY: as the caller's.
    unsafe {
        match p.n {
            1 => rows::<L, 1>(p),
            2 => rows::<L, 2>(p),
            3 => rows::<L, 3>(p),
            4 => rows::<L, 4>(p),
            5 => rows::<L, 5>(p),
            6 => rows::<L, 6>(p),
            7 => rows::<L, 7>(p),
            _ => rows::<L, MOST_COLUMNS>(p),
        }
    }
}
