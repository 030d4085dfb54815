"""Weights that several networks have: each holds a copy, and takes over what another one has changed.

A layer may be part of several models: a model of features shares the layers of the one it was cut from, a
combined model those of its parts. Nothing here costs a network that shares nothing.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from numpy.typing import NDArray

from gridnn import _forks

__all__ = ["Group", "share"]

_merging = threading.RLock()


class Holder(Protocol):
    """A network, as it is seen here."""

    group: Group | None

    def read(self, index: int) -> NDArray[Any]:
        """A copy of one weight."""

    def write(self, index: int, value: NDArray[Any]) -> None:
        """Sets one weight."""


class _Weights:
    """The weights of a layer: who has them, and whose are the newest."""

    def __init__(self, newest: Holder, indices: Sequence[int]) -> None:
        self.version = 0
        self.newest = newest
        self.indices: weakref.WeakKeyDictionary[Holder, Sequence[int]] = weakref.WeakKeyDictionary()
        self.seen: weakref.WeakKeyDictionary[Holder, int] = weakref.WeakKeyDictionary()
        self.join(newest, indices)

    def join(self, holder: Holder, indices: Sequence[int]) -> None:
        """Adds a network that has the newest values."""
        self.indices[holder] = indices
        self.seen[holder] = self.version


class Group:
    """The networks that share weights with each other; they have one lock."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _forks.renew(self)
        self._weights: list[_Weights] = []

    @contextmanager
    def work(self, holder: Holder, writes: bool) -> Iterator[None]:
        """While it lasts, `holder` has the newest weights, and nobody else of the group works."""
        with self._locked(holder) as group:
            for weights in group._weights:
                seen = weights.seen.get(holder)
                if seen is None:
                    continue
                if seen < weights.version:
                    places = zip(weights.indices[holder], weights.indices[weights.newest], strict=True)
                    for own, other in places:
                        holder.write(own, weights.newest.read(other))
                    weights.seen[holder] = weights.version
                if writes:
                    # Before the work, so that nothing is missed if an exception comes in between.
                    weights.version += 1
                    weights.newest = holder
                    weights.seen[holder] = weights.version
            yield

    @contextmanager
    def _locked(self, holder: Holder) -> Iterator[Group]:
        """The group of `holder`, which may have become another one in the meantime, with its lock."""
        group = self
        while True:
            with group._lock:
                now = holder.group
                if now is group or now is None:
                    yield group
                    return
            group = now


def share(first: Holder, indices: Sequence[int], second: Holder, own: Sequence[int]) -> None:
    """Has two networks share the weights of a layer, which are equal now.

    Args:
        first: a network that has the layer.
        indices: numbers of the layer's weights in it.
        second: another one.
        own: their numbers there.
    """
    with _merging:
        groups = [group for group in (first.group, second.group) if group is not None]
        group = groups[0] if groups else Group()
        with group._lock:
            if len(groups) == 2 and groups[1] is not group:
                with groups[1]._lock:
                    for weights in groups[1]._weights:
                        for holder in list(weights.indices):
                            holder.group = group
                    group._weights += groups[1]._weights
                    groups[1]._weights = []
            first.group = second.group = group
            for weights in group._weights:
                if weights.indices.get(first) == indices:
                    weights.join(second, own)
                    break
            else:
                weights = _Weights(first, indices)
                weights.join(second, own)
                group._weights.append(weights)
            weights.newest = second
            group._weights = [kept for kept in group._weights if len(kept.indices) > 1]
