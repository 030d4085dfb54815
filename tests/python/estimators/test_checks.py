"""What scikit-learn asks of every estimator."""

import pytest

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import parametrize_with_checks

import gridnn as gn
from gridnn.sklearn import CNNClassifier, CNNRegressor, FeatureExtractor

pytestmark = pytest.mark.one_tier

# A sample that stands twice in the data makes other batches than one of weight 2 does: training by stochastic
# gradients comes to other weights. (That weight 0 is as if the sample were not there has a test of its own.)
WEIGHTS = {"check_sample_weight_equivalence_on_dense_data": "training goes by batches of samples"}
ESTIMATORS = [
    CNNClassifier(epochs=20),
    CNNRegressor(epochs=20),
    FeatureExtractor(
        gn.Sequential(
            [gn.Input((None, 1)), gn.layers.Conv1D(4, 3, padding="same"), gn.layers.Conv1D(2, 1)], seed=0
        )
    ),
]


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=lambda estimator: WEIGHTS)
def test_scikit_learn_asks(estimator, check):
    check(estimator)
