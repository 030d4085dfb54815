"""One model in several threads: predictions run side by side, training and they wait for each other."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers

pytestmark = pytest.mark.one_tier

THREADS = 4
ROUNDS = 15


def model(seed=1):
    stack = [
        gn.Input((12, 12, 3)),
        layers.Conv2D(8, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(5, kernel_regularizer="l2", activity_regularizer="l2"),
    ]
    found = gn.Sequential(stack, seed=seed)
    found.compile("adam", gn.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return found


RNG = np.random.default_rng(3)
X = RNG.normal(size=(70, 12, 12, 3)).astype(np.float32)
Y = RNG.integers(0, 5, 70)


def together(work, count=THREADS, seconds=120):
    """Runs `work(number)` in threads at once; raises what they raise."""
    begin, errors = threading.Barrier(count), []

    def run(number):
        try:
            begin.wait(seconds)
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


CALLS = {
    "predict": lambda m, n: m.predict(X[n:], batch_size=16 + n, verbose=0),
    "predict_on_batch": lambda m, n: m.predict_on_batch(X[: n + 1]),
    "call": lambda m, n: np.asarray(m(X[n : n + 9])),
    "evaluate": lambda m, n: np.asarray(m.evaluate(X, Y, batch_size=16 + n, verbose=0)),
    "get_weights": lambda m, n: np.concatenate([w.ravel() for w in m.get_weights()]),
}


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_what_runs_side_by_side_gives_the_bytes_of_one_thread(threads):
    shared = model()
    shared.fit(X, Y, epochs=1, verbose=0, seed=0)
    before = gn.get_num_threads()
    gn.set_num_threads(threads)
    try:
        alone = {(name, n): call(shared, n).tobytes() for name, call in CALLS.items() for n in range(THREADS)}
        again = model()
        again.set_weights(shared.get_weights())

        def work(number):
            for turn in range(ROUNDS):
                for name in list(CALLS)[turn % len(CALLS) :] + list(CALLS)[: turn % len(CALLS)]:
                    assert CALLS[name](again, number).tobytes() == alone[name, number], name

        together(work)
    finally:
        gn.set_num_threads(before)


def slow_model():
    """A model that takes milliseconds for a sample."""
    stack = [layers.Conv2D(32, 3, padding="same") for _ in range(5)]
    return gn.Sequential([gn.Input((64, 64, 3)), *stack, layers.GlobalAveragePooling2D()])


def test_a_short_prediction_does_not_wait_for_a_long_one():
    shared = slow_model()
    x = np.ones((600, 64, 64, 3), np.float32)
    want = shared.predict_on_batch(x[:1]).tobytes()
    shared.predict_on_batch(x[:8])
    weights = [w.tobytes() for w in shared.get_weights()]
    begun = threading.Event()

    def long():
        begun.set()
        shared.predict(x, batch_size=8, verbose=0)

    thread = threading.Thread(target=long)
    thread.start()
    begun.wait()
    time.sleep(0.05)
    assert shared.predict_on_batch(x[:1]).tobytes() == want
    assert [w.tobytes() for w in shared.get_weights()] == weights
    assert thread.is_alive()
    thread.join()


def test_predictions_beside_training_see_the_weights_of_whole_steps():
    shared, steps = model(), 30
    twin, seen = model(), set()
    seen.add(twin.predict_on_batch(X[:7]).tobytes())
    for _ in range(steps):
        twin.train_on_batch(X, Y)
        seen.add(twin.predict_on_batch(X[:7]).tobytes())
    done = threading.Event()

    def work(number):
        if number == 0:
            for _ in range(steps):
                shared.train_on_batch(X, Y)
            done.set()
            return
        found = 0
        while not done.is_set() or not found:
            assert shared.predict_on_batch(X[:7]).tobytes() in seen
            found += 1

    together(work)
    for one, other in zip(shared.get_weights(), twin.get_weights(), strict=True):
        assert one.tobytes() == other.tobytes()


def test_neither_training_nor_predictions_keep_the_others_out_for_ever():
    shared, end = model(), time.monotonic() + 3
    counts = [0] * 3

    def work(number):
        while time.monotonic() < end:
            if number == 0:
                shared.train_on_batch(X, Y)
            else:
                shared.predict_on_batch(X)
            counts[number] += 1

    together(work, count=3)
    assert min(counts) >= 5, counts


def test_more_threads_than_places_all_get_theirs():
    shared = model()
    want = shared.predict_on_batch(X).tobytes()

    def work(number):
        for _ in range(5):
            assert shared.predict_on_batch(X).tobytes() == want

    together(work, count=20)


class Doubles(layers.Layer):
    """A layer written in Python, which must not be entered twice at once."""

    inside = 0
    most = 0

    def call(self, x):
        Doubles.inside += 1
        Doubles.most = max(Doubles.most, Doubles.inside)
        time.sleep(0.001)
        Doubles.inside -= 1
        return 2 * x

    def backward(self, dy):
        return 2 * dy


def test_layers_written_in_python_are_entered_by_one_thread_at_a_time():
    shared = gn.Sequential([gn.Input((4,)), Doubles()])
    x = np.ones((3, 4), np.float32)

    def work(number):
        for _ in range(5):
            assert (shared.predict_on_batch(x) == 2).all()

    together(work)
    assert Doubles.most == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupt_ends_one_prediction_and_leaves_the_others():
    shared = slow_model()
    x = np.ones((600, 64, 64, 3), np.float32)
    want = shared.predict_on_batch(x[:2]).tobytes()
    errors, stop = [], threading.Event()

    def others():
        try:
            while not stop.is_set():
                assert shared.predict_on_batch(x[:2]).tobytes() == want
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=others)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        thread.start()
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            shared.predict(np.tile(x, (5, 1, 1, 1)), verbose=0)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
        stop.set()
        thread.join(60)
    assert not errors
    assert shared.predict_on_batch(x[:2]).tobytes() == want


FORK = """
import os, threading, time, numpy as np
import gridnn as gn
from gridnn import layers
def make():
    stack = [layers.Conv2D(16, 3, padding="same") for _ in range(3)]
    return gn.Sequential([gn.Input((64, 64, 3)), *stack], seed=1)
shared, other = make(), make()
x = np.ones((8, 64, 64, 3), np.float32)
want = other.predict_on_batch(x)
stop = threading.Event()
def work():
    while not stop.is_set():
        shared.predict_on_batch(x)
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
codes = []
for turn in range(10):
    time.sleep(0.02)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert (other.predict_on_batch(x) == want).all()
            try:
                assert (shared.predict_on_batch(x) == want).all()
                code = 0
            except RuntimeError as error:
                code = 0 if "forked" in str(error) else 2
        finally:
            os._exit(code)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
for thread in threads: thread.join()
assert (shared.predict_on_batch(x) == want).all()
raise SystemExit(max(codes))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork a process")
def test_children_forked_while_threads_predict_do_not_hang():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], timeout=100, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


ROOM_FOR_ONE = """
import resource, threading, numpy as np
import gridnn as gn
from gridnn import layers
gn.set_num_threads(1)
stack = [gn.Input((None, None, 1)), layers.Conv2D(16, 3), layers.Conv2D(2, 1), layers.GlobalMaxPooling2D()]
shared = gn.Sequential(stack, seed=1)
x = np.ones((1, 1500, 1500, 1), np.float32)
want = shared.predict_on_batch(x).tobytes()
go, errors = threading.Barrier(4), []
def work():
    try:
        go.wait()
        for _ in range(3):
            assert shared.predict_on_batch(x).tobytes() == want
    except BaseException as error:
        errors.append(repr(error))
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
with open("/proc/self/statm") as sizes:
    have = int(sizes.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (have + (60 << 20), resource.RLIM_INFINITY))
go.wait()
for thread in threads: thread.join()
assert not errors, errors
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux'")
def test_where_there_is_memory_for_one_prediction_the_others_wait_for_it():
    done = subprocess.run([sys.executable, "-c", ROOM_FOR_ONE], timeout=100, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_an_exception_in_one_thread_is_that_thread_s_alone():
    shared = model()
    want = shared.predict_on_batch(X).tobytes()

    def work(number):
        for _ in range(ROUNDS):
            if number == 0:
                with pytest.raises(gn.errors.ShapeError):
                    shared.predict_on_batch(X[:, :5])
            elif number == 1:
                with pytest.raises(ValueError, match="sample_weight"):
                    shared.evaluate(X, Y, sample_weight=np.ones(3), verbose=0)
            else:
                assert shared.predict_on_batch(X).tobytes() == want

    together(work)


class Predicts(gn.callbacks.Callback):
    """Asks the model between the steps that train it, in its own thread and in another."""

    def __init__(self):
        super().__init__()
        self.equal = []

    def on_train_batch_end(self, batch, logs=None):
        found = [None]

        def other():
            found[0] = self.model.predict_on_batch(X[:5]).tobytes()

        thread = threading.Thread(target=other)
        thread.start()
        own = self.model.predict_on_batch(X[:5]).tobytes()
        thread.join(60)
        self.equal.append(own == found[0])


def test_callbacks_predict_while_a_fit_is_under_way():
    shared, twin, watcher = model(), model(), Predicts()
    shared.fit(X, Y, batch_size=16, epochs=2, verbose=0, seed=0, callbacks=[watcher])
    twin.fit(X, Y, batch_size=16, epochs=2, verbose=0, seed=0)
    assert watcher.equal == [True] * 10
    for one, other in zip(shared.get_weights(), twin.get_weights(), strict=True):
        assert one.tobytes() == other.tobytes()


class Asks(gn.losses.Loss):
    """A loss that uses the model whose step calls it."""

    def __init__(self, ask):
        super().__init__()
        self.ask = ask

    def call(self, y_true, y_pred):
        self.ask()
        return ((y_pred - y_true) ** 2).mean(axis=-1)

    def gradient(self, y_true, y_pred):
        return 2 * (y_pred - y_true) / y_pred.shape[-1]


@pytest.mark.parametrize("use", ["predict_on_batch", "get_weights", "set_weights"])
def test_a_loss_in_python_cannot_use_the_model_in_the_middle_of_its_step(use):
    shared = gn.Sequential([gn.Input((4,)), layers.Dense(2)], seed=1)
    x, y, weights = np.ones((3, 4), np.float32), np.ones((3, 2), np.float32), shared.get_weights()
    arguments = {"predict_on_batch": (x,), "get_weights": (), "set_weights": (weights,)}[use]
    shared.compile("sgd", Asks(lambda: getattr(shared, use)(*arguments)))
    with pytest.raises(RuntimeError, match="middle of a step"):
        shared.train_on_batch(x, y)
    shared.predict_on_batch(x)
    shared.set_weights(weights)


def test_plans_and_memory_given_back_beside_predictions_change_nothing():
    shared = model()
    want = [shared.predict_on_batch(X[: n + 1]).tobytes() for n in range(THREADS)]

    def work(number):
        for turn in range(60):
            if number == 0:
                shared.release_memory()
            assert shared.predict_on_batch(X[: number + 1]).tobytes() == want[number], turn

    together(work)
