//! Convolutions with many groups of few channels, depthwise ones among them: output channels are in the lanes.
//!
//! With one channel in and out per group every vector of outputs is a sum of input vectors times weight vectors, read in
//! place. With 2, 4 or 8 in and as many out the kernels repeat the lanes of a group in the register. With others, the
//! input rows that a block reads are first *spread*: for channel `r` of a group a copy in which every output channel
//! finds that channel of its own group. Then a tap is `k` taps and all is as before.
//!
//! The gradient to the input is the same with exchanged roles: position `i` reads the outputs `(i + before - t *
//! dilation) / stride` where the division is exact. A row is cut into runs of positions that see the same taps; taps
//! that meet the border are left out.

use std::ops::Range;

use super::{Accumulation, Correlation, Epilogue, Portion, Scratch};
use crate::geometry::{AXES, Axis, ConvGeometry};
use crate::kernels::{Element, Job, Kernels, LaneWork, Tap, WindowRun};

/// Products of the channels of a group at most: beyond, tiles of outputs times channels are as good.
const MOST_PRODUCTS: usize = 64;
/// Bytes of spread rows: half of a small share of L2.
const BAND_BYTES: usize = 96 << 10;
/// Rows of a block at most.
const MOST_ROWS: usize = 16;
/// Columns of a series that tasks are made of.
const STRIP: usize = 256;

/// Whether the groups are so small that their channels would leave the lanes of a vector empty.
pub(super) fn accepts(geometry: &ConvGeometry) -> bool {
    geometry.groups > 1 && geometry.group_in() * geometry.group_out() <= MOST_PRODUCTS
}

/// A tap of an axis and the position that it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Link {
    tap: usize,
    source: usize,
}

/// Positions of a row of results, `out_step` apart, that see the same taps `step` apart.
#[derive(Debug)]
struct Columns {
    first: usize,
    count: usize,
    out_step: usize,
    step: usize,
    /// What the first of them reads.
    links: Vec<Link>,
}

/// What results read along one axis.
type Links = fn(&Axis, usize) -> Vec<Link>;

/// Output `o` reads the inputs `o * stride + t * dilation - before`.
fn forward_links(axis: &Axis, o: usize) -> Vec<Link> {
    let source = |tap: usize| (o * axis.stride + tap * axis.dilation).checked_sub(axis.before);
    (0..axis.kernel)
        .filter_map(|tap| source(tap).filter(|&i| i < axis.input).map(|source| Link { tap, source }))
        .collect()
}

/// Input `i` reads the outputs `(i + before - t * dilation) / stride`; taps in reverse, so that sources ascend.
fn input_grad_links(axis: &Axis, i: usize) -> Vec<Link> {
    let source = |tap: usize| {
        let far = (i + axis.before).checked_sub(tap * axis.dilation)?;
        (far % axis.stride == 0 && far / axis.stride < axis.output).then_some(far / axis.stride)
    };
    (0..axis.kernel).rev().filter_map(|tap| source(tap).map(|source| Link { tap, source })).collect()
}

/// Cuts a row of `len` results into runs.
fn columns(axis: &Axis, len: usize, out_step: usize, step: usize, links: Links) -> Vec<Columns> {
    let mut runs: Vec<Columns> = Vec::new();
    for phase in 0..out_step.min(len) {
        let start = runs.len();
        for first in (phase..len).step_by(out_step) {
            let new = links(axis, first);
            if let Some(run) = runs[start..].last_mut() {
                let moved = run.links.iter().map(|l| Link { source: l.source + run.count * run.step, ..*l });
                if moved.eq(new.iter().copied()) {
                    run.count += 1;
                    continue;
                }
            }
            runs.push(Columns { first, count: 1, out_step, step, links: new });
        }
    }
    runs
}

/// A pass as sums over taps, from a tensor of groups of `k` channels to one of groups of `n`.
#[derive(Debug)]
struct Sweep {
    planes: Vec<Vec<Link>>,
    rows: Vec<Vec<Link>>,
    columns: Vec<Columns>,
    kernel: [usize; AXES],
    from: [usize; AXES],
    to: [usize; AXES],
    groups: usize,
    k: usize,
    n: usize,
    /// Whether the kernels mix the channels of a group: no spread rows.
    mixes: bool,
    /// Rows of results and columns of a row whose sources are spread at a time.
    block: usize,
    window: usize,
    band_len: usize,
}

impl Sweep {
    fn forward<T>(g: &ConvGeometry, lanes: usize) -> Self {
        let width = &g.axes[2];
        let row = columns(width, width.output, 1, width.stride, forward_links);
        let sizes = [g.axes.each_ref().map(|a| a.input), g.axes.each_ref().map(|a| a.output)];
        Self::plan::<T>(g, sizes, (g.group_in(), g.group_out()), row, (forward_links, lanes))
    }

    fn input_grad<T>(g: &ConvGeometry, lanes: usize) -> Self {
        let width = &g.axes[2];
        let row = columns(width, width.input, width.stride, 1, input_grad_links);
        let sizes = [g.axes.each_ref().map(|a| a.output), g.axes.each_ref().map(|a| a.input)];
        Self::plan::<T>(g, sizes, (g.group_out(), g.group_in()), row, (input_grad_links, lanes))
    }

    fn plan<T>(
        g: &ConvGeometry,
        [from, to]: [[usize; AXES]; 2],
        (k, n): (usize, usize),
        columns: Vec<Columns>,
        (links, width): (Links, usize),
    ) -> Self {
        let all = |axis: usize| (0..to[axis]).map(|i| links(&g.axes[axis], i)).collect::<Vec<_>>();
        let mut sweep = Self {
            planes: all(0),
            rows: all(1),
            columns,
            kernel: g.axes.each_ref().map(|a| a.kernel),
            from,
            to,
            groups: g.groups,
            k,
            n,
            mixes: k == n && matches!(k, 1 | 2 | 4 | 8) && width.is_multiple_of(k),
            block: to[1],
            window: to[2],
            band_len: 0,
        };
        if sweep.spreads() {
            // A long row is spread in windows, one row at a time: sums over positions keep their order.
            let fits = |sweep: &Self| sweep.longest_band() * size_of::<T>() <= BAND_BYTES;
            sweep.block = to[1].min(MOST_ROWS);
            while sweep.block > 1 && !fits(&sweep) {
                sweep.block /= 2;
            }
            while sweep.block == 1 && sweep.window > 16 && !fits(&sweep) {
                sweep.window = sweep.window.div_ceil(2);
            }
            sweep.band_len = sweep.longest_band();
        }
        sweep
    }

    /// Whether a vector of results needs more than one vector of sources, or an order that no register has.
    fn spreads(&self) -> bool {
        !self.mixes
    }

    /// Channels of a group that the kernels mix.
    fn mix(&self) -> usize {
        if self.mixes { self.k } else { 1 }
    }

    fn channels(&self) -> usize {
        self.groups * self.n
    }

    fn reserve<T: Element>(&self, scratch: &mut Scratch<T>) {
        scratch.reserve((self.band_len, 0));
        scratch.reserve_taps(self.kernel.iter().product::<usize>() * self.k);
    }

    /// Elements of a piece of a row.
    fn strip(&self) -> usize {
        self.window.min(STRIP) * self.channels()
    }

    /// Elements of a position of the spread rows.
    fn spread_len(&self) -> usize {
        self.k * self.channels()
    }

    /// The largest band that a block and window need.
    fn longest_band(&self) -> usize {
        let planes = self.planes.iter().map(Vec::len).max().unwrap_or(0);
        let starts = |len: usize, step: usize| (0..len).step_by(step.max(1));
        let rows = starts(self.to[1], 1)
            .map(|first| self.source_rows(&(first..(first + self.block).min(self.to[1]))).len())
            .max();
        // A strip may start between two windows.
        let columns = starts(self.to[2], 1)
            .map(|first| self.source_columns(&(first..(first + self.window).min(self.to[2]))).len())
            .max();
        planes * rows.unwrap_or(0) * columns.unwrap_or(0) * self.spread_len()
    }

    /// Source rows that some rows of results read, and those between them.
    fn source_rows(&self, rows: &Range<usize>) -> Range<usize> {
        let links = || self.rows[rows.clone()].iter().flatten().map(|link| link.source);
        links().min().unwrap_or(0)..links().max().map_or(0, |last| last + 1)
    }

    /// Source columns that a window reads, and those between them.
    fn source_columns(&self, window: &Range<usize>) -> Range<usize> {
        let mut all: Option<Range<usize>> = None;
        for run in &self.columns {
            let part = run.part(window);
            if part.is_empty() {
                continue;
            }
            for link in &run.links {
                let (first, last) =
                    (link.source + part.start * run.step, link.source + (part.end - 1) * run.step);
                let old = all.take().unwrap_or(first..last + 1);
                all = Some(old.start.min(first)..old.end.max(last + 1));
            }
        }
        all.unwrap_or(0..0)
    }

    /// Calls `visit(source, run, row of results, first column, distance of the columns)` for all runs of some columns
    /// of some rows.
    fn run<T: Element>(
        &self,
        from: &[T],
        (rows, columns): (Range<usize>, Range<usize>),
        kernels: &Kernels<T>,
        scratch: &mut Scratch<T>,
        mut visit: impl FnMut(&[T], &WindowRun<'_>, usize, usize, usize),
    ) {
        self.reserve(scratch);
        let Scratch { band, taps, .. } = scratch;
        let mut row = rows.start;
        while row < rows.end {
            let (plane, first) = (row / self.to[1], row % self.to[1]);
            let end = (first + self.block).min(self.to[1]).min(first + rows.end - row);
            for start in columns.clone().step_by(self.window.max(1)) {
                let window = start..(start + self.window).min(columns.end);
                let source = self.source(from, plane, first..end, &window, kernels, band);
                for h in first..end {
                    for run in &self.columns {
                        let part = run.part(&window);
                        if part.is_empty() {
                            continue;
                        }
                        self.taps(&source, plane, h, run, part.start, taps);
                        let (step, channels) = (run.step * source.column, self.channels());
                        let lanes = WindowRun { taps, count: part.len(), step, channels };
                        let column = run.first + part.start * run.out_step;
                        visit(source.data, &lanes, row - rows.start + h - first, column, run.out_step);
                    }
                }
            }
            row += end - first;
        }
    }

    /// The sources of a block: in place, or spread into the band.
    fn source<'a, T: Element>(
        &self,
        from: &'a [T],
        plane: usize,
        rows: Range<usize>,
        window: &Range<usize>,
        kernels: &Kernels<T>,
        band: &'a mut [T],
    ) -> Source<'a, T> {
        let [_, height, width] = self.from;
        let from_channels = self.groups * self.k;
        let row_len = width * from_channels;
        if !self.spreads() {
            let plane = height * row_len;
            return Source {
                data: from,
                plane,
                row: row_len,
                column: from_channels,
                rows: 0,
                columns: 0,
                by_number: false,
            };
        }
        let (rows, columns) = (self.source_rows(&rows), self.source_columns(window));
        let column = self.spread_len();
        let row = columns.len() * column;
        let plane_len = rows.len() * row;
        if row > 0 {
            let used = self.planes[plane].len() * plane_len;
            let lines = band[..used].chunks_exact_mut(row);
            let sources = self.planes[plane].iter().flat_map(|link| rows.clone().map(|r| (link.source, r)));
            for (line, (p, r)) in lines.zip(sources) {
                let at = (p * height + r) * row_len;
                let from = &from[at + columns.start * from_channels..at + columns.end * from_channels];
                kernels.tier.vectorize(Spread { from, to: line, groups: self.groups, k: self.k, n: self.n });
            }
        }
        Source {
            data: band,
            plane: plane_len,
            row,
            column,
            rows: rows.start,
            columns: columns.start,
            by_number: true,
        }
    }

    /// The taps of the run at `(plane, row)`, seen from its position `skip`.
    fn taps<T>(
        &self,
        source: &Source<'_, T>,
        plane: usize,
        row: usize,
        run: &Columns,
        skip: usize,
        taps: &mut Vec<Tap>,
    ) {
        taps.clear();
        let [_, kernel_h, kernel_w] = self.kernel;
        for (number, d) in self.planes[plane].iter().enumerate() {
            let p = if source.by_number { number } else { d.source };
            for h in &self.rows[row] {
                let line = p * source.plane + (h.source - source.rows) * source.row;
                for w in &run.links {
                    let column = w.source + skip * run.step - source.columns;
                    let at = line + column * source.column;
                    let tap = (d.tap * kernel_h + h.tap) * kernel_w + w.tap;
                    if self.mixes {
                        taps.push(Tap { number: tap, at });
                        continue;
                    }
                    let spread = |r: usize| Tap { number: tap * self.k + r, at: at + r * self.channels() };
                    taps.extend((0..self.k).map(spread));
                }
            }
        }
    }
}

impl Columns {
    /// The positions of the run, by number, that lie in a window.
    fn part(&self, window: &Range<usize>) -> Range<usize> {
        let number =
            |column: usize| column.saturating_sub(self.first).div_ceil(self.out_step).min(self.count);
        number(window.start)..number(window.end)
    }
}

/// Where the sources of a block are.
struct Source<'a, T> {
    data: &'a [T],
    plane: usize,
    row: usize,
    column: usize,
    /// First row and column that `data` holds.
    rows: usize,
    columns: usize,
    /// Whether planes are counted by the number of the tap that reads them.
    by_number: bool,
}

/// `to[position][r][g * n + j] = from[position][g * k + r]`
struct Spread<'a, T> {
    from: &'a [T],
    to: &'a mut [T],
    groups: usize,
    k: usize,
    n: usize,
}

impl<T: Element> Spread<'_, T> {
    /// `n` is a parameter of its own, so that the usual numbers are known to the compiler.
    #[inline(always)]
    fn spread(self, n: usize) {
        let Self { from, to, groups, k, .. } = self;
        for (from, to) in from.chunks_exact(groups * k).zip(to.chunks_exact_mut(k * groups * n)) {
            for (r, line) in to.chunks_exact_mut(groups * n).enumerate() {
                for (cells, from) in line.chunks_exact_mut(n).zip(from.chunks_exact(k)) {
                    cells.fill(from[r]);
                }
            }
        }
    }
}

impl<T: Element> Job for Spread<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        match self.n {
            1 => self.spread(1),
            2 => self.spread(2),
            4 => self.spread(4),
            8 => self.spread(8),
            n => self.spread(n),
        }
    }
}

/// Forward, or to the input.
#[derive(Debug)]
pub(super) struct Depthwise<T: Element> {
    sweep: Sweep,
    kernels: &'static Kernels<T>,
    transposed: bool,
}

impl<T: Element> Depthwise<T> {
    /// Plans the forward pass.
    pub(super) fn forward(geometry: &ConvGeometry, kernels: &'static Kernels<T>) -> Self {
        Self { sweep: Sweep::forward::<T>(geometry, kernels.width), kernels, transposed: false }
    }

    /// Plans the gradient to the input.
    pub(super) fn input_grad(geometry: &ConvGeometry, kernels: &'static Kernels<T>) -> Self {
        Self { sweep: Sweep::input_grad::<T>(geometry, kernels.width), kernels, transposed: true }
    }
}

impl<T: Element> Correlation<T> for Depthwise<T> {
    fn packed_len(&self) -> usize {
        self.sweep.kernel.iter().product::<usize>() * self.sweep.spread_len()
    }

    fn pack(&self, kernel: &[T], packed: &mut [T]) {
        if !self.transposed {
            packed.copy_from_slice(kernel);
            return;
        }
        // Kernel (tap, n, groups * k) becomes (tap, k, groups * n).
        let Sweep { groups, k, n, .. } = self.sweep;
        let taps = kernel.chunks_exact(n * groups * k).zip(packed.chunks_exact_mut(k * groups * n));
        for (kernel, packed) in taps {
            for (q, line) in packed.chunks_exact_mut(groups * n).enumerate() {
                for (c, cell) in line.iter_mut().enumerate() {
                    *cell = kernel[(c % n) * groups * k + c / n * k + q];
                }
            }
        }
    }

    fn rows(&self) -> usize {
        self.sweep.to[0] * self.sweep.to[1]
    }

    fn row_len(&self) -> usize {
        self.sweep.to[2] * self.sweep.channels()
    }

    fn reserve(&self, scratch: &mut Scratch<T>) {
        self.sweep.reserve(scratch);
    }

    fn run(
        &self,
        from: &[T],
        packed: &[T],
        to: &mut [T],
        rows: Range<usize>,
        epilogue: Epilogue<'_, T>,
        scratch: &mut Scratch<T>,
    ) {
        let (row_len, channels) = (self.row_len(), self.sweep.channels());
        let Epilogue { bias, relu } = epilogue;
        let (k, past_cache) = (self.sweep.mix(), scratch.past_cache);
        let all = (rows, 0..self.sweep.to[2]);
        self.sweep.run(from, all, self.kernels, scratch, |x, run, row, column, distance| {
            let y = &mut to[row * row_len..][..row_len][column * channels..];
            let y_step = distance * channels;
            self.kernels.lane_work(run, LaneWork::Map { x, w: packed, y, y_step, bias, relu, k, past_cache });
        });
    }

    fn strip(&self) -> usize {
        self.sweep.strip()
    }

    fn run_strip(
        &self,
        from: &[T],
        packed: &[T],
        to: &mut [T],
        elements: Range<usize>,
        epilogue: Epilogue<'_, T>,
        scratch: &mut Scratch<T>,
    ) {
        let channels = self.sweep.channels();
        let Epilogue { bias, relu } = epilogue;
        let (k, past_cache) = (self.sweep.mix(), scratch.past_cache);
        let columns = elements.start / channels..elements.end / channels;
        let first = columns.start;
        self.sweep.run(from, (0..1, columns), self.kernels, scratch, |x, run, _, column, distance| {
            let y = &mut to[(column - first) * channels..];
            let y_step = distance * channels;
            self.kernels.lane_work(run, LaneWork::Map { x, w: packed, y, y_step, bias, relu, k, past_cache });
        });
    }
}

/// To the kernel.
#[derive(Debug)]
pub(super) struct DepthwiseKernelGrad<T: Element> {
    sweep: Sweep,
    kernels: &'static Kernels<T>,
}

impl<T: Element> DepthwiseKernelGrad<T> {
    /// Plans the pass.
    pub(super) fn new(geometry: &ConvGeometry, kernels: &'static Kernels<T>) -> Self {
        Self { sweep: Sweep::forward::<T>(geometry, kernels.width), kernels }
    }
}

impl<T: Element> Accumulation<T> for DepthwiseKernelGrad<T> {
    fn rows(&self) -> usize {
        self.sweep.to[0] * self.sweep.to[1]
    }

    fn row_len(&self) -> usize {
        self.sweep.to[2] * self.sweep.channels()
    }

    fn run(&self, x: &[T], dy: &[T], rows: Range<usize>, dkernel: &mut [T], scratch: &mut Scratch<T>) {
        let (row_len, channels) = (self.row_len(), self.sweep.channels());
        let (k, past_cache) = (self.sweep.mix(), scratch.past_cache);
        let all = (rows, 0..self.sweep.to[2]);
        self.sweep.run(x, all, self.kernels, scratch, |x, run, row, column, _| {
            let dy = &dy[row * row_len..][..row_len][column * channels..];
            self.kernels.lane_work(run, LaneWork::Sum { x, dy, dw: dkernel, k, past_cache });
        });
    }

    fn reserve(&self, scratch: &mut Scratch<T>) {
        self.sweep.reserve(scratch);
    }

    fn strip(&self) -> usize {
        self.sweep.strip()
    }

    fn run_part(&self, x: &[T], dy: &[T], portion: &Portion, dkernel: &mut [T], scratch: &mut Scratch<T>) {
        if portion.strip.len() == self.row_len() {
            let samples = x.chunks_exact(x.len() / portion.samples);
            let part = portion.rows.len() * self.row_len();
            for (x, dy) in samples.zip(dy.chunks_exact(part)) {
                self.run(x, dy, portion.rows.clone(), dkernel, scratch);
            }
            return;
        }
        let channels = self.sweep.channels();
        let columns = portion.strip.start / channels..portion.strip.end / channels;
        let first = columns.start;
        let (k, past_cache) = (self.sweep.mix(), scratch.past_cache);
        self.sweep.run(x, (0..1, columns), self.kernels, scratch, |x, run, _, column, _| {
            let dy = &dy[(column - first) * channels..];
            self.kernels.lane_work(run, LaneWork::Sum { x, dy, dw: dkernel, k, past_cache });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_a_row_once_and_are_long_inside() {
        let axis = Axis { input: 20, output: 10, kernel: 3, stride: 2, dilation: 2, before: 2, after: 1 };
        for (len, out_step, step, links) in
            [(10, 1, 2, forward_links as Links), (20, 2, 1, input_grad_links as Links)]
        {
            let runs = columns(&axis, len, out_step, step, links);
            let mut seen = vec![0; len];
            for run in &runs {
                for i in 0..run.count {
                    let at = run.first + i * run.out_step;
                    seen[at] += 1;
                    let moved = run.links.iter().map(|l| Link { source: l.source + i * run.step, ..*l });
                    assert!(moved.eq(links(&axis, at)), "{run:?}");
                }
            }
            assert!(seen.iter().all(|&n| n == 1), "{runs:?}");
            assert!(runs.len() <= 3 * out_step, "{runs:?}");
        }
    }
}
