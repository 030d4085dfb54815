//! Brings the taps of a kernel to the points, where they wait in panels: `packed[panel][point][direct tap][k][column]`.
//!
//! The planes of the points lie a power of two apart, so that lines written to each of them in turn would displace each
//! other in every cache. Some rows at a time are brought to the points in a room of their own, and the planes written from
//! there one after the other.

use crate::conv::Pass;
use crate::kernels::pack::panels_len;
use crate::kernels::winograd::{Form, From, MOST_POINTS};
use crate::kernels::{Element, Kernels, Stage, Transform, Transpose, fence, stream_copy};
use crate::tuning::LAST_LEVEL_BYTES;

/// Columns of the widest panel of packed weights of any tier.
const WIDEST_PANEL: usize = 32;
/// Taps of a tile at most.
pub(super) const MOST_TAPS: usize = 25;
/// Rows that are brought to the points at a time: a line of every column where these are to become rows.
const ROWS: usize = 16;
/// Elements of the rows of a panel; and with a line more, so that planes do not meet in the same sets.
const ROWS_LEN: usize = ROWS * WIDEST_PANEL;
const PLANE: usize = ROWS_LEN + 16;

/// Room for some rows of a panel: taps as rows, and points.
#[repr(align(64))]
struct Room<T> {
    taps: [T; MOST_TAPS * ROWS_LEN],
    points: [T; MOST_POINTS * PLANE],
}

impl<T: Element> Room<T> {
    fn new() -> Self {
        Self { taps: [T::ZERO; MOST_TAPS * ROWS_LEN], points: [T::ZERO; MOST_POINTS * PLANE] }
    }
}

/// What is packed, and how.
#[derive(Debug)]
pub(super) struct Packing<T: 'static> {
    pub kernels: &'static Kernels<T>,
    pub form: Form,
    /// Taps that are summed up directly.
    pub direct_taps: usize,
    /// Rows of a tap's matrix, and its columns.
    pub k: usize,
    pub n: usize,
    /// To the input, taps are reversed and the columns of the kernel are those of the matrix's transpose.
    pub pass: Pass,
}

impl<T: Element> Packing<T> {
    /// Elements of a panel for one direct tap, at a point.
    pub(super) fn matrix_len(&self) -> usize {
        self.k * self.kernels.panel()
    }

    /// Elements of a panel at a point.
    pub(super) fn plane_len(&self) -> usize {
        self.direct_taps * self.matrix_len()
    }

    /// Elements of a panel.
    pub(super) fn panel_len(&self) -> usize {
        self.form.points() * self.plane_len()
    }

    /// Elements of all panels.
    pub(super) fn len(&self) -> usize {
        self.form.points() * panels_len(self.direct_taps * self.k, self.n, self.kernels.panel())
    }

    /// Packs some panels, from element `first` of all on.
    pub(super) fn part(&self, kernel: &[T], first: usize, part: &mut [T]) {
        let (panel, mut room) = (self.kernels.panel(), Room::new());
        for (packed, number) in part.chunks_exact_mut(self.panel_len()).zip(first / self.panel_len()..) {
            let first = number * panel;
            if panel > self.n - first {
                room.points.fill(T::ZERO);
            }
            for tap in 0..self.direct_taps {
                for row in (0..self.k).step_by(ROWS) {
                    self.rows(kernel, (tap, row, first), packed, &mut room);
                }
            }
        }
        if self.non_temporal() {
            fence();
        }
    }

    fn non_temporal(&self) -> bool {
        self.len() * size_of::<T>() >= LAST_LEVEL_BYTES
    }

    /// The taps of a panel again, from what was packed: `taps[tap][k][column]`, direct taps outermost.
    pub(super) fn taps(&self, packed: &[T], taps: &mut [T]) {
        let (panel, form) = (self.kernels.panel(), self.form);
        let number = form.area(form.taps());
        for (direct, taps) in taps.chunks_exact_mut(number * self.matrix_len()).enumerate() {
            let at: [usize; MOST_POINTS] =
                std::array::from_fn(|p| p * self.plane_len() + direct * self.matrix_len());
            let places: [usize; MOST_TAPS] = std::array::from_fn(|tap| tap * self.matrix_len());
            self.kernels.transform(&mut Transform {
                form,
                stage: Stage::Taps,
                from: From::Slice(packed),
                at: &at[..form.points()],
                from_step: panel,
                to: taps,
                places: &places[..number],
                to_step: panel,
                count: self.k,
                channels: panel,
                bias: None,
                relu: false,
                extremes: &mut [],
            });
        }
    }

    /// Packs some rows of a direct tap's matrix, the columns from `first` on.
    fn rows(
        &self,
        kernel: &[T],
        (tap, row, first): (usize, usize, usize),
        packed: &mut [T],
        room: &mut Room<T>,
    ) {
        let &Self { kernels, form, k, n, .. } = self;
        let (panel, points, taps) = (kernels.panel(), form.points(), form.area(form.taps()));
        let (rows, columns) = (ROWS.min(k - row), panel.min(n - first));
        let mut at: [usize; MOST_TAPS] = std::array::from_fn(|i| ((tap * taps + i) * k + row) * n + first);
        let (mut from, mut from_step) = (kernel, n);
        if self.pass == Pass::InputGrad {
            let last = self.direct_taps * taps - 1;
            for (i, to) in room.taps.chunks_exact_mut(ROWS_LEN).take(taps).enumerate() {
                let start = ((last - tap * taps - i) * n + first) * k + row;
                let from = &kernel[start..];
                kernels.transpose(Transpose {
                    from,
                    from_stride: k,
                    to,
                    row: panel,
                    rows,
                    columns,
                    ps: panel,
                    near: false,
                });
            }
            at = std::array::from_fn(|i| i * ROWS_LEN);
            (from, from_step) = (&room.taps, panel);
        }
        let places: [usize; MOST_POINTS] = std::array::from_fn(|p| p * PLANE);
        kernels.transform(&mut Transform {
            form,
            stage: Stage::Kernel,
            from: From::Slice(from),
            at: &at[..taps],
            from_step,
            to: &mut room.points,
            places: &places[..points],
            to_step: panel,
            count: rows,
            channels: columns,
            bias: None,
            relu: false,
            extremes: &mut [],
        });
        let start = tap * self.matrix_len() + row * panel;
        for (plane, from) in room.points.chunks_exact(PLANE).take(points).enumerate() {
            let start = plane * self.plane_len() + start;
            let (from, to) = (&from[..rows * panel], &mut packed[start..start + rows * panel]);
            if self.non_temporal() {
                stream_copy(from, to);
            } else {
                to.copy_from_slice(from);
            }
        }
    }
}
