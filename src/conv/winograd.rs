//! Winograd's algorithm for 3 x 3 kernels of stride 1: tiles of 4 x 4 outputs, 36 products where a direct sum has 144.
//!
//! A tile of 6 x 6 inputs and the kernel are brought to 36 points (`kernels::winograd` has the mathematics), where the
//! convolution is a product of matrices at each point: tiles times input channels, by output channels. The gradient to
//! the input is the same with flipped taps and exchanged channels. The gradient to the kernel is the exact adjoint: the
//! gradients of outputs are brought to points, multiplied with the inputs, summed up over the tiles there, and the sums
//! are brought back to taps at the very end.
//!
//! Tiles lie on a fixed grid, rows `4 t .. 4 t + 4`, whatever part of the rows is computed; all sums are chains in the
//! order of channels, or of samples and tiles. So neither partitions nor the number of tiles that are worked on
//! together change a bit.

use std::ops::Range;

use super::tiles::{Grid, Layout, PLANES, TAPS, TILE, items};
use super::{Accumulation, Algorithm, Correlation, Epilogue, Pass, Problem, Scratch, padding};
use crate::geometry::{Axis, ConvGeometry};
use crate::kernels::winograd::From;
use crate::kernels::{Element, Product, Run, Stage, Start, Transform};

/// Columns of the widest panel of packed weights of any tier.
const WIDEST_PANEL: usize = 32;

/// Whether the algorithm computes this pass.
pub(super) fn chosen<T: Element>(p: Problem<'_, T>, pass: Pass) -> bool {
    // The gradient to the input folds other borders back: the padded algorithm does that, around this one.
    if !accepts(p.geometry) || pass == Pass::InputGrad && padding::accepts(p.geometry) {
        return false;
    }
    match p.algorithm {
        Algorithm::Direct => false,
        Algorithm::Winograd => true,
        Algorithm::Auto => T::NAME == f32::NAME && wins(p.geometry, pass),
    }
}

/// Channels on both sides from which on the transforms are paid for by the products.
const FEWEST_CHANNELS: usize = 32;
/// Most weights, `c_in * c_out`: at the points they are four times as large and must come from the last level of cache
/// for every item (forward, to the input), or their sums be read and written for every item (to the kernel).
const MOST_WEIGHTS: [usize; 2] = [256 * 256, 128 * 192];
/// Outputs that an average tile must have at least: those at the end of a ragged map are computed in vain.
const FEWEST_OUTPUTS: usize = 8;

/// Whether it is the faster one: measured thresholds, see docs/performance.md.
fn wins(g: &ConvGeometry, pass: Pass) -> bool {
    let [_, height, width] = &g.axes;
    let sizes =
        if pass == Pass::InputGrad { [height.input, width.input] } else { [height.output, width.output] };
    let tiles: usize = sizes.iter().map(|n| n.div_ceil(TILE)).product();
    g.c_in.min(g.c_out) >= FEWEST_CHANNELS
        && g.c_in * g.c_out <= MOST_WEIGHTS[usize::from(pass == Pass::KernelGrad)]
        && sizes.iter().product::<usize>() >= FEWEST_OUTPUTS * tiles
}

/// Whether the algorithm can do it.
pub(super) fn accepts(geometry: &ConvGeometry) -> bool {
    let [depth, height, width] = &geometry.axes;
    let slides = |a: &Axis| a.kernel == TAPS && a.stride == 1 && a.dilation == 1 && a.input > 0;
    *depth == Axis::UNIT && slides(height) && slides(width) && geometry.groups == 1
}

/// A product of whole matrices.
const WHOLE: [Run; 1] = [Run { a: 0, b: 0 }];

/// The forward pass, or the gradient to the input.
#[derive(Debug)]
pub(super) struct Winograd<T: 'static> {
    grid: Grid<T>,
    /// Whether taps are flipped and channels exchanged.
    flipped: bool,
}

impl<T: Element> Winograd<T> {
    /// The forward pass.
    pub(super) fn forward(p: Problem<'_, T>) -> Self {
        Self { grid: Grid::forward(p.geometry, p.kernels), flipped: false }
    }

    /// The gradient to the input, borders of zeros.
    pub(super) fn input_grad(p: Problem<'_, T>) -> Self {
        Self { grid: Grid::input_grad(p.geometry, p.kernels), flipped: true }
    }

    /// Elements of the packed weights of a panel.
    fn panel_len(&self) -> usize {
        PLANES * self.grid.from_channels * self.grid.kernels.panel()
    }

    /// Brings the taps of output channels from `first` on to the points, `packed[point][k][column]`.
    fn pack_panel(&self, kernel: &[T], first: usize, packed: &mut [T]) {
        let grid = &self.grid;
        let (k, n, panel) = (grid.from_channels, grid.to_channels, grid.kernels.panel());
        let channels = panel.min(n - first);
        let places: [usize; PLANES] = std::array::from_fn(|p| p * k * panel);
        let stage = Stage::Kernel;
        if channels < panel {
            packed.fill(T::ZERO);
        }
        if !self.flipped {
            let at: [usize; TAPS * TAPS] = std::array::from_fn(|tap| tap * k * n + first);
            grid.kernels.transform(&mut Transform {
                stage,
                from: From::Slice(kernel),
                at: &at,
                from_step: n,
                to: packed,
                places: &places,
                to_step: panel,
                count: k,
                channels,
                bias: None,
                relu: false,
            });
            return;
        }
        // The columns lie `k` apart in the kernel (tap, column, k): gathered for one `k` at a time, the lines that
        // they lie in stay in L1 until the next.
        let mut taps = [T::ZERO; TAPS * TAPS * WIDEST_PANEL];
        let at: [usize; TAPS * TAPS] = std::array::from_fn(|tap| tap * channels);
        for i in 0..k {
            for (tap, line) in taps.chunks_exact_mut(channels).take(TAPS * TAPS).enumerate() {
                let start = ((TAPS * TAPS - 1 - tap) * n + first) * k + i;
                for (value, from) in line.iter_mut().zip(kernel[start..].iter().step_by(k)) {
                    *value = *from;
                }
            }
            grid.kernels.transform(&mut Transform {
                stage,
                from: From::Slice(&taps),
                at: &at,
                from_step: 0,
                to: &mut packed[i * panel..],
                places: &places,
                to_step: 0,
                count: 1,
                channels,
                bias: None,
                relu: false,
            });
        }
    }

    /// The rows `rows` of some samples.
    fn samples(
        &self,
        from: &[T],
        packed: &[T],
        to: &mut [T],
        (samples, rows): (usize, Range<usize>),
        epilogue: Epilogue<'_, T>,
        scratch: &mut Scratch<T>,
    ) {
        let grid = &self.grid;
        let tile_rows = rows.start / TILE..rows.end.div_ceil(TILE);
        let panel = grid.kernels.panel();
        let most = grid.most_tiles(grid.from_channels);
        for item in items(samples * tile_rows.len() * grid.width.tiles, most) {
            let tiles = item.len();
            let inputs = Layout::new(tiles, grid.from_channels);
            let sums = Layout::new(tiles, panel);
            let [points, products] = scratch.planes([inputs.len(), sums.len()]);
            for stretch in grid.stretches(&tile_rows, &item) {
                grid.read(from, &stretch, points, inputs);
            }
            for (first, weights) in
                (0..grid.to_channels).step_by(panel).zip(packed.chunks_exact(self.panel_len()))
            {
                let channels = panel.min(grid.to_channels - first);
                let plane_len = grid.from_channels * panel;
                for (plane, weights) in weights.chunks_exact(plane_len).enumerate() {
                    grid.kernels.product(&mut Product {
                        a: &points[plane * inputs.plane..],
                        a_m: inputs.row,
                        a_k: 1,
                        b: weights,
                        b_k: panel,
                        b_panel: panel,
                        b_padded: true,
                        runs: &WHOLE,
                        run_len: grid.from_channels,
                        c: &mut products[plane * sums.plane..],
                        c_m: sums.row,
                        m: tiles,
                        n: channels,
                        start: Start::Zero,
                        relu: false,
                    });
                }
                for stretch in grid.stretches(&tile_rows, &item) {
                    grid.results(&stretch, &rows, |part, places| {
                        grid.kernels.transform(&mut Transform {
                            stage: Stage::Output,
                            from: From::Slice(products),
                            at: &sums.points(part.first),
                            from_step: sums.row,
                            to: &mut to[first..],
                            places,
                            to_step: TILE * grid.to_channels,
                            count: part.columns.len(),
                            channels,
                            bias: epilogue.bias.map(|bias| &bias[first..first + channels]),
                            relu: epilogue.relu,
                        });
                    });
                }
            }
        }
    }
}

impl<T: Element> Correlation<T> for Winograd<T> {
    fn packed_len(&self) -> usize {
        self.grid.to_channels.div_ceil(self.grid.kernels.panel()) * self.panel_len()
    }

    fn pack(&self, kernel: &[T], packed: &mut [T]) {
        self.pack_part(kernel, 0, packed);
    }

    fn pack_grain(&self) -> usize {
        self.panel_len()
    }

    fn pack_part(&self, kernel: &[T], first: usize, part: &mut [T]) {
        let panel = self.grid.kernels.panel();
        for (i, part) in part.chunks_exact_mut(self.panel_len()).enumerate() {
            self.pack_panel(kernel, (first / self.panel_len() + i) * panel, part);
        }
    }

    fn rows(&self) -> usize {
        self.grid.height.size
    }

    fn row_len(&self) -> usize {
        self.grid.row_len()
    }

    fn row_step(&self) -> usize {
        TILE
    }

    fn reserve(&self, scratch: &mut Scratch<T>) {
        let most = self.grid.most_tiles(self.grid.from_channels);
        let channels = [self.grid.from_channels, self.grid.kernels.panel()];
        scratch.planes(channels.map(|channels| Layout::new(most, channels).len()));
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
        self.samples(from, packed, to, (1, rows), epilogue, scratch);
    }

    fn run_samples(
        &self,
        from: &[T],
        packed: &[T],
        to: &mut [T],
        samples: usize,
        epilogue: Epilogue<'_, T>,
        scratch: &mut Scratch<T>,
    ) {
        self.samples(from, packed, to, (samples, 0..self.rows()), epilogue, scratch);
    }
}

/// The gradient to the kernel.
#[derive(Debug)]
pub(super) struct WinogradKernelGrad<T: 'static> {
    grid: Grid<T>,
}

impl<T: Element> WinogradKernelGrad<T> {
    /// Plans the pass.
    pub(super) fn new(p: Problem<'_, T>) -> Self {
        Self { grid: Grid::forward(p.geometry, p.kernels) }
    }

    /// Elements of the sums at a point.
    fn plane_len(&self) -> usize {
        self.grid.from_channels * self.grid.to_channels
    }

    /// Adds what the rows `rows` of some samples contribute.
    fn samples(
        &self,
        (x, dy): (&[T], &[T]),
        (samples, rows): (usize, Range<usize>),
        sums: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        let grid = &self.grid;
        let (m, n) = (grid.from_channels, grid.to_channels);
        debug_assert!(rows.start.is_multiple_of(TILE), "rows are cut between tiles");
        let tile_rows = rows.start / TILE..rows.end.div_ceil(TILE);
        for item in items(samples * tile_rows.len() * grid.width.tiles, grid.most_tiles(m.max(n))) {
            let (inputs, outputs) = (Layout::new(item.len(), m), Layout::new(item.len(), n));
            let [points, grads] = scratch.planes([inputs.len(), outputs.len()]);
            for stretch in grid.stretches(&tile_rows, &item) {
                grid.read(x, &stretch, points, inputs);
                grid.results(&stretch, &rows, |part, at| {
                    grid.kernels.transform(&mut Transform {
                        stage: Stage::OutputGrad,
                        from: From::Slice(dy),
                        at,
                        from_step: TILE * n,
                        to: grads,
                        places: &outputs.points(part.first),
                        to_step: outputs.row,
                        count: part.columns.len(),
                        channels: n,
                        bias: None,
                        relu: false,
                    });
                });
            }
            for (plane, sums) in sums.chunks_exact_mut(self.plane_len()).enumerate() {
                grid.kernels.product(&mut Product {
                    a: &points[plane * inputs.plane..],
                    a_m: 1,
                    a_k: inputs.row,
                    b: &grads[plane * outputs.plane..],
                    b_k: outputs.row,
                    b_panel: grid.kernels.panel(),
                    b_padded: false,
                    runs: &WHOLE,
                    run_len: item.len(),
                    c: sums,
                    c_m: n,
                    m,
                    n,
                    start: Start::Result,
                    relu: false,
                });
            }
        }
    }
}

impl<T: Element> Accumulation<T> for WinogradKernelGrad<T> {
    fn rows(&self) -> usize {
        self.grid.height.size
    }

    fn row_len(&self) -> usize {
        self.grid.row_len()
    }

    fn row_step(&self) -> usize {
        TILE
    }

    fn reserve(&self, scratch: &mut Scratch<T>) {
        let channels = [self.grid.from_channels, self.grid.to_channels];
        let most = self.grid.most_tiles(channels[0].max(channels[1]));
        scratch.planes(channels.map(|channels| Layout::new(most, channels).len()));
    }

    fn sums_len(&self, _: usize) -> usize {
        PLANES * self.plane_len()
    }

    fn run(&self, x: &[T], dy: &[T], rows: Range<usize>, sums: &mut [T], scratch: &mut Scratch<T>) {
        self.samples((x, dy), (1, rows), sums, scratch);
    }

    fn run_samples(&self, x: &[T], dy: &[T], samples: usize, sums: &mut [T], scratch: &mut Scratch<T>) {
        self.samples((x, dy), (samples, 0..self.rows()), sums, scratch);
    }

    fn finish(&self, sums: &mut [T]) {
        let len = self.plane_len();
        let at: [usize; PLANES] = std::array::from_fn(|p| p * len);
        let places: [usize; TAPS * TAPS] = std::array::from_fn(|tap| tap * len);
        self.grid.kernels.transform(&mut Transform {
            stage: Stage::KernelGrad,
            from: From::Target,
            at: &at,
            from_step: 0,
            to: sums,
            places: &places,
            to_step: 0,
            count: 1,
            channels: len,
            bias: None,
            relu: false,
        });
    }
}
