//! Layers that treat all elements along some axes together, wherever the axes are: they are brought to the end first.

use super::activation::{Named, axis_of_sample};
use super::reshaping::permute_op;
use super::{Backward, Context, Keeps, Layer, Op, Site, Size};
use crate::conv::Scratch;
use crate::error::{Error, Result};
use crate::kernels::Element;

/// The smallest sum of squares that is divided by.
const LEAST: f64 = 1e-12;

/// What is done along the axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Softmax,
    Unit,
}

/// The description.
pub(super) struct Along {
    axes: Vec<isize>,
    action: Action,
}

impl Along {
    pub(super) fn softmax(axes: &[isize]) -> Self {
        Self { axes: axes.to_vec(), action: Action::Softmax }
    }

    pub(super) fn unit(axes: &[isize]) -> Self {
        Self { axes: axes.to_vec(), action: Action::Unit }
    }

    /// The axes of a sample of `rank` axes, in order.
    fn places(&self, rank: usize) -> Result<Vec<usize>> {
        let mut places =
            self.axes.iter().map(|&axis| axis_of_sample(axis, rank)).collect::<Result<Vec<_>>>()?;
        places.sort_unstable();
        places.dedup();
        if places.is_empty() {
            return Err(Error::value("axis", "at least one axis", "none"));
        }
        Ok(places)
    }
}

impl<T: Element> Layer<T> for Along {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        self.places(input.len())?;
        Ok(input.to_vec())
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let input = site.input;
        let places = self.places(input.len())?;
        let size = places.iter().map(|&axis| input[axis]).product();
        let len = input.iter().product();
        let op: Box<dyn Op<T>> = match self.action {
            Action::Softmax => Named::softmax_op(size, len, site.kernels.tier),
            Action::Unit => Box::new(UnitOp { size, len }),
        };
        let others = (0..input.len()).filter(|axis| !places.contains(axis));
        let order: Vec<usize> = others.chain(places.iter().copied()).collect();
        if order.is_sorted() {
            return Ok(vec![op]);
        }
        let moved: Vec<usize> = order.iter().map(|&axis| input[axis]).collect();
        let mut back = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, &axis)| back[axis] = place);
        Ok(vec![permute_op(&order, input)?, op, permute_op(&back, &moved)?])
    }
}

/// Rows of `size` elements, each divided by its length.
struct UnitOp {
    size: usize,
    len: usize,
}

/// Sum of products in float64, in the order of the elements.
fn dot<T: Element>(a: &[T], b: &[T]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a.to_f64() * b.to_f64()).sum()
}

impl<T: Element> Op<T> for UnitOp {
    fn output_len(&self) -> usize {
        self.len
    }

    fn keeps(&self) -> Keeps {
        Keeps { input: true, output: false, saved: 0 }
    }

    fn forward(&self, _: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        for (x, y) in x[0].chunks_exact(self.size).zip(y.chunks_exact_mut(self.size)) {
            let length = dot(x, x).max(LEAST).sqrt();
            y.iter_mut().zip(x).for_each(|(y, x)| *y = T::from_f64(x.to_f64() / length));
        }
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { x, dy, dx: [Some(dx)], .. } = tensors else { return };
        let rows = x[0].chunks_exact(self.size).zip(dy.chunks_exact(self.size));
        for ((x, dy), dx) in rows.zip(dx.chunks_exact_mut(self.size)) {
            let squares = dot(x, x);
            let length = squares.max(LEAST).sqrt();
            // Shorter vectors are divided by a constant.
            let along = if squares > LEAST { dot(x, dy) / squares } else { 0.0 };
            for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
                *dx = T::from_f64((dy.to_f64() - along * x.to_f64()) / length);
            }
        }
    }
}
