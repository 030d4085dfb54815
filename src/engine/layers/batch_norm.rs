//! Batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167):
//! `y = (x - mean) / sqrt(variance + epsilon) * gamma + beta`.
//!
//! In training mean and biased variance are those of the batch, and the moving ones follow by `moving * momentum +
//! batch * (1 - momentum)`; at inference and in a frozen layer the moving ones are used. With `xhat = (x - mean) /
//! sqrt(variance + epsilon)` over `n` positions the gradient to the input is `gamma / sqrt(variance + epsilon) * (dy -
//! sum(dy) / n - xhat * sum(dy * xhat) / n)`.

use std::ops::Range;

use super::{Backward, Context, Keeps, Layer, Op, Ranges, Site, Size, Statistics, WeightSpec};
use crate::conv::Scratch;
use crate::engine::spec::BatchNormSpec;
use crate::error::{Error, Result};
use crate::kernels::{Element, Tier};
use crate::norm::{Affine, Columns};

/// The description.
pub(super) struct BatchNorm {
    spec: BatchNormSpec,
}

impl BatchNorm {
    pub(super) fn new(spec: &BatchNormSpec) -> Self {
        Self { spec: spec.clone() }
    }

    /// Number of the normalised axis in a sample of `rank` axes; counted from the end, or from the batch, axis 0.
    fn axis(&self, rank: usize) -> Result<usize> {
        let axis = self.spec.axis;
        let at = if axis < 0 { axis + rank as isize } else { axis - 1 };
        usize::try_from(at).ok().filter(|&at| at < rank).ok_or_else(|| {
            Error::value("axis", format!("1 to {rank} or -{rank} to -1 (axis 0 is the batch)"), axis)
        })
    }
}

impl<T: Element> Layer<T> for BatchNorm {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        self.axis(input.len())?;
        Ok(input.to_vec())
    }

    fn weights(&self, input: &[Size]) -> Result<Vec<WeightSpec>> {
        let size = input[self.axis(input.len())?].filter(|&n| n > 0);
        let size = size.ok_or_else(|| Error::shape("normalised axis", "a known positive size", "None"))?;
        let spec = &self.spec;
        let learned = [
            spec.scale.then(|| WeightSpec::new("gamma", vec![size], &spec.gamma_initializer)),
            spec.center.then(|| WeightSpec::new("beta", vec![size], &spec.beta_initializer)),
        ];
        let moving = [
            WeightSpec::statistic("moving_mean", vec![size], &spec.moving_mean_initializer),
            WeightSpec::statistic("moving_variance", vec![size], &spec.moving_variance_initializer),
        ];
        Ok(learned.into_iter().flatten().chain(moving).collect())
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let axis = self.axis(site.input.len())?;
        let (learned, moving) = site.weights.split_at(site.weights.len() - 2);
        let mut own = learned.iter().cloned();
        Ok(vec![Box::new(Normalize {
            columns: Columns::new(site.input[axis], site.input[axis + 1..].iter().product()),
            len: site.input.iter().product(),
            learned: learned.to_vec(),
            gamma: if self.spec.scale { own.next() } else { None },
            beta: if self.spec.center { own.next() } else { None },
            moving: moving.to_vec(),
            momentum: self.spec.momentum,
            epsilon: self.spec.epsilon,
            relu: false,
            tier: site.kernels.tier,
        })])
    }
}

struct Normalize {
    columns: Columns,
    /// Elements of a sample.
    len: usize,
    /// Places of `gamma` and `beta`, as far as they exist.
    learned: Vec<Range<usize>>,
    gamma: Option<Range<usize>>,
    beta: Option<Range<usize>>,
    /// Places of the moving mean and variance.
    moving: Vec<Range<usize>>,
    momentum: f64,
    epsilon: f64,
    relu: bool,
    tier: Tier,
}

/// Rows of the coefficients: what [`Affine`] wants, the variance, and the two numbers of the gradient.
const ROWS: usize = 6;
/// Those before the numbers of the gradient.
const FINALIZED: usize = 4;

impl Normalize {
    fn map<'a, T: Element>(&self, coefficients: &'a [T]) -> Affine<'a, T> {
        let row = |i: usize| &coefficients[i * self.columns.width..(i + 1) * self.columns.width];
        Affine { mean: row(0), scale: row(1), shift: row(2) }
    }

    /// Writes what follows from mean and variance of every channel.
    fn write<T: Element>(&self, params: &[T], moments: impl Fn(usize) -> (f64, f64), coefficients: &mut [T]) {
        let learned = |range: &Option<Range<usize>>, i: usize, without: f64| {
            range.as_ref().map_or(without, |range| params[range.start + i].to_f64())
        };
        for channel in 0..self.columns.channels {
            let (mean, variance) = moments(channel);
            let scale = learned(&self.gamma, channel, 1.0) / (variance + self.epsilon).sqrt();
            let values = [mean, scale, learned(&self.beta, channel, 0.0), variance];
            for (value, row) in values.into_iter().zip(coefficients.chunks_exact_mut(self.columns.width)) {
                self.columns.spread(channel, T::from_f64(value), row);
            }
        }
    }

    /// The sum of `dy` of a channel, or that of `dy * (x - mean)`.
    fn total(&self, sums: &[f64], channel: usize, weighted: bool) -> f64 {
        let (plain, products) = sums.split_at(self.columns.width);
        self.columns.gather(channel, if weighted { products } else { plain })
    }

    /// The coefficient of channel `channel` in a row.
    fn coefficient<T: Element>(&self, coefficients: &[T], row: usize, channel: usize) -> f64 {
        coefficients[row * self.columns.width + channel * self.columns.inner].to_f64()
    }

    fn inverse_deviation<T: Element>(&self, coefficients: &[T], channel: usize) -> f64 {
        1.0 / (self.coefficient(coefficients, 3, channel) + self.epsilon).sqrt()
    }
}

impl<T: Element> Op<T> for Normalize {
    fn output_len(&self) -> usize {
        self.len
    }

    fn keeps(&self) -> Keeps {
        Keeps { input: true, ..Keeps::default() }
    }

    fn weights(&self) -> &Ranges {
        &self.learned
    }

    fn take_relu(&mut self) -> bool {
        self.relu = true;
        true
    }

    fn forward(&self, cx: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        self.map(cx.coefficients).forward(self.tier, self.relu, x[0], y);
    }

    fn backward(&self, cx: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { x, dy, dx: [Some(dx)], .. } = tensors else { return };
        let width = self.columns.width;
        let (a, b) = cx.coefficients[FINALIZED * width..ROWS * width].split_at(width);
        self.map(cx.coefficients).backward(self.tier, (a, b), x[0], dy, dx);
    }

    fn statistics(&self) -> Option<&dyn Statistics<T>> {
        Some(self)
    }
}

impl<T: Element> Statistics<T> for Normalize {
    fn coefficients_len(&self) -> usize {
        ROWS * self.columns.width
    }

    fn finalized_len(&self) -> usize {
        FINALIZED * self.columns.width
    }

    fn part_len(&self) -> [usize; 2] {
        [self.columns.part_len(), 2 * self.columns.width]
    }

    fn sum_inputs(&self, x: &[T], part: &mut [f64]) {
        self.columns.sum(self.tier, x, part);
    }

    fn join_inputs(&self, part: &mut [f64], after: &[f64]) {
        self.columns.join(part, after);
    }

    fn finalize(&self, params: &[T], whole: &[f64], coefficients: &mut [T]) {
        self.write(params, |channel| self.columns.moments(channel, whole), coefficients);
    }

    fn finalize_moving(&self, params: &[T], coefficients: &mut [T]) {
        let [means, variances] = [0, 1].map(|i| &params[self.moving[i].clone()]);
        self.write(params, |channel| (means[channel].to_f64(), variances[channel].to_f64()), coefficients);
    }

    fn channel_map<'a>(&self, coefficients: &'a [T]) -> Option<Affine<'a, T>> {
        let Affine { mean, scale, shift } = self.map(coefficients);
        let channels = ..self.columns.channels;
        let map = Affine { mean: &mean[channels], scale: &scale[channels], shift: &shift[channels] };
        (self.columns.inner == 1).then_some(map)
    }

    fn relu(&self) -> bool {
        self.relu
    }

    fn sum_gradients(&self, coefficients: &[T], x: &[T], dy: &mut [T], part: &mut [f64]) {
        self.map(coefficients).gradient_sums(self.tier, self.relu, x, dy, part);
    }

    fn finalize_gradients(&self, sums: &[f64], batch: usize, frozen: bool, coefficients: &mut [T]) {
        let n = self.columns.count((batch * self.len) as f64);
        let width = self.columns.width;
        for (row, channel) in
            [4, 5].into_iter().flat_map(|row| (0..self.columns.channels).map(move |c| (row, c)))
        {
            let inverse = if row == 4 { 1.0 } else { self.inverse_deviation(coefficients, channel) };
            let total = self.total(sums, channel, row == 5);
            let value = T::from_f64(if frozen { 0.0 } else { total / n * inverse * inverse });
            self.columns.spread(channel, value, &mut coefficients[row * width..(row + 1) * width]);
        }
    }

    fn weight_gradient(&self, range: &Range<usize>, sums: &[f64], coefficients: &[T], grads: &mut [T]) {
        let gamma = self.gamma.as_ref() == Some(range);
        for (channel, grad) in grads.iter_mut().enumerate() {
            let total = self.total(sums, channel, gamma);
            *grad = T::from_f64(if gamma {
                total * self.inverse_deviation(coefficients, channel)
            } else {
                total
            });
        }
    }

    fn moving(&self) -> &Ranges {
        &self.moving
    }

    fn commit(&self, index: usize, coefficients: &[T], moving: &mut [T]) {
        for (channel, moving) in moving.iter_mut().enumerate() {
            let batch = self.coefficient(coefficients, if index == 0 { 0 } else { 3 }, channel);
            *moving = T::from_f64(moving.to_f64() * self.momentum + batch * (1.0 - self.momentum));
        }
    }
}
