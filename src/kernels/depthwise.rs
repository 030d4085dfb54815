//! Sums of products in which channels do not mix: channels are in the lanes, a weight is a vector of its own.
//!
//! Forward, a tile of neighbouring outputs shares each weight vector. To the weights, the sums of several taps stay in
//! registers while the positions of a run go by. Every element is one chain of multiply-adds, over taps or over
//! positions, whatever the tile.

use super::lanes::{Element, Lanes};
use super::window::{Tap, WindowRun};

/// Outputs of a tile: as many chains as hide the latency of two multiply-add units.
const TILE: usize = 8;
/// Taps whose sums stay in registers.
const TAPS: usize = 9;
/// Positions between two visits to these sums in memory; what a channel vector reads in them stays in L1.
const POSITIONS: usize = 32;

/// What a run of outputs does.
#[derive(Debug)]
pub enum LaneWork<'a, T> {
    /// `y[o, c] = start[c] + sum over taps of x[tap.at + o * step + c] * w[tap.number, c]`
    Map {
        /// Input.
        x: &'a [T],
        /// Weights, one row of channels per tap number.
        w: &'a [T],
        /// Output.
        y: &'a mut [T],
        /// Distance of the outputs.
        y_step: usize,
        /// What the sums start from, unless that is zero.
        bias: Option<&'a [T]>,
        /// Whether negative results become zero.
        relu: bool,
    },
    /// `dw[tap.number, c] += sum over o of x[tap.at + o * step + c] * dy[o, c]`
    Sum {
        /// Input.
        x: &'a [T],
        /// Gradient of the output of the run.
        dy: &'a [T],
        /// Gradient of the weights, one row of channels per tap number.
        dw: &'a mut [T],
    },
}

impl<T: Element> LaneWork<'_, T> {
    /// Panics unless every element that the run touches lies inside its slice.
    pub(super) fn check(&self, run: &WindowRun<'_>) {
        let channels = run.channels;
        let last = |n: usize, step: usize| {
            let start = n.saturating_sub(1).checked_mul(step).expect("size overflow");
            start.checked_add(channels).expect("size overflow")
        };
        assert!(run.count > 0 && channels > 0, "empty run");
        let (x, weights) = match self {
            Self::Map { x, w, y, y_step, bias, .. } => {
                assert!(*y_step >= channels && last(run.count, *y_step) <= y.len(), "outputs");
                assert!(bias.is_none_or(|bias| bias.len() == channels), "bias");
                (x.len(), w.len())
            }
            Self::Sum { x, dy, dw } => {
                assert!(last(run.count, channels) <= dy.len(), "outputs");
                (x.len(), dw.len())
            }
        };
        let reach = last(run.count, run.step);
        assert!(run.taps.iter().all(|tap| tap.at <= x && reach <= x - tap.at), "a tap leaves the input");
        let rows = weights / channels;
        assert!(run.taps.iter().all(|tap| tap.number < rows), "a tap without weights");
    }
}

/// The body that every tier's entry calls.
///
/// # Safety
/// As [`Lanes`]; the work passed [`LaneWork::check`].
#[inline(always)]
pub(super) unsafe fn lane_work<L: Lanes>(run: &WindowRun<'_>, work: &mut LaneWork<'_, L::Elem>) {
    let whole = run.channels - run.channels % L::WIDTH;
    let rest = run.channels - whole;
    // SAFETY: as the caller's; tiles, chunks and vectors stay inside the run.
    unsafe {
        match work {
            LaneWork::Map { .. } => {
                let mut first = 0;
                while first < run.count {
                    let count = (run.count - first).min(TILE);
                    for c in (0..whole).step_by(L::WIDTH) {
                        map_tile::<L, true>(run, work, first, count, c, L::WIDTH);
                    }
                    if rest > 0 {
                        map_tile::<L, false>(run, work, first, count, whole, rest);
                    }
                    first += count;
                }
            }
            LaneWork::Sum { x, dy, dw } => {
                let mut first = 0;
                while first < run.count {
                    let count = (run.count - first).min(POSITIONS);
                    let x = x.as_ptr().add(first * run.step);
                    let dy = dy.as_ptr().add(first * run.channels);
                    for taps in run.taps.chunks(TAPS) {
                        for c in (0..whole).step_by(L::WIDTH) {
                            let (x, dy, dw) = (x.add(c), dy.add(c), dw.as_mut_ptr().add(c));
                            sums_of::<L, true>(run, taps, count, x, dy, dw, L::WIDTH);
                        }
                        if rest > 0 {
                            let (x, dy, dw) = (x.add(whole), dy.add(whole), dw.as_mut_ptr().add(whole));
                            sums_of::<L, false>(run, taps, count, x, dy, dw, rest);
                        }
                    }
                    first += count;
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

/// `count` outputs from `first` on, `n` channels from `c` on.
///
/// # Safety
/// As [`Lanes`]; the work is a checked [`LaneWork::Map`], the tile lies inside the run.
#[inline(always)]
unsafe fn map_tile<L: Lanes, const FULL: bool>(
    run: &WindowRun<'_>,
    work: &mut LaneWork<'_, L::Elem>,
    first: usize,
    count: usize,
    c: usize,
    n: usize,
) {
    macro_rules! choose {
        ($($count:literal)*) => {
            match count {
                // SAFETY: as the caller's.
                $($count => unsafe { map::<L, FULL, $count>(run, work, first, c, n) },)*
                _ => unreachable!("a tile has 1 to {TILE} outputs"),
            }
        };
    }
    choose!(1 2 3 4 5 6 7 8);
}

/// One tile.
///
/// # Safety
/// As [`map_tile`].
#[inline(always)]
unsafe fn map<L: Lanes, const FULL: bool, const N: usize>(
    run: &WindowRun<'_>,
    work: &mut LaneWork<'_, L::Elem>,
    first: usize,
    c: usize,
    n: usize,
) {
    let LaneWork::Map { x, w, y, y_step, bias, relu } = work else { return };
    // SAFETY: as the caller's.
    unsafe {
        let mask = L::mask(n);
        let start = bias.map_or(L::zero(), |bias| load::<L, FULL>(bias.as_ptr().add(c), mask));
        let mut sums = [start; N];
        // Wrapping, because without taps the operands may be empty.
        let x = x.as_ptr().wrapping_add(first * run.step + c);
        let w = w.as_ptr().wrapping_add(c);
        for tap in run.taps {
            let weight = load::<L, FULL>(w.add(tap.number * run.channels), mask);
            let x = x.add(tap.at);
            for (o, sum) in sums.iter_mut().enumerate() {
                *sum = L::mul_add(load::<L, FULL>(x.add(o * run.step), mask), weight, *sum);
            }
        }
        let y = y.as_mut_ptr().add(first * *y_step + c);
        for (o, sum) in sums.iter().enumerate() {
            let v = if *relu { L::relu(*sum) } else { *sum };
            store::<L, FULL>(y.add(o * *y_step), mask, v);
        }
    }
}

/// The sums of at most [`TAPS`] taps over `count` positions, `n` channels.
///
/// # Safety
/// As [`Lanes`]; the pointers belong to a checked [`LaneWork::Sum`].
#[inline(always)]
unsafe fn sums_of<L: Lanes, const FULL: bool>(
    run: &WindowRun<'_>,
    taps: &[Tap],
    count: usize,
    x: *const L::Elem,
    dy: *const L::Elem,
    dw: *mut L::Elem,
    n: usize,
) {
    macro_rules! choose {
        ($($taps:literal)*) => {
            match taps.len() {
                // SAFETY: as the caller's.
                $($taps => unsafe { sums::<L, FULL, $taps>(run, taps, count, x, dy, dw, n) },)*
                _ => unreachable!("1 to {TAPS} taps"),
            }
        };
    }
    choose!(1 2 3 4 5 6 7 8 9);
}

/// The sums of `N` taps.
///
/// # Safety
/// As [`sums_of`].
#[inline(always)]
unsafe fn sums<L: Lanes, const FULL: bool, const N: usize>(
    run: &WindowRun<'_>,
    taps: &[Tap],
    count: usize,
    x: *const L::Elem,
    dy: *const L::Elem,
    dw: *mut L::Elem,
    n: usize,
) {
    // SAFETY: as the caller's.
    unsafe {
        let mask = L::mask(n);
        let mut at = [0; N];
        let mut sums = [L::zero(); N];
        for ((at, sum), tap) in at.iter_mut().zip(&mut sums).zip(taps) {
            *at = tap.at;
            *sum = load::<L, FULL>(dw.add(tap.number * run.channels), mask);
        }
        for o in 0..count {
            let dy = load::<L, FULL>(dy.add(o * run.channels), mask);
            let x = x.add(o * run.step);
            for (sum, at) in sums.iter_mut().zip(at) {
                *sum = L::mul_add(load::<L, FULL>(x.add(at), mask), dy, *sum);
            }
        }
        for (sum, tap) in sums.iter().zip(taps) {
            store::<L, FULL>(dw.add(tap.number * run.channels), mask, *sum);
        }
    }
}
