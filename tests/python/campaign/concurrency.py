"""Threads, forks and signals at random moments."""

import contextlib
import functools
import hashlib
import os
import signal
import threading
import time

import numpy as np

import gridnn as gn
from campaign import forked
from gridnn import layers


def attempt(number, folder):
    """One round of threads, of forks, or of Ctrl-C; 1."""
    (_threads, _forks, _interrupt)[number % 3](forked.moments(number), folder)
    return 1


def _model(seed=0):
    model = gn.Sequential(
        [gn.Input((16, 16, 2)), layers.Conv2D(8, 3, activation="relu"), layers.Flatten(), layers.Dense(4)],
        seed=seed,
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def _data():
    rng = np.random.default_rng(2)
    return rng.normal(size=(64, 16, 16, 2)).astype(np.float32), rng.integers(0, 4, size=64)


def _digest(model):
    return hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()


def _threads(rng, folder):
    """One model from several threads: the same predictions, files that load, errors of their own."""
    model = _model()
    x, _ = _data()
    expected = model.predict(x, verbose=0).tobytes()
    problems = []
    path = folder / "threads.gridnn"

    def predict():
        assert model.predict(x, verbose=0).tobytes() == expected, "another prediction"

    def save():
        model.save(path)
        assert gn.load_model(path).predict(x, verbose=0).tobytes() == expected, "another model in the file"

    def fail():
        try:
            model.predict(x[..., :1], verbose=0)
        except ValueError:
            return
        raise AssertionError("a wrong shape was accepted")

    def weights():
        assert len(model.get_weights()) == 4

    def guarded(work):
        try:
            for _ in range(3):
                work()
        except BaseException as error:
            problems.append(f"{work.__name__}: {type(error).__name__}: {error}")

    chosen = [rng.choice([predict, save, fail, weights]) for _ in range(rng.randint(2, 6))]
    workers = [threading.Thread(target=guarded, args=[work], daemon=True) for work in chosen]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
        assert not worker.is_alive(), "a thread hangs"
    assert not problems, problems


def _forks(rng, folder):
    """A fork while a thread trains: the child has a model of its own, and may fail with ours but not hang."""
    model = _model()
    x, y = _data()
    halt = threading.Event()

    def train():
        while not halt.is_set():
            model.train_on_batch(x, y)

    trainer = threading.Thread(target=train, daemon=True)
    trainer.start()

    def child():
        other = _model(1)
        other.train_on_batch(x, y)
        # It may say that the model was at work when the process was forked.
        with contextlib.suppress(RuntimeError):
            model.predict(x, verbose=0)

    try:
        for _ in range(3):
            time.sleep(rng.uniform(0.0, 0.004))
            forked.finish(forked.start(child), 20.0)
    finally:
        halt.set()
        trainer.join(30)
    assert not trainer.is_alive(), "training hangs"
    before = _digest(model)
    model.train_on_batch(x, y)
    assert _digest(model) != before, "the model does not train any more"


_STEPS = 60


def _training():
    model = _model()
    x, y = _data()
    return model, lambda: model.fit(x, y, batch_size=16, epochs=_STEPS // 4, verbose=0, seed=3)


@functools.cache
def _stations():
    """The digest of the weights after every number of steps."""
    model, _ = _training()
    x, y = _data()
    found = [_digest(model)]

    class Look(gn.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            found.append(_digest(model))

    model.fit(x, y, batch_size=16, epochs=_STEPS // 4, verbose=0, seed=3, callbacks=[Look()])
    return found


def _interrupt(rng, folder):
    """Ctrl-C in `fit`: the weights are those after some whole step."""
    stations = _stations()
    model, fit = _training()
    timer = threading.Timer(rng.uniform(0.0, 0.05), lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    try:
        fit()
        timer.join()
        time.sleep(0.001)
    except KeyboardInterrupt:
        pass
    try:
        timer.join()
        time.sleep(0.001)
    except KeyboardInterrupt:
        pass
    assert _digest(model) in stations, "between two steps"
