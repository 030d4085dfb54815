//! Convolutions whose border is not zero: reflected, repeated at the edge, wrapped around, symmetric.
//!
//! Forward and to the kernel, the rows that a block of output rows reads are copied into a band, through one index map
//! per axis; the band is the whole input of another plan that knows nothing of borders. To the input, that other plan
//! computes the gradient of the padded input some rows at a time, and every row is folded back: what was copied from
//! an element in front is added to it. A padded copy of the tensor never exists.
//!
//! An element of the input adds up its copies in the order of the padded tensor (plane, row, column), so neither
//! blocks nor partitions change a bit.

use std::ops::Range;

use super::{Accumulated, Accumulation, Correlated, Correlation, Epilogue, Scratch};
use crate::geometry::{AXES, Axis, ConvGeometry, PaddingMode};
use crate::kernels::{Element, Job, Kernels, Tier};

/// Bytes of a band: half of a small share of L2, as for the other algorithms.
const BAND_BYTES: usize = 96 << 10;
/// Rows of a block at most.
const MOST_ROWS: usize = 16;

/// Whether there is a border and it is not zero.
pub(super) fn accepts(geometry: &ConvGeometry) -> bool {
    geometry.mode != PaddingMode::Zeros && geometry.axes.iter().any(|a| a.before + a.after > 0)
}

/// Where every element of a padded axis comes from.
#[derive(Debug)]
struct Map {
    before: usize,
    input: usize,
    sources: Vec<usize>,
}

impl Map {
    fn new(axis: &Axis, mode: PaddingMode) -> Self {
        let len = axis.before + axis.input + axis.after;
        // An axis without padding may be empty; the mode of all others was checked with the geometry.
        let sources = (0..len).filter_map(|i| mode.source(i, axis.before, axis.input)).collect();
        Self { before: axis.before, input: axis.input, sources }
    }

    fn len(&self) -> usize {
        self.sources.len()
    }
}

/// The same axis as if the padded input were the input.
fn padded(axis: &Axis) -> Axis {
    Axis { input: axis.before + axis.input + axis.after, before: 0, after: 0, ..*axis }
}

/// Blocks of output rows whose input rows are gathered into a band.
#[derive(Debug)]
struct Bands {
    geometry: ConvGeometry,
    maps: [Map; AXES],
    /// Output rows of a block.
    rows: usize,
}

impl Bands {
    fn new(geometry: &ConvGeometry, element: usize) -> Self {
        let maps = geometry.axes.each_ref().map(|axis| Map::new(axis, geometry.mode));
        let [depth, height, _] = &geometry.axes;
        let row = depth.kernel * maps[2].len() * geometry.c_in * element;
        let fit = (BAND_BYTES / row.max(1)).saturating_sub(height.span()) / height.stride + 1;
        let rows = fit.clamp(1, MOST_ROWS.min(height.output));
        Self { geometry: geometry.clone(), maps, rows }
    }

    /// Input rows of a block of `rows` output rows.
    fn band_rows(&self, rows: usize) -> usize {
        let height = &self.geometry.axes[1];
        (rows - 1) * height.stride + height.span()
    }

    /// The problem of one block: its band is all there is.
    fn block(&self) -> ConvGeometry {
        let [depth, height, width] = self.geometry.axes;
        let planes = Axis { input: depth.kernel, output: 1, stride: 1, dilation: 1, ..padded(&depth) };
        let rows = Axis { input: self.band_rows(self.rows), output: self.rows, ..padded(&height) };
        ConvGeometry { axes: [planes, rows, padded(&width)], ..self.geometry.clone() }
    }

    fn len(&self) -> usize {
        self.geometry.axes[0].kernel * self.band_rows(self.rows) * self.maps[2].len() * self.geometry.c_in
    }

    /// Cuts rows of the output into blocks: `visit(plane, rows inside the plane)`.
    fn for_each_block(&self, rows: Range<usize>, mut visit: impl FnMut(usize, Range<usize>)) {
        let height = self.geometry.axes[1].output;
        let mut row = rows.start;
        while row < rows.end {
            let (plane, first) = (row / height, row % height);
            let end = (first + self.rows).min(height).min(first + rows.end - row);
            visit(plane, first..end);
            row += end - first;
        }
    }

    /// Gathers what `rows` of the output plane `plane` read.
    fn fill<T: Element>(&self, x: &[T], plane: usize, rows: &Range<usize>, band: &mut [T]) {
        let c = self.geometry.c_in;
        let [planes, lines, columns] = &self.maps;
        let [depth, height, _] = &self.geometry.axes;
        let line_len = columns.len() * c;
        let plane_len = self.band_rows(self.rows) * line_len;
        let inner = columns.before * c..(columns.before + columns.input) * c;
        for (tap, target) in band.chunks_exact_mut(plane_len).take(depth.kernel).enumerate() {
            let p = planes.sources[plane * depth.stride + tap * depth.dilation];
            let first = rows.start * height.stride;
            let wanted = &lines.sources[first..first + self.band_rows(rows.len())];
            for (line, r) in target.chunks_exact_mut(line_len).zip(wanted) {
                let start = (p * lines.input + r) * columns.input * c;
                let source = &x[start..start + columns.input * c];
                line[inner.clone()].copy_from_slice(source);
                let margins = (0..columns.before).chain(columns.before + columns.input..columns.len());
                for i in margins {
                    let from = columns.sources[i] * c;
                    line[i * c..(i + 1) * c].copy_from_slice(&source[from..from + c]);
                }
            }
        }
    }
}

/// The forward pass.
pub(super) struct Padded<T: Element> {
    bands: Bands,
    inner: Correlated<T>,
}

impl<T: Element> Padded<T> {
    /// Plans the pass.
    pub(super) fn new(geometry: &ConvGeometry, kernels: &'static Kernels<T>) -> Self {
        let bands = Bands::new(geometry, size_of::<T>());
        let inner = super::forward(&bands.block(), kernels);
        Self { bands, inner }
    }
}

impl<T: Element> Correlation<T> for Padded<T> {
    fn packed_len(&self) -> usize {
        self.inner.packed_len()
    }

    fn pack(&self, kernel: &[T], packed: &mut [T]) {
        self.inner.pack(kernel, packed);
    }

    fn rows(&self) -> usize {
        let [depth, height, _] = &self.bands.geometry.axes;
        depth.output * height.output
    }

    fn row_len(&self) -> usize {
        self.inner.row_len()
    }

    fn scratch(&self) -> (usize, usize) {
        self.inner.scratch()
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
        let mut band = scratch.take_outer(self.bands.len());
        let mut rest = to;
        self.bands.for_each_block(rows, |plane, rows| {
            self.bands.fill(from, plane, &rows, &mut band);
            let (part, behind) = std::mem::take(&mut rest).split_at_mut(rows.len() * self.row_len());
            self.inner.run(&band, packed, part, 0..rows.len(), epilogue, scratch);
            rest = behind;
        });
        scratch.outer = band;
    }
}

/// The gradient to the kernel.
pub(super) struct PaddedKernelGrad<T: Element> {
    bands: Bands,
    inner: Accumulated<T>,
}

impl<T: Element> PaddedKernelGrad<T> {
    /// Plans the pass.
    pub(super) fn new(geometry: &ConvGeometry, kernels: &'static Kernels<T>) -> Self {
        let bands = Bands::new(geometry, size_of::<T>());
        let inner = super::kernel_grad(&bands.block(), kernels);
        Self { bands, inner }
    }
}

impl<T: Element> Accumulation<T> for PaddedKernelGrad<T> {
    fn rows(&self) -> usize {
        let [depth, height, _] = &self.bands.geometry.axes;
        depth.output * height.output
    }

    fn row_len(&self) -> usize {
        self.inner.row_len()
    }

    fn run(&self, x: &[T], dy: &[T], rows: Range<usize>, dkernel: &mut [T], scratch: &mut Scratch<T>) {
        let mut band = scratch.take_outer(self.bands.len());
        let mut rest = dy;
        self.bands.for_each_block(rows, |plane, rows| {
            self.bands.fill(x, plane, &rows, &mut band);
            let (part, behind) = rest.split_at(rows.len() * self.row_len());
            self.inner.run(&band, part, 0..rows.len(), dkernel, scratch);
            rest = behind;
        });
        scratch.outer = band;
    }
}

/// The gradient to the input.
pub(super) struct PaddedInputGrad<T: Element> {
    maps: [Map; AXES],
    channels: usize,
    /// Rows of the padded gradient that are computed at a time.
    rows: usize,
    inner: Correlated<T>,
    tier: Tier,
}

impl<T: Element> PaddedInputGrad<T> {
    /// Plans the pass.
    pub(super) fn new(geometry: &ConvGeometry, kernels: &'static Kernels<T>) -> Self {
        let maps = geometry.axes.each_ref().map(|axis| Map::new(axis, geometry.mode));
        let inner = ConvGeometry { axes: geometry.axes.each_ref().map(padded), ..geometry.clone() };
        let row = maps[2].len() * geometry.c_in * size_of::<T>();
        let rows = (BAND_BYTES / row.max(1)).clamp(1, MOST_ROWS.min(maps[1].input.max(1)));
        Self {
            maps,
            channels: geometry.c_in,
            rows,
            inner: super::input_grad(&inner, kernels),
            tier: kernels.tier,
        }
    }
}

impl<T: Element> Correlation<T> for PaddedInputGrad<T> {
    fn packed_len(&self) -> usize {
        self.inner.packed_len()
    }

    fn pack(&self, kernel: &[T], packed: &mut [T]) {
        self.inner.pack(kernel, packed);
    }

    fn rows(&self) -> usize {
        self.maps[0].input * self.maps[1].input
    }

    fn row_len(&self) -> usize {
        self.maps[2].input * self.channels
    }

    fn scratch(&self) -> (usize, usize) {
        self.inner.scratch()
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
        let [planes, lines, columns] = &self.maps;
        let (c, row_len) = (self.channels, self.row_len());
        match epilogue.bias {
            Some(bias) => to.chunks_exact_mut(c).for_each(|pixel| pixel.copy_from_slice(bias)),
            None => to.fill(T::ZERO),
        }
        let padded_len = columns.len() * c;
        let mut band = scratch.take_outer(self.rows * padded_len);
        let mut row = rows.start;
        while row < rows.end {
            let (plane, first) = (row / lines.input, row % lines.input);
            let end = (first + self.rows).min(lines.input).min(first + rows.end - row);
            let target = &mut to[(row - rows.start) * row_len..][..(end - first) * row_len];
            for p in (0..planes.len()).filter(|&p| planes.sources[p] == plane) {
                let mut next = 0;
                while let Some(run) = neighbours(&lines.sources, next, first..end, self.rows) {
                    next = run.end;
                    let band = &mut band[..run.len() * padded_len];
                    let at = p * lines.len();
                    self.inner.run(from, packed, band, at + run.start..at + run.end, Epilogue::NONE, scratch);
                    for (line, r) in band.chunks_exact(padded_len).zip(run) {
                        let start = (lines.sources[r] - first) * row_len;
                        self.tier.vectorize(Fold {
                            columns,
                            c,
                            from: line,
                            to: &mut target[start..start + row_len],
                        });
                    }
                }
            }
            row += end - first;
        }
        scratch.outer = band;
        if epilogue.relu {
            for value in to {
                // Written so that NaN stays NaN.
                if *value <= T::ZERO {
                    *value = T::ZERO;
                }
            }
        }
    }
}

/// The next padded rows, at most `most`, that were copied from `wanted` and stand side by side.
fn neighbours(sources: &[usize], from: usize, wanted: Range<usize>, most: usize) -> Option<Range<usize>> {
    let start = (from..sources.len()).find(|&i| wanted.contains(&sources[i]))?;
    let len = sources[start..].iter().take(most).take_while(|&i| wanted.contains(i)).count();
    Some(start..start + len)
}

/// Adds a row of the padded gradient to the row that it was copied from.
struct Fold<'a, T> {
    columns: &'a Map,
    c: usize,
    from: &'a [T],
    to: &'a mut [T],
}

impl<T: Element> Fold<'_, T> {
    #[inline(always)]
    fn add(&mut self, at: usize, from: Range<usize>) {
        for (to, from) in self.to[at..at + from.len()].iter_mut().zip(&self.from[from]) {
            *to += *from;
        }
    }
}

impl<T: Element> Job for Fold<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(mut self) {
        let (columns, c) = (self.columns, self.c);
        let behind = columns.before + columns.input;
        for i in 0..columns.before {
            self.add(columns.sources[i] * c, i * c..(i + 1) * c);
        }
        self.add(0, columns.before * c..behind * c);
        for i in behind..columns.len() {
            self.add(columns.sources[i] * c, i * c..(i + 1) * c);
        }
    }
}
