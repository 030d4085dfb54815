"""`Trainer`: epochs, batches, history and callbacks around the engine's steps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._batches import in_batch, inputs_of, is_batches
from gridnn._engine import derive_seed
from gridnn._network import Inspection, StepResult
from gridnn._ranks import Ranks, warn_if_alone
from gridnn._seeding import next_seed
from gridnn.callbacks import (
    BackupAndRestore,
    CallbackList,
    History,
    Logs,
    ProgbarLogger,
    TerminateOnNaN,
    has_live_display,
)
from gridnn.callbacks.base import members
from gridnn.errors import NonFiniteError
from gridnn.model.binding import Binder, batch_size_or_default, optional_count
from gridnn.model.class_weight import OutputClassWeight
from gridnn.model.custom import ObjectiveCalls
from gridnn.model.following import AugmentTargets, Follow
from gridnn.model.handshake import check_chunks, check_weights, warn_if_nothing_is_shared
from gridnn.model.results import NamedResults, Results
from gridnn.model.resuming import Record, Run, RunningMeans
from gridnn.model.shares import in_shares, training_share
from gridnn.model.sources import ReadSource, Source, is_foreign
from gridnn.model.start import Start
from gridnn.model.stepping import Callbacks, Stepper, first_of
from gridnn.model.training_state import Progress, objective_of

if TYPE_CHECKING:
    from gridnn.model.trainable import TrainableModel

__all__ = ["Trainer"]

# Streams drawn from the seed of one fit, so that shuffling and dropout are independent of each other.
_SHUFFLE, _STEP = 0, 1

_PREDICT_UPDATES = 100  # in how many parts a prediction is made when somebody watches


class Trainer(Stepper):
    """Does the work behind `Sequential.fit`, `evaluate`, `predict` and the ``..._on_batch`` methods.

    It keeps nothing between calls: weights, optimizer state and progress are the model's.

    Args:
        model: the model to work on.

    Example:
        >>> import numpy as np
        >>> import gridnn as gn
        >>> model = gn.Sequential([gn.Input((4,)), gn.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> history = gn.Trainer(model).fit(np.zeros((8, 4)), np.zeros(8), epochs=2, verbose=0)
        >>> history.history["loss"]
        [0.0, 0.0]
    """

    def __init__(self, model: TrainableModel) -> None:
        super().__init__(model)
        self._binder = Binder(model)

    # Training

    def fit(
        self,
        x: object,
        y: object = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Callbacks = None,
        validation_split: float = 0.0,
        validation_data: object = None,
        shuffle: bool = True,
        class_weight: OutputClassWeight | None = None,
        sample_weight: object = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        *,
        seed: int | None = None,
        augment_targets: AugmentTargets = "auto",
        distribute: Ranks | None = None,
    ) -> History:
        """Trains the model; see `Sequential.fit`."""
        if distribute is None and not _is_child():
            warn_if_alone()
        with self._shared("fit", distribute):
            epochs = _validation.non_negative_integer(epochs, "epochs")
            initial_epoch = _validation.non_negative_integer(initial_epoch, "initial_epoch")
            verbose = _validation.verbosity(verbose)
            is_validated = _validation_rule(validation_freq)
            shuffle = _validation.boolean(shuffle, "shuffle")
            seed = _validation.seed(seed)
            callbacks = members(callbacks)  # once, since it may be an iterator
            backup: BackupAndRestore | None = first_of(callbacks, BackupAndRestore)
            saved = None if backup is None else backup.backup()
            if saved is None:
                record = self._record_to_continue(initial_epoch, seed)
            else:
                record = saved.record if initial_epoch <= saved.epoch else None
                initial_epoch = max(initial_epoch, saved.epoch)
                seed = saved.seed
            seed = self._seed_of_run(seed, initial_epoch)
            follow = Follow.of(augment_targets, self.model.output_names)
            source, held_out = self._binder.training(
                x,
                y,
                sample_weight,
                class_weight,
                # `validation_data` beats the split: then all of `x` is trained on.
                validation_split if validation_data is None else 0.0,
                batch_size,
                steps_per_epoch,
                derive_seed(seed, _SHUFFLE) if shuffle else None,
                follow,
            )
            validation = self._binder.validation(
                in_shares(self._ranks, validation_data),
                held_out,
                batch_size if validation_batch_size is None else validation_batch_size,
                validation_steps,
                follow.validating(),
            )
            history = first_of(callbacks, History) or History()
            params = {**_params(verbose, *_sizes(source)), "epochs": epochs}
            with self._listening(callbacks, params, history) as listeners:
                run = Run(listeners, source, seed, initial_epoch, validation is not None, saved is not None)
                start = Start(self.model, run, saved, record)
                arguments = {
                    "epochs": (initial_epoch, epochs),
                    "seed": seed,
                    "shuffle": shuffle,
                    "validation_freq": validation_freq,
                    "backup": None if saved is None else (saved.epoch, saved.record is not None),
                    "data": [None if each is None else _sizes(each) for each in (source, validation)],
                    "class_weight": class_weight,
                    "augment_targets": augment_targets,
                    "callbacks": [
                        type(callback).__name__
                        for callback in listeners.callbacks
                        if not isinstance(callback, ProgbarLogger)  # `verbose` may be rank 0's alone
                    ],
                }
                with self.model.training_state.running(run):
                    logs = self._run_epochs(
                        range(initial_epoch, epochs), run, start, validation, is_validated, arguments
                    )
                listeners.on_train_end(logs)
            return history

    def _run_epochs(
        self,
        epochs: range,
        run: Run,
        start: Start,
        validation: Source | None,
        is_validated: Callable[[int], bool],
        arguments: dict[str, Any],
    ) -> Logs:
        model, listeners = self.model, run.listeners
        model.stop_training = False
        model.training_state.record = None
        start.before_training()
        self._shake_hands(arguments, run.source, validation)
        if self._ranks is not None and model.built:
            check_chunks(model.network, self._ranks, run.source)
            if isinstance(run.source, ReadSource):
                run.source.share = training_share(model.network, self._ranks, run.source.data)
        listeners.on_train_begin({})
        start.between_epochs()
        for epoch in epochs:
            if start.is_over:
                break
            start.begin_epoch(epoch)
            logs = self._train_epoch(epoch, derive_seed(run.seed, _STEP), run)
            if self._ranks is not None and model.built:
                check_weights(model.network, self._ranks, epoch)
            if validation is not None and is_validated(epoch):
                results = self._evaluate(validation, listeners)
                logs.update({f"val_{name}": value for name, value in results.items()})
            # Before the callbacks of the epoch's end, so that a checkpoint written there resumes after this
            # epoch.
            model.training_state.progress = Progress(epoch + 1, run.seed)
            run.completed(epoch, logs)
            listeners.on_epoch_end(epoch, logs)
            if self._stops():
                break
        if model.built:
            model.network.finalize()
        return run.logs

    def _train_epoch(self, epoch: int, seed: int, run: Run) -> Logs:
        model, listeners = self.model, run.listeners
        means: RunningMeans | None = run.means
        if means is not None and model.stop_training:  # it was to end after the step it had come to
            return means.logs()
        check = self._batch_check(run.source.is_foreign)
        for step, (arrays, indices, size) in enumerate(run.source.batches(epoch, run.step), run.step):
            if check is not None:
                check.add(arrays)
            listeners.on_train_batch_begin(step, {})
            means = means or RunningMeans(objective_of(model))
            network = model.network
            rate = model.optimizer.rate(network.iterations)
            self._note(epoch, step, size)
            exchanges = 0 if self._ranks is None else self._ranks.exchanges
            try:
                result = self._train_step(arrays, indices, rate, seed)
            except NonFiniteError as error:
                guard: TerminateOnNaN | None = first_of(listeners.callbacks, TerminateOnNaN)
                if guard is None:
                    raise
                guard.refused(step, error)
                break
            if self._ranks is not None:
                self._ranks.count_step()
                if run.is_first_step and self._ranks.size > 1 and self._ranks.exchanges == exchanges:
                    warn_if_nothing_is_shared(self._ranks, size)
                run.is_first_step = False
            means.add(result, size)
            run.step, run.means, run.position = step + 1, means, run.source.position
            listeners.on_train_batch_end(step, means.logs())
            if self._stops():
                break
        if check is not None:
            check.compare()
        return {} if means is None else means.logs()

    def train_on_batch(
        self,
        x: object,
        y: object,
        sample_weight: object = None,
        class_weight: OutputClassWeight | None = None,
        return_dict: bool = False,
        *,
        augment_targets: AugmentTargets = "auto",
    ) -> Any:
        """One step on one batch; see `Sequential.train_on_batch`."""
        model = self.model
        names = model.output_names
        follow = Follow.of(augment_targets, names)
        arrays = self._binder.arrays(x, y, sample_weight, follow=follow)
        arrays = arrays.with_class_weight(class_weight, names)
        network = model.network
        rate = model.optimizer.rate(network.iterations)
        seed = derive_seed(model.seed, _STEP)
        model.training_state.record = None  # from here on it is another run
        result = self._train_step(arrays, None, rate, seed)
        means = RunningMeans(objective_of(model))
        means.add(result, len(arrays))
        return self._result(means.logs(), return_dict)

    # Evaluation

    def evaluate(
        self,
        x: object,
        y: object = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: object = None,
        steps: int | None = None,
        callbacks: Callbacks = None,
        return_dict: bool = False,
        *,
        distribute: Ranks | None = None,
    ) -> Any:
        """Loss and metrics on a data set; see `Sequential.evaluate`."""
        verbose = _validation.verbosity(verbose)
        with self._shared("evaluate", distribute):
            x = in_shares(self._ranks, x)
            source = self._binder.evaluation(x, y, sample_weight, batch_size, steps)
            self._shake_hands({"data": _sizes(source)}, source)
            with self._listening(callbacks, _params(verbose, *_sizes(source))) as listeners:
                logs = self._evaluate(source, listeners)
        return self._result(logs, return_dict)

    def test_on_batch(
        self, x: object, y: object, sample_weight: object = None, return_dict: bool = False
    ) -> Any:
        """Loss and metrics of one batch; see `Sequential.test_on_batch`."""
        arrays = self._binder.arrays(x, y, sample_weight)
        result = self._evaluate_step(arrays, None)
        means = RunningMeans(objective_of(self.model))
        means.add(result, len(arrays))
        return self._result(means.logs(), return_dict)

    def inspect_on_batch(
        self, x: object, y: object, sample_weight: object = None
    ) -> tuple[Inspection, StepResult]:
        """Gradients of the loss to everything, and the loss; see `gridnn.inspect.gradients`."""
        arrays = self._binder.arrays(x, y, sample_weight)
        network, objective = self.model.network, objective_of(self.model)
        custom = ObjectiveCalls.of(objective, arrays, None, network)
        inspection, result = network.inspect_loss(arrays.x, arrays.engine_targets(), custom)
        return inspection, result if custom is None else custom.complete(result)

    def _evaluate(self, source: Source, listeners: CallbackList) -> Logs:
        model = self.model
        means: RunningMeans | None = None
        check = self._batch_check(source.is_foreign)
        listeners.on_test_begin({})
        for step, (arrays, indices, size) in enumerate(source.batches(0)):
            if check is not None:
                check.add(arrays)
            listeners.on_test_batch_begin(step, {})
            means = means or RunningMeans(objective_of(model))
            self._note(step, size)
            result = self._evaluate_step(arrays, indices)
            means.add(result, size)
            listeners.on_test_batch_end(step, means.logs())
        if check is not None:
            check.compare()
        logs = {} if means is None else means.logs()
        listeners.on_test_end(logs)
        return logs

    # Prediction

    def predict(
        self,
        x: object,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: Callbacks = None,
        *,
        distribute: Ranks | None = None,
    ) -> Any:
        """The outputs for a data set; see `Sequential.predict`."""
        with self._shared("predict", distribute):
            x = in_shares(self._ranks, x)
            steps = optional_count(steps, "steps")
            verbose = _validation.verbosity(verbose)
            if verbose == "auto" and not has_live_display():
                verbose = 0  # a line per prediction would say nothing in a log
            names = self.model.input_names
            if is_batches(x, inputs=len(names)):
                if batch_size is not None:
                    raise ValueError("`batch_size` cannot be given when `x` yields batches itself.")
                self._shake_hands({"inputs": "batches"})
                parts = ((arrays, max(len(arrays[0]), 1), 1) for arrays in self._batches_to_predict(x, steps))
                return self._predict_parts(parts, _params(verbose, steps), callbacks)
            size = batch_size_or_default(batch_size)
            arrays = self._binder.inputs(x)
            if steps is not None:
                arrays = tuple(array[: steps * size] for array in arrays)
            samples = len(arrays[0])
            self._shake_hands({"batch_size": size}, inputs=arrays)
            total = max(-(-samples // size), 1)
            # In one call if nobody watches: the engine then spreads the whole range over its threads at once.
            # Ranks make the same calls, watched or not.
            watched = (verbose or callbacks) and self._ranks is None
            stride = -(-total // _PREDICT_UPDATES) if watched else total
            parts = (
                (
                    tuple(array[first * size : (first + stride) * size] for array in arrays),
                    size,
                    min(stride, total - first),
                )
                for first in range(0, total, stride)
            )
            return self._predict_parts(parts, _params(verbose, total, samples, size), callbacks)

    def _predict_parts(
        self,
        parts: Iterable[tuple[tuple[NDArray[Any], ...], int, int]],
        params: dict[str, Any],
        callbacks: Callbacks,
    ) -> Any:
        """Predicts ``(rows of the inputs, batch size, number of batches)`` one after the other."""
        outputs: list[list[NDArray[Any]]] = []
        done = 0
        with self._listening(callbacks, params) as listeners:
            listeners.on_predict_begin({})
            for rows, batch_size, batches in parts:
                listeners.on_predict_batch_begin(done, {})
                self._note(len(rows[0]), batch_size)
                outputs.append(self.model.network.predict(rows, batch_size, self._ranks))
                done += batches
                listeners.on_predict_batch_end(done - 1, {})
            listeners.on_predict_end({})
        if not outputs:
            raise ValueError("`x` gave no batch to predict.")
        each = (
            outputs[0]
            if len(outputs) == 1
            else [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
        )
        return self.model.packed(each)

    def _batches_to_predict(self, x: Any, steps: int | None) -> Iterator[tuple[NDArray[Any], ...]]:
        """The inputs of at most `steps` batches of an iterable."""
        check = self._batch_check(is_foreign(x))
        for step, item in enumerate(_validation.iterated(x)):
            with in_batch("x", step):
                if len(self.model.input_names) > 1:
                    # A tuple holds targets as well, or the inputs alone.
                    alone = isinstance(item, tuple) and isinstance(item[0], (tuple, list, Mapping))
                    arrays = self._binder.inputs(item[0] if alone else item)
                else:
                    known = self.model.network.input_shape if self.model.built else None
                    arrays = self._binder.inputs(inputs_of(item, known))
            if check is not None:
                check.add(arrays)
            yield arrays
            if steps is not None and step + 1 >= steps:
                break
        if check is not None:
            check.compare()

    def _result(self, logs: Logs, return_dict: bool) -> Any:
        """Logs as Keras returns them: a dict on request, else the loss alone or a list."""
        if return_dict:
            return NamedResults(logs)
        return next(iter(logs.values())) if len(logs) == 1 else Results(logs)

    def _seed_of_run(self, given: int | None, initial_epoch: int) -> int:
        """The seed that was given; else that of the run which `initial_epoch` continues, or a new one."""
        seed = given
        if seed is None:
            progress = self.model.training_state.progress
            continues = initial_epoch and initial_epoch == progress.epoch
            seed = progress.seed if continues and progress.seed is not None else next_seed()
        if self._ranks is None:
            return seed
        # With a seed, too: all ranks have to make the same exchanges, and some may not have been given one.
        of_first = int(self._ranks.values(seed)[0])
        return of_first if given is None else given

    def _record_to_continue(self, initial_epoch: int, seed: int | None) -> Record | None:
        """Where the run was that `initial_epoch` continues, if the model comes from a file written within it.

        A run that a callback had ended is over: what follows is another one.
        """
        record, progress = self.model.training_state.record, self.model.training_state.progress
        continues = initial_epoch and initial_epoch == progress.epoch and seed in (None, progress.seed)
        return record if continues and record is not None and not record.stopped else None


def _is_child() -> bool:
    """Whether a process of Python has started this one, as joblib does: it was not launched as a rank.

    To import `multiprocessing` takes longer than all of gridnn; a child has it.
    """
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def _sizes(source: Source) -> tuple[int | None, int | None, int | None]:
    """Steps, samples and batch size, as far as they are known."""
    return source.steps, source.samples, source.batch_size


def _params(
    verbose: str | int, steps: int | None, samples: int | None = None, batch_size: int | None = None
) -> dict[str, Any]:
    """What callbacks are told about the run."""
    return {"verbose": verbose, "epochs": 1, "steps": steps, "samples": samples, "batch_size": batch_size}


def _validation_rule(validation_freq: object) -> Callable[[int], bool]:
    """Whether to validate after an epoch, counted from 0; the argument counts from 1, as Keras' does."""
    if isinstance(validation_freq, (list, tuple, set, range)):
        chosen = {_validation.positive_integer(epoch, "validation_freq") for epoch in validation_freq}
        return lambda epoch: epoch + 1 in chosen
    every = _validation.positive_integer(validation_freq, "validation_freq")
    return lambda epoch: (epoch + 1) % every == 0
