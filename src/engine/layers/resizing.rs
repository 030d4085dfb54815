//! Grids of other sizes: resampled axis by axis, or their middle.
//!
//! Pixels are squares with the value at the centre: output `o` of an axis lies at `(o + 1/2) n / m - 1/2` of its n
//! elements. A kernel weighs the elements around that place; what it would see outside is left out, and the weights of
//! the others add up to 1.

use serde::Deserialize;

use super::augment::{PerAxis, Sampling};
use super::moving::{Draw, Moves, Shifts};
use super::{Backward, Context, Layer, Op, Site, Size, known};
use crate::conv::Scratch;
use crate::error::Result;
use crate::kernels::{Element, math};

/// How values between positions are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are Keras'")]
pub enum Filter {
    Nearest,
    Bilinear,
    Bicubic,
    Lanczos3,
    Lanczos5,
}

impl Filter {
    /// How far the kernel reaches, and the kernel.
    fn kernel(self) -> (f64, fn(f64) -> f64) {
        match self {
            Self::Nearest | Self::Bilinear => (1.0, |x| (1.0 - x.abs()).max(0.0)),
            // Keys' kernel with a = -1/2.
            Self::Bicubic => (2.0, |x| match x.abs() {
                x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
                x if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
                _ => 0.0,
            }),
            Self::Lanczos3 => (3.0, |x| lanczos(x, 3.0)),
            Self::Lanczos5 => (5.0, |x| lanczos(x, 5.0)),
        }
    }
}

/// `sinc(x) sinc(x / a)` within `a` of 0.
fn lanczos(x: f64, a: f64) -> f64 {
    let sine = |turns: f64| math::sin_cos_turn(turns - turns.floor()).0;
    match x.abs() {
        x if x < 1e-9 => 1.0,
        x if x < a => {
            let angle = std::f64::consts::PI * x;
            a * sine(0.5 * x) * sine(0.5 * x / a) / (angle * angle)
        }
        _ => 0.0,
    }
}

/// What happens where proportions differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aspect {
    /// The grid is stretched.
    Stretch,
    /// What is too long is cut off at both ends.
    Crop,
    /// What is too short is filled up at both ends.
    Pad,
}

/// The description.
#[derive(Debug, Clone)]
pub(super) struct Resizing {
    pub size: PerAxis<usize>,
    pub filter: Filter,
    pub aspect: Aspect,
    pub fill_value: f64,
    pub antialias: bool,
    /// Whether a grid that is large enough is cut, and nothing resampled.
    pub cuts: bool,
}

impl Resizing {
    /// The sizes that are asked for; None where an axis stays as it is.
    fn wanted(&self, rank: usize) -> Vec<Size> {
        self.size.along(rank)[3 - rank..].to_vec()
    }
}

impl<T: Element> Layer<T> for Resizing {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        self.size.check(input, "")?;
        let rank = input.len() - 1;
        let sizes = self.wanted(rank).into_iter().zip(input).map(|(wanted, size)| wanted.or(*size));
        Ok(sizes.chain([input[rank]]).collect())
    }

    fn moves(&self) -> bool {
        true
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let input: Vec<Size> = site.input.iter().map(|&n| Some(n)).collect();
        let output = known(&Layer::<T>::output_shape(self, &input)?).unwrap_or_default();
        let [sizes @ .., channels] = site.input else { return Ok(Vec::new()) };
        let output = &output[..sizes.len()];
        if output == sizes {
            return Ok(Vec::new());
        }
        let asked: Vec<bool> = self.wanted(sizes.len()).iter().map(Option::is_some).collect();
        let fits = sizes.iter().zip(output).all(|(size, wanted)| size >= wanted);
        let regions = if self.cuts && fits {
            sizes
                .iter()
                .zip(output)
                .map(|(&n, &m)| Region { start: ((n - m) / 2) as isize, len: m })
                .collect()
        } else {
            regions(self.aspect, sizes, output, &asked)
        };
        let table = |filter: Filter| -> Vec<Axis> {
            let axes = regions.iter().zip(sizes).zip(output);
            axes.map(|((region, &n), &m)| axis(filter, self.antialias, region, n, m)).collect()
        };
        Ok(vec![Box::new(Resampling {
            own: table(self.filter),
            nearest: table(Filter::Nearest),
            sizes: sizes.to_vec(),
            output: output.to_vec(),
            channels: *channels,
            fill_value: self.fill_value,
        })])
    }
}

/// The part of an axis that is resampled; it may be longer than the axis.
#[derive(Debug, Clone, Copy)]
struct Region {
    start: isize,
    len: usize,
}

/// The parts of all axes.
fn regions(aspect: Aspect, sizes: &[usize], output: &[usize], asked: &[bool]) -> Vec<Region> {
    // How long an axis is in the proportions of the output, by another one.
    let by = |axis: usize, other: usize| sizes[other] * output[axis] / output[other].max(1);
    let others = || (0..sizes.len()).filter(|&axis| asked[axis]);
    (0..sizes.len())
        .map(|axis| {
            let n = sizes[axis];
            let len = match aspect {
                _ if !asked[axis] => n,
                Aspect::Stretch => n,
                Aspect::Crop => others().map(|other| by(axis, other)).min().unwrap_or(n).clamp(1, n),
                // The same at both ends, as in Keras, though proportions may be a pixel off.
                Aspect::Pad => {
                    let wanted = others().map(|other| by(axis, other)).max().unwrap_or(n).max(n);
                    n + (wanted - n) / 2 * 2
                }
            };
            let start = if len > n { -(((len - n) / 2) as isize) } else { ((n - len) / 2) as isize };
            Region { start, len }
        })
        .collect()
}

/// Of every output of an axis the elements that it is mixed from; None is outside.
type Axis = Vec<Vec<(Option<usize>, f64)>>;

fn axis(filter: Filter, antialias: bool, region: &Region, n: usize, m: usize) -> Axis {
    let inside = |at: usize| {
        let index = at as isize + region.start;
        usize::try_from(index).ok().filter(|&index| index < n)
    };
    let scale = region.len as f64 / m as f64;
    let (reach, kernel) = filter.kernel();
    let spread = if antialias { scale.max(1.0) } else { 1.0 };
    let of = |o: usize| {
        if filter == Filter::Nearest || region.len == m {
            // Whole numbers, so that no rounding decides.
            let at = (2 * o + 1) * region.len / (2 * m);
            return vec![(inside(at.min(region.len - 1)), 1.0)];
        }
        let centre = (o as f64 + 0.5) * scale - 0.5;
        let first = (centre - reach * spread).ceil().max(0.0) as usize;
        let last = ((centre + reach * spread).floor() as usize).min(region.len - 1);
        let weights: Vec<f64> = (first..=last).map(|i| kernel((centre - i as f64) / spread)).collect();
        let sum: f64 = weights.iter().sum();
        let taps = (first..=last).zip(weights).filter(|(_, weight)| *weight != 0.0);
        taps.map(|(i, weight)| (inside(i), weight / sum)).collect()
    };
    (0..m).map(of).collect()
}

struct Resampling {
    own: Vec<Axis>,
    nearest: Vec<Axis>,
    sizes: Vec<usize>,
    output: Vec<usize>,
    channels: usize,
    fill_value: f64,
}

impl Resampling {
    /// Calls `tap(output position, input position, weight)` for all positions that an output is mixed from.
    fn each(&self, axes: &[Axis], mut tap: impl FnMut(usize, Option<usize>, f64)) {
        let none = vec![vec![(Some(0), 1.0)]];
        let (mut three, mut sizes) = ([&none; 3], [1; 3]);
        for (i, axis) in axes.iter().rev().enumerate() {
            three[2 - i] = axis;
            sizes[2 - i] = self.sizes[axes.len() - 1 - i];
        }
        let [slices, rows, columns] = three;
        let mut output = 0;
        for slice in slices {
            for row in rows {
                for column in columns {
                    for &(slice, share) in slice {
                        for &(row, part) in row {
                            for &(column, weight) in column {
                                let input = (|| Some((slice? * sizes[1] + row?) * sizes[2] + column?))();
                                tap(output, input, share * part * weight);
                            }
                        }
                    }
                    output += 1;
                }
            }
        }
    }

    fn input_len(&self) -> usize {
        self.sizes.iter().product::<usize>() * self.channels
    }

    fn len(&self) -> usize {
        self.output.iter().product::<usize>() * self.channels
    }
}

impl<T: Element> Op<T> for Resampling {
    fn output_len(&self) -> usize {
        self.len()
    }

    fn moves(&self) -> Option<Moves<'_>> {
        Some(Moves::Positions(self))
    }

    fn forward(&self, _: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        let c = self.channels;
        y.fill(T::ZERO);
        let samples = x[0].chunks_exact(self.input_len().max(1)).zip(y.chunks_exact_mut(self.len().max(1)));
        for (x, y) in samples {
            self.each(&self.own, |to, from, weight| {
                let to = y[to * c..][..c].iter_mut();
                match from {
                    Some(from) => {
                        let weight = T::from_f64(weight);
                        to.zip(&x[from * c..][..c]).for_each(|(y, x)| *y += x.mul(weight));
                    }
                    None => {
                        let fill = T::from_f64(self.fill_value * weight);
                        to.for_each(|y| *y += fill);
                    }
                }
            });
        }
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { dy, dx: [Some(dx)], .. } = tensors else { return };
        let c = self.channels;
        dx.fill(T::ZERO);
        let samples = dx.chunks_exact_mut(self.input_len().max(1)).zip(dy.chunks_exact(self.len().max(1)));
        for (dx, dy) in samples {
            self.each(&self.own, |from, to, weight| {
                let (Some(to), weight) = (to, T::from_f64(weight)) else { return };
                let dx = dx[to * c..][..c].iter_mut();
                dx.zip(&dy[from * c..][..c]).for_each(|(dx, dy)| *dx += dy.mul(weight));
            });
        }
    }
}

impl Shifts for Resampling {
    fn grids(&self) -> [&[usize]; 2] {
        [&self.sizes, &self.output]
    }

    fn drawn(&self) -> bool {
        false
    }

    fn taps(&self, _: Draw, sampling: Sampling, tap: &mut dyn FnMut(usize, Option<usize>, f64)) {
        self.each(if sampling == Sampling::Nearest { &self.nearest } else { &self.own }, tap);
    }
}
