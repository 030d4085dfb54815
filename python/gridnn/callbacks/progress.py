"""The progress line."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Mapping

from gridnn._notebook import Display, in_notebook
from gridnn.callbacks.base import Callback, Logs, as_number

_LINES = "font-family:monospace;font-size:0.9em;white-space:pre-wrap"
_BAR = (
    '<div style="height:0.4em;max-width:40em;margin:0.3em 0;border-radius:0.2em;background:#8884">'
    '<div style="height:100%;width:{:.1f}%;border-radius:0.2em;background:#3D8FD1"></div></div>'
)


def has_live_display() -> bool:
    """Whether standard output redraws a line after a carriage return: a terminal or a notebook.

    Example:
        >>> gn.callbacks.has_live_display() in (True, False)
        True
    """
    if in_notebook():
        return True
    asked = getattr(sys.stdout, "isatty", None)
    try:
        return callable(asked) and bool(asked())
    except (OSError, ValueError):  # closed
        return False


class ProgbarLogger(Callback):
    """Prints progress: loss, metrics, speed and time left; `fit` adds one unless told to be silent.

    With ``verbose=1`` one line is redrawn, at most 20 times a second; with ``verbose=2`` there is one line an
    epoch; ``"auto"`` takes the first on a terminal or in a notebook, else the second. In a notebook the line
    is one element with a bar and the last epochs; it says so where Ctrl-C or an error ended the run.

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)], seed=0)
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((8, 4)), np.ones(8)
        >>> line = gn.callbacks.ProgbarLogger()
        >>> history = model.fit(x, y, epochs=1, callbacks=[line], verbose=2)  # doctest: +ELLIPSIS
        Epoch 1/1  ...
    """

    interval = 0.05  # seconds between updates; notebooks freeze under many more
    _bar_width = 20
    _epochs_shown = 5

    main_only = True

    def __init__(self) -> None:
        super().__init__()
        self._training = False
        self._title = ""
        self._live = False
        self._start = 0.0
        self._last_update = 0.0
        self._line_width = 0
        self._done = 0
        self._element: Display | None = None
        self._shown: list[str] = []  # lines of the last epochs, in a notebook
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
        self._element, self._shown = None, []

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Evaluations speak for themselves again."""
        self._training = False
        self._element, self._shown = None, []

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
            if self._element is None:
                _write("\n")
            else:
                self._show(f"{self._title}  ended in step {self._done + 1}", None)
        self._element, self._shown = None, []

    def _begin(self, title: str) -> None:
        self._title = title
        self._start = time.perf_counter()
        self._last_update = 0.0
        self._line_width = 0
        self._done = 0
        self._busy = 0.0
        self._live = self._verbose == 1
        if not self._training:
            self._element, self._shown = None, []
        if self._live and self._element is None and in_notebook():
            self._element = Display()

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
            if self._element is None:
                parts.append("[" + "=" * filled + " " * (self._bar_width - filled) + "]")
        else:
            parts.append(f"step {done}")
        parts += _values(logs)
        parts.append(self._speed())
        if steps:
            parts.append(f"{_duration(elapsed * max(steps - done, 0) / done)} left")
        if self._element is None:
            self._draw("  ".join(parts))
        else:
            self._show("  ".join(parts), min(done / steps, 1.0) if steps else None)

    def _finish(self, logs: Logs | None) -> None:
        if not self._verbose or not self._title:  # without a title it was not begun
            return
        elapsed = time.perf_counter() - self._start
        line = "  ".join([self._title, _duration(elapsed), *_values(logs), self._speed()])
        if self._element is not None:
            self._show(line, None)
            self._line_width = 0
            self._shown.append(line)
        elif self._live:
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

    def _show(self, line: str, part: float | None) -> None:
        """Redraws the element of a notebook, with a bar if `part` of something is done."""
        assert self._element is not None
        self._line_width = len(line)  # something is open
        lines = [*self._shown[-self._epochs_shown :], line]
        bar = "" if part is None else _BAR.format(100 * part)
        text = html.escape("\n".join(lines))
        self._element.show(f'<div style="{_LINES}">{text}</div>{bar}', "\n".join(lines))

    def _draw(self, line: str) -> None:
        _write("\r" + line.ljust(self._line_width))
        self._line_width = len(line)


def _write(text: str) -> None:
    write, flush = getattr(sys.stdout, "write", None), getattr(sys.stdout, "flush", None)
    if callable(write):  # there may be no stdout, as under pythonw, or one that can only write
        write(text)
        if callable(flush):
            flush()


def _values(logs: Mapping[str, object] | None) -> list[str]:
    return [f"{name} {_value(value)}" for name, value in (logs or {}).items()]


def _value(value: object) -> str:
    """A value of the logs, which may be anything, in few characters of one line."""
    number = as_number(value)
    if number is not None:
        return f"{number:.4f}" if abs(number) >= 1e-3 else f"{number:.3e}"
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else text[:37] + "..."


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} h" if hours else f"{minutes}:{rest:02d} min"
