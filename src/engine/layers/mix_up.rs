//! Mixing of samples (Zhang et al. 2018, "mixup: beyond empirical risk minimization", arXiv 1710.09412): each becomes `share` of itself and `1 - share` of another one of its batch.
//!
//! It works on whole batches, on the calling thread, as custom layers do: a copy of the inputs, no more.

use super::moving::{Mixes, Moves};
use super::{Backward, Context, CustomOutcome, Layer, Op, Random, Site, Size};
use crate::conv::Scratch;
use crate::error::Result;
use crate::kernels::{Element, math};
use crate::memory;
use crate::rng::{Purpose, Stream};

/// The description: shares are drawn from the beta distribution with both parameters `alpha`.
pub(super) struct MixUp {
    pub alpha: f64,
    pub seed: Option<u64>,
}

impl<T: Element> Layer<T> for MixUp {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        Ok(input.to_vec())
    }

    fn moves(&self) -> bool {
        true
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let (alpha, seed, layer) = (self.alpha, self.seed, site.layer);
        Ok(vec![Box::new(Mixer { len: site.input.iter().product(), alpha, seed, layer })])
    }
}

struct Mixer {
    len: usize,
    alpha: f64,
    seed: Option<u64>,
    layer: usize,
}

/// Stands for the batch among the numbers of samples.
const BATCH: u32 = u32::MAX;

/// The logarithm of a draw from the gamma distribution (Marsaglia and Tsang 2000, "A simple method for generating gamma
/// variables", doi 10.1145/358407.358414); blocks of the stream are used up from `block` on.
fn ln_gamma(stream: Stream, alpha: f64, block: &mut u64) -> f64 {
    let mut next = || {
        *block += 1;
        *block - 1
    };
    // Below 1 a draw for alpha + 1, times u^(1 / alpha).
    let boost = if alpha < 1.0 { math::ln(stream.uniforms(next())[0]) / alpha } else { 0.0 };
    let d = if alpha < 1.0 { alpha + 1.0 } else { alpha } - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let z = stream.normals(next())[0];
        let root = 1.0 + c * z;
        let u = stream.uniforms(next())[0];
        if root > 0.0 {
            let ln_v = 3.0 * math::ln(root);
            if math::ln(u) < 0.5 * z * z + d - d * root * root * root + d * ln_v {
                return math::ln(d) + ln_v + boost;
            }
        }
    }
}

impl Mixes for Mixer {
    fn mixture(&self, Random { seed, step }: Random, batch: usize) -> Vec<(usize, f64)> {
        let coordinate = (step << 16) ^ self.layer as u64;
        let seed = self.seed.unwrap_or(seed);
        let stream = |sample: u32| Stream::new(seed, Purpose::Dropout, coordinate, sample);
        let others = memory::demand(stream(BATCH).permutation(batch));
        let share = |sample: usize| {
            let (stream, mut block) = (stream(sample as u32), 0);
            let own = ln_gamma(stream, self.alpha, &mut block);
            math::sigmoid(own - ln_gamma(stream, self.alpha, &mut block))
        };
        others.into_iter().enumerate().map(|(sample, other)| (other as usize, share(sample))).collect()
    }
}

impl<T: Element> Op<T> for Mixer {
    fn output_len(&self) -> usize {
        self.len
    }

    fn idle_at_inference(&self) -> bool {
        true
    }

    fn moves(&self) -> Option<Moves<'_>> {
        Some(Moves::Samples(self))
    }

    fn forward(&self, cx: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        let Some(random) = cx.training else { return y.copy_from_slice(x[0]) };
        let len = self.len.max(1);
        let mixture = self.mixture(random, cx.samples);
        for ((y, own), (other, share)) in y.chunks_exact_mut(len).zip(x[0].chunks_exact(len)).zip(mixture) {
            let (share, rest) = (T::from_f64(share), T::from_f64(1.0 - share));
            let pairs = own.iter().zip(&x[0][other * len..][..len]);
            y.iter_mut().zip(pairs).for_each(|(y, (own, other))| *y = own.mul(share).add(other.mul(rest)));
        }
    }

    fn backward(&self, cx: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { dy, dx: [Some(dx)], .. } = tensors else { return };
        let Some(random) = cx.training else { return dx.copy_from_slice(dy) };
        let len = self.len.max(1);
        dx.fill(T::ZERO);
        for ((sample, dy), (other, share)) in
            dy.chunks_exact(len).enumerate().zip(self.mixture(random, cx.samples))
        {
            for (target, share) in [(sample, share), (other, 1.0 - share)] {
                let share = T::from_f64(share);
                let dx = dx[target * len..][..len].iter_mut();
                dx.zip(dy).for_each(|(dx, dy)| *dx += dy.mul(share));
            }
        }
    }

    fn custom(&self) -> Option<&dyn CustomOutcome> {
        Some(self)
    }
}

impl CustomOutcome for Mixer {
    fn outcome(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean 1/2 and variance `1 / (4 (2 alpha + 1))`.
    #[test]
    fn shares_are_of_the_beta_distribution() {
        for alpha in [0.05, 0.2, 1.0, 3.5] {
            let mixer = Mixer { len: 1, alpha, seed: None, layer: 3 };
            let draws = mixer.mixture(Random { seed: 5, step: 7 }, 20_000);
            let n = draws.len() as f64;
            let mean = draws.iter().map(|(_, share)| share).sum::<f64>() / n;
            let variance = draws.iter().map(|(_, share)| (share - 0.5) * (share - 0.5)).sum::<f64>() / n;
            assert!((mean - 0.5).abs() < 2.5 / n.sqrt(), "{alpha}: {mean}");
            let expected = 0.25 / (2.0 * alpha + 1.0);
            assert!((variance - expected).abs() < 0.05 * expected, "{alpha}: {variance}");
            assert!(draws.iter().all(|(_, share)| (0.0..=1.0).contains(share)));
            let mut others: Vec<usize> = draws.iter().map(|(other, _)| *other).collect();
            others.sort_unstable();
            assert!(others.into_iter().eq(0..20_000));
        }
    }
}
