"""Training steps agree with Keras on TensorFlow; skipped where that is not installed."""

import os
import warnings

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers, optimizers

STEPS = 5
BATCH = 6
CHANNELS = 2
CLASSES = 4
# Numbers that float32 holds exactly: Keras rounds them to it in either precision.
OPTIMIZERS = {
    "SGD": {"learning_rate": 2**-4},
    "momentum": {"learning_rate": 2**-4, "momentum": 0.875},
    "Nesterov": {"learning_rate": 2**-4, "momentum": 0.875, "nesterov": True},
    "Adam": {"learning_rate": 2**-7, "beta_1": 1 - 2**-3, "beta_2": 1 - 2**-10},
}
BETAS = {"beta_1": 1 - 2**-3, "beta_2": 1 - 2**-6, "epsilon": 2**-20}
MORE_OPTIMIZERS = [
    ("RMSprop", {"rho": 0.875, "momentum": 0.5, "epsilon": 2**-10, "centered": True}),
    ("Adam", {**BETAS, "amsgrad": True, "clipnorm": 2**-3}),
    ("Adam", {**BETAS, "gradient_accumulation_steps": 2, "global_clipnorm": 2**-3}),
    ("AdamW", {**BETAS, "weight_decay": 2**-2}),
    ("Adagrad", {"initial_accumulator_value": 0.25, "epsilon": 2**-20}),
    ("Adadelta", {"rho": 0.875, "epsilon": 2**-10}),
    ("Adamax", BETAS),
    ("Nadam", BETAS),
    ("Lion", {"beta_1": 0.875, "beta_2": 0.75, "weight_decay": 2**-2}),
    ("SGD", {"clipvalue": 2**-6}),
    ("SGD", {"use_ema": True, "ema_momentum": 0.75, "ema_overwrite_frequency": 2}),
    (
        "SGD",
        {
            "use_ema": True,
            "ema_momentum": 0.75,
            "ema_overwrite_frequency": 2,
            "gradient_accumulation_steps": 2,
        },
    ),
]
SPATIAL = {1: (19,), 2: (11, 9), 3: (7, 6, 8)}


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whatever these two bring with them
        pytest.importorskip("tensorflow")
        keras = pytest.importorskip("keras", minversion="3")
    if keras.backend.backend() != "tensorflow":
        pytest.skip(f"Keras runs on {keras.backend.backend()}")
    yield keras
    set_precision(keras, "float32")


def set_precision(keras, dtype):
    keras.config.set_floatx(dtype)  # of arrays and optimizers
    keras.config.set_dtype_policy(dtype)  # of layers


def stack(package, rank):
    """The same layers from `gridnn.layers` or `keras.layers`."""

    def layer(name, *arguments, **options):
        return getattr(package, f"{name}{rank}D")(*arguments, **options)

    # TensorFlow has no three-dimensional pools in float64.
    pools = (
        [] if rank == 3 else [layer("MaxPooling", 2, strides=1), layer("AveragePooling", 2, padding="same")]
    )
    return [
        layer("Conv", 5, 3, activation="relu"),
        *pools[:1],
        layer("Conv", 6, 2, strides=2, padding="same", use_bias=False),
        *pools[1:],
        layer("Conv", 3, 1, activation="relu"),
        package.Flatten(),
        package.Dense(8, activation="relu"),
        package.Dense(CLASSES),
    ]


def data(rank):
    rng = np.random.default_rng(rank)
    x = rng.normal(size=(STEPS, BATCH, *SPATIAL[rank], CHANNELS))
    return x, rng.integers(0, CLASSES, (STEPS, BATCH))


def optimizer(package, name):
    return (package.Adam if name == "Adam" else package.SGD)(**OPTIMIZERS[name])


def train(model, rank, dtype):
    """Losses and final weights, as float64; the first weights are those of a float32 model."""
    x, y = data(rank)
    model.set_weights(
        gn.Sequential([gn.Input((*SPATIAL[rank], CHANNELS)), *stack(layers, rank)], seed=3).get_weights()
    )
    x = x.astype(dtype)
    losses = [float(np.asarray(model.train_on_batch(*batch))) for batch in zip(x, y, strict=True)]
    return [np.array(losses), *(weight.astype(np.float64) for weight in model.get_weights())]


def train_gridnn(rank, name, dtype):
    model = gn.Sequential([gn.Input((*SPATIAL[rank], CHANNELS)), *stack(layers, rank)], dtype=dtype)
    model.compile(optimizer(optimizers, name), "sparse_categorical_crossentropy")
    return train(model, rank, dtype)


def train_keras(keras, rank, name, dtype):
    set_precision(keras, dtype)
    model = keras.Sequential([keras.Input((*SPATIAL[rank], CHANNELS)), *stack(keras.layers, rank)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer(keras.optimizers, name), loss, run_eagerly=True)
    return train(model, rank, dtype)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("rank", SPATIAL)
def test_steps_agree(keras, rank, name):
    theirs = {dtype: train_keras(keras, rank, name, dtype) for dtype in ("float32", "float64")}
    ours = {dtype: train_gridnn(rank, name, dtype) for dtype in ("float32", "float64")}
    for index, exact in enumerate(theirs["float64"]):
        scale = np.abs(exact).max()
        np.testing.assert_allclose(ours["float64"][index], exact, rtol=0, atol=1e-10 * scale)
        # What rounding does to these steps in float32 is what it does to Keras'; orders of summation differ.
        rounding = max(np.abs(theirs["float32"][index] - exact).max(), np.finfo(np.float32).eps * scale)
        np.testing.assert_allclose(ours["float32"][index], exact, rtol=0, atol=8 * rounding)


@pytest.mark.parametrize(("name", "options"), MORE_OPTIMIZERS, ids=[f"{n}{o}" for n, o in MORE_OPTIMIZERS])
def test_rules_agree(keras, name, options):
    """Every rule on a dense layer in float64, where Keras' own constants are float64 as well."""
    set_precision(keras, "float64")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(STEPS, BATCH, 5)), rng.normal(size=(STEPS, BATCH, 3))
    start = [rng.normal(size=(5, 3)), rng.normal(size=3)]
    results = []
    for package, model in (
        (gn.optimizers, gn.Sequential([gn.Input((5,)), layers.Dense(3)], dtype="float64")),
        (keras.optimizers, keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])),
    ):
        rule = getattr(package, name)(learning_rate=2**-5, **options)
        model.compile(rule, "mse", **({} if package is gn.optimizers else {"run_eagerly": True}))
        model.set_weights(start)
        for batch in zip(x, y, strict=True):
            model.train_on_batch(*batch)
        results.append(model.get_weights())
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def test_schedules_agree(keras):
    set_precision(keras, "float64")
    for name, arguments in (
        ("ExponentialDecay", {"initial_learning_rate": 0.5, "decay_steps": 7, "decay_rate": 0.5}),
        ("PiecewiseConstantDecay", {"boundaries": [3, 9], "values": [1.0, 0.5, 0.25]}),
        (
            "PolynomialDecay",
            {"initial_learning_rate": 0.5, "decay_steps": 7, "power": 2.0, "cycle": True},
        ),
        ("InverseTimeDecay", {"initial_learning_rate": 0.5, "decay_steps": 7, "decay_rate": 0.5}),
        (
            "CosineDecay",
            {"initial_learning_rate": 0.25, "decay_steps": 9, "warmup_target": 0.5, "warmup_steps": 4},
        ),
        ("CosineDecayRestarts", {"initial_learning_rate": 0.5, "first_decay_steps": 4, "m_mul": 0.5}),
    ):
        ours = getattr(gn.schedules, name)(**arguments)
        theirs = getattr(keras.optimizers.schedules, name)(**arguments)
        for step in range(30):
            # Where Keras finds the period by a logarithm it may be off by one at its very start.
            if name != "CosineDecayRestarts" or step not in (4, 12, 28):
                assert ours(step) == pytest.approx(float(theirs(step)), rel=1e-5), (name, step)
