"""Activations: the layers, and the names that every layer with an `activation` argument understands."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gridnn import _validation, initializers
from gridnn.layers.base import REGISTRY, Layer, Weight
from gridnn.layers.limits import LimitedLayer, SlopeLimits, limit_fields

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "ELU",
    "Activation",
    "LeakyReLU",
    "PReLU",
    "ReLU",
    "Softmax",
    "activation_as_layer",
    "activation_name",
]

AnyActivation = str | Layer | type[Layer] | Callable[..., Any] | None
"""What an argument `activation` may be."""

ACTIVATIONS = (
    "elu",
    "exponential",
    "gelu",
    "gelu_tanh",
    "hard_sigmoid",
    "leaky_relu",
    "linear",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "tanh",
)
COMPOSED = (
    "celu",
    "glu",
    "hard_shrink",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "log_sigmoid",
    "soft_shrink",
    "sparse_plus",
    "sparse_sigmoid",
    "tanh_shrink",
)
"""Functions of `gridnn.activations` that the engine has no single step for."""
_ALIASES = {"swish": "silu"}


def sample_axes(axis: object) -> int | tuple[int, ...]:
    """An axis of a sample, or several; the batch is axis 0.

    Raises:
        ValueError: the batch is among them, or there is none.
    """
    several = isinstance(axis, (list, tuple))
    axes = tuple(_validation.integer(one, "axis") for one in (axis if several else (axis,)))  # type: ignore[attr-defined]
    if 0 in axes or not axes:
        raise ValueError(
            f"The `axis` argument must name axes of a sample, without 0, which is the batch axis. Received "
            f"axis={axis}."
        )
    return axes if several else axes[0]


_WITH_NUMBERS = re.compile(r"(relu|leaky_relu|elu)\((.*)\)")


def activation_name(identifier: object) -> str:
    """The canonical name of an activation; None is "linear".

    Layers whose parameters are not those of a name have these with it: ``leaky_relu(0.1)``, ``elu(0.5)``, and
    ``relu(max_value, negative_slope, threshold)``.

    Args:
        identifier: a name, a layer that is an activation, or a function of `gridnn.activations`.

    Raises:
        TypeError: something else (functions of one's own cannot run inside the engine).
        ValueError: an unknown name.
    """
    if identifier is None:
        return "linear"
    if isinstance(identifier, type) and issubclass(identifier, (ReLU, LeakyReLU, ELU, Softmax)):
        identifier = identifier()
    if isinstance(identifier, Layer):
        return _name_of_layer(identifier)
    if callable(identifier) and getattr(identifier, "__module__", None) == "gridnn.activations":
        identifier = getattr(identifier, "__name__", identifier)
    name = _validation.string(identifier, "activation")
    if name in COMPOSED:
        raise ValueError(
            f"The `activation` argument must be one of the engine's. Received activation={name!r}, which is "
            f"made of several: call gn.activations.{name} on what the layer makes."
        )
    if _WITH_NUMBERS.fullmatch(name):
        return _name_of_layer(activation_as_layer(name))
    return _validation.choice(_ALIASES.get(name, name), "activation", ACTIVATIONS)


def _name_of_layer(layer: Layer) -> str:
    """The name of what a layer does, when it is the activation of another one."""
    if isinstance(layer, Activation):
        return layer.activation
    if isinstance(layer, LeakyReLU):
        plain = layer.negative_slope == 0.2
        return "leaky_relu" if plain else f"leaky_relu({layer.negative_slope!r})"
    if isinstance(layer, ELU):
        return "elu" if layer.alpha == 1.0 else f"elu({layer.alpha!r})"
    if isinstance(layer, ReLU):
        numbers = (layer.max_value, layer.negative_slope, layer.threshold)
        if numbers == (None, 0.0, 0.0):
            return "relu"
        return "relu6" if numbers == (6.0, 0.0, 0.0) else f"relu({', '.join(map(repr, numbers))})"
    if isinstance(layer, Softmax) and layer.axis == -1:
        return "softmax"
    raise TypeError(
        f"The `activation` argument must be a name, or one of the layers Activation, ReLU, LeakyReLU, ELU "
        f"and Softmax along the last axis. Received {layer!r}; put it after this one, as a layer of its own."
    )


def activation_as_layer(name: str) -> Layer:
    """The layer that does what an activation of this canonical name does."""
    found = _WITH_NUMBERS.fullmatch(name)
    if found is None:
        return Activation(name)
    numbers = [None if part == "None" else _number(part, name) for part in found[2].split(", ")]
    kind: type[Layer] = {"relu": ReLU, "leaky_relu": LeakyReLU, "elu": ELU}[found[1]]
    if len(numbers) != (3 if kind is ReLU else 1):
        raise ValueError(f"The `activation` argument has another number of parameters: {name!r}.")
    return kind(*numbers)


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"The `activation` argument holds {text!r} for a number: {name!r}.") from None


@REGISTRY.register()
class Activation(Layer):
    """Applies an activation function to every element (softmax and its logarithm: along the last axis).

    Args:
        activation: "linear", "relu", "relu6" (capped at 6), "leaky_relu" (slope 0.2), "elu", "selu", "gelu"
            (exact), "gelu_tanh" (Keras' ``gelu(approximate=True)``), "silu" (also "swish"), "mish",
            "sigmoid", "hard_sigmoid" (``x / 6 + 1/2`` clipped to [0, 1]), "tanh", "softplus", "softsign",
            "exponential", "softmax" or "log_softmax"; a function of `gridnn.activations`; or a layer such as
            ``LeakyReLU(0.1)``, which is then called ``"leaky_relu(0.1)"``.
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

    @property
    def elementwise(self) -> bool:
        """Whether it treats every value by itself."""
        return self.activation not in ("softmax", "log_softmax")

    def __init__(self, activation: AnyActivation, *, name: str | None = None) -> None:
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

    Example:
        >>> x = np.array([[0.5, 1.0, 3.0]])
        >>> layers.ReLU(max_value=2.0)(x)
        array([[0.5, 1. , 2. ]])
    """

    config_fields = ("max_value", "negative_slope", "threshold")

    @property
    def elementwise(self) -> bool:
        """Whether it treats every value by itself."""
        return True

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
class LeakyReLU(Layer):
    """``x`` above 0, ``negative_slope * x`` below.

    Args:
        negative_slope: at least 0. Note that the activation "leaky_relu" has 0.2, as in Keras.
        name: see `Layer`.
        alpha: former name of `negative_slope`, with a warning.

    Input shape:
        Any.

    Output shape:
        Same as the input.

    Example:
        >>> x = np.array([[-2.0, -1.0, 0.0, 3.0]])
        >>> layers.LeakyReLU(0.1)(x).round(3)
        array([[-0.2, -0.1,  0. ,  3. ]])
    """

    config_fields = ("negative_slope",)

    @property
    def elementwise(self) -> bool:
        """Whether it treats every value by itself."""
        return True

    def __init__(
        self, negative_slope: float = 0.3, *, name: str | None = None, alpha: float | None = None
    ) -> None:
        super().__init__(name=name)
        if alpha is not None:
            negative_slope = alpha
            warnings.warn("Argument `alpha` is deprecated. Use `negative_slope` instead.", stacklevel=2)
        self.negative_slope = _validation.real(negative_slope, "negative_slope", low=0.0)

    @property
    def output_activation(self) -> str:
        """Always "leaky_relu"."""
        return "leaky_relu"


@REGISTRY.register()
class ELU(Layer):
    """``x`` above 0, ``alpha * (exp(x) - 1)`` below (Clevert et al., 2015).

    Args:
        alpha: minus the limit at minus infinity.
        name: see `Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input.

    Example:
        >>> x = np.array([[-2.0, -1.0, 0.0, 3.0]])
        >>> layers.ELU()(x).round(3)
        array([[-0.865, -0.632,  0.   ,  3.   ]])
    """

    config_fields = ("alpha",)

    @property
    def elementwise(self) -> bool:
        """Whether it treats every value by itself."""
        return True

    def __init__(self, alpha: float = 1.0, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.alpha = _validation.real(alpha, "alpha")

    @property
    def output_activation(self) -> str:
        """Always "elu"."""
        return "elu"


@REGISTRY.register()
class PReLU(LimitedLayer):
    """``x`` above 0, ``alpha * x`` below, with slopes that are learned (He et al., 2015).

    Args:
        alpha_initializer: see `gridnn.initializers`.
        shared_axes: axes along which there is one slope for all positions, counted from 1 (0 is the batch):
            for
            images ``(1, 2)`` makes one slope per channel. None: every element has its own.
        name: see `Layer`.
        trainable: see `Layer`.
        **limits: regularizers and constraints; see `LimitedLayer`.

    Weights:
        `alpha` of the shape of a sample, with 1 along shared axes.

    Input shape:
        Any; sizes along axes that are not shared must be known.

    Output shape:
        Same as the input.

    Example:
        >>> x = np.array([[-2.0, -1.0, 0.0, 3.0]])
        >>> layers.PReLU(alpha_initializer=gn.initializers.Constant(0.25))(x)
        array([[-0.5 , -0.25,  0.  ,  3.  ]], dtype=float32)
    """

    config_fields = ("alpha_initializer", "shared_axes", *limit_fields("alpha"))
    limited = (("alpha", "alpha"),)
    alpha = Weight()

    def __init__(
        self,
        alpha_initializer: str | initializers.Initializer = "zeros",
        shared_axes: int | Sequence[int] | None = None,
        *,
        name: str | None = None,
        trainable: bool = True,
        **limits: Unpack[SlopeLimits],
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.alpha_initializer = initializers.of_weight(alpha_initializer)
        axes = () if shared_axes is None else shared_axes
        axes = axes if isinstance(axes, Sequence) else (axes,)
        self.shared_axes = tuple(_validation.positive_integer(axis, "shared_axes") for axis in axes)
        self._set_limits(limits)

    @property
    def output_activation(self) -> str:
        """Always "relu": the output is no probability any more."""
        return "relu"


@REGISTRY.register()
class Softmax(Layer):
    """Positive outputs that sum to 1 along an axis, or over several: ``exp(x) / sum(exp(x))``.

    Args:
        axis: the axis, or a list of those that the sum runs over together; the batch axis counts, so the
            first axis of a sample is 1.
        name: see `Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input.

    Example:
        >>> x = np.array([[-2.0, -1.0, 0.0, 3.0]])
        >>> layers.Softmax()(x).round(3)
        array([[0.006, 0.017, 0.046, 0.93 ]])
    """

    config_fields = ("axis",)

    def __init__(self, axis: int | Sequence[int] = -1, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.axis = sample_axes(axis)

    @property
    def output_activation(self) -> str:
        """Always "softmax"."""
        return "softmax"
