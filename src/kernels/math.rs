//! Our own transcendental functions, so that results do not depend on the system's math library.
//!
//! All are computed in float64 with plain additions and multiplications (never fused), hence equal on every tier, and
//! vectorise inside [`super::Job`]s because they have no branches that loops cannot turn into selections.
//! Their errors stay below 3 units in the last place of float64 for `exp` and `ln`, so float32 results are correctly
//! rounded but for rare ties.

use std::f64::consts::LN_2;

/// High part of ln 2 (32 bits), so that `k * LN_2_HIGH` is exact, and the rest.
const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// Adding and subtracting this rounds to the nearest integer (1.5 * 2^52).
const ROUND: f64 = 6_755_399_441_055_744.0;

/// `e^x`; 0 below -745, infinity above 709.8, NaN for NaN.
///
/// `x = k ln 2 + r` with `|r| <= ln 2 / 2`; the Taylor series of `e^r` to degree 13 is exact to 2^-57 there.
#[inline(always)]
pub fn exp(x: f64) -> f64 {
    let clamped = if x < -750.0 { -750.0 } else { x };
    let clamped = if clamped > 750.0 { 750.0 } else { clamped };
    let shifted = clamped * (1.0 / LN_2) + ROUND;
    let k = shifted - ROUND;
    let r = (clamped - k * LN_2_HIGH) - k * LN_2_LOW;
    let mut p = 1.0 / 6_227_020_800.0;
    for c in [
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        p = p * r + c;
    }
    // 2^k in two factors, so that results near the ends of the range neither overflow nor vanish too early.
    let low = shifted.to_bits() as i32;
    let half = low >> 1;
    p * power_of_two(half) * power_of_two(low - half)
}

/// `2^k` for `-1022 <= k <= 1023`.
#[inline(always)]
fn power_of_two(k: i32) -> f64 {
    f64::from_bits(((i64::from(k) + 1023) << 52) as u64)
}

/// Natural logarithm; minus infinity at 0, NaN below.
///
/// `x = m 2^k` with `m` in [sqrt(1/2), sqrt 2); `ln m = 2 artanh(s)`, `s = (m - 1)/(m + 1)`, `|s| <= 0.172`.
#[inline(always)]
pub fn ln(x: f64) -> f64 {
    // Subnormal numbers are scaled into the normal range first.
    let tiny = x < f64::MIN_POSITIVE;
    let scaled = if tiny { x * 18_014_398_509_481_984.0 } else { x };
    let bits = scaled.to_bits();
    let above = bits.wrapping_sub(0x3fe6_a09e_667f_3bcd); // bits of sqrt(1/2)
    let exponent = (above as i64) >> 52;
    let m = f64::from_bits(bits.wrapping_sub((exponent << 52) as u64));
    let k = exponent as f64 - if tiny { 54.0 } else { 0.0 };
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let mut p = 1.0 / 23.0;
    for c in [
        1.0 / 21.0,
        1.0 / 19.0,
        1.0 / 17.0,
        1.0 / 15.0,
        1.0 / 13.0,
        1.0 / 11.0,
        1.0 / 9.0,
        1.0 / 7.0,
        1.0 / 5.0,
        1.0 / 3.0,
    ] {
        p = p * z + c;
    }
    let value = k * LN_2_HIGH + (2.0 * s + (2.0 * s * z * p + k * LN_2_LOW));
    let value = if x == 0.0 { f64::NEG_INFINITY } else { value };
    let value = if x == f64::INFINITY { x } else { value };
    if x >= 0.0 { value } else { f64::NAN }
}

/// `ln(1 + x)`, exact to rounding near 0 (Kahan's correction of the rounded sum).
#[inline(always)]
pub fn ln_1p(x: f64) -> f64 {
    let u = 1.0 + x;
    let d = u - 1.0;
    let corrected = ln(u) * x / if d == 0.0 { 1.0 } else { d };
    let value = if d == 0.0 { x } else { corrected };
    if u == f64::INFINITY { u } else { value }
}

/// `x^n` by squaring: the same bits everywhere, which `powi` does not promise.
pub fn powi(x: f64, mut n: u64) -> f64 {
    let (mut result, mut square) = (1.0, x);
    while n > 0 {
        if n & 1 == 1 {
            result *= square;
        }
        square *= square;
        n >>= 1;
    }
    result
}

/// `x^y` for `x >= 0`; whole powers by multiplication. `0^0` is 1, negative powers of 0 are infinite.
pub fn pow(x: f64, y: f64) -> f64 {
    if y >= 0.0 && y == y.floor() && y < 1e15 { powi(x, y as u64) } else { exp(y * ln(x)) }
}

/// `e^x - 1`, exact to rounding near 0 (series below 1/16 in size).
#[inline(always)]
pub fn exp_m1(x: f64) -> f64 {
    let mut p = 1.0 / 3_628_800.0;
    for c in [
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
    ] {
        p = p * x + c;
    }
    if x.abs() < 0.0625 { p * x } else { exp(x) - 1.0 }
}

/// Hyperbolic tangent.
#[inline(always)]
pub fn tanh(x: f64) -> f64 {
    let e = exp_m1(-2.0 * x.abs());
    let value = -e / (e + 2.0);
    if x < 0.0 { -value } else { value }
}

/// `1 / (1 + e^-x)`, without overflow on either side.
#[inline(always)]
pub fn sigmoid(x: f64) -> f64 {
    let e = exp(-x.abs());
    let small = e / (1.0 + e);
    if x < 0.0 { small } else { 1.0 - small }
}

/// `ln(1 + e^x)`, without overflow.
#[inline(always)]
pub fn softplus(x: f64) -> f64 {
    let base = if x > 0.0 { x } else { 0.0 };
    base + ln_1p(exp(-x.abs()))
}

/// The error function.
///
/// Below 2.5 the series `erf x = 2/sqrt(pi) e^(-x^2) sum 2^n x^(2n+1) / (2n+1)!!`, whose terms are all positive;
/// above it the continued fraction of `erfc` (Abramowitz and Stegun 7.1.6 and 7.1.14).
#[inline(always)]
pub fn erf(x: f64) -> f64 {
    const TWO_OVER_SQRT_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI;
    let a = x.abs();
    let a = if a > 6.0 { 6.0 } else { a };
    let square = a * a;
    let tail = exp(-square);
    let mut term = a;
    let mut sum = a;
    let mut n = 1.0;
    for _ in 0..48 {
        term = term * 2.0 * square / (2.0 * n + 1.0);
        sum += term;
        n += 1.0;
    }
    let series = TWO_OVER_SQRT_PI * tail * sum;
    let mut fraction = 0.0;
    for i in (1..=40).rev() {
        fraction = f64::from(i) * 0.5 / (a + fraction);
    }
    let complement = 0.5 * TWO_OVER_SQRT_PI * tail / (a + fraction);
    let value = if a < 2.5 { series } else { 1.0 - complement };
    let value = if x < 0.0 { -value } else { value };
    if x.is_nan() { x } else { value }
}

/// Sine and cosine of `2 pi t` for `0 <= t < 1`.
///
/// The nearest eighth turn is taken off exactly; the Taylor series of the rest (at most pi/8 in size) to degree 15/14
/// are exact to 2^-60.
pub fn sin_cos_turn(t: f64) -> (f64, f64) {
    const HALF_SQRT: f64 = std::f64::consts::FRAC_1_SQRT_2;
    const TABLE: [(f64, f64); 8] = [
        (0.0, 1.0),
        (HALF_SQRT, HALF_SQRT),
        (1.0, 0.0),
        (HALF_SQRT, -HALF_SQRT),
        (0.0, -1.0),
        (-HALF_SQRT, -HALF_SQRT),
        (-1.0, 0.0),
        (-HALF_SQRT, HALF_SQRT),
    ];
    let eighth = (t * 8.0 + 0.5).floor();
    let r = (t - eighth * 0.125) * std::f64::consts::TAU;
    let z = r * r;
    let (mut s, mut c) = (1.0, 1.0);
    for i in (1..8).rev() {
        let n = f64::from(2 * i);
        s = 1.0 - s * z / (n * (n + 1.0));
        c = 1.0 - c * z / (n * (n - 1.0));
    }
    let s = s * r;
    let (a, b) = TABLE[eighth as usize % 8];
    (a * c + b * s, b * c - a * s)
}

/// The angle of the point (x, y), in (-pi, pi]; 0 for the origin (Cephes' rational approximation of the arctangent).
pub fn atan2(y: f64, x: f64) -> f64 {
    use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};
    if y.is_nan() || x.is_nan() {
        return f64::NAN;
    }
    if y == 0.0 {
        return if x < 0.0 { PI } else { 0.0 };
    }
    // Of the angle in the first quarter, by a quotient that is at most 1.
    let (high, low) = (y.abs().max(x.abs()), y.abs().min(x.abs()));
    let t = if high.is_infinite() && low.is_infinite() { 1.0 } else { low / high };
    let (base, t) = if t > 0.66 { (FRAC_PI_4, (t - 1.0) / (t + 1.0)) } else { (0.0, t) };
    let z = t * t;
    let p = (((-8.750_608_600_031_904e-1 * z - 1.615_753_718_733_365e1) * z - 7.500_855_792_314_705e1) * z
        - 1.228_866_684_490_136_1e2)
        * z
        - 6.485_021_904_942_025e1;
    let q = ((((z + 2.485_846_490_142_306_2e1) * z + 1.650_270_098_316_988_4e2) * z
        + 4.328_810_604_912_902_6e2)
        * z
        + 4.853_903_996_359_137e2)
        * z
        + 1.945_506_571_482_614e2;
    let acute = base + (t + t * (z * p / q));
    let right = if y.abs() > x.abs() { FRAC_PI_2 - acute } else { acute };
    let upper = if x < 0.0 { PI - right } else { right };
    if y < 0.0 { -upper } else { upper }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Largest relative error over a range, in units of 2^-52.
    fn worst(ours: fn(f64) -> f64, std: fn(f64) -> f64, from: f64, to: f64) -> f64 {
        (0..=20_000)
            .map(|i| from + (to - from) * f64::from(i) / 20_000.0)
            .map(|x| {
                let (a, b) = (ours(x), std(x));
                if a == b { 0.0 } else { ((a - b) / b).abs() / f64::EPSILON }
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn agree_with_the_standard_library() {
        assert!(worst(exp, f64::exp, -700.0, 700.0) < 3.0);
        assert!(worst(exp, f64::exp, -1.0, 1.0) < 3.0);
        assert!(worst(ln, f64::ln, 1e-3, 10.0) < 3.0);
        assert!(worst(ln, f64::ln, 1.0, 1e300) < 3.0);
        assert!(worst(ln_1p, f64::ln_1p, -0.5, 2.0) < 6.0);
        assert!(worst(exp_m1, f64::exp_m1, -5.0, 5.0) < 20.0);
        assert!(worst(tanh, f64::tanh, -20.0, 20.0) < 20.0);
        for i in 0..1000 {
            let t = f64::from(i) / 1000.0;
            let (s, c) = sin_cos_turn(t);
            let (s0, c0) = (t * std::f64::consts::TAU).sin_cos();
            assert!((s - s0).abs() < 2e-15 && (c - c0).abs() < 2e-15, "{t}");
        }
    }

    #[test]
    fn error_function() {
        // Abramowitz and Stegun, table 7.1, and the 16-digit values of DLMF 7.23.
        for (x, y) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.0, 0.999_977_909_503_001_4),
        ] {
            assert!((erf(x) - y).abs() < 4e-15, "{x}: {}", erf(x));
            assert!((erf(-x) + y).abs() < 4e-15);
        }
    }

    #[test]
    fn powers() {
        assert_eq!(powi(0.9, 0), 1.0);
        assert!((powi(0.999, 1000) - 0.999f64.powi(1000)).abs() < 1e-14);
        assert_eq!(pow(0.5, 3.0), 0.125);
        assert!((pow(0.5, 0.5) - 0.5f64.sqrt()).abs() < 1e-15);
        assert_eq!([pow(0.0, 0.5), pow(0.0, 0.0), pow(0.0, -0.5)], [0.0, 1.0, f64::INFINITY]);
    }

    #[test]
    fn limits() {
        assert_eq!(exp(-1e9), 0.0);
        assert_eq!(exp(1e9), f64::INFINITY);
        assert!(exp(f64::NAN).is_nan() && ln(-1.0).is_nan() && ln(f64::NAN).is_nan());
        assert_eq!(ln(0.0), f64::NEG_INFINITY);
        assert_eq!(ln(f64::INFINITY), f64::INFINITY);
        assert!((ln(5e-324) + 744.440_071_921_381_3).abs() < 1e-9);
        assert_eq!(sigmoid(-1e9), 0.0);
        assert_eq!(sigmoid(1e9), 1.0);
        assert_eq!(softplus(1e9), 1e9);
        assert_eq!(tanh(1e9), 1.0);
    }

    #[test]
    fn angles() {
        for i in 0..4000 {
            let (y, x) = (f64::from(i % 63 - 31) * 0.37, f64::from(i / 63 - 31) * 1.91);
            let expected = if x == 0.0 && y == 0.0 { 0.0 } else { y.atan2(x) };
            assert!((atan2(y, x) - expected).abs() <= 1e-15 * 4.0, "{y} {x}: {} {expected}", atan2(y, x));
        }
    }
}
