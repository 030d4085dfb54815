"""Where seeds come from when the caller gives none."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from gridnn import _forks, _validation
from gridnn._engine import derive_seed

_lock = threading.Lock()
_state: tuple[int, int] | None = None  # (seed, draws so far), or None before `set_random_seed`
# A sequence that comes first, in this thread or task alone: [seed, draws so far].
_own: ContextVar[list[int] | None] = ContextVar("gridnn_seeds", default=None)


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


_forks.in_child(_renew_lock)


def set_random_seed(seed: int) -> None:
    """Fixes the sequence from which models and fits draw their seeds.

    Args:
        seed: an integer in [0, 2**64).

    Example:
        >>> set_random_seed(7)
    """
    global _state
    value = _validation.seed(seed)
    if value is None:
        raise TypeError("The `seed` argument must be an integer. Received seed=None.")
    with _lock:
        _state = (value, 0)


def next_seed() -> int:
    """The next seed of that sequence; without `set_random_seed` one from the system's entropy."""
    global _state
    own = _own.get()
    if own is not None:
        own[1] += 1
        return derive_seed(own[0], own[1] - 1)
    with _lock:
        if _state is None:
            return secrets.randbits(64)
        seed, draws = _state
        _state = (seed, draws + 1)
        return derive_seed(seed, draws)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """What is built within draws its seeds from a sequence of its own; other threads do not notice.

    Args:
        seed: an integer in [0, 2**64).
    """
    token = _own.set([seed, 0])
    try:
        yield
    finally:
        _own.reset(token)
