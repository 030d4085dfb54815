"""`gridnn.aeon`, and "auto" on the series that aeon ships; run by `make test-estimators`."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("aeon")

import aeon
from aeon.datasets import load_classification
from aeon.testing.estimator_checking import parametrize_with_checks
from sklearn.model_selection import cross_val_predict

import gridnn.aeon
from gridnn.sklearn import CNNClassifier

# aeon's own test data and its dependencies warn about each other.
pytestmark = [pytest.mark.one_tier, pytest.mark.filterwarnings("default"), pytest.mark.timeout(600)]

CLASSIFIERS = [getattr(gridnn.aeon, name) for name in gridnn.aeon.__all__]
SHIPPED = str(Path(aeon.__file__).parent / "datasets" / "data")


def shipped(name):
    """Training and test set of a problem."""
    return [load_classification(name, split=part, extract_path=SHIPPED) for part in ("train", "test")]


@parametrize_with_checks(CLASSIFIERS, use_first_parameter_set=True)
def test_aeon_asks(check):
    check()


@pytest.mark.parametrize("name", ["GunPoint", "ItalyPowerDemand", "BasicMotions"])
def test_auto(name):
    (x, y), (xt, yt) = shipped(name)
    assert CNNClassifier(layout="channels_first", random_state=0).fit(x, y).score(xt, yt) > 0.95


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_series_are_learned(kind):
    (x, y), (xt, yt) = shipped("ItalyPowerDemand")
    small = {
        "FCNClassifier": {"filters": (16, 32, 16)},
        "ResNetClassifier": {"width": 8},
        "InceptionTimeClassifier": {"n_classifiers": 2, "filters": 4, "depth": 3},
    }
    fitted = kind(n_epochs=40, random_state=0, **small[kind.__name__]).fit(x, y)
    assert fitted.score(xt, yt) > 0.9
    again = pickle.loads(pickle.dumps(fitted))
    assert again.predict_proba(xt).tobytes() == fitted.predict_proba(xt).tobytes()


def test_n_jobs_changes_no_byte():
    x, y = shipped("BasicMotions")[0]
    classifier = gridnn.aeon.FCNClassifier(n_epochs=5, filters=(8, 8, 8), random_state=3)
    found = [
        cross_val_predict(classifier, x, y, cv=4, method="predict_proba", n_jobs=jobs) for jobs in (1, 2)
    ]
    assert found[0].tobytes() == found[1].tobytes()
    np.testing.assert_allclose(found[0].sum(axis=1), 1)


def test_the_block_of_the_guide_runs():
    page = Path(__file__).parents[3] / "docs" / "how-to" / "scikit-learn.md"
    (block,) = re.findall(
        r"^```\{code-block\} python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    names = {}
    exec(block.replace("random_state", "n_epochs=1, random_state"), names)  # noqa: S102 - our own page
    assert names["x"].shape == (50, 1, 150)
