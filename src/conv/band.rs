//! The band: the input rows that a block of output rows reads, copied once with zeros left and right of them.
//!
//! Rows above, below, in front of and behind the input are never copied: the taps that would meet them are left out.
//! A band is a few rows high, stays in cache, and costs one or two percent of a convolution.

use crate::kernels::Element;

/// How rows of one tensor are extended to the left and to the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Margins {
    pub left: usize,
    pub right: usize,
}

/// Where the rows of a block are, in the tensor itself or in the copy.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a, T> {
    /// The elements.
    pub data: &'a [T],
    /// Distance of the planes (depth) in `data`.
    pub plane: usize,
    /// Distance of the rows.
    pub row: usize,
    /// First plane that `data` holds.
    pub first_plane: usize,
    /// First row that each plane holds.
    pub first_row: usize,
}

impl<T> View<'_, T> {
    /// Offset of the first element (margin included) of a row of the tensor.
    pub(super) fn at(&self, plane: usize, row: usize) -> usize {
        (plane - self.first_plane) * self.plane + (row - self.first_row) * self.row
    }
}

/// Size of a sample: planes, rows, columns, channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub planes: usize,
    pub rows: usize,
    pub columns: usize,
    pub channels: usize,
}

impl Extent {
    fn row(&self) -> usize {
        self.columns * self.channels
    }
}

/// Elements of a band of `planes` planes and `rows` rows.
pub(super) fn len(extent: Extent, margins: Margins, planes: usize, rows: usize) -> usize {
    planes * rows * (extent.columns + margins.left + margins.right) * extent.channels
}

/// The rows `rows` of the planes `planes` of `sample`: in place if there are no margins, else copied into `band`.
pub(super) fn view<'a, T: Element>(
    sample: &'a [T],
    extent: Extent,
    margins: Margins,
    planes: std::ops::Range<usize>,
    rows: std::ops::Range<usize>,
    band: &'a mut [T],
) -> View<'a, T> {
    if margins == (Margins { left: 0, right: 0 }) {
        let (plane, row) = (extent.rows * extent.row(), extent.row());
        return View { data: sample, plane, row, first_plane: 0, first_row: 0 };
    }
    let left = margins.left * extent.channels;
    let right = margins.right * extent.channels;
    let row = left + extent.row() + right;
    let plane = rows.len() * row;
    let band = &mut band[..planes.len() * plane];
    for (target, p) in band.chunks_exact_mut(plane.max(1)).zip(planes.clone()) {
        for (line, r) in target.chunks_exact_mut(row).zip(rows.clone()) {
            let source = (p * extent.rows + r) * extent.row();
            line[..left].fill(T::ZERO);
            line[left..row - right].copy_from_slice(&sample[source..source + extent.row()]);
            line[row - right..].fill(T::ZERO);
        }
    }
    View { data: band, plane, row, first_plane: planes.start, first_row: rows.start }
}

/// Rows of a block, so that its band stays within half of a small L2 share.
pub(super) fn block_rows<T>(
    extent: Extent,
    margins: Margins,
    planes: usize,
    rows_per_row: usize,
    most: usize,
) -> usize {
    const BYTES: usize = 96 << 10;
    let row = len(extent, margins, planes.max(1), 1) * size_of::<T>() * rows_per_row.max(1);
    (BYTES / row.max(1)).clamp(1, most)
}
