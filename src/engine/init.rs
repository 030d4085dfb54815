//! Initial weights: counter-based draws, so that they depend on the seed and the number of the weight alone.
//!
//! Variances by the number of inputs and outputs ("fans") are those of LeCun et al. 1998 ("Efficient BackProp", doi
//! 10.1007/3-540-49430-8_2), Glorot and Bengio 2010 (AISTATS, PMLR 9) and He et al. 2015 (arXiv 1502.01852).

use super::spec::{Distribution, FanMode, Filling, Initializer};
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::memory;
use crate::parallel::Interrupt;
use crate::rng::{Purpose, Stream};
use crate::tuning::INTERRUPT_WORK;

/// Standard deviation of a standard normal cut at two: variances are divided by its square (Keras' constant).
const TRUNCATED_STDDEV: f64 = 0.879_625_661_034_239_8;

/// Fills weight number `index` of a network with this seed.
///
/// # Errors
/// There is not enough memory to compute them, or an interrupt.
pub fn fill<T: Element>(
    initializer: &Initializer,
    shape: &[usize],
    (seed, index): (u64, usize),
    out: &mut [T],
    interrupt: Interrupt<'_>,
) -> Result<()> {
    if out.len() > INTERRUPT_WORK && interrupt() {
        return Err(Error::Interrupted);
    }
    let stream = |own: Option<u64>| match own {
        Some(seed) => Stream::new(seed, Purpose::Weights, 0, 0),
        None => Stream::new(seed, Purpose::Weights, index as u64 + 1, 0),
    };
    match *initializer {
        Initializer::Zeros {} => out.fill(T::ZERO),
        Initializer::Ones {} => out.fill(T::ONE),
        Initializer::Constant { value: Filling::Value(value) } => out.fill(T::from_f64(value)),
        Initializer::Constant { value: Filling::Array { shape: ref own, ref values } } => {
            broadcast(own, values, shape, out);
        }
        Initializer::RandomUniform { minval, maxval, seed } => uniform(&stream(seed), minval, maxval, out),
        Initializer::RandomNormal { mean, stddev, seed } => normal(&stream(seed), mean, stddev, out),
        Initializer::TruncatedNormal { mean, stddev, seed } => truncated(&stream(seed), mean, stddev, out),
        Initializer::Orthogonal { gain, seed } => orthogonal(&stream(seed), gain, shape, out, interrupt)?,
        Initializer::Identity { gain } => {
            out.fill(T::ZERO);
            let columns = shape[shape.len() - 1];
            out.iter_mut().step_by(columns + 1).take(columns).for_each(|x| *x = T::from_f64(gain));
        }
        Initializer::VarianceScaling { scale, mode, distribution, seed } => {
            let (fan_in, fan_out) = fans(shape);
            let fan = match mode {
                FanMode::FanIn => fan_in,
                FanMode::FanOut => fan_out,
                FanMode::FanAvg => (fan_in + fan_out) / 2.0,
            };
            let variance = scale / fan.max(1.0);
            match distribution {
                Distribution::Uniform => {
                    let limit = (3.0 * variance).sqrt();
                    uniform(&stream(seed), -limit, limit, out);
                }
                Distribution::UntruncatedNormal => normal(&stream(seed), 0.0, variance.sqrt(), out),
                Distribution::TruncatedNormal => {
                    truncated(&stream(seed), 0.0, variance.sqrt() / TRUNCATED_STDDEV, out);
                }
            }
        }
    }
    Ok(())
}

/// Stretches an array over a weight: axes are aligned at the end, and those of size 1 repeated. [`check`] has passed.
fn broadcast<T: Element>(own: &[usize], values: &[f64], shape: &[usize], out: &mut [T]) {
    for (index, to) in out.iter_mut().enumerate() {
        let (mut rest, mut from, mut stride) = (index, 0, 1);
        for (back, &size) in shape.iter().rev().enumerate() {
            if let Some(&own) = own.len().checked_sub(back + 1).and_then(|axis| own.get(axis)) {
                from += if own == 1 { 0 } else { rest % size * stride };
                stride *= own;
            }
            rest /= size;
        }
        *to = T::from_f64(values[from]);
    }
}

/// Checks that an initializer can fill a weight of this shape.
///
/// # Errors
/// It has too few axes, or too many.
pub fn check(initializer: &Initializer, shape: &[usize]) -> Result<()> {
    let (fits, wanted) = match initializer {
        Initializer::Constant { value: Filling::Array { shape: own, values } } => {
            let aligned =
                own.iter().rev().zip(shape.iter().rev()).all(|(&from, &to)| from == to || from == 1);
            let whole = own.iter().product::<usize>() == values.len();
            (
                aligned && whole && own.len() <= shape.len(),
                "a weight that the array of Constant broadcasts to",
            )
        }
        Initializer::Orthogonal { .. } => (shape.len() >= 2, "a weight of at least two axes for Orthogonal"),
        Initializer::Identity { .. } => (shape.len() == 2, "a weight of two axes for Identity"),
        _ => (true, ""),
    };
    if fits { Ok(()) } else { Err(Error::shape("initializer", wanted, format!("{shape:?}"))) }
}

/// A matrix of `rows` (all axes but the last) by `columns` with orthonormal columns, or rows if there are fewer of
/// them: random directions (Saxe, McClelland and Ganguli 2013, arXiv 1312.6120), made orthogonal one after the other by Gram and
/// Schmidt's method, twice, which is exact enough (Giraud, Langou and Rozloznik 2005, doi 10.1007/s00211-005-0615-4).
///
/// # Errors
/// There is no memory for the vectors, or an interrupt.
fn orthogonal<T: Element>(
    stream: &Stream,
    gain: f64,
    shape: &[usize],
    out: &mut [T],
    interrupt: Interrupt<'_>,
) -> Result<()> {
    let columns = shape[shape.len() - 1];
    let rows = out.len() / columns.max(1);
    let (count, len) = (columns.min(rows), columns.max(rows));
    let mut vectors = memory::filled(0.0f64, count * len)?;
    normal(stream, 0.0, 1.0, &mut vectors);
    let mut unasked = 0;
    for i in 0..count {
        // The cost of making the vectors so far orthogonal to one more.
        unasked += i * len;
        if unasked > INTERRUPT_WORK {
            unasked = 0;
            if interrupt() {
                return Err(Error::Interrupted);
            }
        }
        let (done, rest) = vectors.split_at_mut(i * len);
        let own = &mut rest[..len];
        for _ in 0..2 {
            for other in done.chunks_exact(len) {
                let dot: f64 = own.iter().zip(other).map(|(a, b)| a * b).sum();
                own.iter_mut().zip(other).for_each(|(a, b)| *a -= dot * b);
            }
        }
        let norm = own.iter().map(|x| x * x).sum::<f64>().sqrt();
        own.iter_mut().for_each(|x| *x /= norm);
    }
    for (index, x) in out.iter_mut().enumerate() {
        let (row, column) = (index / columns, index % columns);
        let (vector, place) = if rows >= columns { (column, row) } else { (row, column) };
        *x = T::from_f64(gain * vectors[vector * len + place]);
    }
    Ok(())
}

/// Keras' fans: the receptive field times the last two sizes (whatever they mean for the layer).
fn fans(shape: &[usize]) -> (f64, f64) {
    match *shape {
        [] => (1.0, 1.0),
        [n] => (n as f64, n as f64),
        [ref field @ .., fan_in, fan_out] => {
            let field = field.iter().product::<usize>() as f64;
            (field * fan_in as f64, field * fan_out as f64)
        }
    }
}

fn uniform<T: Element>(stream: &Stream, low: f64, high: f64, out: &mut [T]) {
    for (block, pair) in out.chunks_mut(2).enumerate() {
        for (x, u) in pair.iter_mut().zip(stream.uniforms(block as u64)) {
            *x = T::from_f64(low + (high - low) * u);
        }
    }
}

fn normal<T: Element>(stream: &Stream, mean: f64, stddev: f64, out: &mut [T]) {
    for (block, pair) in out.chunks_mut(2).enumerate() {
        for (x, z) in pair.iter_mut().zip(stream.normals(block as u64)) {
            *x = T::from_f64(mean + stddev * z);
        }
    }
}

/// Normal numbers no further than two standard deviations from the mean, by rejection: each element has a stream of
/// attempts of its own (95 % need one).
fn truncated<T: Element>(stream: &Stream, mean: f64, stddev: f64, out: &mut [T]) {
    for (i, x) in out.iter_mut().enumerate() {
        let attempts = (0..64u64).flat_map(|attempt| stream.normals((i as u64) << 6 | attempt));
        let z = attempts.into_iter().find(|z| z.abs() <= 2.0).unwrap_or(0.0);
        *x = T::from_f64(mean + stddev * z);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (mean, values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n)
    }

    #[test]
    fn glorot_uniform_has_keras_limit() {
        let glorot = Initializer::VarianceScaling {
            scale: 1.0,
            mode: FanMode::FanAvg,
            distribution: Distribution::Uniform,
            seed: None,
        };
        let shape = [3, 3, 32, 64];
        let mut out = vec![0.0f64; shape.iter().product()];
        fill(&glorot, &shape, (1, 0), &mut out, &|| false).unwrap();
        let limit = (6.0f64 / (9.0 * 96.0)).sqrt();
        let largest = out.iter().fold(0.0f64, |a, x| a.max(x.abs()));
        assert!(largest <= limit && largest > 0.999 * limit);
    }

    #[test]
    fn he_normal_has_variance_2_over_fan_in() {
        let he = Initializer::VarianceScaling {
            scale: 2.0,
            mode: FanMode::FanIn,
            distribution: Distribution::TruncatedNormal,
            seed: Some(3),
        };
        let mut out = vec![0.0f64; 100 * 400];
        fill(&he, &[100, 400], (1, 0), &mut out, &|| false).unwrap();
        let (mean, variance) = moments(&out);
        assert!(mean.abs() < 0.005, "{mean}");
        assert!((variance / 0.02 - 1.0).abs() < 0.03, "{variance}");
        assert!(out.iter().all(|x| x.abs() <= 2.0 * 0.02f64.sqrt() / TRUNCATED_STDDEV));
    }

    #[test]
    fn an_interrupt_is_heard_between_vectors() {
        let asked = std::cell::Cell::new(0);
        let interrupt = || {
            asked.set(asked.get() + 1);
            asked.get() > 2
        };
        let orthogonal = Initializer::Orthogonal { gain: 1.0, seed: None };
        let mut out = vec![0.0f32; 1000 * 1000];
        let drawn = fill(&orthogonal, &[1000, 1000], (1, 0), &mut out, &interrupt);
        assert!(matches!(drawn, Err(Error::Interrupted)));
        assert_eq!(asked.get(), 3);
    }

    #[test]
    fn draws_depend_on_seed_and_number() {
        let draw = |seed, index| {
            let mut out = vec![0.0f32; 8];
            fill(
                &Initializer::RandomNormal { mean: 0.0, stddev: 1.0, seed: None },
                &[8],
                (seed, index),
                &mut out,
                &|| false,
            )
            .unwrap();
            out
        };
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
        assert_ne!(draw(1, 0), draw(2, 0));
    }
}
