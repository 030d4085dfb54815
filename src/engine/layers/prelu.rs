//! The rectifier with a slope that is learned (He et al. 2015, arXiv 1502.01852): `x` above 0, `alpha x` below.

use std::ops::Range;

use super::{Backward, Context, Keeps, Layer, Op, Ranges, Site, Size, WeightSpec};
use crate::conv::Scratch;
use crate::engine::spec::Initializer;
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::memory;

/// The description.
pub(super) struct Prelu {
    initializer: Initializer,
    /// Axes along which slopes are shared; the batch is axis 0 and is shared anyway.
    shared: Vec<usize>,
}

impl Prelu {
    pub(super) fn new(initializer: &Initializer, shared: &[usize]) -> Self {
        Self { initializer: initializer.clone(), shared: shared.to_vec() }
    }

    fn is_shared(&self, axis: usize) -> bool {
        self.shared.contains(&(axis + 1))
    }
}

impl<T: Element> Layer<T> for Prelu {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        Ok(input.to_vec())
    }

    fn weights(&self, input: &[Size]) -> Result<Vec<WeightSpec>> {
        if let Some(axis) = self.shared.iter().find(|&&axis| axis == 0 || axis > input.len()) {
            return Err(Error::value("shared_axes", format!("axes from 1 to {}", input.len()), axis));
        }
        let size = |(axis, size): (usize, &Size)| match size {
            _ if self.is_shared(axis) => Ok(1),
            Some(size) => Ok(*size),
            None => Err(Error::shape(
                "input",
                "known sizes along every axis that is not in shared_axes",
                crate::engine::shape_text(input),
            )),
        };
        let shape = input.iter().enumerate().map(size).collect::<Result<_>>()?;
        Ok(vec![WeightSpec::new("alpha", shape, &self.initializer)])
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let mut strides = vec![0; site.input.len()];
        let mut stride = 1;
        for axis in (0..site.input.len()).rev() {
            if !self.is_shared(axis) {
                strides[axis] = stride;
                stride *= site.input[axis];
            }
        }
        let slope_of = |mut index: usize| {
            let mut place = 0;
            for (size, stride) in site.input.iter().zip(&strides).rev() {
                place += index % size * stride;
                index /= size;
            }
            place
        };
        let len = site.input.iter().product();
        let slopes = memory::collect((0..len).map(slope_of))?;
        Ok(vec![Box::new(PreluOp { slopes, weights: site.weights.to_vec() })])
    }
}

struct PreluOp {
    /// For every element of a sample the number of its slope.
    slopes: Vec<usize>,
    weights: Vec<Range<usize>>,
}

impl<T: Element> Op<T> for PreluOp {
    fn output_len(&self) -> usize {
        self.slopes.len()
    }

    fn keeps(&self) -> Keeps {
        Keeps { input: true, ..Keeps::default() }
    }

    fn weights(&self) -> &Ranges {
        &self.weights
    }

    fn positions(&self) -> usize {
        (self.slopes.len() / self.weights[0].len().max(1)).max(1)
    }

    fn forward(&self, cx: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        let alpha = &cx.params[self.weights[0].clone()];
        let n = self.slopes.len();
        for (x, y) in x[0].chunks_exact(n).zip(y.chunks_exact_mut(n)) {
            for ((x, y), slope) in x.iter().zip(y).zip(&self.slopes) {
                *y = if *x <= T::ZERO { x.mul(alpha[*slope]) } else { *x };
            }
        }
    }

    fn backward(&self, cx: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { x, dy, dx, grads, .. } = tensors;
        let alpha = &cx.params[self.weights[0].clone()];
        let n = self.slopes.len();
        for (sample, (x, dy)) in x[0].chunks_exact(n).zip(dy.chunks_exact(n)).enumerate() {
            for ((x, dy), slope) in x.iter().zip(dy).zip(&self.slopes) {
                grads[*slope] += if *x <= T::ZERO { x.mul(*dy) } else { T::ZERO };
            }
            if let [Some(dx)] = &mut *dx {
                let dx = &mut dx[sample * n..][..n];
                for (((dx, x), dy), slope) in dx.iter_mut().zip(x).zip(dy).zip(&self.slopes) {
                    *dx = if *x <= T::ZERO { dy.mul(alpha[*slope]) } else { *dy };
                }
            }
        }
    }
}
