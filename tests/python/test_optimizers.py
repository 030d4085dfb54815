"""Every rule and every option of the optimizers against NumPy; the effect of a refused step on all of it."""

import numpy as np
import optimizer_twins as twins
import pytest

import gridnn as gn
from gridnn import layers, optimizers, schedules

RULES = {cls: getattr(twins, cls.__name__.lower()) for cls in optimizers.REGISTRY.classes()}
AVERAGED = {"use_ema": True, "ema_momentum": 0.75}
CASES = [
    # Defaults, once per rule.
    *((cls, {}) for cls in RULES),
    (optimizers.SGD, {"momentum": 0.9}),
    (optimizers.SGD, {"momentum": 0.9, "nesterov": True}),
    (optimizers.RMSprop, {"rho": 0.7, "epsilon": 1e-3, "centered": True}),
    (optimizers.RMSprop, {"momentum": 0.5, "centered": True}),
    (optimizers.RMSprop, {"momentum": 0.5}),
    (optimizers.Adam, {"beta_1": 0.8, "beta_2": 0.6, "epsilon": 1e-3, "amsgrad": True}),
    (optimizers.AdamW, {"weight_decay": 0.5, "amsgrad": True}),
    (optimizers.Adagrad, {"initial_accumulator_value": 0.5, "epsilon": 0.1}),
    (optimizers.Adadelta, {"rho": 0.5, "epsilon": 0.1}),
    (optimizers.Adamax, {"beta_1": 0.5, "beta_2": 0.5, "epsilon": 0.1}),
    (optimizers.Nadam, {"beta_1": 0.5, "beta_2": 0.5, "epsilon": 0.1}),
    (optimizers.Lion, {"beta_1": 0.5, "beta_2": 0.5}),
    (optimizers.SGD, {"weight_decay": 0.25}),
    (optimizers.SGD, {"clipnorm": 0.1}),
    (optimizers.SGD, {"clipnorm": 100.0}),
    (optimizers.SGD, {"clipvalue": 0.05}),
    (optimizers.SGD, {"global_clipnorm": 0.1}),
    (optimizers.Adam, {"gradient_accumulation_steps": 2}),
    (optimizers.Adam, {"gradient_accumulation_steps": 3, "global_clipnorm": 0.1, "weight_decay": 0.1}),
    (optimizers.SGD, AVERAGED),
    (optimizers.Adam, {**AVERAGED, "ema_overwrite_frequency": 2}),
    (optimizers.SGD, {**AVERAGED, "ema_overwrite_frequency": 2, "gradient_accumulation_steps": 2}),
    (optimizers.SGD, {"learning_rate": schedules.InverseTimeDecay(0.1, 1, 0.5)}),
    (optimizers.Adam, {"learning_rate": schedules.ExponentialDecay(0.1, 1, 0.5), "weight_decay": 0.1}),
]


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def problem(rng, dtype="float64", **options):
    model = gn.Sequential([gn.Input((5,)), layers.Dense(3, use_bias=True, **options)], dtype=dtype, seed=5)
    x, y = rng.normal(size=(7, 6, 5)), rng.normal(size=(7, 6, 3))
    return model, x, y


def gradients(weights, x, y):
    """Of the mean squared error of a dense layer."""
    error = 2 * (x @ weights[0] + weights[1] - y) / y.size
    return [x.T @ error, error.sum(axis=0)]


@pytest.mark.parametrize(("cls", "options"), CASES, ids=[f"{c.__name__}{o}" for c, o in CASES])
def test_steps_equal_the_twin(cls, options, rng):
    model, x, y = problem(rng)
    optimizer = cls(**options)
    twin_options = {name: value for name, value in options.items() if name != "learning_rate"}
    if cls is optimizers.AdamW:
        twin_options.setdefault("weight_decay", 0.004)
    rate = optimizer.learning_rate
    twin = twins.Twin(RULES[cls], rate, **twin_options)
    model.compile(optimizer, "mse")
    weights = model.get_weights()
    for batch in zip(x, y, strict=True):
        model.train_on_batch(*batch)
        weights = twin.step(weights, gradients(weights, *batch))
        for got, want in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
    assert model.network.iterations == 7
    if twin.ema:
        model.network.finalize()
        for got, want in zip(model.get_weights(), twin.averages, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


def test_defaults_are_keras():
    rates = {cls.__name__: cls().learning_rate for cls in RULES}
    assert rates == {name: 0.01 if name == "SGD" else 0.001 for name in rates}
    assert optimizers.AdamW().weight_decay == 0.004
    assert optimizers.Adadelta().rho == 0.95
    assert (optimizers.Lion().beta_1, optimizers.Lion().beta_2) == (0.9, 0.99)
    assert all(cls().epsilon == 1e-7 for cls in RULES if "epsilon" in cls.config_fields)


def test_norms_over_many_blocks_do_not_depend_on_threads(rng):
    # Two weights of several blocks each.
    def trained(threads, clip):
        before = gn.get_num_threads()
        gn.set_num_threads(threads)
        try:
            model = gn.Sequential([gn.Input((300,)), layers.Dense(200), layers.Dense(100)], seed=1)
            model.compile(optimizers.SGD(0.1, **clip), "mse")
            draws = np.random.default_rng(3)
            model.train_on_batch(draws.normal(size=(40, 300)), draws.normal(size=(40, 100)))
            return model.get_weights(), model.network.get_gradients()
        finally:
            gn.set_num_threads(before)

    for clip in ({"clipnorm": 0.01}, {"global_clipnorm": 0.01}):
        start = gn.Sequential([gn.Input((300,)), layers.Dense(200), layers.Dense(100)], seed=1).get_weights()
        weights, grads = trained(1, clip)
        twin = twins.Twin(twins.sgd, 0.1, **clip)
        expected = twin.step([w.astype(np.float64) for w in start], [g.astype(np.float64) for g in grads])
        for got, want in zip(weights, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-8)
        assert [w.tobytes() for w in trained(3, clip)[0]] == [w.tobytes() for w in weights]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clipnorm": 1.0},
        {"gradient_accumulation_steps": 2},
        {"use_ema": True, "ema_overwrite_frequency": 1},
    ],
)
def test_a_refused_step_changes_nothing(options, rng):
    model, x, y = problem(rng, "float32")
    model.compile(optimizers.Adam(**options), "mse")
    model.train_on_batch(x[0], y[0])
    network = model.network
    weights, state = model.get_weights(), network.optimizer_state()
    with pytest.raises(gn.errors.NonFiniteError):
        model.train_on_batch(np.full_like(x[1], 3e38), y[1])
    assert network.iterations == 1
    assert [w.tobytes() for w in model.get_weights()] == [w.tobytes() for w in weights]
    for name, slot in network.optimizer_state().items():
        assert slot.tobytes() == state[name].tobytes()


def test_fit_ends_with_the_average(rng):
    x, y = rng.normal(size=(12, 5)), rng.normal(size=(12, 3))
    model, _, _ = problem(rng)
    model.compile(optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    steps = []
    collect = gn.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: steps.append(model.get_weights())
    )
    model.fit(x, y, batch_size=4, epochs=1, verbose=0, seed=1, callbacks=collect)
    average = [0.5 * (0.5 * a + 0.5 * b) + 0.5 * c for a, b, c in zip(*steps, strict=True)]
    for got, want in zip(model.get_weights(), average, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_frozen_weights_do_not_decay(rng):
    model, x, y = problem(rng)
    model.layers[0].trainable = False
    model.compile(optimizers.AdamW(0.1, weight_decay=0.5, use_ema=True), "mse")
    before = model.get_weights()
    model.fit(x[0], y[0], verbose=0)
    for got, want in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(got, want)
