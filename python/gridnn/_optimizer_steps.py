"""Steps of an optimizer on arrays and handles, outside of a model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _forks
from gridnn._arrays import as_numbers, contiguous
from gridnn._engine import optimizer_state
from gridnn._variables import Variable
from gridnn.errors import ShapeError

__all__ = ["Steps"]

_lock = threading.RLock()


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


_forks.in_child(_renew_lock)


class Steps:
    """The slots of an optimizer for some weights, and how many steps it has taken on them.

    Args:
        description: engine description of the optimizer.
        weights: what it moves, from the first step on.
    """

    def __init__(self, description: Mapping[str, Any], weights: Sequence[Any]) -> None:
        self._kept = list(weights)  # so that nobody else gets their identities
        self._identities = [_identity(weight) for weight in weights]
        dtypes = {str(_checked(weight, number).dtype) for number, weight in enumerate(weights)}
        self._dtype = np.dtype("float64" if "float64" in dtypes else "float32")
        self._lens = [int(np.prod(np.shape(weight), dtype=np.int64)) for weight in weights]
        self._engine = optimizer_state(description, self._lens, self._dtype.name)

    @property
    def iterations(self) -> int:
        """Steps taken."""
        return self._engine.iterations

    def apply(self, gradients: Sequence[Any], weights: Sequence[Any], rate: Callable[[int], float]) -> None:
        """One step, all or nothing.

        Args:
            gradients: one for each weight.
            weights: those of the first step, in their order.
            rate: the learning rate of a step.
        """
        if [_identity(weight) for weight in weights] != self._identities:
            raise ValueError(
                f"The optimizer has slots for the {len(self._kept)} weights of its first step, and these are "
                f"others ({len(weights)}). Take another optimizer for them, or pass all of them at once."
            )
        if len(gradients) != len(weights):
            raise ValueError(
                f"`gradients` must have an entry for each of the {len(weights)} weights. Received "
                f"{len(gradients)}."
            )
        given = []
        for number, (gradient, weight) in enumerate(zip(gradients, weights, strict=True)):
            if gradient is None:
                raise ValueError(f"`gradients` has None for weight number {number}: leave out both of them.")
            array = as_numbers(gradient, f"gradients[{number}]")
            if array.shape != np.shape(weight):
                raise ShapeError(
                    f"gradients[{number}] has shape {array.shape}, and its weight {np.shape(weight)}."
                )
            given.append(contiguous(array, self._dtype))
        with _lock:
            values = [contiguous(np.asarray(weight), self._dtype) for weight in weights]
            made = self._engine.step(values, given, rate(self._engine.iterations))
            _assign(weights, made)

    def finalize(self, weights: Sequence[Any]) -> None:
        """Puts the average of the weights in their place, where the optimizer keeps one."""
        with _lock:
            values = [contiguous(np.asarray(weight), self._dtype) for weight in weights]
            _assign(weights, self._engine.finalize(values))


def _assign(weights: Sequence[Any], values: Sequence[NDArray[Any]]) -> None:
    for weight, value in zip(weights, values, strict=True):
        value = value.reshape(np.shape(weight))
        constraint = getattr(weight, "constraint", None)
        if constraint is not None:
            value = constraint(value)
        if isinstance(weight, Variable):
            weight.assign(value)
        else:
            weight[...] = value


def _identity(weight: Any) -> object:
    return weight.identity if isinstance(weight, Variable) else id(weight)


def _checked(weight: Any, number: int) -> Any:
    """A weight that can be changed in place.

    Raises:
        TypeError: it cannot, or holds no floats.
        ValueError: it is read-only.
    """
    if not isinstance(weight, (Variable, np.ndarray)):
        raise TypeError(
            f"weights[{number}] must be a handle, as `model.trainable_weights` has them, or an array of "
            f"NumPy. Received {type(weight).__name__}."
        )
    if str(weight.dtype) not in ("float32", "float64"):
        raise TypeError(f"weights[{number}] must be of float32 or float64. Received {weight.dtype}.")
    if isinstance(weight, np.ndarray) and not weight.flags.writeable:
        raise ValueError(f"weights[{number}] is read-only.")
    return weight
