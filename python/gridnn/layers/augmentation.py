"""Layers that change every sample at random in training, so that a network sees more than there is.

In inference they pass on their input, except for `RandomCrop`, which takes the middle. What is drawn depends
on (seed, step, layer, sample) only: not on the number of threads, nor on what ran before.

They take series, images and volumes. Arguments speak of the height and the width, as in Keras, and of the
depth: the axes of volumes are (depth, height, width), those of images (height, width), and the only axis of
series is the height, the first argument. Targets of single positions follow what moves positions: see
`augment_targets` of `fit`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

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


def share(value: object, name: str, note: str) -> tuple[float, float]:
    """``(lower, upper)`` within [-1, 1], given in either order; a number f stands for (-f, f).

    `note` says the unit to whoever took another one: degrees, pixels, percent.
    """
    if isinstance(value, (tuple, list)):
        return bounds(value, name, low=-1.0, high=1.0, note=note)
    upper = abs(_validation.real(value, name, low=-1.0, high=1.0, note=note))
    return -upper, upper


def bounds(
    value: Sequence[float], name: str, *, low: float, high: float, note: str = ""
) -> tuple[float, float]:
    """``(lower, upper)`` of a range, given in either order."""
    if len(value) != 2:
        raise ValueError(f"The `{name}` argument must be a number or two. Received {name}={value!r}.")
    lower, upper = sorted(_validation.real(bound, name, low=low, high=high, note=note) for bound in value)
    return lower, upper


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

    Example:
        >>> layers.RandomFlip("horizontal")(np.ones((1, 4, 4, 1))).shape  # as it is, but in training
        (1, 4, 4, 1)
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
    """Cuts a part of fixed size out of every sample: anywhere in training, the middle in inference.

    Args:
        height: of the part, in pixels; the length of what is left of a series.
        width: of the part; None leaves the axis as it is, or there is none.
        seed: a seed of its own; None takes the one of `fit`.
        depth: of the part, in volumes; None as for `width`.
        name: see `Layer`.

    Input shape:
        ``(batch, steps, channels)``, ``(batch, rows, columns, channels)`` or ``(batch, slices, rows, columns,
        channels)``, not smaller than the part.

    Output shape:
        ``(batch, height, channels)``, ``(batch, height, width, channels)`` or ``(batch, depth, height, width,
        channels)``.

    Raises:
        ValueError: a size below 1; a `width` for series, or a `depth` for series or images.
        ShapeError: a sample is smaller than the part, or has another number of axes.

    Example:
        >>> RandomCrop(20, 24).compute_output_shape((None, 28, 28, 1))
        (None, 20, 24, 1)
        >>> RandomCrop(8000).compute_output_shape((None, 16000, 1))
        (None, 8000, 1)
    """

    config_fields = ("height", "width", "seed", "depth")

    def __init__(
        self,
        height: int,
        width: int | None = None,
        seed: int | None = None,
        *,
        depth: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.height = _validation.positive_integer(height, "height")
        self.width = None if width is None else _validation.positive_integer(width, "width")
        self.seed = _validation.seed(seed)
        self.depth = None if depth is None else _validation.positive_integer(depth, "depth")

    def part(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """What is left of the axes of a grid."""
        wanted = (self.depth, self.height, self.width)[3 - len(sizes) :] if len(sizes) > 1 else (self.height,)
        return tuple(size if part is None else part for size, part in zip(sizes, wanted, strict=True))


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

    Example:
        >>> layers.RandomNoise(0.1)(np.ones((1, 4, 4, 1))).shape  # as it is, but in training
        (1, 4, 4, 1)
    """

    config_fields = ("factor", "seed")

    def __init__(self, factor: Range, seed: int | None = None, *, name: str | None = None) -> None:
        super().__init__(name=name)
        given = factor if isinstance(factor, (tuple, list)) else (0.0, factor)
        self.factor = bounds(given, "factor", low=0.0, high=math.inf)
        self.seed = _validation.seed(seed)


class _Warp(Layer):
    """What layers share that read a grid at mapped positions."""

    def _set_warp(self, fill_mode: str, interpolation: str, seed: int | None, fill_value: float) -> None:
        self.fill_mode = _validation.choice(fill_mode, "fill_mode", _FILL_MODES)
        self.interpolation = _validation.choice(interpolation, "interpolation", ("bilinear", "nearest"))
        self.seed = _validation.seed(seed)
        self.fill_value = _validation.real(fill_value, "fill_value")


class _AxisWarp(_Warp):
    """What layers share that have a range for every axis."""

    _unit: ClassVar[str]

    config_fields = (
        "height_factor",
        "width_factor",
        "fill_mode",
        "interpolation",
        "seed",
        "fill_value",
        "depth_factor",
    )

    def __init__(
        self,
        height_factor: Range,
        width_factor: Range | None = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        *,
        depth_factor: Range | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.height_factor = share(height_factor, "height_factor", self._unit)
        self.width_factor = None if width_factor is None else share(width_factor, "width_factor", self._unit)
        self._set_warp(fill_mode, interpolation, seed, fill_value)
        self.depth_factor = None if depth_factor is None else share(depth_factor, "depth_factor", self._unit)


@REGISTRY.register()
class RandomTranslation(_AxisWarp):
    """Shifts every sample.

    Args:
        height_factor: ``(lower, upper)`` of the shift downwards, or to the end of a series, as a share of the
            height; a number f stands for (-f, f).
        width_factor: the same for the shift to the right; None leaves the axis as it is, or there is none.
        fill_mode: what comes in: "reflect" (``d c b a | a b c d | d c b a``), "wrap" (``a b c d`` again),
            "constant" (`fill_value`), "nearest" (``a a a a | a b c d | d d d d``).
        interpolation: "bilinear", which mixes the neighbours along every axis, or "nearest".
        seed: a seed of its own; None takes the one of `fit`.
        fill_value: with ``fill_mode="constant"``.
        depth_factor: the same for the shift along the first axis of volumes; None as for `width_factor`.
        name: see `Layer`.

    Input shape:
        ``(batch, axis 1, ..., channels)`` with one to three spatial axes.

    Output shape:
        Same as the input.

    Raises:
        ValueError: a range that leaves [-1, 1], an unknown mode; a `width_factor` for series, or a
            `depth_factor` for series or images.
        ShapeError: another number of axes.

    Example:
        >>> RandomTranslation(0.1, 0.2).width_factor
        (-0.2, 0.2)
    """

    _unit = "It is a share of the axis' length: 4 pixels of 32 are 0.125."


@REGISTRY.register()
class RandomRotation(_Warp):
    """Turns every image about its middle; all slices of a volume alike.

    Args:
        factor: ``(lower, upper)`` of the angle, as a share of a whole turn, counter-clockwise; a number f
            stands for (-f, f).
        fill_mode: see `RandomTranslation`.
        interpolation: see `RandomTranslation`.
        seed: a seed of its own; None takes the one of `fit`.
        fill_value: with ``fill_mode="constant"``.
        name: see `Layer`.

    Input shape:
        ``(batch, rows, columns, channels)`` or ``(batch, slices, rows, columns, channels)``.

    Output shape:
        Same as the input.

    Raises:
        ValueError: a range that leaves [-1, 1], an unknown mode.
        ShapeError: another number of axes.

    Example:
        >>> RandomRotation(0.25).factor  # a quarter of a turn to either side
        (-0.25, 0.25)
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
        self.factor = share(factor, "factor", "It is a share of a whole turn: 90 degrees are 0.25.")
        self._set_warp(fill_mode, interpolation, seed, fill_value)


@REGISTRY.register()
class RandomZoom(_AxisWarp):
    """Zooms every sample about its middle.

    Args:
        height_factor: ``(lower, upper)`` of what more is seen of the height: 0.2 zooms out by 20 %, -0.2
            zooms in; a number f stands for (-f, f).
        width_factor: the same for the width; None keeps the proportions.
        fill_mode: see `RandomTranslation`.
        interpolation: see `RandomTranslation`.
        seed: a seed of its own; None takes the one of `fit`.
        fill_value: with ``fill_mode="constant"``.
        depth_factor: the same for the depth of volumes; None keeps the proportions.
        name: see `Layer`.

    Input shape:
        ``(batch, axis 1, ..., channels)`` with one to three spatial axes.

    Output shape:
        Same as the input.

    Raises:
        ValueError: a range that leaves [-1, 1], an unknown mode; a `width_factor` for series, or a
            `depth_factor` for series or images.
        ShapeError: another number of axes.

    Example:
        >>> RandomZoom((-0.2, 0.0)).height_factor  # zooms in only
        (-0.2, 0.0)
    """

    _unit = "It is what more is seen, as a share: (-0.2, 0.2) shows 80 % to 120 % of the axis."
