//! Normalisation inside a sample: every group of elements by its own moments, then a factor and a shift per weight.
//!
//! `y = (x - mean) / sqrt(variance + epsilon) * gamma + beta`, moments over a group of `n` elements, in float64 and in
//! two passes. With `xhat = (x - mean) / sqrt(variance + epsilon)` and `d = gamma * dy` the gradient to the input is
//! `(d - sum(d) / n - xhat * sum(d * xhat) / n) / sqrt(variance + epsilon)`.
//!
//! Loops follow the order in which elements lie: [`interleaved`] where groups lie side by side and few elements of one
//! follow each other, [`runs`] where many do, [`short`] where groups of a few elements follow each other, and [`table`] for
//! whatever is left. A group is summed up by the places of its elements in it, so that all of them give the same bytes.

mod interleaved;
mod runs;
mod short;
mod spans;
mod table;
#[cfg(test)]
mod tests;

use self::interleaved::Interleaved;
use self::runs::Runs;
use self::short::Short;
use self::table::Table;
use crate::kernels::{Element, Job, Tier};

/// Chains that a sum is cut into, so that additions do not wait for each other; the same on every tier. Element `i` of a
/// group belongs to chain `i % CHAINS`.
const CHAINS: usize = 16;
/// Elements from which on the moments of a group are worth keeping for the backward pass: they are 16 bytes.
const WORTH_KEEPING: usize = 64;
/// Bytes of a mean and of what is multiplied by.
const MOMENTS: usize = 2 * size_of::<f64>();

/// How the elements of a sample fall into groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    /// Groups of a sample.
    count: usize,
    /// Elements of a group.
    len: usize,
    layout: Layout,
}

/// Where the elements of a group are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Layout {
    Interleaved(Interleaved),
    Runs(Runs),
    Short(Short),
    Table(Table),
}

impl Groups {
    /// Plans groups over a sample of shape `sizes`: elements that differ only along axes that are `inside` are of one
    /// group. Elements that are equal along the axes `weighed` share a weight.
    pub fn new(sizes: &[usize], inside: &[bool], weighed: &[bool]) -> Self {
        Self::laid_out(sizes, inside, weighed).unwrap_or_else(|| Self::listed(sizes, inside, weighed))
    }

    /// The same with every element looked up, which is slow, and right for all shapes.
    fn listed(sizes: &[usize], inside: &[bool], weighed: &[bool]) -> Self {
        let count = (0..sizes.len()).filter(|&a| !inside[a]).map(|a| sizes[a]).product();
        let len = (0..sizes.len()).filter(|&a| inside[a]).map(|a| sizes[a]).product();
        Self { count, len, layout: Layout::Table(Table::new(sizes, inside, weighed, len)) }
    }

    /// The same where the axes are, in this order: one or none that runs through either positions of a group or groups
    /// that share weights, one or none through groups that have their own, one or none through the elements of a group.
    fn laid_out(sizes: &[usize], inside: &[bool], weighed: &[bool]) -> Option<Self> {
        // Axes of one kind that follow each other are one axis.
        let mut axes: Vec<(usize, [bool; 2])> = Vec::new();
        for axis in (0..sizes.len()).filter(|&axis| sizes[axis] != 1) {
            let kind = [inside[axis], weighed[axis]];
            match axes.last_mut() {
                Some((size, last)) if *last == kind => *size *= sizes[axis],
                _ => axes.push((sizes[axis], kind)),
            }
        }
        let mut rest = axes.into_iter().peekable();
        let mut take = |kind: [bool; 2]| rest.next_if(|(_, own)| *own == kind).map_or(1, |(size, _)| size);
        let (positions, alike) = (take([true, false]), take([false, false]));
        let (side, run) = (take([false, true]), take([true, true]));
        if rest.next().is_some() || (positions > 1 && alike > 1) {
            return None;
        }
        let layout = if positions > 1 && run <= interleaved::BLOCK {
            Layout::Interleaved(Interleaved::new(side, run))
        } else if positions == 1 && side == 1 && (1..=short::LONGEST).contains(&run) {
            Layout::Short(Short { len: run })
        } else {
            Layout::Runs(Runs { runs: positions, run, side })
        };
        Some(Self { count: alike * side, len: positions * run, layout })
    }

    /// Bytes that the forward pass writes down for the backward pass.
    pub fn saved_len(&self) -> usize {
        if self.len >= WORTH_KEEPING { self.count * MOMENTS } else { 0 }
    }

    /// One sample forward; writes down [`Groups::saved_len`] bytes if there is room for any.
    pub fn forward<T: Element>(
        &self,
        tier: Tier,
        scaling: Scaling<'_, T>,
        x: &[T],
        y: &mut [T],
        saved: &mut [u8],
    ) {
        tier.vectorize(Forward { groups: self, scaling, x, y, saved });
    }

    /// One sample backward; adds to the gradients of `gamma` and `beta`, which are empty where those are missing.
    pub fn backward<T: Element>(&self, tier: Tier, scaling: Scaling<'_, T>, tensors: Backward<'_, T>) {
        tier.vectorize(Back { groups: self, scaling, tensors });
    }
}

/// What is done with elements beside the moments.
#[derive(Debug, Clone, Copy)]
pub struct Scaling<'a, T> {
    /// What is added to the variance.
    pub epsilon: f64,
    /// The factor of every weight.
    pub gamma: &'a [T],
    /// What is added to the product; -0 where nothing is, which leaves even the sign of a zero alone.
    pub beta: &'a [T],
    /// Whether negative results become zero.
    pub relu: bool,
}

/// Tensors of a sample's backward pass.
#[derive(Debug)]
pub struct Backward<'a, T> {
    /// The input.
    pub x: &'a [T],
    /// What the forward pass wrote down; empty if it did not.
    pub saved: &'a [u8],
    /// Gradient of the output; where a ReLU followed it is masked, and stays so.
    pub dy: &'a mut [T],
    /// Gradient of the input, if it is wanted.
    pub dx: Option<&'a mut [T]>,
    /// Gradient of the factors, to be added to.
    pub dgamma: &'a mut [T],
    /// Gradient of the shifts, to be added to.
    pub dbeta: &'a mut [T],
}

/// Mean of a group and `1 / sqrt(variance + epsilon)`.
type Moments = (f64, f64);

/// The moments from the sum of squared deviations.
#[inline(always)]
fn moments(mean: f64, squares: f64, len: usize, epsilon: f64) -> Moments {
    (mean, 1.0 / (squares / len as f64 + epsilon).sqrt())
}

/// Writes down the moments of a group, where there is room.
#[inline(always)]
fn keep(saved: &mut [u8], group: usize, (mean, inverse): Moments) {
    if let Some(own) = saved.get_mut(group * MOMENTS..(group + 1) * MOMENTS) {
        let (first, second) = own.split_at_mut(size_of::<f64>());
        first.copy_from_slice(&mean.to_ne_bytes());
        second.copy_from_slice(&inverse.to_ne_bytes());
    }
}

/// What was written down of a group, if it was.
#[inline(always)]
fn kept(saved: &[u8], group: usize) -> Option<Moments> {
    let (numbers, _) = saved.get(group * MOMENTS..(group + 1) * MOMENTS)?.as_chunks();
    Some((f64::from_ne_bytes(numbers[0]), f64::from_ne_bytes(numbers[1])))
}

struct Forward<'a, T> {
    groups: &'a Groups,
    scaling: Scaling<'a, T>,
    x: &'a [T],
    y: &'a mut [T],
    saved: &'a mut [u8],
}

impl<T: Element> Job for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { groups: Groups { count, len, layout }, scaling, x, y, saved } = self;
        match layout {
            Layout::Interleaved(layout) => layout.forward(*len, scaling, x, y, saved),
            Layout::Runs(layout) => layout.forward(*count, scaling, x, y, saved),
            Layout::Short(layout) => layout.forward(scaling, x, y, saved),
            Layout::Table(layout) => layout.forward(*len, scaling, x, y, saved),
        }
    }
}

struct Back<'a, 'b, T> {
    groups: &'a Groups,
    scaling: Scaling<'a, T>,
    tensors: Backward<'b, T>,
}

impl<T: Element> Job for Back<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { groups: Groups { count, len, layout }, scaling, tensors } = self;
        match layout {
            Layout::Interleaved(layout) => layout.backward(*len, scaling, tensors),
            Layout::Runs(layout) => layout.backward(*count, scaling, tensors),
            Layout::Short(layout) => layout.backward(scaling, tensors),
            Layout::Table(layout) => layout.backward(*len, scaling, tensors),
        }
    }
}
