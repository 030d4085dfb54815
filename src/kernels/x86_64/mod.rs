//! The x86-64 tiers.

use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};

use super::lanes::Element;

mod avx2;
mod avx512;

super::table::tiers!(avx512, avx2);

/// Whether the portable tier rounds multiply and add together: SSE2, the least that every CPU has, cannot.
pub(super) const PLAIN_FUSES: bool = false;

/// Ends a sequence of stores past the cache.
pub(super) fn fence() {
    // SAFETY: every x86-64 CPU has this instruction, which touches no memory.
    unsafe { _mm_sfence() }
}

/// Copies past the cache, between slices of one length; whether it could.
pub(super) fn stream_copy<T: Element>(from: &[T], to: &mut [T]) -> bool {
    debug_assert_eq!(from.len(), to.len());
    let (source, target) = (from.as_ptr().cast::<__m128i>(), to.as_mut_ptr().cast::<__m128i>());
    let fits = target.is_aligned() && size_of_val(from).is_multiple_of(size_of::<__m128i>());
    if fits {
        for i in 0..size_of_val(from) / size_of::<__m128i>() {
            // SAFETY: both slices have this many vectors, the target is aligned, and every x86-64 CPU has SSE2.
            unsafe { _mm_stream_si128(target.add(i), _mm_loadu_si128(source.add(i))) }
        }
    }
    fits
}
