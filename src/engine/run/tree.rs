//! Sums over chunks: partial gradients move up a binary tree as chunks end. Its error grows with the logarithm of the number
//! of terms (pairwise summation; Higham 1993, "The accuracy of floating point summation", doi 10.1137/0914050).
//!
//! Leaf `i` is chunk `i`. Node `(start, size)` joins `(start + size, size)` where `start` is a multiple of `2 * size`; at
//! the right edge one without a partner moves up as it is. Which nodes are added depends on the number of chunks alone:
//! whoever ends a node looks for its partner, adds it if it is there, and else leaves the node for whoever comes second.
//! So all threads, or all hosts with contiguous chunks, add the same numbers in the same order.
//!
//! A worker takes a buffer first and then the next chunk. Chunks are drawn in their order, so what lies in buffers are
//! nodes between the chunks that are being worked on, a few for each of these; if all buffers are taken, somebody is
//! about to end a chunk, which takes no further buffer and frees one or several.

use std::ops::Range;

use super::super::lowering::PlannedOp;
use super::{Add, StepProgram};
use crate::kernels::{Element, Job};
use crate::parallel::{Pulse, Reading, lock};

/// Levels of the tree below its root at most: there are up to 64 chunks.
const LEVELS: usize = 6;
/// Elements that go up all levels at once, so that what is added stays in L1.
const BLOCK: usize = 1024;

/// A node: its level, and its number in it.
type Node = (usize, usize);

/// The nodes of the stack that runs.
#[derive(Debug, Default)]
pub(in super::super) struct Tree {
    /// Number of the phase, if one is under way.
    phase: Option<usize>,
    leaves: usize,
    /// Chunks that are summed here.
    own: Range<usize>,
    /// Nodes that are still to come of those that end here.
    left: usize,
    /// The next chunk.
    next: usize,
    free: Vec<usize>,
    /// The buffers of nodes that wait for their partners.
    waiting: Vec<Option<usize>>,
}

impl Tree {
    /// Forgets a phase that was abandoned.
    pub fn clear(&mut self) {
        self.phase = None;
    }

    fn begin(&mut self, phase: usize, leaves: usize, own: &Range<usize>, buffers: usize) {
        if self.phase != Some(phase) {
            self.phase = Some(phase);
            self.leaves = leaves;
            self.own = own.clone();
            self.left = roots(leaves, own).count();
            self.next = own.start;
            self.free.clear();
            self.free.extend(0..buffers);
            self.waiting.clear();
            self.waiting.resize((LEVELS + 1) * leaves, None);
        }
    }

    /// The next chunk and a buffer for it.
    fn draw(&mut self) -> Option<(usize, usize)> {
        let buffer = self.free.pop()?;
        self.next += 1;
        Some((self.next - 1, buffer))
    }

    /// Whether a node ends here: that of all chunks, or one whose parent has chunks of others.
    fn is_root(&self, (level, number): Node) -> bool {
        let parent = (number / 2) << (level + 1);
        let end = (parent + (2 << level)).min(self.leaves);
        1 << level >= self.leaves || parent < self.own.start || self.own.end < end
    }

    fn place(&mut self, (level, number): Node) -> &mut Option<usize> {
        &mut self.waiting[level * self.leaves + number]
    }

    /// Moves a node up as long as its partner is there, or there is none; returns how many it is added to.
    fn climb(&mut self, node: &mut Node, partners: &mut [usize; LEVELS]) -> usize {
        let mut found = 0;
        while !self.is_root(*node) {
            let (level, number) = *node;
            let partner = number ^ 1;
            if partner << level < self.leaves {
                let Some(buffer) = self.place((level, partner)).take() else { break };
                partners[found] = buffer;
                found += 1;
            }
            *node = (level + 1, number / 2);
        }
        found
    }
}

/// The largest nodes among some chunks, from left to right.
pub(in super::super) fn roots(
    leaves: usize,
    own: &Range<usize>,
) -> impl Iterator<Item = Range<usize>> + use<> {
    let (mut start, last) = (own.start, own.end);
    std::iter::from_fn(move || {
        let fits = |level: &u32| {
            let size = 1 << level;
            start.is_multiple_of(size) && (start + size).min(leaves) <= last && size < 2 * leaves
        };
        let level = (0..usize::BITS).take_while(fits).last().filter(|_| start < last)?;
        let node = start..(start + (1 << level)).min(leaves);
        start = node.end;
        Some(node)
    })
}

/// Joins the nodes of ranks, which are all there is, up to the root: `add(to, from)` adds one node to another. Nodes are
/// named by their first chunks; what is inside `owned` is joined already.
pub(super) fn join(leaves: usize, owned: &[Range<usize>], mut add: impl FnMut(usize, usize)) {
    let mut size = 1;
    while size < leaves {
        for first in (0..leaves - size).step_by(2 * size) {
            let end = (first + 2 * size).min(leaves);
            if !owned.iter().any(|own| own.start <= first && end <= own.end) {
                add(first, first + size);
            }
        }
        size *= 2;
    }
}

impl<T: Element> StepProgram<'_, '_, T> {
    /// The next chunk of a phase with partial gradients and a buffer for them; None if the program was abandoned.
    pub(super) fn draw(&self, phase: usize, pulse: &Pulse<'_>) -> Option<(usize, usize)> {
        loop {
            {
                let mut tree = lock(&self.memory.tree);
                let buffers = self.step_plan.buffers(self.workers);
                tree.begin(phase, self.step_plan.chunks(), &self.own.chunks, buffers);
                if let Some(drawn) = tree.draw() {
                    return Some(drawn);
                }
            }
            if pulse.stopped() {
                return None;
            }
            std::thread::yield_now();
        }
    }

    /// Brings the sums of a chunk, which are at `totals`, up the tree as far as it goes; those of all chunks end in the
    /// place of the whole gradient, or where ranks share a batch those of nodes among the rank's.
    pub(super) fn climb(
        &self,
        ops: &Range<usize>,
        (chunk, buffer): (usize, usize),
        (stack, totals): (&Range<usize>, &[T]),
    ) {
        let mut node = (0, chunk);
        let mut partners = [0; LEVELS];
        let mut leaf = true;
        loop {
            let (count, root) = {
                let mut tree = lock(&self.memory.tree);
                let count = tree.climb(&mut node, &mut partners);
                if count == 0 && !leaf {
                    *tree.place(node) = Some(buffer);
                    return;
                }
                (count, tree.is_root(node))
            };
            let partners = &partners[..count];
            let first = self.planned(ops.start).partial.start;
            let summed = ops.clone().map(|i| self.planned(i)).filter(|planned| !planned.sums.is_empty());
            for (sums, partial) in summed.flat_map(PlannedOp::summed) {
                let place = |buffer: usize| {
                    let start = self.step_plan.buffer(buffer, self.workers);
                    start + partial.start - first..start + partial.end - first
                };
                let held: [Option<Reading<'_, T>>; LEVELS] = std::array::from_fn(|i| {
                    partners.get(i).map(|&partner| self.memory.arena.read(place(partner)))
                });
                let others = held.each_ref().map(|other| other.as_deref().unwrap_or_default());
                let others = &others[..count];
                let own = (!leaf && root).then(|| self.memory.arena.read(place(buffer)));
                let own = match &own {
                    Some(own) => Some(&**own),
                    None => leaf.then(|| &totals[sums.start - stack.start..sums.end - stack.start]),
                };
                let to = &mut match self.shares {
                    _ if !root => self.memory.arena.write(place(buffer)),
                    None => self.memory.arena.write(self.total(&partial)),
                    Some(shares) => match shares.node(node.1 << node.0) {
                        None => self.memory.arena.write(self.total(&partial)),
                        Some(start) => self.memory.nodes.write(start + partial.start..start + partial.end),
                    },
                };
                self.kernels.tier.vectorize(Climb { own, others, to });
            }
            let mut tree = lock(&self.memory.tree);
            tree.free.extend_from_slice(partners);
            if root {
                tree.free.push(buffer);
                tree.left -= 1;
                if tree.left == 0 {
                    tree.phase = None;
                }
                return;
            }
            leaf = false;
        }
    }

    /// The place of a part of the gradients of all chunks together.
    pub(super) fn total(&self, partial: &Range<usize>) -> Range<usize> {
        self.step_plan.partials + partial.start..self.step_plan.partials + partial.end
    }

    /// Adds up chunks whose partial gradients are all in memory, up the same tree; `read(chunk, part, to)` fetches some
    /// elements of one.
    pub(super) fn sum_up(&self, chunks: usize, read: impl Fn(usize, Range<usize>, &mut [T]), to: &mut [T]) {
        let mut nodes = [[T::ZERO; BLOCK]; LEVELS + 2];
        let add = |nodes: &mut [[T; BLOCK]], len: usize| {
            if let [.., left, right] = nodes {
                self.kernels.tier.vectorize(Add { from: &right[..len], to: &mut left[..len] });
            }
        };
        for (block, to) in to.chunks_mut(BLOCK).enumerate() {
            let (part, mut depth) = (block * BLOCK..block * BLOCK + to.len(), 0);
            for chunk in 0..chunks {
                read(chunk, part.clone(), &mut nodes[depth][..to.len()]);
                depth += 1;
                for _ in 0..(chunk + 1).trailing_zeros() {
                    add(&mut nodes[..depth], to.len());
                    depth -= 1;
                }
            }
            while depth > 1 {
                add(&mut nodes[..depth], to.len());
                depth -= 1;
            }
            to.copy_from_slice(&nodes[0][..to.len()]);
        }
    }
}

/// `to = own + others`, from left to right; without `own`, `to` has it.
struct Climb<'a, T> {
    own: Option<&'a [T]>,
    others: &'a [&'a [T]],
    to: &'a mut [T],
}

impl<T: Element> Job for Climb<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for (block, to) in self.to.chunks_mut(BLOCK).enumerate() {
            let part = block * BLOCK..block * BLOCK + to.len();
            let mut others = self.others.iter().map(|other| &other[part.clone()]);
            if let Some(own) = self.own {
                let own = &own[part.clone()];
                match others.next() {
                    None => to.copy_from_slice(own),
                    Some(other) => {
                        for ((to, own), other) in to.iter_mut().zip(own).zip(other) {
                            *to = own.add(*other);
                        }
                    }
                }
            }
            for other in others {
                for (to, other) in to.iter_mut().zip(other) {
                    *to += *other;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends chunks in an order, at most `workers` of them at a time; returns the most buffers in use and what was added
    /// to what, as text.
    fn run(
        leaves: usize,
        workers: usize,
        buffers: usize,
        pick: &mut dyn FnMut(usize) -> usize,
    ) -> (usize, String) {
        let mut tree = Tree::default();
        tree.begin(0, leaves, &(0..leaves), buffers);
        let mut contents = vec![String::new(); buffers];
        let mut active: Vec<(usize, usize)> = Vec::new();
        let mut most = 0;
        loop {
            while active.len() < workers && tree.next < leaves {
                let Some(drawn) = tree.draw() else { break };
                active.push(drawn);
            }
            most = most.max(buffers - tree.free.len());
            assert!(!active.is_empty(), "{leaves} chunks, {buffers} buffers: nobody can go on");
            let (chunk, buffer) = active.swap_remove(pick(active.len()));
            let (mut node, mut partners) = ((0, chunk), [0; LEVELS]);
            let count = tree.climb(&mut node, &mut partners);
            let mut text = chunk.to_string();
            for &partner in &partners[..count] {
                // Additions commute, to the byte: the smaller number stands first.
                let mut pair = [text, std::mem::take(&mut contents[partner])];
                let first = |text: &String| {
                    text.trim_start_matches('(').split(['+', ')']).next().unwrap().parse::<usize>().unwrap()
                };
                pair.sort_by_key(first);
                text = format!("({}+{})", pair[0], pair[1]);
            }
            tree.free.extend_from_slice(&partners[..count]);
            if tree.is_root(node) {
                tree.free.push(buffer);
                assert_eq!(tree.free.len(), buffers);
                return (most, text);
            }
            contents[buffer] = text;
            *tree.place(node) = Some(buffer);
        }
    }

    #[test]
    fn the_same_nodes_are_added_in_whatever_order_chunks_end() {
        let mut state = 5u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        assert_eq!(run(7, 1, 7, &mut |_| 0).1, "(((0+1)+(2+3))+((4+5)+6))");
        for leaves in [1usize, 2, 3, 5, 7, 8, 13, 16, 32, 43, 64] {
            let levels = leaves.next_power_of_two().ilog2() as usize;
            let (alone, expected) = run(leaves, 1, leaves.min(2 + levels), &mut |_| 0);
            assert!(alone <= 1 + levels);
            for workers in [1, 2, 3, 5, 8, 20] {
                // As many as a plan has, and the fewest that are enough.
                for buffers in [leaves.min(2 * workers + levels), 1 + levels] {
                    for _ in 0..20 {
                        assert_eq!(run(leaves, workers, buffers, &mut random).1, expected);
                    }
                    // The first chunk ends last, and the last first.
                    assert_eq!(run(leaves, workers, buffers, &mut |n| n - 1).1, expected);
                }
            }
        }
    }
}
