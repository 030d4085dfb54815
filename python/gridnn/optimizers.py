"""Optimizers, as descriptions; the update itself is one pass over all weights in the engine.

Names, defaults and formulas are Keras' (3.15). The learning rate is a number, the one setting that may change
while a model trains, or a schedule of `gridnn.schedules`.

Example:
    >>> import gridnn as gn
    >>> optimizer = gn.optimizers.AdamW(1e-3, weight_decay=0.01)
    >>> optimizer.learning_rate = 1e-4
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gridnn import _validation, schedules
from gridnn._optimizer_base import COMMON, REGISTRY, Common, Optimizer, Rate

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "get",
    "schedules",
]


def _decay(value: object, name: str) -> float:
    number = _validation.real(value, name, low=0.0, high=1.0)
    if number == 1.0:
        raise ValueError(f"The `{name}` argument must be below 1. Received {name}={value!r}.")
    return number


def _epsilon(value: object) -> float:
    return _validation.real(value, "epsilon", low=0.0)


@REGISTRY.register()
class SGD(Optimizer):
    """Gradient descent, with momentum on request.

    With momentum: ``v = momentum * v - learning_rate * g``, then ``w += v``; with `nesterov`
    ``w += momentum * v - learning_rate * g``.

    Args:
        learning_rate: step size.
        momentum: share of the last step that is kept, in [0, 1].
        nesterov: look ahead along the momentum.
        **common: see `Optimizer`.

    Example:
        >>> SGD(0.1, momentum=0.9)
        SGD(learning_rate=0.1, momentum=0.9, nesterov=False)
    """

    config_fields = ("learning_rate", "momentum", "nesterov", *COMMON)

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.momentum = _validation.real(momentum, "momentum", low=0.0, high=1.0)
        self.nesterov = _validation.boolean(nesterov, "nesterov")


@REGISTRY.register()
class RMSprop(Optimizer):
    """Steps divided by the root of a running mean of squared gradients (Hinton, 2012).

    ``v = rho * v + (1 - rho) * g^2``, ``s = learning_rate * g / sqrt(v + epsilon)``, ``w -= s``. With
    momentum ``m = momentum * m + s``, ``w -= m``; centered, the square of the gradient's running mean is
    taken from v.

    Args:
        learning_rate: step size.
        rho: decay of the running means, in [0, 1).
        momentum: share of the last step that is kept, in [0, 1].
        epsilon: keeps the division finite.
        centered: divide by the standard deviation of the gradient, not by its root mean square.
        **common: see `Optimizer`.

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)])
        >>> model.compile(gn.optimizers.RMSprop(1e-3, clipnorm=1.0), "mse")
        >>> model.optimizer.learning_rate
        0.001
    """

    config_fields = ("learning_rate", "rho", "momentum", "epsilon", "centered", *COMMON)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.rho = _decay(rho, "rho")
        self.momentum = _validation.real(momentum, "momentum", low=0.0, high=1.0)
        self.epsilon = _epsilon(epsilon)
        self.centered = _validation.boolean(centered, "centered")


@REGISTRY.register()
class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient and of its square (Kingma and Ba, 2014).

    At step t: ``m += (g - m)(1 - beta_1)``, ``v += (g^2 - v)(1 - beta_2)``,
    ``w -= learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)``. Note that `epsilon`
    is outside the bias correction, as in Keras.

    Args:
        learning_rate: step size.
        beta_1: decay of the running mean of the gradient, in [0, 1).
        beta_2: decay of the running mean of its square, in [0, 1).
        epsilon: keeps the division finite.
        amsgrad: divide by the largest v so far (Reddi et al., 2018).
        **common: see `Optimizer`.

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)])
        >>> model.compile(gn.optimizers.Adam(1e-3, clipnorm=1.0), "mse")
        >>> model.optimizer.learning_rate
        0.001
    """

    config_fields = ("learning_rate", "beta_1", "beta_2", "epsilon", "amsgrad", *COMMON)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.beta_1 = _decay(beta_1, "beta_1")
        self.beta_2 = _decay(beta_2, "beta_2")
        self.epsilon = _epsilon(epsilon)
        self.amsgrad = _validation.boolean(amsgrad, "amsgrad")


@REGISTRY.register()
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2017).

    At every update first ``w -= w * weight_decay * learning_rate``, then what Adam does.

    Args:
        learning_rate: step size.
        weight_decay: share of the weights that is taken off, times the learning rate.
        beta_1: see `Adam`.
        beta_2: see `Adam`.
        epsilon: see `Adam`.
        amsgrad: see `Adam`.
        **common: see `Optimizer`.

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)])
        >>> model.compile(gn.optimizers.AdamW(1e-3, clipnorm=1.0), "mse")
        >>> model.optimizer.learning_rate
        0.001
    """

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **common: Any,
    ) -> None:
        if weight_decay is None:
            raise ValueError("Argument `weight_decay` must be a float. Received: weight_decay=None")
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **common)

    def engine_description(self) -> dict[str, Any]:
        """Adam's: every optimizer has weight decay there."""
        return {**super().engine_description(), "class_name": "Adam"}


@REGISTRY.register()
class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients (Duchi et al., 2011).

    ``a += g^2``, ``w -= learning_rate * g / sqrt(a + epsilon)``.

    Args:
        learning_rate: step size.
        initial_accumulator_value: what a starts with, at least 0.
        epsilon: keeps the division finite.
        **common: see `Optimizer`.

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)])
        >>> model.compile(gn.optimizers.Adagrad(1e-3, clipnorm=1.0), "mse")
        >>> model.optimizer.learning_rate
        0.001
    """

    config_fields = ("learning_rate", "initial_accumulator_value", "epsilon", *COMMON)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.initial_accumulator_value = _validation.real(
            initial_accumulator_value, "initial_accumulator_value", low=0.0
        )
        self.epsilon = _epsilon(epsilon)


@REGISTRY.register()
class Adadelta(Optimizer):
    """Steps in the unit of the weights, from running means of squares (Zeiler, 2012).

    ``a = rho * a + (1 - rho) * g^2``, ``d = -sqrt(e + epsilon) / sqrt(a + epsilon) * g``,
    ``e = rho * e + (1 - rho) * d^2``, ``w += learning_rate * d``.

    Args:
        learning_rate: step size; the paper has 1.
        rho: decay of the running means, in [0, 1).
        epsilon: keeps the division finite and starts the first step.
        **common: see `Optimizer`.

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)])
        >>> model.compile(gn.optimizers.Adadelta(1e-3, clipnorm=1.0), "mse")
        >>> model.optimizer.learning_rate
        0.001
    """

    config_fields = ("learning_rate", "rho", "epsilon", *COMMON)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.rho = _decay(rho, "rho")
        self.epsilon = _epsilon(epsilon)


@REGISTRY.register()
class Adamax(Optimizer):
    """Adam with a running maximum in place of the mean of squares (Kingma and Ba, 2014, section 7).

    ``m += (g - m)(1 - beta_1)``, ``u = max(beta_2 * u, |g|)``,
    ``w -= learning_rate / (1 - beta_1^t) * m / (u + epsilon)``.

    Args:
        learning_rate: step size.
        beta_1: decay of the running mean, in [0, 1).
        beta_2: decay of the running maximum, in [0, 1).
        epsilon: keeps the division finite.
        **common: see `Optimizer`.

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)])
        >>> model.compile(gn.optimizers.Adamax(1e-3, clipnorm=1.0), "mse")
        >>> model.optimizer.learning_rate
        0.001
    """

    config_fields = ("learning_rate", "beta_1", "beta_2", "epsilon", *COMMON)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.beta_1 = _decay(beta_1, "beta_1")
        self.beta_2 = _decay(beta_2, "beta_2")
        self.epsilon = _epsilon(epsilon)


@REGISTRY.register()
class Nadam(Adamax):
    """Adam with Nesterov's momentum (Dozat, 2016).

    With ``u_t = beta_1 (1 - 0.96^t / 2)`` and U_t the product of u_1 to u_t:
    ``w -= learning_rate * (u_(t+1) m / (1 - U_(t+1)) + (1 - u_t) g / (1 - U_t)) / (sqrt(v / (1 - beta_2^t)) +
    epsilon)``, m and v as in Adam.

    Args:
        learning_rate: step size.
        beta_1: decay of the running mean of the gradient, in [0, 1).
        beta_2: decay of the running mean of its square, in [0, 1).
        epsilon: keeps the division finite.
        **common: see `Optimizer`.

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)])
        >>> model.compile(gn.optimizers.Nadam(1e-3, clipnorm=1.0), "mse")
        >>> model.optimizer.learning_rate
        0.001
    """


@REGISTRY.register()
class Lion(Optimizer):
    """Steps of one size, in the direction of the sign of a momentum (Chen et al., 2023).

    ``w -= learning_rate * sign(beta_1 m + (1 - beta_1) g)``, then ``m = beta_2 m + (1 - beta_2) g``. It wants
    a learning rate some ten times smaller than Adam's.

    Args:
        learning_rate: step size.
        beta_1: share of the momentum in the direction, in (0, 1].
        beta_2: decay of the momentum, in [0, 1].
        **common: see `Optimizer`.

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)])
        >>> model.compile(gn.optimizers.Lion(1e-3, clipnorm=1.0), "mse")
        >>> model.optimizer.learning_rate
        0.001
    """

    config_fields = ("learning_rate", "beta_1", "beta_2", *COMMON)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.beta_1 = _validation.real(beta_1, "beta_1", low=0.0, high=1.0)
        if self.beta_1 == 0.0:
            raise ValueError(
                "Argument `beta_1` must be in the [0, 1] range. Otherwise, the optimizer degenerates to "
                f"SignSGD. Received: beta_1={beta_1}."
            )
        self.beta_2 = _validation.real(beta_2, "beta_2", low=0.0, high=1.0)


def get(identifier: object) -> Optimizer:
    """The optimizer for a string id (in any case: "adam", "SGD"), a description or an instance.

    Example:
        >>> gn.optimizers.get("sgd").learning_rate
        0.01
    """
    return REGISTRY.get(identifier)
