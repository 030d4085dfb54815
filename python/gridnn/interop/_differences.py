"""How far outputs of an exported file are from those of the model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["activated", "difference"]


def activated(y: NDArray[Any], activation: str | None) -> NDArray[Any]:
    """Outputs of a model behind the activation that `export` has put there."""
    if activation == "sigmoid":
        return 1.0 / (1.0 + np.exp(-y.astype(np.float64)))
    if activation == "softmax":
        powers = np.exp(y.astype(np.float64) - y.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
    return y


def difference(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """The largest difference, as a share of the largest output."""
    if ours.shape != theirs.shape:
        return math.inf
    with np.errstate(invalid="ignore", over="ignore"):
        same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
        apart = np.where(same, 0.0, np.abs(ours - theirs.astype(np.float64)))
    finite = np.abs(ours[np.isfinite(ours)])
    largest = float(finite.max(initial=0.0))
    worst = float(apart.max(initial=0.0))
    return worst / max(largest, 1e-30) if worst else 0.0
