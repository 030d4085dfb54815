"""Layers that change values of every sample at random in training, and leave positions as they are.

What is drawn depends on (seed, step, layer, sample) only. In inference they pass on their input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gridnn import _validation
from gridnn.layers.augmentation import Range, bounds, share
from gridnn.layers.base import REGISTRY, Layer

__all__ = ["MixUp", "RandomBrightness", "RandomContrast", "RandomErasing"]


def _value_range(value: object) -> tuple[float, float]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(
            f"The `value_range` argument must be a list of two numbers. Received value_range={value!r}."
        )
    return bounds(value, "value_range", low=-math.inf, high=math.inf)


def _up_to(value: object, name: str, note: str) -> tuple[float, float]:
    """``(lower, upper)`` within [0, 1]; a number f stands for (0, f)."""
    if isinstance(value, (tuple, list)):
        return bounds(value, name, low=0.0, high=1.0, note=note)
    return 0.0, _validation.real(value, name, low=0.0, high=1.0, note=note)


@REGISTRY.register()
class RandomBrightness(Layer):
    """Adds a number to every sample, the same for all of its elements.

    Args:
        factor: ``(lower, upper)`` of the number, as a share of `value_range`'s width; a number f stands for
            (-f, f).
        value_range: lowest and highest value; what comes to lie outside is clipped. Images scaled to 0 to 1
            need ``(0, 1)``.
        seed: a seed of its own; None takes the one of `fit`.
        name: see `Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input.

    Raises:
        ValueError: a factor that leaves [-1, 1], a `value_range` that is not two numbers.

    Example:
        >>> RandomBrightness(0.2, value_range=(0, 1)).factor
        (-0.2, 0.2)
    """

    config_fields = ("factor", "value_range", "seed")

    def __init__(
        self,
        factor: Range,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        note = "It is a share of the width of `value_range`: 51 of (0, 255) are 0.2."
        self.factor = share(factor, "factor", note)
        self.value_range = _value_range(value_range)
        self.seed = _validation.seed(seed)


@REGISTRY.register()
class RandomContrast(Layer):
    """Multiplies the distance of every element to the mean of its channel in the sample by a number.

    Args:
        factor: ``(lower, upper)``: the number is drawn from ``1 - lower`` to ``1 + upper``; a number f stands
            for (f, f).
        value_range: lowest and highest value; what comes to lie outside is clipped. Images scaled to 0 to 1
            need ``(0, 1)``.
        seed: a seed of its own; None takes the one of `fit`.
        name: see `Layer`.

    Input shape:
        ``(batch, ..., channels)``.

    Output shape:
        Same as the input.

    Raises:
        ValueError: a factor that leaves [0, 1], a `value_range` that is not two numbers.

    Example:
        >>> RandomContrast((0.5, 0.2)).factor  # from half the contrast to 1.2 times
        (0.5, 0.2)
    """

    config_fields = ("factor", "value_range", "seed")

    def __init__(
        self,
        factor: Range,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        pair = factor if isinstance(factor, (tuple, list)) else (factor, factor)
        if len(pair) != 2:
            raise ValueError(f"The `factor` argument must be a number or two. Received factor={factor!r}.")
        note = "It is how far the contrast goes below and above 1: (0.2, 0.2) draws 0.8 to 1.2."
        lower, upper = (_validation.real(value, "factor", low=0.0, high=1.0, note=note) for value in pair)
        self.factor = (lower, upper)
        self.value_range = _value_range(value_range)
        self.seed = _validation.seed(seed)


@REGISTRY.register()
class RandomErasing(Layer):
    """Fills a box of every sample, of random size and place (Zhong and others, "Random Erasing", 2020).

    Targets of single positions stay as they are: what is hidden is still to be found.

    Args:
        factor: ``(lower, upper)`` of the probability that a sample is changed; a number f stands for (0, f).
        scale: ``(lower, upper)`` of the share that the box has of the sample.
        fill_value: a number, or one for each channel; None is noise of standard deviation ``value_range[1]``,
            clipped to the range.
        value_range: lowest and highest value. Images scaled to 0 to 1 need ``(0, 1)``.
        seed: a seed of its own; None takes the one of `fit`.
        name: see `Layer`.

    Input shape:
        ``(batch, axis 1, ..., channels)`` with one to three spatial axes.

    Output shape:
        Same as the input.

    Raises:
        ValueError: a share that leaves [0, 1], other numbers of fill values than channels.
        ShapeError: another number of axes.

    Example:
        >>> RandomErasing(0.5, value_range=(0, 1)).scale
        (0.02, 0.33)
    """

    config_fields = ("factor", "scale", "fill_value", "value_range", "seed")

    def __init__(
        self,
        factor: Range = 1.0,
        scale: Range = (0.02, 0.33),
        fill_value: float | Sequence[float] | None = None,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.factor = _up_to(factor, "factor", "It is the probability that a sample is changed.")
        self.scale = _up_to(scale, "scale", "It is the share that the box has of the sample.")
        self.fill_value: float | tuple[float, ...] | None
        if isinstance(fill_value, (tuple, list)):
            if not fill_value:
                raise ValueError("The `fill_value` argument must not be empty.")
            self.fill_value = tuple(_validation.real(value, "fill_value") for value in fill_value)
        else:
            self.fill_value = None if fill_value is None else _validation.real(fill_value, "fill_value")
        self.value_range = _value_range(value_range)
        self.seed = _validation.seed(seed)

    def engine_config(self) -> dict[str, Any]:
        """The fill as a list, or None."""
        fill = [self.fill_value] if isinstance(self.fill_value, float) else self.fill_value
        return {**super().engine_config(), "fill_value": fill}


@REGISTRY.register()
class MixUp(Layer):
    """Mixes every sample with another one of its batch (Zhang and others, "mixup", 2018).

    The sample counts w, the other one ``1 - w``, with w from the beta distribution of `alpha`, `alpha`. In
    `fit` targets and sample weights are mixed alike, so the loss must take values: one-hot targets and
    "categorical_crossentropy" instead of class labels. All inputs of a model must go through the layer. It
    reads the whole batch: the bytes of a training step depend on which samples are in it.

    Args:
        alpha: the larger, the more evenly samples are mixed; above 0.
        seed: a seed of its own; None takes the one of `fit`.
        name: see `Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input.

    Raises:
        ValueError: an `alpha` of 0 or less.

    Example:
        >>> import numpy as np
        >>> import gridnn as gn
        >>> model = gn.Sequential([gn.Input((8, 8, 1)), MixUp(), gn.layers.Flatten(), gn.layers.Dense(2)])
        >>> model.compile("adam", "categorical_crossentropy")
        >>> history = model.fit(np.ones((4, 8, 8, 1)), np.eye(2)[[0, 1, 1, 0]], verbose=0)
    """

    config_fields = ("alpha", "seed")

    def __init__(self, alpha: float = 0.2, seed: int | None = None, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.alpha = _validation.real(alpha, "alpha", low=1e-3, high=1e6)
        self.seed = _validation.seed(seed)
