//! The convolution that accepts everything: row by row, a register tile of positions times output channels.
//!
//! Forward and to the input are the same code over a list of residues per axis ([`Residues`]). No position is computed that
//! is then thrown away, and nothing is scattered.
//!
//! Without dilation and groups the taps of a row and their channels are one contiguous run of memory, whatever the
//! number of channels.

use std::ops::Range;

use super::halo::{self, Block, Extent};
use super::{MapPlan, Operands, Part, Pass, Problem, Region, Request, Scratch, Tiling};
use crate::geometry::{AXES, Axis, AxisMap, ConvGeometry, PaddingMode, Residues};
use crate::kernels::gemm::narrow;
use crate::kernels::pack::{self, Matrix};
use crate::kernels::{self, B, Element, Gemm, Kernels, NarrowGemm, Offsets, Start, Store, StridedBatch};
use crate::tuning::HALO_ROWS;
use crate::tuning::direct::{MOST_COLUMNS, NARROW_RUN};

/// Joins axes that a pointwise convolution does not tell apart, so that its rows are long.
///
/// The grid inside a padded one comes row by row and stays as it is; its mode tells.
pub(super) fn join_pointwise(mut geometry: ConvGeometry) -> ConvGeometry {
    if geometry.mode != PaddingMode::Zeros {
        return geometry;
    }
    // With an output padding a transposed convolution has inputs after the last that an output reads.
    let trivial =
        |a: &Axis| a.kernel == 1 && a.stride == 1 && a.input == a.output && a.before == 0 && a.after == 0;
    for _ in 1..AXES {
        let [first, outer, inner] = geometry.axes;
        if trivial(&outer) && trivial(&inner) {
            let joined = outer.input * inner.input;
            geometry.axes = [Axis::UNIT, first, Axis { input: joined, output: joined, ..Axis::UNIT }];
        }
    }
    geometry
}

/// A planned pass.
#[derive(Debug)]
pub struct Rows<T: Element> {
    kernels: &'static Kernels<T>,
    tiling: Tiling,
    residues: [Residues; AXES],
    /// Where the packed weights of each combination of residues start.
    offsets: Vec<usize>,
    from: Extent,
    to: Extent,
    groups: usize,
    /// Taps of the kernel per axis, and whether its last two axes are exchanged when packing.
    kernel_taps: [usize; AXES],
    pass: Pass,
    /// Rows of the result, and columns of each of its residues, that are computed from one halo.
    block_rows: usize,
    block_columns: usize,
    /// Whether there are so few results per position that sums go into the lanes.
    narrow: bool,
    /// Whether columns are read in place, each with the taps that meet the source: a halo would be wider than it.
    clipped: bool,
}

impl<T: Element> Rows<T> {
    /// Plans a map.
    pub(super) fn new(p: Problem<'_, T>, pass: Pass) -> Self {
        let (kernels, geometry) = (p.kernels, &join_pointwise(p.geometry.clone()));
        let residues = pass.axes(geometry);
        let [from, to] = pass.extents(geometry);
        let kernel_taps = geometry.axes.each_ref().map(|a| a.kernel);
        let groups = geometry.groups;
        let longest = residues[2].iter().map(|p| p.count).max().unwrap_or(1);
        // Blocks of equal width.
        let block_columns = longest.div_ceil(longest.div_ceil(MOST_COLUMNS).max(1)).max(1);
        let run =
            from.channels * residues[2].iter().filter(|p| p.tap_step == 1).map(|p| p.taps).max().unwrap_or(1);
        let narrow = groups == 1 && to.channels <= narrow::MOST_COLUMNS && run >= NARROW_RUN;
        let mut rows = Self {
            kernels,
            tiling: Tiling::default(),
            residues,
            offsets: Vec::new(),
            from,
            to,
            groups,
            kernel_taps,
            pass,
            block_rows: 1,
            block_columns,
            narrow,
            clipped: false,
        };
        let mut offsets = Vec::new();
        rows.for_each_residue(|_, offset| offsets.push(offset));
        rows.offsets = offsets;
        let far = |p: &AxisMap| halo::too_far(p.taps, p.tap_step, rows.from.columns);
        rows.clipped = rows.residues[2].iter().any(far) || halo::too_wide(rows.reach(1)[2], from.columns);
        let [planes, _, columns] = rows.reach(1);
        let rows_per_row = rows.residues[1].iter().map(|p| p.step).max().unwrap_or(1);
        rows.block_rows =
            halo::block_rows::<T>(from, planes, columns, rows_per_row, HALO_ROWS.min(to.rows.max(1)));
        rows.tiling = rows.plan_tiling();
        rows
    }

    fn plan_tiling(&self) -> Tiling {
        let [planes, rows, columns] = self.reach(self.block_rows);
        let scratch = Request {
            halo: halo::len(self.from, planes, rows, columns),
            batch: self.kernel_taps.iter().product(),
            ..Request::default()
        };
        let size = [self.to.planes * self.to.rows, self.to.columns, self.to.channels];
        let weights = self.for_each_residue(|_, _| {});
        let weight_unit = if self.narrow { weights } else { self.kernels.panel() };
        Tiling { weight_unit, ..Tiling::new(size, [1, self.window()], weights, scratch) }
    }

    /// Upper bounds of the planes, rows and columns of the source that a block of `rows` rows reads.
    fn reach(&self, rows: usize) -> [usize; AXES] {
        let span = |axis: usize, outputs: usize| self.residues[axis].reach(outputs);
        let step = self.residues[1].out_step();
        // Rows that follow each other are at most this many, and one more, of each residue.
        let of_phase = rows.div_ceil(step) + usize::from(step > 1);
        // Blocks of a single row may start with any residue of the columns.
        let of_columns = self.block_columns + usize::from(self.residues[2].len() > 1);
        let [planes, rows] = [span(0, 1).min(self.from.planes), span(1, of_phase).min(self.from.rows)];
        [planes, rows, if self.clipped { 0 } else { span(2, of_columns) }]
    }

    fn group_channels(&self) -> (usize, usize) {
        (self.from.channels / self.groups, self.to.channels / self.groups)
    }

    /// Elements of the packed weights of a group: `rows` taps and channels.
    fn weights_len(&self, rows: usize) -> usize {
        let (_, n) = self.group_channels();
        if self.narrow { rows * n } else { pack::panels_len(rows, n, self.kernels.panel()) }
    }

    /// Residues of all three axes in a fixed order, each with the offset of its packed weights.
    fn for_each_residue(&self, mut visit: impl FnMut([&AxisMap; AXES], usize)) -> usize {
        let (k, _) = self.group_channels();
        let mut offset = 0;
        for d in &*self.residues[0] {
            for h in &*self.residues[1] {
                for w in &*self.residues[2] {
                    visit([d, h, w], offset);
                    offset += self.groups * self.weights_len(d.taps * h.taps * w.taps * k);
                }
            }
        }
        offset
    }

    /// Offset of the packed weights of a residue, given by its place in each axis.
    fn weights_of(&self, [d, h, w]: [usize; AXES]) -> usize {
        self.offsets[(d * self.residues[1].len() + h) * self.residues[2].len() + w]
    }

    /// Columns of the result that are computed from one halo.
    fn window(&self) -> usize {
        self.block_columns * self.residues[2].out_step()
    }

    /// Some rows of a plane, some columns of them; `lines` holds exactly these.
    fn blocks(
        &self,
        operands: Operands<'_, T>,
        lines: &mut [T],
        outputs: &Outputs,
        scratch: &mut Scratch<T>,
    ) {
        let Range { start, end } = outputs.columns;
        for column in (start..end).step_by(self.window()) {
            let columns = column..(column + self.window()).min(end);
            let block = Outputs { rows: outputs.rows.clone(), columns, ..*outputs };
            self.block(operands, lines, &block, scratch);
        }
    }
}

impl<T: Element> MapPlan<T> for Rows<T> {
    fn tiling(&self) -> &Tiling {
        &self.tiling
    }

    fn pack(&self, kernel: &[T], first: usize, part: &mut [T]) {
        let (k, n) = self.group_channels();
        let wanted = first..first + part.len();
        let [_, kh, kw] = self.kernel_taps;
        // Kernel (tap, c_in / groups, c_out): forward, k walks over the second axis and n over the third.
        let input_grad = self.pass == Pass::InputGrad;
        let (k_all, n_all) = if input_grad { (n, k * self.groups) } else { (k, n * self.groups) };
        let columns = if input_grad { [1, n_all] } else { [n_all, 1] };
        self.for_each_residue(|[d, h, w], offset| {
            let rows = d.taps * h.taps * w.taps * k;
            let len = self.weights_len(rows);
            for g in 0..self.groups {
                let own = offset + g * len..offset + (g + 1) * len;
                let some = own.start.max(wanted.start)..own.end.min(wanted.end);
                if some.is_empty() {
                    continue;
                }
                let out = &mut part[some.start - wanted.start..some.end - wanted.start];
                // Where the first channel of a tap is.
                let tap = |tap: usize| {
                    let (tw, th, td) = (tap % w.taps, tap / w.taps % h.taps, tap / w.taps / h.taps);
                    let tap = (d.kernel_tap(td) * kh + h.kernel_tap(th)) * kw + w.kernel_tap(tw);
                    tap * k_all * n_all + g * if input_grad { k } else { n }
                };
                let matrix = Matrix { source: kernel, k, n, taps: rows / k, strides: columns, tap: &tap };
                if self.narrow {
                    matrix.columns(out);
                } else {
                    matrix.panels(out, some.start - own.start, self.kernels);
                }
            }
        });
    }

    fn run(&self, operands: Operands<'_, T>, to: &mut [T], region: &Region, scratch: &mut Scratch<T>) {
        scratch.reserve(&self.tiling.scratch);
        for (from, to, part) in self.tiling.results(operands.from, to, region) {
            self.result(Operands { from, ..operands }, to, &part, scratch);
        }
        if operands.non_temporal {
            kernels::fence();
        }
    }
}

impl<T: Element> Rows<T> {
    /// A part of one result.
    fn result(&self, operands: Operands<'_, T>, to: &mut [T], part: &Part, scratch: &mut Scratch<T>) {
        let Part { rows, columns } = part;
        let line_len = columns.len() * self.to.channels;
        let mut row = rows.start;
        while row < rows.end {
            let (plane, first) = (row / self.to.rows, row % self.to.rows);
            let end = (first + self.block_rows).min(self.to.rows).min(first + rows.end - row);
            let start = (row - rows.start) * line_len;
            let lines = &mut to[start..start + (end - first) * line_len];
            let outputs =
                Outputs { plane, rows: first..end, columns: columns.clone(), origin: columns.start };
            self.blocks(operands, lines, &outputs, scratch);
            row += end - first;
        }
    }
}

/// A block of outputs: rows of a plane, and columns of them.
struct Outputs {
    plane: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    /// First column that there is memory for.
    origin: usize,
}

/// The taps of depth and height that some rows of the result meet, with the packed weights of their residue.
struct Taps<'a, T> {
    weights: &'a [T],
    counts: [usize; AXES],
    /// Taps, position that the first of them reads (for the first row), distance to the next.
    d: (Range<usize>, usize, usize),
    h: (Range<usize>, usize, usize),
    /// Taps of the width.
    w: Range<usize>,
    /// The rows.
    rows: StridedBatch,
}

impl<T: Element> Rows<T> {
    /// One block of outputs; `lines` holds its rows, from column `origin` on.
    fn block(&self, operands: Operands<'_, T>, lines: &mut [T], outputs: &Outputs, scratch: &mut Scratch<T>) {
        let Scratch { halo, batch, .. } = scratch;
        let (d_phase, d) = self.residues[0].place(outputs.plane);
        let (d_taps, d_first) = self.residues[0][d_phase].taps_inside(d);
        let d_step = self.residues[0][d_phase].tap_step;
        let planes = match d_taps.len() {
            0 => 0..0,
            n => d_first..d_first + (n - 1) * d_step + 1,
        };
        let columns = if self.clipped {
            0..self.from.columns as isize
        } else {
            self.residues[2].reads(&outputs.columns)
        };
        let block = Block { planes, rows: self.residues[1].met(&outputs.rows), columns: columns.clone() };
        let view = halo::view(operands.from, self.from, &block, halo);
        let line_len = lines.len() / outputs.rows.len();
        for (h_phase, h_axis) in self.residues[1].of(&outputs.rows) {
            for alike in h_axis.alike(h_axis.among(&outputs.rows)) {
                let (h_taps, h_first) = h_axis.taps_inside(alike.start);
                let row = h_axis.first + alike.start * h_axis.out_step - outputs.rows.start;
                let line = &mut lines[row * line_len..];
                let rows = StridedBatch {
                    count: alike.len(),
                    // A step to a row that is not there may be beyond all sizes.
                    a: if alike.len() > 1 { h_axis.step * view.row } else { 0 },
                    c: h_axis.out_step * line_len,
                };
                for (w_phase, w_axis) in self.residues[2].of(&outputs.columns) {
                    for some in self.parts(w_axis, w_axis.among(&outputs.columns)) {
                        // A residue that starts after the first column of the block.
                        let line = &mut line[(w_axis.first + some.start * w_axis.out_step
                            - outputs.origin)
                            * self.to.channels..];
                        // Where the first of these outputs starts to read, seen from the first column of the halo.
                        let (w, lead) = if self.clipped {
                            w_axis.taps_inside(some.start)
                        } else {
                            let lead = w_axis.reads(&some).start - columns.start;
                            (0..w_axis.taps, lead.max(0) as usize)
                        };
                        let taps = Taps {
                            weights: &operands.packed[self.weights_of([d_phase, h_phase, w_phase])..],
                            counts: [self.residues[0][d_phase].taps, h_axis.taps, w_axis.taps],
                            d: (d_taps.clone(), d_first, d_step),
                            h: (h_taps.clone(), h_first, h_axis.tap_step),
                            w,
                            rows,
                        };
                        self.lines(&view, &taps, (w_axis, some, lead), line, operands, batch);
                    }
                }
            }
        }
    }

    /// Outputs of a residue of the columns, in parts that are computed at once.
    fn parts(&self, w: &AxisMap, some: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<T> {
        let (whole, cut) = if self.clipped { (0..0, some) } else { (some, 0..0) };
        let whole = std::iter::once(whole).filter(|some| !some.is_empty());
        whole.chain(w.alike(cut))
    }

    /// Some outputs of rows that meet the same taps, of one residue of the columns; `line` starts with the first.
    fn lines(
        &self,
        view: &halo::View<'_, T>,
        taps: &Taps<'_, T>,
        (w, outputs, lead): (&AxisMap, Range<usize>, usize),
        line: &mut [T],
        operands: Operands<'_, T>,
        batch: &mut Vec<Offsets>,
    ) {
        let Operands { epilogue, non_temporal, .. } = operands;
        let (k, n) = self.group_channels();
        let [d_taps, h_taps, w_taps] = taps.counts;
        let all_rows = d_taps * h_taps * w_taps * k;
        let joined = w.tap_step == 1 && self.groups == 1;
        // Distance of `k` in the packed weights.
        let rs_b = if self.narrow { 1 } else { self.kernels.panel() };
        for g in 0..self.groups {
            batch.clear();
            if !taps.w.is_empty() {
                for (i, td) in taps.d.0.clone().enumerate() {
                    for (j, th) in taps.h.0.clone().enumerate() {
                        let origin = view.at(taps.d.1 + i * taps.d.2, taps.h.1 + j * taps.h.2);
                        let a = origin + lead * self.from.channels + g * k;
                        let b = ((td * h_taps + th) * w_taps + taps.w.start) * k * rs_b;
                        if joined {
                            batch.push(Offsets { a, b });
                        } else {
                            let step = |t: usize| t * w.tap_step * self.from.channels;
                            let all = 0..taps.w.len();
                            batch.extend(all.map(|t| Offsets { a: a + step(t), b: b + t * k * rs_b }));
                        }
                    }
                }
            }
            let rs_a = self.from.channels * if outputs.len() > 1 { w.step } else { 1 };
            let b = &taps.weights[g * self.weights_len(all_rows)..];
            let k_len = if joined { taps.w.len().max(1) * k } else { k };
            let c = &mut line[g * n..];
            let (rs_c, m) = (w.out_step * self.to.channels, outputs.len());
            let start = epilogue.bias.map_or(Start::Zero, |bias| Start::Bias(&bias[g * n..(g + 1) * n]));
            let relu = epilogue.relu;
            if self.narrow {
                let cs_b = all_rows;
                for row in 0..taps.rows.count {
                    // Without a batch the halo may be empty.
                    let a = view.data.get(row * taps.rows.a..).unwrap_or_default();
                    let c = &mut c[row * taps.rows.c..];
                    self.kernels.gemm_narrow(&mut NarrowGemm {
                        a,
                        rs_a,
                        b,
                        cs_b,
                        batch,
                        k: k_len,
                        c,
                        rs_c,
                        m,
                        n,
                        start,
                        relu,
                    });
                }
            } else {
                let first = Gemm {
                    a: view.data,
                    b: B::Packed { b, ps_b: all_rows * rs_b, rs_a },
                    batch,
                    k: k_len,
                    c,
                    rs_c,
                    m,
                    n,
                    store: Store { start, relu, non_temporal },
                };
                self.kernels.gemm_strided_batched(first, taps.rows);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointwise_axes_are_joined() {
        let axis = |n| Axis { input: n, output: n, ..Axis::UNIT };
        let strided = Axis { input: 4, output: 2, stride: 2, ..Axis::UNIT };
        let geometry = |axes| ConvGeometry { axes, c_in: 1, c_out: 1, groups: 1, mode: PaddingMode::Zeros };
        let joined = join_pointwise(geometry([axis(3), axis(4), axis(5)]));
        assert_eq!(joined.axes.map(|a| a.input), [1, 1, 60]);
        let joined = join_pointwise(geometry([axis(3), strided, axis(5)]));
        assert_eq!(joined.axes.map(|a| a.input), [3, 4, 5]);
        // As the transposed convolution with a dilation of 2 and an output padding of 1 has it.
        let longer = Axis { input: 5, output: 4, dilation: 2, ..Axis::UNIT };
        for axes in [[axis(3), axis(4), longer], [axis(3), longer, axis(5)], [longer, axis(4), axis(5)]] {
            let joined = join_pointwise(geometry(axes));
            let inputs: usize = joined.axes.iter().map(|a| a.input).product();
            assert_eq!(inputs, axes.iter().map(|a| a.input).product::<usize>());
            assert!(joined.axes.contains(&longer));
        }
    }
}
