"""Callbacks that watch values, and those that write files."""

import csv
import errno
import os
from pathlib import Path

import numpy as np
import pytest

import gridnn as gn
from gridnn import callbacks, layers, optimizers

pytestmark = pytest.mark.one_tier


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def fitted(callback, rng, *, epochs=4, seed=3, **options):
    model = gn.Sequential([gn.Input((4,)), layers.Dropout(0.2), layers.Dense(3)], seed=1)
    model.compile(
        options.pop("optimizer", optimizers.Adam(0.1)), "sparse_categorical_crossentropy", ["accuracy"]
    )
    x, y = rng.normal(size=(24, 4)), rng.integers(0, 3, size=24)
    history = model.fit(
        x, y, batch_size=8, epochs=epochs, verbose=0, callbacks=callback, seed=seed, **options
    )
    return model, history


class Dictate(callbacks.Callback):
    """Replaces a value of the logs, so that tests know it."""

    def __init__(self, values, name="val_loss"):
        super().__init__()
        self.values, self.name = values, name

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]


@pytest.mark.parametrize(
    ("values", "options", "last"),
    [
        ([3, 2, 1, 1, 1, 1], {}, 3),
        ([3, 2, 1, 1, 1, 1], {"patience": 2}, 4),
        ([3, 2, 1, 0.95, 0.9, 0.5], {"patience": 1, "min_delta": 0.2}, 3),
        ([3, 4, 5, 6, 6, 7], {"mode": "max"}, 4),
        ([1, 2, 3, 4, 5, 6], {"start_from_epoch": 3}, 4),
        ([5, 4, 3.5, 3.2, 3.1, 1], {"baseline": 3, "patience": 4}, 5),
        ([5, 4, 3.5, 3.2, 3.1, 4], {"baseline": 3, "patience": 3}, 5),
        ([1.0, float("nan"), 3, 4, 5, 6], {}, 1),
    ],
)
def test_early_stopping(values, options, last, rng):
    stopping = callbacks.EarlyStopping(**options)
    _, history = fitted([Dictate(values), stopping], rng, epochs=6)
    assert history.epoch[-1] == last
    assert stopping.stopped_epoch == (last if last < 5 else stopping.stopped_epoch)


def test_early_stopping_restores_the_best_weights(rng):
    seen = []
    keep = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(stopping.model.get_weights())
    )
    stopping = callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    model, history = fitted([Dictate([3, 1, 2, 2, 2, 2]), stopping, keep], rng, epochs=6)
    assert history.epoch[-1] == 3
    assert stopping.best_epoch == 1
    for got, want in zip(model.get_weights(), seen[1], strict=True):
        np.testing.assert_array_equal(got, want)


def test_missing_values_are_warned_of(rng):
    for callback in (callbacks.EarlyStopping(), callbacks.ReduceLROnPlateau()):
        with pytest.warns(UserWarning, match="val_loss"):
            fitted(callback, rng, epochs=1)


def test_reduce_learning_rate_on_plateau(rng):
    plateau = callbacks.ReduceLROnPlateau(factor=0.5, patience=1, cooldown=1, min_lr=0.03)
    _, history = fitted([Dictate([3, 3, 3, 3, 3, 3, 3]), plateau], rng, epochs=7)
    assert history.history["learning_rate"] == [0.1, 0.1, 0.05, 0.03, 0.03, 0.03, 0.03]
    planned = optimizers.Adam(gn.schedules.CosineDecay(0.1, 10))
    plateau = callbacks.ReduceLROnPlateau(patience=0)
    with pytest.raises(TypeError, match="not settable"):
        fitted([Dictate([3, 3, 3]), plateau], rng, epochs=3, optimizer=planned)


def test_learning_rate_scheduler(rng):
    scheduler = callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2 if epoch else rate)
    model, history = fitted(scheduler, rng, epochs=3)
    assert history.history["learning_rate"] == [0.1, 0.05, 0.025]
    assert model.optimizer.learning_rate == 0.025


def test_terminate_on_nan(rng, capsys):
    broken = callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: (
            guard.model.set_weights([np.full_like(w, np.nan) for w in guard.model.get_weights()])
            if batch == 2
            else None
        )
    )
    guard = callbacks.TerminateOnNaN()
    _, history = fitted([broken, guard], rng)
    assert history.epoch == [0]
    assert np.isfinite(history.history["loss"][0])
    assert "Invalid loss" in capsys.readouterr().out
    guard = callbacks.TerminateOnNaN(raise_error=True)
    with pytest.raises(gn.errors.NonFiniteError):
        fitted([broken, guard], rng)


def test_terminate_on_nan_in_the_first_step(rng):
    """No batch has counted: there is no loss, and no metric has counts."""
    x, y = rng.normal(size=(8, 4)) * 1e30, rng.integers(0, 3, 8)
    model = gn.Sequential([gn.Input((4,)), layers.Dense(3), layers.Dense(3)], seed=0)
    model.compile(gn.optimizers.SGD(1e20), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(
        x, y, epochs=3, validation_data=(x, y), callbacks=callbacks.TerminateOnNaN(), verbose=0
    )
    assert history.epoch == [0]
    assert np.isnan([history.history["loss"], history.history["accuracy"]]).all()


def test_model_checkpoint(rng, tmp_path):
    path = tmp_path / "deep" / "m-{epoch:02d}-{val_loss:.1f}.gridnn"
    best = callbacks.ModelCheckpoint(path, save_best_only=True)
    model, _ = fitted([Dictate([3, 1, 2, 0.5]), best], rng)
    names = sorted(file.name for file in path.parent.iterdir())
    assert names == ["m-01-3.0.gridnn", "m-02-1.0.gridnn", "m-04-0.5.gridnn"]
    again = gn.load_model(path.parent / names[-1])
    assert [w.tobytes() for w in again.get_weights()] == [w.tobytes() for w in model.get_weights()]
    weights = callbacks.ModelCheckpoint(tmp_path / "w-{epoch}-{batch}", save_weights_only=True, save_freq=2)
    fitted(weights, rng, epochs=2)
    assert sorted(file.name for file in tmp_path.glob("w-*")) == ["w-1-2", "w-2-1", "w-2-3"]
    with pytest.raises(KeyError, match="val_auc"):
        fitted(callbacks.ModelCheckpoint(tmp_path / "{val_auc}"), rng, epochs=1)


def test_backup_and_restore_continues_to_the_byte(tmp_path):
    class Die(callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise RuntimeError("power cut")

    folder = tmp_path / "backup"
    backup = callbacks.BackupAndRestore(folder)
    with pytest.raises(RuntimeError, match="power cut"):
        fitted([backup, Die()], np.random.default_rng(1), seed=None)
    assert (folder / "latest.gridnn").exists()
    seed = callbacks.BackupAndRestore(folder).progress()[1]
    continued, history = fitted(callbacks.BackupAndRestore(folder), np.random.default_rng(1), seed=None)
    assert history.epoch == [0, 1, 2, 3]
    assert not folder.exists()
    whole, _ = fitted(None, np.random.default_rng(1), seed=seed)
    assert [w.tobytes() for w in continued.get_weights()] == [w.tobytes() for w in whole.get_weights()]


def test_backup_of_another_model_is_refused(rng, tmp_path):
    backup = callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
    fitted(backup, rng, epochs=1)
    with pytest.raises(gn.errors.FileFormatError, match="Adam"):
        fitted(backup, rng, optimizer="sgd")


@pytest.mark.parametrize("place", ["link", "mount"])
def test_a_folder_of_backups_that_cannot_go_does_not_end_a_training(place, rng, tmp_path, monkeypatch):
    folder = tmp_path / "backup"
    (tmp_path / "elsewhere").mkdir()
    if place == "link":
        folder.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    else:

        def busy(path):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))

        monkeypatch.setattr(Path, "rmdir", busy)
    _, history = fitted(callbacks.BackupAndRestore(folder), rng, epochs=2)
    assert history.epoch == [0, 1]
    assert folder.is_dir()
    assert not list(folder.iterdir())


@pytest.mark.parametrize("given", [callbacks.EarlyStopping, 3, object()])
def test_what_is_no_callback_is_named(given, rng):
    with pytest.raises(TypeError, match=r"`callbacks` must be an instance"):
        fitted(given, rng)


def test_csv_logger(rng, tmp_path):
    logger = callbacks.CSVLogger(tmp_path / "log.csv", separator=";")
    _, history = fitted(logger, rng, epochs=2)
    fitted(callbacks.CSVLogger(tmp_path / "log.csv", ";", append=True), rng, epochs=1)
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    assert [row["epoch"] for row in rows] == ["0", "1", "0"]
    assert [float(row["loss"]) for row in rows[:2]] == history.history["loss"]
    assert rows[0]["val_loss"] == "NA"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted on Linux")
def test_csv_logger_leaves_no_file_open_behind_an_error(rng, tmp_path):
    def fail(epoch, logs):
        raise RuntimeError("enough")

    logger = callbacks.CSVLogger(tmp_path / "log.csv")
    with pytest.raises(RuntimeError, match="enough"):
        fitted([logger, callbacks.LambdaCallback(on_epoch_end=fail)], rng, epochs=2)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 2
    opened = {os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")}
    assert str(tmp_path / "log.csv") not in opened


def test_tensorboard(rng, tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    board = callbacks.TensorBoard(tmp_path, histogram_freq=1, update_freq="batch")
    fitted(board, rng, epochs=2, validation_split=0.5)
    assert {path.name for path in tmp_path.iterdir()} == {"train", "validation"}
    assert all(any(folder.iterdir()) for folder in tmp_path.iterdir())


def test_tensorboard_names_what_is_missing(rng, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install 'gridnn\[tensorboard\]'"):
        fitted(callbacks.TensorBoard(tmp_path), rng)


@pytest.mark.parametrize(
    "make",
    [
        lambda: callbacks.EarlyStopping(mode="up"),
        lambda: callbacks.EarlyStopping(patience=-1),
        lambda: callbacks.ReduceLROnPlateau(factor=1.0),
        lambda: callbacks.ModelCheckpoint("x", save_freq=0),
        lambda: callbacks.BackupAndRestore(""),
        lambda: callbacks.TensorBoard(update_freq="never"),
    ],
)
def test_bad_values(make):
    with pytest.raises(ValueError):
        make()
