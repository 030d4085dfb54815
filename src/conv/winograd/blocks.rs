//! The gradient to a kernel that is large beside its map: a block of channels at a time, over many samples.
//!
//! At the points, the sums of 512 x 512 channels take 38 MB, which a pass sample by sample reads and writes for every few
//! tiles, once more for every chunk of the batch. The sums of 64 x 64 channels stay in L2 while all tiles pass by.
//! Inputs and gradients are brought to the points anew for every block, which costs a few percent of its products. What
//! every chunk of a batch would have to add up does not exist; at most a few parts of the batch are added. Tiles are in
//! proportion or not by the channels of a block.
//!
//! A chain goes through all samples and tiles of a call in their order.

use super::{Grid, WinogradKernelGrad, wins_products};
use crate::conv::tiles::RowRegion;
use crate::conv::{
    GradOperands, GradPlan, KernelBlocks, Pass, Problem, Region, Request, Scratch, Sums, Tiling,
};
use crate::geometry::ConvGeometry;
use crate::kernels::winograd::Form;
use crate::kernels::{Element, Start};
use crate::tuning::winograd::{BLOCK_CHANNELS, BLOCK_WEIGHTS, BLOCK_WEIGHTS_PER_ELEMENT, FEWEST_BLOCKS};

/// Channels of a block, if the kernel is computed in blocks.
pub(super) fn channels(g: &ConvGeometry, form: Form) -> Option<[usize; 2]> {
    let map = g.input_len() + g.output_len();
    let large = g.kernel_len() >= BLOCK_WEIGHTS.max(BLOCK_WEIGHTS_PER_ELEMENT * map);
    if !form.is_square() || g.axes[0].kernel > 1 || !large || !wins_products(g, form) {
        return None;
    }
    let of = |all: usize| BLOCK_CHANNELS.into_iter().find(|&some| all.is_multiple_of(some) && all > some);
    let [inputs, outputs] = [of(g.c_in)?, of(g.c_out)?];
    let few = inputs == BLOCK_CHANNELS[0] && g.c_in / inputs * (g.c_out / outputs) < FEWEST_BLOCKS;
    Some([inputs, if few { outputs.min(BLOCK_CHANNELS[1]) } else { outputs }])
}

/// The gradient to the kernel.
#[derive(Debug)]
pub(super) struct BlockKernelGrad<T: 'static> {
    /// That of all channels, region by region, as every plan can; whoever asks for blocks does not pay for its memory.
    whole: WinogradKernelGrad<T>,
    /// That of a block.
    block: WinogradKernelGrad<T>,
    /// As of `whole`, with the memory for a block.
    tiling: Tiling,
    blocks: KernelBlocks,
}

impl<T: Element> BlockKernelGrad<T> {
    pub(super) fn new(p: Problem<'_, T>, form: Form, channels: [usize; 2]) -> Self {
        let g = p.geometry;
        let whole = WinogradKernelGrad::new(p, form);
        let grid = Grid::new(g, form, p.kernels, Pass::KernelGrad).of_channels(channels);
        let block = WinogradKernelGrad::of(grid);
        let scratch = Request { block: block.tiling.weights, ..block.tiling.scratch };
        let tiling = Tiling { scratch, ..whole.tiling.clone() };
        let blocks = KernelBlocks { taps: g.taps(), channels: [g.c_in, g.c_out], block: channels };
        Self { whole, block, tiling, blocks }
    }
}

impl<T: Element> GradPlan<T> for BlockKernelGrad<T> {
    fn tiling(&self) -> &Tiling {
        &self.tiling
    }

    fn accumulate(
        &self,
        operands: GradOperands<'_, T>,
        region: &Region,
        sums: Sums<'_, T>,
        scratch: &mut Scratch<T>,
    ) {
        scratch.reserve(&self.whole.tiling.scratch);
        self.whole.accumulate(operands, region, sums, scratch);
    }

    fn finish(&self, sums: &mut [T]) {
        self.whole.finish(sums);
    }

    fn blocks(&self) -> Option<KernelBlocks> {
        Some(self.blocks)
    }

    fn block(
        &self,
        GradOperands { x, dy, .. }: GradOperands<'_, T>,
        block: usize,
        gradient: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        let [input, output] = self.blocks.first(block);
        let samples = dy.len() / self.tiling.len();
        debug_assert!(dy.len() == samples * self.tiling.len() && gradient.len() == self.blocks.block_len());
        if samples == 0 {
            return gradient.fill(T::ZERO);
        }
        scratch.reserve(&self.tiling.scratch);
        let region = RowRegion::of(&self.tiling, &Region::Samples(samples));
        let mut sums = scratch.take_block(self.block.tiling.weights);
        let points = &mut sums[..self.block.tiling.weights];
        self.block.add_rows((&x[input..], &dy[output..]), &region, (points, Start::Zero), scratch);
        self.block.finish(points);
        gradient.copy_from_slice(&points[..gradient.len()]);
        scratch.give_block(sums);
    }
}
