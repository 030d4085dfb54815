//! Groups whose elements lie in runs: all in one, as those of a layer normalisation over the last axes, or one at every
//! position, as the channels of a group.

use std::ops::Range;

use super::spans::{Map, SPAN, Slopes, add_to_chains, part};
use super::{Backward, CHAINS, Moments, Scaling, keep, kept, moments};
use crate::kernels::Element;

/// Group `g` has `runs` runs of `run` elements, the first at element `g * run`, `side * run` elements apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Runs {
    pub runs: usize,
    pub run: usize,
    /// Groups that have weights of their own; those of group `g` start at number `g % side * run`.
    pub side: usize,
}

/// Elements that follow each other.
struct Span {
    at: Range<usize>,
    /// Their weights.
    weights: Range<usize>,
    /// The chain of the first.
    phase: usize,
}

impl Runs {
    #[inline(always)]
    fn spans(&self, group: usize) -> impl Iterator<Item = Span> {
        let Self { runs, run, side } = *self;
        let (first, weight) = (group * run, group % side * run);
        (0..runs).flat_map(move |number| {
            (0..run).step_by(SPAN).map(move |within| {
                let len = (run - within).min(SPAN);
                let start = first + number * side * run + within;
                Span {
                    at: start..start + len,
                    weights: weight + within..weight + within + len,
                    phase: number * run % CHAINS,
                }
            })
        })
    }

    /// Elements of a group.
    #[inline(always)]
    fn len(&self) -> usize {
        self.runs * self.run
    }

    /// The mean over a group.
    #[inline(always)]
    fn mean(&self, chains: &[f64; CHAINS]) -> f64 {
        self.total(chains) / self.len() as f64
    }

    /// The sum over a group; of a short one without the chains that have none of its elements.
    #[inline(always)]
    fn total(&self, chains: &[f64; CHAINS]) -> f64 {
        chains[..self.len().min(CHAINS)].iter().sum()
    }

    #[inline(always)]
    fn moments<T: Element>(&self, group: usize, epsilon: f64, x: &[T]) -> Moments {
        let mut chains = [0.0; CHAINS];
        for Span { at, phase, .. } in self.spans(group) {
            add_to_chains(&mut chains, phase, &x[at], T::to_f64);
        }
        let mean = self.mean(&chains);
        let mut chains = [0.0; CHAINS];
        for Span { at, phase, .. } in self.spans(group) {
            add_to_chains(&mut chains, phase, &x[at], |x| {
                let apart = x.to_f64() - mean;
                apart * apart
            });
        }
        moments(mean, self.total(&chains), self.len(), epsilon)
    }

    #[inline(always)]
    pub(super) fn forward<T: Element>(
        &self,
        count: usize,
        scaling: Scaling<'_, T>,
        x: &[T],
        y: &mut [T],
        saved: &mut [u8],
    ) {
        let Scaling { epsilon, gamma, beta, relu } = scaling;
        let (mut means, mut inverses) = ([T::ZERO; SPAN], [T::ZERO; SPAN]);
        let longest = self.run.min(SPAN);
        for group in 0..count {
            let (mean, inverse) = self.moments(group, epsilon, x);
            keep(saved, group, (mean, inverse));
            means[..longest].fill(T::from_f64(mean));
            inverses[..longest].fill(T::from_f64(inverse));
            for Span { at, weights, .. } in self.spans(group) {
                let (gamma, beta) = (&gamma[weights.clone()], &beta[weights]);
                let map = Map { mean: &means[..at.len()], inverse: &inverses[..at.len()], gamma, beta };
                map.forward(relu, &x[at.clone()], &mut y[at]);
            }
        }
    }

    #[inline(always)]
    pub(super) fn backward<T: Element>(
        &self,
        count: usize,
        scaling: Scaling<'_, T>,
        tensors: Backward<'_, T>,
    ) {
        let Scaling { epsilon, gamma, beta, relu } = scaling;
        let Backward { x, saved, dy, mut dx, dgamma, dbeta } = tensors;
        let longest = self.run.min(SPAN);
        let (mut means, mut inverses) = ([0.0; SPAN], [0.0; SPAN]);
        let (mut near_means, mut near_inverses) = ([T::ZERO; SPAN], [T::ZERO; SPAN]);
        let (mut plains, mut products) = ([0.0; SPAN], [0.0; SPAN]);
        for group in 0..count {
            let (mean, inverse) = kept(saved, group).unwrap_or_else(|| self.moments(group, epsilon, x));
            means[..longest].fill(mean);
            inverses[..longest].fill(inverse);
            if relu {
                near_means[..longest].fill(T::from_f64(mean));
                near_inverses[..longest].fill(T::from_f64(inverse));
            }
            let slopes = |weights: &Range<usize>| Slopes {
                mean: &means[..weights.len()],
                inverse: &inverses[..weights.len()],
                gamma: &gamma[weights.clone()],
            };
            let (mut plain, mut weighted) = ([0.0; CHAINS], [0.0; CHAINS]);
            for Span { at, weights, phase } in self.spans(group) {
                let (x, dy, span) = (&x[at.clone()], &mut dy[at.clone()], ..at.len());
                if relu {
                    let (gamma, beta) = (&gamma[weights.clone()], &beta[weights.clone()]);
                    let (mean, inverse) = (&near_means[span], &near_inverses[span]);
                    Map { mean, inverse, gamma, beta }.mask(x, dy);
                }
                let slopes = slopes(&weights);
                slopes.weights(weights.len(), x, dy, part(dgamma, weights.clone()), part(dbeta, weights));
                if dx.is_some() {
                    slopes.terms(x, dy, &mut plains[span], &mut products[span]);
                    add_to_chains(&mut plain, phase, &plains[span], |term| term);
                    add_to_chains(&mut weighted, phase, &products[span], |term| term);
                }
            }
            let Some(dx) = dx.as_deref_mut() else { continue };
            plains[..longest].fill(self.mean(&plain));
            products[..longest].fill(self.mean(&weighted));
            for Span { at, weights, .. } in self.spans(group) {
                let means = [&plains[..at.len()], &products[..at.len()]];
                slopes(&weights).input(&x[at.clone()], &dy[at.clone()], means, &mut dx[at]);
            }
        }
    }
}
