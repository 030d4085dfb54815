//! A penalty on the values that pass by: `sum(l1 |x| + l2 x^2)` over the samples of a batch, divided by their number.

use super::{Backward, Context, Keeps, Layer, Op, Site, Size};
use crate::conv::Scratch;
use crate::engine::regularizers::PenaltySlope;
use crate::engine::spec::L1L2;
use crate::error::Result;
use crate::kernels::{Element, Tier};

/// The description.
pub(in crate::engine) struct Activity(pub L1L2);

impl<T: Element> Layer<T> for Activity {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        Ok(input.to_vec())
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let len = site.input.iter().product();
        Ok(vec![Box::new(Penalised { len, factors: self.0, tier: site.kernels.tier })])
    }
}

struct Penalised {
    len: usize,
    factors: L1L2,
    tier: Tier,
}

impl<T: Element> Op<T> for Penalised {
    fn output_len(&self) -> usize {
        self.len
    }

    fn keeps(&self) -> Keeps {
        Keeps { input: true, ..Keeps::default() }
    }

    fn activity(&self) -> Option<L1L2> {
        Some(self.factors)
    }

    fn forward(&self, _: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        y.copy_from_slice(x[0]);
    }

    fn backward(&self, cx: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { x, dy, dx: [Some(dx)], .. } = tensors else { return };
        dx.copy_from_slice(dy);
        let L1L2 { l1, l2 } = self.factors;
        let share = cx.batch as f64;
        let factors = L1L2 { l1: l1 / share, l2: l2 / share };
        self.tier.vectorize(PenaltySlope { factors, weights: x[0], grads: dx });
    }
}
