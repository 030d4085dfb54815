//! Shift-add: results as sums of products that lie at shifted positions, the second half of kn2row (Anderson et al. 2017,
//! "Low-memory GEMM-based convolution algorithms for deep neural networks", arXiv 1709.03395).
//!
//! Every result adds its terms in one order, whatever the width of a vector.

use super::gemm::Offsets;
use super::lanes::{Element, Lanes};

/// Channels of a result at most: the loops are written for each number of them.
pub const MOST_CHANNELS: usize = 4;
/// Lanes of the widest register.
const LANES: usize = 16;
/// `y[o * y_stride + c] = bias[c] + sum over taps t and rows r of products[line(t, r) + c][position(o, t, r)]`
///
/// `products` has lines `line_stride` elements apart; `line(t, r) = rows[r].b + column.0 + t * column.1`, and `position` is
/// `rows[r].a + i` with `i = shift + o + t * tap_step`. Terms whose `i` is not in `0..len` are zero and not read.
#[derive(Debug)]
pub struct ShiftAdd<'a, T> {
    /// The terms.
    pub products: &'a [T],
    /// From one line to the next.
    pub line_stride: usize,
    /// Rows of positions, and the first line of each.
    pub rows: &'a [Offsets],
    /// Positions of a row.
    pub len: usize,
    /// Taps along the row.
    pub taps: usize,
    /// Place of tap 0 of result 0.
    pub shift: isize,
    /// From a tap to the next.
    pub tap_step: usize,
    /// Line of tap 0, and how many lines on the next tap has its own.
    pub column: (usize, isize),
    /// Channels of a result.
    pub channels: usize,
    /// Results.
    pub y: &'a mut [T],
    /// From one result to the next.
    pub y_stride: usize,
    /// How many.
    pub count: usize,
    /// What the sums start from, unless that is zero.
    pub bias: Option<&'a [T]>,
    /// Whether negative results become zero.
    pub relu: bool,
}

impl<T: Element> ShiftAdd<'_, T> {
    /// Panics unless every element that is read or written lies inside its slice.
    pub(super) fn check(&self) {
        let reach = |n: usize, step: usize| n.checked_mul(step).expect("size overflow");
        assert!((1..=MOST_CHANNELS).contains(&self.channels) && self.count > 0, "shape");
        assert!(self.y_stride >= self.channels, "results overlap");
        assert!(reach(self.count - 1, self.y_stride) + self.channels <= self.y.len(), "results");
        assert!(self.bias.is_none_or(|bias| bias.len() == self.channels), "bias");
        if self.taps == 0 || self.len == 0 {
            return;
        }
        let (first, step) = self.column;
        let last = first.checked_add_signed(step * (self.taps - 1) as isize).expect("lines of taps");
        for row in self.rows {
            let line = row.b.checked_add(first.max(last)).expect("size overflow") + self.channels - 1;
            let end = row.a.checked_add(self.len).expect("size overflow");
            assert!(end <= self.line_stride, "a row reaches into the next line");
            assert!(
                reach(line, self.line_stride).checked_add(end).is_some_and(|end| end <= self.products.len())
            );
        }
    }
}

/// The body that every tier's entry calls.
///
/// # Safety
/// As [`Lanes`]; the sums passed [`ShiftAdd::check`].
#[inline(always)]
pub(super) unsafe fn shift_add<L: Lanes>(sums: &mut ShiftAdd<'_, L::Elem>) {
    // SAFETY: as the caller's.
    unsafe {
        match sums.channels {
            1 => all::<L, 1, 4>(sums),
            2 => all::<L, 2, 2>(sums),
            3 => all::<L, 3, 2>(sums),
            _ => all::<L, MOST_CHANNELS, 2>(sums),
        }
    }
}

/// All results, `V` vectors of them at a time.
///
/// # Safety
/// As [`shift_add`]; results have `C` channels.
#[inline(always)]
unsafe fn all<L: Lanes, const C: usize, const V: usize>(sums: &mut ShiftAdd<'_, L::Elem>) {
    let mut first = 0;
    while first < sums.count {
        let left = sums.count - first;
        // SAFETY: as the caller's.
        unsafe {
            first += match left.div_ceil(L::WIDTH) {
                3.. if V > 2 => some::<L, C, V>(sums, first, left),
                2.. if V > 1 => some::<L, C, 2>(sums, first, left),
                _ => some::<L, C, 1>(sums, first, left),
            };
        }
    }
}

/// `left` results from `first` on, but at most `V` vectors of them; how many.
///
/// # Safety
/// As [`all`].
#[inline(always)]
unsafe fn some<L: Lanes, const C: usize, const V: usize>(
    sums: &mut ShiftAdd<'_, L::Elem>,
    first: usize,
    left: usize,
) -> usize {
    let n = left.min(V * L::WIDTH);
    debug_assert!(first + n <= sums.count && sums.channels == C);
    // SAFETY: as the caller's; lanes outside of a row are masked. Wrapping, because those in front of the first row lie
    // outside of the slice.
    unsafe {
        let mut acc = [[L::zero(); C]; V];
        if let Some(bias) = sums.bias {
            for c in 0..C {
                let start = L::splat(*bias.as_ptr().add(c));
                for v in 0..V {
                    acc[v][c] = start;
                }
            }
        }
        for tap in 0..sums.taps {
            let place = first as isize + sums.shift + (tap * sums.tap_step) as isize;
            let column = sums.column.0.wrapping_add_signed(tap as isize * sums.column.1);
            let whole = place >= 0 && place as usize + V * L::WIDTH <= sums.len;
            let mut masks = [L::mask(0); V];
            for v in 0..V {
                let inside = |at: isize| (at - (v * L::WIDTH) as isize).clamp(0, L::WIDTH as isize) as usize;
                masks[v] =
                    L::mask_between(inside(-place), inside(sums.len as isize - place).max(inside(-place)));
            }
            for row in sums.rows {
                let at = (row.b + column) * sums.line_stride + row.a;
                let from = sums.products.as_ptr().wrapping_add(at).wrapping_offset(place);
                for c in 0..C {
                    let from = from.wrapping_add(c * sums.line_stride);
                    for v in 0..V {
                        let from = from.wrapping_add(v * L::WIDTH);
                        let term = if whole { L::load(from) } else { L::load_masked(from, masks[v]) };
                        acc[v][c] = L::add(acc[v][c], term);
                    }
                }
            }
        }
        // With constant indices, or the sums would live in memory.
        const { assert!(V <= 4) };
        let y = sums.y.as_mut_ptr().add(first * sums.y_stride);
        let (step, relu) = (sums.y_stride, sums.relu);
        let whole = L::WIDTH * step;
        store::<L, C>(y, step, acc[0], n.min(L::WIDTH), relu);
        if V > 1 {
            store::<L, C>(
                y.wrapping_add(whole),
                step,
                acc[1 % V],
                n.saturating_sub(L::WIDTH).min(L::WIDTH),
                relu,
            );
        }
        if V > 2 {
            let n = n.saturating_sub(2 * L::WIDTH).min(L::WIDTH);
            store::<L, C>(y.wrapping_add(2 * whole), step, acc[2 % V], n, relu);
        }
        if V > 3 {
            let n = n.saturating_sub(3 * L::WIDTH);
            store::<L, C>(y.wrapping_add(3 * whole), step, acc[3 % V], n, relu);
        }
    }
    n
}

/// Stores `n` results, at most a vector of them.
///
/// # Safety
/// As [`Lanes`]; `n` results of `C` elements at `y`, `step` apart, are valid.
#[inline(always)]
unsafe fn store<L: Lanes, const C: usize>(
    y: *mut L::Elem,
    step: usize,
    mut columns: [L::V; C],
    n: usize,
    relu: bool,
) {
    // SAFETY: as the caller's.
    unsafe {
        if relu {
            for c in 0..C {
                columns[c] = L::relu(columns[c]);
            }
        }
        if step == C {
            for i in 0..C {
                let mixed = L::interleave(columns, i);
                let n = (n * C).saturating_sub(i * L::WIDTH).min(L::WIDTH);
                if n == L::WIDTH {
                    L::store(y.add(i * L::WIDTH), mixed);
                } else if n > 0 {
                    L::store_masked(y.wrapping_add(i * L::WIDTH), L::mask(n), mixed);
                }
            }
            return;
        }
        for c in 0..C {
            let mut lanes = [L::Elem::ZERO; LANES];
            L::store(lanes.as_mut_ptr(), columns[c]);
            for (i, lane) in lanes.iter().enumerate().take(n) {
                *y.add(i * step + c) = *lane;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::integers;
    use crate::kernels::{Kernels, Tier};

    /// Sums over taps against their definition.
    fn battery<T: Element>() {
        for kernels in Tier::available().into_iter().map(Kernels::<T>::of) {
            for channels in 1..=MOST_CHANNELS {
                for (count, taps, tap_step, gap) in
                    [(1, 3, 1, 0), (16, 2, 1, 0), (31, 5, 2, 3), (70, 3, 7, 0), (140, 4, 1, 5)]
                {
                    check_sums::<T>(kernels, (channels, count, taps, tap_step), channels + gap);
                }
            }
        }
    }

    fn check_sums<T: Element>(
        kernels: &Kernels<T>,
        (channels, count, taps, tap_step): (usize, usize, usize, usize),
        y_stride: usize,
    ) {
        // Two rows of positions in lines that end with the last; results reach beyond both ends of a row.
        let (len, column) = (count + 1, ((taps - 1) * channels, -(channels as isize)));
        let line_stride = 2 * len + 3;
        let rows = [Offsets { a: 3, b: 0 }, Offsets { a: len + 3, b: taps * channels }];
        let products: Vec<T> = integers(2 * taps * channels * line_stride, 1);
        let (bias, before): (Vec<T>, Vec<T>) =
            (integers(channels, 2), integers((count - 1) * y_stride + channels, 3));
        for (shift, with_bias) in [(0, true), (-2, false), (-(len as isize) - 40, true), (3, false)] {
            let relu = !with_bias;
            let mut expected = before.clone();
            for (o, c) in (0..count).flat_map(|o| (0..channels).map(move |c| (o, c))) {
                let mut sum = if with_bias { bias[c].to_f64() } else { 0.0 };
                for (tap, row) in (0..taps).flat_map(|tap| rows.iter().map(move |row| (tap, row))) {
                    let place = shift + (o + tap * tap_step) as isize;
                    if let Some(place) = usize::try_from(place).ok().filter(|&place| place < len) {
                        let line =
                            (row.b as isize + column.0 as isize + tap as isize * column.1) as usize + c;
                        sum += products[line * line_stride + row.a + place].to_f64();
                    }
                }
                expected[o * y_stride + c] = T::from_f64(if relu { sum.max(0.0) } else { sum });
            }
            let mut y = before.clone();
            kernels.shift_add(ShiftAdd {
                products: &products,
                line_stride,
                rows: &rows,
                len,
                taps,
                shift,
                tap_step,
                column,
                channels,
                y: &mut y,
                y_stride,
                count,
                bias: with_bias.then_some(&*bias),
                relu,
            });
            assert_eq!(
                y, expected,
                "{kernels:?} channels={channels} count={count} taps={taps} shift={shift}"
            );
        }
    }

    #[test]
    fn sums_of_integers_are_exact() {
        battery::<f32>();
        battery::<f64>();
    }
}
