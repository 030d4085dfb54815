//! Loops over elements that follow each other, each with the numbers of its group and of its weight beside it.

use super::CHAINS;
use crate::kernels::Element;

/// Elements that are gone over at once, or somewhat fewer: what is known of them stays in the nearest cache.
pub(super) const SPAN: usize = 256;

/// The map of a span, in the type of the tensors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Map<'a, T> {
    pub mean: &'a [T],
    pub inverse: &'a [T],
    pub gamma: &'a [T],
    pub beta: &'a [T],
}

/// What an element becomes.
#[inline(always)]
pub(super) fn mapped<T: Element>(x: T, [mean, inverse, gamma, beta]: [T; 4]) -> T {
    x.sub(mean).mul(inverse).mul(gamma).add(beta)
}

impl<'a, T: Element> Map<'a, T> {
    /// That of the first `len` elements: loops know that all of these are there.
    #[inline(always)]
    fn columns(self, len: usize) -> impl Iterator<Item = [T; 4]> + use<'a, T> {
        let (mean, inverse) = (&self.mean[..len], &self.inverse[..len]);
        let columns = mean.iter().zip(inverse).zip(&self.gamma[..len]).zip(&self.beta[..len]);
        columns.map(|(((mean, inverse), gamma), beta)| [*mean, *inverse, *gamma, *beta])
    }

    #[inline(always)]
    pub(super) fn forward(self, relu: bool, x: &[T], y: &mut [T]) {
        let all = y[..x.len()].iter_mut().zip(x).zip(self.columns(x.len()));
        if relu {
            all.for_each(|((y, x), columns)| *y = mapped(*x, columns).relu());
        } else {
            all.for_each(|((y, x), columns)| *y = mapped(*x, columns));
        }
    }

    /// Masks the gradient of what a ReLU made of the results.
    #[inline(always)]
    pub(super) fn mask(self, x: &[T], dy: &mut [T]) {
        for ((dy, x), columns) in dy[..x.len()].iter_mut().zip(x).zip(self.columns(x.len())) {
            *dy = mapped(*x, columns).relu_gradient(*dy);
        }
    }
}

/// What the gradient of a span is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slopes<'a, T> {
    pub mean: &'a [f64],
    pub inverse: &'a [f64],
    pub gamma: &'a [T],
}

impl<'a, T: Element> Slopes<'a, T> {
    #[inline(always)]
    fn columns(self, len: usize) -> impl Iterator<Item = (f64, f64, f64)> + use<'a, T> {
        let columns = self.mean[..len].iter().zip(&self.inverse[..len]).zip(&self.gamma[..len]);
        columns.map(|((mean, inverse), gamma)| (*mean, *inverse, gamma.to_f64()))
    }

    /// Adds to the gradients of the weights, which may be empty; the span goes over all of them again and again.
    #[inline(always)]
    pub(super) fn weights(self, weights: usize, x: &[T], dy: &[T], dgamma: &mut [T], dbeta: &mut [T]) {
        if weights.is_multiple_of(CHAINS) {
            self.registers(weights, x, dy, dgamma, dbeta);
            return;
        }
        let moments = self.mean.chunks(weights).zip(self.inverse.chunks(weights));
        let positions = x.chunks(weights).zip(dy.chunks(weights));
        for ((x, dy), (mean, inverse)) in positions.zip(moments) {
            let moments = mean.iter().zip(inverse);
            for (((sum, x), dy), (mean, inverse)) in dgamma.iter_mut().zip(x).zip(dy).zip(moments) {
                *sum += weighted(*x, *dy, *mean, *inverse);
            }
            dbeta.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += *dy);
        }
    }

    /// The same for a multiple of [`CHAINS`] weights, whose sums stay in registers.
    #[inline(always)]
    fn registers(self, weights: usize, x: &[T], dy: &[T], dgamma: &mut [T], dbeta: &mut [T]) {
        let (x, dy) = (x.as_chunks::<CHAINS>().0, dy.as_chunks::<CHAINS>().0);
        let (mean, inverse) = (self.mean.as_chunks::<CHAINS>().0, self.inverse.as_chunks::<CHAINS>().0);
        let step = weights / CHAINS;
        for (first, sums) in dgamma.as_chunks_mut::<CHAINS>().0.iter_mut().enumerate() {
            let mut own = *sums;
            let moments = mean[first..].iter().step_by(step).zip(inverse[first..].iter().step_by(step));
            let positions = x[first..].iter().step_by(step).zip(dy[first..].iter().step_by(step));
            for ((x, dy), (mean, inverse)) in positions.zip(moments) {
                for i in 0..CHAINS {
                    own[i] += weighted(x[i], dy[i], mean[i], inverse[i]);
                }
            }
            *sums = own;
        }
        for (first, sums) in dbeta.as_chunks_mut::<CHAINS>().0.iter_mut().enumerate() {
            let mut own = *sums;
            for dy in dy[first..].iter().step_by(step) {
                own.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += *dy);
            }
            *sums = own;
        }
    }

    /// Writes what is summed over a group: the gradient times the factors, and that times what is scaled.
    #[inline(always)]
    pub(super) fn terms(self, x: &[T], dy: &[T], plain: &mut [f64], products: &mut [f64]) {
        let len = x.len();
        let terms = plain[..len].iter_mut().zip(&mut products[..len]);
        let all = x.iter().zip(&dy[..len]).zip(terms).zip(self.columns(len));
        for (((x, dy), (plain, product)), (mean, inverse, gamma)) in all {
            *plain = dy.to_f64() * gamma;
            *product = *plain * ((x.to_f64() - mean) * inverse);
        }
    }

    /// The gradient to the input, from the means of both terms.
    #[inline(always)]
    pub(super) fn input(self, x: &[T], dy: &[T], means: [&[f64]; 2], dx: &mut [T]) {
        let len = x.len();
        let means = means[0][..len].iter().zip(&means[1][..len]);
        let all = dx[..len].iter_mut().zip(x).zip(&dy[..len]).zip(self.columns(len)).zip(means);
        for ((((dx, x), dy), (mean, inverse, gamma)), (plain, product)) in all {
            let scaled = (x.to_f64() - mean) * inverse;
            *dx = T::from_f64((dy.to_f64() * gamma - plain - scaled * product) * inverse);
        }
    }
}

/// What an element adds to the gradient of its factor.
#[inline(always)]
pub(super) fn weighted<T: Element>(x: T, dy: T, mean: f64, inverse: f64) -> T {
    T::from_f64(dy.to_f64() * ((x.to_f64() - mean) * inverse))
}

/// Adds the terms of elements that follow each other to the chains of their group, the first to chain `phase`.
#[inline(always)]
pub(super) fn add_to_chains<X: Copy>(
    chains: &mut [f64; CHAINS],
    phase: usize,
    x: &[X],
    term: impl Fn(X) -> f64,
) {
    let head = if phase == 0 { 0 } else { (CHAINS - phase).min(x.len()) };
    let (head, rest) = x.split_at(head);
    chains[phase..].iter_mut().zip(head).for_each(|(sum, x)| *sum += term(*x));
    let (whole, tail) = rest.as_chunks::<CHAINS>();
    let mut registers = *chains;
    for x in whole {
        registers.iter_mut().zip(x).for_each(|(sum, x)| *sum += term(*x));
    }
    *chains = registers;
    chains.iter_mut().zip(tail).for_each(|(sum, x)| *sum += term(*x));
}

/// Part of a gradient that may be empty.
#[inline(always)]
pub(super) fn part<T>(whole: &mut [T], range: std::ops::Range<usize>) -> &mut [T] {
    whole.get_mut(range).unwrap_or_default()
}
