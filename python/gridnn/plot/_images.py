"""Pictures of grids: images, kernels, activation maps, slices of volumes, heat over an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gridnn import _validation
from gridnn.layers.base import Layer
from gridnn.plot import _style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["activations", "filters", "heat", "images", "masks", "picture", "slices"]


def picture(image: ArrayLike, name: str = "image") -> NDArray[Any]:
    """An image as ``(height, width)``, or ``(height, width, 3)`` from 0 to 1.

    Channels other than one or three are averaged.

    Raises:
        ValueError: not two spatial axes, with or without channels.
    """
    array = np.asarray(image)
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        return array.astype(np.float64)
    if array.ndim != 3:
        raise ValueError(
            f"`{name}` must be an image (height, width) or (height, width, channels). Received shape "
            f"{array.shape}."
        )
    if array.shape[-1] == 3:
        return _style.stretch(array)
    mean: NDArray[Any] = array.mean(axis=-1)
    return mean


def images(
    x: ArrayLike,
    labels: Sequence[object] | None = None,
    *,
    columns: int | None = None,
    limit: int = 32,
    ax: Axes | None = None,
) -> Axes:
    """Images side by side, each stretched from its lowest to its highest value.

    Args:
        x: ``(n, height, width)`` or ``(n, height, width, channels)``; three channels are colours.
        labels: what is written above each.
        columns: images in a row; None chooses.
        limit: images shown at most.
        ax: axes to draw on; None makes a figure.

    Raises:
        ValueError: not a batch of images.
        ImportError: matplotlib is not installed.

    Example:
        >>> (x, y), _ = gn.datasets.digits()
        >>> ax = gn.plot.images(x[:6], y[:6])
    """
    array = np.asarray(x)
    if array.ndim not in (3, 4) or not len(array):
        raise ValueError(f"`x` must be a batch of images, and not empty. Received shape {array.shape}.")
    shown = array[: _validation.positive_integer(limit, "limit")]
    tiles = [_style.stretch(picture(image)) for image in shown]
    text = None if labels is None else [str(label) for label in labels[: len(tiles)]]
    # A few large images are worth more room than many small ones.
    inches = 2.4 if len(tiles) <= 4 and max(tiles[0].shape[:2]) >= 24 else 1.1
    return _style.show_mosaic(ax, tiles, columns=columns, labels=text, limits=(0.0, 1.0), tile_inches=inches)


def filters(
    kernel: ArrayLike | Layer,
    *,
    channel: int | None = None,
    limit: int = 16,
    columns: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The filters of a convolution: white is zero, red is above, blue below, on one scale for all of them.

    Args:
        kernel: ``(*kernel_size, channels, filters)``, or a built layer that has a kernel.
        channel: the input channel to show. None shows all of them: of images a row of tiles per channel; of
            series one line of pixels per channel; of volumes, whose tiles are slices along the first axis,
            the mean.
        limit: filters, and channels, shown at most.
        columns: tiles in a row; None chooses.
        ax: axes to draw on; None makes a figure.

    Raises:
        ValueError: not a kernel.
        ImportError: matplotlib is not installed.

    Example:
        >>> ax = gn.plot.filters(gn.filters.bank([gn.filters.sobel(0), gn.filters.sobel(1)]))
    """
    array = _kernel_of(kernel)
    limit = _validation.positive_integer(limit, "limit")
    total = array.shape[-1]
    array = array[..., :limit]
    if channel is not None:
        array = np.take(array, [channel], axis=-2)
    rank, channels, count = array.ndim - 2, array.shape[-2], array.shape[-1]
    highest = float(np.abs(array).max()) or 1.0
    names = [f"{i}" for i in range(count)]
    rows: list[str] | None = None
    if rank == 1:
        tiles = [array[..., i].T for i in range(count)]
    elif rank == 2 and channels == 1:
        tiles = [array[..., 0, i] for i in range(count)]
    elif rank == 2:
        shown = min(channels, limit)
        tiles = [array[..., c, i] for c in range(shown) for i in range(count)]
        columns, rows = count, [f"channel {c}" for c in range(shown)]
        names = names + [""] * (len(tiles) - count)
    else:
        tiles = [array[z].mean(axis=-2)[..., i] for i in range(count) for z in range(len(array))]
        columns, rows = len(array), [f"filter {i}" for i in range(count)]
        names = [f"slice {z}" for z in range(len(array))] + [""] * (len(tiles) - len(array))
    ax = _style.show_mosaic(
        ax,
        tiles,
        columns=columns,
        labels=names,
        rows=rows,
        cmap=_style.DIVERGING,
        limits=(-highest, highest),
        tile_inches=0.7,
    )
    title = f"{total} filters" if total == count else f"{count} of {total} filters"
    ax.set_title(f"{title}, ±{highest:.2g}", fontsize=9, pad=18)
    return ax


def _kernel_of(kernel: ArrayLike | Layer) -> NDArray[Any]:
    values: Any = kernel
    if isinstance(kernel, Layer):
        values = getattr(kernel, "kernel", None)
        if values is None:
            values = getattr(kernel, "depthwise_kernel", None)
        if values is None:
            waits = hasattr(kernel, "kernel_size") and not kernel.built
            cure = "" if not waits else " It is not built: pass a layer of a model that has an Input."
            raise ValueError(f"{kernel.label} has no kernel to show.{cure}")
        if type(kernel).__name__.startswith("Depthwise"):
            # (*k, channels, multiplier): every channel has filters of its own.
            values = values.reshape(*values.shape[:-2], 1, -1)
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise TypeError(
            "The `kernel` argument must be a layer with a kernel, as model.layers[0] may be, or an array. "
            f"Received {values!r}."
        ) from None
    if not 3 <= array.ndim <= 5 or not array.size:
        raise ValueError(
            f"`kernel` must have shape (*kernel_size, channels, filters). Received shape {array.shape}."
        )
    return array


def activations(
    maps: ArrayLike,
    *,
    limit: int = 16,
    columns: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The activation maps of one sample: a tile per channel, dark is low, on one scale for all of them.

    Args:
        maps: outputs of a layer for one sample: ``(length, channels)``, ``(height, width, channels)`` or
            ``(depth, height, width, channels)``, with or without a batch axis of size 1. Series are drawn as
            one picture with a line of pixels per channel; of volumes the middle slice is shown.
        limit: channels shown at most.
        columns: tiles in a row; None chooses.
        ax: axes to draw on; None makes a figure.

    Raises:
        ValueError: the maps of several samples.
        ImportError: matplotlib is not installed.

    Example:
        >>> ax = gn.plot.activations(np.random.default_rng(0).normal(size=(8, 8, 4)))
    """
    planes = _style.channel_planes(maps, "maps")
    total = len(planes)
    planes = planes[: _validation.positive_integer(limit, "limit")]
    count, height, _ = planes.shape
    low, high = float(planes.min()), float(planes.max())
    if height == 1:
        ax = _style.axes(ax, (6.0, 0.6 + 0.25 * count))
        ax.imshow(planes[:, 0], aspect="auto", cmap=_style.SEQUENTIAL, interpolation="nearest")
        ax.set_xlabel("position")
        ax.set_ylabel("channel")
        ax.set_yticks(range(0, count, max(1, count // 8)))
    else:
        ax = _style.show_mosaic(
            ax,
            list(planes),
            columns=columns,
            labels=[f"{i}" for i in range(count)],
            cmap=_style.SEQUENTIAL,
            limits=(low, high),
        )
    title = f"{total} maps" if total == count else f"{count} of {total} maps"
    ax.set_title(f"{title}, {low:.2g} to {high:.2g}", fontsize=9, pad=18 if height > 1 else 6)
    return ax


def slices(
    volume: ArrayLike, *, axis: int = 0, count: int = 8, columns: int | None = None, ax: Axes | None = None
) -> Axes:
    """Evenly spaced slices of a volume, on one scale.

    Args:
        volume: ``(depth, height, width)``, or with one channel after it; other channels are averaged.
        axis: the axis that is cut, 0 to 2.
        count: slices shown at most.
        columns: slices in a row; None chooses.
        ax: axes to draw on; None makes a figure.

    Raises:
        ValueError: not a volume, or no such axis.
        ImportError: matplotlib is not installed.

    Example:
        >>> ax = gn.plot.slices(gn.lab.volume())
    """
    array = np.asarray(volume)
    if array.ndim == 4:
        array = array.mean(axis=-1)
    if array.ndim != 3 or not 0 <= axis <= 2:
        raise ValueError(
            f"`volume` must have three spatial axes, `axis` must be 0, 1 or 2. Received shape {array.shape}, "
            f"axis={axis}."
        )
    length = array.shape[axis]
    count = min(_validation.positive_integer(count, "count"), length)
    # The middles of `count` equal parts: neither the first nor the last slice, which are often empty.
    chosen = ((np.arange(count) + 0.5) * length / count).astype(int)
    tiles = [np.take(array, int(i), axis=axis) for i in chosen]
    names = [f"slice {i}" for i in chosen]
    return _style.show_mosaic(ax, tiles, columns=columns, labels=names)


def masks(
    x: ArrayLike,
    labels: ArrayLike,
    predictions: ArrayLike | None = None,
    *,
    limit: int = 4,
    ax: Axes | None = None,
) -> Axes:
    """Images, a class at each pixel, and the classes that a model found, a sample in each row.

    Class 0 is black, the others have colours. Of volumes, the slice with the most of other classes is shown.

    Args:
        x: ``(n, height, width, channels)``, or ``(n, depth, height, width, channels)``.
        labels: the true classes, ``x.shape[:-1]``, with or without a last axis of size 1.
        predictions: classes like `labels`; or ``(..., classes)``, of which the largest counts; None shows
            none.
        limit: samples shown at most.
        ax: axes to draw on; None makes a figure.

    Raises:
        ValueError: shapes do not fit.
        ImportError: matplotlib is not installed.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(2, 8, 8, 1))
        >>> ax = gn.plot.masks(x, x[..., 0] > 0, x[..., 0] > 0.2)
    """
    limit = _validation.positive_integer(limit, "limit")
    grids = np.asarray(x)
    if grids.ndim not in (4, 5) or not grids.size:
        raise ValueError(
            "`x` must be a batch of images or volumes with channels, and not empty. Received shape "
            f"{grids.shape}."
        )
    truth = _classes_of(labels, grids, "labels")
    guesses = None if predictions is None else _classes_of(predictions, grids, "predictions")
    tiles, words = [], []
    for i in range(min(limit, len(grids))):
        image, true = grids[i], truth[i]
        seen = None if guesses is None else guesses[i]
        if image.ndim == 4:
            cut = int(np.argmax((true != 0).sum(axis=(1, 2)))) if (true != 0).any() else len(true) // 2
            image, true, seen = image[cut], true[cut], None if seen is None else seen[cut]
        gray = _style.stretch(picture(image))
        tiles += [gray if gray.ndim == 3 else np.repeat(gray[..., None], 3, axis=-1), _coloured(true)]
        if seen is not None:
            tiles.append(_coloured(seen))
            words.append(f"{np.mean(seen == true):.1%} right")
    columns = 2 if guesses is None else 3
    heads = ["input", "truth", "model"][:columns]
    labels_of_tiles = heads + [""] * (len(tiles) - columns)
    return _style.show_mosaic(
        ax, tiles, columns=columns, labels=labels_of_tiles, rows=words or None, tile_inches=1.6
    )


def _classes_of(values: ArrayLike, x: NDArray[Any], name: str) -> NDArray[np.int64]:
    """A class at each position of `x`."""
    array = np.asarray(values)
    if array.shape != x.shape[:-1] and array.shape[:-1] == x.shape[:-1]:
        array = array[..., 0] if array.shape[-1] == 1 else array.argmax(axis=-1)
    if array.shape != x.shape[:-1]:
        raise ValueError(
            f"`{name}` must have a class at each position of `x`, shape {x.shape[:-1]}. Received shape "
            f"{array.shape}."
        )
    return array.astype(np.int64)


def _coloured(classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Classes as colours ``(height, width, 3)``."""
    palette = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in _style.COLOURS])
    shown: NDArray[np.float64] = palette[(classes - 1) % len(palette)]
    return np.where((classes == 0)[..., None], 0.0, shown)


def heat(image: ArrayLike, values: ArrayLike, *, title: str | None = None, ax: Axes | None = None) -> Axes:
    """An image in grey with non-negative values laid over it: saliency, Grad-CAM.

    Args:
        image: ``(height, width)`` or ``(height, width, channels)``.
        values: one per pixel; a batch axis of size 1 or a channel axis is dropped (the largest magnitude of
            the channels counts). A coarser map is enlarged to the image.
        title: written above.
        ax: axes to draw on; None makes a figure.

    Raises:
        ValueError: not an image, or values that are no map.
        ImportError: matplotlib is not installed.

    Example:
        >>> ax = gn.plot.heat(np.zeros((8, 8)), np.eye(8))
    """
    grey = picture(image)
    if grey.ndim == 3:
        grey = grey.mean(axis=-1)
    weights = np.abs(np.asarray(values, np.float64))
    if weights.ndim == 4 and weights.shape[0] == 1:
        weights = weights[0]
    if weights.ndim == 3:
        weights = weights[0] if weights.shape[0] == 1 else weights.max(axis=-1)
    if weights.ndim != 2:
        raise ValueError(f"`values` must be a map (height, width). Received shape {np.shape(values)}.")
    height, width = grey.shape
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    ax = _style.axes(ax, (3.0, 3.0 * height / width + 0.3))
    ax.imshow(grey, cmap="gray", extent=extent, interpolation="nearest")
    highest = weights.max() or 1.0
    # Transparent where nothing is, so that the image stays readable.
    ax.imshow(weights, cmap="inferno", alpha=0.75 * weights / highest, extent=extent, vmin=0.0, vmax=highest)
    _style.bare(ax)
    if title is not None:
        ax.set_title(title, fontsize=9)
    return ax
