//! The tiles of one axis: where they are, and what they read.

use std::ops::Range;

use crate::geometry::{Axis, PaddingMode, Residues};
use crate::kernels::winograd::NOWHERE;
use crate::memory;

/// How the tiles of an axis read and write.
///
/// A tile's positions are as far apart as the taps, so that a dilated convolution is one without dilation for each
/// residue of the positions. The tiles of a unit are numbered before those of the next.
#[derive(Debug)]
pub(in crate::conv) struct Side {
    /// Positions of the result.
    pub size: usize,
    /// Positions of a tile, and how far they are apart.
    pub outputs: usize,
    pub spacing: usize,
    /// Positions at whose multiples no tile is cut.
    pub unit: usize,
    /// The first position of every tile.
    starts: Vec<usize>,
    /// What every tile reads, `reads` elements each.
    sources: Vec<usize>,
    reads: usize,
    /// How much further the next tile reads, if it reads alike.
    pub steps: Vec<Option<usize>>,
}

/// What the tiles of an axis cover.
#[derive(Debug, Clone, Copy)]
pub(in crate::conv) struct Cover {
    pub size: usize,
    pub outputs: usize,
    /// Tiles of a residue in a unit; None for all of them.
    pub blocks: Option<usize>,
}

/// How far apart the positions of a tile are.
pub(super) fn spacing(axis: &Axis) -> usize {
    if axis.kernel == 1 { 1 } else { axis.dilation }
}

/// Positions of the tiles that cover `size`, those after the end included.
pub(in crate::conv) fn covered(axis: &Axis, size: usize, outputs: usize) -> usize {
    let residues = spacing(axis).min(size);
    let block = (residues * outputs).max(1);
    size / block * block + residues.min(size % block) * outputs
}

/// Residues from which on the tiles of a block, one of each residue, make a run that is long enough.
const LONG: usize = 8;

/// The first position of every tile of a unit, in runs of equal steps: block by block, where what follows in a
/// run follows in memory, or if there are too few residues for that, residue by residue.
fn firsts(unit: Range<usize>, residues: usize, block: usize) -> Vec<usize> {
    let along_block = |first: usize| first..unit.end.min(first + residues);
    let along_phase = |first: usize| (first..unit.end).step_by(block);
    if residues >= LONG {
        memory::demand(memory::collect(unit.clone().step_by(block).flat_map(along_block)))
    } else {
        memory::demand(memory::collect((unit.start..unit.start + residues).flat_map(along_phase)))
    }
}

impl Side {
    /// `source(p)` is what the first tap of position `p` reads, if there is anything; the next ones read what stands for
    /// the positions `spacing` further on.
    fn new(axis: &Axis, cover: Cover, source: impl Fn(usize) -> Option<usize>) -> Self {
        let (Cover { size, outputs, blocks }, spacing) = (cover, spacing(axis));
        let residues = spacing.min(size);
        let block = (residues * outputs).max(1);
        let unit = block * blocks.unwrap_or(size.div_ceil(block)).max(1);
        let tiles = |first: usize| firsts(first..size.min(first + unit), residues, block);
        let starts = memory::demand(memory::collect((0..size).step_by(unit).flat_map(tiles)));
        let reads = outputs + axis.kernel - 1;
        // A distance may be beyond all sizes.
        let read = |start: usize, i: usize| source(start.saturating_add(i.saturating_mul(spacing)));
        let sources = starts
            .iter()
            .flat_map(|&start| (0..reads).map(move |i| (start, i)))
            .map(|(start, i)| read(start, i).unwrap_or(NOWHERE));
        let sources = memory::demand(memory::collect(sources));
        let step = |tile: usize| {
            let step = starts[tile + 1].checked_sub(starts[tile])?;
            let [own, next] = [tile, tile + 1].map(|tile| &sources[tile * reads..][..reads]);
            let alike = |(&own, &next): (&usize, &usize)| {
                if own == NOWHERE { next == NOWHERE } else { next == own + step }
            };
            own.iter().zip(next).all(alike).then_some(step)
        };
        let steps = memory::demand(memory::collect((1..starts.len()).map(|next| step(next - 1))));
        Self { size, outputs, spacing, unit, starts, sources, reads, steps }
    }

    /// The outputs of a convolution and the inputs they read.
    pub fn forward(axis: &Axis, cover: Cover, mode: PaddingMode) -> Self {
        Self::new(axis, cover, |p| axis.padded_source(mode, p))
    }

    /// The inputs of a convolution and the outputs that read them: taps in reverse, zeros around. Of stride 1, an axis has
    /// one residue.
    pub fn input_grad(axis: &Axis, cover: Cover) -> Self {
        let map = Residues::input_grad(axis)[0];
        Self::new(axis, cover, |p| (p < axis.output + axis.span()).then(|| map.at(p, 0)).flatten())
    }

    /// Tiles.
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// Tiles of a unit; the last one may have fewer.
    pub fn unit_tiles(&self) -> usize {
        self.unit / self.outputs
    }

    /// Tiles of all units that have some of these positions.
    pub fn tiles(&self, positions: &Range<usize>) -> Range<usize> {
        let tiles = self.unit_tiles();
        let end = positions.end.div_ceil(self.unit) * tiles;
        positions.start / self.unit * tiles..end.min(self.starts.len())
    }

    /// Position `i` of a tile; one after the end may be any such.
    pub fn position(&self, tile: usize, i: usize) -> usize {
        self.starts[tile].saturating_add(i.saturating_mul(self.spacing))
    }

    /// What a tap of the first position of a tile reads, or the same of the next position for the next tap.
    pub fn source(&self, tile: usize, tap: usize) -> usize {
        self.sources[tile * self.reads + tap]
    }

    /// How much further on the next tile writes, if just as many of its positions are among these.
    pub fn written_alike(&self, tile: usize, positions: &Range<usize>) -> Option<usize> {
        let step = self.starts.get(tile + 1)?.checked_sub(self.starts[tile])?;
        let inside = |tile: usize, i: usize| positions.contains(&self.position(tile, i));
        (0..self.outputs).all(|i| inside(tile, i) == inside(tile + 1, i)).then_some(step)
    }
}
