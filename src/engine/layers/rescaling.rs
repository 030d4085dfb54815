//! Rescaling: `y = scale * x + offset`.

use super::{Backward, Context, Layer, Op, Site, Size};
use crate::conv::Scratch;
use crate::engine::shape_text;
use crate::engine::spec::PerChannel;
use crate::error::{Error, Result};
use crate::kernels::{Element, Job, Tier};

/// The description.
pub(super) struct Rescaling {
    scale: PerChannel,
    offset: PerChannel,
}

impl Rescaling {
    pub(super) fn new(scale: &PerChannel, offset: &PerChannel) -> Self {
        Self { scale: scale.clone(), offset: offset.clone() }
    }
}

/// As many numbers as there are channels.
fn spread<T: Element>(numbers: &PerChannel, channels: usize) -> Vec<T> {
    match numbers {
        PerChannel::One(number) => vec![T::from_f64(*number); channels],
        PerChannel::Each(numbers) => numbers.iter().map(|number| T::from_f64(*number)).collect(),
    }
}

impl<T: Element> Layer<T> for Rescaling {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        for (name, numbers) in [("scale", &self.scale), ("offset", &self.offset)] {
            if let PerChannel::Each(numbers) = numbers
                && input.last().copied().flatten() != Some(numbers.len())
            {
                let expected = format!("an input of {} channels, as {name} has numbers", numbers.len());
                return Err(Error::shape("input", expected, shape_text(input)));
            }
        }
        Ok(input.to_vec())
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let (len, tier) = (site.input.iter().product(), site.kernels.tier);
        if let (PerChannel::One(scale), PerChannel::One(offset)) = (&self.scale, &self.offset) {
            let (scale, offset) = (T::from_f64(*scale), T::from_f64(*offset));
            return Ok(vec![Box::new(Scale { len, scale, offset, tier })]);
        }
        let channels = site.input[site.input.len() - 1];
        let (scale, offset) = (spread(&self.scale, channels), spread(&self.offset, channels));
        Ok(vec![Box::new(ScaleChannels { len, scale, offset })])
    }
}

struct Scale<T> {
    len: usize,
    scale: T,
    offset: T,
    tier: Tier,
}

/// `to = scale * from + offset`, each operation rounded.
struct Affine<'a, T>(&'a [T], &'a mut [T], T, T);

impl<T: Element> Job for Affine<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self(from, to, scale, offset) = self;
        for (to, from) in to.iter_mut().zip(from) {
            *to = from.mul(scale).add(offset);
        }
    }
}

impl<T: Element> Op<T> for Scale<T> {
    fn output_len(&self) -> usize {
        self.len
    }

    fn forward(&self, _: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        self.tier.vectorize(Affine(x[0], y, self.scale, self.offset));
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        if let [Some(dx)] = tensors.dx {
            self.tier.vectorize(Affine(tensors.dy, dx, self.scale, T::ZERO));
        }
    }
}

/// The same with numbers of its own for every channel.
struct ScaleChannels<T> {
    len: usize,
    scale: Vec<T>,
    offset: Vec<T>,
}

impl<T: Element> Op<T> for ScaleChannels<T> {
    fn output_len(&self) -> usize {
        self.len
    }

    fn forward(&self, _: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        let channels = self.scale.len();
        for (x, y) in x[0].chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
            let numbers = self.scale.iter().zip(&self.offset);
            for ((y, x), (scale, offset)) in y.iter_mut().zip(x).zip(numbers) {
                *y = x.mul(*scale).add(*offset);
            }
        }
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { dy, dx: [Some(dx)], .. } = tensors else { return };
        let channels = self.scale.len();
        for (dy, dx) in dy.chunks_exact(channels).zip(dx.chunks_exact_mut(channels)) {
            dx.iter_mut().zip(dy).zip(&self.scale).for_each(|((dx, dy), scale)| *dx = dy.mul(*scale));
        }
    }
}
