"""Callbacks: what may listen to training, and the three that come with it.

`fit` calls, in this order: `on_train_begin`; per epoch `on_epoch_begin`, per batch `on_train_batch_begin` and
`on_train_batch_end`, then the validation's `on_test_begin` ... `on_test_end`, then `on_epoch_end`; at last
`on_train_end`. `evaluate` calls the `on_test_...` methods and `predict` the `on_predict_...` ones.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gridnn.sequential import Sequential

__all__ = ["Callback", "CallbackList", "History", "LambdaCallback", "ProgbarLogger"]

Logs = dict[str, float]


class Callback:
    """Base of all callbacks: every method does nothing until a subclass overrides it.

    To end training after the current batch, set ``self.model.stop_training = True``.

    Attributes:
        model: the model at work.
        params: ``{"verbose", "epochs", "steps", "samples", "batch_size"}``; the last three are None where the
            data does not tell.
    """

    model: Sequential

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}

    def set_params(self, params: dict[str, Any]) -> None:
        """Receives `params` before anything else is called."""
        self.params = params

    def set_model(self, model: Sequential) -> None:
        """Receives the model before anything else is called."""
        self.model = model

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called once, before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called once, after the last epoch, with the logs of that epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before epoch `epoch`, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called after epoch `epoch` and its validation, whose results are in `logs` under ``val_...``."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Another name for `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Another name for `on_train_batch_end`."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before training step `batch` of the epoch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after training step `batch`; `logs` holds the means over the epoch so far."""
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called before an evaluation."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called after an evaluation, with its results."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before batch `batch` of an evaluation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after batch `batch` of an evaluation; `logs` holds the means so far."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called before a prediction."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called after a prediction."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before batch `batch` of a prediction."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after batch `batch` of a prediction."""


class CallbackList(Callback):
    """Several callbacks as one, called in their order.

    Args:
        callbacks: a callback, or an iterable of them; None for none.
        model: the model at work.
        params: see `Callback`.
    """

    def __init__(
        self,
        callbacks: Callback | Iterable[Callback] | None,
        model: Sequential,
        params: dict[str, Any],
    ) -> None:
        super().__init__()
        if callbacks is None:
            callbacks = ()
        self.callbacks = [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                raise TypeError(
                    f"`callbacks` must hold instances of gridnn.callbacks.Callback. Received {callback!r}."
                )
        self.set_params(params)
        self.set_model(model)

    def set_params(self, params: dict[str, Any]) -> None:
        """Hands `params` to all."""
        super().set_params(params)
        for callback in self.callbacks:
            callback.set_params(params)

    def set_model(self, model: Sequential) -> None:
        """Hands the model to all."""
        super().set_model(model)
        for callback in self.callbacks:
            callback.set_model(model)


def _forwarder(hook: str) -> Callable[..., None]:
    """A method of `CallbackList` that calls `hook` of every callback in turn."""

    def forward(self: CallbackList, *args: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(*args)

    forward.__name__ = hook
    forward.__doc__ = f"Calls `{hook}` of all."
    return forward


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))
for _hook in HOOKS:
    setattr(CallbackList, _hook, _forwarder(_hook))


class History(Callback):
    """Records what every epoch logged; `fit` makes one and returns it.

    Attributes:
        history: name -> one value per epoch, of this call of `fit`.
        epoch: the epochs' numbers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Starts afresh."""
        self.history = {}
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Records the logs."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class LambdaCallback(Callback):
    """A callback made of functions.

    Args:
        **hooks: a function per method of `Callback`, called with the method's arguments, for instance
            ``on_epoch_end=lambda epoch, logs: ...``.

    Raises:
        TypeError: there is no method of that name, or the value cannot be called.

    Example:
        >>> stop = LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs))
        >>> stop.on_epoch_end(3, {})
        3 {}
    """

    def __init__(self, **hooks: Callable[..., Any] | None) -> None:
        super().__init__()
        for name, function in hooks.items():
            if name not in HOOKS:
                raise TypeError(f"LambdaCallback knows {', '.join(HOOKS)}. Received {name}.")
            if function is None:
                continue
            if not callable(function):
                raise TypeError(f"LambdaCallback: {name} must be a function. Received {function!r}.")
            setattr(self, name, function)


def has_live_display() -> bool:
    """Whether standard output redraws a line after a carriage return: a terminal or a notebook."""
    stream = sys.stdout
    return "ipykernel" in sys.modules or bool(
        stream is not None and hasattr(stream, "isatty") and stream.isatty()
    )


class ProgbarLogger(Callback):
    """Prints progress: loss, metrics, speed and time left; `fit` adds one unless told to be silent.

    With ``verbose=1`` one line is redrawn, at most 20 times a second; with ``verbose=2`` there is one line an
    epoch; ``"auto"`` takes the first on a terminal or in a notebook, else the second.
    """

    interval = 0.05  # seconds between updates; notebooks freeze under many more
    _bar_width = 20

    def __init__(self) -> None:
        super().__init__()
        self._training = False
        self._title = ""
        self._live = False
        self._start = 0.0
        self._last_update = 0.0
        self._line_width = 0
        self._done = 0
        self._busy = 0.0  # seconds up to the last batch, so that validation does not count as training

    @property
    def _verbose(self) -> int:
        verbose = self.params.get("verbose", "auto")
        if verbose == "auto":
            return 1 if has_live_display() else 2
        return int(verbose)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """From here on evaluations are part of an epoch and print nothing of their own."""
        self._training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Evaluations speak for themselves again."""
        self._training = False

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Starts the line of an epoch."""
        self._begin(f"Epoch {epoch + 1}/{self.params.get('epochs')}")

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Redraws the line."""
        self._update(batch + 1, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Finishes the line."""
        self._finish(logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Starts the line of an evaluation."""
        if not self._training:
            self._begin("Evaluate")

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Redraws the line."""
        if not self._training:
            self._update(batch + 1, logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Finishes the line."""
        if not self._training:
            self._finish(logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Starts the line of a prediction."""
        self._begin("Predict")

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Redraws the line."""
        self._update(batch + 1, logs)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Finishes the line."""
        self._finish(logs)

    def close(self) -> None:
        """Ends a line that an exception has left open, so that the next print starts a new one."""
        self._training = False
        if self._line_width:
            self._line_width = 0
            _write("\n")

    def _begin(self, title: str) -> None:
        self._title = title
        self._start = time.perf_counter()
        self._last_update = 0.0
        self._line_width = 0
        self._done = 0
        self._busy = 0.0
        self._live = self._verbose == 1

    def _update(self, done: int, logs: Logs | None) -> None:
        self._done = done
        now = time.perf_counter()
        self._busy = elapsed = now - self._start
        if not self._live or now - self._last_update < self.interval:
            return
        self._last_update = now
        parts = [self._title]
        steps = self.params.get("steps")
        if steps:
            filled = self._bar_width * min(done, steps) // steps
            parts.append(f"{done:{len(str(steps))}d}/{steps}")
            parts.append("[" + "=" * filled + " " * (self._bar_width - filled) + "]")
        else:
            parts.append(f"step {done}")
        parts += _values(logs)
        parts.append(self._speed())
        if steps:
            parts.append(f"{_duration(elapsed * max(steps - done, 0) / done)} left")
        self._draw("  ".join(parts))

    def _finish(self, logs: Logs | None) -> None:
        if not self._verbose:
            return
        elapsed = time.perf_counter() - self._start
        line = "  ".join([self._title, _duration(elapsed), *_values(logs), self._speed()])
        if self._live:
            self._draw(line)
            self._line_width = 0
            _write("\n")
        else:
            _write(line + "\n")

    def _speed(self) -> str:
        done, seconds = self._done, max(self._busy, 1e-9)
        samples, batch_size = self.params.get("samples"), self.params.get("batch_size")
        if samples is None or batch_size is None:
            return f"{done / seconds:,.1f} steps/s"
        return f"{min(done * batch_size, samples) / seconds:,.0f} samples/s"

    def _draw(self, line: str) -> None:
        _write("\r" + line.ljust(self._line_width))
        self._line_width = len(line)


def _write(text: str) -> None:
    if sys.stdout is not None:  # as under pythonw
        sys.stdout.write(text)
        sys.stdout.flush()


def _values(logs: Mapping[str, float] | None) -> list[str]:
    return [
        f"{name} {value:.4f}" if abs(value) >= 1e-3 else f"{name} {value:.3e}"
        for name, value in (logs or {}).items()
    ]


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} h" if hours else f"{minutes}:{rest:02d} min"
