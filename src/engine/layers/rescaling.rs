//! Rescaling: `y = scale * x + offset`.

use super::{Backward, Context, Layer, Op, Site, Size};
use crate::conv::Scratch;
use crate::error::Result;
use crate::kernels::{Element, Job, Tier};

/// The description.
pub(super) struct Rescaling {
    scale: f64,
    offset: f64,
}

impl Rescaling {
    pub(super) fn new(scale: f64, offset: f64) -> Self {
        Self { scale, offset }
    }
}

impl<T: Element> Layer<T> for Rescaling {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        Ok(input.to_vec())
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        Ok(vec![Box::new(Scale {
            len: site.input.iter().product(),
            scale: T::from_f64(self.scale),
            offset: T::from_f64(self.offset),
            tier: site.kernels.tier,
        })])
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
