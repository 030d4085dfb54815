"""Which samples of a batch a rank computes: all that it has to read of data that stay on a disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gridnn import _core
from gridnn._ranks import Ranks
from gridnn._reading import Batches, Share, SharedBatches

if TYPE_CHECKING:
    from gridnn._network import Network

__all__ = ["in_shares", "training_share"]


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
    sizes = {min(batches.batch_size, batches.samples), batches.samples % batches.batch_size} - {0}
    shares = {
        size: [network.training_share(size, rank, ranks.size) for rank in range(ranks.size)] for size in sizes
    }
    return Share(shares.__getitem__, ranks.rank, ranks.gather)


def in_shares(ranks: Ranks | None, data: Any) -> Any:
    """Data to evaluate or to predict; a data set that is read batch by batch, as a rank reads it."""
    if ranks is None or not isinstance(data, Batches):
        return data

    def samples(size: int) -> list[range]:
        return [range(*_core.prediction_share(size, rank, ranks.size)) for rank in range(ranks.size)]

    return SharedBatches(data, Share(samples, ranks.rank, ranks.gather))
