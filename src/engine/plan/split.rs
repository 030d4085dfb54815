//! Where samples are cut: in a batch of few samples, the heavy ops.
//!
//! Such an op has phases of its own, whose tasks are pieces of a sample; forward and to the input they have the bytes
//! of the whole. Its kernel gradient is cut by rows of the kernel, which need no adding up, and where there are too few
//! of them by positions, whose sums are added up in their order like those of other chunks.

use std::ops::Range;

use super::super::layers::{Op, SplitOp};
use crate::kernels::Element;
use crate::tuning::FOUR_TILES_ROWS;

/// Batches of fewer samples are cut inside a sample: from here on, whole samples are work for some threads.
const FEW_SAMPLES: usize = 8;
/// Multiply-adds of a sample from which on an op is cut: some 3 microseconds of one thread, of which a phase costs one.
const HEAVY_MACS: usize = 128 << 10;
/// Multiply-adds of a piece, if there are enough: a microsecond or two, of which a task costs a quarter.
const PIECE_MACS: usize = 48 << 10;
/// Pieces of all samples together that are enough, and those that are made even if each reads all of large weights for
/// little arithmetic.
const PIECES: usize = 16;
const FEW_PIECES: usize = 4;
/// Elements of what the gradient is a sum over, for each of the kernel, that pay for adding up a buffer.
const PAYING: usize = 24;

/// How a sample of an op is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Split {
    /// The output and the gradient to the input.
    pub maps: [Pieces; 2],
    /// What the kernel gradient is a sum over, and the rows of the kernel.
    pub grad: [Pieces; 2],
    /// Place of the sums of all chunks' pieces but the first, if there are several.
    pub partials: usize,
}

/// Pieces of equal length, the last may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Pieces {
    len: usize,
    piece: usize,
}

impl Pieces {
    /// Cuts `len` elements at multiples of `unit` into at most `most` pieces.
    fn new((len, unit): (usize, usize), most: usize) -> Self {
        let units = len.div_ceil(unit.max(1)).max(1);
        Self { len, piece: units.div_ceil(most.clamp(1, units)) * unit.max(1) }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.len.div_ceil(self.piece).max(1)
    }

    /// Piece number `i`.
    pub fn of(&self, i: usize) -> Range<usize> {
        i * self.piece..((i + 1) * self.piece).min(self.len)
    }
}

impl Split {
    /// How an op is cut in a batch, if it is; `weights` are the elements of its gradient.
    pub(super) fn new<T: Element>(op: &dyn Op<T>, batch: usize, weights: usize) -> Option<Self> {
        let own: &dyn SplitOp<T> = op.split()?;
        let macs = own.macs();
        // Where all samples are worked on together, the weights are read for a few of them at a time.
        let together = op.batch().is_some() && batch > 1;
        if batch >= FEW_SAMPLES || macs < HEAVY_MACS || together {
            return None;
        }
        let wanted = (macs / PIECE_MACS).clamp(1, PIECES.div_ceil(batch));
        let rows = Pieces::new((own.kernel_rows(), 1), wanted.min(own.kernel_rows() / FOUR_TILES_ROWS));
        let sum = own.grad_unit();
        let paying = sum.0 / (PAYING * weights.max(1));
        let sums = Pieces::new(sum, wanted.div_ceil(rows.count()).min(paying));
        let maps = own.units().map(|(len, unit, least)| {
            let most = (len.div_ceil(unit.max(1)) / least.max(1)).max(FEW_PIECES.div_ceil(batch.max(1)));
            Pieces::new((len, unit), wanted.min(most))
        });
        Some(Self { maps, grad: [sums, rows], partials: 0 })
    }

    /// Buffers that the kernel gradient of a chunk is summed in.
    pub fn sums(&self) -> usize {
        self.grad[0].count()
    }

    /// Tasks of the kernel gradient of a chunk.
    pub fn grad_tasks(&self) -> usize {
        self.grad[0].count() * self.grad[1].count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_everything_once() {
        for (len, unit, most) in [(121, 11, 4), (121, 11, 50), (7, 3, 2), (5, 8, 3), (1, 1, 1), (100, 7, 0)] {
            let pieces = Pieces::new((len, unit), most);
            assert!(pieces.count() <= most.max(1));
            let mut next = 0;
            for i in 0..pieces.count() {
                let piece = pieces.of(i);
                assert!(piece.start == next && piece.start.is_multiple_of(unit) && piece.end > piece.start);
                next = piece.end;
            }
            assert_eq!(next, len);
        }
    }
}
