//! How ranks add up what each has of the gradients of weights: the sums of its nodes.

use std::ops::Range;

use super::super::peers::{Payload, Segment, Shares, ends, round_len};
use super::{Add, StepProgram, tree};
use crate::error::Result;
use crate::kernels::Element;
use crate::memory;
use crate::parallel::{Reading, Writing};

/// Where the sums of all chunks go, and the first own node is: parts of the flat buffers. In a node they follow each other.
pub(super) struct Totals<'a, T> {
    /// Each with its first element in a node.
    pub parts: Vec<(usize, Writing<'a, T>)>,
}

/// The elements of a range of a node that a part has which begins there with one.
fn inside(range: &Range<usize>, first: usize, len: usize) -> Range<usize> {
    let [start, end] = [range.start, range.end].map(|element| element.clamp(first, first + len) - first);
    start..end
}

impl<T: Element> Totals<'_, T> {
    /// A range of a node, slice by slice.
    fn slices(&self, range: Range<usize>) -> impl Iterator<Item = &[T]> {
        self.parts.iter().map(move |(first, part)| &part[inside(&range, *first, part.len())])
    }

    fn set(&mut self, range: &Range<usize>, from: &[T]) {
        let mut rest = from;
        for (first, part) in &mut self.parts {
            let range = inside(range, *first, part.len());
            let (now, later) = rest.split_at(range.len());
            part[range].copy_from_slice(now);
            rest = later;
        }
    }

    /// What ranks give each other once each has the sums of its part of a node.
    pub fn segments<'s>(
        &'s mut self,
        part: impl Fn(usize) -> Range<usize> + Copy + 's,
    ) -> Vec<Segment<'s, T>> {
        let segment = |(first, values): &'s mut (usize, Writing<'_, T>)| {
            let (first, len) = (*first, values.len());
            let own = move |rank: usize| inside(&part(rank), first, len);
            Segment::of_all(values, move |rank| own(rank).len(), move |rank| std::iter::once(own(rank)))
        };
        self.parts.iter_mut().map(segment).collect()
    }
}

/// The part of a node that a rank adds up.
pub(super) fn part_of<T: Element>(shares: &Shares<'_, T>) -> impl Fn(usize) -> Range<usize> + Copy + use<T> {
    let (len, size) = (shares.node_len(), shares.size());
    move |rank| rank * len / size..(rank + 1) * len / size
}

impl<T: Element> StepProgram<'_, '_, T> {
    /// Adds up the nodes of all ranks: each has a part of them, of which `totals` then holds the sums.
    pub(super) fn add_up(&self, shares: &Shares<'_, T>, totals: &mut Totals<'_, T>) -> Result<()> {
        let (rank, size, nodes) = (shares.rank(), shares.size(), shares.nodes());
        let count = nodes.iter().map(Vec::len).sum::<usize>();
        let further = shares.own_nodes().iter().filter_map(|node| shares.node(node.start));
        let further = further.map(|start| self.memory.nodes.read(start..start + shares.node_len()));
        let further: Vec<Reading<'_, T>> = memory::collect(further)?;
        let longest = shares.node_len().div_ceil(size);
        let most = round_len::<T>(count.max(size)).min(longest.max(1));
        let mut received = memory::filled(T::ZERO, count * most)?;
        let before = |rank: usize| nodes[..rank].iter().map(Vec::len).sum::<usize>();
        let place = |first: usize| nodes.iter().flatten().position(|node| node.start == first).unwrap_or(0);
        for round in 0..longest.div_ceil(most) {
            let part = |rank: usize| {
                let Range { start, end } = part_of(shares)(rank);
                (start + round * most).min(end)..(start + (round + 1) * most).min(end)
            };
            let mine = part(rank);
            let of_others =
                |other: usize, count: usize| if other == rank { 0 } else { count * size_of::<T>() };
            let sent = (0..size).map(|to| of_others(to, nodes[rank].len() * part(to).len()));
            let come = (0..size).map(|from| of_others(from, nodes[from].len() * mine.len()));
            let mut sums = NodeSums {
                first: (!nodes[rank].is_empty()).then_some(&*totals),
                further: &further,
                parts: (0..size).filter(|to| *to != rank).map(part).collect(),
                mine: mine.clone(),
                rank,
                own: before(rank) * mine.len()..before(rank + 1) * mine.len(),
                received: &mut received[..count * mine.len()],
            };
            shares.exchange([&ends(sent), &ends(come)], &mut sums)?;
            tree::join(self.step_plan.chunks(), shares.chunks(), |to, from| {
                let (left, right) = received.split_at_mut(place(from) * mine.len());
                let (to, from) = (&mut left[place(to) * mine.len()..][..mine.len()], &right[..mine.len()]);
                self.kernels.tier.vectorize(Add { from, to });
            });
            totals.set(&mine, &received[..mine.len()]);
        }
        Ok(())
    }
}

/// A round: the others get their parts of the own nodes, and the own part of all nodes comes.
struct NodeSums<'r, 'a, T: Element> {
    /// None of a rank that has no chunks.
    first: Option<&'r Totals<'a, T>>,
    further: &'r [Reading<'a, T>],
    /// The parts of the others.
    parts: Vec<Range<usize>>,
    mine: Range<usize>,
    rank: usize,
    /// Of all nodes, where the own ones are.
    own: Range<usize>,
    received: &'r mut [T],
}

/// A range of some nodes, one after the other, slice by slice.
fn slices<'r, T: Element>(
    (first, further): (Option<&'r Totals<'_, T>>, &'r [Reading<'_, T>]),
    range: &Range<usize>,
) -> impl Iterator<Item = &'r [T]> {
    let of_first = first.into_iter().flat_map({
        let range = range.clone();
        move |totals| totals.slices(range.clone())
    });
    let range = range.clone();
    of_first.chain(further.iter().map(move |node| &node[range.clone()]))
}

impl<T: Element> Payload for NodeSums<'_, '_, T> {
    fn pack(&mut self, to: &mut [u8]) {
        let mut rest = to;
        for slice in self.parts.iter().flat_map(|part| slices((self.first, self.further), part)) {
            let from: &[u8] = bytemuck::cast_slice(slice);
            let (now, later) = rest.split_at_mut(from.len());
            now.copy_from_slice(from);
            rest = later;
        }
    }

    fn unpack(&mut self, from: &[&[u8]]) {
        let mut rest = &mut self.received[self.own.clone()];
        for slice in slices((self.first, self.further), &self.mine) {
            let (now, later) = rest.split_at_mut(slice.len());
            now.copy_from_slice(slice);
            rest = later;
        }
        let mut end = 0;
        for (rank, part) in from.iter().enumerate() {
            if rank == self.rank {
                end = self.own.end;
                continue;
            }
            let start = end;
            end += part.len() / size_of::<T>();
            bytemuck::cast_slice_mut(&mut self.received[start..end]).copy_from_slice(part);
        }
    }
}
