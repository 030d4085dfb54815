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

use std::ops::Range;

use sweep::{Sweep, Visit};

use super::{Accumulation, Correlation, Epilogue, Portion, Scratch};
use crate::geometry::ConvGeometry;
use crate::kernels::{self, Element, Kernels, LaneWork};

/// Products of the channels of a group at most: beyond, tiles of outputs times channels are as good.
const MOST_PRODUCTS: usize = 64;

/// Inputs that a window spans, and a step between outputs, up to which spreading what lies between pays.
const FARTHEST: usize = 256;

/// Whether the groups are so small that their channels would leave the lanes of a vector empty, and either kernels mix
/// them or there is not much between the taps to spread.
pub(super) fn accepts(geometry: &ConvGeometry) -> bool {
    let (k, n) = (geometry.group_in(), geometry.group_out());
    let mixes = k == n && matches!(k, 1 | 2 | 4 | 8);
    let near = || geometry.axes.iter().all(|a| a.span().max(a.stride) <= FARTHEST);
    geometry.groups > 1 && k * n <= MOST_PRODUCTS && (mixes || near())
}

/// Forward, or to the input.
#[derive(Debug)]
pub(super) struct Depthwise<T: Element> {
    sweep: Sweep,
    kernels: &'static Kernels<T>,
    input_grad: bool,
}

impl<T: Element> Depthwise<T> {
    /// Plans the forward pass.
    pub(super) fn forward(geometry: &ConvGeometry, kernels: &'static Kernels<T>) -> Self {
        Self { sweep: Sweep::forward::<T>(geometry, kernels.width), kernels, input_grad: false }
    }

    /// Plans the gradient to the input.
    pub(super) fn input_grad(geometry: &ConvGeometry, kernels: &'static Kernels<T>) -> Self {
        Self { sweep: Sweep::input_grad::<T>(geometry, kernels.width), kernels, input_grad: true }
    }
}

impl<T: Element> Correlation<T> for Depthwise<T> {
    fn packed_len(&self) -> usize {
        self.sweep.kernel.iter().product::<usize>() * self.sweep.spread_len()
    }

    fn pack(&self, kernel: &[T], packed: &mut [T]) {
        if !self.input_grad {
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

    fn rows(&self) -> usize {
        self.sweep.to[0] * self.sweep.to[1]
    }

    fn row_len(&self) -> usize {
        self.sweep.to[2] * self.sweep.channels()
    }

    fn row_step(&self) -> usize {
        self.sweep.together
    }

    fn reserve(&self, scratch: &mut Scratch<T>) {
        self.sweep.reserve(scratch);
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
        let (row_len, channels) = (self.row_len(), self.sweep.channels());
        let Epilogue { bias, relu } = epilogue;
        let (k, non_temporal) = (self.sweep.mix(), scratch.non_temporal);
        let all = (rows, 0..self.sweep.to[2]);
        self.sweep.run(from, all, self.kernels, scratch, |Visit { x, run, block, row, column, distance }| {
            let rows = block.as_ref().map_or(1, |block| block.rows);
            let y = &mut to[row * row_len..(row + rows) * row_len][column * channels..];
            let y_step = distance * channels;
            let work = LaneWork::Map { x, w: packed, y, y_step, bias, relu, k, non_temporal, block };
            self.kernels.lane_work(&run, work);
        });
        if non_temporal {
            kernels::fence();
        }
    }

    fn strip(&self) -> usize {
        self.sweep.strip()
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
        let channels = self.sweep.channels();
        let Epilogue { bias, relu } = epilogue;
        let (k, non_temporal) = (self.sweep.mix(), scratch.non_temporal);
        let columns = elements.start / channels..elements.end / channels;
        let first = columns.start;
        let all = (0..1, columns);
        self.sweep.run(
            from,
            all,
            self.kernels,
            scratch,
            |Visit { x, run, block, column, distance, .. }| {
                let y = &mut to[(column - first) * channels..];
                let y_step = distance * channels;
                let work = LaneWork::Map { x, w: packed, y, y_step, bias, relu, k, non_temporal, block };
                self.kernels.lane_work(&run, work);
            },
        );
        if non_temporal {
            kernels::fence();
        }
    }
}

/// To the kernel.
#[derive(Debug)]
pub(super) struct DepthwiseKernelGrad<T: Element> {
    sweep: Sweep,
    kernels: &'static Kernels<T>,
}

impl<T: Element> DepthwiseKernelGrad<T> {
    /// Plans the pass.
    pub(super) fn new(geometry: &ConvGeometry, kernels: &'static Kernels<T>) -> Self {
        Self { sweep: Sweep::forward::<T>(geometry, kernels.width), kernels }
    }

    /// The same with rows that may be cut anywhere.
    pub(super) fn row_by_row(geometry: &ConvGeometry, kernels: &'static Kernels<T>) -> Self {
        Self { sweep: Sweep::forward::<T>(geometry, kernels.width).row_by_row(), kernels }
    }
}

impl<T: Element> Accumulation<T> for DepthwiseKernelGrad<T> {
    fn rows(&self) -> usize {
        self.sweep.to[0] * self.sweep.to[1]
    }

    fn row_len(&self) -> usize {
        self.sweep.to[2] * self.sweep.channels()
    }

    fn row_step(&self) -> usize {
        self.sweep.together
    }

    fn run(&self, x: &[T], dy: &[T], rows: Range<usize>, dkernel: &mut [T], scratch: &mut Scratch<T>) {
        let (row_len, channels) = (self.row_len(), self.sweep.channels());
        let (k, non_temporal) = (self.sweep.mix(), scratch.non_temporal);
        let all = (rows, 0..self.sweep.to[2]);
        self.sweep.run(x, all, self.kernels, scratch, |Visit { x, run, block, row, column, .. }| {
            let dy = &dy[row * row_len..][column * channels..];
            self.kernels.lane_work(&run, LaneWork::Sum { x, dy, dw: dkernel, k, non_temporal, block });
        });
    }

    fn reserve(&self, scratch: &mut Scratch<T>) {
        self.sweep.reserve(scratch);
    }

    fn strip(&self) -> usize {
        self.sweep.strip()
    }

    fn run_part(&self, x: &[T], dy: &[T], portion: &Portion, dkernel: &mut [T], scratch: &mut Scratch<T>) {
        if portion.strip.len() == self.row_len() {
            let samples = x.chunks_exact(x.len() / portion.samples);
            let part = portion.rows.len() * self.row_len();
            for (x, dy) in samples.zip(dy.chunks_exact(part)) {
                self.run(x, dy, portion.rows.clone(), dkernel, scratch);
            }
            return;
        }
        let channels = self.sweep.channels();
        let columns = portion.strip.start / channels..portion.strip.end / channels;
        let first = columns.start;
        let (k, non_temporal) = (self.sweep.mix(), scratch.non_temporal);
        let all = (0..1, columns);
        self.sweep.run(x, all, self.kernels, scratch, |Visit { x, run, block, column, .. }| {
            let dy = &dy[(column - first) * channels..];
            self.kernels.lane_work(&run, LaneWork::Sum { x, dy, dw: dkernel, k, non_temporal, block });
        });
    }
}
