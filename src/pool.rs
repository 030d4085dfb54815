//! Max and average pooling of one sample, channels last, with gradients.
//!
//! An output row is cut into runs of outputs whose windows see the same taps; the kernels do a run at a time.
//! Max-pooling remembers the tap that won (the first in row-major order; NaN wins over everything), so that its
//! gradient needs neither input nor output.

use std::ops::Range;

use crate::geometry::{Axis, PoolGeometry};
use crate::kernels::{Element, Kernels, Pooling, Tap, Tier, WindowRun};

/// Taps of an axis that lie inside the input for output `o`, and the input position of the first of them.
fn inside(axis: &Axis, o: usize) -> (Range<usize>, usize) {
    let start = o * axis.stride;
    let first = axis.before.saturating_sub(start).div_ceil(axis.dilation).min(axis.kernel);
    let end =
        (axis.input + axis.before).saturating_sub(start).div_ceil(axis.dilation).clamp(first, axis.kernel);
    (first..end, (start + first * axis.dilation).saturating_sub(axis.before))
}

/// Outputs of an axis whose windows lie inside the input.
fn whole_windows(axis: &Axis) -> Range<usize> {
    let from = axis.before.div_ceil(axis.stride).min(axis.output);
    let last = (axis.input + axis.before).checked_sub(axis.span()).map_or(0, |room| room / axis.stride + 1);
    from..last.clamp(from, axis.output)
}

/// Calls `visit(run, outputs of the run, position of the first)` for all runs of some rows (depth times height).
///
/// Outputs are counted from the first of the rows, in elements.
fn for_runs(
    g: &PoolGeometry,
    rows: Range<usize>,
    mut visit: impl FnMut(&WindowRun<'_>, Range<usize>, [usize; 3]),
) {
    let [d, h, w] = &g.axes;
    let whole = whole_windows(w);
    let mut taps = Vec::with_capacity(g.window_len());
    for (i, row) in rows.enumerate() {
        let position = [row / h.output, row % h.output];
        let [(d_taps, d_first), (h_taps, h_first)] = [inside(d, position[0]), inside(h, position[1])];
        let mut column = 0;
        while column < w.output {
            let count = if whole.contains(&column) { whole.len() } else { 1 };
            let (w_taps, w_first) = inside(w, column);
            taps.clear();
            for (i, td) in d_taps.clone().enumerate() {
                for (j, th) in h_taps.clone().enumerate() {
                    let plane = (d_first + i * d.dilation) * h.input;
                    let line = (plane + h_first + j * h.dilation) * w.input;
                    taps.extend(w_taps.clone().enumerate().map(|(k, tw)| Tap {
                        number: (td * h.kernel + th) * w.kernel + tw,
                        at: (line + w_first + k * w.dilation) * g.channels,
                    }));
                }
            }
            let run = WindowRun { taps: &taps, count, step: w.stride * g.channels, channels: g.channels };
            let first = (i * w.output + column) * g.channels;
            visit(&run, first..first + count * g.channels, [position[0], position[1], column]);
            column += count;
        }
    }
}

/// Whether no input belongs to two windows; inputs that belong to none are zeroed.
fn prepare<T: Element>(g: &PoolGeometry, dx: &mut [T]) -> bool {
    let apart = g.axes.iter().all(|a| a.kernel == 1 || a.stride >= a.span());
    let covered =
        |a: &Axis| a.stride == a.kernel && a.dilation == 1 && a.output * a.stride >= a.input + a.before;
    if !(apart && g.axes.iter().all(covered)) {
        dx.fill(T::ZERO);
    }
    apart
}

/// A max-pool.
#[derive(Debug, Clone)]
pub struct MaxPool<T: 'static> {
    geometry: PoolGeometry,
    kernels: &'static Kernels<T>,
}

impl<T: Element> MaxPool<T> {
    /// Taps that the number of a winner, a byte, tells apart.
    pub const MOST_TAPS: usize = 256;

    /// Plans a pool.
    pub fn new(geometry: PoolGeometry, kernels: &'static Kernels<T>) -> Self {
        Self { geometry, kernels }
    }

    /// Rows (depth times height) of the output.
    pub fn rows(&self) -> usize {
        self.geometry.axes[0].output * self.geometry.axes[1].output
    }

    /// Computes `rows` of the output of one sample; `y` holds exactly these rows. The winning taps go to `winners`,
    /// unless it is empty.
    ///
    /// # Panics
    /// Winners are asked for and the window has more than [`MaxPool::MOST_TAPS`] taps.
    pub fn forward(&self, x: &[T], y: &mut [T], winners: &mut [u8], rows: Range<usize>) {
        assert!(
            winners.is_empty() || self.geometry.window_len() <= Self::MOST_TAPS,
            "too many taps for a byte"
        );
        for_runs(&self.geometry, rows, |run, out, _| {
            let winners = if winners.is_empty() { &mut [][..] } else { &mut winners[out.clone()] };
            self.kernels.pool(run, Pooling::Max { x, y: &mut y[out], winners });
        });
    }

    /// The gradient to the input of one sample. With `y`, the gradient passes only where the output is positive: the
    /// gradient of a ReLU in front of the pool.
    pub fn backward(&self, dy: &[T], winners: &[u8], y: Option<&[T]>, dx: &mut [T]) {
        let store = prepare(&self.geometry, dx);
        for_runs(&self.geometry, 0..self.rows(), |run, out, _| {
            let y = y.map_or(&[][..], |y| &y[out.clone()]);
            let (dy, winners) = (&dy[out.clone()], &winners[out]);
            self.kernels.pool(run, Pooling::MaxGrad { dy, winners, y, dx, store });
        });
    }

    /// The same without notes of the forward pass, for windows of any size: the winner is looked for again.
    pub fn backward_from(&self, x: &[T], dy: &[T], y: Option<&[T]>, dx: &mut [T]) {
        let c = self.geometry.channels;
        dx.fill(T::ZERO);
        for_runs(&self.geometry, 0..self.rows(), |run, out, _| {
            for (i, at) in out.enumerate() {
                let place = |tap: &Tap| tap.at + i / c * run.step + i % c;
                let winner = run.taps.iter().map(place).reduce(|best, other| {
                    let wins = x[other] > x[best] || x[other].is_nan();
                    if wins { other } else { best }
                });
                let passes = y.is_none_or(|y| y[at] > T::ZERO);
                if let Some(winner) = winner.filter(|_| passes) {
                    dx[winner] += dy[at];
                }
            }
        });
    }
}

/// An average pool.
#[derive(Debug, Clone)]
pub struct AveragePool<T: 'static> {
    geometry: PoolGeometry,
    count_padding: bool,
    kernels: &'static Kernels<T>,
}

impl<T: Element> AveragePool<T> {
    /// Plans a pool; without `count_padding` sums are divided by the number of real elements.
    pub fn new(geometry: PoolGeometry, count_padding: bool, kernels: &'static Kernels<T>) -> Self {
        Self { geometry, count_padding, kernels }
    }

    /// Rows (depth times height) of the output.
    pub fn rows(&self) -> usize {
        self.geometry.axes[0].output * self.geometry.axes[1].output
    }

    /// Computes `rows` of the output of one sample; `y` holds exactly these rows.
    pub fn forward(&self, x: &[T], y: &mut [T], rows: Range<usize>) {
        for_runs(&self.geometry, rows, |run, out, position| {
            let share = self.share(run, position);
            self.kernels.pool(run, Pooling::Average { x, y: &mut y[out], share });
        });
    }

    /// The gradient to the input of one sample.
    pub fn backward(&self, dy: &[T], dx: &mut [T]) {
        let store = prepare(&self.geometry, dx);
        for_runs(&self.geometry, 0..self.rows(), |run, out, position| {
            let share = self.share(run, position);
            self.kernels.pool(run, Pooling::AverageGrad { dy: &dy[out], dx, share, store });
        });
    }

    /// One over what the sum of a window is divided by.
    ///
    /// Padding counts as far as it was asked for: the part of a window that reaches beyond it (`ceil_mode`) does not.
    fn share(&self, run: &WindowRun<'_>, position: [usize; 3]) -> T {
        let padded = |(axis, o): (&Axis, usize)| {
            let room = (axis.input + axis.before + axis.after).saturating_sub(o * axis.stride);
            room.div_ceil(axis.dilation).min(axis.kernel)
        };
        let count = if self.count_padding {
            self.geometry.axes.iter().zip(position).map(padded).product()
        } else {
            run.taps.len()
        };
        T::from_f64(1.0 / count.max(1) as f64)
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
