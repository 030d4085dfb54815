//! Outputs: tiles of one row, and of several rows that share what they read.

use std::ops::Range;

use super::{AHEAD, Block, LaneWork, ROW, load, repeated, store};
use crate::kernels::lanes::Lanes;
use crate::kernels::window::{Tap, WindowRun};
use crate::tuning::LINE_BYTES;

/// Columns of a tile of several rows. With three rows that is enough chains; fewer lines are touched at a time than by
/// a longer tile, which in L1 would displace each other where rows lie a multiple of its size apart.
const COLUMNS: usize = 3;

/// A checked [`LaneWork::Map`].
pub(super) struct Map<'a, L: Lanes, const K: usize> {
    run: &'a WindowRun<'a>,
    x: *const L::Elem,
    w: *const L::Elem,
    y: *mut L::Elem,
    y_stride: usize,
    bias: Option<*const L::Elem>,
    relu: bool,
    non_temporal: bool,
    orders: [L::Permutation; K],
}

impl<'a, L: Lanes, const K: usize> Map<'a, L, K> {
    #[inline(always)]
    pub(super) fn new(
        run: &'a WindowRun<'a>,
        work: &mut LaneWork<'_, L::Elem>,
        orders: [L::Permutation; K],
    ) -> Self {
        let LaneWork::Map { x, w, y, y_stride, bias, relu, non_temporal, block, .. } = work else {
            unreachable!("the caller has looked")
        };
        // Stores past the cache write whole registers at their own alignment.
        let bytes = L::WIDTH * size_of::<L::Elem>();
        let y_row_stride = block.as_ref().map_or(0, |block| block.y_row_stride);
        let steps = [*y_stride, y_row_stride].iter().all(|step| step.is_multiple_of(L::WIDTH));
        let aligned = (y.as_ptr() as usize).is_multiple_of(bytes) && steps;
        // And whole lines at once, of which a block with short vectors would write a half.
        let whole = block.is_none() || bytes >= LINE_BYTES;
        Self {
            run,
            x: x.as_ptr(),
            w: w.as_ptr(),
            y: y.as_mut_ptr(),
            y_stride: *y_stride,
            bias: bias.map(<[L::Elem]>::as_ptr),
            relu: *relu,
            non_temporal: *non_temporal && aligned && whole,
            orders,
        }
    }

    /// All outputs of some channels in tiles of `N`; what is left over, one by one.
    ///
    /// # Safety
    /// As [`Lanes`]; the channels lie inside the run, whole tiles of `V` vectors or less than one.
    #[inline(always)]
    pub(super) unsafe fn columns<const FULL: bool, const V: usize, const N: usize>(
        &self,
        channels: Range<usize>,
    ) {
        let tiles = if channels.is_empty() { 0 } else { self.run.count / N };
        let singles = if channels.is_empty() { 0..0 } else { tiles * N..self.run.count };
        // SAFETY: as the caller's.
        unsafe {
            for tile in 0..tiles {
                for c in channels.clone().step_by(V * L::WIDTH) {
                    self.outputs::<FULL, V, N>(tile * N, c, channels.end - c);
                }
            }
            for first in singles {
                for c in channels.clone().step_by(V * L::WIDTH) {
                    self.outputs::<FULL, V, 1>(first, c, channels.end - c);
                }
            }
        }
    }

    /// One tile: `N` outputs from `first` on, channels from `c` on, `n` of them if not `FULL`.
    ///
    /// # Safety
    /// As [`Lanes`]; the tile lies inside the run.
    #[inline(always)]
    unsafe fn outputs<const FULL: bool, const V: usize, const N: usize>(
        &self,
        first: usize,
        c: usize,
        n: usize,
    ) {
        let Self { run, y_stride, .. } = *self;
        debug_assert!(first + N <= run.count && c + if FULL { V * L::WIDTH } else { n } <= run.channels);
        // SAFETY: as the caller's.
        unsafe {
            let mask = L::mask(if FULL { L::WIDTH } else { n });
            let mut sums = [[L::zero(); V]; N];
            if let Some(bias) = self.bias {
                for v in 0..V {
                    let start = load::<L, FULL>(bias.add(c + v * L::WIDTH), mask);
                    for sums in &mut sums {
                        sums[v] = start;
                    }
                }
            }
            // Wrapping, because without taps the operands may be empty.
            let x = self.x.wrapping_add(first * run.step + c);
            if let (true, Some(last)) = (self.non_temporal, run.taps.last()) {
                // The last tap is the first to come upon elements that no other has read.
                for o in 0..N {
                    for v in 0..V {
                        L::prefetch(x.wrapping_add(last.at + (o + AHEAD) * run.step + v * L::WIDTH));
                    }
                }
            }
            let mut taps = run.taps;
            while let Some((tap, rest)) = taps.split_first() {
                let next = |i: usize| rest.get(i).is_some_and(|t| t.at == tap.at + (i + 1) * run.step);
                // Eight channels of three taps would not leave registers for the sums, nor four if a vector is two of them.
                if const { K <= if L::FEW > 1 { 2 } else { 4 } } && next(0) && next(1) {
                    self.add::<FULL, V, N, ROW>(&taps[..ROW], x, c, mask, &mut sums);
                    taps = &taps[ROW..];
                } else {
                    self.add::<FULL, V, N, 1>(&taps[..1], x, c, mask, &mut sums);
                    taps = rest;
                }
            }
            let y = self.y.add(first * y_stride + c);
            for (o, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    let value = if self.relu { L::relu(*sum) } else { *sum };
                    let y = y.add(o * y_stride + v * L::WIDTH);
                    if FULL && self.non_temporal {
                        L::stream(y, value);
                    } else {
                        store::<L, FULL>(y, mask, value);
                    }
                }
            }
        }
    }

    /// Adds `TAPS` taps that lie one step apart, so that each element is read once. An output adds them in order.
    ///
    /// # Safety
    /// As [`Map::outputs`].
    #[inline(always)]
    unsafe fn add<const FULL: bool, const V: usize, const N: usize, const TAPS: usize>(
        &self,
        taps: &[Tap],
        x: *const L::Elem,
        c: usize,
        mask: L::TailMask,
        sums: &mut [[L::V; V]; N],
    ) {
        let channels = self.run.channels;
        // SAFETY: as the caller's.
        unsafe {
            for v in 0..V {
                let mut weights = [[L::zero(); K]; TAPS];
                for (weights, tap) in weights.iter_mut().zip(taps) {
                    for (r, weight) in weights.iter_mut().enumerate() {
                        let row = self.w.add((tap.number * K + r) * channels + c + v * L::WIDTH);
                        *weight = load::<L, FULL>(row, mask);
                    }
                }
                let x = x.add(taps[0].at + v * L::WIDTH);
                for position in 0..N + TAPS - 1 {
                    let here = load::<L, FULL>(x.add(position * self.run.step), mask);
                    for r in 0..K {
                        let value = repeated::<L, K>(here, r, &self.orders);
                        for tap in 0..TAPS {
                            if position >= tap && position - tap < N {
                                let sum = &mut sums[position - tap][v];
                                *sum = L::mul_add(value, weights[tap][r], *sum);
                            }
                        }
                    }
                }
            }
        }
    }

    /// All outputs of `R` rows; the first `whole` channels fill vectors.
    ///
    /// # Safety
    /// As [`Lanes`]; the block was checked with the work and has `R` rows.
    #[inline(always)]
    pub(super) unsafe fn rows<const R: usize>(&self, block: &Block, whole: usize) {
        let rest = self.run.channels - whole;
        let tiles = self.run.count / COLUMNS;
        // SAFETY: as the caller's; tiles and vectors stay inside the run.
        unsafe {
            for tile in 0..tiles {
                for c in (0..whole).step_by(L::WIDTH) {
                    self.tile::<true, R, COLUMNS>(block, tile * COLUMNS, c, L::WIDTH);
                }
                if rest > 0 {
                    self.tile::<false, R, COLUMNS>(block, tile * COLUMNS, whole, rest);
                }
            }
            for first in tiles * COLUMNS..self.run.count {
                for c in (0..whole).step_by(L::WIDTH) {
                    self.tile::<true, R, 1>(block, first, c, L::WIDTH);
                }
                if rest > 0 {
                    self.tile::<false, R, 1>(block, first, whole, rest);
                }
            }
        }
    }

    /// Adds what the outputs of a tile read in one row of the source, if that is inside.
    ///
    /// # Safety
    /// As [`Map::tile`]; `x` is what the first tap of the first output reads.
    #[inline(always)]
    unsafe fn source<const FULL: bool, const R: usize, const N: usize>(
        &self,
        block: &Block,
        source: usize,
        x: *const L::Elem,
        mask: L::TailMask,
        weights: &[[L::V; ROW]; ROW],
        sums: &mut [[L::V; N]; R],
    ) {
        let step = self.run.step;
        let Some(inside) = block.inside(source) else { return };
        // SAFETY: as the caller's.
        unsafe {
            let x = x.add(inside * block.x_row_stride);
            if self.non_temporal && source >= ROW - 1 {
                // The rows that the next block is the first to read.
                for o in 0..N {
                    L::prefetch(x.wrapping_add(R * block.x_row_stride + o * step));
                }
            }
            for position in 0..N + ROW - 1 {
                let here = load::<L, FULL>(x.add(position * step), mask);
                for row in 0..R {
                    for tap in 0..ROW {
                        let line = source.wrapping_sub(row);
                        if line < ROW && position >= tap && position - tap < N {
                            let sum = &mut sums[row][position - tap];
                            *sum = L::mul_add(here, weights[line][tap], *sum);
                        }
                    }
                }
            }
        }
    }

    /// `N` outputs of each of `R` rows from `first` on, channels from `c` on, `n` of them if not `FULL`.
    ///
    /// # Safety
    /// As [`Map::rows`]; the tile lies inside the run.
    #[inline(always)]
    unsafe fn tile<const FULL: bool, const R: usize, const N: usize>(
        &self,
        block: &Block,
        first: usize,
        c: usize,
        n: usize,
    ) {
        let Self { run, y_stride, .. } = *self;
        debug_assert!(first + N <= run.count && c + if FULL { L::WIDTH } else { n } <= run.channels);
        // SAFETY: as the caller's.
        unsafe {
            let mask = L::mask(if FULL { L::WIDTH } else { n });
            let start = self.bias.map_or(L::zero(), |bias| load::<L, FULL>(bias.add(c), mask));
            let mut sums = [[start; N]; R];
            for plane in run.taps.chunks_exact(ROW * ROW) {
                let mut weights = [[L::zero(); ROW]; ROW];
                for line in 0..ROW {
                    for tap in 0..ROW {
                        let weight = plane[line * ROW + tap].number * run.channels + c;
                        weights[line][tap] = load::<L, FULL>(self.w.add(weight), mask);
                    }
                }
                let x = self.x.add(plane[0].at + first * run.step + c);
                each_source!(L, R, |source| self
                    .source::<FULL, R, N>(block, source, x, mask, &weights, &mut sums));
            }
            let y = self.y.add(first * y_stride + c);
            for row in 0..R {
                for o in 0..N {
                    let value = if self.relu { L::relu(sums[row][o]) } else { sums[row][o] };
                    let y = y.add(row * block.y_row_stride + o * y_stride);
                    if FULL && self.non_temporal {
                        L::stream(y, value);
                    } else {
                        store::<L, FULL>(y, mask, value);
                    }
                }
            }
        }
    }
}
