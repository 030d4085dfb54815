//! Winograd's transforms: small linear maps along the axes of a tile, with channels in the lanes.
//!
//! A correlation of `r` taps gives `m` outputs from `m + r - 1 = 6` inputs as
//! `y = A' ((G w) * (B' x))` with 6 products instead of `m r` (Toom and Cook's interpolation, transposed): 4 outputs of
//! 3 taps, or 2 of 5. A tile is transformed along its row, or along both its axes, with 36 products. The points
//! are 0, +-sqrt(1/2), +-sqrt(2) and infinity: their squares are exact, `a^2 + b^2 = 5/2` and `a b = 1`, and the
//! matrices have rows of nearly equal size, which is what keeps the rounding errors near those of a direct sum
//! (Barabasz et al. 2020, "Error analysis and improving the accuracy of Winograd convolution for deep neural networks",
//! arXiv 1803.10986, on the choice of points). `A'` has the rows `x^k`, `G` the columns `x^k / N(x)` with `N(x) = prod (x - other points)`, `B'` the
//! coefficients of `prod (t - other points)`.
//!
//! Every result is a fixed sequence of multiply-adds, so neither tiers nor the grouping of tiles change a bit of it.

mod maps;

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use maps::{Along, Input, Kernel, KernelGrad, Output, OutputGrad, Points, Same, Taps, all};

use super::lanes::{Element, Lanes};

/// Points of an axis, the one at infinity included.
pub const POINTS: usize = 6;
/// Points of a tile at most.
pub const MOST_POINTS: usize = POINTS * POINTS;
/// Stands for an element that is zero (source) or not wanted (target).
pub const NOWHERE: usize = usize::MAX;

/// What is recorded of a tile while it is transformed: the largest magnitude of its elements, and the smallest among the
/// largest magnitudes, over the channels, of the positions in its centre ([`Form::centre`]). NaN is the largest.
pub type Extremes<T> = [T; 2];

/// Which axes of a tile are transformed, and how many taps the kernel has along each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A row: 4 outputs of 3 taps.
    Line3,
    /// A row: 2 outputs of 5 taps.
    Line5,
    /// 4 x 4 outputs of 3 x 3 taps.
    Square3,
    /// 2 x 2 outputs of 5 x 5 taps.
    Square5,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Line3, Self::Line5, Self::Square3, Self::Square5];

    /// Taps along an axis.
    pub const fn taps(self) -> usize {
        match self {
            Self::Line3 | Self::Square3 => 3,
            Self::Line5 | Self::Square5 => 5,
        }
    }

    /// Outputs along an axis.
    pub const fn outputs(self) -> usize {
        POINTS + 1 - self.taps()
    }

    /// Whether both axes are transformed.
    pub const fn is_square(self) -> bool {
        matches!(self, Self::Square3 | Self::Square5)
    }

    /// Elements of a tile that has `along` of them along an axis.
    pub const fn area(self, along: usize) -> usize {
        if self.is_square() { along * along } else { along }
    }

    /// Along an axis, the positions in the centre of a tile of inputs and of one of outputs: every output reads one of the
    /// former, and for every tap there is an output among the latter that reads one of the former through it.
    pub const fn centre(self) -> [[bool; POINTS]; 2] {
        match self {
            Self::Line3 | Self::Square3 => [among([2, 3, 3]), among([1, 2, 2])],
            Self::Line5 | Self::Square5 => [among([1, 3, 4]), among([0, 1, 1])],
        }
    }

    /// Points of a tile.
    pub const fn points(self) -> usize {
        self.area(POINTS)
    }
}

/// Some positions.
const fn among(positions: [usize; 3]) -> [bool; POINTS] {
    let mut all = [false; POINTS];
    let mut i = 0;
    while i < positions.len() {
        all[positions[i]] = true;
        i += 1;
    }
    all
}

/// Which map is applied along the axes of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// `B'`: inputs to points.
    Input,
    /// `A'`: points to outputs.
    Output,
    /// `A`: the gradient of outputs to points.
    OutputGrad,
    /// `G`: taps to points.
    Kernel,
    /// `G'`: points to the gradient of taps.
    KernelGrad,
    /// The inverse of `G`: the taps of a kernel that was brought to the points, as exact as the largest of them.
    Taps,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Input, Self::Output, Self::OutputGrad, Self::Kernel, Self::KernelGrad, Self::Taps];

    /// Elements of a tile per channel, before and after.
    pub const fn lens(self, form: Form) -> [usize; 2] {
        let points = form.points();
        let (outputs, taps) = (form.area(form.outputs()), form.area(form.taps()));
        match self {
            Self::Input => [points, points],
            Self::Output => [points, outputs],
            Self::OutputGrad => [outputs, points],
            Self::Kernel => [taps, points],
            Self::KernelGrad | Self::Taps => [points, taps],
        }
    }
}

/// Where a transform reads.
#[derive(Debug)]
pub enum From<'a, T> {
    /// Another slice.
    Slice(&'a [T]),
    /// The target: all elements of a tile and a vector of channels are read before any is written.
    Target,
}

/// Some tiles of equal shape, evenly apart.
#[derive(Debug)]
pub struct Transform<'a, T> {
    /// The axes.
    pub form: Form,
    /// The map.
    pub stage: Stage,
    /// Source.
    pub from: From<'a, T>,
    /// Places of the first channel of every element of the first tile, row by row.
    pub at: &'a [usize],
    /// From a tile to the next.
    pub from_step: usize,
    /// Target.
    pub to: &'a mut [T],
    /// Places in it.
    pub places: &'a [usize],
    /// From a tile to the next.
    pub to_step: usize,
    /// Tiles.
    pub count: usize,
    /// Channels, side by side.
    pub channels: usize,
    /// Added to outputs, one per channel; other stages have none.
    pub bias: Option<&'a [T]>,
    /// Whether negative outputs become zero.
    pub relu: bool,
    /// What is recorded of every tile of inputs, or of gradients of outputs; other stages record nothing.
    pub extremes: &'a mut [Extremes<T>],
}

impl<T: Element> Transform<'_, T> {
    /// Panics unless every element that is read or written lies inside its slice.
    pub(super) fn check(&self) {
        let [from, to] = self.stage.lens(self.form);
        assert!(self.at.len() == from && self.places.len() == to, "elements of a tile");
        assert!(self.count > 0 && self.channels > 0, "empty transform");
        let inside = |places: &[usize], step: usize, len: usize| {
            let most = places.iter().copied().filter(|&place| place != NOWHERE).max();
            let span = (self.count - 1).checked_mul(step).and_then(|n| n.checked_add(self.channels));
            most.is_none_or(|most| span.and_then(|n| n.checked_add(most)).is_some_and(|end| end <= len))
        };
        let len = match self.from {
            From::Slice(from) => from.len(),
            From::Target => self.to.len(),
        };
        assert!(inside(self.at, self.from_step, len), "a tile leaves the source");
        assert!(inside(self.places, self.to_step, self.to.len()), "a tile leaves the target");
        assert!(self.bias.is_none_or(|bias| bias.len() == self.channels), "bias");
        let recorded = matches!(self.stage, Stage::Input | Stage::OutputGrad);
        assert_eq!(self.extremes.len(), if recorded { self.count } else { 0 }, "extremes");
    }
}

/// The body that every tier's entry calls.
///
/// # Safety
/// As [`Lanes`]; the transform passed [`Transform::check`].
#[inline(always)]
pub(super) unsafe fn transform<L: Lanes>(t: &mut Transform<'_, L::Elem>) {
    // SAFETY: as the caller's.
    unsafe {
        match t.form.taps() {
            3 => stages::<L, 4, 3>(t),
            _ => stages::<L, 2, 5>(t),
        }
    }
}

/// The stages for `M` outputs of `R` taps.
///
/// # Safety
/// As [`transform`]; `M` and `R` are those of the form.
#[inline(always)]
unsafe fn stages<L: Lanes, const M: usize, const R: usize>(t: &mut Transform<'_, L::Elem>)
where
    Output: Along<6, M>,
    OutputGrad: Along<M, 6>,
    Kernel: Along<R, 6>,
    KernelGrad: Along<6, R>,
    Taps: Along<6, R>,
{
    // SAFETY: as the caller's.
    unsafe {
        match t.stage {
            Stage::Input => axes::<L, Input<R>, 6, 6>(t),
            Stage::Output => axes::<L, Output, 6, M>(t),
            Stage::OutputGrad => axes::<L, OutputGrad, M, 6>(t),
            Stage::Kernel => axes::<L, Kernel, R, 6>(t),
            Stage::KernelGrad => axes::<L, KernelGrad, 6, R>(t),
            Stage::Taps => axes::<L, Taps, 6, R>(t),
        }
    }
}

/// A map along the axes of the form.
///
/// # Safety
/// As [`transform`]; the map is that of the stage.
#[inline(always)]
unsafe fn axes<L: Lanes, A: Along<I, O>, const I: usize, const O: usize>(t: &mut Transform<'_, L::Elem>) {
    // SAFETY: as the caller's.
    unsafe {
        if t.form.is_square() {
            tiles::<L, A, A, I, O, I, O>(t);
        } else {
            tiles::<L, Same, A, 1, 1, I, O>(t);
        }
    }
}

/// Positions in the centre of a tile at most.
const MOST_CENTRE: usize = 9;

/// The largest magnitudes of a tile so far: of all elements, and of the positions in its centre.
struct Peaks<L: Lanes> {
    all: L::V,
    centre: [L::V; MOST_CENTRE],
}

/// Positions before one that are in the centre of an axis.
#[inline(always)]
fn in_centre<A: Along<I, O>, const I: usize, const O: usize>(end: usize) -> usize {
    let mut count = 0;
    for i in 0..I {
        count += usize::from(i < end && A::CENTRE[i]);
    }
    count
}

/// All tiles, vector by vector of channels.
///
/// # Safety
/// As [`transform`]; the maps of columns and of rows are those of form and stage.
#[inline(always)]
unsafe fn tiles<
    L: Lanes,
    H: Along<HI, HO>,
    W: Along<WI, WO>,
    const HI: usize,
    const HO: usize,
    const WI: usize,
    const WO: usize,
>(
    t: &mut Transform<'_, L::Elem>,
) {
    let to = t.to.as_mut_ptr();
    let from = match t.from {
        From::Slice(from) => from.as_ptr(),
        From::Target => to.cast_const(),
    };
    let whole = t.channels - t.channels % L::WIDTH;
    let holes = t.at.contains(&NOWHERE) || t.places.contains(&NOWHERE);
    // SAFETY: as the caller's; vectors of channels stay inside the tile, the last one by its mask.
    unsafe {
        let points = Points { a: all::<L>(FRAC_1_SQRT_2), b: all::<L>(SQRT_2) };
        for i in 0..t.count {
            // Wrapping, because a tile that is nowhere may have no slice.
            let (from, to) = (from.wrapping_add(i * t.from_step), to.wrapping_add(i * t.to_step));
            let mut peaks = Peaks::<L> { all: L::zero(), centre: [L::zero(); MOST_CENTRE] };
            let own = &mut peaks;
            for c in (0..whole).step_by(L::WIDTH) {
                if holes {
                    tile::<L, H, W, HI, HO, WI, WO, true, true>(t, &points, from, to, c, own);
                } else {
                    tile::<L, H, W, HI, HO, WI, WO, true, false>(t, &points, from, to, c, own);
                }
            }
            if whole < t.channels {
                tile::<L, H, W, HI, HO, WI, WO, false, true>(t, &points, from, to, whole, own);
            }
            if W::NOTED {
                let mut least = L::largest(peaks.centre[0]);
                for peak in &peaks.centre[1..in_centre::<H, HI, HO>(HI) * in_centre::<W, WI, WO>(WI)] {
                    let peak = L::largest(*peak);
                    least = if peak < least { peak } else { least };
                }
                t.extremes[i] = [L::largest(peaks.all), least];
            }
        }
    }
}

/// One tile, a vector of channels from `c` on.
///
/// # Safety
/// As [`tiles`].
#[inline(always)]
unsafe fn tile<
    L: Lanes,
    H: Along<HI, HO>,
    W: Along<WI, WO>,
    const HI: usize,
    const HO: usize,
    const WI: usize,
    const WO: usize,
    const FULL: bool,
    const HOLES: bool,
>(
    t: &Transform<'_, L::Elem>,
    points: &Points<L>,
    from: *const L::Elem,
    to: *mut L::Elem,
    c: usize,
    peaks: &mut Peaks<L>,
) {
    debug_assert!(t.at.len() == HI * WI && t.places.len() == HO * WO);
    debug_assert!(c < t.channels && (!FULL || c + L::WIDTH <= t.channels));
    let (at, places) = (t.at.as_ptr(), t.places.as_ptr());
    // SAFETY: as the caller's.
    unsafe {
        let mask = L::mask((t.channels - c).min(L::WIDTH));
        let load = |p: *const L::Elem| if FULL { L::load(p) } else { L::load_masked(p, mask) };
        let mut half = [[L::zero(); WI]; HO];
        for j in 0..WI {
            let mut column = [L::zero(); HI];
            for i in 0..HI {
                let at = *at.add(i * WI + j);
                if !HOLES || at != NOWHERE {
                    column[i] = load(from.add(at + c));
                }
                if W::NOTED {
                    peaks.all = L::larger(peaks.all, column[i]);
                    if H::CENTRE[i] && W::CENTRE[j] {
                        let number = in_centre::<H, HI, HO>(i) * in_centre::<W, WI, WO>(WI)
                            + in_centre::<W, WI, WO>(j);
                        peaks.centre[number] = L::larger(peaks.centre[number], column[i]);
                    }
                }
            }
            let mapped = H::map::<L>(points, column);
            for i in 0..HO {
                half[i][j] = mapped[i];
            }
        }
        let bias = match t.bias {
            Some(bias) if W::FINISHES => load(bias.as_ptr().add(c)),
            _ => L::zero(),
        };
        for i in 0..HO {
            let row = W::map::<L>(points, half[i]);
            for j in 0..WO {
                let place = *places.add(i * WO + j);
                if HOLES && place == NOWHERE {
                    continue;
                }
                let mut v = row[j];
                if W::FINISHES {
                    v = L::add(v, bias);
                    if t.relu {
                        v = L::relu(v);
                    }
                }
                let to = to.add(place + c);
                if FULL {
                    L::store(to, v);
                } else {
                    L::store_masked(to, mask, v);
                }
            }
        }
    }
}
