//! AVX2 with FMA: 16 registers of 8 floats or 4 doubles.

use std::arch::x86_64::*;

use crate::kernels::gemm::tile::heights;
use crate::kernels::lanes::{Element, Lanes};
use crate::kernels::table::tier;

tier!("avx2", is_x86_feature_detected["avx2", "fma"], fused: true);
heights!(
    /// 16 registers: 12 accumulators, two vectors of B, one of A.
    UpTo6, 6: 1 2 3 4 5 6
);

/// float32 lanes.
pub(in crate::kernels) struct F32;
/// float64 lanes.
pub(in crate::kernels) struct F64;

/// A window of `n` set lanes starts at `MASK[8 - n]`.
static MASK_32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
/// The same for four lanes of 64 bits.
static MASK_64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

macro_rules! lanes {
    ($name:ident, $elem:ty, $v:ty, $width:literal, $masks:ident, $zero:ident, $splat:ident, $load:ident, $store:ident,
     $maskload:ident, $maskstore:ident, $fma:ident, $cmp:ident, $and:ident, $add:ident, $sub:ident, $mul:ident,
     $blend:ident, $load_bytes:ident, $store_bytes:ident, $stream:ident, $permute:ident, $transpose:ident, $larger:ident,
     $largest:ident) => {
        // SAFETY (all blocks below): the caller vouches for the instructions and for the lanes touched.
        impl Lanes for $name {
            type Elem = $elem;
            type V = $v;
            type TailMask = __m256i;
            type CmpMask = $v;
            type Permutation = __m256i;
            type Few = $v;
            type Heights = UpTo6;
            type Half = Self;
            const CHANNEL_VECTORS: usize = 2;
            const WIDTH: usize = $width;
            const FEW: usize = 1;
            const MASKS_ARE_FREE: bool = false;

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
            unsafe fn mask(n: usize) -> __m256i {
                // SAFETY: n is at most the width, so the 32 bytes lie inside the table.
                unsafe { _mm256_loadu_si256($masks.as_ptr().add($width - n).cast()) }
            }
            #[inline(always)]
            unsafe fn mask_between(from: usize, to: usize) -> __m256i {
                // SAFETY: see above.
                unsafe { _mm256_andnot_si256(Self::mask(from), Self::mask(to)) }
            }
            #[inline(always)]
            unsafe fn load_masked(p: *const $elem, mask: __m256i) -> $v {
                // SAFETY: see above; lanes outside the mask are not accessed.
                unsafe { $maskload(p, mask) }
            }
            #[inline(always)]
            unsafe fn store_masked(p: *mut $elem, mask: __m256i, v: $v) {
                // SAFETY: see above; lanes outside the mask are not accessed.
                unsafe { $maskstore(p, mask, v) }
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
                unsafe { $and($cmp::<_CMP_NLE_UQ>(v, $zero()), v) }
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
                // In 32-bit units, of which a lane has one or two.
                let units = 8 / $width;
                let lanes: [i32; 8] =
                    std::array::from_fn(|i| ((i / units / k * k + r) * units + i % units) as i32);
                // SAFETY: the array has as many bytes as the register.
                unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
            }
            #[inline(always)]
            unsafe fn permute<const K: usize>(v: $v, _: usize, order: Self::Permutation) -> $v {
                // SAFETY: see above.
                unsafe { $permute(v, order) }
            }
            #[inline(always)]
            unsafe fn interleave<const N: usize>(parts: [$v; N], i: usize) -> $v {
                // In 32-bit units, of which a lane has one or two.
                const fn orders<const N: usize>() -> [[i32; 8]; N] {
                    let units = 8 / $width;
                    let mut all = [[0; 8]; N];
                    let mut at = 0;
                    while at < N * 8 {
                        all[at / 8][at % 8] = (at / units / N * units + at % units) as i32;
                        at += 1;
                    }
                    all
                }
                const fn picks<const N: usize>() -> [[[i32; 8]; N]; N] {
                    let units = 8 / $width;
                    let mut all = [[[0; 8]; N]; N];
                    let mut at = 0;
                    while at < N * 8 {
                        all[at / 8][at / units % N][at % 8] = -1;
                        at += 1;
                    }
                    all
                }
                let (orders, picks) = const { (&orders::<N>(), &picks::<N>()) };
                // SAFETY: see above; each array has as many bytes as the register.
                unsafe {
                    let order = _mm256_loadu_si256(orders[i].as_ptr().cast());
                    let mut mixed = $permute(parts[0], order);
                    for part in 1..N {
                        let pick = $load(picks[i][part].as_ptr().cast());
                        mixed = $blend(mixed, $permute(parts[part], order), pick);
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
                unsafe { $and($cmp::<_CMP_NLE_UQ>(x, best), $cmp::<_CMP_ORD_Q>(best, best)) }
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
                unsafe { $blend(b, a, mask) }
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
    f32,
    __m256,
    8,
    MASK_32,
    _mm256_setzero_ps,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_maskload_ps,
    _mm256_maskstore_ps,
    _mm256_fmadd_ps,
    _mm256_cmp_ps,
    _mm256_and_ps,
    _mm256_add_ps,
    _mm256_sub_ps,
    _mm256_mul_ps,
    _mm256_blendv_ps,
    bytes_to_f32,
    f32_to_bytes,
    _mm256_stream_ps,
    _mm256_permutevar8x32_ps,
    transpose_f32,
    larger_f32,
    largest_f32
);
lanes!(
    F64,
    f64,
    __m256d,
    4,
    MASK_64,
    _mm256_setzero_pd,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_maskload_pd,
    _mm256_maskstore_pd,
    _mm256_fmadd_pd,
    _mm256_cmp_pd,
    _mm256_and_pd,
    _mm256_add_pd,
    _mm256_sub_pd,
    _mm256_mul_pd,
    _mm256_blendv_pd,
    bytes_to_f64,
    f64_to_bytes,
    _mm256_stream_pd,
    permute_f64,
    transpose_f64,
    larger_f64,
    largest_f64
);

/// See [`Lanes::larger`]: without their signs, numbers are ordered as integers are, NaN behind infinity.
///
/// # Safety
/// AVX2.
#[inline(always)]
pub(super) unsafe fn larger_f32(best: __m256, v: __m256) -> __m256 {
    // SAFETY: as the caller's.
    unsafe {
        let v = _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(i32::MAX));
        _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(best), v))
    }
}

/// See [`Lanes::larger`].
///
/// # Safety
/// AVX2.
#[inline(always)]
pub(super) unsafe fn larger_f64(best: __m256d, v: __m256d) -> __m256d {
    // SAFETY: as the caller's.
    unsafe {
        let v = _mm256_and_si256(_mm256_castpd_si256(v), _mm256_set1_epi64x(i64::MAX));
        let wins = _mm256_cmpgt_epi64(v, _mm256_castpd_si256(best));
        _mm256_blendv_pd(best, _mm256_castsi256_pd(v), _mm256_castsi256_pd(wins))
    }
}

/// See [`Lanes::largest`].
///
/// # Safety
/// AVX2.
#[inline(always)]
pub(super) unsafe fn largest_f32(v: __m256) -> f32 {
    // SAFETY: as the caller's.
    unsafe {
        let v = _mm256_castps_si256(v);
        let v = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
        let v = _mm_max_epi32(v, _mm_shuffle_epi32::<0b00_00_11_10>(v));
        let v = _mm_max_epi32(v, _mm_shuffle_epi32::<0b00_00_00_01>(v));
        f32::from_bits(_mm_cvtsi128_si32(v) as u32)
    }
}

/// See [`Lanes::largest`].
///
/// # Safety
/// AVX2.
#[inline(always)]
pub(super) unsafe fn largest_f64(v: __m256d) -> f64 {
    let mut lanes = [0.0; 4];
    // SAFETY: as the caller's; the array has as many bytes as the register.
    unsafe { _mm256_storeu_pd(lanes.as_mut_ptr(), v) };
    lanes.into_iter().fold(0.0, f64::larger)
}

/// # Safety
/// AVX2.
#[inline(always)]
unsafe fn permute_f64(v: __m256d, order: __m256i) -> __m256d {
    // SAFETY: as the caller's.
    unsafe { _mm256_castps_pd(_mm256_permutevar8x32_ps(_mm256_castpd_ps(v), order)) }
}

/// See [`Lanes::transpose`].
///
/// # Safety
/// AVX2; the elements are valid.
#[inline(always)]
pub(super) unsafe fn transpose_f32(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
    // SAFETY: as the caller's.
    unsafe {
        let mut rows = [_mm256_setzero_ps(); 4];
        for (i, row) in rows.iter_mut().enumerate() {
            // Every fourth row, a part from each: reading them so costs no exchange between the parts of registers.
            let part = |n: usize| _mm_loadu_ps(from.add((i + 4 * n) * from_step));
            *row = _mm256_set_m128(part(1), part(0));
        }
        let [a, b, c, d] = rows;
        let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
        _mm256_storeu_ps(to, _mm256_shuffle_ps::<0x44>(ab, cd));
        _mm256_storeu_ps(to.add(to_step), _mm256_shuffle_ps::<0xee>(ab, cd));
        let (ab, cd) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
        _mm256_storeu_ps(to.add(2 * to_step), _mm256_shuffle_ps::<0x44>(ab, cd));
        _mm256_storeu_ps(to.add(3 * to_step), _mm256_shuffle_ps::<0xee>(ab, cd));
    }
}

/// See [`Lanes::transpose`].
///
/// # Safety
/// AVX2; the elements are valid.
#[inline(always)]
pub(super) unsafe fn transpose_f64(from: *const f64, from_step: usize, to: *mut f64, to_step: usize) {
    // SAFETY: as the caller's.
    unsafe {
        let mut rows = [_mm256_setzero_pd(); 2];
        for (i, row) in rows.iter_mut().enumerate() {
            let part = |n: usize| _mm_loadu_pd(from.add((i + 2 * n) * from_step));
            *row = _mm256_set_m128d(part(1), part(0));
        }
        let [a, b] = rows;
        _mm256_storeu_pd(to, _mm256_unpacklo_pd(a, b));
        _mm256_storeu_pd(to.add(to_step), _mm256_unpackhi_pd(a, b));
    }
}

/// `n` bytes in the low end of a register; the others are zero.
///
/// # Safety
/// SSE2; `n <= 8` readable bytes.
#[inline(always)]
unsafe fn load_low(p: *const u8, n: usize) -> __m128i {
    let mut bytes = [0u8; 8];
    // SAFETY: as the caller's; the copy stays inside the array.
    unsafe {
        p.copy_to_nonoverlapping(bytes.as_mut_ptr(), n);
        _mm_loadl_epi64(bytes.as_ptr().cast())
    }
}

/// The first `n` of the lanes of `low` and `high`, as bytes.
///
/// # Safety
/// SSE2; `n <= 8` writable bytes.
#[inline(always)]
unsafe fn store_low(p: *mut u8, n: usize, low: __m128i, high: __m128i) {
    let mut bytes = [0u8; 8];
    // SAFETY: as the caller's; the copy stays inside the array.
    unsafe {
        let words = _mm_packs_epi32(low, high);
        _mm_storel_epi64(bytes.as_mut_ptr().cast(), _mm_packus_epi16(words, words));
        p.copy_from_nonoverlapping(bytes.as_ptr(), n);
    }
}

/// # Safety
/// AVX2; `n <= 8` readable bytes.
#[inline(always)]
unsafe fn bytes_to_f32(p: *const u8, n: usize) -> __m256 {
    // SAFETY: as the caller's.
    unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load_low(p, n))) }
}

/// # Safety
/// AVX2; `n <= 8` writable bytes.
#[inline(always)]
unsafe fn f32_to_bytes(p: *mut u8, n: usize, v: __m256) {
    // SAFETY: as the caller's.
    unsafe {
        let whole = _mm256_cvtps_epi32(v);
        store_low(p, n, _mm256_castsi256_si128(whole), _mm256_extracti128_si256::<1>(whole));
    }
}

/// # Safety
/// AVX2; `n <= 4` readable bytes.
#[inline(always)]
unsafe fn bytes_to_f64(p: *const u8, n: usize) -> __m256d {
    // SAFETY: as the caller's.
    unsafe { _mm256_cvtepi32_pd(_mm_cvtepu8_epi32(load_low(p, n))) }
}

/// # Safety
/// AVX2; `n <= 4` writable bytes.
#[inline(always)]
unsafe fn f64_to_bytes(p: *mut u8, n: usize, v: __m256d) {
    // SAFETY: as the caller's.
    unsafe {
        let whole = _mm256_cvtpd_epi32(v);
        store_low(p, n, whole, whole);
    }
}
