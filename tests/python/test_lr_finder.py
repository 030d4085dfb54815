"""`gn.lr_finder`, and its picture."""

import matplotlib as mpl
import numpy as np
import pytest

import gridnn as gn
from gridnn import layers

mpl.use("Agg")
pytestmark = pytest.mark.one_tier

(X, Y), _ = gn.datasets.digits()
X, Y = X[:300] / 16, Y[:300]


def made(optimizer="adam", loss="sparse_categorical_crossentropy"):
    stack = [layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dropout(0.2), layers.Dense(10)]
    model = gn.Sequential([gn.Input((8, 8, 1)), *stack], seed=0)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def test_it_finds_a_rate_that_trains():
    found = gn.lr_finder(made(), X, Y)
    assert len(found.rates) == len(found.losses) == len(found.smoothed)
    assert 1e-4 < found.suggestion < 1e-1
    model = made(gn.optimizers.Adam(found.suggestion))
    losses = model.fit(X, Y, epochs=5, verbose=0, seed=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]


def test_the_model_stays_as_it_was():
    twin, model = made(), made()
    for one in (twin, model):
        one.fit(X, Y, epochs=2, verbose=0, seed=1)
    history, progress = model.history, model.training_state.progress
    gn.lr_finder(model, X, Y, steps=20, seed=5)
    assert model.history is history
    assert (model.training_state.progress, model.iterations) == (progress, twin.iterations)
    assert model.optimizer.learning_rate == twin.optimizer.learning_rate
    for one in (twin, model):
        one.fit(X, Y, epochs=4, initial_epoch=2, verbose=0)
    assert all(map(np.array_equal, model.get_weights(), twin.get_weights()))


def test_a_model_that_is_not_built_stays_so():
    model = gn.Sequential([layers.Flatten(), layers.Dense(10)], seed=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    gn.lr_finder(model, X, Y, steps=10)
    assert not model.built


def test_the_same_seed_gives_the_same_losses():
    first, same, other = (gn.lr_finder(made(), X, Y, steps=20, seed=seed) for seed in (0, 0, 1))
    assert first.losses.tobytes() == same.losses.tobytes() != other.losses.tobytes()


def test_schedules_batches_and_divergence():
    schedule = gn.schedules.CosineDecay(1e-2, 100)
    found = gn.lr_finder(made(gn.optimizers.SGD(schedule)), X, Y, stop=1e4, steps=60)
    assert len(found.rates) < 60
    assert np.isfinite(found.losses).all()
    batches = [(X[i : i + 30], Y[i : i + 30]) for i in range(0, 300, 30)]
    assert len(gn.lr_finder(made(), batches, stop=1e-4, steps=30).losses) == 30


def test_what_is_refused():
    with pytest.raises(ValueError, match="`start` must be above 0 and below `stop`"):
        gn.lr_finder(made(), X, Y, start=1.0, stop=0.1)
    with pytest.raises(ValueError, match="at least 10"):
        gn.lr_finder(made(), X, Y, steps=5)
    with pytest.raises(ValueError, match="`x` holds NaN"):
        gn.lr_finder(made(), np.full_like(X, np.nan), Y)
    with pytest.raises(gn.errors.NotReadyError, match="must be compiled"):
        gn.lr_finder(gn.Sequential([gn.Input((8, 8, 1)), layers.Flatten()]), X, Y)


def test_the_picture():
    found = gn.lr_finder(made(), X, Y, steps=20)
    ax = gn.plot.lr_finder(found)
    assert ax.get_xscale() == "log"
    assert list(ax.lines[1].get_ydata()) == found.smoothed.tolist()
    assert ax.lines[2].get_xdata()[0] == found.suggestion


def test_what_is_no_model_and_no_run():
    with pytest.raises(TypeError, match=r"`model` must be a Sequential or another model\. Received 3"):
        gn.lr_finder(3, X, Y)
    with pytest.raises(TypeError, match=r"`found` must be what gridnn\.lr_finder returned\. Received 3"):
        gn.plot.lr_finder(3)
    with pytest.raises(TypeError, match=r"`history` must be what `fit` returned, .* Received 3"):
        gn.plot.history(3)
