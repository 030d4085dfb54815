//! Matrix products: a batch-reduce GEMM, `C = start + sum over batch of A[i] B[i]` (Georganas et al. 2020, "Harnessing deep
//! learning via a single building block", arXiv 1906.06440; oneDNN calls it BRGeMM).
//!
//! The operands of a batch are offsets into one A and one B, so that a convolution reads its input where it lies, as an
//! indirect convolution does (Dukhan 2019, arXiv 1907.02129), and no im2col matrix is written. [`tile`] is the register
//! tile and the choice among the forms: [`multi_row`] for tiles of several groups of rows, [`narrow`] for one to four
//! columns, [`planar`] for rows in the lanes, [`streamed`] for results that bypass the cache.

mod few;
pub mod multi_row;
pub mod narrow;
mod planar;
mod streamed;
pub mod tile;

pub use multi_row::RowGroups;
pub use narrow::NarrowGemm;
pub use tile::{B, Gemm, Offsets, Start, Store, StridedBatch};
