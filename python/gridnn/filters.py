"""Hand-made filters: the kernels of signal and image processing, as arrays.

Every function returns a float64 array with one axis per spatial axis, to be used as it is, with
`filter_image`, or as (part of) the kernel of a convolution layer by `bank`. All are meant for correlation, as
convolution layers compute it: element ``k[i]`` weighs the neighbour at offset ``i - len(k) // 2``.

Example:
    >>> import numpy as np
    >>> import gridnn as gn
    >>> image = np.outer(np.arange(5.0), np.ones(5))
    >>> gn.filters.filter_image(image, gn.filters.sobel(axis=0))[2]
    array([8., 8., 8., 8., 8.])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gridnn import _validation, functional

__all__ = [
    "bank",
    "box",
    "emboss",
    "filter_image",
    "gabor",
    "gaussian",
    "laplacian",
    "laplacian_of_gaussian",
    "log",
    "motion",
    "prewitt",
    "scharr",
    "sharpen",
    "sobel",
    "unsharp",
]

Kernel = NDArray[Any]  # of float64


def _rank(rank: object) -> int:
    value = _validation.positive_integer(rank, "rank")
    if value > 3:
        raise ValueError(f"`rank` must be 1, 2 or 3. Received rank={rank}.")
    return value


def _axis(axis: object, rank: int) -> int:
    value = _validation.integer(axis, "axis")
    if not -rank <= value < rank:
        raise ValueError(f"`axis` must be from {-rank} to {rank - 1} for rank {rank}. Received axis={axis}.")
    return value % rank


def _positive(value: object, name: str) -> float:
    number = _validation.real(value, name, low=0.0)
    if number == 0:
        raise ValueError(f"`{name}` must be positive. Received {name}={value}.")
    return number


def _odd(size: object, name: str = "size") -> int:
    value = _validation.positive_integer(size, name)
    if value % 2 == 0:
        raise ValueError(f"`{name}` must be odd, so that the kernel has a centre. Received {name}={size}.")
    return value


def _product(factors: Sequence[Kernel]) -> Kernel:
    """The kernel that filters with one factor along each axis."""
    kernel = np.ones(())
    for factor in factors:
        kernel = np.multiply.outer(kernel, factor)
    return kernel


def _delta(shape: Sequence[int]) -> Kernel:
    kernel = np.zeros(shape)
    kernel[tuple(n // 2 for n in shape)] = 1.0
    return kernel


def _offsets(size: int, rank: int) -> list[Kernel]:
    """Coordinates around the centre, one open array per axis."""
    line = np.arange(size) - (size - 1) / 2
    return list(np.meshgrid(*[line] * rank, indexing="ij", sparse=True))


def _radius(sigma: float) -> int:
    # Four standard deviations, as SciPy's filters: what is cut off weighs less than 1e-4.
    return int(4 * sigma + 0.5)


def _gaussian_line(sigma: float, radius: int) -> Kernel:
    line = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    normalised: Kernel = line / line.sum()
    return normalised


def box(size: int = 3, rank: int = 2) -> Kernel:
    """The mean of a neighbourhood.

    Args:
        size: elements along each axis.
        rank: spatial axes, 1 to 3.

    Returns:
        Array ``(size,) * rank`` that sums to 1.

    Raises:
        ValueError, TypeError: a number that is not positive, or a rank above 3.

    Example:
        >>> gn.filters.box(3)[0]
        array([0.11111111, 0.11111111, 0.11111111])
    """
    size, rank = _validation.positive_integer(size, "size"), _rank(rank)
    return np.full((size,) * rank, 1.0 / size**rank)


def gaussian(sigma: float = 1.0, rank: int = 2, *, size: int | None = None) -> Kernel:
    """The bell curve ``exp(-r^2 / (2 sigma^2))``, normalised to sum 1.

    Args:
        sigma: standard deviation in elements.
        rank: spatial axes, 1 to 3.
        size: elements along each axis, odd; None reaches four standard deviations, as
            `scipy.ndimage.gaussian_filter` does.

    Raises:
        ValueError, TypeError: `sigma` is not positive, `size` is even, or a rank above 3.

    Example:
        >>> gn.filters.gaussian(1.0, size=3).round(3)
        array([[0.075, 0.124, 0.075],
               [0.124, 0.204, 0.124],
               [0.075, 0.124, 0.075]])
    """
    sigma, rank = _positive(sigma, "sigma"), _rank(rank)
    radius = _radius(sigma) if size is None else _odd(size) // 2
    return _product([_gaussian_line(sigma, radius)] * rank)


def laplacian(rank: int = 2, *, diagonals: bool = False) -> Kernel:
    """The sum of the second derivatives: ``1 -2 1`` along every axis.

    Args:
        rank: spatial axes, 1 to 3.
        diagonals: count all neighbours alike instead: 1 everywhere around a centre that makes the sum 0.

    Returns:
        Array ``(3,) * rank`` that sums to 0; without diagonals the filter of `scipy.ndimage.laplace`.

    Example:
        >>> gn.filters.laplacian()
        array([[ 0.,  1.,  0.],
               [ 1., -4.,  1.],
               [ 0.,  1.,  0.]])
    """
    rank = _rank(rank)
    if _validation.boolean(diagonals, "diagonals"):
        around: Kernel = np.ones((3,) * rank) - 3**rank * _delta((3,) * rank)
        return around
    second, one = np.array([1.0, -2.0, 1.0]), np.array([0.0, 1.0, 0.0])
    kernel: Kernel = np.sum(
        [_product([second if axis == other else one for other in range(rank)]) for axis in range(rank)],
        axis=0,
    )
    return kernel


def laplacian_of_gaussian(sigma: float = 1.0, rank: int = 2) -> Kernel:
    """The Laplacian of a `gaussian`, sampled: a blob detector (Marr and Hildreth 1980).

    Along one axis the second derivative is ``(x^2 / sigma^4 - 1 / sigma^2) g(x)``, along the others it is
    ``g``, the normalised Gaussian; the filter of `scipy.ndimage.gaussian_laplace`.

    Args:
        sigma: standard deviation of the Gaussian in elements.
        rank: spatial axes, 1 to 3.

    Raises:
        ValueError, TypeError: `sigma` is not positive, or a rank above 3.

    Example:
        >>> gn.filters.laplacian_of_gaussian(1.0).shape
        (9, 9)
    """
    sigma, rank = _positive(sigma, "sigma"), _rank(rank)
    radius = _radius(sigma)
    line, x = _gaussian_line(sigma, radius), np.arange(-radius, radius + 1)
    second = (x**2 / sigma**4 - 1 / sigma**2) * line
    kernel: Kernel = np.sum(
        [_product([second if axis == other else line for other in range(rank)]) for axis in range(rank)],
        axis=0,
    )
    return kernel


log = laplacian_of_gaussian
"""The usual short name of `laplacian_of_gaussian`."""


def sharpen(amount: float = 1.0, rank: int = 2) -> Kernel:
    """The image minus `amount` times its Laplacian.

    Args:
        amount: 0 leaves the image as it is; 1 is the classical 0 -1 0 / -1 5 -1 / 0 -1 0.
        rank: spatial axes, 1 to 3.

    Example:
        >>> gn.filters.sharpen()
        array([[ 0., -1.,  0.],
               [-1.,  5., -1.],
               [ 0., -1.,  0.]])
    """
    rank = _rank(rank)
    return _delta((3,) * rank) - _validation.real(amount, "amount") * laplacian(rank)


def unsharp(sigma: float = 1.0, amount: float = 1.0, rank: int = 2) -> Kernel:
    """The image plus `amount` times what a Gaussian takes away from it: unsharp masking.

    Args:
        sigma: standard deviation of the Gaussian in elements.
        amount: strength.
        rank: spatial axes, 1 to 3.

    Example:
        >>> gn.filters.unsharp().shape
        (9, 9)
    """
    smooth = gaussian(sigma, rank)
    delta = _delta(smooth.shape)
    return delta + _validation.real(amount, "amount") * (delta - smooth)


def _edge(smoothing: Sequence[float], axis: int, rank: int) -> Kernel:
    rank = _rank(rank)
    axis = _axis(axis, rank)
    factors = [np.array(smoothing)] * rank
    factors[axis] = np.array([-1.0, 0.0, 1.0])
    return _product(factors)


def sobel(axis: int = -1, rank: int = 2) -> Kernel:
    """The difference ``-1 0 1`` along an axis, smoothed by ``1 2 1`` along the others.

    Args:
        axis: the axis along which values change; the last one finds vertical edges of an image.
        rank: spatial axes, 1 to 3.

    Example:
        >>> gn.filters.sobel(axis=0)
        array([[-1., -2., -1.],
               [ 0.,  0.,  0.],
               [ 1.,  2.,  1.]])
    """
    return _edge([1.0, 2.0, 1.0], axis, rank)


def prewitt(axis: int = -1, rank: int = 2) -> Kernel:
    """As `sobel`, smoothed by ``1 1 1``.

    Example:
        >>> gn.filters.prewitt(axis=0)
        array([[-1., -1., -1.],
               [ 0.,  0.,  0.],
               [ 1.,  1.,  1.]])
    """
    return _edge([1.0, 1.0, 1.0], axis, rank)


def scharr(axis: int = -1, rank: int = 2) -> Kernel:
    """As `sobel`, smoothed by ``3 10 3``, which depends less on the direction of an edge (Scharr 2000).

    Example:
        >>> gn.filters.scharr(axis=0)
        array([[ -3., -10.,  -3.],
               [  0.,   0.,   0.],
               [  3.,  10.,   3.]])
    """
    return _edge([3.0, 10.0, 3.0], axis, rank)


def emboss(rank: int = 2) -> Kernel:
    """Light from the last corner: the sum of the offsets along all axes, and 1 in the centre.

    Args:
        rank: spatial axes, 1 to 3; for images -2 -1 0 / -1 1 1 / 0 1 2.

    Example:
        >>> gn.filters.emboss()
        array([[-2., -1.,  0.],
               [-1.,  1.,  1.],
               [ 0.,  1.,  2.]])
    """
    rank = _rank(rank)
    total = np.sum(np.meshgrid(*[np.arange(-1.0, 2.0)] * rank, indexing="ij"), axis=0)
    kernel: Kernel = total + _delta((3,) * rank)
    return kernel


def motion(length: int = 9, direction: float | Sequence[float] = 0.0, rank: int = 2) -> Kernel:
    """The mean along a line: what a camera sees that moves during the exposure.

    The line is sampled eight times per element; a sample is shared by the elements around it (linear
    interpolation).

    Args:
        length: length of the line in elements, odd.
        direction: for images the angle in degrees, counted from the last axis towards the first; or, for any
            rank, a vector with one number per axis.
        rank: spatial axes, 1 to 3; with 1 there is only one direction.

    Returns:
        Array ``(length,) * rank`` that sums to 1.

    Raises:
        ValueError, TypeError: an even length, a direction of the wrong length or of length 0.

    Example:
        >>> gn.filters.motion(3)
        array([[0.  , 0.  , 0.  ],
               [0.26, 0.48, 0.26],
               [0.  , 0.  , 0.  ]])
    """
    length, rank = _odd(length, "length"), _rank(rank)
    if rank == 1:
        return box(length, 1)
    unit = _direction(direction, rank)
    # Steps measured along the axis that the line advances on fastest reach the border exactly.
    reach = (length - 1) / 2 / np.abs(unit).max()
    points = np.linspace(-reach, reach, 8 * length + 1)[:, None] * unit + (length - 1) / 2
    low = np.floor(points + 1e-9).astype(int)
    share = np.clip(points - low, 0.0, 1.0)
    kernel = np.zeros((length,) * rank)
    for corner in np.ndindex((2,) * rank):
        weight = np.prod(np.where(corner, share, 1.0 - share), axis=1)
        index = np.minimum(low + corner, length - 1)
        np.add.at(kernel, tuple(index.T), weight)
    kernel /= kernel.sum()
    return kernel


def _direction(direction: object, rank: int) -> Kernel:
    """A vector of length 1."""
    if isinstance(direction, (int, float, np.integer, np.floating)) and not isinstance(direction, bool):
        if rank != 2:
            raise ValueError(
                f"`direction` must be a vector with {rank} numbers for rank {rank}: an angle has a meaning "
                f"for images only. Received direction={direction}."
            )
        angle = math.radians(_validation.real(direction, "direction"))
        return np.array([math.sin(angle), math.cos(angle)])
    vector = np.asarray(direction, np.float64)
    if vector.shape != (rank,) or not np.isfinite(vector).all() or not vector.any():
        raise ValueError(
            f"`direction` must be {rank} finite numbers, not all 0. Received direction={direction!r}."
        )
    unit: Kernel = vector / np.linalg.norm(vector)
    return unit


def gabor(
    wavelength: float = 4.0,
    direction: float | Sequence[float] = 0.0,
    *,
    sigma: float | None = None,
    phase: float = 0.0,
    aspect: float = 1.0,
    rank: int = 2,
) -> Kernel:
    """A wave under a bell curve.

    ``exp(-(u^2 + aspect^2 v^2) / (2 sigma^2)) cos(2 pi u / wavelength + phase)``, where ``u`` is the
    coordinate along the wave and ``v`` the distance from its axis (Daugman 1985). Such filters are what first
    layers of trained networks often look like.

    Args:
        wavelength: elements per period.
        direction: where the wave travels, as for `motion`; a series has no choice.
        sigma: standard deviation of the bell curve in elements; None takes half a wavelength.
        phase: of the cosine, in degrees; 90 gives an edge detector instead of a line detector.
        aspect: how much narrower the bell curve is along the wave's fronts.
        rank: spatial axes, 1 to 3.

    Returns:
        Array that reaches three standard deviations to every side, further where `aspect` is below 1.

    Raises:
        ValueError, TypeError: numbers that are not positive, a direction as for `motion`.

    Example:
        >>> gn.filters.gabor(wavelength=4.0).shape
        (13, 13)
    """
    rank = _rank(rank)
    wavelength, aspect = _positive(wavelength, "wavelength"), _positive(aspect, "aspect")
    sigma = wavelength / 2 if sigma is None else _positive(sigma, "sigma")
    unit = np.ones(1) if rank == 1 else _direction(direction, rank)
    radius = math.ceil(3 * sigma / min(aspect, 1.0))
    offsets = _offsets(2 * radius + 1, rank)
    along = sum(x * part for x, part in zip(offsets, unit, strict=True))
    square = sum(x**2 for x in offsets)
    across = np.maximum(square - along**2, 0.0)
    bell = np.exp(-(along**2 + aspect**2 * across) / (2 * sigma**2))
    wave = np.cos(2 * math.pi * along / wavelength + math.radians(_validation.real(phase, "phase")))
    kernel: Kernel = bell * wave
    return kernel


_FILTERS: dict[int, Callable[..., NDArray[Any]]] = {
    1: functional.depthwise_conv1d,
    2: functional.depthwise_conv2d,
    3: functional.depthwise_conv3d,
}


def filter_image(image: ArrayLike, kernel: ArrayLike, *, padding_mode: str = "symmetric") -> NDArray[Any]:
    """Filters every channel of a series, an image or a volume with the same kernel.

    Args:
        image: array ``spatial``, ``(*spatial, channels)`` or ``(batch, *spatial, channels)``; the number of
            spatial axes is that of `kernel`.
        kernel: one weight per offset; it is not flipped.
        padding_mode: what lies beyond the border: "zeros", "reflect", "edge", "wrap" or "symmetric" (the
            default, which `scipy.ndimage` calls "reflect").

    Returns:
        Array of the shape of `image`.

    Raises:
        ShapeError, ValueError, TypeError: arrays that do not fit, or that hold no real numbers.

    Example:
        >>> gn.filters.filter_image([0.0, 0.0, 3.0, 0.0], gn.filters.box(3, rank=1))
        array([0., 1., 1., 1.])
    """
    x, weights = np.asarray(image), np.asarray(kernel)
    rank = weights.ndim
    if rank not in _FILTERS or not rank <= x.ndim <= rank + 2:
        raise ValueError(
            "`kernel` must have 1, 2 or 3 axes and `image` as many, or one more for channels, or two more "
            f"for batch and channels. Received kernel of shape {weights.shape}, image of shape {x.shape}."
        )
    shape = x.shape
    if x.ndim == rank:
        x = x[..., None]
    if x.ndim == rank + 1:
        x = x[None]
    spread = np.repeat(weights[..., None, None], x.shape[-1], axis=-2)
    result = _FILTERS[rank](
        x, spread, padding=[(n // 2, (n - 1) // 2) for n in weights.shape], padding_mode=padding_mode
    )
    return result.reshape(shape)


def bank(kernels: Sequence[ArrayLike], channels: int = 1) -> NDArray[np.float32]:
    """Filters as the kernel of a convolution layer: each filters the mean of all input channels.

    Args:
        kernels: arrays of one rank; smaller ones are centred in the size of the largest.
        channels: input channels of the layer.

    Returns:
        Array ``(*size, channels, len(kernels))``.

    Raises:
        ValueError: no kernels, kernels of different ranks, or sizes that differ by an odd number.

    Example:
        A layer that keeps its hand-made filters:

        >>> edges = gn.filters.bank([gn.filters.sobel(0), gn.filters.sobel(1)])
        >>> model = gn.Sequential([gn.Input((8, 8, 1)), gn.layers.Conv2D(2, 3, use_bias=False)])
        >>> model.layers[0].kernel = edges
        >>> model.layers[0].trainable = False
    """
    arrays = [np.asarray(kernel, np.float64) for kernel in kernels]
    channels = _validation.positive_integer(channels, "channels")
    if not arrays or len({array.ndim for array in arrays}) != 1 or arrays[0].ndim not in _FILTERS:
        raise ValueError(
            "`kernels` must be arrays with 1, 2 or 3 axes, as many in each. Received shapes "
            f"{[array.shape for array in arrays]}."
        )
    size = tuple(max(lengths) for lengths in zip(*(array.shape for array in arrays), strict=True))
    if any((n - m) % 2 for array in arrays for n, m in zip(size, array.shape, strict=True)):
        raise ValueError(
            "`kernels` must have odd sizes, or even ones, so that the centres agree. Received shapes "
            f"{[array.shape for array in arrays]}."
        )
    borders = [[((n - m) // 2,) * 2 for n, m in zip(size, array.shape, strict=True)] for array in arrays]
    padded = [np.pad(array, border) for array, border in zip(arrays, borders, strict=True)]
    stacked = np.stack(padded, axis=-1)[..., None, :] / channels
    return np.repeat(stacked, channels, axis=-2).astype(np.float32)
