"""Activations: the layers, and the names that every layer with an `activation` argument understands."""

from __future__ import annotations

from gridnn import _validation
from gridnn.layers.base import REGISTRY, Layer

__all__ = ["Activation", "ReLU", "Softmax"]

ACTIVATIONS = (
    "elu",
    "gelu",
    "leaky_relu",
    "linear",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
)
_ALIASES = {"swish": "silu"}


def activation_name(identifier: object) -> str:
    """The canonical name of an activation; None is "linear".

    Raises:
        TypeError: not a string (functions of one's own cannot run inside the engine).
        ValueError: an unknown name.
    """
    if identifier is None:
        return "linear"
    name = _validation.string(identifier, "activation")
    return _validation.choice(_ALIASES.get(name, name), "activation", ACTIVATIONS)


@REGISTRY.register()
class Activation(Layer):
    """Applies an activation function to every element (softmax: along the last axis).

    Args:
        activation: "linear", "relu", "leaky_relu" (slope 0.2), "elu", "gelu" (exact), "silu" (also "swish"),
            "sigmoid", "softplus", "tanh" or "softmax".
        name: see `Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input.

    Raises:
        ValueError: an unknown name.

    Example:
        >>> Activation("swish").activation
        'silu'
    """

    config_fields = ("activation",)

    def __init__(self, activation: str, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.activation = activation_name(activation)


@REGISTRY.register()
class ReLU(Layer):
    """Rectified linear unit, with a cap, a slope and a threshold on request.

    ``x`` from `threshold` on, capped at `max_value`; ``negative_slope * (x - threshold)`` below.

    Args:
        max_value: cap, at least 0; None for none.
        negative_slope: slope below the threshold, at least 0.
        threshold: at least 0.
        name: see `Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input.

    Raises:
        ValueError: a negative argument.
    """

    config_fields = ("max_value", "negative_slope", "threshold")

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.max_value = None if max_value is None else _validation.real(max_value, "max_value", low=0.0)
        self.negative_slope = _validation.real(negative_slope, "negative_slope", low=0.0)
        self.threshold = _validation.real(threshold, "threshold", low=0.0)

    @property
    def output_activation(self) -> str:
        """Always "relu"."""
        return "relu"


@REGISTRY.register()
class Softmax(Layer):
    """Positive outputs that sum to 1 along an axis: ``exp(x) / sum(exp(x))``.

    Args:
        axis: the axis; the batch axis counts, so the first axis of a sample is 1.
        name: see `Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input.
    """

    config_fields = ("axis",)

    def __init__(self, axis: int = -1, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.axis = _validation.integer(axis, "axis")
        if self.axis == 0:
            raise ValueError("The `axis` argument must not be 0, which is the batch axis. Received axis=0.")

    @property
    def output_activation(self) -> str:
        """Always "softmax"."""
        return "softmax"
