//! Which instruction set runs: detected once, forced by `GRIDNN_SIMD`, carried along as a value.

use std::hint::black_box;
use std::sync::OnceLock;

use super::arch;
use super::portable;
use super::table::{Job, Kernels, Table, Tier};
use crate::error::{Error, Result};

/// Every tier of this processor family, best first; the portable one is always last.
fn all() -> impl Iterator<Item = &'static Table> {
    arch::TIERS.iter().copied().chain([&portable::TIER])
}

impl Tier {
    /// Every tier that this CPU has, best first; the portable one is always last.
    pub fn available() -> Vec<Self> {
        all().filter(|table| (table.detected)()).map(Self).collect()
    }

    /// Names of all tiers that this library was compiled with, best first, with the features that they need.
    pub fn compiled() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
        all().map(|table| (table.name, table.features))
    }

    /// The tier in use: the best one, or the one that `GRIDNN_SIMD` names. Decided once.
    ///
    /// # Errors
    /// `GRIDNN_SIMD` names a tier that does not exist or that this CPU lacks.
    pub fn current() -> Result<Self> {
        static CURRENT: OnceLock<Result<Tier>> = OnceLock::new();
        CURRENT
            .get_or_init(|| match std::env::var("GRIDNN_SIMD") {
                Ok(wanted) if !wanted.is_empty() => Self::named(&wanted),
                _ => Ok(Self::available()[0]),
            })
            .clone()
    }

    /// The tier with this name.
    ///
    /// # Errors
    /// This CPU has no tier of that name.
    pub fn named(wanted: &str) -> Result<Self> {
        let available = Self::available();
        available.iter().find(|tier| tier.name() == wanted).copied().ok_or_else(|| Error::Tier {
            wanted: wanted.to_string(),
            available: available.iter().map(Self::name).collect::<Vec<_>>().join(", "),
        })
    }

    /// Multiplies and adds float32 in registers, for benches: the number of operations, two per multiply-add.
    pub fn multiply_adds(self, rounds: usize) -> usize {
        // So near to zero that the chains stay finite.
        let (operations, sum) = Kernels::<f32>::of(self).multiply_adds(black_box(rounds), 1e-7);
        black_box(sum);
        operations
    }

    /// Runs plain loops compiled for this tier.
    #[inline]
    pub fn vectorize<J: Job>(self, job: J) -> J::Output {
        arch::vectorize(self, job)
    }
}
