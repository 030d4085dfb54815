//! Normalisation inside a sample: every group of elements by its own moments, then a factor and a shift per weight.
//!
//! `y = (x - mean) / sqrt(variance + epsilon) * gamma + beta`, moments over a group of `n` elements, in float64 and in
//! two passes. With `xhat = (x - mean) / sqrt(variance + epsilon)` and `d = gamma * dy` the gradient to the input is
//! `(d - sum(d) / n - xhat * sum(d * xhat) / n) / sqrt(variance + epsilon)`.

use crate::kernels::{Element, Job, Tier};
use crate::memory;

/// Chains that a sum is cut into, so that additions do not wait for each other; the same on every tier.
const CHAINS: usize = 16;

/// How the elements of a sample fall into groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    /// Elements of the sample, group by group; None where they lie that way.
    order: Option<Vec<usize>>,
    /// Elements of a group.
    len: usize,
    /// Weight of every element of the first group; None where they are numbered alike.
    weights: Option<Vec<usize>>,
    /// Weights between two groups.
    step: usize,
}

impl Groups {
    /// Plans groups over a sample of shape `sizes`: elements that differ only along axes that are `inside` are of one
    /// group. Elements that are equal along the axes `weighed` share a weight.
    pub fn new(sizes: &[usize], inside: &[bool], weighed: &[bool]) -> Self {
        let total: usize = sizes.iter().product();
        let len: usize = (0..sizes.len()).filter(|&a| inside[a]).map(|a| sizes[a]).product();
        // Number of an element among those that differ along some axes only.
        let number = |element: usize, axes: &dyn Fn(usize) -> bool| {
            let (mut rest, mut stride, mut number) = (element, 1, 0);
            for axis in (0..sizes.len()).rev() {
                if axes(axis) {
                    number += rest % sizes[axis] * stride;
                    stride *= sizes[axis];
                }
                rest /= sizes[axis];
            }
            number
        };
        let mut order = memory::demand(memory::filled(0, total));
        for element in 0..total {
            let place = number(element, &|a| !inside[a]) * len + number(element, &|a| inside[a]);
            order[place] = element;
        }
        let weight = |place: usize| number(order[place], &|a| weighed[a]);
        let weights = memory::demand(memory::collect((0..len.min(total)).map(weight)));
        let step = if len < total { weight(len) - weights.first().copied().unwrap_or(0) } else { 0 };
        let plain = |list: &[usize]| list.iter().enumerate().all(|(i, x)| i == *x);
        let some = |list: Vec<usize>| if plain(&list) { None } else { Some(list) };
        Self { weights: some(weights), len: len.max(1), step, order: some(order) }
    }

    /// One sample forward; `gamma` and `beta` may be missing.
    pub fn forward<T: Element>(
        &self,
        tier: Tier,
        epsilon: f64,
        [gamma, beta]: [Option<&[T]>; 2],
        x: &[T],
        y: &mut [T],
    ) {
        tier.vectorize(Forward { groups: self, epsilon, gamma, beta, x, y });
    }

    /// One sample backward; adds to the gradients of `gamma` and `beta`, which are empty where those are missing.
    pub fn backward<T: Element>(&self, tier: Tier, tensors: Backward<'_, T>) {
        tier.vectorize(Back { groups: self, tensors });
    }

    #[inline(always)]
    fn element(&self, place: usize) -> usize {
        self.order.as_ref().map_or(place, |order| order[place])
    }

    #[inline(always)]
    fn weight(&self, group: usize, i: usize) -> usize {
        group * self.step + self.weights.as_ref().map_or(i, |weights| weights[i])
    }

    /// Sum over a group.
    #[inline(always)]
    fn sum(&self, term: impl Fn(usize) -> f64) -> f64 {
        let mut sums = [0.0; CHAINS];
        let whole = self.len / CHAINS * CHAINS;
        for first in (0..whole).step_by(CHAINS) {
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum += term(first + i);
            }
        }
        for (sum, i) in sums.iter_mut().zip(whole..self.len) {
            *sum += term(i);
        }
        sums.iter().sum()
    }

    /// Mean and `1 / sqrt(variance + epsilon)` of a group.
    #[inline(always)]
    fn moments<T: Element>(&self, group: usize, epsilon: f64, x: &[T]) -> (f64, f64) {
        let value = |i: usize| x[self.element(group * self.len + i)].to_f64();
        let count = self.len as f64;
        let mean = self.sum(value) / count;
        let variance = self.sum(|i| (value(i) - mean) * (value(i) - mean)) / count;
        (mean, 1.0 / (variance + epsilon).sqrt())
    }
}

struct Forward<'a, T> {
    groups: &'a Groups,
    epsilon: f64,
    gamma: Option<&'a [T]>,
    beta: Option<&'a [T]>,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Element> Job for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { groups, epsilon, gamma, beta, x, y } = self;
        for group in 0..x.len() / groups.len {
            let (mean, inverse) = groups.moments(group, epsilon, x);
            let (mean, inverse) = (T::from_f64(mean), T::from_f64(inverse));
            for i in 0..groups.len {
                let (element, weight) = (groups.element(group * groups.len + i), groups.weight(group, i));
                let scaled = x[element].sub(mean).mul(inverse);
                let scaled = gamma.map_or(scaled, |gamma| scaled.mul(gamma[weight]));
                y[element] = beta.map_or(scaled, |beta| scaled.add(beta[weight]));
            }
        }
    }
}

/// Tensors of a sample's backward pass.
#[derive(Debug)]
pub struct Backward<'a, T> {
    /// What is added to the variance.
    pub epsilon: f64,
    /// The factors, if there are any.
    pub gamma: Option<&'a [T]>,
    /// The input.
    pub x: &'a [T],
    /// Gradient of the output.
    pub dy: &'a [T],
    /// Gradient of the input, if it is wanted.
    pub dx: Option<&'a mut [T]>,
    /// Gradient of the factors, to be added to.
    pub dgamma: &'a mut [T],
    /// Gradient of the shifts, to be added to.
    pub dbeta: &'a mut [T],
}

struct Back<'a, 'b, T> {
    groups: &'a Groups,
    tensors: Backward<'b, T>,
}

impl<T: Element> Job for Back<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { groups, tensors: Backward { epsilon, gamma, x, dy, mut dx, dgamma, dbeta } } = self;
        let n = groups.len as f64;
        for group in 0..x.len() / groups.len {
            let (mean, inverse) = groups.moments(group, epsilon, x);
            let scaled = |i: usize| (x[groups.element(group * groups.len + i)].to_f64() - mean) * inverse;
            let slope = |i: usize| {
                let dy = dy[groups.element(group * groups.len + i)].to_f64();
                gamma.map_or(dy, |gamma| dy * gamma[groups.weight(group, i)].to_f64())
            };
            for i in 0..groups.len {
                let (dy, weight) = (dy[groups.element(group * groups.len + i)], groups.weight(group, i));
                if let Some(dgamma) = dgamma.get_mut(weight) {
                    *dgamma += T::from_f64(dy.to_f64() * scaled(i));
                }
                if let Some(dbeta) = dbeta.get_mut(weight) {
                    *dbeta += dy;
                }
            }
            let Some(dx) = dx.as_deref_mut() else { continue };
            let plain = groups.sum(slope) / n;
            let weighted = groups.sum(|i| slope(i) * scaled(i)) / n;
            for i in 0..groups.len {
                let element = groups.element(group * groups.len + i);
                dx[element] = T::from_f64((slope(i) - plain - scaled(i) * weighted) * inverse);
            }
        }
    }
}
