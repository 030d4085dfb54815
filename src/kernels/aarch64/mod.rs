//! The AArch64 tiers.

use super::lanes::Element;

mod neon;

super::table::tiers!(neon);

/// Whether the portable tier rounds multiply and add together: every AArch64 CPU can.
pub(super) const PLAIN_FUSES: bool = true;

/// Ends a sequence of stores past the cache, of which there are none here.
pub(super) fn fence() {}

/// Copies past the cache, if that could be asked for.
pub(super) fn stream_copy<T: Element>(_: &[T], _: &mut [T]) -> bool {
    false
}
