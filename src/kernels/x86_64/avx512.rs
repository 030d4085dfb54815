//! AVX-512: 32 registers of 16 floats or 8 doubles, or of half as many.

use std::arch::x86_64::*;

use super::avx2;
use crate::kernels::gemm::tile::heights;
use crate::kernels::lanes::Lanes;
use crate::kernels::table::tier;

tier!(
    "avx512",
    is_x86_feature_detected["avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"],
    fused: true
);
heights!(
    /// 32 registers: 28 accumulators, two vectors of B, one of A.
    UpTo14, 14: 1 2 3 4 5 6 7 8 9 10 11 12 13 14
);

/// float32 lanes.
pub(in crate::kernels) struct F32;
/// float64 lanes.
pub(in crate::kernels) struct F64;
/// float32 lanes of a register of half the width. The masks of AVX-512 cost nothing, unlike those of AVX2: a masked store
/// of that takes a dozen cycles on AMD's processors.
pub(in crate::kernels) struct Half32;
/// The same for float64.
pub(in crate::kernels) struct Half64;

macro_rules! lanes {
    ($name:ident, $half:ty, $elem:ty, $v:ty, $mask:ty, $width:literal, $zero:ident, $splat:ident, $load:ident, $store:ident,
     $maskz_load:ident, $mask_store:ident, $fma:ident, $cmp:ident, $maskz_mov:ident, $add:ident, $sub:ident, $mul:ident,
     $blend:ident, $load_bytes:ident, $store_bytes:ident, $stream:ident, $permute:ident, $index:ty,
     $order:ty, $load_order:ident, $transpose:path, $larger:path, $largest:path) => {
        // SAFETY (all blocks below): the caller vouches for the instructions and for the lanes touched.
        impl Lanes for $name {
            type Elem = $elem;
            type V = $v;
            type TailMask = $mask;
            type CmpMask = $mask;
            type Permutation = $order;
            type Few = $v;
            type Heights = UpTo14;
            type Half = $half;
            const CHANNEL_VECTORS: usize = 4;
            const WIDTH: usize = $width;
            const FEW: usize = 1;
            const MASKS_ARE_FREE: bool = true;

            #[inline(always)]
            unsafe fn zero() -> $v {
                // SAFETY: see above.
                unsafe { $zero() }
            }
            #[inline(always)]
            unsafe fn splat(x: $elem) -> $v {
                // SAFETY: see above.
                unsafe { $splat(x) }
            }
            #[inline(always)]
            unsafe fn load(p: *const $elem) -> $v {
                // SAFETY: see above.
                unsafe { $load(p) }
            }
            #[inline(always)]
            unsafe fn store(p: *mut $elem, v: $v) {
                // SAFETY: see above.
                unsafe { $store(p, v) }
            }
            #[inline(always)]
            unsafe fn mask(n: usize) -> $mask {
                ((1u32 << n) - 1) as $mask
            }
            #[inline(always)]
            unsafe fn mask_between(from: usize, to: usize) -> $mask {
                ((1u32 << to) - (1u32 << from)) as $mask
            }
            #[inline(always)]
            unsafe fn load_masked(p: *const $elem, mask: $mask) -> $v {
                // SAFETY: see above; lanes outside the mask are not accessed.
                unsafe { $maskz_load(mask, p) }
            }
            #[inline(always)]
            unsafe fn store_masked(p: *mut $elem, mask: $mask, v: $v) {
                // SAFETY: see above; lanes outside the mask are not accessed.
                unsafe { $mask_store(p, mask, v) }
            }
            #[inline(always)]
            unsafe fn mul_add(a: $v, b: $v, c: $v) -> $v {
                // SAFETY: see above.
                unsafe { $fma(a, b, c) }
            }
            #[inline(always)]
            unsafe fn few(p: *const $elem) -> $v {
                // SAFETY: see above.
                unsafe { $splat(*p) }
            }
            #[inline(always)]
            unsafe fn mul_add_nth(few: $v, _: usize, b: $v, c: $v) -> $v {
                // SAFETY: see above.
                unsafe { $fma(few, b, c) }
            }
            #[inline(always)]
            unsafe fn relu(v: $v) -> $v {
                // SAFETY: see above. "Not less or equal" keeps NaN.
                unsafe { $maskz_mov($cmp::<_CMP_NLE_UQ>(v, $zero()), v) }
            }
            #[inline(always)]
            unsafe fn larger(best: $v, v: $v) -> $v {
                // SAFETY: see above.
                unsafe { $larger(best, v) }
            }
            #[inline(always)]
            unsafe fn largest(v: $v) -> $elem {
                // SAFETY: see above.
                unsafe { $largest(v) }
            }
            #[inline(always)]
            unsafe fn prefetch(p: *const $elem) {
                // SAFETY: see above; a prefetch of any address is harmless.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
            }
            #[inline(always)]
            unsafe fn prefetch_far(p: *const $elem) {
                // SAFETY: see above; a prefetch of any address is harmless.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
            }
            #[inline(always)]
            unsafe fn stream(p: *mut $elem, v: $v) {
                // SAFETY: see above; the caller vouches for the alignment.
                unsafe { $stream(p.cast(), v) }
            }
            #[inline(always)]
            unsafe fn permutation(k: usize, r: usize) -> Self::Permutation {
                let lanes: [$index; $width] = std::array::from_fn(|lane| (lane / k * k + r) as $index);
                // SAFETY: the array has as many bytes as the register.
                unsafe { $load_order(lanes.as_ptr().cast()) }
            }
            #[inline(always)]
            unsafe fn permute<const K: usize>(v: $v, _: usize, order: Self::Permutation) -> $v {
                // SAFETY: see above.
                unsafe { $permute(order, v) }
            }
            #[inline(always)]
            unsafe fn interleave<const N: usize>(parts: [$v; N], i: usize) -> $v {
                const fn orders<const N: usize>() -> [[$index; $width]; N] {
                    let mut all = [[0; $width]; N];
                    let mut at = 0;
                    while at < N * $width {
                        all[at / $width][at % $width] = (at / N) as $index;
                        at += 1;
                    }
                    all
                }
                const fn picks<const N: usize>() -> [[$mask; N]; N] {
                    let mut all = [[0; N]; N];
                    let mut at = 0;
                    while at < N * $width {
                        all[at / $width][at % N] |= 1 << (at % $width);
                        at += 1;
                    }
                    all
                }
                let (orders, picks) = const { (&orders::<N>(), &picks::<N>()) };
                // SAFETY: see above; the array has as many bytes as the register.
                unsafe {
                    let order = $load_order(orders[i].as_ptr().cast());
                    let mut mixed = $permute(order, parts[0]);
                    for part in 1..N {
                        mixed = $blend(picks[i][part], mixed, $permute(order, parts[part]));
                    }
                    mixed
                }
            }
            #[inline(always)]
            unsafe fn transpose(from: *const $elem, from_step: usize, to: *mut $elem, to_step: usize) {
                // SAFETY: see above.
                unsafe { $transpose(from, from_step, to, to_step) }
            }
            #[inline(always)]
            unsafe fn add(a: $v, b: $v) -> $v {
                // SAFETY: see above.
                unsafe { $add(a, b) }
            }
            #[inline(always)]
            unsafe fn sub(a: $v, b: $v) -> $v {
                // SAFETY: see above.
                unsafe { $sub(a, b) }
            }
            #[inline(always)]
            unsafe fn mul(a: $v, b: $v) -> $v {
                // SAFETY: see above.
                unsafe { $mul(a, b) }
            }
            #[inline(always)]
            unsafe fn wins(x: $v, best: $v) -> Self::CmpMask {
                // SAFETY: see above.
                unsafe { $cmp::<_CMP_NLE_UQ>(x, best) & $cmp::<_CMP_ORD_Q>(best, best) }
            }
            #[inline(always)]
            unsafe fn equal(a: $v, b: $v) -> Self::CmpMask {
                // SAFETY: see above.
                unsafe { $cmp::<_CMP_EQ_OQ>(a, b) }
            }
            #[inline(always)]
            unsafe fn positive(v: $v) -> Self::CmpMask {
                // SAFETY: see above.
                unsafe { $cmp::<_CMP_GT_OQ>(v, $zero()) }
            }
            #[inline(always)]
            unsafe fn select(mask: Self::CmpMask, a: $v, b: $v) -> $v {
                // SAFETY: see above.
                unsafe { $blend(mask, b, a) }
            }
            #[inline(always)]
            unsafe fn load_bytes(p: *const u8, n: usize) -> $v {
                // SAFETY: see above; only n bytes are accessed.
                unsafe { $load_bytes(p, n) }
            }
            #[inline(always)]
            unsafe fn store_bytes(p: *mut u8, n: usize, v: $v) {
                // SAFETY: see above; only n bytes are accessed.
                unsafe { $store_bytes(p, n, v) }
            }
        }
    };
}
lanes!(
    F32,
    Half32,
    f32,
    __m512,
    __mmask16,
    16,
    _mm512_setzero_ps,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_maskz_loadu_ps,
    _mm512_mask_storeu_ps,
    _mm512_fmadd_ps,
    _mm512_cmp_ps_mask,
    _mm512_maskz_mov_ps,
    _mm512_add_ps,
    _mm512_sub_ps,
    _mm512_mul_ps,
    _mm512_mask_blend_ps,
    bytes_to_f32,
    f32_to_bytes,
    _mm512_stream_ps,
    _mm512_permutexvar_ps,
    i32,
    __m512i,
    _mm512_loadu_si512,
    transpose_f32,
    larger_f32,
    largest_f32
);
lanes!(
    F64,
    Half64,
    f64,
    __m512d,
    __mmask8,
    8,
    _mm512_setzero_pd,
    _mm512_set1_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_maskz_loadu_pd,
    _mm512_mask_storeu_pd,
    _mm512_fmadd_pd,
    _mm512_cmp_pd_mask,
    _mm512_maskz_mov_pd,
    _mm512_add_pd,
    _mm512_sub_pd,
    _mm512_mul_pd,
    _mm512_mask_blend_pd,
    bytes_to_f64,
    f64_to_bytes,
    _mm512_stream_pd,
    _mm512_permutexvar_pd,
    i64,
    __m512i,
    _mm512_loadu_si512,
    transpose_f64,
    larger_f64,
    largest_f64
);
lanes!(
    Half32,
    Self,
    f32,
    __m256,
    __mmask8,
    8,
    _mm256_setzero_ps,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_maskz_loadu_ps,
    _mm256_mask_storeu_ps,
    _mm256_fmadd_ps,
    _mm256_cmp_ps_mask,
    _mm256_maskz_mov_ps,
    _mm256_add_ps,
    _mm256_sub_ps,
    _mm256_mul_ps,
    _mm256_mask_blend_ps,
    bytes_to_half32,
    half32_to_bytes,
    _mm256_stream_ps,
    _mm256_permutexvar_ps,
    i32,
    __m256i,
    _mm256_loadu_si256,
    avx2::transpose_f32,
    avx2::larger_f32,
    avx2::largest_f32
);
lanes!(
    Half64,
    Self,
    f64,
    __m256d,
    __mmask8,
    4,
    _mm256_setzero_pd,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_maskz_loadu_pd,
    _mm256_mask_storeu_pd,
    _mm256_fmadd_pd,
    _mm256_cmp_pd_mask,
    _mm256_maskz_mov_pd,
    _mm256_add_pd,
    _mm256_sub_pd,
    _mm256_mul_pd,
    _mm256_mask_blend_pd,
    bytes_to_half64,
    half64_to_bytes,
    _mm256_stream_pd,
    _mm256_permutexvar_pd,
    i64,
    __m256i,
    _mm256_loadu_si256,
    avx2::transpose_f64,
    avx2::larger_f64,
    avx2::largest_f64
);

/// See [`Lanes::larger`]: without their signs, numbers are ordered as integers are, NaN behind infinity.
///
/// # Safety
/// AVX-512 F.
#[inline(always)]
unsafe fn larger_f32(best: __m512, v: __m512) -> __m512 {
    // SAFETY: as the caller's.
    unsafe {
        let v = _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(i32::MAX));
        _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(best), v))
    }
}

/// See [`Lanes::larger`].
///
/// # Safety
/// AVX-512 F.
#[inline(always)]
unsafe fn larger_f64(best: __m512d, v: __m512d) -> __m512d {
    // SAFETY: as the caller's.
    unsafe {
        let v = _mm512_and_si512(_mm512_castpd_si512(v), _mm512_set1_epi64(i64::MAX));
        _mm512_castsi512_pd(_mm512_max_epi64(_mm512_castpd_si512(best), v))
    }
}

/// See [`Lanes::largest`].
///
/// # Safety
/// AVX-512 F.
#[inline(always)]
unsafe fn largest_f32(v: __m512) -> f32 {
    // SAFETY: as the caller's.
    unsafe { f32::from_bits(_mm512_reduce_max_epi32(_mm512_castps_si512(v)) as u32) }
}

/// See [`Lanes::largest`].
///
/// # Safety
/// AVX-512 F.
#[inline(always)]
unsafe fn largest_f64(v: __m512d) -> f64 {
    // SAFETY: as the caller's.
    unsafe { f64::from_bits(_mm512_reduce_max_epi64(_mm512_castpd_si512(v)) as u64) }
}

/// See [`Lanes::transpose`].
///
/// # Safety
/// AVX-512 F and DQ; the elements are valid.
#[inline(always)]
unsafe fn transpose_f32(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
    // SAFETY: as the caller's.
    unsafe {
        let mut rows = [_mm512_setzero_ps(); 4];
        for (i, row) in rows.iter_mut().enumerate() {
            // Every fourth row, a part from each: reading them so costs no exchange between the parts of registers.
            let part = |n: usize| _mm_loadu_ps(from.add((i + 4 * n) * from_step));
            let low = _mm512_insertf32x4::<1>(_mm512_castps128_ps512(part(0)), part(1));
            *row = _mm512_insertf32x4::<3>(_mm512_insertf32x4::<2>(low, part(2)), part(3));
        }
        let [a, b, c, d] = rows;
        let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
        _mm512_storeu_ps(to, _mm512_shuffle_ps::<0x44>(ab, cd));
        _mm512_storeu_ps(to.add(to_step), _mm512_shuffle_ps::<0xee>(ab, cd));
        let (ab, cd) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
        _mm512_storeu_ps(to.add(2 * to_step), _mm512_shuffle_ps::<0x44>(ab, cd));
        _mm512_storeu_ps(to.add(3 * to_step), _mm512_shuffle_ps::<0xee>(ab, cd));
    }
}

/// See [`Lanes::transpose`].
///
/// # Safety
/// AVX-512 F and DQ; the elements are valid.
#[inline(always)]
unsafe fn transpose_f64(from: *const f64, from_step: usize, to: *mut f64, to_step: usize) {
    // SAFETY: as the caller's.
    unsafe {
        let mut rows = [_mm512_setzero_pd(); 2];
        for (i, row) in rows.iter_mut().enumerate() {
            let part = |n: usize| _mm_loadu_pd(from.add((i + 2 * n) * from_step));
            let low = _mm512_insertf64x2::<1>(_mm512_castpd128_pd512(part(0)), part(1));
            *row = _mm512_insertf64x2::<3>(_mm512_insertf64x2::<2>(low, part(2)), part(3));
        }
        let [a, b] = rows;
        _mm512_storeu_pd(to, _mm512_unpacklo_pd(a, b));
        _mm512_storeu_pd(to.add(to_step), _mm512_unpackhi_pd(a, b));
    }
}

/// `n` bytes in the low end of a register; the others are zero.
///
/// # Safety
/// AVX-512 BW and VL; `n <= 16` readable bytes.
#[inline(always)]
unsafe fn load_low(p: *const u8, n: usize) -> __m128i {
    // SAFETY: as the caller's; bytes outside the mask are not accessed.
    unsafe { _mm_maskz_loadu_epi8(((1u32 << n) - 1) as __mmask16, p.cast()) }
}

/// The first `n` bytes of a register to memory.
///
/// # Safety
/// AVX-512 BW and VL; `n <= 16` writable bytes.
#[inline(always)]
unsafe fn store_low(p: *mut u8, n: usize, bytes: __m128i) {
    // SAFETY: as the caller's; bytes outside the mask are not accessed. A conversion that stores by itself would take
    // many times as long on some processors.
    unsafe { _mm_mask_storeu_epi8(p.cast(), ((1u32 << n) - 1) as __mmask16, bytes) }
}

/// # Safety
/// AVX-512 F, BW and VL; `n <= 16` readable bytes.
#[inline(always)]
unsafe fn bytes_to_f32(p: *const u8, n: usize) -> __m512 {
    // SAFETY: as the caller's.
    unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load_low(p, n))) }
}

/// # Safety
/// AVX-512 F, BW and VL; `n <= 16` writable bytes.
#[inline(always)]
unsafe fn f32_to_bytes(p: *mut u8, n: usize, v: __m512) {
    // SAFETY: as the caller's.
    unsafe { store_low(p, n, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v))) }
}

/// # Safety
/// AVX-512 F, BW and VL; `n <= 8` readable bytes.
#[inline(always)]
unsafe fn bytes_to_f64(p: *const u8, n: usize) -> __m512d {
    // SAFETY: as the caller's.
    unsafe { _mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(load_low(p, n))) }
}

/// # Safety
/// AVX-512 F, BW and VL; `n <= 8` writable bytes.
#[inline(always)]
unsafe fn f64_to_bytes(p: *mut u8, n: usize, v: __m512d) {
    // SAFETY: as the caller's.
    unsafe { store_low(p, n, _mm256_cvtepi32_epi8(_mm512_cvtpd_epi32(v))) }
}

/// # Safety
/// AVX-512 BW and VL; `n <= 8` readable bytes.
#[inline(always)]
unsafe fn bytes_to_half32(p: *const u8, n: usize) -> __m256 {
    // SAFETY: as the caller's.
    unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load_low(p, n))) }
}

/// # Safety
/// AVX-512 BW and VL; `n <= 8` writable bytes.
#[inline(always)]
unsafe fn half32_to_bytes(p: *mut u8, n: usize, v: __m256) {
    // SAFETY: as the caller's.
    unsafe { store_low(p, n, _mm256_cvtepi32_epi8(_mm256_cvtps_epi32(v))) }
}

/// # Safety
/// AVX-512 BW and VL; `n <= 4` readable bytes.
#[inline(always)]
unsafe fn bytes_to_half64(p: *const u8, n: usize) -> __m256d {
    // SAFETY: as the caller's.
    unsafe { _mm256_cvtepi32_pd(_mm_cvtepu8_epi32(load_low(p, n))) }
}

/// # Safety
/// AVX-512 BW and VL; `n <= 4` writable bytes.
#[inline(always)]
unsafe fn half64_to_bytes(p: *mut u8, n: usize, v: __m256d) {
    // SAFETY: as the caller's.
    unsafe { store_low(p, n, _mm_cvtepi32_epi8(_mm256_cvtpd_epi32(v))) }
}
