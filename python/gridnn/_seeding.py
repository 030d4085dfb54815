"""Where seeds come from when the caller gives none."""

from __future__ import annotations

import secrets
import threading

from gridnn import _forks, _validation
from gridnn._network import derive_seed

_lock = threading.Lock()
_state: tuple[int, int] | None = None  # (seed, draws so far), or None before `set_random_seed`


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
    with _lock:
        if _state is None:
            return secrets.randbits(64)
        seed, draws = _state
        _state = (seed, draws + 1)
        return derive_seed(seed, draws)
