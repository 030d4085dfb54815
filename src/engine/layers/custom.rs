//! Custom layers: computed by the user's code: whole batches at a time, on the calling thread, between programs.
//!
//! Meanwhile no helper runs and no lock of the pool is held, so that a custom layer may take as long as it likes, may call the
//! library itself, and may fail.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::{Backward, Context, CustomOutcome, Keeps, Layer, Op, Random, Ranges, Site, Size, WeightSpec};
use crate::conv::Scratch;
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::parallel::lock;

/// Code that computes a layer.
pub trait CustomLayer<T>: Send + Sync {
    /// The weights that it wants for an input, whose sizes come without the batch.
    ///
    /// # Errors
    /// Whatever the code raises.
    fn weights(&self, input: &[Size]) -> Result<Vec<WeightSpec>>;

    /// Sizes of the output, without the batch.
    ///
    /// # Errors
    /// Whatever the code raises.
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>>;

    /// Computes the outputs `y`, whose sizes come with the batch.
    ///
    /// # Errors
    /// Whatever the code raises.
    fn forward(&self, call: &CustomCall<'_, T>, y: &mut [T]) -> Result<()>;

    /// Computes the gradient to the input, if it is wanted, and those to all weights, one after the other.
    ///
    /// # Errors
    /// Whatever the code raises.
    fn backward(
        &self,
        call: &CustomCall<'_, T>,
        dy: &[T],
        dx: Option<&mut [T]>,
        grads: &mut [T],
    ) -> Result<()>;
}

/// What a custom layer computes with.
#[derive(Debug)]
pub struct CustomCall<'a, T> {
    /// The inputs of the whole batch.
    pub x: &'a [T],
    /// Sizes of the inputs, with the batch.
    pub input: &'a [usize],
    /// Sizes of the outputs, with the batch.
    pub output: &'a [usize],
    /// Its weights.
    pub weights: &'a [&'a [T]],
    /// Number of the layer in the model: a coordinate of its random numbers.
    pub layer: usize,
    /// None at inference.
    pub training: Option<Random>,
}

/// A layer that the engine does not compute.
pub(super) struct Custom<T>(pub Arc<dyn CustomLayer<T>>);

impl<T: Element> Layer<T> for Custom<T> {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        self.0.output_shape(input)
    }

    fn weights(&self, input: &[Size]) -> Result<Vec<WeightSpec>> {
        self.0.weights(input)
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let sizes: Vec<Size> = site.input.iter().map(|&n| Some(n)).collect();
        let output: Option<Vec<usize>> = self.0.output_shape(&sizes)?.into_iter().collect();
        let unknown = || Error::shape("output", "known sizes for a known input", "None");
        Ok(vec![Box::new(CustomOp {
            code: Arc::clone(&self.0),
            input: site.input.to_vec(),
            output: output.ok_or_else(unknown)?,
            weights: site.weights.to_vec(),
            layer: site.layer,
            outcome: Mutex::new(Ok(())),
        })])
    }
}

struct CustomOp<T> {
    code: Arc<dyn CustomLayer<T>>,
    input: Vec<usize>,
    output: Vec<usize>,
    weights: Vec<Range<usize>>,
    layer: usize,
    /// Of the last call.
    outcome: Mutex<Result<()>>,
}

impl<T: Element> CustomOp<T> {
    /// Calls the code with a batch.
    fn call(&self, cx: &Context<'_, T>, x: &[T], work: impl FnOnce(&CustomCall<'_, T>) -> Result<()>) {
        let with_batch = |sizes: &[usize]| -> Vec<usize> {
            std::iter::once(cx.samples).chain(sizes.iter().copied()).collect()
        };
        let weights: Vec<&[T]> = self.weights.iter().map(|range| &cx.params[range.clone()]).collect();
        let outcome = work(&CustomCall {
            x,
            input: &with_batch(&self.input),
            output: &with_batch(&self.output),
            weights: &weights,
            layer: self.layer,
            training: cx.training,
        });
        *lock(&self.outcome) = outcome;
    }
}

impl<T: Element> Op<T> for CustomOp<T> {
    fn output_len(&self) -> usize {
        self.output.iter().product()
    }

    fn keeps(&self) -> Keeps {
        Keeps { input: true, output: false, saved: 0 }
    }

    fn weights(&self) -> &Ranges {
        &self.weights
    }

    fn forward(&self, cx: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        self.call(cx, x[0], |call| self.code.forward(call, y));
    }

    fn backward(&self, cx: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { x, dy, dx, grads, .. } = tensors;
        self.call(cx, x[0], |call| self.code.backward(call, dy, dx[0].as_deref_mut(), grads));
    }

    fn custom(&self) -> Option<&dyn CustomOutcome> {
        Some(self)
    }
}

impl<T: Element> CustomOutcome for CustomOp<T> {
    fn outcome(&self) -> Result<()> {
        std::mem::replace(&mut *lock(&self.outcome), Ok(()))
    }
}
