"""Callbacks that watch a value and act on it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from gridnn import _validation
from gridnn.callbacks.base import Callback, Logs

if TYPE_CHECKING:
    from gridnn.errors import NonFiniteError
    from gridnn.sequential import Sequential

_HIGHER_IS_BETTER = ("acc", "auc", "f1", "precision", "recall", "iou", "r2", "cosine", "top_k")


def current_rate(model: Sequential) -> float:
    """The learning rate of the next step."""
    return model.optimizer.rate(model._built_network().iterations)


class Watch:
    """Tells whether a value of the logs has become better.

    Args:
        monitor: name of the value.
        mode: "min", "max", or "auto": the larger the better for accuracies and their like, else the smaller.
        min_delta: smallest difference that counts.
    """

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        self.monitor = _validation.string(monitor, "monitor")
        mode = _validation.choice(mode, "mode", ("auto", "min", "max"))
        if mode == "auto":
            name = monitor.removeprefix("val_").lower()
            mode = "max" if any(part in name for part in _HIGHER_IS_BETTER) else "min"
        self.rises = mode == "max"
        self.min_delta = abs(_validation.real(min_delta, "min_delta"))

    def value(self, logs: Logs | None, purpose: str) -> float | None:
        """The value, or None with a warning."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            names = ", ".join(logs or {})
            warnings.warn(
                f"{purpose} watches `{self.monitor}`, which is not available. There are: {names}.",
                stacklevel=3,
            )
        return value

    def better(self, value: float, best: float | None) -> bool:
        """Whether `value` is better than `best`; anything is better than None, and NaN than nothing."""
        if best is None:
            return True
        return value - self.min_delta > best if self.rises else value + self.min_delta < best


class EarlyStopping(Callback):
    """Ends training when a value has not become better for some epochs.

    Args:
        monitor: name of the value in the logs.
        min_delta: smallest change that counts as better.
        patience: epochs without one until training ends.
        verbose: 1 prints when it ends.
        mode: "min", "max", or "auto": the larger the better for accuracies and their like, else the smaller.
        baseline: only values better than this one start the patience anew.
        restore_best_weights: at the end put the weights of the best epoch back.
        start_from_epoch: epochs, counted from 0, before which nothing is watched.

    Attributes:
        stopped_epoch: the epoch after which training was ended, counted from 0; 0 if it was not.
        best: the best value.
        best_epoch: its epoch.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__()
        self._watch = Watch(monitor, mode, min_delta)
        self.patience = _validation.non_negative_integer(patience, "patience")
        self.verbose = verbose
        self.baseline = None if baseline is None else _validation.real(baseline, "baseline")
        self.restore_best_weights = _validation.boolean(restore_best_weights, "restore_best_weights")
        self.start_from_epoch = _validation.non_negative_integer(start_from_epoch, "start_from_epoch")
        self._begin()

    def _begin(self) -> None:
        self._waited = 0
        self.stopped_epoch = 0
        self.best: float | None = None
        self.best_epoch = 0
        self._best_weights: list[NDArray[Any]] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Starts afresh."""
        self._begin()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Compares, and ends training where it is time."""
        current = self._watch.value(logs, "EarlyStopping")
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self._best_weights is None:
            self._best_weights = self.model.get_weights()
            self.best_epoch = epoch
        self._waited += 1
        if self._watch.better(current, self.best):
            self.best, self.best_epoch = current, epoch
            if self.restore_best_weights:
                self._best_weights = self.model.get_weights()
            if self.baseline is None or self._watch.better(current, self.baseline):
                self._waited = 0
            return
        if self._waited >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Puts the best weights back, if asked to."""
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self._best_weights is not None:
            if self.verbose:
                print(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self._best_weights)


class ReduceLROnPlateau(Callback):
    """Lowers the learning rate when a value has not become better for some epochs.

    The learning rate of every epoch is logged as `learning_rate`.

    Args:
        monitor: name of the value in the logs.
        factor: what the learning rate is multiplied by, below 1.
        patience: epochs without a better value until then.
        verbose: 1 prints when it is lowered.
        mode: see `EarlyStopping`.
        min_delta: smallest change that counts as better.
        cooldown: epochs after a reduction in which nothing is watched.
        min_lr: the lowest learning rate.

    Raises:
        TypeError: at the first reduction, if the learning rate is a schedule.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__()
        self._watch = Watch(monitor, mode, min_delta)
        self.factor = _validation.real(factor, "factor", low=0.0)
        if self.factor >= 1.0:
            raise ValueError(f"ReduceLROnPlateau does not support a factor >= 1.0. Received factor={factor}")
        self.patience = _validation.non_negative_integer(patience, "patience")
        self.verbose = verbose
        self.cooldown = _validation.non_negative_integer(cooldown, "cooldown")
        self.min_lr = _validation.real(min_lr, "min_lr", low=0.0)
        self._begin()

    def _begin(self) -> None:
        self.best: float | None = None
        self._waited = 0
        self._cooling = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Starts afresh."""
        self._begin()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Compares, and lowers the learning rate where it is time."""
        rate = current_rate(self.model)
        if logs is not None:
            logs["learning_rate"] = rate
        current = self._watch.value(logs, "ReduceLROnPlateau")
        if current is None:
            return
        if self._cooling:
            self._cooling -= 1
            self._waited = 0
        if self._watch.better(current, self.best):
            self.best = current
            self._waited = 0
        elif not self._cooling:
            self._waited += 1
            if self._waited >= self.patience and rate > self.min_lr:
                self.model.optimizer.learning_rate = lower = max(rate * self.factor, self.min_lr)
                if self.verbose:
                    print(f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {lower}.")
                self._cooling = self.cooldown
                self._waited = 0


class LearningRateScheduler(Callback):
    """Sets the learning rate at the beginning of every epoch; logs it as `learning_rate`.

    Args:
        schedule: function of the epoch, counted from 0, and of the current learning rate, that returns the
            new one.
        verbose: 1 prints it.

    Raises:
        TypeError: the optimizer's learning rate is a schedule, or the function does not return a number.
    """

    def __init__(self, schedule: Callable[[int, float], float], verbose: int = 0) -> None:
        super().__init__()
        if not callable(schedule):
            raise TypeError(f"The `schedule` argument must be a function. Received schedule={schedule!r}.")
        self.schedule = schedule
        self.verbose = verbose

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Sets it."""
        optimizer = self.model.optimizer
        rate = self.schedule(epoch, current_rate(self.model))
        optimizer.learning_rate = _validation.real(rate, "learning_rate", low=0.0)
        if self.verbose:
            print(f"\nEpoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Logs it."""
        if logs is not None:
            logs["learning_rate"] = current_rate(self.model)


class TerminateOnNaN(Callback):
    """Ends training, instead of raising an error, when the loss or a gradient becomes NaN or infinite.

    Without it such a step is refused with `NonFiniteError`, which names the layer. With it the step is
    refused as well, the weights stay those of the step before, and `fit` ends after the epoch's callbacks.

    Args:
        raise_error: raise the error nevertheless.
    """

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = _validation.boolean(raise_error, "raise_error")

    def refused(self, batch: int, error: NonFiniteError) -> None:
        """Called by the trainer with the error of step `batch`."""
        if self.raise_error:
            raise error
        print(f"Batch {batch}: Invalid loss, terminating training ({error})")
        self.model.stop_training = True

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Looks at the mean of the epoch as well."""
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            print(f"Batch {batch}: Invalid loss, terminating training")
            self.model.stop_training = True
