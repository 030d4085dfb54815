"""Large finite numbers through every optimizer, loss and normalisation."""

import random

import numpy as np

import gridnn as gn
from gridnn import layers, optimizers
from gridnn.errors import NonFiniteError

_STEPS = 10
_OPTIMIZERS = sorted(
    name for name in optimizers.__all__ if isinstance(getattr(optimizers, name), type) and name != "Optimizer"
)


def attempt(number, folder):
    """Some steps of training; their number."""
    rng = random.Random(number)
    name = _OPTIMIZERS[number % len(_OPTIMIZERS)]
    options = {"learning_rate": 10.0 ** rng.choice([-3, 0, 5, 10, 30, 38, 300])}
    for option, value in {
        "clipnorm": 1.0,
        "clipvalue": 1e30,
        "use_ema": True,
        "gradient_accumulation_steps": 2,
        "weight_decay": 1e-2,
    }.items():
        if rng.random() < 0.15:
            options[option] = value
            if option.startswith("clip"):
                options = {k: v for k, v in options.items() if k in (option, "learning_rate")}
    stack = [gn.Input((6, 2))]
    if rng.random() < 0.5:
        stack += [layers.Conv1D(3, 3), layers.BatchNormalization()]
    stack += [layers.Flatten(), layers.Dense(2)]
    model = gn.Sequential(stack, seed=number, dtype=rng.choice(["float32", "float64"]))
    model.compile(getattr(optimizers, name)(**options), rng.choice(["mse", "mae", "huber"]))
    largest = 38 if model.dtype == "float32" else 300
    draw = np.random.default_rng(number)
    x = draw.normal(size=(8, 6, 2))
    y = draw.normal(size=(8, 2)) * 10.0 ** rng.choice([0, 5, 15, 18, 25, 37])
    if rng.random() < 0.7:
        x[:, rng.randrange(6), rng.randrange(2)] *= 10.0 ** rng.uniform(0, largest - 1)
    network = model.network
    for step in range(_STEPS):
        before = _everything(model)
        try:
            model.train_on_batch(x, y)
        except NonFiniteError:
            after = _everything(model)
            if not before[1]:  # the optimizer's state is made by the first step
                before = (before[0], after[1], before[2])
            assert after == before, f"{name}: a refused step changed something"
        for weight in model.get_weights():
            assert np.isfinite(weight).all(), f"{name} {options}: weights after step {step}"
        for slot, values in network.optimizer_state().items():
            assert np.isfinite(values).all(), f"{name} {options}: {slot} after step {step}"
    return _STEPS


def _everything(model):
    network = model.network
    state = {name: values.tobytes() for name, values in network.optimizer_state().items()}
    return [w.tobytes() for w in model.get_weights()], state, network.iterations
