//! Tap arithmetic: which positions of a source a result of a window reads along one axis.
//!
//! Every pass is the same affine map. Result `o` reads, with tap `t`, the position `o * step + start + t * tap_step` of the
//! source; a position outside of it is padding. Forward (kernel 3, stride 1, one element of padding at each end):
//!
//! ```text
//! source         . 0 1 2 3 4 .        step 1, start -1, tap_step 1
//! o = 0         [t t t]               taps_inside: 1..3, the first reads 0
//! o = 1           [t t t]             taps_inside: 0..3, the first reads 0
//! o = 4                 [t t t]       taps_inside: 0..2, the first reads 3
//!                                     alike: 0..1, 1..4, 4..5; whole: 1..4
//! ```
//!
//! With a dilation taps are apart, and a result may read on both sides of a short source:
//!
//! ```text
//! source         . . 0 1 . .          tap_step 2, start -2
//! o = 0         [t   t   t]           taps_inside: 1..2, reads 0
//! o = 1           [t   t   t]         taps_inside: 1..2, reads 1
//! ```
//!
//! The gradient to the input reads the outputs `(i + before - t * dilation) / stride` where the division is exact. For each
//! remainder of `i + before` by the stride, a *residue* (polyphase decomposition), that is again such a map of step 1, with
//! every `stride / gcd(stride, dilation)`-th tap, in reverse so that positions ascend. Kernel 3, stride 2, no padding:
//!
//! ```text
//! forward        input   0 1 2 3 4        output 0 reads 0 1 2 with taps 0 1 2
//!                        [t t t]          output 1 reads 2 3 4
//!                            [t t t]
//!
//! residue 0      first 0, out_step 2      inputs 0, 2, 4: taps 2, 0 of the kernel
//!                source  . 0 1 .          start -1, taps 2, kernel (2, -2)
//!                i = 0  [t t]             output -1 with tap 2, output 0 with tap 0
//!                i = 2    [t t]           output 0 with tap 2, output 1 with tap 0
//! residue 1      first 1, out_step 2      inputs 1, 3: tap 1, start 0, taps 1
//! ```

use std::ops::{Deref, Range};

use super::{Axis, PaddingMode};
use crate::memory;

/// One residue of one axis: result `first + o * out_step` reads `o * step + start + t * tap_step`, `t` in `0..taps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AxisMap {
    /// First position of the result.
    pub first: usize,
    /// Distance of the positions of the result.
    pub out_step: usize,
    /// How many there are.
    pub count: usize,
    /// Positions of the source.
    pub source: usize,
    /// Distance of what neighbours read.
    pub step: usize,
    /// What position 0 reads first; may lie before the source.
    pub start: isize,
    /// Taps of this residue; may be none.
    pub taps: usize,
    /// Distance of what neighbouring taps read.
    pub tap_step: usize,
    /// Tap of the kernel that tap 0 is, and from there to the next one.
    pub kernel: (usize, isize),
}

impl AxisMap {
    /// The map of the forward pass, which has one residue.
    #[inline]
    pub fn forward(axis: &Axis) -> Self {
        Self {
            first: 0,
            out_step: 1,
            count: axis.output,
            source: axis.input,
            step: axis.stride,
            start: -(axis.before as isize),
            taps: axis.kernel,
            tap_step: axis.dilation,
            kernel: (0, 1),
        }
    }

    /// The tap of the kernel that `t` is.
    pub fn kernel_tap(&self, t: usize) -> usize {
        (self.kernel.0 as isize + t as isize * self.kernel.1) as usize
    }

    /// What tap `t` of result `o` reads, if that lies inside the source. `o` may be a number after the last result.
    #[inline(always)]
    pub fn at(&self, o: usize, t: usize) -> Option<usize> {
        let at = (o * self.step + t * self.tap_step) as isize + self.start;
        usize::try_from(at).ok().filter(|&at| at < self.source)
    }

    /// The taps of result `o` that lie inside the source (`0..0` if none does), and the position that the first of them
    /// reads.
    #[inline]
    pub fn taps_inside(&self, o: usize) -> (Range<usize>, usize) {
        let origin = (o * self.step) as isize + self.start;
        // Smallest t with origin + t * tap_step >= distance. A division takes longer than all else here.
        let taps = |distance: isize| {
            let reach = distance.max(0) as usize;
            if self.tap_step == 1 { reach } else { reach.div_ceil(self.tap_step) }
        };
        let end = taps(self.source as isize - origin).min(self.taps);
        let first = taps(-origin).min(end);
        if first == end {
            return (0..0, 0);
        }
        (first..end, (origin + (first * self.tap_step) as isize) as usize)
    }

    /// Those of some results whose tap `t` lies inside the source.
    pub fn results_inside(&self, t: usize, among: Range<usize>) -> Range<usize> {
        let origin = self.start + (t * self.tap_step) as isize;
        let result = |position: isize| ((position - origin).max(0) as usize).div_ceil(self.step);
        let first = result(0).clamp(among.start, among.end);
        first..result(self.source as isize).clamp(first, among.end)
    }

    /// The results of which all taps lie inside the source.
    pub fn whole(&self) -> Range<usize> {
        let first = (-self.start).max(0) as usize;
        let first = first.div_ceil(self.step).min(self.count);
        let room = self.source as isize - self.start - self.span() as isize;
        let end = usize::try_from(room).map_or(0, |room| room / self.step + 1);
        first..end.clamp(first, self.count)
    }

    /// Cuts results into such that meet the same taps; what the first tap reads moves on by `step` among these.
    pub fn alike(&self, results: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
        let (map, mut next) = (*self, results.start);
        std::iter::from_fn(move || {
            let first = next;
            if first == results.end {
                return None;
            }
            let (taps, _) = map.taps_inside(first);
            let same = |o: &usize| map.taps_inside(*o).0 == taps;
            next = (first + 1..results.end).find(|o| !same(o)).unwrap_or(results.end);
            Some(first..next)
        })
    }

    /// The results that read a position of the source, in order.
    #[inline]
    pub fn results_reading(&self, position: usize) -> impl Iterator<Item = usize> + use<> {
        let (map, at) = (*self, position as isize - self.start);
        let reach = (at + 1).max(0) as usize;
        let first = reach.saturating_sub(map.span()).div_ceil(map.step);
        let end = if reach == 0 || map.taps == 0 { 0 } else { (reach - 1) / map.step + 1 };
        (first..end.min(map.count))
            .filter(move |o| map.tap_step == 1 || (at as usize - o * map.step).is_multiple_of(map.tap_step))
    }

    /// The numbers of its results among some positions.
    pub fn among(&self, positions: &Range<usize>) -> Range<usize> {
        let number = |at: usize| at.saturating_sub(self.first).div_ceil(self.out_step).min(self.count);
        number(positions.start)..number(positions.end)
    }

    /// Positions that one result spans.
    pub fn span(&self) -> usize {
        (self.taps.max(1) - 1) * self.tap_step + 1
    }

    /// What some results read, from the first tap of the first to the last of the last, as if the source had no end.
    pub fn reads(&self, results: &Range<usize>) -> Range<isize> {
        let start = |o: usize| (o * self.step) as isize + self.start;
        start(results.start)..start(results.end.max(1) - 1) + self.span() as isize
    }

    /// The part of a range that lies inside the source.
    pub fn inside(&self, range: &Range<isize>) -> Range<usize> {
        clip(range, self.source)
    }
}

fn clip(range: &Range<isize>, source: usize) -> Range<usize> {
    let inside = |at: isize| at.clamp(0, source as isize) as usize;
    inside(range.start)..inside(range.end).max(inside(range.start))
}

/// All residues of an axis: together they have every position of the result once.
#[derive(Debug, Clone)]
pub struct Residues(Vec<AxisMap>);

impl Deref for Residues {
    type Target = [AxisMap];
    fn deref(&self) -> &[AxisMap] {
        &self.0
    }
}

impl Residues {
    /// That of the forward pass.
    pub fn forward(axis: &Axis) -> Self {
        Self(memory::demand(memory::filled(AxisMap::forward(axis), 1)))
    }

    /// The residues of the gradient to the input; there are none if it has no elements.
    ///
    /// With `g = gcd(stride, dilation)`, the taps of remainder `r` are `k0, k0 + stride/g, ..`; their outputs lie
    /// `dilation/g` apart. They are reversed here, so that the run goes forward in memory.
    pub fn input_grad(axis: &Axis) -> Self {
        let (s, d) = (axis.stride, axis.dilation);
        let g = gcd(s, d);
        let count = s.min(axis.input);
        // The first tap of every residue, where there is one: remainders come again after `stride / g` taps.
        let mut first_taps = memory::demand(memory::filled(None, count));
        let before = axis.before % s;
        for k in (0..axis.kernel.min(s / g)).rev() {
            let remainder = k * d % s;
            let first = if remainder >= before { remainder - before } else { s - (before - remainder) };
            if let Some(tap) = first_taps.get_mut(first) {
                *tap = Some(k);
            }
        }
        let residues = (0..count).map(|first| {
            let k0: Option<usize> = first_taps[first];
            let taps = k0.map_or(0, |k| (axis.kernel - k).div_ceil(s / g));
            let k0 = k0.unwrap_or(0);
            let reach = taps.saturating_sub(1);
            let nearest = ((first + axis.before) as isize - (k0 * d) as isize).div_euclid(s as isize);
            AxisMap {
                first,
                // A step beyond the input is as good as its length, and products of it fit.
                out_step: count,
                count: (axis.input - first).div_ceil(s),
                source: axis.output,
                step: 1,
                start: nearest - (reach * (d / g)) as isize,
                taps,
                tap_step: d / g,
                kernel: (k0 + reach * (s / g), -((s / g) as isize)),
            }
        });
        Self(memory::demand(memory::collect(residues)))
    }

    /// Distance of the positions of a residue.
    pub fn out_step(&self) -> usize {
        self.first().map_or(1, |map| map.out_step)
    }

    /// The number of the residue that a position of the result belongs to, and that of the position there.
    pub fn place(&self, position: usize) -> (usize, usize) {
        let step = self.0[0].out_step;
        (position % step, position / step)
    }

    /// The residues that some positions of the result belong to, with their numbers: a large stride has more residues than
    /// a block has positions.
    pub fn of<'a>(
        &'a self,
        positions: &Range<usize>,
    ) -> impl Iterator<Item = (usize, &'a AxisMap)> + use<'a> {
        let all = positions.len() >= self.len();
        let (first, count) = if all { (0, self.len()) } else { (positions.start, positions.len()) };
        (first..first + count).map(|i| i % self.len()).map(|i| (i, &self.0[i]))
    }

    /// What a position of the result reads: taps of the kernel and positions of the source, which ascend.
    pub fn links(&self, position: usize) -> impl Iterator<Item = (usize, usize)> + Clone + use<> {
        let (residue, o) = self.place(position);
        let map = self.0[residue];
        let (taps, first) = map.taps_inside(o);
        taps.enumerate().map(move |(i, tap)| (map.kernel_tap(tap), first + i * map.tap_step))
    }

    /// What some positions of the result read, and all between, as if the source had no end.
    pub fn reads(&self, positions: &Range<usize>) -> Range<isize> {
        let parts = || {
            let parts = self.of(positions).map(|(_, map)| (map, map.among(positions)));
            parts.filter(|(map, some)| map.taps > 0 && !some.is_empty()).map(|(map, some)| map.reads(&some))
        };
        let first = parts().map(|reads| reads.start).min().unwrap_or(0);
        let end = parts().map(|reads| reads.end).max().unwrap_or(0);
        first..end.max(first)
    }

    /// The positions of the source that some positions of the result read, and all between.
    pub fn reads_inside(&self, positions: &Range<usize>) -> Range<usize> {
        clip(&self.reads(positions), self.first().map_or(0, |map| map.source))
    }

    /// As [`Residues::reads_inside`], from the first tap inside the source to the last one: with a dilation, those next to
    /// the border may be no one's.
    pub fn met(&self, positions: &Range<usize>) -> Range<usize> {
        let mut all: Option<Range<usize>> = None;
        for position in positions.clone() {
            let (residue, o) = self.place(position);
            let (taps, first) = self.0[residue].taps_inside(o);
            if !taps.is_empty() {
                let last = first + (taps.len() - 1) * self.0[residue].tap_step;
                let old = all.take().unwrap_or(first..last + 1);
                all = Some(old.start.min(first)..old.end.max(last + 1));
            }
        }
        all.unwrap_or(0..0)
    }

    /// Positions that `count` neighbours of each residue span together at most.
    pub fn reach(&self, count: usize) -> usize {
        let reads = || self.iter().filter(|map| map.taps > 0).map(|map| map.reads(&(0..count)));
        let first = reads().map(|reads| reads.start).min().unwrap_or(0);
        let end = reads().map(|reads| reads.end).max().unwrap_or(0);
        (end - first).max(0) as usize
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Where every element of a padded axis comes from, for borders other than zeros.
///
/// ```text
/// padding 2, "reflect"     2 1 [0 1 2 3] 2 1      sources
///                              ^^^^^^^^^          plain: 2..6, those of the input in their order
/// ```
///
/// Of a sparse axis only what its taps read is gathered: the taps of an output side by side, output by output.
#[derive(Debug, Clone)]
pub struct BorderMap {
    /// Elements of the axis itself.
    pub input: usize,
    /// Positions that are those of the input, in their order.
    pub plain: Range<usize>,
    /// The element of the input that stands at every position.
    pub sources: Vec<usize>,
}

impl BorderMap {
    /// The map of an axis; one that has elements, or no padding.
    pub fn new(axis: &Axis, mode: PaddingMode) -> Self {
        let at = |i: usize| {
            if axis.is_sparse() { i / axis.kernel * axis.stride + i % axis.kernel * axis.dilation } else { i }
        };
        // An axis without padding may be empty; the mode of all others was checked with the geometry.
        let sources = (0..axis.padded().input).filter_map(|i| axis.padded_source(mode, at(i)));
        let sources = memory::demand(memory::collect(sources));
        let plain = if axis.is_sparse() { 0..0 } else { axis.before..axis.before + axis.input };
        Self { input: axis.input, plain, sources }
    }

    /// Elements of the padded axis, or of what is gathered of it.
    #[expect(clippy::len_without_is_empty, reason = "what is gathered for an output is not empty")]
    pub fn len(&self) -> usize {
        self.sources.len()
    }
}

impl Axis {
    /// The element of the input that stands at a position of the padded axis; None for a zero, and after its end.
    pub fn padded_source(&self, mode: PaddingMode, position: usize) -> Option<usize> {
        let padded = self.before + self.input + self.after;
        (position < padded).then(|| mode.source(position, self.before, self.input)).flatten()
    }

    /// The same axis as if the padded input, or what [`BorderMap`] gathers of it, were the input.
    pub fn padded(&self) -> Self {
        let plain = Self { input: self.read_len(), before: 0, after: 0, ..*self };
        if self.is_sparse() { Self { stride: self.kernel, dilation: 1, ..plain } } else { plain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(input, kernel, stride, dilation, before)`
    const CASES: [[usize; 5]; 8] = [
        [7, 3, 1, 1, 1],
        [9, 3, 2, 1, 0],
        [8, 5, 2, 2, 2],
        [11, 2, 3, 1, 0],
        [10, 3, 4, 6, 5],
        [5, 1, 2, 1, 0],
        // Wider than the source, and a gap between taps that has all of it.
        [2, 3, 1, 2, 2],
        [3, 3, 1, 5, 6],
    ];

    fn axis([input, kernel, stride, dilation, before]: [usize; 5]) -> Axis {
        let span = dilation * (kernel - 1) + 1;
        let output = (input + before).checked_sub(span).map_or(0, |rest| rest / stride + 1);
        Axis { input, output, kernel, stride, dilation, before, after: 0 }
    }

    #[test]
    fn residues_cover_every_input_and_every_tap_once() {
        for axis in CASES.map(axis) {
            let Axis { input, output, .. } = axis;
            let mut seen = vec![0; input];
            let mut pairs = Vec::new();
            let residues = Residues::input_grad(&axis);
            for map in residues.iter() {
                for o in 0..map.count {
                    let i = map.first + o * map.out_step;
                    seen[i] += 1;
                    assert_eq!(residues.place(i).1, o, "{axis:?}");
                    pairs.extend(residues.links(i).map(|(tap, o)| (i, tap, o)));
                }
            }
            assert!(seen.iter().all(|&n| n == 1), "{axis:?}");
            let mut expected = Vec::new();
            for o in 0..output {
                expected.extend(Residues::forward(&axis).links(o).map(|(tap, i)| (i, tap, o)));
            }
            pairs.sort_unstable();
            expected.sort_unstable();
            assert_eq!(pairs, expected, "{axis:?}");
        }
    }

    #[test]
    fn all_questions_have_the_answers_of_single_taps() {
        for axis in CASES.map(axis) {
            for map in Residues::input_grad(&axis).iter().chain([&AxisMap::forward(&axis)]) {
                let at = |o: usize, t: usize| {
                    let at = (o * map.step + t * map.tap_step) as isize + map.start;
                    (0..map.source as isize).contains(&at).then_some(at as usize)
                };
                let met = |o: usize| (0..map.taps).filter(|&t| at(o, t).is_some()).collect::<Vec<_>>();
                for o in 0..map.count {
                    let (taps, first) = map.taps_inside(o);
                    assert!(taps.clone().eq(met(o)), "{axis:?}");
                    assert!(taps.is_empty() || at(o, taps.start) == Some(first), "{axis:?}");
                    assert!((0..map.taps).all(|t| map.at(o, t) == at(o, t)), "{axis:?}");
                    let whole = map.taps > 0 && taps.len() == map.taps;
                    assert!(map.taps == 0 || map.whole().contains(&o) == whole, "{axis:?}");
                    let reads = map.inside(&map.reads(&(o..o + 1)));
                    assert!((taps.clone()).all(|t| reads.contains(&at(o, t).unwrap())), "{axis:?}");
                }
                for t in 0..map.taps {
                    let some = 0..map.count;
                    assert!(map.results_inside(t, some.clone()).eq(some.filter(|&o| at(o, t).is_some())));
                }
                for i in 0..map.source {
                    let reads = |o: &usize| (0..map.taps).any(|t| at(*o, t) == Some(i));
                    assert!(map.results_reading(i).eq((0..map.count).filter(reads)), "{axis:?} {i}");
                }
                let mut next = 0;
                for alike in map.alike(0..map.count) {
                    assert_eq!(alike.start, next, "{axis:?}");
                    let (taps, first) = map.taps_inside(alike.start);
                    for (i, o) in alike.clone().enumerate() {
                        let (own, at) = map.taps_inside(o);
                        assert!(own == taps && (taps.is_empty() || at == first + i * map.step), "{axis:?}");
                    }
                    next = alike.end;
                }
                assert_eq!(next, map.count, "{axis:?}");
            }
        }
    }

    #[test]
    fn borders_are_those_of_the_mode() {
        let padded = Axis { after: 2, ..axis([4, 3, 1, 1, 2]) };
        let map = BorderMap::new(&padded, PaddingMode::Reflect);
        assert_eq!((map.sources, map.plain), (vec![2, 1, 0, 1, 2, 3, 2, 1], 2..6));
        assert_eq!(padded.padded_source(PaddingMode::Edge, 8), None);
        assert_eq!(padded.padded().input, 8);
    }
}
