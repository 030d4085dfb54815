//! Groups whose elements are looked up: any axes in any order.

use super::spans::{mapped, part};
use super::{Backward, CHAINS, Moments, Scaling, keep, kept, moments};
use crate::kernels::Element;
use crate::memory;

/// Where the elements of groups are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// Elements of the sample, group by group.
    order: Vec<usize>,
    /// Weight of every element of the first group.
    weights: Vec<usize>,
    /// Weights between two groups.
    step: usize,
}

impl Table {
    /// Groups of `len` elements, as [`super::Groups::new`] describes them.
    pub(super) fn new(sizes: &[usize], inside: &[bool], weighed: &[bool], len: usize) -> Self {
        let total: usize = sizes.iter().product();
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
        Self { weights, step, order }
    }

    /// Sum over a group.
    #[inline(always)]
    fn sum(len: usize, term: impl Fn(usize) -> f64) -> f64 {
        let mut sums = [0.0; CHAINS];
        for i in 0..len {
            sums[i % CHAINS] += term(i);
        }
        sums.iter().sum()
    }

    #[inline(always)]
    fn moments<T: Element>(own: &[usize], epsilon: f64, x: &[T]) -> Moments {
        let value = |i: usize| x[own[i]].to_f64();
        let mean = Self::sum(own.len(), value) / own.len() as f64;
        let squares = Self::sum(own.len(), |i| (value(i) - mean) * (value(i) - mean));
        moments(mean, squares, own.len(), epsilon)
    }

    #[inline(always)]
    pub(super) fn forward<T: Element>(
        &self,
        len: usize,
        scaling: Scaling<'_, T>,
        x: &[T],
        y: &mut [T],
        saved: &mut [u8],
    ) {
        let Scaling { epsilon, gamma, beta, relu } = scaling;
        for (group, own) in self.order.chunks_exact(len).enumerate() {
            let found = Self::moments(own, epsilon, x);
            keep(saved, group, found);
            let (mean, inverse) = (T::from_f64(found.0), T::from_f64(found.1));
            for (element, weight) in own.iter().zip(&self.weights) {
                let weight = group * self.step + weight;
                let value = mapped(x[*element], [mean, inverse, gamma[weight], beta[weight]]);
                y[*element] = if relu { value.relu() } else { value };
            }
        }
    }

    #[inline(always)]
    pub(super) fn backward<T: Element>(&self, len: usize, scaling: Scaling<'_, T>, tensors: Backward<'_, T>) {
        let Scaling { epsilon, gamma, beta, relu } = scaling;
        let Backward { x, saved, dy, mut dx, dgamma, dbeta } = tensors;
        for (group, own) in self.order.chunks_exact(len).enumerate() {
            let weight = |i: usize| group * self.step + self.weights[i];
            let (mean, inverse) = kept(saved, group).unwrap_or_else(|| Self::moments(own, epsilon, x));
            if relu {
                let near = [mean, inverse].map(T::from_f64);
                for (i, element) in own.iter().enumerate() {
                    let value = mapped(x[*element], [near[0], near[1], gamma[weight(i)], beta[weight(i)]]);
                    dy[*element] = value.relu_gradient(dy[*element]);
                }
            }
            let scaled = |i: usize| (x[own[i]].to_f64() - mean) * inverse;
            for (i, element) in own.iter().enumerate() {
                let dy = dy[*element];
                for sum in part(dgamma, weight(i)..weight(i) + 1) {
                    *sum += T::from_f64(dy.to_f64() * scaled(i));
                }
                for sum in part(dbeta, weight(i)..weight(i) + 1) {
                    *sum += dy;
                }
            }
            let Some(dx) = dx.as_deref_mut() else { continue };
            let slope = |i: usize| dy[own[i]].to_f64() * gamma[weight(i)].to_f64();
            let plain = Self::sum(len, slope) / len as f64;
            let weighted = Self::sum(len, |i| slope(i) * scaled(i)) / len as f64;
            for (i, element) in own.iter().enumerate() {
                dx[*element] = T::from_f64((slope(i) - plain - scaled(i) * weighted) * inverse);
            }
        }
    }
}
