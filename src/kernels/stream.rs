//! Memory written past the cache (non-temporal stores), outside of kernels.

use super::arch;
use super::lanes::Element;

/// Ends a sequence of stores past the cache: other threads see what follows after them. One for many runs, because it
/// waits until memory has taken them all.
pub fn fence() {
    arch::fence();
}

/// Copies to memory and not into the cache. Before another thread reads the copy, a [`fence`] is needed.
///
/// # Panics
/// The lengths differ.
pub fn stream_copy<T: Element>(from: &[T], to: &mut [T]) {
    assert_eq!(from.len(), to.len(), "lengths");
    if !arch::stream_copy(from, to) {
        to.copy_from_slice(from);
    }
}
