//! The rules by which weights move; names, defaults and formulas are Keras'.
//!
//! A rule is a struct of constants, computed once a step, and [`Move::step`], which says what becomes of one weight
//! and its slots. The loop around it is [`Pass`]; everything is rounded after every operation, so all tiers agree.

use serde::Deserialize;

use super::bounds::{self, EPSILON, FACTOR, SHARE};
use crate::kernels::math::powi as power;
use crate::kernels::{Element, Job, Tier};

/// Most slots that a rule has.
pub(super) const SLOTS: usize = 3;

/// A slot's name and what it is filled with at first.
pub(super) type Slot = (&'static str, f64);

/// The rules, with their configuration; AdamW is Adam with weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "class_name", content = "config")]
pub enum Rule {
    #[serde(rename = "SGD")]
    Sgd {
        momentum: f64,
        nesterov: bool,
    },
    RMSprop {
        rho: f64,
        momentum: f64,
        epsilon: f64,
        centered: bool,
    },
    Adam {
        beta_1: f64,
        beta_2: f64,
        epsilon: f64,
        amsgrad: bool,
    },
    Adagrad {
        initial_accumulator_value: f64,
        epsilon: f64,
    },
    Adadelta {
        rho: f64,
        epsilon: f64,
    },
    Adamax {
        beta_1: f64,
        beta_2: f64,
        epsilon: f64,
    },
    Nadam {
        beta_1: f64,
        beta_2: f64,
        epsilon: f64,
    },
    Lion {
        beta_1: f64,
        beta_2: f64,
    },
}

impl Rule {
    /// The slots, at the places where [`Move::step`] finds them; what the configuration does without is None.
    pub(super) fn slots(&self) -> [Option<Slot>; SLOTS] {
        let zero = |name| Some((name, 0.0));
        match self {
            Self::Sgd { momentum, .. } if *momentum == 0.0 => [None; SLOTS],
            Self::Sgd { .. } => [zero("momentum"), None, None],
            Self::RMSprop { momentum, centered, .. } => [
                zero("velocity"),
                zero("momentum").filter(|_| *momentum > 0.0),
                zero("average_gradient").filter(|_| *centered),
            ],
            Self::Adam { amsgrad, .. } => {
                [zero("momentum"), zero("velocity"), zero("velocity_hat").filter(|_| *amsgrad)]
            }
            Self::Adagrad { initial_accumulator_value, .. } => {
                [Some(("accumulator", *initial_accumulator_value)), None, None]
            }
            Self::Adadelta { .. } => [zero("accumulated_grad"), zero("accumulated_delta_var"), None],
            Self::Adamax { .. } => [zero("momentum"), zero("norm"), None],
            Self::Nadam { .. } => [zero("momentum"), zero("velocity"), None],
            Self::Lion { .. } => [zero("momentum"), None, None],
        }
    }

    /// Whether its constants are small enough for the bounds to hold in update `t`.
    pub(super) fn moderate(&self, lr: f64, t: u64) -> bool {
        let small = |factors: &[f64]| factors.iter().all(|factor| factor.abs() <= FACTOR);
        let divides = |epsilon: f64| epsilon >= EPSILON;
        small(&[lr])
            && match *self {
                Self::Sgd { .. } | Self::Lion { .. } => true,
                Self::RMSprop { epsilon, .. } | Self::Adagrad { epsilon, .. } => divides(epsilon),
                Self::Adadelta { rho, epsilon } => divides(epsilon) && 1.0 - rho >= SHARE,
                Self::Adam { beta_1, beta_2, epsilon, .. } => {
                    divides(epsilon) && small(&[lr * adam_correction(beta_1, beta_2, t)])
                }
                Self::Adamax { beta_1, epsilon, .. } => {
                    divides(epsilon) && small(&[lr / (1.0 - power(beta_1, t))])
                }
                Self::Nadam { beta_1, beta_2, epsilon } => {
                    let factors = nadam_factors(beta_1, beta_2, t);
                    // The factor of the velocity is under a root.
                    divides(epsilon) && small(&[factors[0], factors[1], factors[2].sqrt()])
                }
            }
    }

    /// Moves some weights; `t` is the number of the update, from 1 on. Returns whether all is within the bounds.
    pub(super) fn update<T: Element>(&self, tier: Tier, lr: f64, t: u64, tensors: Tensors<'_, T>) -> bool {
        let c = T::from_f64;
        match *self {
            Self::Sgd { momentum, nesterov } => {
                if momentum == 0.0 {
                    run(tier, tensors, Descend { lr: c(lr) })
                } else {
                    run(tier, tensors, Momentum { lr: c(lr), momentum: c(momentum), nesterov })
                }
            }
            Self::RMSprop { rho, momentum, epsilon, centered } => {
                let (keep, new) = (c(rho), c(1.0 - rho));
                let momentum = (momentum > 0.0).then(|| c(momentum));
                run(tier, tensors, RmsProp { lr: c(lr), keep, new, momentum, epsilon: c(epsilon), centered })
            }
            Self::Adam { beta_1, beta_2, epsilon, amsgrad } => {
                let correction = adam_correction(beta_1, beta_2, t);
                let (new_1, new_2) = (c(1.0 - beta_1), c(1.0 - beta_2));
                run(
                    tier,
                    tensors,
                    Adam { rate: c(lr * correction), new_1, new_2, epsilon: c(epsilon), amsgrad },
                )
            }
            Self::Adagrad { epsilon, .. } => run(tier, tensors, Adagrad { lr: c(lr), epsilon: c(epsilon) }),
            Self::Adadelta { rho, epsilon } => {
                let (keep, new) = (c(rho), c(1.0 - rho));
                run(tier, tensors, Adadelta { lr: c(lr), keep, new, epsilon: c(epsilon) })
            }
            Self::Adamax { beta_1, beta_2, epsilon } => {
                let rate = c(lr / (1.0 - power(beta_1, t)));
                let (new_1, keep_2) = (c(1.0 - beta_1), c(beta_2));
                run(tier, tensors, Adamax { rate, new_1, keep_2, epsilon: c(epsilon) })
            }
            Self::Nadam { beta_1, beta_2, epsilon } => {
                let [of_momentum, of_gradient, of_velocity] = nadam_factors(beta_1, beta_2, t);
                let nadam = Nadam {
                    lr: c(lr),
                    new_1: c(1.0 - beta_1),
                    new_2: c(1.0 - beta_2),
                    of_momentum: c(of_momentum),
                    of_gradient: c(of_gradient),
                    of_velocity: c(of_velocity),
                    epsilon: c(epsilon),
                };
                run(tier, tensors, nadam)
            }
            Self::Lion { beta_1, beta_2 } => {
                let one = |beta: f64| (c(beta), c(1.0 - beta));
                run(tier, tensors, Lion { lr: c(lr), look: one(beta_1), keep: one(beta_2) })
            }
        }
    }
}

/// Adam's `sqrt(1 - beta_2^t) / (1 - beta_1^t)`.
fn adam_correction(beta_1: f64, beta_2: f64, t: u64) -> f64 {
    (1.0 - power(beta_2, t)).sqrt() / (1.0 - power(beta_1, t))
}

/// Nadam's factors of momentum, gradient and velocity.
fn nadam_factors(beta_1: f64, beta_2: f64, t: u64) -> [f64; 3] {
    let u = |t: u64| beta_1 * (1.0 - 0.5 * power(0.96, t));
    let product = nadam_product(beta_1, t);
    [u(t + 1) / (1.0 - product * u(t + 1)), (1.0 - u(t)) / (1.0 - product), 1.0 / (1.0 - power(beta_2, t))]
}

/// Product of Nadam's `u_i = beta_1 (1 - 0.96^i / 2)` for i up to t; it is read as `1 - product` only, so the factors
/// that would not change that any more are left out.
fn nadam_product(beta_1: f64, t: u64) -> f64 {
    let (mut product, mut decay) = (1.0, 1.0);
    for _ in 0..t {
        decay *= 0.96;
        product *= beta_1 * (1.0 - 0.5 * decay);
        if product < f64::EPSILON / 16.0 {
            break;
        }
    }
    product
}

/// A moment too small to be normal becomes zero: denormal arithmetic is slow, and the update is lost in rounding anyway.
#[inline(always)]
fn flush<T: Element>(x: T) -> T {
    let least = T::from_f64(f64::from(f32::MIN_POSITIVE));
    if x > least || T::ZERO.sub(x) > least || x.is_nan() { x } else { T::ZERO }
}

#[inline(always)]
fn larger<T: Element>(a: T, b: T) -> T {
    if a > b { a } else { b }
}

/// What a pass works on.
pub(super) struct Tensors<'a, T> {
    pub weights: &'a mut [T],
    pub grads: &'a [T],
    pub slots: [Option<&'a mut [T]>; SLOTS],
    pub shape: Shape<T>,
}

/// What happens to gradient and weight before the rule sees them: `g = clamp(g factor)`, `w -= w decay lr`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape<T> {
    pub factor: T,
    pub most: Option<T>,
    /// Weight decay and learning rate.
    pub decay: Option<(T, T)>,
}

impl<T: Element> Shape<T> {
    #[inline(always)]
    fn gradient(&self, g: T) -> T {
        let g = g.mul(self.factor);
        let Some(most) = self.most else { return g };
        let least = T::ZERO.sub(most);
        let g = if g > most { most } else { g };
        if g < least { least } else { g }
    }

    #[inline(always)]
    fn weight(&self, w: T) -> T {
        match self.decay {
            Some((decay, lr)) => w.sub(w.mul(decay).mul(lr)),
            None => w,
        }
    }
}

/// What a rule does with one weight.
trait Move<T>: Copy {
    /// The weight and its slots after a step along the gradient `g`.
    fn step(&self, w: T, g: T, slots: [T; SLOTS]) -> (T, [T; SLOTS]);
}

fn run<T: Element>(tier: Tier, tensors: Tensors<'_, T>, rule: impl Move<T>) -> bool {
    tier.vectorize(Pass { rule, tensors, most: bounds::weights() })
}

/// Weights that are worked on at once: arrays of this length on the stack cannot overlap, so the loop over them
/// vectorises however many slots there are.
const TILE: usize = 64;

/// A rule applied to all weights of a block.
struct Pass<'a, T, R> {
    rule: R,
    tensors: Tensors<'a, T>,
    /// What weights and slots are compared with.
    most: T,
}

impl<T: Element, R: Move<T>> Job for Pass<'_, T, R> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        let Self { rule, tensors: Tensors { weights, grads, mut slots, shape }, most } = self;
        let least = T::ZERO.sub(most);
        let mut within = true;
        let mut start = 0;
        while start < weights.len() {
            let part = start..(start + TILE).min(weights.len());
            let len = part.len();
            let (mut w, mut g, mut s) = ([T::ZERO; TILE], [T::ZERO; TILE], [[T::ZERO; TILE]; SLOTS]);
            w[..len].copy_from_slice(&weights[part.clone()]);
            g[..len].copy_from_slice(&grads[part.clone()]);
            for (s, slot) in s.iter_mut().zip(&slots) {
                if let Some(slot) = slot {
                    s[..len].copy_from_slice(&slot[part.clone()]);
                }
            }
            for i in 0..TILE {
                let moved = rule.step(shape.weight(w[i]), shape.gradient(g[i]), [s[0][i], s[1][i], s[2][i]]);
                (w[i], [s[0][i], s[1][i], s[2][i]]) = moved;
                for x in [w[i], s[0][i], s[1][i], s[2][i]] {
                    within &= (x <= most) & (x >= least);
                }
            }
            weights[part.clone()].copy_from_slice(&w[..len]);
            for (s, slot) in s.iter().zip(&mut slots) {
                if let Some(slot) = slot {
                    slot[part.clone()].copy_from_slice(&s[..len]);
                }
            }
            start = part.end;
        }
        within
    }
}

/// `w -= lr g`
#[derive(Clone, Copy)]
struct Descend<T> {
    lr: T,
}

impl<T: Element> Move<T> for Descend<T> {
    #[inline(always)]
    fn step(&self, w: T, g: T, slots: [T; SLOTS]) -> (T, [T; SLOTS]) {
        (w.sub(self.lr.mul(g)), slots)
    }
}

/// `v = m v - lr g; w += v` (Polyak 1964, doi 10.1016/0041-5553(64)90137-5), or with Nesterov `w += m v - lr g` (Sutskever et
/// al. 2013, PMLR 28).
#[derive(Clone, Copy)]
struct Momentum<T> {
    lr: T,
    momentum: T,
    nesterov: bool,
}

impl<T: Element> Move<T> for Momentum<T> {
    #[inline(always)]
    fn step(&self, w: T, g: T, [v, b, c]: [T; SLOTS]) -> (T, [T; SLOTS]) {
        let pull = self.lr.mul(g);
        let v = flush(self.momentum.mul(v).sub(pull));
        let step = if self.nesterov { self.momentum.mul(v).sub(pull) } else { v };
        (w.add(step), [v, b, c])
    }
}

/// `v = rho v + (1 - rho) g^2; s = lr g / sqrt(v + eps); w -= s`; centered: `v - a^2` with `a` the mean of `g` in place
/// of `v`; with momentum `m = momentum m + s; w -= m` (Tieleman and Hinton 2012, lecture 6.5 of "Neural networks for machine
/// learning"; centered: Graves 2013, arXiv 1308.0850).
#[derive(Clone, Copy)]
struct RmsProp<T> {
    lr: T,
    keep: T,
    new: T,
    momentum: Option<T>,
    epsilon: T,
    centered: bool,
}

impl<T: Element> Move<T> for RmsProp<T> {
    #[inline(always)]
    fn step(&self, w: T, g: T, [v, m, a]: [T; SLOTS]) -> (T, [T; SLOTS]) {
        let v = flush(self.keep.mul(v).add(self.new.mul(g.mul(g))));
        let a = if self.centered { flush(self.keep.mul(a).add(self.new.mul(g))) } else { a };
        // A mean of squares is never below the square of the mean, but for rounding, which must not reach the root.
        let spread = larger(v.sub(a.mul(a)), T::ZERO).add(self.epsilon);
        let step = self.lr.mul(g).div(spread.sqrt());
        let Some(momentum) = self.momentum else { return (w.sub(step), [v, m, a]) };
        let m = flush(momentum.mul(m).add(step));
        (w.sub(m), [v, m, a])
    }
}

/// `m += (g - m)(1 - b1); v += (g^2 - v)(1 - b2); w -= lr sqrt(1 - b2^t)/(1 - b1^t) m / (sqrt(v) + eps)`; AMSGrad
/// divides by the largest `v` so far (Kingma and Ba 2015, arXiv 1412.6980; Reddi, Kale and Kumar 2018, arXiv 1904.09237).
#[derive(Clone, Copy)]
struct Adam<T> {
    rate: T,
    new_1: T,
    new_2: T,
    epsilon: T,
    amsgrad: bool,
}

impl<T: Element> Move<T> for Adam<T> {
    #[inline(always)]
    fn step(&self, w: T, g: T, [m, v, top]: [T; SLOTS]) -> (T, [T; SLOTS]) {
        let m = flush(m.add(g.sub(m).mul(self.new_1)));
        let v = flush(v.add(g.mul(g).sub(v).mul(self.new_2)));
        let top = if self.amsgrad { larger(top, v) } else { v };
        let step = self.rate.mul(m).div(top.sqrt().add(self.epsilon));
        (w.sub(step), [m, v, top])
    }
}

/// `a += g^2; w -= lr g / sqrt(a + eps)` (Duchi, Hazan and Singer 2011, Journal of Machine Learning Research 12).
#[derive(Clone, Copy)]
struct Adagrad<T> {
    lr: T,
    epsilon: T,
}

impl<T: Element> Move<T> for Adagrad<T> {
    #[inline(always)]
    fn step(&self, w: T, g: T, [a, b, c]: [T; SLOTS]) -> (T, [T; SLOTS]) {
        let a = a.add(g.mul(g));
        (w.sub(self.lr.mul(g).div(a.add(self.epsilon).sqrt())), [a, b, c])
    }
}

/// `a = rho a + (1 - rho) g^2; d = -sqrt(e + eps) g / sqrt(a + eps); e = rho e + (1 - rho) d^2; w += lr d`
/// (Zeiler 2012, arXiv 1212.5701).
#[derive(Clone, Copy)]
struct Adadelta<T> {
    lr: T,
    keep: T,
    new: T,
    epsilon: T,
}

impl<T: Element> Move<T> for Adadelta<T> {
    #[inline(always)]
    fn step(&self, w: T, g: T, [a, e, c]: [T; SLOTS]) -> (T, [T; SLOTS]) {
        let a = flush(self.keep.mul(a).add(self.new.mul(g.mul(g))));
        let d = e.add(self.epsilon).sqrt().mul(g).div(a.add(self.epsilon).sqrt());
        let e = flush(self.keep.mul(e).add(self.new.mul(d.mul(d))));
        (w.sub(self.lr.mul(d)), [a, e, c])
    }
}

/// `m += (g - m)(1 - b1); u = max(b2 u, |g|); w -= lr m / ((1 - b1^t)(u + eps))` (Kingma and Ba 2015, section 7).
#[derive(Clone, Copy)]
struct Adamax<T> {
    rate: T,
    new_1: T,
    keep_2: T,
    epsilon: T,
}

impl<T: Element> Move<T> for Adamax<T> {
    #[inline(always)]
    fn step(&self, w: T, g: T, [m, u, c]: [T; SLOTS]) -> (T, [T; SLOTS]) {
        let m = flush(m.add(g.sub(m).mul(self.new_1)));
        let u = flush(larger(self.keep_2.mul(u), larger(g, T::ZERO.sub(g))));
        (w.sub(self.rate.mul(m).div(u.add(self.epsilon))), [m, u, c])
    }
}

/// Adam with Nesterov's momentum (Dozat 2016, ICLR workshop): with `u_t = b1 (1 - 0.96^t / 2)` and `U_t` the product of `u_1 .. u_t`,
/// `w -= lr (u_{t+1} m / (1 - U_{t+1}) + (1 - u_t) g / (1 - U_t)) / (sqrt(v / (1 - b2^t)) + eps)`.
#[derive(Clone, Copy)]
struct Nadam<T> {
    lr: T,
    new_1: T,
    new_2: T,
    of_momentum: T,
    of_gradient: T,
    of_velocity: T,
    epsilon: T,
}

impl<T: Element> Move<T> for Nadam<T> {
    #[inline(always)]
    fn step(&self, w: T, g: T, [m, v, c]: [T; SLOTS]) -> (T, [T; SLOTS]) {
        let m = flush(m.add(g.sub(m).mul(self.new_1)));
        let v = flush(v.add(g.mul(g).sub(v).mul(self.new_2)));
        let ahead = self.of_momentum.mul(m).add(self.of_gradient.mul(g));
        let spread = v.mul(self.of_velocity).sqrt().add(self.epsilon);
        (w.sub(self.lr.mul(ahead).div(spread)), [m, v, c])
    }
}

/// `w -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g` (Chen et al. 2023, arXiv 2302.06675).
#[derive(Clone, Copy)]
struct Lion<T> {
    lr: T,
    look: (T, T),
    keep: (T, T),
}

impl<T: Element> Move<T> for Lion<T> {
    #[inline(always)]
    fn step(&self, w: T, g: T, [m, b, c]: [T; SLOTS]) -> (T, [T; SLOTS]) {
        let ahead = self.look.0.mul(m).add(self.look.1.mul(g));
        let up = if ahead > T::ZERO { self.lr } else { T::ZERO };
        let down = if ahead < T::ZERO { self.lr } else { T::ZERO };
        let m = flush(self.keep.0.mul(m).add(self.keep.1.mul(g)));
        (w.sub(up).add(down), [m, b, c])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiny_moments_are_flushed_and_nan_is_not() {
        assert_eq!(flush(1e-45f32), 0.0);
        assert_eq!(flush(-1e-39f32), 0.0);
        assert_eq!(flush(-1e-30f32), -1e-30);
        assert!(flush(f32::NAN).is_nan());
    }

    #[test]
    fn nadam_leaves_out_only_what_does_not_count() {
        let exact = |t: u64| (1..=t).map(|i| 0.9 * (1.0 - 0.5 * power(0.96, i))).product::<f64>();
        for t in [1, 2, 10, 100, 1000] {
            assert!(((1.0 - nadam_product(0.9, t)) - (1.0 - exact(t))).abs() < 1e-15, "{t}");
        }
    }
}
