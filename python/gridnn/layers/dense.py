"""The fully connected layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridnn import _validation, initializers
from gridnn.layers.activation import AnyActivation, activation_name
from gridnn.layers.base import REGISTRY, Weight
from gridnn.layers.limits import KernelLimits, LimitedLayer, limit_fields

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Dense"]


@REGISTRY.register()
class Dense(LimitedLayer):
    """Every output is a weighted sum of the last axis: ``activation(x @ kernel + bias)``.

    Args:
        units: number of outputs.
        activation: name of the activation applied to the result; see `Activation`.
        use_bias: whether to add one number per output.
        kernel_initializer: see `gridnn.initializers`.
        bias_initializer: see `gridnn.initializers`.
        name: see `Layer`.
        trainable: see `Layer`.
        **limits: regularizers and constraints; see `LimitedLayer`.

    Weights:
        `kernel` of shape ``(features, units)``; `bias` of shape ``(units,)``.

    Input shape:
        ``(batch, ..., features)``. Axes in between are kept: each position is treated alike.

    Output shape:
        ``(batch, ..., units)``.

    Raises:
        ValueError: `units` is not positive, an unknown name.

    Example:
        >>> Dense(10, activation="softmax").units
        10
    """

    config_fields = (
        "units",
        "activation",
        "use_bias",
        "kernel_initializer",
        "bias_initializer",
        *limit_fields("kernel", "bias"),
    )
    limited = (("kernel", "kernel"), ("bias", "bias"))
    kernel = Weight()
    bias = Weight()

    def __init__(
        self,
        units: int,
        activation: AnyActivation = None,
        use_bias: bool = True,
        kernel_initializer: str | initializers.Initializer = "glorot_uniform",
        bias_initializer: str | initializers.Initializer = "zeros",
        *,
        name: str | None = None,
        trainable: bool = True,
        **limits: Unpack[KernelLimits],
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.units = _validation.integer(units, "units")
        if self.units <= 0:
            raise ValueError(
                "Received an invalid value for `units`, expected a positive integer. "
                f"Received: units={self.units}"
            )
        self.activation = activation_name(activation)
        self.use_bias = _validation.boolean(use_bias, "use_bias")
        self.kernel_initializer = initializers.of_weight(kernel_initializer)
        self.bias_initializer = initializers.of_weight(bias_initializer)
        self._set_limits(limits)
