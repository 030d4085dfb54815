"""Samples made by formulas: an image, a sound, a volume, and sounds in classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation

__all__ = ["image", "sound", "sounds", "volume"]


def image(size: int = 96, *, colour: bool = False) -> NDArray[np.float32]:
    """A small landscape with straight and round edges, fine and coarse texture: something to filter.

    Args:
        size: height and width in pixels, at least 16.
        colour: three channels instead of one.

    Returns:
        Array ``(size, size, 1)``, or ``(size, size, 3)``, with values from 0 to 1.

    Raises:
        ValueError, TypeError: `size` is too small, or not an integer.

    Example:
        >>> gn.lab.image(32).shape, gn.lab.image(32, colour=True).shape
        ((32, 32, 1), (32, 32, 3))
    """
    size = _validation.positive_integer(size, "size")
    if size < 16:
        raise ValueError(f"`size` must be at least 16. Received size={size}.")
    y, x = np.meshgrid(*[(np.arange(size) + 0.5) / size] * 2, indexing="ij")
    scene = np.empty((size, size, 3))
    scene[:] = (0.55, 0.75, 0.95) + 0.25 * y[..., None]  # sky, brighter towards the horizon
    _paint(scene, (x - 0.76) ** 2 + (y - 0.2) ** 2 < 0.011, (1.0, 0.93, 0.55))  # sun
    hills = y > 0.62 + 0.06 * np.sin(7 * x + 1) + 0.03 * np.sin(17 * x)
    _paint(scene, hills, (0.35, 0.62, 0.3))
    furrows = hills & (y > 0.8) & (np.sin(2 * np.pi * (12 * x + 7 * y)) > 0)
    _paint(scene, furrows, (0.25, 0.47, 0.22))
    house = (np.abs(x - 0.33) < 0.15) & (y > 0.48) & (y < 0.78)
    _paint(scene, house, (0.85, 0.83, 0.78))
    roof = (y > 0.32) & (y < 0.48) & (np.abs(x - 0.33) < (y - 0.32) * 1.2)
    _paint(scene, roof, (0.7, 0.25, 0.2))
    for left in (0.22, 0.37):
        _paint(scene, (np.abs(x - left - 0.035) < 0.035) & (np.abs(y - 0.59) < 0.045), (0.2, 0.25, 0.35))
    bricks = house & (y > 0.68) & (np.sin(2 * np.pi * 24 * y) * np.sin(2 * np.pi * 16 * x) > 0)
    _paint(scene, bricks, (0.65, 0.5, 0.42))
    trunk = (np.abs(x - 0.78) < 0.018) & (y > 0.5) & (y < 0.74)
    _paint(scene, trunk, (0.4, 0.28, 0.2))
    _paint(scene, (x - 0.78) ** 2 + (y - 0.46) ** 2 < 0.012, (0.18, 0.42, 0.2))
    coloured = np.clip(scene, 0.0, 1.0).astype(np.float32)
    if colour:
        return coloured
    # Brightness as eyes weigh it (ITU-R BT.601).
    grey: NDArray[np.float32] = coloured @ np.array([[0.299], [0.587], [0.114]], np.float32)
    return grey


def _paint(scene: NDArray[Any], where: NDArray[Any], colour: tuple[float, float, float]) -> None:
    scene[where] = colour


def sound(seconds: float = 1.0, rate: int = 2000) -> NDArray[np.float32]:
    """A plucked low tone, a whistle that rises, and a click: events on three scales of time.

    Args:
        seconds: length.
        rate: samples a second.

    Returns:
        Array ``(seconds * rate, 1)`` with values from -1 to 1.

    Raises:
        ValueError, TypeError: numbers that are not positive.

    Example:
        >>> gn.lab.sound().shape
        (2000, 1)
    """
    rate = _validation.positive_integer(rate, "rate")
    count = max(1, round(_validation.real(seconds, "seconds", low=0.0) * rate))
    t = np.arange(count) / rate
    whole = count / rate
    tone = np.sin(2 * np.pi * 40 * t) * np.exp(-5 * t / whole)
    u = np.clip((t / whole - 0.4) / 0.4, 0.0, 1.0)  # runs from 0 to 1 while the whistle sounds
    whistle = np.sin(2 * np.pi * 0.4 * whole * (100 * u + 100 * u**2)) * np.sin(np.pi * u) ** 2
    click = np.zeros(count)
    click[int(0.9 * count)] = 1.0
    mixed: NDArray[Any] = 0.6 * tone + 0.4 * whistle + 0.9 * click
    signal: NDArray[np.float32] = np.clip(mixed, -1.0, 1.0).astype(np.float32)[:, None]
    return signal


def sounds(
    count: int = 300, *, length: int = 256, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Whistles in noise, of three classes: 0 rises, 1 falls, 2 stays.

    Args:
        count: how many, about as many of each class.
        length: samples of each.
        seed: seed of pitch, loudness, beginning and noise.

    Returns:
        ``(x, y)``: series ``(count, length, 1)`` and classes ``(count,)``.

    Raises:
        ValueError, TypeError: numbers that are not positive.

    Example:
        >>> x, y = gn.lab.sounds(6)
        >>> x.shape, y.tolist()
        ((6, 256, 1), [0, 1, 2, 0, 1, 2])
    """
    count = _validation.positive_integer(count, "count")
    length = _validation.positive_integer(length, "length")
    random = np.random.default_rng(_validation.seed(seed) or 0)
    y = np.arange(count) % 3
    low, high = 0.03 + 0.03 * random.random(count), 0.14 + 0.05 * random.random(count)  # cycles a sample
    middle = (low + high) / 2
    first = np.choose(y, [low, high, middle])[:, None]
    last = np.choose(y, [high, low, middle])[:, None]
    span = length // 2
    begin = random.integers(0, length - span + 1, count)[:, None]
    at = np.arange(length)[None] - begin
    u = np.clip(at / span, 0.0, 1.0)
    phase = 2 * np.pi * (random.random((count, 1)) + span * (first * u + (last - first) * u**2 / 2))
    loud = 0.6 + 0.4 * random.random((count, 1))
    x = loud * np.sin(phase) * np.sin(np.pi * u) ** 2 + 0.1 * random.normal(size=(count, length))
    return x.astype(np.float32)[..., None], y


def volume(size: int = 32) -> NDArray[np.float32]:
    """A ring around a ball, in a little noise: a volume like a small scan.

    Args:
        size: voxels along each axis, at least 8.

    Returns:
        Array ``(size, size, size, 1)`` with values from about 0 to 1.

    Raises:
        ValueError, TypeError: `size` is too small, or not an integer.

    Example:
        >>> gn.lab.volume().shape
        (32, 32, 32, 1)
    """
    size = _validation.positive_integer(size, "size")
    if size < 8:
        raise ValueError(f"`size` must be at least 8. Received size={size}.")
    line = (np.arange(size) + 0.5) / size * 2 - 1
    z, y, x = np.meshgrid(line, line, line, indexing="ij")
    tilted = 0.8 * z + 0.6 * y
    across = 0.8 * y - 0.6 * z
    ring = np.hypot(np.hypot(across, x) - 0.7, tilted) < 0.16
    ball = x**2 + y**2 + z**2 < 0.35**2
    noise = np.random.default_rng(0).normal(size=ring.shape)
    return (0.9 * ring + 0.6 * ball + 0.03 * noise).astype(np.float32)[..., None]
