"""Epochs, batches, weights of samples and classes, validation, seeds, iterables."""

import itertools
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import twins

import gridnn as gn
from gridnn import layers, losses, optimizers
from gridnn._core import fused_tiers
from gridnn.model.data import Arrays, Target
from gridnn.model.sources import ArraySource

RNG = np.random.default_rng(3)
X = RNG.normal(size=(10, 4)).astype(np.float32)
Y = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])


def make(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=("accuracy",), **arguments):
    model = gn.Sequential([gn.Input((4,)), layers.Dense(5, "tanh"), layers.Dense(3)], seed=1, **arguments)
    model.compile(optimizer, loss, metrics=list(metrics))
    return model


def bytes_of(model):
    return b"".join(w.tobytes() for w in model.get_weights())


def still(**arguments):
    """A model whose weights do not change: logs are then those of an evaluation."""
    return make(optimizer=optimizers.SGD(0.0), dtype="float64", **arguments)


def losses_of(model, x=X, y=Y):
    """Loss of every sample, by the twin."""
    return twins.sparse_categorical_crossentropy(y, twins.forward(model, model.get_weights(), x))[0]


def test_history_and_learning():
    model = make(optimizer=optimizers.Adam(0.05))
    history = model.fit(X, Y, batch_size=4, epochs=30, verbose=0, seed=0)
    assert set(history.history) == {"loss", "accuracy"}
    assert history.epoch == list(range(30))
    assert history.history["loss"][-1] < history.history["loss"][0] / 2
    assert all(type(value) is float for value in history.history["loss"])


def test_logged_loss_is_the_mean_over_samples():
    model = still()
    logs = model.fit(X, Y, batch_size=4, verbose=0).history  # batches of 4, 4 and 2
    assert logs["loss"][0] == pytest.approx(losses_of(model).mean())
    predicted = twins.forward(model, model.get_weights(), X).argmax(-1)
    assert logs["accuracy"][0] == pytest.approx((predicted == Y).mean())


def test_evaluate():
    model = still()
    loss = losses_of(model).mean()
    assert model.evaluate(X, Y, batch_size=3, verbose=0)[0] == pytest.approx(loss)
    assert model.evaluate(X, Y, verbose=0, return_dict=True)["loss"] == pytest.approx(loss)
    first = losses_of(model, X[:6], Y[:6]).mean()
    assert model.evaluate(X, Y, batch_size=3, steps=2, verbose=0)[0] == pytest.approx(first)
    assert still(metrics=()).evaluate(X, Y, verbose=0) == pytest.approx(loss)
    assert model.evaluate([(X[:5], Y[:5]), (X[5:], Y[5:])], verbose=0)[0] == pytest.approx(loss)
    with pytest.raises(ValueError, match="`batch_size`"):
        model.evaluate([(X, Y)], batch_size=3, verbose=0)


def test_on_batch_methods():
    model = still()
    loss = losses_of(model).mean()
    for method in (model.train_on_batch, model.test_on_batch):
        assert method(X, Y)[0] == pytest.approx(loss)
        assert list(method(X, Y, return_dict=True)) == ["loss", "accuracy"]
    assert still(metrics=()).train_on_batch(X, Y) == pytest.approx(loss)
    # Each call stands for itself: the second batch's value does not include the first's.
    first = losses_of(model, X[:1], Y[:1]).mean()
    assert model.train_on_batch(X[:1], Y[:1])[0] == pytest.approx(first)
    assert model.metrics_names == ["loss", "accuracy"]


def test_sample_weight():
    model = still()
    weight = RNG.uniform(0, 2, size=10)
    expected = (losses_of(model) * weight).mean()  # divided by the count, not by the weights' sum
    assert model.evaluate(X, Y, verbose=0, sample_weight=weight)[0] == pytest.approx(expected)
    assert model.test_on_batch(X, Y, weight[:, np.newaxis])[0] == pytest.approx(expected)
    history = model.fit(X, Y, sample_weight=weight, batch_size=10, verbose=0)
    assert history.history["loss"][0] == pytest.approx(expected)


def test_class_weight():
    model = still()
    factor = np.array([2.0, 0.5, 1.0])[Y]
    expected = (losses_of(model) * factor).mean()
    history = model.fit(X, Y, class_weight={0: 2, 1: 0.5}, batch_size=10, verbose=0)
    assert history.history["loss"][0] == pytest.approx(expected)
    both = model.train_on_batch(X, Y, sample_weight=np.full(10, 3.0), class_weight={0: 2, 1: 0.5})
    assert both[0] == pytest.approx(3 * expected)
    one_hot = still(loss="categorical_crossentropy")
    history = one_hot.fit(X, np.eye(3)[Y], class_weight={0: 2, 1: 0.5}, batch_size=10, verbose=0)
    assert history.history["loss"][0] == pytest.approx(expected)
    batches = model.fit([(X, Y)], class_weight={0: 2, 1: 0.5}, verbose=0)
    assert batches.history["loss"][0] == pytest.approx(expected)


def test_sum_reduction():
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    model = still(loss=loss)
    total = losses_of(model)
    assert model.test_on_batch(X, Y)[0] == pytest.approx(total.sum())
    # Keras' running mean: each batch's sum, weighted by its samples.
    expected = sum(total[a : a + 4].sum() * len(total[a : a + 4]) for a in (0, 4, 8)) / 10
    assert model.evaluate(X, Y, batch_size=4, verbose=0)[0] == pytest.approx(expected)


def test_validation_split_holds_out_the_last_samples():
    model = still()
    history = model.fit(X, Y, validation_split=0.25, verbose=0).history
    assert history["loss"][0] == pytest.approx(losses_of(model)[:7].mean())
    assert history["val_loss"][0] == pytest.approx(losses_of(model)[7:].mean())
    weight = np.arange(10.0)
    history = model.fit(
        X, Y, validation_split=0.3, sample_weight=weight, class_weight={0: 5}, verbose=0
    ).history
    assert history["val_loss"][0] == pytest.approx((losses_of(model) * weight)[7:].mean())
    factor = np.where(Y == 0, 5, 1)
    assert history["loss"][0] == pytest.approx((losses_of(model) * weight * factor)[:7].mean())


def test_validation_data():
    model = still()
    history = model.fit(
        X, Y, validation_data=(X[:3], Y[:3]), validation_split=0.5, verbose=0, validation_batch_size=2
    ).history
    assert history["loss"][0] == pytest.approx(losses_of(model).mean())  # the data beats the split
    assert history["val_loss"][0] == pytest.approx(losses_of(model)[:3].mean())
    weighted = model.fit(X, Y, validation_data=(X[:3], Y[:3], [1, 2, 3]), verbose=0).history
    assert weighted["val_loss"][0] == pytest.approx((losses_of(model)[:3] * [1, 2, 3]).mean())
    limited = model.fit(
        X, Y, validation_data=[X, Y], validation_batch_size=2, validation_steps=2, verbose=0
    ).history
    assert limited["val_loss"][0] == pytest.approx(losses_of(model)[:4].mean())
    batches = [(X[:5], Y[:5]), (X[5:], Y[5:])]
    iterated = model.fit(X, Y, validation_data=batches, epochs=2, verbose=0).history
    assert iterated["val_loss"] == pytest.approx([losses_of(model).mean()] * 2)


@pytest.mark.parametrize(("frequency", "count"), [(1, 5), (2, 2), ([1, 4, 9], 2), ({5}, 1)])
def test_validation_frequency(frequency, count):
    history = make().fit(X, Y, epochs=5, validation_data=(X, Y), validation_freq=frequency, verbose=0).history
    assert len(history["val_loss"]) == count
    assert len(history["loss"]) == 5


def rows(source, epoch):
    return [batch.indices.tolist() for batch in source.batches(epoch)]


def order(source, epoch):
    return list(itertools.chain(*rows(source, epoch)))


def arrays(samples=10):
    loss = losses.SparseCategoricalCrossentropy()
    return Arrays((np.zeros((samples, 1)),), (Target(np.zeros(samples, int), None, loss),))


def test_batches_of_an_epoch():
    source = ArraySource(arrays(), 4)
    assert rows(source, 0) == rows(source, 1) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert source.steps == 3
    shuffled = ArraySource(arrays(), 4, shuffle_seed=1)
    epochs = [order(shuffled, epoch) for epoch in range(4)]
    assert all(sorted(indices) == list(range(10)) for indices in epochs)
    assert len({tuple(indices) for indices in epochs}) == 4
    # An epoch's order does not depend on which epochs came before.
    assert order(ArraySource(arrays(), 4, shuffle_seed=1), 3) == epochs[3]


def test_steps_per_epoch_continue_in_the_data():
    source = ArraySource(arrays(), 4, steps=2)
    assert rows(source, 0) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert rows(source, 1) == [[8, 9], [0, 1, 2, 3]]
    assert rows(source, 2) == [[4, 5, 6, 7], [8, 9]]
    longer = ArraySource(arrays(), 5, steps=3)
    assert rows(longer, 1) == [[5, 6, 7, 8, 9], [0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    model = make()
    model.fit(X, Y, batch_size=4, epochs=3, steps_per_epoch=2, verbose=0)
    assert model.network.iterations == 6


def trained(epochs=3, **arguments):
    model = make()
    model.fit(X, Y, **{"batch_size": 4, "epochs": epochs, "verbose": 0, **arguments})
    return bytes_of(model)


def test_seeds_of_fit():
    assert trained(seed=1) == trained(seed=1)
    assert trained(seed=1) != trained(seed=2)
    assert trained(seed=1, shuffle=False) == trained(seed=2, shuffle=False)
    gn.set_random_seed(3)
    first, second = trained(), trained()
    assert first != second
    gn.set_random_seed(3)
    assert trained() == first
    assert trained() == second


def test_a_continued_fit_equals_an_uninterrupted_one():
    model = make()
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0, seed=1)
    model.fit(X, Y, batch_size=4, epochs=3, initial_epoch=2, verbose=0)  # continues with the same seed
    assert bytes_of(model) == trained(seed=1)


def test_no_epochs():
    model = make()
    before = bytes_of(model)
    assert model.fit(X, Y, epochs=3, initial_epoch=3, verbose=0).history == {}
    assert bytes_of(model) == before


def test_generator_and_iterable():
    expected = make()
    expected.fit(X, Y, batch_size=5, epochs=2, shuffle=False, verbose=0, seed=0)
    batches = [(X[:5], Y[:5]), (X[5:], Y[5:])]

    class Again:
        def __iter__(self):
            return iter(batches)

    def endless():
        while True:
            yield from batches

    for data, steps in ((batches, None), (Again(), None), (endless(), 2), (iter(batches * 2), 2)):
        model = make()
        model.fit(data, epochs=2, steps_per_epoch=steps, verbose=0, seed=0)
        assert bytes_of(model) == bytes_of(expected)


def test_generator_with_weights():
    model = still()
    weight = np.arange(10.0)
    history = model.fit(iter([(X, Y, weight)]), verbose=0).history
    assert history["loss"][0] == pytest.approx((losses_of(model) * weight).mean())


def test_generator_that_ends():
    with pytest.raises(ValueError, match="gave no batch for epoch 2"):
        make().fit(iter([(X, Y)]), epochs=2, verbose=0)
    with pytest.raises(ValueError, match="must give batches"):
        make().fit(iter([X]), verbose=0)
    with pytest.raises(ValueError, match="gave no batch"):
        make().fit(iter([]), verbose=0)


@pytest.mark.parametrize(
    "arguments",
    [{"y": Y}, {"batch_size": 3}, {"sample_weight": np.ones(10)}, {"validation_split": 0.1}],
)
def test_arguments_that_make_no_sense_with_batches(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        make().fit(iter([(X, Y)]), verbose=0, **arguments)


def test_predict():
    model = make()
    whole = model.predict(X, verbose=0)
    assert whole.shape == (10, 3)
    assert whole.tobytes() == model.predict(X, batch_size=3, verbose=0).tobytes()
    assert whole.tobytes() == model.predict(X, batch_size=1, verbose=2).tobytes()
    assert whole[:6].tobytes() == model.predict(X, batch_size=3, steps=2, verbose=0).tobytes()
    assert whole.tobytes() == model.predict(iter([X[:4], X[4:]]), verbose=0).tobytes()
    assert whole.tobytes() == model.predict(((x, y) for x, y in [(X, Y)]), verbose=0).tobytes()
    assert whole[:4].tobytes() == model.predict(iter([X[:4], X[4:]]), steps=1, verbose=0).tobytes()
    with pytest.raises(ValueError, match="no batch"):
        model.predict(iter([]), verbose=0)
    with pytest.raises(ValueError, match="`batch_size`"):
        model.predict(iter([X]), batch_size=2, verbose=0)


def test_more_predictions_than_progress_updates(capsys):
    x = np.ones((1000, 4), np.float32)
    model = make()
    assert model.predict(x, batch_size=1, verbose=1).tobytes() == model.predict(x, verbose=0).tobytes()


def test_compile_again_starts_the_optimizer_afresh():
    model = make()
    model.fit(X, Y, verbose=0)
    assert model.network.iterations == 1
    model.compile("sgd", "ce")
    model.fit(X, Y, verbose=0)
    assert model.network.iterations == 1


def test_labels_of_shape_n_match_outputs_of_shape_n_1():
    model = gn.Sequential([gn.Input((4,)), layers.Dense(1)], seed=1)
    model.compile("sgd", "mse", metrics=["mae"])
    values = RNG.normal(size=10)
    assert model.evaluate(X, values, verbose=0) == model.evaluate(X, values[:, np.newaxis], verbose=0)


def test_labels_for_every_position():
    model = gn.Sequential([gn.Input((3, 3, 2)), layers.Conv2D(4, 1)], seed=1)
    model.compile("adam", losses.SparseCategoricalCrossentropy(ignore_class=-1), metrics=["accuracy"])
    x = RNG.normal(size=(5, 3, 3, 2))
    y = RNG.integers(-1, 4, size=(5, 3, 3))
    model.fit(x, y, verbose=0, epochs=2)
    model.fit(x, y[..., np.newaxis].astype(np.int8), verbose=0)
    with pytest.raises(ValueError, match="label -2"):
        model.fit(x, np.where(y == 0, -2, y), verbose=0)


def test_a_trainer_by_itself():
    model = make()
    trainer = gn.Trainer(model)
    assert trainer.model is model
    history = trainer.fit(X, Y, epochs=2, verbose=0)
    assert len(history.history["loss"]) == 2
    assert trainer.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    assert trainer.predict(X).tobytes() == model.predict(X).tobytes()


@pytest.fixture
def _interruptible():
    # A shell starts its background jobs with Ctrl-C ignored, and Python leaves it at that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself SIGINT there")
@pytest.mark.usefixtures("_interruptible")
def test_interrupt_leaves_whole_steps():
    def wide():
        stack = [gn.Input((24, 24, 3)), layers.Conv2D(16, 3, activation="relu"), layers.Conv2D(16, 3)]
        model = gn.Sequential([*stack, layers.GlobalAveragePooling2D(), layers.Dense(3)], seed=1)
        model.compile("adam", "ce")
        return model

    x = RNG.normal(size=(640, 24, 24, 3)).astype(np.float32)
    y = RNG.integers(0, 3, size=640)
    model = wide()
    key = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    key.start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, epochs=10_000, shuffle=False, verbose=0)
    key.join()
    steps = model.network.iterations
    assert steps > 0
    again = wide()
    again.fit(x, y, epochs=1, steps_per_epoch=steps, shuffle=False, verbose=0)
    assert bytes_of(again) == bytes_of(model)


def test_bytes_do_not_depend_on_the_number_of_threads():
    x = RNG.normal(size=(50, 12, 12, 2)).astype(np.float32)
    y = RNG.integers(0, 4, size=50)
    before = gn.get_num_threads()
    results = set()
    try:
        for count in (1, 2, 3):
            gn.set_num_threads(count)
            stack = [layers.Conv2D(8, 3, activation="relu"), layers.Dropout(0.2), layers.MaxPooling2D()]
            model = gn.Sequential([*stack, layers.Flatten(), layers.Dense(4)], seed=2)
            model.compile("adam", "ce", metrics=["accuracy"])
            history = model.fit(x, y, batch_size=16, epochs=3, seed=5, verbose=0)
            results.add(
                (bytes_of(model), tuple(history.history["loss"]), model.predict(x, verbose=0).tobytes())
            )
    finally:
        gn.set_num_threads(before)
    assert len(results) == 1


TRAIN = """
import hashlib
import numpy as np
import gridnn as gn
from gridnn import layers

rng = np.random.default_rng(3)
x = rng.normal(size=(40, 9, 10, 3)).astype(np.float32)
model = gn.Sequential(
    [
        layers.Conv2D(19, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(5, 2, padding="same", activation="tanh"),
        layers.AveragePooling2D(2),
        layers.Dropout(0.2),
        layers.Flatten(),
        layers.Dense(7, activation="sigmoid"),
        layers.Dense(4, activation="softmax"),
    ],
    seed=2,
)
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(x, rng.integers(0, 4, 40), batch_size=16, epochs=3, seed=5, verbose=0)
print(hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest())
"""


@pytest.mark.one_tier  # starts the tiers itself
def test_bytes_do_not_depend_on_the_tier_where_it_fuses():
    fused = fused_tiers()
    if len(fused) < 2:
        pytest.skip("the CPU has one tier that fuses multiply and add, or none")
    results = {
        subprocess.check_output([sys.executable, "-c", TRAIN], env=os.environ | {"GRIDNN_SIMD": tier})
        for tier in fused
    }
    assert len(results) == 1


def test_batches_by_their_number():
    """Data sets in the manner of Keras' `PyDataset`."""

    class Numbered:
        def __init__(self, *arrays):
            self.arrays = arrays
            self.epochs = 0

        def __len__(self):
            return 3

        def __getitem__(self, number):
            parts = tuple(array[number * 4 : number * 4 + 4] for array in self.arrays)
            return parts if len(parts) > 1 else parts[0]

        def on_epoch_end(self):
            self.epochs += 1

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=(12, 2))
    data = Numbered(x, y)
    models = [gn.Sequential([gn.Input((3,)), gn.layers.Dense(2)], seed=1) for _ in range(2)]
    for model in models:
        model.compile("adam", "mse")
    models[0].fit(data, epochs=2, verbose=0, validation_data=data)
    models[1].fit(x, y, 4, epochs=2, shuffle=False, verbose=0)
    assert data.epochs == 4
    one, two = (model.get_weights()[0] for model in models)
    assert one.tobytes() == two.tobytes()
    assert models[0].evaluate(data, verbose=0) == pytest.approx(models[1].evaluate(x, y, verbose=0))
    assert models[0].predict(Numbered(x)).tobytes() == models[1].predict(x).tobytes()
    layer = gn.layers.Normalization()
    layer.adapt(data)
    np.testing.assert_allclose(layer.mean, x.mean(axis=0))
