"""Checks of constructor arguments, at `fit`, in scikit-learn's words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

__all__ = ["Parameters", "is_a"]


def is_a(value: object, kind: type) -> bool:
    """Whether a value is a number of a kind; True and False are none."""
    return isinstance(value, kind) and not isinstance(value, (bool, np.bool_))


class Parameters:
    """Checks the parameters of one estimator.

    Args:
        estimator: the estimator, for its class' name.
    """

    def __init__(self, estimator: object) -> None:
        self._estimator = estimator

    def integer(self, name: str, low: int, *, words: Sequence[str] = ()) -> None:
        """An integer of at least `low`, or one of some words."""
        value: Any = getattr(self._estimator, name)
        if isinstance(value, str) and value in words:
            return
        if not is_a(value, Integral) or value < low:
            rules = [f"an int in the range [{low}, inf)"]
            rules += [_words(words)] if words else []
            self._refuse(name, value, rules)

    def real(self, name: str, low: float, high: float = math.inf) -> None:
        """A number between two bounds, themselves excluded."""
        value: Any = getattr(self._estimator, name)
        if not is_a(value, Real) or not low < value < high:
            self._refuse(name, value, [f"a float in the range ({low}, {high})"])

    def boolean(self, *names: str) -> None:
        """True or False."""
        for name in names:
            value = getattr(self._estimator, name)
            if type(value).__name__ not in ("bool", "bool_"):
                self._refuse(name, value, ["an instance of 'bool'"])

    def choice(self, name: str, words: Sequence[str]) -> None:
        """One of some words."""
        value = getattr(self._estimator, name)
        if not isinstance(value, str) or value not in words:
            self._refuse(name, value, [_words(words)])

    def instances(self, name: str, kind: type) -> None:
        """None, an instance of a type, or a list of such."""
        value = getattr(self._estimator, name)
        several = value if isinstance(value, (list, tuple)) else [value]
        if value is not None and not all(isinstance(one, kind) for one in several):
            self._refuse(name, value, [f"an instance of '{kind.__name__}'", "a list of such", "None"])

    def _refuse(self, name: str, value: object, rules: Sequence[str]) -> None:
        rule = rules[0] if len(rules) == 1 else f"{', '.join(rules[:-1])} or {rules[-1]}"
        raise ValueError(
            f"The {name!r} parameter of {type(self._estimator).__name__} must be {rule}. Got {value!r} "
            "instead."
        )


def _words(words: Sequence[str]) -> str:
    return "a str among {" + ", ".join(repr(word) for word in sorted(words)) + "}"
