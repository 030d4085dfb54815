"""What a fork does to locks: no child finds one that a thread of its parent holds for ever."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["around", "in_child", "renew"]

_locked: weakref.WeakSet[Any] = weakref.WeakSet()


def around(before: Callable[[], object], after: Callable[[], object]) -> None:
    """Has `before` called in front of every fork, and `after` behind it in parent and child."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before, after_in_parent=after, after_in_child=after)


def in_child(function: Callable[[], object]) -> None:
    """Has `function` called in every child."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


def renew(owner: Any) -> None:
    """Gives `owner` a new recursive `_lock` in every child."""
    _locked.add(owner)


def _renew_all() -> None:
    for owner in list(_locked):
        owner._lock = threading.RLock()


in_child(_renew_all)
