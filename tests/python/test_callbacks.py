import io
import re
import sys
import time

import numpy as np
import pytest

import gridnn as gn
from gridnn import callbacks, layers

pytestmark = pytest.mark.one_tier


@pytest.fixture
def model():
    model = gn.Sequential([gn.Input((2,)), layers.Dense(3)], seed=0)
    model.compile("sgd", "ce", metrics=["accuracy"])
    return model


X, Y = np.ones((10, 2), np.float32), np.arange(10) % 3


class Recorder(callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.calls = []


def _record(name):
    def method(self, *args):
        self.calls.append((name, *args))

    return method


for _name in callbacks.base.HOOKS:
    if _name not in ("on_batch_begin", "on_batch_end"):
        setattr(Recorder, _name, _record(_name))


def test_order_of_calls(model):
    recorder = Recorder()
    model.fit(X, Y, batch_size=5, epochs=1, validation_data=(X[:2], Y[:2]), callbacks=[recorder], verbose=0)
    assert [call[0] for call in recorder.calls] == [
        "on_train_begin",
        "on_epoch_begin",
        "on_train_batch_begin",
        "on_train_batch_end",
        "on_train_batch_begin",
        "on_train_batch_end",
        "on_test_begin",
        "on_test_batch_begin",
        "on_test_batch_end",
        "on_test_end",
        "on_epoch_end",
        "on_train_end",
    ]
    assert [call[1] for call in recorder.calls if call[0] == "on_train_batch_end"] == [0, 1]
    assert set(recorder.calls[5][2]) == {"loss", "accuracy"}
    assert set(recorder.calls[-2][2]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert recorder.calls[-1][1] == recorder.calls[-2][2]
    assert recorder.model is model
    assert recorder.params == {"verbose": 0, "epochs": 1, "steps": 2, "samples": 10, "batch_size": 5}


def test_calls_of_evaluate_and_predict(model):
    recorder = Recorder()
    model.evaluate(X, Y, batch_size=10, callbacks=[recorder], verbose=0)
    gn.Trainer(model).predict(X, batch_size=10, callbacks=recorder, verbose=0)
    assert [call[0] for call in recorder.calls] == [
        "on_test_begin",
        "on_test_batch_begin",
        "on_test_batch_end",
        "on_test_end",
        "on_predict_begin",
        "on_predict_batch_begin",
        "on_predict_batch_end",
        "on_predict_end",
    ]


def test_batch_aliases(model):
    seen = []
    alias = callbacks.LambdaCallback(on_batch_begin=lambda batch, logs: seen.append(batch))
    model.fit(X, Y, batch_size=5, callbacks=alias, verbose=0)
    assert seen == [0, 1]


def test_lambda_callback_checks_its_functions():
    with pytest.raises(TypeError, match="on_epoch"):
        callbacks.LambdaCallback(on_epoch=print)
    with pytest.raises(TypeError, match="must be a function"):
        callbacks.LambdaCallback(on_epoch_end=3)
    callbacks.LambdaCallback(on_epoch_end=None).on_epoch_end(0, {})


def test_stop_training(model):
    class Stop(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    history = model.fit(X, Y, epochs=5, callbacks=[Stop()], verbose=0)
    assert history.epoch == [0, 1]

    class StopAtOnce(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    before = model.network.iterations
    model.fit(X, Y, batch_size=2, epochs=5, callbacks=[StopAtOnce()], verbose=0)
    assert model.network.iterations == before + 1


def test_learning_rate_set_between_epochs(model):
    frozen = callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setattr(model.optimizer, "learning_rate", 0.0 if epoch else 0.1)
    )
    start = model.get_weights()[0]
    model.fit(X, Y, epochs=1, callbacks=frozen, verbose=0)
    one = model.get_weights()[0]
    assert not np.array_equal(one, start)
    model.fit(X, Y, epochs=3, initial_epoch=1, callbacks=frozen, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], one)


def test_own_history_and_progress_line_are_used(model, capsys):
    history, line = callbacks.History(), callbacks.ProgbarLogger()
    assert model.fit(X, Y, callbacks=[history, line], verbose=2) is history
    assert model.history is history
    assert capsys.readouterr().out.count("\n") == 1


def test_one_line_an_epoch_without_a_terminal(model, capsys):
    model.fit(X, Y, epochs=2, validation_split=0.2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    values = r"loss \S+  accuracy \S+  val_loss \S+  val_accuracy \S+"
    for line in lines:
        assert re.match(rf"Epoch \d/2  .*{values}  [\d,]+ samples/s$", line)
    model.evaluate(X, Y)
    assert re.match(r"Evaluate  .*loss \S+  accuracy \S+  [\d,]+ samples/s\n$", capsys.readouterr().out)
    model.predict(X)
    model.fit(X, Y, verbose=0)
    assert capsys.readouterr().out == ""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_line_on_a_terminal(model, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    slow = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(0.002))
    start = time.perf_counter()
    model.fit(X, Y, batch_size=1, epochs=10, callbacks=slow)
    seconds = time.perf_counter() - start
    text = screen.getvalue()
    assert "left" in text
    assert text.count("\n") == 10
    # At most 20 updates a second, plus the first and the last of each epoch.
    assert text.count("\r") <= 20 * seconds + 2 * 10


def test_progress_line_ends_when_training_is_interrupted(model, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)

    def interrupt(batch, logs):
        raise KeyboardInterrupt

    # The line comes first in the list, so that it has something on the screen when the key is pressed.
    both = [callbacks.ProgbarLogger(), callbacks.LambdaCallback(on_train_batch_end=interrupt)]
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, batch_size=2, callbacks=both)
    assert screen.getvalue().endswith("\n")


def test_steps_per_second_where_samples_are_unknown(model, capsys):
    model.fit([(X, Y), (X, Y)], verbose=2)
    assert re.search(r"steps/s\n$", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (42.4, "42 s"), (61, "1:01 min"), (3725, "1:02:05 h")],
)
def test_durations(seconds, text):
    assert callbacks.progress._duration(seconds) == text
