//! The gradient to the kernel: `dk[t, ci, co] = sum over positions of x[position(t), ci] * dy[position, co]`.
//!
//! The same microkernel with exchanged roles: rows of the tile are consecutive (tap, channel) numbers of a band row,
//! columns are output channels, and `k` walks over the positions of some rows. Both operands are read in place.
//! Every element is one chain in the order of the positions, whatever the size of the blocks.

use std::ops::Range;

use super::Scratch;
use super::band::{self, Extent, Margins};
use crate::geometry::{Axis, ConvGeometry};
use crate::kernels::{Element, Kernels, Product, Run, Start};

/// Positions between two visits to the accumulators in memory: enough to hide them, few enough that `dy` stays in L1.
const POSITIONS: usize = 256;

/// A planned kernel gradient.
#[derive(Debug)]
pub struct KernelGrad<T: Element> {
    kernels: &'static Kernels<T>,
    geometry: ConvGeometry,
    input: Extent,
    margins: Margins,
    block_rows: usize,
}

/// The taps of one axis that meet the input for some of the outputs, tap by tap.
fn outputs_inside(axis: &Axis, tap: usize, outputs: Range<usize>) -> Range<usize> {
    // Output o reads o * stride + tap * dilation - before.
    let offset = tap * axis.dilation;
    let from = axis.before.saturating_sub(offset).div_ceil(axis.stride);
    let to = (axis.input + axis.before).saturating_sub(offset).div_ceil(axis.stride);
    let from = from.clamp(outputs.start, outputs.end);
    from..to.clamp(from, outputs.end)
}

impl<T: Element> KernelGrad<T> {
    /// Plans the pass.
    pub fn new(geometry: &ConvGeometry, kernels: &'static Kernels<T>) -> Self {
        let [planes, rows, columns] = geometry.axes.each_ref().map(|a| a.input);
        let input = Extent { planes, rows, columns, channels: geometry.c_in };
        let [depth, height, width] = &geometry.axes;
        let reach = (width.output - 1) * width.stride + width.span();
        let margins = Margins { left: width.before, right: reach.saturating_sub(width.before + width.input) };
        let most = POSITIONS.div_ceil(width.output).max(1);
        let block_rows = band::block_rows::<T>(input, margins, depth.span(), height.stride, most);
        Self { kernels, geometry: geometry.clone(), input, margins, block_rows }
    }

    /// Rows (depth times height) of the output.
    pub fn rows(&self) -> usize {
        self.geometry.axes[0].output * self.geometry.axes[1].output
    }

    /// Elements of one row of the output.
    pub fn row_len(&self) -> usize {
        self.geometry.axes[2].output * self.geometry.c_out
    }

    /// Scratch that `run` needs.
    pub fn scratch(&self) -> (usize, usize) {
        let [depth, height, _] = &self.geometry.axes;
        let planes = depth.span().min(depth.input);
        let rows = ((self.block_rows - 1) * height.stride + height.span()).min(height.input);
        let band = if self.margins.left + self.margins.right == 0 {
            0
        } else {
            band::len(self.input, self.margins, planes, rows)
        };
        (band, self.block_rows)
    }

    /// Adds what `rows` of the output of one sample contribute; `dy` holds exactly these rows.
    pub fn run(&self, x: &[T], dy: &[T], rows: Range<usize>, dkernel: &mut [T], scratch: &mut Scratch<T>) {
        scratch.reserve(self.scratch());
        let Scratch { band, runs, .. } = scratch;
        let [depth, height, _] = &self.geometry.axes;
        let mut row = rows.start;
        while row < rows.end {
            let (d, first) = (row / height.output, row % height.output);
            let end = (first + self.block_rows).min(height.output).min(first + rows.end - row);
            let clip = |axis: &Axis, from: usize, to: usize| {
                let start = (from * axis.stride).saturating_sub(axis.before).min(axis.input);
                let end = (to * axis.stride + axis.span()).saturating_sub(axis.before).min(axis.input);
                start..end.max(start)
            };
            let view = band::view(
                x,
                self.input,
                self.margins,
                clip(depth, d, d),
                clip(height, first, end - 1),
                band,
            );
            let dy = &dy[(row - rows.start) * self.row_len()..];
            for td in 0..depth.kernel {
                if outputs_inside(depth, td, d..d + 1).is_empty() {
                    continue;
                }
                let plane = d * depth.stride + td * depth.dilation - depth.before;
                for th in 0..height.kernel {
                    runs.clear();
                    runs.extend(outputs_inside(height, th, first..end).map(|h| Run {
                        a: view.at(plane, h * height.stride + th * height.dilation - height.before),
                        b: (h - first) * self.row_len(),
                    }));
                    if !runs.is_empty() {
                        self.taps(&view, dy, runs, (td * height.kernel + th) * self.tap_row_len(), dkernel);
                    }
                }
            }
            row += end - first;
        }
    }

    /// Elements of the kernel that belong to one (depth, height) tap.
    fn tap_row_len(&self) -> usize {
        self.geometry.axes[2].kernel * self.geometry.group_in() * self.geometry.c_out
    }

    /// All taps of the last axis at once where they are contiguous, else one by one.
    fn taps(&self, view: &band::View<'_, T>, dy: &[T], runs: &[Run], start: usize, dkernel: &mut [T]) {
        let g = &self.geometry;
        let width = &g.axes[2];
        let joined = width.dilation == 1 && g.groups == 1;
        let (steps, m) = if joined { (1, width.kernel * g.c_in) } else { (width.kernel, g.group_in()) };
        let panel = self.kernels.panel();
        for tap in 0..steps {
            for group in 0..g.groups {
                let offset = tap * width.dilation * g.c_in + group * g.group_in();
                let target = start + tap * g.group_in() * g.c_out + group * g.group_out();
                self.kernels.product(&mut Product {
                    a: &view.data[offset..],
                    a_m: 1,
                    a_k: width.stride * g.c_in,
                    b: &dy[group * g.group_out()..],
                    b_k: g.c_out,
                    b_panel: panel,
                    b_padded: false,
                    runs,
                    run_len: width.output,
                    c: &mut dkernel[target..],
                    c_m: g.c_out,
                    m,
                    n: g.group_out(),
                    start: Start::Result,
                    relu: false,
                });
            }
        }
    }
}
