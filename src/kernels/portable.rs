//! The portable tier: plain arrays that the compiler turns into whatever vectors the target's baseline has.
//!
//! Where the baseline has no fused operation, multiply and add round separately: fused, they would be a library call.

use super::arch;
use super::gemm::tile::heights;
use super::lanes::{Element, Lanes};
use super::table::tier;

heights!(
    /// 16 registers, of which the separate multiplication needs one more.
    UpTo4, 4: 1 2 3 4
);

type F32 = Portable<f32, 4>;
type F64 = Portable<f64, 2>;
tier!("portable", none[], fused: arch::PLAIN_FUSES);

/// 16 bytes of lanes: one register of SSE2 or NEON.
pub(super) struct Portable<T, const W: usize>(std::marker::PhantomData<T>);

impl<T: Element, const W: usize> Lanes for Portable<T, W> {
    type Elem = T;
    type V = [T; W];
    type TailMask = (usize, usize);
    type CmpMask = [bool; W];
    type Permutation = [usize; W];
    type Few = Self::V;
    type Heights = UpTo4;
    type Half = Self;
    const CHANNEL_VECTORS: usize = 1;
    const WIDTH: usize = W;
    const FEW: usize = 1;
    const MASKS_ARE_FREE: bool = false;

    #[inline(always)]
    unsafe fn zero() -> Self::V {
        [T::ZERO; W]
    }
    #[inline(always)]
    unsafe fn splat(x: T) -> Self::V {
        [x; W]
    }
    #[inline(always)]
    unsafe fn load(p: *const T) -> Self::V {
        // SAFETY: the caller vouches for W elements.
        unsafe { p.cast::<[T; W]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut T, v: Self::V) {
        // SAFETY: the caller vouches for W elements.
        unsafe { p.cast::<[T; W]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn mask(n: usize) -> (usize, usize) {
        (0, n)
    }
    #[inline(always)]
    unsafe fn mask_between(from: usize, to: usize) -> (usize, usize) {
        (from, to)
    }
    #[inline(always)]
    unsafe fn load_masked(p: *const T, (from, to): (usize, usize)) -> Self::V {
        // SAFETY: the caller vouches for the elements `from..to`; a full mask is the common case. Wrapping, because
        // those before them may lie outside.
        unsafe {
            if (from, to) == (0, W) {
                return Self::load(p);
            }
            let mut v = [T::ZERO; W];
            for (i, lane) in v.iter_mut().enumerate().take(to).skip(from) {
                *lane = *p.wrapping_add(i);
            }
            v
        }
    }
    #[inline(always)]
    unsafe fn store_masked(p: *mut T, (from, to): (usize, usize), v: Self::V) {
        // SAFETY: as for the load.
        unsafe {
            if (from, to) == (0, W) {
                return Self::store(p, v);
            }
            for (i, lane) in v.iter().enumerate().take(to).skip(from) {
                *p.wrapping_add(i) = *lane;
            }
        }
    }
    #[inline(always)]
    unsafe fn mul_add(a: Self::V, b: Self::V, mut c: Self::V) -> Self::V {
        for i in 0..W {
            c[i] = if arch::PLAIN_FUSES { a[i].mul_add(b[i], c[i]) } else { a[i].mul(b[i]).add(c[i]) };
        }
        c
    }
    #[inline(always)]
    unsafe fn few(p: *const T) -> Self::V {
        // SAFETY: the caller vouches for the element.
        unsafe { [*p; W] }
    }
    #[inline(always)]
    unsafe fn mul_add_nth(few: Self::V, _: usize, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the portable tier needs no feature.
        unsafe { Self::mul_add(few, b, c) }
    }
    #[inline(always)]
    unsafe fn relu(mut v: Self::V) -> Self::V {
        for lane in &mut v {
            // Written so that NaN stays NaN.
            if *lane <= T::ZERO {
                *lane = T::ZERO;
            }
        }
        v
    }
    #[inline(always)]
    unsafe fn larger(mut best: Self::V, v: Self::V) -> Self::V {
        for i in 0..W {
            best[i] = best[i].larger(v[i]);
        }
        best
    }
    #[inline(always)]
    unsafe fn largest(v: Self::V) -> T {
        v.into_iter().fold(T::ZERO, T::larger)
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const T) {}
    #[inline(always)]
    unsafe fn prefetch_far(_: *const T) {}
    #[inline(always)]
    unsafe fn stream(p: *mut T, v: Self::V) {
        // SAFETY: the caller vouches for the lanes.
        unsafe { Self::store(p, v) }
    }
    #[inline(always)]
    unsafe fn permutation(k: usize, r: usize) -> [usize; W] {
        std::array::from_fn(|lane| lane / k * k + r)
    }
    #[inline(always)]
    unsafe fn permute<const K: usize>(v: Self::V, _: usize, order: [usize; W]) -> Self::V {
        std::array::from_fn(|lane| v[order[lane] % W])
    }
    #[inline(always)]
    unsafe fn interleave<const N: usize>(parts: [Self::V; N], i: usize) -> Self::V {
        std::array::from_fn(|lane| parts[(i * W + lane) % N][(i * W + lane) / N])
    }
    #[inline(always)]
    unsafe fn transpose(from: *const T, from_step: usize, to: *mut T, to_step: usize) {
        for (p, c) in (0..W).flat_map(|p| (0..Self::PART).map(move |c| (p, c))) {
            // SAFETY: the caller vouches for the elements.
            unsafe { *to.add(c * to_step + p) = *from.add(p * from_step + c) };
        }
    }
    #[inline(always)]
    unsafe fn add(mut a: Self::V, b: Self::V) -> Self::V {
        for i in 0..W {
            a[i] = a[i].add(b[i]);
        }
        a
    }
    #[inline(always)]
    unsafe fn sub(mut a: Self::V, b: Self::V) -> Self::V {
        for i in 0..W {
            a[i] = a[i].sub(b[i]);
        }
        a
    }
    #[inline(always)]
    unsafe fn mul(mut a: Self::V, b: Self::V) -> Self::V {
        for i in 0..W {
            a[i] = a[i].mul(b[i]);
        }
        a
    }
    #[inline(always)]
    unsafe fn wins(x: Self::V, best: Self::V) -> [bool; W] {
        std::array::from_fn(|i| x[i] > best[i] || x[i].is_nan() && !best[i].is_nan())
    }
    #[inline(always)]
    unsafe fn equal(a: Self::V, b: Self::V) -> [bool; W] {
        std::array::from_fn(|i| a[i] == b[i])
    }
    #[inline(always)]
    unsafe fn positive(v: Self::V) -> [bool; W] {
        v.map(|lane| lane > T::ZERO)
    }
    #[inline(always)]
    unsafe fn select(mask: [bool; W], a: Self::V, mut b: Self::V) -> Self::V {
        for i in 0..W {
            b[i] = if mask[i] { a[i] } else { b[i] };
        }
        b
    }
    #[inline(always)]
    unsafe fn load_bytes(p: *const u8, n: usize) -> Self::V {
        let mut v = [T::ZERO; W];
        for (i, lane) in v.iter_mut().enumerate().take(n) {
            // SAFETY: the caller vouches for n bytes.
            *lane = T::from_f64(f64::from(unsafe { *p.add(i) }));
        }
        v
    }
    #[inline(always)]
    unsafe fn store_bytes(p: *mut u8, n: usize, v: Self::V) {
        for (i, lane) in v.iter().enumerate().take(n) {
            // SAFETY: the caller vouches for n bytes.
            unsafe { *p.add(i) = lane.to_f64() as u8 };
        }
    }
}
