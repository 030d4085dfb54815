"""Many models at once: threads of the engine beside workers, the same bytes from all of them."""

import multiprocessing
import os

import joblib
import numpy as np
import pytest

pytest.importorskip("sklearn")

import threadpoolctl
from sklearn.model_selection import cross_val_predict

import gridnn as gn
from gridnn.callbacks import LambdaCallback
from gridnn.sklearn import CNNClassifier

pytestmark = pytest.mark.one_tier

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 12, 2)).astype(np.float32)
Y = (X[:, 4, 0] > 0).astype(int)


@pytest.fixture
def threads():
    """Two threads, whatever the machine has, until the test ends."""
    before = gn.get_num_threads()
    gn.set_num_threads(2)
    yield
    gn.set_num_threads(before)


def classifier():
    return CNNClassifier(epochs=2, model__width=4, random_state=0)


def trained(number):
    """Threads that a fit takes in this process, and its outputs."""
    seen = []
    watch = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(gn.get_num_threads()))
    fitted = classifier().set_params(callbacks=[watch]).fit(X, Y)
    return max(seen), fitted.predict_proba(X).tobytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="joblib's backend forks")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_workers_of_multiprocessing_take_one_thread(threads, monkeypatch):
    for name in ("GRIDNN_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    expected = trained(0)
    assert expected[0] == 2
    found = joblib.Parallel(n_jobs=2, backend="multiprocessing")(joblib.delayed(trained)(i) for i in range(3))
    assert found == [(1, expected[1])] * 3
    assert gn.get_num_threads() == 2
    assert not multiprocessing.current_process().daemon


def test_threadpool_limits(threads):
    (engine,) = [one for one in threadpoolctl.threadpool_info() if one["user_api"] == "gridnn"]
    assert engine["num_threads"] == 2
    assert engine["version"] == gn.__version__
    with threadpoolctl.threadpool_limits(1):
        assert trained(0)[0] == 1
        with threadpoolctl.threadpool_limits(3, user_api="gridnn"):
            assert gn.get_num_threads() == 3
    assert gn.get_num_threads() == 2
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        assert gn.get_num_threads() == 2


def test_inputs_that_are_mapped_from_files():
    with joblib.parallel_config(backend="loky", max_nbytes=100):
        found = cross_val_predict(classifier(), X, Y, cv=2, method="predict_proba", n_jobs=2)
    expected = cross_val_predict(classifier(), X, Y, cv=2, method="predict_proba")
    assert found.tobytes() == expected.tobytes()
