//! Multiply-adds in registers and nothing else: what a tier could reach at most, for benches.

use std::hint::black_box;

use super::lanes::{Element, Lanes};

/// Independent chains: enough for a latency of 4 cycles and two results per cycle, few enough for 16 registers.
pub(super) const CHAINS: usize = 12;

/// Lanes of the widest vector of any tier.
const WIDEST: usize = 16;

/// Elements that chains start from, ones; what a tier's chains leave stays so.
pub(super) const MEMORY: usize = CHAINS * WIDEST;

/// `rounds` multiply-adds `v = v * factor + v` of every chain, and the sum of what comes out. Each adds to a register of its
/// own, as those of a product do: AArch64's instruction overwrites what it adds to, so that a constant would have to be
/// copied there every time.
///
/// The chains start in memory and end there, as those of a product do: otherwise the portable tier's arrays would not
/// become vectors.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(super) unsafe fn multiply_adds<L: Lanes>(rounds: usize, factor: L::Elem) -> L::Elem {
    const { assert!(L::WIDTH <= WIDEST) };
    let mut memory = black_box([L::Elem::ONE; MEMORY]);
    // SAFETY: the caller vouches for the instructions; every chain has room for a vector in `memory`.
    unsafe {
        let at = memory.as_mut_ptr();
        let factor = L::splat(factor);
        let mut chains = [L::zero(); CHAINS];
        for i in 0..CHAINS {
            chains[i] = L::load(at.add(i * L::WIDTH));
        }
        for _ in 0..rounds {
            for i in 0..CHAINS {
                chains[i] = L::mul_add(chains[i], factor, chains[i]);
            }
        }
        for i in 0..CHAINS {
            L::store(at.add(i * L::WIDTH), chains[i]);
        }
    }
    black_box(memory).iter().fold(L::Elem::ZERO, |sum, x| sum.add(*x))
}
