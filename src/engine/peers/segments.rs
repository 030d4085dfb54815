//! What one exchange moves: segments of several buffers together, in rounds that stay in the cache.

use std::ops::Range;

use super::{Payload, Shares, ends, round_len};
use crate::error::Result;
use crate::kernels::Element;

type Ranges<'a> = Box<dyn Iterator<Item = Range<usize>> + 'a>;

/// Elements of a buffer that ranks have for each other.
pub struct Segment<'a, P> {
    values: &'a mut [P],
    moved: Moved<'a>,
    /// Whether all ranks need the same of one.
    to_all: bool,
}

/// What the first of two ranks has and the second one needs.
struct Moved<'a> {
    len: Box<dyn Fn([usize; 2]) -> usize + 'a>,
    /// In an order that both know.
    ranges: Box<dyn Fn([usize; 2]) -> Ranges<'a> + 'a>,
}

impl<'a, P> Segment<'a, P> {
    /// Every rank has the part that ends where it is told, and all need it.
    pub fn parts(values: &'a mut [P], ends: Vec<usize>) -> Self {
        let part = move |rank: usize| rank.checked_sub(1).map_or(0, |before| ends[before])..ends[rank];
        let len = part.clone();
        Self::of_all(values, move |rank| len(rank).len(), move |rank| std::iter::once(part(rank)))
    }

    /// All need the ranges that a rank has, `len` elements together.
    pub fn of_all<I: Iterator<Item = Range<usize>> + 'a>(
        values: &'a mut [P],
        len: impl Fn(usize) -> usize + 'a,
        ranges: impl Fn(usize) -> I + 'a,
    ) -> Self {
        let whole = Self::of_pairs(values, move |[from, _]| len(from), move |[from, _]| ranges(from));
        Self { to_all: true, ..whole }
    }

    /// Every rank needs ranges of its own of those that another one has, `len` elements together.
    pub fn of_pairs<I: Iterator<Item = Range<usize>> + 'a>(
        values: &'a mut [P],
        len: impl Fn([usize; 2]) -> usize + 'a,
        ranges: impl Fn([usize; 2]) -> I + 'a,
    ) -> Self {
        let moved = Moved { len: Box::new(len), ranges: Box::new(move |pair| Box::new(ranges(pair))) };
        Self { values, moved, to_all: false }
    }
}

/// What goes from one rank to another, segment by segment, of which every round takes some elements.
struct Stream<'a> {
    ranges: Box<dyn Iterator<Item = (usize, Range<usize>)> + 'a>,
    rest: (usize, Range<usize>),
    left: usize,
}

impl<'a> Stream<'a> {
    fn new(moved: &'a [Moved<'_>], pair: [usize; 2]) -> Self {
        let of_segment = move |(segment, moved): (usize, &'a Moved<'_>)| {
            (moved.ranges)(pair).map(move |range| (segment, range))
        };
        let left = moved.iter().map(|moved| (moved.len)(pair)).sum();
        Self { ranges: Box::new(moved.iter().enumerate().flat_map(of_segment)), rest: (0, 0..0), left }
    }

    /// Calls `each` with the segments and the ranges of the next elements.
    fn take(&mut self, mut count: usize, mut each: impl FnMut(usize, Range<usize>)) {
        self.left -= count;
        while count > 0 {
            if self.rest.1.is_empty() {
                let Some(next) = self.ranges.next() else { return };
                self.rest = next;
                continue;
            }
            let (segment, Range { start, end }) = self.rest.clone();
            let until = end.min(start + count);
            each(segment, start..until);
            self.rest.1.start = until;
            count -= until - start;
        }
    }
}

/// A round of an exchange: of every stream, the elements that it takes.
struct Round<'r, 'v, 's, P> {
    values: &'r mut [&'v mut [P]],
    rank: usize,
    sent: &'r mut [Stream<'s>],
    received: &'r mut [Stream<'s>],
    lens: [Vec<usize>; 2],
}

impl<P: bytemuck::Pod> Payload for Round<'_, '_, '_, P> {
    fn pack(&mut self, to: &mut [u8]) {
        let mut rest = to;
        for (stream, &len) in self.sent.iter_mut().zip(&self.lens[0]) {
            stream.take(len, |segment, range| {
                let from: &[u8] = bytemuck::cast_slice(&self.values[segment][range]);
                let to = std::mem::take(&mut rest);
                let (now, later) = to.split_at_mut(from.len());
                now.copy_from_slice(from);
                rest = later;
            });
        }
    }

    fn unpack(&mut self, from: &[&[u8]]) {
        for (rank, (stream, &len)) in self.received.iter_mut().zip(&self.lens[1]).enumerate() {
            let mut rest = from[rank];
            stream.take(len, |segment, range| {
                if rank != self.rank {
                    let to: &mut [u8] = bytemuck::cast_slice_mut(&mut self.values[segment][range]);
                    let (now, later) = rest.split_at(to.len());
                    to.copy_from_slice(now);
                    rest = later;
                }
            });
        }
    }
}

impl<T: Element> Shares<'_, T> {
    /// Brings every rank what the others have for it.
    pub fn share<P: bytemuck::Pod>(&self, segments: Vec<Segment<'_, P>>) -> Result<()> {
        let (size, rank) = (self.size(), self.rank());
        let to_all = segments.iter().all(|segment| segment.to_all);
        let (mut values, moved): (Vec<_>, Vec<_>) =
            segments.into_iter().map(|segment| (segment.values, segment.moved)).unzip();
        let stream = |from, to| Stream::new(&moved, [from, to]);
        // What goes to all is the same for any other rank. Of parts that are for each rank its own, none is the rank's.
        let other = |rank: usize| (rank + 1) % size;
        let nothing = || Stream::new(&[], [rank, rank]);
        let mut sent: Vec<_> = match to_all {
            true => vec![stream(rank, other(rank))],
            false => (0..size).map(|to| if to == rank { nothing() } else { stream(rank, to) }).collect(),
        };
        let source = |from: usize| match to_all {
            true => stream(from, other(from)),
            false if from == rank => nothing(),
            false => stream(from, rank),
        };
        let mut received: Vec<_> = (0..size).map(source).collect();
        // Ranks agree on the number of rounds: that of the longest stream of all.
        let longest = match to_all {
            true => received.iter().map(|stream| stream.left).max(),
            false => {
                let pairs = (0..size).flat_map(|from| (0..size).map(move |to| (from, to)));
                pairs.filter(|(from, to)| from != to).map(|(from, to)| stream(from, to).left).max()
            }
        };
        let most = round_len::<P>(size);
        for _ in 0..longest.unwrap_or(0).div_ceil(most) {
            let lens = [&sent, &received]
                .map(|streams| streams.iter().map(|stream| stream.left.min(most)).collect::<Vec<_>>());
            let bytes = lens.each_ref().map(|lens| ends(lens.iter().map(|len| len * size_of::<P>())));
            let [sent, received] = [&mut sent[..], &mut received[..]];
            let mut round = Round { values: &mut values, rank, sent, received, lens };
            match to_all {
                true => self.peers.gather(&bytes[1], &mut round)?,
                false => self.peers.exchange([&bytes[0], &bytes[1]], &mut round)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_taken_in_any_steps() {
        let moved = |len, ranges: Vec<Range<usize>>| Moved {
            len: Box::new(move |_| len),
            ranges: Box::new(move |_| Box::new(ranges.clone().into_iter())),
        };
        let moved = [moved(4, vec![2..5, 5..5, 9..10]), moved(3, vec![Range { start: 0, end: 3 }])];
        let expected = [(0, 2), (0, 3), (0, 4), (0, 9), (1, 0), (1, 1), (1, 2)];
        for step in 1..=expected.len() {
            let (mut stream, mut seen) = (Stream::new(&moved, [0, 1]), Vec::new());
            while stream.left > 0 {
                stream.take(stream.left.min(step), |segment, range| seen.extend(range.map(|i| (segment, i))));
            }
            assert_eq!(seen, expected);
        }
    }
}
