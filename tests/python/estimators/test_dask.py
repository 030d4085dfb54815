"""Models on a cluster of Dask; run by `make test-estimators`."""

import joblib
import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("distributed")

from distributed import Client, LocalCluster
from sklearn.model_selection import GridSearchCV, cross_val_predict

import gridnn as gn
from gridnn.sklearn import CNNClassifier

pytestmark = [pytest.mark.one_tier, pytest.mark.filterwarnings("default"), pytest.mark.timeout(300)]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 8, 8, 1)).astype(np.float32)
Y = np.where(X[:, 2:5, 2:5].mean(axis=(1, 2, 3)) > 0, "up", "down")
FAST = {"epochs": 4, "model__width": 4, "random_state": 0}


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_the_same_bytes_as_in_one_process(client):
    expected = cross_val_predict(CNNClassifier(**FAST), X, Y, cv=4, method="predict_proba")
    with joblib.parallel_config(backend="dask"):
        found = cross_val_predict(CNNClassifier(**FAST), X, Y, cv=4, method="predict_proba")
    assert found.tobytes() == expected.tobytes()


def test_a_search(client):
    with joblib.parallel_config(backend="dask"):
        search = GridSearchCV(CNNClassifier(**FAST), {"model__width": [2, 8]}, cv=2).fit(X, Y)
    assert search.predict(X).shape == (60,)


def test_workers_of_one_thread_take_one(client):
    assert set(client.run(gn.get_num_threads).values()) == {1}
    assert len(client.run(gn.get_num_threads)) == 2


def test_models_come_back_trained(client):
    futures = [client.submit(CNNClassifier(**{**FAST, "random_state": i}).fit, X, Y) for i in range(3)]
    for i, fitted in enumerate(client.gather(futures)):
        expected = CNNClassifier(**{**FAST, "random_state": i}).fit(X, Y)
        assert fitted.predict_proba(X).tobytes() == expected.predict_proba(X).tobytes()
