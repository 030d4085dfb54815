//! The gradient to the kernel: `dk[t, ci, co] = sum over positions of x[position(t), ci] * dy[position, co]`.
//!
//! The same microkernel with exchanged roles: rows of the tile are consecutive (tap, channel) numbers of a halo row,
//! columns are output channels, and `k` walks over the positions of some rows. Both operands are read in place. Where a
//! halo row has few taps and channels, a tile takes those of several halo rows ([`RowGroups`]).
//! Every element is one chain in the order of samples and positions, whatever the size of the blocks.

use std::ops::Range;

use super::halo::{self, Block, Extent, View};
use super::rows::join_pointwise;
use super::{GradOperands, GradPlan, Part, Pass, Problem, Region, Request, Scratch, Sums, Tiling};
use crate::geometry::{AXES, AxisMap, ConvGeometry};
use crate::kernels::gemm::multi_row::LENGTHS;
use crate::kernels::{B, Element, Gemm, Kernels, Offsets, RowGroups, Store};
use crate::tuning::L2_HALF_BYTES;
use crate::tuning::direct::{
    GRAD_LINES_BYTES, GRAD_POSITIONS, GRAD_ROWS, GRAD_TOGETHER, POINTWISE_GRAD_POSITIONS,
};

/// A planned kernel gradient.
#[derive(Debug)]
pub struct KernelGrad<T: Element> {
    kernels: &'static Kernels<T>,
    tiling: Tiling,
    geometry: ConvGeometry,
    /// What the axes of the output read of those of the input.
    axes: [AxisMap; AXES],
    input: Extent,
    /// Rows and columns of the output that are visited together, and samples if those are all.
    block_rows: usize,
    block_columns: usize,
    together: usize,
    /// Whether the taps of several rows of the kernel are added up together.
    lines: bool,
    /// Whether columns are read in place, tap by tap, as far as they meet the input: a halo would be wider than it.
    clipped: bool,
}

/// Inputs that `outputs` neighbours span, of which there may be fewer.
fn reach_of(axis: &AxisMap, outputs: usize) -> usize {
    outputs.min(axis.count).saturating_sub(1) * axis.step + axis.span()
}

/// Some positions of the output of one or several samples, and where they are.
struct Visit<'a, T> {
    view: View<'a, T>,
    dy: &'a [T],
    /// Samples, and the strides of their inputs and outputs.
    samples: usize,
    sample_strides: [usize; 2],
    /// Plane, rows and columns of the output; `dy` starts with the first of them.
    plane: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    /// Distance of the rows of `dy`.
    row_len: usize,
    /// Rows of the kernel that are wanted.
    kernel: Range<usize>,
}

impl<T: Element> KernelGrad<T> {
    /// Plans the pass.
    pub(super) fn new(p: Problem<'_, T>) -> Self {
        let (kernels, geometry) = (p.kernels, join_pointwise(p.geometry.clone()));
        let [input, _] = Pass::KernelGrad.extents(&geometry);
        let axes = geometry.axes.each_ref().map(AxisMap::forward);
        let [depth, height, width] = geometry.axes;
        let far = halo::too_far(width.kernel, width.dilation, width.input);
        let clipped = far || halo::too_wide(reach_of(&axes[2], GRAD_POSITIONS), width.input);
        let lines = !clipped
            && depth.kernel * height.kernel > 1
            && width.dilation == 1
            && geometry.groups == 1
            && LENGTHS.contains(&(width.kernel * geometry.c_in));
        let positions = match geometry.taps() {
            1 => POINTWISE_GRAD_POSITIONS,
            _ if lines => GRAD_POSITIONS.max(GRAD_LINES_BYTES / (geometry.c_out * size_of::<T>())),
            _ => GRAD_POSITIONS,
        };
        // Blocks of equal width.
        let block_columns = width.output.div_ceil(width.output.div_ceil(positions).max(1)).max(1);
        let reach = if clipped { width.input } else { reach_of(&axes[2], block_columns) };
        let most = positions.div_ceil(width.output.max(1)).max(1).min(height.output.max(1));
        let block_rows = halo::block_rows::<T>(input, depth.span(), reach, height.stride, most);
        let whole = depth.output == 1 && block_rows >= height.output && block_columns >= width.output;
        let map = height.output * width.output;
        let together = if whole { (positions / map.max(1)).clamp(1, GRAD_TOGETHER) } else { 1 };
        let tiling = Tiling::default();
        let mut plan = Self {
            kernels,
            tiling,
            geometry,
            axes,
            input,
            block_rows,
            block_columns,
            together,
            lines,
            clipped,
        };
        plan.tiling = plan.plan_tiling();
        plan
    }

    fn plan_tiling(&self) -> Tiling {
        let g = &self.geometry;
        let [depth, height, width] = &g.axes;
        let planes = depth.span().min(depth.input);
        let rows = ((self.block_rows - 1) * height.stride + height.span()).min(height.input);
        let columns = if self.clipped { 0 } else { reach_of(&self.axes[2], self.block_columns) };
        let scratch = Request {
            halo: halo::len(self.input, planes, rows, columns) * self.together,
            batch: self.block_rows * self.together,
            ..Request::default()
        };
        let size = [depth.output * height.output, width.output, g.c_out];
        let tiling = Tiling::new(size, [1, self.block_columns], g.kernel_len(), scratch);
        // Rows of the kernel, (tap, channel of a group): each is a row of the tiles.
        Tiling { weight_unit: g.c_out, ..tiling }
    }

    /// Adds what a region contributes to some rows of the kernel.
    fn part(
        &self,
        (x, dy): (&[T], &[T]),
        region: &Region,
        kernel: &Range<usize>,
        dkernel: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        if let &Region::Samples(samples) = region
            && samples > 1
            && self.together > 1
        {
            return self.samples((x, dy), samples, kernel, dkernel, scratch);
        }
        for (x, dy, part) in self.tiling.grads(x, dy, region) {
            self.sample((x, dy), &part, kernel, dkernel, scratch);
        }
    }

    /// Adds what some samples contribute, several at a time where their maps are small: the kernel is not read and written
    /// for every few positions.
    fn samples(
        &self,
        (x, dy): (&[T], &[T]),
        samples: usize,
        kernel: &Range<usize>,
        dkernel: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        let Scratch { halo, batch, .. } = scratch;
        let lens = [self.geometry.input_len(), self.geometry.output_len()];
        let [_, height, width] = &self.geometry.axes;
        let block = self.block(0, &(0..height.output), &(0..width.output));
        let visits = samples.div_ceil(self.together);
        for visit in 0..visits {
            let some = visit * samples / visits..(visit + 1) * samples / visits;
            let count = some.len();
            let x = &x[some.start * lens[0]..some.end * lens[0]];
            let (view, sample_stride) = halo::view_samples(x, self.input, &block, count, halo);
            let visit = Visit {
                view,
                dy: &dy[some.start * lens[1]..some.end * lens[1]],
                samples: count,
                sample_strides: [sample_stride, lens[1]],
                plane: 0,
                rows: 0..height.output,
                columns: 0..width.output,
                row_len: self.tiling.row_len(),
                kernel: kernel.clone(),
            };
            self.visit(&visit, batch, dkernel);
        }
    }

    /// Adds what a part of one sample contributes.
    fn sample(
        &self,
        (x, dy): (&[T], &[T]),
        Part { rows, columns: all }: &Part,
        kernel: &Range<usize>,
        dkernel: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        let Scratch { halo, batch, .. } = scratch;
        let c_out = self.geometry.c_out;
        let (height, row_len) = (&self.geometry.axes[1], all.len() * c_out);
        let mut row = rows.start;
        while row < rows.end {
            let (plane, first) = (row / height.output, row % height.output);
            let end = (first + self.block_rows).min(height.output).min(first + rows.end - row);
            let dy = &dy[(row - rows.start) * row_len..];
            for column in all.clone().step_by(self.block_columns) {
                let columns = column..(column + self.block_columns).min(all.end);
                let block = self.block(plane, &(first..end), &columns);
                let visit = Visit {
                    view: halo::view(x, self.input, &block, halo),
                    dy: &dy[(columns.start - all.start) * c_out..],
                    samples: 1,
                    sample_strides: [0, 0],
                    plane,
                    rows: first..end,
                    columns,
                    row_len,
                    kernel: kernel.clone(),
                };
                self.visit(&visit, batch, dkernel);
            }
            row += end - first;
        }
    }

    /// What some rows of an output plane read, some columns of them: margins of the columns included.
    fn block(&self, plane: usize, rows: &Range<usize>, columns: &Range<usize>) -> Block {
        let [depth, height, width] = &self.axes;
        Block {
            planes: depth.inside(&depth.reads(&(plane..plane + 1))),
            rows: height.inside(&height.reads(rows)),
            columns: if self.clipped { 0..width.source as isize } else { width.reads(columns) },
        }
    }

    /// Adds what the positions of a visit contribute.
    fn visit(&self, visit: &Visit<'_, T>, batch: &mut Vec<Offsets>, dkernel: &mut [T]) {
        if self.lines && visit.kernel == (0..self.tiling.weight_units()) {
            self.lines(visit, batch, dkernel);
        } else {
            self.tap_by_tap(visit, batch, dkernel);
        }
    }

    /// The same, all taps of rows of the output that meet the same rows of the kernel at once.
    fn lines(&self, visit: &Visit<'_, T>, batch: &mut Vec<Offsets>, dkernel: &mut [T]) {
        let g = &self.geometry;
        let [depth, height, width] = &g.axes;
        let tap_rows = width.kernel * g.c_in;
        let (planes, plane) = self.axes[0].taps_inside(visit.plane);
        let inside = |row: usize| self.axes[1].taps_inside(row);
        for sample in 0..visit.samples {
            let [a, b] = visit.sample_strides.map(|stride| sample * stride);
            let mut row = visit.rows.start;
            while row < visit.rows.end {
                let taps = inside(row).0;
                let end = (row..visit.rows.end).find(|&r| inside(r).0 != taps).unwrap_or(visit.rows.end);
                if !planes.is_empty() && !taps.is_empty() {
                    batch.clear();
                    batch.extend((row..end).map(|row| Offsets {
                        a: a + visit.view.at(plane, inside(row).1),
                        b: b + (row - visit.rows.start) * visit.row_len,
                    }));
                    // Planes of the kernel are neighbours in it only with all their rows.
                    let together = if taps.len() == height.kernel { planes.len() } else { 1 };
                    for td in planes.clone().step_by(together) {
                        let at = (td - planes.start) * depth.dilation * visit.view.plane;
                        let first = (td * height.kernel + taps.start) * tap_rows;
                        let counts = [together, taps.len()];
                        let strides = [depth.dilation * visit.view.plane, height.dilation * visit.view.row];
                        let rows = first..first + together * taps.len() * tap_rows;
                        let all = 0..visit.columns.len();
                        self.add(
                            visit,
                            (at, RowGroups { counts, strides }),
                            (0, batch, all),
                            (rows, dkernel),
                        );
                    }
                }
                row = end;
            }
        }
    }

    /// The same, tap by tap of depth and height.
    fn tap_by_tap(&self, visit: &Visit<'_, T>, batch: &mut Vec<Offsets>, dkernel: &mut [T]) {
        let g = &self.geometry;
        let [depth, height, width] = &g.axes;
        let tap_rows = width.kernel * g.group_in();
        for td in 0..depth.kernel {
            let Some(plane) = self.axes[0].at(visit.plane, td) else { continue };
            for th in 0..height.kernel {
                let first = (td * height.kernel + th) * tap_rows;
                if first + tap_rows <= visit.kernel.start || first >= visit.kernel.end {
                    continue;
                }
                batch.clear();
                for sample in 0..visit.samples {
                    let [a, b] = visit.sample_strides.map(|stride| sample * stride);
                    batch.extend(self.axes[1].results_inside(th, visit.rows.clone()).filter_map(|h| {
                        let at = visit.view.at(plane, self.axes[1].at(h, th)?);
                        Some(Offsets { a: a + at, b: b + (h - visit.rows.start) * visit.row_len })
                    }));
                }
                if !batch.is_empty() {
                    self.taps(visit, batch, first, dkernel);
                }
            }
        }
    }

    /// All taps of the last axis at once where they are contiguous, else one by one; the first is row `first` of the
    /// kernel. Rows that are not wanted are left out.
    fn taps(&self, visit: &Visit<'_, T>, batch: &[Offsets], first: usize, dkernel: &mut [T]) {
        let g = &self.geometry;
        let width = &g.axes[2];
        let joined = width.dilation == 1 && g.groups == 1 && !self.clipped;
        let (steps, m) = if joined { (1, width.kernel * g.c_in) } else { (width.kernel, g.group_in()) };
        for tap in 0..steps {
            let row = first + tap * m;
            let rows = visit.kernel.start.max(row)..visit.kernel.end.min(row + m);
            if rows.is_empty() {
                continue;
            }
            // The positions of the visit that have a product, and what the first of them reads.
            let (some, from) = if self.clipped {
                let some = self.axes[2].results_inside(tap, visit.columns.clone());
                let from = self.axes[2].at(some.start, tap).unwrap_or(0);
                (some.start - visit.columns.start..some.end - visit.columns.start, from)
            } else {
                (0..visit.columns.len(), tap * width.dilation)
            };
            if some.is_empty() {
                continue;
            }
            for group in 0..g.groups {
                let at = from * g.c_in + group * g.group_in() + rows.start - row;
                self.add(visit, (at, RowGroups::ONE), (group, batch, some.clone()), (rows.clone(), dkernel));
            }
        }
    }

    /// Adds the products of some rows of the kernel, which start to read `at` after the offsets, with a group of `dy` at
    /// some of the columns.
    fn add(
        &self,
        visit: &Visit<'_, T>,
        (at, lines): (usize, RowGroups),
        (group, batch, columns): (usize, &[Offsets], Range<usize>),
        (rows, dkernel): (Range<usize>, &mut [T]),
    ) {
        let g = &self.geometry;
        let target = (rows.start - visit.kernel.start) * g.c_out + group * g.group_out();
        self.kernels.gemm(Gemm {
            a: &visit.view.data[at..],
            b: B::InPlace {
                b: &visit.dy[columns.start * g.c_out + group * g.group_out()..],
                rs_b: g.c_out,
                // A step to a position that is not there may be beyond all sizes.
                cs_a: g.c_in * if columns.len() > 1 { g.axes[2].stride } else { 1 },
                row_groups: lines,
            },
            batch,
            k: columns.len(),
            c: &mut dkernel[target..],
            rs_c: g.c_out,
            m: rows.len(),
            n: g.group_out(),
            store: Store::ADD,
        });
    }
}

impl<T: Element> GradPlan<T> for KernelGrad<T> {
    fn tiling(&self) -> &Tiling {
        &self.tiling
    }

    fn accumulate(
        &self,
        GradOperands { x, dy, .. }: GradOperands<'_, T>,
        region: &Region,
        mut sums: Sums<'_, T>,
        scratch: &mut Scratch<T>,
    ) {
        scratch.reserve(&self.tiling.scratch);
        sums.begin();
        let Sums { sums, units, .. } = sums;
        let (all, row) = (self.tiling.weight_units(), self.tiling.weight_unit);
        if matches!(region, Region::Elements(_)) || units != (0..all) {
            return self.part((x, dy), region, &units, sums, scratch);
        }
        // A large kernel is gone through in parts that stay in the cache.
        let parts = (all * row * size_of::<T>()).div_ceil(L2_HALF_BYTES).min(all.div_ceil(GRAD_ROWS)).max(1);
        for part in 0..parts {
            let units = part * all / parts..(part + 1) * all / parts;
            let sums = &mut sums[units.start * row..units.end * row];
            self.part((x, dy), region, &units, sums, scratch);
        }
    }
}
