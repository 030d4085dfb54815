//! Global pools of one sample: the mean or the largest element of every channel, with gradients.

use super::COLUMNS;
use crate::kernels::{CHAIN, Element, Job, Tier};

/// The mean over all positions of the channels `first..first + y.len()` out of `channels`: global average pooling of
/// one sample. Blocks of [`CHAIN`] positions are added in double precision, as many of them at a time. Channels do not
/// depend on each other, so that they may be computed in any partition.
pub fn global_average<T: Element>(tier: Tier, x: &[T], channels: usize, first: usize, y: &mut [T]) {
    struct Sums<'a, T> {
        x: &'a [T],
        channels: usize,
        first: usize,
        y: &'a mut [T],
    }
    impl<T: Element> Job for Sums<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            let n = self.y.len();
            let mut totals = [0.0f64; COLUMNS];
            for blocks in self.x.chunks(CHAIN * CHAIN * self.channels) {
                let mut parts = [0.0f64; COLUMNS];
                for block in blocks.chunks(CHAIN * self.channels) {
                    let mut sums = [T::ZERO; COLUMNS];
                    for row in block.chunks_exact(self.channels) {
                        for (sum, x) in sums[..n].iter_mut().zip(&row[self.first..self.first + n]) {
                            *sum += *x;
                        }
                    }
                    for (part, sum) in parts[..n].iter_mut().zip(&sums[..n]) {
                        *part += sum.to_f64();
                    }
                }
                for (total, part) in totals[..n].iter_mut().zip(&parts[..n]) {
                    *total += *part;
                }
            }
            let positions = self.x.len() / self.channels;
            for (y, total) in self.y.iter_mut().zip(&totals[..n]) {
                *y = T::from_f64(*total / positions.max(1) as f64);
            }
        }
    }
    for (i, y) in y.chunks_mut(COLUMNS).enumerate() {
        tier.vectorize(Sums { x, channels, first: first + i * COLUMNS, y });
    }
}

/// The gradient of [`global_average`] to some positions (whole ones) of the input.
pub fn global_average_grad<T: Element>(dy: &[T], positions: usize, dx: &mut [T]) {
    let share = T::from_f64(1.0 / positions.max(1) as f64);
    for row in dx.chunks_exact_mut(dy.len().max(1)) {
        for (dx, dy) in row.iter_mut().zip(dy) {
            *dx = dy.mul(share);
        }
    }
}

/// The largest element over all positions, for the channels `first..first + y.len()` out of `channels`; NaN wins over
/// everything.
pub fn global_max<T: Element>(tier: Tier, x: &[T], channels: usize, first: usize, y: &mut [T]) {
    struct Maxima<'a, T> {
        x: &'a [T],
        channels: usize,
        first: usize,
        y: &'a mut [T],
    }
    impl<T: Element> Job for Maxima<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            let n = self.y.len();
            self.y.fill(T::from_f64(f64::NEG_INFINITY));
            for row in self.x.chunks_exact(self.channels) {
                for (y, x) in self.y.iter_mut().zip(&row[self.first..self.first + n]) {
                    let keep = *x <= *y || y.is_nan();
                    *y = if keep { *y } else { *x };
                }
            }
        }
    }
    for (i, y) in y.chunks_mut(COLUMNS).enumerate() {
        tier.vectorize(Maxima { x, channels, first: first + i * COLUMNS, y });
    }
}

/// The gradient of [`global_max`] of one sample: the first of the largest elements gets it, or the first NaN.
pub fn global_max_grad<T: Element>(tier: Tier, x: &[T], dy: &[T], dx: &mut [T]) {
    let channels = dy.len();
    for first in (0..channels).step_by(COLUMNS) {
        let n = COLUMNS.min(channels - first);
        let (mut y, mut found) = ([T::ZERO; COLUMNS], [false; COLUMNS]);
        global_max(tier, x, channels, first, &mut y[..n]);
        for (x, dx) in x.chunks_exact(channels).zip(dx.chunks_exact_mut(channels)) {
            for c in 0..n {
                let x = x[first + c];
                let wins = !found[c] && (x == y[c] || x.is_nan());
                dx[first + c] = if wins { dy[first + c] } else { T::ZERO };
                found[c] |= wins;
            }
        }
    }
}
