//! Multiply-adds that take a lane of a register as their factor ([`Lanes::FEW`] of them to a register), where the elements
//! of an operand are neighbours: along `k`, along rows, or along columns.
//!
//! A factor from memory in all lanes is a part of the instruction on x86; on Arm's cores it takes one of the pipes that
//! multiply. Chains and their order are those of [`super::tile`].

use crate::kernels::lanes::Lanes;

/// Adds `FEW` products to every element of a tile: rows of A contiguous, whole vectors of B.
///
/// # Safety
/// As [`super::tile::tile`]; these elements of A and rows of B are valid.
#[inline(always)]
pub(super) unsafe fn along_k<L: Lanes, const MR: usize, const NV: usize>(
    (a, rs_a): (*const L::Elem, usize),
    (b, rs_b): (*const L::Elem, usize),
    acc: &mut [[L::V; NV]; MR],
) {
    // SAFETY: as the caller's.
    unsafe {
        let mut few = [L::few(a); MR];
        for i in 1..MR {
            few[i] = L::few(a.add(i * rs_a));
        }
        for n in 0..L::FEW {
            let mut bv = [L::zero(); NV];
            for j in 0..NV {
                bv[j] = L::load(b.add(n * rs_b + j * L::WIDTH));
            }
            for i in 0..MR {
                for j in 0..NV {
                    acc[i][j] = L::mul_add_nth(few[i], n, bv[j], acc[i][j]);
                }
            }
        }
    }
}

/// Adds two products to every element of a tile: rows of A are neighbours, vectors of B whole. With one at a time a fifth of
/// the instructions would only count and move on.
///
/// # Safety
/// As [`super::tile::tile`]; two `k` of A and of B are valid.
#[inline(always)]
pub(super) unsafe fn across_two<L: Lanes, const MR: usize, const NV: usize>(
    (a, cs_a): (*const L::Elem, usize),
    (b, rs_b): (*const L::Elem, usize),
    acc: &mut [[L::V; NV]; MR],
) {
    // SAFETY: as the caller's.
    unsafe {
        for k in 0..2 {
            let mut bv = [L::zero(); NV];
            for j in 0..NV {
                bv[j] = L::load(b.add(k * rs_b + j * L::WIDTH));
            }
            outer::<L, MR, NV>(a.add(k * cs_a), &bv, acc);
        }
    }
}

/// `acc[i][j] += a[i] * b[j]`: the elements of A are neighbours.
///
/// # Safety
/// As [`Lanes`]; `MR` elements at `a` are valid.
#[inline(always)]
pub(super) unsafe fn outer<L: Lanes, const MR: usize, const NV: usize>(
    a: *const L::Elem,
    bv: &[L::V; NV],
    acc: &mut [[L::V; NV]; MR],
) {
    // SAFETY: as the caller's.
    unsafe {
        for i in 0..MR {
            if const { L::FEW > 1 && MR > 1 } {
                // The last register reaches back, and so stays inside.
                let read = const { if MR < L::FEW { 2 } else { L::FEW } };
                let first = (i / read * read).min(MR - read);
                let few = if MR < L::FEW { L::pair(a.add(first)) } else { L::few(a.add(first)) };
                for j in 0..NV {
                    acc[i][j] = L::mul_add_nth(few, i - first, bv[j], acc[i][j]);
                }
            } else {
                let av = L::splat(*a.add(i));
                for j in 0..NV {
                    acc[i][j] = L::mul_add(av, bv[j], acc[i][j]);
                }
            }
        }
    }
}

/// Stores a tile. Masked stores have a loop of their own and a copy of the accumulators: tiers with lanes as factors have
/// no instruction for them, and a loop that calls for the sake of one would keep the accumulators in memory.
///
/// # Safety
/// As [`super::tile::tile`]; the rows at `c`, `rs_c` apart, are valid, in the last vector of each the lanes of the mask.
#[inline(always)]
pub(super) unsafe fn store<L: Lanes, const MR: usize, const NV: usize>(
    acc: &[[L::V; NV]; MR],
    (c, rs_c): (*mut L::Elem, usize),
    (last, full): (L::TailMask, bool),
) {
    // SAFETY: as the caller's.
    unsafe {
        if full {
            for i in 0..MR {
                for j in 0..NV {
                    L::store(c.wrapping_add(i * rs_c + j * L::WIDTH), acc[i][j]);
                }
            }
        } else {
            let acc = *acc;
            for i in 0..MR {
                for j in 0..NV {
                    let at = c.wrapping_add(i * rs_c + j * L::WIDTH);
                    if j + 1 == NV { L::store_masked(at, last, acc[i][j]) } else { L::store(at, acc[i][j]) }
                }
            }
        }
    }
}
