//! Winograd's algorithm for kernels of stride 1 (Lavin and Gray 2015, "Fast algorithms for convolutional neural networks",
//! arXiv 1509.09308): six points for 4 outputs of 3 taps, or 2 of 5, along an axis.
//!
//! A tile of inputs and the kernel are brought to points (`kernels::winograd` has the mathematics), where the
//! convolution is a product of matrices at each point: tiles times input channels, by output channels. Images take 36
//! products where a direct sum has 144 (3 x 3) or 100 (5 x 5), series 6 where it has 12 or 10. What is not transformed
//! (the planes of a volume's kernel, the parts of a series' kernel with 6 or 9 taps) is summed up at the points.
//!
//! The gradient to the input is the same with reversed taps and exchanged channels. The gradient to the kernel is the
//! exact adjoint: the gradients of outputs are brought to points, multiplied with the inputs, summed up over the tiles
//! there, and the sums are brought back to taps at the very end.
//!
//! A dilated convolution is one without dilation for every residue of the positions: a tile's inputs and outputs are as far
//! apart as the taps, and nothing else is different.
//!
//! The sums of a large kernel are computed a block of channels at a time, over a whole batch (`blocks.rs`).
//!
//! Tiles whose values are out of proportion (`tiles/outliers.rs`) are computed directly, in all passes (`direct.rs`).
//!
//! Tiles lie on a fixed grid, whatever part of the results is computed; all sums are chains in the order of direct
//! taps and channels, or of samples and tiles. So neither partitions nor the number of tiles that are worked on
//! together change a bit.

mod blocks;
mod direct;
mod pack;

use blocks::BlockKernelGrad;
use direct::Add;
use pack::{MOST_TAPS, Packing};

use super::scratch::Room;
use super::tiles::{Grid, Layout, MOST_OUTPUTS, RowRegion, covered};
use super::{
    Algorithm, GradOperands, GradPlan, MapPlan, Operands, Pass, Plan, Problem, Region, Request, Scratch,
    Sums, Tiling, padding,
};
use crate::geometry::{Axis, AxisMap, ConvGeometry};
use crate::kernels::winograd::{Form, From, MOST_POINTS};
use crate::kernels::{B, Element, Gemm, Offsets, RowGroups, Stage, Start, Store, Transform};
use crate::tuning::winograd::{
    BLOCK_PRODUCTS, FEWEST_TILES, HIDING_TILES, MANY_POSITIONS, MOST_SUMS, MOST_SUMS_OF_MANY, MOST_WEIGHTS,
    SCATTERED, SUMS_PER_POSITION, WEIGHTS_PER_POSITION,
};
use crate::tuning::{LAST_LEVEL_BYTES, NEAR_WEIGHTS_BYTES};

/// Weights are read for every block, and sums read and written: these shares of them a block should have.
const SHARES: [usize; 2] = [16, 2];

/// A plan for every pass.
pub(super) fn plan<T: Element>(p: Problem<'_, T>, pass: Pass) -> Option<Plan<T>> {
    let form = chosen(p, pass)?;
    Some(match pass {
        Pass::Forward | Pass::InputGrad => Plan::of_map(Winograd::new(p, form, pass)),
        Pass::KernelGrad => match blocks::channels(p.geometry, form) {
            Some(channels) => Plan::of_grad(BlockKernelGrad::new(p, form, channels)),
            None => Plan::of_grad(WinogradKernelGrad::new(p, form)),
        },
    })
}

/// The form of the tiles, if the algorithm computes this pass.
fn chosen<T: Element>(p: Problem<'_, T>, pass: Pass) -> Option<Form> {
    // The gradient to the input adds other borders back: the padded algorithm does that, around this one.
    if pass == Pass::InputGrad && padding::accepts(p.geometry) {
        return None;
    }
    form(p.geometry).filter(|form| match p.algorithm {
        Algorithm::Direct => false,
        Algorithm::Winograd => true,
        Algorithm::Auto => {
            let by_blocks = pass == Pass::KernelGrad && blocks::channels(p.geometry, *form).is_some();
            T::NAME == f32::NAME && (by_blocks || wins(p.geometry, *form, pass))
        }
    })
}

/// Channels on both sides from which on the transforms are paid for by the products.
fn fewest_channels(form: Form, direct_taps: usize, spacing: usize) -> usize {
    match form {
        Form::Square3 => 16,
        Form::Square5 => 16,
        Form::Line3 if direct_taps > 1 => 16,
        Form::Line3 if SCATTERED.contains(&spacing) => 64,
        Form::Line3 => 32,
        Form::Line5 => 64,
    }
}

/// Whether it is the faster one: measured thresholds, see docs/performance.md.
fn wins(g: &ConvGeometry, form: Form, pass: Pass) -> bool {
    let [depth, height, width] = &g.axes;
    let direct_taps = depth.kernel * width.kernel / form.taps();
    let spacing = width.dilation;
    let size = |a: &Axis| if pass == Pass::InputGrad { a.input } else { a.output };
    // At least half of the outputs of an average tile: those after the end of a ragged map are computed in vain.
    let filled = |a: &Axis| (size(a), covered(a, size(a), form.outputs()));
    let (height, width) = (if form.is_square() { filled(height) } else { (1, 1) }, filled(width));
    let positions: usize = g.axes.iter().map(size).product();
    let weights = g.c_in * g.c_out;
    g.c_in.min(g.c_out) >= fewest_channels(form, direct_taps, spacing)
        && match pass {
            Pass::KernelGrad if form == Form::Square3 && direct_taps == 1 => {
                let many = if positions >= MANY_POSITIONS { MOST_SUMS_OF_MANY } else { 0 };
                weights <= many.max(MOST_SUMS.min(SUMS_PER_POSITION * positions))
            }
            Pass::KernelGrad => weights <= MOST_SUMS,
            _ => weights <= MOST_WEIGHTS.min(WEIGHTS_PER_POSITION * positions),
        }
        && height.1 * width.1 >= FEWEST_TILES * form.area(form.outputs())
        && 2 * height.0 * width.0 >= height.1 * width.1
}

/// Whether the tiles take so much fewer products than the taps that meet the input.
fn wins_products(g: &ConvGeometry, form: Form) -> bool {
    let [_, height, width] = &g.axes;
    let direct = |a: &Axis| {
        let map = AxisMap::forward(a);
        (0..a.kernel).map(|tap| map.results_inside(tap, 0..a.output).len()).sum::<usize>()
    };
    let tiles = |a: &Axis| covered(a, a.output, form.outputs()) / form.outputs();
    let products = tiles(height) * tiles(width) * form.points();
    100 * products <= BLOCK_PRODUCTS * direct(height) * direct(width)
}

/// The form of the tiles, if the algorithm can do it.
pub(super) fn form(geometry: &ConvGeometry) -> Option<Form> {
    let [depth, height, width] = &geometry.axes;
    let slides = |a: &Axis| a.stride == 1 && a.input > 0;
    if geometry.groups != 1 || ![depth, height, width].into_iter().all(slides) {
        return None;
    }
    match (height.kernel, width.kernel) {
        (3, 3) => Some(Form::Square3),
        (5, 5) => Some(Form::Square5),
        (1, 5) => Some(Form::Line5),
        (1, taps) if taps % 3 == 0 => Some(Form::Line3),
        _ => None,
    }
}

/// The forward pass, or the gradient to the input.
#[derive(Debug)]
pub(super) struct Winograd<T: 'static> {
    tiling: Tiling,
    grid: Grid<T>,
    packing: Packing<T>,
}

impl<T: Element> Winograd<T> {
    fn new(p: Problem<'_, T>, form: Form, pass: Pass) -> Self {
        let grid = Grid::new(p.geometry, form, p.kernels, pass);
        let Grid { kernels, form, from_channels: k, to_channels: n, .. } = grid;
        let packing = Packing { kernels, form, direct_taps: grid.direct_taps(), k, n, pass };
        let mut plan = Self { tiling: Tiling::default(), grid, packing };
        let (grid, tiles) = (&plan.grid, plan.most_tiles());
        let layouts = grid.layouts((tiles, grid.depth.outputs), [k, kernels.panel()]);
        let scratch = Request {
            batch: grid.direct_taps(),
            planes: layouts.map(Layout::len),
            extremes: [tiles * grid.reads(grid.depth.outputs), 0],
            direct_taps: grid.direct_taps(),
            ..Request::default()
        };
        let tiles = match grid.kernel_bytes() {
            0..=NEAR_WEIGHTS_BYTES => 1,
            bytes => HIDING_TILES[usize::from(bytes >= LAST_LEVEL_BYTES)],
        };
        plan.tiling = Tiling {
            least_units: tiles.div_ceil(grid.unit_tiles()),
            weight_unit: plan.packing.panel_len(),
            ..grid.tiling(plan.packing.len(), scratch)
        };
        plan
    }

    /// Tiles of a block at most.
    fn most_tiles(&self) -> usize {
        self.grid.most_tiles(self.grid.from_channels, self.grid.kernel_bytes() / SHARES[0])
    }

    /// Computes the results of a region.
    fn run_rows(
        &self,
        Operands { from, packed, epilogue, .. }: Operands<'_, T>,
        to: &mut [T],
        region: &RowRegion,
        scratch: &mut Scratch<T>,
    ) {
        let grid = &self.grid;
        let (k, n, panel) = (grid.from_channels, grid.to_channels, grid.kernels.panel());
        for block in grid.blocks(region, self.most_tiles()) {
            let [inputs, sums] = grid.layouts((block.tiles(), block.depths()), [k, panel]);
            let rows = block.tiles() * grid.reads(block.depths());
            let Room { planes: [points, products], extremes: [extremes, _], batch, odd } =
                scratch.room([inputs.len(), sums.len()], [rows, 0]);
            batch.clear();
            batch.extend(grid.batch(&block, inputs, self.packing.matrix_len()));
            grid.read(from, &block, (points, extremes), inputs);
            for (first, weights) in (0..n).step_by(panel).zip(packed.chunks_exact(self.packing.panel_len())) {
                let channels = panel.min(n - first);
                for (plane, weights) in weights.chunks_exact(self.packing.plane_len()).enumerate() {
                    grid.kernels.gemm(Gemm {
                        a: &points[plane * inputs.plane..],
                        b: B::Packed { b: weights, ps_b: panel, rs_a: inputs.row },
                        batch,
                        k,
                        c: &mut products[plane * sums.plane..],
                        rs_c: sums.row,
                        m: block.tiles() * block.depths(),
                        n: channels,
                        store: Store::PLAIN,
                    });
                }
                grid.results(&block, region, |written| {
                    grid.kernels.transform(&mut Transform {
                        form: grid.form,
                        stage: Stage::Output,
                        from: From::Slice(products),
                        at: &sums.points(written.row)[..grid.form.points()],
                        from_step: sums.row,
                        to: &mut to[first..],
                        places: written.places,
                        to_step: written.step,
                        count: written.count,
                        channels,
                        bias: epilogue.bias.map(|bias| &bias[first..first + channels]),
                        relu: epilogue.relu,
                        extremes: &mut [],
                    });
                });
            }
            self.mend((from, packed), to, (&block, region), extremes, epilogue, odd);
        }
    }
}

impl<T: Element> MapPlan<T> for Winograd<T> {
    fn tiling(&self) -> &Tiling {
        &self.tiling
    }

    fn pack(&self, kernel: &[T], first: usize, part: &mut [T]) {
        self.packing.part(kernel, first, part);
    }

    fn run(&self, operands: Operands<'_, T>, to: &mut [T], region: &Region, scratch: &mut Scratch<T>) {
        self.run_rows(operands, to, &RowRegion::of(&self.tiling, region), scratch);
    }
}

/// The gradient to the kernel.
#[derive(Debug)]
pub(super) struct WinogradKernelGrad<T: 'static> {
    tiling: Tiling,
    grid: Grid<T>,
}

impl<T: Element> WinogradKernelGrad<T> {
    fn new(p: Problem<'_, T>, form: Form) -> Self {
        Self::of(Grid::new(p.geometry, form, p.kernels, Pass::KernelGrad))
    }

    /// That to the channels of a grid.
    fn of(grid: Grid<T>) -> Self {
        let mut plan = Self { tiling: Tiling::default(), grid };
        let grid = &plan.grid;
        let (tiles, depths) = (plan.most_tiles(), grid.depth.outputs);
        let layouts = grid.layouts((tiles, depths), [grid.from_channels, grid.to_channels]);
        let scratch = Request {
            batch: tiles.max(MOST_OUTPUTS),
            planes: layouts.map(Layout::len),
            extremes: [tiles * grid.reads(depths), tiles * depths],
            direct_taps: grid.direct_taps(),
            ..Request::default()
        };
        let direct = grid.direct_taps() * grid.form.area(grid.form.taps()) * plan.plane_len();
        plan.tiling = grid.tiling(plan.points_len() + direct, scratch);
        plan
    }

    /// Elements of the sums at a point, of a direct tap.
    fn plane_len(&self) -> usize {
        self.grid.from_channels * self.grid.to_channels
    }

    /// Elements of the sums at all points; after them come those of tiles that are computed directly, tap by tap.
    fn points_len(&self) -> usize {
        self.grid.direct_taps() * self.tap_len()
    }

    /// Elements of the sums of a direct tap.
    fn tap_len(&self) -> usize {
        self.grid.form.points() * self.plane_len()
    }

    /// Tiles of a block at most.
    fn most_tiles(&self) -> usize {
        let grid = &self.grid;
        grid.most_tiles(grid.from_channels.max(grid.to_channels), grid.kernel_bytes() / SHARES[1])
    }

    /// Adds what a region contributes, to `start` in its first block.
    fn add_rows(
        &self,
        (x, dy): (&[T], &[T]),
        region: &RowRegion,
        (all, mut start): (&mut [T], Start<'_, T>),
        scratch: &mut Scratch<T>,
    ) {
        let grid = &self.grid;
        let (m, n) = (grid.from_channels, grid.to_channels);
        debug_assert!(region.rows.start.is_multiple_of(grid.row_step()), "rows are cut between tiles");
        debug_assert!(region.columns.start.is_multiple_of(grid.width.unit), "columns are cut between tiles");
        let (sums, direct) = all.split_at_mut(self.points_len());
        if start == Start::Zero {
            direct.fill(T::ZERO);
        }
        for block in grid.blocks(region, self.most_tiles()) {
            let (tiles, depths) = (block.tiles(), block.depths());
            let layouts = grid.layouts((tiles, depths), [m, n]);
            let [inputs, outputs] = layouts;
            let Room { planes: [points, grads], extremes: [extremes, grad_extremes], batch, odd } =
                scratch.room(layouts.map(Layout::len), [tiles * grid.reads(depths), tiles * depths]);
            grid.read(x, &block, (points, extremes), inputs);
            grid.results(&block, region, |written| {
                grid.kernels.transform(&mut Transform {
                    form: grid.form,
                    stage: Stage::OutputGrad,
                    from: From::Slice(dy),
                    at: written.places,
                    from_step: written.step,
                    to: grads,
                    places: &outputs.points(written.row)[..grid.form.points()],
                    to_step: outputs.row,
                    count: written.count,
                    channels: n,
                    bias: None,
                    relu: false,
                    extremes: &mut grad_extremes[written.row..written.row + written.count],
                });
            });
            let planes = [(&mut *points, inputs), (&mut *grads, outputs)];
            self.part_with(
                (x, dy),
                (&block, region),
                [extremes, grad_extremes],
                planes,
                &mut odd.pixels,
                direct,
            );
            // Tile by tile, so that a chain does not depend on the tiles of a block; flat ones are neighbours.
            let (count, len, step) = if depths == 1 { (1, tiles, 1) } else { (tiles, depths, tiles) };
            batch.clear();
            batch.extend((0..count).map(|t| Offsets { a: t * inputs.row, b: t * outputs.row }));
            for (tap, sums) in sums.chunks_exact_mut(self.tap_len()).enumerate() {
                let first = grid.tap_start(tap, &block, inputs);
                for (plane, sums) in sums.chunks_exact_mut(self.plane_len()).enumerate() {
                    grid.kernels.gemm(Gemm {
                        a: &points[plane * inputs.plane + first..],
                        b: B::InPlace {
                            b: &grads[plane * outputs.plane..],
                            rs_b: step * outputs.row,
                            cs_a: step * inputs.row,
                            row_groups: RowGroups::ONE,
                        },
                        batch,
                        k: len,
                        c: sums,
                        rs_c: n,
                        m,
                        n,
                        store: Store::from(start),
                    });
                }
            }
            start = Start::Result;
        }
    }
}

impl<T: Element> GradPlan<T> for WinogradKernelGrad<T> {
    fn tiling(&self) -> &Tiling {
        &self.tiling
    }

    /// The sums are large: what stands in them is not even read if they start from zero.
    fn accumulate(
        &self,
        GradOperands { x, dy, .. }: GradOperands<'_, T>,
        region: &Region,
        Sums { sums, from_zero, .. }: Sums<'_, T>,
        scratch: &mut Scratch<T>,
    ) {
        let start = if from_zero { Start::Zero } else { Start::Result };
        self.add_rows((x, dy), &RowRegion::of(&self.tiling, region), (sums, start), scratch);
    }

    fn finish(&self, sums: &mut [T]) {
        let Grid { kernels, form, .. } = self.grid;
        let (len, taps) = (self.plane_len(), form.area(form.taps()));
        // A tap's points lie after all that was written before they are read.
        for direct in 0..self.grid.direct_taps() {
            let at: [usize; MOST_POINTS] = std::array::from_fn(|p| direct * self.tap_len() + p * len);
            let places: [usize; MOST_TAPS] = std::array::from_fn(|tap| (direct * taps + tap) * len);
            kernels.transform(&mut Transform {
                form,
                stage: Stage::KernelGrad,
                from: From::Target,
                at: &at[..form.points()],
                from_step: 0,
                to: sums,
                places: &places[..taps],
                to_step: 0,
                count: 1,
                channels: len,
                bias: None,
                relu: false,
                extremes: &mut [],
            });
        }
        let (sums, direct) = sums.split_at_mut(self.points_len());
        kernels.tier.vectorize(Add(sums, direct));
    }
}
