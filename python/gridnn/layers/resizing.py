"""Layers that make grids of another size, in training and inference alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gridnn import _validation
from gridnn.layers.base import REGISTRY, Layer

__all__ = ["CenterCrop", "Resizing"]

_INTERPOLATIONS = ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5")


class _Sized(Layer):
    """What layers share that ask for the sizes of a grid."""

    def _set_size(self, height: int, width: int | None, depth: int | None) -> None:
        self.height = _validation.positive_integer(height, "height")
        self.width = None if width is None else _validation.positive_integer(width, "width")
        self.depth = None if depth is None else _validation.positive_integer(depth, "depth")

    def part(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """What a grid of these sizes becomes."""
        wanted = (self.depth, self.height, self.width)[3 - len(sizes) :] if len(sizes) > 1 else (self.height,)
        return tuple(size if part is None else part for size, part in zip(sizes, wanted, strict=True))


@REGISTRY.register()
class Resizing(_Sized):
    """Resamples every sample to a grid of fixed size.

    Pixels are squares with the value at the centre. In `fit`, targets of single positions may have the sizes
    of the layer's input: they are resampled as well, each position taking the one that is next.

    Args:
        height: of the result, in pixels; the length of a series.
        width: of the result; None leaves the axis as it is, or there is none.
        interpolation: "bilinear", "nearest", "bicubic", "lanczos3" or "lanczos5".
        crop_to_aspect_ratio: cut off both ends of what is too long for the proportions of the result, instead
            of stretching it.
        pad_to_aspect_ratio: fill up both ends of what is too short with `fill_value` instead.
        fill_mode: "constant".
        fill_value: with `pad_to_aspect_ratio`.
        antialias: average over all pixels that a smaller result stands for. Of photos that are made much
            smaller, details otherwise turn into noise.
        depth: of the result, in volumes; None as for `width`.
        name: see `Layer`.

    Input shape:
        ``(batch, axis 1, ..., channels)`` with one to three spatial axes.

    Output shape:
        ``(batch, height, channels)``, ``(batch, height, width, channels)`` or ``(batch, depth, height, width,
        channels)``.

    Raises:
        ValueError: a size below 1, an unknown interpolation, cropping and padding at once; a `width` for
            series, or a `depth` for series or images.
        ShapeError: another number of axes.

    Example:
        >>> Resizing(64, 48).compute_output_shape((None, None, None, 3))
        (None, 64, 48, 3)
    """

    config_fields = (
        "height",
        "width",
        "interpolation",
        "crop_to_aspect_ratio",
        "pad_to_aspect_ratio",
        "fill_mode",
        "fill_value",
        "antialias",
        "depth",
    )

    def __init__(
        self,
        height: int,
        width: int | None = None,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        *,
        depth: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self._set_size(height, width, depth)
        self.interpolation = _validation.choice(interpolation, "interpolation", _INTERPOLATIONS)
        self.crop_to_aspect_ratio = _validation.boolean(crop_to_aspect_ratio, "crop_to_aspect_ratio")
        self.pad_to_aspect_ratio = _validation.boolean(pad_to_aspect_ratio, "pad_to_aspect_ratio")
        if self.crop_to_aspect_ratio and self.pad_to_aspect_ratio:
            raise ValueError("Only one of `crop_to_aspect_ratio` and `pad_to_aspect_ratio` may be True.")
        self.fill_mode = _validation.choice(fill_mode, "fill_mode", ("constant",))
        self.fill_value = _validation.real(fill_value, "fill_value")
        self.antialias = _validation.boolean(antialias, "antialias")

    def engine_config(self) -> dict[str, Any]:
        """Both flags of the proportions as one word."""
        aspect = "crop" if self.crop_to_aspect_ratio else "pad" if self.pad_to_aspect_ratio else "stretch"
        kept = ("height", "width", "depth", "interpolation", "fill_value", "antialias")
        return {**{key: getattr(self, key) for key in kept}, "aspect": aspect}


@REGISTRY.register()
class CenterCrop(_Sized):
    """Cuts the middle out of every sample.

    A sample that is smaller than the part along any axis is resampled instead, bilinearly, what is too long
    for its proportions being cut off. In `fit`, targets of single positions may have the sizes of the layer's
    input: they are cut as well.

    Args:
        height: of the part, in pixels; the length of what is left of a series.
        width: of the part; None leaves the axis as it is, or there is none.
        depth: of the part, in volumes; None as for `width`.
        name: see `Layer`.

    Input shape:
        ``(batch, axis 1, ..., channels)`` with one to three spatial axes.

    Output shape:
        ``(batch, height, channels)``, ``(batch, height, width, channels)`` or ``(batch, depth, height, width,
        channels)``.

    Raises:
        ValueError: a size below 1; a `width` for series, or a `depth` for series or images.
        ShapeError: another number of axes.

    Example:
        >>> CenterCrop(20, 24).compute_output_shape((None, 28, 28, 1))
        (None, 20, 24, 1)
    """

    config_fields = ("height", "width", "depth")

    def __init__(
        self,
        height: int,
        width: int | None = None,
        *,
        depth: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self._set_size(height, width, depth)
