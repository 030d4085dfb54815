//! The tiles of a map for Winograd's algorithm: what they read, what they stand for, and where they are in memory.
//!
//! A tile has three axes, and along each its positions are as far apart as the taps of the kernel. Along the width, and
//! along the height if the form is a square, it is transformed. Along the depth it is not: it is a column of some planes,
//! and the planes of the kernel are summed up directly, each reading its own planes of points. A kernel whose rows have
//! several times the taps of the form (9 of 3) is summed up directly over these parts as well. A map without depth has
//! tiles of one plane.

mod outliers;
mod side;

use std::ops::Range;

pub(super) use outliers::{Limits, Outlier, Pixels};
pub(super) use side::covered;
use side::{Cover, Side, spacing};

use super::scratch::staggered;
use super::{Part, Pass, Region, Request, Tiling};
use crate::geometry::{AXES, ConvGeometry};
use crate::kernels::winograd::{Extremes, Form, From, MOST_POINTS, NOWHERE, POINTS};
use crate::kernels::{Element, Kernels, Offsets, Stage, Transform};
use crate::tuning::LINE_ELEMENTS;
use crate::tuning::winograd::BLOCK_BYTES;

/// Tiles of a block at most, if they are flat.
const MOST_TILES: usize = 128;
/// Planes of a tile at most.
const MOST_DEPTH: usize = 8;
/// Outputs of a tile in a plane at most.
pub(super) const MOST_OUTPUTS: usize = 16;

/// How the axes of a map of such sizes are covered.
fn cover(g: &ConvGeometry, form: Form, sizes: [usize; AXES]) -> [Cover; AXES] {
    let along = form.outputs();
    let [depth, height, _] = sizes;
    let spacing = g.axes.each_ref().map(spacing);
    let planes = depth.div_ceil(depth.div_ceil(MOST_DEPTH.max(spacing[0])).max(1)).div_ceil(spacing[0]);
    let outputs = [planes.max(1), if form.is_square() { along } else { 1 }, along];
    // A series may be cut between some tiles: longer ones where neighbours are further apart, which are visited in turn.
    let tiles = if spacing[2] == 1 { MOST_TILES / 4 } else { MOST_TILES };
    let series = (depth * height == 1).then_some((tiles / spacing[2]).max(1));
    let blocks = [Some(1), Some(1), series];
    [0, 1, 2].map(|i| Cover { size: sizes[i], outputs: outputs[i], blocks: blocks[i] })
}

/// A part of the results of some samples, of which a tensor holds just this.
#[derive(Debug, Clone)]
pub(super) struct RowRegion {
    pub samples: usize,
    /// Rows (depth times height).
    pub rows: Range<usize>,
    /// Columns of them.
    pub columns: Range<usize>,
}

impl RowRegion {
    pub(super) fn of(tiling: &Tiling, region: &Region) -> Self {
        let (samples, Part { rows, columns }) = tiling.parts(region);
        Self { samples, rows, columns }
    }
}

/// Tiles that are worked on together.
#[derive(Debug, Clone)]
pub(super) struct TileBlock {
    /// Samples; rows and columns of tiles: all of these, of which the block has a part.
    first_sample: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    tiles: Range<usize>,
    /// The tile of planes, and those of its planes that are wanted.
    depth_tile: usize,
    depths: Range<usize>,
}

impl TileBlock {
    /// Tiles of it.
    pub(super) fn tiles(&self) -> usize {
        self.tiles.len()
    }

    /// Planes of each.
    pub(super) fn depths(&self) -> usize {
        self.depths.len()
    }

    /// The runs that make up the tiles.
    fn runs(&self) -> impl Iterator<Item = TileRun> {
        let (columns, count) = (self.columns.len(), self.rows.len());
        let mut next = self.tiles.start;
        std::iter::from_fn(move || {
            let (line, column) = (next / columns, next % columns);
            let end = columns.min(column + self.tiles.end - next);
            let run = TileRun {
                sample: self.first_sample + line / count,
                row: self.rows.start + line % count,
                columns: self.columns.start + column..self.columns.start + end,
                first: next - self.tiles.start,
            };
            let some = next < self.tiles.end;
            next += end - column;
            some.then_some(run)
        })
    }
}

/// Tiles side by side, of one row of tiles of one sample.
#[derive(Debug, Clone)]
struct TileRun {
    sample: usize,
    row: usize,
    columns: Range<usize>,
    /// Number of the first one in its block.
    first: usize,
}

impl TileRun {
    fn part(&self, columns: Range<usize>) -> Self {
        Self { first: self.first + columns.start - self.columns.start, columns, ..self.clone() }
    }
}

/// Where an element of a tile is at a point: `plane` elements between points, `row` between tiles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub row: usize,
    pub plane: usize,
    points: usize,
}

impl Layout {
    pub(super) fn new(form: Form, rows: usize, channels: usize) -> Self {
        let row = staggered(channels);
        Self { row, plane: rows * row + LINE_ELEMENTS, points: form.points() }
    }

    pub(super) fn len(self) -> usize {
        self.points * self.plane
    }

    /// The points of row `number`; those that the form has count.
    pub(super) fn points(self, number: usize) -> [usize; MOST_POINTS] {
        std::array::from_fn(|p| p * self.plane + number * self.row)
    }
}

/// The tiles of a map: what they read and what they stand for.
#[derive(Debug)]
pub(super) struct Grid<T: 'static> {
    pub kernels: &'static Kernels<T>,
    pub form: Form,
    pub depth: Side,
    pub height: Side,
    pub width: Side,
    /// Planes of the kernel, and parts of its rows.
    taps: [usize; 2],
    /// Rows and columns of a plane of the source, and elements of a sample.
    source_rows: usize,
    source_columns: usize,
    source_len: usize,
    /// Channels of the source and of the result that are worked on, the first of `strides` of each position.
    pub from_channels: usize,
    pub to_channels: usize,
    strides: [usize; 2],
}

impl<T: Element> Grid<T> {
    pub(super) fn new(g: &ConvGeometry, form: Form, kernels: &'static Kernels<T>, pass: Pass) -> Self {
        let [from, to] = pass.extents(g);
        let cover = cover(g, form, [to.planes, to.rows, to.columns]);
        let side = |i: usize| match pass {
            Pass::Forward | Pass::KernelGrad => Side::forward(&g.axes[i], cover[i], g.mode),
            Pass::InputGrad => Side::input_grad(&g.axes[i], cover[i]),
        };
        Self {
            kernels,
            form,
            depth: side(0),
            height: side(1),
            width: side(2),
            taps: [g.axes[0].kernel, g.axes[2].kernel / form.taps()],
            source_rows: from.rows,
            source_columns: from.columns,
            source_len: pass.sample_lens(g)[0],
            from_channels: from.channels,
            to_channels: to.channels,
            strides: [from.channels, to.channels],
        }
    }

    /// The same for as many channels of the source and of the result: the first ones of tensors that start with them.
    pub(super) fn of_channels(self, [from_channels, to_channels]: [usize; 2]) -> Self {
        Self { from_channels, to_channels, ..self }
    }

    /// How results are cut: between tiles.
    pub(super) fn tiling(&self, weights: usize, scratch: Request) -> Tiling {
        let Self { depth, height, width, .. } = self;
        let size = [depth.size * height.size, width.size, self.to_channels];
        Tiling::new(size, [self.row_step(), width.unit.min(width.size)], weights, scratch)
    }

    /// Rows at whose multiples no tile is cut.
    pub(super) fn row_step(&self) -> usize {
        if self.depth.size == 1 { self.height.unit } else { self.depth.unit * self.height.size }
    }

    /// Tiles of the rows or columns at whose multiples a result may be cut, those of several planes counted singly.
    pub(super) fn unit_tiles(&self) -> usize {
        let Self { depth, height, width, .. } = self;
        match (depth.size, height.size) {
            (1, 1) => width.unit_tiles(),
            (1, _) => height.unit_tiles() * width.count(),
            _ => depth.unit * height.count() * width.count(),
        }
    }

    /// Taps that are summed up directly.
    pub(super) fn direct_taps(&self) -> usize {
        self.taps.iter().product()
    }

    /// Rows of points that a column of `depths` planes reads.
    pub(super) fn reads(&self, depths: usize) -> usize {
        (depths + self.taps[0] - 1) * self.taps[1]
    }

    /// Row of points that the first output of a block reads for a direct tap.
    fn tap_row(&self, tap: usize, block: &TileBlock) -> usize {
        let (plane, part) = (tap / self.taps[1], tap % self.taps[1]);
        (part * (block.depths() + self.taps[0] - 1) + plane) * block.tiles()
    }

    /// The direct taps as a batch: `b_step` elements of the other operand between taps.
    pub(super) fn batch(
        &self,
        block: &TileBlock,
        inputs: Layout,
        b_step: usize,
    ) -> impl Iterator<Item = Offsets> {
        (0..self.direct_taps())
            .map(move |tap| Offsets { a: self.tap_row(tap, block) * inputs.row, b: tap * b_step })
    }

    /// Where the points for a direct tap start.
    pub(super) fn tap_start(&self, tap: usize, block: &TileBlock, inputs: Layout) -> usize {
        self.tap_row(tap, block) * inputs.row
    }

    /// Tiles of a block at most, for inputs of `channels` channels, whose bytes at the points should not be much less than
    /// `share`.
    pub(super) fn most_tiles(&self, channels: usize, share: usize) -> usize {
        let row = self.form.points() * channels * size_of::<T>();
        let bytes = share.clamp(BLOCK_BYTES[0], BLOCK_BYTES[1]);
        (bytes / (row * self.reads(self.depth.outputs)).max(1)).clamp(1, MOST_TILES)
    }

    /// Bytes of the kernel at the points.
    pub(super) fn kernel_bytes(&self) -> usize {
        self.form.points() * self.direct_taps() * self.from_channels * self.to_channels * size_of::<T>()
    }

    /// Layouts of inputs and outputs at the points, of a block of `tiles` tiles.
    pub(super) fn layouts(&self, (tiles, depths): (usize, usize), channels: [usize; 2]) -> [Layout; 2] {
        let rows = [tiles * self.reads(depths), tiles * depths];
        [0, 1].map(|i| Layout::new(self.form, rows[i], channels[i]))
    }

    /// Cuts a region into blocks of at most `most` tiles: sample by sample, plane by plane of tiles; flat tiles of
    /// several samples may be in one.
    pub(super) fn blocks(&self, region: &RowRegion, most: usize) -> impl Iterator<Item = TileBlock> {
        let height = self.height.size;
        let planes = region.rows.start / height..region.rows.end.div_ceil(height);
        let rows = match planes.len() {
            1 => region.rows.start - planes.start * height..region.rows.end - planes.start * height,
            _ => 0..height,
        };
        let (rows, columns) = (self.height.tiles(&rows), self.width.tiles(&region.columns));
        let together = if self.depth.count() == 1 { region.samples } else { 1 };
        let depth_tiles = self.depth.tiles(&planes);
        (0..region.samples).step_by(together.max(1)).flat_map(move |first_sample| {
            let (rows, columns, planes) = (rows.clone(), columns.clone(), planes.clone());
            depth_tiles.clone().flat_map(move |depth_tile| {
                let (rows, columns) = (rows.clone(), columns.clone());
                let wanted = |i: &usize| planes.contains(&self.depth.position(depth_tile, *i));
                let first = (0..self.depth.outputs).find(wanted).unwrap_or(0);
                let depths = first..(first..self.depth.outputs).take_while(wanted).count() + first;
                let tiles = if depths.is_empty() { 0 } else { together * rows.len() * columns.len() };
                cut(tiles, most).map(move |tiles| TileBlock {
                    first_sample,
                    rows: rows.clone(),
                    columns: columns.clone(),
                    tiles,
                    depth_tile,
                    depths: depths.clone(),
                })
            })
        })
    }

    /// Brings the inputs of a block to the points, and records the extremes of every row.
    pub(super) fn read(
        &self,
        source: &[T],
        block: &TileBlock,
        (points, extremes): (&mut [T], &mut [Extremes<T>]),
        layout: Layout,
    ) {
        let planes = block.depths() + self.taps[0] - 1;
        for run in block.runs() {
            for row in 0..planes * self.taps[1] {
                let (part, plane) = (row / planes, row % planes);
                let plane = self.depth.source(block.depth_tile, block.depths.start + plane);
                let offset = row * block.tiles();
                self.read_plane(
                    source,
                    (plane, part * self.form.taps()),
                    &run,
                    (points, &mut extremes[offset..offset + block.tiles()]),
                    |number| (layout.points(offset + number), layout.row),
                );
            }
        }
    }

    /// Brings what a run reads of a plane, from some tap of the kernel's rows on, to the points.
    fn read_plane(
        &self,
        source: &[T],
        (plane, tap): (usize, usize),
        run: &TileRun,
        (points, extremes): (&mut [T], &mut [Extremes<T>]),
        places: impl Fn(usize) -> ([usize; MOST_POINTS], usize),
    ) {
        let count = self.form.points();
        for (columns, step) in runs_alike(&run.columns, |tile| self.width.steps[tile]) {
            let part = run.part(columns);
            let at: [usize; MOST_POINTS] = std::array::from_fn(|p| {
                if p >= count {
                    return NOWHERE;
                }
                let y = self.height.source(run.row, p / POINTS);
                self.pixel(part.sample, [plane, y, self.width.source(part.columns.start, tap + p % POINTS)])
            });
            let (places, to_step) = places(part.first);
            self.kernels.transform(&mut Transform {
                form: self.form,
                stage: Stage::Input,
                from: From::Slice(source),
                at: &at[..count],
                from_step: step * self.strides[0],
                to: points,
                places: &places[..count],
                to_step,
                count: part.columns.len(),
                channels: self.from_channels,
                bias: None,
                relu: false,
                extremes: &mut extremes[part.first..part.first + part.columns.len()],
            });
        }
    }

    /// Where the first channel of a position of the source is; all of its axes are somewhere, or it is nowhere.
    fn pixel(&self, sample: usize, [plane, y, x]: [usize; 3]) -> usize {
        if plane == NOWHERE || y == NOWHERE || x == NOWHERE {
            return NOWHERE;
        }
        let pixel = (plane * self.source_rows + y) * self.source_columns + x;
        sample * self.source_len + pixel * self.strides[0]
    }

    /// Where a position of the result is in a tensor that holds a region, if it is in there.
    fn result(&self, region: &RowRegion, sample: usize, [depth, row, column]: [usize; 3]) -> usize {
        if row >= self.height.size || !region.columns.contains(&column) {
            return NOWHERE;
        }
        let line = depth * self.height.size + row;
        if !region.rows.contains(&line) {
            return NOWHERE;
        }
        let line = sample * region.rows.len() + line - region.rows.start;
        (line * region.columns.len() + column - region.columns.start) * self.strides[1]
    }

    /// Calls `visit` for the results of tiles that are alike, side by side in a plane.
    pub(super) fn results(&self, block: &TileBlock, region: &RowRegion, mut visit: impl FnMut(&Written<'_>)) {
        let along = self.width.outputs;
        let alike = |tile: usize| self.width.written_alike(tile, &region.columns);
        for run in block.runs() {
            for (columns, step) in runs_alike(&run.columns, alike) {
                let part = run.part(columns);
                for (i, depth) in block.depths.clone().enumerate() {
                    let depth = self.depth.position(block.depth_tile, depth);
                    let places: [usize; MOST_OUTPUTS] = std::array::from_fn(|p| {
                        let row = self.height.position(run.row, p / along);
                        let column = self.width.position(part.columns.start, p % along);
                        self.result(region, part.sample, [depth, row, column])
                    });
                    visit(&Written {
                        row: i * block.tiles() + part.first,
                        count: part.columns.len(),
                        step: step * self.strides[1],
                        places: &places[..self.form.area(along)],
                    });
                }
            }
        }
    }
}

/// Where the results of some tiles are in a tensor that holds a region.
#[derive(Debug)]
pub(super) struct Written<'a> {
    /// The row that the first tile has at the points; the others follow.
    pub row: usize,
    /// Tiles, and elements from one to the next.
    pub count: usize,
    pub step: usize,
    /// The results of the first.
    pub places: &'a [usize],
}

/// Cuts tiles into runs of equal steps; `step(tile)` is that to the next one, if they are alike.
fn runs_alike(
    tiles: &Range<usize>,
    step: impl Fn(usize) -> Option<usize>,
) -> impl Iterator<Item = (Range<usize>, usize)> {
    let (mut next, end) = (tiles.start, tiles.end);
    std::iter::from_fn(move || {
        let first = next;
        let own = if first + 1 < end { step(first) } else { None };
        next += usize::from(first < end);
        while own.is_some() && next < end && step(next - 1) == own {
            next += 1;
        }
        (first < end).then_some((first..next, own.unwrap_or(0)))
    })
}

/// Cuts tiles into ranges of equal size.
fn cut(tiles: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let count = tiles.div_ceil(most);
    (0..count).map(move |i| i * tiles / count..(i + 1) * tiles / count)
}
