//! Layers that arrange elements in another way. Those that only give a tensor another shape plan no op at all.

use super::{Backward, Context, Layer, Op, Site, Size, known};
use crate::conv::{Scratch, add_column_sums};
use crate::engine::shape_text;
use crate::error::{Error, Result};
use crate::kernels::{Element, Tier};
use crate::memory;

/// All axes but the batch become one.
pub(super) struct Flatten;

impl<T: Element> Layer<T> for Flatten {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        Ok(vec![known(input).map(|sizes| sizes.iter().product())])
    }

    fn ops(&self, _: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        Ok(Vec::new())
    }
}

/// Other sizes for the same elements in the same order; -1 stands for what is left.
pub(super) struct Reshape(pub(super) Vec<isize>);

impl<T: Element> Layer<T> for Reshape {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        let sizes = self.0.iter().filter_map(|&n| usize::try_from(n).ok());
        // More than can be counted is more than any input has.
        let given = sizes.fold(1usize, usize::saturating_mul);
        let open = self.0.contains(&-1);
        let left = match known(input).map(|sizes| sizes.iter().product::<usize>()) {
            None => None,
            Some(total) if open && given > 0 && total.is_multiple_of(given) => Some(total / given),
            Some(total) if !open && total == given => Some(1),
            Some(total) => {
                let expected = format!("as many elements as target_shape={:?} asks for", self.0);
                return Err(Error::shape("input", expected, total));
            }
        };
        Ok(self.0.iter().map(|&n| usize::try_from(n).map_or(left, Some)).collect())
    }

    fn ops(&self, _: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        Ok(Vec::new())
    }
}

/// The axes of a sample in another order.
pub(super) struct Permute {
    /// Axis of the input, from 0, for every axis of the output.
    axes: Vec<usize>,
}

impl Permute {
    pub(super) fn new(dims: &[usize]) -> Result<Self> {
        let mut sorted = dims.to_vec();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(1..=dims.len()) {
            return Err(Error::value("dims", "the numbers from 1 on, each once", format!("{dims:?}")));
        }
        Ok(Self { axes: dims.iter().map(|axis| axis - 1).collect() })
    }

    /// Element of the input for every element of the output.
    fn sources(&self, input: &[usize]) -> Result<Vec<usize>> {
        let stride = |axis: usize| input[axis + 1..].iter().product::<usize>();
        self.axes.iter().try_fold(memory::filled(0, 1)?, |sources, &axis| {
            let along = |source: usize| (0..input[axis]).map(move |i| source + i * stride(axis));
            memory::collect(sources.into_iter().flat_map(along))
        })
    }
}

/// The op that puts the axes of samples of sizes `input` into the order `axes`, counted from 0, on the way to another
/// op and back from it.
///
/// # Errors
/// There is no memory for the table of positions.
pub(super) fn permute_op<T: Element>(axes: &[usize], input: &[usize]) -> Result<Box<dyn Op<T>>> {
    let permute = Permute { axes: axes.to_vec() };
    Ok(Box::new(PermuteOp { sources: permute.sources(input)?, rearranges: false }))
}

impl<T: Element> Layer<T> for Permute {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        if input.len() != self.axes.len() {
            let expected = format!("{} axes and the batch, as dims has", self.axes.len());
            return Err(Error::shape("input", expected, shape_text(input)));
        }
        Ok(self.axes.iter().map(|&axis| input[axis]).collect())
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let positions = self.axes.len().saturating_sub(1);
        let rearranges = self.axes[..positions].windows(2).any(|pair| pair[0] > pair[1])
            || self.axes.last().is_some_and(|&last| last != positions);
        Ok(vec![Box::new(PermuteOp { sources: self.sources(site.input)?, rearranges })])
    }
}

struct PermuteOp {
    sources: Vec<usize>,
    /// Whether it is more than the identity.
    rearranges: bool,
}

impl<T: Element> Op<T> for PermuteOp {
    fn output_len(&self) -> usize {
        self.sources.len()
    }

    fn rearranges(&self) -> bool {
        self.rearranges
    }

    fn forward(&self, _: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        let n = self.sources.len();
        for (x, y) in x[0].chunks_exact(n).zip(y.chunks_exact_mut(n)) {
            y.iter_mut().zip(&self.sources).for_each(|(y, &source)| *y = x[source]);
        }
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { dy, dx: [Some(dx)], .. } = tensors else { return };
        let n = self.sources.len();
        for (dy, dx) in dy.chunks_exact(n).zip(dx.chunks_exact_mut(n)) {
            dy.iter().zip(&self.sources).for_each(|(dy, &source)| dx[source] = *dy);
        }
    }
}

/// A vector, several times.
pub(super) struct RepeatVector(pub(super) usize);

impl<T: Element> Layer<T> for RepeatVector {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        match input {
            [features] => Ok(vec![Some(self.0), *features]),
            _ => Err(Error::shape("input", "2 axes (batch, features)", shape_text(input))),
        }
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let (len, tier) = (site.input.iter().product(), site.kernels.tier);
        Ok(vec![Box::new(RepeatOp { times: self.0, inner: len, len: self.0 * len, tier })])
    }
}

/// Rows of `inner` elements, each several times.
pub(super) struct RepeatOp {
    pub(super) times: usize,
    pub(super) inner: usize,
    /// Elements of an output sample.
    pub(super) len: usize,
    pub(super) tier: Tier,
}

impl<T: Element> Op<T> for RepeatOp {
    fn output_len(&self) -> usize {
        self.len
    }

    fn forward(&self, _: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        for (x, y) in x[0].chunks_exact(self.inner).zip(y.chunks_exact_mut(self.times * self.inner)) {
            y.chunks_exact_mut(self.inner).for_each(|y| y.copy_from_slice(x));
        }
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { dy, dx: [Some(dx)], .. } = tensors else { return };
        for (dy, dx) in dy.chunks_exact(self.times * self.inner).zip(dx.chunks_exact_mut(self.inner)) {
            dx.fill(T::ZERO);
            add_column_sums(self.tier, dy, dx);
        }
    }
}
