//! The tiles of a map for Winograd's algorithm: what they read, what they stand for, and where they are in memory.

use std::ops::Range;

use crate::geometry::{Axis, ConvGeometry, PaddingMode};
use crate::kernels::winograd::{From, NOWHERE, POINTS};
use crate::kernels::{Element, Kernels, Stage, Transform};

/// Outputs of a tile along an axis.
pub(super) const TILE: usize = 4;
/// Taps along an axis.
pub(super) const TAPS: usize = 3;
/// Points of a tile.
pub(super) const PLANES: usize = POINTS * POINTS;
/// A cache line, in elements: planes are staggered by it, or those of a power of two would meet in the same sets.
const LINE: usize = 16;
/// Bytes of the inputs of an item, at the points: half of L2.
const ITEM_BYTES: usize = 512 << 10;

/// How the tiles of an axis read and write.
#[derive(Debug)]
pub(super) struct Side {
    /// Positions of the result, and tiles that cover them.
    pub size: usize,
    pub tiles: usize,
    /// What tile `t` reads: elements `4 t .. 4 t + 6` of this list.
    pub sources: Vec<usize>,
    /// Tiles that read six neighbours inside the source.
    pub inner: Range<usize>,
}

impl Side {
    /// `source(p)` is what the first tap of position `p` reads, if there is anything.
    pub(super) fn new(size: usize, source: impl Fn(usize) -> Option<usize>) -> Self {
        let tiles = size.div_ceil(TILE);
        let sources: Vec<usize> =
            (0..tiles * TILE + POINTS - TILE).map(|p| source(p).unwrap_or(NOWHERE)).collect();
        let inner = |tile: &usize| {
            let read = &sources[tile * TILE..tile * TILE + POINTS];
            read.iter().enumerate().all(|(i, &s)| s != NOWHERE && s == read[0].wrapping_add(i))
        };
        let first = (0..tiles).find(inner).unwrap_or(0);
        let count = (first..tiles).take_while(inner).count();
        Self { size, tiles, sources, inner: first..first + count }
    }

    /// The outputs of a convolution and the inputs they read.
    pub(super) fn forward(axis: &Axis, mode: PaddingMode) -> Self {
        let padded = axis.before + axis.input + axis.after;
        Self::new(axis.output, |p| (p < padded).then(|| mode.source(p, axis.before, axis.input)).flatten())
    }

    /// The inputs of a convolution and the outputs that read them: taps in reverse, zeros around.
    pub(super) fn input_grad(axis: &Axis) -> Self {
        let inside = |p: &usize| *p < axis.output;
        Self::new(axis.input, |p| (p + axis.before).checked_sub(TAPS - 1).filter(inside))
    }
}

/// Tiles side by side, of one row of tiles of one sample.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    pub sample: usize,
    pub row: usize,
    pub columns: Range<usize>,
    /// Number of the first one in its item.
    pub first: usize,
}

impl Stretch {
    pub(super) fn part(&self, columns: Range<usize>) -> Self {
        Self { first: self.first + columns.start - self.columns.start, columns, ..self.clone() }
    }
}

/// Where an element of a tile is at a point: `plane` elements between points, `row` between tiles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub row: usize,
    pub plane: usize,
}

impl Layout {
    pub(super) fn new(tiles: usize, channels: usize) -> Self {
        let row = channels.next_multiple_of(LINE);
        // Rows of a multiple of 1 KiB would fall into a few sets of L1.
        let row = if row.is_multiple_of(16 * LINE) { row + LINE } else { row };
        Self { row, plane: tiles * row + LINE }
    }

    pub(super) fn len(self) -> usize {
        PLANES * self.plane
    }

    /// The points of tile `number`.
    pub(super) fn points(self, number: usize) -> [usize; PLANES] {
        std::array::from_fn(|p| p * self.plane + number * self.row)
    }
}

/// The tiles of a map: what they read and what they stand for.
#[derive(Debug)]
pub(super) struct Grid<T: 'static> {
    pub kernels: &'static Kernels<T>,
    pub height: Side,
    pub width: Side,
    /// Columns and channels of the source, and channels of the result.
    pub source_columns: usize,
    pub from_channels: usize,
    pub to_channels: usize,
    /// Elements of a source sample.
    pub source_len: usize,
}

impl<T: Element> Grid<T> {
    pub(super) fn forward(g: &ConvGeometry, kernels: &'static Kernels<T>) -> Self {
        let [_, height, width] = &g.axes;
        Self {
            kernels,
            height: Side::forward(height, g.mode),
            width: Side::forward(width, g.mode),
            source_columns: width.input,
            from_channels: g.c_in,
            to_channels: g.c_out,
            source_len: g.input_len(),
        }
    }

    pub(super) fn input_grad(g: &ConvGeometry, kernels: &'static Kernels<T>) -> Self {
        let [_, height, width] = &g.axes;
        Self {
            kernels,
            height: Side::input_grad(height),
            width: Side::input_grad(width),
            source_columns: width.output,
            from_channels: g.c_out,
            to_channels: g.c_in,
            source_len: g.output_len(),
        }
    }

    pub(super) fn row_len(&self) -> usize {
        self.width.size * self.to_channels
    }

    /// Tiles of an item at most.
    pub(super) fn most_tiles(&self, channels: usize) -> usize {
        let fit = ITEM_BYTES / (PLANES * channels * size_of::<T>()).max(1);
        fit.clamp(1, 128)
    }

    /// The stretches that make up the tiles `item` of some samples, of which each has the rows of tiles `rows`.
    pub(super) fn stretches(
        &self,
        rows: &Range<usize>,
        item: &Range<usize>,
    ) -> impl Iterator<Item = Stretch> + use<T> {
        let (columns, start, count) = (self.width.tiles, rows.start, rows.len());
        let item = item.clone();
        let mut next = item.start;
        std::iter::from_fn(move || {
            let (line, column) = (next / columns, next % columns);
            let end = columns.min(column + item.end - next);
            let stretch = Stretch {
                sample: line / count,
                row: start + line % count,
                columns: column..end,
                first: next - item.start,
            };
            let some = next < item.end;
            next += end - column;
            some.then_some(stretch)
        })
    }

    /// Brings the inputs of a stretch to the points.
    pub(super) fn read(&self, source: &[T], stretch: &Stretch, planes: &mut [T], layout: Layout) {
        let inner = if self.height.inner.contains(&stretch.row) { self.width.inner.clone() } else { 0..0 };
        for columns in pieces(&stretch.columns, &inner) {
            let part = stretch.part(columns);
            let (row, column) = (part.row * TILE, part.columns.start * TILE);
            let at: [usize; PLANES] = std::array::from_fn(|p| {
                let y = self.height.sources[row + p / POINTS];
                let x = self.width.sources[column + p % POINTS];
                if y == NOWHERE || x == NOWHERE {
                    return NOWHERE;
                }
                part.sample * self.source_len + (y * self.source_columns + x) * self.from_channels
            });
            self.kernels.transform(&mut Transform {
                stage: Stage::Input,
                from: From::Slice(source),
                at: &at,
                from_step: TILE * self.from_channels,
                to: planes,
                places: &layout.points(part.first),
                to_step: layout.row,
                count: part.columns.len(),
                channels: self.from_channels,
                bias: None,
                relu: false,
            });
        }
    }

    /// Calls `visit(part, places)` with the places of the 16 results of the first tile of each part of a stretch;
    /// tiles of a part are alike. Of each sample the tensor holds the rows `rows` only.
    pub(super) fn results(
        &self,
        stretch: &Stretch,
        rows: &Range<usize>,
        mut visit: impl FnMut(&Stretch, &[usize; TILE * TILE]),
    ) {
        let whole = self.width.size / TILE;
        let first = stretch.row * TILE;
        for columns in pieces(&stretch.columns, &(0..whole)) {
            let part = stretch.part(columns);
            let places = std::array::from_fn(|p| {
                let (row, column) = (first + p / TILE, part.columns.start * TILE + p % TILE);
                if !rows.contains(&row) || column >= self.width.size {
                    return NOWHERE;
                }
                let row = part.sample * rows.len() + row - rows.start;
                (row * self.width.size + column) * self.to_channels
            });
            visit(&part, &places);
        }
    }
}

/// Cuts a range into single numbers in front of `inner`, the part in `inner` as a whole, and single numbers behind.
fn pieces(range: &Range<usize>, inner: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let start = inner.start.clamp(range.start, range.end);
    let end = inner.end.clamp(start, range.end);
    let single = |i: usize| i..i + 1;
    let middle = std::iter::once(start..end).filter(|middle| !middle.is_empty());
    (range.start..start).map(single).chain(middle).chain((end..range.end).map(single))
}

/// Cuts tiles into items of equal size.
pub(super) fn items(tiles: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let count = tiles.div_ceil(most);
    (0..count).map(move |i| i * tiles / count..(i + 1) * tiles / count)
}
