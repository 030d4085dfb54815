//! Sums of products in which channels mix within small groups at most: channels are in the lanes, a weight is a vector
//! of its own.
//!
//! Forward, a tile of neighbouring outputs shares each weight vector, and neighbouring taps share what they read. To
//! the weights, the sums of several taps stay in registers while the positions of a run go by. In groups of `k` channels
//! to `k`, output lane `c` sums the lanes of its group: for each of them a vector of inputs whose lanes are repeated in
//! the register. Every element is one chain of multiply-adds, over taps and channels or over positions, whatever the tile.

/// Does something for each row of the source that `R` rows of outputs read. Where a vector is two registers the compiler
/// would take the loop for too long to unroll, and ask for each product whether it is wanted.
macro_rules! each_source {
    ($lanes:ident, $rows:ident, |$source:ident| $add:expr) => {
        if const { $lanes::FEW > 1 } {
            each_source!(@ $rows, $source, $add, 0 1 2 3 4);
        } else {
            for $source in 0..$rows + ROW - 1 {
                $add;
            }
        }
    };
    (@ $rows:ident, $source:ident, $add:expr, $($number:literal)*) => {
        const { assert!($rows + ROW - 1 <= [$($number),*].len(), "all rows of the source are listed") };
        $(if const { $number < $rows + ROW - 1 } {
            let $source = $number;
            $add;
        })*
    };
}

mod map;
mod sum;

use std::ops::Range;

use map::Map;
use sum::Sum;

use super::lanes::{Element, Lanes};
use super::transpose::touch;
use super::window::{Tap, WindowRun};
use crate::tuning::depthwise::AHEAD;

/// Outputs of a tile of one vector: as many chains as hide the latency of two multiply-add units.
const TILE: usize = 8;
/// Outputs of a tile of several vectors.
const SMALL_TILE: usize = 4;
/// Taps next to each other that share what they read.
const ROW: usize = 3;
/// Positions between two visits to the sums in memory; what a channel vector reads in them stays in L1.
const POSITIONS: usize = 32;

/// Rows of outputs that are computed together where the kernel has three rows of three taps next to each other:
/// neighbours read the same rows but one, so every row of the input then comes from the cache behind L1 once or twice
/// and not three times, and the weights stay in registers.
///
/// Output row `o` meets the source rows `o..o + 3`; only those in `sources` exist. The taps of the run are the nine of a
/// plane of the kernel, for one plane or several; all lines have the offsets into the first row of `sources`.
#[derive(Debug, Clone)]
pub struct Block {
    /// Output rows, 2 or 3.
    pub rows: usize,
    /// Source rows that lie inside the input, counted from the first that output row 0 meets.
    pub sources: Range<usize>,
    /// Distance of the source rows.
    pub x_row_stride: usize,
    /// Distance of the output rows.
    pub y_row_stride: usize,
}

impl Block {
    /// Output rows of a block at most.
    pub const MOST: usize = 3;
    /// Rows of the kernel, and taps of each.
    pub const KERNEL: usize = ROW;

    /// Panics unless the taps are as the type says; how far its rows reach, those of the source and of the output.
    fn check(&self, run: &WindowRun<'_>, k: usize) -> [usize; 2] {
        assert!(k == 1 && (2..=Self::MOST).contains(&self.rows), "rows of a block");
        assert!(!self.sources.is_empty() && self.sources.end < self.rows + ROW, "sources of a block");
        assert!(!run.taps.is_empty() && run.taps.len().is_multiple_of(ROW * ROW), "taps of a block");
        let regular = |plane: &[Tap]| (0..ROW * ROW).all(|i| plane[i].at == plane[0].at + i % ROW * run.step);
        assert!(run.taps.chunks_exact(ROW * ROW).all(regular), "offsets of a block");
        let reach = |rows: usize, distance: usize| (rows - 1).checked_mul(distance).expect("size overflow");
        [reach(self.sources.len(), self.x_row_stride), reach(self.rows, self.y_row_stride)]
    }

    /// The row of the source, if it is inside, seen from the first that is.
    #[inline(always)]
    fn inside(&self, source: usize) -> Option<usize> {
        source.checked_sub(self.sources.start).filter(|_| source < self.sources.end)
    }
}

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
        y_stride: usize,
        /// What the sums start from, unless that is zero.
        bias: Option<&'a [T]>,
        /// Whether negative results become zero.
        relu: bool,
        /// Channels of a group.
        k: usize,
        /// Whether operand and result are larger than the cache: the stores go past it where they are aligned, and
        /// before another thread reads them, [`super::fence`] is called.
        non_temporal: bool,
        /// Several rows of outputs, of which the run describes the first; `k` is 1.
        block: Option<Block>,
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
        non_temporal: bool,
        /// Several rows of outputs, of which the run describes the first; `k` is 1.
        block: Option<Block>,
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
        let (Self::Map { k, block, .. } | Self::Sum { k, block, .. }) = self;
        let [x_rows, y_rows] = block.as_ref().map_or([0, 0], |block| block.check(run, *k));
        let reach =
            |step: usize, rows: usize| last(run.count, step).checked_add(rows).expect("size overflow");
        let (x, weights, k) = match self {
            Self::Map { x, w, y, y_stride, bias, k, .. } => {
                assert!(*y_stride >= channels && reach(*y_stride, y_rows) <= y.len(), "outputs");
                assert!(bias.is_none_or(|bias| bias.len() == channels), "bias");
                (x.len(), w.len(), *k)
            }
            Self::Sum { x, dy, dw, k, .. } => {
                assert!(reach(channels, y_rows) <= dy.len(), "outputs");
                (x.len(), dw.len(), *k)
            }
        };
        let reach = reach(run.step, x_rows);
        assert!(run.taps.iter().all(|tap| tap.at <= x && reach <= x - tap.at), "a tap leaves the input");
        assert!(
            matches!(k, 1 | 2 | 4 | 8) && width.is_multiple_of(k) && channels.is_multiple_of(k),
            "groups"
        );
        let rows = weights / channels / k;
        assert!(run.taps.iter().all(|tap| tap.number < rows), "a tap without weights");
    }
}

/// The body that every tier's entry calls. [`Lanes::CHANNEL_VECTORS`] make a tile where there are as many; the sums of
/// weights take one.
///
/// # Safety
/// As [`Lanes`]; the work passed [`LaneWork::check`].
#[inline(always)]
pub(super) unsafe fn lane_work<L: Lanes>(run: &WindowRun<'_>, work: &mut LaneWork<'_, L::Elem>) {
    let k = match work {
        LaneWork::Map { k, .. } | LaneWork::Sum { k, .. } => *k,
    };
    // SAFETY: as the caller's.
    unsafe {
        match k {
            1 => match const { L::CHANNEL_VECTORS } {
                1 => all::<L, 1, 1, 9>(run, work),
                2 => all::<L, 2, 1, 9>(run, work),
                _ => all::<L, 4, 1, 9>(run, work),
            },
            2 => all::<L, 1, 2, 3>(run, work),
            // A vector that is two registers leaves none for a third tap.
            4 if const { L::FEW > 1 } => all::<L, 1, 4, 2>(run, work),
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
        let mut orders = [L::permutation(K, 0); K];
        for (r, order) in orders.iter_mut().enumerate() {
            *order = L::permutation(K, r);
        }
        match work {
            LaneWork::Map { block, .. } => {
                let block = block.clone();
                let map = Map::<L, K>::new(run, work, orders);
                if let (1, Some(block)) = (K, block) {
                    if block.rows == 2 {
                        map.rows::<2>(&block, whole);
                    } else {
                        map.rows::<3>(&block, whole);
                    }
                    return;
                }
                map.columns::<true, V, SMALL_TILE>(0..wide);
                if const { K > 4 || (K == 2 && L::FEW > 1) } {
                    map.columns::<true, 1, SMALL_TILE>(wide..whole);
                } else {
                    map.columns::<true, 1, TILE>(wide..whole);
                }
                map.columns::<false, 1, SMALL_TILE>(whole..run.channels);
            }
            LaneWork::Sum { x, dy, dw, non_temporal, block: Some(block), .. } if K == 1 => {
                let sum = Sum::<L, K> {
                    run,
                    taps: run.taps,
                    count: run.count,
                    x: x.as_ptr(),
                    dy: dy.as_ptr(),
                    dw: dw.as_mut_ptr(),
                    orders,
                    ahead: *non_temporal,
                };
                if block.rows == 2 {
                    sum.rows::<2>(block, whole);
                } else {
                    sum.rows::<3>(block, whole);
                }
            }
            LaneWork::Sum { x, dy, dw, non_temporal, .. } => {
                for first in (0..run.count).step_by(POSITIONS) {
                    let count = (run.count - first).min(POSITIONS);
                    if K > 1 {
                        // Below, all positions of a vector are read before the next one.
                        let row = (count - 1) * run.step + run.channels;
                        touch(&dy[first * run.channels..(first + count) * run.channels]);
                        if let Some(tap) = run.taps.last() {
                            touch(&x[tap.at + first * run.step..][..row]);
                        }
                    }
                    let mut sum = Sum::<L, K> {
                        run,
                        taps: run.taps,
                        count,
                        x: x.as_ptr().add(first * run.step),
                        dy: dy.as_ptr().add(first * run.channels),
                        dw: dw.as_mut_ptr(),
                        orders,
                        ahead: *non_temporal && run.count >= AHEAD,
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

/// Loads all lanes, or the masked ones, which are the first.
///
/// # Safety
/// As [`Lanes`]; these lanes at `p` are valid.
#[inline(always)]
unsafe fn load<L: Lanes, const FULL: bool>(p: *const L::Elem, mask: L::TailMask) -> L::V {
    // SAFETY: as the caller's.
    unsafe { if FULL { L::load(p) } else { L::load_masked_in_loop(p, mask) } }
}

/// Stores all lanes, or the masked ones.
///
/// # Safety
/// As [`Lanes`]; these lanes at `p` are valid.
#[inline(always)]
unsafe fn store<L: Lanes, const FULL: bool>(p: *mut L::Elem, mask: L::TailMask, v: L::V) {
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
unsafe fn repeated<L: Lanes, const K: usize>(v: L::V, r: usize, orders: &[L::Permutation; K]) -> L::V {
    // SAFETY: as the caller's.
    unsafe { if K == 1 { v } else { L::permute::<K>(v, r, orders[r]) } }
}
