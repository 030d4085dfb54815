"""What `model="auto"` reaches, with nothing else said."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score

import gridnn as gn
from gridnn.sklearn import CNNClassifier
from gridnn.sklearn._networks import auto

pytestmark = pytest.mark.one_tier


@pytest.mark.timeout(600)  # a few seconds a fold on an idle machine
def test_digits():
    digits = load_digits()
    assert cross_val_score(CNNClassifier(random_state=0), digits.images, digits.target, cv=3).mean() > 0.97


@pytest.mark.slow
def test_adrenal_shapes(data_folder):
    with np.load(data_folder / "adrenalmnist3d" / "adrenalmnist3d.npz") as data:
        fitted = CNNClassifier(random_state=0).fit(data["train_images"], data["train_labels"].ravel())
        scores = fitted.predict_proba(data["test_images"])[:, 1]
        assert roc_auc_score(data["test_labels"].ravel(), scores) > 0.80


@pytest.mark.parametrize(
    "shape",
    [
        (1, 1),
        (2, 1),
        (3, 40),
        (24, 1),
        (5000, 2),
        (1, 1, 1),
        (2, 300, 3),
        (8, 8, 1),
        (224, 224, 3),
        (1, 1, 1, 1),
        (9, 60, 64, 1),
    ],
)
def test_any_size(shape):
    model = gn.Sequential([gn.Input(shape), *auto(shape, 5, 100)])
    assert model.output_shape == (None, 5)
    assert model.count_params() < 600_000
