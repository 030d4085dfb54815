//! The convolution of small maps with large kernels: a product for each run of positions of the result that meet the same
//! taps, whose rows are these positions of all samples of a block.
//!
//! With the positions of a sample as rows (`rows.rs`), a map of 4 x 4 has products of four rows, and fewer where borders
//! cut taps off: the weights are read for a fraction of a register tile. Here the samples of a block stand side by side at
//! every position, so that samples and neighbouring positions alike are rows one stride apart, and nothing is multiplied
//! with the zeros around a map (five ninths of the work of a 3 x 3 kernel on 2 x 2 positions). A panel of the weights
//! stays in L2 while all positions read it. Kernels of a single tap have positions and samples alike as rows.
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
    BLOCK_BYTES, BLOCK_ROWS, FEWEST_CHANNELS, FEWEST_ROWS, MOST_POSITIONS, MOST_SOURCES, MOST_TOGETHER,
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
    /// Whether positions are rows as samples are.
    pointwise: bool,
    /// Panels of a tap that are packed together.
    together: usize,
    /// Channels of the source and of the result.
    k: usize,
    n: usize,
    /// Elements of a sample of the source; of a kernel of a single tap, of a position.
    from_len: usize,
    /// Stride of the rows of the products: a position of a sample, in the scratch.
    row: usize,
    /// Samples of a block.
    block: usize,
    /// Runs of positions of the result.
    runs: Vec<Run>,
}

/// Neighbouring positions of the result that meet the same taps.
#[derive(Debug)]
struct Run {
    /// The positions.
    positions: Range<usize>,
    /// What the first of them reads: a position of the source, and an element of a panel of the weights. The next position
    /// of the result reads the next ones of the source.
    reads: Vec<Offsets>,
}

impl<T: Element> Across<T> {
    fn new(p: Problem<'_, T>, pass: Pass) -> Self {
        let (kernels, g) = (p.kernels, p.geometry);
        let [k, n] = pass.channels(g);
        let [from, to] = pass.extents(g);
        let pointwise = is_pointwise(g);
        let runs = if pointwise {
            vec![Run { positions: 0..1, reads: vec![Offsets { a: 0, b: 0 }] }]
        } else {
            runs(g, pass, (from, to), pack::panels_len(k, n, kernels.panel()))
        };
        let from_len = if pointwise { k } else { pass.sample_lens(g)[0] };
        let row = staggered(k);
        // A sample has as many rows as positions, in all products of a panel together.
        let least = (FEWEST_ROWS * runs.len()).div_ceil(positions(to));
        let sample_bytes = from_len / k * row * size_of::<T>();
        let block = (BLOCK_BYTES / sample_bytes.max(1)).clamp(least.min(BLOCK_ROWS), BLOCK_ROWS);
        let taps: usize = g.axes.iter().map(|a| a.kernel).product();
        let size = [to.planes * to.rows, to.columns, n];
        let (panels, panel_len) = (n.div_ceil(kernels.panel()), k * kernels.panel());
        let together = (1..=MOST_TOGETHER).rev().find(|&some| panels.is_multiple_of(some)).unwrap_or(1);
        let longest = runs.iter().map(|run| run.positions.len()).max().unwrap_or(1);
        let scratch = Request {
            halo: block * from_len / k * row,
            block: block * longest * kernels.panel(),
            batch: taps,
            ..Request::default()
        };
        let tiling = Tiling {
            weight_unit: together * panel_len,
            least_units: least,
            ..Tiling::new(size, [size[0], size[1]], taps * panels * panel_len, scratch)
        };
        Self { kernels, tiling, pass, pointwise, together, k, n, from_len, row, block, runs }
    }
}

/// The runs of all positions of the result, with what they read in the order of the source's positions; `tap_len` elements
/// of weights a tap.
fn runs(g: &ConvGeometry, pass: Pass, (from, to): (Extent, Extent), tap_len: usize) -> Vec<Run> {
    let residues: [Residues; AXES] = pass.axes(g);
    let [_, kh, kw] = g.axes.each_ref().map(|a| a.kernel);
    let mut runs: Vec<Run> = Vec::with_capacity(positions(to));
    for d in 0..to.planes {
        for h in 0..to.rows {
            for w in 0..to.columns {
                let position = (d * to.rows + h) * to.columns + w;
                let mut own = Vec::new();
                for (td, d) in residues[0].links(d) {
                    for (th, h) in residues[1].links(h) {
                        own.extend(residues[2].links(w).map(|(tw, w)| Offsets {
                            a: (d * from.rows + h) * from.columns + w,
                            b: ((td * kh + th) * kw + tw) * tap_len,
                        }));
                    }
                }
                // Not across the end of a row, where the same step would be another distance.
                let last = runs.last_mut().filter(|_| w > 0);
                match last.filter(|last| follows(&last.reads, &own, last.positions.len())) {
                    Some(last) => last.positions.end += 1,
                    None => runs.push(Run { positions: position..position + 1, reads: own }),
                }
            }
        }
    }
    runs
}

/// Whether some reads are others, `steps` positions of the source further on.
fn follows(first: &[Offsets], own: &[Offsets], steps: usize) -> bool {
    let alike = |(first, own): (&Offsets, &Offsets)| own.a == first.a + steps && own.b == first.b;
    first.len() == own.len() && first.iter().zip(own).all(alike)
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
        let (positions, from, to_len) = if self.pointwise {
            (0..1, &operands.from[first * self.k..][..samples * count * self.k], self.n)
        } else {
            (first..first + count, operands.from, count * self.n)
        };
        let blocks = to.chunks_mut(self.block * to_len).zip(from.chunks(self.block * self.from_len));
        for (to, from) in blocks {
            self.block(Operands { from, ..operands }, (to, to_len), &positions, scratch);
        }
        if operands.non_temporal {
            fence();
        }
    }
}

impl<T: Element> Across<T> {
    /// Some positions of as many samples as `from` has; those of `to` lie `to_len` apart.
    fn block(
        &self,
        Operands { from, packed, epilogue, non_temporal }: Operands<'_, T>,
        (to, to_len): (&mut [T], usize),
        positions: &Range<usize>,
        scratch: &mut Scratch<T>,
    ) {
        let (panel, samples) = (self.kernels.panel(), from.len() / self.from_len);
        let mut sums = scratch.take_block(self.tiling.scratch.block);
        let Scratch { halo, batch, .. } = scratch;
        for (sample, from) in from.chunks_exact(self.from_len).enumerate() {
            let rows = halo.chunks_exact_mut(self.row).skip(sample).step_by(samples);
            for (row, from) in rows.zip(from.chunks_exact(self.k)) {
                row[..self.k].copy_from_slice(from);
            }
        }
        for column in (0..self.n).step_by(panel) {
            let columns = panel.min(self.n - column);
            let bias = epilogue.bias.map(|bias| &bias[column..column + columns]);
            let start = bias.map_or(Start::Zero, Start::Bias);
            for run in &self.runs {
                let some = run.positions.start.max(positions.start)..run.positions.end.min(positions.end);
                if some.is_empty() {
                    continue;
                }
                let skipped = some.start - run.positions.start;
                batch.clear();
                batch.extend(
                    run.reads
                        .iter()
                        .map(|read| Offsets { a: (read.a + skipped) * samples * self.row, b: read.b }),
                );
                let to = &mut to[(some.start - positions.start) * self.n + column..];
                // Rows of the result are one stride apart if either positions or samples are rows.
                let apart = match (some.len(), samples) {
                    (1, _) => Some(to_len),
                    (_, 1) => Some(self.n),
                    _ => None,
                };
                self.kernels.gemm(Gemm {
                    a: halo,
                    b: B::Packed { b: &packed[column * self.k..], ps_b: self.k * panel, rs_a: self.row },
                    batch,
                    k: self.k,
                    c: if apart.is_some() { &mut *to } else { &mut sums },
                    rs_c: apart.unwrap_or(panel),
                    m: some.len() * samples,
                    n: columns,
                    store: Store {
                        start,
                        relu: epilogue.relu,
                        non_temporal: non_temporal && apart.is_some(),
                    },
                });
                if apart.is_none() {
                    for (row, sums) in sums.chunks_exact(panel).take(some.len() * samples).enumerate() {
                        let place = row % samples * to_len + row / samples * self.n;
                        to[place..place + columns].copy_from_slice(&sums[..columns]);
                    }
                }
            }
        }
        scratch.give_block(sums);
    }
}
