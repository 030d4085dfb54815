"""`Stepper`: single steps of a model, with callbacks and ranks around them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridnn._network import StepResult
from gridnn._ranks import Ranks
from gridnn.callbacks import Callback, CallbackList, History, ProgbarLogger
from gridnn.callbacks.base import members
from gridnn.errors import NonFiniteError, NonFiniteInputError
from gridnn.model.custom import ObjectiveCalls
from gridnn.model.data import Arrays
from gridnn.model.handshake import BatchCheck, shake_hands
from gridnn.model.sources import ArraySource, Source
from gridnn.model.training_state import objective_of

if TYPE_CHECKING:
    from gridnn.model.trainable import TrainableModel

__all__ = ["Callbacks", "Stepper", "first_of"]

Callbacks = Callback | Iterable[Callback] | None


class Stepper:
    """What training, evaluation and prediction have in common.

    Args:
        model: the model to work on.
    """

    def __init__(self, model: TrainableModel) -> None:
        self.model = model
        self._ranks: Ranks | None = None

    @contextmanager
    def _shared(self, call: str, distribute: Ranks | None) -> Iterator[None]:
        """While it lasts, steps are shared by ranks, which all make this call."""
        if distribute is None:
            yield
            return
        if not isinstance(distribute, Ranks):
            raise TypeError(
                f"The `distribute` argument must be a gn.distribute.MPI(), or None. Received {distribute!r}."
            )
        with distribute.session(call):
            self._ranks = distribute
            try:
                yield
            finally:
                self._ranks = None

    def _shake_hands(
        self, arguments: dict[str, Any], *sources: Source | None, inputs: Sequence[NDArray[Any]] = ()
    ) -> None:
        """Has ranks compare what they must have in common."""
        if self._ranks is not None:
            shake_hands(
                self.model,
                self._ranks,
                arguments,
                targets=[array for source in sources for array in _target_arrays(source)],
                inputs=[*inputs, *(array for source in sources for array in _input_arrays(source))],
            )

    def _batch_check(self, is_foreign: bool) -> BatchCheck | None:
        """What compares the batches of all ranks, where code of the user makes them."""
        return BatchCheck(self._ranks) if is_foreign and self._ranks is not None else None

    def _note(self, *numbers: int) -> None:
        """Has ranks compare these numbers in their next exchange."""
        if self._ranks is not None:
            self._ranks.note(*numbers)

    def _stops(self) -> bool:
        """Whether training is over; of several ranks, the first one says so."""
        if self._ranks is not None:
            self.model.stop_training = self._ranks.stops(self.model.stop_training)
        return bool(self.model.stop_training)

    def _train_step(
        self, arrays: Arrays, indices: NDArray[np.int64] | None, rate: float, seed: int
    ) -> StepResult:
        network = self.model.network
        custom = ObjectiveCalls.of(objective_of(self.model), arrays, indices, network, seed)
        try:
            result = network.train_step(
                arrays.x, arrays.engine_targets(), indices, rate, seed, custom, self._ranks
            )
        except NonFiniteError:
            self._check_inputs(arrays, indices)  # only now: good data cost nothing
            raise
        return result if custom is None else custom.complete(result)

    def _evaluate_step(self, arrays: Arrays, indices: NDArray[np.int64] | None) -> StepResult:
        network = self.model.network
        custom = ObjectiveCalls.of(objective_of(self.model), arrays, indices, network)
        result = network.evaluate_step(arrays.x, arrays.engine_targets(), indices, custom, self._ranks)
        if not all(math.isfinite(output.loss_sum) for output in result.outputs):
            self._check_inputs(arrays, indices)
        return result if custom is None else custom.complete(result)

    def _check_inputs(self, arrays: Arrays, indices: NDArray[np.int64] | None) -> None:
        """`Arrays.check_inputs`; several ranks may have inputs of their own, and raise what one finds."""
        dtype = self.model.network.dtype
        if self._ranks is None:
            arrays.check_inputs(indices, dtype)
            return
        found = None
        try:
            arrays.check_inputs(indices, dtype)
        except NonFiniteInputError as error:
            found = str(error)
        for message in self._ranks.values(found):
            if message is not None:
                raise NonFiniteInputError(message)

    @contextmanager
    def _listening(
        self, callbacks: Callbacks, params: dict[str, Any], history: History | None = None
    ) -> Iterator[CallbackList]:
        """All callbacks, with a progress line unless there is one; an exception leaves the line finished."""
        all_ = members(callbacks)
        if history is not None:
            self.model.history = history
            if history not in all_:
                all_.append(history)
        is_main = self._ranks is None or self._ranks.is_main
        line = first_of(all_, ProgbarLogger)
        if line is None and params["verbose"] != 0:
            line = ProgbarLogger()
            all_.append(line)
        if line is not None and not is_main:
            line = None
        try:
            yield CallbackList(all_, self.model, params, is_main)
        finally:
            if line is not None:
                line.close()


def first_of(callbacks: Iterable[Callback], kind: type[Any]) -> Any:
    """The first callback of a kind, or None."""
    return next((callback for callback in callbacks if isinstance(callback, kind)), None)


def _input_arrays(source: Source | None) -> Iterable[NDArray[Any]]:
    """Inputs of a source of arrays."""
    return source.arrays.x if isinstance(source, ArraySource) else ()


def _target_arrays(source: Source | None) -> list[NDArray[Any]]:
    """Targets and weights of a source of arrays; batches of an iterable are not known before."""
    return source.arrays.target_arrays() if isinstance(source, ArraySource) else []
