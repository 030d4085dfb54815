//! Activations: element-wise functions and softmax, with their gradients.
//!
//! Transcendental ones are computed in float64 by our own `kernels::math` and rounded once, so they are the same on
//! every tier.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::kernels::{Element, Job, Tier, math};

/// An activation and its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x`
    Linear,
    /// `max(x, 0)`
    Relu,
    /// Keras' ReLU layer: `max_value` for `x >= max_value`, `x` for `threshold <= x < max_value`, else
    /// `negative_slope * (x - threshold)`.
    Rectifier {
        /// Largest result.
        max_value: Option<f64>,
        /// Slope below the threshold.
        negative_slope: f64,
        /// Where the function starts to be the identity.
        threshold: f64,
    },
    /// `x > 0 ? x : negative_slope * x`
    LeakyRelu {
        /// Slope below 0.
        negative_slope: f64,
    },
    /// `x > 0 ? x : alpha * (e^x - 1)` (Clevert, Unterthiner and Hochreiter 2016, arXiv 1511.07289).
    Elu {
        /// Minus the limit at minus infinity.
        alpha: f64,
    },
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `x * (1 + erf(x / sqrt 2)) / 2` (Hendrycks and Gimpel 2016, arXiv 1606.08415).
    Gelu,
    /// `x * (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`, near to `Gelu`.
    GeluTanh,
    /// `1.0507 x` above 0, `1.0507 * 1.6733 (e^x - 1)` below (Klambauer et al. 2017, arXiv 1706.02515).
    Selu,
    /// `x * sigmoid(x)` (Elfwing, Uchibe and Doya 2018, arXiv 1702.03118).
    Silu,
    /// `ln(1 + e^x)`
    Softplus,
    /// `x / (1 + |x|)`
    Softsign,
    /// `x * tanh(ln(1 + e^x))` (Misra 2019, arXiv 1908.08681).
    Mish,
    /// `x / 6 + 1/2`, clipped to [0, 1].
    HardSigmoid,
    /// `e^x`
    Exponential,
    /// `e^x / sum e^x` over one axis: `size` elements that lie `inner` apart.
    Softmax {
        /// Elements of the axis.
        size: usize,
        /// Their distance.
        inner: usize,
    },
    /// The logarithm of that, without the underflow.
    LogSoftmax {
        /// Elements of the axis.
        size: usize,
        /// Their distance.
        inner: usize,
    },
}

/// Constants of the self-normalising network.
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;

/// What a gradient is computed from, besides `dy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The input.
    Input,
    /// The output.
    Output,
}

impl Activation {
    /// The activation of this name with Keras' defaults, on tensors whose last axis has `channels` elements.
    ///
    /// # Errors
    /// No activation has this name.
    pub fn named(name: &str, channels: usize) -> Result<Self> {
        // Some may have other parameters, in parentheses: leaky_relu(0.1).
        if let Some((kind, parameters)) = name.strip_suffix(')').and_then(|name| name.split_once('(')) {
            let unknown = || Error::value("activation", "the name of an activation", format!("\"{name}\""));
            return Self::with_parameters(kind, parameters).ok_or_else(unknown);
        }
        Ok(match name {
            "linear" => Self::Linear,
            "relu" => Self::Relu,
            "leaky_relu" => Self::LeakyRelu { negative_slope: 0.2 },
            "elu" => Self::Elu { alpha: 1.0 },
            "sigmoid" => Self::Sigmoid,
            "tanh" => Self::Tanh,
            "gelu" => Self::Gelu,
            "silu" | "swish" => Self::Silu,
            "gelu_tanh" => Self::GeluTanh,
            "selu" => Self::Selu,
            "relu6" => Self::Rectifier { max_value: Some(6.0), negative_slope: 0.0, threshold: 0.0 },
            "softplus" => Self::Softplus,
            "softsign" => Self::Softsign,
            "mish" => Self::Mish,
            "hard_sigmoid" => Self::HardSigmoid,
            "exponential" => Self::Exponential,
            "log_softmax" => Self::LogSoftmax { size: channels, inner: 1 },
            "softmax" => Self::Softmax { size: channels, inner: 1 },
            _ => return Err(Error::value("activation", "the name of an activation", format!("\"{name}\""))),
        })
    }

    /// The activation of this kind with parameters of its own, separated by commas; `None` is one that is not there.
    fn with_parameters(kind: &str, parameters: &str) -> Option<Self> {
        let parse = |part: &str| match part.trim() {
            "None" => Some(None),
            number => number.parse::<f64>().ok().filter(|number| number.is_finite()).map(Some),
        };
        let numbers: Vec<Option<f64>> = parameters.split(',').map(parse).collect::<Option<_>>()?;
        match (kind, &numbers[..]) {
            ("leaky_relu", [Some(negative_slope)]) => {
                Some(Self::LeakyRelu { negative_slope: *negative_slope })
            }
            ("elu", [Some(alpha)]) => Some(Self::Elu { alpha: *alpha }),
            ("relu", [max_value, Some(negative_slope), Some(threshold)]) => Some(Self::Rectifier {
                max_value: *max_value,
                negative_slope: *negative_slope,
                threshold: *threshold,
            }),
            _ => None,
        }
    }

    /// Which tensor [`Activation::backward`] looks at.
    pub fn gradient_from(&self) -> From {
        match self {
            Self::Linear
            | Self::Relu
            | Self::Sigmoid
            | Self::Tanh
            | Self::HardSigmoid
            | Self::Exponential
            | Self::Softmax { .. }
            | Self::LogSoftmax { .. } => From::Output,
            Self::Rectifier { .. }
            | Self::LeakyRelu { .. }
            | Self::Elu { .. }
            | Self::Gelu
            | Self::GeluTanh
            | Self::Selu
            | Self::Silu
            | Self::Softplus
            | Self::Softsign
            | Self::Mish => From::Input,
        }
    }

    /// `y = f(x)`.
    pub fn forward<T: Element>(&self, tier: Tier, x: &[T], y: &mut [T]) {
        tier.vectorize(Forward { activation: *self, x, y });
    }

    /// `dx = f'(x) dy`; `known` is the input or the output, as [`Activation::gradient_from`] says.
    pub fn backward<T: Element>(&self, tier: Tier, known: &[T], dy: &[T], dx: &mut [T]) {
        tier.vectorize(Backward { activation: *self, known, dy, dx });
    }
}

struct Forward<'a, T> {
    activation: Activation,
    x: &'a [T],
    y: &'a mut [T],
}

/// Applies a function of float64 to every element.
#[inline(always)]
fn map<T: Element>(x: &[T], y: &mut [T], f: impl Fn(f64) -> f64) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = T::from_f64(f(x.to_f64()));
    }
}

/// The same with a gradient that is multiplied by the result.
#[inline(always)]
fn scale<T: Element>(known: &[T], dy: &[T], dx: &mut [T], f: impl Fn(f64) -> f64) {
    for ((dx, dy), k) in dx.iter_mut().zip(dy).zip(known) {
        *dx = T::from_f64(f(k.to_f64()) * dy.to_f64());
    }
}

#[inline(always)]
fn rectify(x: f64, max_value: f64, negative_slope: f64, threshold: f64) -> f64 {
    let value = if x >= threshold || x.is_nan() { x } else { negative_slope * (x - threshold) };
    if x >= max_value { max_value } else { value }
}

impl<T: Element> Job for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { activation, x, y } = self;
        match activation {
            Activation::Linear => y.copy_from_slice(x),
            Activation::Relu => {
                for (y, x) in y.iter_mut().zip(x) {
                    *y = x.relu();
                }
            }
            Activation::Rectifier { max_value, negative_slope, threshold } => {
                let most = max_value.unwrap_or(f64::INFINITY);
                map(x, y, |x| rectify(x, most, negative_slope, threshold));
            }
            Activation::LeakyRelu { negative_slope } => {
                let slope = T::from_f64(negative_slope);
                for (y, x) in y.iter_mut().zip(x) {
                    *y = if *x <= T::ZERO { x.mul(slope) } else { *x };
                }
            }
            Activation::Elu { alpha } => map(x, y, |x| if x > 0.0 { x } else { alpha * math::exp_m1(x) }),
            Activation::Sigmoid => map(x, y, math::sigmoid),
            Activation::Tanh => map(x, y, math::tanh),
            Activation::Gelu => {
                map(x, y, |x| 0.5 * x * (1.0 + math::erf(x * std::f64::consts::FRAC_1_SQRT_2)))
            }
            Activation::Silu => map(x, y, |x| x * math::sigmoid(x)),
            Activation::GeluTanh => map(x, y, |x| 0.5 * x * (1.0 + math::tanh(gelu_argument(x)))),
            Activation::Selu => {
                map(x, y, |x| SELU_SCALE * if x > 0.0 { x } else { SELU_ALPHA * math::exp_m1(x) })
            }
            Activation::Softplus => map(x, y, math::softplus),
            Activation::Softsign => map(x, y, |x| x / (1.0 + x.abs())),
            Activation::Mish => map(x, y, |x| x * math::tanh(math::softplus(x))),
            Activation::HardSigmoid => map(x, y, |x| rectify(x / 6.0 + 0.5, 1.0, 0.0, 0.0)),
            Activation::Exponential => map(x, y, math::exp),
            Activation::LogSoftmax { size, inner } => {
                for (x, y) in x.chunks_exact(size * inner).zip(y.chunks_exact_mut(size * inner)) {
                    for i in 0..inner {
                        log_softmax(x, y, i, inner);
                    }
                }
            }
            Activation::Softmax { size, inner } => {
                for (x, y) in x.chunks_exact(size * inner).zip(y.chunks_exact_mut(size * inner)) {
                    for i in 0..inner {
                        softmax(x, y, i, inner);
                    }
                }
            }
        }
    }
}

/// Softmax of the elements `first, first + step, ..`, the largest subtracted first.
#[inline(always)]
fn softmax<T: Element>(x: &[T], y: &mut [T], first: usize, step: usize) {
    let values = || x[first..].iter().step_by(step).map(|v| v.to_f64());
    let top = values().fold(f64::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a });
    let total: f64 = values().map(|v| math::exp(v - top)).sum();
    for (y, v) in y[first..].iter_mut().step_by(step).zip(values()) {
        *y = T::from_f64(math::exp(v - top) / total);
    }
}

/// The same, less the exponential at the end.
#[inline(always)]
fn log_softmax<T: Element>(x: &[T], y: &mut [T], first: usize, step: usize) {
    let values = || x[first..].iter().step_by(step).map(|v| v.to_f64());
    let top = values().fold(f64::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a });
    let spread = top + math::ln(values().map(|v| math::exp(v - top)).sum());
    for (y, v) in y[first..].iter_mut().step_by(step).zip(values()) {
        *y = T::from_f64(v - spread);
    }
}

/// What the approximate GELU takes the hyperbolic tangent of.
#[inline(always)]
fn gelu_argument(x: f64) -> f64 {
    0.797_884_560_802_865_4 * (x + 0.044_715 * x * x * x)
}

struct Backward<'a, T> {
    activation: Activation,
    known: &'a [T],
    dy: &'a [T],
    dx: &'a mut [T],
}

impl<T: Element> Job for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { activation, known, dy, dx } = self;
        match activation {
            Activation::Linear => dx.copy_from_slice(dy),
            Activation::Relu => {
                for ((dx, dy), y) in dx.iter_mut().zip(dy).zip(known) {
                    *dx = y.relu_gradient(*dy);
                }
            }
            Activation::Rectifier { max_value, negative_slope, threshold } => {
                let most = max_value.unwrap_or(f64::INFINITY);
                scale(known, dy, dx, |x| {
                    let slope = if x >= threshold { 1.0 } else { negative_slope };
                    if x >= most { 0.0 } else { slope }
                });
            }
            Activation::LeakyRelu { negative_slope } => {
                scale(known, dy, dx, |x| if x > 0.0 { 1.0 } else { negative_slope });
            }
            Activation::Elu { alpha } => {
                scale(known, dy, dx, |x| if x > 0.0 { 1.0 } else { alpha * math::exp(x) });
            }
            Activation::Sigmoid => scale(known, dy, dx, |y| y * (1.0 - y)),
            Activation::Tanh => scale(known, dy, dx, |y| (1.0 - y) * (1.0 + y)),
            Activation::Gelu => scale(known, dy, dx, |x| {
                // d/dx x Phi(x) = Phi(x) + x phi(x)
                let phi = 0.398_942_280_401_432_7 * math::exp(-0.5 * x * x);
                0.5 * (1.0 + math::erf(x * std::f64::consts::FRAC_1_SQRT_2)) + x * phi
            }),
            Activation::Silu => scale(known, dy, dx, |x| {
                let s = math::sigmoid(x);
                s * (1.0 + x * (1.0 - s))
            }),
            Activation::GeluTanh => scale(known, dy, dx, |x| {
                let t = math::tanh(gelu_argument(x));
                let slope = 0.797_884_560_802_865_4 * (1.0 + 3.0 * 0.044_715 * x * x);
                0.5 * (1.0 + t) + 0.5 * x * (1.0 - t) * (1.0 + t) * slope
            }),
            Activation::Selu => {
                scale(known, dy, dx, |x| SELU_SCALE * if x > 0.0 { 1.0 } else { SELU_ALPHA * math::exp(x) });
            }
            Activation::Softplus => scale(known, dy, dx, math::sigmoid),
            Activation::Softsign => scale(known, dy, dx, |x| 1.0 / ((1.0 + x.abs()) * (1.0 + x.abs()))),
            Activation::Mish => scale(known, dy, dx, |x| {
                let t = math::tanh(math::softplus(x));
                t + x * (1.0 - t) * (1.0 + t) * math::sigmoid(x)
            }),
            Activation::HardSigmoid => {
                scale(known, dy, dx, |y| if y > 0.0 && y < 1.0 { 1.0 / 6.0 } else { 0.0 });
            }
            Activation::Exponential => scale(known, dy, dx, |y| y),
            Activation::LogSoftmax { size, inner } => {
                // dx = dy - e^y (sum of dy)
                let n = size * inner;
                for ((y, dy), dx) in known.chunks_exact(n).zip(dy.chunks_exact(n)).zip(dx.chunks_exact_mut(n))
                {
                    for i in 0..inner {
                        let total: f64 = dy[i..].iter().step_by(inner).map(|d| d.to_f64()).sum();
                        let pairs = y[i..].iter().zip(&dy[i..]).step_by(inner);
                        for (dx, (y, d)) in dx[i..].iter_mut().step_by(inner).zip(pairs) {
                            *dx = T::from_f64(d.to_f64() - math::exp(y.to_f64()) * total);
                        }
                    }
                }
            }
            Activation::Softmax { size, inner } => {
                // dx = y (dy - sum of y dy)
                let n = size * inner;
                for ((y, dy), dx) in known.chunks_exact(n).zip(dy.chunks_exact(n)).zip(dx.chunks_exact_mut(n))
                {
                    for i in 0..inner {
                        let pairs = || {
                            y[i..].iter().zip(&dy[i..]).step_by(inner).map(|(y, d)| (y.to_f64(), d.to_f64()))
                        };
                        let dot: f64 = pairs().map(|(y, d)| y * d).sum();
                        for (dx, (y, d)) in dx[i..].iter_mut().step_by(inner).zip(pairs()) {
                            *dx = T::from_f64(y * (d - dot));
                        }
                    }
                }
            }
        }
    }
}

/// Sets `dy` to zero where `y` is not positive: the gradient of a fused ReLU.
pub fn mask_by_sign<T: Element>(tier: Tier, y: &[T], dy: &mut [T]) {
    struct Mask<'a, T>(&'a [T], &'a mut [T]);
    impl<T: Element> Job for Mask<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            for (dy, y) in self.1.iter_mut().zip(self.0) {
                *dy = y.relu_gradient(*dy);
            }
        }
    }
    tier.vectorize(Mask(y, dy));
}
