//! Where tensors meet: sums, products, means and extrema of tensors of one shape, and tensors side by side.

use super::dot::{DotOp, UnitNorm};
use super::reshaping::RepeatOp;
use super::{Backward, Context, Keeps, Op, Size};
use crate::activation::mask_by_sign;
use crate::conv::Scratch;
use crate::engine::shape_text;
use crate::engine::spec::Merge;
use crate::error::{Error, Result};
use crate::kernels::{Element, Job, Tier};

/// How tensors meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Join {
    /// What becomes of them.
    pub kind: Merge,
    /// Whether axes of size 1, and leading ones that a tensor lacks, are stretched to the size of the others.
    pub stretches: bool,
}

/// Sizes of the result, without the batch; a size that only some inputs know is known.
///
/// # Errors
/// The inputs do not fit each other.
pub fn output_shape(join: Join, inputs: &[Vec<Size>]) -> Result<Vec<Size>> {
    let Join { kind, stretches } = join;
    let count = |expected: usize| match inputs.len() {
        n if n == expected => Ok(()),
        n => Err(Error::shape("", format!("{expected} inputs"), n)),
    };
    match kind {
        Merge::Dot { axes, .. } => {
            count(2)?;
            return super::dot::output_shape(axes, &inputs[0], &inputs[1]);
        }
        Merge::Subtract => count(2)?,
        _ => {}
    }
    let along = beside(kind, inputs[0].len())?;
    let stretches = stretches && along.is_none();
    let axes = if stretches { inputs.iter().map(Vec::len).max().unwrap_or(0) } else { inputs[0].len() };
    let mut shape = aligned(&inputs[0], axes);
    for (number, own) in inputs.iter().enumerate().skip(1) {
        let input = if stretches { aligned(own, axes) } else { own.clone() };
        let agree = |(axis, (a, b)): (usize, (&Size, &Size))| {
            let stretched = stretches && (*a == Some(1) || *b == Some(1));
            along == Some(axis) || stretched || a.is_none() || b.is_none() || a == b
        };
        if input.len() != axes || !shape.iter().zip(&input).enumerate().all(agree) {
            return Err(disagreement(join, along, number, &inputs[0], own));
        }
        for (axis, (size, other)) in shape.iter_mut().zip(&input).enumerate() {
            *size = match (*size, *other) {
                (a, b) if along == Some(axis) => a.zip(b).map(|(a, b)| a + b),
                (Some(1), b) if stretches => b,
                (a, Some(1)) if stretches => a,
                (a, b) => a.or(b),
            };
        }
    }
    Ok(shape)
}

/// The error of an input that does not fit the first one.
fn disagreement(join: Join, along: Option<usize>, number: usize, first: &[Size], own: &[Size]) -> Error {
    let last = first.len().checked_sub(1);
    let rule = match along {
        None => "equal shapes".to_string(),
        Some(axis) if Some(axis) == last => "shapes equal but for the channels".to_string(),
        Some(axis) => format!("shapes equal but for axis {}", axis + 1),
    };
    if join.stretches {
        let or = if along.is_none() { ", or sizes of 1," } else { "" };
        return Error::shape(
            format!("input {number}"),
            format!("{rule}{or} like {}", shape_text(first)),
            shape_text(own),
        );
    }
    let expected = format!("{rule} at the ends of the branches: {}", shape_text(first));
    Error::shape(format!("branch {number}"), expected, shape_text(own))
}

/// The axis of a sample along which tensors stand side by side, if they do.
fn beside(kind: Merge, axes: usize) -> Result<Option<usize>> {
    match kind {
        Merge::Concat => Ok(axes.checked_sub(1)),
        Merge::Concatenate { axis } => sample_axis(axis, axes, "axis").map(Some),
        _ => Ok(None),
    }
}

/// The axis of a sample that `axis` means, which counts the batch as 0 or is negative.
pub(super) fn sample_axis(axis: isize, axes: usize, argument: &str) -> Result<usize> {
    let at = if axis < 0 { axis + axes as isize } else { axis - 1 };
    usize::try_from(at).ok().filter(|&at| at < axes).ok_or_else(|| {
        Error::value(argument, format!("1 to {axes} or -{axes} to -1 (axis 0 is the batch)"), axis)
    })
}

/// A shape with leading sizes of 1, for `axes` axes.
fn aligned(shape: &[Size], axes: usize) -> Vec<Size> {
    let missing = axes.saturating_sub(shape.len());
    std::iter::repeat_n(Some(1), missing).chain(shape.iter().copied()).collect()
}

/// What an input goes through before it meets the others: it is stretched to the shape of the result, or normalised.
///
/// # Errors
/// An axis is not one of its own.
pub fn prepared<T: Element>(
    join: Join,
    number: usize,
    (input, output): (&[usize], &[usize]),
    tier: Tier,
) -> Result<Vec<Box<dyn Op<T>>>> {
    let mut ops: Vec<Box<dyn Op<T>>> = Vec::new();
    match join.kind {
        Merge::Dot { axes, normalize: true } => {
            let axis = sample_axis(if number == 0 { axes.0 } else { axes.1 }, input.len(), "axes")?;
            ops.push(Box::new(UnitNorm::new(input, axis)));
        }
        Merge::Dot { .. } | Merge::Concat | Merge::Concatenate { .. } => {}
        _ => {
            let missing = output.len().saturating_sub(input.len());
            let mut shape = vec![1; missing];
            shape.extend(input);
            // From the back, one op for every run of axes in a row.
            let mut end = shape.len();
            while end > 0 {
                let stretched = |axis: usize| shape[axis] == 1 && output[axis] != 1;
                let start = (0..end).rev().find(|&axis| !stretched(axis)).map_or(0, |axis| axis + 1);
                if start == end {
                    end -= 1;
                    continue;
                }
                let times: usize = output[start..end].iter().product();
                let inner: usize = shape[end..].iter().product();
                shape[start..end].copy_from_slice(&output[start..end]);
                ops.push(Box::new(RepeatOp { times, inner, len: shape.iter().product(), tier }));
                end = start;
            }
        }
    }
    Ok(ops)
}

/// The op for inputs of these sizes, which are prepared.
///
/// # Errors
/// An axis is not one of theirs.
pub fn op<T: Element>(kind: Merge, inputs: &[Vec<usize>], tier: Tier) -> Result<Box<dyn Op<T>>> {
    if let Merge::Dot { axes, .. } = kind {
        return Ok(Box::new(DotOp::new(axes, &inputs[0], &inputs[1])?));
    }
    let len = |shape: &Vec<usize>| shape.iter().product::<usize>();
    Ok(Box::new(match beside(kind, inputs[0].len())? {
        Some(axis) => {
            let blocks = inputs.iter().map(|shape| shape[axis..].iter().product()).collect();
            MergeOp { kind: Merge::Concat, blocks, len: inputs.iter().map(len).sum(), relu: false, tier }
        }
        None => MergeOp { kind, blocks: vec![0; inputs.len()], len: len(&inputs[0]), relu: false, tier },
    }))
}

/// An op that hands on what it reads.
pub fn copy<T: Element>(len: usize, tier: Tier) -> Box<dyn Op<T>> {
    Box::new(MergeOp { kind: Merge::Add, blocks: vec![0], len, relu: false, tier })
}

struct MergeOp {
    kind: Merge,
    /// Of every input, elements in a row of those that stand side by side.
    blocks: Vec<usize>,
    /// Elements of an output sample.
    len: usize,
    relu: bool,
    tier: Tier,
}

impl<T: Element> Op<T> for MergeOp {
    fn output_len(&self) -> usize {
        self.len
    }

    fn keeps(&self) -> Keeps {
        let input = matches!(self.kind, Merge::Multiply | Merge::Maximum | Merge::Minimum);
        Keeps { input, output: self.relu, saved: 0 }
    }

    fn take_relu(&mut self) -> bool {
        self.relu = true;
        true
    }

    fn forward(&self, _: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        if self.kind == Merge::Concat {
            let total: usize = self.blocks.iter().sum();
            let mut first = 0;
            for (x, &block) in x.iter().zip(&self.blocks) {
                for (x, y) in x.chunks_exact(block).zip(y.chunks_exact_mut(total)) {
                    y[first..first + block].copy_from_slice(x);
                }
                first += block;
            }
        } else {
            self.tier.vectorize(Forward { kind: self.kind, x, y });
        }
        if self.relu {
            self.tier.vectorize(Relu(y));
        }
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { x, y, dy, dx, .. } = tensors;
        if self.relu {
            mask_by_sign(self.tier, y, dy);
        }
        let total: usize = self.blocks.iter().sum();
        let mut first = 0;
        for (i, (dx, &block)) in dx.iter_mut().zip(&self.blocks).enumerate() {
            if let (Some(dx), Merge::Concat) = (dx.as_deref_mut(), self.kind) {
                for (dx, dy) in dx.chunks_exact_mut(block).zip(dy.chunks_exact(total)) {
                    dx.copy_from_slice(&dy[first..first + block]);
                }
            } else if let Some(dx) = dx.as_deref_mut() {
                self.tier.vectorize(Gradient { kind: self.kind, branches: self.blocks.len(), x, i, dy, dx });
            }
            first += block;
        }
    }
}

/// Of `a`, from an earlier branch, and `b`: the larger one, `a` of equals; NaN wins over everything.
#[inline(always)]
fn larger<T: Element>(a: T, b: T) -> T {
    if b > a || (b.is_nan() && !a.is_nan()) { b } else { a }
}

/// The smaller one, likewise.
#[inline(always)]
fn smaller<T: Element>(a: T, b: T) -> T {
    if b < a || (b.is_nan() && !a.is_nan()) { b } else { a }
}

struct Forward<'a, T> {
    kind: Merge,
    x: &'a [&'a [T]],
    y: &'a mut [T],
}

impl<T: Element> Job for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { kind, x, y } = self;
        let (first, rest) = (x[0], &x[1..]);
        match rest {
            [] => y.copy_from_slice(first),
            [second, rest @ ..] => {
                combine(kind, y, first, second);
                for x in rest {
                    extend(kind, y, x);
                }
            }
        }
        if kind == Merge::Average {
            let count = T::from_f64(x.len() as f64);
            y.iter_mut().for_each(|y| *y = y.div(count));
        }
    }
}

/// `y = an op b`
#[inline(always)]
fn combine<T: Element>(kind: Merge, y: &mut [T], a: &[T], b: &[T]) {
    let elements = y.iter_mut().zip(a).zip(b);
    match kind {
        Merge::Multiply => elements.for_each(|((y, a), b)| *y = a.mul(*b)),
        Merge::Maximum => elements.for_each(|((y, a), b)| *y = larger(*a, *b)),
        Merge::Minimum => elements.for_each(|((y, a), b)| *y = smaller(*a, *b)),
        Merge::Subtract => elements.for_each(|((y, a), b)| *y = a.sub(*b)),
        _ => elements.for_each(|((y, a), b)| *y = a.add(*b)),
    }
}

/// `y = y op x`
#[inline(always)]
fn extend<T: Element>(kind: Merge, y: &mut [T], x: &[T]) {
    let elements = y.iter_mut().zip(x);
    match kind {
        Merge::Multiply => elements.for_each(|(y, x)| *y = y.mul(*x)),
        Merge::Maximum => elements.for_each(|(y, x)| *y = larger(*y, *x)),
        Merge::Minimum => elements.for_each(|(y, x)| *y = smaller(*y, *x)),
        _ => elements.for_each(|(y, x)| *y += *x),
    }
}

struct Relu<'a, T>(&'a mut [T]);

impl<T: Element> Job for Relu<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.0.iter_mut().for_each(|y| *y = y.relu());
    }
}

/// The gradient to input `i`.
struct Gradient<'a, T> {
    kind: Merge,
    branches: usize,
    x: &'a [&'a [T]],
    i: usize,
    dy: &'a [T],
    dx: &'a mut [T],
}

impl<T: Element> Job for Gradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { kind, branches, x, i, dy, dx } = self;
        dx.copy_from_slice(dy);
        match kind {
            Merge::Subtract if i > 0 => dx.iter_mut().for_each(|dx| *dx = T::ZERO.sub(*dx)),
            Merge::Average => {
                let count = T::from_f64(branches as f64);
                dx.iter_mut().for_each(|dx| *dx = dx.div(count));
            }
            // The product of the others.
            Merge::Multiply => {
                for (_, x) in x.iter().enumerate().filter(|(j, _)| *j != i) {
                    dx.iter_mut().zip(*x).for_each(|(dx, x)| *dx = dx.mul(*x));
                }
            }
            Merge::Maximum => winners(x, i, dx, |a, b| a > b),
            Merge::Minimum => winners(x, i, dx, |a, b| a < b),
            _ => {}
        }
    }
}

/// Clears the gradient of input `i` where another one was taken. An earlier input wins from equals, a later one does
/// not.
#[inline(always)]
fn winners<T: Element>(x: &[&[T]], i: usize, dx: &mut [T], beats: impl Fn(T, T) -> bool + Copy) {
    let own = x[i];
    for (j, x) in x.iter().enumerate().filter(|(j, _)| *j != i) {
        for ((dx, own), x) in dx.iter_mut().zip(own).zip(*x) {
            let wins = if j < i {
                beats(*own, *x) || (own.is_nan() && !x.is_nan())
            } else {
                !(beats(*x, *own) || (x.is_nan() && !own.is_nan()))
            };
            *dx = if wins { *dx } else { T::ZERO };
        }
    }
}
