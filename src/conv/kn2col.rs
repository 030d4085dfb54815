//! kn2col (Anderson et al. 2017, "Low-memory GEMM-based convolution algorithms for deep neural networks", arXiv 1709.03395)
//! along the last axis: its taps become columns of a GEMM, then shift-add. For few channels in the result.
//!
//! A register tile has result channels in its lanes; with six of them most lanes would be idle, and where the result is
//! wider than the source (the gradient to the input of a valid convolution) a part of the work would be products with
//! the zeros beside it. Here each position of the *source* is multiplied with all `taps * channels` columns at once,
//! `T[p, (t, c)] = sum over the other taps and source channels`, and the result is a sum of `taps` of these:
//!
//! `forward:        y[x, c] = sum over t of T[x + t * dilation - before, (t, c)]`
//! `input gradient: y[x, c] = sum over t of T[x - t * dilation + before, (t, c)]`
//!
//! Nothing outside of the source is multiplied. An element is one chain of multiply-adds for every tap of the last axis,
//! added in the order of the taps; neither depends on the instruction set. For stride 1 only.

use std::ops::Range;

use super::{Epilogue, MapPlan, Operands, Part, Pass, Plan, Problem, Region, Request, Scratch, Tiling};
use crate::geometry::{AXES, AxisMap, ConvGeometry, PaddingMode};
use crate::kernels::pack::{self, Matrix};
use crate::kernels::{Aligned, B, Element, Gemm, Job, Kernels, Offsets, Store};
use crate::tuning::kn2::{BLOCK, CHAIN};

/// Channels of the result: with fewer, sums go into the lanes ([`crate::kernels::gemm::narrow`]); with more, a tile has work for
/// its lanes. Shift-add is written for each of these numbers.
const CHANNELS: std::ops::RangeInclusive<usize> = 5..=8;
/// Lanes of the widest register. A constant: which algorithm runs must not depend on the instruction set.
const LANES: usize = 16;

/// A planned pass.
#[derive(Debug)]
pub(super) struct Kn2col<T: Element> {
    kernels: &'static Kernels<T>,
    tiling: Tiling,
    /// Of stride 1: an axis has one residue, with all taps.
    axes: [AxisMap; AXES],
    /// Channels of the source and of the result.
    channels: [usize; 2],
    pass: Pass,
}

/// The number that a tap of the kernel has along an axis of stride 1. Sums are in the order of the kernel, in all passes.
#[inline(always)]
fn tap_of(axis: &AxisMap, tap: usize) -> usize {
    // From tap to tap it is 1 or -1, which is its own inverse.
    ((tap as isize - axis.kernel.0 as isize) * axis.kernel.1) as usize
}

/// A map, if it gains.
pub(super) fn plan<T: Element>(p: Problem<'_, T>, pass: Pass) -> Option<Plan<T>> {
    (pass != Pass::KernelGrad && gains(p.geometry, pass)).then(|| Plan::of_map(Kn2col::new(p, pass)))
}

/// Whether a map with such channels gains.
fn gains(g: &ConvGeometry, pass: Pass) -> bool {
    let [from, to] = pass.channels(g);
    let plain = g.groups == 1 && g.mode == PaddingMode::Zeros && g.axes.iter().all(|a| a.stride == 1);
    let [depth, height, width] = &g.axes;
    let columns = width.kernel * to;
    // At least seven of eight lanes at work.
    let lanes = columns.next_multiple_of(if columns <= LANES / 2 { LANES / 2 } else { LANES });
    plain
        && g.axes.iter().all(|a| a.input > 0)
        && CHANNELS.contains(&to)
        && width.kernel > 1
        && columns * 8 >= lanes * 7
        && depth.kernel * height.kernel * from >= CHAIN
}

impl<T: Element> Kn2col<T> {
    /// Plans a map.
    fn new(p: Problem<'_, T>, pass: Pass) -> Self {
        let (g, kernels) = (p.geometry, p.kernels);
        let axes = pass.axes(g).each_ref().map(|residues| residues[0]);
        let mut plan = Self { kernels, tiling: Tiling::default(), axes, channels: pass.channels(g), pass };
        let ([depth, height, width], [k, c]) = (axes, plan.channels);
        let ((taps, n), block) = (plan.matrix(), plan.block());
        let blocks = (0..width.count).step_by(block).map(|first| first..first + block);
        let most = blocks.map(|block| width.inside(&width.reads(&block)).len()).max();
        let scratch = Request { halo: most.unwrap_or(0) * n, batch: taps, ..Request::default() };
        let weights = pack::panels_len(taps * k, n, kernels.panel());
        let size = [depth.count * height.count, width.count, c];
        let tiling = Tiling::new(size, [1, block], weights, scratch);
        plan.tiling = Tiling { weight_unit: kernels.panel(), ..tiling };
        plan
    }

    /// Taps of depth and height; taps of the width times channels of the result.
    fn matrix(&self) -> (usize, usize) {
        let [depth, height, width] = self.axes;
        (depth.taps * height.taps, width.taps * self.channels[1])
    }

    /// Columns of a block of the result.
    fn block(&self) -> usize {
        let columns = self.axes[2].count;
        columns.div_ceil(columns.div_ceil(BLOCK).max(1)).max(1)
    }

    /// Some columns of one row of the result, block by block; `line` holds exactly these.
    fn blocks(
        &self,
        operands: Operands<'_, T>,
        line: &mut [T],
        (row, columns): (usize, Range<usize>),
        scratch: &mut Scratch<T>,
    ) {
        let Scratch { halo, batch, .. } = scratch;
        let block = self.block();
        for (first, part) in columns.clone().step_by(block).zip(line.chunks_mut(block * self.channels[1])) {
            let some = first..(first + block).min(columns.end);
            self.line(operands, part, (row, some), (halo, batch));
        }
    }

    /// A block of columns of one row of the result; `line` holds exactly these.
    fn line(
        &self,
        Operands { from, packed, epilogue, .. }: Operands<'_, T>,
        line: &mut [T],
        (row, columns): (usize, Range<usize>),
        (halo, batch): (&mut Aligned<T>, &mut Vec<Offsets>),
    ) {
        let [depth, height, width] = &self.axes;
        let [k, _] = self.channels;
        let (taps, n) = self.matrix();
        let panel = self.kernels.panel();
        let source = width.inside(&width.reads(&columns));
        batch.clear();
        for td in 0..depth.taps {
            for th in 0..height.taps {
                let plane = depth.at(row / height.count, tap_of(depth, td));
                let place = plane.zip(height.at(row % height.count, tap_of(height, th)));
                if let Some((plane, at)) = place.filter(|_| !source.is_empty()) {
                    let a = ((plane * height.source + at) * width.source + source.start) * k;
                    batch.push(Offsets { a, b: (td * height.taps + th) * k * panel });
                }
            }
        }
        let products = &mut halo[..source.len() * n];
        if !products.is_empty() {
            self.kernels.gemm(Gemm {
                a: from,
                b: B::Packed { b: packed, ps_b: taps * k * panel, rs_a: k },
                batch,
                k,
                c: products,
                rs_c: n,
                m: source.len(),
                n,
                store: Store::PLAIN,
            });
        }
        self.kernels.tier.vectorize(ShiftAdd { width, products, n, source, columns, epilogue, line });
    }
}

/// Adds up what belongs to some positions of the result.
struct ShiftAdd<'a, T> {
    width: &'a AxisMap,
    /// The products of the positions `source`, `n` of each.
    products: &'a [T],
    n: usize,
    source: Range<usize>,
    columns: Range<usize>,
    epilogue: Epilogue<'a, T>,
    line: &'a mut [T],
}

impl<T: Element> Job for ShiftAdd<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        match self.n / self.width.taps {
            5 => self.sum::<5>(),
            6 => self.sum::<6>(),
            7 => self.sum::<7>(),
            8 => self.sum::<8>(),
            channels => unreachable!("{channels} channels are not for kn2col"),
        }
    }
}

impl<T: Element> ShiftAdd<'_, T> {
    #[inline(always)]
    fn sum<const N: usize>(self) {
        let mut start = [T::ZERO; N];
        if let Some(bias) = self.epilogue.bias {
            start.copy_from_slice(bias);
        }
        let (results, _) = self.line.as_chunks_mut::<N>();
        for (result, x) in results.iter_mut().zip(self.columns) {
            let mut sum = start;
            for tap in 0..self.width.taps {
                let Some(at) = self.width.at(x, tap_of(self.width, tap)) else { continue };
                let from = (at - self.source.start) * self.n + tap * N;
                let part = &self.products[from..from + N];
                for c in 0..N {
                    sum[c] += part[c];
                }
            }
            for c in 0..N {
                // A NaN is not below zero.
                result[c] = if self.epilogue.relu && sum[c] <= T::ZERO { T::ZERO } else { sum[c] };
            }
        }
    }
}

impl<T: Element> MapPlan<T> for Kn2col<T> {
    fn tiling(&self) -> &Tiling {
        &self.tiling
    }

    fn pack(&self, kernel: &[T], first: usize, part: &mut [T]) {
        let [k, c] = self.channels;
        let (taps, n) = self.matrix();
        let panel = self.kernels.panel();
        // Kernel (k_d, k_h, k_w, c_in, c_out); rows of the matrix are channels of the source.
        if self.pass == Pass::InputGrad {
            let tap = |tap: usize| tap * n * k;
            Matrix { source: kernel, k, n, taps, strides: [1, k], tap: &tap }.panels(
                part,
                first,
                self.kernels,
            );
            return;
        }
        // The channels of the result are neighbours, the taps of the width lie a matrix apart.
        for (line, at) in part.chunks_exact_mut(panel).zip((first / panel)..) {
            let (p, row) = (at / (taps * k), at % (taps * k));
            let (tap, channel) = (row / k, row % k);
            for (cell, column) in line.iter_mut().zip(p * panel..) {
                let (t, j) = (column / c, column % c);
                let place = ((tap * self.axes[2].taps + t) * k + channel) * c + j;
                *cell = if column < n { kernel[place] } else { T::ZERO };
            }
        }
    }

    fn run(&self, operands: Operands<'_, T>, to: &mut [T], region: &Region, scratch: &mut Scratch<T>) {
        scratch.reserve(&self.tiling.scratch);
        for (from, to, Part { rows, columns }) in self.tiling.results(operands.from, to, region) {
            let operands = Operands { from, ..operands };
            let line_len = columns.len() * self.channels[1];
            for (row, line) in rows.zip(to.chunks_exact_mut(line_len.max(1))) {
                self.blocks(operands, line, (row, columns.clone()), scratch);
            }
        }
    }
}
