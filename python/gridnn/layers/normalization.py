"""Layers that bring values to a common scale."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gridnn import _validation, initializers
from gridnn.layers.base import REGISTRY, Weight
from gridnn.layers.limits import LimitedLayer, ScaleLimits, limit_fields

__all__ = ["BatchNormalization", "GroupNormalization", "LayerNormalization"]

if TYPE_CHECKING:
    from typing_extensions import Unpack

_Initializer = str | initializers.Initializer


def _axis(value: object) -> int:
    """An axis of a sample; the batch axis counts, so the first one is 1."""
    axis = _validation.integer(value, "axis")
    if axis == 0:
        raise ValueError("The `axis` argument must not be 0, which is the batch axis. Received axis=0.")
    return axis


@REGISTRY.register()
class BatchNormalization(LimitedLayer):
    """Brings every channel to mean 0 and variance 1, then scales and shifts it.

    ``(x - mean) / sqrt(variance + epsilon) * gamma + beta``, as in "Batch Normalization" (Ioffe and Szegedy,
    2015). In training mean and variance (the biased one: divided by the count) are those of the batch, over
    all axes but `axis`; after every step ``moving = moving * momentum + batch * (1 - momentum)``. In
    inference the moving ones are used, and are part of the weights of a convolution or dense layer in front
    where nothing comes between.

    With ``trainable = False`` the layer works as in inference, also while other layers are trained. A step
    that was refused or interrupted leaves the moving statistics as they were, and so does
    ``model(x, training=True)``.

    Args:
        axis: the axis of the channels; the batch axis counts, so the first axis of a sample is 1.
        momentum: share of the old value in a moving statistic, in [0, 1].
        epsilon: what is added to the variance, at least 0.
        center: whether to add `beta`.
        scale: whether to multiply by `gamma`.
        beta_initializer: see `gridnn.initializers`.
        gamma_initializer: see `gridnn.initializers`.
        moving_mean_initializer: see `gridnn.initializers`.
        moving_variance_initializer: see `gridnn.initializers`.
        name: see `Layer`.
        trainable: see `Layer`.
        **limits: regularizers and constraints of beta and gamma; see `LimitedLayer`.

    Weights:
        `gamma`, `beta`, `moving_mean` and `moving_variance`, each with one number per channel; optimizers
        leave the last two alone.

    Input shape:
        Any.

    Output shape:
        Same as the input.

    Raises:
        ValueError: a number outside its range, an axis that does not exist.

    Example:
        >>> layer = layers.BatchNormalization()
        >>> y = layer(np.array([[1.0], [3.0]]), training=True)
        >>> y.round(2).ravel()
        array([-1.,  1.], dtype=float32)
    """

    config_fields = (
        "axis",
        "momentum",
        "epsilon",
        "center",
        "scale",
        "beta_initializer",
        "gamma_initializer",
        "moving_mean_initializer",
        "moving_variance_initializer",
        *limit_fields("beta", "gamma"),
    )
    limited = (("beta", "beta"), ("gamma", "gamma"))
    gamma = Weight()
    beta = Weight()
    moving_mean = Weight()
    moving_variance = Weight()

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: _Initializer = "zeros",
        gamma_initializer: _Initializer = "ones",
        moving_mean_initializer: _Initializer = "zeros",
        moving_variance_initializer: _Initializer = "ones",
        *,
        name: str | None = None,
        trainable: bool = True,
        **limits: Unpack[ScaleLimits],
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.axis = _axis(axis)
        self.momentum = _validation.real(momentum, "momentum", low=0.0, high=1.0)
        self.epsilon = _validation.real(epsilon, "epsilon", low=0.0)
        self.center = _validation.boolean(center, "center")
        self.scale = _validation.boolean(scale, "scale")
        self.beta_initializer = initializers.of_weight(beta_initializer)
        self.gamma_initializer = initializers.of_weight(gamma_initializer)
        self.moving_mean_initializer = initializers.of_weight(moving_mean_initializer)
        self.moving_variance_initializer = initializers.of_weight(moving_variance_initializer)
        self._set_limits(limits)

    @property
    def output_activation(self) -> str:
        """Always "linear"."""
        return "linear"


class SampleNormalization(LimitedLayer):
    """Base of the layers that normalise every sample by itself, in training and inference alike.

    Args:
        epsilon: what is added to the variance, at least 0.
        center: whether to add `beta`.
        scale: whether to multiply by `gamma`.
        beta_initializer: see `gridnn.initializers`.
        gamma_initializer: see `gridnn.initializers`.
        limits: see `LimitedLayer`.
        name: see `Layer`.
        trainable: see `Layer`.
    """

    limited = (("beta", "beta"), ("gamma", "gamma"))
    gamma = Weight()
    beta = Weight()

    def __init__(
        self,
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: _Initializer,
        gamma_initializer: _Initializer,
        limits: ScaleLimits,
        *,
        name: str | None,
        trainable: bool,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.epsilon = _validation.real(epsilon, "epsilon", low=0.0)
        self.center = _validation.boolean(center, "center")
        self.scale = _validation.boolean(scale, "scale")
        self.beta_initializer = initializers.of_weight(beta_initializer)
        self.gamma_initializer = initializers.of_weight(gamma_initializer)
        self._set_limits(limits)

    @property
    def output_activation(self) -> str:
        """Always "linear"."""
        return "linear"


_SCALING = (
    "epsilon",
    "center",
    "scale",
    "beta_initializer",
    "gamma_initializer",
    *limit_fields("beta", "gamma"),
)


@REGISTRY.register()
class LayerNormalization(SampleNormalization):
    """Brings every sample to mean 0 and variance 1 over some axes, then scales and shifts it.

    ``(x - mean) / sqrt(variance + epsilon) * gamma + beta``, with the biased variance, as in "Layer
    Normalization" (Ba, Kiros and Hinton, 2016).

    Args:
        axis: the axis, or axes, to normalise over; the batch axis counts, so the first axis of a sample is 1.
        epsilon: what is added to the variance, at least 0.
        center: whether to add `beta`.
        scale: whether to multiply by `gamma`.
        beta_initializer: see `gridnn.initializers`.
        gamma_initializer: see `gridnn.initializers`.
        name: see `Layer`.
        trainable: see `Layer`.
        **limits: regularizers and constraints of beta and gamma; see `LimitedLayer`.

    Weights:
        `gamma` and `beta`, with the sizes of the axes, in the order of the input.

    Input shape:
        Any.

    Output shape:
        Same as the input.

    Raises:
        ValueError: a number outside its range, an axis that does not exist or is named twice.

    Example:
        >>> layers.LayerNormalization()(np.array([[1.0, 3.0]])).round(2)
        array([[-1.,  1.]], dtype=float32)
    """

    config_fields = ("axis", *_SCALING)

    def __init__(
        self,
        axis: int | Iterable[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: _Initializer = "zeros",
        gamma_initializer: _Initializer = "ones",
        *,
        name: str | None = None,
        trainable: bool = True,
        **limits: Unpack[ScaleLimits],
    ) -> None:
        super().__init__(
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            limits,
            name=name,
            trainable=trainable,
        )
        if isinstance(axis, Iterable) and not isinstance(axis, (str, bytes)):
            self.axis: int | tuple[int, ...] = tuple(_axis(element) for element in axis)
        else:
            self.axis = _axis(axis)
        if self.axis == ():
            raise ValueError("The `axis` argument must name at least one axis. Received none.")

    def engine_config(self) -> dict[str, Any]:
        """The configuration as the engine wants it."""
        axes = [self.axis] if isinstance(self.axis, int) else list(self.axis)
        return {**super().engine_config(), "axis": axes}


@REGISTRY.register()
class GroupNormalization(SampleNormalization):
    """Brings groups of channels of every sample to mean 0 and variance 1, then scales and shifts channels.

    ``(x - mean) / sqrt(variance + epsilon) * gamma + beta``, with the biased variance, over all axes but the
    batch, as in "Group Normalization" (Wu and He, 2018). One group is layer normalisation over everything,
    one per channel (``groups=-1``) instance normalisation.

    Args:
        groups: number of groups; it divides that of the channels. -1 is one per channel.
        axis: the axis of the channels; the batch axis counts, so the first axis of a sample is 1.
        epsilon: what is added to the variance, at least 0.
        center: whether to add `beta`.
        scale: whether to multiply by `gamma`.
        beta_initializer: see `gridnn.initializers`.
        gamma_initializer: see `gridnn.initializers`.
        name: see `Layer`.
        trainable: see `Layer`.
        **limits: regularizers and constraints of beta and gamma; see `LimitedLayer`.

    Weights:
        `gamma` and `beta`, with one number per channel.

    Input shape:
        Any.

    Output shape:
        Same as the input.

    Raises:
        ValueError: a number outside its range, an axis that does not exist.
        ShapeError: `groups` does not divide the channels; raised when the model is built.

    Example:
        >>> layers.GroupNormalization(groups=2)(np.arange(4.0).reshape(1, 1, 4)).round(2).ravel()
        array([-1.,  1., -1.,  1.], dtype=float32)
    """

    config_fields = ("groups", "axis", *_SCALING)

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: _Initializer = "zeros",
        gamma_initializer: _Initializer = "ones",
        *,
        name: str | None = None,
        trainable: bool = True,
        **limits: Unpack[ScaleLimits],
    ) -> None:
        super().__init__(
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            limits,
            name=name,
            trainable=trainable,
        )
        self.groups = _validation.integer(groups, "groups")
        if self.groups < 1 and self.groups != -1:
            raise ValueError(f"The `groups` argument must be positive, or -1. Received groups={self.groups}.")
        self.axis = _axis(axis)
