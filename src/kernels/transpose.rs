//! The transposition: columns of a matrix as rows, for [`super::pack`], and for positions of a few channels that become
//! panels with the positions in the lanes.
//!
//! Elements are only moved: nothing depends on the width of a vector.

use super::lanes::{Element, Lanes};

use crate::tuning::LINE_BYTES;

/// Columns of a matrix that are to become rows: `to[i * row + j] = from[j * from_stride + i]`, in panels of `Kernels::panel`
/// columns: `j` counts within a panel.
#[derive(Debug)]
pub struct Transpose<'a, T> {
    /// The columns, each contiguous.
    pub from: &'a [T],
    /// Distance of columns.
    pub from_stride: usize,
    /// The rows, each contiguous; what lies between them is left alone.
    pub to: &'a mut [T],
    /// Distance of rows.
    pub row: usize,
    /// How many rows.
    pub rows: usize,
    /// How many columns.
    pub columns: usize,
    /// Distance of panels in `to`; as many elements as a panel has columns where the rows run on.
    pub ps: usize,
    /// Whether the columns lie close together and are in L1: then nothing is asked for ahead.
    pub near: bool,
}

impl<T: Element> Transpose<'_, T> {
    /// Panics unless every element that is read or written lies inside its slice, for panels of `panel` columns.
    pub(super) fn check(&self, panel: usize) {
        assert!(self.rows > 0 && self.columns > 0, "empty matrix");
        let fits = |count: usize, from_stride: usize, each: usize, len: usize| {
            (count - 1)
                .checked_mul(from_stride)
                .and_then(|n| n.checked_add(each))
                .is_some_and(|end| end <= len)
        };
        assert!(
            fits(self.columns, self.from_stride, self.rows, self.from.len()),
            "a column leaves the source"
        );
        // Most have one panel, and are too short to wait for divisions.
        let before = if self.columns <= panel { 0 } else { self.columns.div_ceil(panel) - 1 };
        // So what lies in the last panel lies in those before it, which are full, too.
        assert!(self.ps >= panel || before == 0, "panels overlap");
        let last = before.checked_mul(self.ps).and_then(|last| self.to.len().checked_sub(last));
        let last = last.expect("a panel leaves the target");
        assert!(fits(self.rows, self.row, self.columns - before * panel, last), "a row leaves the target");
    }
}

impl<T> Transpose<'_, T> {
    /// Where column `j` of the first row goes.
    #[inline(always)]
    fn start(&self, j: usize, panel: usize) -> usize {
        j / panel * self.ps + j % panel
    }
}

/// The body that every tier's entry calls.
///
/// Blocks of a line of every column come before those of the next line: columns are often a power of two apart, and then
/// few of their lines stay in the cache. Of columns that are near, whole vectors come first, one after the other.
///
/// # Safety
/// As [`Lanes`]; the matrix passed [`Transpose::check`].
#[inline(always)]
pub(super) unsafe fn transpose<L: Lanes>(t: &mut Transpose<'_, L::Elem>) {
    let line = LINE_BYTES / size_of::<L::Elem>();
    // SAFETY: as the caller's.
    let done = if t.near && t.rows >= L::PART { unsafe { vectors::<L>(t) } } else { 0 };
    for first in (0..t.rows).step_by(line) {
        let rows = line.min(t.rows - first);
        for j in (done..t.columns).step_by(L::WIDTH) {
            let columns = L::WIDTH.min(t.columns - j);
            // SAFETY: as the caller's; rows and columns stay inside the matrix.
            unsafe { block::<L>(t, (first, j), (rows, columns)) };
        }
    }
}

/// The columns that make whole vectors, in parts of registers; how many these are. The last part of a vector may move rows
/// once more that the part before it has moved.
///
/// # Safety
/// As [`transpose`]; there are at least as many rows as a part has.
#[inline(always)]
unsafe fn vectors<L: Lanes>(t: &mut Transpose<'_, L::Elem>) -> usize {
    debug_assert!(t.rows >= L::PART);
    let done = t.columns - t.columns % L::WIDTH;
    for j in (0..done).step_by(L::WIDTH) {
        // SAFETY: as the caller's; rows and columns stay inside the matrix.
        unsafe {
            let from = t.from.as_ptr().add(j * t.from_stride);
            let to = t.to.as_mut_ptr().add(t.start(j, 2 * L::WIDTH));
            let mut part = 0;
            while part < t.rows {
                let row = part.min(t.rows - L::PART);
                L::transpose(from.add(row), t.from_stride, to.add(row * t.row), t.row);
                part += L::PART;
            }
        }
    }
    done
}

/// A line of a vector of columns: parts of registers where these are whole, else squares under masks.
///
/// # Safety
/// As [`transpose`]; the rows and columns from the given ones on are inside, at most a vector of columns.
#[inline(always)]
unsafe fn block<L: Lanes>(
    t: &mut Transpose<'_, L::Elem>,
    (i, j): (usize, usize),
    (rows, columns): (usize, usize),
) {
    debug_assert!(columns <= L::WIDTH && i + rows <= t.rows && j + columns <= t.columns);
    let whole = if columns == L::WIDTH { rows - rows % L::PART } else { 0 };
    let line = LINE_BYTES / size_of::<L::Elem>();
    // SAFETY: as the caller's.
    unsafe {
        let from = t.from.as_ptr().add(j * t.from_stride + i);
        let to = t.to.as_mut_ptr().add(i * t.row + t.start(j, 2 * L::WIDTH));
        if !t.near {
            for l in 0..columns {
                // The line after the next: columns are too short, and too many, for the processor to see it coming.
                L::prefetch_far(from.wrapping_add(l * t.from_stride + 2 * line));
            }
        }
        for part in (0..whole).step_by(L::PART) {
            L::transpose(from.add(part), t.from_stride, to.add(part * t.row), t.row);
        }
        for first in (whole..rows).step_by(L::WIDTH) {
            let n = L::WIDTH.min(rows - first);
            let (i, j) = (i + first, j);
            match L::WIDTH {
                2 => square::<L, 2>(t, (i, j), (n, columns)),
                4 => square::<L, 4>(t, (i, j), (n, columns)),
                8 => square::<L, 8>(t, (i, j), (n, columns)),
                16 => square::<L, 16>(t, (i, j), (n, columns)),
                width => unreachable!("vectors of {width}"),
            }
        }
    }
}

/// What there is of a square of `W` rows and columns.
///
/// # Safety
/// As [`block`]; `W` is the width of a vector, and there are no more rows than that.
#[inline(always)]
unsafe fn square<L: Lanes, const W: usize>(
    t: &mut Transpose<'_, L::Elem>,
    (i, j): (usize, usize),
    (rows, columns): (usize, usize),
) {
    // SAFETY: as the caller's; parts of vectors are read and written under masks.
    unsafe {
        let [all_rows, all_columns] = [L::mask(rows), L::mask(columns)];
        let from = t.from.as_ptr().add(j * t.from_stride + i);
        let to = t.to.as_mut_ptr().add(i * t.row + t.start(j, 2 * L::WIDTH));
        let mut lines = [L::zero(); W];
        for l in 0..columns {
            lines[l] = L::load_masked(from.add(l * t.from_stride), all_rows);
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
            L::store_masked(to.add(l * t.row), all_columns, lines[l]);
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

impl<'a, T: Element> TransposePanels<'a, T> {
    /// The positions as columns of a matrix of `k` rows, for panels of `panel` columns and vectors of `width` lanes.
    ///
    /// # Panics
    /// There are fewer positions than that.
    #[inline]
    pub(super) fn columns(self, panel: usize, width: usize) -> Transpose<'a, T> {
        let Self { from, count, k, to } = self;
        assert!(k > 0 && count <= from.len() / k, "positions");
        touch(&from[..count * k]);
        let columns = count.next_multiple_of(width).min(from.len() / k);
        Transpose { from, from_stride: k, to, row: panel, rows: k, columns, ps: panel * k, near: true }
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
