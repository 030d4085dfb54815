//! Multiply-adds in registers and nothing else: what a tier could reach at most, for benches.

use super::lanes::{Element, Lanes};

/// Independent chains: enough for a latency of 4 cycles and two results per cycle, few enough for 16 registers.
pub(super) const CHAINS: usize = 12;

/// `rounds` multiply-adds `v = v * factor + term` of every chain; the sum keeps the compiler from dropping them.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(super) unsafe fn multiply_adds<L: Lanes>(rounds: usize, factor: L::Elem, term: L::Elem) -> L::Elem {
    // SAFETY: the caller vouches for the instructions; `lanes` has room for the widest vector of any tier.
    unsafe {
        let (factor, term) = (L::splat(factor), L::splat(term));
        let mut chains = [L::zero(); CHAINS];
        for _ in 0..rounds {
            for chain in &mut chains {
                *chain = L::mul_add(*chain, factor, term);
            }
        }
        let mut lanes = [L::Elem::ZERO; 64];
        assert!(L::WIDTH <= lanes.len());
        let mut sum = L::Elem::ZERO;
        for chain in chains {
            L::store(lanes.as_mut_ptr(), chain);
            sum = lanes.iter().fold(sum, |sum, lane| sum.add(*lane));
        }
        sum
    }
}
