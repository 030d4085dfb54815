"""Layers that prepare raw data, so that a saved model takes it as it comes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._arrays import as_array, not_finite
from gridnn._batches import in_batch, inputs_of, is_batches
from gridnn.layers.base import REGISTRY, Layer
from gridnn.layers.symbolic import ARITHMETIC

__all__ = ["Normalization", "Rescaling"]


@REGISTRY.register()
class Normalization(Layer):
    """Maps every element x to ``(x - mean) / max(sqrt(variance), 1e-7)``, by fixed numbers.

    Where a feature is constant (its variance is 0, or but rounding) the divisor is 1, as in scikit-learn.

    They are given, or found by `adapt` in a data set, before the layer becomes part of a model.

    Args:
        axis: the axis or axes that have numbers of their own, the batch being axis 0; -1 is one pair of
            numbers for every channel, None one for all elements.
        mean: one number, or one for every position along `axis` (in row-major order for several axes);
            with `variance`, or None.
        variance: the same for the variance.
        invert: map the other way, ``x * max(sqrt(variance), 1e-7) + mean``.
        name: see `Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input.

    Raises:
        ValueError: only one of `mean` and `variance`, other numbers of numbers than the axes have, a negative
            variance.

    Example:
        >>> layer = Normalization()
        >>> layer.adapt([[1.0, 10.0], [3.0, 10.0]])
        >>> layer.mean, layer.variance
        ((2.0, 10.0), (1.0, 0.0))
    """

    config_fields = ("axis", "mean", "variance", "invert")

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.axis: int | tuple[int, ...] | None
        if axis is None:
            self.axis = None
        elif isinstance(axis, (tuple, list)):
            self.axis = tuple(_validation.integer(one, "axis") for one in axis)
        else:
            self.axis = _validation.integer(axis, "axis")
        if (mean is None) != (variance is None):
            raise ValueError(
                "When setting values directly, both `mean` and `variance` must be set. Received "
                f"mean={mean!r} and variance={variance!r}."
            )
        self.mean = _numbers(mean, "mean")
        self.variance = _numbers(variance, "variance", low=0.0)
        self.invert = _validation.boolean(invert, "invert")

    def adapt(self, data: Any) -> None:
        """Takes mean and variance (biased, in float64) from a data set.

        Args:
            data: array ``(samples, ...)`` with the axes of the layer's input; or an iterable of such arrays,
                batches of a data set, of which each is read once. Batches may be pairs (or more) like those
                that `fit` takes: the first of them counts.

        Raises:
            ValueError: no samples; the layer is part of a model already; `data` lacks an axis, or batches
                differ in a size along `axis`.
        """
        if self._claims:
            raise ValueError(f"{self.label}: adapt the layer before it becomes part of a model.")
        count, mean, squares = 0, np.zeros(()), np.zeros(())
        for batch in _batches(data):
            own, own_mean, own_squares = self._moments(batch)
            if count and mean.shape != own_mean.shape:
                raise ValueError(
                    f"Batches of `data` differ along `axis` {self.axis}: sizes {mean.shape} and "
                    f"{own_mean.shape}."
                )
            # Moments of parts put together (Chan, Golub and LeVeque, 1979).
            shift = own_mean - mean
            squares = squares + own_squares + shift**2 * (count * own / max(count + own, 1))
            mean = mean + shift * (own / max(count + own, 1))
            count += own
        if not count:
            raise ValueError("`data` holds no samples.")
        variance = squares / count
        # scikit-learn's bound of what rounding makes of a constant, whose scale is left as it is.
        epsilon = float(np.finfo(np.float64).eps)
        constant = variance <= count * epsilon * variance + (count * mean * epsilon) ** 2
        variance = np.where(constant, 0.0, variance)
        # The one change after construction: the engine has not been told yet.
        self.__dict__.update(mean=_numbers(mean, "mean"), variance=_numbers(variance, "variance", low=0.0))
        self._array_calls.latest = None

    def _moments(self, array: NDArray[Any]) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
        """Elements of a batch for each number, their mean, and their squared distance from it."""
        axes = {axis % array.ndim if -array.ndim <= axis < array.ndim else 0 for axis in self._axes()}
        if 0 in axes:
            raise ValueError(f"`axis` {self.axis} is none of `data`, which has shape {array.shape}.")
        others = tuple(axis for axis in range(array.ndim) if axis not in axes)
        count = math.prod(array.shape[axis] for axis in others)
        if not count:
            kept = tuple(array.shape[axis] for axis in sorted(axes))
            return 0, np.zeros(kept), np.zeros(kept)
        mean = np.asarray(array.mean(axis=others, dtype=np.float64))
        found = None if np.isfinite(mean).all() else not_finite(array, array.dtype)
        if found is not None:
            raise ValueError(
                f"`data` holds {found[1]:g}: the first sample with it is number {found[0]}, counted from 0. "
                "Drop or fill such samples."
            )
        return count, mean, np.asarray(array.var(axis=others, dtype=np.float64)) * count

    def _axes(self) -> tuple[int, ...]:
        if self.axis is None:
            return ()
        return (self.axis,) if isinstance(self.axis, int) else self.axis

    def engine_config(self) -> dict[str, Any]:
        """Lists of axes and numbers."""
        if self.mean is None or self.variance is None:
            raise ValueError(f"{self.label} has no mean and variance: give them, or call adapt(data) first.")
        return {
            "axis": list(self._axes()),
            "mean": list(self.mean),
            "variance": list(self.variance),
            "invert": self.invert,
        }

    @property
    def output_activation(self) -> str:
        """Always "linear": the output is no probability."""
        return "linear"


def _batches(data: Any) -> Iterator[NDArray[Any]]:
    """The batches of `data`, which may be one array."""
    if not is_batches(data):
        yield as_array(data, "data")
        return
    for number, batch in enumerate(_validation.iterated(data)):
        with in_batch("data", number):
            array = inputs_of(batch, None, "data")
        yield array


def _numbers(value: Any, name: str, *, low: float = -np.inf) -> tuple[float, ...] | None:
    """A number, or an array of them, as a flat tuple of floats."""
    if value is None:
        return None
    array: NDArray[Any] = np.asarray(value)
    if array.dtype.kind not in "iuf" or not array.size:
        raise TypeError(f"The `{name}` argument must hold numbers. Received {name}={value!r}.")
    return tuple(_validation.real(number, name, low=low) for number in array.ravel().tolist())


@REGISTRY.register()
class Rescaling(Layer):
    """Maps every element x to ``x * scale + offset``.

    As first layer it reads integer images directly: ``Rescaling(1 / 255)`` turns uint8 into [0, 1].

    Args:
        scale: factor; or a list with one for every channel.
        offset: added after scaling, likewise.
        name: see `Layer`.

    Input shape:
        Any; with lists the last axis has as many channels as they have numbers.

    Output shape:
        Same as the input.

    Example:
        >>> Rescaling(1 / 127.5, offset=-1).offset
        -1.0
    """

    config_fields = ("scale", "offset")

    @property
    def elementwise(self) -> bool:
        """Whether it treats every value by itself."""
        return isinstance(self.scale, float) and isinstance(self.offset, float)

    def __init__(
        self,
        scale: float | Sequence[float],
        offset: float | Sequence[float] = 0.0,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.scale = _per_channel(scale, "scale")
        self.offset = _per_channel(offset, "offset")

    @property
    def output_activation(self) -> str:
        """Always "linear": whatever the input was, the output is no probability any more."""
        return "linear"


def _per_channel(value: Any, name: str) -> float | tuple[float, ...]:
    """A number, or one for every channel."""
    if not isinstance(value, (list, tuple, np.ndarray)) or np.ndim(value) == 0:
        return _validation.real(value, name)
    if np.ndim(value) != 1 or not len(value):
        raise ValueError(
            f"The `{name}` argument must be a number, or a list of one for every channel. Received an array "
            f"of shape {np.shape(value)}."
        )
    return tuple(_validation.real(number, name) for number in value)


ARITHMETIC["Rescaling"] = Rescaling
