"""Models in the workers of joblib, while the parent's own threads are alive."""

import os

import joblib
import numpy as np
import pytest

import gridnn as gn
from gridnn import layers

pytestmark = pytest.mark.one_tier

RNG = np.random.default_rng(1)
X = RNG.normal(size=(24, 12, 12, 1)).astype(np.float32)
Y = RNG.integers(0, 3, 24)


def train(seed):
    """Digest of the weights, outputs, and what the worker made of the thread settings."""
    stack = [gn.Input((12, 12, 1)), layers.Conv2D(8, 3, activation="relu"), layers.Flatten(), layers.Dense(3)]
    model = gn.Sequential(stack, seed=seed)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, Y, batch_size=8, epochs=2, seed=seed, verbose=0)
    return [weight.tobytes() for weight in model.get_weights()], gn.get_num_threads()


def outputs(model, x):
    return model.predict(x, verbose=0), os.getpid()


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_training_in_workers(backend):
    expected = [train(seed)[0] for seed in range(4)]
    found = joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(train)(seed) for seed in range(4))
    assert [weights for weights, _ in found] == expected


def test_workers_take_few_threads():
    # joblib divides the processors among its workers and says so in OMP_NUM_THREADS.
    if "GRIDNN_NUM_THREADS" in os.environ:
        pytest.skip("GRIDNN_NUM_THREADS comes first")
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(train)(seed) for seed in range(2))
    assert all(threads <= max(joblib.cpu_count() // 2, 1) for _, threads in found)


def test_a_model_goes_to_workers():
    model = gn.Sequential([gn.Input((12, 12, 1)), layers.Conv2D(4, 3), layers.Flatten()], seed=0)
    expected = model.predict(X, verbose=0)
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(outputs)(model, part) for part in np.split(X, 2))
    np.testing.assert_array_equal(np.concatenate([part for part, _ in found]), expected)
    assert os.getpid() not in {worker for _, worker in found}
