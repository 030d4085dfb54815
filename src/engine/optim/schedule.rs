//! Learning rates that follow a plan; names, defaults and formulas are Keras', [`LrSchedule::OneCycle`] apart (Smith and Topin
//! 2017, arXiv 1708.07120). Cosines and restarts are those of Loshchilov and Hutter 2017 (SGDR, arXiv 1608.03983).

use serde::Deserialize;

use crate::kernels::math;

/// The learning rate of every step, counted from 0.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "class_name", content = "config")]
#[expect(missing_docs, reason = "the names are Keras'")]
pub enum LrSchedule {
    ExponentialDecay {
        initial_learning_rate: f64,
        decay_steps: f64,
        decay_rate: f64,
        staircase: bool,
    },
    PiecewiseConstantDecay {
        boundaries: Vec<f64>,
        values: Vec<f64>,
    },
    PolynomialDecay {
        initial_learning_rate: f64,
        decay_steps: f64,
        end_learning_rate: f64,
        power: f64,
        cycle: bool,
    },
    InverseTimeDecay {
        initial_learning_rate: f64,
        decay_steps: f64,
        decay_rate: f64,
        staircase: bool,
    },
    CosineDecay {
        initial_learning_rate: f64,
        decay_steps: f64,
        alpha: f64,
        warmup_target: Option<f64>,
        warmup_steps: f64,
    },
    CosineDecayRestarts {
        initial_learning_rate: f64,
        first_decay_steps: f64,
        t_mul: f64,
        m_mul: f64,
        alpha: f64,
    },
    OneCycle {
        max_learning_rate: f64,
        total_steps: f64,
        warmup_fraction: f64,
        initial_divisor: f64,
        final_divisor: f64,
    },
}

impl LrSchedule {
    /// The learning rate of step `step`.
    pub fn rate(&self, step: u64) -> f64 {
        let t = step as f64;
        let periods = |steps: f64, staircase: bool| if staircase { (t / steps).floor() } else { t / steps };
        match self {
            Self::ExponentialDecay { initial_learning_rate, decay_steps, decay_rate, staircase } => {
                initial_learning_rate * math::pow(*decay_rate, periods(*decay_steps, *staircase))
            }
            Self::PiecewiseConstantDecay { boundaries, values } => {
                // values[0] up to and with boundaries[0], and so on.
                values[boundaries.iter().filter(|&&boundary| t > boundary).count()]
            }
            Self::PolynomialDecay { initial_learning_rate, decay_steps, end_learning_rate, power, cycle } => {
                let rounds = if *cycle { (t / decay_steps).ceil().max(1.0) } else { 1.0 };
                let share = (t / (decay_steps * rounds)).min(1.0);
                (initial_learning_rate - end_learning_rate) * math::pow(1.0 - share, *power)
                    + end_learning_rate
            }
            Self::InverseTimeDecay { initial_learning_rate, decay_steps, decay_rate, staircase } => {
                initial_learning_rate / (1.0 + decay_rate * periods(*decay_steps, *staircase))
            }
            Self::CosineDecay { initial_learning_rate, decay_steps, alpha, warmup_target, warmup_steps } => {
                let decay = |from: f64, t: f64| {
                    from * ((1.0 - alpha) * falling(t.min(*decay_steps) / decay_steps) + alpha)
                };
                match warmup_target {
                    None => decay(*initial_learning_rate, t),
                    Some(top) if t < *warmup_steps => {
                        (top - initial_learning_rate) * (t / warmup_steps) + initial_learning_rate
                    }
                    Some(top) => decay(*top, t - warmup_steps),
                }
            }
            Self::CosineDecayRestarts { initial_learning_rate, first_decay_steps, t_mul, m_mul, alpha } => {
                // Found by walking, and not by a logarithm that may round to the wrong side of a restart.
                let (mut start, mut length, mut rounds) = (0.0, *first_decay_steps, 0);
                if *t_mul == 1.0 {
                    rounds = (t / length).floor() as u64;
                    start = rounds as f64 * length;
                } else {
                    while t - start >= length && length > 0.0 {
                        start += length;
                        length *= t_mul;
                        rounds += 1;
                    }
                }
                let share = if length > 0.0 { (t - start) / length } else { 1.0 };
                let decayed = math::powi(*m_mul, rounds) * falling(share);
                initial_learning_rate * ((1.0 - alpha) * decayed + alpha)
            }
            Self::OneCycle {
                max_learning_rate,
                total_steps,
                warmup_fraction,
                initial_divisor,
                final_divisor,
            } => {
                // From max / initial_divisor up to max, then down to that over final_divisor, both along a cosine.
                let first = max_learning_rate / initial_divisor;
                let (peak, end) = (warmup_fraction * total_steps - 1.0, total_steps - 1.0);
                let t = t.min(end);
                if t <= peak {
                    let share = if peak > 0.0 { t / peak } else { 1.0 };
                    max_learning_rate + (first - max_learning_rate) * falling(share)
                } else {
                    let last = first / final_divisor;
                    let from = peak.max(0.0);
                    last + (max_learning_rate - last) * falling((t - from) / (end - from))
                }
            }
        }
    }
}

/// From 1 to 0 along half a cosine as `x` goes from 0 to 1.
fn falling(x: f64) -> f64 {
    let (_, cos) = math::sin_cos_turn(x.clamp(0.0, 1.0) * 0.5);
    0.5 * (1.0 + cos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_exact() {
        assert_eq!(falling(0.0), 1.0);
        assert_eq!(falling(1.0), 0.0);
    }

    #[test]
    fn restarts_fall_on_their_steps() {
        let schedule = LrSchedule::CosineDecayRestarts {
            initial_learning_rate: 1.0,
            first_decay_steps: 10.0,
            t_mul: 2.0,
            m_mul: 0.5,
            alpha: 0.0,
        };
        assert_eq!([0, 10, 30, 70].map(|t| schedule.rate(t)), [1.0, 0.5, 0.25, 0.125]);
        assert!((schedule.rate(5) - 0.5).abs() < 1e-15 && (schedule.rate(20) - 0.25).abs() < 1e-15);
    }
}
