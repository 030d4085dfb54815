//! Processor families without tiers of their own: the portable one is all they have.

use super::lanes::Element;

super::table::tiers!();

/// Whether the portable tier rounds multiply and add together: it might become a call of a library.
pub(super) const PLAIN_FUSES: bool = false;

/// Nothing is stored past the cache.
pub(super) fn fence() {}

/// Nothing was copied past the cache: the caller does it.
pub(super) fn stream_copy<T: Element>(_: &[T], _: &mut [T]) -> bool {
    false
}
