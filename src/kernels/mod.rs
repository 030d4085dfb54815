//! Single-threaded inner loops. No allocation, no threads, no tensors: slices and strides.
//!
//! [`Kernels`] is the table of one instruction set; [`Tier`] says which sets there are and which is in use. Bodies are
//! generic over [`lanes::Lanes`], so that one set of tests covers every tier.

#![allow(unsafe_code, reason = "this is where SIMD lives; every block states why it is sound")]

mod aligned;
mod depthwise;
mod dispatch;
pub mod gemm;
pub mod lanes;
pub mod math;
pub mod pack;
mod peak;
mod portable;
mod shift_add;
#[cfg(test)]
mod tests;
mod transpose;
pub mod window;
pub mod winograd;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use aligned::{Aligned, Plain};
pub use depthwise::{Block, LaneWork, fence};
pub use dispatch::{Job, Kernels, Tables, Tier};
pub use gemm::{B, Gemm, NarrowGemm, Offsets, RowGroups, Start, Store, StridedBatch};
pub use lanes::Element;
pub use shift_add::{MOST_CHANNELS, ShiftAdd};
pub use transpose::{Transpose, TransposePanels};
pub use window::{CHAIN, Pooling, Tap, WindowRun};
pub use winograd::{Form, Stage, Transform};
