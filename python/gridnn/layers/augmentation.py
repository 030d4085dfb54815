"""Layers that change every sample at random in training, so that a network sees more than there is.

In inference they pass on their input, except for `RandomCrop`, which takes the middle. What is drawn depends
on (seed, step, layer, sample) only: not on the number of threads, nor on what ran before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gridnn import _validation
from gridnn.layers.base import REGISTRY, Layer

__all__ = [
    "RandomCrop",
    "RandomFlip",
    "RandomNoise",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
]

_FLIPS = {"horizontal": (-1,), "vertical": (-2,), "horizontal_and_vertical": (-2, -1)}

_FILL_MODES = ("reflect", "wrap", "constant", "nearest")

Range = float | tuple[float, float] | list[float]


def _range(value: object, name: str, *, low: float, symmetric: bool = True) -> tuple[float, float]:
    """``(lower, upper)``; a number f stands for (-f, f), or for (0, f)."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"The `{name}` argument must be a number or two. Received {name}={value!r}.")
        lower, upper = (_validation.real(bound, name, low=low) for bound in value)
        if lower > upper:
            raise ValueError(f"The `{name}` argument must be (lower, upper). Received {name}={value!r}.")
        return lower, upper
    upper = _validation.real(value, name, low=0.0)
    if symmetric and -upper < low:
        raise ValueError(f"The `{name}` argument must be at most {-low:g}. Received {name}={value!r}.")
    return (-upper if symmetric else 0.0), upper


@REGISTRY.register()
class RandomFlip(Layer):
    """Flips every sample along each of some axes with probability 1/2.

    Args:
        mode: "horizontal" (the last spatial axis), "vertical" (the one before), "horizontal_and_vertical", or
            a list of spatial axes, 0 being the first: ``[0, 1, 2]`` flips volumes along all three.
        seed: a seed of its own; None takes the one of `fit`.
        name: see `Layer`.

    Input shape:
        ``(batch, axis 1, ..., channels)`` with one to three spatial axes, those of `mode` among them.

    Output shape:
        Same as the input.

    Raises:
        ValueError: an unknown mode; an axis that the input does not have.
    """

    config_fields = ("mode", "seed")

    def __init__(
        self,
        mode: str | Sequence[int] = "horizontal_and_vertical",
        seed: int | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.mode: str | tuple[int, ...]
        if isinstance(mode, (tuple, list)):
            self.mode = tuple(_validation.integer(axis, "mode") for axis in mode)
        else:
            self.mode = _validation.choice(mode, "mode", tuple(_FLIPS))
        self.seed = _validation.seed(seed)

    def engine_config(self) -> dict[str, Any]:
        """The axes by number."""
        axes = _FLIPS[self.mode] if isinstance(self.mode, str) else self.mode
        return {"axes": list(axes), "seed": self.seed}


@REGISTRY.register()
class RandomCrop(Layer):
    """Cuts a part of fixed size out of every image: anywhere in training, the middle in inference.

    Args:
        height: of the part, in pixels.
        width: of the part, in pixels.
        seed: a seed of its own; None takes the one of `fit`.
        name: see `Layer`.

    Input shape:
        ``(batch, rows, columns, channels)``, not smaller than the part.

    Output shape:
        ``(batch, height, width, channels)``
    """

    config_fields = ("height", "width", "seed")

    def __init__(self, height: int, width: int, seed: int | None = None, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.height = _validation.positive_integer(height, "height")
        self.width = _validation.positive_integer(width, "width")
        self.seed = _validation.seed(seed)


@REGISTRY.register()
class RandomNoise(Layer):
    """Adds normal noise to every sample, whose standard deviation is drawn evenly from a range.

    `GaussianNoise` adds noise of one deviation.

    Args:
        factor: ``(lower, upper)`` of the deviation, in units of the input; a number f stands for (0, f).
        seed: a seed of its own; None takes the one of `fit`.
        name: see `Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input.
    """

    config_fields = ("factor", "seed")

    def __init__(self, factor: Range, seed: int | None = None, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.factor = _range(factor, "factor", low=0.0, symmetric=False)
        self.seed = _validation.seed(seed)


class _Warp(Layer):
    """What layers share that read an image at mapped positions."""

    def _set_warp(self, fill_mode: str, interpolation: str, seed: int | None, fill_value: float) -> None:
        self.fill_mode = _validation.choice(fill_mode, "fill_mode", _FILL_MODES)
        self.interpolation = _validation.choice(interpolation, "interpolation", ("bilinear", "nearest"))
        self.seed = _validation.seed(seed)
        self.fill_value = _validation.real(fill_value, "fill_value")


@REGISTRY.register()
class RandomTranslation(_Warp):
    """Shifts every image.

    Args:
        height_factor: ``(lower, upper)`` of the shift downwards, as a share of the height; a number f stands
            for (-f, f).
        width_factor: the same for the shift to the right.
        fill_mode: what comes in: "reflect" (``d c b a | a b c d | d c b a``), "wrap" (``a b c d`` again),
            "constant" (`fill_value`), "nearest" (``a a a a | a b c d | d d d d``).
        interpolation: "bilinear" or "nearest".
        seed: a seed of its own; None takes the one of `fit`.
        fill_value: with ``fill_mode="constant"``.
        name: see `Layer`.

    Input shape:
        ``(batch, rows, columns, channels)``

    Output shape:
        Same as the input.
    """

    config_fields = ("height_factor", "width_factor", "fill_mode", "interpolation", "seed", "fill_value")

    def __init__(
        self,
        height_factor: Range,
        width_factor: Range,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.height_factor = _range(height_factor, "height_factor", low=-1.0)
        self.width_factor = _range(width_factor, "width_factor", low=-1.0)
        self._set_warp(fill_mode, interpolation, seed, fill_value)


@REGISTRY.register()
class RandomRotation(_Warp):
    """Turns every image about its middle.

    Args:
        factor: ``(lower, upper)`` of the angle, as a share of a whole turn, counter-clockwise; a number f
            stands for (-f, f).
        fill_mode: see `RandomTranslation`.
        interpolation: see `RandomTranslation`.
        seed: a seed of its own; None takes the one of `fit`.
        fill_value: with ``fill_mode="constant"``.
        name: see `Layer`.

    Input shape:
        ``(batch, rows, columns, channels)``

    Output shape:
        Same as the input.
    """

    config_fields = ("factor", "fill_mode", "interpolation", "seed", "fill_value")

    def __init__(
        self,
        factor: Range,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.factor = _range(factor, "factor", low=-1.0)
        self._set_warp(fill_mode, interpolation, seed, fill_value)


@REGISTRY.register()
class RandomZoom(_Warp):
    """Zooms every image about its middle.

    Args:
        height_factor: ``(lower, upper)`` of what more is seen of the height: 0.2 zooms out by 20 %, -0.2
            zooms in; a number f stands for (-f, f).
        width_factor: the same for the width; None keeps the proportions.
        fill_mode: see `RandomTranslation`.
        interpolation: see `RandomTranslation`.
        seed: a seed of its own; None takes the one of `fit`.
        fill_value: with ``fill_mode="constant"``.
        name: see `Layer`.

    Input shape:
        ``(batch, rows, columns, channels)``

    Output shape:
        Same as the input.
    """

    config_fields = ("height_factor", "width_factor", "fill_mode", "interpolation", "seed", "fill_value")

    def __init__(
        self,
        height_factor: Range,
        width_factor: Range | None = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.height_factor = _range(height_factor, "height_factor", low=-1.0)
        self.width_factor = None if width_factor is None else _range(width_factor, "width_factor", low=-1.0)
        self._set_warp(fill_mode, interpolation, seed, fill_value)
