//! kn2row (Anderson et al. 2017, "Low-memory GEMM-based convolution algorithms for deep neural networks", arXiv 1709.03395):
//! one GEMM with all taps in its rows, then shift-add. For convolutions with hardly any channels in the result.
//!
//! A register tile has result channels in its lanes; with one to four of them most lanes would be idle. Here each position
//! of the *source* is multiplied with all taps and channels of the result at once, positions in the lanes, for which some
//! of them are transposed first (their channels are the neighbours in memory):
//! `T[(t, c), p] = sum over source channels of kernel[t, c] * source[p]`. A result is a sum of these:
//!
//! `forward:        y[x, c] = sum over t of T[(t, c), x + t * dilation - before]`
//! `input gradient: y[x, c] = sum over t of T[(t, c), (x + before - t * dilation) / stride]`, where that is whole
//!
//! Nothing outside of the source is multiplied and no product is thrown away, but for a forward pass with a stride, which
//! is therefore left to others. An element is one chain of multiply-adds for every tap, added in an order that the shape
//! decides: along the row first, then height and depth inside; neither depends on the instruction set.

use std::ops::Range;

use super::halo::Extent;
use super::{MapPlan, Operands, Part, Pass, Plan, Problem, Region, Request, Scratch, Tiling};
use crate::geometry::{AXES, ConvGeometry, PaddingMode, Residues};
use crate::kernels::{B, Element, Gemm, Kernels, MOST_CHANNELS, Offsets, ShiftAdd, Store, TransposePanels};
use crate::tuning::LINE_ELEMENTS;
use crate::tuning::kn2::{LEAST_ROWS, LEAST_SOURCE, PRODUCT_BYTES, TASK_ROWS, TRANSPOSED_BYTES, WINDOW};

/// A multiple of every tier's panel.
const PANEL: usize = 32;

/// A planned pass.
#[derive(Debug)]
pub(super) struct Kn2row<T: Element> {
    kernels: &'static Kernels<T>,
    tiling: Tiling,
    residues: [Residues; AXES],
    from: Extent,
    to: Extent,
    taps: [usize; AXES],
    pass: Pass,
    /// For every row of the result the rows of the source, counted through all planes, whose products it and later rows
    /// need, and up to which it and earlier ones do: both ends ascend.
    reads: Vec<Range<usize>>,
    /// Columns of the result of a window, and of the source at most.
    window: [usize; 2],
    /// Positions that are transposed at a time.
    chunk: usize,
    /// Rows of the source whose products are kept at a time, one after the other in a ring.
    ring: usize,
}

/// A map, if it gains.
pub(super) fn plan<T: Element>(p: Problem<'_, T>, pass: Pass) -> Option<Plan<T>> {
    let whole = match pass {
        Pass::Forward => p.geometry.axes.iter().all(|a| a.stride == 1),
        Pass::InputGrad => true,
        Pass::KernelGrad => false,
    };
    (whole && gains(p.geometry, pass)).then(|| Kn2row::new(p, pass)).flatten().map(Plan::of_map)
}

/// Whether a map with such channels may gain.
fn gains(g: &ConvGeometry, pass: Pass) -> bool {
    let [from, to] = pass.channels(g);
    let columns = to * g.axes.iter().map(|a| a.kernel).product::<usize>();
    let plain = g.groups == 1 && g.mode == PaddingMode::Zeros;
    plain && to <= MOST_CHANNELS && from >= LEAST_SOURCE && columns >= LEAST_ROWS
}

impl<T: Element> Kn2row<T> {
    /// Plans a map; None if its products would not stay in L2.
    fn new(p: Problem<'_, T>, pass: Pass) -> Option<Self> {
        let (g, kernels) = (p.geometry, p.kernels);
        let residues = pass.axes(g);
        let [from, to] = pass.extents(g);
        let step = residues[2].out_step();
        let most = WINDOW.saturating_mul(step);
        // Windows of equal width.
        let window = to.columns.div_ceil(to.columns.div_ceil(most).max(1)).max(1);
        let chunk = TRANSPOSED_BYTES / (from.channels * size_of::<T>()) / PANEL * PANEL;
        let mut plan = Self {
            kernels,
            tiling: Tiling::default(),
            residues,
            from,
            to,
            taps: g.axes.each_ref().map(|a| a.kernel),
            pass,
            reads: Vec::new(),
            window: [window, 0],
            chunk: chunk.clamp(PANEL, WINDOW),
            ring: 0,
        };
        let spans = (0..to.columns)
            .step_by(window)
            .map(|x| plan.residues[2].reads_inside(&(x..(x + window).min(to.columns))));
        plan.window[1] = spans.map(|span| span.len()).max().unwrap_or(0);
        plan.reads = plan.all_reads();
        let alive = plan.reads.iter().map(Range::len).max().unwrap_or(0);
        let ahead = plan.chunk.div_ceil(plan.window[1].max(1));
        plan.ring = (alive + ahead).min(from.planes * from.rows);
        let height = plan.residues[1].out_step();
        let rows = to.planes * to.rows;
        let per_task = (TASK_ROWS * alive.saturating_sub(1) * height).clamp(1, rows.max(1));
        let scratch =
            Request { planes: plan.room(), batch: plan.taps[0] * plan.taps[1], ..Request::default() };
        let weights = plan.columns() * from.channels;
        plan.tiling = Tiling::new([rows, to.columns, to.channels], [per_task, window], weights, scratch);
        (plan.columns() * plan.line_stride() * size_of::<T>() <= PRODUCT_BYTES).then_some(plan)
    }

    /// Columns of the product: taps times channels of the result.
    fn columns(&self) -> usize {
        self.taps.iter().product::<usize>() * self.to.channels
    }

    /// Distance of the lines of products; no multiple of a page, or they would displace each other in L1.
    fn line_stride(&self) -> usize {
        (self.ring * self.window[1]).div_ceil(LINE_ELEMENTS) / 2 * 2 * LINE_ELEMENTS + LINE_ELEMENTS
    }

    /// Elements of the products, and of transposed positions.
    fn room(&self) -> [usize; 2] {
        [self.columns() * self.line_stride(), self.chunk * self.from.channels]
    }

    /// See [`Kn2row::reads`].
    fn all_reads(&self) -> Vec<Range<usize>> {
        let mut reads: Vec<Range<usize>> = Vec::with_capacity(self.to.planes * self.to.rows);
        let mut end = 0;
        for plane in 0..self.to.planes {
            let planes = self.residues[0].links(plane).map(|(_, at)| at);
            for row in 0..self.to.rows {
                let rows = self.residues[1].links(row).map(|(_, at)| at);
                let ends = |all: [Option<usize>; 2]| all[0].zip(all[1]).map(|(p, r)| p * self.from.rows + r);
                let first = ends([planes.clone().next(), rows.clone().next()]);
                let last = ends([planes.clone().last(), rows.last()]);
                end = end.max(last.map_or(0, |last| last + 1));
                reads.push(first.unwrap_or(usize::MAX)..end);
            }
        }
        let mut start = usize::MAX;
        for reads in reads.iter_mut().rev() {
            start = start.min(reads.start);
            reads.start = start.min(reads.end);
        }
        reads
    }

    /// A part of a result; `lines` holds exactly this.
    fn result(
        &self,
        operands: Operands<'_, T>,
        lines: &mut [T],
        Part { rows, columns }: Part,
        scratch: &mut Scratch<T>,
    ) {
        let Operands { from, packed, epilogue, .. } = operands;
        let (line_len, origin) = (lines.len() / rows.len().max(1), columns.start);
        let channels = self.to.channels;
        let line_stride = self.line_stride();
        let ([products, transposed], batch) = scratch.planes(self.room());
        for first in columns.clone().step_by(self.window[0]) {
            let some = first..(first + self.window[0]).min(columns.end);
            let span = self.residues[2].reads_inside(&some);
            let mut done = self.reads[rows.start].start * span.len();
            for (row, line) in rows.clone().zip(lines.chunks_exact_mut(line_len.max(1))) {
                done = self.multiply(from, packed, (products, transposed), &span, (row, done));
                batch.clear();
                for (td, plane) in self.residues[0].links(row / self.to.rows) {
                    for (th, at) in self.residues[1].links(row % self.to.rows) {
                        let a = (plane * self.from.rows + at) % self.ring.max(1) * span.len();
                        batch.push(Offsets { a, b: (td * self.taps[1] + th) * self.taps[2] * channels });
                    }
                }
                for residue in &*self.residues[2] {
                    let part = residue.among(&some);
                    if part.is_empty() {
                        continue;
                    }
                    let x = residue.first + part.start * residue.out_step;
                    let (tap, next) = residue.kernel;
                    self.kernels.shift_add(ShiftAdd {
                        products,
                        line_stride,
                        rows: batch,
                        len: span.len(),
                        taps: residue.taps,
                        shift: residue.reads(&part).start - span.start as isize,
                        tap_step: residue.tap_step,
                        column: (tap * channels, next * channels as isize),
                        channels,
                        y: &mut line[(x - origin) * channels..],
                        y_stride: residue.out_step * channels,
                        count: part.len(),
                        bias: epilogue.bias,
                        relu: epilogue.relu,
                    });
                }
            }
        }
    }

    /// Multiplies positions of a window, counted row by row, from `done` on until a row of the result has what it
    /// reads; up to where.
    fn multiply(
        &self,
        from: &[T],
        packed: &[T],
        (products, transposed): (&mut [T], &mut [T]),
        span: &Range<usize>,
        (row, mut done): (usize, usize),
    ) -> usize {
        let (k, width) = (self.from.channels, span.len());
        let all = self.from.planes * self.from.rows * width;
        let ring = self.ring * width;
        let reads = &self.reads[row];
        while done < reads.end * width {
            // What later rows need is not overwritten.
            let free = reads.start * width + ring - done;
            let mut n = self.chunk.min(ring - done % ring).min(free).min(all - done);
            if width < self.from.columns {
                n = n.min(width - done % width);
            }
            let at = (done / width * self.from.columns + span.start + done % width) * k;
            self.kernels.transpose_panels(TransposePanels { from: &from[at..], count: n, k, to: transposed });
            let panel = self.kernels.panel();
            self.kernels.gemm(Gemm {
                a: packed,
                b: B::Packed { b: transposed, ps_b: k * panel, rs_a: k },
                batch: &[Offsets { a: 0, b: 0 }],
                k,
                c: &mut products[done % ring..],
                rs_c: self.line_stride(),
                m: self.columns(),
                n,
                store: Store::PLAIN,
            });
            done += n;
        }
        done
    }
}

impl<T: Element> MapPlan<T> for Kn2row<T> {
    fn tiling(&self) -> &Tiling {
        &self.tiling
    }

    /// In one part.
    fn pack(&self, kernel: &[T], _: usize, packed: &mut [T]) {
        if self.pass == Pass::InputGrad {
            // Kernel (tap, c_in, c_out): a row of the matrix already.
            packed.copy_from_slice(kernel);
            return;
        }
        let (k, n) = (self.from.channels, self.to.channels);
        for (tap, rows) in kernel.chunks_exact(k * n).zip(packed.chunks_exact_mut(n * k)) {
            for (c, row) in rows.chunks_exact_mut(k).enumerate() {
                for (cell, value) in row.iter_mut().zip(tap[c..].iter().step_by(n)) {
                    *cell = *value;
                }
            }
        }
    }

    fn run(&self, operands: Operands<'_, T>, to: &mut [T], region: &Region, scratch: &mut Scratch<T>) {
        scratch.reserve(&self.tiling.scratch);
        for (from, to, part) in self.tiling.results(operands.from, to, region) {
            if !part.rows.is_empty() {
                self.result(Operands { from, ..operands }, to, part, scratch);
            }
        }
    }
}
