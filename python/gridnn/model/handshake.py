"""What ranks that share a run must have in common, compared before it begins."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _engine
from gridnn._ranks import Ranks
from gridnn.errors import DistributedError
from gridnn.model.data import Arrays
from gridnn.model.sources import ArraySource, ReadSource, Source

if TYPE_CHECKING:
    from gridnn._network import Network
    from gridnn.model.trainable import TrainableModel

__all__ = [
    "BatchCheck",
    "check_chunks",
    "check_weights",
    "shake_hands",
    "too_many_ranks",
    "warn_if_nothing_is_shared",
]

_ADVICE = {
    "layers": "all build the same model",
    "weights": "in all of them call gn.set_random_seed, or give a seed to the model and to each model inside "
    "it; weights that are loaded or set are so on every rank",
    "compilation": "all compile alike, learning rate included",
    "seed": "`fit` is given the same one everywhere, or none: then rank 0 draws it",
    "data": "every rank is given all samples, and the batch size of the whole batch",
    "version": "install the same release everywhere",
    "instructions": "GRIDNN_SIMD=portable on all of them makes them alike, and slow",
    "targets": "every rank is given all targets",
    "inputs": "every rank is given all samples in the same order, and computes its own",
    "callbacks": "every rank is given all of them; those that write are called on rank 0 alone",
    "backup": "every rank reads it, so it belongs into a folder that all hosts see",
}
# What differs because something else does, which alone is named.
_FOLLOWS = {
    # Whence weights, seed and steps differ as well.
    "backup": None,
    "layers": ("weights", "optimizer state"),
    "data": ("inputs", "targets"),
}
_ALWAYS_SHARED = 8
"""Samples of a batch from which ranks share it; the engine's `FEWEST_SAMPLES`."""
_LOOKED_AT = 1 << 16
"""Bytes of a sample that are compared."""


def shake_hands(
    model: TrainableModel,
    ranks: Ranks,
    arguments: Mapping[str, Any],
    *,
    targets: Iterable[NDArray[Any]] = (),
    inputs: Iterable[NDArray[Any]] = (),
) -> None:
    """Compares model, optimizer, data and arguments of all ranks.

    Args:
        model: the model, as the run begins with it.
        ranks: the ranks.
        arguments: what else has to agree, by name; anything that `repr` tells apart. Mappings may be in any
            order.
        targets: arrays of all samples.
        inputs: the same; of each three samples are looked at, because a rank reads its own from the disk.

    Raises:
        DistributedError: they differ; on every rank, with the names of what differs and the ranks.
    """
    parts = {**_parts(model), **{name: _told_apart(value) for name, value in arguments.items()}}
    parts["targets"] = _digest(targets)
    parts["inputs"] = _digest(map(_some, inputs))
    everyone = ranks.values(parts)
    found = {}
    for name in dict.fromkeys(name for each in everyone for name in each):
        others = [rank for rank, each in enumerate(everyone) if each.get(name) != everyone[0].get(name)]
        if others:
            found[name] = f"{name} ({_numbers(others)})" + (f": {_ADVICE[name]}" if name in _ADVICE else "")
    if "layers" in found:
        numbers, _, advice = found["layers"].partition(": ")
        found["layers"] = f"{numbers}{_first_layer(model, ranks)}: {advice}"
    for cause, effects in _FOLLOWS.items():
        if cause in found:
            found = {
                name: text
                for name, text in found.items()
                if name == cause or (effects is not None and name not in effects)
            }
    if found:
        raise DistributedError(f"ranks differ from rank 0 in {'; '.join(found.values())}")


class BatchCheck:
    """Whether the iterables of all ranks give the same batches.

    Nothing else would tell: of each rank's batch its own samples count, and all end with the same weights.

    Args:
        ranks: the ranks.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._compared = False
        self._seen = hashlib.blake2b(digest_size=16)

    def add(self, batch: Arrays | Iterable[NDArray[Any]]) -> None:
        """Notes a batch, or its inputs; the first one is compared at once, before it is learned from."""
        arrays = (*batch.x, *batch.target_arrays()) if isinstance(batch, Arrays) else batch
        self._seen.update(_digest(map(_some, arrays)).encode())
        if not self._compared:
            self.compare()

    def compare(self) -> None:
        """Compares all batches so far.

        Raises:
            DistributedError: they differ, on every rank.
        """
        self._compared = True
        everyone = self._ranks.values(self._seen.hexdigest())
        others = [rank for rank, digest in enumerate(everyone) if digest != everyone[0]]
        if others:
            raise DistributedError(
                f"ranks differ from rank 0 in batches ({_numbers(others)}): what yields them gives each rank "
                "the whole batch, with the same samples in the same order, so its random numbers need a seed"
            )


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
            f"after epoch {epoch + 1} ranks differ from rank 0 in weights ({_numbers(others)}): generators, "
            "layers and callbacks of your own must do the same on every rank, also where they set the "
            "learning rate"
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
    if not isinstance(source, (ArraySource, ReadSource)):
        return
    samples = len(source.arrays) if isinstance(source, ArraySource) else source.data.samples
    batch = min(source.batch_size, samples)
    if not any(None in shape for shape in network.input_shapes):
        chunks = network.chunks(batch)
    elif batch < _ALWAYS_SHARED:
        chunks = 1
    else:  # by sizes that the batches will have
        return
    if ranks.size > chunks:
        raise ValueError(too_many_ranks(ranks.size, batch, chunks))


def too_many_ranks(ranks: int, batch: int, chunks: int) -> str:
    """What is said where a batch has fewer chunks than there are ranks."""
    most = f"at most {chunks} ranks" if chunks > 1 else "one process"
    return (
        f"{ranks} ranks cannot share batches of {batch} samples, which are cut into {chunks} "
        f"chunk{'s' * (chunks > 1)}. Start {most}, or make larger batches."
    )


def warn_if_nothing_is_shared(ranks: Ranks, batch: int) -> None:
    """Warns, on rank 0, of a step in which nothing was exchanged.

    Args:
        ranks: the ranks.
        batch: samples of the step.
    """
    if ranks.is_main:
        warnings.warn(
            f"{ranks.size} ranks share nothing of a batch of {batch} samples, which each computes as a "
            f"whole: make batches of {_ALWAYS_SHARED} samples or more, or start one process.",
            stacklevel=6,
        )


def _first_layer(model: TrainableModel, ranks: Ranks) -> str:
    """The first of the layers that differ; an exchange, as all know that some do."""
    own = _without_seeds(model.get_config())["layers"]
    everyone = ranks.values([[str(layer["config"]["name"]), _text(layer)] for layer in own])
    for layers in zip_longest(*everyone):
        if any(layer != layers[0] for layer in layers):
            return f", the first of them {next(layer[0] for layer in layers if layer is not None)!r}"
    return ""


def _numbers(ranks: list[int]) -> str:
    return f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}"


def _parts(model: TrainableModel) -> dict[str, str]:
    tier = _engine.simd_tier()
    parts = {
        "version": _engine.version,
        # All tiers that fuse multiply and add have the same bytes.
        "instructions": "portable" if tier == "portable" else "fused",
        "layers": _text(_without_seeds(model.get_config())),
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
    else:
        parts["weights"] = f"of seed {model.seed}"
    return parts


def _without_seeds(config: Any) -> Any:
    """A configuration without the seeds of models: once weights are there they say no more than these."""
    if isinstance(config, Mapping):
        of_model = "layers" in config
        return {
            name: _without_seeds(value) for name, value in config.items() if not (of_model and name == "seed")
        }
    return [_without_seeds(each) for each in config] if isinstance(config, (list, tuple)) else config


def _told_apart(value: Any) -> str:
    if isinstance(value, Mapping):
        return repr(sorted((repr(key), _told_apart(each)) for key, each in value.items()))
    return repr(value)


def _text(config: Any) -> str:
    return hashlib.blake2b(
        json.dumps(config, sort_keys=True, default=repr).encode(), digest_size=16
    ).hexdigest()


def _some(array: NDArray[Any]) -> NDArray[Any]:
    """A small array; of others the shape, and parts of the first sample, the last and one between."""
    if array.nbytes <= _LOOKED_AT:
        return array
    found = [repr((array.shape, array.dtype.str)).encode()]
    for row in sorted({0, len(array) // 2, len(array) - 1}) if len(array) else ():
        part = array[row]
        while part.ndim and part.nbytes > _LOOKED_AT and len(part):
            part = part[len(part) // 2]
        found.append(np.ascontiguousarray(part).tobytes())
    return np.frombuffer(b"".join(found), np.uint8)


def _digest(arrays: Any) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return digest.hexdigest()
