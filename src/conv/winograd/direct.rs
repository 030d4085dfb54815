//! What Winograd's algorithm computes directly: results of tiles whose values are out of proportion.
//!
//! Few tiles of few calls are so. Their results are computed again from the taps, which come back from the points as exact as
//! the largest of them; to the kernel, such a tile has no part in the sums at the points, and its products are added up in
//! sums of their own, tap by tap.

use super::{Winograd, WinogradKernelGrad};
use crate::conv::Epilogue;
use crate::conv::scratch::Odd;
use crate::conv::tiles::{Grid, Layout, Limits, Outlier, Pixels, RowRegion, TileBlock};
use crate::kernels::winograd::{Extremes, NOWHERE};
use crate::kernels::{Aligned, B, Element, Gemm, Job, Offsets, RowGroups, Store};
use crate::memory;

/// Results that are computed together.
const ROWS: usize = 64;

/// `to[i] += from[i]` for the first elements.
pub(super) struct Add<'a, T>(pub &'a mut [T], pub &'a [T]);

impl<T: Element> Job for Add<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for (to, from) in self.0.iter_mut().zip(self.1) {
            *to += *from;
        }
    }
}

/// The first `len` elements of a buffer, which grows to have them.
fn grown<T: Element>(buffer: &mut Aligned<T>, len: usize) -> &mut [T] {
    memory::grow(buffer, len);
    &mut buffer[..len]
}

impl<T: Element> Winograd<T> {
    /// Computes the results of a block again that are out of proportion.
    pub(super) fn mend(
        &self,
        (from, packed): (&[T], &[T]),
        to: &mut [T],
        (block, region): (&TileBlock, &RowRegion),
        extremes: &[Extremes<T>],
        epilogue: Epilogue<'_, T>,
        odd: &mut Odd<T>,
    ) {
        let (grid, limits) = (&self.grid, Limits::map::<T>());
        let mut waiting: Vec<(Outlier, [usize; 2])> = Vec::new();
        grid.suspects(block, limits, (extremes, &[]), |tile| {
            let (at, of) = ((block, region, tile), (limits, extremes));
            grid.out_of_proportion(from, at, of, |output, empty| {
                if empty {
                    // A border of nothing around a picture is no reason to compute anything.
                    let place = grid.output_place(region, tile, output);
                    let to = &mut to[place..place + grid.to_channels];
                    match epilogue.bias {
                        Some(bias) => to.copy_from_slice(bias),
                        None => to.fill(T::ZERO),
                    }
                    to.iter_mut().filter(|y| epilogue.relu && **y <= T::ZERO).for_each(|y| *y = T::ZERO);
                } else {
                    waiting.push((tile, output));
                }
            });
        });
        for some in waiting.chunks(ROWS) {
            self.directly((from, packed), to, region, some, epilogue, odd);
        }
    }

    /// Computes some results from the taps.
    fn directly(
        &self,
        (from, packed): (&[T], &[T]),
        to: &mut [T],
        region: &RowRegion,
        some: &[(Outlier, [usize; 2])],
        epilogue: Epilogue<'_, T>,
        odd: &mut Odd<T>,
    ) {
        let Grid { kernels, form, from_channels: k, to_channels: n, .. } = self.grid;
        let (panel, taps) = (kernels.panel(), self.packing.direct_taps * form.area(form.taps()));
        let rows = grown(&mut odd.rows, some.len() * taps * k);
        for (row, (tile, output)) in rows.chunks_exact_mut(taps * k).zip(some) {
            self.grid.window(*tile, *output, |tap, place| {
                let row = &mut row[tap * k..(tap + 1) * k];
                if place == NOWHERE {
                    row.fill(T::ZERO);
                } else {
                    row.copy_from_slice(&from[place..place + k]);
                }
            });
        }
        let matrix = grown(&mut odd.taps, taps * k * panel);
        let results = grown(&mut odd.results, some.len() * panel);
        for (first, packed) in (0..n).step_by(panel).zip(packed.chunks_exact(self.packing.panel_len())) {
            let channels = panel.min(n - first);
            let bias = epilogue.bias.map(|bias| &bias[first..first + channels]);
            self.packing.taps(packed, matrix);
            kernels.gemm(Gemm {
                a: rows,
                b: B::Packed { b: matrix, ps_b: panel, rs_a: taps * k },
                batch: &[Offsets { a: 0, b: 0 }],
                k: taps * k,
                c: results,
                rs_c: panel,
                m: some.len(),
                n: channels,
                store: Store::with(bias, epilogue.relu),
            });
            for (result, (tile, output)) in results.chunks_exact(panel).zip(some) {
                let place = self.grid.output_place(region, *tile, *output) + first;
                to[place..place + channels].copy_from_slice(&result[..channels]);
            }
        }
    }
}

impl<T: Element> WinogradKernelGrad<T> {
    /// Takes the tiles of a block that are out of proportion out of the points, and adds what they contribute directly.
    pub(super) fn part_with(
        &self,
        (x, dy): (&[T], &[T]),
        (block, region): (&TileBlock, &RowRegion),
        [extremes, grads]: [&[Extremes<T>]; 2],
        [(points, inputs), (grad_points, outputs)]: [(&mut [T], Layout); 2],
        pixels: &mut Pixels<T>,
        direct: &mut [T],
    ) {
        let (grid, limits) = (&self.grid, Limits::kernel_grad::<T>());
        let (m, n) = (grid.from_channels, grid.to_channels);
        grid.suspects(block, limits, (extremes, grads), |tile| {
            let of = (limits, [extremes, grads]);
            if !grid.is_out_of_proportion((x, dy), (block, region, tile), of, pixels) {
                return;
            }
            let clear = |points: &mut [T], layout: Layout, row: usize, channels: usize| {
                for place in &layout.points(row)[..grid.form.points()] {
                    points[*place..place + channels].fill(T::ZERO);
                }
            };
            clear(grad_points, outputs, tile.output_row(block), n);
            for row in (0..grid.direct_taps()).map(|tap| grid.input_row(block, tile, tap)) {
                // Nothing times infinity is NaN. Other planes of outputs that read this are out of proportion as well.
                if !limits.bounds(extremes[row][0]) {
                    clear(points, inputs, row, m);
                }
            }
            grid.products((x, dy), (region, tile), pixels, |tap, batch| {
                grid.kernels.gemm(Gemm {
                    a: x,
                    b: B::InPlace { b: dy, rs_b: n, cs_a: 1, row_groups: RowGroups::ONE },
                    batch,
                    k: 1,
                    c: &mut direct[tap * m * n..(tap + 1) * m * n],
                    rs_c: n,
                    m,
                    n,
                    store: Store::ADD,
                });
            });
        });
    }
}
