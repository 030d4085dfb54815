//! Winograd's transforms: small linear maps along the axes of a tile, with channels in the lanes.
//!
//! A correlation of `r` taps gives `m` outputs from `m + r - 1 = 6` inputs as
//! `y = A' ((G w) * (B' x))` with 6 products instead of `m r` (Toom and Cook's interpolation, transposed). The points
//! are 0, +-sqrt(1/2), +-sqrt(2) and infinity: their squares are exact, `a^2 + b^2 = 5/2` and `a b = 1`, and the
//! matrices have rows of nearly equal size, which is what keeps the rounding errors near those of a direct sum
//! (Barabasz et al., "Error analysis and improving the accuracy of Winograd convolution", 2020, on the choice of
//! points). `A'` has the rows `x^k`, `G` the columns `x^k / N(x)` with `N(x) = prod (x - other points)`, `B'` the
//! coefficients of `prod (t - other points)`.
//!
//! Every result is a fixed sequence of multiply-adds, so neither tiers nor the grouping of tiles change a bit of it.

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use super::lanes::{Element, Lanes};

/// Points of an axis, the one at infinity included.
pub const POINTS: usize = 6;
/// Stands for an element that is zero (source) or not wanted (target).
pub const NOWHERE: usize = usize::MAX;

/// Which map is applied along both axes of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// `B'`: 6 x 6 inputs to 6 x 6 points.
    Input,
    /// `A'`: points to 4 x 4 outputs.
    Output,
    /// `A`: the gradient of 4 x 4 outputs to points.
    OutputGrad,
    /// `G`: 3 x 3 taps to points.
    Kernel,
    /// `G'`: points to the gradient of 3 x 3 taps.
    KernelGrad,
}

impl Stage {
    /// Elements of a tile per channel, before and after.
    pub const fn lens(self) -> [usize; 2] {
        const ALL: usize = POINTS * POINTS;
        match self {
            Self::Input => [ALL, ALL],
            Self::Output => [ALL, 16],
            Self::OutputGrad => [16, ALL],
            Self::Kernel => [9, ALL],
            Self::KernelGrad => [ALL, 9],
        }
    }
}

/// Where a transform reads.
#[derive(Debug)]
pub enum From<'a, T> {
    /// Another slice.
    Slice(&'a [T]),
    /// The target: all elements of a tile and a vector of channels are read before any is written.
    Target,
}

/// Some tiles of equal shape, evenly apart.
#[derive(Debug)]
pub struct Transform<'a, T> {
    /// The map.
    pub stage: Stage,
    /// Source.
    pub from: From<'a, T>,
    /// Places of the first channel of every element of the first tile, row by row.
    pub at: &'a [usize],
    /// From a tile to the next.
    pub from_step: usize,
    /// Target.
    pub to: &'a mut [T],
    /// Places in it.
    pub places: &'a [usize],
    /// From a tile to the next.
    pub to_step: usize,
    /// Tiles.
    pub count: usize,
    /// Channels, side by side.
    pub channels: usize,
    /// Added to outputs, one per channel; other stages have none.
    pub bias: Option<&'a [T]>,
    /// Whether negative outputs become zero.
    pub relu: bool,
}

impl<T: Element> Transform<'_, T> {
    /// Panics unless every element that is read or written lies inside its slice.
    pub(super) fn check(&self) {
        let [from, to] = self.stage.lens();
        assert!(self.at.len() == from && self.places.len() == to, "elements of a tile");
        assert!(self.count > 0 && self.channels > 0, "empty transform");
        let inside = |places: &[usize], step: usize, len: usize| {
            let most = places.iter().copied().filter(|&place| place != NOWHERE).max();
            let span = (self.count - 1).checked_mul(step).and_then(|n| n.checked_add(self.channels));
            most.is_none_or(|most| span.and_then(|n| n.checked_add(most)).is_some_and(|end| end <= len))
        };
        let len = match self.from {
            From::Slice(from) => from.len(),
            From::Target => self.to.len(),
        };
        assert!(inside(self.at, self.from_step, len), "a tile leaves the source");
        assert!(inside(self.places, self.to_step, self.to.len()), "a tile leaves the target");
        assert!(self.bias.is_none_or(|bias| bias.len() == self.channels), "bias");
    }
}

/// The points as vectors.
struct Points<L: Lanes> {
    /// sqrt(1/2)
    a: L::V,
    /// sqrt(2)
    b: L::V,
}

/// A linear map along one axis.
trait Along<const I: usize, const O: usize> {
    /// Whether bias and ReLU follow.
    const FINISHES: bool = false;

    /// # Safety
    /// As [`Lanes`].
    unsafe fn map<L: Lanes>(points: &Points<L>, v: [L::V; I]) -> [L::V; O];
}

/// `x` in every lane.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
unsafe fn all<L: Lanes>(x: f64) -> L::V {
    // SAFETY: as the caller's.
    unsafe { L::splat(L::Elem::from_f64(x)) }
}

/// `even + x odd` and `even - x odd`: a polynomial at two points.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
unsafe fn at_both<L: Lanes>(even: L::V, odd: L::V, x: L::V) -> [L::V; 2] {
    // SAFETY: as the caller's.
    unsafe {
        let odd = L::mul(x, odd);
        [L::add(even, odd), L::sub(even, odd)]
    }
}

struct Input;
impl Along<6, 6> for Input {
    #[inline(always)]
    unsafe fn map<L: Lanes>(points: &Points<L>, d: [L::V; 6]) -> [L::V; 6] {
        // SAFETY: as the caller's.
        unsafe {
            let sum = all::<L>(-2.5);
            let (minus_a2, minus_b2) = (all::<L>(-0.5), all::<L>(-2.0));
            let even = |square| L::mul_add(square, d[2], d[4]);
            let odd = |square| L::mul_add(square, d[1], d[3]);
            // prod over the others of (t - x): for +-a, t (t +- a) (t^2 - b^2).
            let [p, q] = at_both::<L>(even(minus_b2), odd(minus_b2), points.a);
            let [r, s] = at_both::<L>(even(minus_a2), odd(minus_a2), points.b);
            [L::add(d[0], even(sum)), p, q, r, s, L::add(d[1], L::mul_add(sum, d[3], d[5]))]
        }
    }
}

struct Output;
impl Along<6, 4> for Output {
    const FINISHES: bool = true;

    #[inline(always)]
    unsafe fn map<L: Lanes>(points: &Points<L>, v: [L::V; 6]) -> [L::V; 4] {
        // SAFETY: as the caller's.
        unsafe {
            let (a2, b2) = (all::<L>(0.5), all::<L>(2.0));
            let [near, far] = [L::add(v[1], v[2]), L::add(v[3], v[4])];
            let near_odd = L::mul(points.a, L::sub(v[1], v[2]));
            let far_odd = L::mul(points.b, L::sub(v[3], v[4]));
            [
                L::add(v[0], L::add(near, far)),
                L::add(near_odd, far_odd),
                L::mul_add(a2, near, L::mul(b2, far)),
                L::add(v[5], L::mul_add(a2, near_odd, L::mul(b2, far_odd))),
            ]
        }
    }
}

struct OutputGrad;
impl Along<4, 6> for OutputGrad {
    #[inline(always)]
    unsafe fn map<L: Lanes>(points: &Points<L>, y: [L::V; 4]) -> [L::V; 6] {
        // SAFETY: as the caller's.
        unsafe {
            let (a2, b2) = (all::<L>(0.5), all::<L>(2.0));
            let even = |square| L::mul_add(square, y[2], y[0]);
            let odd = |square| L::mul_add(square, y[3], y[1]);
            let [p, q] = at_both::<L>(even(a2), odd(a2), points.a);
            let [r, s] = at_both::<L>(even(b2), odd(b2), points.b);
            [y[0], p, q, r, s, y[3]]
        }
    }
}

/// `1 / N` of +-sqrt(1/2) and of +-sqrt(2); that of 0 is 1.
const NEAR: f64 = -2.0 / 3.0;
const FAR: f64 = 1.0 / 6.0;

struct Kernel;
impl Along<3, 6> for Kernel {
    #[inline(always)]
    unsafe fn map<L: Lanes>(points: &Points<L>, w: [L::V; 3]) -> [L::V; 6] {
        // SAFETY: as the caller's.
        unsafe {
            let even = |square| L::mul_add(all::<L>(square), w[2], w[0]);
            let [p, q] = at_both::<L>(even(0.5), w[1], points.a).map(|v| L::mul(all::<L>(NEAR), v));
            let [r, s] = at_both::<L>(even(2.0), w[1], points.b).map(|v| L::mul(all::<L>(FAR), v));
            [w[0], p, q, r, s, w[2]]
        }
    }
}

struct KernelGrad;
impl Along<6, 3> for KernelGrad {
    #[inline(always)]
    unsafe fn map<L: Lanes>(points: &Points<L>, v: [L::V; 6]) -> [L::V; 3] {
        // SAFETY: as the caller's.
        unsafe {
            let near = L::mul(all::<L>(NEAR), L::add(v[1], v[2]));
            let far = L::mul(all::<L>(FAR), L::add(v[3], v[4]));
            let near_odd = L::mul(all::<L>(NEAR), L::sub(v[1], v[2]));
            let far_odd = L::mul(all::<L>(FAR), L::sub(v[3], v[4]));
            [
                L::add(v[0], L::add(near, far)),
                L::mul_add(points.a, near_odd, L::mul(points.b, far_odd)),
                L::add(v[5], L::mul_add(all::<L>(0.5), near, L::mul(all::<L>(2.0), far))),
            ]
        }
    }
}

/// The body that every tier's entry calls.
///
/// # Safety
/// As [`Lanes`]; the transform passed [`Transform::check`].
#[inline(always)]
pub(super) unsafe fn transform<L: Lanes>(t: &mut Transform<'_, L::Elem>) {
    // SAFETY: as the caller's.
    unsafe {
        match t.stage {
            Stage::Input => tiles::<L, Input, 6, 6>(t),
            Stage::Output => tiles::<L, Output, 6, 4>(t),
            Stage::OutputGrad => tiles::<L, OutputGrad, 4, 6>(t),
            Stage::Kernel => tiles::<L, Kernel, 3, 6>(t),
            Stage::KernelGrad => tiles::<L, KernelGrad, 6, 3>(t),
        }
    }
}

/// All tiles, vector by vector of channels.
///
/// # Safety
/// As [`transform`]; the map is that of the stage.
#[inline(always)]
unsafe fn tiles<L: Lanes, M: Along<I, O>, const I: usize, const O: usize>(t: &mut Transform<'_, L::Elem>) {
    let to = t.to.as_mut_ptr();
    let from = match t.from {
        From::Slice(from) => from.as_ptr(),
        From::Target => to.cast_const(),
    };
    let whole = t.channels - t.channels % L::WIDTH;
    let holes = t.at.contains(&NOWHERE) || t.places.contains(&NOWHERE);
    // SAFETY: as the caller's; vectors of channels stay inside the tile, the last one by its mask.
    unsafe {
        let points = Points { a: all::<L>(FRAC_1_SQRT_2), b: all::<L>(SQRT_2) };
        for i in 0..t.count {
            // Wrapping, because a tile that is nowhere may have no slice.
            let (from, to) = (from.wrapping_add(i * t.from_step), to.wrapping_add(i * t.to_step));
            for c in (0..whole).step_by(L::WIDTH) {
                if holes {
                    tile::<L, M, I, O, true, true>(t, &points, from, to, c);
                } else {
                    tile::<L, M, I, O, true, false>(t, &points, from, to, c);
                }
            }
            if whole < t.channels {
                tile::<L, M, I, O, false, true>(t, &points, from, to, whole);
            }
        }
    }
}

/// One tile, a vector of channels from `c` on.
///
/// # Safety
/// As [`tiles`].
#[inline(always)]
unsafe fn tile<
    L: Lanes,
    M: Along<I, O>,
    const I: usize,
    const O: usize,
    const FULL: bool,
    const HOLES: bool,
>(
    t: &Transform<'_, L::Elem>,
    points: &Points<L>,
    from: *const L::Elem,
    to: *mut L::Elem,
    c: usize,
) {
    let (at, places) = (t.at.as_ptr(), t.places.as_ptr());
    // SAFETY: as the caller's.
    unsafe {
        let mask = L::mask((t.channels - c).min(L::WIDTH));
        let load = |p: *const L::Elem| if FULL { L::load(p) } else { L::load_masked(p, mask) };
        let mut half = [[L::zero(); I]; O];
        for j in 0..I {
            let mut column = [L::zero(); I];
            for i in 0..I {
                let at = *at.add(i * I + j);
                if !HOLES || at != NOWHERE {
                    column[i] = load(from.add(at + c));
                }
            }
            let mapped = M::map::<L>(points, column);
            for i in 0..O {
                half[i][j] = mapped[i];
            }
        }
        let bias = match t.bias {
            Some(bias) if M::FINISHES => load(bias.as_ptr().add(c)),
            _ => L::zero(),
        };
        for i in 0..O {
            let row = M::map::<L>(points, half[i]);
            for j in 0..O {
                let place = *places.add(i * O + j);
                if HOLES && place == NOWHERE {
                    continue;
                }
                let mut v = row[j];
                if M::FINISHES {
                    v = L::add(v, bias);
                    if t.relu {
                        v = L::relu(v);
                    }
                }
                let to = to.add(place + c);
                if FULL {
                    L::store(to, v);
                } else {
                    L::store_masked(to, mask, v);
                }
            }
        }
    }
}
