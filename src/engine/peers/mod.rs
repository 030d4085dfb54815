//! Several ranks, which are processes or threads with a copy of the model each, share the batches of one network.
//!
//! All of them run the plan of the whole batch, each for chunks of its own, and tell each other what the next phases
//! need of all samples: sums, or tensors. Every addition is done here, in the order of one process; a [`Peers`] moves
//! bytes. The update is the same everywhere, on the same gradients.

mod segments;
mod shares;
mod traffic;

use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

pub(super) use segments::Segment;
pub(super) use shares::{Shares, Sharing, kernel_len};

use super::Network;
use super::lowering::Lowered;
use super::plan::{Purpose, StepPlan};
use crate::error::Result;
use crate::kernels::Element;
use crate::tuning::ROUND_BYTES;

/// Batches of fewer samples are computed by every rank: cut inside samples they have no chunks, and little work.
const FEWEST_SAMPLES: usize = 8;

/// Predictions are not cut into chunks: a rank may take any number of samples.
const CHUNK_OF_PREDICTIONS: usize = 1;

/// Parts of all chunks by which shares of ranks may differ.
const EVEN_SHARES: usize = 32;

/// Ranks from which on the parts of a round do not become smaller: of less, waiting would take longest.
const MOST_PARTS_OF_ROUND: usize = 8;

/// The ways from a rank to the others. All ranks call the same methods in the same order, on the thread that called the
/// network; no lock but the network's is held meanwhile.
pub trait Peers: Send + Sync {
    /// The number of this rank.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// Gives every rank the parts of all: that of rank `r` ends at `ends[r]`, where that of the next one begins. The own
    /// part is packed, then those of all ranks are unpacked.
    ///
    /// # Errors
    /// The others cannot be reached, or one of them has failed.
    fn gather(&self, ends: &[usize], payload: &mut dyn Payload) -> Result<()>;

    /// Sends every rank a part of what is packed and unpacks what they send: `ends` of the parts for each, and of those from
    /// each, as in [`Peers::gather`].
    ///
    /// # Errors
    /// As [`Peers::gather`].
    fn exchange(&self, ends: [&[usize]; 2], payload: &mut dyn Payload) -> Result<()>;
}

/// What goes from one rank to another, in memory of [`Peers`], which knows its length.
pub trait Payload {
    /// Writes what is sent.
    fn pack(&mut self, to: &mut [u8]);

    /// Reads what has come, from each rank; the own part is not looked at.
    fn unpack(&mut self, from: &[&[u8]]);
}

impl<T: Element> Network<T> {
    /// The network, whose steps and predictions are shared with other ranks, which all make the same calls.
    pub fn with_peers(&mut self, peers: Option<Arc<dyn Peers>>) -> SharedNetwork<'_, T> {
        self.peers = peers.filter(|peers| peers.size() > 1);
        SharedNetwork(self)
    }

    /// How a batch is shared, if it is.
    pub(super) fn shares<'a>(&'a self, at: (&'a Lowered<T>, &'a StepPlan)) -> Option<Shares<'a, T>> {
        let peers = self.peers.as_deref()?;
        let shared = at.1.batch >= FEWEST_SAMPLES && at.1.purpose != Purpose::Inspect;
        shared.then(|| Shares::new(peers, at))
    }
}

impl<T: Element> Network<T> {
    /// In how many chunks a training step on `batch` samples is cut, which is the most ranks that can share it; 1 where
    /// every rank computes the whole.
    ///
    /// # Errors
    /// A size of the input is unknown, or a layer does not fit it.
    pub fn chunks(&mut self, batch: usize) -> Result<usize> {
        let (plan, step_plan) = self.plan_of_known(batch, Purpose::Train)?;
        let chunks = self.plans[plan].step_plans[step_plan].chunks();
        Ok(if batch < FEWEST_SAMPLES { 1 } else { chunks })
    }

    /// The samples of a batch that `rank` of `ranks` computes in a training step: it has to read the inputs of no others.
    ///
    /// # Errors
    /// As [`Network::chunks`].
    pub fn training_share(&mut self, batch: usize, rank: usize, ranks: usize) -> Result<Range<usize>> {
        let (plan, step_plan) = self.plan_of_known(batch, Purpose::Train)?;
        Ok(share(batch, self.plans[plan].step_plans[step_plan].chunk, rank, ranks))
    }
}

/// A network that is shared with other ranks for as long as this lives.
pub struct SharedNetwork<'a, T: Element>(&'a mut Network<T>);

impl<T: Element> Deref for SharedNetwork<'_, T> {
    type Target = Network<T>;
    fn deref(&self) -> &Network<T> {
        self.0
    }
}

impl<T: Element> DerefMut for SharedNetwork<'_, T> {
    fn deref_mut(&mut self) -> &mut Network<T> {
        self.0
    }
}

impl<T: Element> Drop for SharedNetwork<'_, T> {
    fn drop(&mut self) {
        self.0.peers = None;
    }
}

/// Elements that a rank sends another one in a round.
pub(super) fn round_len<P>(ranks: usize) -> usize {
    let bytes = ROUND_BYTES / ranks.min(MOST_PARTS_OF_ROUND);
    (bytes / size_of::<P>()).max(1)
}

/// Ends of parts that follow each other.
pub(super) fn ends(lens: impl Iterator<Item = usize>) -> Vec<usize> {
    lens.scan(0, |end, len| {
        *end += len;
        Some(*end)
    })
    .collect()
}

/// The samples of a batch that `rank` of `ranks` predicts for.
pub fn prediction_share(batch: usize, rank: usize, ranks: usize) -> Range<usize> {
    share(batch, CHUNK_OF_PREDICTIONS, rank, ranks)
}

/// The samples of `rank` in a batch that is cut into chunks of some samples.
fn share(batch: usize, chunk: usize, rank: usize, ranks: usize) -> Range<usize> {
    if batch < FEWEST_SAMPLES {
        return 0..batch;
    }
    samples(&own_chunks(batch.div_ceil(chunk), rank, ranks), chunk, batch)
}

/// What is a rank's of `count` chunks or tasks.
fn own(count: usize, rank: usize, ranks: usize) -> Range<usize> {
    rank * count / ranks..(rank + 1) * count / ranks
}

/// The chunks of a rank. They end at a large node of the tree where one is near: a rank then has fewer nodes to send, and
/// a chunk in [`EVEN_SHARES`] more or less to compute.
fn own_chunks(count: usize, rank: usize, ranks: usize) -> Range<usize> {
    let bound = |rank: usize| {
        let exact = rank * count;
        let off = |bound: usize| exact.abs_diff(bound * ranks);
        let nearest = |level: u32| ((exact + (ranks << level) / 2) / (ranks << level)) << level;
        let near = |bound: &usize| off(*bound) * EVEN_SHARES <= count && *bound <= count;
        (0..usize::BITS - count.leading_zeros()).rev().map(nearest).find(near).unwrap_or(exact / ranks)
    };
    if rank + 1 == ranks { bound(rank)..count } else { bound(rank)..bound(rank + 1) }
}

/// The samples of some chunks.
fn samples(chunks: &Range<usize>, chunk: usize, batch: usize) -> Range<usize> {
    (chunks.start * chunk).min(batch)..(chunks.end * chunk).min(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_chunks_follow_each_other_and_are_even() {
        for count in 1..=64 {
            for ranks in 1..=70 {
                let shares: Vec<_> = (0..ranks).map(|rank| own_chunks(count, rank, ranks)).collect();
                assert_eq!((shares[0].start, shares[ranks - 1].end), (0, count));
                for (rank, pair) in shares.windows(2).enumerate() {
                    assert_eq!(pair[0].end, pair[1].start);
                    // What is rounded down may be off by nearly a chunk, what is moved to a node by less.
                    assert!(pair[0].end.abs_diff((rank + 1) * count / ranks) <= 1);
                    assert!(pair[0].start <= pair[0].end);
                }
            }
        }
        // A last chunk is missing: half of the tree all the same.
        assert_eq!(own_chunks(63, 0, 2), 0..32);
        // Two thirds of a chunk from the even share, which is 21 and a third.
        assert_eq!([0, 1, 2].map(|rank| own_chunks(64, rank, 3)), [0..22, 22..42, 42..64]);
    }
}
