//! Memory that a worker uses inside one call and may use again in the next. A plan says what it needs by a [`Request`].

use super::tiles::Pixels;
use crate::kernels::winograd::Extremes;
use crate::kernels::{Aligned, Element, Offsets, Tap};
use crate::memory;
use crate::tuning::LINE_ELEMENTS;

/// The stride of rows of `len` elements that are gone through column by column: those of a multiple of 1 KiB would fall
/// into a few sets of L1, and get a line more.
pub(super) fn staggered(len: usize) -> usize {
    let stride = len.next_multiple_of(LINE_ELEMENTS);
    if stride.is_multiple_of(16 * LINE_ELEMENTS) { stride + LINE_ELEMENTS } else { stride }
}

/// What a run needs, in elements; what an algorithm has no use for is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Request {
    /// Of the copy of what a block reads.
    pub(super) halo: usize,
    /// Of the copy that a pass hands to another one inside.
    pub(super) outer: usize,
    /// Of the sums of a block.
    pub(super) block: usize,
    /// Operands of a batch-reduce GEMM.
    pub(super) batch: usize,
    /// Taps of a window.
    pub(super) taps: usize,
    /// Of tiles at the points of a transform, before the products and after them.
    pub(super) planes: [usize; 2],
    /// Of the extremes of these tiles.
    pub(super) extremes: [usize; 2],
    /// Taps that are summed up directly, of which outliers are looked at.
    pub(super) direct_taps: usize,
}

/// Memory that a worker uses inside one call and may reuse in the next.
#[derive(Debug)]
pub struct Scratch<T> {
    pub(super) halo: Aligned<T>,
    pub(super) batch: Vec<Offsets>,
    pub(super) taps: Vec<Tap>,
    /// The halo of a pass that runs another one inside.
    pub(super) outer: Aligned<T>,
    /// The sums of a block.
    block: Aligned<T>,
    /// Tiles at the points of a transform, before the products and after them.
    planes: [Aligned<T>; 2],
    /// What is recorded of these tiles, and what looks at those that are out of proportion.
    extremes: [Vec<Extremes<T>>; 2],
    odd: Odd<T>,
}

/// Memory for tiles that are computed directly: most calls have none.
#[derive(Debug)]
pub(super) struct Odd<T> {
    pub pixels: Pixels<T>,
    /// What results read, the taps of a panel, and results.
    pub rows: Aligned<T>,
    pub taps: Aligned<T>,
    pub results: Aligned<T>,
}

/// Room for a block of tiles.
pub(super) struct Room<'a, T> {
    pub planes: [&'a mut [T]; 2],
    pub extremes: [&'a mut [Extremes<T>]; 2],
    pub batch: &'a mut Vec<Offsets>,
    pub odd: &'a mut Odd<T>,
}

impl<T: Element> Default for Scratch<T> {
    fn default() -> Self {
        let empty = Aligned::default;
        Self {
            halo: empty(),
            batch: Vec::new(),
            taps: Vec::new(),
            outer: empty(),
            block: empty(),
            planes: [empty(), empty()],
            extremes: [Vec::new(), Vec::new()],
            odd: Odd { pixels: Pixels::default(), rows: empty(), taps: empty(), results: empty() },
        }
    }
}

/// Makes room for `len` elements of a list that is filled anew each time.
fn room<V>(list: &mut Vec<V>, len: usize) {
    if list.capacity() < len {
        list.clear();
        *list = memory::demand(memory::with_room(len));
    }
}

impl<T: Element> Scratch<T> {
    /// Makes room for what a plan needs. All that makes room here unwinds with a lack of memory.
    pub fn reserve(&mut self, request: &Request) {
        memory::grow(&mut self.halo, request.halo);
        memory::grow(&mut self.outer, request.outer);
        memory::grow(&mut self.block, request.block);
        room(&mut self.batch, request.batch);
        room(&mut self.taps, request.taps);
        for (plane, len) in self.planes.iter_mut().zip(request.planes) {
            memory::grow(plane, len);
        }
        self.reserve_extremes(request.extremes);
        if request.direct_taps > 0 {
            self.odd.pixels.reserve(request.direct_taps);
        }
    }

    /// Elements of the halos and tiles.
    pub fn len(&self) -> usize {
        self.halo.len()
            + self.outer.len()
            + self.block.len()
            + self.planes.iter().map(|plane| plane.len()).sum::<usize>()
    }

    /// Whether there is no halo yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes room for the taps of a window.
    pub fn reserve_taps(&mut self, taps: usize) {
        room(&mut self.taps, taps);
    }

    /// Two buffers of `len` elements for a step's own use, with anything in them.
    pub fn pair(&mut self, len: usize) -> (&mut [T], &mut [T]) {
        let ([one, two], _) = self.planes([len, len]);
        (one, two)
    }

    /// Memory for the taps of a window.
    pub fn taps(&mut self) -> &mut Vec<Tap> {
        &mut self.taps
    }

    /// Room for tiles at the points of a transform, and for a batch.
    pub(super) fn planes(&mut self, lens: [usize; 2]) -> ([&mut [T]; 2], &mut Vec<Offsets>) {
        for (plane, len) in self.planes.iter_mut().zip(lens) {
            memory::grow(plane, len);
        }
        let [first, second] = &mut self.planes;
        ([&mut first[..lens[0]], &mut second[..lens[1]]], &mut self.batch)
    }

    fn reserve_extremes(&mut self, lens: [usize; 2]) {
        for (own, len) in self.extremes.iter_mut().zip(lens) {
            if own.len() < len {
                own.resize(len, [T::ZERO; 2]);
            }
        }
    }

    /// Room for a block of tiles, with the extremes of some rows.
    pub(super) fn room(&mut self, lens: [usize; 2], extremes: [usize; 2]) -> Room<'_, T> {
        self.planes(lens);
        self.reserve_extremes(extremes);
        let ([before, after], [first, second]) = (&mut self.planes, &mut self.extremes);
        Room {
            planes: [&mut before[..lens[0]], &mut after[..lens[1]]],
            extremes: [&mut first[..extremes[0]], &mut second[..extremes[1]]],
            batch: &mut self.batch,
            odd: &mut self.odd,
        }
    }

    /// Lends the outer halo, with room for `len` elements; to be given back.
    pub(super) fn take_outer_halo(&mut self, len: usize) -> Aligned<T> {
        memory::grow(&mut self.outer, len);
        std::mem::take(&mut self.outer)
    }
    /// Lends the sums of a block, with room for `len` elements; to be given back.
    pub(super) fn take_block(&mut self, len: usize) -> Aligned<T> {
        memory::grow(&mut self.block, len);
        std::mem::take(&mut self.block)
    }

    /// Takes them back.
    pub(super) fn give_block(&mut self, block: Aligned<T>) {
        self.block = block;
    }
}
