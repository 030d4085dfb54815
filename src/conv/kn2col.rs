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

use super::{Correlation, Epilogue, Scratch};
use crate::geometry::{AXES, AxisMap, ConvGeometry, PaddingMode, Residues};
use crate::kernels::pack::{self, Matrix};
use crate::kernels::{Aligned, Element, Gemm, Job, Kernels, Offsets, RowGroups, Start};

/// Channels of the result: with fewer, sums go into the lanes ([`crate::kernels::gemm::narrow`]); with more, a tile has work for
/// its lanes. Shift-add is written for each of these numbers.
const CHANNELS: std::ops::RangeInclusive<usize> = 5..=8;
/// Columns of the result that are computed together: their products stay in L1.
const BLOCK: usize = 112;
/// Multiply-adds of a chain from which on shift-add is a small part of the work.
const CHAIN: usize = 32;
/// Lanes of the widest register. A constant: which algorithm runs must not depend on the instruction set.
const LANES: usize = 16;

/// A planned pass.
#[derive(Debug)]
pub(super) struct Kn2col<T: Element> {
    kernels: &'static Kernels<T>,
    /// Of stride 1: an axis has one residue, with all taps.
    axes: [AxisMap; AXES],
    /// Channels of the source and of the result.
    channels: [usize; 2],
    /// Whether the pass is the gradient to the input.
    input_grad: bool,
}

/// The number that a tap of the kernel has along an axis of stride 1. Sums are in the order of the kernel, in all passes.
#[inline(always)]
fn tap_of(axis: &AxisMap, tap: usize) -> usize {
    // From tap to tap it is 1 or -1, which is its own inverse.
    ((tap as isize - axis.kernel.0 as isize) * axis.kernel.1) as usize
}

/// Whether a pass with so many channels in the source and in the result gains.
fn gains(g: &ConvGeometry, [from, to]: [usize; 2]) -> bool {
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

/// Whether the forward pass gains.
pub(super) fn accepts_forward(g: &ConvGeometry) -> bool {
    gains(g, [g.c_in, g.c_out])
}

/// Whether the gradient to the input does.
pub(super) fn accepts_input_grad(g: &ConvGeometry) -> bool {
    gains(g, [g.c_out, g.c_in])
}

impl<T: Element> Kn2col<T> {
    /// The forward pass.
    pub(super) fn forward(g: &ConvGeometry, kernels: &'static Kernels<T>) -> Self {
        let axes = g.axes.each_ref().map(AxisMap::forward);
        Self { kernels, axes, channels: [g.c_in, g.c_out], input_grad: false }
    }

    /// The gradient to the input.
    pub(super) fn input_grad(g: &ConvGeometry, kernels: &'static Kernels<T>) -> Self {
        let axes = g.axes.each_ref().map(|axis| Residues::input_grad(axis)[0]);
        Self { kernels, axes, channels: [g.c_out, g.c_in], input_grad: true }
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
        from: &[T],
        packed: &[T],
        line: &mut [T],
        (row, columns): (usize, Range<usize>),
        epilogue: Epilogue<'_, T>,
        scratch: &mut Scratch<T>,
    ) {
        let Scratch { halo, batch, .. } = scratch;
        let block = self.block();
        for (first, part) in columns.clone().step_by(block).zip(line.chunks_mut(block * self.channels[1])) {
            let some = first..(first + block).min(columns.end);
            self.line(from, packed, part, (row, some), epilogue, (halo, batch));
        }
    }

    /// A block of columns of one row of the result; `line` holds exactly these.
    fn line(
        &self,
        from: &[T],
        packed: &[T],
        line: &mut [T],
        (row, columns): (usize, Range<usize>),
        epilogue: Epilogue<'_, T>,
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
            self.kernels.gemm(&mut Gemm {
                a: from,
                rs_a: k,
                cs_a: 1,
                row_groups: RowGroups::ONE,
                b: packed,
                rs_b: panel,
                ps_b: taps * k * panel,
                b_packed: true,
                batch,
                k,
                c: products,
                rs_c: n,
                m: source.len(),
                n,
                start: Start::Zero,
                relu: false,
                non_temporal: false,
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

impl<T: Element> Correlation<T> for Kn2col<T> {
    fn packed_len(&self) -> usize {
        let (taps, n) = self.matrix();
        pack::panels_len(taps * self.channels[0], n, self.kernels.panel())
    }

    fn pack(&self, kernel: &[T], packed: &mut [T]) {
        self.pack_part(kernel, 0, packed);
    }

    fn pack_grain(&self) -> usize {
        self.kernels.panel()
    }

    fn pack_part(&self, kernel: &[T], first: usize, part: &mut [T]) {
        let [k, c] = self.channels;
        let (taps, n) = self.matrix();
        let panel = self.kernels.panel();
        // Kernel (k_d, k_h, k_w, c_in, c_out); rows of the matrix are channels of the source.
        if self.input_grad {
            let tap = |tap: usize| tap * n * k;
            Matrix { source: kernel, k, n, taps, apart: [1, k], tap: &tap }.panels(part, first, self.kernels);
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

    fn rows(&self) -> usize {
        self.axes[0].count * self.axes[1].count
    }

    fn row_len(&self) -> usize {
        self.axes[2].count * self.channels[1]
    }

    fn reserve(&self, scratch: &mut Scratch<T>) {
        let (taps, n) = self.matrix();
        let width = &self.axes[2];
        let most = (0..width.count.div_ceil(self.block()))
            .map(|i| width.inside(&width.reads(&(i * self.block()..(i + 1) * self.block()))).len())
            .max();
        scratch.reserve((most.unwrap_or(0) * n, taps));
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
        self.reserve(scratch);
        for (row, line) in rows.zip(to.chunks_exact_mut(self.row_len().max(1))) {
            self.blocks(from, packed, line, (row, 0..self.axes[2].count), epilogue, scratch);
        }
    }

    fn strip(&self) -> usize {
        self.block() * self.channels[1]
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
        assert_eq!(self.rows(), 1, "strips are of one row");
        self.reserve(scratch);
        let columns = elements.start / self.channels[1]..elements.end / self.channels[1];
        self.blocks(from, packed, to, (0, columns), epilogue, scratch);
    }
}
