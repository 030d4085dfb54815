//! Layers that extend, crop or upsample the grid.

use super::{Backward, Context, Layer, Op, Site, Size, spatial};
use crate::conv::Scratch;
use crate::engine::spec::Interpolation;
use crate::error::{Error, Result};
use crate::geometry::{PaddingMode, cropped_size, padded_size, upsampled_size};
use crate::kernels::Element;
use crate::pad::{Gather, Sources};
use crate::resize::Bilinear;

/// What happens along every axis.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Pad(Vec<(usize, usize)>, PaddingMode),
    Crop(Vec<(usize, usize)>),
    Repeat(Vec<usize>),
    Blend(Vec<usize>),
}

/// The description of a layer that changes the size of the grid.
pub(super) struct Regrid {
    kind: Kind,
    rank: usize,
}

impl Regrid {
    pub(super) fn pad(pairs: &[(usize, usize)], mode: PaddingMode, rank: usize) -> Result<Self> {
        Self::new(Kind::Pad(pairs.to_vec(), mode), pairs.len(), rank)
    }

    pub(super) fn crop(pairs: &[(usize, usize)], rank: usize) -> Result<Self> {
        Self::new(Kind::Crop(pairs.to_vec()), pairs.len(), rank)
    }

    pub(super) fn upsample(factors: &[usize], interpolation: Interpolation, rank: usize) -> Result<Self> {
        let kind = match interpolation {
            Interpolation::Nearest => Kind::Repeat(factors.to_vec()),
            Interpolation::Bilinear if rank == 2 => Kind::Blend(factors.to_vec()),
            Interpolation::Bilinear => {
                return Err(Error::value(
                    "interpolation",
                    "\"bilinear\" for images only",
                    format!("{rank} axes"),
                ));
            }
        };
        Self::new(kind, factors.len(), rank)
    }

    fn new(kind: Kind, given: usize, rank: usize) -> Result<Self> {
        if given != rank {
            return Err(Error::value("", format!("{rank} spatial axes"), given));
        }
        Ok(Self { kind, rank })
    }

    fn size(&self, axis: usize, input: usize) -> Result<usize> {
        match &self.kind {
            Kind::Pad(pairs, mode) => padded_size(input, pairs[axis], *mode),
            Kind::Crop(pairs) => cropped_size(input, pairs[axis]),
            Kind::Repeat(factors) | Kind::Blend(factors) => upsampled_size(input, factors[axis]),
        }
    }

    fn sources(&self, axis: usize, input: usize) -> Result<Sources> {
        match &self.kind {
            Kind::Pad(pairs, mode) => Sources::padded(input, pairs[axis], *mode),
            Kind::Crop(pairs) => Sources::cropped(input, pairs[axis]),
            Kind::Repeat(factors) | Kind::Blend(factors) => Sources::repeated(input, factors[axis]),
        }
    }
}

impl<T: Element> Layer<T> for Regrid {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        let (sizes, channels) = spatial(input, self.rank)?;
        let sizes = sizes.iter().enumerate().map(|(axis, size)| size.map(|n| self.size(axis, n)).transpose());
        sizes.chain([Ok(channels)]).collect()
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let (sizes, channels) = site.input.split_at(self.rank);
        if let (Kind::Blend(factors), &[h, w]) = (&self.kind, sizes) {
            let plan = Bilinear::new([h, w], [factors[0], factors[1]], channels[0], site.kernels.tier)?;
            return Ok(vec![Box::new(BlendOp { plan })]);
        }
        let axes = sizes.iter().enumerate().map(|(axis, &n)| self.sources(axis, n));
        Ok(vec![Box::new(GatherOp { plan: Gather::new(axes.collect::<Result<_>>()?, channels[0]) })])
    }
}

struct GatherOp {
    plan: Gather,
}

impl GatherOp {
    fn input_len(&self) -> usize {
        self.plan.input_rows() * self.plan.input_row_len()
    }
}

impl<T: Element> Op<T> for GatherOp {
    fn output_len(&self) -> usize {
        self.plan.rows() * self.plan.row_len()
    }

    fn forward(&self, _: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        let (x_len, y_len) = (self.input_len(), Op::<T>::output_len(self));
        for (x, y) in x[0].chunks_exact(x_len).zip(y.chunks_exact_mut(y_len)) {
            self.plan.forward(x, y, 0..self.plan.rows());
        }
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { dy, dx: [Some(dx)], .. } = tensors else { return };
        let (x_len, y_len) = (self.input_len(), Op::<T>::output_len(self));
        for (dy, dx) in dy.chunks_exact(y_len).zip(dx.chunks_exact_mut(x_len)) {
            self.plan.backward(dy, dx, 0..self.plan.input_rows());
        }
    }
}

struct BlendOp<T> {
    plan: Bilinear<T>,
}

impl<T: Element> Op<T> for BlendOp<T> {
    fn output_len(&self) -> usize {
        self.plan.output_len()
    }

    fn forward(&self, _: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        for (x, y) in x[0].chunks_exact(self.plan.input_len()).zip(y.chunks_exact_mut(self.plan.output_len()))
        {
            self.plan.forward(x, y, 0..self.plan.rows());
        }
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { dy, dx: [Some(dx)], .. } = tensors else { return };
        for (dy, dx) in
            dy.chunks_exact(self.plan.output_len()).zip(dx.chunks_exact_mut(self.plan.input_len()))
        {
            self.plan.backward(dy, dx);
        }
    }
}
