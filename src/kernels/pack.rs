//! Packs weights into column panels, so that the inner loop reads them front to back.

use super::lanes::Element;
use super::table::Kernels;
use super::transpose::Transpose;

/// Elements of the panels for a matrix of `k` rows and `n` columns.
pub fn panels_len(k: usize, n: usize, panel: usize) -> usize {
    n.div_ceil(panel) * k * panel
}

/// Writes a matrix of `k` rows and `n` columns, with the strides of both, as panels.
///
/// # Panics
/// As [`Matrix::panels`]; `out` does not have [`panels_len`] elements.
pub fn panels<T: Element>(
    out: &mut [T],
    source: &[T],
    (k, n): (usize, usize),
    strides: [usize; 2],
    kernels: &Kernels<T>,
) {
    assert_eq!(out.len(), panels_len(k, n, kernels.panel()));
    Matrix { source, k, n, taps: 1, strides, tap: &|_| 0 }.panels(out, 0, kernels);
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
    /// Of the rows of a tap, and of columns; one of them is 1.
    pub strides: [usize; 2],
    /// Where a tap starts.
    pub tap: &'a dyn Fn(usize) -> usize,
}

impl<T> std::fmt::Debug for Matrix<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Matrix({} taps of {} x {})", self.taps, self.k, self.n)
    }
}

impl<T: Element> Matrix<'_, T> {
    /// Writes panels of as many columns as the kernels want: `out[p][i][j] = at(i, p * panel + j)`, zero after the last
    /// column; of them all the elements from `first` on, as many as `out` has.
    ///
    /// # Panics
    /// `out` does not hold whole rows of panels, or reaches beyond the last; a tap reaches outside of the source.
    pub fn panels(&self, out: &mut [T], first: usize, kernels: &Kernels<T>) {
        let panel = kernels.panel();
        assert!(first.is_multiple_of(panel) && out.len().is_multiple_of(panel), "whole rows");
        let rows = self.taps * self.k;
        let mut row = first / panel;
        let mut rest = out;
        while !rest.is_empty() {
            let (p, i) = (row / rows, row % rows);
            // Rows of one tap at a time.
            let count = (self.k - i % self.k).min(rest.len() / panel);
            let (block, after) = rest.split_at_mut(count * panel);
            let columns = panel.min(self.n - p * panel);
            let [row_stride, column_stride] = self.strides;
            let start = (self.tap)(i / self.k) + i % self.k * row_stride + p * panel * column_stride;
            if column_stride == 1 {
                for (line, i) in block.chunks_exact_mut(panel).zip(0..) {
                    let start = start + i * row_stride;
                    line[..columns].copy_from_slice(&self.source[start..start + columns]);
                    line[columns..].fill(T::ZERO);
                }
            } else {
                kernels.transpose(Transpose {
                    from: &self.source[start..],
                    from_stride: column_stride,
                    to: block,
                    row: panel,
                    rows: count,
                    columns,
                    ps: panel,
                    near: false,
                });
                if columns < panel {
                    block.chunks_exact_mut(panel).for_each(|line| line[columns..].fill(T::ZERO));
                }
            }
            rest = after;
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
                        self.source[start + i * self.strides[0] + j * self.strides[1]];
                }
            }
        }
    }
}
