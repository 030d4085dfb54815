"""How a run of `fit` begins where another one was."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from gridnn.model.file_format import Backup
from gridnn.model.resuming import Data, Record, Run, RunningMeans
from gridnn.model.saving import restore
from gridnn.model.training_state import objective_of

if TYPE_CHECKING:
    from gridnn.model.protocol import Model


class Start:
    """Takes up a run step by step, so that nothing is left of what callbacks do when training begins.

    Args:
        model: the model to train.
        run: the new run.
        saved: a backup, or None.
        record: where the other run was; None begins with an epoch, and with callbacks as they are.
    """

    def __init__(self, model: Model, run: Run, saved: Backup | None, record: Record | None) -> None:
        self._model, self._run, self._saved, self._record = model, run, saved, record
        self._rate: float | None = None
        if record is not None and record.within_epoch and record.data != (data := Data.of(run.source)):
            warnings.warn(
                f"Training was interrupted within epoch {run.epoch + 1}, on other data: then {record.data}, "
                f"now {data}. The epoch begins anew, and so do the callbacks.",
                stacklevel=5,
            )
            self._record = None
        self.is_over = False
        """Whether a callback had ended the other run."""

    def before_training(self) -> None:
        """Puts model and data where they were."""
        if self._saved is None and self._record is None:
            return
        position = 0 if self._record is None else self._record.position
        self._run.source.resume(position)
        self._run.position = position
        if self._saved is not None:
            restore(self._model, self._saved)
        elif not callable(self._model.optimizer.learning_rate):
            self._rate = self._model.optimizer.learning_rate

    def between_epochs(self) -> None:
        """Gives callbacks their states if an epoch had just been completed; follows `on_train_begin`."""
        record = self._record
        if record is not None and not record.within_epoch:
            # The very logs that callbacks add to, where some have yet to hear of the epoch's end.
            self._run.logs = record.arguments[1] if record.hook == "on_epoch_end" else record.logs
            self._take_up(record)
            self.is_over = self._model.stop_training

    def begin_epoch(self, epoch: int) -> None:
        """Calls `on_epoch_begin`; then the same as above where the other run was within this epoch.

        What `on_epoch_begin` does to learning rate and weights has been done then, and is taken back.
        """
        record, model, listeners = self._record, self._model, self._run.listeners
        if record is None or not record.within_epoch or epoch != self._run.epoch:
            listeners.on_epoch_begin(epoch, {})
            return
        self._record = None
        record.begin_epoch(epoch, listeners)
        if self._saved is not None:
            restore(model, self._saved)
        elif self._rate is not None:
            model.optimizer.learning_rate = self._rate
        if record.means is not None:
            self._run.step, self._run.means = record.step, self._means(record.means, epoch)
        self._take_up(record)

    def _means(self, state: dict[str, Any], epoch: int) -> RunningMeans:
        objective = objective_of(self._model)
        if state["names"] == objective.names:
            return RunningMeans(objective, state)
        warnings.warn(
            f"Training was interrupted within epoch {epoch + 1}, with other metrics: then {state['names']}, "
            f"now {objective.names}. The means of this epoch begin anew.",
            stacklevel=6,
        )
        return RunningMeans(objective)

    def _take_up(self, record: Record) -> None:
        record.take_up(self._run.listeners)
        self._model.stop_training = self._model.stop_training or record.stopped
