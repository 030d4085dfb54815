//! Residues of an axis (its polyphase components): a pass as correlations of one step each.
//!
//! Forward, output `o` of an axis reads the inputs `o * stride - before + t * dilation`. To the input, position `i`
//! reads the outputs `(i + before - t * dilation) / stride` where the division is exact: for each remainder of
//! `i + before` modulo the stride that is again a correlation of step 1, with a subset of the taps in reverse and a
//! strided result.

use std::ops::Range;

use crate::geometry::Axis;
use crate::memory;

/// One residue of one axis: result `first + o * out_step` reads `o * step + start + t * tap_step`, `t` in `0..taps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Residue {
    /// First position of the result.
    pub first: usize,
    /// Distance of the positions of the result.
    pub out_step: usize,
    /// How many there are.
    pub count: usize,
    /// Distance of what neighbours read.
    pub step: usize,
    /// What position 0 reads first; may lie in front of the source.
    pub start: isize,
    /// Taps of this residue; may be none.
    pub taps: usize,
    /// Distance of what neighbouring taps read.
    pub tap_step: usize,
    /// Tap of the kernel that tap 0 is, and from there to the next one.
    pub kernel: (usize, isize),
}

impl Residue {
    pub(super) fn forward(axis: &Axis) -> Self {
        Self {
            first: 0,
            out_step: 1,
            count: axis.output,
            step: axis.stride,
            start: -(axis.before as isize),
            taps: axis.kernel,
            tap_step: axis.dilation,
            kernel: (0, 1),
        }
    }

    /// The residues of the gradient to the input.
    ///
    /// With `g = gcd(stride, dilation)`, the taps of remainder `r` are `k0, k0 + stride/g, ..`; their outputs lie
    /// `dilation/g` apart. They are reversed here, so that the run goes forward in memory.
    pub(super) fn input_grad(axis: &Axis) -> Vec<Self> {
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
            Self {
                first,
                // A step beyond the input is as good as its length, and products of it fit.
                out_step: count,
                count: (axis.input - first).div_ceil(s),
                step: 1,
                start: nearest - (reach * (d / g)) as isize,
                taps,
                tap_step: d / g,
                kernel: (k0 + reach * (s / g), -((s / g) as isize)),
            }
        });
        memory::demand(memory::collect(residues))
    }

    /// The tap of the kernel that `t` is.
    pub(super) fn kernel_tap(&self, t: usize) -> usize {
        (self.kernel.0 as isize + t as isize * self.kernel.1) as usize
    }

    /// The taps of output `o` that meet the source, and the position that the first of them reads.
    pub(super) fn inside(&self, o: usize, source: usize) -> (Range<usize>, usize) {
        let origin = (o * self.step) as isize + self.start;
        // Smallest t with origin + t * step >= 0; smallest t with origin + t * step >= source.
        let taps = |distance: isize| (distance.max(0) as usize).div_ceil(self.tap_step);
        let to = taps(source as isize - origin).min(self.taps);
        let from = taps(-origin).min(to);
        (from..to, (origin + (from * self.tap_step) as isize).max(0) as usize)
    }

    /// Cuts outputs into such that meet the same taps; what the first tap reads moves on by `step` among these.
    pub(super) fn alike(&self, outputs: Range<usize>, source: usize) -> impl Iterator<Item = Range<usize>> {
        let mut next = outputs.start;
        std::iter::from_fn(move || {
            let first = next;
            if first == outputs.end {
                return None;
            }
            let (taps, _) = self.inside(first, source);
            let same = |o: &usize| self.inside(*o, source).0 == taps;
            next = (first + 1..outputs.end).find(|o| !same(o)).unwrap_or(outputs.end);
            Some(first..next)
        })
    }

    /// The numbers of its outputs among some positions of the result.
    pub(super) fn among(&self, positions: &Range<usize>) -> Range<usize> {
        let number = |at: usize| at.saturating_sub(self.first).div_ceil(self.out_step).min(self.count);
        number(positions.start)..number(positions.end)
    }

    /// What output `o` reads, as if the source had no end: from its first tap to behind its last.
    pub(super) fn reads(&self, o: usize) -> Range<isize> {
        let first = (o * self.step) as isize + self.start;
        first..first + (self.taps.max(1) - 1) as isize * self.tap_step as isize + 1
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The residue that a position of the result belongs to, and its number there.
pub(super) fn place(residues: &[Residue], position: usize) -> (usize, usize) {
    (position % residues[0].out_step, position / residues[0].out_step)
}

/// The residues that some positions of the result belong to, with their numbers: a large stride has more residues than a
/// block has positions.
pub(super) fn of<'a>(
    residues: &'a [Residue],
    positions: &Range<usize>,
) -> impl Iterator<Item = (usize, &'a Residue)> + use<'a> {
    let all = positions.len() >= residues.len();
    let (first, count) = if all { (0, residues.len()) } else { (positions.start, positions.len()) };
    (first..first + count).map(|i| i % residues.len()).map(|i| (i, &residues[i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_cover_every_input_and_every_tap_once() {
        for (input, kernel, stride, dilation, before) in [
            (7usize, 3usize, 1usize, 1usize, 1usize),
            (9, 3, 2, 1, 0),
            (8, 5, 2, 2, 2),
            (11, 2, 3, 1, 0),
            (10, 3, 4, 6, 5),
            (5, 1, 2, 1, 0),
        ] {
            let span = dilation * (kernel - 1) + 1;
            let output = (input + before).checked_sub(span).map_or(0, |rest| rest / stride + 1);
            let axis = Axis { input, output, kernel, stride, dilation, before, after: 0 };
            for residue in Residue::input_grad(&axis).iter().chain([&Residue::forward(&axis)]) {
                let mut next = 0;
                for alike in residue.alike(0..residue.count, input) {
                    assert_eq!(alike.start, next, "{axis:?}");
                    let (taps, first) = residue.inside(alike.start, input);
                    for (i, o) in alike.clone().enumerate() {
                        let (own, at) = residue.inside(o, input);
                        assert!(
                            own == taps && (taps.is_empty() || at == first + i * residue.step),
                            "{axis:?}"
                        );
                    }
                    next = alike.end;
                }
                assert_eq!(next, residue.count, "{axis:?}");
            }
            let mut seen = vec![0; input];
            let mut pairs = Vec::new();
            for residue in Residue::input_grad(&axis) {
                for o in 0..residue.count {
                    let i = residue.first + o * residue.out_step;
                    seen[i] += 1;
                    let (taps, first) = residue.inside(o, output);
                    for (n, t) in taps.enumerate() {
                        pairs.push((i, residue.kernel_tap(t), first + n * residue.tap_step));
                    }
                }
            }
            assert!(seen.iter().all(|&n| n == 1), "{axis:?}");
            let mut expected = Vec::new();
            for o in 0..output {
                for t in 0..kernel {
                    let i = (o * stride + t * dilation).wrapping_sub(before);
                    if i < input {
                        expected.push((i, t, o));
                    }
                }
            }
            pairs.sort_unstable();
            expected.sort_unstable();
            assert_eq!(pairs, expected, "{axis:?}");
        }
    }
}
