//! Layers that somebody outside the engine computes: whole batches at a time, on the calling thread, between programs.
//!
//! Meanwhile no helper runs and no lock of the pool is held, so that a guest may take as long as it likes, may call the
//! library itself, and may fail.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::{Backward, Context, Keeps, Layer, Op, Outside, Random, Ranges, Site, Size, WeightSpec};
use crate::conv::Scratch;
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::parallel::lock;

/// Somebody who computes a layer.
pub trait Guest<T>: Send + Sync {
    /// The weights that it wants for an input, whose sizes come without the batch.
    ///
    /// # Errors
    /// Its own.
    fn weights(&self, input: &[Size]) -> Result<Vec<WeightSpec>>;

    /// Sizes of the output, without the batch.
    ///
    /// # Errors
    /// Its own.
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>>;

    /// Computes the outputs `y`, whose sizes come with the batch.
    ///
    /// # Errors
    /// Its own.
    fn forward(&self, visit: &Visit<'_, T>, y: &mut [T]) -> Result<()>;

    /// Computes the gradient to the input, if it is wanted, and those to all weights, one behind the other.
    ///
    /// # Errors
    /// Its own.
    fn backward(&self, visit: &Visit<'_, T>, dy: &[T], dx: Option<&mut [T]>, grads: &mut [T]) -> Result<()>;
}

/// What a guest is shown.
#[derive(Debug)]
pub struct Visit<'a, T> {
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

/// A layer that is a guest's.
pub(super) struct GuestLayer<T>(pub Arc<dyn Guest<T>>);

impl<T: Element> Layer<T> for GuestLayer<T> {
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
        Ok(vec![Box::new(GuestOp {
            guest: Arc::clone(&self.0),
            input: site.input.to_vec(),
            output: output.ok_or_else(unknown)?,
            weights: site.weights.to_vec(),
            layer: site.layer,
            outcome: Mutex::new(Ok(())),
        })])
    }
}

struct GuestOp<T> {
    guest: Arc<dyn Guest<T>>,
    input: Vec<usize>,
    output: Vec<usize>,
    weights: Vec<Range<usize>>,
    layer: usize,
    /// Of the last call.
    outcome: Mutex<Result<()>>,
}

impl<T: Element> GuestOp<T> {
    /// Shows the guest a batch.
    fn show(&self, cx: &Context<'_, T>, x: &[T], work: impl FnOnce(&Visit<'_, T>) -> Result<()>) {
        let with_batch = |sizes: &[usize]| -> Vec<usize> {
            std::iter::once(cx.samples).chain(sizes.iter().copied()).collect()
        };
        let weights: Vec<&[T]> = self.weights.iter().map(|range| &cx.params[range.clone()]).collect();
        let outcome = work(&Visit {
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

impl<T: Element> Op<T> for GuestOp<T> {
    fn output_len(&self) -> usize {
        self.output.iter().product()
    }

    fn keeps(&self) -> Keeps {
        Keeps { input: true, output: false, notes: 0 }
    }

    fn weights(&self) -> &Ranges {
        &self.weights
    }

    fn forward(&self, cx: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        self.show(cx, x[0], |visit| self.guest.forward(visit, y));
    }

    fn backward(&self, cx: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { x, dy, dx, grads, .. } = tensors;
        self.show(cx, x[0], |visit| self.guest.backward(visit, dy, dx[0].as_deref_mut(), grads));
    }

    fn outside(&self) -> Option<&dyn Outside> {
        Some(self)
    }
}

impl<T: Element> Outside for GuestOp<T> {
    fn outcome(&self) -> Result<()> {
        std::mem::replace(&mut *lock(&self.outcome), Ok(()))
    }
}
