//! What every result of a pass reads, and the order in which results are visited.

use std::ops::Range;

use super::{Part, Pass, Problem, Scratch, Tiling};
use crate::conv::Request;
use crate::geometry::{AXES, Axis, Residues};
use crate::kernels::{Block, Element, Job, Kernels, Tap, WindowRun};
use crate::memory;
use crate::tuning::depthwise::TASK_COLUMNS;
use crate::tuning::{HALO_BYTES, HALO_ROWS};

/// A run of results, or the same run of several rows.
pub(super) struct Visit<'a, T> {
    /// The sources.
    pub x: &'a [T],
    pub run: WindowRun<'a>,
    pub block: Option<Block>,
    /// Row, seen from the first of the call, and first column.
    pub row: usize,
    pub column: usize,
    /// Distance of the columns.
    pub y_stride: usize,
}

/// A tap of an axis and the position that it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Link {
    tap: usize,
    source: usize,
}

/// Positions of a row of results, `out_stride` apart, that see the same taps `step` apart.
#[derive(Debug)]
struct Columns {
    first: usize,
    count: usize,
    out_stride: usize,
    step: usize,
    /// What the first of them reads.
    links: Vec<Link>,
}

/// What a position of the results reads along one axis; sources ascend.
fn links(axis: &Residues, position: usize) -> Vec<Link> {
    let links = axis.links(position).map(|(tap, source)| Link { tap, source });
    memory::demand(memory::collect(links))
}

/// Cuts a row of results into runs.
fn columns(axis: &Residues) -> Vec<Columns> {
    let mut runs = Vec::new();
    for map in axis.iter() {
        for alike in map.alike(0..map.count) {
            let first = map.first + alike.start * map.out_step;
            let (out_stride, step) = (map.out_step, map.step);
            runs.push(Columns { first, count: alike.len(), out_stride, step, links: links(axis, first) });
        }
    }
    runs
}

/// A pass as sums over taps, from a tensor of groups of `k` channels to one of groups of `n`.
#[derive(Debug)]
pub(super) struct Sweep {
    planes: Vec<Vec<Link>>,
    rows: Vec<Vec<Link>>,
    columns: Vec<Columns>,
    pub(super) kernel: [usize; AXES],
    from: [usize; AXES],
    to: [usize; AXES],
    pub(super) groups: usize,
    pub(super) k: usize,
    pub(super) n: usize,
    /// Whether the kernels mix the channels of a group: no spread rows.
    mixes: bool,
    /// Rows of a visit, from multiples of it on.
    together: usize,
    /// Whether a row's sources ascend with the taps, and rows of padding that row 0 reads first.
    ascends: bool,
    lead: isize,
    /// Rows of results and columns of a row whose sources are spread at a time.
    block: usize,
    window: usize,
    halo_len: usize,
}

impl Sweep {
    pub(super) fn new<T>(p: Problem<'_, T>, pass: Pass) -> Self {
        let (g, width) = (p.geometry, p.kernels.width);
        let [from, to] = pass.extents(g).map(|extent| [extent.planes, extent.rows, extent.columns]);
        let [k, n] = pass.group_channels(g);
        let axes = pass.axes(g);
        let mixes = k == n && matches!(k, 1 | 2 | 4 | 8) && width.is_multiple_of(k);
        let near = |axis: &Axis| axis.kernel == Block::KERNEL && axis.stride == 1 && axis.dilation == 1;
        let shares = mixes && k == 1 && g.axes[1..].iter().all(near);
        let all = |axis: usize| memory::demand(memory::collect((0..to[axis]).map(|i| links(&axes[axis], i))));
        let mut sweep = Self {
            planes: all(0),
            rows: all(1),
            columns: columns(&axes[2]),
            kernel: g.axes.each_ref().map(|a| a.kernel),
            from,
            to,
            groups: g.groups,
            k,
            n,
            mixes,
            together: if shares { Block::MOST } else { 1 },
            ascends: axes[1].first().is_none_or(|map| map.kernel.1 > 0),
            lead: axes[1].first().map_or(0, |map| -map.start),
            block: to[1],
            window: to[2],
            halo_len: 0,
        };
        if sweep.spreads() {
            // A long row is spread in windows, one row at a time: sums over positions keep their order.
            let fits = |sweep: &Self| sweep.longest_halo() * size_of::<T>() <= HALO_BYTES;
            sweep.block = to[1].min(HALO_ROWS);
            while sweep.block > 1 && !fits(&sweep) {
                sweep.block /= 2;
            }
            while sweep.block == 1 && sweep.window > 16 && !fits(&sweep) {
                sweep.window = sweep.window.div_ceil(2);
            }
            sweep.halo_len = sweep.longest_halo();
        }
        sweep
    }

    /// The same pass without rows that are visited together.
    pub(super) fn row_by_row(mut self) -> Self {
        self.together = 1;
        self
    }

    /// Whether a vector of results needs more than one vector of sources, or an order that no register has.
    fn spreads(&self) -> bool {
        !self.mixes
    }

    /// Channels of a group that the kernels mix.
    pub(super) fn mix(&self) -> usize {
        if self.mixes { self.k } else { 1 }
    }

    pub(super) fn channels(&self) -> usize {
        self.groups * self.n
    }

    /// How results are cut, with this many weights.
    pub(super) fn tiling(&self, weights: usize) -> Tiling {
        let taps = self.kernel.iter().product::<usize>() * self.k;
        let scratch = Request { halo: self.halo_len, taps, ..Request::default() };
        let size = [self.to[0] * self.to[1], self.to[2], self.channels()];
        Tiling::new(size, [self.together, self.window.min(TASK_COLUMNS)], weights, scratch)
    }

    /// Elements of a position of the spread rows.
    pub(super) fn spread_len(&self) -> usize {
        self.k * self.channels()
    }

    /// The largest halo that a block and window need.
    fn longest_halo(&self) -> usize {
        let planes = self.planes.iter().map(Vec::len).max().unwrap_or(0);
        let starts = |len: usize, step: usize| (0..len).step_by(step.max(1));
        let rows = starts(self.to[1], 1)
            .map(|first| self.source_rows(&(first..(first + self.block).min(self.to[1]))).len())
            .max();
        // Columns of a single row may start between two windows.
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

    /// Visits all runs of some columns of some rows, in order; in a block row by row only where a run is not taken
    /// together.
    pub(super) fn run<T: Element>(
        &self,
        from: &[T],
        Part { rows, columns }: Part,
        kernels: &Kernels<T>,
        scratch: &mut Scratch<T>,
        mut visit: impl FnMut(Visit<'_, T>),
    ) {
        let Scratch { halo, taps, .. } = scratch;
        let mut row = rows.start;
        while row < rows.end {
            let (plane, first) = (row / self.to[1], row % self.to[1]);
            let end = (first + self.block).min(self.to[1]).min(first + rows.end - row);
            for start in columns.clone().step_by(self.window.max(1)) {
                let window = start..(start + self.window).min(columns.end);
                let source = self.source(from, plane, first..end, &window, kernels, halo);
                let mut next = first;
                while next < end {
                    let to_multiple = self.together - (plane * self.to[1] + next) % self.together;
                    let lines = next..end.min(next + to_multiple);
                    next = lines.end;
                    for run in &self.columns {
                        let part = run.part(&window);
                        if part.is_empty() {
                            continue;
                        }
                        let mut at = |lines: Range<usize>| {
                            let block = self.taps(&source, plane, &lines, (run, part.start), taps);
                            let step = source.column * if part.len() > 1 { run.step } else { 1 };
                            let channels = self.channels();
                            visit(Visit {
                                x: source.data,
                                run: WindowRun { taps, count: part.len(), step, channels },
                                block,
                                row: row - rows.start + lines.start - first,
                                column: run.first + part.start * run.out_stride,
                                y_stride: run.out_stride,
                            });
                        };
                        if self.meets(plane, &lines, run).is_some() {
                            at(lines.clone());
                        } else {
                            lines.clone().for_each(|line| at(line..line + 1));
                        }
                    }
                }
            }
            row += end - first;
        }
    }

    /// The source rows inside the input that some rows of results meet together, counted from the first that the
    /// first of them meets, if they are to be visited so.
    fn meets(&self, plane: usize, lines: &Range<usize>, run: &Columns) -> Option<Range<usize>> {
        let whole = run.links.len() == self.kernel[2] && !self.planes[plane].is_empty();
        if !whole || lines.len() < 2 {
            return None;
        }
        let origin = lines.start as isize - self.lead;
        let inside =
            |row: isize| (row - origin).clamp(0, (lines.len() + self.kernel[1] - 1) as isize) as usize;
        let sources = inside(0)..inside(self.from[1] as isize);
        (!sources.is_empty()).then_some(sources)
    }

    /// The sources of a block: in place, or spread into the halo.
    fn source<'a, T: Element>(
        &self,
        from: &'a [T],
        plane: usize,
        rows: Range<usize>,
        window: &Range<usize>,
        kernels: &Kernels<T>,
        halo: &'a mut [T],
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
            let lines = halo[..used].chunks_exact_mut(row);
            let sources = self.planes[plane].iter().flat_map(|link| rows.clone().map(|r| (link.source, r)));
            for (line, (p, r)) in lines.zip(sources) {
                let at = (p * height + r) * row_len;
                let from = &from[at + columns.start * from_channels..at + columns.end * from_channels];
                kernels.tier.vectorize(Spread { from, to: line, groups: self.groups, k: self.k, n: self.n });
            }
        }
        Source {
            data: halo,
            plane: plane_len,
            row,
            column,
            rows: rows.start,
            columns: columns.start,
            by_number: true,
        }
    }

    /// The taps of a run of some rows of a plane, seen from its position `skip`; how those rows are visited together.
    fn taps<T>(
        &self,
        source: &Source<'_, T>,
        plane: usize,
        rows: &Range<usize>,
        (run, skip): (&Columns, usize),
        taps: &mut Vec<Tap>,
    ) -> Option<Block> {
        taps.clear();
        let [_, kernel_h, kernel_w] = self.kernel;
        let together = self.meets(plane, rows, run);
        for (number, d) in self.planes[plane].iter().enumerate() {
            let plane = if source.by_number { number } else { d.source } * source.plane;
            let mut line = |tap: usize, row: usize| {
                for w in &run.links {
                    let column = w.source + skip * run.step - source.columns;
                    let at = plane + (row - source.rows) * source.row + column * source.column;
                    let tap = (d.tap * kernel_h + tap) * kernel_w + w.tap;
                    if self.mixes {
                        taps.push(Tap { number: tap, at });
                        continue;
                    }
                    let spread = |r: usize| Tap { number: tap * self.k + r, at: at + r * self.channels() };
                    taps.extend((0..self.k).map(spread));
                }
            };
            if let Some(sources) = &together {
                // All lines of the kernel, with the offsets into the first row that the block reads.
                let first = ((rows.start + sources.start) as isize - self.lead) as usize;
                let tap = |line: usize| if self.ascends { line } else { kernel_h - 1 - line };
                (0..kernel_h).for_each(|l| line(tap(l), first));
            } else {
                self.rows[rows.start].iter().for_each(|h| line(h.tap, h.source));
            }
        }
        together.map(|sources| Block {
            rows: rows.len(),
            sources,
            x_row_stride: source.row,
            y_row_stride: self.to[2] * self.channels(),
        })
    }
}

impl Columns {
    /// The positions of the run, by number, that lie in a window.
    fn part(&self, window: &Range<usize>) -> Range<usize> {
        let number =
            |column: usize| column.saturating_sub(self.first).div_ceil(self.out_stride).min(self.count);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_a_row_once_and_are_long_inside() {
        let axis = Axis { input: 20, output: 10, kernel: 3, stride: 2, dilation: 2, before: 2, after: 1 };
        for (len, axis) in [(10, Residues::forward(&axis)), (20, Residues::input_grad(&axis))] {
            let runs = columns(&axis);
            let mut seen = vec![0; len];
            for run in &runs {
                for i in 0..run.count {
                    let at = run.first + i * run.out_stride;
                    seen[at] += 1;
                    let moved = run.links.iter().map(|l| Link { source: l.source + i * run.step, ..*l });
                    assert!(moved.eq(links(&axis, at)), "{run:?}");
                }
            }
            assert!(seen.iter().all(|&n| n == 1), "{runs:?}");
            assert!(runs.len() <= 3 * axis.out_step(), "{runs:?}");
        }
    }
}
