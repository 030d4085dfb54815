//! Where branches meet: sums, products, means and maxima of tensors of one shape, and channels side by side.

use super::{Backward, Context, Keeps, Op, Size};
use crate::activation::mask_by_sign;
use crate::conv::Scratch;
use crate::engine::shape_text;
use crate::engine::spec::Merge;
use crate::error::{Error, Result};
use crate::kernels::{Element, Job, Tier};

/// Sizes of the result, without the batch; a size that only some branches know is known.
///
/// # Errors
/// The branches do not fit each other.
pub fn output_shape(kind: Merge, inputs: &[Vec<Size>]) -> Result<Vec<Size>> {
    let mut shape = inputs[0].clone();
    let axes = shape.len();
    for (number, input) in inputs.iter().enumerate().skip(1) {
        let beside = |axis: usize| kind == Merge::Concat && axis + 1 == axes;
        let agree =
            |(axis, (a, b)): (usize, (&Size, &Size))| beside(axis) || a.is_none() || b.is_none() || a == b;
        if input.len() != axes || !shape.iter().zip(input).enumerate().all(agree) {
            let rule =
                if kind == Merge::Concat { "shapes equal but for the channels" } else { "equal shapes" };
            let expected = format!("{rule} at the ends of the branches: {}", shape_text(&inputs[0]));
            return Err(Error::shape(format!("branch {number}"), expected, shape_text(input)));
        }
        for (axis, (size, other)) in shape.iter_mut().zip(input).enumerate() {
            *size = if beside(axis) { size.zip(*other).map(|(a, b)| a + b) } else { size.or(*other) };
        }
    }
    Ok(shape)
}

/// The op for inputs of these sizes.
pub fn op<T: Element>(kind: Merge, inputs: &[Vec<usize>], tier: Tier) -> Box<dyn Op<T>> {
    let channels = inputs.iter().map(|shape| shape.last().copied().unwrap_or(1)).collect();
    let len = |shape: &Vec<usize>| shape.iter().product::<usize>();
    let len = if kind == Merge::Concat { inputs.iter().map(len).sum() } else { len(&inputs[0]) };
    Box::new(MergeOp { kind, channels, len, relu: false, tier })
}

struct MergeOp {
    kind: Merge,
    /// Channels of the inputs.
    channels: Vec<usize>,
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
        let input = matches!(self.kind, Merge::Multiply | Merge::Maximum);
        Keeps { input, output: self.relu, notes: 0 }
    }

    fn take_relu(&mut self) -> bool {
        self.relu = true;
        true
    }

    fn forward(&self, _: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        if self.kind == Merge::Concat {
            let total: usize = self.channels.iter().sum();
            let mut first = 0;
            for (x, &channels) in x.iter().zip(&self.channels) {
                for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(total)) {
                    y[first..first + channels].copy_from_slice(x);
                }
                first += channels;
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
        let total: usize = self.channels.iter().sum();
        let mut first = 0;
        for (i, (dx, &channels)) in dx.iter_mut().zip(&self.channels).enumerate() {
            if let (Some(dx), Merge::Concat) = (dx.as_deref_mut(), self.kind) {
                for (dx, dy) in dx.chunks_exact_mut(channels).zip(dy.chunks_exact(total)) {
                    dx.copy_from_slice(&dy[first..first + channels]);
                }
            } else if let Some(dx) = dx.as_deref_mut() {
                self.tier.vectorize(Gradient {
                    kind: self.kind,
                    branches: self.channels.len(),
                    x,
                    i,
                    dy,
                    dx,
                });
            }
            first += channels;
        }
    }
}

/// Of `a`, from a branch in front, and `b`: the larger one, `a` of equals; NaN wins over everything.
#[inline(always)]
fn larger<T: Element>(a: T, b: T) -> T {
    if b > a || (b.is_nan() && !a.is_nan()) { b } else { a }
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

/// `y = a op b`
#[inline(always)]
fn combine<T: Element>(kind: Merge, y: &mut [T], a: &[T], b: &[T]) {
    let elements = y.iter_mut().zip(a).zip(b);
    match kind {
        Merge::Multiply => elements.for_each(|((y, a), b)| *y = a.mul(*b)),
        Merge::Maximum => elements.for_each(|((y, a), b)| *y = larger(*a, *b)),
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
        _ => elements.for_each(|(y, x)| *y += *x),
    }
}

struct Relu<'a, T>(&'a mut [T]);

impl<T: Element> Job for Relu<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.0.iter_mut().for_each(|y| *y = if *y <= T::ZERO { T::ZERO } else { *y });
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
            Merge::Add | Merge::Concat => {}
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
            // A branch in front wins from equals, one behind does not.
            Merge::Maximum => {
                let own = x[i];
                for (j, x) in x.iter().enumerate().filter(|(j, _)| *j != i) {
                    for ((dx, own), x) in dx.iter_mut().zip(own).zip(*x) {
                        let wins = if j < i {
                            *own > *x || (own.is_nan() && !x.is_nan())
                        } else {
                            !(*x > *own || (x.is_nan() && !own.is_nan()))
                        };
                        *dx = if wins { *dx } else { T::ZERO };
                    }
                }
            }
        }
    }
}
