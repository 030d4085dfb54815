"""Which samples of a batch a rank computes: those are all that it has to read of inputs that stay on a disk.

The engine decides it (`src/engine/peers.rs`); what is said here too much is read for nothing, what is said
too little would be computed on zeros, so tests compare the bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gridnn._ranks import Ranks
from gridnn._reading import Batches, Share, SharedBatches

if TYPE_CHECKING:
    from gridnn._network import Network

__all__ = ["in_shares", "training_share"]

_FEWEST_SAMPLES = 8  # batches of fewer are computed by every rank


def training_share(network: Network, ranks: Ranks, batches: Batches) -> Share | None:
    """The share of a rank in training steps.

    Args:
        network: what is trained.
        ranks: the ranks.
        batches: the data set; its batches have two sizes at most.

    Returns:
        The samples of this rank in a batch of one of these sizes; None where that is not known beforehand.
    """
    if any(None in shape for shape in network.input_shapes):
        return None
    # Now, on the thread that calls the network: the reader asks while it is at work.
    shares = {}
    for size in {min(batches.batch_size, batches.samples), batches.samples % batches.batch_size} - {0}:
        chunks = network.chunks(size)
        shares[size] = _own(size, -(-size // chunks), ranks)
    return lambda size: shares[size]


def in_shares(ranks: Ranks | None, data: Any) -> Any:
    """Data to evaluate or to predict; a data set that is read batch by batch, as a rank reads it."""
    if ranks is None or not isinstance(data, Batches):
        return data
    return SharedBatches(data, lambda size: _own(size, 1, ranks))


def _own(size: int, chunk: int, ranks: Ranks) -> range:
    """The samples of a rank in a batch of `size`, cut into chunks of `chunk` samples."""
    if size < _FEWEST_SAMPLES:
        return range(size)
    count = -(-size // chunk)
    first, last = ranks.rank * count // ranks.size, (ranks.rank + 1) * count // ranks.size
    return range(min(first * chunk, size), min(last * chunk, size))
