//! Normalisation by channel: moments of many positions, the map that uses them, and its gradient.
//!
//! A tensor is read as rows of [`Columns`]: the channels, repeated until a row is long enough for vector registers. So
//! one set of loops serves three channels and three hundred. Moments are float64 and need no second look at the whole
//! batch: a part is summed around its own mean, and parts are put together by what Chan, Golub and LeVeque (1983,
//! "Algorithms for computing the sample variance", doi 10.1080/00031305.1983.10483115) give for the union of two sets, so that a large mean costs no digits of a small variance.

mod groups;

pub use groups::{Backward, Groups, Scaling};

use crate::kernels::{Element, Job, Tier};

/// Columns that a row has at least.
const ROW: usize = 32;
/// Columns that are summed in registers at once.
const BLOCK: usize = 32;

/// How channels lie in a tensor: column `j` of a row belongs to channel `j / inner % channels`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// Number of channels.
    pub channels: usize,
    /// Elements between two channels: 1 if they are the last axis.
    pub inner: usize,
    /// Elements of a row.
    pub width: usize,
}

impl Columns {
    /// Plans rows for channels that lie `inner` apart.
    pub fn new(channels: usize, inner: usize) -> Self {
        let all = (channels * inner).max(1);
        Self { channels, inner, width: all * ROW.div_ceil(all) }
    }

    /// Writes the value of a channel to all its columns.
    pub fn spread<T: Copy>(&self, channel: usize, value: T, columns: &mut [T]) {
        for group in columns.chunks_exact_mut(self.channels * self.inner) {
            group[channel * self.inner..(channel + 1) * self.inner].fill(value);
        }
    }

    /// The columns of a channel.
    fn of(&self, channel: usize) -> impl Iterator<Item = usize> + Clone {
        let (step, inner) = (self.channels * self.inner, self.inner);
        (0..self.width).step_by(step).flat_map(move |first| {
            let start = first + channel * inner;
            start..start + inner
        })
    }

    /// Numbers that [`Columns::sum`] writes.
    pub fn part_len(&self) -> usize {
        1 + 2 * self.width
    }

    /// Sums up a part: elements of a channel, then mean and sum of squared deviations of every channel.
    pub fn sum<T: Element>(&self, tier: Tier, x: &[T], part: &mut [f64]) {
        let (count, part) = part.split_at_mut(1);
        let (means, squares) = part.split_at_mut(self.width);
        count[0] = self.count(x.len() as f64);
        tier.vectorize(Sum { x, means, squares });
        if self.width == self.channels {
            return;
        }
        // What belongs to a channel comes after the place of its result.
        for channel in 0..self.channels {
            let mut whole = (0.0, 0.0, 0.0);
            for j in self.of(channel) {
                let rows = x.len() / self.width + usize::from(j < x.len() % self.width);
                whole = united(whole, (rows as f64, means[j], squares[j]));
            }
            (means[channel], squares[channel]) = (whole.1, whole.2);
        }
    }

    /// Joins a part with another one.
    pub fn join(&self, part: &mut [f64], other: &[f64]) {
        let counts = (part[0], other[0]);
        part[0] += other[0];
        let (means, squares) = part[1..].split_at_mut(self.width);
        let own = means.iter_mut().zip(squares).take(self.channels);
        let (others, other_squares) = other[1..].split_at(self.width);
        for ((mean, square), (other, other_square)) in own.zip(others.iter().zip(other_squares)) {
            let (_, joined, sum) = united((counts.0, *mean, *square), (counts.1, *other, *other_square));
            (*mean, *square) = (joined, sum);
        }
    }

    /// Mean and biased variance of a channel of a part.
    pub fn moments(&self, channel: usize, part: &[f64]) -> (f64, f64) {
        (part[1 + channel], part[1 + self.width + channel] / part[0])
    }

    /// Elements of a channel in a tensor of `len` elements.
    pub fn count(&self, len: f64) -> f64 {
        len / self.channels as f64
    }

    /// The sum of the columns of a channel, in their order.
    pub fn gather(&self, channel: usize, columns: &[f64]) -> f64 {
        self.of(channel).fold(0.0, |sum, j| sum + columns[j])
    }
}

/// Count, mean and sum of squared deviations of the union of two sets (Chan, Golub and LeVeque, 1983).
#[inline(always)]
fn united((n, mean, sum): (f64, f64, f64), (m, other, other_sum): (f64, f64, f64)) -> (f64, f64, f64) {
    let (all, apart) = ((n + m).max(1.0), other - mean);
    (n + m, mean + apart * (m / all), sum + other_sum + apart * apart * (n * m / all))
}

/// Runs `body(row, column)` over a block of columns of all rows, sums in registers where the block is whole.
#[inline(always)]
fn block_sums<T: Element>(
    x: &[T],
    width: usize,
    first: usize,
    sums: &mut [f64],
    term: impl Fn(usize, T) -> f64,
) {
    let n = sums.len();
    let tail = x.chunks_exact(width).remainder();
    if let Ok(sums) = <&mut [f64; BLOCK]>::try_from(&mut *sums) {
        let mut registers = *sums;
        for row in x.chunks_exact(width) {
            for (j, (sum, x)) in registers.iter_mut().zip(&row[first..first + BLOCK]).enumerate() {
                *sum += term(j, *x);
            }
        }
        *sums = registers;
    } else {
        for row in x.chunks_exact(width) {
            for (j, (sum, x)) in sums.iter_mut().zip(&row[first..first + n]).enumerate() {
                *sum += term(j, *x);
            }
        }
    }
    let tail = tail.get(first..).unwrap_or(&[]);
    for (j, (sum, x)) in sums.iter_mut().zip(tail).enumerate() {
        *sum += term(j, *x);
    }
}

struct Sum<'a, T> {
    x: &'a [T],
    means: &'a mut [f64],
    squares: &'a mut [f64],
}

impl<T: Element> Job for Sum<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { x, means, squares } = self;
        let width = means.len();
        let (rows, rest) = (x.len() / width, x.len() % width);
        let blocks = means.chunks_mut(BLOCK).zip(squares.chunks_mut(BLOCK));
        for (first, (means, squares)) in blocks.enumerate().map(|(i, block)| (i * BLOCK, block)) {
            means.fill(0.0);
            squares.fill(0.0);
            block_sums(x, width, first, means, |_, x| x.to_f64());
            for (j, mean) in means.iter_mut().enumerate() {
                *mean /= (rows + usize::from(first + j < rest)).max(1) as f64;
            }
            let mut around = [0.0; BLOCK];
            around[..means.len()].copy_from_slice(means);
            block_sums(x, width, first, squares, |j, x| {
                let apart = x.to_f64() - around[j];
                apart * apart
            });
        }
    }
}

/// The map `y = (x - mean) * scale + shift` of every column, or of every channel.
#[derive(Debug, Clone, Copy)]
pub struct Affine<'a, T> {
    /// What is subtracted: first, so that a large mean costs no digits.
    pub mean: &'a [T],
    /// Factors.
    pub scale: &'a [T],
    /// What is added.
    pub shift: &'a [T],
}

impl<T: Element> Affine<'_, T> {
    /// Maps a tensor; with `relu` negative results become zero.
    pub fn forward(&self, tier: Tier, relu: bool, x: &[T], y: &mut [T]) {
        tier.vectorize(Forward { map: *self, relu, x, y });
    }

    /// Multiplies the columns of a matrix, one per channel, by the factors.
    pub fn scale_rows(&self, matrix: &mut [T]) {
        for row in matrix.chunks_exact_mut(self.scale.len()) {
            row.iter_mut().zip(self.scale).for_each(|(x, scale)| *x = x.mul(*scale));
        }
    }

    /// What a bias, or none, is mapped to.
    pub fn bias(&self, bias: Option<&[T]>, mapped: &mut [T]) {
        for (i, mapped) in mapped.iter_mut().enumerate() {
            let bias = bias.map_or(T::ZERO, |bias| bias[i]);
            *mapped = bias.sub(self.mean[i]).mul(self.scale[i]).add(self.shift[i]);
        }
    }

    /// Adds the sums of `dy` and of `dy * (x - mean)` of every column to `sums`; where a ReLU followed, `dy` is masked
    /// first, and stays so.
    pub fn gradient_sums(&self, tier: Tier, relu: bool, x: &[T], dy: &mut [T], sums: &mut [f64]) {
        tier.vectorize(GradientSums { map: *self, relu, x, dy, sums });
    }

    /// `dx = (dy - a - b * (x - mean)) * scale`
    pub fn backward(&self, tier: Tier, (a, b): (&[T], &[T]), x: &[T], dy: &[T], dx: &mut [T]) {
        tier.vectorize(Slope { map: *self, a, b, x, dy, dx });
    }
}

struct Forward<'a, T> {
    map: Affine<'a, T>,
    relu: bool,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Element> Job for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { map: Affine { mean, scale, shift }, relu, x, y } = self;
        let width = mean.len();
        let rows = x.chunks(width).zip(y.chunks_mut(width));
        for (x, y) in rows {
            let map = mean.iter().zip(scale).zip(shift);
            if relu {
                for ((y, x), ((mean, scale), shift)) in y.iter_mut().zip(x).zip(map) {
                    *y = x.sub(*mean).mul(*scale).add(*shift).relu();
                }
            } else {
                for ((y, x), ((mean, scale), shift)) in y.iter_mut().zip(x).zip(map) {
                    *y = x.sub(*mean).mul(*scale).add(*shift);
                }
            }
        }
    }
}

struct GradientSums<'a, T> {
    map: Affine<'a, T>,
    relu: bool,
    x: &'a [T],
    dy: &'a mut [T],
    sums: &'a mut [f64],
}

impl<T: Element> Job for GradientSums<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { map, relu, x, dy, sums } = self;
        let width = map.mean.len();
        let (plain, weighted) = sums.split_at_mut(width);
        for (x, dy) in x.chunks(width).zip(dy.chunks_mut(width)) {
            if relu {
                let affine = map.mean.iter().zip(map.scale).zip(map.shift);
                for ((dy, x), ((mean, scale), shift)) in dy.iter_mut().zip(x).zip(affine) {
                    let value = x.sub(*mean).mul(*scale).add(*shift);
                    *dy = value.relu_gradient(*dy);
                }
            }
            let sums = plain.iter_mut().zip(weighted.iter_mut()).zip(map.mean);
            for ((dy, x), ((plain, weighted), mean)) in dy.iter().zip(x).zip(sums) {
                *plain += dy.to_f64();
                *weighted += dy.mul(x.sub(*mean)).to_f64();
            }
        }
    }
}

struct Slope<'a, T> {
    map: Affine<'a, T>,
    a: &'a [T],
    b: &'a [T],
    x: &'a [T],
    dy: &'a [T],
    dx: &'a mut [T],
}

impl<T: Element> Job for Slope<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { map: Affine { mean, scale, .. }, a, b, x, dy, dx } = self;
        let width = mean.len();
        for ((x, dy), dx) in x.chunks(width).zip(dy.chunks(width)).zip(dx.chunks_mut(width)) {
            let columns = mean.iter().zip(scale).zip(a).zip(b);
            for (((x, dy), dx), (((mean, scale), a), b)) in x.iter().zip(dy).zip(dx).zip(columns) {
                *dx = dy.sub(*a).sub(x.sub(*mean).mul(*b)).mul(*scale);
            }
        }
    }
}
