//! Max and average pooling of one sample, channels last, with gradients.
//!
//! Windows are scanned tap by tap on blocks of channels that stay in registers. Max-pooling remembers the tap that won
//! (the first in row-major order; NaN wins over everything), so that its gradient needs neither input nor output.

use std::ops::Range;

use crate::geometry::{Axis, PoolGeometry};
use crate::kernels::{Element, Job, Plain, Tier};

/// Channels that are handled together: one vector of the widest tier.
const LANES: usize = 16;

/// A number of a tap in its window.
pub trait Tap: Plain + PartialEq + Default {
    /// The number as this type; windows are never larger than it can hold.
    fn of(tap: usize) -> Self;
}
impl Tap for u8 {
    #[inline(always)]
    fn of(tap: usize) -> Self {
        tap as Self
    }
}
impl Tap for u32 {
    #[inline(always)]
    fn of(tap: usize) -> Self {
        tap as Self
    }
}

/// Taps of an axis that lie inside the input for output `o`, and the input position of the first of them.
#[inline(always)]
fn inside(axis: &Axis, o: usize) -> (Range<usize>, usize) {
    let start = o * axis.stride;
    let first = axis.before.saturating_sub(start).div_ceil(axis.dilation).min(axis.kernel);
    let end =
        (axis.input + axis.before).saturating_sub(start).div_ceil(axis.dilation).clamp(first, axis.kernel);
    (first..end, (start + first * axis.dilation).saturating_sub(axis.before))
}

/// The window of one output: calls `visit(tap, offset of the input position)` in row-major order.
#[inline(always)]
fn taps(g: &PoolGeometry, position: [usize; 3], mut visit: impl FnMut(usize, usize)) {
    let [d, h, w] = &g.axes;
    let [(d_taps, d_first), (h_taps, h_first), (w_taps, w_first)] =
        [inside(d, position[0]), inside(h, position[1]), inside(w, position[2])];
    for (i, td) in d_taps.enumerate() {
        let plane = (d_first + i * d.dilation) * h.input;
        for (j, th) in h_taps.clone().enumerate() {
            let row = (plane + h_first + j * h.dilation) * w.input;
            for (k, tw) in w_taps.clone().enumerate() {
                let tap = (td * h.kernel + th) * w.kernel + tw;
                visit(tap, (row + w_first + k * w.dilation) * g.channels);
            }
        }
    }
}

/// Calls `visit(position, offset of the output)` for every output of some rows (depth times height).
#[inline(always)]
fn outputs(g: &PoolGeometry, rows: Range<usize>, mut visit: impl FnMut([usize; 3], usize)) {
    let [_, h, w] = &g.axes;
    let mut offset = 0;
    for row in rows {
        for o in 0..w.output {
            visit([row / h.output, row % h.output, o], offset);
            offset += g.channels;
        }
    }
}

/// Calls `visit(first channel, channels)` in blocks of at most [`LANES`].
#[inline(always)]
fn channel_blocks(channels: usize, mut visit: impl FnMut(usize, usize)) {
    let mut first = 0;
    while first < channels {
        visit(first, LANES.min(channels - first));
        first += LANES;
    }
}

/// A max-pool.
#[derive(Debug, Clone)]
pub struct MaxPool {
    geometry: PoolGeometry,
    tier: Tier,
}

impl MaxPool {
    /// Plans a pool.
    pub fn new(geometry: PoolGeometry, tier: Tier) -> Self {
        Self { geometry, tier }
    }

    /// Whether a tap's number fits a byte.
    pub fn taps_fit_u8(&self) -> bool {
        self.geometry.window_len() <= 256
    }

    /// Rows (depth times height) of the output.
    pub fn rows(&self) -> usize {
        self.geometry.axes[0].output * self.geometry.axes[1].output
    }

    /// Computes `rows` of the output of one sample and the winning taps; `y` and `winners` hold exactly these rows.
    pub fn forward<T: Element, I: Tap>(
        &self,
        x: &[T],
        y: &mut [T],
        winners: Option<&mut [I]>,
        rows: Range<usize>,
    ) {
        self.tier.vectorize(MaxForward { g: &self.geometry, x, y, winners, rows });
    }

    /// The gradient to the input of one sample. With `y`, the gradient passes only where the output is positive: the
    /// gradient of a ReLU in front of the pool.
    pub fn backward<T: Element, I: Tap>(&self, dy: &[T], winners: &[I], y: Option<&[T]>, dx: &mut [T]) {
        self.tier.vectorize(MaxBackward { g: &self.geometry, dy, winners, y, dx });
    }
}

struct MaxForward<'a, T, I> {
    g: &'a PoolGeometry,
    x: &'a [T],
    y: &'a mut [T],
    winners: Option<&'a mut [I]>,
    rows: Range<usize>,
}

impl<T: Element, I: Tap> Job for MaxForward<'_, T, I> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { g, x, y, mut winners, rows } = self;
        outputs(g, rows, |position, out| {
            channel_blocks(g.channels, |c, n| {
                let mut best = [T::ZERO; LANES];
                let mut tap_of = [I::default(); LANES];
                let mut first = true;
                taps(g, position, |tap, at| {
                    let x = &x[at + c..at + c + n];
                    let tap = I::of(tap);
                    if first {
                        best[..n].copy_from_slice(x);
                        tap_of = [tap; LANES];
                        first = false;
                    } else if let Ok(x) = <&[T; LANES]>::try_from(x) {
                        contest(x, &mut best, &mut tap_of, tap);
                    } else {
                        contest(x, &mut best, &mut tap_of, tap);
                    }
                });
                y[out + c..out + c + n].copy_from_slice(&best[..n]);
                if let Some(winners) = &mut winners {
                    winners[out + c..out + c + n].copy_from_slice(&tap_of[..n]);
                }
            });
        });
    }
}

/// Lets a tap compete: larger values and NaN win.
#[inline(always)]
fn contest<T: Element, I: Tap>(x: &[T], best: &mut [T; LANES], tap_of: &mut [I; LANES], tap: I) {
    for ((best, tap_of), x) in best.iter_mut().zip(tap_of).zip(x) {
        let wins = *x > *best || *x != *x;
        *best = if wins { *x } else { *best };
        *tap_of = if wins { tap } else { *tap_of };
    }
}

struct MaxBackward<'a, T, I> {
    g: &'a PoolGeometry,
    dy: &'a [T],
    winners: &'a [I],
    y: Option<&'a [T]>,
    dx: &'a mut [T],
}

impl<T: Element, I: Tap> Job for MaxBackward<'_, T, I> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { g, dy, winners, y, dx } = self;
        let tiled = prepare(g, dx);
        outputs(g, 0..g.axes[0].output * g.axes[1].output, |position, out| {
            channel_blocks(g.channels, |c, n| {
                let range = out + c..out + c + n;
                let mut flow = [T::ZERO; LANES];
                flow[..n].copy_from_slice(&dy[range.clone()]);
                if let Some(y) = y {
                    for (flow, y) in flow.iter_mut().zip(&y[range.clone()]) {
                        *flow = if *y > T::ZERO { *flow } else { T::ZERO };
                    }
                }
                let mut tap_of = [I::default(); LANES];
                tap_of[..n].copy_from_slice(&winners[range]);
                taps(g, position, |tap, at| {
                    let dx = &mut dx[at + c..at + c + n];
                    let tap = I::of(tap);
                    if let Ok(dx) = <&mut [T; LANES]>::try_from(&mut *dx) {
                        award(dx, &flow, &tap_of, tap, tiled);
                    } else {
                        award(dx, &flow, &tap_of, tap, tiled);
                    }
                });
            });
        });
    }
}

/// Gives the gradient to the tap that won.
#[inline(always)]
fn award<T: Element, I: Tap>(dx: &mut [T], flow: &[T; LANES], tap_of: &[I; LANES], tap: I, tiled: bool) {
    for ((dx, flow), tap_of) in dx.iter_mut().zip(flow).zip(tap_of) {
        let share = if *tap_of == tap { *flow } else { T::ZERO };
        *dx = if tiled { share } else { dx.add(share) };
    }
}

/// Zeroes `dx` unless the windows tile the input, so that every element is written exactly once. Returns whether
/// windows may be stored instead of added.
#[inline(always)]
fn prepare<T: Element>(g: &PoolGeometry, dx: &mut [T]) -> bool {
    let apart = g.axes.iter().all(|a| a.stride >= a.span());
    let covers =
        |a: &Axis| a.stride == a.kernel && a.dilation == 1 && a.output * a.stride >= a.input + a.before;
    if !g.axes.iter().all(covers) {
        dx.fill(T::ZERO);
    }
    apart
}

/// An average pool.
#[derive(Debug, Clone)]
pub struct AveragePool {
    geometry: PoolGeometry,
    count_padding: bool,
    tier: Tier,
}

impl AveragePool {
    /// Plans a pool; without `count_padding` sums are divided by the number of real elements.
    pub fn new(geometry: PoolGeometry, count_padding: bool, tier: Tier) -> Self {
        Self { geometry, count_padding, tier }
    }

    /// Rows (depth times height) of the output.
    pub fn rows(&self) -> usize {
        self.geometry.axes[0].output * self.geometry.axes[1].output
    }

    /// Computes `rows` of the output of one sample; `y` holds exactly these rows.
    pub fn forward<T: Element>(&self, x: &[T], y: &mut [T], rows: Range<usize>) {
        self.tier.vectorize(AverageForward { pool: self, x, y, rows });
    }

    /// The gradient to the input of one sample.
    pub fn backward<T: Element>(&self, dy: &[T], dx: &mut [T]) {
        self.tier.vectorize(AverageBackward { pool: self, dy, dx });
    }

    /// One over what the sum of a window is divided by.
    ///
    /// Padding counts as far as it was asked for: the part of a window that reaches beyond it (`ceil_mode`) does not.
    #[inline(always)]
    fn share<T: Element>(&self, position: [usize; 3]) -> T {
        let mut count = 1;
        for (axis, o) in self.geometry.axes.iter().zip(position) {
            count *= if self.count_padding {
                let room = axis.input + axis.before + axis.after - o * axis.stride;
                room.div_ceil(axis.dilation).min(axis.kernel)
            } else {
                inside(axis, o).0.len()
            };
        }
        T::from_f64(1.0 / count.max(1) as f64)
    }
}

struct AverageForward<'a, T> {
    pool: &'a AveragePool,
    x: &'a [T],
    y: &'a mut [T],
    rows: Range<usize>,
}

impl<T: Element> Job for AverageForward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { pool, x, y, rows } = self;
        let g = &pool.geometry;
        outputs(g, rows, |position, out| {
            let share = pool.share::<T>(position);
            channel_blocks(g.channels, |c, n| {
                let mut sum = [T::ZERO; LANES];
                taps(g, position, |_, at| {
                    for (sum, x) in sum.iter_mut().zip(&x[at + c..at + c + n]) {
                        *sum += *x;
                    }
                });
                for (y, sum) in y[out + c..out + c + n].iter_mut().zip(sum) {
                    *y = sum.mul(share);
                }
            });
        });
    }
}

struct AverageBackward<'a, T> {
    pool: &'a AveragePool,
    dy: &'a [T],
    dx: &'a mut [T],
}

impl<T: Element> Job for AverageBackward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { pool, dy, dx } = self;
        let g = &pool.geometry;
        let tiled = prepare(g, dx);
        outputs(g, 0..pool.rows(), |position, out| {
            let share = pool.share::<T>(position);
            channel_blocks(g.channels, |c, n| {
                let mut flow = [T::ZERO; LANES];
                for (flow, dy) in flow.iter_mut().zip(&dy[out + c..out + c + n]) {
                    *flow = dy.mul(share);
                }
                taps(g, position, |_, at| {
                    for (dx, flow) in dx[at + c..at + c + n].iter_mut().zip(flow) {
                        *dx = if tiled { flow } else { dx.add(flow) };
                    }
                });
            });
        });
    }
}

/// The mean over all positions, channel by channel: global average pooling of one sample.
pub fn global_average<T: Element>(tier: Tier, x: &[T], y: &mut [T]) {
    let positions = x.len() / y.len().max(1);
    y.fill(T::ZERO);
    crate::conv::add_column_sums(tier, x, y);
    let share = T::from_f64(1.0 / positions as f64);
    for y in y {
        *y = y.mul(share);
    }
}

/// The gradient of [`global_average`].
pub fn global_average_grad<T: Element>(dy: &[T], dx: &mut [T]) {
    let share = T::from_f64(dy.len() as f64 / dx.len() as f64);
    for row in dx.chunks_exact_mut(dy.len().max(1)) {
        for (dx, dy) in row.iter_mut().zip(dy) {
            *dx = dy.mul(share);
        }
    }
}
