//! Values of every sample changed in training, positions kept: brightness, contrast, a part that is erased.
//!
//! The draws are never stored, as in [`super::augment`].

use super::moving::Draw;
use super::{Backward, Context, Keeps, Layer, Op, Random, Site, Size};
use crate::conv::Scratch;
use crate::engine::shape_text;
use crate::error::{Error, Result};
use crate::kernels::{Element, math};
use crate::rng::{Purpose, Stream};

/// What is changed.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// A number is added: a share of the range of values, drawn from these.
    Brightness { shares: (f64, f64) },
    /// The distance of values to the mean of their channel is multiplied by a number drawn from these.
    Contrast { factors: (f64, f64) },
    /// A box is filled, with a probability drawn from these; its share of the sample is drawn from others.
    Erasing {
        probabilities: (f64, f64),
        shares: (f64, f64),
        /// One value, or one a channel; None is noise.
        fill: Option<Vec<f64>>,
    },
}

/// The description.
#[derive(Debug, Clone)]
pub(super) struct Colour {
    pub change: Change,
    /// Where values are kept.
    pub range: (f64, f64),
    pub seed: Option<u64>,
}

impl<T: Element> Layer<T> for Colour {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        if let Change::Erasing { fill, .. } = &self.change {
            if !(2..=4).contains(&input.len()) {
                let expected = "1 to 3 spatial axes between batch and channels";
                return Err(Error::shape("input", expected, shape_text(input)));
            }
            let channels = input.last().copied().flatten();
            if let (Some(fill), Some(channels)) = (fill, channels)
                && fill.len() > 1
                && fill.len() != channels
            {
                let expected = format!("one number, or one for each of the {channels} channels");
                return Err(Error::value("fill_value", expected, format!("{} numbers", fill.len())));
            }
        }
        Ok(input.to_vec())
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let [sizes @ .., channels] = site.input else { return Ok(Vec::new()) };
        Ok(vec![Box::new(ColourOp {
            colour: self.clone(),
            sizes: sizes.to_vec(),
            channels: *channels,
            layer: site.layer,
        })])
    }
}

struct ColourOp {
    colour: Colour,
    sizes: Vec<usize>,
    channels: usize,
    layer: usize,
}

/// The box that is erased from a sample: where it begins and ends along every axis.
type Part = [(f64, f64); 3];

impl ColourOp {
    fn len(&self) -> usize {
        self.sizes.iter().product::<usize>() * self.channels
    }

    fn stream(&self, Draw { random, sample }: Draw) -> Option<Stream> {
        let Random { seed, step } = random?;
        let coordinate = (step << 16) ^ self.layer as u64;
        let seed = self.colour.seed.unwrap_or(seed);
        Some(Stream::new(seed, Purpose::Dropout, coordinate, sample as u32))
    }

    fn clip(&self, x: f64) -> f64 {
        x.clamp(self.colour.range.0, self.colour.range.1)
    }

    /// Whether a value is not clipped.
    fn free(&self, x: f64) -> bool {
        x >= self.colour.range.0 && x <= self.colour.range.1
    }

    /// The means of the channels of a sample.
    fn means<T: Element>(&self, x: &[T], counts: impl Fn(usize, usize) -> bool) -> Vec<f64> {
        let mut sums = vec![0.0; self.channels];
        let mut channel = 0;
        for (at, x) in x.iter().enumerate() {
            sums[channel] += if counts(at, channel) { x.to_f64() } else { 0.0 };
            channel = self.next(channel);
        }
        let positions = (x.len() / self.channels.max(1)).max(1) as f64;
        sums.iter().map(|sum| sum / positions).collect()
    }

    /// The channel after one.
    fn next(&self, channel: usize) -> usize {
        if channel + 1 == self.channels { 0 } else { channel + 1 }
    }

    /// The box that is erased, if one is.
    fn part(&self, probabilities: (f64, f64), shares: (f64, f64), stream: Stream) -> Option<Part> {
        let between = |(low, high): (f64, f64), draw: f64| low + (high - low) * draw;
        let [threshold, probability] = stream.uniforms(0);
        if threshold >= between(probabilities, probability) {
            return None;
        }
        let rank = self.sizes.len();
        let mut part = [(0.0, 1.0); 3];
        for (axis, &size) in self.sizes.iter().enumerate() {
            let [side, start] = stream.uniforms(1 + axis as u64);
            // Sides whose product has the share that is wanted.
            let share = between(shares, side);
            let share = match rank {
                1 => share,
                2 => share.sqrt(),
                _ => math::pow(share, 1.0 / 3.0),
            };
            let length = share * size as f64;
            let start = start * (size as f64 - length);
            part[3 - rank + axis] = (start, start + length);
        }
        Some(part)
    }

    /// Calls `change` with the first element of every position of a box.
    fn within(&self, part: &Part, mut change: impl FnMut(usize)) {
        let mut grid = [1; 3];
        grid.iter_mut().rev().zip(self.sizes.iter().rev()).for_each(|(to, from)| *to = *from);
        let range = |axis: usize| {
            let (start, end) = part[axis];
            start.ceil() as usize..(end.ceil() as usize).min(grid[axis])
        };
        for slice in range(0) {
            for row in range(1) {
                for column in range(2) {
                    change(((slice * grid[1] + row) * grid[2] + column) * self.channels);
                }
            }
        }
    }

    fn change<T: Element>(&self, x: &[T], y: &mut [T], stream: Stream) {
        let between = |(low, high): (f64, f64), draw: f64| low + (high - low) * draw;
        let c = self.channels;
        match &self.colour.change {
            Change::Brightness { shares } => {
                let shift = self.shift(*shares, stream);
                y.iter_mut().zip(x).for_each(|(y, x)| *y = T::from_f64(self.clip(x.to_f64() + shift)));
            }
            Change::Contrast { factors } => {
                let (factor, means) = (between(*factors, stream.uniforms(0)[0]), self.means(x, |_, _| true));
                let mut channel = 0;
                for (y, x) in y.iter_mut().zip(x) {
                    let mean = means[channel];
                    *y = T::from_f64(self.clip((x.to_f64() - mean) * factor + mean));
                    channel = self.next(channel);
                }
            }
            Change::Erasing { probabilities, shares, fill } => {
                y.copy_from_slice(x);
                let Some(part) = self.part(*probabilities, *shares, stream) else { return };
                self.within(&part, |first| {
                    for (i, y) in y[first..first + c].iter_mut().enumerate() {
                        let value = match fill.as_deref() {
                            Some([value]) => *value,
                            Some(values) => values[i],
                            // After the draws of the box.
                            None => {
                                let element = (first + i) as u64;
                                stream.normals(8 + element / 2)[(element % 2) as usize] * self.colour.range.1
                            }
                        };
                        *y = T::from_f64(self.clip(value));
                    }
                });
            }
        }
    }

    fn shift(&self, shares: (f64, f64), stream: Stream) -> f64 {
        let (low, high) = self.colour.range;
        (shares.0 + (shares.1 - shares.0) * stream.uniforms(0)[0]) * (high - low)
    }

    fn gradient<T: Element>(&self, x: &[T], dy: &[T], dx: &mut [T], stream: Stream) {
        let c = self.channels;
        match &self.colour.change {
            Change::Brightness { shares } => {
                let shift = self.shift(*shares, stream);
                for ((dx, dy), x) in dx.iter_mut().zip(dy).zip(x) {
                    *dx = if self.free(x.to_f64() + shift) { *dy } else { T::ZERO };
                }
            }
            Change::Contrast { factors } => {
                let factor = factors.0 + (factors.1 - factors.0) * stream.uniforms(0)[0];
                let means = self.means(x, |_, _| true);
                let free = |at: usize, channel: usize| {
                    self.free((x[at].to_f64() - means[channel]) * factor + means[channel])
                };
                // y = f x + (1 - f) mean: every element acts on all of its channel by way of the mean.
                let shared = self.means(dy, free);
                let mut channel = 0;
                for (at, (dx, dy)) in dx.iter_mut().zip(dy).enumerate() {
                    let own = if free(at, channel) { factor * dy.to_f64() } else { 0.0 };
                    *dx = T::from_f64(own + (1.0 - factor) * shared[channel]);
                    channel = self.next(channel);
                }
            }
            Change::Erasing { probabilities, shares, .. } => {
                dx.copy_from_slice(dy);
                if let Some(part) = self.part(*probabilities, *shares, stream) {
                    self.within(&part, |first| dx[first..first + c].fill(T::ZERO));
                }
            }
        }
    }
}

impl<T: Element> Op<T> for ColourOp {
    fn output_len(&self) -> usize {
        self.len()
    }

    fn keeps(&self) -> Keeps {
        let input = !matches!(self.colour.change, Change::Erasing { .. });
        Keeps { input, output: false, saved: 0 }
    }

    fn idle_at_inference(&self) -> bool {
        true
    }

    fn forward(&self, cx: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        let len = self.len().max(1);
        for (sample, (x, y)) in x[0].chunks_exact(len).zip(y.chunks_exact_mut(len)).enumerate() {
            match self.stream(Draw::of(cx, sample)) {
                Some(stream) => self.change(x, y, stream),
                None => y.copy_from_slice(x),
            }
        }
    }

    fn backward(&self, cx: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { x, dy, dx: [Some(dx)], .. } = tensors else { return };
        let len = self.len().max(1);
        let x = x.first().copied().unwrap_or_default();
        for (sample, (dy, dx)) in dy.chunks_exact(len).zip(dx.chunks_exact_mut(len)).enumerate() {
            match self.stream(Draw::of(cx, sample)) {
                Some(stream) => {
                    let own = x.get(sample * len..(sample + 1) * len).unwrap_or_default();
                    self.gradient(own, dy, dx, stream);
                }
                None => dx.copy_from_slice(dy),
            }
        }
    }
}
