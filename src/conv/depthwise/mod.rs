//! Convolutions with many groups of few channels, depthwise ones among them: output channels are in the lanes.
//!
//! With one channel in and out per group every vector of outputs is a sum of input vectors times weight vectors, read in
//! place. With 2, 4 or 8 in and as many out the kernels repeat the lanes of a group in the register. With others, the
//! input rows that a block reads are first *spread*: for channel `r` of a group a copy in which every output channel
//! finds that channel of its own group. Then a tap is `k` taps and all is as before.
//!
//! The gradient to the input is the same with exchanged roles: position `i` reads the outputs `(i + before - t *
//! dilation) / stride` where the division is exact. A row is cut into runs of positions that see the same taps; taps
//! that meet the border are left out.

mod sweep;

use sweep::{Sweep, Visit};

use super::{
    Epilogue, GradOperands, GradPlan, MapPlan, Operands, Part, Pass, Plan, Problem, Region, Scratch, Sums,
    Tiling,
};
use crate::geometry::ConvGeometry;
use crate::kernels::{self, Element, Kernels, LaneWork};
use crate::tuning::depthwise::{FARTHEST, MOST_PRODUCTS};

/// Whether the groups are so small that their channels would leave the lanes of a vector empty, and either kernels mix
/// them or there is not much between the taps to spread.
pub(super) fn accepts(geometry: &ConvGeometry) -> bool {
    let (k, n) = (geometry.group_in(), geometry.group_out());
    let mixes = k == n && matches!(k, 1 | 2 | 4 | 8);
    let near = || geometry.axes.iter().all(|a| a.span().max(a.stride) <= FARTHEST);
    geometry.groups > 1 && k * n <= MOST_PRODUCTS && (mixes || near())
}

/// A plan for every pass.
pub(super) fn plan<T: Element>(p: Problem<'_, T>, pass: Pass) -> Option<Plan<T>> {
    accepts(p.geometry).then(|| match pass {
        Pass::Forward | Pass::InputGrad => Plan::of_map(Depthwise::new(p, pass)),
        Pass::KernelGrad => Plan::of_grad(DepthwiseKernelGrad::new(p, Sweep::new(p, pass))),
    })
}

/// The gradient to the kernel, with rows that may be cut anywhere.
pub(super) fn row_by_row<T: Element>(p: Problem<'_, T>) -> Option<Plan<T>> {
    let sweep = || Sweep::new(p, Pass::KernelGrad).row_by_row();
    accepts(p.geometry).then(|| Plan::of_grad(DepthwiseKernelGrad::new(p, sweep())))
}

/// Forward, or to the input.
#[derive(Debug)]
struct Depthwise<T: Element> {
    tiling: Tiling,
    sweep: Sweep,
    kernels: &'static Kernels<T>,
    pass: Pass,
}

impl<T: Element> Depthwise<T> {
    fn new(p: Problem<'_, T>, pass: Pass) -> Self {
        let sweep = Sweep::new(p, pass);
        let weights = sweep.kernel.iter().product::<usize>() * sweep.spread_len();
        Self { tiling: sweep.tiling(weights), sweep, kernels: p.kernels, pass }
    }

    /// A part of one result.
    fn result(&self, operands: Operands<'_, T>, to: &mut [T], part: Part, scratch: &mut Scratch<T>) {
        let Operands { from, packed, epilogue: Epilogue { bias, relu }, non_temporal } = operands;
        let (channels, k, first) = (self.sweep.channels(), self.sweep.mix(), part.columns.start);
        let row_len = part.columns.len() * channels;
        self.sweep.run(
            from,
            part,
            self.kernels,
            scratch,
            |Visit { x, run, block, row, column, y_stride }| {
                let rows = block.as_ref().map_or(1, |block| block.rows);
                let y = &mut to[row * row_len..(row + rows) * row_len][(column - first) * channels..];
                let y_stride = y_stride * channels;
                let work = LaneWork::Map { x, w: packed, y, y_stride, bias, relu, k, non_temporal, block };
                self.kernels.lane_work(&run, work);
            },
        );
    }
}

impl<T: Element> MapPlan<T> for Depthwise<T> {
    fn tiling(&self) -> &Tiling {
        &self.tiling
    }

    /// In one part.
    fn pack(&self, kernel: &[T], _: usize, packed: &mut [T]) {
        if self.pass == Pass::Forward {
            packed.copy_from_slice(kernel);
            return;
        }
        // Kernel (tap, n, groups * k) becomes (tap, k, groups * n).
        let Sweep { groups, k, n, .. } = self.sweep;
        let taps = kernel.chunks_exact(n * groups * k).zip(packed.chunks_exact_mut(k * groups * n));
        for (kernel, packed) in taps {
            for (q, line) in packed.chunks_exact_mut(groups * n).enumerate() {
                for (c, cell) in line.iter_mut().enumerate() {
                    *cell = kernel[(c % n) * groups * k + c / n * k + q];
                }
            }
        }
    }

    fn run(&self, operands: Operands<'_, T>, to: &mut [T], region: &Region, scratch: &mut Scratch<T>) {
        scratch.reserve(&self.tiling.scratch);
        for (from, to, part) in self.tiling.results(operands.from, to, region) {
            self.result(Operands { from, ..operands }, to, part, scratch);
        }
        if operands.non_temporal {
            kernels::fence();
        }
    }
}

/// To the kernel.
#[derive(Debug)]
struct DepthwiseKernelGrad<T: Element> {
    tiling: Tiling,
    sweep: Sweep,
    kernels: &'static Kernels<T>,
}

impl<T: Element> DepthwiseKernelGrad<T> {
    fn new(p: Problem<'_, T>, sweep: Sweep) -> Self {
        Self { tiling: sweep.tiling(p.geometry.kernel_len()), sweep, kernels: p.kernels }
    }
}

impl<T: Element> GradPlan<T> for DepthwiseKernelGrad<T> {
    fn tiling(&self) -> &Tiling {
        &self.tiling
    }

    fn accumulate(
        &self,
        GradOperands { x, dy, non_temporal }: GradOperands<'_, T>,
        region: &Region,
        mut sums: Sums<'_, T>,
        scratch: &mut Scratch<T>,
    ) {
        scratch.reserve(&self.tiling.scratch);
        sums.begin();
        let (channels, k) = (self.sweep.channels(), self.sweep.mix());
        for (x, dy, part) in self.tiling.grads(x, dy, region) {
            let (row_len, first) = (part.columns.len() * channels, part.columns.start);
            self.sweep.run(x, part, self.kernels, scratch, |Visit { x, run, block, row, column, .. }| {
                let dy = &dy[row * row_len..][(column - first) * channels..];
                let work = LaneWork::Sum { x, dy, dw: &mut *sums.sums, k, non_temporal, block };
                self.kernels.lane_work(&run, work);
            });
        }
    }
}
