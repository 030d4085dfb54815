//! AVX2 with FMA: 16 registers of 8 floats or 4 doubles.

use std::arch::x86_64::*;

use crate::kernels::lanes::Lanes;

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
     $maskload:ident, $maskstore:ident, $fma:ident, $cmp:ident, $and:ident) => {
        // SAFETY (all blocks below): the caller vouches for the instructions and for the lanes touched.
        impl Lanes for $name {
            type Elem = $elem;
            type V = $v;
            type Mask = __m256i;
            const WIDTH: usize = $width;

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
            unsafe fn relu(v: $v) -> $v {
                // SAFETY: see above. "Not less or equal" keeps NaN.
                unsafe { $and($cmp::<_CMP_NLE_UQ>(v, $zero()), v) }
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
    _mm256_and_ps
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
    _mm256_and_pd
);
