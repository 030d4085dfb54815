//! Sums over large maps, block by block.
//!
//! A single chain over a million positions loses digits: a thousand times 0.1 added to a sum of a hundred thousand is
//! rounded a thousand times in the same direction. So a gradient to the kernel that adds up many positions adds up
//! blocks of some thousands, each from zero, and these to the sums. Blocks lie on a fixed grid of units, so regions of
//! whole units still give the same bytes in any partition.

use std::ops::Range;

use super::{Grad, GradOperands, GradPlan, Region, Request, Scratch, Sums, Tiling};
use crate::kernels::{Element, Job, Tier};

/// Positions of a block: reading and writing the sums once more is a fraction of a percent of the products.
const BLOCK_POSITIONS: usize = 4096;

/// A gradient to the kernel whose positions are summed up in blocks.
struct Blocked<T: Element> {
    inner: Grad<T>,
    /// That of `inner`, with blocks as units.
    tiling: Tiling,
    tier: Tier,
}

/// Lets a plan add up blocks, if its map is larger than two of them.
pub(super) fn blocked<T: Element>(inner: Grad<T>, tier: Tier) -> Grad<T> {
    let own = inner.tiling();
    if own.rows * own.columns < 2 * BLOCK_POSITIONS {
        return inner;
    }
    let unit = own.unit * (BLOCK_POSITIONS * own.channels).div_ceil(own.unit);
    let tiling = Tiling { unit, scratch: Request { block: own.weights, ..own.scratch }, ..own.clone() };
    Box::new(Blocked { inner, tiling, tier })
}

impl<T: Element> GradPlan<T> for Blocked<T> {
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
        sums.begin();
        let (samples, elements) = match region {
            Region::Samples(samples) => (*samples, 0..self.tiling.len()),
            Region::Elements(elements) => (1, elements.clone()),
        };
        let x_len = x.len() / samples.max(1);
        let mut block = scratch.take_block(sums.sums.len());
        for (sample, dy) in dy.chunks_exact(elements.len().max(1)).enumerate() {
            let mut first = elements.start;
            while first < elements.end {
                let end = (first / self.tiling.unit + 1) * self.tiling.unit;
                let some = first..end.min(elements.end);
                let Range { start, end } = some;
                let operands = GradOperands {
                    x: &x[sample * x_len..(sample + 1) * x_len],
                    dy: &dy[start - elements.start..end - elements.start],
                    non_temporal,
                };
                let own = &mut block[..sums.sums.len()];
                let part = Sums { sums: own, units: sums.units.clone(), from_zero: true };
                self.inner.accumulate(operands, &Region::Elements(some), part, scratch);
                self.tier.vectorize(Add(&block[..sums.sums.len()], sums.sums));
                first = end;
            }
        }
        scratch.give_block(block);
    }

    fn finish(&self, sums: &mut [T]) {
        self.inner.finish(sums);
    }
}

/// Adds the first to the second.
struct Add<'a, T>(&'a [T], &'a mut [T]);

impl<T: Element> Job for Add<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for (sum, x) in self.1.iter_mut().zip(self.0) {
            *sum += *x;
        }
    }
}

/// Sums that [`add_column_sums`] keeps side by side at most, and the vectors that they are to fill.
const SUMS: usize = 128;
const SUMS_VECTOR: usize = 16;

/// Adds the sum of every column of `rows` (rows of `sums.len()` elements) to `sums`: the gradient of a bias.
///
/// Rows of few columns are summed several at a time, so that a chain per column and place among these fills registers;
/// the chains are added in the order of their places. How many depends on the columns alone. Many rows are summed in
/// blocks.
pub fn add_column_sums<T: Element>(tier: Tier, rows: &[T], sums: &mut [T]) {
    let columns = sums.len();
    if columns == 0 {
        return;
    }
    if rows.len() < 2 * BLOCK_POSITIONS * columns {
        return tier.vectorize(ColumnSums { rows, columns, sums });
    }
    for block in rows.chunks(BLOCK_POSITIONS * columns) {
        for (group, sums) in sums.chunks_mut(SUMS).enumerate() {
            let mut own = [T::ZERO; SUMS];
            let own = &mut own[..sums.len()];
            tier.vectorize(ColumnSums { rows: &block[group * SUMS..], columns, sums: own });
            tier.vectorize(Add(own, sums));
        }
    }
}

/// Adds the sums of the first columns of rows.
struct ColumnSums<'a, T> {
    rows: &'a [T],
    columns: usize,
    sums: &'a mut [T],
}

impl<T: Element> Job for ColumnSums<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { rows, columns, sums } = self;
        // A power of two divides both: that many rows fill whole vectors.
        let whole = SUMS_VECTOR >> columns.trailing_zeros().min(SUMS_VECTOR.trailing_zeros());
        let together = if sums.len() == columns { SUMS / columns / whole * whole } else { 0 };
        let mut rest = rows;
        if together > 1 {
            let mut many = [T::ZERO; SUMS];
            let many = &mut many[..together * columns];
            let blocks = rows.chunks_exact(many.len());
            rest = blocks.remainder();
            for block in blocks {
                for (sum, x) in many.iter_mut().zip(block) {
                    *sum += *x;
                }
            }
            for row in many.chunks_exact(columns) {
                for (sum, x) in sums.iter_mut().zip(row) {
                    *sum += *x;
                }
            }
        }
        for row in rest.chunks(columns) {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += *x;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::{self, Algorithm};
    use crate::geometry::{ConvGeometry, Padding, Window};
    use crate::kernels::Kernels;

    fn geometry(kernel: usize, sizes: [usize; 2], channels: [usize; 2]) -> ConvGeometry {
        let two = |n: usize| vec![n; 2];
        let window =
            Window { kernel: two(kernel), stride: two(1), dilation: two(1), padding: Padding::VALID };
        ConvGeometry::new(&window, &sizes, channels[0], channels[1], 1).unwrap()
    }

    #[test]
    fn a_constant_over_a_million_positions_keeps_its_digits() {
        let kernels = Kernels::<f32>::of(Tier::available()[0]);
        let plan = conv::kernel_grad(&geometry(1, [1024, 1024], [1, 1]), kernels, Algorithm::Auto);
        let (x, dy) = (vec![0.1f32; 1 << 20], vec![1.0f32; 1 << 20]);
        let (mut sum, mut bias) = ([0.0f32], [0.0f32]);
        let operands = GradOperands { x: &x, dy: &dy, non_temporal: false };
        let sums = Sums { sums: &mut sum, units: 0..1, from_zero: true };
        plan.accumulate(operands, &Region::Samples(1), sums, &mut Scratch::default());
        add_column_sums(kernels.tier, &x, &mut bias);
        let expected = f64::from(0.1f32) * f64::from(1 << 20);
        for sum in [sum[0], bias[0]] {
            assert!((f64::from(sum) / expected - 1.0).abs() < 5e-5, "{sum} instead of {expected}");
        }
    }

    #[test]
    fn blocks_do_not_depend_on_the_partition() {
        let kernels = Kernels::<f32>::of(Tier::available()[0]);
        for (kernel, channels) in [(1, [3, 5]), (3, [2, 7]), (3, [16, 16])] {
            let g = geometry(kernel, [130, 150], channels);
            let plan = conv::kernel_grad(&g, kernels, Algorithm::Auto);
            let (tiling, mut scratch) = (plan.tiling(), Scratch::default());
            assert!(tiling.units() > 2);
            let value = |i: usize| ((i * 2_654_435_761) >> 7 & 1023) as f32 / 512.0 - 1.0;
            let x: Vec<f32> = (0..2 * g.input_len()).map(value).collect();
            let dy: Vec<f32> = (5..5 + 2 * g.output_len()).map(value).collect();
            let units = 0..tiling.weight_units();
            let mut whole = vec![7.0f32; tiling.weights];
            let operands = GradOperands { x: &x, dy: &dy, non_temporal: false };
            let sums = Sums { sums: &mut whole, units: units.clone(), from_zero: true };
            plan.accumulate(operands, &Region::Samples(2), sums, &mut scratch);
            let mut parts = vec![7.0f32; tiling.weights];
            for sample in 0..2 {
                let x = &x[sample * g.input_len()..][..g.input_len()];
                for first in (0..tiling.len()).step_by(2 * tiling.unit) {
                    let some = first..(first + 2 * tiling.unit).min(tiling.len());
                    let dy = &dy[sample * tiling.len()..][some.clone()];
                    let operands = GradOperands { x, dy, non_temporal: false };
                    let from_zero = sample + first == 0;
                    let sums = Sums { sums: &mut parts, units: units.clone(), from_zero };
                    plan.accumulate(operands, &Region::Elements(some), sums, &mut scratch);
                }
            }
            assert_eq!(whole, parts);
        }
    }
}
