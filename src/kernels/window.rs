//! Pooling windows: maxima, sums and their gradients over runs of outputs that all see the same taps.
//!
//! Channels are in the lanes. Along a row of outputs only the first and the last windows are cut by the border; all
//! others form one run, for which the list of taps is made once.

use std::ops::Range;

use super::lanes::{Element, Lanes};

/// Elements of a window whose sum is one chain. The sums of more are added pairwise, so that the error of a mean grows
/// with the logarithm of its window.
pub const CHAIN: usize = 64;

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

/// The taps of a run, as loops over its outputs want them.
trait Taps<L: Lanes> {
    /// How many there are.
    fn len(&self) -> usize;

    /// Where tap `i` reads.
    fn at(&self, i: usize) -> usize;

    /// The number of tap `i` in all lanes.
    ///
    /// # Safety
    /// As [`Lanes`].
    unsafe fn number(&self, i: usize) -> L::V;
}

/// So few that the loop over them is unrolled and their numbers stay in registers.
struct Few<L: Lanes, const N: usize> {
    at: [usize; N],
    numbers: [L::V; N],
}

impl<L: Lanes, const N: usize> Few<L, N> {
    /// # Safety
    /// As [`Lanes`].
    #[inline(always)]
    unsafe fn new(taps: &[Tap; N]) -> Self {
        // SAFETY: as the caller's.
        let mut few = unsafe { Self { at: [0; N], numbers: [L::zero(); N] } };
        for (i, tap) in taps.iter().enumerate() {
            few.at[i] = tap.at;
            // SAFETY: as the caller's.
            few.numbers[i] = unsafe { number::<L>(tap) };
        }
        few
    }
}

impl<L: Lanes, const N: usize> Taps<L> for Few<L, N> {
    #[inline(always)]
    fn len(&self) -> usize {
        N
    }

    #[inline(always)]
    fn at(&self, i: usize) -> usize {
        self.at[i]
    }

    #[inline(always)]
    unsafe fn number(&self, i: usize) -> L::V {
        self.numbers[i]
    }
}

impl<L: Lanes> Taps<L> for &[Tap] {
    #[inline(always)]
    fn len(&self) -> usize {
        <[Tap]>::len(self)
    }

    #[inline(always)]
    fn at(&self, i: usize) -> usize {
        self[i].at
    }

    #[inline(always)]
    unsafe fn number(&self, i: usize) -> L::V {
        // SAFETY: as the caller's.
        unsafe { number::<L>(&self[i]) }
    }
}

/// What is done with one vector of outputs.
trait Work<L: Lanes> {
    /// Does it for `n` lanes: outputs from `output` on, whose taps are seen from `input`.
    ///
    /// # Safety
    /// As [`Lanes`]; the lanes lie inside the slices that the run was checked with.
    unsafe fn vector<S: Taps<L>>(&mut self, taps: &S, output: usize, input: usize, n: usize);
}

/// See [`Pooling::Max`].
struct Maximum<E> {
    x: *const E,
    y: *mut E,
    winners: Option<*mut u8>,
}

impl<L: Lanes> Work<L> for Maximum<L::Elem> {
    #[inline(always)]
    unsafe fn vector<S: Taps<L>>(&mut self, taps: &S, output: usize, input: usize, n: usize) {
        if taps.len() == 0 {
            return;
        }
        // SAFETY: as the caller's.
        unsafe {
            let m = L::mask(n);
            let mut best = L::load_masked(self.x.add(taps.at(0) + input), m);
            let mut winner = taps.number(0);
            for i in 1..taps.len() {
                let value = L::load_masked(self.x.add(taps.at(i) + input), m);
                let wins = L::wins(value, best);
                best = L::select(wins, value, best);
                winner = L::select(wins, taps.number(i), winner);
            }
            L::store_masked(self.y.add(output), m, best);
            if let Some(bytes) = self.winners {
                L::store_bytes(bytes.add(output), n, winner);
            }
        }
    }
}

/// See [`Pooling::MaxGrad`].
struct MaximumGrad<E> {
    dy: *const E,
    winners: *const u8,
    y: Option<*const E>,
    dx: *mut E,
    store: bool,
}

impl<L: Lanes> Work<L> for MaximumGrad<L::Elem> {
    #[inline(always)]
    unsafe fn vector<S: Taps<L>>(&mut self, taps: &S, output: usize, input: usize, n: usize) {
        // SAFETY: as the caller's.
        unsafe {
            let m = L::mask(n);
            let mut flow = L::load_masked(self.dy.add(output), m);
            if let Some(y) = self.y {
                let passes = L::positive(L::load_masked(y.add(output), m));
                flow = L::select(passes, flow, L::zero());
            }
            let won = L::load_bytes(self.winners.add(output), n);
            for i in 0..taps.len() {
                let share = L::select(L::equal(won, taps.number(i)), flow, L::zero());
                give::<L>(self.dx.add(taps.at(i) + input), m, share, self.store);
            }
        }
    }
}

/// See [`Pooling::Average`].
struct Average<E> {
    x: *const E,
    y: *mut E,
    share: E,
}

impl<L: Lanes> Work<L> for Average<L::Elem> {
    #[inline(always)]
    unsafe fn vector<S: Taps<L>>(&mut self, taps: &S, output: usize, input: usize, n: usize) {
        // SAFETY: as the caller's.
        unsafe {
            let m = L::mask(n);
            let chain = |taps: &S, range: Range<usize>| {
                let mut sum = L::zero();
                for i in range {
                    sum = L::add(sum, L::load_masked(self.x.add(taps.at(i) + input), m));
                }
                sum
            };
            let sum = if taps.len() <= CHAIN {
                chain(taps, 0..taps.len())
            } else {
                // Blocks are added like the digits of a binary number: equally many on both sides of every sum.
                let mut waiting = [L::zero(); usize::BITS as usize];
                let blocks = taps.len().div_ceil(CHAIN);
                for block in 0..blocks {
                    let first = block * CHAIN;
                    let mut sum = chain(taps, first..taps.len().min(first + CHAIN));
                    let carries = block.trailing_ones() as usize;
                    for other in &waiting[..carries] {
                        sum = L::add(*other, sum);
                    }
                    waiting[carries] = sum;
                }
                let mut sum = L::zero();
                for (level, other) in waiting.iter().enumerate() {
                    if blocks >> level & 1 == 1 {
                        sum = L::add(*other, sum);
                    }
                }
                sum
            };
            L::store_masked(self.y.add(output), m, L::mul(sum, L::splat(self.share)));
        }
    }
}

/// See [`Pooling::AverageGrad`].
struct AverageGrad<E> {
    dy: *const E,
    dx: *mut E,
    share: E,
    store: bool,
}

impl<L: Lanes> Work<L> for AverageGrad<L::Elem> {
    #[inline(always)]
    unsafe fn vector<S: Taps<L>>(&mut self, taps: &S, output: usize, input: usize, n: usize) {
        // SAFETY: as the caller's.
        unsafe {
            let m = L::mask(n);
            let flow = L::mul(L::load_masked(self.dy.add(output), m), L::splat(self.share));
            for i in 0..taps.len() {
                give::<L>(self.dx.add(taps.at(i) + input), m, flow, self.store);
            }
        }
    }
}

/// Does the work for all outputs of a run, vector by vector.
///
/// # Safety
/// As [`Work::vector`], for all of them.
#[inline(always)]
unsafe fn each<L: Lanes, W: Work<L>>(run: &WindowRun<'_>, mut work: W) {
    // SAFETY: as the caller's.
    unsafe {
        // 2 x 2 and 2 x 2 x 2.
        if let Ok(taps) = run.taps.try_into() {
            vectors::<L, _, _>(run, &Few::<L, 4>::new(taps), &mut work);
        } else if let Ok(taps) = run.taps.try_into() {
            vectors::<L, _, _>(run, &Few::<L, 8>::new(taps), &mut work);
        } else {
            vectors::<L, _, _>(run, &run.taps, &mut work);
        }
    }
}

/// # Safety
/// As [`each`].
#[inline(always)]
unsafe fn vectors<L: Lanes, S: Taps<L>, W: Work<L>>(run: &WindowRun<'_>, taps: &S, work: &mut W) {
    for o in 0..run.count {
        let mut c = 0;
        while c < run.channels {
            let n = (run.channels - c).min(L::WIDTH);
            // SAFETY: as the caller's.
            unsafe { work.vector(taps, o * run.channels + c, o * run.step + c, n) };
            c += L::WIDTH;
        }
    }
}

/// The body that every tier's entry calls.
///
/// # Safety
/// As [`Lanes`], for those of half the width too; the run passed [`Pooling::check`].
#[inline(always)]
pub(super) unsafe fn pool<L: Lanes>(run: &WindowRun<'_>, pooling: &mut Pooling<'_, L::Elem>) {
    // SAFETY: as the caller's.
    unsafe {
        if const { L::Half::WIDTH < L::WIDTH } && run.channels <= L::Half::WIDTH {
            pool_vectors::<L::Half>(run, pooling);
        } else {
            pool_vectors::<L>(run, pooling);
        }
    }
}

/// Pools with vectors of one width.
///
/// # Safety
/// As [`Lanes`]; the run passed [`Pooling::check`].
#[inline(always)]
unsafe fn pool_vectors<L: Lanes>(run: &WindowRun<'_>, pooling: &mut Pooling<'_, L::Elem>) {
    // SAFETY: as the caller's; the check covers every lane of the run.
    unsafe {
        match pooling {
            Pooling::Max { x, y, winners } => {
                let winners = (!winners.is_empty()).then_some(winners.as_mut_ptr());
                each::<L, _>(run, Maximum { x: x.as_ptr(), y: y.as_mut_ptr(), winners });
            }
            Pooling::MaxGrad { dy, winners, y, dx, store } => {
                let y = (!y.is_empty()).then_some(y.as_ptr());
                let (dy, winners, dx) = (dy.as_ptr(), winners.as_ptr(), dx.as_mut_ptr());
                each::<L, _>(run, MaximumGrad { dy, winners, y, dx, store: *store });
            }
            Pooling::Average { x, y, share } => {
                each::<L, _>(run, Average { x: x.as_ptr(), y: y.as_mut_ptr(), share: *share });
            }
            Pooling::AverageGrad { dy, dx, share, store } => {
                let (dy, dx) = (dy.as_ptr(), dx.as_mut_ptr());
                each::<L, _>(run, AverageGrad { dy, dx, share: *share, store: *store });
            }
        }
    }
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
unsafe fn give<L: Lanes>(p: *mut L::Elem, mask: L::TailMask, share: L::V, store: bool) {
    // SAFETY: as the caller's.
    unsafe {
        let value = if store { share } else { L::add(L::load_masked(p, mask), share) };
        L::store_masked(p, mask, value);
    }
}
