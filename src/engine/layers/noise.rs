//! Gaussian noise in training: added to elements, or multiplied with them. The draws are never stored: the backward pass
//! draws the same counter-based numbers again.

use super::{Backward, Context, Layer, Op, Random, Site, Size};
use crate::conv::Scratch;
use crate::error::Result;
use crate::kernels::Element;
use crate::rng::{Purpose, Stream};

/// The description.
pub(super) struct Gaussian {
    /// Standard deviation of the draws.
    stddev: f64,
    /// Whether they are factors of mean 1; else they are added.
    factors: bool,
    seed: Option<u64>,
}

impl Gaussian {
    pub(super) fn noise(stddev: f64, seed: Option<u64>) -> Self {
        Self { stddev, factors: false, seed }
    }

    /// Factors whose variance is that of a dropout of this rate, `rate / (1 - rate)`.
    pub(super) fn dropout(rate: f64, seed: Option<u64>) -> Self {
        Self { stddev: (rate / (1.0 - rate)).sqrt(), factors: true, seed }
    }
}

impl<T: Element> Layer<T> for Gaussian {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        Ok(input.to_vec())
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let len = site.input.iter().product();
        let Self { stddev, factors, seed } = *self;
        Ok(vec![Box::new(GaussianOp { len, stddev, factors, seed, layer: site.layer })])
    }
}

struct GaussianOp {
    len: usize,
    stddev: f64,
    factors: bool,
    seed: Option<u64>,
    layer: usize,
}

impl GaussianOp {
    /// `to = apply(from, draw)` for every element of some samples.
    fn each<T: Element>(
        &self,
        cx: &Context<'_, T>,
        random: Random,
        (from, to): (&[T], &mut [T]),
        apply: impl Fn(f64, f64) -> f64,
    ) {
        let seed = self.seed.unwrap_or(random.seed);
        let samples = from.chunks_exact(self.len.max(1)).zip(to.chunks_exact_mut(self.len.max(1)));
        for (i, (from, to)) in samples.enumerate() {
            let coordinate = (random.step << 16) ^ self.layer as u64;
            let stream = Stream::new(seed, Purpose::Dropout, coordinate, (cx.first + i) as u32);
            for (block, (from, to)) in from.chunks(2).zip(to.chunks_mut(2)).enumerate() {
                for ((from, to), z) in from.iter().zip(to).zip(stream.normals(block as u64)) {
                    *to = T::from_f64(apply(from.to_f64(), z * self.stddev));
                }
            }
        }
    }
}

impl<T: Element> Op<T> for GaussianOp {
    fn output_len(&self) -> usize {
        self.len
    }

    fn idle_at_inference(&self) -> bool {
        true
    }

    fn forward(&self, cx: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        match cx.training {
            Some(random) if self.factors => self.each(cx, random, (x[0], y), |x, z| x * (1.0 + z)),
            Some(random) => self.each(cx, random, (x[0], y), |x, z| x + z),
            None => y.copy_from_slice(x[0]),
        }
    }

    fn backward(&self, cx: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { dy, dx: [Some(dx)], .. } = tensors else { return };
        match cx.training {
            Some(random) if self.factors => self.each(cx, random, (dy, dx), |dy, z| dy * (1.0 + z)),
            _ => dx.copy_from_slice(dy),
        }
    }
}
