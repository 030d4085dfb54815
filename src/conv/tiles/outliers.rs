//! Tiles whose values are out of proportion, for which a transform would cost accuracy.
//!
//! A result of Winograd's algorithm errs in proportion to the largest value of its tile, also where it does not read that
//! value. So it is computed directly if the largest value is more than [`Limits::ratio`] times that of what the result
//! reads, or so large that the points could overflow; the gradient to the kernel likewise, with products of inputs and
//! gradients of outputs instead of values. Magnitudes are the largest over all channels, which is exact in any order: the
//! rule depends on the tile alone and is the same for every tier, thread and batch.
//!
//! While a tile is transformed, its largest magnitude and those of a few positions in its centre are noted. Where the
//! latter are large enough, all results of the tile are in proportion; the others are looked at here, position by position.

use super::{Area, Grid, Item, MOST_OUTPUTS, NOWHERE, Offsets, POINTS};
use crate::kernels::winograd::{MOST_POINTS, Note};
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
    pub fn correlation<T: Element>() -> Self {
        Self { ratio: 64.0, most: if T::NAME == f32::NAME { 2f64.powi(64) } else { 2f64.powi(512) } }
    }

    /// Of each operand of the gradient to the kernel; the products may be the square of the ratio apart.
    pub fn kernel_grad<T: Element>() -> Self {
        Self { ratio: 8.0, most: if T::NAME == f32::NAME { 2f64.powi(48) } else { 2f64.powi(384) } }
    }

    /// Whether all results of a tile are in proportion for certain.
    pub fn hold<T: Element>(self, [largest, centre]: Note<T>) -> bool {
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
    block: usize,
    depth: usize,
    row: usize,
    column: usize,
    /// Its number in the item, and that of its plane.
    tile: usize,
    plane: usize,
}

/// The largest magnitudes over the channels of the positions of a tile.
#[derive(Debug, Default)]
pub(in crate::conv) struct Pixels<T> {
    inputs: Vec<T>,
    outputs: Vec<T>,
}

impl<T: Element> Pixels<T> {
    /// Makes room for tiles with so many taps that are summed up directly.
    pub fn reserve(&mut self, direct_taps: usize) {
        self.inputs.reserve((direct_taps * MOST_POINTS).saturating_sub(self.inputs.len()));
        self.outputs.reserve(MOST_OUTPUTS.saturating_sub(self.outputs.len()));
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
        rest.iter().chain(&lanes).fold(T::ZERO, |best, value| best.larger(*value))
    }
}

/// The largest magnitude of the channels at a place, zero if it is nowhere.
fn magnitude<T: Element>(tier: Tier, values: &[T], place: usize, channels: usize) -> T {
    if place == NOWHERE { T::ZERO } else { tier.vectorize(Largest(&values[place..place + channels])) }
}

impl<T: Element> Grid<T> {
    /// Calls `visit` for every tile of an item that is not in proportion for certain; `notes` are those of the rows of its
    /// inputs, `grads` those of gradients of its outputs, if there are any.
    pub(in crate::conv) fn suspects(
        &self,
        item: &Item,
        limits: Limits,
        (notes, grads): (&[Note<T>], &[Note<T>]),
        mut visit: impl FnMut(Outlier),
    ) {
        if notes.iter().chain(grads).all(|note| limits.hold(*note)) {
            return;
        }
        for stretch in item.stretches() {
            for (i, column) in stretch.columns.clone().enumerate() {
                for plane in 0..item.depths() {
                    let tile = stretch.first + i;
                    let outlier = Outlier {
                        sample: stretch.sample,
                        block: item.block,
                        depth: item.depths.start + plane,
                        row: stretch.row,
                        column,
                        tile,
                        plane,
                    };
                    let inputs = (0..self.direct_taps()).map(|tap| notes[self.input_row(item, outlier, tap)]);
                    let own = grads.get(outlier.output_row(item)).copied();
                    if !inputs.chain(own).all(|note| limits.hold(note)) {
                        visit(outlier);
                    }
                }
            }
        }
    }

    /// Row of points that a tile reads for a direct tap.
    pub(in crate::conv) fn input_row(&self, item: &Item, at: Outlier, tap: usize) -> usize {
        self.tap_row(tap, item) + at.plane * item.tiles() + at.tile
    }

    /// Positions of a tile of inputs along height and width, of one of outputs, and taps along both.
    fn extents(&self) -> [[usize; 2]; 3] {
        let both = |n: usize| [if self.form.is_square() { n } else { 1 }, n];
        [both(POINTS), both(self.form.outputs()), both(self.form.taps())]
    }

    /// Where a tile reads for a direct tap, in row `i` and column `j` of its inputs.
    pub(in crate::conv) fn input_place(&self, at: Outlier, tap: usize, [i, j]: [usize; 2]) -> usize {
        let (plane, part) = (tap / self.taps[1], tap % self.taps[1]);
        let plane = self.depth.source(at.block, at.depth + plane);
        let (y, x) = (self.height.source(at.row, i), part * self.form.taps() + j);
        self.pixel(at.sample, [plane, y, self.width.source(at.column, x)])
    }

    /// Where an output of a tile is in a tensor that holds an area.
    pub(in crate::conv) fn output_place(&self, area: &Area, at: Outlier, [i, j]: [usize; 2]) -> usize {
        let depth = self.depth.position(at.block, at.depth);
        let row = if self.form.is_square() {
            self.height.position(at.row, i)
        } else {
            self.height.position(at.row, 0)
        };
        self.result(area, at.sample, [depth, row, self.width.position(at.column, j)])
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

    /// Looks at the inputs of a tile.
    fn look(&self, source: &[T], at: Outlier, pixels: &mut Pixels<T>) {
        let [[_, columns], _, _] = self.extents();
        let points = self.form.points();
        pixels.inputs.clear();
        pixels.inputs.extend((0..self.direct_taps() * points).map(|n| {
            let place = self.input_place(at, n / points, [n % points / columns, n % columns]);
            magnitude(self.kernels.tier, source, place, self.from_channels)
        }));
    }

    /// Calls `visit` for every output of a tile in an area that is out of proportion, with whether it reads zeros alone.
    pub(in crate::conv) fn out_of_proportion(
        &self,
        source: &[T],
        (area, at): (&Area, Outlier),
        limits: Limits,
        pixels: &mut Pixels<T>,
        mut visit: impl FnMut([usize; 2], bool),
    ) {
        self.look(source, at, pixels);
        let [[_, columns], [out_rows, out_columns], [tap_rows, tap_columns]] = self.extents();
        let (points, larger) = (self.form.points(), |best: T, value: &T| best.larger(*value));
        let largest = pixels.inputs.iter().fold(T::ZERO, larger);
        for (i, j) in (0..out_rows).flat_map(|i| (0..out_columns).map(move |j| (i, j))) {
            if self.output_place(area, at, [i, j]) == NOWHERE {
                continue;
            }
            let mut own = T::ZERO;
            for tile in pixels.inputs.chunks_exact(points) {
                for row in tile.chunks_exact(columns).skip(i).take(tap_rows) {
                    own = row[j..j + tap_columns].iter().fold(own, larger);
                }
            }
            if !limits.hold([largest, own]) {
                visit([i, j], own == T::ZERO);
            }
        }
    }

    /// Whether what a tile adds to the gradient to the kernel is out of proportion at any tap; the places of both operands
    /// are looked at.
    pub(in crate::conv) fn is_out_of_proportion(
        &self,
        (x, dy): (&[T], &[T]),
        (area, at): (&Area, Outlier),
        limits: Limits,
        pixels: &mut Pixels<T>,
    ) -> bool {
        self.look(x, at, pixels);
        let [[_, columns], [out_rows, out_columns], [tap_rows, tap_columns]] = self.extents();
        let (outputs, points) = (out_rows * out_columns, self.form.points());
        pixels.outputs.clear();
        pixels.outputs.extend((0..outputs).map(|n| {
            let place = self.output_place(area, at, [n / out_columns, n % out_columns]);
            magnitude(self.kernels.tier, dy, place, self.to_channels)
        }));
        let larger = |best: T, value: &T| best.larger(*value);
        let grad = pixels.outputs.iter().fold(T::ZERO, larger);
        pixels.inputs.chunks_exact(points).any(|tile| {
            let largest = tile.iter().fold(T::ZERO, larger);
            if !limits.bounds(largest) || !limits.bounds(grad) {
                return true;
            }
            let most = largest.to_f64() * grad.to_f64();
            (0..tap_rows * tap_columns).any(|tap| {
                let (r, s) = (tap / tap_columns, tap % tap_columns);
                let product = |(n, grad): (usize, &T)| {
                    let place = (n / out_columns + r) * columns + n % out_columns + s;
                    tile[place].to_f64() * grad.to_f64()
                };
                let own = pixels.outputs.iter().enumerate().map(product).fold(0.0, f64::max);
                most > limits.ratio * limits.ratio * own
            })
        })
    }

    /// Calls `visit` with every tap and the places of both operands for all products of a tile that are not zero; the tile is
    /// the one that was looked at last.
    pub(in crate::conv) fn products(
        &self,
        (area, at): (&Area, Outlier),
        pixels: &Pixels<T>,
        mut visit: impl FnMut(usize, &[Offsets]),
    ) {
        let [[_, columns], [out_rows, out_columns], [tap_rows, tap_columns]] = self.extents();
        let points = self.form.points();
        let mut batch = [Offsets { a: 0, b: 0 }; MOST_OUTPUTS];
        for (direct, tile) in pixels.inputs.chunks_exact(points).enumerate() {
            for (r, s) in (0..tap_rows).flat_map(|r| (0..tap_columns).map(move |s| (r, s))) {
                let mut count = 0;
                for (i, j) in (0..out_rows).flat_map(|i| (0..out_columns).map(move |j| (i, j))) {
                    let (x, dy) = (tile[(i + r) * columns + j + s], pixels.outputs[i * out_columns + j]);
                    let from = self.input_place(at, direct, [i + r, j + s]);
                    let to = self.output_place(area, at, [i, j]);
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
    pub fn output_row(self, item: &Item) -> usize {
        self.plane * item.tiles() + self.tile
    }
}
