//! NEON: 32 registers of 4 floats or 2 doubles, taken in pairs. So vectors are as wide as those of AVX2, and panels, forms
//! and chains are the same; results are, to the bit.

use std::arch::aarch64::*;
use std::arch::asm;

use crate::kernels::gemm::tile::heights;
use crate::kernels::lanes::{Element, Lanes};
use crate::kernels::table::tier;

tier!("neon", is_aarch64_feature_detected["neon"], fused: true);
heights!(
    /// 32 registers: 10 accumulators and 2 vectors of B, of two each, and 5 with elements of A. A sixth row spills.
    UpTo5, 5: 1 2 3 4 5
);

/// float32 lanes.
pub(in crate::kernels) struct F32;
/// float64 lanes.
pub(in crate::kernels) struct F64;

/// Bytes of a vector.
const BYTES: usize = 32;

macro_rules! lanes {
    ($name:ident, $elem:ident, $width:literal, $v:ident, $mask:ident, $splat:ident, $load:ident, $store:ident,
     $fma:ident, $fma_lane:ident, $to_bits:ident, $from_bits:ident, $to_bytes:ident, $from_bytes:ident, $bic:ident, $cle:ident,
     $ceq:ident, $cgt:ident, $select:ident, $add:ident, $sub:ident, $mul:ident, $zip1:ident, $zip2:ident, $load_bytes:ident,
     $store_bytes:ident, $transpose:ident, $larger:ident, $largest:ident, $repeat:ident, $load_first:ident,
     $pair:ident) => {
        // SAFETY (all blocks below): the caller vouches for the instructions and for the lanes touched.
        impl Lanes for $name {
            type Elem = $elem;
            type V = [$v; 2];
            type TailMask = (usize, usize);
            type CmpMask = [$mask; 2];
            type Permutation = ();
            type Heights = UpTo5;
            type Half = Self;
            type Few = $v;
            const CHANNEL_VECTORS: usize = 2;
            const WIDTH: usize = $width;
            const MASKS_ARE_FREE: bool = false;
            const FEW: usize = $width / 2;

            #[inline(always)]
            unsafe fn zero() -> Self::V {
                // SAFETY: see above.
                unsafe { [$splat(0.0); 2] }
            }
            #[inline(always)]
            unsafe fn splat(x: $elem) -> Self::V {
                // SAFETY: see above.
                unsafe { [$splat(x); 2] }
            }
            #[inline(always)]
            unsafe fn load(p: *const $elem) -> Self::V {
                // SAFETY: see above.
                unsafe { [$load(p), $load(p.add($width / 2))] }
            }
            #[inline(always)]
            unsafe fn store(p: *mut $elem, v: Self::V) {
                // SAFETY: see above.
                unsafe {
                    $store(p, v[0]);
                    $store(p.add($width / 2), v[1]);
                }
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
            unsafe fn load_masked(p: *const $elem, mask: (usize, usize)) -> Self::V {
                // SAFETY: see above; lanes outside the mask are not accessed.
                unsafe {
                    if mask == (0, $width) {
                        return Self::load(p);
                    }
                    let mut lanes = [0.0; $width];
                    load_some(p, mask, &mut lanes);
                    Self::load(lanes.as_ptr())
                }
            }
            #[inline(always)]
            unsafe fn load_masked_in_loop(p: *const $elem, (from, to): (usize, usize)) -> Self::V {
                debug_assert!(from == 0, "the first lanes");
                // SAFETY: see above; lanes outside the mask are not accessed.
                unsafe { $load_first(p, to) }
            }
            #[inline(always)]
            unsafe fn store_masked(p: *mut $elem, mask: (usize, usize), v: Self::V) {
                // SAFETY: see above; lanes outside the mask are not accessed.
                unsafe {
                    if mask == (0, $width) {
                        return Self::store(p, v);
                    }
                    let mut lanes = [0.0; $width];
                    Self::store(lanes.as_mut_ptr(), v);
                    store_some(p, mask, &lanes);
                }
            }
            #[inline(always)]
            unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                // SAFETY: see above.
                unsafe { [$fma(c[0], a[0], b[0]), $fma(c[1], a[1], b[1])] }
            }
            #[inline(always)]
            unsafe fn few(p: *const $elem) -> $v {
                // SAFETY: see above.
                unsafe { $load(p) }
            }
            #[inline(always)]
            unsafe fn pair(p: *const $elem) -> $v {
                // SAFETY: see above.
                unsafe { $pair(p) }
            }
            #[inline(always)]
            unsafe fn mul_add_nth(few: $v, n: usize, b: Self::V, c: Self::V) -> Self::V {
                // SAFETY: see above.
                unsafe { $fma_lane(few, n, b, c) }
            }
            #[inline(always)]
            unsafe fn relu(v: Self::V) -> Self::V {
                // SAFETY: see above. Cleared where less or equal: NaN is neither.
                unsafe {
                    let positive = |v| $from_bits($bic($to_bits(v), $cle(v, $splat(0.0))));
                    [positive(v[0]), positive(v[1])]
                }
            }
            #[inline(always)]
            unsafe fn larger(best: Self::V, v: Self::V) -> Self::V {
                // SAFETY: see above.
                unsafe { [$larger(best[0], v[0]), $larger(best[1], v[1])] }
            }
            #[inline(always)]
            unsafe fn largest(v: Self::V) -> $elem {
                // SAFETY: see above.
                unsafe { $largest(v) }
            }
            #[inline(always)]
            unsafe fn prefetch(p: *const $elem) {
                // SAFETY: see above; a prefetch of any address is harmless.
                unsafe {
                    asm!("prfm pldl1keep, [{}]", in(reg) p, options(nostack, preserves_flags, readonly));
                }
            }
            #[inline(always)]
            unsafe fn prefetch_far(p: *const $elem) {
                // SAFETY: see above; a prefetch of any address is harmless.
                unsafe {
                    asm!("prfm pldl2keep, [{}]", in(reg) p, options(nostack, preserves_flags, readonly));
                }
            }
            #[inline(always)]
            unsafe fn stream(p: *mut $elem, v: Self::V) {
                // SAFETY: see above.
                unsafe { Self::store(p, v) }
            }
            #[inline(always)]
            unsafe fn permutation(_: usize, _: usize) {}
            #[inline(always)]
            unsafe fn permute<const K: usize>(v: Self::V, r: usize, (): ()) -> Self::V {
                // SAFETY: see above.
                unsafe { $repeat::<K>(v, r) }
            }
            #[inline(always)]
            unsafe fn interleave<const N: usize>(parts: [Self::V; N], i: usize) -> Self::V {
                // For each result and part the bytes that it takes; those that it does not take are numbers too large.
                const fn orders<const N: usize>() -> [[[u8; BYTES]; N]; N] {
                    let size = size_of::<$elem>();
                    let mut all = [[[u8::MAX; BYTES]; N]; N];
                    let mut at = 0;
                    while at < N * BYTES {
                        let (element, byte) = (at / size, at % size);
                        all[at / BYTES][element % N][at % BYTES] = (element / N * size + byte) as u8;
                        at += 1;
                    }
                    all
                }
                // SAFETY: see above; each array has as many bytes as the vector.
                unsafe {
                    if N == 1 {
                        return parts[0];
                    }
                    if N == 2 {
                        let [a, b] = [parts[0][i], parts[N - 1][i]];
                        return [$zip1(a, b), $zip2(a, b)];
                    }
                    let orders = const { &orders::<N>() };
                    let mut mixed = [vdupq_n_u8(0); 2];
                    for part in 0..N {
                        let table = uint8x16x2_t($to_bytes(parts[part][0]), $to_bytes(parts[part][1]));
                        let order = orders[i][part].as_ptr();
                        mixed[0] = vqtbx2q_u8(mixed[0], table, vld1q_u8(order));
                        mixed[1] = vqtbx2q_u8(mixed[1], table, vld1q_u8(order.add(BYTES / 2)));
                    }
                    [$from_bytes(mixed[0]), $from_bytes(mixed[1])]
                }
            }
            #[inline(always)]
            unsafe fn transpose(from: *const $elem, from_step: usize, to: *mut $elem, to_step: usize) {
                // SAFETY: see above.
                unsafe { $transpose(from, from_step, to, to_step) }
            }
            #[inline(always)]
            unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: see above.
                unsafe { [$add(a[0], b[0]), $add(a[1], b[1])] }
            }
            #[inline(always)]
            unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: see above.
                unsafe { [$sub(a[0], b[0]), $sub(a[1], b[1])] }
            }
            #[inline(always)]
            unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: see above.
                unsafe { [$mul(a[0], b[0]), $mul(a[1], b[1])] }
            }
            #[inline(always)]
            unsafe fn wins(x: Self::V, best: Self::V) -> Self::CmpMask {
                // SAFETY: see above. Not less or equal, and the best is a number.
                unsafe {
                    let wins = |i: usize| $bic($ceq(best[i], best[i]), $cle(x[i], best[i]));
                    [wins(0), wins(1)]
                }
            }
            #[inline(always)]
            unsafe fn equal(a: Self::V, b: Self::V) -> Self::CmpMask {
                // SAFETY: see above.
                unsafe { [$ceq(a[0], b[0]), $ceq(a[1], b[1])] }
            }
            #[inline(always)]
            unsafe fn positive(v: Self::V) -> Self::CmpMask {
                // SAFETY: see above.
                unsafe { [$cgt(v[0], $splat(0.0)), $cgt(v[1], $splat(0.0))] }
            }
            #[inline(always)]
            unsafe fn select(mask: Self::CmpMask, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: see above.
                unsafe { [$select(mask[0], a[0], b[0]), $select(mask[1], a[1], b[1])] }
            }
            #[inline(always)]
            unsafe fn load_bytes(p: *const u8, n: usize) -> Self::V {
                // SAFETY: see above; only n bytes are accessed.
                unsafe { $load_bytes(p, n) }
            }
            #[inline(always)]
            unsafe fn store_bytes(p: *mut u8, n: usize, v: Self::V) {
                // SAFETY: see above; only n bytes are accessed.
                unsafe { $store_bytes(p, n, v) }
            }
        }
    };
}
lanes!(
    F32,
    f32,
    8,
    float32x4_t,
    uint32x4_t,
    vdupq_n_f32,
    vld1q_f32,
    vst1q_f32,
    vfmaq_f32,
    mul_add_nth_f32,
    vreinterpretq_u32_f32,
    vreinterpretq_f32_u32,
    vreinterpretq_u8_f32,
    vreinterpretq_f32_u8,
    vbicq_u32,
    vcleq_f32,
    vceqq_f32,
    vcgtq_f32,
    vbslq_f32,
    vaddq_f32,
    vsubq_f32,
    vmulq_f32,
    vzip1q_f32,
    vzip2q_f32,
    bytes_to_f32,
    f32_to_bytes,
    transpose_f32,
    larger_f32,
    largest_f32,
    repeat_f32,
    load_first_f32,
    pair_f32
);
lanes!(
    F64,
    f64,
    4,
    float64x2_t,
    uint64x2_t,
    vdupq_n_f64,
    vld1q_f64,
    vst1q_f64,
    vfmaq_f64,
    mul_add_nth_f64,
    vreinterpretq_u64_f64,
    vreinterpretq_f64_u64,
    vreinterpretq_u8_f64,
    vreinterpretq_f64_u8,
    vbicq_u64,
    vcleq_f64,
    vceqq_f64,
    vcgtq_f64,
    vbslq_f64,
    vaddq_f64,
    vsubq_f64,
    vmulq_f64,
    vzip1q_f64,
    vzip2q_f64,
    bytes_to_f64,
    f64_to_bytes,
    transpose_f64,
    larger_f64,
    largest_f64,
    repeat_f64,
    load_first_f64,
    vld1q_f64
);

/// The elements `from..to` of `lanes` from memory. Out of line: in the loops around masked accesses it would keep the
/// compiler from unrolling them, and accumulators would live in memory.
///
/// # Safety
/// These elements at `p` are valid, and `to` is at most the length of `lanes`.
#[cold]
#[inline(never)]
unsafe fn load_some<T: Element, const W: usize>(p: *const T, (from, to): (usize, usize), lanes: &mut [T; W]) {
    for (i, lane) in lanes.iter_mut().enumerate().take(to).skip(from) {
        // SAFETY: as the caller's. Wrapping, because elements before the first may lie outside.
        *lane = unsafe { *p.wrapping_add(i) };
    }
}

/// The elements `from..to` of `lanes` to memory, out of line for the same reason.
///
/// # Safety
/// As [`load_some`].
#[cold]
#[inline(never)]
unsafe fn store_some<T: Element, const W: usize>(p: *mut T, (from, to): (usize, usize), lanes: &[T; W]) {
    for (i, lane) in lanes.iter().enumerate().take(to).skip(from) {
        // SAFETY: as for the load.
        unsafe { *p.wrapping_add(i) = *lane };
    }
}

/// The first `n` elements, and zeros.
///
/// # Safety
/// NEON; `n <= 8` elements at `p` are valid.
#[inline(always)]
unsafe fn load_first_f32(p: *const f32, n: usize) -> [float32x4_t; 2] {
    // Bytes that are moved down by 0 to 12: numbers of 16 and more stand for zero.
    const DOWN: [u8; 28] = {
        let mut all = [0; 28];
        let mut i = 0;
        while i < all.len() {
            all[i] = i as u8;
            i += 1;
        }
        all
    };
    // SAFETY: as the caller's; what is read ends with the last element.
    unsafe {
        let zero = vdupq_n_f32(0.0);
        if n > 4 {
            let end = vreinterpretq_u8_f32(vld1q_f32(p.add(n - 4)));
            let down = vld1q_u8(DOWN.as_ptr().add(4 * (8 - n)));
            return [vld1q_f32(p), vreinterpretq_f32_u8(vqtbl1q_u8(end, down))];
        }
        let low = match n {
            0 => zero,
            1 => vld1q_lane_f32::<0>(p, zero),
            2 => vcombine_f32(vld1_f32(p), vdup_n_f32(0.0)),
            3 => vld1q_lane_f32::<2>(p.add(2), vcombine_f32(vld1_f32(p), vdup_n_f32(0.0))),
            _ => vld1q_f32(p),
        };
        [low, zero]
    }
}

/// The first `n` elements, and zeros.
///
/// # Safety
/// NEON; `n <= 4` elements at `p` are valid.
#[inline(always)]
unsafe fn load_first_f64(p: *const f64, n: usize) -> [float64x2_t; 2] {
    // SAFETY: as the caller's.
    unsafe {
        let zero = vdupq_n_f64(0.0);
        match n {
            0 => [zero; 2],
            1 => [vld1q_lane_f64::<0>(p, zero), zero],
            2 => [vld1q_f64(p), zero],
            3 => [vld1q_f64(p), vld1q_lane_f64::<0>(p.add(2), zero)],
            _ => [vld1q_f64(p), vld1q_f64(p.add(2))],
        }
    }
}

/// See [`Lanes::pair`].
///
/// # Safety
/// NEON; two elements at `p` are valid.
#[inline(always)]
unsafe fn pair_f32(p: *const f32) -> float32x4_t {
    // SAFETY: as the caller's.
    unsafe { vcombine_f32(vld1_f32(p), vdup_n_f32(0.0)) }
}

/// See [`Lanes::mul_add_nth`].
///
/// # Safety
/// NEON.
#[inline(always)]
unsafe fn mul_add_nth_f32(
    few: float32x4_t,
    n: usize,
    b: [float32x4_t; 2],
    c: [float32x4_t; 2],
) -> [float32x4_t; 2] {
    // SAFETY: as the caller's.
    unsafe {
        match n {
            0 => [vfmaq_laneq_f32::<0>(c[0], b[0], few), vfmaq_laneq_f32::<0>(c[1], b[1], few)],
            1 => [vfmaq_laneq_f32::<1>(c[0], b[0], few), vfmaq_laneq_f32::<1>(c[1], b[1], few)],
            2 => [vfmaq_laneq_f32::<2>(c[0], b[0], few), vfmaq_laneq_f32::<2>(c[1], b[1], few)],
            _ => [vfmaq_laneq_f32::<3>(c[0], b[0], few), vfmaq_laneq_f32::<3>(c[1], b[1], few)],
        }
    }
}

/// See [`Lanes::mul_add_nth`].
///
/// # Safety
/// NEON.
#[inline(always)]
unsafe fn mul_add_nth_f64(
    few: float64x2_t,
    n: usize,
    b: [float64x2_t; 2],
    c: [float64x2_t; 2],
) -> [float64x2_t; 2] {
    // SAFETY: as the caller's.
    unsafe {
        match n {
            0 => [vfmaq_laneq_f64::<0>(c[0], b[0], few), vfmaq_laneq_f64::<0>(c[1], b[1], few)],
            _ => [vfmaq_laneq_f64::<1>(c[0], b[0], few), vfmaq_laneq_f64::<1>(c[1], b[1], few)],
        }
    }
}

/// See [`Lanes::permute`]: a lane in all others becomes the factor of a multiply-add, and costs nothing.
///
/// # Safety
/// NEON.
#[inline(always)]
unsafe fn repeat_f32<const K: usize>(v: [float32x4_t; 2], r: usize) -> [float32x4_t; 2] {
    // SAFETY: as the caller's.
    unsafe {
        let lane = |v| match r % 4 {
            0 => vdupq_laneq_f32::<0>(v),
            1 => vdupq_laneq_f32::<1>(v),
            2 => vdupq_laneq_f32::<2>(v),
            _ => vdupq_laneq_f32::<3>(v),
        };
        match (K, r) {
            (2, 0) => v.map(|v| vtrn1q_f32(v, v)),
            (2, _) => v.map(|v| vtrn2q_f32(v, v)),
            (4, _) => v.map(lane),
            _ => [lane(v[r / 4 % 2]); 2],
        }
    }
}

/// See [`Lanes::permute`].
///
/// # Safety
/// NEON.
#[inline(always)]
unsafe fn repeat_f64<const K: usize>(v: [float64x2_t; 2], r: usize) -> [float64x2_t; 2] {
    // SAFETY: as the caller's.
    unsafe {
        let lane = |v| if r % 2 == 0 { vdupq_laneq_f64::<0>(v) } else { vdupq_laneq_f64::<1>(v) };
        if K == 2 { v.map(lane) } else { [lane(v[r / 2 % 2]); 2] }
    }
}

/// See [`Lanes::larger`]: without their signs, numbers are ordered as integers are, NaN after infinity.
///
/// # Safety
/// NEON.
#[inline(always)]
unsafe fn larger_f32(best: float32x4_t, v: float32x4_t) -> float32x4_t {
    // SAFETY: as the caller's.
    unsafe {
        let v = vandq_s32(vreinterpretq_s32_f32(v), vdupq_n_s32(i32::MAX));
        vreinterpretq_f32_s32(vmaxq_s32(vreinterpretq_s32_f32(best), v))
    }
}

/// See [`Lanes::larger`].
///
/// # Safety
/// NEON.
#[inline(always)]
unsafe fn larger_f64(best: float64x2_t, v: float64x2_t) -> float64x2_t {
    // SAFETY: as the caller's.
    unsafe {
        let v = vandq_s64(vreinterpretq_s64_f64(v), vdupq_n_s64(i64::MAX));
        let wins = vcgtq_s64(v, vreinterpretq_s64_f64(best));
        vbslq_f64(wins, vreinterpretq_f64_s64(v), best)
    }
}

/// See [`Lanes::largest`].
///
/// # Safety
/// NEON.
#[inline(always)]
unsafe fn largest_f32(v: [float32x4_t; 2]) -> f32 {
    // SAFETY: as the caller's.
    unsafe {
        let both = vmaxq_s32(vreinterpretq_s32_f32(v[0]), vreinterpretq_s32_f32(v[1]));
        f32::from_bits(vmaxvq_s32(both) as u32)
    }
}

/// See [`Lanes::largest`].
///
/// # Safety
/// NEON.
#[inline(always)]
unsafe fn largest_f64(v: [float64x2_t; 2]) -> f64 {
    let mut lanes = [0.0; 4];
    // SAFETY: as the caller's; the array has as many bytes as the vector.
    unsafe { F64::store(lanes.as_mut_ptr(), v) };
    lanes.into_iter().fold(0.0, f64::larger)
}

/// See [`Lanes::transpose`].
///
/// # Safety
/// NEON; the elements are valid.
#[inline(always)]
unsafe fn transpose_f32(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
    for half in 0..2 {
        // SAFETY: as the caller's.
        unsafe {
            let row = |i: usize| vld1q_f32(from.add((4 * half + i) * from_step));
            let (a, b, c, d) = (row(0), row(1), row(2), row(3));
            let [ac, bd] = [vzip1q_f32(a, c), vzip1q_f32(b, d)];
            let to = to.add(4 * half);
            vst1q_f32(to, vzip1q_f32(ac, bd));
            vst1q_f32(to.add(to_step), vzip2q_f32(ac, bd));
            let [ac, bd] = [vzip2q_f32(a, c), vzip2q_f32(b, d)];
            vst1q_f32(to.add(2 * to_step), vzip1q_f32(ac, bd));
            vst1q_f32(to.add(3 * to_step), vzip2q_f32(ac, bd));
        }
    }
}

/// See [`Lanes::transpose`].
///
/// # Safety
/// NEON; the elements are valid.
#[inline(always)]
unsafe fn transpose_f64(from: *const f64, from_step: usize, to: *mut f64, to_step: usize) {
    for half in 0..2 {
        // SAFETY: as the caller's.
        unsafe {
            let row = |i: usize| vld1q_f64(from.add((2 * half + i) * from_step));
            let (a, b, to) = (row(0), row(1), to.add(2 * half));
            vst1q_f64(to, vzip1q_f64(a, b));
            vst1q_f64(to.add(to_step), vzip2q_f64(a, b));
        }
    }
}

/// `n` bytes in a register; the others are zero.
///
/// # Safety
/// NEON; `n <= 8` readable bytes.
#[inline(always)]
unsafe fn load_low(p: *const u8, n: usize) -> uint8x8_t {
    let mut bytes = [0u8; 8];
    // SAFETY: as the caller's; the copy stays inside the array.
    unsafe {
        if n == 8 {
            return vld1_u8(p);
        }
        p.copy_to_nonoverlapping(bytes.as_mut_ptr(), n);
        vld1_u8(bytes.as_ptr())
    }
}

/// The first `n` bytes of a register to memory.
///
/// # Safety
/// NEON; `n <= 8` writable bytes.
#[inline(always)]
unsafe fn store_low(p: *mut u8, n: usize, v: uint8x8_t) {
    let mut bytes = [0u8; 8];
    // SAFETY: as the caller's; the copy stays inside the array.
    unsafe {
        if n == 8 {
            return vst1_u8(p, v);
        }
        vst1_u8(bytes.as_mut_ptr(), v);
        p.copy_from_nonoverlapping(bytes.as_ptr(), n);
    }
}

/// # Safety
/// NEON; `n <= 8` readable bytes.
#[inline(always)]
unsafe fn bytes_to_f32(p: *const u8, n: usize) -> [float32x4_t; 2] {
    // SAFETY: as the caller's.
    unsafe {
        let words = vmovl_u8(load_low(p, n));
        [vcvtq_f32_u32(vmovl_u16(vget_low_u16(words))), vcvtq_f32_u32(vmovl_u16(vget_high_u16(words)))]
    }
}

/// # Safety
/// NEON; `n <= 8` writable bytes.
#[inline(always)]
unsafe fn f32_to_bytes(p: *mut u8, n: usize, v: [float32x4_t; 2]) {
    // SAFETY: as the caller's.
    unsafe {
        let (low, high) = (vmovn_u32(vcvtq_u32_f32(v[0])), vmovn_u32(vcvtq_u32_f32(v[1])));
        store_low(p, n, vmovn_u16(vcombine_u16(low, high)));
    }
}

/// # Safety
/// NEON; `n <= 4` readable bytes.
#[inline(always)]
unsafe fn bytes_to_f64(p: *const u8, n: usize) -> [float64x2_t; 2] {
    // SAFETY: as the caller's.
    unsafe {
        let words = vmovl_u16(vget_low_u16(vmovl_u8(load_low(p, n))));
        [vcvtq_f64_u64(vmovl_u32(vget_low_u32(words))), vcvtq_f64_u64(vmovl_u32(vget_high_u32(words)))]
    }
}

/// # Safety
/// NEON; `n <= 4` writable bytes.
#[inline(always)]
unsafe fn f64_to_bytes(p: *mut u8, n: usize, v: [float64x2_t; 2]) {
    // SAFETY: as the caller's.
    unsafe {
        let (low, high) = (vmovn_u64(vcvtq_u64_f64(v[0])), vmovn_u64(vcvtq_u64_f64(v[1])));
        let words = vmovn_u32(vcombine_u32(low, high));
        store_low(p, n, vmovn_u16(vcombine_u16(words, words)));
    }
}
