//! Packs weights into column panels, so that the inner loop reads them front to back.

use super::lanes::Element;

/// Elements of the panels for a matrix of `k` rows and `n` columns.
pub fn panels_len(k: usize, n: usize, panel: usize) -> usize {
    n.div_ceil(panel) * k * panel
}

/// Writes a matrix of `k` rows and `n` columns, so far `apart`, as panels of `panel` columns.
///
/// # Panics
/// As [`Matrix::panels`]; `out` does not have [`panels_len`] elements.
pub fn panels<T: Element>(
    out: &mut [T],
    source: &[T],
    (k, n, panel): (usize, usize, usize),
    apart: [usize; 2],
) {
    assert_eq!(out.len(), panels_len(k, n, panel));
    Matrix { source, k, n, taps: 1, apart, tap: &|_| 0 }.panels(out, 0, panel);
}

/// A matrix of taps times `k` channels in rows and `n` columns, somewhere in a kernel.
pub struct Matrix<'a, T> {
    /// The kernel.
    pub source: &'a [T],
    /// Rows of a tap.
    pub k: usize,
    /// Columns.
    pub n: usize,
    /// Taps.
    pub taps: usize,
    /// Distances of rows of a tap and of columns; one of them is 1.
    pub apart: [usize; 2],
    /// Where a tap starts.
    pub tap: &'a dyn Fn(usize) -> usize,
}

impl<T> std::fmt::Debug for Matrix<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Matrix({} taps of {} x {})", self.taps, self.k, self.n)
    }
}

impl<T: Element> Matrix<'_, T> {
    /// Writes panels of `panel` columns: `out[p][i][j] = at(i, p * panel + j)`, zero behind the last column; of them
    /// all the elements from `first` on, as many as `out` has.
    ///
    /// # Panics
    /// `out` does not hold whole rows of panels, or reaches beyond the last; a tap reaches outside of the source.
    pub fn panels(&self, out: &mut [T], first: usize, panel: usize) {
        assert!(first.is_multiple_of(panel) && out.len().is_multiple_of(panel), "whole rows");
        let rows = self.taps * self.k;
        let mut row = first / panel;
        let mut rest = out;
        while !rest.is_empty() {
            let (p, i) = (row / rows, row % rows);
            // Rows of one tap at a time.
            let count = (self.k - i % self.k).min(rest.len() / panel);
            let (block, behind) = rest.split_at_mut(count * panel);
            let columns = panel.min(self.n - p * panel);
            let [apart, column] = self.apart;
            let start = (self.tap)(i / self.k) + i % self.k * apart + p * panel * column;
            if column == 1 {
                for (line, i) in block.chunks_exact_mut(panel).zip(0..) {
                    let start = start + i * apart;
                    line[..columns].copy_from_slice(&self.source[start..start + columns]);
                    line[columns..].fill(T::ZERO);
                }
            } else {
                transpose(block, &self.source[start..], (columns, panel), column);
            }
            rest = behind;
            row += count;
        }
    }

    /// Writes the matrix column by column: `out[j][i] = at(i, j)`.
    ///
    /// # Panics
    /// `out` has another length; a tap reaches outside of the source.
    pub fn columns(&self, out: &mut [T]) {
        let rows = self.taps * self.k;
        assert_eq!(out.len(), rows * self.n);
        for tap in 0..self.taps {
            let start = (self.tap)(tap);
            for i in 0..self.k {
                for j in 0..self.n {
                    out[j * rows + tap * self.k + i] =
                        self.source[start + i * self.apart[0] + j * self.apart[1]];
                }
            }
        }
    }
}

/// `out[i][j] = source[j * apart + i]` for `columns` of `panel` columns, zero behind them.
fn transpose<T: Element>(out: &mut [T], source: &[T], (columns, panel): (usize, usize), apart: usize) {
    // Rows at a time: a line of every column of the source is read once, and the lines written stay in L1.
    const ROWS: usize = 16;
    for (block, first) in out.chunks_mut(ROWS * panel).zip((0..).step_by(ROWS)) {
        let rows = block.len() / panel;
        for j in 0..columns {
            let from = &source[j * apart + first..][..rows];
            for (cell, value) in block[j..].iter_mut().step_by(panel).zip(from) {
                *cell = *value;
            }
        }
        block.chunks_exact_mut(panel).for_each(|line| line[columns..].fill(T::ZERO));
    }
}
