//! Single-threaded inner loops. No allocation, no threads, no tensors: slices and strides.
//!
//! [`Kernels`] is the table of one instruction set; [`Tier`] says which sets there are and which is in use. Bodies are
//! generic over [`lanes::Lanes`], so that one set of tests covers every tier. `table.rs` lists the kernels and has the
//! macro that makes a tier of a file with its lanes; the module `arch` is that of the processor family, the only place
//! that depends on it.

#![allow(unsafe_code, reason = "this is where SIMD lives; every block states why it is sound")]

mod aligned;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64/mod.rs"]
mod arch;
#[cfg(target_arch = "aarch64")]
#[path = "aarch64/mod.rs"]
mod arch;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[path = "other.rs"]
mod arch;
mod depthwise;
pub mod gemm;
pub mod lanes;
pub mod math;
pub mod pack;
mod peak;
mod portable;
mod shift_add;
mod stream;
mod table;
#[cfg(test)]
mod tests;
mod tier;
mod transpose;
pub mod window;
pub mod winograd;

pub use aligned::{Aligned, Plain};
pub use depthwise::{Block, LaneWork};
pub use gemm::{B, Gemm, NarrowGemm, Offsets, RowGroups, Start, Store, StridedBatch};
pub use lanes::Element;
pub use shift_add::{MOST_CHANNELS, ShiftAdd};
pub use stream::{fence, stream_copy};
pub use table::{Job, Kernels, Tier};
pub use transpose::{Transpose, TransposePanels};
pub use window::{CHAIN, Pooling, Tap, WindowRun};
pub use winograd::{Form, Stage, Transform};
