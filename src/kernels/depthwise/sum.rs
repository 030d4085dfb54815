//! Gradients of the weights: sums over the positions of one row, or of several that share what they read.

use std::ops::Range;

use super::{AHEAD, Block, ROW, load, repeated, store};
use crate::kernels::lanes::Lanes;
use crate::kernels::window::{Tap, WindowRun};

/// Positions of each row of a block that are visited together.
const TOGETHER: usize = 2;
/// Positions of one row that share what they repeat.
const SHARED: usize = 4;

/// A part of a checked [`LaneWork::Sum`]: some taps, `count` positions from those that `x` and `dy` point to.
pub(super) struct Sum<'a, L: Lanes, const K: usize> {
    pub(super) run: &'a WindowRun<'a>,
    pub(super) taps: &'a [Tap],
    pub(super) count: usize,
    pub(super) x: *const L::Elem,
    pub(super) dy: *const L::Elem,
    pub(super) dw: *mut L::Elem,
    pub(super) orders: [L::Permutation; K],
    pub(super) ahead: bool,
}

impl<L: Lanes, const K: usize> Sum<'_, L, K> {
    /// All channels of the next `N` taps; the first `whole` fill vectors.
    ///
    /// # Safety
    /// As [`Lanes`]; `N` taps are there.
    #[inline(always)]
    pub(super) unsafe fn chunk<const N: usize>(&mut self, whole: usize) {
        let rest = self.run.channels - whole;
        // SAFETY: as the caller's.
        unsafe {
            for c in (0..whole).step_by(L::WIDTH) {
                self.sums::<true, N>(c, L::WIDTH);
            }
            if rest > 0 {
                self.sums::<false, N>(whole, rest);
            }
        }
        self.taps = &self.taps[N..];
        // The next taps read what is there already.
        self.ahead = false;
    }

    /// The sums of `N` taps.
    ///
    /// # Safety
    /// As [`Sum::chunk`].
    #[inline(always)]
    unsafe fn sums<const FULL: bool, const N: usize>(&self, c: usize, n: usize) {
        let (channels, step) = (self.run.channels, self.run.step);
        debug_assert!(self.taps.len() >= N && c + n <= channels && (!FULL || n == L::WIDTH));
        // SAFETY: as the caller's.
        unsafe {
            let mask = L::mask(n);
            let (x, dy, dw) = (self.x.add(c), self.dy.add(c), self.dw.add(c));
            let mut at = [0; N];
            let mut sums = [[L::zero(); K]; N];
            for ((at, sums), tap) in at.iter_mut().zip(&mut sums).zip(self.taps) {
                *at = tap.at;
                for (r, sum) in sums.iter_mut().enumerate() {
                    *sum = load::<L, FULL>(dw.add((tap.number * K + r) * channels), mask);
                }
            }
            let mut o = 0;
            // Where taps are neighbours, what one repeats another repeats again a position later.
            if K > 1 && N == ROW && (1..N).all(|i| at[i] == at[0] + i * step) {
                while o + SHARED <= self.count {
                    self.ask_ahead(o..o + SHARED, c);
                    let (x, dy) = (x.add(at[0] + o * step), dy.add(o * channels));
                    self.shared::<FULL, N>(x, dy, mask, &mut sums);
                    o += SHARED;
                }
            }
            for o in o..self.count {
                self.ask_ahead(o..o + 1, c);
                let flow = load::<L, FULL>(dy.add(o * channels), mask);
                for (sums, at) in sums.iter_mut().zip(at) {
                    let here = load::<L, FULL>(x.add(at + o * step), mask);
                    for r in 0..K {
                        sums[r] = L::mul_add(repeated::<L, K>(here, r, &self.orders), flow, sums[r]);
                    }
                }
            }
            for (sums, tap) in sums.iter().zip(self.taps) {
                for (r, sum) in sums.iter().enumerate() {
                    store::<L, FULL>(dw.add((tap.number * K + r) * channels), mask, *sum);
                }
            }
        }
    }

    /// Asks for what some positions further on read, if that comes from beyond the cache.
    ///
    /// # Safety
    /// As [`Lanes`].
    #[inline(always)]
    unsafe fn ask_ahead(&self, positions: Range<usize>, c: usize) {
        let WindowRun { taps, step, channels, .. } = *self.run;
        if !self.ahead {
            return;
        }
        let last = taps[taps.len() - 1].at + c;
        for o in positions {
            // SAFETY: as the caller's; any address will do.
            unsafe {
                L::prefetch(self.x.wrapping_add(last + (o + AHEAD) * step));
                L::prefetch(self.dy.wrapping_add((o + AHEAD) * channels + c));
            }
        }
    }

    /// Adds [`SHARED`] positions to the sums of `N` taps that lie one step apart; each element is read, and its lanes are
    /// repeated, once. A sum adds positions in order.
    ///
    /// # Safety
    /// As [`Sum::chunk`]; `x` is what the first tap of the first position reads.
    #[inline(always)]
    unsafe fn shared<const FULL: bool, const N: usize>(
        &self,
        x: *const L::Elem,
        dy: *const L::Elem,
        mask: L::TailMask,
        sums: &mut [[L::V; K]; N],
    ) {
        // SAFETY: as the caller's.
        unsafe {
            let mut flows = [L::zero(); SHARED];
            for (i, flow) in flows.iter_mut().enumerate() {
                *flow = load::<L, FULL>(dy.add(i * self.run.channels), mask);
            }
            for position in 0..SHARED + N - 1 {
                let here = load::<L, FULL>(x.add(position * self.run.step), mask);
                for r in 0..K {
                    let value = repeated::<L, K>(here, r, &self.orders);
                    for tap in 0..N {
                        if position >= tap && position - tap < SHARED {
                            sums[tap][r] = L::mul_add(value, flows[position - tap], sums[tap][r]);
                        }
                    }
                }
            }
        }
    }

    /// All channels of the three lines of three taps of a block of `R` rows; the first `whole` fill vectors.
    ///
    /// A weight adds up [`TOGETHER`] columns of the block at a time, row by row: an order that the shape alone decides.
    /// Its sum stays in a register for the whole run.
    ///
    /// # Safety
    /// As [`Lanes`]; the block was checked with the work and has `R` rows.
    #[inline(always)]
    pub(super) unsafe fn rows<const R: usize>(&self, block: &Block, whole: usize) {
        let rest = self.run.channels - whole;
        for plane in self.run.taps.chunks_exact(ROW * ROW) {
            // SAFETY: as the caller's.
            unsafe {
                for c in (0..whole).step_by(L::WIDTH) {
                    self.planes::<true, R>(block, plane, 0..self.count, c, L::WIDTH);
                }
                if rest > 0 {
                    self.planes::<false, R>(block, plane, 0..self.count, whole, rest);
                }
            }
        }
    }

    /// The nine sums of a plane of taps over some columns of the block.
    ///
    /// # Safety
    /// As [`Sum::rows`].
    #[inline(always)]
    unsafe fn planes<const FULL: bool, const R: usize>(
        &self,
        block: &Block,
        plane: &[Tap],
        columns: Range<usize>,
        c: usize,
        n: usize,
    ) {
        debug_assert!(columns.end <= self.count && c + n <= self.run.channels && (!FULL || n == L::WIDTH));
        // SAFETY: as the caller's.
        unsafe {
            let mask = L::mask(n);
            let mut sums = [[L::zero(); ROW]; ROW];
            // Loops of known length, so that the sums are registers.
            for line in 0..ROW {
                for tap in 0..ROW {
                    let weight = plane[line * ROW + tap].number * self.run.channels + c;
                    sums[line][tap] = load::<L, FULL>(self.dw.add(weight), mask);
                }
            }
            let mut first = columns.start;
            while first + TOGETHER <= columns.end {
                self.positions::<FULL, R, TOGETHER>(block, plane[0].at, first, c, mask, &mut sums);
                first += TOGETHER;
            }
            while first < columns.end {
                self.positions::<FULL, R, 1>(block, plane[0].at, first, c, mask, &mut sums);
                first += 1;
            }
            for line in 0..ROW {
                for tap in 0..ROW {
                    let weight = plane[line * ROW + tap].number * self.run.channels + c;
                    store::<L, FULL>(self.dw.add(weight), mask, sums[line][tap]);
                }
            }
        }
    }

    /// Adds `P` columns of the block, from `first` on, to nine sums.
    ///
    /// # Safety
    /// As [`Sum::rows`]; `at` is the offset of the first tap.
    #[inline(always)]
    unsafe fn positions<const FULL: bool, const R: usize, const P: usize>(
        &self,
        block: &Block,
        at: usize,
        first: usize,
        c: usize,
        mask: L::TailMask,
        sums: &mut [[L::V; ROW]; ROW],
    ) {
        let WindowRun { step, channels, .. } = *self.run;
        // SAFETY: as the caller's.
        unsafe {
            let (x, dy) = (self.x.add(at), self.dy);
            if self.ahead {
                // The rows of the next block, line after line as the memory likes them, into the cache behind L1.
                let x = x.wrapping_add((R + ROW - 1 - block.sources.start) * block.x_row_stride);
                let dy = dy.wrapping_add(R * block.y_row_stride);
                for i in 0..R * P {
                    let line = (c * self.count + first * L::WIDTH) * R + i * L::WIDTH;
                    L::prefetch_far(x.wrapping_add(line));
                    L::prefetch_far(dy.wrapping_add(line));
                }
            }
            let mut flows = [[L::zero(); P]; R];
            for row in 0..R {
                for p in 0..P {
                    let dy = dy.add(row * block.y_row_stride + (first + p) * channels + c);
                    flows[row][p] = load::<L, FULL>(dy, mask);
                }
            }
            let x = x.add(first * step + c);
            each_source!(L, R, |source| self.source::<FULL, R, P>(block, source, x, mask, &flows, sums));
        }
    }

    /// Adds what the taps read in one row of the source, if that is inside, to nine sums.
    ///
    /// # Safety
    /// As [`Sum::positions`]; `x` is what the first tap reads for the first position.
    #[inline(always)]
    unsafe fn source<const FULL: bool, const R: usize, const P: usize>(
        &self,
        block: &Block,
        source: usize,
        x: *const L::Elem,
        mask: L::TailMask,
        flows: &[[L::V; P]; R],
        sums: &mut [[L::V; ROW]; ROW],
    ) {
        let step = self.run.step;
        let Some(inside) = block.inside(source) else { return };
        // SAFETY: as the caller's.
        unsafe {
            let x = x.add(inside * block.x_row_stride);
            for position in 0..P + ROW - 1 {
                let here = load::<L, FULL>(x.add(position * step), mask);
                for row in 0..R {
                    for tap in 0..ROW {
                        let line = source.wrapping_sub(row);
                        if line < ROW && position >= tap && position - tap < P {
                            let sum = &mut sums[line][tap];
                            *sum = L::mul_add(here, flows[row][position - tap], *sum);
                        }
                    }
                }
            }
        }
    }
}
