//! The convolution of small maps with large kernels: a product for each position of the result, whose rows are samples.
//!
//! With positions as rows (`rows.rs`), a map of 4 x 4 has products of four rows, and fewer where borders cut taps off: the
//! weights are read for a fraction of a register tile. Here every position has its own list of taps, those that meet the
//! source, and all samples of a block share it, so that nothing is multiplied with the zeros around a map (five ninths
//! of the work of a 3 x 3 kernel on 2 x 2 positions). A panel of the weights stays in L2 while all positions read it.
//! Kernels of a single tap have positions and samples alike as rows.
//!
//! Chains are those of `rows.rs`: taps in the order of their positions, then channels; one sample or many change no bit.
//!
//! Weights are packed as `packed[tap][panel][k][column]`. A task packs several panels of a tap together: rows of the kernel
//! that are read a panel's width at a time, a power of two apart, come from memory at less than half the speed.

use std::ops::Range;

use super::halo::Extent;
use super::scratch::staggered;
use super::{Algorithm, MapPlan, Operands, Pass, Plan, Problem, Region, Request, Scratch, Tiling};
use crate::geometry::{AXES, Axis, ConvGeometry, Residues};
use crate::kernels::pack::{self, Matrix};
use crate::kernels::{B, Element, Gemm, Kernels, Offsets, Start, Store, fence};
use crate::tuning::across::{
    BLOCK_BYTES, BLOCK_ROWS, FEWEST_CHANNELS, FEWEST_SAMPLES, MOST_POSITIONS, MOST_SOURCES, MOST_TOGETHER,
};

/// A plan for a map.
pub(super) fn plan<T: Element>(p: Problem<'_, T>, pass: Pass) -> Option<Plan<T>> {
    (pass != Pass::KernelGrad && accepts(p, pass)).then(|| Plan::of_map(Across::new(p, pass)))
}

/// Whether the map is small beside its kernel.
fn accepts<T: Element>(p: Problem<'_, T>, pass: Pass) -> bool {
    let g = p.geometry;
    let [from, to] = pass.extents(g);
    let [k, n] = pass.channels(g);
    let large = |(most, fewest): &(usize, usize)| positions(to) <= *most && g.kernel_len() >= *fewest;
    p.algorithm != Algorithm::Winograd
        && g.groups == 1
        && MOST_POSITIONS.iter().any(large)
        && positions(from) <= MOST_SOURCES * positions(to)
        && k.min(n) >= FEWEST_CHANNELS
}

fn positions(map: Extent) -> usize {
    map.planes * map.rows * map.columns
}

/// Whether every position of the result reads the same one of the source, with the only tap.
fn is_pointwise(g: &ConvGeometry) -> bool {
    g.axes.iter().all(|a: &Axis| a.kernel == 1 && a.stride == 1 && a.before == 0 && a.input == a.output)
}

/// A planned pass.
#[derive(Debug)]
struct Across<T: 'static> {
    kernels: &'static Kernels<T>,
    tiling: Tiling,
    pass: Pass,
    /// Panels of a tap that are packed together.
    together: usize,
    /// Channels of the source and of the result.
    k: usize,
    n: usize,
    /// Elements of a row of the products in the source: a sample, or a position of one.
    from_len: usize,
    /// Distance of rows in the scratch.
    row: usize,
    /// Rows of a block.
    block: usize,
    /// What each position of a row reads: element of the row, and of a panel of the weights.
    reads: Vec<Vec<Offsets>>,
}

impl<T: Element> Across<T> {
    fn new(p: Problem<'_, T>, pass: Pass) -> Self {
        let (kernels, g) = (p.kernels, p.geometry);
        let [k, n] = pass.channels(g);
        let [from, to] = pass.extents(g);
        let pointwise = is_pointwise(g);
        let reads = if pointwise {
            vec![vec![Offsets { a: 0, b: 0 }]]
        } else {
            reads(g, pass, (from, to), pack::panels_len(k, n, kernels.panel()))
        };
        let from_len = if pointwise { k } else { pass.sample_lens(g)[0] };
        let row = staggered(from_len);
        let rows_in = |bytes: usize| bytes / (row * size_of::<T>());
        let block =
            rows_in(BLOCK_BYTES[0]).clamp(BLOCK_ROWS[0], BLOCK_ROWS[1]).min(rows_in(BLOCK_BYTES[1]).max(1));
        let taps: usize = g.axes.iter().map(|a| a.kernel).product();
        let size = [to.planes * to.rows, to.columns, n];
        let (panels, panel_len) = (n.div_ceil(kernels.panel()), k * kernels.panel());
        let together = (1..=MOST_TOGETHER).rev().find(|&some| panels.is_multiple_of(some)).unwrap_or(1);
        let scratch = Request { halo: block * row, ..Request::default() };
        let rows_of_sample = if pointwise { positions(to) } else { 1 };
        let tiling = Tiling {
            weight_unit: together * panel_len,
            least_units: FEWEST_SAMPLES.div_ceil(rows_of_sample),
            ..Tiling::new(size, [size[0], size[1]], taps * panels * panel_len, scratch)
        };
        Self { kernels, tiling, pass, together, k, n, from_len, row, block, reads }
    }
}

/// What each position of the result reads, in the order of the source's positions; `tap_len` elements of weights a tap.
fn reads(g: &ConvGeometry, pass: Pass, (from, to): (Extent, Extent), tap_len: usize) -> Vec<Vec<Offsets>> {
    let residues: [Residues; AXES] = pass.axes(g);
    let [_, kh, kw] = g.axes.each_ref().map(|a| a.kernel);
    let mut reads = Vec::with_capacity(positions(to));
    for d in 0..to.planes {
        for h in 0..to.rows {
            for w in 0..to.columns {
                let mut own = Vec::new();
                for (td, d) in residues[0].links(d) {
                    for (th, h) in residues[1].links(h) {
                        own.extend(residues[2].links(w).map(|(tw, w)| Offsets {
                            a: ((d * from.rows + h) * from.columns + w) * from.channels,
                            b: ((td * kh + th) * kw + tw) * tap_len,
                        }));
                    }
                }
                reads.push(own);
            }
        }
    }
    reads
}

impl<T: Element> MapPlan<T> for Across<T> {
    fn tiling(&self) -> &Tiling {
        &self.tiling
    }

    fn pack(&self, kernel: &[T], first: usize, part: &mut [T]) {
        let &Self { kernels, k, n, together, .. } = self;
        let panel = kernels.panel();
        let unit = self.tiling.weight_unit;
        let units_of_tap = n.div_ceil(panel) / together;
        for (packed, number) in part.chunks_exact_mut(unit).zip(first / unit..) {
            let (tap, column) = (number / units_of_tap, number % units_of_tap * together * panel);
            // Kernel (tap, c_in, c_out): forward, k walks over the second axis and n over the third.
            let source = &kernel[tap * k * n..(tap + 1) * k * n];
            if self.pass == Pass::InputGrad {
                let strides = [1, k];
                for (packed, column) in packed.chunks_exact_mut(k * panel).zip((column..).step_by(panel)) {
                    let (source, n) = (&source[column * k..], panel.min(n - column));
                    Matrix { source, k, n, taps: 1, strides, tap: &|_| 0 }.panels(packed, 0, kernels);
                }
                continue;
            }
            for (i, row) in source.chunks_exact(n).enumerate() {
                let columns = row[column..].chunks(panel);
                for (packed, from) in packed.chunks_exact_mut(k * panel).zip(columns) {
                    let line = &mut packed[i * panel..(i + 1) * panel];
                    line[..from.len()].copy_from_slice(from);
                    line[from.len()..].fill(T::ZERO);
                }
            }
        }
    }

    fn run(&self, operands: Operands<'_, T>, to: &mut [T], region: &Region, scratch: &mut Scratch<T>) {
        scratch.reserve(&self.tiling.scratch);
        let (samples, part) = self.tiling.parts(region);
        let first = part.rows.start * self.tiling.columns + part.columns.start;
        let count = part.rows.len() * part.columns.len();
        if count == 0 {
            return;
        }
        // Positions of a pointwise kernel are rows themselves, one after the other.
        let (positions, from, to_len) = if self.reads.len() == 1 && self.from_len == self.k {
            (0..1, &operands.from[first * self.k..][..samples * count * self.k], self.n)
        } else {
            (first..first + count, operands.from, count * self.n)
        };
        let blocks = to.chunks_mut(self.block * to_len).zip(from.chunks(self.block * self.from_len));
        for (to, from) in blocks {
            self.block(Operands { from, ..operands }, (to, to_len), &positions, &mut scratch.halo);
        }
        if operands.non_temporal {
            fence();
        }
    }
}

impl<T: Element> Across<T> {
    /// Some positions of as many rows as `from` has; rows of `to` lie `to_len` apart.
    fn block(
        &self,
        Operands { from, packed, epilogue, non_temporal }: Operands<'_, T>,
        (to, to_len): (&mut [T], usize),
        positions: &Range<usize>,
        rows: &mut [T],
    ) {
        let panel = self.kernels.panel();
        for (row, from) in rows.chunks_exact_mut(self.row).zip(from.chunks_exact(self.from_len)) {
            row[..self.from_len].copy_from_slice(from);
        }
        for column in (0..self.n).step_by(panel) {
            let columns = panel.min(self.n - column);
            let bias = epilogue.bias.map(|bias| &bias[column..column + columns]);
            let start = bias.map_or(Start::Zero, Start::Bias);
            for (position, batch) in self.reads[positions.clone()].iter().enumerate() {
                self.kernels.gemm(Gemm {
                    a: rows,
                    b: B::Packed { b: &packed[column * self.k..], ps_b: self.k * panel, rs_a: self.row },
                    batch,
                    k: self.k,
                    c: &mut to[position * self.n + column..],
                    rs_c: to_len,
                    m: from.len() / self.from_len,
                    n: columns,
                    store: Store { start, relu: epilogue.relu, non_temporal },
                });
            }
        }
    }
}
