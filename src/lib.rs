//! Convolutional networks on grids (series, images, volumes), trained on the CPU.
//!
//! The levels, from the outside in: `python` (the door), [`engine`] (whole training steps) and `ops` (single
//! operations), [`conv`] and its siblings (algorithms on slices), [`kernels`] (single-threaded inner loops). A level
//! uses the ones below it and never the ones above; `tests/layering.rs` checks it.

#[cfg(not(target_endian = "little"))]
compile_error!(
    "gridnn does not support big-endian processors: files and digests are those of little-endian numbers."
);
#[cfg(not(any(target_pointer_width = "64", target_family = "wasm")))]
compile_error!("gridnn does not support 32-bit processors: sizes and counters are assumed to have 64 bits.");

pub mod activation;
pub mod arrays;
pub mod conv;
pub mod cuts;
pub mod dense;
pub mod engine;
pub mod error;
pub mod geometry;
#[doc(hidden)]
pub mod kernels;
pub mod memory;
pub mod norm;
pub mod ops;
pub mod pad;
pub mod parallel;
pub mod pool;
#[cfg(feature = "python")]
mod python;
#[doc(hidden)]
pub mod reference;
pub mod resize;
pub mod rng;
pub mod storage;
pub mod tuning;

pub use error::{Error, Result};
