//! Tiles whose values are out of proportion, for which a transform would cost accuracy.
//!
//! A result of Winograd's algorithm errs in proportion to the largest value of its tile, also where it does not read that
//! value. So it is computed directly if the largest value is more than [`Limits::ratio`] times that of what the result
//! reads, or so large that the points could overflow; the gradient to the kernel likewise, with products of inputs and
//! gradients of outputs instead of values. Magnitudes are the largest over all channels, which is exact in any order: the
//! rule depends on the tile alone and is the same for every tier, thread and batch.
//!
//! While a tile is transformed, its largest magnitude and those of a few positions in its centre are recorded. Where the
//! latter are large enough, all results of the tile are in proportion; the others are looked at here, position by position,
//! until every result is found to read a value that is large enough: of a tile at the border of a map, which has zeros for a
//! centre, or of a sparse one, few positions are looked at.
//!
//! To the kernel, zeros beside a map count as what stands at its border. There are taps that no output of a tile at the
//! border reaches; those would be out of proportion in every such tile, of which a map of 5 x 5 taps has thousands.

use super::{Grid, MOST_OUTPUTS, MOST_TILES, NOWHERE, Offsets, POINTS, RowRegion, TileBlock};
use crate::kernels::winograd::{Extremes, MOST_POINTS};
use crate::kernels::{Element, Job, Tier};

/// What is in proportion.
#[derive(Debug, Clone, Copy)]
pub(in crate::conv) struct Limits {
    /// How many times as large as what a result reads the values of its tile may be. A power of two: multiplying is exact.
    ratio: f64,
    /// What no value reaches: neither points nor sums of their products with anything sensible overflow.
    most: f64,
}

impl Limits {
    /// Of the passes that map tensors.
    pub fn map<T: Element>() -> Self {
        Self { ratio: 64.0, most: if T::NAME == f32::NAME { 2f64.powi(64) } else { 2f64.powi(512) } }
    }

    /// Of each operand of the gradient to the kernel; the products may be the square of the ratio apart.
    pub fn kernel_grad<T: Element>() -> Self {
        Self { ratio: 8.0, most: if T::NAME == f32::NAME { 2f64.powi(48) } else { 2f64.powi(384) } }
    }

    /// Whether all results of a tile are in proportion for certain.
    pub fn hold<T: Element>(self, [largest, centre]: Extremes<T>) -> bool {
        // Both are exact, or the right side is infinite.
        self.bounds(largest) && largest <= centre.mul(T::from_f64(self.ratio))
    }

    /// Whether a value is neither NaN nor too large.
    pub fn bounds<T: Element>(self, largest: T) -> bool {
        largest < T::from_f64(self.most)
    }
}

/// One tile of one plane of results.
#[derive(Debug, Clone, Copy)]
pub(in crate::conv) struct Outlier {
    sample: usize,
    depth_tile: usize,
    depth: usize,
    row: usize,
    column: usize,
    /// Its number in the block, and that of its plane.
    tile: usize,
    plane: usize,
}

/// The largest magnitudes over the channels of the positions of a tile, as far as they were asked for.
#[derive(Debug, Default)]
pub(in crate::conv) struct Pixels<T> {
    inputs: Vec<T>,
    outputs: Vec<T>,
}

/// Stands for a magnitude that nobody asked for.
const UNKNOWN: f64 = -1.0;

impl<T: Element> Pixels<T> {
    /// Makes room for tiles with this many taps that are summed up directly.
    pub fn reserve(&mut self, direct_taps: usize) {
        self.inputs.reserve((direct_taps * MOST_POINTS).saturating_sub(self.inputs.len()));
        self.outputs.reserve(MOST_OUTPUTS.saturating_sub(self.outputs.len()));
    }

    /// Forgets the tile before.
    fn clear(&mut self, inputs: usize, outputs: usize) {
        for (own, len) in [(&mut self.inputs, inputs), (&mut self.outputs, outputs)] {
            own.clear();
            own.resize(len, T::from_f64(UNKNOWN));
        }
    }
}

/// The largest magnitude of some values.
struct Largest<'a, T>(&'a [T]);

impl<T: Element> Job for Largest<'_, T> {
    type Output = T;
    #[inline(always)]
    fn run(self) -> T {
        let mut lanes = [T::ZERO; 16];
        let whole = self.0.chunks_exact(lanes.len());
        let rest = whole.remainder();
        for values in whole {
            for (lane, value) in lanes.iter_mut().zip(values) {
                *lane = lane.larger(*value);
            }
        }
        for (lane, value) in lanes.iter_mut().zip(rest) {
            *lane = lane.larger(*value);
        }
        // By halves, which stay vectors; one lane after the other took ten times as long as the loads.
        for half in [8, 4, 2, 1] {
            let (own, other) = lanes.split_at_mut(half);
            for (lane, value) in own.iter_mut().zip(other) {
                *lane = lane.larger(*value);
            }
        }
        lanes[0]
    }
}

/// All pairs of numbers below two.
fn pairs(rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).flat_map(move |i| (0..columns).map(move |j| (i, j)))
}

/// For every position of a tile along an axis, the nearest one that is somewhere; itself if none is.
fn beside(len: usize, source: impl Fn(usize) -> usize) -> [usize; POINTS] {
    let somewhere: [bool; POINTS] = std::array::from_fn(|i| i < len && source(i) != NOWHERE);
    std::array::from_fn(|i| {
        let near = |distance: usize| {
            let inside = |i: &usize| *i < len && somewhere[*i];
            i.checked_sub(distance).filter(inside).or(Some(i + distance).filter(inside))
        };
        (0..len).find_map(near).unwrap_or(i)
    })
}

/// The largest magnitude of the channels at a place, zero if it is nowhere.
fn magnitude<T: Element>(tier: Tier, values: &[T], place: usize, channels: usize) -> T {
    if place == NOWHERE { T::ZERO } else { tier.vectorize(Largest(&values[place..place + channels])) }
}

impl<T: Element> Grid<T> {
    /// Calls `visit` for every tile of a block that is not in proportion for certain; `extremes` are those of the rows of its
    /// inputs, `grads` those of gradients of its outputs, if there are any.
    pub(in crate::conv) fn suspects(
        &self,
        block: &TileBlock,
        limits: Limits,
        (extremes, grads): (&[Extremes<T>], &[Extremes<T>]),
        mut visit: impl FnMut(Outlier),
    ) {
        const { assert!(MOST_TILES <= u128::BITS as usize) };
        // A set of tiles, of which a block has no more than bits: most are in proportion, in all of their rows.
        let mut suspects = 0u128;
        for rows in extremes.chunks_exact(block.tiles()).chain(grads.chunks_exact(block.tiles())) {
            for (tile, extremes) in rows.iter().enumerate() {
                if !limits.hold(*extremes) {
                    suspects |= 1 << tile;
                }
            }
        }
        if suspects == 0 {
            return;
        }
        for run in block.runs() {
            for (i, column) in run.columns.clone().enumerate() {
                let tile = run.first + i;
                if suspects >> tile & 1 == 0 {
                    continue;
                }
                for plane in 0..block.depths() {
                    let outlier = Outlier {
                        sample: run.sample,
                        depth_tile: block.depth_tile,
                        depth: block.depths.start + plane,
                        row: run.row,
                        column,
                        tile,
                        plane,
                    };
                    let inputs =
                        (0..self.direct_taps()).map(|tap| extremes[self.input_row(block, outlier, tap)]);
                    let own = grads.get(outlier.output_row(block)).copied();
                    if !inputs.chain(own).all(|extremes| limits.hold(extremes)) {
                        visit(outlier);
                    }
                }
            }
        }
    }

    /// Row of points that a tile reads for a direct tap.
    pub(in crate::conv) fn input_row(&self, block: &TileBlock, at: Outlier, tap: usize) -> usize {
        self.tap_row(tap, block) + at.plane * block.tiles() + at.tile
    }

    /// Positions of a tile of inputs along height and width, of one of outputs, and taps along both.
    fn extents(&self) -> [[usize; 2]; 3] {
        let both = |n: usize| [if self.form.is_square() { n } else { 1 }, n];
        [both(POINTS), both(self.form.outputs()), both(self.form.taps())]
    }

    /// Where a tile reads for a direct tap, in row `i` and column `j` of its inputs.
    pub(in crate::conv) fn input_place(&self, at: Outlier, tap: usize, [i, j]: [usize; 2]) -> usize {
        let (plane, part) = (tap / self.taps[1], tap % self.taps[1]);
        let plane = self.depth.source(at.depth_tile, at.depth + plane);
        let (y, x) = (self.height.source(at.row, i), part * self.form.taps() + j);
        self.pixel(at.sample, [plane, y, self.width.source(at.column, x)])
    }

    /// Where an output of a tile is in a tensor that holds a region.
    pub(in crate::conv) fn output_place(&self, region: &RowRegion, at: Outlier, [i, j]: [usize; 2]) -> usize {
        let depth = self.depth.position(at.depth_tile, at.depth);
        let row = if self.form.is_square() {
            self.height.position(at.row, i)
        } else {
            self.height.position(at.row, 0)
        };
        self.result(region, at.sample, [depth, row, self.width.position(at.column, j)])
    }

    /// Calls `visit` with every tap and the place that an output of a tile reads through it.
    pub(in crate::conv) fn window(
        &self,
        at: Outlier,
        [i, j]: [usize; 2],
        mut visit: impl FnMut(usize, usize),
    ) {
        let [_, _, [tap_rows, tap_columns]] = self.extents();
        for tap in 0..self.direct_taps() * tap_rows * tap_columns {
            let (direct, r, s) =
                (tap / tap_columns / tap_rows, tap / tap_columns % tap_rows, tap % tap_columns);
            visit(tap, self.input_place(at, direct, [i + r, j + s]));
        }
    }

    /// Forgets the magnitudes of the tile before.
    fn look(&self, pixels: &mut Pixels<T>) {
        pixels.clear(self.direct_taps() * self.form.points(), self.form.area(self.form.outputs()));
    }

    /// The magnitude of what a tile reads for a direct tap.
    fn input(&self, x: &[T], at: Outlier, pixels: &mut Pixels<T>, tap: usize, [i, j]: [usize; 2]) -> T {
        let [[_, columns], _, _] = self.extents();
        let known = &mut pixels.inputs[tap * self.form.points() + i * columns + j];
        if *known < T::ZERO {
            *known = magnitude(self.kernels.tier, x, self.input_place(at, tap, [i, j]), self.from_channels);
        }
        *known
    }

    /// The magnitude of the gradient of an output of a tile.
    fn output(
        &self,
        dy: &[T],
        (region, at): (&RowRegion, Outlier),
        pixels: &mut Pixels<T>,
        [i, j]: [usize; 2],
    ) -> T {
        let [_, [_, columns], _] = self.extents();
        let known = &mut pixels.outputs[i * columns + j];
        if *known < T::ZERO {
            *known =
                magnitude(self.kernels.tier, dy, self.output_place(region, at, [i, j]), self.to_channels);
        }
        *known
    }

    /// Calls `visit` for every output of a tile in a region that is out of proportion, with whether it reads zeros alone;
    /// `extremes` are those of the rows of inputs of its block.
    pub(in crate::conv) fn out_of_proportion(
        &self,
        source: &[T],
        (block, region, at): (&TileBlock, &RowRegion, Outlier),
        (limits, extremes): (Limits, &[Extremes<T>]),
        mut visit: impl FnMut([usize; 2], bool),
    ) {
        let [[_, columns], [out_rows, out_columns], [tap_rows, tap_columns]] = self.extents();
        let mut largest = T::ZERO;
        for tap in 0..self.direct_taps() {
            largest = largest.larger(extremes[self.input_row(block, at, tap)][0]);
        }
        // Sets of positions: what the first output reads, what was looked at, is not zero, and is large enough.
        let first = (0..tap_rows).fold(0u64, |all, r| all | ((1 << tap_columns) - 1) << (r * columns));
        let (mut seen, mut some, mut enough) = (0u64, 0u64, 0u64);
        for i in 0..out_rows {
            for j in 0..out_columns {
                let window = first << (i * columns + j);
                if window & enough != 0 || self.output_place(region, at, [i, j]) == NOWHERE {
                    continue;
                }
                // From the end on, which is nearest to the outputs that follow.
                let mut rest = window & !seen;
                while rest != 0 && window & enough == 0 {
                    let place = rest.ilog2() as usize;
                    rest &= !(1 << place);
                    seen |= 1 << place;
                    for tap in 0..self.direct_taps() {
                        let pixel = self.input_place(at, tap, [place / columns, place % columns]);
                        let own = magnitude(self.kernels.tier, source, pixel, self.from_channels);
                        some |= u64::from(own != T::ZERO) << place;
                        if limits.hold([largest, own]) {
                            enough |= 1 << place;
                            break;
                        }
                    }
                }
                if window & enough == 0 {
                    visit([i, j], window & some == 0);
                }
            }
        }
    }

    /// Whether what a tile adds to the gradient to the kernel is out of proportion at any tap; `extremes` are those of the rows
    /// of inputs and outputs of its block.
    pub(in crate::conv) fn is_out_of_proportion(
        &self,
        (x, dy): (&[T], &[T]),
        (block, region, at): (&TileBlock, &RowRegion, Outlier),
        (limits, [extremes, grads]): (Limits, [&[Extremes<T>]; 2]),
        pixels: &mut Pixels<T>,
    ) -> bool {
        self.look(pixels);
        let [[rows, columns], [out_rows, out_columns], [tap_rows, tap_columns]] = self.extents();
        let grad = grads[at.output_row(block)][0];
        let row_at = beside(rows, |i| self.height.source(at.row, i));
        (0..self.direct_taps()).any(|direct| {
            let largest = extremes[self.input_row(block, at, direct)][0];
            if !limits.bounds(largest) || !limits.bounds(grad) {
                return true;
            }
            // What the largest product at a tap has to reach: a quotient of powers of two is exact.
            let enough = largest.to_f64() * grad.to_f64() / (limits.ratio * limits.ratio);
            let part = direct % self.taps[1] * self.form.taps();
            let column_at = beside(columns, |j| self.width.source(at.column, part + j));
            for (r, s) in pairs(tap_rows, tap_columns) {
                let mut reached = enough <= 0.0;
                for n in 0..out_rows * out_columns {
                    if reached {
                        break;
                    }
                    // From the centre on.
                    let n = (n + (out_rows / 2) * out_columns + out_columns / 2) % (out_rows * out_columns);
                    let (i, j) = (n / out_columns, n % out_columns);
                    let grad = self.output(dy, (region, at), pixels, [i, j]);
                    reached = grad > T::ZERO && {
                        let x = self.input(x, at, pixels, direct, [row_at[i + r], column_at[j + s]]);
                        x.to_f64() * grad.to_f64() >= enough
                    };
                }
                if !reached {
                    return true;
                }
            }
            false
        })
    }

    /// Calls `visit` with every tap and the places of both operands for all products of a tile that are not zero; the tile is
    /// the one that was looked at last.
    pub(in crate::conv) fn products(
        &self,
        (x, dy): (&[T], &[T]),
        (region, at): (&RowRegion, Outlier),
        pixels: &mut Pixels<T>,
        mut visit: impl FnMut(usize, &[Offsets]),
    ) {
        let [_, [out_rows, out_columns], [tap_rows, tap_columns]] = self.extents();
        let mut batch = [Offsets { a: 0, b: 0 }; MOST_OUTPUTS];
        for direct in 0..self.direct_taps() {
            for (r, s) in pairs(tap_rows, tap_columns) {
                let mut count = 0;
                for (i, j) in pairs(out_rows, out_columns) {
                    let x = self.input(x, at, pixels, direct, [i + r, j + s]);
                    let dy = self.output(dy, (region, at), pixels, [i, j]);
                    let from = self.input_place(at, direct, [i + r, j + s]);
                    let to = self.output_place(region, at, [i, j]);
                    // Nothing times NaN is NaN.
                    if from != NOWHERE && to != NOWHERE && x.to_f64() * dy.to_f64() != 0.0 {
                        batch[count] = Offsets { a: from, b: to };
                        count += 1;
                    }
                }
                if count > 0 {
                    visit((direct * tap_rows + r) * tap_columns + s, &batch[..count]);
                }
            }
        }
    }
}

impl Outlier {
    /// Row of points of its outputs.
    pub fn output_row(self, block: &TileBlock) -> usize {
        self.plane * block.tiles() + self.tile
    }
}
