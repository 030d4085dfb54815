//! Convolution of one sample: forward, to the input, to the kernel and to the bias.
//!
//! Each pass has an ordered list of algorithms; the first that accepts a geometry is planned, the last accepts
//! everything. A plan depends on the geometry, the user's choice of an [`Algorithm`] and the instruction set only.
//! Functional calls and the training step use the same plans.

mod algorithm;
mod depthwise;
mod halo;
mod kernel_grad;
mod kn2col;
mod kn2row;
mod padding;
mod rows;
mod tiles;
mod winograd;

use std::ops::Range;

pub use algorithm::Algorithm;
use depthwise::{Depthwise, DepthwiseKernelGrad};
pub use kernel_grad::KernelGrad;
use kn2col::Kn2col;
use kn2row::Kn2row;
use padding::{Padded, PaddedInputGrad, PaddedKernelGrad};
pub use rows::Rows;
use tiles::Pixels;
use winograd::{Winograd, WinogradKernelGrad};

use crate::geometry::ConvGeometry;
use crate::kernels::winograd::Note;
use crate::kernels::{Aligned, Element, Job, Kernels, Offsets, Tap, Tier};
use crate::memory;

/// Memory that a worker uses inside one call and may reuse in the next.
#[derive(Debug)]
pub struct Scratch<T> {
    halo: Aligned<T>,
    batch: Vec<Offsets>,
    taps: Vec<Tap>,
    /// The halo of a pass that runs another one inside.
    outer: Aligned<T>,
    /// Whether the tensors of the call are larger than the cache. Algorithms that are bound by memory then ask for
    /// their operands ahead, and store past the cache; results have the same bytes.
    pub non_temporal: bool,
    /// Tiles at the points of a transform, before and behind the products.
    planes: [Aligned<T>; 2],
    /// What is noted of the tiles before and behind the products, and what looks at those that are out of proportion.
    notes: [Vec<Note<T>>; 2],
    odd: Odd<T>,
}

/// Memory for tiles that are computed directly: most calls have none.
#[derive(Debug)]
struct Odd<T> {
    pixels: Pixels<T>,
    /// What results read, the taps of a panel, and results.
    rows: Aligned<T>,
    taps: Aligned<T>,
    results: Aligned<T>,
}

/// Room for an item of tiles.
struct Room<'a, T> {
    planes: [&'a mut [T]; 2],
    notes: [&'a mut [Note<T>]; 2],
    batch: &'a mut Vec<Offsets>,
    odd: &'a mut Odd<T>,
}

impl<T: Element> Default for Scratch<T> {
    fn default() -> Self {
        let empty = Aligned::default;
        Self {
            halo: empty(),
            batch: Vec::new(),
            taps: Vec::new(),
            outer: empty(),
            non_temporal: false,
            planes: [empty(), empty()],
            notes: [Vec::new(), Vec::new()],
            odd: Odd { pixels: Pixels::default(), rows: empty(), taps: empty(), results: empty() },
        }
    }
}

impl<T: Element> Scratch<T> {
    /// Makes room for halos of `len` elements and `batch` operands of a GEMM. All that makes room here unwinds with a lack of memory.
    pub fn reserve(&mut self, (len, batch): (usize, usize)) {
        memory::grow(&mut self.halo, len);
        if self.batch.capacity() < batch {
            self.batch.clear();
            self.batch = memory::demand(memory::with_room(batch));
        }
    }

    /// Elements of the halos.
    pub fn len(&self) -> usize {
        self.halo.len() + self.outer.len() + self.planes.iter().map(|plane| plane.len()).sum::<usize>()
    }

    /// Whether there is no halo yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes room for taps.
    pub fn reserve_taps(&mut self, taps: usize) {
        self.taps.clear();
        if self.taps.capacity() < taps {
            self.taps = memory::demand(memory::with_room(taps));
        }
    }

    /// Two buffers of `len` elements for a step's own use, with anything in them.
    pub fn pair(&mut self, len: usize) -> (&mut [T], &mut [T]) {
        self.planes.iter_mut().for_each(|plane| memory::grow(plane, len));
        let [one, two] = &mut self.planes;
        (&mut one[..len], &mut two[..len])
    }

    /// Makes room in the outer halo.
    fn reserve_outer_halo(&mut self, len: usize) {
        self.outer = self.take_outer_halo(len);
    }

    /// Memory for the taps of a window.
    pub fn taps(&mut self) -> &mut Vec<Tap> {
        &mut self.taps
    }

    /// Room for tiles at the points of a transform, and for runs.
    fn planes(&mut self, lens: [usize; 2]) -> ([&mut [T]; 2], &mut Vec<Offsets>) {
        for (plane, len) in self.planes.iter_mut().zip(lens) {
            memory::grow(plane, len);
        }
        let [first, second] = &mut self.planes;
        ([&mut first[..lens[0]], &mut second[..lens[1]]], &mut self.batch)
    }

    /// The same with notes of so many rows.
    fn room(&mut self, lens: [usize; 2], notes: [usize; 2]) -> Room<'_, T> {
        self.planes(lens);
        for (own, len) in self.notes.iter_mut().zip(notes) {
            if own.len() < len {
                own.resize(len, [T::ZERO; 2]);
            }
        }
        let ([before, behind], [first, second]) = (&mut self.planes, &mut self.notes);
        Room {
            planes: [&mut before[..lens[0]], &mut behind[..lens[1]]],
            notes: [&mut first[..notes[0]], &mut second[..notes[1]]],
            batch: &mut self.batch,
            odd: &mut self.odd,
        }
    }

    /// Lends the outer halo, with room for `len` elements; to be given back.
    fn take_outer_halo(&mut self, len: usize) -> Aligned<T> {
        memory::grow(&mut self.outer, len);
        std::mem::take(&mut self.outer)
    }
}

/// What happens to a sum before it is stored.
#[derive(Debug, Clone, Copy)]
pub struct Epilogue<'a, T> {
    /// One value per output channel, which the sums start from.
    pub bias: Option<&'a [T]>,
    /// Whether negative results become zero.
    pub relu: bool,
}

impl<T> Epilogue<'_, T> {
    /// Nothing.
    pub const NONE: Self = Self { bias: None, relu: false };
}

/// A pass that maps a tensor to a tensor with packed weights: forward, or to the input.
pub trait Correlation<T: Element>: Send + Sync {
    /// Elements of the packed weights.
    fn packed_len(&self) -> usize;
    /// Packs a kernel of shape `(k_d, k_h, k_w, c_in / groups, c_out)`.
    fn pack(&self, kernel: &[T], packed: &mut [T]);
    /// Rows (depth times height) of one result; rows may be computed in any partition.
    fn rows(&self) -> usize;
    /// Elements of one row of the result.
    fn row_len(&self) -> usize;
    /// Rows that are computed together: a piece that is cut at multiples of it does no work twice.
    fn row_step(&self) -> usize {
        1
    }
    /// Computes `rows` of one result; `to` holds exactly these rows.
    fn run(
        &self,
        from: &[T],
        packed: &[T],
        to: &mut [T],
        rows: Range<usize>,
        epilogue: Epilogue<'_, T>,
        scratch: &mut Scratch<T>,
    );

    /// Makes room for all that `run` needs.
    fn reserve(&self, scratch: &mut Scratch<T>);

    /// Computes `samples` whole results: the bytes of one after the other.
    fn run_samples(
        &self,
        from: &[T],
        packed: &[T],
        to: &mut [T],
        samples: usize,
        epilogue: Epilogue<'_, T>,
        scratch: &mut Scratch<T>,
    ) {
        let lens = [from.len(), to.len()].map(|len| (len / samples.max(1)).max(1));
        for (from, to) in from.chunks_exact(lens[0]).zip(to.chunks_exact_mut(lens[1])) {
            self.run(from, packed, to, 0..self.rows(), epilogue, scratch);
        }
    }

    /// Elements of the packed weights at whose multiples [`Correlation::pack_part`] may be cut.
    fn pack_grain(&self) -> usize {
        self.packed_len()
    }

    /// Packs what stands from element `first` of the packed weights on.
    fn pack_part(&self, kernel: &[T], first: usize, part: &mut [T]) {
        assert_eq!((first, part.len()), (0, self.packed_len()), "packed in one piece");
        self.pack(kernel, part);
    }

    /// Elements of a row at whose multiples a result of one row, a series, had best be cut.
    fn strip(&self) -> usize {
        self.row_len()
    }

    /// Elements of a result at whose multiples it had best be cut into pieces: of some rows, or columns of a series.
    fn unit(&self) -> usize {
        if self.rows() == 1 { self.strip() } else { self.row_step() * self.row_len() }
    }

    /// Units of a task at least, if there are enough: with fewer, reading the weights takes longer than the arithmetic.
    /// More than a result has are those of several.
    fn least_units(&self) -> usize {
        1
    }

    /// Computes what stands from element `first` of one result on, in whole units (the last may be shorter).
    fn run_piece(
        &self,
        from: &[T],
        packed: &[T],
        (to, first): (&mut [T], usize),
        epilogue: Epilogue<'_, T>,
        scratch: &mut Scratch<T>,
    ) {
        let end = first + to.len();
        if self.rows() == 1 {
            self.run_strip(from, packed, to, first..end, epilogue, scratch);
        } else {
            let rows = first / self.row_len()..end / self.row_len();
            self.run(from, packed, to, rows, epilogue, scratch);
        }
    }

    /// Computes some elements of a result of one row, all channels of some columns; `to` holds exactly these.
    fn run_strip(
        &self,
        from: &[T],
        packed: &[T],
        to: &mut [T],
        elements: Range<usize>,
        epilogue: Epilogue<'_, T>,
        scratch: &mut Scratch<T>,
    ) {
        assert_eq!(elements, 0..self.row_len(), "a row that cannot be cut");
        self.run(from, packed, to, 0..1, epilogue, scratch);
    }
}

/// What is added up of the gradient to the kernel, and over which positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portion {
    /// Whole samples; if there are several, `rows` and `strip` are all.
    pub samples: usize,
    /// Rows (depth times height) of the output; `dy` holds exactly these.
    pub rows: Range<usize>,
    /// Elements of a row of the output: all channels of some columns. All of them, unless the output is one row; then
    /// `dy` holds exactly these.
    pub strip: Range<usize>,
    /// Rows of the kernel, [`Accumulation::kernel_rows`] in all; `dkernel` holds exactly these.
    pub kernel: Range<usize>,
}

/// A pass that adds up the gradient to the kernel.
pub trait Accumulation<T: Element>: Send + Sync {
    /// Rows (depth times height) of the output.
    fn rows(&self) -> usize;
    /// Elements of one row of the output.
    fn row_len(&self) -> usize;
    /// Rows that are visited together: rows are cut at multiples of it.
    fn row_step(&self) -> usize {
        1
    }
    /// Elements of the sums for a kernel of `kernel_len`.
    fn sums_len(&self, kernel_len: usize) -> usize {
        kernel_len
    }
    /// Adds what `rows` of the output of one sample contribute; `dy` holds exactly these rows. Rows in order, in any
    /// partition that [`Accumulation::row_step`] allows, give the same bytes.
    fn run(&self, x: &[T], dy: &[T], rows: Range<usize>, sums: &mut [T], scratch: &mut Scratch<T>);
    /// Adds what `samples` whole samples contribute: the bytes of one sample after the other.
    fn run_samples(&self, x: &[T], dy: &[T], samples: usize, sums: &mut [T], scratch: &mut Scratch<T>) {
        let lens = [x, dy].map(|tensor| (tensor.len() / samples.max(1)).max(1));
        for (x, dy) in x.chunks_exact(lens[0]).zip(dy.chunks_exact(lens[1])) {
            self.run(x, dy, 0..self.rows(), sums, scratch);
        }
    }
    /// Turns complete sums into the gradient, in the first elements, laid out as the kernel is.
    fn finish(&self, sums: &mut [T]) {
        let _ = sums;
    }

    /// Makes room for all that `run` needs.
    fn reserve(&self, scratch: &mut Scratch<T>);

    /// Rows of equal length that the kernel is cut into; each can be added up alone.
    fn kernel_rows(&self) -> usize {
        1
    }

    /// Elements of a row at whose multiples an output of one row, a series, had best be cut.
    fn strip(&self) -> usize {
        self.row_len()
    }

    /// Elements of an output at whose multiples it had best be cut into pieces: of some rows, or columns of a series.
    fn unit(&self) -> usize {
        if self.rows() == 1 { self.strip() } else { self.row_step() * self.row_len() }
    }

    /// Some elements of one output, in whole units, and some rows of the kernel as a portion.
    fn piece(&self, elements: Range<usize>, kernel: Range<usize>) -> Portion {
        if self.rows() == 1 {
            return Portion { samples: 1, rows: 0..1, strip: elements, kernel };
        }
        let row_len = self.row_len();
        let rows = elements.start / row_len..elements.end / row_len;
        Portion { samples: 1, rows, strip: 0..row_len, kernel }
    }

    /// Adds what a portion contributes; in order and in any partition the bytes are the same.
    fn run_part(&self, x: &[T], dy: &[T], portion: &Portion, dkernel: &mut [T], scratch: &mut Scratch<T>) {
        assert_eq!((&portion.kernel, &portion.strip), (&(0..1), &(0..self.row_len())), "not to be cut");
        if portion.samples == 1 {
            self.run(x, dy, portion.rows.clone(), dkernel, scratch);
        } else {
            self.run_samples(x, dy, portion.samples, dkernel, scratch);
        }
    }

    /// Some whole samples as a portion, for all of the kernel.
    fn whole(&self, samples: usize) -> Portion {
        Portion { samples, rows: 0..self.rows(), strip: 0..self.row_len(), kernel: 0..self.kernel_rows() }
    }

    /// As [`Accumulation::run_part`] on zeros, with the same bytes, whatever the sums hold.
    fn start(&self, x: &[T], dy: &[T], portion: &Portion, sums: &mut [T], scratch: &mut Scratch<T>) {
        sums.fill(T::ZERO);
        self.run_part(x, dy, portion, sums, scratch);
    }
}

impl<T: Element> Accumulation<T> for KernelGrad<T> {
    fn rows(&self) -> usize {
        self.rows()
    }

    fn row_len(&self) -> usize {
        self.row_len()
    }

    fn run(&self, x: &[T], dy: &[T], rows: Range<usize>, dkernel: &mut [T], scratch: &mut Scratch<T>) {
        self.run(x, dy, rows, dkernel, scratch);
    }

    fn run_samples(&self, x: &[T], dy: &[T], samples: usize, dkernel: &mut [T], scratch: &mut Scratch<T>) {
        self.run_samples(x, dy, samples, dkernel, scratch);
    }

    fn reserve(&self, scratch: &mut Scratch<T>) {
        scratch.reserve(self.scratch());
    }

    fn kernel_rows(&self) -> usize {
        self.kernel_rows()
    }

    fn strip(&self) -> usize {
        self.strip()
    }

    fn run_part(&self, x: &[T], dy: &[T], portion: &Portion, dkernel: &mut [T], scratch: &mut Scratch<T>) {
        self.run_part(x, dy, portion, dkernel, scratch);
    }
}

/// A planned map of tensors.
pub type Correlated<T> = Box<dyn Correlation<T>>;
/// A planned kernel gradient.
pub type Accumulated<T> = Box<dyn Accumulation<T>>;

/// A pass, for rules of choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Forward,
    InputGrad,
    KernelGrad,
}

/// What a plan depends on.
struct Problem<'a, T: 'static> {
    geometry: &'a ConvGeometry,
    kernels: &'static Kernels<T>,
    algorithm: Algorithm,
}

impl<T> Clone for Problem<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Problem<'_, T> {}

/// An entry of a list: a plan, unless the algorithm does not accept the problem.
type Entry<T, P> = fn(Problem<'_, T>) -> Option<P>;

fn forward_list<T: Element>() -> [Entry<T, Correlated<T>>; 6] {
    [
        |p| Winograd::forward(p).map(|plan| Box::new(plan) as _),
        |p| padding::accepts(p.geometry).then(|| Box::new(Padded::new(p)) as _),
        |p| depthwise::accepts(p.geometry).then(|| Box::new(Depthwise::forward(p.geometry, p.kernels)) as _),
        |p| Kn2row::forward(p.geometry, p.kernels).map(|plan| Box::new(plan) as _),
        |p| {
            kn2col::accepts_forward(p.geometry).then(|| Box::new(Kn2col::forward(p.geometry, p.kernels)) as _)
        },
        |p| Some(Box::new(Rows::forward(p.geometry, p.kernels))),
    ]
}

fn input_grad_list<T: Element>() -> [Entry<T, Correlated<T>>; 6] {
    [
        |p| Winograd::input_grad(p).map(|plan| Box::new(plan) as _),
        |p| padding::accepts(p.geometry).then(|| Box::new(PaddedInputGrad::new(p)) as _),
        |p| {
            depthwise::accepts(p.geometry)
                .then(|| Box::new(Depthwise::input_grad(p.geometry, p.kernels)) as _)
        },
        |p| Kn2row::input_grad(p.geometry, p.kernels).map(|plan| Box::new(plan) as _),
        |p| {
            kn2col::accepts_input_grad(p.geometry)
                .then(|| Box::new(Kn2col::input_grad(p.geometry, p.kernels)) as _)
        },
        |p| Some(Box::new(Rows::input_grad(p.geometry, p.kernels))),
    ]
}

fn kernel_grad_list<T: Element>() -> [Entry<T, Accumulated<T>>; 4] {
    [
        |p| WinogradKernelGrad::new(p).map(|plan| Box::new(plan) as _),
        |p| padding::accepts(p.geometry).then(|| Box::new(PaddedKernelGrad::new(p)) as _),
        |p| {
            let plan = || Box::new(DepthwiseKernelGrad::new(p.geometry, p.kernels)) as _;
            depthwise::accepts(p.geometry).then(plan)
        },
        |p| Some(Box::new(KernelGrad::new(p.geometry, p.kernels))),
    ]
}

/// All plans of an ordered list; the first is the one that runs.
fn walk<T: Element, P, const N: usize>(
    list: [Entry<T, P>; N],
    problem: Problem<'_, T>,
) -> impl Iterator<Item = P> {
    // Those behind the padded algorithms know no other borders than zeros.
    let last = if padding::accepts(problem.geometry) { 2 } else { list.len() };
    list.into_iter().take(last).filter_map(move |entry| entry(problem))
}

macro_rules! plans {
    ($(#[$doc:meta])* $plan:ident, $(#[$all_doc:meta])* $all:ident, $list:ident, $result:ident) => {
        $(#[$doc])*
        pub fn $plan<T: Element>(
            geometry: &ConvGeometry,
            kernels: &'static Kernels<T>,
            algorithm: Algorithm,
        ) -> $result<T> {
            let problem = Problem { geometry, kernels, algorithm };
            walk($list(), problem).next().expect("the last algorithm accepts everything")
        }

        $(#[$all_doc])*
        pub fn $all<T: Element>(
            geometry: &ConvGeometry,
            kernels: &'static Kernels<T>,
            algorithm: Algorithm,
        ) -> Vec<$result<T>> {
            walk($list(), Problem { geometry, kernels, algorithm }).collect()
        }
    };
}
plans!(
    /// Plans the forward pass.
    forward,
    /// Every algorithm for the forward pass that accepts the problem, for tests and benches.
    forward_plans, forward_list, Correlated
);
plans!(
    /// Plans the gradient to the input, which is also the forward pass of the transposed convolution.
    input_grad,
    /// Every algorithm for the input gradient that accepts the problem, for tests and benches.
    input_grad_plans, input_grad_list, Correlated
);
plans!(
    /// Plans the gradient to the kernel.
    kernel_grad,
    /// Every algorithm for the kernel gradient that accepts the problem, for tests and benches.
    kernel_grad_plans, kernel_grad_list, Accumulated
);

/// Whether an algorithm can compute a convolution of this type at all, in every pass.
pub fn applies<T: Element>(geometry: &ConvGeometry, algorithm: Algorithm) -> bool {
    algorithm != Algorithm::Winograd || T::NAME == f32::NAME && winograd::form(geometry).is_some()
}

/// Sums that [`add_column_sums`] keeps side by side at most, and the vectors that they are to fill.
const SUMS: usize = 128;
const SUMS_VECTOR: usize = 16;

/// Adds the sum of every column of `rows` (rows of `sums.len()` elements) to `sums`: the gradient of a bias.
///
/// Rows of few columns are summed several at a time, so that a chain per column and place among these fills registers;
/// the chains are added in the order of their places. How many depends on the columns alone.
pub fn add_column_sums<T: Element>(tier: Tier, rows: &[T], sums: &mut [T]) {
    struct Sums<'a, T>(&'a [T], &'a mut [T]);
    impl<T: Element> Job for Sums<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            let Self(rows, sums) = self;
            let columns = sums.len();
            // A power of two divides both: so many rows fill whole vectors.
            let whole = SUMS_VECTOR >> columns.trailing_zeros().min(SUMS_VECTOR.trailing_zeros());
            let together = SUMS / columns / whole * whole;
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
            for row in rest.chunks_exact(columns) {
                for (sum, x) in sums.iter_mut().zip(row) {
                    *sum += *x;
                }
            }
        }
    }
    if !sums.is_empty() {
        tier.vectorize(Sums(rows, sums));
    }
}
