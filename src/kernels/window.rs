//! Pooling windows: maxima, sums and their gradients over runs of outputs that all see the same taps.
//!
//! Channels are in the lanes. Along a row of outputs only the first and the last windows are cut by the border; all
//! others form one run, for which the list of taps is made once.

use super::lanes::{Element, Lanes};

/// A tap of a window: its number in row-major order and where it reads, seen from the first output of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tap {
    /// Its number.
    pub number: usize,
    /// Offset into the input for output 0.
    pub at: usize,
}

/// A run of outputs.
#[derive(Debug, Clone, Copy)]
pub struct WindowRun<'a> {
    /// The taps, in row-major order.
    pub taps: &'a [Tap],
    /// Outputs.
    pub count: usize,
    /// Distance of what neighbours read.
    pub step: usize,
    /// Channels: elements of one position.
    pub channels: usize,
}

/// What a run does.
#[derive(Debug)]
pub enum Pooling<'a, T> {
    /// `y = max x`; the number of the winning tap goes to `winners` unless that is empty. The first of equals wins,
    /// the first NaN wins over everything.
    Max {
        /// Input.
        x: &'a [T],
        /// Output of the run.
        y: &'a mut [T],
        /// One byte per output, or none.
        winners: &'a mut [u8],
    },
    /// `dx[winner] = dy` or `+= dy`, zero for the other taps.
    MaxGrad {
        /// Gradient of the output of the run.
        dy: &'a [T],
        /// What the forward pass wrote.
        winners: &'a [u8],
        /// If not empty, the gradient passes only where this is positive.
        y: &'a [T],
        /// Gradient of the input.
        dx: &'a mut [T],
        /// Whether `dx` is overwritten: no input belongs to two windows.
        store: bool,
    },
    /// `y = share * sum x`
    Average {
        /// Input.
        x: &'a [T],
        /// Output of the run.
        y: &'a mut [T],
        /// One over the number of elements.
        share: T,
    },
    /// `dx = share * dy` or `+=`, for all taps.
    AverageGrad {
        /// Gradient of the output of the run.
        dy: &'a [T],
        /// Gradient of the input.
        dx: &'a mut [T],
        /// One over the number of elements.
        share: T,
        /// Whether `dx` is overwritten.
        store: bool,
    },
}

impl<T: Element> Pooling<'_, T> {
    /// Panics unless every element that the run touches lies inside its slice.
    pub(super) fn check(&self, run: &WindowRun<'_>) {
        let outputs = run.count.checked_mul(run.channels).expect("size overflow");
        let reach = run.count.saturating_sub(1).checked_mul(run.step).expect("size overflow") + run.channels;
        let (grid, row, bytes, mask) = match self {
            Self::Max { x, y, winners } => (x.len(), y.len(), winners.len(), 0),
            Self::MaxGrad { dy, winners, y, dx, .. } => {
                assert_eq!(winners.len(), outputs, "winners");
                (dx.len(), dy.len(), winners.len(), y.len())
            }
            Self::Average { x, y, .. } => (x.len(), y.len(), 0, 0),
            Self::AverageGrad { dy, dx, .. } => (dx.len(), dy.len(), 0, 0),
        };
        assert_eq!(row, outputs, "outputs");
        assert!(bytes == 0 || bytes == outputs, "winners");
        assert!(mask == 0 || mask == outputs, "mask");
        assert!(
            run.taps.iter().all(|tap| tap.at <= grid && reach <= grid - tap.at),
            "the window leaves the input"
        );
    }
}

/// The body that every tier's entry calls.
///
/// # Safety
/// As [`Lanes`]; the run passed [`Pooling::check`].
#[inline(always)]
pub(super) unsafe fn pool<L: Lanes>(run: &WindowRun<'_>, pooling: &mut Pooling<'_, L::Elem>) {
    for o in 0..run.count {
        let mut c = 0;
        while c < run.channels {
            let n = (run.channels - c).min(L::WIDTH);
            let (output, input) = (o * run.channels + c, o * run.step + c);
            // SAFETY: as the caller's; `n` lanes at `output` and at `tap.at + input` lie inside the checked slices.
            unsafe {
                match pooling {
                    Pooling::Max { x, y, winners } => {
                        let bytes =
                            if winners.is_empty() { None } else { Some(winners.as_mut_ptr().add(output)) };
                        maximum::<L>(run.taps, x.as_ptr().add(input), y.as_mut_ptr().add(output), bytes, n);
                    }
                    Pooling::MaxGrad { dy, winners, y, dx, store } => {
                        let m = L::mask(n);
                        let mut flow = L::load_masked(dy.as_ptr().add(output), m);
                        if !y.is_empty() {
                            let passes = L::positive(L::load_masked(y.as_ptr().add(output), m));
                            flow = L::select(passes, flow, L::zero());
                        }
                        let won = L::load_bytes(winners.as_ptr().add(output), n);
                        for tap in run.taps {
                            let share = L::select(L::equal(won, number::<L>(tap)), flow, L::zero());
                            give::<L>(dx.as_mut_ptr().add(tap.at + input), m, share, *store);
                        }
                    }
                    Pooling::Average { x, y, share } => {
                        let m = L::mask(n);
                        let mut sum = L::zero();
                        for tap in run.taps {
                            sum = L::add(sum, L::load_masked(x.as_ptr().add(tap.at + input), m));
                        }
                        L::store_masked(y.as_mut_ptr().add(output), m, L::mul(sum, L::splat(*share)));
                    }
                    Pooling::AverageGrad { dy, dx, share, store } => {
                        let m = L::mask(n);
                        let flow = L::mul(L::load_masked(dy.as_ptr().add(output), m), L::splat(*share));
                        for tap in run.taps {
                            give::<L>(dx.as_mut_ptr().add(tap.at + input), m, flow, *store);
                        }
                    }
                }
            }
            c += L::WIDTH;
        }
    }
}

/// The same with vectors of half the width for so few channels that these hold them.
///
/// # Safety
/// As [`pool`], for both kinds of vectors.
#[inline(always)]
pub(super) unsafe fn pool_or_half<L: Lanes, Half: Lanes<Elem = L::Elem>>(
    run: &WindowRun<'_>,
    pooling: &mut Pooling<'_, L::Elem>,
) {
    // SAFETY: as the caller's.
    unsafe { if run.channels <= Half::WIDTH { pool::<Half>(run, pooling) } else { pool::<L>(run, pooling) } }
}

/// The number of a tap in all lanes. From a table: converting takes longer than all else that is done with a tap. Numbers
/// that no byte holds are not asked for.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
unsafe fn number<L: Lanes>(tap: &Tap) -> L::V {
    // SAFETY: as the caller's.
    unsafe { L::splat(L::Elem::BYTES[tap.number % 256]) }
}

/// Stores or adds.
///
/// # Safety
/// As [`Lanes`]; the masked lanes at `p` are valid.
#[inline(always)]
unsafe fn give<L: Lanes>(p: *mut L::Elem, mask: L::Mask, share: L::V, store: bool) {
    // SAFETY: as the caller's.
    unsafe {
        let value = if store { share } else { L::add(L::load_masked(p, mask), share) };
        L::store_masked(p, mask, value);
    }
}

/// The largest of the taps and its number.
///
/// # Safety
/// As [`Lanes`]; `n` lanes at `y`, `winners` and at every tap of `x` are valid.
#[inline(always)]
unsafe fn maximum<L: Lanes>(
    taps: &[Tap],
    x: *const L::Elem,
    y: *mut L::Elem,
    winners: Option<*mut u8>,
    n: usize,
) {
    let [first, rest @ ..] = taps else { return };
    // SAFETY: as the caller's.
    unsafe {
        let m = L::mask(n);
        let mut best = L::load_masked(x.add(first.at), m);
        let mut winner = number::<L>(first);
        for tap in rest {
            let value = L::load_masked(x.add(tap.at), m);
            let wins = L::wins(value, best);
            best = L::select(wins, value, best);
            winner = L::select(wins, number::<L>(tap), winner);
        }
        L::store_masked(y, m, best);
        if let Some(bytes) = winners {
            L::store_bytes(bytes, n, winner);
        }
    }
}
