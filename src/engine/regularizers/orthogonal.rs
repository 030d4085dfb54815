//! A penalty on the rows, or columns, of a matrix for the angles between them, as Keras' `OrthogonalRegularizer`.
//!
//! With vectors `v_i`, their directions `n_i = v_i / |v_i|`, the products `p_ij = n_i . n_j` and `s_ij = sign(p_ij)`
//!
//! ```text
//! penalty = price * sum_{i < j} |p_ij|,   price = factor / (n (n - 1) / 2)
//! d penalty / d v_i = price / |v_i| * (sum_{j != i} s_ij n_j - n_i sum_{j != i} |p_ij|)
//! ```
//!
//! Both need the products of all pairs, so that they are found together, once for every change of the weights.

use std::ops::Range;

use serde::Deserialize;

use crate::engine::constraints::EPSILON;
use crate::error::{Error, Result};
use crate::kernels::{Element, Job, Tier};
use crate::memory;
use crate::parallel::Interrupt;
use crate::tuning::INTERRUPT_WORK;

/// The description.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Orthogonal {
    /// Price of the mean of the absolute products.
    pub factor: f64,
    /// Which vectors are compared.
    pub mode: Mode,
}

/// The vectors of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Along the last axis.
    Rows,
    /// Along the first.
    Columns,
}

impl Orthogonal {
    /// Checks the shape of a weight.
    ///
    /// # Errors
    /// It is no matrix.
    pub(super) fn check(shape: &[usize]) -> Result<()> {
        match shape {
            [_, _] => Ok(()),
            _ => Err(Error::shape("OrthogonalRegularizer", "a weight of 2 axes", format!("shape {shape:?}"))),
        }
    }
}

/// What is found for one weight; its memory is kept from step to step.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Angles<T> {
    /// Directions, one after the other.
    directions: Vec<f64>,
    /// Sums of the directions of the others, with the signs of the products.
    pulls: Vec<f64>,
    /// Of every vector: 1 / length, and the sum of the absolute products.
    sums: Vec<(f64, f64)>,
    /// Gradient of the penalty, laid out as the weight.
    pub gradient: Vec<T>,
}

impl<T: Element> Angles<T> {
    /// Finds the gradient for a matrix; returns the penalty.
    ///
    /// # Errors
    /// An interrupt.
    pub(in crate::engine) fn find(
        &mut self,
        Orthogonal { factor, mode }: Orthogonal,
        (weights, shape): (&[T], &[usize]),
        tier: Tier,
        interrupt: Interrupt<'_>,
    ) -> Result<f64> {
        let [rows, columns] = *shape else { return Orthogonal::check(shape).map(|()| 0.0) };
        let (count, len) = match mode {
            Mode::Rows => (rows, columns),
            Mode::Columns => (columns, rows),
        };
        // Element k of vector i.
        let at = |i: usize, k: usize| match mode {
            Mode::Rows => i * columns + k,
            Mode::Columns => k * columns + i,
        };
        let Self { directions, pulls, sums, gradient } = self;
        memory::resize(directions, weights.len(), 0.0)?;
        memory::resize(gradient, weights.len(), T::ZERO)?;
        pulls.clear();
        memory::resize(pulls, weights.len(), 0.0)?;
        sums.clear();
        memory::resize(sums, count, (0.0, 0.0))?;
        sums.clear();
        for (i, direction) in directions.chunks_exact_mut(len.max(1)).enumerate() {
            for (k, n) in direction.iter_mut().enumerate() {
                *n = weights[at(i, k)].to_f64();
            }
            let inverse = (1.0 / dot(direction, direction).sqrt()).min(1.0 / EPSILON);
            direction.iter_mut().for_each(|n| *n *= inverse);
            sums.push((inverse, 0.0));
        }
        let mut total = 0.0;
        let vectors_at_once = (INTERRUPT_WORK / weights.len().max(1)).max(1);
        for first in (0..count).step_by(vectors_at_once) {
            let vectors = first..(first + vectors_at_once).min(count);
            total += tier.vectorize(Compare { vectors, len, directions, pulls, sums });
            if interrupt() {
                return Err(Error::Interrupted);
            }
        }
        // A single vector has nothing to be compared with.
        let price = if count > 1 { factor / (count as f64 * (count as f64 - 1.0) / 2.0) } else { 0.0 };
        for (i, &(inverse, sum)) in sums.iter().enumerate() {
            // The length of a vector that is all but zero is taken as constant.
            let sum = if inverse < 1.0 / EPSILON { sum } else { 0.0 };
            let vector = i * len..(i + 1) * len;
            for (k, (n, pull)) in directions[vector.clone()].iter().zip(&pulls[vector]).enumerate() {
                gradient[at(i, k)] = T::from_f64(price * inverse * (pull - n * sum));
            }
        }
        Ok(price * total)
    }
}

/// Compares some vectors with all after them; returns the sum of the absolute products.
struct Compare<'a> {
    vectors: Range<usize>,
    len: usize,
    directions: &'a [f64],
    pulls: &'a mut [f64],
    sums: &'a mut [(f64, f64)],
}

impl Job for Compare<'_> {
    type Output = f64;
    #[inline(always)]
    fn run(self) -> f64 {
        let Self { vectors, len, directions, pulls, sums } = self;
        let vector = |i: usize| i * len..(i + 1) * len;
        let mut total = 0.0;
        for i in vectors {
            for j in i + 1..sums.len() {
                let product = dot(&directions[vector(i)], &directions[vector(j)]);
                total += product.abs();
                sums[i].1 += product.abs();
                sums[j].1 += product.abs();
                if product != 0.0 {
                    add(product.signum(), &directions[vector(j)], &mut pulls[vector(i)]);
                    add(product.signum(), &directions[vector(i)], &mut pulls[vector(j)]);
                }
            }
        }
        total
    }
}

/// The product of two vectors: eight chains, added in their order, whatever the tier.
#[inline(always)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

/// `to += sign * from`
#[inline(always)]
fn add(sign: f64, from: &[f64], to: &mut [f64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += sign * from;
    }
}
