//! Convolutions whose border is not zero: reflected, repeated at the edge, wrapped around, symmetric.
//!
//! Forward and to the kernel, the rows that a block of output rows reads are copied into a halo, through one index map
//! per axis; the halo is the whole input of another plan that knows nothing of borders. To the input, that other plan
//! computes the gradient of the padded input some rows at a time, and every row is added back: what was copied from
//! another element is added to it. A padded copy of the tensor never exists.
//!
//! An element of the input adds up its copies in the order of the padded tensor (plane, row, column), so neither
//! blocks nor partitions change a bit.

mod halos;

use std::ops::Range;

use halos::Halos;

use super::{
    Algorithm, Epilogue, Grad, GradOperands, GradPlan, Map, MapPlan, Operands, Pass, Plan, Problem, Region,
    Request, Scratch, Sums, Tiling, depthwise, zero_border,
};
use crate::geometry::{AXES, Axis, BorderMap, ConvGeometry, PaddingMode};
use crate::kernels::{Element, Job, Tier};
use crate::tuning::direct::LEAST_COLUMNS;
use crate::tuning::{HALO_BYTES, HALO_ROWS};

/// Whether there is a border and it is not zero.
pub(super) fn accepts(geometry: &ConvGeometry) -> bool {
    geometry.mode != PaddingMode::Zeros && geometry.axes.iter().any(|a| a.before + a.after > 0)
}

/// A plan for every pass, if there is such a border.
pub(super) fn plan<T: Element>(p: Problem<'_, T>, pass: Pass) -> Option<Plan<T>> {
    accepts(p.geometry)
        .then(|| match pass {
            Pass::Forward => Padded::new(p).map(Plan::of_map),
            Pass::InputGrad => PaddedInputGrad::new(p).map(Plan::of_map),
            Pass::KernelGrad => PaddedKernelGrad::new(p).map(Plan::of_grad),
        })
        .flatten()
}

/// The plan of a block, whose borders are in its halo: not by tiles, since blocks start wherever a part of the rows does.
fn inside<T: Element>(p: Problem<'_, T>, block: &ConvGeometry, pass: Pass) -> Option<Plan<T>> {
    let p = Problem { geometry: block, algorithm: Algorithm::Direct, ..p };
    // Rows that are visited together would have to be so in every halo.
    let alone = if pass == Pass::KernelGrad { depthwise::row_by_row(p) } else { None };
    alone.or_else(|| zero_border().into_iter().find_map(|entry| entry(p, pass)))
}

/// The forward pass.
struct Padded<T: Element> {
    tiling: Tiling,
    halos: Halos,
    inner: Map<T>,
}

impl<T: Element> Padded<T> {
    fn new(p: Problem<'_, T>) -> Option<Self> {
        let halos = Halos::new(p.geometry, size_of::<T>());
        let inner = inside(p, &halos.block(), Pass::Forward)?.map()?;
        Some(Self { tiling: halos.tiling(inner.tiling()), halos, inner })
    }
}

impl<T: Element> MapPlan<T> for Padded<T> {
    fn tiling(&self) -> &Tiling {
        &self.tiling
    }

    fn pack(&self, kernel: &[T], first: usize, part: &mut [T]) {
        self.inner.pack(kernel, first, part);
    }

    fn run(&self, operands: Operands<'_, T>, to: &mut [T], region: &Region, scratch: &mut Scratch<T>) {
        scratch.reserve(&self.tiling.scratch);
        let mut outer = scratch.take_outer_halo(self.halos.len());
        for (from, to, part) in self.tiling.results(operands.from, to, region) {
            self.halos.for_each_block(from, part, &mut outer, |halo, some| {
                let operands = Operands { from: halo, ..operands };
                let block = Region::Elements(0..some.len());
                self.inner.run(operands, &mut to[some], &block, scratch);
            });
        }
        scratch.outer = outer;
    }
}

/// The gradient to the kernel.
struct PaddedKernelGrad<T: Element> {
    tiling: Tiling,
    halos: Halos,
    inner: Grad<T>,
}

impl<T: Element> PaddedKernelGrad<T> {
    fn new(p: Problem<'_, T>) -> Option<Self> {
        let halos = Halos::new(p.geometry, size_of::<T>());
        let inner = inside(p, &halos.block(), Pass::KernelGrad)?.grad()?;
        Some(Self { tiling: halos.tiling(inner.tiling()), halos, inner })
    }
}

impl<T: Element> GradPlan<T> for PaddedKernelGrad<T> {
    fn tiling(&self) -> &Tiling {
        &self.tiling
    }

    fn accumulate(
        &self,
        operands: GradOperands<'_, T>,
        region: &Region,
        mut sums: Sums<'_, T>,
        scratch: &mut Scratch<T>,
    ) {
        scratch.reserve(&self.tiling.scratch);
        sums.begin();
        let mut outer = scratch.take_outer_halo(self.halos.len());
        for (x, dy, part) in self.tiling.grads(operands.x, operands.dy, region) {
            self.halos.for_each_block(x, part, &mut outer, |halo, some| {
                let block = Region::Elements(0..some.len());
                let operands = GradOperands { x: halo, dy: &dy[some], ..operands };
                let sums = Sums { sums: &mut *sums.sums, units: sums.units.clone(), from_zero: false };
                self.inner.accumulate(operands, &block, sums, scratch);
            });
        }
        scratch.outer = outer;
    }
}

/// The gradient to the input.
struct PaddedInputGrad<T: Element> {
    tiling: Tiling,
    maps: [BorderMap; AXES],
    channels: usize,
    /// Rows of the padded gradient that are computed at a time, and columns of a series.
    rows: usize,
    columns: usize,
    inner: Map<T>,
    tier: Tier,
}

impl<T: Element> PaddedInputGrad<T> {
    fn new(p: Problem<'_, T>) -> Option<Self> {
        let (g, c) = (p.geometry, p.geometry.c_in);
        let maps = g.axes.each_ref().map(|axis| BorderMap::new(axis, g.mode));
        let inner = ConvGeometry { axes: g.axes.each_ref().map(Axis::padded), ..g.clone() };
        let inner = super::plans(Problem { geometry: &inner, ..p }, Pass::InputGrad).next()?.map()?;
        let row = maps[2].len() * c * size_of::<T>();
        let rows = (HALO_BYTES / row.max(1)).clamp(1, HALO_ROWS.min(maps[1].input.max(1)));
        let columns = (HALO_BYTES / (c * size_of::<T>())).max(LEAST_COLUMNS).min(maps[2].input);
        let columns = columns.max(1);
        let tier = p.kernels.tier;
        let mut plan = Self { tiling: Tiling::default(), maps, channels: c, rows, columns, inner, tier };
        let ([planes, lines, width], inner) = (&plan.maps, plan.inner.tiling());
        // Of a row that is not a series, other rows of the padded gradient are added to all columns.
        let unit = if plan.series() { columns } else { width.input };
        let size = [planes.input * lines.input, width.input, c];
        let scratch = Request { outer: plan.outer_len(), ..inner.scratch };
        let tiling = Tiling::new(size, [1, unit], inner.weights, scratch);
        plan.tiling = Tiling { weight_unit: inner.weight_unit, ..tiling };
        Some(plan)
    }

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

impl<T: Element> MapPlan<T> for PaddedInputGrad<T> {
    fn tiling(&self) -> &Tiling {
        &self.tiling
    }

    fn pack(&self, kernel: &[T], first: usize, part: &mut [T]) {
        self.inner.pack(kernel, first, part);
    }

    fn run(&self, operands: Operands<'_, T>, to: &mut [T], region: &Region, scratch: &mut Scratch<T>) {
        scratch.reserve(&self.tiling.scratch);
        let mut outer = scratch.take_outer_halo(self.outer_len());
        for (from, to, part) in self.tiling.results(operands.from, to, region) {
            let inside = Operands { from, epilogue: Epilogue::NONE, ..operands };
            self.start(to, operands.epilogue);
            if self.series() {
                self.add_columns(inside, to, part.columns, &mut outer, scratch);
            } else {
                assert_eq!(part.columns, 0..self.tiling.columns, "a row that cannot be cut");
                self.add_rows(inside, to, part.rows, &mut outer, scratch);
            }
            Self::end(to, operands.epilogue);
        }
        scratch.outer = outer;
    }
}

impl<T: Element> PaddedInputGrad<T> {
    /// Adds all that was copied from some rows.
    fn add_rows(
        &self,
        operands: Operands<'_, T>,
        to: &mut [T],
        rows: Range<usize>,
        outer: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        let [planes, lines, columns] = &self.maps;
        let (c, row_len) = (self.channels, self.tiling.row_len());
        let padded_len = columns.len() * c;
        let mut row = rows.start;
        while row < rows.end {
            let (plane, first) = (row / lines.input, row % lines.input);
            let end = (first + self.rows).min(lines.input).min(first + rows.end - row);
            let target = &mut to[(row - rows.start) * row_len..][..(end - first) * row_len];
            for p in (0..planes.len()).filter(|&p| planes.sources[p] == plane) {
                let mut next = 0;
                while let Some(run) = neighbours(&lines.sources, next, first..end, self.rows) {
                    next = run.end;
                    let halo = &mut outer[..run.len() * padded_len];
                    let [from, to] = [run.start, run.end].map(|r| (p * lines.len() + r) * padded_len);
                    self.inner.run(operands, halo, &Region::Elements(from..to), scratch);
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
    }

    /// Adds all that was copied from some columns of a series.
    fn add_columns(
        &self,
        operands: Operands<'_, T>,
        to: &mut [T],
        wanted: Range<usize>,
        outer: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        let (c, columns) = (self.channels, &self.maps[2]);
        for first in wanted.clone().step_by(self.columns) {
            let end = (first + self.columns).min(wanted.end);
            let target = &mut to[(first - wanted.start) * c..(end - wanted.start) * c];
            let mut add = |positions: Range<usize>| {
                let halo = &mut outer[..positions.len() * c];
                let part = Region::Elements(positions.start * c..positions.end * c);
                self.inner.run(operands, halo, &part, scratch);
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
            let [before, after] = margins;
            margin(before, &mut add);
            if !plain.is_empty() {
                add(plain.start + first..plain.start + end);
            }
            margin(after, &mut add);
        }
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
