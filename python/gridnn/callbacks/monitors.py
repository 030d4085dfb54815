"""Callbacks that watch a value and act on it."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from gridnn import _validation
from gridnn.callbacks.base import Callback, Logs, as_number

if TYPE_CHECKING:
    from gridnn.errors import NonFiniteError
    from gridnn.model.protocol import Model
    from gridnn.model.training_state import TrainingState


def current_rate(model: Model) -> float:
    """The learning rate of the next step."""
    return model.optimizer.rate(model.iterations)


class Watch:
    """Tells whether a value of the logs has become better.

    Args:
        monitor: name of the value.
        mode: "min", "max", or "auto": the smaller the better for losses, and for metrics what they say.
        min_delta: smallest difference that counts.
    """

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        self.monitor = _validation.string(monitor, "monitor")
        self.mode = _validation.choice(mode, "mode", ("auto", "min", "max"))
        self.min_delta = abs(_validation.real(min_delta, "min_delta"))
        self._direction: str | None = None if mode == "auto" else mode

    def settle(self, owner: Callback) -> None:
        """Finds out which way is better; `owner` is the callback that watches, and knows the model.

        Raises:
            ValueError: the mode is "auto", and neither the value's name nor its metric tells.
        """
        if self.mode == "auto":
            self._direction = _direction(self.monitor, owner)

    def value(self, logs: Logs | None, owner: Callback, *, within_epoch: bool = False) -> float | None:
        """The value as a number; None if there is none, with a warning where one was to be expected."""
        if self._direction is None:
            self.settle(owner)
        found = (logs or {}).get(self.monitor)
        number = as_number(found)
        if number is None and (within_epoch or not self._comes_later(logs, owner)):
            purpose = type(owner).__name__
            if found is not None:
                text = f"{purpose} watches `{self.monitor}`, which is not a number: {found!r:.200}."
            else:
                text = (
                    f"{purpose} watches `{self.monitor}`, which is not available"
                    f"{' within an epoch' if within_epoch else ''}. There are: {', '.join(logs or {})}."
                )
            warnings.warn(text, stacklevel=3)
        return number

    def better(self, value: float, best: float | None) -> bool:
        """Whether `value` is better than `best`: NaN never is, and any number is better than NaN or None."""
        if math.isnan(value):
            return False
        if best is None or math.isnan(best):
            return True
        if self._direction == "max":
            return value - self.min_delta > best
        return value + self.min_delta < best

    def _comes_later(self, logs: Logs | None, owner: Callback) -> bool:
        """Whether the value is one of a validation that this epoch does not have, but others will."""
        state = _state(owner)
        run = None if state is None else state.run
        validated = any(name.startswith("val_") for name in logs or {})
        return self.monitor.startswith("val_") and not validated and run is not None and run.validates


def _state(owner: Callback) -> TrainingState | None:
    """That of the callback's model, where it has one."""
    return getattr(getattr(owner, "model", None), "training_state", None)


def _direction(monitor: str, owner: Callback) -> str:
    """Which way is better, "min" or "max": losses are minimised, and a metric says what it wants."""
    names = (monitor, monitor.removeprefix("val_"))
    state = _state(owner)
    compilation = None if state is None else state.compilation
    losses = {"loss"} if compilation is None else set(compilation.loss_names)
    if losses.intersection(names):
        return "min"
    known = {} if compilation is None else compilation.metrics_by_name
    metric = next((known[name] for name in names if name in known), None)
    if metric is not None and metric.direction is not None:
        return str(metric.direction)
    if metric is not None:
        reason = f"metric '{metric.name}' does not say it (its `direction`)"
    else:
        there = ", ".join(["loss", *sorted(losses - {"loss"}), *known])
        reason = f"there is no metric of this name, only {there}, each also with 'val_' in front"
    raise ValueError(
        f'{type(owner).__name__}(monitor="{monitor}", mode="auto"): whether less or more is better is not '
        f'known: {reason}. Pass mode="min" or mode="max".'
    )


class EarlyStopping(Callback):
    """Ends training when a value has not become better for some epochs.

    Args:
        monitor: name of the value in the logs.
        min_delta: smallest change that counts as better.
        patience: epochs without one until training ends.
        verbose: 1 prints when it ends.
        mode: "min", "max", or "auto": the smaller the better for losses, and for metrics what their
            `direction` says; "auto" with any other value is a ValueError when training begins.
        baseline: only values better than this one start the patience anew.
        restore_best_weights: at the end put the weights of the best epoch back.
        start_from_epoch: epochs, counted from 0, before which nothing is watched.

    A value that is NaN is never better; a value that is missing, or not a number, does not count.

    Attributes:
        wait: epochs since the last better value.
        stopped_epoch: the epoch after which training was ended, counted from 0; 0 if it was not.
        best: the best value; None before the first.
        best_epoch: its epoch.
        best_weights: the weights at the end of that epoch, with `restore_best_weights`; else None.

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)], seed=0)
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((8, 4)), np.ones(8)
        >>> stop = gn.callbacks.EarlyStopping(monitor="loss", patience=3, restore_best_weights=True)
        >>> history = model.fit(x, y, epochs=500, callbacks=[stop], verbose=0)
        >>> len(history.epoch) < 500
        True
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
        self.monitor, self.mode, self.min_delta = monitor, mode, self._watch.min_delta
        self.patience = _validation.non_negative_integer(patience, "patience")
        self.verbose = verbose
        self.baseline = None if baseline is None else _validation.real(baseline, "baseline")
        self.restore_best_weights = _validation.boolean(restore_best_weights, "restore_best_weights")
        self.start_from_epoch = _validation.non_negative_integer(start_from_epoch, "start_from_epoch")
        self._begin()

    def _begin(self) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best: float | None = None
        self.best_epoch = 0
        self.best_weights: list[NDArray[Any]] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Starts afresh."""
        self._begin()
        self._watch.settle(self)

    def state(self) -> dict[str, Any]:
        """The attributes, with the best weights."""
        names = ("wait", "stopped_epoch", "best", "best_epoch", "best_weights")
        return {name: getattr(self, name) for name in names}

    def restore(self, state: Any) -> None:
        """Sets the attributes."""
        self.wait, self.stopped_epoch = int(state["wait"]), int(state["stopped_epoch"])
        self.best, self.best_epoch = as_number(state["best"]), int(state["best_epoch"])
        self.best_weights = None if state["best_weights"] is None else list(state["best_weights"])

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Compares, and ends training where it is time."""
        current = self._watch.value(logs, self)
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self.best_weights = self.model.get_weights()
            self.best_epoch = epoch
        self.wait += 1
        if self._watch.better(current, self.best):
            self.best, self.best_epoch = current, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._watch.better(current, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Puts the best weights back, if asked to."""
        if self.stopped_epoch and self.verbose and self.is_main:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose and self.is_main:
                print(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)


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

    Attributes:
        best: the best value; None before the first.
        wait: epochs since the last better value.
        cooldown_counter: epochs that the current cooldown still lasts.

    Raises:
        TypeError: at the first reduction, if the learning rate is a schedule.

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)], seed=0)
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((8, 4)), np.ones(8)
        >>> reduce = gn.callbacks.ReduceLROnPlateau(monitor="loss", patience=2, min_delta=10.0)
        >>> history = model.fit(x, y, epochs=5, callbacks=[reduce], verbose=0)
        >>> model.optimizer.learning_rate < 0.01
        True
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
        self.monitor, self.mode, self.min_delta = monitor, mode, self._watch.min_delta
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
        self.wait = 0
        self.cooldown_counter = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Starts afresh."""
        self._begin()
        self._watch.settle(self)

    def state(self) -> dict[str, Any]:
        """The attributes; the learning rate is the model's."""
        return {"best": self.best, "wait": self.wait, "cooldown_counter": self.cooldown_counter}

    def restore(self, state: Any) -> None:
        """Sets the attributes."""
        self.best = as_number(state["best"])
        self.wait, self.cooldown_counter = int(state["wait"]), int(state["cooldown_counter"])

    def in_cooldown(self) -> bool:
        """Whether nothing is watched because of a reduction."""
        return self.cooldown_counter > 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Compares, and lowers the learning rate where it is time."""
        rate = current_rate(self.model)
        if logs is not None:
            logs["learning_rate"] = rate
        current = self._watch.value(logs, self)
        if current is None:
            return
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.wait = 0
        if self._watch.better(current, self.best):
            self.best = current
            self.wait = 0
        elif not self.cooldown_counter:
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                self.model.optimizer.learning_rate = lower = max(rate * self.factor, self.min_lr)
                if self.verbose and self.is_main:
                    print(f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {lower}.")
                self.cooldown_counter = self.cooldown
                self.wait = 0


class LearningRateScheduler(Callback):
    """Sets the learning rate at the beginning of every epoch; logs it as `learning_rate`.

    Args:
        schedule: function of the epoch, counted from 0, and of the current learning rate if it takes two
            arguments, that returns the new one.
        verbose: 1 prints it.

    Raises:
        TypeError: the optimizer's learning rate is a schedule, or the function does not return a number.

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)], seed=0)
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((8, 4)), np.ones(8)
        >>> halve = gn.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
        >>> history = model.fit(x, y, epochs=2, callbacks=[halve], verbose=0)
        >>> model.optimizer.learning_rate
        0.0025
    """

    def __init__(
        self, schedule: Callable[[int, float], float] | Callable[[int], float], verbose: int = 0
    ) -> None:
        super().__init__()
        if not callable(schedule):
            raise TypeError(f"The `schedule` argument must be a function. Received schedule={schedule!r}.")
        self.schedule: Callable[..., float] = schedule
        self._arguments = _arguments_taken(schedule)
        self.verbose = verbose

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Sets it."""
        optimizer = self.model.optimizer
        rate = self.schedule(*(epoch, current_rate(self.model))[: self._arguments])
        if rate is None:
            raise TypeError(
                "The `schedule` of a LearningRateScheduler must return the learning rate. Received None: is "
                "its `return` missing?"
            )
        optimizer.learning_rate = _validation.real(rate, "learning_rate", low=0.0)
        if self.verbose and self.is_main:
            print(f"\nEpoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Logs it."""
        if logs is not None:
            logs["learning_rate"] = current_rate(self.model)


def _arguments_taken(schedule: Callable[..., float]) -> int:
    """Two, if the function takes the learning rate beside the epoch, or one."""
    try:
        signature = inspect.signature(schedule)
    except (ValueError, TypeError):  # as of some functions written in C
        return 2
    for count in (2, 1):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count
    raise TypeError(
        "The `schedule` argument must take the epoch, or the epoch and the learning rate. Received "
        f"schedule{signature}."
    )


class TerminateOnNaN(Callback):
    """Ends training, instead of raising an error, when the loss or a gradient becomes NaN or infinite.

    Without it such a step is refused with `NonFiniteError`, which names the layer. With it the step is
    refused as well, the weights stay those of the step before, and `fit` ends after the epoch's callbacks.

    Args:
        raise_error: raise the error nevertheless.

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)], seed=0)
        >>> model.compile(gn.optimizers.SGD(1e30), "mse")
        >>> stop = gn.callbacks.TerminateOnNaN()
        >>> x, y = np.ones((8, 4)), np.ones(8)
        >>> history = model.fit(x, y, epochs=9, callbacks=[stop], verbose=0)  # doctest: +ELLIPSIS
        Batch 0: Invalid loss, terminating training...
        >>> len(history.epoch) < 9
        True
    """

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = _validation.boolean(raise_error, "raise_error")

    def refused(self, batch: int, error: NonFiniteError) -> None:
        """Called by the trainer with the error of step `batch`."""
        if self.raise_error:
            raise error
        if self.is_main:
            print(f"Batch {batch}: Invalid loss, terminating training ({error})")
        self.model.stop_training = True

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Looks at the mean of the epoch as well."""
        loss = as_number((logs or {}).get("loss"))
        if loss is not None and not math.isfinite(loss):
            if self.is_main:
                print(f"Batch {batch}: Invalid loss, terminating training")
            self.model.stop_training = True
