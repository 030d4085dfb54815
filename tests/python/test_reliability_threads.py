"""Results over operands, forks and threads inside models."""

import mmap
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from gridnn import Sequential, layers
from gridnn import functional as F  # noqa: N812

N = 2 * 4 * 4 * 3


def views(kind, folder):
    """An operand and a result that share all but four bytes, unknown to NumPy."""
    shape = (2, 4, 4, 3)
    if kind == "frombuffer":
        memory = bytearray(4 * N + 4)
        return [np.frombuffer(memory, np.float32, N, at).reshape(shape) for at in (0, 4)]
    if kind == "memoryview":
        memory = memoryview(bytearray(4 * N + 4))
        return [np.asarray(memory[at : at + 4 * N].cast("f")).reshape(shape) for at in (0, 4)]
    if kind == "as_strided":
        memory = np.frombuffer(bytearray(4 * N + 4), np.float32)
        other = np.frombuffer(memory.data, np.float32)
        turned = np.lib.stride_tricks.as_strided(memory, shape, (192, 48, 12, 4))
        return [turned, other[1:].reshape(shape)]
    path = folder / "numbers"
    path.write_bytes(bytes(4 * N + 4))
    if kind == "memmap":
        return [np.memmap(path, np.float32, "r+", at, shape) for at in (0, 4)]
    with open(path, "r+b") as file:
        maps = [mmap.mmap(file.fileno(), 0) for _ in range(2)]
    return [np.frombuffer(m, np.float32, N, 4 * i).reshape(shape) for i, m in enumerate(maps)]


@pytest.mark.parametrize("kind", ["frombuffer", "memoryview", "as_strided", "memmap", "mmap"])
def test_a_result_over_an_operand_is_noticed_by_addresses(kind, tmp_path):
    if kind in ("memmap", "mmap") and not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells what files are mapped")
    x, out = views(kind, tmp_path)
    kernel = np.ones((1, 1, 3, 3), np.float32)
    for call in (
        lambda: F.conv2d(x, kernel, out=out),
        lambda: F.conv2d_input_grad(x, kernel, x.shape, out=out),
        lambda: F.max_pool2d(x, 1, out=out),
        lambda: F.average_pool2d(x, 1, out=out),
    ):
        with pytest.raises(ValueError, match="shares no memory"):
            call()


def test_neighbours_in_one_buffer_and_in_one_file_are_no_overlap(tmp_path):
    memory = bytearray(8 * N)
    x, out = (np.frombuffer(memory, np.float32, N, at).reshape(2, 4, 4, 3) for at in (0, 4 * N))
    assert F.max_pool2d(x, 1, out=out) is out
    path = tmp_path / "numbers"
    path.write_bytes(bytes(8 * N))
    x, out = (np.memmap(path, np.float32, "r+", at, (2, 4, 4, 3)) for at in (0, 4 * N))
    assert F.max_pool2d(x, 1, out=out) is out


class Calls(layers.Layer):
    """Calls a function."""

    function = staticmethod(lambda: None)

    def call(self, x):
        self.function()
        return x


def model():
    return Sequential([layers.Input((2,)), Calls()])


X = np.ones((1, 2), np.float32)


def test_an_exception_comes_out_of_its_own_call():
    shared = model()
    numbers = {}

    def fail():
        raise KeyError(threading.get_ident())

    shared.layers[-1].function = fail

    def work():
        mine = numbers.setdefault(threading.get_ident(), [])
        for _ in range(100):
            with pytest.raises(KeyError) as info:
                shared.predict(X, verbose=0)
            mine.append(info.value.args[0])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # A thread may have the number of one that has ended.
    assert sum(map(len, numbers.values())) == 400
    assert all(set(found) == {own} for own, found in numbers.items())


def test_two_models_that_call_each_other_are_told():
    first, second = model(), model()
    both = threading.Barrier(2, timeout=20)
    been = threading.local()
    found = []

    def enter(other):
        if not hasattr(been, "inside"):
            been.inside = True
            both.wait()
        other.predict(X, verbose=0)

    first.layers[-1].function = lambda: enter(second)
    second.layers[-1].function = lambda: enter(first)

    def work(own):
        try:
            own.predict(X, verbose=0)
        except RuntimeError as error:
            found.append(str(error))

    threads = [threading.Thread(target=work, args=(m,), daemon=True) for m in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert found
    assert all("wait for each other" in text or "middle of a step" in text for text in found)
    assert any("wait for each other" in text for text in found)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("call", ["predict", "get_weights"])
def test_waiting_for_another_thread_hears_an_interrupt(call):
    shared = model()
    inside, leave = threading.Event(), threading.Event()
    shared.layers[-1].function = lambda: (inside.set(), leave.wait(20))
    other = threading.Thread(target=lambda: shared.predict(X, verbose=0))
    other.start()
    assert inside.wait(20)
    timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    try:
        use = {"predict": lambda: shared.predict(X, verbose=0), "get_weights": shared._network.get_weights}
        with pytest.raises(KeyboardInterrupt):
            use[call]()
        assert time.monotonic() - start < 5
    finally:
        leave.set()
        other.join(20)
    shared.predict(X, verbose=0)


# Minutes of work each, most of it within one row of one result.
WINDOW = 10**6
SERIES = np.zeros((1, 2 * WINDOW, 2), np.float32)
LONG = {
    "max_pool": lambda: F.max_pool1d(SERIES, WINDOW, strides=1),
    "max_pool_indices": lambda: F.max_pool1d(SERIES, WINDOW, strides=1, return_indices=True),
    "max_pool_grad": lambda: F.max_pool1d_grad(SERIES[:, WINDOW - 1 :], SERIES, WINDOW, strides=1),
    "average_pool": lambda: F.average_pool1d(SERIES, WINDOW, strides=1),
    "average_pool_grad": lambda: F.average_pool1d_grad(
        SERIES[:, WINDOW - 1 :], SERIES.shape, WINDOW, strides=1
    ),
    "orthogonal": lambda: Sequential(
        [layers.Input((6000,)), layers.Dense(6000, kernel_initializer="orthogonal")]
    ),
}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("call", LONG)
def test_long_calls_hear_an_interrupt(call):
    # A shell starts its background jobs with Ctrl-C ignored, and Python leaves it at that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            LONG[call]()
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - start < 20


FORK = """
import os, threading, numpy as np
from gridnn import Sequential, layers
class Waits(layers.Layer):
    def call(self, x):
        inside.set(); leave.wait(30)
        return x
inside, leave = threading.Event(), threading.Event()
x = np.ones((1, 2), np.float32)
shared = Sequential([layers.Input((2,)), Waits()])
other = Sequential([layers.Input((2,)), layers.Dense(3)])
want = other.predict(x, verbose=0)
held = threading.Thread(target=lambda: shared.predict(x, verbose=0))
held.start()
inside.wait()
locked = threading.Event()
def lock():
    with other._lock:
        locked.set(); leave.wait(30)
second = threading.Thread(target=lock); second.start(); locked.wait()
child = os.fork()
if child == 0:
    code = 1
    try:
        leave.set()
        assert (other.predict(x, verbose=0) == want).all()
        other.compile("sgd", "mse"); other.fit(x, want, verbose=0)
        try:
            shared.predict(x, verbose=0)
        except RuntimeError as error:
            code = 0 if "forked" in str(error) else 2
    finally:
        os._exit(code)
leave.set()
held.join(); second.join()
shared.predict(x, verbose=0)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork a process")
def test_a_child_forked_while_a_thread_is_inside_a_model_does_not_hang():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], timeout=50, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
