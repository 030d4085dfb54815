//! Packs weights into column panels, so that the inner loop reads them front to back.

use super::lanes::Element;

/// Elements that [`panels`] writes for a matrix of `k` rows and `n` columns.
pub fn panels_len(k: usize, n: usize, panel: usize) -> usize {
    n.div_ceil(panel) * k * panel
}

/// Writes a matrix as panels of `panel` columns: `out[p][k][j] = at(k, p * panel + j)`, zero behind the last column.
///
/// Row `k` of the matrix is `source[row(k)..]` with its columns `column` apart.
///
/// # Panics
/// `out` does not have [`panels_len`] elements, or a row reaches outside of `source`.
pub fn panels<T: Element>(
    out: &mut [T],
    source: &[T],
    (k, n, panel): (usize, usize, usize),
    column: usize,
    row: impl Fn(usize) -> usize,
) {
    assert_eq!(out.len(), panels_len(k, n, panel));
    for (p, block) in out.chunks_exact_mut((k * panel).max(1)).enumerate() {
        let first = p * panel;
        let columns = panel.min(n - first);
        for (i, line) in block.chunks_exact_mut(panel).enumerate() {
            let start = row(i) + first * column;
            if column == 1 {
                line[..columns].copy_from_slice(&source[start..start + columns]);
            } else {
                for (j, cell) in line[..columns].iter_mut().enumerate() {
                    *cell = source[start + j * column];
                }
            }
            line[columns..].fill(T::ZERO);
        }
    }
}

/// Writes a matrix column by column: `out[j][i] = at(i, j)` for `k` rows and `n` columns; rows as in [`panels`].
///
/// # Panics
/// `out` does not have `k * n` elements, or a row reaches outside of `source`.
pub fn columns<T: Element>(
    out: &mut [T],
    source: &[T],
    (k, n): (usize, usize),
    column: usize,
    row: impl Fn(usize) -> usize,
) {
    assert_eq!(out.len(), k * n);
    for i in 0..k {
        let start = row(i);
        for j in 0..n {
            out[j * k + i] = source[start + j * column];
        }
    }
}
