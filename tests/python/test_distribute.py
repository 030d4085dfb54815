"""Training that several ranks share, here threads: the bytes of one process, and one error for all."""

import json
import pickle
import sys
import time

import numpy as np
import pytest
from noting import Noting
from thread_ranks import run

import gridnn as gn
from gridnn import layers
from gridnn._ranks import launched
from gridnn.errors import DistributedError

pytestmark = pytest.mark.one_tier


def data(samples=40, shape=(8, 8, 2), classes=3):
    rng = np.random.default_rng(5)
    return rng.normal(size=(samples, *shape)).astype("float32"), rng.integers(0, classes, samples)


def convolutional(seed=1):
    model = gn.Sequential(
        [
            gn.Input((8, 8, 2)),
            layers.RandomFlip("horizontal"),
            layers.Conv2D(4, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Residual([layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization()]),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(12),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.3),
            layers.Dense(3),
        ],
        seed=seed,
    )
    optimizer = gn.optimizers.Adam(0.01, global_clipnorm=0.5, use_ema=True)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def left(model, history):
    """Everything that training has left, comparable."""
    state = model.network.optimizer_state()
    return (
        [weights.tobytes() for weights in model.get_weights()],
        {name: slot.tobytes() for name, slot in state.items()},
        {name: [float(value).hex() for value in values] for name, values in history.history.items()},
    )


def trained(distribute=None, model=None, **options):
    x, y = data()
    model = model or convolutional()
    history = model.fit(
        x,
        y,
        batch_size=13,
        epochs=2,
        validation_split=0.2,
        seed=3,
        verbose=0,
        distribute=distribute,
        **options,
    )
    results = model.evaluate(x, y, batch_size=16, verbose=0, distribute=distribute)
    outputs = model.predict(x, batch_size=16, distribute=distribute)
    return *left(model, history), results, outputs.tobytes()


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_ranks_end_with_the_bytes_of_one_process(size):
    expected = trained()
    for result in run(size, trained):
        assert result == expected


# Halves of all that a step sends, of some of it, and of nothing: the rest goes in messages.
@pytest.mark.parametrize("room", [1 << 20, 47 * 64, 0])
@pytest.mark.parametrize(("size", "headers"), [(2, True), (3, True), (3, False)])
def test_ranks_that_share_memory_do_as_well(size, headers, room):
    expected = trained()
    for result in run(size, trained, room, headers):
        assert result == expected


def test_memory_is_written_while_slower_ranks_still_read():
    rng = np.random.default_rng(0)
    rounds = [
        [rng.integers(0, 256, 60 + 8 * rank + number, np.uint8) for rank in range(3)] for number in range(6)
    ]

    def work(ranks):
        with ranks.session():
            for number, parts in enumerate(rounds):
                own, ends = parts[ranks.rank], np.cumsum([len(part) for part in parts]).tolist()
                ranks.outbox(len(own))[: len(own)] = own
                found = ranks.gather_parts(ends)
                if ranks.rank == number % 3:
                    time.sleep(0.02)
                assert all(map(np.array_equal, found, parts))

                # To each a part of its own: a byte to the one, two to the next.
                lens = [0 if rank == ranks.rank else rank + 1 for rank in range(3)]
                ranks.outbox(sum(lens))[: sum(lens)] = ranks.rank
                come = [0 if rank == ranks.rank else ranks.rank + 1 for rank in range(3)]
                found = ranks.exchange_parts(np.cumsum(lens).tolist(), np.cumsum(come).tolist())
                if ranks.rank == (number + 1) % 3:
                    time.sleep(0.02)
                assert [part.tolist() for part in found] == [[rank] * come[rank] for rank in range(3)]
        return ranks.sent

    sent = 2 * sum(len(parts[0]) for parts in rounds) + 6 * (2 + 3)
    for headers in (True, False):
        assert [run(3, work, room, headers)[0] for room in (1024, 64, 0, None)] == [sent] * 4


def test_a_rank_that_fails_with_memory_shared_leaves_nobody_waiting_and_nothing_behind():
    def gather(ranks, times):
        with ranks.session():
            for _ in range(times):
                ranks.outbox(1)
                ranks.gather_parts([1, 2])
            raise ValueError("enough")

    def work(ranks):
        # A rank fails; its half of the memory is not that which the other one has come to.
        with pytest.raises(DistributedError, match="enough"):
            gather(ranks, 1 + ranks.rank)
        return trained(ranks)

    expected = trained()
    assert run(2, work, 1 << 16) == [expected, expected]


class Centred(layers.Layer):
    """Looks at the whole batch, as a layer of its own may."""

    def call(self, x):
        return x - x.mean(axis=0)

    def backward(self, x, dy):
        return dy - dy.mean(axis=0)


class Squares(gn.losses.Loss):
    def call(self, y_true, y_pred):
        return ((y_pred - y_true) ** 2).mean(axis=-1)

    def gradient(self, y_true, y_pred):
        return 2 * (y_pred - y_true) / y_pred.shape[-1]


def own_code(distribute=None):
    stack = [
        gn.Input((8, 8, 2)),
        layers.Conv2D(3, 3),
        Centred(),
        layers.BatchNormalization(),
        layers.MixUp(0.4),
        layers.Conv2D(3, 3),
        layers.Flatten(),
        layers.Dense(4),
    ]
    model = gn.Sequential(stack, seed=1)
    model.compile("adam", Squares(), metrics=["mae"])
    x = data()[0]
    y = np.random.default_rng(1).normal(size=(len(x), 4))
    history = model.fit(x, y, batch_size=13, epochs=2, seed=1, verbose=0, distribute=distribute)
    return left(model, history)


def test_layers_and_losses_in_python():
    expected = own_code()
    assert run(3, own_code) == [expected] * 3


def masks(distribute=None):
    """A loss of the whole batch, and targets that follow what moves samples."""
    stack = [
        gn.Input((8, 8, 1)),
        layers.RandomFlip("horizontal"),
        layers.Conv2D(4, 3, padding="same", activation="relu"),
        layers.Conv2D(2, 1, activation="softmax"),
    ]
    model = gn.Sequential(stack, seed=1)
    model.compile("adam", gn.losses.Dice())
    rng = np.random.default_rng(2)
    x = rng.normal(size=(20, 8, 8, 1)).astype("float32")
    y = np.eye(2)[(x[..., 0] > 0).astype(int)]
    history = model.fit(x, y, batch_size=9, epochs=2, seed=1, verbose=0, distribute=distribute)
    return left(model, history)


def test_masks_and_a_loss_of_the_whole_batch():
    expected = masks()
    assert run(3, masks) == [expected] * 3


def lazy_masks(distribute=None):
    """Masks of a page each, read from a disk in training, validation and evaluation."""
    stack = [
        gn.Input((32, 64, 1)),
        layers.Conv2D(3, 3, padding="same", activation="relu"),
        layers.Conv2D(4, 1),
    ]
    model = gn.Sequential(stack, seed=1)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(2)
    x = rng.normal(size=(29, 32, 64, 1)).astype("float32")
    y = rng.integers(0, 4, (29, 32, 64)).astype("uint16")
    sources = [Noting(y), Noting(y), Noting(y)]
    training, validation, evaluated = (gn.data.lazy(x, source, 10, buffer=14) for source in sources)
    history = model.fit(
        training, validation_data=validation, epochs=2, seed=1, verbose=0, distribute=distribute
    )
    results = model.evaluate(evaluated, verbose=0, distribute=distribute)
    return [source.read for source in sources], (*left(model, history), list(results))


def test_masks_on_a_disk_are_read_by_the_rank_that_computes_them():
    whole, expected = lazy_masks()
    assert whole == [58, 58, 29]
    found = run(3, lazy_masks)
    assert [result for _, result in found] == [expected] * 3
    counts = np.array([read for read, _ in found])
    assert counts.sum(axis=0).tolist() == whole
    assert (counts <= np.array(whole) * 0.45).all(), counts


def test_masks_of_other_sizes_are_an_error_of_all_ranks():
    x = np.zeros((24, 64, 64, 1), "float32")

    def work(ranks):
        kind = "uint8" if ranks.rank else "uint16"
        data = gn.data.lazy(x, np.zeros((24, 64, 64), kind), 12)
        model = gn.Sequential([gn.Input((64, 64, 1)), layers.Conv2D(2, 1)], seed=1)
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(data, verbose=0, seed=1, distribute=ranks)

    errors = run(2, work)
    assert all(type(error) is gn.errors.DistributedError for error in errors)
    assert {"rank 1 had other batches than rank 0" in str(error) for error in errors} == {True}


def graph(distribute=None):
    rng = np.random.default_rng(7)
    x = [rng.normal(size=(24, 6, 1)).astype("float32"), rng.normal(size=(24, 4)).astype("float32")]
    y = [rng.normal(size=(24, 2)), rng.integers(0, 3, 24)]
    series, numbers = gn.Input((6, 1), name="series"), gn.Input((4,), name="numbers")
    body = layers.Conv1D(5, 3, activation="relu")(series)
    body = layers.GlobalMaxPooling1D()(body)
    joined = layers.Concatenate()([body, layers.Dense(5, activation="tanh")(numbers)])
    outputs = [layers.Dense(2, name="values")(joined), layers.Dense(3, name="classes")(joined)]
    model = gn.Model([series, numbers], outputs, seed=2)
    model.compile("sgd", ["mse", "sparse_categorical_crossentropy"], loss_weights=[1.0, 0.3])
    history = model.fit(x, y, batch_size=10, epochs=2, seed=1, verbose=0, distribute=distribute)
    return left(model, history)


def test_graph_models():
    expected = graph()
    assert run(3, graph) == [expected] * 3


def test_a_rank_that_fails_is_the_same_error_on_all():
    class Fails(gn.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1 and self.rank == 2:
                raise ValueError("the disk is full")

    def work(ranks):
        callback = Fails()
        callback.rank = ranks.rank
        trained(ranks, callbacks=[callback])

    errors = run(3, work)
    assert all(type(error) is gn.errors.DistributedError for error in errors)
    messages = {str(error) for error in errors}
    assert len(messages) == 1
    assert "rank 2 (host " in messages.pop()
    assert isinstance(errors[2].__cause__, ValueError)


def test_an_error_of_all_ranks_is_itself():
    def work(ranks):
        convolutional().fit(*data(shape=(7, 7, 2)), verbose=0, distribute=ranks)

    errors = run(2, work)
    assert all(type(error) is gn.errors.ShapeError for error in errors)


@pytest.mark.parametrize("row", [0, 20, 39])
def test_infinity_in_any_share_is_the_same_error(row):
    def work(ranks):
        x, y = data()
        x[row, 0, 0, 0] = np.inf
        convolutional().fit(x, y, batch_size=40, verbose=0, shuffle=False, distribute=ranks)

    errors = run(3, work)
    assert all(isinstance(error, gn.errors.NonFiniteError) for error in errors)
    assert len({str(error) for error in errors}) == 1


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("seed", "weights (rank 1)"),
        ("targets", "targets (rank 1)"),
        ("epochs", "epochs (rank 1)"),
        ("optimizer", "compilation (rank 1)"),
        ("layers", "layers (rank 1)"),
    ],
)
def test_mismatches_are_named(change, name):
    def work(ranks):
        other = ranks.rank == 1
        x, y = data()
        model = convolutional(seed=2 if change == "seed" and other else 1)
        if change == "layers" and other:
            model = gn.Sequential([gn.Input((8, 8, 2)), layers.Flatten(), layers.Dense(3)], seed=1)
            model.compile("adam", "sparse_categorical_crossentropy")
        if change == "optimizer" and other:
            model.compile(gn.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
        if change == "targets" and other:
            y = y[::-1].copy()
        model.fit(x, y, epochs=2 if change == "epochs" and other else 1, verbose=0, distribute=ranks)

    errors = run(2, work)
    for error in errors:
        assert type(error) is gn.errors.DistributedError
        assert name in str(error)


def test_rank_0_ends_training_and_writes_files(tmp_path):
    class Stops(gn.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = self.rank == 0

    def work(ranks):
        stops = Stops()
        stops.rank = ranks.rank
        log = gn.callbacks.CSVLogger(tmp_path / f"{ranks.rank}.csv")
        return len(trained(ranks, callbacks=[stops, log])[2]["loss"])

    assert run(2, work) == [1, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["0.csv"]


def test_a_rank_without_chunks_of_the_last_batch_takes_part():
    """Eight chunks of a full batch, five of the last one."""
    x, y = data(29)

    def work(ranks=None):
        model = convolutional()
        return left(model, model.fit(x, y, batch_size=16, seed=1, verbose=0, distribute=ranks))

    assert run(8, work) == [work()] * 8


@pytest.mark.parametrize(
    ("batch_size", "message"),
    [(13, "cut into 7 chunks. Start at most 7 ranks"), (5, "cut into 1 chunk. Start one process")],
)
def test_more_ranks_than_chunks_are_refused(batch_size, message):
    def work(ranks):
        convolutional().fit(*data(), batch_size=batch_size, verbose=0, distribute=ranks)

    errors = run(9, work)
    assert all(type(error) is ValueError for error in errors)
    assert all(message in str(error) for error in errors)


def ends(size, work):
    """What all ranks raise: the same kind of error, with the same words."""
    errors = run(size, work)
    assert len({(type(error), str(error)) for error in errors}) == 1, errors
    return errors[0]


def test_a_seed_that_some_ranks_are_not_given_is_that_of_rank_0():
    x, y = data()

    def work(ranks, seed=3):
        model = convolutional()
        return left(model, model.fit(x, y, batch_size=20, seed=seed, verbose=0, distribute=ranks))

    expected = work(None)
    assert run(2, lambda ranks: work(ranks, None if ranks.rank else 3)) == [expected] * 2
    error = ends(2, lambda ranks: work(ranks, 2**40 + 5 if ranks.rank else None))
    assert str(error) == (
        "ranks differ from rank 0 in seed (rank 1): `fit` is given the same one everywhere, or none: then "
        "rank 0 draws it"
    )


@pytest.mark.filterwarnings("ignore:3 ranks share nothing")
@pytest.mark.parametrize("size", [20, 5])
@pytest.mark.parametrize("steps", [None, 4])
def test_a_generator_that_ends_early_on_one_rank(size, steps):
    """Ranks exchange nothing in steps on five samples."""
    x, y = data(80)

    def work(ranks):
        def batches():
            for first in range(0, size * (3 if ranks.rank == 1 else 4), size):
                yield x[first : first + size], y[first : first + size]

        passes = batches() if steps else type("Batches", (), {"__iter__": lambda _: batches()})()
        options = {"epochs": 1 if steps else 3, "steps_per_epoch": steps, "seed": 1}
        convolutional().fit(passes, verbose=0, distribute=ranks, **options)

    error = ends(3, work)
    assert type(error) is gn.errors.DistributedError
    assert "do not take part in the same exchange" in str(error)
    assert "rank 1 at number" in str(error)
    assert str(error).endswith("as many batches of the same sizes")


@pytest.mark.parametrize("call", ["evaluate", "predict"])
def test_a_generator_that_ends_early_in_other_calls(call):
    x, y = data(20)

    def work(ranks):
        batches = [(x[i : i + 5], y[i : i + 5]) for i in range(0, 15 if ranks.rank else 20, 5)]
        getattr(convolutional(), call)(iter(batches), verbose=0, distribute=ranks)

    assert str(ends(2, work)).startswith("rank 1 had other batches than rank 0 (in number, samples or bytes)")


def test_weights_that_a_callback_changes_on_one_rank_are_found_after_the_epoch(tmp_path):
    class Halves(gn.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.rank == 2:
                self.model.optimizer.learning_rate /= 2

    def work(ranks):
        halves = Halves()
        halves.rank = ranks.rank
        trained(ranks, callbacks=[halves, gn.callbacks.ModelCheckpoint(tmp_path / "model.gridnn")])

    error = ends(3, work)
    assert str(error).startswith("after epoch 1 ranks differ from rank 0 in weights (rank 2): ")
    assert "learning rate" in str(error)
    assert not list(tmp_path.iterdir())


def test_predictions_of_other_weights_are_refused():
    x, _ = data(20)

    def work(ranks):
        convolutional(seed=ranks.rank).predict(iter([x]), verbose=0, distribute=ranks)

    assert "weights (rank 1)" in str(ends(2, work))


@pytest.mark.parametrize("call", ["fit", "evaluate"])
@pytest.mark.parametrize("alone", [0, 1])
def test_a_program_that_ends_while_others_go_on_ends_these(call, alone, capsys):
    """As where rank 0 alone evaluates, with `distribute`."""

    def work(ranks):
        try:
            if ranks.rank == alone:
                getattr(convolutional(), call)(*data(), verbose=0, distribute=ranks)
        except gn.errors.DistributedError as error:
            return str(error)
        finally:
            ranks.leave()  # at the end of each program
        return None

    found = run(3, work)
    first = 1 if alone == 0 else 0
    assert found[alone].startswith(f"rank {first} (host ")
    assert found[alone].endswith("its program ended while other ranks went on; all ranks make the same calls")
    assert found.count(None) == 2
    assert capsys.readouterr().err.count("its program ended") == (alone == 1)  # by rank 0


def test_programs_that_end_together_say_nothing(capsys):
    def work(ranks):
        trained(ranks)
        ranks.leave()

    assert run(2, work) == [None, None]
    assert capsys.readouterr() == ("", "")


def test_more_ranks_than_chunks_of_a_lazy_source_are_refused():
    x, y = data()

    def work(ranks):
        convolutional().fit(gn.data.lazy(x, y, 13), verbose=0, distribute=ranks)

    assert "cut into 7 chunks. Start at most 7 ranks" in str(ends(8, work))


def test_a_backup_that_cannot_be_written_ends_all_ranks(tmp_path):
    (tmp_path / "file").touch()

    def work(ranks):
        backup = gn.callbacks.BackupAndRestore(tmp_path / "file" / "backup", save_freq=1)
        trained(ranks, callbacks=[backup])

    error = ends(3, work)
    assert type(error) is gn.errors.DistributedError
    assert str(error).startswith("rank 0 (host ")
    assert "NotADirectoryError: " in str(error) or "FileNotFoundError: " in str(error)  # on Windows


def test_a_backup_that_a_rank_does_not_see_is_the_one_thing_named(tmp_path):
    class Stops(gn.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                raise KeyboardInterrupt

    def backup(folder=tmp_path / "0"):
        return gn.callbacks.BackupAndRestore(folder, save_freq=1)

    with pytest.raises(KeyboardInterrupt):
        trained(callbacks=[backup(), Stops()])
    error = ends(3, lambda ranks: trained(ranks, callbacks=[backup(tmp_path / str(ranks.rank))]))
    assert str(error) == (
        "ranks differ from rank 0 in backup (ranks 1, 2): every rank reads it, so it belongs into a folder "
        "that all hosts see"
    )


def test_callbacks_of_some_ranks_are_refused(tmp_path):
    def work(ranks):
        log = [] if ranks.rank else [gn.callbacks.CSVLogger(tmp_path / "log.csv")]
        trained(ranks, callbacks=log)

    assert "callbacks (rank 1): every rank is given all of them" in str(ends(2, work))


def test_an_error_that_names_a_strange_file_reaches_all():
    class Fails(gn.callbacks.Callback):
        def on_train_begin(self, logs=None):
            if self.rank == 1:
                raise OSError("cannot open \udcff.npy")

    def work(ranks):
        callback = Fails()
        callback.rank = ranks.rank
        trained(ranks, callbacks=[callback])

    assert r"OSError: cannot open \udcff.npy" in str(ends(2, work))


def test_report(capsys):
    def work(ranks):
        trained(ranks)
        ranks.report()

    assert run(2, work) == [None, None]
    assert "2 ranks, 6 steps" in capsys.readouterr().out


@pytest.mark.parametrize("size", [2, 3])
def test_computed_costs_are_what_is_sent(size):
    x, y = data(32)

    def work(ranks):
        convolutional().fit(x, y, batch_size=32, verbose=0, seed=1, distribute=ranks)
        return ranks.sent, ranks.exchanges

    costs = gn.inspect.distributed_costs(convolutional(), 32, size)
    # What a metric has of a sample depends on the metric; the rest is exact.
    sent, exchanges = run(size, work)[0]
    assert costs.bytes - costs.sent["scores"] <= sent <= costs.bytes + costs.sent["scores"]
    assert costs.exchanges == exchanges
    assert {"sums", "statistics", "scores"} <= set(costs.sent)
    assert costs.seconds > gn.inspect.distributed_costs(convolutional(), 32, size, bandwidth=1e12).seconds > 0


def test_costs_of_one_rank_are_none():
    costs = gn.inspect.distributed_costs(convolutional(), 32, 1)
    assert (costs.bytes, costs.exchanges, costs.seconds) == (0, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch": 0}, "`batch`"),
        ({"ranks": 1.5}, "`ranks`"),
        ({"bandwidth": 0}, "`bandwidth`"),
        ({"latency": -1}, "`latency`"),
    ],
)
def test_impossible_costs_are_refused(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        gn.inspect.distributed_costs(convolutional(), **{"batch": 32, "ranks": 2, **arguments})


def test_launchers_are_known(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "4")
    assert launched() == 4
    with pytest.warns(UserWarning, match="4 processes were launched"):
        trained()


def test_what_is_not_a_rank_is_refused():
    with pytest.raises(TypeError, match="`distribute` argument"):
        trained("mpi")


def test_without_mpi4py_the_error_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ImportError, match=r'pip install "gridnn\[mpi\]"'):
        gn.distribute.MPI()


def test_errors_survive_pickling():
    error = gn.errors.DistributedError("rank 1")
    assert str(pickle.loads(pickle.dumps(error))) == "rank 1"
    assert json.dumps(str(error))
