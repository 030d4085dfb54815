"""Where a run of `fit` is, so that a file can keep it and another run can go on from there.

A file that is written within `fit` holds a `Record` of the run: the states of all callbacks, the place within
the epoch with its running means, and which callbacks have not yet been told of the last event. `fit` takes it
up where it continues that run, and ends with the bytes that the run without interruption ends with.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gridnn import _validation
from gridnn._custom import calling
from gridnn._encoding import encode, plain

if TYPE_CHECKING:
    from gridnn._network import OutputResult, StepResult
    from gridnn.callbacks.base import Callback, CallbackList, History, Logs
    from gridnn.metrics import Metric
    from gridnn.model.compilation import Objective, Objectives
    from gridnn.model.sources import Source

_TRACKED = ("on_epoch_begin", "on_epoch_end", "on_train_batch_end")


class _OutputMeans:
    """Loss and metrics of one output over the batches so far.

    Args:
        objective: the loss and the metrics.
        state: what `state` has returned, to go on from there.
    """

    def __init__(self, objective: Objective, state: Mapping[str, Any] | None = None) -> None:
        self.objective = objective
        loss = objective.loss
        self._loss_is_sum = loss is not None and loss.training_reduction == "sum"
        self._ignores = getattr(loss, "ignore_class", None) is not None and not self._loss_is_sum
        self._loss = self._weight = 0.0
        self._counts: list[list[float]] = []
        if state is not None:
            self._loss, self._weight = float(state["loss"]), float(state["weight"])
            self._counts = [[float(count) for count in counts] for counts in state["counts"]]
        for number, metric in enumerate(objective.metrics):
            if metric.keeps_state:
                metric.reset_state()
                if self._counts:
                    metric.restore(self._counts[number])

    def state(self) -> dict[str, Any]:
        """The sums."""
        return {
            "loss": self._loss,
            "weight": self._weight,
            "counts": [list(counts) for counts in self._counts],
        }

    def add(self, result: OutputResult, samples: int) -> None:
        """Adds one batch."""
        loss = result.loss_sum
        if not self._loss_is_sum:
            loss = loss / result.loss_count if result.loss_count else 0.0
        weight = result.loss_count if self._ignores else samples
        self._loss += loss * weight
        self._weight += weight
        if not self._counts:
            self._counts = [list(counts) for counts in result.metrics]
            return
        for metric, own, more in zip(self.objective.metrics, self._counts, result.metrics, strict=True):
            own[:] = more if metric.keeps_state else [a + b for a, b in zip(own, more, strict=True)]

    @property
    def loss(self) -> float:
        """The mean loss."""
        return self._loss / self._weight if self._weight else 0.0

    def metrics(self) -> list[float]:
        """The values of the metrics."""
        pairs = zip(self.objective.metrics, self._counts, strict=True)
        return [
            number_of(metric) if metric.keeps_state else metric.value_of(counts) for metric, counts in pairs
        ]


def number_of(metric: Metric) -> float:
    """What a metric written in Python comes to.

    Raises:
        TypeError: that is not one number.
    """
    with calling(f"`result` of metric '{metric.name}'"):
        found = np.asarray(metric.result())
    if found.size != 1 or found.dtype.kind not in "biuf":
        raise TypeError(
            f"`result` of metric '{metric.name}' must return one number. Received {found.dtype} of shape "
            f"{found.shape}."
        )
    return float(found.reshape(()))


class RunningMeans:
    """Results over the batches so far: the mean losses, and what metrics have counted.

    Batches are weighted by samples; with `ignore_class` their losses are by what counted, so that the mean
    does not depend on the size of the batches.

    Args:
        objectives: the losses and the metrics.
        state: what `state` has returned, to go on from there.
    """

    def __init__(self, objectives: Objectives, state: Mapping[str, Any] | None = None) -> None:
        self._objectives = objectives
        self._penalty = 0.0
        self._samples = 0
        states: list[Any] = [None] * len(objectives.outputs)
        if state is not None:
            self._samples, self._penalty = int(state["samples"]), float(state["penalty"])
            states = [state, *state.get("more", ())]
        pairs = zip(objectives.outputs, states, strict=True)
        self._outputs = [_OutputMeans(objective, own) for objective, own in pairs]

    def state(self) -> dict[str, Any]:
        """The sums, with the names of what they are of."""
        first, *more = [output.state() for output in self._outputs]
        state = {
            "loss": first["loss"],
            "samples": self._samples,
            "penalty": self._penalty,
            "weight": first["weight"],
            "counts": first["counts"],
            "names": self._objectives.names,
        }
        return {**state, "more": more} if more else state

    def add(self, result: StepResult, samples: int) -> None:
        """Adds one batch."""
        for own, more in zip(self._outputs, result.outputs, strict=True):
            own.add(more, samples)
        self._penalty += result.penalty * samples
        self._samples += samples

    def logs(self) -> Logs:
        """Name -> value; NaN where no batch was added, as where the first step of an epoch was refused."""
        if not self._samples:
            return dict.fromkeys(self._objectives.names, math.nan)
        losses = [output.loss * output.objective.weight for output in self._outputs]
        logs = {"loss": sum(losses) + self._penalty / self._samples}
        if len(self._objectives.names) == 1:
            return logs
        for name, output in zip(self._objectives.loss_names, self._outputs, strict=True):
            if name is not None:
                logs[name] = output.loss
        for names, output in zip(self._objectives.metric_names, self._outputs, strict=True):
            logs.update(zip(names, output.metrics(), strict=True))
        return {name: logs[name] for name in self._objectives.names}


@dataclass(frozen=True, slots=True)
class Data:
    """By what a run knows whether the data are those of the run that it continues."""

    steps: int | None
    samples: int | None
    batch_size: int | None

    @classmethod
    def of(cls, source: Source) -> Data:
        """That of a source."""
        return cls(source.steps, source.samples, source.batch_size)


@dataclass(slots=True)
class Run:
    """The run of `fit` in progress; `Sequential.save` asks it where it is."""

    listeners: CallbackList
    source: Source
    seed: int
    epoch: int
    """Epochs completed."""
    validates: bool
    """Whether there are data to validate on, after some epoch."""
    from_backup: bool
    """Whether it continues what `BackupAndRestore` has kept."""
    step: int = 0
    """Steps done of the epoch in progress."""
    means: RunningMeans | None = None
    position: int = 0
    """How far the source had come after that step."""
    logs: dict[str, Any] = field(default_factory=dict)
    """Logs of the last epoch completed."""
    thread: int = field(default_factory=threading.get_ident)
    is_first_step: bool = True
    """Whether no step has been made in this call."""

    def completed(self, epoch: int, logs: dict[str, Any]) -> None:
        """Notes the end of an epoch, counted from 0."""
        self.epoch, self.logs = epoch + 1, logs
        self.step, self.means, self.position = 0, None, self.source.position

    def catch_up(self, own: History, copy: History) -> None:
        """Tells a copy of a history of the epoch's end, if the original has yet to hear of it."""
        hook, arguments, called = self.listeners.last_event(_TRACKED)
        waits = any(
            own is other and not told for other, told in zip(self.listeners.callbacks, called, strict=True)
        )
        if hook == "on_epoch_end" and waits:
            copy.on_epoch_end(*arguments)

    def record(self) -> dict[str, Any]:
        """What a file keeps, as `encode` takes it."""
        states = []
        for callback in self.listeners.callbacks:
            name = type(callback).__name__
            # Somebody's callback may have had an attribute of this name before the method came.
            method: Any = callback.state
            state = method() if callable(method) else None
            encode(state, [], f"{name}.state()")  # only to say whose state it is that cannot be
            states.append({"class_name": name, "state": state})
        hook, args, called = self.listeners.last_event(_TRACKED)
        return {
            "callbacks": states,
            "hook": hook,
            "arguments": [
                plain(argument) if number == 0 else _plain_logs(argument)
                for number, argument in enumerate(args)
            ],
            "called": called,
            "step": self.step,
            "means": None if self.means is None else self.means.state(),
            "position": self.position,
            "data": [self.source.steps, self.source.samples, self.source.batch_size],
            "logs": _plain_logs(self.logs),
            "stopped": bool(self.listeners.model.stop_training),
        }


def _plain_logs(logs: Any) -> dict[str, Any]:
    return {str(name): plain(value) for name, value in (logs or {}).items()}


@dataclass(frozen=True, slots=True)
class Record:
    """Where a run was when a file was written; see `Run` for the fields."""

    callbacks: list[tuple[str, Any]]
    hook: str | None
    """The method of callbacks that was being called."""
    arguments: list[Any]
    called: list[bool]
    """Of which callbacks it had been called."""
    step: int
    means: dict[str, Any] | None
    position: int
    data: Data
    logs: dict[str, Any]
    stopped: bool
    value: dict[str, Any]
    """What it was made of, for copies of the model."""

    @classmethod
    def of(cls, value: Any) -> Record:
        """The record of `Run.record`; whatever does not fit raises ValueError, TypeError or KeyError."""
        callbacks = [(_text(item["class_name"]), item["state"]) for item in _sequence(value["callbacks"])]
        hook = value["hook"]
        arguments = _sequence(value["arguments"])
        if hook is not None and (hook not in _TRACKED or len(arguments) != 2):
            raise ValueError(f"unknown event {hook!r} of callbacks")
        called = [_validation.boolean(item, "called") for item in _sequence(value["called"])]
        if len(called) != len(callbacks):
            raise ValueError("callbacks and their states are of different numbers")
        step = _validation.non_negative_integer(value["step"], "step")
        means = value["means"]
        if (means is None) == (step > 0) or (step > 0 and hook != "on_train_batch_end"):
            raise ValueError("running means, steps and events do not fit each other")
        steps, samples, batch_size = _sequence(value["data"])
        return cls(
            callbacks,
            hook,
            [
                *(_validation.non_negative_integer(item, "arguments") for item in arguments[:1]),
                *(_dict(item) for item in arguments[1:]),
            ],
            called,
            step,
            None if means is None else _dict(means),
            _validation.non_negative_integer(value["position"], "position"),
            Data(steps, samples, batch_size),
            _dict(value["logs"]),
            _validation.boolean(value["stopped"], "stopped"),
            value,
        )

    @property
    def within_epoch(self) -> bool:
        """Whether an epoch had begun and not ended."""
        return self.hook in ("on_epoch_begin", "on_train_batch_end")

    def begin_epoch(self, epoch: int, listeners: CallbackList) -> None:
        """Calls `on_epoch_begin` of those callbacks of which it had been called."""
        waiting: list[Callback] = []
        if self.hook == "on_epoch_begin":
            waiting = [callback for callback, n in self._matches(listeners.callbacks) if not self.called[n]]
        told = [callback for callback in listeners.callbacks if callback not in waiting]
        listeners.call("on_epoch_begin", (epoch, {}), told)

    def take_up(self, listeners: CallbackList) -> None:
        """Gives callbacks their states back, and tells of the last event those who had not yet heard of it.

        The n-th callback of a class gets the state of the n-th that had this class.

        Raises:
            ValueError: a callback cannot take up what the file holds.
        """
        waiting: list[Callback] = []
        for callback, number in self._matches(listeners.callbacks):
            name, state = self.callbacks[number]
            if state is not None:
                try:
                    callback.restore(state)
                except (ValueError, TypeError, LookupError, AttributeError) as error:
                    raise ValueError(
                        f"callback {name} cannot take up the state that the file holds of it: {error!r}"
                    ) from error
            if not self.called[number]:
                waiting.append(callback)
        if self.hook is not None:
            listeners.call(self.hook, tuple(self.arguments), waiting)

    def _matches(self, callbacks: Sequence[Callback]) -> list[tuple[Callback, int]]:
        """Callbacks, and the numbers of their states."""
        places: dict[str, list[int]] = {}
        for number, (name, _) in enumerate(self.callbacks):
            places.setdefault(name, []).append(number)
        found = []
        for callback in callbacks:
            numbers = places.get(type(callback).__name__)
            if numbers:
                found.append((callback, numbers.pop(0)))
        return found


def _text(value: Any) -> str:
    return _validation.string(value, "class_name")


def _sequence(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, received {type(value).__name__}")
    return value


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, received {type(value).__name__}")
    return value
