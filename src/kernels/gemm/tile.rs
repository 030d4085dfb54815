//! The microkernel: an outer-product tile `acc[MR][NV] += broadcast(A[m, k]) * B[k, vector]` (Goto and van de Geijn 2008,
//! "Anatomy of high-performance matrix multiplication", doi 10.1145/1356052.1356053; named as in BLIS, Van Zee and van de
//! Geijn 2015, doi 10.1145/2764454).
//!
//! One body serves convolution forward and to the input (`k` contiguous in A: taps and channels), kernel
//! gradients (`m` contiguous in A: the taps become the rows of the result and `k` walks over positions) and dense
//! layers. Every element of the result is one chain of multiply-adds in the order (batch, k), so tile sizes, vector
//! width and thread count cannot change a bit of it.

use std::ops::Range;

use super::few;
use super::multi_row::{self, LENGTHS, RowGroups};
use super::planar;
use super::streamed::{self, Stage};
use crate::kernels::lanes::{Element, Lanes};
use crate::tuning::gemm::{FETCH_RESULT, SPARSE_ROWS};
use crate::tuning::{LINE_BYTES, NEAR_WEIGHTS_BYTES, TWO_TILES_ROWS};

/// Operands of a batch, as offsets into A and B.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offsets {
    /// Offset into A of its `A[0, 0]`.
    pub a: usize,
    /// Offset into B of its `B[0, 0]`.
    pub b: usize,
}

/// What an accumulator starts from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start<'a, T> {
    /// Zero.
    Zero,
    /// One value per column.
    Bias(&'a [T]),
    /// What the result holds already: the chain goes on.
    Result,
}

/// A strided batch: rows of a map, for each of which a product is computed; A and C have constant strides from row to row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StridedBatch {
    /// How many.
    pub count: usize,
    /// Stride in A.
    pub a: usize,
    /// Stride in C.
    pub c: usize,
}

impl StridedBatch {
    /// One.
    pub const ONE: Self = Self { count: 1, a: 0, c: 0 };
}

/// How the right operand lies in memory, and with it the left one: a kernel reads one of them along `k`, and the other
/// across.
#[derive(Debug, Clone, Copy)]
pub enum B<'a, T> {
    /// Panels of `Kernels::panel` columns, padded to full width, the rows of a panel one after the other. `k` is contiguous
    /// in A.
    Packed {
        /// The panels.
        b: &'a [T],
        /// Stride of the panels.
        ps_b: usize,
        /// Stride of rows in A.
        rs_a: usize,
    },
    /// Rows as they are. Rows of A are neighbours, or such in several groups.
    InPlace {
        /// The rows.
        b: &'a [T],
        /// Stride of rows, which are `k`.
        rs_b: usize,
        /// Stride of `k` in A.
        cs_a: usize,
        /// How the rows of A are grouped: one group, or several of [`LENGTHS`] rows each if the chains go on from the
        /// result and are stored as they are.
        row_groups: RowGroups,
    },
}

/// What an element starts from, and what happens to it at the store.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Store<'a, T> {
    /// What the chains start from.
    pub start: Start<'a, T>,
    /// Whether negative results become zero.
    pub relu: bool,
    /// Whether the result is not to stay in the cache; before another thread reads it, [`crate::kernels::fence`] is called.
    /// Of packed operands only.
    pub non_temporal: bool,
}

impl<'a, T> Store<'a, T> {
    /// Sums of products and nothing else.
    pub const PLAIN: Self = Self::from(Start::Zero);
    /// Sums that go on from the result.
    pub const ADD: Self = Self::from(Start::Result);

    /// Sums that start so, stored as they are.
    pub const fn from(start: Start<'a, T>) -> Self {
        Self { start, relu: false, non_temporal: false }
    }

    /// Sums that start from a bias, or zero, and go through a ReLU or not.
    pub fn with(bias: Option<&'a [T]>, relu: bool) -> Self {
        Self { start: bias.map_or(Start::Zero, Start::Bias), relu, non_temporal: false }
    }
}

/// `C[m, n] = start + sum over batch and k of A[m, k] * B[k, n]`, as a whole problem.
#[derive(Debug)]
pub struct Gemm<'a, T> {
    /// Left operand.
    pub a: &'a [T],
    /// Right operand, and the strides of both.
    pub b: B<'a, T>,
    /// The operands of the batch, in summation order.
    pub batch: &'a [Offsets],
    /// Length of the sum of each.
    pub k: usize,
    /// Result.
    pub c: &'a mut [T],
    /// Stride of rows in C.
    pub rs_c: usize,
    /// Rows.
    pub m: usize,
    /// Columns.
    pub n: usize,
    /// Start and end of every element.
    pub store: Store<'a, T>,
}

impl<'a, T> Gemm<'a, T> {
    /// The same for the kernels of a tier with panels of `panel` columns.
    #[inline(always)]
    pub(in crate::kernels) fn strided(self, panel: usize) -> Strided<'a, T> {
        let Self { a, b, batch, k, c, rs_c, m, n, store: Store { start, relu, non_temporal } } = self;
        let (b_packed, b, rs_b, ps_b, rs_a, cs_a, row_groups) = match b {
            B::Packed { b, ps_b, rs_a } => (true, b, panel, ps_b, rs_a, 1, RowGroups::ONE),
            B::InPlace { b, rs_b, cs_a, row_groups } => (false, b, rs_b, panel, 1, cs_a, row_groups),
        };
        Strided {
            a,
            rs_a,
            cs_a,
            row_groups,
            b,
            rs_b,
            ps_b,
            b_packed,
            batch,
            k,
            c,
            rs_c,
            m,
            n,
            start,
            relu,
            non_temporal,
        }
    }
}

/// A [`Gemm`] with all of its strides, as kernels read it.
#[derive(Debug)]
pub(in crate::kernels) struct Strided<'a, T> {
    /// Left operand.
    pub a: &'a [T],
    /// Stride of rows in A.
    pub rs_a: usize,
    /// Stride of `k` in A.
    pub cs_a: usize,
    /// How the rows of A are grouped: one group, or several of [`LENGTHS`] rows each if B is read in place and the chains
    /// go on from the result.
    pub row_groups: RowGroups,
    /// Right operand.
    pub b: &'a [T],
    /// Stride of `k` in B.
    pub rs_b: usize,
    /// Stride of the column panels (`Kernels::panel` columns wide) in B.
    pub ps_b: usize,
    /// Whether B is packed: panels padded to full width and `cs_a == 1`. Otherwise B is read in place and `rs_a == 1`.
    pub b_packed: bool,
    /// The operands of the batch, in summation order.
    pub batch: &'a [Offsets],
    /// Length of the sum of each.
    pub k: usize,
    /// Result.
    pub c: &'a mut [T],
    /// Stride of rows in C.
    pub rs_c: usize,
    /// Rows.
    pub m: usize,
    /// Columns.
    pub n: usize,
    /// What the chains start from.
    pub start: Start<'a, T>,
    /// Whether negative results become zero at the store.
    pub relu: bool,
    /// Whether the result is not to stay in the cache; before another thread reads it, [`crate::kernels::fence`] is called.
    pub non_temporal: bool,
}

impl<T: Element> Strided<'_, T> {
    /// Panics unless every element that a tier with panels of `panel` columns will touch lies inside its slice.
    pub(in crate::kernels) fn check(&self, panel: usize, maps: StridedBatch) {
        let last =
            |n: usize, stride: usize| n.saturating_sub(1).checked_mul(stride).expect("stride overflow");
        assert!(self.m > 0 && self.n > 0 && self.k > 0, "empty product");
        // Small products are called by the hundred, and a division takes as long as a dozen multiply-adds: most have one
        // group of rows and one panel.
        let lines = self.row_groups.count();
        let mut group = self.m;
        if lines != 1 {
            let plain = !self.relu && matches!(self.start, Start::Result);
            assert!(plain, "groups of rows are stored as they are");
            assert!(LENGTHS.iter().any(|rows| rows * lines == self.m), "rows of a line");
            group = self.m / lines;
        }
        let panels = if self.n <= panel { 1 } else { self.n.div_ceil(panel) };
        let width = if self.b_packed { panel } else { self.n - (panels - 1) * panel };
        let rows = self.row_groups.reach().checked_add(last(group, self.rs_a)).expect("size overflow");
        let a_reach = rows + last(self.k, self.cs_a) + last(maps.count, maps.a);
        // Panels before the last one are read to their full width.
        assert!(self.ps_b >= panel || panels == 1 || self.batch.is_empty(), "panels of B overlap");
        let b_reach = last(self.k, self.rs_b) + last(panels, self.ps_b) + (width - 1);
        for offsets in self.batch {
            assert!(offsets.a < self.a.len() && a_reach < self.a.len() - offsets.a, "A is too short");
            assert!(offsets.b < self.b.len() && b_reach < self.b.len() - offsets.b, "B is too short");
        }
        let c_reach = last(self.m, self.rs_c) + self.n;
        assert!(last(maps.count, maps.c) + c_reach <= self.c.len(), "C is too short");
        assert!(maps.c >= c_reach || maps.count == 1, "results of a strided batch overlap");
        assert!(self.rs_c >= self.n || self.m == 1, "rows of C overlap");
        if let Start::Bias(bias) = self.start {
            assert_eq!(bias.len(), self.n, "bias length");
        }
    }

    /// Whether the weights do not stay in L2 from one row of the map to the next.
    #[inline(always)]
    pub(in crate::kernels) fn outgrows_cache(&self, maps: StridedBatch) -> bool {
        let bytes = self.batch.len() * self.k * self.n * size_of::<T>();
        bytes >= NEAR_WEIGHTS_BYTES && self.b_packed && maps.count * self.m > TWO_TILES_ROWS / 2
    }

    /// The columns, in runs of whole panels that are computed for all rows of the map before the next run: a panel stays in
    /// L2. The last run is never shorter than a panel, so that no kernel for few columns takes it.
    pub(in crate::kernels) fn columns_together(
        &self,
        panel: usize,
    ) -> impl Iterator<Item = Range<usize>> + use<T> {
        let (n, runs) = (self.n, (self.n / panel).max(1));
        (0..runs).map(move |run| run * panel..if run + 1 == runs { n } else { (run + 1) * panel })
    }

    /// The part of the product that some columns are, from the start of a panel on.
    #[inline(always)]
    pub(in crate::kernels) fn some_columns(&mut self, columns: Range<usize>, panel: usize) -> Strided<'_, T> {
        let start = match self.start {
            Start::Bias(bias) => Start::Bias(&bias[columns.clone()]),
            start => start,
        };
        // Without a batch B may be empty.
        let b = self.b.get(columns.start / panel * self.ps_b..).unwrap_or_default();
        Strided { b, c: &mut self.c[columns.start..], n: columns.len(), start, ..*self }
    }

    /// Moves on to the next row of the map.
    #[inline(always)]
    pub(in crate::kernels) fn advance(&mut self, maps: StridedBatch) {
        // Without a batch A may be empty.
        self.a = self.a.get(maps.a..).unwrap_or_default();
        self.c = &mut std::mem::take(&mut self.c)[maps.c..];
    }
}

/// Splits `m` rows into equal tiles of at most `most` rows: `(tiles, rows of the larger ones, how many are larger)`.
///
/// A row of 32 becomes 11 + 11 + 10 and not 14 + 14 + 4: a small tail tile cannot hide the latency of its chains.
#[inline(always)]
fn balanced(m: usize, most: usize) -> (usize, usize, usize) {
    let tiles = m.div_ceil(most);
    let base = m / tiles;
    (tiles, base, m % tiles)
}

/// One tile of at most two vectors of columns.
///
/// # Safety
/// All that the forms of a product ask of their callers comes down to this list:
/// 1. The CPU has the instructions of `L`.
/// 2. `p` passed [`Strided::check`] for panels of two vectors of the tier: every element of A and of B that a row and a
///    panel of the product meet lies inside its slice, and a bias has `n` elements.
/// 3. `K_CONTIGUOUS` says whether B is packed, and one of the strides of A is 1 accordingly.
/// 4. `row..row + MR` lies inside `0..m`, `column..column + columns` inside `0..n`, and the panel starts at `column`.
/// 5. There are `NV` vectors of columns, of which the last may be short, but not empty.
/// 6. `c` is where the element (0, 0) of the result is, or would be if the tile, at a place of its own, were a part of
///    it: its rows, `rs_c` apart, are valid there, for reading too if the chains go on from the result.
#[inline(always)]
pub(in crate::kernels) unsafe fn tile<
    L: Lanes,
    const MR: usize,
    const NV: usize,
    const K_CONTIGUOUS: bool,
>(
    p: &Strided<L::Elem>,
    c: *mut L::Elem,
    row: usize,
    panel: usize,
    column: usize,
    columns: usize,
) {
    debug_assert!(row + MR <= p.m && column + columns <= p.n, "4");
    debug_assert!(K_CONTIGUOUS == p.b_packed && if K_CONTIGUOUS { p.cs_a == 1 } else { p.rs_a == 1 }, "3");
    debug_assert!(columns > (NV - 1) * L::WIDTH && columns <= NV * L::WIDTH, "5");
    // SAFETY: offsets below stay inside the tile.
    unsafe {
        let last = L::mask(columns - (NV - 1) * L::WIDTH);
        let full = columns == NV * L::WIDTH;
        // Wrapping, because the place of a tile on a stage is seen from outside of it.
        let c = c.wrapping_add(row * p.rs_c + column);
        let mut acc = [[L::zero(); NV]; MR];
        match p.start {
            Start::Zero => {}
            Start::Bias(bias) => {
                let bias = bias.as_ptr().add(column);
                for j in 0..NV {
                    let at = bias.add(j * L::WIDTH);
                    let v = if j + 1 == NV { L::load_masked(at, last) } else { L::load(at) };
                    for i in 0..MR {
                        acc[i][j] = v;
                    }
                }
            }
            Start::Result => {
                for i in 0..MR {
                    for j in 0..NV {
                        let at = c.add(i * p.rs_c + j * L::WIDTH);
                        let masked = j + 1 == NV && (L::FEW == 1 || !full);
                        acc[i][j] = if masked { L::load_masked(at, last) } else { L::load(at) };
                    }
                }
            }
        }
        let rs_a = if K_CONTIGUOUS { p.rs_a } else { 1 };
        let cs_a = if K_CONTIGUOUS { 1 } else { p.cs_a };
        if K_CONTIGUOUS && p.k * p.batch.len() >= FETCH_RESULT {
            // The sums take longer than the result's way into the cache.
            for i in 0..MR {
                for j in 0..NV {
                    L::prefetch(c.wrapping_add(i * p.rs_c + j * L::WIDTH));
                }
            }
        }
        // Wrapping, because without a batch the operands may be empty.
        let a_row = p.a.as_ptr().wrapping_add(row * rs_a);
        let ps_b = p.b.as_ptr().wrapping_add(panel * p.ps_b);
        // The hardware does not see streams whose rows lie a kilobyte apart (pointwise convolutions): the lines of the
        // next tile are asked for while this one is computed.
        let sparse = K_CONTIGUOUS && rs_a * size_of::<L::Elem>() >= SPARSE_ROWS;
        // Nor those of a gradient to the kernel, whose next call most likely goes on after this one.
        let next = !K_CONTIGUOUS && panel == 0 && cs_a * size_of::<L::Elem>() >= SPARSE_ROWS;
        for offsets in p.batch {
            let mut a = a_row.wrapping_add(offsets.a);
            let mut b = ps_b.wrapping_add(offsets.b);
            let mut left = p.k;
            while left > 0 {
                let count = if sparse || next { left.min(LINE_BYTES / size_of::<L::Elem>()) } else { left };
                left -= count;
                if sparse {
                    for i in 0..MR {
                        L::prefetch(a.wrapping_add((MR + i) * rs_a));
                    }
                }
                if next {
                    for i in 0..count {
                        L::prefetch_far(a.wrapping_add((p.k + i) * cs_a));
                    }
                }
                let mut single = count;
                if const { L::FEW > 1 && K_CONTIGUOUS } {
                    single = count % L::FEW;
                    for _ in 0..count / L::FEW {
                        few::along_k::<L, MR, NV>((a, rs_a), (b, p.rs_b), &mut acc);
                        a = a.wrapping_add(L::FEW);
                        b = b.wrapping_add(L::FEW * p.rs_b);
                    }
                }
                if const { L::FEW > 1 && !K_CONTIGUOUS } && full {
                    single = count % 2;
                    for _ in 0..count / 2 {
                        few::across_two::<L, MR, NV>((a, cs_a), (b, p.rs_b), &mut acc);
                        a = a.wrapping_add(2 * cs_a);
                        b = b.wrapping_add(2 * p.rs_b);
                    }
                }
                for _ in 0..single {
                    let mut bv = [L::zero(); NV];
                    for j in 0..NV {
                        let at = b.add(j * L::WIDTH);
                        let masked = !K_CONTIGUOUS && j + 1 == NV && (L::MASKS_ARE_FREE || !full);
                        bv[j] = if masked { L::load_masked_in_loop(at, last) } else { L::load(at) };
                    }
                    if const { L::FEW > 1 && !K_CONTIGUOUS } {
                        few::outer::<L, MR, NV>(a, &bv, &mut acc);
                    } else {
                        for i in 0..MR {
                            let av = L::splat(*a.add(i * rs_a));
                            for j in 0..NV {
                                acc[i][j] = L::mul_add(av, bv[j], acc[i][j]);
                            }
                        }
                    }
                    a = a.wrapping_add(cs_a);
                    b = b.wrapping_add(p.rs_b);
                }
            }
        }
        if const { L::FEW > 1 } {
            if p.relu {
                for i in 0..MR {
                    for j in 0..NV {
                        acc[i][j] = L::relu(acc[i][j]);
                    }
                }
            }
            return few::store::<L, MR, NV>(&acc, (c, p.rs_c), (last, full));
        }
        for i in 0..MR {
            for j in 0..NV {
                let v = if p.relu { L::relu(acc[i][j]) } else { acc[i][j] };
                let at = c.add(i * p.rs_c + j * L::WIDTH);
                if j + 1 == NV && (L::MASKS_ARE_FREE || !full) {
                    L::store_masked(at, last, v);
                } else {
                    L::store(at, v);
                }
            }
        }
    }
}

/// How many rows the tiles of a tier may have: so many that the accumulators fill its registers and do not spill.
pub(in crate::kernels) trait Heights {
    /// The most.
    const MOST: usize;

    /// The tile with `rows` rows and `NV` vectors.
    ///
    /// # Safety
    /// As [`tile`]; `rows` is at most `MOST`.
    unsafe fn tile<L: Lanes, const NV: usize, const K_CONTIGUOUS: bool>(
        p: &Strided<L::Elem>,
        c: *mut L::Elem,
        rows: Range<usize>,
        panel: usize,
        columns: Range<usize>,
    );
}

/// Makes a type of [`Heights`]: its name, the most rows, and all numbers of them.
macro_rules! heights {
    ($(#[$doc:meta])* $name:ident, $most:literal: $($mr:literal)*) => {
        $(#[$doc])*
        pub(in crate::kernels) struct $name;

        impl $crate::kernels::gemm::tile::Heights for $name {
            const MOST: usize = $most;

            #[inline(always)]
            unsafe fn tile<L: $crate::kernels::lanes::Lanes, const NV: usize, const K_CONTIGUOUS: bool>(
                p: &$crate::kernels::gemm::tile::Strided<L::Elem>,
                c: *mut L::Elem,
                rows: std::ops::Range<usize>,
                panel: usize,
                columns: std::ops::Range<usize>,
            ) {
                match rows.len() {
                    $(
                        // SAFETY: as the caller's.
                        $mr => unsafe {
                            $crate::kernels::gemm::tile::tile::<L, $mr, NV, K_CONTIGUOUS>(
                                p, c, rows.start, panel, columns.start, columns.len(),
                            );
                        },
                    )*
                    _ => unreachable!("a tile has 1 to {} rows", $most),
                }
            }
        }
    };
}
pub(in crate::kernels) use heights;

/// The tiles' rows of a product.
#[inline(always)]
pub(in crate::kernels) fn row_tiles(m: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let (count, base, larger) = balanced(m, most);
    (0..count).map(move |t| {
        let start = t * base + t.min(larger);
        start..start + base + usize::from(t < larger)
    })
}

/// The whole product in tiles of two vectors.
///
/// # Safety
/// As [`Lanes`]; `p` passed [`Strided::check`]; B is packed exactly if `K_CONTIGUOUS`.
#[inline(always)]
unsafe fn tiles<L: Lanes, const K_CONTIGUOUS: bool>(p: &mut Strided<L::Elem>) {
    const { assert!(L::Heights::MOST * 2 * L::WIDTH <= streamed::LARGEST, "a tile has room on the stage") };
    let (c, rs_c, width) = (p.c.as_mut_ptr(), p.rs_c, 2 * L::WIDTH);
    let mut stage = Stage::new();
    let staged = K_CONTIGUOUS && streamed::fits(p, L::WIDTH);
    for rows in row_tiles(p.m, L::Heights::MOST) {
        for panel in 0..p.n.div_ceil(width) {
            let columns = panel * width..(panel * width + width).min(p.n);
            let mut to = c;
            if staged {
                (to, p.rs_c) = stage.place(&rows, columns.start, width);
            }
            // SAFETY: as the caller's; rows and columns stay inside m and n, and a tile has room on the stage.
            unsafe {
                if columns.len() > L::WIDTH {
                    L::Heights::tile::<L, 2, K_CONTIGUOUS>(p, to, rows.clone(), panel, columns.clone());
                } else {
                    L::Heights::tile::<L, 1, K_CONTIGUOUS>(p, to, rows.clone(), panel, columns.clone());
                }
                if staged {
                    stage.stream::<L>(c, rs_c, rows.clone(), columns);
                }
            }
        }
    }
    p.rs_c = rs_c;
}

/// The whole product of at most one vector of columns.
///
/// # Safety
/// As [`tiles`].
#[inline(always)]
unsafe fn one_vector<L: Lanes, const K_CONTIGUOUS: bool>(p: &mut Strided<L::Elem>) {
    let c = p.c.as_mut_ptr();
    for rows in row_tiles(p.m, L::Heights::MOST) {
        // SAFETY: as the caller's; rows stay inside m, and n is at most a vector.
        unsafe { L::Heights::tile::<L, 1, K_CONTIGUOUS>(p, c, rows, 0, 0..p.n) }
    }
}

/// The body that every tier's entry calls.
///
/// # Safety
/// As [`Lanes`], for those of half the width too; `p` passed [`Strided::check`].
#[inline(always)]
pub(in crate::kernels) unsafe fn gemm<L: Lanes>(p: &mut Strided<L::Elem>) {
    // SAFETY: as the caller's.
    unsafe {
        if const { L::Half::WIDTH < L::WIDTH } && p.n <= L::Half::WIDTH && !planar::fits(p, L::WIDTH) {
            if p.row_groups.count() > 1 {
                multi_row::gemm::<L::Half>(p);
            } else if p.b_packed {
                one_vector::<L::Half, true>(p);
            } else {
                one_vector::<L::Half, false>(p);
            }
        } else if p.row_groups.count() > 1 {
            multi_row::gemm::<L>(p);
        } else if planar::fits(p, L::WIDTH) {
            planar::gemm::<L>(p);
        } else if p.b_packed {
            tiles::<L, true>(p);
        } else {
            tiles::<L, false>(p);
        }
    }
}
