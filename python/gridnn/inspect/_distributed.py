"""What it costs to share a training step among processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from gridnn import _validation
from gridnn.model.handshake import too_many_ranks

if TYPE_CHECKING:
    from gridnn.model.protocol import Model

_HEADER = 16  # bytes of every exchange, from each rank to each


@dataclass(frozen=True, slots=True)
class DistributedCosts:
    """What a rank sends in a training step; see `distributed_costs`.

    Example:
        >>> gn.inspect.DistributedCosts(2, 3, {"sums": 800, "scores": 64}, 0.001).bytes
        864
    """

    ranks: int
    exchanges: int
    """Exchanges of a step: how often all ranks wait for each other."""
    sent: Mapping[str, int]
    """Bytes that rank 0 sends: "sums" of gradients, "values" and "gradients" of tensors for layers that
    look at the whole batch, gradients of "kernels" that ranks divide among them, "statistics" of batch
    normalization, "scores"."""
    seconds: float
    """Time for that on the network, with nothing overlapped."""

    @property
    def bytes(self) -> int:
        """All of `sent`."""
        return sum(self.sent.values())


def distributed_costs(
    model: Model, batch: int, ranks: int, bandwidth: float = 125e6, latency: float = 50e-6
) -> DistributedCosts:
    """Computes what ranks that share the batches of a model send each other, without starting any.

    To compare with the time of a step: a batch is worth sharing where ``step / ranks + seconds`` is well
    below ``step``.

    Args:
        model: a model that is built, with known sizes of its inputs.
        batch: samples of a batch, of all ranks together.
        ranks: number of processes, at least 1.
        bandwidth: bytes a second that a rank can send; 125e6 is 1 Gbit/s.
        latency: seconds that the smallest message takes.

    Returns:
        Bytes of a step by what they are for, exchanges, and seconds.

    Raises:
        ValueError, TypeError: a number is not positive, sizes of the inputs are unknown, or the batch has
            fewer chunks than there are ranks.
        NotReadyError: the model is not built.

    Example:
        >>> stack = layers.Conv2D(8, 3), layers.Flatten(), layers.Dense(10)
        >>> model = gn.Sequential([gn.Input((16, 16, 1)), *stack])
        >>> costs = gn.inspect.distributed_costs(model, batch=64, ranks=2)
        >>> costs.sent["sums"] == 80 * 4  # weights of the convolution, in float32: half of them, twice
        True
        >>> gn.inspect.distributed_costs(model, batch=64, ranks=1).seconds
        0.0
    """
    batch = _validation.positive_integer(batch, "batch")
    ranks = _validation.positive_integer(ranks, "ranks")
    bandwidth = _validation.real(bandwidth, "bandwidth", low=0.0)
    latency = _validation.real(latency, "latency", low=0.0)
    if bandwidth == 0:
        raise ValueError("`bandwidth` must be a positive number of bytes a second. Received 0.")
    network = model.network
    shapes = [(None, *shape) for shape in network.sources]
    if any(None in shape[1:] for shape in shapes):
        raise ValueError(
            f"`model` must have an input of known sizes. Received {', '.join(map(str, shapes))}: build the "
            "same model with the sizes of your samples, gn.Input((64, 64, 64, 1)) for example."
        )
    chunks = network.chunks(batch)
    if ranks > chunks:
        raise ValueError(too_many_ranks(ranks, batch, chunks))
    exchanges = network.traffic(batch, ranks)
    sent: dict[str, int] = {}
    for kind, count in chain.from_iterable(exchanges):
        sent[kind] = sent.get(kind, 0) + count
    headers = _HEADER * (ranks - 1) * len(exchanges)
    # A header and the numbers themselves, each of which reaches all in this many rounds.
    rounds = 2 * len(exchanges) * (ranks - 1).bit_length()
    seconds = (sum(sent.values()) + headers) / bandwidth + rounds * latency
    return DistributedCosts(ranks, len(exchanges), sent, seconds)
