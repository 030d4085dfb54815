//! The halo: the part of the input that a block of outputs reads, copied once with zeros where it leaves the input.
//!
//! Rows above and below the input, and planes before and after it, are never copied: the taps that would meet them are left out.
//! Columns are: a block that reads left or right of the input gets a copy with zeros there, all others read in place.
//! A halo is a few rows high, stays in cache, and costs one or two percent of a convolution.

use std::ops::Range;

use crate::kernels::Element;
use crate::tuning::HALO_BYTES;
use crate::tuning::direct::SHORT_ROW_BYTES;

/// Size of a sample: planes, rows, columns, channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub planes: usize,
    pub rows: usize,
    pub columns: usize,
    pub channels: usize,
}

/// What a block reads. Columns may lie outside of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub planes: Range<usize>,
    pub rows: Range<usize>,
    pub columns: Range<isize>,
}

impl Block {
    /// Whether some columns lie outside of the input, so that the block must be copied.
    fn leaves(&self, extent: Extent) -> bool {
        self.columns.start < 0 || self.columns.end > extent.columns as isize
    }
}

/// Where the elements of a block are, in the tensor itself or in the copy.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a, T> {
    /// The elements.
    pub data: &'a [T],
    /// Distance of the planes (depth) in `data`.
    pub plane: usize,
    /// Distance of the rows.
    pub row: usize,
    /// Where the first column of the block is in a row.
    first: usize,
    /// First plane and first row that `data` holds.
    origin: [usize; 2],
}

impl<T> View<'_, T> {
    /// Offset of the first column of the block in a row of the tensor.
    pub(super) fn at(&self, plane: usize, row: usize) -> usize {
        (plane - self.origin[0]) * self.plane + (row - self.origin[1]) * self.row + self.first
    }
}

/// Elements of the copy of a block.
pub(super) fn len(extent: Extent, planes: usize, rows: usize, columns: usize) -> usize {
    planes.saturating_mul(rows).saturating_mul(columns).saturating_mul(extent.channels)
}

/// Whether what a block reads is so much wider than the input that a copy with zeros beside it is a waste, or would not
/// fit into memory: its columns are then read in place, each with the taps that meet the input.
pub(super) fn too_wide(reach: usize, columns: usize) -> bool {
    reach > 4 * columns + 256
}

/// Whether no position of an axis of `columns` elements meets two taps so far apart.
pub(super) fn too_far(taps: usize, spacing: usize, columns: usize) -> bool {
    taps > 1 && spacing > 1 && spacing >= columns
}

/// A block of `sample`: in place if it lies inside, else copied into `halo`.
pub(super) fn view<'a, T: Element>(
    sample: &'a [T],
    extent: Extent,
    block: &Block,
    halo: &'a mut [T],
) -> View<'a, T> {
    view_samples(sample, extent, block, 1, halo).0
}

/// The same block of `count` samples: the view of the first, and the stride from each to the next.
pub(super) fn view_samples<'a, T: Element>(
    samples: &'a [T],
    extent: Extent,
    block: &Block,
    count: usize,
    halo: &'a mut [T],
) -> (View<'a, T>, usize) {
    let c = extent.channels;
    let source_row = extent.columns * c;
    let source = extent.planes * extent.rows * source_row;
    if !block.leaves(extent) {
        let first = block.columns.start as usize * c;
        let plane = extent.rows * source_row;
        return (View { data: samples, plane, row: source_row, first, origin: [0, 0] }, source);
    }
    let row = width(&block.columns) * c;
    let clip = |column: isize| column.clamp(0, extent.columns as isize) as usize;
    let copied = clip(block.columns.start)..clip(block.columns.end);
    // A block may lie after the last column altogether.
    let left = usize::try_from(copied.start as isize - block.columns.start).map_or(row, |n| (n * c).min(row));
    let filled = left + copied.len() * c;
    let plane = block.rows.len() * row;
    let sample_stride = block.planes.len() * plane;
    let halo = &mut halo[..count * sample_stride];
    let places = block.planes.clone().flat_map(|p| block.rows.clone().map(move |r| p * extent.rows + r));
    for (sample, target) in
        samples.chunks_exact(source.max(1)).zip(halo.chunks_exact_mut(sample_stride.max(1)))
    {
        // Filling all of a halo of short rows costs less than filling the margins of each.
        let short = row * size_of::<T>() <= SHORT_ROW_BYTES;
        if short {
            target.fill(T::ZERO);
        }
        for (line, place) in target.chunks_exact_mut(row.max(1)).zip(places.clone()) {
            let from = place * source_row;
            line[left..filled].copy_from_slice(&sample[from + copied.start * c..from + copied.end * c]);
            if !short {
                line[..left].fill(T::ZERO);
                line[filled..].fill(T::ZERO);
            }
        }
    }
    (View { data: halo, plane, row, first: 0, origin: [block.planes.start, block.rows.start] }, sample_stride)
}

/// Columns of a range that may start below zero.
pub(super) fn width(columns: &Range<isize>) -> usize {
    (columns.end - columns.start).max(0) as usize
}

/// Rows of a block, so that its halo stays within a small share of L2.
pub(super) fn block_rows<T>(
    extent: Extent,
    planes: usize,
    columns: usize,
    rows_per_row: usize,
    most: usize,
) -> usize {
    let (planes, rows) = (planes.min(extent.planes).max(1), rows_per_row.min(extent.rows).max(1));
    let row = len(extent, planes, rows, columns).saturating_mul(size_of::<T>());
    (HALO_BYTES / row.max(1)).clamp(1, most)
}
