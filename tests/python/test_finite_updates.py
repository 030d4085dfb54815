"""NaN and infinity never reach weights, optimizer state or statistics: such a step is refused whole."""

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers, optimizers
from gridnn.errors import NonFiniteError

HUGE = 3e38  # near the end of float32


def everything(model):
    network = model.network
    state = [values.tobytes() for values in network.optimizer_state().values()]
    return [w.tobytes() for w in model.get_weights()], state, network.iterations


def made(optimizer, *more, units=1, dtype="float32", **arguments):
    model = gn.Sequential(
        [gn.Input((2,)), *more, layers.Dense(units, name="dense", **arguments)], seed=0, dtype=dtype
    )
    model.compile(optimizer, "mse")
    model.evaluate(np.zeros((1, 2)), np.zeros(1), verbose=0)  # now the optimizer has its slots
    return model


def finite(model):
    network = model.network
    arrays = [*model.get_weights(), *network.optimizer_state().values()]
    assert all(np.isfinite(array).all() for array in arrays)


def train_until_refused(model, x, y, steps=30):
    """Trains; every step leaves finite numbers, or is refused with nothing changed. Returns those refused."""
    refused = 0
    for _ in range(steps):
        before = everything(model)
        try:
            model.train_on_batch(x, y)
        except NonFiniteError:
            refused += 1
            assert everything(model) == before
        finite(model)
    return refused


ALL = [
    optimizers.SGD(1e-3),
    optimizers.SGD(1e-3, momentum=0.9),
    optimizers.SGD(1e-3, momentum=0.9, nesterov=True),
    optimizers.RMSprop(),
    optimizers.RMSprop(momentum=0.9, centered=True),
    optimizers.Adam(),
    optimizers.Adam(amsgrad=True),
    optimizers.AdamW(),
    optimizers.Adagrad(),
    optimizers.Adadelta(),
    optimizers.Adamax(),
    optimizers.Nadam(),
    optimizers.Lion(),
]
EXTRAS = [
    {},
    {"use_ema": True, "ema_overwrite_frequency": 2},
    {"gradient_accumulation_steps": 2},
    {"clipnorm": 1e30},
    {"global_clipnorm": 1e37},
    {"clipvalue": 1e25},
    {"weight_decay": 0.1},
]


def again(optimizer, **changes):
    return type(optimizer).from_config({**optimizer.get_config(), **changes})


@pytest.mark.parametrize("optimizer", ALL, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("extra", EXTRAS, ids=lambda e: "-".join(e) or "plain")
@pytest.mark.parametrize("size", [1e3, 1e10, 6e20, 1e30])
def test_large_gradients(optimizer, extra, size):
    """The gradient to the kernel is about the square of the inputs' size, that to the bias the size."""
    x = np.array([[1.0, 0.0], [0.5, 1.0]])
    train_until_refused(made(again(optimizer, **extra)), x, np.array([size, -size]), steps=6)


@pytest.mark.parametrize("optimizer", ALL, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("rate", [1e10, 1e38, 1e300])
def test_large_learning_rates(optimizer, rate):
    x = np.array([[1.0, 0.0], [0.5, 1.0]])
    model = made(again(optimizer, learning_rate=rate))
    refused = train_until_refused(model, x, np.array([3.0, -3.0]))
    assert refused or rate < 1e300


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "nadam", "sgd", "rmsprop"])
def test_a_column_of_nanoseconds(optimizer):
    x = np.array([[1.7e18, 1.0], [1.7e18 + 1e15, 2.0], [1.71e18, 0.5]])
    model = made(optimizer)
    refused = train_until_refused(model, x, np.array([0.0, 1.0, 0.0]))
    assert refused


def test_adam_from_the_gradient_on_whose_square_overflows():
    model = made("adam", use_bias=False)
    before = everything(model)
    with pytest.raises(NonFiniteError, match=r"update of dense .*unchanged.*learning rate"):
        model.train_on_batch([[1.0, 0.0]], [-6e20])
    assert everything(model) == before
    model.train_on_batch([[1.0, 0.0]], [1.0])  # and it goes on
    finite(model)


def test_many_blocks():
    """One bad number among many blocks takes them all back."""
    model = gn.Sequential([gn.Input((300,)), layers.Dense(400, use_bias=False), layers.Dense(1)], seed=0)
    model.compile("adam", "mse")
    x = np.zeros((64, 300))
    x[:, 1:] = np.random.default_rng(0).normal(size=(64, 299))
    y = np.ones(64)
    model.train_on_batch(x, y)
    before = everything(model)
    x[0, 0] = 1e22
    with pytest.raises(NonFiniteError):
        model.train_on_batch(x, y)
    assert everything(model) == before


def test_float64():
    model = made("adam", dtype="float64")
    before = everything(model)
    with pytest.raises(NonFiniteError):
        model.train_on_batch([[1e100, 0.0]], [-1e100])
    assert everything(model) == before
    assert train_until_refused(made(optimizers.SGD(1e300), dtype="float64"), [[1.0, 2.0]], [1e10])


@pytest.mark.parametrize("optimizer", ["adam", "sgd", optimizers.SGD(1.0, momentum=0.5)], ids=str)
@pytest.mark.parametrize("value", [1e18, 1e25, HUGE])
def test_weights_that_are_large_already(optimizer, value):
    model = made(optimizer, kernel_regularizer=gn.regularizers.L2(0.5))
    model.set_weights([np.full((2, 1), value), np.zeros(1)])
    train_until_refused(model, np.zeros((1, 2)), np.zeros(1), steps=3)


def test_a_constraint_that_overflows():
    rule = gn.constraints.MinMaxNorm(min_value=1e300, max_value=1e301)
    model = made("sgd", kernel_constraint=rule)
    before = everything(model)
    with pytest.raises(NonFiniteError, match="dense"):
        model.train_on_batch([[1.0, 2.0]], [1.0])
    assert everything(model) == before


def test_norms_of_large_doubles_are_right():
    model = made("sgd", kernel_constraint=gn.constraints.UnitNorm(axis=0), dtype="float64")
    model.set_weights([np.array([[3e200], [4e200]]), np.zeros(1)])
    model.train_on_batch([[0.0, 0.0]], [0.0])
    np.testing.assert_allclose(model.get_weights()[0][:, 0], [0.6, 0.8], rtol=1e-12)


@pytest.mark.parametrize("learned", [True, False])
def test_moving_statistics(learned):
    """A variance overflows where no output does."""
    model = gn.Sequential(
        [gn.Input((2,)), layers.BatchNormalization(center=learned, scale=learned), layers.Dense(1)], seed=0
    )
    model.compile("sgd", "mse")
    x, y = np.random.default_rng(0).normal(size=(8, 2)), np.ones(8)
    model.train_on_batch(x, y)
    before = everything(model)
    with pytest.raises(NonFiniteError, match="batch_normalization"):
        model.train_on_batch(x * 1e25, y)
    assert everything(model) == before
    finite(model)


def test_moving_statistics_are_taken_back_with_the_weights():
    model = made("adam", layers.BatchNormalization())
    x, y = np.random.default_rng(0).normal(size=(8, 2)), np.ones(8)
    model.train_on_batch(x, y)
    before = everything(model)
    with pytest.raises(NonFiniteError):
        model.train_on_batch(x, y * 1e25)
    assert everything(model) == before


def test_centered_rmsprop_survives_rounding():
    """The mean of squares less the square of the mean rounds to below zero: in Keras NaN weights."""
    model = made(optimizers.RMSprop(1e-3, centered=True), use_bias=False)
    for _ in range(400):
        model.train_on_batch([[1.0, 0.0]], [model.predict([[1.0, 0.0]], verbose=0)[0, 0] - 1234.567])
        finite(model)


def test_division_by_no_epsilon():
    """A gradient of zero over nothing."""
    model = made(optimizers.Adam(epsilon=0.0))
    before = everything(model)
    with pytest.raises(NonFiniteError):
        model.train_on_batch([[0.0, 1.0]], [1.0])
    assert everything(model) == before


def test_a_restored_state_is_looked_at():
    model = made("adam")
    model.train_on_batch([[1.0, 2.0]], [1.0])
    network = model.network
    state = {name: values.copy() for name, values in network.optimizer_state().items()}
    state["velocity"][:] = -1.0
    network.set_optimizer_state(state, 1)
    before = everything(model)
    with pytest.raises(NonFiniteError):
        model.train_on_batch([[1.0, 2.0]], [1.0])
    assert everything(model) == before


def test_fit_ends_with_terminate_on_nan():
    model = made("adam")
    history = model.fit(
        [[1.7e18, 1.0]], [1.0], epochs=50, verbose=0, callbacks=[gn.callbacks.TerminateOnNaN()]
    )
    finite(model)
    assert len(history.epoch) < 50
