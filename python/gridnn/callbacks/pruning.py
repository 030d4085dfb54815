"""A callback for searches: it ends what cannot become the best."""

from __future__ import annotations

import importlib
from typing import Any

from gridnn.callbacks.base import Callback, Logs
from gridnn.callbacks.monitors import Watch

__all__ = ["OptunaPruning"]


class OptunaPruning(Callback):
    """Reports a value to a trial of Optuna after every epoch, and ends it where the study's pruner says so.

    It needs the package `optuna`: ``pip install 'gridnn[optuna]'``. A trial that is pruned ends in
    ``optuna.TrialPruned``, which `fit` lets through to the study. A trial takes one value for each epoch: in
    a cross-validation only the first fit of a trial is reported.

    Copies of the callback, as scikit-learn makes them of an estimator's parameters, report to the same trial.

    Args:
        trial: what the study passes to the objective.
        monitor: name of the value in the logs, of which the study's direction says which way is better.

    Raises:
        ImportError: the package is not installed.

    Example:
        >>> class Trial:
        ...     def report(self, value, step):
        ...         print(f"epoch {step}: {value}")
        ...     def should_prune(self):
        ...         return False
        >>> OptunaPruning(Trial()).on_epoch_end(0, {"val_loss": 0.5})
        epoch 0: 0.5
    """

    def __init__(self, trial: Any, monitor: str = "val_loss") -> None:
        super().__init__()
        try:
            self._pruned = importlib.import_module("optuna").TrialPruned
        except ModuleNotFoundError as error:
            if error.name != "optuna":
                raise
            raise ImportError(
                "callbacks.OptunaPruning needs optuna, which is not installed: pip install 'gridnn[optuna]'"
            ) from error
        self.trial = trial
        self.monitor = monitor
        self._watch = Watch(monitor, "min")  # of which only the value is asked

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Reports, and asks whether to go on.

        Raises:
            optuna.TrialPruned: the trial is to end.
        """
        value = self._watch.value(logs, self)
        if value is None:
            return
        self.trial.report(value, epoch)
        if self.trial.should_prune():
            raise self._pruned(f"pruned after epoch {epoch + 1}, with {self.monitor} {value:g}")

    def __deepcopy__(self, memo: dict[int, Any]) -> OptunaPruning:
        return type(self)(self.trial, self.monitor)
