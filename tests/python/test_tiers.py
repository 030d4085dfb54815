"""The same bytes on every tier that fuses multiply and add: whatever has a row in test_contract.py."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import test_contract as contract

import gridnn as gn
from gridnn import layers, optimizers
from gridnn._core import fused_tiers
from gridnn.layers.activation import ACTIVATIONS


def trained(stack, loss, optimizer, x, y):
    """A digest of the weights after two steps in float32."""
    model = gn.Sequential([gn.Input(x.shape[1:]), *stack], seed=1)
    model.compile(optimizer, loss)
    for _ in range(2):
        model.train_on_batch(x, y)
    return hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()


def digests():
    """One line per layer, loss, metric, optimizer and activation."""
    rng = np.random.default_rng(2)
    for case in contract.LOSSES:
        model, x, y = contract.loss_problem(case, rng, "float32", samples=9)
        model.compile("adam", case.loss)
        model.train_on_batch(x, y)
        digest = hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()
        yield f"{case} {digest}"
    x, y = rng.normal(size=(9, 7, 3)).astype(np.float32), rng.normal(size=(9, 7, 5))
    for case in contract.CASES:
        wide = np.random.default_rng(3).normal(size=(9, *case.shape[:-1], 17)).astype(np.float32)
        model = gn.Sequential([gn.Input(wide.shape[1:]), layers.Dense(case.shape[-1]), case.layer()], seed=1)
        model.compile("adam", "mse")
        model.train_on_batch(wide, np.ones((9, *case.output)))
        values = [*model.get_weights(), model.predict(wide)]
        yield f"{case} {hashlib.sha256(b''.join(v.tobytes() for v in values)).hexdigest()}"
    for metric, targets, _ in contract.METRICS:
        loss = "sparse_categorical_crossentropy" if targets == "labels" else "mse"
        top = "softmax" if targets != "values" else None
        model, wide, wanted = contract.loss_problem(
            contract.LossCase(loss, None, targets, (2, 4), top), np.random.default_rng(4), "float32", 23
        )
        model.compile("sgd", loss, metrics=[metric])
        yield f"{metric} {model.evaluate(wide, wanted, batch_size=5, verbose=0)!r}"
    for optimizer in contract.OPTIMIZERS:
        again = optimizers.get(contract.serialize(optimizer))
        yield f"{optimizer} {trained([layers.Dense(5)], 'mse', again, x, y)}"
    for name in ACTIVATIONS:
        stack = [layers.Dense(8, activation=name), layers.PReLU(), layers.Dense(5)]
        yield f"{name} {trained(stack, 'mse', 'sgd', x, y)}"
    limits = {"kernel_regularizer": "l1_l2", "kernel_constraint": "unit_norm", "bias_constraint": "non_neg"}
    stack = [layers.Conv1D(8, 3, padding="same", **limits), layers.Dense(5, kernel_initializer="orthogonal")]
    yield f"limits {trained(stack, 'huber', 'nadam', x, y)}"


@pytest.mark.one_tier  # starts the tiers itself
def test_bytes_do_not_depend_on_the_tier():
    fused = fused_tiers()
    if len(fused) < 2:
        pytest.skip("the CPU has one tier that fuses multiply and add, or none")
    found = []
    for tier in fused:
        environment = {**os.environ, "GRIDNN_SIMD": tier, "PYTHONPATH": os.path.dirname(__file__)}
        script = "import test_tiers; print(*test_tiers.digests(), sep='\\n')"
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
        )
        found.append(done.stdout.splitlines())
    assert len(found[0]) > 300
    for lines in found[1:]:
        assert lines == found[0]
