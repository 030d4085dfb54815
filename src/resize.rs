//! Bilinear upsampling of an image by whole factors, with its adjoint.
//!
//! Pixels are squares with the value at the centre, as in Keras: output `o` of an axis of `n` elements lies at
//! `(o + 1/2) / factor - 1/2` of the input and blends the two elements around that place; beyond the first and the last
//! centre there is only one.

use std::ops::Range;

use crate::error::Result;
use crate::geometry::upsampled_size;
use crate::kernels::{Element, Job, Tier};
use crate::memory;

/// What one output of an axis blends: `(1 - weight) * x[low] + weight * x[high]`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Blend<T> {
    low: usize,
    high: usize,
    weight: T,
}

fn blends<T: Element>(input: usize, factor: usize) -> Result<Vec<Blend<T>>> {
    let output = upsampled_size(input, factor)?;
    memory::collect((0..output).map(|o| {
        let place = (2 * o + 1) as f64 / (2 * factor) as f64 - 0.5;
        let clamp = |at: f64| at.clamp(0.0, (input - 1) as f64) as usize;
        let floor = place.floor();
        Blend { low: clamp(floor), high: clamp(place.ceil()), weight: T::from_f64(place - floor) }
    }))
}

/// The operation on one sample.
#[derive(Debug, Clone)]
pub struct Bilinear<T> {
    rows: Vec<Blend<T>>,
    columns: Vec<Blend<T>>,
    input: [usize; 2],
    channels: usize,
    tier: Tier,
}

impl<T: Element> Bilinear<T> {
    /// Plans the operation for an image of `input` rows and columns.
    ///
    /// # Errors
    /// As [`upsampled_size`].
    pub fn new(input: [usize; 2], factors: [usize; 2], channels: usize, tier: Tier) -> Result<Self> {
        let (rows, columns) = (blends(input[0], factors[0])?, blends(input[1], factors[1])?);
        Ok(Self { rows, columns, input, channels, tier })
    }

    /// Elements of one input sample.
    pub fn input_len(&self) -> usize {
        self.input[0] * self.input_row_len()
    }

    /// Elements of one output sample.
    pub fn output_len(&self) -> usize {
        self.rows.len() * self.row_len()
    }

    /// Rows of the output.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    fn row_len(&self) -> usize {
        self.columns.len() * self.channels
    }

    fn input_row_len(&self) -> usize {
        self.input[1] * self.channels
    }

    /// Computes `rows` of the output of one sample; `y` holds exactly these rows.
    pub fn forward(&self, x: &[T], y: &mut [T], rows: Range<usize>) {
        struct Row<'a, T> {
            plan: &'a Bilinear<T>,
            low: &'a [T],
            high: &'a [T],
            weight: T,
            y: &'a mut [T],
        }
        impl<T: Element> Job for Row<'_, T> {
            type Output = ();
            #[inline(always)]
            fn run(self) {
                let c = self.plan.channels;
                let mix = |a: T, b: T, weight: T| a.add(b.sub(a).mul(weight));
                for (blend, y) in self.plan.columns.iter().zip(self.y.chunks_exact_mut(c)) {
                    let (a, b) = (&self.low[blend.low * c..][..c], &self.low[blend.high * c..][..c]);
                    let (d, e) = (&self.high[blend.low * c..][..c], &self.high[blend.high * c..][..c]);
                    for i in 0..c {
                        let (upper, lower) = (mix(a[i], b[i], blend.weight), mix(d[i], e[i], blend.weight));
                        y[i] = mix(upper, lower, self.weight);
                    }
                }
            }
        }
        let line = |row: usize| &x[row * self.input_row_len()..][..self.input_row_len()];
        for (blend, y) in self.rows[rows].iter().zip(y.chunks_exact_mut(self.row_len())) {
            let (low, high) = (line(blend.low), line(blend.high));
            self.tier.vectorize(Row { plan: self, low, high, weight: blend.weight, y });
        }
    }

    /// The gradient to the input of one sample: contributions are added in row-major order of the outputs.
    pub fn backward(&self, dy: &[T], dx: &mut [T]) {
        struct Row<'a, T> {
            plan: &'a Bilinear<T>,
            share: T,
            dy: &'a [T],
            dx: &'a mut [T],
        }
        impl<T: Element> Job for Row<'_, T> {
            type Output = ();
            #[inline(always)]
            fn run(self) {
                let c = self.plan.channels;
                for (blend, dy) in self.plan.columns.iter().zip(self.dy.chunks_exact(c)) {
                    for (at, weight) in [(blend.low, T::ONE.sub(blend.weight)), (blend.high, blend.weight)] {
                        for (dx, dy) in self.dx[at * c..][..c].iter_mut().zip(dy) {
                            *dx += dy.mul(self.share).mul(weight);
                        }
                    }
                }
            }
        }
        dx.fill(T::ZERO);
        for (blend, dy) in self.rows.iter().zip(dy.chunks_exact(self.row_len())) {
            for (at, share) in [(blend.low, T::ONE.sub(blend.weight)), (blend.high, blend.weight)] {
                let dx = &mut dx[at * self.input_row_len()..][..self.input_row_len()];
                self.tier.vectorize(Row { plan: self, share, dy, dx });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Keras gives for `UpSampling2D((1, 2), interpolation="bilinear")` of 1, 3.
    #[test]
    fn a_row_of_two() {
        for tier in Tier::available() {
            let plan = Bilinear::<f64>::new([1, 2], [1, 2], 1, tier).unwrap();
            let mut y = [f64::NAN; 4];
            plan.forward(&[1.0, 3.0], &mut y, 0..1);
            assert_eq!(y, [1.0, 1.5, 2.5, 3.0]);
            let mut dx = [f64::NAN; 2];
            plan.backward(&[1.0, 10.0, 100.0, 1000.0], &mut dx);
            assert_eq!(dx, [1.0 + 7.5 + 25.0, 2.5 + 75.0 + 1000.0]);
        }
    }
}
