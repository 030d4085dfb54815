//! The rows that a block of outputs reads, gathered with their border.

use std::ops::Range;

use crate::conv::{Part, Request, Tiling};
use crate::geometry::{AXES, Axis, BorderMap, ConvGeometry};
use crate::kernels::Element;
use crate::tuning::direct::LEAST_COLUMNS;
use crate::tuning::{HALO_BYTES, HALO_ROWS};

/// Blocks of output rows whose input rows are gathered into a halo; of a single row, a series, blocks of columns.
#[derive(Debug)]
pub(super) struct Halos {
    /// With the padded axes.
    pub geometry: ConvGeometry,
    pub maps: [BorderMap; AXES],
    /// Output rows and columns of a block.
    pub rows: usize,
    pub columns: usize,
}

impl Halos {
    pub fn new(geometry: &ConvGeometry, element: usize) -> Self {
        let maps = geometry.axes.each_ref().map(|axis| BorderMap::new(axis, geometry.mode));
        let axes = geometry.axes.each_ref().map(Axis::padded);
        let geometry = &ConvGeometry { axes, ..geometry.clone() };
        let [depth, height, width] = &geometry.axes;
        let column = depth.kernel * geometry.c_in * element;
        // Outputs of an axis so that `inputs` elements are not exceeded.
        let fit = |inputs: usize, axis: &Axis| inputs.saturating_sub(axis.span()) / axis.stride + 1;
        let rows = fit(HALO_BYTES / (maps[2].len() * column).max(1), height);
        let rows = rows.clamp(1, HALO_ROWS.min(height.output));
        let columns = fit(HALO_BYTES / (height.span() * column).max(1), width);
        let series = depth.output * height.output == 1;
        let columns = if series { columns.max(LEAST_COLUMNS).min(width.output) } else { width.output };
        Self { geometry: geometry.clone(), maps, rows, columns }
    }

    /// Input rows of a block of `rows` output rows.
    pub fn halo_rows(&self, rows: usize) -> usize {
        let height = &self.geometry.axes[1];
        (rows - 1) * height.stride + height.span()
    }

    /// Padded columns that some output columns read.
    pub fn halo_columns(&self, columns: &Range<usize>) -> Range<usize> {
        let width = &self.geometry.axes[2];
        columns.start * width.stride..(columns.end - 1) * width.stride + width.span()
    }

    /// The problem of one block: its halo is all there is.
    pub fn block(&self) -> ConvGeometry {
        let [depth, height, width] = self.geometry.axes;
        let planes = Axis { input: depth.kernel, output: 1, stride: 1, dilation: 1, ..depth };
        let rows = Axis { input: self.halo_rows(self.rows), output: self.rows, ..height };
        let columns = self.halo_columns(&(0..self.columns)).end;
        let columns = Axis { input: columns, output: self.columns, ..width };
        ConvGeometry { axes: [planes, rows, columns], ..self.geometry.clone() }
    }

    pub fn len(&self) -> usize {
        let [planes, rows, columns] = self.block().axes.map(|a| a.input);
        planes * rows * columns * self.geometry.c_in
    }

    /// How the outputs are cut, with the weights and the memory of the plan inside.
    pub fn tiling(&self, inner: &Tiling) -> Tiling {
        let [depth, height, width] = &self.geometry.axes;
        let size = [depth.output * height.output, width.output, self.geometry.c_out];
        let scratch = Request { outer: self.len(), ..inner.scratch };
        let tiling = Tiling::new(size, [1, self.columns], inner.weights, scratch);
        Tiling { weight_unit: inner.weight_unit, ..tiling }
    }

    /// Cuts a part of the output into blocks: `visit(halo, elements of the part)` after the halo of the block is
    /// filled.
    pub fn for_each_block<T: Element>(
        &self,
        x: &[T],
        Part { rows, columns }: Part,
        halo: &mut [T],
        mut visit: impl FnMut(&[T], Range<usize>),
    ) {
        let (height, c) = (self.geometry.axes[1].output, self.geometry.c_out);
        let row_len = columns.len() * c;
        let mut row = rows.start;
        while row < rows.end {
            let (plane, first) = (row / height, row % height);
            let end = (first + self.rows).min(height).min(first + rows.end - row);
            let lines = (row - rows.start) * row_len;
            for column in columns.clone().step_by(self.columns) {
                let some = column..(column + self.columns).min(columns.end);
                let len = (end - first) * some.len() * c;
                let start = lines + (column - columns.start) * c;
                self.fill(x, plane, &(first..end), &some, halo);
                visit(halo, start..start + len);
            }
            row += end - first;
        }
    }

    /// Gathers what `rows` and `outputs` (columns) of the output plane `plane` read.
    pub fn fill<T: Element>(
        &self,
        x: &[T],
        plane: usize,
        rows: &Range<usize>,
        outputs: &Range<usize>,
        halo: &mut [T],
    ) {
        let c = self.geometry.c_in;
        let [planes, lines, columns] = &self.maps;
        let [depth, height, _] = &self.geometry.axes;
        let line_len = self.halo_columns(&(0..self.columns)).len() * c;
        let plane_len = self.halo_rows(self.rows) * line_len;
        let wanted = self.halo_columns(outputs);
        let inner = wanted.start.max(columns.plain.start)..wanted.end.min(columns.plain.end);
        // Without one inside: all before it, or all after it.
        let inner = if inner.is_empty() { wanted.end..wanted.end } else { inner };
        for (tap, target) in halo.chunks_exact_mut(plane_len).take(depth.kernel).enumerate() {
            let p = planes.sources[plane * depth.stride + tap * depth.dilation];
            let first = rows.start * height.stride;
            let sources = &lines.sources[first..first + self.halo_rows(rows.len())];
            for (line, r) in target.chunks_exact_mut(line_len).zip(sources) {
                let start = (p * lines.input + r) * columns.input * c;
                let source = &x[start..start + columns.input * c];
                if !inner.is_empty() {
                    let [from, to] = [inner.start - columns.plain.start, inner.end - columns.plain.start];
                    line[(inner.start - wanted.start) * c..(inner.end - wanted.start) * c]
                        .copy_from_slice(&source[from * c..to * c]);
                }
                for i in (wanted.start..inner.start).chain(inner.end..wanted.end) {
                    let (from, to) = (columns.sources[i] * c, (i - wanted.start) * c);
                    line[to..to + c].copy_from_slice(&source[from..from + c]);
                }
            }
        }
    }
}
