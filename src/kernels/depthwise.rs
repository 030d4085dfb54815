//! Sums of products in which channels mix within small groups at most: channels are in the lanes, a weight is a vector
//! of its own.
//!
//! Forward, a tile of neighbouring outputs shares each weight vector, and neighbouring taps share what they read. To
//! the weights, the sums of several taps stay in registers while the positions of a run go by. In groups of `k` channels
//! to `k`, output lane `c` sums the lanes of its group: for each of them a vector of inputs whose lanes are repeated in
//! the register. Every element is one chain of multiply-adds, over taps and channels or over positions, whatever the tile.

use std::ops::Range;

use super::lanes::{Element, Lanes};
use super::window::{Tap, WindowRun};

/// Outputs of a tile of one vector: as many chains as hide the latency of two multiply-add units.
const TILE: usize = 8;
/// Outputs of a tile of several vectors.
const SMALL_TILE: usize = 4;
/// Taps next to each other that share what they read.
const ROW: usize = 3;
/// Positions between two visits to the sums in memory; what a channel vector reads in them stays in L1.
const POSITIONS: usize = 32;
/// Positions that are asked for ahead where operands come from beyond the cache.
const AHEAD: usize = 32;

/// What a run of outputs does. `k` channels of every group of `k` mix: weights have `k` rows of channels per tap, the
/// row `tap.number * k + r` for channel `r` of the groups. `k` is 1, 2, 4 or 8 and divides the width of a vector.
#[derive(Debug)]
pub enum LaneWork<'a, T> {
    /// `y[o, c] = start[c] + sum over taps and r of x[tap.at + o * step + group of c + r] * w[tap.number * k + r, c]`
    Map {
        /// Input.
        x: &'a [T],
        /// Weights.
        w: &'a [T],
        /// Output.
        y: &'a mut [T],
        /// Distance of the outputs.
        y_step: usize,
        /// What the sums start from, unless that is zero.
        bias: Option<&'a [T]>,
        /// Whether negative results become zero.
        relu: bool,
        /// Channels of a group.
        k: usize,
        /// Whether operand and result are larger than the cache: the stores go past it where they are aligned.
        past_cache: bool,
    },
    /// `dw[tap.number * k + r, c] += sum over o of x[tap.at + o * step + group of c + r] * dy[o, c]`
    Sum {
        /// Input.
        x: &'a [T],
        /// Gradient of the output of the run.
        dy: &'a [T],
        /// Gradient of the weights.
        dw: &'a mut [T],
        /// Channels of a group.
        k: usize,
        /// Whether the operands are larger than the cache.
        past_cache: bool,
    },
}

impl<T: Element> LaneWork<'_, T> {
    /// Panics unless every element that the run touches lies inside its slice.
    pub(super) fn check(&self, run: &WindowRun<'_>, width: usize) {
        let channels = run.channels;
        let last = |n: usize, step: usize| {
            let start = n.saturating_sub(1).checked_mul(step).expect("size overflow");
            start.checked_add(channels).expect("size overflow")
        };
        assert!(run.count > 0 && channels > 0, "empty run");
        let (x, weights, k) = match self {
            Self::Map { x, w, y, y_step, bias, k, .. } => {
                assert!(*y_step >= channels && last(run.count, *y_step) <= y.len(), "outputs");
                assert!(bias.is_none_or(|bias| bias.len() == channels), "bias");
                (x.len(), w.len(), *k)
            }
            Self::Sum { x, dy, dw, k, .. } => {
                assert!(last(run.count, channels) <= dy.len(), "outputs");
                (x.len(), dw.len(), *k)
            }
        };
        let reach = last(run.count, run.step);
        assert!(run.taps.iter().all(|tap| tap.at <= x && reach <= x - tap.at), "a tap leaves the input");
        assert!(
            matches!(k, 1 | 2 | 4 | 8) && width.is_multiple_of(k) && channels.is_multiple_of(k),
            "groups"
        );
        let rows = weights / channels / k;
        assert!(run.taps.iter().all(|tap| tap.number < rows), "a tap without weights");
    }
}

/// The body that every tier's entry calls. `V` vectors of channels make a tile where there are so many; the sums of
/// weights take one.
///
/// # Safety
/// As [`Lanes`]; the work passed [`LaneWork::check`].
#[inline(always)]
pub(super) unsafe fn lane_work<L: Lanes, const V: usize>(
    run: &WindowRun<'_>,
    work: &mut LaneWork<'_, L::Elem>,
) {
    let k = match work {
        LaneWork::Map { k, .. } | LaneWork::Sum { k, .. } => *k,
    };
    // SAFETY: as the caller's.
    unsafe {
        match k {
            1 => all::<L, V, 1, 9>(run, work),
            2 => all::<L, 1, 2, 3>(run, work),
            4 => all::<L, 1, 4, 3>(run, work),
            _ => all::<L, 1, 8, 1>(run, work),
        }
    }
}

/// The whole work in groups of `K` channels. To the weights, the sums of `TAPS` taps stay in registers.
///
/// # Safety
/// As [`lane_work`].
#[inline(always)]
unsafe fn all<L: Lanes, const V: usize, const K: usize, const TAPS: usize>(
    run: &WindowRun<'_>,
    work: &mut LaneWork<'_, L::Elem>,
) {
    let whole = run.channels - run.channels % L::WIDTH;
    let wide = if V == 1 { 0 } else { run.channels - run.channels % (V * L::WIDTH) };
    // SAFETY: as the caller's; tiles, chunks and vectors stay inside the run.
    unsafe {
        let mut orders = [L::order(K, 0); K];
        for (r, order) in orders.iter_mut().enumerate() {
            *order = L::order(K, r);
        }
        match work {
            LaneWork::Map { .. } => {
                let map = Map::<L, K>::new(run, work, orders);
                map.columns::<true, V, SMALL_TILE>(0..wide);
                if K > 4 {
                    map.columns::<true, 1, SMALL_TILE>(wide..whole);
                } else {
                    map.columns::<true, 1, TILE>(wide..whole);
                }
                map.columns::<false, 1, SMALL_TILE>(whole..run.channels);
                if map.past_cache {
                    L::fence();
                }
            }
            LaneWork::Sum { x, dy, dw, past_cache, .. } => {
                for first in (0..run.count).step_by(POSITIONS) {
                    let mut sum = Sum::<L, K> {
                        run,
                        taps: run.taps,
                        count: (run.count - first).min(POSITIONS),
                        x: x.as_ptr().add(first * run.step),
                        dy: dy.as_ptr().add(first * run.channels),
                        dw: dw.as_mut_ptr(),
                        orders,
                        ahead: *past_cache,
                    };
                    while !sum.taps.is_empty() {
                        if sum.taps.len() >= TAPS {
                            sum.chunk::<TAPS>(whole);
                        } else if TAPS > ROW && sum.taps.len() >= ROW {
                            sum.chunk::<ROW>(whole);
                        } else {
                            sum.chunk::<1>(whole);
                        }
                    }
                }
            }
        }
    }
}

/// Loads all lanes, or the masked ones.
///
/// # Safety
/// As [`Lanes`]; these lanes at `p` are valid.
#[inline(always)]
unsafe fn load<L: Lanes, const FULL: bool>(p: *const L::Elem, mask: L::Mask) -> L::V {
    // SAFETY: as the caller's.
    unsafe { if FULL { L::load(p) } else { L::load_masked(p, mask) } }
}

/// Stores all lanes, or the masked ones.
///
/// # Safety
/// As [`Lanes`]; these lanes at `p` are valid.
#[inline(always)]
unsafe fn store<L: Lanes, const FULL: bool>(p: *mut L::Elem, mask: L::Mask, v: L::V) {
    // SAFETY: as the caller's.
    unsafe {
        if FULL {
            L::store(p, v);
        } else {
            L::store_masked(p, mask, v);
        }
    }
}

/// The lane of channel `r` of each group, repeated.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
unsafe fn repeated<L: Lanes, const K: usize>(v: L::V, order: L::Order) -> L::V {
    // SAFETY: as the caller's.
    unsafe { if K == 1 { v } else { L::permute(v, order) } }
}

/// A checked [`LaneWork::Map`].
struct Map<'a, L: Lanes, const K: usize> {
    run: &'a WindowRun<'a>,
    x: *const L::Elem,
    w: *const L::Elem,
    y: *mut L::Elem,
    y_step: usize,
    bias: Option<*const L::Elem>,
    relu: bool,
    past_cache: bool,
    orders: [L::Order; K],
}

impl<'a, L: Lanes, const K: usize> Map<'a, L, K> {
    #[inline(always)]
    fn new(run: &'a WindowRun<'a>, work: &mut LaneWork<'_, L::Elem>, orders: [L::Order; K]) -> Self {
        let LaneWork::Map { x, w, y, y_step, bias, relu, past_cache, .. } = work else {
            unreachable!("the caller has looked")
        };
        // Stores past the cache write whole registers at their own alignment.
        let bytes = L::WIDTH * size_of::<L::Elem>();
        let aligned = (y.as_ptr() as usize).is_multiple_of(bytes) && y_step.is_multiple_of(L::WIDTH);
        Self {
            run,
            x: x.as_ptr(),
            w: w.as_ptr(),
            y: y.as_mut_ptr(),
            y_step: *y_step,
            bias: bias.map(<[L::Elem]>::as_ptr),
            relu: *relu,
            past_cache: *past_cache && aligned,
            orders,
        }
    }

    /// All outputs of some channels in tiles of `N`; what is left over, one by one.
    ///
    /// # Safety
    /// As [`Lanes`]; the channels lie inside the run, whole tiles of `V` vectors or less than one.
    #[inline(always)]
    unsafe fn columns<const FULL: bool, const V: usize, const N: usize>(&self, channels: Range<usize>) {
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
        let Self { run, y_step, .. } = *self;
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
            if let (true, Some(last)) = (self.past_cache, run.taps.last()) {
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
                // Eight channels of three taps would not leave registers for the sums.
                if K <= 4 && next(0) && next(1) {
                    self.add::<FULL, V, N, ROW>(&taps[..ROW], x, c, mask, &mut sums);
                    taps = &taps[ROW..];
                } else {
                    self.add::<FULL, V, N, 1>(&taps[..1], x, c, mask, &mut sums);
                    taps = rest;
                }
            }
            let y = self.y.add(first * y_step + c);
            for (o, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    let value = if self.relu { L::relu(*sum) } else { *sum };
                    let y = y.add(o * y_step + v * L::WIDTH);
                    if FULL && self.past_cache {
                        L::store_past(y, value);
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
        mask: L::Mask,
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
                        let value = repeated::<L, K>(here, self.orders[r]);
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
}

/// A part of a checked [`LaneWork::Sum`]: some taps, `count` positions from those that `x` and `dy` point to.
struct Sum<'a, L: Lanes, const K: usize> {
    run: &'a WindowRun<'a>,
    taps: &'a [Tap],
    count: usize,
    x: *const L::Elem,
    dy: *const L::Elem,
    dw: *mut L::Elem,
    orders: [L::Order; K],
    ahead: bool,
}

impl<L: Lanes, const K: usize> Sum<'_, L, K> {
    /// All channels of the next `N` taps; the first `whole` fill vectors.
    ///
    /// # Safety
    /// As [`Lanes`]; there are so many taps.
    #[inline(always)]
    unsafe fn chunk<const N: usize>(&mut self, whole: usize) {
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
            let last = self.run.taps[self.run.taps.len() - 1].at;
            for o in 0..self.count {
                let (x, dy) = (x.add(o * step), dy.add(o * channels));
                if self.ahead {
                    L::prefetch(x.wrapping_add(last + AHEAD * step));
                    L::prefetch(dy.wrapping_add(AHEAD * channels));
                }
                let flow = load::<L, FULL>(dy, mask);
                for (sums, at) in sums.iter_mut().zip(at) {
                    let here = load::<L, FULL>(x.add(at), mask);
                    for (sum, order) in sums.iter_mut().zip(self.orders) {
                        *sum = L::mul_add(repeated::<L, K>(here, order), flow, *sum);
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
}
