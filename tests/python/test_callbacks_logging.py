"""What callbacks that write do with logs: any value, columns that change, runs at the same time."""

import csv
import os
import sys
import types

import numpy as np
import pytest

import gridnn as gn
from gridnn import callbacks, layers

pytestmark = pytest.mark.one_tier

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(12, 3)).astype(np.float32), RNG.integers(0, 2, size=12)


def make():
    model = gn.Sequential([gn.Input((3,)), layers.Dense(2)], seed=1)
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return model


def fit(chosen, epochs=2, model=None, verbose=0, **more):
    model = model or make()
    return model.fit(X, Y, batch_size=4, epochs=epochs, verbose=verbose, callbacks=chosen, seed=2, **more)


class Put(callbacks.Callback):
    """Adds to the logs of batches and epochs; of epochs what belongs to them."""

    def __init__(self, **values):
        super().__init__()
        self.values = values

    def on_train_batch_end(self, batch, logs=None):
        logs.update({name: value for name, value in self.values.items() if not callable(value)})

    def on_epoch_end(self, epoch, logs=None):
        for name, value in self.values.items():
            chosen = value(epoch) if callable(value) else value
            if chosen is not ...:
                logs[name] = chosen


def rows(path, separator=","):
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter=separator))


# Any value

LOOP = []
LOOP.append(LOOP)
ANYTHING = {
    "loop": LOOP,
    "text": "so, so\nand so",
    "array": np.arange(100.0).reshape(10, 10),
    "one": np.array([0.5]),
    "nothing": None,
    "list": [1, "a"],
    "none": [],
    "flag": True,
    "whole": 3,
    "beyond": 10**400,
    "single": np.float32(0.25),
    "nan": float("nan"),
    "object": object(),
    "bytes": b"x",
    "complex": 1j,
    "{odd}": "name",
}


@pytest.fixture
def board(monkeypatch):
    """A stand-in for tensorboardX that notes what it is given."""
    made = []

    class SummaryWriter:
        def __init__(self, folder, filename_suffix=""):
            made.append(self)
            self.folder, self.suffix, self.scalars = folder, filename_suffix, []

        def add_scalar(self, name, value, step):
            assert type(value) is float
            self.scalars.append((name, value, step))

        def add_histogram(self, *_):
            pass

        def flush(self):
            pass

        close = flush

    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=SummaryWriter))
    return made


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_logs_may_hold_anything(tmp_path, verbose, capsys, board):
    chosen = [
        Put(**ANYTHING),
        callbacks.CSVLogger(tmp_path / "log.csv"),
        callbacks.TensorBoard(tmp_path / "board", update_freq="batch"),
        callbacks.ModelCheckpoint(tmp_path / "m-{epoch}-{text:.2f}-{nothing:d}-{whole:03d}"),
        callbacks.ModelCheckpoint(tmp_path / "b-{batch}", save_freq=2),
        callbacks.BackupAndRestore(tmp_path / "backup", save_freq=1),
        callbacks.EarlyStopping("loss", patience=9),
        callbacks.ReduceLROnPlateau("loss", patience=9),
        callbacks.TerminateOnNaN(),
        callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None),
    ]
    history = fit(chosen, verbose=verbose)
    assert history.epoch == [0, 1]
    assert history.history["text"] == [ANYTHING["text"]] * 2
    assert history.history["array"][1] is ANYTHING["array"]
    lines = rows(tmp_path / "log.csv")
    assert [line["epoch"] for line in lines] == ["0", "1"]
    assert lines[0]["text"] == ANYTHING["text"]
    assert lines[0]["nothing"] == "NA"
    assert lines[1]["single"] == "0.25"
    assert lines[1]["list"] == "[1, 'a']"
    assert (tmp_path / "m-2-so, so\nand so-None-003").exists()
    values = {name: value for name, value, _ in board[0].scalars if name.startswith("epoch_")}
    assert values["epoch_one"] == 0.5
    assert values["epoch_flag"] == 1.0
    assert "epoch_text" not in values
    assert "epoch_array" not in values
    if verbose:
        out = capsys.readouterr().out
        assert "text so, so and so" in out
        assert out.count("\n") == 2


def test_a_loss_that_is_no_number_does_not_end_training():
    assert fit([Put(loss="much"), callbacks.TerminateOnNaN()]).epoch == [0, 1]


def test_a_report_of_anything(tmp_path):
    pytest.importorskip("matplotlib")
    model = make()
    fit([Put(**ANYTHING)], model=model)
    model.report(tmp_path / "run.html")
    assert "accuracy" in (tmp_path / "run.html").read_text()


def test_fields_of_file_names_are_checked_for_numbers(tmp_path):
    with pytest.raises(ValueError, match="Unknown format code"):
        fit([callbacks.ModelCheckpoint(tmp_path / "{epoch:zz}")])


# Standard output


class WriteOnly:
    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text


class Closed(WriteOnly):
    def isatty(self):
        raise ValueError("I/O operation on closed file")

    flush = None


class NotAsked(WriteOnly):
    isatty = True


@pytest.mark.parametrize("kind", [WriteOnly, Closed, NotAsked])
@pytest.mark.parametrize("verbose", ["auto", 1, 2])
def test_a_stdout_that_can_only_write(monkeypatch, kind, verbose):
    screen = kind()
    monkeypatch.setattr(sys, "stdout", screen)
    model = make()
    fit([], verbose=verbose, model=model)
    model.evaluate(X, Y, verbose=verbose)
    model.predict(X, verbose=verbose)
    assert "Epoch 2/2" in screen.text
    assert "Evaluate" in screen.text


@pytest.mark.parametrize("stdout", [None, object()])
def test_a_stdout_that_cannot_even_write(monkeypatch, stdout):
    monkeypatch.setattr(sys, "stdout", stdout)
    assert fit([], verbose=1).epoch == [0, 1]


# Tables


def test_added_lines_go_under_their_own_columns(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("epoch,val_loss,zebra,accuracy\n0,0.5,7,0.25\n")
    fit([Put(extra=9.5), callbacks.CSVLogger(path, append=True)], epochs=1)
    old, new = rows(path)
    assert [old[name] for name in ("epoch", "val_loss", "zebra", "accuracy", "loss", "extra")] == [
        *("0", "0.5", "7", "0.25", "NA", "NA")
    ]
    assert [new[name] for name in ("epoch", "val_loss", "zebra", "extra")] == ["0", "NA", "NA", "9.5"]
    assert 0 <= float(new["accuracy"]) <= 1
    before = path.read_text()
    fit([callbacks.CSVLogger(path, append=True)], epochs=1)
    assert path.read_text().startswith(before)
    assert {tuple(line) for line in rows(path)} == {tuple(new)}


def test_columns_that_come_later(tmp_path):
    path = tmp_path / "log.csv"
    late = Put(late=lambda epoch: 7 + epoch if epoch > 1 else ..., early=lambda epoch: ... if epoch else "x")
    history = fit(
        [late, callbacks.CSVLogger(path)], epochs=4, validation_data=(X, Y), validation_freq=2
    ).history
    lines = rows(path)
    assert [line["late"] for line in lines] == ["NA", "NA", "9", "10"]
    assert [line["early"] for line in lines] == ["x", "NA", "NA", "NA"]
    assert [line["val_loss"] for line in lines][::2] == ["NA", "NA"]
    assert [float(line["loss"]) for line in lines] == history["loss"]


@pytest.mark.parametrize(
    "text", ["loss;acc\n1;2\n", "epoch;loss\n0;1\n", "hello\n", "\ufeffepoch,loss\n0,1\n"]
)
def test_lines_are_not_added_to_another_kind_of_file(tmp_path, text):
    path = tmp_path / "log.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"CSVLogger cannot add to .*log\.csv"):
        fit([callbacks.CSVLogger(path, append=True)])
    assert path.read_text(encoding="utf-8") == text


def test_going_on_keeps_the_lines_before(tmp_path):
    path = tmp_path / "log.csv"
    model = make()
    fit([callbacks.CSVLogger(path)], epochs=3, model=model)
    before = path.read_text()
    fit([callbacks.CSVLogger(path)], epochs=5, model=model, initial_epoch=3)
    assert path.read_text().startswith(before)
    assert [line["epoch"] for line in rows(path)] == ["0", "1", "2", "3", "4"]
    # Epochs that are done again replace theirs.
    fit([callbacks.CSVLogger(path)], epochs=3, model=model, initial_epoch=2)
    assert [line["epoch"] for line in rows(path)] == ["0", "1", "2"]
    fit([callbacks.CSVLogger(path)], epochs=1)
    assert [line["epoch"] for line in rows(path)] == ["0"]
    path.write_text("something else\n" * 3)
    fit([callbacks.CSVLogger(path)], epochs=2, model=model, initial_epoch=1)
    assert [line["epoch"] for line in rows(path)] == ["1"]


def test_a_backup_does_not_remove_the_lines_of_runs_before(tmp_path):
    path = tmp_path / "log.csv"

    def chosen():
        return [callbacks.CSVLogger(path, append=True), callbacks.BackupAndRestore(tmp_path / "backup")]

    fit(chosen(), epochs=2)

    def cut(epoch, logs):
        if epoch == 1:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fit([*chosen(), callbacks.LambdaCallback(on_epoch_end=cut)], epochs=3)
    assert [line["epoch"] for line in rows(path)] == ["0", "1", "0", "1"]
    fit(chosen(), epochs=3)
    assert [line["epoch"] for line in rows(path)] == ["0", "1", "0", "1", "2"]
    assert len({line["loss"] for line in rows(path)}) == 3


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="there are no links")
def test_links_and_devices_stay_what_they_are(tmp_path):
    (tmp_path / "real.csv").write_text("epoch,zebra\n0,1\n")
    (tmp_path / "real.csv").chmod(0o640)
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    fit([callbacks.CSVLogger(tmp_path / "link.csv", append=True)], epochs=1)
    assert (tmp_path / "link.csv").is_symlink()
    assert len(rows(tmp_path / "real.csv")) == 2
    assert (tmp_path / "real.csv").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    late = Put(late=lambda epoch: 7 if epoch else ...)
    fit([late, callbacks.CSVLogger(os.devnull)])
    assert not os.path.isfile(os.devnull)


# TensorBoard


def test_boards_of_the_same_second_are_different_files(tmp_path, board):
    for _ in range(3):
        fit([callbacks.TensorBoard(tmp_path)], validation_data=(X, Y))
    assert len({(writer.folder, writer.suffix) for writer in board}) == 6


def test_boards_of_the_same_second(tmp_path):
    package = pytest.importorskip("tensorboardX")
    for _ in range(3):
        fit([callbacks.TensorBoard(tmp_path)], epochs=1)
    files = list((tmp_path / "train").iterdir())
    assert len(files) == 3
    assert all("tfevents" in file.name for file in files)
    assert package.__name__
