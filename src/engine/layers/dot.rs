//! Products summed over one axis of each of two tensors.

use super::merge::sample_axis;
use super::{Backward, Context, Keeps, Op, Size};
use crate::conv::Scratch;
use crate::engine::shape_text;
use crate::error::{Error, Result};
use crate::kernels::Element;

/// Norms are kept above this (Keras' epsilon).
const EPSILON: f64 = 1e-7;

/// Sizes of the result: the other axes of the first tensor, then those of the second; a single number if there are none.
pub(super) fn output_shape(axes: (isize, isize), a: &[Size], b: &[Size]) -> Result<Vec<Size>> {
    let (i, j) = (sample_axis(axes.0, a.len(), "axes")?, sample_axis(axes.1, b.len(), "axes")?);
    if a[i].zip(b[j]).is_some_and(|(a, b)| a != b) {
        let size = a[i].map_or_else(|| "None".to_string(), |n| n.to_string());
        let expected = format!("size {size} along axis {}, as input 0 has along axis {}", j + 1, i + 1);
        return Err(Error::shape("input 1", expected, shape_text(b)));
    }
    let mut output: Vec<Size> =
        [a[..i].to_vec(), a[i + 1..].to_vec(), b[..j].to_vec(), b[j + 1..].to_vec()].concat();
    if output.is_empty() {
        output.push(Some(1));
    }
    Ok(output)
}

/// A tensor as seen from one of its axes: the sizes before it, its own, and those after it.
#[derive(Debug, Clone, Copy)]
struct Around {
    outer: usize,
    size: usize,
    inner: usize,
}

impl Around {
    fn new(shape: &[usize], axis: usize) -> Self {
        let product = |sizes: &[usize]| sizes.iter().product();
        Self { outer: product(&shape[..axis]), size: shape[axis], inner: product(&shape[axis + 1..]) }
    }

    /// Elements of a sample.
    fn len(self) -> usize {
        self.rest() * self.size
    }

    /// Elements that share a place on the axis.
    fn rest(self) -> usize {
        self.outer * self.inner
    }

    /// Element `k` along the axis of number `r` of the rest.
    fn at(self, r: usize, k: usize) -> usize {
        (r / self.inner * self.size + k) * self.inner + r % self.inner
    }
}

pub(super) struct DotOp {
    a: Around,
    b: Around,
}

impl DotOp {
    pub(super) fn new(axes: (isize, isize), a: &[usize], b: &[usize]) -> Result<Self> {
        let (i, j) = (sample_axis(axes.0, a.len(), "axes")?, sample_axis(axes.1, b.len(), "axes")?);
        Ok(Self { a: Around::new(a, i), b: Around::new(b, j) })
    }
}

/// The gradient to the first of two factors.
fn gradient<T: Element>(
    (own, other): (Around, Around),
    x: &[T],
    dy: impl Fn(usize, usize) -> T,
    dx: &mut [T],
) {
    for r in 0..own.rest() {
        for k in 0..own.size {
            let mut sum = T::ZERO;
            for s in 0..other.rest() {
                sum += dy(r, s).mul(x[other.at(s, k)]);
            }
            dx[own.at(r, k)] = sum;
        }
    }
}

impl<T: Element> Op<T> for DotOp {
    fn output_len(&self) -> usize {
        self.a.rest() * self.b.rest()
    }

    fn keeps(&self) -> Keeps {
        Keeps { input: true, ..Keeps::default() }
    }

    fn forward(&self, _: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        let (a, b) = (self.a, self.b);
        let samples = x[0].chunks_exact(a.len()).zip(x[1].chunks_exact(b.len()));
        for ((first, second), y) in samples.zip(y.chunks_exact_mut(a.rest() * b.rest())) {
            for (r, y) in y.chunks_exact_mut(b.rest()).enumerate() {
                for (s, y) in y.iter_mut().enumerate() {
                    *y = T::ZERO;
                    for k in 0..a.size {
                        *y += first[a.at(r, k)].mul(second[b.at(s, k)]);
                    }
                }
            }
        }
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { x, dy, dx, .. } = tensors;
        let (a, b) = (self.a, self.b);
        let [da, db] = dx else { return };
        for (sample, dy) in dy.chunks_exact(a.rest() * b.rest()).enumerate() {
            let (first, second) =
                (sample * a.len()..(sample + 1) * a.len(), sample * b.len()..(sample + 1) * b.len());
            if let Some(da) = da.as_deref_mut() {
                gradient((a, b), &x[1][second.clone()], |r, s| dy[r * b.rest() + s], &mut da[first.clone()]);
            }
            if let Some(db) = db.as_deref_mut() {
                gradient((b, a), &x[0][first], |s, r| dy[r * b.rest() + s], &mut db[second]);
            }
        }
    }
}

/// Divides by the Euclidean norm along an axis.
pub(super) struct UnitNorm(Around);

impl UnitNorm {
    pub(super) fn new(shape: &[usize], axis: usize) -> Self {
        Self(Around::new(shape, axis))
    }

    /// One over the norm of number `r` of the rest, and whether that is the norm itself.
    fn scale<T: Element>(&self, x: &[T], r: usize) -> (f64, bool) {
        let square = |k| x[self.0.at(r, k)].to_f64().powi(2);
        let norm = (0..self.0.size).map(square).sum::<f64>().sqrt();
        if norm < EPSILON { (1.0 / EPSILON, false) } else { (1.0 / norm, true) }
    }
}

impl<T: Element> Op<T> for UnitNorm {
    fn output_len(&self) -> usize {
        self.0.len()
    }

    fn keeps(&self) -> Keeps {
        Keeps { input: true, ..Keeps::default() }
    }

    fn forward(&self, _: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        for (x, y) in x[0].chunks_exact(self.0.len()).zip(y.chunks_exact_mut(self.0.len())) {
            for r in 0..self.0.rest() {
                let (scale, _) = self.scale(x, r);
                for at in (0..self.0.size).map(|k| self.0.at(r, k)) {
                    y[at] = T::from_f64(x[at].to_f64() * scale);
                }
            }
        }
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { x, dy, dx: [Some(dx)], .. } = tensors else { return };
        let len = self.0.len();
        for ((x, dy), dx) in x[0].chunks_exact(len).zip(dy.chunks_exact(len)).zip(dx.chunks_exact_mut(len)) {
            for r in 0..self.0.rest() {
                let (scale, follows) = self.scale(x, r);
                let places = || (0..self.0.size).map(|k| self.0.at(r, k));
                let dot: f64 = places().map(|at| x[at].to_f64() * dy[at].to_f64()).sum();
                let back = if follows { dot * scale * scale } else { 0.0 };
                for at in places() {
                    dx[at] = T::from_f64(scale * (dy[at].to_f64() - x[at].to_f64() * back));
                }
            }
        }
    }
}
