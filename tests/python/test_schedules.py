"""Every schedule against its formula in NumPy."""

import math

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers, schedules


def half_cosine(x):
    return 0.5 * (1 + math.cos(math.pi * min(x, 1.0)))


def restarts(step, first, t_mul, m_mul):
    start, length, factor = 0.0, first, 1.0
    while step >= start + length:
        start, length, factor = start + length, length * t_mul, factor * m_mul
    return factor * half_cosine((step - start) / length)


def one_cycle(step, top, total, warmup=0.3, first=25.0, last=1e4):
    peak, end = warmup * total - 1, total - 1
    step = min(step, end)
    if step <= peak:
        return top + (top / first - top) * half_cosine(step / peak)
    return top / first / last + (top - top / first / last) * half_cosine((step - peak) / (end - peak))


CASES = [
    (schedules.ExponentialDecay(0.1, 7, 0.5), lambda t: 0.1 * 0.5 ** (t / 7)),
    (schedules.ExponentialDecay(0.1, 7, 0.5, staircase=True), lambda t: 0.1 * 0.5 ** (t // 7)),
    (
        schedules.PiecewiseConstantDecay([3, 9], [1.0, 0.5, 0.1]),
        lambda t: 1.0 if t <= 3 else 0.5 if t <= 9 else 0.1,
    ),
    (schedules.PolynomialDecay(0.1, 9), lambda t: (0.1 - 1e-4) * (1 - min(t, 9) / 9) + 1e-4),
    (
        schedules.PolynomialDecay(0.1, 9, 0.01, power=0.5),
        lambda t: (0.1 - 0.01) * math.sqrt(1 - min(t, 9) / 9) + 0.01,
    ),
    (
        schedules.PolynomialDecay(0.1, 9, 0.01, power=2, cycle=True),
        lambda t: (0.1 - 0.01) * (1 - t / (9 * max(1, math.ceil(t / 9)))) ** 2 + 0.01,
    ),
    (schedules.InverseTimeDecay(0.1, 7, 0.5), lambda t: 0.1 / (1 + 0.5 * t / 7)),
    (schedules.InverseTimeDecay(0.1, 7, 0.5, staircase=True), lambda t: 0.1 / (1 + 0.5 * (t // 7))),
    (schedules.CosineDecay(0.1, 20), lambda t: 0.1 * half_cosine(t / 20)),
    (schedules.CosineDecay(0.1, 20, alpha=0.25), lambda t: 0.1 * (0.75 * half_cosine(t / 20) + 0.25)),
    (
        schedules.CosineDecay(0.01, 20, warmup_target=0.1, warmup_steps=5),
        lambda t: 0.01 + 0.09 * t / 5 if t < 5 else 0.1 * half_cosine((t - 5) / 20),
    ),
    (schedules.CosineDecayRestarts(0.1, 4), lambda t: 0.1 * restarts(t, 4, 2, 1)),
    (
        schedules.CosineDecayRestarts(0.1, 5, t_mul=1.5, m_mul=0.5, alpha=0.25),
        lambda t: 0.1 * (0.75 * restarts(t, 5, 1.5, 0.5) + 0.25),
    ),
    (schedules.CosineDecayRestarts(0.1, 5, t_mul=1.0, m_mul=0.5), lambda t: 0.1 * restarts(t, 5, 1, 0.5)),
    (schedules.OneCycle(0.1, 20), lambda t: one_cycle(t, 0.1, 20)),
    (schedules.OneCycle(0.1, 30, 0.5, 10, 100), lambda t: one_cycle(t, 0.1, 30, 0.5, 10, 100)),
]


@pytest.mark.parametrize(("schedule", "formula"), CASES, ids=[repr(schedule) for schedule, _ in CASES])
def test_formula(schedule, formula):
    for step in range(40):
        assert schedule(step) == pytest.approx(formula(step), rel=1e-12, abs=1e-17), step


class Halves(schedules.LearningRateSchedule):
    """A schedule of the user's."""

    config_fields = ("start",)

    def __init__(self, start):
        self.start = start

    def __call__(self, step):
        return self.start / 2**step


def _trained(rate, steps, model=None):
    if model is None:
        model = gn.Sequential([gn.Input((3,)), layers.Dense(2)], seed=1)
        model.compile(gn.optimizers.SGD(rate), "mse")
    for _ in range(steps):
        model.train_on_batch(np.ones((4, 3)), np.zeros((4, 2)))
    return model


def test_a_schedule_written_in_python(tmp_path):
    twin = schedules.ExponentialDecay(0.5, 1, 0.5)
    whole = _trained(Halves(0.5), 4)
    assert [w.tobytes() for w in whole.get_weights()] == [
        w.tobytes() for w in _trained(twin, 4).get_weights()
    ]
    half = _trained(Halves(0.5), 2)
    half.save(tmp_path / "half.gridnn")
    again = _trained(None, 2, gn.load_model(tmp_path / "half.gridnn", {"Halves": Halves}))
    assert again.optimizer.learning_rate.start == 0.5
    assert [w.tobytes() for w in whole.get_weights()] == [w.tobytes() for w in again.get_weights()]

    class Wrong(Halves):
        def __call__(self, step):
            return -1.0

    with pytest.raises(ValueError, match="learning_rate"):
        _trained(Wrong(1.0), 1)


def test_a_function_as_learning_rate(tmp_path):
    rates = iter((0.5, 0.25, 0.125, 1.0, 1.0, 1.0))
    model = _trained(lambda: next(rates), 3)
    twin = _trained(schedules.ExponentialDecay(0.5, 1, 0.5), 3)
    assert [w.tobytes() for w in model.get_weights()] == [w.tobytes() for w in twin.get_weights()]
    model.save(tmp_path / "model.gridnn")
    assert gn.load_model(tmp_path / "model.gridnn").optimizer.learning_rate == 1.0
