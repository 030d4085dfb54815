"""Layers that act in training only, against overfitting."""

from __future__ import annotations

from collections.abc import Sequence

from gridnn import _validation
from gridnn.layers.base import REGISTRY, Layer

__all__ = [
    "ActivityRegularization",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
]


@REGISTRY.register()
class ActivityRegularization(Layer):
    """Passes its input on, and adds ``(l1 sum(|x|) + l2 sum(x^2)) / batch size`` to the loss.

    Args:
        l1: factor, at least 0.
        l2: factor, at least 0.
        name: see `Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input.

    Example:
        >>> x = np.array([[-2.0, -1.0, 0.0, 3.0]])
        >>> layers.ActivityRegularization(l2=0.01)(x)
        array([[-2., -1.,  0.,  3.]])
    """

    config_fields = ("l1", "l2")

    @property
    def elementwise(self) -> bool:
        """Whether it treats every value by itself."""
        return True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.l1 = _validation.real(l1, "l1", low=0.0)
        self.l2 = _validation.real(l2, "l2", low=0.0)


@REGISTRY.register()
class Dropout(Layer):
    """Sets elements to 0 at random in training, and scales the others by ``1 / (1 - rate)``.

    In inference it passes on its input. Which elements depends on (seed, step, sample) only: not on the
    number of threads, nor on what ran before.

    Args:
        rate: share of elements to drop, in [0, 1].
        noise_shape: shape of the draws, batch first: along axes where it is 1 elements share one, which drops
            them together; None, as an entry, is the size of the input. ``(None, 1, 1, None)`` drops channels
            of images. None draws for every element.
        seed: a seed of its own; None takes the one of `fit`.
        name: see `Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input.

    Raises:
        ValueError: `rate` is not between 0 and 1.
        ShapeError: `noise_shape` does not fit the input; raised when the model is built.

    Example:
        >>> layers.Dropout(0.5)(np.ones((1, 4)), training=False)
        array([[1., 1., 1., 1.]])
    """

    config_fields = ("rate", "noise_shape", "seed")

    @property
    def elementwise(self) -> bool:
        """Whether it treats every value by itself."""
        return True

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.rate = _rate(rate)
        self.noise_shape = (
            None if noise_shape is None else _validation.sample_shape(noise_shape, "noise_shape")
        )
        self.seed = _validation.seed(seed)


def _rate(value: object) -> float:
    """A share between 0 and 1."""
    try:
        return _validation.real(value, "rate", low=0.0, high=1.0)
    except ValueError:
        raise ValueError(
            "Invalid value received for argument `rate`. Expected a float value between 0 and 1. "
            f"Received: rate={value}"
        ) from None


class SpatialDropout(Layer):
    """Base of the layers that set whole channels to 0 at random in training.

    The others are scaled by ``1 / (1 - rate)``, as in "Efficient Object Localization Using Convolutional
    Networks" (Tompson et al., 2015). In inference it passes on its input.

    Args:
        rate: share of channels to drop, in [0, 1].
        seed: a seed of its own; None takes the one of `fit`.
        name: see `Layer`.

    Raises:
        ValueError: `rate` is not between 0 and 1.
    """

    config_fields = ("rate", "seed")

    def __init__(self, rate: float, seed: int | None = None, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.rate = _rate(rate)
        self.seed = _validation.seed(seed)


@REGISTRY.register()
class SpatialDropout1D(SpatialDropout):
    """Sets whole channels to 0 at random in training; see `SpatialDropout`.

    Input shape:
        ``(batch, steps, channels)``.

    Output shape:
        Same as the input.

    Example:
        >>> x = np.ones((1, 6, 2))
        >>> layers.SpatialDropout1D(0.5)(x).shape
        (1, 6, 2)
    """


@REGISTRY.register()
class SpatialDropout2D(SpatialDropout):
    """Sets whole channels to 0 at random in training; see `SpatialDropout`.

    Input shape:
        ``(batch, height, width, channels)``.

    Output shape:
        Same as the input.

    Example:
        >>> x = np.ones((1, 4, 4, 2))
        >>> layers.SpatialDropout2D(0.5)(x).shape
        (1, 4, 4, 2)
    """


@REGISTRY.register()
class SpatialDropout3D(SpatialDropout):
    """Sets whole channels to 0 at random in training; see `SpatialDropout`.

    Input shape:
        ``(batch, depth, height, width, channels)``.

    Output shape:
        Same as the input.

    Example:
        >>> x = np.ones((1, 4, 4, 4, 2))
        >>> layers.SpatialDropout3D(0.5)(x).shape
        (1, 4, 4, 4, 2)
    """


@REGISTRY.register()
class GaussianNoise(Layer):
    """Adds normal numbers of mean 0 in training; in inference it passes on its input.

    Args:
        stddev: standard deviation of the noise, at least 0.
        seed: a seed of its own; None takes the one of `fit`.
        name: see `Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input.

    Raises:
        ValueError: `stddev` is negative.

    Example:
        >>> layers.GaussianNoise(0.1)(np.ones((1, 4)), training=False)
        array([[1., 1., 1., 1.]])
    """

    config_fields = ("stddev", "seed")

    @property
    def elementwise(self) -> bool:
        """Whether it treats every value by itself."""
        return True

    def __init__(self, stddev: float, seed: int | None = None, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.stddev = _validation.real(stddev, "stddev", low=0.0)
        self.seed = _validation.seed(seed)


@REGISTRY.register()
class GaussianDropout(Layer):
    """Multiplies by normal numbers of mean 1 and variance ``rate / (1 - rate)`` in training.

    That is the variance of what `Dropout` multiplies by. In inference it passes on its input.

    Args:
        rate: in [0, 1).
        seed: a seed of its own; None takes the one of `fit`.
        name: see `Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input.

    Raises:
        ValueError: `rate` is not between 0 and 1, or is 1.

    Example:
        >>> layers.GaussianDropout(0.2)(np.ones((1, 4)), training=False)
        array([[1., 1., 1., 1.]])
    """

    config_fields = ("rate", "seed")

    @property
    def elementwise(self) -> bool:
        """Whether it treats every value by itself."""
        return True

    def __init__(self, rate: float, seed: int | None = None, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.rate = _rate(rate)
        if self.rate == 1.0:
            raise ValueError(
                "Invalid value received for argument `rate`. Expected less than 1. Received: rate=1"
            )
        self.seed = _validation.seed(seed)
