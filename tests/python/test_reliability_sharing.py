"""Memory that results share with operands, and models that a child of `fork` shares with its parent."""

import os
import threading

import numpy as np
import pytest
from campaign import forked
from numpy.lib.stride_tricks import as_strided

import gridnn as gn
from gridnn import functional as F  # noqa: N812
from gridnn import layers


def two_of_one_buffer(tmp_path):
    buffer = bytearray(400)
    return np.frombuffer(buffer, np.float32), np.frombuffer(buffer, np.float32)


def two_memoryviews(tmp_path):
    buffer = memoryview(bytearray(400)).cast("f")
    return np.asarray(buffer), np.asarray(buffer)


def two_maps_of_one_file(tmp_path):
    path = tmp_path / "map"
    np.zeros(100, np.float32).tofile(path)
    return np.memmap(path, np.float32, "r+"), np.memmap(path, np.float32, "r+")


def one_map_of_a_part(tmp_path):
    whole, _ = two_maps_of_one_file(tmp_path)
    part = np.memmap(tmp_path / "map", np.float32, "r+", offset=8, shape=98)
    return whole[1:-1], part


def strided(tmp_path):
    whole = np.zeros(100, np.float32)
    return whole, as_strided(whole, whole.shape, whole.strides)


def calls(x, y):
    """Every function that takes `out`, with operands and a result in the two arrays."""
    x = x[:50].reshape(1, 25, 2)
    y = y[:50].reshape(1, 25, 2)
    deep = np.ones((1, 2, 1), np.float32)
    point = np.ones((1, 2, 2), np.float32)
    other = np.ones((1, 25, 2), np.float32)
    yield lambda: F.conv1d(x, point, out=y)
    yield lambda: F.conv1d_input_grad(x, point, (1, 25, 2), out=y)
    yield lambda: F.conv1d_kernel_grad(x, other, (1, 2, 2), out=y.reshape(-1)[:4].reshape(1, 2, 2))
    yield lambda: F.conv1d(other, x.reshape(-1)[:4].reshape(1, 2, 2), out=y)
    yield lambda: F.conv1d(other, point, x.reshape(-1)[:2], out=y)
    yield lambda: F.conv1d_transpose(x, point, out=y)
    yield lambda: F.conv1d_transpose_input_grad(x, point, (1, 25, 2), out=y)
    yield lambda: F.depthwise_conv1d(x, deep, out=y)
    yield lambda: F.depthwise_conv1d_input_grad(x, deep, (1, 25, 2), out=y)
    yield lambda: F.separable_conv1d(x, deep, point, out=y)
    yield lambda: F.separable_conv1d_input_grad(x, deep, point, (1, 25, 2), out=y)
    yield lambda: F.max_pool1d(x, 1, out=y)
    yield lambda: F.max_pool1d_grad(other, x, 1, out=y)
    yield lambda: F.max_pool1d_grad(x, other, 1, out=y)
    yield lambda: F.average_pool1d(x, 1, out=y)
    yield lambda: F.average_pool1d_grad(x, (1, 25, 2), 1, out=y)


@pytest.mark.parametrize(
    "make", [two_of_one_buffer, two_memoryviews, two_maps_of_one_file, one_map_of_a_part, strided]
)
def test_a_result_that_overlaps_an_operand_is_refused(make, tmp_path):
    x, y = make(tmp_path)
    for call in calls(x, y):
        with pytest.raises(ValueError, match="shares no memory"):
            call()


def test_results_that_overlap_each_other_are_refused():
    x = np.ones((1, 5, 2), np.float32)
    first, second = np.ones((1, 2, 1), np.float32), np.ones((1, 2, 2), np.float32)
    both = np.zeros(4, np.float32)
    with pytest.raises(ValueError, match="shares no memory"):
        F.separable_conv1d_kernel_grad(
            x, x, first, second, out=(both[:2].reshape(1, 2, 1), both.reshape(1, 2, 2))
        )


def test_neighbours_in_one_buffer_or_file_are_welcome(tmp_path):
    whole = np.zeros(100, np.float32)
    path = tmp_path / "map"
    whole.tofile(path)
    for x, y in (
        (whole[:50], whole[50:]),
        (np.memmap(path, np.float32, "r+", shape=50), np.memmap(path, np.float32, "r+", offset=200)),
    ):
        x[:] = np.arange(50)
        F.conv1d(x.reshape(1, 25, 2), np.eye(2, dtype=np.float32)[np.newaxis], out=y.reshape(1, 25, 2))
        np.testing.assert_array_equal(x, y)


def small(*extra, seed=0):
    model = gn.Sequential([gn.Input((6, 6, 1)), *extra, layers.Conv2D(2, 3), layers.Flatten()], seed=seed)
    model.compile("sgd", "mse")
    return model


X = np.ones((4, 6, 6, 1), np.float32)
Y = np.zeros((4, 32), np.float32)


class Halting(layers.Layer):
    """Passes on what it gets, once it may."""

    def __init__(self):
        super().__init__()
        self.entered, self.go_on = threading.Event(), threading.Event()

    def call(self, x):
        self.entered.set()
        assert self.go_on.wait(30)
        return x

    def backward(self, x, dy):
        return dy


@pytest.fixture
def halted():
    """A model in the midst of a step in another thread."""
    layer = Halting()
    model = small(layer)
    thread = threading.Thread(target=lambda: model.train_on_batch(X, Y), daemon=True)
    thread.start()
    assert layer.entered.wait(30)
    yield model
    layer.go_on.set()
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_is_told_that_its_model_was_at_work(halted):
    def child():
        for call in (
            lambda: halted.predict(X, verbose=0),
            lambda: halted.train_on_batch(X, Y),
            halted.get_weights,
            lambda: halted.set_weights([]),
            lambda: halted.save("never.gridnn"),
        ):
            with pytest.raises((RuntimeError, ValueError)):
                call()
        with pytest.raises(RuntimeError, match="was forked"):
            halted.predict(X, verbose=0)
        other = small(seed=1)
        other.train_on_batch(X, Y)
        other.predict(X, verbose=0)

    forked.finish(forked.start(child), 20.0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_finds_the_locks_of_a_model_open():
    model = small()
    expected = model.predict(X, verbose=0).tobytes()
    closed, done = threading.Event(), threading.Event()

    def hold():
        with model._lock:
            closed.set()
            done.wait(30)

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert closed.wait(30)

    def child():
        model.compile("adam", "mse")
        assert model.predict(X, verbose=0).tobytes() == expected

    try:
        forked.finish(forked.start(child), 20.0)
    finally:
        done.set()
        thread.join()
