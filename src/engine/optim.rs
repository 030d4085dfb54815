//! Optimizers: one pass over flat buffers, formulas and names as in Keras.

use super::spec::Optimizer;
use crate::kernels::{Element, Job, Tier};

/// Numbers of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    pub learning_rate: f64,
    /// Steps taken before this one.
    pub iterations: u64,
}

impl Optimizer {
    /// Names of the slots: one number per weight each.
    pub(super) fn slots(&self) -> &'static [&'static str] {
        match self {
            Self::SGD { momentum, .. } if *momentum == 0.0 => &[],
            Self::SGD { .. } => &["momentum"],
            Self::Adam { .. } => &["momentum", "velocity"],
        }
    }

    /// Updates some weights and their slots.
    pub(super) fn update<T: Element>(
        &self,
        tier: Tier,
        rates: Rates,
        weights: &mut [T],
        grads: &[T],
        slots: &mut [&mut [T]],
    ) {
        let lr = rates.learning_rate;
        match (self, slots) {
            (Self::SGD { .. }, []) => tier.vectorize(Descend { weights, grads, lr: T::from_f64(lr) }),
            (Self::SGD { momentum, nesterov }, [velocity]) => tier.vectorize(Momentum {
                weights,
                grads,
                velocity,
                lr: T::from_f64(lr),
                momentum: T::from_f64(*momentum),
                nesterov: *nesterov,
            }),
            (Self::Adam { beta_1, beta_2, epsilon }, [m, v]) => {
                let t = rates.iterations + 1;
                let correction = (1.0 - power(*beta_2, t)).sqrt() / (1.0 - power(*beta_1, t));
                tier.vectorize(Adam {
                    weights,
                    grads,
                    m,
                    v,
                    rate: T::from_f64(lr * correction),
                    new_1: T::from_f64(1.0 - beta_1),
                    new_2: T::from_f64(1.0 - beta_2),
                    epsilon: T::from_f64(*epsilon),
                });
            }
            _ => unreachable!("slots were made by `Optimizer::slots`"),
        }
    }
}

/// `x^n` by squaring: the same bits everywhere, which `powi` does not promise.
fn power(x: f64, mut n: u64) -> f64 {
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

/// A moment too small to be normal becomes zero: denormal arithmetic is slow, and the update is lost in rounding anyway.
#[inline(always)]
fn flush<T: Element>(x: T) -> T {
    let least = T::from_f64(f64::from(f32::MIN_POSITIVE));
    if x > least || T::ZERO.sub(x) > least || x.is_nan() { x } else { T::ZERO }
}

/// `w -= lr g`
struct Descend<'a, T> {
    weights: &'a mut [T],
    grads: &'a [T],
    lr: T,
}

impl<T: Element> Job for Descend<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for (w, g) in self.weights.iter_mut().zip(self.grads) {
            *w = w.sub(self.lr.mul(*g));
        }
    }
}

/// `v = m v - lr g; w += v`, or with Nesterov `w += m v - lr g`.
struct Momentum<'a, T> {
    weights: &'a mut [T],
    grads: &'a [T],
    velocity: &'a mut [T],
    lr: T,
    momentum: T,
    nesterov: bool,
}

impl<T: Element> Job for Momentum<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for ((w, g), v) in self.weights.iter_mut().zip(self.grads).zip(self.velocity) {
            let pull = self.lr.mul(*g);
            *v = flush(self.momentum.mul(*v).sub(pull));
            let step = if self.nesterov { self.momentum.mul(*v).sub(pull) } else { *v };
            *w = w.add(step);
        }
    }
}

/// `m += (g - m)(1 - b1); v += (g^2 - v)(1 - b2); w -= lr sqrt(1 - b2^t)/(1 - b1^t) m / (sqrt(v) + eps)`
struct Adam<'a, T> {
    weights: &'a mut [T],
    grads: &'a [T],
    m: &'a mut [T],
    v: &'a mut [T],
    rate: T,
    new_1: T,
    new_2: T,
    epsilon: T,
}

impl<T: Element> Job for Adam<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let n = self.weights.len();
        let (weights, grads, m, v) = (self.weights, &self.grads[..n], &mut self.m[..n], &mut self.v[..n]);
        for i in 0..n {
            let g = grads[i];
            m[i] = flush(m[i].add(g.sub(m[i]).mul(self.new_1)));
            v[i] = flush(v[i].add(g.mul(g).sub(v[i]).mul(self.new_2)));
            let step = self.rate.mul(m[i]).div(v[i].sqrt().add(self.epsilon));
            weights[i] = weights[i].sub(step);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers() {
        assert_eq!(power(0.9, 0), 1.0);
        assert!((power(0.999, 1000) - 0.999f64.powi(1000)).abs() < 1e-14);
    }

    #[test]
    fn tiny_moments_are_flushed_and_nan_is_not() {
        assert_eq!(flush(1e-45f32), 0.0);
        assert_eq!(flush(-1e-39f32), 0.0);
        assert_eq!(flush(-1e-30f32), -1e-30);
        assert!(flush(f32::NAN).is_nan());
    }
}
