//! Transpositions: columns of a matrix as rows, and positions of a few channels as panels with the positions in the lanes.
//!
//! Elements are only moved: nothing depends on the width of a vector.

use super::lanes::{Element, Lanes};

use crate::tuning::LINE_BYTES;

/// Columns of a matrix that are to become rows: `to[i * row + j] = from[j * apart + i]`.
#[derive(Debug)]
pub struct Transpose<'a, T> {
    /// The columns, each contiguous.
    pub from: &'a [T],
    /// Distance of columns.
    pub apart: usize,
    /// The rows, each contiguous; what lies between them is left alone.
    pub to: &'a mut [T],
    /// Distance of rows.
    pub row: usize,
    /// How many rows.
    pub rows: usize,
    /// How many columns.
    pub columns: usize,
}

impl<T: Element> Transpose<'_, T> {
    /// Panics unless every element that is read or written lies inside its slice.
    pub(super) fn check(&self) {
        assert!(self.rows > 0 && self.columns > 0, "empty matrix");
        let fits = |count: usize, apart: usize, each: usize, len: usize| {
            (count - 1).checked_mul(apart).and_then(|n| n.checked_add(each)).is_some_and(|end| end <= len)
        };
        assert!(fits(self.columns, self.apart, self.rows, self.from.len()), "a column leaves the source");
        assert!(fits(self.rows, self.row, self.columns, self.to.len()), "a row leaves the target");
    }
}

/// The body that every tier's entry calls.
///
/// # Safety
/// As [`Lanes`]; the matrix passed [`Transpose::check`].
#[inline(always)]
pub(super) unsafe fn transpose<L: Lanes>(t: &mut Transpose<'_, L::Elem>) {
    // SAFETY: as the caller's.
    unsafe {
        match L::WIDTH {
            2 => squares::<L, 2>(t),
            4 => squares::<L, 4>(t),
            8 => squares::<L, 8>(t),
            16 => squares::<L, 16>(t),
            width => unreachable!("vectors of {width}"),
        }
    }
}

/// All squares of `W` rows and columns, those of a line of every column before the next line: columns are often a power
/// of two apart, and then few of their lines stay in the cache.
///
/// # Safety
/// As [`transpose`]; `W` is the width of a vector.
#[inline(always)]
unsafe fn squares<L: Lanes, const W: usize>(t: &mut Transpose<'_, L::Elem>) {
    let line = LINE_BYTES / size_of::<L::Elem>();
    for first in (0..t.rows).step_by(line) {
        for j in (0..t.columns).step_by(W) {
            let columns = W.min(t.columns - j);
            for i in (first..t.rows.min(first + line)).step_by(W) {
                let rows = W.min(t.rows - i);
                // SAFETY: as the caller's.
                unsafe {
                    if rows == W && columns == W {
                        square::<L, W, true>(t, (i, j), (W, W));
                    } else {
                        square::<L, W, false>(t, (i, j), (rows, columns));
                    }
                }
            }
        }
    }
}

/// One square, or what there is of it.
///
/// # Safety
/// As [`squares`]; the rows and columns from the given ones on are inside, and `W` each if it is `WHOLE`.
#[inline(always)]
unsafe fn square<L: Lanes, const W: usize, const WHOLE: bool>(
    t: &mut Transpose<'_, L::Elem>,
    (i, j): (usize, usize),
    (rows, columns): (usize, usize),
) {
    // SAFETY: as the caller's; parts of vectors are read and written under masks.
    unsafe {
        let [all_rows, all_columns] = [L::mask(rows), L::mask(columns)];
        let from = t.from.as_ptr().add(j * t.apart + i);
        let to = t.to.as_mut_ptr().add(i * t.row + j);
        let mut lines = [L::zero(); W];
        for l in 0..columns {
            let column = from.add(l * t.apart);
            lines[l] = if WHOLE { L::load(column) } else { L::load_masked(column, all_rows) };
            // The line behind the next: columns are too short, and too many, for the processor to see it coming.
            L::prefetch_far(column.wrapping_add(2 * LINE_BYTES / size_of::<L::Elem>()));
        }
        // Taking turns, two vectors rotate the bits of (vector, lane) by one: after all of a lane's they are exchanged.
        for _ in 0..W.ilog2() {
            let mut next = [L::zero(); W];
            for l in 0..W / 2 {
                let pair = [lines[l], lines[l + W / 2]];
                next[2 * l] = L::interleave(pair, 0);
                next[2 * l + 1] = L::interleave(pair, 1);
            }
            lines = next;
        }
        for l in 0..rows {
            let row = to.add(l * t.row);
            if WHOLE {
                L::store(row, lines[l]);
            } else {
                L::store_masked(row, all_columns, lines[l]);
            }
        }
    }
}

/// Positions of `k` channels that are to become panels as a [`super::Gemm`] reads them: the positions in the lanes, `k`
/// rows each. After the last position is anything.
#[derive(Debug)]
pub struct TransposePanels<'a, T> {
    /// Positions, `k` elements each; those after the last one help, because then whole vectors can be transposed.
    pub from: &'a [T],
    /// How many positions.
    pub count: usize,
    /// Channels.
    pub k: usize,
    /// The panels.
    pub to: &'a mut [T],
}

impl<T: Element> TransposePanels<'_, T> {
    /// Panics unless every element that is read or written lies inside its slice.
    pub(super) fn check(&self, panel: usize) {
        assert!(self.k > 0 && self.count <= self.from.len() / self.k, "positions");
        let panels = self.count.div_ceil(panel);
        assert!(panels.checked_mul(panel * self.k).is_some_and(|len| len <= self.to.len()), "panels");
    }
}

/// Reads one element of every cache line, in order: what is then read in another order is in L1, and memory has seen an
/// order in which it can fetch ahead.
#[inline(always)]
pub(super) fn touch<T: Copy>(elements: &[T]) {
    for element in elements.iter().step_by(LINE_BYTES / size_of::<T>()) {
        // SAFETY: a reference is valid to read.
        unsafe { std::ptr::read_volatile(element) };
    }
}

/// The body that every tier's entry calls.
///
/// # Safety
/// As [`Lanes`]; the panels passed [`TransposePanels::check`].
#[inline(always)]
pub(super) unsafe fn transpose_panels<L: Lanes>(t: &mut TransposePanels<'_, L::Elem>) {
    let TransposePanels { from, count, k, to } = t;
    let (count, k) = (*count, *k);
    let panel = 2 * L::WIDTH;
    let parts = k - k % L::PART;
    touch(&from[..count * k]);
    for first in (0..count).step_by(L::WIDTH) {
        let n = (count - first).min(L::WIDTH);
        let whole = if from.len() / k - first >= L::WIDTH { parts } else { 0 };
        // SAFETY: as the caller's: whole vectors of positions and parts of channels, then what is left.
        unsafe {
            let from = from.as_ptr().add(first * k);
            let to = to.as_mut_ptr().add(first / panel * panel * k + first % panel);
            for channel in (0..whole).step_by(L::PART) {
                L::transpose(from.add(channel), k, to.add(channel * panel), panel);
            }
            for channel in whole..k {
                for i in 0..n {
                    *to.add(channel * panel + i) = *from.add(i * k + channel);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::integers;
    use crate::kernels::{Kernels, Tier, pack};

    /// Positions in the lanes against their definition.
    fn panels_battery<T: Element>() {
        for kernels in Tier::available().into_iter().map(Kernels::<T>::of) {
            let panel = kernels.panel();
            for (positions, k) in [(1, 1), (1, 40), (7, 3), (16, 16), (33, 17), (70, 6), (64, 32), (129, 21)]
            {
                let from: Vec<T> = integers(positions * k, 1);
                let mut to = vec![T::ZERO; pack::panels_len(k, positions, panel)];
                // The last of them are after what is asked for.
                let count = positions.div_ceil(2);
                kernels.transpose_panels(TransposePanels { from: &from, count, k, to: &mut to });
                for (at, value) in from[..count * k].iter().enumerate() {
                    let (p, c) = (at / k, at % k);
                    assert_eq!(
                        to[p / panel * panel * k + c * panel + p % panel],
                        *value,
                        "{kernels:?} {positions} {k}"
                    );
                }
            }
        }
    }

    #[test]
    fn panels_hold_every_channel_of_every_position() {
        panels_battery::<f32>();
        panels_battery::<f64>();
    }
}
