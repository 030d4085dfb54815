"""Layers that act in training only, against overfitting."""

from __future__ import annotations

from gridnn import _validation
from gridnn.layers.base import REGISTRY, Layer

__all__ = ["Dropout"]


@REGISTRY.register()
class Dropout(Layer):
    """Sets elements to 0 at random in training, and scales the others by ``1 / (1 - rate)``.

    In inference it passes on its input. Which elements depends on (seed, step, sample) only: not on the
    number of threads, nor on what ran before.

    Args:
        rate: share of elements to drop, in [0, 1].
        seed: a seed of its own; None takes the one of `fit`.
        name: see `Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input.

    Raises:
        ValueError: `rate` is not between 0 and 1.
    """

    config_fields = ("rate", "seed")

    def __init__(self, rate: float, seed: int | None = None, *, name: str | None = None) -> None:
        super().__init__(name=name)
        try:
            self.rate = _validation.real(rate, "rate", low=0.0, high=1.0)
        except ValueError:
            raise ValueError(
                "Invalid value received for argument `rate`. Expected a float value between 0 and 1. "
                f"Received: rate={rate}"
            ) from None
        self.seed = _validation.seed(seed)
