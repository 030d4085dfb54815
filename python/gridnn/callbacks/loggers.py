"""Callbacks that write logs to files."""

from __future__ import annotations

import csv
import importlib
import os
import secrets
import shutil
import tempfile
from typing import Any

import numpy as np

from gridnn import _validation
from gridnn.callbacks.base import Callback, Logs, as_number
from gridnn.callbacks.monitors import current_rate

PathLike = str | os.PathLike[str]


class CSVLogger(Callback):
    """Writes the logs of every epoch as a line of a CSV file.

    The first line names the columns: the epoch, and the logs in alphabetical order. Names that come later,
    or that a file to be continued does not have, become further columns, with NA in the lines before them.

    Where training continues after some epochs, lines of those epochs are kept; a run that `BackupAndRestore`
    continues leaves the file that it would have left.

    Args:
        filename: the file.
        separator: what stands between values.
        append: add to the file instead of beginning anew.

    Raises:
        ValueError: at the beginning of training, if lines are to be added to a file that is no such log, or
            one with another separator.

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)], seed=0)
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((8, 4)), np.ones(8)
        >>> log = gn.callbacks.CSVLogger("log.csv")
        >>> history = model.fit(x, y, epochs=2, callbacks=[log], verbose=0)
        >>> with open("log.csv") as file:
        ...     print(file.readline().strip())
        epoch,loss,val_loss
    """

    main_only = True

    def __init__(self, filename: PathLike, separator: str = ",", append: bool = False) -> None:
        super().__init__()
        self.filename = os.fspath(_validation.path(filename, "filename"))
        self.separator = _validation.string(separator, "separator")
        self.append = _validation.boolean(append, "append")
        self._keys: list[str] = []
        self._lines = 0
        self._begun = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Looks at the file that is to be continued."""
        self._keys, self._lines, self._begun = [], 0, self.append
        with open(self.filename, "a", encoding="utf-8"):
            pass  # whether it can be written to, is to be known now
        if self.append:
            self._keys, lines = self._read()
            self._lines = len(lines)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before the first, empties the file; if that is not number 0, but for the lines of earlier ones."""
        if self._begun:
            return
        self._begun = True
        lines: list[list[str]] = []
        if epoch:
            try:
                self._keys, lines = self._read()
            except (ValueError, csv.Error):  # something else, which is to be overwritten
                self._keys = []
        lines = [line for line in lines if line[0].isdecimal() and int(line[0]) < epoch]
        if lines:
            self._rewrite(lines)
        else:
            self._keys, self._lines = [], 0
            with open(self.filename, "w", encoding="utf-8"):
                pass

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Writes a line, and the names before the first.

        The file is open for that long only: a run that ends with an exception leaves nothing to be closed.
        """
        if not self._begun:
            self.on_epoch_begin(epoch)
        logs = logs or {}
        new = sorted(name for name in logs if name not in self._keys)
        if not self._keys and not any(name.startswith("val_") for name in new):
            new += [f"val_{name}" for name in new]  # columns for a validation that may come in a later epoch
        if new and self._keys:
            there, lines = self._read() if os.path.isfile(self.filename) else ([], [])
            self._keys = [*self._keys, *new]
            self._rewrite(lines, there)
        self._keys = self._keys or new
        with open(self.filename, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=self.separator)
            if file.tell() == 0:
                writer.writerow(["epoch", *self._keys])
            writer.writerow([epoch, *(_cell(logs.get(name)) for name in self._keys)])
        self._lines += 1

    def state(self) -> dict[str, Any]:
        """The columns, and the number of lines under them."""
        return {"columns": list(self._keys), "lines": self._lines}

    def restore(self, state: Any) -> None:
        """Removes what was written later, which is to come again."""
        run = self.model.training_state.run
        if self.append and not (run is not None and run.from_backup):
            return  # what was added since, another run may have added
        self._begun = True
        try:
            there, lines = self._read()
        except (OSError, ValueError, csv.Error):
            there, lines = [], []
        columns, kept = list(state["columns"]), lines[: int(state["lines"])]
        self._keys = columns
        if there != columns or len(kept) < len(lines):
            self._rewrite(kept, there)
        self._lines = len(kept)

    def _read(self) -> tuple[list[str], list[list[str]]]:
        """The columns behind the epoch, and the lines.

        Raises:
            ValueError: the file holds something else.
        """
        with open(self.filename, newline="", encoding="utf-8") as file:
            lines = [line for line in csv.reader(file, delimiter=self.separator) if line]
        if not lines:
            return [], []
        if lines[0][0] != "epoch":
            raise ValueError(
                f"CSVLogger cannot add to {self.filename}: its first line should begin with "
                f"'epoch{self.separator}'. Received {self.separator.join(lines[0])!r:.200}. Give another "
                "file, the separator of this one, or append=False."
            )
        return lines[0][1:], lines[1:]

    def _rewrite(self, lines: list[list[str]], there: list[str] | None = None) -> None:
        """Replaces the file by these lines, which have the columns `there`, under the present columns."""
        places = {name: number for number, name in enumerate(self._keys if there is None else there, 1)}
        path = os.path.realpath(self.filename)
        if not os.path.isfile(path):  # a pipe or a terminal: what is written there stays
            with open(path, "a", newline="", encoding="utf-8") as file:
                csv.writer(file, delimiter=self.separator).writerow(["epoch", *self._keys])
            return
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=os.path.dirname(path))
        try:
            shutil.copymode(path, temporary)
            with open(handle, "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, delimiter=self.separator)
                if self._keys:
                    writer.writerow(["epoch", *self._keys])
                for line in lines:
                    numbers = (places.get(name, len(line)) for name in self._keys)
                    cells = (line[n] if n < len(line) else "NA" for n in numbers)
                    writer.writerow([line[0], *cells])
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        self._lines = len(lines)


def _cell(value: object) -> object:
    """A value of the logs for one place in a table."""
    if value is None:
        return "NA"
    return value.tolist() if isinstance(value, np.ndarray) else value


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

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)], seed=0)
        >>> model.compile("sgd", "mse")
        >>> board = gn.callbacks.TensorBoard("logs")  # doctest: +SKIP
        >>> x, y = np.ones((8, 4)), np.ones(8)
        >>> history = model.fit(x, y, callbacks=[board], verbose=0)  # doctest: +SKIP
    """

    main_only = True

    def __init__(
        self, log_dir: PathLike = "logs", histogram_freq: int = 0, update_freq: str | int = "epoch"
    ) -> None:
        super().__init__()
        self.log_dir = os.fspath(_validation.path(log_dir, "log_dir"))
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
        step = self.model.iterations
        if self._every and step % self._every == 0:
            self._scalars("batch", logs or {}, step)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Writes the logs."""
        self._scalars("epoch", {**(logs or {}), "learning_rate": current_rate(self.model)}, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            writer = self._writer("train")
            for layer in self.model.layers:
                for index, weight in enumerate(layer.weights):
                    writer.add_histogram(f"{self.model.name_of(layer)}/{index}", np.asarray(weight), epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Closes the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _writer(self, kind: str) -> Any:
        if kind not in self._writers:
            # The package names files after the second and the machine: two runs could take one name.
            suffix = f".{os.getpid()}.{secrets.token_hex(4)}"
            folder = os.path.join(self.log_dir, kind)
            self._writers[kind] = self._package.SummaryWriter(folder, filename_suffix=suffix)
        return self._writers[kind]

    def _scalars(self, prefix: str, logs: Logs, step: int) -> None:
        for name, value in logs.items():
            number = as_number(value)
            if number is None:  # text, or several numbers: no point of a curve
                continue
            kind = "validation" if name.startswith("val_") else "train"
            self._writer(kind).add_scalar(f"{prefix}_{name.removeprefix('val_')}", number, step)
