"""Callbacks that write the model to files."""

from __future__ import annotations

import contextlib
import os
import string
from pathlib import Path
from typing import Any

from gridnn import _validation
from gridnn.callbacks.base import Callback, Logs, as_number
from gridnn.callbacks.monitors import Watch
from gridnn.errors import FileFormatError
from gridnn.model import file_format

PathLike = str | os.PathLike[str]


class _EveryFewBatches(Callback):
    """Counts batches across epochs.

    Args:
        save_freq: "epoch", or a number of batches.
    """

    main_only = True

    def __init__(self, save_freq: str | int) -> None:
        super().__init__()
        if save_freq != "epoch":
            _validation.positive_integer(save_freq, "save_freq")
        self.save_freq = save_freq
        self._batches = 0

    def _due(self) -> bool:
        """Whether it is time, one batch later."""
        if self.save_freq == "epoch":
            return False
        self._batches += 1
        if self._batches < int(self.save_freq):
            return False
        self._batches = 0
        return True

    def state(self) -> dict[str, Any]:
        """Batches since the last file."""
        return {"batches": self._batches}

    def restore(self, state: Any) -> None:
        """Goes on counting."""
        self._batches = int(state["batches"])


class _Formatter(string.Formatter):
    """Writes values that are no numbers as text where a field asks for digits: logs may hold anything."""

    def format_field(self, value: Any, format_spec: str) -> str:
        try:
            return str(super().format_field(value, format_spec))
        except (TypeError, ValueError):
            if isinstance(value, (int, float)):
                raise
            return str(value).replace(os.sep, "_")


class ModelCheckpoint(_EveryFewBatches):
    """Saves the model while it is trained.

    Args:
        filepath: file to write; may hold fields such as ``{epoch:02d}`` (counted from 1), ``{batch}`` and the
            names of logs: ``"model-{epoch:02d}-{val_loss:.2f}.gridnn"``. Folders are made. A name that ends
            in ``.keras``, or with `save_weights_only` in ``.weights.h5``, makes a file for Keras, from which
            training cannot be continued to the byte.
        monitor: name of the value that `save_best_only` looks at.
        verbose: 1 prints what is saved.
        save_best_only: save only where the value is the best so far; where it is missing, NaN or not a
            number, nothing is saved.
        save_weights_only: save the weights alone.
        mode: "min", "max", or "auto": the smaller the better for losses, and for metrics what their
            `direction` says; "auto" with any other value is a ValueError when training begins.
        save_freq: "epoch", or a number of batches after which to save.
        initial_value_threshold: the value to be better than at first. Where training is continued and the
            file is there already, it is that of the file.

    Attributes:
        best: the best value; None before the first.

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)], seed=0)
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((8, 4)), np.ones(8)
        >>> best = gn.callbacks.ModelCheckpoint("best.gridnn", monitor="loss", save_best_only=True)
        >>> history = model.fit(x, y, epochs=3, callbacks=[best], verbose=0)
        >>> gn.load_model("best.gridnn").output_shape
        (None, 1)
    """

    def __init__(
        self,
        filepath: PathLike,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(save_freq)
        for_keras = (
            file_format.is_weights_of_keras(filepath)
            if save_weights_only
            else os.path.splitext(os.fsdecode(filepath))[1].lower() == ".keras"
        )
        if not for_keras:
            file_format.check_ending(filepath)
        self.filepath = os.fspath(filepath)
        self._watch = Watch(monitor, mode)
        self.monitor, self.mode = monitor, mode
        self.verbose = verbose
        self.save_best_only = _validation.boolean(save_best_only, "save_best_only")
        self.save_weights_only = _validation.boolean(save_weights_only, "save_weights_only")
        self.best = initial_value_threshold
        self._epoch = 0
        self._begun = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Finds out which way is better."""
        self._begun = False
        if self.save_best_only:
            self._watch.settle(self)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Remembers the epoch; training that goes on has a best file already."""
        self._epoch = epoch
        if not self._begun and epoch and self.best is None and self.save_best_only:
            self.best = self._best_of_file()
        self._begun = True

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Saves where it is time."""
        if self._due():
            self._save({"batch": batch + 1, **(logs or {})}, within_epoch=True)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Saves where it is time."""
        self._epoch = epoch
        if self.save_freq == "epoch":
            self._save(logs or {})

    def state(self) -> dict[str, Any]:
        """The best value, and batches since the last file."""
        return {**super().state(), "monitor": self.monitor, "best": self.best}

    def restore(self, state: Any) -> None:
        """Goes on comparing with the best value."""
        super().restore(state)
        self._begun = True
        if state["monitor"] == self.monitor:
            self.best = as_number(state["best"])

    def _best_of_file(self) -> float | None:
        """The value that a callback like this wrote the file with; None if there is no such file."""
        try:
            record = file_format.read_record(self.filepath)
        except (OSError, FileFormatError):
            return None
        for name, state in () if record is None else record.callbacks:
            if name == type(self).__name__ and state and state.get("monitor") == self.monitor:
                return as_number(state.get("best"))
        return None

    def _save(self, logs: Logs, *, within_epoch: bool = False) -> None:
        if self.save_best_only:
            current = self._watch.value(logs, self, within_epoch=within_epoch)
            if current is None:
                return
            if not self._watch.better(current, self.best):
                if self.verbose:
                    best = "nothing" if self.best is None else f"{self.best:.5f}"
                    print(f"\nEpoch {self._epoch + 1}: {self.monitor} did not improve from {best}")
                return
            self.best = current
        try:
            path = Path(_Formatter().format(self.filepath, **{"epoch": self._epoch + 1, **logs}))
        except KeyError as error:
            raise KeyError(
                f"Failed to format this callback filepath: {self.filepath!r}. There is no {error}; there are "
                f"epoch, {', '.join(logs)}."
            ) from error
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)
        if self.verbose:
            print(f"\nEpoch {self._epoch + 1}: saved model to {path}")


class BackupAndRestore(_EveryFewBatches):
    """Continues training where it was when the process died.

    Give the same callback, with the same folder, to every run of the same script: if the folder holds a
    backup, `fit` takes weights, optimizer state, learning rate, seed, the place within the epoch and the
    states of all callbacks from it, and ends with the bytes that it would have ended with: weights, history
    and what callbacks decide. It is called after all other callbacks. The file is written whole or not at
    all.

    Batches from an iterable are drawn anew up to that place, so it must yield the same ones again; a
    generator that was in use before `fit` is taken as it is. Callbacks of your own say in `Callback.state`
    what they must know.

    Args:
        backup_dir: folder for the backup.
        save_freq: "epoch", or a number of batches.
        delete_checkpoint: remove the backup when training is through.

    Raises:
        ValueError: `backup_dir` is empty.

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)], seed=0)
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((8, 4)), np.ones(8)
        >>> keep = gn.callbacks.BackupAndRestore("backup")  # started again after a crash, it goes on
        >>> history = model.fit(x, y, epochs=3, callbacks=[keep], verbose=0)
        >>> len(history.epoch)
        3
    """

    _comes_last = True

    def __init__(
        self, backup_dir: PathLike, save_freq: str | int = "epoch", delete_checkpoint: bool = True
    ) -> None:
        super().__init__(save_freq)
        _validation.path(backup_dir or ".", "backup_dir")
        if not os.fspath(backup_dir):
            raise ValueError("Empty `backup_dir` argument passed")
        self.path = Path(backup_dir) / "latest.gridnn"
        self.delete_checkpoint = _validation.boolean(delete_checkpoint, "delete_checkpoint")

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Starts counting."""
        self._batches = 0

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Saves where it is time."""
        if self._due():
            self._save()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Saves where it is time."""
        if self.save_freq == "epoch":
            self._save()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Removes the backup, and its folder if nothing else is there."""
        folder = self.path.parent
        if not self.delete_checkpoint or not folder.is_dir():
            return
        self.path.unlink(missing_ok=True)
        rest = list(folder.iterdir())
        # Hidden temporary files are of processes that were killed while they wrote. In a folder that holds
        # other things as well only those that are named after the backup are ours.
        ours = [path for path in rest if path.name.startswith(f".{self.path.name}")]
        if all(path.name.startswith(".") and "tmp" in path.name and path.is_file() for path in rest):
            ours = rest
        for path in ours:
            path.unlink(missing_ok=True)
        if len(ours) == len(rest):
            # A link, a mounted folder or one whose parent is write-protected stays, empty: no reason to lose
            # the model that was trained.
            with contextlib.suppress(OSError):
                folder.rmdir()

    def progress(self) -> tuple[int, int | None] | None:
        """Epochs completed and seed of the run that was backed up; None if there is no backup."""
        return file_format.read_progress(self.path) if self.path.exists() else None

    def backup(self) -> file_format.Backup | None:
        """What was backed up; None if there is no backup."""
        return file_format.read_backup(self.path) if self.path.exists() else None

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.model.save(self.path)
