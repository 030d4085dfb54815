//! Groups that lie side by side, few elements of each at a position: those of an instance normalisation, or of a few
//! channels.
//!
//! Loops go over rows of several positions, whole registers at a time, whatever the groups. Sums do so, too, where the
//! elements of a group at a position divide the chains: places a fixed number of positions apart then belong to one chain
//! of one group, so that rows are added to rows. Else the part of each group is added to its chains.

use std::ops::Range;

use super::spans::{Map, SPAN, Slopes, add_to_chains, part};
use super::{Backward, CHAINS, Moments, Scaling, keep, kept, moments};
use crate::kernels::Element;

/// Elements of a position that are gone over at once, or somewhat fewer: their sums stay in the nearest cache.
pub(super) const BLOCK: usize = 128;

/// Group `g` has elements `g * own..(g + 1) * own` of every position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interleaved {
    /// Elements of a position.
    channels: usize,
    /// Those of a group, [`BLOCK`] at most.
    own: usize,
    /// Positions of a row.
    positions: usize,
}

impl Interleaved {
    pub(super) fn new(groups: usize, own: usize) -> Self {
        let channels = (groups * own).max(1);
        // A power of two, which divides the positions after which chains begin anew or is a multiple of them.
        let positions = if channels > BLOCK { 1 } else { 1 << (SPAN / channels).ilog2() };
        Self { channels, own, positions }
    }

    fn row(&self) -> usize {
        self.channels * self.positions
    }

    /// Positions after which a place belongs to the same chain again; None where several places are of one chain.
    fn period(&self) -> Option<usize> {
        CHAINS.is_multiple_of(self.own).then(|| CHAINS / self.own)
    }

    /// Blocks of the columns of a row: one, or blocks of a row that is a single position.
    #[inline(always)]
    fn blocks(&self) -> impl Iterator<Item = Block<'_>> {
        let row = self.row();
        let width = if self.channels > BLOCK { BLOCK / self.own * self.own } else { row };
        (0..row)
            .step_by(width.max(1))
            .map(move |first| Block { layout: self, columns: first..(first + width).min(row) })
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
        let mut sums = [0.0; SUMS];
        let mut numbers = [(0.0, 0.0); BLOCK];
        let mut near = [[T::ZERO; SPAN]; 4];
        for block in self.blocks() {
            let groups = block.groups();
            block.moments(len, scaling.epsilon, x, &mut sums, &mut numbers);
            for (group, numbers) in groups.zip(&numbers) {
                keep(saved, group, *numbers);
            }
            let map = block.map(&numbers, scaling, &mut near);
            for (x, y) in x.chunks(self.row()).zip(y.chunks_mut(self.row())) {
                let own = block.of(x.len());
                map.forward(scaling.relu, &x[own.clone()], &mut y[own]);
            }
        }
    }

    #[inline(always)]
    pub(super) fn backward<T: Element>(&self, len: usize, scaling: Scaling<'_, T>, tensors: Backward<'_, T>) {
        let Backward { x, saved, dy, mut dx, dgamma, dbeta } = tensors;
        let (mut plain, mut weighted) = ([0.0; SUMS], [0.0; SUMS]);
        let (mut means, mut inverses) = ([0.0; SPAN], [0.0; SPAN]);
        let (mut plains, mut products) = ([0.0; SPAN], [0.0; SPAN]);
        let mut numbers = [(0.0, 0.0); BLOCK];
        let mut near = [[T::ZERO; SPAN]; 4];
        let row = self.row();
        for block in self.blocks() {
            if saved.is_empty() {
                block.moments(len, scaling.epsilon, x, &mut plain, &mut numbers);
            } else {
                for (group, numbers) in block.groups().zip(&mut numbers) {
                    *numbers = kept(saved, group).unwrap_or_default();
                }
            }
            block.spread(|group| numbers[group].0, &mut means);
            block.spread(|group| numbers[group].1, &mut inverses);
            let map = block.map(&numbers, scaling, &mut near);
            let slopes = Slopes { mean: &means, inverse: &inverses, gamma: map.gamma };
            block.clear(&mut plain);
            block.clear(&mut weighted);
            let rows = x.chunks(row).zip(dy.chunks_mut(row));
            for (number, (x, dy)) in rows.enumerate() {
                let own = block.of(x.len());
                let (x, dy) = (&x[own.clone()], &mut dy[own]);
                if scaling.relu {
                    map.mask(x, dy);
                }
                let own = block.weights();
                slopes.weights(own.len(), x, dy, part(dgamma, own.clone()), part(dbeta, own));
                if dx.is_some() {
                    slopes.terms(x, dy, &mut plains, &mut products);
                    block.add(number, &plains[..x.len()], &means, &mut plain, |term, _| term);
                    block.add(number, &products[..x.len()], &means, &mut weighted, |term, _| term);
                }
            }
            let Some(dx) = dx.as_deref_mut() else { continue };
            for (sums, means) in [(&plain, &mut plains), (&weighted, &mut products)] {
                let totals = block.totals(sums);
                block.spread(|group| totals[group] / len as f64, means);
            }
            let rows = x.chunks(row).zip(dy.chunks(row));
            for ((x, dy), dx) in rows.zip(dx.chunks_mut(row)) {
                let own = block.of(x.len());
                slopes.input(&x[own.clone()], &dy[own.clone()], [&plains, &products], &mut dx[own]);
            }
        }
    }
}

/// Numbers that a block is summed up in at most: one for every chain and element of a position.
const SUMS: usize = CHAINS * BLOCK;

/// Some columns of all rows.
struct Block<'a> {
    layout: &'a Interleaved,
    columns: Range<usize>,
}

impl Block<'_> {
    /// Its part of a row of `len` elements; the last row may be shorter, where there is a single block.
    #[inline(always)]
    fn of(&self, len: usize) -> Range<usize> {
        self.columns.start.min(len)..self.columns.end.min(len)
    }

    /// Its weights, an element of a position each.
    #[inline(always)]
    fn weights(&self) -> Range<usize> {
        self.columns.start..self.columns.end.min(self.layout.channels)
    }

    /// Its groups.
    #[inline(always)]
    fn groups(&self) -> Range<usize> {
        self.weights().start / self.layout.own..self.weights().end / self.layout.own
    }

    /// Writes the value of each group, counted from the first of the block, to its columns.
    #[inline(always)]
    fn spread<V: Copy>(&self, value: impl Fn(usize) -> V, columns: &mut [V; SPAN]) {
        let groups = columns[..self.weights().len()].chunks_exact_mut(self.layout.own);
        groups.enumerate().for_each(|(group, columns)| columns.fill(value(group)));
        self.repeat(columns);
    }

    /// Copies what stands in the columns of the first position to those of the others.
    #[inline(always)]
    fn repeat<V: Copy>(&self, columns: &mut [V; SPAN]) {
        let width = self.weights().len();
        for first in (width..self.columns.len()).step_by(width) {
            columns.copy_within(..width, first);
        }
    }

    #[inline(always)]
    fn map<'m, T: Element>(
        &self,
        numbers: &[Moments],
        scaling: Scaling<'_, T>,
        near: &'m mut [[T; SPAN]; 4],
    ) -> Map<'m, T> {
        self.spread(|group| T::from_f64(numbers[group].0), &mut near[0]);
        self.spread(|group| T::from_f64(numbers[group].1), &mut near[1]);
        for (near, of) in near[2..].iter_mut().zip([scaling.gamma, scaling.beta]) {
            near[..self.weights().len()].copy_from_slice(&of[self.weights()]);
            self.repeat(near);
        }
        let [mean, inverse, gamma, beta] = &*near;
        Map { mean, inverse, gamma, beta }
    }

    #[inline(always)]
    fn clear(&self, sums: &mut [f64; SUMS]) {
        sums[..CHAINS * self.weights().len()].fill(0.0);
    }

    /// Adds the block of row `number`, each element with what stands for its column in `beside`, the same for a group.
    #[inline(always)]
    fn add<X: Copy>(
        &self,
        number: usize,
        x: &[X],
        beside: &[f64; SPAN],
        sums: &mut [f64; SUMS],
        term: impl Fn(X, f64) -> f64,
    ) {
        let Interleaved { own, positions, .. } = *self.layout;
        let width = self.weights().len();
        if let Some(period) = self.layout.period() {
            // A row is part of a period, or has several.
            let (length, rows) = (width * positions.min(period), period / positions.min(period));
            let sums = &mut sums[number % rows * length..][..length];
            for x in x.chunks(length) {
                let all = sums[..x.len()].iter_mut().zip(x).zip(&beside[..x.len()]);
                all.for_each(|((sum, x), beside)| *sum += term(*x, *beside));
            }
            return;
        }
        for (position, x) in x.chunks(width).enumerate() {
            let phase = (number * positions + position) * own % CHAINS;
            let groups = sums.as_chunks_mut().0.iter_mut().zip(x.chunks(own)).zip(beside.chunks(own));
            for ((sums, x), beside) in groups {
                add_to_chains(sums, phase, x, |x| term(x, beside[0]));
            }
        }
    }

    /// Sums over groups, counted from the first of the block, each chain by chain.
    #[inline(always)]
    fn totals(&self, sums: &[f64; SUMS]) -> [f64; BLOCK] {
        let own = self.layout.own;
        let width = self.weights().len();
        let mut totals = [0.0; BLOCK];
        for chain in 0..CHAINS {
            let (first, step) = match self.layout.period() {
                Some(_) => (chain / own * width + chain % own, own),
                None => (chain, CHAINS),
            };
            let groups = &mut totals[..width / own];
            if step == 1 {
                groups.iter_mut().zip(&sums[first..]).for_each(|(total, sum)| *total += *sum);
            } else {
                groups
                    .iter_mut()
                    .zip(sums[first..].iter().step_by(step))
                    .for_each(|(total, sum)| *total += *sum);
            }
        }
        totals
    }

    /// The moments of its groups.
    #[inline(always)]
    fn moments<T: Element>(
        &self,
        len: usize,
        epsilon: f64,
        x: &[T],
        sums: &mut [f64; SUMS],
        numbers: &mut [Moments; BLOCK],
    ) {
        let row = self.layout.row();
        let mut means = [0.0; SPAN];
        self.clear(sums);
        for (number, x) in x.chunks(row).enumerate() {
            self.add(number, &x[self.of(x.len())], &means, sums, |x, _| x.to_f64());
        }
        let totals = self.totals(sums);
        self.spread(|group| totals[group] / len as f64, &mut means);
        self.clear(sums);
        for (number, x) in x.chunks(row).enumerate() {
            self.add(number, &x[self.of(x.len())], &means, sums, |x, mean| {
                let apart = x.to_f64() - mean;
                apart * apart
            });
        }
        let squares = self.totals(sums);
        for (group, numbers) in numbers[..self.groups().len()].iter_mut().enumerate() {
            *numbers = moments(means[group * self.layout.own], squares[group], len, epsilon);
        }
    }
}
