//! Convolutions whose border is not zero: reflected, repeated at the edge, wrapped around, symmetric.
//!
//! Forward and to the kernel, the rows that a block of output rows reads are copied into a halo, through one index map
//! per axis; the halo is the whole input of another plan that knows nothing of borders. To the input, that other plan
//! computes the gradient of the padded input some rows at a time, and every row is added back: what was copied from
//! an element in front is added to it. A padded copy of the tensor never exists.
//!
//! An element of the input adds up its copies in the order of the padded tensor (plane, row, column), so neither
//! blocks nor partitions change a bit.

mod halos;

use std::ops::Range;

use halos::{HALO_BYTES, Halos, LEAST_COLUMNS, MOST_ROWS};

use super::depthwise::{self, DepthwiseKernelGrad};
use super::{
    Accumulated, Accumulation, Algorithm, Correlated, Correlation, Epilogue, Portion, Problem, Scratch,
};
use crate::geometry::{AXES, Axis, BorderMap, ConvGeometry, PaddingMode};
use crate::kernels::{Element, Job, Tier};

/// Whether there is a border and it is not zero.
pub(super) fn accepts(geometry: &ConvGeometry) -> bool {
    geometry.mode != PaddingMode::Zeros && geometry.axes.iter().any(|a| a.before + a.after > 0)
}

/// The forward pass.
pub(super) struct Padded<T: Element> {
    halos: Halos,
    inner: Correlated<T>,
}

impl<T: Element> Padded<T> {
    /// Plans the pass.
    pub(super) fn new(p: Problem<'_, T>) -> Self {
        let halos = Halos::new(p.geometry, size_of::<T>());
        // Not by tiles: blocks start wherever a part of the rows does.
        let inner = super::forward(&halos.block(), p.kernels, Algorithm::Direct);
        Self { halos, inner }
    }
}

impl<T: Element> Padded<T> {
    fn outer_len(&self) -> usize {
        self.halos.len()
    }
}

impl<T: Element> Correlation<T> for Padded<T> {
    fn packed_len(&self) -> usize {
        self.inner.packed_len()
    }

    fn pack(&self, kernel: &[T], packed: &mut [T]) {
        self.inner.pack(kernel, packed);
    }

    fn pack_grain(&self) -> usize {
        self.inner.pack_grain()
    }

    fn pack_part(&self, kernel: &[T], first: usize, part: &mut [T]) {
        self.inner.pack_part(kernel, first, part);
    }

    fn rows(&self) -> usize {
        let [depth, height, _] = &self.halos.geometry.axes;
        depth.output * height.output
    }

    fn row_len(&self) -> usize {
        self.halos.row_len()
    }

    fn reserve(&self, scratch: &mut Scratch<T>) {
        scratch.reserve_outer_halo(self.outer_len());
        self.inner.reserve(scratch);
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
        if self.rows() == 1 {
            return self.run_strip(from, packed, to, 0..self.row_len(), epilogue, scratch);
        }
        let row_len = self.row_len();
        let mut outer = scratch.take_outer_halo(self.outer_len());
        self.halos.for_each_block(from, rows, &mut outer, |halo, rows| {
            let part = &mut to[rows.start * row_len..rows.end * row_len];
            self.inner.run(halo, packed, part, 0..rows.len(), epilogue, scratch);
        });
        scratch.outer = outer;
    }

    fn strip(&self) -> usize {
        self.halos.strip()
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
        let mut outer = scratch.take_outer_halo(self.halos.len());
        self.halos.for_each_strip(from, &elements, &mut outer, |halo, some| {
            let part = 0..some.len();
            self.inner.run_strip(halo, packed, &mut to[some], part, epilogue, scratch);
        });
        scratch.outer = outer;
    }
}

/// The gradient to the kernel.
pub(super) struct PaddedKernelGrad<T: Element> {
    halos: Halos,
    inner: Accumulated<T>,
}

impl<T: Element> PaddedKernelGrad<T> {
    /// Plans the pass.
    pub(super) fn new(p: Problem<'_, T>) -> Self {
        let halos = Halos::new(p.geometry, size_of::<T>());
        let block = halos.block();
        // Rows that are visited together would have to be so in every halo.
        let inner: Accumulated<T> = if depthwise::accepts(&block) {
            Box::new(DepthwiseKernelGrad::row_by_row(&block, p.kernels))
        } else {
            super::kernel_grad(&block, p.kernels, Algorithm::Direct)
        };
        Self { halos, inner }
    }
}

impl<T: Element> Accumulation<T> for PaddedKernelGrad<T> {
    fn rows(&self) -> usize {
        let [depth, height, _] = &self.halos.geometry.axes;
        depth.output * height.output
    }

    fn row_len(&self) -> usize {
        self.halos.row_len()
    }

    fn run(&self, x: &[T], dy: &[T], rows: Range<usize>, dkernel: &mut [T], scratch: &mut Scratch<T>) {
        let (strip, kernel) = (0..self.row_len(), 0..self.kernel_rows());
        self.run_part(x, dy, &Portion { samples: 1, rows, strip, kernel }, dkernel, scratch);
    }

    fn reserve(&self, scratch: &mut Scratch<T>) {
        scratch.reserve_outer_halo(self.halos.len());
        self.inner.reserve(scratch);
    }

    fn kernel_rows(&self) -> usize {
        self.inner.kernel_rows()
    }

    fn strip(&self) -> usize {
        self.halos.strip()
    }

    fn run_part(&self, x: &[T], dy: &[T], portion: &Portion, dkernel: &mut [T], scratch: &mut Scratch<T>) {
        let row_len = self.row_len();
        let part_len = portion.rows.len() * portion.strip.len();
        let mut outer = scratch.take_outer_halo(self.halos.len());
        let samples = x.chunks_exact(x.len() / portion.samples);
        for (x, dy) in samples.zip(dy.chunks_exact(part_len.max(1))) {
            let mut add = |halo: &[T], dy: &[T], rows: Range<usize>, strip: Range<usize>| {
                let portion = Portion { samples: 1, rows, strip, kernel: portion.kernel.clone() };
                self.inner.run_part(halo, dy, &portion, dkernel, scratch);
            };
            if self.rows() == 1 {
                self.halos.for_each_strip(x, &portion.strip, &mut outer, |halo, some| {
                    add(halo, &dy[some.clone()], 0..1, 0..some.len());
                });
            } else {
                self.halos.for_each_block(x, portion.rows.clone(), &mut outer, |halo, rows| {
                    add(halo, &dy[rows.start * row_len..rows.end * row_len], 0..rows.len(), 0..row_len);
                });
            }
        }
        scratch.outer = outer;
    }
}

/// The gradient to the input.
pub(super) struct PaddedInputGrad<T: Element> {
    maps: [BorderMap; AXES],
    channels: usize,
    /// Rows of the padded gradient that are computed at a time, and columns of a series.
    rows: usize,
    columns: usize,
    inner: Correlated<T>,
    tier: Tier,
}

impl<T: Element> PaddedInputGrad<T> {
    /// Plans the pass.
    pub(super) fn new(p: Problem<'_, T>) -> Self {
        let geometry = p.geometry;
        let maps = geometry.axes.each_ref().map(|axis| BorderMap::new(axis, geometry.mode));
        let inner = ConvGeometry { axes: geometry.axes.each_ref().map(Axis::padded), ..geometry.clone() };
        let row = maps[2].len() * geometry.c_in * size_of::<T>();
        let rows = (HALO_BYTES / row.max(1)).clamp(1, MOST_ROWS.min(maps[1].input.max(1)));
        let columns = (HALO_BYTES / (geometry.c_in * size_of::<T>())).max(LEAST_COLUMNS).min(maps[2].input);
        let columns = columns.max(1);
        Self {
            maps,
            channels: geometry.c_in,
            rows,
            columns,
            inner: super::input_grad(&inner, p.kernels, p.algorithm),
            tier: p.kernels.tier,
        }
    }
}

impl<T: Element> PaddedInputGrad<T> {
    fn outer_len(&self) -> usize {
        if self.series() {
            self.columns * self.channels
        } else {
            self.rows * self.maps[2].len() * self.channels
        }
    }

    /// Whether the padded gradient is one row.
    fn series(&self) -> bool {
        self.maps[0].len() * self.maps[1].len() == 1
    }

    fn start(&self, to: &mut [T], epilogue: Epilogue<'_, T>) {
        match epilogue.bias {
            Some(bias) => to.chunks_exact_mut(self.channels).for_each(|pixel| pixel.copy_from_slice(bias)),
            None => to.fill(T::ZERO),
        }
    }

    fn end(to: &mut [T], epilogue: Epilogue<'_, T>) {
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

impl<T: Element> Correlation<T> for PaddedInputGrad<T> {
    fn packed_len(&self) -> usize {
        self.inner.packed_len()
    }

    fn pack(&self, kernel: &[T], packed: &mut [T]) {
        self.inner.pack(kernel, packed);
    }

    fn pack_grain(&self) -> usize {
        self.inner.pack_grain()
    }

    fn pack_part(&self, kernel: &[T], first: usize, part: &mut [T]) {
        self.inner.pack_part(kernel, first, part);
    }

    fn rows(&self) -> usize {
        self.maps[0].input * self.maps[1].input
    }

    fn row_len(&self) -> usize {
        self.maps[2].input * self.channels
    }

    fn reserve(&self, scratch: &mut Scratch<T>) {
        scratch.reserve_outer_halo(self.outer_len());
        self.inner.reserve(scratch);
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
        if self.series() {
            return self.run_strip(from, packed, to, 0..row_len, epilogue, scratch);
        }
        self.start(to, epilogue);
        let padded_len = columns.len() * c;
        let mut halo = scratch.take_outer_halo(self.outer_len());
        let mut row = rows.start;
        while row < rows.end {
            let (plane, first) = (row / lines.input, row % lines.input);
            let end = (first + self.rows).min(lines.input).min(first + rows.end - row);
            let target = &mut to[(row - rows.start) * row_len..][..(end - first) * row_len];
            for p in (0..planes.len()).filter(|&p| planes.sources[p] == plane) {
                let mut next = 0;
                while let Some(run) = neighbours(&lines.sources, next, first..end, self.rows) {
                    next = run.end;
                    let halo = &mut halo[..run.len() * padded_len];
                    let at = p * lines.len();
                    self.inner.run(from, packed, halo, at + run.start..at + run.end, Epilogue::NONE, scratch);
                    for (line, r) in halo.chunks_exact(padded_len).zip(run) {
                        let start = (lines.sources[r] - first) * row_len;
                        let to = &mut target[start..start + row_len];
                        let positions = 0..columns.len();
                        self.tier.vectorize(AddBorders { columns, c, from: line, positions, to, first: 0 });
                    }
                }
            }
            row += end - first;
        }
        scratch.outer = halo;
        Self::end(to, epilogue);
    }

    fn strip(&self) -> usize {
        // Other rows of the padded gradient would be added to this one.
        if self.series() { self.columns * self.channels } else { self.row_len() }
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
        let c = self.channels;
        let columns = &self.maps[2];
        if !self.series() {
            assert_eq!(elements, 0..self.row_len(), "a row that cannot be cut");
            return self.run(from, packed, to, 0..1, epilogue, scratch);
        }
        self.start(to, epilogue);
        let mut outer = scratch.take_outer_halo(self.outer_len());
        let wanted = elements.start / c..elements.end / c;
        for first in wanted.clone().step_by(self.columns) {
            let end = (first + self.columns).min(wanted.end);
            let target = &mut to[(first - wanted.start) * c..(end - wanted.start) * c];
            let mut add = |positions: Range<usize>| {
                let halo = &mut outer[..positions.len() * c];
                let part = positions.start * c..positions.end * c;
                self.inner.run_strip(from, packed, halo, part, Epilogue::NONE, scratch);
                self.tier.vectorize(AddBorders {
                    columns,
                    c,
                    from: halo,
                    positions,
                    to: &mut *target,
                    first,
                });
            };
            let plain = &columns.plain;
            let margins = [0..plain.start, plain.end..columns.len()];
            let margin = |margin: Range<usize>, add: &mut dyn FnMut(Range<usize>)| {
                let sources = &columns.sources[margin.clone()];
                let mut next = 0;
                while let Some(run) = neighbours(sources, next, first..end, self.columns) {
                    next = run.end;
                    add(margin.start + run.start..margin.start + run.end);
                }
            };
            let [front, behind] = margins;
            margin(front, &mut add);
            if !plain.is_empty() {
                add(plain.start + first..plain.start + end);
            }
            margin(behind, &mut add);
        }
        scratch.outer = outer;
        Self::end(to, epilogue);
    }
}

/// The next padded rows, at most `most`, that were copied from `wanted` and stand side by side.
fn neighbours(sources: &[usize], from: usize, wanted: Range<usize>, most: usize) -> Option<Range<usize>> {
    let start = (from..sources.len()).find(|&i| wanted.contains(&sources[i]))?;
    let len = sources[start..].iter().take(most).take_while(|&i| wanted.contains(i)).count();
    Some(start..start + len)
}

/// Adds some positions of a row of the padded gradient to the row that they were copied from, of which `to` holds what
/// stands from column `first` on.
struct AddBorders<'a, T> {
    columns: &'a BorderMap,
    c: usize,
    from: &'a [T],
    positions: Range<usize>,
    to: &'a mut [T],
    first: usize,
}

impl<T: Element> AddBorders<'_, T> {
    /// Adds positions that were copied from neighbours.
    #[inline(always)]
    fn add(&mut self, positions: Range<usize>) {
        let Some(&source) = self.columns.sources.get(positions.start) else { return };
        let at = (source - self.first) * self.c;
        let from = (positions.start - self.positions.start) * self.c;
        let len = positions.len() * self.c;
        for (to, from) in self.to[at..at + len].iter_mut().zip(&self.from[from..from + len]) {
            *to += *from;
        }
    }
}

impl<T: Element> Job for AddBorders<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(mut self) {
        let (columns, positions) = (self.columns, self.positions.clone());
        let plain = &columns.plain;
        let inner = plain.start.max(positions.start)..plain.end.min(positions.end);
        let inner = if inner.is_empty() { positions.end..positions.end } else { inner };
        for i in positions.start..inner.start {
            self.add(i..i + 1);
        }
        if !inner.is_empty() {
            self.add(inner.clone());
        }
        for i in inner.end..positions.end {
            self.add(i..i + 1);
        }
    }
}
