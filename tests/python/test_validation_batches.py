"""Which batches an evaluation reads: the same ones each time, and none of them twice."""

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers

pytestmark = pytest.mark.one_tier

RNG = np.random.default_rng(6)
X, Y = RNG.normal(size=(20, 3)), RNG.normal(size=(20, 1))
BATCHES = [(X[i : i + 4], Y[i : i + 4]) for i in range(0, 20, 4)]


class Numbered:
    """Gives batches by their number, as Keras' `PyDataset` does."""

    def __len__(self):
        return len(BATCHES)

    def __getitem__(self, number):
        return BATCHES[number]


class Reused:
    """Yields all batches in the same two arrays."""

    def __init__(self):
        self.batches = iter(BATCHES)
        self.x, self.y = np.empty((4, 3)), np.empty((4, 1))

    def __iter__(self):
        return self

    def __next__(self):
        self.x[:], self.y[:] = next(self.batches)
        return self.x, self.y


KINDS = {
    "list": lambda: BATCHES,
    "numbered": Numbered,
    "generator": lambda: (batch for batch in BATCHES),
    "iterator": lambda: iter(BATCHES),
    "map": lambda: map(tuple, BATCHES),
    "one buffer": Reused,
}


def make(rate=0.0):
    model = gn.Sequential([gn.Input((3,)), layers.Dense(1)], seed=1)
    model.compile(gn.optimizers.SGD(rate), "mse", ["mae"])
    return model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 2, 5, 7])
def test_every_epoch_is_validated_on_the_same_batches(kind, steps):
    model = make()
    expected = model.evaluate(X[: 4 * steps], Y[: 4 * steps], batch_size=4, verbose=0)
    options = {"validation_data": KINDS[kind](), "validation_steps": steps, "verbose": 0}
    history = model.fit(X, Y, epochs=4, **options).history
    np.testing.assert_array_equal(history["val_loss"], [expected[0]] * 4)
    np.testing.assert_array_equal(history["val_mae"], [expected[1]] * 4)


def test_weights_change_and_batches_do_not():
    arrays = make(0.1).fit(X, Y, epochs=3, validation_data=(X[:8], Y[:8]), seed=2, verbose=0)
    for kind in KINDS.values():
        own = make(0.1).fit(
            X, Y, epochs=3, validation_data=kind(), validation_steps=2, seed=2, validation_freq=1, verbose=0
        )
        np.testing.assert_allclose(own.history["val_loss"], arrays.history["val_loss"], rtol=1e-12)


def test_a_generator_without_steps_serves_once():
    with pytest.raises(ValueError, match=r"`validation_data` gave no batch. A generator can be used up"):
        make().fit(X, Y, epochs=2, validation_data=KINDS["generator"](), verbose=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 3, 5, 6, 12, None])
def test_evaluate_reads_no_batch_twice(kind, steps):
    model, rows = make(), 20 if steps is None else 4 * steps
    expected = model.evaluate(X[:rows], Y[:rows], batch_size=4, verbose=0)
    assert model.evaluate(KINDS[kind](), steps=steps, verbose=0) == expected
    assert model.evaluate(X, Y, batch_size=4, steps=steps, verbose=0) == expected


def test_predict_reads_no_batch_twice():
    model = make()
    for steps in (1, 5, 9):
        for x in (X, [(x,) for x, _ in BATCHES], (x for x, _ in BATCHES)):
            got = model.predict(x, batch_size=4 if x is X else None, steps=steps, verbose=0)
            np.testing.assert_array_equal(got, model.predict(X[: 4 * steps], verbose=0))


def test_an_iterator_is_read_no_further_than_asked_for():
    batches = iter(BATCHES)
    make().evaluate(batches, steps=2, verbose=0)
    assert len(list(batches)) == 3
    batches = iter(BATCHES)
    make().fit(X, Y, epochs=3, validation_data=batches, validation_steps=2, verbose=0)
    assert len(list(batches)) == 3


def test_nothing_to_evaluate():
    for empty in (iter(()), (batch for batch in ())):
        with pytest.raises(ValueError, match="`x` gave no batch"):
            make().evaluate(empty, verbose=0)


def test_training_steps_on_arrays_go_on_where_the_epoch_before_stopped():
    """What `steps_per_epoch` means, in epochs and across calls that continue: see differences-from-keras."""
    model, means = make(), []
    watch = gn.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: means.append(logs["loss"]))
    options = {"batch_size": 4, "shuffle": False, "steps_per_epoch": 2, "verbose": 0, "callbacks": watch}
    model.fit(X, Y, epochs=3, **options)
    model.fit(X, Y, epochs=5, initial_epoch=3, **options)
    expected = [model.evaluate(X[rows], Y[rows], verbose=0) for rows in np.arange(40).reshape(5, 8) % 20]
    np.testing.assert_allclose(means, [loss for loss, _ in expected], rtol=1e-6)


# What is not there yet


def test_what_is_not_built_has_no_shapes():
    model = gn.Sequential([layers.Dense(1)])
    for owner in (gn.Sequential(), model, model.layers[0], layers.Conv2D(1, 1)):
        assert not hasattr(owner, "input_shape")
        assert not hasattr(owner, "output_shape")
        assert getattr(owner, "input_shape", 3) == 3
        with pytest.raises(gn.errors.NotReadyError, match="not built"):
            _ = owner.output_shape
    for name in ("optimizer", "loss", "metrics_names"):
        assert not hasattr(model, name)
    model.compile("sgd", "mse")
    model.build((None, 3))
    assert hasattr(model, "input_shape")
    assert hasattr(model.layers[0], "output_shape")
    assert hasattr(model, "optimizer")
