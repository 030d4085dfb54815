//! Changes drawn anew for every sample in training; at inference the sample passes as it is.
//!
//! The draws are never stored: they depend on (seed, step, layer, sample), and the backward pass draws them again. The
//! maps of rotation and zoom are Keras'.

use serde::Deserialize;

use super::{Backward, Context, Layer, Random, Site, Size, Step, known, spatial};
use crate::conv::Scratch;
use crate::error::{Error, Result};
use crate::kernels::{Element, math};
use crate::rng::{Purpose, Stream};

/// What stands outside of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FillMode {
    /// `d c b a | a b c d | d c b a`
    Reflect,
    /// `a b c d | a b c d | a b c d`
    Wrap,
    /// A value.
    Constant,
    /// `a a a a | a b c d | d d d d`
    Nearest,
}

/// How values between pixels are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampling {
    /// The pixel that is next.
    Nearest,
    /// Weighted by the distance to four pixels.
    Bilinear,
}

/// What maps of a plane have in common.
#[derive(Debug, Clone, Deserialize)]
pub struct WarpSpec {
    pub fill_mode: FillMode,
    pub interpolation: Sampling,
    pub fill_value: f64,
    pub seed: Option<u64>,
}

/// A description.
pub(super) enum Augment {
    /// Flips axes, each with probability 1/2; -1 is the last spatial one.
    Flip { axes: Vec<isize>, seed: Option<u64> },
    /// Cuts out a part of this height and width; at inference the one in the middle.
    Crop { height: usize, width: usize, seed: Option<u64> },
    /// Reads an image at mapped positions.
    Warp { map: Map, spec: WarpSpec },
    /// Adds normal noise whose deviation is drawn from a range.
    Noise { range: (f64, f64), seed: Option<u64> },
}

/// Ranges that maps are drawn from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Map {
    /// Shifts, as shares of height and width.
    Translation { height: (f64, f64), width: (f64, f64) },
    /// Angles, as shares of a whole turn.
    Rotation { turns: (f64, f64) },
    /// Growth of what is seen: 0.2 is 20 % more. Without `width` both axes have the same.
    Zoom { height: (f64, f64), width: Option<(f64, f64)> },
}

impl<T: Element> Layer<T> for Augment {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        match self {
            Self::Noise { .. } => {}
            Self::Flip { axes, .. } => {
                flipped(axes, input.len().saturating_sub(1))?;
            }
            Self::Warp { .. } => {
                spatial(input, 2)?;
            }
            Self::Crop { height, width, .. } => {
                let (sizes, channels) = spatial(input, 2)?;
                for (name, size, wanted) in [("height", sizes[0], *height), ("width", sizes[1], *width)] {
                    if let Some(size) = size.filter(|&size| size < wanted) {
                        return Err(Error::shape(name, format!("at least {wanted}"), size));
                    }
                }
                return Ok(vec![Some(*height), Some(*width), channels]);
            }
        }
        Ok(input.to_vec())
    }

    fn steps(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Step<T>>>> {
        let input: Vec<Size> = site.input.iter().map(|&n| Some(n)).collect();
        let output = Layer::<T>::output_shape(self, &input)?;
        let output = known(&output).unwrap_or_default();
        let [sizes @ .., channels] = site.input else { return Ok(Vec::new()) };
        let (seed, change) = match self {
            Self::Flip { axes, seed } => (*seed, Change::Flip(flipped(axes, sizes.len())?)),
            Self::Crop { height, width, seed } => (*seed, Change::Crop([*height, *width])),
            Self::Warp { map, spec } => (spec.seed, Change::Warp(*map, spec.clone())),
            Self::Noise { range, seed } => (*seed, Change::Noise(*range)),
        };
        Ok(vec![Box::new(Augmentation {
            sizes: sizes.to_vec(),
            channels: *channels,
            output_len: output.iter().product(),
            change,
            seed,
            layer: site.layer,
        })])
    }
}

/// Which of the spatial axes may be flipped.
fn flipped(axes: &[isize], rank: usize) -> Result<Vec<bool>> {
    let mut chosen = vec![false; rank];
    for &axis in axes {
        let at = if axis < 0 { axis + rank as isize } else { axis };
        match usize::try_from(at).ok().and_then(|at| chosen.get_mut(at)) {
            Some(chosen) => *chosen = true,
            None => return Err(Error::value("mode", format!("axes of {rank} spatial ones"), axis)),
        }
    }
    Ok(chosen)
}

enum Change {
    Flip(Vec<bool>),
    Crop([usize; 2]),
    Warp(Map, WarpSpec),
    Noise((f64, f64)),
}

struct Augmentation {
    sizes: Vec<usize>,
    channels: usize,
    output_len: usize,
    change: Change,
    seed: Option<u64>,
    layer: usize,
}

impl Augmentation {
    fn stream(&self, cx: &Context<'_, impl Element>, sample: usize) -> Option<Stream> {
        let Random { seed, step } = cx.training?;
        let coordinate = (step << 16) ^ self.layer as u64;
        let seed = self.seed.unwrap_or(seed);
        Some(Stream::new(seed, Purpose::Dropout, coordinate, (cx.first + sample) as u32))
    }

    /// Where the part that is cut out begins.
    fn corner(&self, part: [usize; 2], stream: Option<Stream>) -> [usize; 2] {
        let free = [self.sizes[0] - part[0], self.sizes[1] - part[1]];
        let Some(stream) = stream else { return free.map(|free| free / 2) };
        let draws = stream.uniforms(0);
        std::array::from_fn(|i| (draws[i] * (free[i] + 1) as f64) as usize)
    }

    /// Calls `row` for every row of the part that is cut out, with its places in the input and in the output.
    fn rows(&self, part: [usize; 2], stream: Option<Stream>, mut row: impl FnMut(usize, usize, usize)) {
        let [top, left] = self.corner(part, stream);
        let len = part[1] * self.channels;
        for i in 0..part[0] {
            row(((top + i) * self.sizes[1] + left) * self.channels, i * len, len);
        }
    }

    /// Which axes a sample has flipped. A flip is its own inverse, and its own gradient.
    fn flips(&self, axes: &[bool], stream: Stream) -> Vec<bool> {
        let words = |axis: usize| stream.block(axis as u64)[0];
        axes.iter().enumerate().map(|(axis, &may)| may && words(axis) & 1 == 1).collect()
    }
}

/// Copies a grid with some of its axes reversed.
fn flip<T: Element>(from: &[T], to: &mut [T], sizes: &[usize], axes: &[bool]) {
    let ([size, sizes @ ..], [reversed, axes @ ..]) = (sizes, axes) else {
        to.copy_from_slice(from);
        return;
    };
    let len = from.len() / (*size).max(1);
    for i in 0..*size {
        let source = if *reversed { size - 1 - i } else { i };
        flip(&from[source * len..][..len], &mut to[i * len..][..len], sizes, axes);
    }
}

/// An affine map from a pixel of the output to a place in the input: `[y, x] = origin + row down + column right`.
struct Affine {
    origin: [f64; 2],
    down: [f64; 2],
    right: [f64; 2],
}

impl Affine {
    fn draw(map: Map, [height, width]: [f64; 2], stream: Stream) -> Self {
        let between = |(low, high): (f64, f64), draw: f64| low + (high - low) * draw;
        let [first, second] = stream.uniforms(0);
        // The pixel in the middle stays.
        let about_middle = |down: [f64; 2], right: [f64; 2]| {
            let (y, x) = ((height - 1.0) / 2.0, (width - 1.0) / 2.0);
            let origin = [y - down[0] * y - right[0] * x, x - down[1] * y - right[1] * x];
            Self { origin, down, right }
        };
        match map {
            Map::Translation { height: rows, width: columns } => Self {
                origin: [-between(rows, first) * height, -between(columns, second) * width],
                down: [1.0, 0.0],
                right: [0.0, 1.0],
            },
            Map::Rotation { turns } => {
                let turn = between(turns, first);
                let (sin, cos) = math::sin_cos_turn(turn - turn.floor());
                about_middle([cos, -sin], [sin, cos])
            }
            Map::Zoom { height: rows, width: columns } => {
                let tall = 1.0 + between(rows, first);
                let wide = columns.map_or(tall, |columns| 1.0 + between(columns, second));
                about_middle([tall, 0.0], [0.0, wide])
            }
        }
    }
}

/// The index inside an axis that stands for one outside; None is the fill value.
fn inside(index: i64, size: usize, mode: FillMode) -> Option<usize> {
    let last = size as i64 - 1;
    let index = match mode {
        FillMode::Constant if index < 0 || index > last => return None,
        FillMode::Constant => index,
        FillMode::Nearest => index.clamp(0, last),
        FillMode::Wrap => index.rem_euclid(size as i64),
        FillMode::Reflect => {
            let index = index.rem_euclid(2 * size as i64);
            index.min(2 * size as i64 - 1 - index)
        }
    };
    Some(index as usize)
}

impl Augmentation {
    /// Calls `tap(output pixel, input pixel, weight)` for all pixels that an output is mixed from; without an input
    /// pixel it is the fill value.
    fn taps(
        &self,
        (map, spec): (Map, &WarpSpec),
        stream: Stream,
        mut tap: impl FnMut(usize, Option<usize>, f64),
    ) {
        let (height, width) = (self.sizes[0], self.sizes[1]);
        let Affine { origin, down, right } = Affine::draw(map, [height as f64, width as f64], stream);
        for row in 0..height {
            for column in 0..width {
                let place =
                    |axis: usize| origin[axis] + down[axis] * row as f64 + right[axis] * column as f64;
                let at = [place(0), place(1)];
                let pixel = row * width + column;
                let mut read = |y: f64, x: f64, weight: f64| {
                    let y = inside(y as i64, height, spec.fill_mode);
                    let x = inside(x as i64, width, spec.fill_mode);
                    tap(pixel, y.zip(x).map(|(y, x)| y * width + x), weight);
                };
                match spec.interpolation {
                    Sampling::Nearest => read((at[0] + 0.5).floor(), (at[1] + 0.5).floor(), 1.0),
                    Sampling::Bilinear => {
                        let [y, x] = at.map(f64::floor);
                        let (dy, dx) = (at[0] - y, at[1] - x);
                        for (y, share) in [(y, 1.0 - dy), (y + 1.0, dy)] {
                            for (x, part) in [(x, 1.0 - dx), (x + 1.0, dx)] {
                                if share * part != 0.0 {
                                    read(y, x, share * part);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

impl<T: Element> Step<T> for Augmentation {
    fn output_len(&self) -> usize {
        self.output_len
    }

    fn idle_at_inference(&self) -> bool {
        !matches!(self.change, Change::Crop(_))
    }

    fn forward(&self, cx: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        let len = self.sizes.iter().product::<usize>() * self.channels;
        let c = self.channels;
        let samples = x[0].chunks_exact(len.max(1)).zip(y.chunks_exact_mut(self.output_len.max(1)));
        for (sample, (x, y)) in samples.enumerate() {
            match (&self.change, self.stream(cx, sample)) {
                (Change::Crop(part), stream) => self.rows(*part, stream, |from, to, len| {
                    y[to..to + len].copy_from_slice(&x[from..from + len]);
                }),
                (_, None) => y.copy_from_slice(x),
                (Change::Flip(axes), Some(stream)) => flip(x, y, &self.sizes, &self.flips(axes, stream)),
                (Change::Noise((low, high)), Some(stream)) => {
                    let deviation = low + (high - low) * stream.uniforms(0)[0];
                    for (block, (y, x)) in y.chunks_mut(2).zip(x.chunks(2)).enumerate() {
                        for ((y, x), z) in y.iter_mut().zip(x).zip(stream.normals(block as u64 + 1)) {
                            *y = T::from_f64(x.to_f64() + z * deviation);
                        }
                    }
                }
                (Change::Warp(map, spec), Some(stream)) => {
                    y.fill(T::ZERO);
                    let fill = T::from_f64(spec.fill_value);
                    self.taps((*map, spec), stream, |to, from, weight| {
                        let weight = T::from_f64(weight);
                        let to = &mut y[to * c..][..c];
                        match from {
                            Some(from) => to
                                .iter_mut()
                                .zip(&x[from * c..][..c])
                                .for_each(|(to, from)| *to += from.mul(weight)),
                            None => to.iter_mut().for_each(|to| *to += fill.mul(weight)),
                        }
                    });
                }
            }
        }
    }

    fn backward(&self, cx: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { dy, dx: [Some(dx)], .. } = tensors else { return };
        let len = self.sizes.iter().product::<usize>() * self.channels;
        let c = self.channels;
        let samples = dx.chunks_exact_mut(len.max(1)).zip(dy.chunks_exact(self.output_len.max(1)));
        for (sample, (dx, dy)) in samples.enumerate() {
            match (&self.change, self.stream(cx, sample)) {
                (Change::Crop(part), stream) => {
                    dx.fill(T::ZERO);
                    self.rows(*part, stream, |to, from, len| {
                        dx[to..to + len].copy_from_slice(&dy[from..from + len]);
                    });
                }
                (_, None) | (Change::Noise(_), _) => dx.copy_from_slice(dy),
                (Change::Flip(axes), Some(stream)) => flip(dy, dx, &self.sizes, &self.flips(axes, stream)),
                (Change::Warp(map, spec), Some(stream)) => {
                    dx.fill(T::ZERO);
                    self.taps((*map, spec), stream, |from, to, weight| {
                        let Some(to) = to else { return };
                        let weight = T::from_f64(weight);
                        let to = dx[to * c..][..c].iter_mut();
                        to.zip(&dy[from * c..][..c]).for_each(|(to, from)| *to += from.mul(weight));
                    });
                }
            }
        }
    }
}
