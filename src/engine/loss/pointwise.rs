//! Losses of one position: from outputs `p` and targets `t` of the last axis a number and its gradient, in float64.
//!
//! Focal ones are those of Lin et al. 2017 (arXiv 1708.02002), Huber's that of Huber 1964 (doi 10.1214/aoms/1177703732).

use super::{EPSILON, Loss};
use crate::kernels::math;

/// Writes gradients of single elements; nothing where none are wanted.
fn each(p: &[f64], t: &[f64], g: &mut [f64], share: f64, f: impl Fn(f64, f64) -> (f64, f64)) -> f64 {
    let mut total = 0.0;
    for ((p, t), g) in p.iter().zip(t).zip(g) {
        let (value, slope) = f(*p, *t);
        total += value;
        *g = share * slope;
    }
    total * share
}

/// The derivative of `|x|`, 0 at 0.
fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

/// Probabilities kept away from 0 and 1, and the derivative of that.
fn clip(p: f64) -> (f64, f64) {
    let inside = (EPSILON..=1.0 - EPSILON).contains(&p);
    (p.clamp(EPSILON, 1.0 - EPSILON), f64::from(u8::from(inside)))
}

/// Binary cross-entropy of a probability, and its derivative.
fn binary(p: f64, t: f64) -> (f64, f64) {
    let (q, inside) = clip(p);
    (-(t * math::ln(q) + (1.0 - t) * math::ln(1.0 - q)), inside * (q - t) / (q * (1.0 - q)))
}

/// `x^gamma` and its derivative, for `x >= 0`.
fn powered(x: f64, gamma: f64) -> (f64, f64) {
    (math::pow(x, gamma), if gamma == 0.0 { 0.0 } else { gamma * math::pow(x, gamma - 1.0) })
}

impl Loss {
    /// The loss of a position, and its gradient to `p`. Where the outputs are logits `p` holds what
    /// [`Loss::output`] made of them, `z` the outputs themselves, and the gradient is to `z`.
    pub(in crate::engine) fn element(&self, z: &[f64], p: &[f64], t: &[f64], g: &mut [f64]) -> f64 {
        let share = 1.0 / p.len() as f64;
        match self {
            Self::MeanSquaredError { .. } => each(p, t, g, share, |p, t| ((p - t) * (p - t), 2.0 * (p - t))),
            Self::MeanAbsoluteError { .. } => each(p, t, g, share, |p, t| ((p - t).abs(), sign(p - t))),
            Self::MeanAbsolutePercentageError { .. } => each(p, t, g, 100.0 * share, |p, t| {
                let scale = t.abs().max(EPSILON);
                ((p - t).abs() / scale, sign(p - t) / scale)
            }),
            Self::MeanSquaredLogarithmicError { .. } => each(p, t, g, share, |p, t| {
                let d = math::ln(p.max(EPSILON) + 1.0) - math::ln(t.max(EPSILON) + 1.0);
                (d * d, if p > EPSILON { 2.0 * d / (p + 1.0) } else { 0.0 })
            }),
            Self::Huber { delta, .. } => each(p, t, g, share, |p, t| {
                let e = p - t;
                if e.abs() <= *delta {
                    (0.5 * e * e, e)
                } else {
                    (delta * e.abs() - 0.5 * delta * delta, delta * sign(e))
                }
            }),
            Self::LogCosh { .. } => each(p, t, g, share, |p, t| {
                let x = p - t;
                (x + math::softplus(-2.0 * x) - std::f64::consts::LN_2, math::tanh(x))
            }),
            Self::BinaryCrossentropy { from_logits, label_smoothing, .. } => {
                let smooth = |t: f64| t * (1.0 - label_smoothing) + 0.5 * label_smoothing;
                if *from_logits {
                    let outputs = z.iter().zip(p).zip(t).zip(g);
                    return share
                        * outputs.fold(0.0, |sum, (((z, p), t), g)| {
                            let t = smooth(*t);
                            *g = share * (p - t);
                            sum + math::softplus(*z) - z * t
                        });
                }
                each(p, t, g, share, |p, t| binary(p, smooth(t)))
            }
            Self::BinaryFocalCrossentropy {
                from_logits,
                label_smoothing,
                gamma,
                alpha,
                apply_class_balancing,
                ..
            } => each(p, t, g, share, |p, t| {
                let t = t * (1.0 - label_smoothing) + 0.5 * label_smoothing;
                let (entropy, slope) = binary(p, t);
                let hit = t * p + (1.0 - t) * (1.0 - p);
                let (focus, bend) = powered(1.0 - hit, *gamma);
                let weight = if *apply_class_balancing { t * alpha + (1.0 - t) * (1.0 - alpha) } else { 1.0 };
                let slope = weight * (focus * slope - bend * (2.0 * t - 1.0) * entropy);
                (weight * focus * entropy, if *from_logits { slope * p * (1.0 - p) } else { slope })
            }),
            Self::Hinge { .. } => each(p, t, g, share, |p, t| {
                let miss = 1.0 - t * p;
                if miss > 0.0 { (miss, -t) } else { (0.0, 0.0) }
            }),
            Self::SquaredHinge { .. } => each(p, t, g, share, |p, t| {
                let miss = (1.0 - t * p).max(0.0);
                (miss * miss, -2.0 * miss * t)
            }),
            Self::Poisson { .. } => {
                each(p, t, g, share, |p, t| (p - t * math::ln(p + EPSILON), 1.0 - t / (p + EPSILON)))
            }
            Self::KLDivergence { .. } => {
                let total = each(p, t, g, 1.0, |p, t| {
                    let t = t.clamp(EPSILON, 1.0);
                    let q = p.clamp(EPSILON, 1.0);
                    (t * math::ln(t / q), if q == p { -t / q } else { 0.0 })
                });
                self.output(p.len()).through(p, g);
                total
            }
            Self::CategoricalHinge { .. } => categorical_hinge(p, t, g),
            Self::CosineSimilarity { .. } => cosine_similarity(p, t, g),
            Self::CategoricalCrossentropy { .. } | Self::SparseCategoricalCrossentropy { .. } => {
                categorical(p, t, g)
            }
            Self::CategoricalFocalCrossentropy { alpha, gamma, .. } => {
                let total = categorical_focal(p, t, g, *alpha, *gamma);
                self.output(p.len()).through(p, g);
                total
            }
            // A number of the whole batch: see `overlap`.
            Self::Dice { .. } | Self::Tversky { .. } | Self::Custom { .. } => 0.0,
        }
    }
}

/// `max(max (1 - t) p - sum t p + 1, 0)`; of equal maxima the first gets the gradient.
fn categorical_hinge(p: &[f64], t: &[f64], g: &mut [f64]) -> f64 {
    let right: f64 = p.iter().zip(t).map(|(p, t)| p * t).sum();
    g.iter_mut().zip(p).zip(t).for_each(|((g, p), t)| *g = (1.0 - t) * p);
    let top = super::argmax(g);
    let miss = g[top] - right + 1.0;
    let open = f64::from(u8::from(miss > 0.0));
    g.iter_mut().zip(t).for_each(|(g, t)| *g = -open * t);
    g[top] += open * (1.0 - t[top]);
    open * miss
}

/// Minus the cosine of the angle; lengths below epsilon count as epsilon.
fn cosine_similarity(p: &[f64], t: &[f64], g: &mut [f64]) -> f64 {
    let length = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let (own, other) = (length(p), length(t).max(EPSILON));
    let dot = p.iter().zip(t).map(|(p, t)| p * t).sum::<f64>() / other;
    let scale = 1.0 / own.max(EPSILON);
    // The length itself moves with p, unless it is too short to count.
    let pull = if own > EPSILON { dot * scale * scale * scale } else { 0.0 };
    for ((g, p), t) in g.iter_mut().zip(p).zip(t) {
        *g = pull * p - scale * t / other;
    }
    -dot * scale
}

/// `q = p / sum(p)`, clipped; `-sum of t ln q`. Inside the clip `dL/dp_j = sum(t)/sum(p) - t_j/p_j`.
fn categorical(p: &[f64], t: &[f64], g: &mut [f64]) -> f64 {
    let sum: f64 = p.iter().sum();
    let (mut mass, mut total) = (0.0, 0.0);
    // A logarithm takes longer than all else, and of most targets but one is zero.
    for ((g, p), t) in g.iter_mut().zip(p).zip(t).filter(|(_, t)| **t != 0.0) {
        let (q, inside) = clip(p / sum);
        mass += inside * t;
        total -= t * math::ln(q);
        *g = if inside == 1.0 { t / p } else { 0.0 };
    }
    let mean = mass / sum;
    for (g, t) in g.iter_mut().zip(t) {
        *g = if *t == 0.0 { mean } else { mean - *g };
    }
    total
}

/// `sum of alpha (1 - q)^gamma (-t ln q)` with `q = p / sum(p)`, clipped.
fn categorical_focal(p: &[f64], t: &[f64], g: &mut [f64], alpha: f64, gamma: f64) -> f64 {
    let sum: f64 = p.iter().sum();
    let (mut total, mut drift) = (0.0, 0.0);
    for ((g, p), t) in g.iter_mut().zip(p).zip(t) {
        let (q, inside) = clip(p / sum);
        let (focus, bend) = powered(1.0 - q, gamma);
        let entropy = -t * math::ln(q);
        total += alpha * focus * entropy;
        *g = inside * alpha * (-focus * t / q - bend * entropy);
        drift += *g * p / sum;
    }
    // dq_i/dp_j = (1[i = j] - p_i / sum) / sum
    g.iter_mut().for_each(|g| *g = (*g - drift) / sum);
    total
}
