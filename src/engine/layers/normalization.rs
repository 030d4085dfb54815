//! Normalisation by numbers of the description: `y = (x - mean) / max(sqrt(variance), epsilon)`, along some axes; or its
//! inverse. Where a feature is constant the divisor is 1.

use super::{Backward, Context, Layer, Op, Site, Size};
use crate::conv::Scratch;
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::memory;

/// What a deviation is at least, as in Keras.
const EPSILON: f64 = 1e-7;

/// What is divided by. A feature that is constant, but for rounding, is left at its scale, as in scikit-learn.
fn deviation(mean: f64, variance: f64) -> f64 {
    let deviation = variance.sqrt();
    if deviation <= 10.0 * f64::EPSILON * mean.abs() { 1.0 } else { deviation.max(EPSILON) }
}

/// The description.
pub(super) struct Normalization {
    /// Axes that have numbers of their own, the batch being axis 0; none where all elements share one.
    axis: Vec<isize>,
    mean: Vec<f64>,
    variance: Vec<f64>,
    invert: bool,
}

impl Normalization {
    pub(super) fn new(axis: &[isize], mean: &[f64], variance: &[f64], invert: bool) -> Self {
        Self { axis: axis.to_vec(), mean: mean.to_vec(), variance: variance.to_vec(), invert }
    }
}

impl Normalization {
    /// The axes of a sample, in order.
    fn axes(&self, rank: usize) -> Result<Vec<usize>> {
        let mut axes = Vec::with_capacity(self.axis.len());
        for &axis in &self.axis {
            let at = if axis < 0 { axis + rank as isize } else { axis - 1 };
            let at = usize::try_from(at).ok().filter(|&at| at < rank && !axes.contains(&at));
            axes.push(at.ok_or_else(|| Error::value("axis", format!("1 to {rank}, each once"), axis))?);
        }
        axes.sort_unstable();
        Ok(axes)
    }
}

impl<T: Element> Layer<T> for Normalization {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        let sizes: Option<Vec<usize>> = self.axes(input.len())?.into_iter().map(|axis| input[axis]).collect();
        let numbers = sizes.map(|sizes| sizes.iter().product::<usize>());
        // One number serves all positions.
        for (name, given) in [("mean", self.mean.len()), ("variance", self.variance.len())] {
            if let Some(numbers) = numbers.filter(|&numbers| given != 1 && given != numbers) {
                return Err(Error::shape(name, format!("1 or {numbers} numbers"), given));
            }
        }
        Ok(input.to_vec())
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let pick = |numbers: &[f64], at: usize| numbers[if numbers.len() == 1 { 0 } else { at }];
        // One entry for every element of a sample: the axes may be any.
        let len: usize = site.input.iter().product();
        let axes = self.axes(site.input.len())?;
        let mut mean = memory::with_room(len)?;
        let mut factor = memory::with_room(len)?;
        for element in 0..len {
            let (mut at, mut stride) = (0, 1);
            for &axis in axes.iter().rev() {
                let inner: usize = site.input[axis + 1..].iter().product();
                let size = site.input[axis];
                at += element / inner % size * stride;
                stride *= size;
            }
            let (own_mean, own_variance) = (pick(&self.mean, at), pick(&self.variance, at));
            let deviation = deviation(own_mean, own_variance);
            // x * deviation + mean = (x - -mean / deviation) * deviation
            mean.push(T::from_f64(if self.invert { -own_mean / deviation } else { own_mean }));
            factor.push(T::from_f64(if self.invert { deviation } else { 1.0 / deviation }));
        }
        Ok(vec![Box::new(Normalize { mean, factor })])
    }
}

struct Normalize<T> {
    mean: Vec<T>,
    factor: Vec<T>,
}

impl<T: Element> Op<T> for Normalize<T> {
    fn output_len(&self) -> usize {
        self.mean.len()
    }

    fn forward(&self, _: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        let len = self.mean.len().max(1);
        for (y, x) in y.chunks_exact_mut(len).zip(x[0].chunks_exact(len)) {
            for (((y, x), mean), factor) in y.iter_mut().zip(x).zip(&self.mean).zip(&self.factor) {
                *y = x.sub(*mean).mul(*factor);
            }
        }
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { dy, dx: [Some(dx)], .. } = tensors else { return };
        let len = self.mean.len().max(1);
        for (dx, dy) in dx.chunks_exact_mut(len).zip(dy.chunks_exact(len)) {
            dx.iter_mut().zip(dy).zip(&self.factor).for_each(|((dx, dy), factor)| *dx = dy.mul(*factor));
        }
    }
}
