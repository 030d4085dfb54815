//! Activation layers, and the activation op that other layers append.

use super::{Backward, Context, Keeps, Layer, Op, Site, Size};
use crate::activation::{Activation, From};
use crate::conv::Scratch;
use crate::error::{Error, Result};
use crate::kernels::{Element, Tier};

/// What a name stands for; softmax needs the shape and comes later.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Named {
    /// Works on every element alone.
    Elementwise(Activation),
    /// Softmax over an axis.
    Softmax(isize),
    /// Its logarithm.
    LogSoftmax(isize),
}

impl Named {
    /// The activation of this name, with Keras' defaults.
    ///
    /// # Errors
    /// No activation has this name.
    pub(super) fn parse(name: &str) -> Result<Self> {
        Ok(match Activation::named(name, 0)? {
            Activation::Softmax { .. } => Self::Softmax(-1),
            Activation::LogSoftmax { .. } => Self::LogSoftmax(-1),
            activation => Self::Elementwise(activation),
        })
    }

    /// Whether the result is the input.
    pub(super) fn is_linear(self) -> bool {
        self == Self::Elementwise(Activation::Linear)
    }

    /// Whether a kernel can apply it at the store.
    pub(super) fn is_relu(self) -> bool {
        self == Self::Elementwise(Activation::Relu)
    }

    /// The activation on tensors of `shape` (without the batch).
    fn place(self, shape: &[usize]) -> Result<Activation> {
        match self {
            Self::Elementwise(activation) => Ok(activation),
            Self::Softmax(axis) | Self::LogSoftmax(axis) => {
                let at = axis_of_sample(axis, shape.len())?;
                let (size, inner) = (shape[at], shape[at + 1..].iter().product());
                Ok(match self {
                    Self::LogSoftmax(_) => Activation::LogSoftmax { size, inner },
                    _ => Activation::Softmax { size, inner },
                })
            }
        }
    }

    /// The op of a softmax over the last axis, of `size` elements, of samples of `len`.
    pub(super) fn softmax_op<T: Element>(size: usize, len: usize, tier: Tier) -> Box<dyn Op<T>> {
        Box::new(ActivationOp { activation: Activation::Softmax { size, inner: 1 }, len, tier })
    }

    /// The op that applies it to tensors of `shape`.
    pub(super) fn op<T: Element>(self, shape: &[usize], tier: Tier) -> Result<Box<dyn Op<T>>> {
        Ok(Box::new(ActivationOp { activation: self.place(shape)?, len: shape.iter().product(), tier }))
    }
}

/// The axis of a sample of `rank` axes that is meant by one counted from the end, or from the start with the batch as
/// axis 0.
///
/// # Errors
/// No axis has this number.
pub(super) fn axis_of_sample(axis: isize, rank: usize) -> Result<usize> {
    let at = if axis < 0 { axis + rank as isize } else { axis - 1 };
    usize::try_from(at).ok().filter(|&i| i < rank).ok_or_else(|| {
        Error::value("axis", format!("1 to {rank} or -{rank} to -1 (axis 0 is the batch)"), axis)
    })
}

/// The description.
pub(super) struct ActivationLayer(Named);

impl ActivationLayer {
    pub(super) fn named(name: &str) -> Result<Self> {
        Named::parse(name).map(Self)
    }

    pub(super) fn softmax(axis: isize) -> Self {
        Self(Named::Softmax(axis))
    }

    pub(super) fn leaky(negative_slope: f64) -> Self {
        Self(Named::Elementwise(Activation::LeakyRelu { negative_slope }))
    }

    pub(super) fn elu(alpha: f64) -> Self {
        Self(Named::Elementwise(Activation::Elu { alpha }))
    }

    pub(super) fn rectifier(max_value: Option<f64>, negative_slope: f64, threshold: f64) -> Self {
        let plain = max_value.is_none() && negative_slope == 0.0 && threshold == 0.0;
        let general = Activation::Rectifier { max_value, negative_slope, threshold };
        Self(Named::Elementwise(if plain { Activation::Relu } else { general }))
    }
}

impl<T: Element> Layer<T> for ActivationLayer {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        // A wrong axis is found at build, whatever the sizes.
        self.0.place(&vec![1; input.len()])?;
        Ok(input.to_vec())
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        if self.0.is_linear() {
            return Ok(Vec::new());
        }
        Ok(vec![self.0.op(site.input, site.kernels.tier)?])
    }
}

struct ActivationOp {
    activation: Activation,
    len: usize,
    tier: Tier,
}

impl<T: Element> Op<T> for ActivationOp {
    fn output_len(&self) -> usize {
        self.len
    }

    fn keeps(&self) -> Keeps {
        let input = self.activation.gradient_from() == From::Input;
        Keeps { input, output: !input, saved: 0 }
    }

    fn is_relu(&self) -> bool {
        self.activation == Activation::Relu
    }

    fn forward(&self, _: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        self.activation.forward(self.tier, x[0], y);
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { x, y, dy, dx: [Some(dx)], .. } = tensors else { return };
        let known = if self.activation.gradient_from() == From::Input { x[0] } else { y };
        self.activation.backward(self.tier, known, dy, dx);
    }
}
