"""`lr_finder`: the learning rate by a short run in which it grows."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn.callbacks import Callback, Logs
from gridnn.callbacks.base import as_number
from gridnn.errors import NonFiniteError, NonFiniteInputError
from gridnn.model.sequential import Sequential
from gridnn.model.trainable import TrainableModel
from gridnn.model.training_state import compilation_of

__all__ = ["LearningRates", "lr_finder"]

_MEMORY = 0.9  # of the running mean that smooths the losses: they are of a batch each
_RISE = 4.0  # times the smallest smoothed loss, and the run is over


@dataclass(frozen=True)
class LearningRates:
    """What `gridnn.lr_finder` saw; `gridnn.plot.lr_finder` draws it."""

    rates: NDArray[np.float64]
    """The learning rate of every step."""
    losses: NDArray[np.float64]
    """The loss of its batch, before the step."""
    smoothed: NDArray[np.float64]
    """The losses' running mean."""
    suggestion: float
    """Where the smoothed loss falls fastest: a rate to begin with."""


class _Ramp(Callback):
    """Raises the learning rate from step to step, each of which is an epoch."""

    def __init__(self, rates: NDArray[np.float64]) -> None:
        super().__init__()
        self._rates = rates
        self.losses: list[float] = []
        self.smoothed: list[float] = []
        self._mean = 0.0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.model.optimizer.learning_rate = float(self._rates[epoch])

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        loss = as_number((logs or {}).get("loss"))
        if loss is None or not math.isfinite(loss):
            self.model.stop_training = True
            return
        self.losses.append(loss)
        self._mean = _MEMORY * self._mean + (1 - _MEMORY) * loss
        self.smoothed.append(self._mean / (1 - _MEMORY ** len(self.losses)))
        least = min(self.smoothed)
        # Losses may be below zero: then a rise is measured from the first.
        scale = abs(least) if least > 0 else max(abs(self.smoothed[0]), abs(least))
        if self.smoothed[-1] - least > (_RISE - 1) * scale:
            self.model.stop_training = True


def lr_finder(
    model: Sequential,
    x: Any,
    y: Any = None,
    *,
    start: float = 1e-6,
    stop: float = 1.0,
    steps: int = 100,
    batch_size: int | None = None,
    sample_weight: Any = None,
    seed: int = 0,
) -> LearningRates:
    """Looks for a learning rate: a short run in which it grows from step to step (Smith 2017).

    The run is that of a copy: the model stays as it is, with its optimizer, its learning rate and its
    history. The copy's optimizer is of the same kind and starts afresh. It ends where the loss has risen to
    four times its smallest value, or is no number any more.

    Args:
        model: a compiled model.
        x: inputs, as in ``fit``.
        y: targets, as in ``fit``.
        start: the first learning rate.
        stop: the last one; they grow by a constant factor.
        steps: number of steps, at least 10; the data is gone through again where it is too short.
        batch_size: samples of a step; 32 if None.
        sample_weight: weight of each sample in the loss.
        seed: seed of shuffling and dropout.

    Returns:
        Learning rates and losses, with a suggestion; `gridnn.plot.lr_finder` draws them.

    Raises:
        TypeError: not a model.
        ValueError: bounds that are not positive or not in order, or data that does not fit the model.
        NotReadyError: the model is not compiled.
        NonFiniteError: not even the first steps are finite.

    Example:
        >>> (x, y), _ = gn.datasets.digits()
        >>> model = gn.Sequential([gn.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10)], seed=0)
        >>> model.compile("adam", "sparse_categorical_crossentropy")
        >>> found = gn.lr_finder(model, x / 16, y)
        >>> 1e-4 < found.suggestion < 1
        True
    """
    if not isinstance(model, TrainableModel):
        raise TypeError(f"`model` must be a Sequential or another model. Received {model!r:.200}.")
    start = _validation.real(start, "start", low=0.0)
    stop = _validation.real(stop, "stop", low=0.0)
    steps = _validation.positive_integer(steps, "steps")
    if not 0 < start < stop:
        raise ValueError(f"`start` must be above 0 and below `stop`. Received start={start}, stop={stop}.")
    if steps < 10:
        raise ValueError(f"`steps` must be at least 10. Received steps={steps}.")
    optimizer = compilation_of(model).optimizer
    loss: Any = model.loss  # as it was chosen, or not yet
    trial = copy.deepcopy(model)
    config = {**optimizer.get_config(), "learning_rate": start}
    trial.compile(type(optimizer).from_config(config), loss)
    ramp = _Ramp(np.geomspace(start, stop, steps))
    try:
        trial.fit(
            x,
            y,
            batch_size=batch_size,
            epochs=steps,
            steps_per_epoch=1,
            verbose=0,
            callbacks=[ramp],
            sample_weight=sample_weight,
            seed=seed,
        )
    except NonFiniteInputError:
        raise
    except NonFiniteError:
        if len(ramp.losses) < 3:
            raise
    rates = np.geomspace(start, stop, steps)[: len(ramp.losses)]
    smoothed = np.array(ramp.smoothed)
    return LearningRates(rates, np.array(ramp.losses), smoothed, _steepest(rates, smoothed))


def _steepest(rates: NDArray[np.float64], smoothed: NDArray[np.float64]) -> float:
    """The rate where the loss falls fastest on its way to the smallest value."""
    end = max(int(smoothed.argmin()) + 1, min(3, len(smoothed)))
    if end < 2:
        return float(rates[0])
    slopes = np.gradient(smoothed[:end], np.log(rates[:end]))
    return float(rates[slopes.argmin()])
