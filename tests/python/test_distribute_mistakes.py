"""What people do wrong who share a run for the first time: all ranks are told at once, and of the cure."""

import warnings

import numpy as np
import pytest
from test_distribute import convolutional, data, ends, trained
from thread_ranks import run

import gridnn as gn
from gridnn import cli, layers
from gridnn.model import handshake

pytestmark = pytest.mark.one_tier

FREE = (None, None, 2)


def compiled(stack, seed=1):
    model = gn.Sequential(stack, seed=seed)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def maps(seed=1):
    """A model for images of any size, and its data."""
    x, _ = data()
    return (
        compiled([gn.Input(FREE), layers.Conv2D(3, 3, padding="same")], seed),
        x,
        (x[..., 0] > 0).astype(int),
    )


# Models


def test_a_model_inside_without_a_seed_is_told_from_other_layers():
    """Its weights are of a seed that was drawn, whatever the outer model's seed."""
    x, y = data()

    def work(ranks):
        inner = gn.Sequential([gn.Input((8, 8, 2)), layers.Conv2D(2, 3)])
        model = compiled([gn.Input((8, 8, 2)), inner, layers.Flatten(), layers.Dense(3)])
        model.fit(x, y, verbose=0, distribute=ranks)

    error = str(ends(2, work))
    assert error.startswith(
        "ranks differ from rank 0 in weights (rank 1): in all of them call gn.set_random_seed"
    )
    assert "layers" not in error


def test_seeds_may_differ_where_weights_are_the_same():
    """As where all ranks load a file, or set what they computed."""
    x, y = data()
    weights = convolutional(5).get_weights()

    def work(ranks=None):
        model = convolutional(ranks and ranks.rank)
        model.set_weights(weights)
        return model.fit(x, y, batch_size=20, seed=1, verbose=0, distribute=ranks).history

    assert run(2, work) == [work()] * 2


def test_a_model_that_is_built_by_the_data_begins_with_its_seed():
    x, y = data()

    def work(ranks, seeds):
        model = compiled([layers.Flatten(), layers.Dense(3)], seeds[ranks.rank])
        return model.fit(x, y, seed=1, verbose=0, distribute=ranks).history["loss"]

    assert "weights (rank 1): in all of them" in str(ends(2, lambda ranks: work(ranks, [1, 2])))
    first, second = run(2, lambda ranks: work(ranks, [1, 1]))
    assert first == second


def test_the_first_layer_that_differs_is_named():
    x, y = data()

    def work(ranks):
        filters = 3 if ranks.rank == 2 else 2
        stack = layers.Conv2D(2, 1, name="first"), layers.Conv2D(filters, 3, name="second"), layers.Flatten()
        compiled([gn.Input((8, 8, 2)), *stack, layers.Dense(3)]).fit(x, y, verbose=0, distribute=ranks)

    assert str(ends(3, work)) == (
        "ranks differ from rank 0 in layers (rank 2), the first of them 'second': all build the same model"
    )


def test_a_layer_that_one_rank_has_alone_is_named():
    x, y = data()

    def work(ranks):
        more = [layers.ReLU(name="more")] if ranks.rank else []
        compiled([gn.Input((8, 8, 2)), layers.Flatten(), layers.Dense(3), *more]).fit(
            x, y, verbose=0, distribute=ranks
        )

    assert "the first of them 'more'" in str(ends(2, work))


@pytest.mark.parametrize("what", ["rate", "loaded"])
def test_what_rank_0_alone_does_to_its_model(what):
    def work(ranks):
        model = convolutional()
        if ranks.is_main and what == "rate":
            model.optimizer.learning_rate = 0.5
        if ranks.is_main and what == "loaded":
            model.set_weights(convolutional(7).get_weights())
        model.fit(*data(), verbose=0, distribute=ranks)

    expected = {
        "rate": "compilation (rank 1): all compile alike, learning rate included",
        "loaded": "weights that are loaded or set are so on every rank",
    }
    assert expected[what] in str(ends(2, work))


# Data


def part(ranks, *arrays):
    return [array[ranks.rank :: ranks.size] for array in arrays]


@pytest.mark.parametrize("call", ["fit", "evaluate", "predict"])
@pytest.mark.parametrize("samples", [40, 39])
def test_parts_of_the_data_are_refused(call, samples):
    """Also where the parts have one length, and the same targets."""

    def work(ranks):
        x, y = part(ranks, data(samples)[0], np.zeros(samples, int))
        arguments = [x] if call == "predict" else [x, y]
        getattr(convolutional(), call)(*arguments, verbose=0, distribute=ranks)

    error = str(ends(2, work))
    assert "every rank is given all samples" in error
    assert "(rank 1)" in error


def test_another_order_of_the_inputs_is_refused():
    def work(ranks):
        x, y = data()
        convolutional().fit(x[:: -1 if ranks.rank else 1], y, verbose=0, distribute=ranks)

    assert str(ends(2, work)) == (
        "ranks differ from rank 0 in inputs (rank 1): every rank is given all samples in the same order, and "
        "computes its own"
    )


def test_a_batch_size_for_each_rank_is_refused():
    def work(ranks):
        convolutional().fit(*data(), batch_size=20 - ranks.rank, verbose=0, distribute=ranks)

    error = str(ends(2, work))
    assert "data (rank 1): every rank is given all samples, and the batch size of the whole batch" in error


def test_of_large_samples_a_part_is_looked_at():
    large = np.zeros((3, 4, 1 << 18), np.uint8)
    other = large.copy()
    other[2, 2, 1 << 17] = 1
    assert len(handshake._some(large)) < 1 << 18
    assert handshake._digest([handshake._some(large)]) != handshake._digest([handshake._some(other)])
    assert handshake._some(np.zeros((0, 1 << 20))).size == 0


class Batches:
    """What yields batches anew in each epoch, of samples that `draw` names."""

    def __init__(self, draw, count=3):
        self.draw, self.count = draw, count

    def __iter__(self):
        x, y = data()
        for number in range(self.count):
            rows = self.draw(number)
            yield x[rows], y[rows]


@pytest.mark.parametrize("call", ["fit", "evaluate", "predict", "validation"])
@pytest.mark.parametrize("first", [0, 1])
def test_batches_of_other_samples_are_refused(call, first, tmp_path):
    """Ranks compute shares of batches: mixtures of several give the same weights everywhere."""
    before = [weights.tobytes() for weights in convolutional().get_weights()]

    def work(ranks):
        batches = Batches(lambda number: np.arange(16) + ranks.rank * (number >= first))
        model = convolutional()
        checkpoint = gn.callbacks.ModelCheckpoint(tmp_path / "model.gridnn")
        options = {"verbose": 0, "distribute": ranks}
        try:
            if call == "fit":
                model.fit(batches, epochs=2, seed=1, callbacks=[checkpoint], **options)
            elif call == "validation":
                model.fit(*data(), validation_data=batches, callbacks=[checkpoint], seed=1, **options)
            else:
                getattr(model, call)(batches, **options)
        finally:
            untouched = [weights.tobytes() for weights in model.get_weights()] == before
            assert untouched == (call not in ("fit", "validation") or (call == "fit" and first == 0))

    error = str(ends(2, work))
    assert error.startswith("ranks differ from rank 0 in batches (rank 1): what yields them gives each rank")
    assert not list(tmp_path.iterdir())


def test_batches_of_other_targets_are_refused():
    def work(ranks):
        x, y = data()
        convolutional().fit([(x, y), (x, (y + ranks.rank) % 3)], verbose=0, distribute=ranks)

    assert "in batches (rank 1)" in str(ends(2, work))


def test_batches_that_agree_have_the_bytes_of_one_process():
    def work(ranks=None):
        batches = Batches(lambda number: np.random.default_rng(number).integers(0, 40, 16))
        model = convolutional()
        history = model.fit(batches, validation_data=batches, epochs=2, seed=1, verbose=0, distribute=ranks)
        outputs = model.predict(batches, verbose=0, distribute=ranks)
        return history.history, model.evaluate(batches, verbose=0, distribute=ranks), outputs.tobytes()

    assert run(3, work) == [work()] * 3


# Batches that are too small


def test_small_batches_are_refused_for_images_of_any_size_too():
    def work(ranks):
        model, x, y = maps()
        model.fit(x, y, batch_size=7, verbose=0, distribute=ranks)

    error = str(ends(2, work))
    assert error.startswith("2 ranks cannot share batches of 7 samples, which are cut into 1 chunk.")
    model = convolutional()
    assert [model.network.chunks(size) for size in (7, 8)] == [1, 8]


def test_small_batches_of_an_iterable_are_warned_of_once():
    def work(ranks):
        model, x, y = maps()
        model.fit([(x[:5], y[:5]), (x[5:], y[5:])], epochs=2, verbose=0, seed=1, distribute=ranks)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert run(2, work) == [None, None]
    assert [str(each.message) for each in caught] == [
        "2 ranks share nothing of a batch of 5 samples, which each computes as a whole: make batches of 8 "
        "samples or more, or start one process."
    ]
    assert run(1, work) == [None]


def test_costs_are_those_of_runs_that_fit_would_begin():
    with pytest.raises(ValueError, match="9 ranks cannot share batches of 16 samples"):
        gn.inspect.distributed_costs(convolutional(), 16, 9)
    with pytest.raises(ValueError, match=r"sizes. Received \(None, None, None, 2\): build the same model"):
        gn.inspect.distributed_costs(maps()[0], 16, 2)


# What is printed


def test_rank_0_alone_may_be_verbose(tmp_path):
    def work(ranks):
        backup = gn.callbacks.BackupAndRestore(tmp_path, save_freq=1)
        options = {"seed": 1, "callbacks": [backup], "distribute": ranks}
        convolutional().fit(*data(), verbose=2 if ranks.is_main else 0, **options)

    assert run(2, work) == [None, None]


def test_callbacks_print_on_rank_0(capsys):
    class Said(gn.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append(self.is_main)

    seen = []

    def work(ranks):
        chatty = [
            gn.callbacks.EarlyStopping("loss", patience=0, restore_best_weights=True, verbose=1, min_delta=9),
            gn.callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=9, verbose=1),
            gn.callbacks.LearningRateScheduler(lambda epoch, rate: rate, verbose=1),
            gn.callbacks.TerminateOnNaN(),
            Said(),
        ]
        x, y = data()
        model = convolutional()
        options = {"verbose": 0, "seed": 1, "distribute": ranks}
        model.fit(x, y, epochs=3, callbacks=chatty, **options)
        model.fit(x * 1e30, y, callbacks=chatty[3:], **options)

    assert run(2, work) == [None, None]
    lines = capsys.readouterr().out.split("\n")
    for words in ("early stopping", "Restoring", "ReduceLROnPlateau", "LearningRateScheduler", "Invalid"):
        said = [line for line in lines if words in line]
        assert len(said) == len(set(said)) > 0, words
    assert sorted(seen) == [False, False, True, True]


def test_the_engine_shares_batches_from_as_many_samples_as_messages_say():
    network, shared = convolutional().network, handshake._ALWAYS_SHARED
    assert network.chunks(shared - 1) == 1 < network.chunks(shared)


def test_the_command_names_its_own_option(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PMI_SIZE", "2")
    x, y = data()
    np.savez(tmp_path / "data.npz", x=x, y=y)
    arguments = f"--data {tmp_path}/data.npz --out {tmp_path}/model.gridnn --epochs 1".split()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert cli.main(["train", *arguments]) == 0
    warned = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warned) == 1
    assert warned[0].endswith(
        "trains the same model on all data: `--distribute mpi` has them share the batches."
    )


def test_a_child_of_a_rank_was_not_launched(monkeypatch):
    """Its environment is the rank's, but it trains a model of its own."""
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setattr("multiprocessing.process.parent_process", lambda: "the rank")
    trained()
