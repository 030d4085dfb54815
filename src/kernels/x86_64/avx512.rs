//! AVX-512: 32 registers of 16 floats or 8 doubles.

use std::arch::x86_64::*;

use crate::kernels::lanes::Lanes;

/// float32 lanes.
pub(in crate::kernels) struct F32;
/// float64 lanes.
pub(in crate::kernels) struct F64;

macro_rules! lanes {
    ($name:ident, $elem:ty, $v:ty, $mask:ty, $width:literal, $zero:ident, $splat:ident, $load:ident, $store:ident,
     $maskz_load:ident, $mask_store:ident, $fma:ident, $cmp:ident, $maskz_mov:ident) => {
        // SAFETY (all blocks below): the caller vouches for the instructions and for the lanes touched.
        impl Lanes for $name {
            type Elem = $elem;
            type V = $v;
            type Mask = $mask;
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
            unsafe fn mask(n: usize) -> $mask {
                ((1u32 << n) - 1) as $mask
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
            unsafe fn relu(v: $v) -> $v {
                // SAFETY: see above. "Not less or equal" keeps NaN.
                unsafe { $maskz_mov($cmp::<_CMP_NLE_UQ>(v, $zero()), v) }
            }
        }
    };
}
lanes!(
    F32,
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
    _mm512_maskz_mov_ps
);
lanes!(
    F64,
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
    _mm512_maskz_mov_pd
);
