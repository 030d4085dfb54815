//! Products with few columns: `k` goes into the lanes, and every result is the sum of a vector.
//!
//! A tile of [`super::tile`] keeps columns in its lanes; for one to four columns most of them would be idle. Here a
//! result is [`LANES`] chains, one per residue of the position in an operand, added at the end in a fixed tree; all tiers
//! keep the same number of chains, so those that fuse multiply and add agree to the bit.

use super::tile::{Offsets, Start};
use crate::kernels::lanes::{Element, Lanes};

/// Most columns.
pub const MOST_COLUMNS: usize = 4;
/// Chains of a float32 result; float64 has half as many. One register of the widest tier.
const LANES: usize = 16;

/// `C[m, n] = start + sum over batch and k of A[m, k] * B[n, k]` with at most [`MOST_COLUMNS`] columns.
#[derive(Debug)]
pub struct NarrowGemm<'a, T> {
    /// Left operand, `k` contiguous within an operand.
    pub a: &'a [T],
    /// Stride of rows in A.
    pub rs_a: usize,
    /// Right operand, `k` contiguous.
    pub b: &'a [T],
    /// Stride of columns in B.
    pub cs_b: usize,
    /// The operands of the batch, in summation order.
    pub batch: &'a [Offsets],
    /// Length of the sum of each.
    pub k: usize,
    /// Result.
    pub c: &'a mut [T],
    /// Stride of rows in C.
    pub rs_c: usize,
    /// Rows.
    pub m: usize,
    /// Columns.
    pub n: usize,
    /// What is added to the sums.
    pub start: Start<'a, T>,
    /// Whether negative results become zero at the store.
    pub relu: bool,
}

impl<T: Element> NarrowGemm<'_, T> {
    /// Panics unless every element that is touched lies inside its slice.
    pub(in crate::kernels) fn check(&self) {
        let last =
            |n: usize, stride: usize| n.saturating_sub(1).checked_mul(stride).expect("stride overflow");
        let reach = |a: usize, b: usize| a.checked_add(b).expect("size overflow");
        assert!((1..=MOST_COLUMNS).contains(&self.n) && self.m > 0 && self.k > 0, "shape");
        let a_reach = reach(last(self.m, self.rs_a), self.k);
        let b_reach = reach(last(self.n, self.cs_b), self.k);
        for offsets in self.batch {
            assert!(offsets.a <= self.a.len() && a_reach <= self.a.len() - offsets.a, "A is too short");
            assert!(offsets.b <= self.b.len() && b_reach <= self.b.len() - offsets.b, "B is too short");
        }
        assert!(reach(last(self.m, self.rs_c), self.n) <= self.c.len(), "C is too short");
        if let Start::Bias(bias) = self.start {
            assert_eq!(bias.len(), self.n, "bias length");
        }
    }
}

/// `MR` rows of `N` columns, from row `row` on. `V` registers hold the chains of one result.
///
/// # Safety
/// As [`Lanes`]; `p` passed [`NarrowGemm::check`]; the rows lie inside the product.
#[inline(always)]
unsafe fn tile<L: Lanes, const MR: usize, const N: usize, const V: usize>(
    p: &mut NarrowGemm<'_, L::Elem>,
    row: usize,
) {
    debug_assert!(row + MR <= p.m && p.n == N);
    // SAFETY: offsets below stay inside the tile; lanes after the end of an operand are masked.
    unsafe {
        let mut acc = [[[L::zero(); V]; N]; MR];
        let step = V * L::WIDTH;
        for offsets in p.batch {
            let a = p.a.as_ptr().add(offsets.a + row * p.rs_a);
            let b = p.b.as_ptr().add(offsets.b);
            let mut k = 0;
            while k < p.k {
                let whole = k + step <= p.k;
                for v in 0..V {
                    let at = k + v * L::WIDTH;
                    let mask = L::mask(p.k.saturating_sub(at).min(L::WIDTH));
                    let load = |from: *const L::Elem| {
                        if whole {
                            L::load(from.wrapping_add(at))
                        } else {
                            L::load_masked(from.wrapping_add(at), mask)
                        }
                    };
                    let mut bv = [L::zero(); N];
                    for j in 0..N {
                        bv[j] = load(b.add(j * p.cs_b));
                    }
                    for i in 0..MR {
                        let av = load(a.add(i * p.rs_a));
                        for j in 0..N {
                            acc[i][j][v] = L::mul_add(av, bv[j], acc[i][j][v]);
                        }
                    }
                }
                k += step;
            }
        }
        for i in 0..MR {
            for j in 0..N {
                let sum = total::<L, V>(&acc[i][j]);
                let at = (row + i) * p.rs_c + j;
                let start = match p.start {
                    Start::Zero => L::Elem::ZERO,
                    Start::Bias(bias) => bias[j],
                    Start::Result => p.c[at],
                };
                let value = start.add(sum);
                p.c[at] = if p.relu && value <= L::Elem::ZERO { L::Elem::ZERO } else { value };
            }
        }
    }
}

/// The sum of all chains: halves are added until one is left.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
unsafe fn total<L: Lanes, const V: usize>(chains: &[L::V; V]) -> L::Elem {
    let mut values = [L::Elem::ZERO; LANES];
    for (v, chain) in chains.iter().enumerate() {
        // SAFETY: V registers are at most LANES elements.
        unsafe { L::store(values[v * L::WIDTH..(v + 1) * L::WIDTH].as_mut_ptr(), *chain) };
    }
    let mut half = V * L::WIDTH / 2;
    while half > 0 {
        for i in 0..half {
            values[i] = values[i].add(values[i + half]);
        }
        half /= 2;
    }
    values[0]
}

/// All rows, `MR` at a time.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn rows<L: Lanes, const MR: usize, const N: usize, const V: usize>(p: &mut NarrowGemm<'_, L::Elem>) {
    let mut row = 0;
    // SAFETY: as the caller's; the rows stay below m.
    unsafe {
        while row + MR <= p.m {
            tile::<L, MR, N, V>(p, row);
            row += MR;
        }
        while row < p.m {
            tile::<L, 1, N, V>(p, row);
            row += 1;
        }
    }
}

/// The body that every tier's entry calls.
///
/// # Safety
/// As [`Lanes`]; `p` passed [`NarrowGemm::check`].
#[inline(always)]
pub(in crate::kernels) unsafe fn gemm_narrow<L: Lanes>(p: &mut NarrowGemm<'_, L::Elem>) {
    // SAFETY: as the caller's.
    unsafe {
        // Registers that make up the chains of a result.
        match const { LANES * size_of::<f32>() / (L::WIDTH * size_of::<L::Elem>()) } {
            1 => one_register::<L>(p),
            2 => registers::<L, 2>(p),
            _ => registers::<L, 4>(p),
        }
    }
}

/// All columns, where one register holds the chains of a result. Tiles have as many rows as all chains together fill,
/// but do not overflow, the registers.
///
/// # Safety
/// As [`gemm_narrow`].
#[inline(always)]
unsafe fn one_register<L: Lanes>(p: &mut NarrowGemm<'_, L::Elem>) {
    // SAFETY: as the caller's.
    unsafe {
        match p.n {
            1 => rows::<L, 8, 1, 1>(p),
            2 => rows::<L, 8, 2, 1>(p),
            3 => rows::<L, 6, 3, 1>(p),
            _ => rows::<L, 5, 4, 1>(p),
        }
    }
}

/// The same where `V` registers hold them.
///
/// # Safety
/// As [`gemm_narrow`].
#[inline(always)]
unsafe fn registers<L: Lanes, const V: usize>(p: &mut NarrowGemm<'_, L::Elem>) {
    debug_assert_eq!(V * L::WIDTH * size_of::<L::Elem>(), LANES * size_of::<f32>());
    // SAFETY: as the caller's.
    unsafe {
        match p.n {
            1 => rows::<L, 4, 1, V>(p),
            2 => rows::<L, 2, 2, V>(p),
            3 => rows::<L, 1, 3, V>(p),
            _ => rows::<L, 1, 4, V>(p),
        }
    }
}
