"""Callbacks: what may listen to training.

`fit` calls, in this order: `on_train_begin`; per epoch `on_epoch_begin`, per batch `on_train_batch_begin` and
`on_train_batch_end`, then the validation's `on_test_begin` ... `on_test_end`, then `on_epoch_end`; at last
`on_train_end`. `evaluate` calls the `on_test_...` methods and `predict` the `on_predict_...` ones.

Example:
    >>> import numpy as np
    >>> import gridnn as gn
    >>> stop = gn.callbacks.EarlyStopping(monitor="loss", patience=2)
    >>> model = gn.Sequential([gn.Input((3,)), gn.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> history = model.fit(np.zeros((4, 3)), np.zeros(4), epochs=5, callbacks=[stop], verbose=0)
"""

from gridnn.callbacks.averages import SwapEMAWeights
from gridnn.callbacks.base import Callback, CallbackList, History, LambdaCallback, Logs
from gridnn.callbacks.files import BackupAndRestore, ModelCheckpoint
from gridnn.callbacks.loggers import CSVLogger, TensorBoard
from gridnn.callbacks.monitors import (
    EarlyStopping,
    LearningRateScheduler,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from gridnn.callbacks.progress import ProgbarLogger, has_live_display
from gridnn.callbacks.pruning import OptunaPruning

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "Logs",
    "ModelCheckpoint",
    "OptunaPruning",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
    "has_live_display",
]
