"""Callbacks that write files."""

from __future__ import annotations

import csv
import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from gridnn import _validation, saving
from gridnn.callbacks.base import Callback, Logs
from gridnn.callbacks.monitors import Watch, current_rate

PathLike = str | os.PathLike[str]


class _EveryFewBatches(Callback):
    """Counts batches across epochs.

    Args:
        save_freq: "epoch", or a number of batches.
    """

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


class ModelCheckpoint(_EveryFewBatches):
    """Saves the model while it is trained.

    Args:
        filepath: file to write; may hold fields such as ``{epoch:02d}`` (counted from 1), ``{batch}`` and the
            names of logs: ``"model-{epoch:02d}-{val_loss:.2f}.gridnn"``. Folders are made.
        monitor: name of the value that `save_best_only` looks at.
        verbose: 1 prints what is saved.
        save_best_only: save only where the value is the best so far.
        save_weights_only: save the weights alone.
        mode: "min", "max", or "auto": the larger the better for accuracies and their like, else the smaller.
        save_freq: "epoch", or a number of batches after which to save.
        initial_value_threshold: the value to be better than at first.
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
        self.filepath = os.fspath(filepath)
        self._watch = Watch(monitor, mode)
        self.verbose = verbose
        self.save_best_only = _validation.boolean(save_best_only, "save_best_only")
        self.save_weights_only = _validation.boolean(save_weights_only, "save_weights_only")
        self.best = initial_value_threshold
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Remembers the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Saves where it is time."""
        if self._due():
            self._save({"batch": batch + 1, **(logs or {})})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Saves where it is time."""
        if self.save_freq == "epoch":
            self._save(logs or {})

    def _save(self, logs: Logs) -> None:
        if self.save_best_only:
            current = self._watch.value(logs, "ModelCheckpoint")
            if current is not None and not self._watch.better(current, self.best):
                if self.verbose:
                    print(
                        f"\nEpoch {self._epoch + 1}: {self._watch.monitor} did not improve "
                        f"from {self.best:.5f}"
                    )
                return
            if current is not None:
                self.best = current
        try:
            path = Path(self.filepath.format(**{"epoch": self._epoch + 1, **logs}))
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
    backup, `fit` takes weights, optimizer state, learning rate, epoch and seed from it, and ends with the
    bytes that it would have ended with. The file is written whole or not at all.

    Args:
        backup_dir: folder for the backup.
        save_freq: "epoch", or a number of batches. What was saved within an epoch begins that epoch again.
        delete_checkpoint: remove the backup when training is through.

    Raises:
        ValueError: `backup_dir` is empty.
    """

    def __init__(
        self, backup_dir: PathLike, save_freq: str | int = "epoch", delete_checkpoint: bool = True
    ) -> None:
        super().__init__(save_freq)
        if not os.fspath(backup_dir):
            raise ValueError("Empty `backup_dir` argument passed")
        self.path = Path(backup_dir) / "latest.gridnn"
        self.delete_checkpoint = _validation.boolean(delete_checkpoint, "delete_checkpoint")

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
        if self.delete_checkpoint and self.path.exists():
            self.path.unlink()
            if not any(self.path.parent.iterdir()):
                self.path.parent.rmdir()

    def progress(self) -> tuple[int, int | None] | None:
        """Epochs completed and seed of the run that was backed up; None if there is no backup."""
        return saving.read_progress(self.path) if self.path.exists() else None

    def restore(self) -> None:
        """Puts the backup into the model."""
        saving.restore(self.model, self.path)

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.model.save(self.path)


class CSVLogger(Callback):
    """Writes the logs of every epoch as a line of a CSV file.

    Args:
        filename: the file.
        separator: what stands between values.
        append: add to a file that exists.
    """

    def __init__(self, filename: PathLike, separator: str = ",", append: bool = False) -> None:
        super().__init__()
        self.filename = os.fspath(filename)
        self.separator = _validation.string(separator, "separator")
        self.append = _validation.boolean(append, "append")
        self._keys: list[str] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Empties the file, unless lines are to be added to it."""
        with open(self.filename, "a" if self.append else "w", encoding="utf-8"):
            self._keys = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Writes a line, and the names before the first.

        The file is open for that long only: a run that ends with an exception leaves nothing to be closed.
        """
        logs = logs or {}
        if not self._keys:
            self._keys = sorted(logs)
            if not any(key.startswith("val_") for key in logs):
                # Columns for a validation that may come in a later epoch.
                self._keys += [f"val_{key}" for key in self._keys]
        with open(self.filename, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=self.separator)
            if file.tell() == 0:
                writer.writerow(["epoch", *self._keys])
            writer.writerow([epoch, *(logs.get(key, "NA") for key in self._keys)])


class TensorBoard(Callback):
    """Writes logs for TensorBoard.

    It needs the package `tensorboardX`: ``pip install 'gridnn[tensorboard]'``.

    Losses, metrics and the learning rate of epochs go to ``log_dir/train`` and ``log_dir/validation`` as
    ``epoch_loss`` and so on.

    Args:
        log_dir: folder.
        histogram_freq: every so many epochs also the distributions of the weights; 0 for never.
        update_freq: "epoch"; or "batch", or a number of batches, after which the running means are written as
            ``batch_loss`` and so on.

    Raises:
        ImportError: at the beginning of training, if the package is not installed.
    """

    def __init__(
        self, log_dir: PathLike = "logs", histogram_freq: int = 0, update_freq: str | int = "epoch"
    ) -> None:
        super().__init__()
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = _validation.non_negative_integer(histogram_freq, "histogram_freq")
        if isinstance(update_freq, str):
            choice = _validation.choice(update_freq, "update_freq", ("epoch", "batch"))
            self._every = int(choice == "batch")
        else:
            self._every = _validation.positive_integer(update_freq, "update_freq")
        self._writers: dict[str, Any] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Finds the package."""
        try:
            self._package = importlib.import_module("tensorboardX")
        except ImportError as error:
            raise ImportError(
                "callbacks.TensorBoard needs tensorboardX, which is not installed: pip install "
                "'gridnn[tensorboard]'"
            ) from error

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Writes the running means where it is time."""
        step = self.model._built_network().iterations
        if self._every and step % self._every == 0:
            self._scalars("batch", logs or {}, step)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Writes the logs."""
        self._scalars("epoch", {**(logs or {}), "learning_rate": current_rate(self.model)}, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            writer = self._writer("train")
            for layer in self.model.layers:
                for index, weight in enumerate(layer.get_weights()):
                    writer.add_histogram(f"{layer.name}/{index}", np.asarray(weight), epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Closes the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _writer(self, kind: str) -> Any:
        if kind not in self._writers:
            self._writers[kind] = self._package.SummaryWriter(os.path.join(self.log_dir, kind))
        return self._writers[kind]

    def _scalars(self, prefix: str, logs: Logs, step: int) -> None:
        for name, value in logs.items():
            kind = "validation" if name.startswith("val_") else "train"
            self._writer(kind).add_scalar(f"{prefix}_{name.removeprefix('val_')}", value, step)
