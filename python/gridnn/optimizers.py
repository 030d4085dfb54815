"""Optimizers, as descriptions; the update itself is one pass over all weights in the engine.

The learning rate is the one setting that may change while a model trains: it is handed to every step.
"""

from __future__ import annotations

from typing import Any

from gridnn import _validation
from gridnn._config import Configurable, Registry

__all__ = ["SGD", "Adam", "Optimizer", "get"]


class Optimizer(Configurable):
    """Base of all optimizers.

    Args:
        learning_rate: step size; 0 leaves the weights as they are.
    """

    def __init__(self, learning_rate: float) -> None:
        self._learning_rate = _validation.real(learning_rate, "learning_rate", low=0.0)

    @property
    def learning_rate(self) -> float:
        """Step size; a new value holds from the next step on and costs nothing."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = _validation.real(value, "learning_rate", low=0.0)

    def engine_config(self) -> dict[str, Any]:
        """The configuration without the learning rate, which comes with every step."""
        config = super().engine_config()
        del config["learning_rate"]
        return config


REGISTRY: Registry[Optimizer] = Registry("optimizer", Optimizer, fold_case=True)


@REGISTRY.register()
class SGD(Optimizer):
    """Gradient descent, with momentum on request.

    With momentum: ``v = momentum * v - learning_rate * g``, then ``w += v``; with `nesterov`
    ``w += momentum * v - learning_rate * g``.

    Args:
        learning_rate: step size.
        momentum: share of the last step that is kept, in [0, 1].
        nesterov: look ahead along the momentum.

    Example:
        >>> SGD(0.1, momentum=0.9)
        SGD(learning_rate=0.1, momentum=0.9, nesterov=False)
    """

    config_fields = ("learning_rate", "momentum", "nesterov")

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False) -> None:
        super().__init__(learning_rate)
        self.momentum = _validation.real(momentum, "momentum", low=0.0, high=1.0)
        self.nesterov = _validation.boolean(nesterov, "nesterov")


@REGISTRY.register()
class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient and of its square.

    At step t: ``m += (g - m)(1 - beta_1)``, ``v += (g^2 - v)(1 - beta_2)``,
    ``w -= learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)``. Note that `epsilon`
    is outside the bias correction, as in Keras.

    Args:
        learning_rate: step size.
        beta_1: decay of the running mean of the gradient, in [0, 1).
        beta_2: decay of the running mean of its square, in [0, 1).
        epsilon: keeps the division finite.
    """

    config_fields = ("learning_rate", "beta_1", "beta_2", "epsilon")

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
    ) -> None:
        super().__init__(learning_rate)
        self.beta_1 = _decay(beta_1, "beta_1")
        self.beta_2 = _decay(beta_2, "beta_2")
        self.epsilon = _validation.real(epsilon, "epsilon", low=0.0)


def _decay(value: float, name: str) -> float:
    number = _validation.real(value, name, low=0.0, high=1.0)
    if number == 1.0:
        raise ValueError(f"The `{name}` argument must be below 1. Received {name}={value!r}.")
    return number


def get(identifier: object) -> Optimizer:
    """The optimizer for a string id (in any case: "adam", "SGD"), a description or an instance."""
    return REGISTRY.get(identifier)
