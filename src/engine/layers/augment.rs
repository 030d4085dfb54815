//! Changes drawn anew for every sample in training; at inference the sample passes as it is.
//!
//! The draws are never stored: they depend on (seed, op, layer, sample), and the backward pass draws them again.

mod warp;

pub(super) use self::warp::Map;
use self::warp::Warp;
pub(in crate::engine) use self::warp::{Sampling, WarpSpec};
use super::moving::{Draw, Moves, Shifts};
use super::{Backward, Context, Layer, Op, Random, Site, Size, known};
use crate::conv::Scratch;
use crate::engine::shape_text;
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::rng::{Purpose, Stream};

/// What is said of the axes of a grid: of (depth, height, width) in volumes, (height, width) in images, and of the only
/// axis of a series as its height.
#[derive(Debug, Clone, Copy)]
pub(super) struct PerAxis<V> {
    pub height: V,
    pub width: Option<V>,
    pub depth: Option<V>,
}

impl<V: Copy> PerAxis<V> {
    /// By axis; a grid of fewer than three has its own ones last.
    pub(super) fn along(&self, rank: usize) -> [Option<V>; 3] {
        match rank {
            1 => [None, None, Some(self.height)],
            2 => [None, Some(self.height), self.width],
            _ => [self.depth, Some(self.height), self.width],
        }
    }

    /// Checks that it says nothing of an axis that an input does not have; `kind` is the end of the arguments' names.
    pub(super) fn check(&self, input: &[Size], kind: &str) -> Result<()> {
        let rank = grid_rank(input, 1)?;
        let given = [("width", self.width.is_some()), ("depth", self.depth.is_some())];
        match given.iter().find(|(axis, given)| *given && !names(rank).contains(axis)) {
            Some((axis, _)) => Err(Error::value(
                format!("{axis}{kind}"),
                format!("None for an input of {rank} spatial axes, {}", shape_text(input)),
                "a value",
            )),
            None => Ok(()),
        }
    }
}

/// How the axes of a grid are called.
fn names(rank: usize) -> &'static [&'static str] {
    match rank {
        1 => &["height"],
        2 => &["height", "width"],
        _ => &["depth", "height", "width"],
    }
}

/// Spatial axes of an input that must have `least` to three of them.
fn grid_rank(input: &[Size], least: usize) -> Result<usize> {
    let rank = input.len().saturating_sub(1);
    if (least..=3).contains(&rank) {
        return Ok(rank);
    }
    let expected = format!("{least} to 3 spatial axes between batch and channels");
    Err(Error::shape("input", expected, shape_text(input)))
}

/// Sizes of a grid of up to three axes, those that it lacks being leading ones.
fn grid(sizes: &[usize]) -> [usize; 3] {
    let mut grid = [1; 3];
    for (to, from) in grid.iter_mut().rev().zip(sizes.iter().rev()) {
        *to = *from;
    }
    grid
}

/// A description.
pub(super) enum Augment {
    /// Flips axes, each with probability 1/2; -1 is the last spatial one.
    Flip { axes: Vec<isize>, seed: Option<u64> },
    /// Cuts out a part of these sizes; at inference the one in the middle.
    Crop { part: PerAxis<usize>, seed: Option<u64> },
    /// Reads a grid at mapped positions.
    Warp { map: Map, spec: WarpSpec },
    /// Adds normal noise whose deviation is drawn from a range.
    Noise { range: (f64, f64), seed: Option<u64> },
}

impl<T: Element> Layer<T> for Augment {
    fn moves(&self) -> bool {
        !matches!(self, Self::Noise { .. })
    }

    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        match self {
            Self::Noise { .. } => {}
            Self::Flip { axes, .. } => {
                flipped(axes, input.len().saturating_sub(1))?;
            }
            Self::Warp { map: Map::Rotation { .. }, .. } => {
                grid_rank(input, 2)?;
            }
            Self::Warp { map: Map::Translation(ranges) | Map::Zoom(ranges), .. } => {
                ranges.check(input, "_factor")?;
            }
            Self::Crop { part, .. } => {
                part.check(input, "")?;
                let rank = input.len() - 1;
                let mut output = input.to_vec();
                let wanted = part.along(rank).into_iter().skip(3 - rank).zip(names(rank));
                for (size, (wanted, name)) in output.iter_mut().zip(wanted) {
                    let Some(wanted) = wanted else { continue };
                    if let Some(size) = size.filter(|&size| size < wanted) {
                        return Err(Error::shape(name, format!("an input of at least {wanted}"), size));
                    }
                    *size = Some(wanted);
                }
                return Ok(output);
            }
        }
        Ok(input.to_vec())
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let input: Vec<Size> = site.input.iter().map(|&n| Some(n)).collect();
        let output = Layer::<T>::output_shape(self, &input)?;
        let output = known(&output).unwrap_or_default();
        let [sizes @ .., channels] = site.input else { return Ok(Vec::new()) };
        let (seed, change) = match self {
            Self::Flip { axes, seed } => (*seed, Change::Flip(flipped(axes, sizes.len())?)),
            Self::Crop { seed, .. } => (*seed, Change::Crop(grid(&output[..sizes.len()]))),
            Self::Warp { map, spec } => {
                let (rank, sizes) = (sizes.len(), grid(sizes));
                (spec.seed, Change::Warp(Warp { map: *map, spec: spec.clone(), rank, sizes }))
            }
            Self::Noise { range, seed } => (*seed, Change::Noise(*range)),
        };
        Ok(vec![Box::new(Augmentation {
            sizes: sizes.to_vec(),
            output: output[..sizes.len()].to_vec(),
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
    /// Slices, rows and columns that are left.
    Crop([usize; 3]),
    Warp(Warp),
    Noise((f64, f64)),
}

struct Augmentation {
    sizes: Vec<usize>,
    /// Sizes of the grid that it makes.
    output: Vec<usize>,
    channels: usize,
    output_len: usize,
    change: Change,
    seed: Option<u64>,
    layer: usize,
}

impl Augmentation {
    fn stream(&self, Draw { random, sample }: Draw) -> Option<Stream> {
        let Random { seed, step } = random?;
        let coordinate = (step << 16) ^ self.layer as u64;
        let seed = self.seed.unwrap_or(seed);
        Some(Stream::new(seed, Purpose::Dropout, coordinate, sample as u32))
    }

    /// Where the part that is cut out begins.
    fn corner(&self, part: [usize; 3], stream: Option<Stream>) -> [usize; 3] {
        let sizes = grid(&self.sizes);
        let free: [usize; 3] = std::array::from_fn(|axis| sizes[axis] - part[axis]);
        let Some(stream) = stream else { return free.map(|free| free / 2) };
        let ([height, width], [depth, _]) = (stream.uniforms(0), stream.uniforms(1));
        let draws = [depth, height, width];
        std::array::from_fn(|axis| (draws[axis] * (free[axis] + 1) as f64) as usize)
    }

    /// Calls `row` for every row of the part that is cut out, with its places in the input and in the output and its
    /// length, in elements of which a position has `channels`.
    fn rows(
        &self,
        part: [usize; 3],
        channels: usize,
        stream: Option<Stream>,
        mut row: impl FnMut(usize, usize, usize),
    ) {
        let ([_, height, width], [front, top, left]) = (grid(&self.sizes), self.corner(part, stream));
        let [slices, rows, columns] = part;
        let len = columns * channels;
        for i in 0..slices * rows {
            let (slice, line) = (front + i / rows, top + i % rows);
            row(((slice * height + line) * width + left) * channels, i * len, len);
        }
    }

    /// Which axes a sample has flipped. A flip is its own inverse, and its own gradient.
    fn flips(&self, axes: &[bool], stream: Stream) -> Vec<bool> {
        let words = |axis: usize| stream.block(axis as u64)[0];
        axes.iter().enumerate().map(|(axis, &may)| may && words(axis) & 1 == 1).collect()
    }
}

/// Copies a grid with some of its axes reversed.
fn flip<T: Copy>(from: &[T], to: &mut [T], sizes: &[usize], axes: &[bool]) {
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

impl<T: Element> Op<T> for Augmentation {
    fn output_len(&self) -> usize {
        self.output_len
    }

    fn idle_at_inference(&self) -> bool {
        !matches!(self.change, Change::Crop(_))
    }

    fn moves(&self) -> Option<Moves<'_>> {
        match self.change {
            Change::Noise(_) => None,
            _ => Some(Moves::Positions(self)),
        }
    }

    fn forward(&self, cx: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        let len = self.sizes.iter().product::<usize>() * self.channels;
        let c = self.channels;
        let samples = x[0].chunks_exact(len.max(1)).zip(y.chunks_exact_mut(self.output_len.max(1)));
        for (sample, (x, y)) in samples.enumerate() {
            match (&self.change, self.stream(Draw::of(cx, sample))) {
                (Change::Crop(part), stream) => self.rows(*part, c, stream, |from, to, len| {
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
                (Change::Warp(warp), Some(stream)) => {
                    y.fill(T::ZERO);
                    let fill = T::from_f64(warp.spec.fill_value);
                    warp.taps(stream, warp.spec.interpolation, |to, from, weight| {
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
            match (&self.change, self.stream(Draw::of(cx, sample))) {
                (Change::Crop(part), stream) => {
                    dx.fill(T::ZERO);
                    self.rows(*part, c, stream, |to, from, len| {
                        dx[to..to + len].copy_from_slice(&dy[from..from + len]);
                    });
                }
                (_, None) | (Change::Noise(_), _) => dx.copy_from_slice(dy),
                (Change::Flip(axes), Some(stream)) => flip(dy, dx, &self.sizes, &self.flips(axes, stream)),
                (Change::Warp(warp), Some(stream)) => {
                    dx.fill(T::ZERO);
                    warp.taps(stream, warp.spec.interpolation, |from, to, weight| {
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

impl Shifts for Augmentation {
    fn grids(&self) -> [&[usize]; 2] {
        [&self.sizes, &self.output]
    }

    fn drawn(&self) -> bool {
        true
    }

    fn taps(&self, draw: Draw, sampling: Sampling, tap: &mut dyn FnMut(usize, Option<usize>, f64)) {
        match (&self.change, self.stream(draw)) {
            (Change::Crop(part), stream) => self.rows(*part, 1, stream, |from, to, len| {
                (0..len).for_each(|i| tap(to + i, Some(from + i), 1.0));
            }),
            (Change::Flip(axes), Some(stream)) => {
                let all: Vec<usize> = (0..self.sizes.iter().product()).collect();
                let mut flipped = all.clone();
                flip(&all, &mut flipped, &self.sizes, &self.flips(axes, stream));
                flipped.iter().enumerate().for_each(|(to, &from)| tap(to, Some(from), 1.0));
            }
            (Change::Warp(warp), Some(stream)) => warp.taps(stream, sampling, tap),
            (_, None) | (Change::Noise(_), _) => {
                (0..self.sizes.iter().product()).for_each(|i| tap(i, Some(i), 1.0));
            }
        }
    }
}
