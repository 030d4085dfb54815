//! Winograd's transforms: small linear maps along the axes of a tile, with channels in the lanes.
//!
//! A correlation of `r` taps gives `m` outputs from `m + r - 1 = 6` inputs as
//! `y = A' ((G w) * (B' x))` with 6 products instead of `m r` (Toom and Cook's interpolation, transposed): 4 outputs of
//! 3 taps, or 2 of 5. A tile is transformed along its row, or along both its axes, with 36 products. The points
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
/// Points of a tile at most.
pub const MOST_POINTS: usize = POINTS * POINTS;
/// Stands for an element that is zero (source) or not wanted (target).
pub const NOWHERE: usize = usize::MAX;

/// Which axes of a tile are transformed, and how many taps the kernel has along each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A row: 4 outputs of 3 taps.
    Line3,
    /// A row: 2 outputs of 5 taps.
    Line5,
    /// 4 x 4 outputs of 3 x 3 taps.
    Square3,
    /// 2 x 2 outputs of 5 x 5 taps.
    Square5,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Line3, Self::Line5, Self::Square3, Self::Square5];

    /// Taps along an axis.
    pub const fn taps(self) -> usize {
        match self {
            Self::Line3 | Self::Square3 => 3,
            Self::Line5 | Self::Square5 => 5,
        }
    }

    /// Outputs along an axis.
    pub const fn outputs(self) -> usize {
        POINTS + 1 - self.taps()
    }

    /// Whether both axes are transformed.
    pub const fn is_square(self) -> bool {
        matches!(self, Self::Square3 | Self::Square5)
    }

    /// Elements of a tile that has `along` of them along an axis.
    pub const fn area(self, along: usize) -> usize {
        if self.is_square() { along * along } else { along }
    }

    /// Points of a tile.
    pub const fn points(self) -> usize {
        self.area(POINTS)
    }
}

/// Which map is applied along the axes of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// `B'`: inputs to points.
    Input,
    /// `A'`: points to outputs.
    Output,
    /// `A`: the gradient of outputs to points.
    OutputGrad,
    /// `G`: taps to points.
    Kernel,
    /// `G'`: points to the gradient of taps.
    KernelGrad,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Input, Self::Output, Self::OutputGrad, Self::Kernel, Self::KernelGrad];

    /// Elements of a tile per channel, before and after.
    pub const fn lens(self, form: Form) -> [usize; 2] {
        let points = form.points();
        let (outputs, taps) = (form.area(form.outputs()), form.area(form.taps()));
        match self {
            Self::Input => [points, points],
            Self::Output => [points, outputs],
            Self::OutputGrad => [outputs, points],
            Self::Kernel => [taps, points],
            Self::KernelGrad => [points, taps],
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
    /// The axes.
    pub form: Form,
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
        let [from, to] = self.stage.lens(self.form);
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

/// An axis that is left as it is.
struct Same;
impl Along<1, 1> for Same {
    #[inline(always)]
    unsafe fn map<L: Lanes>(_: &Points<L>, v: [L::V; 1]) -> [L::V; 1] {
        v
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

impl Along<6, 2> for Output {
    const FINISHES: bool = true;

    #[inline(always)]
    unsafe fn map<L: Lanes>(points: &Points<L>, v: [L::V; 6]) -> [L::V; 2] {
        // SAFETY: as the caller's.
        unsafe {
            let [near, far] = [L::add(v[1], v[2]), L::add(v[3], v[4])];
            let near_odd = L::mul(points.a, L::sub(v[1], v[2]));
            let far_odd = L::mul(points.b, L::sub(v[3], v[4]));
            [L::add(v[0], L::add(near, far)), L::add(v[5], L::add(near_odd, far_odd))]
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

impl Along<2, 6> for OutputGrad {
    #[inline(always)]
    unsafe fn map<L: Lanes>(points: &Points<L>, y: [L::V; 2]) -> [L::V; 6] {
        // SAFETY: as the caller's.
        unsafe {
            let [p, q] = at_both::<L>(y[0], y[1], points.a);
            let [r, s] = at_both::<L>(y[0], y[1], points.b);
            [y[0], p, q, r, s, y[1]]
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

impl Along<5, 6> for Kernel {
    #[inline(always)]
    unsafe fn map<L: Lanes>(points: &Points<L>, w: [L::V; 5]) -> [L::V; 6] {
        // SAFETY: as the caller's.
        unsafe {
            let even = |square| L::mul_add(square, L::mul_add(square, w[4], w[2]), w[0]);
            let odd = |square| L::mul_add(square, w[3], w[1]);
            let (a2, b2) = (all::<L>(0.5), all::<L>(2.0));
            let [p, q] = at_both::<L>(even(a2), odd(a2), points.a).map(|v| L::mul(all::<L>(NEAR), v));
            let [r, s] = at_both::<L>(even(b2), odd(b2), points.b).map(|v| L::mul(all::<L>(FAR), v));
            [w[0], p, q, r, s, w[4]]
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

impl Along<6, 5> for KernelGrad {
    #[inline(always)]
    unsafe fn map<L: Lanes>(points: &Points<L>, v: [L::V; 6]) -> [L::V; 5] {
        // SAFETY: as the caller's.
        unsafe {
            let near = L::mul(all::<L>(NEAR), L::add(v[1], v[2]));
            let far = L::mul(all::<L>(FAR), L::add(v[3], v[4]));
            let near_odd = L::mul(points.a, L::mul(all::<L>(NEAR), L::sub(v[1], v[2])));
            let far_odd = L::mul(points.b, L::mul(all::<L>(FAR), L::sub(v[3], v[4])));
            let (a2, b2) = (all::<L>(0.5), all::<L>(2.0));
            [
                L::add(v[0], L::add(near, far)),
                L::add(near_odd, far_odd),
                L::mul_add(a2, near, L::mul(b2, far)),
                L::mul_add(a2, near_odd, L::mul(b2, far_odd)),
                L::add(v[5], L::mul_add(all::<L>(0.25), near, L::mul(all::<L>(4.0), far))),
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
        match t.form.taps() {
            3 => stages::<L, 4, 3>(t),
            _ => stages::<L, 2, 5>(t),
        }
    }
}

/// The stages for `M` outputs of `R` taps.
///
/// # Safety
/// As [`transform`]; `M` and `R` are those of the form.
#[inline(always)]
unsafe fn stages<L: Lanes, const M: usize, const R: usize>(t: &mut Transform<'_, L::Elem>)
where
    Output: Along<6, M>,
    OutputGrad: Along<M, 6>,
    Kernel: Along<R, 6>,
    KernelGrad: Along<6, R>,
{
    // SAFETY: as the caller's.
    unsafe {
        match t.stage {
            Stage::Input => axes::<L, Input, 6, 6>(t),
            Stage::Output => axes::<L, Output, 6, M>(t),
            Stage::OutputGrad => axes::<L, OutputGrad, M, 6>(t),
            Stage::Kernel => axes::<L, Kernel, R, 6>(t),
            Stage::KernelGrad => axes::<L, KernelGrad, 6, R>(t),
        }
    }
}

/// A map along the axes of the form.
///
/// # Safety
/// As [`transform`]; the map is that of the stage.
#[inline(always)]
unsafe fn axes<L: Lanes, A: Along<I, O>, const I: usize, const O: usize>(t: &mut Transform<'_, L::Elem>) {
    // SAFETY: as the caller's.
    unsafe {
        if t.form.is_square() {
            tiles::<L, A, A, I, O, I, O>(t);
        } else {
            tiles::<L, Same, A, 1, 1, I, O>(t);
        }
    }
}

/// All tiles, vector by vector of channels.
///
/// # Safety
/// As [`transform`]; the maps of columns and of rows are those of form and stage.
#[inline(always)]
unsafe fn tiles<
    L: Lanes,
    H: Along<HI, HO>,
    W: Along<WI, WO>,
    const HI: usize,
    const HO: usize,
    const WI: usize,
    const WO: usize,
>(
    t: &mut Transform<'_, L::Elem>,
) {
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
                    tile::<L, H, W, HI, HO, WI, WO, true, true>(t, &points, from, to, c);
                } else {
                    tile::<L, H, W, HI, HO, WI, WO, true, false>(t, &points, from, to, c);
                }
            }
            if whole < t.channels {
                tile::<L, H, W, HI, HO, WI, WO, false, true>(t, &points, from, to, whole);
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
    H: Along<HI, HO>,
    W: Along<WI, WO>,
    const HI: usize,
    const HO: usize,
    const WI: usize,
    const WO: usize,
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
        let mut half = [[L::zero(); WI]; HO];
        for j in 0..WI {
            let mut column = [L::zero(); HI];
            for i in 0..HI {
                let at = *at.add(i * WI + j);
                if !HOLES || at != NOWHERE {
                    column[i] = load(from.add(at + c));
                }
            }
            let mapped = H::map::<L>(points, column);
            for i in 0..HO {
                half[i][j] = mapped[i];
            }
        }
        let bias = match t.bias {
            Some(bias) if W::FINISHES => load(bias.as_ptr().add(c)),
            _ => L::zero(),
        };
        for i in 0..HO {
            let row = W::map::<L>(points, half[i]);
            for j in 0..WO {
                let place = *places.add(i * WO + j);
                if HOLES && place == NOWHERE {
                    continue;
                }
                let mut v = row[j];
                if W::FINISHES {
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
