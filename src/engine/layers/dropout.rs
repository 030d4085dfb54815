//! Dropout (Srivastava et al. 2014, Journal of Machine Learning Research 15): in training, elements are zeroed with
//! probability `rate` and the others scaled by `1 / (1 - rate)`; or whole channels of a grid are (Tompson et al. 2015,
//! arXiv 1411.4280), or whatever a shape of the draws says.
//!
//! The mask is never stored: the backward pass draws the same counter-based numbers again.

use super::{Backward, Context, Layer, Op, Random, Site, Size, spatial};
use crate::conv::Scratch;
use crate::engine::shape_text;
use crate::error::{Error, Result};
use crate::kernels::{Element, Job, Tier};
use crate::memory;
use crate::rng::{Purpose, Stream};

/// The description.
pub(super) struct Dropout {
    rate: f64,
    seed: Option<u64>,
    units: Units,
}

/// What is dropped as a whole.
enum Units {
    /// Nothing: single elements are.
    Elements,
    /// Channels of a grid of this many axes.
    Channels(usize),
    /// Everything along the axes where this has 1, the batch being the first axis; None and the input's own size have a
    /// draw for each.
    Shape(Vec<Size>),
}

impl Dropout {
    pub(super) fn new(rate: f64, seed: Option<u64>, noise_shape: Option<&Vec<Size>>) -> Self {
        let units = noise_shape.map_or(Units::Elements, |shape| Units::Shape(shape.clone()));
        Self { rate, seed, units }
    }

    pub(super) fn channels(rate: f64, seed: Option<u64>, rank: usize) -> Self {
        Self { rate, seed, units: Units::Channels(rank) }
    }
}

impl<T: Element> Layer<T> for Dropout {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        match &self.units {
            Units::Elements => {}
            Units::Channels(rank) => {
                spatial(input, *rank)?;
            }
            Units::Shape(shape) => {
                let fits = |(own, size): (&Size, &Size)| match (own, size) {
                    (None | Some(1), _) => true,
                    (own, size) => own == size,
                };
                if shape.len() != input.len() + 1 || !shape[1..].iter().zip(input).all(fits) {
                    let expected = format!("1, None or the size of the input, {}", shape_text(input));
                    return Err(Error::shape("noise_shape", expected, format!("{shape:?}")));
                }
            }
        }
        Ok(input.to_vec())
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let len = site.input.iter().product();
        // An element is kept if its 32 random bits lie below this; 2^32 keeps all, and a rate of 1 keeps none.
        let keep_below = ((1.0 - self.rate) * 4_294_967_296.0).round() as u64;
        let scale = T::from_f64(if self.rate < 1.0 { 1.0 / (1.0 - self.rate) } else { 0.0 });
        Ok(vec![Box::new(Mask {
            len,
            period: match self.units {
                Units::Channels(_) => site.input[site.input.len() - 1].max(1),
                Units::Elements | Units::Shape(_) => len,
            },
            draws: match &self.units {
                Units::Shape(shape) => draws(&shape[1..], site.input)?,
                Units::Elements | Units::Channels(_) => Vec::new(),
            },
            alike: matches!(&self.units, Units::Shape(shape) if shape[0] == Some(1)),
            keep_below,
            scale,
            seed: self.seed,
            layer: site.layer,
            tier: site.kernels.tier,
        })])
    }
}

struct Mask<T> {
    len: usize,
    /// Elements after which the draws are used again.
    period: usize,
    /// The draw of every element of a sample; none where they follow each other.
    draws: Vec<u64>,
    /// Whether all samples have the same draws.
    alike: bool,
    keep_below: u64,
    scale: T,
    seed: Option<u64>,
    layer: usize,
    tier: Tier,
}

/// The number of the draw for every element of a sample of shape `input`, where axes with 1 in `shape` share one.
fn draws(shape: &[Size], input: &[usize]) -> Result<Vec<u64>> {
    let number = |element: usize| {
        let (mut rest, mut draw, mut stride) = (element, 0, 1);
        for (own, &size) in shape.iter().zip(input).rev() {
            if *own != Some(1) {
                draw += rest % size * stride;
                stride *= size;
            }
            rest /= size;
        }
        draw as u64
    };
    memory::collect((0..input.iter().product()).map(number))
}

struct Apply<'a, T> {
    stream: Stream,
    keep_below: u64,
    scale: T,
    from: &'a [T],
    to: &'a mut [T],
}

impl<T: Element> Job for Apply<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (block, (to, from)) in self.to.chunks_mut(4).zip(self.from.chunks(4)).enumerate() {
            let words = self.stream.block(block as u64);
            for ((to, from), word) in to.iter_mut().zip(from).zip(words) {
                *to = if u64::from(word) < self.keep_below { from.mul(self.scale) } else { T::ZERO };
            }
        }
    }
}

impl<T: Element> Mask<T> {
    fn apply(&self, cx: &Context<'_, T>, random: Random, from: &[T], to: &mut [T]) {
        let seed = self.seed.unwrap_or(random.seed);
        for (i, (from, to)) in from.chunks_exact(self.len).zip(to.chunks_exact_mut(self.len)).enumerate() {
            // Samples of an op are told apart by the second coordinate, layers and ops by the first.
            let coordinate = (random.step << 16) ^ self.layer as u64;
            let sample = if self.alike { 0 } else { (cx.first + i) as u32 };
            let stream = Stream::new(seed, Purpose::Dropout, coordinate, sample);
            if !self.draws.is_empty() {
                for ((from, to), draw) in from.iter().zip(to).zip(&self.draws) {
                    let word = stream.block(draw / 4)[(draw % 4) as usize];
                    *to = if u64::from(word) < self.keep_below { from.mul(self.scale) } else { T::ZERO };
                }
                continue;
            }
            for (from, to) in from.chunks(self.period).zip(to.chunks_mut(self.period)) {
                let (keep_below, scale, stream) = (self.keep_below, self.scale, stream);
                self.tier.vectorize(Apply { stream, keep_below, scale, from, to });
            }
        }
    }
}

impl<T: Element> Op<T> for Mask<T> {
    fn output_len(&self) -> usize {
        self.len
    }

    fn idle_at_inference(&self) -> bool {
        true
    }

    fn forward(&self, cx: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        match cx.training {
            Some(random) if self.len > 0 => self.apply(cx, random, x[0], y),
            _ => y.copy_from_slice(x[0]),
        }
    }

    fn backward(&self, cx: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let [Some(dx)] = tensors.dx else { return };
        match cx.training {
            Some(random) if self.len > 0 => self.apply(cx, random, tensors.dy, dx),
            _ => dx.copy_from_slice(tensors.dy),
        }
    }
}
