"""`Callback`, the base of all, what calls several of them, and the two that need nothing else.

`fit` calls, in this order: `on_train_begin`; per epoch `on_epoch_begin`, per batch `on_train_batch_begin` and
`on_train_batch_end`, then the validation's `on_test_begin` ... `on_test_end`, then `on_epoch_end`; at last
`on_train_end`. `evaluate` calls the `on_test_...` methods and `predict` the `on_predict_...` ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gridnn._encoding import plain

if TYPE_CHECKING:
    from gridnn.model.trainable import TrainableModel

Logs = dict[str, float]


def as_number(value: object) -> float | None:
    """A value of the logs as a number; None if it is none, for a callback may have put anything there."""
    try:
        if isinstance(value, (float, int)):
            return float(value)
        array = np.asarray(value)
        if array.size == 1 and array.dtype.kind in "biuf":
            return float(array.reshape(-1)[0])
        # Fractions and their like.
        return float(value) if hasattr(value, "__float__") and array.dtype.kind == "O" else None
    except (TypeError, ValueError, OverflowError):
        return None


class Callback:
    """Base of all callbacks: every method does nothing until a subclass overrides it.

    To end training after the current batch, set ``self.model.stop_training = True``.

    A callback that remembers something from one epoch to the next returns it from `state` and takes it back
    in `restore`; then a run that `BackupAndRestore` continues, or one from a file that was saved within
    `fit`, ends as if it had not been interrupted. Such a file is best written in `on_epoch_begin`,
    `on_train_batch_end` or `on_epoch_end`: methods of other names are called again.

    Copies and pickles of a callback have no model; `fit` gives them one.

    Attributes:
        model: the model at work.
        params: ``{"verbose", "epochs", "steps", "samples", "batch_size"}``; the last three are None where the
            data does not tell.
        is_main: whether this is rank 0 of those that share a run, or the only process: the one that prints.

    Example:
        >>> class Losses(gn.callbacks.Callback):
        ...     def on_epoch_end(self, epoch, logs=None):
        ...         print(epoch, round(logs["loss"], 2))
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)], seed=0)
        >>> model.compile("sgd", "mse")
        >>> model.set_weights([np.zeros((4, 1)), np.zeros(1)])
        >>> x, y = np.ones((8, 4)), np.ones(8)
        >>> history = model.fit(x, y, batch_size=8, epochs=2, callbacks=[Losses()], verbose=0)
        0 1.0
        1 0.81
    """

    model: TrainableModel
    _comes_last: ClassVar[bool] = False
    """Whether it is called after all others at the end of batches, epochs and training."""
    main_only: ClassVar[bool] = False
    """Whether, of ranks that share a run, it is called on rank 0 alone: because it writes or prints."""
    is_main: bool = True

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        state.pop("model", None)  # it may be large, and whoever holds it pickles it himself
        state.pop("is_main", None)
        return state

    def state(self) -> Any:
        """What the callback must know to go on in another run; None for nothing.

        Files that are written within `fit` keep it, those of `BackupAndRestore` and of ``model.save``.

        Returns:
            None, numbers, text, and lists, dicts and NumPy arrays of these.
        """
        return None

    def restore(self, state: Any) -> None:
        """Takes back what `state` returned; called after `on_train_begin`, unless it was None.

        Args:
            state: equal to what `state` returned, tuples as lists.
        """

    def set_params(self, params: dict[str, Any]) -> None:
        """Receives `params` before anything else is called."""
        self.params = params

    def set_model(self, model: TrainableModel) -> None:
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
        is_main: False leaves out those that are called on rank 0 alone.

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)], seed=0)
        >>> both = [gn.callbacks.History(), gn.callbacks.TerminateOnNaN()]
        >>> both = gn.callbacks.CallbackList(both, model, {})
        >>> both.on_train_begin()
        >>> both.on_epoch_end(0, {"loss": 0.5})
        >>> both.callbacks[0].history
        {'loss': [0.5]}
    """

    def __init__(
        self,
        callbacks: Callback | Iterable[Callback] | None,
        model: TrainableModel,
        params: dict[str, Any],
        is_main: bool = True,
    ) -> None:
        super().__init__()
        self.callbacks = members(callbacks)
        callback: Any
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                cure = ""
                if isinstance(callback, type):
                    cure = f" A class is called to make one: {callback.__name__}(...)."
                elif callable(callback):
                    cure = " A function is called by a LambdaCallback(on_epoch_end=...)."
                raise TypeError(
                    "`callbacks` must hold instances of gridnn.callbacks.Callback. Received "
                    f"{callback!r}.{cure}"
                )
        # A backup holds what all others have made of an epoch, wherever it stands in the list.
        called = [callback for callback in self.callbacks if is_main or not callback.main_only]
        for callback in called:
            callback.is_main = is_main
        self._in_turn = sorted(called, key=lambda callback: callback._comes_last)
        self._event: tuple[str, tuple[Any, ...]] | None = None
        self._turn = 0
        self._skipped: frozenset[int] = frozenset()
        self.set_params(params)
        self.set_model(model)

    def call(self, hook: str, arguments: Sequence[Any], callbacks: Iterable[Callback]) -> None:
        """Calls a method of some of the callbacks, in turn; see `last_event`."""
        wanted = {id(callback) for callback in callbacks}
        self._event = (hook, tuple(arguments))
        self._skipped = frozenset(id(callback) for callback in self._in_turn if id(callback) not in wanted)
        for turn, callback in enumerate(self._in_turn):
            self._turn = turn
            if id(callback) in wanted:
                getattr(callback, hook)(*arguments)

    def last_event(self, hooks: Sequence[str]) -> tuple[str | None, tuple[Any, ...], list[bool]]:
        """The last of these methods that was called, its arguments, and of which callbacks it was.

        One at work counts as called: it is often the one that asks.
        """
        if self._event is None or self._event[0] not in hooks:
            return None, (), [True] * len(self.callbacks)
        heard = self._skipped | {id(callback) for callback in self._in_turn[: self._turn + 1]}
        return *self._event, [id(callback) in heard for callback in self.callbacks]

    def set_params(self, params: dict[str, Any]) -> None:
        """Hands `params` to all."""
        super().set_params(params)
        for callback in self.callbacks:
            callback.set_params(params)

    def set_model(self, model: TrainableModel) -> None:
        """Hands the model to all."""
        super().set_model(model)
        for callback in self.callbacks:
            callback.set_model(model)


def members(callbacks: Callback | Iterable[Callback] | None) -> list[Callback]:
    """The callbacks as a list, with what is in a `CallbackList`; an iterator is used up by that."""
    received: object = callbacks
    if received is not None and not isinstance(received, (Callback, Iterable)):
        raise TypeError(
            "`callbacks` must be an instance of gridnn.callbacks.Callback, or a list of them. Received "
            f"{callbacks!r}."
        )
    given = [callbacks] if isinstance(callbacks, Callback) else list(callbacks or ())
    nested = (each.callbacks if isinstance(each, CallbackList) else [each] for each in given)
    return [callback for several in nested for callback in several]


def _forwarder(hook: str) -> Callable[..., None]:
    """A method of `CallbackList` that calls `hook` of every callback in turn."""
    if hook in ("on_epoch_begin", "on_train_batch_end", "on_epoch_end"):

        def forward(self: CallbackList, *args: Any) -> None:
            self._event, self._skipped = (hook, args), frozenset()
            for turn, callback in enumerate(self._in_turn):
                self._turn = turn
                getattr(callback, hook)(*args)

    else:

        def forward(self: CallbackList, *args: Any) -> None:
            for callback in self._in_turn:
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
        history: name -> one value per epoch, of this call of `fit`, and of the run that it continues where a
            backup, or a file that was saved within `fit`, is taken up.
        epoch: the epochs' numbers.

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)], seed=0)
        >>> model.compile("sgd", "mse")
        >>> history = model.fit(np.ones((8, 4)), np.ones(8), epochs=3, verbose=0)
        >>> history.epoch, sorted(history.history)
        ([0, 1, 2], ['loss'])

        `print(history)` writes a table, a line per epoch; of long runs, the first and the last:

        >>> history.history["loss"] = [0.5, 0.25, 0.125]
        >>> print(history)
        epoch   loss
            1    0.5
            2   0.25
            3  0.125
    """

    def __init__(self) -> None:
        super().__init__()
        self._begin()

    def _begin(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self._epochs: dict[str, list[int]] = {}  # of every value, which some epochs may lack

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Starts afresh."""
        self._begin()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Records the logs."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
            self._epochs.setdefault(name, []).append(epoch)

    def epochs_of(self, name: str) -> list[int]:
        """The epochs, counted from 0, that a name has values of: not all with `validation_freq`."""
        known = self._epochs.get(name, self.epoch)
        count = len(self.history[name])
        return list(known) if len(known) == count else list(range(count))

    def __repr__(self) -> str:
        if not self.history:
            return "<History of no epochs>" if not self.epoch else f"<History of {_counted(self.epoch)}>"
        last = ", ".join(f"{name} {_spelled(values[-1])}" for name, values in self.history.items() if values)
        return f"<History of {_counted(self.epoch)}, at the end {last}>"

    def __str__(self) -> str:
        if not self.history:
            return repr(self)
        columns = {}
        for name, values in self.history.items():
            found = dict(zip(self.epochs_of(name), values, strict=False))
            columns[name] = {epoch: _spelled(value) for epoch, value in found.items()}
        shown = self.epoch or range(max(map(len, self.history.values())))
        rows = [(str(epoch + 1), *(cells.get(epoch, "-") for cells in columns.values())) for epoch in shown]
        if len(rows) > _FIRST + _LAST + 1:
            rows[_FIRST:-_LAST] = [("...", *("" for _ in columns))]
        rows.insert(0, ("epoch", *columns))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        aligned = ([cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
        return "\n".join("  ".join(row).rstrip() for row in aligned)

    def _repr_html_(self) -> str:
        """Curves of all values, which notebooks show; after one epoch, the values."""
        from gridnn import _html  # only for somebody who looks

        series: dict[str, list[tuple[int, float]]] = {}
        for name, values in self.history.items():
            numbers = [as_number(value) for value in values]
            if None not in numbers:
                pairs = zip(self.epochs_of(name), numbers, strict=True)
                series[name] = [(epoch + 1, number) for epoch, number in pairs if number is not None]
        return _html.curves(series, max(self.epoch, default=0) + 1)

    def state(self) -> dict[str, Any]:
        """All that was logged; what files cannot hold, as text."""
        history = {name: [plain(v) for v in values] for name, values in self.history.items()}
        sparse = {name: list(epochs) for name, epochs in self._epochs.items() if epochs != self.epoch}
        return {"epoch": list(self.epoch), "history": history, "epochs": sparse}

    def restore(self, state: Any) -> None:
        """Puts it in front of what comes."""
        self.epoch = [int(number) for number in state["epoch"]]
        self.history = {str(name): list(values) for name, values in state["history"].items()}
        sparse = state.get("epochs", {})
        self._epochs = {name: [int(n) for n in sparse.get(name, self.epoch)] for name in self.history}


_FIRST, _LAST = 3, 9  # epochs of a long run that are printed


def _counted(epochs: Sequence[int]) -> str:
    return f"{len(epochs)} epoch{'s' * (len(epochs) != 1)}"


def _spelled(value: object) -> str:
    """A value of the logs; a callback may have put anything there, of any length."""
    number = as_number(value)
    if number is not None:
        return f"{number:.4g}"
    words = repr(value)
    return words if len(words) <= 20 else f"{words[:17]}..."


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
