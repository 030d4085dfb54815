//! Many short groups one after the other, which share their weights: those of a layer normalisation over the channels.

use super::spans::{Map, SPAN, Slopes, add_to_chains};
use super::{Backward, CHAINS, Moments, Scaling, keep, kept, moments};
use crate::kernels::Element;

/// The longest group that is one of several in a span.
pub(super) const LONGEST: usize = SPAN / 4;

/// Group `g` has elements `g * len..(g + 1) * len`, whose weights are 0 to `len` - 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Short {
    pub len: usize,
}

impl Short {
    /// Elements of a span.
    fn span(&self) -> usize {
        SPAN / self.len * self.len
    }

    /// The sum of each group of a span; terms are given the number of their group as well. Processors add up several
    /// groups at a time: loops that did so by themselves would gather what lies apart.
    #[inline(always)]
    fn totals<X: Copy>(&self, x: &[X], totals: &mut [f64; SPAN], term: impl Fn(X, usize) -> f64) {
        for (group, (x, total)) in x.chunks_exact(self.len).zip(totals).enumerate() {
            let mut chains = [0.0; CHAINS];
            add_to_chains(&mut chains, 0, x, |x| term(x, group));
            *total = chains.iter().sum();
        }
    }

    /// The moments of the groups of a span.
    #[inline(always)]
    fn moments<T: Element>(&self, epsilon: f64, x: &[T], numbers: &mut [Moments; SPAN]) {
        let (mut means, mut squares) = ([0.0; SPAN], [0.0; SPAN]);
        self.totals(x, &mut means, |x, _| x.to_f64());
        means[..x.len() / self.len].iter_mut().for_each(|mean| *mean /= self.len as f64);
        self.totals(x, &mut squares, |x, group| {
            let apart = x.to_f64() - means[group];
            apart * apart
        });
        for (group, numbers) in numbers[..x.len() / self.len].iter_mut().enumerate() {
            *numbers = moments(means[group], squares[group], self.len, epsilon);
        }
    }

    /// Writes the value of each group to its elements.
    #[inline(always)]
    fn spread<V: Copy>(&self, len: usize, value: impl Fn(usize) -> V, columns: &mut [V; SPAN]) {
        let groups = columns[..len].chunks_exact_mut(self.len);
        groups.enumerate().for_each(|(group, columns)| columns.fill(value(group)));
    }

    /// Copies weights to the elements of all groups.
    #[inline(always)]
    fn repeat<T: Copy>(&self, weights: &[T], columns: &mut [T; SPAN]) {
        for columns in columns.chunks_exact_mut(self.len) {
            columns.copy_from_slice(weights);
        }
    }

    #[inline(always)]
    pub(super) fn forward<T: Element>(
        &self,
        scaling: Scaling<'_, T>,
        x: &[T],
        y: &mut [T],
        saved: &mut [u8],
    ) {
        let mut numbers = [(0.0, 0.0); SPAN];
        let [mut means, mut inverses, mut gamma, mut beta] = [[T::ZERO; SPAN]; 4];
        self.repeat(scaling.gamma, &mut gamma);
        self.repeat(scaling.beta, &mut beta);
        let spans = x.chunks(self.span()).zip(y.chunks_mut(self.span()));
        for (span, (x, y)) in spans.enumerate() {
            self.moments(scaling.epsilon, x, &mut numbers);
            for (group, numbers) in numbers[..x.len() / self.len].iter().enumerate() {
                keep(saved, span * (SPAN / self.len) + group, *numbers);
            }
            self.spread(x.len(), |group| T::from_f64(numbers[group].0), &mut means);
            self.spread(x.len(), |group| T::from_f64(numbers[group].1), &mut inverses);
            let map = Map { mean: &means, inverse: &inverses, gamma: &gamma, beta: &beta };
            map.forward(scaling.relu, x, y);
        }
    }

    #[inline(always)]
    pub(super) fn backward<T: Element>(&self, scaling: Scaling<'_, T>, tensors: Backward<'_, T>) {
        let Backward { x, saved, dy, mut dx, dgamma, dbeta } = tensors;
        let mut numbers = [(0.0, 0.0); SPAN];
        let [mut near_means, mut near_inverses, mut gamma, mut beta] = [[T::ZERO; SPAN]; 4];
        let [mut means, mut inverses, mut plains, mut products] = [[0.0; SPAN]; 4];
        let mut totals = [[0.0; SPAN]; 2];
        self.repeat(scaling.gamma, &mut gamma);
        self.repeat(scaling.beta, &mut beta);
        let spans = x.chunks(self.span()).zip(dy.chunks_mut(self.span()));
        for (span, (x, dy)) in spans.enumerate() {
            if saved.is_empty() {
                self.moments(scaling.epsilon, x, &mut numbers);
            } else {
                for (group, numbers) in numbers[..x.len() / self.len].iter_mut().enumerate() {
                    *numbers = kept(saved, span * (SPAN / self.len) + group).unwrap_or_default();
                }
            }
            self.spread(x.len(), |group| numbers[group].0, &mut means);
            self.spread(x.len(), |group| numbers[group].1, &mut inverses);
            if scaling.relu {
                self.spread(x.len(), |group| T::from_f64(numbers[group].0), &mut near_means);
                self.spread(x.len(), |group| T::from_f64(numbers[group].1), &mut near_inverses);
                let (mean, inverse) = (&near_means, &near_inverses);
                Map { mean, inverse, gamma: &gamma, beta: &beta }.mask(x, dy);
            }
            let slopes = Slopes { mean: &means, inverse: &inverses, gamma: &gamma };
            slopes.weights(self.len, x, dy, dgamma, dbeta);
            let Some(dx) = dx.as_deref_mut() else { continue };
            slopes.terms(x, dy, &mut plains, &mut products);
            self.totals(&plains[..x.len()], &mut totals[0], |term, _| term);
            self.totals(&products[..x.len()], &mut totals[1], |term, _| term);
            self.spread(x.len(), |group| totals[0][group] / self.len as f64, &mut plains);
            self.spread(x.len(), |group| totals[1][group] / self.len as f64, &mut products);
            let first = span * self.span();
            slopes.input(x, dy, [&plains, &products], &mut dx[first..first + x.len()]);
        }
    }
}
