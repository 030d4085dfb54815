"""Sets that stay on disk: what is read when, in which order, and what happens when reading fails."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers
from gridnn._reading import Share, read_ahead
from gridnn.data._advice import will_read
from gridnn.data._plain import plain_reader
from gridnn.errors import NonFiniteInputError, ShapeError

pytestmark = pytest.mark.one_tier

RNG = np.random.default_rng(0)
X = RNG.normal(size=(103, 6, 2)).astype(np.float32)
Y = RNG.integers(0, 3, 103)


class Recorder:
    """An array that notes the slices taken, and takes nothing else."""

    def __init__(self, array, chunks=None, fails_at=None):
        self.array, self.shape, self.dtype, self.chunks = array, array.shape, array.dtype, chunks
        self.fails_at, self.slices = fails_at, []

    def __getitem__(self, key):
        assert isinstance(key, slice)
        assert key.step is None
        self.slices.append((key.start, key.stop))
        if self.fails_at is not None and key.start <= self.fails_at < key.stop:
            raise RuntimeError("the disk is gone")
        return self.array[key]


def memmap(folder):
    file = np.memmap(folder / "x.bin", np.float32, "w+", shape=X.shape)
    file[:] = X
    file.flush()
    return np.memmap(folder / "x.bin", np.float32, "r", shape=X.shape)


def hdf5(folder):
    h5py = pytest.importorskip("h5py")
    file = h5py.File(folder / "x.h5", "w")
    return file.create_dataset("x", data=X, chunks=(10, 6, 2), compression="gzip")


def zarr(folder):
    zarr = pytest.importorskip("zarr")
    array = zarr.open(str(folder / "x.zarr"), mode="w", shape=X.shape, chunks=(10, 6, 2), dtype="f4")
    array[:] = X
    return array


SOURCES = [memmap, hdf5, zarr]


def classifier():
    model = gn.Sequential([gn.Input((6, 2)), layers.Flatten(), layers.Dense(3)], seed=0)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("source", SOURCES)
def test_unshuffled_it_is_the_array(source, tmp_path):
    x = source(tmp_path)
    batches = gn.data.lazy(x, Y, batch_size=10)
    assert (len(batches), batches.samples) == (11, 103)
    one, other = classifier(), classifier()
    one.fit(X, Y, batch_size=10, epochs=2, shuffle=False, verbose=0)
    other.fit(batches, epochs=2, shuffle=False, verbose=0)
    assert all(map(np.array_equal, one.get_weights(), other.get_weights()))
    assert one.evaluate(X, Y, batch_size=10, verbose=0) == other.evaluate(batches, verbose=0)
    assert np.array_equal(one.predict(X), other.predict(batches))
    assert np.array_equal(one.predict(X), other.predict(gn.data.lazy(x, batch_size=7)))


@pytest.mark.parametrize("source", SOURCES)
def test_shuffled_the_bytes_depend_on_the_seed_alone(source, tmp_path):
    x = source(tmp_path)
    results = []
    for seed in (1, 1, 2):
        model = classifier()
        model.fit(gn.data.lazy(x, Y, 10, buffer=40), epochs=2, seed=seed, verbose=0)
        results.append(np.concatenate([weight.reshape(-1) for weight in model.get_weights()]).tobytes())
    assert results[0] == results[1] != results[2]


def passes(batches, seed, count=1):
    return [np.concatenate(list(batches.in_pass(seed, number))) for number in range(count)]


@pytest.mark.parametrize("chunk", [1, 7, 200])
@pytest.mark.parametrize("buffer", [1, 20, 50, 1000])
@pytest.mark.parametrize("batch_size", [1, 8, 103, 500])
def test_a_pass_has_every_sample_once(chunk, buffer, batch_size):
    numbers = np.arange(103)
    batches = gn.data.lazy(Recorder(numbers, (chunk,)), None, batch_size, buffer=buffer)
    first, second = passes(batches, 5, 2)
    assert sorted(first) == sorted(second) == numbers.tolist()
    sizes = [len(batch) for batch in batches.in_pass(5, 0)]
    assert len(sizes) == len(batches)
    assert set(sizes[:-1]) <= {batch_size}
    if buffer > 20 and chunk < 200:
        assert first.tolist() != numbers.tolist()
        assert first.tolist() != second.tolist()


def test_only_whole_chunks_are_read_and_each_once():
    numbers = Recorder(np.arange(1000), (25,))
    batches = gn.data.lazy(numbers, None, 8, buffer=200)
    passes(batches, 0)
    assert all(start % 25 == 0 and (stop % 25 == 0 or stop == 1000) for start, stop in numbers.slices)
    assert sum(stop - start for start, stop in numbers.slices) == 1000
    ends = [stop for _, stop in numbers.slices]
    assert ends != sorted(ends)  # blocks come from anywhere


def test_within_a_buffer_reads_go_forward():
    numbers = Recorder(np.arange(1000), (25,))
    batches = gn.data.lazy(numbers, None, 8, buffer=200)
    starts = batches.buffers(0, 0)
    assert all((np.diff(group) > 0).all() for group in starts)
    assert sum(map(len, starts)) == 40


@pytest.mark.parametrize("first", [1, 6, 12])
def test_a_pass_may_begin_anywhere(first):
    batches = gn.data.lazy(Recorder(np.arange(103)), None, 8, buffer=30)
    whole, part = list(batches.in_pass(3, 1)), list(batches.in_pass(3, 1, first))
    assert all(map(np.array_equal, whole[first:], part))


def test_training_that_was_interrupted_goes_on_to_the_byte(tmp_path):
    def train(folder, stops_at=None):
        class Stop(gn.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                if self.model.iterations == stops_at:
                    raise KeyboardInterrupt

        model = classifier()
        backup = gn.callbacks.BackupAndRestore(folder, save_freq=1)
        callbacks = [backup] if stops_at is None else [backup, Stop()]
        model.fit(gn.data.lazy(X, Y, 10, buffer=40), epochs=3, seed=1, verbose=0, callbacks=callbacks)
        return model

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", stops_at=17)
    again = train(tmp_path / "parts")
    assert all(map(np.array_equal, whole.get_weights(), again.get_weights()))
    assert whole.history.history == again.history.history


def test_epochs_of_other_lengths_than_a_pass_go_on_where_the_last_one_ended():
    batches = gn.data.lazy(X, Y, 10, buffer=40)
    one, other = classifier(), classifier()
    one.fit(batches, epochs=2, seed=1, verbose=0)
    other.fit(batches, epochs=11, steps_per_epoch=2, seed=1, verbose=0)
    assert all(map(np.array_equal, one.get_weights(), other.get_weights()))


MASKS = RNG.integers(0, 9, (103, 64, 64), np.uint8)
"""Targets of a page each, which a process reads of its own samples alone."""


@pytest.mark.parametrize("chunk", [1, 7, 200])
@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
@pytest.mark.parametrize("targets", [None, np.arange(1, 104), MASKS])
def test_a_share_is_that_of_whole_batches(chunk, seed, ranks, targets):
    whole = list(gn.data.lazy(Recorder(X, (chunk,)), targets, 16, buffer=40).in_pass(seed, 1))

    def samples(size):
        return [range(rank * size // ranks, (rank + 1) * size // ranks) for rank in range(ranks)]

    def read(recorder):
        return sum(stop - start for start, stop in recorder.slices)

    counts = []
    for rank in range(ranks):
        x = Recorder(X, (chunk,))
        y = None if targets is None else Recorder(targets, (chunk,))
        for first in (0, 2):
            asked = iter(whole[first:])

            def gather(flat, ends, rank=rank, asked=asked):
                """The own part is there, and the others come."""
                all_ = next(asked)[1].reshape(-1).view(np.uint8)
                begin = 0 if rank == 0 else ends[rank - 1]
                assert ends[-1] == flat.size
                assert np.array_equal(flat[begin : ends[rank]], all_[begin : ends[rank]])
                flat[:] = all_

            share = Share(samples, rank, gather)
            own = gn.data.lazy(x, y, 16, buffer=40).in_pass(seed, 1, first, share)
            for batch, full in zip(own, whole[first:], strict=True):
                got, all_ = (batch, full) if targets is None else (batch[0], full[0])
                assert targets is None or np.array_equal(batch[1], full[1])
                mine = share(len(all_))
                assert np.array_equal(got[mine.start : mine.stop], all_[mine.start : mine.stop])
                assert got.shape == all_.shape
                assert not got[: mine.start].any()
                assert not got[mine.stop :].any()
            if not first:
                counts.append((read(x), 0 if y is None else read(y)))
    total_x, total_y = np.sum(counts, axis=0)
    if chunk == 1 or seed is None:
        assert total_x == len(X)
        if targets is MASKS:
            assert total_y == len(X)
    else:
        assert np.max(counts) <= len(X)
    if targets is not None and targets is not MASKS:
        assert total_y == ranks * len(X)


def test_errors_name_file_and_samples(tmp_path):
    x = Recorder(X, fails_at=42)
    x.filename = tmp_path / "scans.bin"
    message = r"scans\.bin: samples 40 to 49 of `x` cannot be read: the disk is gone"
    with pytest.raises(OSError, match=message):
        classifier().fit(gn.data.lazy(x, Y, 10), shuffle=False, verbose=0)
    with pytest.raises(OSError, match=r"scans\.bin: samples .* the disk is gone"):
        classifier().fit(gn.data.lazy(x, Y, 10), verbose=0)


@pytest.mark.parametrize("buffer", [None, 20])
@pytest.mark.parametrize("shuffle", [True, False])
def test_errors_about_what_was_read_name_the_sample_of_the_file(tmp_path, buffer, shuffle):
    """The number of a batch says nothing to who does not know the order of the pass."""
    labels, spoiled = Y.copy(), memmap(tmp_path)
    labels[42] = 7
    model = classifier()
    with pytest.raises(ValueError, match=r"`y` holds label 7, .* That sample is sample 42 of .*x\.bin"):
        model.fit(gn.data.lazy(spoiled, labels, 10, buffer=buffer), shuffle=shuffle, seed=3, verbose=0)
    with pytest.raises(ValueError, match=r"batch 4 .* That sample is sample 42 of .*x\.bin"):
        model.evaluate(gn.data.lazy(spoiled, labels, 10), verbose=0)
    values = X.copy()
    values[17] = np.nan
    with pytest.raises(NonFiniteInputError, match=r"holds NaN: .*, sample 17 of the data\. Drop"):
        model.fit(gn.data.lazy(values, Y, 10, buffer=buffer), shuffle=shuffle, seed=3, verbose=0)


@pytest.mark.parametrize("chunks", [None, 10])
@pytest.mark.parametrize("seed", [None, 0, 5])
def test_the_order_that_messages_count_by_is_that_of_the_pass(chunks, seed):
    for data_pass in (0, 1):
        batches = gn.data.lazy(Recorder(X, chunks), np.arange(len(X)), 7, buffer=30)
        read = np.concatenate([y for _, y in batches.in_pass(seed, data_pass)])
        assert np.array_equal(batches._order(seed, data_pass), read)


def test_a_closed_file_is_named(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        batches = gn.data.lazy(file.create_dataset("x", data=X), Y)
    with pytest.raises(OSError, match=r"x\.h5, /x: samples 0 to 31 of `x` cannot be read"):
        next(iter(batches))


def test_what_is_no_array_is_explained():
    with pytest.raises(TypeError, match=r"`x` argument must have a shape.* Pass np\.asarray\(x\)\."):
        gn.data.lazy([1, 2, 3])
    with pytest.raises(TypeError, match=r"Received str\. Open the file first, as h5py\.File\(path\)"):
        gn.data.lazy("scans.h5")
    with pytest.raises(TypeError, match=r"Received dict\. Pass an array in it: y\['masks'\]"):
        gn.data.lazy(X, {"masks": Y})
    with pytest.raises(ValueError, match=r"`y` argument has no samples; its shape is \(\)"):
        gn.data.lazy(X, np.float32(1))
    with pytest.raises(ShapeError, match="`x` has 103, `y` has 5"):
        gn.data.lazy(X, np.zeros(5))
    with pytest.raises(ValueError, match="`batch_size` argument must be a positive integer"):
        gn.data.lazy(X, Y, 0)


def test_class_weights_act():
    one, other = classifier(), classifier()
    weights = {0: 2.0, 1: 0.5}
    one.fit(X, Y, batch_size=10, shuffle=False, class_weight=weights, verbose=0)
    other.fit(gn.data.lazy(X, Y, 10), shuffle=False, class_weight=weights, verbose=0)
    assert all(map(np.array_equal, one.get_weights(), other.get_weights()))


# Reading ahead


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("gridnn-reader")]


def test_reading_ahead_keeps_the_order_and_ends_its_thread():
    assert list(read_ahead(lambda n: n * n, range(50))) == [n * n for n in range(50)]
    assert not readers()


def test_reading_ahead_reads_while_the_caller_works_but_not_further_than_it_should():
    made = []

    def make(number):
        made.append(number)
        return number

    batches = read_ahead(make, range(100))
    assert next(batches) == 0
    deadline = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == [0, 1, 2, 3]  # one in use, two that wait, one that finds no room
    batches.close()
    assert not readers()


def test_an_error_comes_in_its_place():
    def make(number):
        if number == 3:
            raise ValueError("number 3")
        return number

    batches = read_ahead(make, range(10))
    assert [next(batches) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="number 3"):
        next(batches)
    assert not readers()


def test_the_next_buffer_is_read_while_one_is_used():
    lazily = gn.data.lazy(Recorder(X), Y, 2, buffer=8)
    batches = lazily.in_pass(3, 0)
    next(batches)
    first, second = (lazily.count(starts) for starts in lazily.buffers(3, 0)[:2])
    for _ in range(500):
        if sum(last - begin for begin, last in lazily.x.slices) >= first + second:
            break
        time.sleep(0.01)
    else:
        raise AssertionError("only the buffer in use was read")
    batches.close()
    assert not readers()


@pytest.mark.parametrize("kind", ["whole", "part", "turned", "file"])
def test_the_system_is_told_what_is_read_next(tmp_path, kind):
    x = memmap(tmp_path)
    if kind == "file":  # behind a header, as in .npy files
        np.save(tmp_path / "x.npy", X)
        x = np.load(tmp_path / "x.npy", mmap_mode="r")
    x = {"part": x[3:, :4], "turned": x.T}.get(kind, x)
    will_read(x, [(0, 2), (3, len(x))])
    assert np.array_equal(gn.data.lazy(x, batch_size=len(x))[0], np.asarray(x))


@pytest.mark.parametrize("chunks", [(10, 6, 2), (3, 4, 1), None])
def test_the_system_is_told_of_chunks(tmp_path, chunks, monkeypatch):
    h5py = pytest.importorskip("h5py")
    told = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, begin, size, __: told.append((begin, size)))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        x = file.create_dataset("x", data=X, chunks=chunks)
        will_read(x, [(0, 4), (12, 13)])
        assert len(set(told)) == len(told) == {None: 0, (10, 6, 2): 2, (3, 4, 1): 3 * 2 * 2}[chunks]
        assert np.array_equal(gn.data.lazy(x, batch_size=7)[1], X[7:14])


PLAIN = [{}, {"chunks": (10, 6, 2)}, {"chunks": (103, 6, 2)}, {"dtype": ">f4"}]
NOT_PLAIN = [
    {"chunks": (10, 6, 2), "compression": "gzip"},
    {"chunks": (10, 6, 2), "fletcher32": True},
    {"chunks": (10, 3, 2)},
    {"chunks": (10, 6, 2), "shuffle": True},
]


@pytest.mark.parametrize("options", PLAIN + NOT_PLAIN)
def test_what_lies_in_a_file_as_in_memory_is_read_past_the_library(tmp_path, options):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        written = file.create_dataset("x", data=X, **options)
        assert plain_reader(written) is None  # there may be what is not in the file yet
    with h5py.File(tmp_path / "x.h5") as file:
        x = file["x"]
        assert (plain_reader(x) is not None) == (options in PLAIN)
        assert np.array_equal(np.concatenate(list(gn.data.lazy(x, None, 9))), x[:])
        assert np.array_equal(*map(np.concatenate, [passes(gn.data.lazy(d, None, 9), 4) for d in (x, x[:])]))


def test_chunks_that_were_never_written_user_blocks_and_closed_files_are_left_to_the_library(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w", userblock_size=512) as file:
        file.create_dataset("x", data=X)
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file.create_dataset("x", X.shape, "f4", chunks=(10, 6, 2), fillvalue=3)[:20] = X[:20]
        file.create_dataset("none", X.shape, "f4")
        file.create_dataset("whole", data=X)
    with h5py.File(tmp_path / "x.h5") as file:
        assert plain_reader(file["x"]) is None
        assert np.array_equal(gn.data.lazy(file["x"], None, 103)[0], X)
    with h5py.File(tmp_path / "y.h5") as file:
        for name in ("x", "none"):
            assert plain_reader(file[name]) is None
            assert np.array_equal(gn.data.lazy(file[name], None, 103)[0], file[name][:])
        batches = gn.data.lazy(file["whole"])
    with pytest.raises(
        OSError, match=r"y\.h5, /whole: samples 0 to 31 of `x` cannot be read: the file is closed"
    ):
        next(iter(batches))


def test_a_file_that_was_cut_is_named(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=X)
    with h5py.File(tmp_path / "x.h5") as file:
        batches = gn.data.lazy(file["x"], None, 103)
        os.truncate(tmp_path / "x.h5", file["x"].id.get_offset() + 100)
        with pytest.raises(OSError, match=r"x\.h5, /x: samples 0 to 102 .*the file ends before the samples"):
            batches[0]


def test_nothing_reads_on_after_a_training_that_failed():
    class Stop(gn.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    x = Recorder(X)
    with pytest.raises(KeyboardInterrupt):
        classifier().fit(gn.data.lazy(x, Y, 2), verbose=0, callbacks=[Stop()])
    assert not readers()


MEMORY = """
import sys, resource, numpy as np, gridnn as gn
from gridnn import layers
x = np.memmap(sys.argv[1], np.uint8, "r", shape=(12000, 64, 64, 3))
y = np.zeros(12000, np.int64)
gn.set_num_threads(1)
model = gn.Sequential([gn.Input((64, 64, 3)), layers.MaxPooling2D(8), layers.Flatten(), layers.Dense(2)])
model.compile("sgd", "sparse_categorical_crossentropy")
def anonymous():
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith("RssAnon")).split()[1]) / 1024
class Watch(gn.callbacks.Callback):
    most = 0
    def on_train_batch_end(self, batch, logs=None):
        if batch % 20 == 0:
            Watch.most = max(Watch.most, anonymous())
before = anonymous()
model.fit(gn.data.lazy(x, y, 32), verbose=0, seed=0, callbacks=[Watch()])
print(Watch.most - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_set_takes_little_memory(tmp_path):
    file = tmp_path / "x.bin"
    with file.open("wb") as stream:
        stream.truncate(12000 * 64 * 64 * 3)  # 147 MB, none of them on disk
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, file], check=True, capture_output=True, text=True
    ).stdout
    assert float(done) < 110  # a buffer of 32 MB, read in pieces; batches; the model


def test_a_slice_that_is_too_short_is_not_spread_over_the_batch():
    class Short:
        shape, dtype = (100, 4), np.dtype("f4")

        def __getitem__(self, rows):
            return np.zeros((1, 4), np.float32)

    with pytest.raises(OSError, match="the slice has 1 samples instead of 16"):
        gn.data.lazy(Short(), batch_size=16)[0]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array(["cat", "dog"]), "hold real numbers. Received ndarray of type <U3"),
        (np.array([{}, []], object), "hold real numbers. Received ndarray of type object"),
        (np.zeros(2, complex), "hold real numbers. Received ndarray of type complex128"),
        (np.zeros(2, [("a", "f4")]), "hold real numbers"),
        (np.zeros(2, "M8[s]"), "hold real numbers"),
        (np.ma.masked_array([1.0, 2.0], [True, False]), "is a masked array"),
    ],
)
def test_sources_that_hold_no_numbers_are_refused_at_once(array, message):
    for name, pair in (("x", (array,)), ("y", (np.zeros(2), array))):
        with pytest.raises(TypeError, match=f"`{name}` argument .*{message}|`{name}` argument {message}"):
            gn.data.lazy(*pair)


def test_a_source_without_a_type_is_looked_at_when_it_is_read():
    class Untyped:
        def __init__(self, array):
            self.array, self.shape = array, array.shape

        def __getitem__(self, rows):
            return self.array[rows]

    assert gn.data.lazy(Untyped(X), batch_size=4)[0].shape == (4, 6, 2)
    with pytest.raises(OSError, match=r"samples 0 to 1 of `x` cannot be read: .* must hold real numbers"):
        gn.data.lazy(Untyped(np.array(["cat", "dog"])))[0]


def test_types_of_other_libraries_are_no_hindrance():
    class Tensor(Recorder):
        def __init__(self, array):
            super().__init__(array)
            self.dtype = type("float32", (), {"__repr__": lambda self: "torch.float32"})()

    assert gn.data.lazy(Tensor(X), batch_size=4)[0].shape == (4, 6, 2)


def test_a_closed_file_is_said_to_be_closed():
    class Closed:
        def __getitem__(self, rows):
            raise AssertionError

        @property
        def shape(self):
            raise KeyError("Invalid dataset identifier")

    model = gn.Sequential([gn.Input((None, 2)), layers.Conv1D(2, 3, padding="same")], seed=0)
    for call in (
        lambda: gn.data.lazy(Closed()),
        lambda: gn.data.lazy(X, Closed()),
        lambda: model.predict_windows(Closed(), 32),
        lambda: model.predict_windows(X[0], 32, out=Closed()),
    ):
        with pytest.raises(ValueError, match=r"argument cannot be read \(.*must be open"):
            call()


def test_a_dataset_of_a_closed_file_is_said_to_be_closed(tmp_path):
    for asked in (False, True):
        dataset = hdf5(tmp_path)
        if asked:  # the shape is then known without the file
            gn.data.lazy(dataset)
        dataset.file.close()
        with pytest.raises(ValueError, match=r"`x` argument cannot be read \(.*must be open"):
            gn.data.lazy(dataset)


@pytest.mark.parametrize(
    "call", [lambda model, data: model.fit(data, verbose=0), lambda _, data: data[0], list]
)
def test_a_batch_of_another_number_of_samples_is_an_error(call):
    class Short(gn.data.Batches):
        def read(self, rows):
            return np.zeros((len(rows) - 1, 8)), np.zeros(len(rows) - 1)

    model = gn.Sequential([gn.Input((8,)), gn.layers.Dense(1)])
    model.compile("sgd", "mse")
    data = Short(10, 4)
    with pytest.raises(
        ShapeError, match=r"Short\.read was asked for 4 samples and gave inputs of shape \(3, 8\)"
    ):
        call(data) if call is list else call(model, data)


def test_a_data_set_without_read_says_what_it_lacks():
    class Lacking(gn.data.Batches):
        """Has samples, and no way to them."""

    with pytest.raises(NotImplementedError, match="Lacking must have a method read that makes a batch"):
        Lacking(4, 2).read(np.arange(2))
