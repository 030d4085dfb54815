//! Layers that treat all elements along some axes together, wherever the axes are: they are brought to the end first.

use std::array::from_fn;

use super::activation::{Named, axis_of_sample};
use super::reshaping::permute_op;
use super::{Backward, Context, Keeps, Layer, Op, Site, Size};
use crate::conv::Scratch;
use crate::error::{Error, Result};
use crate::kernels::{Element, Job, Tier};

/// The smallest sum of squares that is divided by.
const LEAST: f64 = 1e-12;
/// Rows that are summed at once.
const ROWS: usize = 8;
/// The shortest rows for which that pays: those of a few elements do not make additions wait, and gathering takes longer.
const LONG: usize = 32;

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
            Action::Unit => Box::new(UnitOp { size, len, tier: site.kernels.tier }),
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
    tier: Tier,
}

/// Sums of the products of some rows, each in float64 and in the order of the elements. Rows are summed side by side, so
/// that additions do not wait for each other.
#[inline(always)]
fn dots<T: Element>(a: &[T], b: &[T], size: usize) -> [f64; ROWS] {
    let mut sums = [-0.0; ROWS];
    if a.len() == ROWS * size && size >= LONG {
        let place = |row: usize| row * size..(row + 1) * size;
        let a: [&[T]; ROWS] = from_fn(|row| &a[place(row)]);
        let b: [&[T]; ROWS] = from_fn(|row| &b[place(row)]);
        for k in 0..size {
            for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(&b)) {
                *sum += a[k].to_f64() * b[k].to_f64();
            }
        }
    } else {
        for (sum, (a, b)) in sums.iter_mut().zip(a.chunks_exact(size).zip(b.chunks_exact(size))) {
            a.iter().zip(b).for_each(|(a, b)| *sum += a.to_f64() * b.to_f64());
        }
    }
    sums
}

struct Forward<'a, T> {
    size: usize,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Element> Job for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { size, x, y } = self;
        for (x, y) in x.chunks(ROWS * size).zip(y.chunks_mut(ROWS * size)) {
            let squares = dots(x, x, size);
            for ((x, y), squares) in x.chunks_exact(size).zip(y.chunks_exact_mut(size)).zip(squares) {
                let length = squares.max(LEAST).sqrt();
                y.iter_mut().zip(x).for_each(|(y, x)| *y = T::from_f64(x.to_f64() / length));
            }
        }
    }
}

struct Back<'a, T> {
    size: usize,
    x: &'a [T],
    dy: &'a [T],
    dx: &'a mut [T],
}

impl<T: Element> Job for Back<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { size, x, dy, dx } = self;
        let blocks = x.chunks(ROWS * size).zip(dy.chunks(ROWS * size)).zip(dx.chunks_mut(ROWS * size));
        for ((x, dy), dx) in blocks {
            let sums = dots(x, x, size).into_iter().zip(dots(x, dy, size));
            let rows = x.chunks_exact(size).zip(dy.chunks_exact(size)).zip(dx.chunks_exact_mut(size));
            for (((x, dy), dx), (squares, products)) in rows.zip(sums) {
                let length = squares.max(LEAST).sqrt();
                // Shorter vectors are divided by a constant.
                let along = if squares > LEAST { products / squares } else { 0.0 };
                for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
                    *dx = T::from_f64((dy.to_f64() - along * x.to_f64()) / length);
                }
            }
        }
    }
}

impl<T: Element> Op<T> for UnitOp {
    fn output_len(&self) -> usize {
        self.len
    }

    fn keeps(&self) -> Keeps {
        Keeps { input: true, output: false, saved: 0 }
    }

    fn forward(&self, _: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        self.tier.vectorize(Forward { size: self.size, x: x[0], y });
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { x, dy, dx: [Some(dx)], .. } = tensors else { return };
        self.tier.vectorize(Back { size: self.size, x: x[0], dy, dx });
    }
}
