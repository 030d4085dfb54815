//! The maps of a tile along one axis.

use super::{Form, POINTS};
use crate::kernels::lanes::{Element, Lanes};

/// The points as vectors.
pub(super) struct Points<L: Lanes> {
    /// sqrt(1/2)
    pub a: L::V,
    /// sqrt(2)
    pub b: L::V,
}

/// A linear map along one axis.
pub(super) trait Along<const I: usize, const O: usize> {
    /// Whether bias and ReLU follow.
    const FINISHES: bool = false;
    /// Whether tiles are recorded, and the positions in their centre.
    const NOTED: bool = false;
    const CENTRE: [bool; POINTS] = [true; POINTS];

    /// # Safety
    /// As [`Lanes`].
    unsafe fn map<L: Lanes>(points: &Points<L>, v: [L::V; I]) -> [L::V; O];
}

/// `x` in every lane.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(super) unsafe fn all<L: Lanes>(x: f64) -> L::V {
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
pub(super) struct Same;
impl Along<1, 1> for Same {
    #[inline(always)]
    unsafe fn map<L: Lanes>(_: &Points<L>, v: [L::V; 1]) -> [L::V; 1] {
        v
    }
}

pub(super) struct Input<const R: usize>;
impl<const R: usize> Along<6, 6> for Input<R> {
    const NOTED: bool = true;
    const CENTRE: [bool; POINTS] = if R == 3 { Form::Line3 } else { Form::Line5 }.centre()[0];

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

pub(super) struct Output;
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

pub(super) struct OutputGrad;
impl Along<4, 6> for OutputGrad {
    const NOTED: bool = true;
    const CENTRE: [bool; POINTS] = Form::Line3.centre()[1];

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
    const NOTED: bool = true;
    const CENTRE: [bool; POINTS] = Form::Line5.centre()[1];

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

pub(super) struct Kernel;
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

pub(super) struct KernelGrad;
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

pub(super) struct Taps;
impl Along<6, 3> for Taps {
    #[inline(always)]
    unsafe fn map<L: Lanes>(points: &Points<L>, v: [L::V; 6]) -> [L::V; 3] {
        // SAFETY: as the caller's.
        unsafe {
            // 1 / (2 a N) = b / (2 N), as a b = 1.
            let middle = L::mul(points.b, L::mul(all::<L>(0.5 / NEAR), L::sub(v[1], v[2])));
            [v[0], middle, v[5]]
        }
    }
}

impl Along<6, 5> for Taps {
    #[inline(always)]
    unsafe fn map<L: Lanes>(points: &Points<L>, v: [L::V; 6]) -> [L::V; 5] {
        // SAFETY: as the caller's.
        unsafe {
            // w0 + w2 / 2 + w4 / 4, w1 + w3 / 2 and w1 + 2 w3.
            let even = L::mul(all::<L>(0.5 / NEAR), L::add(v[1], v[2]));
            let near = L::mul(points.b, L::mul(all::<L>(0.5 / NEAR), L::sub(v[1], v[2])));
            let far = L::mul(points.a, L::mul(all::<L>(0.5 / FAR), L::sub(v[3], v[4])));
            let second = L::mul(all::<L>(2.0), L::mul_add(all::<L>(-0.25), v[5], L::sub(even, v[0])));
            let third = L::mul(all::<L>(2.0 / 3.0), L::sub(far, near));
            [v[0], L::mul_add(all::<L>(-0.5), third, near), second, third, v[5]]
        }
    }
}
