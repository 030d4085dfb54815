"""What ranks that share a run must have in common, compared before it begins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gridnn import _engine
from gridnn._ranks import Ranks
from gridnn.errors import DistributedError
from gridnn.model.sources import ArraySource, ReadSource, Source

if TYPE_CHECKING:
    from gridnn._network import Network
    from gridnn.model.trainable import TrainableModel

__all__ = ["check_chunks", "check_weights", "shake_hands"]

_ADVICE = {
    "weights": "give the model a seed, or call gn.set_random_seed, in all of them",
    "version": "install the same release everywhere",
    "instructions": "GRIDNN_SIMD=portable on all of them makes them alike, and slow",
    "targets": "every rank is given all targets",
    "inputs": "every rank is given arrays of all samples, of which it reads its own",
    "callbacks": "every rank is given all of them; those that write are called on rank 0 alone",
    "backup": "every rank reads it, so it belongs into a folder that all hosts see",
}


def shake_hands(
    model: TrainableModel, ranks: Ranks, arguments: Mapping[str, Any], targets: Any = None
) -> None:
    """Compares model, optimizer, targets and arguments of all ranks.

    Args:
        model: the model, as the run begins with it.
        ranks: the ranks.
        arguments: what else has to agree, by name; anything that `repr` tells apart.
        targets: arrays, or None.

    Raises:
        DistributedError: they differ; on every rank, with the names of what differs and the ranks.
    """
    parts = {**_parts(model), **{name: repr(value) for name, value in arguments.items()}}
    if targets is not None:
        parts["targets"] = _digest(targets)
    everyone = ranks.values(parts)
    found = {}
    for name in dict.fromkeys(name for each in everyone for name in each):
        others = [rank for rank, each in enumerate(everyone) if each.get(name) != everyone[0].get(name)]
        if others:
            found[name] = f"{name} ({_numbers(others)})" + (f": {_ADVICE[name]}" if name in _ADVICE else "")
    if "backup" in found:
        found = {"backup": found["backup"]}  # whence weights, seed and steps differ as well
    if found:
        raise DistributedError(f"ranks differ from rank 0 in {'; '.join(found.values())}")


def check_weights(network: Network, ranks: Ranks, epoch: int) -> None:
    """Compares the weights of all ranks after an epoch, before anything is made of them.

    Args:
        network: what is trained.
        ranks: the ranks.
        epoch: number of the epoch, from 0.

    Raises:
        DistributedError: they differ, on every rank.
    """
    everyone = ranks.values(_digest(network.get_weights()))
    others = [rank for rank, digest in enumerate(everyone) if digest != everyone[0]]
    if others:
        raise DistributedError(
            f"after epoch {epoch + 1} ranks differ from rank 0 in weights ({_numbers(others)}): they had "
            "other batches. Generators, layers and callbacks of your own must do the same on every rank"
        )


def check_chunks(network: Network, ranks: Ranks, source: Source) -> None:
    """Finds ranks that would have nothing to do in any batch.

    Args:
        network: what is trained.
        ranks: the ranks.
        source: the batches; nothing is known of those of an iterable.

    Raises:
        ValueError: a full batch has fewer chunks than there are ranks.
    """
    if not isinstance(source, (ArraySource, ReadSource)) or any(
        None in shape for shape in network.input_shapes
    ):
        return
    samples = len(source.arrays) if isinstance(source, ArraySource) else source.data.samples
    batch = min(source.batch_size, samples)
    chunks = network.chunks(batch)
    if ranks.size > chunks:
        most = f"at most {chunks} ranks" if chunks > 1 else "one process"
        raise ValueError(
            f"{ranks.size} ranks cannot share batches of {batch} samples, which are cut into {chunks} "
            f"chunk{'s' * (chunks > 1)}. Start {most}, or give a larger `batch_size`."
        )


def _numbers(ranks: list[int]) -> str:
    return f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}"


def _parts(model: TrainableModel) -> dict[str, str]:
    tier = _engine.simd_tier()
    parts = {
        "version": _engine.version,
        # All tiers that fuse multiply and add have the same bytes.
        "instructions": "portable" if tier == "portable" else "fused",
        "layers": _text(model.get_config()),
    }
    compilation = model.training_state.compilation
    if compilation is not None:
        parts["compilation"] = _text(compilation.get_config())
    if model.built:
        network = model.network
        state = network.optimizer_state()
        parts["weights"] = _digest(network.get_weights())
        parts["optimizer state"] = _digest([*(state[name] for name in sorted(state))])
        parts["steps"] = str(network.iterations)
    return parts


def _text(config: Any) -> str:
    return hashlib.blake2b(
        json.dumps(config, sort_keys=True, default=repr).encode(), digest_size=16
    ).hexdigest()


def _digest(arrays: Any) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return digest.hexdigest()
