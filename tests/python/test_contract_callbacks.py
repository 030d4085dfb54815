"""What every callback must do; a new one adds its row here. What each does by itself: test_callbacks*.py."""

import copy
import json
import pickle

import numpy as np
import pytest
from test_contract_threads import front, threads

import gridnn as gn
from gridnn import callbacks

pytestmark = pytest.mark.one_tier


@pytest.fixture
def tmp_path(folder_in_memory):
    # Backups of every batch: on a disk, most of the time went to `fsync`.
    return folder_in_memory


def halve(epoch, rate):
    return rate / (1 + epoch)


def nothing(*_):
    """A hook of no effect, which pickle finds."""


class Trial:
    """A trial of Optuna, as far as the callback asks it; against a study it is tried in estimators."""

    def report(self, value, step):
        """Nobody keeps it."""

    def should_prune(self):
        return False


CALLBACKS = {
    callbacks.BackupAndRestore: lambda folder: callbacks.BackupAndRestore(folder / "backup"),
    callbacks.CSVLogger: lambda folder: callbacks.CSVLogger(folder / "log.csv"),
    callbacks.EarlyStopping: lambda _: callbacks.EarlyStopping(
        "loss", min_delta=1e6, patience=1, restore_best_weights=True
    ),
    callbacks.History: lambda _: callbacks.History(),
    callbacks.LambdaCallback: lambda _: callbacks.LambdaCallback(on_epoch_end=nothing),
    callbacks.LearningRateScheduler: lambda _: callbacks.LearningRateScheduler(halve),
    callbacks.ModelCheckpoint: lambda folder: callbacks.ModelCheckpoint(
        folder / "best.gridnn", monitor="loss", save_best_only=True
    ),
    callbacks.OptunaPruning: lambda _: callbacks.OptunaPruning(Trial()),
    callbacks.ProgbarLogger: lambda _: callbacks.ProgbarLogger(),
    callbacks.ReduceLROnPlateau: lambda _: callbacks.ReduceLROnPlateau("loss", min_delta=1e6, patience=1),
    callbacks.SwapEMAWeights: lambda _: callbacks.SwapEMAWeights(swap_on_epoch=True),
    callbacks.TensorBoard: lambda folder: callbacks.TensorBoard(folder / "logs"),
    callbacks.TerminateOnNaN: lambda _: callbacks.TerminateOnNaN(),
}
ACTING = (callbacks.EarlyStopping, callbacks.LearningRateScheduler, callbacks.ReduceLROnPlateau)
each_callback = pytest.mark.parametrize("cls", CALLBACKS, ids=lambda cls: cls.__name__)


def make(cls, folder):
    if cls is callbacks.TensorBoard:
        pytest.importorskip("tensorboardX")
    if cls is callbacks.OptunaPruning:
        pytest.importorskip("optuna")
    return CALLBACKS[cls](folder)


def fitted(chosen, count=2, epochs=4, model=None, ema=False, **more):
    stack, x = front((3,))
    if model is None:
        model = gn.Sequential(stack, seed=4)
        ema = ema or any(isinstance(callback, callbacks.SwapEMAWeights) for callback in chosen)
        model.compile(gn.optimizers.Adam(0.01, use_ema=ema), "ce", metrics=["accuracy"])
    with threads(count):
        history = model.fit(
            x, np.arange(len(x)) % 3, 8, epochs, 0, chosen, validation_split=0.25, seed=6, **more
        )
    return model, history.history


def weights(model):
    return [w.tobytes() for w in model.get_weights()]


def test_every_callback_has_a_case():
    named = {getattr(callbacks, name) for name in callbacks.__all__}
    own = {cls for cls in named if isinstance(cls, type) and issubclass(cls, callbacks.Callback)}
    assert own - {callbacks.Callback, callbacks.CallbackList} == set(CALLBACKS)


@each_callback
def test_it_acts_the_same_for_any_number_of_threads(cls, tmp_path):
    results = []
    for count in (1, 3):
        folder = tmp_path / str(count)
        folder.mkdir()
        model, history = fitted([make(cls, folder)], count)
        results.append((weights(model), repr(history)))
    assert results[0] == results[1]
    plain, _ = fitted([], ema=cls is callbacks.SwapEMAWeights)
    assert (weights(plain) != results[0][0]) == (cls in ACTING)


@each_callback
def test_copies_act_like_it(cls, tmp_path):
    results = []
    for number, copied in enumerate((lambda c: c, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c)))):
        callback = make(cls, tmp_path)
        for left in tmp_path.glob("*"):
            if left.is_file():
                left.unlink()
        model, history = fitted([copied(callback)])
        results.append((weights(model), repr(history)))
        assert results[number] == results[0]


@each_callback
def test_one_that_was_used_serves_again(cls, tmp_path):
    callback = make(cls, tmp_path)
    first = fitted([callback])
    again = fitted([callback])
    if cls is not callbacks.ModelCheckpoint:  # it goes on comparing with the best so far
        assert repr(again[1]) == repr(first[1])
    assert weights(again[0]) == weights(first[0])


@each_callback
def test_training_continues_to_the_byte_beside_it(cls, tmp_path):
    if cls in (callbacks.EarlyStopping, callbacks.ReduceLROnPlateau, callbacks.LearningRateScheduler):
        pytest.skip("its decisions depend on the epochs that it has seen")
    if cls is callbacks.SwapEMAWeights:
        pytest.skip("with a moving average, fit ends with that in the weights' place")
    whole, _ = fitted([make(cls, tmp_path)])
    half, _ = fitted([make(cls, tmp_path)], epochs=2)
    half.save(tmp_path / "half")
    rest, _ = fitted([make(cls, tmp_path)], model=gn.load_model(tmp_path / "half"), initial_epoch=2)
    assert weights(rest) == weights(whole)


@each_callback
@pytest.mark.parametrize("batch", [None, 1])
def test_a_run_that_was_interrupted_goes_on_to_the_byte_beside_it(cls, batch, tmp_path):
    """One that remembers something says so in `state`."""

    class Cut(callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_end(self, step, logs=None):
            if self.epoch == 1 and step == (batch or 0):
                raise RuntimeError("power cut")

    def results(folder, *more):
        folder.mkdir(exist_ok=True)
        backup = callbacks.BackupAndRestore(folder / "kept", "epoch" if batch is None else 1)
        model, history = fitted([backup, make(cls, folder), *more])
        return weights(model), repr(history), model.optimizer.learning_rate

    whole = results(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="power cut"):
        results(tmp_path / "cut", Cut())
    assert results(tmp_path / "cut") == whole


def test_a_log_holds_plain_numbers(tmp_path):
    _, history = fitted(
        [make(callbacks.CSVLogger, tmp_path), make(callbacks.LearningRateScheduler, tmp_path)]
    )
    assert json.loads(json.dumps(history)) == history
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 5
