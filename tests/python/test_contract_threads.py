"""The same bytes for 1 and 3 threads, in steps large enough to be shared: every layer, loss and metric."""

import math
from contextlib import contextmanager

import numpy as np
import pytest
import test_contract as contract

import gridnn as gn
from gridnn import layers, losses

SAMPLES = 24
MACS = 40_000
"""Multiply-adds of a sample, for which other threads are woken even at inference."""


@contextmanager
def threads(count):
    before = gn.get_num_threads()
    gn.set_num_threads(count)
    try:
        yield
    finally:
        gn.set_num_threads(before)


def front(shape, dtype="float32"):
    """An Input and a layer that make a sample of `shape` by so many multiply-adds, and samples for them."""
    features = math.ceil(MACS / math.prod(shape))
    x = np.random.default_rng(7).normal(size=(SAMPLES, *shape[:-1], features)).astype(dtype)
    scale = layers.Dense(shape[-1], bias_initializer="random_normal")
    return [gn.Input((*shape[:-1], features)), scale], x


@contract.each_layer
def test_layer_trains_to_the_same_bytes(case):
    def trained(count):
        stack, x = front(case.shape)
        model = gn.Sequential([*stack, case.layer()], seed=2)
        model.compile("adam", "mse")
        y = np.random.default_rng(8).normal(size=(SAMPLES, *case.output))
        before = model.get_weights()
        with threads(count):
            found = model.train_on_batch(x, y), model.predict(x).tobytes()
        moved = [(a != b).any() for a, b in zip(before, model.get_weights(), strict=True)]
        return *found, [w.tobytes() for w in model.get_weights()], any(moved)

    one = trained(1)
    assert one == trained(3)
    assert np.isfinite(one[0])
    assert one[3]


def _scored(loss, targets, output, top, metrics, count):
    """Loss, metrics and weights behind a step and an evaluation."""
    stack, x = front(output)
    if top is not None:
        stack.append(layers.Activation(top))
    model = gn.Sequential(stack, seed=2)
    _, _, y = contract.loss_problem(
        contract.LossCase(loss, None, targets, output), np.random.default_rng(9), samples=SAMPLES
    )
    model.compile("adam", loss, metrics=metrics)
    with threads(count):
        scores = model.train_on_batch(x, y), model.evaluate(x, y, verbose=0)
    return repr(scores), [w.tobytes() for w in model.get_weights()]


@contract.each_loss
def test_loss_comes_to_the_same_bytes(case):
    arguments = case.loss, case.targets, case.output, case.top, None
    assert _scored(*arguments, 1) == _scored(*arguments, 3)


@pytest.mark.parametrize(
    ("metric", "targets"),
    [(m, t) for m, t, _ in contract.METRICS],
    ids=[repr(m) for m, _, _ in contract.METRICS],
)
def test_metric_comes_to_the_same_bytes(metric, targets):
    loss = losses.SparseCategoricalCrossentropy() if targets == "labels" else losses.MeanSquaredError()
    arguments = loss, targets, (2, 4), "softmax" if targets != "values" else None, [metric]
    assert _scored(*arguments, 1) == _scored(*arguments, 3)
