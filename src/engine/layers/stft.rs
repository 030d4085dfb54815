//! Spectrograms: the discrete Fourier transform of every frame of a series, in float64.
//!
//! Frame t of a channel is `frame_length` elements from `t * frame_step` on, times a window. Its transform
//! `X_k = sum of x_n exp(-2 pi i k n / N)` is a fast one where N is a power of two, else the sum itself. Backward, with
//! `g_k = dRe_k + i dIm_k`, the gradient to `x_n` is the real part of `sum of g_k exp(2 pi i k n / N)`.

use serde::Deserialize;

use super::{Backward, Context, Keeps, Layer, Op, Site, Size, spatial};
use crate::conv::Scratch;
use crate::error::{Error, Result};
use crate::kernels::{Element, math};
use crate::memory;

/// Magnitudes are kept this far from 0 (Keras' epsilon), and so are powers.
const EPSILON: f64 = 1e-7;

/// What is said of a frequency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are Keras'")]
pub enum Mode {
    Log,
    Magnitude,
    Psd,
    Real,
    Imag,
    Angle,
    /// Real parts, then imaginary ones.
    Stft,
}

/// Configuration.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the names are Keras'")]
pub struct StftSpec {
    pub mode: Mode,
    pub frame_length: usize,
    pub frame_step: usize,
    pub fft_length: usize,
    /// What the elements of a frame are multiplied by.
    pub window: Vec<f64>,
    /// Whether frames cover the ends too, where zeros are added.
    pub same: bool,
    pub expand_dims: bool,
}

impl StftSpec {
    fn frequencies(&self) -> usize {
        self.fft_length / 2 + 1
    }

    /// Numbers that are said of a frame.
    fn rows(&self) -> usize {
        self.frequencies() * if self.mode == Mode::Stft { 2 } else { 1 }
    }

    /// Frames of a series, and how many zeros stand before it.
    fn frames(&self, steps: usize) -> Result<(usize, usize)> {
        if self.same {
            let frames = steps.div_ceil(self.frame_step);
            let total = ((frames.max(1) - 1) * self.frame_step + self.frame_length).saturating_sub(steps);
            return Ok((frames, total / 2));
        }
        match steps.checked_sub(self.frame_length) {
            Some(rest) => Ok((rest / self.frame_step + 1, 0)),
            None => {
                let expected = format!("at least {} steps, a frame", self.frame_length);
                Err(Error::shape("input", expected, format!("{steps} steps")))
            }
        }
    }
}

/// The description.
pub(super) struct Stft(pub StftSpec);

impl<T: Element> Layer<T> for Stft {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        let (steps, channels) = spatial(input, 1)?;
        let spec = &self.0;
        if spec.window.len() != spec.frame_length
            || spec.fft_length < spec.frame_length
            || spec.frame_step == 0
        {
            let expected = "a window of frame_length numbers, a longer fft_length and a positive frame_step";
            return Err(Error::value("window", expected, spec.window.len()));
        }
        let frames = steps[0].map(|steps| spec.frames(steps)).transpose()?.map(|(frames, _)| frames);
        Ok(match spec.expand_dims {
            true => vec![frames, Some(spec.rows()), channels],
            false => vec![frames, channels.map(|channels| channels * spec.rows())],
        })
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let &[steps, channels] = site.input else {
            return Err(Error::shape("input", "3 axes (batch, steps, channels)", site.input.len() + 1));
        };
        let (frames, before) = self.0.frames(steps)?;
        let spec = self.0.clone();
        let fourier = Fourier::new(spec.fft_length)?;
        Ok(vec![Box::new(Spectrogram { spec, fourier, steps, channels, frames, before })])
    }
}

/// Discrete transforms of one length.
struct Fourier {
    len: usize,
    /// Cosine and sine of `2 pi i / len`.
    circle: Vec<(f64, f64)>,
}

impl Fourier {
    fn new(len: usize) -> Result<Self> {
        let circle = memory::collect((0..len).map(|i| {
            let (sin, cos) = math::sin_cos_turn(i as f64 / len as f64);
            (cos, sin)
        }))?;
        Ok(Self { len, circle })
    }

    /// The first `count` sums `sum of z_n exp(sign 2 pi i k n / N)` in place of `z`, whose length is N.
    fn transform(&self, z: &mut [(f64, f64)], sign: f64, count: usize) {
        let n = self.len;
        let times = |(a, b): (f64, f64), (c, d): (f64, f64)| (a * c - b * d, a * d + b * c);
        let turn = |i: usize| {
            let (cos, sin) = self.circle[i];
            (cos, sign * sin)
        };
        if !n.is_power_of_two() {
            let of = |k: usize| {
                z.iter().enumerate().fold((0.0, 0.0), |(re, im), (i, &z)| {
                    let (a, b) = times(z, turn(k * i % n));
                    (re + a, im + b)
                })
            };
            let sums: Vec<(f64, f64)> = (0..count).map(of).collect();
            z[..count].copy_from_slice(&sums);
            return;
        }
        // Cooley and Tukey: first the order in which pairs stand side by side, then butterflies of growing span.
        let bits = n.trailing_zeros();
        for i in 0..n {
            let j = if bits == 0 { i } else { i.reverse_bits() >> (usize::BITS - bits) };
            if i < j {
                z.swap(i, j);
            }
        }
        let mut span = 1;
        while span < n {
            for first in (0..n).step_by(2 * span) {
                for i in 0..span {
                    let (a, b) = (z[first + i], times(z[first + span + i], turn(i * (n / (2 * span)))));
                    z[first + i] = (a.0 + b.0, a.1 + b.1);
                    z[first + span + i] = (a.0 - b.0, a.1 - b.1);
                }
            }
            span *= 2;
        }
    }
}

struct Spectrogram {
    spec: StftSpec,
    fourier: Fourier,
    steps: usize,
    channels: usize,
    frames: usize,
    before: usize,
}

impl Spectrogram {
    /// Place of row `row` of a frame of a channel.
    fn place(&self, frame: usize, row: usize, channel: usize) -> usize {
        let rows = self.spec.rows();
        match self.spec.expand_dims {
            true => (frame * rows + row) * self.channels + channel,
            false => (frame * self.channels + channel) * rows + row,
        }
    }

    /// The element of a channel that is number `i` of a frame, if it is not one of the zeros.
    fn element(&self, frame: usize, i: usize, channel: usize) -> Option<usize> {
        let step = (frame * self.spec.frame_step + i).checked_sub(self.before)?;
        (step < self.steps).then_some(step * self.channels + channel)
    }

    fn spectrum<T: Element>(&self, x: &[T], frame: usize, channel: usize, z: &mut Vec<(f64, f64)>) {
        z.clear();
        z.extend(self.spec.window.iter().enumerate().map(|(i, window)| {
            (self.element(frame, i, channel).map_or(0.0, |at| x[at].to_f64() * window), 0.0)
        }));
        z.resize(self.fourier.len, (0.0, 0.0));
        self.fourier.transform(z, -1.0, self.spec.frequencies());
    }

    /// Powers of all frequencies but the lowest and the highest count twice: they stand for negative ones too.
    fn sides(&self, k: usize) -> f64 {
        if k == 0 || k + 1 == self.spec.frequencies() { 1.0 } else { 2.0 }
    }

    /// What is said of a frequency.
    fn value(&self, (re, im): (f64, f64), k: usize) -> f64 {
        let power = re * re + im * im;
        match self.spec.mode {
            Mode::Real => re,
            Mode::Imag => im,
            Mode::Psd => self.sides(k) * power,
            Mode::Angle => math::atan2(im, re),
            Mode::Magnitude => power.max(EPSILON).sqrt(),
            Mode::Log => math::ln(power.max(EPSILON).sqrt().max(EPSILON)),
            Mode::Stft => 0.0,
        }
    }

    /// The gradient to both parts of a frequency, from that of what is said of it.
    fn slope(&self, (re, im): (f64, f64), k: usize, dy: f64) -> (f64, f64) {
        let power = re * re + im * im;
        let scale = match self.spec.mode {
            Mode::Real => return (dy, 0.0),
            Mode::Imag => return (0.0, dy),
            Mode::Angle if power == 0.0 => return (0.0, 0.0),
            Mode::Angle => return (-dy * im / power, dy * re / power),
            Mode::Psd => 2.0 * self.sides(k) * dy,
            Mode::Magnitude if power > EPSILON => dy / power.sqrt(),
            Mode::Log if power > EPSILON => dy / power,
            _ => 0.0,
        };
        (scale * re, scale * im)
    }

    fn input_len(&self) -> usize {
        self.steps * self.channels
    }

    fn len(&self) -> usize {
        self.frames * self.spec.rows() * self.channels
    }

    /// All frames of all channels.
    fn all(&self) -> impl Iterator<Item = (usize, usize)> {
        let channels = self.channels;
        (0..self.frames).flat_map(move |frame| (0..channels).map(move |channel| (frame, channel)))
    }
}

impl<T: Element> Op<T> for Spectrogram {
    fn output_len(&self) -> usize {
        self.len()
    }

    fn keeps(&self) -> Keeps {
        let input = !matches!(self.spec.mode, Mode::Real | Mode::Imag | Mode::Stft);
        Keeps { input, output: false, saved: 0 }
    }

    fn forward(&self, _: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        let mut z = memory::demand(memory::with_room(self.fourier.len));
        let samples = x[0].chunks_exact(self.input_len().max(1)).zip(y.chunks_exact_mut(self.len().max(1)));
        for (x, y) in samples {
            for (frame, channel) in self.all() {
                self.spectrum(x, frame, channel, &mut z);
                for (k, &z) in z[..self.spec.frequencies()].iter().enumerate() {
                    if self.spec.mode == Mode::Stft {
                        y[self.place(frame, k, channel)] = T::from_f64(z.0);
                        y[self.place(frame, self.spec.frequencies() + k, channel)] = T::from_f64(z.1);
                    } else {
                        y[self.place(frame, k, channel)] = T::from_f64(self.value(z, k));
                    }
                }
            }
        }
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { x, dy, dx: [Some(dx)], .. } = tensors else { return };
        let count = self.spec.frequencies();
        let mut z = memory::demand(memory::with_room(self.fourier.len));
        let mut sums = memory::demand(memory::filled(0.0, self.input_len()));
        let x = x.first().copied().unwrap_or_default();
        let samples = dx.chunks_exact_mut(self.input_len().max(1)).zip(dy.chunks_exact(self.len().max(1)));
        for (sample, (dx, dy)) in samples.enumerate() {
            sums.fill(0.0);
            for (frame, channel) in self.all() {
                let at = |row: usize| dy[self.place(frame, row, channel)].to_f64();
                match self.spec.mode {
                    Mode::Stft => {
                        z.clear();
                        z.extend((0..count).map(|k| (at(k), at(count + k))));
                    }
                    Mode::Real | Mode::Imag => {
                        z.clear();
                        z.extend((0..count).map(|k| self.slope((0.0, 0.0), k, at(k))));
                    }
                    _ => {
                        let own = &x[sample * self.input_len()..][..self.input_len()];
                        self.spectrum(own, frame, channel, &mut z);
                        z.truncate(count);
                        z.iter_mut().enumerate().for_each(|(k, z)| *z = self.slope(*z, k, at(k)));
                    }
                }
                z.resize(self.fourier.len, (0.0, 0.0));
                self.fourier.transform(&mut z, 1.0, self.spec.frame_length);
                for (i, (window, z)) in self.spec.window.iter().zip(&z).enumerate() {
                    if let Some(at) = self.element(frame, i, channel) {
                        sums[at] += window * z.0;
                    }
                }
            }
            dx.iter_mut().zip(&sums).for_each(|(dx, sum)| *dx = T::from_f64(*sum));
        }
    }
}
