//! Max and average pooling of one sample, channels last, with gradients.
//!
//! An output row is cut into runs of outputs whose windows see the same taps; the kernels do a run at a time.
//! Max-pooling remembers the tap that won (the first in row-major order; NaN wins over everything), so that its
//! gradient needs neither input nor output. Gradients can be computed for a halo of input rows alone: every element
//! gets its contributions in the order of the outputs, whatever the halos are. Nothing is allocated here: a `taps`
//! argument is memory to be used again.

mod global;

use std::ops::Range;

pub use global::{global_average, global_average_grad, global_max, global_max_grad};

use crate::geometry::{Axis, AxisMap, PoolGeometry};
use crate::kernels::{CHAIN, Element, Job, Kernels, Pooling, Tap, WindowRun};
use crate::memory;
use crate::parallel::Interrupt;
use crate::tuning::INTERRUPT_WORK;

/// Rows (depth times height) of the input.
fn input_rows(g: &PoolGeometry) -> usize {
    g.axes[0].input * g.axes[1].input
}

/// Rows of the output.
fn output_rows(g: &PoolGeometry) -> usize {
    g.axes[0].output * g.axes[1].output
}

/// Elements of a row of the input.
fn input_row_len(g: &PoolGeometry) -> usize {
    g.axes[2].input * g.channels
}

/// Whether the windows of an output row reach a row of the halo.
fn touches(g: &PoolGeometry, row: usize, halo: &Range<usize>) -> bool {
    let [d, h, _] = &g.axes;
    let (d_taps, d_first) = AxisMap::forward(d).taps_inside(row / h.output);
    let (h_taps, h_first) = AxisMap::forward(h).taps_inside(row % h.output);
    (0..d_taps.len()).any(|i| {
        let plane = (d_first + i * d.dilation) * h.input;
        (0..h_taps.len()).any(|j| halo.contains(&(plane + h_first + j * h.dilation)))
    })
}

/// Calls `visit(run, outputs of the run, position of the first)` for all runs of some rows (depth times height).
///
/// Outputs are counted from the first of the rows, in elements; what a tap reads, from the first row of `halo`. Taps
/// outside of the halo are left out. `taps` is memory for them. A run of large windows is cut, so that `stopped` is
/// asked every some milliseconds; nothing more is visited once it says so.
fn for_runs(
    g: &PoolGeometry,
    rows: Range<usize>,
    halo: Range<usize>,
    taps: &mut Vec<Tap>,
    stopped: Interrupt<'_>,
    mut visit: impl FnMut(&WindowRun<'_>, Range<usize>, [usize; 3]),
) {
    let [d, h, w] = &g.axes;
    let [planes, lines, columns] = g.axes.each_ref().map(AxisMap::forward);
    let whole = columns.whole();
    let mut position = [rows.start / h.output.max(1), rows.start % h.output.max(1)];
    let mut unasked = 0;
    for i in 0..rows.len() {
        let [(d_taps, d_first), (h_taps, h_first)] =
            [planes.taps_inside(position[0]), lines.taps_inside(position[1])];
        let mut column = 0;
        while column < w.output {
            let count = if whole.contains(&column) { whole.len() } else { 1 };
            let (w_taps, w_first) = columns.taps_inside(column);
            taps.clear();
            for (i, td) in d_taps.clone().enumerate() {
                for (j, th) in h_taps.clone().enumerate() {
                    let input = (d_first + i * d.dilation) * h.input + h_first + j * h.dilation;
                    if !halo.contains(&input) {
                        continue;
                    }
                    let line = (input - halo.start) * w.input;
                    memory::demand(memory::reserve(taps, w_taps.len()));
                    taps.extend(w_taps.clone().enumerate().map(|(k, tw)| Tap {
                        number: (td * h.kernel + th) * w.kernel + tw,
                        at: (line + w_first + k * w.dilation) * g.channels,
                    }));
                }
            }
            // A step to an output that is not there may be beyond all sizes.
            let step = g.channels * if count > 1 { w.stride } else { 1 };
            let window = (taps.len() * g.channels).max(1);
            let end = column + count;
            loop {
                let count = (end - column).min((INTERRUPT_WORK / window).max(1));
                unasked += count.saturating_mul(window);
                if unasked > INTERRUPT_WORK {
                    unasked = 0;
                    if stopped() {
                        return;
                    }
                }
                let run = WindowRun { taps, count, step, channels: g.channels };
                let first = (i * w.output + column) * g.channels;
                visit(&run, first..first + count * g.channels, [position[0], position[1], column]);
                column += count;
                if column == end {
                    break;
                }
                taps.iter_mut().for_each(|tap| tap.at += count * step);
            }
        }
        position[1] += 1;
        if position[1] == h.output {
            position = [position[0] + 1, 0];
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

/// The first of the largest elements that output `i` of a run sees; the first NaN beats everything.
fn winner<T: Element>(run: &WindowRun<'_>, x: &[T], i: usize) -> Option<usize> {
    let place = |tap: &Tap| tap.at + i / run.channels * run.step + i % run.channels;
    run.taps.iter().map(place).reduce(|best, other| {
        let wins = x[other] > x[best] || x[other].is_nan() && !x[best].is_nan();
        if wins { other } else { best }
    })
}

/// See [`MaxPool::MOST_TAPS`].
const MOST_TAPS: usize = 256;
/// Columns that are done at a time where sums or maxima of each are on the stack.
const COLUMNS: usize = 64;

/// A max-pool.
#[derive(Debug, Clone)]
pub struct MaxPool<T: 'static> {
    geometry: PoolGeometry,
    kernels: &'static Kernels<T>,
}

/// Memory of [`MaxPool::forward_indices`] and [`MaxPool::backward_halo`] that can be used again.
#[derive(Debug)]
pub struct PoolScratch<T> {
    winners: Vec<u8>,
    row: Vec<T>,
    places: Vec<i64>,
    taps: Vec<Tap>,
}

impl<T> Default for PoolScratch<T> {
    fn default() -> Self {
        Self { winners: Vec::new(), row: Vec::new(), places: Vec::new(), taps: Vec::new() }
    }
}

impl<T: Element> PoolScratch<T> {
    /// Makes room for all that a pool needs.
    pub fn reserve(&mut self, g: &PoolGeometry) {
        let row = g.axes[2].output * g.channels;
        // Lengths that are there already are kept: rows of any length may follow each other.
        fn room<T>(vector: &mut Vec<T>, len: usize) {
            memory::demand(memory::reserve(vector, len.saturating_sub(vector.len())));
        }
        room(&mut self.winners, row);
        room(&mut self.row, row);
        room(&mut self.places, g.window_len().min(MOST_TAPS));
        room(&mut self.taps, g.most_taps());
    }
}

impl<T: Element> MaxPool<T> {
    /// Taps that the number of a winner, a byte, tells apart.
    pub const MOST_TAPS: usize = MOST_TAPS;

    /// Plans a pool.
    pub fn new(geometry: PoolGeometry, kernels: &'static Kernels<T>) -> Self {
        Self { geometry, kernels }
    }

    /// Rows (depth times height) of the output.
    pub fn rows(&self) -> usize {
        output_rows(&self.geometry)
    }

    /// Computes `rows` of the output of one sample; `y` holds exactly these rows. The winning taps go to `winners`,
    /// unless it is empty. A window that lies in the padding altogether gives minus infinity.
    ///
    /// # Panics
    /// Winners are asked for and the window has more than [`MaxPool::MOST_TAPS`] taps.
    pub fn forward(
        &self,
        x: &[T],
        y: &mut [T],
        winners: &mut [u8],
        rows: Range<usize>,
        (taps, stopped): (&mut Vec<Tap>, Interrupt<'_>),
    ) {
        assert!(
            winners.is_empty() || self.geometry.window_len() <= Self::MOST_TAPS,
            "too many taps for a byte"
        );
        for_runs(&self.geometry, rows, 0..input_rows(&self.geometry), taps, stopped, |run, out, _| {
            if run.taps.is_empty() {
                return y[out].fill(T::from_f64(f64::NEG_INFINITY));
            }
            let winners = if winners.is_empty() { &mut [][..] } else { &mut winners[out.clone()] };
            self.kernels.pool(run, Pooling::Max { x, y: &mut y[out], winners });
        });
    }

    /// As [`MaxPool::forward`], with the flat position (depth, height, width) of every winner instead of its tap; -1
    /// for a window that lies in the padding altogether.
    pub fn forward_indices(
        &self,
        x: &[T],
        y: &mut [T],
        indices: &mut [i64],
        rows: Range<usize>,
        (scratch, stopped): (&mut PoolScratch<T>, Interrupt<'_>),
    ) {
        let g = &self.geometry;
        let (c, small) = (g.channels, g.window_len() <= Self::MOST_TAPS);
        memory::demand(memory::resize(&mut scratch.places, if small { g.window_len() } else { 0 }, 0));
        let PoolScratch { winners, places, taps, .. } = scratch;
        for_runs(g, rows, 0..input_rows(g), taps, stopped, |run, out, _| {
            let (y, indices) = (&mut y[out.clone()], &mut indices[out]);
            if run.taps.is_empty() {
                y.fill(T::from_f64(f64::NEG_INFINITY));
                indices.fill(-1);
            } else if small {
                memory::demand(memory::resize(winners, y.len(), 0));
                self.kernels.pool(run, Pooling::Max { x, y, winners });
                run.taps.iter().for_each(|tap| places[tap.number] = (tap.at / c) as i64);
                let outputs = indices.chunks_exact_mut(c).zip(winners.chunks_exact(c));
                for (i, (indices, winners)) in outputs.enumerate() {
                    let shift = (i * run.step / c) as i64;
                    for (index, winner) in indices.iter_mut().zip(winners) {
                        *index = places[usize::from(*winner)] + shift;
                    }
                }
            } else {
                for (i, (y, index)) in y.iter_mut().zip(indices).enumerate() {
                    if let Some(at) = winner(run, x, i) {
                        (*y, *index) = (x[at], (at / c) as i64);
                    }
                }
            }
        });
    }

    /// The gradient to the input of one sample. With `y`, the gradient passes only where the output is positive: the
    /// gradient of a ReLU before the pool.
    pub fn backward(&self, dy: &[T], winners: &[u8], y: Option<&[T]>, dx: &mut [T], taps: &mut Vec<Tap>) {
        let store = prepare(&self.geometry, dx);
        for_runs(
            &self.geometry,
            0..self.rows(),
            0..input_rows(&self.geometry),
            taps,
            &|| false,
            |run, out, _| {
                let y = y.map_or(&[][..], |y| &y[out.clone()]);
                let (dy, winners) = (&dy[out.clone()], &winners[out]);
                self.kernels.pool(run, Pooling::MaxGrad { dy, winners, y, dx, store });
            },
        );
    }

    /// The same without winners of the forward pass, for windows of any size: the winner is looked for again.
    pub fn backward_from(&self, x: &[T], dy: &[T], y: Option<&[T]>, dx: &mut [T], taps: &mut Vec<Tap>) {
        dx.fill(T::ZERO);
        for_runs(
            &self.geometry,
            0..self.rows(),
            0..input_rows(&self.geometry),
            taps,
            &|| false,
            |run, out, _| {
                for (i, at) in out.enumerate() {
                    let passes = y.is_none_or(|y| y[at] > T::ZERO);
                    if let Some(winner) = winner(run, x, i).filter(|_| passes) {
                        dx[winner] += dy[at];
                    }
                }
            },
        );
    }

    /// The gradient to the rows `halo` of the input of one sample, from input and output gradient; `dx` holds exactly
    /// these rows. Windows that reach out of the halo are looked at by every halo they touch.
    pub fn backward_halo(
        &self,
        x: &[T],
        dy: &[T],
        dx: &mut [T],
        halo: Range<usize>,
        (scratch, stopped): (&mut PoolScratch<T>, Interrupt<'_>),
    ) {
        let g = &self.geometry;
        let len = g.axes[2].output * g.channels;
        let small = g.window_len() <= Self::MOST_TAPS;
        let own = halo.start * input_row_len(g)..halo.end * input_row_len(g);
        let store = prepare(g, dx);
        if !small {
            dx.fill(T::ZERO);
        }
        memory::demand(memory::resize(&mut scratch.winners, len, 0));
        memory::demand(memory::resize(&mut scratch.row, len, T::ZERO));
        for row in (0..self.rows()).filter(|&row| touches(g, row, &halo)) {
            if stopped() {
                return;
            }
            let dy = &dy[row * len..(row + 1) * len];
            if small {
                self.forward(
                    x,
                    &mut scratch.row,
                    &mut scratch.winners,
                    row..row + 1,
                    (&mut scratch.taps, stopped),
                );
                for_runs(g, row..row + 1, halo.clone(), &mut scratch.taps, stopped, |run, out, _| {
                    let (dy, winners) = (&dy[out.clone()], &scratch.winners[out]);
                    self.kernels.pool(run, Pooling::MaxGrad { dy, winners, y: &[], dx, store });
                });
            } else {
                for_runs(g, row..row + 1, 0..input_rows(g), &mut scratch.taps, stopped, |run, out, _| {
                    for (i, at) in out.enumerate() {
                        if let Some(winner) = winner(run, x, i).filter(|at| own.contains(at)) {
                            dx[winner - own.start] += dy[at];
                        }
                    }
                });
            }
        }
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
        output_rows(&self.geometry)
    }

    /// Computes `rows` of the output of one sample; `y` holds exactly these rows.
    pub fn forward(
        &self,
        x: &[T],
        y: &mut [T],
        rows: Range<usize>,
        (taps, stopped): (&mut Vec<Tap>, Interrupt<'_>),
    ) {
        for_runs(&self.geometry, rows, 0..input_rows(&self.geometry), taps, stopped, |run, out, position| {
            let share = self.share(position);
            self.kernels.pool(run, Pooling::Average { x, y: &mut y[out], share });
        });
    }

    /// The gradient to the input of one sample.
    pub fn backward(&self, dy: &[T], dx: &mut [T], taps: &mut Vec<Tap>) {
        if self.is_deep() {
            return self.gather(dy, dx, 0..input_rows(&self.geometry), &|| false);
        }
        let store = prepare(&self.geometry, dx);
        self.add_rows(dy, dx, [0..self.rows(), 0..input_rows(&self.geometry)], store, (taps, &|| false));
    }

    /// The gradient to the rows `halo` of the input of one sample; `dx` holds exactly these rows.
    pub fn backward_halo(
        &self,
        dy: &[T],
        dx: &mut [T],
        halo: Range<usize>,
        (taps, stopped): (&mut Vec<Tap>, Interrupt<'_>),
    ) {
        if self.is_deep() {
            return self.gather(dy, dx, halo, stopped);
        }
        let g = &self.geometry;
        let len = g.axes[2].output * g.channels;
        let store = prepare(g, dx);
        for row in (0..self.rows()).filter(|&row| touches(g, row, &halo)) {
            if stopped() {
                return;
            }
            self.add_rows(
                &dy[row * len..(row + 1) * len],
                dx,
                [row..row + 1, halo.clone()],
                store,
                (&mut *taps, stopped),
            );
        }
    }

    fn add_rows(
        &self,
        dy: &[T],
        dx: &mut [T],
        [rows, halo]: [Range<usize>; 2],
        store: bool,
        (taps, stopped): (&mut Vec<Tap>, Interrupt<'_>),
    ) {
        for_runs(&self.geometry, rows, halo, taps, stopped, |run, out, position| {
            let share = self.share(position);
            self.kernels.pool(run, Pooling::AverageGrad { dy: &dy[out], dx, share, store });
        });
    }

    /// Whether an input may belong to so many windows that its gradient is not one chain.
    fn is_deep(&self) -> bool {
        let windows = |a: &Axis| {
            let most = if a.dilation == 1 { a.kernel.div_ceil(a.stride) } else { a.kernel };
            most.min(a.output)
        };
        self.geometry.axes.iter().map(windows).fold(1, usize::saturating_mul) > CHAIN
    }

    /// The gradient to the rows `halo` of the input, element by element: the windows of each in blocks.
    fn gather(&self, dy: &[T], dx: &mut [T], halo: Range<usize>, stopped: Interrupt<'_>) {
        let g = &self.geometry;
        let [_, h, w] = &g.axes;
        for (at, dx) in dx.chunks_exact_mut(g.channels).enumerate() {
            if stopped() {
                return;
            }
            let row = halo.start + at / w.input;
            let position = [row / h.input, row % h.input, at % w.input];
            for (i, dx) in dx.chunks_mut(COLUMNS).enumerate() {
                self.kernels.tier.vectorize(Gathered { pool: self, dy, position, first: i * COLUMNS, dx });
            }
        }
    }

    /// One over what the sum of a window is divided by.
    ///
    /// Padding counts as far as it was asked for: the part of a window that reaches beyond it (`ceil_mode`) does not.
    fn share(&self, position: [usize; 3]) -> T {
        T::from_f64(1.0 / self.elements(position).max(1) as f64)
    }

    /// Elements of a window, as they count.
    fn elements(&self, position: [usize; 3]) -> usize {
        let elements = |(axis, o): (&Axis, usize)| {
            if self.count_padding {
                let room = (axis.input + axis.before + axis.after).saturating_sub(o * axis.stride);
                room.div_ceil(axis.dilation).min(axis.kernel)
            } else {
                AxisMap::forward(axis).taps_inside(o).0.len()
            }
        };
        self.geometry.axes.iter().zip(position).map(elements).product()
    }
}

/// The gradient to some channels of one element of the input; see [`AveragePool::gather`].
struct Gathered<'a, T: 'static> {
    pool: &'a AveragePool<T>,
    dy: &'a [T],
    position: [usize; 3],
    first: usize,
    dx: &'a mut [T],
}

impl<T: Element> Job for Gathered<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let g = &self.pool.geometry;
        let [_, h, w] = &g.axes;
        let [planes, lines, columns] = g.axes.each_ref().map(AxisMap::forward);
        let n = self.dx.len();
        let (mut totals, mut sums) = ([0.0f64; COLUMNS], [T::ZERO; COLUMNS]);
        let (mut count, mut seen, mut share) = (0, None, T::ZERO);
        for od in planes.results_reading(self.position[0]) {
            for oh in lines.results_reading(self.position[1]) {
                for ow in columns.results_reading(self.position[2]) {
                    let elements = self.pool.elements([od, oh, ow]);
                    if seen != Some(elements) {
                        (seen, share) = (Some(elements), self.pool.share([od, oh, ow]));
                    }
                    let from = ((od * h.output + oh) * w.output + ow) * g.channels + self.first;
                    for (sum, dy) in sums[..n].iter_mut().zip(&self.dy[from..from + n]) {
                        *sum += dy.mul(share);
                    }
                    count += 1;
                    if count % CHAIN == 0 {
                        for (total, sum) in totals[..n].iter_mut().zip(&mut sums) {
                            *total += std::mem::replace(sum, T::ZERO).to_f64();
                        }
                    }
                }
            }
        }
        for (dx, (total, sum)) in self.dx.iter_mut().zip(totals.iter().zip(&sums)) {
            *dx = T::from_f64(*total + sum.to_f64());
        }
    }
}
