"""Spectrograms of series."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn.layers.base import REGISTRY, Layer

__all__ = ["STFT"]

_MODES = ("log", "magnitude", "psd", "real", "imag", "angle", "stft")
_WINDOWS = {
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
    "boxcar": (1.0,),
}
"""Coefficients of the cosines that a window is the sum of, with alternating signs."""


def _optional(value: int | None, name: str) -> int | None:
    return None if value is None else _validation.positive_integer(value, name)


@REGISTRY.register()
class STFT(Layer):
    """Short-time Fourier transform: a spectrum of every frame of a series.

    It has the arguments of Keras' `STFTSpectrogram` but no weights: the transform is a fixed one. Gradients
    pass through it.

    Args:
        mode: what is said of each frequency: "log" (of the magnitude), "magnitude", "psd" (power, of both
            sides), "real", "imag", "angle", or "stft" (real parts, then imaginary ones). Magnitudes are at
            least ``sqrt(1e-7)``.
        frame_length: steps of a frame.
        frame_step: steps from one frame to the next; None is half a frame.
        fft_length: steps that a frame is filled up to with zeros; None is the next power of two, for which
            the transform is fast.
        window: what the frames are multiplied by: "hann", "hamming", "blackman", "boxcar", an array of
            `frame_length` numbers, or None, which does not scale either.
        periodic: whether the last step of the window is left out, so that it goes on evenly.
        scaling: "density" (divided by the root of the sum of the window's squares), "spectrum" (by its sum)
            or None.
        padding: "valid": frames within the series; "same": frames from before its begin to after its end,
            filled up with zeros.
        expand_dims: make an image of frames, frequencies and channels; otherwise the spectra of the channels
            follow each other.
        name: see `Layer`.

    Input shape:
        ``(batch, steps, channels)``.

    Output shape:
        ``(batch, frames, channels * (fft_length // 2 + 1))``; with `expand_dims` ``(batch, frames, fft_length
        // 2 + 1, channels)``. In mode "stft" there are twice as many frequencies.

    Raises:
        ValueError: an unknown mode, window, scaling or padding; a `frame_step` longer than a frame, a shorter
            `fft_length`.
        ShapeError: the series is shorter than a frame.

    Example:
        >>> STFT(frame_length=256, frame_step=128, expand_dims=True).compute_output_shape((None, 8000, 1))
        (None, 61, 129, 1)
    """

    config_fields = (
        "mode",
        "frame_length",
        "frame_step",
        "fft_length",
        "window",
        "periodic",
        "scaling",
        "padding",
        "expand_dims",
    )

    def __init__(
        self,
        mode: str = "log",
        frame_length: int = 256,
        frame_step: int | None = None,
        fft_length: int | None = None,
        window: str | Sequence[float] | NDArray[Any] | None = "hann",
        periodic: bool = False,
        scaling: str | None = "density",
        padding: str = "valid",
        expand_dims: bool = False,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.mode = _validation.choice(mode, "mode", _MODES)
        self.frame_length = _validation.positive_integer(frame_length, "frame_length")
        self.frame_step = (
            None if frame_step is None else _validation.positive_integer(frame_step, "frame_step")
        )
        if self.frame_step is not None and self.frame_step > self.frame_length:
            raise ValueError(
                "The `frame_step` argument must not be greater than `frame_length`. Received "
                f"frame_step={frame_step}, frame_length={frame_length}."
            )
        self.fft_length = (
            None if fft_length is None else _validation.positive_integer(fft_length, "fft_length")
        )
        if self.fft_length is not None and self.fft_length < self.frame_length:
            raise ValueError(
                "The `fft_length` argument must not be less than `frame_length`. Received "
                f"fft_length={fft_length}, frame_length={frame_length}."
            )
        self.window: str | tuple[float, ...] | None
        if window is None:
            self.window = None
        elif isinstance(window, str):
            self.window = _validation.choice(window, "window", tuple(_WINDOWS))
        else:
            numbers = np.asarray(window)
            if numbers.shape != (self.frame_length,):
                raise ValueError(
                    f"The `window` argument must have one number for each of the {self.frame_length} steps "
                    f"of a frame. Received shape {numbers.shape}."
                )
            self.window = tuple(_validation.real(number, "window") for number in numbers.tolist())
        self.periodic = _validation.boolean(periodic, "periodic")
        self.scaling = (
            None if scaling is None else _validation.choice(scaling, "scaling", ("density", "spectrum"))
        )
        self.padding = _validation.choice(padding, "padding", ("valid", "same"))
        self.expand_dims = _validation.boolean(expand_dims, "expand_dims")

    @property
    def output_activation(self) -> str | None:
        """Spectra are no probabilities, whatever the series was."""
        return "linear"

    def factors(self) -> NDArray[np.float64]:
        """What the steps of a frame are multiplied by: the window, scaled."""
        length = self.frame_length
        if self.window is None:
            return np.ones(length)
        if isinstance(self.window, str):
            turns = np.arange(length) / max(length if self.periodic else length - 1, 1)
            signs = (1, -1) * 2
            terms = enumerate(_WINDOWS[self.window])
            window = np.sum([signs[k] * a * np.cos(2 * math.pi * k * turns) for k, a in terms], axis=0)
            if length == 1:
                window = np.ones(1)
        else:
            window = np.array(self.window)
        if self.scaling == "density":
            window = window / math.sqrt((window**2).sum())
        elif self.scaling == "spectrum":
            window = window / np.abs(window).sum()
        return np.asarray(window, np.float64)

    def engine_config(self) -> dict[str, Any]:
        """Everything in numbers."""
        return {
            "mode": self.mode,
            "frame_length": self.frame_length,
            "frame_step": self.frame_step or max(self.frame_length // 2, 1),
            "fft_length": self.fft_length or 1 << (self.frame_length - 1).bit_length(),
            "window": self.factors().tolist(),
            "same": self.padding == "same",
            "expand_dims": self.expand_dims,
        }
